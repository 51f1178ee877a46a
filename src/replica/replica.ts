/**
 * The replica: every space of one node, its clock, its incarnation, and the batches in which changes go to disk. It is
 * a pure machine. It reads rows through a synchronous RowReader, fills batches that its driver writes, and is told when
 * they are on disk. It knows no clock, no disk and no chance: time and identity are arguments.
 *
 *   transact / apply   change memory at once, and note what must be written
 *   takeBatch          hands over the rows of all that waits: one atomic commit
 *   stored             that commit is on disk
 */
import { assert } from '../base/assert.ts'
import { binaryString, equalBytes, fromBinaryString, utf8 } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import { sameDot } from '../crdt/cell.ts'
import { ChangeSet, tooLarge } from '../crdt/change.ts'
import { HybridClock } from '../crdt/clock.ts'
import { decodeDelta, encodeDelta, follows, linkOf } from '../crdt/delta.ts'
import type { Delta } from '../crdt/delta.ts'
import { covers, nodeOf, originId } from '../crdt/dot.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import type { Fork, SpaceId } from '../wire/frame.ts'
import { EntryCache } from './cache.ts'
import { Cut } from './cut.ts'
import { Names, decodeOrigin, encodeOrigin } from './names.ts'
import { maxSpaceNumber, table } from './row-keys.ts'
import { Space, readSpaceFacts } from './space.ts'
import type { PruneLine, Retention, SpaceHome } from './space.ts'
import type { Room } from './waiting.ts'

/** A row of the driver's own; nothing removes it. */
type LocalRow = Uint8Array | (() => Uint8Array | undefined) | undefined

/** What a row that is asked for later counts towards what waits. A guess. */
const askedRowBytes = 128

export interface ReplicaConfig {
  /** 16 hexadecimal digits that stay the same for the node. */
  readonly node: string
  /** 16 random hexadecimal digits, new at every open, never derived from the disk. */
  readonly incarnation: string
  readonly rows: RowReader
  readonly cacheBytes: number
  readonly retention: Retention
  /** Called for every delta after it was applied. */
  applied?(event: Applied): void
  /** Called when a space changed by other ways than a delta: another replica's cells were merged into it. */
  merged?(space: Space): void
  /**
   * Called when somebody knows more of the present incarnation than is here: another of this memory, or of this disk,
   * has written on. It needs a new one before it writes again.
   */
  copied?(): void
}

export interface Applied {
  readonly space: Space
  readonly delta: Delta
  readonly body: Uint8Array
  readonly nowMs: number
  /** Its place in the local order of the space. */
  readonly place: number
  /** Written here, rather than received. */
  readonly own: boolean
  /** Why it changed no cell: it speaks of what its writer cannot have seen. Its origin is at fault, not who sent it. */
  readonly fault: string | undefined
}

/**
 * What became of a received delta. `held`: it waits for what it follows, and counts as seen. `full`: there is no room for
 * it, to wait for what it follows or for the disk, so it was not seen. `awaited`: a snapshot that is on its way brings it.
 * `forked`: these are other bytes than the ones here under the same dot, or they follow others. `copied`: a copy of this
 * replica wrote it under the present incarnation, which must end first. `closed`: its origin ended in a fork, before it.
 */
export type Received = 'applied' | 'known' | 'held' | 'full' | 'awaited' | 'forked' | 'copied' | 'closed'

export interface WriteOptions {
  readonly nowMs: number
  readonly agent: string
  readonly reason: string | undefined
}

export interface Committed<T> {
  readonly result: T
  /** The delta's dot; undefined when nothing changed and nothing was written. */
  readonly dot: Dot | undefined
  /** The batch that carries it; 0 when nothing was written. */
  readonly batch: number
}

export interface Pruning {
  /** There is more to prune. */
  readonly more: boolean
  /** Deltas that went although some roster member lacks them. */
  readonly aboveCut: number
}

/** Deltas pruned in one batch, so that a commit stays short. A guess. */
const pruneAtOnce = 2048

export class Replica {
  readonly clock: HybridClock = new HybridClock()
  /** What the roster has. Without one it is what the own disk has. */
  readonly cut: Cut = new Cut()
  #origin: OriginId
  /** Moves when a space comes or goes. */
  spacesVersion = 0
  readonly #config: ReplicaConfig
  readonly #origins = new Names<OriginId>(table.origin, encodeOrigin)
  readonly #agents = new Names<string>(table.agent, utf8)
  readonly #cache: EntryCache
  readonly #spaces = new Map<string, Space>()
  readonly #byId = new Map<SpaceId, Space>()
  readonly #byNumber: (Space | undefined)[] = []
  /** Deleted generations whose rows may still be there. */
  readonly #dead: Space[] = []
  readonly #dirty = new Set<Space>()
  #flushing: Space[] = []
  readonly #undurable = new Set<Space>()
  readonly #room: Room = { deltas: 0, bytes: 0 }
  #removals: Uint8Array[] = []
  /** Rows of the driver's own, by their key as a binary string; undefined removes. */
  #local = new Map<string, LocalRow>()
  /** The batch that changes are gathered for. */
  #batch = 1
  #gatheredBytes = 0
  #takenBytes = 0
  #underWay = false
  #transacting = false
  /** Why memory holds half of a delta, if it does: nothing is written any more. */
  #broken: Error | undefined = undefined

  constructor(config: ReplicaConfig) {
    this.#config = config
    this.#cache = new EntryCache(config.cacheBytes)
    this.#origin = originId(config.node + config.incarnation)
  }

  /** Who writes here. */
  get origin(): OriginId {
    return this.#origin
  }

  /**
   * Writes as another incarnation from now on: somebody knows more of the present one than is here, so this memory is a
   * copy that runs beside its original, or an older one that came back.
   */
  renew(incarnation: string): void {
    assert(!this.#transacting, 'an incarnation does not end within a transaction')
    this.#origin = originId(this.#config.node + incarnation)
  }

  /**
   * For opening: takes one row of `tablesToOpen`. They must come in that order and each in the order of its keys.
   */
  load(key: Uint8Array, value: Uint8Array): void {
    switch (key[0]) {
      case table.origin:
        return this.#origins.load(decodeOrigin(value))
      case table.agent:
        return this.#agents.load(new TextDecoder().decode(value))
      case table.space: {
        const number = readShort(key, 1)
        const space = new Space(this.#home, readSpaceFacts(number.value, value))
        space.load(value)
        return this.#adopt(space)
      }
      case table.context: {
        const number = readShort(key, 1)
        return this.#living(number.value)?.anchors.load(readOrdered(key, number.next).value, value)
      }
      case table.writer: {
        const number = readShort(key, 1)
        const space = this.#living(number.value)
        if (space === undefined) return
        const log = space.log(this.#origins.nameOf(readOrdered(key, number.next).value))
        log.load(value)
        space.loaded(log)
        this.#undurable.add(space)
        // Other nodes' times were witnessed, within bounds, when they came; only the own ones must not go back.
        if (nodeOf(log.origin) === this.#config.node) this.clock.witness(log.time, Infinity)
        return
      }
      case table.segment: {
        const number = readShort(key, 1)
        const origin = readOrdered(key, number.next)
        const log = this.#living(number.value)?.log(this.#origins.nameOf(origin.value))
        return log?.loadSegment(readOrdered(key, origin.next).value, value)
      }
      case table.adoption: {
        const number = readShort(key, 1)
        return this.#living(number.value)?.loadAdoption(key, value)
      }
      default:
        assert(false, 'only rows of known tables are loaded')
    }
  }

  /** Of a space that was deleted only some rows may be left: they mean nothing together. */
  #living(number: number): Space | undefined {
    const space = this.#byNumber[number] as Space
    return space.deleted ? undefined : space
  }

  /** The spaces that are alive, in the order in which they were made. */
  get spaces(): readonly Space[] {
    return [...this.#spaces.values()]
  }

  find(name: string): Space | undefined {
    return this.#spaces.get(name)
  }

  byId(id: SpaceId): Space | undefined {
    return this.#byId.get(id)
  }

  /** The space of that name, made when there is none. */
  open(name: string): Space {
    return this.#spaces.get(name) ?? this.#make(name, 1 + this.#lastDead(name))
  }

  /**
   * The space in the generation that a peer has. An older one here was deleted elsewhere and ends; undefined when it is the
   * peer's that was deleted.
   */
  openGeneration(name: string, generation: number): Space | undefined {
    const known = this.#spaces.get(name)
    if (known?.generation === generation) return known
    if (generation <= Math.max(known?.generation ?? 0, this.#lastDead(name))) return undefined
    this.deleteSpace(name)
    return this.#make(name, generation)
  }

  /** The last generation of a name that was deleted here. */
  #lastDead(name: string): number {
    let last = 0
    for (const dead of this.#dead) if (dead.name === name) last = Math.max(last, dead.generation)
    return last
  }

  #make(name: string, generation: number): Space {
    let used = 0
    for (const { places } of this.#spaces.values()) if (places > 0) used++
    if (used >= limits.spaces) {
      throw new SkeinError('too_large', `a node holds at most ${limits.spaces} spaces`, { limit: limits.spaces })
    }
    if (this.#byNumber.length > maxSpaceNumber) {
      throw new SkeinError('too_large', `this directory has named ${maxSpaceNumber} spaces, deleted ones included`, {
        limit: maxSpaceNumber,
      })
    }
    const space = new Space(this.#home, { number: this.#byNumber.length, name, generation })
    this.#adopt(space)
    return space
  }

  /** Ends the space's generation. Its rows are the driver's to remove: see `dead`. */
  deleteSpace(name: string): Space | undefined {
    const space = this.#spaces.get(name)
    if (space === undefined) return undefined
    space.deleted = true
    this.spacesVersion++
    this.#spaces.delete(name)
    this.#byId.delete(space.id)
    this.#dead.push(space)
    this.#dirty.add(space)
    return space
  }

  get dead(): readonly Space[] {
    return this.#dead
  }

  /**
   * Runs `make` over a change set and applies what it wants written as one delta. If it throws, or the result is over a
   * limit, nothing has happened.
   */
  transact<T>(space: Space, options: WriteOptions, make: (change: ChangeSet) => T): Committed<T> {
    this.#whole()
    if (this.#transacting) throw new SkeinError('nested_transaction', 'transact was called inside transact')
    if (space.deleted) throw new SkeinError('space_deleted', `this generation of space ${space.name} was deleted`)
    if (this.waitingBytes > limits.uncommittedBytes) {
      throw new SkeinError('busy', `${this.waitingBytes} bytes wait for the disk`, { limit: limits.uncommittedBytes })
    }
    this.#cache.trim()
    const { origin } = this
    const { nowMs, agent, reason } = options
    const log = space.logs.get(origin)
    if (log?.fork !== undefined) throw new SkeinError('busy', 'this node is about to write as another incarnation')
    const seq = (log?.seq ?? 0) + 1
    const before = this.clock.last
    const time = this.clock.peek(nowMs)
    const change = new ChangeSet({ origin, seq, time, nowMs, agent, retired: this.#retiredIn(space) })
    this.#transacting = true
    try {
      const result = make(change)
      if (space.deleted) throw new SkeinError('space_deleted', `space ${space.name} was deleted meanwhile`)
      const { clears, writes } = change.finish()
      if (clears.length === 0 && writes.length === 0) return { result, dot: undefined, batch: 0 }
      const chain = (log ?? space.log(origin)).chain
      const context = space.contextFor(origin)
      const delta = { origin, seq, time, link: linkOf(chain), context, agent, reason, clears, writes }
      const body = encodeDelta(delta)
      if (body.length > limits.deltaBytes) throw tooLarge('transaction', body.length, limits.deltaBytes)
      assert(this.clock.last === before, 'the clock stands still in a transaction')
      this.clock.next(nowMs)
      this.#apply(space, delta, body, true, nowMs)
      return { result, dot: { origin, seq }, batch: this.#batch }
    } catch (error) {
      change.abandon()
      throw error
    } finally {
      this.#transacting = false
    }
  }

  /**
   * Takes a delta that came from elsewhere, and applies it and what waited for it as soon as it is ready. Throws
   * `malformed` for bytes that are no delta.
   */
  receive(space: Space, dot: Dot, body: Uint8Array, nowMs: number): Received {
    this.#whole()
    if (covers(space.vector, dot)) {
      const entry = space.logs.get(dot.origin)?.entry(dot.seq)
      if (entry === undefined || equalBytes(entry.body, body)) return 'known'
      if (dot.origin === this.#origin) this.#config.copied?.()
      return 'forked'
    }
    if (space.logs.get(dot.origin)?.fork !== undefined) return 'closed'
    if (dot.origin === this.#origin) {
      this.#config.copied?.()
      return 'copied'
    }
    if (space.waiting.has(dot)) return 'known'
    if (space.target !== undefined && covers(space.target, dot)) return 'awaited'
    // The disk does not keep up, or is full. It was not seen, so it comes again.
    if (this.waitingBytes > limits.uncommittedBytes) return 'full'
    const delta = decodeDelta(dot.origin, dot.seq, body)
    if (!space.ready(delta)) return space.waiting.hold(delta, body.slice(), nowMs, space.reach) ? 'held' : 'full'
    if (!follows(delta, space.chainOf(dot.origin))) return 'forked'
    this.#cache.trim()
    this.#take(space, [{ delta, body }], nowMs)
    return 'applied'
  }

  /** Is all of the space in the store as it is in memory? */
  isStored(space: Space): boolean {
    return !this.#dirty.has(space) && !(this.#underWay && this.#flushing.includes(space))
  }

  /**
   * Changes a space by other ways than a delta: `work` merges entries and raises the vector, and all of it goes to the disk
   * in one batch. What it reads, it must have read before it changes anything. `then` follows before anything that waited is
   * applied: nobody sees what is in between.
   */
  merge(
    space: Space,
    sizeBytes: number,
    nowMs: number,
    heads: readonly { readonly time: number }[],
    work: () => void,
    then: () => void = () => undefined,
  ): void {
    this.#whole()
    for (const { time } of heads) this.clock.witness(time, nowMs)
    // A place in the local order that no delta has: whoever watches from before it is told of a gap.
    if (heads.length > 0) space.places++
    try {
      work()
    } catch (error) {
      this.#broken = error instanceof Error ? error : new Error(String(error))
      throw error
    }
    this.#dirty.add(space)
    this.#gatheredBytes += 2 * sizeBytes
    this.#config.merged?.(space)
    then()
    this.vectorMoved(space, nowMs)
  }

  /** The origin has two histories, and this one stands: it ends where it is here, for ever. */
  close(space: Space, origin: OriginId, fork: Fork, nowMs: number): void {
    space.log(origin).close(fork)
    this.#dirty.add(space)
    if (origin === this.#origin) this.renewSoon()
    this.vectorMoved(space, nowMs)
  }

  /** Asks for another incarnation: see `copied`. */
  renewSoon(): void {
    this.#config.copied?.()
  }

  /** Applies what waited for the vector to move as it did now, by other ways than a delta. */
  vectorMoved(space: Space, nowMs: number): void {
    this.#take(space, space.waiting.releaseAll(space.reach), nowMs)
  }

  #take(space: Space, ready: { readonly delta: Delta; readonly body: Uint8Array }[], nowMs: number): void {
    for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
      const { delta, body } = next
      // One that waited and turns out to follow other bytes than are here is dropped; greetings show the fork.
      if (!follows(delta, space.chainOf(delta.origin))) continue
      this.clock.witness(delta.time, nowMs)
      this.#apply(space, delta, body, false, nowMs)
      ready.push(...space.waiting.release(delta.origin, space.reach))
    }
  }

  #apply(space: Space, delta: Delta, body: Uint8Array, own: boolean, nowMs: number): void {
    // Everything that reads, and so may find damage, comes first: then nothing has happened.
    space.prepare(delta)
    let fault: string | undefined
    try {
      fault = space.apply(delta, body, own, this.#batch)
    } catch (error) {
      // Rows that cannot be read stopped it half way: what is in memory now must never reach the disk.
      this.#broken = error instanceof Error ? error : new Error(String(error))
      throw error
    }
    this.#dirty.add(space)
    this.#gatheredBytes += 2 * body.length + 200
    this.#config.applied?.({ space, delta, body, nowMs, place: space.places, own, fault })
  }

  /** Why memory holds half of a change, if it does. Nothing is written any more, and nothing here is to be believed. */
  get broken(): Error | undefined {
    return this.#broken
  }

  #whole(): void {
    if (this.#broken !== undefined) throw this.#broken
  }

  /** Reading needs no more than the space, but it must leave the cache within its bound. */
  read(space: Space): Space {
    if (!this.#transacting) this.#cache.trim()
    return space
  }

  /** Makes the next batch carry the space's row, though nothing in it changed. */
  touch(space: Space): void {
    this.#dirty.add(space)
  }

  /** Removes a row of a dead space with the next batch. */
  remove(key: Uint8Array): void {
    this.#removals.push(key)
  }

  /**
   * Puts, or without a value removes, a row of the node's own (see localKey) with the next batch: with the change that was
   * made in the same step, or not at all. It is no part of any space and goes to no peer. A row that many changes add to is
   * asked for when the batch is taken.
   */
  keep(key: Uint8Array, value: LocalRow): number {
    this.#whole()
    assert(key[0] === table.local, 'only local rows are kept')
    this.#local.set(binaryString(key), value)
    this.#gatheredBytes += key.length + (typeof value === 'function' ? askedRowBytes : (value?.length ?? 0))
    return this.#batch
  }

  get waitingBytes(): number {
    return this.#gatheredBytes + this.#takenBytes
  }

  /** The batch that gathers what is written now. */
  get batch(): number {
    return this.#batch
  }

  get dirty(): boolean {
    return this.#dirty.size > 0 || this.#removals.length > 0 || this.#local.size > 0
  }

  /**
   * Puts the rows of everything that waits into `sink` and returns the batch's number, or 0 when nothing waits. The next
   * may be taken once this one is stored.
   */
  takeBatch(sink: RowSink): number {
    this.#whole()
    assert(!this.#underWay, 'one batch is under way at a time')
    if (!this.dirty) return 0
    this.#flushing = [...this.#dirty]
    this.#dirty.clear()
    for (const space of this.#flushing) space.flush(sink)
    for (const key of this.#removals) sink.del(key)
    this.#removals = []
    for (const [key, row] of this.#local) {
      const value = typeof row === 'function' ? row() : row
      if (value === undefined) sink.del(fromBinaryString(key))
      else sink.put(fromBinaryString(key), value)
    }
    this.#local.clear()
    this.#origins.flush(sink)
    this.#agents.flush(sink)
    this.#underWay = true
    this.#takenBytes = this.#gatheredBytes
    this.#gatheredBytes = 0
    return this.#batch++
  }

  /** `durable`: with it, everything stored so far is as durable as this node gets. */
  stored(batch: number, durable: boolean = true): void {
    assert(batch === this.#batch - 1, 'batches are stored in order')
    this.#cache.storedBatch = batch
    for (const space of this.#flushing) {
      space.stored()
      this.#undurable.add(space)
    }
    this.#flushing = []
    if (durable) this.durable()
    this.#underWay = false
    this.#takenBytes = 0
  }

  /** Everything in the store is as durable as this node gets: told after a batch, and after a sync behind opening. */
  durable(): void {
    for (const space of this.#undurable) space.durable()
    this.#undurable.clear()
  }

  /** Does a log hold more bytes than its retention allows? */
  get overfull(): boolean {
    for (const space of this.#spaces.values()) if (space.logBytes > this.#config.retention.keepBytes) return true
    return false
  }

  /** Prunes logs. */
  prune(nowMs: number, retention: Retention = this.#config.retention): Pruning {
    let aboveCut = 0
    let more = false
    for (const space of this.#spaces.values()) {
      const pruned = space.prune(this.#line, nowMs, retention, pruneAtOnce)
      if (pruned.deltas > 0) this.#dirty.add(space)
      aboveCut += pruned.aboveCut
      more ||= pruned.deltas >= pruneAtOnce
    }
    return { more, aboveCut }
  }

  readonly #line: PruneLine = {
    stable: (space, log) => this.cut.of(space.id, log.origin, log.storedSeq),
    elsewhere: (space, log) => {
      const isOwn = nodeOf(log.origin) === this.#config.node
      return isOwn && this.cut.roster.length > 0 ? this.cut.elsewhere(space.id, log.origin) : log.storedSeq
    },
  }

  /** Deletes what expired: exactly those dots, as ordinary deletions by the agents that wrote them. */
  expire(space: Space, due: readonly Expiring[], nowMs: number): number {
    const live = due.flatMap((one) => {
      const sibling = space
        .entry(one.key)
        .at(one.name)
        .find((other) => sameDot(other, one.dot))
      return sibling === undefined ? [] : [{ ...one, agent: sibling.agent }]
    })
    let last = 0
    for (const [agent, expiring] of Map.groupBy(live, (one) => one.agent)) {
      const { batch } = this.transact(space, { nowMs, agent, reason: 'expired' }, (change) => {
        for (const { key, name, dot } of expiring) change.expire(space.entry(key), name, dot)
      })
      last = batch
    }
    return last
  }

  /** An earlier incarnation of this node is retired once all of it is on every roster member's disk, and on this one. */
  #retiredIn(space: Space): (origin: OriginId) => boolean {
    return (origin) => {
      if (origin === this.origin || nodeOf(origin) !== this.#config.node) return false
      const log = space.logs.get(origin)
      const seq = log?.seq ?? 0
      return (log?.storedSeq ?? 0) === seq && this.cut.endsAt(space.id, origin, seq)
    }
  }

  get #home(): SpaceHome {
    return {
      rows: this.#config.rows,
      origins: this.#origins,
      agents: this.#agents,
      cache: this.#cache,
      room: this.#room,
      batch: () => this.#batch,
      touch: (space) => this.#dirty.add(space),
    }
  }

  #adopt(space: Space): void {
    this.#byNumber[space.number] = space
    this.spacesVersion++
    if (space.deleted) this.#dead.push(space)
    else {
      this.#spaces.set(space.name, space)
      this.#byId.set(space.id, space)
    }
  }
}

export interface Expiring {
  readonly key: string
  /** Type and path of the cell; see cellKey. */
  readonly name: string
  readonly dot: Dot
}

function readShort(key: Uint8Array, at: number): { value: number; next: number } {
  const first = key[at] as number
  if (first < 0x80) return { value: first, next: at + 1 }
  return { value: ((first & 0x7f) << 8) | (key[at + 1] as number), next: at + 2 }
}

function readOrdered(key: Uint8Array, at: number): { value: number; next: number } {
  let value = 0
  const end = at + 1 + (key[at] as number)
  for (let i = at + 1; i < end; i++) value = value * 0x100 + (key[i] as number)
  return { value, next: end }
}

export function expiryAt(key: Uint8Array): { atMs: number; expiring: Expiring } {
  const number = readShort(key, 1)
  const at = readOrdered(key, number.next)
  const keyLength = readOrdered(key, at.next)
  const nameAt = keyLength.next + keyLength.value
  const nameLength = readOrdered(key, nameAt)
  const originAt = nameLength.next + nameLength.value
  const seq = readOrdered(key, originAt + 16)
  let name = ''
  for (const byte of key.subarray(nameLength.next, originAt)) name += String.fromCharCode(byte)
  return {
    atMs: at.value,
    expiring: {
      key: new TextDecoder().decode(key.subarray(keyLength.next, nameAt)),
      name,
      dot: { origin: decodeOrigin(key.subarray(originAt, originAt + 16)), seq: seq.value },
    },
  }
}
