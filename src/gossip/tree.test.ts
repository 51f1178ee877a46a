import { describe, expect, test } from 'vitest'
import { prng } from '../base/prng.ts'
import { mostHops, Tree } from './tree.ts'

const [a, b, c] = [3, 7, 20] as const

describe('a tree of another writer', () => {
  test('[G19] chance does not change the source: of two that are alike it is always the other one that is needless', () => {
    const tree = new Tree('other')
    const random = prng(1)
    tree.arrived(a, 3, 0)
    for (let nowMs = 10; nowMs < 1000; nowMs += 10) {
      const [first, second] = random.chance(500) ? [a, b] : [b, a]
      tree.arrived(first, 3, nowMs)
      expect(tree.repeated(second, 3, nowMs + random.below(3))).toBe(b)
    }
  })

  test('[G19] fewer hops win when they come about as soon, whoever was first', () => {
    const tree = new Tree('other')
    tree.arrived(a, 4, 0)
    expect(tree.hops).toBe(4)
    expect(tree.repeated(b, 2, 3)).toBe(a)
    tree.arrived(c, 1, 10)
    expect(tree.repeated(b, 2, 12)).toBe(b)
    tree.arrived(b, 2, 20)
    expect(tree.repeated(c, 1, 30)).toBe(c)
  })

  test('[G19] the source changes for one that is much sooner', () => {
    const tree = new Tree('other')
    tree.arrived(a, 2, 0)
    tree.arrived(b, 5, 100)
    expect(tree.repeated(a, 2, 150)).toBe(a)
    tree.arrived(b, 5, 200)
    expect(tree.repeated(a, 2, 201)).toBe(b)
  })

  test('[G19] a source that is silent of what others bring is none any more', () => {
    const tree = new Tree('other')
    tree.arrived(a, 2, 0)
    // Both in one burst: the source may still come.
    tree.arrived(b, 3, 100)
    tree.arrived(b, 3, 101)
    expect(tree.repeated(a, 2, 102)).toBe(b)
    tree.arrived(b, 3, 200)
    tree.arrived(b, 3, 300)
    expect(tree.repeated(c, 3, 301)).toBe(c)
  })

  test('a source whose link ends makes room for whoever is next', () => {
    const tree = new Tree('other')
    tree.arrived(a, 1, 0)
    tree.vacate(a)
    expect(tree.repeated(b, 6, 1)).toBeUndefined()
    expect(tree.repeated(c, 6, 1)).toBe(c)
  })

  test('hops have a bound', () => {
    const tree = new Tree('other')
    tree.arrived(a, 1000, 0)
    expect(tree.hops).toBe(mostHops)
  })
})

test('what this node wrote is needless from everybody', () => {
  const tree = new Tree('own')
  expect(tree.repeated(a, 2, 0)).toBe(a)
  expect(tree.repeated(b, 1, 0)).toBe(b)
})

test('in a shared tree each link that brings news is needed: writers are on different sides', () => {
  const tree = new Tree('shared')
  tree.arrived(a, 1, 0)
  expect(tree.repeated(b, 1, 0)).toBe(b)
  expect(tree.counts(b, 2)).toBe(false)
  tree.arrived(b, 4, 10)
  expect(tree.counts(b, 2)).toBe(false)
  expect(tree.counts(b, 2)).toBe(true)
  expect(tree.hops).toBe(0)
})

test('[G14] duplicates are counted up to a number, and begin anew', () => {
  const tree = new Tree('other')
  expect([1, 2, 3, 4, 5, 6].map(() => tree.counts(a, 3))).toEqual([false, false, true, false, false, true])
  tree.prune(a)
  expect(tree.pushes(a, true)).toBe(false)
  tree.graft(a)
  expect(tree.pushes(a, false)).toBe(true)
})
