/**
 * The counter: exact whole numbers up to 2^53 - 1, added to by many writers. A cell per origin, named by the origin's
 * 16 bytes, holds [plus, minus, absorbed]: the running totals of that origin alone (PN-counter; Shapiro et al., 2011)
 * and, apart from them, records [origin, seq, plus, minus] of earlier incarnations of the same node.
 *
 * A node takes a new incarnation whenever it opens, so its first increment takes up its predecessors' cells as records
 * and supersedes them: the cells follow the nodes, not their restarts. For each origin the reader counts only the
 * record with the highest seq, live cell included. So it does not matter who absorbed whom, how often, or whether a
 * predecessor (a cloned memory) writes on: nothing counts twice and nothing is lost.
 *
 * Records are never folded into the totals. That would be safe only if no other cell could ever name the folded origin
 * again, and another successor (of a restored disk) may have absorbed it too, in a delta that is still under way;
 * `retired` speaks of the predecessor's own writing, not of who absorbed it. What bounds an increment instead is
 * `maxRecords`: a predecessor that would bring more stays as the live cell that it is, which reads the same.
 *
 * It does not reset well: an increment concurrent with a deletion brings back all that its writer had added.
 */
import { binaryString, fromBinaryString, toHex } from '../../base/bytes.ts'
import { SkeinError } from '../../base/errors.ts'
import { Reader, Writer } from '../../base/msgpack.ts'
import type { Path, Siblings } from '../cell.ts'
import { appended } from '../change.ts'
import { nodeOf, originBytes, readOrigin, writeOrigin } from '../dot.ts'
import type { OriginId } from '../dot.ts'
import type { Cells, Change, CrdtType } from '../type.ts'
import { integer } from './arguments.ts'

/** Records in one cell, each some 30 bytes that every increment writes again. A guess. */
const maxRecords = 8

/** What is known of one origin: its totals as of its sequence. */
interface Tally {
  readonly origin: OriginId
  /** Of the sibling that said so; 0 where another than the origin wrote it (a repair): the own word counts more. */
  readonly seq: number
  readonly plus: number
  readonly minus: number
}

interface Totals extends Tally {
  readonly absorbed: readonly Tally[]
}

const max = Number.MAX_SAFE_INTEGER
const pathHead = '\xc4\x10'
const none: readonly Tally[] = []

const writer = new Writer()
/** The paths of origins, and back. */
const paths = new Map<OriginId, Path>()
const origins = new Map<Path, OriginId>()
const cachedPaths = 4096

export function counterPath(origin: OriginId): Path {
  let path = paths.get(origin)
  if (path === undefined) {
    writer.begin()
    writeOrigin(writer, origin)
    path = binaryString(writer.finish())
    remember(path, origin)
  }
  return path
}

function originOf(path: Path): OriginId | undefined {
  let origin = origins.get(path)
  if (origin === undefined && path.length === pathHead.length + originBytes && path.startsWith(pathHead)) {
    origin = toHex(fromBinaryString(path.slice(pathHead.length))) as OriginId
    remember(path, origin)
  }
  return origin
}

function remember(path: Path, origin: OriginId): void {
  if (paths.size >= cachedPaths) {
    paths.clear()
    origins.clear()
  }
  paths.set(origin, path)
  origins.set(path, origin)
}

function encode(plus: number, minus: number, absorbed: readonly Tally[]): Uint8Array {
  writer.begin()
  writer.array(3)
  writer.number(plus)
  writer.number(minus)
  writer.array(absorbed.length)
  for (const record of absorbed) {
    writer.array(4)
    writeOrigin(writer, record.origin)
    writer.number(record.seq)
    writer.number(record.plus)
    writer.number(record.minus)
  }
  return writer.finish()
}

/** Throws `malformed` for another shape. A record of another node is nonsense too: nobody absorbs strangers. */
function decode(bytes: Uint8Array, origin: OriginId, seq: number): Totals {
  const reader = new Reader(bytes)
  if (reader.array() !== 3) reader.fail('a counter cell has three parts')
  const plus = reader.uint()
  const minus = reader.uint()
  let absorbed = none
  let left = reader.array()
  if (left > 0) {
    const records: Tally[] = []
    for (; left > 0; left--) {
      if (reader.array() !== 4) reader.fail('a record has four parts')
      const record = { origin: readOrigin(reader), seq: reader.uint(), plus: reader.uint(), minus: reader.uint() }
      if (nodeOf(record.origin) !== nodeOf(origin)) reader.fail('a record of another node')
      records.push(record)
    }
    absorbed = records
  }
  reader.finish()
  return { origin, seq, plus, minus, absorbed }
}

/** What a cell says, sibling by sibling. There is one unless the origin was forked. */
function totalsOf(origin: OriginId, siblings: Siblings): readonly Totals[] {
  let found: Totals[] = []
  for (const sibling of siblings) {
    try {
      found = appended(found, decode(sibling.value, origin, sibling.origin === origin ? sibling.seq : 0))
    } catch {
      // Nonsense from a faulty peer counts nothing.
    }
  }
  return found
}

/** Keeps, for each origin, what was said at its highest sequence. Most counters have one: a map is for the others. */
class Count {
  #first: Tally | undefined = undefined
  #others: Map<OriginId, Tally> | undefined = undefined

  take(tally: Tally): void {
    const known = this.of(tally.origin)
    if (known === undefined || tally.seq >= known.seq) this.#keep(tally)
  }

  #keep(tally: Tally): void {
    this.#first ??= tally
    if (this.#first.origin === tally.origin) this.#first = tally
    else (this.#others ??= new Map()).set(tally.origin, tally)
  }

  get #tallies(): readonly Tally[] {
    if (this.#first === undefined) return []
    return this.#others === undefined ? [this.#first] : [this.#first, ...this.#others.values()]
  }

  takeAll(cell: readonly Totals[]): void {
    for (const totals of cell) {
      this.take(totals)
      for (const record of totals.absorbed) this.take(record)
    }
  }

  of(origin: OriginId): Tally | undefined {
    return this.#first?.origin === origin ? this.#first : this.#others?.get(origin)
  }

  /** All but those of one origin, in an order that does not depend on how they came in. */
  recordsBut(origin: OriginId): readonly Tally[] {
    return this.#tallies.filter((tally) => tally.origin !== origin).sort((a, b) => (a.origin < b.origin ? -1 : 1))
  }

  /** Exact, and outside of the exact integers only where the sum itself is. */
  sum(): number {
    let sum = 0
    for (const { plus, minus } of this.#tallies) {
      const next = sum + (plus - minus)
      if (!Number.isSafeInteger(next)) return this.#longSum()
      sum = next
    }
    return sum
  }

  #longSum(): number {
    let sum = 0n
    for (const { plus, minus } of this.#tallies) sum += BigInt(plus) - BigInt(minus)
    return Number(sum)
  }
}

function countOf(cells: Cells): Count {
  const count = new Count()
  for (const [path, siblings] of cells.all()) {
    const origin = originOf(path)
    if (origin !== undefined) count.takeAll(totalsOf(origin, siblings))
  }
  return count
}

/** Takes up what earlier incarnations of this node counted, as far as there is room for it. */
function absorb(cells: Cells, change: Change): readonly Tally[] {
  const predecessors: (readonly [path: Path, cell: readonly Totals[], records: number])[] = []
  for (const [path, siblings] of cells.all()) {
    const origin = originOf(path)
    if (origin === undefined || nodeOf(origin) !== nodeOf(change.origin)) continue
    const cell = totalsOf(origin, siblings)
    predecessors.push([path, cell, cell.reduce((records, { absorbed }) => records + absorbed.length, 1)])
  }
  const taken = new Count()
  let room = maxRecords
  for (const [path, cell, records] of predecessors.sort(([, , a], [, , b]) => a - b)) {
    room -= records
    if (room < 0) break
    taken.takeAll(cell)
    change.remove(path)
  }
  return taken.recordsBut(change.origin)
}

function joined(cell: readonly Totals[], origin: OriginId): readonly Tally[] {
  const [only] = cell
  if (only !== undefined && cell.length === 1) return only.absorbed
  const count = new Count()
  count.takeAll(cell)
  return count.recordsBut(origin)
}

function overflow(cells: Cells, by: number): SkeinError {
  return new SkeinError('counter_overflow', `adding ${by} to ${cells.key} leaves the exact integers`, { by })
}

export const counter: CrdtType<number> = {
  id: 3,
  name: 'counter',
  countsByOrigin: true,
  merge: 'the sum of what every writer added, each origin counted once',
  operations: {
    incr: {
      parameters: ['by'],
      run(cells, change, args) {
        const by = integer(args, 'by')
        if (by === 0) return undefined
        const { origin } = change
        const count = countOf(cells)
        const sum = count.sum() + by
        const path = counterPath(origin)
        // Where a twin of this memory took our cell for a predecessor's, its record says how far we were.
        const own = count.of(origin)
        const plus = (own?.plus ?? 0) + (by > 0 ? by : 0)
        const minus = (own?.minus ?? 0) + (by < 0 ? -by : 0)
        if (plus > max || minus > max || !Number.isSafeInteger(sum)) throw overflow(cells, by)
        const live = totalsOf(origin, cells.get(path))
        const absorbed = live.length === 0 ? absorb(cells, change) : joined(live, origin)
        change.putBytes(path, encode(plus, minus, absorbed))
        return undefined
      },
    },
  },
  read(cells) {
    const sum = countOf(cells).sum()
    return { value: Math.min(Math.max(sum, -max), max), concurrent: [] }
  },
}
