/**
 * What a command is: data that help, completion, docs/CLI.md and the parser read, and one function. A command is one entry
 * of a file below commands/ and one line in the table.
 */
import { SkeinError } from '../base/errors.ts'
import type { Client } from './client.ts'
import type { Screen } from './screen.ts'

/** Said with an exit code of 2, and with the usage of the command. */
export class UsageError extends Error {}

/** The node cannot be reached, or the directory cannot be opened: exit code 3. */
export class OutOfReach extends Error {
  readonly code: string
  readonly hint: string

  constructor(code: string, message: string, hint: string) {
    super(message)
    this.code = code
    this.hint = hint
  }
}

/** The node answered with a problem: exit code 1. */
export class Refused extends Error {
  readonly code: string
  readonly hint: string
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, hint: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.code = code
    this.hint = hint
    this.details = details
  }
}

export interface Argument {
  /** In capitals: `SPACE`. */
  readonly name: string
  readonly optional?: true
  /** The last one may stand several times. */
  readonly many?: true
  /** What a shell can offer for it. */
  readonly words?: readonly string[]
}

export interface Option {
  /** What stands for its value: `SPACE`, `TIME`. Without it the option is a switch. */
  readonly takes?: string
  readonly many?: true
  readonly help: string
  readonly words?: readonly string[]
}

export type Options = Readonly<Record<string, Option>>

export type Tone = 'good' | 'bad' | 'doubtful' | 'dim'
export type Cell = string | { readonly text: string; readonly tone: Tone }

export interface Table {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly Cell[])[]
  /** Said instead, where there are no rows. */
  readonly none: string
}

export interface Answer {
  /** For `--json`. */
  readonly data: unknown
  /** For people: lines, or a table. */
  readonly text: string | Table
  /** A line below it, for people. */
  readonly note?: string
  /** False exits with 1: the answer is no. */
  readonly yes?: boolean
}

/** One call of a command, parsed and checked against what it takes. */
export interface Call {
  readonly command: Command
  /** All commands, this one among them. */
  readonly table: readonly Command[]
  readonly args: readonly string[]
  readonly json: boolean
  readonly screen: Screen
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Ctrl-C and SIGTERM, for what goes on until it is told to stop. */
  readonly stop: AbortSignal
  has(option: string): boolean
  text(option: string): string | undefined
  texts(option: string): readonly string[]
  /** The node that the call is about. */
  client(): Client
}

export interface Command {
  /** As it is typed; a group and a member of it with a space between: `peers forget`. */
  readonly name: string
  /** In one line, in the imperative. */
  readonly says: string
  /** What else help tells: paragraphs. */
  readonly more?: string
  readonly args?: readonly Argument[]
  readonly options?: Options
  readonly examples: readonly string[]
  /** It works on files and directories, and asks no node. */
  readonly local?: true
  /** Undefined where everything was said already, as it came. */
  run(call: Call): Promise<Answer | undefined>
}

/** Of every command. */
export const commonOptions: Options = {
  json: { help: 'Answer in JSON, for machines.' },
  help: { help: 'Explain the command, with an example.' },
}

/** Of every command that asks a node. */
export const nodeOptions: Options = {
  node: { takes: 'URL', help: 'The node to ask (SKEIN_NODE; http://127.0.0.1:7401).' },
  agent: { takes: 'NAME', help: 'Who writes (SKEIN_AGENT; operator). With a token it is the token that says.' },
}

export function optionsOf(command: Command): Options {
  return { ...(command.local === true ? {} : nodeOptions), ...command.options, ...commonOptions }
}

export function usageOf(command: Command): string {
  const args = (command.args ?? []).map(({ name, optional, many }) => {
    const shown = many === true ? `${name}...` : name
    return optional === true ? `[${shown}]` : shown
  })
  return ['skein', command.name, ...args].join(' ')
}

// What arguments are made of.

export function whole(text: string, what: string): number {
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(Number(text))) {
    throw new UsageError(`${what} is a whole number, not ${text}`)
  }
  return Number(text)
}

/** JSON where it is JSON, and else a text: `5` is a number, `five` a text, `"5"` a text too. */
export function valueOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** `FIELD=VALUE` as one field of a record; `__proto__` stays a plain name for the node to refuse. */
export function fieldsOf(pairs: readonly string[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    if (at < 1) throw new UsageError(`${pair} is not FIELD=VALUE`)
    const value = valueOf(pair.slice(at + 1))
    Object.defineProperty(fields, pair.slice(0, at), { value, enumerable: true, configurable: true, writable: true })
  }
  return fields
}

/** An error as code, message and what to do; undefined for a bug. */
export function sayable(error: unknown): { code: string; message: string; hint: string; exit: 1 | 3 } | undefined {
  if (error instanceof SkeinError) {
    // What concerns the directory as a whole keeps the node out of reach.
    const exit = error.code.startsWith('store_') ? 3 : 1
    return { code: error.code, message: error.message, hint: error.hint, exit }
  }
  if (error instanceof Refused) return { code: error.code, message: error.message, hint: error.hint, exit: 1 }
  if (error instanceof OutOfReach) return { code: error.code, message: error.message, hint: error.hint, exit: 3 }
  return undefined
}
