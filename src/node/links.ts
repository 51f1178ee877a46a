/**
 * Links to other nodes: whom to dial and when, the greeting in both directions, one link a node, and what is sent over it. It
 * knows frames, not what they mean. A link is a message stream that may end at any time; nothing here survives its end.
 */
import type { Prng } from '../base/prng.ts'
import { maxAheadMs } from '../crdt/clock.ts'
import { PeerQueue } from '../gossip/queue.ts'
import { encodePackets, protocol } from '../wire/codec.ts'
import type { Frame, Hello, NodeId, SpaceId } from '../wire/frame.ts'
import type { FreshDelta } from './fresh-delta.ts'

/** A connection to one other node: an even number for one that the machine dials, odd for one that came in. */
export type LinkId = number

export type LinkOutput =
  | { readonly kind: 'dial'; readonly link: LinkId; readonly address: string }
  /** After it the driver says no more of that link. */
  | { readonly kind: 'close'; readonly link: LinkId }
  | { readonly kind: 'send'; readonly link: LinkId; readonly bytes: Uint8Array }
  /** A peer broke the protocol, or is refused: counted. Its link is closed. */
  | {
      readonly kind: 'fault'
      readonly link: LinkId
      readonly node: NodeId | undefined
      readonly code: string
      readonly what: string
    }

export interface Peer {
  readonly link: LinkId
  readonly node: NodeId
  readonly incarnation: string
  readonly address: string
  readonly outgoing: boolean
  /** By how much its clock was ahead of this one when it said hello; how long that took to come is in it. */
  readonly skewMs: number
  /** The spaces that it says it holds; undefined until it has said so. */
  spaces: ReadonlySet<SpaceId> | undefined
  /** Deltas to push to it. */
  readonly queue: PeerQueue
  usedMs: number
}

export interface LinksConfig {
  readonly node: NodeId
  readonly fleet: string
  readonly address: string
  readonly join: readonly string[]
  readonly random: Prng
  /** As what this node writes now. */
  incarnation(): string
  /** The wall clock, of which the time that timers go by may be ahead. */
  wall(nowMs: number): number
  up(peer: Peer, nowMs: number): void
  down(peer: Peer, nowMs: number): void
  /** That node could not be dialled. */
  failed(node: NodeId, nowMs: number): void
}

interface Opened {
  readonly link: LinkId
  readonly outgoing: boolean
  readonly sinceMs: number
  readonly proven: NodeId | undefined
}

/** Somebody to dial, for as long as somebody wants it. */
interface Target {
  readonly address: string
  node: NodeId | undefined
  /** Kept up: an address to join by, or a neighbour. Others are dialled once, for what waits. */
  join: boolean
  neighbour: boolean
  link: LinkId | undefined
  atMs: number
  waitMs: number
  waiting: Frame[]
}

/** Between attempts to dial somebody: doubling, up to a bound, with some chance so that a fleet does not dial together. */
const redialFirstMs = 200
const redialMostMs = 10_000
/** A link over which no hello comes, or no word of spaces after it, is closed. */
const helloWithinMs = 5_000
/** A link that was opened for a message or two is closed when it was not used for so long. A guess: some probes. */
const idleMs = 20_000
/** Frames that wait for a link to open. More are probes of somebody who does not answer. */
const mostWaiting = 16
/** Somebody to whom everything that was sent stays unsent for so long is gone without a word. */
const stuckMs = 60_000

export class Links {
  readonly outputs: LinkOutput[] = []
  readonly #config: LinksConfig
  readonly #opened = new Map<LinkId, Opened>()
  readonly #byLink = new Map<LinkId, Peer>()
  readonly #peers = new Map<NodeId, Peer>()
  readonly #targets = new Map<string, Target>()
  #nextLink = 1
  #sweepAt = 0
  /** When the first target is to be dialled; undefined when it must be looked up. Every step asks. */
  #dialAt: number | undefined

  constructor(config: LinksConfig) {
    this.#config = config
    for (const address of config.join) if (address !== config.address) this.#target(address).join = true
  }

  get wakeAt(): number {
    return Math.min(this.#sweepAt, this.#nextDial)
  }

  get #nextDial(): number {
    if (this.#dialAt === undefined) {
      let at = Infinity
      for (const target of this.#targets.values()) if (target.link === undefined) at = Math.min(at, target.atMs)
      this.#dialAt = at
    }
    return this.#dialAt
  }

  peer(node: NodeId): Peer | undefined {
    return this.#peers.get(node)
  }

  get count(): number {
    return this.#peers.size
  }

  get peers(): IterableIterator<Peer> {
    return this.#peers.values()
  }

  /** Keeps a link to that node up, or no longer. */
  want(node: NodeId, address: string, isWanted: boolean): void {
    if (address === '' || address === this.#config.address) return
    if (!isWanted && !this.#targets.has(address)) return
    const target = this.#targetOf(node, address)
    target.neighbour = isWanted
    this.#forget(target)
  }

  /** Sends over the node's link, or over one that is dialled for it. May be lost. */
  send(node: NodeId, frame: Frame, address: string = ''): void {
    const peer = this.#peers.get(node)
    if (peer !== undefined) return this.#send(peer.link, [frame])
    if (address === '' || address === this.#config.address) return
    const target = this.#targetOf(node, address)
    if (target.waiting.length < mostWaiting) target.waiting.push(frame)
  }

  sendAll(peer: Peer, frames: readonly Frame[]): void {
    this.#send(peer.link, frames)
  }

  /** Past the peer's queue, which is empty. */
  pass(peer: Peer, { packet, sizeBytes }: FreshDelta): void {
    peer.queue.passed(sizeBytes)
    this.outputs.push({ kind: 'send', link: peer.link, bytes: packet })
  }

  /** Opens a link to that node unless there is one: it will greet and be greeted. */
  meet(node: NodeId, address: string): void {
    if (this.#peers.has(node) || address === '' || address === this.#config.address) return
    this.#targetOf(node, address)
  }

  /** `proven`: who is at the other end, where the transport knows. */
  opened(link: LinkId, outgoing: boolean, nowMs: number, proven?: NodeId): void {
    this.#opened.set(link, { link, outgoing, sinceMs: nowMs, proven })
    const { node, fleet, address } = this.#config
    const incarnation = this.#config.incarnation()
    this.#send(link, [
      {
        kind: 'hello',
        major: protocol.major,
        minor: protocol.minor,
        fleet,
        node,
        incarnation,
        nowMs: this.#config.wall(nowMs),
        address,
      },
    ])
  }

  /** The driver says that it ended, or could not be dialled. */
  closed(link: LinkId, nowMs: number): void {
    this.#opened.delete(link)
    for (const target of this.#targets.values()) {
      if (target.link !== link) continue
      this.#dialAt = undefined
      target.link = undefined
      target.waiting = []
      target.atMs = nowMs + target.waitMs / 2 + this.#config.random.below(target.waitMs)
      target.waitMs = Math.min(2 * target.waitMs, redialMostMs)
      if (target.node !== undefined && !this.#peers.has(target.node)) this.#config.failed(target.node, nowMs)
      this.#forget(target)
    }
    const peer = this.#byLink.get(link)
    if (peer === undefined) return
    this.#byLink.delete(link)
    if (this.#peers.get(peer.node) !== peer) return
    this.#peers.delete(peer.node)
    this.#config.down(peer, nowMs)
  }

  /** Does anything wait for it? */
  drained(link: LinkId, nowMs: number): boolean {
    const peer = this.#byLink.get(link)
    if (peer === undefined) return false
    peer.queue.drained()
    peer.usedMs = nowMs
    return peer.queue.ready
  }

  /** Whose words these are; undefined before hello. */
  from(link: LinkId, nowMs: number): Peer | undefined {
    const peer = this.#byLink.get(link)
    if (peer !== undefined) peer.usedMs = nowMs
    return peer
  }

  isOpen(link: LinkId): boolean {
    return this.#opened.has(link)
  }

  hello(link: LinkId, hello: Hello, nowMs: number): void {
    const opened = this.#opened.get(link)
    if (opened === undefined) return
    if (this.#byLink.has(link)) return this.fault(link, 'protocol', 'a second hello', nowMs)
    const { node, fleet } = this.#config
    const apartMs = hello.nowMs - this.#config.wall(nowMs)
    const refusal: readonly [code: string, reason: string] | undefined =
      hello.major !== protocol.major
        ? ['version', `this node speaks version ${protocol.major} of the protocol, you speak ${hello.major}`]
        : hello.fleet !== fleet
          ? ['fleet', 'this node belongs to another fleet']
          : hello.node === node
            ? ['self', 'this is the node itself, or a copy of it']
            : opened.proven !== undefined && hello.node !== opened.proven
              ? ['identity', 'you are not the node whose key you have']
              : Math.abs(apartMs) > maxAheadMs
                ? ['clock', `your clock is ${Math.round(apartMs / 1000)} s off mine`]
                : undefined
    if (refusal !== undefined) {
      this.#send(link, [{ kind: 'refuse', code: refusal[0], reason: refusal[1] }])
      return this.fault(link, refusal[0], refusal[1], nowMs)
    }
    const { outgoing } = opened
    const other = this.#peers.get(hello.node)
    if (other !== undefined) {
      // Both dialled: the link that the lower of the two dialled stays. Of two that one dialled the newer.
      const isLate = other.outgoing !== outgoing && other.incarnation === hello.incarnation
      if (isLate && outgoing !== node < hello.node) return this.drop(link, nowMs)
    }
    const { incarnation, address } = hello
    const queue = new PeerQueue()
    const peer: Peer = {
      link,
      node: hello.node,
      incarnation,
      address,
      outgoing,
      skewMs: apartMs,
      spaces: undefined,
      queue,
      usedMs: nowMs,
    }
    this.#byLink.set(link, peer)
    this.#peers.set(hello.node, peer)
    if (other !== undefined) {
      this.#config.down(other, nowMs)
      this.drop(other.link, nowMs)
    }
    this.#config.up(peer, nowMs)
    for (const target of this.#targets.values()) {
      if (target.link !== link && target.address !== address) continue
      target.node = hello.node
      target.waitMs = redialFirstMs
      if (target.waiting.length > 0) this.#send(link, target.waiting)
      target.waiting = []
    }
  }

  /** Closes a link whose peer broke the protocol. */
  fault(link: LinkId, code: string, what: string, nowMs: number): void {
    this.outputs.push({ kind: 'fault', link, node: this.#byLink.get(link)?.node, code, what })
    this.drop(link, nowMs)
  }

  drop(link: LinkId, nowMs: number): void {
    if (!this.#opened.has(link)) return
    this.outputs.push({ kind: 'close', link })
    this.closed(link, nowMs)
  }

  /** Dials who is due, and closes what is of no use. */
  timer(nowMs: number): void {
    if (nowMs >= this.#nextDial) this.#dial(nowMs)
    if (nowMs >= this.#sweepAt) this.#sweep(nowMs)
  }

  #dial(nowMs: number): void {
    this.#dialAt = undefined
    for (const target of this.#targets.values()) {
      if (target.link !== undefined || target.atMs > nowMs) continue
      const isLinked = target.node !== undefined && this.#peers.has(target.node)
      if (isLinked) {
        target.atMs = nowMs + redialMostMs
        continue
      }
      target.link = 2 * this.#nextLink++
      this.outputs.push({ kind: 'dial', link: target.link, address: target.address })
    }
  }

  #sweep(nowMs: number): void {
    this.#sweepAt = nowMs + helloWithinMs
    for (const { link, sinceMs } of this.#opened.values()) {
      const peer = this.#byLink.get(link)
      if (peer === undefined) {
        if (nowMs - sinceMs >= helloWithinMs) this.fault(link, 'silent', 'no hello came', nowMs)
        continue
      }
      if (peer.spaces === undefined && nowMs - sinceMs >= helloWithinMs) {
        // They are said once: if that was lost, these two would never compare a space over this link.
        this.fault(link, 'silent', 'it did not say which spaces it holds', nowMs)
        continue
      }
      const unusedMs = nowMs - peer.usedMs
      if (unusedMs >= stuckMs) this.drop(link, nowMs)
      else if (unusedMs >= idleMs && peer.outgoing && !this.#isWanted(link)) this.drop(link, nowMs)
    }
  }

  #isWanted(link: LinkId): boolean {
    for (const target of this.#targets.values()) {
      if (target.link === link && (target.join || target.neighbour)) return true
    }
    return false
  }

  /** Who is at an address changes: a host gets another directory, and the node that was there may live on elsewhere. */
  #targetOf(node: NodeId, address: string): Target {
    const target = this.#target(address)
    if (target.node !== node) this.#dialAt = undefined
    target.node = node
    return target
  }

  #target(address: string): Target {
    let target = this.#targets.get(address)
    if (target === undefined) {
      target = {
        address,
        node: undefined,
        join: false,
        neighbour: false,
        link: undefined,
        atMs: 0,
        waitMs: redialFirstMs,
        waiting: [],
      }
      this.#targets.set(address, target)
      this.#dialAt = undefined
    }
    return target
  }

  /** Nobody wants to dial it any more. */
  #forget({ address, join, neighbour, link, waiting }: Target): void {
    if (!join && !neighbour && link === undefined && waiting.length === 0) {
      this.#targets.delete(address)
      this.#dialAt = undefined
    }
  }

  #send(link: LinkId, frames: readonly Frame[]): void {
    this.#byLink.get(link)?.queue.sent()
    for (const bytes of encodePackets(frames)) this.outputs.push({ kind: 'send', link, bytes })
  }
}
