/** Where answers go: tables for people on a terminal, tabs for pipes, and progress that only a terminal sees. */
import type { Cell, Table, Tone } from './command.ts'

export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

export class Screen {
  readonly isTerminal: boolean
  readonly hasColour: boolean
  readonly #out: Output
  readonly #errors: Output
  #progress = ''

  constructor(out: Output, errors: Output, environment: Readonly<Record<string, string | undefined>>) {
    this.#out = out
    this.#errors = errors
    this.isTerminal = out.isTTY === true
    // NO_COLOR as no-color.org has it: set and not empty.
    this.hasColour = this.isTerminal && (environment['NO_COLOR'] ?? '') === '' && environment['TERM'] !== 'dumb'
  }

  get columns(): number {
    return this.#out.columns ?? 80
  }

  line(text: string): void {
    this.clearProgress()
    this.#out.write(`${text}\n`)
  }

  /** As it is: for what draws the terminal itself. */
  raw(text: string): void {
    this.#out.write(text)
  }

  complain(text: string): void {
    this.clearProgress()
    this.#errors.write(`${text}\n`)
  }

  /** One line that is written over again, on a terminal alone. */
  progress(text: string): void {
    if (this.#errors.isTTY !== true) return
    this.clearProgress()
    this.#progress = text.slice(0, Math.max(0, (this.#errors.columns ?? 80) - 1))
    this.#errors.write(this.#progress)
  }

  clearProgress(): void {
    if (this.#progress === '') return
    this.#errors.write(`\r${' '.repeat(width(this.#progress))}\r`)
    this.#progress = ''
  }

  table({ columns, rows, none }: Table): void {
    if (rows.length === 0) {
      if (this.isTerminal) this.line(none)
      return
    }
    // A pipe gets the cells alone: what cuts at tabs wants no headings.
    if (!this.isTerminal) for (const row of rows) this.line(row.map(plainCell).join('\t'))
    else this.line(this.grid(columns, rows).join('\n'))
  }

  /** Lines of a table: columns stand one below the other, and a line ends where the terminal does. */
  grid(columns: readonly string[], rows: readonly (readonly Cell[])[]): string[] {
    const widths = columns.map((name, at) =>
      Math.max(width(name), ...rows.map((row) => width(plainCell(row[at] ?? '')))),
    )
    const lineOf = (row: readonly Cell[]): string => {
      let left = this.columns
      const cells: string[] = []
      for (const [at, cell] of row.entries()) {
        if (left <= 0) break
        const text = cut(plainCell(cell), left)
        const filled = at === row.length - 1 ? text : padded(text, widths[at] ?? 0)
        left -= width(filled) + 2
        cells.push(typeof cell === 'string' ? filled : this.paint(cell.tone, filled))
      }
      return cells.join('  ')
    }
    return [lineOf(columns.map((name) => ({ text: name.toUpperCase(), tone: 'dim' }))), ...rows.map(lineOf)]
  }

  paint(tone: Tone, text: string): string {
    return this.hasColour ? `\u001B[${tones[tone]}m${text}\u001B[0m` : text
  }
}

const tones: Readonly<Record<Tone, number>> = { dim: 2, bad: 31, good: 32, doubtful: 33 }

function plainCell(cell: Cell): string {
  return oneLine(typeof cell === 'string' ? cell : cell.text)
}

/** Whatever a peer or an agent wrote must not steer the terminal. */
export function oneLine(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Made when the first text needs it: its tables cost a short command 10 ms. */
let graphemes: Intl.Segmenter | undefined
const plainText = /^[ -~]*$/

function units(text: string): string[] {
  graphemes ??= new Intl.Segmenter(undefined, { granularity: 'grapheme' })
  return Array.from(graphemes.segment(text), ({ segment }) => segment)
}

function width(text: string): number {
  return plainText.test(text) ? text.length : units(text).length
}

function cut(text: string, columns: number): string {
  if (width(text) <= columns) return text
  return `${units(text)
    .slice(0, Math.max(0, columns - 1))
    .join('')}…`
}

/** A text in lines that are no wider; words stay whole where they fit. What is left beyond that many lines is cut. */
export function folded(text: string, columns: number, mostLines: number = Infinity): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of oneLine(text).split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (width(longer) <= columns) {
      line = longer
      continue
    }
    if (line !== '') lines.push(line)
    const parts = units(word)
    for (; parts.length > columns; lines.push(parts.splice(0, columns).join('')));
    line = parts.join('')
  }
  lines.push(line)
  if (lines.length <= mostLines) return lines
  return [...lines.slice(0, mostLines - 1), cut(`${lines[mostLines - 1] ?? ''} …`, columns)]
}

/** Filled up to a width. */
export function padded(text: string, columns: number): string {
  return text.padEnd(columns + text.length - width(text))
}

// How amounts are said.

export function sizeText(sizeBytes: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let at = 0
  let size = sizeBytes
  for (; size >= 1024 && at < names.length - 1; at++) size /= 1024
  return `${size >= 100 || at === 0 ? Math.round(size) : size.toFixed(1)} ${names[at] ?? ''}`
}

export function timeText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.floor(ms / 3_600_000)} h`
  return `${Math.floor(ms / 86_400_000)} d`
}

export function valueText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}

export function countText(count: number, one: string, many: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}
