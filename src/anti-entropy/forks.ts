/**
 * Two histories under the name of one origin: how peers find out, and which of them stands. A delta that does not follow, or
 * contexts that differ at equal vectors, make two peers tell each other their chains; of the origins in question with the
 * chain hashes before their heads, so that they see where it parts. The better side closes the origin in place and tells
 * everybody; the other side takes the space over (Adopt). What is told here is also what raises the fork: when it is found
 * and when it is settled, once each.
 */
import { equalBytes } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import type { OriginId } from '../crdt/dot.ts'
import type { Evidence } from '../replica/evidence.ts'
import { linksOf, meet } from '../replica/forks.ts'
import { chainBytes } from '../replica/space.ts'
import type { Space } from '../replica/space.ts'
import type { ChainHead, Chains, Fork, NodeId, SpaceId } from '../wire/frame.ts'
import type { Shared } from './output.ts'

export interface Compared {
  /** The peer has closed an origin of which another history is here. */
  readonly isAstray: boolean
  /** An origin was closed here: everybody is to hear of it. */
  readonly isClosed: boolean
  /** What the peer should be told: with `answer` it is to tell more. */
  readonly reply: 'answer' | 'tell' | undefined
}

export class Forks {
  readonly #shared: Shared
  /** Origins that are thought to differ somewhere. */
  readonly #suspects = new Map<Space, Set<OriginId>>()
  readonly #raised = new Map<Space, Map<OriginId, 'found' | 'settled'>>()

  constructor(shared: Shared) {
    this.#shared = shared
  }

  /** Bytes came that do not follow, or from beyond the end. */
  suspect(space: Space, origin: OriginId): void {
    let suspects = this.#suspects.get(space)
    if (suspects === undefined) this.#suspects.set(space, (suspects = new Set()))
    // A peer that lies about many origins at once gets no more than a frame for it.
    if (suspects.size < 16) suspects.add(origin)
  }

  hasSuspects(space: Space): boolean {
    return this.#suspects.has(space)
  }

  #clear(space: Space, origin: OriginId): void {
    const suspects = this.#suspects.get(space)
    suspects?.delete(origin)
    if (suspects?.size === 0) this.#suspects.delete(space)
  }

  /** `heard`: what the peer told, so that links of what it asks about come along, from where it stands itself. */
  frame(space: Space, id: SpaceId, answer: boolean, heard?: Chains): Chains {
    const theirs = new Map(heard?.heads.map(({ origin, seq }) => [origin, seq]))
    const named = new Set(this.#suspects.get(space))
    for (const { origin } of heard?.links ?? []) named.add(origin)
    const heads = space.chainHeads(limits.chainHeads)
    const links = heads
      .filter(({ origin }) => named.has(origin))
      .map(({ origin, seq }) => linksOf(space, origin, theirs.get(origin) ?? seq))
    return { kind: 'chains', space: id, heads, links, answer }
  }

  /** Chains of a peer. `wasAsked`: it answers, and is not asked again. */
  compare(space: Space, peer: NodeId, frame: Chains, wasAsked: boolean, nowMs: number): Compared {
    const runs = new Map(frame.links.map((run) => [run.origin, run]))
    let isAstray = false
    let isClosed = false
    let reply: Compared['reply'] = frame.answer ? 'tell' : undefined
    for (const head of frame.heads) {
      const { origin } = head
      const meeting = meet(space, head, runs.get(origin))
      switch (meeting.kind) {
        case 'none':
          if (runs.has(origin)) this.#clear(space, origin)
          continue
        case 'take':
        case 'close':
          this.close(space, peer, head, meeting.fork, nowMs)
          isClosed = true
          continue
        case 'tell':
          this.#clear(space, origin)
          reply ??= 'tell'
          continue
        case 'ask':
        case 'wait':
          this.found(space, peer, head)
          // The better one must know where it parts.
          if (meeting.kind === 'ask' && !wasAsked) reply = 'answer'
          else if (!wasAsked) reply ??= 'tell'
          continue
        case 'astray':
          this.found(space, peer, head)
          isAstray = true
      }
    }
    return { isAstray, isClosed, reply }
  }

  close(space: Space, peer: NodeId, head: ChainHead, fork: Fork, nowMs: number): void {
    const { origin } = head
    this.#clear(space, origin)
    this.#shared.replica.close(space, origin, fork, nowMs)
    const winner = chainBytes(space.chainOf(origin))
    const loser = equalBytes(winner, head.chain) ? undefined : head.chain.slice()
    this.#raise({ space, peer, origin, seq: fork.seq, winner, loser, settled: true })
  }

  /** Another history than the one here is somewhere. */
  found(space: Space, peer: NodeId, head: ChainHead): void {
    const { origin, seq, chain } = head
    const { replica } = this.#shared
    this.suspect(space, origin)
    // Another of this memory writes on.
    if (origin === replica.origin) replica.renewSoon()
    const log = space.log(origin)
    const at = head.fork?.seq ?? Math.min(seq, log.seq)
    this.#raise({ space, peer, origin, seq: at, winner: chain.slice(), loser: chainBytes(log.chain), settled: false })
  }

  /** The losing side was here, and is no more. */
  settled(space: Space, peer: NodeId, evidence: readonly Evidence[]): void {
    this.#suspects.delete(space)
    for (const { origin, seq, winner, loser } of evidence) {
      this.#raise({ space, peer, origin, seq, winner: winner.chain, loser: loser.chain, settled: true })
    }
  }

  #raise(found: {
    readonly space: Space
    readonly peer: NodeId
    readonly origin: OriginId
    readonly seq: number
    readonly winner: Uint8Array
    readonly loser: Uint8Array | undefined
    readonly settled: boolean
  }): void {
    const { space, origin } = found
    let raised = this.#raised.get(space)
    if (raised === undefined) this.#raised.set(space, (raised = new Map<OriginId, 'found' | 'settled'>()))
    const before = raised.get(origin)
    if (before === 'settled' || (before === 'found' && !found.settled)) return
    raised.set(origin, found.settled ? 'settled' : 'found')
    this.#shared.outputs.push({ kind: 'event', event: { kind: 'fork', ...found } })
  }
}
