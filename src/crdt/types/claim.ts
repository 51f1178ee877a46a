/**
 * The claim: who holds a thing, under a fence that only grows (fencing tokens; Lamport's locks as Kleppmann asks for
 * them, 2016). One cell, {fence, owner, until}; of several siblings the one with the highest (fence, origin) holds.
 * A release keeps the fence, with no owner. Time gates acquiring only, by the wall of whoever acquires: a merge never
 * looks at a clock, so replicas agree on the holder whatever their clocks say.
 *
 * It is no lock across a partition: two sides may both acquire. That shows as `concurrent` (a double claim), and the
 * side that lost is told `stale_fence` by its next renewal.
 */
import { SkeinError } from '../../base/errors.ts'
import { encodeValue } from '../../base/msgpack.ts'
import { rootPath } from '../cell.ts'
import type { Sibling, Siblings } from '../cell.ts'
import { holdsOnly } from '../change.ts'
import type { Cells, Change, CrdtType } from '../type.ts'
import { has, integer, key } from './arguments.ts'
import type { Arguments } from './arguments.ts'
import { isWhole, mostRecentFirst, valueOf } from './reading.ts'
import type { Loser } from './reading.ts'

export interface ClaimReading {
  readonly holder: string | null
  readonly fence: number
  /** Wall milliseconds; 0 when nobody holds it. */
  readonly until: number
}

interface Tenure {
  readonly fence: number
  readonly owner: string | null
  readonly until: number
  readonly sibling: Sibling
}

function tenureOf(sibling: Sibling): Tenure | undefined {
  const value = valueOf(sibling)
  if (typeof value !== 'object' || value === null) return undefined
  const { fence, owner, until } = value as Readonly<Record<string, unknown>>
  if (!isWhole(fence) || !isWhole(until) || (owner !== null && typeof owner !== 'string')) return undefined
  return { fence, owner, until, sibling }
}

function outranks(a: Tenure, b: Tenure): boolean {
  if (a.fence !== b.fence) return a.fence > b.fence
  if (a.sibling.origin !== b.sibling.origin) return a.sibling.origin > b.sibling.origin
  return a.sibling.seq > b.sibling.seq
}

function highest(siblings: Siblings): Tenure | undefined {
  let best: Tenure | undefined
  for (const sibling of siblings) {
    const tenure = tenureOf(sibling)
    if (tenure !== undefined && (best === undefined || outranks(tenure, best))) best = tenure
  }
  return best
}

function write(cells: Cells, change: Change, fence: number, owner: string | null, until: number): void {
  const bytes = encodeValue({ fence, owner, until })
  if (!holdsOnly(cells.get(rootPath), bytes)) change.putBytes(rootPath, bytes)
}

function ownerOf(change: Change, args: Arguments): string {
  return has(args, 'owner') ? key(args, 'owner') : change.agent
}

function untilOf(change: Change, args: Arguments): number {
  const now = Math.floor(change.nowMs)
  return now + integer(args, 'ttlMs', { min: 1, max: Number.MAX_SAFE_INTEGER - now })
}

/** As people say it: whoever is refused wants to know whether to wait. By the clock of this node, like all of a claim. */
function timeLeft(ms: number): string {
  if (ms < 1000) return 'less than a second'
  const units = [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'min'],
    [1000, 's'],
  ] as const
  // One and a half minutes are 90 seconds, and three and a half are four minutes.
  const [unitMs, unit] = units.find(([sizeMs]) => ms >= 2 * sizeMs) ?? [1000, 's']
  return `another ${Math.ceil(ms / unitMs)} ${unit}`
}

function stale(cells: Cells, fence: number, held: Tenure | undefined): SkeinError {
  const now =
    held === undefined ? 'nobody ever held it' : `the live fence is ${held.fence}, held by ${held.owner ?? 'nobody'}`
  return new SkeinError('stale_fence', `fence ${fence} of ${cells.key} is not yours to use: ${now}`, {
    fence: held?.fence ?? 0,
    holder: held?.owner ?? null,
  })
}

export const claim: CrdtType<ClaimReading> = {
  id: 8,
  name: 'claim',
  merge: 'the highest (fence, origin) holds; a second live holder is shown beside it',
  leavesFromDisk: true,
  operations: {
    /** Acquiring what one holds already renews it, under the same fence. */
    acquire: {
      parameters: ['ttlMs'],
      run(cells, change, args) {
        const until = untilOf(change, args)
        const owner = ownerOf(change, args)
        const held = highest(cells.get(rootPath))
        let fence = 1
        if (held !== undefined) {
          const live = held.owner !== null && held.until >= change.nowMs
          if (live && held.owner !== owner) {
            const left = timeLeft(held.until - change.nowMs)
            throw new SkeinError('claim_held', `${cells.key} is held by ${held.owner} for ${left}`, {
              holder: held.owner,
              fence: held.fence,
              until: held.until,
            })
          }
          fence = live ? held.fence : held.fence + 1
        }
        if (fence > Number.MAX_SAFE_INTEGER) {
          throw new SkeinError('counter_overflow', `the fence of ${cells.key} is at the end of the exact integers`)
        }
        write(cells, change, fence, owner, until)
        return { fence, until }
      },
    },
    /** One's own claim may be renewed after it ran out, as long as nobody else acquired it. */
    renew: {
      parameters: ['fence', 'ttlMs'],
      run(cells, change, args) {
        const fence = integer(args, 'fence', { min: 1 })
        const until = untilOf(change, args)
        const owner = ownerOf(change, args)
        const held = highest(cells.get(rootPath))
        if (held === undefined || held.fence !== fence || held.owner !== owner) throw stale(cells, fence, held)
        write(cells, change, fence, owner, until)
        return { fence, until }
      },
    },
    release: {
      parameters: ['fence'],
      run(cells, change, args) {
        const fence = integer(args, 'fence', { min: 1 })
        const owner = ownerOf(change, args)
        const held = highest(cells.get(rootPath))
        if (held === undefined || held.fence !== fence) throw stale(cells, fence, held)
        if (held.owner === null) return undefined
        if (held.owner !== owner) throw stale(cells, fence, held)
        write(cells, change, fence, null, 0)
        return undefined
      },
    },
  },
  foremost: (siblings) => highest(siblings)?.sibling,
  read(cells) {
    const siblings = cells.get(rootPath)
    const held = highest(siblings)
    if (held === undefined) return { value: { holder: null, fence: 0, until: 0 }, concurrent: [] }
    const losers: Loser[] = []
    for (const sibling of siblings) {
      if (sibling === held.sibling) continue
      const other = tenureOf(sibling)
      if (other === undefined || other.owner === null) continue
      losers.push({ sibling, shown: { holder: other.owner, fence: other.fence, until: other.until } })
    }
    return {
      value: { holder: held.owner, fence: held.fence, until: held.until },
      concurrent: mostRecentFirst(losers),
    }
  },
  /** A release by force. The fence stays, or the next holder would get one that was out already. */
  delete(cells, change) {
    const held = highest(cells.get(rootPath))
    if (held === undefined) change.remove(rootPath)
    else write(cells, change, held.fence, null, 0)
  },
}
