import { describe, expect, test } from 'vitest'
import { limits } from '../base/limits.ts'
import { prng } from '../base/prng.ts'
import { State } from '../crdt/state.ts'
import { decodeDelta, encodeDelta, linkOf } from '../crdt/delta.ts'
import type { CellWrite, Delta } from '../crdt/delta.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import { set } from '../crdt/types/set.ts'
import { register } from '../crdt/types/register.ts'
import { missing } from './catch-up.ts'
import type { Received, Replica } from './replica.ts'
import type { Space } from './space.ts'
import { MapRows, bodyOf, commit, faults, openReplica } from './rows.test-kit.ts'

const nowMs = 1_800_000_000_000

function put(replica: Replica, space: Space, key: string, value: unknown): Dot {
  const operation = register.operations['set']
  if (operation === undefined) throw new Error('no set')
  const { dot } = replica.transact(space, { nowMs, agent: 'a', reason: undefined }, (change) =>
    change.run(space.entry(key), register, operation, { value }),
  )
  if (dot === undefined) throw new Error('nothing was written')
  return dot
}

function give(from: Space, to: Replica, into: Space, dot: Dot): Received {
  return to.receive(into, dot, bodyOf(from, dot.origin, dot.seq), nowMs)
}

function value(space: Space, key: string): unknown {
  return register.read(space.entry(key).cells(register.id)).value
}

function pair(): [Replica, Space, Replica, Space] {
  const [one, two] = [openReplica(new MapRows(), 'aaaaaaaaaaaaaaaa'), openReplica(new MapRows(), 'bbbbbbbbbbbbbbbb')]
  return [one, one.open('s'), two, two.open('s')]
}

describe('the waiting room', () => {
  test('[R13] a delta that comes early is applied once what it follows is there', () => {
    const [one, x, two, y] = pair()
    const three = openReplica(new MapRows(), 'cccccccccccccccc')
    const z = three.open('s')
    const first = put(one, x, 'k', 1)
    const second = put(one, x, 'k', 2)
    expect([give(x, two, y, first), give(x, two, y, second)]).toEqual(['applied', 'applied'])
    const answer = put(two, y, 'k', 3)
    // In reverse: the answer follows both, of another origin.
    expect(give(y, three, z, answer)).toBe('held')
    expect(give(x, three, z, second)).toBe('held')
    expect(give(x, three, z, second)).toBe('known')
    expect(value(z, 'k')).toBeUndefined()
    expect(give(x, three, z, first)).toBe('applied')
    expect(value(z, 'k')).toBe(3)
    expect(z.waiting.size).toBe(0)
    expect(z.contextDigest()).toEqual(y.contextDigest())
  })

  test('[R13] in any order, with drops and repeats, everything is applied in the end, and nothing twice', () => {
    const random = prng(7)
    for (let round = 0; round < 20; round++) {
      const [one, x, two, y] = pair()
      const all: [Space, Dot][] = []
      for (let i = 0; i < 30; i++) {
        if (random.chance(0.5)) all.push([x, put(one, x, `k${random.below(3)}`, i)])
        else all.push([y, put(two, y, `k${random.below(3)}`, i)])
        for (const [space, dot] of all)
          if (random.chance(0.1)) give(space, space === x ? two : one, space === x ? y : x, dot)
      }
      const three = openReplica(new MapRows(), 'cccccccccccccccc')
      const z = three.open('s')
      const left = [...all]
      for (let step = 0; left.length > 0; step++) {
        const at = random.below(left.length)
        const [space, dot] = left[at] as [Space, Dot]
        if (random.chance(0.3)) continue
        if (random.chance(0.7)) left.splice(at, 1)
        give(space, three, z, dot)
        expect(step).toBeLessThan(10_000)
      }
      expect(z.waiting.size).toBe(0)
      expect([...z.vector.values()].reduce((a, b) => a + b, 0)).toBe(30)
    }
  })

  test('[R13] the room is bounded over all spaces, and what found no place can come again', () => {
    const [one, x, two, y] = pair()
    const dots = Array.from({ length: limits.waitingDeltas + 2 }, (_, i) => put(one, x, 'k', i))
    for (const dot of dots.slice(1, -1)) expect(give(x, two, y, dot)).toBe('held')
    const last = dots.at(-1) as Dot
    expect(give(x, two, y, last)).toBe('full')
    expect(give(x, two, y, dots[0] as Dot)).toBe('applied')
    expect(give(x, two, y, last)).toBe('applied')
    expect(value(y, 'k')).toBe(dots.length - 1)
  })

  test('[R13] what nobody completes is let go, and named', () => {
    const [one, x, two, y] = pair()
    put(one, x, 'k', 1)
    const second = put(one, x, 'k', 2)
    give(x, two, y, second)
    expect(y.waiting.drop(nowMs - 1)).toEqual([])
    expect(y.waiting.drop(nowMs)).toEqual([second])
    expect(y.waiting.size).toBe(0)
  })
})

describe('void deltas', () => {
  const foreign = 'f'.repeat(32) as OriginId
  const write = (more: Partial<CellWrite>): CellWrite => ({
    key: 'k',
    type: register.id,
    path: '\xc0',
    value: new Uint8Array([1]),
    expires: 0,
    supersedes: [],
    ...more,
  })
  const cases: [string, (own: OriginId) => Partial<Delta>][] = [
    [
      'supersedes a dot that its writer had not seen',
      () => ({ writes: [write({ supersedes: [{ origin: foreign, seq: 1 }] })] }),
    ],
    [
      'supersedes a later dot of its own',
      (own) => ({
        writes: [
          write({
            supersedes: [
              { origin: own, seq: 1 },
              { origin: own, seq: 9 },
            ],
          }),
        ],
      }),
    ],
    [
      'keeps what it had not seen',
      () => ({ clears: [{ key: 'k', type: 0, keep: [{ origin: foreign, seq: 1 }] }], writes: [] }),
    ],
    ['names its own origin as seen', (own) => ({ context: [{ origin: own, seq: 1 }] })],
  ]

  test.each(cases)('[R14] a delta that %s moves vector and chain and no cell', (_, make) => {
    const [one, x, two, y] = pair()
    give(x, two, y, put(one, x, 'k', 'kept'))
    const root = [...y.tree.root]
    const before = y.contextDigest()
    const events: unknown[] = []
    const rows = new MapRows()
    const three = openReplica(rows, 'cccccccccccccccc', { applied: ({ fault }) => events.push(fault) })
    const z = three.open('s')
    give(x, three, z, { origin: one.origin, seq: 1 })
    const { origin } = one
    const forged = encodeDelta({
      origin,
      seq: 2,
      time: 2 ** 40,
      link: linkOf(y.chainOf(origin)).slice(),
      context: [],
      agent: 'a',
      reason: undefined,
      clears: [],
      writes: [write({})],
      ...make(origin),
    }).slice()
    expect(two.receive(y, { origin, seq: 2 }, forged, nowMs)).toBe('applied')
    expect(three.receive(z, { origin, seq: 2 }, forged, nowMs)).toBe('applied')
    expect([...y.tree.root]).toEqual(root)
    expect(y.contextDigest()).not.toEqual(before)
    expect(y.contextDigest()).toEqual(z.contextDigest())
    expect(events).toEqual([undefined, expect.any(String)])
    commit(three, rows)
    expect(faults(rows, z)).toEqual([])
    // The plain definition says the same.
    const state = new State()
    state.apply(decodeDelta(origin, 1, bodyOf(x, origin, 1)))
    const cells = [...state.cells()]
    state.apply(decodeDelta(origin, 2, forged))
    expect([...state.cells()]).toEqual(cells)
    expect(state.vector.get(origin)).toBe(2)
  })
})

describe('what others are told', () => {
  test('[R15] durable is what the disk has', () => {
    const rows = new MapRows()
    const replica = openReplica(rows)
    const space = replica.open('s')
    const { origin } = replica
    put(replica, space, 'k', 1)
    expect(space.durableVector()).toEqual(new Map())
    const batch = replica.takeBatch(rows)
    put(replica, space, 'k', 2)
    expect(space.durableVector()).toEqual(new Map())
    // The store has it; the disk does not yet.
    replica.stored(batch, false)
    expect(space.durableVector()).toEqual(new Map())
    replica.stored(replica.takeBatch(rows), true)
    expect(space.durableVector()).toEqual(new Map([[origin, 2]]))
    put(replica, space, 'k', 3)
    // What a store shows after opening was written, and may not have been synced.
    const again = openReplica(rows)
    expect(again.open('s').durableVector()).toEqual(new Map())
    again.durable()
    expect(again.open('s').durableVector()).toEqual(new Map([[origin, 2]]))
  })

  test('[R16] what a peer lacks comes in an order in which it can be applied, wherever it is cut', () => {
    const random = prng(3)
    for (const maxBytes of [1, 100, 1000, 1e9]) {
      const rows = new MapRows()
      const [, , two, y] = pair()
      const one = openReplica(rows, 'dddddddddddddddd')
      const x = one.open('s')
      for (let i = 0; i < 40; i++) {
        const dot = random.chance(0.6) ? put(one, x, 'k', i) : put(two, y, 'k', i)
        if (random.chance(0.7)) {
          const [from, to, into] = dot.origin === one.origin ? ([x, two, y] as const) : ([y, one, x] as const)
          give(from, to, into, dot)
        }
        if (i === 20) commit(one, rows)
      }
      const three = openReplica(new MapRows(), 'cccccccccccccccc')
      const z = three.open('s')
      for (let more = true, rounds = 0; more; rounds++) {
        const part = missing(x, z.vector, maxBytes)
        expect(part.below).toBe(false)
        for (const { origin, seq, bodies } of part.runs) {
          for (const [at, body] of bodies.entries()) {
            expect(three.receive(z, { origin, seq: seq + at }, body, nowMs)).toBe('applied')
          }
        }
        more = part.more
        expect(rounds).toBeLessThan(100)
      }
      expect(z.vector).toEqual(x.vector)
      expect([...z.tree.root]).toEqual([...x.tree.root])
    }
  })

  test('[R16] what was pruned is said to be below the log', () => {
    const rows = new MapRows()
    const replica = openReplica(rows)
    const space = replica.open('s')
    for (let i = 0; i < 600; i++) put(replica, space, 'k', i)
    commit(replica, rows)
    replica.prune(nowMs, { keepMs: 0, keepBytes: 0 })
    expect(missing(space, new Map(), 1e9)).toEqual({ runs: [], sizeBytes: 0, more: false, below: true })
    expect(missing(space, space.vector, 1e9).below).toBe(false)
  })
})

test('[R14] what the types write themselves is never void', () => {
  const [one, x, two, y] = pair()
  const add = set.operations['add']
  const remove = set.operations['remove']
  if (add === undefined || remove === undefined) throw new Error('no operation')
  const random = prng(11)
  for (let i = 0; i < 200; i++) {
    const [replica, space] = random.chance(0.5) ? ([one, x] as const) : ([two, y] as const)
    replica.transact(space, { nowMs, agent: 'a', reason: undefined }, (change) =>
      change.run(space.entry('s'), set, random.chance(0.6) ? add : remove, { values: [random.below(5)] }),
    )
    const [from, to, into] = random.chance(0.5) ? ([x, two, y] as const) : ([y, one, x] as const)
    for (const { origin, seq, bodies } of missing(from, into.vector, 1e9).runs) {
      for (const [at, body] of bodies.entries()) to.receive(into, { origin, seq: seq + at }, body, nowMs)
    }
  }
  for (const log of x.logs.values()) expect(log.seq).toBeGreaterThan(0)
})
