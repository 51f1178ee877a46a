/**
 * A row as LevelDB gets it: the value, then a checksum over key and value; and the batch that gathers such rows.
 */
import { assert } from '../base/assert.ts'
import { SkeinError } from '../base/errors.ts'
import { checksum32, hash128, lanes } from '../base/hash.ts'
import type { Level } from 'level'
import { assertUserKey } from './memory.ts'
import type { Batch } from './store.ts'

export type Database = Level<Uint8Array, Uint8Array>

const CHECKSUM_BYTES = 4
/** Of an arena's window: what is longer gets a view of its own. Keys and values of nearly all rows fit. */
const KEY_WINDOW_BYTES = 256
const VALUE_WINDOW_BYTES = 1024
const WINDOW_BYTES = KEY_WINDOW_BYTES + VALUE_WINDOW_BYTES

/** Does a stored value (the value, then its checksum) belong to this key and is it whole? */
export function isIntact(key: Uint8Array, stored: Uint8Array): boolean {
  const end = stored.length - CHECKSUM_BYTES
  if (end < 0) return false
  const check = checksum32(stored, 0, end, checksum32(key, 0, key.length, 0))
  return (
    stored[end] === (check & 0xff) &&
    stored[end + 1] === ((check >>> 8) & 0xff) &&
    stored[end + 2] === ((check >>> 16) & 0xff) &&
    stored[end + 3] === check >>> 24
  )
}

/** LevelDB gives Buffers, whose `slice` does not copy; readers are promised a Uint8Array. */
export function plain(buffer: Uint8Array, length: number = buffer.length): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, length)
}

export function valueOf(key: Uint8Array, stored: Uint8Array): Uint8Array {
  if (isIntact(key, stored)) return plain(stored, stored.length - CHECKSUM_BYTES)
  throw new SkeinError('store_damaged', 'A row on the disk does not have the checksum that was written with it.', {
    key: key.slice(),
    firstKey: key.slice(),
    lastKey: key.slice(),
  })
}

/** What a chained batch of `level` does once it has checked: the names that abstract-level gives to its implementors. */
interface InnerBatch {
  _put(key: Uint8Array, value: Uint8Array): void
  _del(key: Uint8Array): void
}

/**
 * Memory for the rows of one batch after another. LevelDB takes typed arrays, and making one costs more than copying a
 * short row: so rows are shown to it at the head of the arena, through views that are made once for each length.
 */
export class Arena {
  bytes: Uint8Array = new Uint8Array(8192)
  /** Four words a row: start, key length, stored length (-1 for a deletion), checksum. */
  table: Int32Array = new Int32Array(512)
  tableBytes: Uint8Array = new Uint8Array(this.table.buffer)
  #keys: (Uint8Array | undefined)[] = []
  #values: (Uint8Array | undefined)[] = []

  /** Makes room for `needBytes` in all; what stands in it up to `usedBytes` stays. */
  grow(usedBytes: number, needBytes: number): void {
    const grown = new Uint8Array(Math.max(2 * this.bytes.length, needBytes))
    grown.set(this.bytes.subarray(0, usedBytes))
    this.bytes = grown
    this.#keys = []
    this.#values = []
  }

  growTable(): void {
    const grown = new Int32Array(2 * this.table.length)
    grown.set(this.table)
    this.table = grown
    this.tableBytes = new Uint8Array(grown.buffer)
  }

  /** A view of bytes of a key, valid until the next. */
  key(start: number, length: number): Uint8Array {
    if (length > KEY_WINDOW_BYTES) return new Uint8Array(this.bytes.buffer, start, length)
    this.bytes.copyWithin(0, start, start + length)
    return (this.#keys[length] ??= new Uint8Array(this.bytes.buffer, 0, length))
  }

  /** A view of bytes of a value, valid until the next. */
  value(start: number, length: number): Uint8Array {
    if (length > VALUE_WINDOW_BYTES) return new Uint8Array(this.bytes.buffer, start, length)
    this.bytes.copyWithin(KEY_WINDOW_BYTES, start, start + length)
    return (this.#values[length] ??= new Uint8Array(this.bytes.buffer, KEY_WINDOW_BYTES, length))
  }
}

/**
 * Rows in one growing arena, with their checksums in place. It outlives the database handle, so that a rejected write can be
 * repeated on a new one; LevelDB copies the rows natively at the commit, which makes the arena free for the next batch.
 */
export class LevelBatch implements Batch {
  readonly #arena: Arena
  #at = WINDOW_BYTES
  count = 0
  sizeBytes = 0
  spent = false

  constructor(arena: Arena) {
    this.#arena = arena
  }

  put(key: Uint8Array, value: Uint8Array): void {
    const stored = value.length + CHECKSUM_BYTES
    const start = this.#begin(key, stored)
    const { bytes } = this.#arena
    const from = start + key.length
    bytes.set(value, from)
    const end = from + value.length
    const check = checksum32(bytes, from, end, checksum32(bytes, start, from, 0))
    bytes[end] = check
    bytes[end + 1] = check >>> 8
    bytes[end + 2] = check >>> 16
    bytes[end + 3] = check >>> 24
    this.#end(start, key.length, stored, check)
    this.sizeBytes += value.length
  }

  del(key: Uint8Array): void {
    const start = this.#begin(key, 0)
    this.#end(start, key.length, -1, checksum32(key, 0, key.length, 1))
  }

  /**
   * Gives the rows to LevelDB, in order; it copies them at once. They go in by the inner door: at the outer one `level` asks
   * of each what `#begin` knows, and makes an object for it. The outer door must be used once: it is what makes a batch count.
   */
  drain(chained: ReturnType<Database['batch']>): void {
    const inner = chained as unknown as InnerBatch
    const arena = this.#arena
    const { table } = arena
    for (let row = 0, stop = 4 * this.count; row < stop; row += 4) {
      const start = table[row] as number
      const keyLength = table[row + 1] as number
      const stored = table[row + 2] as number
      const key = arena.key(start, keyLength)
      if (stored === -1) inner._del(key)
      else inner._put(key, arena.value(start + keyLength, stored))
    }
  }

  /** A hash over the records: lengths and checksums of all rows in order, which stand for their bytes. */
  content(): Uint8Array {
    hash128(this.#arena.tableBytes, 0, 16 * this.count, 0x62, 0x61, 0x74, this.count)
    const content = new Uint8Array(16)
    for (let i = 0; i < 16; i++) content[i] = (lanes[i >> 2] as number) >>> (8 * (i & 3))
    return content
  }

  /** Called once, when the write is done: the arena, for the next batch. */
  spend(): Arena {
    this.spent = true
    return this.#arena
  }

  #begin(key: Uint8Array, storedLength: number): number {
    assertUserKey(key)
    assert(!this.spent, 'a batch that was written is not filled again')
    const arena = this.#arena
    const start = this.#at
    const need = start + key.length + storedLength
    if (need > arena.bytes.length) arena.grow(start, need)
    // Keys are so short that a loop is faster than `set`.
    const { bytes } = arena
    for (let i = 0; i < key.length; i++) bytes[start + i] = key[i] as number
    this.sizeBytes += key.length
    return start
  }

  #end(start: number, keyLength: number, storedLength: number, check: number): void {
    const row = 4 * this.count
    const arena = this.#arena
    if (row === arena.table.length) arena.growTable()
    const { table } = arena
    table[row] = start
    table[row + 1] = keyLength
    table[row + 2] = storedLength
    table[row + 3] = check
    this.#at = start + keyLength + Math.max(0, storedLength)
    this.count++
  }
}
