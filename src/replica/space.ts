/**
 * One space of a replica: its vector, its entries, its tree and its log, and the one door through which every change
 * enters, whoever made it. Everything here is synchronous and happens in memory; `flush` writes the rows of what changed.
 */
import { assert } from '../base/assert.ts'
import { compareUtf8, fromBinaryString } from '../base/bytes.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import { appended, cellKey, none } from '../crdt/change.ts'
import { compareSiblings, hasDot, noSiblings } from '../crdt/cell.ts'
import type { Sibling } from '../crdt/cell.ts'
import { ticksPerMs } from '../crdt/clock.ts'
import { advanceChain, startChain, voidBecause } from '../crdt/delta.ts'
import type { CellWrite, Chain, Delta } from '../crdt/delta.ts'
import { bytesOf, covers } from '../crdt/dot.ts'
import type { Dot, OriginId, ReadonlyVector, Seen, Vector } from '../crdt/dot.ts'
import { Adoption, Staging, adoptionPart } from './adoption.ts'
import type { AdoptionHome, CellsOfEntry, Imprint, MergeRule, Moment, Seal } from './adoption.ts'
import { Anchors } from './anchors.ts'
import type { EntryCache } from './cache.ts'
import { Context } from './context.ts'
import { StoredEntry } from './entry.ts'
import type { EntryHome } from './entry.ts'
import { EvidenceRows } from './evidence.ts'
import type { Evidence } from './evidence.ts'
import { EntryTable } from './entry-table.ts'
import type { MetCell, MetEntry } from '../merge/below-log.ts'
import { isSystemKey } from '../merge/system.ts'
import { spaceIdOf } from '../wire/names.ts'
import type { ChainHead, SpaceId } from '../wire/frame.ts'
import { KeyFilter } from './key-filter.ts'
import { OriginLog } from './log.ts'
import type { LogEntry, LogHome, Stand } from './log.ts'
import type { Names } from './names.ts'
import { KeyWriter, table } from './row-keys.ts'
import { StoredSibling } from './sibling.ts'
import { Tree, keyHash, leafCount, writeSum } from './tree.ts'
import type { Sum } from './tree.ts'
import { WaitingRoom } from './waiting.ts'
import type { Room } from './waiting.ts'

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
  readonly room: Room
  /** The batch that gathers what is written now. */
  readonly batch: () => number
  /** Something of the space waits to be written. */
  readonly touch: (space: Space) => void
}

/** How long the log keeps deltas that every roster member has. */
export interface Retention {
  readonly keepMs: number
  /** Above this many bytes the oldest go whatever their age. */
  readonly keepBytes: number
  /** Above this many bytes the oldest go even if a roster member lacks them: he will need the tree. Four times `keepBytes`. */
  readonly mostBytes?: number
}

/** How far a log may be pruned. */
export interface PruneLine {
  /** The highest sequence that every roster member has durably. */
  stable(space: Space, log: OriginLog): number
  /** The highest one that is here and on some other disk, or was written elsewhere. */
  elsewhere(space: Space, log: OriginLog): number
}

export interface Pruned {
  readonly deltas: number
  /** Of these, how many some roster member lacks. */
  readonly aboveCut: number
}

export interface Correction {
  readonly leaf: number
  readonly by: Sum
}

const keys = new KeyWriter()
const row = new Writer()

export class Space implements SpaceFacts, EntryHome, LogHome, AdoptionHome {
  readonly number: number
  readonly name: string
  readonly generation: number
  readonly rows: RowReader
  readonly origins: Names<OriginId>
  readonly agents: Names<string>
  readonly cache: EntryCache
  readonly vector: Vector = new Map()
  readonly logs: Map<OriginId, OriginLog> = new Map()
  /** What counts as met: the vector, and of an origin that ended in a fork whatever anybody speaks of. */
  readonly reach: Seen = {
    get: (origin) => (this.logs.get(origin)?.fork === undefined ? this.vector.get(origin) : Infinity),
  }
  readonly anchors: Anchors
  readonly tree: Tree
  /** How links name it. */
  readonly id: SpaceId
  readonly waiting: WaitingRoom
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
  /** The vector of a snapshot that is being fetched: deltas that it covers come with it. */
  target: ReadonlyVector | undefined = undefined
  /** From which sequence on own deltas do not leave yet, since the disk does not have them: also of an incarnation that ended. */
  readonly keptFrom: Map<OriginId, number> = new Map()
  /** A snapshot that was taken over and is not in all entries yet. */
  adoption: Adoption | undefined = undefined
  /** Chunks of one that is on its way; those left by earlier ones. */
  staging: Staging | undefined = undefined
  /** Vectors of snapshots on their way to others: what is beyond them they will ask for next. */
  readonly pins: Set<ReadonlyVector> = new Set()
  /** Wanted by whoever reads the rows next. */
  imprint: Imprint | undefined = undefined
  /** Where there are rules: hears of each entry that a snapshot was merged into. It must not ask for an entry. */
  met: ((entry: MetEntry) => void) | undefined = undefined
  /** Hears of each entry of the system's own that a snapshot changed. It must not ask for an entry either. */
  remerged: ((key: string) => void) | undefined = undefined
  /** Origins that moved since the own last delta: the context of the next. */
  readonly news: Set<OriginId> = new Set()
  readonly #home: SpaceHome
  #isSwept = false
  #leftStaging: Staging[] = []
  #finished: Adoption | undefined
  readonly #evidence: EvidenceRows
  readonly #entries = new EntryTable()
  /** The one that was asked for last, and mostly is asked for again. */
  #latest: StoredEntry | undefined = undefined
  /** Keys that may have rows; complete where the space began empty. Never concluded from a row that was not found. */
  readonly #held = new KeyFilter()
  #dirtyEntries: StoredEntry[] = []
  readonly #flushing: OriginLog[] = []
  /** Logs that were stored since the disk was last known to have everything. */
  readonly #undurable = new Set<OriginLog>()
  #expiries: { key: string; sibling: StoredSibling; gone: boolean }[] = []

  constructor(home: SpaceHome, facts: SpaceFacts) {
    this.#home = home
    this.rows = home.rows
    this.origins = home.origins
    this.agents = home.agents
    this.cache = home.cache
    this.number = facts.number
    this.name = facts.name
    this.generation = facts.generation
    this.anchors = new Anchors(this)
    this.tree = new Tree(facts.number, home.rows)
    this.id = spaceIdOf(facts.name, facts.generation)
    this.waiting = new WaitingRoom(home.room)
    this.#evidence = new EvidenceRows(facts.number, home.rows)
  }

  /** The entry, read from its row when it is not at hand. */
  entry(key: string): StoredEntry {
    const latest = this.#latest
    if (latest?.key === key && (this.adoption === undefined || latest.adoption === this.adoption)) {
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
    if (this.adoption !== undefined && entry.adoption !== this.adoption) this.adoption.take(entry)
    return entry
  }

  /**
   * An entry whose row a scan has read already, from `rows`: its chunks are read from there too, since by now they may
   * stand otherwise. It is not kept, so that a scan does not empty the cache.
   */
  entryFromRow(key: string, bytes: Uint8Array, rows: RowReader = this.rows): StoredEntry {
    const hash = keyHash(key)
    const cached = this.#entries.get(key, hash)
    if (cached !== undefined || this.adoption !== undefined) return this.entry(key)
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

  /** For a memory that is cloned by way of its rows: what it had seen since its last delta, which no row says. */
  recallNews(own: OriginId): void {
    const context = this.logs.get(own)?.context
    if (context === undefined) return
    for (const [origin, seq] of this.vector)
      if (origin !== own && seq > (context.get(origin) ?? 0)) this.news.add(origin)
  }

  /** The hash over all that is here of an origin. */
  chainOf(origin: OriginId): Chain {
    return this.logs.get(origin)?.chain ?? startChain(this.name, this.generation, origin)
  }

  /** A sum over the vector and the chains behind it, in 8 bytes: equal where exactly the same deltas were applied. */
  contextDigest(): Uint8Array {
    const sum = new Uint32Array(2)
    for (const log of this.logs.values()) if (log.seq > 0) log.addDigest(sum)
    const bytes = new Uint8Array(8)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, sum[0] as number)
    view.setUint32(4, sum[1] as number)
    return bytes
  }

  /** What is durable here: all that others are told this node has. */
  durableVector(): Vector {
    const vector: Vector = new Map()
    for (const { origin, durableSeq } of this.logs.values()) if (durableSeq > 0) vector.set(origin, durableSeq)
    return vector
  }

  /** A delta of the log, if it may leave this node. */
  leaving(origin: OriginId, seq: number): LogEntry | undefined {
    if (seq >= (this.keptFrom.get(origin) ?? Infinity)) return undefined
    return this.logs.get(origin)?.entry(seq)
  }

  /** May this delta be applied now? */
  ready(delta: Delta): boolean {
    return (
      delta.seq === (this.reach.get(delta.origin) ?? 0) + 1 && delta.context.every((dot) => covers(this.reach, dot))
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
   * carry it to the disk. The caller has made sure that it is ready. Returns why the delta is void, if it is.
   */
  apply(delta: Delta, body: Uint8Array, own: boolean, batch: number): string | undefined {
    const { origin, seq, time } = delta
    const log = this.log(origin)
    assert(seq === log.seq + 1, 'deltas of an origin are applied in order, once')
    const fault = voidBecause(delta, log.context)
    assert(fault === undefined || !own, 'what is written here speaks of what was seen here')
    const clears = fault === undefined ? delta.clears : none
    const writes = fault === undefined ? delta.writes : none
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
    if (own) {
      if (this.news.size > 0) this.news.clear()
    } else this.news.add(origin)
    log.append(body, ++this.places, time, delta.context)
    this.logBytes += body.length
    return fault
  }

  /**
   * Puts the cells of a delta that was applied here once more on top of cells that do not know it. `seen` is all that its
   * origin had seen before; it moves on. Vector, chain and log stay as they are.
   */
  reapply(delta: Delta, seen: Vector): void {
    const { origin, seq } = delta
    const isVoid = voidBecause(delta, seen) !== undefined
    for (const dot of delta.context) if (dot.seq > (seen.get(dot.origin) ?? 0)) seen.set(dot.origin, dot.seq)
    if (isVoid) return
    const batch = this.#home.batch()
    for (const { key, type, keep } of delta.clears) {
      const entry = this.entry(key)
      const wasEmpty = entry.empty
      for (const sibling of entry.siblings()) {
        const { name } = sibling
        if (type !== 0 && name.charCodeAt(0) !== type) continue
        const isSeen = sibling.origin === origin ? sibling.seq < seq : covers(seen, sibling)
        if (!isSeen || hasDot(keep, sibling)) continue
        this.#goes(entry, sibling)
        entry.set(
          name,
          entry.at(name).filter((other) => other !== sibling),
        )
      }
      this.#touched(entry, wasEmpty, batch)
    }
    for (const write of delta.writes) {
      const entry = this.entry(write.key)
      const wasEmpty = entry.empty
      const isThere = hasDot(entry.at(cellKey(write.type, write.path)), delta)
      this.#write(entry, isThere ? { ...write, value: undefined } : write, delta)
      this.#touched(entry, wasEmpty, batch)
    }
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
      const sibling = this.#comes(entry, name, { origin, seq, time, agent, expires, value })
      after = appended(after, sibling)
      if (after.length > 1) after.sort(compareSiblings)
    }
    entry.set(name, after)
  }

  #comes(entry: StoredEntry, name: string, { origin, seq, time, agent, expires, value }: Sibling): StoredSibling {
    const sibling = StoredSibling.written(name, origin, seq, time, agent, expires, value)
    sibling.digest(entry.key)
    this.tree.add(entry.leaf)
    if (expires !== 0) this.#expire(entry.key, sibling, false)
    return sibling
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

  /** It holds less than its vector will say, or its root is that of no vector: it claims no equality. */
  get catchingUp(): boolean {
    return this.target !== undefined || this.adoption !== undefined
  }

  touch(): void {
    this.#home.touch(this)
  }

  /** What it takes for another to take over this space as it is now. */
  moment(): Moment {
    const stands: Stand[] = []
    for (const { origin, seq, chain, time, context, fork } of this.logs.values()) {
      if (seq === 0) continue
      stands.push({ origin, seq, chain: chainBytes(chain), time, context: context.whole(), ...(fork && { fork }) })
    }
    const { vector } = this
    return { stands, vector: new Map(vector), context: this.contextDigest(), root: this.tree.root.slice() }
  }

  /** Origins with their chains, and where they ended if they forked. */
  chainHeads(most: number): ChainHead[] {
    const heads: ChainHead[] = []
    for (const { origin, seq, chain, fork } of this.logs.values()) {
      if (heads.length >= most) break
      if (seq > 0) heads.push({ origin, seq, chain: chainBytes(chain), ...(fork && { fork }) })
    }
    return heads
  }

  /** Merges an entry with another replica's copy of it. All that it reads, it reads first. Has anything changed? */
  mergeEntry(entry: StoredEntry, theirs: CellsOfEntry, merge: MergeRule): boolean {
    const names = new Set(entry.siblings().map(({ name }) => name))
    for (const name of theirs.keys()) names.add(name)
    this.tree.touch(entry.leaf)
    const wasEmpty = entry.empty
    const { joins } = merge
    const met: MetCell[] | undefined = this.met === undefined || joins === undefined ? undefined : []
    let hasChanged = false
    for (const name of names) {
      const before = entry.at(name)
      const others = theirs.get(name) ?? noSiblings
      const merged = merge(before, others, entry.key, name)
      met?.push({ type: name.charCodeAt(0), path: name.slice(1), mine: before, theirs: others, merged })
      if (merged.length === before.length && merged.every((sibling, at) => sibling === before[at])) continue
      hasChanged = true
      for (const sibling of before) if (!merged.includes(sibling)) this.#goes(entry, sibling)
      entry.set(
        name,
        merged.map((sibling) => (sibling instanceof StoredSibling ? sibling : this.#comes(entry, name, sibling))),
      )
    }
    if (hasChanged) this.#touched(entry, wasEmpty, this.#home.batch())
    if (hasChanged && isSystemKey(entry.key)) this.remerged?.(entry.key)
    if (met !== undefined && joins !== undefined) this.met?.({ key: entry.key, cells: met, ...joins })
    return hasChanged
  }

  /**
   * Where the tree says something else than the rows do, as a scan summed them up. Cells in memory are let go: the rows are what
   * is to be mended. Only while all of the space is in the store.
   */
  corrections(leafOfRows: (leaf: number) => Sum): Correction[] {
    const found: Correction[] = []
    for (let leaf = 0; leaf < leafCount; leaf++) {
      const before = this.tree.leaf(leaf)
      const by = leafOfRows(leaf).map((lane, at) => lane - (before[at] as number))
      if (by.some((lane) => lane !== 0)) found.push({ leaf, by })
    }
    this.#entries.clear()
    this.#latest = undefined
    // What it counted was wrong, so it does not say any more which rows there are.
    this.tree.whole = false
    return found
  }

  /** Makes the tree say what the rows say, less what changed in both since. */
  correct(corrections: readonly Correction[], entries: number): void {
    for (const { leaf, by } of corrections) this.tree.shift(leaf, by)
    this.entryCount += entries
  }

  /** Raises the vector, the chains and the contexts to the heads of another replica: their cells are here, or will be. */
  raise(stands: Iterable<Stand>): void {
    for (const stand of stands) {
      if (stand.seq > (this.vector.get(stand.origin) ?? 0)) this.stand(stand, true)
    }
  }

  /** Stands with an origin where another replica does, whatever was here of it. `goesOn`: that was the beginning of it. */
  stand(stand: Stand, goesOn: boolean = false): void {
    const { origin, seq, chain } = stand
    const log = this.log(origin)
    this.logBytes -= log.bytes
    log.adopt(stand, chainOf(chain), this.places, goesOn)
    this.vector.set(origin, seq)
    this.news.add(origin)
  }

  /** Knows an origin no more. */
  dropHead(origin: OriginId): void {
    const log = this.log(origin)
    this.logBytes -= log.bytes
    const chain = startChain(this.name, this.generation, origin)
    log.adopt({ seq: 0, time: 0, context: Context.none }, chain, this.places, false)
    this.vector.delete(origin)
    this.news.delete(origin)
  }

  /** From here on the staged snapshot is part of the space. */
  seal(seal: Seal, stands: Iterable<Stand>): void {
    assert(this.adoption === undefined, 'one snapshot is folded in at a time')
    assert(this.staging?.storedCount === seal.lastKeys.length, 'what is sealed is in the store')
    this.staging = undefined
    this.raise(stands)
    this.adoption = new Adoption(this, seal, true)
    this.touch()
  }

  /** Everything of it is in the entries. */
  finishAdoption(): void {
    this.#finished = this.adoption
    this.adoption = undefined
    this.touch()
  }

  /** The chunks that were staged lead nowhere any more. */
  abandonStaging(): void {
    if (this.staging === undefined) return
    this.staging.abandon()
    this.#leftStaging.push(this.staging)
    this.staging = undefined
    this.touch()
  }

  #flushAdoption(sink: RowSink): void {
    // What leads nowhere goes first: the next to stage uses the same rows.
    this.#leftStaging = this.#leftStaging.filter((staging) => !staging.flush(sink))
    this.staging?.flush(sink)
    this.#finished?.finish(sink)
    this.#finished = undefined
    this.adoption?.flush(sink)
    if (this.imprint !== undefined) {
      this.imprint.moment = this.moment()
      this.imprint.isStored = false
    }
  }

  /** For opening: the rows of an adoption, in order. */
  loadAdoption(key: Uint8Array, bytes: Uint8Array): void {
    switch (adoptionPart(key)) {
      case 'record':
        this.adoption = Adoption.load(this, bytes)
        return
      case 'progress':
        return this.adoption?.resume(bytes)
      case 'staging':
        this.staging = Staging.load(this.number, bytes)
        return this.abandonStaging()
    }
  }

  /** What was on the losing side of forks here. */
  evidence(): Evidence[] {
    return this.#evidence.read()
  }

  /** What is kept of the losing sides of forks, as far as the test says, goes. */
  forgetEvidence(isConcerned: (evidence: Evidence) => boolean): void {
    if (this.#evidence.forget(isConcerned)) this.touch()
  }

  keepEvidence(evidence: Evidence): void {
    this.#evidence.add(evidence)
    this.touch()
  }

  /** Writes the rows of everything that changed. `agents` and `origins` are flushed by the replica, after this. */
  flush(sink: RowSink): void {
    for (const entry of this.#dirtyEntries) {
      entry.flush(sink)
      this.cache.weigh(entry)
    }
    this.#dirtyEntries = []
    this.#flushAdoption(sink)
    this.#evidence.flush(sink)
    this.tree.flush(sink)
    this.#sweepAnchors(sink)
    this.anchors.flush(sink)
    for (const log of this.logs.values()) {
      if (!log.dirty) continue
      log.flush(sink)
      this.#flushing.push(log)
      if (log.seq === 0) this.logs.delete(log.origin)
    }
    for (const { key, sibling, gone } of this.#expiries) {
      const rowKey = this.#expiryKey(key, sibling)
      if (gone) sink.del(rowKey)
      else sink.put(rowKey, new Uint8Array(0))
    }
    this.#expiries = []
    sink.put(keys.start(table.space).short(this.number).bytes, this.#encode())
  }

  /** Once after opening: later what is left behind is little. */
  #sweepAnchors(sink: RowSink): void {
    if (this.#isSwept) return
    this.#isSwept = true
    const inUse = Array.from(this.logs.values(), ({ context }) => context.anchor)
    this.anchors.sweep(inUse, sink)
  }

  /** The batch is in the store: what it carried may leave memory. */
  stored(): void {
    for (const log of this.#flushing) {
      log.stored()
      this.#undurable.add(log)
    }
    this.#flushing.length = 0
    this.staging?.stored()
    this.#evidence.stored()
    if (this.imprint?.moment !== undefined) this.imprint.isStored = true
  }

  /** For opening: the log's rows were read. What a store shows, its disk need not have yet. */
  loaded(log: OriginLog): void {
    this.logBytes += log.bytes
    this.vector.set(log.origin, log.seq)
    this.#undurable.add(log)
  }

  /** Everything stored so far is as durable as this node gets. */
  durable(): void {
    for (const log of this.#undurable) log.durableSeq = log.storedSeq
    this.#undurable.clear()
  }

  /**
   * Drops log segments: those below the cut that are older than `keepMs`, or the oldest while more than `keepBytes` are
   * kept; and above `mostBytes` the oldest whatever the cut, unless no other disk has them (`elsewhere`).
   */
  prune(cut: PruneLine, nowMs: number, retention: Retention, mostDeltas: number): Pruned {
    const before = (nowMs - retention.keepMs) * ticksPerMs
    const mostBytes = retention.mostBytes ?? 4 * retention.keepBytes
    let deltas = 0
    let aboveCut = 0
    while (deltas < mostDeltas) {
      let oldest: OriginLog | undefined
      let time = Infinity
      let isForced = false
      for (const log of this.logs.values()) {
        const segment = log.oldest
        if (segment === undefined || segment.time >= time) continue
        if (this.#isPinned(log, segment.last)) continue
        const isStable = segment.last <= cut.stable(this, log)
        const isDue = isStable && (segment.time <= before || this.logBytes > retention.keepBytes)
        const isOver = !isStable && this.logBytes > mostBytes && segment.last <= cut.elsewhere(this, log)
        if (!isDue && !isOver) continue
        oldest = log
        time = segment.time
        isForced = isOver
      }
      const segment = oldest?.oldest
      if (oldest === undefined || segment === undefined) break
      const dropped = segment.last - oldest.floor + 1
      deltas += dropped
      if (isForced) aboveCut += dropped
      this.logBytes -= segment.bytes
      oldest.dropOldest()
    }
    return { deltas, aboveCut }
  }

  #isPinned({ origin }: OriginLog, last: number): boolean {
    for (const vector of this.pins) if (last > (vector.get(origin) ?? 0)) return true
    return false
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

/** The 16 bytes of a chain, as frames carry them. */
export function chainBytes(chain: Chain): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < 4; i++) view.setUint32(4 * i, chain[i] as number)
  return bytes
}

export function chainOf(bytes: Uint8Array): Chain {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16)
  return Uint32Array.from([0, 4, 8, 12], (at) => view.getUint32(at))
}

/** The name and generation in a space row. */
export function readSpaceFacts(number: number, bytes: Uint8Array): SpaceFacts {
  const reader = new Reader(bytes)
  return { number, name: reader.string(), generation: reader.uint() }
}
