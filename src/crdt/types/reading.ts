/**
 * What the types share in reading cells. A cell may hold anything that a faulty peer sent in canonical form, so no type
 * trusts the shape of what it finds: what it cannot read it skips, alike on every replica.
 */
import { decodeValue } from '../../base/msgpack.ts'
import type { Value } from '../../base/value.ts'
import type { Path, Sibling, Siblings } from '../cell.ts'
import { compareSiblings, pathValue } from '../cell.ts'
import { written } from '../type.ts'
import type { Written } from '../type.ts'

/** Undefined where the bytes are no canonical value. */
export function valueOf(sibling: Sibling): Value | undefined {
  try {
    return decodeValue(sibling.value)
  } catch {
    return undefined
  }
}

export function valueOfPath(path: Path): Value | undefined {
  try {
    return pathValue(path)
  } catch {
    return undefined
  }
}

/** The siblings that can be read, from the oldest to the newest. */
export function readable(siblings: Siblings): Written<Value>[] {
  const found: Written<Value>[] = []
  for (const sibling of siblings) {
    const value = valueOf(sibling)
    if (value !== undefined) found.push(written(sibling, value))
  }
  return found
}

/** A sibling that lost, and what of it the reader is to be shown. */
export interface Loser {
  readonly sibling: Sibling
  readonly shown: unknown
}

/** For `concurrent`: the most recent first. */
export function mostRecentFirst(losers: Loser[]): readonly Written<unknown>[] {
  return losers
    .sort((a, b) => compareSiblings(b.sibling, a.sibling))
    .map(({ sibling, shown }) => written(sibling, shown))
}

export function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
