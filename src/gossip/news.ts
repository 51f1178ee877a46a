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
  /** The same by how often they were told: a frame costs what it takes, however many wait while a large fleet forms. */
  readonly #byTold: Set<Item>[] = []

  get empty(): boolean {
    return this.#items.size === 0
  }

  add(statement: MemberStatement): void {
    const { node, state, incarnation } = statement
    const items = this.#items.get(node) ?? []
    const besides =
      state === 'suspect'
        ? items.filter(
            (item) =>
              item.statement.state === 'suspect' &&
              item.statement.incarnation === incarnation &&
              item.statement.by !== statement.by,
          )
        : []
    if (besides.length >= accusersTold) return
    for (const item of items) if (!besides.includes(item)) this.#byTold[item.told]?.delete(item)
    const item = { statement, told: 0 }
    this.#items.set(node, [...besides, item])
    this.#level(0).add(item)
  }

  forget(node: NodeId): void {
    for (const item of this.#items.get(node) ?? []) this.#byTold[item.told]?.delete(item)
    this.#items.delete(node)
  }

  /** Statements for one frame to `to`, counted as told. */
  take(fleetSize: number, to: NodeId, most: number = limits.memberUpdates): MemberStatement[] {
    if (this.#items.size === 0) return []
    const taken = this.#leastTold(to, most)
    const bound = retransmitFactor * Math.ceil(Math.log10(fleetSize + 1))
    for (const item of taken) {
      this.#byTold[item.told]?.delete(item)
      if (++item.told < bound) {
        this.#level(item.told).add(item)
        continue
      }
      const { node } = item.statement
      const left = (this.#items.get(node) ?? []).filter((one) => one !== item)
      if (left.length === 0) this.#items.delete(node)
      else this.#items.set(node, left)
    }
    return taken.map(({ statement }) => statement)
  }

  #leastTold(to: NodeId, most: number): Item[] {
    const taken: Item[] = []
    for (const items of this.#byTold) {
      for (const item of items) {
        if (taken.length === most) return taken
        if (item.statement.by !== to) taken.push(item)
      }
    }
    return taken
  }

  #level(told: number): Set<Item> {
    while (this.#byTold.length <= told) this.#byTold.push(new Set())
    return this.#byTold[told] as Set<Item>
  }
}
