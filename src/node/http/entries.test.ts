/** Entries over HTTP: reading, writing, conditions, pages, history, and keys that try to be paths. */
import { expect, test } from 'vitest'
import { openNode } from '../../open.ts'
import { served } from './server.test-kit.ts'

test('a record is written, read and deleted', async () => {
  await using it = await served(await openNode({ memory: true }))
  const { ask } = it
  const wrote = await ask('POST', '/v1/spaces/tasks/entries/t-1/ops', {
    body: { type: 'record', op: 'set', fields: { status: 'todo', priority: 2 } },
    headers: { 'skein-agent': 'agent-7', 'skein-reason': 'a%20plan' },
  })
  expect(wrote).toMatchObject({ status: 200, body: { durable: true, changed: true } })
  const read = await ask('GET', '/v1/spaces/tasks/entries/t-1')
  expect(read).toMatchObject({
    status: 200,
    body: { key: 't-1', type: 'record', value: { status: 'todo', priority: 2 }, by: { agent: 'agent-7' } },
  })
  expect(read.body['version']).toBe(wrote.body['version'])
  expect(read.headers.get('etag')).toBe(`"${String(read.body['version'])}"`)
  expect(await ask('GET', '/v1/spaces/tasks/entries/t-1/history')).toMatchObject({
    status: 200,
    body: { items: [{ agent: 'agent-7', reason: 'a plan', changes: [{ path: ['status'] }, { path: ['priority'] }] }] },
  })
  expect(await ask('DELETE', '/v1/spaces/tasks/entries/t-1')).toMatchObject({ status: 200, body: { changed: true } })
  expect(await ask('GET', '/v1/spaces/tasks/entries/t-1')).toMatchObject({ status: 404, body: { code: 'not_found' } })
})

test('a transaction is one delta, and answers what its operations answer', async () => {
  await using it = await served(await openNode({ memory: true }))
  const { ask } = it
  const done = await ask('POST', '/v1/spaces/tasks/transact', {
    body: {
      operations: [
        { key: 'count', type: 'counter', op: 'incr', by: 2 },
        { key: 'lock', type: 'claim', op: 'acquire', ttlMs: 60_000 },
        { key: 'tags', type: 'set', op: 'add', values: ['a', 'b'] },
      ],
    },
  })
  expect(done).toMatchObject({ status: 200, body: { results: [null, { fence: 1 }, null] } })
  expect(done.body['entries']).toHaveLength(3)
  const list = await ask('GET', '/v1/spaces/tasks/entries')
  expect((list.body['entries'] as { key: string }[]).map(({ key }) => key)).toEqual(['count', 'lock', 'tags'])
  const refused = await ask('POST', '/v1/spaces/tasks/transact', {
    body: {
      operations: [
        { key: 'count', type: 'counter', op: 'incr', by: 1 },
        { key: 'lock', type: 'set', op: 'add', values: [1] },
      ],
    },
  })
  expect(refused).toMatchObject({ status: 409, body: { code: 'type_mismatch' } })
  expect(await ask('GET', '/v1/spaces/tasks/entries/count')).toMatchObject({ body: { value: 2 } })
})
