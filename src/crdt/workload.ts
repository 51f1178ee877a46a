/**
 * Random operations for every type: what the laws and the simulator feed their replicas. One line a type in `workload`.
 * Values and names come from small pools, so that writers meet, and the pools hold what JavaScript gets wrong: -0,
 * numbers that look like integers, keys in integer form, text beyond the BMP, names that objects inherit.
 *
 * An operation may be refused (a stale fence, a position that another writer took away): the caller counts that as
 * part of life.
 */
import type { Prng } from '../base/prng.ts'
import type { Value } from '../base/value.ts'

export type Step = readonly [operation: string, args: Readonly<Record<string, unknown>>]

/** Chooses an operation; `value` is what the entry reads as where it is about to run. */
export type Generator = (chance: Prng, value: unknown) => Step

const scalars: readonly unknown[] = [null, true, false, 0, -0, 1, -1, 255, 4294967295, 4294967296, 0.5, -1e300, 2 ** 53]
const texts: readonly string[] = ['', 'a', 'b', 'é', '\uffff', '😀', 'longer than thirty-one bytes of text']
const names: readonly string[] = ['a', 'b', 'ab', '1', '10', '2', '', 'constructor', 'é', '\uffff', '😀']

function leaf(chance: Prng): unknown {
  return chance.chance(0.5) ? chance.pick(texts) : chance.pick(scalars)
}

export function anyValue(chance: Prng, depth: number = 2): unknown {
  if (depth === 0 || chance.chance(0.6)) return leaf(chance)
  if (chance.chance(0.5)) return repeat(chance, 3, () => anyValue(chance, depth - 1))
  return Object.fromEntries(repeat(chance, 3, () => [chance.pick(names), anyValue(chance, depth - 1)]))
}

function repeat<T>(chance: Prng, most: number, make: () => T): T[] {
  return Array.from({ length: chance.below(most + 1) }, make)
}

function some<T>(chance: Prng, most: number, make: () => T): T[] {
  return [make(), ...repeat(chance, most - 1, make)]
}

/** Fields of few names, nested, so that scalars and objects meet at one path. */
function someFields(chance: Prng, depth: number): Record<string, unknown> {
  return Object.fromEntries(
    some(chance, 2, () => {
      const value =
        depth > 0 && chance.chance(0.4) ? someFields(chance, depth - 1) : chance.pick([1, 2, 'x', {}, [1], null])
      return [chance.pick(['a', 'b', 'c', '1']), chance.chance(0.05) ? undefined : value]
    }),
  )
}

const elements: readonly unknown[] = ['a', 'b', 'c', 0, -0, 1, null, [1], { a: 1, b: 2 }, { b: 2, a: 1 }]

export const workload: Readonly<Record<string, Generator>> = {
  register: (chance) => ['set', { value: chance.chance(0.5) ? chance.pick(['a', 'b']) : anyValue(chance) }],
  record: (chance) =>
    chance.chance(0.75)
      ? ['set', { fields: someFields(chance, 2) }]
      : [
          'unset',
          { paths: some(chance, 2, () => chance.pick(['a', 'b', ['a', 'b'], ['a', 'b', 'c'], ['b', 'c'], '1'])) },
        ],
  counter: (chance) => ['incr', { by: chance.pick([0, 1, 1, 2, -1, -3, 1000, -70_000]) }],
  set: (chance) => {
    const values = some(chance, 3, () => chance.pick(elements))
    if (chance.chance(0.55)) return ['add', { values }]
    return ['remove', chance.chance(0.3) ? { values, wins: 'remove' } : { values }]
  },
  flag: (chance) => {
    if (chance.chance(0.5)) return ['enable', {}]
    return ['disable', chance.chance(0.4) ? { wins: 'disable' } : {}]
  },
  log: (chance) => {
    const values = repeat(chance, 3, () => anyValue(chance))
    return ['append', chance.chance(0.2) ? { values, keep: 1 + chance.below(6) } : { values }]
  },
  list: (chance, value) => {
    const { length } = value as readonly unknown[]
    const at = chance.below(length + 1)
    // Values of their own, so that whoever looks on can tell the items apart.
    if (at === length || chance.chance(0.5)) return ['insert', { at, values: some(chance, 3, () => chance.uint32()) }]
    if (chance.chance(0.5)) return ['remove', { at, count: chance.below(Math.min(3, length - at) + 1) }]
    return ['move', { from: at, to: chance.below(length) }]
  },
  budget: (chance, value) => {
    const { rights } = value as { readonly rights: Readonly<Record<string, number>> }
    const origins = Object.keys(rights)
    const amount = chance.pick([1, 2, 5, 30])
    if (origins.length === 0 || chance.chance(0.2)) return ['grant', { amount: 10 * amount }]
    // Ids are given out in this form; most of these guesses are somebody else's, or settled already.
    const id = `${chance.pick(origins).slice(16)}-${1 + chance.below(3)}`
    return chance.pick<Step>([
      ['spend', { amount }],
      ['spend', { amount: 1 }],
      ['reserve', { amount }],
      ['settle', { id, amount }],
      ['refund', { id }],
      ['revoke', { amount }],
      ['transfer', { to: chance.pick(origins), amount }],
    ])
  },
  text: (chance, value) => {
    const { length } = value as string
    const at = chance.below(length + 1)
    if (length === at || chance.chance(0.6)) return ['insert', { at, text: chance.pick(['a', 'bc', '😀', 'line\n']) }]
    return ['delete', { at, count: chance.below(Math.min(3, length - at) + 1) }]
  },
  doc: (chance) => {
    const path = chance.pick([['a'], ['b'], ['b', 'c'], ['d', 'e']])
    return chance.chance(0.75)
      ? ['set', { path, value: chance.pick<Value>([1, 2, 'x', null, true]) }]
      : ['unset', { path }]
  },
  claim: (chance, value) => {
    const { fence = 0 } = (value ?? {}) as { readonly fence?: number }
    const named = chance.chance(0.8) ? fence : 1 + chance.below(fence + 2)
    const owner = chance.chance(0.3) ? { owner: chance.pick(['agent-a', 'agent-b']) } : {}
    const ttlMs = chance.pick([1, 3, 1000])
    if (chance.chance(0.5) || named < 1) return ['acquire', { ttlMs, ...owner }]
    return chance.chance(0.5) ? ['renew', { fence: named, ttlMs, ...owner }] : ['release', { fence: named, ...owner }]
  },
}
