/**
 * One space of a replica: its vector, its entries, its tree and its log, and the one door through which every change
 * enters, whoever made it. Everything here is synchronous and happens in memory; `flush` writes the rows of what changed.
 */
import { assert } from '../base/assert.ts'
import { compareUtf8, fromBinaryString } from '../base/bytes.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import { appended, cellKey, none } from '../crdt/change.ts'
import { compareSiblings, hasDot } from '../crdt/cell.ts'
import { ticksPerMs } from '../crdt/clock.ts'
import { advanceChain, startChain } from '../crdt/delta.ts'
import type { CellWrite, Chain, Delta } from '../crdt/delta.ts'
import { bytesOf, covers } from '../crdt/dot.ts'
import type { Dot, OriginId, Vector } from '../crdt/dot.ts'
import type { EntryCache } from './cache.ts'
import { StoredEntry } from './entry.ts'
import type { EntryHome } from './entry.ts'
import { EntryTable } from './entry-table.ts'
import { KeyFilter } from './key-filter.ts'
import { OriginLog } from './log.ts'
import type { LogHome } from './log.ts'
import type { Names } from './names.ts'
import { KeyWriter, table } from './row-keys.ts'
import { StoredSibling } from './sibling.ts'
import { Tree, keyHash, writeSum } from './tree.ts'

export interface SpaceFacts {
  readonly number: number
  readonly name: string
  readonly generation: number
}

export interface SpaceHome {
  readonly rows: RowReader
  readonly origins: Names<OriginId>
  readonly agents: Names<string>
  readonly cache: EntryCache
}

/** How long the log keeps deltas that every roster member has. */
export interface Retention {
  readonly keepMs: number
  /** Above this many bytes the oldest go whatever their age. */
  readonly keepBytes: number
}

const keys = new KeyWriter()
const row = new Writer()

export class Space implements SpaceFacts, EntryHome, LogHome {
  readonly number: number
  readonly name: string
  readonly generation: number
  readonly rows: RowReader
  readonly origins: Names<OriginId>
  readonly agents: Names<string>
  readonly cache: EntryCache
  readonly vector: Vector = new Map()
  readonly logs: Map<OriginId, OriginLog> = new Map()
  readonly tree: Tree
  /** Deltas applied here, in local order. */
  places = 0
  /** Bytes of deltas in the log, over all origins. */
  logBytes = 0
  /** Entries with a live cell. */
  entryCount = 0
  deleted = false
  /** Wall time of the soonest expiry written since the last look at the rows. */
  soonest: number = Infinity
  /** Wall time of the next expiry, Infinity for none. */
  nextExpiry: number = Infinity
  /** Origins that moved since the own last delta: the context of the next. */
  readonly news: Set<OriginId> = new Set()
  readonly #entries = new EntryTable()
  /** The one that was asked for last, and mostly is asked for again. */
  #latest: StoredEntry | undefined = undefined
  /** Keys that may have rows; complete where the space began empty. Never concluded from a row that was not found. */
  readonly #held = new KeyFilter()
  #dirtyEntries: StoredEntry[] = []
  readonly #flushing: OriginLog[] = []
  #expiries: { key: string; sibling: StoredSibling; gone: boolean }[] = []

  constructor(home: SpaceHome, facts: SpaceFacts) {
    this.rows = home.rows
    this.origins = home.origins
    this.agents = home.agents
    this.cache = home.cache
    this.number = facts.number
    this.name = facts.name
    this.generation = facts.generation
    this.tree = new Tree(facts.number, home.rows)
  }

  /** The entry, read from its row when it is not at hand. */
  entry(key: string): StoredEntry {
    const latest = this.#latest
    if (latest?.key === key) {
      latest.used = true
      return latest
    }
    const hash = keyHash(key)
    let entry = this.#entries.get(key, hash)
    if (entry === undefined) {
      entry = new StoredEntry(this, key, hash)
      if (!this.tree.whole || this.#held.mayHave(key)) entry.read()
      this.#entries.add(entry)
      this.cache.add(entry)
    } else entry.used = true
    this.#latest = entry
    return entry
  }

  /**
   * An entry whose row a scan has read already, from `rows`: its chunks are read from there too, since by now they may
   * stand otherwise. It is not kept, so that a scan does not empty the cache.
   */
  entryFromRow(key: string, bytes: Uint8Array, rows: RowReader = this.rows): StoredEntry {
    const hash = keyHash(key)
    const cached = this.#entries.get(key, hash)
    if (cached !== undefined) return cached
    const { number, origins, agents } = this
    const entry = new StoredEntry({ number, rows, origins, agents, forget: () => {}, weigh: () => {} }, key, hash)
    entry.decode(bytes)
    return entry
  }

  weigh(entry: StoredEntry): void {
    if (this.#entries.get(entry.key, entry.hash) === entry) this.cache.weigh(entry)
  }

  /** Entries under a prefix whose rows are not on disk as they are now, in the order of their keys. */
  unstored(prefix: string): string[] {
    const found: string[] = []
    for (const entry of this.#entries.values()) {
      if (entry.dirtyIn > this.cache.storedBatch && entry.key.startsWith(prefix)) found.push(entry.key)
    }
    return found.sort(compareUtf8)
  }

  forget(entry: StoredEntry): void {
    this.#entries.delete(entry)
    if (this.#latest === entry) this.#latest = undefined
  }

  log(origin: OriginId): OriginLog {
    let log = this.logs.get(origin)
    if (log === undefined) this.logs.set(origin, (log = new OriginLog(this, origin)))
    return log
  }

  /** What the next delta of this origin says that it has newly seen. */
  contextFor(own: OriginId): readonly Dot[] {
    const first = !this.vector.has(own)
    if (!first && this.news.size === 0) return none
    const context: Dot[] = []
    for (const origin of first ? this.vector.keys() : this.news) {
      if (origin !== own) context.push({ origin, seq: this.vector.get(origin) as number })
    }
    return context
  }

  /** The highest sequence of an origin that the disk has. */
  storedSeq(origin: OriginId): number {
    return this.logs.get(origin)?.storedSeq ?? 0
  }

  /** The hash over all that is here of an origin. */
  chainOf(origin: OriginId): Chain {
    return this.logs.get(origin)?.chain ?? startChain(this.name, this.generation, origin)
  }

  /** May this delta be applied now? */
  ready(delta: Delta): boolean {
    return (
      delta.seq === (this.vector.get(delta.origin) ?? 0) + 1 && delta.context.every((dot) => covers(this.vector, dot))
    )
  }

  /** Reads every row that applying this delta will need: where one is damaged, this throws, and nothing has changed. */
  prepare(delta: Delta): void {
    for (const { key } of delta.clears) {
      const entry = this.entry(key)
      entry.siblings()
      this.tree.touch(entry.leaf)
    }
    for (const { key, type, path } of delta.writes) {
      const entry = this.entry(key)
      entry.touch(cellKey(type, path))
      this.tree.touch(entry.leaf)
    }
  }

  /**
   * The one door. Applies a delta whole: cells, tree, chain, vector, log. `batch` is the number of the batch that will
   * carry it to the disk. The caller has made sure that it is ready.
   */
  apply(delta: Delta, body: Uint8Array, own: boolean, batch: number): void {
    const { origin, seq, time, clears, writes } = delta
    const log = this.log(origin)
    assert(seq === log.seq + 1, 'deltas of an origin are applied in order, once')
    advanceChain(log.chain, body)
    for (const { key, type, keep } of clears) {
      const entry = this.entry(key)
      const wasEmpty = entry.empty
      for (const sibling of entry.siblings()) {
        const { name } = sibling
        if (type !== 0 && name.charCodeAt(0) !== type) continue
        if (!this.#clears(log, delta, own, sibling) || hasDot(keep, sibling)) continue
        this.#goes(entry, sibling)
        entry.set(
          name,
          entry.at(name).filter((other) => other !== sibling),
        )
      }
      this.#touched(entry, wasEmpty, batch)
    }
    let entry: StoredEntry | undefined
    for (const write of writes) {
      if (entry?.key !== write.key) entry = this.entry(write.key)
      const wasEmpty = entry.empty
      this.#write(entry, write, delta)
      this.#touched(entry, wasEmpty, batch)
    }
    this.vector.set(origin, seq)
    if (!own) this.news.add(origin)
    else if (this.news.size > 0) this.news.clear()
    log.append(body, ++this.places, time, delta.context)
    this.logBytes += body.length
  }

  #clears(log: OriginLog, delta: Delta, own: boolean, sibling: Dot): boolean {
    // A writer here has seen all that is here. Another had seen its context and its own earlier deltas.
    if (own || sibling.origin === delta.origin) return true
    const context = delta.context.find((dot) => dot.origin === sibling.origin)?.seq ?? log.context.get(sibling.origin)
    return sibling.seq <= (context ?? 0)
  }

  /** Writes a cell and keeps the tree true. */
  #write(entry: StoredEntry, write: CellWrite, { origin, seq, time, agent }: Delta): void {
    const name = cellKey(write.type, write.path)
    const { value, expires } = write
    let after: StoredSibling[] = none
    for (const other of entry.at(name)) {
      if (hasDot(write.supersedes, other)) this.#goes(entry, other)
      else after = appended(after, other)
    }
    if (value !== undefined) {
      const sibling = StoredSibling.written(name, origin, seq, time, agent, expires, value)
      sibling.digest(entry.key)
      this.tree.add(entry.leaf)
      if (expires !== 0) this.#expire(entry.key, sibling, false)
      after = appended(after, sibling)
      if (after.length > 1) after.sort(compareSiblings)
    }
    entry.set(name, after)
  }

  #goes(entry: StoredEntry, sibling: StoredSibling): void {
    sibling.digest(entry.key)
    this.tree.subtract(entry.leaf)
    if (sibling.expires !== 0) this.#expire(entry.key, sibling, true)
  }

  #touched(entry: StoredEntry, wasEmpty: boolean, batch: number): void {
    if (entry.empty !== wasEmpty) {
      this.entryCount += wasEmpty ? 1 : -1
      if (wasEmpty && this.tree.whole) this.#held.add(entry.key)
    }
    if (entry.dirtyIn === batch) return
    entry.dirtyIn = batch
    this.#dirtyEntries.push(entry)
  }

  #expire(key: string, sibling: StoredSibling, gone: boolean): void {
    this.#expiries.push({ key, sibling, gone })
    if (gone) return
    this.soonest = Math.min(this.soonest, sibling.expires)
    this.nextExpiry = Math.min(this.nextExpiry, sibling.expires)
  }

  /** Writes the rows of everything that changed. `agents` and `origins` are flushed by the replica, after this. */
  flush(sink: RowSink): void {
    for (const entry of this.#dirtyEntries) {
      entry.flush(sink)
      this.cache.weigh(entry)
    }
    this.#dirtyEntries = []
    this.tree.flush(sink)
    for (const log of this.logs.values()) {
      if (!log.dirty) continue
      log.flush(sink)
      this.#flushing.push(log)
    }
    for (const { key, sibling, gone } of this.#expiries) {
      const rowKey = this.#expiryKey(key, sibling)
      if (gone) sink.del(rowKey)
      else sink.put(rowKey, new Uint8Array(0))
    }
    this.#expiries = []
    sink.put(keys.start(table.space).short(this.number).bytes, this.#encode())
  }

  /** The batch is on disk: what it carried may leave memory. */
  stored(): void {
    for (const log of this.#flushing) log.stored()
    this.#flushing.length = 0
  }

  /**
   * Drops log segments: those below the cut and older than `keepMs`, and the oldest of all while more than `keepBytes`
   * are kept. Returns how many deltas went.
   */
  prune(cut: (origin: OriginId) => number, nowMs: number, retention: Retention, most: number): number {
    const before = (nowMs - retention.keepMs) * ticksPerMs
    let dropped = 0
    while (dropped < most) {
      let oldest: OriginLog | undefined
      for (const log of this.logs.values()) {
        const time = log.oldest?.time
        if (time !== undefined && (oldest === undefined || time < (oldest.oldest?.time ?? 0))) oldest = log
      }
      const segment = oldest?.oldest
      if (oldest === undefined || segment === undefined) break
      const stable = segment.last <= cut(oldest.origin)
      if (!stable || (segment.time > before && this.logBytes <= retention.keepBytes)) break
      dropped += segment.last - oldest.floor + 1
      this.logBytes -= segment.bytes
      oldest.dropOldest()
    }
    return dropped
  }

  #expiryKey(key: string, sibling: StoredSibling): Uint8Array {
    const { name } = sibling
    const named = new TextEncoder().encode(key)
    return keys
      .start(table.expiry)
      .short(this.number)
      .ordered(sibling.expires)
      .ordered(named.length)
      .raw(named)
      .ordered(name.length)
      .raw(fromBinaryString(name))
      .raw(bytesOf(sibling.origin))
      .ordered(sibling.seq).bytes
  }

  #encode(): Uint8Array {
    row.rewind()
    row.begin()
    row.string(this.name)
    row.number(this.generation)
    row.number(this.deleted ? 1 : 0)
    row.number(this.places)
    row.number(this.entryCount)
    writeSum(row, this.tree.root)
    return row.bytes.subarray(0, row.at)
  }

  /** For opening: everything in the space row but what names the space. */
  load(bytes: Uint8Array): void {
    const reader = new Reader(bytes)
    reader.string()
    reader.uint()
    this.deleted = reader.uint() === 1
    this.places = reader.uint()
    this.entryCount = reader.uint()
    this.tree.load(reader)
    reader.finish()
  }
}

/** The name and generation in a space row. */
export function readSpaceFacts(number: number, bytes: Uint8Array): SpaceFacts {
  const reader = new Reader(bytes)
  return { number, name: reader.string(), generation: reader.uint() }
}
