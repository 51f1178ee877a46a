/**
 * The Merkle tree of a space, kept at O(1) a write: 65,536 leaves, each the sum of the digests of its siblings in four
 * 32-bit lanes, and their count. Sums are additive (after Riak's TicTac tree), so a write adds what it brings and takes
 * away what it supersedes, and any upper level is a sum of leaves. An entry's cells share the leaf of its key.
 *
 * Only leaves that hold something have a row, and only leaves that were touched are in memory. A sum guards against
 * accident, not against a writer who crafts cells: docs/decisions/digest.md.
 */
import { checksum32, hash128, lanes } from '../base/hash.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import type { Path, Sibling, TypeId } from '../crdt/cell.ts'
import { bytesOf } from '../crdt/dot.ts'
import { intact } from './damage.ts'
import { KeyWriter, Views, table } from './row-keys.ts'

export const leafCount = 65_536

const scratch = new Writer()
const views = new Views()

/** 32 bits, signed, so that V8 keeps them in the entry itself; the upper half is the entry's leaf. */
export function keyHash(key: string): number {
  scratch.rewind()
  scratch.begin()
  scratch.string(key)
  return checksum32(scratch.bytes, 0, scratch.at, 0x6c656166) | 0
}

/** Which leaf an entry belongs to. */
export function leafOf(key: string): number {
  return keyHash(key) >>> 16
}

/** The digest of one sibling, left in `lanes`: everything that a reader could see is inside. */
export function digest(key: string, type: TypeId, path: Path, sibling: Sibling): void {
  scratch.rewind()
  scratch.begin()
  scratch.string(key)
  scratch.number(type)
  scratch.rawBinary(path)
  scratch.raw(bytesOf(sibling.origin))
  scratch.number(sibling.seq)
  scratch.number(sibling.time)
  scratch.string(sibling.agent)
  scratch.number(sibling.expires)
  scratch.raw(sibling.value)
  hash128(scratch.bytes, 0, scratch.at, 0x736b6569, 0x6e2d6365, 0x6c6c2d31, 0)
}

/** Four lanes and a count. */
export type Sum = Uint32Array
const width = 5

const keys = new KeyWriter()

export class Tree {
  readonly root: Sum = new Uint32Array(width)
  /** It was empty when it was made or loaded: then every leaf that holds something is in memory, and none is read. */
  whole = true
  readonly #space: number
  readonly #rows: RowReader
  /** Leaf → 1 + its place in `#sums`; 0 for one that was not read yet. */
  #slots: Uint32Array | undefined
  #sums: Sum = new Uint32Array(64 * width)
  #used = 0
  /** By place: does it wait for the next flush? */
  #waits: Uint8Array = new Uint8Array(64)
  #dirty: number[] = []

  constructor(space: number, rows: RowReader) {
    this.#space = space
    this.#rows = rows
  }

  /** For opening: the root, from the space's row. */
  load(reader: Reader): void {
    readSumFrom(reader, this.root)
    this.whole = this.root[4] === 0
  }

  /** Adds the digest in `lanes` to a leaf and the root. */
  add(leaf: number): void {
    const at = this.#place(leaf)
    const sums = this.#sums
    const { root } = this
    for (let i = 0; i < 4; i++) {
      const lane = lanes[i] as number
      sums[at + i] = (sums[at + i] as number) + lane
      root[i] = (root[i] as number) + lane
    }
    sums[at + 4] = (sums[at + 4] as number) + 1
    root[4] = (root[4] as number) + 1
  }

  /** Takes the digest in `lanes` away. */
  subtract(leaf: number): void {
    const at = this.#place(leaf)
    const sums = this.#sums
    const { root } = this
    intact((sums[at + 4] as number) > 0, 'a leaf lacks what its cells say')
    for (let i = 0; i < 4; i++) {
      const lane = lanes[i] as number
      sums[at + i] = (sums[at + i] as number) - lane
      root[i] = (root[i] as number) - lane
    }
    sums[at + 4] = (sums[at + 4] as number) - 1
    root[4] = (root[4] as number) - 1
  }

  /** Makes sure that a leaf is at hand: changing it will read nothing. */
  touch(leaf: number): void {
    this.#read(leaf)
  }

  /** Adds to a leaf and to the root what rows were found to hold more than it said. */
  shift(leaf: number, by: Sum): void {
    const at = this.#place(leaf)
    for (let i = 0; i < width; i++) {
      this.#sums[at + i] = (this.#sums[at + i] as number) + (by[i] as number)
      this.root[i] = (this.root[i] as number) + (by[i] as number)
    }
  }

  /** The sum of a leaf, as a copy. */
  leaf(leaf: number): Sum {
    const at = this.#read(leaf) * width
    return this.#sums.slice(at, at + width)
  }

  /** Where in `#sums` a leaf stands that is about to change. */
  #place(leaf: number): number {
    const slot = this.#read(leaf)
    if (this.#waits[slot] === 0) {
      this.#waits[slot] = 1
      this.#dirty.push(leaf)
    }
    return slot * width
  }

  #read(leaf: number): number {
    this.#slots ??= new Uint32Array(leafCount)
    const known = this.#slots[leaf] as number
    if (known !== 0) return known - 1
    // Read before anything is noted: if the row is damaged, this leaf was not touched.
    const row = this.whole ? undefined : this.#rows.get(this.#key(leaf))
    const slot = this.#used++
    if (slot === this.#waits.length) {
      const sums = new Uint32Array(2 * this.#sums.length)
      sums.set(this.#sums)
      this.#sums = sums
      const waits = new Uint8Array(2 * slot)
      waits.set(this.#waits)
      this.#waits = waits
    }
    this.#slots[leaf] = slot + 1
    if (row !== undefined) readSum(row, this.#sums.subarray(slot * width, (slot + 1) * width))
    return slot
  }

  #key(leaf: number): Uint8Array {
    return keys.start(table.leaf).short(this.#space).raw(leafBytes(leaf)).bytes
  }

  flush(sink: RowSink): void {
    for (const leaf of this.#dirty) {
      const slot = this.#read(leaf)
      this.#waits[slot] = 0
      const sums = this.#sums
      const at = slot * width
      if (sums[at + 4] === 0) {
        for (let i = 0; i < 4; i++) intact(sums[at + i] === 0, 'an empty leaf has a sum')
        sink.del(this.#key(leaf))
        continue
      }
      scratch.rewind()
      scratch.begin()
      writeSum(scratch, sums, at)
      sink.put(this.#key(leaf), views.first(scratch.bytes, scratch.at))
    }
    this.#dirty = []
  }
}

const leafKey = new Uint8Array(2)

function leafBytes(leaf: number): Uint8Array {
  leafKey[0] = leaf >> 8
  leafKey[1] = leaf & 0xff
  return leafKey
}

/** The count, then four lanes of four bytes. */
export function writeSum(writer: Writer, sums: Uint32Array, at: number = 0): void {
  writer.number(sums[at + 4] as number)
  for (let i = 0; i < 4; i++) writer.word(sums[at + i] as number)
}

export function readSum(row: Uint8Array, into: Sum): void {
  const reader = new Reader(row)
  readSumFrom(reader, into)
  reader.finish()
}

export function readSumFrom(reader: Reader, into: Sum): void {
  into[4] = reader.uint()
  for (let i = 0; i < 4; i++) into[i] = reader.word()
}
