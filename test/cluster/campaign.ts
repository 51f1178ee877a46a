/** One run against the checker: clients and faults side by side, then everything healed, then every node read and judged. */
import { join } from 'node:path'
import { mkdirSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { prng } from '../../src/base/prng.ts'
import { check } from './checker.ts'
import type { Anomaly } from './checker.ts'
import { Cluster } from './cluster.ts'
import type { Spoken, Way } from './cluster.ts'
import { Nemesis, mostAstrayMs, plan } from './faults.ts'
import type { Planned } from './faults.ts'
import { History } from './history.ts'
import { Client, budgets, readAll } from './workload.ts'
import type { Shared } from './workload.ts'

export interface CampaignSettings {
  readonly seed: number
  readonly nodes: number
  readonly lengthMs: number
  readonly home: string
  readonly alteration?: string | undefined
  readonly way?: Way
  readonly transport?: Spoken
}

export interface Campaign {
  readonly anomalies: readonly Anomaly[]
  /** What is wrong beside the history: nodes that end, or do not become equal. */
  readonly problems: readonly string[]
  readonly figures: Readonly<Record<string, number>>
  readonly planned: readonly Planned[]
}

/** Links that were cut are dialled again within 15 s; and the machine may be busy. */
const spreadsWithinMs = 18_000
const convergesWithinMs = 60_000

export async function campaign({
  seed,
  nodes,
  lengthMs,
  home,
  alteration,
  way = 'proxies',
  transport = 'ws',
}: CampaignSettings): Promise<Campaign> {
  mkdirSync(home, { recursive: true })
  const chance = prng(seed)
  const withClocks = chance.fork(3).chance(0.5)
  const planned = plan(chance.fork(1), nodes, lengthMs, withClocks)
  writeFileSync(join(home, 'faults.json'), `${JSON.stringify(planned, undefined, 1)}\n`)
  const history = new History(join(home, 'history.jsonl'))
  const cluster = await Cluster.open({
    count: nodes,
    home,
    chance: chance.fork(2),
    alteration,
    way,
    transport,
    isAstray: withClocks,
  })
  const problems: string[] = []
  const shared: Shared = { registers: [] }
  const clients = Array.from(
    { length: nodes + 2 },
    (_, number) => new Client(number, cluster, history, chance.fork(100 + number), shared),
  )
  const reader = new Client(clients.length, cluster, history, chance.fork(99), shared)
  const nemesis = new Nemesis(cluster, history)
  const figures: Record<string, number> = {}
  let isOver = false
  let work: readonly Promise<void>[] = []
  try {
    await Promise.all(cluster.members.map(({ index }) => cluster.start(index)))
    for (let node = 0; node < nodes; node++) {
      for (const key of budgets) await reader.do({ f: 'grant', key, amount: 20 }, { node })
    }
    work = clients.map((client) => client.run(() => isOver))
    const faults = nemesis.run(planned)
    await Promise.all([faults, sleep(lengthMs)])
    history.fault('everything is healed')
    isOver = true
    await Promise.all(work)
    const healedMs = performance.now()
    const unequal = await cluster.equalWithin(convergesWithinMs)
    figures['ms to equal'] = Math.round(performance.now() - healedMs)
    if (unequal !== undefined)
      problems.push(`not equal ${convergesWithinMs / 1000} s after everything was healed:\n${unequal}`)
    await readAll(reader, nodes, shared.registers)
    for (const { index, crashes } of cluster.members) {
      for (const crash of crashes) problems.push(`node ${index}: ${crash}, and nobody had asked for it`)
    }
  } catch (error) {
    // A node that does not start, most likely: what the history shows until then still counts.
    problems.push(`the run ended early: ${stackOf(error)}`)
  } finally {
    isOver = true
    await cluster.close()
    await Promise.allSettled(work)
    history.close()
  }
  const verdict = check(history.events, { nodes, spreadsWithinMs, clocksApartMs: withClocks ? 2 * mostAstrayMs : 0 })
  for (const [name, number] of nemesis.figures) figures[`fault: ${name}`] = number
  const { connections, resets, bytes } = cluster.network.figures
  Object.assign(figures, { 'network: connections': connections, 'network: resets': resets, 'network: bytes': bytes })
  return { anomalies: verdict.anomalies, problems, figures: { ...verdict.figures, ...figures }, planned }
}

export function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
