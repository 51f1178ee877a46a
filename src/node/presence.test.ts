/** Presence over real sockets: nodes that meet, servers before them, and clients that come and go. */
import { mkdtempDisposable, readFile, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { limits } from '../base/limits.ts'
import { connect } from '../client/client.ts'
import { openNode } from '../open.ts'
import type { OpenOptions } from '../open.ts'
import { StreamClient } from './http/stream.test-kit.ts'
import { served } from './http/server.test-kit.ts'
import type { SkeinNode } from './node.ts'
import type { PresenceEvent } from './presence.ts'
import { TokenStore } from './security/tokens.ts'

async function open(options: Partial<OpenOptions> = {}): Promise<SkeinNode> {
  const node = await openNode({ memory: true, listen: ['ws://127.0.0.1:0'], ...options })
  onTestFinished(() => node.close())
  return node
}

async function until(isSo: () => boolean | Promise<boolean>, withinMs = 15_000): Promise<void> {
  const endMs = Date.now() + withinMs
  while (!(await isSo())) {
    if (Date.now() > endMs) throw new Error(`not so within ${withinMs} ms: ${isSo.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function pair(more: Partial<OpenOptions> = {}): Promise<[SkeinNode, SkeinNode]> {
  const a = await open({ agent: 'ann' })
  const b = await open({ agent: 'bob', join: a.status().addresses, ...more })
  a.space('s')
  b.space('s')
  await until(() => [a, b].every((node) => node.peers.list().some(({ linked }) => linked)))
  return [a, b]
}

const agents = (node: SkeinNode): string[] =>
  node
    .space('s')
    .presence.list()
    .map(({ agent }) => agent)

test('[PR1] what an agent shows is seen at the other node, and withdrawn there too', async () => {
  const [a, b] = await pair()
  const seen: PresenceEvent[] = []
  const stop = new AbortController()
  const watching = (async () => {
    for await (const event of b.space('s').presence.watch({ signal: stop.signal })) seen.push(event)
  })()
  await until(() => seen.length === 1)
  a.space('s').presence.set({ doing: 't-1' })
  await until(() => seen.length === 2)
  const [here] = b.space('s').presence.list()
  expect(here).toMatchObject({ agent: 'ann', node: a.id, value: { doing: 't-1' } })
  expect(here?.leftMs).toBeGreaterThan(25_000)
  a.space('s').as({ agent: 'cyd' }).presence.set('too', { ttlMs: 300 })
  await until(() => agents(b).length === 2)
  await until(() => agents(b).length === 1)
  a.space('s').presence.clear()
  await until(() => agents(b).length === 0)
  await until(() => seen.length === 5)
  stop.abort()
  await watching
  expect(seen).toEqual([
    { kind: 'all', present: [] },
    { kind: 'here', agent: 'ann', node: a.id, value: { doing: 't-1' } },
    { kind: 'here', agent: 'cyd', node: a.id, value: 'too' },
    { kind: 'gone', agent: 'cyd', node: a.id },
    { kind: 'gone', agent: 'ann', node: a.id },
  ])
})

test('[PR2] it goes with a node that leaves, and a space that ends', async () => {
  const [a, b] = await pair()
  b.space('s').presence.set(1, { ttlMs: limits.presenceMs })
  await until(() => agents(a).length === 1)
  const watch = a.space('s').presence.watch()
  await b.close()
  await until(() => agents(a).length === 0)
  a.space('s').presence.set(2)
  await a.deleteSpace('s')
  expect(agents(a)).toEqual([])
  const events = await Array.fromAsync(watch)
  expect(events.at(-1)?.kind === 'gone' || events.length === 0 || events[0]?.kind === 'all').toBe(true)
})

test('[PR5] nothing of it is on a disk, in a vector, or in a history, and a restart knows nothing', async () => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'skein-presence-'))
  const secret = 'seen-and-not-kept'
  const node = await openNode({ dir: dir.path, agent: 'ann' })
  node.space('s').register('k').set('kept-by-the-disk')
  for (let step = 0; step < 50; step++) node.space('s').presence.set(`${secret}-${step}`)
  expect(agents(node)).toEqual(['ann'])
  const { spaces } = node.status()
  expect(spaces).toMatchObject([{ entries: 1, siblings: 1, origins: 1 }])
  expect(await Array.fromAsync(node.space('s').entries())).toHaveLength(1)
  await node.close()
  let bytes = ''
  for (const name of await readdir(dir.path, { recursive: true, withFileTypes: true })) {
    if (name.isFile()) bytes += await readFile(join(name.parentPath, name.name), 'latin1')
  }
  expect(bytes).toContain('kept-by-the-disk')
  expect(bytes).not.toContain(secret)
  await using again = await openNode({ dir: dir.path, agent: 'ann' })
  expect(agents(again)).toEqual([])
})

test('[PR4] what is too large, too long or for nobody is refused', async () => {
  const node = await open()
  const { presence } = node.space('s')
  expect(() => presence.set('x'.repeat(limits.presenceBytes))).toThrow(`may take ${limits.presenceBytes}`)
  for (const ttlMs of [0, -1, 1.5, limits.presenceMs + 1]) expect(() => presence.set(1, { ttlMs })).toThrow('ttlMs is')
  expect(() => presence.set(Number.NaN)).toThrow('no canonical form')
  await expect(presence.keep(1, {} as never)).rejects.toThrow('takes a signal')
  const many = Array.from({ length: limits.presences }, (_, at) => `agent-${at}`)
  for (const agent of many) node.space('s').as({ agent }).presence.set(1)
  expect(() => presence.set(1)).toThrow('agents are present')
  node.space('s').as({ agent: 'agent-7' }).presence.set(2)
  await node.close()
  expect(() => presence.list()).toThrow('closed')
})

test('[PR1] kept while a signal lasts, however short its time', async () => {
  const [a, b] = await pair()
  const stop = new AbortController()
  const kept = a.space('s').presence.keep({ at: 'work' }, { signal: stop.signal, ttlMs: 150 })
  await until(() => agents(b).length === 1)
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  expect(agents(b)).toEqual(['ann'])
  stop.abort()
  await kept
  await until(() => agents(b).length === 0)
})

test('[PR6] over HTTP: shown, listed, told as events, withdrawn, within the rights of a token', async () => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'skein-presence-'))
  const tokens = new TokenStore(join(dir.path, 'tokens.json'))
  const { token: text } = tokens.create({
    agent: 'ann',
    grants: [{ space: 's', prefix: 'mine/', rights: ['read', 'write'] }],
  })
  const { token: reader } = tokens.create({ agent: 'bob', grants: [{ space: 's', prefix: '', rights: ['read'] }] })
  const elsewhere = [{ space: 'other', prefix: '', rights: ['read', 'write'] as const }]
  const { token: stranger } = tokens.create({ agent: 'eve', grants: elsewhere })
  await using it = await served(await openNode({ memory: true }), { tokens })
  const as = (token: string, body?: unknown) => ({
    headers: { authorization: `Bearer ${token}` },
    ...(body !== undefined && { body }),
  })
  const path = '/v1/spaces/s/presence'
  expect(await it.ask('PUT', `${path}/ann`, as(text, { value: { doing: 1 } }))).toMatchObject({
    status: 200,
    body: { shown: 'ann' },
  })
  expect(await it.ask('GET', path, as(reader))).toMatchObject({
    status: 200,
    body: { present: [{ agent: 'ann', node: it.node.id, value: { doing: 1 } }] },
  })
  expect(await it.ask('PUT', `${path}/bob`, as(text, { value: 1 }))).toMatchObject({
    status: 403,
    body: { code: 'forbidden' },
  })
  expect(await it.ask('PUT', `${path}/bob`, as(reader, { value: 1 }))).toMatchObject({ status: 403 })
  expect(await it.ask('GET', path, as(stranger))).toMatchObject({ status: 403 })
  expect(await it.ask('PUT', `${path}/ann`, as(text, { value: 1, ttlMs: 0 }))).toMatchObject({ status: 400 })
  expect(await it.ask('PUT', `${path}/ann`, as(text, { value: 'x'.repeat(5_000) }))).toMatchObject({
    status: 413,
    body: { code: 'too_large' },
  })
  expect(await it.ask('PUT', `${path}/ann`, as(text, {}))).toMatchObject({ status: 400 })
  const stop = new AbortController()
  const answer = await fetch(`${it.server.url}/v1/watch/presence?space=s`, {
    headers: { authorization: `Bearer ${reader}` },
    signal: stop.signal,
  })
  const events = (answer.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader()
  let told = ''
  const reads = async (what: string): Promise<void> => {
    while (!told.includes(what)) told += (await events.read()).value ?? ''
  }
  await reads('event: all')
  await it.ask('DELETE', `${path}/ann`, as(text))
  await reads('event: gone')
  expect(told).toContain(`data: {"kind":"gone","agent":"ann","node":"${it.node.id}"}`)
  stop.abort()
  expect(await it.ask('GET', '/v1/spaces/nobody/presence', as(reader))).toMatchObject({ status: 403 })
})

test('[PR6] over the stream: watched by two, and asked for in a wrong way', async () => {
  await using it = await served(await openNode({ memory: true }))
  it.node.space('s')
  await using one = await StreamClient.open(it.server.url)
  expect(await one.ask({ do: 'watch', space: 's', presence: true })).toMatchObject({ ok: { watching: true } })
  expect(await one.take(({ watch }) => watch === 1)).toMatchObject({ event: { kind: 'all', present: [] } })
  expect(await one.ask({ do: 'show', space: 's', agent: 'ann', value: [1] })).toMatchObject({ ok: { shown: true } })
  expect(await one.take(({ watch }) => watch === 1)).toMatchObject({
    event: { kind: 'here', agent: 'ann', value: [1] },
  })
  expect(await one.ask({ do: 'present', space: 's' })).toMatchObject({ ok: { present: [{ agent: 'ann' }] } })
  for (const wrong of [
    { do: 'watch', space: 's', presence: 1 },
    { do: 'watch', space: 's', presence: true, prefix: 'a' },
    { do: 'show', space: 's', agent: '', value: 1 },
    { do: 'show', space: 's', agent: 'ann', value: 1, ttlMs: 0 },
  ]) {
    expect(await one.ask(wrong), JSON.stringify(wrong)).toHaveProperty('problem')
  }
  expect(await one.ask({ do: 'unwatch', watch: 1 })).toMatchObject({ ok: { watching: false } })
  expect(await one.take(({ watch }) => watch === 1)).toMatchObject({ end: 'over' })
})

test('[PR6] a client sees who is there over a node that goes and comes, and is seen as long as it lives', async () => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'skein-presence-'))
  const start = async (port: number) => served(await openNode({ dir: dir.path, agent: 'node' }), { port })
  const first = await start(0)
  const port = Number(new URL(first.server.url).port)
  await using client = await connect({ node: first.server.url, agent: 'ann', tell: () => undefined })
  const { presence } = client.space('s')
  expect(await presence.list()).toEqual([])
  const seen: PresenceEvent<unknown>[] = []
  const stop = new AbortController()
  const watching = (async () => {
    for await (const event of presence.watch({ signal: stop.signal })) seen.push(event)
  })()
  const kept = presence.keep({ doing: 't' }, { signal: stop.signal, ttlMs: 300 })
  await until(
    () =>
      seen.some((event) => event.kind === 'all' && event.present.length === 1) ||
      seen.some(({ kind }) => kind === 'here'),
  )
  await first[Symbol.asyncDispose]()
  seen.length = 0
  await using second = await start(port)
  second.node.space('s')
  await until(async () =>
    second.node
      .space('s')
      .presence.list()
      .some(({ agent }) => agent === 'ann'),
  )
  await until(() => seen.some(({ kind }) => kind === 'all'))
  expect(await presence.list()).toMatchObject([{ agent: 'ann', value: { doing: 't' } }])
  await expect(presence.set(undefined)).rejects.toThrow('a value is missing')
  stop.abort()
  await kept
  await watching
  expect(await presence.list()).toEqual([])
})
