/**
 * The log: a cell per item, named by (time, index): the hybrid time of the delta that appended it and its place in that
 * delta. So it reads in the order in which things happened, as far as the clocks could tell. Items are never changed;
 * `keep` on an append drops all but the newest n in the same delta.
 *
 * Two writers may hit the same (time, index). Then the cell has two siblings and the log two items, in the order of
 * their dots. An append therefore never supersedes what it finds.
 */
import type { Value } from '../../base/value.ts'
import { compareSiblings, noSiblings, pathOf } from '../cell.ts'
import type { Path, Sibling } from '../cell.ts'
import type { Dot } from '../dot.ts'
import { written } from '../type.ts'
import type { Cells, Change, CrdtType, Written } from '../type.ts'
import { has, integer, values } from './arguments.ts'
import { isWhole, valueOf, valueOfPath } from './reading.ts'

interface Item {
  readonly path: Path
  readonly time: number
  readonly index: number
  readonly sibling: Sibling
}

function compareItems(a: Item, b: Item): number {
  return a.time - b.time || a.index - b.index || compareSiblings(a.sibling, b.sibling)
}

/** From the oldest to the newest. Paths have nearly that order already, but small times sort after large ones. */
function itemsOf(cells: Cells): Item[] {
  const items: Item[] = []
  for (const [path, siblings] of cells.all()) {
    const place = valueOfPath(path)
    if (!Array.isArray(place) || place.length !== 2) continue
    const [time, index] = place as readonly unknown[]
    if (!isWhole(time) || !isWhole(index)) continue
    for (const sibling of siblings) items.push({ path, time, index, sibling })
  }
  return items.sort(compareItems)
}

/** Every item with who appended it and when, from the oldest to the newest. */
export function items(cells: Cells): readonly Written<Value>[] {
  const found: Written<Value>[] = []
  for (const { sibling } of itemsOf(cells)) {
    const value = valueOf(sibling)
    if (value !== undefined) found.push(written(sibling, value))
  }
  return found
}

/** Above this many removals a clear that names what it keeps may be shorter. */
const manyRemovals = 32

function drop(change: Change, old: readonly Item[], kept: readonly Item[]): void {
  const own = (dot: Dot): boolean => dot.origin === change.origin && dot.seq === change.seq
  if (old.length > manyRemovals && old.length > kept.length) {
    const keep = new Map<string, Dot>()
    for (const { sibling } of kept) {
      if (!own(sibling)) keep.set(nameOf(sibling), { origin: sibling.origin, seq: sibling.seq })
    }
    change.clear([...keep.values()])
    // One delta may have brought items on both sides of the line, and what this delta brought outlives its clear.
    for (const { path, sibling } of old) {
      if (own(sibling) || keep.has(nameOf(sibling))) change.remove(path, [sibling])
    }
  } else for (const { path, sibling } of old) change.remove(path, [sibling])
}

function nameOf(dot: Dot): string {
  return dot.origin + dot.seq
}

export const log: CrdtType<readonly Value[]> = {
  id: 6,
  name: 'log',
  merge: 'every item is kept, in the order of (time, index, dot)',
  expiring: true,
  operations: {
    append: {
      parameters: ['values'],
      spread: true,
      run(cells, change, args) {
        const appended = values(args, 'values')
        const keep = has(args, 'keep') ? integer(args, 'keep', { min: 1 }) : Number.MAX_SAFE_INTEGER
        const spare = keep - appended.length
        if (has(args, 'keep') && appended.length > 0) {
          const before = itemsOf(cells)
          const cut = before.length - Math.max(spare, 0)
          if (cut > 0) drop(change, before.slice(0, cut), before.slice(cut))
        }
        for (const value of spare < 0 ? appended.slice(-keep) : appended) {
          change.putBytes(pathOf([change.time, change.nextIndex()]), value, noSiblings)
        }
        return undefined
      },
    },
  },
  read(cells) {
    return { value: items(cells).map(({ value }) => value), concurrent: [] }
  },
}
