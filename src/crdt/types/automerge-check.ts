/**
 * A bounded structural walk over Automerge's binary format (version 1 of its specification: chunks of columns in RLE,
 * delta and boolean coding). Automerge's own decoder is Rust in WebAssembly and mostly answers with an error, but a run
 * length of 2^40 is two bytes, and what contradicts itself makes it panic in the middle of a document. So bytes from
 * outside pass here first.
 *
 * The verdict is a function of the bytes alone, in time linear in them and in what their compressed parts inflate to,
 * which is bounded. Of a change it checks the columns value by value: rows of all columns agree, every name points at an
 * actor that the change lists and at an operation before itself, an operation has the parts that its kind needs. Whether
 * the objects it names exist is for the document to say (doc.ts). Of a document chunk, the form of our snapshots, it
 * checks the frame and that the rows of its columns are bounded; that its changes give the hashes it claims Automerge
 * checks itself.
 */
import { inflateRawSync } from 'node:zlib'
import { toHex } from '../../base/bytes.ts'
import { limits } from '../../base/limits.ts'
import { sha256 } from './sha256.ts'

/** What the compressed parts of one cell may inflate to. A guess: sixty times the largest value. */
const inflatedBytes = 16 * 1024 * 1024
/** Rows of a document chunk: operations of a whole history. A guess; Automerge takes some 100 bytes for each. */
export const documentRows: number = 2 * limits.documentItems
/** Objects in objects. Automerge needs 20 s for a change of 10 KB that nests 5,000. A guess: far beyond any document. */
export const objectDepth = 100
export const tooDeep = 'objects nested too deep'
/** Automerge counts operations in 32 bits, of which we leave one. */
const maxCounter = 2 ** 31 - 1

/** A map (keyed), or a list or text. Its name is that of the operation that made it: `counter@actor`. */
export interface ObjectFacts {
  readonly name: string
  readonly keyed: boolean
  /** Levels below the root: 1 for what stands in the root. */
  readonly depth: number
}

/** An object that a change writes to and did not make itself. */
export interface Target {
  readonly name: string
  /** It is written to by key, not by position. */
  readonly keyed: boolean
  /** Objects that the change makes in it, at any depth; theirs is counted from it. */
  readonly made: readonly ObjectFacts[]
}

export interface ChangeChunk {
  readonly kind: 'change'
  readonly bytes: Uint8Array
  readonly hash: string
  readonly deps: readonly string[]
  readonly actor: string
  readonly seq: number
  readonly startOp: number
  /** The counter of its last operation; startOp - 1 without any. */
  readonly maxOp: number
  /** What it makes in objects of its own in the root. */
  readonly made: readonly ObjectFacts[]
  readonly targets: readonly Target[]
}

export interface DocumentChunk {
  readonly kind: 'document'
  readonly bytes: Uint8Array
  readonly heads: readonly string[]
  readonly objects: readonly ObjectFacts[]
}

export type Chunk = ChangeChunk | DocumentChunk

export interface Refused {
  readonly refused: string
}

const stop = new Error('refused')
let why = ''

function refuse(reason: string): never {
  why = reason
  throw stop
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

class Walk {
  readonly bytes: Uint8Array
  at: number
  readonly end: number

  constructor(bytes: Uint8Array, at: number = 0, end: number = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  get done(): boolean {
    return this.at >= this.end
  }

  byte(): number {
    if (this.at >= this.end) refuse('cut short')
    return this.bytes[this.at++] as number
  }

  take(length: number): Walk {
    if (length > this.end - this.at) refuse('a length beyond the end')
    this.at += length
    return new Walk(this.bytes, this.at - length, this.at)
  }

  view(): Uint8Array {
    return this.bytes.subarray(this.at, this.end)
  }

  /** LEB128. */
  uint(): number {
    let value = 0
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (value > Number.MAX_SAFE_INTEGER || scale > 2 ** 49) refuse('a number beyond 2^53')
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) refuse('a longer number than needed')
        return value
      }
    }
  }

  /** Signed LEB128 of at most 2^53. */
  int(): number {
    let value = 0
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (scale > 2 ** 49) refuse('a number beyond 2^53')
      if (byte < 0x80) {
        const signed = (byte & 0x40) === 0 ? value : value - scale * 0x80
        if (!Number.isSafeInteger(signed)) refuse('a number beyond 2^53')
        return signed
      }
    }
  }

  /** A number of 64 bits whose value nobody here needs. */
  wide(): void {
    for (let length = 1; this.byte() >= 0x80; length++) if (length === 10) refuse('a number beyond 64 bits')
  }

  count(least: number = 1): number {
    const count = this.uint()
    if (count * least > this.end - this.at) refuse('a count beyond the end')
    return count
  }

  string(): void {
    const { bytes, at, end } = this.take(this.uint())
    for (let i = at; i < end; i++) {
      if ((bytes[i] as number) < 0x80) continue
      try {
        utf8.decode(bytes.subarray(at, end))
        return
      } catch {
        refuse('a string that is not UTF-8')
      }
    }
  }

  hex(length: number): string {
    return toHex(this.take(length).view())
  }

  hashes(): string[] {
    return Array.from({ length: this.count(32) }, () => this.hex(32))
  }

  actor(): string {
    return this.hex(this.uint())
  }
}

/** A column of numbers: null, or what was coded. */
type Numbers = (number | null)[]

/** Runs of equal values, of different ones and of nulls; `each` reads one value. */
function runs(walk: Walk, rows: number, each: () => number): Numbers {
  const values: Numbers = []
  while (!walk.done) {
    const length = walk.int()
    const count = length === 0 ? walk.uint() : Math.abs(length)
    if (count === 0 || count > rows - values.length) refuse('a column of too many rows')
    if (length > 0) {
      const value = each()
      for (let left = count; left > 0; left--) values.push(value)
    } else if (length < 0) for (let left = count; left > 0; left--) values.push(each())
    else for (let left = count; left > 0; left--) values.push(null)
  }
  return values
}

function uints(walk: Walk, rows: number): Numbers {
  return runs(walk, rows, () => walk.uint())
}

function strings(walk: Walk, rows: number): Numbers {
  return runs(walk, rows, () => {
    walk.string()
    return 0
  })
}

function deltas(walk: Walk, rows: number): Numbers {
  const values = runs(walk, rows, () => walk.int())
  let sum = 0
  for (const [at, step] of values.entries()) {
    if (step === null) continue
    sum += step
    if (!Number.isSafeInteger(sum)) refuse('a number beyond 2^53')
    values[at] = sum
  }
  return values
}

/** Runs of false and true in turn. */
function booleans(walk: Walk, rows: number): Numbers {
  const values: Numbers = []
  for (let value = 0; !walk.done; value = 1 - value) {
    const count = walk.uint()
    if (count > rows - values.length) refuse('a column of too many rows')
    if (count === 0 && values.length > 0) refuse('a run of nothing')
    for (let left = count; left > 0; left--) values.push(value)
  }
  return values
}

/** The low three bits of a column's number say how it is coded. */
function column(walk: Walk, spec: number, rows: number): Numbers {
  switch (spec & 7) {
    case 3:
      return deltas(walk, rows)
    case 4:
      return booleans(walk, rows)
    case 5:
      return strings(walk, rows)
    default:
      return uints(walk, rows)
  }
}

const valueKind = { string: 6, bytes: 7, counter: 8, timestamp: 9 } as const

/** The bytes of values, whose kinds and lengths another column says. */
function values(raw: Walk, kinds: Numbers): void {
  for (const meta of kinds) {
    const kind = (meta ?? 0) & 15
    const part = raw.take(Math.floor((meta ?? 0) / 16))
    const length = part.end - part.at
    if (kind <= 2) {
      if (length > 0) refuse('a value of the wrong length')
    } else if (kind === 5) {
      if (length !== 8) refuse('a value of the wrong length')
    } else if (kind === valueKind.string) {
      try {
        utf8.decode(part.view())
      } catch {
        refuse('a string that is not UTF-8')
      }
    } else if (kind > valueKind.timestamp) refuse('a value of an unknown kind')
    else if (kind !== valueKind.bytes) {
      part.wide()
      if (!part.done) refuse('a value of the wrong length')
    }
  }
  if (!raw.done) refuse('values that nobody names')
}

const rawSpec = 0x57
const metaSpec = 0x56
const deflated = 8

interface ColumnSpec {
  readonly spec: number
  readonly packed: boolean
  readonly length: number
}

function columnSpecs(walk: Walk, known: ReadonlySet<number>, mayPack: boolean): ColumnSpec[] {
  const specs: ColumnSpec[] = []
  let before = -1
  for (let left = walk.count(2); left > 0; left--) {
    const given = walk.uint()
    const packed = Math.floor(given / deflated) % 2 === 1
    const spec = packed ? given - deflated : given
    if (packed && !mayPack) refuse('a compressed column in a change')
    if (!known.has(spec)) refuse('an unknown column')
    if (spec <= before) refuse('columns out of order')
    before = spec
    specs.push({ spec, packed, length: walk.uint() })
  }
  return specs
}

type Columns = ReadonlyMap<number, Walk>

/** `budget.left` is what may still be inflated. */
function columnData(walk: Walk, specs: readonly ColumnSpec[], budget: { left: number }): Columns {
  const columns = new Map<number, Walk>()
  for (const { spec, packed, length } of specs) {
    const part = walk.take(length)
    columns.set(spec, packed ? new Walk(inflate(part.view(), budget)) : part)
  }
  return columns
}

function inflate(bytes: Uint8Array, budget: { left: number }): Uint8Array {
  try {
    const { buffer, engine } = inflateRawSync(bytes, {
      maxOutputLength: Math.max(1, budget.left),
      info: true,
    }) as unknown as {
      readonly buffer: Uint8Array
      readonly engine: { readonly bytesWritten: number }
    }
    budget.left -= buffer.length
    if (engine.bytesWritten === bytes.length) return buffer
  } catch {
    // Said below.
  }
  return refuse('a compressed part that is damaged or too large')
}

const spec = {
  objectActor: 0x01,
  objectCounter: 0x02,
  keyActor: 0x11,
  keyCounter: 0x13,
  keyString: 0x15,
  insert: 0x34,
  action: 0x42,
  valueMeta: metaSpec,
  value: rawSpec,
  predCount: 0x70,
  predActor: 0x71,
  predCounter: 0x73,
  expand: 0x94,
  markName: 0xa5,
} as const

const changeColumns: ReadonlySet<number> = new Set(Object.values(spec))
const documentChangeColumns: ReadonlySet<number> = new Set([
  0x01,
  0x03,
  0x13,
  0x23,
  0x35,
  0x40,
  0x43,
  metaSpec,
  rawSpec,
])
const documentOperationColumns: ReadonlySet<number> = new Set([
  0x01,
  0x02,
  0x11,
  0x13,
  0x15,
  0x21,
  0x23,
  0x34,
  0x42,
  0x80,
  0x81,
  0x83,
  0x94,
  0xa5,
  metaSpec,
  rawSpec,
])

const action = { makeMap: 0, makeList: 2, delete: 3, makeText: 4, increment: 5, makeTable: 6, mark: 7 } as const

/** Is the object that this action makes written to by key? Undefined when it makes none. */
function keyedBy(what: number | null | undefined): boolean | undefined {
  if (what === action.makeMap) return true
  return what === action.makeList || what === action.makeText ? false : undefined
}

interface Operations {
  readonly count: number
  readonly made: readonly ObjectFacts[]
  readonly targets: readonly Target[]
}

function operations(columns: Columns, actors: readonly string[], startOp: number): Operations {
  const none = new Walk(new Uint8Array())
  const actions = uints(columns.get(spec.action) ?? none, limits.documentItems)
  const count = actions.length
  const read = (which: number, rows: number = count): Numbers => column(columns.get(which) ?? none, which, rows)
  const objectActors = read(spec.objectActor)
  const objectCounters = read(spec.objectCounter)
  const keyActors = read(spec.keyActor)
  const keyCounters = read(spec.keyCounter)
  const keyStrings = read(spec.keyString)
  const inserts = read(spec.insert)
  if (inserts.length !== count) refuse('operations that say not if they insert')
  const kinds = read(spec.valueMeta)
  values(columns.get(spec.value) ?? none, kinds)
  read(spec.expand)
  read(spec.markName)
  const predCounts = read(spec.predCount)
  let preds = 0
  for (const some of predCounts) {
    preds += some ?? refuse('a number of predecessors that is null')
    if (preds > limits.documentItems) refuse('too many predecessors')
  }
  const predActors = read(spec.predActor, preds)
  const predCounters = read(spec.predCounter, preds)
  if (predActors.length !== preds || predCounters.length !== preds) refuse('predecessors that are missing')

  /** The counter of an earlier operation: one of this change if it is not below `startOp`. */
  const earlier = (counter: number | null | undefined, actor: number | null | undefined, own: number): number => {
    if (counter === null || counter === undefined || actor === null || actor === undefined) return refuse('half a name')
    if (actor >= actors.length) refuse('an actor that is not listed')
    if (counter < 1 || counter >= own || (counter >= startOp && actor !== 0)) refuse('a name of no earlier operation')
    return counter
  }
  interface Place {
    readonly into: ObjectFacts[]
    readonly depth: number
  }
  const root: Place = { into: [], depth: 0 }
  const targets = new Map<string, { readonly keyed: boolean; readonly place: Place }>()
  const places = new Map<number, Place>()
  let pred = 0
  for (let row = 0; row < count; row++) {
    const own = startOp + row
    const what = actions[row] as number | null
    if (what === null || what > action.mark || what === action.makeTable) refuse('an operation of an unknown kind')
    const keyed = (keyStrings[row] ?? null) !== null
    const inserted = inserts[row] === 1
    const keyCounter = keyCounters[row] ?? null
    const keyActor = keyActors[row] ?? null
    if (keyed) {
      if (keyCounter !== null || keyActor !== null) refuse('two keys')
      if (inserted) refuse('an insertion under a key')
    } else if (keyCounter === 0 && keyActor === null) {
      if (!inserted) refuse('a write to the head of a list')
    } else earlier(keyCounter, keyActor, own)

    const objectActor = objectActors[row] ?? null
    const objectCounter = objectCounters[row] ?? null
    let place = root
    if (objectActor === null && objectCounter === null) {
      if (!keyed) refuse('a position in the root')
    } else {
      const counter = earlier(objectCounter, objectActor, own)
      if (counter >= startOp) {
        if (keyedBy(actions[counter - startOp]) !== keyed) refuse('a key in a list, or a position in a map')
        place = places.get(counter) ?? root
      } else {
        const name = `${counter}@${actors[objectActor as number] as string}`
        let target = targets.get(name)
        if (target === undefined) targets.set(name, (target = { keyed, place: { into: [], depth: 0 } }))
        else if (target.keyed !== keyed) refuse('a key in a list, or a position in a map')
        place = target.place
      }
    }

    const before = predCounts[row] ?? 0
    for (let left = before; left > 0; left--, pred++) earlier(predCounters[pred], predActors[pred], own)
    const changesSomething = what === action.delete || what === action.increment
    if (inserted && (before > 0 || changesSomething)) refuse('an insertion over something')
    if (what === action.mark && !inserted) refuse('a mark that is no insertion')
    if (before === 0 && changesSomething) refuse('a change of nothing')
    const kind = (kinds[row] ?? 0) % 16
    if (what === action.increment && kind !== 3 && kind !== 4) refuse('an increment by no number')
    const made = keyedBy(what)
    if ((what === action.delete || made !== undefined) && kind > 0) refuse('a value where none belongs')
    if (made !== undefined) {
      const depth = place.depth + 1
      if (depth > objectDepth) refuse(tooDeep)
      place.into.push({ name: `${own}@${actors[0] as string}`, keyed: made, depth })
      places.set(own, { into: place.into, depth })
    }
  }
  return {
    count,
    made: root.into,
    targets: [...targets].map(([name, { keyed, place }]) => ({ name, keyed, made: place.into })),
  }
}

function changeChunk(bytes: Uint8Array, contents: Walk, hash: string): ChangeChunk {
  const deps = contents.hashes()
  const actor = contents.actor()
  const seq = contents.uint()
  const startOp = contents.uint()
  contents.wide() // time
  contents.string() // message
  const actors = [actor, ...Array.from({ length: contents.count() }, () => contents.actor())]
  if (new Set(actors).size < actors.length) refuse('an actor listed twice')
  const specs = columnSpecs(contents, changeColumns, false)
  // What follows the columns Automerge keeps for versions to come.
  const columns = columnData(contents, specs, { left: 0 })
  if (seq < 1 || seq > maxCounter || startOp < 1) refuse('a sequence out of range')
  const { count, made, targets } = operations(columns, actors, startOp)
  const maxOp = startOp + count - 1
  if (maxOp > maxCounter) refuse('an operation out of range')
  return { kind: 'change', bytes, hash, deps, actor, seq, startOp, maxOp, made, targets }
}

/** The objects among a document's operations, each with its depth. */
function objectsOf(columns: ReadonlyMap<number, Numbers>, actors: readonly string[]): ObjectFacts[] {
  const cell = (which: number, row: number): number | null => columns.get(which)?.[row] ?? null
  const made = new Map<string, { readonly parent: string; readonly keyed: boolean; depth: number }>()
  const name = (counter: number | null, actor: number | null): string => `${counter ?? 0}@${actors[actor ?? -1] ?? ''}`
  const rows = columns.get(spec.action)?.length ?? 0
  for (let row = 0; row < rows; row++) {
    const what = cell(spec.action, row)
    if (what === null || what > action.mark || what === action.makeTable) refuse('an operation of an unknown kind')
    const keyed = keyedBy(what)
    if (keyed === undefined) continue
    const parent = name(cell(spec.objectCounter, row), cell(spec.objectActor, row))
    made.set(name(cell(0x23, row), cell(0x21, row)), { parent, keyed, depth: 0 })
  }
  return [...made].map(([object, facts]) => {
    let depth = 1
    for (let above = made.get(facts.parent); above !== undefined; above = made.get(above.parent)) {
      if (++depth > objectDepth) refuse(tooDeep)
      if (above.depth > 0) {
        depth += above.depth - 1
        break
      }
    }
    if (depth > objectDepth) refuse(tooDeep)
    facts.depth = depth
    return { name: object, keyed: facts.keyed, depth }
  })
}

function documentChunk(bytes: Uint8Array, contents: Walk): DocumentChunk {
  const actors = Array.from({ length: contents.count() }, () => contents.actor())
  const heads = contents.hashes()
  const changes = columnSpecs(contents, documentChangeColumns, true)
  const operationColumns = columnSpecs(contents, documentOperationColumns, true)
  const budget = { left: inflatedBytes }
  let read = new Map<number, Numbers>()
  for (const specs of [changes, operationColumns]) {
    read = new Map()
    let inGroup = documentRows
    for (const [which, part] of columnData(contents, specs, budget)) {
      if (which === rawSpec) {
        let length = 0
        for (const meta of read.get(metaSpec) ?? []) length += Math.floor((meta ?? 0) / 16)
        if (length !== part.end - part.at) refuse('a value of the wrong length')
        continue
      }
      // A group column says how many rows its members have for each row.
      const member = (which === 0x43 && specs === changes) || which === 0x81 || which === 0x83
      const found = column(part, which, member ? inGroup : documentRows)
      read.set(which, found)
      if ((which & 7) > 0) continue
      inGroup = 0
      for (const some of found) inGroup += some ?? 0
      if (inGroup > documentRows) refuse('a column of too many rows')
    }
  }
  return { kind: 'document', bytes, heads, objects: objectsOf(read, actors) }
}

const magic = 0x856f4a83

function oneChunk(walk: Walk): Chunk {
  const from = walk.at
  let found = 0
  for (let i = 0; i < 4; i++) found = found * 0x100 + walk.byte()
  if (found !== magic) refuse('no chunk of Automerge')
  const checksum = walk.hex(4)
  const type = walk.byte()
  const contents = walk.take(walk.uint())
  const bytes = walk.bytes.subarray(from, walk.at)
  if (type !== 2) {
    const hash = toHex(sha256(walk.bytes.subarray(from + 8, walk.at)))
    if (!hash.startsWith(checksum)) refuse('a wrong checksum')
    if (type === 1) return changeChunk(bytes, contents, hash)
    return type === 0 ? documentChunk(bytes, contents) : refuse('a chunk of an unknown kind')
  }
  // A compressed change: its checksum is that of what it stands for.
  const inflated = inflate(contents.view(), { left: inflatedBytes })
  const plain = framed(1, inflated)
  const hash = toHex(sha256(plain.subarray(8)))
  if (!hash.startsWith(checksum)) refuse('a wrong checksum')
  plain.set(sha256(plain.subarray(8)).subarray(0, 4), 4)
  return changeChunk(plain, new Walk(inflated), hash)
}

/** A chunk round these contents, its checksum still to be set. */
function framed(type: number, contents: Uint8Array): Uint8Array {
  const head = [0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, type]
  let length = contents.length
  for (; length >= 0x80; length = Math.floor(length / 0x80)) head.push((length % 0x80) | 0x80)
  head.push(length)
  const chunk = new Uint8Array(head.length + contents.length)
  chunk.set(head)
  chunk.set(contents, head.length)
  return chunk
}

/** What a row of chunks says, or why nobody should decode them. Compressed changes come out plain. */
export function checkChunks(bytes: Uint8Array): readonly Chunk[] | Refused {
  try {
    const walk = new Walk(bytes)
    const chunks: Chunk[] = []
    do chunks.push(oneChunk(walk))
    while (!walk.done)
    return chunks
  } catch (error) {
    if (error !== stop) throw error
    return { refused: why }
  }
}
