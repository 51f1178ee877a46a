/**
 * Bugs that other replicated stores had and wrote up, each as a test that would have caught it. The numbers are those
 * of our collection; those that need a log, a tree or a network are tested where these live.
 */
import { describe, expect, test } from 'vitest'
import { encodeValue } from '../base/msgpack.ts'
import { prng } from '../base/prng.ts'
import { origin } from './history.test-model.ts'
import { advanceChain, encodeDelta, startChain } from './delta.ts'
import type { Delta } from './delta.ts'
import type { OriginId } from './dot.ts'
import { State } from './state.ts'
import type { CrdtType } from './type.ts'
import { counter } from './types/counter.ts'
import { log } from './types/log.ts'
import { record } from './types/record.ts'
import { register } from './types/register.ts'
import { set } from './types/set.ts'
import { typeOf } from './types/table.ts'

const [a, b, c] = [origin(1, 1), origin(2, 1), origin(3, 1)] as [OriginId, OriginId, OriginId]
let now = 1_000_000

function run(state: State, by: OriginId, type: CrdtType, op: string, args: object, key = 'it'): Delta | undefined {
  return state.local({ origin: by, time: (now += 2048) }, key, type, op, args as Record<string, unknown>).delta
}

function remove(state: State, by: OriginId, key = 'it'): Delta | undefined {
  return state.delete({ origin: by, time: (now += 2048) }, key, typeOf)
}

function read(state: State, type: CrdtType, key = 'it'): unknown {
  return type.read(state.entry(key).cells(type.id)).value
}

describe('[C4.1] a context wider than what came with it deleted live keys', () => {
  const keys = 2000

  test('100,000 adds sent in parts left 18,429: parts merge to the whole, and stay it', () => {
    const source = new State()
    const target = new State()
    const parts: State[] = []
    for (let at = 0; at < keys; at++) {
      run(source, a, set, 'add', { values: [at] }, `key ${at % 50}`)
      if (at % 100 === 0) parts.push(source.clone())
    }
    parts.push(source.clone())
    const chance = prng(1)
    for (let round = 0; round < 60; round++) {
      const before = new Set([...target.cells()].map(([key, , path]) => key + path))
      target.merge(chance.pick(parts))
      const after = new Set([...target.cells()].map(([key, , path]) => key + path))
      expect([...before].filter((name) => !after.has(name))).toEqual([])
    }
    target.merge(source)
    expect([...target.cells()]).toHaveLength(keys)
    expect(target.encode()).toEqual(source.encode())
  })

  test('a clear covers what its writer had seen and nothing that was written beside it', () => {
    const [x, y] = [new State(), new State()]
    run(x, a, set, 'add', { values: ['seen'] })
    y.merge(x)
    const unseen = run(x, a, set, 'add', { values: ['unseen'] }) as Delta
    const cleared = remove(y, b) as Delta
    y.apply(unseen)
    x.apply(cleared)
    for (const state of [x, y]) expect(read(state, set)).toEqual(['unseen'])
  })

  test('a snapshot whose vector claims more than its cells hold is refused where it is made', () => {
    const state = new State()
    run(state, a, register, 'set', { value: 1 })
    state.vector.set(a, 0)
    expect(() => state.encode()).toThrow('beyond its vector')
  })
})

test('[C4.3] an empty store on the same address had its first increments swallowed by the old ones', () => {
  const before = new State()
  run(before, origin(1, 1), counter, 'incr', { by: 40 })
  const peer = before.clone()
  // The disk is gone, so is the incarnation; the peer has not been heard yet.
  const after = new State()
  run(after, origin(1, 2), counter, 'incr', { by: 1 })
  run(after, origin(1, 2), counter, 'incr', { by: 1 })
  peer.merge(after)
  after.merge(peer)
  for (const state of [peer, after]) expect(read(state, counter)).toBe(42)
})

test('[C4.4] "present on both sides is kept" brought removed elements back', () => {
  const [x, y, stale] = [new State(), new State(), new State()]
  run(x, a, set, 'add', { values: ['gone', 'kept'] })
  for (const state of [y, stale]) state.merge(x)
  run(y, b, set, 'remove', { values: ['gone'] })
  // Both x and stale hold it, and merge with one another before and after they hear of the removal.
  x.merge(stale)
  x.merge(y)
  x.merge(stale)
  stale.merge(x)
  stale.merge(y)
  for (const state of [x, y, stale]) expect(read(state, set)).toEqual(['kept'])
})

describe('[C4.5] removals that came before what they remove were lost', () => {
  const [x, y] = [new State(), new State()]
  const added = run(x, a, set, 'add', { values: ['it'] }) as Delta
  y.apply(added)
  const removed = run(y, b, set, 'remove', { values: ['it'] }) as Delta

  test('a removal waits until what it saw is there', () => {
    const late = new State()
    expect(late.ready(removed)).toBe(false)
    late.apply(added)
    expect(late.ready(removed)).toBe(true)
    late.apply(removed)
    expect(read(late, set)).toEqual([])
  })

  test('who got the removal as a state does not take the add for news', () => {
    const late = new State()
    late.merge(y)
    expect(late.apply(added)).toBe(false)
    expect(read(late, set)).toEqual([])
  })
})

describe('[C4.6] a key that was removed and added again met its stale self', () => {
  test('counters in an entry that was deleted start anew, and a stale copy changes nothing', () => {
    const [x, y] = [new State(), new State()]
    run(x, a, counter, 'incr', { by: 100 })
    run(x, a, counter, 'incr', { by: 100 })
    y.merge(x)
    const stale = x.clone()
    remove(y, b)
    run(y, b, counter, 'incr', { by: 3 })
    x.merge(y)
    run(x, a, counter, 'incr', { by: 1 })
    for (const other of [stale, y, x]) x.merge(other)
    stale.merge(x)
    y.merge(stale)
    for (const state of [x, y, stale]) expect(read(state, counter)).toBe(4)
  })

  test('an increment that crossed the deletion brings back what its writer had added, alike everywhere', () => {
    const [x, y] = [new State(), new State()]
    run(x, a, counter, 'incr', { by: 100 })
    run(x, b, counter, 'incr', { by: 7 })
    y.merge(x)
    remove(y, c)
    run(x, a, counter, 'incr', { by: 1 })
    x.merge(y)
    y.merge(x)
    for (const state of [x, y]) expect(read(state, counter)).toBe(101)
  })

  test('an element added again under a new dot survives the removal of the old one', () => {
    const [x, y] = [new State(), new State()]
    const first = run(x, a, set, 'add', { values: ['it'] }) as Delta
    y.apply(first)
    const removed = run(y, b, set, 'remove', { values: ['it'] }) as Delta
    x.merge(y)
    run(x, a, set, 'add', { values: ['it'] })
    expect(x.apply(removed)).toBe(false)
    y.merge(x)
    for (const state of [x, y]) expect(read(state, set)).toEqual(['it'])
  })
})

describe('[C4.14] what JavaScript leaves open made equal states hash apart', () => {
  const one = (type: CrdtType, op: string, args: object): Uint8Array => {
    const state = new State()
    state.local({ origin: a, time: 1 }, 'it', type, op, args as Record<string, unknown>)
    return state.encode()
  }

  test('-0 is 0, as a value and as an element', () => {
    expect(one(register, 'set', { value: -0 })).toEqual(one(register, 'set', { value: 0 }))
    expect(one(set, 'add', { values: [-0] })).toEqual(one(set, 'add', { values: [0] }))
  })

  test('the order of keys makes no difference, integers and what is beyond the BMP included', () => {
    const [there, back] = [
      { '10': 1, '9': 2, '\uffff': 3, '😀': 4 },
      { '😀': 4, '\uffff': 3, '9': 2, '10': 1 },
    ]
    for (const [type, op, args] of [
      [register, 'set', (value: object) => ({ value })],
      [record, 'set', (fields: object) => ({ fields })],
      [set, 'add', (value: object) => ({ values: [value] })],
    ] as const) {
      const [x, y] = [one(type, op, args(there)), one(type, op, args(back))]
      // The order in which a delta writes its cells is not that of the state.
      expect(x).toEqual(y)
    }
  })

  test('NaN and lone surrogates are refused, not turned into something else', () => {
    const refused: unknown = expect.objectContaining({ code: 'invalid_value' })
    for (const value of [Number.NaN, '\ud800', { '\ud800': 1 }]) {
      expect(() => one(register, 'set', { value })).toThrow(refused)
      expect(() => one(record, 'set', { fields: { value } })).toThrow(refused)
      expect(() => one(set, 'add', { values: [value] })).toThrow(refused)
    }
    expect(() => one(record, 'set', { fields: { '\ud800': 1 } })).toThrow(refused)
  })

  test('an undefined field is one that was not named', () => {
    expect(one(record, 'set', { fields: { a: 1, b: undefined } })).toEqual(one(record, 'set', { fields: { a: 1 } }))
    expect(one(register, 'set', { value: { a: 1, b: undefined } })).toEqual(one(register, 'set', { value: { a: 1 } }))
  })

  test('entries come in the order of their UTF-8 bytes, not in the order of arrival or of UTF-16', () => {
    const keys = ['😀', '\uffff', 'b', 'a', '10', '9']
    const forth = new State()
    const back = new State()
    const deltas = keys.map((key) => run(forth, a, register, 'set', { value: key }, key) as Delta)
    for (const delta of deltas) back.apply(delta)
    expect(forth.keys()).toEqual(['10', '9', 'a', 'b', '\uffff', '😀'])
    expect(back.encode()).toEqual(forth.encode())
  })
})

describe('[C4.16] two writers shared an actor, or a duplicate set its sequence back', () => {
  test('a delta that is not the next of its origin waits', () => {
    const source = new State()
    const first = run(source, a, counter, 'incr', { by: 1 }) as Delta
    const second = run(source, a, counter, 'incr', { by: 1 }) as Delta
    const target = new State()
    expect(target.ready(second)).toBe(false)
    expect(() => target.apply(second)).toThrow('causal order')
    target.apply(first)
    target.apply(second)
    expect(read(target, counter)).toBe(2)
  })

  test('a duplicate is no news and moves nothing', () => {
    const source = new State()
    const deltas = [1, 2, 3].map((by) => run(source, a, counter, 'incr', { by }) as Delta)
    const bytes = source.encode()
    for (const delta of deltas) expect(source.apply(delta)).toBe(false)
    expect(source.vector.get(a)).toBe(3)
    expect(source.encode()).toEqual(bytes)
  })

  test('two incarnations of one node that write at once are both counted', () => {
    const [x, y] = [new State(), new State()]
    for (let round = 0; round < 5; round++) {
      run(x, origin(1, 1), counter, 'incr', { by: 1 })
      run(y, origin(1, 2), counter, 'incr', { by: 10 })
      if (round % 2 === 0) {
        x.merge(y)
        y.merge(x)
      }
    }
    x.merge(y)
    y.merge(x)
    for (const state of [x, y]) expect(read(state, counter)).toBe(55)
  })
})

describe('[C4.17] state rebuilt from plain values doubled on reconnect', () => {
  test('what comes back as bytes has its old dots: merged with its source it is its source', () => {
    const source = new State()
    run(source, a, log, 'append', { values: ['x', 'y'] })
    run(source, b, counter, 'incr', { by: 5 }, 'n')
    const bytes = source.encode()
    const restored = State.decode(bytes)
    restored.merge(source)
    source.merge(restored)
    expect(restored.encode()).toEqual(bytes)
    expect(source.encode()).toEqual(bytes)
    expect(read(source, log)).toEqual(['x', 'y'])
  })

  test('plain values imported a second time change nothing where they name what they set', () => {
    const state = new State()
    for (const expected of [true, false]) {
      const deltas = [
        run(state, a, register, 'set', { value: { deep: [1] } }, 'register'),
        run(state, a, record, 'set', { fields: { a: { b: 1, c: {} }, d: [1] } }, 'record'),
        run(state, a, set, 'add', { values: ['x', 1, null] }, 'set'),
      ]
      for (const delta of deltas) expect(delta !== undefined).toBe(expected)
    }
  })
})

describe('[C4.20] deltas grew or went round in circles', () => {
  test('what was known already is told apart from news, so that nobody forwards it', () => {
    const [x, y] = [new State(), new State()]
    const delta = run(x, a, register, 'set', { value: 1 }) as Delta
    expect(y.apply(delta)).toBe(true)
    expect(y.apply(delta)).toBe(false)
    expect(x.apply(delta)).toBe(false)
  })

  test('unchanged fields are not given new dots: a migration that rewrites all writes nothing', () => {
    const state = new State()
    const fields = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`field ${at}`, { value: at }]))
    run(state, a, record, 'set', { fields })
    const bytes = state.encode()
    expect(run(state, b, record, 'set', { fields })).toBeUndefined()
    expect(state.encode()).toEqual(bytes)
    const one = run(state, b, record, 'set', { fields: { ...fields, 'field 7': { value: 'new' } } }) as Delta
    expect(one.writes).toHaveLength(1)
  })

  test('a delta says what its writer newly saw, not all that it ever saw', () => {
    const state = new State()
    for (let node = 10; node < 60; node++) run(state, origin(node, 1), counter, 'incr', { by: 1 })
    const [first, second] = [1, 2].map((by) => run(state, a, counter, 'incr', { by }) as Delta) as [Delta, Delta]
    expect(first.context).toHaveLength(50)
    expect(second.context).toEqual([])
    expect(encodeDelta(second).length).toBeLessThan(80)
  })
})

test('[C4.21] fingerprints of equal pieces cancelled: a chain over them neither cancels nor repeats', () => {
  const piece = encodeValue('the same bytes')
  const chain = startChain('space', 1, a)
  const seen = new Set([chain.join()])
  for (let round = 0; round < 1000; round++) {
    advanceChain(chain, piece)
    seen.add(chain.join())
  }
  expect(seen.size).toBe(1001)
  const starts = [
    startChain('space', 1, a),
    startChain('space', 2, a),
    startChain('spacf', 1, a),
    startChain('space', 1, b),
  ]
  expect(new Set(starts.map((start) => start.join())).size).toBe(4)
})

describe('[C4.22] counters lost precision', () => {
  const max = Number.MAX_SAFE_INTEGER

  test.each([0.5, Number.NaN, Infinity, -Infinity, 2 ** 53, '1', null, undefined, 1n, true])(
    'by %s is refused',
    (by) => {
      expect(() => run(new State(), a, counter, 'incr', { by })).toThrow(
        expect.objectContaining({ code: 'invalid_argument' }),
      )
    },
  )

  test('every whole number up to 2^53 - 1 is exact, and the next is refused', () => {
    const state = new State()
    run(state, a, counter, 'incr', { by: max })
    expect(read(state, counter)).toBe(max)
    const before = state.encode()
    for (const by of [1, max]) {
      for (const writer of [a, b]) {
        expect(() => run(state, writer, counter, 'incr', { by })).toThrow(
          expect.objectContaining({ code: 'counter_overflow' }),
        )
      }
    }
    expect(state.encode()).toEqual(before)
    run(state, b, counter, 'incr', { by: -max })
    expect(read(state, counter)).toBe(0)
    run(state, c, counter, 'incr', { by: -max })
    expect(read(state, counter)).toBe(-max)
  })

  test('large parts of opposite sign add up exactly in any order', () => {
    const states = [max, -max, max - 1, 1, -7, max, -max, -max].map((by, at) => {
      const state = new State()
      run(state, origin(at + 1, 1), counter, 'incr', { by })
      return state
    })
    const sum = Number([max, -max, max - 1, 1, -7, max, -max, -max].reduce((total, by) => total + BigInt(by), 0n))
    for (const order of [states, states.toReversed()]) {
      const all = new State()
      for (const state of order) all.merge(state)
      expect(read(all, counter)).toBe(sum)
    }
  })

  test('what two sides of a partition added beyond the exact integers reads as the largest one', () => {
    const [x, y] = [new State(), new State()]
    run(x, a, counter, 'incr', { by: max })
    run(y, b, counter, 'incr', { by: 1 })
    x.merge(y)
    expect(read(x, counter)).toBe(max)
    expect(() => run(x, a, counter, 'incr', { by: -1 })).not.toThrow()
    expect(read(x, counter)).toBe(max)
  })
})
