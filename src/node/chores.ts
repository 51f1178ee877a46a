/** What a node does now and then beside its protocols: entries whose time is over, rows of deleted spaces. */
import { SkeinError } from '../base/errors.ts'
import { nodeOf } from '../crdt/dot.ts'
import type { Dot } from '../crdt/dot.ts'
import { expiryAt } from '../replica/replica.ts'
import type { Expiring, Replica } from '../replica/replica.ts'
import { spaceRange, table, tablesOfSpace } from '../replica/row-keys.ts'
import type { Space } from '../replica/space.ts'
import type { Store } from '../store/store.ts'

export interface ChoresHost {
  readonly id: string
  readonly replica: Replica
  readonly store: Store
  isOpen(): boolean
  now(): number
  /** Throws where nothing may be written. */
  writable(): void
  wrote(batch: number): void
  flush(): Promise<void>
  /** The living members that hold a space, without this node. */
  holders(space: Space): readonly string[]
}

/** Before another node deletes what expired, so that the writer's own node does it; then one after the other. A guess. */
const graceMs = 5_000
/** Beyond so many nobody waits longer. */
const mostGraces = 8
const retryMs = 5_000
/** Timers take no more than this; longer waits are taken in pieces. */
const timerMostMs = 2 ** 31 - 1

export class Chores {
  readonly #host: ChoresHost
  #timer: NodeJS.Timeout | undefined
  #at = Infinity
  #purging: Promise<void> = Promise.resolve()

  constructor(host: ChoresHost) {
    this.#host = host
  }

  /** Looks for what expires first, and goes on with what an earlier run has left. */
  async start(): Promise<void> {
    const { replica, store } = this.#host
    for (const space of replica.spaces) {
      for await (const page of store.range(spaceRange(table.expiry, space.number))) {
        const [first] = page
        if (first !== undefined) space.nextExpiry = expiryAt(first[0]).atMs
        break
      }
      this.look(space)
    }
    if (replica.dead.length > 0) void this.purge()
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#purging.catch(() => undefined)
  }

  /** Something may have been written there that expires sooner than what is waited for. */
  look(space: Space): void {
    if (space.nextExpiry < this.#at) this.#schedule(space.nextExpiry)
  }

  /** The rows of dead spaces go; resolves once they are gone. */
  purge(): Promise<void> {
    const { replica, store } = this.#host
    this.#purging = this.#purging
      .then(async () => {
        for (const space of replica.dead) {
          for (const each of tablesOfSpace) {
            for await (const page of store.range(spaceRange(each, space.number))) {
              for (const [key] of page) replica.remove(key)
              await this.#host.flush()
            }
          }
        }
      })
      .catch((error: unknown) => {
        // Closed or full meanwhile: the next opening goes on.
        if (!(error instanceof SkeinError)) throw error
      })
    return this.#purging
  }

  #schedule(atMs: number): void {
    clearTimeout(this.#timer)
    this.#at = atMs
    if (atMs === Infinity) return
    const waitMs = Math.min(Math.max(atMs - this.#host.now(), 0) + 1, timerMostMs)
    this.#timer = setTimeout(() => {
      this.#expire().catch((error: unknown) => {
        // Closed or full meanwhile: what is due stays due, and is found again.
        if (!(error instanceof SkeinError)) throw error
        if (this.#host.isOpen()) this.#schedule(this.#host.now() + retryMs)
      })
    }, waitMs)
    this.#timer.unref()
  }

  async #expire(): Promise<void> {
    const host = this.#host
    await host.flush()
    const nowMs = host.now()
    for (const space of host.replica.spaces) {
      if (space.nextExpiry > nowMs) continue
      const holders = host.holders(space)
      // `nextExpiry` moves at the end: if the scan fails, what is due stays due.
      let later = Infinity
      space.soonest = Infinity
      for await (const page of host.store.range(spaceRange(table.expiry, space.number))) {
        const due: Expiring[] = []
        let isOver = false
        for (const [key] of page) {
          const { atMs, expiring } = expiryAt(key)
          if (atMs > nowMs) {
            later = Math.min(later, atMs)
            isOver = true
            break
          }
          const turnMs = atMs + graceMs * this.#place(expiring.dot, holders)
          if (turnMs <= nowMs) due.push(expiring)
          else later = Math.min(later, turnMs)
        }
        if (due.length > 0) {
          host.writable()
          host.wrote(host.replica.expire(space, due, nowMs))
        }
        if (isOver) break
      }
      space.nextExpiry = Math.min(later, space.soonest)
    }
    this.#schedule(Math.min(...host.replica.spaces.map((space) => space.nextExpiry), Infinity))
  }

  /** How many graces this node waits before it deletes what that dot wrote: none for its own. */
  #place({ origin, seq }: Dot, holders: readonly string[]): number {
    const { id } = this.#host
    if (nodeOf(origin) === id) return 0
    const own = rank(id, seq)
    let before = 0
    for (const node of holders) if (rank(node, seq) < own) before++
    return Math.min(1 + before, mostGraces)
  }
}

/** Another order of the nodes for each delta, the same everywhere. */
function rank(node: string, seq: number): number {
  return Math.imul(Number.parseInt(node.slice(0, 8), 16) ^ seq, 0x9e3779b1) >>> 0
}
