/** Many seeds: what one of them came to, and what all of them did. How they are spread over processes is not told here. */
import { printOptions, storyOf } from './options.ts'
import type { Violation } from './rules.ts'
import { rules } from './rules.ts'
import { shrink } from './shrink.ts'
import { describe } from './story.ts'
import { runStory } from './world.ts'

export interface SeedReport {
  readonly seed: number
  readonly violation: Violation | undefined
  readonly counts: Readonly<Record<string, number>>
  readonly events: number
  readonly writes: number
  readonly tookMs: number
  readonly convergedMs: number
  readonly trace: number
}

/** The part of the seeds in which rows rot, where that is asked for. */
export const usualDamage: number = 0.12
/** Every fiftieth seed runs twice, and must go the same way. */
const twiceEvery = 50

export function runSeed(
  seed: number,
  damagedPart: number = 0,
  isCheckedTwice: boolean = seed % twiceEvery === 0,
): SeedReport {
  const story = storyOf(seed, damagedPart)
  const { violations, counts, events, writes, tookMs, convergedMs, trace } = runStory(story)
  let [violation] = violations
  if (isCheckedTwice && violation === undefined) {
    const again = runStory(story)
    if (again.trace !== trace) {
      violation = { rule: 'determinism', what: `the trace was ${trace}, and then ${again.trace}`, at: again.tookMs }
    }
  }
  return { seed, violation, counts: Object.fromEntries(counts), events, writes, tookMs, convergedMs, trace }
}

export class Totals {
  seeds: number = 0
  events: number = 0
  writes: number = 0
  virtualMs: number = 0
  /** The slowest of all to become equal after healing. */
  slowestMs: number = 0
  slowestSeed: number = 0
  readonly counts: Map<string, number> = new Map()
  readonly failed: SeedReport[] = []

  add(report: SeedReport): void {
    this.seeds++
    this.events += report.events
    this.writes += report.writes
    this.virtualMs += report.tookMs
    if (report.convergedMs > this.slowestMs) {
      this.slowestMs = report.convergedMs
      this.slowestSeed = report.seed
    }
    for (const [what, count] of Object.entries(report.counts)) {
      this.counts.set(what, (this.counts.get(what) ?? 0) + count)
    }
    if (report.violation !== undefined) this.failed.push(report)
  }

  get faults(): number {
    let sum = 0
    for (const [what, count] of this.counts) if (what.startsWith('fault: ')) sum += count
    return sum
  }
}

export function toldViolation({ rule, what, at }: Violation): string {
  return `[${rule}] at ${at} ms: ${what}\n  the rule: ${rules[rule]}`
}

/** The story of a failing seed, as short as it gets, with its whole transcript. */
export function toldFailure(seed: number, damagedPart: number = 0): string {
  const story = storyOf(seed, damagedPart)
  const [violation] = runStory(story).violations
  if (violation === undefined) return `seed ${seed}: no violation`
  const { story: short, runs } = shrink(story, violation.rule)
  const { transcript, violations } = runStory(short, { verbose: true })
  const shown = violations.find(({ rule }) => rule === violation.rule) ?? violation
  const { actions, options } = short
  return [
    `seed ${seed}: ${toldViolation(violation)}`,
    `  again: npm run sim -- --seed ${seed}${damagedPart > 0 ? ' --damage' : ''}`,
    '',
    `the shortest story found in ${runs} runs: ${actions.length} of ${story.actions.length} actions, ${options.nodes} of ${story.options.nodes} nodes`,
    ...actions.map((action) => `  ${String(action.at).padStart(8)}  ${describe(action)}`),
    '',
    'its circumstances:',
    printOptions(options),
    '',
    `its transcript, to: ${toldViolation(shown)}`,
    ...transcript,
  ].join('\n')
}
