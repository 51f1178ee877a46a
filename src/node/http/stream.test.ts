/** The stream: operations and watches over one WebSocket, bounded both ways. */
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { limits } from '../../base/limits.ts'
import { openNode } from '../../open.ts'
import { served } from './server.test-kit.ts'
import { StreamClient } from './stream.test-kit.ts'

const memory = () => openNode({ memory: true })

test('operations are asked and answered, pipelined, in their order, and gathered into few frames', async () => {
  await using it = await served(await memory())
  await using stream = await StreamClient.open(it.server.url)
  expect(await stream.take((message) => 'hello' in message)).toEqual({
    hello: { node: it.node.id, protocol: 'skein.1' },
  })
  const count = 200
  stream.send(
    ...Array.from({ length: count }, (_, i) => ({
      id: i,
      do: 'op',
      space: 'tasks',
      key: 'n',
      operation: { type: 'counter', op: 'incr', by: 1 },
      agent: 'agent-7',
    })),
    { id: count, do: 'get', space: 'tasks', key: 'n' },
  )
  // The read stands behind the writes in the frame, so it sees them all.
  expect(await stream.take(({ id }) => id === count)).toMatchObject({ ok: { value: count, by: { agent: 'agent-7' } } })
  for (let id = 0; id < count; id++) {
    expect(await stream.take((message) => message['id'] === id)).toMatchObject({ ok: { changed: true, durable: true } })
  }
  expect(stream.frames.length).toBeLessThan(20)
})

test('every call has its answer, and every mistake its problem', async () => {
  await using it = await served(await memory())
  await using stream = await StreamClient.open(it.server.url)
  const record = { space: 's', key: 'k' }
  const wrote = await stream.ask({ do: 'op', ...record, operation: { type: 'record', op: 'set', fields: { a: 1 } } })
  const { version } = wrote['ok'] as { version: string }
  expect(await stream.ask({ do: 'get', ...record, ifNoneMatch: version })).toMatchObject({ ok: { unchanged: true } })
  expect(await stream.ask({ do: 'get', ...record, siblings: true, after: version })).toMatchObject({
    ok: { value: { a: 1 }, siblings: [{ path: ['a'], value: 1 }] },
  })
  expect(await stream.ask({ do: 'list', space: 's', where: ['a:1'] })).toMatchObject({
    ok: { entries: [{ key: 'k' }] },
  })
  expect(await stream.ask({ do: 'history', ...record })).toMatchObject({ ok: { items: [{ cleared: false }] } })
  expect(await stream.ask({ do: 'spaces' })).toMatchObject({ ok: { spaces: [{ name: 's' }] } })
  expect(await stream.ask({ do: 'visibility', space: 's', token: version })).toMatchObject({ ok: { here: true } })
  const operations = [{ key: 'k', op: 'delete' }]
  expect(await stream.ask({ do: 'transact', space: 's', operations })).toMatchObject({
    ok: { entries: [{ key: 'k' }] },
  })
  expect(await stream.ask({ do: 'delete', ...record })).toMatchObject({ problem: { code: 'not_found' } })
  for (const wrong of [
    { do: 'fly' },
    { do: 'get', space: 's' },
    { do: 'get', ...record, colour: 'red' },
    { do: 'get', space: 's', key: 5 },
    { do: 'op', ...record, operation: { op: 'set' } },
    { do: 'op', ...record, operation: { type: 'record', op: 'set', fields: {} }, wait: 'long' },
    { do: 'list', space: 's', limit: 0 },
    { do: 'transact', space: 's', operations: [] },
    { do: 'watch' },
    { do: 'watch', space: 's', prefix: 'a', key: 'b' },
    { do: 'unwatch' },
    { do: 'constructor' },
  ]) {
    expect(await stream.ask(wrong), `${JSON.stringify(wrong)}`).toMatchObject({ problem: { code: 'invalid_argument' } })
  }
})

test('a watch is told of changes, resumes from a token, and ends when it is asked to', async () => {
  await using it = await served(await memory())
  const tasks = it.node.space('tasks')
  await using stream = await StreamClient.open(it.server.url)
  stream.send({ id: 1, do: 'watch', space: 'tasks', prefix: 't-' })
  await stream.take(({ id }) => id === 1)
  tasks.register('other').set(1)
  tasks.register('t-1').set(1)
  const first = await stream.take(({ watch }) => watch === 1)
  expect(first).toMatchObject({ event: { kind: 'change', key: 't-1' } })
  expect(await stream.ask({ do: 'unwatch', watch: 1 })).toMatchObject({ ok: { watching: false } })
  expect(await stream.take(({ watch }) => watch === 1)).toEqual({ watch: 1, end: 'over' })
  tasks.register('t-2').set(1)
  const { token } = first['event'] as { token: string }
  stream.send({ id: 2, do: 'watch', space: 'tasks', prefix: 't-', since: token })
  expect(await stream.take(({ watch }) => watch === 2)).toMatchObject({ event: { key: 't-2' } })
  expect(
    await stream.ask({ do: 'watch', space: 'tasks', since: 'nonsense' }).then(({ problem }) => problem),
  ).toBeUndefined()
})

test('a client that asks faster than it is answered is not read from, and loses nothing', async () => {
  await using it = await served(await memory())
  await using stream = await StreamClient.open(it.server.url)
  const count = 3 * limits.streamRequests
  stream.send(
    ...Array.from({ length: count }, (_, id) => ({
      id,
      do: 'op',
      space: 's',
      key: 'n',
      operation: { type: 'counter', op: 'incr', by: 1 },
    })),
  )
  await stream.take(({ id }) => id === count - 1)
  expect(it.node.space('s').counter('n').get().value).toBe(count)
})

test('a client that reads nothing costs a bound and no more: its watch comes to a gap', async () => {
  await using it = await served(await memory())
  const space = it.node.space('s')
  await using stream = await StreamClient.open(it.server.url)
  await stream.ask({ do: 'watch', space: 's' })
  stream.socket.pause()
  const reason = 'r'.repeat(limits.reasonBytes)
  const writer = space.as({ reason })
  for (let i = 0; i < 40 * limits.watchBuffer; i++) {
    writer.register(`k${i % 100}`).set(i)
    if (i % 200 === 199) await new Promise((resolve) => setImmediate(resolve))
  }
  stream.socket.resume()
  const gap = await stream.take(({ event }) => (event as { kind?: string } | undefined)?.kind === 'gap')
  expect(gap).toMatchObject({ event: { cause: 'slow' } })
})

test('a frame that is no list of messages ends the connection, with a reason', async () => {
  await using it = await served(await memory())
  for (const frame of ['{}', '[', '[1]', '[{"id":"x"}]', '[{"id":-1}]', '[null]', Buffer.from([1, 2])]) {
    await using stream = await StreamClient.open(it.server.url)
    stream.socket.send(frame)
    expect(await stream.closed).toMatchObject({ code: 1007 })
  }
  await using stream = await StreamClient.open(it.server.url)
  stream.socket.send(JSON.stringify([{ id: 1, do: 'x'.repeat(limits.streamMessageBytes) }]))
  expect(await stream.closed).toMatchObject({ code: 1009 })
})

test('what is nested without end is refused, and hurts nobody', async () => {
  await using it = await served(await memory())
  await using stream = await StreamClient.open(it.server.url)
  const deep = `${'['.repeat(500_000)}${']'.repeat(500_000)}`
  const operation = `{"type":"register","op":"set","value":${deep}}`
  stream.socket.send(`[{"id":1,"do":"op","space":"s","key":"k","operation":${operation},"idempotencyKey":"k"}]`)
  expect(await stream.take(({ id }) => id === 1)).toMatchObject({ problem: { code: 'too_deep' } })
  stream.socket.send(`[{"id":2,"do":"op","space":"s","key":"k","operation":${operation}}]`)
  expect(await stream.take(({ id }) => id === 2)).toMatchObject({ problem: { code: 'too_deep' } })
  stream.socket.send(`[{"id":3,"do":${deep}}]`)
  expect(await stream.take(({ id }) => id === 3)).toMatchObject({ problem: { code: 'invalid_argument' } })
})

test('closing answers what was asked, ends watches and says so', async () => {
  const node = await memory()
  const it = await served(node)
  node.space('s').register('k').set(1)
  await using stream = await StreamClient.open(it.server.url)
  await stream.ask({ do: 'watch', space: 's' })
  await it.server.close()
  expect(await stream.closed).toEqual({ code: 1001, reason: 'closing' })
  expect(stream.frames.flat()).toContainEqual({ watch: 1, end: 'closing' })
  expect(stream.frames.flat().at(-1)).toEqual({ bye: 'closing' })
  await node.close()
})

test('what is refused before the upgrade is refused as HTTP', async () => {
  await using it = await served(await memory())
  const asked = (head: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(it.server.port, '127.0.0.1', () => socket.write(head))
      let text = ''
      socket.on('data', (chunk) => (text += chunk.toString()))
      socket.on('close', () => resolve(text))
      socket.on('error', reject)
    })
  const upgrade =
    'connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'
  expect(await asked(`GET /v1/stream HTTP/1.1\r\nhost: evil.example\r\n${upgrade}\r\n`)).toMatch(
    /^HTTP\/1.1 421 host_refused/,
  )
  expect(
    await asked(`GET /v1/stream HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\n${upgrade}\r\n`),
  ).toMatch(/^HTTP\/1.1 403 origin_refused/)
  expect(await asked(`GET /v1/other HTTP/1.1\r\nhost: localhost\r\n${upgrade}\r\n`)).toMatch(/^HTTP\/1.1 404 not_found/)
  expect(await it.ask('GET', '/v1/stream')).toMatchObject({ status: 400, body: { code: 'invalid_argument' } })
})
