/** Whole nodes over libp2p, over WebSocket, and one that speaks both and stands between them. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openNode } from '../src/open.ts'
import type { OpenOptions } from '../src/open.ts'
import { newFleetKey } from '../src/node/security/fleet-key.ts'
import type { SkeinNode } from '../src/node/node.ts'

const root = join(import.meta.dirname, '..')

async function open(options: OpenOptions): Promise<SkeinNode> {
  const node = await openNode({ memory: true, ...options })
  onTestFinished(() => node.close())
  return node
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5))
}

const linked = (node: SkeinNode): number => node.peers.list().filter((peer) => peer.linked).length

test('[FL9] two nodes over libp2p and a third over ws meet through one of them that speaks both, and are equal', async () => {
  const bridge = await open({ listen: ['/ip4/127.0.0.1/tcp/0', 'ws://127.0.0.1:0'] })
  const [overLibp2p = '', overWs = ''] = bridge.status().addresses
  expect(overLibp2p).toMatch(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+$/)
  const other = await open({ transport: 'libp2p', listen: '/ip4/127.0.0.1/tcp/0', join: overLibp2p })
  const web = await open({ listen: 'ws://127.0.0.1:0', join: overWs })
  await until(() => linked(bridge) === 2)
  const nodes = [bridge, other, web]
  for (const [at, node] of nodes.entries()) {
    for (let i = 0; i < 50; i++)
      node
        .space('tasks')
        .counter(`c-${i}`)
        .incr(10 ** at)
  }
  await until(() => nodes.every((node) => node.replica.find('tasks') !== undefined))
  const counts = (node: SkeinNode): number => node.space('tasks').counter('c-49').get().value
  await until(() => nodes.every((node) => counts(node) === 111))
  await until(() => new Set(nodes.map((node) => node.status().spaces[0]?.root)).size === 1)
  const { spaces } = await bridge.fleet.verify(bridge.replica.spaces)
  expect(spaces).toMatchObject([{ space: 'tasks', equal: true, entries: 50 }])
  expect(spaces[0]?.members.map(({ node, found }) => [node, found])).toEqual(
    [other.id, web.id].sort().map((node) => [node, 'equal']),
  )
})

test('[FL9] over libp2p a fleet key is asked for, and who has another one is not let in', async () => {
  const fleetKey = newFleetKey()
  const refusals: string[] = []
  const one = await open({
    listen: '/ip4/127.0.0.1/tcp/0',
    fleetKey,
    tell: (event) => refusals.push(event.kind === 'refused' ? event.reason : event.code),
  })
  const join = one.status().addresses
  const member = await open({ transport: 'libp2p', join, fleetKey })
  await until(() => linked(member) === 1)
  expect(member.peers.list().map(({ node }) => node)).toEqual([one.id])
  await open({ transport: 'libp2p', join, fleetKey: newFleetKey() })
  await until(() => refusals.includes('proof'))
  expect(linked(one)).toBe(1)
})

test('[FL10] a node that speaks ws loads nothing of libp2p', async () => {
  const script = `
    import { registerHooks } from 'node:module'
    const seen = []
    registerHooks({ resolve(name, context, next) { const found = next(name, context); seen.push(found.url); return found } })
    const { openNode } = await import(${JSON.stringify(join(root, 'src/open.ts'))})
    const node = await openNode({ memory: true, listen: 'ws://127.0.0.1:0' })
    await node.close()
    process.stdout.write(String(seen.filter((url) => /node_modules\\/(libp2p|@libp2p|@chainsafe|@multiformats)\\//.test(url)).length) + ' of ' + String(seen.length > 100))
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: root })
  let said = ''
  child.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()))
  await new Promise((resolve) => child.once('close', resolve))
  expect(said).toBe('0 of true')
})

test('[FL10] where the packages are missing, whoever asks for libp2p is told so', async () => {
  const script = `
    import { registerHooks } from 'node:module'
    registerHooks({ resolve(name, context, next) {
      if (name === 'libp2p') throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' })
      return next(name, context)
    } })
    const { openNode } = await import(${JSON.stringify(join(root, 'src/open.ts'))})
    await openNode({ memory: true, transport: 'libp2p', listen: '/ip4/127.0.0.1/tcp/0' }).catch((error) => process.stdout.write(error.code))
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: root })
  let said = ''
  child.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()))
  await new Promise((resolve) => child.once('close', resolve))
  expect(said).toBe('transport_missing')
})
