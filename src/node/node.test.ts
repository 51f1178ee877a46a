import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { limits } from '../base/limits.ts'
import { SkeinError } from '../base/errors.ts'
import { FaultyStore, openCrashableStore } from '../store/faulty.ts'
import { openMemoryStore } from '../store/memory.ts'
import type { Store } from '../store/store.ts'
import { SkeinNode } from './node.ts'
import type { NodeConfig } from './node.ts'
import type { WatchEvent } from './watch.ts'

let incarnations = 0

function open(store: Store, more: Partial<NodeConfig> = {}): Promise<SkeinNode> {
  return SkeinNode.open({
    store,
    agent: 'agent-7',
    durability: 'memory',
    retention: { keepMs: 1e12, keepBytes: 1e12 },
    cacheBytes: 1e6,
    node: 'aaaaaaaaaaaaaaaa',
    fresh: () => (++incarnations).toString(16).padStart(16, '0'),
    now: Date.now,
    ...more,
  })
}

function faulty(): FaultyStore {
  return new FaultyStore(openMemoryStore())
}

async function copyOf(store: Store): Promise<Store> {
  const copy = openMemoryStore()
  const batch = copy.batch()
  for await (const page of store.range({ gte: Uint8Array.of(0), lt: Uint8Array.of(0xff) })) {
    for (const [key, value] of page) batch.put(key, value)
  }
  await copy.write(batch, 'memory')
  return copy
}

async function take(events: AsyncIterator<WatchEvent, void, void>, count: number): Promise<WatchEvent[]> {
  const taken: WatchEvent[] = []
  while (taken.length < count) {
    const next = await events.next()
    if (next.done === true) break
    taken.push(next.value)
  }
  return taken
}

const refusedAs = (code: string): unknown => expect.objectContaining({ code })

describe('durable', () => {
  test('[N1] a write is visible at once and durable only after the store has it', async () => {
    const store = faulty()
    await using node = await open(store)
    const counter = node.space('s').counter('n')
    store.holdWrites()
    const receipt = counter.incr(2)
    expect(counter.get().value).toBe(2)
    let durable = false
    const waiting = receipt.durable.then(() => (durable = true))
    await sleep(20)
    expect(durable).toBe(false)
    store.release()
    await waiting
    expect(store.lastBatch).toBeGreaterThan(0)
  })

  test('[N2] writers that wait together share a batch', async () => {
    const store = openMemoryStore()
    await using node = await open(store)
    const space = node.space('s')
    await space.counter('n').incr().durable
    const before = store.lastBatch
    await Promise.all(Array.from({ length: 64 }, (_, i) => space.counter(`n${i}`).incr().durable))
    expect(store.lastBatch).toBe(before + 1)
  })

  test('[N3] a write that changes nothing is as durable as what it found', async () => {
    const store = faulty()
    await using node = await open(store)
    const flag = node.space('s').flag('f')
    expect(flag.disable().changed).toBe(false)
    await flag.disable().durable
    store.holdWrites()
    flag.enable()
    const again = flag.enable()
    expect(again.changed).toBe(false)
    let durable = false
    const waiting = again.durable.then(() => (durable = true))
    await sleep(20)
    expect(durable).toBe(false)
    store.release()
    await waiting
  })

  test('[N3] a write that changes nothing asks for the sync that what it found never had', async () => {
    const store = openCrashableStore()
    await using node = await open(store, { durability: 'os' })
    const space = node.space('s')
    await space.flag('f').enable().durable
    const before = store.lastBatch
    await space.flag('f').enable().durable
    expect(store.lastBatch).toBe(before)
    await space.as({ durability: 'disk' }).flag('f').enable().durable
    expect(store.lastBatch).toBe(before + 1)
    await space.as({ durability: 'disk' }).flag('f').enable().durable
    expect(store.lastBatch).toBe(before + 1)
  })
})

describe('a disk that is full', () => {
  test('[N4] refuses writes, keeps those that returned, reads on, and recovers by itself', async () => {
    const store = faulty()
    await using node = await open(store)
    const counter = node.space('s').counter('n')
    await counter.incr().durable
    store.failWrites(2)
    const caught = counter.incr()
    await expect.poll(() => node.status().state).toBe('full')
    expect(() => counter.incr()).toThrow(refusedAs('store_full'))
    expect(counter.get().value).toBe(2)
    const listed: unknown[] = []
    for await (const entry of node.space('s').entries()) listed.push(entry.value)
    expect(listed).toEqual([2])
    await caught.durable
    expect(node.status().state).toBe('open')
    await counter.incr().durable
    expect(counter.get().value).toBe(3)
  })

  test('[N5] closing while it is full says what was not durable', async () => {
    const store = faulty()
    const node = await open(store)
    store.failWrites(1000)
    const receipt = node.space('s').counter('n').incr()
    const outcome = receipt.durable.then(
      () => 'durable',
      (error: { code: string }) => error.code,
    )
    await expect.poll(() => node.status().state).toBe('full')
    await node.close()
    expect(await outcome).toBe('closed')
    expect(() => node.space('s')).toThrow(refusedAs('closed'))
  })

  test('[N7] damage found while writing is final: what waits is told, reads go on', async () => {
    const store = faulty()
    await using node = await open(store)
    const counter = node.space('s').counter('n')
    await counter.incr().durable
    const write = store.write.bind(store)
    store.write = () => Promise.reject(new SkeinError('store_damaged', 'acknowledged batches are missing'))
    await expect(counter.incr().durable).rejects.toMatchObject({ code: 'store_damaged' })
    expect(() => counter.incr()).toThrow(refusedAs('store_damaged'))
    expect(counter.get().value).toBe(2)
    expect(node.status().state).toBe('failing')
    store.write = write
  })

  test('[N5] closing after damage closes the store; closing while a purge waits for a full disk ends', async () => {
    const damaged = faulty()
    const one = await open(damaged)
    one.space('s').counter('n').incr()
    damaged.write = () => Promise.reject(new SkeinError('store_damaged', 'acknowledged batches are missing'))
    await expect.poll(() => one.status().state).toBe('failing')
    await one.close()
    expect(() => damaged.get(Uint8Array.of(1))).toThrow(refusedAs('closed'))

    const full = faulty()
    const two = await open(full)
    for (let i = 0; i < 50; i++) two.space('s').counter(`n${i}`).incr()
    await two.flush()
    const deleting = two.deleteSpace('s').catch((error: { code: string }) => error.code)
    full.failWrites(1000)
    two.space('t').counter('n').incr()
    await two.close()
    await deleting
  })

  test('[N6] a writer that does not wait is told that the node is busy, and nothing of that write happened', async () => {
    const store = faulty()
    await using node = await open(store)
    const space = node.space('s')
    store.holdWrites()
    const value = 'x'.repeat(200_000)
    let written = 0
    const flood = (): void => {
      for (; written < 2 * (limits.uncommittedBytes / value.length); written++) space.register(`k${written}`).set(value)
    }
    expect(flood).toThrow(refusedAs('busy'))
    expect(space.register(`k${written}`).get().exists).toBe(false)
    store.release()
    await node.flush()
    space.register(`k${written}`).set(value)
  })
})

describe('watching', () => {
  test('[W1] tells of every change under its prefix, with agent and reason, and nothing else', async () => {
    await using node = await open(openMemoryStore())
    const space = node.space('s')
    const events = space.watch({ prefix: 't-' })
    space.counter('other').incr()
    space.as({ agent: 'agent-9', reason: 'why' }).record('t-1').set({ status: 'doing' })
    space.delete('t-1')
    const change = (await events.next()).value as WatchEvent
    expect(change).toMatchObject({
      kind: 'change',
      key: 't-1',
      type: 'record',
      agent: 'agent-9',
      reason: 'why',
      deleted: false,
    })
    expect((await events.next()).value).toMatchObject({ key: 't-1', type: undefined, deleted: true })
    await events.return()
  })

  test('[W1] who asks twice before anything happens gets the first change and the second', async () => {
    await using node = await open(openMemoryStore())
    const space = node.space('s')
    const events = space.watch()
    const asked = [events.next(), events.next(), events.next()]
    for (const key of ['a', 'b']) space.counter(key).incr()
    await events.return()
    space.counter('c').incr()
    const results = await Promise.all([...asked, events.next()])
    expect(results.map(({ value }) => (value?.kind === 'change' ? value.key : value))).toEqual([
      'a',
      'b',
      undefined,
      undefined,
    ])
  })

  test('[W1] the process stays while somebody waits for a change, and no longer', async () => {
    await using node = await open(openMemoryStore())
    const space = node.space('s')
    const events = space.watch()
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const before = timers()
    for (let round = 0; round < 2; round++) {
      const next = events.next()
      expect(timers()).toBe(before + 1)
      space.counter('n').incr()
      expect(timers()).toBe(before)
      await next
    }
    const last = events.next()
    expect(timers()).toBe(before + 1)
    await events.return()
    expect(timers()).toBe(before)
    await last
  })

  test('[W2] resumes after a token with exactly what came since, also over a restart', async () => {
    const store = openMemoryStore()
    let token: string
    {
      const node = await open(store)
      const space = node.space('s')
      const events = space.watch()
      const seen = take(events, 3)
      for (let i = 0; i < 6; i++) space.counter(`n${i}`).incr()
      token = (await seen).at(-1)!.token
      await node.flush()
      await events.return()
    }
    await using node = await open(store)
    const space = node.space('s')
    space.counter('later').incr()
    const resumed = await take(space.watch({ since: token }), 4)
    expect(resumed.map((event) => (event.kind === 'change' ? event.key : event.kind))).toEqual([
      'n3',
      'n4',
      'n5',
      'later',
    ])
  })

  test('[W3] a watcher that falls behind is told so, and finds what it missed from the token it is given', async () => {
    await using node = await open(openMemoryStore())
    const space = node.space('s')
    const events = space.watch()
    const first = events.next()
    const count = limits.watchBuffer + 500
    space.counter('n0').incr()
    await first
    for (let i = 1; i < count; i++) space.counter(`n${i}`).incr()
    const gap = (await events.next()).value as WatchEvent
    expect(gap).toMatchObject({ kind: 'gap', cause: 'slow' })
    const resumed = await take(space.watch({ since: gap.token }), count - 1)
    expect(resumed.map((event) => (event.kind === 'change' ? event.key : event.kind))).toEqual(
      Array.from({ length: count - 1 }, (_, i) => `n${i + 1}`),
    )
    await events.return()
  })

  test('[W4] a token from before what the log still holds gives a gap first', async () => {
    await using node = await open(openMemoryStore())
    const space = node.space('s')
    const events = space.watch()
    const first = events.next()
    for (let i = 0; i < 600; i++) space.counter('n').incr()
    const { token } = (await first).value as WatchEvent
    await events.return()
    await node.prune({ keepMs: 0 })
    await sleep(2)
    space.counter('n').incr()
    const [gap, next] = await take(space.watch({ since: token }), 2)
    expect(gap).toMatchObject({ kind: 'gap', cause: 'pruned' })
    expect(next).toMatchObject({ kind: 'change', key: 'n' })
    expect(() => space.watch({ since: 'nonsense' })).toThrow(refusedAs('invalid_token'))
  })

  test('[W6] a token of a history that a restored directory does not have gives a gap, not another change', async () => {
    const store = openMemoryStore()
    const first = await open(store)
    for (let i = 0; i < 3; i++) first.space('s').counter('n').incr()
    await first.flush()
    const backup = await copyOf(store)
    for (let i = 0; i < 3; i++) first.space('s').counter('n').incr()
    const events = first.space('s').watch()
    first.space('s').counter('n').incr()
    const { token } = (await events.next()).value as WatchEvent
    await first.flush()
    await first.close()
    await using restored = await open(backup)
    const space = restored.space('s')
    expect((await space.watch({ since: token }).next()).value).toMatchObject({ kind: 'gap', cause: 'restored' })
    for (let i = 0; i < 9; i++) space.counter('other').incr()
    expect((await space.watch({ since: token }).next()).value).toMatchObject({ kind: 'gap', cause: 'restored' })
  })

  test('[W6] a token from the middle of a transaction is held to its history too', async () => {
    const store = openMemoryStore()
    const first = await open(store)
    first.space('s').counter('n').incr()
    await first.flush()
    const copy = await copyOf(store)
    const events = first.space('s').watch()
    for (let i = 0; i < 3; i++) {
      first.space('s').transact((tx) => {
        tx.counter('a').incr()
        tx.counter('b').incr()
      })
    }
    const seen = await take(events, 5)
    const middle = seen.at(-1)!
    const again = await take(first.space('s').watch({ since: middle.token }), 2)
    expect(again.map((event) => (event.kind === 'change' ? event.key : event.kind))).toEqual(['a', 'b'])
    await first.close()
    await using restored = await open(copy)
    for (let i = 0; i < 9; i++) restored.space('s').counter('other').incr()
    const [gap] = await take(restored.space('s').watch({ since: middle.token }), 1)
    expect(gap).toMatchObject({ kind: 'gap', cause: 'restored' })
  })

  test('[W5] ends with its signal, with its space and with its node', async () => {
    const node = await open(openMemoryStore())
    const stop = new AbortController()
    const ends = [
      node.space('a').watch({ signal: stop.signal }).next(),
      node.space('b').watch().next(),
      node.space('c').watch().next(),
    ]
    await sleep(5)
    stop.abort()
    await node.deleteSpace('b')
    await node.close()
    expect((await Promise.all(ends)).map(({ done }) => done)).toEqual([true, true, true])
  })
})

describe('time', () => {
  test('[T1] what was written with ttlMs is deleted after that time, in history too, and what replaced it stays', async () => {
    const store = openMemoryStore()
    await using node = await open(store)
    const space = node.space('s')
    space.as({ ttlMs: 30 }).register('short').set(1)
    space.as({ ttlMs: 30 }).register('replaced').set(1)
    space.register('replaced').set(2)
    await expect.poll(() => space.register('short').get().exists).toBe(false)
    expect(space.register('replaced').get().value).toBe(2)
    const history = await space.register('short').history()
    expect(history.map(({ reason }) => reason)).toEqual([undefined, 'expired'])
  })

  test('[T1] a scan that fails puts the deletion off, and no more', async () => {
    const store = faulty()
    await using node = await open(store)
    node.space('s').as({ ttlMs: 20 }).register('short').set(1)
    const range = store.range.bind(store)
    let failures = 1
    store.range = (wanted) => {
      if (failures-- > 0) throw new SkeinError('busy', 'the store is reopening')
      return range(wanted)
    }
    await expect.poll(() => node.space('s').register('short').get().exists, { timeout: 12_000 }).toBe(false)
  })

  test('[T2] what expired while the node was down goes when it opens', async () => {
    const store = openMemoryStore()
    const first = await open(store)
    first.space('s').as({ ttlMs: 10 }).register('short').set(1)
    await first.flush()
    await sleep(20)
    await using second = await open(store)
    await expect.poll(() => second.space('s').register('short').get().exists).toBe(false)
  })
})

describe('listing', () => {
  test('[L1] large entries that change meanwhile are listed, not taken for damage', async () => {
    await using node = await open(openMemoryStore(), { cacheBytes: 1 })
    const space = node.space('s')
    const elements = (from: number): string[] => Array.from({ length: 800 }, (_, i) => `element ${from + i}`)
    for (const key of ['a', 'b', 'c']) space.set(key).add(...elements(0))
    await node.flush()
    const listed: number[] = []
    for await (const { key, value } of space.entries()) {
      listed.push((value as unknown[]).length)
      if (key !== 'a') continue
      for (const other of ['b', 'c']) {
        space.set(other).remove(...elements(0))
        space.set(other).add('one')
      }
      await node.flush()
    }
    expect(listed).toHaveLength(3)
    expect(listed[0]).toBe(800)
    for (const length of listed.slice(1)) expect([1, 800]).toContain(length)
  })
})

describe('spaces', () => {
  test('[S1] a deleted space leaves no rows but its name, and comes back empty as another generation', async () => {
    const store = openMemoryStore()
    await using node = await open(store)
    const space = node.space('s')
    for (let i = 0; i < 300; i++) space.record(`k${i}`).set({ i })
    await node.flush()
    expect(await node.deleteSpace('s')).toBe(true)
    expect(await node.deleteSpace('s')).toBe(false)
    expect(() => space.record('k1').get()).toThrow(refusedAs('space_deleted'))
    let rows = 0
    for await (const page of store.range({ gte: Uint8Array.of(5), lt: Uint8Array.of(0x0c) })) rows += page.length
    expect(rows).toBe(0)
    expect(node.space('s').status()).toMatchObject({ generation: 2, entries: 0 })
  })
})
