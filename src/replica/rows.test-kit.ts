/** A sorted map of rows and an independent rebuild of what they should add up to: for the tests of this folder. */
import { binaryString, compareBytes, equalBytes } from '../base/bytes.ts'
import { hash128, lanes } from '../base/hash.ts'
import { Reader } from '../base/msgpack.ts'
import type { Row, RowRange, RowReader, RowScanner, RowSink } from '../base/rows.ts'
import { noSiblings } from '../crdt/cell.ts'
import type { Path, Siblings, TypeId } from '../crdt/cell.ts'
import { decodeDelta, linkOf, startChain } from '../crdt/delta.ts'
import { covers } from '../crdt/dot.ts'
import { encodeSnapshot } from '../crdt/state.ts'
import { Replica } from './replica.ts'
import type { ReplicaConfig } from './replica.ts'
import { entryKeyOf, spaceRange, table, tableRange, tablesToOpen } from './row-keys.ts'
import type { Space } from './space.ts'
import { digest, leafOf, readSum } from './tree.ts'

export class MapRows implements RowReader, RowSink, RowScanner {
  readonly rows: Map<string, Uint8Array> = new Map()

  get(key: Uint8Array): Uint8Array | undefined {
    return this.rows.get(binaryString(key))
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.rows.set(binaryString(key), value.slice())
  }

  del(key: Uint8Array): void {
    this.rows.delete(binaryString(key))
  }

  list({ gte, lt }: RowRange): Row[] {
    const found: Row[] = []
    for (const [name, value] of this.rows) {
      const key = Uint8Array.from(name, (unit) => unit.charCodeAt(0))
      if (compareBytes(key, gte) >= 0 && compareBytes(key, lt) < 0) found.push([key, value])
    }
    return found.sort(([a], [b]) => compareBytes(a, b))
  }

  async *range(range: RowRange): AsyncIterable<readonly Row[]> {
    yield this.list(range)
  }

  clone(): MapRows {
    const copy = new MapRows()
    for (const [key, value] of this.rows) copy.rows.set(key, value)
    return copy
  }
}

export function commit(replica: Replica, rows: RowSink): void {
  const batch = replica.takeBatch(rows)
  if (batch > 0) replica.stored(batch)
}

let incarnations = 0

export function openReplica(
  rows: MapRows,
  node: string = 'aaaaaaaaaaaaaaaa',
  more: Partial<ReplicaConfig> = {},
): Replica {
  const replica = new Replica({
    node,
    incarnation: (++incarnations).toString(16).padStart(16, '0'),
    rows,
    cacheBytes: 1_000_000,
    retention: { keepMs: 1e12, keepBytes: 1e12 },
    ...more,
  })
  for (const each of tablesToOpen) {
    for (const [key, value] of rows.list(tableRange(each))) replica.load(key, value)
  }
  return replica
}

/** Every live cell of a space, read from committed rows alone. */
export function cellsOf(rows: MapRows, space: Space): (readonly [string, TypeId, Path, Siblings])[] {
  const cells: (readonly [string, TypeId, Path, Siblings])[] = []
  for (const [rowKey, row] of rows.list(spaceRange(table.entry, space.number))) {
    const key = entryKeyOf(rowKey)
    const entry = space.entryFromRow(key, row)
    for (const type of entry.types()) {
      for (const [path, siblings] of entry.cells(type).all()) cells.push([key, type, path, siblings])
    }
  }
  return cells
}

export function snapshotOf(rows: MapRows, space: Space): Uint8Array {
  return encodeSnapshot(space.vector, cellsOf(rows, space))
}

/** What is wrong with a space whose changes are all committed; empty when all is well. */
export function faults(rows: MapRows, space: Space): string[] {
  const found: string[] = []
  const sums = new Map<number, Uint32Array>()
  const root = new Uint32Array(5)
  const keys = new Set<string>()
  for (const [key, type, path, siblings] of cellsOf(rows, space)) {
    keys.add(key)
    if (siblings === noSiblings || siblings.length === 0) found.push(`${key} holds an empty cell`)
    const leaf = leafOf(key)
    let sum = sums.get(leaf)
    if (sum === undefined) sums.set(leaf, (sum = new Uint32Array(5)))
    for (const sibling of siblings) {
      if (!covers(space.vector, sibling)) found.push(`${key} holds a dot beyond the vector`)
      digest(key, type, path, sibling)
      for (const into of [sum, root]) {
        for (let i = 0; i < 4; i++) into[i] = (into[i] as number) + (lanes[i] as number)
        into[4] = (into[4] as number) + 1
      }
    }
  }
  if (root.some((lane, i) => lane !== space.tree.root[i])) found.push('the root is not the sum of the cells')
  if (keys.size !== space.entryCount) found.push(`${space.entryCount} entries are counted, ${keys.size} are there`)
  const leaves = rows.list(spaceRange(table.leaf, space.number))
  if (leaves.length !== sums.size) found.push(`${leaves.length} leaf rows for ${sums.size} leaves`)
  for (const [key, row] of leaves) {
    const leaf = ((key.at(-2) as number) << 8) | (key.at(-1) as number)
    const sum = new Uint32Array(5)
    readSum(row, sum)
    if (sum.some((lane, i) => lane !== sums.get(leaf)?.[i])) found.push(`leaf ${leaf} is not the sum of its cells`)
  }
  for (const log of space.logs.values()) {
    const chain = startChain(space.name, space.generation, log.origin)
    let isKnown = log.floor === 1
    for (let seq = log.floor; seq <= log.seq; seq++) {
      const entry = log.remains(seq)
      if (entry === undefined) {
        found.push(`the log of ${log.origin} lacks ${seq}`)
        continue
      }
      if (!isKnown) continue
      if (entry.isPurged) {
        const link = decodeDelta(log.origin, seq, entry.body).link
        if (!equalBytes(link, linkOf(chain))) found.push(`what is left of ${log.origin}-${seq} has another link`)
        isKnown = false
      }
      hash128(entry.body, 0, entry.body.length, ...([...chain] as [number, number, number, number]))
      chain.set(lanes)
    }
    if (isKnown && chain.some((lane, i) => lane !== log.chain[i])) found.push(`the chain of ${log.origin} is off`)
    if (space.vector.get(log.origin) !== log.seq) found.push(`the vector does not follow the log of ${log.origin}`)
  }
  return found
}

/** The keys of rows of a table, for counting what is left. */
export function rowsIn(rows: MapRows, tableByte: number): number {
  return rows.list(tableRange(tableByte)).length
}

export function bodyOf(space: Space, origin: string, seq: number): Uint8Array {
  for (const log of space.logs.values()) {
    if (log.origin !== origin) continue
    const entry = log.entry(seq)
    if (entry !== undefined) return new Reader(entry.body).bytes.slice()
  }
  throw new Error(`no delta ${origin}-${seq}`)
}
