/**
 * A program for convergence-systems.test.ts: a text and a JSON document of one system, edited on two nodes. Says `good`, or
 * why there is nothing to try.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OpenNode, System } from '../bench/convergence/system.ts'
import { loadSystem } from '../bench/convergence/systems.ts'
import { freePort } from './cluster/ports.ts'

const host = '127.0.0.1'
const withinMs = 15_000

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const endMs = Date.now() + withinMs
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`not within ${withinMs / 1000} s: ${what}`)
    await sleep(20)
  }
}

/** Two nodes of a system, and its hub, all here. */
async function opened(system: System, dir: string): Promise<readonly [OpenNode, OpenNode]> {
  const members = [
    { host, port: await freePort() },
    { host, port: await freePort() },
  ] as const
  const shared = { variant: system.variants[0].name, dir, run: 'contract' }
  const hub = system.topology === 'hub' ? { host, port: await freePort() } : undefined
  if (hub !== undefined) await system.openHub?.({ ...shared, listen: hub })
  const open = async (index: 0 | 1): Promise<OpenNode> => {
    const own = members[index]
    const place = { ...shared, index, nodes: 2, listen: own, advertise: own, members, hub }
    return system.openNode({ ...place, dir: await mkdtemp(join(dir, 'node-')) })
  }
  const [one, two] = [await open(0), await open(1)]
  await until(async () => (await one.ready()) && (await two.ready()), 'both are ready')
  return [one, two]
}

async function edited([one, two]: readonly [OpenNode, OpenNode]): Promise<string> {
  const [text, other] = [one.text, two.text]
  if (text === undefined || other === undefined) return 'it has no text'
  let told = 0
  other.onChange(() => told++)
  await text.insert(0, 'plan the work')
  await until(() => other.read() === 'plan the work', 'the text of one is at the other')
  await other.delete(0, 5)
  await other.insert(8, ', now')
  await until(() => text.read() === 'the work, now', 'the edits of the other are at the one')
  assert(told > 0, 'nobody told of the text')
  const changes: string[] = []
  two.json?.onChange((path, value) => changes.push(`${path.join('.')} = ${value}`))
  await one.json?.set(['tasks', 't-1', 'title'], 'refund')
  await one.json?.set(['tasks', 't-1', 'tries'], 3)
  const whole = JSON.stringify({ tasks: { 't-1': { title: 'refund', tries: 3 } } })
  await until(() => JSON.stringify(two.json?.read()) === whole, 'the JSON of one is at the other')
  assert.deepEqual(changes.sort(), ['tasks.t-1.title = refund', 'tasks.t-1.tries = 3'])
  return 'good'
}

const dir = await mkdtemp(join(tmpdir(), 'skein-documents-'))
try {
  const pair = await opened(await loadSystem(process.argv[2] ?? ''), dir)
  process.stdout.write(`${await edited(pair)}\n`)
} finally {
  await rm(dir, { recursive: true, force: true })
}
process.exit(0)
