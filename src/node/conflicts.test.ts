/** Conflicts as programs see them: nodes that were apart, over a network within the process. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openNode } from '../open.ts'
import { openMemoryStore } from '../store/memory.ts'
import { openWsTransport } from '../transport/ws.ts'
import type { ConflictEvent } from '../replica/conflicts.ts'
import type { ConflictGap, ConflictOptions } from './conflicts.ts'
import { meetingOver, tasks, until } from './conflicts.test-kit.ts'
import { defineSpace } from './define-space.ts'

const { clash, open } = meetingOver({
  store: openMemoryStore,
  transport: () => openWsTransport({ listen: ['ws://127.0.0.1:0'] }),
})

test('[M9] a conflict is listed on every node, decided on one, and closed on all', async () => {
  const [left, right, conflict] = await clash()
  expect(conflict).toMatchObject({ kind: 'field', state: 'open', subject: ['t-1', 2, ['status']] })
  const there = await until(() => right.conflicts.get(conflict.id))
  expect(there.branches.map(({ agent }) => agent).sort()).toEqual(['agent-a', 'agent-b'])
  const [listed] = await Array.fromAsync(right.conflicts.list({ space: 's', rule: 'field' }))
  expect(listed?.id).toBe(conflict.id)
  const branch = there.branches.find(({ agent }) => agent === 'agent-a')?.dot
  if (branch === undefined) throw new Error('no branch')
  const receipt = right.conflicts.resolve(conflict.id, {
    revision: there.revision,
    choice: { kind: 'pick', branch },
    agent: 'person-1',
    reason: 'asked',
  })
  await receipt.reached({ peers: 1 })
  const closed = await until(() => {
    const found = left.conflicts.get(conflict.id)
    return found?.state === 'settled' ? found : undefined
  })
  expect(closed.decisions).toMatchObject([{ agent: 'person-1', reason: 'asked', choice: { kind: 'pick' } }])
  expect(left.space('s').record('t-1').get()).toMatchObject({ value: { status: 'todo' }, concurrent: [] })
  expect(await Array.fromAsync(left.conflicts.list())).toEqual([])
  expect(await Array.fromAsync(left.conflicts.list({ state: 'all' }))).toHaveLength(1)
  expect(await left.conflicts.stats()).toMatchObject([
    { space: 's', open: 0, settled: 1, pending: 0, rulesVersion: 1, rules: ['field', 'effect'], notEvaluated: [] },
  ])
})

test('[M20] a conflict is noted, assigned, put off and proposed on, and lists are filtered by it', async () => {
  const [left, right, { id, revision }] = await clash()
  await until(() => right.conflicts.get(id))
  await right.conflicts.ack(id, { agent: 'ada', reason: 'looking' }).reached({ peers: 1 })
  await until(() => (left.conflicts.get(id)?.acknowledged?.agent === 'ada' ? true : undefined))
  expect(left.conflicts.ack(id, { agent: 'ada' }).changed).toBe(false)
  left.conflicts.assign(id, { to: 'ada', agent: 'boss' })
  left.conflicts.propose(id, {
    revision,
    choice: { kind: 'keep-both' },
    confidence: 0.7,
    agent: 'model',
    reason: 'both are',
  })
  expect(left.conflicts.get(id)).toMatchObject({
    state: 'open',
    stage: 'proposed',
    owner: 'ada',
    proposals: [{ agent: 'model', choice: { kind: 'keep-both' }, confidence: 0.7, reason: 'both are', revision }],
  })
  const count = async (options: ConflictOptions): Promise<number> =>
    (await Array.fromAsync(left.conflicts.list(options))).length
  expect(await count({ owner: 'ada', stage: 'proposed', severity: 'medium', prefix: 't-', overdue: false })).toBe(1)
  for (const none of [
    { owner: 'bob' },
    { stage: 'open' },
    { severity: 'high' },
    { prefix: 'u-' },
    { overdue: true },
    { state: 'settled' },
  ] as const) {
    expect(await count(none)).toBe(0)
  }
  left.conflicts.snooze(id, { forMs: 60_000, agent: 'ada' })
  expect(await count({ stage: 'snoozed' })).toBe(1)
  left.conflicts.snooze(id, { untilMs: 0 })
  left.conflicts.assign(id, { to: null })
  expect(left.conflicts.get(id)).toMatchObject({ stage: 'proposed', owner: undefined, snoozed: undefined })
  left.conflicts.resolve(id, { revision, choice: { kind: 'dismiss' } })
  expect(await count({ stage: 'dismissed' })).toBe(1)
  const refused = (work: () => unknown, code: string): void => expect(work).toThrow(expect.objectContaining({ code }))
  refused(() => left.conflicts.ack(id), 'conflict_settled')
  refused(() => left.conflicts.assign(id, { to: '' }), 'invalid_key')
  refused(() => left.conflicts.assign(id, {} as never), 'invalid_key')
  refused(() => left.conflicts.snooze(id, { forMs: 1, untilMs: 1 } as never), 'invalid_argument')
  refused(() => left.conflicts.snooze(id, {} as never), 'invalid_argument')
  refused(() => left.conflicts.snooze(id, { forMs: 1e15 }), 'invalid_argument')
  const proposal = { revision, choice: { kind: 'dismiss' } } as const
  refused(() => left.conflicts.propose(id, { ...proposal, confidence: 2 }), 'invalid_argument')
  refused(() => left.conflicts.propose(id, proposal), 'conflict_settled')
  await expect(count({ stage: 'none' } as never)).rejects.toMatchObject({ code: 'invalid_argument' })
})

test('[M20] a proposal is about the revision that was looked at, and must fit the conflict', async () => {
  const [left, , { id, revision }] = await clash()
  const refused = (work: () => unknown, code: string): void => expect(work).toThrow(expect.objectContaining({ code }))
  refused(() => left.conflicts.propose(id, { revision: 'old', choice: { kind: 'dismiss' } }), 'conflict_changed')
  refused(() => left.conflicts.propose(id, { revision, choice: { kind: 'pick' } }), 'invalid_argument')
})

test('[M27] the audit of each node tells what became of a conflict, and is whole', async () => {
  const [left, right, { id, revision }] = await clash()
  await until(() => right.conflicts.get(id))
  right.conflicts.resolve(id, { revision, choice: { kind: 'dismiss' }, agent: 'ada', reason: 'a test' })
  await until(() => (left.conflicts.get(id)?.state === 'settled' ? true : undefined))
  for (const node of [left, right]) {
    const lines = await Array.fromAsync(node.conflicts.audit({ id, space: 's' }))
    expect(lines.at(-1)).toMatchObject({
      what: 'settled',
      agent: 'ada',
      reason: 'a test',
      details: { kind: 'dismiss' },
    })
    expect(lines.map(({ what }) => what)).toContain('opened')
    expect(await Array.fromAsync(node.conflicts.audit({ after: lines.at(-1)?.number ?? 0 }))).toEqual([])
    const { isIntact, lines: count, last } = await node.conflicts.verifyAudit()
    expect({ isIntact, count, last }).toEqual({ isIntact: true, count: lines.length, last: lines.at(-1)?.hash })
  }
})

test('[M9] what is open is counted by rule, with the age of the oldest', async () => {
  const [left, right, { id, revision, raisedAt }] = await clash()
  for (const node of [left, right]) {
    await until(() => (node.conflicts.tally.byRule().get('field') === 1 ? true : undefined))
    expect(node.conflicts.tally.oldest().get('medium')).toBeGreaterThanOrEqual(raisedAt - 1000)
  }
  left.conflicts.resolve(id, { revision, choice: { kind: 'dismiss' } })
  await until(() => (right.conflicts.tally.byRule().size === 0 ? true : undefined))
  expect(left.conflicts.tally.byRule().size).toBe(0)
})

test('[M9] what was open before a restart is counted after it, and the audit goes on', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'skein-conflicts-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const listen = 'ws://127.0.0.1:0'
  const first = await openNode({ dir, agent: 'agent-a' })
  first.space('s', tasks).record('t-1').set({ status: 'todo' })
  await first.close()
  await using apart = await openNode({ memory: true, listen, agent: 'agent-b' })
  apart.space('s').record('t-1').set({ status: 'done' })
  const met = await openNode({ dir, agent: 'agent-a', join: apart.status().addresses })
  await until(() => (met.conflicts.tally.byRule().get('field') === 1 ? true : undefined))
  const { next } = await met.conflicts.verifyAudit()
  expect(next).toBeGreaterThan(1)
  await met.close()
  await using again = await openNode({ dir, agent: 'agent-a' })
  await until(() => (again.conflicts.tally.byRule().get('field') === 1 ? true : undefined))
  const [conflict] = await Array.fromAsync(again.conflicts.list())
  if (conflict === undefined) throw new Error('no conflict')
  again.conflicts.ack(conflict.id)
  expect(await again.conflicts.verifyAudit()).toMatchObject({ isIntact: true, next: next + 1 })
})

test('[M10] what the system keeps is in no listing, no watch and under no key of a program', async () => {
  const node = await open('agent-a', [])
  const space = node.space('s', tasks)
  const watch = space.watch()
  space.record('t-1').set({ status: 'todo' })
  expect((await watch.next()).value).toMatchObject({ key: 't-1' })
  await watch.return()
  expect((await Array.fromAsync(space.entries())).map(({ key }) => key)).toEqual(['t-1'])
  expect((await Array.fromAsync(space.entries('\u0000'))).map(({ key }) => key)).toEqual([])
  expect((await Array.fromAsync(space.scan())).map(({ key }) => key)).toEqual(['t-1'])
  expect(() => space.record('\u0000rules').set({ a: 1 })).toThrow(expect.objectContaining({ code: 'invalid_key' }))
  expect(() => space.delete('\u0000rules')).toThrow(expect.objectContaining({ code: 'invalid_key' }))
})

test('[M9] a watch tells what changes, and a slow reader of a gap', async () => {
  const node = await open('agent-a', [])
  const signal = new AbortController()
  const watch = node.conflicts.watch({ signal: signal.signal })
  const event: ConflictEvent = {
    space: 's',
    id: 'x',
    rule: 'field',
    severity: 'low',
    keys: ['k'],
    change: 'opened',
    local: true,
  }
  node.conflicts.tell(event)
  expect((await watch.next()).value).toEqual(event)
  for (let at = 0; at < 3000; at++) node.conflicts.tell(event)
  const first = (await watch.next()).value as ConflictEvent | ConflictGap
  expect(first).toEqual({ change: 'gap' })
  signal.abort()
  const rest = await Array.fromAsync(watch)
  expect(rest.length).toBeLessThan(1100)
})

test('[M9] bad calls end in their codes', async () => {
  const node = await open('agent-a', [])
  node.space('s', tasks)
  const refused = (work: () => unknown, code: string): void => expect(work).toThrow(expect.objectContaining({ code }))
  refused(() => node.conflicts.get('x'), 'unknown_conflict')
  refused(() => node.conflicts.get('0'.repeat(32), { space: 'none' }), 'invalid_argument')
  expect(node.conflicts.get('0'.repeat(32))).toBeUndefined()
  const resolution = { revision: '', choice: { kind: 'dismiss' } } as const
  refused(() => node.conflicts.resolve('0'.repeat(32), resolution), 'unknown_conflict')
  refused(() => node.conflicts.resolve('0'.repeat(32), { choice: { kind: 'dismiss' } } as never), 'invalid_argument')
  refused(() => node.conflicts.resolve('0'.repeat(32), { revision: '' } as never), 'invalid_argument')
  await expect(node.conflicts.list({ state: 'none' } as never).next()).rejects.toMatchObject({
    code: 'invalid_argument',
  })
  refused(() => node.space('s', defineSpace({ rules: [{ rule: 'claim' }] })), 'invalid_argument')
  refused(() => defineSpace({ version: 2 }), 'invalid_argument')
  node.space('s', defineSpace({ rules: [{ rule: 'claim' }], version: 2 }))
  node.space('s', tasks)
  expect(await node.conflicts.stats()).toMatchObject([{ rulesVersion: 2, rules: ['claim'] }])
})
