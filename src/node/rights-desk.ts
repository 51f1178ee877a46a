/**
 * When rights of budgets are asked for and given: what runs low here, and how often each may be asked for or given of. How
 * much of them is a matter of replica/rights.ts.
 */
import { give, wishOf } from '../replica/rights.ts'
import type { Replica } from '../replica/replica.ts'
import type { Space } from '../replica/space.ts'
import type { NodeId, RightsAsk } from '../wire/frame.ts'

/** Between two requests for rights of one budget. A guess: several round trips. */
const askAgainMs = 1_000
/** Between two gifts of one budget to one peer: a request that comes a little early is still heard. */
const giveAgainMs = askAgainMs / 2
/** Budgets whose last request, or gift, is remembered. */
const rightsAsked = 1_000

export class RightsDesk {
  readonly #replica: Replica
  /** Budgets of which there may be little left here. */
  readonly #low = new Map<string, { readonly space: Space; readonly key: string; readonly needed: number }>()
  /** When each may be asked for again. */
  readonly #askedAt = new Map<string, number>()
  /** When each peer may be given of each again. */
  readonly #givenAt = new Map<string, number>()

  constructor(replica: Replica) {
    this.#replica = replica
  }

  /** There may be little left of it here; `needed`: a spending failed for want of so much. */
  low(space: Space, key: string, needed: number): void {
    this.#low.set(`${space.id} ${key}`, { space, key, needed })
  }

  /** Whom to ask for what; `isLinked`: can that node be asked about that space? */
  asks(nowMs: number, isLinked: (node: NodeId, space: Space) => boolean): { to: NodeId; ask: RightsAsk }[] {
    if (this.#low.size === 0) return none
    const asks: { to: NodeId; ask: RightsAsk }[] = []
    for (const [id, { space, key, needed }] of this.#low) {
      if (space.deleted || nowMs < (this.#askedAt.get(id) ?? 0)) continue
      const { origin } = this.#replica
      const wish = wishOf(space, key, origin, needed)
      const holder = wish?.holders.find((node) => isLinked(node, space))
      if (wish === undefined || holder === undefined) continue
      if (this.#askedAt.size >= rightsAsked) this.#askedAt.clear()
      this.#askedAt.set(id, nowMs + askAgainMs)
      const { amount } = wish
      asks.push({ to: holder, ask: { kind: 'rights-ask', space: space.id, key, to: origin, amount } })
    }
    this.#low.clear()
    return asks
  }

  /** Gives that peer of the budget what can be spared. Throws where nothing can be written. */
  asked(from: NodeId, space: Space, ask: RightsAsk, nowMs: number, wallMs: number): void {
    // Each gift is a delta that everybody must keep: who asks without end buys no more of them than others do.
    const id = `${from} ${space.id} ${ask.key}`
    if (nowMs < (this.#givenAt.get(id) ?? 0) || !this.#mayGive(nowMs)) return
    if (give(this.#replica, space, ask, wallMs) > 0) this.#givenAt.set(id, nowMs + giveAgainMs)
  }

  /** Is there room to remember another gift? */
  #mayGive(nowMs: number): boolean {
    if (this.#givenAt.size < rightsAsked) return true
    for (const [id, atMs] of this.#givenAt) if (atMs <= nowMs) this.#givenAt.delete(id)
    return this.#givenAt.size < rightsAsked
  }
}

const none: { to: NodeId; ask: RightsAsk }[] = []
