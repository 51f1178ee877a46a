/** Short names for long ones, the same on every node: what a link calls a space, and an origin in a short vector. */
import { fromHex, toHex } from '../base/bytes.ts'
import { hash128, lanes } from '../base/hash.ts'
import { Writer } from '../base/msgpack.ts'
import type { OriginId } from '../crdt/dot.ts'
import type { SpaceId } from './frame.ts'

const writer = new Writer(1024)

/** The first 8 bytes of a hash of name and generation. */
export function spaceIdOf(name: string, generation: number): SpaceId {
  writer.rewind()
  writer.begin()
  writer.string(name)
  writer.number(generation)
  hash128(writer.bytes, 0, writer.at, 0x736b6569, 0x6e2d7370, 0x6163652d, 1)
  return (hexOfWord(lanes[0] as number) + hexOfWord(lanes[1] as number)) as SpaceId
}

const known = new Map<OriginId, number>()
const knownOrigins = 4096

/**
 * The first 32 bits of a hash of the origin. Of 1,000 origins two share theirs with a chance of 1 in 8,600, of 10,000
 * with 1 in 86: whoever meets one that is not unique asks for the full form.
 */
export function shortOf(origin: OriginId): number {
  let short = known.get(origin)
  if (short === undefined) {
    const bytes = fromHex(origin)
    hash128(bytes, 0, bytes.length, 0x736b6569, 0x6e2d6f72, 0x6967696e, 1)
    short = lanes[0] as number
    if (known.size >= knownOrigins) known.clear()
    known.set(origin, short)
  }
  return short
}

/** As a short vector entry has it: 8 hexadecimal digits. */
export function shortNameOf(origin: OriginId): string {
  return hexOfWord(shortOf(origin))
}

const word = new Uint8Array(4)

export function hexOfWord(value: number): string {
  word[0] = value >>> 24
  word[1] = value >>> 16
  word[2] = value >>> 8
  word[3] = value
  return toHex(word)
}
