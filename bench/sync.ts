/**
 * Anti-entropy between two nodes: bytes on the wire, as the codec makes them, and round trips. Nothing is timed, so the same
 * figures come out on every machine.
 */
import { AntiEntropy } from '../src/anti-entropy/anti-entropy.ts'
import { binaryString, compareBytes } from '../src/base/bytes.ts'
import { lanes } from '../src/base/hash.ts'
import { encodeValue } from '../src/base/msgpack.ts'
import { prng } from '../src/base/prng.ts'
import type { Row, RowReader, RowSink } from '../src/base/rows.ts'
import type { Path, Siblings, TypeId } from '../src/crdt/cell.ts'
import { encodeSnapshot } from '../src/crdt/state.ts'
import { register } from '../src/crdt/types/register.ts'
import { Replica } from '../src/replica/replica.ts'
import { spaceRange, table, tableRange, tablesToOpen } from '../src/replica/row-keys.ts'
import type { Space } from '../src/replica/space.ts'
import { digest } from '../src/replica/tree.ts'
import { decodePacket, encodePackets } from '../src/wire/codec.ts'
import type { Frame, NodeId } from '../src/wire/frame.ts'
import { keyOf, textOf } from './data.ts'
import { exactly } from './measure.ts'
import type { Figure, Goal, Outcome, Plan, Scenario, Suite, Unit } from './scenario.ts'
import { fullVectors, lowerBound, merkle, ranges } from './sync-peers.ts'
import type { Cost } from './sync-peers.ts'

const nowMs = 1_800_000_000_000
const pageRows = 512

/** Rows in a map, sorted when somebody scans. */
class Rows implements RowReader, RowSink {
  readonly rows: Map<string, Uint8Array>
  /** Rows of the log are not kept: what is filled in is not to be caught up by deltas. */
  withoutLog = false

  constructor(rows: Map<string, Uint8Array> = new Map()) {
    this.rows = rows
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.rows.get(binaryString(key))
  }

  put(key: Uint8Array, value: Uint8Array): void {
    if (this.withoutLog && key[0] === table.log) return
    this.rows.set(binaryString(key), value.slice())
  }

  del(key: Uint8Array): void {
    this.rows.delete(binaryString(key))
  }

  list({ gte, lt }: { readonly gte: Uint8Array; readonly lt: Uint8Array }): Row[] {
    const [from, to] = [binaryString(gte), binaryString(lt)]
    const names: string[] = []
    for (const name of this.rows.keys()) if (name >= from && name < to) names.push(name)
    const bytes = (name: string): Uint8Array => Uint8Array.from(name, (unit) => unit.charCodeAt(0))
    return names.sort().map((name) => [bytes(name), this.rows.get(name) as Uint8Array])
  }
}

function open(rows: Rows, node: string, incarnation: number): Replica {
  const replica = new Replica({
    node,
    incarnation: incarnation.toString(16).padStart(16, '0'),
    rows,
    cacheBytes: 64_000_000,
    retention: { keepMs: 1e12, keepBytes: 1e12 },
  })
  for (const each of tablesToOpen) for (const [key, value] of rows.list(tableRange(each))) replica.load(key, value)
  return replica
}

class Side {
  readonly node: NodeId
  readonly rows: Rows
  readonly replica: Replica
  readonly space: Space
  readonly sync: AntiEntropy
  readonly scans = new Map<number, { readonly list: readonly Row[]; at: number }>()

  constructor(node: string, rows: Rows) {
    this.node = node as NodeId
    this.rows = rows
    this.replica = open(rows, node, 1)
    this.space = this.replica.open('s')
    this.sync = new AntiEntropy({ node: this.node, replica: this.replica, random: prng(1) })
  }

  write(key: string, value: string): void {
    this.replica.transact(this.space, { nowMs, agent: 'agent-7', reason: undefined }, (change) =>
      change.run(this.space.entry(key), register, register.operations['set'] as never, { value }),
    )
  }

  commit(): void {
    const batch = this.replica.takeBatch(this.rows)
    if (batch === 0) return
    this.replica.stored(batch)
    this.sync.stored(nowMs)
  }
}

interface Exchanged {
  /** Bytes of packets by kind of frame, one frame a packet. */
  readonly bytes: Map<Frame['kind'], number>
  readonly total: number
  readonly roundTrips: number
  /** Round trips until the first delta or cell arrived. */
  readonly first: number
}

/** Greets and lets both talk until nothing is on its way: each frame takes half a round trip. */
function exchange(a: Side, b: Side): Exchanged {
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    one.sync.linkUp(other.node, nowMs)
    one.sync.holds(other.node, [one.space.id])
  }
  const bytes = new Map<Frame['kind'], number>()
  let total = 0
  let half = 0
  let first = 0
  let flying: { readonly to: Side; readonly from: Side; readonly packet: Uint8Array }[] = []
  const collect = (side: Side): void => {
    for (;;) {
      const outputs = side.sync.outputs.splice(0)
      if (outputs.length === 0 && !side.replica.dirty) return
      for (const output of outputs) {
        if (output.kind === 'send') {
          for (const packet of encodePackets([output.frame])) {
            bytes.set(output.frame.kind, (bytes.get(output.frame.kind) ?? 0) + packet.length)
            total += packet.length
            flying.push({ to: side === a ? b : a, from: side, packet })
          }
        } else if (output.kind === 'scan') {
          side.scans.set(output.scan, { list: side.rows.list(spaceRange(table.entry, output.space)), at: 0 })
        } else if (output.kind === 'more') {
          const scan = side.scans.get(output.scan)
          if (scan === undefined) continue
          const rows = scan.list.slice(scan.at, (scan.at += pageRows))
          side.sync.page(output.scan, rows, scan.at >= scan.list.length, side.rows, nowMs)
        } else if (output.kind === 'end-scan') side.scans.delete(output.scan)
        else if (output.kind === 'fault') throw new Error(output.what)
      }
      side.commit()
    }
  }
  a.sync.greetAll(b.node)
  collect(a)
  while (flying.length > 0) {
    const arriving = flying
    flying = []
    half++
    for (const { to, from, packet } of arriving) {
      for (const frame of decodePacket(packet).frames) {
        if (first === 0 && (frame.kind === 'deltas' || frame.kind === 'tree-cells')) first = half
        to.sync.handle(from.node, frame, nowMs)
      }
      collect(to)
    }
  }
  return { bytes, total, roundTrips: half / 2, first: first / 2 }
}

let made: { readonly entries: number; readonly rows: Rows } | undefined

/** A space of so many entries, written by a hundred origins, and the same on another node. */
function filled(entries: number): [Rows, Rows] {
  if (made?.entries !== entries) made = { entries, rows: fill(entries) }
  const { rows } = made.rows
  return [new Rows(new Map(rows)), new Rows(new Map(rows))]
}

const origins = 100

function fill(entries: number): Rows {
  const rows = new Rows()
  rows.withoutLog = true
  const chance = prng(1)
  for (let writer = 0; writer < origins; writer++) {
    const replica = open(rows, 'aaaaaaaaaaaaaaaa', 100 + writer)
    const space = replica.open('s')
    const commit = (): void => {
      const batch = replica.takeBatch(rows)
      if (batch > 0) replica.stored(batch)
    }
    for (let i = writer; i < entries; i += origins) {
      const value = textOf(i, chance)
      replica.transact(space, { nowMs: nowMs - entries + i, agent: 'agent-7', reason: undefined }, (change) =>
        change.run(space.entry(keyOf(i)), register, register.operations['set'] as never, { value }),
      )
      if (i % 4096 < origins) commit()
    }
    commit()
  }
  rows.withoutLog = false
  return rows
}

function figure(name: string, unit: Unit, value: number, goal?: Goal): Figure {
  return { name, unit, value: exactly(value), ...(goal && { goal }) }
}

function costs(name: string, { bytes, roundTrips }: Cost): Figure[] {
  return [figure(`${name}: bytes`, 'bytes', bytes), figure(`${name}: round trips`, 'round trips', roundTrips)]
}

const sizes = ({ quick }: Plan): readonly number[] => (quick ? [10_000, 100_000] : [10_000, 100_000, 1_000_000])

const named = (entries: number): string => `10^${Math.log10(entries)}`

const equal: Scenario = {
  name: 'equal replicas',
  measures: 'One round: a greeting about one space to a peer that holds the same.',
  async run(plan: Plan): Promise<Outcome> {
    const figures: Figure[] = []
    for (const entries of sizes(plan)) {
      plan.progress(`equal, ${entries}`)
      const [one, other] = filled(entries)
      const told = exchange(new Side('aaaaaaaaaaaaaaaa', one), new Side('bbbbbbbbbbbbbbbb', other))
      figures.push(figure(`${named(entries)} entries: bytes`, 'bytes', told.total, { atMost: 32 }))
      figures.push(figure(`${named(entries)} entries: answers`, 'round trips', told.roundTrips - 0.5, { atMost: 0 }))
    }
    return { figures: [...figures, ...costs('full version vectors', fullVectors(origins))] }
  },
}

const missed: Scenario = {
  name: 'missed writes',
  measures: 'A peer lacks the last d deltas of one writer, in a space of 100 origins; one greeting from who has them.',
  async run(plan: Plan): Promise<Outcome> {
    const figures: Figure[] = []
    for (const entries of sizes(plan)) {
      for (const count of [1, 100, 10_000]) {
        plan.progress(`missed ${count} of ${entries}`)
        const [one, other] = filled(entries)
        const a = new Side('aaaaaaaaaaaaaaaa', one)
        const b = new Side('bbbbbbbbbbbbbbbb', other)
        const chance = prng(2)
        for (let i = 0; i < count; i++) a.write(keyOf(chance.below(entries)), textOf(i, chance))
        a.commit()
        let deltaBytes = 0
        const log = a.space.log(a.replica.origin)
        for (let seq = 1; seq <= log.seq; seq++) deltaBytes += log.entry(seq)?.body.length ?? 0
        const told = exchange(a, b)
        if (compareBytes(a.space.contextDigest(), b.space.contextDigest()) !== 0) throw new Error('they differ')
        const most = 1.15 * deltaBytes + 6 * (origins + 1) + 100
        const name = `${named(entries)} entries, ${count} missed`
        figures.push(figure(`${name}: bytes`, 'bytes', told.total, { atMost: Math.floor(most) }))
        figures.push(figure(`${name}: of it deltas`, 'bytes', deltaBytes))
        // From the moment that the peer knows of it: the greeting takes half a round trip before that.
        figures.push(figure(`${name}: to the first`, 'round trips', told.first - 0.5, { atMost: 1 }))
      }
    }
    return {
      figures: [...figures, ...costs('full version vectors, without deltas', fullVectors(origins + 1))],
      notes: ['bytes: all frames, greetings and the proof of equality at the end included'],
    }
  },
}

function cellsOf(space: Space, rows: Rows): (readonly [string, TypeId, Path, Siblings])[] {
  const cells: (readonly [string, TypeId, Path, Siblings])[] = []
  for (const [key, row] of rows.list(spaceRange(table.entry, space.number))) {
    const entry = space.entryFromRow(new TextDecoder().decode(key.subarray(2)), row)
    for (const type of entry.types()) {
      for (const [path, siblings] of entry.cells(type).all()) cells.push([entry.key, type, path, siblings])
    }
  }
  return cells
}

function digestsOf(side: Side): bigint[] {
  const found: bigint[] = []
  for (const [key, type, path, siblings] of cellsOf(side.space, side.rows)) {
    for (const sibling of siblings) {
      digest(key, type, path, sibling)
      found.push((BigInt(lanes[0] as number) << 32n) | BigInt(lanes[1] as number))
    }
  }
  return found.sort((x, y) => (x < y ? -1 : x > y ? 1 : 0))
}

/** As a bug would: cells change and their tree with them, and no delta says so. */
function garble(side: Side, key: string): void {
  const { replica, space } = side
  replica.merge(space, 0, nowMs, [], () => {
    space.mergeEntry(space.entry(key), new Map(), (mine) =>
      mine.map((sibling) => ({ ...sibling, value: encodeValue('garbled') })),
    )
  })
}

const diverged: Scenario = {
  name: 'silent divergence',
  measures:
    'd cells hold another value at the same vector, as a bug would leave them, half of them on each side. Bytes until both know which: greetings, sketches and answers, without the cells themselves.',
  async run(plan: Plan): Promise<Outcome> {
    const figures: Figure[] = []
    const goals = new Map([
      [1, [400, 1]],
      [100, [10_000, 2]],
      [1000, [80_000, 3]],
    ])
    for (const entries of sizes(plan)) {
      const [one, other] = filled(entries)
      for (const [count, [mostBytes, mostTrips]] of goals as Map<number, [number, number]>) {
        plan.progress(`diverged ${count} of ${entries}`)
        const a = new Side('aaaaaaaaaaaaaaaa', new Rows(new Map(one.rows)))
        const b = new Side('bbbbbbbbbbbbbbbb', new Rows(new Map(other.rows)))
        for (let i = 0; i < count; i++) garble(i % 2 === 0 ? a : b, keyOf(Math.floor((i * entries) / count)))
        a.commit()
        b.commit()
        const told = exchange(a, b)
        const cells = 'sketch-ask'
        const answered = told.bytes.get(cells) ?? 0
        const locating = told.total - answered + Math.min(answered, 40 + 8 * count)
        const name = `${named(entries)} entries, ${count} differ`
        figures.push(figure(`${name}: bytes`, 'bytes', locating, { atMost: mostBytes }))
        figures.push(figure(`${name}: with the cells of one side`, 'bytes', told.total))
        const sketches = Math.ceil(told.roundTrips - 1)
        figures.push(figure(`${name}: round trips of sketches`, 'round trips', sketches, { atMost: mostTrips }))
        if (entries === 1_000_000 && count !== 100) continue
        const [mine, theirs] = [digestsOf(a), digestsOf(b)]
        figures.push(...costs(`${name}, lower bound`, lowerBound(2 * count)))
        figures.push(...costs(`${name}, Merkle, 16 children, 65,536 leaves`, merkle(mine, theirs)))
        figures.push(...costs(`${name}, ranges`, ranges(mine, theirs)))
      }
    }
    return {
      figures,
      notes: [
        'round trips of sketches: from the first sketch to the answer that names everything; two greetings come before',
        'the other methods are the textbook forms over the same digests, 8 bytes each, without envelopes',
      ],
    }
  },
}

const join: Scenario = {
  name: 'cold join',
  measures:
    'A node that holds nothing takes over a space: all bytes beside those of the canonical snapshot of its state.',
  async run(plan: Plan): Promise<Outcome> {
    const figures: Figure[] = []
    for (const entries of sizes(plan)) {
      plan.progress(`cold join of ${entries}`)
      const [rows] = filled(entries)
      const a = new Side('aaaaaaaaaaaaaaaa', rows)
      const cells = cellsOf(a.space, rows)
      let state = 0
      // In pieces: the snapshot of a large space in one would only fill memory.
      for (let at = 0; at < cells.length; at += 100_000) {
        state += encodeSnapshot(a.space.vector, cells.slice(at, at + 100_000)).length
      }
      cells.length = 0
      const b = new Side('bbbbbbbbbbbbbbbb', new Rows())
      const told = exchange(a, b)
      if (a.space.tree.root.some((lane, at) => lane !== b.space.tree.root[at])) throw new Error('they differ')
      figures.push(figure(`${named(entries)} entries: bytes / state`, 'x', told.total / state, { atMost: 1.1 }))
      figures.push(figure(`${named(entries)} entries: bytes`, 'bytes', told.total))
      figures.push(figure(`${named(entries)} entries: to the first cell`, 'round trips', told.first - 0.5))
    }
    return { figures }
  },
}

export const sync: Suite = {
  name: 'sync',
  says: 'anti-entropy between two nodes: bytes and round trips',
  scenarios: [equal, missed, diverged, join],
}
