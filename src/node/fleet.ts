/**
 * The fleet as one node sees it: who has what of a space, and the questions that take a while to answer: has my write reached
 * them, are we in step, are we equal. It asks, waits for words of peers, and asks again what may have been lost.
 */
import { SkeinError } from '../base/errors.ts'
import type { Comparison, SessionReport } from '../anti-entropy/output.ts'
import type { Dot, ReadonlyVector } from '../crdt/dot.ts'
import type { Member } from '../gossip/membership.ts'
import type { Space } from '../replica/space.ts'
import type { NodeId } from '../wire/frame.ts'
import type { Machine, MachineEvent } from './machine.ts'
import type { Network } from './network.ts'

/** How many members are to have something: so many beside this node, or all that are alive and hold the space. */
export interface ReachOptions {
  readonly peers?: number | 'all'
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface SpaceLag {
  readonly space: string
  /** Deltas that are here and of which the peer has not said that its disk has them. */
  readonly peerLacks: number
  /** Deltas that the peer's disk has and that are not here. */
  readonly thisLacks: number
}

export interface MemberOfSpace {
  readonly node: string
  /** What the last comparison showed; `silent`: there was none within the time. */
  readonly found: Comparison | 'silent'
  readonly lag: SpaceLag
  /** Where found unequal: the keys that are known to differ. */
  readonly keys: readonly string[]
}

export interface Verdict {
  readonly space: string
  /** Every living member that holds it showed the same vector and the same root as this node, within the time. */
  readonly equal: boolean
  readonly root: string
  readonly entries: number
  readonly members: readonly MemberOfSpace[]
}

export interface Exchanged {
  readonly space: string
  readonly node: string
  readonly deltasIn: number
  readonly deltasOut: number
  readonly cellsIn: number
  readonly cellsOut: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly roundTrips: number
}

export interface SyncReport {
  readonly spaces: readonly Verdict[]
  readonly exchanged: readonly Exchanged[]
}

export interface FleetHost {
  readonly machine: Machine
  readonly network: Network
  now(): number
  /** Throws when the node is closed. */
  readable(): void
}

const reachTimeoutMs = 10_000
/** A question that was not answered is asked again: some round trips. */
const askAgainMs = 300

export class Fleet {
  readonly #host: FleetHost
  readonly #listeners = new Set<(event: MachineEvent) => void>()
  #closed = false
  #gapsSinceMs: number | undefined

  constructor(host: FleetHost) {
    this.#host = host
  }

  /** Every event of the machine. */
  event(event: MachineEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  close(): void {
    this.#closed = true
    for (const listener of this.#listeners) listener({ kind: 'failed', code: 'closed', reason: '' })
  }

  /** Members that have these dots on their disks, and those of the living that have not said so. */
  visibility(space: Space, dots: readonly Dot[]): { readonly reached: string[]; readonly missing: string[] } {
    const reached: string[] = []
    const missing: string[] = []
    for (const { node } of this.#holders(space)) (this.#has(space, node, dots) ? reached : missing).push(node)
    return { reached, missing }
  }

  /** Resolves with the members that have it on their disks, once there are as many as asked for. */
  async reached(space: Space, dots: readonly Dot[], options: ReachOptions = {}): Promise<readonly string[]> {
    const { peers = 'all', timeoutMs = reachTimeoutMs, signal } = options
    const isEnough = (): boolean => {
      const { reached, missing } = this.visibility(space, dots)
      return peers === 'all' ? missing.length === 0 : reached.length >= peers
    }
    if (isEnough()) return this.visibility(space, dots).reached
    const isDone = await this.#wait(isEnough, timeoutMs, signal, () => {
      this.#host.network.take(() => this.#host.machine.askStored(space, dots, this.#host.now()))
    })
    const { reached, missing } = this.visibility(space, dots)
    if (isDone) return reached
    const living = reached.length + missing.length
    const why =
      peers !== 'all' && living < peers
        ? `${living} living members hold the space, and ${peers} were asked for`
        : `${missing.join(', ')} did not confirm it`
    throw new SkeinError('not_reached', `not there after ${timeoutMs} ms: ${why}`, { reached, missing })
  }

  /**
   * Members say by themselves now and then what their disks have. Here those are asked of whom it is not known that they have
   * what is here now, so that an answer about them is true a moment after a write. Nobody is asked where all is known, and
   * nothing is promised: who does not answer within the time is behind, as far as is known.
   */
  async confirm(timeoutMs: number): Promise<void> {
    const { machine, network } = this.#host
    const open = machine.replica.spaces
      .map((space) => ({ space, dots: this.#unconfirmed(space) }))
      .filter(({ dots }) => dots.length > 0)
    if (open.length === 0) return
    // Looking costs origins times members: only after what may have changed it.
    let isNews = false
    const listener = ({ kind }: MachineEvent): void => {
      isNews ||= kind === 'word' || kind === 'member'
    }
    const isDone = (): boolean => {
      if (!isNews) return false
      isNews = false
      return open.every(({ space, dots }) => this.#holdersForSure(space).every((node) => this.#has(space, node, dots)))
    }
    this.#listeners.add(listener)
    try {
      await this.#wait(isDone, timeoutMs, undefined, () => {
        for (const { space, dots } of open) network.take(() => machine.askStored(space, dots, this.#host.now()))
      })
    } finally {
      this.#listeners.delete(listener)
    }
  }

  /** The newest of each origin that some living member has not said to have on its disk. */
  #unconfirmed(space: Space): Dot[] {
    const { cut } = this.#host.machine.replica
    const nodes = this.#holdersForSure(space)
    return [...space.vector]
      .filter(([origin, seq]) => nodes.some((node) => cut.storedBy(space.id, node, origin) < seq))
      .map(([origin, seq]) => ({ origin, seq }))
  }

  #holdersForSure(space: Space): NodeId[] {
    const { machine } = this.#host
    return this.#holders(space)
      .map(({ node }) => node)
      .filter((node) => machine.holds(space, node) === true)
  }

  /**
   * Resolves when what is here now is on the disks of the members, and what they had is here. Writing may go on meanwhile.
   */
  async synced(spaces: readonly Space[], options: ReachOptions = {}): Promise<void> {
    const { peers = 'all', timeoutMs = reachTimeoutMs, signal } = options
    const { machine, network } = this.#host
    const stages = spaces.map((space) => ({
      space,
      dots: [...space.vector].map(([origin, seq]) => ({ origin, seq })),
      /** What members said since then that their disks have. */
      told: new Map<string, ReadonlyVector>(),
    }))
    const listener = (event: MachineEvent): void => {
      if (event.kind !== 'word') return
      const { report } = event
      const stage = stages.find(({ space }) => space === report.space)
      if (report.kind === 'stored') stage?.told.set(report.peer, new Map(report.vector))
      else if (report.found === 'equal' && report.durable) stage?.told.set(report.peer, new Map(report.space.vector))
    }
    const isInStep = ({ space, dots, told }: (typeof stages)[number], node: NodeId): boolean => {
      const theirs = told.get(node)
      return theirs !== undefined && lacks(theirs, space.vector) === 0 && this.#has(space, node, dots)
    }
    const behind = (): string[] => {
      const nodes = new Set<string>()
      for (const stage of stages) {
        const holders = this.#holders(stage.space)
        const late = holders.filter(({ node }) => !isInStep(stage, node))
        const enough = peers === 'all' ? holders.length : peers
        if (holders.length - late.length >= enough) continue
        for (const { node } of late) nodes.add(node)
        if (holders.length < enough) nodes.add(`${enough - holders.length} more that hold ${stage.space.name}`)
      }
      return [...nodes]
    }
    this.#listeners.add(listener)
    try {
      const isDone = await this.#wait(
        () => behind().length === 0,
        timeoutMs,
        signal,
        () => {
          for (const { space, dots } of stages) {
            network.take(() => machine.askStored(space, dots, this.#host.now()))
            network.take(() => machine.askStored(space, [], this.#host.now()))
            network.take(() => machine.compare(space, this.#host.now()))
          }
        },
      )
      if (isDone) return
      const nodes = behind()
      throw new SkeinError('not_reached', `not in step after ${timeoutMs} ms: waiting for ${nodes.join(', ')}`, {
        nodes,
      })
    } finally {
      this.#listeners.delete(listener)
    }
  }

  /** Compares with every living member, until all were found equal or the time is over. */
  async verify(spaces: readonly Space[], options: ReachOptions = {}): Promise<SyncReport> {
    const { timeoutMs = reachTimeoutMs, signal } = options
    const { machine, network } = this.#host
    const found = new Map<Space, Map<string, Comparison>>(spaces.map((space) => [space, new Map()]))
    const keys = new Map<Space, Set<string>>()
    const sums = new Map<string, Exchanged>()
    const listener = (event: MachineEvent): void => {
      if (event.kind === 'word' && event.report.kind === 'compared') {
        const { space, peer, found: state } = event.report
        const members = found.get(space)
        // Once shown equal it stays so for this question: writes that come later are another.
        if (members?.get(peer) !== 'equal') members?.set(peer, state)
      } else if (event.kind === 'sync' && event.event.kind === 'integrity') {
        const { space } = event.event
        keys.set(space, new Set([...(keys.get(space) ?? []), ...event.event.keys]))
      } else if (event.kind === 'session') addUp(sums, event.report)
    }
    const isEqual = (space: Space): boolean =>
      this.#holders(space).every(({ node }) => found.get(space)?.get(node) === 'equal')
    this.#listeners.add(listener)
    try {
      await this.#wait(
        () => spaces.every(isEqual),
        timeoutMs,
        signal,
        () => {
          for (const space of spaces) {
            if (!isEqual(space)) network.take(() => machine.compare(space, this.#host.now()))
          }
        },
      )
    } finally {
      this.#listeners.delete(listener)
    }
    const verdicts = spaces.map((space): Verdict => {
      const members = this.#holders(space).map(({ node }): MemberOfSpace => {
        const state = found.get(space)?.get(node) ?? 'silent'
        return {
          node,
          found: state,
          lag: this.lag(space, node),
          keys: state === 'unequal' ? [...(keys.get(space) ?? [])] : [],
        }
      })
      const { tree, entryCount: entries, name } = space
      return { space: name, equal: isEqual(space), root: rootText(tree.root), entries, members }
    })
    return { spaces: verdicts, exchanged: [...sums.values()] }
  }

  /** What is known to exist and is not here yet, for how long that has been so, and what waits for peers. */
  health(): { readonly gaps: number; readonly lagMs: number; readonly queueBytes: number } {
    const { machine } = this.#host
    let gaps = 0
    for (const space of machine.replica.spaces) {
      // Several peers have the same that is lacking here: the one that is furthest ahead tells how much there is.
      let most = space.waiting.size
      for (const { node } of this.#holders(space)) most = Math.max(most, this.lag(space, node).thisLacks)
      gaps += most
    }
    if (gaps === 0) this.#gapsSinceMs = undefined
    else this.#gapsSinceMs ??= this.#host.now()
    let queueBytes = 0
    for (const { queue } of machine.peers) queueBytes += queue.heldBytes
    return { gaps, lagMs: this.#gapsSinceMs === undefined ? 0 : this.#host.now() - this.#gapsSinceMs, queueBytes }
  }

  /** How far apart this node and a member are, as far as is known. */
  lag(space: Space, node: string): SpaceLag {
    const theirs = this.#host.machine.replica.cut.vectorOf(space.id, node as NodeId)
    return {
      space: space.name,
      peerLacks: lacks(space.vector, theirs ?? new Map()),
      thisLacks: theirs === undefined ? 0 : lacks(theirs, space.vector),
    }
  }

  #holders(space: Space): readonly Member[] {
    this.#host.readable()
    return this.#host.machine.holders(space).sort((a, b) => (a.node < b.node ? -1 : 1))
  }

  #has(space: Space, node: NodeId, dots: readonly Dot[]): boolean {
    const { cut } = this.#host.machine.replica
    return dots.every(({ origin, seq }) => cut.storedBy(space.id, node, origin) >= seq)
  }

  /** Asks now and now and then, until it is so. False when the time is over. */
  async #wait(
    isDone: () => boolean,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    ask: () => void,
  ): Promise<boolean> {
    if (!(timeoutMs >= 0)) throw new SkeinError('invalid_argument', 'timeoutMs is a number from 0')
    signal?.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<boolean>()
    const look = (): void => {
      if (this.#closed) reject(new SkeinError('closed', 'the node was closed meanwhile'))
      else if (isDone()) resolve(true)
    }
    const abort = (): void => reject(signal?.reason as Error)
    this.#listeners.add(look)
    signal?.addEventListener('abort', abort)
    const again = setInterval(ask, askAgainMs)
    const end = setTimeout(() => resolve(isDone()), timeoutMs)
    try {
      ask()
      look()
      return await promise
    } finally {
      clearInterval(again)
      clearTimeout(end)
      this.#listeners.delete(look)
      signal?.removeEventListener('abort', abort)
    }
  }
}

/** How many deltas `one` has that `other` has not. */
function lacks(one: ReadonlyVector, other: ReadonlyVector): number {
  let count = 0
  for (const [origin, seq] of one) count += Math.max(0, seq - (other.get(origin) ?? 0))
  return count
}

function addUp(sums: Map<string, Exchanged>, report: SessionReport): void {
  const { peer: node, deltasIn, deltasOut, cellsIn, cellsOut, bytesIn, bytesOut, roundTrips } = report
  const space = report.space.name
  const id = `${node} ${space}`
  const before = sums.get(id)
  sums.set(id, {
    space,
    node,
    deltasIn: deltasIn + (before?.deltasIn ?? 0),
    deltasOut: deltasOut + (before?.deltasOut ?? 0),
    cellsIn: cellsIn + (before?.cellsIn ?? 0),
    cellsOut: cellsOut + (before?.cellsOut ?? 0),
    bytesIn: bytesIn + (before?.bytesIn ?? 0),
    bytesOut: bytesOut + (before?.bytesOut ?? 0),
    roundTrips: roundTrips + (before?.roundTrips ?? 0),
  })
}

function rootText(root: Uint32Array): string {
  return [...root.subarray(0, 4)].map((lane) => lane.toString(16).padStart(8, '0')).join('')
}
