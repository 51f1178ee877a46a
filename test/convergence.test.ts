/** The convergence bench on real processes, small: what it says was measured is there, and what did not arrive is missed. */
import { expect, test } from 'vitest'
import { contestants } from '../bench/convergence/contestant.ts'
import type { Contestant } from '../bench/convergence/contestant.ts'
import { edited, edits } from '../bench/convergence/edits.ts'
import { Histogram } from '../bench/convergence/histogram.ts'
import { campaign } from '../bench/convergence/campaign.ts'
import type { Sample } from '../bench/convergence/sample.ts'
import type { Run, Scenario } from '../bench/convergence/scenario.ts'
import { prng } from '../src/base/prng.ts'
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

/** One setting of a scenario of its own, over these. */
async function ran(run: Run, ids: readonly string[], withinSeconds = 20): Promise<Sample[]> {
  const setting = { label: 'small', rounds: 1, withinSeconds, run }
  const scenario: Scenario = {
    letter: 'x',
    name: 'small',
    measures: '',
    runsIn: [],
    shows: [],
    settings: { full: [setting], quick: [] },
    excludes: () => undefined,
    goals: [],
  }
  const samples: Sample[] = []
  await campaign({
    scenarios: [scenario],
    contestants: await Promise.all(ids.map(contestant)),
    quick: false,
    told: (sample) => samples.push(sample),
    progress: () => undefined,
    finished: () => undefined,
  })
  return samples
}

test('(a) every write is seen by every other process, of a floor and of Skein, and its bytes are counted', async () => {
  const warming = { writes: 9, rate: 100 }
  const slices = { slices: 2, sliceWrites: 30, isTogether: true }
  const samples = await ran({ kind: 'lag', nodes: 3, rate: 100, valueBytes: 128, warming, ...slices }, [
    'raw tcp',
    'skein os',
  ])
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

test('(c) a rush ends when all have all, on distinct keys and on one', async () => {
  for (const keys of ['distinct', 'one'] as const) {
    const [sample] = await ran({ kind: 'rush', nodes: 2, valueBytes: 96, warming: 100, count: 200, keys }, [
      'skein memory',
    ])
    expect(sample?.failed).toBeUndefined()
    expect(sample?.figures.rate).toBeGreaterThan(0)
  }
})

const missed = { kind: 'missed', valueBytes: 96, warming: 50, count: 100 } as const

test('(d) what was missed comes when the links heal', async () => {
  const [skein] = await ran(missed, ['skein os'])
  expect(skein?.failed).toBeUndefined()
  expect(skein?.figures.overhead).toBeGreaterThan(1)
})

test('(d) who never sends again what was missed is told so, by name and number', async () => {
  const [raw] = await ran(missed, ['raw ws'], 2)
  expect(raw?.failed).toMatch(/raw ws, node 2 has \d+ of 250 entries/)
})

test('(e, j) few differences cost few bytes, and a node that is new gets all', async () => {
  const samples = await ran({ kind: 'bulk', valueBytes: 96, entries: 1_000, differing: 10 }, ['skein os'])
  expect(samples.map(({ scenario, failed }) => [scenario, failed])).toEqual([
    ['e', undefined],
    ['j', undefined],
  ])
  expect(samples[0]?.figures.exchanged).toBeLessThan(20_000)
  expect(samples[1]?.figures.overhead).toBeGreaterThan(1)
})

test('(f) halves that were cut are equal again, and nothing that came was before the cut had healed', async () => {
  const run = { kind: 'partition', nodes: 2, valueBytes: 96, rate: 50, beforeSeconds: 1, cutSeconds: 2 } as const
  const [sample] = await ran(run, ['skein memory'])
  expect(sample?.failed).toBeUndefined()
  const { arrivals = [], marks = [] } = sample?.timeline ?? {}
  const [cut = 0, healed = 0] = marks.map(({ second }) => second)
  expect(arrivals.filter(([second]) => second > cut + 0.3 && second < healed - 0.3)).toEqual([])
  expect(arrivals.some(([second, , maxMs]) => second > healed - 0.3 && maxMs > 1_000)).toBe(true)
})

test('(h) after a kill nothing acknowledged is missing, and writes are seen again', async () => {
  const times = { beforeSeconds: 1, downSeconds: 0, afterSeconds: 1 }
  const [sample] = await ran({ kind: 'crash', nodes: 2, valueBytes: 96, rate: 60, ...times }, ['skein os'])
  expect(sample?.failed).toBeUndefined()
  expect(sample?.figures.lost).toBe(0)
  expect(sample?.figures.flows).toBeGreaterThan(0)
})

test('(l) steady load is looked at window by window', async () => {
  const run = { kind: 'steady', nodes: 2, valueBytes: 96, rate: 50, seconds: 3, windowSeconds: 1 } as const
  const [sample] = await ran(run, ['skein os'])
  expect(sample?.failed).toBeUndefined()
  expect(sample?.figures.seen).toBe(100)
  expect(sample?.course?.map(({ second }) => second)).toEqual([1, 2, 3])
  for (const { residentMb, diskMb } of sample?.course ?? []) {
    expect(residentMb).toBeGreaterThan(20)
    expect(diskMb).toBeGreaterThan(0)
  }
})

test('(k) what one types is what all read, and fields of one document are seen by the others', async () => {
  const run = { kind: 'documents', nodes: 2, valueBytes: 96, count: 60, writes: 20, rate: 50 } as const
  const [text, json] = await ran(run, ['skein memory'])
  expect([text?.setting, text?.failed]).toEqual(['text, 60 edits', undefined])
  expect(text?.figures.rate).toBeGreaterThan(0)
  expect([json?.setting, json?.failed, json?.figures.seen]).toEqual(['JSON, 50 edits a second', undefined, 100])
  const [raw] = await ran(run, ['raw ws'], 2)
  expect(raw?.failed).toMatch(/no texts/)
})

test('an editing session is the same from its seed, and never edits outside of its text', () => {
  const all = edits(2_000, prng(3))
  expect(edits(2_000, prng(3))).toEqual(all)
  let length = 0
  for (const { at, removed, inserted } of all) {
    expect(at + removed).toBeLessThanOrEqual(length)
    length += inserted.length - removed
  }
  expect(edited(all)).toHaveLength(length)
})
