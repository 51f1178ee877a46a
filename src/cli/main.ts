/**
 * The command line: finds the command, parses what was typed against it, runs it, and says the answer. Exit codes: 0;
 * 1 the answer is no; 2 wrong usage; 3 the node is out of reach, or the directory cannot be opened.
 */
import { didYouMean } from '../base/nearest.ts'
import { Client, usualNode } from './client.ts'
import { UsageError, sayable, usageOf } from './command.ts'
import type { Answer, Call, Command } from './command.ts'
import { commands } from './commands/table.ts'
import { helpFor, helpForAll } from './help.ts'
import { findCommand, parse } from './parse.ts'
import type { Parsed } from './parse.ts'
import { program } from './program.ts'
import { Screen } from './screen.ts'

/** Who writes where nobody says. */
const usualAgent = 'operator'

async function main(words: readonly string[]): Promise<number> {
  const { env } = process
  const screen = new Screen(process.stdout, process.stderr, env)
  const found = findCommand(words, commands)
  if (found === undefined) return without(words, screen)
  const { command, rest } = found
  const isJson = rest.includes('--json')
  try {
    const parsed = parse(command, rest)
    if (parsed.options.has('help')) {
      screen.line(helpFor(command, screen.columns, program))
      return 0
    }
    const answer = await command.run(callOf(command, parsed, screen))
    screen.clearProgress()
    if (answer === undefined) return 0
    say(answer, parsed.options.has('json'), screen)
    return answer.yes === false ? 1 : 0
  } catch (error) {
    if (error instanceof UsageError) {
      complain(screen, isJson, {
        code: 'usage',
        message: error.message,
        hint: `usage: ${usageOf(command)}; more: ${program} ${command.name} --help`,
      })
      return 2
    }
    const said = sayable(error)
    if (said === undefined) throw error
    const hint =
      said.code === 'unauthenticated'
        ? `Set SKEIN_TOKEN; \`${program} key agent new\` makes one. On the host of the node, --node unix:DIR/node.sock needs none.`
        : said.hint
    complain(screen, isJson, { ...said, hint })
    return said.exit
  }
}

/** There is no such command: help, for all or for a group, or what was likely meant. */
function without(words: readonly string[], screen: Screen): number {
  const plain = words.filter((word) => !word.startsWith('-'))
  const [first] = plain
  if (first === undefined || (first === 'help' && plain.length === 1)) {
    if (words.includes('--version')) return version(screen)
    screen.line(helpForAll(commands, screen.columns, program))
    return words.length === 0 ? 2 : 0
  }
  if (first === 'help') {
    const found = findCommand(plain.slice(1), commands)
    if (found !== undefined) {
      screen.line(helpFor(found.command, screen.columns, program))
      return 0
    }
  }
  const group = groupOf(plain)
  if (group !== undefined) {
    if (words.some((word) => word === '--help' || word === '-h')) {
      screen.line(helpForAll(group.members, screen.columns, program))
      return 0
    }
    const next = plain[group.name.split(' ').length]
    const known = group.members.map(({ name }) => name.slice(group.name.length + 1))
    const said =
      next === undefined
        ? `${group.name} needs one more word`
        : `there is no \`${group.name} ${next}\`.${didYouMean(next, known)}`
    screen.complain(`${said}\nthere are ${group.members.map(({ name }) => `\`${name}\``).join(', ')}`)
    return 2
  }
  const known = new Set(commands.map(({ name }) => name.split(' ')[0] ?? name))
  screen.complain(`there is no command ${first}.${didYouMean(first, known)}\n${program} --help lists them`)
  return 2
}

/** The commands that begin with as many of the words as any do. */
function groupOf(
  words: readonly string[],
): { readonly name: string; readonly members: readonly Command[] } | undefined {
  for (let count = words.length; count > 0; count--) {
    const name = words.slice(0, count).join(' ')
    const members = commands.filter((command) => command.name.startsWith(`${name} `))
    if (members.length > 0) return { name, members }
  }
  return undefined
}

function version(screen: Screen): number {
  screen.line(`skein on Node ${process.versions.node}`)
  return 0
}

function callOf(command: Command, { args, options }: Parsed, screen: Screen): Call {
  const { env } = process
  const text = (option: string): string | undefined => options.get(option)?.at(-1)
  let client: Client | undefined
  let stop: AbortSignal | undefined
  return {
    command,
    table: commands,
    args,
    json: options.has('json'),
    screen,
    environment: env,
    // Taken up only by commands that can stop in order: all others a signal ends as ever.
    get stop() {
      return (stop ??= stopSignal())
    },
    has: (option) => options.has(option),
    text,
    texts: (option) => options.get(option) ?? [],
    client: () =>
      (client ??= new Client({
        node: text('node') ?? (env['SKEIN_NODE'] || usualNode),
        token: env['SKEIN_TOKEN'] || undefined,
        // With a token the node knows who asks.
        agent: text('agent') ?? (env['SKEIN_AGENT'] || (env['SKEIN_TOKEN'] ? undefined : usualAgent)),
      })),
  }
}

/**
 * A supervisor signals every process of a group, and npm passes signals on as well: what comes so soon after the first is no
 * second request. A guess: nobody presses Ctrl-C again, in earnest, within it.
 */
const sameRequestMs = 1000

/** The first signal asks to stop in order; a second one ends the process as it stands, which loses nothing durable. */
function stopSignal(): AbortSignal {
  const stop = new AbortController()
  let firstMs: number | undefined
  const end = (): void => {
    if (firstMs !== undefined && performance.now() - firstMs < sameRequestMs) return
    if (stop.signal.aborted) {
      process.stderr.write('ended at once\n')
      process.exit(130)
    }
    firstMs = performance.now()
    stop.abort()
  }
  process.on('SIGINT', end)
  process.on('SIGTERM', end)
  process.on('SIGHUP', end)
  return stop.signal
}

function say({ data, text, note }: Answer, isJson: boolean, screen: Screen): void {
  if (isJson) return screen.line(JSON.stringify(data))
  if (typeof text === 'string') screen.line(text)
  else screen.table(text)
  // A note is for people: it must not end up in a pipe.
  if (note !== undefined && note !== '') screen.complain(note)
}

function complain(screen: Screen, isJson: boolean, said: { code: string; message: string; hint: string }): void {
  const { code, message, hint } = said
  if (isJson) screen.line(JSON.stringify({ code, message, hint }))
  else screen.complain(`${code === 'usage' ? '' : `${code}: `}${message}${hint === '' ? '' : `\n${hint}`}`)
}

// Whoever reads us may have seen enough: `skein ls | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

process.exitCode = await main(process.argv.slice(2))
