/**
 * Versions at the border: `dots~digest`, dots alone (what a write or a transaction answers when no one entry is meant) or the
 * digest alone (in an ETag where the dots would be long). Opaque to clients; see entry-read.ts for what the parts say.
 */
import { SkeinError } from '../../base/errors.ts'
import type { Dot, OriginId } from '../../crdt/dot.ts'
import { limits } from '../../base/limits.ts'

export interface Version {
  readonly dots: readonly Dot[]
  /** Of an entry's live siblings. */
  readonly digest: string | undefined
}

const dotPattern = /^([0-9a-f]{32})-([0-9a-z]{1,11})$/
const digestPattern = /^[0-9a-z]{14}$/

export function parseVersion(text: string): Version {
  const at = text.indexOf('~')
  const digest = at < 0 ? undefined : text.slice(at + 1)
  const names = at < 0 ? text : text.slice(0, at)
  if (digest !== undefined && !digestPattern.test(digest)) throw notOurs()
  const dots = names === '' ? [] : names.split('_').map(parseDot)
  return { dots, digest }
}

function parseDot(text: string): Dot {
  const [, origin, seq] = dotPattern.exec(text) ?? []
  const number = Number.parseInt(seq ?? '', 36)
  if (origin === undefined || !Number.isSafeInteger(number) || number < 1) throw notOurs()
  return { origin: origin as OriginId, seq: number }
}

function notOurs(): SkeinError {
  return new SkeinError('invalid_token', 'that is no version as reads and writes answer them')
}

/** The version after a write: what the entry now shows, and the dot of the write where it is not among it (a removal). */
export function versionAfter(entry: string, receipt: string): string {
  if (receipt === '') return entry
  const at = entry.indexOf('~')
  const own = receipt.slice(0, receipt.indexOf('-'))
  const others = entry
    .slice(0, at)
    .split('_')
    .filter((dot) => dot !== '' && !dot.startsWith(own))
  return `${[...others, receipt].sort().join('_')}${entry.slice(at)}`
}

/** Headers have a length: an entry with many writers keeps only the digest in its ETag. */
export function etagOf(version: string): string {
  return `"${version.length <= limits.etagLength ? version : version.slice(version.indexOf('~'))}"`
}

/** Does an entry at this version meet what If-Match asks? Several versions may be listed, or `*` for any. */
export function matches(header: string, version: string, exists: boolean): boolean {
  if (header.trim() === '*') return exists
  const digest = version.slice(version.indexOf('~') + 1)
  return header.split(',').some((part) => {
    const parsed = parseVersion(unquoted(part.trim()))
    if (parsed.digest === undefined) {
      throw new SkeinError(
        'invalid_token',
        'a condition takes the version of an entry, as reading or writing that entry answers it; this one names a write only',
      )
    }
    return parsed.digest === digest
  })
}

/** `"v"` and, as some proxies make of it, `W/"v"`; a bare version is taken too. */
function unquoted(text: string): string {
  const match = /^(?:W\/)?"([^"]*)"$/.exec(text)
  return match?.[1] ?? text
}
