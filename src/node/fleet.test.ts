/** Nodes that meet over real sockets, and within a process: writes arrive, questions about the fleet are answered. */
import { randomBytes } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { limits } from '../base/limits.ts'
import { FaultyStore } from '../store/faulty.ts'
import { openMemoryStore } from '../store/memory.ts'
import type { Store } from '../store/store.ts'
import { MemoryNetwork } from '../transport/memory.ts'
import type { Transport } from '../transport/transport.ts'
import { openWsTransport } from '../transport/ws.ts'
import { SkeinNode } from './node.ts'
import type { NodeConfig, NetworkConfig } from './node.ts'

async function open(
  transport: Transport,
  join: readonly string[] = [],
  more: Partial<NodeConfig> = {},
  network: Partial<NetworkConfig> = {},
): Promise<SkeinNode> {
  const node = await SkeinNode.open({
    store: openMemoryStore(),
    agent: 'tester',
    durability: 'memory',
    retention: { keepMs: 1e12, keepBytes: 1e12 },
    cacheBytes: 1e6,
    fresh: () => randomBytes(8).toString('hex'),
    now: Date.now,
    network: {
      transports: [transport],
      join,
      zone: '',
      fleet: 'f1ee7f1ee7f1ee70',
      roster: 'auto',
      holds: () => true,
      ...network,
    },
    ...more,
  })
  onTestFinished(() => node.close())
  return node
}

const ws = (): Transport => openWsTransport({ listen: ['ws://127.0.0.1:0'] })

async function until(isSo: () => boolean, withinMs = 15_000): Promise<void> {
  const endMs = Date.now() + withinMs
  while (!isSo()) {
    if (Date.now() > endMs) throw new Error(`not so within ${withinMs} ms: ${isSo.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function fleet(size: number): Promise<SkeinNode[]> {
  const first = await open(ws())
  const nodes = [first]
  while (nodes.length < size) nodes.push(await open(ws(), first.status().addresses))
  for (const node of nodes) {
    await until(() => node.peers.list().filter(({ linked }) => linked).length === size - 1)
  }
  return nodes
}

test('[FL1] a write on one node is read on all others, over sockets', async () => {
  const nodes = await fleet(3)
  const [a, b, c] = nodes as [SkeinNode, SkeinNode, SkeinNode]
  const receipt = a.space('tasks').record('t-1').set({ status: 'doing' })
  expect(await receipt.reached({ peers: 2 })).toEqual([b.id, c.id].sort())
  for (const node of nodes) expect(node.space('tasks').record('t-1').get().value).toEqual({ status: 'doing' })
})

test('[FL2] `reached` names who is behind, when nobody is there', async () => {
  const node = await open(ws())
  const receipt = node.space('tasks').counter('n').incr(1)
  await expect(receipt.reached({ peers: 1, timeoutMs: 50 })).rejects.toThrow(
    '0 living members hold the space, and 1 were asked for',
  )
  expect(await receipt.reached()).toEqual([])
})

test('[FL3] what was written apart is in step after `synced`, and verified as equal', async () => {
  const a = await open(ws())
  for (let i = 0; i < 100; i++)
    a.space('tasks')
      .counter(`c-${i}`)
      .incr(i + 1)
  const b = await open(ws())
  for (let i = 50; i < 150; i++)
    b.space('tasks')
      .counter(`c-${i}`)
      .incr(i + 1)
  const c = await open(ws(), [...a.status().addresses, ...b.status().addresses])
  await until(() => [a, b].every((node) => node.peers.list().filter(({ linked }) => linked).length === 2))
  await until(() => c.replica.find('tasks') !== undefined)
  await c.synced({ peers: 2 })
  expect(c.space('tasks').counter('c-75').get().value).toBe(152)
  const { spaces } = await c.fleet.verify(c.replica.spaces)
  expect(spaces).toMatchObject([{ space: 'tasks', equal: true, entries: 150 }])
  expect(spaces[0]?.members.map(({ node, found }) => [node, found])).toEqual(
    [a.id, b.id].sort().map((node) => [node, 'equal']),
  )
  expect(a.status().spaces[0]?.root).toBe(b.status().spaces[0]?.root)
})

test('[FL4] budget rights come from a peer after a spending that failed', async () => {
  const [a, b] = (await fleet(2)) as [SkeinNode, SkeinNode]
  await a.space('fleet').budget('tokens').grant(1000).reached({ peers: 1 })
  expect(() => b.space('fleet').budget('tokens').spend(100)).toThrow(/available on this node/)
  const here = (): number => b.space('fleet').budget('tokens').get().value.rights[b.replica.origin] ?? 0
  await until(() => here() >= 100)
  b.space('fleet').budget('tokens').spend(100)
})

test('[FL5] a node finds its fleet again after a restart, without being told', async () => {
  const first = await open(ws())
  const store: Store = openMemoryStore()
  const again = new Proxy(store, {
    get: (target, name) => {
      if (name === 'close') return async () => undefined
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  const second = await open(ws(), first.status().addresses, { store: again })
  await until(() => second.peers.list()[0]?.linked === true)
  await second.flush()
  await second.close()
  const third = await open(ws(), [], { store: again, node: second.id })
  await until(() => third.peers.list()[0]?.linked === true)
  expect(third.peers.roster).toEqual([first.id])
})

test('[FL6] who left is known to have left, and nobody waits for him once he is forgotten', async () => {
  const [a, b] = (await fleet(2)) as [SkeinNode, SkeinNode]
  await b.close()
  await until(() => a.peers.list()[0]?.state === 'left')
  expect(a.peers.roster).toEqual([b.id])
  await a.peers.forget(b.id)
  expect(a.peers.roster).toEqual([])
})

test('[FL7] within a process, over the memory transport', async () => {
  const network = new MemoryNetwork()
  const a = await open(network.transport({ address: 'memory:a' }))
  const b = await open(network.transport({ address: 'memory:b' }), ['memory:a'])
  a.space('s').register('k').set(1)
  await until(() => b.replica.find('s') !== undefined && b.space('s').register('k').get().value === 1)
})

test('[FL8] a watcher of one node sees what another wrote, with its agent', async () => {
  const [a, b] = (await fleet(2)) as [SkeinNode, SkeinNode]
  const watch = b.space('tasks').watch()
  a.space('tasks').as({ agent: 'agent-7', reason: 'why not' }).record('t-1').set({ status: 'done' })
  const { value } = await watch.next()
  expect(value).toMatchObject({ kind: 'change', key: 't-1', agent: 'agent-7', reason: 'why not', local: false })
})

test('a clock that is set back far, in a quiet moment, keeps nobody from dialling again', async () => {
  let backMs = 0
  let failed = 0
  const observer = { linkFailed: () => void failed++ }
  await open(ws(), ['ws://127.0.0.1:1'], { now: () => Date.now() - backMs, observer })
  await until(() => failed > 0)
  // Only a timer is left to wait for.
  await new Promise((resolve) => setImmediate(resolve))
  backMs = 3_600_000
  const before = failed
  await until(() => failed > before + 1)
})

test('who looks right after a write learns that the others have it; where all is known nobody is asked', async () => {
  const [a, b] = (await fleet(2)) as [SkeinNode, SkeinNode]
  const space = a.space('tasks')
  const lacking = (): number => a.peers.list().reduce((sum, { spaces }) => sum + (spaces[0]?.peerLacks ?? 0), 0)
  await space.counter('n').incr(1).reached({ peers: 1 })
  await until(() => a.peers.list()[0]?.spaces.length === 1)
  space.counter('n').incr(1)
  expect(lacking()).toBe(1)
  const before = a.network.traffic.sentMessages
  const confirmed = a.fleet.confirm(15_000)
  expect(a.network.traffic.sentMessages).toBeGreaterThan(before)
  await confirmed
  expect(lacking()).toBe(0)
  expect(b.space('tasks').counter('n').get().value).toBe(2)
  const after = a.network.traffic.sentMessages
  const again = a.fleet.confirm(15_000)
  expect(a.network.traffic.sentMessages).toBe(after)
  await again
})

test('[FL11] what others write while the disk takes nothing costs a bounded amount of memory, and comes once it takes again', async () => {
  const a = await open(ws())
  const store = new FaultyStore(openMemoryStore())
  const b = await open(ws(), a.status().addresses, { store })
  await until(() => a.peers.list()[0]?.linked === true)
  await a.space('s').counter('n').incr(1).reached({ peers: 1 })
  store.holdWrites()
  const text = 'x'.repeat(200_000)
  let most = 0
  for (let i = 0; i < 200; i++) {
    await a.space('s').register(`k-${i}`).set(text).durable
    most = Math.max(most, b.replica.waitingBytes)
  }
  await new Promise((resolve) => setTimeout(resolve, 2000))
  most = Math.max(most, b.replica.waitingBytes)
  // One delta over the bound is taken, and weighs twice: in the log and in its entry.
  expect(most).toBeLessThan(limits.uncommittedBytes + 2 * limits.deltaBytes)
  // It lives, and says so.
  expect(a.peers.list()[0]?.state).toBe('alive')
  store.release()
  await until(() => b.space('s').register('k-199').get().exists, 60_000)
  await b.synced({ peers: 1, timeoutMs: 30_000 })
  expect(b.status().spaces[0]?.root).toBe(a.status().spaces[0]?.root)
}, 120_000)
