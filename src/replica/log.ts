/**
 * One origin's part of a space: its sequence, its chain, and its stretch of the log. The log keeps deltas whole, in
 * the bytes in which they were written, from a floor up to the head; catch-up, history and evidence read it.
 *
 * Pruning works on segments of 256 deltas, so that it needs to read nothing: a segment remembers its size and the time
 * of its last delta.
 *
 * Of a delta whose values were purged the log keeps what is left: it is not the delta any more, and is given to nobody.
 *
 * Of an origin that was taken over from a snapshot there is no log, but the *trail*: chain hashes from before its head, as
 * far as the giver could show them. Without it a fork whose losing side comes later would be merged unseen.
 */
import { assert } from '../base/assert.ts'
import { hash128, lanes } from '../base/hash.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import { linkBytes, linkOf, startChain } from '../crdt/delta.ts'
import type { Chain } from '../crdt/delta.ts'
import { bytesOf } from '../crdt/dot.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import type { Fork } from '../wire/frame.ts'
import { OriginContext } from './anchors.ts'
import type { Anchors } from './anchors.ts'
import type { Context } from './context.ts'
import type { Names } from './names.ts'
import { KeyWriter, Views, table } from './row-keys.ts'

/** Deltas in a segment. A guess: small enough to prune finely, large enough to be rare. */
const segmentDeltas = 256

export interface LogHome {
  readonly number: number
  readonly name: string
  readonly generation: number
  readonly rows: RowReader
  readonly origins: Names<OriginId>
  readonly anchors: Anchors
}

export interface LogEntry {
  /** Place in the order in which this node applied the space's deltas. */
  readonly place: number
  readonly body: Uint8Array
}

/** Between the place and what is left of a delta that was purged: no delta begins so. */
const purgedMark = 0xc0

/** Where a replica stands with an origin. */
export interface Stand {
  readonly origin: OriginId
  readonly seq: number
  /** 16 bytes. */
  readonly chain: Uint8Array
  /** Hybrid time of that delta. */
  readonly time: number
  /** All that the origin had seen then. */
  readonly context: Context
  /** The origin ends there. */
  readonly fork?: Fork
  /** The chain just before it: links at the sequences up to seq - 1. */
  readonly links?: Uint8Array
}

/** Links of a chain at neighbouring sequences up to `to`. */
interface Trail {
  readonly to: number
  readonly links: Uint8Array
}

interface Segment {
  readonly first: number
  last: number
  bytes: number
  /** Hybrid time of its last delta. */
  time: number
}

const keys = new KeyWriter()
const row = new Writer()
const views = new Views()
const noTrail: Trail = { to: 0, links: new Uint8Array(0) }

export class OriginLog implements Dot {
  readonly origin: OriginId
  /** Its local number. */
  readonly number: number
  /** The highest contiguous sequence applied. */
  seq = 0
  readonly chain: Chain
  /** Hybrid time of the last delta. */
  time = 0
  /** Place in local order of the last delta. */
  place = 0
  /** The first sequence that the log still holds; head + 1 when it holds none. */
  floor = 1
  bytes = 0
  /** What the origin had seen of others at its last delta. */
  readonly context: OriginContext
  /** The origin had two histories: it ends at the sequence that is here. */
  fork: Fork | undefined = undefined
  dirty = false
  /** The highest sequence that is durable here: what others may count on. */
  durableSeq = 0
  readonly #home: LogHome
  #digestSeq = 0
  #digest1 = 0
  #digest2 = 0
  /** Deltas that are not on the disk yet, and the place of each. */
  readonly #waiting: Uint8Array[] = []
  readonly #places: number[] = []
  /** How many of the waiting are in the batch that is under way. */
  #taken = 0
  #segments: Segment[] = []
  #closed: Segment[] = []
  #doomed: Segment[] = []
  /** What the disk had when a head was adopted that it does not have yet. */
  #storedBefore: number | undefined = undefined
  #adoptionTaken = false
  /** What is not on the disk yet; the row is read when somebody asks, which is seldom. */
  #trail: Trail | undefined = undefined
  #trailTaken = false
  /** What is left of stored deltas that were purged, until the disk has it; and what of that is under way. */
  readonly #purged = new Map<number, LogEntry>()
  #purging: number[] = []

  constructor(home: LogHome, origin: OriginId) {
    this.#home = home
    this.origin = origin
    this.number = home.origins.numberOf(origin)
    this.chain = startChain(home.name, home.generation, origin)
    this.context = new OriginContext(origin, home.anchors, home.origins)
  }

  /** Takes up the next delta. The caller has advanced the chain. */
  append(body: Uint8Array, place: number, time: number, context: readonly Dot[]): void {
    this.seq++
    this.time = time
    this.place = place
    this.bytes += body.length
    this.dirty = true
    this.context.add(context, this.seq === 1)
    this.#waiting.push(body)
    this.#places.push(place)
    let segment = this.#segments.at(-1)
    if (segment === undefined || segment.last - segment.first + 1 >= segmentDeltas) {
      if (segment !== undefined) this.#closed.push(segment)
      this.#segments.push((segment = { first: this.seq, last: this.seq, bytes: 0, time }))
    }
    segment.last = this.seq
    segment.bytes += body.length
    segment.time = time
  }

  /** A delta of the log, or undefined below the floor, beyond the head, or where it was purged. */
  entry(seq: number): LogEntry | undefined {
    const row = this.#row(seq)
    return row?.isPurged === true ? undefined : row
  }

  /** What the log tells of a delta: itself, or what is left of it. For people and for links, not for replicas. */
  remains(seq: number): (LogEntry & { readonly isPurged: boolean }) | undefined {
    return this.#row(seq)
  }

  #row(seq: number): (LogEntry & { readonly isPurged: boolean }) | undefined {
    if (seq < this.floor || seq > this.seq) return undefined
    const purged = this.#purged.get(seq)
    if (purged !== undefined) return { ...purged, isPurged: true }
    const at = seq - (this.seq - this.#waiting.length) - 1
    const waiting = this.#waiting[at]
    if (waiting !== undefined) return { place: this.#places[at] as number, body: waiting, isPurged: false }
    const bytes = this.#home.rows.get(this.#logKey(seq))
    if (bytes === undefined) return undefined
    const reader = new Reader(bytes)
    const place = reader.uint()
    const isPurged = bytes[reader.at] === purgedMark
    return { place, body: bytes.subarray(reader.at + (isPurged ? 1 : 0)), isPurged }
  }

  /** Only these bytes are left of a stored delta. They begin as it does: with its time and link. */
  purge(seq: number, left: Uint8Array): void {
    const row = this.#row(seq)
    assert(row !== undefined && seq <= this.storedSeq, 'only what is in the store is purged')
    this.#purged.set(seq, { place: row.place, body: left })
    this.dirty = true
  }

  get storedSeq(): number {
    return this.#storedBefore ?? this.seq - this.#waiting.length
  }

  /** The first bytes of the chain at a sequence; undefined where the log no longer tells. */
  linkAt(seq: number): Uint8Array | undefined {
    if (seq === this.seq) return linkOf(this.chain).slice()
    if (seq === 0) return linkOf(startChain(this.#home.name, this.#home.generation, this.origin)).slice()
    const next = this.#row(seq + 1)
    return next === undefined ? this.#linkOnTrail(seq) : linkIn(next.body)
  }

  #linkOnTrail(seq: number): Uint8Array | undefined {
    if (seq + 1 >= this.floor) return undefined
    const { to, links } = this.#trail ?? this.#readTrail()
    const at = links.length - linkBytes * (to - seq + 1)
    return seq > to || at < 0 ? undefined : links.slice(at, at + linkBytes)
  }

  #readTrail(): Trail {
    const bytes = this.#home.rows.get(this.#trailKey())
    if (bytes === undefined) return noTrail
    const reader = new Reader(bytes)
    return { to: reader.uint(), links: reader.bin() }
  }

  /** The origin ends here. */
  close(fork: Fork): void {
    this.fork = fork
    this.#digestSeq = -1
    this.dirty = true
  }

  /**
   * Takes over where another replica stands with this origin. What was here of the log would have a gap, so it goes. Where it
   * does not go on from what was here it may be less, or another history: then nothing of that counts, neither as seen nor as
   * durable.
   */
  adopt(
    { seq, time, context, fork, links }: Omit<Stand, 'origin' | 'chain'>,
    chain: Chain,
    place: number,
    goesOn: boolean,
  ): void {
    this.#storedBefore = goesOn ? this.storedSeq : 0
    if (goesOn) this.context.raise(context)
    else {
      this.durableSeq = 0
      this.context.become(context)
    }
    this.#digestSeq = -1
    this.fork = fork
    this.#trail = links === undefined ? noTrail : { to: seq - 1, links }
    this.#trailTaken = false
    this.#adoptionTaken = false
    this.#doomed.push(...this.#segments)
    this.#segments = []
    this.#closed = []
    this.#purged.clear()
    this.#waiting.length = 0
    this.#places.length = 0
    this.#taken = 0
    this.bytes = 0
    this.seq = seq
    this.floor = seq + 1
    this.chain.set(chain)
    this.time = time
    this.place = place
    this.dirty = true
  }

  /** The oldest segment's last time, or undefined when the log is empty. */
  get oldest(): { readonly time: number; readonly bytes: number; readonly last: number } | undefined {
    return this.#segments[0]
  }

  /** Adds the digest of origin, sequence and chain to two lanes. */
  addDigest(into: Uint32Array): void {
    if (this.#digestSeq !== this.seq) {
      row.rewind()
      row.begin()
      row.raw(bytesOf(this.origin))
      row.number(this.seq)
      for (const lane of this.chain) row.number(lane)
      if (this.fork !== undefined) row.number(1)
      hash128(row.bytes, 0, row.at, 0x736b6569, 0x6e2d6865, 0x61640000, 0)
      this.#digestSeq = this.seq
      this.#digest1 = (lanes[0] as number) | 0
      this.#digest2 = (lanes[1] as number) | 0
    }
    into[0] = (into[0] as number) + this.#digest1
    into[1] = (into[1] as number) + this.#digest2
  }

  /** Drops the oldest segment from the log. */
  dropOldest(): void {
    const segment = this.#segments.shift()
    assert(segment !== undefined, 'only a segment that is there is dropped')
    this.floor = segment.last + 1
    this.bytes -= segment.bytes
    this.dirty = true
    this.#doomed.push(segment)
  }

  flush(sink: RowSink): void {
    const { number: space } = this.#home
    // What goes goes first: an origin that was set back may write the same keys again.
    for (const segment of this.#doomed) {
      for (let seq = segment.first; seq <= segment.last; seq++) sink.del(this.#logKey(seq))
      sink.del(this.#segmentKey(segment.first))
    }
    this.#doomed = []
    for (const [seq, { place, body }] of this.#purged) {
      this.#purging.push(seq)
      if (seq >= this.floor) this.#put(sink, seq, place, body, true)
    }
    const first = this.seq - this.#waiting.length + 1
    for (; this.#taken < this.#waiting.length; this.#taken++) {
      const seq = first + this.#taken
      if (seq < this.floor) continue
      this.#put(sink, seq, this.#places[this.#taken] as number, this.#waiting[this.#taken] as Uint8Array, false)
    }
    for (const segment of this.#closed) {
      if (segment.last < this.floor) continue
      row.rewind()
      row.begin()
      row.number(segment.last)
      row.number(segment.bytes)
      row.number(segment.time)
      sink.put(this.#segmentKey(segment.first), row.bytes.subarray(0, row.at))
    }
    this.#closed = []
    const key = keys.start(table.writer).short(space).ordered(this.number).bytes
    if (this.seq === 0) sink.del(key)
    else sink.put(key, this.#encode())
    this.#flushTrail(sink)
    this.dirty = false
    this.#adoptionTaken = this.#storedBefore !== undefined
  }

  #put(sink: RowSink, seq: number, place: number, body: Uint8Array, isPurged: boolean): void {
    row.rewind()
    row.begin()
    row.number(place)
    if (isPurged) row.byte(purgedMark)
    row.raw(body)
    sink.put(this.#logKey(seq), views.first(row.bytes, row.at))
  }

  #flushTrail(sink: RowSink): void {
    if (this.#trail === undefined || this.#trailTaken) return
    const { to, links } = this.#trail
    this.#trailTaken = true
    const key = this.#trailKey()
    if (links.length === 0) return sink.del(key)
    row.rewind()
    row.begin()
    row.number(to)
    row.bin(links)
    sink.put(key, row.bytes.subarray(0, row.at))
  }

  /** The batch that `flush` filled is on disk. */
  stored(): void {
    this.#waiting.splice(0, this.#taken)
    this.#places.splice(0, this.#taken)
    this.#taken = 0
    for (const seq of this.#purging) this.#purged.delete(seq)
    this.#purging = []
    if (this.#adoptionTaken) this.#storedBefore = undefined
    this.#adoptionTaken = false
    if (this.#trailTaken) this.#trail = undefined
    this.#trailTaken = false
  }

  #encode(): Uint8Array {
    const open = this.#segments.at(-1)
    row.rewind()
    row.begin()
    row.number(this.seq)
    for (const lane of this.chain) row.number(lane)
    row.number(this.time)
    row.number(this.place)
    row.number(this.floor)
    row.number(this.bytes)
    row.number(open?.first ?? 0)
    row.number(open?.bytes ?? 0)
    this.context.write(row)
    // Rows of an origin that never forked are as they always were.
    if (this.fork !== undefined) {
      row.number(this.fork.seq)
      row.number(this.fork.at)
      row.bin(this.fork.link)
    }
    return row.bytes.subarray(0, row.at)
  }

  /** For opening: the writer row, then its closed segments in order. */
  load(bytes: Uint8Array): void {
    const reader = new Reader(bytes)
    this.seq = reader.uint()
    for (let i = 0; i < this.chain.length; i++) this.chain[i] = reader.uint()
    this.time = reader.uint()
    this.place = reader.uint()
    this.floor = reader.uint()
    this.bytes = reader.uint()
    const first = reader.uint()
    const bytesOpen = reader.uint()
    if (first > 0 && first >= this.floor) {
      this.#segments.push({ first, last: this.seq, bytes: bytesOpen, time: this.time })
    }
    this.context.read(reader)
    if (reader.at < bytes.length) this.fork = { seq: reader.uint(), at: reader.uint(), link: reader.bin().slice() }
  }

  loadSegment(first: number, bytes: Uint8Array): void {
    const reader = new Reader(bytes)
    const segment = { first, last: reader.uint(), bytes: reader.uint(), time: reader.uint() }
    // They come in order, and before the open one, which the writer row brought.
    const open = this.#segments.pop()
    if (segment.last >= this.floor && segment.first !== open?.first) this.#segments.push(segment)
    if (open !== undefined) this.#segments.push(open)
  }

  #logKey(seq: number): Uint8Array {
    return keys.start(table.log).short(this.#home.number).ordered(this.number).ordered(seq).bytes
  }

  #trailKey(): Uint8Array {
    return keys.start(table.trail).short(this.#home.number).ordered(this.number).bytes
  }

  #segmentKey(first: number): Uint8Array {
    return keys.start(table.segment).short(this.#home.number).ordered(this.number).ordered(first).bytes
  }
}

/** A delta begins with its time and the link. */
function linkIn(body: Uint8Array): Uint8Array {
  const reader = new Reader(body)
  reader.array()
  reader.uint()
  const link = reader.bin()
  return link.length === linkBytes ? link.slice() : new Uint8Array(linkBytes)
}
