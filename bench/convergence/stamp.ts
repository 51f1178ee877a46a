/**
 * What a written value says of itself: when it was due, when it was written, by whom and for which phase. The rest is text.
 * Lag counts from when it was due: a writer that was kept waiting does not make its system look quick.
 */
export interface Stamp {
  readonly phase: number
  readonly writer: number
  readonly seq: number
  readonly dueUs: number
  readonly writtenUs: number
}

const words = 'agent task plan retry budget tool call result summary waiting blocked done check source draft merge '

/** ASCII, of so many bytes, or the stamp alone where that is longer. */
export function stamped({ phase, writer, seq, dueUs, writtenUs }: Stamp, bytes: number): string {
  const head = `${phase} ${writer} ${seq} ${dueUs.toFixed(1)} ${writtenUs.toFixed(1)}|`
  const at = seq % words.length
  return head + words.repeat(1 + Math.ceil(bytes / words.length)).slice(at, at + Math.max(0, bytes - head.length))
}

/** Undefined for a value that the bench did not write. */
export function stampOf(value: string): Stamp | undefined {
  const end = value.indexOf('|')
  if (end < 0) return undefined
  const [phase, writer, seq, dueUs, writtenUs] = value.slice(0, end).split(' ').map(Number)
  if (phase === undefined || writer === undefined || seq === undefined) return undefined
  if (dueUs === undefined || writtenUs === undefined) return undefined
  return { phase, writer, seq, dueUs, writtenUs }
}
