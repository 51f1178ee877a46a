/** What a run of `skein bench` comes to. */
import type { Load, LoadPlan } from './load.ts'
import type { Samples, Stretch, Summary } from './samples.ts'

export interface Series {
  /** What had happened when the time ended. */
  readonly until: string
  readonly all: Summary
  readonly stretches: readonly Stretch[]
}

export interface BenchReport {
  readonly node: string
  /** Wall-clock milliseconds of the start. */
  readonly at: number
  readonly asked: LoadPlan
  readonly tookMs: number
  readonly stopped: boolean
  readonly says: string
  readonly writes: {
    readonly due: number
    readonly answered: number
    readonly failed: number
    readonly lastError?: string
  }
  readonly series: readonly Series[]
  /** What it wrote is gone again. */
  readonly cleaned: boolean
}

const says =
  "Each time runs from the moment at which a write was due, by this process's one clock, so what a stalled fleet could not take is counted. A node's word that it has a write is timed when it arrives here, so the way from that node to here is in it."

export function reportOf(
  load: Load,
  facts: Pick<BenchReport, 'node' | 'at' | 'asked' | 'tookMs' | 'stopped' | 'cleaned'>,
): BenchReport {
  const everyMs = Math.max(250, facts.tookMs / 120)
  const series = (until: string, samples: Samples): Series => ({
    until,
    all: samples.all(),
    stretches: samples.stretches(everyMs),
  })
  const { due, answered, failed, lastError } = load
  return {
    ...facts,
    says,
    writes: { due, answered, failed, ...(lastError !== undefined && { lastError }) },
    series: [
      series(`durable at ${facts.node}`, load.written),
      series('on the disks of all living members (some writes)', load.everywhere),
      ...Array.from(load.seen, ([node, samples]) => series(`seen through ${node}`, samples)),
    ],
  }
}
