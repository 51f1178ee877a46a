/** The document and the server are one thing: every route answers, and every answer is as the document says. */
import { readFile } from 'node:fs/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, test } from 'vitest'
import { openNode } from '../../open.ts'
import { clash } from '../clash.test-kit.ts'
import type { Opening } from '../clash.test-kit.ts'
import { routes } from './routes/table.ts'
import { served } from './server.test-kit.ts'
import type { Asking } from './server.test-kit.ts'

interface Described {
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { schema: object }>> }>>
  readonly parameters: readonly { readonly name: string; readonly in: string }[]
}

interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>
  readonly components: { readonly schemas: { readonly Problem: object } }
}

const fleet: Opening = (agent, join) => openNode({ memory: true, agent, listen: 'ws://127.0.0.1:0', join })

const counter = { type: 'counter', op: 'incr', by: 1 }
/** How each route is asked once so that it succeeds; a route that is not here fails the test. */
const examples: Readonly<Record<string, { readonly path: string; readonly asking?: Asking }>> = {
  'GET /v1/spaces': { path: '/v1/spaces' },
  'PUT /v1/spaces/{space}': {
    path: '/v1/spaces/fresh',
    asking: { body: { rules: [{ rule: 'field', prefix: 't-' }], version: 1 } },
  },
  'GET /v1/spaces/{space}': { path: '/v1/spaces/s' },
  'DELETE /v1/spaces/{space}': { path: '/v1/spaces/fresh' },
  'GET /v1/spaces/{space}/entries': { path: '/v1/spaces/s/entries?limit=2&prefix=r' },
  'GET /v1/spaces/{space}/entries/{key}': { path: '/v1/spaces/s/entries/r?siblings=true' },
  'POST /v1/spaces/{space}/entries/{key}/ops': { path: '/v1/spaces/s/entries/n/ops', asking: { body: counter } },
  'DELETE /v1/spaces/{space}/entries/{key}': { path: '/v1/spaces/s/entries/gone' },
  'POST /v1/spaces/{space}/transact': {
    path: '/v1/spaces/s/transact?wait=all',
    asking: { body: { operations: [{ key: 'n', ...counter }] } },
  },
  'GET /v1/spaces/{space}/entries/{key}/history': { path: '/v1/spaces/s/entries/r/history?limit=1' },
  'GET /v1/watch': { path: '/v1/watch?space=s' },
  'GET /v1/conflicts': { path: '/v1/conflicts?space=s&prefix=t&rule=field&state=all&limit=1' },
  'GET /v1/conflicts/{id}': { path: '/v1/conflicts/{id}' },
  'POST /v1/conflicts/{id}/resolve': {
    path: '/v1/conflicts/{id}/resolve',
    asking: { body: { revision: '{revision}', choice: { kind: 'write', value: 'doing' }, reason: 'both' } },
  },
  'POST /v1/conflicts/{id}/ack': { path: '/v1/conflicts/{id2}/ack' },
  'POST /v1/conflicts/{id}/assign': { path: '/v1/conflicts/{id2}/assign', asking: { body: { to: null } } },
  'POST /v1/conflicts/{id}/snooze': { path: '/v1/conflicts/{id2}/snooze', asking: { body: { forMs: 1000 } } },
  'POST /v1/conflicts/{id}/propose': {
    path: '/v1/conflicts/{id2}/propose',
    asking: { body: { revision: '{revision2}', choice: { kind: 'keep-both' }, confidence: 0.5 } },
  },
  'GET /v1/conflicts/watch': { path: '/v1/conflicts/watch?space=s' },
  'GET /v1/audit': { path: '/v1/audit?space=s&limit=1&after=0' },
  'GET /v1/audit/verify': { path: '/v1/audit/verify' },
  'GET /v1/watch/presence': { path: '/v1/watch/presence?space=s' },
  'GET /v1/spaces/{space}/presence': { path: '/v1/spaces/s/presence' },
  'PUT /v1/spaces/{space}/presence/{agent}': {
    path: '/v1/spaces/s/presence/ann',
    asking: { body: { value: { doing: 't-1' }, ttlMs: 1000 } },
  },
  'DELETE /v1/spaces/{space}/presence/{agent}': { path: '/v1/spaces/s/presence/ann' },
  'POST /v1/spaces/{space}/entries/{key}/purge': { path: '/v1/spaces/s/entries/gone/purge' },
  'GET /v1/spaces/{space}/entries/{key}/purge': { path: '/v1/spaces/s/entries/gone/purge' },
  'GET /v1/status': { path: '/v1/status' },
  'GET /v1/peers': { path: '/v1/peers' },
  'POST /v1/sync': { path: '/v1/sync' },
  'GET /v1/verify': { path: '/v1/verify' },
  'GET /v1/visibility': { path: '/v1/visibility?space=s&token=&wait=peers:0' },
  'GET /v1/roster': { path: '/v1/roster' },
  'PUT /v1/roster/{node}': { path: '/v1/roster/00000000000000bb' },
  'DELETE /v1/peers/{node}': { path: '/v1/peers/00000000000000bb' },
  'GET /v1/backup': { path: '/v1/backup' },
  'GET /healthz': { path: '/healthz' },
  'GET /readyz': { path: '/readyz?gaps=0&lag=0&queue=10000000' },
  'GET /metrics': { path: '/metrics' },
}

test('every route of the document answers, and by its schema', async () => {
  const [node, , one] = await clash(fleet, ['t-1', 't-2'])
  const [two] = await Array.fromAsync(node.conflicts.list({ prefix: 't-2' }))
  const words = { id: one.id, revision: one.revision, id2: two?.id ?? '', revision2: two?.revision ?? '' }
  await using it = await served(node, { metrics: () => 'skein_cells 1\n' })
  const filled = <T>(given: T): T => {
    let text = JSON.stringify(given)
    for (const [word, value] of Object.entries(words)) text = text.replaceAll(`{${word}}`, value)
    return JSON.parse(text) as T
  }
  const space = it.node.space('s')
  space.record('r').set({ status: 'todo', nested: { a: 1 } })
  space.record('r').unset('status')
  space.record('r2').set({ bytes: 1 })
  space.text('text').insert(0, 'hello')
  space.register('gone').set(1)
  const document = (await it.ask('GET', '/v1/openapi.json')).body as unknown as Document
  expect(document.openapi).toBe('3.1.0')
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, route]) => [`${method.toUpperCase()} ${path}`, route] as const),
  )
  expect(described.map(([name]) => name).sort()).toEqual(Object.keys(examples).sort())
  expect(described).toHaveLength(routes.length)
  for (const [name, route] of described) {
    const [method = ''] = name.split(' ')
    const { path, asking = {} } = filled(examples[name] as (typeof examples)[string])
    if (name.endsWith('/watch') || name.startsWith('GET /v1/watch')) {
      const stop = new AbortController()
      const answer = await fetch(it.server.url + path, { signal: stop.signal })
      expect(answer.status).toBe(200)
      expect(Object.keys(route.responses['200']?.content ?? {})).toContain('text/event-stream')
      stop.abort()
      continue
    }
    const answer = await it.ask(method, path, asking)
    expect(answer.status, `${name}: ${JSON.stringify(answer.body)}`).toBeLessThan(300)
    const content = route.responses[String(answer.status)]?.content
    if (name === 'GET /v1/backup') {
      expect(Object.keys(content ?? {})).toEqual(['application/octet-stream'])
      continue
    }
    if (name === 'GET /metrics') {
      expect(answer.body).toEqual({ text: 'skein_cells 1\n' })
      continue
    }
    const validate = ajv.compile(content?.['application/json']?.schema ?? {})
    expect(validate(answer.body), `${name}: ${JSON.stringify(validate.errors)} ${JSON.stringify(answer.body)}`).toBe(
      true,
    )
    // A problem is as the document says as well.
    const wrong = await it.ask(method, `${path.split('?')[0] ?? ''}?no-such=1`, asking)
    expect(wrong, `${name}`).toMatchObject({ status: 400, body: { code: 'invalid_argument' } })
    const isProblem = ajv.compile(document.components.schemas.Problem)
    expect(isProblem(wrong.body), `${JSON.stringify(isProblem.errors)}`).toBe(true)
  }
  // Types whose cells hold bytes have answers of the same kind.
  for (const path of ['/v1/spaces/s/entries/text?siblings=true', '/v1/spaces/s/entries/text/history']) {
    expect(await it.ask('GET', path)).toMatchObject({ status: 200 })
  }
})

test('docs/HTTP.md has every route, and no other', async () => {
  const text = await readFile(new URL('../../../docs/HTTP.md', import.meta.url), 'utf8')
  const rows = [...text.matchAll(/^\| `(GET|PUT|POST|DELETE) (\/[^`?]*)[^`]*` \|/gm)].map(
    ([, method = '', path = '']) => `${method} ${path}`,
  )
  expect(rows.sort()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).sort())
})
