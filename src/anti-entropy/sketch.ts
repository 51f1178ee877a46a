/**
 * A rateless sketch of a set of 64-bit digests (Yang, Gilad, Alizadeh: Practical Rateless Set Reconciliation, 2024). It is an
 * endless row of cells of which any prefix may be sent; the difference of two sketches of like length holds only what the
 * sets do not share, and peels apart once there are some 1.35 to 1.75 cells for each such digest. No estimate is needed:
 * a prefix that was too short is followed by more.
 *
 * Each digest is in cell 0 and then ever more rarely: with chance 1 / (1 + i / 2) in cell i. Which ones, and the check by
 * which a cell is seen to hold a single digest, come from a hash under a key, so that whoever writes values cannot choose
 * ones that never peel without knowing it.
 */
import { hash128, lanes } from '../base/hash.ts'
import { Reader, Writer } from '../base/msgpack.ts'

/** Bytes of a digest, of a sum and of a check. */
const wordBytes = 8

const scratch = new Uint8Array(wordBytes)

/** The keyed hash of a digest: check in lanes 0 and 1, start of its row of cells in lane 2. */
function hashDigest(high: number, low: number, key: SketchKey): void {
  scratch[0] = high >>> 24
  scratch[1] = high >>> 16
  scratch[2] = high >>> 8
  scratch[3] = high
  scratch[4] = low >>> 24
  scratch[5] = low >>> 16
  scratch[6] = low >>> 8
  scratch[7] = low
  hash128(scratch, 0, wordBytes, key.high, key.low, 0x736b6574, 0x63680001)
}

export interface SketchKey {
  readonly high: number
  readonly low: number
}

export function sketchKey(bytes: Uint8Array): SketchKey {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return { high: view.getUint32(0), low: view.getUint32(4) }
}

/** The finalizer of MurmurHash3: a step of the generator that walks over cells. */
function mixed(state: number): number {
  let h = state ^ (state >>> 16)
  h = Math.imul(h, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** The next cell of a digest after `at`. From the paper, with 32 bits of chance: IEEE arithmetic, so alike everywhere. */
function nextCell(at: number, chance: number): number {
  const step = Math.ceil((at + 1.5) * (65_536 / Math.sqrt(chance + 1) - 1))
  return at + (step < 1 ? 1 : step)
}

/** Digests of 64 bits, as pairs of words. */
export interface Difference {
  /** In the first sketch only. */
  readonly mine: readonly Digest64[]
  readonly theirs: readonly Digest64[]
}

export interface Digest64 {
  readonly high: number
  readonly low: number
}

export class Sketch {
  readonly size: number
  readonly key: SketchKey
  /** For each cell: sum, sum, check, check. */
  readonly #words: Uint32Array
  readonly #counts: Int32Array

  constructor(size: number, key: SketchKey) {
    this.size = size
    this.key = key
    this.#words = new Uint32Array(4 * size)
    this.#counts = new Int32Array(size)
  }

  add(high: number, low: number): void {
    this.#put(high, low, 1)
  }

  #put(high: number, low: number, sign: 1 | -1): void {
    hashDigest(high, low, this.key)
    const check1 = lanes[0] as number
    const check2 = lanes[1] as number
    let state = lanes[2] as number
    const words = this.#words
    const counts = this.#counts
    for (let at = 0; at < this.size;) {
      const word = 4 * at
      words[word] = (words[word] as number) ^ high
      words[word + 1] = (words[word + 1] as number) ^ low
      words[word + 2] = (words[word + 2] as number) ^ check1
      words[word + 3] = (words[word + 3] as number) ^ check2
      counts[at] = (counts[at] as number) + sign
      state = (state + 0x9e3779b9) | 0
      at = nextCell(at, mixed(state))
    }
  }

  /** How many cells of a count one would expect, given the count of the first. */
  #expected(at: number, total: number): number {
    return Math.round(total / (1 + at / 2))
  }

  /** Cells from one place up to before another. Counts are written as what they differ from what one would expect. */
  encode(from: number, to: number): Uint8Array {
    const total = this.#counts[0] as number
    const writer = new Writer(18 * (to - from) + 16)
    writer.begin()
    writeSigned(writer, total)
    for (let at = from; at < to; at++) {
      for (let i = 0; i < 4; i++) {
        const word = this.#words[4 * at + i] as number
        writer.byte(word >>> 24)
        writer.byte((word >>> 16) & 0xff)
        writer.byte((word >>> 8) & 0xff)
        writer.byte(word & 0xff)
      }
      writeSigned(writer, (this.#counts[at] as number) - this.#expected(at, total))
    }
    return writer.finish().slice()
  }

  /** Fills cells from a place on with what `encode` wrote and returns where they end. Throws `malformed`. */
  fill(from: number, bytes: Uint8Array): number {
    const reader = new Reader(bytes)
    const total = readSigned(reader)
    let at = from
    for (; !reader.done; at++) {
      if (at >= this.size) reader.fail('more cells than were asked for')
      for (let i = 0; i < 4; i++) {
        this.#words[4 * at + i] =
          reader.byte() * 0x100_0000 + reader.byte() * 0x1_0000 + reader.byte() * 0x100 + reader.byte()
      }
      this.#counts[at] = readSigned(reader) + this.#expected(at, total)
    }
    return at
  }

  /** What the sets behind two sketches do not share, from their first cells; undefined when those were too few. */
  difference(theirs: Sketch, cells: number): Difference | undefined {
    const rest = new Sketch(cells, this.key)
    for (let i = 0; i < 4 * cells; i++) {
      rest.#words[i] = ((this.#words[i] as number) ^ (theirs.#words[i] as number)) >>> 0
    }
    for (let i = 0; i < cells; i++) rest.#counts[i] = (this.#counts[i] as number) - (theirs.#counts[i] as number)
    return rest.#peel()
  }

  #peel(): Difference | undefined {
    const mine: Digest64[] = []
    const theirs: Digest64[] = []
    const words = this.#words
    const queue: number[] = []
    for (let at = 0; at < this.size; at++) if (this.#isPure(at)) queue.push(at)
    // Every digest takes up at least one cell: a sketch that peels for longer was made to.
    for (let left = this.size; queue.length > 0;) {
      const at = queue.pop() as number
      if (!this.#isPure(at)) continue
      if (left-- === 0) return undefined
      const sign = this.#counts[at] as 1 | -1
      const high = words[4 * at] as number
      const low = words[4 * at + 1] as number
      ;(sign === 1 ? mine : theirs).push({ high, low })
      this.#put(high, low, sign === 1 ? -1 : 1)
      hashDigest(high, low, this.key)
      let state = lanes[2] as number
      for (let next = 0; next < this.size;) {
        if (this.#mayBePure(next)) queue.push(next)
        state = (state + 0x9e3779b9) | 0
        next = nextCell(next, mixed(state))
      }
    }
    return words.every((word) => word === 0) && this.#counts.every((count) => count === 0)
      ? { mine, theirs }
      : undefined
  }

  #mayBePure(at: number): boolean {
    return Math.abs(this.#counts[at] as number) === 1
  }

  #isPure(at: number): boolean {
    if (!this.#mayBePure(at)) return false
    const words = this.#words
    hashDigest(words[4 * at] as number, words[4 * at + 1] as number, this.key)
    return lanes[0] === words[4 * at + 2] && lanes[1] === words[4 * at + 3]
  }
}

/** A signed varint: zigzag, seven bits a byte, up to 32 bits. */
function writeSigned(writer: Writer, value: number): void {
  let rest = value < 0 ? -2 * value - 1 : 2 * value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) writer.byte(0x80 | (rest % 0x80))
  writer.byte(rest)
}

function readSigned(reader: Reader): number {
  let value = 0
  for (let scale = 1, i = 0; ; scale *= 0x80, i++) {
    const byte = reader.byte()
    value += (byte & 0x7f) * scale
    if (byte < 0x80) break
    if (i === 4) reader.fail('a count beyond 32 bits')
  }
  if (value > 0xffff_ffff) reader.fail('a count beyond 32 bits')
  return value % 2 === 1 ? -(value + 1) / 2 : value / 2
}
