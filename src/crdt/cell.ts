/**
 * The cell: the atom that is merged. A cell is named by (entry, type, path) and holds its live *siblings*; every CRDT
 * type is a view over cells, and this file is all that merging needs to know.
 *
 * The rule (DottedDB; Gonçalves et al., 2017; see docs/decisions/cells.md): a dot that a replica has seen and whose
 * sibling it no longer holds is gone for good, so removal leaves nothing behind.
 */
import { binaryString, fromBinaryString } from '../base/bytes.ts'
import { decodeValue, encodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import { covers } from './dot.ts'
import type { Dot, OriginId, ReadonlyVector } from './dot.ts'

/** The number of a type on the wire and on disk; see types/table.ts. */
export type TypeId = number

/**
 * Where in its entry a cell stands: the canonical bytes of a value, as a binary string, so that it can be a map key
 * and JavaScript's order is the order of the bytes.
 */
export type Path = string

/** The one path of types that have one cell. */
export const rootPath: Path = '\xc0'

export function pathOf(value: unknown): Path {
  return binaryString(encodeValue(value))
}

export function pathValue(path: Path): Value {
  return decodeValue(fromBinaryString(path))
}

/** A dotted value in a cell. Two siblings in one cell are two concurrent writes. */
export interface Sibling {
  readonly origin: OriginId
  readonly seq: number
  /** Hybrid time of the write; see clock.ts. */
  readonly time: number
  readonly agent: string
  /** Canonical MessagePack. */
  readonly value: Uint8Array
  /** Wall time in milliseconds after which a node may delete exactly this dot; 0 is never. */
  readonly expires: number
}

export type Siblings = readonly Sibling[]
export const noSiblings: Siblings = []

/** Orders siblings from the oldest to the newest: by time, then dot. The last is what a plain read shows. */
export function compareSiblings(a: Sibling, b: Sibling): number {
  if (a.time !== b.time) return a.time - b.time
  if (a.origin !== b.origin) return a.origin < b.origin ? -1 : 1
  return a.seq - b.seq
}

export function newest(siblings: Siblings): Sibling | undefined {
  let best = siblings[0]
  for (let i = 1; i < siblings.length; i++) {
    const sibling = siblings[i] as Sibling
    if (compareSiblings(best as Sibling, sibling) < 0) best = sibling
  }
  return best
}

export function sameDot(a: Dot, b: Dot): boolean {
  return a.seq === b.seq && a.origin === b.origin
}

export function hasDot(dots: readonly Dot[], dot: Dot): boolean {
  for (const other of dots) if (sameDot(other, dot)) return true
  return false
}

/** The siblings after a write: those not superseded, and the written one. Kept in order, so equal sets are equal. */
export function writeCell(siblings: Siblings, superseded: readonly Dot[], written: Sibling | undefined): Siblings {
  if (siblings.length === 0) return written === undefined ? noSiblings : [written]
  const kept = siblings.filter((sibling) => !hasDot(superseded, sibling))
  if (written !== undefined) insertSibling(kept, written)
  return kept.length === 0 ? noSiblings : kept
}

function insertSibling(siblings: Sibling[], written: Sibling): void {
  let at = siblings.length
  while (at > 0 && compareSiblings(siblings[at - 1] as Sibling, written) > 0) at--
  siblings.splice(at, 0, written)
}

/**
 * Merges a whole cell with a peer's copy: keep what both have; keep mine if the peer has not seen its dot; take theirs
 * if I have not. What one side has seen and does not hold, it removed.
 */
export function mergeCell(mine: Siblings, seen: ReadonlyVector, theirs: Siblings, theirSeen: ReadonlyVector): Siblings {
  const merged = mine.filter((sibling) => hasDot(theirs, sibling) || !covers(theirSeen, sibling))
  for (const sibling of theirs) if (!hasDot(mine, sibling) && !covers(seen, sibling)) insertSibling(merged, sibling)
  return merged.length === 0 ? noSiblings : merged
}
