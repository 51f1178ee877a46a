/** The same request under the same key is done once, whatever happens in between. */
import { expect, test } from 'vitest'
import { limits } from '../../base/limits.ts'
import { prng } from '../../base/prng.ts'
import { openNode } from '../../open.ts'
import { openCrashableStore } from '../../store/faulty.ts'
import { openMemoryStore } from '../../store/memory.ts'
import type { Store } from '../../store/store.ts'
import { SkeinNode } from '../node.ts'
import { Idempotency } from './idempotency.ts'
import { served, temporary } from './server.test-kit.ts'
import type { Ask } from './server.test-kit.ts'

const incr = { type: 'counter', op: 'incr', by: 1 }
const path = '/v1/spaces/s/entries/n/ops'

test('a repeated request is answered alike and done once; another under its key is refused', async () => {
  await using it = await served(await openNode({ memory: true }))
  const headers = { 'idempotency-key': 'one' }
  const first = await it.ask('POST', path, { body: incr, headers })
  const again = await it.ask('POST', path, { body: incr, headers })
  expect(first).toMatchObject({ status: 200, body: { changed: true } })
  expect(again).toMatchObject({ status: 200, body: { ...first.body, replayed: true } })
  expect(again.headers.get('etag')).toBe(first.headers.get('etag'))
  expect(it.node.space('s').counter('n').get().value).toBe(1)
  expect(await it.ask('POST', path, { body: { ...incr, by: 2 }, headers })).toMatchObject({
    status: 422,
    body: { code: 'idempotency_conflict' },
  })
  // What was refused changed nothing, and is tried anew under its key.
  const later = { 'idempotency-key': 'two' }
  const spend = { type: 'budget', op: 'spend', amount: 5 }
  expect(await it.ask('POST', '/v1/spaces/s/entries/b/ops', { body: spend, headers: later })).toMatchObject({
    status: 409,
    body: { code: 'budget_exceeded' },
  })
  it.node.space('s').budget('b').grant(10)
  expect(await it.ask('POST', '/v1/spaces/s/entries/b/ops', { body: spend, headers: later })).toMatchObject({
    status: 200,
  })
})

test('requests at the same time are one write', async () => {
  await using it = await served(await openNode({ memory: true }))
  const headers = { 'idempotency-key': 'one' }
  const answers = await Promise.all(Array.from({ length: 20 }, () => it.ask('POST', path, { body: incr, headers })))
  expect(new Set(answers.map(({ body }) => body['version'])).size).toBe(1)
  expect(it.node.space('s').counter('n').get().value).toBe(1)
})

test('the answer survives a restart, with its write', async () => {
  await using folder = await temporary()
  const dir = folder.path('data')
  const headers = { 'idempotency-key': 'one' }
  const operations = [
    { key: 'n', ...incr },
    { key: 'lock', type: 'claim', op: 'acquire', ttlMs: 60_000 },
  ]
  const body = { operations }
  let first
  {
    await using it = await served(await openNode({ dir }))
    first = await it.ask('POST', '/v1/spaces/s/transact', { body, headers })
  }
  await using it = await served(await openNode({ dir }))
  const again = await it.ask('POST', '/v1/spaces/s/transact', { body, headers })
  expect(again).toMatchObject({ status: 200, body: { ...first.body, replayed: true } })
  expect(it.node.space('s').counter('n').get().value).toBe(1)
})

test('a write and its kept answer are in one batch: a loss of power leaves both or neither', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const store = openCrashableStore()
    const node = await nodeOn(store, '0000000000000001')
    const it = await served(node)
    const count = 20
    const asked = async (ask: Ask, i: number) =>
      ask('POST', path, { body: incr, headers: { 'idempotency-key': `k${i}` } })
    for (let i = 0; i < count; i++) expect((await asked(it.ask, i)).status).toBe(200)
    const left = store.crashPower('prefix', prng(seed))
    await it.server.close()
    await using next = await served(await nodeOn(left, '0000000000000002'))
    const survived = next.node.space('s').counter('n').get().value
    const replayed = []
    for (let i = 0; i < count; i++) replayed.push((await asked(next.ask, i)).body['replayed'] ?? false)
    expect(replayed).toEqual(Array.from({ length: count }, (_, i) => i < survived))
    expect(next.node.space('s').counter('n').get().value).toBe(count)
  }
})

function nodeOn(store: Store, incarnation: string, now: () => number = Date.now): Promise<SkeinNode> {
  return SkeinNode.open({
    store,
    agent: 'local',
    durability: store.supports.durability === 'memory' ? 'memory' : 'os',
    retention: { keepMs: Infinity, keepBytes: Infinity },
    cacheBytes: 2 ** 25,
    node: '00000000000000aa',
    fresh: () => incarnation,
    now,
  })
}

test('answers are kept for a day, and within a number', async () => {
  let nowMs = 1_800_000_000_000
  const node = await nodeOn(openMemoryStore(), '0000000000000001', () => nowMs)
  const table = await Idempotency.open(node)
  for (let i = 0; i < limits.idempotencyKeys + 10; i++) {
    table.keep('local', `k${i}`, 'f', i)
    if (i % 1000 === 0) await node.flush()
  }
  expect(table.size).toBe(limits.idempotencyKeys)
  expect(table.replay('local', 'k0', 'f')).toBeUndefined()
  expect(table.replay('local', 'k10', 'f')).toMatchObject({ answer: 10 })
  expect(table.replay('another', 'k10', 'f')).toBeUndefined()
  // What is kept anew is the youngest, and goes last; and so it goes on, however often the places are let go.
  table.keep('local', 'k10', 'f', 'anew')
  for (let i = 0; i < 3_000; i++) {
    table.keep('local', `more${i}`, 'f', i)
    if (i % 1000 === 0) await node.flush()
  }
  expect(table.size).toBe(limits.idempotencyKeys)
  expect(table.replay('local', 'k10', 'f')).toMatchObject({ answer: 'anew' })
  expect(table.replay('local', 'k11', 'f')).toBeUndefined()
  expect(table.replay('local', 'k3009', 'f')).toBeUndefined()
  expect(table.replay('local', 'k3011', 'f')).toMatchObject({ answer: 3011 })
  await node.flush()
  nowMs += limits.idempotencyMs - 1
  const again = await Idempotency.open(node)
  expect(again.size).toBe(limits.idempotencyKeys)
  nowMs += 2
  expect(again.replay('local', 'k10', 'f')).toBeUndefined()
  await node.flush()
  expect((await Idempotency.open(node)).size).toBe(0)
  await node.close()
})
