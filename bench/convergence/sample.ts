/** One measurement: everything that the report shows, and that two runs are compared by, is made from these. */
import type { Arrived } from './control.ts'
import type { Taken } from './fleet.ts'
import { Histogram } from './histogram.ts'
import type { HistogramData } from './histogram.ts'

/** How a metric is written and which way is better. */
export interface Metric {
  readonly unit: 'ms' | 's' | 'MB' | 'bytes' | '/s' | '%' | 'x' | ''
  readonly better: 'less' | 'more'
  readonly says: string
}

export type MetricName =
  | 'p50'
  | 'p90'
  | 'p99'
  | 'p999'
  | 'max'
  | 'seen'
  | 'rate'
  | 'equal'
  | 'first'
  | 'transfer'
  | 'overhead'
  | 'exchanged'
  | 'fill'
  | 'flows'
  | 'lost'
  | 'p99Before'
  | 'refused'
  | 'offered'
  | 'acked'
  | 'cpu'
  | 'peak'
  | 'hubPeak'
  | 'bytes'
  | 'memoryGrowth'
  | 'diskGrowth'
  | 'lagGrowth'

export const metrics: Readonly<Record<MetricName, Metric>> = {
  p50: { unit: 'ms', better: 'less', says: 'lag, half of all' },
  p90: { unit: 'ms', better: 'less', says: 'lag, 90 %' },
  p99: { unit: 'ms', better: 'less', says: 'lag, 99 %' },
  p999: { unit: 'ms', better: 'less', says: 'lag, 99.9 %' },
  max: { unit: 'ms', better: 'less', says: 'longest lag' },
  seen: { unit: '%', better: 'more', says: 'seen by the others' },
  rate: { unit: '/s', better: 'more', says: 'converged writes' },
  equal: { unit: 's', better: 'less', says: 'until all are equal' },
  first: { unit: 's', better: 'less', says: 'until the first change came' },
  transfer: { unit: 's', better: 'less', says: 'from the first change to the last' },
  overhead: { unit: 'x', better: 'less', says: 'bytes received, of keys and values' },
  exchanged: { unit: 'bytes', better: 'less', says: 'bytes exchanged beside the entries' },
  fill: { unit: '/s', better: 'more', says: 'while filling' },
  flows: { unit: 's', better: 'less', says: 'from its start until its writes are seen' },
  lost: { unit: '', better: 'less', says: 'acknowledged writes lost' },
  p99Before: { unit: 'ms', better: 'less', says: 'lag before, 99 %' },
  refused: { unit: '%', better: 'less', says: 'writes refused, or not acknowledged' },
  offered: { unit: '/s', better: 'more', says: 'writes offered' },
  acked: { unit: 'ms', better: 'less', says: 'acknowledged, 99 %' },
  cpu: { unit: 's', better: 'less', says: 'processor time' },
  peak: { unit: 'MB', better: 'less', says: 'peak memory of a node' },
  hubPeak: { unit: 'MB', better: 'less', says: 'peak memory of the hub' },
  bytes: { unit: 'bytes', better: 'less', says: 'bytes sent a write' },
  memoryGrowth: { unit: 'MB', better: 'less', says: 'memory, last third above the middle one' },
  diskGrowth: { unit: 'MB', better: 'less', says: 'disk, last third above the middle one' },
  lagGrowth: { unit: 'x', better: 'less', says: 'median lag of the last third, of that of the first' },
}

export type Figures = Readonly<Partial<Record<MetricName, number>>>

/** What happened when, in seconds from the scenario's own zero. */
export interface Timeline {
  /** For each tenth of a second: when, how many changes came, and the longest lag of them in milliseconds. */
  readonly arrivals: readonly (readonly [second: number, count: number, maxMs: number])[]
  readonly marks: readonly { readonly second: number; readonly says: string }[]
}

/** One look during a long run. */
export interface CoursePoint {
  readonly second: number
  readonly p50: number
  readonly residentMb: number
  readonly diskMb: number
}

export interface Sample {
  /** `a` … `l`. */
  readonly scenario: string
  /** What varies within it: `N = 3`. */
  readonly setting: string
  readonly system: string
  readonly round: number
  readonly figures: Figures
  readonly lag?: HistogramData
  readonly service?: HistogramData
  readonly timeline?: Timeline
  readonly course?: readonly CoursePoint[]
  /** It could not be measured, and why. */
  readonly failed?: string
}

export function lagFigures(lag: Histogram): Figures {
  const at = (share: number): number => lag.quantile(share) / 1000
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: lag.max / 1000 }
}

/** The lag of what came to all of these, and how much of it did. */
export function lagOf(arrived: readonly Arrived[], expected: number): Pick<Sample, 'figures' | 'lag' | 'service'> {
  const whole = Histogram.of(...arrived.map(({ lag }) => lag))
  const figures = { ...lagFigures(whole), seen: (100 * whole.count) / expected }
  return { figures, lag: whole.data(), service: Histogram.of(...arrived.map(({ service }) => service)).data() }
}

/** What a fleet took between two looks. */
export function takenFigures(before: Taken, after: Taken, writes: number): Figures {
  return {
    cpu:
      grown(before, after, ({ cpuSeconds }) => cpuSeconds) +
      (after.hub?.cpuSeconds ?? 0) -
      (before.hub?.cpuSeconds ?? 0),
    peak: Math.max(...after.nodes.map(({ peakBytes }) => peakBytes)) / 1e6,
    ...(after.hub && { hubPeak: after.hub.peakBytes / 1e6 }),
    bytes: sentBytes(before, after) / writes,
  }
}

/** By nodes and hub together. */
export function sentBytes(before: Taken, after: Taken): number {
  const byNodes = grown(before, after, (node) => node.sentBytes)
  return byNodes + (after.hub === undefined ? 0 : grown(before, after, (node) => node.receivedBytes))
}

function grown(before: Taken, after: Taken, what: (node: Taken['nodes'][number]) => number): number {
  const sum = ({ nodes }: Taken): number => nodes.reduce((total, node) => total + what(node), 0)
  return sum(after) - sum(before)
}
