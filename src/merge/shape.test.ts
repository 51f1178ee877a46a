import { Ajv } from 'ajv'
import { expect, test } from 'vitest'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import type { Value } from '../base/value.ts'
import { checkShape, fitsShape } from './shape.ts'
import type { Known } from './shape.ts'

const names = ['a', 'b', 'c']
const values: readonly Value[] = [1, 2.5, -3, 'x', 'yes', '', null, true, [1]]

function randomShape(chance: Prng, depth: number): { [word: string]: Value } {
  const shape: { [word: string]: Value } = {}
  const field = (): Value =>
    chance.pick<() => Value>([
      () => ({ type: chance.pick(['null', 'boolean', 'integer', 'number', 'string', 'array']) }),
      () => ({ const: chance.pick(values) }),
      () => ({ enum: [chance.pick(values), 'other'] }),
      () => ({ pattern: chance.pick(['^x', 's$', 'e']) }),
      () => ({ minLength: 2 }),
      () => ({ maxLength: 1 }),
      () => ({ minimum: 1 }),
      () => ({ maximum: 1 }),
    ])()
  const inner = (): Value => (depth > 2 ? { required: ['a'] } : randomShape(chance, depth + 1))
  if (chance.chance(0.4)) shape['required'] = [chance.pick(names)]
  if (chance.chance(0.5)) shape['properties'] = { [chance.pick(names)]: field() }
  if (chance.chance(0.2)) shape['dependentRequired'] = { [chance.pick(names)]: [chance.pick(names)] }
  if (chance.chance(0.2)) for (const word of ['if', 'then', 'else']) shape[word] = inner()
  if (chance.chance(0.2)) shape['not'] = inner()
  for (const word of ['allOf', 'anyOf', 'oneOf']) if (chance.chance(0.15)) shape[word] = [inner(), inner()]
  return shape
}

test('[M13] a shape means what JSON Schema means by it', () => {
  const chance = prng(2)
  const ajv = new Ajv({ strict: false, logger: false })
  let right = 0
  for (let round = 0; round < 500; round++) {
    const shape = randomShape(chance, 0)
    checkShape(shape)
    const object: { [name: string]: Value } = {}
    for (const name of names) if (chance.chance(0.6)) object[name] = chance.pick(values)
    const known = (name: string): Known => (Object.hasOwn(object, name) ? { value: object[name] as Value } : 'gone')
    // It knows the word by its older name.
    const older = JSON.parse(JSON.stringify(shape).replaceAll('dependentRequired', 'dependencies')) as object
    const isRight = ajv.validate(older, object)
    expect(fitsShape(shape, known), JSON.stringify([shape, object])).toBe(isRight)
    if (isRight) right++
  }
  expect(right).toBeGreaterThan(75)
  expect(right).toBeLessThan(475)
})

test('[M13] of what is not told there is a verdict only where every completion has it', () => {
  const chance = prng(3)
  let told = 0
  for (let round = 0; round < 1_000; round++) {
    const shape = randomShape(chance, 0)
    const object: Record<string, Known> = {}
    for (const name of names) {
      object[name] = chance.chance(0.4) ? undefined : chance.chance(0.3) ? 'gone' : { value: chance.pick(values) }
    }
    const verdict = fitsShape(shape, (name) => object[name])
    if (verdict === undefined) continue
    told++
    for (let completion = 0; completion < 10; completion++) {
      const whole = names.map((name): readonly [string, Known] => [
        name,
        object[name] ?? (chance.chance(0.3) ? 'gone' : { value: chance.pick(values) }),
      ])
      expect(fitsShape(shape, (name) => new Map(whole).get(name))).toBe(verdict)
    }
  }
  expect(told).toBeGreaterThan(100)
})

test('[M13] what is no shape is refused, and says where', () => {
  for (const wrong of [
    1,
    { colour: 1 },
    { required: 'a' },
    { properties: { a: { pattern: '(a+)+' } } },
    { properties: { a: { type: 'text' } } },
    { properties: { a: 1 } },
    { allOf: [] },
    { if: { nothing: 1 } },
    { not: { not: { not: { not: { not: { not: { not: { not: { not: {} } } } } } } } } },
  ]) {
    expect(() => checkShape(wrong), JSON.stringify(wrong)).toThrow(
      expect.objectContaining({ code: 'invalid_argument' }) as Error,
    )
  }
})
