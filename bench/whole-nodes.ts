/**
 * Figures of whole nodes: links that are dialled, members that are pinged, deltas that are pushed, compared and mended, on
 * the simulator's hosts and network (fleet.ts). In virtual time and from seeds, but for what is said to be processor time.
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { limits } from '../src/base/limits.ts'
import type { Host } from '../src/sim/host.ts'
import { Fleet, machineOf } from './fleet.ts'
import type { Track } from './fleet.ts'
import { exactly, percentile, spread } from './measure.ts'
import type { Figure, Scenario, Series } from './scenario.ts'

/** A round of anti-entropy; see its bounds. */
const roundMs = 1000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** A fleet in which everybody knows and has met whom he should, and nothing is new. */
function settled(seed: number, nodes: number): Fleet {
  const fleet = new Fleet(seed, nodes)
  fleet.start(Math.max(1000, 10 * nodes))
  fleet.write(fleet.hosts[0] as Host, 'first')
  const forMs = fleet.runUntil(() => fleet.isWhole && fleet.isEqual, 1000, 120_000)
  if (forMs === undefined) throw new Error(`${nodes} nodes did not come to know each other`)
  fleet.run(5000)
  return fleet
}

/** From the write until the last node has it. */
function lastMs(track: Track): number {
  return Math.max(...track.appliedMs.values()) - track.writtenMs
}

function missing(tracks: readonly Track[], nodes: number): number {
  return tracks.reduce((sum, { appliedMs }) => sum + nodes - appliedMs.size, 0)
}

// --- loss -------------------------------------------------------------------------------------------------------

interface LossSize {
  readonly nodes: number
  readonly seeds: { readonly full: number; readonly quick: number }
}

const lossSizes: readonly LossSize[] = [
  { nodes: 10, seeds: { full: 10, quick: 2 } },
  { nodes: 50, seeds: { full: 4, quick: 1 } },
]
/** In 1000. */
const loss = 100
/** Some write, each often enough that the trees of their deltas stand before messages are lost. */
const lossyWriters = 5
const before = 20
const lossyWrites = 100
const writeEveryMs = 100

function lossIn(nodes: number, seed: number): { lags: number[]; missing: number } {
  const fleet = settled(seed, nodes)
  const writing = fleet.hosts.filter((_, at) => at % (nodes / lossyWriters) === 0)
  for (let write = 0; write < before; write++) {
    for (const host of writing) fleet.write(host, write)
    fleet.run(200)
  }
  const weather = { loss, duplicate: 0, reorder: 0, garble: 0, delayMs: 0 }
  const forMs = lossyWrites * writeEveryMs + 60_000
  fleet.network.weather({
    kind: 'weather',
    at: fleet.now,
    chance: 0,
    forMs,
    from: undefined,
    to: undefined,
    ...weather,
  })
  const tracks: Track[] = []
  for (let write = 0; write < lossyWrites; write++) {
    tracks.push(fleet.track(fleet.random.pick(writing), write))
    fleet.run(writeEveryMs)
  }
  // The loss goes on until all have all of it.
  fleet.runUntil(() => missing(tracks, nodes) === 0, 100, 50_000)
  return { lags: tracks.map(lastMs), missing: missing(tracks, nodes) }
}

export const lossy: Scenario = {
  name: 'loss',
  measures: `Whole nodes; one message in ten is lost, whatever it is, all the time. A delta every ${writeEveryMs} ms at one of ${lossyWriters}: when has the last node applied it?`,
  async run({ quick, progress }) {
    const figures: Figure[] = []
    for (const { nodes, seeds } of lossSizes) {
      const runs = Array.from({ length: quick ? seeds.quick : seeds.full }, (_, seed) => {
        progress(`${nodes} nodes, seed ${seed}`)
        return lossIn(nodes, seed)
      })
      const lags = runs.flatMap((run) => run.lags)
      const rounds = (share: number): number => percentile(lags, share) / roundMs
      figures.push(
        { name: `at all ${nodes}, 99 of 100`, unit: 'rounds', value: exactly(rounds(0.99)), goal: { atMost: 2 } },
        { name: `at all ${nodes}, median`, unit: 'rounds', value: exactly(rounds(0.5)) },
        { name: `at all ${nodes}, worst`, unit: 'rounds', value: exactly(rounds(1)) },
        {
          name: `not at all ${nodes} within a minute`,
          unit: 'nodes',
          value: exactly(runs.reduce((sum, run) => sum + run.missing, 0)),
          goal: { atMost: 0 },
        },
      )
    }
    return {
      figures,
      notes: [`a round is ${roundMs} ms; ${lossyWrites} deltas a seed; a link here is a stream that loses messages`],
    }
  },
}

// --- a partition ------------------------------------------------------------------------------------------------

const halves = { nodes: 20, seeds: { full: 10, quick: 1 } }
const apart: readonly { readonly name: string; readonly forMs: number }[] = [
  { name: '5 s', forMs: 5000 },
  // Both sides take the other for dead.
  { name: '60 s', forMs: 60_000 },
]

interface Healed {
  /** From the end of the partition until there is a link between the sides, and until all are equal. */
  readonly linkedMs: number
  readonly equalMs: number
}

function partitionIn(seed: number, forMs: number): Healed {
  const { nodes } = halves
  const fleet = settled(seed, nodes)
  const sides = fleet.hosts.map(({ index }) => (index < nodes / 2 ? 0 : 1))
  fleet.network.partition({
    kind: 'partition',
    at: fleet.now,
    chance: 0,
    forMs,
    sides,
    how: 'reset',
    oneWay: false,
    flapMs: 0,
  })
  const writes = 100
  for (let write = 0; write < writes; write++) {
    fleet.write(fleet.random.pick(fleet.hosts), `while apart ${write}`)
    fleet.run(forMs / writes)
  }
  const isLinked = (): boolean => {
    const side = (node: string): number => sides[fleet.hosts.findIndex((host) => host.node === node)] as number
    return fleet.hosts.some((host) =>
      [...machineOf(host).peers].some((peer) => peer.spaces !== undefined && side(peer.node) !== sides[host.index]),
    )
  }
  const linkedMs = fleet.runUntil(isLinked, 5, 60_000)
  const furtherMs = fleet.runUntil(() => fleet.isEqual, 5, 60_000)
  if (linkedMs === undefined || furtherMs === undefined) throw new Error('the sides did not become equal')
  return { linkedMs, equalMs: linkedMs + furtherMs }
}

export const partition: Scenario = {
  name: 'partition',
  measures: `${halves.nodes} whole nodes in two halves; links between them are cut, each half writes 50 deltas. From the moment it heals: when are all equal, by context and root?`,
  async run({ quick, progress }) {
    const figures: Figure[] = []
    for (const { name, forMs } of apart) {
      const runs = Array.from({ length: quick ? halves.seeds.quick : halves.seeds.full }, (_, seed) => {
        progress(`${name}, seed ${seed}`)
        return partitionIn(seed, forMs)
      })
      const inRounds = (of: (run: Healed) => number): ReturnType<typeof spread> =>
        spread(runs.map((run) => of(run) / roundMs))
      const worst = Math.max(...runs.map(({ equalMs }) => equalMs)) / roundMs
      figures.push(
        { name: `equal after ${name}, worst`, unit: 'rounds', value: exactly(worst), goal: { atMost: 3 } },
        { name: `equal after ${name}`, unit: 'rounds', value: inRounds(({ equalMs }) => equalMs) },
        { name: `first link after ${name}`, unit: 'rounds', value: inRounds(({ linkedMs }) => linkedMs) },
      )
    }
    return {
      figures,
      notes: [
        'after 60 s each half takes the other for dead; a lost address is dialled again after 10 s at most',
        'the transfer takes some milliseconds here: 100 deltas',
      ],
    }
  },
}

// --- a fleet ----------------------------------------------------------------------------------------------------

interface Size {
  readonly nodes: number
  readonly seeds: number
  readonly mostHops: number
  readonly mostCopies: number
}

const sizes: readonly Size[] = [
  { nodes: 10, seeds: 5, mostHops: 1, mostCopies: 1.0 },
  { nodes: 100, seeds: 3, mostHops: 4, mostCopies: 1.1 },
  { nodes: 1000, seeds: 1, mostHops: 6, mostCopies: 1.1 },
]
const writers = 8
/** Rounds of writes until the trees have settled; then those that are counted. */
const settling = 12
const counted = 3
const idleMs = 5000
/** What a node sends in a second when nothing is new: lists of members now and then are most of it. A guess. */
const restingBytes = 2000

interface Spreading {
  readonly hops: number[]
  readonly copies: number
  readonly lagsMs: number[]
  /** Processor time and bytes that a node takes in a second at rest. */
  readonly idleMs: number
  readonly idleBytes: number
  readonly heapBytes: number
}

function fleetIn(nodes: number, seed: number): Spreading {
  collect()
  const before = getHeapStatistics()
  const fleet = settled(seed, nodes)
  // Until news of members were told often enough: beyond that, lists are exchanged now and then.
  const quiet = (): boolean => {
    const before = fleet.network.sentBytes
    fleet.run(5000)
    return (fleet.network.sentBytes - before) / nodes / 5 <= restingBytes
  }
  fleet.runUntil(quiet, 1000, 60_000)
  collect()
  const after = getHeapStatistics()
  const startedMs = processorMs()
  const sent = fleet.network.sentBytes
  fleet.run(idleMs)
  const perNode = 1 / nodes / (idleMs / 1000)
  const idle = (processorMs() - startedMs) * perNode
  const idleBytes = (fleet.network.sentBytes - sent) * perNode
  const writing = fleet.hosts.filter((_, at) => at % Math.ceil(nodes / writers) === 0)
  for (let round = 0; round < settling; round++) {
    for (const host of writing) fleet.write(host, round)
    fleet.run(500)
  }
  const tracks: Track[] = []
  for (let round = 0; round < counted; round++) {
    for (const host of writing) tracks.push(fleet.track(host, round))
    fleet.run(500)
  }
  if (missing(tracks, nodes) > 0) throw new Error(`${missing(tracks, nodes)} deltas did not arrive`)
  return {
    hops: tracks.map(({ hops }) => Math.max(...hops.values())),
    copies: tracks.reduce((sum, { copies }) => sum + copies, 0) / tracks.length / nodes,
    lagsMs: tracks.map(lastMs),
    idleMs: idle,
    idleBytes,
    heapBytes: (after.used_heap_size - before.used_heap_size) / nodes,
  }
}

export const wholeFleet: Scenario = {
  name: 'whole nodes',
  measures: `Whole nodes that found each other over one address; ${writers} write at once, round after round; a message takes 1 or 2 ms. Counted after ${settling} rounds: hops until the last node has a delta, and how often a node is sent each payload.`,
  async run({ quick, progress }) {
    const figures: Figure[] = []
    const hopPoints: [number, number][] = []
    const copyPoints: [number, number][] = []
    const used = quick ? sizes.filter(({ nodes }) => nodes <= 100).map((size) => ({ ...size, seeds: 1 })) : sizes
    for (const { nodes, seeds, mostHops, mostCopies } of used) {
      const label = nodes.toLocaleString('en')
      const runs = Array.from({ length: seeds }, (_, seed) => {
        progress(`${label} nodes, seed ${seed}`)
        return fleetIn(nodes, seed)
      })
      const hops = runs.flatMap((run) => run.hops)
      const copies = spread(runs.map((run) => run.copies))
      figures.push(
        {
          name: `hops to all ${label}, worst`,
          unit: 'hops',
          value: exactly(Math.max(...hops)),
          goal: { atMost: mostHops },
        },
        { name: `hops to all ${label}`, unit: 'hops', value: spread(hops) },
        { name: `copies a node, ${label}`, unit: 'copies', value: copies, goal: { atMost: mostCopies } },
        { name: `last of ${label} has it`, unit: 'ms', value: spread(runs.flatMap((run) => run.lagsMs)) },
        {
          name: `idle, sent a second by each of ${label}`,
          unit: 'bytes',
          value: spread(runs.map((run) => run.idleBytes)),
        },
        {
          name: `idle, processor time a second of one of ${label}`,
          unit: 'ms',
          value: spread(runs.map((run) => run.idleMs)),
        },
        { name: `idle, heap of one of ${label}`, unit: 'bytes', value: spread(runs.map((run) => run.heapBytes)) },
      )
      hopPoints.push([nodes, Math.max(...hops)])
      copyPoints.push([nodes, copies.median])
    }
    const goals = (of: (size: Size) => number): [number, number][] => used.map((size) => [size.nodes, of(size)])
    const series: Series[] = [
      {
        name: 'hops to all whole nodes',
        x: 'nodes',
        logarithmic: true,
        points: hopPoints,
        goal: goals((one) => one.mostHops),
      },
      {
        name: 'payload copies a whole node',
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
        'idle: nobody writes; members are pinged, spaces compared. Processor time is that of this machine, the simulator of the network included',
        'the heap of a node holds what it knows of all others, and its end of the simulated network',
      ],
    }
  },
}

// --- a slow peer ------------------------------------------------------------------------------------------------

const slowFleet = 11
const deltaBytes = 1000
const slowBytesPerSecond = 20_000

interface Delivered {
  readonly lags: number[]
  readonly mostHeld: number
  readonly processorMs: number
}

/** One writes a delta of 1 kB every ms; with `slow`, the link to the last one takes 20 kB/s. */
function deliver(slow: boolean, forMs: number): Delivered {
  const fleet = settled(7, slowFleet)
  const writer = fleet.hosts[0] as Host
  const last = fleet.hosts[slowFleet - 1] as Host
  const machine = machineOf(writer)
  if (slow) {
    const slowness = { bytesPerSecond: slowBytesPerSecond, forMs: Infinity, at: fleet.now, chance: 0 }
    fleet.network.slow({ kind: 'slow-link', from: writer.index, to: last.index, ...slowness })
  }
  let mostHeld = 0
  fleet.stepped = (host) => {
    if (!slow || host !== writer) return
    const node = last.node as string
    const peer = [...machine.peers].find((one) => one.node === node)
    const held = (peer?.queue.heldBytes ?? 0) + fleet.network.unsentBytes(writer, last)
    mostHeld = Math.max(mostHeld, held)
  }
  const value = 'x'.repeat(deltaBytes)
  const tracks: Track[] = []
  const startedMs = processorMs()
  for (let ms = 0; ms < forMs; ms++) {
    tracks.push(fleet.track(writer, `${ms}${value}`))
    fleet.run(1)
  }
  const spentMs = processorMs() - startedMs
  fleet.run(3000)
  const lags = tracks.flatMap(({ writtenMs, appliedMs }) =>
    fleet.hosts.flatMap(({ index }) => {
      if (index === writer.index || index === last.index) return []
      return [(appliedMs.get(index) ?? Infinity) - writtenMs]
    }),
  )
  return { lags, mostHeld, processorMs: spentMs }
}

export const slowNode: Scenario = {
  name: 'slow node',
  measures: `A whole node writes 1000 deltas of ${deltaBytes} bytes a second to ${slowFleet - 1} others; the link to one of them takes ${slowBytesPerSecond / 1000} kB/s. What is held for it, and what the others notice.`,
  async run({ quick }) {
    const forMs = quick ? 1000 : 10_000
    const without = deliver(false, forMs)
    const with_ = deliver(true, forMs)
    const [before, after] = [percentile(without.lags, 0.99), percentile(with_.lags, 0.99)]
    return {
      figures: [
        {
          name: 'held for the slow one, queue and socket, at most',
          unit: 'bytes',
          value: exactly(Math.ceil(with_.mostHeld)),
          goal: { atMost: limits.peerQueueBytes },
        },
        {
          name: '99 of 100 deltas at the others, beside no slow one',
          unit: 'x',
          value: exactly(after / before),
          goal: { atMost: 1.1 },
        },
        { name: '99 of 100 deltas at the others', unit: 'ms', value: exactly(after) },
        {
          name: 'processor time, beside no slow one',
          unit: 'x',
          value: exactly(with_.processorMs / without.processorMs),
        },
      ],
      notes: ['a step of a node takes no virtual time: what a slow one costs the others in work is the last figure'],
    }
  },
}
