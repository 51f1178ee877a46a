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
import { utf8 } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import { sameDot } from '../crdt/cell.ts'
import { ChangeSet, tooLarge } from '../crdt/change.ts'
import { HybridClock } from '../crdt/clock.ts'
import { decodeDelta, encodeDelta, follows, linkOf } from '../crdt/delta.ts'
import type { Delta } from '../crdt/delta.ts'
import { nodeOf, originId } from '../crdt/dot.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import { EntryCache } from './cache.ts'
import { Names, decodeOrigin, encodeOrigin } from './names.ts'
import { maxSpaceNumber, table } from './row-keys.ts'
import { Space, readSpaceFacts } from './space.ts'
import type { Retention } from './space.ts'

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
}

export interface Applied {
  readonly space: Space
  readonly delta: Delta
  /** Its place in the local order of the space. */
  readonly place: number
  /** Written here, rather than received. */
  readonly own: boolean
}

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

/** Deltas pruned in one batch, so that a commit stays short. A guess. */
const pruneAtOnce = 2048

export class Replica {
  readonly clock: HybridClock = new HybridClock()
  readonly origin: OriginId
  readonly #config: ReplicaConfig
  readonly #origins = new Names<OriginId>(table.origin, encodeOrigin)
  readonly #agents = new Names<string>(table.agent, utf8)
  readonly #cache: EntryCache
  readonly #spaces = new Map<string, Space>()
  readonly #byNumber: (Space | undefined)[] = []
  /** Deleted generations whose rows may still be there. */
  readonly #dead: Space[] = []
  readonly #dirty = new Set<Space>()
  #flushing: Space[] = []
  #removals: Uint8Array[] = []
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
    this.origin = originId(config.node + config.incarnation)
  }

  /**
   * For opening: takes one row of the tables meta, origin, agent, space, writer and segment. They must come in that
   * order and each in the order of its keys.
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
      case table.writer: {
        const number = readShort(key, 1)
        const space = this.#byNumber[number.value] as Space
        const log = space.log(this.#origins.nameOf(readOrdered(key, number.next).value))
        log.load(value)
        space.logBytes += log.bytes
        space.vector.set(log.origin, log.seq)
        // Other nodes' times were witnessed, within bounds, when they came; only the own ones must not go back.
        if (nodeOf(log.origin) === this.#config.node) this.clock.witness(log.time, Infinity)
        return
      }
      case table.segment: {
        const number = readShort(key, 1)
        const origin = readOrdered(key, number.next)
        const space = this.#byNumber[number.value] as Space
        return space.log(this.#origins.nameOf(origin.value)).loadSegment(readOrdered(key, origin.next).value, value)
      }
      default:
        assert(false, 'only rows of known tables are loaded')
    }
  }

  /** The spaces that are alive, in the order in which they were made. */
  get spaces(): readonly Space[] {
    return [...this.#spaces.values()]
  }

  find(name: string): Space | undefined {
    return this.#spaces.get(name)
  }

  /** The space of that name, made when there is none. */
  open(name: string): Space {
    const known = this.#spaces.get(name)
    if (known !== undefined) return known
    let used = 0
    for (const { places } of this.#spaces.values()) if (places > 0) used++
    if (used >= limits.spaces) {
      throw new SkeinError('too_large', `a node holds at most ${limits.spaces} spaces`, { limit: limits.spaces })
    }
    let generation = 1
    for (const dead of this.#dead) if (dead.name === name) generation = Math.max(generation, dead.generation + 1)
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
    this.#spaces.delete(name)
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
    const seq = (log?.seq ?? 0) + 1
    const before = this.clock.last
    const time = this.clock.peek(nowMs)
    const change = new ChangeSet({ origin, seq, time, nowMs, agent, retired: this.#retired })
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
      this.#apply(space, delta, body, true)
      return { result, dot: { origin, seq }, batch: this.#batch }
    } catch (error) {
      change.abandon()
      throw error
    } finally {
      this.#transacting = false
    }
  }

  /**
   * Applies a delta that came from elsewhere: another node, a backup. False when it is known already or not yet
   * ready; throws `malformed` for bytes that are no delta, or not the one of that dot.
   */
  receive(space: Space, dot: Dot, body: Uint8Array, nowMs: number): boolean {
    this.#whole()
    const delta = decodeDelta(dot.origin, dot.seq, body)
    if (!space.ready(delta)) return false
    if (!follows(delta, space.chainOf(dot.origin))) {
      throw new SkeinError(
        'malformed',
        `these bytes are not delta ${dot.seq} of their origin: they do not follow the one before`,
      )
    }
    this.#cache.trim()
    this.clock.witness(delta.time, nowMs)
    this.#apply(space, delta, body, false)
    return true
  }

  #apply(space: Space, delta: Delta, body: Uint8Array, own: boolean): void {
    // Everything that reads, and so may find damage, comes first: then nothing has happened.
    space.prepare(delta)
    try {
      space.apply(delta, body, own, this.#batch)
    } catch (error) {
      // Rows that cannot be read stopped it half way: what is in memory now must never reach the disk.
      this.#broken = error instanceof Error ? error : new Error(String(error))
      throw error
    }
    this.#dirty.add(space)
    this.#gatheredBytes += 2 * body.length + 200
    this.#config.applied?.({ space, delta, place: space.places, own })
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

  get waitingBytes(): number {
    return this.#gatheredBytes + this.#takenBytes
  }

  /** The batch that gathers what is written now. */
  get batch(): number {
    return this.#batch
  }

  get dirty(): boolean {
    return this.#dirty.size > 0 || this.#removals.length > 0
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
    this.#origins.flush(sink)
    this.#agents.flush(sink)
    this.#underWay = true
    this.#takenBytes = this.#gatheredBytes
    this.#gatheredBytes = 0
    return this.#batch++
  }

  stored(batch: number): void {
    assert(batch === this.#batch - 1, 'batches are stored in order')
    this.#cache.storedBatch = batch
    for (const space of this.#flushing) space.stored()
    this.#flushing = []
    this.#underWay = false
    this.#takenBytes = 0
  }

  /** Does a log hold more bytes than its retention allows? */
  get overfull(): boolean {
    for (const space of this.#spaces.values()) if (space.logBytes > this.#config.retention.keepBytes) return true
    return false
  }

  /** Prunes logs below the cut. Returns whether there is more to prune. */
  prune(nowMs: number, retention: Retention = this.#config.retention): boolean {
    let more = false
    for (const space of this.#spaces.values()) {
      const dropped = space.prune((origin) => space.storedSeq(origin), nowMs, retention, pruneAtOnce)
      if (dropped > 0) this.#dirty.add(space)
      more ||= dropped >= pruneAtOnce
    }
    return more
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

  readonly #retired = (origin: OriginId): boolean => origin !== this.origin && nodeOf(origin) === this.#config.node

  get #home(): { rows: RowReader; origins: Names<OriginId>; agents: Names<string>; cache: EntryCache } {
    return { rows: this.#config.rows, origins: this.#origins, agents: this.#agents, cache: this.#cache }
  }

  #adopt(space: Space): void {
    this.#byNumber[space.number] = space
    if (space.deleted) this.#dead.push(space)
    else this.#spaces.set(space.name, space)
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
