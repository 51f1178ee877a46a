/**
 * Random histories: a few replicas that write, exchange deltas and whole states, restart and are wrong about the time,
 * all out of one seed. Beside each replica stands the set of events that it knows, for the twins.
 */
import { SkeinError } from '../base/errors.ts'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import { HybridClock } from './clock.ts'
import type { Delta } from './delta.ts'
import { originId } from './dot.ts'
import type { OriginId } from './dot.ts'
import { State } from './state.ts'
import type { CrdtType, Reading } from './type.ts'
import type { Event } from './twins.test-model.ts'
import { typeOf } from './types/table.ts'
import { workload } from './workload.ts'

export const entryKey = 'it'

export function origin(node: number, incarnation: number): OriginId {
  return originId(node.toString(16).padStart(16, '0') + incarnation.toString(16).padStart(16, '0'))
}

/** What a step came to: for checks that look at every one. */
export interface Outcome {
  readonly replica: Replica
  readonly event: Event
  readonly delta: Delta | undefined
  readonly answer: unknown
  /** The code, when it was refused. */
  readonly refused: string | undefined
  readonly before: Uint8Array
}

export class Replica {
  readonly state: State = new State()
  readonly known: Set<Event> = new Set()
  /** In the order in which they were applied, which is a causal one. */
  readonly deltas: Delta[] = []
  readonly clock: HybridClock = new HybridClock()
  readonly agent: string
  readonly #node: number
  readonly #skewMs: number
  #incarnation: number

  constructor(node: number, incarnation: number, agent: string, skewMs: number) {
    this.#node = node
    this.#incarnation = incarnation
    this.agent = agent
    this.#skewMs = skewMs
  }

  get origin(): OriginId {
    return origin(this.#node, this.#incarnation)
  }

  restart(): void {
    this.#incarnation += 16
  }

  nowMs(worldMs: number): number {
    return worldMs + this.#skewMs
  }

  read(type: CrdtType): Reading<unknown> {
    return type.read(this.state.entry(entryKey).cells(type.id))
  }

  take(delta: Delta, event: Event | undefined, worldMs: number): void {
    if (!this.state.apply(delta)) return
    this.#note(delta, event, worldMs)
  }

  #note(delta: Delta, event: Event | undefined, worldMs: number): void {
    this.deltas.push(delta)
    if (event !== undefined) this.known.add(event)
    this.clock.witness(delta.time, this.nowMs(worldMs))
  }

  merge(other: Replica, events: ReadonlyMap<Delta, Event>, worldMs: number): void {
    const had = new Set(this.deltas)
    this.state.merge(other.state)
    for (const delta of other.deltas) if (!had.has(delta)) this.#note(delta, events.get(delta), worldMs)
  }
}

export interface Plan {
  readonly seed: number
  readonly steps: number
  /** Entries are deleted now and then. */
  readonly deletes?: boolean
  /** Replicas take new incarnations now and then, and two of them are one node (a restored disk). */
  readonly restarts?: boolean
  each?(outcome: Outcome): void
}

export class History {
  readonly chance: Prng
  readonly replicas: readonly Replica[]
  readonly events: Map<Delta, Event> = new Map()
  worldMs = 5_000
  readonly #plan: Plan

  constructor(plan: Plan, types: readonly CrdtType[]) {
    this.#plan = plan
    this.chance = prng(plan.seed)
    const skews = [0, 0, this.chance.pick([0, 2, -3]), this.chance.pick([0, 86_400_000, -4_000])]
    this.replicas = skews.map((skewMs, at) => {
      const node = plan.restarts === true && at === 1 ? 0 : at
      return new Replica(node, at + 1, `agent-${'abcd'[at]}`, skewMs)
    })
    for (let step = 0; step < plan.steps; step++) this.#step(this.chance.pick(types))
  }

  get deltas(): readonly Delta[] {
    return [...this.events.keys()]
  }

  #step(type: CrdtType): void {
    const { chance } = this
    if (chance.chance(0.4)) this.worldMs += chance.below(3)
    const replica = chance.pick(this.replicas)
    const other = chance.pick(this.replicas)
    if (this.#plan.restarts === true && chance.chance(0.08)) replica.restart()
    if (replica !== other && chance.chance(0.4)) {
      if (chance.chance(0.3)) replica.merge(other, this.events, this.worldMs)
      else {
        const upTo = chance.chance(0.5) ? other.deltas.length : chance.below(other.deltas.length + 1)
        for (const delta of other.deltas.slice(0, upTo)) replica.take(delta, this.events.get(delta), this.worldMs)
      }
    }
    this.write(replica, type)
  }

  write(replica: Replica, type: CrdtType): void {
    const { chance } = this
    const deletes = this.#plan.deletes === true && chance.chance(0.15)
    const generate = workload[type.name]
    if (generate === undefined) throw new Error(`${type.name} has no line in the workload`)
    const shown = replica.read(type).value
    const [operation, args] = deletes ? (['delete entry', {}] as const) : generate(chance, shown)
    const nowMs = replica.nowMs(this.worldMs)
    const time = replica.clock.next(nowMs)
    const { origin: writer, agent } = replica
    const seq = (replica.state.vector.get(writer) ?? 0) + 1
    const saw = new Set(replica.known)
    const event: Event = { origin: writer, seq, time, nowMs, agent, operation, args, saw, shown }
    const before = replica.state.encode()
    const write = { origin: writer, time, nowMs, agent }
    let delta: Delta | undefined
    let answer: unknown
    let refused: string | undefined
    try {
      if (deletes) delta = replica.state.delete(write, entryKey, typeOf)
      else ({ delta, result: answer } = replica.state.local(write, entryKey, type, operation, args))
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      refused = error.code
    }
    if (delta !== undefined) {
      this.events.set(delta, event)
      replica.known.add(event)
      replica.deltas.push(delta)
    }
    this.#plan.each?.({ replica, event, delta, answer, refused, before })
  }

  /** Every delta to everybody. */
  settle(): void {
    for (const replica of this.replicas) {
      for (const other of this.replicas) {
        for (const delta of other.deltas) replica.take(delta, this.events.get(delta), this.worldMs)
      }
    }
  }
}

/** A state that got these deltas in some random causal order, some of them twice. */
export function inAnyOrder(deltas: readonly Delta[], chance: Prng): State {
  const state = new State()
  const waiting = [...deltas]
  const applied: Delta[] = []
  while (waiting.length > 0) {
    const ready = waiting.filter((delta) => state.ready(delta))
    const delta = chance.pick(ready)
    state.apply(delta)
    applied.push(delta)
    waiting.splice(waiting.indexOf(delta), 1)
    while (chance.chance(0.3)) state.apply(chance.pick(applied))
  }
  return state
}
