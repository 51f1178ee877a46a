/**
 * What a peer lacks, read from the log: whole deltas in the order in which this replica applied them, which is an order in
 * which they may be applied. It may be cut anywhere, and each piece moves the peer's vector as far as it reaches.
 */
import type { OriginId, ReadonlyVector } from '../crdt/dot.ts'
import type { Run } from '../wire/frame.ts'
import type { OriginLog } from './log.ts'
import type { Space } from './space.ts'

export interface Missing {
  readonly runs: readonly Run[]
  readonly sizeBytes: number
  /** There is more than fitted. */
  readonly more: boolean
  /** The log no longer holds some of it: only the tree can help. Then there are no runs. */
  readonly below: boolean
}

interface Source {
  readonly log: OriginLog
  seq: number
  place: number
  body: Uint8Array
}

export function missing(space: Space, theirs: ReadonlyVector, maxBytes: number): Missing {
  const sources: Source[] = []
  for (const log of space.logs.values()) {
    const known = theirs.get(log.origin) ?? 0
    if (log.seq <= known) continue
    if (known + 1 >= (space.keptFrom.get(log.origin) ?? Infinity)) continue
    const entry = log.entry(known + 1)
    if (entry === undefined) return { runs: [], sizeBytes: 0, more: false, below: true }
    sources.push({ log, seq: known + 1, place: entry.place, body: entry.body })
  }
  const runs: { origin: OriginId; seq: number; bodies: Uint8Array[] }[] = []
  let sizeBytes = 0
  while (sources.length > 0) {
    let first = sources[0] as Source
    let second = Infinity
    for (const source of sources) {
      if (source.place < first.place) {
        second = first.place
        first = source
      } else if (source !== first && source.place < second) second = source.place
    }
    const run = { origin: first.log.origin, seq: first.seq, bodies: [] as Uint8Array[] }
    runs.push(run)
    while (first.place < second) {
      run.bodies.push(first.body)
      sizeBytes += first.body.length
      const next = space.leaving(first.log.origin, ++first.seq)
      if (next === undefined) sources.splice(sources.indexOf(first), 1)
      else {
        first.place = next.place
        first.body = next.body
      }
      if (sizeBytes >= maxBytes) return { runs, sizeBytes, more: sources.length > 0, below: false }
      if (next === undefined) break
    }
  }
  return { runs, sizeBytes, more: false, below: false }
}
