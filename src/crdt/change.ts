/**
 * A change in the making: runs operations over entries and gathers what they want written into the parts of one
 * delta. Later operations see what earlier ones staged; nothing outside is touched until the delta is applied, so
 * throwing it away is all there is to a rollback.
 */
import { assert } from '../base/assert.ts'
import { equalBytes, interned } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { encodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import { hasDot, noSiblings, writeCell } from './cell.ts'
import type { Path, Siblings, TypeId } from './cell.ts'
import type { CellWrite, ClearEntry } from './delta.ts'
import type { Dot, OriginId } from './dot.ts'
import type { Cells, Change, CrdtType, Operation } from './type.ts'

/** An entry as it stands: its cells by type. The replica and the plain State both offer this. */
export interface Entry {
  readonly key: string
  cells(type: TypeId): Cells
  /** The types that have a live cell, lowest number first. */
  types(): readonly TypeId[]
}

export interface Stamp {
  readonly origin: OriginId
  readonly seq: number
  readonly time: number
  readonly nowMs: number
  readonly agent: string
  retired(origin: OriginId): boolean
}

/** What this change wants of one cell: a write of the delta as it stands. */
class Pending implements CellWrite {
  readonly name: string
  readonly key: string
  readonly type: TypeId
  readonly path: Path
  value: Uint8Array | undefined
  expires: number
  supersedes: readonly Dot[]
  /** What stood in the cell before this change, less what this change cleared. */
  base: Siblings
  /** The cell as later operations of this change see it; made when one looks. */
  siblings: Siblings | undefined = undefined

  constructor(
    name: string,
    key: string,
    type: TypeId,
    path: Path,
    value: Uint8Array | undefined,
    expires: number,
    supersedes: readonly Dot[],
    base: Siblings,
  ) {
    this.name = name
    this.key = key
    this.type = type
    this.path = path
    this.value = value
    this.expires = expires
    this.supersedes = supersedes
    this.base = base
  }
}

/** Shared: a list that grows by `appended` is never changed while it is empty. */
export const none: never[] = []

/** Items by name, in the order in which they came. Nearly every change holds one: a map is made only for many. */
class Few<Item extends { readonly name: string }> {
  items: Item[] = none
  #byName: Map<string, Item> | undefined = undefined

  get(name: string): Item | undefined {
    if (this.#byName !== undefined) return this.#byName.get(name)
    for (const item of this.items) if (item.name === name) return item
    return undefined
  }

  add(item: Item): void {
    this.items = appended(this.items, item)
    if (this.#byName !== undefined) this.#byName.set(item.name, item)
    else if (this.items.length > 8) this.#byName = new Map(this.items.map((each) => [each.name, each]))
  }

  clear(): void {
    this.items = none
    this.#byName = undefined
  }
}

/** The list with one item more. A literal takes room for one where `push` would take it for seventeen. */
export function appended<Item>(list: Item[], item: Item): Item[] {
  if (list.length === 0) return [item]
  list.push(item)
  return list
}

/** What this change has done to one entry so far. */
class Staged {
  readonly name: string
  readonly entry: Entry
  readonly pending: Few<Pending> = new Few()
  cleared: Map<TypeId, readonly Dot[]> | undefined = undefined
  readonly #stamp: Stamp

  constructor(entry: Entry, stamp: Stamp) {
    this.name = entry.key
    this.entry = entry
    this.#stamp = stamp
  }

  base(type: TypeId, path: Path): Siblings {
    return this.afterClears(type, this.entry.cells(type).get(path))
  }

  afterClears(type: TypeId, siblings: Siblings): Siblings {
    if (this.cleared === undefined || siblings.length === 0) return siblings
    const keep = this.cleared.get(type) ?? this.cleared.get(0)
    if (keep === undefined) return siblings
    return keep.length === 0 ? noSiblings : siblings.filter((sibling) => hasDot(keep, sibling))
  }

  /** A pending cell as later operations see it. */
  after(cell: Pending): Siblings {
    if (cell.siblings === undefined) {
      const { origin, seq, time, agent } = this.#stamp
      const { value, expires } = cell
      const written = value && { origin, seq, time, agent, value, expires }
      cell.siblings = writeCell(cell.base, cell.supersedes, written)
    }
    return cell.siblings
  }

  get(type: TypeId, path: Path): Siblings {
    const cell = this.pending.get(cellKey(type, path))
    return cell === undefined ? this.base(type, path) : this.after(cell)
  }

  get touched(): boolean {
    return this.pending.items.length > 0 || this.cleared !== undefined
  }

  types(): readonly TypeId[] {
    if (!this.touched) return this.entry.types()
    const candidates = new Set(this.entry.types())
    for (const cell of this.pending.items) candidates.add(cell.type)
    return [...candidates].filter((type) => !new StagedCells(this, type).empty).sort((a, b) => a - b)
  }
}

/** The cells of one type with what is staged laid over them. */
class StagedCells implements Cells {
  readonly #staged: Staged
  readonly #type: TypeId
  readonly #base: Cells

  constructor(staged: Staged, type: TypeId) {
    this.#staged = staged
    this.#type = type
    this.#base = staged.entry.cells(type)
  }

  get key(): string {
    return this.#staged.entry.key
  }

  get memo(): { value: unknown } {
    return this.#base.memo
  }

  get(path: Path): Siblings {
    return this.#staged.get(this.#type, path)
  }

  get version(): undefined {
    return undefined
  }

  *all(from: Path = ''): Iterable<readonly [Path, Siblings]> {
    const staged = this.#staged
    const added = staged.pending.items
      .filter((cell) => cell.type === this.#type && cell.path >= from)
      .sort((a, b) => (a.path < b.path ? -1 : 1))
    let next = 0
    for (const [path, siblings] of this.#base.all(from)) {
      let replaced = false
      for (; next < added.length && (added[next] as Pending).path <= path; next++) {
        const cell = added[next] as Pending
        const after = staged.after(cell)
        if (cell.path === path) replaced = true
        if (after.length > 0) yield [cell.path, after]
      }
      if (replaced) continue
      const kept = staged.afterClears(this.#type, siblings)
      if (kept.length > 0) yield [path, kept]
    }
    for (; next < added.length; next++) {
      const cell = added[next] as Pending
      const after = staged.after(cell)
      if (after.length > 0) yield [cell.path, after]
    }
  }

  get empty(): boolean {
    for (const _ of this.all()) return false
    return true
  }
}

export function cellKey(type: TypeId, path: Path): string {
  return interned.prefixed(type, path)
}

export class ChangeSet {
  readonly #stamp: Stamp
  readonly #staged = new Few<Staged>()
  #index = 0
  /** Counts what was staged. */
  #writes = 0
  /** Why this change cannot be finished, if an operation failed half way. */
  #spoiled: Error | undefined = undefined

  constructor(stamp: Stamp) {
    this.#stamp = stamp
  }

  nextIndex(): number {
    return this.#index++
  }

  /** Runs one operation; `ttlMs` above 0 makes what it writes expire. */
  run(entry: Entry, type: CrdtType, operation: Operation, args: Args, ttlMs: number = 0): Value | undefined {
    const staged = this.#stage(entry)
    const types = staged.types()
    if (types.length > 0 && !types.includes(type.id)) {
      throw new SkeinError('type_mismatch', `${entry.key} is alive with another type than ${type.name}`, {
        key: entry.key,
        type: type.name,
        live: types,
      })
    }
    if (ttlMs > 0 && type.expiring !== true) {
      throw new SkeinError('invalid_argument', `ttlMs: a ${type.name} does not expire`, { type: type.name })
    }
    const expires = ttlMs > 0 ? this.#stamp.nowMs + ttlMs : 0
    const before = this.#writes
    const change = new EntryChange(this, this.#stamp, staged, type.id, expires)
    try {
      return operation.run(this.#cells(staged, type.id), change, args)
    } catch (error) {
      // Half of an operation is staged: whoever catches this must not be able to commit it.
      if (this.#writes !== before) this.#spoiled = error instanceof Error ? error : new Error(String(error))
      throw error
    }
  }

  /** The value of an entry as this change would leave it. */
  cells(entry: Entry, type: CrdtType): Cells {
    return this.#cells(this.#stage(entry), type.id)
  }

  types(entry: Entry): readonly TypeId[] {
    return this.#stage(entry).types()
  }

  /** Deletes the entry, whatever its types; `typeOf` finds the hooks. */
  delete(entry: Entry, typeOf: (id: TypeId) => CrdtType | undefined): void {
    const staged = this.#stage(entry)
    const live = staged.types()
    if (live.length === 0) return
    const hooks: (readonly [CrdtType, Cells])[] = []
    for (const id of live) {
      const type = typeOf(id)
      if (type?.delete !== undefined) hooks.push([type, this.#cells(staged, id)])
    }
    if (hooks.length < live.length) {
      const kept = new Set(hooks.map(([type]) => type.id))
      if (kept.size === 0) {
        staged.pending.clear()
        staged.cleared = entry.types().length > 0 ? new Map([[0, []]]) : undefined
      } else {
        for (const id of live) if (!kept.has(id)) this.clear(staged, id, [])
      }
    }
    for (const [type, cells] of hooks) {
      type.delete?.(cells, new EntryChange(this, this.#stamp, staged, type.id, 0))
    }
  }

  /** Removes exactly this dot from a cell, if it is live. */
  expire(entry: Entry, name: string, dot: Dot): void {
    const staged = this.#stage(entry)
    const type = name.charCodeAt(0)
    const path = name.slice(1)
    const siblings = staged
      .get(type, path)
      .filter((sibling) => sibling.seq === dot.seq && sibling.origin === dot.origin)
    if (siblings.length > 0) this.put(staged, type, path, undefined, siblings, 0)
  }

  /** Supersedes these dots by name, whether they are here or not, and writes a value, or none, in their place. */
  repair(entry: Entry, name: string, disputed: Siblings, value: Uint8Array | undefined, expires: number): void {
    this.put(this.#stage(entry), name.charCodeAt(0), name.slice(1), value, disputed, expires)
  }

  /** Every entry that this change would alter, with the types that would be live in it. */
  *touched(): Iterable<{ readonly entry: Entry; readonly types: readonly TypeId[]; cells(type: TypeId): Cells }> {
    for (const staged of this.#staged.items) {
      if (!staged.touched) continue
      yield { entry: staged.entry, types: staged.types(), cells: (type) => this.#cells(staged, type) }
    }
  }

  /** What all of it comes to; empty when nothing changes. Drops what nets out to nothing. */
  finish(): { readonly clears: readonly ClearEntry[]; readonly writes: readonly CellWrite[] } {
    if (this.#spoiled !== undefined) throw this.#spoiled
    let clears: ClearEntry[] = none
    let writes: CellWrite[] = none
    for (const { entry, cleared, pending } of this.#staged.items) {
      if (cleared !== undefined) {
        for (const [type, keep] of cleared) clears = appended(clears, { key: entry.key, type, keep })
      }
      for (const cell of pending.items) {
        if (cell.value !== undefined || cell.supersedes.length > 0) writes = appended(writes, cell)
      }
    }
    if (writes.length > limits.deltaWrites) {
      throw new SkeinError('too_large', `one transaction may write ${limits.deltaWrites} cells`, {
        limit: limits.deltaWrites,
        writes: writes.length,
      })
    }
    return { clears, writes }
  }

  /** Forgets what types remembered of entries that this change touched: it will not be applied. */
  abandon(): void {
    for (const { entry, pending } of this.#staged.items) {
      for (const type of entry.types()) entry.cells(type).memo.value = undefined
      for (const { type } of pending.items) entry.cells(type).memo.value = undefined
    }
  }

  put(
    staged: Staged,
    type: TypeId,
    path: Path,
    value: Uint8Array | undefined,
    over: Siblings | undefined,
    expires: number,
  ): void {
    this.#writes++
    const name = cellKey(type, path)
    const cell = staged.pending.get(name)
    if (cell === undefined) {
      const base = staged.base(type, path)
      staged.pending.add(new Pending(name, staged.name, type, path, value, expires, over ?? base, base))
      return
    }
    const supersedes = [...cell.supersedes]
    for (const sibling of over ?? staged.after(cell)) {
      if (this.#own(sibling) || hasDot(supersedes, sibling)) continue
      supersedes.push({ origin: sibling.origin, seq: sibling.seq })
    }
    cell.value = value
    cell.expires = expires
    cell.supersedes = supersedes
    cell.siblings = undefined
  }

  clear(staged: Staged, type: TypeId, keep: readonly Dot[]): void {
    this.#writes++
    staged.cleared ??= new Map()
    if (!staged.cleared.has(0)) staged.cleared.set(type, keep)
    for (const cell of staged.pending.items) {
      if (cell.type !== type) continue
      // The clear covers what the cell had before this change, but for what it keeps.
      cell.supersedes = cell.supersedes.filter((dot) => hasDot(keep, dot))
      cell.base = cell.base.filter((sibling) => hasDot(keep, sibling))
      cell.siblings = undefined
    }
  }

  #own(dot: Dot): boolean {
    return dot.seq === this.#stamp.seq && dot.origin === this.#stamp.origin
  }

  #cells(staged: Staged, type: TypeId): Cells {
    return staged.touched ? new StagedCells(staged, type) : staged.entry.cells(type)
  }

  #stage(entry: Entry): Staged {
    let staged = this.#staged.get(entry.key)
    if (staged === undefined) this.#staged.add((staged = new Staged(entry, this.#stamp)))
    return staged
  }
}

type Args = Readonly<Record<string, unknown>>

class EntryChange implements Change {
  readonly #set: ChangeSet
  readonly #stamp: Stamp
  readonly #staged: Staged
  readonly #type: TypeId
  readonly #expires: number

  constructor(set: ChangeSet, stamp: Stamp, staged: Staged, type: TypeId, expires: number) {
    this.#set = set
    this.#stamp = stamp
    this.#staged = staged
    this.#type = type
    this.#expires = expires
  }

  get origin(): OriginId {
    return this.#stamp.origin
  }

  get seq(): number {
    return this.#stamp.seq
  }

  get time(): number {
    return this.#stamp.time
  }

  get nowMs(): number {
    return this.#stamp.nowMs
  }

  get agent(): string {
    return this.#stamp.agent
  }

  get expires(): number {
    return this.#expires
  }

  nextIndex(): number {
    return this.#set.nextIndex()
  }

  retired(origin: OriginId): boolean {
    return this.#stamp.retired(origin)
  }

  put(path: Path, value: Value, supersedes?: Siblings): void {
    this.putBytes(path, encodeValue(value), supersedes)
  }

  putBytes(path: Path, value: Uint8Array, supersedes?: Siblings): void {
    if (value.length > limits.valueBytes) throw tooLarge('value', value.length, limits.valueBytes)
    if (path.length > limits.pathBytes) throw tooLarge('field path or element', path.length, limits.pathBytes)
    this.#set.put(this.#staged, this.#type, path, value, supersedes, this.#expires)
  }

  remove(path: Path, supersedes?: Siblings): void {
    this.#set.put(this.#staged, this.#type, path, undefined, supersedes, 0)
  }

  clear(keep: readonly Dot[] = []): void {
    this.#set.clear(this.#staged, this.#type, keep)
  }
}

export function tooLarge(what: string, sizeBytes: number, limit: number): SkeinError {
  return new SkeinError('too_large', `a ${what} of ${sizeBytes} bytes is over the limit of ${limit}`, {
    sizeBytes,
    limit,
  })
}

/** True if a cell holds exactly this value and nothing beside it: writing it again would change nothing. */
export function holdsOnly(siblings: Siblings, value: Uint8Array, expires: number = 0): boolean {
  const only = siblings[0]
  return only !== undefined && siblings.length === 1 && only.expires === expires && equalBytes(only.value, value)
}

assert(limits.valueBytes < limits.deltaBytes, 'a value fits a delta')
