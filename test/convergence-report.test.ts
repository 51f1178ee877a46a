/** What is said of a campaign: goals, who is ahead, the page, and whether another run is a regression or noise. */
import { expect, test } from 'vitest'
import { differences } from '../bench/baseline.ts'
import { compared, ratioOf, wordOf } from '../bench/convergence/compare.ts'
import { Histogram } from '../bench/convergence/histogram.ts'
import { markdown } from '../bench/convergence/docs.ts'
import { page } from '../bench/convergence/page.ts'
import { ahead, judged, valueOf } from '../bench/convergence/results.ts'
import type { Results, SystemFacts } from '../bench/convergence/results.ts'
import type { Figures, Sample } from '../bench/convergence/sample.ts'
import { scenarios } from '../bench/convergence/scenarios.ts'
import type { Kind } from '../bench/convergence/system.ts'
import { prng } from '../src/base/prng.ts'

function facts(id: string, kind: Kind): SystemFacts {
  const words = { version: '1', says: `${id} <runs>`, durabilitySays: 'nothing', notComparable: [`${id} is special.`] }
  return { id, kind, topology: 'mesh', durability: 'memory', ...words }
}

function samples(system: string, values: readonly Figures[], setting = 'N = 3'): Sample[] {
  return values.map((figures, round) => ({ scenario: 'a', setting, system, round, figures }))
}

function results(all: readonly Sample[]): Results {
  return {
    format: 1,
    command: 'npm run bench -- convergence --all',
    date: '2026-01-02T03:04:05.000Z',
    quick: false,
    machine: { cpu: 'abacus', cores: 2, memoryGib: 8, system: 'Linux', load: 0, versions: { node: '24' } },
    systems: [facts('skein os', 'skein'), facts('raw ws', 'floor'), facts('peer', 'crdt'), facts('other', 'crdt')],
    absent: [{ id: 'away', why: 'it is not installed' }],
    excluded: { a: [] },
    samples: all,
    took: [{ scenario: 'a', setting: 'N = 3', seconds: 61 }],
  }
}

const measured = results([
  ...samples('skein os', [{ p50: 2 }, { p50: 3 }, { p50: 2 }]),
  ...samples('raw ws', [{ p50: 2 }, { p50: 1.5 }, { p50: 1 }]),
  ...samples('peer', [{ p50: 4 }, { p50: 4 }, { p50: 4 }]),
  ...samples('other', [{ p50: 1 }]),
])

test('a goal beside a floor is a ratio, round by round, of what was measured together', () => {
  const over = { ids: ['raw ws'], says: 'the floor' }
  const goal = { setting: 'N = 3', metric: 'p50', of: 'skein os', over, atMost: 1.5 } as const
  expect(judged(measured, 'a', goal)).toMatchObject({
    name: 'skein os / the floor: lag, half of all',
    unit: 'x',
    value: { median: 2 / 1.5, low: 1, high: 2, rounds: 3 },
  })
  expect(judged(measured, 'a', { ...goal, of: 'nobody' })).toBeUndefined()
  expect(judged(measured, 'a', { ...goal, over: { ids: ['nobody'], says: 'nobody' } })).toBeUndefined()
})

test('a goal beside a kind is held against the best of it', () => {
  const over = { kinds: ['crdt'], says: 'the best peer' }
  const goal = { setting: 'N = 3', metric: 'p50', of: 'skein os', over, atMost: 1 } as const
  const figure = judged(measured, 'a', goal)
  expect(figure?.name).toContain('(other)')
  expect(figure?.value.median).toBe(2)
})

test('lag is that of all rounds together, not the middle one of their percentiles', () => {
  const lags = [1_000, 1_000, 9_000].map((us) => {
    const histogram = new Histogram()
    for (let at = 0; at < 10; at++) histogram.record(us)
    return histogram.data()
  })
  const own = lags.map((lag, round): Sample => ({ ...(samples('x', [{ p99: 1 }])[0] as Sample), round, lag }))
  expect(valueOf(own, 'p99')?.median).toBeCloseTo(9, 1)
  expect(valueOf([...own, { ...(own[0] as Sample), failed: 'it ended' }], 'p99')).toBeUndefined()
})

test('who is ahead is found, whichever way is better, and floors are not', () => {
  const found = ahead(measured, { a: ['p50'] })
  expect(found.map(({ system, theirs, ours }) => [system, theirs, ours])).toEqual([['other', 1, 2]])
  const rates = results([
    ...samples('skein os', [{ rate: 10 }]),
    ...samples('peer', [{ rate: 11 }]),
    ...samples('other', [{ rate: 9 }]),
  ])
  expect(ahead(rates, { a: ['rate'] }).map(({ system }) => system)).toEqual(['peer'])
})

test('the page and the docs show failures, who is away, who is ahead, and nothing unescaped', () => {
  const failed: Sample = { scenario: 'c', setting: 's', system: 'peer', round: 0, figures: {}, failed: 'ended <badly>' }
  const all = results([...measured.samples, failed])
  const html = page(all, scenarios)
  expect(html).toContain('ended &lt;badly&gt;')
  expect(html).not.toContain('<badly>')
  expect(html).not.toContain('<runs>')
  expect(html).not.toMatch(/NaN|undefined|src=|http:/)
  for (const words of ['it is not installed', 'peer is special.', 'Where others are ahead', 'short', 'abacus']) {
    expect(html).toContain(words)
  }
  const docs = markdown(all, scenarios)
  for (const words of ['ended <badly>', 'it is not installed', 'other 1 ms, ours 2 ms', 'abacus']) {
    expect(docs).toContain(words)
  }
})

test('two draws of one distribution are noise, twice as much is not, and three rounds are the least', () => {
  const random = prng(7)
  const draw = (factor: number, count: number): number[] =>
    Array.from({ length: count }, () => factor * (80 + random.below(40)))
  const interval = ratioOf(draw(1, 9), draw(1, 9), prng(1))
  expect(interval.low).toBeLessThan(1)
  expect(interval.high).toBeGreaterThan(1)
  expect(wordOf(interval, 'less', 9)).toBe('noise')
  const doubled = ratioOf(draw(1, 9), draw(2, 9), prng(1))
  expect(wordOf(doubled, 'less', 9)).toBe('regression')
  expect(wordOf(doubled, 'more', 9)).toBe('better')
  expect(wordOf(doubled, 'less', 2)).toBe('too few rounds')
  const exact = ratioOf([100, 100, 100], [104, 104, 104], prng(1))
  expect(wordOf(exact, 'less', 3)).toBe('noise')
  expect(wordOf(ratioOf([100, 100, 100], [106, 106, 106], prng(1)), 'less', 3)).toBe('regression')
})

test('a machine that was busier in one of two runs is no regression: times are held against their floor, bytes are not', () => {
  const run = (busy: number, bytes: number, own = 1): Results =>
    results([
      ...samples(
        'skein os',
        [2, 2.1, 1.9].map((p50) => ({ p50: p50 * busy * own, bytes })),
      ),
      ...samples(
        'raw ws',
        [1, 1.05, 0.95].map((p50) => ({ p50: p50 * busy, bytes: 10 })),
      ),
    ])
  const words = (before: Results, after: Results): string[] =>
    compared(before, after)
      .filter(({ system }) => system === 'skein os')
      .map(({ metric, word }) => `${metric} ${word}`)
  expect(words(run(1, 100), run(3, 100))).toEqual(['p50 noise', 'bytes noise'])
  expect(words(run(1, 100), run(3, 100, 1.5))).toEqual(['p50 regression', 'bytes noise'])
  expect(words(run(1, 100), run(1, 120))).toEqual(['p50 noise', 'bytes regression'])
})

test('an exact figure that moved, came or went is a difference', () => {
  expect(differences({ a: 1, b: 2 }, { a: 1, b: 2 })).toEqual([])
  expect(differences({ a: 1, b: 2, c: 3 }, { a: 1, b: 2.5, d: 4 })).toEqual([
    'b: 2 in the baseline, 2.5 now',
    'c: 3 in the baseline, not measured any more',
    'd: 4, not in the baseline',
  ])
})
