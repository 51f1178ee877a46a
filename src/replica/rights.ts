/**
 * Budget rights between nodes: who should ask whom for how much, and what the asked one gives. Rights move only by the
 * ordinary transfer of the one who has them, so no message that is lost, late or repeated can create any.
 */
import { SkeinError } from '../base/errors.ts'
import { nodeOf } from '../crdt/dot.ts'
import type { OriginId } from '../crdt/dot.ts'
import { budget, rightsOf } from '../crdt/types/budget.ts'
import type { NodeId } from '../wire/frame.ts'
import type { Replica } from './replica.ts'
import type { Space } from './space.ts'

/** Somebody asks when this part of his share is left: early enough for the answer to come before the end. DESIGN. */
const lowPart = 4

export interface Wish {
  readonly amount: number
  /** Who has rights, the richest first. */
  readonly holders: readonly NodeId[]
}

/**
 * What `me` should ask for: up to an even share of what is available, once less than a quarter of that is left, or
 * enough for a spending of `needed`. Undefined when all is well or nobody has any.
 */
export function wishOf(space: Space, key: string, me: OriginId, needed: number = 0): Wish | undefined {
  const { available, rights } = budget.read(space.entry(key).cells(budget.id)).value
  const byNode = new Map<NodeId, number>()
  for (const [origin, amount] of Object.entries(rights)) {
    const node = nodeOf(origin as OriginId) as NodeId
    byNode.set(node, (byNode.get(node) ?? 0) + amount)
  }
  const mine = rightsOf(space.entry(key).cells(budget.id), me)
  byNode.delete(nodeOf(me) as NodeId)
  const holders = [...byNode].filter(([, amount]) => amount > 0).sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
  if (holders.length === 0) return undefined
  const share = Math.floor(available / (holders.length + 1))
  const level = Math.max(share, needed)
  if (mine >= needed && mine >= share / lowPart) return undefined
  const amount = level - Math.max(mine, 0)
  return amount < 1 ? undefined : { amount, holders: holders.map(([node]) => node) }
}

/** Gives an asking origin what can be spared: never more than half of what is here, so that two do not pass it on for ever. */
export function give(
  replica: Replica,
  space: Space,
  ask: { readonly key: string; readonly to: OriginId; readonly amount: number },
  nowMs: number,
): number {
  const spare = Math.floor(rightsOf(space.entry(ask.key).cells(budget.id), replica.origin) / 2)
  const amount = Math.min(ask.amount, spare)
  const transfer = budget.operations['transfer']
  if (amount < 1 || transfer === undefined) return 0
  try {
    replica.transact(space, { nowMs, agent: 'skein', reason: 'budget rights' }, (change) =>
      change.run(space.entry(ask.key), budget, transfer, { to: ask.to, amount }),
    )
  } catch (error) {
    // Nothing has happened; whoever asked asks again.
    if (error instanceof SkeinError) return 0
    throw error
  }
  return amount
}
