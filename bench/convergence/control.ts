/** What the bench says to the processes of a fleet, and what they answer. Over IPC, never while a write is under way. */
import type { HistogramData } from './histogram.ts'
import type { HubPlace, Place } from './system.ts'

/** Writes at times that stand beforehand, whatever becomes of the ones before. */
export interface Pace {
  readonly kind: 'pace'
  readonly phase: number
  readonly firstUs: number
  readonly periodUs: number
  readonly count: number
  readonly keys: Keys
  readonly valueBytes: number
  /** To the microsecond rather than to a timer's slack; see clock.ts. */
  readonly exactly: boolean
  /** Tells the bench of each acknowledgement as it comes: the process may be killed. */
  readonly tells?: boolean
  /** Fields of the JSON document rather than entries: the writer's object, in it the key. */
  readonly isJson?: boolean
}

/** Writes as fast as the system takes them, with at most so many unacknowledged. */
export interface Rush {
  readonly kind: 'rush'
  readonly phase: number
  readonly count: number
  readonly keys: Keys
  readonly valueBytes: number
  readonly window: number
  readonly startUs: number
}

/** `own`: so many keys of each writer, in turn; `shared`: the same for all writers. */
export interface Keys {
  readonly of: 'own' | 'shared'
  readonly name: string
  readonly count: number
}

export interface Written {
  readonly written: number
  /** Refused, with what the first refusal said. */
  readonly refused: number
  readonly why: string
  readonly startedUs: number
  /** When the last was acknowledged. */
  readonly acknowledgedUs: number
  /** From the call to the acknowledgement, in microseconds. */
  readonly acknowledging: HistogramData
}

/** What came from others in one phase. */
export interface Arrived {
  readonly count: number
  /** From when it was due. */
  readonly lag: HistogramData
  /** From when it was written. */
  readonly service: HistogramData
  readonly firstUs: number
  readonly lastUs: number
  /** By the tenth of a second in which it came: how many, and the longest lag in microseconds. */
  readonly timeline: readonly (readonly [tenth: number, count: number, maxUs: number])[]
}

export interface Wire {
  readonly sentBytes: number
  readonly receivedBytes: number
}

/** Each order and its answer. */
export interface Orders {
  readonly openHub: {
    readonly order: { readonly system: string; readonly place: HubPlace }
    readonly answer: HubOpened
  }
  readonly open: { readonly order: { readonly system: string; readonly place: Place }; readonly answer: Opened }
  readonly ready: { readonly order: object; readonly answer: { readonly isReady: boolean } }
  readonly write: { readonly order: Pace | Rush; readonly answer: Written }
  readonly arrived: {
    /** `forgets`: it is not asked for again. */
    readonly order: { readonly phase: number; readonly forgets?: boolean }
    readonly answer: Arrived
  }
  readonly count: { readonly order: object; readonly answer: { readonly count: number } }
  /** Answers once so many entries can be read here, or the time is over. */
  readonly until: {
    readonly order: { readonly count: number; readonly untilUs: number }
    readonly answer: { readonly count: number; readonly atUs: number }
  }
  /** The values of keys, as one hash, and how many of them are there. */
  readonly digest: {
    readonly order: { readonly keys: readonly string[] }
    readonly answer: { readonly digest: string; readonly found: number }
  }
  /** Arrivals of fields of the JSON document count from now on. */
  readonly follow: { readonly order: object; readonly answer: object }
  /** An editing session, as fast as it goes. */
  readonly type: {
    readonly order: { readonly count: number; readonly seed: number; readonly startUs: number }
    readonly answer: object
  }
  readonly text: { readonly order: object; readonly answer: { readonly digest: string; readonly length: number } }
  readonly wire: { readonly order: object; readonly answer: Wire }
  readonly close: { readonly order: object; readonly answer: object }
}

export interface Opened {
  readonly tookUs: number
}

export interface HubOpened {
  readonly pids: readonly number[]
  readonly isElsewhere: boolean
}

export type OrderName = keyof Orders

export interface Envelope {
  readonly id: number
  readonly name: OrderName
  readonly order: unknown
}

/** Sent unasked: this write was acknowledged. */
export interface Note {
  readonly acknowledged: number
}

export interface Reply {
  readonly id: number
  readonly answer?: unknown
  readonly failed?: string
}
