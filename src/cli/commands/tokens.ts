/**
 * The tokens with which agents come to the HTTP API. They stand in a file of the data directory, which a running node
 * reads again by itself.
 */
import { existsSync } from 'node:fs'
import { duration } from '../../node/config-values.ts'
import { rights } from '../../node/security/caller.ts'
import type { Right } from '../../node/security/caller.ts'
import type { TokenStore } from '../../node/security/tokens.ts'
import { OutOfReach, UsageError } from '../command.ts'
import type { Call, Command, Options } from '../command.ts'
import { program } from '../program.ts'
import { tokensPath } from '../../node/data-dir.ts'

const dirOption: Options = { dir: { takes: 'DIR', help: 'The data directory of the node (skein-data).' } }

export const tokenCommands: readonly Command[] = [
  {
    name: 'key agent new',
    says: 'make a token for an agent',
    more: 'The token is shown once. As soon as one was made, every request to the HTTP API of that node needs one; the socket in the data directory goes on without. Give rights as read,write,resolve,admin, for all spaces or for SPACE, or for keys under SPACE/PREFIX.',
    args: [{ name: 'AGENT' }],
    options: {
      ...dirOption,
      grant: { takes: 'RIGHTS[:SPACE[/PREFIX]]', many: true, help: 'What it may do (read,write everywhere).' },
      expires: { takes: 'TIME', help: 'Not taken after this time: `30d`.' },
    },
    examples: ['skein key agent new agent-7', 'skein key agent new reader --grant read:tasks --expires 30d'],
    local: true,
    async run(call) {
      const [agent = ''] = call.args
      const grants = call.texts('grant').map(grantOf)
      const expires = call.text('expires')
      const made = (await tokens(call)).create({
        agent,
        ...(grants.length > 0 && { grants }),
        ...(expires !== undefined && { expiresMs: Date.now() + timeOf(expires) }),
      })
      return { data: made, text: made.token, note: `token ${made.id} of ${agent}: it is not shown again` }
    },
  },
  {
    name: 'key agent list',
    says: 'list the tokens of agents',
    options: dirOption,
    examples: ['skein key agent list'],
    local: true,
    async run(call) {
      const all = (await tokens(call)).list()
      const rows = all.map(({ id, agent, grants, createdMs, expiresMs }) => [
        id,
        agent,
        grants
          .map(({ rights: own, space, prefix }) => `${own.join(',')}:${space}${prefix === '' ? '' : `/${prefix}`}`)
          .join(' '),
        new Date(createdMs).toISOString(),
        expiresMs === undefined ? 'never' : new Date(expiresMs).toISOString(),
      ])
      const none = 'no tokens: whoever is on this host may do everything'
      return { data: all, text: { columns: ['id', 'agent', 'may', 'made', 'expires'], rows, none } }
    },
  },
  {
    name: 'key agent revoke',
    says: 'take a token back: it is refused within a second',
    args: [{ name: 'ID' }],
    options: dirOption,
    examples: ['skein key agent revoke 1f2e3d4c5b6a'],
    local: true,
    async run(call) {
      const [id = ''] = call.args
      const revoked = (await tokens(call)).revoke(id)
      return { data: { id, revoked }, text: revoked ? `${id} is revoked` : `there is no token ${id}`, yes: revoked }
    },
  },
]

function grantOf(text: string): {
  readonly rights: readonly Right[]
  readonly space?: string
  readonly prefix?: string
} {
  const [, list = '', space, prefix] = /^([a-z,]+)(?::([^/]+)(?:\/(.*))?)?$/.exec(text) ?? []
  const wanted = list.split(',')
  const isRight = (word: string): word is Right => (rights as readonly string[]).includes(word)
  if (!wanted.every(isRight))
    throw new UsageError(`${text} is not RIGHTS[:SPACE[/PREFIX]]; rights are ${rights.join(', ')}`)
  return { rights: wanted, ...(space !== undefined && { space }), ...(prefix !== undefined && { prefix }) }
}

function timeOf(text: string): number {
  try {
    return duration.read(text)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

async function tokens(call: Call): Promise<TokenStore> {
  const dir = call.text('dir') ?? 'skein-data'
  if (!existsSync(dir)) {
    throw new OutOfReach(
      'store_foreign',
      `there is no data directory ${dir}`,
      `Say which with --dir, or make one with \`${program} up\`.`,
    )
  }
  // It knows what a name of an agent is, and with that all types: loaded by who needs it.
  const { TokenStore } = await import('../../node/security/tokens.ts')
  return new TokenStore(tokensPath(dir))
}
