/**
 * MurmurHash3 x86_128 (Austin Appleby, public domain), the digest of cells, chains and rows. It is fast in plain
 * JavaScript and guards against accident, not against a writer who crafts collisions: see docs/decisions/digest.md.
 */

/** Where hash128 leaves its result: four lanes, valid until the next call. */
export const lanes: Uint32Array = new Uint32Array(4)

const C1 = 0x239b961b
const C2 = 0xab0e9789
const C3 = 0x38b34ae5
const C4 = 0xa1e38b93

function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  )
}

/** Views of the two buffers that were hashed last: digests and chains take turns, each over a buffer of its own. */
let latest: DataView = new DataView(new ArrayBuffer(0))
let latestOf: ArrayBufferLike = latest.buffer
let other = latest
let otherOf: ArrayBufferLike = latestOf

/** A view reads four bytes at once, wherever they stand. */
function viewOf(buffer: ArrayBufferLike): DataView {
  if (buffer === latestOf) return latest
  const view = buffer === otherOf ? other : new DataView(buffer)
  other = latest
  otherOf = latestOf
  latest = view
  latestOf = buffer
  return view
}

/** Hashes bytes[start, end) under a seed of four words; the result is in `lanes`. */
export function hash128(
  bytes: Uint8Array,
  start: number,
  end: number,
  seed1: number,
  seed2: number,
  seed3: number,
  seed4: number,
): void {
  let h1 = seed1 | 0
  let h2 = seed2 | 0
  let h3 = seed3 | 0
  let h4 = seed4 | 0
  const view = viewOf(bytes.buffer)
  const { byteOffset } = bytes
  const length = end - start
  let at = byteOffset + start
  for (const stop = byteOffset + end - 15; at < stop; at += 16) {
    let k = Math.imul(view.getInt32(at, true), C1)
    h1 ^= Math.imul((k << 15) | (k >>> 17), C2)
    h1 = ((h1 << 19) | (h1 >>> 13)) + h2
    h1 = (Math.imul(h1, 5) + 0x561ccd1b) | 0
    k = Math.imul(view.getInt32(at + 4, true), C2)
    h2 ^= Math.imul((k << 16) | (k >>> 16), C3)
    h2 = ((h2 << 17) | (h2 >>> 15)) + h3
    h2 = (Math.imul(h2, 5) + 0x0bcaa747) | 0
    k = Math.imul(view.getInt32(at + 8, true), C3)
    h3 ^= Math.imul((k << 17) | (k >>> 15), C4)
    h3 = ((h3 << 15) | (h3 >>> 17)) + h4
    h3 = (Math.imul(h3, 5) + 0x96cd1c35) | 0
    k = Math.imul(view.getInt32(at + 12, true), C4)
    h4 ^= Math.imul((k << 18) | (k >>> 14), C1)
    h4 = ((h4 << 13) | (h4 >>> 19)) + h1
    h4 = (Math.imul(h4, 5) + 0x32ac3b17) | 0
  }
  at -= byteOffset
  const rest = end - at
  if (rest > 0) {
    let k1 = 0
    let k2 = 0
    let k3 = 0
    let k4 = 0
    for (let i = 0; i < rest; i++) {
      const byte = (bytes[at + i] as number) << ((i & 3) * 8)
      if (i < 4) k1 |= byte
      else if (i < 8) k2 |= byte
      else if (i < 12) k3 |= byte
      else k4 |= byte
    }
    if (rest > 12) {
      k4 = Math.imul(k4, C4)
      h4 ^= Math.imul((k4 << 18) | (k4 >>> 14), C1)
    }
    if (rest > 8) {
      k3 = Math.imul(k3, C3)
      h3 ^= Math.imul((k3 << 17) | (k3 >>> 15), C4)
    }
    if (rest > 4) {
      k2 = Math.imul(k2, C2)
      h2 ^= Math.imul((k2 << 16) | (k2 >>> 16), C3)
    }
    k1 = Math.imul(k1, C1)
    h1 ^= Math.imul((k1 << 15) | (k1 >>> 17), C2)
  }
  h1 ^= length
  h2 ^= length
  h3 ^= length
  h4 ^= length
  h1 = (h1 + h2 + h3 + h4) | 0
  h2 = (h2 + h1) | 0
  h3 = (h3 + h1) | 0
  h4 = (h4 + h1) | 0
  h1 = mix(h1)
  h2 = mix(h2)
  h3 = mix(h3)
  h4 = mix(h4)
  h1 = (h1 + h2 + h3 + h4) | 0
  lanes[0] = h1
  lanes[1] = h2 + h1
  lanes[2] = h3 + h1
  lanes[3] = h4 + h1
}

/** A 32-bit checksum of bytes[start, end), chained by its seed (MurmurHash3 x86_32). */
export function checksum32(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let h = seed | 0
  let at = start
  for (const stop = end - 3; at < stop; at += 4) {
    let k = Math.imul(word(bytes, at), 0xcc9e2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b873593)
    h = (h << 13) | (h >>> 19)
    h = (Math.imul(h, 5) + 0xe6546b64) | 0
  }
  let k = 0
  for (let i = end - at - 1; i >= 0; i--) k = (k << 8) | (bytes[at + i] as number)
  if (end > at) {
    k = Math.imul(k, 0xcc9e2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b873593)
  }
  return mix(h ^ (end - start)) >>> 0
}
