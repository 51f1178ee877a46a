/** One of the processes that work off jobs: takes one at a time from the parent and answers with its report. */
import { mkdirSync } from 'node:fs'
import type { Figures, Job, Phase, Report, RunPhase } from './jobs.ts'
import { runCuts } from './cuts.ts'
import { runFlips } from './flips.ts'
import { runFull } from './full.ts'
import { runKills } from './kills.ts'

export type LaneMessage =
  | { readonly is: 'ready' }
  | { readonly is: 'progress'; readonly figures: Figures }
  | { readonly is: 'done'; readonly job: Job; readonly report: Report }
  | { readonly is: 'failed'; readonly job: Job; readonly stack: string }

const run: Readonly<Record<Phase, RunPhase>> = { kills: runKills, cuts: runCuts, flips: runFlips, full: runFull }

function say(message: LaneMessage): void {
  process.send?.(message)
}

// An orphan ends, and whatever it started with it.
process.on('disconnect', () => process.exit(1))
process.on('message', (job: Job) => {
  mkdirSync(job.dir, { recursive: true })
  run[job.phase](job, (figures) => say({ is: 'progress', figures })).then(
    (report) => say({ is: 'done', job, report }),
    (error: unknown) =>
      say({ is: 'failed', job, stack: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})
say({ is: 'ready' })
