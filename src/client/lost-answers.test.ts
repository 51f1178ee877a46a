/** Connections that end at the worst moment: between a write and its answer. */
import { mkdtempDisposable } from 'node:fs/promises'
import { connect as dial, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { expect, test } from 'vitest'
import { clash } from '../node/clash.test-kit.ts'
import { served } from '../node/http/server.test-kit.ts'
import { StreamClient } from '../node/http/stream.test-kit.ts'
import { openNode } from '../open.ts'
import { connect } from './client.ts'
import { errorCode } from './client.test-kit.ts'

/** Stands between a client and a node; it can swallow what the node answers, and cut. */
async function between(
  port: number,
): Promise<AsyncDisposable & { readonly url: string; deaf: boolean; cut(): void; readonly swallowed: () => number }> {
  const sockets = new Set<Socket>()
  let swallowed = 0
  const state = { deaf: false }
  const server = createServer((client) => {
    const node = dial(port, '127.0.0.1')
    for (const socket of [client, node]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        node.destroy()
      })
    }
    client.on('data', (data) => node.write(data))
    node.on('data', (data) => {
      if (state.deaf) swallowed += data.length
      else client.write(data)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get deaf() {
      return state.deaf
    },
    set deaf(is: boolean) {
      state.deaf = is
    },
    cut() {
      state.deaf = false
      for (const socket of sockets) socket.destroy()
    },
    swallowed: () => swallowed,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test('writes whose answers were lost are answered again, and done once', async () => {
  await using it = await served(await openNode({ memory: true }))
  await using proxy = await between(it.server.port)
  await using client = await connect({ node: proxy.url })
  const here = it.node.space('s').counter('n')
  const space = client.space('s')
  await space.counter('n').incr().durable
  for (let round = 1; round <= 3; round++) {
    proxy.deaf = true
    const writes = Array.from({ length: 100 }, () => space.counter('n').incr())
    const held = space.claim(`c-${round}`).acquire(60_000)
    const gone = space.delete('never')
    const before = proxy.swallowed()
    while (proxy.swallowed() === before) await new Promise((resolve) => setTimeout(resolve, 5))
    // They were applied, and the answers are nowhere.
    expect(here.get().value).toBe(1 + 100 * round)
    proxy.cut()
    await Promise.all(writes.map(({ durable }) => durable))
    expect((await held.result).fence).toBe(1)
    expect(await gone.changed).toBe(false)
    expect(here.get().value).toBe(1 + 100 * round)
  }
})

test('a session is its caller’s own, on whatever connection, and what is confirmed is not done again', async () => {
  await using it = await served(await openNode({ memory: true }))
  const write = (once: number) => ({
    do: 'op',
    space: 's',
    key: 'n',
    operation: { type: 'counter', op: 'incr', by: 1 },
    once,
  })
  await using one = await StreamClient.open(it.server.url)
  expect(await one.ask(write(1))).toMatchObject({ problem: { code: 'invalid_argument' } })
  expect(await one.ask({ do: 'session', session: 'short' })).toMatchObject({ problem: { code: 'invalid_argument' } })
  expect(await one.ask({ do: 'session', session: 'session-1' })).toMatchObject({ ok: { kept: 0 } })
  const first = await one.ask(write(1))
  await using two = await StreamClient.open(it.server.url)
  expect(await two.ask({ do: 'session', session: 'session-1' })).toMatchObject({ ok: { kept: 1 } })
  expect(await two.ask(write(1))).toMatchObject({ ok: { ...(first['ok'] as object), replayed: true } })
  await two.ask(write(2))
  await two.ask({ do: 'session', session: 'session-1', confirmed: 1 })
  expect(await one.ask(write(1))).toMatchObject({ problem: { code: 'invalid_argument' } })
  // Another session numbers its own.
  await one.ask({ do: 'session', session: 'session-2' })
  expect(await one.ask(write(1))).toMatchObject({ ok: { changed: true } })
  expect(it.node.space('s').counter('n').get().value).toBe(3)
})

test('answers survive a restart with their writes, and what was confirmed takes no room', async () => {
  await using folder = await mkdtempDisposable(`${tmpdir()}/skein-sessions-`)
  const open = async () => served(await openNode({ dir: `${folder.path}/data` }))
  const writes = Array.from({ length: 200 }, (_, at) => ({
    do: 'op',
    space: 's',
    key: 'n',
    operation: { type: 'counter', op: 'incr', by: 1 },
    once: at + 1,
  }))
  {
    await using it = await open()
    await using stream = await StreamClient.open(it.server.url)
    await stream.ask({ do: 'session', session: 'session-1' })
    for (const write of writes) await stream.ask(write)
  }
  {
    await using it = await open()
    await using stream = await StreamClient.open(it.server.url)
    expect(await stream.ask({ do: 'session', session: 'session-1' })).toMatchObject({ ok: { kept: 200 } })
    for (const write of writes) expect(await stream.ask(write)).toMatchObject({ ok: { replayed: true } })
    expect(it.node.space('s').counter('n').get().value).toBe(200)
    await stream.ask({ do: 'session', session: 'session-1', confirmed: 200 })
  }
  await using it = await open()
  await using stream = await StreamClient.open(it.server.url)
  expect(await stream.ask({ do: 'session', session: 'session-1' })).toMatchObject({ ok: { kept: 0 } })
})

test('a slow reader of a watch loses nothing: the node is asked again for what did not fit', async () => {
  await using it = await served(await openNode({ memory: true }))
  await using proxy = await between(it.server.port)
  await using client = await connect({ node: proxy.url })
  const here = it.node.space('s')
  here.register('begin').set(0)
  const watch = client.space('s').watch({ prefix: 'k' })
  await watch.ready
  const count = 5000
  for (let i = 0; i < count; i++) {
    here.register(`k${i}`).set(i)
    if (i % 100 === 99) await new Promise((resolve) => setImmediate(resolve))
    if (i === 2500) proxy.cut()
  }
  await client.space('s').register('k-last').set(1).durable
  const keys = new Set<string>()
  for await (const event of watch) {
    expect(event.kind).toBe('change')
    if (event.kind === 'change') keys.add(event.key)
    if (event.kind === 'change' && event.key === 'k-last') break
  }
  expect(keys.size).toBe(count + 1)
})

test('a watch ends with its signal, with its space, and with its client', async () => {
  await using it = await served(await openNode({ memory: true }))
  const client = await connect({ node: it.server.url })
  const space = client.space('s')
  await space.register('k').set(1).durable
  const stop = new AbortController()
  const [aborted, ended, closed] = [
    space.watch({ signal: stop.signal }),
    space.watch({ prefix: 'k' }),
    client.space('other').register('k').watch(),
  ]
  await Promise.all([aborted.ready, ended.ready, closed.ready])
  stop.abort()
  expect(await aborted.next()).toEqual({ done: true, value: undefined })
  await it.node.deleteSpace('s')
  expect(await ended.next()).toEqual({ done: true, value: undefined })
  await space.register('k').set(1).durable
  expect(await errorCode(space.watch({ since: 'nonsense' }).next())).toBe('invalid_token')
  await client.close()
  expect(await closed.next()).toEqual({ done: true, value: undefined })
})

test('[M9] what was done about a conflict is done once, and a watch that was cut off says so', async () => {
  const [node, , { id }] = await clash((agent, join) =>
    openNode({ memory: true, agent, listen: 'ws://127.0.0.1:0', join }),
  )
  await using it = await served(node)
  await using proxy = await between(it.server.port)
  await using client = await connect({ node: proxy.url })
  const watch = client.conflicts.watch()
  await watch.ready
  proxy.deaf = true
  const snoozed = client.conflicts.snooze(id, { forMs: 60_000 })
  while (node.conflicts.get(id)?.snoozed === undefined) await new Promise((resolve) => setTimeout(resolve, 5))
  const before = node.conflicts.get(id)?.snoozed
  proxy.cut()
  await snoozed.durable
  expect(node.conflicts.get(id)?.snoozed).toEqual(before)
  expect((await watch.next()).value).toEqual({ change: 'gap' })
  await client.conflicts.ack(id).durable
  expect((await watch.next()).value).toMatchObject({ change: 'acknowledged', id })
})
