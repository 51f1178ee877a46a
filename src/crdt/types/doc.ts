/**
 * The doc: an Automerge document whose changes are cells, each under its own hash, so that a change that arrives by two
 * routes is one cell. A *snapshot* is the whole document in Automerge's compact form, in a delta that clears the entry:
 * it supersedes exactly the changes that its writer had and none that is concurrent.
 *
 * The cells are the truth; the document in the memo is a copy of what they say (document-copy.ts).
 *
 *  - Foreign bytes, a peer's cells among them, reach Automerge only through automerge-check.ts, when all that they depend
 *    on is here, and when the objects that they name are. A change is taken only if Automerge then gives it back byte for
 *    byte: otherwise the document could be saved and not loaded again. Automerge's panics are errors that leave it
 *    usable (tested); the document in which one happened is freed and made anew without its cause.
 *  - Local edits are written by an actor of their own: origin and key hashed, and the sequence at which it began, so that
 *    no actor's sequence is ever used twice, whatever crashed, was deleted or rolled back.
 *
 * The value is plain JSON: texts and counters as what they show, dates in ISO form, big integers as the nearest number.
 */
import type * as A from '@automerge/automerge'
import { assert } from '../../base/assert.ts'
import { binaryString, compareUtf8, equalBytes, fromHex, utf8 } from '../../base/bytes.ts'
import { SkeinError } from '../../base/errors.ts'
import { hash128, lanes } from '../../base/hash.ts'
import { limits } from '../../base/limits.ts'
import { encodeValue } from '../../base/msgpack.ts'
import type { Value } from '../../base/value.ts'
import { pathOf, pathValue } from '../cell.ts'
import { timeToMs } from '../clock.ts'
import { compareDots } from '../dot.ts'
import type { OriginId } from '../dot.ts'
import type { Cells, Change, CrdtType, Reading, Written } from '../type.ts'
import { invalid, list } from './arguments.ts'
import type { Arguments } from './arguments.ts'
import { checkChunks, objectDepth, tooDeep } from './automerge-check.ts'
import type { ChangeChunk, Chunk, ObjectFacts } from './automerge-check.ts'
import { bytesArgument, cellBytes, Copy, documentInvalid } from './document-copy.ts'
import type { Source, Taken, UnreadCell } from './document-copy.ts'
import { automerge } from './document-libraries.ts'

type Fields = Record<string, unknown>
type Json = Value

/** Changes that are taken together where some of them may be bad. */
const carefulBatch = 32
/** Changes over which Automerge may fail before all that are left stay out. */
const failures = 64
/** Operations of a document that is searched for values that lost. Measured: 5,000 take some 25 ms. */
const searchedOperations = 50_000

type Flaw = 'clash' | 'deep' | 'failed'

/** What one cell holds: a snapshot, a change, or several changes. */
class DocSource implements Source {
  readonly bytes: Uint8Array
  readonly chunks: readonly Chunk[]
  flaw: Flaw | undefined
  /** Changes of it that still wait for others. */
  waiting = 0

  constructor(bytes: Uint8Array, chunks: readonly Chunk[]) {
    this.bytes = bytes
    this.chunks = chunks
  }

  /** Ready for another document. */
  restart(): void {
    this.flaw = undefined
    this.waiting = 0
  }
}

/** A change on its way into the document. */
interface Incoming {
  readonly change: ChangeChunk
  readonly source: DocSource
}

/** The operations of a change that is in the document. */
interface Known {
  readonly startOp: number
  readonly maxOp: number
}

class DocCopy extends Copy<DocSource> {
  #doc: A.Doc<Fields> = automerge().init<Fields>({ actor: '00' })
  /** The sequence at which the actor of local edits began, once the document has it. */
  #since: number | undefined
  readonly #known = new Map<string, Known>()
  /** An actor's changes in the order of their sequences, the first at 0. */
  readonly #actors = new Map<string, Known[]>()
  readonly #objects = new Map<string, ObjectFacts>()
  /** By the hash that they wait for. */
  readonly #waiting = new Map<string, Incoming[]>()
  /** No change was made without knowing all before it: nothing can have lost. */
  #linear = true
  #reading: Reading<Json> | undefined

  protected override reset(): void {
    free(this.#doc)
    this.#doc = automerge().init<Fields>({ actor: '00' })
    this.#since = undefined
    this.#known.clear()
    this.#actors.clear()
    this.#objects.clear()
    this.#waiting.clear()
    this.#linear = true
    this.#reading = undefined
  }

  protected override check(bytes: Uint8Array): DocSource | undefined {
    const chunks = checkChunks(bytes)
    return 'refused' in chunks ? undefined : new DocSource(bytes, chunks)
  }

  protected override waits(source: DocSource): boolean {
    return source.waiting > 0
  }

  protected override feed(fresh: readonly Taken<DocSource>[]): boolean {
    try {
      const batch: Incoming[] = []
      this.#admit(this.#changesOf(fresh), batch, Infinity)
      this.#reading = undefined
      return this.#apply(batch)
    } catch {
      return false
    }
  }

  protected override feedAnew(all: readonly Taken<DocSource>[]): void {
    this.reset()
    if (this.feed(all)) return
    this.reset()
    for (const { source } of all) source?.restart()
    this.#admit(this.#changesOf(all), undefined, failures)
  }

  /** The changes in these cells. The first snapshot is loaded as it is; of a second one what is new is taken singly. */
  #changesOf(fresh: readonly Taken<DocSource>[]): Incoming[] {
    const incoming: Incoming[] = []
    for (const { source } of fresh) {
      for (const chunk of source?.chunks ?? []) {
        if (source === undefined) continue
        if (chunk.kind === 'change') {
          incoming.push({ change: chunk, source })
          continue
        }
        try {
          const loaded = automerge().load<Fields>(chunk.bytes, { actor: '00' })
          if (this.#known.size === 0 && incoming.length === 0) this.#adopt(loaded, chunk.objects)
          else {
            for (const bytes of automerge().getAllChanges(loaded)) incoming.push({ change: oneChange(bytes), source })
            free(loaded)
          }
        } catch {
          source.flaw = 'failed'
        }
      }
    }
    return incoming
  }

  #adopt(loaded: A.Doc<Fields>, objects: readonly ObjectFacts[]): void {
    free(this.#doc)
    this.#doc = loaded
    for (const object of objects) this.#objects.set(object.name, object)
    let last: string | undefined
    for (const { hash, deps, actor, startOp, maxOp } of automerge().getChangesMetaSince(loaded, [])) {
      this.#learn(hash, actor, { startOp, maxOp })
      if (last !== undefined && !(deps.length === 1 && deps[0] === last)) this.#linear = false
      last = hash
    }
  }

  #learn(hash: string, actor: string, known: Known): void {
    this.#known.set(hash, known)
    const changes = this.#actors.get(actor)
    if (changes === undefined) this.#actors.set(actor, [known])
    else changes.push(known)
  }

  /**
   * Takes changes in as soon as all that they depend on is there; the rest waits. With a batch they are only put into
   * it; without one they are applied, and what fails stays out.
   */
  #admit(incoming: readonly Incoming[], batch: Incoming[] | undefined, mayFail: number): void {
    for (const { source } of incoming) source.waiting++
    const ready = [...incoming].reverse()
    let careful: Incoming[] = []
    let failed = 0
    const flush = (): void => {
      const together = careful
      careful = []
      if (together.length === 0 || (together.length > 1 && this.#tryApply(together))) return
      for (const one of together) this.#forget(one.change)
      for (const one of together) {
        if (
          failed < mayFail &&
          one.change.deps.every((dep) => this.#known.has(dep)) &&
          this.#judge(one.change) === undefined
        ) {
          this.#register(one.change)
          if (this.#tryApply([one])) continue
          this.#forget(one.change)
        }
        one.source.flaw = 'failed'
        failed++
      }
    }
    for (let next = ready.pop(); next !== undefined || careful.length > 0; next = ready.pop()) {
      if (next === undefined) {
        flush()
        continue
      }
      const { change, source } = next
      const missing = change.deps.find((dep) => !this.#known.has(dep))
      if (missing !== undefined) {
        const others = this.#waiting.get(missing)
        if (others === undefined) this.#waiting.set(missing, [next])
        else others.push(next)
        continue
      }
      source.waiting--
      if (!this.#known.has(change.hash)) {
        const flaw = failed < mayFail ? this.#judge(change) : 'failed'
        if (flaw !== undefined) {
          source.flaw = flaw
          continue
        }
        this.#register(change)
        if (batch !== undefined) batch.push(next)
        else {
          careful.push(next)
          if (careful.length >= carefulBatch) flush()
        }
      }
      const woken = this.#waiting.get(change.hash)
      if (woken === undefined || !this.#known.has(change.hash)) continue
      this.#waiting.delete(change.hash)
      for (const one of woken.reverse()) ready.push(one)
    }
  }

  /** What Automerge would stumble over. */
  #judge(change: ChangeChunk): Flaw | undefined {
    const before = this.#actors.get(change.actor) ?? []
    if (change.seq <= before.length) return 'clash'
    const last = before.at(-1)
    if (change.seq !== before.length + 1 || (last !== undefined && change.startOp <= last.maxOp)) return 'failed'
    // Operations count on from those that their writer knew; of a change without any, Automerge cannot save a gap.
    const seen = change.deps.reduce((most, dep) => Math.max(most, this.#known.get(dep)?.maxOp ?? 0), 0)
    if (change.startOp <= seen || (change.maxOp < change.startOp && change.startOp > seen + 1)) return 'failed'
    for (const { name, keyed, made } of change.targets) {
      const object = this.#objects.get(name)
      if (object?.keyed !== keyed) return 'failed'
      for (const { depth } of made) if (object.depth + depth > objectDepth) return 'deep'
    }
    return undefined
  }

  #register(change: ChangeChunk): void {
    const { hash, actor, startOp, maxOp } = change
    this.#learn(hash, actor, { startOp, maxOp })
    for (const object of change.made) this.#objects.set(object.name, object)
    for (const target of change.targets) {
      const above = this.#objects.get(target.name)?.depth ?? 0
      for (const object of target.made) this.#objects.set(object.name, { ...object, depth: above + object.depth })
    }
  }

  #forget(change: ChangeChunk): void {
    const changes = this.#actors.get(change.actor)
    const known = this.#known.get(change.hash)
    if (changes === undefined || known === undefined) return
    this.#known.delete(change.hash)
    changes.splice(changes.indexOf(known), 1)
    for (const object of [...change.made, ...change.targets.flatMap(({ made }) => made)])
      this.#objects.delete(object.name)
  }

  #tryApply(batch: readonly Incoming[]): boolean {
    const before = this.#doc
    try {
      this.#doc = automerge().clone(before, { actor: '00' })
      if (this.#apply(batch)) {
        free(before)
        return true
      }
    } catch {
      // Its document goes, like one that gives back something else.
    }
    free(this.#doc)
    this.#doc = before
    return false
  }

  /** False if Automerge does not give these changes back as they were. It may throw; the document is unusable then. */
  #apply(batch: readonly Incoming[]): boolean {
    if (batch.length === 0) return true
    const heads = automerge().getHeads(this.#doc)
    if (this.#linear) {
      let last = heads.length === 1 ? heads[0] : undefined
      for (const [at, { change }] of batch.entries()) {
        const follows = change.deps.length === 1 && change.deps[0] === last
        if (!follows && !(at === 0 && heads.length === 0 && change.deps.length === 0)) this.#linear = false
        last = change.hash
      }
    }
    const [doc] = automerge().applyChanges(
      this.#doc,
      batch.map(({ change }) => change.bytes),
    )
    this.#doc = doc
    const given = new Set(batch.map(({ change }) => binaryString(change.bytes)))
    const back = automerge().getChangesSince(doc, heads)
    return back.length === given.size && back.every((bytes) => given.has(binaryString(oneChange(bytes).bytes)))
  }

  /** Takes foreign changes in; what is then to be written. */
  receive(bytes: Uint8Array): readonly DocSource[] {
    const chunks = checkChunks(bytes)
    if ('refused' in chunks) throw documentInvalid(`not a change of Automerge: ${chunks.refused}`)
    const sources: DocSource[] = []
    const incoming: Incoming[] = []
    for (const chunk of chunks) {
      if (chunk.kind !== 'change') throw documentInvalid('a whole document; send its changes')
      if (this.#known.has(chunk.hash) || this.#holds(chunk.hash)) continue
      const source = new DocSource(chunk.bytes, [chunk])
      sources.push(source)
      incoming.push({ change: chunk, source })
    }
    const batch: Incoming[] = []
    this.#admit(incoming, batch, Infinity)
    for (const { flaw } of sources) if (flaw !== undefined) throw documentInvalid(flawMessages[flaw])
    this.#reading = undefined
    let cause: unknown
    try {
      if (this.#apply(batch)) return sources
    } catch (error) {
      cause = error
    }
    // One that waited here for these may be the bad one: that is settled when the copy is made anew.
    if (batch.some(({ source }) => !sources.includes(source))) this.distrust()
    else throw documentInvalid('Automerge cannot take the change as it is', cause)
    return sources
  }

  /** Is there a live cell of that change, though it waits? */
  #holds(hash: string): boolean {
    for (const { source } of this.all()) {
      if (source?.chunks.some((chunk) => chunk.kind === 'change' && chunk.hash === hash) === true) return true
    }
    return false
  }

  /** Runs a local edit; what is then to be written. */
  edit(key: string, change: Change, make: (fields: Fields) => void): readonly DocSource[] {
    this.#authorFor(key, change)
    const before = this.#doc
    const after = automerge().change(before, { time: Math.floor(change.nowMs / 1000) }, make)
    if (after === before) return []
    this.#doc = after
    const bytes = automerge().getLastLocalChange(after)
    assert(bytes !== undefined, 'a local edit makes a change')
    const chunks = checkChunks(bytes)
    const [chunk] = 'refused' in chunks ? [] : chunks
    const deep = 'refused' in chunks && chunks.refused === tooDeep
    if (deep || (chunk?.kind === 'change' && this.#judge(chunk) === 'deep')) {
      throw new SkeinError('too_deep', `a document may be nested ${objectDepth} deep`, { limit: objectDepth })
    }
    if (chunk?.kind !== 'change') {
      throw new SkeinError('too_large', `a value may take ${limits.documentItems} operations, one for each character`)
    }
    this.#register(chunk)
    this.#reading = undefined
    return [new DocSource(chunk.bytes, [chunk])]
  }

  /**
   * The actor may be one that an earlier copy wrote with, as long as all that it wrote is here: so it is when the newest
   * own cell is, for nothing but a snapshot that holds it all, or a deletion of that cell too, takes away older ones.
   */
  #authorFor(key: string, { origin, seq }: Change): void {
    if (this.#since !== undefined) return
    const newest = this.newestOf(origin)
    const prefix = actorPrefix(origin, key)
    let since = newest[0] && sinceOf(newest[0], prefix)
    if (newest.some((one) => this.unreadReason(one) !== undefined || sinceOf(one, prefix) !== since)) since = undefined
    if (since === undefined) {
      since = seq
      while (this.#actors.has(actorOf(prefix, since))) since += 2 ** 32
    }
    const before = this.#doc
    this.#doc = automerge().clone(before, { actor: actorOf(prefix, since) })
    free(before)
    this.#since = since
  }

  /** Writes changes that the copy has taken in, or in their place a snapshot that contains them. */
  put(change: Change, sources: readonly DocSource[]): void {
    if (sources.length === 0) return
    const folded = this.#fold(change, sources)
    if (folded !== undefined) {
      const place = [change.time, change.nextIndex()]
      if (this.#since !== undefined) place.push(this.#since)
      return this.write(change, pathOf(place), folded)
    }
    for (const source of sources) {
      const [chunk] = source.chunks as readonly [ChangeChunk]
      this.write(change, pathOf(fromHex(chunk.hash)), source)
    }
  }

  /** A snapshot, or several changes in one, in place of the cells that it contains, if it is time for one. */
  #fold(change: Change, written: readonly DocSource[]): DocSource | undefined {
    const fold = this.foldNow(written)
    const whole = fold?.whole === true ? this.#snapshot() : undefined
    if (whole !== undefined) {
      this.supersede(change)
      return whole
    }
    if (fold === undefined || fold.segment.length === 0) return undefined
    this.supersede(change, fold.segment)
    const chunks = [
      ...fold.segment.flatMap(({ source }) => source?.chunks ?? []),
      ...written.flatMap((one) => one.chunks),
    ]
    return new DocSource(concatenated(chunks.map(({ bytes }) => bytes)), chunks)
  }

  /** The whole document, if it fits a cell and whoever reads it will find in it what is here. */
  #snapshot(): DocSource | undefined {
    const bytes = automerge().save(this.#doc)
    if (bytes.length > cellBytes) return undefined
    const chunks = checkChunks(bytes)
    if ('refused' in chunks || chunks.length !== 1) return undefined
    try {
      const loaded = automerge().load<Fields>(bytes, { actor: '00' })
      const stands = equalHeads(automerge().getHeads(loaded), automerge().getHeads(this.#doc))
      free(loaded)
      return stands ? new DocSource(bytes, chunks) : undefined
    } catch {
      return undefined
    }
  }

  get doc(): A.Doc<Fields> {
    return this.#doc
  }

  /** Is there no concurrent value beside the one that is shown? */
  isAlone(container: object, name: Name): boolean {
    return (
      automerge()
        .getBackend(this.#doc)
        .getAll(automerge().getObjectId(container) ?? '_root', name).length < 2
    )
  }

  get reading(): Reading<Json> {
    this.#reading ??= { value: plain(this.#doc), concurrent: this.#linear ? [] : this.#losers() }
    return this.#reading
  }

  /** Values of concurrent writes that others beat, most recent first. */
  #losers(): readonly Written<unknown>[] {
    const losers: Written<unknown>[] = []
    const { numOps, numActors } = automerge().stats(this.#doc)
    if (numActors < 2 || numOps > searchedOperations) return losers
    const backend = automerge().getBackend(this.#doc)
    const at = (object: string, name: string | number): void => {
      for (const [kind, value, id] of backend.getAll(object, name).slice(0, -1)) {
        const shown = kind === 'text' ? backend.text(value as string) : undefined
        const nested = kind === 'map' || kind === 'list' ? backend.materialize(value as string) : undefined
        losers.push(this.#written(id ?? (value as string), plain(shown ?? nested ?? value)))
      }
    }
    for (const patch of backend.diff([], backend.getHeads())) {
      if (patch.action === 'put' && patch.conflict === true) {
        const name = patch.path.at(-1) as string | number
        at(objectAt(backend, patch.path.slice(0, -1)), name)
      } else if (patch.action === 'insert' && patch.conflicts?.includes(true) === true) {
        const first = patch.path.at(-1) as number
        const object = objectAt(backend, patch.path.slice(0, -1))
        for (const [offset, conflict] of patch.conflicts.entries()) if (conflict) at(object, first + offset)
      }
    }
    return losers.sort((a, b) => b.at - a.at || compareDots(b.dot, a.dot))
  }

  /** The newest live cell with that operation's change; if there is none it is in a snapshot, and the newest stands in. */
  #written(id: string, value: Json): Written<Json> {
    const [counter, actor] = [Number.parseInt(id), id.slice(id.indexOf('@') + 1)]
    let cell: Taken<DocSource> | undefined
    let snapshot: Taken<DocSource> | undefined
    for (const one of this.all()) {
      for (const chunk of one.source?.chunks ?? []) {
        if (chunk.kind === 'document') snapshot = newer(snapshot, one)
        else if (chunk.actor === actor && chunk.startOp <= counter && counter <= chunk.maxOp) cell = newer(cell, one)
      }
    }
    const from = cell ?? snapshot
    assert(from !== undefined, 'every operation comes from a cell')
    return { value, agent: from.agent, at: timeToMs(from.time), dot: from.dot }
  }
}

function newer(a: Taken<DocSource> | undefined, b: Taken<DocSource>): Taken<DocSource> {
  if (a === undefined) return b
  return (a.time - b.time || compareDots(a.dot, b.dot)) > 0 ? a : b
}

const flawMessages: Readonly<Record<Flaw, string>> = {
  clash: 'the change has a sequence that its actor used already: two writers use one actor id',
  deep: `the change nests objects more than ${objectDepth} deep`,
  failed: 'the change names objects or sequences that the document does not have',
}

function free(doc: A.Doc<Fields>): void {
  try {
    automerge().free(doc)
  } catch {
    // After a panic there can be nothing left to free.
  }
}

function equalHeads(a: readonly string[], b: readonly string[]): boolean {
  return [...a].sort().join() === [...b].sort().join()
}

/** A change that Automerge gave out. Throws where that was made of what the check would have refused. */
function oneChange(bytes: Uint8Array): ChangeChunk {
  const chunks = checkChunks(bytes)
  const [chunk] = 'refused' in chunks ? [] : chunks
  if (chunk?.kind !== 'change') throw documentInvalid('a change that the check refuses')
  return chunk
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((size, { length }) => size + length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** An actor's name is this and the sequence at which it began. */
function actorPrefix(origin: OriginId, key: string): string {
  const name = utf8(`${origin} ${key}`)
  hash128(name, 0, name.length, 0x61, 0x6d, 0, 0)
  return [lanes[0], lanes[1]].map((lane) => (lane as number).toString(16).padStart(8, '0')).join('')
}

function actorOf(prefix: string, since: number): string {
  return prefix + since.toString(16).padStart(16, '0')
}

/** Of the actor that wrote local edits with a cell: what its name says, or the third part of the path of a fold. */
function sinceOf({ path, source }: Taken<DocSource>, prefix: string): number | undefined {
  const place = pathValue(path)
  if (Array.isArray(place)) {
    const since: unknown = place[2]
    return typeof since === 'number' ? since : undefined
  }
  const chunk = source?.chunks[0]
  if (chunk?.kind !== 'change' || !chunk.actor.startsWith(prefix)) return undefined
  const since = Number.parseInt(chunk.actor.slice(prefix.length), 16)
  return Number.isSafeInteger(since) ? since : undefined
}

function objectAt(backend: ReturnType<typeof A.getBackend>, path: readonly (string | number)[]): string {
  let object = '_root'
  for (const name of path) object = backend.get(object, name) as string
  return object
}

/** As JSON, with what Automerge has beyond it as its nearest: never deeper than objects nest. */
function plain(value: unknown): Json {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return Number.isFinite(value) ? value : null
    case 'bigint':
      return Number(value)
    case 'object':
      break
    default:
      return null
  }
  if (value === null || value instanceof Uint8Array) return value
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof automerge().Counter) return plain(value.value)
  if (automerge().isImmutableString(value)) return value.val
  if (Array.isArray(value)) return value.map(plain)
  const fields: Record<string, Json> = {}
  for (const name of Object.keys(value).sort(compareUtf8)) {
    // It cannot be held safely; whoever needs it has the document.
    if (name !== '__proto__') fields[name] = plain((value as Fields)[name])
  }
  return fields
}

function sameJson(value: Json, bytes: Uint8Array): boolean {
  try {
    return equalBytes(encodeValue(value), bytes)
  } catch {
    // A document may hold what a value may not: deeper nesting, text that is not well-formed.
    return false
  }
}

/** The copy behind an entry, as its cells are now. */
function open(cells: Cells): DocCopy {
  const { memo } = cells
  const copy = memo.value instanceof DocCopy ? memo.value : new DocCopy()
  memo.value = copy
  copy.follow(cells)
  return copy
}

/** Opens the copy for an operation; when that throws, the copy may hold half of it and is forgotten. */
function withCopy(cells: Cells, run: (copy: DocCopy) => void): undefined {
  try {
    run(open(cells))
  } catch (error) {
    cells.memo.value = undefined
    throw error
  }
  return undefined
}

type Name = string | number

function pathArgument(args: Arguments): readonly [...Name[], Name] {
  const given = list(args, 'path')
  const names = given.map((name, at): Name => {
    if (typeof name === 'string') {
      if (name === '__proto__') throw new SkeinError('reserved_name', 'a field cannot be called __proto__')
      if (!name.isWellFormed()) throw new SkeinError('invalid_value', 'a field name holds a lone surrogate')
      return name
    }
    if (typeof name === 'number' && Number.isSafeInteger(name) && name >= 0) return name
    throw invalid(`path[${at}]`, 'a field name or a position from 0', name)
  })
  if (names.length === 0 || names.length > objectDepth)
    throw invalid('path', `an array of 1 to ${objectDepth} names`, given)
  return names as unknown as readonly [...Name[], Name]
}

function isContainer(value: unknown): value is Fields | unknown[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || value instanceof Date) return false
  return !(value instanceof automerge().Counter) && !automerge().isImmutableString(value)
}

/** The member of a container, checked: undefined where a map has none, or a list ends there. */
function member(container: Fields | unknown[], name: Name, at: number): unknown {
  if (!Array.isArray(container)) {
    if (typeof name === 'string') return Object.hasOwn(container, name) ? container[name] : undefined
    throw invalid(`path[${at}]`, 'a field name, for there is a map', name)
  }
  if (typeof name === 'string') throw invalid(`path[${at}]`, 'a position, for there is a list', name)
  if (name > container.length) {
    throw new SkeinError('out_of_range', `path[${at}]: the list has ${container.length} items`, {
      length: container.length,
    })
  }
  return container[name]
}

/** The container that holds the last name of a path, or undefined where nothing is there. */
function holder(root: Fields, path: readonly Name[]): Fields | unknown[] | undefined {
  let container: Fields | unknown[] = root
  for (const [at, name] of path.slice(0, -1).entries()) {
    const next = member(container, name, at)
    if (next === undefined) return undefined
    if (!isContainer(next)) throw invalid(`path[${at}]`, 'a map or a list', next)
    container = next
  }
  return container
}

export const doc: CrdtType<Json> = {
  id: 11,
  name: 'doc',
  merge: 'as Automerge merges: edits of maps, lists and texts are all kept; of values set at once one is shown',
  mergesWithin: true,
  operations: {
    set: {
      parameters: ['path', 'value'],
      run: (cells, change, args) =>
        withCopy(cells, (copy) => {
          const path = pathArgument(args)
          const value: unknown = args['value']
          if (value === undefined) throw invalid('value', 'a value', value)
          const bytes = encodeValue(value)
          const last = path.at(-1) as Name
          const container = holder(copy.doc, path)
          if (container !== undefined) {
            const there = member(container, last, path.length - 1)
            if (there !== undefined && copy.isAlone(container, last) && sameJson(plain(there), bytes)) return
          } else if (path.some((name) => typeof name === 'number')) {
            throw new SkeinError('out_of_range', 'the path leads into a list that is not there')
          }
          const set = (fields: Fields): void => {
            let into = fields
            for (const name of path.slice(0, -1)) {
              if (into[name] === undefined) into[name] = {}
              into = into[name] as Fields
            }
            into[last] = copied(value)
          }
          copy.put(change, copy.edit(cells.key, change, set))
        }),
    },
    unset: {
      parameters: ['path'],
      run: (cells, change, args) =>
        withCopy(cells, (copy) => {
          const path = pathArgument(args)
          const last = path.at(-1) as Name
          const container = holder(copy.doc, path)
          if (container === undefined || member(container, last, path.length - 1) === undefined) return
          const unset = (fields: Fields): void => {
            let into = fields
            for (const name of path.slice(0, -1)) into = into[name] as Fields
            if (Array.isArray(into)) into.splice(last as number, 1)
            else Reflect.deleteProperty(into, last)
          }
          copy.put(change, copy.edit(cells.key, change, unset))
        }),
    },
    change: {
      parameters: ['change'],
      run: (cells, change, args) =>
        withCopy(cells, (copy) => copy.put(change, copy.receive(bytesArgument(args, 'change')))),
    },
  },
  read: (cells) => {
    try {
      return open(cells).reading
    } catch {
      // No bytes are known that pass all checks and then cannot be read; if there are any, reading them is no fault.
      return { value: {}, concurrent: [] }
    }
  },
}

/** The same data as Automerge takes it: without what counts as absent, and what its integers do not hold as floats. */
function copied(value: unknown): unknown {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value))
    return new (automerge().Float64)(value)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (Array.isArray(value)) return value.map(copied)
  const fields = value as Fields
  return Object.fromEntries(
    Object.keys(fields).flatMap((name) => (fields[name] === undefined ? [] : [[name, copied(fields[name])]])),
  )
}

/** The whole document, the caller's own, with an actor of its own: changes to it go back as `change`. */
export function automergeDoc(cells: Cells): A.Doc<Fields> {
  // Made anew: parts of a clone still belong to the document that it was cloned from, which may be freed.
  return automerge().applyChanges(automerge().init<Fields>(), automerge().getAllChanges(open(cells).doc))[0]
}

/** Every change that the document shows, in an order in which they can be applied. */
export function changes(cells: Cells): readonly Uint8Array[] {
  return automerge().getAllChanges(open(cells).doc)
}

/** The cells that the document does not show, for reports. Only a deletion of the entry takes them away. */
export function unreadDoc(cells: Cells): readonly UnreadCell[] {
  return open(cells).unread()
}
