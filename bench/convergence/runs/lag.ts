/**
 * One write at a time, by each node in turn, until every other can read it. Fleets stand side by side and take turns, slice
 * by slice, so that whatever else the machine does meets all of them.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Contestant } from '../contestant.ts'
import type { Keys } from '../control.ts'
import { Fleet } from '../fleet.ts'
import { lagOf, takenFigures } from '../sample.ts'
import type { LagRun, Result, Setting } from '../scenario.ts'
import { paced, soonUs, whenQuiet } from '../stage.ts'

/** After the last write of a slice, beside what the links take. */
const settleMs = 150
/** The latest that changes of a slice may come. */
const lateMs = 10_000
const keys: Keys = { of: 'own', name: 'lag', count: 100 }

export type Told = (contestant: Contestant, round: number, result: Result) => void

export async function lag(
  setting: Setting<LagRun>,
  all: readonly Contestant[],
  told: Told,
  progress: (text: string) => void,
): Promise<void> {
  const groups = setting.run.isTogether ? [all] : all.map((one) => [one])
  for (const group of groups) await together(setting, group, told, progress)
}

async function together(
  { label, run, withinSeconds }: Setting<LagRun>,
  group: readonly Contestant[],
  told: Told,
  progress: (text: string) => void,
): Promise<void> {
  const standing: Fleet[] = []
  const failed = (contestant: Contestant, round: number, error: unknown): void =>
    told(contestant, round, { figures: {}, failed: error instanceof Error ? error.message : String(error) })
  try {
    for (const contestant of group) {
      progress(`${label}: starting ${contestant.id}`)
      try {
        standing.push(await started(contestant, run, 1000 * withinSeconds))
      } catch (error) {
        failed(contestant, 0, error)
      }
    }
    for (let round = 0; round < run.slices; round++) {
      for (let turn = 0; turn < standing.length; turn++) {
        const fleet = standing[(turn + round) % standing.length] as Fleet
        progress(`${label}: round ${round + 1} of ${run.slices}, ${fleet.contestant.id}`)
        try {
          told(fleet.contestant, round, await slice(fleet, run, round + 1))
        } catch (error) {
          failed(fleet.contestant, round, error)
        }
      }
    }
  } finally {
    await Promise.all(standing.map((fleet) => fleet[Symbol.asyncDispose]()))
  }
}

async function started(contestant: Contestant, run: LagRun, withinMs: number): Promise<Fleet> {
  const { nodes, link, warming, valueBytes } = run
  const fleet = await Fleet.open(contestant, { nodes, isShaped: link !== undefined })
  try {
    const { rate, writes } = warming
    const warm = { phase: 0, keys, valueBytes, rate, writes, exactly: false, firstUs: soonUs() }
    await paced(fleet.members, warm)
    await whenQuiet(fleet.members, 0, withinMs)
    const everybody = Array.from({ length: nodes + (fleet.hubParty === undefined ? 0 : 1) }, (_, party) => party)
    if (link !== undefined) await fleet.shaper?.between(everybody, everybody, link)
    return fleet
  } catch (error) {
    await fleet[Symbol.asyncDispose]()
    throw error
  }
}

async function slice(fleet: Fleet, run: LagRun, phase: number): Promise<Result> {
  const { nodes, rate, valueBytes, sliceWrites, link } = run
  const before = await fleet.taken()
  const measured = { phase, keys, valueBytes, rate, writes: sliceWrites, exactly: true, firstUs: soonUs() }
  const { writes } = await paced(fleet.members, measured)
  // A lost packet comes after the time to send again; a hub is two links away.
  await sleep(settleMs + (link === undefined ? 0 : 1000 + 4 * link.delayMs))
  // What comes later counts as well: it is the slow part of who is slow.
  await whenQuiet(fleet.members, phase, lateMs)
  const after = await fleet.taken()
  const lags = lagOf(await fleet.all('arrived', { phase }), writes * (nodes - 1))
  return { ...lags, figures: { ...lags.figures, ...takenFigures(before, after, writes) } }
}
