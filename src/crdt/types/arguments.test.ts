import { describe, expect, test } from 'vitest'
import { bytes, choice, fields, has, integer, key, list, text, value, values } from './arguments.ts'

const naming = (name: string): unknown =>
  expect.objectContaining({ code: 'invalid_argument', details: { argument: name } })

describe('what is not of its kind is refused by name', () => {
  test.each([
    ['an integer', () => integer({ n: 1.5 }, 'n')],
    ['an integer in its range', () => integer({ n: 4 }, 'n', { min: 5 })],
    ['an integer up to its end', () => integer({ n: 4 }, 'n', { max: 3 })],
    ['an exact integer', () => integer({ n: 2 ** 53 }, 'n')],
    ['an integer, not its text', () => integer({ n: '1' }, 'n')],
    ['an integer, not nothing', () => integer({}, 'n')],
    ['an own integer', () => integer(Object.create({ n: 1 }) as Record<string, unknown>, 'n')],
    ['text', () => text({ n: 1 }, 'n')],
    ['well-formed text', () => text({ n: '\ud800' }, 'n')],
    ['a name', () => key({ n: '' }, 'n')],
    ['a well-formed name', () => key({ n: '\udc00' }, 'n')],
    ['one of a few', () => choice({ n: 'c' }, 'n', ['a', 'b'], 'a')],
    ['a list', () => list({ n: { length: 1 } }, 'n')],
    ['fields', () => fields({ n: [] }, 'n')],
    ['fields, not a class', () => fields({ n: new Date(0) }, 'n')],
    ['bytes', () => bytes({ n: [1] }, 'n')],
    ['a value', () => value({}, 'n')],
  ])('%s', (_kind, check) => {
    expect(check).toThrow(naming('n'))
    expect(check).toThrow(/^n must be /)
  })

  test('a list that holds undefined says where', () => {
    expect(() => values({ n: [1, undefined] }, 'n')).toThrow(naming('n[1]'))
  })
})

test('what is of its kind comes through', () => {
  expect(integer({ n: -5 }, 'n')).toBe(-5)
  expect(Object.is(integer({ n: -0 }, 'n'), 0)).toBe(true)
  expect(integer({ n: 5 }, 'n', { min: 5, max: 5 })).toBe(5)
  expect(text({ n: '' }, 'n')).toBe('')
  expect(key({ n: '😀' }, 'n')).toBe('😀')
  expect(choice({}, 'n', ['a', 'b'], 'b')).toBe('b')
  expect(choice({ n: 'a' }, 'n', ['a', 'b'], 'b')).toBe('a')
  expect(list({ n: [] }, 'n')).toEqual([])
  expect(fields({ n: Object.create(null) as object }, 'n')).toEqual({})
  expect([...bytes({ n: Buffer.from([1]) }, 'n')]).toEqual([1])
  expect([...value({ n: null }, 'n')]).toEqual([0xc0])
  expect(values({ n: [1, 'a'] }, 'n').map((item) => [...item])).toEqual([[1], [0xa1, 0x61]])
  expect(has({ n: null }, 'n')).toBe(true)
  expect(has({}, 'n')).toBe(false)
})

test('the message shows what was given, shortly', () => {
  expect(() => integer({ n: 'abc' }, 'n')).toThrow('not "abc"')
  expect(() => integer({ n: 'a'.repeat(100) }, 'n')).toThrow('not a string')
  expect(() => integer({}, 'n', { min: 1 })).toThrow('n must be a whole number from 1, it is missing')
})
