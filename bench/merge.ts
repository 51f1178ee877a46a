/**
 * What looking for conflicts costs: while agents write, while a delta is classified beside many open conflicts, and when a
 * partition heals in which everything clashed.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineSpace, openNode } from '../src/index.ts'
import type { RuleDeclaration, SkeinNode, SpaceHandle } from '../src/index.ts'
import type { Applied } from '../src/replica/replica.ts'
import { keyOf, newWrites, overwrites } from './data.ts'
import { exactly, percentile, spread } from './measure.ts'
import type { HealAnswer } from './merge-child.ts'
import type { Figure, Scenario, Suite } from './scenario.ts'

/** Rules that find what they compare by the key, the field or the value: no rule looks through a space. */
const indexed: readonly RuleDeclaration[] = [
  { rule: 'field' },
  { rule: 'delete' },
  { rule: 'claim' },
  { rule: 'exclusive', field: 'status', values: [['done', 'cancelled']] },
  { rule: 'transition', field: 'phase', steps: { todo: ['doing'], doing: ['done'] } },
  { rule: 'effect', receipt: 'receipt' },
  { rule: 'unique', field: 'external' },
  { rule: 'reference', field: 'parent', to: 'plan-' },
  { rule: 'stale', field: 'basedOn' },
  { rule: 'types' },
]

const together = 1000
/** How far behind each other two writers are. */
const behind = 100

async function fill(space: SpaceHandle, node: SkeinNode, count: number): Promise<void> {
  for (const [at, { key, fields }] of newWrites(count).entries()) {
    space.record(key).set(fields)
    if (at % together === together - 1) await node.flush()
  }
  await node.flush()
}

interface Ruled {
  readonly name: string
  readonly rules: readonly RuleDeclaration[]
}

/** A node on a disk with many entries, and another in memory that has them too. */
class Pair {
  readonly node: SkeinNode
  readonly peer: SkeinNode
  readonly space: SpaceHandle
  readonly other: SpaceHandle

  private constructor(node: SkeinNode, peer: SkeinNode) {
    this.node = node
    this.peer = peer
    this.space = node.space('tasks')
    this.other = peer.space('tasks')
  }

  static async open(dir: string, rules: readonly RuleDeclaration[], entries: number): Promise<Pair> {
    const node = await openNode({ dir, agent: 'bench', durability: 'os' })
    const peer = await openNode({ memory: true, agent: 'peer', cacheBytes: 2 ** 28 })
    if (rules.length > 0) node.space('tasks', defineSpace({ rules }))
    const pair = new Pair(node, peer)
    await fill(pair.space, node, entries)
    pass(node, peer)
    await peer.flush()
    return pair
  }

  async close(): Promise<void> {
    await this.node.close()
    await this.peer.close()
  }
}

/** Hands over what the other lacks, as gossip does, but at once. */
function pass(from: SkeinNode, to: SkeinNode): number {
  const [source] = from.replica.spaces
  if (source === undefined) return 0
  const space = to.replica.open(source.name)
  let passed = 0
  for (const [origin, last] of source.vector) {
    for (let seq = (space.vector.get(origin) ?? 0) + 1; seq <= last; seq++) {
      const entry = source.logs.get(origin)?.entry(seq)
      if (entry === undefined) throw new Error('the log reaches back to what the other lacks')
      to.replica.receive(space, { origin, seq }, entry.body, Date.now())
      passed++
    }
  }
  return passed
}

function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

type Round = (pair: Pair, count: number, round: number) => Promise<void>

/** Only this node writes: it knows all that is here, so nothing is to be compared. */
const alone: Round = async ({ node, space }, count, round) => {
  for (const [at, { key, value }] of overwrites(count, count).entries()) {
    space.record(key).set({ status: `${round} ${value}` })
    if (at % together === together - 1) await node.flush()
  }
  await node.flush()
}

/** Another writes as much at the same time, and each is a hundred writes behind the other: nothing clashes. */
const both: Round = async ({ node, peer, space, other }, count, round) => {
  for (let at = 0; at < count; at += 2 * behind) {
    for (let one = 0; one < behind; one++) {
      space.record(keyOf(at + one)).set({ status: `here ${round} ${at}` })
      other.record(keyOf(at + behind + one)).set({ status: `there ${round} ${at}` })
    }
    pass(peer, node)
    pass(node, peer)
    if (at % together === 0) await node.flush()
  }
  await node.flush()
}

interface Throughput {
  readonly name: string
  readonly measures: string
  readonly round: Round
  /** Processor time of the peer is in it, the same for all. */
  readonly goal: number | undefined
}

function throughput({ name, measures, round, goal }: Throughput): Scenario {
  const contenders: readonly Ruled[] = [
    { name: 'no rules', rules: [] },
    { name: 'indexed rules', rules: indexed },
    { name: 'bound, over a sum of each entry', rules: [{ rule: 'bound', field: 'amount', max: 10 }] },
  ]
  return {
    name,
    measures,
    async run({ quick, progress }) {
      const entries = quick ? 10_000 : 100_000
      const count = quick ? 4_000 : 20_000
      const rounds = quick ? 3 : 9
      const dir = await mkdtemp(join(tmpdir(), 'skein-bench-'))
      const pairs: (readonly [Ruled, Pair, number[]])[] = []
      try {
        for (const [at, ruled] of contenders.entries()) {
          progress(`${name}: ${entries} entries, ${ruled.name}`)
          pairs.push([ruled, await Pair.open(join(dir, String(at)), ruled.rules, entries), []])
        }
        for (let turn = -1; turn < rounds; turn++) {
          progress(`${name}: round ${turn + 1} of ${rounds}`)
          for (let i = 0; i < pairs.length; i++) {
            const [, pair, rates] = pairs[(i + turn + pairs.length) % pairs.length] as (typeof pairs)[number]
            const startedMs = processorMs()
            await round(pair, count, turn)
            // The first turn only warms the compiler up.
            if (turn >= 0) rates.push((1000 * count) / (processorMs() - startedMs))
          }
        }
        const [[, , plain]] = pairs as [(typeof pairs)[number]]
        const figures: Figure[] = pairs.slice(1).map(([ruled, , rates], at) => ({
          name: `${ruled.name} / no rules`,
          unit: 'x',
          value: spread(rates.map((rate, turn) => rate / (plain[turn] as number))),
          ...(at === 0 && goal !== undefined && { goal: { atLeast: goal } }),
        }))
        for (const [ruled, , rates] of pairs) figures.push({ name: ruled.name, unit: 'ops/s', value: spread(rates) })
        const notes = [
          `${count.toLocaleString('en')} writes a round to ${entries.toLocaleString('en')} entries on a disk, durability os, in processor time of the whole process`,
          `indexed rules: ${indexed.map(({ rule }) => rule).join(', ')}`,
        ]
        return { figures, notes }
      } finally {
        for (const [, pair] of pairs) await pair.close()
        await rm(dir, { recursive: true, force: true })
      }
    },
  }
}

// --- classify ---------------------------------------------------------------------------------------------------

async function until(look: () => boolean): Promise<void> {
  while (!look()) await new Promise((resolve) => setTimeout(resolve, 5))
}

const classify: Scenario = {
  name: 'a change beside 10,000 open conflicts',
  measures:
    'How long it takes to look through one delta that crossed others: half of them write to entries that have an open conflict. Applying it is not in it.',
  async run({ quick, progress }) {
    const open = quick ? 1_000 : 10_000
    const changes = quick ? 1_000 : 5_000
    const node = await openNode({ memory: true, agent: 'here', cacheBytes: 2 ** 28 })
    const peer = await openNode({ memory: true, agent: 'there', cacheBytes: 2 ** 28 })
    try {
      // Held entries would refuse the writes that are to clash.
      const rules = indexed.map((rule) => ({ ...rule, safe: 'keep-last' as const }))
      const here = node.space('tasks', defineSpace({ rules }))
      const there = peer.space('tasks')
      pass(node, peer)
      progress(`opening ${open} conflicts`)
      for (let at = 0; at < open; at++) {
        here.record(keyOf(at)).set({ status: 'here' })
        there.record(keyOf(at)).set({ status: 'there' })
      }
      pass(peer, node)
      const [space] = node.replica.spaces
      if (space === undefined) throw new Error('there is a space')
      const { conflicts } = node.machine
      await until(() => conflicts.stats(space).pending === 0)
      pass(node, peer)
      progress('classifying')
      // Fresh keys and those of open conflicts in turn.
      const keyAt = (at: number): string => keyOf(at % 2 === 0 ? at % open : open + at)
      for (let at = 0; at < changes; at++) {
        here.record(keyAt(at)).set({ status: `again ${at}` })
        there.record(keyAt(at)).set({ status: `anew ${at}` })
      }
      const tookMs: number[] = []
      const applied = conflicts.applied.bind(conflicts)
      conflicts.applied = (event: Applied, nowMs: number) => {
        const startedMs = performance.now()
        applied(event, nowMs)
        tookMs.push(performance.now() - startedMs)
      }
      pass(peer, node)
      conflicts.applied = applied
      const figures: Figure[] = [
        { name: 'p99', unit: 'ms', value: exactly(percentile(tookMs, 0.99)), goal: { atMost: 1 } },
        { name: 'median', unit: 'ms', value: exactly(percentile(tookMs, 0.5)) },
        {
          name: 'longest: the first, which reads what it is compared with',
          unit: 'ms',
          value: exactly(Math.max(...tookMs)),
        },
      ]
      return { figures, notes: [`${tookMs.length} deltas, each against ${changes} that its writer had not seen`] }
    } finally {
      await node.close()
      await peer.close()
    }
  },
}

// --- heal -------------------------------------------------------------------------------------------------------

const child = fileURLToPath(new URL('merge-child.ts', import.meta.url))

function started(...args: readonly string[]): ChildProcess {
  return fork(child, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}

function ended(running: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    running.on('error', reject)
    running.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a process ended with ${code}`))))
  })
}

function answer<Kind extends HealAnswer['kind']>(
  running: ChildProcess,
  kind: Kind,
): Promise<HealAnswer & { readonly kind: Kind }> {
  return new Promise((resolve, reject) => {
    running.on('error', reject)
    running.on('exit', (code) => reject(new Error(`a process ended with ${code}`)))
    running.on('message', (message: HealAnswer) => {
      if (message.kind === kind) resolve(message as HealAnswer & { readonly kind: Kind })
    })
  })
}

/** Two nodes that wrote the same entries while apart meet. */
async function healed(count: number, rule: string): Promise<(HealAnswer & { readonly kind: 'healed' })[]> {
  const dir = await mkdtemp(join(tmpdir(), 'skein-bench-'))
  const running: ChildProcess[] = []
  try {
    await Promise.all(['a', 'b'].map((name) => ended(started('write', join(dir, name), name, String(count), rule))))
    const first = started('heal', join(dir, 'a'), 'a', String(count), rule)
    running.push(first)
    const { address } = await answer(first, 'opened')
    const second = started('heal', join(dir, 'b'), 'b', String(count), rule, address)
    running.push(second)
    return await Promise.all([answer(first, 'healed'), answer(second, 'healed')])
  } finally {
    for (const one of running) {
      if (!one.connected) continue
      const closed = answer(one, 'closed')
      one.send('close')
      await closed
    }
    await rm(dir, { recursive: true, force: true })
  }
}

const heal: Scenario = {
  name: 'a partition in which everything clashed',
  measures:
    'Two nodes on disks, each in a process of its own, gave every entry another value and meet: until each has every conflict open and nothing pending, and what that takes in memory.',
  async run({ quick, progress }) {
    const count = quick ? 5_000 : 100_000
    progress(`healing ${count} conflicts`)
    const ruled = await healed(count, 'field')
    progress(`the same without rules`)
    const plain = await healed(count, 'none')
    const most = (sides: typeof ruled, of: 'seconds' | 'processorSeconds' | 'peakBytes' | 'heldBytes'): number =>
      Math.max(...sides.map((side) => side[of]))
    const figures: Figure[] = [
      {
        name: 'until all are open, processor time of one node',
        unit: 's',
        value: exactly(most(ruled, 'processorSeconds')),
        goal: { atMost: 20 },
      },
      { name: 'until all are open, by the clock', unit: 's', value: exactly(most(ruled, 'seconds')) },
      {
        name: 'resident at most, more than without rules',
        unit: 'MB',
        value: exactly((most(ruled, 'peakBytes') - most(plain, 'peakBytes')) / 1e6),
        goal: { atMost: 200 },
      },
      { name: 'resident at most, above an opened node', unit: 'MB', value: exactly(most(ruled, 'peakBytes') / 1e6) },
      { name: 'held afterwards', unit: 'MB', value: exactly(most(ruled, 'heldBytes') / 1e6) },
      {
        name: 'conflicts open on each',
        unit: 'entries',
        value: spread(ruled.map(({ open }) => open)),
        goal: { atLeast: count, atMost: count },
      },
      {
        name: 'without rules: until equal, processor time of one node',
        unit: 's',
        value: exactly(most(plain, 'processorSeconds')),
      },
      { name: 'without rules: resident at most', unit: 'MB', value: exactly(most(plain, 'peakBytes') / 1e6) },
      { name: 'without rules: held afterwards', unit: 'MB', value: exactly(most(plain, 'heldBytes') / 1e6) },
    ]
    return {
      figures,
      notes: [
        `${count.toLocaleString('en')} entries; the greater figure of the two nodes`,
        'processor time is what the goal is held to: by the clock both wait for whatever else the machine does',
      ],
    }
  },
}

export const merge: Suite = {
  name: 'merge',
  says: 'conflicts: what rules cost writers, a change beside many open ones, the heal of a partition',
  scenarios: [
    throughput({
      name: 'writes to a space with rules',
      measures: 'One node writes to fields of records. What it writes knew of everything, so no rule has to look.',
      round: alone,
      goal: 0.75,
    }),
    throughput({
      name: 'writes of two that cross',
      measures:
        'A node on a disk and one in memory write at once, each a hundred writes behind the other: every delta is compared with a hundred others, and none clash.',
      round: both,
      goal: 0.75,
    }),
    classify,
    heal,
  ],
}
