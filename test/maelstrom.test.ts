/** Maelstrom's workloads against our nodes, over a workbench of ours that speaks its protocol: latency, disorder, a partition. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { prng } from '../src/base/prng.ts'
import { Workbench } from './maelstrom/workbench.ts'

const latencyMs = 10

/** Asks while the first node is cut off for a while, each time another node. */
async function through(
  bench: Workbench,
  count: number,
  ask: (node: string, number: number) => Promise<unknown>,
): Promise<void> {
  for (let number = 0; number < count; number++) {
    if (number === Math.floor(count / 4)) bench.partition(['n0'])
    await ask(bench.nodes[number % bench.nodes.length] ?? '', number)
    if (number === Math.floor(count / 2)) await sleep(1_000)
  }
  expect(bench.dropped).toBeGreaterThan(0)
  bench.partition([])
}

async function until(bench: Workbench, isSo: (answer: Readonly<Record<string, unknown>>) => boolean): Promise<void> {
  for (const node of bench.nodes) {
    while (!isSo(await bench.ask(node, { type: 'read' }))) await sleep(50)
  }
}

const sorted = (value: unknown): number[] => [...(value as readonly number[])].sort((a, b) => a - b)
const first = (count: number): number[] => Array.from({ length: count }, (_, number) => number)

test('broadcast: every message comes to every node, over a partition too; unique-ids: none is given out twice', async () => {
  await using bench = await Workbench.open(3, latencyMs, prng(1))
  for (const node of bench.nodes) {
    expect(await bench.ask(node, { type: 'topology', topology: {} })).toMatchObject({ type: 'topology_ok' })
  }
  await through(bench, 40, async (node, message) => {
    expect(await bench.ask(node, { type: 'broadcast', message })).toMatchObject({ type: 'broadcast_ok' })
  })
  // unique-ids, and what no workload asks, in the same fleet.
  const ids = new Set<unknown>()
  for (let number = 0; number < 60; number++) {
    ids.add((await bench.ask(bench.nodes[number % 3] ?? '', { type: 'generate' }))['id'])
  }
  expect(ids.size).toBe(60)
  expect(await bench.ask('n0', { type: 'txn' })).toMatchObject({ type: 'error', code: 10 })
  await until(bench, ({ messages }) => (messages as readonly number[]).length === 40)
  expect(sorted((await bench.ask('n0', { type: 'read' }))['messages'])).toEqual(first(40))
})

test('g-set: an added element is read everywhere', async () => {
  await using bench = await Workbench.open(3, latencyMs, prng(2))
  await through(bench, 40, async (node, element) => {
    expect(await bench.ask(node, { type: 'add', element })).toMatchObject({ type: 'add_ok' })
  })
  await until(bench, ({ value }) => (value as readonly number[]).length === 40)
  expect(sorted((await bench.ask('n1', { type: 'read' }))['value'])).toEqual(first(40))
})

test('g-counter and pn-counter: the sum of all that was added, above zero and below', async () => {
  await using bench = await Workbench.open(3, latencyMs, prng(3))
  let sum = 0
  await through(bench, 40, async (node, number) => {
    const delta = number % 3 === 0 ? -number : number
    sum += delta
    expect(await bench.ask(node, { type: 'add', delta })).toMatchObject({ type: 'add_ok' })
  })
  await until(bench, ({ value }) => value === sum)
})
