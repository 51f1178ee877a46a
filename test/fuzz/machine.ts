/**
 * A whole machine and a peer that says what it likes: frames of real exchanges, mutated, in any order, again and again. The
 * machine may close the link, and the peer dials again. Nothing may be thrown, what one frame causes has a bound, what is
 * kept has a bound, memory and disk stay what the deltas come to; and an honest peer that comes later becomes equal with it.
 */
import fc from 'fast-check'
import { skipValue } from '../../src/base/msgpack.ts'
import { limits } from '../../src/base/limits.ts'
import { prng } from '../../src/base/prng.ts'
import { register } from '../../src/crdt/types/register.ts'
import { set } from '../../src/crdt/types/set.ts'
import { budget } from '../../src/crdt/types/budget.ts'
import type { CrdtType } from '../../src/crdt/type.ts'
import type { Row } from '../../src/base/rows.ts'
import { Machine } from '../../src/node/machine.ts'
import type { Input, MachineEvent, Output } from '../../src/node/machine.ts'
import { MapRows, faults } from '../../src/replica/rows.test-kit.ts'
import { spaceRange, table } from '../../src/replica/row-keys.ts'
import type { Space } from '../../src/replica/space.ts'
import { decodePacket, encodePackets, protocol } from '../../src/wire/codec.ts'
import type { Frame, NodeId } from '../../src/wire/frame.ts'
import { framesOfKind } from '../../src/wire/frames.test-kit.ts'
import { Broken, hold, taken } from './target.ts'
import type { Target } from './target.ts'

const fleet = '00000000000000aa'
const epochMs = 1_800_000_000_000
/** Tiny, so that snapshots are asked for over a few cells, staged, and cut into chunks. */
const bounds = { newcomerSiblings: 10, cellBytes: 500, windowBytes: 1500, stagedBytes: 2000, graceMs: 500 }
const pageRows = 8
/** What one frame may cause. All that is held here comes to some 10 kB; the largest answers are windows of it. */
const mostOutputs = 100
const mostSentBytes = 100_000
/** Offers, what is adopted, a dispute and a fold each read the rows, once. */
const mostScans = 10
const convergeMs = 90_000
const mostSteps = 20_000

interface Scan {
  readonly rows: readonly Row[]
  readonly snapshot: MapRows
  at: number
}

class Node {
  readonly machine: Machine
  readonly rows = new MapRows()
  readonly scans = new Map<number, Scan>()
  readonly dialled = new Set<number>()
  readonly name: string

  constructor(name: string, id: string, join: readonly string[]) {
    this.name = name
    this.machine = new Machine({
      node: id.repeat(16),
      incarnation: id.repeat(16),
      rows: this.rows,
      cacheBytes: 100_000,
      retention: { keepMs: 1e12, keepBytes: 1e12 },
      fleet,
      address: name,
      join,
      roster: [],
      zone: '',
      random: prng(id.charCodeAt(0)),
      bounds,
      holds: (space) => space === 's',
    })
    this.space = this.machine.replica.open('s')
  }

  readonly space: Space
}

/** Where the other end of a link is: at a node, or at the one who is not to be trusted. */
interface End {
  readonly at: Node
  readonly link: number
}

class Bench {
  nowMs = epochMs
  readonly nodes: Node[] = []
  /** What was said to the first node, in order: frames, and how long nothing was. */
  readonly heard: (Uint8Array | number)[] = []
  steps = 0
  faults = 0
  readonly told = new Set<string>()
  readonly #ends = new Map<string, End>()
  readonly #queue: { readonly to: Node; readonly input: Input }[] = []
  #links = 1
  /** The link to the first node that the attacker has. */
  #hostile: number | undefined
  #outputs = 0
  #sentBytes = 0

  add(name: string, id: string, join: readonly string[] = []): Node {
    const node = new Node(name, id, join)
    this.nodes.push(node)
    return node
  }

  write(node: Node, type: CrdtType, name: string, key: string, args: Record<string, unknown>): void {
    const operation = type.operations[name]
    if (operation === undefined) throw new Error(`no ${name}`)
    node.machine.replica.transact(node.space, { nowMs: this.nowMs, agent: 'a', reason: undefined }, (change) =>
      change.run(node.space.entry(key), type, operation, args),
    )
    this.feed(node, { kind: 'local' })
  }

  feed(node: Node, input: Input): void {
    this.#queue.push({ to: node, input })
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#step(next.to, next.input)
  }

  pass(ms: number): void {
    const until = this.nowMs + ms
    for (;;) {
      const at = Math.min(...this.nodes.map(({ machine }) => machine.wakeAt))
      if (at > until) break
      this.nowMs = Math.max(this.nowMs + 1, at)
      for (const node of this.nodes) if (node.machine.wakeAt <= this.nowMs) this.feed(node, { kind: 'timer' })
    }
    this.nowMs = Math.max(this.nowMs, until)
  }

  /** One frame, or what shall be one, from the attacker; he dials again when he was thrown out. */
  attack(node: Node, bytes: Uint8Array): void {
    if (this.#hostile === undefined) {
      this.#hostile = 2 * this.#links++ + 1
      this.feed(node, { kind: 'opened', link: this.#hostile, outgoing: false })
      for (const packet of greetings(this.nowMs)) this.#say(node, packet)
    }
    this.#outputs = 0
    this.#sentBytes = 0
    this.#say(node, bytes)
    hold(this.#outputs <= mostOutputs, `one frame causes ${this.#outputs} outputs`)
    hold(this.#sentBytes <= mostSentBytes, `one frame causes ${this.#sentBytes} bytes`)
  }

  leave(node: Node): void {
    const link = this.#hostile
    this.#hostile = undefined
    if (link !== undefined) this.feed(node, { kind: 'closed', link })
  }

  #say(node: Node, bytes: Uint8Array): void {
    if (this.#hostile === undefined) return
    this.feed(node, { kind: 'message', link: this.#hostile, bytes })
    if (this.#hostile !== undefined) this.feed(node, { kind: 'drained', link: this.#hostile })
  }

  #step(node: Node, input: Input): void {
    if (++this.steps > mostSteps) throw new Broken('it goes on for ever')
    for (const output of node.machine.handle(input, this.nowMs)) this.#obey(node, output)
  }

  #post(to: Node, input: Input): void {
    this.#queue.push({ to, input })
  }

  #obey(node: Node, output: Output): void {
    this.#outputs++
    switch (output.kind) {
      case 'dial': {
        const other = this.nodes.find(({ name }) => name === output.address)
        if (other === undefined || other === node) {
          this.#post(node, { kind: 'closed', link: output.link })
          break
        }
        const link = 2 * this.#links++ + 1
        this.#ends.set(`${node.name}/${output.link}`, { at: other, link })
        this.#ends.set(`${other.name}/${link}`, { at: node, link: output.link })
        this.#post(other, { kind: 'opened', link, outgoing: false })
        this.#post(node, { kind: 'opened', link: output.link, outgoing: true })
        break
      }
      case 'close': {
        if (output.link === this.#hostile) this.#hostile = undefined
        const end = this.#ends.get(`${node.name}/${output.link}`)
        if (end === undefined) break
        this.#ends.delete(`${node.name}/${output.link}`)
        this.#ends.delete(`${end.at.name}/${end.link}`)
        this.#post(end.at, { kind: 'closed', link: end.link })
        break
      }
      case 'send': {
        this.#sentBytes += output.bytes.length
        const end = this.#ends.get(`${node.name}/${output.link}`)
        if (end === undefined) break
        if (end.at === this.nodes[0]) this.heard.push(this.nowMs, output.bytes)
        this.#post(end.at, { kind: 'message', link: end.link, bytes: output.bytes })
        this.#post(node, { kind: 'drained', link: output.link })
        break
      }
      case 'persist': {
        const batch = node.machine.replica.takeBatch(node.rows)
        if (batch > 0) this.#post(node, { kind: 'stored', batch, durable: true })
        break
      }
      case 'scan':
        node.scans.set(output.scan, {
          rows: node.rows.list(spaceRange(table.entry, output.space)),
          snapshot: node.rows.clone(),
          at: 0,
        })
        hold(node.scans.size <= mostScans, `${node.scans.size} scans at once`)
        break
      case 'more': {
        const scan = node.scans.get(output.scan)
        if (scan === undefined) throw new Broken('more is asked for of no scan')
        const rows = scan.rows.slice(scan.at, scan.at + pageRows)
        scan.at += rows.length
        const done = scan.at >= scan.rows.length
        this.#post(node, { kind: 'page', scan: output.scan, rows, done, snapshot: scan.snapshot })
        break
      }
      case 'end-scan':
        node.scans.delete(output.scan)
        break
      case 'renew':
        this.#post(node, { kind: 'incarnation', incarnation: this.steps.toString(16).padStart(16, 'e') })
        break
      case 'event':
        if (node === this.nodes[0]) this.told.add(summary(output.event))
        if (output.event.kind === 'failed') throw new Broken(`it failed: ${output.event.code}, ${output.event.reason}`)
        break
      case 'fault':
        this.faults++
        break
    }
  }
}

/** What kind of thing happened: each new one is new ground. */
function summary(event: MachineEvent): string {
  switch (event.kind) {
    case 'session':
      return `${event.report.step} ${event.report.outcome}`
    case 'sync':
      return event.event.kind === 'integrity' ? event.event.what : event.event.kind
    default:
      return event.kind
  }
}

const hostile = 'b'.repeat(16) as NodeId

function greetings(nowMs: number): Uint8Array[] {
  const { major, minor } = protocol
  const frames: Frame[] = [
    { kind: 'hello', major, minor, fleet, node: hostile, incarnation: 'b'.repeat(16), nowMs, address: 'peer-b' },
    { kind: 'spaces', spaces: [{ id: spaceId(), name: 's', generation: 1 }] },
  ]
  return encodePackets(frames)
}

let known: Space['id'] | undefined
const spaceId = (): Space['id'] => (known ??= new Node('peer-x', 'f', []).space.id)

/** The machine that is attacked, with something of every kind that can be asked for. */
function victim(bench: Bench): Node {
  const node = bench.add('peer-a', 'a')
  for (let i = 0; i < 4; i++) bench.write(node, register, 'set', `k${i}`, { value: i })
  bench.write(node, set, 'add', 'tags', { values: ['x'] })
  bench.write(node, budget, 'grant', 'b', { amount: 100 })
  return node
}

/** What an honest peer says to the victim, in stories that between them need every frame. */
const stories: readonly ((bench: Bench, a: Node) => void)[] = [
  // Both have written; logs suffice.
  (bench) => {
    const b = bench.add('peer-b', 'b', ['peer-a'])
    for (let i = 0; i < 4; i++) bench.write(b, register, 'set', `k${i}`, { value: `b${i}` })
    bench.pass(2000)
    for (let i = 0; i < 3; i++) bench.write(b, set, 'add', 'tags', { values: [i] })
    bench.pass(2000)
  },
  // The peer has much and its log is gone, so the victim takes its cells.
  (bench) => {
    const b = bench.add('peer-b', 'b')
    for (let i = 0; i < 30; i++) bench.write(b, register, 'set', `key-${i}`, { value: i })
    b.machine.replica.prune(bench.nowMs + 1, { keepMs: 0, keepBytes: 0 })
    b.machine.handle({ kind: 'local' }, bench.nowMs)
    bench.add('peer-c', 'c', ['peer-b', 'peer-a'])
    bench.pass(1000)
    bench.write(b, register, 'set', 'late', { value: 1 })
    bench.pass(6000)
  },
  // The peer is new and asks for cells.
  (bench, a) => {
    for (let i = 0; i < 30; i++) bench.write(a, register, 'set', `key-${i}`, { value: i })
    bench.add('peer-b', 'b', ['peer-a'])
    bench.pass(5000)
  },
  // Equal contexts and unequal roots.
  (bench) => {
    const b = bench.add('peer-b', 'b', ['peer-a'])
    bench.pass(2000)
    b.space.tree.shift(5, Uint32Array.of(1, 2, 3, 4, 1))
    bench.pass(15_000)
  },
  // Rights are asked for.
  (bench) => {
    const b = bench.add('peer-b', 'b', ['peer-a'])
    bench.pass(2000)
    for (const output of b.machine.askRights(b.space, 'b', 40, bench.nowMs)) {
      if (output.kind === 'send') bench.heard.push(output.bytes)
    }
    bench.pass(2000)
  },
]

const quarterMs = 250

/** Frames one after the other, and numbers: so many quarters of a second in which nothing is said. */
function scriptOf(heard: readonly (Uint8Array | number)[]): Uint8Array {
  const parts: Uint8Array[] = []
  let nowMs = epochMs
  for (const one of heard) {
    if (typeof one === 'number') {
      for (let left = Math.floor((one - nowMs) / quarterMs); left > 0; left -= 100) {
        parts.push(Uint8Array.of(Math.min(left, 100)))
        nowMs += quarterMs * Math.min(left, 100)
      }
      // He says hello whenever he dials; a second one ends the link.
    } else parts.push(...encodePackets(decodePacket(one).frames.filter(({ kind }) => kind !== 'hello')))
  }
  return Uint8Array.from(Buffer.concat(parts))
}

/** Frames of one kind as nobody would say them here, but of the space that is held. */
function drawn(frames: fc.Arbitrary<Frame>): Uint8Array {
  const some = fc.sample(frames, { numRuns: 4, seed: 11 }).filter(({ kind }) => kind !== 'hello')
  const here = some.map((frame) => ('space' in frame ? { ...frame, space: spaceId() } : frame))
  return Uint8Array.from(Buffer.concat(encodePackets(here)))
}

function played(script: Uint8Array, bench: Bench, node: Node): void {
  for (let at = 0; at < script.length;) {
    const head = script[at] as number
    if (head < 0x80) {
      bench.pass(quarterMs * Math.min(head, 8))
      at++
      continue
    }
    const end = endOf(script, at)
    bench.attack(node, script.slice(at, end))
    at = end
  }
}

function endOf(script: Uint8Array, at: number): number {
  try {
    return Math.max(at + 1, skipValue(script, at))
  } catch {
    return script.length
  }
}

function within({ machine, scans }: Node): void {
  const { replica } = machine
  hold(replica.spaces.length <= 2, 'spaces that nobody here holds are not opened')
  hold(machine.membership.size <= limits.members, 'members have a bound')
  let waiting = 0
  for (const space of replica.spaces) waiting += space.waiting.size
  hold(waiting <= limits.waitingDeltas, 'deltas that wait have a bound')
  hold(scans.size <= mostScans, 'scans have a bound')
  for (const { queue } of machine.peers) hold(queue.heldBytes <= limits.peerQueueBytes, 'a queue has a bound')
}

/** Memory, rows and logs say the same. */
function sound({ machine, rows }: Node): void {
  for (const space of machine.replica.spaces) {
    if (space.catchingUp || space.adoption !== undefined) continue
    const found = faults(rows, space)
    hold(found.length === 0, `after all that: ${found.join('; ')}`)
  }
}

/** Somebody honest comes, and both become equal. */
function healthy(bench: Bench, node: Node): void {
  const honest = bench.add('peer-h', '7', ['peer-a'])
  bench.write(honest, register, 'set', 'honest', { value: 'here' })
  bench.steps = 0
  const isEqual = (): boolean => {
    const mine = node.machine.replica.find('s')
    const theirs = honest.machine.replica.find('s')
    return (
      mine !== undefined &&
      theirs !== undefined &&
      !mine.catchingUp &&
      !theirs.catchingUp &&
      mine.id === theirs.id &&
      mine.contextDigest().join() === theirs.contextDigest().join() &&
      mine.tree.root.join() === theirs.tree.root.join()
    )
  }
  const untilMs = bench.nowMs + convergeMs
  while (!isEqual()) {
    if (bench.nowMs >= untilMs) {
      throw new Broken('an honest peer does not become equal with it')
    }
    bench.pass(500)
  }
  sound(node)
}

export const machine: Target = {
  name: 'machine',
  // Whole machines with trees of 256 KiB each, and their exchanges.
  baseBytes: 64 << 20,
  baseMs: 2000,
  inputsTested: 100,
  corpus() {
    const recorded = stories.map((story) => {
      const bench = new Bench()
      const node = victim(bench)
      story(bench, node)
      return scriptOf(bench.heard)
    })
    return [...recorded, ...Object.values(framesOfKind).map((frames) => drawn(frames as fc.Arbitrary<Frame>))]
  },
  run(bytes) {
    const bench = new Bench()
    const node = victim(bench)
    played(bytes, bench, node)
    within(node)
    const { faults: refused, told } = bench
    bench.leave(node)
    // Rooms are emptied and sessions end when nobody goes on with them.
    bench.pass(1000)
    within(node)
    healthy(bench, node)
    return refused === 0 ? taken : `refused: ${[...told].toSorted().join()}`
  },
}
