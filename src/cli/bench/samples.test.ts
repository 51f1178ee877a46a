import { expect, test } from 'vitest'
import { Samples, sparkline } from './samples.ts'

test('percentiles are those of the plain definition, over all and over stretches', () => {
  const samples = new Samples()
  for (let at = 1; at <= 200; at++) samples.add(at, at <= 100 ? at : 1_000)
  expect(samples.all()).toEqual({ count: 200, p50: 100, p90: 1_000, p99: 1_000, max: 1_000 })
  expect(samples.since(101)).toMatchObject({ count: 100, p50: 1_000 })
  expect(samples.stretches(100).map(({ atMs, count, p50 }) => [atMs, count, p50])).toEqual([
    [0, 99, 50],
    [100, 100, 1_000],
    [200, 1, 1_000],
  ])
  expect(new Samples().all()).toEqual({ count: 0, p50: 0, p90: 0, p99: 0, max: 0 })
})

test('a sparkline shows factors', () => {
  expect(sparkline([1, 1000])).toBe('▁█')
  expect(sparkline([1, 1, 10, 100, 1000])).toHaveLength(5)
  expect(sparkline([3, 3, 3])).toBe('▁▁▁')
  expect(sparkline([])).toBe('')
})
