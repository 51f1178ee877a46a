/**
 * How a new delta reaches all that hold its space: who pushes what to whom, and who is only told of it.
 *
 * Up to 32 members a writer pushes to everybody: one hop. Beyond, Plumtree (Leitão, Pereira, Rodrigues, 2007) over the
 * neighbours on the rings of the roster: a delta floods them at first; a link that only brings duplicates of what a
 * writer writes is pruned for that writer; what is left is a tree. There is a tree for each writer, since one built for another
 * root takes twice the hops; writers beyond a bound share one. Links that do not push carry notices: vectors in
 * increments, so that the pull is a range that anybody can answer and nothing keeps messages.
 *
 * Repair is the same in both forms. Whoever hears of a delta that does not come waits some measured hops, then pulls it from
 * who told, and is pushed to by him from then on (graft). In a mesh each node tells its neighbours on one ring; so a pair of
 * nodes whose link is down is bridged by a third.
 *
 * It knows no vector and no body: the caller tests for news, answers pulls and reads what is pushed. Not here: catch-up
 * of who was away (anti-entropy), and queues (queue.ts).
 */
import { assert } from '../base/assert.ts'
import { limits } from '../base/limits.ts'
import type { Dot, NodeId, Notice, OriginId, Prune, Pull, SpaceId } from '../wire/frame.ts'
import { rings, type Roster, type RosterMember } from './roster.ts'
import { mostDuplicates, slots } from './tree.ts'
import { View, type Gap } from './view.ts'

export interface BroadcastTiming {
  /** Members of a space, this node included, up to which a writer pushes to all. Measured: the crossover is near 30 under load. */
  readonly meshMembers: number
  /** Notices gather for so long; 50 to 100 ms elsewhere. */
  readonly noticeMs: number
  /** Duplicates on a link that is not the source until it is pruned. Field reports: 3 to 5; at most 3. */
  readonly pruneAfter: number
  /** The wait before a pull, in measured hops; field reports: 2 to 3. */
  readonly graftHops: number
  /** A hop, until one is measured. A guess: a slow LAN, or a near region. */
  readonly hopMs: number
  readonly leastGraftMs: number
  readonly mostGraftMs: number
  /**
   * Until a pull is taken to be lost, at least; doubled each time. Measured: where one message in ten is lost, 99 of 100
   * deltas are everywhere within two rounds of anti-entropy; with 500 they are not.
   */
  readonly pullMs: number
  /** Pulls of one gap; then it is left to anti-entropy. */
  readonly pulls: number
}

export const lanBroadcast: BroadcastTiming = {
  meshMembers: 32,
  noticeMs: 80,
  pruneAfter: 3,
  graftHops: 2.5,
  hopMs: 30,
  leastGraftMs: 20,
  mostGraftMs: 1000,
  pullMs: 250,
  pulls: 3,
}

export interface BroadcastConfig {
  readonly self: RosterMember
  /** Alive and suspect members; the caller keeps it and says when it changed. */
  readonly roster: Roster
  /** The highest sequence of the origin that is applied here; 0 for none. */
  readonly applied: (space: SpaceId, origin: OriginId) => number
  readonly timing?: Partial<BroadcastTiming>
}

export type BroadcastFrame = Notice | Pull | Prune

export type BroadcastInput =
  | { readonly kind: 'timer' }
  /** This node holds the space from now on, or no longer. */
  | { readonly kind: 'hold'; readonly space: SpaceId }
  | { readonly kind: 'drop'; readonly space: SpaceId }
  /** The roster has changed. */
  | { readonly kind: 'roster' }
  /** A link to the node is up, and it has said hello. */
  | { readonly kind: 'linked'; readonly node: NodeId }
  /** The last link is gone, or the node could not be dialled. */
  | { readonly kind: 'unlinked'; readonly node: NodeId; readonly failed: boolean }
  /** A delta was applied here for the first time. `push` may be passed on at once, what was caught up is only told. */
  | {
      readonly kind: 'have'
      readonly space: SpaceId
      readonly dot: Dot
      readonly sizeBytes: number
      readonly cause: 'local' | 'push' | 'catch-up'
      /** Who sent it; undefined for local ones. */
      readonly from?: NodeId | undefined
      /** Over how many hops it was pushed. */
      readonly hops?: number
    }
  /** A pushed delta was known already, or waits here already. */
  | {
      readonly kind: 'duplicate'
      readonly space: SpaceId
      readonly dot: Dot
      readonly from: NodeId
      readonly hops: number
    }
  /** A delta came that cannot be applied yet; what is before it is missing. */
  | { readonly kind: 'held'; readonly space: SpaceId; readonly dot: Dot; readonly from: NodeId }
  /** Of a pull the caller also sends what is asked for. */
  | { readonly kind: 'message'; readonly from: NodeId; readonly frame: BroadcastFrame }

export type BroadcastOutput =
  /** Into the queue of that peer. */
  | {
      readonly kind: 'push'
      readonly to: NodeId
      readonly space: SpaceId
      readonly dot: Dot
      readonly sizeBytes: number
    }
  | { readonly kind: 'send'; readonly to: NodeId; readonly frame: BroadcastFrame }
  /** Have a link to that node, and go on trying, until `disconnect`; then the link may serve something else. */
  | { readonly kind: 'connect'; readonly node: NodeId }
  | { readonly kind: 'disconnect'; readonly node: NodeId }

/** Candidates on a ring that failed and are passed over, but still wanted. */
const failedKept = 2
/** Weight of a new measurement of the hop. TCP's. */
const smoothing = 1 / 8
/** Who may be asked for one gap. */
const sourcesKept = 4

export class Broadcast {
  readonly #self: RosterMember
  readonly #roster: Roster
  readonly #applied: BroadcastConfig['applied']
  readonly #timing: BroadcastTiming
  readonly #views = new Map<SpaceId, View>()
  readonly #links = new Set<NodeId>()
  readonly #failed = new Set<NodeId>()
  #wanted = new Set<NodeId>()
  /** Views with notices to send or gaps to close. */
  readonly #busy = new Set<View>()
  /** The roster from which neighbours were chosen. */
  #chosenAt = -1
  #hopMs: number
  #now = 0
  #outputs: BroadcastOutput[] = []
  /** When it wants its next timer. */
  wakeAt: number = Infinity

  constructor({ self, roster, applied, timing }: BroadcastConfig) {
    this.#self = self
    this.#roster = roster
    this.#applied = applied
    this.#timing = { ...lanBroadcast, ...timing }
    this.#hopMs = this.#timing.hopMs
    assert(this.#timing.meshMembers <= slots, 'a mesh has no more members than a view has places')
    assert(this.#timing.pruneAfter <= mostDuplicates, 'duplicates are counted up to three')
  }

  /** The measured delay of a hop. */
  get hopMs(): number {
    return this.#hopMs
  }

  /** Its neighbours in the space, linked or not. */
  neighbours(space: SpaceId): NodeId[] {
    return [...(this.#views.get(space)?.slotOf.keys() ?? [])]
  }

  /** Over how many hops this node has what that origin's node writes: what is pushed says so. */
  hops(space: SpaceId, origin: OriginId): number {
    return this.#views.get(space)?.known(writerOf(origin))?.hops ?? 0
  }

  handle(input: BroadcastInput, nowMs: number): readonly BroadcastOutput[] {
    const outputs: BroadcastOutput[] = []
    this.#outputs = outputs
    this.#now = nowMs
    switch (input.kind) {
      case 'timer':
        break
      case 'hold':
        if (!this.#views.has(input.space)) this.#views.set(input.space, new View(input.space, this.#self.node))
        this.#choose()
        break
      case 'drop':
        this.#drop(input.space)
        break
      case 'roster':
        if (this.#roster.version !== this.#chosenAt) this.#choose()
        break
      case 'linked':
        this.#linked(input.node)
        break
      case 'unlinked':
        this.#unlinked(input.node, input.failed)
        break
      case 'have':
        this.#have(input)
        break
      case 'duplicate':
        this.#duplicate(input)
        break
      case 'held':
        this.#missing(this.#views.get(input.space), { ...input.dot, seq: input.dot.seq - 1 }, input.from)
        break
      case 'message':
        this.#message(input.from, input.frame)
        break
    }
    this.#tick()
    this.#outputs = []
    return outputs
  }

  // --- neighbours -----------------------------------------------------------------------------------------------

  #choose(): void {
    this.#chosenAt = this.#roster.version
    const wanted = new Set<NodeId>()
    for (const node of this.#failed) if (!this.#roster.has(node)) this.#failed.delete(node)
    for (const view of this.#views.values()) {
      this.#chooseFor(view, wanted)
      view.forgetWriters((writer) => writer !== this.#self.node && !this.#roster.has(writer))
    }
    for (const node of wanted) if (!this.#wanted.has(node)) this.#outputs.push({ kind: 'connect', node })
    for (const node of this.#wanted) if (!wanted.has(node)) this.#outputs.push({ kind: 'disconnect', node })
    this.#wanted = wanted
  }

  #chooseFor(view: View, wanted: Set<NodeId>): void {
    const { space } = view
    const all = this.#roster.holders(space, this.#self.node, this.#timing.meshMembers - 1)
    if (view.mesh !== (all !== undefined)) view.change()
    const near = new Set<NodeId>()
    const unaware = new Set<NodeId>()
    for (let ring = 0; ring < (view.mesh ? 1 : rings); ring++) {
      this.#beside(space, ring, 1, near, unaware, wanted)
      this.#beside(space, ring, -1, near, unaware, wanted)
    }
    const chosen = new Set(all ?? near)
    for (const node of chosen) wanted.add(node)
    view.nodes.forEach((node, slot) => {
      if (node === undefined || chosen.has(node)) return
      const bit = 1 << slot
      const gone = !this.#roster.has(node) || (this.#roster.get(node)?.spaces?.has(space) ?? true) === false
      const guest = (view.chosen & bit) === 0
      if (guest && !gone && !view.mesh) return
      if (!gone && (view.linked & bit) !== 0) this.#say(node, { kind: 'prune', space, writers: [] })
      view.unseat(slot)
    })
    view.chosen = 0
    view.told = 0
    for (const node of chosen) {
      const slot = view.seat(node) ?? this.#evictGuest(view, node)
      if (slot === undefined) continue
      const bit = 1 << slot
      view.chosen |= bit
      if (near.has(node)) view.told |= bit
      const aware = !unaware.has(node) || (view.unaware & bit) !== 0
      if (unaware.has(node)) view.unaware |= bit
      if (!this.#links.has(node)) continue
      const wasLinked = (view.linked & bit) !== 0
      view.linked |= bit
      if (!aware || (!wasLinked && unaware.has(node))) this.#say(node, { kind: 'notice', space, dots: [] })
    }
  }

  /** The next one on a ring that can be linked; those that failed are passed over, and still wanted. */
  #beside(
    space: SpaceId,
    ring: number,
    step: 1 | -1,
    near: Set<NodeId>,
    unaware: Set<NodeId>,
    wanted: Set<NodeId>,
  ): void {
    let passed = 0
    for (const { node, dialable } of this.#roster.walk(this.#self, space, ring, step)) {
      if (this.#links.has(node) || (dialable && !this.#failed.has(node))) {
        near.add(node)
        if (passed > 0) unaware.add(node)
        return
      }
      if (dialable && passed < failedKept) wanted.add(node)
      passed++
    }
  }

  #evictGuest(view: View, node: NodeId): number | undefined {
    const guest = view.nodes.findIndex((_, slot) => (view.chosen & (1 << slot)) === 0)
    if (guest < 0) return undefined
    view.unseat(guest)
    return view.seat(node)
  }

  #drop(space: SpaceId): void {
    const view = this.#views.get(space)
    if (view === undefined) return
    this.#views.delete(space)
    this.#busy.delete(view)
    this.#choose()
  }

  #linked(node: NodeId): void {
    this.#links.add(node)
    if (this.#failed.delete(node)) this.#choose()
    for (const view of this.#views.values()) {
      const slot = view.slotOf.get(node)
      if (slot === undefined || (view.linked & (1 << slot)) !== 0) continue
      view.linked |= 1 << slot
      if ((view.unaware & (1 << slot)) !== 0) this.#say(node, { kind: 'notice', space: view.space, dots: [] })
    }
  }

  #unlinked(node: NodeId, failed: boolean): void {
    this.#links.delete(node)
    for (const view of this.#views.values()) {
      const slot = view.slotOf.get(node)
      if (slot === undefined) continue
      const bit = 1 << slot
      if ((view.chosen & bit) === 0) view.unseat(slot)
      else view.unlink(slot)
    }
    if (failed && this.#roster.has(node) && !this.#failed.has(node)) {
      this.#failed.add(node)
      this.#choose()
    }
  }

  /** A node that takes this one for a neighbour is one, where there is room. */
  #guest(view: View, node: NodeId): number | undefined {
    const slot = view.slotOf.get(node)
    if (slot !== undefined) view.cool &= ~(1 << slot)
    if (slot !== undefined || view.mesh || !this.#links.has(node) || !this.#roster.has(node)) return slot
    const seat = view.seat(node)
    if (seat !== undefined) view.linked |= 1 << seat
    return seat
  }

  // --- deltas ---------------------------------------------------------------------------------------------------

  #have({ space, dot, sizeBytes, cause, from, hops = 1 }: BroadcastInput & { readonly kind: 'have' }): void {
    const view = this.#views.get(space)
    if (view === undefined) return
    const writer = writerOf(dot.origin)
    let told = 0
    const home = view.slotOf.get(writer)
    if (home !== undefined) told |= 1 << home
    const slot = from === undefined ? undefined : cause === 'push' ? this.#guest(view, from) : view.slotOf.get(from)
    if (slot !== undefined) told |= 1 << slot
    const pulled = this.#closed(view, dot, from, cause)
    if (cause !== 'catch-up' || pulled) {
      const own = cause === 'local'
      const tree = view.tree(writer)
      if (slot !== undefined && cause === 'push') {
        tree.arrived(slot, hops, this.#now)
        if (view.mesh) tree.forgive(slot)
      }
      for (let to = 0; to < view.nodes.length; to++) {
        const bit = 1 << to
        if ((view.linked & bit) === 0 || (told & bit) !== 0 || !view.pushes(tree, to, own)) continue
        told |= bit
        this.#outputs.push({ kind: 'push', to: view.nodes[to] as NodeId, space, dot, sizeBytes })
      }
    }
    const pending = view.pending.get(dot.origin)
    if (pending === undefined) {
      view.pending.set(dot.origin, { seq: dot.seq, slots: told })
      this.#busy.add(view)
      view.noticeMs = Math.min(view.noticeMs, this.#now + this.#timing.noticeMs)
      if (view.pending.size >= limits.noticeDots) view.noticeMs = this.#now
    } else if (dot.seq > pending.seq) {
      pending.seq = dot.seq
      pending.slots = told
    }
  }

  #duplicate({ space, dot, from, hops }: BroadcastInput & { readonly kind: 'duplicate' }): void {
    const view = this.#views.get(space)
    if (view === undefined) return
    const writer = writerOf(dot.origin)
    const slot = this.#guest(view, from)
    if (slot === undefined) return this.#say(from, { kind: 'prune', space, writers: [writer] })
    this.#knows(view, dot, slot)
    const tree = view.tree(writer)
    tree.heard()
    if (dot.seq >= (view.gaps.get(dot.origin)?.upTo ?? Infinity)) view.gaps.delete(dot.origin)
    // In a mesh the direct link stays, even where somebody's way round was faster: that one goes.
    const inMesh = from === writer ? tree.last : slot
    const needless = view.mesh ? inMesh : tree.repeated(slot, hops, this.#now)
    if (needless === undefined || (view.mesh && from === writer && needless === slot)) return
    const node = view.nodes[needless]
    if (node === undefined || !tree.counts(needless, this.#timing.pruneAfter)) return
    this.#say(node, { kind: 'prune', space, writers: [writer] })
  }

  #knows(view: View, { origin, seq }: Dot, slot: number): void {
    const pending = view.pending.get(origin)
    if (pending !== undefined && seq >= pending.seq) pending.slots |= 1 << slot
  }

  // --- what others say ------------------------------------------------------------------------------------------

  #message(from: NodeId, frame: BroadcastFrame): void {
    const view = this.#views.get(frame.space)
    if (view === undefined) return
    switch (frame.kind) {
      case 'notice':
        this.#noticed(view, frame.dots, from)
        break
      case 'pull':
        if (frame.graft) this.#graft(view, frame.after, from)
        break
      case 'prune':
        this.#prune(view, frame.writers, from)
        break
    }
  }

  #noticed(view: View, dots: readonly Dot[], from: NodeId): void {
    const slot = dots.length === 0 ? this.#guest(view, from) : view.slotOf.get(from)
    const most = Math.min(dots.length, limits.noticeDots)
    for (let at = 0; at < most; at++) {
      const dot = dots[at] as Dot
      if (slot !== undefined) this.#knows(view, dot, slot)
      this.#missing(view, dot, from)
    }
  }

  #graft(view: View, after: readonly Dot[], from: NodeId): void {
    const slot = this.#guest(view, from)
    if (slot === undefined) return
    const most = Math.min(after.length, limits.noticeDots)
    for (let at = 0; at < most; at++) {
      const { origin } = after[at] as Dot
      // Of a writer that nobody here has heard of there is nothing to push, nor a row to spend on it.
      if (this.#applied(view.space, origin) > 0) view.tree(writerOf(origin)).graft(slot)
    }
  }

  #prune(view: View, writers: readonly NodeId[], from: NodeId): void {
    const slot = view.slotOf.get(from)
    if (slot === undefined) return
    if (writers.length === 0) {
      // A guest who goes; a neighbour who sees other neighbours still hears what is new.
      if ((view.chosen & (1 << slot)) === 0) view.unseat(slot)
      else if (!view.mesh) view.cool |= 1 << slot
      return
    }
    const most = Math.min(writers.length, limits.noticeDots)
    for (let at = 0; at < most; at++) {
      view.known(writers[at] as NodeId)?.prune(slot)
    }
  }

  // --- gaps -----------------------------------------------------------------------------------------------------

  #missing(view: View | undefined, { origin, seq }: Dot, from: NodeId): void {
    if (view === undefined || seq <= this.#applied(view.space, origin)) return
    const gap = view.gaps.get(origin)
    if (gap !== undefined) {
      gap.upTo = Math.max(gap.upTo, seq)
      if (!gap.sources.includes(from) && gap.sources.length < sourcesKept) gap.sources.push(from)
      return
    }
    if (view.gaps.size >= limits.broadcastMissing) return
    const { graftHops, leastGraftMs, mostGraftMs } = this.#timing
    const waitMs = Math.min(mostGraftMs, Math.max(leastGraftMs, Math.ceil(graftHops * this.#hopMs)))
    view.gaps.set(origin, {
      upTo: seq,
      sources: [from],
      noticedMs: this.#now,
      dueMs: this.#now + waitMs,
      pulls: 0,
      pulledFrom: undefined,
      pulledMs: 0,
    })
    this.#busy.add(view)
  }

  /** News of an origin: does it close a gap, and was it asked for? */
  #closed(view: View, { origin, seq }: Dot, from: NodeId | undefined, cause: 'local' | 'push' | 'catch-up'): boolean {
    const gap = view.gaps.get(origin)
    if (gap === undefined) return false
    const pulled = gap.pulledFrom !== undefined && gap.pulledFrom === from
    // What was caught up may still be pushed: the gap is looked at when it is due.
    if (seq >= gap.upTo && (cause !== 'catch-up' || pulled)) {
      view.gaps.delete(origin)
      // Of several pulls nobody knows which one was answered (Karn's rule).
      if (pulled && gap.pulls === 1) this.#measured((this.#now - gap.pulledMs) / 2)
      else if (gap.pulledFrom === undefined) this.#measured(this.#now - gap.noticedMs)
    }
    return pulled
  }

  #measured(hopMs: number): void {
    this.#hopMs += (Math.max(1, Math.min(hopMs, this.#timing.mostGraftMs)) - this.#hopMs) * smoothing
  }

  #tick(): void {
    let next = Infinity
    for (const view of this.#busy) {
      if (this.#now >= view.noticeMs) this.#tell(view)
      next = Math.min(next, view.noticeMs, this.#pull(view))
      if (view.pending.size === 0 && view.gaps.size === 0) this.#busy.delete(view)
    }
    this.wakeAt = next
  }

  #tell(view: View): void {
    const { space } = view
    view.noticeMs = Infinity
    const listeners = view.linked & (view.mesh ? view.told : -1)
    for (let slot = 0; slot < view.nodes.length; slot++) {
      const bit = 1 << slot
      if ((listeners & bit) === 0) continue
      const dots: Dot[] = []
      for (const [origin, { seq, slots: told }] of view.pending) if ((told & bit) === 0) dots.push({ origin, seq })
      if (dots.length > 0) this.#say(view.nodes[slot] as NodeId, { kind: 'notice', space, dots })
    }
    view.pending.clear()
  }

  /** Pulls what is due, one frame a peer; the answer is when the next is. */
  #pull(view: View): number {
    if (view.gaps.size === 0) return Infinity
    let next = Infinity
    const asked = new Map<NodeId, Dot[]>()
    for (const [origin, gap] of view.gaps) {
      if (this.#now >= gap.dueMs) {
        const source = this.#sourceOf(gap)
        const seq = this.#applied(view.space, origin)
        const isCaughtUp = seq >= gap.upTo
        // Anti-entropy was faster, again, and nobody has pushed it: then it was no accident, a link of the tree is lacking. Of an
        // origin that ended in a fork nothing is pushed any more.
        const isCutOff = isCaughtUp && seq < Infinity && view.tree(writerOf(origin)).missed()
        if (source === undefined || (isCaughtUp && !isCutOff)) {
          view.gaps.delete(origin)
          continue
        }
        const after = asked.get(source) ?? []
        after.push({ origin, seq })
        asked.set(source, after)
        const patienceMs = Math.max(this.#timing.pullMs, 4 * this.#hopMs) * 2 ** gap.pulls
        if (isCaughtUp) {
          view.gaps.delete(origin)
          continue
        }
        gap.pulls++
        gap.pulledFrom = source
        gap.pulledMs = this.#now
        gap.dueMs = this.#now + Math.ceil(patienceMs)
      }
      next = Math.min(next, gap.dueMs)
    }
    for (const [source, after] of asked) {
      this.#say(source, { kind: 'pull', space: view.space, after, graft: true })
      const slot = view.slotOf.get(source)
      if (slot === undefined) continue
      // It pushes from now on: what was pruned for its duplicates begins anew.
      for (const { origin } of after) {
        view.known(writerOf(origin))?.forgive(slot)
      }
    }
    return next
  }

  #sourceOf(gap: Gap): NodeId | undefined {
    if (gap.pulls >= this.#timing.pulls) return undefined
    const { sources } = gap
    for (let tries = 0; tries < sources.length; tries++) {
      const source = sources[(gap.pulls + tries) % sources.length] as NodeId
      if (this.#links.has(source)) return source
    }
    return undefined
  }

  #say(to: NodeId, frame: BroadcastFrame): void {
    this.#outputs.push({ kind: 'send', to, frame })
  }
}

/** The node part of an origin: its trees outlive its incarnations. */
function writerOf(origin: OriginId): NodeId {
  return origin.slice(0, 16) as string as NodeId
}
