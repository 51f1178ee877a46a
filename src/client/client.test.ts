/** The client against a real node behind a real server: the same answers as in the process, through whatever happens. */
import { expect, test } from 'vitest'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { jsonOf } from '../node/http/json.ts'
import { served, temporary } from '../node/http/server.test-kit.ts'
import { TokenStore } from '../node/security/tokens.ts'
import { openNode } from '../open.ts'
import { connect } from './client.ts'
import { errorCode, events } from './client.test-kit.ts'

const memory = () => openNode({ memory: true, agent: 'node' })

test('every type reads as it does in the process, empty and written', async () => {
  await using it = await served(await memory())
  await using client = await connect({ node: it.server.url, agent: 'agent-7' })
  const [here, there] = [it.node.space('s'), client.space('s')]
  const types = [
    'register',
    'record',
    'counter',
    'set',
    'flag',
    'log',
    'list',
    'claim',
    'budget',
    'text',
    'doc',
  ] as const
  for (const type of types) {
    const read = await there[type](`empty-${type}`).get()
    expect(read, type).toEqual(here[type](`empty-${type}`).get())
  }
  there.register('register').set([1, { a: null }])
  there.record('record').set({ a: 1, b: { c: 'x' }, gone: 1 })
  there.record('record').unset('gone')
  there.counter('counter').incr(3)
  there.counter('counter').incr()
  there.set('set').add('x', 'y', 'z')
  there.set('set').remove('x')
  there.set('set').removeForGood('y')
  there.flag('flag').enable()
  there.log('log').append(1, 2)
  there.log('log').appendKeeping(2, 3)
  there.list('list').insert(0, 'a', 'b', 'c')
  there.list('list').move(0, 2)
  there.list('list').remove(0)
  const { fence } = await there.claim('claim').acquire(60_000).result
  there.claim('claim').renew(fence, 60_000)
  there.budget('budget').grant(10)
  const { id } = await there.budget('budget').reserve(4).result
  there.budget('budget').settle(id, 3)
  there.budget('budget').spend(1)
  there.text('text').insert(0, 'hello')
  there.text('text').delete(0, 1)
  there.doc('doc').set(['a'], { b: 1 })
  for (const type of types) {
    // What reads behind a write sees it: nothing was awaited in between.
    const { version, ...read } = await there[type](type).get()
    const { version: dots, ...own } = here[type](type).get()
    expect(read, type).toEqual(own)
    expect(version.startsWith(dots), type).toBe(true)
    expect(read.by?.agent).toBe('agent-7')
    const siblings = await there[type](type).siblings()
    expect(siblings.length, type).toBe(here[type](type).siblings().length)
    expect(await there[type](type).history()).toEqual((await here[type](type).history()).map(jsonOf))
  }
  expect((await Array.fromAsync(there.entries())).map(({ key }) => key)).toEqual([...types].sort())
  expect((await Array.fromAsync(there.entries('re'))).map(({ key }) => key)).toEqual(['record', 'register'])
  expect(await there.read('counter')).toMatchObject({ type: 'counter', value: 4 })
  expect(await there.read('nothing')).toBeUndefined()
  expect((await client.spaces()).map(({ name }) => name)).toEqual(['s'])
})

test('a receipt tells what became of the write', async () => {
  await using it = await served(await memory())
  await using client = await connect({ node: it.server.url })
  const space = client.space('s')
  const receipt = space.register('k').set(1)
  expect(await receipt.changed).toBe(true)
  await receipt.durable
  expect(await receipt.version).toBe((await space.register('k').get()).version)
  expect(await receipt.reached({ peers: 0 })).toEqual([])
  expect(await errorCode(receipt.reached({ peers: 1, timeoutMs: 10 }))).toBe('not_reached')
  expect(await space.register('k').set(1).changed).toBe(false)
  expect(await space.delete('k').changed).toBe(true)
  expect(await space.delete('k').changed).toBe(false)
  expect(await errorCode(space.budget('b').spend(1).durable)).toBe('budget_exceeded')
  expect(await errorCode(space.as({ ttlMs: -1 }).register('k').set(1).durable)).toBe('invalid_argument')
  const brief = space.as({ agent: 'scout', reason: 'probing' })
  await brief.register('k').set(2).durable
  expect((await space.register('k').history()).at(-1)).toMatchObject({ agent: 'scout', reason: 'probing' })
})

test('a write that fails without anybody looking is told', async () => {
  await using it = await served(await memory())
  const told: unknown[] = []
  await using client = await connect({
    node: it.server.url,
    tell: (event) => event.kind === 'unseen' && told.push([event.space, event.key, event.error.code]),
  })
  client.space('s').budget('b').spend(1)
  void client.space('s').budget('c').spend(1).durable
  await client.flush()
  expect(told).toEqual([['s', 'b', 'budget_exceeded']])
})

test('a transaction is one change, on a condition where one is set', async () => {
  await using it = await served(await memory())
  await using client = await connect({ node: it.server.url })
  const space = client.space('s')
  let held: Promise<{ readonly fence: number }> | undefined
  const receipt = space.transact(
    (tx) => {
      tx.record('t').set({ status: 'doing' })
      tx.counter('n').incr(2)
      held = tx.claim('c').acquire(1000).result
    },
    { reason: 'taken' },
  )
  expect(await receipt.result).toMatchObject([null, null, { fence: 1 }])
  expect(await held).toMatchObject({ fence: 1 })
  expect((await receipt.entries).map(({ key }) => key)).toEqual(['t', 'n', 'c'])
  const { version } = await space.record('t').get()
  const step = (status: string) =>
    space.transact((tx) => {
      tx.record('t').set({ status })
      tx.counter('n').incr()
      tx.expect('t', version)
    })
  await step('done').durable
  expect(await errorCode(step('done twice').durable)).toBe('version_mismatch')
  expect((await space.counter('n').get()).value).toBe(3)
  expect(() => space.transact(() => undefined)).toThrow(/wrote nothing/)
  expect(() => space.transact((tx) => tx.record('t').get())).toThrow(/must be synchronous/)
  expect(() => space.transact((tx) => tx.record('t').watch())).toThrow(/not for a transaction/)
  expect(() => space.transact(async (tx) => tx.record('t').set({}))).toThrow(/must be synchronous/)
})

test('values that JSON would change in silence are refused, and names that no node takes', async () => {
  await using it = await served(await memory())
  await using client = await connect({ node: it.server.url })
  const space = client.space('s')
  const here = it.node.space('s')
  for (const value of [Number.NaN, Infinity, new Date(), '\ud800', [undefined], 1n, { a: () => 1 }]) {
    expect(() => space.register('k').set(value as never), typeof value).toThrow(SkeinError)
    expect(() => here.register('k').set(value as never), typeof value).toThrow(SkeinError)
  }
  expect(() => space.register('k').set(new Uint8Array(1))).toThrow(/not JSON data/)
  // The node would end the connection for what is over its bound in bytes.
  expect(await errorCode(space.register('k').set('日'.repeat(800_000)).durable)).toBe('too_large')
  expect(() => space.register('')).toThrow(SkeinError)
  expect(() => client.space('x'.repeat(200))).toThrow(SkeinError)
  expect(() => space.watch({ colour: 'red' } as never)).toThrow(/colour is not an option/)
})

test('many writes of one turn go in few frames, and what is beyond the bound is busy', async () => {
  await using it = await served(await memory())
  await using client = await connect({ node: it.server.url })
  const counter = client.space('s').counter('n')
  const write = (): number => {
    for (let count = 0; ; count++) {
      try {
        counter.incr()
      } catch (error) {
        expect(error).toMatchObject({ code: 'busy', retryable: true })
        return count
      }
    }
  }
  expect(write()).toBe(limits.clientRequests)
  expect(await errorCode(counter.get())).toBe('busy')
  await client.room()
  counter.incr()
  await client.flush()
  expect(client.waiting).toBe(0)
  expect((await counter.get()).value).toBe(limits.clientRequests + 1)
})

test('a signal gives a read up, and a write that was not sent', async () => {
  await using it = await served(await memory())
  await using client = await connect({ node: it.server.url })
  const stop = new AbortController()
  const space = client.space('s')
  const read = space.register('k').get({ signal: stop.signal })
  const write = space.as({ signal: stop.signal }).register('k').set(1)
  stop.abort()
  expect(await errorCode(read)).toBe('aborted')
  expect(await errorCode(write.durable)).toBe('aborted')
  expect((await space.register('k').get()).exists).toBe(false)
  expect(await errorCode(space.register('k').get({ signal: stop.signal }))).toBe('aborted')
  expect(await errorCode(connect({ node: it.server.url, signal: stop.signal }))).toBe('aborted')
})

test('a token says who it is, and what it may not is refused', async () => {
  await using folder = await temporary()
  const tokens = new TokenStore(folder.path('tokens.json'))
  await using it = await served(await memory(), { tokens })
  const { token } = tokens.create({ agent: 'agent-7', grants: [{ space: 's', prefix: '', rights: ['read', 'write'] }] })
  expect(await errorCode(connect({ node: it.server.url }))).toBe('unauthenticated')
  await using client = await connect({ node: it.server.url, token })
  await client.space('s').register('k').set(1).durable
  expect((await client.space('s').register('k').get()).by?.agent).toBe('agent-7')
  expect(await errorCode(client.space('other').register('k').set(1).durable)).toBe('forbidden')
  expect(await errorCode(events(client.space('other').watch(), 1))).toBe('forbidden')
})

test('a node that is not there is said to be so', async () => {
  expect(await errorCode(connect({ node: 'http://127.0.0.1:1', timeoutMs: 200 }))).toBe('peer_unreachable')
  expect(await errorCode(connect({ node: 'ftp://127.0.0.1:1' }))).toBe('invalid_address')
  expect(await errorCode(connect({ node: 'unix:/nowhere/node.sock', timeoutMs: 100 }))).toBe('peer_unreachable')
})

test('after close nothing is taken', async () => {
  await using it = await served(await memory())
  const client = await connect({ node: it.server.url })
  const space = client.space('s')
  const last = space.register('k').set(1)
  await client.close()
  await last.durable
  expect(it.node.space('s').register('k').get().value).toBe(1)
  expect(() => space.register('k').set(2)).toThrow(SkeinError)
  expect(await errorCode(space.register('k').get())).toBe('closed')
  expect(client.state).toBe('closed')
  await client.close()
})
