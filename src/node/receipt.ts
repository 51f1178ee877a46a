/** What a write answers: it is applied here already, and this says how far beyond it has come. */
import type { Dot } from '../crdt/dot.ts'

/** How safe a write must be before `durable` resolves: with this process gone, or with the power gone. */
export type Durability = 'memory' | 'os' | 'disk'

export interface Commits {
  /** Resolves when the batch of that number is on disk. */
  whenStored(batch: number): Promise<void>
}

export class Receipt<Result = undefined> {
  /** What the operation answers, where it answers something: a reservation's id, a claim's fence. */
  readonly result: Result
  /** False when the write changed nothing, and so cost nothing. */
  readonly changed: boolean
  /** A causal token that names this write. */
  readonly version: string
  readonly #commits: Commits
  readonly #batch: number
  #durable: Promise<void> | undefined

  constructor(commits: Commits, result: Result, dot: Dot | undefined, batch: number, version: string) {
    this.#commits = commits
    this.result = result
    this.changed = dot !== undefined
    this.version = version
    this.#batch = batch
  }

  /** Resolves once the write survives what its durability names. While the disk is full it waits. */
  get durable(): Promise<void> {
    return (this.#durable ??= this.#commits.whenStored(this.#batch))
  }
}
