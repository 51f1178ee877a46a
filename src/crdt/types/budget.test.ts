import { describe, expect, test } from 'vitest'
import { SkeinError } from '../../base/errors.ts'
import { prng } from '../../base/prng.ts'
import type { Prng } from '../../base/prng.ts'
import type { Value } from '../../base/value.ts'
import { pathOf } from '../cell.ts'
import type { Path, Siblings } from '../cell.ts'
import type { Delta } from '../delta.ts'
import { covers, nodeOf, originId } from '../dot.ts'
import type { OriginId, Vector } from '../dot.ts'
import { State } from '../state.ts'
import type { Cells } from '../type.ts'
import { budget, rightsOf } from './budget.ts'
import type { BudgetValue } from './budget.ts'

const key = 'b'
type Args = Readonly<Record<string, unknown>>

function hex(number: number): string {
  return number.toString(16).padStart(16, '0')
}

/** What one delta did, in the words of the operation: the slow twin adds these up and knows no cells. */
interface Effect {
  readonly origin: OriginId
  readonly seq: number
  readonly name: string
  readonly amount: number
  readonly to?: OriginId
  readonly id?: string
}

interface Truth {
  readonly granted: number
  readonly revoked: number
  readonly spent: number
  readonly held: number
  /** By node: takeovers move rights between incarnations and never between nodes. */
  readonly rights: Readonly<Record<string, number>>
}

/** Adds up, one by one, every effect that a vector covers. */
function truthOf(effects: readonly Effect[], vector: Vector): Truth {
  const sums = { granted: 0, revoked: 0, spent: 0, held: 0 }
  const rights: Record<string, number> = {}
  const open = new Map<string, number>()
  const add = (origin: OriginId, amount: number): void => {
    rights[nodeOf(origin)] = (rights[nodeOf(origin)] ?? 0) + amount
  }
  for (const effect of effects) {
    const { origin, name, amount, to, id } = effect
    if (!covers(vector, effect)) continue
    if (name === 'grant') {
      sums.granted += amount
      add(origin, amount)
    } else if (name === 'spend') {
      sums.spent += amount
      add(origin, -amount)
    } else if (name === 'revoke') {
      sums.revoked += amount
      add(origin, -amount)
    } else if (name === 'transfer') {
      add(origin, -amount)
      add(to as OriginId, amount)
    } else if (name === 'reserve') {
      open.set(id as string, amount)
      sums.held += amount
      add(origin, -amount)
    } else {
      const reserved = open.get(id as string) as number
      open.delete(id as string)
      sums.held -= reserved
      add(origin, reserved)
      if (name === 'settle') {
        sums.spent += amount
        add(origin, -amount)
      }
    }
  }
  return { ...sums, rights }
}

interface Node {
  readonly name: string
  origin: OriginId
  state: State
  /** What the disk has: deltas leave and are acknowledged only when they are in here. */
  durable: Vector
  /** Reservations that its callers know of and have not closed. */
  open: string[]
}

/** Nodes that lose what they had not fsynced when they crash, and come back as another incarnation. */
class World {
  readonly nodes: Node[] = []
  /** Every delta that still exists, by origin. */
  readonly deltas = new Map<OriginId, Delta[]>()
  effects: Effect[] = []
  time = 0
  incarnations = 0

  constructor(count: number) {
    for (let n = 0; n < count; n++) {
      const name = hex(0xabc000 + n * 0x1357)
      this.nodes.push({ name, origin: this.#incarnate(name), state: new State(), durable: new Map(), open: [] })
    }
  }

  #incarnate(name: string): OriginId {
    return originId(name + hex(Math.imul(++this.incarnations, 0x9e3779b1) >>> 0))
  }

  cells(node: Node): Cells {
    return node.state.entry(key).cells(budget.id)
  }

  read(node: Node): BudgetValue {
    return budget.read(this.cells(node)).value
  }

  /** Gone for ever as far as the fleet can know: every node has the whole of it on its disk. */
  retired(node: Node, origin: OriginId): boolean {
    if (nodeOf(origin) !== node.name || this.nodes.some((other) => other.origin === origin)) return false
    const last = this.deltas.get(origin)?.length ?? 0
    return this.nodes.every(({ durable }) => (durable.get(origin) ?? 0) >= last)
  }

  /** An operation as `origin`; what it answers, or the code of the error. */
  run(node: Node, name: string, args: Args, origin: OriginId = node.origin): Value | undefined {
    const before = node.state.encode()
    try {
      const write = { origin, time: ++this.time, retired: (other: OriginId) => this.retired(node, other) }
      const { delta, result } = node.state.local(write, key, budget, name, args)
      if (delta === undefined) return undefined
      const log = this.deltas.get(origin) ?? []
      this.deltas.set(origin, log)
      expect(delta.seq).toBe(log.length + 1)
      log.push(delta)
      const { amount, to, id } = { id: (result as { id?: string } | undefined)?.id, ...args } as Partial<Effect>
      this.effects.push({
        origin,
        seq: delta.seq,
        name,
        amount: amount ?? 0,
        ...(to === undefined ? {} : { to }),
        ...(id === undefined ? {} : { id }),
      })
      return result
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      expect(node.state.encode()).toEqual(before)
      return error.code
    }
  }

  fsync(node: Node): void {
    node.durable = new Map(node.state.vector)
  }

  /** Everything since the last fsync is lost, and the node comes back under another name. */
  crash(node: Node): void {
    const log = this.deltas.get(node.origin) ?? []
    const kept = node.durable.get(node.origin) ?? 0
    log.length = kept
    this.effects = this.effects.filter(({ origin, seq }) => origin !== node.origin || seq <= kept)
    this.restart(node)
    const mine = this.effects.filter(({ origin }) => nodeOf(origin) === node.name)
    const closed = new Set(mine.filter(({ name }) => name !== 'reserve').map(({ id }) => id))
    node.open = mine.flatMap(({ name, id }) => (name === 'reserve' && id !== undefined && !closed.has(id) ? [id] : []))
  }

  restart(node: Node): void {
    const { durable } = node
    node.state = new State()
    this.#catchUp(node, durable, undefined)
    node.origin = this.#incarnate(node.name)
  }

  /** Applies what `from` covers, in causal order: in any such order, if chance is given, and some of it twice. */
  #catchUp(node: Node, from: Vector, random: Prng | undefined): void {
    let waiting: Delta[] = []
    for (const [origin, seq] of from) {
      waiting.push(...(this.deltas.get(origin) ?? []).slice(node.state.vector.get(origin) ?? 0, seq))
    }
    while (waiting.length > 0) {
      if (random !== undefined) waiting.sort(() => random.below(3) - 1)
      const ready = waiting.filter((delta) => node.state.ready(delta))
      expect(ready.length).toBeGreaterThan(0)
      for (const delta of ready.slice(0, random === undefined ? ready.length : 1)) {
        node.state.apply(delta)
        if (random?.chance(0.2)) node.state.apply(delta)
      }
      waiting = waiting.filter((delta) => !covers(node.state.vector, delta))
    }
  }

  /** Deltas cross: only what the sender's disk has, and not always all of it. */
  deliver(from: Node, to: Node, random: Prng | undefined, whole: boolean = true): void {
    if (whole || random === undefined) return this.#catchUp(to, from.durable, random)
    const part: Vector = new Map()
    const own = from.durable.get(from.origin) ?? 0
    // A prefix of one origin, with all that its deltas had seen.
    const some = this.deltas.get(from.origin)?.[random.below(own + 1) - 1]
    if (some === undefined) return
    const gather = (origin: OriginId, seq: number): void => {
      for (let at = (part.get(origin) ?? 0) + 1; at <= seq; at++) {
        part.set(origin, at)
        for (const dot of this.deltas.get(origin)?.[at - 1]?.context ?? []) gather(dot.origin, dot.seq)
      }
    }
    gather(from.origin, some.seq)
    this.#catchUp(to, part, random)
  }

  merge(from: Node, to: Node): void {
    const copy = new State()
    const sender = { ...from, state: copy }
    this.#catchUp(sender, from.durable, undefined)
    to.state.merge(copy)
  }

  heal(): void {
    for (const node of this.nodes) this.fsync(node)
    for (let round = 0; round < 2; round++) {
      for (const from of this.nodes) for (const to of this.nodes) this.deliver(from, to, undefined)
      for (const node of this.nodes) this.fsync(node)
    }
    const [first] = this.nodes as [Node]
    for (const node of this.nodes) expect(node.state.encode()).toEqual(first.state.encode())
  }

  /** What must hold on every replica at every moment. */
  check(node: Node): void {
    const value = this.read(node)
    const { granted, revoked, spent, held, available, rights, overspent } = value
    expect(spent + held).toBeLessThanOrEqual(granted - revoked)
    expect(overspent).toBe(0)
    expect(available).toBe(granted - revoked - spent - held)
    const truth = truthOf(this.effects, node.state.vector)
    expect({ granted, revoked, spent, held }).toEqual({ ...truth, rights: undefined })
    const byNode: Record<string, number> = {}
    for (const [origin, own] of Object.entries(rights)) {
      expect(own).toBeGreaterThanOrEqual(0)
      expect(rightsOf(this.cells(node), origin as OriginId)).toBe(own)
      if (own > 0) byNode[origin.slice(0, 16)] = (byNode[origin.slice(0, 16)] ?? 0) + own
    }
    expect(byNode).toEqual(Object.fromEntries(Object.entries(truth.rights).filter(([, own]) => own > 0)))
  }
}

/** A random operation, small amounts against small rights, so that refusals are common. */
function act(world: World, node: Node, random: Prng): void {
  const amount = 1 + random.below(12)
  const id = node.open.length > 0 ? random.pick(node.open) : 'none'
  const roll = random.below(20)
  if (roll < 2) world.run(node, 'grant', { amount: 3 * amount })
  else if (roll < 8) world.run(node, 'spend', { amount })
  else if (roll < 11) {
    const made = world.run(node, 'reserve', { amount })
    if (typeof made === 'object') node.open.push((made as { id: string }).id)
  } else if (roll < 15) {
    const name = roll < 13 ? 'settle' : 'refund'
    const answer = world.run(node, name, name === 'settle' ? { id, amount: random.below(16) } : { id })
    if (answer === undefined) node.open = node.open.filter((other) => other !== id)
  } else if (roll < 16) world.run(node, 'revoke', { amount })
  else {
    // To anyone who ever was: the sender may not have heard that an incarnation is gone.
    const to = random.chance(0.7) ? random.pick(world.nodes).origin : random.pick([...world.deltas.keys(), node.origin])
    if (to !== node.origin) world.run(node, 'transfer', { to, amount })
  }
}

describe('no interleaving overspends', () => {
  for (const merging of [false, true]) {
    test(`3 to 5 replicas, partitions, reordering, duplicates, crashes with lost tails${merging ? ', whole merges' : ''}`, () => {
      let restarts = 0
      let takeovers = 0
      let refusals = 0
      for (let seed = 1; seed <= 60; seed++) {
        const random = prng(seed + (merging ? 1000 : 0))
        const world = new World(3 + random.below(3))
        world.run(world.nodes[0] as Node, 'grant', { amount: 100 })
        for (let round = 0; round < 70; round++) {
          const node = random.pick(world.nodes)
          const other = random.pick(world.nodes)
          const roll = random.below(20)
          if (roll < 10) act(world, node, random)
          else if (roll < 12) world.fsync(node)
          else if (roll < 13) {
            world.crash(node)
            restarts++
          } else if (merging && roll < 15) world.merge(other, node)
          else if (other !== node) world.deliver(other, node, random, random.chance(0.5))
          world.check(node)
          if (roll === 19 && random.chance(0.3)) world.heal()
        }
        refusals += world.run(world.nodes[1] as Node, 'spend', { amount: 10_000 }) === 'budget_exceeded' ? 1 : 0
        world.heal()
        // Nothing is stranded: after one more write each, all rights are with those who live.
        for (const node of world.nodes) world.run(node, 'grant', { amount: 1 })
        world.heal()
        for (const node of world.nodes) {
          world.check(node)
          const value = world.read(node)
          const living = world.nodes.map(({ origin }) => rightsOf(world.cells(node), origin))
          expect(living.reduce((sum, own) => sum + own, 0)).toBe(value.available)
          takeovers += [...world.cells(node).all()].filter(([path]) => path.startsWith('\x92\xa1x')).length
        }
        // And can be spent, to the last one.
        for (const node of world.nodes) {
          for (const id of node.open) expect(world.run(node, 'settle', { id, amount: 0 })).toBeUndefined()
          const own = rightsOf(world.cells(node), node.origin)
          if (own > 0) expect(world.run(node, 'spend', { amount: own })).toBeUndefined()
          expect(world.run(node, 'spend', { amount: 1 })).toBe('budget_exceeded')
        }
        world.heal()
        expect(world.read(world.nodes[0] as Node)).toMatchObject({ available: 0, held: 0, overspent: 0 })
      }
      expect(restarts).toBeGreaterThan(100)
      expect(takeovers).toBeGreaterThan(100)
      expect(refusals).toBe(60)
    })
  }
})

describe('operations', () => {
  test('spend, reserve, settle, refund, revoke and transfer move what they say and no more', () => {
    const world = new World(2)
    const [a, b] = world.nodes as [Node, Node]
    const [first, second] = [a.origin, b.origin]
    expect(world.run(a, 'spend', { amount: 1 })).toBe('budget_exceeded')
    world.run(a, 'grant', { amount: 100 })
    world.run(a, 'spend', { amount: 10 })
    const { id } = world.run(a, 'reserve', { amount: 30 }) as { id: string }
    expect(id).toBe(`${first.slice(16)}-1`)
    expect(world.run(a, 'spend', { amount: 61 })).toBe('budget_exceeded')
    expect(world.run(a, 'settle', { id, amount: 91 })).toBe('budget_exceeded')
    expect(world.read(a)).toMatchObject({ granted: 100, spent: 10, held: 30, available: 60 })
    expect(world.run(a, 'settle', { id, amount: 40 })).toBeUndefined()
    expect(world.read(a)).toMatchObject({ spent: 50, held: 0, available: 50 })
    expect(world.run(a, 'settle', { id, amount: 1 })).toBe('unknown_reservation')
    expect(world.run(a, 'refund', { id })).toBe('unknown_reservation')
    const other = world.run(a, 'reserve', { amount: 20 }) as { id: string }
    expect(other.id).toBe(`${first.slice(16)}-2`)
    expect(world.run(a, 'refund', other)).toBeUndefined()
    world.run(a, 'revoke', { amount: 5 })
    world.run(a, 'transfer', { to: second, amount: 15 })
    expect(world.run(a, 'transfer', { to: first, amount: 1 })).toBeUndefined()
    expect(world.read(a)).toEqual({
      granted: 100,
      spent: 50,
      held: 0,
      revoked: 5,
      available: 45,
      overspent: 0,
      rights: { [first]: 30, [second]: 15 },
    })
    expect(world.run(a, 'spend', { amount: 31 })).toBe('budget_exceeded')
    world.heal()
    expect(world.run(b, 'spend', { amount: 15 })).toBeUndefined()
    world.heal()
    expect(world.read(a)).toEqual({
      granted: 100,
      spent: 65,
      held: 0,
      revoked: 5,
      available: 30,
      overspent: 0,
      rights: { [first]: 30, [second]: 0 },
    })
  })

  test('the error says what is available here', () => {
    const state = new State()
    const origin = originId(hex(1) + hex(2))
    state.local({ origin, time: 1 }, key, budget, 'grant', { amount: 5 })
    expect(() => state.local({ origin, time: 2 }, key, budget, 'spend', { amount: 6 })).toThrow(
      expect.objectContaining({ code: 'budget_exceeded', details: { available: 5, asked: 6 } }),
    )
  })

  test('arguments are whole numbers from 1, exact to 2^53 - 1, and a budget is not deleted', () => {
    const world = new World(2)
    const [a, b] = world.nodes as [Node, Node]
    const max = Number.MAX_SAFE_INTEGER
    for (const amount of [0, -1, 1.5, max + 1, '5', undefined]) {
      for (const name of ['grant', 'spend', 'reserve', 'revoke']) {
        expect(world.run(a, name, { amount })).toBe('invalid_argument')
      }
    }
    for (const to of ['', 'A'.repeat(32), hex(1), 7])
      expect(world.run(a, 'transfer', { to, amount: 1 })).toBe('invalid_argument')
    expect(world.run(a, 'settle', { id: '', amount: 1 })).toBe('invalid_argument')
    expect(world.run(a, 'settle', { id: 'x', amount: -1 })).toBe('invalid_argument')
    expect(world.run(a, 'grant', { amount: max })).toBeUndefined()
    expect(world.run(a, 'grant', { amount: 1 })).toBe('counter_overflow')
    world.heal()
    expect(world.run(b, 'grant', { amount: 1 })).toBe('counter_overflow')
    expect(world.run(a, 'transfer', { to: b.origin, amount: max })).toBeUndefined()
    world.heal()
    expect(world.run(b, 'transfer', { to: a.origin, amount: max })).toBeUndefined()
    world.heal()
    expect(world.run(a, 'transfer', { to: b.origin, amount: 1 })).toBe('counter_overflow')
    expect(world.run(a, 'spend', { amount: max })).toBeUndefined()
    expect(world.read(a)).toMatchObject({ spent: max, available: 0, rights: { [a.origin]: 0, [b.origin]: 0 } })
    const typeOf = (): typeof budget => budget
    expect(() => a.state.delete({ origin: a.origin, time: 99 }, key, typeOf)).toThrow(
      expect.objectContaining({ code: 'budget_not_deletable' }),
    )
  })

  test('a sum of running totals beyond 2^53 stays exact', () => {
    const world = new World(4)
    const [a, b, c, d] = world.nodes as [Node, Node, Node, Node]
    const half = 2 ** 52 + 1
    world.run(a, 'grant', { amount: half })
    for (const other of [b, c, d]) {
      world.run(a, 'transfer', { to: other.origin, amount: half })
      world.heal()
      world.run(other, 'transfer', { to: a.origin, amount: half })
      world.heal()
    }
    expect(world.run(a, 'spend', { amount: half + 1 })).toBe('budget_exceeded')
    expect(world.run(a, 'spend', { amount: half - 1 })).toBeUndefined()
    expect(world.read(a).rights[a.origin]).toBe(1)
  })
})

describe('takeover', () => {
  function restarted(): { world: World; a: Node; b: Node; dead: OriginId; id: string } {
    const world = new World(2)
    const [a, b] = world.nodes as [Node, Node]
    world.run(a, 'grant', { amount: 100 })
    world.run(a, 'spend', { amount: 20 })
    const { id } = world.run(a, 'reserve', { amount: 10 }) as { id: string }
    world.run(a, 'transfer', { to: b.origin, amount: 5 })
    world.fsync(a)
    const dead = a.origin
    world.crash(a)
    return { world, a, b, dead, id }
  }

  test('waits until the predecessor is retired, then moves rights, reservations and transfers in one delta', () => {
    const { world, a, b, dead, id } = restarted()
    expect(world.run(a, 'spend', { amount: 1 })).toBe('budget_exceeded')
    expect(world.run(a, 'settle', { id, amount: 1 })).toBe('unknown_reservation')
    world.heal()
    expect(rightsOf(world.cells(a), a.origin)).toBe(0)
    // An operation that is refused takes nothing over.
    expect(world.run(a, 'spend', { amount: 66 })).toBe('budget_exceeded')
    expect(rightsOf(world.cells(a), dead)).toBe(65)
    expect(world.run(a, 'settle', { id, amount: 12 })).toBeUndefined()
    expect(rightsOf(world.cells(a), a.origin)).toBe(63)
    expect(rightsOf(world.cells(a), dead)).toBe(0)
    world.heal()
    expect(world.read(b)).toEqual({
      granted: 100,
      spent: 32,
      held: 0,
      revoked: 0,
      available: 68,
      overspent: 0,
      rights: { [a.origin]: 63, [b.origin]: 5 },
    })
    const names = [...world.cells(b).all()].map(([path]) => path[2])
    expect(names.join('')).toBe('sxt')
    expect(world.run(a, 'reserve', { amount: 1 })).toEqual({ id: `${a.origin.slice(16)}-1` })
  })

  test('what is transferred to a predecessor later goes to the successor, and the sender learns his name', () => {
    const { world, a, b, dead } = restarted()
    world.heal()
    world.run(b, 'transfer', { to: dead, amount: 2 })
    world.run(a, 'spend', { amount: 1 })
    world.heal()
    expect(world.read(b).rights).toEqual({ [a.origin]: 66, [b.origin]: 3 })
    // Before the sender's next write his cell still names the dead, after it the living.
    const dues = (): number =>
      [...world.cells(b).all()].filter(([path]) => path === transferPath(b.origin, dead)).length
    expect(dues()).toBe(1)
    world.run(b, 'transfer', { to: dead, amount: 1 })
    expect(dues()).toBe(0)
    expect(world.read(b).rights).toEqual({ [a.origin]: 67, [b.origin]: 2 })
  })

  test('a chain of restarts takes a bounded number of cells and bytes', () => {
    const world = new World(3)
    const [a, b, c] = world.nodes as [Node, Node, Node]
    world.run(b, 'grant', { amount: 100_000 })
    world.heal()
    let most = 0
    for (let n = 0; n < 100; n++) {
      world.run(b, 'transfer', { to: a.origin, amount: 50 })
      world.heal()
      world.run(a, 'grant', { amount: 3 })
      world.run(a, 'spend', { amount: 7 })
      world.run(a, 'reserve', { amount: 2 })
      world.run(a, 'transfer', { to: b.origin, amount: 5 })
      world.run(a, 'transfer', { to: c.origin, amount: 5 })
      world.fsync(a)
      world.crash(a)
      world.heal()
      const cells = [...world.cells(a).all()]
      most = Math.max(most, cells.length)
      if (n % 10 === 0) for (const node of world.nodes) world.check(node)
    }
    world.run(a, 'revoke', { amount: 1 })
    world.heal()
    const cells = [...world.cells(c).all()]
    const bytes = cells.reduce((sum, [path, siblings]) => sum + path.length + (siblings[0]?.value.length ?? 0), 0)
    console.log(`budget: at most ${most} cells over 100 restarts; ${bytes} bytes at the end, 100 reservations open`)
    expect(most).toBeLessThan(24)
    expect(world.read(a)).toMatchObject({ granted: 100_300, spent: 700, revoked: 1, held: 200, overspent: 0 })
    world.check(a)
  })

  /** An incarnation that was fenced writes on, from the state it had. */
  function zombie(world: World, node: Node): Node {
    const copy: Node = { ...node, state: node.state.clone(), durable: new Map(node.durable) }
    world.nodes.push(copy)
    return copy
  }

  test('what a predecessor spends after its takeover is counted and stays overspent', () => {
    const { world, a, b, dead } = restarted()
    world.heal()
    const late = zombie(world, { ...b, origin: dead, name: a.name })
    late.state.merge(b.state)
    world.nodes.pop()
    world.run(a, 'spend', { amount: 1 })
    world.run(late, 'spend', { amount: 30 })
    world.run(late, 'reserve', { amount: 4 })
    world.fsync(late)
    world.heal()
    world.deliver(late, a, undefined)
    world.heal()
    const expected = {
      granted: 100,
      spent: 51,
      held: 14,
      revoked: 0,
      available: 35,
      overspent: 34,
      rights: { [a.origin]: 64, [b.origin]: 5, [dead]: -34 },
    }
    expect(world.read(a)).toEqual(expected)
    expect(world.read(b)).toEqual(expected)
    // It does not heal by itself: not by a write, not by the next restart.
    world.run(a, 'spend', { amount: 64 })
    world.heal()
    expect(world.read(b)).toMatchObject({ spent: 115, overspent: 34, available: -29 })
    world.crash(a)
    world.heal()
    world.run(a, 'grant', { amount: 1 })
    world.heal()
    expect(world.read(b)).toMatchObject({ spent: 115, overspent: 34, available: -28 })
    // And once it hears of its successor it can spend no more.
    world.deliver(a, late, undefined)
    expect(world.run(late, 'spend', { amount: 1 })).toBe('budget_exceeded')
    expect(world.run(late, 'grant', { amount: 50 })).toBeUndefined()
    expect(world.run(late, 'spend', { amount: 17 })).toBe('budget_exceeded')
    expect(world.run(late, 'spend', { amount: 16 })).toBeUndefined()
    expect(world.read(late)).toMatchObject({ granted: 151, spent: 131, overspent: 0 })
  })

  test('a fenced incarnation that hears of it goes on where it stood, and takes nobody over', () => {
    const { world, a, b, dead } = restarted()
    world.heal()
    const late = zombie(world, { ...b, origin: dead, name: a.name })
    world.nodes.pop()
    world.run(a, 'spend', { amount: 1 })
    world.fsync(a)
    world.deliver(a, late, undefined)
    world.crash(a)
    world.heal()
    expect(world.retired(late, [...world.deltas.keys()].at(-1) as OriginId)).toBe(true)
    expect(world.run(late, 'spend', { amount: 1 })).toBe('budget_exceeded')
    world.run(late, 'grant', { amount: 50 })
    expect(world.run(late, 'reserve', { amount: 1 })).toEqual({ id: `${dead.slice(16)}-2` })
    expect(world.read(late)).toMatchObject({ granted: 150, spent: 21, held: 11, available: 118, overspent: 0 })
    expect(rightsOf(world.cells(late), dead)).toBe(49)
  })

  test('late spending is kept apart over any number of restarts', () => {
    const { world, a, b, dead } = restarted()
    world.heal()
    const late = zombie(world, { ...b, origin: dead, name: a.name })
    world.nodes.pop()
    world.run(a, 'spend', { amount: 1 })
    world.run(late, 'grant', { amount: 2 })
    world.run(late, 'spend', { amount: 30 })
    world.fsync(late)
    world.deliver(late, b, undefined)
    world.heal()
    for (let n = 0; n < 12; n++) {
      world.crash(a)
      world.heal()
      world.run(a, 'grant', { amount: 1 })
      world.heal()
    }
    expect(world.read(b)).toMatchObject({ granted: 114, spent: 51, held: 10, overspent: 28 })
  })

  test('only incarnations of the same node are taken over, whatever is said to be retired', () => {
    const world = new World(2)
    const [a, b] = world.nodes as [Node, Node]
    world.run(a, 'grant', { amount: 10 })
    world.heal()
    const write = { origin: b.origin, time: 50, retired: () => true }
    expect(() => b.state.local(write, key, budget, 'spend', { amount: 1 })).toThrow(SkeinError)
    b.state.local(write, key, budget, 'grant', { amount: 1 })
    expect(world.read(b).rights).toEqual({ [a.origin]: 10, [b.origin]: 1 })
  })

  test('a predecessor to whom somebody silent once gave is never summed up', () => {
    const world = new World(2)
    const [a, b] = world.nodes as [Node, Node]
    world.run(b, 'grant', { amount: 100 })
    world.run(b, 'transfer', { to: a.origin, amount: 40 })
    world.heal()
    for (let n = 0; n < 14; n++) {
      world.run(a, 'spend', { amount: 1 })
      world.heal()
      world.crash(a)
    }
    expect(world.run(a, 'spend', { amount: 27 })).toBe('budget_exceeded')
    expect(world.run(a, 'spend', { amount: 26 })).toBeUndefined()
    world.check(a)
  })

  test('a predecessor whose running totals do not fit into ours stays apart, and we go on', () => {
    const world = new World(3)
    const [a, b, c] = world.nodes as [Node, Node, Node]
    const max = Number.MAX_SAFE_INTEGER
    world.run(a, 'grant', { amount: max })
    world.run(a, 'transfer', { to: b.origin, amount: max - 1 })
    world.heal()
    world.run(a, 'spend', { amount: 1 })
    world.fsync(a)
    const dead = a.origin
    world.crash(a)
    world.run(b, 'transfer', { to: dead, amount: 9 })
    world.run(b, 'transfer', { to: a.origin, amount: 9 })
    world.fsync(b)
    world.deliver(b, a, undefined)
    expect(world.run(a, 'transfer', { to: b.origin, amount: 5 })).toBeUndefined()
    world.heal()
    expect(world.retired(a, dead)).toBe(true)
    expect(world.run(a, 'spend', { amount: 1 })).toBeUndefined()
    expect(rightsOf(world.cells(a), dead)).toBe(9)
    world.heal()
    world.check(c)
  })

  test('a predecessor summed up long ago that writes on counts as overspent as a whole', () => {
    const world = new World(2)
    const [a, b] = world.nodes as [Node, Node]
    world.run(a, 'grant', { amount: 100 })
    world.run(a, 'spend', { amount: 10 })
    world.heal()
    const first = a.origin
    const late = zombie(world, a)
    world.nodes.pop()
    for (let n = 0; n < 12; n++) {
      world.crash(a)
      world.run(a, 'spend', { amount: 1 })
      world.heal()
    }
    const before = world.read(b)
    expect(before).toMatchObject({ granted: 100, spent: 22, available: 78, overspent: 0 })
    world.run(late, 'spend', { amount: 5 })
    world.fsync(late)
    world.deliver(late, b, undefined)
    world.heal()
    expect(world.read(a)).toMatchObject({ granted: 100, spent: 37, available: 63, overspent: 15 })
    expect(world.read(a).rights[first]).toBe(-15)
    world.crash(a)
    world.heal()
    world.run(a, 'spend', { amount: 78 })
    world.heal()
    expect(world.read(b)).toMatchObject({ spent: 115, available: -15, overspent: 15 })
  })

  test('nor does it bring its grants a second time', () => {
    const world = new World(2)
    const [a, b] = world.nodes as [Node, Node]
    world.run(a, 'grant', { amount: 100 })
    world.heal()
    const late = zombie(world, a)
    world.nodes.pop()
    for (let n = 0; n < 12; n++) {
      world.crash(a)
      world.run(a, 'spend', { amount: 1 })
      world.heal()
    }
    world.run(late, 'grant', { amount: 50 })
    world.fsync(late)
    world.deliver(late, b, undefined)
    world.heal()
    expect(world.run(a, 'spend', { amount: 89 })).toBe('budget_exceeded')
    expect(world.run(a, 'spend', { amount: 88 })).toBeUndefined()
    expect(world.read(a)).toMatchObject({ granted: 100, spent: 100, available: 0, overspent: 0 })
  })

  test('of two concurrent takeovers one counts, the same everywhere; what the other spent is overspent', () => {
    const { world, a, b, dead } = restarted()
    world.heal()
    const twin = zombie(world, a)
    twin.origin = originId(a.name + hex(0x7777))
    world.nodes.pop()
    expect(world.run(a, 'spend', { amount: 1 })).toBeUndefined()
    expect(world.run(twin, 'spend', { amount: 15 })).toBeUndefined()
    world.fsync(a)
    world.fsync(twin)
    world.deliver(twin, b, undefined)
    world.deliver(a, b, undefined)
    world.heal()
    world.deliver(a, twin, undefined)
    expect(twin.state.encode()).toEqual(b.state.encode())
    const value = world.read(b)
    // The first took it: the other has no rights, its spending and its copies of transfer and reservation show.
    expect(value.rights[a.origin]).toBe(64)
    expect(value.rights[twin.origin]).toBe(-30)
    expect(value).toMatchObject({ granted: 100, spent: 36, overspent: 30 })
    expect(world.run(twin, 'spend', { amount: 1 })).toBe('budget_exceeded')
    const write = { origin: twin.origin, time: 999 }
    expect(() => twin.state.local(write, key, budget, 'spend', { amount: 1 })).toThrow(
      expect.objectContaining({ details: { available: 0, asked: 1 } }),
    )
    expect(world.read(a)).toEqual(value)
    expect(rightsOf(world.cells(b), dead)).toBe(0)
    expect(world.run(twin, 'grant', { amount: 3 })).toBeUndefined()
    world.fsync(twin)
    world.deliver(twin, b, undefined)
    // It stays so when the one that counts is taken over in its turn.
    world.crash(a)
    world.heal()
    world.run(a, 'spend', { amount: 1 })
    world.heal()
    expect(world.read(b)).toMatchObject({ granted: 103, spent: 37, overspent: 27 })
    // And the debt is nobody's to sum up.
    for (let n = 0; n < 12; n++) {
      world.heal()
      world.crash(a)
      world.heal()
      world.run(a, 'grant', { amount: 1 })
    }
    expect(world.read(a)).toMatchObject({ granted: 115, spent: 37, overspent: 27 })
  })

  test('of two takeovers the first counts also where a successor of its writer wrote it anew', () => {
    const { world, a, b, dead } = restarted()
    world.heal()
    const twin = zombie(world, a)
    twin.origin = originId(a.name + hex(0x7777))
    world.nodes.pop()
    world.run(a, 'spend', { amount: 1 })
    world.run(twin, 'spend', { amount: 15 })
    world.heal()
    world.crash(a)
    world.heal()
    world.run(a, 'spend', { amount: 1 })
    world.fsync(twin)
    world.deliver(twin, b, undefined)
    world.heal()
    expect(world.read(b).rights[a.origin]).toBe(63)
    expect(world.read(b)).toMatchObject({ granted: 100, spent: 37, overspent: 30 })
    expect(rightsOf(world.cells(b), dead)).toBe(0)
  })
})

test('forged cells: strangers take nobody over, and a running total is its highest', () => {
  const [mine, other, stranger] = [hex(1) + hex(1), hex(1) + hex(2), hex(2) + hex(3)].map((name) => originId(name))
  const bytes = (origin: OriginId | undefined): Uint8Array => Uint8Array.from(Buffer.from(origin ?? '', 'hex'))
  const siblings = (...values: Value[]): Siblings =>
    values.map((value, at) => ({
      origin: mine as OriginId,
      seq: at + 1,
      time: at,
      agent: 'm',
      expires: 0,
      value: Uint8Array.from(pathOf(value), (unit) => unit.charCodeAt(0)),
    }))
  const read = (...rows: [Path, Siblings][]): BudgetValue =>
    budget.read({ ...forged(prng(1)), all: () => rows.sort(([a], [b]) => (a < b ? -1 : 1)) }).value
  const account: [Path, Siblings] = [pathOf(['s', bytes(mine)]), siblings([1, 1, 50, 0, 0, {}])]
  const taken = (to: OriginId | undefined): [Path, Siblings] => [
    pathOf(['x', bytes(mine)]),
    siblings([bytes(to), 1, 1, 1, 1, 50, 0, 0]),
  ]
  expect(read(account).rights).toEqual({ [mine as string]: 50 })
  expect(read(account, taken(other)).rights).toEqual({ [other as string]: 50 })
  expect(read(account, taken(stranger)).rights).toEqual({ [mine as string]: 50 })
  expect(read(account, taken(mine)).rights).toEqual({ [mine as string]: 50 })
  const given: [Path, Siblings] = [pathOf(['t', bytes(mine), bytes(stranger)]), siblings(7, 5, 'x')]
  expect(read(account, given).rights).toEqual({ [mine as string]: 43, [stranger as string]: 7 })
})

function transferPath(from: OriginId, to: OriginId): Path {
  const bytes = (origin: OriginId): Uint8Array => Uint8Array.from(Buffer.from(origin, 'hex'))
  return pathOf(['t', bytes(from), bytes(to)])
}

/** Cells that hold whatever a seed says. */
function forged(random: Prng): Cells {
  const rows = new Map<Path, Siblings>()
  const node = [hex(1), hex(2)]
  const origin = (): Uint8Array => Uint8Array.from(Buffer.from(random.pick(node) + hex(random.below(3)), 'hex'))
  const part = (): Value => {
    const roll = random.below(12)
    if (roll < 5) return random.below(50)
    if (roll < 8) return origin()
    if (roll < 9) return { a: random.below(9), b: -1, __proto: 'x' }
    return random.pick<Value>([null, -1, 1.5, 2 ** 60, 'x', [], new Uint8Array(3), Number.MAX_SAFE_INTEGER])
  }
  for (let n = random.below(12); n > 0; n--) {
    const kind = random.pick(['s', 't', 'x', 'x', 'y'])
    const head: Value[] = [kind, random.chance(0.9) ? origin() : part()]
    if (kind === 't' || random.chance(0.1)) head.push(random.chance(0.9) ? origin() : part())
    const numbers = (count: number): Value[] =>
      Array.from({ length: count }, () => (random.chance(0.95) ? random.below(40) : part()))
    const value = (): Value => {
      if (random.chance(0.1)) return part()
      if (kind === 's') return [...numbers(5), random.chance(0.8) ? { x: random.below(9) } : part()]
      if (kind === 't') return random.below(60)
      return [random.chance(0.9) ? origin() : part(), ...numbers(random.chance(0.5) ? 7 : 11)]
    }
    const siblings = Array.from({ length: 1 + random.below(2) }, (_, at) => ({
      origin: originId(hex(1) + hex(at)),
      seq: 1,
      time: at,
      agent: 'm',
      expires: 0,
      value: Uint8Array.from(pathOf(value()), (unit) => unit.charCodeAt(0)),
    }))
    rows.set(pathOf(head), siblings)
  }
  return {
    key,
    version: undefined,
    memo: { value: undefined },
    empty: rows.size === 0,
    get: (path) => rows.get(path) ?? [],
    all: () => [...rows].sort(([a], [b]) => (a < b ? -1 : 1)),
  }
}

test('reads are total on nonsense, and all rights together are always what is available', () => {
  let sane = 0
  for (let seed = 1; seed <= 3000; seed++) {
    const { value } = budget.read(forged(prng(seed)))
    const { granted, revoked, spent, held, available, rights } = value
    for (const number of [granted, revoked, spent, held, available]) expect(Number.isFinite(number)).toBe(true)
    if (granted > 1e6 || spent > 1e6 || revoked > 1e6 || held > 1e6) continue
    sane++
    expect(available).toBe(granted - revoked - spent - held)
    if (Object.values(rights).some((own) => Math.abs(own) > 1e6)) continue
    expect(Object.values(rights).reduce((total, own) => total + own, 0)).toBe(available)
  }
  expect(sane).toBeGreaterThan(1000)
})
