/**
 * An entry read without saying its type, and the version that names what was read.
 *
 * A version is `dots~digest`. The dots are the newest of each origin that has a live sibling: what a reader has seen. They
 * alone do not name a state: a removed element or field leaves them as they are. So a digest of every live sibling
 * stands behind them, and two versions of an entry are the same state exactly when their digests are equal.
 */
import { checksum32 } from '../base/hash.ts'
import { utf8 } from '../base/bytes.ts'
import type { Entry } from '../crdt/change.ts'
import { newest, pathValue } from '../crdt/cell.ts'
import type { Sibling } from '../crdt/cell.ts'
import { decodeValue } from '../base/msgpack.ts'
import { written } from '../crdt/type.ts'
import type { Written } from '../crdt/type.ts'
import { typeOf } from '../crdt/types/table.ts'
import type { CellSibling } from './handles.ts'
import { versionOf } from './handles.ts'

export interface EntryRead {
  readonly key: string
  readonly type: string
  readonly value: unknown
  /** Concurrent writes that `value` does not show, the most recent first. */
  readonly concurrent: readonly Written<unknown>[]
  /** Ids of open conflicts in which it has a part, where there are any. */
  readonly conflicts?: readonly string[]
  readonly by: { readonly agent: string; readonly at: number }
  readonly version: string
}

/** As its type reads it; of several live types the newest. Undefined when nothing is there, or nothing that is known. */
export function readEntry(entry: Entry, wanted?: number): EntryRead | undefined {
  const type = typeOf(wanted ?? entry.types().at(-1) ?? 0)
  if (type === undefined) return undefined
  const { heads, digest, last } = liveOf(entry, type.id)
  if (last === undefined) return undefined
  const { value, concurrent } = type.read(entry.cells(type.id))
  return {
    key: entry.key,
    type: type.name,
    value,
    concurrent,
    by: { agent: last.agent, at: written(last, undefined).at },
    version: `${versionOf(heads)}~${digest}`,
  }
}

/** The version of an entry as it stands; an entry that is not there has one too. */
export function entryVersion(entry: Entry): string {
  const { heads, digest } = liveOf(entry, 0)
  return `${versionOf(heads)}~${digest}`
}

/** Every live sibling of every cell of one type, as it was written. */
export function siblingsOf(entry: Entry, type: number): CellSibling[] {
  const all: CellSibling[] = []
  for (const [path, siblings] of entry.cells(type).all()) {
    for (const sibling of siblings) {
      all.push({ path: pathValue(path), expires: sibling.expires, ...written(sibling, decodeValue(sibling.value)) })
    }
  }
  return all
}

/** Origins come again and again; bounded, since members come and go. */
const hashes = new Map<string, number>()
const hashesMost = 4096

function hashOf(origin: string): number {
  let hash = hashes.get(origin)
  if (hash === undefined) {
    if (hashes.size >= hashesMost) hashes.clear()
    const bytes = utf8(origin)
    hashes.set(origin, (hash = checksum32(bytes, 0, bytes.length, 0)))
  }
  return hash
}

/** Two lanes of FNV-1a over 32-bit words with their high bits folded back: enough to tell states of one entry apart. */
function liveOf(
  entry: Entry,
  shown: number,
): { readonly heads: Map<string, number>; readonly digest: string; readonly last: Sibling | undefined } {
  let a = 0x811c9dc5
  let b = 0x2f0b4a27
  const mix = (word: number): void => {
    a = Math.imul(a ^ word, 0x01000193)
    a ^= a >>> 15
    b = Math.imul(b ^ word, 0x85ebca6b)
    b ^= b >>> 13
  }
  const heads = new Map<string, number>()
  let last: Sibling | undefined
  for (const type of entry.types()) {
    for (const [path, siblings] of entry.cells(type).all()) {
      mix(type)
      mix(path.length)
      for (let i = 0; i < path.length; i++) mix(path.charCodeAt(i))
      for (const sibling of siblings) {
        const { origin, seq } = sibling
        mix(hashOf(origin))
        mix(seq)
        mix(Math.floor(seq / 2 ** 32))
        if (type === shown) last = last === undefined ? sibling : newest([last, sibling])
        if (seq > (heads.get(origin) ?? 0)) heads.set(origin, seq)
      }
      mix(-1)
    }
  }
  return { heads, digest: lane(a) + lane(b), last }
}

function lane(word: number): string {
  return (word >>> 0).toString(36).padStart(7, '0')
}
