import { expect, test } from 'vitest'
import { originId } from '../dot.ts'
import { State } from '../state.ts'
import { rootPath } from '../cell.ts'
import { register } from './register.ts'
import { Writer, meet } from './writers.test-model.ts'

test('a register never written shows nothing, and null is something', () => {
  const a = new Writer(register, 1)
  expect(a.reading).toEqual({ value: undefined, concurrent: [] })
  a.do('set', { value: null })
  expect(a.value).toBeNull()
})

test('the newest of concurrent writes is shown, the others with who wrote them', () => {
  const [a, b, c] = [1, 2, 3].map((name) => new Writer(register, name)) as [
    Writer<unknown>,
    Writer<unknown>,
    Writer<unknown>,
  ]
  a.do('set', { value: 'first' })
  const second = b.do('set', { value: 'second' })
  c.do('set', { value: 'third' })
  meet(a, b, c)
  expect(a.value).toBe('third')
  expect(a.lost).toEqual(['second', 'first'])
  expect(a.reading.concurrent[0]).toMatchObject({ agent: 'agent 2', dot: { origin: b.origin, seq: second?.seq } })
  // A write settles all of it.
  b.do('set', { value: 'settled' })
  meet(a, b, c)
  expect(c.reading).toEqual({ value: 'settled', concurrent: [] })
})

test('a time that two writers share is decided by the dot, alike on both', () => {
  const states = [1, 2].map((name) => {
    const state = new State()
    const origin = originId(String(name).repeat(32))
    state.local({ origin, time: 7 }, 'it', register, 'set', { value: name })
    return state
  }) as [State, State]
  const [a, b] = states
  a.merge(b)
  b.merge(a)
  for (const state of states) expect(register.read(state.entry('it').cells(1)).value).toBe(2)
})

test('writing what stands there alone changes nothing; writing it over siblings settles them', () => {
  const [a, b] = [new Writer(register, 1), new Writer(register, 2)]
  expect(a.do('set', { value: { x: 1, y: 0 } })).toBeDefined()
  expect(a.do('set', { value: { y: -0, x: 1 } })).toBeUndefined()
  b.do('set', { value: 'other' })
  meet(a, b)
  expect(b.do('set', { value: 'other' })).toBeDefined()
  expect(b.lost).toEqual([])
})

test('what has no canonical form is refused', () => {
  const a = new Writer(register, 1)
  expect(a.refusal('set', {})).toBe('invalid_argument')
  expect(a.refusal('set', { value: Number.NaN })).toBe('invalid_value')
  expect(a.refusal('set', { value: '\ud800' })).toBe('invalid_value')
  expect(a.refusal('set', { value: JSON.parse('{"__proto__":1}') as unknown })).toBe('reserved_name')
  expect(a.refusal('set', { value: 'x'.repeat(300_000) })).toBe('too_large')
  expect(a.refusal('set', Object.create({ value: 'inherited' }) as Record<string, unknown>)).toBe('invalid_argument')
})

test('cells that are not its own are not shown', () => {
  const a = new Writer(register, 1)
  a.forge([['\x91\x01', 'elsewhere']])
  expect(a.value).toBeUndefined()
  a.do('set', { value: 1 })
  a.forge([[rootPath, [undefined].length]])
  expect(a.value).toBe(1)
})
