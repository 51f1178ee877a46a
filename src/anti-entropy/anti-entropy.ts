/**
 * Anti-entropy: repairs everything that broadcast missed, in steps of rising cost.
 *
 *   1  greeting    digests of context and root, every round to a random peer and after bursts. Equal is proven equal.
 *   2  exchange    contexts differ: vectors, then the missing deltas from the log
 *   3  adoption    below the log, or new: cells of the buckets that differ, as of one snapshot of the sender
 *   4  integrity   equal context and unequal roots: damage, a bug or a fork; located, reported, repaired
 *
 * A pure machine. It is fed frames, links, pages of scans and the time; what it wants done stands in `outputs`, in the
 * order of duty, and whoever feeds it empties that list. docs/decisions/anti-entropy.md says why it is as it is.
 */
import { equalBytes } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Dot, OriginId, Vector } from '../crdt/dot.ts'
import type { Prng } from '../base/prng.ts'
import type { Row, RowReader } from '../base/rows.ts'
import { meet } from '../replica/forks.ts'
import type { Replica } from '../replica/replica.ts'
import type { Space } from '../replica/space.ts'
import type { Chains, Frame, Greeting, NodeId, SpaceId, StoredAsk, TreeAsk } from '../wire/frame.ts'
import { Adopt } from './adopt.ts'
import { rootBytes } from './digests.ts'
import { Exchange } from './exchange.ts'
import { Fold } from './fold.ts'
import { Forks } from './forks.ts'
import { Integrity } from './integrity.ts'
import { Moments } from './moments.ts'
import { Offer } from './offer.ts'
import { usualBounds } from './output.ts'
import type { Bounds, Comparison, Shared, SyncOutput } from './output.ts'
import { Patience } from './patience.ts'
import { Scans } from './scan.ts'

export interface AntiEntropyConfig {
  readonly node: NodeId
  readonly replica: Replica
  readonly random: Prng
  readonly bounds?: Partial<Bounds>
}

class Peer {
  readonly node: NodeId
  readonly sinceMs: number
  spaces: ReadonlySet<SpaceId> = new Set()
  readonly exchanges: Map<SpaceId, Exchange> = new Map()
  /** When it last asked for a snapshot. */
  readonly askedMs: Map<SpaceId, number> = new Map()
  /** When it last greeted, unless it was catching up then. */
  readonly greetedMs: Map<SpaceId, number> = new Map()
  /** When its greeting last showed that it holds the very same. */
  readonly equalMs: Map<SpaceId, number> = new Map()
  /** What it was told that the own disk has. */
  readonly told: Map<SpaceId, { atMs: number; readonly vector: Vector }> = new Map()
  /** What it has told over this link of its own disk: each time only what is new. */
  readonly said: Map<SpaceId, Vector> = new Map()
  /** What it wants to be told of as soon as the own disk has it. */
  readonly wanted: Map<SpaceId, Vector> = new Map()

  constructor(node: NodeId, sinceMs: number) {
    this.node = node
    this.sinceMs = sinceMs
  }
}

export class AntiEntropy {
  /** What is to be done, in order; the caller takes it and leaves an empty list. */
  readonly outputs: SyncOutput[] = []
  readonly #shared: Shared
  readonly #peers = new Map<NodeId, Peer>()
  readonly #byId = new Map<SpaceId, Space>()
  readonly #scans: Scans
  readonly #moments: Moments
  readonly #forks: Forks
  /** Snapshots on their way here: one a space. */
  readonly #adopting = new Map<Space, Adopt>()
  readonly #folding = new Map<Space, Fold>()
  /** Disputes over what is true: one a space. */
  readonly #integrity = new Map<Space, Integrity>()
  readonly #disputedMs = new WeakMap<Space, number>()
  /** Snapshots on their way to peers. */
  readonly #offers: Offer[] = []
  #roundAt = -Infinity
  #burstAt = Infinity

  constructor({ node, replica, random, bounds }: AntiEntropyConfig) {
    const all = { ...usualBounds, ...bounds }
    this.#shared = { node, replica, random, bounds: all, patience: new Patience(all.asideMs), outputs: this.outputs }
    this.#scans = new Scans(this.outputs)
    this.#moments = new Moments(replica)
    this.#forks = new Forks(this.#shared)
  }

  linkUp(node: NodeId, nowMs: number): void {
    if (!this.#peers.has(node)) this.#peers.set(node, new Peer(node, nowMs))
    for (const adopt of this.#adopting.values()) if (adopt.peer === node && adopt.paused) adopt.resume(nowMs)
  }

  /** The spaces that a peer says it holds. */
  holds(node: NodeId, spaces: Iterable<SpaceId>): void {
    const peer = this.#peers.get(node)
    if (peer !== undefined) peer.spaces = new Set(spaces)
  }

  linkDown(node: NodeId, nowMs: number): void {
    const peer = this.#peers.get(node)
    if (peer === undefined) return
    for (const exchange of peer.exchanges.values()) exchange.end('lost', nowMs)
    for (const adopt of this.#adopting.values()) {
      if (adopt.peer !== node) continue
      adopt.paused = true
      // Nothing was offered: whoever else is there may be asked.
      if (adopt.isWaiting && !adopt.hasTarget) adopt.end('lost', nowMs)
    }
    for (const offer of this.#offers) if (offer.peer === node) offer.paused = true
    for (const dispute of this.#integrity.values()) {
      if (dispute.peer === node && dispute.state !== 'repair') dispute.end('lost', nowMs)
    }
    this.#peers.delete(node)
    this.#tidy(nowMs)
  }

  /** Something was written or received: once it is quiet, somebody is greeted about it. */
  changed(nowMs: number): void {
    this.#burstAt = nowMs + this.#shared.bounds.burstMs
  }

  /** The peer pushed a delta that does not follow what is here, or lies beyond the end of its origin. */
  suspect(node: NodeId, space: Space, origin: OriginId, nowMs: number): void {
    const peer = this.#peers.get(node)
    if (peer === undefined) return
    this.#forks.suspect(space, origin)
    this.#exchange(peer, space, space.id).startChains(nowMs)
  }

  /** The replica writes as another incarnation from now on, and has not written yet. */
  renewed(nowMs: number): void {
    for (const adopt of this.#adopting.values()) adopt.renewed(nowMs)
    this.#tidy(nowMs)
  }

  /** A batch of the replica is in the store. To be called before the next one is written. */
  stored(nowMs: number): void {
    this.#leaveDeleted(nowMs)
    this.#moments.stored()
    for (const adopt of this.#adopting.values()) adopt.stored(nowMs)
    for (const fold of this.#folding.values()) fold.step()
    for (const peer of this.#peers.values()) for (const id of peer.wanted.keys()) this.#tellWanted(peer, id)
    this.#tidy(nowMs)
  }

  /** Entry rows of a scan, in key order, and the snapshot that they come from. */
  page(scan: number, rows: readonly Row[], done: boolean, snapshot: RowReader, nowMs: number): void {
    this.#leaveDeleted(nowMs)
    try {
      this.#scans.page(scan, rows, done, snapshot, nowMs)
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      this.#scans.fail(scan, error.message)
    }
    this.#tidy(nowMs)
  }

  /** The rows of a scan cannot be read. */
  scanFailed(scan: number, why: string, nowMs: number): void {
    this.#scans.fail(scan, why)
    this.#tidy(nowMs)
  }

  /** Nothing more is done about spaces that were deleted. */
  #leaveDeleted(nowMs: number): void {
    for (const [space, adopt] of this.#adopting) if (space.deleted) adopt.end('stopped', nowMs)
    for (const [space, integrity] of this.#integrity) if (space.deleted) integrity.end('stopped', nowMs)
    for (const offer of this.#offers) if (offer.space.deleted) offer.end('stopped', nowMs)
  }

  /** Lets go of what is over, and goes on with what follows from it. */
  #tidy(nowMs: number): void {
    for (let at = this.#offers.length - 1; at >= 0; at--)
      if (this.#offers[at]?.ended === true) this.#offers.splice(at, 1)
    for (const [space, adopt] of this.#adopting) {
      if (adopt.outcome === 'sealed') this.#fold(space)
      if (adopt.outcome === undefined || (adopt.outcome === 'sealed' && space.adoption !== undefined)) continue
      if (adopt.outcome === 'sealed') adopt.end('done', nowMs)
      this.#adopting.delete(space)
      if (adopt.outcome === 'done') {
        this.#shared.patience.came(adopt.peer, space.id)
        this.#greetBack(adopt.peer, space)
      }
      const peer = this.#peers.get(adopt.peer)
      if (adopt.isAstray && peer !== undefined) this.#adopt(peer, space, nowMs, true)
    }
    for (const [space, integrity] of this.#integrity) {
      if (integrity.state !== 'over') continue
      this.#integrity.delete(space)
      const peer = this.#peers.get(integrity.peer)
      if (integrity.isDamaged && peer !== undefined) this.#adopt(peer, space, nowMs)
    }
    for (const [space, fold] of this.#folding) {
      if (!fold.done) continue
      this.#folding.delete(space)
      this.#tidy(nowMs)
    }
  }

  /** What was sealed is folded in, also what an earlier run of the program has left. */
  #fold(space: Space): void {
    const { adoption } = space
    if (adoption === undefined || this.#folding.has(space)) return
    const fold = new Fold(this.#shared, this.#scans, space, adoption)
    this.#folding.set(space, fold)
    fold.start(this.#moments)
  }

  #greetBack(node: NodeId, space: Space): void {
    if (this.#peers.has(node)) this.#greet(node, space, space.id)
  }

  get wakeAt(): number {
    let atMs = Math.min(this.#roundAt, this.#burstAt)
    for (const { repairAt } of this.#integrity.values()) atMs = Math.min(atMs, repairAt)
    for (const { signAt } of this.#offers) atMs = Math.min(atMs, signAt)
    return atMs
  }

  timer(nowMs: number): void {
    const { bounds, patience } = this.#shared
    if (nowMs >= this.#roundAt || nowMs >= this.#burstAt) {
      this.#burstAt = Infinity
      // A tenth of chance keeps a fleet that was started together from speaking together.
      this.#roundAt = nowMs + Math.round(bounds.roundMs * (0.95 + this.#shared.random.below(1000) / 10_000))
      for (const peer of this.#some(bounds.roundPeers)) {
        this.greetAll(peer.node)
        this.#tellStored(peer, nowMs)
      }
    }
    for (const peer of this.#peers.values()) {
      for (const exchange of peer.exchanges.values()) {
        if (exchange.isLate(nowMs)) exchange.end('late', nowMs)
      }
    }
    for (const space of this.#shared.replica.spaces) this.#fold(space)
    // Whoever waits for the store is looked after here too, should a batch have come without a word.
    this.stored(nowMs)
    for (const offer of this.#offers) {
      if (nowMs - offer.movedMs > bounds.lateMs) offer.end('late', nowMs)
      else if (nowMs >= offer.signAt) offer.sign(nowMs)
    }
    for (const adopt of this.#adopting.values()) {
      if (!adopt.isLate(nowMs)) continue
      const waitedMs = nowMs - adopt.movedMs
      const isLost = adopt.paused && waitedMs <= bounds.readMs
      if (!isLost) patience.failed(adopt.peer, adopt.space.id, waitedMs, nowMs)
      adopt.end(isLost ? 'lost' : 'late', nowMs)
    }
    for (const integrity of this.#integrity.values()) {
      if (nowMs >= integrity.repairAt) this.#repair(integrity, nowMs)
      else if (integrity.repairAt === Infinity && nowMs - integrity.movedMs > bounds.readMs)
        integrity.end('late', nowMs)
    }
    this.#tidy(nowMs)
  }

  #repair(integrity: Integrity, nowMs: number): void {
    try {
      integrity.repair(nowMs)
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      // The disk is behind, or full: what was found is still to be mended.
      if (error.retryable) integrity.repairAt = nowMs + this.#shared.bounds.graceMs
      else integrity.end('refused', nowMs)
    }
  }

  /** Does a peer wait for word that something is on the own disk, and it is in memory? */
  get isAsked(): boolean {
    for (const peer of this.#peers.values()) {
      for (const [id, wanted] of peer.wanted) {
        const vector = this.#find(id)?.vector
        for (const [origin, seq] of wanted) if ((vector?.get(origin) ?? 0) >= seq) return true
      }
    }
    return false
  }

  /** Greets a peer about a space, and wants to be greeted back, whatever is found. */
  compare(node: NodeId, space: Space): void {
    if (this.#peers.get(node)?.spaces.has(space.id) === true) this.#greet(node, space, space.id, true)
  }

  /** Greets a peer about every space that both hold. */
  greetAll(node: NodeId): void {
    const peer = this.#peers.get(node)
    if (peer === undefined) return
    for (const space of this.#shared.replica.spaces) {
      const id = space.id
      if (peer.spaces.has(id)) this.#greet(node, space, id)
    }
  }

  /**
   * What is on the own disk, for the peer's cut: a greeting between equals says it in one bit, but where somebody writes
   * all the time two are seldom equal. Only what was not told before.
   */
  #tellStored(peer: Peer, nowMs: number): void {
    const { storedMs } = this.#shared.bounds
    for (const space of this.#shared.replica.spaces) {
      const { id } = space
      if (!peer.spaces.has(id) || nowMs - (peer.equalMs.get(id) ?? -Infinity) < storedMs) continue
      let told = peer.told.get(id)
      if (told === undefined) peer.told.set(id, (told = { atMs: peer.sinceMs, vector: new Map() }))
      if (nowMs - told.atMs < storedMs) continue
      if (this.#sayStored(peer, space, space.logs.keys(), false)) told.atMs = nowMs
    }
  }

  handle(from: NodeId, frame: Frame, nowMs: number): void {
    const peer = this.#peers.get(from)
    if (peer === undefined || !('space' in frame)) return
    const space = this.#find(frame.space)
    if (space === undefined) return
    try {
      this.#handle(peer, space, frame, nowMs)
    } catch (error) {
      if (!(error instanceof SkeinError) || error.code !== 'malformed') throw error
      this.outputs.push({ kind: 'fault', from, code: error.code, what: error.message })
      peer.exchanges.get(frame.space)?.end('refused', nowMs)
      const adopt = this.#adopting.get(space)
      if (adopt?.peer === from) adopt.end('refused', nowMs)
      this.#disputeWith(peer, space)?.end('refused', nowMs)
    }
    this.#tidy(nowMs)
  }

  #handle(peer: Peer, space: Space, frame: Frame, nowMs: number): void {
    switch (frame.kind) {
      case 'greeting':
        return this.#greeted(peer, space, frame, nowMs)
      case 'vector':
        return this.#exchange(peer, space, frame.space).vector(frame, nowMs)
      case 'chains':
        return this.#compare(peer, space, frame, nowMs)
      case 'deltas': {
        const arrival = this.#exchange(peer, space, frame.space).deltas(frame, nowMs)
        if (arrival === 'done') this.#greet(peer.node, space, frame.space)
        else if (arrival === 'below') this.#adopt(peer, space, nowMs)
        else if (arrival === 'forked') this.#exchange(peer, space, frame.space).startChains(nowMs)
        return
      }
      case 'stored': {
        let vector = peer.said.get(space.id)
        if (vector === undefined) peer.said.set(space.id, (vector = new Map()))
        for (const { origin, seq } of frame.vector) {
          if (vector.has(origin) || vector.size < limits.frameOrigins) vector.set(origin, seq)
        }
        this.outputs.push({ kind: 'report', report: { kind: 'stored', space, peer: peer.node, vector } })
        return
      }
      case 'stored-ask':
        return this.#askedStored(peer, space, frame)
      case 'sketch':
        this.#unequal(peer, space, nowMs)
        return this.#disputeWith(peer, space)?.sketched(frame, nowMs)
      case 'sketch-ask':
        return this.#disputeWith(peer, space)?.asked(frame, nowMs)
      case 'tree-ask':
        return this.#asked(peer, space, frame, nowMs)
      case 'tree-offer':
        return this.#session(peer, space, frame.session)?.offered(frame, nowMs)
      case 'tree-cells':
        return this.#session(peer, space, frame.session)?.cells(frame, nowMs)
      case 'tree-ack': {
        const offer = this.#offerOf(peer.node, space)
        if (offer?.session === frame.session) return offer.ack(frame, nowMs)
        const adopt = this.#session(peer, space, frame.session)
        if (frame.stop) adopt?.end('stopped', nowMs)
        else adopt?.heard(nowMs)
        return
      }
      default:
        return
    }
  }

  /** A peer waits for word of the own disk: at once, or as soon as it has what was named. */
  #askedStored(peer: Peer, space: Space, { vector }: StoredAsk): void {
    const { id } = space
    if (vector.length === 0) {
      this.#sayStored(peer, space, space.logs.keys(), true)
      return
    }
    let wanted = peer.wanted.get(id)
    if (wanted === undefined) peer.wanted.set(id, (wanted = new Map()))
    for (const { origin, seq } of vector) {
      const before = wanted.get(origin)
      if (before === undefined && wanted.size >= limits.frameOrigins) continue
      wanted.set(origin, Math.max(seq, before ?? 0))
    }
    this.#tellWanted(peer, id)
  }

  #tellWanted(peer: Peer, id: SpaceId): void {
    const wanted = peer.wanted.get(id) as Vector
    const space = this.#find(id)
    const here: OriginId[] = []
    for (const [origin, seq] of wanted) if ((space?.logs.get(origin)?.durableSeq ?? 0) >= seq) here.push(origin)
    for (const origin of here) wanted.delete(origin)
    if (wanted.size === 0 || space === undefined) peer.wanted.delete(id)
    if (space !== undefined && here.length > 0) this.#sayStored(peer, space, here, true)
  }

  /** Says of these origins what the own disk has; `again` also where that was said before: it may have been lost. */
  #sayStored(peer: Peer, space: Space, origins: Iterable<OriginId>, again: boolean): boolean {
    const { id } = space
    let told = peer.told.get(id)
    if (told === undefined) peer.told.set(id, (told = { atMs: peer.sinceMs, vector: new Map() }))
    const news: Dot[] = []
    for (const origin of origins) {
      const seq = space.logs.get(origin)?.durableSeq ?? 0
      // Also less than before: who left the losing side of a fork went back.
      if (seq === (told.vector.get(origin) ?? 0) && !(again && seq > 0)) continue
      news.push({ origin, seq })
      told.vector.set(origin, seq)
    }
    if (news.length > 0 || again) {
      this.outputs.push({ kind: 'send', to: peer.node, frame: { kind: 'stored', space: id, vector: news } })
    }
    return news.length > 0
  }

  #disputeWith(peer: Peer, space: Space): Integrity | undefined {
    const integrity = this.#integrity.get(space)
    return integrity?.peer === peer.node ? integrity : undefined
  }

  /** Equal context, unequal roots. */
  #unequal(peer: Peer, space: Space, nowMs: number): void {
    if (this.#integrity.has(space) || this.#adopting.has(space) || space.catchingUp) return
    // It reads the whole space: a peer that calls for it all the time does not get it all the time.
    if (nowMs - (this.#disputedMs.get(space) ?? -Infinity) < this.#shared.bounds.disputeMs) return
    this.#disputedMs.set(space, nowMs)
    const integrity = new Integrity(this.#shared, this.#scans, space, peer.node, nowMs)
    this.#integrity.set(space, integrity)
    // The other side is to look at itself too.
    this.#greet(peer.node, space, space.id)
    integrity.start(this.#moments)
  }

  #session(peer: Peer, space: Space, session: number): Adopt | undefined {
    const adopt = this.#adopting.get(space)
    return adopt?.peer === peer.node && adopt.session === session ? adopt : undefined
  }

  #offerOf(peer: NodeId, space: Space): Offer | undefined {
    return this.#offers.find((offer) => offer.peer === peer && offer.space === space && !offer.ended)
  }

  #compare(peer: Peer, space: Space, frame: Chains, nowMs: number): void {
    const { isAstray, isClosed } = this.#exchange(peer, space, frame.space).chains(frame, nowMs)
    if (isClosed) this.#tellForks(space)
    if (isAstray) this.#adopt(peer, space, nowMs, true)
  }

  /** An origin ended here: whoever waits for more of it, or has more of it, is to know. */
  #tellForks(space: Space): void {
    for (const peer of this.#peers.values()) {
      if (!peer.spaces.has(space.id)) continue
      this.outputs.push({ kind: 'send', to: peer.node, frame: this.#forks.frame(space, space.id, false) })
    }
  }

  /**
   * Takes over what the peer has: a delta log does not help any more. From the better side of a fork it takes the place of
   * what is here.
   */
  #adopt(peer: Peer, space: Space, nowMs: number, isForked: boolean = false): void {
    if (this.#adopting.has(space) || space.catchingUp || this.#isAside(peer, space, nowMs)) return
    // Nothing is merged across a fork, so it would only be refused.
    if (!isForked && this.#forks.hasSuspects(space)) {
      return this.#exchange(peer, space, space.id).startChains(nowMs)
    }
    const adopt = new Adopt(this.#shared, this.#scans, this.#forks, space, peer.node, nowMs, isForked)
    this.#adopting.set(space, adopt)
    adopt.start(this.#moments)
  }

  /** A peer wants to take over what is here. */
  #asked(peer: Peer, space: Space, ask: TreeAsk, nowMs: number): void {
    const mine = this.#adopting.get(space)
    // Two that wait for each other would wait for ever: the lower one serves first.
    if (mine?.hasTarget === false && this.#shared.node < peer.node) mine.end('stopped', nowMs)
    const current = this.#offerOf(peer.node, space)
    if (ask.after !== '' && current?.session === ask.session) return current.resume(nowMs)
    current?.end('lost', nowMs)
    this.#tidy(nowMs)
    const since = nowMs - (peer.askedMs.get(space.id) ?? -Infinity)
    const { offers, offerPauseMs } = this.#shared.bounds
    const buckets = ask.sums.length / 8
    // Every offer reads the whole space: few at a time, and none from what is not whole itself.
    const isFine = ask.after === '' && (buckets === 0 || (Number.isInteger(Math.log2(buckets)) && buckets >= 8))
    if (
      !isFine ||
      !this.#mayOffer(peer, space, ask, nowMs) ||
      since < offerPauseMs ||
      this.#offers.length >= offers ||
      space.catchingUp
    ) {
      const frame = { kind: 'tree-ack', space: space.id, session: ask.session, seq: 0, stop: true } as const
      this.outputs.push({ kind: 'send', to: peer.node, frame })
      return
    }
    peer.askedMs.set(space.id, nowMs)
    const offer = new Offer(this.#shared, this.#scans, space, peer.node, { ...ask, sums: ask.sums.slice() }, nowMs)
    this.#offers.push(offer)
    this.#moments.next(space, (moment) => offer.begin(moment))
  }

  /** Nothing is merged across a fork: it is settled first. Who is on the losing side may take the better one. */
  #mayOffer(peer: Peer, space: Space, ask: TreeAsk, nowMs: number): boolean {
    let isFine = true
    for (const head of ask.vector) {
      const { kind } = meet(space, head, undefined)
      if (kind === 'none' || kind === 'tell' || kind === 'take') continue
      this.#forks.found(space, peer.node, head)
      isFine = false
    }
    if (!isFine) this.#exchange(peer, space, space.id).startChains(nowMs)
    return isFine
  }

  #greeted(peer: Peer, space: Space, frame: Greeting, nowMs: number): void {
    if (frame.answer) this.#greet(peer.node, space, frame.space)
    // Who is catching up gives no cells: nobody is left aside in favour of him, whatever he was before.
    if (frame.catchingUp) peer.greetedMs.delete(space.id)
    else peer.greetedMs.set(space.id, nowMs)
    const found = this.#compared(space, frame)
    const { durable } = frame
    this.outputs.push({ kind: 'report', report: { kind: 'compared', space, peer: peer.node, found, durable } })
    if (found === 'equal') peer.equalMs.set(space.id, nowMs)
    else if (found === 'unequal') this.#unequal(peer, space, nowMs)
    if (found !== 'apart' || this.#isAside(peer, space, nowMs)) return
    const { patience, bounds } = this.#shared
    // Cells are cheaper than deltas, but only from somebody who gives them.
    const isNew = space.vector.size === 0 && frame.count > bounds.newcomerSiblings
    if (isNew && patience.times(peer.node, space.id) === 0) return this.#adopt(peer, space, nowMs)
    const exchange = this.#exchange(peer, space, frame.space)
    if (exchange.busy || nowMs - exchange.startedMs < bounds.pauseMs) return
    for (const other of this.#peers.values()) {
      const isWaitedFor = other.exchanges.get(frame.space)?.asked === true
      if (isWaitedFor && !patience.isAside(other.node, space.id, nowMs)) return
    }
    exchange.start(frame.context, nowMs)
  }

  /** It was waited for in vain, and somebody else who was heard of lately holds the space too. */
  #isAside({ node }: Peer, { id }: Space, nowMs: number): boolean {
    const { patience, bounds } = this.#shared
    if (!patience.isAside(node, id, nowMs)) return false
    for (const other of this.#peers.values()) {
      if (other.node === node || patience.isAside(other.node, id, nowMs)) continue
      if (nowMs - (other.greetedMs.get(id) ?? -Infinity) <= bounds.lateMs) return true
    }
    return false
  }

  #compared(space: Space, { context, root, count, catchingUp }: Greeting): Comparison {
    if (catchingUp || space.catchingUp || this.#adopting.has(space)) return 'catching-up'
    if (!equalBytes(context, space.contextDigest())) return 'apart'
    const own = space.tree.root
    return count === own[4] && equalBytes(root, rootBytes(own)) ? 'equal' : 'unequal'
  }

  #greet(to: NodeId, space: Space, id: SpaceId, answer: boolean = false): void {
    const { root } = space.tree
    const frame: Greeting = {
      kind: 'greeting',
      space: id,
      context: space.contextDigest(),
      root: rootBytes(root),
      count: root[4] as number,
      durable: isDurable(space),
      catchingUp: space.catchingUp,
      answer,
    }
    this.outputs.push({ kind: 'send', to, frame })
  }

  #exchange(peer: Peer, space: Space, id: SpaceId): Exchange {
    let exchange = peer.exchanges.get(id)
    if (exchange === undefined)
      peer.exchanges.set(id, (exchange = new Exchange(this.#shared, this.#forks, space, id, peer.node)))
    return exchange
  }

  /** So many different peers at random. */
  #some(count: number): Peer[] {
    const peers = [...this.#peers.values()]
    const chosen: Peer[] = []
    while (chosen.length < count && peers.length > 0) {
      chosen.push(...peers.splice(this.#shared.random.below(peers.length), 1))
    }
    return chosen
  }

  #find(id: SpaceId): Space | undefined {
    const known = this.#byId.get(id)
    if (known !== undefined && !known.deleted) return known
    this.#byId.delete(id)
    for (const space of this.#shared.replica.spaces) if (space.id === id) this.#byId.set(id, space)
    return this.#byId.get(id)
  }
}

function isDurable(space: Space): boolean {
  for (const log of space.logs.values()) if (log.durableSeq !== log.seq) return false
  return true
}
