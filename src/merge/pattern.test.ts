import { expect, test } from 'vitest'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import { matches, patternOf } from './pattern.ts'

function randomPattern(chance: Prng): string {
  const atoms = ['a', 'b', '.', '[ab]', '[^a]', '[a-c]', '\\d', '\\w', '\\W', '\\.', '\\s', '1', ' ', '[\\d-]', '-']
  const times = ['', '', '', '*', '+', '?', '{2}', '{1,}', '{0,2}']
  const branch = (): string => {
    let text = chance.chance(0.4) ? '^' : ''
    for (let left = chance.below(5); left > 0; left--) text += chance.pick(atoms) + chance.pick(times)
    return text + (chance.chance(0.4) ? '$' : '')
  }
  return Array.from({ length: 1 + chance.below(2) }, branch).join('|')
}

test('[M13] a pattern fits exactly what the regular expression of the same letters fits', () => {
  const chance = prng(1)
  let fits = 0
  for (let round = 0; round < 20_000; round++) {
    const source = randomPattern(chance)
    const text = Array.from({ length: chance.below(6) }, () =>
      chance.pick(['a', 'b', 'c', '1', ' ', '.', '-', '\n']),
    ).join('')
    const pattern = patternOf(source)
    if (pattern === undefined) throw new Error(`${source} is no pattern`)
    const isFit = new RegExp(source).test(text)
    expect(matches(pattern, text), `${source} over ${JSON.stringify(text)}`).toBe(isFit)
    if (isFit) fits++
  }
  expect(fits).toBeGreaterThan(2_000)
  expect(fits).toBeLessThan(18_000)
})

test('[M13] what could take for ever is no pattern, or takes as long as it is long', () => {
  for (const text of ['(a+)+$', '(a|b)', '\\1', '\\bx', 'a{2,1}', 'a**', '[b-a]', '[', 'a{300}', '(?=a)', '\\']) {
    expect(patternOf(text), text).toBeUndefined()
  }
  const evil = patternOf(`^${'a*'.repeat(100)}b$`)
  expect(evil && matches(evil, 'a'.repeat(4000))).toBe(false)
})
