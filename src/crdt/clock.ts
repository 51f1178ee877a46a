/**
 * The hybrid logical clock (Kulkarni et al., 2014) in one JavaScript number: 42 bits of milliseconds, 11 bits of
 * counter. It orders concurrent writes for people and for last-writer-wins; causality and garbage collection never
 * depend on it, so a clock may be arbitrarily wrong without breaking more than a tie.
 */
import { assert } from '../base/assert.ts'

/** Counter values in one millisecond. */
export const ticksPerMs = 2048
/** The last time that fits: in the year 2109. */
export const maxTime: number = 2 ** 53 - 1
/** A wall clock beyond this is wrong, and is taken for this: a day of ticks before the end stays free. */
const maxWall: number = maxTime - 86_400_000 * ticksPerMs
/** How far ahead of the own wall clock another's time may pull ours. From reliability practice: 60 s. */
export const maxAheadMs = 60_000

export function timeToMs(time: number): number {
  return Math.floor(time / ticksPerMs)
}

export class HybridClock {
  #last: number

  constructor(last: number = 0) {
    this.#last = last
  }

  get last(): number {
    return this.#last
  }

  /** The time that a local event would get now. */
  peek(nowMs: number): number {
    const wall = Math.min(Math.floor(nowMs) * ticksPerMs, maxWall)
    const next = wall > this.#last ? wall : this.#last + 1
    assert(next <= maxTime, 'the clock has room behind the latest wall time')
    return next
  }

  /** The time of a local event: greater than every time given out or witnessed before. */
  next(nowMs: number): number {
    return (this.#last = this.peek(nowMs))
  }

  /**
   * Learns of another's time. The own clock follows it only up to a bound ahead of the wall: one runaway clock must not
   * drag the fleet along. The delta that carried it is applied all the same.
   */
  witness(time: number, nowMs: number): void {
    const bound = (Math.floor(nowMs) + maxAheadMs) * ticksPerMs
    const clamped = Math.min(time, bound, maxWall)
    if (clamped > this.#last) this.#last = clamped
  }
}
