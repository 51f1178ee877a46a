/**
 * The contract of a system in the convergence bench, for real processes. What is not installed here is left out with the
 * reason; nothing is installed for it: `npm run bench -- convergence --install` does.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import type { Contestant } from '../bench/convergence/contestant.ts'
import { Fleet } from '../bench/convergence/fleet.ts'
import { keysOf, offered, paced, soonUs, whenAll, whenEqual, whenQuiet } from '../bench/convergence/stage.ts'
import type { Keys } from '../bench/convergence/control.ts'
import type { OpenNode, System } from '../bench/convergence/system.ts'
import { loadSystem, systemFiles } from '../bench/convergence/systems.ts'
import { freePort } from './cluster/ports.ts'

const nodes = 3
const each = 3
const withinMs = 15_000
/** Beyond what our own tests may take: the slowest of these needs its time, on a busy machine. */
const timeout = 90_000
const load = { valueBytes: 96, rate: 60, exactly: false }

function keysNamed(name: string): Keys {
  return { of: 'own', name, count: each }
}

/** All write, and hear each write of the others once; a system that hears of its own is forgiven. */
async function seenByAll(fleet: Fleet, phase: number, name: string, entries: number): Promise<void> {
  await paced(fleet.members, { ...load, phase, keys: keysNamed(name), writes: nodes * each, firstUs: soonUs() })
  await whenAll(fleet.members, entries, withinMs)
  await whenQuiet(fleet.members, phase, withinMs)
  const arrived = await fleet.all('arrived', { phase })
  expect(arrived.map(({ count }) => count)).toEqual(Array.from({ length: nodes }, () => (nodes - 1) * each))
  await whenEqual(fleet, keysOf(keysNamed(name), nodes), withinMs)
}

/** What was written on both sides of a cut is on both once it has healed. A server takes nothing from who cannot reach it. */
async function caughtUp(fleet: Fleet, isServer: boolean): Promise<void> {
  const [first, second, away] = [fleet.member(0), fleet.member(1), fleet.member(2)]
  await fleet.cut([2], 'reset')
  const writers = isServer ? [first, second] : [first, second, away]
  const keys = keysNamed('cut')
  await offered(writers, { ...load, phase: 2, keys, writes: writers.length * each, firstUs: soonUs(), withinMs })
  const others = keysOf(keys, 2)
  if (!isServer) expect((await away.ask('digest', { keys: others })).found).toBe(0)
  await fleet.shaper?.heal()
  await whenEqual(fleet, keysOf(keys, writers.length), withinMs)
}

for (const file of systemFiles) {
  test(`${file}: three write, all read and are told; a cut link recovers`, { timeout }, async ({ skip }) => {
    const system = await loadSystem(file)
    const why = await system.available?.()
    if (why !== undefined) skip(why)
    const contestant: Contestant = { id: system.name, file, system, variant: system.variants[0] }
    await using fleet = await Fleet.open(contestant, { nodes, isShaped: true })
    await seenByAll(fleet, 1, 'first', nodes * each)
    if (system.catchesUp) await caughtUp(fleet, system.kind === 'server')
    else if (system.kind !== 'floor') {
      await fleet.cut([2], 'reset')
      await fleet.shaper?.heal()
      await fleet.ready()
      await seenByAll(fleet, 3, 'third', 2 * nodes * each)
    }
  })

  test(`${file}: documents, where it has them`, { timeout }, async ({ skip }) => {
    const system = await loadSystem(file)
    const why = await system.available?.()
    if (why !== undefined) skip(why)
    await using pair = await opened(system)
    const [one, two] = pair.nodes
    if (one.text === undefined || two.text === undefined) return skip('it has no text')
    const { text } = two
    let told = 0
    text.onChange(() => told++)
    await one.text.insert(0, 'plan the work')
    await vi.waitFor(() => expect(text.read()).toBe('plan the work'), { timeout: withinMs })
    await text.delete(0, 5)
    await text.insert(8, ', now')
    await vi.waitFor(() => expect(one.text?.read()).toBe('the work, now'), { timeout: withinMs })
    expect(told).toBeGreaterThan(0)
    const changes: unknown[] = []
    two.json?.onChange((path, value) => changes.push([path.join('.'), value]))
    await one.json?.set(['tasks', 't-1', 'title'], 'refund')
    await one.json?.set(['tasks', 't-1', 'tries'], 3)
    await vi.waitFor(() => expect(two.json?.read()).toEqual(one.json?.read()), { timeout: withinMs })
    expect(two.json?.read()).toMatchObject({ tasks: { 't-1': { title: 'refund', tries: 3 } } })
    expect(changes).toContainEqual(['tasks.t-1.tries', 3])
  })
}

/** Two nodes of a system, and its hub, in this process. */
async function opened(system: System) {
  const dir = await mkdtemp(join(tmpdir(), 'skein-systems-'))
  const [variant] = system.variants
  const host = '127.0.0.1'
  const members = [
    { host, port: await freePort() },
    { host, port: await freePort() },
  ]
  const shared = { variant: variant.name, dir, run: 'contract' }
  const hubAddress = system.topology === 'hub' ? { host, port: await freePort() } : undefined
  const hub = hubAddress && (await system.openHub?.({ ...shared, listen: hubAddress }))
  const open = async (index: number): Promise<OpenNode> => {
    const own = members[index] ?? { host, port: 0 }
    const place = { ...shared, index, nodes: 2, listen: own, advertise: own, members, hub: hubAddress }
    return system.openNode({ ...place, dir: await mkdtemp(join(dir, 'node-')) })
  }
  const pair = [await open(0), await open(1)] as const
  await vi.waitFor(
    async () => expect(await Promise.all(pair.map(async (node) => node.ready()))).toEqual([true, true]),
    {
      timeout: withinMs,
    },
  )
  return {
    nodes: pair,
    async [Symbol.asyncDispose]() {
      for (const node of pair) await node.close()
      await hub?.close()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
