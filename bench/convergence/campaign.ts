/** Runs scenarios over contestants, in turn within each round, each round beginning with another one. */
import { performance } from 'node:perf_hooks'
import type { Contestant } from './contestant.ts'
import { metrics } from './sample.ts'
import type { Sample } from './sample.ts'
import type { Course, LagRun, Result, Run, Scenario, Setting } from './scenario.ts'
import { bulk } from './runs/bulk.ts'
import { documents } from './runs/documents.ts'
import { crash } from './runs/crash.ts'
import { lag } from './runs/lag.ts'
import { load } from './runs/load.ts'
import { missed } from './runs/missed.ts'
import { partition } from './runs/partition.ts'
import { rush } from './runs/rush.ts'
import { slow } from './runs/slow.ts'
import { steady } from './runs/steady.ts'

type Kind = Exclude<Run['kind'], 'lag'>
type Runners = { readonly [K in Kind]: (course: Course<Run & { readonly kind: K }>) => Promise<Result[]> }

const runners: Runners = { bulk, crash, documents, load, missed, partition, rush, slow, steady }

export interface Campaign {
  readonly scenarios: readonly Scenario[]
  readonly contestants: readonly Contestant[]
  readonly quick: boolean
  readonly told: (sample: Sample) => void
  readonly progress: (text: string) => void
  /** A setting is through. */
  readonly finished: (took: Took) => void
}

/** What a setting took of the clock, for whoever fits a campaign into an hour. */
export interface Took {
  readonly scenario: string
  readonly setting: string
  readonly seconds: number
}

export async function campaign({ scenarios, contestants, quick, told, progress, finished }: Campaign): Promise<Took[]> {
  const took: Took[] = []
  for (const scenario of scenarios) {
    const { letter, excludes } = scenario
    const among = contestants.filter((contestant) => excludes(contestant) === undefined)
    const own: Sample[] = []
    for (const setting of quick ? scenario.settings.quick : scenario.settings.full) {
      const startedMs = performance.now()
      const say = (contestant: Contestant, round: number, result: Result): void => {
        const sample = { scenario: letter, setting: setting.label, ...result, system: contestant.id, round }
        own.push(sample)
        told(sample)
      }
      const line = (text: string): void => progress(`(${letter}) ${text}`)
      if (setting.run.kind === 'lag') await lag(setting as Setting<LagRun>, among, say, line)
      else {
        const asked = among.filter((contestant) => {
          const why = tooSlow(setting, contestant, own)
          if (why !== undefined) say(contestant, 0, { figures: {}, failed: why })
          return why === undefined
        })
        await inTurn(setting, asked, say, line)
      }
      const seconds = (performance.now() - startedMs) / 1000
      const one = { scenario: letter, setting: setting.label, seconds }
      took.push(one)
      finished(one)
    }
  }
  return took
}

/** Why a larger setting is not tried, by what the contestant did in a smaller one. */
function tooSlow({ after }: Setting, { id }: Contestant, own: readonly Sample[]): string | undefined {
  if (after === undefined) return undefined
  const { setting, metric, atLeast } = after
  const before = own.find((sample) => sample.system === id && sample.setting === setting)
  if (before === undefined) return undefined
  if (before.failed !== undefined) return `not tried, since ${setting} was not done`
  const value = before.figures[metric]
  if (value === undefined || value >= atLeast) return undefined
  const { unit, says } = metrics[metric]
  return `not tried: ${Math.round(value).toLocaleString('en')}${unit} ${says}, at ${setting}`
}

async function inTurn(
  { label, run, rounds, withinSeconds }: Setting,
  among: readonly Contestant[],
  say: (contestant: Contestant, round: number, result: Result) => void,
  progress: (text: string) => void,
): Promise<void> {
  /** Who could not do it once is not asked again: every further round would end at the same time limit. */
  const out = new Set<Contestant>()
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < among.length; turn++) {
      const contestant = among[(turn + round) % among.length] as Contestant
      if (out.has(contestant)) continue
      const text = `${label}: round ${round + 1} of ${rounds}, ${contestant.id}`
      progress(text)
      // Each runner takes the run of its own kind, which the compiler cannot see through the table.
      const runner = runners[run.kind as Kind] as (course: Course) => Promise<Result[]>
      const withinMs = 1000 * withinSeconds
      try {
        const course = { contestant, run, withinMs, round, progress: (now: string) => progress(`${text}: ${now}`) }
        for (const result of await runner(course)) say(contestant, round, result)
      } catch (error) {
        out.add(contestant)
        say(contestant, round, { figures: {}, failed: error instanceof Error ? error.message : String(error) })
      }
    }
  }
}
