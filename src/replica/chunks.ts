/**
 * The cells of a large entry: beyond `limits.chunkBytes` its row is a directory, and the cells stand in chunks of that
 * size, in the order of their names. So one write to a large set rewrites one page, and the directory, which grows with
 * the entry (some 100 KB at 400,000 elements). A chunk is read when somebody asks for a cell in it.
 */
import { assert } from '../base/assert.ts'
import { binaryString, fromBinaryString } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import type { Path, Siblings, TypeId } from '../crdt/cell.ts'
import { intact } from './damage.ts'
import { KeyWriter, table } from './row-keys.ts'
import { cellAt, cellEnd, cellOf, countCells, readCells, siblingWeight, withCell, writeCell } from './sibling.ts'
import type { Numbers, StoredSibling } from './sibling.ts'

export interface ChunksHome extends Numbers {
  readonly number: number
  readonly rows: RowReader
}

interface Chunk {
  /** 0 for one that has no row yet. */
  id: number
  /** Cells from this one on, up to the next chunk's first. */
  first: string
  count: number
  /** Undefined until somebody asks. */
  siblings: StoredSibling[] | undefined
  dirty: boolean
  /** It lost a cell since it was last written. */
  shrunk: boolean
}

const keys = new KeyWriter()
const row = new Writer()

export class Chunks {
  readonly #home: ChunksHome
  readonly #key: string
  readonly #grew: () => void
  #list: Chunk[] = []
  #nextId = 1
  #types: readonly TypeId[] = []
  /** How many cells each of them has. */
  #typeCells: number[] = []
  /** Bytes of the chunks that were read: the siblings in memory keep them alive. */
  #readBytes = 0

  /** `grew` is told when more of the entry was read. */
  private constructor(home: ChunksHome, key: string, grew: () => void) {
    this.#home = home
    this.#key = key
    this.#grew = grew
  }

  /** An entry that outgrew its row. */
  static of(home: ChunksHome, key: string, grew: () => void, siblings: StoredSibling[]): Chunks {
    const chunks = new Chunks(home, key, grew)
    const count = countCells(siblings)
    chunks.#list = [{ id: 0, first: '', count, siblings, dirty: true, shrunk: false }]
    for (let at = 0; at < siblings.length; at = cellEnd(siblings, at)) {
      chunks.#countType((siblings[at] as StoredSibling).name.charCodeAt(0), 1)
    }
    return chunks
  }

  /** From the directory, less the byte that marks it as one. */
  static read(home: ChunksHome, key: string, grew: () => void, bytes: Uint8Array): Chunks {
    const chunks = new Chunks(home, key, grew)
    const reader = new Reader(bytes, 1)
    chunks.#nextId = reader.uint()
    const types: TypeId[] = []
    for (let left = reader.array(); left > 0; left -= 2) {
      types.push(reader.uint())
      chunks.#typeCells.push(reader.uint())
    }
    chunks.#types = types
    for (let left = reader.array(); left > 0; left -= 3) {
      const first = binaryString(reader.bin())
      const id = reader.uint()
      chunks.#list.push({ id, first, count: reader.uint(), siblings: undefined, dirty: false, shrunk: false })
    }
    return chunks
  }

  get types(): readonly TypeId[] {
    return this.#types
  }

  /** As for StoredEntry. */
  get weight(): number {
    let weight = this.#readBytes
    for (const { siblings } of this.#list) weight += 100 + siblingWeight * (siblings?.length ?? 0)
    return weight
  }

  at(name: string): readonly StoredSibling[] {
    return cellOf(this.#load(this.#find(name)), name)
  }

  *all(type: TypeId, from: string): Iterable<readonly [Path, Siblings]> {
    const to = String.fromCharCode(type + 1)
    for (const [at, chunk] of this.#list.entries()) {
      const next = this.#list[at + 1]
      if (chunk.first >= to || (next !== undefined && next.first <= from)) continue
      const siblings = this.#load(chunk)
      for (let start = cellAt(siblings, from), end = start; start < siblings.length; start = end) {
        end = cellEnd(siblings, start)
        const { name } = siblings[start] as StoredSibling
        if (name.charCodeAt(0) === type) yield [name.slice(1), siblings.slice(start, end)]
      }
    }
  }

  set(name: string, after: StoredSibling[]): void {
    const chunk = this.#find(name)
    const siblings = this.#load(chunk)
    const before = siblings[cellAt(siblings, name)]?.name === name ? 1 : 0
    chunk.siblings = withCell(siblings, name, after)
    chunk.dirty = true
    const by = (after.length > 0 ? 1 : 0) - before
    if (by === 0) return
    if (by < 0) chunk.shrunk = true
    chunk.count += by
    this.#countType(name.charCodeAt(0), by)
  }

  *siblings(): Iterable<StoredSibling> {
    for (const chunk of this.#list) yield* this.#load(chunk)
  }

  #countType(type: TypeId, by: number): void {
    const at = this.#types.indexOf(type)
    if (at < 0) {
      assert(by === 1, 'a cell that goes was counted')
      this.#types = [...this.#types, type].sort((a, b) => a - b)
      this.#typeCells.splice(this.#types.indexOf(type), 0, 1)
      return
    }
    const left = (this.#typeCells[at] as number) + by
    this.#typeCells[at] = left
    if (left > 0) return
    this.#types = this.#types.filter((other) => other !== type)
    this.#typeCells.splice(at, 1)
  }

  #find(name: string): Chunk {
    const list = this.#list
    let low = 0
    let high = list.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((list[middle] as Chunk).first <= name) low = middle
      else high = middle - 1
    }
    return list[low] as Chunk
  }

  #load(chunk: Chunk): StoredSibling[] {
    if (chunk.siblings !== undefined) return chunk.siblings
    const bytes = this.#home.rows.get(this.#rowKey(chunk.id))
    intact(bytes !== undefined, 'a chunk in a directory has no row')
    const siblings = readCells(bytes, this.#home)
    intact(countCells(siblings) === chunk.count, 'a chunk does not hold what its directory counts')
    chunk.siblings = siblings
    this.#readBytes += bytes.length
    this.#grew()
    return siblings
  }

  #rowKey(id: number): Uint8Array {
    const length = new TextEncoder().encode(this.#key).length
    return keys.start(table.chunk).short(this.#home.number).ordered(length).text(this.#key).ordered(id).bytes
  }

  /**
   * Writes the rows that changed since the last flush. Where all that is left fits one row, it returns the siblings
   * instead, and nothing of the chunks stays.
   */
  flush(sink: RowSink): StoredSibling[] | undefined {
    this.#merge(sink)
    const list: Chunk[] = []
    for (const chunk of this.#list) {
      if (!chunk.dirty && chunk.id !== 0) list.push(chunk)
      else this.#flushChunk(chunk, list, sink)
    }
    this.#list = list
    const [first] = list
    if (first === undefined) return []
    if (list.length === 1) {
      const siblings = this.#load(first)
      sink.del(this.#rowKey(first.id))
      return siblings
    }
    first.first = ''
    return undefined
  }

  /** Joins chunks that shrank below a quarter of their size with a neighbour. */
  #merge(sink: RowSink): void {
    for (let at = 0; at < this.#list.length && this.#list.length > 1; at++) {
      const chunk = this.#list[at] as Chunk
      if (!chunk.shrunk) continue
      chunk.shrunk = false
      const siblings = this.#load(chunk)
      row.rewind()
      row.begin()
      for (let start = 0, end = 0; start < siblings.length && row.at < limits.chunkBytes / 4; start = end) {
        end = cellEnd(siblings, start)
        writeCell(row, this.#home, siblings, start, end)
      }
      if (row.at >= limits.chunkBytes / 4) continue
      const into = this.#list[at === 0 ? 1 : at - 1] as Chunk
      const others = this.#load(into)
      into.siblings = at === 0 ? [...siblings, ...others] : [...others, ...siblings]
      into.count += chunk.count
      into.dirty = true
      into.shrunk = true
      if (at === 0) into.first = ''
      sink.del(this.#rowKey(chunk.id))
      this.#list.splice(at, 1)
      // What was joined may still be small: look at it again, unless it was passed already and stays.
      at = Math.max(at - 2, -1)
    }
  }

  #flushChunk(chunk: Chunk, into: Chunk[], sink: RowSink): void {
    const siblings = this.#load(chunk)
    let { id, first } = chunk
    let begin = 0
    let count = 0
    const close = (end: number): void => {
      if (count === 0) {
        if (id !== 0) sink.del(this.#rowKey(id))
        return
      }
      if (id === 0) id = this.#nextId++
      sink.put(this.#rowKey(id), row.bytes.subarray(0, row.at))
      into.push({ id, first, count, siblings: siblings.slice(begin, end), dirty: false, shrunk: false })
    }
    row.rewind()
    row.begin()
    for (let start = 0, end = 0; start < siblings.length; start = end) {
      end = cellEnd(siblings, start)
      const before = row.at
      writeCell(row, this.#home, siblings, start, end)
      if (count > 0 && row.at > limits.chunkBytes) {
        row.at = before
        close(start)
        id = 0
        first = (siblings[start] as StoredSibling).name
        begin = start
        count = 0
        row.rewind()
        row.begin()
        writeCell(row, this.#home, siblings, start, end)
      }
      count++
    }
    close(siblings.length)
  }

  /** The entry's row: what `read` reads. */
  writeDirectory(into: Writer): void {
    into.nil()
    into.number(this.#nextId)
    into.array(2 * this.#types.length)
    for (const [at, type] of this.#types.entries()) {
      into.number(type)
      into.number(this.#typeCells[at] as number)
    }
    into.array(3 * this.#list.length)
    for (const { first, id, count } of this.#list) {
      into.bin(fromBinaryString(first))
      into.number(id)
      into.number(count)
    }
  }
}
