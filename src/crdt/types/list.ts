/**
 * The list: an ordered sequence with insert, move and remove. An item is a value cell and a position cell under its id
 * [origin, seq, index], the dot and place of its creation; it exists while its value lives. A move writes a new position
 * over the old one, so of two concurrent moves the newest stands and the item is neither doubled nor lost; a removal
 * supersedes both cells and leaves nothing behind.
 *
 * Positions are dense, so that nobody needs the removed neighbours of an item: paths in the tree of Fugue (Weidner &
 * Kleppmann, The Art of the Fugue, 2023), read left children, parent, right children, with runs of one writer put side
 * by side under one parent (Weidner's position strings). A step down is (side, origin, n): n = (seq, index) comes from
 * the delta that wrote it, so no two positions are ever equal. Steps of one origin under one parent are a *waypoint*,
 * ordered by n: ascending on the right side, for typing forwards, descending on the left, for typing backwards.
 *
 * Where a new item goes (`placeBetween`): a position between its neighbours may hang under any of their ancestors, and
 * the shortest is taken, so that writers who take turns do not nest ever deeper. But who writes next to an item of his
 * own stays in the *branch* of the newest such item: its waypoint from it onwards, and all that hangs there. Only he
 * who has seen a step can write under it. So all that one writer puts side by side without seeing others is one branch
 * that no concurrent item falls into: runs never interleave, forwards, backwards or mixed (docs/decisions/list.md).
 *
 * It does not rebalance: insertions that close in on one point from both sides in turn grow by a step each.
 */
import { AssertionError } from '../../base/assert.ts'
import { binaryString, equalBytes, fromBinaryString } from '../../base/bytes.ts'
import { SkeinError } from '../../base/errors.ts'
import { Reader, Writer } from '../../base/msgpack.ts'
import type { Value } from '../../base/value.ts'
import { noSiblings, sameDot } from '../cell.ts'
import type { Path, Sibling, Siblings } from '../cell.ts'
import { originBytes, readOrigin, writeOrigin } from '../dot.ts'
import type { OriginId } from '../dot.ts'
import { written } from '../type.ts'
import type { Cells, Change, CrdtType, Written } from '../type.ts'
import { integer, values } from './arguments.ts'
import type { Arguments } from './arguments.ts'
import { mostRecentFirst, valueOf } from './reading.ts'
import type { Loser } from './reading.ts'

const left = 0
const right = 1
type Side = typeof left | typeof right

/** Names an item for ever, whatever happens to its position. */
export interface ItemId {
  readonly origin: OriginId
  readonly seq: number
  readonly index: number
}

export interface Step extends ItemId {
  readonly side: Side
}

/** A path of at least one step. The document itself is the root: no item stands there. */
export type Position = readonly Step[]

function compareSteps(a: Step, b: Step): number {
  if (a.side !== b.side) return a.side - b.side
  if (a.origin !== b.origin) return a.origin < b.origin ? -1 : 1
  const order = a.seq - b.seq || a.index - b.index
  return a.side === right ? order : -order
}

/** Where a child `step` of the first `depth` steps of `other` stands to `other`. */
function compareChild(step: Step, depth: number, other: Position): number {
  const next = other[depth]
  if (next !== undefined) return compareSteps(step, next)
  return step.side === right ? 1 : -1
}

export function comparePositions(a: Position, b: Position): number {
  for (let depth = 0; depth < a.length; depth++) {
    const order = compareChild(a[depth] as Step, depth, b)
    if (order !== 0) return order
  }
  const next = b[a.length]
  if (next === undefined) return 0
  return next.side === right ? -1 : 1
}

function sharedSteps(a: Position, b: Position): number {
  const length = Math.min(a.length, b.length)
  let shared = 0
  while (shared < length && compareSteps(a[shared] as Step, b[shared] as Step) === 0) shared++
  return shared
}

/** The last step of a neighbour that `origin` put where it is. */
function ownStep(position: Position | undefined, origin: OriginId): Step | undefined {
  const last = position?.at(-1)
  return last?.origin === origin ? last : undefined
}

function isNewer(a: ItemId, b: ItemId): boolean {
  return (a.seq - b.seq || a.index - b.index) > 0
}

/**
 * The shortest position strictly between two neighbours (none is an end of the list; `before` < `after`) that ends in a
 * step of `origin` with this number, which nobody has used before; next to an own item, the shortest in the branch of
 * the newest one. There always is one: right under `before`, or left under `after` where that hangs under `before`.
 */
export function placeBetween(
  before: Position | undefined,
  after: Position | undefined,
  { origin, seq, index }: ItemId,
): Position {
  const steps: readonly Step[] = [
    { side: right, origin, seq, index },
    { side: left, origin, seq, index },
  ]
  const neighbours: (readonly [Position, Position | undefined, 1 | -1])[] = []
  if (before !== undefined) neighbours.push([before, after, 1])
  if (after !== undefined) neighbours.push([after, before, -1])
  if (neighbours.length === 0) return [steps[0] as Step]

  const shared = before === undefined || after === undefined ? 0 : sharedSteps(before, after)
  const ownBefore = ownStep(before, origin)
  const ownAfter = ownStep(after, origin)
  const beforeIsNewer = ownBefore !== undefined && (ownAfter === undefined || isNewer(ownBefore, ownAfter))
  const branch = beforeIsNewer ? before : ownAfter === undefined ? undefined : after
  const last = branch?.at(-1)
  const lastDepth = branch === undefined ? 0 : branch.length - 1

  /** Is this child of the first `depth` steps of `path` in the branch of the newest own neighbour? */
  const inBranch = (step: Step, depth: number, path: Position): boolean => {
    if (last === undefined || (path === branch && depth > lastDepth)) return true
    if (depth < lastDepth || (path !== branch && shared < lastDepth)) return false
    const there = depth === lastDepth ? step : (path[lastDepth] as Step)
    return there.side === last.side && there.origin === origin && (there === step || !isNewer(last, there))
  }

  const deepest = Math.max(before?.length ?? 0, after?.length ?? 0)
  for (let depth = lastDepth; depth <= deepest; depth++) {
    for (const [path, other, sign] of neighbours) {
      if (depth > path.length) continue
      for (const step of steps) {
        if (compareChild(step, depth, path) * sign <= 0) continue
        // Below what the neighbours share, a child of the one stands to the other as that one does.
        if (other !== undefined && depth <= shared && compareChild(step, depth, other) * sign >= 0) continue
        if (inBranch(step, depth, path)) return [...path.slice(0, depth), step]
      }
    }
  }
  throw new AssertionError('broken invariant: two positions in order leave room between them. This is a bug in Skein.')
}

const writer = new Writer()

/**
 * One array: the origins other than the item's own, then each step: ref * 4 + side * 2 + (1 if an index follows), seq,
 * index unless 0; ref is 0 for the item's origin, else 1 + the place of the origin. A last step that bears the item's
 * own id is only its first number, so an item that follows in a run of its writer takes two bytes.
 */
export function encodePosition(position: Position, id: ItemId): Uint8Array {
  const others: OriginId[] = []
  const last = position.at(-1) as Step
  const bearsId = last.origin === id.origin && last.seq === id.seq && last.index === id.index
  let items = bearsId ? -1 : 0
  for (const step of position) {
    if (step.origin !== id.origin && !others.includes(step.origin)) others.push(step.origin)
    items += step.index === 0 || (bearsId && step === last) ? 2 : 3
  }
  writer.begin()
  writer.array(others.length + items)
  for (const other of others) writeOrigin(writer, other)
  for (const step of position) {
    const head = (others.indexOf(step.origin) + 1) * 4 + step.side * 2
    if (bearsId && step === last) writer.number(head)
    else {
      writer.number(step.index === 0 ? head : head + 1)
      writer.number(step.seq)
      if (step.index !== 0) writer.number(step.index)
    }
  }
  return writer.finish()
}

/** Throws `malformed`. */
export function decodePosition(bytes: Uint8Array, id: ItemId): Position {
  const reader = new Reader(bytes)
  let items = reader.array()
  const origins: OriginId[] = [id.origin]
  for (; items > 0 && reader.peek() === 0xc4; items--) origins.push(originOf(reader))
  const position: Step[] = []
  while (items > 0) {
    const head = reader.uint(origins.length * 4 - 1)
    const side: Side = (head & 2) === 0 ? left : right
    const origin = origins[head >> 2] as OriginId
    if (items === 1) {
      if (head > 3 || (head & 1) === 1) reader.fail('a last step without its number')
      position.push({ side, origin, seq: id.seq, index: id.index })
      break
    }
    const seq = reader.uint() || reader.fail('sequences start at 1')
    let index = 0
    items -= 2
    if ((head & 1) === 1) {
      if (items === 0) reader.fail('half a step')
      index = reader.uint() || reader.fail('an index of 0 is left out')
      items--
    }
    position.push({ side, origin, seq, index })
  }
  reader.finish()
  if (position.length === 0) reader.fail('a position has a step')
  return position
}

/** One string for each origin, however many positions name it. */
const originNames = new Map<string, OriginId>()
const cachedOrigins = 4096

function originOf(reader: Reader): OriginId {
  const at = reader.at + 2
  const bytes = binaryString(reader.bytes, Math.min(at, reader.end), Math.min(at + originBytes, reader.end))
  const known = originNames.get(bytes)
  const origin = readOrigin(reader)
  if (known !== undefined) return known
  if (originNames.size >= cachedOrigins) originNames.clear()
  originNames.set(bytes, origin)
  return origin
}

const valueHead = '\x92\xa1v'
const positionHead = '\x92\xa1p'

/** The end of both paths of an item. */
function tailOf({ origin, seq, index }: ItemId): string {
  writer.begin()
  writer.array(3)
  writeOrigin(writer, origin)
  writer.number(seq)
  writer.number(index)
  return binaryString(writer.finish())
}

function idOfTail(tail: string): ItemId | undefined {
  const reader = new Reader(fromBinaryString(tail))
  try {
    if (reader.array() !== 3) return undefined
    const id = { origin: originOf(reader), seq: reader.uint(), index: reader.uint() }
    reader.finish()
    return id
  } catch {
    return undefined
  }
}

interface Item {
  readonly slot: Slot
  readonly position: Position
  /** The sibling that says so; none where no position is readable, and the item stands where it would without any. */
  readonly placed: Sibling | undefined
  readonly sibling: Sibling
  readonly value: Value
}

/** The two cells of one item as they were last seen. */
interface Slot {
  readonly id: ItemId
  readonly tail: string
  values: Siblings
  positions: Siblings
  /** Where it stands among the sorted. */
  item: Item | undefined
}

function compareItems(a: Item, b: Item): number {
  // Only forged cells can share a position; all replicas order them alike even so.
  return (
    comparePositions(a.position, b.position) || (a.slot.tail < b.slot.tail ? -1 : a.slot.tail > b.slot.tail ? 1 : 0)
  )
}

function itemOf(slot: Slot): Item | undefined {
  for (let at = slot.values.length - 1; at >= 0; at--) {
    const sibling = slot.values[at] as Sibling
    const value = valueOf(sibling)
    if (value !== undefined) return { slot, ...placeOf(slot), sibling, value: frozen(value) }
  }
  return undefined
}

/** The newest readable position. Without one (an expired move, nonsense) the item stands in its writer's first waypoint. */
function placeOf({ id, positions }: Slot): { readonly position: Position; readonly placed: Sibling | undefined } {
  for (let at = positions.length - 1; at >= 0; at--) {
    const placed = positions[at] as Sibling
    try {
      return { position: decodePosition(placed.value, id), placed }
    } catch {
      // Nonsense from a faulty peer; an older position may be readable.
    }
  }
  return { position: [{ side: right, ...id }], placed: undefined }
}

/** Readers get the values that the memo keeps, so nobody may change them. */
function frozen(value: Value): Value {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  for (const part of Array.isArray(value) ? (value as readonly Value[]) : Object.values(value)) frozen(part)
  return Object.freeze(value)
}

interface Row {
  readonly path: Path
  readonly slot: Slot | undefined
  siblings: Siblings
}

/** The same siblings, though a cell may have been made anew (an overlay that was committed, a chunk read again). */
function same(a: Siblings, b: Siblings): boolean {
  if (a.length !== b.length) return false
  return a.every((sibling, at) => {
    const other = b[at] as Sibling
    // After a fork one dot may come with other bytes.
    return sameDot(sibling, other) && equalBytes(sibling.value, other.value)
  })
}

/**
 * The items in order, kept from one call to the next. Each call first takes up the cells that changed since the last.
 * Where nobody knows which those are, it walks all of them beside the rows that it was built from and takes up what
 * differs. Either way it decodes only what changed.
 */
class Sorted {
  items: readonly Item[] = []
  /** Items that have positions and no value: removed while somebody moved them. */
  readonly orphans = new Set<Slot>()
  #rows: Row[] = []
  #version: number | undefined
  readonly #slots = new Map<string, Slot>()
  #reading: { readonly value: readonly Value[]; readonly concurrent: readonly Written<unknown>[] } | undefined

  static of(cells: Cells): Sorted {
    const { memo } = cells
    const sorted = memo.value instanceof Sorted ? memo.value : new Sorted()
    if (cells.version !== undefined && cells.version === sorted.#version) return sorted
    memo.value = undefined
    const changed = sorted.#version === undefined ? undefined : cells.changedSince?.(sorted.#version)
    if (changed === undefined) sorted.#follow(cells)
    else sorted.#takeUp(cells, changed)
    sorted.#version = cells.version
    memo.value = sorted
    return sorted
  }

  get reading(): { readonly value: readonly Value[]; readonly concurrent: readonly Written<unknown>[] } {
    return (this.#reading ??= {
      value: Object.freeze(this.items.map(({ value }) => value)),
      concurrent: this.#losers(),
    })
  }

  /** Only a repair or a forged cell can give an item two values. */
  #losers(): readonly Written<unknown>[] {
    const losers: Loser[] = []
    for (const { slot, sibling } of this.items) {
      if (slot.values.length === 1) continue
      for (const other of slot.values) if (other !== sibling) losers.push({ sibling: other, shown: valueOf(other) })
    }
    return mostRecentFirst(losers.filter(({ shown }) => shown !== undefined))
  }

  #follow(cells: Cells): void {
    const before = this.#rows
    const rows: Row[] = []
    const touched = new Set<Slot>()
    let at = 0
    for (const [path, siblings] of cells.all()) {
      while (at < before.length && (before[at] as Row).path < path) this.#fill(before[at++] as Row, noSiblings, touched)
      let row = before[at]
      if (row?.path === path) at++
      else row = { path, slot: this.#slotAt(path), siblings: noSiblings }
      if (row.siblings !== siblings) this.#fill(row, siblings, touched)
      rows.push(row)
    }
    while (at < before.length) this.#fill(before[at++] as Row, noSiblings, touched)
    this.#rows = rows
    if (touched.size > 0) this.#resort(touched)
  }

  #takeUp(cells: Cells, paths: readonly Path[]): void {
    const rows = this.#rows
    const touched = new Set<Slot>()
    for (const path of paths) {
      const siblings = cells.get(path)
      const at = rowAt(rows, path)
      let row = rows[at]
      if (row?.path === path) {
        if (siblings.length === 0) rows.splice(at, 1)
      } else {
        if (siblings.length === 0) continue
        row = { path, slot: this.#slotAt(path), siblings: noSiblings }
        rows.splice(at, 0, row)
      }
      this.#fill(row, siblings, touched)
    }
    if (touched.size > 0) this.#resort(touched)
  }

  #slotAt(path: Path): Slot | undefined {
    if (!path.startsWith(valueHead) && !path.startsWith(positionHead)) return undefined
    const tail = path.slice(valueHead.length)
    let slot = this.#slots.get(tail)
    if (slot !== undefined) return slot
    const id = idOfTail(tail)
    if (id === undefined) return undefined
    slot = { id, tail, values: noSiblings, positions: noSiblings, item: undefined }
    this.#slots.set(tail, slot)
    return slot
  }

  #fill(row: Row, siblings: Siblings, touched: Set<Slot>): void {
    const { slot } = row
    if (slot !== undefined && !same(row.siblings, siblings)) touched.add(slot)
    row.siblings = siblings
    if (slot === undefined) return
    if (row.path.startsWith(valueHead)) slot.values = siblings
    else slot.positions = siblings
  }

  #resort(touched: ReadonlySet<Slot>): void {
    this.#reading = undefined
    const items = [...this.items]
    // Above this share sorting all of them is cheaper than one splice each. A guess.
    const patch = touched.size * 16 < items.length
    for (const slot of touched) {
      if (patch && slot.item !== undefined) items.splice(search(items, slot.item), 1)
      slot.item = itemOf(slot)
      if (slot.values.length === 0 && slot.positions.length > 0) this.orphans.add(slot)
      else this.orphans.delete(slot)
      if (slot.values.length === 0 && slot.positions.length === 0) this.#slots.delete(slot.tail)
      if (patch && slot.item !== undefined) items.splice(search(items, slot.item), 0, slot.item)
    }
    if (patch) this.items = items
    else {
      const all: Item[] = []
      for (const { item } of this.#slots.values()) if (item !== undefined) all.push(item)
      this.items = all.sort(compareItems)
    }
  }
}

function rowAt(rows: readonly Row[], path: Path): number {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((rows[middle] as Row).path < path) low = middle + 1
    else high = middle
  }
  return low
}

/** The place of an item, or where it would go. */
function search(items: readonly Item[], item: Item): number {
  let low = 0
  let high = items.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compareItems(items[middle] as Item, item) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function place(args: Arguments, name: string, length: number, last: number): number {
  const at = integer(args, name)
  if (at >= 0 && at <= last) return at
  throw new SkeinError('out_of_range', `${name} is ${at} in a list of ${length}`, { [name]: at, length })
}

/** The positions between which an item that is to be number `at` goes. */
function gap(items: readonly Item[], at: number): readonly [Position | undefined, Position | undefined] {
  const before = items[at - 1]?.position
  if (before === undefined) return [before, items[at]?.position]
  // Forged cells may share a position, and nothing fits between them: behind them all, then.
  for (; ; at++) {
    const after = items[at]?.position
    if (after === undefined || comparePositions(before, after) !== 0) return [before, after]
  }
}

/** Positions without an item that one operation takes away beside its own work. A guess: it keeps deltas small. */
const maxSwept = 16

/** An orphan never gets its value back: who moved the item had seen its creation, and so has who sees the move. */
function sweep({ orphans }: Sorted, change: Change): void {
  let left = maxSwept
  for (const { tail, positions } of orphans) {
    if (left-- === 0) return
    change.remove(positionHead + tail, positions)
  }
}

export interface ListItem extends Written<Value> {
  readonly id: string
  /** Who moved it to where it is now, unless it never was. */
  readonly moved: Omit<Written<Value>, 'value'> | undefined
}

/** Every item in order, with its id and who wrote and moved it. */
export function listItems(cells: Cells): readonly ListItem[] {
  return Sorted.of(cells).items.map(({ slot: { id }, sibling, value, placed }) => {
    const { agent, at, dot } = written(placed ?? sibling, value)
    return {
      ...written(sibling, value),
      id: `${id.origin}.${id.seq}.${id.index}`,
      moved: sameDot(dot, sibling) ? undefined : { agent, at, dot },
    }
  })
}

export const list: CrdtType<readonly Value[]> = {
  id: 7,
  name: 'list',
  merge: 'every item once; concurrent runs stay together; of two moves the newest stands; a removed item stays removed',
  operations: {
    insert: {
      parameters: ['at', 'values'],
      spread: true,
      run(cells, change, args) {
        const sorted = Sorted.of(cells)
        const { items } = sorted
        const at = place(args, 'at', items.length, items.length)
        const inserted = values(args, 'values')
        if (inserted.length === 0) return undefined
        const { origin, seq } = change
        const indices = inserted.map(() => change.nextIndex())
        const first = placeBetween(...gap(items, at), { origin, seq, index: indices[0] as number })
        const parent = first.slice(0, -1)
        const { side } = first.at(-1) as Step
        // The run fills its waypoint in the order in which the waypoint reads.
        if (side === left) indices.reverse()
        for (const [nth, value] of inserted.entries()) {
          const id = { origin, seq, index: indices[nth] as number }
          const tail = tailOf(id)
          change.putBytes(valueHead + tail, value, noSiblings)
          change.putBytes(positionHead + tail, encodePosition([...parent, { side, ...id }], id), noSiblings)
        }
        sweep(sorted, change)
        return undefined
      },
    },
    remove: {
      parameters: ['at', 'count'],
      run(cells, change, args) {
        const sorted = Sorted.of(cells)
        const { items } = sorted
        const at = place(args, 'at', items.length, items.length)
        const count = integer(args, 'count', { min: 0 })
        if (at + count > items.length) {
          throw new SkeinError('out_of_range', `${count} items from ${at} on are not in a list of ${items.length}`, {
            at,
            count,
            length: items.length,
          })
        }
        if (count === 0) return undefined
        for (const { slot } of items.slice(at, at + count)) {
          change.remove(valueHead + slot.tail)
          change.remove(positionHead + slot.tail)
        }
        sweep(sorted, change)
        return undefined
      },
    },
    /** `to` is where the item stands afterwards. */
    move: {
      parameters: ['from', 'to'],
      run(cells, change, args) {
        const sorted = Sorted.of(cells)
        const { items } = sorted
        const from = place(args, 'from', items.length, items.length - 1)
        const to = place(args, 'to', items.length, items.length - 1)
        if (from === to) return undefined
        const { origin, seq } = change
        const { slot } = items[from] as Item
        const moved = placeBetween(...gap(items, to < from ? to : to + 1), { origin, seq, index: change.nextIndex() })
        change.putBytes(positionHead + slot.tail, encodePosition(moved, slot.id))
        sweep(sorted, change)
        return undefined
      },
    },
  },
  read(cells) {
    return Sorted.of(cells).reading
  },
}
