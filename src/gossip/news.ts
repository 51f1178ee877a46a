/**
 * What is worth telling others of members, and how often it was told (SWIM's piggyback buffer). Each statement leaves at
 * most 4 * ceil(log10(N + 1)) times, which reaches everybody with high probability; the least told go first.
 *
 * A member has one statement here at a time, except that suspicions by different accusers stand side by side: Lifeguard
 * counts them.
 */
import { limits } from '../base/limits.ts'
import type { MemberStatement, NodeId } from '../wire/frame.ts'

/** From memberlist's LAN defaults. */
const retransmitFactor = 4
/** Lifeguard passes on the first few independent suspicions of a member, no more. */
const accusersTold = 4

interface Item {
  readonly statement: MemberStatement
  told: number
}

export class News {
  readonly #items = new Map<NodeId, Item[]>()

  get empty(): boolean {
    return this.#items.size === 0
  }

  add(statement: MemberStatement): void {
    const { node, state, incarnation } = statement
    const items = this.#items.get(node)
    const besides =
      state === 'suspect'
        ? (items ?? []).filter(
            (item) =>
              item.statement.state === 'suspect' &&
              item.statement.incarnation === incarnation &&
              item.statement.by !== statement.by,
          )
        : []
    if (besides.length < accusersTold) this.#items.set(node, [...besides, { statement, told: 0 }])
  }

  forget(node: NodeId): void {
    this.#items.delete(node)
  }

  /** Statements for one frame to `to`, counted as told. */
  take(fleetSize: number, to: NodeId, most: number = limits.memberUpdates): MemberStatement[] {
    if (this.#items.size === 0) return []
    const bound = retransmitFactor * Math.ceil(Math.log10(fleetSize + 1))
    const candidates: Item[] = []
    for (const items of this.#items.values()) {
      for (const item of items) if (item.statement.by !== to) candidates.push(item)
    }
    if (candidates.length > most) candidates.sort((a, b) => a.told - b.told)
    const taken = candidates.slice(0, most)
    for (const item of taken) {
      if (++item.told < bound) continue
      const { node } = item.statement
      const left = (this.#items.get(node) ?? []).filter((one) => one !== item)
      if (left.length === 0) this.#items.delete(node)
      else this.#items.set(node, left)
    }
    return taken.map(({ statement }) => statement)
  }
}
