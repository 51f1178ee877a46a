/** Help, for one command and for all: from the table, so that it cannot tell of something else. */
import { commonOptions, nodeOptions, optionsOf, usageOf } from './command.ts'
import type { Command, Options } from './command.ts'

/** Names stand in a column that is no wider than this; longer ones get a line of their own. */
const nameColumn = 26
const mostColumns = 100

/** `program`: how the command is called here, so that examples can be typed as they stand. */
export function helpFor(command: Command, columns: number, program: string = 'skein'): string {
  const width = Math.min(columns, mostColumns)
  const options = optionLines(optionsOf(command), width)
  return [
    usageOf(command),
    '',
    ...wrapped(sentence(command.says), width),
    ...(command.more === undefined ? [] : ['', ...wrapped(command.more, width)]),
    ...(options.length === 0 ? [] : ['', 'Options:', ...options]),
    '',
    command.examples.length === 1 ? 'Example:' : 'Examples:',
    ...command.examples.map((example) => `  ${example.replace(/^skein /, () => `${program} `)}`),
  ].join('\n')
}

export function helpForAll(table: readonly Command[], columns: number, program: string = 'skein'): string {
  const width = Math.min(columns, mostColumns)
  return [
    'skein: replicated state for agent fleets',
    '',
    ...table.flatMap((command) => entry(usageOf(command).replace('skein ', ''), command.says, width)),
    '',
    'Options of every command that asks a node:',
    ...optionLines({ ...nodeOptions, ...commonOptions }, width),
    '',
    ...wrapped(
      `A token comes from SKEIN_TOKEN. \`${program} COMMAND --help\` explains a command, with an example.`,
      width,
    ),
    'Exit codes: 0; 1 the answer is no; 2 wrong usage; 3 the node is out of reach.',
  ].join('\n')
}

function optionLines(options: Options, width: number): string[] {
  return Object.entries(options).flatMap(([name, { takes, help }]) =>
    entry(`--${name}${takes === undefined ? '' : ` ${takes}`}`, help, width),
  )
}

function entry(name: string, says: string, width: number): string[] {
  const indent = ' '.repeat(nameColumn + 2)
  const [first = '', ...more] = wrapped(says, Math.max(20, width - nameColumn - 2))
  const rest = more.map((line) => indent + line)
  if (name.length > nameColumn - 2) return [`  ${name}`, indent + first, ...rest]
  return [`  ${name.padEnd(nameColumn)}${first}`, ...rest]
}

function sentence(says: string): string {
  return `${says.slice(0, 1).toUpperCase()}${says.slice(1)}.`
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
