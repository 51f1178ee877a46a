/** Entries over HTTP: reading, writing, conditions, pages, history, and keys that try to be paths. */
import { expect, test } from 'vitest'
import { openNode } from '../../open.ts'
import type { SpaceHandle } from '../space-handle.ts'
import { served, temporary } from './server.test-kit.ts'

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

test('a version names a state: conditions hold on it and on no other', async () => {
  await using it = await served(await openNode({ memory: true }))
  const { ask } = it
  const path = '/v1/spaces/s/entries/tags'
  const write = (body: unknown, headers = {}) => ask('POST', `${path}/ops`, { body, headers })
  const made = await write({ type: 'set', op: 'add', values: ['a', 'b'] }, { 'if-none-match': '*' })
  const etag = made.headers.get('etag') ?? ''
  expect(await ask('GET', path, { headers: { 'if-none-match': etag } })).toMatchObject({ status: 304 })
  // A removal leaves no dot behind, and is another state all the same.
  const removed = await write({ type: 'set', op: 'remove', values: ['b'] }, { 'if-match': etag })
  expect(removed.status).toBe(200)
  expect(await ask('GET', path, { headers: { 'if-none-match': etag } })).toMatchObject({ body: { value: ['a'] } })
  const late = await write({ type: 'set', op: 'add', values: ['c'] }, { 'if-match': etag })
  expect(late).toMatchObject({ status: 412, body: { details: { key: 'tags', exists: true } } })
  // What a write answered is what a condition takes; and so is what the refusal named.
  const { version } = (late.body['details'] ?? {}) as { version: string }
  expect(await write({ type: 'set', op: 'add', values: ['c'] }, { 'if-match': version })).toMatchObject({ status: 200 })
  const old = String(removed.body['version'])
  expect(await write({ type: 'set', op: 'add', values: ['d'] }, { 'if-match': `"${old}"` })).toMatchObject({
    status: 412,
  })
  const operations = [{ key: 'tags', type: 'set', op: 'add', values: ['d'], ifMatch: version }]
  expect(await ask('POST', '/v1/spaces/s/transact', { body: { operations } })).toMatchObject({ status: 412 })
  const gone = await ask('DELETE', path, { headers: { 'if-match': etag } })
  expect(gone.status).toBe(412)
})

test('versions differ where anything that is live does', async () => {
  await using node = await openNode({ memory: true })
  const versions = new Set<string>()
  // Each space counts its own dots, so these states differ in nothing but what the line says.
  const state = (name: string, make: (space: SpaceHandle) => void): void => {
    make(node.space(name))
    versions.add(node.space(name).version('k').replace(/^.*~/, ''))
  }
  state('nothing', () => undefined)
  state('first', (space) => space.register('k').set(1))
  state('later dot', (space) => {
    space.register('k').set(1)
    space.register('k').set(2)
  })
  state('other type', (space) => space.flag('k').enable())
  state('two fields', (space) => space.record('k').set({ a: 1, b: 1 }))
  state('the one field', (space) => {
    space.record('k').set({ a: 1, b: 1 })
    space.record('k').unset('b')
  })
  state('the other field', (space) => {
    space.record('k').set({ a: 1, b: 1 })
    space.record('k').unset('a')
  })
  expect(versions.size).toBe(7)
})

test('pages neither skip nor repeat what is there throughout, whatever is written in between', async () => {
  await using it = await served(await openNode({ memory: true }))
  const space = it.node.space('s')
  const keys = Array.from({ length: 95 }, (_, i) => `k${String(i).padStart(3, '0')}`)
  for (const key of keys) space.record(key).set({ status: Number(key.slice(1)) % 3 === 0 ? 'todo' : 'done', n: 2 })
  space.register('k-other').set('todo')
  await it.node.flush()
  const listed: string[] = []
  let cursor: string | undefined
  do {
    const query = new URLSearchParams({ prefix: 'k', limit: '10', ...(cursor !== undefined && { cursor }) })
    const { body } = await it.ask('GET', `/v1/spaces/s/entries?${query.toString()}`)
    listed.push(...(body['entries'] as { key: string }[]).map(({ key }) => key))
    cursor = body['cursor'] as string | undefined
    // One more behind, one in front, and the last one seen goes.
    space.register(`k000-${listed.length}`).set(1)
    if (listed.length % 20 === 0) space.delete(listed.at(-1) as string)
  } while (cursor !== undefined)
  expect(new Set(listed).size).toBe(listed.length)
  expect(keys.filter((key) => !listed.includes(key))).toEqual([])
  const where = await it.ask('GET', '/v1/spaces/s/entries?where=status:todo&where=n:2&limit=1000')
  const found = (where.body['entries'] as { key: string; value: { status: string } }[]).map(({ value }) => value.status)
  expect(found.length).toBeGreaterThan(20)
  expect(new Set(found)).toEqual(new Set(['todo']))
  const other = await it.ask('GET', `/v1/spaces/s/entries?prefix=x&cursor=${cursorOf('s', 'k', 'k5')}`)
  expect(other).toMatchObject({ status: 400, body: { code: 'invalid_token' } })
})

function cursorOf(...parts: readonly string[]): string {
  return Buffer.from(JSON.stringify(['e1', ...parts])).toString('base64url')
}

test('spaces come in pages, are made and end', async () => {
  await using it = await served(await openNode({ memory: true }))
  for (const name of ['c', 'a', 'b']) expect((await it.ask('PUT', `/v1/spaces/${name}`)).status).toBe(201)
  expect(await it.ask('PUT', '/v1/spaces/a')).toMatchObject({ status: 200, body: { name: 'a', entries: 0 } })
  const first = await it.ask('GET', '/v1/spaces?limit=2')
  expect(first).toMatchObject({ body: { spaces: [{ name: 'a' }, { name: 'b' }] } })
  const second = await it.ask('GET', `/v1/spaces?limit=2&cursor=${String(first.body['cursor'])}`)
  expect(second).toMatchObject({ body: { spaces: [{ name: 'c' }] } })
  expect(second.body).not.toHaveProperty('cursor')
  expect((await it.ask('DELETE', '/v1/spaces/b')).status).toBe(200)
  expect((await it.ask('GET', '/v1/spaces/b')).status).toBe(404)
})

test('a space that was made is there after a restart, with nothing in it', async () => {
  await using folder = await temporary()
  const dir = folder.path('data')
  {
    await using it = await served(await openNode({ dir }))
    expect((await it.ask('PUT', '/v1/spaces/fresh')).status).toBe(201)
  }
  await using it = await served(await openNode({ dir }))
  expect((await it.ask('GET', '/v1/spaces/fresh')).status).toBe(200)
})

test('histories come in pages', async () => {
  await using it = await served(await openNode({ memory: true }))
  const register = it.node.space('s').register('k')
  for (let i = 0; i < 25; i++) register.set(i)
  const values: unknown[] = []
  let cursor: string | undefined
  do {
    const { body } = await it.ask(
      'GET',
      `/v1/spaces/s/entries/k/history?limit=10${cursor === undefined ? '' : `&cursor=${cursor}`}`,
    )
    for (const { changes } of body['items'] as { changes: { value: unknown }[] }[]) values.push(changes[0]?.value)
    cursor = body['cursor'] as string | undefined
  } while (cursor !== undefined)
  expect(values).toEqual(Array.from({ length: 25 }, (_, i) => i))
})

test('a key may hold any character, percent-encoded, and is never a path', async () => {
  await using it = await served(await openNode({ memory: true }))
  const keys = [
    'a/b',
    '../../etc/passwd',
    'a/../b',
    '%2F',
    '%',
    '%25',
    'b\0',
    'a\0b',
    '?x=1#y',
    ' ',
    'a;b',
    '//',
    ':key',
    '*',
    'ключ',
    '🪢'.repeat(100),
    'x'.repeat(512),
    'entries/t/ops',
    'constructor',
    '__proto__',
  ]
  for (const key of keys) {
    const path = `/v1/spaces/${encodeURIComponent('sp/ace')}/entries/${encodeURIComponent(key)}`
    const wrote = await it.ask('POST', `${path}/ops`, { body: { type: 'register', op: 'set', value: key } })
    expect(wrote.status, `${key} ${JSON.stringify(wrote.body)}`).toBe(200)
    expect(await it.ask('GET', path), `${key}`).toMatchObject({ status: 200, body: { key, value: key } })
  }
  const all = [...(await Array.fromAsync(it.node.space('sp/ace').entries()))].map(({ key }) => key)
  expect(all.sort()).toEqual(keys.toSorted())
  // What is not one path of ours is none of ours.
  for (const path of ['/v1/spaces/s/entries/', '/v1/spaces//entries/k', '/v1/spaces/s/entries/a/b', '/v1//spaces']) {
    expect((await it.ask('GET', path)).status, `${path}`).toBeGreaterThanOrEqual(400)
  }
})

test('bytes go in and out as base64', async () => {
  await using it = await served(await openNode({ memory: true }))
  const source = it.node.space('a').text('t')
  source.insert(0, 'hello')
  const update = Buffer.from(source.asUpdate()).toString('base64')
  const body = { type: 'text', op: 'update', update }
  expect(await it.ask('POST', '/v1/spaces/b/entries/t/ops', { body })).toMatchObject({ status: 200 })
  expect(await it.ask('GET', '/v1/spaces/b/entries/t?siblings=true')).toMatchObject({
    body: { value: 'hello', siblings: [{ value: { base64: expect.any(String) as string } }] },
  })
})

test('an answer waits for what it is asked to wait for, and says what came of it', async () => {
  await using it = await served(await openNode({ memory: true }))
  const body = { type: 'register', op: 'set', value: 1 }
  const wrote = (query: string) =>
    it.ask('POST', `/v1/spaces/s/entries/k/ops?${query}`, { body: { ...body, value: query } })
  expect(await wrote('wait=none')).toMatchObject({ status: 202, body: { durable: false } })
  expect(await wrote('wait=durable')).toMatchObject({ status: 200, body: { durable: true } })
  // Alone, all peers have it; two peers never will.
  expect(await wrote('wait=all')).toMatchObject({ status: 200, body: { durable: true, reached: { met: true } } })
  expect(await wrote('wait=peers:2&timeout=10')).toMatchObject({ status: 202, body: { reached: { met: false } } })
  const read = await it.ask('GET', '/v1/spaces/s/entries/k')
  const token = String(read.body['version'])
  expect(await it.ask('GET', `/v1/visibility?space=s&token=${token}`)).toMatchObject({ body: { here: true } })
  expect(await it.ask('GET', `/v1/spaces/s/entries/k?after=${token}`)).toMatchObject({ status: 200 })
})

test('a listing goes on behind a key, over what the disk has and over what is on its way there', async () => {
  await using node = await openNode({ memory: true })
  const space = node.space('s')
  const keys = Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(2, '0')}`)
  const listed = async (options: { prefix?: string; after?: string }) =>
    (await Array.fromAsync(space.scan(options))).map(({ key }) => key)
  for (const key of keys) space.register(key).set(1)
  expect(await listed({ after: 'k10' })).toEqual(keys.slice(11))
  await node.flush()
  for (const key of keys.slice(0, 5)) space.register(key).set(2)
  expect(await listed({ prefix: 'k0', after: 'k02' })).toEqual(keys.slice(3, 10))
  expect(await listed({ prefix: 'k1', after: 'a' })).toEqual(keys.slice(10, 20))
  expect(await listed({ prefix: 'k1', after: 'k9' })).toEqual([])
})
