/** The key that a fleet shares: a file that every node gets, read when a node starts. */
import { chmod, open, readFile, rename } from 'node:fs/promises'
import { SkeinError } from '../../base/errors.ts'
import { keysIn } from '../../node/config.ts'
import { fleetKeyName, newFleetKey, parseFleetKey } from '../../node/security/fleet-key.ts'
import { UsageError } from '../command.ts'
import type { Answer, Call, Command } from '../command.ts'
import { program } from '../program.ts'

const keyFile = { name: 'FILE' } as const
const steps = ['stage', 'use', 'finish'] as const

export const keyCommands: readonly Command[] = [
  {
    name: 'key new',
    says: 'make a fleet key',
    more: 'Every node of the fleet gets the same file, and is started with --fleet-key-file. Nothing is overwritten.',
    args: [keyFile],
    examples: ['skein key new fleet.key'],
    local: true,
    async run({ args }) {
      const [file = ''] = args
      const key = newFleetKey()
      await writeNew(file, `${key}\n`)
      const name = fleetKeyName(parseFleetKey(key))
      return {
        data: { file, key: name },
        text: `key ${name} is in ${file}; copy it to every node, and show it to nobody else`,
      }
    },
  },
  {
    name: 'key rotate',
    says: 'change the fleet key while the fleet runs, in three steps',
    more: 'stage: puts a new key below the one in use; copy the file to all nodes and start each again. use: puts it on top; copy and start again. finish: drops the old one; copy and start again. Between the steps every node takes both.',
    args: [keyFile],
    options: { step: { takes: 'STEP', words: steps, help: 'stage, use or finish.' } },
    examples: ['skein key rotate fleet.key --step stage'],
    local: true,
    run: rotate,
  },
]

async function rotate(call: Call): Promise<Answer> {
  const [file = ''] = call.args
  const step = call.text('step')
  const [inUse, ...others] = keysIn(await read(file))
  if (inUse === undefined) throw new UsageError(`${file} holds no key; \`${program} key new\` makes one`)
  const of = (keys: readonly string[]): string[] => keys.map((key) => fleetKeyName(parseFleetKey(key)))
  const put = async (keys: readonly string[], text: string): Promise<Answer> => {
    await replace(file, `${keys.join('\n')}\n`)
    return { data: { file, inUse: of(keys)[0], accepted: of(keys) }, text }
  }
  switch (step) {
    case 'stage': {
      if (others.length > 0)
        throw new UsageError(`${file} holds ${others.length + 1} keys already: go on with --step use or --step finish`)
      const fresh = newFleetKey()
      const [name = ''] = of([fresh])
      return put(
        [inUse, fresh],
        `key ${name} is accepted. Copy ${file} to all nodes, start each again, then: --step use`,
      )
    }
    case 'use': {
      const [fresh] = others
      if (fresh === undefined) throw new UsageError(`${file} holds one key only: begin with --step stage`)
      const [name = ''] = of([fresh])
      return put(
        [fresh, inUse],
        `key ${name} is in use. Copy ${file} to all nodes, start each again, then: --step finish`,
      )
    }
    case 'finish':
      if (others.length === 0) throw new UsageError(`${file} holds one key only: there is nothing to drop`)
      return put([inUse], `only key ${of([inUse])[0] ?? ''} is taken. Copy ${file} to all nodes and start each again`)
    default:
      throw new UsageError(`--step is one of ${steps.join(', ')}`)
  }
}

async function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw new SkeinError('file_failed', `${file} cannot be read`, {}, error)
  })
}

async function writeNew(file: string, text: string): Promise<void> {
  try {
    await using handle = await open(file, 'wx', 0o600)
    await handle.writeFile(text)
    await handle.sync()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') throw new SkeinError('target_exists', `${file} exists already`)
    throw new SkeinError('file_failed', `${file} cannot be written`, {}, error)
  }
}

/** Whole or not at all: half a key would lock a node out. */
async function replace(file: string, text: string): Promise<void> {
  const fresh = `${file}.new`
  try {
    {
      await using handle = await open(fresh, 'w', 0o600)
      await handle.writeFile(text)
      await handle.sync()
    }
    await chmod(fresh, 0o600)
    await rename(fresh, file)
  } catch (error) {
    throw new SkeinError('file_failed', `${file} cannot be written`, {}, error)
  }
}
