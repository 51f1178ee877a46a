/** One measurement: everything that the report shows, and that two runs are compared by, is made from these. */
import type { HistogramData } from './histogram.ts'

/** How a metric is written and which way is better. */
export interface Metric {
  readonly unit: 'ms' | 's' | 'MB' | 'bytes' | '/s' | '%' | 'x' | ''
  readonly better: 'less' | 'more'
  readonly says: string
}

export type MetricName = 'p50' | 'p90' | 'p99' | 'p999' | 'max' | 'seen' | 'cpu' | 'peak' | 'hubPeak' | 'bytes'

export const metrics: Readonly<Record<MetricName, Metric>> = {
  p50: { unit: 'ms', better: 'less', says: 'lag, median' },
  p90: { unit: 'ms', better: 'less', says: 'lag, 90 %' },
  p99: { unit: 'ms', better: 'less', says: 'lag, 99 %' },
  p999: { unit: 'ms', better: 'less', says: 'lag, 99.9 %' },
  max: { unit: 'ms', better: 'less', says: 'lag, longest' },
  seen: { unit: '%', better: 'more', says: 'changes seen by the others' },
  cpu: { unit: 's', better: 'less', says: 'processor seconds, all processes' },
  peak: { unit: 'MB', better: 'less', says: 'peak memory of a node, the largest' },
  hubPeak: { unit: 'MB', better: 'less', says: 'peak memory of the hub' },
  bytes: { unit: 'bytes', better: 'less', says: 'bytes that nodes and hub sent, a write' },
}

export interface Sample {
  /** `a` … `l`. */
  readonly scenario: string
  /** What varies within it: `N = 3`. */
  readonly setting: string
  readonly system: string
  readonly round: number
  readonly figures: Readonly<Partial<Record<MetricName, number>>>
  readonly lag?: HistogramData
  readonly service?: HistogramData
  /** It could not be measured, and why. */
  readonly failed?: string
}
