/** Claims held, tasks taken, fields filtered, lines out and in: with a node in the process, and over a client of one. */
import { describe, expect, test } from 'vitest'
import { connect } from '../client/client.ts'
import type { SkeinClient } from '../client/client.ts'
import { errorCode } from '../client/client.test-kit.ts'
import { served } from '../node/http/server.test-kit.ts'
import type { Served } from '../node/http/server.test-kit.ts'
import type { SkeinNode } from '../node/node.ts'
import { openNode } from '../open.ts'
import { exportLines, importLines } from './lines.ts'

interface Both extends AsyncDisposable {
  readonly it: Served
  /** As the caller has it. */
  readonly api: SkeinNode | SkeinClient
}

const open = {
  async 'in the process'(): Promise<Both> {
    const it = await served(await openNode({ memory: true, agent: 'agent-7' }))
    return { it, api: it.node, [Symbol.asyncDispose]: () => it[Symbol.asyncDispose]() }
  },
  async 'over a client'(): Promise<Both> {
    const it = await served(await openNode({ memory: true }))
    const api = await connect({ node: it.server.url, agent: 'agent-7' })
    return {
      it,
      api,
      async [Symbol.asyncDispose]() {
        await api.close()
        await it[Symbol.asyncDispose]()
      },
    }
  },
}

const nap = () => new Promise((resolve) => setTimeout(resolve, 5))
const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))

describe.each(Object.entries(open))('%s', (_, begin) => {
  test('a claim is held while the work lasts: renewed by itself, released at the end', async () => {
    await using both = await begin()
    const here = both.it.node.space('s').claim('c')
    const answer = await both.api
      .space('s')
      .claim('c')
      .hold(
        async (signal, fence) => {
          expect(here.get().value).toMatchObject({ holder: 'agent-7', fence })
          const { until } = here.get().value
          while (here.get().value.until === until) await nap()
          expect(signal.aborted).toBe(false)
          return 'done'
        },
        { ttlMs: 300 },
      )
    expect(answer).toBe('done')
    expect(here.get().value).toMatchObject({ holder: null, fence: 1 })
  })

  test('what the work throws comes out, and the claim is released', async () => {
    await using both = await begin()
    const claim = both.api.space('s').claim('c')
    const failing = claim.hold(() => {
      throw new Error('the work failed')
    })
    await expect(failing).rejects.toThrow('the work failed')
    expect(both.it.node.space('s').claim('c').get().value.holder).toBe(null)
  })

  test('a claim that another holds is not worked under', async () => {
    await using both = await begin()
    both.it.node.space('s').as({ agent: 'other' }).claim('c').acquire(60_000)
    expect(
      await errorCode(
        both.api
          .space('s')
          .claim('c')
          .hold(() => expect.fail('it worked')),
      ),
    ).toBe('claim_held')
  })

  test('the work is told at once when the claim is lost, and cannot pretend', async () => {
    await using both = await begin()
    const operator = both.it.node.space('s').as({ agent: 'operator' })
    const held = both.api
      .space('s')
      .claim('c')
      .hold(async (signal) => {
        // By force, and another takes it: long before it would be renewed.
        operator.claim('c').delete()
        operator.claim('c').acquire(60_000)
        await aborted(signal)
        return 'as if nothing had happened'
      })
    expect(await errorCode(held)).toBe('stale_fence')
    expect(operator.claim('c').get().value).toMatchObject({ holder: 'operator', fence: 2 })
  })

  test('a signal from outside reaches the work, and the claim is released when it has stopped', async () => {
    await using both = await begin()
    const stop = new AbortController()
    const held = both.api
      .space('s')
      .claim('c')
      .hold(
        async (signal) => {
          stop.abort('enough')
          return signal.reason as unknown
        },
        { signal: stop.signal },
      )
    expect(await held).toBe('enough')
    expect(both.it.node.space('s').claim('c').get().value.holder).toBe(null)
  })

  test('every task is taken once, whoever asks, and not all begin at the same one', async () => {
    await using both = await begin()
    const keys = Array.from({ length: 30 }, (_, i) => `t-${i}`)
    for (const [i, key] of keys.entries())
      both.it.node
        .space('s')
        .record(key)
        .set({ status: i < 24 ? 'todo' : 'done' })
    const firsts = new Set<string>()
    const taken = await Promise.all(
      ['a', 'b', 'c', 'a', 'b', 'c'].map(async (agent) => {
        const space = both.api.space('s').as({ agent })
        const own: string[] = []
        for (;;) {
          const task = await space.claimNext('t-', { where: { status: 'todo' } })
          if (task === undefined) return own
          if (own.length === 0) firsts.add(task.key)
          expect(task).toMatchObject({
            type: 'record',
            value: { status: 'todo' },
            fence: 1,
            claimKey: `${task.key}/claim`,
          })
          own.push(task.key)
        }
      }),
    )
    expect(taken.flat().toSorted()).toEqual(keys.slice(0, 24).toSorted())
    expect(firsts.size).toBeGreaterThan(1)
  })

  test('a task is free again when its claim was released or ran out, and is worked under its claim', async () => {
    await using both = await begin()
    const space = both.api.space('s')
    both.it.node.space('s').record('t').set({ n: 1 })
    const first = await space.claimNext('t')
    expect(first).toMatchObject({ key: 't', fence: 1 })
    expect(await space.claimNext('t')).toBeUndefined()
    await first?.claim.hold((_signal, fence) => expect(fence).toBe(1))
    const second = await space.claimNext('t', { ttlMs: 1 })
    expect(second?.fence).toBe(2)
    await nap()
    expect((await space.claimNext('t'))?.fence).toBe(3)
    const elsewhere = await space.claimNext('t', { claimOf: (key) => `claims/${key}` })
    expect(elsewhere).toMatchObject({ fence: 1, claimKey: 'claims/t' })
    expect(await space.claimNext('nothing')).toBeUndefined()
  })

  test('records are listed by their fields, of the very type that was asked for', async () => {
    await using both = await begin()
    const here = both.it.node.space('s')
    here.record('r-1').set({ n: 2, of: { who: 'x' }, gone: null })
    here.record('r-2').set({ n: '2', of: { who: 'y' } })
    here.register('r-3').set({ n: 2 })
    here.record('q-1').set({ n: 2 })
    const keys = async (query: object) =>
      (await Array.fromAsync(both.api.space('s').entries(query))).map(({ key }) => key)
    expect(await keys({ where: { n: 2 } })).toEqual(['q-1', 'r-1'])
    expect(await keys({ where: { n: '2' } })).toEqual(['r-2'])
    expect(await keys({ prefix: 'r-', where: { n: 2 } })).toEqual(['r-1'])
    expect(await keys({ where: { 'of.who': 'x', gone: null } })).toEqual(['r-1'])
    expect(await keys({ where: { missing: null } })).toEqual([])
    expect(await keys({ prefix: 'r-', where: {} })).toEqual(['r-1', 'r-2', 'r-3'])
    expect(await errorCode(keys({ where: { n: [1] } }))).toBe('invalid_argument')
  })

  test('what is exported as lines and imported elsewhere is the same', async () => {
    await using both = await begin()
    const here = both.it.node.space('a')
    here.register('register').set({ x: [1, null] })
    here.record('record').set({ b: { c: 1 } })
    here.counter('counter').incr(7)
    here.set('set').add(1, 'x')
    here.flag('flag').enable()
    here.log('log').append('one', 'two')
    here.list('list').insert(0, 'x', 'y')
    here.text('text').insert(0, 'hello')
    here.doc('doc').set(['a'], { b: 1 })
    here.budget('budget').grant(5)
    both.it.node.space('b').claim('claim').acquire(1000)
    const lines = await Array.fromAsync(exportLines(both.api))
    expect(lines.length).toBe(11)
    await using other = await begin()
    expect(await importLines(other.api, lines)).toEqual({ lines: 11, entries: 9, leftOut: { budget: 1, claim: 1 } })
    const again = await Array.fromAsync(exportLines(other.api))
    expect(again).toEqual(lines.filter((line) => !/"type":"(budget|claim)"/.test(line)))
    expect(await importLines(other.api, lines.slice(0, 3), { into: 'copy' })).toMatchObject({ lines: 3 })
    expect(await errorCode(importLines(other.api, ['{"space":"s"}']))).toBe('malformed')
    expect(await errorCode(importLines(other.api, ['', 'no']))).toBe('malformed')
    expect((await Array.fromAsync(exportLines(other.api, { spaces: ['copy'], prefix: 'c' }))).length).toBe(1)
  })
})

test('a claim whose node is gone for longer than its time is lost to the work', async () => {
  const it = await served(await openNode({ memory: true }))
  await using client = await connect({ node: it.server.url, agent: 'agent-7' })
  const held = client
    .space('s')
    .claim('c')
    .hold(
      async (signal) => {
        await it[Symbol.asyncDispose]()
        await aborted(signal)
      },
      { ttlMs: 400 },
    )
  expect(await errorCode(held)).toBe('stale_fence')
  await client.close({ timeoutMs: 0 })
})
