/**
 * Mutations that know MessagePack: they find the items in the bytes and exchange, drop, double and distort them, beside
 * what any fuzzer does to bytes. They never fail: bytes that are no MessagePack any more are mutated as bytes.
 */
import { Writer } from '../../src/base/msgpack.ts'
import type { Prng } from '../../src/base/prng.ts'

const longest = 64 * 1024

function encoded(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer(256)
  writer.begin()
  write(writer)
  return writer.finish()
}

function nested(depth: number, head: number): Uint8Array {
  return new Uint8Array(depth).fill(head)
}

/** Items that decoders have stumbled over elsewhere. */
const items: readonly Uint8Array[] = [
  ...[
    0,
    1,
    -1,
    127,
    128,
    255,
    65_535,
    65_536,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 53 - 1,
    2 ** 53,
    -(2 ** 53),
    0.5,
  ].map((value) => encoded((writer) => writer.number(value))),
  ...[null, true, '', '__proto__', 'constructor', 'é😀', [], {}, ['x'], { a: 1 }, new Uint8Array(16)].map((value) =>
    encoded((writer) => writer.value(value)),
  ),
  ...[1, 7, 8, 15, 17, 24, 32].map((length) => encoded((writer) => writer.bin(new Uint8Array(length)))),
  nested(40, 0x91),
  nested(3000, 0x91),
  // Headers that promise what does not follow, or say it at too great length.
  Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff),
  Uint8Array.of(0xdf, 0x7f, 0xff, 0xff, 0xff),
  Uint8Array.of(0xdb, 0xff, 0xff, 0xff, 0xff),
  Uint8Array.of(0xc6, 0x00, 0x10, 0x00, 0x00),
  Uint8Array.of(0xdc, 0xff, 0xff),
  Uint8Array.of(0xcc, 0x01),
  Uint8Array.of(0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0),
  Uint8Array.of(0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0),
  Uint8Array.of(0xa2, 0xed, 0xa0),
  Uint8Array.of(0xc1),
  Uint8Array.of(0xd4, 0x01, 0x02),
]

const extremes: readonly number[] = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x90, 0x9f, 0xc0, 0xc1, 0xc4, 0xcb, 0xcf, 0xdd, 0xdf]

interface Item {
  readonly start: number
  /** Where its header ends: of a container, where its first item starts. */
  readonly inside: number
  /** Where a scalar ends; of a container, the same as `inside`. */
  readonly end: number
}

/** Items one after the other, containers and what is in them, as far as the bytes make sense. */
function itemsOf(bytes: Uint8Array): Item[] {
  const found: Item[] = []
  for (let at = 0; at < bytes.length && found.length < 4096;) {
    const start = at
    const head = bytes[at++] as number
    const big = (size: number): number => {
      let value = 0
      for (let i = 0; i < size; i++) value = value * 0x100 + (bytes[at++] ?? 0)
      return value
    }
    let body = 0
    if (head >= 0xa0 && head < 0xc0) body = head & 0x1f
    else if (head === 0xc4 || head === 0xd9) body = big(1)
    else if (head === 0xc5 || head === 0xda) body = big(2)
    else if (head === 0xc6 || head === 0xdb) body = big(4)
    else if (head === 0xcc || head === 0xd0) big(1)
    else if (head === 0xcd || head === 0xd1 || head === 0xdc || head === 0xde) big(2)
    else if (head === 0xce || head === 0xd2 || head === 0xdd || head === 0xdf) big(4)
    else if (head === 0xcb) big(8)
    const inside = at
    at += body
    if (at > bytes.length) break
    found.push({ start, inside, end: at })
    // A byte string may hold MessagePack of its own: now and then that is looked into.
    if (head === 0xc4 || head === 0xc5) at = body > 20 && body % 3 === 0 ? inside : at
  }
  return found
}

function replaced(bytes: Uint8Array, from: number, to: number, by: Uint8Array): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(Math.min(from + by.length + bytes.length - to, longest))
  result.set(bytes.subarray(0, Math.min(from, longest)))
  if (from < longest) result.set(by.subarray(0, result.length - from), from)
  if (from + by.length < result.length)
    result.set(bytes.subarray(to, to + result.length - from - by.length), from + by.length)
  return result
}

const nothing = new Uint8Array(0)

/** A few mutations of one input; `other` is another one to take parts from. */
export function mutated(input: Uint8Array, other: Uint8Array, chance: Prng): Uint8Array {
  let bytes = input.slice(0, longest)
  for (let rounds = chance.chance(0.5) ? 1 : 1 + chance.below(4); rounds > 0; rounds--)
    bytes = chance.chance(0.6) ? item(bytes) : byte(bytes)
  return bytes

  function item(at: Uint8Array): Uint8Array<ArrayBuffer> {
    const found = itemsOf(at)
    if (found.length === 0) return byte(at)
    const { start, inside, end } = chance.pick(found)
    const head = at[start] as number
    switch (chance.below(7)) {
      case 0:
        return replaced(at, start, end, chance.pick(items))
      case 1: {
        const theirs = itemsOf(other)
        const piece = theirs.length === 0 ? undefined : chance.pick(theirs)
        return replaced(at, start, end, piece === undefined ? nothing : other.subarray(piece.start, piece.end))
      }
      case 2:
        return replaced(at, start, end, nothing)
      case 3:
        return replaced(at, end, end, at.subarray(start, end))
      case 4: {
        const second = chance.pick(found)
        const [a, b] = start < second.start ? [{ start, end }, second] : [second, { start, end }]
        if (a.end > b.start) return at.slice()
        const swapped = [...at.subarray(b.start, b.end), ...at.subarray(a.end, b.start), ...at.subarray(a.start, a.end)]
        return replaced(at, a.start, b.end, Uint8Array.from(swapped))
      }
      case 5: {
        // The count of a short container, by one; otherwise one byte of the header.
        const copy = Uint8Array.from(at)
        const short = (head >= 0x80 && head < 0xc0) || inside - start === 1
        const place = short ? start : start + 1 + chance.below(Math.max(1, inside - start - 1))
        copy[place] = (at[place] as number) + (chance.chance(0.5) ? 1 : -1)
        return copy
      }
      default: {
        if (inside === end) return replaced(at, start, end, chance.pick(items))
        const place = inside + chance.below(end - inside)
        return replaced(at, place, place + chance.below(2), Uint8Array.of(chance.below(256)))
      }
    }
  }

  function byte(at: Uint8Array): Uint8Array<ArrayBuffer> {
    const place = chance.below(at.length + 1)
    const length = chance.below(Math.min(1 + at.length - place, chance.chance(0.8) ? 8 : longest))
    switch (chance.below(7)) {
      case 0: {
        const copy = at.slice()
        if (place < at.length) copy[place] = (at[place] as number) ^ (1 << chance.below(8))
        return copy
      }
      case 1: {
        const copy = at.slice()
        if (place < at.length) copy[place] = chance.chance(0.5) ? chance.pick(extremes) : chance.below(256)
        return copy
      }
      case 2:
        return replaced(at, place, place + length, nothing)
      case 3:
        return replaced(at, place, place, at.subarray(place, place + length))
      case 4:
        return replaced(
          at,
          place,
          place,
          Uint8Array.from({ length: 1 + chance.below(8) }, () => chance.below(256)),
        )
      case 5:
        return at.slice(0, place)
      default: {
        const from = chance.below(other.length + 1)
        return replaced(at, place, chance.chance(0.5) ? at.length : place, other.subarray(from))
      }
    }
  }
}
