/** What a scenario of the convergence bench is: data, with its goals beside it. A goal changes only by an issue that says why. */
import type { Contestant } from './contestant.ts'
import type { MetricName, Sample } from './sample.ts'

/** One write at a time, by each node in turn. */
export interface LagRun {
  readonly kind: 'lag'
  readonly nodes: number
  /** Writes a second, of all nodes together. */
  readonly rate: number
  readonly valueBytes: number
  readonly warming: { readonly writes: number; readonly rate: number }
  readonly slices: number
  readonly sliceWrites: number
  /** All fleets stand at once and take turns slice by slice, rather than one after the other: where memory allows. */
  readonly isTogether: boolean
  /** What every link is, with a shaper in it. */
  readonly link?: { readonly delayMs: number; readonly jitterMs: number; readonly loss: number }
}

/** As fast as it goes, then again at shares of that. */
export interface LoadRun {
  readonly kind: 'load'
  readonly nodes: number
  readonly valueBytes: number
  readonly probe: number
  readonly shares: readonly number[]
  readonly seconds: number
}

/** All nodes write as fast as they can, until all have all. */
export interface RushRun {
  readonly kind: 'rush'
  readonly nodes: number
  readonly valueBytes: number
  /** Writes of each before anything is measured. */
  readonly warming: number
  /** Writes of each. */
  readonly count: number
  readonly keys: 'distinct' | 'one'
}

/** One node is cut off while the others write. */
export interface MissedRun {
  readonly kind: 'missed'
  readonly valueBytes: number
  readonly warming: number
  readonly count: number
}

/** Much state on two nodes, a few differences, then a third node that has nothing. */
export interface BulkRun {
  readonly kind: 'bulk'
  readonly valueBytes: number
  readonly entries: number
  readonly differing: number
}

/** Half against half, under load. */
export interface PartitionRun {
  readonly kind: 'partition'
  readonly nodes: number
  readonly valueBytes: number
  readonly rate: number
  readonly beforeSeconds: number
  readonly cutSeconds: number
}

/** The links of one node are too narrow for what comes. */
export interface SlowRun {
  readonly kind: 'slow'
  readonly nodes: number
  readonly valueBytes: number
  readonly rate: number
  readonly seconds: number
  /** Of all links of the slow node together. */
  readonly bytesPerSecond: number
}

/** A node is killed under load and started again. */
export interface CrashRun {
  readonly kind: 'crash'
  readonly nodes: number
  readonly valueBytes: number
  readonly rate: number
  readonly beforeSeconds: number
  readonly downSeconds: number
  readonly afterSeconds: number
}

/** The same load for long. */
export interface SteadyRun {
  readonly kind: 'steady'
  readonly nodes: number
  readonly valueBytes: number
  readonly rate: number
  readonly seconds: number
  readonly windowSeconds: number
}

/** One types, the others read along; then all set fields of one JSON document. */
export interface DocumentsRun {
  readonly kind: 'documents'
  readonly nodes: number
  readonly valueBytes: number
  /** Edits of the text. */
  readonly count: number
  /** Edits of the JSON document, so many a second. */
  readonly writes: number
  readonly rate: number
}

export type Run =
  | LagRun
  | LoadRun
  | RushRun
  | MissedRun
  | BulkRun
  | PartitionRun
  | SlowRun
  | CrashRun
  | SteadyRun
  | DocumentsRun

export interface Setting<Of extends Run = Run> {
  readonly label: string
  readonly run: Of
  readonly rounds: number
  /** The longest that any wait may take; what is not done by then is reported as that. */
  readonly withinSeconds: number
  /** Only who did this in an earlier setting of the scenario is asked: the others would end at the time limit. */
  readonly after?: { readonly setting: string; readonly metric: MetricName; readonly atLeast: number }
}

/** What a figure of one system must be beside that of others, in the same setting. */
export interface Goal {
  readonly setting: string
  readonly metric: MetricName
  readonly of: string
  /** By id, or every one of a kind: the best of them that was measured. Nobody: the figure itself. */
  readonly over?: { readonly ids?: readonly string[]; readonly kinds?: readonly string[]; readonly says: string }
  readonly atMost?: number
  readonly atLeast?: number
}

export interface Scenario {
  readonly letter: string
  readonly name: string
  /** In plain words: what is done, and what is measured. */
  readonly measures: string
  /** Where it is included without being named. */
  readonly runsIn: readonly ('all' | 'quick')[]
  /** The figures that a reader looks at first. */
  readonly shows: readonly MetricName[]
  readonly settings: { readonly full: readonly Setting[]; readonly quick: readonly Setting[] }
  /** Why it says nothing of a system; nothing where it does. */
  readonly excludes: (contestant: Contestant) => string | undefined
  readonly goals: readonly Goal[]
}

/** What a run says of one contestant: a sample without the words that say which. */
export interface Result extends Omit<Sample, 'scenario' | 'setting' | 'system' | 'round'> {
  /** Where one run measures for two scenarios, or for several settings. */
  readonly scenario?: string
  readonly setting?: string
}

export interface Course<Of extends Run = Run> {
  readonly contestant: Contestant
  readonly run: Of
  readonly withinMs: number
  readonly round: number
  readonly progress: (text: string) => void
}
