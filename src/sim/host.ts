/**
 * The driver of one simulated node: as dull as the daemon's. It feeds a machine, obeys its outputs, commits batches, and
 * gives it a clock that may be wrong; and it can be killed, frozen and started again.
 */
import { binaryString } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import type { Row } from '../base/rows.ts'
import type { Input, Machine, MachineConfig, MachineEvent, Output } from '../node/machine.ts'
import { caseIdOf, casePrefix } from '../merge/system.ts'
import { findingRows } from '../replica/conflicts.ts'
import type { WorkflowEvent } from '../replica/conflicts.ts'
import type { Abilities, Errand } from '../replica/errands.ts'
import { expiryAt } from '../replica/replica.ts'
import type { Applied, Expiring, Replica } from '../replica/replica.ts'
import { entryKeyOf, metaKey, spaceRange, table, tableRange, tablesOfSpace, tablesToOpen } from '../replica/row-keys.ts'
import type { Space } from '../replica/space.ts'
import { SimBatch, SimDisk } from './disk.ts'
import type { Durability, Reach } from './disk.ts'
import type { Network, NetworkStage, Party } from './network.ts'
import { laterPacket } from './packets.ts'
import type { SimOptions } from './options.ts'
import type { Rule } from './rules.ts'
import type { NodeId } from '../wire/frame.ts'

export interface HostStage extends NetworkStage {
  readonly options: SimOptions
  readonly network: Network
  readonly retention: { readonly keepMs: number; readonly keepBytes: number }
  violate(rule: Rule, what: string): void
  makeMachine(config: MachineConfig): Driven
  spaceName(index: number): string
  /** The nodes that the operator has listed, but for this one. */
  rosterOf(host: Host): readonly NodeId[]
  applied(host: Host, life: Life, event: Applied): void
  opened(host: Host, life: Life): void
  event(host: Host, event: MachineEvent): void
  /** A node told somebody of a conflict. */
  told(host: Host, errand: Errand): void
  /** The rows of a disk are not what they were: it was restored, wiped, cut. */
  diskLost(host: Host, before: Reach, why: string): void
  stored(host: Host, batch: number): void
  /** A node says that a peer broke the protocol. */
  accused(host: Host, code: string, what: string): void
  stepped(host: Host, life: Life): void
  sent(host: Host, life: Life, bytes: Uint8Array): void
}

/** As the daemon: how often expiries are looked for, and how a full disk is tried again. The machine prunes by itself. */
const choreMs = 1_000
const retryMs = 250
const purgeAtOnce = 100
/** How long it takes to tell somebody. */
const tellMs = 20
const tellers: Abilities = { targets: 1, resolvers: new Set(), actions: new Set() }
/** Somebody sees that a node is damaged, sets its directory aside and starts it anew. */
const repairMs = 2_000
/** So long a node may say that it is not sound; a warning from longer ago is another story. */
const warnedMs = 15_000
const forgottenMs = 60_000
/** 2027: where every clock starts. */
export const epochMs = 1_800_000_000_000
/** The same timer so often in one instant is no progress any more. */
const mostWakes = 1_000

/** What a driver needs of a machine. */
export type Driven = Pick<Machine, 'replica' | 'wakeAt' | 'handle'> &
  Partial<Pick<Machine, 'askRights' | 'membership' | 'conflicts' | 'present'>>

/** One run of the process. */
export interface Life {
  readonly number: number
  readonly machine: Driven
  /** Which of the batches is on disk. */
  storedBatch: number
}

interface Scan {
  readonly rows: readonly Row[]
  readonly snapshot: SimDisk
  at: number
}

export class Host implements Party {
  readonly index: number
  readonly address: string
  readonly disk: SimDisk = new SimDisk()
  readonly durability: Durability
  readonly #stage: HostStage
  readonly #chance: Prng
  current: Life | undefined
  silent = false
  /** What the clock is off by, now. */
  offsetMs: number
  driftPpm: number
  frozenUntil = 0
  /** Since when the node says that its own rows are not right. */
  #unsoundSince = Infinity
  /** The clock is right again from here on: drift is counted from then. */
  #driftSince = 0
  /** The latest time that this run of the process was told. */
  #latestMs = 0
  #queue: Input[] = []
  #lives = 0
  #writing = false
  #scans = new Map<number, Scan>()
  #wakeAt = Infinity
  #wakes = 0
  #wokenAt = -1

  constructor(stage: HostStage, index: number) {
    this.#stage = stage
    this.index = index
    this.address = `sim://node-${index}`
    const { options } = stage
    this.durability = options.durability[index] ?? 'disk'
    this.offsetMs = options.skewMs[index] ?? 0
    this.driftPpm = options.driftPpm[index] ?? 0
    this.#chance = prng(options.seed ^ Math.imul(index + 1, 0x9e3779b1)).fork(3)
  }

  get life(): number {
    return this.current?.number ?? 0
  }

  get up(): boolean {
    return this.current !== undefined
  }

  /** The identity that its directory holds. */
  get node(): string | undefined {
    const known = this.disk.get(metaKey('node'))
    return known === undefined ? undefined : binaryString(known)
  }

  get replica(): Replica | undefined {
    return this.current?.machine.replica
  }

  /** The wall clock of this host. */
  get nowMs(): number {
    const { now } = this.#stage
    return epochMs + now + this.offsetMs + Math.floor(((now - this.#driftSince) * this.driftPpm) / 1e6)
  }

  /** Virtual time. */
  get at(): number {
    return this.#stage.now
  }

  /** Nothing waits for the disk. */
  get settled(): boolean {
    return this.current !== undefined && !this.#writing && !this.current.machine.replica.dirty
  }

  // --- starting and ending

  /** `clonedIncarnation`: it runs on as the memory that its directory was copied from did. */
  start(clonedIncarnation?: string): void {
    if (this.current !== undefined) return
    this.silent = false
    const stage = this.#stage
    const number = ++this.#lives
    const fresh = this.#hex16()
    const incarnation = clonedIncarnation ?? this.#hex16()
    // Opening turns the store's log into a table, and syncs that: what is read is on the disk.
    this.disk.sync()
    const node = this.node ?? fresh
    if (this.node === undefined) {
      const batch = new SimBatch()
      batch.put(
        metaKey('node'),
        Uint8Array.from(fresh, (unit) => unit.charCodeAt(0)),
      )
      this.disk.apply(batch)
      this.disk.sync()
    }
    const { options } = stage
    const machine = stage.makeMachine({
      node,
      incarnation,
      rows: this.disk,
      cacheBytes: options.cacheBytes,
      bounds: options.bounds,
      retention: stage.retention,
      applied: (event) => stage.applied(this, this.current as Life, event),
      fleet: '5c1e5c1e5c1e5c1e',
      address: this.address,
      join: joinOf(this.index, options),
      zone: `zone-${this.index % 2}`,
      roster: stage.rosterOf(this),
      random: prng(this.#chance.uint32()),
      holds: (name) => this.#holds(name),
      leaves: (outputs) => {
        for (const output of outputs) if (this.current !== undefined) this.#obey(this.current, output)
      },
      abilities: options.rules && options.tells ? tellers : undefined,
    })
    this.current = { number, machine, storedBatch: 0 }
    this.#writing = false
    this.#scans.clear()
    this.#queue = []
    this.#wakeAt = Infinity
    this.#latestMs = 0
    try {
      for (const each of tablesToOpen) {
        for (const [key, value] of this.disk.list(tableRange(each))) machine.replica.load(key, value)
      }
      for (const [key, value] of this.disk.list(findingRows)) machine.conflicts?.load(key, value)
      this.#findExpiries()
      if (clonedIncarnation !== undefined) {
        for (const space of machine.replica.spaces) space.recallNews(machine.replica.origin)
      }
    } catch (error) {
      return this.#broke(error)
    }
    for (const [index, holders] of options.holders.entries()) {
      if (holders.includes(this.index) && !options.opensLate) machine.replica.open(stage.spaceName(index))
    }
    stage.tell(() => `node ${this.index} starts as ${machine.replica.origin.slice(16)} with ${this.disk.size} rows`)
    stage.opened(this, this.current)
    this.receive({ kind: 'local' })
    this.receive({ kind: 'timer' })
    this.#syncOpened(this.current)
    this.#planChores(number)
  }

  /** What was written before the start need not be on the disk yet. */
  #syncOpened(life: Life): void {
    this.#stage.plan(this.#stage.now + this.#diskMs(), () => {
      if (this.current !== life) return
      if (this.#stage.now < this.frozenUntil || this.#stage.now < this.disk.fullUntil) return this.#syncOpened(life)
      if (this.durability === 'disk') this.disk.sync()
      this.receive({ kind: 'durable' })
    })
  }

  /** The process ends at once. With `power` the whole host goes, and what was not synced with it. */
  crash(how: 'kill' | 'power'): void {
    const life = this.current
    // A batch that was on its way when the process died does not outlive the power.
    if (how === 'power') this.silent = true
    if (how === 'power' && this.disk.unsynced > 0) {
      const before = this.disk.reach
      const lost = this.disk.powerCut(this.#chance)
      if (lost > 0) this.#stage.count('disk: unsynced batches lost')
      // At `disk` nothing that was acknowledged can be among them.
      if (lost > 0 && this.durability === 'os') this.#stage.diskLost(this, before, 'power cut')
    }
    if (life === undefined) return
    this.current = undefined
    this.silent ||= how === 'power'
    this.frozenUntil = 0
    this.#stage.network.gone(this)
  }

  /** Says goodbye, and ends once everything is on the disk or after a while. */
  stop(then: () => void): void {
    const life = this.current
    if (life === undefined) return then()
    this.receive({ kind: 'leave' })
    const until = this.#stage.now + 5_000
    const look = (): void => {
      if (this.current !== life) return then()
      if (!this.settled && this.#stage.now < until) return this.#stage.plan(this.#stage.now + 20, look)
      if (this.settled) this.disk.sync()
      this.crash('kill')
      then()
    }
    this.#stage.plan(this.#stage.now + 1, look)
  }

  freeze(forMs: number): void {
    if (this.current === undefined) return
    const { number } = this.current
    this.frozenUntil = Math.max(this.frozenUntil, this.#stage.now + forMs)
    this.#stage.plan(this.frozenUntil, () => this.#thaw(number, forMs))
  }

  /** Was the process told of a later time than it is now? */
  get wentBack(): boolean {
    return this.nowMs < this.#latestMs - 1_000
  }

  /** Clock, disk and process as they should be. */
  heal(): void {
    this.offsetMs = 0
    this.driftPpm = 0
    this.#driftSince = this.#stage.now
    this.disk.fullUntil = 0
    this.disk.slowUntil = 0
    const { number } = this.current ?? { number: 0 }
    const wasFrozen = this.frozenUntil > this.#stage.now
    this.frozenUntil = 0
    if (wasFrozen) this.#thaw(number, 0)
  }

  #thaw(life: number, lagMs: number): void {
    if (this.life !== life || this.#stage.now < this.frozenUntil) return
    this.#handle({ kind: 'lag', lagMs })
    const waited = this.#queue
    this.#queue = []
    for (const input of waited) this.receive(input)
    if (this.current !== undefined) this.receive({ kind: 'timer' })
  }

  // --- feeding the machine

  receive(input: Input): void {
    if (this.current === undefined) return
    if (this.#stage.now < this.frozenUntil) this.#queue.push(input)
    else this.#handle(input)
  }

  #handle(input: Input): void {
    const life = this.current
    if (life === undefined) return
    let outputs: readonly Output[]
    this.#latestMs = Math.max(this.#latestMs, this.nowMs)
    try {
      outputs = life.machine.handle(input, this.nowMs)
    } catch (error) {
      return this.#broke(error)
    }
    this.#follow(life, outputs)
  }

  /** Asks others for rights of a budget, after a spending that failed. */
  askRights(space: Space, key: string): void {
    const life = this.current
    if (life === undefined || this.#stage.now < this.frozenUntil) return
    const outputs = this.#guarded(() => life.machine.askRights?.(space, key, 1, this.nowMs))
    if (outputs !== undefined) this.#follow(life, outputs)
  }

  deleteSpace(name: string): void {
    const life = this.current
    if (life === undefined || this.#stage.now < this.frozenUntil) return
    this.#guarded(() => {
      life.machine.replica.deleteSpace(name)
      // Others hear of the deletion by the generation that follows.
      life.machine.replica.open(name)
    })
    this.receive({ kind: 'local' })
  }

  #follow(life: Life, outputs: readonly Output[]): void {
    for (const output of outputs) {
      if (this.current !== life) return
      this.#obey(life, output)
    }
    if (this.current !== life) return
    this.#planWake(life)
    this.#stage.stepped(this, life)
  }

  #obey(life: Life, output: Output): void {
    const stage = this.#stage
    switch (output.kind) {
      case 'dial':
        return stage.network.dial(this, output.link, output.address)
      case 'close':
        return stage.network.close(this, output.link)
      case 'send':
        stage.sent(this, life, output.bytes)
        return stage.network.send(this, output.link, this.#isLater ? laterPacket(output.bytes) : output.bytes)
      case 'persist':
        return this.persist()
      case 'scan': {
        const rows = this.#guarded(() => this.disk.list(spaceRange(table.entry, output.space)))
        if (rows !== undefined) this.#scans.set(output.scan, { rows, snapshot: this.disk.snapshot(), at: 0 })
        return
      }
      case 'more':
        return this.#page(life, output.scan)
      case 'end-scan':
        this.#scans.delete(output.scan)
        return
      case 'renew': {
        const incarnation = this.#hex16()
        return stage.plan(stage.now, () => {
          if (this.current === life) this.receive({ kind: 'incarnation', incarnation })
        })
      }
      case 'event':
        stage.event(this, output.event)
        return output.event.kind === 'workflow' ? this.#workflow(life, output.event.event) : undefined
      case 'fault':
        stage.accused(this, output.code, output.what)
        stage.tell(() => `node ${this.index} faults link ${output.link}: ${output.code}, ${output.what}`)
    }
  }

  /** Does it speak a later version of the protocol? Half of the nodes do after they were started again. */
  get #isLater(): boolean {
    return this.#stage.options.upgrades && this.index % 2 === 0 && this.life > 1
  }

  /** As the daemon's driver: looks through a space, and tells somebody once the disk has the mark that says who does. */
  #workflow(life: Life, event: WorkflowEvent): void {
    const errands = life.machine.conflicts?.errands
    if (errands === undefined) return
    if (event.kind === 'survey') {
      const { space } = event
      const keys = this.#guarded(() => [
        ...this.disk.list(spaceRange(table.entry, space.number)).map(([rowKey]) => entryKeyOf(rowKey)),
        ...space.unstored(casePrefix),
      ])
      for (const key of keys ?? []) {
        const id = caseIdOf(key)
        if (id !== undefined) errands.look(space, id)
      }
      return
    }
    const { errand, batch } = event
    const tell = (): void => {
      if (this.current !== life) return
      const isWaiting = life.storedBatch < batch || this.#stage.now < this.frozenUntil
      if (isWaiting) return this.#stage.plan(this.#stage.now + tellMs, tell)
      this.#stage.told(this, errand)
      this.#guarded(() => errands.back([errand], { kind: 'done' }, this.nowMs, this.nowMs))
      this.receive({ kind: 'local' })
    }
    this.#stage.plan(this.#stage.now + tellMs, tell)
  }

  #page(life: Life, number: number): void {
    const scan = this.#scans.get(number)
    if (scan === undefined) return this.#stage.violate('contract', `node ${this.index} asks for more of no scan`)
    // Reading waits for no sync.
    this.#stage.plan(this.#stage.now + 1 + this.#slowMs, () => {
      if (this.current !== life || this.#scans.get(number) !== scan) return
      const rows = scan.rows.slice(scan.at, scan.at + this.#stage.options.pageRows)
      scan.at += rows.length
      const done = scan.at >= scan.rows.length
      this.receive({ kind: 'page', scan: number, rows, done, snapshot: scan.snapshot })
    })
  }

  #planWake(life: Life): void {
    const { now } = this.#stage
    const waitMs = life.machine.wakeAt - this.nowMs
    if (waitMs === Infinity) {
      this.#wakeAt = Infinity
      return
    }
    const at = now + Math.max(0, Math.ceil(waitMs))
    if (at === this.#wakeAt) return
    this.#wakeAt = at
    this.#stage.plan(at, () => {
      if (this.current !== life || this.#wakeAt !== at) return
      this.#wakeAt = Infinity
      if (this.#wokenAt !== at) {
        this.#wokenAt = at
        this.#wakes = 0
      } else if (++this.#wakes > mostWakes) {
        this.#stage.violate('alive', `node ${this.index} asks for the same timer again and again`)
        return
      }
      this.receive({ kind: 'timer' })
    })
  }

  // --- the disk

  /** Takes the next batch unless one is under way. */
  persist(): void {
    const life = this.current
    if (life === undefined || this.#writing || !life.machine.replica.dirty) return
    const batch = new SimBatch()
    const taken = this.#guarded(() => life.machine.replica.takeBatch(batch))
    if (taken === undefined || taken === 0) return
    batch.number = taken
    batch.reach = reachOf(life.machine.replica)
    this.#writing = true
    this.#write(life, batch, this.disk.directory)
  }

  #write(life: Life, batch: SimBatch, directory: number): void {
    const stage = this.#stage
    stage.plan(stage.now + this.#diskMs(), () => {
      if (this.current !== life) {
        // It was on its way when the process died: it may have made it.
        const isNext = this.current === undefined && life.number === this.#lives && directory === this.disk.directory
        if (isNext && !this.silent && this.#chance.chance(0.5)) {
          stage.count('disk: a batch outlived its process')
          this.disk.apply(batch)
        }
        return
      }
      if (stage.now < this.frozenUntil) return stage.plan(this.frozenUntil, () => this.#write(life, batch, directory))
      if (stage.now < this.disk.fullUntil) {
        stage.count('disk: full, a write was refused')
        batch.refused = true
        return stage.plan(stage.now + retryMs, () => this.#write(life, batch, directory))
      }
      if (batch.refused) stage.count('disk: full, and then it took the batch')
      this.disk.apply(batch)
      if (this.durability === 'disk' || this.#chance.chance(0.1)) this.disk.sync()
      this.#writing = false
      life.storedBatch = batch.number
      this.receive({ kind: 'stored', batch: batch.number, durable: true })
      stage.stored(this, batch.number)
      this.persist()
    })
  }

  get #slowMs(): number {
    return this.#stage.now < this.disk.slowUntil ? this.disk.slowMs : 0
  }

  #diskMs(): number {
    const [least, most] = this.#stage.options.syncMs
    return least + this.#slowMs + this.#chance.below(most - least + 1)
  }

  // --- what the daemon does now and then

  #planChores(life: number): void {
    this.#stage.plan(this.#stage.now + choreMs, () => {
      if (this.life !== life) return
      if (this.#stage.now >= this.frozenUntil) this.#chores()
      this.#planChores(life)
    })
  }

  #chores(): void {
    const life = this.current as Life
    const { replica } = life.machine
    this.#guarded(() => {
      this.#purge(replica)
      for (const space of replica.spaces) if (space.nextExpiry <= this.nowMs) this.#expire(replica, space)
    })
    if (this.current === life && replica.dirty) this.receive({ kind: 'local' })
  }

  /** Rows of deleted spaces go, some at a time. */
  #purge(replica: Replica): void {
    let left = purgeAtOnce
    for (const { number } of replica.dead) {
      for (const each of tablesOfSpace) {
        for (const [key] of this.disk.list(spaceRange(each, number)).slice(0, left)) {
          replica.remove(key)
          left--
        }
      }
    }
  }

  #findExpiries(): void {
    const { spaces } = this.replica as Replica
    for (const space of spaces) {
      const [first] = this.disk.list(spaceRange(table.expiry, space.number))
      if (first !== undefined) space.nextExpiry = expiryAt(first[0]).atMs
    }
  }

  #expire(replica: Replica, space: Space): void {
    if (this.#writing || replica.dirty || this.#stage.now < this.disk.fullUntil) return
    let later = Infinity
    space.soonest = Infinity
    const due: Expiring[] = []
    for (const [key] of this.disk.list(spaceRange(table.expiry, space.number))) {
      const { atMs, expiring } = expiryAt(key)
      if (atMs <= this.nowMs) due.push(expiring)
      else later = Math.min(later, atMs)
    }
    if (due.length > 0) {
      this.#stage.count('write: expired')
      replica.expire(space, due, this.nowMs)
    }
    space.nextExpiry = Math.min(later, space.soonest)
  }

  // --- failures

  /** Runs what may meet damage on the disk; undefined when it did. */
  #guarded<T>(work: () => T): T | undefined {
    try {
      return work()
    } catch (error) {
      this.#broke(error)
      return undefined
    }
  }

  /** What a machine may throw is damage that is there; whoever runs it sets the directory aside. */
  #broke(error: unknown): void {
    const isDamage = error instanceof SkeinError && error.code === 'store_damaged'
    if (!isDamage || !this.disk.damaged) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#stage.violate('alive', `node ${this.index} threw ${text}`)
    } else this.setAside()
  }

  /**
   * The node says of its own rows that they do not add up or cannot be read. It may mend that from a peer; when it still says
   * so after a while, whoever runs it has read the warnings.
   */
  unsound(): void {
    const { now } = this.#stage
    if (now - this.#unsoundSince > forgottenMs) this.#unsoundSince = Infinity
    this.#unsoundSince = Math.min(this.#unsoundSince, now)
    if (this.disk.damaged && now - this.#unsoundSince > warnedMs) this.setAside()
  }

  /** The directory is damaged and says so: it is set aside, and the node starts anew. */
  setAside(): void {
    this.#stage.count('disk: damage was told, the directory set aside')
    this.#stage.tell(() => `node ${this.index} is damaged: its directory is set aside`)
    this.crash('kill')
    this.#unsoundSince = Infinity
    const before = this.disk.reach
    this.disk.wipe()
    this.#stage.diskLost(this, before, 'damage')
    this.#stage.plan(this.#stage.now + repairMs, () => this.start())
  }

  /** Runs a local write; damage that it meets is told as such. */
  transact<T>(work: (life: Life) => T): T | undefined {
    const life = this.current
    if (life === undefined) return undefined
    try {
      return work(life)
    } catch (error) {
      if (error instanceof SkeinError && error.code !== 'store_damaged') throw error
      this.#broke(error)
      return undefined
    }
  }

  #hex16(): string {
    const hex = (): string => this.#chance.uint32().toString(16).padStart(8, '0')
    return `${hex()}${hex()}`
  }

  #holds(name: string): boolean {
    const { holders } = this.#stage.options
    return holders.some((nodes, index) => this.#stage.spaceName(index) === name && nodes.includes(this.index))
  }
}

/**
 * Everybody knows the first node and the one before himself: a star with a line through it. And one that stays: who forgot
 * all members in a restart, and knows only addresses that are gone, is alone.
 */
function joinOf(index: number, { nodes, lost }: SimOptions): string[] {
  const stays = Array.from({ length: nodes }, (_, node) => node).find((node) => lost.every((one) => one.node !== node))
  const known = new Set([0, (index + nodes - 1) % nodes, stays ?? 0])
  known.delete(index)
  return [...known].map((node) => `sim://node-${node}`)
}

function reachOf(replica: Replica): Reach {
  return new Map(replica.spaces.map((space) => [space.id, new Map(space.vector)]))
}
