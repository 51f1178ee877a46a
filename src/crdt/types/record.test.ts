import { describe, expect, test } from 'vitest'
import { pathOf } from '../cell.ts'
import { record } from './record.ts'
import { Writer, meet } from './writers.test-model.ts'

const writers = (): [Writer<unknown>, Writer<unknown>, Writer<unknown>] => [
  new Writer(record, 1),
  new Writer(record, 2),
  new Writer(record, 3),
]
const set = (writer: Writer<unknown>, fields: unknown): unknown => writer.do('set', { fields })

describe('writing', () => {
  test('only the fields that are named are written', () => {
    const [a] = writers()
    set(a, { status: 'todo', owner: { name: 'ann', team: 'x' }, tags: ['p', 'q'] })
    set(a, { owner: { name: 'bob' }, extra: undefined })
    expect(a.value).toEqual({ status: 'todo', owner: { name: 'bob', team: 'x' }, tags: ['p', 'q'] })
  })

  test('two writers of different fields never meet, nested or not', () => {
    const [a, b] = writers()
    set(a, { x: 1, deep: { one: 1 } })
    set(b, { y: 2, deep: { two: 2 } })
    meet(a, b)
    expect(a.reading).toEqual({ value: { x: 1, y: 2, deep: { one: 1, two: 2 } }, concurrent: [] })
  })

  test('a field that says what it says already is not written', () => {
    const [a, b] = writers()
    set(a, { x: 1, deep: { one: [1, { z: 1 }], none: {} } })
    expect(set(a, { x: 1, deep: { one: [1, { z: 1 }], none: {} } })).toBeUndefined()
    b.hear(a)
    const delta = b.do('set', { fields: { x: 1, y: 2 } })
    expect(delta?.writes.map(({ path }) => path)).toEqual([pathOf(['y'])])
  })

  test('an array is one value', () => {
    const [a, b] = writers()
    set(a, { tags: ['p'] })
    meet(a, b)
    set(a, { tags: ['p', 'a'] })
    set(b, { tags: ['p', 'b'] })
    meet(a, b)
    expect(a.value).toEqual({ tags: ['p', 'b'] })
    expect(a.lost).toEqual([{ path: ['tags'], value: ['p', 'a'] }])
  })

  test('a scalar takes the place of an object, and an object that of a scalar', () => {
    const [a] = writers()
    set(a, { x: { y: { z: 1 }, w: 2 }, xx: 1 })
    set(a, { x: 'scalar' })
    expect(a.reading).toEqual({ value: { x: 'scalar', xx: 1 }, concurrent: [] })
    expect(a.paths).toEqual([pathOf(['x']), pathOf(['xx'])])
    set(a, { x: { y: { z: 2 } } })
    expect(a.value).toEqual({ x: { y: { z: 2 } }, xx: 1 })
    expect(a.paths).toEqual([pathOf(['xx']), pathOf(['x', 'y', 'z'])])
  })

  test('{} says that an object stands there and leaves its fields alone', () => {
    const [a] = writers()
    set(a, { x: {} })
    expect(a.value).toEqual({ x: {} })
    set(a, { x: { y: 1 } })
    expect(set(a, { x: {} })).toBeUndefined()
    expect(a.value).toEqual({ x: { y: 1 } })
    a.do('unset', { paths: [['x', 'y']] })
    expect(a.value).toEqual({ x: {} })
    set(a, { x: 1 })
    set(a, { x: {} })
    expect(a.reading).toEqual({ value: { x: {} }, concurrent: [] })
  })

  test('more names than a short header takes, and as deep as values go', () => {
    const [a] = writers()
    const nested = (depth: number, leaf: unknown): unknown => (depth === 0 ? leaf : { x: nested(depth - 1, leaf) })
    for (const depth of [14, 15, 16, 17, 32]) {
      set(a, nested(depth, depth))
      expect(a.value).toEqual(nested(depth, depth))
      expect(a.paths).toHaveLength(1)
    }
    set(a, { x: 'flat' })
    expect(a.value).toEqual({ x: 'flat' })
    expect(a.refusal('set', { fields: nested(33, 1) })).toBe('too_deep')
    expect(a.refusal('set', { fields: nested(20, [[[[[[[[[[[[[1]]]]]]]]]]]]]) })).toBe('too_deep')
    const cycle: Record<string, unknown> = {}
    cycle['x'] = cycle
    expect(a.refusal('set', { fields: cycle })).toBe('too_deep')
  })
})

describe('unset', () => {
  test('takes a field and all below it, and nothing that only starts alike', () => {
    const [a] = writers()
    set(a, { x: { y: 1, yy: { z: 1 } }, xy: 1, 'x.y': 2 })
    a.do('unset', { paths: [['x', 'yy'], 'xy'] })
    expect(a.value).toEqual({ x: { y: 1 }, 'x.y': 2 })
    a.do('unset', { paths: ['x', ['x', 'y']] })
    expect(a.value).toEqual({ 'x.y': 2 })
    expect(a.do('unset', { paths: ['x', 'never', ['x.y', 'z']] })).toBeUndefined()
  })

  test('a field set beside its removal stays', () => {
    const [a, b] = writers()
    set(a, { x: { y: 1, z: 1 } })
    meet(a, b)
    a.do('unset', { paths: ['x'] })
    set(b, { x: { y: 2 } })
    meet(a, b)
    expect(a.reading).toEqual({ value: { x: { y: 2 } }, concurrent: [] })
  })

  test('says which path is none', () => {
    const [a] = writers()
    for (const path of [1, null, [], ['x', 1], '\ud800', Array.from({ length: 33 }, () => 'x')]) {
      expect(a.refusal('unset', { paths: ['x', path] })).toBe('invalid_argument')
    }
    expect(() => a.do('unset', { paths: ['x', 1] })).toThrow('paths[1]')
  })
})

describe('a scalar beside its own sub-paths', () => {
  test('the newer side is shown wholly, the other is concurrent', () => {
    const [a, b, c] = writers()
    set(a, { x: { y: 1 } })
    set(b, { x: 'scalar' })
    meet(a, b)
    expect(a.value).toEqual({ x: 'scalar' })
    expect(a.lost).toEqual([{ path: ['x', 'y'], value: 1 }])
    // Somebody who had not heard of the scalar goes on with the object: now that is the newer side.
    set(c, { x: { z: 2 } })
    meet(a, b, c)
    expect(a.value).toEqual({ x: { y: 1, z: 2 } })
    expect(a.lost).toEqual([{ path: ['x'], value: 'scalar' }])
  })

  test('the next write settles it, on either side', () => {
    for (const fields of [{ x: 'scalar' }, { x: { y: 1 } }, { x: { new: 1 } }]) {
      const [a, b] = writers()
      set(a, { x: { y: 1 } })
      set(b, { x: 'scalar' })
      meet(a, b)
      set(b, fields)
      meet(a, b)
      expect(a.lost).toEqual([])
      expect(a.value).toEqual(typeof fields.x === 'string' ? fields : { x: { y: 1, ...fields.x } })
    }
  })
})

test('an object that was said to stand beside a scalar stands on when the scalar is settled', () => {
  const [a, b] = writers()
  set(a, { x: {} })
  set(b, { x: 'scalar' })
  meet(a, b)
  expect(a.lost).toEqual([{ path: ['x'], value: {} }])
  set(a, { x: { y: 1 } })
  a.do('unset', { paths: [['x', 'y']] })
  expect(a.reading).toEqual({ value: { x: {} }, concurrent: [] })
})

describe('names', () => {
  test('__proto__ is refused, at any depth, and is no way into the prototype', () => {
    const [a] = writers()
    const poisoned = JSON.parse('{"__proto__": {"polluted": 1}}') as unknown
    expect(a.refusal('set', { fields: poisoned })).toBe('reserved_name')
    expect(a.refusal('set', { fields: { x: poisoned } })).toBe('reserved_name')
    expect(a.refusal('set', { fields: { x: [poisoned] } })).toBe('reserved_name')
    a.forge([
      [pathOf(['__proto__']), { polluted: 1 }],
      [pathOf(['__proto__', 'polluted']), 1],
      [pathOf(['x', '__proto__', 'polluted']), 1],
      [pathOf(['fine']), 1],
    ])
    expect(a.value).toEqual({ fine: 1 })
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  test('names that objects inherit, look like integers or are empty are names', () => {
    const [a] = writers()
    const fields = { constructor: 1, toString: { valueOf: 2 }, hasOwnProperty: 3, '': 4, '10': 5, '9': { '': 6 } }
    set(a, fields)
    expect(a.value).toStrictEqual(fields)
    expect(Object.hasOwn(a.value as object, 'constructor')).toBe(true)
  })

  test('lone surrogates, class instances and what is no object are refused', () => {
    const [a] = writers()
    expect(a.refusal('set', { fields: { '\ud800': 1 } })).toBe('invalid_value')
    expect(a.refusal('set', { fields: { x: { '\ud800': 1 } } })).toBe('invalid_value')
    for (const value of [new Date(0), new Map(), () => 1, Symbol('s'), 1n, Number.NaN]) {
      expect(a.refusal('set', { fields: { x: value } })).toBe('invalid_value')
    }
    for (const fields of [undefined, null, 1, 'x', [1], new Date(0), new Map(), new Uint8Array(1)]) {
      expect(a.refusal('set', { fields })).toBe('invalid_argument')
    }
    expect(a.refusal('set', { fields: { ['x'.repeat(2000)]: 1 } })).toBe('too_large')
  })
})

test('paths that are none are skipped', () => {
  const [a] = writers()
  a.forge([
    [pathOf(null), 1],
    [pathOf('x'), 1],
    [pathOf([]), 1],
    [pathOf([1]), 1],
    [pathOf(['x', 1]), 1],
    [pathOf({ x: 1 }), 1],
    [pathOf(Array.from({ length: 40 }, () => 'x')), 1],
  ])
  expect(a.reading).toEqual({ value: {}, concurrent: [] })
  set(a, { x: 1 })
  a.do('unset', { paths: ['x'] })
  expect(a.value).toEqual({})
})

test('more names than the cache holds are all still right', () => {
  const [a] = writers()
  const names = Array.from({ length: 5000 }, (_, at) => `name ${at}`)
  set(a, Object.fromEntries(names.map((name, at) => [name, at])))
  expect(Object.keys(a.value as object)).toHaveLength(5000)
  set(a, { 'name 0': 'again', 'name 4999': 'again' })
  expect(a.value).toMatchObject({ 'name 0': 'again', 'name 1': 1, 'name 4999': 'again' })
})
