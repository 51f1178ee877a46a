/** Conflicts and rules over HTTP: the same as in the process, for those who may. */
import { expect, test } from 'vitest'
import type { Conflict } from '../../merge/evidence.ts'
import { openNode } from '../../open.ts'
import { clash } from '../clash.test-kit.ts'
import type { Opening } from '../clash.test-kit.ts'
import { until } from '../conflicts.test-kit.ts'
import { TokenStore } from '../security/tokens.ts'
import { jsonOf } from './json.ts'
import { served, temporary } from './server.test-kit.ts'
import { StreamClient } from './stream.test-kit.ts'

const fleet: Opening = (agent, join) => openNode({ memory: true, agent, listen: 'ws://127.0.0.1:0', join })

/** As it goes over the wire. */
function wired(value: unknown): unknown {
  return JSON.parse(JSON.stringify(jsonOf(value)))
}

const pathOf = ({ id }: Conflict): string => `/v1/conflicts/${id}`

test('[M9] a conflict is listed and shown with all its evidence, and with the history around it', async () => {
  const [node, , conflict] = await clash(fleet)
  await using it = await served(node)
  expect((await it.ask('GET', '/v1/conflicts')).body).toEqual({ conflicts: [wired(conflict)] })
  const shown = await it.ask('GET', `${pathOf(conflict)}?space=s`)
  const { history, ...rest } = shown.body as { history: Record<string, unknown>[] }
  expect(rest).toEqual(wired(conflict))
  expect(history).toEqual(wired(await node.conflicts.history(conflict.id)))
  const dots = conflict.branches.map(({ dot }) => dot)
  // Each branch stands in it, and the other side had not seen it.
  expect(history.map(({ dot }) => dot)).toEqual(expect.arrayContaining(dots))
  expect(history.map(({ key, isBranch, seenBy }) => [key, isBranch, seenBy])).toEqual([
    ['t-1', true, []],
    ['t-1', true, []],
  ])
})

test('[M9] history around a conflict tells which side knew what', async () => {
  const [left, right, first] = await clash(fleet)
  const { revision, id } = first
  left.conflicts.resolve(id, { revision, choice: { kind: 'keep-both' } })
  await until(() => (right.conflicts.get(id)?.state === 'settled' ? true : undefined))
  await using it = await served(left)
  const { history } = (await it.ask('GET', pathOf(first))).body as { history: { seenBy: unknown[]; agent: string }[] }
  left.space('s').record('t-1').set({ status: 'later' })
  const after = (await left.conflicts.history(id)) as readonly { readonly seenBy: unknown; readonly agent: string }[]
  expect(after).toHaveLength(history.length + 1)
  // What came behind both of them neither knew.
  expect(after.at(-1)).toMatchObject({ agent: 'agent-a', isBranch: false, seenBy: [] })
})

test('[M9] reads, lists and watches say that an entry is in conflict, until it is not', async () => {
  const [left, right, { id, revision }] = await clash(fleet)
  await using it = await served(left)
  const path = '/v1/spaces/s/entries'
  const space = left.space('s')
  space.record('t-9').set({ status: 'todo' })
  expect((await it.ask('GET', `${path}/t-1`)).body).toMatchObject({ conflicts: [id], concurrent: [{}] })
  expect((await it.ask('GET', path)).body).toMatchObject({ entries: [{ key: 't-1', conflicts: [id] }, { key: 't-9' }] })
  expect((await it.ask('GET', `${path}/t-9`)).body['conflicts']).toBeUndefined()
  expect(space.read('t-1')?.conflicts).toEqual([id])
  expect(space.record('t-1').get().conflicts).toEqual([id])
  await until(() => right.space('s').record('t-1').get().conflicts)
  const watch = space.watch()
  // The writes that clashed are settled by this one, the conflict is not.
  space.record('t-1').set({ status: 'doing' })
  expect((await watch.next()).value).toMatchObject({ key: 't-1', conflict: true })
  expect(space.record('t-1').get()).toMatchObject({ concurrent: [], conflicts: [id] })
  left.conflicts.resolve(id, { revision, choice: { kind: 'keep-both' } })
  expect((await it.ask('GET', `${path}/t-1`)).body['conflicts']).toBeUndefined()
  expect(space.record('t-1').get().conflicts).toBeUndefined()
  space.record('t-1').set({ status: 'done' })
  expect((await watch.next()).value).toMatchObject({ key: 't-1', conflict: false })
  await until(() => (right.space('s').record('t-1').get().conflicts === undefined ? true : undefined))
})

test('[M9] lists are filtered, and paged in one order', async () => {
  const keys = ['t-1', 't-2', 't-3', 't-4', 't-5']
  const [node] = await clash(fleet, keys)
  await using it = await served(node)
  const list = async (query: string): Promise<{ conflicts: Conflict[]; cursor?: string }> =>
    (await it.ask('GET', `/v1/conflicts?${query}`)).body as never
  const { conflicts: all } = await list('space=s')
  const ids = all.map(({ id }) => id)
  expect(ids).toEqual(ids.toSorted())
  expect(all.flatMap((conflict) => conflict.keys).sort()).toEqual(keys)
  const paged: string[] = []
  for (let cursor: string | undefined, pages = 0; pages < 3; pages++) {
    const page = await list(`limit=2${cursor === undefined ? '' : `&cursor=${cursor}`}`)
    paged.push(...page.conflicts.map(({ id }) => id))
    cursor = page.cursor
    expect(cursor === undefined).toBe(pages === 2)
  }
  expect(paged).toEqual(ids)
  expect((await list('prefix=t-3')).conflicts.map((one) => one.keys)).toEqual([['t-3']])
  expect((await list('rule=effect')).conflicts).toEqual([])
  expect((await list('rule=field')).conflicts).toHaveLength(5)
  expect((await list('severity=medium&overdue=false&stage=open')).conflicts).toHaveLength(5)
  for (const none of ['severity=high', 'overdue=true', 'stage=snoozed', 'owner=ada', 'prefix=x-']) {
    expect((await list(none)).conflicts, none).toEqual([])
  }
  const [one] = all as [Conflict]
  node.conflicts.resolve(one.id, { revision: one.revision, choice: { kind: 'keep-both' } })
  expect((await list('state=settled')).conflicts.map(({ id }) => id)).toEqual([one.id])
  expect((await list('state=open')).conflicts).toHaveLength(4)
  expect((await list('state=all')).conflicts).toHaveLength(5)
})

test('[M9] a decision is made on a revision, once, in the name of whoever asks', async () => {
  const [left, right, conflict] = await clash(fleet)
  await using it = await served(left)
  const branch = conflict.branches.find(({ agent }) => agent === 'agent-b')?.dot
  const { revision } = conflict
  const body = { revision, choice: { kind: 'pick', branch }, reason: 'asked the customer' }
  const headers = { 'skein-agent': 'person-1' }
  const first = await it.ask('POST', `${pathOf(conflict)}/resolve?wait=peers:1`, { body, headers })
  expect(first).toMatchObject({
    status: 200,
    body: { changed: true, durable: true, reached: { met: true }, conflict: { state: 'settled' } },
  })
  expect(await it.ask('POST', `${pathOf(conflict)}/resolve`, { body, headers })).toMatchObject({
    status: 200,
    body: { changed: false },
  })
  const there = await until(() => right.conflicts.get(conflict.id))
  expect(there.decisions).toMatchObject([{ agent: 'person-1', reason: 'asked the customer' }])
  expect(right.space('s').record('t-1').get().value).toEqual({ status: 'done' })
  const other = { ...body, choice: { kind: 'dismiss' } }
  expect(await it.ask('POST', `${pathOf(conflict)}/resolve`, { body: other })).toMatchObject({
    status: 409,
    body: { code: 'conflict_settled' },
  })
})

test('[M9] a conflict is noted, given to somebody, put off and proposed on over HTTP and the stream', async () => {
  const [node, , conflict] = await clash(fleet)
  await using it = await served(node)
  const act = async (what: string, body: unknown): Promise<Record<string, unknown>> => {
    const { status, body: answer } = await it.ask('POST', `${pathOf(conflict)}/${what}`, {
      body,
      headers: { 'skein-agent': 'ada' },
    })
    expect(status, JSON.stringify(answer)).toBe(200)
    return answer['conflict'] as Record<string, unknown>
  }
  expect(await act('ack', { reason: 'looking' })).toMatchObject({ acknowledged: { agent: 'ada', reason: 'looking' } })
  expect(await act('assign', { to: 'bob' })).toMatchObject({ stage: 'assigned', owner: 'bob' })
  const { revision } = conflict
  const choice = { kind: 'keep-both' }
  expect(await act('propose', { revision, choice, confidence: 0.5 })).toMatchObject({ stage: 'proposed' })
  expect(await act('snooze', { forMs: 60_000 })).toMatchObject({ stage: 'snoozed' })
  expect(await act('snooze', { untilMs: 0 })).toMatchObject({ stage: 'proposed' })
  await using stream = await StreamClient.open(it.server.url)
  const { id } = conflict
  expect(await stream.ask({ do: 'watchConflicts', space: 's' })).toMatchObject({ ok: { watching: true } })
  expect(await stream.ask({ do: 'assign', conflict: id, to: null })).toMatchObject({
    ok: { changed: true, space: 's' },
  })
  expect(await stream.take((message) => 'event' in message)).toMatchObject({ event: { change: 'assigned', id } })
  expect(await stream.ask({ do: 'conflict', conflict: id })).toMatchObject({ ok: { id, stage: 'proposed' } })
  expect(await stream.ask({ do: 'conflicts', stage: 'proposed' })).toMatchObject({ ok: { conflicts: [{ id }] } })
  for (const wrong of [
    { do: 'assign', conflict: id },
    { do: 'assign', conflict: id, to: 5 },
    { do: 'resolve', conflict: id, revision, choice: 'dismiss' },
    { do: 'conflicts', colour: 'red' },
    { do: 'watchConflicts', prefix: 'a' },
    { do: 'watchConflicts', space: 5 },
  ]) {
    expect(await stream.ask(wrong)).toMatchObject({ problem: { code: 'invalid_argument' } })
  }
})

test('[M9] what was found, said and decided is on record, page by page, and proven whole', async () => {
  await using folder = await temporary()
  const [node, , { id, revision }] = await clash(fleet)
  node.conflicts.ack(id, { agent: 'ada', reason: 'looking' })
  node.conflicts.resolve(id, { revision, choice: { kind: 'dismiss' }, agent: 'eve', reason: 'none' })
  const tokens = new TokenStore(folder.path('tokens.json'))
  const { token } = tokens.create({ agent: 'a', grants: [{ space: 's', prefix: '', rights: ['read'] }] })
  const headers = { authorization: `Bearer ${token}` }
  await using it = await served(node, { tokens })
  const lines: Record<string, unknown>[] = []
  for (let after: number | undefined = 0; after !== undefined;) {
    const path = `/v1/audit?space=s&conflict=${id}&limit=1&after=${after}`
    const page = (await it.ask('GET', path, { headers })).body as { lines: typeof lines; after?: number }
    expect(page.lines.length).toBeLessThan(2)
    lines.push(...page.lines)
    after = page.after
  }
  expect(lines).toEqual(wired(await Array.fromAsync(node.conflicts.audit({ id }))))
  expect(lines.slice(-2)).toMatchObject([
    { what: 'acknowledged', agent: 'ada', reason: 'looking' },
    { what: 'settled', agent: 'eve', reason: 'none' },
  ])
  // The chain is of the whole node.
  expect(await it.ask('GET', '/v1/audit', { headers })).toMatchObject({ status: 403 })
  expect(await it.ask('GET', '/v1/audit/verify', { headers })).toMatchObject({ status: 403 })
  const all = tokens.create({ agent: 'b', grants: [{ space: '*', prefix: '', rights: ['read'] }] })
  const wide = { authorization: `Bearer ${all.token}` }
  const { body } = await it.ask('GET', '/v1/audit/verify', { headers: wide })
  expect(body).toEqual(wired(await node.conflicts.verifyAudit()))
  expect(body).toMatchObject({ isIntact: true })
})

test('[M9] what becomes of conflicts comes as server-sent events', async () => {
  const [node, , { id, revision }] = await clash(fleet)
  await using it = await served(node)
  const stop = new AbortController()
  const answer = await fetch(`${it.server.url}/v1/conflicts/watch?space=s`, { signal: stop.signal })
  expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  await it.ask('POST', `/v1/conflicts/${id}/resolve`, { body: { revision, choice: { kind: 'dismiss' } } })
  let text = ''
  for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
    text += new TextDecoder().decode(chunk)
    if (text.includes('settled')) break
  }
  expect(text).toMatch(/\nevent: conflict\ndata: \{"space":"s","id":"[0-9a-f]{32}",.*"change":"settled"/)
  stop.abort()
  expect(await it.ask('GET', '/v1/conflicts/watch?space=nowhere')).toMatchObject({ status: 404 })
})

test('[M9] with tokens a conflict is for those who may read its entries, and decided by those who may resolve them', async () => {
  await using folder = await temporary()
  const [node, , conflict] = await clash(fleet, ['t-1', 't-2'])
  const tokens = new TokenStore(folder.path('tokens.json'))
  const grant = (rights: readonly ('read' | 'write' | 'resolve')[], prefix: string): { authorization: string } => ({
    authorization: `Bearer ${tokens.create({ agent: 'agent-7', grants: [{ space: 's', prefix, rights }] }).token}`,
  })
  const [reader, judge, stranger] = [grant(['read'], 't-1'), grant(['read', 'resolve'], ''), grant(['read'], 'x-')]
  await using it = await served(node, { tokens })
  const seen = async (headers: Record<string, string>): Promise<unknown> => {
    const { conflicts } = (await it.ask('GET', '/v1/conflicts', { headers })).body as { conflicts: Conflict[] }
    return conflicts.flatMap(({ keys }) => keys).sort()
  }
  expect(await seen(reader)).toEqual(['t-1'])
  expect(await seen(judge)).toEqual(['t-1', 't-2'])
  expect(await seen(stranger)).toEqual([])
  expect(await it.ask('GET', '/v1/conflicts?space=s', { headers: reader })).toMatchObject({ status: 403 })
  expect(await it.ask('GET', pathOf(conflict), { headers: stranger })).toMatchObject({ status: 403 })
  const body = { revision: conflict.revision, choice: { kind: 'keep-both' } }
  const resolve = (headers: Record<string, string>) => it.ask('POST', `${pathOf(conflict)}/resolve`, { body, headers })
  expect(await resolve(reader)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  expect(await resolve({ ...judge, 'skein-agent': 'somebody' })).toMatchObject({ status: 403 })
  expect(node.conflicts.get(conflict.id)?.state).toBe('open')
  expect(await resolve(judge)).toMatchObject({ status: 200 })
  expect(node.conflicts.get(conflict.id)?.decisions).toMatchObject([{ agent: 'agent-7' }])
})

test('[M7] rules are declared over HTTP, shown, and never taken back by an older version', async () => {
  await using it = await served(await openNode({ memory: true }))
  const rules = [{ rule: 'effect', prefix: 'refund-', receipt: 'receipt', decides: 'person' }]
  const put = (body: unknown, name = 'orders') => it.ask('PUT', `/v1/spaces/${name}`, { body })
  expect(await put({ rules: [{ rule: 'effect' }] })).toMatchObject({ status: 400, body: { code: 'invalid_argument' } })
  expect(await put({ rules: [{ rule: 'none-such' }] })).toMatchObject({ status: 400 })
  expect(await put({ version: 2 })).toMatchObject({ status: 400 })
  // What is wrong leaves no space behind.
  expect((await it.ask('GET', '/v1/spaces')).body).toEqual({ spaces: [] })
  const made = await put({ rules })
  expect(made).toMatchObject({ status: 201, body: { rules: { version: 1, notEvaluated: [] } } })
  const shown = (await it.ask('GET', '/v1/spaces/orders')).body as { rules: { rules: unknown; version: number } }
  expect(shown.rules.rules).toEqual([
    {
      rule: 'effect',
      name: 'effect',
      prefix: 'refund-',
      severity: 'critical',
      safe: 'hold',
      decides: 'person',
      receipt: 'receipt',
    },
  ])
  expect(await put({ rules })).toMatchObject({ status: 200 })
  expect(await put({ rules: [] })).toMatchObject({ status: 409, body: { code: 'rules_superseded' } })
  // What was shown can be declared, and who decides with it.
  const beside = {
    people: ['person-*'],
    due: { critical: 60_000 },
    policies: [{ name: 'soon', settle: 'keep-first', rules: ['effect'], afterMs: 1000 }],
  }
  expect(await put({ rules: shown.rules.rules, version: 2, ...beside })).toMatchObject({
    status: 200,
    body: { rules: { version: 2, ...beside } },
  })
  const { rules: second } = (await it.ask('GET', '/v1/spaces/orders')).body as { rules: Record<string, unknown> }
  const { notEvaluated: _none, ...declared } = second
  expect(await put(declared)).toMatchObject({ status: 200, body: { rules: declared } })
  expect(await put({ rules: [], version: 3, policies: [{ name: 'x', settle: 'toss' }] })).toMatchObject({ status: 400 })
  expect(await put({ people: ['a'] })).toMatchObject({ status: 400 })
  expect(await put({ rules })).toMatchObject({ status: 409, body: { details: { version: 2 } } })
  expect(await it.ask('PUT', '/v1/spaces/plain')).toMatchObject({ status: 201, body: { rules: { version: 0 } } })
})
