/** The history of an entry, read from this node's log: who changed what, when and why. */
import { binaryString } from '../base/bytes.ts'
import { decodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import { pathValue } from '../crdt/cell.ts'
import { timeToMs } from '../crdt/clock.ts'
import { decodeDelta } from '../crdt/delta.ts'
import type { Dot } from '../crdt/dot.ts'
import { typeOf } from '../crdt/types/table.ts'
import type { Space } from '../replica/space.ts'

export interface HistoryChange {
  readonly type: string
  /** Where in the entry: a record's field path, a set's element. */
  readonly path: Value
  /** Undefined for a removal. */
  readonly value: Value | undefined
  readonly supersedes: readonly Dot[]
}

export interface HistoryItem {
  readonly dot: Dot
  /** Wall-clock milliseconds. */
  readonly at: number
  readonly agent: string
  readonly reason: string | undefined
  /** The entry, or all of one type in it, was cleared. */
  readonly cleared: boolean
  /** What it wrote here was purged: a leaked value, or what had to be forgotten. */
  readonly purged?: true
  readonly changes: readonly HistoryChange[]
}

/** Reads the log in slices, giving way to other work between them. */
export async function historyOf(space: Space, key: string, giveWay: () => Promise<void>): Promise<HistoryItem[]> {
  const items: { readonly place: number; readonly item: HistoryItem }[] = []
  const needle = binaryString(new TextEncoder().encode(key))
  for (const log of space.logs.values()) {
    for (let seq = log.floor; seq <= log.seq; seq++) {
      if (seq % 512 === 0) await giveWay()
      const entry = log.remains(seq)
      // The key stands in the bytes as it is: most deltas are passed over without being decoded.
      if (entry === undefined || !contains(entry.body, needle)) continue
      const delta = decodeDelta(log.origin, seq, entry.body)
      const writes = delta.writes.filter((write) => write.key === key)
      const cleared = delta.clears.some((clear) => clear.key === key)
      if (writes.length === 0 && !cleared) continue
      const item = {
        dot: { origin: log.origin, seq },
        at: timeToMs(delta.time),
        agent: delta.agent,
        reason: delta.reason,
        cleared: cleared && !entry.isPurged,
        ...(entry.isPurged && cleared && { purged: true as const }),
        changes: writes.map((write) => ({
          type: typeOf(write.type)?.name ?? `unknown ${write.type}`,
          path: pathValue(write.path),
          value: write.value && decodeValue(write.value),
          supersedes: write.supersedes,
        })),
      }
      items.push({ place: entry.place, item })
    }
  }
  return items.sort((a, b) => a.place - b.place).map(({ item }) => item)
}

function contains(bytes: Uint8Array, needle: string): boolean {
  const last = bytes.length - needle.length
  const first = needle.charCodeAt(0)
  for (let at = bytes.indexOf(first); at >= 0 && at <= last; at = bytes.indexOf(first, at + 1)) {
    let i = 1
    while (i < needle.length && bytes[at + i] === needle.charCodeAt(i)) i++
    if (i === needle.length) return true
  }
  return false
}
