/**
 * What a benchmark is: a scenario, as data, with its goals beside it. A goal changes only by an issue that says why.
 *
 * Speed is never judged by itself: the machines are shared and noisy, so a figure with a goal is a ratio of two things
 * that were measured in turn within one run, round by round. Sizes and counts are exact and judged as they are.
 */

/** A median over rounds with the lowest and the highest; a single measurement is all three. */
export interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
  readonly rounds: number
}

export interface Goal {
  readonly atLeast?: number
  readonly atMost?: number
}

/** How a figure is written; the number in front of it follows from the name. */
export type Unit =
  | 'x'
  | '%'
  | 'ops/s'
  | 'ms'
  | 's'
  | 'MB'
  | 'bytes'
  | 'rows'
  | 'entries'
  | 'nodes'
  | 'frames'
  | 'hops'
  | 'copies'
  | 'rounds'
  | 'round trips'

export interface Figure {
  readonly name: string
  readonly unit: Unit
  readonly value: Spread
  /** Absent where a figure is only reported. */
  readonly goal?: Goal
}

/** A curve for the plot, with what is asked for beside it. */
export interface Series {
  readonly name: string
  /** What stands along the bottom. */
  readonly x: string
  readonly logarithmic: boolean
  readonly points: readonly (readonly [x: number, y: number])[]
  readonly goal?: readonly (readonly [x: number, y: number])[]
}

export interface Outcome {
  readonly figures: readonly Figure[]
  readonly series?: readonly Series[]
  /** What a reader must know to read the figures right: sizes, what was left out, what was constant. */
  readonly notes?: readonly string[]
}

export interface Plan {
  readonly quick: boolean
  /** A line for whoever watches; it is not part of the report. */
  readonly progress: (text: string) => void
}

export interface Scenario {
  readonly name: string
  /** What is measured, in plain words, and what it is compared with. */
  readonly measures: string
  run(plan: Plan): Promise<Outcome>
}

export interface Suite {
  readonly name: string
  readonly says: string
  readonly scenarios: readonly Scenario[]
}

export type Verdict = 'ok' | 'short' | undefined

/** Judged by the median. */
export function verdict({ value, goal }: Figure): Verdict {
  if (goal === undefined) return undefined
  const { atLeast = -Infinity, atMost = Infinity } = goal
  return value.median >= atLeast && value.median <= atMost ? 'ok' : 'short'
}
