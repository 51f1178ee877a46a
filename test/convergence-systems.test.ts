/**
 * The contract of a system in the convergence bench, for real processes. What is not installed here is left out with the
 * reason; nothing is installed for it: `npm run bench -- convergence --install` does.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import type { Contestant } from '../bench/convergence/contestant.ts'
import { Fleet } from '../bench/convergence/fleet.ts'
import { keysOf, offered, paced, soonUs, whenAll, whenEqual, whenQuiet } from '../bench/convergence/stage.ts'
import type { Keys } from '../bench/convergence/control.ts'
import { loadSystem, systemFiles } from '../bench/convergence/systems.ts'

const documents = fileURLToPath(new URL('convergence-documents.ts', import.meta.url))
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
    const why = await (await loadSystem(file)).available?.()
    if (why !== undefined) skip(why)
    // In a process of its own: Yjs must be there once, and the runner's way to load it is not Node's.
    const { stdout } = await promisify(execFile)(process.execPath, [documents, file])
    if (stdout !== 'good\n') skip(stdout)
  })
}
