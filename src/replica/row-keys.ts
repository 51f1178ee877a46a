/**
 * Where every row stands. A key is a table byte, then for rows of a space its local number, then the rest. Local numbers
 * stand for spaces, origins and agents on disk only; nothing that leaves the node holds one.
 *
 * | table | rest of the key | value |
 * | --- | --- | --- |
 * | meta | name | see replica.ts |
 * | origin, agent | number | the name it stands for |
 * | space | number | name, generation, root, counters |
 * | entry | space, key | cells, or the directory of their chunks |
 * | chunk | space, key length, key, chunk number | cells |
 * | context | space, number | a context that others begin at; see anchors.ts |
 * | writer | space, origin number | sequence, chain, log floor, context |
 * | log | space, origin number, sequence | place in local order, delta |
 * | segment | space, origin number, first sequence | what pruning must know of 256 deltas |
 * | leaf | space, leaf number | count and sum |
 * | expiry | space, time, key length, key, cell, origin number, sequence | nothing |
 * | adoption | space, part | a snapshot of another replica that is being taken over; see adoption.ts |
 * | staged | space, 0, chunk number | its cells, in pieces |
 * | staged | space, 1, key | nothing: that entry has taken up its part |
 * | evidence | space, number | the losing deltas of a fork; see evidence.ts |
 * | local | name | what a driver keeps on this node alone, in the batch of the change that it goes with |
 * | trail | space, origin number | chain hashes from before the log; see log.ts |
 */
import { utf8 } from '../base/bytes.ts'
import type { RowRange } from '../base/rows.ts'

export const table = {
  meta: 0x01,
  origin: 0x02,
  agent: 0x03,
  space: 0x04,
  entry: 0x05,
  chunk: 0x06,
  writer: 0x07,
  log: 0x08,
  segment: 0x09,
  leaf: 0x0a,
  expiry: 0x0b,
  adoption: 0x0c,
  staged: 0x0d,
  evidence: 0x0e,
  local: 0x0f,
  trail: 0x10,
  context: 0x11,
} as const

/** The tables that a replica is opened from, in the order in which it wants their rows. */
export const tablesToOpen: readonly number[] = [
  table.origin,
  table.agent,
  table.space,
  table.context,
  table.writer,
  table.segment,
  table.adoption,
]

/** The tables whose rows go with their space. */
export const tablesOfSpace: readonly number[] = [
  table.entry,
  table.chunk,
  table.writer,
  table.log,
  table.segment,
  table.leaf,
  table.expiry,
  table.adoption,
  table.staged,
  table.evidence,
  table.trail,
  table.context,
]

const encoder = new TextEncoder()

/** Two bytes of a row key, less the bit that says so. */
export const maxSpaceNumber = 0x7fff

/** Views of the start of a reused buffer, one for each length, made once: a typed array costs more than a short row. */
export class Views {
  #of: Uint8Array | undefined
  #views: (Uint8Array | undefined)[] = []

  first(bytes: Uint8Array, length: number): Uint8Array {
    if (length > 1024) return bytes.subarray(0, length)
    if (this.#of !== bytes) {
      this.#of = bytes
      this.#views = Array.from({ length: 1025 })
    }
    return (this.#views[length] ??= bytes.subarray(0, length))
  }
}

/** Builds keys in one reused buffer: a key is valid until the next is built. */
export class KeyWriter {
  readonly #views = new Views()
  #bytes = new Uint8Array(4096)
  #at = 0

  start(tableByte: number): this {
    this.#bytes[0] = tableByte
    this.#at = 1
    return this
  }

  /** A number up to `maxSpaceNumber`, as used for spaces: one byte where it fits. */
  short(value: number): this {
    if (value >= 0x80) this.#bytes[this.#at++] = 0x80 | (value >> 8)
    this.#bytes[this.#at++] = value & 0xff
    return this
  }

  /** A number whose byte order is its numeric order: a length byte, then big-endian. */
  ordered(value: number): this {
    const bytes = this.#bytes
    let size = 1
    for (let rest = value; rest >= 0x100; rest = Math.floor(rest / 0x100)) size++
    let at = this.#at
    bytes[at] = size
    this.#at = at + size + 1
    for (at += size; size > 4; size--) {
      bytes[at--] = value % 0x100
      value = Math.floor(value / 0x100)
    }
    for (let rest = value; size > 0; size--, rest >>>= 8) bytes[at--] = rest & 0xff
    return this
  }

  text(value: string): this {
    const length = value.length
    if (this.#at + 3 * length > this.#bytes.length) this.#grow(3 * length)
    const start = this.#at
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit >= 0x80) {
        this.#at = start + encoder.encodeInto(value, this.#bytes.subarray(start)).written
        return this
      }
      this.#bytes[start + i] = unit
    }
    this.#at = start + length
    return this
  }

  raw(bytes: Uint8Array): this {
    if (this.#at + bytes.length > this.#bytes.length) this.#grow(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
    return this
  }

  get bytes(): Uint8Array {
    return this.#views.first(this.#bytes, this.#at)
  }

  #grow(need: number): void {
    const grown = new Uint8Array(2 * (this.#at + need))
    grown.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = grown
  }
}

/** Every row whose key starts so. */
export function prefixRange(prefix: Uint8Array): RowRange {
  const gte = prefix.slice()
  const lt = prefix.slice()
  let last = lt.length - 1
  while (lt[last] === 0xff) last--
  lt[last] = (lt[last] as number) + 1
  return { gte, lt: lt.subarray(0, last + 1) }
}

export function tableRange(tableByte: number): RowRange {
  return prefixRange(Uint8Array.of(tableByte))
}

export function spaceRange(tableByte: number, space: number): RowRange {
  return prefixRange(new KeyWriter().start(tableByte).short(space).bytes)
}

export function metaKey(name: string): Uint8Array {
  return Uint8Array.of(table.meta, ...utf8(name))
}

/** A row of the node's own, that no peer and no space knows. */
export function localKey(name: string): Uint8Array {
  return Uint8Array.of(table.local, ...utf8(name))
}

/** The user's key in the key of an entry row. */
export function entryKeyOf(rowKey: Uint8Array): string {
  return new TextDecoder().decode(rowKey.subarray(((rowKey[1] as number) & 0x80) === 0 ? 2 : 3))
}
