/**
 * All protocols of a node composed into one machine: a value that you feed. It owns the replica, and knows no socket, disk,
 * clock or chance; what it wants done comes out as outputs, in the order of duty. The daemon's driver and the simulator
 * obey the very same outputs.
 */
import { AntiEntropy } from '../anti-entropy/anti-entropy.ts'
import { isOfFork } from '../anti-entropy/exchange.ts'
import type { Bounds, Report } from '../anti-entropy/output.ts'
import { SkeinError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import { nodeOf } from '../crdt/dot.ts'
import type { Dot } from '../crdt/dot.ts'
import { budget } from '../crdt/types/budget.ts'
import { leavesFromDisk } from '../crdt/types/table.ts'
import { Conflicts } from '../replica/conflicts.ts'
import type { ConflictsConfig } from '../replica/conflicts.ts'
import { Replica } from '../replica/replica.ts'
import type { Applied, ReplicaConfig } from '../replica/replica.ts'
import type { Space } from '../replica/space.ts'
import { Broadcast } from '../gossip/broadcast.ts'
import type { BroadcastInput, BroadcastOutput } from '../gossip/broadcast.ts'
import { Membership } from '../gossip/membership.ts'
import type { Member, MembershipInput } from '../gossip/membership.ts'
import { Presence } from '../gossip/presence.ts'
import type { Present, PresenceInput } from '../gossip/presence.ts'
import { Roster } from '../gossip/roster.ts'
import { decodePacket, protocol } from '../wire/codec.ts'
import type { Deltas, Frame, NodeId, Pull, RightsAsk, Run, SpaceId, Spaces } from '../wire/frame.ts'
import type { Figures } from './figures.ts'
import { FreshDelta } from './fresh-delta.ts'
import type { Input, MachineEvent, Output } from './input-output.ts'
import { Links } from './links.ts'
import type { LinkId, LinkOutput, Peer } from './links.ts'
import { RightsDesk } from './rights-desk.ts'

export type { Input, MachineEvent, Output } from './input-output.ts'

export interface MachineConfig extends ReplicaConfig, Pick<ConflictsConfig, 'abilities' | 'custom'> {
  /** 16 hexadecimal digits: nodes of other fleets are refused. */
  readonly fleet: string
  /** Where others can dial this node; empty when they cannot. */
  readonly address: string
  /** Addresses of nodes to begin with. */
  readonly join: readonly string[]
  readonly zone: string
  /** The other members that the cut waits for, by node; none where the node is alone. */
  readonly roster: readonly string[]
  readonly random: Prng
  /** Sizes and times of anti-entropy that differ from the usual. */
  readonly bounds?: Partial<Bounds>
  readonly figures?: Figures
  /** Does this node hold a space that others have? */
  holds(name: string): boolean
  /**
   * What was written just now, for peers whose links are free: it may leave at once, before anybody here hears of it. Where
   * nobody takes it, it is among the outputs of the next step.
   */
  leaves?(outputs: readonly LinkOutput[], wallMs: number): void
}

/** How often the machine looks round. */
const lookEveryMs = 5_000
/** How long a delta waits for what it follows before nobody is thought to have it. A guess: many rounds of anti-entropy. */
const waitMostMs = 120_000
/** Deltas in one answer to a pull; what is beyond is pulled again or left to anti-entropy. */
const pullBytes = 65_536

const none: readonly Output[] = []

interface Kept {
  readonly space: Space
  readonly dot: Dot
  readonly sizeBytes: number
}

export class Machine {
  readonly replica: Replica
  readonly membership: Membership
  readonly conflicts: Conflicts
  readonly presence: Presence
  readonly #config: MachineConfig
  readonly #links: Links
  readonly #roster = new Roster()
  readonly #rights: RightsDesk
  readonly #broadcast: Broadcast
  readonly #sync: AntiEntropy
  #incarnation: string
  /** Peers for whom deltas wait. */
  readonly #unsent = new Set<Peer>()
  #out: Output[] = []
  /** Who sent the deltas that are being applied, and why. */
  #source: { readonly from: NodeId; readonly cause: 'push' | 'catch-up'; readonly hops: number } | undefined
  /** Own deltas that leave once the disk has them, and those that follow them. */
  readonly #kept: Kept[] = []
  readonly #held = new Set<SpaceId>()
  #announced = 0
  #lastMs = 0
  /** By how much its own time is ahead of the wall clock, since that was set back. */
  #aheadMs = 0
  #lookAt = 0
  #looks = 0
  /** What is being written, until it has passed the queues that are empty. */
  #fresh: FreshDelta | undefined
  #isSilent = false
  #isStepping = false
  #renewing = false
  /** A delta was applied in this step. */
  #moved = false

  constructor(config: MachineConfig) {
    const { address, zone, random } = config
    const node = config.node as NodeId
    this.#config = config
    this.#incarnation = config.incarnation
    this.replica = new Replica({
      ...config,
      applied: (event) => this.#applied(event),
      merged: (space) => {
        config.merged?.(space)
        this.conflicts.merged(space)
        this.#moved = true
      },
      copied: () => this.#copied(),
    })
    this.#rights = new RightsDesk(this.replica)
    this.replica.cut.roster = config.roster as readonly NodeId[]
    this.conflicts = new Conflicts({
      ...config,
      replica: this.replica,
      holders: (space) => this.holders(space).map((member) => member.node),
      event: (event) => this.#event({ kind: 'conflict', event }),
      workflow: (event) => this.#event({ kind: 'workflow', event }),
      failed: (error) => this.#failed(error),
    })
    this.#sync = new AntiEntropy({ node, replica: this.replica, random: random.fork(1), bounds: config.bounds ?? {} })
    const version = 1000 * protocol.major + protocol.minor
    this.membership = new Membership({ self: { node, address, zone, version }, random: random.fork(2) })
    this.#broadcast = new Broadcast({
      self: { node, zone, spaces: this.#held, dialable: address !== '' },
      roster: this.#roster,
      applied: (space, origin) => this.#space(space)?.reach.get(origin) ?? 0,
    })
    this.presence = new Presence({
      self: node,
      members: this.membership,
      roster: this.#roster,
      peers: () => this.peers,
    })
    this.#links = new Links({
      node,
      fleet: config.fleet,
      address,
      join: config.join,
      random: random.fork(3),
      incarnation: () => this.#incarnation,
      wall: (nowMs) => this.#wall(nowMs),
      up: (peer, nowMs) => this.#up(peer, nowMs),
      down: (peer, nowMs) => this.#down(peer, nowMs),
      failed: (other, nowMs) => this.#gossip({ kind: 'unlinked', node: other, failed: true }, nowMs),
    })
  }

  /** When to be woken with a timer input. */
  get wakeAt(): number {
    if (this.#isSilent) return Infinity
    const { membership } = this
    const ours = Math.min(this.#lookAt, this.#links.wakeAt, this.conflicts.wakeAt, this.presence.wakeAt)
    return Math.min(ours, membership.wakeAt, this.#broadcast.wakeAt, this.#sync.wakeAt) - this.#aheadMs
  }

  /**
   * The time that timers go by never goes back: when the wall clock is set back, it goes on from where it was. Stamps,
   * greetings and retention keep to the wall.
   */
  #steady(wallMs: number): number {
    if (wallMs + this.#aheadMs < this.#lastMs) this.#aheadMs = this.#lastMs - wallMs
    this.#lastMs = wallMs + this.#aheadMs
    return this.#lastMs
  }

  #wall(nowMs: number): number {
    return nowMs - this.#aheadMs
  }

  get peers(): IterableIterator<Peer> {
    return this.#links.peers
  }

  get linked(): boolean {
    return this.#links.count > 0
  }

  handle(input: Input, wallMs: number): readonly Output[] {
    this.#isStepping = true
    try {
      const nowMs = this.#steady(wallMs)
      // Mostly nothing waits for a link any more when it is free, and then there is nothing to settle.
      if (input.kind === 'drained' && !this.#links.drained(input.link, nowMs)) return none
      this.#take(input, nowMs)
      return this.#settle(nowMs)
    } finally {
      this.#isStepping = false
    }
  }

  #take(input: Input, nowMs: number): void {
    switch (input.kind) {
      case 'opened':
        this.#links.opened(input.link, input.outgoing, nowMs, input.node)
        break
      case 'closed':
        this.#links.closed(input.link, nowMs)
        break
      case 'message':
        this.#message(input.link, input.bytes, nowMs)
        break
      case 'drained':
        break
      case 'stored':
        this.replica.stored(input.batch, input.durable)
        this.#sync.stored(nowMs)
        this.#release(nowMs)
        break
      case 'durable':
        this.replica.durable()
        this.#sync.stored(nowMs)
        break
      case 'page':
        this.#sync.page(input.scan, input.rows, input.done, input.snapshot, nowMs)
        break
      case 'page-failed':
        this.#sync.scanFailed(input.scan, input.why, nowMs)
        break
      case 'incarnation':
        this.#incarnation = input.incarnation
        this.replica.renew(input.incarnation)
        this.#renewing = false
        this.#sync.renewed(nowMs)
        break
      case 'lag':
      case 'leave':
        this.#members(input, nowMs)
        break
      case 'show':
        this.#present(input.shown, nowMs)
        break
      case 'found':
        if (input.node !== this.#config.node) this.#links.meet(input.node, input.address)
        break
      case 'timer':
      case 'local':
        // It writes, so it comes first: what the others then say of this replica, they say of it as it is.
        this.#guarded(() => this.conflicts.due(nowMs, this.#wall(nowMs)))
        break
    }
  }

  /**
   * Asks a peer for budget rights: called when a spending failed for want of them. Low ones are asked for without being
   * told.
   */
  askRights(space: Space, key: string, needed: number, wallMs: number): readonly Output[] {
    this.#rights.low(space, key, needed)
    return this.#settle(this.#steady(wallMs))
  }

  /**
   * Asks living members that hold the space to say when their disks have these dots, or what they have now. A question may be
   * lost; words come as events.
   */
  askStored(space: Space, vector: readonly Dot[], wallMs: number): readonly Output[] {
    for (const { node, address } of this.holders(space)) {
      this.#links.send(node, { kind: 'stored-ask', space: space.id, vector }, address)
    }
    return this.#settle(this.#steady(wallMs))
  }

  /** Greets every living member that holds the space, and wants to be greeted back. */
  compare(space: Space, wallMs: number): readonly Output[] {
    for (const { node, address } of this.holders(space)) {
      if (this.#links.peer(node) === undefined) this.#links.meet(node, address)
      else this.#sync.compare(node, space)
    }
    return this.#settle(this.#steady(wallMs))
  }

  /** Members that are thought to be alive and hold the space, as far as is known. */
  holders(space: Space): Member[] {
    return [...this.membership.members()].filter(
      ({ node, state }) => state !== 'dead' && state !== 'left' && this.holds(space, node) !== false,
    )
  }

  /** Does that member hold the space? Undefined where it has not said so. */
  holds(space: Space, node: NodeId): boolean | undefined {
    return (this.#links.peer(node)?.spaces ?? this.#roster.get(node)?.spaces)?.has(space.id)
  }

  /** The link to that node. */
  peer(node: NodeId): Peer | undefined {
    return this.#links.peer(node)
  }

  /** Own deltas wait for the disk before they may leave, or a peer for word of it: the next batch should be synced. */
  get awaitsDisk(): boolean {
    return this.#kept.length > 0 || this.#sync.isAsked
  }

  /** After every step: what is due, and what the parts want done. */
  #settle(nowMs: number): readonly Output[] {
    if (this.replica.broken !== undefined) return this.#silence(this.replica.broken)
    this.#due(nowMs)
    this.#announce(nowMs)
    if (this.#moved) this.#sync.changed(nowMs)
    this.#moved = false
    this.#askForRights(nowMs)
    this.#takeSync(nowMs)
    this.#links.timer(nowMs)
    this.#push(nowMs)
    if (this.#links.outputs.length > 0) this.#out.push(...this.#links.outputs.splice(0))
    if (this.replica.dirty || this.#sync.isAsked) this.#out.push({ kind: 'persist' })
    const out = this.#out
    this.#out = []
    return out
  }

  /** Memory holds half of a change: what this node would say is not to be believed, so it says only that, once. */
  #silence(why: Error): readonly Output[] {
    this.#out = []
    if (this.#isSilent) return []
    this.#isSilent = true
    const code = why instanceof SkeinError ? why.code : 'store_damaged'
    return [{ kind: 'event', event: { kind: 'failed', code, reason: why.message } }]
  }

  #due(nowMs: number): void {
    if (nowMs >= this.membership.wakeAt) this.#members({ kind: 'timer' }, nowMs)
    if (nowMs >= this.#broadcast.wakeAt) this.#gossip({ kind: 'timer' }, nowMs)
    if (nowMs >= this.#sync.wakeAt) this.#sync.timer(nowMs)
    if (nowMs >= this.presence.wakeAt) this.#present({ kind: 'timer' }, nowMs)
    if (nowMs >= this.#lookAt) this.#lookRound(nowMs)
  }

  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#failed(error)
    }
  }

  // Links.

  #up(peer: Peer, nowMs: number): void {
    const { node, address } = peer
    this.#links.sendAll(peer, [this.#heldSpaces()])
    this.#event({ kind: 'peer', node, state: 'up' })
    this.#members({ kind: 'met', node, address }, nowMs)
    this.#sync.linkUp(node, nowMs)
    this.#present({ kind: 'linked', node, incarnation: peer.incarnation }, nowMs)
  }

  #down(peer: Peer, nowMs: number): void {
    const { node } = peer
    this.#unsent.delete(peer)
    this.#event({ kind: 'peer', node, state: 'down' })
    const member = this.membership.member(node)
    if (member !== undefined) this.#seat(member)
    this.#members({ kind: 'parted', node }, nowMs)
    this.#sync.linkDown(node, nowMs)
    this.#present({ kind: 'unlinked', node }, nowMs)
    this.#gossip({ kind: 'unlinked', node, failed: false }, nowMs)
  }

  #message(link: LinkId, bytes: Uint8Array, nowMs: number): void {
    if (!this.#links.isOpen(link)) return
    const { frames, fault } = decodePacket(bytes)
    for (const frame of frames) {
      if (!this.#links.isOpen(link)) return
      const peer = this.#links.from(link, nowMs)
      if (frame.kind === 'hello') this.#links.hello(link, frame, nowMs)
      else if (peer === undefined && frame.kind === 'refuse') {
        this.#event({ kind: 'refused', code: frame.code, reason: frame.reason })
        this.#links.drop(link, nowMs)
      } else if (peer === undefined) this.#links.fault(link, 'protocol', 'no hello came first', nowMs)
      else this.#frame(peer, frame, nowMs)
    }
    if (fault !== undefined) this.#links.fault(link, fault.code, fault.message, nowMs)
  }

  #frame(peer: Peer, frame: Frame, nowMs: number): void {
    const from = peer.node
    switch (frame.kind) {
      case 'hello':
        return
      case 'refuse':
        this.#event({ kind: 'refused', code: frame.code, reason: frame.reason })
        return this.#links.drop(peer.link, nowMs)
      case 'spaces':
        return this.#spaces(peer, frame, nowMs)
      case 'ping':
      case 'ack':
      case 'ping-request':
      case 'nack':
      case 'members':
        return this.#members({ kind: 'message', from, frame }, nowMs)
      case 'notice':
      case 'prune':
        return this.#gossip({ kind: 'message', from, frame }, nowMs)
      case 'pull':
        this.#gossip({ kind: 'message', from, frame }, nowMs)
        return this.#pulled(peer, frame)
      case 'rights-ask':
        return this.#asked(peer, frame, nowMs)
      case 'presence':
        if (this.#held.has(frame.space)) this.#present({ kind: 'message', from, frame }, nowMs)
        return
      case 'deltas':
        if (frame.cause === 'push') return this.#deltas(peer, frame, nowMs)
        return this.#synced(from, frame, nowMs)
      case 'greeting':
      case 'vector':
      case 'stored':
      case 'stored-ask':
      case 'chains':
      case 'tree-ask':
      case 'tree-offer':
      case 'tree-cells':
      case 'tree-ack':
      case 'sketch':
      case 'sketch-ask':
        return this.#synced(from, frame, nowMs)
    }
  }

  #synced(from: NodeId, frame: Frame, nowMs: number): void {
    this.#source = { from, cause: 'catch-up', hops: 0 }
    try {
      this.#sync.handle(from, frame, nowMs)
    } catch (error) {
      this.#failed(error)
    } finally {
      this.#source = undefined
    }
  }

  // Members.

  #members(input: MembershipInput, nowMs: number): void {
    let changed = false
    for (const output of this.membership.handle(input, nowMs)) {
      switch (output.kind) {
        case 'send':
          this.#links.send(output.to, output.frame, output.address)
          break
        case 'changed': {
          const { member, before } = output
          this.#event({ kind: 'member', member, before })
          changed = true
          this.#seat(member)
          if (member.state === 'dead' || member.state === 'left') {
            this.#roster.delete(member.node)
            this.#present({ kind: 'gone', node: member.node }, nowMs)
            // Whatever its link holds back, it will not be read.
            const peer = this.#links.peer(member.node)
            if (peer !== undefined && member.state === 'dead') this.#links.drop(peer.link, nowMs)
          }
          break
        }
        case 'described':
          changed = true
          this.#seat(output.member)
          break
        case 'forgotten':
          changed = true
          this.#roster.delete(output.node)
          this.#present({ kind: 'gone', node: output.node }, nowMs)
          break
        case 'probed':
          this.#config.figures?.probed?.(output.node, output.tookMs)
          break
      }
    }
    if (changed) this.#gossip({ kind: 'roster' }, nowMs)
  }

  /** Gives a living member its place in the roster. Of one that is just being met the spaces will be known in a moment. */
  #seat({ node, zone, address, state }: Member): void {
    if (state === 'dead' || state === 'left') return
    const peer = this.#links.peer(node)
    if (peer !== undefined && peer.spaces === undefined) return
    const dialable = address !== '' || this.#config.address !== ''
    // What a link has told is remembered after its end.
    this.#roster.set({ node, zone, spaces: peer?.spaces ?? this.#roster.get(node)?.spaces, dialable })
  }

  // Spaces.

  #heldSpaces(): Spaces {
    return {
      kind: 'spaces',
      spaces: this.replica.spaces.map(({ id, name, generation }) => ({ id, name, generation })),
    }
  }

  /** Tells everybody when a space came or went. */
  #announce(nowMs: number): void {
    if (this.#announced === this.replica.spacesVersion) return
    this.#announced = this.replica.spacesVersion
    const now = new Set(this.replica.spaces.map(({ id }) => id))
    for (const id of now) {
      if (this.#held.has(id)) continue
      this.#held.add(id)
      this.#gossip({ kind: 'hold', space: id }, nowMs)
    }
    for (const id of this.#held) {
      if (now.has(id)) continue
      this.#held.delete(id)
      this.#gossip({ kind: 'drop', space: id }, nowMs)
      this.#present({ kind: 'drop', space: id }, nowMs)
    }
    const frames = [this.#heldSpaces()]
    for (const peer of this.#links.peers) this.#links.sendAll(peer, frames)
  }

  #spaces(peer: Peer, { spaces }: Spaces, nowMs: number): void {
    const isFirst = peer.spaces === undefined
    const held = new Set(spaces.map(({ id }) => id))
    peer.spaces = held
    for (const { name, generation } of spaces) {
      // A space that is here, though it is not wanted any more, ends with its generation like any other.
      if (!this.#config.holds(name) && this.replica.find(name) === undefined) continue
      try {
        this.replica.openGeneration(name, generation)
      } catch (error) {
        // This node is full of spaces; it lives on without that one.
        this.#failed(error)
      }
    }
    this.#announce(nowMs)
    const member = this.membership.member(peer.node)
    if (member !== undefined) {
      this.#seat(member)
      this.#gossip({ kind: 'roster' }, nowMs)
    }
    if (isFirst) this.#gossip({ kind: 'linked', node: peer.node }, nowMs)
    this.replica.cut.holds(peer.node, held)
    this.#sync.holds(peer.node, held)
    this.#sync.greetAll(peer.node)
    this.#present({ kind: 'holds', node: peer.node, spaces: held }, nowMs)
  }

  #space(id: SpaceId): Space | undefined {
    return this.replica.byId(id)
  }

  // Deltas.

  #deltas(peer: Peer, frame: Deltas, nowMs: number): void {
    const space = this.#space(frame.space)
    if (space === undefined) return
    const from = peer.node
    const hops = frame.hops + 1
    this.#source = { from, cause: 'push', hops }
    try {
      for (const { origin, seq, bodies } of frame.runs) {
        for (const [at, body] of bodies.entries()) {
          const dot = { origin, seq: seq + at }
          const received = this.replica.receive(space, dot, body, this.#wall(nowMs))
          if (isOfFork(received)) this.#sync.suspect(from, space, origin, nowMs)
          else if (received === 'known') {
            this.#config.figures?.repeated?.(body.length)
            this.#gossip({ kind: 'duplicate', space: space.id, dot, from, hops }, nowMs)
          } else if (received === 'held') this.#gossip({ kind: 'held', space: space.id, dot, from }, nowMs)
        }
      }
    } catch (error) {
      if (error instanceof SkeinError && error.code === 'malformed') {
        this.#links.fault(peer.link, error.code, error.message, nowMs)
      } else this.#failed(error)
    } finally {
      this.#source = undefined
    }
  }

  /** Asks for another incarnation, once. */
  #copied(): void {
    if (!this.#renewing) this.#out.push({ kind: 'renew' })
    this.#renewing = true
  }

  /** Every delta that was applied, own or not. */
  #applied(event: Applied): void {
    const { space, delta, body, own, fault } = event
    this.#moved = true
    const dot = { origin: delta.origin, seq: delta.seq }
    const sizeBytes = body.length
    // Peers first: they have the longest way to their watchers.
    if (own) this.#wrote(event, { space, dot, sizeBytes })
    this.#config.applied?.(event)
    this.#guarded(() => this.conflicts.applied(event, this.#lastMs))
    if (fault !== undefined) this.#event({ kind: 'void', space: space.name, dot, why: fault })
    if (!own) this.#have({ space, dot, sizeBytes }, this.#lastMs)
  }

  #wrote({ delta, body, nowMs }: Applied, own: Kept): void {
    const { space } = own
    for (const { key, type } of delta.writes) {
      if (type === budget.id) this.#rights.low(space, key, 0)
    }
    // What waits for the disk keeps what follows it waiting, so that an origin's deltas leave in order.
    if (space.keptFrom.size > 0 || leavesFromDisk(delta.writes)) {
      this.#keep(space, own.dot)
      this.#kept.push(own)
      return
    }
    this.#fresh = new FreshDelta(space.id, own.dot, body)
    this.#have(own, this.#lastMs)
    this.#fresh = undefined
    if (this.#isStepping || this.#links.outputs.length === 0) return
    this.#config.leaves?.(this.#links.outputs.splice(0), nowMs)
  }

  /** The disk has more: what waited for it leaves. */
  #release(nowMs: number): void {
    let at = 0
    for (; at < this.#kept.length; at++) {
      const kept = this.#kept[at] as Kept
      const { space, dot } = kept
      const log = space.logs.get(dot.origin)
      // Its origin ended before it: it will never leave.
      const isGone = (log?.seq ?? 0) < dot.seq
      if (!isGone && (log?.durableSeq ?? 0) < dot.seq) break
      space.keptFrom.clear()
      if (isGone) continue
      this.#have(kept, nowMs)
    }
    this.#kept.splice(0, at)
    for (const { space, dot } of this.#kept) this.#keep(space, dot)
  }

  #keep({ keptFrom }: Space, { origin, seq }: Dot): void {
    keptFrom.set(origin, Math.min(seq, keptFrom.get(origin) ?? Infinity))
  }

  #have({ space, dot, sizeBytes }: Kept, nowMs: number): void {
    const from = this.#source?.from
    const cause = this.#source?.cause ?? 'local'
    const hops = this.#source?.hops ?? 0
    this.#gossip({ kind: 'have', space: space.id, dot, sizeBytes, cause, from, hops }, nowMs)
  }

  #gossip(input: BroadcastInput, nowMs: number): void {
    for (const output of this.#broadcast.handle(input, nowMs)) {
      switch (output.kind) {
        case 'push':
          this.#enqueue(output)
          break
        case 'send':
          this.#links.send(output.to, output.frame)
          break
        case 'connect':
        case 'disconnect': {
          const address = this.membership.member(output.node)?.address ?? ''
          this.#links.want(output.node, address, output.kind === 'connect')
          break
        }
      }
    }
  }

  #enqueue({ to, space, dot, sizeBytes }: BroadcastOutput & { readonly kind: 'push' }): void {
    const peer = this.#links.peer(to)
    if (peer === undefined) return
    if (this.#fresh !== undefined && peer.queue.free) {
      this.#links.pass(peer, this.#fresh)
      return this.#count(to, this.#fresh.frame)
    }
    peer.queue.push(space, dot, sizeBytes)
    this.#unsent.add(peer)
  }

  /** Somebody asks for what follows these dots. */
  #pulled(peer: Peer, { space: id, after }: Pull): void {
    const space = this.#space(id)
    if (space === undefined) return
    const runs: Run[] = []
    let left = pullBytes
    for (const { origin, seq } of after) {
      const bodies: Uint8Array[] = []
      for (let next = seq + 1; left > 0; next++) {
        const entry = space.leaving(origin, next)
        if (entry === undefined) break
        bodies.push(entry.body)
        left -= entry.body.length
      }
      if (bodies.length > 0) runs.push({ origin, seq: seq + 1, bodies })
    }
    if (runs.length > 0) this.#sendDeltas(peer, this.#pushed(id, runs))
  }

  /** In the order of the runs; a frame says one count of hops for all that is in it. */
  #pushed(space: SpaceId, runs: readonly Run[]): Frame[] {
    const frames: { kind: 'deltas'; space: SpaceId; runs: Run[]; cause: 'push'; more: false; hops: number }[] = []
    for (const run of runs) {
      const hops = this.#broadcast.hops(space, run.origin)
      const last = frames.at(-1)
      if (last?.hops === hops) last.runs.push(run)
      else frames.push({ kind: 'deltas', space, runs: [run], cause: 'push', more: false, hops })
    }
    return frames
  }

  /** Sends what waits on links that are free: at once when idle, together under load. */
  #push(nowMs: number): void {
    for (const peer of this.#unsent) {
      const { queue } = peer
      if (queue.length === 0 && !queue.behind) this.#unsent.delete(peer)
      if (!queue.ready) continue
      if (queue.behind) {
        queue.catchUp()
        this.#config.figures?.fellBehind?.(peer.node)
        this.#sync.greetAll(peer.node)
        this.#takeSync(nowMs)
        continue
      }
      const frames: Frame[] = []
      for (const { space: id, runs } of queue.take()) {
        const space = this.#space(id)
        if (space === undefined) continue
        const sent: Run[] = []
        for (const { origin, seq, count } of runs) {
          const bodies: Uint8Array[] = []
          for (let next = seq; next < seq + count; next++) {
            const entry = space.leaving(origin, next)
            if (entry === undefined) break
            bodies.push(entry.body)
          }
          if (bodies.length > 0) sent.push({ origin, seq, bodies })
        }
        frames.push(...this.#pushed(id, sent))
      }
      if (frames.length > 0) this.#sendDeltas(peer, frames)
      else queue.drained()
    }
  }

  #sendDeltas(peer: Peer, frames: readonly Frame[]): void {
    this.#links.sendAll(peer, frames)
    for (const frame of frames) this.#count(peer.node, frame)
  }

  #count(to: NodeId, frame: Frame): void {
    const { figures } = this.#config
    if (figures?.sent === undefined || frame.kind !== 'deltas') return
    const space = this.#space(frame.space)
    if (space !== undefined) for (const run of frame.runs) figures.sent(to, space, run)
  }

  // Anti-entropy.

  /** What anti-entropy wants done, in its order. */
  #takeSync(nowMs: number): void {
    for (const output of this.#sync.outputs.splice(0)) {
      switch (output.kind) {
        case 'send':
          this.#links.send(output.to, output.frame)
          this.#count(output.to, output.frame)
          break
        case 'report':
          this.#report(output.report)
          break
        case 'event':
          this.#event({ kind: 'sync', event: output.event })
          break
        case 'fault': {
          const peer = this.#links.peer(output.from)
          if (peer !== undefined) this.#links.fault(peer.link, output.code, output.what, nowMs)
          break
        }
        default:
          this.#out.push(output)
      }
    }
  }

  #report(report: Report): void {
    const { cut } = this.replica
    if (report.kind === 'stored') cut.note(report.space.id, report.peer, report.vector)
    else if (report.kind === 'session') this.#event({ kind: 'session', report })
    else if (report.durable && report.found === 'equal') cut.note(report.space.id, report.peer, report.space.vector)
    if (report.kind !== 'session') this.#event({ kind: 'word', report })
  }

  // Budget rights.

  #askForRights(nowMs: number): void {
    const asks = this.#rights.asks(nowMs, (node, { id }) => this.#links.peer(node)?.spaces?.has(id) === true)
    for (const { to, ask } of asks) this.#links.send(to, ask)
  }

  #asked(peer: Peer, ask: RightsAsk, nowMs: number): void {
    const space = this.#space(ask.space)
    if (space === undefined) return
    if (nodeOf(ask.to) !== peer.node) {
      return this.#links.fault(peer.link, 'protocol', 'rights are asked for by who is to have them', nowMs)
    }
    this.#guarded(() => this.#rights.asked(peer.node, space, ask, nowMs, this.#wall(nowMs)))
  }

  // Presence.

  /** Who is there. */
  present(space: Space, wallMs: number): readonly Present[] {
    return this.presence.list(space.id, wallMs + this.#aheadMs)
  }

  #present(input: PresenceInput, nowMs: number): void {
    for (const output of this.presence.handle(input, nowMs)) {
      if (output.kind === 'send') this.#links.send(output.to, output.frame)
      else this.#event({ kind: 'presence', change: output })
    }
  }

  // The rest.

  /** Now and then: what waits for ever, and who keeps the logs from being pruned. */
  #lookRound(nowMs: number): void {
    this.#lookAt = nowMs + lookEveryMs
    for (const space of this.replica.spaces) {
      const dots = space.waiting.drop(this.#wall(nowMs) - waitMostMs)
      if (dots.length > 0) this.#event({ kind: 'dropped', space: space.name, dots })
    }
    const { cut } = this.replica
    cut.look(this.replica.spaces, nowMs)
    const { aboveCut } = this.replica.prune(this.#wall(nowMs))
    if (aboveCut > 0) this.#event({ kind: 'pruned', aboveCut, blockers: cut.blockers(nowMs) })
    // A word of spaces that was lost on a link that lives would be missed for ever: each time one peer hears it again.
    const peers = [...this.#links.peers]
    const peer = peers[this.#looks++ % peers.length]
    if (peer !== undefined) this.#links.sendAll(peer, [this.#heldSpaces()])
  }

  /** Something here could not be read or is full: whoever runs the node must hear of it; peers are not at fault. */
  #failed(error: unknown): void {
    if (!(error instanceof SkeinError)) throw error
    this.#event({ kind: 'failed', code: error.code, reason: error.message })
  }

  #event(event: MachineEvent): void {
    this.#out.push({ kind: 'event', event })
  }
}
