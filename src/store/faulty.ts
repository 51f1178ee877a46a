/**
 * Faults to order, for tests and the simulator: a store whose writes fail or wait when told to, and a store whose disk
 * can lose power. Nothing here is random by itself; a crash takes its chance from a seeded generator.
 */
import { assert } from '../base/assert.ts'
import { SkeinError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import type { Row, RowRange } from '../base/rows.ts'
import { assertDurability, ListBatch, MemoryStore } from './memory.ts'
import type { Operation } from './memory.ts'
import type {
  Batch,
  Durability,
  OpeningReport,
  ScrubOptions,
  ScrubReport,
  Store,
  StoreSnapshot,
  StoreStatus,
  StoreSupport,
} from './store.ts'

/** Any store, with faults in front of it. */
export class FaultyStore implements Store {
  readonly #inner: Store
  #failures = 0
  #failureCode: 'store_full' | 'store_failed' = 'store_full'
  #arrives = false
  #gate: Promise<void> = Promise.resolve()
  #openGate: () => void = () => {}
  #arrived: Batch | undefined
  #readFault: ((key: Uint8Array) => boolean) | undefined
  status: StoreStatus = 'open'

  constructor(inner: Store) {
    this.#inner = inner
  }

  /**
   * The next `count` writes are rejected. With `arrives` the rows reach the store all the same, as when a sync fails after the
   * bytes were taken; writing the same batch again then succeeds without a second commit.
   */
  failWrites(count: number, code: 'store_full' | 'store_failed' = 'store_full', arrives: boolean = false): void {
    this.#failures = count
    this.#failureCode = code
    this.#arrives = arrives
  }

  /** Writes wait until `release`. */
  holdWrites(): void {
    this.#gate = new Promise((resolve) => {
      this.#openGate = resolve
    })
  }

  release(): void {
    this.#openGate()
  }

  /** Reads of the keys that `isDamaged` names throw `store_damaged`. */
  damageReads(isDamaged: ((key: Uint8Array) => boolean) | undefined): void {
    this.#readFault = isDamaged
  }

  get supports(): StoreSupport {
    return this.#inner.supports
  }

  get opening(): OpeningReport {
    return this.#inner.opening
  }

  get lastBatch(): number {
    return this.#inner.lastBatch
  }

  get(key: Uint8Array): Uint8Array | undefined {
    if (this.#readFault?.(key)) {
      throw new SkeinError('store_damaged', 'A row does not have the checksum that was written with it.', { key })
    }
    return this.#inner.get(key)
  }

  range(range: RowRange): AsyncIterable<readonly Row[]> {
    return this.#inner.range(range)
  }

  snapshot(): StoreSnapshot {
    return this.#inner.snapshot()
  }

  batch(): Batch {
    return this.#inner.batch()
  }

  async write(batch: Batch, durability: Durability): Promise<void> {
    await this.#gate
    if (this.#failures > 0) {
      this.#failures--
      this.status = 'failing'
      if (this.#arrives && this.#arrived !== batch) {
        await this.#inner.write(batch, durability)
        this.#arrived = batch
      }
      const why = this.#failureCode === 'store_full' ? 'No space is left on the disk.' : 'The disk failed.'
      throw new SkeinError(this.#failureCode, `${why} (an ordered fault)`)
    }
    if (this.#arrived === batch) this.#arrived = undefined
    else await this.#inner.write(batch, durability)
    this.status = this.#inner.status
  }

  scrub(options: ScrubOptions = {}): Promise<ScrubReport> {
    return this.#inner.scrub(options)
  }

  compact(): Promise<void> {
    return this.#inner.compact()
  }

  async close(): Promise<void> {
    this.release()
    await this.#inner.close()
    this.status = 'closed'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** How much of what was never synced survives a power cut. LevelDB leaves a prefix; `subset` is a worse disk than that. */
export type Survival = 'none' | 'prefix' | 'subset' | 'all'

interface LoggedBatch {
  readonly durability: Durability
  readonly operations: readonly Operation[]
}

const disk: StoreSupport = { durability: 'disk', persistent: true }

/**
 * A memory store that claims a disk: it remembers which batches were synced, and `crash` gives the store that the
 * next process would open. The crashed one is closed.
 */
export class CrashableStore extends MemoryStore {
  /** What is on the disk for good, as operations; folded so that it does not grow with history. */
  readonly #base: Map<string, Operation>
  #unsynced: LoggedBatch[] = []
  #synced: number

  constructor(base: Map<string, Operation> = new Map(), opening?: OpeningReport) {
    super({ supports: disk, ...(opening && { opening }) })
    this.#base = base
    this.#synced = this.lastBatch
    const batch = new ListBatch()
    for (const [key, value] of base.values()) if (value !== undefined) batch.put(key, value)
    const last = this.lastBatch
    this.apply(batch)
    this.lastBatch = last
  }

  override async write(batch: Batch, durability: Durability): Promise<void> {
    assertDurability(disk, durability)
    assert(batch instanceof ListBatch, 'a batch is written to the store that made it')
    const before = this.lastBatch
    await super.write(batch, durability)
    assert(this.lastBatch === before + 1, 'a write is one batch')
    this.#unsynced.push({ durability, operations: batch.operations })
    if (durability === 'disk') this.#fold(this.#unsynced.splice(0))
  }

  /** The death of the process: what `write` acknowledged at `os` or `disk` is kept. */
  crashProcess(): CrashableStore {
    let kept = this.#unsynced.length
    while (kept > 0 && (this.#unsynced[kept - 1] as LoggedBatch).durability === 'memory') kept--
    return this.#reopen(this.#unsynced.slice(0, kept))
  }

  /** The loss of power: what was acknowledged at `disk` is kept, and some of the rest. */
  crashPower(survival: Survival, prng: Prng): CrashableStore {
    const all = this.#unsynced
    if (survival === 'all') return this.#reopen(all)
    if (survival === 'none') return this.#reopen([])
    if (survival === 'prefix') return this.#reopen(all.slice(0, prng.below(all.length + 1)))
    return this.#reopen(all.filter(() => prng.chance(0.5)))
  }

  #fold(batches: readonly LoggedBatch[]): void {
    for (const { operations } of batches) {
      for (const operation of operations) this.#base.set(Buffer.from(operation[0]).toString('latin1'), operation)
    }
    this.#synced += batches.length
  }

  #reopen(kept: readonly LoggedBatch[]): CrashableStore {
    const acknowledged = this.#synced + this.#unsynced.length
    this.#unsynced = []
    this.status = 'closed'
    this.#fold(kept)
    for (const [name, operation] of this.#base) if (operation[1] === undefined) this.#base.delete(name)
    const opening: OpeningReport = {
      found: 'unclean',
      lastBatch: this.#synced,
      ...(this.#synced < acknowledged && { lostUnsynced: { from: this.#synced + 1, to: acknowledged } }),
      warnings: [],
    }
    return new CrashableStore(this.#base, opening)
  }
}

export function openCrashableStore(): CrashableStore {
  return new CrashableStore()
}
