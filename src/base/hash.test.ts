import { describe, expect, test } from 'vitest'
import { toHex, utf8 } from './bytes.ts'
import { checksum32, hash128, lanes } from './hash.ts'

/** The result as MurmurHash3 lays it out in memory: four little-endian words. */
function murmur128(bytes: Uint8Array, seed: number): Uint8Array {
  hash128(bytes, 0, bytes.length, seed, seed, seed, seed)
  const out = new Uint8Array(16)
  const view = new DataView(out.buffer)
  for (let lane = 0; lane < 4; lane++) view.setUint32(4 * lane, lanes[lane] as number, true)
  return out
}

function murmur32(bytes: Uint8Array, seed: number): Uint8Array {
  const out = new Uint8Array(4)
  new DataView(out.buffer).setUint32(0, checksum32(bytes, 0, bytes.length, seed), true)
  return out
}

/** The verification value of SMHasher, the suite that MurmurHash3 comes from: a hash over 256 hashes. */
function verification(hash: (bytes: Uint8Array, seed: number) => Uint8Array): number {
  const hashes: number[] = []
  for (let length = 0; length < 256; length++) {
    const key = Uint8Array.from({ length }, (_, at) => at)
    hashes.push(...hash(key, 256 - length))
  }
  return new DataView(hash(Uint8Array.from(hashes), 0).buffer).getUint32(0, true)
}

describe('MurmurHash3', () => {
  test('x86_128 has the verification value that SMHasher publishes', () => {
    expect(verification(murmur128).toString(16)).toBe('b3ece62a')
  })

  test('x86_32 has the verification value that SMHasher publishes', () => {
    expect(verification(murmur32).toString(16)).toBe('b0f57ee3')
  })

  test('x86_32 of known texts', () => {
    const of = (text: string, seed: number): string => checksum32(utf8(text), 0, utf8(text).length, seed).toString(16)
    expect(of('', 0)).toBe('0')
    expect(of('', 1)).toBe('514e28b7')
    expect(of('test', 0)).toBe('ba6bd213')
    expect(of('Hello, world!', 0x9747b28c)).toBe('24884cba')
  })
})

test('a part of a larger array hashes like a copy of it, wherever it starts', () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, at) => (at * 37) & 0xff)
  for (let start = 0; start < 20; start++) {
    for (let end = start; end < 60; end += 7) {
      const copy = bytes.slice(start, end)
      hash128(bytes, start, end, 1, 2, 3, 4)
      const found = [...lanes]
      hash128(copy, 0, copy.length, 1, 2, 3, 4)
      expect(found).toEqual([...lanes])
      expect(checksum32(bytes, start, end, 5)).toBe(checksum32(copy, 0, copy.length, 5))
    }
  }
})

test('[C4.21] chained hashes of one piece twice do not cancel, and trailing zeros count', () => {
  const piece = utf8('the same piece')
  const seen = new Set<string>()
  let chain = [0, 0, 0, 0] as [number, number, number, number]
  for (let round = 0; round < 100; round++) {
    hash128(piece, 0, piece.length, ...chain)
    chain = [...lanes] as [number, number, number, number]
    seen.add(chain.join())
  }
  expect(seen.size).toBe(100)
  const zeros = new Set(Array.from({ length: 40 }, (_, length) => toHex(murmur128(new Uint8Array(length), 7))))
  expect(zeros.size).toBe(40)
})
