/**
 * An entry as the replica holds it: its live cells in memory, and how they stand in rows.
 *
 * The cells of an entry share one row up to `limits.chunkBytes`. Beyond that the row is a directory and the cells
 * stand in chunks of that size, ordered by cell, so that one write to a large set rewrites one page, and the directory,
 * which grows with the entry (some 100 KB at 400,000 elements). A
 * chunk is read when somebody asks for a cell in it.
 */
import { assert } from '../base/assert.ts'
import { binaryString } from '../base/bytes.ts'
import { lanes } from '../base/hash.ts'
import { limits } from '../base/limits.ts'
import { Reader, Writer, skipValue } from '../base/msgpack.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import type { Entry } from '../crdt/change.ts'
import { appended, cellKey } from '../crdt/change.ts'
import { noSiblings } from '../crdt/cell.ts'
import type { Path, Sibling, Siblings, TypeId } from '../crdt/cell.ts'
import type { OriginId } from '../crdt/dot.ts'
import type { Cells } from '../crdt/type.ts'
import { intact } from './damage.ts'
import type { Names } from './names.ts'
import { KeyWriter, Views, table } from './row-keys.ts'
import { digest, leafOf } from './tree.ts'

/** What an entry needs to know of the space around it. */
export interface EntryHome {
  readonly number: number
  readonly rows: RowReader
  readonly origins: Names<OriginId>
  readonly agents: Names<string>
  forget(key: string): void
  /** The entry has read more of itself. */
  weigh(entry: StoredEntry): void
}

/** Values that stay are copied into slabs: one that outlives its neighbours keeps no more than this alive. A guess. */
const slabBytes = 2048
let slab = new Uint8Array(slabBytes)
let slabAt = 0

function settled(value: Uint8Array): Uint8Array {
  const { length } = value
  if (length > slabBytes / 4) return value.slice()
  if (slabAt + length > slabBytes) {
    slab = new Uint8Array(slabBytes)
    slabAt = 0
  }
  slab.set(value, slabAt)
  slabAt += length
  return slab.subarray(slabAt - length, slabAt)
}

/** A sibling that remembers its digest: the write that supersedes it will need it again. */
export class StoredSibling implements Sibling {
  readonly origin: OriginId
  readonly seq: number
  readonly time: number
  readonly agent: string
  value: Uint8Array
  readonly expires: number
  /** The value is a view into a delta or an arena, and keeps it alive until the first flush. */
  unsettled = false
  #hashed = false
  #h1 = 0
  #h2 = 0
  #h3 = 0
  #h4 = 0

  constructor(origin: OriginId, seq: number, time: number, agent: string, value: Uint8Array, expires: number) {
    this.origin = origin
    this.seq = seq
    this.time = time
    this.agent = agent
    this.value = value
    this.expires = expires
  }

  settle(): void {
    this.unsettled = false
    this.value = settled(this.value)
  }

  /** Leaves the digest in `lanes`. */
  digest(key: string, type: TypeId, path: Path): void {
    if (this.#hashed) {
      lanes[0] = this.#h1
      lanes[1] = this.#h2
      lanes[2] = this.#h3
      lanes[3] = this.#h4
      return
    }
    digest(key, type, path, this)
    this.#h1 = (lanes[0] as number) | 0
    this.#h2 = (lanes[1] as number) | 0
    this.#h3 = (lanes[2] as number) | 0
    this.#h4 = (lanes[3] as number) | 0
    this.#hashed = true
  }
}

/** Cells in the order of their names, in two arrays: most entries have a handful, a chunk some hundred at most. */
class CellTable {
  names: string[] = []
  siblings: Siblings[] = []

  /** Where a name stands, or -1 - where it would. */
  find(name: string): number {
    const { names } = this
    let low = 0
    let high = names.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const at = names[middle] as string
      if (at === name) return middle
      if (at < name) low = middle + 1
      else high = middle - 1
    }
    return -1 - low
  }

  /** Where the first name from this one on stands. */
  from(name: string): number {
    const at = this.find(name)
    return at < 0 ? -1 - at : at
  }

  get(name: string): Siblings | undefined {
    const at = this.find(name)
    return at < 0 ? undefined : this.siblings[at]
  }

  /** True when the cell is new. */
  set(name: string, siblings: Siblings): boolean {
    const at = this.find(name)
    if (at >= 0) {
      this.siblings[at] = siblings
      return false
    }
    if (-1 - at === this.names.length) {
      this.names = appended(this.names, name)
      this.siblings = appended(this.siblings, siblings)
    } else {
      this.names.splice(-1 - at, 0, name)
      this.siblings.splice(-1 - at, 0, siblings)
    }
    return true
  }

  /** True when there was one. */
  delete(name: string): boolean {
    const at = this.find(name)
    if (at < 0) return false
    this.names.splice(at, 1)
    this.siblings.splice(at, 1)
    return true
  }
}

interface Chunk {
  /** 0 for cells that stand in the entry's own row. */
  id: number
  /** Cells from this one on, up to the next chunk's first. */
  first: string
  count: number
  /** Undefined until somebody asks. */
  cells: CellTable | undefined
  dirty: boolean
  /** It lost a cell since it was last written. */
  shrunk: boolean
}

const keys = new KeyWriter()
const row = new Writer()
const views = new Views()

const noTypes: readonly TypeId[] = []
/** Up to so many cells are listed at once: a generator costs more than they do. */
const fewCells = 16

const onlyType: TypeId[][] = []

/** One shared list for each type: nearly every entry has just one. */
function only(type: TypeId): readonly TypeId[] {
  return (onlyType[type] ??= [type])
}

/** Counts every change of every entry, so that no two states of one share a number. */
let versions = 0

export class StoredEntry implements Entry {
  readonly key: string
  readonly leaf: number
  /** The batch that will carry its last change; it may leave the cache once that is stored. */
  dirtyIn = 0
  /** Set when it is used again, cleared when the cache passes by. */
  used = false
  /** Which of the cache's rings it is in: the large one, or the one where entries start. */
  kept = false
  version: number = ++versions
  /** What the cache has counted it for. */
  weighed = 0
  /** The ring of the cache. */
  next: StoredEntry = this
  previous: StoredEntry = this
  readonly #home: EntryHome
  #chunks: Chunk[] = [{ id: 0, first: '', count: 0, cells: new CellTable(), dirty: false, shrunk: false }]
  #nextChunk = 1
  /** Bytes of the row as it was last read or written: the values in memory are views into them. */
  #rowBytes = 0
  #types: readonly TypeId[] = noTypes
  /** How many cells each of them has. */
  #typeCells: number[] = []
  #views: EntryCells | undefined

  constructor(home: EntryHome, key: string) {
    this.#home = home
    this.key = key
    this.leaf = leafOf(key)
  }

  get empty(): boolean {
    return this.#types.length === 0
  }

  /** A rough count of bytes held, for the cache: measured over a million entries of one cell, with what V8 adds. */
  get weight(): number {
    let weight = 1000 + this.#rowBytes
    for (const { cells, count } of this.#chunks) weight += cells === undefined ? 100 : 300 * count
    return weight
  }

  /** The cache lets it go. */
  forget(): void {
    this.#home.forget(this.key)
  }

  types(): readonly TypeId[] {
    return this.#types
  }

  cells(type: TypeId): Cells {
    for (let view = this.#views; view !== undefined; view = view.next) if (view.type === type) return view
    return (this.#views = new EntryCells(this, type, this.#views))
  }

  at(name: string): Siblings {
    return this.#load(this.#find(name)).get(name) ?? noSiblings
  }

  /** Every cell of a type in order, from a name on. */
  all(type: TypeId, from: string): Iterable<readonly [string, Siblings]> {
    const first = this.#chunks[0] as Chunk
    return this.#chunks.length === 1 && first.count <= fewCells
      ? this.#listOf(type, from, first)
      : this.#eachOf(type, from)
  }

  #listOf(type: TypeId, from: string, chunk: Chunk): (readonly [string, Siblings])[] {
    const cells = this.#load(chunk)
    const { names, siblings } = cells
    let found: (readonly [string, Siblings])[] = []
    for (let i = cells.from(from); i < names.length; i++) {
      const name = names[i] as string
      if (name.charCodeAt(0) === type) found = appended(found, [name.slice(1), siblings[i] as Siblings])
    }
    return found
  }

  *#eachOf(type: TypeId, from: string): Iterable<readonly [string, Siblings]> {
    const to = String.fromCharCode(type + 1)
    for (const [at, chunk] of this.#chunks.entries()) {
      const next = this.#chunks[at + 1]
      if (chunk.first >= to || (next !== undefined && next.first <= from)) continue
      const cells = this.#load(chunk)
      const { names, siblings } = cells
      for (let i = cells.from(from); i < names.length; i++) {
        const name = names[i] as string
        if (name.charCodeAt(0) === type) yield [name.slice(1), siblings[i] as Siblings]
      }
    }
  }

  /** Puts a cell's siblings in the place of what was there. The caller keeps the tree. */
  set(name: string, siblings: Siblings): void {
    const chunk = this.#find(name)
    const cells = this.#load(chunk)
    chunk.dirty = true
    this.version = ++versions
    if (siblings.length > 0) {
      if (cells.set(name, siblings)) this.#count(chunk, name.charCodeAt(0), 1)
    } else if (cells.delete(name)) {
      chunk.shrunk = true
      this.#count(chunk, name.charCodeAt(0), -1)
    }
  }

  /** Every live cell, by name: for a clear. */
  names(): string[] {
    return this.#chunks.flatMap((chunk) => [...this.#load(chunk).names])
  }

  #count(chunk: Chunk, type: TypeId, by: 1 | -1): void {
    chunk.count += by
    const at = this.#types.indexOf(type)
    if (at < 0) {
      assert(by === 1, 'a cell that goes was counted')
      if (this.#types.length === 0) {
        this.#types = only(type)
        this.#typeCells = [1]
        return
      }
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
    const chunks = this.#chunks
    if (chunks.length === 1) return chunks[0] as Chunk
    let low = 0
    let high = chunks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((chunks[middle] as Chunk).first <= name) low = middle
      else high = middle - 1
    }
    return chunks[low] as Chunk
  }

  #load(chunk: Chunk): CellTable {
    if (chunk.cells !== undefined) return chunk.cells
    const bytes = this.#home.rows.get(this.#chunkKey(chunk.id))
    intact(bytes !== undefined, 'a chunk in a directory has no row')
    chunk.cells = new CellTable()
    this.#readCells(bytes, chunk.cells)
    intact(chunk.cells.names.length === chunk.count, 'a chunk does not hold what its directory counts')
    this.#rowBytes += bytes.length
    this.#home.weigh(this)
    return chunk.cells
  }

  #chunkKey(id: number): Uint8Array {
    const length = new TextEncoder().encode(this.key).length
    return keys.start(table.chunk).short(this.#home.number).ordered(length).text(this.key).ordered(id).bytes
  }

  #rowKey(): Uint8Array {
    return keys.start(table.entry).short(this.#home.number).text(this.key).bytes
  }

  /** Reads the entry's row, if there is one. */
  read(): void {
    const bytes = this.#home.rows.get(this.#rowKey())
    if (bytes !== undefined) this.decode(bytes)
  }

  decode(bytes: Uint8Array): void {
    this.#rowBytes = bytes.length
    if (bytes[0] !== 0xc0) {
      const [chunk] = this.#chunks as [Chunk]
      const cells = chunk.cells as CellTable
      this.#readCells(bytes, cells)
      for (const name of cells.names) this.#count(chunk, name.charCodeAt(0), 1)
      return
    }
    const reader = new Reader(bytes, 1)
    this.#nextChunk = reader.uint()
    const types: TypeId[] = []
    for (let left = reader.array(); left > 0; left -= 2) {
      types.push(reader.uint())
      this.#typeCells.push(reader.uint())
    }
    this.#types = types
    this.#chunks = []
    for (let left = reader.array(); left > 0; left -= 3) {
      const first = binaryString(reader.bin())
      this.#chunks.push({
        first,
        id: reader.uint(),
        count: reader.uint(),
        cells: undefined,
        dirty: false,
        shrunk: false,
      })
    }
  }

  #readCells(bytes: Uint8Array, into: CellTable): void {
    const { origins, agents } = this.#home
    const reader = new Reader(bytes)
    while (!reader.done) {
      const type = reader.uint(255)
      const end = skipValue(bytes, reader.at)
      const name = cellKey(type, binaryString(bytes, reader.at, end))
      reader.at = end
      const siblings: StoredSibling[] = []
      // The count, negative when expiries follow: they are rare, and a byte a sibling is not.
      const count = reader.number()
      for (let left = Math.abs(count); left > 0; left--) {
        const origin = origins.nameOf(reader.uint())
        const seq = reader.uint()
        const time = reader.uint()
        const agent = agents.nameOf(reader.uint())
        const expires = count < 0 ? reader.uint() : 0
        const valueEnd = skipValue(bytes, reader.at)
        const value = bytes.subarray(reader.at, valueEnd)
        reader.at = valueEnd
        siblings.push(new StoredSibling(origin, seq, time, agent, value, expires))
      }
      into.set(name, siblings)
    }
  }

  #writeCell(name: string, siblings: Siblings): void {
    const { origins, agents } = this.#home
    row.number(name.charCodeAt(0))
    row.rawBinary(name.slice(1))
    let expiring = false
    for (const sibling of siblings) expiring ||= sibling.expires !== 0
    row.number(expiring ? -siblings.length : siblings.length)
    for (const sibling of siblings as readonly StoredSibling[]) {
      row.number(origins.numberOf(sibling.origin))
      row.number(sibling.seq)
      row.number(sibling.time)
      row.number(agents.numberOf(sibling.agent))
      if (expiring) row.number(sibling.expires)
      row.raw(sibling.value)
      if (sibling.unsettled) sibling.settle()
    }
  }

  /** Joins chunks that shrank below a quarter of their size with a neighbour. */
  #merge(sink: RowSink): void {
    for (let at = 0; at < this.#chunks.length && this.#chunks.length > 1; at++) {
      const chunk = this.#chunks[at] as Chunk
      if (!chunk.shrunk) continue
      chunk.shrunk = false
      const { names, siblings } = this.#load(chunk)
      row.rewind()
      row.begin()
      for (let i = 0; i < names.length && row.at < limits.chunkBytes / 4; i++) {
        this.#writeCell(names[i] as string, siblings[i] as Siblings)
      }
      if (row.at >= limits.chunkBytes / 4) continue
      const into = this.#chunks[at === 0 ? 1 : at - 1] as Chunk
      const cells = this.#load(into)
      for (let i = 0; i < names.length; i++) cells.set(names[i] as string, siblings[i] as Siblings)
      into.count += chunk.count
      into.dirty = true
      into.shrunk = true
      if (at === 0) into.first = ''
      sink.del(this.#chunkKey(chunk.id))
      this.#chunks.splice(at, 1)
      // What was joined may still be small: look at it again, unless it was passed already and stays.
      at = Math.max(at - 2, -1)
    }
  }

  /** Writes the rows that changed since the last flush. */
  flush(sink: RowSink): void {
    if (this.#chunks.length > 1) this.#merge(sink)
    if (this.#chunks.length === 1) {
      const [chunk] = this.#chunks as [Chunk]
      const { names, siblings } = this.#load(chunk)
      row.rewind()
      row.begin()
      for (let i = 0; i < names.length; i++) this.#writeCell(names[i] as string, siblings[i] as Siblings)
      if (names.length <= 1 || row.at <= limits.chunkBytes) {
        if (chunk.id !== 0) sink.del(this.#chunkKey(chunk.id))
        chunk.id = 0
        chunk.first = ''
        chunk.dirty = false
        this.#rowBytes = row.at
        if (names.length === 0) sink.del(this.#rowKey())
        else sink.put(this.#rowKey(), views.first(row.bytes, row.at))
        return
      }
    }
    const chunks: Chunk[] = []
    for (const chunk of this.#chunks) {
      if (!chunk.dirty && chunk.id !== 0) chunks.push(chunk)
      else this.#flushChunk(chunk, chunks, sink)
    }
    this.#chunks =
      chunks.length > 0 ? chunks : [{ id: 0, first: '', count: 0, cells: new CellTable(), dirty: false, shrunk: false }]
    const [first] = this.#chunks as [Chunk]
    first.first = ''
    // What shrank to one chunk goes back into its row.
    if (this.#chunks.length === 1) this.flush(sink)
    else this.#flushDirectory(sink)
  }

  #flushChunk(chunk: Chunk, into: Chunk[], sink: RowSink): void {
    const cells = this.#load(chunk)
    let piece: Chunk = {
      id: chunk.id,
      first: chunk.first,
      count: 0,
      cells: new CellTable(),
      dirty: false,
      shrunk: false,
    }
    row.rewind()
    row.begin()
    const close = (): void => {
      if (piece.count === 0) {
        if (piece.id !== 0) sink.del(this.#chunkKey(piece.id))
        return
      }
      if (piece.id === 0) piece.id = this.#nextChunk++
      sink.put(this.#chunkKey(piece.id), row.bytes.subarray(0, row.at))
      into.push(piece)
    }
    for (const [at, name] of cells.names.entries()) {
      const before = row.at
      const siblings = cells.siblings[at] as Siblings
      this.#writeCell(name, siblings)
      if (piece.count > 0 && row.at > limits.chunkBytes) {
        row.at = before
        close()
        piece = { id: 0, first: name, count: 0, cells: new CellTable(), dirty: false, shrunk: false }
        row.rewind()
        row.begin()
        this.#writeCell(name, siblings)
      }
      ;(piece.cells as CellTable).set(name, siblings)
      piece.count++
    }
    close()
  }

  #flushDirectory(sink: RowSink): void {
    row.rewind()
    row.begin()
    row.nil()
    row.number(this.#nextChunk)
    row.array(2 * this.#types.length)
    for (const [at, type] of this.#types.entries()) {
      row.number(type)
      row.number(this.#typeCells[at] as number)
    }
    row.array(3 * this.#chunks.length)
    for (const { first, id, count } of this.#chunks) {
      row.bin(Uint8Array.from(first, (unit) => unit.charCodeAt(0)))
      row.number(id)
      row.number(count)
    }
    sink.put(this.#rowKey(), views.first(row.bytes, row.at))
  }
}

class EntryCells implements Cells {
  #memo: { value: unknown } | undefined = undefined
  readonly type: TypeId
  readonly next: EntryCells | undefined
  readonly #entry: StoredEntry
  readonly #prefix: string

  constructor(entry: StoredEntry, type: TypeId, next: EntryCells | undefined) {
    this.#entry = entry
    this.type = type
    this.next = next
    this.#prefix = String.fromCharCode(type)
  }

  get key(): string {
    return this.#entry.key
  }

  get memo(): { value: unknown } {
    return (this.#memo ??= { value: undefined })
  }

  get(path: Path): Siblings {
    return this.#entry.at(this.#prefix + path)
  }

  get version(): number {
    return this.#entry.version
  }

  all(from: Path = ''): Iterable<readonly [Path, Siblings]> {
    return this.#entry.all(this.type, this.#prefix + from)
  }

  get empty(): boolean {
    return !this.#entry.types().includes(this.type)
  }
}
