/**
 * (a) One write at a time, by each node in turn, until every other can read it. All fleets stand at once and take turns,
 * slice by slice, so that whatever else the machine does meets all of them.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { nowUs } from './clock.ts'
import type { Contestant } from './contestant.ts'
import type { Arrived, Keys } from './control.ts'
import { Fleet } from './fleet.ts'
import type { Taken } from './fleet.ts'
import { Histogram } from './histogram.ts'
import type { Sample } from './sample.ts'

export interface LagPlan {
  readonly scenario: string
  readonly nodes: number
  /** Writes a second, of all nodes together. */
  readonly rate: number
  readonly valueBytes: number
  readonly warmingWrites: number
  readonly slices: number
  readonly sliceWrites: number
}

/** Between an order and its first write, for the order to get there. */
const leadUs = 50_000
/** After the last write of a slice. */
const settleMs = 150
const keys: Keys = { of: 'own', name: 'lag', count: 100 }

/** Writes in turn by all nodes; what arrived, by node. */
async function slice(
  fleet: Fleet,
  phase: number,
  writes: number,
  rate: number,
  valueBytes: number,
): Promise<{ readonly arrived: Arrived[]; readonly written: number }> {
  const nodes = fleet.members.length
  const periodUs = 1e6 / rate
  const firstUs = nowUs() + leadUs
  const each = Math.ceil(writes / nodes)
  const written = await Promise.all(
    fleet.members.map((member, at) =>
      member.ask('write', {
        kind: 'pace',
        phase,
        firstUs: firstUs + at * periodUs,
        periodUs: nodes * periodUs,
        count: each,
        keys,
        valueBytes,
        exactly: true,
      }),
    ),
  )
  await sleep(settleMs)
  const refused = written.find((one) => one.refused > 0)
  if (refused !== undefined) throw new Error(`${refused.refused} writes were refused: ${refused.why}`)
  return { arrived: await fleet.all('arrived', { phase }), written: each * nodes }
}

export function lagFigures(lag: Histogram): Sample['figures'] {
  const at = (share: number): number => lag.quantile(share) / 1000
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: lag.max / 1000 }
}

/** What a fleet took between two looks. */
export function takenFigures(before: Taken, after: Taken, writes: number): Sample['figures'] {
  const sum = (of: Taken, what: (node: Taken['nodes'][number]) => number): number =>
    of.nodes.reduce((total, node) => total + what(node), 0)
  const grown = (what: (node: Taken['nodes'][number]) => number): number => sum(after, what) - sum(before, what)
  const hubSent = after.hub === undefined ? 0 : grown(({ receivedBytes }) => receivedBytes)
  return {
    cpu: grown(({ cpuSeconds }) => cpuSeconds) + (after.hub?.cpuSeconds ?? 0) - (before.hub?.cpuSeconds ?? 0),
    peak: Math.max(...after.nodes.map(({ peakBytes }) => peakBytes)) / 1e6,
    ...(after.hub && { hubPeak: after.hub.peakBytes / 1e6 }),
    bytes: (grown(({ sentBytes }) => sentBytes) + hubSent) / writes,
  }
}

export async function lag(
  plan: LagPlan,
  all: readonly Contestant[],
  progress: (text: string) => void,
): Promise<Sample[]> {
  const { scenario, nodes, rate, valueBytes, warmingWrites, slices, sliceWrites } = plan
  const setting = `N = ${nodes}`
  const samples: Sample[] = []
  const fleets: Fleet[] = []
  const failed = (system: string, round: number, error: unknown): void => {
    const why = error instanceof Error ? error.message : String(error)
    samples.push({ scenario, setting, system, round, figures: {}, failed: why })
  }
  try {
    for (const contestant of all) {
      progress(`${setting}: starting ${contestant.id}`)
      try {
        const fleet = await Fleet.open(contestant, nodes)
        fleets.push(fleet)
        progress(`${setting}: warming up ${contestant.id}`)
        await slice(fleet, 0, warmingWrites, 5 * rate, valueBytes)
      } catch (error) {
        failed(contestant.id, 0, error)
      }
    }
    const standing = fleets.filter(({ contestant }) => !samples.some(({ system }) => system === contestant.id))
    for (let round = 0; round < slices; round++) {
      for (let turn = 0; turn < standing.length; turn++) {
        const fleet = standing[(turn + round) % standing.length] as Fleet
        const system = fleet.contestant.id
        progress(`${setting}: round ${round + 1} of ${slices}, ${system}`)
        try {
          const before = await fleet.taken()
          const { arrived, written } = await slice(fleet, round + 1, sliceWrites, rate, valueBytes)
          const after = await fleet.taken()
          const whole = Histogram.of(...arrived.map((one) => one.lag))
          samples.push({
            scenario,
            setting,
            system,
            round,
            figures: {
              ...lagFigures(whole),
              seen: (100 * whole.count) / (written * (nodes - 1)),
              ...takenFigures(before, after, written),
            },
            lag: whole.data(),
            service: Histogram.of(...arrived.map((one) => one.service)).data(),
          })
        } catch (error) {
          failed(system, round, error)
        }
      }
    }
    return samples
  } finally {
    await Promise.all(fleets.map((fleet) => fleet[Symbol.asyncDispose]()))
  }
}
