/**
 * The log: JSON lines where a machine reads, short lines where a person does, a level for each part. pino writes, from this
 * process and at once: a line that was logged before a crash is there after it.
 *
 * Levels are asked for as `info,gossip=debug`: one for all, then exceptions. A part that is below its level costs a
 * call that does nothing.
 */
import { pino } from 'pino'
import type { Logger } from 'pino'
import { logParts } from './levels.ts'
import type { LogLevels, LogPart } from './levels.ts'

export type Log = Readonly<Record<LogPart, Logger>>

/** Where lines go: standard error by default, since standard output belongs to the answers. */
export interface LogSink {
  write(line: string): unknown
}

export interface LogConfig {
  readonly levels: LogLevels
  /** Lines for people rather than JSON. */
  readonly pretty: boolean
  readonly colour: boolean
  readonly sink: LogSink
  /** On every line: the node's name, once it is known. */
  readonly node?: string
}

export function openLog({ levels, pretty, colour, sink, node }: LogConfig): Log {
  const root = pino(
    {
      level: levels.all,
      base: node === undefined ? {} : { node },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      // A secret has no business in a log; should one come near it, it stops here.
      redact: {
        paths: ['token', 'key', 'fleetKey', 'authorization', '*.token', '*.fleetKey', '*.authorization'],
        censor: '***',
      },
    },
    pretty ? { write: (line: string) => sink.write(`${prettyLine(line, colour)}\n`) } : sink,
  )
  const parts = logParts.map(
    (part) => [part, root.child({ part }, { level: levels.parts[part] ?? levels.all })] as const,
  )
  return Object.fromEntries(parts) as unknown as Log
}

const colours: Readonly<Record<string, number>> = { trace: 90, debug: 90, info: 32, warn: 33, error: 31, fatal: 31 }
const always: ReadonlySet<string> = new Set(['level', 'time', 'part', 'msg', 'node'])

/** One line for a person: the time of day, the level, the part, the words, then what else was said as `name=value`. */
export function prettyLine(line: string, colour: boolean): string {
  let fields: Record<string, unknown>
  try {
    fields = JSON.parse(line) as Record<string, unknown>
  } catch {
    return line.trimEnd()
  }
  const { level, time, part, msg, err } = fields
  const paint = (code: number, text: string): string => (colour ? `\u001B[${code}m${text}\u001B[0m` : text)
  const more = Object.entries(fields)
    .filter(([name]) => !always.has(name) && name !== 'err')
    .map(([name, value]) => paint(90, `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`))
  const stack = typeof err === 'object' && err !== null && 'stack' in err ? [`\n${String(err.stack)}`] : []
  return [
    paint(90, text(time).slice(11, 23)),
    paint(colours[text(level)] ?? 0, text(level).toUpperCase().padEnd(5)),
    `${text(part)}:`,
    text(msg),
    ...more,
    ...stack,
  ].join(' ')
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
