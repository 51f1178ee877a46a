/** What a write answers at once; its promises resolve as the node answers. */
import { SkeinError } from '../base/errors.ts'
import type { ReachOptions } from '../node/fleet.ts'

export interface WriteAnswer {
  readonly version: string
  readonly durable: boolean
  readonly changed: boolean
  readonly result?: unknown
  readonly results?: readonly unknown[]
  readonly entries?: readonly { readonly key: string; readonly version: string }[]
  readonly replayed?: boolean
}

/** What a receipt needs of the client. */
export interface Writing {
  /** Asks again until it is; undefined inside of a transaction, which is durable as a whole. */
  readonly untilDurable: (() => Promise<void>) | undefined
  reached(version: string, options: ReachOptions): Promise<readonly string[]>
}

export class ClientReceipt<Result = undefined> {
  readonly #answer: Promise<WriteAnswer>
  readonly #writing: Writing
  readonly #pick: (answer: WriteAnswer) => unknown
  #durable: Promise<void> | undefined = undefined
  #asking: Promise<void> | undefined = undefined
  #isLookedAt = false

  constructor(
    answer: Promise<WriteAnswer>,
    writing: Writing,
    unseen: (error: SkeinError) => void,
    pick: (answer: WriteAnswer) => unknown = ({ result }) => result,
  ) {
    this.#answer = answer
    this.#writing = writing
    this.#pick = pick
    answer.then(
      // It is asked for again whether somebody looks or not: until then the node keeps its answer.
      (first) => {
        if (!first.durable) void this.#later()
      },
      (error: SkeinError) => {
        if (!this.#isLookedAt) unseen(error)
      },
    )
  }

  /** What the operation answers, where it answers something: a reservation's id, a claim's fence. */
  get result(): Promise<Result> {
    return this.#look((answer) => this.#pick(answer) as Result)
  }

  /** False when the write changed nothing, and so cost nothing. */
  get changed(): Promise<boolean> {
    return this.#look(({ changed }) => changed)
  }

  /** A causal token that names this write, and the state of its entry: what a condition takes. */
  get version(): Promise<string> {
    return this.#look(({ version }) => version)
  }

  /** The entries of a transaction with their versions behind it. */
  get entries(): Promise<readonly { readonly key: string; readonly version: string }[]> {
    return this.#look(({ entries = [] }) => entries)
  }

  /** Resolves once the write survives what its durability names. */
  get durable(): Promise<void> {
    this.#durable ??= this.#look((answer) => {
      if (this.#writing.untilDurable === undefined) {
        throw new SkeinError('invalid_argument', 'inside a transaction, await the receipt of transact')
      }
      return answer.durable ? undefined : this.#later()
    })
    return this.#durable
  }

  /**
   * Resolves once as many other members as asked for (all that are alive and hold the space, unless told otherwise) have
   * the write on their disks, with their names. Fails with `not_reached`, which names who is behind.
   */
  async reached(options: ReachOptions = {}): Promise<readonly string[]> {
    await this.durable
    const { version, changed } = await this.#answer
    return changed ? this.#writing.reached(version, options) : []
  }

  #later(): Promise<void> | undefined {
    if (this.#asking === undefined) {
      this.#asking = this.#writing.untilDurable?.()
      this.#asking?.catch(() => undefined)
    }
    return this.#asking
  }

  #look<T>(then: (answer: WriteAnswer) => T | Promise<T>): Promise<T> {
    this.#isLookedAt = true
    const promise = this.#answer.then(then)
    // Receipts are looked at one after the other: one that fails before its turn must not end the process.
    promise.catch(() => undefined)
    return promise
  }
}
