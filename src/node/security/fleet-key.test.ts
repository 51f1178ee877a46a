import { expect, test } from 'vitest'
import { SkeinError } from '../../base/errors.ts'
import { fleetKeyName, newFleetKey, parseFleetKey, parseFleetKeys } from './fleet-key.ts'

test('a key is text that comes back as 32 bytes, different every time', () => {
  const [one, two] = [newFleetKey(), newFleetKey()]
  expect(one).toMatch(/^skf1_[\w-]{48}$/)
  expect(parseFleetKey(one).length).toBe(32)
  expect(parseFleetKey(` ${one}\n`)).toEqual(parseFleetKey(one))
  expect(parseFleetKey(one)).not.toEqual(parseFleetKey(two))
  expect(parseFleetKeys([one, two]).length).toBe(2)
  expect(fleetKeyName(parseFleetKey(one))).toMatch(/^[\da-f]{8}$/)
})

test('a key that is cut, changed or something else is refused, and the error does not repeat it', () => {
  const key = newFleetKey()
  const changed = Array.from({ length: key.length }, (_, at) => {
    const other = key[at] === 'A' ? 'B' : 'A'
    return key.slice(0, at) + other + key.slice(at + 1)
  })
  for (const bad of [
    '',
    'skf1_',
    key.slice(0, -1),
    `${key}A`,
    key.slice(5),
    key.toLowerCase(),
    `ski1_${key.slice(5)}`,
    ...changed,
  ]) {
    let error: unknown
    try {
      parseFleetKey(bad)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(SkeinError)
    expect((error as SkeinError).code).toBe('fleet_key_invalid')
    expect((error as SkeinError).message).not.toContain(key.slice(10, 20))
  }
  expect(() => parseFleetKeys(Array.from({ length: 5 }, newFleetKey))).toThrow(/at most 4/)
})
