/**
 * What goes wrong in a run, drawn from the seed before it begins: a list of faults with their times, that is printed when a
 * check fails. Faults overlap; now and then there is a calm time, in which what holds without faults can be checked.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Prng } from '../../src/base/prng.ts'
import type { Cluster } from './cluster.ts'
import type { History } from './history.ts'
import { clear } from './proxy.ts'

export type Fault =
  | { readonly kind: 'kill' | 'stop' | 'pause'; readonly node: number }
  /** Between two groups: black hole or resets, both ways or one. */
  | {
      readonly kind: 'cut'
      readonly some: readonly number[]
      readonly others: readonly number[]
      readonly how: 'hold' | 'reset'
      readonly oneWay: boolean
    }
  /** A link that comes and goes. */
  | {
      readonly kind: 'flap'
      readonly some: readonly number[]
      readonly others: readonly number[]
      readonly everyMs: number
    }
  | { readonly kind: 'slow'; readonly node: number; readonly delayMs: number; readonly jitterMs: number }
  /** Its wall clock jumps, and jumps back. */
  | { readonly kind: 'clock'; readonly node: number; readonly offsetMs: number }
  | { readonly kind: 'thin'; readonly node: number; readonly bytesPerSecond: number }
  /** Cut off, then killed: what it said to others is all that is left of what its disk does not have. */
  | {
      readonly kind: 'cut and kill'
      readonly node: number
      readonly some: readonly number[]
      readonly others: readonly number[]
    }

export interface Planned {
  readonly atMs: number
  readonly forMs: number
  readonly fault: Fault
}

/** Long enough for links that were cut to be dialled again, and some claims after it. */
const calmMs = 26_000

/** Below the minute from which on nodes refuse each other. */
export const mostAstrayMs = 20_000

export function plan(chance: Prng, nodes: number, lengthMs: number, withClocks: boolean): Planned[] {
  const all = Array.from({ length: nodes }, (_, node) => node)
  const planned: Planned[] = []
  const calmFromMs = lengthMs > 3 * calmMs ? Math.floor(lengthMs * 0.6) : Infinity
  for (let atMs = 1_500; atMs < lengthMs - 1_000; atMs += 500 + chance.below(3_000)) {
    const forMs = 1_000 + chance.below(6_000)
    if (atMs + forMs > calmFromMs && atMs < calmFromMs + calmMs) continue
    planned.push({ atMs, forMs: Math.round(Math.min(forMs, lengthMs - atMs)), fault: draw(chance, all, withClocks) })
  }
  return planned
}

function draw(chance: Prng, all: readonly number[], withClocks: boolean): Fault {
  if (withClocks && chance.chance(0.2)) {
    const offsetMs = chance.below(2 * mostAstrayMs) - mostAstrayMs
    return { kind: 'clock', node: chance.pick(all), offsetMs }
  }
  const node = chance.pick(all)
  const [some, others] = split(chance, all)
  const choice = chance.below(20)
  if (choice < 4) return { kind: 'kill', node }
  if (choice < 5) return { kind: 'stop', node }
  if (choice < 7) return { kind: 'pause', node }
  if (choice < 12) {
    return { kind: 'cut', some, others, how: chance.chance(0.6) ? 'hold' : 'reset', oneWay: chance.chance(0.25) }
  }
  if (choice < 14) return { kind: 'flap', some, others, everyMs: 200 + chance.below(800) }
  if (choice < 16) return { kind: 'slow', node, delayMs: 50 + chance.below(300), jitterMs: chance.below(200) }
  if (choice < 17) return { kind: 'thin', node, bytesPerSecond: 5_000 + chance.below(40_000) }
  return { kind: 'cut and kill', node, some: [node], others: all.filter((other) => other !== node) }
}

/** In halves, or one alone. */
function split(chance: Prng, all: readonly number[]): [number[], number[]] {
  const order = [...all]
  for (let at = order.length - 1; at > 0; at--) {
    const other = chance.below(at + 1)
    ;[order[at], order[other]] = [order[other] as number, order[at] as number]
  }
  const size = chance.chance(0.3) ? 1 : Math.floor(order.length / 2)
  return [order.slice(0, size), order.slice(size)]
}

export class Nemesis {
  readonly #cluster: Cluster
  readonly #history: History
  readonly figures: Map<string, number> = new Map<string, number>()
  /** Faults that have begun and not ended, those of the network and others. */
  readonly #active = new Set<Fault>()
  readonly #network = new Set<Fault>()
  /** Nodes that are down or stand still because of a fault. */
  readonly #busy = new Set<number>()

  constructor(cluster: Cluster, history: History) {
    this.#cluster = cluster
    this.#history = history
  }

  /** Resolves when the last fault has ended and every node is up. */
  async run(planned: readonly Planned[]): Promise<void> {
    const startMs = performance.now()
    const under: Promise<void>[] = []
    this.#history.fault('the run begins', true)
    for (const { atMs, forMs, fault } of planned) {
      await sleep(Math.max(0, startMs + atMs - performance.now()))
      under.push(this.#suffer(fault, forMs))
    }
    await Promise.all(under)
  }

  async #suffer(fault: Fault, forMs: number): Promise<void> {
    const isOnNode = 'node' in fault && !['slow', 'thin', 'clock'].includes(fault.kind)
    if (isOnNode && this.#busy.has(fault.node)) return
    if (isOnNode) this.#busy.add(fault.node)
    this.figures.set(fault.kind, (this.figures.get(fault.kind) ?? 0) + 1)
    this.#active.add(fault)
    this.#history.fault(`${JSON.stringify(fault)} begins, for ${forMs} ms`, false)
    try {
      await this.#inflict(fault, forMs)
    } finally {
      this.#active.delete(fault)
      if (isOnNode) this.#busy.delete(fault.node)
      this.#history.fault(`${JSON.stringify(fault)} is over`, this.#active.size === 0 ? true : undefined)
    }
  }

  async #inflict(fault: Fault, forMs: number): Promise<void> {
    const cluster = this.#cluster
    switch (fault.kind) {
      case 'kill':
      case 'stop':
        await cluster.end(fault.node, fault.kind === 'kill' ? 'SIGKILL' : 'SIGTERM')
        await sleep(forMs / 3)
        return cluster.start(fault.node)
      case 'pause':
        cluster.member(fault.node).pause()
        await sleep(forMs)
        return cluster.member(fault.node).resume()
      case 'clock':
        cluster.member(fault.node).skew(fault.offsetMs)
        await sleep(forMs)
        return cluster.member(fault.node).skew(0)
      case 'cut':
      case 'slow':
      case 'thin':
        return this.#onNetwork(fault, () => sleep(forMs))
      case 'flap':
        return this.#onNetwork(fault, async (turn) => {
          const untilMs = performance.now() + forMs
          for (let isUp = false; performance.now() < untilMs; isUp = !isUp) {
            turn(isUp)
            await sleep(fault.everyMs)
          }
        })
      case 'cut and kill':
        return this.#onNetwork(fault, async () => {
          await sleep(forMs / 2)
          await cluster.end(fault.node, 'SIGKILL')
          await sleep(forMs / 4)
          await cluster.start(fault.node)
          await sleep(forMs / 4)
        })
    }
  }

  async #onNetwork(fault: Fault, during: (turn: (isUp: boolean) => void) => Promise<unknown>): Promise<void> {
    this.#network.add(fault)
    const up = new Set<Fault>()
    const turn = (isUp: boolean): void => {
      if (isUp) up.add(fault)
      else up.delete(fault)
      this.#weave(up)
    }
    this.#weave(up)
    try {
      await during(turn)
    } finally {
      this.#network.delete(fault)
      this.#weave(up)
    }
  }

  /** The rules of all faults together: cuts over slowness. */
  #weave(up: ReadonlySet<Fault>): void {
    const { network, members } = this.#cluster
    const nodes = members.map(({ index }) => index)
    for (const from of nodes) {
      for (const to of nodes) {
        if (from === to) continue
        let rule = clear
        for (const fault of this.#network) {
          if (up.has(fault)) continue
          if (fault.kind === 'slow' && (fault.node === from || fault.node === to)) {
            rule = { ...rule, delayMs: fault.delayMs, jitterMs: fault.jitterMs }
          }
          if (fault.kind === 'thin' && (fault.node === from || fault.node === to)) {
            rule = { ...rule, bytesPerSecond: fault.bytesPerSecond }
          }
        }
        for (const fault of this.#network) {
          if (!('some' in fault) || up.has(fault)) continue
          const isThere = fault.some.includes(from) && fault.others.includes(to)
          const isBack = fault.some.includes(to) && fault.others.includes(from)
          const isOneWay = fault.kind === 'cut' && fault.oneWay
          const how = fault.kind === 'cut' ? fault.how : fault.kind === 'flap' ? 'reset' : 'hold'
          if (isThere || (isBack && !isOneWay)) rule = { ...rule, cut: how }
        }
        const now = network.rule(from, to)
        const isSame =
          now.cut === rule.cut &&
          now.delayMs === rule.delayMs &&
          now.jitterMs === rule.jitterMs &&
          now.bytesPerSecond === rule.bytesPerSecond
        if (!isSame) network.set(from, to, rule)
      }
    }
  }
}
