/**
 * The one canonical form of everything that is stored, hashed or sent: MessagePack with exactly one encoding a value.
 *
 * - Integers from -2^31 to 2^32 - 1 take their shortest form; every other number is a float64. There is no -0 (it is
 *   0), no NaN, no infinity. So -1 and 4294967295 are integers, 4294967296 and 0.5 are floats, as msgpackr has it.
 * - Strings are well-formed UTF-8 with the shortest header; map keys are strings in the order of their UTF-8 bytes.
 * - No extension types.
 *
 * The reader is total: it throws SkeinError `malformed` for whatever is not in this form, never reads past the end,
 * allocates nothing that the bytes at hand do not pay for, and bounds depth. `__proto__` stays an own property.
 * Why not msgpackr itself: docs/decisions/dependencies.md. It reads this form, and the tests hold us to that.
 */
import { assert } from './assert.ts'
import { binaryString, compareUtf8, interned, isAscii } from './bytes.ts'
import { SkeinError } from './errors.ts'
import { limits } from './limits.ts'
import type { Value } from './value.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const float = new Float64Array(1)
const floatWords = new Uint32Array(float.buffer)
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1
/** Which of the two words of a float is its upper. */
const upper = littleEndian ? 1 : 0

const chunkBytes = 64 * 1024

/**
 * Appends to an arena: what `finish` returned is never overwritten, so it may be kept as it is. A long-lived copy
 * should be made of what outlives its neighbours, since a view keeps its whole chunk alive.
 */
export class Writer {
  bytes: Uint8Array
  at: number = 0
  #start: number = 0
  readonly #chunkBytes: number

  constructor(size: number = chunkBytes) {
    this.#chunkBytes = size
    this.bytes = new Uint8Array(size)
  }

  /** Starts a new piece; what was written since the last `finish` and not finished is dropped. */
  begin(): void {
    this.at = this.#start
  }

  /** The piece since `begin`, as a view. */
  finish(): Uint8Array {
    const piece = this.bytes.subarray(this.#start, this.at)
    this.#start = this.at
    return piece
  }

  /** Reuses the arena from its start: only for a writer whose pieces were copied by whoever took them. */
  rewind(): void {
    this.#start = 0
    this.at = 0
  }

  /** The bytes since `begin`, still open; valid until the next write. */
  get start(): number {
    return this.#start
  }

  #room(need: number): void {
    if (this.at + need <= this.bytes.length) return
    const used = this.at - this.#start
    const grown = new Uint8Array(Math.max(this.#chunkBytes, 2 * (used + need)))
    grown.set(this.bytes.subarray(this.#start, this.at))
    this.bytes = grown
    this.#start = 0
    this.at = used
  }

  byte(value: number): void {
    this.#room(1)
    this.bytes[this.at++] = value
  }

  /** Four bytes, big-endian. */
  word(value: number): void {
    this.#room(4)
    this.#big(value, 4)
  }

  raw(bytes: Uint8Array): void {
    const length = bytes.length
    this.#room(length)
    const target = this.bytes
    const { at } = this
    // A call of `set` takes as long as some twelve bytes.
    if (length < 12) for (let i = 0; i < length; i++) target[at + i] = bytes[i] as number
    else target.set(bytes, at)
    this.at = at + length
  }

  rawPart(bytes: Uint8Array, from: number, to: number): void {
    const length = to - from
    if (length === bytes.length || length >= 48)
      return this.raw(bytes.length === length ? bytes : bytes.subarray(from, to))
    this.#room(length)
    const target = this.bytes
    const { at } = this
    for (let i = 0; i < length; i++) target[at + i] = bytes[from + i] as number
    this.at = at + length
  }

  /** A string of code units 0 to 255, as bytes without a header. */
  rawBinary(text: string, from: number = 0): void {
    const length = text.length - from
    this.#room(length)
    const { bytes, at } = this
    for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(from + i)
    this.at = at + length
  }

  nil(): void {
    this.byte(0xc0)
  }

  number(value: number): void {
    this.#room(9)
    const { bytes } = this
    if (value >= 0 && value <= 0xffff_ffff && Math.floor(value) === value) {
      if (value < 0x80) bytes[this.at++] = value
      else if (value < 0x100) {
        bytes[this.at++] = 0xcc
        bytes[this.at++] = value
      } else if (value < 0x1_0000) {
        bytes[this.at++] = 0xcd
        this.#big(value, 2)
      } else {
        bytes[this.at++] = 0xce
        this.#big(value, 4)
      }
    } else if (value < 0 && value >= -0x8000_0000 && Math.floor(value) === value) {
      if (value >= -0x20) bytes[this.at++] = 0x100 + value
      else if (value >= -0x80) {
        bytes[this.at++] = 0xd0
        bytes[this.at++] = 0x100 + value
      } else if (value >= -0x8000) {
        bytes[this.at++] = 0xd1
        this.#big(0x1_0000 + value, 2)
      } else {
        bytes[this.at++] = 0xd2
        this.#big(0x1_0000_0000 + value, 4)
      }
    } else {
      if (!Number.isFinite(value)) throw new SkeinError('invalid_value', `${value} has no canonical form`)
      bytes[this.at++] = 0xcb
      float[0] = value
      this.#big(floatWords[upper] as number, 4)
      this.#big(floatWords[1 - upper] as number, 4)
    }
  }

  #big(value: number, size: 2 | 4): void {
    const { bytes } = this
    let { at } = this
    if (size === 4) {
      bytes[at++] = value >>> 24
      bytes[at++] = (value >>> 16) & 0xff
    }
    bytes[at++] = (value >>> 8) & 0xff
    bytes[at++] = value & 0xff
    this.at = at
  }

  #header(length: number, short: number, shortMax: number, code8: number, code16: number): void {
    this.#room(5)
    if (length <= shortMax) this.bytes[this.at++] = short | length
    else if (code8 !== 0 && length < 0x100) {
      this.bytes[this.at++] = code8
      this.bytes[this.at++] = length
    } else if (length < 0x1_0000) {
      this.bytes[this.at++] = code16
      this.#big(length, 2)
    } else {
      this.bytes[this.at++] = code16 + 1
      this.#big(length, 4)
    }
  }

  array(length: number): void {
    this.#header(length, 0x90, 15, 0, 0xdc)
  }

  map(length: number): void {
    this.#header(length, 0x80, 15, 0, 0xde)
  }

  bin(bytes: Uint8Array): void {
    this.binHeader(bytes.length)
    this.raw(bytes)
  }

  /** Of a byte string whose bytes follow by `raw` or `byte`. */
  binHeader(length: number): void {
    this.#header(length, 0, -1, 0xc4, 0xc5)
  }

  /** The text must be well-formed; `value` checks that, callers inside pass checked names. */
  string(text: string): void {
    const length = text.length
    if (length < 32) {
      this.#room(length + 1)
      const { bytes } = this
      const head = this.at
      let at = head + 1
      let i = 0
      for (; i < length; i++) {
        const unit = text.charCodeAt(i)
        if (unit >= 0x80) break
        bytes[at++] = unit
      }
      if (i === length) {
        bytes[head] = 0xa0 | length
        this.at = at
        return
      }
    }
    this.#room(3 * length + 5)
    const guess = length < 32 ? 1 : length < 0x100 ? 2 : length < 0x1_0000 ? 3 : 5
    const { written } = encoder.encodeInto(text, this.bytes.subarray(this.at + guess))
    const real = written < 32 ? 1 : written < 0x100 ? 2 : written < 0x1_0000 ? 3 : 5
    if (real !== guess) this.bytes.copyWithin(this.at + real, this.at + guess, this.at + guess + written)
    this.#header(written, 0xa0, 31, 0xd9, 0xda)
    this.at += written
  }

  /**
   * Any value, checked as it is written: the one border between what programs hand in and the canonical form.
   * Properties that are undefined count as absent, as in JSON; an undefined array item has no form.
   */
  value(value: unknown, depth: number = 0): void {
    switch (typeof value) {
      case 'string':
        if (!value.isWellFormed()) throw new SkeinError('invalid_value', 'a string holds a lone surrogate')
        return this.string(value)
      case 'number':
        return this.number(value)
      case 'boolean':
        return this.byte(value ? 0xc3 : 0xc2)
      case 'object':
        break
      default:
        throw new SkeinError('invalid_value', `a ${typeof value} has no canonical form; send JSON data`)
    }
    if (value === null) return this.nil()
    if (depth >= limits.valueDepth) {
      throw new SkeinError('too_deep', `values may be nested ${limits.valueDepth} deep`, { limit: limits.valueDepth })
    }
    if (value instanceof Uint8Array) return this.bin(value)
    if (Array.isArray(value)) {
      // Read once: a getter among the items may change it while it is written.
      const { length } = value
      this.array(length)
      for (let i = 0; i < length; i++) this.value(value[i], depth + 1)
      return
    }
    const prototype = Object.getPrototypeOf(value) as object | null
    if (prototype !== null && prototype !== Object.prototype && Object.getPrototypeOf(prototype) !== null) {
      throw new SkeinError('invalid_value', `a ${prototype.constructor.name} is not JSON data`)
    }
    const fields = value as Readonly<Record<string, unknown>>
    // Each field is read once: a getter may answer otherwise the second time.
    const present: [name: string, value: unknown][] = []
    for (const name of Object.keys(fields)) {
      const field = fields[name]
      if (field !== undefined) present.push([name, field])
    }
    if (present.length > 1) present.sort(([a], [b]) => compareUtf8(a, b))
    this.map(present.length)
    for (const [name, field] of present) {
      if (name === '__proto__') throw new SkeinError('reserved_name', 'a field cannot be called __proto__')
      if (!name.isWellFormed()) throw new SkeinError('invalid_value', 'a field name holds a lone surrogate')
      this.string(name)
      this.value(field, depth + 1)
    }
  }
}

function malformed(what: string): never {
  throw new SkeinError('malformed', `not in the canonical form: ${what}`)
}

function decoded(bytes: Uint8Array, start: number, end: number): string {
  try {
    return decoder.decode(bytes.subarray(start, end))
  } catch {
    return malformed('a string that is not UTF-8')
  }
}

/** Reads canonical MessagePack and nothing else. */
export class Reader {
  readonly bytes: Uint8Array
  at: number
  readonly end: number

  constructor(bytes: Uint8Array, start: number = 0, end: number = bytes.length) {
    assert(start >= 0 && end <= bytes.length, 'a reader stays inside its bytes')
    this.bytes = bytes
    this.at = start
    this.end = end
  }

  get done(): boolean {
    return this.at >= this.end
  }

  /** For whoever reads a structure out of this and finds it wrong. */
  fail(what: string): never {
    return malformed(what)
  }

  /** Throws unless all was read. */
  finish(): void {
    if (this.at !== this.end) malformed('bytes follow the end')
  }

  /** The next byte, unread; -1 at the end. */
  peek(): number {
    return this.at < this.end ? (this.bytes[this.at] as number) : -1
  }

  byte(): number {
    if (this.at >= this.end) malformed('cut short')
    return this.bytes[this.at++] as number
  }

  /** Four bytes, big-endian. */
  word(): number {
    return this.#big(4)
  }

  #big(size: 1 | 2 | 4): number {
    if (this.at + size > this.end) malformed('cut short')
    let value = 0
    for (let i = 0; i < size; i++) value = value * 0x100 + (this.bytes[this.at++] as number)
    return value
  }

  /** Checks that `count` things of at least one byte can follow. */
  #counted(count: number): number {
    if (count > this.end - this.at) malformed('a length beyond the end')
    return count
  }

  number(): number {
    const head = this.byte()
    if (head < 0x80) return head
    if (head >= 0xe0) return head - 0x100
    return this.#number(head)
  }

  #number(head: number): number {
    let value: number
    switch (head) {
      case 0xcc:
        value = this.#big(1)
        if (value < 0x80) malformed('a longer number than needed')
        return value
      case 0xcd:
        value = this.#big(2)
        if (value < 0x100) malformed('a longer number than needed')
        return value
      case 0xce:
        value = this.#big(4)
        if (value < 0x1_0000) malformed('a longer number than needed')
        return value
      case 0xd0:
        value = this.#big(1) - 0x100
        if (value >= -0x20 || value < -0x80) malformed('a longer number than needed')
        return value
      case 0xd1:
        value = this.#big(2) - 0x1_0000
        if (value >= -0x80 || value < -0x8000) malformed('a longer number than needed')
        return value
      case 0xd2:
        value = this.#big(4) - 0x1_0000_0000
        if (value >= -0x8000 || value < -0x8000_0000) malformed('a longer number than needed')
        return value
      case 0xcb: {
        floatWords[upper] = this.#big(4)
        floatWords[1 - upper] = this.#big(4)
        value = float[0] as number
        if (!Number.isFinite(value)) malformed('a number that is not finite')
        if (Math.floor(value) === value && value >= -0x8000_0000 && value <= 0xffff_ffff) {
          malformed('an integer as a float')
        }
        return value
      }
      default:
        return malformed('a number was expected')
    }
  }

  /** A whole number from 0 up to `max`. */
  uint(max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.number()
    if (value < 0 || value > max || Math.floor(value) !== value) malformed('a number out of range')
    return value
  }

  array(): number {
    const head = this.byte()
    if (head >= 0x90 && head < 0xa0) return this.#counted(head & 0x0f)
    if (head === 0xdc) return this.#counted(this.#least(this.#big(2), 16))
    if (head === 0xdd) return this.#counted(this.#least(this.#big(4), 0x1_0000))
    return malformed('an array was expected')
  }

  #least(length: number, least: number): number {
    if (length < least) malformed('a longer header than needed')
    return length
  }

  #binLength(): number {
    const head = this.byte()
    if (head === 0xc4) return this.#counted(this.#big(1))
    if (head === 0xc5) return this.#counted(this.#least(this.#big(2), 0x100))
    if (head === 0xc6) return this.#counted(this.#least(this.#big(4), 0x1_0000))
    return malformed('a byte string was expected')
  }

  /** A byte string, as a view. */
  bin(): Uint8Array {
    const length = this.#binLength()
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  #stringLength(): number {
    const head = this.byte()
    if (head >= 0xa0 && head < 0xc0) return this.#counted(head & 0x1f)
    if (head === 0xd9) return this.#counted(this.#least(this.#big(1), 32))
    if (head === 0xda) return this.#counted(this.#least(this.#big(2), 0x100))
    if (head === 0xdb) return this.#counted(this.#least(this.#big(4), 0x1_0000))
    return malformed('a string was expected')
  }

  string(): string {
    const length = this.#stringLength()
    const { bytes, at } = this
    this.at += length
    if (length < 32 && isAscii(bytes, at, this.at)) return binaryString(bytes, at, this.at)
    return decoded(bytes, at, this.at)
  }

  /** A string that comes again and again. */
  name(): string {
    const length = this.#stringLength()
    const { bytes, at } = this
    this.at += length
    if (isAscii(bytes, at, this.at)) return interned.of(bytes, at, this.at)
    return decoded(bytes, at, this.at)
  }

  #skipString(): void {
    const length = this.#stringLength()
    const { bytes, at } = this
    this.at += length
    if (!isAscii(bytes, at, this.at)) decoded(bytes, at, this.at)
  }

  nil(): boolean {
    if (this.peek() !== 0xc0) return false
    this.at++
    return true
  }

  value(depth: number = 0): Value {
    const head = this.peek()
    if (head < 0) malformed('cut short')
    if (head < 0x80 || head >= 0xe0) return this.number()
    if (head < 0x90 || head === 0xde || head === 0xdf) return this.#map(depth)
    if (head < 0xa0 || head === 0xdc || head === 0xdd) {
      if (depth >= limits.valueDepth) malformed('nested too deep')
      const items: Value[] = []
      for (let left = this.array(); left > 0; left--) items.push(this.value(depth + 1))
      return items
    }
    if (head < 0xc0 || (head >= 0xd9 && head <= 0xdb)) return this.string()
    if (head >= 0xc4 && head <= 0xc6) {
      if (depth >= limits.valueDepth) malformed('nested too deep')
      return this.bin()
    }
    this.at++
    if (head === 0xc0) return null
    if (head === 0xc2) return false
    if (head === 0xc3) return true
    return this.#number(head)
  }

  #map(depth: number): Value {
    if (depth >= limits.valueDepth) malformed('nested too deep')
    const head = this.byte()
    let length: number
    if (head < 0x90) length = head & 0x0f
    else if (head === 0xde) length = this.#least(this.#big(2), 16)
    else length = this.#least(this.#big(4), 0x1_0000)
    this.#counted(2 * length)
    const fields: Record<string, Value> = {}
    let previous: string | undefined
    for (; length > 0; length--) {
      const name = this.string()
      if (previous !== undefined && compareUtf8(previous, name) >= 0) malformed('field names out of order')
      previous = name
      const value = this.value(depth + 1)
      if (name === '__proto__') {
        Object.defineProperty(fields, name, { value, writable: true, enumerable: true, configurable: true })
      } else fields[name] = value
    }
    return fields
  }

  /** Checks the next value and returns its bytes, as a view, without keeping what it says. */
  raw(): Uint8Array {
    const from = this.at
    this.skip()
    return this.bytes.subarray(from, this.at)
  }

  /** Checks the next value and passes it by. */
  skip(depth: number = 0): void {
    const head = this.peek()
    // Most are strings, small scalars and arrays of them: those need not be built to be checked.
    if (head >= 0 && (head < 0x80 || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3)) this.at++
    else if ((head >= 0xa0 && head < 0xc0) || (head >= 0xd9 && head <= 0xdb)) this.#skipString()
    else if (head >= 0x90 && head < 0xa0 && depth < limits.valueDepth) {
      for (let left = this.array(); left > 0; left--) this.skip(depth + 1)
    } else this.value(depth)
  }
}

/** Where the value that starts at `at` ends, by its headers alone: for bytes that were checked when they came in. */
export function skipValue(bytes: Uint8Array, at: number): number {
  for (let left = 1; left > 0; left--) {
    const head = bytes[at++] as number
    if (head < 0x80 || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) continue
    if (head < 0x90) left += 2 * (head & 0x0f)
    else if (head < 0xa0) left += head & 0x0f
    else if (head < 0xc0) at += head & 0x1f
    else {
      const a = bytes[at] as number
      const b = bytes[at + 1] as number
      const long = a * 0x100_0000 + b * 0x1_0000 + (bytes[at + 2] as number) * 0x100 + (bytes[at + 3] as number)
      if (head === 0xc4 || head === 0xd9) at += 1 + a
      else if (head === 0xc5 || head === 0xda) at += 2 + a * 0x100 + b
      else if (head === 0xc6 || head === 0xdb) at += 4 + long
      else if (head === 0xcc || head === 0xd0) at += 1
      else if (head === 0xcd || head === 0xd1) at += 2
      else if (head === 0xce || head === 0xd2) at += 4
      else if (head === 0xcb) at += 8
      else if (head === 0xdc || head === 0xde) {
        at += 2
        left += (a * 0x100 + b) * (head === 0xdc ? 1 : 2)
      } else if (head === 0xdd || head === 0xdf) {
        at += 4
        left += long * (head === 0xdd ? 1 : 2)
      } else malformed('an unknown header')
    }
    if (!(at <= bytes.length)) malformed('cut short')
  }
  return at
}

const scratch = new Writer()
let busy = false

/**
 * The canonical bytes of a value; throws a SkeinError that says why it has none. A getter inside the value may run any
 * program, one that encodes too: whoever comes second gets a writer of his own.
 */
export function encodeValue(value: unknown, depth: number = 0): Uint8Array {
  if (busy) return encodeWith(new Writer(256), value, depth)
  busy = true
  try {
    return encodeWith(scratch, value, depth)
  } finally {
    busy = false
  }
}

function encodeWith(writer: Writer, value: unknown, depth: number): Uint8Array {
  writer.begin()
  writer.value(value, depth)
  return writer.finish()
}

/** Throws `malformed`. */
export function decodeValue(bytes: Uint8Array): Value {
  const reader = new Reader(bytes)
  const value = reader.value()
  reader.finish()
  return value
}
