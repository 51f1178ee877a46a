/**
 * The replication protocol in the small: two or three nodes with a memory and a disk each, and every way in which a
 * delta, a snapshot or an acknowledgement travels between them. Each function is one atomic step of one node: an old
 * node (and whom it talks to) in, a new one out. explore.ts tries all orders of steps; docs/decisions/sync.md says what
 * came of it. It is also the oracle of the simulator: a real machine must never reach what this cannot.
 *
 * Not here: timers, flow control, the bytes of frames, sketches, membership, cases, and damage that two nodes which each
 * agree with themselves cannot tell whose it is.
 */
import { equalBytes } from '../../src/base/bytes.ts'
import { hasDot } from '../../src/crdt/cell.ts'
import type { CellWrite } from '../../src/crdt/delta.ts'
import { covers, nodeOf, originId, raise } from '../../src/crdt/dot.ts'
import type { Dot, OriginId, ReadonlyVector } from '../../src/crdt/dot.ts'
import { encodeSnapshot, State } from '../../src/crdt/state.ts'
import {
  applied,
  chainAt,
  headOf,
  isAtLeast,
  isReady,
  leafOf,
  pruned,
  rewritten,
  seqOf,
  trailOf,
  written,
} from './image.ts'
import type { Entry, Fork, Image, Operation, Target } from './image.ts'

/** Mistakes that the exploration must find, by what they do. */
export const faults = [
  'a chunk carries the whole vector of its sender',
  'a gap in an origin is leapt over',
  'a disk is acknowledged for what only the memory holds',
  'an incarnation survives a crash',
  'what is present on either side is kept',
  'a snapshot is merged as if nothing were known here',
  'the vector of a snapshot is read after its cells',
  'the vector moves with the first part of a snapshot',
  'deltas that a target covers are applied',
  'a risen target keeps what was staged before',
  'rotten cells are shipped',
  'budget deltas leave before the disk has them',
  'who holds the losing fork merges with the winner',
  'a fork closes nothing for those who wait for its tail',
  'what only the losing fork held is not written again',
  'the log forgets where its floor is',
  'a snapshot leaves its chains behind',
] as const
export type Fault = (typeof faults)[number]

export interface Node {
  /** A letter; in capitals for a clone. */
  readonly name: string
  /** Taken before the first write after an open. */
  readonly origin: OriginId | undefined
  /** Counts the opens. */
  readonly process: number
  readonly live: Image
  readonly disk: Image
  /** An older disk, for a restore. */
  readonly backup: Image
  /** Deltas that wait for their causes. */
  readonly waiting: readonly Entry[]
  /** What this disk has acknowledged: checked, never used. */
  readonly promised: ReadonlyVector
}

/** How many deltas may wait. From the bounded waiting room of a node, in the small. */
const waitingRoom = 2

export class Protocol {
  readonly #fault: Fault | undefined

  constructor(fault: Fault | undefined) {
    this.#fault = fault
  }

  #has(fault: Fault): boolean {
    return this.#fault === fault
  }

  // --- one node ---------------------------------------------------------------------------------------------------

  /** The next write: undefined where it changes nothing. `incarnation` is used if the node has none yet. */
  write(node: Node, operation: Operation, incarnation: number): { node: Node; entry: Entry } | undefined {
    const origin = node.origin ?? originOf(node.name, incarnation)
    const { live } = node
    const entry = written(live, origin, operation, (other) => isRetired(node, other, origin))
    return entry && { node: this.#drained({ ...node, origin, live: applied(live, entry) }), entry }
  }

  store(node: Node): Node {
    return { ...node, disk: node.live, backup: node.disk }
  }

  crash(node: Node): Node {
    const origin = this.#has('an incarnation survives a crash') ? node.origin : undefined
    return { ...node, origin, process: node.process + 1, live: node.disk, waiting: [] }
  }

  restore(node: Node): Node {
    return this.crash({ ...node, disk: node.backup, promised: new Map() })
  }

  prune(node: Node): Node {
    const live = pruned(node.live, node.disk.state.vector, nodeName(node))
    const { floor } = this.#has('the log forgets where its floor is') ? node.live : live
    return { ...node, live: { ...live, floor } }
  }

  // --- deltas -----------------------------------------------------------------------------------------------------

  /** The one door for a delta of another. */
  receive(node: Node, entry: Entry): Node {
    const { live } = node
    const { delta } = entry
    const { origin, seq } = delta
    if (covers(live.state.vector, delta) || live.closed.has(origin)) return node
    // The target brings it. Here it would change an entry that was found equal, and the merge would not mend that.
    if (this.#isBrought(live, entry)) return node
    // Somebody else writes under my name: a clone of this memory. From here on I am another.
    const self = node.origin === origin ? { ...node, origin: undefined } : node
    if (isReady(live, entry)) return this.#drained({ ...self, live: applied(live, entry) })
    const head = seqOf(live.state.vector, origin)
    if (this.#has('a gap in an origin is leapt over') && seq > head + 1 && node.waiting.length === waitingRoom - 1) {
      const state = live.state.clone()
      state.vector.set(origin, seq - 1)
      const leapt = { ...live, state, heads: new Map(live.heads).set(origin, entry.before) }
      return isReady(leapt, entry) ? { ...self, live: applied(leapt, entry) } : self
    }
    // The next of its origin, but after another chain: a fork. The chains will show it; nothing is applied.
    if (seq === head + 1 && entry.before !== headOf(live, origin)) return self
    if (node.waiting.length === waitingRoom || node.waiting.includes(entry)) return self
    return { ...self, waiting: [...node.waiting, entry] }
  }

  #isBrought({ target }: Image, { delta }: Entry): boolean {
    if (this.#has('deltas that a target covers are applied')) return false
    return target !== undefined && covers(target.snapshot.state.vector, delta)
  }

  #drained(node: Node): Node {
    let { live, waiting } = node
    for (;;) {
      waiting = waiting.filter(({ delta }) => !covers(live.state.vector, delta) && !live.closed.has(delta.origin))
      const next = waiting.find((entry) => isReady(live, entry) && !this.#isBrought(live, entry))
      if (next === undefined) return { ...node, live, waiting }
      live = applied(live, next)
    }
  }

  /** Step 2, cut after every delta: the next of the sender's log that can be taken here. */
  nextOf(sender: Node, node: Node): Entry | undefined {
    return sender.live.log.find((entry) => {
      if (covers(node.live.state.vector, entry.delta) || !isReady(node.live, entry)) return false
      return !this.#isBrought(node.live, entry) && this.mayLeave(sender, entry)
    })
  }

  pull(node: Node, sender: Node, entry: Entry): Node {
    const next = this.receive(node, entry)
    if (!this.#has('a chunk carries the whole vector of its sender')) return next
    const state = next.live.state.clone()
    raise(state.vector, sender.live.state.vector)
    return { ...next, live: { ...next.live, state, heads: new Map([...next.live.heads, ...sender.live.heads]) } }
  }

  /** Budgets and claims leave their writer only after its disk has them. */
  mayLeave(sender: Node, { delta }: Entry): boolean {
    if (this.#has('budget deltas leave before the disk has them')) return true
    if (!delta.writes.some(({ type }) => type === 8 || type === 9)) return true
    return nodeOf(delta.origin) !== nodeIdOf(sender.name) || covers(sender.disk.state.vector, delta)
  }

  // --- acknowledgements -------------------------------------------------------------------------------------------

  /** Everybody else learns what this disk has. */
  acknowledge(node: Node, others: readonly Node[]): Node[] {
    const image = this.#has('a disk is acknowledged for what only the memory holds') ? node.live : node.disk
    const { vector } = image.state
    const told = others.map((other) => {
      const acks = new Map(other.live.acks).set(nodeName(node), new Map(vector))
      return { ...other, live: { ...other.live, acks } }
    })
    const promised = new Map(node.promised)
    raise(promised, vector)
    return [{ ...node, promised }, ...told]
  }

  // --- step 3 -----------------------------------------------------------------------------------------------------

  isBelowLog(node: Node, sender: Node): boolean {
    const { vector } = node.live.state
    return [...sender.live.floor].some(([origin, floor]) => floor > seqOf(vector, origin))
  }

  /** A target: the sender's disk at one moment. Leaves are compared now; what stood before is compared again. */
  aim(node: Node, sender: Node, replaces: boolean): Node | undefined {
    const { live } = node
    const snapshot = sender.disk
    if (!replaces && isAtLeast(live.state.vector, snapshot.state.vector)) return undefined
    if (!replaces && forkOf(live, snapshot) !== undefined) return undefined
    const keys = [
      ...new Set([...live.state.keys(), ...snapshot.state.keys(), ...snapshot.rotten.map(({ key }) => key)]),
    ]
    const differing = keys.filter((key) => replaces || leafOf(live, key) !== leafOf(snapshot, key)).sort()
    // A sender that disagrees with its own leaves is no source.
    const unfit = snapshot.rotten.some(({ key }) => differing.includes(key))
    if (unfit && !this.#has('rotten cells are shipped')) return undefined
    const kept = this.#has('a risen target keeps what was staged before') ? live.target?.staged : undefined
    const staged = new Map([...(kept ?? [])].filter(([key]) => differing.includes(key)))
    const target: Target = { from: sender.name, process: sender.process, snapshot, differing, staged, replaces }
    // It knows more of my origin than I do: I am another from here on.
    const cloned =
      node.origin !== undefined && seqOf(snapshot.state.vector, node.origin) > seqOf(live.state.vector, node.origin)
    return { ...node, origin: cloned ? undefined : node.origin, live: { ...live, target } }
  }

  /** The next part of the snapshot, while its sender lives. */
  stage(node: Node, sender: Node): Node | undefined {
    const { target } = node.live
    const key = target?.differing.find((one) => !target.staged.has(one))
    if (target === undefined || key === undefined || sender.process !== target.process) return undefined
    const staged = new Map(target.staged).set(key, target.snapshot.state)
    let { snapshot } = target
    if (this.#has('the vector of a snapshot is read after its cells')) {
      const state = snapshot.state.clone()
      raise(state.vector, sender.disk.state.vector)
      snapshot = { ...snapshot, state, heads: sender.disk.heads }
    }
    return { ...node, live: { ...node.live, target: { ...target, snapshot, staged } } }
  }

  /** The target becomes visible in one step, together with its vector. */
  commit(node: Node, incarnation: number): { node: Node; entry: Entry | undefined } | undefined {
    const { target } = node.live
    if (target === undefined) return undefined
    const early = this.#has('the vector moves with the first part of a snapshot') && target.staged.size > 0
    if (target.staged.size < target.differing.length && !early) return undefined
    if (target.replaces && !this.#has('who holds the losing fork merges with the winner')) {
      return this.#readopted(node, target, incarnation)
    }
    return { node: this.#drained({ ...node, live: this.#merged(node.live, target) }), entry: undefined }
  }

  #merged(live: Image, { snapshot, staged }: Target): Image {
    const { vector } = snapshot.state
    const parts = [...staged].flatMap(([key, source]) => [...source.cells()].filter(([entry]) => entry === key))
    const union = this.#has('what is present on either side is kept')
    const theirs = State.decode(
      encodeSnapshot(
        vector,
        parts.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)),
      ),
    )
    const state = live.state.clone()
    const mine = new Map(state.vector)
    if (union) theirs.vector.clear()
    if (this.#has('a snapshot is merged as if nothing were known here')) state.vector.clear()
    state.merge(theirs, (key) => staged.has(key))
    // The contexts of all origins come with the vector.
    state.merge(snapshot.state, () => false)
    raise(state.vector, mine)
    const news = [...vector].filter(([origin, seq]) => seq > seqOf(mine, origin))
    const heads = new Map([...live.heads, ...news.map(([origin]) => [origin, headOf(snapshot, origin)] as const)])
    const trails = new Map([...live.trails, ...this.#trailsOf(snapshot, news)])
    const floor = new Map([...live.floor, ...news])
    const log = live.log.filter(({ delta }) => !covers(floor, delta))
    return { ...live, state, heads, trails, floor, log, time: Math.max(live.time, snapshot.time), target: undefined }
  }

  /** Whoever takes cells without their log takes over what can be shown of its chains. */
  #trailsOf(snapshot: Image, heads: Iterable<readonly [OriginId, unknown]>): Map<OriginId, Map<number, string>> {
    if (this.#has('a snapshot leaves its chains behind')) return new Map()
    return new Map(Array.from(heads, ([origin]) => [origin, trailOf(snapshot, origin)]))
  }

  /**
   * The snapshot takes the place of the state: cells are never edited. On top comes the own log, as far as the snapshot
   * does not cover it; what would be lost even so is written again, as a new delta of an incarnation that is new too.
   */
  #readopted(node: Node, { snapshot }: Target, incarnation: number): { node: Node; entry: Entry | undefined } {
    const { live } = node
    const { state, heads, closed } = snapshot
    let next: Image = {
      ...live,
      state,
      heads,
      trails: this.#trailsOf(snapshot, heads),
      closed,
      log: [],
      floor: new Map(state.vector),
      rotten: [],
      target: undefined,
    }
    for (const entry of live.log)
      if (!covers(next.state.vector, entry.delta) && isReady(next, entry)) next = applied(next, entry)
    next = { ...next, time: Math.max(live.time, snapshot.time) }
    const writes = this.#has('what only the losing fork held is not written again') ? [] : lostBy(live, next, snapshot)
    const fresh = { ...node, origin: undefined, waiting: [], promised: new Map() }
    if (writes.length === 0) return { node: { ...fresh, live: next }, entry: undefined }
    const origin = originOf(node.name, incarnation)
    const entry = rewritten(next, origin, 'rescued', writes)
    return { node: { ...fresh, origin, live: applied(next, entry) }, entry }
  }

  // --- forks ------------------------------------------------------------------------------------------------------

  /**
   * Two nodes compare chains. Where an origin forked, the better side closes it where it stands, and stays as it is; the
   * other re-adopts from it. Whoever stands exactly at the end of a closed origin closes it too.
   */
  meet(node: Node, other: Node): Node {
    const { live } = node
    const closed = new Map(live.closed)
    for (const [origin, fork] of other.live.closed) {
      if (headOf(live, origin) === headOf(other.live, origin)) closed.set(origin, closed.get(origin) ?? fork)
    }
    const forked = forkOf(live, other.live)
    if (forked !== undefined && !closed.has(forked) && rank(live, forked) > rank(other.live, forked)) {
      closed.set(forked, firstForked(live, other.live, forked))
    }
    if (closed.size === live.closed.size || this.#has('a fork closes nothing for those who wait for its tail'))
      return node
    const mine = node.origin !== undefined && closed.has(node.origin)
    return this.#drained({ ...node, origin: mine ? undefined : node.origin, live: { ...live, closed } })
  }

  /** Must this node take over the other's state as it is on disk? Because its own is rotten, or on the losing side. */
  mustReadopt(node: Node, other: Node): boolean {
    const { live } = node
    if (live.rotten.length > 0) return other.disk.rotten.length === 0 && forkOf(live, other.disk) === undefined
    const fork = forkOf(live, other.disk)
    if (fork === undefined || rank(live, fork) > rank(other.disk, fork)) return false
    return other.disk.closed.has(fork) || this.#has('a fork closes nothing for those who wait for its tail')
  }
}

/** The first origin of which both hold another history, as far as their chains can tell. */
export function forkOf(mine: Image, theirs: Image): OriginId | undefined {
  for (const origin of [...mine.heads.keys()].sort()) {
    if (isAstray(mine, theirs, origin) || isAstray(theirs, mine, origin)) return origin
    const common = Math.min(seqOf(mine.state.vector, origin), seqOf(theirs.state.vector, origin))
    const [x, y] = [chainAt(mine, origin, common), chainAt(theirs, origin, common)]
    if (x !== undefined && y !== undefined && x !== y) return origin
  }
  return undefined
}

/** Has the other closed an origin in another history than one's? Whoever cannot show the chain that stands does not have it. */
function isAstray(one: Image, other: Image, origin: OriginId): boolean {
  const fork = other.closed.get(origin)
  if (fork === undefined || headOf(one, origin) === headOf(other, origin)) return false
  const [seq, end] = [seqOf(one.state.vector, origin), seqOf(other.state.vector, origin)]
  if (one.closed.has(origin) || seq > end) return true
  if (seq >= fork.at) return chainAt(one, origin, fork.at) !== fork.chain
  return seq >= fork.seq && chainAt(other, origin, seq) !== headOf(one, origin)
}

/** Where two histories part, by what both can show; `mine` is the one that stands. */
function firstForked(mine: Image, theirs: Image, origin: OriginId): Fork {
  let same = 0
  for (let at = 1; ; at++) {
    const [chain, other] = [chainAt(mine, origin, at), chainAt(theirs, origin, at)]
    if (chain === undefined || other === undefined) continue
    if (chain !== other) return { seq: same + 1, at, chain }
    same = at
  }
}

/** Of two histories of an origin, which stands: one that is closed already, then the longer, then the greater hash. */
function rank(image: Image, origin: OriginId): string {
  const seq = seqOf(image.state.vector, origin)
  return `${image.closed.has(origin) ? 1 : 0} ${String(seq).padStart(9, '0')} ${headOf(image, origin)}`
}

/**
 * What a re-adoption would lose: siblings and removals of deltas that are in the old state and not in the new one. A dot
 * that both know was removed on the other side, and stays so.
 */
function lostBy(old: Image, next: Image, snapshot: Image): CellWrite[] {
  const isLost = (dot: Dot): boolean => isOffChain(old, snapshot, dot) || !covers(next.state.vector, dot)
  const writes = new Map<string, CellWrite>()
  for (const [key, type, path, siblings] of old.state.cells()) {
    const held = next.state.entry(key).cells(type).get(path)
    for (const sibling of siblings) {
      if (!isLost(sibling) || held.some(({ value }) => equalBytes(value, sibling.value))) continue
      const { value, expires } = sibling
      writes.set(key + type + path, { key, type, path, value, expires, supersedes: [] })
    }
  }
  for (const { delta } of old.log) {
    if (!isLost(delta)) continue
    for (const { key, type, path, supersedes } of delta.writes) {
      const live = next.state.entry(key).cells(type).get(path)
      const gone = supersedes.filter((dot) => !isLost(dot) && hasDot(live, dot))
      if (gone.length === 0) continue
      const write = writes.get(key + type + path) ?? { key, type, path, value: undefined, expires: 0, supersedes: [] }
      writes.set(key + type + path, { ...write, supersedes: [...write.supersedes, ...gone] })
    }
  }
  return [...writes.values()]
}

/** A dot of the losing history of an origin that the snapshot has closed. */
function isOffChain(old: Image, snapshot: Image, { origin, seq }: Dot): boolean {
  const fork = snapshot.closed.get(origin)
  if (fork === undefined || seq < fork.seq) return false
  if (seq > seqOf(snapshot.state.vector, origin)) return true
  return chainAt(old, origin, fork.at) !== fork.chain
}

/** May an earlier incarnation's account be taken over: does every disk that is waited for hold its whole sequence? */
function isRetired(node: Node, other: OriginId, current: OriginId): boolean {
  const { acks, roster, state } = node.live
  if (nodeOf(other) !== nodeOf(current) || other === current) return false
  const others = [...roster].filter((member) => member !== nodeName(node))
  return others.every((member) => seqOf(acks.get(member), other) === seqOf(state.vector, other))
}

/** A clone is the same node. */
export function nodeName({ name }: Node): string {
  return name.toLowerCase()
}

function nodeIdOf(name: string): string {
  return name.toLowerCase().charCodeAt(0).toString(16).padStart(16, '0')
}

export function originOf(name: string, incarnation: number): OriginId {
  return originId(nodeIdOf(name) + incarnation.toString(16).padStart(16, '0'))
}

/** `a1:2`: the second delta of node a in its first incarnation. */
export function dotName({ origin, seq }: Dot): string {
  return `${originName(origin)}:${seq}`
}

export function originName(origin: OriginId): string {
  return String.fromCharCode(parseInt(nodeOf(origin), 16)) + parseInt(origin.slice(16), 16)
}
