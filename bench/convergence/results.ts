/** Everything that a campaign measured, as it goes into a file and comes back; and what can be asked of it. */
import { spread } from '../measure.ts'
import type { Machine } from '../machine.ts'
import type { Figure, Spread } from '../scenario.ts'
import type { Took } from './campaign.ts'
import type { Absent, Contestant } from './contestant.ts'
import { Histogram } from './histogram.ts'
import { lagFigures, metrics } from './sample.ts'
import type { MetricName, Sample } from './sample.ts'
import type { Goal } from './scenario.ts'
import type { Durability, Kind } from './system.ts'

export interface SystemFacts {
  readonly id: string
  readonly kind: Kind
  readonly topology: 'mesh' | 'hub'
  readonly version: string
  readonly says: string
  readonly durability: Durability
  readonly durabilitySays: string
  readonly notComparable: readonly string[]
}

export interface Results {
  readonly format: 1
  readonly command: string
  /** ISO, to the second. */
  readonly date: string
  readonly quick: boolean
  readonly machine: Machine
  readonly systems: readonly SystemFacts[]
  readonly absent: readonly Absent[]
  /** What scenarios say nothing of, and why: by scenario, then by system. */
  readonly excluded: Readonly<Record<string, readonly Absent[]>>
  readonly samples: readonly Sample[]
  readonly took: readonly Took[]
}

export function factsOf({ id, system, variant }: Contestant): SystemFacts {
  const { kind, topology, version, says, notComparable } = system
  const { durability, says: durabilitySays } = variant
  return { id, kind, topology, version, says, durability, durabilitySays, notComparable }
}

export function samplesOf(results: Results, scenario: string, setting: string, system?: string): Sample[] {
  return results.samples.filter(
    (one) => one.scenario === scenario && one.setting === setting && (system === undefined || one.system === system),
  )
}

export function settingsOf(results: Results, scenario: string): string[] {
  const own = results.samples.filter((sample) => sample.scenario === scenario)
  return [...new Set(own.map(({ setting }) => setting))]
}

/** The first failure, where there is one: then nothing else is said of it. */
export function failureOf(samples: readonly Sample[]): string | undefined {
  return samples.find(({ failed }) => failed !== undefined)?.failed
}

const ofLag: readonly MetricName[] = ['p50', 'p90', 'p99', 'p999', 'max']

/**
 * A metric over rounds. Of lag: over everything that came, since the slow ones of a single round are few; beside it how far
 * the rounds were apart.
 */
export function valueOf(samples: readonly Sample[], metric: MetricName): Spread | undefined {
  if (failureOf(samples) !== undefined) return undefined
  const values = samples.flatMap(({ figures }) => figures[metric] ?? [])
  if (values.length === 0) return undefined
  const lags = samples.flatMap(({ lag }) => lag ?? [])
  if (!ofLag.includes(metric) || lags.length === 0) return spread(values)
  return { ...spread(values), median: lagFigures(Histogram.of(...lags))[metric] ?? Number.NaN }
}

export interface Judged extends Figure {
  readonly scenario: string
  readonly setting: string
}

/** A goal as a figure, judged; nothing where what it needs was not measured. */
export function judged(results: Results, scenario: string, goal: Goal): Judged | undefined {
  const { setting, metric, of, over, atMost, atLeast } = goal
  const own = samplesOf(results, scenario, setting, of)
  const value = valueOf(own, metric)
  if (value === undefined) return undefined
  const bounds = { ...(atMost !== undefined && { atMost }), ...(atLeast !== undefined && { atLeast }) }
  const { unit, says } = metrics[metric]
  if (over === undefined) {
    return {
      scenario,
      setting,
      name: `${of}: ${says}`,
      unit: unit === '' ? 'entries' : unitOf(unit),
      value,
      goal: bounds,
    }
  }
  const other = bestOf(results, scenario, setting, metric, over)
  if (other === undefined) return undefined
  const theirs = samplesOf(results, scenario, setting, other)
  const whole = (value.median || Number.NaN) / (valueOf(theirs, metric)?.median ?? Number.NaN)
  const ratios = own.flatMap(({ round, figures }) => {
    const paired = theirs.find((one) => one.round === round)?.figures[metric]
    return paired === undefined || figures[metric] === undefined ? [] : [figures[metric] / paired]
  })
  const name = `${of} / ${over.says}${over.kinds === undefined ? '' : ` (${other})`}: ${says}`
  return { scenario, setting, name, unit: 'x', value: { ...spread(ratios), median: whole }, goal: bounds }
}

function unitOf(unit: 'ms' | 's' | 'MB' | 'bytes' | '/s' | '%' | 'x'): Figure['unit'] {
  return unit === '/s' ? 'ops/s' : unit
}

function bestOf(
  results: Results,
  scenario: string,
  setting: string,
  metric: MetricName,
  { ids = [], kinds = [] }: NonNullable<Goal['over']>,
): string | undefined {
  const sign = metrics[metric].better === 'less' ? 1 : -1
  return results.systems
    .filter(({ id, kind }) => ids.includes(id) || kinds.includes(kind))
    .flatMap(({ id }) => {
      const value = valueOf(samplesOf(results, scenario, setting, id), metric)
      return value === undefined ? [] : [{ id, value: sign * value.median }]
    })
    .sort((a, b) => a.value - b.value)[0]?.id
}

export interface Ahead {
  readonly scenario: string
  readonly setting: string
  readonly metric: MetricName
  readonly system: string
  readonly theirs: number
  readonly ours: number
}

/** Where another system, not a floor, has a better figure than ours at `os`, by more than rounding. */
export function ahead(results: Results, shows: Readonly<Record<string, readonly MetricName[]>>): Ahead[] {
  const found: Ahead[] = []
  for (const [scenario, shown] of Object.entries(shows)) {
    for (const setting of settingsOf(results, scenario)) {
      for (const metric of shown) {
        const ours = valueOf(samplesOf(results, scenario, setting, 'skein os'), metric)?.median
        if (ours === undefined) continue
        for (const { id, kind } of results.systems) {
          if (kind === 'skein' || kind === 'floor') continue
          const theirs = valueOf(samplesOf(results, scenario, setting, id), metric)?.median
          if (theirs === undefined) continue
          const isAhead = metrics[metric].better === 'less' ? theirs < ours * 0.99 : theirs > ours * 1.01
          if (isAhead) found.push({ scenario, setting, metric, system: id, theirs, ours })
        }
      }
    }
  }
  return found
}
