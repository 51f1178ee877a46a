/** What was superseded since a snapshot, for a replica whose own cells are wrong: its log tells, and nothing else does. */
import { cellKey } from '../crdt/change.ts'
import { hasDot } from '../crdt/cell.ts'
import type { Sibling } from '../crdt/cell.ts'
import { decodeDelta } from '../crdt/delta.ts'
import type { ClearEntry } from '../crdt/delta.ts'
import { covers } from '../crdt/dot.ts'
import type { OriginId, ReadonlyVector } from '../crdt/dot.ts'
import type { Space } from '../replica/space.ts'

/**
 * Which siblings deltas beyond a vector have superseded, as the log has it; undefined where it cannot tell: another's
 * clear covers what its writer had seen, which is not known here.
 */
export function goneSince(
  space: Space,
  vector: ReadonlyVector,
  own: OriginId,
): ((key: string, name: string, sibling: Sibling) => boolean) | undefined {
  const named = new Set<string>()
  const cleared = new Map<string, ClearEntry[]>()
  const seen = new Map(space.vector)
  for (const log of space.logs.values()) {
    for (let seq = (vector.get(log.origin) ?? 0) + 1; seq <= log.seq; seq++) {
      const entry = log.entry(seq)
      if (entry === undefined) continue
      const { writes, clears } = decodeDelta(log.origin, seq, entry.body)
      for (const { key, type, path, supersedes } of writes) {
        for (const dot of supersedes) named.add(`${cellKey(type, path)}\0${dot.origin}\0${dot.seq}\0${key}`)
      }
      if (clears.length > 0 && log.origin !== own) return undefined
      for (const clear of clears) {
        const others = cleared.get(clear.key)
        if (others === undefined) cleared.set(clear.key, [clear])
        else others.push(clear)
      }
    }
  }
  return (key, name, sibling) => {
    if (!covers(seen, sibling)) return false
    if (named.has(`${name}\0${sibling.origin}\0${sibling.seq}\0${key}`)) return true
    const type = name.charCodeAt(0)
    return (
      cleared.get(key)?.some((clear) => (clear.type === 0 || clear.type === type) && !hasDot(clear.keep, sibling)) ===
      true
    )
  }
}
