/** The rules of a space: what raises a conflict there. */
import { readFile } from 'node:fs/promises'
import type { SpaceRules } from '../../node/conflicts.ts'
import type { Client } from '../client.ts'
import { pathTo } from '../client.ts'
import { Refused, UsageError, whole } from '../command.ts'
import type { Command } from '../command.ts'
import { countText } from '../screen.ts'

export const rulesCommand: Command = {
  name: 'spaces rules',
  says: 'the rules of a space, which raise what merging cannot settle; with FILE, declare those in it',
  more: 'FILE holds a JSON array of rules, `[{"rule": "effect", "prefix": "refund-", "receipt": "receipt"}]`, or `{"version", "rules", "people", "due", "policies"}` as --json prints them; `-` is standard input. The highest version holds in the whole fleet: without --version and without one in FILE it is one more than the present.',
  args: [{ name: 'SPACE' }, { name: 'FILE', optional: true }],
  options: { version: { takes: 'N', help: 'The version of these rules.' } },
  examples: ['skein spaces rules orders', 'skein spaces rules orders rules.json --version 2'],
  async run(call) {
    const [space = '', file] = call.args
    const path = pathTo('spaces', space)
    if (file !== undefined) {
      const { version, ...rest } = declared(await textOf(file), file)
      const given = call.text('version')
      const asked = given === undefined ? version : whole(given, 'N')
      const body = { ...rest, version: asked ?? (await versionOf(call.client(), path)) + 1 }
      const answer = (await call.client().json('PUT', path, { body })) as { readonly rules: SpaceRules }
      const text = `${countText(answer.rules.rules.length, 'rule')} of version ${answer.rules.version} in ${space}`
      return { data: answer.rules, text }
    }
    const { rules } = (await call.client().get(path)) as { readonly rules: SpaceRules }
    const rows = rules.rules.map(({ rule, name, prefix, severity, safe, decides, ...settings }) => [
      name ?? rule,
      rule,
      prefix ?? '',
      severity ?? '',
      safe ?? '',
      decides ?? '',
      JSON.stringify(settings),
    ])
    const columns = ['name', 'rule', 'prefix', 'severity', 'meanwhile', 'decides', 'settings']
    const unknown = rules.notEvaluated.join(', ')
    return {
      data: rules,
      text: { columns, rows, none: 'no rules' },
      ...(unknown !== '' && { note: `of a newer version of Skein, and not looked at here: ${unknown}` }),
    }
  },
}

async function textOf(file: string): Promise<string> {
  if (file === '-') return (await Array.fromAsync(process.stdin.setEncoding('utf8') as AsyncIterable<string>)).join('')
  try {
    return await readFile(file, 'utf8')
  } catch {
    throw new UsageError(`${file} cannot be read`)
  }
}

type Declared = Readonly<Record<string, unknown>> & { readonly rules: unknown; readonly version?: number }

function declared(text: string, file: string): Declared {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new UsageError(`${file} is no JSON: ${(error as Error).message}`)
  }
  if (Array.isArray(value)) return { rules: value }
  if (typeof value === 'object' && value !== null && 'rules' in value) {
    // What --json prints can be declared: what this version cannot run is not its to declare.
    const { notEvaluated: _others, ...rest } = value as Declared
    return rest
  }
  throw new UsageError(`${file} holds neither an array of rules nor {"version", "rules", ...}`)
}

async function versionOf(client: Client, path: string): Promise<number> {
  try {
    return ((await client.get(path)) as { readonly rules: SpaceRules }).rules.version
  } catch (error) {
    if (error instanceof Refused && error.code === 'not_found') return 0
    throw error
  }
}
