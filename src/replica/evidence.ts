/**
 * What is kept of the losing side of a fork: the deltas that lost, in the bytes in which they were written, and the two
 * chains that they and the others came to. A row a fork, bounded in number and in bytes; nothing but people reads them.
 */
import { limits } from '../base/limits.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import { readOrigin, writeOrigin } from '../crdt/dot.ts'
import type { OriginId } from '../crdt/dot.ts'
import { KeyWriter, table } from './row-keys.ts'

/** Where one of the two histories ended. */
export interface Side {
  readonly seq: number
  readonly chain: Uint8Array
}

export interface Evidence {
  readonly origin: OriginId
  /** Below it both are the same, as far as was known. */
  readonly seq: number
  readonly winner: Side
  readonly loser: Side
  /** The losing deltas from this sequence on, as many as the limit and the log allowed. */
  readonly from: number
  readonly bodies: readonly Uint8Array[]
  /** Cells that were written again under a new dot, and those that could not be: accounts of the origin itself. */
  readonly rescued: number
  readonly unrescued: number
}

const keys = new KeyWriter()
const row = new Writer()

export class EvidenceRows {
  readonly #space: number
  readonly #rows: RowReader
  #waiting: Evidence[] = []
  #flushed = 0
  /** Rows that let go of what they kept. */
  readonly #emptied = new Map<number, Evidence>()

  constructor(space: number, rows: RowReader) {
    this.#space = space
    this.#rows = rows
  }

  add(evidence: Evidence): void {
    this.#waiting.push(evidence)
  }

  read(): Evidence[] {
    const found: Evidence[] = []
    for (let number = 0; number < limits.forkEvidence; number++) {
      const bytes = this.#rows.get(this.#key(number))
      if (bytes === undefined) break
      found.push(decode(bytes))
    }
    return [...found, ...this.#waiting.slice(this.#flushed)]
  }

  /** Lets go of the losing deltas of what `isConcerned` names; that there was a fork stays known. Answers whether any was. */
  forget(isConcerned: (evidence: Evidence) => boolean): boolean {
    let isAny = false
    for (let number = 0; number < limits.forkEvidence; number++) {
      const bytes = this.#rows.get(this.#key(number))
      if (bytes === undefined) break
      const evidence = decode(bytes)
      if (evidence.bodies.length === 0 || !isConcerned(evidence)) continue
      this.#emptied.set(number, { ...evidence, bodies: [] })
      isAny = true
    }
    return isAny
  }

  flush(sink: RowSink): void {
    for (const [number, evidence] of this.#emptied) sink.put(this.#key(number), encode(evidence))
    this.#emptied.clear()
    if (this.#waiting.length === this.#flushed) return
    let number = 0
    while (number < limits.forkEvidence && this.#rows.get(this.#key(number)) !== undefined) number++
    for (; this.#flushed < this.#waiting.length; this.#flushed++) {
      // The first forks of a space are kept: what follows is most often more of the same.
      if (number >= limits.forkEvidence) continue
      sink.put(this.#key(number++), encode(this.#waiting[this.#flushed] as Evidence))
    }
  }

  stored(): void {
    this.#waiting.splice(0, this.#flushed)
    this.#flushed = 0
  }

  #key(number: number): Uint8Array {
    return keys.start(table.evidence).short(this.#space).ordered(number).bytes
  }
}

function encode({ origin, seq, winner, loser, from, bodies, rescued, unrescued }: Evidence): Uint8Array {
  row.rewind()
  row.begin()
  writeOrigin(row, origin)
  row.number(seq)
  for (const side of [winner, loser]) {
    row.number(side.seq)
    row.bin(side.chain)
  }
  row.number(from)
  row.number(rescued)
  row.number(unrescued)
  row.array(bodies.length)
  for (const body of bodies) row.bin(body)
  return row.bytes.subarray(0, row.at)
}

function decode(bytes: Uint8Array): Evidence {
  const reader = new Reader(bytes)
  const origin = readOrigin(reader)
  const seq = reader.uint()
  const side = (): Side => ({ seq: reader.uint(), chain: reader.bin().slice() })
  const [winner, loser] = [side(), side()]
  const from = reader.uint()
  const rescued = reader.uint()
  const unrescued = reader.uint()
  const bodies: Uint8Array[] = []
  for (let left = reader.array(); left > 0; left--) bodies.push(reader.bin().slice())
  reader.finish()
  return { origin, seq, winner, loser, from, bodies, rescued, unrescued }
}
