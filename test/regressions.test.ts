/**
 * Every seed of the simulator that ever failed, again. A seed enters the list in the same change as the mend; where the
 * drawing of options changed since, it is still a story that was worth something.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runSeed, usualDamage } from '../src/sim/campaign.ts'

const list = readFileSync(join(import.meta.dirname, 'regressions', 'sim-seeds.txt'), 'utf8')
const seeds = list
  .split('\n')
  .filter((line) => /^\d/.test(line))
  .map((line) => {
    const [, seed = '', damage, what = ''] = /^(\d+)( --damage)? (.*)$/.exec(line) ?? []
    return [Number(seed), what, damage === undefined ? 0 : usualDamage] as const
  })

test('the list names no seed twice', () => {
  expect(new Set(seeds.map(([seed]) => seed)).size).toBe(seeds.length)
})

test.each(seeds)('seed %i: %s', (seed, _what, damagedPart) => {
  expect(runSeed(seed, damagedPart).violation).toBeUndefined()
})
