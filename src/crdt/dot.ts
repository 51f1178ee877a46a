/** Dots, origins and vectors: who wrote what, and what has been seen. Nothing here knows a CRDT type. */
import { assert } from '../base/assert.ts'
import { fromHex, toHex } from '../base/bytes.ts'
import type { Reader, Writer } from '../base/msgpack.ts'

declare const originBrand: unique symbol
/**
 * One writer in a vector: a node in one incarnation. 32 hexadecimal digits: 8 bytes of the node's identity, then 8
 * random bytes of the incarnation. Held as a string so that equal origins are one object to compare.
 */
export type OriginId = string & { readonly [originBrand]: true }

export const originBytes = 16

export function originId(text: string): OriginId {
  assert(/^[0-9a-f]{32}$/.test(text), 'an origin is 32 hexadecimal digits')
  return text as OriginId
}

/** The part of an origin that stays the same over a node's incarnations. */
export function nodeOf(origin: OriginId): string {
  return origin.slice(0, 16)
}

/** Names one delta, once, for ever. Sequences start at 1. */
export interface Dot {
  readonly origin: OriginId
  readonly seq: number
}

export function compareDots(a: Dot, b: Dot): number {
  if (a.origin !== b.origin) return a.origin < b.origin ? -1 : 1
  return a.seq - b.seq
}

/** Origin → highest contiguous sequence applied. Absent means 0. */
export type Vector = Map<OriginId, number>
export type ReadonlyVector = ReadonlyMap<OriginId, number>

/** As much of a vector as it takes to ask it. */
export type Seen = Pick<ReadonlyVector, 'get'>

export function covers(vector: Seen, dot: Dot): boolean {
  return dot.seq <= (vector.get(dot.origin) ?? 0)
}

/** Raises `into` to at least `from`, origin by origin. */
export function raise(into: Vector, from: ReadonlyVector): void {
  for (const [origin, seq] of from) if (seq > (into.get(origin) ?? 0)) into.set(origin, seq)
}

const bytesOfOrigin = new Map<OriginId, Uint8Array>()
const cachedOrigins = 4096
let latest: OriginId | undefined
let latestBytes: Uint8Array = new Uint8Array(0)

/** The 16 bytes of an origin; the answer is shared, so it is not to be changed. */
export function bytesOf(origin: OriginId): Uint8Array {
  if (origin === latest) return latestBytes
  let bytes = bytesOfOrigin.get(origin)
  if (bytes === undefined) {
    bytes = fromHex(origin)
    if (bytesOfOrigin.size >= cachedOrigins) bytesOfOrigin.clear()
    bytesOfOrigin.set(origin, bytes)
  }
  latest = origin
  latestBytes = bytes
  return bytes
}

export function writeOrigin(writer: Writer, origin: OriginId): void {
  writer.bin(bytesOf(origin))
}

export function readOrigin(reader: Reader): OriginId {
  const bytes = reader.bin()
  if (bytes.length !== originBytes) reader.fail('an origin of another length')
  return toHex(bytes) as OriginId
}
