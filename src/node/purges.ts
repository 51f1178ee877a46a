/**
 * Purging on this node: a purge that came to be known, from here or from a peer, is carried out once, in the background. The
 * log is gone through, the disk follows, the store's files are rewritten, and then the space is told that this node has
 * done it. What was done stands in a row of this directory, so an older one that is restored does it again.
 */
import { SkeinError } from '../base/errors.ts'
import { decodeValue, encodeValue } from '../base/msgpack.ts'
import type { Dot } from '../crdt/dot.ts'
import { purgeType } from '../merge/purge.ts'
import type { Purge, PurgeReading } from '../merge/purge.ts'
import { caseKey, purgeKey, purgePrefix, queueKey } from '../merge/system.ts'
import { beginPurge, purgeDone, purgeLog } from '../replica/purge.ts'
import type { Applied, Replica } from '../replica/replica.ts'
import { localKey } from '../replica/row-keys.ts'
import type { Space } from '../replica/space.ts'
import type { Store } from '../store/store.ts'
import { nextTurn } from './commits.ts'
import type { NodeConflicts } from './conflicts.ts'
import type { ReachOptions } from './fleet.ts'

export interface PurgeReport {
  /** The purge was carried out by these nodes, this one included. */
  readonly done: readonly string[]
  /** Living members that hold the space and have not said so yet. */
  readonly waiting: readonly string[]
}

export interface PurgesHost {
  readonly id: string
  readonly replica: Replica
  readonly store: Store
  readonly conflicts: NodeConflicts
  now(): number
  writable(): void
  wrote(batch: number): void
  flush(): Promise<void>
  /** The keys under a prefix. */
  keys(space: Space, prefix: string): AsyncIterable<string>
  isOpen(): boolean
  /** The living members that hold a space, without this node. */
  holders(space: Space): readonly string[]
}

/** What could not be done is tried again: the disk was full, or a snapshot is on its way. */
const againMs = 2_000
const lookMs = 50

export class Purges {
  readonly #host: PurgesHost
  readonly #waiting = new Map<string, { readonly space: Space; readonly record: string }>()
  readonly #listeners = new Set<() => void>()
  #running: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(host: PurgesHost) {
    this.#host = host
  }

  /** Goes on with what an earlier run has left. */
  async start(): Promise<void> {
    for (const space of this.#host.replica.spaces) await this.#look(space)
  }

  /** A delta that was applied may tell of a purge, or that somebody has done one. */
  applied({ space, delta }: Applied): void {
    for (const { key } of delta.writes) {
      if (key.charCodeAt(0) === 0 && key.startsWith(purgePrefix)) this.#want(space, key)
    }
  }

  /** So may cells of another replica. */
  merged(space: Space): void {
    void this.#look(space).catch(() => undefined)
  }

  /** Says what is purged; everybody who hears of it does it. Resolves when it is on this disk, and done here. */
  async purge(space: Space, key: string, reason: string | undefined, agent: string): Promise<PurgeReport> {
    const host = this.#host
    host.writable()
    const others: string[] = []
    const concerned = host.conflicts.list({ space: space.name, state: 'all' })
    for await (const { id, keys } of concerned) if (keys.includes(key)) others.push(caseKey(id), queueKey(id))
    const { batch } = beginPurge(host.replica, space, key, others, { nowMs: host.now(), agent, reason })
    host.wrote(batch)
    const record = purgeKey(key)
    await this.#until(() => this.#ofNode(space, record, host.id), { timeoutMs: Infinity })
    return this.status(space, key)
  }

  /** Who has done every purge of the entry, as far as is known here. */
  status(space: Space, key: string): PurgeReport {
    const record = purgeKey(key)
    const { done } = this.#read(space, record)
    const members = [this.#host.id, ...this.#host.holders(space)]
    const isDone = (node: string): boolean => this.#ofNode(space, record, node)
    return {
      done: [...new Set([...members, ...done.keys()])].filter(isDone).sort(),
      waiting: members.filter((node) => !isDone(node)).sort(),
    }
  }

  /** Resolves once all living members have said so, or when the time is over. */
  async everywhere(space: Space, key: string, options: ReachOptions): Promise<PurgeReport> {
    await this.#until(() => this.status(space, key).waiting.length === 0, options)
    return this.status(space, key)
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    this.#waiting.clear()
    for (const listener of this.#listeners) listener()
    await this.#running?.catch(() => undefined)
  }

  #read(space: Space, record: string): PurgeReading {
    return purgeType.read(space.entry(record).cells(purgeType.id)).value
  }

  #ofNode(space: Space, record: string, node: string): boolean {
    const { purges, done } = this.#read(space, record)
    const own = done.get(node) ?? []
    return purges.every(({ dot }) => own.some((one) => one.origin === dot.origin && one.seq === dot.seq))
  }

  /** Looks again at each word about purges, and now and then: members come and go. */
  #until(isSo: () => boolean, { timeoutMs = 60_000, signal }: ReachOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (!this.#host.isOpen()) return end(() => reject(new SkeinError('closed', 'the node is closed')))
        if (signal?.aborted === true || isSo()) end(resolve)
      }
      const every = setInterval(look, lookMs)
      const timer = timeoutMs === Infinity ? undefined : setTimeout(() => end(resolve), timeoutMs)
      const end = (then: () => void): void => {
        clearInterval(every)
        clearTimeout(timer)
        this.#listeners.delete(look)
        then()
      }
      this.#listeners.add(look)
      look()
    })
  }

  async #look(space: Space): Promise<void> {
    for await (const key of this.#host.keys(space, purgePrefix)) this.#want(space, key)
  }

  #want(space: Space, record: string): void {
    this.#waiting.set(`${space.number} ${record}`, { space, record })
    // Not in the midst of the step that tells of it.
    this.#running ??= nextTurn()
      .then(() => this.#work())
      .finally(() => {
        this.#running = undefined
      })
  }

  async #work(): Promise<void> {
    const host = this.#host
    for (const [name, { space, record }] of this.#waiting) {
      this.#waiting.delete(name)
      if (space.deleted || !host.isOpen()) continue
      try {
        const due = this.#read(space, record).purges.filter((purge) => !this.#isKept(space, purge.dot))
        if (due.length > 0) await this.#carryOut(space, record, due)
      } catch (error) {
        if (!(error instanceof SkeinError)) throw error
        this.#again(space, record)
      }
      for (const listener of this.#listeners) listener()
    }
  }

  #again(space: Space, record: string): void {
    this.#timer = setTimeout(() => this.#want(space, record), againMs)
    this.#timer.unref()
  }

  async #carryOut(space: Space, record: string, due: readonly Purge[]): Promise<void> {
    const host = this.#host
    // A snapshot that is on its way lies in rows of its own, which go when it is taken over.
    if (space.catchingUp || space.staging !== undefined) return this.#again(space, record)
    await host.flush()
    for (const purge of due) {
      for (const changed of purgeLog(space, purge)) {
        if (changed > 0) await this.#flush()
        else await nextTurn()
        if (!host.isOpen()) return
      }
      // By now nothing more of it can be found.
      host.conflicts.purged(space, purge)
    }
    await this.#flush()
    await host.store.compact()
    const { replica, id } = host
    host.writable()
    for (const { dot } of due) replica.keep(doneKey(space, dot), encodeValue(host.now()))
    const { purges } = this.#read(space, record)
    const dots = purges.map(({ dot }) => dot).filter((dot) => this.#isKept(space, dot) || isAmong(due, dot))
    const { batch } = purgeDone(replica, space, record, { node: id, dots }, host.now())
    host.wrote(batch)
    await host.flush()
  }

  async #flush(): Promise<void> {
    this.#host.wrote(this.#host.replica.batch)
    await this.#host.flush()
  }

  #isKept(space: Space, dot: Dot): boolean {
    const row = this.#host.store.get(doneKey(space, dot))
    return row !== undefined && typeof decodeValue(row) === 'number'
  }
}

function isAmong(purges: readonly Purge[], { origin, seq }: Dot): boolean {
  return purges.some(({ dot }) => dot.origin === origin && dot.seq === seq)
}

function doneKey({ number }: Space, { origin, seq }: Dot): Uint8Array {
  return localKey(`purged/${number}/${origin}-${seq}`)
}
