/**
 * Fleets of many nodes, in virtual time and from seeds: every figure with a goal is exact and the same on every machine, so
 * each is judged as it is.
 *
 * Here are machines of gossip alone, in the worlds that their tests use. Whole nodes are in whole-nodes.ts.
 */
import { limits } from '../src/base/limits.ts'
import { prng } from '../src/base/prng.ts'
import { Agenda, Fleet, nodeId, originOf, Overlays, space } from '../src/gossip/fleet.test-kit.ts'
import { PeerQueue } from '../src/gossip/queue.ts'
import type { NodeId } from '../src/wire/frame.ts'
import { exactly, percentile } from './measure.ts'
import type { Figure, Scenario, Series, Spread, Suite } from './scenario.ts'
import { lossy, partition, slowNode, wholeFleet } from './whole-nodes.ts'

function spreadOf(values: readonly number[]): Spread {
  return {
    median: percentile(values, 0.5),
    low: Math.min(...values),
    high: Math.max(...values),
    rounds: values.length,
  }
}

// --- broadcast --------------------------------------------------------------------------------------------------

/** One size of the fleet: how many seeds, and what is asked for. */
interface Size {
  readonly nodes: number
  readonly seeds: number
  readonly mostHops: number
  readonly mostCopies: number
}

const sizes: readonly Size[] = [
  { nodes: 10, seeds: 10, mostHops: 1, mostCopies: 1.0 },
  { nodes: 100, seeds: 10, mostHops: 4, mostCopies: 1.1 },
  { nodes: 1000, seeds: 3, mostHops: 6, mostCopies: 1.1 },
  { nodes: 10_000, seeds: 1, mostHops: 8, mostCopies: 1.2 },
]

const writers = 8
/** Rounds of writes until the trees have settled; then those that are counted. */
const settling = 12
const counted = 3

function spreadIn({ nodes }: Size, seed: number): { hops: number[]; copies: number; first: number; notices: number } {
  const world = new Overlays(seed, nodes)
  const writing = world.all.slice(0, writers)
  const first = world.measure(writing, 500).payloads
  for (let round = 1; round < settling; round++) world.measure(writing, 500)
  const hops: number[] = []
  let payloads = 0
  let notices = 0
  for (let round = 0; round < counted; round++) {
    const spread = world.measure(writing, 500)
    if (spread.missing > 0) throw new Error(`${spread.missing} deltas did not arrive`)
    hops.push(...spread.hops)
    payloads += spread.payloads
    notices += spread.notices
  }
  const deltas = counted * writing.length
  return {
    hops,
    copies: payloads / deltas / nodes,
    first: first / writing.length / nodes,
    notices: notices / counted / nodes,
  }
}

const broadcast: Scenario = {
  name: 'broadcast',
  measures: `${writers} nodes write at once, round after round; a hop takes 0.2 to 0.8 ms, different for each pair and with some chance. Counted after ${settling} rounds: hops until the last node has a delta, and how often a node is sent each payload.`,
  async run({ quick, progress }) {
    const figures: Figure[] = []
    const hopPoints: [number, number][] = []
    const copyPoints: [number, number][] = []
    const floods: string[] = []
    const used = quick ? sizes.filter(({ nodes }) => nodes <= 1000).map((size) => ({ ...size, seeds: 1 })) : sizes
    for (const size of used) {
      const { nodes, seeds, mostHops, mostCopies } = size
      const label = nodes.toLocaleString('en')
      const runs = Array.from({ length: seeds }, (_, seed) => {
        progress(`${label} nodes, seed ${seed}`)
        return spreadIn(size, seed)
      })
      const hops = runs.flatMap((run) => run.hops)
      const copies = spreadOf(runs.map((run) => run.copies))
      figures.push(
        // The worst delta is judged, not the median one.
        {
          name: `hops to all ${label}, worst`,
          unit: 'hops',
          value: exactly(Math.max(...hops)),
          goal: { atMost: mostHops },
        },
        { name: `hops to all ${label}`, unit: 'hops', value: spreadOf(hops) },
        { name: `copies a node, ${label}`, unit: 'copies', value: copies, goal: { atMost: mostCopies } },
        { name: `notices a node and round, ${label}`, unit: 'frames', value: spreadOf(runs.map((run) => run.notices)) },
      )
      hopPoints.push([nodes, Math.max(...hops)])
      copyPoints.push([nodes, copies.median])
      floods.push(
        `${percentile(
          runs.map((run) => run.first),
          0.5,
        ).toFixed(1)} at ${label}`,
      )
    }
    const goals = (of: (size: Size) => number): [number, number][] => used.map((size) => [size.nodes, of(size)])
    const series: Series[] = [
      {
        name: 'hops to all nodes',
        x: 'nodes',
        logarithmic: true,
        points: hopPoints,
        goal: goals((one) => one.mostHops),
      },
      {
        name: 'payload copies a node',
        x: 'nodes',
        logarithmic: true,
        points: copyPoints,
        goal: goals((one) => one.mostCopies),
      },
    ]
    return {
      figures,
      series,
      notes: [
        'up to 32 members a full mesh; beyond, a tree for each writer over 10 neighbours; the roster is shared, the views are not',
        `the first delta of a writer floods its tree, copies a node: ${floods.join(', ')}`,
        'a notice is one frame for all writers of a round, some 10 bytes a writer',
      ],
    }
  },
}

// --- membership -------------------------------------------------------------------------------------------------

const fleetSize = 100
/** In one fleet, one after the other. */
const deaths = 6

/** Kills one after the other and starts each again: when do the others know? */
function deathsIn(seed: number): { all: number[]; first: number[]; wrong: number; missed: number } {
  const fleet = new Fleet(seed)
  const nodes = fleet.startMany(fleetSize)
  fleet.run(110_000)
  const all: number[] = []
  const first: number[] = []
  let wrong = 0
  let missed = 0
  for (let death = 0; death < deaths; death++) {
    fleet.seen.length = 0
    const victim = nodes[1 + fleet.random.below(nodes.length - 1)] as NodeId
    const killedMs = fleet.nowMs
    fleet.kill(victim)
    fleet.run(25_000)
    const dead = fleet.seen.filter(({ state }) => state === 'dead')
    wrong += dead.filter(({ of }) => of !== victim).length
    const delays = dead.filter(({ of }) => of === victim).map(({ atMs }) => atMs - killedMs)
    missed += fleetSize - 1 - delays.length
    all.push(...delays)
    first.push(Math.min(...delays))
    fleet.start(victim)
    fleet.meet(victim, nodes[0] as NodeId)
    fleet.run(10_000)
  }
  return { all, first, wrong, missed }
}

const death: Scenario = {
  name: 'death',
  measures: `${fleetSize} nodes; one dies without a word, and it is noted when each of the others takes it for dead.`,
  async run({ quick, progress }) {
    const seeds = quick ? 4 : 40
    const runs = Array.from({ length: seeds }, (_, seed) => {
      progress(`seed ${seed}`)
      return deathsIn(seed)
    })
    const all = runs.flatMap((run) => run.all).map((ms) => ms / 1000)
    const first = runs.flatMap((run) => run.first).map((ms) => ms / 1000)
    const sum = (of: (run: (typeof runs)[number]) => number): number => runs.reduce((total, run) => total + of(run), 0)
    const shares = Array.from({ length: 101 }, (_, at): [number, number] => [percentile(all, at / 100), at])
    return {
      figures: [
        // A few deaths say little of the median: judged only when there are many.
        {
          name: 'dead for a node, median',
          unit: 's',
          value: exactly(percentile(all, 0.5)),
          ...(quick ? {} : { goal: { atMost: 8 } }),
        },
        { name: 'dead for a node, 99 of 100', unit: 's', value: exactly(percentile(all, 0.99)), goal: { atMost: 13 } },
        { name: 'dead for the first', unit: 's', value: spreadOf(first) },
        { name: 'others taken for dead', unit: 'nodes', value: exactly(sum((run) => run.wrong)), goal: { atMost: 0 } },
        { name: 'who never noticed', unit: 'nodes', value: exactly(sum((run) => run.missed)), goal: { atMost: 0 } },
      ],
      series: [{ name: 'death known to % of nodes', x: 's', logarithmic: false, points: shares }],
      notes: [
        `${deaths * seeds} deaths, each seen by ${fleetSize - 1}`,
        'no link tells of the death here, as when a machine loses its power; where one does, the node is probed at once',
      ],
    }
  },
}

function stallsIn(seed: number, rounds: number): { dead: number; suspected: number } {
  const fleet = new Fleet(1000 + seed)
  const nodes = fleet.startMany(fleetSize)
  fleet.run(20_000)
  fleet.seen.length = 0
  for (let round = 0; round < rounds; round++) {
    const start = fleet.random.below(nodes.length)
    for (let at = 0; at < fleetSize / 10; at++) {
      const node = nodes[(start + 7 * at) % nodes.length] as NodeId
      // In half of the rounds all at once, in the others one here and one there.
      const delayMs = round % 2 === 0 ? 0 : fleet.random.below(5000)
      fleet.at(fleet.nowMs + delayMs, () => fleet.freeze(node, 5000))
    }
    fleet.run(20_000)
  }
  return {
    dead: fleet.seen.filter(({ state }) => state === 'dead').length,
    suspected: fleet.seen.filter(({ state }) => state === 'suspect').length,
  }
}

const stalls: Scenario = {
  name: 'stalls',
  measures: `${fleetSize} nodes; the event loops of ten stand still for 5 s, again and again. Nobody is dead.`,
  async run({ quick, progress }) {
    const seeds = quick ? 3 : 12
    const rounds = 6
    const runs = Array.from({ length: seeds }, (_, seed) => {
      progress(`seed ${seed}`)
      return stallsIn(seed, rounds)
    })
    return {
      figures: [
        {
          name: 'taken for dead',
          unit: 'nodes',
          value: exactly(runs.reduce((sum, { dead }) => sum + dead, 0)),
          goal: { atMost: 0 },
        },
        {
          name: 'suspicions a node and stall',
          unit: 'x',
          value: spreadOf(runs.map(({ suspected }) => suspected / rounds / (fleetSize / 10) / fleetSize)),
        },
      ],
      notes: [`${seeds * rounds * (fleetSize / 10)} stalls; a suspicion that is refuted is what the protocol is for`],
    }
  },
}

// --- a slow peer ------------------------------------------------------------------------------------------------

const peers = 10
const deltaBytes = 1000
/** A write every so often: 2 MB/s to each peer. */
const writeMs = 0.5
const fastBytesMs = 100_000
const slowBytesMs = 20
/** What one write to a socket costs the sender; an assumption, the same with and without the slow peer. */
const sendMs = 0.015

interface Delivered {
  readonly lags: number[]
  readonly mostHeld: number
  readonly caughtUp: number
}

/** One writer and its queues; with `slow`, the last peer takes 20 kB/s. The writer sends one thing at a time. */
function deliver(slow: boolean, forMs: number): Delivered {
  type Event = { readonly kind: 'write' } | { readonly kind: 'drained'; readonly peer: number }
  const agenda = new Agenda<Event>()
  const random = prng(7)
  const queues = Array.from({ length: peers }, () => new PeerQueue())
  const origin = originOf(nodeId(1))
  const writtenMs: number[] = [0]
  const lags: number[] = []
  let mostHeld = 0
  let caughtUp = 0
  let nowMs = 0
  let senderMs = 0
  const flush = (peer: number): void => {
    const queue = queues[peer] as PeerQueue
    if (!queue.ready) return
    if (queue.behind) caughtUp += queue.catchUp().length
    const taken = queue.take().flatMap(({ runs }) => runs)
    const bytes = deltaBytes * taken.reduce((sum, { count }) => sum + count, 0)
    const isSlow = slow && peer === peers - 1
    senderMs = Math.max(senderMs, nowMs) + sendMs
    const doneMs = senderMs + bytes / (isSlow ? slowBytesMs : fastBytesMs) + 0.25 * random.below(4)
    queue.sent()
    agenda.add(doneMs, { kind: 'drained', peer })
    if (peer === peers - 1) return
    for (const { seq, count } of taken) {
      for (let at = seq; at < seq + count; at++) lags.push(doneMs - (writtenMs[at] as number))
    }
  }
  agenda.add(0, { kind: 'write' })
  while (agenda.nextMs <= forMs) {
    nowMs = agenda.nextMs
    const event = agenda.take()
    if (event.kind === 'write') {
      writtenMs.push(nowMs)
      const dot = { origin, seq: writtenMs.length - 1 }
      for (let peer = 0; peer < peers; peer++) {
        const queue = queues[peer] as PeerQueue
        queue.push(space, dot, deltaBytes)
        mostHeld = Math.max(mostHeld, queue.heldBytes)
        flush(peer)
      }
      agenda.add(nowMs + writeMs, { kind: 'write' })
    } else {
      queues[event.peer]?.drained()
      flush(event.peer)
    }
  }
  return { lags, mostHeld, caughtUp }
}

const slowPeer: Scenario = {
  name: 'slow peer',
  measures: `One node writes ${1000 / writeMs} deltas of ${deltaBytes} bytes a second to ${peers} peers; one of them takes ${slowBytesMs} kB/s. What is held for it, and what the others notice.`,
  async run({ quick }) {
    const forMs = quick ? 5000 : 60_000
    const without = deliver(false, forMs)
    const with_ = deliver(true, forMs)
    const [before, after] = [percentile(without.lags, 0.99), percentile(with_.lags, 0.99)]
    return {
      figures: [
        {
          name: 'held for the slow one, at most',
          unit: 'bytes',
          value: exactly(with_.mostHeld),
          goal: { atMost: limits.peerQueueBytes },
        },
        {
          name: '99 of 100 deltas at the others, beside no slow one',
          unit: 'x',
          value: exactly(after / before),
          goal: { atMost: 1.1 },
        },
        { name: '99 of 100 deltas at the others', unit: 'ms', value: exactly(after) },
      ],
      notes: [
        `it fell behind and was told to catch up ${with_.caughtUp} times`,
        'queues alone, in virtual time: each write to a socket costs the sender 15 µs, whoever it is for',
      ],
    }
  },
}

export const scale: Suite = {
  name: 'scale',
  says: 'many nodes in virtual time: hops, copies, deaths, stalls, loss, a partition, a slow peer',
  scenarios: [broadcast, death, stalls, slowPeer, lossy, partition, slowNode, wholeFleet],
}
