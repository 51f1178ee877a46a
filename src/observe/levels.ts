/** What can be asked of the log, without the log itself: settings are read by commands that never write a line. */

/** Whoever may speak: one word each, the `part` of every line. */
export const logParts = ['node', 'store', 'transport', 'gossip', 'sync', 'http', 'config'] as const
export type LogPart = (typeof logParts)[number]

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

export interface LogLevels {
  readonly all: LogLevel
  readonly parts: Readonly<Partial<Record<LogPart, LogLevel>>>
}
