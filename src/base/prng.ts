/**
 * sfc32, a small fast generator with a period of about 2^128. Pure code that needs chance takes one of these as an
 * argument, so that a run is a seed.
 */
export interface Prng {
  /** 0 to 2^32 - 1. */
  uint32(): number
  /** An integer from 0 to below `n`. */
  below(n: number): number
  /** true with this probability. */
  chance(probability: number): boolean
  pick<T>(items: readonly T[]): T
  /** A generator of its own: streams that do not disturb one another when one of them draws more. */
  fork(stream: number): Prng
}

export function prng(seed: number): Prng {
  let a = 0x9e3779b9 ^ seed
  let b = 0x243f6a88 ^ Math.imul(seed, 0x85ebca6b)
  let c = 0xb7e15162 ^ Math.imul(seed, 0xc2b2ae35)
  let d = 1
  const uint32 = (): number => {
    const t = (((a + b) | 0) + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return t >>> 0
  }
  for (let round = 0; round < 12; round++) uint32()
  const below = (n: number): number => Math.floor((uint32() / 0x1_0000_0000) * n)
  return {
    uint32,
    below,
    chance: (probability) => uint32() / 0x1_0000_0000 < probability,
    pick: <T>(items: readonly T[]): T => items[below(items.length)] as T,
    fork: (stream) => prng(uint32() ^ Math.imul(stream + 1, 0x9e3779b1)),
  }
}
