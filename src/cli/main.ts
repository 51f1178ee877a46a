/**
 * The command line. `skein up` holds a data directory open and takes commands on its console; every other command opens
 * the directory, does its one thing, and closes it. Exit codes: 0, 1 the answer is no, 2 usage, 3 the node is out of reach.
 */
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { restore } from '../backup.ts'
import { SkeinError } from '../base/errors.ts'
import { openNode } from '../open.ts'
import { UsageError, commands } from './commands.ts'
import type { Answer, Command } from './commands.ts'
import type { NodeStatus, SkeinNode } from '../node/node.ts'

const options = {
  dir: { type: 'string', default: 'skein-data' },
  agent: { type: 'string', default: 'operator' },
  'set-aside': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const

const numberMark = '\0'

/** Commands that do more than one thing with an open node, for `--help`. */
const own: Readonly<Record<string, Pick<Command, 'usage' | 'says' | 'example'>>> = {
  up: {
    usage: 'up [--set-aside]',
    says: 'open the node and take commands on its console, until Ctrl-C or SIGTERM',
    example: 'skein up --dir /var/lib/skein',
  },
  restore: {
    usage: 'restore FILE',
    says: 'make the data directory, which must not exist, from a backup',
    example: 'skein restore before-upgrade.skein --dir restored',
  },
}

interface Settings {
  readonly dir: string
  readonly agent: string
  readonly 'set-aside': boolean
  readonly json: boolean
}

function help(): string {
  const lines = [
    'skein: replicated state for agent fleets',
    '',
    ...[...Object.values(own), ...Object.values(commands)].map(
      ({ usage, says }) => `  skein ${usage.padEnd(30)} ${says}`,
    ),
    '',
    '  --dir DIR      the data directory (skein-data)',
    '  --agent NAME   who writes (operator)',
    '  --json         answers for machines',
    '  --set-aside    with up: move a damaged directory aside and start empty',
    '  --help         this, or with a command its example',
    '',
    'Exit codes: 0; 1 the answer is no; 2 wrong usage; 3 the node cannot be reached or opened.',
  ]
  return lines.join('\n')
}

async function main(argv: readonly string[]): Promise<number> {
  let parsed
  try {
    // `-5` is a number, not an option.
    const args = argv.map((word) => (/^-\d/.test(word) ? numberMark + word : word))
    parsed = parseArgs({ args, options, allowPositionals: true })
  } catch (error) {
    return usage((error as Error).message)
  }
  const { values: settings } = parsed
  const [name = 'help', ...args] = parsed.positionals.map((word) => word.replace(numberMark, ''))
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  const described = command ?? (Object.hasOwn(own, name) ? own[name] : undefined)
  if (settings.help && described !== undefined) {
    console.log(`skein ${described.usage}\n\n${described.says}\n\nexample: ${described.example}`)
    return 0
  }
  if (settings.help || name === 'help') {
    console.log(help())
    return 0
  }
  try {
    if (name === 'up') return await up(settings)
    if (name === 'restore') {
      const [file] = args
      if (file === undefined || args.length > 1) return usage('restore takes one FILE')
      const report = await restore(file, settings.dir)
      print({ data: report, text: `${report.rows} rows restored into ${settings.dir}` }, settings.json)
      return 0
    }
    if (command === undefined) return usage(`there is no command ${name}`)
    if (command.reads === true && !existsSync(settings.dir)) {
      console.error(`there is no data directory ${settings.dir}`)
      return 3
    }
    await using node = await openNode({ dir: settings.dir, agent: settings.agent })
    const answer = await command.run(node, args, settings.agent)
    print(answer, settings.json)
    return answer.yes === false ? 1 : 0
  } catch (error) {
    if (error instanceof UsageError) return usage(`${error.message}\nusage: skein ${command?.usage ?? name}`)
    return failed(error, settings.json)
  }
}

async function up(settings: Settings): Promise<number> {
  await using node = await openNode({
    dir: settings.dir,
    agent: settings.agent,
    onDamage: settings['set-aside'] ? 'set-aside' : 'refuse',
  })
  const status = node.status()
  const entries = status.spaces.reduce((sum, space) => sum + space.entries, 0)
  console.log(`node ${node.id} is up on ${settings.dir}: ${status.spaces.length} spaces, ${entries} entries`)
  for (const line of openingLines(status.opening)) console.log(line)
  console.log('Commands: help, or for example: set tasks t-1 status=doing. Ctrl-C stops.')
  const console_ = createInterface({
    input: process.stdin,
    output: process.stdout,
    prompt: 'skein> ',
    terminal: process.stdin.isTTY,
  })
  const stop = (): void => console_.close()
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  console_.on('SIGINT', stop)
  // Without a terminal and without input (a service, a container) the node stays up until it is told to stop.
  const stayUp = process.stdin.isTTY ? undefined : untilSignal()
  if (process.stdin.isTTY) console_.prompt()
  for await (const line of console_) {
    await consoleLine(node, line, settings)
    if (process.stdin.isTTY) console_.prompt()
  }
  await stayUp
  console.log('stopping: waiting for the disk')
  return 0
}

function openingLines({ found, setAside, lostUnsynced, warnings }: NodeStatus['opening']): string[] {
  const lines = [...warnings]
  if (found === 'unclean') lines.unshift('the last run did not end in order; everything was verified')
  if (lostUnsynced !== undefined) {
    lines.push(
      `batches ${lostUnsynced.from} to ${lostUnsynced.to} had reached the system but not the disk, and are gone`,
    )
  }
  if (setAside !== undefined) lines.push(`the damaged directory is now ${setAside.path}: ${setAside.reason}`)
  return lines
}

function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    // A timer keeps the process alive; signals end it.
    const alive = setInterval(() => undefined, 60_000)
    const end = (): void => {
      clearInterval(alive)
      resolve()
    }
    process.once('SIGTERM', end)
    process.once('SIGINT', end)
  })
}

async function consoleLine(node: SkeinNode, line: string, settings: Settings): Promise<void> {
  const [name, ...args] = words(line)
  if (name === undefined) return
  if (name === 'help') return console.log(help())
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) return console.log(`there is no command ${name}; help lists them`)
  try {
    print(await command.run(node, args, settings.agent), settings.json)
  } catch (error) {
    if (error instanceof UsageError) console.log(`${error.message}\nusage: ${command.usage}`)
    else if (error instanceof SkeinError) console.log(`${error.code}: ${error.message}\n${error.hint}`)
    else throw error
  }
}

/** Words of a line; quotes keep spaces together. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|((?:[^\s'"]|"[^"]*")+)/g)].map(
    ([, quoted, plain]) => quoted ?? unquote(plain ?? ''),
  )
}

function unquote(word: string): string {
  const whole = /^"([^"]*)"$/.exec(word)
  return whole?.[1] ?? word
}

function print(answer: Answer, json: boolean): void {
  console.log(json ? JSON.stringify(answer.data) : answer.text)
}

function usage(message: string): number {
  console.error(`${message}\nskein --help lists the commands`)
  return 2
}

function failed(error: unknown, json: boolean): number {
  if (!(error instanceof SkeinError)) throw error
  if (json) console.log(JSON.stringify({ code: error.code, message: error.message, ...error.details }))
  else console.error(`${error.code}: ${error.message}\n${error.hint}`)
  return error.code.startsWith('store_') ? 3 : 1
}

process.exitCode = await main(process.argv.slice(2))
