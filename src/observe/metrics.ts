/**
 * The metrics of a node: one table, from which the registry and docs/METRICS.md come, and an object through which the
 * driver fills them. A driver without that object pays nothing; one that has it binds each series once and then adds
 * numbers. Nothing appears in the answer before somebody fills it.
 *
 * prom-client keeps the numbers and writes the text format.
 */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import { limits } from '../base/limits.ts'

export interface MetricFacts {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly labels: readonly string[]
  /** Of histograms. */
  readonly buckets?: keyof typeof buckets
}

/** Upper bounds in seconds. */
export const buckets: Readonly<Record<'lag' | 'work', readonly number[]>> = {
  /** From a write on the same host to a minute behind; beyond that, the size of the lag tells no more. */
  lag: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  /** From a step in memory to a disk that stalls. */
  work: [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
}

/** Every metric, without its prefix. */
export const metricTable = {
  convergence_lag_seconds: {
    kind: 'histogram',
    help: 'From the time of a write at its writer to its applying here. Clocks that differ show in it.',
    labels: ['origin'],
    buckets: 'lag',
  },
  deltas_total: {
    kind: 'counter',
    help: 'Deltas: written here, sent (to each peer), received and applied, received again (`repeated`), applied void.',
    labels: ['direction'],
  },
  delta_bytes_total: { kind: 'counter', help: 'Bytes of deltas, without their envelopes.', labels: ['direction'] },
  merge_seconds: {
    kind: 'histogram',
    help: 'One step of the machine: everything that one message, one timer or the writes of one turn made it do.',
    labels: [],
    buckets: 'work',
  },
  sync_sessions_total: {
    kind: 'counter',
    help: 'Sessions of anti-entropy that came to an end.',
    labels: ['step', 'outcome'],
  },
  sync_bytes_total: { kind: 'counter', help: 'Bytes of deltas and cells in those sessions.', labels: ['direction'] },
  sync_cells_total: { kind: 'counter', help: 'Cells that went through those sessions.', labels: ['direction'] },
  vector_divergence: {
    kind: 'gauge',
    help: 'Deltas that are known to exist and are not applied here yet.',
    labels: [],
  },
  conflicts_total: {
    kind: 'counter',
    help: 'Conflicts as this node heard of them: opened, grown by a branch, reopened, settled, and what was said of them.',
    labels: ['rule', 'outcome'],
  },
  conflicts_settled_total: {
    kind: 'counter',
    help: 'Conflicts that were settled, by whom: a policy, a person (as the space names them) or an agent. The share of `policy` is what needed nobody.',
    labels: ['rule', 'by'],
  },
  conflict_repeats_total: {
    kind: 'counter',
    help: 'Conflicts on something on which one was settled before: where they come from is to be mended.',
    labels: ['rule'],
  },
  conflicts_open: { kind: 'gauge', help: 'Conflicts that nobody has settled yet.', labels: ['rule'] },
  conflict_age_seconds: {
    kind: 'gauge',
    help: 'For how long the oldest open conflict of each severity has been so; 0 without any.',
    labels: ['severity'],
  },
  conflict_errands_total: {
    kind: 'counter',
    help: 'What this node did outside about conflicts, for the whole fleet: told a target (`notify`), asked a resolver (`ask`), ran an action (`run`).',
    labels: ['kind', 'outcome'],
  },
  members: { kind: 'gauge', help: 'Members that this node knows of, by what it thinks of them.', labels: ['state'] },
  links: { kind: 'gauge', help: 'Peers that this node has a link to.', labels: [] },
  probe_seconds: {
    kind: 'histogram',
    help: 'From a ping to its ack.',
    labels: [],
    buckets: 'lag',
  },
  store_commit_seconds: {
    kind: 'histogram',
    help: 'One batch on its way to the disk.',
    labels: ['durability'],
    buckets: 'work',
  },
  store_bytes: { kind: 'gauge', help: 'Bytes of the data directory.', labels: [] },
  store_waiting_bytes: { kind: 'gauge', help: 'Bytes that wait for the disk.', labels: [] },
  store_refusing: { kind: 'gauge', help: '1 while the disk refuses writes, else 0.', labels: [] },
  cells: { kind: 'gauge', help: 'Live siblings, over all spaces.', labels: [] },
  entries: { kind: 'gauge', help: 'Entries, over all spaces.', labels: [] },
  log_bytes: { kind: 'gauge', help: 'Bytes of deltas that are kept for history and for peers.', labels: [] },
  waiting_room: { kind: 'gauge', help: 'Deltas that wait for what they follow.', labels: [] },
  dropped_total: {
    kind: 'counter',
    help: 'What was let go and is fetched another way: `deltas` nobody could complete, the queue of a slow `peer`, that of a slow `watcher`.',
    labels: ['what'],
  },
  clock_skew_seconds: {
    kind: 'gauge',
    help: "A linked peer's clock less ours, when it said hello; how long that was on its way is in it.",
    labels: ['peer'],
  },
  integrity_events_total: {
    kind: 'counter',
    help: 'Damage, forks and spaces that are at a loss. Any increase wants a look.',
    labels: ['what'],
  },
  dial_failures_total: { kind: 'counter', help: 'Attempts to reach another node that failed.', labels: ['code'] },
  peer_faults_total: { kind: 'counter', help: 'Bytes or frames of peers that were no good.', labels: ['code'] },
  loop_lag_seconds: {
    kind: 'gauge',
    help: 'By how much the event loop was late, at most, since the last reading.',
    labels: [],
  },
  http_requests_total: { kind: 'counter', help: 'Requests that were answered.', labels: ['method', 'route', 'status'] },
  http_request_seconds: {
    kind: 'histogram',
    help: 'From a request to the end of its answer; streams are not in it.',
    labels: ['route'],
    buckets: 'work',
  },
  watchers: { kind: 'gauge', help: 'Watches that are open.', labels: [] },
} as const

export const metricPrefix = 'skein_' as const

type Table = typeof metricTable
type NameOf<Kind extends MetricFacts['kind']> = {
  [Name in keyof Table]: Table[Name]['kind'] extends Kind ? Name : never
}[keyof Table]
type LabelsOf<Name extends keyof Table> = { readonly [Label in Table[Name]['labels'][number]]: string }

export type CounterName = NameOf<'counter'>
export type GaugeName = NameOf<'gauge'>
export type HistogramName = NameOf<'histogram'>

/** What a gauge shows when it is asked: each series with its labels. */
export type Reading<Name extends GaugeName> = Iterable<readonly [LabelsOf<Name>, number]>

export interface Metrics {
  /** A series, bound once: its answer adds to it. */
  counter<Name extends CounterName>(name: Name, labels: LabelsOf<Name>): (by?: number) => void
  /** A series, bound once: its answer takes one value. */
  histogram<Name extends HistogramName>(name: Name, labels: LabelsOf<Name>): (value: number) => void
  /** Asked when somebody reads the metrics, and only then. A second reading under one name replaces the first. */
  gauge<Name extends GaugeName>(name: Name, read: () => Reading<Name> | Promise<Reading<Name>>): void
  /** All of it in the text format of Prometheus. */
  text(): Promise<string>
  readonly contentType: string
}

/** What the series of all labels beyond the bound are told under. */
const others = 'other'

export function openMetrics(options: { readonly process?: boolean } = {}): Metrics {
  const registry = new Registry()
  if (options.process === true) collectDefaultMetrics({ register: registry })
  const counters = new Map<string, Counter>()
  const histograms = new Map<string, Histogram>()
  const readings = new Map<string, () => Reading<GaugeName> | Promise<Reading<GaugeName>>>()
  const seen = new Map<string, Set<string>>()

  /** Names of peers and origins come and go without end; a scrape must not grow with them. */
  const bounded = (metric: string, labels: Readonly<Record<string, string>>): Record<string, string> => {
    const entries = Object.entries(labels).map(([label, value]) => {
      const known = seen.get(`${metric} ${label}`) ?? new Set()
      seen.set(`${metric} ${label}`, known)
      if (!known.has(value) && known.size >= limits.metricLabelValues) return [label, others] as const
      known.add(value)
      return [label, value] as const
    })
    return Object.fromEntries(entries)
  }

  return {
    counter(name, labels) {
      const { help, labels: labelNames } = factsOf(name)
      const metric =
        counters.get(name) ?? new Counter({ name: metricPrefix + name, help, labelNames, registers: [registry] })
      counters.set(name, metric)
      const series = metric.labels(bounded(name, labels))
      series.inc(0)
      return (by = 1) => series.inc(by)
    },
    histogram(name, labels) {
      const { help, labels: labelNames, buckets: scale = 'work' } = factsOf(name)
      const metric =
        histograms.get(name) ??
        new Histogram({
          name: metricPrefix + name,
          help,
          labelNames,
          buckets: [...buckets[scale]],
          registers: [registry],
        })
      histograms.set(name, metric)
      const series = metric.labels(bounded(name, labels))
      // A clock that is ahead of ours gives a write of the future: that is no negative lag.
      return (value) => series.observe(Math.max(0, value))
    },
    gauge(name, read) {
      const isNew = !readings.has(name)
      readings.set(name, read as () => Reading<GaugeName>)
      if (!isNew) return
      const { help, labels: labelNames } = factsOf(name)
      const metric = new Gauge({
        name: metricPrefix + name,
        help,
        labelNames,
        registers: [registry],
        async collect() {
          const series = (await readings.get(name)?.()) ?? []
          metric.reset()
          let left: number = limits.metricLabelValues
          for (const [labels, value] of series) {
            if (left-- === 0) break
            metric.set({ ...labels }, value)
          }
        },
      })
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

function factsOf(name: keyof Table): MetricFacts {
  return metricTable[name]
}
