/** Every error that the document promises is provoked here, once, over the wire. */
import { connect } from 'node:net'
import { afterAll, expect, test } from 'vitest'
import type { ErrorCode } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { openNode } from '../../open.ts'
import { FaultyStore } from '../../store/faulty.ts'
import { openMemoryStore } from '../../store/memory.ts'
import { clash } from '../clash.test-kit.ts'
import type { Opening } from '../clash.test-kit.ts'
import { defineSpace } from '../define-space.ts'
import { SkeinNode } from '../node.ts'
import { TokenStore } from '../security/tokens.ts'
import { codesOf } from './open-api.ts'
import { statusOf } from './problem.ts'
import type { Route } from './route.ts'
import { routes } from './routes/table.ts'
import { askerOf, served, temporary } from './server.test-kit.ts'
import type { Answer, Asking, Served } from './server.test-kit.ts'

const provoked = new Set<string>()

function check(answer: Answer, code: ErrorCode): void {
  expect(answer.body).toMatchObject({ code, status: answer.status, retryable: expect.any(Boolean) as boolean })
  expect(answer.status).toBe(statusOf[code])
  expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
  for (const name of ['type', 'title', 'detail', 'state', 'action']) expect(answer.body[name]).toBeTypeOf('string')
  provoked.add(code)
}

afterAll(() => {
  const promised = new Set(routes.flatMap((route) => [...codesOf(route).values()].flat()))
  expect([...promised].filter((code) => !provoked.has(code)).sort()).toEqual([])
})

/** What a route answers, its row in the table says. */
function routeOf(method: string, path: string): Route | undefined {
  const plain = path.split('?')[0] ?? ''
  return routes.find(
    (route) => route.method === method && new RegExp(`^${route.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(plain),
  )
}

const memory = () => openNode({ memory: true })
const fleet: Opening = (agent, join) => openNode({ memory: true, agent, listen: 'ws://127.0.0.1:0', join })
const op = (key: string) => `/v1/spaces/s/entries/${key}/ops`
const set = (value: unknown) => ({ body: { type: 'register', op: 'set', value } })

/** As deep as a body can be. */
const deep = `{"type":"register","op":"set","value":${'['.repeat(900_000)}${']'.repeat(900_000)}}`

const cases: readonly [code: ErrorCode, method: string, path: string, asking?: Asking][] = [
  ['invalid_argument', 'GET', '/v1/spaces/s/entries?limit=0'],
  ['invalid_argument', 'GET', '/v1/spaces/s/entries?limit=many'],
  ['invalid_argument', 'GET', '/v1/spaces/s/entries?colour=red'],
  ['invalid_argument', 'GET', '/v1/spaces/s/entries?where=status'],
  ['invalid_argument', 'GET', '/v1/spaces/s/entries/%ff'],
  ['invalid_argument', 'GET', '/v1/spaces/s/entries/%E0%A4%A'],
  ['invalid_argument', 'GET', '/v1/watch'],
  ['invalid_argument', 'GET', '/v1/watch?space=s&prefix=a&key=b'],
  ['invalid_argument', 'GET', '/readyz?gaps=-1'],
  ['invalid_argument', 'POST', op('k'), { body: '{"type":' }],
  ['invalid_argument', 'POST', op('k'), { body: '' }],
  ['invalid_argument', 'POST', op('k'), { body: [] }],
  ['invalid_argument', 'POST', op('k'), { body: { type: 'register', op: 'set' } }],
  ['invalid_argument', 'POST', op('k'), { body: { type: 'counter', op: 'incr', by: '1' } }],
  ['invalid_argument', 'POST', op('k'), { body: { type: 'text', op: 'update', update: 'not base64!' } }],
  ['invalid_argument', 'POST', `${op('k')}?wait=long`, set(1)],
  ['invalid_argument', 'POST', `${op('k')}?timeout=999999`, set(1)],
  ['invalid_argument', 'POST', op('k'), { ...set(1), headers: { 'skein-agent': '%' } }],
  ['invalid_argument', 'POST', op('k'), { ...set(1), headers: { 'idempotency-key': 'x'.repeat(300) } }],
  ['invalid_argument', 'POST', '/v1/spaces/s/transact', { body: { operations: [] } }],
  ['invalid_key', 'GET', `/v1/spaces/s/entries/${'x'.repeat(limits.keyBytes + 1)}`],
  ['invalid_key', 'GET', `/v1/spaces/s/entries/${'x'.repeat(5 * limits.keyBytes)}`],
  ['invalid_key', 'PUT', `/v1/spaces/${'x'.repeat(limits.spaceNameBytes + 1)}`],
  ['invalid_key', 'POST', '/v1/spaces/s/transact', { body: { operations: [{ key: '', op: 'delete' }] } }],
  ['invalid_value', 'POST', op('k'), { body: '{"type":"register","op":"set","value":"\\ud800"}' }],
  ['reserved_name', 'POST', op('k'), { body: '{"type":"record","op":"set","fields":{"__proto__":1}}' }],
  ['too_deep', 'POST', op('k'), set(JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`))],
  ['too_deep', 'POST', op('k'), { body: deep }],
  ['too_deep', 'POST', op('k'), { body: deep, headers: { 'idempotency-key': 'deep' } }],
  ['too_large', 'POST', op('k'), set('x'.repeat(limits.valueBytes + 1))],
  ['too_large', 'POST', op('k'), set('x'.repeat(limits.httpBodyBytes))],
  ['invalid_argument', 'GET', `/v1/spaces/s/entries?where=a:1${'&where=a:1'.repeat(limits.filters)}`],
  ['unknown_type', 'POST', op('k'), { body: { type: 'register', op: 'fly' } }],
  ['unknown_type', 'POST', op('k'), { body: { type: 'register', op: 'constructor' } }],
  ['unknown_type', 'GET', '/v1/spaces/s/entries/there?type=tree'],
  ['type_mismatch', 'POST', op('there'), { body: { type: 'counter', op: 'incr', by: 1 } }],
  ['counter_overflow', 'POST', op('full'), { body: { type: 'counter', op: 'incr', by: 1 } }],
  ['budget_exceeded', 'POST', op('b'), { body: { type: 'budget', op: 'spend', amount: 11 } }],
  ['unknown_reservation', 'POST', op('b'), { body: { type: 'budget', op: 'refund', id: 'none' } }],
  ['budget_not_deletable', 'DELETE', '/v1/spaces/s/entries/b'],
  [
    'claim_held',
    'POST',
    op('lock'),
    { body: { type: 'claim', op: 'acquire', ttlMs: 1000 }, headers: { 'skein-agent': 'b' } },
  ],
  ['stale_fence', 'POST', op('lock'), { body: { type: 'claim', op: 'renew', fence: 9, ttlMs: 1000 } }],
  ['out_of_range', 'POST', op('list'), { body: { type: 'list', op: 'remove', at: 5, count: 1 } }],
  ['document_invalid', 'POST', op('text'), { body: { type: 'text', op: 'update', update: '////' } }],
  ['version_mismatch', 'POST', op('there'), { ...set(2), headers: { 'if-none-match': '*' } }],
  ['version_mismatch', 'POST', op('nowhere'), { ...set(2), headers: { 'if-match': '*' } }],
  ['invalid_token', 'POST', op('there'), { ...set(2), headers: { 'if-match': '"x"' } }],
  ['invalid_token', 'GET', '/v1/spaces/s/entries?cursor=nonsense'],
  ['invalid_token', 'GET', '/v1/spaces/s/entries/there/history?cursor=W10'],
  ['invalid_token', 'GET', '/v1/spaces?cursor=W10'],
  ['invalid_token', 'GET', '/v1/visibility?space=s&token=nonsense'],
  ['invalid_token', 'GET', '/v1/watch?space=s&since=nonsense'],
  [
    'unsupported_media',
    'POST',
    op('k'),
    { body: 'a=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
  ],
  ['unsupported_media', 'POST', op('k'), { body: '{}', headers: { 'content-type': 'text/plain' } }],
  ['not_found', 'GET', '/v1/spaces/s/entries/nowhere'],
  ['not_found', 'GET', '/v1/spaces/nowhere/entries'],
  ['not_found', 'GET', '/v1/nowhere'],
  ['not_found', 'PATCH', '/v1/spaces'],
  ['not_found', 'DELETE', '/v1/spaces/nowhere'],
  ['not_found', 'POST', '/v1/sync?space=nowhere'],
  ['not_found', 'GET', '/v1/watch?space=nowhere'],
  ['origin_refused', 'GET', '/v1/spaces', { headers: { origin: 'http://evil.example' } }],
  ['origin_refused', 'GET', '/healthz', { headers: { origin: 'null' } }],
  ['behind', 'GET', `/v1/spaces/s/entries?after=${'0'.repeat(31)}1-1&timeout=1`],
]

async function filled(it: Served): Promise<void> {
  const space = it.node.space('s')
  space.register('there').set(1)
  space.counter('full').incr(Number.MAX_SAFE_INTEGER)
  space.budget('b').grant(10)
  space.as({ agent: 'a' }).claim('lock').acquire(60_000)
  space.list('list').insert(0, 1)
  await it.node.flush()
}

test('what a request can do wrong', async () => {
  await using it = await served(await memory())
  await filled(it)
  for (const [code, method, path, asking] of cases) {
    const answer = await it.ask(method, path, asking)
    expect(answer.body['code'], `${method} ${path} ${JSON.stringify(answer.body).slice(0, 500)}`).toBe(code)
    check(answer, code)
    const route = routeOf(method, path)
    if (route !== undefined) expect([...codesOf(route).values()].flat(), `${method} ${path}`).toContain(code)
  }
  const first = { headers: { 'idempotency-key': 'k' } }
  await it.ask('POST', op('once'), { ...set(1), ...first })
  check(await it.ask('POST', op('once'), { ...set(2), ...first }), 'idempotency_conflict')
  // Nothing of all that has left a space behind.
  expect(it.node.status().spaces.map(({ name }) => name)).toEqual(['s'])
})

test('[M12] an entry that a conflict holds', async () => {
  const rules = [{ rule: 'exclusive', field: 'status', values: [['done', 'cancelled']] }]
  await using it = await served(await memory())
  const here = it.node.space('s', defineSpace({ rules }))
  here.record('t').set({ status: 'done' })
  await using elsewhere = await memory()
  const { result } = elsewhere.space('s').record('t').set({ status: 'cancelled' })
  expect(result).toBeUndefined()
  for (const [origin, log] of elsewhere.replica.spaces[0]?.logs ?? []) {
    const space = it.node.replica.open('s')
    const body = log.entry(1)?.body ?? new Uint8Array(0)
    expect(it.node.replica.receive(space, { origin, seq: 1 }, body, Date.now())).toBe('applied')
  }
  const [conflict] = await Array.fromAsync(it.node.conflicts.list())
  const refused = await it.ask('POST', op('t'), { body: { type: 'record', op: 'set', fields: { a: 1 } } })
  check(refused, 'entry_held')
  expect(refused.body).toMatchObject({ details: { key: 't', conflict: conflict?.id } })
  check(await it.ask('DELETE', '/v1/spaces/s/entries/t'), 'entry_held')
  const { id = '', revision = '' } = conflict ?? {}
  it.node.conflicts.resolve(id, { revision, choice: { kind: 'keep-both' } })
  expect((await it.ask('POST', op('t'), { body: { type: 'record', op: 'set', fields: { a: 1 } } })).status).toBe(200)
})

test('who asks, and where', async () => {
  await using folder = await temporary()
  const tokens = new TokenStore(folder.path('tokens.json'))
  const { token } = tokens.create({ agent: 'a', grants: [{ space: 's', rights: ['read'] }] })
  await using it = await served(await memory(), { tokens, requestsPerSecond: 2 })
  it.node.space('s').register('there').set(1)
  check(await it.ask('GET', '/v1/spaces'), 'unauthenticated')
  const headers = { authorization: `Bearer ${token}` }
  check(await it.ask('POST', op('k'), { ...set(1), headers }), 'forbidden')
  const answers = await Promise.all(Array.from({ length: 5 }, () => it.ask('GET', '/v1/spaces', { headers })))
  const limited = answers.find(({ status }) => status === 429) as Answer
  check(limited, 'rate_limited')
  expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0)

  const text = await new Promise<string>((resolve) => {
    let all = ''
    const socket = connect(it.server.port, '127.0.0.1', () =>
      socket.write('GET /healthz HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n'),
    )
    socket.on('data', (chunk) => (all += chunk.toString()))
    socket.on('close', () => resolve(all))
  })
  expect(text).toMatch(/^HTTP\/1.1 421 .*"code":"host_refused"/s)
  provoked.add('host_refused')
})

/** A person is to decide here. */
const owned = defineSpace({ rules: [{ rule: 'field', decides: 'person' }], people: ['person-*'] })

test('what a decision can do wrong, and a declaration of rules', async () => {
  const [node, , { id, revision }] = await clash(fleet, ['t-1'], owned)
  await using it = await served(node)
  const headers = { 'skein-agent': 'person-1' }
  const path = `/v1/conflicts/${id}/resolve`
  const body = { revision, choice: { kind: 'dismiss' } }
  const nested: unknown = JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`)
  const wrong: readonly [code: ErrorCode, path: string, body: unknown][] = [
    ['unknown_conflict', `/v1/conflicts/${'0'.repeat(32)}/resolve`, body],
    ['unknown_conflict', '/v1/conflicts/none/resolve', body],
    ['not_found', `${path}?space=nowhere`, body],
    ['conflict_changed', path, { ...body, revision: 'other' }],
    ['invalid_argument', path, { choice: { kind: 'dismiss' } }],
    ['invalid_argument', path, { revision }],
    ['invalid_argument', path, { ...body, choice: { kind: 'toss' } }],
    ['invalid_argument', path, { ...body, choice: { kind: 'pick' } }],
    ['invalid_argument', path, { ...body, choice: { kind: 'pick', branch: { origin: 'x', seq: 1 } } }],
    ['invalid_argument', path, { ...body, choice: { kind: 'write', value: { a: 1 } } }],
    ['reserved_name', path, `{"revision":"${revision}","choice":{"kind":"write","value":[{"__proto__":1}]}}`],
    ['too_deep', path, { ...body, choice: { kind: 'write', value: nested } }],
    ['too_large', path, { ...body, choice: { kind: 'write', value: 'x'.repeat(limits.valueBytes + 1) } }],
    ['invalid_value', path, `{"revision":"${revision}","choice":{"kind":"write","value":"\\ud800"}}`],
  ]
  for (const [code, at, asked] of wrong) {
    const answer = await it.ask('POST', at, { body: asked, headers })
    expect(answer.body['code'], `${code}: ${JSON.stringify(answer.body).slice(0, 500)}`).toBe(code)
    check(answer, code)
  }
  check(await it.ask('POST', path, { body }), 'not_entitled')
  expect(node.conflicts.get(id)).toMatchObject({ state: 'open', revision })
  check(await it.ask('GET', '/v1/conflicts/none'), 'unknown_conflict')
  check(await it.ask('GET', '/v1/conflicts?cursor=W10'), 'invalid_token')
  check(await it.ask('GET', '/v1/conflicts?space=nowhere'), 'not_found')
  check(await it.ask('GET', '/v1/conflicts?state=lost'), 'invalid_argument')
  expect(await it.ask('POST', path, { body, headers })).toMatchObject({ status: 200 })
  check(await it.ask('POST', path, { body: { ...body, choice: { kind: 'keep-both' } }, headers }), 'conflict_settled')
  check(await it.ask('PUT', '/v1/spaces/s', { body: { rules: [] } }), 'rules_superseded')
  check(await it.ask('PUT', '/v1/spaces/new', { body: { rules: [{ rule: 'effect' }] } }), 'invalid_argument')
  expect(node.replica.find('new')).toBeUndefined()
})

test('what the disk and the node can refuse', async () => {
  const store = new FaultyStore(openMemoryStore())
  const node = await SkeinNode.open({
    store,
    agent: 'local',
    durability: 'memory',
    retention: { keepMs: Infinity, keepBytes: Infinity },
    cacheBytes: 2 ** 25,
    node: '00000000000000aa',
    fresh: () => '0000000000000001',
    now: Date.now,
  })
  await using it = await served(node)
  const { ask } = it
  await ask('POST', op('there'), set(1))

  store.holdWrites()
  const big = node.space('s')
  const value = 'x'.repeat(200_000)
  expect(() => {
    for (let i = 0; i < 10_000; i++) big.register(`k${i}`).set(value)
  }).toThrow(expect.objectContaining({ code: 'busy' }) as Error)
  check(await ask('POST', op('there'), set(2)), 'busy')
  store.release()
  await node.flush()

  store.failWrites(2)
  const held = await ask('POST', `${op('there')}?timeout=50`, set(3))
  expect(held).toMatchObject({ status: 202, body: { durable: false } })
  check(await ask('POST', op('there'), set(4)), 'store_full')
  expect(await ask('GET', '/readyz')).toMatchObject({ status: 503, body: { passed: ['state'], state: 'full' } })
  expect(await ask('GET', '/v1/spaces/s/entries/there')).toMatchObject({ body: { value: 3 } })
  while (node.status().state !== 'open') await new Promise((resolve) => setTimeout(resolve, 10))
  store.failWrites(2, 'store_failed')
  await ask('POST', `${op('there')}?timeout=50`, set(5))
  check(await ask('POST', op('there'), set(6)), 'store_failed')
  while (node.status().state !== 'open') await new Promise((resolve) => setTimeout(resolve, 10))

  // Nobody waits for this one: that it never comes to the disk must trouble nobody.
  store.failWrites(1000)
  expect(await ask('POST', `${op('there')}?wait=none`, set(7))).toMatchObject({ status: 202 })
  await node.close()
  check(await ask('GET', '/v1/spaces/s/entries/there'), 'closed')
  check(await ask('GET', '/healthz'), 'closed')
})

test('a bug tells nothing of what is inside', async () => {
  await using it = await served(await memory(), {
    metrics: () => {
      throw new TypeError('a secret')
    },
  })
  const answer = await askerOf(it.server.url)('GET', '/metrics')
  expect(answer).toMatchObject({ status: 500, body: { code: 'internal' } })
  expect(JSON.stringify(answer.body)).not.toContain('secret')
})
