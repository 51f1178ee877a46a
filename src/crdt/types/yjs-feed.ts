/**
 * Feeds checked updates (yjs-check.ts) to a Yjs document, one struct at a time and each only once all that it rests on
 * is there. Yjs can order updates by itself; it is done here for what Yjs does not promise:
 *
 *  - what still waits is known per update, costs O(1) where it waits, and never enters the document: Yjs re-encodes
 *    everything that is pending at each update;
 *  - the cost is bounded. A well-formed update of 120 KB keeps Yjs busy for minutes, since each struct may claim
 *    neighbours that are far apart and Yjs looks at all that lies between them. That look is taken here first, step by
 *    step against an allowance that grows with the bytes fed;
 *  - types nest to a bound, since Yjs deletes and notifies along the nesting;
 *  - a struct whose units are there already with other content (two writers under one client id) is found, unless that
 *    content was deleted since.
 *
 * A struct that fails is a *flaw* of its update: it and what follows it in its section stay out, the rest goes in. In
 * which order updates come matters only where there is a flaw, so whoever feeds must then start anew in one order.
 */
import type * as Y from 'yjs'
import { utf8, utf8Length } from '../../base/bytes.ts'
import { yjs } from './document-libraries.ts'
import { structKind } from './yjs-check.ts'
import type { Deletion, Section, Struct, UnitId, Update } from './yjs-check.ts'

/** Types inside types. A guess: far beyond any document, far below what the stack holds. */
export const typeDepth = 256

/** Steps between neighbours that a document may cost. Measured: a million take about half a second, here and in Yjs. */
const stepsAtFirst = 1_000_000
const stepsAByte = 4
/** A step back to the first value of a map's key only follows a pointer. */
const cheapStep = 1 / 16

export type Flaw = 'clash' | 'costly' | 'deep' | 'failed'

/** One update on its way into a document. */
export class Source {
  update: Update
  /** Why a struct of it stays out. */
  flaw: Flaw | undefined
  /** Sections that still wait for structs of other updates. */
  waiting = 0

  constructor(update: Update) {
    this.update = update
  }

  get bytes(): Uint8Array {
    return this.update.bytes
  }

  /** Forgets what was only needed on the way in. */
  settle(): void {
    this.update = { bytes: this.update.bytes, sections: [], deletions: [] }
  }

  /** Ready for another document; what Yjs failed over stays out. */
  restart(failed: boolean): void {
    this.waiting = 0
    this.flaw = failed || this.flaw === 'failed' ? 'failed' : undefined
  }
}

class Cursor {
  readonly source: Source
  readonly section: Section
  next = 0
  /** The clock that the awaited client must reach. */
  need = 0

  constructor(source: Source, section: Section) {
    this.source = source
    this.section = section
  }
}

interface Range {
  readonly clock: number
  readonly end: number
}

/** Sorted, disjoint, as few as can be. */
function union(ranges: readonly Range[]): Range[] {
  const sorted = [...ranges].sort((a, b) => a.clock - b.clock)
  const merged: Range[] = []
  for (const { clock, end } of sorted) {
    const last = merged.at(-1)
    if (last !== undefined && clock <= last.end) {
      if (end > last.end) merged[merged.length - 1] = { clock: last.clock, end }
    } else merged.push({ clock, end })
  }
  return merged
}

/** No update can bear this number, so Yjs never takes a foreign struct for its own. */
const nobody = -1

export class Feed {
  readonly doc: Y.Doc
  #steps = stepsAtFirst
  /** The update at whose structs Yjs was when it threw. */
  current: Source | undefined
  /** By the client that they wait for; the last waits for the least. */
  readonly #waiting = new Map<number, Cursor[]>()
  readonly #deletions = new Map<number, Range[]>()
  /** Clients whose waiting deletions may have become ready. */
  readonly #advanced = new Set<number>()

  constructor(doc: Y.Doc) {
    this.doc = doc
  }

  /** True if the document changed. Anything that Yjs throws comes out as it is: the document is then unusable. */
  add(sources: readonly Source[]): boolean {
    const { doc } = this
    const own = doc.clientID
    let changed = false
    doc.clientID = nobody
    try {
      doc.transact((transaction) => {
        for (const source of sources) {
          this.#steps += stepsAByte * source.update.bytes.length
          for (const section of source.update.sections) {
            source.waiting++
            if (this.#run(new Cursor(source, section))) changed = true
          }
        }
        this.#wait(sources.flatMap((source) => source.update.deletions))
        this.#delete()
        if (transaction.deleteSet.clients.size > 0) changed = true
        // Nobody listens to this document, and Yjs would clean up formatting: a change that no writer made.
        transaction.changed.clear()
      })
    } finally {
      doc.clientID = own
    }
    for (const type of doc.share.values()) if (type._searchMarker !== null) type._searchMarker.length = 0
    return changed
  }

  /** Is there anything of this update that the document does not show yet? */
  pending(source: Source): boolean {
    return source.waiting > 0 || source.update.deletions.some((deletion) => end(deletion) > this.state(deletion.client))
  }

  /** The units of a client that are there, from 0. */
  state(client: number): number {
    return yjs().getState(this.doc.store, client)
  }

  #run(first: Cursor): boolean {
    let changed = false
    const ready = [first]
    for (let cursor = ready.pop(); cursor !== undefined; cursor = ready.pop()) {
      const { source, section } = cursor
      this.current = source
      const { structs } = section
      let blocked: UnitId | undefined
      for (; cursor.next < structs.length; cursor.next++) {
        const struct = structs[cursor.next] as Struct
        if (struct.kind === structKind.skip) continue
        const state = this.state(struct.client)
        if (struct.clock < state && this.#clashes(struct, Math.min(state, end(struct)))) {
          source.flaw = 'clash'
          break
        }
        if (end(struct) <= state) continue
        blocked = this.#missing(struct, state)
        if (blocked !== undefined) break
        const flaw = this.#place(struct, state, source.update.bytes)
        if (flaw !== undefined) {
          source.flaw = flaw
          break
        }
        changed = true
        this.#advanced.add(struct.client)
        this.#wake(struct.client, ready)
      }
      if (blocked === undefined) source.waiting--
      else this.#park(cursor, blocked)
    }
    return changed
  }

  /** The unit that must be there before this struct can be placed. */
  #missing(struct: Struct, state: number): UnitId | undefined {
    if (struct.clock > state) return { client: struct.client, clock: struct.clock - 1 }
    for (const id of [struct.left, struct.right, struct.parent]) {
      if (typeof id === 'object' && id.clock >= this.state(id.client)) return id
    }
    return undefined
  }

  #park(cursor: Cursor, { client, clock }: UnitId): void {
    cursor.need = clock + 1
    let list = this.#waiting.get(client)
    if (list === undefined) this.#waiting.set(client, (list = []))
    let low = 0
    for (let high = list.length; low < high;) {
      const middle = (low + high) >>> 1
      if ((list[middle] as Cursor).need > cursor.need) low = middle + 1
      else high = middle
    }
    list.splice(low, 0, cursor)
  }

  #wake(client: number, ready: Cursor[]): void {
    const list = this.#waiting.get(client)
    if (list === undefined) return
    const state = this.state(client)
    for (let cursor = list.at(-1); cursor !== undefined && cursor.need <= state; cursor = list.at(-1)) {
      list.pop()
      ready.push(cursor)
    }
    if (list.length === 0) this.#waiting.delete(client)
  }

  #place(struct: Struct, state: number, bytes: Uint8Array): Flaw | undefined {
    if (struct.kind !== structKind.gc) {
      const flaw = this.#look(struct, state)
      if (flaw !== undefined) return flaw
    }
    yjs().applyUpdate(this.doc, oneStruct(struct, bytes))
    const { store } = this.doc
    if (store.pendingStructs === null && this.state(struct.client) === end(struct)) return undefined
    // Yjs sees something missing that is not: it would hold this for ever.
    store.pendingStructs = null
    return 'failed'
  }

  /** Takes the way that Yjs will take to find where an item goes, and counts its steps (Item.integrate). */
  #look(struct: Struct, state: number): Flaw | undefined {
    // Of a struct whose first units are there, the rest follows them.
    const after = struct.clock < state ? { client: struct.client, clock: state - 1 } : struct.left
    const left = this.#item(after)
    const right = this.#item(struct.right)
    if (right instanceof yjs().GC || this.#item(struct.left) instanceof yjs().GC) return undefined
    const neighbour = left ?? right
    const parent: unknown = neighbour === undefined ? this.#parentOf(struct) : neighbour.parent
    const key = neighbour === undefined ? (struct.key ?? null) : neighbour.parentSub
    if (left instanceof yjs().GC) {
      // Its first units were collected with their parent, so the rest must be going the same way.
      return typeof struct.parent === 'object' && this.#parentOf(struct) === undefined ? undefined : 'clash'
    }
    if (left !== undefined && right !== undefined && (right.parent !== parent || right.parentSub !== key))
      return 'clash'
    if (!(parent instanceof yjs().AbstractType)) return undefined
    if (struct.kind === structKind.type && depthOf(parent) >= typeDepth) return 'deep'

    let other: Y.Item | null
    const splits = left !== undefined && after !== undefined && after.clock < end(left.id, left.length) - 1
    if (left === undefined) {
      other = key === null ? parent._start : (parent._map.get(key) ?? null)
      if (key !== null) {
        for (; other !== null && other.left !== null; other = other.left) {
          this.#steps -= cheapStep
          if (this.#steps < 0) return 'costly'
        }
      }
    } else {
      // Inside an item: Yjs splits it, and its second half comes first.
      if (splits) {
        if (right === left && struct.right?.clock === after.clock + 1) return undefined
        if (struct.client < left.id.client && same(struct.right, left.rightOrigin)) return undefined
      }
      other = left.right
    }
    const seen = new Set<Y.Item>()
    if (splits) seen.add(left)
    while (other !== null && other !== right) {
      if (--this.#steps < 0) return 'costly'
      seen.add(other)
      if (same(after, other.origin)) {
        if (other.id.client >= struct.client && same(struct.right, other.rightOrigin)) break
      } else if (other.origin === null) break
      else {
        const origin = this.#item(other.origin)
        if (!(origin instanceof yjs().Item) || !seen.has(origin)) break
      }
      other = other.right
    }
    return undefined
  }

  #item(id: UnitId | string | undefined): Y.Item | undefined {
    if (typeof id !== 'object' || id.clock >= this.state(id.client)) return undefined
    return yjs().getItem(this.doc.store, yjs().createID(id.client, id.clock))
  }

  /** Does the document hold something else for the units of this struct up to `until`? */
  #clashes(struct: Struct, until: number): boolean {
    const { client, kind } = struct
    if (kind === structKind.gc) return false
    for (let clock = struct.clock; clock < until;) {
      const there = this.#item({ client, clock }) as Y.Item
      const stop = Math.min(until, end(there.id, there.length))
      // What was collected cannot be compared.
      if (there instanceof yjs().Item) {
        const before = { client, clock: clock - 1 }
        const left = clock === struct.clock ? struct.left : before
        if (!same(left, clock === there.id.clock ? there.origin : before)) return true
        if (!same(struct.right, there.rightOrigin)) return true
        if (struct.parent !== undefined && clock === struct.clock) {
          if (this.#parentOf(struct) !== there.parent || (struct.key ?? null) !== there.parentSub) return true
        }
        if (!there.deleted && kind !== structKind.deleted) {
          if (there.content.getRef() !== kind) return true
          if (there.content instanceof yjs().ContentString) {
            const mine = struct.text.slice(clock - struct.clock, stop - struct.clock)
            if (mine !== there.content.str.slice(clock - there.id.clock, stop - there.id.clock)) return true
          }
        }
      }
      clock = stop
    }
    return false
  }

  /** The type that a struct without neighbours names as its parent. */
  #parentOf({ parent }: Struct): unknown {
    if (typeof parent === 'string') return this.doc.share.get(parent)
    const holder = this.#item(parent)
    return holder?.content instanceof yjs().ContentType ? holder.content.type : undefined
  }

  #wait(deletions: readonly Deletion[]): void {
    const added = new Map<number, Range[]>()
    for (const deletion of deletions) {
      let ranges = added.get(deletion.client)
      if (ranges === undefined) added.set(deletion.client, (ranges = []))
      ranges.push({ clock: deletion.clock, end: end(deletion) })
    }
    for (const [client, ranges] of added) {
      for (const range of this.#deletions.get(client) ?? []) ranges.push(range)
      this.#deletions.set(client, union(ranges))
      this.#advanced.add(client)
    }
  }

  #delete(): void {
    const ready: (readonly [client: number, ranges: readonly Range[]])[] = []
    for (const client of this.#advanced) {
      const ranges = this.#deletions.get(client)
      if (ranges === undefined) continue
      const state = this.state(client)
      const now = ranges.filter(({ clock }) => clock < state)
      if (now.length === 0) continue
      const later = ranges.slice(now.length)
      const last = now.at(-1) as Range
      if (last.end > state) {
        now[now.length - 1] = { clock: last.clock, end: state }
        later.unshift({ clock: state, end: last.end })
      }
      if (later.length === 0) this.#deletions.delete(client)
      else this.#deletions.set(client, later)
      ready.push([client, now])
    }
    this.#advanced.clear()
    if (ready.length > 0) yjs().applyUpdate(this.doc, onlyDeletions(ready))
    this.doc.store.pendingDs = null
  }
}

function end(id: UnitId & { readonly length: number }): number
function end(id: UnitId, length: number): number
function end(id: UnitId & { readonly length?: number }, length: number = id.length ?? 0): number {
  return id.clock + length
}

function same(a: UnitId | undefined, b: UnitId | null): boolean {
  if (a === undefined || b === null) return a === undefined && b === null
  return a.client === b.client && a.clock === b.clock
}

function depthOf(type: Y.AbstractType<unknown>): number {
  let depth = 0
  let above: unknown = type
  while (above instanceof yjs().AbstractType && above._item !== null) {
    depth++
    above = above._item.parent
  }
  return depth
}

function pushUint(bytes: number[], value: number): void {
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80)
  bytes.push(value)
}

/** An update of one struct, its bytes as they came. */
function oneStruct(struct: Struct, bytes: Uint8Array): Uint8Array {
  const head = [1, 1]
  pushUint(head, struct.client)
  pushUint(head, struct.clock)
  const update = new Uint8Array(head.length + struct.end - struct.start + 1)
  update.set(head)
  update.set(bytes.subarray(struct.start, struct.end), head.length)
  return update
}

function onlyDeletions(ready: readonly (readonly [client: number, ranges: readonly Range[]])[]): Uint8Array {
  const bytes = [0]
  pushUint(bytes, ready.length)
  for (const [client, ranges] of ready) {
    pushUint(bytes, client)
    pushUint(bytes, ranges.length)
    for (const range of ranges) {
      pushUint(bytes, range.clock)
      pushUint(bytes, range.end - range.clock)
    }
  }
  return Uint8Array.from(bytes)
}

/** A client's run of structs or deletions, as it stands in an update. */
interface Part {
  readonly client: number
  readonly bytes: Uint8Array
}

/**
 * The same update in several of about `maxBytes` at most, each of them whole; those of one client come in order. A
 * string that is longer than that becomes a run of strings, as if it had been typed in steps.
 */
export function cutUpdate({ bytes, sections, deletions }: Update, maxBytes: number): Uint8Array[] {
  const structs: Part[] = []
  for (const { client, structs: all } of sections) {
    const pieces = all.flatMap((struct) => cutStruct(struct, bytes, maxBytes))
    for (let at = 0; at < pieces.length;) {
      const from = at
      let size = 0
      while (at < pieces.length && (at === from || size + (pieces[at] as Piece).bytes.length <= maxBytes)) {
        size += (pieces[at++] as Piece).bytes.length
      }
      const head: number[] = []
      for (const value of [at - from, client, (pieces[from] as Piece).clock]) pushUint(head, value)
      structs.push({
        client,
        bytes: join([Uint8Array.from(head), ...pieces.slice(from, at).map((piece) => piece.bytes)]),
      })
    }
  }
  const gone: Part[] = []
  const byClient = Map.groupBy(deletions, ({ client }) => client)
  for (const [client, ranges] of byClient) {
    const all = union(ranges.map((range) => ({ clock: range.clock, end: end(range) })))
    // A range takes up to sixteen bytes.
    for (let at = 0; at < all.length; at += maxBytes >> 4) {
      const some = all.slice(at, at + (maxBytes >> 4))
      const list = [client, some.length, ...some.flatMap((range) => [range.clock, range.end - range.clock])]
      const part: number[] = []
      for (const value of list) pushUint(part, value)
      gone.push({ client, bytes: Uint8Array.from(part) })
    }
  }
  return [...pack(structs, maxBytes, [], [0]), ...pack(gone, maxBytes, [0], [])]
}

interface Piece {
  readonly clock: number
  readonly bytes: Uint8Array
}

function cutStruct(struct: Struct, bytes: Uint8Array, maxBytes: number): Piece[] {
  const { client, clock, kind, start, text, right } = struct
  const whole = bytes.subarray(start, struct.end)
  if (kind !== structKind.string || whole.length <= maxBytes) return [{ clock, bytes: whole }]
  const textBytes = utf8Length(text)
  const length: number[] = []
  pushUint(length, textBytes)
  const pieces: Piece[] = []
  for (let at = 0; at < text.length;) {
    let stop = Math.min(text.length, at + (maxBytes >> 2))
    if (splitsPair(text, stop)) stop--
    const head: number[] = []
    if (at === 0) head.push(...whole.subarray(0, whole.length - textBytes - length.length))
    else {
      head.push(structKind.string | 0x80 | (right === undefined ? 0 : 0x40))
      for (const id of [{ client, clock: clock + at - 1 }, right]) {
        if (id !== undefined) for (const value of [id.client, id.clock]) pushUint(head, value)
      }
    }
    const part = utf8(text.slice(at, stop))
    pushUint(head, part.length)
    pieces.push({ clock: clock + at, bytes: join([Uint8Array.from(head), part]) })
    at = stop
  }
  return pieces
}

/** Would cutting here leave half a character on either side? */
export function splitsPair(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xdc00 && (text.charCodeAt(at - 1) & 0xfc00) === 0xd800
}

/** Updates of as many parts as go together: a client has one section in each. */
function pack(
  parts: readonly Part[],
  maxBytes: number,
  before: readonly number[],
  after: readonly number[],
): Uint8Array[] {
  const updates: Uint8Array[] = []
  for (let at = 0; at < parts.length;) {
    const clients = new Set<number>()
    const together: Uint8Array[] = []
    let size = 0
    for (; at < parts.length; at++) {
      const { client, bytes } = parts[at] as Part
      if (together.length > 0 && (clients.has(client) || size + bytes.length > maxBytes)) break
      clients.add(client)
      together.push(bytes)
      size += bytes.length
    }
    const head = [...before]
    pushUint(head, together.length)
    updates.push(join([Uint8Array.from(head), ...together, Uint8Array.from(after)]))
  }
  return updates
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
