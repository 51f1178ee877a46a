/** What a phase is given to do and what it answers: jobs go to lane processes as messages, so all of it is plain data. */
import type { Finding } from './findings.ts'

export const phases = ['kills', 'cuts', 'flips', 'full'] as const
export type Phase = (typeof phases)[number]

/** Faults that are planted under the engine, to see that the checks find them. */
export const plants = ['early-ack', 'no-sync', 'leaf', 'log-row', 'lost-write'] as const
export type Plant = (typeof plants)[number]

export interface Job {
  readonly phase: Phase
  /** Its number in its phase: what `--only` names. */
  readonly number: number
  readonly seed: number
  /** Points in it. */
  readonly points: number
  readonly plant?: Plant
  /** Where it may make directories; it removes them, but for those that a violation is about. */
  readonly dir: string
}

export interface Violation extends Finding {
  readonly phase: Phase
  readonly job: number
  /** Where in the job, and what was done there. */
  readonly point: string
  /** A copy of the directory as it was found. */
  readonly kept?: string
}

/** Counts by name, added up over jobs. */
export type Figures = Record<string, number>

export interface Report {
  readonly figures: Figures
  readonly violations: readonly Violation[]
  /** Why it could not be run here. */
  readonly skipped?: string
}

/** How a phase talks while it runs: one call a point. */
export type Progress = (figures: Figures) => void

export function count(figures: Figures, name: string, by: number = 1): void {
  figures[name] = (figures[name] ?? 0) + by
}

export type RunPhase = (job: Job, progress: Progress) => Promise<Report>
