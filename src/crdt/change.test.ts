import { describe, expect, test } from 'vitest'
import { limits } from '../base/limits.ts'
import { ChangeSet } from './change.ts'
import type { Entry } from './change.ts'
import { originId } from './dot.ts'
import type { OriginId } from './dot.ts'
import { State } from './state.ts'
import type { CrdtType } from './type.ts'
import { counter } from './types/counter.ts'
import { list } from './types/list.ts'
import { record } from './types/record.ts'
import { register } from './types/register.ts'
import { set } from './types/set.ts'
import { typeOf } from './types/table.ts'

const [a, b] = [originId('a'.repeat(32)), originId('b'.repeat(32))]
let time = 1e12

function run(change: ChangeSet, entry: Entry, type: CrdtType, name: string, args: object, ttlMs = 0): unknown {
  return change.run(entry, type, type.operations[name]!, args as Record<string, unknown>, ttlMs)
}

function by(origin: OriginId): { origin: OriginId; time: number } {
  return { origin, time: ++time }
}

describe('a change set', () => {
  test('shows later operations what earlier ones staged, and makes one write a cell', () => {
    const state = new State()
    const delta = state.transact(by(a), (change) => {
      const entry = state.entry('k')
      run(change, entry, record, 'set', { fields: { x: 1, y: { z: 2 } } })
      run(change, entry, record, 'set', { fields: { x: 2 } })
      run(change, entry, record, 'unset', { paths: ['y'] })
      expect(record.read(change.cells(entry, record)).value).toEqual({ x: 2 })
    })
    expect(delta?.writes).toHaveLength(1)
    expect(record.read(state.entry('k').cells(record.id)).value).toEqual({ x: 2 })
  })

  test('that nets out to nothing is nothing', () => {
    const state = new State()
    const delta = state.transact(by(a), (change) => {
      run(change, state.entry('k'), set, 'add', { values: ['x'] })
      run(change, state.entry('k'), set, 'remove', { values: ['x'] })
      run(change, state.entry('l'), counter, 'incr', { by: 3 })
      change.delete(state.entry('l'), typeOf)
    })
    expect(delta).toBeUndefined()
  })

  test('deletes and writes anew in one delta', () => {
    const state = new State()
    state.transact(by(a), (change) => run(change, state.entry('k'), record, 'set', { fields: { old: 1 } }))
    const delta = state.transact(by(a), (change) => {
      change.delete(state.entry('k'), typeOf)
      run(change, state.entry('k'), counter, 'incr', { by: 5 })
    })
    expect(delta?.clears).toHaveLength(1)
    expect(state.entry('k').types()).toEqual([counter.id])
    expect(counter.read(state.entry('k').cells(counter.id)).value).toBe(5)
  })

  test('that is abandoned leaves nothing that a type remembered of it', () => {
    const state = new State()
    state.transact(by(a), (change) => run(change, state.entry('k'), list, 'insert', { at: 0, values: ['kept'] }))
    for (const key of ['k', 'new']) {
      const entry = state.entry(key)
      const change = new ChangeSet({ origin: a, seq: 9, time: ++time, nowMs: 0, agent: 'a', retired: () => false })
      run(change, entry, list, 'insert', { at: 0, values: ['dropped'] })
      run(change, entry, list, 'insert', { at: 1, values: ['dropped too'] })
      change.abandon()
      expect(entry.cells(list.id).memo.value).toBeUndefined()
    }
    expect(list.read(state.entry('k').cells(list.id)).value).toEqual(['kept'])
  })

  test('[R3] cannot be finished after an operation failed half way, even if its error was caught', () => {
    const state = new State()
    const half = (): unknown =>
      state.transact(by(a), (change) => {
        try {
          run(change, state.entry('k'), record, 'set', { fields: { a: 1, b: () => 1 } })
        } catch {
          // Whoever goes on all the same must not commit half of it.
        }
        run(change, state.entry('l'), counter, 'incr', { by: 1 })
      })
    expect(half).toThrow(expect.objectContaining({ code: 'invalid_value' }))
    expect(state.keys()).toEqual([])
    const delta = state.transact(by(a), (change) => {
      expect(() => run(change, state.entry('k'), record, 'set', { fields: 7 })).toThrow()
      run(change, state.entry('l'), counter, 'incr', { by: 1 })
    })
    expect(delta?.writes).toHaveLength(1)
  })

  test('refuses another type than the live one, too many writes, and expiry where it would take an account along', () => {
    const state = new State()
    state.transact(by(a), (change) => run(change, state.entry('k'), counter, 'incr', { by: 1 }))
    const refused = (code: string): unknown => expect.objectContaining({ code })
    expect(() => state.transact(by(a), (change) => run(change, state.entry('k'), set, 'add', { values: [1] }))).toThrow(
      refused('type_mismatch'),
    )
    const values = Array.from({ length: limits.deltaWrites + 1 }, (_, i) => i)
    expect(() => state.transact(by(a), (change) => run(change, state.entry('s'), set, 'add', { values }))).toThrow(
      refused('too_large'),
    )
    expect(() =>
      state.transact(by(a), (change) => run(change, state.entry('k'), counter, 'incr', { by: 1 }, 1000)),
    ).toThrow(refused('invalid_argument'))
    expect(counter.read(state.entry('k').cells(counter.id)).value).toBe(1)
  })

  test('a getter inside a value may write itself, and an array may grow while it is read', () => {
    const state = new State()
    const growing: unknown[] = [0]
    Object.defineProperty(growing, 0, { enumerable: true, get: () => growing.push(1) && 'x' })
    state.transact(by(a), (change) => {
      const value = {
        x: 1,
        get y() {
          run(change, state.entry('inner'), register, 'set', {
            value: 'a long text that would be written over the outer one',
          })
          return 2
        },
      }
      run(change, state.entry('outer'), register, 'set', { value })
      run(change, state.entry('grown'), register, 'set', { value: growing })
    })
    const read = (key: string): unknown => register.read(state.entry(key).cells(register.id)).value
    expect([read('outer'), read('grown')]).toEqual([{ x: 1, y: 2 }, ['x']])
    expect(State.decode(state.encode()).encode()).toEqual(state.encode())
  })

  test('writes a value again that is there already when it is to expire, and not otherwise', () => {
    const state = new State()
    const write = (ttlMs: number) =>
      state.transact(by(a), (change) => run(change, state.entry('k'), register, 'set', { value: 1 }, ttlMs))
    expect(write(0)).toBeDefined()
    expect(write(0)).toBeUndefined()
    expect(write(5000)).toBeDefined()
    expect(write(0)).toBeDefined()
    expect(write(0)).toBeUndefined()
  })
})

describe('a snapshot', () => {
  test('has one order: the same cells in another are refused', () => {
    const [one, two] = [new State(), new State()]
    const first = one.transact(by(a), (change) => run(change, one.entry('k'), register, 'set', { value: 'a' }))!
    const second = two.transact(by(b), (change) => run(change, two.entry('k'), register, 'set', { value: 'b' }))!
    one.apply(second)
    two.apply(first)
    const bytes = one.encode()
    expect(two.encode()).toEqual(bytes)
    expect(State.decode(bytes).encode()).toEqual(bytes)
    // The two siblings, swapped: each item is told as a difference to the one before.
    const swapped = new State()
    swapped.merge(one)
    const siblings = [...swapped.entry('k').cells(register.id).all()][0]![1] as unknown[]
    siblings.reverse()
    expect(() => State.decode(swapped.encode())).toThrow(expect.objectContaining({ code: 'malformed' }))
  })
})
