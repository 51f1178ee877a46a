/** A few replicas with anti-entropy between them, frames passed as objects: for the tests of this folder. */
import { binaryString, toHex } from '../base/bytes.ts'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import type { Delta } from '../crdt/delta.ts'
import { State } from '../crdt/state.ts'
import type { CrdtType } from '../crdt/type.ts'
import { typeOf } from '../crdt/types/table.ts'
import type { Replica, ReplicaConfig } from '../replica/replica.ts'
import { spaceRange, table } from '../replica/row-keys.ts'
import { MapRows, commit, faults, openReplica, snapshotOf } from '../replica/rows.test-kit.ts'
import type { Space } from '../replica/space.ts'
import type { Frame, NodeId } from '../wire/frame.ts'
import { AntiEntropy } from './anti-entropy.ts'
import type { Bounds, SessionReport, SyncEvent, SyncOutput } from './output.ts'

export const startMs = 1_800_000_000_000

export function nodeId(number: number): NodeId {
  return number.toString(16).padStart(16, String.fromCharCode(96 + number)) as NodeId
}

/** One node: replica, rows, anti-entropy, and what it said. */
export class Member {
  readonly node: NodeId
  rows: MapRows = new MapRows()
  replica: Replica
  space: Space
  sync: AntiEntropy
  readonly reports: SessionReport[] = []
  readonly events: SyncEvent[] = []
  readonly faults: string[] = []
  equal = 0
  /** Something was written here that no batch has taken yet. */
  unsaved = false
  readonly #fleet: Fleet
  #config: Partial<ReplicaConfig>
  /** Whose memory it runs: its own, but for a clone. */
  #identity: string
  /** It has asked for another incarnation. */
  isRenewing = false
  readonly scans: Map<
    number,
    { readonly rows: MapRows; readonly list: readonly (readonly [Uint8Array, Uint8Array])[]; at: number }
  > = new Map()

  constructor(fleet: Fleet, number: number, config: Partial<ReplicaConfig>) {
    this.#fleet = fleet
    this.#config = {
      ...config,
      copied: () => {
        this.isRenewing = true
      },
      applied: ({ own, delta }) => {
        if (!own) return
        this.unsaved = true
        fleet.written.push(delta)
      },
    }
    this.node = this.#identity = nodeId(number)
    this.replica = openReplica(this.rows, this.node, this.#config)
    this.space = this.replica.open('s')
    this.sync = this.#open()
  }

  #open(): AntiEntropy {
    const { random, bounds } = this.#fleet
    return new AntiEntropy({ node: this.node, replica: this.replica, random: random.fork(1), bounds })
  }

  commit(): void {
    commit(this.replica, this.rows)
    this.unsaved = false
  }

  /** From here on it is another's memory, cloned while it runs: the same incarnation, met under another name. */
  becomeCloneOf(other: Member): void {
    other.commit()
    this.rows = other.rows.clone()
    this.#identity = other.#identity
    const { incarnation: _, ...rest } = this.#config
    this.#config = { ...rest, incarnation: other.replica.origin.slice(16) }
    this.restart()
    this.space.recallNews(this.replica.origin)
    this.#config = rest
  }

  renew(incarnation: string): void {
    this.isRenewing = false
    this.replica.renew(incarnation)
    this.sync.renewed(this.#fleet.nowMs)
  }

  /** As after a crash: what was not committed is gone. */
  restart(): void {
    this.#fleet.drop(this.node)
    this.isRenewing = false
    this.replica = openReplica(this.rows, this.#identity, this.#config)
    this.space = this.replica.open('s')
    this.sync = this.#open()
    this.scans.clear()
  }

  write(key: string, type: CrdtType, name: string, args: object = {}): void {
    const operation = type.operations[name]
    if (operation === undefined) throw new Error(`no ${name}`)
    this.replica.transact(this.space, { nowMs: this.#fleet.nowMs, agent: 'agent-7', reason: undefined }, (change) =>
      change.run(this.space.entry(key), type, operation, args as Record<string, unknown>),
    )
  }

  remove(key: string): void {
    this.replica.transact(this.space, { nowMs: this.#fleet.nowMs, agent: 'agent-7', reason: undefined }, (change) =>
      change.delete(this.space.entry(key), typeOf),
    )
  }

  /** Drops all of the log that may go. */
  prune(): void {
    this.commit()
    while (this.replica.prune(this.#fleet.nowMs + 1e9, { keepMs: 0, keepBytes: 0 }).more) this.commit()
    this.commit()
  }

  read(key: string, type: CrdtType): unknown {
    return type.read(this.space.entry(key).cells(type.id)).value
  }
}

interface Letter {
  readonly from: NodeId
  readonly to: NodeId
  readonly frame: Frame
}

export interface FleetPlan {
  readonly members: number
  readonly seed?: number
  readonly bounds?: Partial<Bounds>
  readonly config?: Partial<ReplicaConfig>
  /** Rows on a page of a scan. */
  readonly pageRows?: number
}

export class Fleet {
  nowMs: number = startMs
  readonly random: Prng
  readonly bounds: Partial<Bounds>
  readonly members: readonly Member[]
  readonly pageRows: number
  /** Every frame that was delivered. */
  readonly sent: Letter[] = []
  /** Frames on their way. */
  letters: Letter[] = []
  /** Looks at each frame before it arrives; false loses it. */
  filter: (letter: Letter) => boolean = () => true
  /** Every delta, in the order in which they were written, which is a causal one. */
  readonly written: Delta[] = []
  #renewed = 0
  /** Commit whenever there is something to commit. */
  commits = true

  constructor({ members, seed = 1, bounds = {}, config = {}, pageRows = 7 }: FleetPlan) {
    this.random = prng(seed)
    this.bounds = bounds
    this.pageRows = pageRows
    this.members = Array.from({ length: members }, (_, i) => new Member(this, i + 1, config))
  }

  member(node: NodeId): Member {
    const member = this.members.find((each) => each.node === node)
    if (member === undefined) throw new Error(`no ${node}`)
    return member
  }

  link(a: Member, b: Member): void {
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      one.sync.linkUp(other.node, this.nowMs)
      one.sync.holds(
        other.node,
        other.replica.spaces.map(({ id }) => id),
      )
      this.collect(one)
    }
  }

  linkAll(): void {
    for (const a of this.members) for (const b of this.members) if (a.node < b.node) this.link(a, b)
  }

  unlink(a: Member, b: Member): void {
    a.sync.linkDown(b.node, this.nowMs)
    b.sync.linkDown(a.node, this.nowMs)
    this.letters = this.letters.filter(
      ({ from, to }) => !((from === a.node && to === b.node) || (from === b.node && to === a.node)),
    )
  }

  /** All links of a node go. */
  drop(node: NodeId): void {
    const member = this.member(node)
    for (const other of this.members) if (other !== member) this.unlink(member, other)
  }

  greet(from: Member, to: Member): void {
    from.sync.greetAll(to.node)
    this.collect(from)
  }

  /** Obeys a member's outputs. */
  collect(member: Member): void {
    const { outputs } = member.sync
    while (outputs.length > 0) this.#obey(member, outputs.splice(0))
  }

  #obey(member: Member, outputs: readonly SyncOutput[]): void {
    for (const output of outputs) {
      switch (output.kind) {
        case 'send':
          this.letters.push({ from: member.node, to: output.to, frame: output.frame })
          break
        case 'scan': {
          const rows = member.rows.clone()
          member.scans.set(output.scan, { rows, list: rows.list(spaceRange(table.entry, output.space)), at: 0 })
          break
        }
        case 'more':
          this.#pages.push({ member, scan: output.scan })
          break
        case 'end-scan':
          member.scans.delete(output.scan)
          break
        case 'report':
          if (output.report.kind === 'session') member.reports.push(output.report)
          else if (output.report.kind === 'compared') {
            if (output.report.found !== 'equal') break
            member.equal++
            if (output.report.durable) member.replica.cut.note(member.space.id, output.report.peer, member.space.vector)
          } else member.replica.cut.note(member.space.id, output.report.peer, output.report.vector)
          break
        case 'event':
          member.events.push(output.event)
          break
        case 'fault':
          member.faults.push(output.what)
          break
      }
    }
  }

  readonly #pages: { readonly member: Member; readonly scan: number }[] = []

  /** One batch, one page or one frame, by chance. False when nothing is under way. */
  step(): boolean {
    const waiting = this.commits ? this.members.filter(({ replica }) => replica.dirty) : []
    const kinds: (() => void)[] = []
    if (waiting.length > 0) kinds.push(() => this.#store(waiting[0] as Member))
    if (this.#pages.length > 0) kinds.push(() => this.#page())
    if (this.letters.length > 0) kinds.push(() => this.#deliver())
    const renewing = this.members.find(({ isRenewing }) => isRenewing)
    if (renewing !== undefined) kinds.push(() => this.#renew(renewing))
    if (kinds.length === 0) return false
    this.random.pick(kinds)()
    return true
  }

  #store(member: Member): void {
    member.commit()
    member.sync.stored(this.nowMs)
    this.collect(member)
  }

  #page(): void {
    const { member, scan } = this.#pages.shift() as { member: Member; scan: number }
    const running = member.scans.get(scan)
    if (running === undefined) return
    const rows = running.list.slice(running.at, running.at + this.pageRows)
    running.at += rows.length
    member.sync.page(scan, rows, running.at >= running.list.length, running.rows, this.nowMs)
    this.collect(member)
  }

  #renew(member: Member): void {
    member.renew((++this.#renewed).toString(16).padStart(16, 'e'))
    this.collect(member)
  }

  #deliver(): void {
    const letter = this.letters.shift() as Letter
    if (!this.filter(letter)) return
    this.sent.push(letter)
    const to = this.member(letter.to)
    to.sync.handle(letter.from, letter.frame, this.nowMs)
    this.collect(to)
  }

  /** Delivers until nothing is on its way. */
  settle(most: number = 100_000): void {
    for (let left = most; this.step(); left--) if (left === 0) throw new Error('it does not settle')
  }

  /** Lets time pass, every member waking when it wants to. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms
    for (;;) {
      this.settle()
      const next = Math.min(...this.members.map(({ sync }) => sync.wakeAt))
      if (next > endMs) break
      this.nowMs = Math.max(this.nowMs, next)
      for (const member of this.members) {
        if (member.sync.wakeAt > this.nowMs) continue
        member.sync.timer(this.nowMs)
        this.collect(member)
      }
    }
    this.nowMs = endMs
  }

  /** The plain definition of what everybody should come to. */
  oracle(): State {
    const state = new State()
    for (const delta of this.written) state.apply(delta)
    return state
  }

  frames(kind: Frame['kind']): Frame[] {
    return this.sent.filter(({ frame }) => frame.kind === kind).map(({ frame }) => frame)
  }
}

/** Changes a byte of a row behind everybody's back. */
export function rot(rows: MapRows, key: Uint8Array, at: number, by: number): void {
  const name = binaryString(key)
  const row = rows.rows.get(name)
  if (row === undefined) throw new Error('no such row')
  const changed = row.slice()
  changed[at < 0 ? changed.length + at : at] = by
  rows.rows.set(name, changed)
}

/** Members hold the same bytes, and these are the ones that the definition comes to. */
export function differences(fleet: Fleet, members: readonly Member[] = fleet.members): string[] {
  const wanted = toHex(fleet.oracle().encode())
  return members.flatMap((member) => {
    member.commit()
    const found = faults(member.rows, member.space)
    if (toHex(snapshotOf(member.rows, member.space)) !== wanted) found.push('it holds something else')
    if (member.space.catchingUp) found.push('it is catching up')
    return found.map((fault) => `${member.node}: ${fault}`)
  })
}
