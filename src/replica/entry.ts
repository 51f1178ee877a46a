/**
 * An entry as the replica holds it: its live cells in memory, and how they stand in rows. They share one row up to
 * `limits.chunkBytes`; beyond that they stand in chunks.
 */
import { limits } from '../base/limits.ts'
import { Writer } from '../base/msgpack.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import type { Entry } from '../crdt/change.ts'
import { appended, cellKey, none } from '../crdt/change.ts'
import type { Path, Siblings, TypeId } from '../crdt/cell.ts'
import type { Cells } from '../crdt/type.ts'
import { Chunks } from './chunks.ts'
import { Memos } from './memos.ts'
import { KeyWriter, Views, table } from './row-keys.ts'
import { cellAt, cellEnd, cellOf, readCells, siblingWeight, withCell, writeCell } from './sibling.ts'
import type { Numbers, StoredSibling } from './sibling.ts'

/** What an entry needs to know of the space around it. */
export interface EntryHome extends Numbers {
  readonly number: number
  readonly rows: RowReader
  forget(entry: StoredEntry): void
  /** The entry has read more of itself. */
  weigh(entry: StoredEntry): void
}

const keys = new KeyWriter()
const row = new Writer()
const views = new Views()

const noTypes: readonly TypeId[] = []
const onlyType: TypeId[][] = []

/** One shared list for each type: nearly every entry has just one. */
function only(type: TypeId): readonly TypeId[] {
  return (onlyType[type] ??= [type])
}

function typesOf(siblings: readonly StoredSibling[]): readonly TypeId[] {
  const first = siblings[0]?.name.charCodeAt(0)
  if (first === undefined) return noTypes
  if (siblings.at(-1)?.name.charCodeAt(0) === first) return only(first)
  return [...new Set(siblings.map(({ name }) => name.charCodeAt(0)))]
}

/** Counts every change of every entry, so that no two states of one share a number. */
let versions = 0

/** The first byte of a row that is a directory of chunks: no cell starts so. */
const directory = 0xc0

export class StoredEntry implements Entry {
  // First what every access looks at: it stands in one line of the processor's cache.
  readonly key: string
  /** Of the key; see keyHash. */
  readonly hash: number
  nextInBucket: StoredEntry | undefined = undefined
  /** Its live siblings, without a list where there is but one, as mostly; none here where they stand in chunks. */
  #held: StoredSibling | StoredSibling[] = none
  /** Set when it is used again, cleared when the cache passes by. */
  used = false
  #chunks: Chunks | undefined = undefined
  #memos: Memos | undefined = undefined
  version: number = ++versions
  /** The batch that will carry its last change; it may leave the cache once that is stored. */
  dirtyIn = 0
  /** The adoption of which it has taken up its part; see adoption.ts. */
  adoption: object | undefined = undefined
  readonly #home: EntryHome
  /** Bytes of the row as it was last read or written: the siblings in memory keep them alive. */
  #rowBytes = 0
  /** What the cache has counted it for. */
  weighed = 0
  /** Which of the cache's rings it is in: the large one, or the one where entries start. */
  kept = false
  /** The ring of the cache. */
  next: StoredEntry = this
  previous: StoredEntry = this

  constructor(home: EntryHome, key: string, hash: number) {
    this.#home = home
    this.key = key
    this.hash = hash
  }

  get leaf(): number {
    return this.hash >>> 16
  }

  get empty(): boolean {
    return this.#chunks === undefined ? this.#count === 0 : this.#chunks.types.length === 0
  }

  /** It holds one sibling and no more. */
  get single(): boolean {
    return this.#chunks === undefined && !Array.isArray(this.#held)
  }

  /**
   * A rough count of bytes held, for the cache. Measured over 200,000 entries of one cell: 330 and the value where they
   * were written here; where they were read, each keeps a buffer of its own, some 350 more. The rest is V8's room to move.
   */
  get weight(): number {
    return 600 + this.#rowBytes + siblingWeight * this.#count + (this.#chunks?.weight ?? 0)
  }

  get #count(): number {
    return Array.isArray(this.#held) ? this.#held.length : 1
  }

  get #siblings(): StoredSibling[] {
    return Array.isArray(this.#held) ? this.#held : [this.#held]
  }

  #hold(siblings: StoredSibling[]): void {
    this.#held = siblings.length === 1 ? (siblings[0] as StoredSibling) : siblings
  }

  /** The cache lets it go. */
  forget(): void {
    this.#home.forget(this)
  }

  types(): readonly TypeId[] {
    if (this.#chunks !== undefined) return this.#chunks.types
    return Array.isArray(this.#held) ? typesOf(this.#held) : only(this.#held.name.charCodeAt(0))
  }

  cells(type: TypeId): Cells {
    return new EntryCells(this, type)
  }

  memo(type: TypeId): { value: unknown } {
    this.#memos ??= new Memos(this.version)
    return this.#memos.of(type)
  }

  changedSince(version: number): readonly string[] | undefined {
    return this.#memos?.since(version)
  }

  /** Makes sure that a cell is at hand: changing it will read nothing. */
  touch(name: string): void {
    this.#chunks?.at(name)
  }

  at(name: string): readonly StoredSibling[] {
    if (this.#chunks !== undefined) return this.#chunks.at(name)
    const held = this.#held
    if (Array.isArray(held)) return cellOf(held, name)
    return held.name === name ? [held] : none
  }

  /** Every cell of a type in order, from a name on. */
  all(type: TypeId, from: string): Iterable<readonly [Path, Siblings]> {
    if (this.#chunks !== undefined) return this.#chunks.all(type, from)
    const held = this.#held
    if (!Array.isArray(held)) {
      return held.name >= from && held.name.charCodeAt(0) === type ? [[held.name.slice(1), [held]]] : none
    }
    return this.#listOf(held, type, from)
  }

  #listOf(siblings: readonly StoredSibling[], type: TypeId, from: string): (readonly [Path, Siblings])[] {
    let found: (readonly [Path, Siblings])[] = none
    for (let start = cellAt(siblings, from), end = start; start < siblings.length; start = end) {
      end = cellEnd(siblings, start)
      const { name } = siblings[start] as StoredSibling
      if (name.charCodeAt(0) !== type) break
      found = appended(found, [name.slice(1), siblings.slice(start, end)])
    }
    return found
  }

  /** Puts a cell's siblings, in their order, in the place of what was there. The caller keeps the tree. */
  set(name: string, siblings: StoredSibling[]): void {
    this.version = ++versions
    this.#memos?.changed(this.version, name)
    if (this.#chunks === undefined) this.#hold(withCell(this.#siblings, name, siblings))
    else this.#chunks.set(name, siblings)
  }

  /** Every live sibling: for a clear. */
  siblings(): StoredSibling[] {
    return this.#chunks === undefined ? [...this.#siblings] : [...this.#chunks.siblings()]
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
    if (bytes[0] === directory) this.#chunks = Chunks.read(this.#home, this.key, () => this.#home.weigh(this), bytes)
    else this.#hold(readCells(bytes, this.#home))
  }

  /** Writes the rows that changed since the last flush. */
  flush(sink: RowSink): void {
    if (this.#chunks !== undefined) {
      const siblings = this.#chunks.flush(sink)
      if (siblings === undefined) return this.#flushDirectory(this.#chunks, sink)
      this.#chunks = undefined
      this.#hold(siblings)
    }
    const siblings = this.#siblings
    let cells = 0
    row.rewind()
    row.begin()
    for (let start = 0, end = 0; start < siblings.length; start = end, cells++) {
      end = cellEnd(siblings, start)
      writeCell(row, this.#home, siblings, start, end)
    }
    if (cells > 1 && row.at > limits.chunkBytes) {
      this.#chunks = Chunks.of(this.#home, this.key, () => this.#home.weigh(this), siblings)
      this.#held = none
      this.#chunks.flush(sink)
      return this.#flushDirectory(this.#chunks, sink)
    }
    this.#rowBytes = row.at
    if (cells === 0) sink.del(this.#rowKey())
    else sink.put(this.#rowKey(), views.first(row.bytes, row.at))
  }

  #flushDirectory(chunks: Chunks, sink: RowSink): void {
    row.rewind()
    row.begin()
    chunks.writeDirectory(row)
    sink.put(this.#rowKey(), views.first(row.bytes, row.at))
  }
}

/** An entry as one type sees it. */
class EntryCells implements Cells {
  readonly #entry: StoredEntry
  readonly #type: TypeId

  constructor(entry: StoredEntry, type: TypeId) {
    this.#entry = entry
    this.#type = type
  }

  get key(): string {
    return this.#entry.key
  }

  get memo(): { value: unknown } {
    return this.#entry.memo(this.#type)
  }

  get(path: Path): Siblings {
    return this.#entry.at(cellKey(this.#type, path))
  }

  get version(): number {
    return this.#entry.version
  }

  changedSince(version: number): readonly Path[] | undefined {
    const names = this.#entry.changedSince(version)
    return names?.filter((name) => name.charCodeAt(0) === this.#type).map((name) => name.slice(1))
  }

  all(from: Path = ''): Iterable<readonly [Path, Siblings]> {
    return this.#entry.all(this.#type, cellKey(this.#type, from))
  }

  get empty(): boolean {
    return !this.#entry.types().includes(this.#type)
  }
}
