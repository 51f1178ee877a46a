/**
 * Where the contexts of a space's origins begin. The first delta of an origin says all that its writer had seen: that is kept
 * once, as an *anchor*, in the changes that lead to it from an earlier one. An anchor never changes, so others can begin at
 * it; what an origin has seen since its own stands in its writer row.
 */
import { Reader, Writer } from '../base/msgpack.ts'
import type { RowSink } from '../base/rows.ts'
import { nodeOf } from '../crdt/dot.ts'
import type { Dot, OriginId, Seen, Vector } from '../crdt/dot.ts'
import { Context } from './context.ts'
import type { NumberedDot } from './context.ts'
import { intact } from './damage.ts'
import type { Names } from './names.ts'
import { KeyWriter, table } from './row-keys.ts'

/** A context of fewer origins is kept as it is. A guess: below it a row of its own costs more than it saves. */
export const anchorFrom = 16

export interface Anchor {
  /** 0 for the one that stands for nothing seen, which has no row. */
  readonly id: number
  readonly context: Context
}

interface AnchorRow {
  readonly id: number
  readonly parent: number
  readonly changes: readonly NumberedDot[]
}

export interface AnchorHome {
  readonly number: number
  readonly origins: Names<OriginId>
}

const keys = new KeyWriter()
const row = new Writer()
export const noAnchor: Anchor = { id: 0, context: Context.none }

export class Anchors {
  readonly #home: AnchorHome
  readonly #byId = new Map<number, Anchor>([[0, noAnchor]])
  readonly #parents = new Map<number, number>()
  /** The newest that an origin of each node has begun at, and the newest of all: from there it is not far. */
  readonly #ofNode = new Map<string, Anchor>()
  #newest = noAnchor
  #lastId = 0
  #unwritten: AnchorRow[] = []

  constructor(home: AnchorHome) {
    this.#home = home
  }

  /** A beginning for this origin. */
  add(origin: OriginId, context: Context): Anchor {
    let parent = this.#near(origin)
    let changes = parent.context.changesTo(context)
    if (changes.length > context.size) [parent, changes] = [noAnchor, noAnchor.context.changesTo(context)]
    const anchor: Anchor = { id: ++this.#lastId, context }
    this.#byId.set(anchor.id, anchor)
    this.#parents.set(anchor.id, parent.id)
    this.#unwritten.push({ id: anchor.id, parent: parent.id, changes })
    this.used(origin, anchor)
    return anchor
  }

  /** These dots as a context that shares with those before it. */
  contextOf(origin: OriginId, dots: readonly Dot[]): Context {
    const { context: base } = this.#near(origin)
    const listed = new Map<number, number>()
    for (const { origin: other, seq } of dots) {
      const number = this.#home.origins.numberOf(other)
      if (other !== origin) listed.set(number, Math.max(seq, listed.get(number) ?? 0))
    }
    const changes: NumberedDot[] = [...listed].filter(([number, seq]) => base.get(number) !== seq)
    for (const [number] of base) if (!listed.has(number)) changes.push([number, 0])
    return base.changedBy(changes)
  }

  #near(origin: OriginId): Anchor {
    return this.#ofNode.get(nodeOf(origin)) ?? this.#newest
  }

  /** An origin begins at this anchor. */
  used(origin: OriginId, anchor: Anchor): void {
    if (anchor.id > this.#newest.id) this.#newest = anchor
    if (anchor.id > (this.#ofNode.get(nodeOf(origin))?.id ?? 0)) this.#ofNode.set(nodeOf(origin), anchor)
  }

  at(id: number): Anchor {
    const anchor = this.#byId.get(id)
    intact(anchor !== undefined, 'a context begins where nothing is')
    return anchor
  }

  /** For opening: rows come in order of their ids, so parents come first. */
  load(id: number, bytes: Uint8Array): void {
    const reader = new Reader(bytes)
    const parent = reader.uint()
    const changes: NumberedDot[] = []
    for (let left = reader.array(); left > 0; left -= 2) changes.push([reader.uint(), reader.uint()])
    this.#byId.set(id, { id, context: this.at(parent).context.changedBy(changes) })
    this.#parents.set(id, parent)
    this.#lastId = id
  }

  flush(sink: RowSink): void {
    for (const { id, parent, changes } of this.#unwritten) {
      row.rewind()
      row.begin()
      row.number(parent)
      row.array(2 * changes.length)
      for (const [number, seq] of changes) {
        row.number(number)
        row.number(seq)
      }
      sink.put(this.#key(id), row.bytes.subarray(0, row.at))
    }
    this.#unwritten = []
  }

  /** Drops those at which nothing begins any more, neither an origin nor another anchor. */
  sweep(inUse: Iterable<Anchor>, sink: RowSink): void {
    const needed = new Set<number>([0])
    for (const { id } of inUse) needed.add(id)
    for (let id = this.#lastId; id > 0; id--) {
      const parent = this.#parents.get(id)
      if (parent === undefined) continue
      if (needed.has(id)) {
        needed.add(parent)
        continue
      }
      this.#byId.delete(id)
      this.#parents.delete(id)
      sink.del(this.#key(id))
    }
    // Whoever was last at one of them may have left it since.
    this.#unwritten = this.#unwritten.filter(({ id }) => this.#byId.has(id))
    for (const [node, { id }] of this.#ofNode) if (!this.#byId.has(id)) this.#ofNode.delete(node)
    for (const anchor of this.#byId.values()) if (needed.has(anchor.id)) this.#newest = anchor
  }

  #key(id: number): Uint8Array {
    return keys.start(table.context).short(this.#home.number).ordered(id).bytes
  }
}

/** What one origin had seen of the others at its last delta. */
export class OriginContext implements Seen {
  anchor: Anchor = noAnchor
  /** Beyond the anchor. */
  readonly grown: Vector = new Map()
  readonly #origin: OriginId
  readonly #anchors: Anchors
  readonly #origins: Names<OriginId>

  constructor(origin: OriginId, anchors: Anchors, origins: Names<OriginId>) {
    this.#origin = origin
    this.#anchors = anchors
    this.#origins = origins
  }

  get(origin: OriginId): number | undefined {
    const grown = this.grown.get(origin)
    if (grown !== undefined || this.anchor === noAnchor) return grown
    const number = this.#origins.find(origin)
    return number === undefined ? undefined : this.anchor.context.get(number) || undefined
  }

  /** What its next delta has newly seen. */
  add(dots: readonly Dot[], isFirst: boolean): void {
    if (isFirst && dots.length >= anchorFrom) return this.become(this.#anchors.contextOf(this.#origin, dots))
    for (const dot of dots) {
      if (dot.origin !== this.#origin && dot.seq > (this.get(dot.origin) ?? 0)) this.grown.set(dot.origin, dot.seq)
    }
  }

  /** Raises it to at least this. */
  raise(context: Context): void {
    const whole = this.whole()
    this.become(whole.changedBy(whole.changesTo(context).filter(([number, seq]) => seq > whole.get(number))))
  }

  become(context: Context): void {
    const own = this.#origins.numberOf(this.#origin)
    const wanted = context.get(own) === 0 ? context : context.changedBy([[own, 0]])
    const changes = this.anchor.context.changesTo(wanted)
    this.grown.clear()
    if (changes.length >= anchorFrom || changes.some(([, seq]) => seq === 0)) {
      this.anchor = wanted.size === 0 ? noAnchor : this.#anchors.add(this.#origin, wanted)
      return
    }
    for (const [number, seq] of changes) this.grown.set(this.#origins.nameOf(number), seq)
  }

  whole(): Context {
    return this.anchor.context.changedBy(
      Array.from(this.grown, ([origin, seq]) => [this.#origins.numberOf(origin), seq] as const),
    )
  }

  /** An array in the writer row: dots beyond the anchor; its id comes before them where there is one. */
  write(writer: Writer): void {
    const hasAnchor = this.anchor !== noAnchor
    writer.array(2 * this.grown.size + (hasAnchor ? 1 : 0))
    if (hasAnchor) writer.number(this.anchor.id)
    for (const [origin, seq] of this.grown) {
      writer.number(this.#origins.numberOf(origin))
      writer.number(seq)
    }
  }

  read(reader: Reader): void {
    let left = reader.array()
    if (left % 2 === 1) {
      this.anchor = this.#anchors.at(reader.uint())
      this.#anchors.used(this.#origin, this.anchor)
      left--
    }
    for (; left > 0; left -= 2) {
      const origin = this.#origins.nameOf(reader.uint())
      this.grown.set(origin, reader.uint())
    }
  }
}
