/**
 * Taking over a snapshot of another replica: its vector W and its cells in some buckets of the tree. The merge uses both
 * vectors (see mergeCell), so what either has seen and no longer holds is gone, and it becomes visible together with the
 * vector reaching W: in one batch where it is small, else by one sealed record.
 *
 * After the seal the cells of W still stand in staged rows. An entry takes up its part when somebody first asks for it,
 * and `fold` walks over the rest, in the order of keys, a step at a time. Which entries have taken up theirs is known by
 * the cursor of that walk, and beyond it by a mark in the same batch as the entry's row. An entry without a staged part
 * needs no mark: what W covers is lost to it once, and what it gets later W does not cover.
 *
 * The tree follows the entries, so until the walk is over the root is that of no vector: the space is catching up.
 */
import { compareUtf8, equalBytes } from '../base/bytes.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import type { RowReader, RowSink } from '../base/rows.ts'
import { cellKey } from '../crdt/change.ts'
import { compareSiblings, mergeCell, sameDot } from '../crdt/cell.ts'
import type { Sibling, Siblings } from '../crdt/cell.ts'
import { covers, readOrigin, writeOrigin } from '../crdt/dot.ts'
import type { ReadonlyVector, Vector } from '../crdt/dot.ts'
import { decodeSnapshot } from '../crdt/state.ts'
import { intact } from './damage.ts'
import type { StoredEntry } from './entry.ts'
import type { Stand } from './log.ts'
import { KeyWriter, table } from './row-keys.ts'
import { leafCount, leafOf } from './tree.ts'
import type { Sum } from './tree.ts'

/** Cells of one entry, by type and path. */
export type CellsOfEntry = ReadonlyMap<string, Siblings>

/** What becomes of a cell of ours that meets theirs. */
export interface MergeRule {
  (mine: Siblings, theirs: Siblings, key: string, name: string): Siblings
  /** Of a join: what the two had seen. */
  readonly joins?: { readonly ownVector: ReadonlyVector; readonly theirVector: ReadonlyVector }
}

/** Which parts of a tree differ: a bit for each of so many neighbouring leaves; no bits for all of it. */
export class Buckets {
  readonly bits: Uint8Array

  constructor(bits: Uint8Array) {
    this.bits = bits
  }

  get width(): number {
    return 8 * this.bits.length
  }

  /** How many leaves are in them. */
  get count(): number {
    if (this.bits.length === 0) return leafCount
    let count = 0
    for (let bucket = 0; bucket < this.width; bucket++) {
      if (((this.bits[bucket >> 3] as number) & (1 << (bucket & 7))) !== 0) count++
    }
    return count * (leafCount / this.width)
  }

  has(leaf: number): boolean {
    if (this.bits.length === 0) return true
    const bucket = Math.floor((leaf * this.width) / leafCount)
    return ((this.bits[bucket >> 3] as number) & (1 << (bucket & 7))) !== 0
  }
}

/** A space at one moment: all that must be known of it to take it over. */
export interface Moment {
  readonly stands: readonly Stand[]
  readonly vector: ReadonlyVector
  readonly context: Uint8Array
  readonly root: Sum
}

/** The moment of the next batch that is stored, for whoever wants to read the rows as of then. */
export interface Imprint {
  moment: Moment | undefined
  isStored: boolean
}

/** What a space lends to its adoption. */
export interface AdoptionHome {
  readonly number: number
  readonly rows: RowReader
  entry(key: string): StoredEntry
  readonly tree: { readonly root: Sum }
  mergeEntry(entry: StoredEntry, theirs: CellsOfEntry, merge: MergeRule): boolean
  /** Something waits to be written. */
  touch(): void
}

const keys = new KeyWriter()
const row = new Writer()

const part = { record: 0, progress: 1, staging: 2 } as const

function adoptionKey(space: number, which: number): Uint8Array {
  return keys.start(table.adoption).short(space).ordered(which).bytes
}

export function chunkKey(space: number, number: number): Uint8Array {
  return keys.start(table.staged).short(space).ordered(0).ordered(number).bytes
}

function markKey(space: number, key: string): Uint8Array {
  return keys.start(table.staged).short(space).ordered(1).text(key).bytes
}

/** Adds the cells of a chunk to what was gathered by key and cell. Throws `malformed`. */
export function gather(bytes: Uint8Array, into: Map<string, Map<string, Sibling[]>>, only?: string): void {
  decodeSnapshot(bytes, new Map(), (key, type, path, sibling) => {
    if (only !== undefined && key !== only) return
    let cells = into.get(key)
    if (cells === undefined) into.set(key, (cells = new Map<string, Sibling[]>()))
    const name = cellKey(type, path)
    const siblings = cells.get(name)
    if (siblings === undefined) cells.set(name, [sibling])
    else siblings.push(sibling)
  })
}

/** The join of two replicas of a space, for one cell. */
export function joining(mine: ReadonlyVector, theirs: ReadonlyVector): MergeRule {
  const join = (ours: Siblings, others: Siblings): Siblings => mergeCell(ours, mine, others, theirs)
  return Object.assign(join, { joins: { ownVector: mine, theirVector: theirs } })
}

/**
 * What a replica whose own cells are wrong takes from a sound one: all that this one holds at W, but for what was
 * superseded since (`isGone`), and of its own what W does not cover.
 */
export function replacing(
  theirVector: ReadonlyVector,
  isGone: (key: string, name: string, sibling: Sibling) => boolean,
): MergeRule {
  return (mine, theirs, key, name) => {
    const kept = mine.filter((sibling) => !covers(theirVector, sibling))
    for (const sibling of theirs) {
      if (isGone(key, name, sibling)) continue
      kept.push(mine.find((own) => isSame(own, sibling)) ?? sibling)
    }
    return kept.sort(compareSiblings)
  }
}

function isSame(a: Sibling, b: Sibling): boolean {
  return (
    sameDot(a, b) && a.time === b.time && a.agent === b.agent && a.expires === b.expires && equalBytes(a.value, b.value)
  )
}

export const noCells: CellsOfEntry = new Map()

export interface Seal {
  /** The own vector at the seal. */
  readonly mine: ReadonlyVector
  readonly theirs: ReadonlyVector
  readonly buckets: Buckets
  /** The last key of each staged chunk. */
  readonly lastKeys: readonly string[]
  /** What folding must add to the root in all, where that is known. */
  readonly owed: Sum | undefined
  /** The own cells were found wrong: theirs replace them. */
  readonly replaces: boolean
}

/** A sealed snapshot on its way into the entries. */
export class Adoption {
  readonly #home: AdoptionHome
  readonly #seal: Seal
  readonly #merge: MergeRule
  #owed: Sum | undefined
  /** Everything up to this key is folded. Keys are not empty. */
  #cursor = ''
  /** Chunks before this one are folded and gone. */
  #firstChunk = 0
  /** Chunks before this one have left the disk, or are in the batch that is under way. */
  #dropped = 0
  #isNew: boolean
  #moved = false
  /** Keys that took up their part since the last flush, ahead of the cursor. */
  readonly #marks = new Set<string>()
  readonly #unmarks = new Set<string>()
  #walking = false
  /** The chunk that was decoded last: neighbours are asked for one after the other. */
  #decoded: { readonly number: number; readonly entries: Map<string, Map<string, Sibling[]>> } | undefined
  /** The keys of the chunk that the walk is in. */
  #walk: { readonly number: number; readonly keys: readonly string[]; at: number } | undefined
  /** Local keys in order, as a scan brings them. */
  #local: string[] = []
  #localDone = false

  constructor(home: AdoptionHome, seal: Seal, isNew: boolean) {
    this.#home = home
    this.#seal = seal
    this.#isNew = isNew
    this.#owed = seal.owed?.slice()
    this.#merge = seal.replaces ? replacing(seal.theirs, () => false) : joining(seal.mine, seal.theirs)
  }

  /** Whether an entry has still to take up its part, and if so it does. */
  take(entry: StoredEntry): void {
    if (this.#isFolded(entry)) {
      entry.adoption = this
      return
    }
    const theirs = this.#staged(entry.key)
    const { root } = this.#home.tree
    const before = root.slice()
    const changed = this.#home.mergeEntry(entry, theirs, this.#merge)
    // Only now: where rows were damaged, it has taken up nothing.
    entry.adoption = this
    // A join that changed nothing may be done again; a replacement would bring back what was superseded since.
    if (!changed && !(this.#seal.replaces && theirs.size > 0)) return
    if (this.#owed !== undefined) {
      for (let i = 0; i < before.length; i++) {
        this.#owed[i] = (this.#owed[i] as number) - ((root[i] as number) - (before[i] as number))
      }
    }
    this.#moved = true
    if (theirs.size > 0 && !this.#walking) this.#marks.add(entry.key)
    this.#home.touch()
  }

  #isFolded({ key, leaf }: StoredEntry): boolean {
    if (compareUtf8(key, this.#cursor) <= 0 || !this.#seal.buckets.has(leaf) || this.#marks.has(key)) return true
    return this.#home.rows.get(markKey(this.#home.number, key)) !== undefined
  }

  /** The staged cells of a key, which may stand in several chunks. */
  #staged(key: string): CellsOfEntry {
    const { lastKeys } = this.#seal
    let low = this.#firstChunk
    let high = lastKeys.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (compareUtf8(lastKeys[middle] as string, key) < 0) low = middle + 1
      else high = middle
    }
    let found: Map<string, Sibling[]> | undefined
    for (; low < lastKeys.length; low++) {
      const cells = this.#chunk(low).get(key)
      if (cells === undefined) break
      if (found === undefined) found = cells
      else {
        found = new Map(found)
        for (const [name, siblings] of cells) found.set(name, [...(found.get(name) ?? []), ...siblings])
      }
      if (lastKeys[low] !== key) break
    }
    return found ?? noCells
  }

  #chunk(number: number): Map<string, Map<string, Sibling[]>> {
    if (this.#decoded?.number === number) return this.#decoded.entries
    const bytes = this.#home.rows.get(chunkKey(this.#home.number, number))
    intact(bytes !== undefined, 'a staged chunk has no row')
    const entries = new Map<string, Map<string, Sibling[]>>()
    gather(bytes, entries)
    this.#decoded = { number, entries }
    return entries
  }

  /** Local keys are wanted before the walk can go on: those of a scan of the entry rows, in order. */
  get wantsKeys(): boolean {
    return this.#local.length === 0 && !this.#localDone
  }

  feed(localKeys: readonly string[], done: boolean): void {
    for (const key of localKeys) {
      if (compareUtf8(key, this.#cursor) > 0 && this.#seal.buckets.has(leafOf(key))) this.#local.push(key)
    }
    this.#localDone ||= done
  }

  /** Folds up to so many entries. True when all of it is done. */
  fold(most: number): boolean {
    const { lastKeys } = this.#seal
    let localAt = 0
    for (let left = most; left > 0; left--) {
      if (localAt === this.#local.length && !this.#localDone) break
      const local = this.#local[localAt]
      const staged = this.#nextStaged()
      if (local === undefined && staged === undefined) break
      const isStagedFirst = staged !== undefined && (local === undefined || compareUtf8(staged, local) < 0)
      const key = isStagedFirst ? staged : (local as string)
      if (!isStagedFirst) localAt++
      this.#walking = true
      try {
        this.#home.entry(key)
      } finally {
        this.#walking = false
      }
      if (!this.#marks.delete(key)) this.#unmarks.add(key)
      this.#cursor = key
      this.#moved = true
      while (this.#firstChunk < lastKeys.length && compareUtf8(lastKeys[this.#firstChunk] as string, key) <= 0) {
        this.#firstChunk++
      }
    }
    this.#local.splice(0, localAt)
    if (this.#moved) this.#home.touch()
    return this.#localDone && this.#local.length === 0 && this.#firstChunk >= lastKeys.length
  }

  #nextStaged(): string | undefined {
    for (let number = this.#firstChunk; number < this.#seal.lastKeys.length; number++) {
      if (this.#walk?.number !== number) this.#walk = { number, keys: [...this.#chunk(number).keys()], at: 0 }
      const { keys: inChunk } = this.#walk
      for (; this.#walk.at < inChunk.length; this.#walk.at++) {
        const key = inChunk[this.#walk.at] as string
        if (compareUtf8(key, this.#cursor) > 0) return key
      }
    }
    return undefined
  }

  /** What folding has not brought that it must; 0 where all is well or nothing was promised. */
  get isShort(): boolean {
    return this.#owed?.some((lane) => lane !== 0) === true
  }

  flush(sink: RowSink): void {
    const { number } = this.#home
    if (this.#isNew) {
      sink.put(adoptionKey(number, part.record), this.#encode())
      sink.del(adoptionKey(number, part.staging))
    }
    if (!this.#moved && !this.#isNew) return
    this.#isNew = false
    this.#moved = false
    for (const key of this.#marks) sink.put(markKey(number, key), new Uint8Array(0))
    this.#marks.clear()
    for (const key of this.#unmarks) {
      if (this.#home.rows.get(markKey(number, key)) !== undefined) sink.del(markKey(number, key))
    }
    this.#unmarks.clear()
    for (; this.#dropped < this.#firstChunk; this.#dropped++) sink.del(chunkKey(number, this.#dropped))
    row.rewind()
    row.begin()
    row.string(this.#cursor)
    row.number(this.#firstChunk)
    row.array(this.#owed?.length ?? 0)
    for (const lane of this.#owed ?? []) row.number(lane)
    sink.put(adoptionKey(number, part.progress), row.bytes.subarray(0, row.at))
  }

  /** All is folded: its last rows go. */
  finish(sink: RowSink): void {
    this.flush(sink)
    sink.del(adoptionKey(this.#home.number, part.record))
    sink.del(adoptionKey(this.#home.number, part.progress))
  }

  #encode(): Uint8Array {
    const { mine, theirs, buckets, lastKeys, replaces } = this.#seal
    row.rewind()
    row.begin()
    for (const vector of [mine, theirs]) {
      row.array(2 * vector.size)
      for (const [origin, seq] of vector) {
        writeOrigin(row, origin)
        row.number(seq)
      }
    }
    row.bin(buckets.bits)
    row.number(replaces ? 1 : 0)
    row.array(lastKeys.length)
    for (const key of lastKeys) row.string(key)
    return row.bytes.subarray(0, row.at)
  }

  /** For opening: the record comes first, then how far it had come. */
  static load(home: AdoptionHome, bytes: Uint8Array): Adoption {
    const reader = new Reader(bytes)
    const readVector = (): Vector => {
      const vector: Vector = new Map()
      for (let left = reader.array(); left > 0; left -= 2) vector.set(readOrigin(reader), reader.uint())
      return vector
    }
    const mine = readVector()
    const theirs = readVector()
    const buckets = new Buckets(reader.bin().slice())
    const replaces = reader.uint() === 1
    const lastKeys: string[] = []
    for (let left = reader.array(); left > 0; left--) lastKeys.push(reader.string())
    reader.finish()
    return new Adoption(home, { mine, theirs, buckets, lastKeys, owed: undefined, replaces }, false)
  }

  resume(bytes: Uint8Array): void {
    const reader = new Reader(bytes)
    this.#cursor = reader.string()
    this.#firstChunk = this.#dropped = reader.uint()
    const lanes = reader.array()
    if (lanes > 0) this.#owed = Uint32Array.from({ length: lanes }, () => reader.uint())
  }
}

/**
 * Chunks on their way to a seal: rows that nothing leads to. The first row says how many there may be, so that an
 * opening that finds no seal can remove them.
 */
export class Staging {
  readonly #space: number
  readonly #waiting: Uint8Array[] = []
  /** Chunks that were given out to batches. */
  #flushed = 0
  /** Chunks that are in the store. */
  storedCount = 0
  #announced = 0
  #abandoned = false

  constructor(space: number, announced: number = 0) {
    this.#space = space
    this.#announced = announced
  }

  add(cells: Uint8Array): void {
    this.#waiting.push(cells)
  }

  get count(): number {
    return this.#flushed + this.#waiting.length
  }

  stored(): void {
    this.storedCount = this.#flushed
  }

  abandon(): void {
    this.#abandoned = true
    this.#waiting.length = 0
  }

  /** True when it has nothing more to say. */
  flush(sink: RowSink): boolean {
    if (this.#abandoned) {
      for (let number = 0; number < this.#announced; number++) sink.del(chunkKey(this.#space, number))
      sink.del(adoptionKey(this.#space, part.staging))
      return true
    }
    if (this.count > this.#announced) {
      // In steps: the row is small and is written rarely.
      this.#announced = this.count + 256
      row.rewind()
      row.begin()
      row.number(this.#announced)
      sink.put(adoptionKey(this.#space, part.staging), row.bytes.subarray(0, row.at))
    }
    for (const cells of this.#waiting) sink.put(chunkKey(this.#space, this.#flushed++), cells)
    this.#waiting.length = 0
    return false
  }

  static load(space: number, bytes: Uint8Array): Staging {
    return new Staging(space, new Reader(bytes).uint())
  }
}

/** Which part of an adoption a row of that table holds. */
export function adoptionPart(key: Uint8Array): keyof typeof part {
  const which = key.at(-1)
  return which === part.record ? 'record' : which === part.progress ? 'progress' : 'staging'
}
