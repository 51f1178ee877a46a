/** The same request under the same key is done once, whatever happens in between. */
import { expect, test } from 'vitest'
import { openNode } from '../../open.ts'
import { served, temporary } from './server.test-kit.ts'

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
