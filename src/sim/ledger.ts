/**
 * Who was promised what: every write with the disks that hold it. A write that was acknowledged must be kept as long as one
 * disk that has it survives; once the last of them went, it is excused.
 */
import type { Chain } from '../crdt/delta.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import type { Reach } from './disk.ts'
import type { Given, Written } from './workload.ts'

export interface Promised {
  readonly space: string
  readonly generation: number
  readonly spaceId: string
  readonly dot: Dot
  readonly node: number
  readonly fences: readonly Given[]
  readonly told: string
  /** Of its origin, after it. */
  readonly chain: Chain
  readonly at: number
  acknowledged: boolean
  excused: boolean
}

interface Pending extends Promised {
  readonly life: number
  readonly batch: number
}

export class Ledger {
  readonly all: Promised[] = []
  readonly #waiting = new Map<number, Pending[]>()
  readonly #deleted = new Set<string>()
  readonly #lost = new Set<number>()

  wrote({ host, life, space: { name, generation, id }, dot, batch, fences, told, chain, at }: Written): void {
    if (dot === undefined) return
    const one: Pending = {
      space: name,
      generation,
      spaceId: id,
      dot,
      node: host.index,
      fences,
      told,
      chain,
      at,
      acknowledged: false,
      excused: false,
      life: life.number,
      batch,
    }
    this.all.push(one)
    const waiting = this.#waiting.get(host.index)
    if (waiting === undefined) this.#waiting.set(host.index, [one])
    else waiting.push(one)
  }

  /** Somebody deleted the space: its writes need not be kept, even if the deletion itself is lost with a disk. */
  spaceDeleted(spaceId: string): void {
    this.#deleted.add(spaceId)
  }

  /** Must this write be kept? */
  isOwed({ acknowledged, excused, spaceId }: Promised): boolean {
    return acknowledged && !excused && !this.#deleted.has(spaceId)
  }

  /** A node was lost for good: what it acknowledges from now on, it acknowledges to nobody. */
  nodeLost(node: number): void {
    this.#lost.add(node)
  }

  /** A batch is on the disk: those who waited for it are told. */
  stored(node: number, life: number, batch: number): void {
    if (this.#lost.has(node)) return
    const waiting = this.#waiting.get(node) ?? []
    for (const one of waiting) if (one.life === life && one.batch <= batch) one.acknowledged = true
    this.#waiting.set(
      node,
      waiting.filter((one) => one.life === life && one.batch > batch),
    )
  }

  /** A disk has no longer what it had. `others` is what the other disks have. */
  diskLost(before: Reach, after: Reach, others: readonly Reach[]): number {
    let excused = 0
    for (const one of this.all) {
      if (!one.acknowledged || one.excused || !has(before, one) || has(after, one)) continue
      if (others.some((reach) => has(reach, one))) continue
      one.excused = true
      excused++
    }
    return excused
  }
}

function has(reach: Reach, { spaceId, dot }: Promised): boolean {
  const vector: ReadonlyMap<OriginId, number> | undefined = reach.get(spaceId)
  return (vector?.get(dot.origin) ?? 0) >= dot.seq
}
