/** Two nodes over sockets, asked over HTTP: who has what, who is equal, and waiting for it. */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { openMemoryStore } from '../../store/memory.ts'
import { openWsTransport } from '../../transport/ws.ts'
import { SkeinNode } from '../node.ts'
import { served } from './server.test-kit.ts'
import type { Served } from './server.test-kit.ts'

async function member(join: readonly string[] = []): Promise<Served> {
  const node = await SkeinNode.open({
    store: openMemoryStore(),
    agent: 'local',
    durability: 'memory',
    retention: { keepMs: Infinity, keepBytes: Infinity },
    cacheBytes: 2 ** 25,
    fresh: () => randomBytes(8).toString('hex'),
    now: Date.now,
    network: {
      transports: [openWsTransport({ listen: ['ws://127.0.0.1:0'] })],
      join,
      zone: '',
      fleet: 'f1ee7f1ee7f1ee70',
      roster: 'auto',
      holds: () => true,
    },
  })
  return served(node)
}

test('a write that waits for a peer is read there, and both are proven equal', async () => {
  await using a = await member()
  await using b = await member(a.node.status().addresses)
  while (a.node.peers.list().every(({ linked }) => !linked)) await new Promise((resolve) => setTimeout(resolve, 5))
  const path = '/v1/spaces/s/entries/k'
  const body = { type: 'register', op: 'set', value: 1 }
  const wrote = await a.ask('POST', `${path}/ops?wait=peers:1`, { body })
  expect(wrote).toMatchObject({ status: 200, body: { durable: true, reached: { met: true, reached: [b.node.id] } } })
  const token = String(wrote.body['version'])
  expect(await b.ask('GET', `${path}?after=${token}`)).toMatchObject({
    status: 200,
    body: { value: 1, version: token },
  })
  // The same state has the same version on both, so a condition may be taken along.
  expect(await b.ask('GET', path, { headers: { 'if-none-match': `"${token}"` } })).toMatchObject({ status: 304 })
  expect(await a.ask('GET', `/v1/visibility?space=s&token=${token}`)).toMatchObject({
    body: { here: true, reached: [b.node.id], missing: [] },
  })
  expect(await b.ask('GET', `/v1/visibility?space=s&token=${token}&wait=all`)).toMatchObject({
    body: { here: true, waited: { met: true } },
  })
  expect(await a.ask('POST', `${path}/ops?wait=peers:2&timeout=50`, { body: { ...body, value: 2 } })).toMatchObject({
    status: 202,
    body: { durable: true, reached: { met: false } },
  })
  // What says nothing new waits for what it found.
  expect(await a.ask('POST', `${path}/ops?wait=peers:1`, { body: { ...body, value: 2 } })).toMatchObject({
    status: 200,
    body: { changed: false, reached: { met: true, reached: [b.node.id] } },
  })
  expect(await a.ask('GET', '/v1/peers')).toMatchObject({
    body: { peers: [{ node: b.node.id, state: 'alive', linked: true, lacks: { here: 0 } }] },
  })
  expect(await a.ask('GET', '/v1/verify')).toMatchObject({
    body: { equal: true, spaces: [{ space: 's', peers: [{ node: b.node.id, verdict: 'equal' }] }] },
  })
  expect(await b.ask('POST', '/v1/sync?space=s')).toMatchObject({
    body: { sessions: [{ space: 's', peer: a.node.id }] },
  })
  expect(await b.ask('GET', '/readyz?gaps=0&lag=0')).toMatchObject({ status: 200 })
  expect(await a.ask('GET', '/v1/status')).toMatchObject({ body: { peers: [{ node: b.node.id }], fleet: { gaps: 0 } } })
})
