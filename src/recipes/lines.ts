/**
 * Entries as JSON lines, out and in: to look at, to carry elsewhere, to begin with. They carry values, not history: who wrote
 * them, concurrent writes and what was spent stay behind. `backup` keeps everything.
 */
import { SkeinError } from '../base/errors.ts'

export interface Line {
  readonly space: string
  readonly key: string
  readonly type: string
  readonly value?: unknown
}

export type MakingOperation = Readonly<Record<string, unknown>> & { readonly op: string }

type Making = (value: unknown) => readonly MakingOperation[]

/** The operations that make an entry what it was, by its type. A type that is missing here is left out, and said. */
const making: Readonly<Record<string, Making>> = {
  register: (value) => [{ op: 'set', value }],
  record: (value) => unlessEmpty(value, { op: 'set', fields: value }),
  counter: (value) => (value === 0 ? [] : [{ op: 'incr', by: value }]),
  set: (value) => unlessEmpty(value, { op: 'add', values: value }),
  flag: (value) => [{ op: value === true ? 'enable' : 'disable' }],
  log: (value) => unlessEmpty(value, { op: 'append', values: value }),
  list: (value) => unlessEmpty(value, { op: 'insert', at: 0, values: value }),
  text: (value) => (value === '' ? [] : [{ op: 'insert', at: 0, text: value }]),
  doc: (value) =>
    Object.entries((value ?? {}) as Readonly<Record<string, unknown>>).map(([name, field]) => ({
      op: 'set',
      path: [name],
      value: field,
    })),
}

function unlessEmpty(value: unknown, operation: MakingOperation): readonly MakingOperation[] {
  return typeof value !== 'object' || value === null || Object.keys(value).length === 0 ? [] : [operation]
}

/** Undefined for a type that is not carried: a copy of a right (a claim, a budget) is no right. */
export function makingOf({ type, value }: Line): readonly MakingOperation[] | undefined {
  return Object.hasOwn(making, type) ? making[type]?.(value) : undefined
}

/** Throws `malformed`, with the number of the line. */
export function parseLine(text: string, number: number, into: string | undefined): Line {
  let line: Partial<Record<keyof Line, unknown>> | null
  try {
    line = JSON.parse(text) as typeof line
  } catch {
    throw new SkeinError('malformed', `line ${number} is not JSON`, { line: number })
  }
  const { key, type, value } = line ?? {}
  const space = into ?? line?.space
  if (typeof space !== 'string' || typeof key !== 'string' || typeof type !== 'string') {
    throw new SkeinError('malformed', `line ${number} lacks a space, a key or a type`, { line: number })
  }
  return { space, key, type, value }
}

export function lineText({ space, key, type, value }: Line): string {
  return JSON.stringify({ space, key, type, value } satisfies Line)
}

/** Operations that go in one change of a space, below what a node takes in one. */
export const operationsAtOnce = 500
/** And the characters of their lines. */
export const charactersAtOnce = 500_000

interface Writes {
  run(key: string, type: string, operation: string, args: Readonly<Record<string, unknown>>): unknown
}

/** A node in this process, or a client of one. */
export interface LinesHost {
  spaceNames(): Promise<readonly string[]>
  space(name: string): {
    entries(query: { readonly prefix: string }): AsyncIterable<Omit<Line, 'space'>>
    transact(work: (tx: Writes) => unknown): { readonly durable: Promise<void> }
  }
}

export interface ExportOptions {
  /** Only these; all unless told otherwise. */
  readonly spaces?: readonly string[]
  readonly prefix?: string
}

/** One line an entry, without its end. */
export async function* exportLines(host: LinesHost, options: ExportOptions = {}): AsyncGenerator<string, void, void> {
  const { spaces = await host.spaceNames(), prefix = '' } = options
  for (const space of spaces) {
    for await (const { key, type, value } of host.space(space).entries({ prefix })) {
      yield lineText({ space, key, type, value: readable(value) })
    }
  }
}

/** Bytes have no JSON: they leave as `{ base64 }`, as over HTTP. */
function readable(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString('base64') }
  if (Array.isArray(value)) return value.map(readable)
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, readable(one)]))
}

export interface ImportReport {
  readonly lines: number
  readonly entries: number
  /** How many of each type were left out. */
  readonly leftOut: Readonly<Record<string, number>>
}

/**
 * Adds to what is there: counters add up, sets join, records merge. What resolves is durable; when a line is `malformed` the
 * lines before it may have been written.
 */
export async function importLines(
  host: LinesHost,
  source: Iterable<string> | AsyncIterable<string>,
  options: { readonly into?: string } = {},
): Promise<ImportReport> {
  const leftOut: Record<string, number> = {}
  let waiting: (Line & { readonly operation: MakingOperation })[] = []
  let [lines, entries, characters] = [0, 0, 0]
  const flush = async (): Promise<void> => {
    const receipts = [...Map.groupBy(waiting, ({ space }) => space)].map(([space, all]) =>
      host.space(space).transact((tx) => {
        for (const { key, type, operation } of all) {
          const { op, ...args } = operation
          tx.run(key, type, op, args)
        }
      }),
    )
    waiting = []
    characters = 0
    await Promise.all(receipts.map(({ durable }) => durable))
  }
  for await (const text of source) {
    lines++
    if (text.trim() === '') continue
    const line = parseLine(text, lines, options.into)
    const operations = makingOf(line)
    if (operations === undefined) {
      leftOut[line.type] = (leftOut[line.type] ?? 0) + 1
      continue
    }
    entries++
    for (const operation of operations) waiting.push({ ...line, operation })
    characters += text.length
    if (waiting.length >= operationsAtOnce || characters >= charactersAtOnce) await flush()
  }
  await flush()
  return { lines, entries, leftOut }
}
