/**
 * A whole space held plainly in memory: a vector and cells. It is the definition that everything faster is compared
 * with (the replica's rows, the tree, the sync), and the canonical snapshot form: equal states have equal bytes on
 * every machine.
 */
import { assert } from '../base/assert.ts'
import { binaryString, compareUtf8, equalBytes } from '../base/bytes.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import { ChangeSet, cellKey } from './change.ts'
import type { Entry } from './change.ts'
import { hasDot, mergeCell, noSiblings, writeCell } from './cell.ts'
import type { Path, Sibling, Siblings, TypeId } from './cell.ts'
import { timeToMs } from './clock.ts'
import { decodeDelta, encodeDelta, voidBecause } from './delta.ts'
import type { Delta } from './delta.ts'
import { covers, raise, readOrigin, writeOrigin } from './dot.ts'
import type { Dot, OriginId, ReadonlyVector, Vector } from './dot.ts'
import type { Cells, CrdtType } from './type.ts'

class PlainEntry implements Entry {
  readonly key: string
  readonly live = new Map<string, Siblings>()
  readonly #views = new Map<TypeId, Cells>()

  constructor(key: string) {
    this.key = key
  }

  cells(type: TypeId): Cells {
    let view = this.#views.get(type)
    if (view === undefined) this.#views.set(type, (view = new PlainCells(this, type)))
    return view
  }

  types(): readonly TypeId[] {
    return [...new Set([...this.live.keys()].map((name) => name.charCodeAt(0)))].sort((a, b) => a - b)
  }

  set(name: string, siblings: Siblings): void {
    if (siblings.length === 0) this.live.delete(name)
    else this.live.set(name, siblings)
  }
}

class PlainCells implements Cells {
  readonly memo: { value: unknown } = { value: undefined }
  readonly #entry: PlainEntry
  readonly #type: TypeId

  constructor(entry: PlainEntry, type: TypeId) {
    this.#entry = entry
    this.#type = type
  }

  get key(): string {
    return this.#entry.key
  }

  get(path: Path): Siblings {
    return this.#entry.live.get(cellKey(this.#type, path)) ?? noSiblings
  }

  get version(): undefined {
    return undefined
  }

  *all(from: Path = ''): Iterable<readonly [Path, Siblings]> {
    const first = cellKey(this.#type, from)
    const names = [...this.#entry.live.keys()]
      .filter((name) => name.charCodeAt(0) === this.#type && name >= first)
      .sort()
    for (const name of names) yield [name.slice(1), this.#entry.live.get(name) as Siblings]
  }

  get empty(): boolean {
    return !this.#entry.types().includes(this.#type)
  }
}

export interface LocalWrite {
  readonly origin: OriginId
  readonly time: number
  readonly agent?: string
  readonly nowMs?: number
  readonly ttlMs?: number
  readonly retired?: (origin: OriginId) => boolean
}

export class State {
  readonly vector: Vector = new Map()
  readonly #entries = new Map<string, PlainEntry>()
  /** What each origin had seen when it last wrote, in full: what a clear covers. */
  readonly #contexts = new Map<OriginId, Vector>()

  entry(key: string): Entry {
    return this.#entries.get(key) ?? new PlainEntry(key)
  }

  keys(): string[] {
    return [...this.#entries.keys()].sort(compareUtf8)
  }

  /** The context of an origin's next delta: what it has seen since its last. */
  contextOf(origin: OriginId): Dot[] {
    const known = this.#contexts.get(origin)
    const news: Dot[] = []
    for (const [other, seq] of this.vector) {
      if (other !== origin && seq > (known?.get(other) ?? 0)) news.push({ origin: other, seq })
    }
    return news
  }

  /** Runs what `make` tells a change set, as one delta; undefined when it changes nothing. */
  transact(write: LocalWrite, make: (change: ChangeSet) => void): Delta | undefined {
    const { origin, time } = write
    const seq = (this.vector.get(origin) ?? 0) + 1
    const agent = write.agent ?? 'agent'
    const change = new ChangeSet({
      origin,
      seq,
      time,
      nowMs: write.nowMs ?? timeToMs(time),
      agent,
      retired: write.retired ?? (() => false),
    })
    try {
      make(change)
      const { clears, writes } = change.finish()
      if (clears.length === 0 && writes.length === 0) return undefined
      const context = this.contextOf(origin)
      // Encoded and decoded, so that every law also holds the codec to its word.
      const delta = { origin, seq, time, link: new Uint8Array(8), context, agent, reason: undefined, clears, writes }
      const decoded = decodeDelta(origin, seq, encodeDelta(delta))
      this.apply(decoded)
      return decoded
    } catch (error) {
      change.abandon()
      throw error
    }
  }

  /** One operation, by name. */
  local(
    write: LocalWrite,
    key: string,
    type: CrdtType,
    name: string,
    args: Readonly<Record<string, unknown>> = {},
  ): { delta: Delta | undefined; result: Value | undefined } {
    let result: Value | undefined
    const operation = type.operations[name]
    assert(operation !== undefined, `${type.name} has an operation ${name}`)
    const delta = this.transact(write, (change) => {
      result = change.run(this.#open(key), type, operation, args, write.ttlMs)
    })
    return { delta, result }
  }

  delete(write: LocalWrite, key: string, typeOf: (id: TypeId) => CrdtType | undefined): Delta | undefined {
    return this.transact(write, (change) => change.delete(this.#open(key), typeOf))
  }

  /** May this delta be applied now: the next of its origin, and after all that its writer had seen? */
  ready(delta: Delta, isMet: (dot: Dot) => boolean = this.#covers): boolean {
    return delta.seq === (this.vector.get(delta.origin) ?? 0) + 1 && delta.context.every(isMet)
  }

  readonly #covers = (dot: Dot): boolean => covers(this.vector, dot)

  /**
   * Applies a delta; false when it was known already. The caller delivers in causal order; `isMet` is what counts as
   * seen here, if not just what is covered.
   */
  apply(delta: Delta, isMet?: (dot: Dot) => boolean): boolean {
    if (covers(this.vector, delta)) return false
    assert(this.ready(delta, isMet), 'deltas are applied in causal order')
    const { origin, seq, time, agent } = delta
    let context = this.#contexts.get(origin)
    if (context === undefined) this.#contexts.set(origin, (context = new Map()))
    context.set(origin, seq - 1)
    const isVoid = voidBecause(delta, context) !== undefined
    raise(context, new Map(delta.context.filter((dot) => dot.origin !== origin).map((dot) => [dot.origin, dot.seq])))
    this.vector.set(origin, seq)
    if (isVoid) return true
    for (const { key, type, keep } of delta.clears) {
      const entry = this.#entries.get(key)
      if (entry === undefined) continue
      for (const [name, siblings] of entry.live) {
        if (type !== 0 && name.charCodeAt(0) !== type) continue
        entry.set(
          name,
          siblings.filter((sibling) => !covers(context, sibling) || hasDot(keep, sibling)),
        )
      }
    }
    for (const { key, type, path, value, expires, supersedes } of delta.writes) {
      const entry = this.#open(key)
      const name = cellKey(type, path)
      const sibling = value && { origin, seq, time, agent, value, expires }
      entry.set(name, writeCell(entry.live.get(name) ?? noSiblings, supersedes, sibling))
    }
    for (const key of new Set([...delta.clears, ...delta.writes].map((part) => part.key))) this.#tidy(key)
    return true
  }

  /**
   * Becomes the join of both states. Entries that did not differ when they were compared need not be merged, as long as
   * nothing that the other's vector covers was applied here since.
   */
  merge(other: State, differs: (key: string) => boolean = () => true): void {
    for (const key of new Set([...this.#entries.keys(), ...other.#entries.keys()])) {
      if (!differs(key)) continue
      const mine = this.#open(key)
      const theirs = other.#entries.get(key)
      for (const name of new Set([...mine.live.keys(), ...(theirs?.live.keys() ?? [])])) {
        const ours = mine.live.get(name) ?? noSiblings
        mine.set(name, mergeCell(ours, this.vector, theirs?.live.get(name) ?? noSiblings, other.vector))
      }
      this.#tidy(key)
    }
    for (const [origin, context] of other.#contexts) {
      const known = this.#contexts.get(origin)
      if (known === undefined) this.#contexts.set(origin, new Map(context))
      else raise(known, context)
    }
    raise(this.vector, other.vector)
  }

  clone(): State {
    const copy = new State()
    copy.merge(this)
    return copy
  }

  *cells(): Iterable<readonly [key: string, type: TypeId, path: Path, siblings: Siblings]> {
    for (const key of this.keys()) {
      const { live } = this.#entries.get(key) as PlainEntry
      for (const name of [...live.keys()].sort()) {
        yield [key, name.charCodeAt(0), name.slice(1), live.get(name) as Siblings]
      }
    }
  }

  encode(): Uint8Array {
    return encodeSnapshot(this.vector, this.cells())
  }

  /** Throws `malformed`. Writers' contexts are not part of a snapshot: a state from bytes only reads and merges. */
  static decode(bytes: Uint8Array): State {
    const state = new State()
    decodeSnapshot(bytes, state.vector, (key, type, path, sibling) => {
      const entry = state.#open(key)
      const name = cellKey(type, path)
      entry.set(name, writeCell(entry.live.get(name) ?? noSiblings, [], sibling))
    })
    if (!equalBytes(state.encode(), bytes)) new Reader(bytes).fail('a snapshot in another order')
    return state
  }

  #open(key: string): PlainEntry {
    let entry = this.#entries.get(key)
    if (entry === undefined) this.#entries.set(key, (entry = new PlainEntry(key)))
    return entry
  }

  #tidy(key: string): void {
    if (this.#entries.get(key)?.live.size === 0) this.#entries.delete(key)
  }
}

const sameKey = 1
const sameCell = 2
const sameType = 4
const sameOrigin = 8
const sameAgent = 16
const hasExpiry = 32

/**
 * The canonical snapshot: one MessagePack array [origins, sequences, agents, items]. Cells come in the order of key,
 * type and path; each item says only what differs from the one before, sequences and times as differences.
 */
export function encodeSnapshot(
  vector: ReadonlyVector,
  cells: Iterable<readonly [key: string, type: TypeId, path: Path, siblings: Siblings]>,
): Uint8Array {
  const body = new Writer()
  body.begin()
  const agents = new Map<string, number>()
  const rows = [...cells]
  for (const [, , , siblings] of rows) for (const { agent } of siblings) agents.set(agent, 0)
  const agentNames = [...agents.keys()].sort(compareUtf8)
  for (const [at, agent] of agentNames.entries()) agents.set(agent, at)
  const origins = [...vector.keys()].sort()
  const places = new Map(origins.map((origin, at) => [origin, at]))
  let items = 0
  let key = ''
  let type = 0
  let last: Sibling | undefined
  const seqs = new Map<OriginId, number>()
  for (const [rowKey, rowType, path, siblings] of rows) {
    let continued = false
    for (const sibling of siblings) {
      assert(covers(vector, sibling), 'a snapshot holds nothing beyond its vector')
      const head =
        (rowKey === key ? sameKey : 0) |
        (continued ? sameCell : 0) |
        (rowType === type ? sameType : 0) |
        (sibling.origin === last?.origin ? sameOrigin : 0) |
        (sibling.agent === last?.agent ? sameAgent : 0) |
        (sibling.expires !== 0 ? hasExpiry : 0)
      body.number(head)
      items += 4
      if ((head & sameKey) === 0) {
        const shared = sharedPrefix(key, rowKey)
        body.number(shared)
        body.string(rowKey.slice(shared))
        items += 2
        key = rowKey
      }
      if ((head & sameType) === 0) {
        body.number((type = rowType))
        items++
      }
      if (!continued) {
        body.rawBinary(path)
        items++
      }
      if ((head & sameOrigin) === 0) {
        body.number(places.get(sibling.origin) as number)
        items++
      }
      body.number(sibling.seq - (seqs.get(sibling.origin) ?? 0))
      body.number(sibling.time - (last?.time ?? 0))
      if ((head & sameAgent) === 0) {
        body.number(agents.get(sibling.agent) as number)
        items++
      }
      body.raw(sibling.value)
      if (sibling.expires !== 0) {
        body.number(sibling.expires)
        items++
      }
      seqs.set(sibling.origin, sibling.seq)
      last = sibling
      continued = true
    }
  }
  const head = new Writer()
  head.begin()
  head.array(4)
  head.array(origins.length)
  for (const origin of origins) writeOrigin(head, origin)
  head.array(origins.length)
  for (const origin of origins) head.number(vector.get(origin) as number)
  head.array(agentNames.length)
  for (const agent of agentNames) head.string(agent)
  head.array(items)
  head.raw(body.finish())
  return head.finish().slice()
}

/** Throws `malformed`. Order is not checked here: whoever must know encodes again and compares. */
export function decodeSnapshot(
  bytes: Uint8Array,
  vector: Vector,
  each: (key: string, type: TypeId, path: Path, sibling: Sibling) => void,
): void {
  const reader: Reader = new Reader(bytes)
  if (reader.array() !== 4) reader.fail('a snapshot has four parts')
  const origins: OriginId[] = []
  for (let left = reader.array(); left > 0; left--) origins.push(readOrigin(reader))
  if (reader.array() !== origins.length) reader.fail('a sequence for each origin')
  for (const origin of origins) vector.set(origin, reader.uint() || reader.fail('sequences start at 1'))
  const agents: string[] = []
  for (let left = reader.array(); left > 0; left--) agents.push(reader.string())
  let key = ''
  let type = 0
  let path = ''
  let last: Sibling | undefined
  const seqs = new Map<OriginId, number>()
  let left = reader.array()
  while (left > 0) {
    const head = reader.uint(63)
    left -= 4
    if ((head & sameKey) === 0) {
      const shared = reader.uint(key.length)
      key = key.slice(0, shared) + reader.string()
      left -= 2
    }
    if ((head & sameType) === 0) {
      type = reader.uint(255)
      left--
    }
    if ((head & sameCell) === 0) {
      const at = reader.at
      reader.raw()
      path = binaryString(bytes, at, reader.at)
      left--
    }
    let origin = last?.origin
    if ((head & sameOrigin) === 0) {
      origin = origins[reader.uint(origins.length - 1)]
      left--
    }
    if (origin === undefined) reader.fail('the first item names its origin')
    const seq = (seqs.get(origin) ?? 0) + reader.number()
    const time = (last?.time ?? 0) + reader.number()
    if (!Number.isSafeInteger(seq) || seq < 1) reader.fail('a sequence out of range')
    if (!Number.isSafeInteger(time) || time < 0) reader.fail('a time out of range')
    if (!covers(vector, { origin, seq })) reader.fail('a dot beyond the vector')
    let agent = last?.agent
    if ((head & sameAgent) === 0) {
      agent = agents[reader.uint(agents.length - 1)]
      left--
    }
    if (agent === undefined) reader.fail('the first item names its agent')
    const value = reader.raw()
    let expires = 0
    if ((head & hasExpiry) !== 0) {
      expires = reader.uint()
      left--
    }
    last = { origin, seq, time, agent, value, expires }
    seqs.set(origin, seq)
    each(key, type, path, last)
  }
  if (left !== 0) reader.fail('half an item')
  reader.finish()
}

/** Code units that both start with, never splitting a surrogate pair. */
function sharedPrefix(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  let shared = 0
  while (shared < length && a.charCodeAt(shared) === b.charCodeAt(shared)) shared++
  if (shared > 0 && (b.charCodeAt(shared - 1) & 0xfc00) === 0xd800) shared--
  return shared
}
