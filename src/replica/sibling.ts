/**
 * Siblings as the replica holds them, and how they stand in rows. The live cells of an entry, or of a chunk of it, are
 * one list of siblings in the order of their cells' names; those of one cell stand side by side, from the oldest to the
 * newest. So an entry of one cell, and most are that, is a list of one.
 */
import { interned } from '../base/bytes.ts'
import { lanes } from '../base/hash.ts'
import { Reader, skipValue } from '../base/msgpack.ts'
import type { Writer } from '../base/msgpack.ts'
import { appended, cellKey } from '../crdt/change.ts'
import type { Sibling } from '../crdt/cell.ts'
import type { OriginId } from '../crdt/dot.ts'
import type { Names } from './names.ts'
import { digest } from './tree.ts'

/** Values that stay are copied into slabs: one that outlives its neighbours keeps no more than this alive. A guess. */
const slabBytes = 2048
let slab = new Uint8Array(slabBytes)
let slabAt = 0

/** What one counts for in the cache beside the bytes of its value. */
export const siblingWeight = 200

const two32 = 2 ** 32

/**
 * A sibling, its cell's name, and its digest: the write that supersedes it will need that again. There are as many of
 * these as values in memory, so it points to as little as can be: at its value by its place among bytes that many
 * share, and its time is two halves, since V8 keeps each larger number apart.
 */
export class StoredSibling implements Sibling {
  /** Of its cell: type and path, see cellKey. */
  readonly name: string
  readonly origin: OriginId
  readonly seq: number
  readonly agent: string
  readonly expires: number
  readonly #timeHigh: number
  readonly #timeLow: number
  #bytes: Uint8Array
  #from: number
  readonly #length: number
  /** The bytes are those of a delta or an arena, and are kept alive until the first flush. */
  #unsettled = false
  #hashed = false
  #h1 = 0
  #h2 = 0
  #h3 = 0
  #h4 = 0

  constructor(
    name: string,
    origin: OriginId,
    seq: number,
    time: number,
    agent: string,
    expires: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ) {
    this.name = name
    this.origin = origin
    this.seq = seq
    this.agent = agent
    this.expires = expires
    this.#timeHigh = (time / two32) | 0
    this.#timeLow = time | 0
    this.#bytes = bytes
    this.#from = from
    this.#length = to - from
  }

  /** One that was just written: `value` is part of what goes soon. */
  static written(
    name: string,
    origin: OriginId,
    seq: number,
    time: number,
    agent: string,
    expires: number,
    value: Uint8Array,
  ): StoredSibling {
    const sibling = new StoredSibling(name, origin, seq, time, agent, expires, value, 0, value.length)
    sibling.#unsettled = true
    return sibling
  }

  get time(): number {
    return this.#timeHigh * two32 + (this.#timeLow >>> 0)
  }

  get value(): Uint8Array {
    const bytes = this.#bytes
    return bytes.length === this.#length ? bytes : bytes.subarray(this.#from, this.#from + this.#length)
  }

  /** Leaves the digest in `lanes`. */
  digest(key: string): void {
    if (this.#hashed) {
      lanes[0] = this.#h1
      lanes[1] = this.#h2
      lanes[2] = this.#h3
      lanes[3] = this.#h4
      return
    }
    digest(key, this.name.charCodeAt(0), this.name.slice(1), this)
    this.#h1 = (lanes[0] as number) | 0
    this.#h2 = (lanes[1] as number) | 0
    this.#h3 = (lanes[2] as number) | 0
    this.#h4 = (lanes[3] as number) | 0
    this.#hashed = true
  }

  writeValue(row: Writer): void {
    if (this.#unsettled) this.#settle()
    row.rawPart(this.#bytes, this.#from, this.#from + this.#length)
  }

  #settle(): void {
    const length = this.#length
    this.#unsettled = false
    if (length > slabBytes / 4) {
      this.#bytes = this.#bytes.slice()
      return
    }
    if (slabAt + length > slabBytes) {
      slab = new Uint8Array(slabBytes)
      slabAt = 0
    }
    slab.set(this.#bytes, slabAt)
    this.#bytes = slab
    this.#from = slabAt
    slabAt += length
  }
}

/** Where the cell of a name starts among siblings; where it would, if it is not there. */
export function cellAt(siblings: readonly StoredSibling[], name: string): number {
  let low = 0
  let high = siblings.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((siblings[middle] as StoredSibling).name < name) low = middle + 1
    else high = middle
  }
  return low
}

/** Where the cell ends that starts here: where the next one starts. */
export function cellEnd(siblings: readonly StoredSibling[], from: number): number {
  const name = siblings[from]?.name
  let to = from + 1
  while (to < siblings.length && (siblings[to] as StoredSibling).name === name) to++
  return to
}

export function cellOf(siblings: readonly StoredSibling[], name: string): readonly StoredSibling[] {
  const from = cellAt(siblings, name)
  const first = siblings[from]
  if (first?.name !== name) return none
  const to = cellEnd(siblings, from)
  return to === from + 1 ? [first] : siblings.slice(from, to)
}

const none: readonly StoredSibling[] = []
/** Up to so many siblings a list is made anew when it grows: `push` would leave room for sixteen more. A guess. */
const fewSiblings = 16

/** The list with other siblings in a cell. It may be the given one, changed, or take `after` over. */
export function withCell(siblings: StoredSibling[], name: string, after: StoredSibling[]): StoredSibling[] {
  if (siblings.length === 0) return after
  const from = cellAt(siblings, name)
  const gone = siblings[from]?.name === name ? cellEnd(siblings, from) - from : 0
  if (gone === 1 && after.length === 1) {
    siblings[from] = after[0] as StoredSibling
    return siblings
  }
  if (siblings.length <= fewSiblings) return siblings.toSpliced(from, gone, ...after)
  siblings.splice(from, gone, ...after)
  return siblings
}

export function countCells(siblings: readonly StoredSibling[]): number {
  let count = 0
  for (let at = 0; at < siblings.length; at = cellEnd(siblings, at)) count++
  return count
}

/** On disk, origins and agents are numbers. */
export interface Numbers {
  readonly origins: Names<OriginId>
  readonly agents: Names<string>
}

/** Writes the cell that starts at `from`, up to `to`. */
export function writeCell(
  row: Writer,
  { origins, agents }: Numbers,
  siblings: readonly StoredSibling[],
  from: number,
  to: number,
): void {
  const { name } = siblings[from] as StoredSibling
  row.number(name.charCodeAt(0))
  row.rawBinary(name, 1)
  let expiring = false
  for (let at = from; at < to; at++) expiring ||= (siblings[at] as StoredSibling).expires !== 0
  // The count, negative when expiries follow: they are rare, and a byte a sibling is not.
  row.number(expiring ? from - to : to - from)
  for (let at = from; at < to; at++) {
    const sibling = siblings[at] as StoredSibling
    row.number(origins.numberOf(sibling.origin))
    row.number(sibling.seq)
    row.number(sibling.time)
    row.number(agents.numberOf(sibling.agent))
    if (expiring) row.number(sibling.expires)
    sibling.writeValue(row)
  }
}

/** What `writeCell` wrote, cell after cell. The siblings keep the bytes alive. */
export function readCells(bytes: Uint8Array, { origins, agents }: Numbers): StoredSibling[] {
  let found: StoredSibling[] = []
  const reader = new Reader(bytes)
  while (!reader.done) {
    const type = reader.uint(255)
    const end = skipValue(bytes, reader.at)
    const name = cellKey(type, interned.of(bytes, reader.at, end))
    reader.at = end
    const count = reader.number()
    for (let left = Math.abs(count); left > 0; left--) {
      const origin = origins.nameOf(reader.uint())
      const seq = reader.uint()
      const time = reader.uint()
      const agent = agents.nameOf(reader.uint())
      const expires = count < 0 ? reader.uint() : 0
      const from = reader.at
      reader.at = skipValue(bytes, from)
      found = appended(found, new StoredSibling(name, origin, seq, time, agent, expires, bytes, from, reader.at))
    }
  }
  return found.length > 1 && found.length <= fewSiblings ? found.slice() : found
}
