import { describe, expect, test } from 'vitest'
import { UsageError } from './command.ts'
import type { Command } from './command.ts'
import { wordsFor } from './commands/completion.ts'
import { commands } from './commands/table.ts'
import { helpFor, helpForAll } from './help.ts'
import { findCommand, parse } from './parse.ts'
import { Screen, oneLine, sizeText, timeText } from './screen.ts'

const command: Command = {
  name: 'try',
  says: 'try',
  args: [{ name: 'ONE' }, { name: 'MORE', optional: true, many: true }],
  options: { value: { takes: 'VALUE', help: '' }, each: { takes: 'X', many: true, help: '' }, flag: { help: '' } },
  examples: ['skein try it'],
  run: () => Promise.resolve(undefined),
}

describe('what was typed', () => {
  const cases: readonly [
    words: string,
    args: readonly string[],
    options: Readonly<Record<string, readonly string[]>>,
  ][] = [
    ['a', ['a'], {}],
    ['a -5 -0.5', ['a', '-5', '-0.5'], {}],
    ['--value=x=y a', ['a'], { value: ['x=y'] }],
    ['--value= a', ['a'], { value: [''] }],
    ['--value --flag a', ['a'], { value: ['--flag'] }],
    ['a --each 1 --flag --each 2', ['a'], { each: ['1', '2'], flag: [''] }],
    ['--flag -- --value -h', ['--value', '-h'], { flag: [''] }],
    ['-h', [], { help: [''] }],
  ]

  test.each(cases)('%s', (words, args, options) => {
    const parsed = parse(command, words.split(' '))
    expect(parsed.args).toEqual(args)
    expect(Object.fromEntries(parsed.options)).toEqual(options)
  })

  test.each(['', 'a --flag=x', 'a --value', 'a --value 1 --value 2', 'a --fl', 'a -f', 'a --constructor'])(
    '`%s` is refused',
    (words) => {
      expect(() => parse(command, words.split(' ').filter(Boolean))).toThrow(UsageError)
    },
  )

  test('the longest name wins, and options may stand before it', () => {
    expect(findCommand(['peers', 'ls', '--json'], commands)?.command.name).toBe('peers ls')
    expect(findCommand(['--json', 'key', 'agent', 'new', 'x'], commands)).toMatchObject({
      command: { name: 'key agent new' },
      rest: ['--json', 'x'],
    })
    expect(findCommand(['peers'], commands)?.command.name).toBe('peers')
    expect(findCommand(['key'], commands)).toBeUndefined()
  })
})

describe('completion', () => {
  const cases: readonly [typed: string, words: readonly string[]][] = [
    ['ver', ['verify']],
    ['key ', ['agent', 'new', 'rotate']],
    ['key agent r', ['revoke']],
    ['completion ', ['bash', 'fish', 'zsh']],
    ['up --dura', ['--durability']],
    ['up --durability ', ['disk', 'memory', 'os']],
    ['key rotate f --step u', ['use']],
    ['get tasks ', []],
    ['nonsense ', []],
  ]

  test.each(cases)('after `%s`', (typed, words) => {
    expect(wordsFor(typed.split(' '), commands)).toEqual(words)
  })
})

describe('the table of commands', () => {
  test('names are unique, and each example calls its own command', () => {
    expect(new Set(commands.map(({ name }) => name)).size).toBe(commands.length)
    for (const { name, examples } of commands) {
      expect(examples.length).toBeGreaterThan(0)
      for (const example of examples) expect(example).toContain(`skein ${name}`)
    }
  })

  test('help keeps to the width that it is given', () => {
    for (const one of commands) {
      for (const line of helpFor(one, 80).split('\n')) {
        if (!line.startsWith('  skein ')) expect(line.length).toBeLessThanOrEqual(80)
      }
    }
    for (const line of helpForAll(commands, 80).split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  })
})

describe('the screen', () => {
  function written(isTTY: boolean, columns: number, use: (screen: Screen) => void): string {
    let text = ''
    use(new Screen({ write: (more) => (text += more), isTTY, columns }, { write: () => true }, { NO_COLOR: '1' }))
    return text
  }
  const table = {
    columns: ['key', 'value'],
    rows: [
      ['a', 'one'],
      ['longer', '\u001B[2J\u202Ezwei'],
    ],
    none: 'nothing',
  }

  test('columns for people, cut where the terminal ends; cells alone for a pipe', () => {
    expect(written(true, 80, (screen) => screen.table(table))).toBe(
      'KEY     VALUE\na       one\nlonger  \\u001b[2J\\u202ezwei\n',
    )
    expect(written(true, 11, (screen) => screen.table(table))).toBe('KEY     VA…\na       one\nlonger  \\u…\n')
    expect(written(false, 11, (screen) => screen.table(table))).toBe('a\tone\nlonger\t\\u001b[2J\\u202ezwei\n')
    expect(written(true, 80, (screen) => screen.table({ ...table, rows: [] }))).toBe('nothing\n')
  })

  test('amounts', () => {
    expect([0, 1023, 1024, 10 * 2 ** 20, 3 * 2 ** 50].map(sizeText)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '10.0 MiB',
      '3072 TiB',
    ])
    expect([5, 1500, 90_000, 7_200_000, 3e8].map(timeText)).toEqual(['5 ms', '1.5 s', '1 min', '2 h', '3 d'])
    expect(oneLine('a\nb\tc')).toBe('a\\u000ab\\u0009c')
  })
})
