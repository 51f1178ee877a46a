/**
 * Whether something exists, as the siblings of one cell: the half that the set and the flag share. Bringing it writes
 * `true`. Dropping it supersedes what is live and leaves nothing behind, so a concurrent bringing survives: adding wins
 * (observed-remove; Bieniusa et al., 2012, without tombstones). A drop that is to win over bringings that it has not
 * seen writes `false` instead, a *negative*: an ordinary sibling, hashed and synchronised like any other.
 *
 * It does not take negatives away: the replica does, by a dotted delta, once the cut covers them (`isNegative`).
 */
import type { Path, Sibling, Siblings } from '../cell.ts'
import { holdsOnly } from '../change.ts'
import type { Cells, Change } from '../type.ts'

const positive = new Uint8Array([0xc3])
const negative = new Uint8Array([0xc2])

export function isNegative(sibling: Sibling): boolean {
  return sibling.value.length === 1 && sibling.value[0] === negative[0]
}

/** The one whose word holds: a negative, if there is any. */
export function decisive(siblings: Siblings): Sibling | undefined {
  return siblings.find(isNegative)
}

function isPositive(sibling: Sibling): boolean {
  return sibling.value.length === 1 && sibling.value[0] === positive[0]
}

export function exists(siblings: Siblings): boolean {
  return siblings.some(isPositive) && !siblings.some(isNegative)
}

export function bring(cells: Cells, change: Change, path: Path): void {
  if (!holdsOnly(cells.get(path), positive, change.expires)) change.putBytes(path, positive)
}

/** Where nothing positive is live there is nothing to supersede, and a negative that stands keeps its strength. */
export function drop(cells: Cells, change: Change, path: Path): void {
  if (cells.get(path).some(isPositive)) change.remove(path)
}

/** Written even where nothing is live here: what it is to win over may not have arrived yet. */
export function forbid(cells: Cells, change: Change, path: Path): void {
  if (!holdsOnly(cells.get(path), negative, change.expires)) change.putBytes(path, negative)
}
