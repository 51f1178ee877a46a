/** Who comes in: hosts, pages, tokens and their rights, the socket in the data directory; and how the server goes. */
import { request } from 'node:http'
import { connect } from 'node:net'
import { chmod, readFile, stat, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { limits } from '../../base/limits.ts'
import { openNode } from '../../open.ts'
import { TokenStore } from '../security/tokens.ts'
import { createHttp } from './http.ts'
import { askerOf, served, temporary } from './server.test-kit.ts'
import { StreamClient } from './stream.test-kit.ts'

const memory = () => openNode({ memory: true })

/** fetch sets the Host header itself; this sends what it is told. */
function plain(
  options: { readonly port?: number; readonly socketPath?: string },
  path: string,
  headers: Readonly<Record<string, string>>,
  method: string = 'GET',
): Promise<{
  readonly status: number | undefined
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', ...options, path, headers, method }, (answer) => {
      let body = ''
      answer.on('data', (chunk: Buffer) => (body += chunk.toString()))
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body }))
    })
    asked.on('error', reject)
    asked.end()
  })
}

test('only names of this host are answered, with any port', async () => {
  await using it = await served(await memory(), { names: ['node-a.example'] })
  const { port } = it.server
  for (const host of [
    'localhost',
    `localhost:${port}`,
    '127.0.0.1:1',
    '[::1]:80',
    'LOCALHOST',
    'node-a.example:7401',
  ]) {
    expect((await plain({ port }, '/v1/spaces', { host })).status, `${host}`).toBe(200)
  }
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '[::1',
    'a@localhost',
    '10.0.0.1',
  ]) {
    expect((await plain({ port }, '/v1/spaces', { host })).status, `${host}`).toBe(421)
  }
})

test('a web page is answered only from a configured origin', async () => {
  await using it = await served(await memory(), { origins: ['https://ops.example'] })
  const { port } = it.server
  const host = 'localhost'
  const good = await plain({ port }, '/v1/spaces', {
    host,
    origin: 'https://ops.example',
    'sec-fetch-site': 'cross-site',
  })
  expect(good).toMatchObject({ status: 200, headers: { 'access-control-allow-origin': 'https://ops.example' } })
  const preflight = await plain(
    { port },
    '/v1/spaces/s/entries/k/ops',
    { host, origin: 'https://ops.example', 'access-control-request-method': 'POST' },
    'OPTIONS',
  )
  expect(preflight.status).toBe(204)
  expect(preflight.headers['access-control-allow-methods']).toContain('POST')
  for (const headers of [
    { host, origin: 'https://evil.example' },
    { host, origin: 'null' },
    { host, origin: `http://localhost:${port}` },
    { host, 'sec-fetch-site': 'cross-site' },
    { host, 'sec-fetch-site': 'same-site' },
  ]) {
    expect((await plain({ port }, '/v1/spaces', headers)).status, `${JSON.stringify(headers)}`).toBe(403)
    expect((await plain({ port }, '/v1/spaces', headers, 'OPTIONS')).status, `${JSON.stringify(headers)}`).toBe(403)
  }
})

test('a token reads and writes where it may, as its agent, and nowhere else', async () => {
  await using folder = await temporary()
  const tokens = new TokenStore(folder.path('tokens.json'))
  await using it = await served(await memory(), { tokens })
  expect(it.server.isOpen).toBe(true)
  it.node.space('tasks').register('b-1').set(1)
  it.node.space('other').register('k').set(1)
  expect((await it.ask('GET', '/v1/spaces')).status).toBe(200)
  const grants = [
    { space: 'tasks', prefix: 'a-', rights: ['read', 'write'] },
    { space: 'tasks', prefix: 'b-', rights: ['read'] },
  ] as const
  const { token } = tokens.create({ agent: 'agent-7', grants })
  expect((await it.ask('GET', '/v1/spaces')).status).toBe(401)
  const ask = (method: string, path: string, body?: unknown, headers = {}) =>
    it.ask(method, path, {
      ...(body !== undefined && { body }),
      headers: { authorization: `Bearer ${token}`, ...headers },
    })
  const set = { type: 'register', op: 'set', value: 2 }
  expect((await ask('POST', '/v1/spaces/tasks/entries/a-1/ops', set)).status).toBe(200)
  expect(await ask('GET', '/v1/spaces/tasks/entries/a-1')).toMatchObject({ body: { by: { agent: 'agent-7' } } })
  expect((await ask('GET', '/v1/spaces/tasks/entries?prefix=a-')).status).toBe(200)
  expect((await ask('GET', '/v1/spaces/tasks/entries/b-1')).status).toBe(200)
  expect(await ask('GET', '/v1/spaces')).toMatchObject({ body: { spaces: [{ name: 'tasks' }] } })
  const refused: readonly (readonly [string, string, unknown?, object?])[] = [
    ['POST', '/v1/spaces/tasks/entries/b-1/ops', set],
    ['POST', '/v1/spaces/tasks/entries/a-1/ops', set, { 'skein-agent': 'agent-8' }],
    [
      'POST',
      '/v1/spaces/tasks/transact',
      {
        operations: [
          { key: 'a-1', ...set },
          { key: 'b-1', ...set },
        ],
      },
    ],
    ['DELETE', '/v1/spaces/tasks/entries/b-1'],
    ['GET', '/v1/spaces/tasks/entries'],
    ['GET', '/v1/spaces/tasks/entries?prefix=a'],
    ['GET', '/v1/spaces/other/entries/k'],
    ['GET', '/v1/spaces/other'],
    ['GET', '/v1/watch?space=tasks'],
    ['GET', '/v1/watch?space=tasks&key=c'],
    ['PUT', '/v1/spaces/fresh'],
    ['DELETE', '/v1/spaces/tasks'],
    ['POST', '/v1/sync'],
    ['GET', '/v1/verify'],
    ['GET', '/v1/visibility?space=other&token='],
  ]
  for (const [method, path, body, headers] of refused) {
    expect(await ask(method, path, body, headers), `${method} ${path}`).toMatchObject({ status: 403 })
  }
  await using stream = await StreamClient.open(it.server.url, { headers: { authorization: `Bearer ${token}` } })
  expect(await stream.ask({ do: 'get', space: 'other', key: 'k' })).toMatchObject({ problem: { code: 'forbidden' } })
  await expect(StreamClient.open(it.server.url)).rejects.toThrow('401')
  // Revoked: at once, and on what is open as well. The door stays shut though there is no token any more.
  const { id } = tokens.list()[0] as { id: string }
  expect(tokens.revoke(id)).toBe(true)
  expect((await ask('GET', '/v1/spaces')).status).toBe(401)
  stream.send({ id: 99, do: 'spaces' })
  expect(await stream.closed).toEqual({ code: 1008, reason: 'unauthenticated' })
  expect((await it.ask('GET', '/v1/spaces')).status).toBe(401)
  expect((await it.ask('GET', '/healthz')).status).toBe(200)
})

test('events end when the token that opened them is revoked', async () => {
  await using folder = await temporary()
  const tokens = new TokenStore(folder.path('tokens.json'))
  await using it = await served(await memory(), { tokens, heartbeatMs: 5 })
  it.node.space('s').register('k').set(1)
  const { token, id } = tokens.create({ agent: 'a' })
  const answer = await fetch(`${it.server.url}/v1/watch?space=s`, { headers: { authorization: `Bearer ${token}` } })
  expect(answer.status).toBe(200)
  tokens.revoke(id)
  await expect(answer.text()).rejects.toThrow('terminated')
})

test('what is no HTTP, or too much of it, is answered in words', async () => {
  await using it = await served(await memory())
  const said = (bytes: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(it.server.port, '127.0.0.1', () => socket.write(bytes))
      let text = ''
      socket.on('data', (chunk) => (text += chunk.toString()))
      socket.on('error', () => undefined)
      socket.on('close', () => resolve(text))
    })
  const long = `GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(limits.httpHeaderBytes)}\r\n\r\n`
  expect(await said(long)).toMatch(/^HTTP\/1.1 413 too_large\r\n.*application\/problem\+json.*"code":"too_large"/s)
  for (const garbage of [
    '\x16\x03\x01\x02\0',
    'GET\r\n\r\n',
    'GET / HTTP/9.9\r\n\r\n',
    'POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n',
  ]) {
    expect(await said(garbage)).toMatch(/^HTTP\/1.1 400 invalid_argument/)
  }
  // A length and chunks at once: whoever stands in between may read it otherwise than we do.
  const smuggled =
    'POST /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'
  expect(await said(smuggled)).toMatch(/^HTTP\/1.1 400 /)
  expect((await it.ask('GET', '/healthz')).status).toBe(200)
})

test('tokens are kept as hashes, in a file of their own, for whoever opens it next', async () => {
  await using folder = await temporary()
  const path = folder.path('tokens.json')
  let nowMs = 1_000
  const tokens = new TokenStore(path, () => nowMs)
  expect(tokens.everMade).toBe(false)
  const made = tokens.create({ agent: 'a', expiresMs: 2_000 })
  expect(made.token).toMatch(/^skt1_[\w-]{43}$/)
  expect(await readFile(path, 'utf8')).not.toContain(made.token.slice(5))
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  const again = new TokenStore(path, () => nowMs)
  expect(again.find(made.token)).toMatchObject({ agent: 'a' })
  expect(again.list()).toEqual([{ id: made.id, agent: 'a', grants: made.grants, createdMs: 1_000, expiresMs: 2_000 }])
  for (const wrong of ['', 'skt1_', made.token.slice(0, -1), `${made.token.slice(0, -1)}!`, `skt1_${'A'.repeat(43)}`]) {
    expect(again.find(wrong)).toBeUndefined()
  }
  nowMs = 2_000
  expect(again.find(made.token)).toBeUndefined()
  expect(() => tokens.create({ agent: '' })).toThrow('agent name')
  expect(() => tokens.create({ agent: 'a', grants: [] })).toThrow('grants')
  expect(() => tokens.create({ agent: 'a', grants: [{ rights: ['fly' as 'read'] }] })).toThrow('rights')
  expect(tokens.revoke('nobody')).toBe(false)
  await chmod(path, 0o600)
  await writeFile(path, '{"version":1,"tokens":[{"id":1}]}')
  expect(() => new TokenStore(path)).toThrow('not a file of tokens')
})

test('the socket in the data directory has all rights, by the permissions of its file', async () => {
  await using folder = await temporary()
  const socketPath = folder.path('admin.sock')
  const tokens = new TokenStore(folder.path('tokens.json'))
  tokens.create({ agent: 'a', grants: [{ space: 's', rights: ['read'] }] })
  await writeFile(socketPath, 'what a crash left')
  {
    await using it = await served(await memory(), { tokens, socketPath })
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600)
    expect((await it.ask('GET', '/v1/spaces')).status).toBe(401)
    expect(await plain({ socketPath }, '/v1/spaces/fresh', { host: 'whatever' }, 'PUT')).toMatchObject({ status: 201 })
  }
  await expect(stat(socketPath)).rejects.toThrow('ENOENT')
})

test('beyond this host it listens only with tokens; a taken port is told', async () => {
  await using node = await memory()
  await expect(createHttp({ node, host: '0.0.0.0', port: 0 })).rejects.toMatchObject({ code: 'invalid_argument' })
  await using first = await createHttp({ node, port: 0 })
  await expect(createHttp({ node, port: first.port })).rejects.toMatchObject({ code: 'listen_failed' })
  expect((await askerOf(first.url)('GET', '/healthz')).status).toBe(200)
})

test('closing finishes what is under way, and takes nothing more', async () => {
  const node = await memory()
  node.space('s').register('k').set(1)
  const it = await served(node)
  const waiting = it.ask('GET', `/v1/spaces/s/entries?after=${'0'.repeat(31)}1-1&timeout=100`)
  await it.ask('GET', '/healthz')
  await it.server.close()
  expect(await waiting).toMatchObject({ status: 503, body: { code: 'behind' } })
  await expect(it.ask('GET', '/healthz')).rejects.toThrow('fetch failed')
  // The node is the caller's.
  expect(node.space('s').register('k').get().value).toBe(1)
  await node.close()
})
