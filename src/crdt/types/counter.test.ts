import { describe, expect, test } from 'vitest'
import { pathValue } from '../cell.ts'
import { originId } from '../dot.ts'
import { counter, counterPath } from './counter.ts'
import { Writer, meet } from './writers.test-model.ts'

const node = (name: number, incarnation: number = 1): Writer<number> => new Writer(counter, name, incarnation)

test('everybody counts, and nobody counts twice', () => {
  const [a, b] = [node(1), node(2)]
  a.do('incr', { by: 5 })
  b.do('incr', { by: -2 })
  meet(a, b)
  a.do('incr', { by: 1 })
  b.do('incr', { by: 1 })
  meet(a, b)
  meet(a, b)
  expect(a.value).toBe(5)
  expect(a.paths.map(pathValue)).toHaveLength(2)
})

test('adding nothing is no write', () => {
  const a = node(1)
  expect(a.do('incr', { by: 0 })).toBeUndefined()
  expect(a.do('incr', { by: -0 })).toBeUndefined()
  expect(a.value).toBe(0)
})

describe('over restarts', () => {
  test('the first increment of an incarnation takes up its predecessors: one cell a node', () => {
    const a = node(1)
    for (let incarnation = 1; incarnation <= 6; incarnation++) {
      a.origin = node(1, incarnation).origin
      a.do('incr', { by: 10 })
      a.do('incr', { by: 1 })
    }
    expect(a.value).toBe(66)
    expect(a.paths).toEqual([counterPath(a.origin)])
  })

  test('a hundred restarts neither lose nor double, and the value that each increment writes stays small', () => {
    const a = node(1)
    let largest = 0
    for (let incarnation = 1; incarnation <= 100; incarnation++) {
      a.origin = node(1, incarnation).origin
      for (let step = 0; step < 3; step++) {
        const delta = a.do('incr', { by: 1 })
        for (const { value } of delta?.writes ?? []) largest = Math.max(largest, value?.length ?? 0)
      }
    }
    expect(a.value).toBe(300)
    expect(largest).toBeLessThan(260)
    expect(a.paths.length).toBeLessThanOrEqual(12)
  })

  test('other nodes are not taken up', () => {
    const [a, b] = [node(1), node(2)]
    a.do('incr', { by: 1 })
    b.hear(a).do('incr', { by: 1 })
    expect(b.paths).toHaveLength(2)
  })

  test('two successors of one restored disk count their predecessor once', () => {
    const disk = node(1, 1)
    disk.do('incr', { by: 100 })
    const [x, y] = [node(1, 2).hear(disk), node(1, 3).hear(disk)]
    x.do('incr', { by: 1 })
    y.do('incr', { by: 2 })
    meet(x, y)
    expect(x.value).toBe(103)
    // And a successor of both takes up all three.
    const z = node(1, 4).hear(x)
    z.do('incr', { by: 4 })
    meet(x, y, z)
    expect(z.value).toBe(107)
    expect(z.paths).toHaveLength(1)
  })

  test('a predecessor that writes on, unseen, is counted with what it wrote', () => {
    const old = node(1, 1)
    old.do('incr', { by: 100 })
    const next = node(1, 2).hear(old)
    next.do('incr', { by: 1 })
    old.do('incr', { by: 10 })
    meet(old, next)
    expect(next.value).toBe(111)
    // Having heard of its successor it goes on from the record, not from nothing.
    old.do('incr', { by: 1000 })
    meet(old, next)
    old.do('incr', { by: 1000 })
    next.do('incr', { by: 5 })
    meet(old, next)
    expect(next.value).toBe(2116)
  })

  test('a twin of a node that was taken for a predecessor goes on from the record of it, and takes its turn', () => {
    const [x, y] = [node(1, 1), node(1, 2)]
    for (let round = 0; round < 4; round++) {
      x.hear(y).do('incr', { by: 100 })
      y.hear(x).do('incr', { by: 1 })
      expect(y.value).toBe(101 * (round + 1))
      expect(y.paths).toEqual([counterPath(y.origin)])
    }
  })

  test('a successor that is behind does not hide what its predecessor wrote last', () => {
    const old = node(1, 1)
    old.do('incr', { by: 1 })
    const restored = node(1, 2).hear(old)
    old.do('incr', { by: 1 })
    old.do('incr', { by: 1 })
    restored.do('incr', { by: 10 })
    meet(old, restored)
    expect(old.value).toBe(13)
  })
})

describe('nonsense', () => {
  const good = node(7).origin
  const bad = originId('f'.repeat(32))

  test.each([
    ['no array', 1],
    ['too short', [1, 2]],
    ['too long', [1, 2, [], 3]],
    ['a negative total', [-1, 0, []]],
    ['a fraction', [0.5, 0, []]],
    ['beyond the exact integers', [2 ** 53, 0, []]],
    ['a record cut short', [1, 0, [[new Uint8Array(16), 1, 1]]]],
    ['a record of a stranger', [1, 0, [[new Uint8Array(16), 9, 1, 0]]]],
    ['an origin of another length', [1, 0, [[new Uint8Array(3), 1, 1, 0]]]],
  ])('%s counts nothing', (_what, value) => {
    const a = node(1)
    a.do('incr', { by: 3 })
    a.forge([[counterPath(good), value]])
    expect(a.value).toBe(3)
    a.do('incr', { by: 1 })
    expect(a.value).toBe(4)
  })

  test('cells that no origin names count nothing', () => {
    const a = node(1)
    a.forge([
      ['\xc0', [1, 0, []]],
      ['\xa1a', [1, 0, []]],
      ['\xc4\x02ab', [1, 0, []]],
    ])
    expect(a.value).toBe(0)
  })

  test('what another wrote into an origin’s cell counts until the origin says otherwise', () => {
    const a = node(1)
    a.forge([[counterPath(a.origin), [7, 0, []]]])
    expect(a.value).toBe(7)
    a.do('incr', { by: 1 })
    expect(a.value).toBe(8)
    const b = node(2)
    b.do('incr', { by: 1 })
    b.forge([[counterPath(b.origin), [50, 0, []]]])
    expect(b.value).toBe(1)
    expect(counterPath(bad)).toBe(`\xc4\x10${'\xff'.repeat(16)}`)
  })
})
