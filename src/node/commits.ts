/**
 * Group commit: everything that waits goes to the store in one batch, and the next batch gathers meanwhile. It owns the one
 * write that may be under way, those who wait for it, and what is done when the disk is full.
 */
import { SkeinError } from '../base/errors.ts'
import type { Replica } from '../replica/replica.ts'
import type { Space } from '../replica/space.ts'
import { reaches } from '../store/store.ts'
import type { Batch, Store } from '../store/store.ts'
import type { Durability } from './receipt.ts'

/** A batch that the store took. */
export interface Commit {
  /** Its number in the replica; a sync of what the store had before is no batch, and has the last one's. */
  readonly batch: number
  readonly durability: Durability
  readonly fromMs: number
  readonly tookMs: number
}

export interface CommitsHost {
  readonly replica: Replica
  readonly store: Store
  now(): number
  /** That batch is in the store; `durable`: it was synced, and with it all before. */
  stored(batch: number, durable: boolean): void
  /** Everything in the store was synced. */
  synced(): void
  committed(commit: Commit): void
  /** Something waits for the disk itself before it may leave: the next batch should be synced. */
  readonly awaitsDisk: boolean
  /** Others are waiting for what is written here. */
  readonly linked: boolean
  /** Must it be synced at all, sooner or later? Who is alone keeps what it wrote at `os` as it is. */
  readonly syncs: boolean
}

/** Between attempts of a full disk to take the batch that waits: doubling, up to a bound. */
const retryFirstMs = 100
const retryMostMs = 5_000
/** Writers behind one batch from which on it pays to tell them in two halves. A guess. */
const worthHalving = 16
/** How long a batch gathers while nobody waits for it: the processor is for those who do. A guess: beside a hop it is nothing. */
const idleMs = 5
/** Bytes that do not gather longer. A guess: a batch of them takes about as long as it waits. */
const idleBytes = 262_144
/** How long what was written at `os` waits for a sync, where others count on this disk. A guess: some rounds of gossip. */
const syncEveryMs = 1_000

const rank: Readonly<Record<Durability, number>> = { memory: 0, os: 1, disk: 2 }

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Those who wait for one batch, in two halves: a promise for each half, rather than for each of them. */
class Waiters {
  readonly batch: number
  count = 0
  readonly #halves: PromiseWithResolvers<void>[] = []

  constructor(batch: number) {
    this.batch = batch
  }

  join(): Promise<void> {
    return (this.#halves[this.count++ % 2] ??= Promise.withResolvers()).promise
  }

  tellHalf(): void {
    this.#halves[0]?.resolve()
  }

  tell(): void {
    for (const { resolve } of this.#halves) resolve()
  }

  fail(error: SkeinError): void {
    for (const { reject } of this.#halves) reject(error)
  }
}

export class Commits {
  readonly #host: CommitsHost
  readonly #replica: Replica
  readonly #store: Store
  #state: 'open' | 'closing' | 'closed' = 'open'
  #refusal: SkeinError | undefined
  #committing: Promise<void> | undefined
  /** The strongest durability asked for in the batch that gathers. */
  #wanted: Durability = 'memory'
  /** Writes in the batch that gathers, and whether the last batch held one alone. */
  #writes = 0
  #alone = true
  #stored = 0
  /** The last batch that was, or is being, written at `disk`. */
  #synced = 0
  /** Those who wait for the batch that is under way, and for the one that gathers. */
  #waiting: Waiters[] = []
  #retry: { timer: NodeJS.Timeout; wake: () => void } | undefined
  #syncTimer: NodeJS.Timeout | undefined
  #idleTimer: NodeJS.Timeout | undefined

  constructor(host: CommitsHost) {
    this.#host = host
    this.#replica = host.replica
    this.#store = host.store
  }

  /** Why writes are refused: the disk is full, or worse. */
  get refusal(): SkeinError | undefined {
    return this.#refusal
  }

  /** Nothing is written any more: what is in memory is not to be believed. */
  refuse(error: SkeinError): void {
    this.#refusal = error
    this.#fail(error)
  }

  /** The last batch that the store has. */
  get lastStored(): number {
    return this.#stored
  }

  /** What the node itself writes asks for no more than the store can give; for others it was checked before. */
  want(asked: Durability): void {
    const most = this.#store.supports.durability
    const durability = reaches(most, asked) ? asked : most
    if (rank[durability] > rank[this.#wanted]) this.#wanted = durability
    this.#writes++
  }

  /** The batch to wait for so that what can be read now is that durable; what it still needs is asked for. */
  settled(space: Space, durability: Durability): number {
    if (!this.#replica.dirty) {
      const last = this.#replica.batch - 1
      if (durability !== 'disk' || this.#synced >= last) return last
      // All of it went to the system only; the next synced batch takes it along.
      this.#replica.touch(space)
    }
    this.want(durability)
    return this.#replica.batch
  }

  whenStored(batch: number): Promise<void> {
    if (batch <= this.#stored) return Promise.resolve()
    if (this.#state === 'closed') return Promise.reject(new SkeinError('closed', 'the node is closed'))
    for (const waiters of this.#waiting) if (waiters.batch === batch) return waiters.join()
    const waiters = new Waiters(batch)
    this.#waiting.push(waiters)
    this.kick()
    return waiters.join()
  }

  /** Resolves when everything written so far is as durable as it asked to be. */
  async flush(): Promise<void> {
    await this.whenStored(this.#replica.dirty ? this.#replica.batch : this.#replica.batch - 1)
  }

  /** Something waits for the disk: it is written now if somebody waits for that, and else in a moment. */
  kick(): void {
    // A refusal outside a commit is one that stands.
    if (this.#state === 'closed' || this.#committing !== undefined || this.#refusal !== undefined) return
    const isAwaited = this.#waiting.length > 0 || this.#state === 'closing' || this.#host.awaitsDisk
    if (!this.#replica.dirty) {
      const mayHelp = this.#synced < this.#stored && this.#store.supports.durability === 'disk'
      if (mayHelp && this.#host.awaitsDisk) void this.sync()
    } else if (isAwaited || !this.#host.linked || this.#replica.waitingBytes > idleBytes) this.#start()
    else if (this.#idleTimer === undefined) {
      this.#idleTimer = setTimeout(() => {
        this.#idleTimer = undefined
        if (this.#replica.dirty && this.#state !== 'closed') this.#start()
      }, idleMs)
    }
  }

  #start(): void {
    clearTimeout(this.#idleTimer)
    this.#idleTimer = undefined
    this.#committing ??= this.#gathered()
      .then(() => this.#commit())
      .catch((error: unknown) => {
        const known = error instanceof SkeinError
        this.refuse(known ? error : new SkeinError('store_failed', 'committing failed', {}, error))
        // A programmer error stops the process; a store that was closed under us does not.
        if (!known) throw error
      })
      .finally(() => {
        this.#committing = undefined
        if (this.#refusal === undefined) this.kick()
      })
  }

  /** Makes durable what the store has: after opening, before anybody counts on it. */
  async sync(): Promise<void> {
    if (this.#store.supports.durability === 'disk') {
      while (this.#committing !== undefined) await this.#committing
      const upTo = this.#stored
      this.#committing = this.#write(this.#store.batch(), 'disk', upTo)
        .then((isWritten) => {
          if (!isWritten) return
          this.#synced = Math.max(this.#synced, upTo)
          this.#host.synced()
        })
        .finally(() => {
          this.#committing = undefined
          if (this.#refusal === undefined) this.kick()
        })
      await this.#committing
    } else this.#host.synced()
  }

  /** Waits for what was written, then refuses whatever still waits. */
  async close(): Promise<void> {
    this.#state = 'closing'
    clearTimeout(this.#syncTimer)
    clearTimeout(this.#idleTimer)
    this.#retry?.wake()
    try {
      // After a refusal that stood there is nothing more to try.
      if (this.#refusal === undefined) this.kick()
      await this.#committing
    } finally {
      this.#state = 'closed'
      this.#fail(new SkeinError('closed', 'the node was closed before the disk had this write', {}, this.#refusal))
    }
  }

  /**
   * One turn of the event loop gathers everything that is written in it. While there is but one writer it is not kept waiting
   * for company: what is written without an `await` in between still goes together. Where others are linked, what was sent to
   * them leaves first, and who watches is told: making a batch takes longer than both.
   */
  #gathered(): Promise<void> {
    return this.#alone && !this.#host.linked ? Promise.resolve() : nextTurn()
  }

  /**
   * One batch after another, as long as something waits. The next goes out before those who waited for the last are told,
   * so that they write while the store does. Where all were waiting for the same batch, half of them are told first:
   * from then on the halves take turns.
   */
  async #commit(): Promise<void> {
    let underWay = this.#replica.dirty ? this.#begin() : undefined
    while (underWay !== undefined) {
      const { number, written } = underWay
      if (!(await written)) return
      const isDurable = this.#synced >= number || this.#store.supports.durability !== 'disk'
      this.#stored = number
      this.#host.stored(number, isDurable)
      if (!isDurable && this.#host.syncs) this.#syncSoon()
      const told = this.#waiting.filter((waiters) => waiters.batch <= this.#stored)
      this.#waiting = this.#waiting.filter((waiters) => waiters.batch > this.#stored)
      underWay = this.#goesOn ? this.#begin() : undefined
      if (underWay === undefined && told.some(({ count }) => count >= worthHalving)) {
        for (const waiters of told) waiters.tellHalf()
        await nextTurn()
        if (this.#replica.dirty) underWay = this.#begin()
      }
      for (const waiters of told) waiters.tell()
      if (underWay !== undefined || told.length === 0) continue
      await this.#gathered()
      if (this.#replica.dirty) underWay = this.#begin()
    }
  }

  /** Is there something to write that should not gather for longer? */
  get #goesOn(): boolean {
    if (!this.#replica.dirty) return false
    return (
      !this.#host.linked || this.#waiting.length > 0 || this.#host.awaitsDisk || this.#replica.waitingBytes > idleBytes
    )
  }

  /** Hands the next batch to the store. */
  #begin(): { readonly number: number; readonly written: Promise<boolean> } {
    // Size is held at every commit, so that a burst cannot outrun it; age is looked at now and then.
    if (this.#replica.overfull) this.#replica.prune(this.#host.now())
    const batch = this.#store.batch()
    const mayWait = !this.#host.awaitsDisk || this.#store.supports.durability !== 'disk'
    const durability = mayWait ? this.#wanted : 'disk'
    this.#wanted = 'memory'
    this.#alone = this.#writes <= 1
    this.#writes = 0
    const number = this.#replica.takeBatch(batch)
    if (durability === 'disk') this.#synced = number
    return { number, written: this.#write(batch, durability, number) }
  }

  /** True when the store has the batch; false when the node was closed before it would take it. */
  async #write(batch: Batch, durability: Durability, number: number): Promise<boolean> {
    const fromMs = this.#host.now()
    const startedMs = performance.now()
    for (let waitMs = retryFirstMs; ; waitMs = Math.min(2 * waitMs, retryMostMs)) {
      try {
        await this.#store.write(batch, durability)
        this.#refusal = undefined
        this.#host.committed({ batch: number, durability, fromMs, tookMs: performance.now() - startedMs })
        return true
      } catch (error) {
        this.#refusal =
          error instanceof SkeinError ? error : new SkeinError('store_failed', 'the store failed', {}, error)
        if (this.#state !== 'open') return false
        if (!this.#refusal.retryable) {
          this.#fail(this.#refusal)
          return false
        }
        await new Promise<void>((wake) => {
          this.#retry = { timer: setTimeout(wake, waitMs), wake }
        })
        clearTimeout(this.#retry?.timer)
        this.#retry = undefined
      }
    }
  }

  #syncSoon(): void {
    if (this.#syncTimer !== undefined || this.#state !== 'open') return
    this.#syncTimer = setTimeout(() => {
      this.#syncTimer = undefined
      if (this.#state === 'open' && this.#synced < this.#stored) void this.sync()
    }, syncEveryMs)
    this.#syncTimer.unref()
  }

  /** Nothing that waits will become durable. */
  #fail(error: SkeinError): void {
    for (const waiters of this.#waiting) waiters.fail(error)
    this.#waiting = []
  }
}
