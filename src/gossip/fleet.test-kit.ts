/**
 * Worlds for tests and figures: machines of this room in virtual time, with delays, losses, stalls and cuts from a seed.
 * No bytes and no other rooms: whole nodes are what the simulator runs.
 */
import { prng, type Prng } from '../base/prng.ts'
import type { Dot, MemberState, NodeId, OriginId, SpaceId } from '../wire/frame.ts'
import { Broadcast, type BroadcastFrame, type BroadcastInput, type BroadcastTiming } from './broadcast.ts'
import { Membership, type MembershipFrame, type MembershipInput } from './membership.ts'
import type { MembershipTiming } from './timing.ts'
import { Roster, type RosterMember } from './roster.ts'

export function nodeId(index: number): NodeId {
  const word = (seed: number): string => (Math.imul(index + seed, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0')
  return (word(1) + word(0x51ed270b)) as NodeId
}

export const space: SpaceId = '00000000000000aa' as SpaceId

export function originOf(node: NodeId): OriginId {
  return `${node}00000000000000ff` as string as OriginId
}

/** A heap of what is still to happen, by time and then in the order in which it was said. */
export class Agenda<T> {
  readonly #times: number[] = []
  readonly #orders: number[] = []
  readonly #items: T[] = []
  #next = 0

  get nextMs(): number {
    return this.#times[0] ?? Infinity
  }

  add(timeMs: number, item: T): void {
    let at = this.#times.length
    const order = this.#next++
    while (at > 0) {
      const parent = (at - 1) >> 1
      if ((this.#times[parent] as number) <= timeMs) break
      this.#move(parent, at)
      at = parent
    }
    this.#put(at, timeMs, order, item)
  }

  take(): T {
    const first = this.#items[0] as T
    const time = this.#times.pop() as number
    const order = this.#orders.pop() as number
    const item = this.#items.pop() as T
    const size = this.#times.length
    if (size === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      if (child + 1 < size && this.#before(child + 1, child)) child++
      const earlier = this.#times[child] as number
      if (time < earlier || (time === earlier && order < (this.#orders[child] as number))) break
      this.#move(child, at)
      at = child
    }
    this.#put(at, time, order, item)
    return first
  }

  #before(a: number, b: number): boolean {
    const difference = (this.#times[a] as number) - (this.#times[b] as number)
    return difference !== 0 ? difference < 0 : (this.#orders[a] as number) < (this.#orders[b] as number)
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#times[from] as number, this.#orders[from] as number, this.#items[from] as T)
  }

  #put(at: number, timeMs: number, order: number, item: T): void {
    this.#times[at] = timeMs
    this.#orders[at] = order
    this.#items[at] = item
  }
}

export interface Weather {
  /** One way, in ms: uniform between the two. */
  readonly delayMs: readonly [number, number]
  readonly loss: number
  /** How much of a delay between overlays is chance; the rest is of the pair. 0.2 unless told. */
  readonly chance?: number
}

export const lan: Weather = { delayMs: [0.2, 0.8], loss: 0 }

// --- membership -------------------------------------------------------------------------------------------------

interface Host {
  readonly node: NodeId
  machine: Membership
  up: boolean
  frozenUntilMs: number
  inbox: { readonly from: NodeId; readonly frame: MembershipFrame }[]
  timerMs: number
}

export interface Seen {
  readonly atMs: number
  readonly by: NodeId
  readonly of: NodeId
  readonly before: MemberState | undefined
  readonly state: MemberState
}

type Happening =
  | { readonly kind: 'deliver'; readonly to: Host; readonly from: NodeId; readonly frame: MembershipFrame }
  | { readonly kind: 'timer'; readonly host: Host; readonly atMs: number }
  | { readonly kind: 'thaw'; readonly host: Host }
  | { readonly kind: 'do'; readonly run: () => void }

/** Membership machines that can reach each other unless something stands between them. */
export class Fleet {
  readonly hosts: Map<NodeId, Host> = new Map()
  readonly seen: Seen[] = []
  readonly random: Prng
  nowMs = 0
  sent = 0
  weather: Weather
  /** Nothing goes from the first to the second. */
  cut: (from: NodeId, to: NodeId) => boolean = () => false
  readonly #agenda = new Agenda<Happening>()
  readonly #timing: Partial<MembershipTiming>

  constructor(seed: number, weather: Weather = lan, timing: Partial<MembershipTiming> = {}) {
    this.random = prng(seed)
    this.weather = weather
    this.#timing = timing
  }

  start(node: NodeId): Membership {
    const self = { node, address: `ws://${node}`, zone: 'here', version: 1000 }
    const machine = new Membership({ self, random: this.random.fork(this.hosts.size), timing: this.#timing })
    const host: Host = { node, machine, up: true, frozenUntilMs: 0, inbox: [], timerMs: Infinity }
    this.hosts.set(node, host)
    this.input(node, { kind: 'timer' })
    return machine
  }

  /** A fleet in which everybody has met the first one. */
  startMany(count: number): NodeId[] {
    const nodes = Array.from({ length: count }, (_, at) => nodeId(at))
    for (const node of nodes) {
      this.start(node)
      if (node !== nodes[0]) this.meet(node, nodes[0] as NodeId)
    }
    return nodes
  }

  meet(a: NodeId, b: NodeId): void {
    this.input(a, { kind: 'met', node: b, address: `ws://${b}` })
    this.input(b, { kind: 'met', node: a, address: `ws://${a}` })
  }

  machine(node: NodeId): Membership {
    return this.#host(node).machine
  }

  kill(node: NodeId): void {
    this.#host(node).up = false
  }

  /** Its event loop stands still: messages wait for it, its timers are late. */
  freeze(node: NodeId, forMs: number): void {
    const host = this.#host(node)
    host.frozenUntilMs = this.nowMs + forMs
    this.#agenda.add(host.frozenUntilMs, { kind: 'thaw', host })
  }

  at(timeMs: number, run: () => void): void {
    this.#agenda.add(timeMs, { kind: 'do', run })
  }

  run(forMs: number): void {
    const endMs = this.nowMs + forMs
    while (this.#agenda.nextMs <= endMs) {
      this.nowMs = this.#agenda.nextMs
      this.#happen(this.#agenda.take())
    }
    this.nowMs = endMs
  }

  input(node: NodeId, input: MembershipInput): void {
    const host = this.#host(node)
    for (const output of host.machine.handle(input, Math.floor(this.nowMs))) {
      if (output.kind === 'changed') {
        const { node: of, state } = output.member
        this.seen.push({ atMs: this.nowMs, by: node, of, before: output.before, state })
      } else if (output.kind === 'send') {
        this.sent++
        const to = this.hosts.get(output.to)
        if (to === undefined || this.cut(node, output.to) || this.random.chance(this.weather.loss)) continue
        const [least, most] = this.weather.delayMs
        const delayMs = least + ((most - least) * this.random.uint32()) / 2 ** 32
        this.#agenda.add(this.nowMs + delayMs, { kind: 'deliver', to, from: node, frame: output.frame })
      }
    }
    const { wakeAt } = host.machine
    if (wakeAt === host.timerMs) return
    host.timerMs = wakeAt
    this.#agenda.add(Math.max(wakeAt, this.nowMs), { kind: 'timer', host, atMs: wakeAt })
  }

  #happen(happening: Happening): void {
    switch (happening.kind) {
      case 'deliver': {
        const { to, from, frame } = happening
        if (!to.up) return
        if (this.nowMs < to.frozenUntilMs) to.inbox.push({ from, frame })
        else this.input(to.node, { kind: 'message', from, frame })
        return
      }
      case 'timer': {
        const { host, atMs } = happening
        if (!host.up || host.timerMs !== atMs || this.nowMs < host.frozenUntilMs) return
        host.timerMs = Infinity
        this.input(host.node, { kind: 'timer' })
        return
      }
      case 'thaw': {
        const { host } = happening
        if (!host.up || this.nowMs < host.frozenUntilMs) return
        const { inbox } = host
        host.inbox = []
        host.timerMs = Infinity
        // As a real loop would: late timers first, then what has come meanwhile.
        this.input(host.node, { kind: 'timer' })
        for (const { from, frame } of inbox) this.input(host.node, { kind: 'message', from, frame })
        return
      }
      case 'do':
        happening.run()
    }
  }

  #host(node: NodeId): Host {
    const host = this.hosts.get(node)
    if (host === undefined) throw new Error(`no host ${node}`)
    return host
  }
}

// --- broadcast --------------------------------------------------------------------------------------------------

export interface Overlay {
  readonly node: NodeId
  readonly index: number
  readonly machine: Broadcast
  readonly applied: Map<OriginId, number>
  readonly hops: Map<OriginId, number>
  /** Pushes that came before what is before them. */
  readonly waiting: Map<string, { readonly from: Overlay; readonly hops: number }>
}

type Travelling =
  | { readonly kind: 'push'; readonly from: Overlay; readonly to: Overlay; readonly dot: Dot; readonly hops: number }
  | { readonly kind: 'answer'; readonly from: Overlay; readonly to: Overlay; readonly dot: Dot; readonly hops: number }
  | { readonly kind: 'frame'; readonly from: Overlay; readonly to: Overlay; readonly frame: BroadcastFrame }
  | { readonly kind: 'timer'; readonly of: Overlay; readonly atMs: number }

export interface Spread {
  /** Most hops over which a node got a delta, of each delta. */
  readonly hops: number[]
  readonly payloads: number
  readonly notices: number
  readonly noticeDots: number
  readonly prunes: number
  readonly pulls: number
  /** From the write to the last node, of each delta. */
  readonly lastMs: number[]
  readonly missing: number
}

/** Broadcast machines over one shared roster, with a delay of its own for each pair and some more by chance. */
export class Overlays {
  readonly all: Overlay[] = []
  readonly byNode: Map<NodeId, Overlay> = new Map()
  readonly roster: Roster = new Roster()
  readonly random: Prng
  nowMs = 0
  weather: Weather
  down: Set<string> = new Set()
  #loss = 0
  readonly #agenda = new Agenda<Travelling>()
  readonly #timers = new Map<Overlay, number>()
  #payloads = 0
  #notices = 0
  #noticeDots = 0
  #prunes = 0
  #pulls = 0

  constructor(seed: number, count: number, weather: Weather = lan, timing: Partial<BroadcastTiming> = {}) {
    this.random = prng(seed)
    this.weather = weather
    this.#loss = weather.loss
    const members: RosterMember[] = Array.from({ length: count }, (_, at) => ({
      node: nodeId(at + seed * 100_003),
      zone: '',
      spaces: new Set([space]),
      dialable: true,
    }))
    for (const member of members) this.roster.set(member)
    for (const self of members) {
      const applied = new Map<OriginId, number>()
      const machine = new Broadcast({
        self,
        roster: this.roster,
        applied: (_, origin) => applied.get(origin) ?? 0,
        timing,
      })
      const overlay = {
        node: self.node,
        index: this.all.length,
        machine,
        applied,
        hops: new Map<OriginId, number>(),
        waiting: new Map(),
      }
      this.all.push(overlay)
      this.byNode.set(self.node, overlay)
    }
    for (const overlay of this.all) this.input(overlay, { kind: 'hold', space })
  }

  set loss(loss: number) {
    this.#loss = loss
  }

  input(overlay: Overlay, input: BroadcastInput, hops = 0): void {
    for (const output of overlay.machine.handle(input, Math.floor(this.nowMs))) {
      switch (output.kind) {
        case 'connect':
          if (this.#cut(overlay.node, output.node)) break
          this.input(overlay, { kind: 'linked', node: output.node })
          this.input(this.#get(output.node), { kind: 'linked', node: overlay.node })
          break
        case 'disconnect':
          break
        case 'push':
          this.#payloads++
          this.#travel(overlay, output.to, (to) => ({
            kind: 'push',
            from: overlay,
            to,
            dot: output.dot,
            hops: hops + 1,
          }))
          break
        case 'send': {
          const { frame } = output
          if (frame.kind === 'notice') {
            this.#notices++
            this.#noticeDots += frame.dots.length
          } else if (frame.kind === 'prune') this.#prunes++
          else this.#pulls++
          this.#travel(overlay, output.to, (to) => ({ kind: 'frame', from: overlay, to, frame }))
        }
      }
    }
    const { wakeAt } = overlay.machine
    if (wakeAt === Infinity || this.#timers.get(overlay) === wakeAt) return
    this.#timers.set(overlay, wakeAt)
    this.#agenda.add(Math.max(wakeAt, this.nowMs), { kind: 'timer', of: overlay, atMs: wakeAt })
  }

  /** A write by that node. */
  write(overlay: Overlay): Dot {
    const origin = originOf(overlay.node)
    const seq = (overlay.applied.get(origin) ?? 0) + 1
    overlay.applied.set(origin, seq)
    overlay.hops.set(origin, 0)
    const dot = { origin, seq }
    this.input(overlay, { kind: 'have', space, dot, sizeBytes: 100, cause: 'local' })
    return dot
  }

  unlink(a: Overlay, b: Overlay): void {
    this.down.add(pair(a.node, b.node))
    this.input(a, { kind: 'unlinked', node: b.node, failed: false })
    this.input(b, { kind: 'unlinked', node: a.node, failed: false })
  }

  link(a: Overlay, b: Overlay): void {
    this.down.delete(pair(a.node, b.node))
    this.input(a, { kind: 'linked', node: b.node })
    this.input(b, { kind: 'linked', node: a.node })
  }

  /** It is dead, and all know. */
  remove(overlay: Overlay): void {
    this.roster.delete(overlay.node)
    this.byNode.delete(overlay.node)
    this.all.splice(this.all.indexOf(overlay), 1)
    for (const one of this.all) {
      this.input(one, { kind: 'unlinked', node: overlay.node, failed: false })
      this.input(one, { kind: 'roster' })
    }
  }

  /** And back, as it was but for what was written meanwhile. */
  restore(overlay: Overlay): void {
    this.byNode.set(overlay.node, overlay)
    const [first] = this.all as [Overlay]
    for (const [origin, seq] of first.applied) overlay.applied.set(origin, seq)
    this.all.push(overlay)
    this.roster.set({ node: overlay.node, zone: '', spaces: new Set([space]), dialable: true })
    for (const one of this.all) this.input(one, { kind: 'roster' })
  }

  /** Runs a round of writes and says what they cost. */
  measure(writers: readonly Overlay[], forMs: number): Spread {
    const before = [this.#payloads, this.#notices, this.#noticeDots, this.#prunes, this.#pulls] as const
    const startedMs = this.nowMs
    const dots = writers.map((writer) => this.write(writer))
    const reached = new Map(dots.map(({ origin }) => [origin, { hops: 0, lastMs: 0 }]))
    this.#watch = (overlay, { origin }) => {
      const entry = reached.get(origin)
      if (entry === undefined) return
      entry.hops = Math.max(entry.hops, overlay.hops.get(origin) ?? 0)
      entry.lastMs = this.nowMs - startedMs
    }
    this.run(forMs)
    this.#watch = () => {}
    let missing = 0
    for (const { applied } of this.all) {
      for (const { origin, seq } of dots) if ((applied.get(origin) ?? 0) < seq) missing++
    }
    return {
      hops: dots.map(({ origin }) => reached.get(origin)?.hops ?? 0),
      lastMs: dots.map(({ origin }) => reached.get(origin)?.lastMs ?? 0),
      payloads: this.#payloads - before[0],
      notices: this.#notices - before[1],
      noticeDots: this.#noticeDots - before[2],
      prunes: this.#prunes - before[3],
      pulls: this.#pulls - before[4],
      missing,
    }
  }

  #watch: (overlay: Overlay, dot: Dot) => void = () => {}

  run(forMs: number): void {
    const endMs = this.nowMs + forMs
    while (this.#agenda.nextMs <= endMs) {
      this.nowMs = this.#agenda.nextMs
      this.#arrive(this.#agenda.take())
    }
    this.nowMs = endMs
  }

  #arrive(one: Travelling): void {
    switch (one.kind) {
      case 'timer':
        if (this.#timers.get(one.of) !== one.atMs) return
        this.#timers.delete(one.of)
        this.input(one.of, { kind: 'timer' })
        return
      case 'push':
      case 'answer':
        this.#receive(one.from, one.to, one.dot, one.hops, one.kind)
        return
      case 'frame': {
        const { from, to, frame } = one
        if (frame.kind === 'pull') {
          for (const { origin, seq } of frame.after) {
            for (let next = seq + 1; next <= (to.applied.get(origin) ?? 0); next++) {
              const dot = { origin, seq: next }
              const hops = (to.hops.get(origin) ?? 0) + 1
              this.#payloads++
              this.#travel(to, from.node, () => ({ kind: 'answer', from: to, to: from, dot, hops }))
            }
          }
        }
        this.input(to, { kind: 'message', from: from.node, frame })
      }
    }
  }

  #receive(from: Overlay, to: Overlay, dot: Dot, hops: number, kind: 'push' | 'answer'): void {
    const had = to.applied.get(dot.origin) ?? 0
    if (dot.seq <= had) {
      if (kind === 'push') this.input(to, { kind: 'duplicate', space, dot, from: from.node, hops })
    } else if (dot.seq > had + 1) {
      to.waiting.set(`${dot.origin}/${dot.seq}`, { from, hops })
      this.input(to, { kind: 'held', space, dot, from: from.node })
    } else {
      to.applied.set(dot.origin, dot.seq)
      to.hops.set(dot.origin, hops)
      this.#watch(to, dot)
      const cause = kind === 'push' ? 'push' : 'catch-up'
      this.input(to, { kind: 'have', space, dot, sizeBytes: 100, cause, from: from.node, hops }, hops)
      const next = { origin: dot.origin, seq: dot.seq + 1 }
      const waits = to.waiting.get(`${next.origin}/${next.seq}`)
      if (waits === undefined) return
      to.waiting.delete(`${next.origin}/${next.seq}`)
      this.#receive(waits.from, to, next, waits.hops, 'push')
    }
  }

  #travel(from: Overlay, to: NodeId, make: (to: Overlay) => Travelling): void {
    if (this.#cut(from.node, to) || this.random.chance(this.#loss)) return
    const target = this.byNode.get(to)
    if (target === undefined) return
    const [least, most] = this.weather.delayMs
    const base = fraction(from.index, target.index)
    const jitter = this.random.uint32() / 2 ** 32
    const { chance = 0.2 } = this.weather
    const delayMs = least + (most - least) * ((1 - chance) * base + chance * jitter)
    this.#agenda.add(this.nowMs + delayMs, make(target))
  }

  #cut(a: NodeId, b: NodeId): boolean {
    return this.down.size > 0 && this.down.has(pair(a, b))
  }

  #get(node: NodeId): Overlay {
    const overlay = this.byNode.get(node)
    if (overlay === undefined) throw new Error(`no overlay ${node}`)
    return overlay
  }
}

function pair(a: NodeId, b: NodeId): string {
  return a < b ? a + b : b + a
}

/** The same for both ways. */
function fraction(a: number, b: number): number {
  let h = Math.imul(Math.min(a, b) + 1, 0x9e3779b1) ^ Math.imul(Math.max(a, b) + 1, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return ((h ^ (h >>> 13)) >>> 0) / 2 ** 32
}
