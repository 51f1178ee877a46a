/**
 * Two campaigns, figure by figure: a regression, better, or noise. Times are first divided by the floor of their own round, so
 * that a machine that was busier in one of the runs does not speak; then rounds are drawn again and again (bootstrap), and
 * what the ratio of the medians does in 99 % of the draws is its interval.
 */
import { readFileSync } from 'node:fs'
import { prng } from '../../src/base/prng.ts'
import type { Prng } from '../../src/base/prng.ts'
import { spread } from '../measure.ts'
import { brief } from './charts.ts'
import { failureOf, samplesOf, settingsOf } from './results.ts'
import type { Results } from './results.ts'
import { metrics } from './sample.ts'
import type { MetricName } from './sample.ts'

const draws = 2_000
/** Many figures are looked at, so each must be surer than the usual 95 %. */
const certainty = 0.99
/** Smaller differences are nobody's business. A guess. */
const matters = 0.05
/** Fewer rounds have no spread to speak of. */
const leastRounds = 3

export interface Interval {
  readonly ratio: number
  readonly low: number
  readonly high: number
}

/** The ratio of the medians, of `after` to `before`. */
export function ratioOf(before: readonly number[], after: readonly number[], random: Prng): Interval {
  const drawn = (values: readonly number[]): number =>
    spread(Array.from(values, () => values[random.below(values.length)] as number)).median
  const ratios = Array.from({ length: draws }, () => drawn(after) / drawn(before)).sort((a, b) => a - b)
  const at = (share: number): number => ratios[Math.round(share * (draws - 1))] as number
  return {
    ratio: spread(after).median / spread(before).median,
    low: at((1 - certainty) / 2),
    high: at((1 + certainty) / 2),
  }
}

export type Word = 'regression' | 'better' | 'noise' | 'too few rounds'

export interface Compared extends Interval {
  readonly scenario: string
  readonly setting: string
  readonly system: string
  readonly metric: MetricName
  readonly word: Word
  /** The floor that both were divided by. */
  readonly floor: string | undefined
}

export function wordOf({ ratio, low, high }: Interval, better: 'less' | 'more', rounds: number): Word {
  if (rounds < leastRounds) return 'too few rounds'
  if ((low <= 1 && high >= 1) || Math.abs(ratio - 1) < matters) return 'noise'
  return ratio > 1 === (better === 'less') ? 'regression' : 'better'
}

const floors = ['raw ws', 'raw ws + leveldb'] as const
const timed: readonly string[] = ['ms', 's', '/s']

/** By round, divided by the floor of the same round where there is one in both runs. */
function roundsOf(
  results: Results,
  at: { readonly scenario: string; readonly setting: string; readonly system: string; readonly metric: MetricName },
  floor: string | undefined,
): number[] {
  const { scenario, setting, system, metric } = at
  const below = floor === undefined ? [] : samplesOf(results, scenario, setting, floor)
  return samplesOf(results, scenario, setting, system).flatMap(({ round, figures }) => {
    const value = figures[metric]
    const divisor = floor === undefined ? 1 : below.find((one) => one.round === round)?.figures[metric]
    return value === undefined || divisor === undefined || divisor === 0 ? [] : [value / divisor]
  })
}

export function compared(before: Results, after: Results): Compared[] {
  const random = prng(1)
  const all: Compared[] = []
  for (const scenario of new Set(before.samples.map((sample) => sample.scenario))) {
    for (const setting of settingsOf(before, scenario)) {
      for (const { id: system, kind } of before.systems) {
        const runs = [before, after].map((run) => samplesOf(run, scenario, setting, system))
        if (runs.some((samples) => samples.length === 0 || failureOf(samples) !== undefined)) continue
        for (const metric of Object.keys(metrics) as MetricName[]) {
          const { unit, better } = metrics[metric]
          const at = { scenario, setting, system, metric }
          const floor =
            kind === 'floor' || !timed.includes(unit)
              ? undefined
              : floors.find((one) =>
                  [before, after].every((run) => roundsOf(run, { ...at, system: one }, undefined).length > 0),
                )
          const [old, now] = [roundsOf(before, at, floor), roundsOf(after, at, floor)]
          if (old.length === 0 || now.length === 0 || spread(old).median === 0) continue
          const interval = ratioOf(old, now, random)
          const word = wordOf(interval, better, Math.min(old.length, now.length))
          all.push({ ...at, ...interval, word, floor })
        }
      }
    }
  }
  return all
}

const help = `npm run bench -- compare A.json B.json [--all]

Says of each figure of two runs (bench -- convergence --json) whether B is a regression, better, or noise.
Exits with 1 when there is a regression. --all shows noise as well.
`

function readResults(path: string): Results {
  const results = JSON.parse(readFileSync(path, 'utf8')) as Results
  if (results.format !== 1) throw new Error(`${path} is no file of bench -- convergence --json`)
  return results
}

export function compare(args: readonly string[]): number {
  const paths = args.filter((arg) => !arg.startsWith('--'))
  const [one, other] = paths
  if (one === undefined || other === undefined || paths.length > 2 || args.includes('--help')) {
    process.stdout.write(help)
    return args.includes('--help') ? 0 : 2
  }
  const all = compared(readResults(one), readResults(other))
  const shown = all.filter(({ word }) => args.includes('--all') || word === 'regression' || word === 'better')
  for (const { scenario, setting, system, metric, ratio, low, high, word, floor } of shown) {
    const beside = floor === undefined ? '' : `, beside ${floor}`
    process.stdout.write(
      `${word.padEnd(14)} (${scenario}) ${setting}, ${system}, ${metrics[metric].says}${beside}: x ${brief(ratio)} (${brief(low)} to ${brief(high)})\n`,
    )
  }
  const count = (word: Word): number => all.filter((figure) => figure.word === word).length
  process.stdout.write(
    `${all.length} figures: ${count('regression')} regressions, ${count('better')} better, ${count('noise')} noise, ${count('too few rounds')} with too few rounds to tell\n`,
  )
  return count('regression') > 0 ? 1 : 0
}
