/**
 * The rows of one directory, read by a second pair of eyes. It takes them as a plain scan gives them, decodes every key
 * and value by itself (sharing only the MessagePack reader and the hash with src/), and adds up anew what the replica
 * keeps up incrementally: tree, counts, chains, segments, expiries. The log is replayed into the plain State of crdt/,
 * the definition that everything faster is compared with.
 */
import { createHash } from 'node:crypto'
import { compareBytes, equalBytes, toHex } from '../../src/base/bytes.ts'
import { checksum32, hash128, lanes } from '../../src/base/hash.ts'
import { Reader, Writer } from '../../src/base/msgpack.ts'
import type { Row } from '../../src/base/rows.ts'
import { decodeDelta } from '../../src/crdt/delta.ts'
import type { Delta } from '../../src/crdt/delta.ts'
import type { OriginId } from '../../src/crdt/dot.ts'
import { encodeSnapshot, State } from '../../src/crdt/state.ts'
import { Findings } from './findings.ts'
import type { Finding } from './findings.ts'

/** As docs and src/replica/row-keys.ts have it, written down a second time. */
const tables = {
  meta: 1,
  origin: 2,
  agent: 3,
  space: 4,
  entry: 5,
  chunk: 6,
  writer: 7,
  log: 8,
  segment: 9,
  leaf: 10,
  expiry: 11,
  context: 17,
} as const

export interface LogRow {
  readonly place: number
  readonly body: Uint8Array
}

export interface WriterPicture {
  readonly origin: OriginId
  readonly seq: number
  readonly chain: Uint32Array
  readonly time: number
  readonly place: number
  readonly floor: number
  readonly bytes: number
  readonly openFirst: number
  readonly openBytes: number
  readonly context: ReadonlyMap<OriginId, number>
}

interface SiblingPicture {
  readonly origin: OriginId
  readonly seq: number
  readonly time: number
  readonly agent: string
  readonly expires: number
  readonly value: Uint8Array
}

interface CellPicture {
  readonly key: string
  readonly type: number
  readonly path: string
  readonly siblings: readonly SiblingPicture[]
}

export interface SpacePicture {
  readonly number: number
  readonly name: string
  readonly generation: number
  readonly deleted: boolean
  readonly places: number
  readonly entryCount: number
  readonly root: Uint32Array
  readonly writers: Map<OriginId, WriterPicture>
  readonly logs: Map<OriginId, Map<number, LogRow>>
  readonly cells: CellPicture[]
}

export interface Picture {
  readonly node: string
  readonly spaces: readonly SpacePicture[]
  readonly rows: number
  readonly findings: readonly Finding[]
}

interface RawSpace extends SpacePicture {
  readonly entries: [key: string, row: Uint8Array][]
  readonly chunks: Map<string, Map<number, Uint8Array>>
  readonly leaves: Map<number, Uint8Array>
  readonly segments: Map<OriginId, Map<number, { last: number; bytes: number; time: number }>>
  readonly expiries: Set<string>
  /** Contexts at which others begin, by number: the changes from an earlier one, 0 for nothing seen. */
  readonly anchors: Map<number, { readonly parent: number; readonly changes: readonly (readonly [OriginId, number])[] }>
  /** Where the context of a writer begins, which its row goes on from. */
  readonly begins: Map<OriginId, number>
}

class KeyReader {
  readonly #bytes: Uint8Array
  at = 1

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  short(): number {
    const first = this.#bytes[this.at++] as number
    return first < 0x80 ? first : ((first & 0x7f) << 8) | (this.#bytes[this.at++] as number)
  }

  ordered(): number {
    let value = 0
    for (let left = this.#bytes[this.at++] as number; left > 0; left--)
      value = value * 256 + (this.#bytes[this.at++] as number)
    return value
  }

  take(length: number): Uint8Array {
    this.at += length
    if (this.at > this.#bytes.length) throw new RangeError('a key is cut')
    return this.#bytes.subarray(this.at - length, this.at)
  }

  rest(): Uint8Array {
    return this.take(this.#bytes.length - this.at)
  }
}

const text = new TextDecoder('utf-8', { fatal: true })
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

/** `remembered` gives chains known from before, so that a pruned log is checked too. */
export function rebuild(rows: readonly Row[], remembered?: Memory): Picture {
  const findings = new Findings()
  const origins: OriginId[] = []
  const agents: string[] = []
  const byNumber = new Map<number, RawSpace>()
  let node = ''
  const spaceOf = (number: number): RawSpace => {
    const space = byNumber.get(number)
    if (space === undefined) throw new RangeError(`a row of space ${number}, which is not there`)
    return space
  }
  const originOf = (number: number): OriginId => {
    const origin = origins[number]
    if (origin === undefined) throw new RangeError(`origin number ${number} has no name`)
    return origin
  }
  let before: Uint8Array | undefined
  for (const [key, value] of rows) {
    if (before !== undefined && compareBytes(before, key) >= 0)
      findings.add('rows', `key ${toHex(key)} is out of order`)
    before = key
    try {
      const at = new KeyReader(key)
      switch (key[0]) {
        case tables.meta:
          if (text.decode(key.subarray(1)) === 'node') node = latin1(value)
          break
        case tables.origin:
          if (at.ordered() !== origins.length) findings.add('rows', `origin numbers have a hole before ${toHex(key)}`)
          origins.push(toHex(value) as OriginId)
          break
        case tables.agent:
          if (at.ordered() !== agents.length) findings.add('rows', `agent numbers have a hole before ${toHex(key)}`)
          agents.push(text.decode(value))
          break
        case tables.space: {
          const number = at.short()
          byNumber.set(number, readSpace(number, value))
          break
        }
        case tables.entry: {
          const space = spaceOf(at.short())
          space.entries.push([text.decode(at.rest()), value])
          break
        }
        case tables.chunk: {
          const space = spaceOf(at.short())
          const entry = text.decode(at.take(at.ordered()))
          const chunks = space.chunks.get(entry) ?? new Map<number, Uint8Array>()
          space.chunks.set(entry, chunks.set(at.ordered(), value))
          break
        }
        case tables.writer: {
          const space = spaceOf(at.short())
          const { begins, ...writer } = readWriter(originOf(at.ordered()), value, originOf)
          space.writers.set(writer.origin, writer)
          if (begins > 0) space.begins.set(writer.origin, begins)
          break
        }
        case tables.context: {
          const space = spaceOf(at.short())
          const reader = new Reader(value)
          const parent = reader.uint()
          const changes: [OriginId, number][] = []
          for (let left = reader.array(); left > 0; left -= 2) changes.push([originOf(reader.uint()), reader.uint()])
          reader.finish()
          space.anchors.set(at.ordered(), { parent, changes })
          break
        }
        case tables.log: {
          const space = spaceOf(at.short())
          const origin = originOf(at.ordered())
          const log = space.logs.get(origin) ?? new Map<number, LogRow>()
          const reader = new Reader(value)
          const place = reader.uint()
          space.logs.set(origin, log.set(at.ordered(), { place, body: value.subarray(reader.at) }))
          break
        }
        case tables.segment: {
          const space = spaceOf(at.short())
          const origin = originOf(at.ordered())
          const segments =
            space.segments.get(origin) ?? new Map<number, { last: number; bytes: number; time: number }>()
          const reader = new Reader(value)
          segments.set(at.ordered(), { last: reader.uint(), bytes: reader.uint(), time: reader.uint() })
          reader.finish()
          space.segments.set(origin, segments)
          break
        }
        case tables.leaf: {
          const space = spaceOf(at.short())
          const [high = 0, low = 0] = at.take(2)
          space.leaves.set((high << 8) | low, value)
          break
        }
        case tables.expiry:
          spaceOf(at.short()).expiries.add(latin1(at.rest()))
          break
        default:
          findings.add('rows', `a row of no table: ${toHex(key)}`)
      }
    } catch (error) {
      findings.add('rows', `row ${toHex(key.subarray(0, 40))} cannot be read: ${(error as Error).message}`)
    }
  }
  const spaces = [...byNumber.values()]
  for (const space of spaces) joinContexts(space, findings)
  for (const space of spaces) if (!space.deleted) checkSpace(space, originOf, agents, remembered, findings)
  return { node, spaces, rows: rows.length, findings: findings.list }
}

/** The contexts of writers in full. */
function joinContexts(space: RawSpace, findings: Findings): void {
  for (const [origin, begins] of space.begins) {
    const steps: (readonly (readonly [OriginId, number])[])[] = []
    for (let at = begins; at > 0;) {
      const anchor = space.anchors.get(at)
      if (anchor === undefined || anchor.parent >= at) {
        findings.add('rows', `the context of ${origin} begins at ${at}, which is not there`)
        break
      }
      steps.push(anchor.changes)
      at = anchor.parent
    }
    const writer = space.writers.get(origin) as WriterPicture
    const context = new Map<OriginId, number>()
    for (const changes of [...steps.reverse(), [...writer.context]]) {
      for (const [other, seq] of changes) {
        if (seq === 0) context.delete(other)
        else context.set(other, seq)
      }
    }
    space.writers.set(origin, { ...writer, context })
  }
}

function readSpace(number: number, value: Uint8Array): RawSpace {
  const reader = new Reader(value)
  const name = reader.string()
  const generation = reader.uint()
  const deleted = reader.uint() === 1
  const places = reader.uint()
  const entryCount = reader.uint()
  const root = readSum(reader)
  reader.finish()
  return {
    number,
    name,
    generation,
    deleted,
    places,
    entryCount,
    root,
    writers: new Map(),
    logs: new Map(),
    cells: [],
    entries: [],
    chunks: new Map(),
    leaves: new Map(),
    segments: new Map(),
    expiries: new Set(),
    anchors: new Map(),
    begins: new Map(),
  }
}

/** The count and four big-endian lanes; here the count comes last, as the sums below have it. */
function readSum(reader: Reader): Uint32Array {
  const sum = new Uint32Array(5)
  sum[4] = reader.uint()
  for (let lane = 0; lane < 4; lane++)
    for (let i = 0; i < 4; i++) sum[lane] = ((sum[lane] as number) << 8) | reader.byte()
  return sum
}

function readWriter(
  origin: OriginId,
  value: Uint8Array,
  originOf: (number: number) => OriginId,
): WriterPicture & { readonly begins: number } {
  const reader = new Reader(value)
  const seq = reader.uint()
  const chain = Uint32Array.from({ length: 4 }, () => reader.uint())
  const [time, place, floor] = [reader.uint(), reader.uint(), reader.uint()] as const
  const [bytes, openFirst, openBytes] = [reader.uint(), reader.uint(), reader.uint()] as const
  const context = new Map<OriginId, number>()
  let left = reader.array()
  const begins = left % 2 === 1 ? reader.uint() : 0
  for (left -= left % 2; left > 0; left -= 2) context.set(originOf(reader.uint()), reader.uint())
  reader.finish()
  return { begins, origin, seq, chain, time, place, floor, bytes, openFirst, openBytes, context }
}

const scratch = new Writer()

function leafOf(key: string): number {
  scratch.rewind()
  scratch.string(key)
  return checksum32(scratch.bytes, 0, scratch.at, 0x6c656166) >>> 16
}

function addDigest({ key, type, path }: CellPicture, sibling: SiblingPicture, sums: readonly Uint32Array[]): void {
  scratch.rewind()
  scratch.string(key)
  scratch.number(type)
  scratch.rawBinary(path)
  scratch.raw(Buffer.from(sibling.origin, 'hex'))
  scratch.number(sibling.seq)
  scratch.number(sibling.time)
  scratch.string(sibling.agent)
  scratch.number(sibling.expires)
  scratch.raw(sibling.value)
  hash128(scratch.bytes, 0, scratch.at, 0x736b6569, 0x6e2d6365, 0x6c6c2d31, 0)
  for (const sum of sums) {
    for (let lane = 0; lane < 4; lane++) sum[lane] = (sum[lane] as number) + (lanes[lane] as number)
    sum[4] = (sum[4] as number) + 1
  }
}

function readCells(
  bytes: Uint8Array,
  key: string,
  originOf: (number: number) => OriginId,
  agents: readonly string[],
): CellPicture[] {
  const reader = new Reader(bytes)
  const cells: CellPicture[] = []
  while (!reader.done) {
    const type = reader.uint(255)
    const path = latin1(reader.raw())
    const count = reader.number()
    const siblings: SiblingPicture[] = []
    for (let left = Math.abs(count); left > 0; left--) {
      const origin = originOf(reader.uint())
      const [seq, time] = [reader.uint(), reader.uint()] as const
      const agent = agents[reader.uint()]
      if (agent === undefined) throw new RangeError('an agent number has no name')
      const expires = count < 0 ? reader.uint() : 0
      siblings.push({ origin, seq, time, agent, expires, value: reader.raw() })
    }
    cells.push({ key, type, path, siblings })
  }
  return cells
}

function readEntry(
  space: RawSpace,
  key: string,
  row: Uint8Array,
  originOf: (number: number) => OriginId,
  agents: readonly string[],
  findings: Findings,
): CellPicture[] {
  const chunks = space.chunks.get(key) ?? new Map<number, Uint8Array>()
  space.chunks.delete(key)
  if (row[0] !== 0xc0) {
    if (chunks.size > 0) findings.add('rows', `${key} has chunks that its row does not name`)
    return readCells(row, key, originOf, agents)
  }
  const reader = new Reader(row, 1)
  const next = reader.uint()
  const types = new Map<number, number>()
  for (let left = reader.array(); left > 0; left -= 2) types.set(reader.uint(), reader.uint())
  const cells: CellPicture[] = []
  for (let left = reader.array(); left > 0; left -= 3) {
    const first = latin1(reader.bin())
    const [id, count] = [reader.uint(), reader.uint()] as const
    const chunk = chunks.get(id)
    chunks.delete(id)
    if (chunk === undefined) throw new RangeError(`chunk ${id} of ${key} has no row`)
    if (id >= next) findings.add('rows', `${key} will give chunk number ${id} out again`)
    const held = readCells(chunk, key, originOf, agents)
    if (held.length !== count)
      findings.add('rows', `chunk ${id} of ${key} holds ${held.length} cells and is said to hold ${count}`)
    if (held.some((cell) => nameOf(cell) < first))
      findings.add('rows', `chunk ${id} of ${key} holds a cell before its first`)
    cells.push(...held)
  }
  reader.finish()
  if (chunks.size > 0) findings.add('rows', `${key} has chunks that its directory does not name`)
  for (const [type, count] of types) {
    const held = cells.filter((cell) => cell.type === type).length
    if (held !== count) findings.add('rows', `${key} counts ${count} cells of type ${type} and holds ${held}`)
  }
  return cells
}

function nameOf({ type, path }: CellPicture): string {
  return String.fromCharCode(type) + path
}

function checkSpace(
  space: RawSpace,
  originOf: (number: number) => OriginId,
  agents: readonly string[],
  remembered: Memory | undefined,
  findings: Findings,
): void {
  const where = `${space.name}#${space.generation}`
  for (const [key, row] of space.entries) {
    try {
      const cells = readEntry(space, key, row, originOf, agents, findings)
      if (cells.length === 0) findings.add('rows', `${where}: ${key} has a row and no cell`)
      for (let i = 1; i < cells.length; i++) {
        if (nameOf(cells[i - 1] as CellPicture) >= nameOf(cells[i] as CellPicture))
          findings.add('rows', `${where}: cells of ${key} are out of order`)
      }
      space.cells.push(...cells)
    } catch (error) {
      findings.add('rows', `${where}: ${key} cannot be read: ${(error as Error).message}`)
    }
  }
  for (const key of space.chunks.keys()) findings.add('rows', `${where}: chunks of ${key}, which is not there`)
  checkCells(space, where, findings)
  for (const writer of space.writers.values()) checkLog(space, writer, where, remembered, findings)
  for (const origin of space.logs.keys())
    if (!space.writers.has(origin)) findings.add('log', `${where}: a log of ${origin}, who never wrote`)
  checkPlaces(space, where, findings)
  checkReplay(space, where, findings)
}

/** Tree, counts, expiries, and that the vector covers what lives. */
function checkCells(space: RawSpace, where: string, findings: Findings): void {
  const root = new Uint32Array(5)
  const leaves = new Map<number, Uint32Array>()
  const expiries = new Set<string>()
  for (const cell of space.cells) {
    if (cell.siblings.length === 0) findings.add('rows', `${where}: ${cell.key} holds an empty cell`)
    const leaf = leafOf(cell.key)
    const sum = leaves.get(leaf) ?? new Uint32Array(5)
    leaves.set(leaf, sum)
    const dots = new Set<string>()
    for (const sibling of cell.siblings) {
      dots.add(`${sibling.origin}-${sibling.seq}`)
      if (sibling.seq > (space.writers.get(sibling.origin)?.seq ?? 0)) {
        findings.add(
          'covered',
          `${where}: ${cell.key} holds ${sibling.origin}-${sibling.seq}, which the vector does not cover`,
        )
      }
      addDigest(cell, sibling, [sum, root])
      if (sibling.expires !== 0) expiries.add(expiryKey(cell, sibling))
    }
    if (dots.size !== cell.siblings.length) findings.add('rows', `${where}: ${cell.key} holds a dot twice`)
  }
  if (root.some((lane, i) => lane !== space.root[i]))
    findings.add('tree', `${where}: the root is not the sum of the cells`)
  if (space.entries.length !== space.entryCount) {
    findings.add('tree', `${where}: ${space.entryCount} entries are counted and ${space.entries.length} are there`)
  }
  for (const [leaf, row] of space.leaves) {
    const sum = leaves.get(leaf)
    leaves.delete(leaf)
    const reader = new Reader(row)
    const stored = readSum(reader)
    reader.finish()
    if (sum === undefined || sum.some((lane, i) => lane !== stored[i]))
      findings.add('tree', `${where}: leaf ${leaf} is not the sum of its cells`)
  }
  for (const leaf of leaves.keys()) findings.add('tree', `${where}: leaf ${leaf} has cells and no row`)
  for (const key of expiries)
    if (!space.expiries.delete(key)) findings.add('rows', `${where}: something expires without a row that says so`)
  if (space.expiries.size > 0)
    findings.add('rows', `${where}: ${space.expiries.size} expiry rows of nothing that lives`)
}

function ordered(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; rest > 0 || bytes.length === 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return Buffer.from([bytes.length, ...bytes])
}

function expiryKey(cell: CellPicture, { origin, seq, expires }: SiblingPicture): string {
  const key = Buffer.from(cell.key)
  const name = Buffer.from(nameOf(cell), 'latin1')
  const parts = [
    ordered(expires),
    ordered(key.length),
    key,
    ordered(name.length),
    name,
    Buffer.from(origin, 'hex'),
    ordered(seq),
  ]
  return Buffer.concat(parts).toString('latin1')
}

function checkLog(
  space: RawSpace,
  writer: WriterPicture,
  where: string,
  remembered: Memory | undefined,
  findings: Findings,
): void {
  const { origin, seq: head, floor } = writer
  const log = space.logs.get(origin) ?? new Map<number, LogRow>()
  const of = `${where}: the log of ${origin}`
  for (const seq of log.keys())
    if (seq < floor || seq > head) findings.add('log', `${of} holds ${seq}, outside of ${floor} to ${head}`)
  const known = remembered?.chain(where, origin)
  let chain = floor === 1 ? startChain(space, origin) : undefined
  const context = new Map<OriginId, number>()
  let bytes = 0
  let time = 0
  for (let seq = floor; seq <= head; seq++) {
    const row = log.get(seq)
    if (known?.seq === seq - 1 && chain === undefined) chain = known.chain.slice()
    if (row === undefined) {
      findings.add('log', `${of} lacks ${seq} (it reaches from ${floor} to ${head})`)
      return
    }
    bytes += row.body.length
    let delta: Delta
    try {
      delta = decodeDelta(origin, seq, row.body)
    } catch (error) {
      findings.add('log', `${of}: ${seq} is no delta: ${(error as Error).message}`)
      return
    }
    if (delta.time <= time) findings.add('log', `${of}: the time of ${seq} does not grow`)
    time = delta.time
    for (const dot of delta.context) context.set(dot.origin, dot.seq)
    if (chain === undefined) continue
    const link = new DataView(delta.link.buffer, delta.link.byteOffset, 8)
    if (link.getUint32(0) !== chain[0] || link.getUint32(4) !== chain[1])
      findings.add('chain', `${of}: ${seq} does not link to the one before it`)
    hash128(row.body, 0, row.body.length, ...([...chain] as [number, number, number, number]))
    chain.set(lanes)
  }
  if (chain !== undefined && chain.some((lane, i) => lane !== writer.chain[i]))
    findings.add('chain', `${of}: its chain hash is not that of its deltas`)
  if (bytes !== writer.bytes) findings.add('log', `${of} holds ${bytes} bytes and is said to hold ${writer.bytes}`)
  if (head >= floor && writer.time !== time) findings.add('log', `${of}: its last time is not that of its last delta`)
  if (head >= floor && writer.place !== log.get(head)?.place)
    findings.add('log', `${of}: its last place is not that of its last delta`)
  if (floor === 1 && !sameMap(context, writer.context))
    findings.add('log', `${of}: its context is not what its deltas saw`)
  checkSegments(space, writer, log, of, findings)
}

/** Closed segments and the open one tile the log from the floor to the head. */
function checkSegments(
  space: RawSpace,
  writer: WriterPicture,
  log: ReadonlyMap<number, LogRow>,
  of: string,
  findings: Findings,
): void {
  const segments = [...(space.segments.get(writer.origin) ?? [])].map(([first, { last, bytes }]) => ({
    first,
    last,
    bytes,
  }))
  if (writer.openFirst > 0) segments.push({ first: writer.openFirst, last: writer.seq, bytes: writer.openBytes })
  let next = writer.floor
  for (const { first, last, bytes } of segments.sort((a, b) => a.first - b.first)) {
    if (first !== next) findings.add('log', `${of}: a segment starts at ${first}, expected at ${next}`)
    let sum = 0
    for (let seq = first; seq <= last; seq++) sum += log.get(seq)?.body.length ?? 0
    if (sum !== bytes)
      findings.add('log', `${of}: the segment from ${first} holds ${sum} bytes and is said to hold ${bytes}`)
    next = last + 1
  }
  if (next !== writer.seq + 1) findings.add('log', `${of}: segments end at ${next - 1}, the log at ${writer.seq}`)
}

function checkPlaces(space: RawSpace, where: string, findings: Findings): void {
  const places = new Set<number>()
  let count = 0
  for (const log of space.logs.values()) {
    for (const { place } of log.values()) {
      places.add(place)
      count++
      if (place > space.places) findings.add('log', `${where}: place ${place} is beyond ${space.places}`)
    }
  }
  if (places.size !== count) findings.add('log', `${where}: two deltas share a place`)
  let pruned = 0
  let heads = 0
  for (const { seq, floor } of space.writers.values()) {
    pruned += floor - 1
    heads += seq
  }
  if (heads !== space.places)
    findings.add('log', `${where}: ${heads} deltas were applied and ${space.places} places given out`)
  if (count !== heads - pruned) findings.add('log', `${where}: ${count} log rows for ${heads - pruned} deltas`)
}

function checkReplay(space: RawSpace, where: string, findings: Findings): void {
  if ([...space.writers.values()].some(({ floor }) => floor > 1)) return
  const deltas = [...space.logs].flatMap(([origin, log]) => [...log].map(([seq, row]) => ({ origin, seq, ...row })))
  deltas.sort((a, b) => a.place - b.place)
  const state = new State()
  const vector = new Map([...space.writers.values()].map(({ origin, seq }) => [origin, seq]))
  try {
    for (const { origin, seq, body } of deltas) {
      const delta = decodeDelta(origin, seq, body)
      if (!state.ready(delta)) return findings.add('replay', `${where}: ${origin}-${seq} stands before what it follows`)
      state.apply(delta)
    }
    const cells = space.cells.map(({ key, type, path, siblings }) => [key, type, path, siblings] as const)
    if (equalBytes(state.encode(), encodeSnapshot(vector, cells))) return
    findings.add('replay', `${where}: ${firstDifference(state, space.cells)}`)
  } catch (error) {
    findings.add('replay', `${where}: it cannot be replayed: ${(error as Error).message}`)
  }
}

function firstDifference(state: State, cells: readonly CellPicture[]): string {
  const shown = (siblings: readonly SiblingPicture[]): string =>
    siblings.map(({ origin, seq, value }) => `${origin.slice(16)}-${seq}=${toHex(value.subarray(0, 24))}`).join(' ')
  const stored = new Map(cells.map((cell) => [`${cell.key} ${cell.type} ${cell.path}`, shown(cell.siblings)]))
  for (const [key, type, path, siblings] of state.cells()) {
    const name = `${key} ${type} ${path}`
    if (stored.get(name) !== shown(siblings))
      return `the log makes ${key} [${shown(siblings)}], its row has [${stored.get(name) ?? ''}]`
    stored.delete(name)
  }
  const [more] = stored.keys()
  return more === undefined ? 'the vectors differ' : `there is a cell that the log does not make: ${more}`
}

function startChain({ name, generation }: SpacePicture, origin: OriginId): Uint32Array {
  scratch.rewind()
  scratch.string(name)
  scratch.number(generation)
  scratch.bin(Buffer.from(origin, 'hex'))
  hash128(scratch.bytes, 0, scratch.at, 0x736b6569, 0x6e, 0, 1)
  return lanes.slice()
}

function sameMap(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value)
}

/** What the tester remembers of a directory across crashes; the engine cannot talk it out of it. */
export class Memory {
  readonly #bodies = new Map<string, string>()
  readonly #chains = new Map<string, { readonly seq: number; readonly chain: Uint32Array }>()
  readonly #incarnations = new Set<string>()
  readonly #fences = new Map<string, number>()

  chain(where: string, origin: OriginId): { readonly seq: number; readonly chain: Uint32Array } | undefined {
    return this.#chains.get(`${where} ${origin}`)
  }

  /** Same dot, same bytes, for ever. `picture` is remembered on the way. */
  meet({ spaces }: Picture): readonly Finding[] {
    const findings = new Findings()
    for (const space of spaces) {
      const where = `${space.name}#${space.generation}`
      for (const [origin, log] of space.logs) {
        for (const [seq, { body }] of log) {
          const name = `${where} ${origin} ${seq}`
          const digest = createHash('sha1').update(body).digest('base64')
          const known = this.#bodies.get(name)
          if (known === undefined) this.#bodies.set(name, digest)
          else if (known !== digest)
            findings.add('dot', `${where}: ${origin}-${seq} has other bytes than it had before`)
        }
      }
      if (space.deleted) continue
      for (const { origin, seq, chain } of space.writers.values()) {
        const known = this.#chains.get(`${where} ${origin}`)
        if (known?.seq === seq && known.chain.some((lane, i) => lane !== chain[i])) {
          findings.add('chain', `${where}: the chain of ${origin} at ${seq} is not what it was`)
        }
        this.#chains.set(`${where} ${origin}`, { seq, chain: chain.slice() })
      }
    }
    return findings.list
  }

  /** A new opening. */
  incarnation(origin: string): readonly Finding[] {
    if (this.#incarnations.has(origin))
      return [{ rule: 'incarnation', what: `${origin} was an earlier opening's already` }]
    this.#incarnations.add(origin)
    return []
  }

  /** A fence that somebody was given, acknowledged, or that was read after a crash. */
  fence(where: string, fence: number): readonly Finding[] {
    const known = this.#fences.get(where) ?? 0
    if (fence < known) return [{ rule: 'fence', what: `${where} is at ${fence} and was at ${known}` }]
    this.#fences.set(where, fence)
    return []
  }
}
