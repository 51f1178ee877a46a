/**
 * What clients saw, as events: an operation is invoked, and later ends ok, failed (it was not done and never will be) or with
 * nobody knowing (`info`). Times are of one monotonic clock, that of the tester. The faults stand among the operations.
 * The shape is that of Jepsen's histories. Nothing here knows how the product works.
 */
import { closeSync, openSync, writeSync } from 'node:fs'

export type Work =
  | { readonly f: 'add'; readonly key: string; readonly element: string }
  | { readonly f: 'read-set'; readonly key: string }
  | { readonly f: 'incr'; readonly key: string; readonly by: number }
  | { readonly f: 'read-counter'; readonly key: string }
  /** Registers are written by one session each, with ascending numbers. A session hands the token of each step on to the next. */
  | { readonly f: 'write'; readonly key: string; readonly number: number; readonly session: string }
  | { readonly f: 'read'; readonly key: string; readonly session: string }
  | { readonly f: 'acquire'; readonly key: string; readonly owner: string }
  | { readonly f: 'renew'; readonly key: string; readonly owner: string; readonly fence: number }
  | { readonly f: 'release'; readonly key: string; readonly owner: string; readonly fence: number }
  | { readonly f: 'read-claim'; readonly key: string }
  | { readonly f: 'grant'; readonly key: string; readonly amount: number }
  | { readonly f: 'spend'; readonly key: string; readonly amount: number }
  | { readonly f: 'read-budget'; readonly key: string }

export interface Result {
  readonly elements?: readonly string[]
  readonly sum?: number
  readonly number?: number
  readonly fence?: number
  /** For how long an acquired claim is held, from its invocation at the earliest. */
  readonly ttlMs?: number
  readonly owner?: string | null
  readonly granted?: number
  readonly spent?: number
  readonly overspent?: number
}

export type Outcome = 'ok' | 'fail' | 'info'

export interface Invoked {
  readonly type: 'invoke'
  readonly id: number
  readonly ms: number
  readonly client: string
  readonly node: number
  /** Which start of that node it was. */
  readonly life: number
  /** One of the reads after everything is healed. */
  readonly final?: true
  readonly work: Work
}

export interface Ended {
  readonly type: Outcome
  readonly id: number
  readonly ms: number
  readonly result?: Result
  /** Why not. */
  readonly why?: string
}

export interface Fault {
  readonly type: 'fault'
  readonly ms: number
  readonly what: string
  /** True: from here on nothing is wrong; false: from here on something is. */
  readonly calm?: boolean
}

export type Event = Invoked | Ended | Fault

export class History {
  readonly events: Event[] = []
  readonly #startMs: number = performance.now()
  readonly #file: number
  #next = 0
  #isClosed = false

  constructor(path: string) {
    this.#file = openSync(path, 'w')
  }

  get nowMs(): number {
    return Math.round((performance.now() - this.#startMs) * 1000) / 1000
  }

  invoke(client: string, node: number, life: number, work: Work, isFinal = false): number {
    const id = this.#next++
    this.#add({ type: 'invoke', id, ms: this.nowMs, client, node, life, ...(isFinal && { final: true }), work })
    return id
  }

  end(id: number, type: Outcome, { result, why }: { readonly result?: Result; readonly why?: string }): void {
    this.#add({ type, id, ms: this.nowMs, ...(result && { result }), ...(why !== undefined && { why }) })
  }

  fault(what: string, calm?: boolean): void {
    this.#add({ type: 'fault', ms: this.nowMs, what, ...(calm !== undefined && { calm }) })
  }

  close(): void {
    this.#isClosed = true
    closeSync(this.#file)
  }

  #add(event: Event): void {
    if (this.#isClosed) return
    this.events.push(event)
    writeSync(this.#file, `${JSON.stringify(event)}\n`)
  }
}
