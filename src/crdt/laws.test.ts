/**
 * The laws, for every type in the table: a type that is not lawful does not enter the house. Each runs over random
 * histories; a failure names the seed and the number of steps, shrunk, which is all it takes to see it again.
 */
import fc from 'fast-check'
import { unpack } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { toHex } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { decodeValue, encodeValue } from '../base/msgpack.ts'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import type { Value } from '../base/value.ts'
import { pathOf, pathValue } from './cell.ts'
import { decodeDelta, encodeDelta } from './delta.ts'
import type { CellWrite, Delta } from './delta.ts'
import type { Dot } from './dot.ts'
import { State } from './state.ts'
import type { CrdtType } from './type.ts'
import { types, typeOf } from './types/table.ts'
import { History, entryKey, inAnyOrder, origin } from './history.test-model.ts'
import type { Plan, Replica } from './history.test-model.ts'
import { twins } from './twins.test-model.ts'
import { anyValue } from './workload.ts'

const runs = 40

function forAll(law: (plan: Plan) => void, numRuns: number = runs): void {
  const plans = fc.record({ seed: fc.integer(), steps: fc.integer({ min: 1, max: 30 }), restarts: fc.boolean() })
  const property = fc.property(plans, ({ seed, steps, restarts }) => law({ seed, steps, restarts, deletes: !restarts }))
  fc.assert(property, { numRuns })
}

/** Operations that change nothing when they are run again at once, in the same millisecond. */
const repeatable: Readonly<Record<string, readonly string[]>> = {
  register: ['set'],
  record: ['set', 'unset'],
  counter: [],
  set: ['add', 'remove'],
  flag: ['enable', 'disable'],
  log: [],
  list: [],
  claim: ['acquire', 'renew', 'release'],
  budget: [],
  text: [],
  doc: [],
}

const join = (...states: readonly State[]): State => {
  const joined = new State()
  for (const state of states) joined.merge(state)
  return joined
}

const families: readonly (readonly [name: string, types: readonly CrdtType[]])[] = [
  ...types.map((type) => [type.name, [type]] as const),
  ['types that meet under one key', types],
]

const lost = (dot: Dot, value: unknown): readonly [dot: string, value: string] => [
  `${dot.origin} ${dot.seq}`,
  toHex(encodeValue(value)),
]

/** What one delta lost in several places has no order of its own. */
function inOneOrder(found: readonly (readonly [dot: string, value: string])[]): readonly (readonly [string, string])[] {
  return found.toSorted(([dotA, a], [dotB, b]) => (dotA === dotB ? (a < b ? -1 : 1) : 0))
}

describe.each(families)('%s', (_name, members) => {
  test('merge commutes, associates and is idempotent', () => {
    forAll((plan) => {
      const [a, b, c] = new History(plan, members).replicas.map(({ state }) => state) as [State, State, State]
      const whole = join(a, b, c).encode()
      expect(join(b, a).encode()).toEqual(join(a, b).encode())
      expect(join(join(a, b), c).encode()).toEqual(whole)
      expect(join(a, join(b, c)).encode()).toEqual(whole)
      expect(join(c, b, a).encode()).toEqual(whole)
      expect(join(a, a).encode()).toEqual(a.encode())
      expect(join(a, b, a, b).encode()).toEqual(join(a, b).encode())
    })
  })

  test('deltas in any causal order, some twice, come to what merging the replicas comes to', () => {
    forAll((plan) => {
      const history = new History(plan, members)
      const merged = join(...history.replicas.map(({ state }) => state)).encode()
      const chance = prng(plan.seed ^ 1)
      expect(inAnyOrder(history.deltas, chance).encode()).toEqual(merged)
      const [first] = history.replicas
      expect(inAnyOrder(first?.deltas ?? [], chance).encode()).toEqual(first?.state.encode())
      history.settle()
      for (const { state } of history.replicas) expect(state.encode()).toEqual(merged)
    })
  })

  test('a state is its bytes: canonical, inverse, and plain MessagePack', () => {
    forAll((plan) => {
      for (const { state } of new History(plan, members).replicas) {
        const bytes = state.encode()
        const decoded = State.decode(bytes)
        expect(decoded.encode()).toEqual(bytes)
        expect(decoded.vector).toEqual(state.vector)
        for (const type of members) {
          const read = type.read(decoded.entry(entryKey).cells(type.id))
          expect(read).toEqual(type.read(state.entry(entryKey).cells(type.id)))
        }
        // A copy, because msgpackr hangs a view of its own on what it reads.
        expect(encodeValue(unpack(bytes.slice()))).toEqual(bytes)
        expect(encodeValue(decodeValue(bytes))).toEqual(bytes)
      }
    })
  })

  test('what stands alone in an entry was concurrent with nothing, unless its type merges within', () => {
    forAll((plan) => {
      for (const { state } of new History(plan, members).replicas) {
        for (const type of members) {
          const cells = state.entry(entryKey).cells(type.id)
          const count = [...cells.all()].reduce((sum, [, siblings]) => sum + siblings.length, 0)
          if (count === 1 && type.mergesWithin !== true) expect(type.read(cells).concurrent).toEqual([])
        }
      }
    })
  })

  test('what was removed stays removed: nothing that the remover had seen brings it back', () => {
    forAll((plan) => {
      const history = new History(plan, members)
      const past = history.replicas.map(({ state }) => state.clone())
      history.settle()
      const before = history.replicas[0]?.state as State
      const after = before.clone()
      const write = { origin: origin(9, 9), time: 2 ** 40 }
      try {
        after.delete(write, entryKey, typeOf)
      } catch {
        // A type that refuses to be deleted keeps its promise by changing nothing.
        expect(after.encode()).toEqual(before.encode())
      }
      for (const type of members) {
        if (type.delete === undefined && !members.some((member) => member.delete !== undefined)) {
          expect(after.entry(entryKey).cells(type.id).empty).toBe(true)
        }
      }
      for (const earlier of [...past, before]) {
        expect(join(after, earlier).encode()).toEqual(after.encode())
        expect(join(earlier, after).encode()).toEqual(after.encode())
      }
      expect(after.clone().delete({ ...write, time: write.time + 1 }, 'another key', typeOf)).toBeUndefined()
    })
  })

  test('what changes nothing leaves no delta, and what leaves no delta changes nothing', () => {
    forAll((plan) => {
      new History(
        {
          ...plan,
          each: ({ replica, event, delta, refused, before }) => {
            const { state } = replica
            if (delta === undefined) {
              expect(state.encode()).toEqual(before)
              return
            }
            expect(state.encode()).not.toEqual(before)
            expect(refused).toBeUndefined()
            const again = { origin: event.origin, time: replica.clock.last + 1, nowMs: event.nowMs, agent: event.agent }
            const name = event.operation
            const [type] = members
            if (name === 'delete entry') expect(state.clone().delete(again, entryKey, typeOf)).toBeUndefined()
            else if (members.length === 1 && type && repeatable[type.name]?.includes(name)) {
              expect(state.clone().local(again, entryKey, type, name, event.args).delta).toBeUndefined()
            }
          },
        },
        members,
      )
    })
  })
})

/** A value with some part of it replaced by something else, in canonical form: what a faulty peer might send. */
function spoiled(value: Value, chance: Prng): unknown {
  if (chance.chance(0.3)) return anyValue(chance)
  if (value instanceof Uint8Array)
    return chance.chance(0.5) ? value.slice(1) : value.map((byte) => byte ^ chance.below(256))
  if (Array.isArray(value)) {
    const items = value.map((item: Value) => (chance.chance(0.4) ? spoiled(item, chance) : item))
    return chance.chance(0.3) ? items.slice(1) : items
  }
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, chance.chance(0.4) ? spoiled(item, chance) : item]),
    )
  }
  return typeof value === 'number' ? chance.pick([-value, value + 0.5, 2 ** 53, value - 1]) : anyValue(chance)
}

/** A delta that a faulty peer made by hand, on top of what a state holds. */
function nonsense(state: State, type: CrdtType, chance: Prng): Delta {
  const writes: CellWrite[] = []
  const paths = new Set<string>()
  const live = [...state.entry(entryKey).cells(type.id).all()]
  for (let left = 1 + chance.below(4); left > 0; left--) {
    const cell = live.length > 0 ? chance.pick(live) : undefined
    const sibling = cell?.[1][0]
    const path =
      chance.chance(0.5) && cell ? cell[0] : pathOf(cell ? spoiled(pathValue(cell[0]), chance) : anyValue(chance))
    if (paths.has(path) || path.length > limits.pathBytes) continue
    paths.add(path)
    const value = encodeValue(sibling ? spoiled(decodeValue(sibling.value), chance) : anyValue(chance)).slice()
    writes.push({ key: entryKey, type: type.id, path, value, expires: 0, supersedes: [] })
  }
  const faulty = origin(0xbad, 1)
  const seq = (state.vector.get(faulty) ?? 0) + 1
  const time = 5_000 * 2048 + chance.below(100_000)
  const context = state.contextOf(faulty)
  const made = { time, link: new Uint8Array(8), context, agent: 'x', reason: undefined, clears: [], writes }
  return decodeDelta(faulty, seq, encodeDelta({ origin: faulty, seq, ...made }))
}

describe.each(types.map((type) => [type.name, type] as const))('%s', (name, type) => {
  test('skips the nonsense of a faulty peer, alike everywhere, and can still be written', () => {
    forAll((plan) => {
      const history = new History({ ...plan, steps: Math.min(plan.steps, 12) }, [type])
      const [replica, other] = history.replicas as [Replica, Replica]
      for (let round = 0; round < 4; round++) {
        const delta = nonsense(replica.state, type, history.chance)
        replica.state.apply(delta)
        replica.deltas.push(delta)
        replica.read(type)
        for (let writes = 0; writes < 3; writes++) history.write(replica, type)
      }
      other.merge(replica, history.events, history.worldMs)
      replica.merge(other, history.events, history.worldMs)
      expect(other.read(type)).toEqual(replica.read(type))
      expect(other.state.encode()).toEqual(replica.state.encode())
    })
  })

  test('agrees with its slow twin at every replica after every step', () => {
    const twin = twins[name]
    if (twin === undefined) {
      // Documents have slow twins of their own, beside their types: they are made anew from all that was written.
      expect(['text', 'doc']).toContain(name)
      return
    }
    const view = (value: unknown): unknown => (twin.view === undefined ? value : twin.view(value))
    forAll((plan) => {
      const history = new History(
        {
          ...plan,
          each: ({ replica, event, delta, answer, refused }) => {
            if (twin.answer) expect(refused === undefined ? answer : { refused }).toEqual(twin.answer(event))
            const reading = replica.read(type)
            const expected = twin.read(replica.known)
            expect(view(reading.value)).toEqual(expected.value)
            const found = reading.concurrent.map(({ dot, value }) => lost(dot, value))
            expect(inOneOrder(found)).toEqual(
              inOneOrder(expected.concurrent.map((other) => lost(other.event, other.shown))),
            )
            // What was suppressed would have been invisible here.
            if (delta !== undefined || refused !== undefined) return
            expect(twin.read(new Set([...replica.known, event])).value).toEqual(expected.value)
          },
        },
        [type],
      )
      for (const replica of history.replicas)
        expect(view(replica.read(type).value)).toEqual(twin.read(replica.known).value)
      history.settle()
      const [first] = history.replicas
      expect(view(first?.read(type).value)).toEqual(twin.read(new Set(history.events.values())).value)
    })
  })
})
