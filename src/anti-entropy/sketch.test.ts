import { describe, expect, test } from 'vitest'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import { Sketch, sketchKey } from './sketch.ts'
import type { Difference, Digest64 } from './sketch.ts'

const key = sketchKey(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))

function digests(chance: Prng, count: number): Digest64[] {
  return Array.from({ length: count }, () => ({ high: chance.uint32(), low: chance.uint32() }))
}

function sketchOf(items: readonly Digest64[], size: number): Sketch {
  const sketch = new Sketch(size, key)
  for (const { high, low } of items) sketch.add(high, low)
  return sketch
}

function names(items: readonly Digest64[]): string[] {
  return items.map(({ high, low }) => `${high}-${low}`).sort()
}

/** Cells until the difference is whole. */
function cellsNeeded(mine: Sketch, theirs: Sketch, from: number): number {
  for (let cells = from; cells <= mine.size; cells++) {
    if (mine.difference(theirs, cells) !== undefined) return cells
  }
  return Infinity
}

describe('sketch', () => {
  test('[AE4] finds exactly the digests that two sets do not share, from any prefix that is long enough', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const chance = prng(seed)
      const shared = digests(chance, chance.below(500))
      const mine = digests(chance, chance.below(40))
      const theirs = digests(chance, chance.below(40))
      const [a, b] = [sketchOf([...shared, ...mine], 512), sketchOf([...theirs, ...shared], 512)]
      const received = new Sketch(512, key)
      let cells = 0
      let found: Difference | undefined
      while (found === undefined && cells < 512) {
        cells = received.fill(cells, b.encode(cells, cells + 16))
        found = a.difference(received, cells)
        if (found !== undefined) break
      }
      expect(names(found?.mine ?? [])).toEqual(names(mine))
      expect(names(found?.theirs ?? [])).toEqual(names(theirs))
    }
  })

  test('[AE4] equal sets differ in nothing, and their first cell says so', () => {
    const items = digests(prng(1), 100)
    const [a, b] = [sketchOf(items, 8), sketchOf(items.toReversed(), 8)]
    expect(a.difference(b, 1)).toEqual({ mine: [], theirs: [] })
  })

  test('[AE4] takes the cells and bytes that the paper promises', () => {
    const chance = prng(7)
    const shared = digests(chance, 10_000)
    for (const [differences, mean] of [
      [1, 1],
      [2, 2],
      [10, 2],
      [100, 1.55],
      [1000, 1.45],
    ] as const) {
      let cells = 0
      const rounds = differences > 500 ? 2 : 10
      for (let round = 0; round < rounds; round++) {
        const more = digests(chance, differences)
        const size = Math.max(16, 4 * differences)
        const needed = cellsNeeded(sketchOf(more, size), sketchOf([], size), differences)
        expect(needed).toBeLessThanOrEqual(8 * differences)
        cells += needed
      }
      expect(cells / rounds / differences).toBeLessThanOrEqual(mean)
    }
    const sketch = sketchOf(shared, 1024)
    // The table in the reference: 280 bytes for 16 cells, 2.2 k for 128, 9.0 k for 512, 17.9 k for 1,024.
    for (const [size, bytes] of [
      [16, 280],
      [128, 2240],
      [512, 9000],
      [1024, 17_900],
    ] as const) {
      expect(sketch.encode(0, size).length).toBeLessThanOrEqual(bytes)
    }
  })

  test('[AE4] cells that were made up never decode to more than they are, and never throw but malformed', () => {
    const chance = prng(3)
    for (let round = 0; round < 300; round++) {
      const sketch = new Sketch(32, key)
      const honest = sketchOf(digests(chance, 5), 32).encode(0, 32)
      const bytes = honest.slice(0, chance.below(honest.length + 1))
      for (let i = 0; i < 3 && bytes.length > 0; i++) bytes[chance.below(bytes.length)] = chance.below(256)
      try {
        const cells = sketch.fill(0, bytes)
        const found = sketchOf([], 32).difference(sketch, cells)
        expect((found?.mine.length ?? 0) + (found?.theirs.length ?? 0)).toBeLessThanOrEqual(32)
      } catch (error) {
        expect(error).toMatchObject({ code: 'malformed' })
      }
    }
    // One digest, as if it were there and not there in turn: it would peel for ever.
    const evil = new Sketch(4, key)
    evil.add(1, 2)
    const cells = evil.encode(0, 1)
    const twisted = new Sketch(4, key)
    for (let at = 0; at < 4; at++) twisted.fill(at, cells)
    expect(new Sketch(4, key).difference(twisted, 4)).toBeUndefined()
  })
})
