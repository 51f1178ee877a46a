import { expect, test } from 'vitest'
import { pathOf } from '../cell.ts'
import { isNegative } from './existence.ts'
import { set } from './set.ts'
import { Writer, meet } from './writers.test-model.ts'

const writers = (): [Writer<unknown>, Writer<unknown>] => [new Writer(set, 1), new Writer(set, 2)]

test('elements are values: equal ones are one, and they read in the order of their bytes', () => {
  const [a] = writers()
  a.do('add', { values: ['b', 'a', { x: 1, y: -0 }, 1, { y: 0, x: 1 }, null, [1]] })
  expect(a.value).toEqual([1, { x: 1, y: 0 }, [1], 'a', 'b', null])
  expect(a.do('add', { values: ['a', null] })).toBeUndefined()
  expect(a.do('remove', { values: ['never there'] })).toBeUndefined()
})

test('an add wins over a concurrent removal', () => {
  const [a, b] = writers()
  a.do('add', { values: ['x', 'y'] })
  meet(a, b)
  a.do('remove', { values: ['x', 'y'] })
  b.do('remove', { values: ['x'] })
  b.do('add', { values: ['x'] })
  meet(a, b)
  expect(a.value).toEqual(['x'])
})

test('adding what is there is no write, so it does not shield from a removal', () => {
  const [a, b] = writers()
  a.do('add', { values: ['x'] })
  meet(a, b)
  expect(b.do('add', { values: ['x'] })).toBeUndefined()
  a.do('remove', { values: ['x'] })
  meet(a, b)
  expect(b.value).toEqual([])
})

test('a removal that asks to win does, over adds that it has not seen, until somebody adds anew', () => {
  const [a, b] = writers()
  a.do('remove', { values: ['x'], wins: 'remove' })
  b.do('add', { values: ['x'] })
  meet(a, b)
  expect(a.value).toEqual([])
  expect(a.do('add', { values: ['x'] })).toBeDefined()
  meet(a, b)
  expect(b.value).toEqual(['x'])
  expect([...a.cells.all()]).toHaveLength(1)
})

test('a plain removal leaves a negative that stands its strength, and clears one that is contested', () => {
  const [a, b] = writers()
  a.do('remove', { values: ['x'], wins: 'remove' })
  expect(a.do('remove', { values: ['x'] })).toBeUndefined()
  expect(a.do('remove', { values: ['x'], wins: 'remove' })).toBeUndefined()
  expect(a.cells.get(pathOf('x')).map(isNegative)).toEqual([true])
  b.do('add', { values: ['x'] })
  meet(a, b)
  a.do('remove', { values: ['x'] })
  expect(a.cells.empty).toBe(true)
})

test('a removal leaves nothing behind', () => {
  const [a] = writers()
  a.do('add', { values: [1, 2, 3] })
  a.do('remove', { values: [1, 2, 3] })
  expect(a.cells.empty).toBe(true)
})

test('what is neither true nor false in a cell is neither there nor not', () => {
  const [a] = writers()
  a.forge([
    [pathOf('x'), 1],
    [pathOf('y'), true],
  ])
  expect(a.value).toEqual(['y'])
  a.do('add', { values: ['x'] })
  expect(a.value).toEqual(['x', 'y'])
})

test('arguments are checked, and a refusal writes nothing of what came before', () => {
  const [a] = writers()
  expect(a.refusal('add', {})).toBe('invalid_argument')
  expect(a.refusal('add', { values: 'x' })).toBe('invalid_argument')
  expect(a.refusal('add', { values: ['x', undefined] })).toBe('invalid_argument')
  expect(a.refusal('add', { values: ['x', Number.NaN] })).toBe('invalid_value')
  expect(a.refusal('add', { values: ['x', 'y'.repeat(1100)] })).toBe('too_large')
  expect(a.refusal('remove', { values: ['x'], wins: 'always' })).toBe('invalid_argument')
})
