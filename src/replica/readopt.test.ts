/** What a snapshot that takes the place of everything leaves of what was here. */
import { expect, test } from 'vitest'
import type { Dot } from '../crdt/dot.ts'
import { register } from '../crdt/types/register.ts'
import { Buckets, Staging } from './adoption.ts'
import { readopt } from './readopt.ts'
import type { Received, Replica } from './replica.ts'
import { MapRows, commit, openReplica } from './rows.test-kit.ts'

const nowMs = 1_800_000_000_000

function put(replica: Replica, value: unknown): Dot {
  const space = replica.open('s')
  const operation = register.operations['set'] as NonNullable<(typeof register.operations)['set']>
  const { dot } = replica.transact(space, { nowMs, agent: 'a', reason: undefined }, (change) =>
    change.run(space.entry('k'), register, operation, { value }),
  )
  return dot as Dot
}

function give(dot: Dot, from: Replica, ...others: readonly Replica[]): Received[] {
  const body = from.open('s').logs.get(dot.origin)?.entry(dot.seq)?.body as Uint8Array
  return others.map((replica) => replica.receive(replica.open('s'), dot, body.slice(), nowMs))
}

test('[R18] of an origin with another history that went further nothing stays: not its context, not its durability', () => {
  const incarnation = '5'.repeat(16)
  const open = (node: string, more = {}): Replica => openReplica(new MapRows(), node.repeat(16), more)
  const [other, here, there] = [open('b'), open('c'), open('d')]
  // Two of one memory. One of them has seen what the other has not.
  const [lost, stays] = [open('a', { incarnation }), open('a', { incarnation })]
  const seen = put(other, 1)
  give(seen, other, lost, here, there)
  give(put(lost, 2), lost, here)
  for (const value of [3, 4]) give(put(stays, value), stays, there)
  const { stands } = there.open('s').moment()
  const space = here.open('s')
  commit(here, new MapRows())
  expect(space.durableVector().get(stays.origin)).toBe(1)
  space.staging = new Staging(space.number)
  readopt(here, space, { stands, buckets: new Buckets(new Uint8Array(0)), lastKeys: [], keys: new Set(['k']) }, nowMs)
  expect(space.logs.get(stays.origin)?.seq).toBe(2)
  expect(space.logs.get(stays.origin)?.context.get(other.origin)).toBe(undefined)
  expect(space.durableVector().get(stays.origin)).toBe(undefined)
  // And so what it sees later is not taken for something that it speaks of twice.
  give(seen, other, stays)
  expect(give(put(stays, 5), stays, here, there)).toEqual(['applied', 'applied'])
  const inside = (replica: Replica): unknown[] =>
    replica
      .open('s')
      .entry('k')
      .siblings()
      .map(({ origin, seq }) => [origin, seq])
  expect(inside(here)).toContainEqual([stays.origin, 3])
})
