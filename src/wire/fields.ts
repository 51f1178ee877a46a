/**
 * The fields that frames are made of. Each pair writes and reads one form and no other: what a reader takes, its writer
 * writes again byte for byte. Readers throw SkeinError `malformed`, or `too_large` for what is over a limit, and
 * allocate nothing that the bytes do not pay for; writers assert the same bounds.
 *
 * The *table* is the first field of nearly every frame about a space: one byte string, 8 bytes of the space's id, then
 * 16 bytes for each origin that the frame names. What follows refers to them by place.
 */
import { assert } from '../base/assert.ts'
import { toHex, utf8Length } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { Writer } from '../base/msgpack.ts'
import type { Reader } from '../base/msgpack.ts'
import { originBytes } from '../crdt/dot.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import type { Frame, SpaceId } from './frame.ts'

/** How one kind of frame is written after its number, and read again. */
export interface FrameCodec<F extends Frame> {
  /** Its number on the wire, for ever. */
  readonly code: number
  /** How many fields are written. A reader may meet more, from a later minor version, and never sees them. */
  readonly fields: number
  write(writer: Writer, frame: F): void
  read(reader: Reader): F
}

/** The codecs of some kinds of frame. */
export type FrameCodecs<K extends Frame['kind']> = {
  readonly [Kind in K]: FrameCodec<Extract<Frame, { readonly kind: Kind }>>
}

export const idBytes = 8
export const chainBytes = 16

/** The receiver's side of a limit. */
export function bounded(count: number, limit: number, what: string): number {
  if (count > limit) throw new SkeinError('too_large', `${what}: ${count} is over the limit of ${limit}`)
  return count
}

export function writeText(writer: Writer, text: string, limit: number): void {
  assert(text.isWellFormed() && utf8Length(text) <= limit, 'a text in a frame is well-formed and within its limit')
  writer.string(text)
}

export function readText(reader: Reader, limit: number, what: string): string {
  const text = reader.string()
  bounded(utf8Length(text), limit, what)
  return text
}

/** Bits; a reader ignores those that it does not know. */
export function writeFlags(writer: Writer, ...flags: readonly boolean[]): void {
  let bits = 0
  for (const [at, flag] of flags.entries()) if (flag) bits |= 1 << at
  writer.number(bits)
}

export function readFlags(reader: Reader): number {
  return reader.uint(0xffff_ffff)
}

/** A whole number of either sign. */
export function readInteger(reader: Reader): number {
  const value = reader.number()
  if (!Number.isSafeInteger(value)) reader.fail('a whole number was expected')
  return value
}

function digit(unit: number): number {
  return unit < 0x3a ? unit - 0x30 : unit - 0x57
}

/** The bytes of hexadecimal digits, without a header. */
export function writeHex(writer: Writer, hex: string): void {
  for (let i = 0; i < hex.length; i += 2) {
    writer.byte((digit(hex.charCodeAt(i)) << 4) | digit(hex.charCodeAt(i + 1)))
  }
}

/** Eight bytes that code holds as 16 hexadecimal digits: a node, a fleet, an incarnation, a space. */
export function writeId(writer: Writer, id: string): void {
  assert(id.length === 2 * idBytes, 'an id has 16 hexadecimal digits')
  writer.binHeader(idBytes)
  writeHex(writer, id)
}

export function readId(reader: Reader): string {
  return toHex(readBytes(reader, idBytes))
}

/** Several ids, side by side. */
export function writeIds(writer: Writer, ids: readonly string[]): void {
  assert(ids.length <= limits.noticeDots, 'a frame holds no more ids than the limit')
  assert(
    ids.every((id) => id.length === 2 * idBytes),
    'an id has 16 hexadecimal digits',
  )
  writer.binHeader(idBytes * ids.length)
  for (const id of ids) writeHex(writer, id)
}

export function readIds(reader: Reader): string[] {
  const bytes = reader.bin()
  if (bytes.length % idBytes !== 0) reader.fail('half an id')
  bounded(bytes.length / idBytes, limits.noticeDots, 'ids of a frame')
  const ids: string[] = []
  for (let at = 0; at < bytes.length; at += idBytes) ids.push(toHex(bytes, at, at + idBytes))
  return ids
}

export function writeBytes(writer: Writer, bytes: Uint8Array, length: number): void {
  assert(bytes.length === length, 'a field of a fixed length has that length')
  writer.bin(bytes)
}

/** A byte string of one length, as a view. */
export function readBytes(reader: Reader, length: number): Uint8Array {
  const bytes = reader.bin()
  if (bytes.length !== length) reader.fail(`${length} bytes were expected`)
  return bytes
}

export interface Table {
  readonly space: SpaceId
  readonly origins: readonly OriginId[]
}

export function writeTable(writer: Writer, space: SpaceId, origins: readonly string[] = []): void {
  assert(origins.length <= limits.frameOrigins, 'a frame names no more origins than the limit')
  assert(space.length === 2 * idBytes, 'a space id has 16 hexadecimal digits')
  writer.binHeader(idBytes + originBytes * origins.length)
  writeHex(writer, space)
  for (const origin of origins) {
    assert(origin.length === 2 * originBytes, 'an origin has 32 hexadecimal digits')
    writeHex(writer, origin)
  }
}

export function readTable(reader: Reader): Table {
  const bytes = reader.bin()
  const count = (bytes.length - idBytes) / originBytes
  if (count < 0 || !Number.isInteger(count)) reader.fail('a table of another length')
  bounded(count, limits.frameOrigins, 'origins of a frame')
  const origins: OriginId[] = []
  for (let at = idBytes; at < bytes.length; at += originBytes) {
    origins.push(toHex(bytes, at, at + originBytes) as OriginId)
  }
  return { space: toHex(bytes, 0, idBytes) as SpaceId, origins }
}

/** A table that names no origin. */
export function readSpace(reader: Reader): SpaceId {
  const { space, origins } = readTable(reader)
  if (origins.length > 0) reader.fail('a table with origins that nothing names')
  return space
}

/** A table whose origins stand in their order, each once. */
export function readSortedTable(reader: Reader): Table {
  const table = readTable(reader)
  const { origins } = table
  for (let i = 1; i < origins.length; i++) {
    if ((origins[i - 1] as OriginId) >= (origins[i] as OriginId)) reader.fail('origins out of order')
  }
  return table
}

/** In the order of origins; each may be there once. */
export function byOrigin<T extends { readonly origin: string }>(items: readonly T[]): readonly T[] {
  let sorted = items
  if (!ascending(sorted)) {
    sorted = items.toSorted((a, b) => (a.origin < b.origin ? -1 : 1))
    assert(ascending(sorted), 'a frame names an origin once')
  }
  return sorted
}

function ascending(items: readonly { readonly origin: string }[]): boolean {
  for (let i = 1; i < items.length; i++) {
    if ((items[i - 1] as { origin: string }).origin >= (items[i] as { origin: string }).origin) return false
  }
  return true
}

export function writeSeqs(writer: Writer, dots: readonly { readonly seq: number }[]): void {
  writer.array(dots.length)
  for (const { seq } of dots) writer.number(seq)
}

/** One for each origin of the table, at least `least`. */
export function readSeqs(reader: Reader, count: number, least: 0 | 1): number[] {
  if (reader.array() !== count) reader.fail('a sequence for each origin')
  const seqs: number[] = []
  for (let i = 0; i < count; i++) {
    const seq = reader.uint()
    if (seq < least) reader.fail('sequences start at 1')
    seqs.push(seq)
  }
  return seqs
}

/** A set of dots, one an origin: a sorted table, then the sequences. Two fields. */
export function writeDots(writer: Writer, space: SpaceId, dots: readonly Dot[]): void {
  const sorted = byOrigin(dots)
  writeTable(
    writer,
    space,
    sorted.map(({ origin }) => origin),
  )
  writeSeqs(writer, sorted)
}

export function readDots(reader: Reader, least: 0 | 1): { space: SpaceId; dots: Dot[] } {
  const { space, origins } = readSortedTable(reader)
  const seqs = readSeqs(reader, origins.length, least)
  return { space, dots: origins.map((origin, at) => ({ origin, seq: seqs[at] as number })) }
}

/** A whole number in groups of seven bits, the lowest first, in as few bytes as hold it (LEB128). */
export function writeVarint(writer: Writer, value: number): void {
  while (value >= 0x80) {
    writer.byte((value % 0x80) | 0x80)
    value = Math.floor(value / 0x80)
  }
  writer.byte(value)
}

export function readVarint(reader: Reader): number {
  let value = 0
  for (let scale = 1; scale <= 2 ** 49; scale *= 0x80) {
    const byte = reader.byte()
    value += (byte & 0x7f) * scale
    if (byte >= 0x80) continue
    if (byte === 0 && scale > 1) reader.fail('a longer number than needed')
    if (value > Number.MAX_SAFE_INTEGER) break
    return value
  }
  return reader.fail('a number out of range')
}

const inner = new Writer()

/** A byte string whose length is known only once its bytes are written. */
export function writeInside(writer: Writer, write: (inner: Writer) => void): void {
  inner.rewind()
  inner.begin()
  write(inner)
  writer.bin(inner.finish())
}
