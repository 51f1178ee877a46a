/** What a write answers: it is applied here already, and this says how far beyond it has come. */
import type { Dot } from '../crdt/dot.ts'
import type { Space } from '../replica/space.ts'
import type { ReachOptions } from './fleet.ts'

/** How safe a write must be before `durable` resolves: with this process gone, or with the power gone. */
export type Durability = 'memory' | 'os' | 'disk'

export interface Commits {
  /** Resolves when the batch of that number is on disk. */
  whenStored(batch: number): Promise<void>
  /** Resolves with the members whose disks have these dots, once they are enough. */
  whenReached(space: Space, dots: readonly Dot[], options: ReachOptions): Promise<readonly string[]>
}

export class Receipt<Result = undefined> {
  /** What the operation answers, where it answers something: a reservation's id, a claim's fence. */
  readonly result: Result
  /** False when the write changed nothing, and so cost nothing. */
  readonly changed: boolean
  readonly #space: Space | undefined
  readonly #dot: Dot | undefined
  readonly #commits: Commits
  readonly #batch: number
  #durable: Promise<void> | undefined

  constructor(commits: Commits, result: Result, space: Space | undefined, dot: Dot | undefined, batch: number) {
    this.#commits = commits
    this.#space = space
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

  /**
   * Resolves once as many other members as asked for (all that are alive and hold the space, unless told otherwise) have
   * the write on their disks, with their names. Fails with `not_reached`, which names who is behind.
   */
  async reached(options: ReachOptions = {}): Promise<readonly string[]> {
    await this.durable
    if (this.#space === undefined || this.#dot === undefined) return []
    return this.#commits.whenReached(this.#space, [this.#dot], options)
  }
}
