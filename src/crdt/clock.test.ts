import { expect, test } from 'vitest'
import { HybridClock, maxAheadMs, ticksPerMs, timeToMs } from './clock.ts'

test('[C4.11] an equal tick did not advance the counter: times grow within a millisecond and when the wall goes back', () => {
  const clock = new HybridClock()
  const times = [1000, 1000, 1000, 999, 5, 1001, 1001].map((nowMs) => clock.next(nowMs))
  for (let i = 1; i < times.length; i++) expect(times[i]).toBeGreaterThan(times[i - 1] as number)
  expect(timeToMs(times[0] as number)).toBe(1000)
  expect(timeToMs(times[5] as number)).toBe(1001)
})

test('[C4.11] a witnessed time is passed, its counter too', () => {
  const clock = new HybridClock()
  clock.next(1000)
  const other = 1000 * ticksPerMs + 77
  clock.witness(other, 1000)
  expect(clock.next(1000)).toBe(other + 1)
  clock.witness(500, 1000)
  expect(clock.next(1000)).toBe(other + 2)
})

test('[C4.12] a runaway clock pulls the own one no further than the bound', () => {
  const clock = new HybridClock()
  clock.witness(Number.MAX_SAFE_INTEGER, 1000)
  expect(clock.last).toBe((1000 + maxAheadMs) * ticksPerMs)
  expect(clock.peek(1000)).toBe(clock.next(1000))
})
