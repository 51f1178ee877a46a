/** Values and JSON. Cells hold byte strings as well, which JSON has not: they leave as `{ "base64": "..." }`. */
import { SkeinError } from '../../base/errors.ts'

/** The same value where no bytes are in it, as nearly always. */
export function jsonOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString('base64') }
  if (Array.isArray(value)) return value.some(holdsBytes) ? value.map(jsonOf) : value
  if (!holdsBytes(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, jsonOf(one)]))
}

function holdsBytes(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (value instanceof Uint8Array) return true
  for (const name in value) if (holdsBytes((value as Readonly<Record<string, unknown>>)[name])) return true
  return false
}

const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

export function fromBase64(text: unknown, name: string): Uint8Array {
  if (typeof text !== 'string' || !base64Pattern.test(text)) {
    throw new SkeinError('invalid_argument', `${name} must be base64`, { argument: name })
  }
  return new Uint8Array(Buffer.from(text, 'base64'))
}

/** An opaque word for something that we want back. */
export function sealed(parts: readonly unknown[]): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url')
}

/** What was sealed, or `invalid_token`; whoever asks checks the parts. */
export function unsealed(token: string, name: string): readonly unknown[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, 'base64url').toString())
    if (Array.isArray(parts)) return parts as readonly unknown[]
  } catch {
    // Told below.
  }
  throw new SkeinError('invalid_token', `${name} is none that this node gave out`)
}

/** How much text a value would be, near enough for a bound. */
export function roughSize(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (typeof value !== 'object' || value === null) return 8
  let size = 16
  for (const name in value) size += name.length + roughSize((value as Readonly<Record<string, unknown>>)[name])
  return size
}
