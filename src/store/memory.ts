/**
 * The store that keeps nothing: for tests, the simulator and `memory: true`. A two-level sorted list of small chunks;
 * a snapshot shares them, and a write copies a chunk that a snapshot may still see. So reads and writes cost
 * O(log n), a snapshot O(1), and ranges are isolated from writes as they are in LevelDB.
 */
import { assert } from '../base/assert.ts'
import { compareBytes } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { reaches, reservedByte } from './store.ts'
import type {
  Batch,
  Durability,
  OpeningReport,
  Row,
  RowRange,
  ScrubReport,
  Store,
  StoreSnapshot,
  StoreStatus,
  StoreSupport,
} from './store.ts'

/** Rows in a chunk before it is split; small enough to copy, large enough that the list of chunks stays short. */
const CHUNK_ROWS = 64
/** As LevelDB's pages: enough rows to be worth a turn of the event loop, few enough not to hold it up. */
const PAGE_ROWS = 512
const PAGE_BYTES = 256 * 1024

interface Chunk {
  readonly keys: Uint8Array[]
  readonly values: Uint8Array[]
  /** A chunk made before the last snapshot may be shared with it. */
  readonly epoch: number
}

/** Sorted rows with snapshots. */
class SortedRows {
  #chunks: Chunk[] = []
  #epoch = 0
  /** The epoch in which the list of chunks itself was last copied. */
  #listEpoch = 0

  get(key: Uint8Array): Uint8Array | undefined {
    return find(this.#chunks, key)
  }

  put(key: Uint8Array, value: Uint8Array): void {
    const chunk = this.#own(key)
    const at = lowerBound(chunk.keys, key)
    if (at < chunk.keys.length && compareBytes(chunk.keys[at] as Uint8Array, key) === 0) {
      chunk.values[at] = value
      return
    }
    chunk.keys.splice(at, 0, key)
    chunk.values.splice(at, 0, value)
    if (chunk.keys.length > CHUNK_ROWS) {
      const half = CHUNK_ROWS / 2
      const upper = { keys: chunk.keys.splice(half), values: chunk.values.splice(half), epoch: this.#epoch }
      this.#chunks.splice(this.#chunks.indexOf(chunk) + 1, 0, upper)
    }
  }

  del(key: Uint8Array): void {
    if (this.get(key) === undefined) return
    const chunk = this.#own(key)
    const at = lowerBound(chunk.keys, key)
    chunk.keys.splice(at, 1)
    chunk.values.splice(at, 1)
    if (chunk.keys.length === 0) this.#chunks.splice(this.#chunks.indexOf(chunk), 1)
  }

  /** The chunks as they are now; later writes do not touch them. */
  freeze(): readonly Chunk[] {
    this.#epoch++
    return this.#chunks
  }

  /** The chunk where `key` belongs, safe to change. */
  #own(key: Uint8Array): Chunk {
    if (this.#listEpoch !== this.#epoch) {
      this.#chunks = this.#chunks.slice()
      this.#listEpoch = this.#epoch
    }
    if (this.#chunks.length === 0) this.#chunks.push({ keys: [], values: [], epoch: this.#epoch })
    const at = chunkOf(this.#chunks, key)
    const chunk = this.#chunks[at] as Chunk
    if (chunk.epoch === this.#epoch) return chunk
    const copy = { keys: chunk.keys.slice(), values: chunk.values.slice(), epoch: this.#epoch }
    this.#chunks[at] = copy
    return copy
  }
}

/** The first position whose key is at or above `key`. */
function lowerBound(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes(keys[middle] as Uint8Array, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** The last chunk that does not begin above `key`, or the first. */
function chunkOf(chunks: readonly Chunk[], key: Uint8Array): number {
  let low = 1
  let high = chunks.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes((chunks[middle] as Chunk).keys[0] as Uint8Array, key) <= 0) low = middle + 1
    else high = middle
  }
  return low - 1
}

function find(chunks: readonly Chunk[], key: Uint8Array): Uint8Array | undefined {
  if (chunks.length === 0) return undefined
  const chunk = chunks[chunkOf(chunks, key)] as Chunk
  const at = lowerBound(chunk.keys, key)
  const found = chunk.keys[at]
  return found !== undefined && compareBytes(found, key) === 0 ? chunk.values[at] : undefined
}

function* pages(chunks: readonly Chunk[], { gte, lt, reverse = false }: RowRange): Generator<Row[]> {
  let page: Row[] = []
  let sizeBytes = 0
  if (chunks.length === 0 || compareBytes(gte, lt) >= 0) return
  const step = reverse ? -1 : 1
  const first = chunkOf(chunks, reverse ? lt : gte)
  for (let c = first; c >= 0 && c < chunks.length; c += step) {
    const { keys, values } = chunks[c] as Chunk
    for (let i = reverse ? keys.length - 1 : 0; i >= 0 && i < keys.length; i += step) {
      const key = keys[i] as Uint8Array
      const value = values[i] as Uint8Array
      const isBelow = compareBytes(key, gte) < 0
      const isAbove = compareBytes(key, lt) >= 0
      if (reverse ? isBelow : isAbove) {
        if (page.length > 0) yield page
        return
      }
      if (isBelow || isAbove) continue
      page.push([key, value])
      sizeBytes += key.length + value.length
      if (page.length >= PAGE_ROWS || sizeBytes >= PAGE_BYTES) {
        yield page
        page = []
        sizeBytes = 0
      }
    }
  }
  if (page.length > 0) yield page
}

export function assertUserKey(key: Uint8Array): void {
  assert(key.length > 0 && key[0] !== reservedByte, 'row keys are not empty and stay out of the reserved byte')
}

/** One operation of a batch; no value means a deletion. */
export type Operation = readonly [key: Uint8Array, value: Uint8Array | undefined]

/** A batch as a list of copies: for the memory store and the stores that are built on it. */
export class ListBatch implements Batch {
  readonly operations: Operation[] = []
  sizeBytes = 0
  spent = false

  get count(): number {
    return this.operations.length
  }

  put(key: Uint8Array, value: Uint8Array): void {
    assertUserKey(key)
    assert(!this.spent, 'a batch that was written is not filled again')
    this.operations.push([copy(key), copy(value)])
    this.sizeBytes += key.length + value.length
  }

  del(key: Uint8Array): void {
    assertUserKey(key)
    assert(!this.spent, 'a batch that was written is not filled again')
    this.operations.push([copy(key), undefined])
    this.sizeBytes += key.length
  }
}

/** A plain Uint8Array of its own memory, whatever view the caller has. */
function copy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes)
}

export interface MemoryStoreOptions {
  /** For stores that are built on this one and keep what they promise in another way. */
  readonly supports?: StoreSupport
  readonly opening?: OpeningReport
}

export class MemoryStore implements Store {
  readonly supports: StoreSupport
  readonly opening: OpeningReport
  lastBatch: number
  status: StoreStatus = 'open'
  readonly #rows = new SortedRows()
  #writing = false

  constructor({ supports, opening }: MemoryStoreOptions = {}) {
    this.supports = supports ?? { durability: 'memory', reason: 'it was opened to keep nothing', persistent: false }
    this.opening = opening ?? { found: 'fresh', lastBatch: 0, warnings: [] }
    this.lastBatch = this.opening.lastBatch
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#assertOpen()
    assertUserKey(key)
    return this.#rows.get(key)
  }

  async *range(range: RowRange): AsyncGenerator<readonly Row[]> {
    this.#assertOpen()
    const chunks = this.#rows.freeze()
    for (const page of pages(chunks, range)) {
      yield page
      this.#assertOpen()
    }
  }

  snapshot(): StoreSnapshot {
    this.#assertOpen()
    const chunks = this.#rows.freeze()
    let disposed = false
    const assertUsable = (): void => {
      assert(!disposed, 'a snapshot is not read after its disposal')
      this.#assertOpen()
    }
    return {
      get: (key) => {
        assertUsable()
        assertUserKey(key)
        return find(chunks, key)
      },
      range: async function* (range) {
        assertUsable()
        for (const page of pages(chunks, range)) {
          yield page
          assertUsable()
        }
      },
      [Symbol.dispose]: () => {
        disposed = true
      },
    }
  }

  batch(): ListBatch {
    this.#assertOpen()
    return new ListBatch()
  }

  async write(batch: Batch, durability: Durability): Promise<void> {
    assert(!this.#writing, 'only one write of a store is in flight')
    assert(batch instanceof ListBatch && !batch.spent, 'a batch is written once, to the store that made it')
    this.#assertOpen()
    assertDurability(this.supports, durability)
    this.#writing = true
    try {
      // As on a disk: never in the turn of the call, so that nobody relies on it.
      await Promise.resolve()
      this.#assertOpen()
      this.apply(batch)
    } finally {
      this.#writing = false
    }
  }

  /** The commit itself, at once. */
  apply(batch: ListBatch): void {
    for (const [key, value] of batch.operations) {
      if (value === undefined) this.#rows.del(key)
      else this.#rows.put(key, value)
    }
    batch.spent = true
    this.lastBatch++
  }

  async scrub(): Promise<ScrubReport> {
    this.#assertOpen()
    let rows = 0
    let sizeBytes = 0
    for (const { keys, values } of this.#rows.freeze()) {
      rows += keys.length
      for (const bytes of keys) sizeBytes += bytes.length
      for (const bytes of values) sizeBytes += bytes.length
    }
    return { rows, files: 0, sizeBytes, damages: [], complete: true }
  }

  compact(): Promise<void> {
    this.#assertOpen()
    return Promise.resolve()
  }

  async close(): Promise<void> {
    this.status = 'closed'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #assertOpen(): void {
    if (this.status === 'closed') throw new SkeinError('closed', 'The store is closed.')
  }
}

export function assertDurability(supports: StoreSupport, durability: Durability): void {
  if (reaches(supports.durability, durability)) return
  throw new SkeinError(
    'invalid_argument',
    `This store cannot keep rows at durability "${durability}": ${supports.reason ?? 'it does not say why'}.`,
    { durability, highest: supports.durability },
  )
}

export function openMemoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  return new MemoryStore(options)
}
