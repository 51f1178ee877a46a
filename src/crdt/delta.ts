/**
 * The delta: one atomic change of one space, and its canonical bytes. Those bytes are what the log keeps, what the
 * chain hashes and what peers are sent, so they are made once and never re-encoded.
 *
 * Layout, one MessagePack array:
 *   [time, link, origins, context, agent, reason, clears, writes]
 *   link     8 bytes of the origin's chain hash before this delta
 *   origins  the foreign origins named below; a reference is 0 for the delta's own origin, else 1 + its place here
 *   context  [reference, seq, …]: what its writer had newly seen since its previous delta
 *   clears   [key, type or 0 for all, [reference, seq, …] kept, …]
 *   writes   [key or nil for the same as before, type * 4 + expires * 2 + value, path, value?, expires?, superseded, …]
 *            superseded: nil none; a number n: the own dot seq - n; else [reference, seq, …]
 *
 * Origin and sequence are not inside: the log's key and the frame's envelope say them, and the chain fixes them.
 */
import { equalBytes, interned } from '../base/bytes.ts'
import { hash128, lanes } from '../base/hash.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import { limits } from '../base/limits.ts'
import type { Path, TypeId } from './cell.ts'
import { covers, readOrigin, writeOrigin } from './dot.ts'
import type { Dot, OriginId, Seen } from './dot.ts'

export interface CellWrite {
  readonly key: string
  readonly type: TypeId
  readonly path: Path
  /** Canonical bytes; none is a removal. */
  readonly value: Uint8Array | undefined
  /** Wall milliseconds, 0 for never. */
  readonly expires: number
  readonly supersedes: readonly Dot[]
}

export interface ClearEntry {
  readonly key: string
  /** 0 clears every type of the entry. */
  readonly type: TypeId
  readonly keep: readonly Dot[]
}

export interface DeltaBody {
  readonly time: number
  readonly link: Uint8Array
  readonly context: readonly Dot[]
  readonly agent: string
  readonly reason: string | undefined
  readonly clears: readonly ClearEntry[]
  readonly writes: readonly CellWrite[]
}

export interface Delta extends DeltaBody, Dot {}

export const linkBytes = 8

/** The running hash over all deltas of one origin in one space. */
export type Chain = Uint32Array

/** Where an origin's chain starts: bound to space, generation and origin, so that chains cannot be swapped. */
export function startChain(space: string, generation: number, origin: OriginId): Chain {
  writer.begin()
  writer.string(space)
  writer.number(generation)
  writeOrigin(writer, origin)
  hash128(writer.bytes, writer.start, writer.at, 0x736b6569, 0x6e, 0, 1)
  return lanes.slice()
}

/** Moves a chain over the bytes of its next delta, in place. */
export function advanceChain(chain: Chain, body: Uint8Array): void {
  hash128(body, 0, body.length, chain[0] as number, chain[1] as number, chain[2] as number, chain[3] as number)
  for (let i = 0; i < 4; i++) chain[i] = lanes[i] as number
}

const link = new Uint8Array(linkBytes)
const linkView = new DataView(link.buffer)

/** The link that the next delta after this chain carries; valid until the next call. */
export function linkOf(chain: Chain): Uint8Array {
  linkView.setUint32(0, chain[0] as number)
  linkView.setUint32(4, chain[1] as number)
  return link
}

export function follows(body: DeltaBody, chain: Chain): boolean {
  return equalBytes(body.link, linkOf(chain))
}

const writer = new Writer()
const foreign: OriginId[] = []
const references = new Map<OriginId, number>()

function reference(origin: OriginId, own: OriginId): number {
  if (origin === own) return 0
  const known = references.get(origin)
  if (known !== undefined) return known
  foreign.push(origin)
  references.set(origin, foreign.length)
  return foreign.length
}

function collect(dots: readonly Dot[], own: OriginId): void {
  for (const dot of dots) reference(dot.origin, own)
}

function writeDots(dots: readonly Dot[], own: OriginId): void {
  writer.array(2 * dots.length)
  for (const dot of dots) {
    writer.number(reference(dot.origin, own))
    writer.number(dot.seq)
  }
}

/** The canonical bytes, as a view that nobody overwrites. */
export function encodeDelta(delta: Delta): Uint8Array {
  const { origin, seq, clears, writes } = delta
  if (foreign.length > 0) {
    foreign.length = 0
    references.clear()
  }
  collect(delta.context, origin)
  for (const clear of clears) collect(clear.keep, origin)
  for (const write of writes) collect(write.supersedes, origin)

  writer.begin()
  writer.array(8)
  writer.number(delta.time)
  writer.bin(delta.link)
  writer.array(foreign.length)
  for (const other of foreign) writeOrigin(writer, other)
  writeDots(delta.context, origin)
  writer.string(delta.agent)
  if (delta.reason === undefined) writer.nil()
  else writer.string(delta.reason)
  writer.array(3 * clears.length)
  for (const clear of clears) {
    writer.string(clear.key)
    writer.number(clear.type)
    writeDots(clear.keep, origin)
  }
  let items = 0
  for (const write of writes) items += 4 + (write.value === undefined ? 0 : 1) + (write.expires === 0 ? 0 : 1)
  writer.array(items)
  let key: string | undefined
  for (const write of writes) {
    if (write.key === key) writer.nil()
    else writer.string((key = write.key))
    writer.number(write.type * 4 + (write.expires === 0 ? 0 : 2) + (write.value === undefined ? 0 : 1))
    writer.rawBinary(write.path)
    if (write.value !== undefined) writer.raw(write.value)
    if (write.expires !== 0) writer.number(write.expires)
    const { supersedes } = write
    const first = supersedes[0]
    if (first === undefined) writer.nil()
    else if (supersedes.length === 1 && first.origin === origin) writer.number(seq - first.seq)
    else writeDots(supersedes, origin)
  }
  return writer.finish()
}

const maxSeq = Number.MAX_SAFE_INTEGER

/** The origins of a delta, its own first; `used` is the last that was named, since they stand in the order of first use. */
interface Origins {
  readonly list: OriginId[]
  used: number
}

function readDots(reader: Reader, origins: Origins): readonly Dot[] {
  let left = reader.array()
  if (left === 0) return none
  const { list } = origins
  const dots: Dot[] = []
  for (; left > 0; left -= 2) {
    if (left === 1) reader.fail('half a dot')
    const place = reader.uint(list.length - 1)
    if (place > origins.used && ++origins.used !== place) reader.fail('origins out of their order of use')
    dots.push({ origin: list[place] as OriginId, seq: reader.uint(maxSeq) || reader.fail('sequences start at 1') })
  }
  return dots
}

function readKey(reader: Reader): string {
  const key = reader.string()
  if (key === '') reader.fail('an empty key')
  return key
}

function readOthers(reader: Reader, count: number, into: OriginId[]): void {
  const named = new Set(into)
  for (let left = count; left > 0; left--) {
    const other = readOrigin(reader)
    if (named.has(other)) reader.fail('an origin named twice')
    named.add(other)
    into.push(other)
  }
}

/**
 * The delta of that dot in these bytes. Throws SkeinError `malformed`: the same verdict on the same bytes in every
 * version, because a delta that is malformed here and fine elsewhere would split the fleet.
 */
export function decodeDelta(origin: OriginId, seq: number, bytes: Uint8Array): Delta {
  const reader = new Reader(bytes)
  if (reader.array() !== 8) reader.fail('a delta has eight parts')
  const time = reader.uint()
  const chainLink = reader.bin()
  if (chainLink.length !== linkBytes) reader.fail('a link of another length')
  const origins: Origins = { list: [origin], used: 0 }
  const others = reader.array()
  if (others > 0) readOthers(reader, others, origins.list)
  const context = readDots(reader, origins)
  const agent = reader.name()
  const reason = reader.nil() ? undefined : reader.string()
  const clears: ClearEntry[] = []
  const clearItems = reader.array()
  if (clearItems % 3 !== 0) reader.fail('half a clear')
  for (let left = clearItems; left > 0; left -= 3) {
    clears.push({ key: readKey(reader), type: reader.uint(255), keep: readDots(reader, origins) })
  }
  let writes: CellWrite[] = []
  let key: string | undefined
  let items = reader.array()
  const cells = items > 6 ? new Set<string>() : undefined
  while (items > 0) {
    if (reader.peek() === 0xc0) {
      reader.nil()
      if (key === undefined) reader.fail('a write without a key')
    } else {
      const next = readKey(reader)
      if (next === key) reader.fail('a key written out twice')
      key = next
    }
    const head = reader.uint(1023)
    const type = head >> 2
    if (type === 0) reader.fail('a write without a type')
    const at = reader.at
    reader.skip()
    if (reader.at - at > limits.pathBytes) reader.fail('a path over its limit')
    const path = interned.of(bytes, at, reader.at)
    const value = (head & 1) === 1 ? reader.raw() : undefined
    const expires = (head & 2) === 2 ? reader.uint() || reader.fail('an expiry of 0') : 0
    let supersedes: readonly Dot[] = none
    if (!reader.nil()) {
      const next = reader.peek()
      if (next < 0x80 || (next >= 0xcb && next <= 0xce)) {
        const back = reader.uint(seq - 1)
        if (back === 0) reader.fail('a write that supersedes itself')
        supersedes = [{ origin, seq: seq - back }]
      } else {
        supersedes = readDots(reader, origins)
        if (supersedes.length === 1 && supersedes[0]?.origin === origin) reader.fail('an own dot written at length')
      }
      if (supersedes.length === 0) reader.fail('an empty list of dots')
    }
    if (value === undefined && supersedes.length === 0) reader.fail('a write that does nothing')
    if (cells !== undefined) {
      const name = `${key}\u0000${type}\u0000${path}`
      if (cells.has(name)) reader.fail('a cell written twice')
      cells.add(name)
    }
    const write = { key: key as string, type, path, value, expires, supersedes }
    if (writes.length === 0) writes = [write]
    else writes.push(write)
    items -= 4 + (value === undefined ? 0 : 1) + (expires === 0 ? 0 : 1)
  }
  if (items !== 0) reader.fail('half a write')
  if (origins.used !== others) reader.fail('an origin that nothing names')
  reader.finish()
  return { origin, seq, time, link: chainLink, context, agent, reason, clears, writes }
}

const none: readonly Dot[] = []

/**
 * Why a delta is void, if it is: it speaks of what its writer cannot have seen. `seen` is all that the origin had said to
 * have seen before it. The verdict follows from the origin's chain alone, so every replica that applies the chain agrees: a
 * void delta moves vector and chain and changes no cell.
 */
export function voidBecause(delta: Delta, seen: Seen): string | undefined {
  const { origin, seq, context, clears, writes } = delta
  for (const dot of context) {
    if (dot.origin === origin) return 'its context names its own origin'
    if (covers(seen, dot)) return 'its context names what its writer had seen before'
  }
  if (context.length > 1 && new Set(context.map((dot) => dot.origin)).size < context.length) {
    return 'its context names an origin twice'
  }
  for (const { keep } of clears) {
    for (const dot of keep) if (!met(dot)) return 'it keeps what its writer had not seen'
  }
  for (const { supersedes } of writes) {
    for (const dot of supersedes) if (!met(dot)) return 'it supersedes what its writer had not seen'
  }
  return undefined

  function met(dot: Dot): boolean {
    if (dot.origin === origin) return dot.seq < seq
    return covers(seen, dot) || context.some((other) => other.origin === dot.origin && dot.seq <= other.seq)
  }
}
