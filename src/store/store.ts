/**
 * The contract between a node and whatever keeps its rows: synchronous point reads, one atomic batch a commit, ordered
 * scans from one snapshot. Two adapters fulfil it (level.ts, memory.ts); store.suite.ts is what any other must pass.
 *
 * What every adapter promises:
 * - A batch is visible and durable whole or not at all, and batches are kept in the order in which they were written:
 *   what survives a crash is a prefix of them.
 * - A read gives the value that was written or throws `store_damaged`. It never guesses.
 * - Keys are ordered bytewise, are not empty, and never start with `reservedByte`.
 *
 * What the contract leaves to its driver: group commit (one write is in flight at a time), when to retry, and what to
 * show meanwhile (rows that are not committed yet are the replica's overlay, not the store's).
 */
import type { Row, RowRange, RowReader, RowScanner, RowSink } from '../base/rows.ts'

export type { Row, RowRange }

/**
 * How far an acknowledged batch reaches: `memory` dies with the process, `os` survives the process (the operating system has
 * it), `disk` survives the loss of power (it was synced, and with it every batch before it).
 */
export type Durability = 'memory' | 'os' | 'disk'

const reach = { memory: 0, os: 1, disk: 2 } as const satisfies Record<Durability, number>

/** Is what `have` promises at least what `want` asks for? */
export function reaches(have: Durability, want: Durability): boolean {
  return reach[have] >= reach[want]
}

/** Keys that start with this byte belong to the adapter: users of the contract cannot write them, scans never yield them. */
export const reservedByte = 0xff

/** What an adapter can do; what it cannot, it says with the reason. */
export interface StoreSupport {
  /** The highest durability that `write` honours; asking for more is `invalid_argument`. */
  readonly durability: Durability
  /** Why not `disk`. Absent where it is. */
  readonly reason?: string
  /** Is there something to reopen after `close`? */
  readonly persistent: boolean
}

/** A stretch of batches, by number and, where known, by the wall time of its ends. */
export interface BatchRange {
  readonly from: number
  readonly to: number
  /** Milliseconds of wall time: nothing acknowledged before it is missing, nothing after `untilMs` is known of. */
  readonly sinceMs?: number
  readonly untilMs?: number
}

/** What opening found. The node logs it and decides with it whether it must catch up from its peers before it speaks. */
export interface OpeningReport {
  /** `fresh`: made just now. `clean`: closed in order. `unclean`: the process or the machine stopped in between. */
  readonly found: 'fresh' | 'clean' | 'unclean'
  /** Number of the last batch that the store holds; 0 for none. */
  readonly lastBatch: number
  /** Batches that were acknowledged at `os` and are gone, as a power cut may leave it. None of them was acknowledged at `disk`. */
  readonly lostUnsynced?: BatchRange & {
    /** Has the machine been restarted since they were written? `false` means that something else than a power cut took them. */
    readonly restarted?: boolean
  }
  /** The damaged data directory was moved to `path`, and this store is new and empty. */
  readonly setAside?: {
    readonly path: string
    readonly reason: string
    /** What may be lost unless peers have it; absent where nothing could be read of it. */
    readonly mayBeLost?: BatchRange
  }
  /** Sentences for the log: nothing is known to be missing, but a guard was. */
  readonly warnings: readonly string[]
}

/**
 * The rows of one commit. Made by `Store.batch`, filled by the replica, written by the driver. Of several operations on
 * one key the last holds. `put` and `del` copy what they are given. A batch whose write was rejected keeps its rows and
 * may be written again, or be filled further first; one that was written is spent.
 */
export interface Batch extends RowSink {
  readonly count: number
  /** Keys and values together. */
  readonly sizeBytes: number
}

/** One moment of the store, for as long as its holder needs it. It pins disk space: dispose of it. */
export interface StoreSnapshot extends RowReader, RowScanner, Disposable {}

export interface ScrubOptions {
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: ScrubProgress) => void
}

export interface ScrubProgress {
  readonly rows: number
  readonly files: number
  readonly sizeBytes: number
}

export interface Damage {
  /** The file, relative to the data directory, or undefined where a row is wrong. */
  readonly file?: string
  readonly offset?: number
  /** The first key that is known to be affected, and the last: both may be read wrong or not at all. */
  readonly firstKey?: Uint8Array
  readonly lastKey?: Uint8Array
  readonly what: string
}

export interface ScrubReport extends ScrubProgress {
  readonly damages: readonly Damage[]
  /** False if `signal` ended it early. */
  readonly complete: boolean
}

/**
 * `open`: all is well. `failing`: the last write failed; reads go on and the next write tries to recover.
 * `reopening`: in the midst of that; for some milliseconds reads throw `busy`. `closed`.
 */
export type StoreStatus = 'open' | 'failing' | 'reopening' | 'closed'

export interface Store extends RowReader, RowScanner, AsyncDisposable {
  readonly supports: StoreSupport
  readonly opening: OpeningReport
  readonly status: StoreStatus
  /** Number of the last batch written; the first is 1. */
  readonly lastBatch: number

  /** The replica reads its rows here, at any time. Throws `store_damaged`, `closed`, or `busy` while reopening. */
  get(key: Uint8Array): Uint8Array | undefined

  /**
   * Pages of rows from the moment of the first `next`, whatever is written meanwhile. The iteration throws
   * `store_damaged`, `closed` when the store is closed under it, or `busy` when it is reopened under it: an end
   * without an error is always the end of the range.
   */
  range(range: RowRange): AsyncIterable<readonly Row[]>

  /** Sync sessions and backups take one to read several ranges of one moment. Throws like `get`. */
  snapshot(): StoreSnapshot

  /** An empty batch. Cheap; one that is never written costs nothing. */
  batch(): Batch

  /**
   * One atomic commit, called by the driver, one at a time (asserted). When it resolves, reads show the batch and it is as
   * durable as was asked, and so is every batch before it. An empty batch at `disk` makes durable what was written before.
   *
   * A rejection with `store_full` or `store_failed` means: not acknowledged. The bytes may still have reached the
   * disk, so that a later open (or the retry) finds the whole batch, never a part; reads show all of it or, as a rule, none.
   * The rows must be written again, the very batch or one that holds them too, before any other: the next `write` tries
   * to recover first, knows the batch again if it did arrive, and does not apply it twice. `store_damaged` is final: acknowledged
   * batches are missing. `closed` likewise.
   */
  write(batch: Batch, durability: Durability): Promise<void>

  /**
   * Reads every row and file and compares them with their checksums; a job runs it now and then. Reads and writes may
   * go on. It reports damage and does not throw for it; `closed` or `busy` it may throw.
   */
  scrub(options?: ScrubOptions): Promise<ScrubReport>

  /**
   * When it resolves, no file holds what was overwritten or removed before, but for what a snapshot or a scan still
   * reads. It rewrites everything. Reads and writes may go on.
   */
  compact(): Promise<void>

  /** Waits for the write in flight, ends scans with `closed`, marks the store as closed in order. May be called twice. */
  close(): Promise<void>
}
