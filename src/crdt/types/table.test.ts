import { expect, test } from 'vitest'
import { typeNamed, typeOf, types } from './table.ts'

test('numbers and names are for ever: this list may only grow', () => {
  expect(Object.fromEntries(types.map(({ id, name }) => [name, id]))).toMatchObject({
    register: 1,
    record: 2,
    counter: 3,
    set: 4,
    flag: 5,
    log: 6,
    list: 7,
    claim: 8,
  })
})

test('a type is found by number and by name, and an unknown one is not', () => {
  for (const type of types) {
    expect(typeOf(type.id)).toBe(type)
    expect(typeNamed(type.name)).toBe(type)
  }
  expect(typeOf(0)).toBeUndefined()
  expect(typeNamed('constructor')).toBeUndefined()
})

test('every type says in one line how it merges, and every spread argument is the last', () => {
  for (const type of types) {
    expect(type.merge).toMatch(/^[a-z].{10,}$/)
    for (const { parameters, spread } of Object.values(type.operations))
      if (spread) expect(parameters.length).toBeGreaterThan(0)
  }
})
