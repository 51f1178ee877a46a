/**
 * Purging: the values that covered deltas wrote to some entries are to be nowhere on this node. What is hashed changes by a
 * dotted delta alone: one deletes what still lives and says what is purged. The rest is this node's log, which is hashed by
 * nobody but as a chain, and a chain needs no more than its links: of each covered delta that wrote there a remainder stays.
 * See docs/decisions/purge.md.
 */
import { decodeDelta, encodeDelta } from '../crdt/delta.ts'
import type { Delta } from '../crdt/delta.ts'
import type { Dot } from '../crdt/dot.ts'
import { typeOf } from '../crdt/types/table.ts'
import { purgeType, purgeValue } from '../merge/purge.ts'
import type { Purge } from '../merge/purge.ts'
import { purgeKey } from '../merge/system.ts'
import type { Committed, Replica, WriteOptions } from './replica.ts'
import type { Space } from './space.ts'

/** Deltas looked at in one step. */
const atOnce = 256

type Operation = NonNullable<(typeof purgeType.operations)[string]>

/** Deletes the entries and says that what was written to them so far is purged: in one delta. */
export function beginPurge(
  replica: Replica,
  space: Space,
  key: string,
  others: readonly string[],
  options: WriteOptions,
): Committed<undefined> {
  return replica.transact(space, options, (change) => {
    const keys = [key, ...others]
    for (const one of keys) change.delete(space.entry(one), typeOf)
    const value = purgeValue(keys, space.vector)
    change.run(space.entry(purgeKey(key)), purgeType, purgeType.operations['begin'] as Operation, { value })
    return undefined
  })
}

/** Says that this node has done these. */
export function purgeDone(
  replica: Replica,
  space: Space,
  record: string,
  args: { readonly node: string; readonly dots: readonly Dot[] },
  nowMs: number,
): Committed<undefined> {
  return replica.transact(space, { nowMs, agent: 'skein', reason: 'purged' }, (change) => {
    const done = purgeType.operations['done'] as Operation
    change.run(space.entry(record), purgeType, done, { ...args, at: nowMs })
    return undefined
  })
}

/**
 * Takes the values out of the log and of what is kept of forks, step by step; everything covered must be in the store. Yields
 * how many deltas it changed, so that its driver can write them and give way.
 */
export function* purgeLog(space: Space, { keys, upTo }: Purge): Generator<number, void, void> {
  const purged = new Set(keys)
  const concerns = (delta: Delta): boolean =>
    delta.writes.some(({ key }) => purged.has(key)) || delta.clears.some(({ key }) => purged.has(key))
  for (const log of space.logs.values()) {
    const { origin } = log
    let changed = 0
    for (let seq = log.floor; seq <= Math.min(log.storedSeq, upTo.get(origin) ?? 0); seq++) {
      const row = log.remains(seq)
      const delta = row && decodeDelta(origin, seq, row.body)
      if (delta !== undefined && delta.writes.some(({ key }) => purged.has(key))) {
        log.purge(seq, remainder(delta, purged))
        space.touch()
        changed++
      }
      if (seq % atOnce === 0) {
        yield changed
        changed = 0
      }
    }
    yield changed
  }
  space.forgetEvidence(({ origin, from, bodies }) =>
    bodies.some((body, at) => concerns(decodeDelta(origin, from + at, body))),
  )
  yield 0
}

/** Time, link, context and agent, and what was written elsewhere. That it wrote there shows as a clear, which nobody applies. */
function remainder(delta: Delta, purged: ReadonlySet<string>): Uint8Array {
  const touched = new Set(delta.writes.filter(({ key }) => purged.has(key)).map(({ key }) => key))
  const clears = delta.clears.filter(({ key }) => !touched.has(key))
  const left = {
    ...delta,
    reason: undefined,
    clears: [...clears, ...Array.from(touched, (key) => ({ key, type: 0, keep: [] }))],
    writes: delta.writes.filter(({ key }) => !purged.has(key)),
  }
  return encodeDelta(left).slice()
}
