/** The convergence bench on real processes, small: what it says was measured is there, and what did not arrive is missed. */
import { expect, test } from 'vitest'
import { contestants } from '../bench/convergence/contestant.ts'
import type { Contestant } from '../bench/convergence/contestant.ts'
import { Histogram } from '../bench/convergence/histogram.ts'
import { lag } from '../bench/convergence/lag.ts'
import { stamped, stampOf } from '../bench/convergence/stamp.ts'

async function contestant(id: string): Promise<Contestant> {
  const found = (await contestants()).present.find((one) => one.id === id)
  if (found === undefined) throw new Error(`${id} is not there`)
  return found
}

test('a histogram answers within 0.8 % of the sorted list, and merges as one', () => {
  const values = Array.from({ length: 5_000 }, (_, at) => Math.round(1.003 ** at))
  const halves = [new Histogram(), new Histogram()]
  for (const [at, value] of values.entries()) halves[at % 2]?.record(value)
  const whole = Histogram.of(...halves.map((half) => half.data()))
  for (const share of [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1]) {
    const exact = values[Math.ceil(share * values.length) - 1] ?? 0
    expect(Math.abs(whole.quantile(share) - exact) / exact).toBeLessThan(0.008)
  }
  expect(whole.count).toBe(values.length)
  expect(whole.max).toBe(values.at(-1))
  expect(whole.curve().at(-1)).toEqual([whole.max, 1])
})

test('a stamp is read back, and fills a value to its length', () => {
  const stamp = { phase: 3, writer: 1, seq: 77, dueUs: 123456789012.3, writtenUs: 123456789013.4 }
  expect(stampOf(stamped(stamp, 128))).toEqual(stamp)
  expect(stamped(stamp, 128)).toHaveLength(128)
  expect(stampOf('what somebody else wrote')).toBeUndefined()
})

test('every write is seen by every other process, of a floor and of Skein, and its bytes are counted', async () => {
  const plan = { scenario: 'a', nodes: 3, rate: 100, valueBytes: 128, warmingWrites: 9, slices: 2, sliceWrites: 30 }
  const samples = await lag(plan, [await contestant('raw tcp'), await contestant('skein os')], () => undefined)
  expect(samples.map(({ system, round, failed }) => [system, round, failed])).toEqual([
    ['raw tcp', 0, undefined],
    ['skein os', 0, undefined],
    ['skein os', 1, undefined],
    ['raw tcp', 1, undefined],
  ])
  for (const { figures, lag: measured } of samples) {
    expect(figures.seen).toBe(100)
    expect(measured?.counts.reduce((sum, [, count]) => sum + count, 0)).toBe(60)
    expect(figures.peak).toBeGreaterThan(20)
  }
  // Two messages of a length, a key and a value: exactly what went out.
  const perWrite = 2 * (4 + 2 + 'lag-0-0'.length + 128)
  expect(samples.find(({ system }) => system === 'raw tcp')?.figures.bytes).toBe(perWrite)
})
