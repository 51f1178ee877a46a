/**
 * Who is in the fleet and who is alive: SWIM (Das, Gupta, Motivala, 2002) with Lifeguard (Dadgar, Phillips, Currey, 2017).
 *
 * Each period a node pings one member, in random order, all of them once before any twice. Without an ack it asks three
 * others to ping for it; without an ack from anybody it says that the member is suspect. Suspicion gives the member time to
 * refute by a higher incarnation, less time the more members accuse it independently; then it is dead. News of all this
 * ride on pings and acks, and are passed on at once to a few others while they are fresh.
 *
 * A node doubts itself before it doubts others. Nacks that do not come, suspicions of itself and a late event loop raise
 * its `health`, which stretches its periods; time in which its own loop stood still counts for no deadline. Two rules
 * go beyond the papers. Nobody declares a death without looking: an accuser pings whom it accuses in every period, and
 * everybody does before its time-out ends, so that whoever comes back can refute where it matters. And a death is believed only of a member that has been suspect here for some periods: after a healed partition
 * both sides say that the other is dead, and all of them live.
 *
 * It knows nothing of links but whom it has met, and never throws for what it is told. Not here: whom the cut waits for
 * (the roster of operators), and who holds which space.
 */
import { limits } from '../base/limits.ts'
import type { Prng } from '../base/prng.ts'
import type { Ack, Members, MemberState, MemberStatement, Nack, NodeId, Ping, PingRequest } from '../wire/frame.ts'
import { News } from './news.ts'
import { Suspicion } from './suspicion.ts'
import { lanTiming, type MembershipTiming } from './timing.ts'

export interface Self {
  readonly node: NodeId
  /** Empty when it cannot be dialled. */
  readonly address: string
  readonly zone: string
  /** Major * 1000 + minor of the protocol that it speaks. */
  readonly version: number
}

export interface MembershipConfig {
  readonly self: Self
  readonly random: Prng
  readonly timing?: Partial<MembershipTiming>
}

export interface Member {
  readonly node: NodeId
  readonly address: string
  readonly zone: string
  readonly version: number
  /** -1 while only a link has told of it. */
  readonly incarnation: number
  readonly state: MemberState
  /** Since when it is in this state, here. */
  readonly sinceMs: number
}

export type MembershipFrame = Ping | Ack | PingRequest | Nack | Members

export type MembershipInput =
  | { readonly kind: 'timer' }
  | { readonly kind: 'message'; readonly from: NodeId; readonly frame: MembershipFrame }
  /** A link to it is up and has said hello. */
  | { readonly kind: 'met'; readonly node: NodeId; readonly address: string }
  /** The last link to it is gone. */
  | { readonly kind: 'parted'; readonly node: NodeId }
  /** The event loop was late by so much. */
  | { readonly kind: 'lag'; readonly lagMs: number }
  /** Say goodbye to everybody. */
  | { readonly kind: 'leave' }

export type MembershipOutput =
  /** Over a link where there is one; dialled otherwise, unless the address is empty. May be lost. */
  | {
      readonly kind: 'send'
      readonly to: NodeId
      readonly address: string
      readonly frame: MembershipFrame
    }
  /** `before` is undefined for a new member. */
  | { readonly kind: 'changed'; readonly member: Member; readonly before: MemberState | undefined }
  /** Its zone, address or version are known now, or are others; its state is what it was. */
  | { readonly kind: 'described'; readonly member: Member }
  /** Dead for long, or pushed out by others. */
  | { readonly kind: 'forgotten'; readonly node: NodeId }
  /** A probe was answered by its target itself, so long after the ping. */
  | { readonly kind: 'probed'; readonly node: NodeId; readonly tookMs: number }

/** From Lifeguard. */
const worstHealth = 8
/** Beyond this an incarnation is nonsense, and could not be refuted any more. */
const highestIncarnation = 2 ** 48
/** What one stall adds to the health. A guess: it stretches periods to at most four times. */
const worstStall = 3
/** Suspects that an accuser pings in one period, beside the regular ping. A guess. */
const suspectsPinged = 8
/** Who is told directly when this node leaves. A guess. */
const farewells = 32
/** So many strangers are asked for their lists at once, then one every so often. A guess: some of the first may be new too. */
const questionsKept = 3
const questionMs = 5000
/** A node that is so young knows nothing that others do not. A guess: a list comes in some round trips. */
const youngMs = 1000
/** Two full lists to one node are never closer than this. */
const listPauseMs = 1000
/** How often the dead are looked through. */
const forgetEveryMs = 60_000

const rank: Readonly<Record<MemberState, number>> = { alive: 0, suspect: 1, dead: 2, left: 3 }

interface Known {
  readonly node: NodeId
  address: string
  zone: string
  version: number
  incarnation: number
  state: MemberState
  sinceMs: number
  suspicion: Suspicion | undefined
  listSentMs: number
  inOrder: boolean
}

interface Probe {
  readonly seq: number
  readonly target: Known
  readonly helpers: Set<NodeId>
  readonly nacks: Set<NodeId>
  readonly sentMs: number
  asked: boolean
  askMs: number
  endMs: number
}

/** A ping sent for somebody else. */
interface Relay {
  readonly requester: NodeId
  readonly seq: number
  readonly target: NodeId
  nackMs: number
  endMs: number
}

export class Membership {
  readonly #self: Self
  readonly #random: Prng
  readonly #timing: MembershipTiming
  readonly #known = new Map<NodeId, Known>()
  readonly #suspects = new Set<Known>()
  /** Those to whom there is a link. */
  readonly #linked = new Set<Known>()
  readonly #news = new News()
  /** Alive and suspect members, in the order in which they are probed. */
  #order: Known[] = []
  #place = 0
  #living = 0
  #probe: Probe | undefined
  readonly #relays = new Map<number, Relay>()
  #questions = questionsKept
  #askedMs = 0
  #startedMs = 0
  /** What is being heard is known to others already. */
  #isOld = false
  #seq = 0
  #incarnation = 0
  #health = 0
  #leaving = false
  #started = false
  #periodMs = 0
  #gossipMs = Infinity
  #lastGossipMs = -Infinity
  #exchangeMs = 0
  #exchanges = 0
  #revisitMs = 0
  #forgetMs = 0
  #sickMs = -Infinity
  #now = 0
  #outputs: MembershipOutput[] = []
  /** When it wants its next timer. */
  wakeAt = 0

  constructor({ self, random, timing }: MembershipConfig) {
    this.#self = self
    this.#random = random
    this.#timing = { ...lanTiming, ...timing }
  }

  /** 0 is well; each point stretches periods and time-outs by one (Lifeguard's local health multiplier). */
  get health(): number {
    return this.#health
  }

  get incarnation(): number {
    return this.#incarnation
  }

  /** Everybody that it knows of, dead ones included, itself not. */
  members(): IterableIterator<Member> {
    return this.#known.values()
  }

  member(node: NodeId): Member | undefined {
    return this.#known.get(node)
  }

  /** Who is to be reckoned with: the alive and the suspect, without itself. */
  alive(): Member[] {
    return this.#order.filter(lives)
  }

  /** Members that are alive or suspect, itself included. */
  get size(): number {
    return this.#living + 1
  }

  handle(input: MembershipInput, nowMs: number): readonly MembershipOutput[] {
    const outputs: MembershipOutput[] = []
    this.#outputs = outputs
    if (!this.#started) this.#start(nowMs)
    else if (nowMs - this.wakeAt > this.#timing.lateMs) this.#stoodStill(nowMs - this.wakeAt, nowMs)
    this.#now = Math.max(nowMs, this.#now)
    switch (input.kind) {
      case 'timer':
        break
      case 'message':
        this.#message(input.from, input.frame)
        break
      case 'met':
        this.#met(input.node, input.address)
        break
      case 'parted':
        this.#parted(input.node)
        break
      case 'lag':
        if (input.lagMs > this.#timing.lateMs) this.#sick(input.lagMs)
        break
      case 'leave':
        this.#leave()
        break
    }
    this.#tick()
    this.wakeAt = this.#nextMs()
    this.#outputs = []
    return outputs
  }

  // --- time -----------------------------------------------------------------------------------------------------

  #start(nowMs: number): void {
    this.#started = true
    this.#now = nowMs
    this.#startedMs = nowMs
    this.#askedMs = nowMs
    // Nodes that start together spread over the period.
    this.#periodMs = nowMs + this.#random.below(this.#timing.periodMs)
    // At once for the first time: of whom it was given the list may not have heard of those who came just before.
    this.#exchangeMs = nowMs + this.#timing.periodMs + this.#random.below(this.#timing.periodMs)
    // Spread, so that of a fleet that started together somebody looks for the other side at any time.
    this.#revisitMs = nowMs + this.#random.below(this.#timing.revisitMs)
    this.#forgetMs = nowMs + forgetEveryMs
  }

  /** Time in which this node could hear nobody is nobody's fault: every deadline moves by it. */
  #stoodStill(lateMs: number, nowMs: number): void {
    this.#now = nowMs
    this.#periodMs += lateMs
    for (const { suspicion } of this.#suspects) suspicion?.shift(lateMs)
    if (this.#probe !== undefined) {
      this.#probe.askMs += lateMs
      this.#probe.endMs += lateMs
    }
    this.#sick(lateMs)
  }

  #sick(lagMs: number): void {
    // The driver's measure and the room's own may tell of the same stall.
    if (this.#now - this.#sickMs < this.#timing.periodMs) return
    this.#sickMs = this.#now
    this.#feel(Math.min(worstStall, Math.ceil(lagMs / this.#timing.ackMs)))
  }

  #feel(change: number): void {
    this.#health = Math.max(0, Math.min(worstHealth, this.#health + change))
  }

  get #stretch(): number {
    return this.#health + 1
  }

  #tick(): void {
    const now = this.#now
    for (const [seq, relay] of this.#relays) this.#tickRelay(seq, relay)
    const probe = this.#probe
    if (probe !== undefined && !probe.asked && now >= probe.askMs) this.#askHelpers(probe)
    if (probe !== undefined && now >= probe.endMs) this.#probeFailed(probe)
    for (const known of this.#suspects) {
      if (known.suspicion !== undefined) this.#tickSuspicion(known, known.suspicion)
    }
    if (now >= this.#periodMs) this.#beginPeriod()
    if (now >= this.#exchangeMs) this.#exchange()
    if (now >= this.#revisitMs) this.#revisit()
    if (now >= this.#forgetMs) this.#forgetOld()
    if (!this.#news.empty && this.#gossipMs === Infinity) {
      this.#gossipMs = Math.max(now + this.#timing.newsMs, this.#lastGossipMs + this.#timing.gossipMs)
    }
    if (now >= this.#gossipMs) this.#gossip()
  }

  #nextMs(): number {
    let next = Math.min(this.#periodMs, this.#gossipMs, this.#exchangeMs, this.#revisitMs, this.#forgetMs)
    const probe = this.#probe
    if (probe !== undefined) next = Math.min(next, probe.asked ? probe.endMs : probe.askMs)
    for (const { suspicion } of this.#suspects)
      if (suspicion !== undefined) next = Math.min(next, suspicion.dueMs(this.#timing))
    for (const { nackMs, endMs } of this.#relays.values()) next = Math.min(next, nackMs, endMs)
    return Math.max(next, this.#now + 1)
  }

  // --- probing --------------------------------------------------------------------------------------------------

  #beginPeriod(): void {
    const { periodMs } = this.#timing
    this.#periodMs = this.#now + periodMs * this.#stretch
    if (this.#leaving) return
    let pinged = 0
    for (const known of this.#suspects) {
      const pings = known.suspicion?.pings(this.#now, this.#timing) === true
      if (pings && pinged++ < suspectsPinged) this.#ping(known, this.#nextSeq())
    }
    if (this.#probe === undefined) this.#probeNext()
  }

  #probeNext(): void {
    const target = this.#nextTarget()
    if (target === undefined) return this.#feel(-1)
    const { periodMs, ackMs } = this.#timing
    const seq = this.#nextSeq()
    this.#probe = {
      seq,
      target,
      helpers: new Set(),
      nacks: new Set(),
      sentMs: this.#now,
      asked: false,
      askMs: this.#now + ackMs * this.#stretch,
      endMs: this.#now + periodMs * this.#stretch,
    }
    this.#ping(target, seq)
  }

  #nextTarget(): Known | undefined {
    for (let round = 0; round < 2; round++) {
      while (this.#place < this.#order.length) {
        const known = this.#order[this.#place++] as Known
        if (lives(known)) return known
      }
      this.#order = this.#order.filter((known) => (known.inOrder = lives(known)))
      shuffle(this.#order, this.#random)
      this.#place = 0
    }
    return undefined
  }

  #nextSeq(): number {
    this.#seq = (this.#seq + 1) >>> 0
    return this.#seq
  }

  #ping(known: Known, seq: number): void {
    this.#send(known.node, known.address, { kind: 'ping', seq, updates: this.#updatesFor(known) })
  }

  #askHelpers(probe: Probe): void {
    probe.asked = true
    const { node, address } = probe.target
    const others = this.#pick(this.#timing.helpers, (known) => known.state === 'alive' && known.node !== node)
    for (const helper of others) {
      probe.helpers.add(helper.node)
      const updates = this.#updatesFor(helper)
      this.#send(helper.node, helper.address, { kind: 'ping-request', seq: probe.seq, target: node, address, updates })
    }
  }

  #probeFailed(probe: Probe): void {
    this.#probe = undefined
    // Helpers that say nothing at all speak against the path from here; without helpers nothing speaks for it.
    this.#feel(probe.helpers.size > 0 ? probe.helpers.size - probe.nacks.size : 1)
    const { target } = probe
    if (!lives(target)) return
    this.#suspect(target, target.incarnation, this.#self.node)
  }

  #tickRelay(seq: number, relay: Relay): void {
    if (this.#now >= relay.nackMs) {
      relay.nackMs = Infinity
      this.#send(relay.requester, this.#addressOf(relay.requester), { kind: 'nack', seq: relay.seq })
    }
    if (this.#now >= relay.endMs) this.#relays.delete(seq)
  }

  // --- messages -------------------------------------------------------------------------------------------------

  #message(from: NodeId, frame: MembershipFrame): void {
    if (from === this.#self.node) return
    switch (frame.kind) {
      case 'ping':
        this.#hear(frame.updates, from)
        this.#send(from, this.#addressOf(from), {
          kind: 'ack',
          seq: frame.seq,
          updates: this.#updatesFor(this.#known.get(from), from),
        })
        break
      case 'ack':
        this.#hear(frame.updates, from)
        this.#acked(from, frame.seq)
        break
      case 'ping-request':
        this.#hear(frame.updates, from)
        this.#relay(from, frame)
        break
      case 'nack':
        this.#nacked(from, frame.seq)
        break
      case 'members':
        // The lists that a newcomer is given: whoever gave them has told all others.
        this.#isOld = frame.members.length > limits.memberUpdates && this.#now - this.#startedMs < youngMs
        this.#hear(frame.members, from)
        this.#isOld = false
        if (frame.answer) this.#sendList(from, false)
        break
    }
  }

  #nacked(from: NodeId, seq: number): void {
    const probe = this.#probe
    if (probe === undefined || probe.seq !== seq || !probe.helpers.has(from)) return
    probe.nacks.add(from)
    // All who were asked live and have heard nothing: there is nobody left to wait for.
    if (probe.nacks.size === probe.helpers.size) this.#probeFailed(probe)
  }

  #acked(from: NodeId, seq: number): void {
    const probe = this.#probe
    if (probe !== undefined && probe.seq === seq && (from === probe.target.node || probe.helpers.has(from))) {
      this.#probe = undefined
      // What came round by a helper is no round trip to anybody.
      const isDirect = from === probe.target.node
      if (isDirect) this.#outputs.push({ kind: 'probed', node: from, tookMs: this.#now - probe.sentMs })
      this.#feel(-1)
      return
    }
    const relay = this.#relays.get(seq)
    if (relay === undefined || relay.target !== from) return
    this.#relays.delete(seq)
    const requester = this.#known.get(relay.requester)
    const updates = this.#updatesFor(requester, relay.requester)
    this.#send(relay.requester, requester?.address ?? '', { kind: 'ack', seq: relay.seq, updates })
  }

  /** Only members are pinged for others, at the address known here: nobody is made to dial a stranger. */
  #relay(from: NodeId, { seq, target }: PingRequest): void {
    if (this.#leaving) return
    const known = this.#known.get(target)
    if (target === this.#self.node) {
      this.#send(from, this.#addressOf(from), {
        kind: 'ack',
        seq,
        updates: this.#updatesFor(this.#known.get(from), from),
      })
    } else if (known === undefined || this.#relays.size >= limits.probes) {
      this.#send(from, this.#addressOf(from), { kind: 'nack', seq })
    } else {
      const own = this.#nextSeq()
      const nackMs = this.#now + this.#timing.nackMs
      this.#relays.set(own, { requester: from, seq, target, nackMs, endMs: this.#now + 2 * this.#timing.periodMs })
      this.#ping(known, own)
    }
  }

  #met(node: NodeId, address: string): void {
    if (node === this.#self.node) return
    const known = this.#known.get(node)
    const strange = known === undefined || !lives(known) || known.incarnation < 0
    const met = known ?? this.#add(node, { address: address.slice(0, limits.memberTextLength), incarnation: -1 })
    if (met === undefined) return
    this.#linked.add(met)
    if (!strange) return
    // Who was thought dead may come with all of another side. Other strangers are mostly members of whom news is under way.
    if ((known !== undefined && !lives(known)) || this.#asks()) return this.#sendList(node, true)
    this.#send(node, met.address, { kind: 'members', members: [this.#ownStatement('alive')], answer: false })
  }

  /** May it ask a stranger for all that he knows? The first few, then one now and then: two fleets may be meeting. */
  #asks(): boolean {
    this.#questions = Math.min(questionsKept, this.#questions + (this.#now - this.#askedMs) / questionMs)
    this.#askedMs = this.#now
    if (this.#questions < 1) return false
    this.#questions--
    return true
  }

  #parted(node: NodeId): void {
    const known = this.#known.get(node)
    if (known === undefined) return
    this.#linked.delete(known)
    // A process that dies closes its links: look at it next, rather than when its turn comes.
    const at = this.#order.indexOf(known, this.#place)
    if (!lives(known) || at < 0) return
    const first = this.#order[this.#place] as Known
    this.#order[this.#place] = known
    this.#order[at] = first
  }

  // --- what is said of members ----------------------------------------------------------------------------------

  #hear(statements: readonly MemberStatement[], from: NodeId): void {
    const most = Math.min(statements.length, limits.memberStatements)
    for (let at = 0; at < most; at++) {
      const statement = statements[at] as MemberStatement
      if (!sound(statement)) continue
      if (statement.node === this.#self.node) this.#hearOfSelf(statement, from)
      else this.#hearOf(statement, from)
    }
  }

  #hearOfSelf({ state, incarnation, by }: MemberStatement, from: NodeId): void {
    if (this.#leaving) return
    // Alive and ahead of me: an earlier life of mine was here, and nobody would believe this one.
    const behind = state === 'alive' ? incarnation > this.#incarnation : incarnation >= this.#incarnation
    if (behind) {
      this.#incarnation = incarnation + 1
      this.#news.add(this.#ownStatement('alive'))
      if (state !== 'alive') this.#feel(1)
    }
    if (state === 'alive') return
    // Whoever accuses is answered directly, also when the refutation went round before: it has not come to him.
    for (const accuser of behind ? new Set([by, from]) : [from]) {
      const known = this.#known.get(accuser)
      if (known === undefined && accuser !== from) continue
      const members = [this.#ownStatement('alive')]
      this.#send(accuser, known?.address ?? '', { kind: 'members', members, answer: false })
    }
  }

  #hearOf(statement: MemberStatement, from: NodeId): void {
    const { node, state, incarnation } = statement
    const known = this.#known.get(node)
    if (known === undefined) {
      // Of the dead only those hear who knew them, or the news of them would go round for ever.
      if (state === 'dead' || state === 'left') return
      const added = this.#add(node, statement)
      if (added !== undefined && state === 'suspect') this.#suspect(added, incarnation, statement.by)
      return
    }
    if (incarnation < known.incarnation) return
    switch (state) {
      case 'alive':
        if (incarnation > known.incarnation) this.#lives(known, statement, from)
        return
      case 'suspect':
        if (rank[known.state] <= rank.suspect || incarnation > known.incarnation) {
          this.#describe(known, statement)
          this.#suspect(known, incarnation, statement.by)
        }
        return
      case 'dead':
        if (rank[known.state] <= rank.suspect) this.#hearOfDeath(known, statement)
        else known.incarnation = incarnation
        return
      case 'left':
        if (known.state === 'left') return
        known.incarnation = incarnation
        this.#become(known, 'left')
        this.#news.add(statement)
    }
  }

  #hearOfDeath(known: Known, { incarnation, by }: MemberStatement): void {
    this.#suspect(known, incarnation, by)
    const { suspicion } = known
    if (suspicion === undefined) return
    suspicion.declare()
    suspicion.settle(this.size, this.#timing)
    if (suspicion.stoodFor(this.#now, this.#timing)) this.#declare(known)
  }

  #lives(known: Known, statement: MemberStatement, from: NodeId): void {
    const wasGone = !lives(known)
    this.#describe(known, statement)
    known.incarnation = statement.incarnation
    if (known.state !== 'alive') this.#become(known, 'alive')
    this.#news.add(statement)
    // Back from the dead: perhaps not alone, and both sides have much to tell.
    if (wasGone && from === known.node) this.#sendList(from, true)
  }

  #suspect(known: Known, incarnation: number, by: NodeId): void {
    const raised = incarnation > known.incarnation
    known.incarnation = Math.max(known.incarnation, incarnation, 0)
    if (raised && known.state === 'suspect') this.#become(known, 'alive')
    const mine = by === this.#self.node
    const suspicion = known.suspicion ?? new Suspicion(this.#now)
    if (!suspicion.accuse(by, mine)) return
    if (known.suspicion === undefined) {
      known.suspicion = suspicion
      this.#become(known, 'suspect')
    }
    suspicion.settle(this.size, this.#timing)
    this.#news.add(this.#statement(known, 'suspect', by))
  }

  #tickSuspicion(known: Known, suspicion: Suspicion): void {
    if (this.#now < suspicion.dueMs(this.#timing)) return
    if (suspicion.next(this.#now, this.#timing) === 'declare') this.#declare(known)
    else this.#ping(known, this.#nextSeq())
  }

  #declare(known: Known): void {
    this.#become(known, 'dead')
    this.#news.add(this.#statement(known, 'dead', this.#self.node))
  }

  #become(known: Known, state: MemberState): void {
    const before = known.state
    known.state = state
    known.sinceMs = this.#now
    if (state === 'suspect') this.#suspects.add(known)
    else {
      this.#suspects.delete(known)
      known.suspicion = undefined
    }
    if (rank[before] >= rank.dead && lives(known)) this.#enter(known)
    if (rank[before] < rank.dead && !lives(known)) this.#living--
    if (this.#probe?.target === known && !lives(known)) this.#probe = undefined
    if (before !== state) this.#outputs.push({ kind: 'changed', member: snapshot(known), before })
  }

  /** Takes it into the order of probing, at a random place among those still to come. */
  #enter(known: Known): void {
    this.#living++
    if (known.inOrder) return
    known.inOrder = true
    const at = this.#place + this.#random.below(this.#order.length - this.#place + 1)
    this.#order.push(known)
    const last = this.#order.length - 1
    this.#order[last] = this.#order[Math.min(at, last)] as Known
    this.#order[Math.min(at, last)] = known
  }

  #add(node: NodeId, facts: Partial<MemberStatement> & { readonly incarnation: number }): Known | undefined {
    if (this.#known.size >= limits.members && !this.#makeRoom()) return undefined
    const { address = '', zone = '', version = 0, incarnation } = facts
    const known: Known = {
      node,
      address,
      zone,
      version,
      incarnation,
      state: 'alive',
      sinceMs: this.#now,
      suspicion: undefined,
      listSentMs: -Infinity,
      inOrder: false,
    }
    this.#known.set(node, known)
    this.#enter(known)
    this.#outputs.push({ kind: 'changed', member: snapshot(known), before: undefined })
    if (incarnation >= 0 && !this.#isOld) this.#news.add(this.#statement(known, 'alive', node))
    return known
  }

  /** The longest dead member makes room for a new one. */
  #makeRoom(): boolean {
    let oldest: Known | undefined
    for (const known of this.#known.values()) {
      if (!lives(known) && (oldest === undefined || known.sinceMs < oldest.sinceMs)) oldest = known
    }
    if (oldest !== undefined) this.#forget(oldest)
    return oldest !== undefined
  }

  #forgetOld(): void {
    this.#forgetMs = this.#now + forgetEveryMs
    for (const known of this.#known.values()) {
      if (!lives(known) && this.#now - known.sinceMs >= this.#timing.forgetMs) this.#forget(known)
    }
  }

  #forget(known: Known): void {
    this.#known.delete(known.node)
    this.#linked.delete(known)
    this.#news.forget(known.node)
    this.#outputs.push({ kind: 'forgotten', node: known.node })
  }

  #describe(known: Known, { incarnation, address, zone, version }: MemberStatement): void {
    if (incarnation <= known.incarnation) return
    const isNew = address !== known.address || zone !== known.zone || version !== known.version
    known.address = address
    known.zone = zone
    known.version = version
    // Somebody met over a link is known by his node alone at first.
    if (isNew) this.#outputs.push({ kind: 'described', member: snapshot(known) })
  }

  // --- telling --------------------------------------------------------------------------------------------------

  #gossip(): void {
    this.#lastGossipMs = this.#now
    this.#gossipMs = Infinity
    // Neighbours are an expander already linked; strangers would have to be dialled.
    const { gossipNodes } = this.#timing
    const linked = this.#pick(gossipNodes, lives, [...this.#linked])
    const chosen = linked.length === gossipNodes ? linked : this.#pick(gossipNodes, lives)
    for (const known of chosen) {
      const members = this.#updatesFor(known)
      if (members.length === 0) break
      this.#send(known.node, known.address, { kind: 'members', members, answer: false })
    }
    if (!this.#news.empty) this.#gossipMs = this.#now + this.#timing.gossipMs
  }

  #exchange(): void {
    const { exchangeMs } = this.#timing
    const scale = Math.max(1, Math.ceil(Math.log2(this.size / 32)) + 1)
    // And soon again: what it hears while it knows few is told on too seldom to reach all.
    const pauseMs = this.#exchanges++ === 0 ? exchangeMs / 10 + this.#random.below(exchangeMs / 3) : exchangeMs * scale
    this.#exchangeMs = this.#now + Math.ceil(pauseMs)
    const [partner] = this.#pick(1, lives)
    if (partner !== undefined && !this.#leaving) this.#sendList(partner.node, true)
  }

  #revisit(): void {
    this.#revisitMs = this.#now + this.#timing.revisitMs
    if (this.#leaving) return
    const dead = [...this.#known.values()].filter(({ state }) => state === 'dead')
    if (dead.length > 0) this.#ping(this.#random.pick(dead), this.#nextSeq())
  }

  #sendList(to: NodeId, answer: boolean): void {
    const known = this.#known.get(to)
    // A short question must not fetch a long answer again and again.
    if (known === undefined || this.#now - known.listSentMs < listPauseMs) return
    known.listSentMs = this.#now
    const list = [this.#ownStatement(this.#leaving ? 'left' : 'alive')]
    for (const one of this.#known.values()) {
      if (one.incarnation >= 0)
        list.push(this.#statement(one, one.state, one.suspicion?.accusers[0] ?? this.#self.node))
    }
    for (let at = 0; at < list.length; at += limits.memberStatements) {
      const members = list.slice(at, at + limits.memberStatements)
      const last = at + members.length === list.length
      this.#send(to, known.address, { kind: 'members', members, answer: answer && last })
    }
  }

  #leave(): void {
    if (this.#leaving) return
    this.#leaving = true
    const statement = this.#ownStatement('left')
    this.#news.add(statement)
    const told = this.#pick(farewells, lives, [...this.#linked])
    for (const known of told.length > 0 ? told : this.#pick(farewells, lives)) {
      this.#send(known.node, known.address, { kind: 'members', members: [statement], answer: false })
    }
  }

  /** News for a frame; who is not thought alive hears that first, so that it can refute (Lifeguard's buddy system). */
  #updatesFor(known: Known | undefined, to: NodeId | undefined = known?.node): MemberStatement[] {
    if (to === undefined) return []
    const updates = this.#news.take(this.size, to)
    if (known !== undefined && known.state !== 'alive') {
      const by = known.suspicion?.accusers.includes(this.#self.node) === false ? known.suspicion.accusers[0] : undefined
      updates.unshift(this.#statement(known, known.state, by ?? this.#self.node))
    }
    return updates
  }

  #ownStatement(state: MemberState): MemberStatement {
    const { node, address, zone, version } = this.#self
    return { node, address, zone, version, incarnation: this.#incarnation, state, by: node }
  }

  #statement(known: Known, state: MemberState, by: NodeId): MemberStatement {
    const { node, address, zone, version } = known
    const speaker = state === 'left' ? node : by
    return { node, address, zone, version, incarnation: Math.max(0, known.incarnation), state, by: speaker }
  }

  #addressOf(node: NodeId): string {
    return this.#known.get(node)?.address ?? ''
  }

  #send(to: NodeId, address: string, frame: MembershipFrame): void {
    this.#outputs.push({ kind: 'send', to, address, frame })
  }

  /** Up to `count` different members that fit, at random. */
  #pick(count: number, fits: (known: Known) => boolean, among: readonly Known[] = this.#order): Known[] {
    const candidates = among.filter((known) => fits(known) && lives(known))
    const most = Math.min(count, candidates.length)
    for (let at = 0; at < most; at++) {
      const other = at + this.#random.below(candidates.length - at)
      const chosen = candidates[other] as Known
      candidates[other] = candidates[at] as Known
      candidates[at] = chosen
    }
    candidates.length = most
    return candidates
  }
}

function lives({ state }: Member): boolean {
  return state === 'alive' || state === 'suspect'
}

function snapshot({ node, address, zone, version, incarnation, state, sinceMs }: Known): Member {
  return { node, address, zone, version, incarnation, state, sinceMs }
}

/** The codec has judged the form; this is what a statement must say to mean anything. */
function sound({ node, incarnation, address, state, zone, version, by }: MemberStatement): boolean {
  return (
    // Only the member itself knows that it left.
    (state !== 'left' || by === node) &&
    Number.isSafeInteger(incarnation) &&
    incarnation >= 0 &&
    incarnation < highestIncarnation &&
    Number.isSafeInteger(version) &&
    address.length <= limits.memberTextLength &&
    zone.length <= limits.memberTextLength
  )
}

function shuffle<T>(items: T[], random: Prng): void {
  for (let at = items.length - 1; at > 0; at--) {
    const other = random.below(at + 1)
    const item = items[at] as T
    items[at] = items[other] as T
    items[other] = item
  }
}
