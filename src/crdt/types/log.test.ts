import { describe, expect, test } from 'vitest'
import { pathOf } from '../cell.ts'
import type { ChangeSet } from '../change.ts'
import { originId } from '../dot.ts'
import { State } from '../state.ts'
import { items, log } from './log.ts'
import { Writer, meet } from './writers.test-model.ts'

const writers = (): [Writer<unknown>, Writer<unknown>] => [new Writer(log, 1), new Writer(log, 2)]
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at)

test('items read in the order of their times, and of their places in one append', () => {
  const [a, b] = writers()
  a.do('append', { values: range(0, 300) })
  b.do('append', { values: ['later'] })
  a.do('append', { values: ['last', null] })
  meet(a, b)
  expect(b.value).toEqual([...range(0, 300), 'later', 'last', null])
  expect(a.do('append', { values: [] })).toBeUndefined()
})

test('items say who appended them and when', () => {
  const [a] = writers()
  const delta = a.do('append', { values: ['x'] })
  expect(items(a.cells)).toEqual([
    { value: 'x', agent: 'agent 1', at: Math.floor((delta?.time ?? 0) / 2048), dot: { origin: a.origin, seq: 1 } },
  ])
})

test('two items at one time and place are two items, in the order of their dots', () => {
  const states = [2, 1].map((name) => {
    const state = new State()
    const origin = originId(String(name).repeat(32))
    state.local({ origin, time: 99 }, 'it', log, 'append', { values: [`${name} x`, `${name} y`] })
    return state
  }) as [State, State]
  const [x, y] = states
  x.merge(y)
  y.merge(x)
  for (const state of states) {
    expect(log.read(state.entry('it').cells(6)).value).toEqual(['1 x', '2 x', '1 y', '2 y'])
  }
  // A third at the same time and place supersedes neither.
  x.local({ origin: originId('3'.repeat(32)), time: 99 }, 'it', log, 'append', { values: ['3 x'] })
  expect(log.read(x.entry('it').cells(6)).value).toEqual(['1 x', '2 x', '3 x', '1 y', '2 y'])
})

test('small times come before large ones, whatever their bytes look like', () => {
  const state = new State()
  const origin = originId('1'.repeat(32))
  for (const time of [2 ** 40, 2 ** 52, 100, 200, 70_000, 2 ** 31, 2 ** 33]) {
    state.local({ origin, time }, 'it', log, 'append', { values: [time] })
  }
  expect(log.read(state.entry('it').cells(6)).value).toEqual([100, 200, 70_000, 2 ** 31, 2 ** 33, 2 ** 40, 2 ** 52])
})

describe('keep', () => {
  test('retains the newest n and drops the rest in the same delta', () => {
    const [a, b] = writers()
    a.do('append', { values: range(0, 5) })
    meet(a, b)
    const delta = b.do('append', { values: [5, 6], keep: 3 })
    expect(b.value).toEqual([4, 5, 6])
    a.state.apply(delta as NonNullable<typeof delta>)
    expect(a.value).toEqual([4, 5, 6])
    b.do('append', { values: range(10, 20), keep: 4 })
    expect(b.value).toEqual([16, 17, 18, 19])
    expect(b.paths).toHaveLength(4)
  })

  test('what was appended beside it is not dropped', () => {
    const [a, b] = writers()
    a.do('append', { values: ['old'] })
    meet(a, b)
    b.do('append', { values: ['beside'] })
    a.do('append', { values: ['new'], keep: 1 })
    meet(a, b)
    expect(a.value).toEqual(['beside', 'new'])
  })

  test('a long log is cut by a clear that names what stays, not by a removal for every item', () => {
    const [a] = writers()
    a.do('append', { values: range(0, 9000) })
    a.do('append', { values: range(9000, 9010) })
    const delta = a.do('append', { values: ['new'], keep: 8 })
    expect(a.value).toEqual([...range(9003, 9010), 'new'])
    expect(delta?.clears).toHaveLength(1)
    expect(delta?.writes.length).toBeLessThan(10)
  })

  test('cuts in the middle of what one delta appended', () => {
    const [a] = writers()
    a.do('append', { values: range(0, 100) })
    a.do('append', { values: ['new'], keep: 4 })
    expect(a.value).toEqual([97, 98, 99, 'new'])
  })

  test('cuts what the same transaction appended before', () => {
    const [a] = writers()
    a.do('append', { values: range(0, 60) })
    const { origin } = a
    const stamp = { origin, seq: 2, time: 2 ** 45, nowMs: 1, agent: 'x', retired: () => false }
    for (const first of [['p', 'q'], range(100, 160)]) {
      const state = a.state.clone()
      state.transact({ ...stamp }, (change: ChangeSet) => {
        const append = log.operations['append'] as NonNullable<(typeof log.operations)['append']>
        change.run(state.entry('it'), log, append, { values: first })
        change.run(state.entry('it'), log, append, { values: ['r', 's'], keep: 3 })
      })
      expect(log.read(state.entry('it').cells(6)).value).toEqual([first.at(-1), 'r', 's'])
    }
  })

  test('is a whole number from 1', () => {
    const [a] = writers()
    for (const keep of [0, -1, 1.5, '3', null])
      expect(a.refusal('append', { values: [1], keep })).toBe('invalid_argument')
  })
})

test('paths that are none are skipped', () => {
  const [a] = writers()
  a.forge([
    [pathOf(null), 'x'],
    [pathOf([1]), 'x'],
    [pathOf([-1, 0]), 'x'],
    [pathOf([1, 0.5]), 'x'],
    [pathOf(['1', 0]), 'x'],
    [pathOf([1, 2, 3]), 'x'],
    [pathOf([1, 2]), 'fine'],
  ])
  expect(a.value).toEqual(['fine'])
})
