/**
 * The driver: it owns the store, the clock and the timers, and obeys the replica. Writes are applied in memory at once;
 * everything that waits goes to the store in one batch (group commit), and the next batch gathers meanwhile.
 */
import { binaryString, compareUtf8 } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { RowScanner } from '../base/rows.ts'
import { timeToMs } from '../crdt/clock.ts'
import { decodeDelta } from '../crdt/delta.ts'
import type { Delta } from '../crdt/delta.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import { typeOf } from '../crdt/types/table.ts'
import { Replica, expiryAt } from '../replica/replica.ts'
import type { Applied, Expiring } from '../replica/replica.ts'
import {
  KeyWriter,
  entryKeyOf,
  metaKey,
  prefixRange,
  spaceRange,
  table,
  tableRange,
  tablesOfSpace,
} from '../replica/row-keys.ts'
import type { StoredEntry } from '../replica/entry.ts'
import type { Retention, Space } from '../replica/space.ts'
import { reaches } from '../store/store.ts'
import type { Batch, OpeningReport, ScrubReport, Store } from '../store/store.ts'
import type { SpaceDefinition, SpaceSchemas } from './define-space.ts'
import { historyOf } from './history.ts'
import type { HistoryItem } from './history.ts'
import type { WatchOptions } from './handles.ts'
import type { Durability } from './receipt.ts'
import { SpaceHandle, checkName, checkOptions, spaceStatus } from './space-handle.ts'
import type { EntryRow, SpaceHost, SpaceStatus } from './space-handle.ts'
import { Watch, WatchQueue } from './watch.ts'
import type { EntryChanged, WatchEvent } from './watch.ts'

export interface NodeConfig {
  readonly store: Store
  readonly agent: string
  readonly durability: Durability
  readonly retention: Retention
  readonly cacheBytes: number
  /** 16 fresh random hexadecimal digits; they must not come from the disk. */
  readonly incarnation: string
  /** The identity to take up when the store has none yet: 16 hexadecimal digits. */
  readonly freshNode: string
  now(): number
}

export interface NodeStatus {
  readonly node: string
  readonly origin: string
  /**
   * `full`: the disk refuses writes; what returned is kept in memory and retried. `failing`: the same for another reason.
   */
  readonly state: 'open' | 'full' | 'failing' | 'closed'
  /** What opening found: whether the last run ended in order, what may be lost, where a damaged directory went. */
  readonly opening: OpeningReport
  readonly spaces: readonly SpaceStatus[]
  /** Bytes that wait for the disk. */
  readonly waitingBytes: number
}

/** How often the log is looked at for what may go. A guess. */
const pruneEveryMs = 5_000
/** Between attempts of a full disk to take the batch that waits: doubling, up to a bound. */
const retryFirstMs = 100
const retryMostMs = 5_000
/** Writers behind one batch from which on it pays to tell them in two halves. A guess. */
const worthHalving = 16
/** Timers take no more than this; longer waits are taken in pieces. */
const timerMostMs = 2 ** 31 - 1

interface Watcher {
  readonly space: Space
  readonly prefix: string
  readonly exact: boolean
  readonly queue: WatchQueue
  stop(): void
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

export class SkeinNode implements SpaceHost, AsyncDisposable {
  readonly replica: Replica
  readonly settings: { readonly agent: string; readonly durability: Durability }
  readonly id: string
  readonly #config: NodeConfig
  readonly #store: Store
  readonly #watchers = new Set<Watcher>()
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** Why writes are refused: the disk is full, or worse. */
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
  #expiryTimer: NodeJS.Timeout | undefined
  #expiryAt = Infinity
  #pruneTimer: NodeJS.Timeout | undefined
  #retry: { timer: NodeJS.Timeout; wake: () => void } | undefined
  #purging: Promise<void> = Promise.resolve()

  private constructor(config: NodeConfig, id: string) {
    this.#config = config
    this.#store = config.store
    this.id = id
    this.settings = { agent: config.agent, durability: config.durability }
    this.replica = new Replica({
      node: id,
      incarnation: config.incarnation,
      rows: config.store,
      cacheBytes: config.cacheBytes,
      retention: config.retention,
      applied: (event) => this.#applied(event),
    })
  }

  /** Reads what must be in memory (names, spaces, vectors), not the entries. */
  static async open(config: NodeConfig): Promise<SkeinNode> {
    const { store } = config
    const known = store.get(metaKey('node'))
    const node = new SkeinNode(config, known === undefined ? config.freshNode : binaryString(known))
    if (known === undefined && store.supports.persistent) {
      const batch = store.batch()
      batch.put(
        metaKey('node'),
        Uint8Array.from(config.freshNode, (unit) => unit.charCodeAt(0)),
      )
      await store.write(batch, 'disk')
    }
    for (const each of [table.origin, table.agent, table.space, table.writer, table.segment, table.adoption]) {
      for await (const page of store.range(tableRange(each))) {
        for (const [key, value] of page) node.replica.load(key, value)
      }
    }
    await node.#findExpiries()
    node.#pruneTimer = setInterval(() => node.#prune(), pruneEveryMs)
    node.#pruneTimer.unref()
    if (node.replica.dead.length > 0) node.#purge()
    return node
  }

  /** The space of that name, made when there is none. A definition types it and holds local writes to its schema. */
  space<Schemas extends SpaceSchemas = SpaceSchemas>(
    name: string,
    definition?: SpaceDefinition<Schemas>,
  ): SpaceHandle<Schemas> {
    this.readable()
    checkName(name, 'space name', limits.spaceNameBytes)
    if (definition !== undefined) checkOptions(definition, ['schema'])
    return new SpaceHandle(this, this.replica.open(name), definition)
  }

  /** Ends a space: its entries and its log go. The name starts anew as another generation. */
  async deleteSpace(name: string): Promise<boolean> {
    this.writable()
    const space = this.replica.deleteSpace(name)
    if (space === undefined) return false
    for (const watcher of this.#watchers) if (watcher.space === space) watcher.queue.end()
    const { batch } = this.replica
    this.wrote(batch, 'disk')
    await this.whenStored(batch)
    this.#purge()
    await this.#purging
    return true
  }

  status(): NodeStatus {
    return {
      node: this.id,
      origin: this.replica.origin,
      state: this.#stateName(),
      opening: this.#store.opening,
      spaces: this.replica.spaces.map(spaceStatus),
      waitingBytes: this.replica.waitingBytes,
    }
  }

  #stateName(): NodeStatus['state'] {
    if (this.#state !== 'open') return 'closed'
    if (this.#refusal === undefined) return 'open'
    return this.#refusal.code === 'store_full' ? 'full' : 'failing'
  }

  /** Resolves when everything written so far is as durable as it asked to be. */
  async flush(): Promise<void> {
    this.writable()
    if (this.replica.dirty) this.#kick()
    await this.whenStored(this.replica.dirty ? this.replica.batch : this.replica.batch - 1)
  }

  /** Drops from the logs what their retention no longer asks for, now rather than in a while. */
  async prune(retention: Partial<Retention> = {}): Promise<void> {
    this.writable()
    await this.flush()
    const merged = { ...this.#config.retention, ...checkOptions(retention, ['keepMs', 'keepBytes']) }
    if (!(merged.keepMs >= 0 && merged.keepBytes >= 0)) {
      throw new SkeinError('invalid_argument', 'keepMs and keepBytes are numbers from 0')
    }
    for (let more = true; more;) {
      more = this.replica.prune(this.now(), merged).more
      await this.flush()
    }
  }

  /** Reads every row and file, and says what is not as it was written. */
  scrub(signal?: AbortSignal): Promise<ScrubReport> {
    this.readable()
    return this.#store.scrub(signal === undefined ? {} : { signal })
  }

  /** A consistent view of all rows as of now, for a backup: what was written before is in it. */
  async rows(): Promise<RowScanner> {
    await this.flush()
    return this.#store
  }

  /** Waits for what was written, stops, and closes the store. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closing'
    clearTimeout(this.#expiryTimer)
    clearInterval(this.#pruneTimer)
    for (const watcher of this.#watchers) watcher.queue.end()
    this.#retry?.wake()
    try {
      // After a refusal that stood there is nothing more to try.
      if (this.replica.dirty && this.#refusal === undefined) this.#kick()
      await this.#committing
    } finally {
      this.#state = 'closed'
      this.#fail(new SkeinError('closed', 'the node was closed before the disk had this write', {}, this.#refusal))
      await this.#purging.catch(() => undefined)
      await this.#store.close()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // What spaces need of their node.

  now(): number {
    return this.#config.now()
  }

  readable(): void {
    if (this.#state !== 'open') throw new SkeinError('closed', 'the node is closed')
  }

  writable(durability: Durability = 'memory'): void {
    this.readable()
    const { supports } = this.#store
    if (!reaches(supports.durability, durability)) {
      throw new SkeinError('invalid_argument', `durability: no ${durability} here, ${supports.reason ?? ''}`, {
        durability,
      })
    }
    if (this.#refusal !== undefined) throw this.#refusal
  }

  /** What the node itself writes asks for no more than the store can give; for others `writable` has checked it. */
  wrote(_batch: number, asked: Durability): void {
    const most = this.#store.supports.durability
    const durability = reaches(most, asked) ? asked : most
    if (rank[durability] > rank[this.#wanted]) this.#wanted = durability
    this.#writes++
    this.#kick()
  }

  settled(space: Space, durability: Durability): number {
    if (!this.replica.dirty) {
      const last = this.replica.batch - 1
      if (durability !== 'disk' || this.#synced >= last) return last
      // All of it went to the system only; the next synced batch takes it along.
      this.replica.touch(space)
    }
    this.wrote(this.replica.batch, durability)
    return this.replica.batch
  }

  whenStored(batch: number): Promise<void> {
    if (batch <= this.#stored) return Promise.resolve()
    if (this.#state === 'closed') return Promise.reject(new SkeinError('closed', 'the node is closed'))
    for (const waiters of this.#waiting) if (waiters.batch === batch) return waiters.join()
    const waiters = new Waiters(batch)
    this.#waiting.push(waiters)
    return waiters.join()
  }

  history(space: Space, key: string): Promise<readonly HistoryItem[]> {
    this.readable()
    return historyOf(space, key, nextTurn)
  }

  async *entries(space: Space, prefix: string): AsyncGenerator<EntryRow, void, void> {
    this.readable()
    // Rows are what the disk has; entries that are still on their way to it are laid over them, so that a listing
    // neither waits for the disk nor misses a write.
    const waiting = space.unstored(prefix)
    using snapshot = this.#store.snapshot()
    let next = 0
    const bytes = new KeyWriter().start(table.entry).short(space.number).text(prefix).bytes
    for await (const page of snapshot.range(prefixRange(bytes))) {
      for (const [rowKey, row] of page) {
        const key = entryKeyOf(rowKey)
        for (; next < waiting.length && compareUtf8(waiting[next] as string, key) < 0; next++) {
          yield* entryRow(space.entry(waiting[next] as string))
        }
        const isWaiting = waiting[next] === key
        if (isWaiting) next++
        yield* entryRow(isWaiting ? space.entry(key) : space.entryFromRow(key, row, snapshot))
      }
      this.readable()
      if (space.deleted) throw new SkeinError('space_deleted', `space ${space.name} was deleted meanwhile`)
    }
    for (const key of waiting.slice(next)) yield* entryRow(space.entry(key))
  }

  /** Watching begins with this call, not with the first read. */
  watch(space: Space, prefix: string, exact: boolean, options: WatchOptions): Watch {
    this.readable()
    const { signal, since } = options
    const until = space.places
    const here = this.#token(space, until, this.#lastDot(space))
    const from = since === undefined ? until : this.#placeOf(space, since)
    const stop = (): void => {
      this.#watchers.delete(watcher)
      signal?.removeEventListener('abort', stop)
      watcher.queue.end()
    }
    const queue = new WatchQueue(from === until ? here : (since ?? here))
    const watcher: Watcher = { space, prefix, exact, queue, stop }
    this.#watchers.add(watcher)
    signal?.addEventListener('abort', stop)
    if (signal?.aborted === true) stop()
    return new Watch(this.#events(watcher, from, until, here), stop)
  }

  async *#events(
    watcher: Watcher,
    from: number | undefined,
    until: number,
    here: string,
  ): AsyncGenerator<WatchEvent, void, void> {
    try {
      yield* this.#eventsUntilEnd(watcher, from, until, here)
    } finally {
      watcher.stop()
    }
  }

  async *#eventsUntilEnd(
    watcher: Watcher,
    from: number | undefined,
    until: number,
    here: string,
  ): AsyncGenerator<WatchEvent, void, void> {
    if (from === undefined) yield { kind: 'gap', space: watcher.space.name, cause: 'restored', token: here }
    else if (from < until) yield* this.#replay(watcher, from, until)
    yield* watcher.queue.read()
  }

  /** Deltas that were applied in (from, until], in that order, read from the log. */
  async *#replay(watcher: Watcher, from: number, until: number): AsyncGenerator<WatchEvent, void, void> {
    const { space } = watcher
    const found: { place: number; delta: Delta }[] = []
    for (const log of space.logs.values()) {
      for (let seq = log.seq; seq > 0; seq--) {
        const entry = log.entry(seq)
        if (entry === undefined || entry.place <= from) break
        if (entry.place <= until) found.push({ place: entry.place, delta: decodeDelta(log.origin, seq, entry.body) })
        if (found.length % 512 === 511) await nextTurn()
      }
    }
    found.sort((a, b) => a.place - b.place)
    if (found.length < until - from) {
      const [first] = found
      const token =
        first === undefined
          ? this.#token(space, until, this.#lastDot(space))
          : this.#token(space, first.place - 1, first.delta, true)
      yield { kind: 'gap', space: space.name, cause: 'pruned', token }
    }
    for (const { place, delta } of found) {
      const own = delta.origin === this.replica.origin
      yield* this.#changes(watcher, { space, delta, place, own, fault: undefined })
    }
  }

  // The rest is the driver's own.

  #applied(event: Applied): void {
    if (event.space.nextExpiry < this.#expiryAt) this.#scheduleExpiry(event.space.nextExpiry)
    for (const watcher of this.#watchers) {
      if (watcher.space !== event.space) continue
      try {
        for (const change of this.#changes(watcher, event)) watcher.queue.push(change)
      } catch {
        // A row that this watcher would show cannot be read. The write stands; the watcher goes on from here by reading.
        watcher.queue.skip(event.space.name, this.#token(event.space, event.place, event.delta))
      }
    }
  }

  *#changes(
    watcher: Watcher,
    { space, delta, place, own, fault }: Omit<Applied, 'body' | 'nowMs'>,
  ): Iterable<EntryChanged> {
    if (fault !== undefined) return
    const wanted = (key: string): boolean => (watcher.exact ? key === watcher.prefix : key.startsWith(watcher.prefix))
    const keys = new Set<string>()
    for (const { key } of delta.clears) if (wanted(key)) keys.add(key)
    for (const { key } of delta.writes) if (wanted(key)) keys.add(key)
    let left = keys.size
    for (const key of keys) {
      left--
      const entry = space.entry(key)
      const type = typeOf(entry.types().at(-1) ?? 0)
      yield {
        kind: 'change',
        space: space.name,
        key,
        type: type?.name,
        deleted: entry.empty,
        agent: delta.agent,
        reason: delta.reason,
        at: timeToMs(delta.time),
        dot: { origin: delta.origin, seq: delta.seq },
        local: own,
        conflict: type !== undefined && type.read(entry.cells(type.id)).concurrent.length > 0,
        // Only the last change of a transaction has it behind it: from an earlier one it comes again, whole.
        token: left === 0 ? this.#token(space, place, delta) : this.#token(space, place - 1, delta, true),
      }
    }
  }

  /**
   * A place in the space's local order, with a delta that pins it, since the same place may be another's after a
   * restore: the delta at that place, or (with a plus) the one right behind it.
   */
  #token(space: Space, place: number, at: Dot | undefined, behind: boolean = false): string {
    const pin = at === undefined ? '' : `${behind ? '+' : ''}${at.origin}-${at.seq.toString(36)}`
    return `w1.${this.id}.${space.number}.${place.toString(36)}.${pin}`
  }

  /** Where a token points; undefined when this replica's history is not the one that it came from. */
  #placeOf(space: Space, token: unknown): number | undefined {
    const match = /^w1\.([0-9a-f]{16})\.(\d+)\.([0-9a-z]{1,11})\.(?:(\+?)([0-9a-f]{32})-([0-9a-z]{1,11}))?$/.exec(
      String(token),
    )
    const [, node, number, place, behind, origin, seq] = match ?? []
    if (node !== this.id || number !== String(space.number) || place === undefined) {
      throw new SkeinError('invalid_token', `since: not a token of this node's space ${space.name}`)
    }
    const at = Number.parseInt(place, 36)
    if (origin === undefined || seq === undefined) return at === 0 ? 0 : undefined
    const log = space.logs.get(origin as OriginId)
    const wanted = Number.parseInt(seq, 36)
    if (log === undefined || wanted > log.seq || at > space.places) return undefined
    // A dot is never used twice, so one that is known here stands where it stood; what is pruned needs no more proof.
    const entry = log.entry(wanted)
    return entry === undefined || entry.place === at + (behind === '+' ? 1 : 0) ? at : undefined
  }

  /** The delta that this space applied last. */
  #lastDot(space: Space): Dot | undefined {
    for (const { origin, seq, place } of space.logs.values())
      if (place === space.places && seq > 0) return { origin, seq }
    return undefined
  }

  #kick(): void {
    this.#committing ??= this.#gathered()
      .then(() => this.#commit())
      .catch((error: unknown) => {
        const known = error instanceof SkeinError
        this.#refusal = known ? error : new SkeinError('store_failed', 'committing failed', {}, error)
        this.#fail(this.#refusal)
        // A programmer error stops the process; a store that was closed under us does not.
        if (!known) throw error
      })
      .finally(() => {
        this.#committing = undefined
        if (this.replica.dirty && this.#state !== 'closed' && this.#refusal === undefined) this.#kick()
      })
  }

  /**
   * One turn of the event loop gathers everything that is written in it. While there is but one writer it is not kept waiting
   * for company: what is written without an `await` in between still goes together.
   */
  #gathered(): Promise<void> {
    return this.#alone ? Promise.resolve() : nextTurn()
  }

  /**
   * One batch after another, as long as something waits. The next goes out before those who waited for the last are told,
   * so that they write while the store does. Where all were waiting for the same batch, half of them are told first:
   * from then on the halves take turns.
   */
  async #commit(): Promise<void> {
    let underWay = this.replica.dirty ? this.#begin() : undefined
    while (underWay !== undefined) {
      const { number, written } = underWay
      if (!(await written)) return
      this.replica.stored(number, this.#synced >= number || this.#store.supports.durability !== 'disk')
      this.#stored = number
      const told = this.#waiting.filter((waiters) => waiters.batch <= number)
      this.#waiting = this.#waiting.filter((waiters) => waiters.batch > number)
      underWay = this.replica.dirty ? this.#begin() : undefined
      if (underWay === undefined && told.some(({ count }) => count >= worthHalving)) {
        for (const waiters of told) waiters.tellHalf()
        await nextTurn()
        if (this.replica.dirty) underWay = this.#begin()
      }
      for (const waiters of told) waiters.tell()
      if (underWay !== undefined || told.length === 0) continue
      await this.#gathered()
      if (this.replica.dirty) underWay = this.#begin()
    }
  }

  /** Hands the next batch to the store. */
  #begin(): { readonly number: number; readonly written: Promise<boolean> } {
    // Size is held at every commit, so that a burst cannot outrun it; age is looked at now and then.
    if (this.replica.overfull) this.replica.prune(this.now())
    const batch = this.#store.batch()
    const durability = this.#wanted
    this.#wanted = 'memory'
    this.#alone = this.#writes <= 1
    this.#writes = 0
    const number = this.replica.takeBatch(batch)
    if (durability === 'disk') this.#synced = number
    return { number, written: this.#write(batch, durability) }
  }

  /** True when the store has the batch; false when the node was closed before it would take it. */
  async #write(batch: Batch, durability: Durability): Promise<boolean> {
    for (let waitMs = retryFirstMs; ; waitMs = Math.min(2 * waitMs, retryMostMs)) {
      try {
        await this.#store.write(batch, durability)
        this.#refusal = undefined
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

  /** Nothing that waits will become durable. */
  #fail(error: SkeinError): void {
    for (const waiters of this.#waiting) waiters.fail(error)
    this.#waiting = []
  }

  #prune(): void {
    if (this.#state !== 'open' || this.#refusal !== undefined) return
    this.replica.prune(this.now())
    if (this.replica.dirty) this.#kick()
  }

  #purge(): void {
    this.#purging = this.#purging
      .then(async () => {
        for (const space of this.replica.dead) {
          for (const each of tablesOfSpace) {
            for await (const page of this.#store.range(spaceRange(each, space.number))) {
              for (const [key] of page) this.replica.remove(key)
              await this.flush()
            }
          }
        }
      })
      .catch((error: unknown) => {
        // Closed or full meanwhile: the next opening goes on.
        if (!(error instanceof SkeinError)) throw error
      })
  }

  async #findExpiries(): Promise<void> {
    for (const space of this.replica.spaces) {
      for await (const page of this.#store.range(spaceRange(table.expiry, space.number))) {
        const [first] = page
        if (first !== undefined) space.nextExpiry = expiryAt(first[0]).atMs
        break
      }
      if (space.nextExpiry < this.#expiryAt) this.#scheduleExpiry(space.nextExpiry)
    }
  }

  #scheduleExpiry(atMs: number): void {
    clearTimeout(this.#expiryTimer)
    this.#expiryAt = atMs
    if (atMs === Infinity) return
    const waitMs = Math.min(Math.max(atMs - this.now(), 0) + 1, timerMostMs)
    this.#expiryTimer = setTimeout(() => {
      this.#expire().catch((error: unknown) => {
        // Closed or full meanwhile: what is due stays due, and is found again.
        if (!(error instanceof SkeinError)) throw error
        if (this.#state === 'open') this.#scheduleExpiry(this.now() + retryMostMs)
      })
    }, waitMs)
    this.#expiryTimer.unref()
  }

  async #expire(): Promise<void> {
    await this.flush()
    const nowMs = this.now()
    for (const space of this.replica.spaces) {
      if (space.nextExpiry > nowMs) continue
      // `nextExpiry` moves at the end: if the scan fails, what is due stays due.
      let later = Infinity
      space.soonest = Infinity
      for await (const page of this.#store.range(spaceRange(table.expiry, space.number))) {
        const due: Expiring[] = []
        for (const [key] of page) {
          const { atMs, expiring } = expiryAt(key)
          if (atMs <= nowMs) due.push(expiring)
          else {
            later = atMs
            break
          }
        }
        if (due.length > 0) {
          this.writable()
          this.wrote(this.replica.expire(space, due, nowMs), 'os')
        }
        if (due.length < page.length) break
      }
      space.nextExpiry = Math.min(later, space.soonest)
    }
    this.#scheduleExpiry(Math.min(...this.replica.spaces.map((space) => space.nextExpiry), Infinity))
  }
}

function* entryRow(entry: StoredEntry): Iterable<EntryRow> {
  const type = typeOf(entry.types().at(-1) ?? 0)
  if (type !== undefined) yield { key: entry.key, type: type.name, value: type.read(entry.cells(type.id)).value }
}

const rank: Readonly<Record<Durability, number>> = { memory: 0, os: 1, disk: 2 }

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
