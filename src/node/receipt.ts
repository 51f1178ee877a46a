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
  readonly #dot: Dot | undefined
  readonly #commits: Commits
  readonly #batch: number
  #durable: Promise<void> | undefined

  constructor(commits: Commits, result: Result, dot: Dot | undefined, batch: number) {
    this.#commits = commits
    this.result = result
    this.changed = dot !== undefined
    this.#dot = dot
    this.#batch = batch
  }

  /** A causal token that names this write; empty where it changed nothing. */
  get version(): string {
    return this.#dot === undefined ? '' : `${this.#dot.origin}-${this.#dot.seq.toString(36)}`
  }

  /** Resolves once the write survives what its durability names. While the disk is full it waits. */
  get durable(): Promise<void> {
    return (this.#durable ??= this.#commits.whenStored(this.#batch))
  }
}
