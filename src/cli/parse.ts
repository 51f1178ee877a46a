/**
 * What was typed, against what a command takes. Not `util.parseArgs`: here `-5` is a number, `--limit=5` and `--limit 5`
 * are the same, and what is unknown names what was likely meant.
 */
import { didYouMean } from '../base/nearest.ts'
import { UsageError, optionsOf } from './command.ts'
import type { Command } from './command.ts'

export interface Parsed {
  readonly args: readonly string[]
  readonly options: ReadonlyMap<string, readonly string[]>
}

/** The command whose words stand at the beginning: the longest of them. Options may stand before and between. */
export function findCommand(
  words: readonly string[],
  table: readonly Command[],
): { readonly command: Command; readonly rest: readonly string[] } | undefined {
  let found: { command: Command; rest: readonly string[] } | undefined
  for (const command of table) {
    const name = command.name.split(' ')
    if (found !== undefined && name.length <= found.command.name.split(' ').length) continue
    const rest = withoutName(words, name)
    if (rest !== undefined) found = { command, rest }
  }
  return found
}

function withoutName(words: readonly string[], name: readonly string[]): string[] | undefined {
  const rest: string[] = []
  let next = 0
  for (const word of words) {
    if (next < name.length && word === name[next]) next++
    else if (next < name.length && !word.startsWith('-')) return undefined
    else rest.push(word)
  }
  return next === name.length ? rest : undefined
}

export function parse(command: Command, words: readonly string[]): Parsed {
  const known = optionsOf(command)
  const options = new Map<string, string[]>()
  const args: string[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string
    if (word === '--') {
      args.push(...words.slice(at + 1))
      break
    }
    if (word === '-h') options.set('help', [''])
    else if (word.startsWith('--')) {
      const [, name = '', inline] = /^--([^=]*)(?:=([\s\S]*))?$/.exec(word) ?? []
      const option = Object.hasOwn(known, name) ? known[name] : undefined
      if (option === undefined) {
        throw new UsageError(`there is no option --${name} here.${didYouMean(name, Object.keys(known), '--')}`)
      }
      if (option.takes === undefined) {
        if (inline !== undefined) throw new UsageError(`--${name} takes no value`)
        options.set(name, [''])
        continue
      }
      const value = inline ?? words[++at]
      if (value === undefined) throw new UsageError(`--${name} needs a value: --${name} ${option.takes}`)
      const before = options.get(name)
      if (before !== undefined && option.many !== true) throw new UsageError(`--${name} stands there twice`)
      options.set(name, [...(before ?? []), value])
    } else if (/^-\D/.test(word)) throw new UsageError(`there is no option ${word} here; options begin with --`)
    else args.push(word)
  }
  if (!options.has('help')) checkCount(command, args)
  return { args, options }
}

function checkCount(command: Command, args: readonly string[]): void {
  const takes = command.args ?? []
  const missing = takes.filter(({ optional }) => optional !== true)[args.length]
  if (missing !== undefined) throw new UsageError(`${missing.name} is missing`)
  if (takes.at(-1)?.many !== true && args.length > takes.length) {
    throw new UsageError(`${args[takes.length] ?? ''} is one argument too many`)
  }
}
