/**
 * The checker of the cluster runs, checked: a history in which all is well is clean, and each thing that must not be is
 * found under its name. `npm run test:cluster -- --plant …` does the same with real nodes.
 */
import { expect, test } from 'vitest'
import { alterations } from './cluster/alterations.ts'
import { check } from './cluster/checker.ts'
import type { Verdict } from './cluster/checker.ts'
import type { Event, Outcome, Result, Work } from './cluster/history.ts'
import { readFileSync } from 'node:fs'

const spreadsWithinMs = 1_000

/** `[at, for, node, outcome, work, result]`; times in milliseconds. */
type Line = readonly [
  ms: number,
  forMs: number,
  node: number,
  outcome: Outcome,
  work: Work,
  result?: Result,
  more?: { readonly final?: true; readonly life?: number },
]

function judged(lines: readonly Line[], faults: readonly Event[] = []): Verdict {
  const events: Event[] = [...faults]
  for (const [id, [ms, forMs, node, outcome, work, result, more]] of lines.entries()) {
    events.push({ type: 'invoke', id, ms, client: 'c0', node, life: 1, work, ...more })
    events.push({ type: outcome, id, ms: ms + forMs, ...(result && { result }) })
  }
  const order = { invoke: 0, ok: 1, fail: 1, info: 1, fault: 2 }
  events.sort((a, b) => a.ms - b.ms || order[a.type] - order[b.type])
  return check(events, { nodes: 2, spreadsWithinMs, clocksApartMs: 0 })
}

const found = (lines: readonly Line[], faults: readonly Event[] = []): string[] => [
  ...new Set(judged(lines, faults).anomalies.map((one) => one.check)),
]

const calm: readonly Event[] = [{ type: 'fault', ms: 0, what: 'the run begins', calm: true }]
const final = { final: true } as const
const add = (element: string): Work => ({ f: 'add', key: 's', element })
const readSet: Work = { f: 'read-set', key: 's' }
const incr = (by: number): Work => ({ f: 'incr', key: 'n', by })
const readCounter: Work = { f: 'read-counter', key: 'n' }
const write = (number: number): Work => ({ f: 'write', key: 'r', number, session: 'w' })
const read = (session = 'w'): Work => ({ f: 'read', key: 'r', session })
const acquire = (owner: string): Work => ({ f: 'acquire', key: 'l', owner })
const release = (owner: string, fence: number): Work => ({ f: 'release', key: 'l', owner, fence })
const readClaim: Work = { f: 'read-claim', key: 'l' }
const grant = (amount: number): Work => ({ f: 'grant', key: 'b', amount })
const spend = (amount: number): Work => ({ f: 'spend', key: 'b', amount })
const readBudget: Work = { f: 'read-budget', key: 'b' }
const held = (fence: number): Result => ({ fence, ttlMs: 5_000 })

test('a history in which all is well is clean', () => {
  const lines: readonly Line[] = [
    [10, 5, 0, 'ok', add('a')],
    [20, 5, 1, 'info', add('b')],
    [30, 5, 0, 'fail', add('c')],
    [40, 5, 0, 'ok', readSet, { elements: ['a'] }],
    [50, 5, 1, 'ok', readSet, { elements: [] }],
    [60, 5, 0, 'ok', incr(3)],
    [70, 5, 1, 'info', incr(2)],
    [80, 5, 1, 'ok', readCounter, { sum: 2 }],
    [90, 5, 0, 'ok', write(1)],
    [100, 5, 1, 'ok', read(), { number: 1 }],
    [110, 5, 0, 'ok', acquire('x'), held(1)],
    [120, 5, 0, 'ok', release('x', 1)],
    [2_000, 5, 1, 'ok', acquire('y'), held(2)],
    [2_010, 5, 0, 'ok', grant(10)],
    [2_020, 5, 1, 'ok', spend(4)],
    [2_030, 5, 1, 'info', spend(4)],
    ...[0, 1].flatMap((node): Line[] => [
      [9_000, 5, node, 'ok', readSet, { elements: ['a', 'b'] }, final],
      [9_010, 5, node, 'ok', readCounter, { sum: 5 }, final],
      [9_020, 5, node, 'ok', read(`end-${node}`), { number: 1 }, final],
      [9_030, 5, node, 'ok', readClaim, { fence: 2 }, final],
      [9_040, 5, node, 'ok', readBudget, { granted: 10, spent: 8, overspent: 0 }, final],
    ]),
  ]
  const { anomalies, figures } = judged(lines, calm)
  expect(anomalies).toEqual([])
  expect(figures).toMatchObject({ 'operations ok': 22, 'operations info': 3, 'operations fail': 1 })
})

test('an acknowledged add that a node lacks at the end, and what nobody added or was refused', () => {
  const end = (elements: readonly string[]): Line[] => [
    [900, 5, 0, 'ok', readSet, { elements }, final],
    [900, 5, 1, 'ok', readSet, { elements: ['a'] }, final],
  ]
  expect(found([[10, 5, 0, 'ok', add('a')], ...end(['a'])])).toEqual([])
  expect(found([[10, 5, 0, 'ok', add('a')], ...end([])])).toContain('set')
  expect(found([[10, 5, 0, 'ok', add('a')], ...end(['a', 'z'])])).toEqual(['set'])
  expect(found([[10, 5, 0, 'ok', add('a')], [20, 5, 0, 'fail', add('z')], ...end(['a', 'z'])])).toEqual(['set'])
})

test('an operation without an end may be done at any time', () => {
  const events: Event[] = [
    { type: 'invoke', id: 0, ms: 1, client: 'c0', node: 0, life: 1, work: add('a') },
    ...[0, 1].flatMap((node): Event[] => [
      { type: 'invoke', id: 1 + node, ms: 5, client: 'c0', node, life: 1, final: true, work: readSet },
      { type: 'ok', id: 1 + node, ms: 6, result: { elements: ['a'] } },
    ]),
  ]
  expect(check(events, { nodes: 2, spreadsWithinMs, clocksApartMs: 0 }).anomalies).toEqual([])
})

test('what a node showed and then does not, while it runs; what it acknowledged, for ever', () => {
  const showed: Line = [10, 5, 0, 'ok', readSet, { elements: ['a'] }]
  const added: Line = [1, 3, 1, 'info', add('a')]
  expect(found([added, showed, [20, 5, 0, 'ok', readSet, { elements: [] }]])).toEqual(['set reads'])
  expect(found([added, showed, [20, 5, 0, 'ok', readSet, { elements: [] }, { life: 2 }]])).toEqual([])
  expect(found([added, showed, [12, 5, 0, 'ok', readSet, { elements: [] }]])).toEqual([])
  expect(
    found([
      [1, 3, 0, 'ok', add('a')],
      [20, 5, 0, 'ok', readSet, { elements: [] }, { life: 2 }],
    ]),
  ).toEqual(['set reads'])
})

test('a counter that lost an increment, counted one twice, or differs between nodes', () => {
  const ends = (a: number, b: number): Line[] => [
    [10, 5, 0, 'ok', incr(3)],
    [20, 5, 1, 'info', incr(-1)],
    [900, 5, 0, 'ok', readCounter, { sum: a }, final],
    [900, 5, 1, 'ok', readCounter, { sum: b }, final],
  ]
  expect(found(ends(3, 3))).toEqual([])
  expect(found(ends(2, 2))).toEqual([])
  expect(found(ends(1, 1))).toEqual(['counter'])
  expect(found(ends(6, 6))).toEqual(['counter'])
  expect(found(ends(2, 3))).toEqual(['counter'])
})

test('a read with a token that is older than the token, and one that goes back', () => {
  const wrote: Line[] = [
    [10, 5, 0, 'ok', write(1)],
    [20, 5, 0, 'ok', write(2)],
  ]
  expect(found([...wrote, [30, 5, 1, 'ok', read(), { number: 1 }]])).toEqual(['register'])
  expect(found([...wrote, [30, 5, 1, 'ok', read('other'), { number: 1 }]])).toEqual([])
  expect(
    found([...wrote, [30, 5, 1, 'ok', read('other'), { number: 2 }], [40, 5, 0, 'ok', read('other'), { number: 1 }]]),
  ).toEqual(['register'])
  expect(found([...wrote, [30, 5, 1, 'ok', read('other'), { number: 7 }]])).toEqual(['register'])
})

test('a fence that goes back, or is given to a second owner by the same node', () => {
  const first: Line = [10, 5, 0, 'ok', acquire('x'), held(4)]
  expect(found([first, [6_000, 5, 0, 'ok', acquire('y'), held(5)]])).toEqual([])
  expect(found([first, [6_000, 5, 0, 'ok', acquire('y'), held(4)]])).toContain('fence')
  expect(found([first, [6_000, 5, 0, 'ok', acquire('x'), held(4)]])).toEqual([])
  expect(found([first, [6_000, 5, 0, 'ok', acquire('y'), held(3)]])).toEqual(['fence'])
  expect(found([first, [20, 5, 0, 'ok', readClaim, { fence: 3 }]])).toEqual(['fence'])
})

test('two holders are excused only where something was wrong', () => {
  const first: Line = [10, 5, 0, 'ok', acquire('x'), held(1)]
  const second: Line = [2_000, 5, 1, 'ok', acquire('y'), held(2)]
  expect(found([first, second], calm)).toEqual(['two holders'])
  expect(found([first, [500, 5, 1, 'ok', acquire('y'), held(1)]], calm)).toEqual([])
  const cut: Event = { type: 'fault', ms: 1_500, what: 'a cut', calm: false }
  expect(found([first, second], [...calm, cut])).toEqual([])
  expect(found([first, [1_000, 5, 0, 'ok', release('x', 1)], second], calm)).toEqual([])
  expect(found([first, [100, 5, 0, 'ok', acquire('y'), held(2)]])).toEqual(['two holders'])
  // Renewed where nobody had heard yet that it was given back elsewhere.
  const renewed: Line = [300, 5, 1, 'ok', acquire('x'), held(1)]
  expect(found([first, [200, 5, 0, 'ok', release('x', 1)], renewed, [600, 5, 1, 'ok', acquire('y'), held(2)]])).toEqual(
    [],
  )
  // Both sides of a cut had it; the other one won when they met, and gave it back.
  const rival: Line = [300, 5, 1, 'ok', acquire('z'), held(1)]
  expect(found([first, rival, [600, 5, 0, 'ok', acquire('y'), held(2)]])).toEqual([])
})

test('one fence twice, and a fence that is gone at the end', () => {
  const first: Line = [10, 5, 0, 'ok', acquire('x'), held(1)]
  expect(found([first, [8_000, 5, 1, 'ok', acquire('y'), held(1)]], calm)).toEqual(['one fence'])
  expect(found([first, [8_000, 5, 1, 'ok', acquire('y'), held(1)]])).toEqual([])
  const ends = (fence: number): Line[] => [0, 1].map((node) => [9_000, 5, node, 'ok', readClaim, { fence }, final])
  expect(found([first, ...ends(1)])).toEqual([])
  expect(found([first, ...ends(0)])).toEqual(['fence'])
})

test('a budget that was overspent, and books that lost something', () => {
  expect(
    found([
      [10, 5, 0, 'ok', grant(5)],
      [20, 5, 1, 'ok', spend(5)],
    ]),
  ).toEqual([])
  expect(
    found([
      [10, 5, 0, 'ok', grant(5)],
      [20, 5, 1, 'ok', spend(6)],
    ]),
  ).toEqual(['budget'])
  expect(
    found([
      [10, 5, 0, 'info', grant(5)],
      [20, 5, 1, 'ok', spend(5)],
    ]),
  ).toEqual([])
  expect(
    found([
      [10, 5, 0, 'fail', grant(5)],
      [20, 5, 1, 'ok', spend(5)],
    ]),
  ).toEqual(['budget'])
  expect(
    found([
      [10, 5, 0, 'ok', spend(5)],
      [20, 5, 1, 'ok', grant(5)],
    ]),
  ).toEqual(['budget'])
  const ends = (spent: number): Line[] => [
    [10, 5, 0, 'ok', grant(5)],
    [20, 5, 1, 'ok', spend(3)],
    ...[0, 1].map((node): Line => [900, 5, node, 'ok', readBudget, { granted: 5, spent, overspent: 0 }, final]),
  ]
  expect(found(ends(3))).toEqual([])
  expect(found(ends(2))).toEqual(['final budget'])
  expect(found([[10, 5, 0, 'ok', readBudget, { granted: 5, spent: 5, overspent: 1 }]])).toEqual(['budget'])
})

test('a node that does not answer at the end is no proof of anything', () => {
  expect(found([[900, 5, 0, 'ok', readSet, { elements: [] }, final]])).toEqual(['answers'])
})

test('every alteration still fits the source that it alters', () => {
  for (const [name, { edits }] of Object.entries(alterations)) {
    for (const { file, from } of edits) {
      const text = readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')
      expect(text.split(from), `${name}: ${file}`).toHaveLength(2)
    }
  }
})
