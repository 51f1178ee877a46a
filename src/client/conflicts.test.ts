/** Conflicts over a connection: the same as in the process. */
import { expect, test } from 'vitest'
import { clash } from '../node/clash.test-kit.ts'
import type { Opening } from '../node/clash.test-kit.ts'
import { served, temporary } from '../node/http/server.test-kit.ts'
import { TokenStore } from '../node/security/tokens.ts'
import { openNode } from '../open.ts'
import { connect } from './client.ts'
import { errorCode } from './client.test-kit.ts'

const fleet: Opening = (agent, join) => openNode({ memory: true, agent, listen: 'ws://127.0.0.1:0', join })

test('[M9] conflicts are listed, read and counted as in the process', async () => {
  const [node, , one] = await clash(fleet, ['t-1', 't-2', 't-3'])
  await using it = await served(node)
  await using client = await connect({ node: it.server.url })
  const { conflicts } = client
  expect(await Array.fromAsync(conflicts.list())).toEqual(await Array.fromAsync(node.conflicts.list()))
  const options = { space: 's', prefix: 't-2', state: 'all', severity: 'medium', overdue: false } as const
  expect(await Array.fromAsync(conflicts.list(options))).toEqual(await Array.fromAsync(node.conflicts.list(options)))
  expect(await conflicts.get(one.id)).toEqual(node.conflicts.get(one.id))
  expect(await conflicts.get('0'.repeat(32))).toBeUndefined()
  expect(await conflicts.history(one.id, { space: 's' })).toEqual(await node.conflicts.history(one.id))
  expect(await conflicts.stats()).toEqual(await node.conflicts.stats())
  expect(await errorCode(Array.fromAsync(conflicts.list({ space: 'nowhere' })))).toBe('not_found')
  expect(await errorCode(Array.fromAsync(conflicts.list({ stage: 'lost' } as never)))).toBe('invalid_argument')
  expect(await errorCode(Array.fromAsync(conflicts.list({ colour: 'red' } as never)))).toBe('invalid_argument')
})

test('[M9] a conflict is noted, given to somebody, put off, proposed on and decided, and a watch tells all of it', async () => {
  const [node, , { id, revision }] = await clash(fleet)
  await using it = await served(node)
  await using client = await connect({ node: it.server.url, agent: 'ada' })
  const { conflicts } = client
  const watch = conflicts.watch({ space: 's' })
  await watch.ready
  const [ack, again] = [conflicts.ack(id, { reason: 'looking' }), conflicts.ack(id)]
  expect([await ack.changed, await again.changed]).toEqual([true, false])
  expect(await ack.reached({ peers: 1 })).toHaveLength(1)
  await conflicts.assign(id, { to: 'bob', agent: 'boss' }).durable
  await conflicts.propose(id, { revision, choice: { kind: 'keep-both' }, confidence: 0.25 }).durable
  await conflicts.snooze(id, { forMs: 60_000 }).durable
  expect(node.conflicts.get(id)).toMatchObject({
    stage: 'snoozed',
    owner: 'bob',
    assigned: { agent: 'boss' },
    acknowledged: { agent: 'ada', reason: 'looking' },
    proposals: [{ agent: 'ada', confidence: 0.25 }],
  })
  const stale = { revision: 'old', choice: { kind: 'dismiss' } } as const
  expect(await errorCode(conflicts.resolve(id, stale).durable)).toBe('conflict_changed')
  expect(await errorCode(conflicts.snooze(id, {} as never).durable)).toBe('invalid_argument')
  const decided = conflicts.resolve(id, { revision, choice: { kind: 'write', value: 'doing' }, reason: 'asked' })
  expect(await decided.changed).toBe(true)
  expect(node.space('s').record('t-1').get().value).toEqual({ status: 'doing' })
  expect(node.conflicts.get(id)?.decisions).toMatchObject([{ agent: 'ada', reason: 'asked' }])
  expect(await errorCode(conflicts.ack(id).durable)).toBe('conflict_settled')
  const lines = await Array.fromAsync(conflicts.audit({ space: 's', id }))
  expect(lines).toEqual(await Array.fromAsync(node.conflicts.audit({ id })))
  expect(lines.map(({ what }) => what)).toContain('settled')
  expect(await Array.fromAsync(conflicts.audit({ after: lines.at(-1)?.number ?? 0 }))).toEqual([])
  expect(await conflicts.verifyAudit()).toEqual(await node.conflicts.verifyAudit())
  const told: string[] = []
  for await (const { change } of watch) if (told.push(change) === 5) break
  expect(told).toEqual(['acknowledged', 'assigned', 'proposed', 'snoozed', 'settled'])
})

test('[M9] what a token may not do, it is told', async () => {
  await using folder = await temporary()
  const [node, , { id, revision }] = await clash(fleet)
  const tokens = new TokenStore(folder.path('tokens.json'))
  const grants = [{ space: 's', prefix: '', rights: ['read', 'write'] as const }]
  const { token } = tokens.create({ agent: 'model', grants })
  await using it = await served(node, { tokens })
  await using client = await connect({ node: it.server.url, token })
  const choice = { kind: 'dismiss' } as const
  expect(await errorCode(client.conflicts.resolve(id, { revision, choice }).durable)).toBe('forbidden')
  expect(await errorCode(client.conflicts.ack(id).durable)).toBe('forbidden')
  await client.conflicts.propose(id, { revision, choice }).durable
  expect(node.conflicts.get(id)?.proposals).toMatchObject([{ agent: 'model' }])
  // It may see one space, not all of them.
  expect(await errorCode(client.conflicts.watch().ready)).toBe('forbidden')
  await client.conflicts.watch({ space: 's' }).ready
})
