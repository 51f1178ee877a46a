/** The scenarios, as data, with their goals: (a) to (l) of what a reader who must choose would ask. */
import type { Contestant } from './contestant.ts'
import type { LagRun, Scenario, Setting } from './scenario.ts'

const valueBytes = 128

function anybody(): undefined {
  return undefined
}

function catchesUp({ system }: Contestant): string | undefined {
  return system.catchesUp ? undefined : 'what was missed is never sent again'
}

/** What waits for a disk is seen in (a) to (e); where links or processes fail, one variant of ours speaks for the others. */
function mainVariant({ system, variant }: Contestant): string | undefined {
  const isMain = system.kind !== 'skein' || variant === system.variants[0]
  return isMain ? undefined : `differs from ${system.name} ${system.variants[0].name} in its disk or its carrier alone`
}

function documented(contestant: Contestant): string | undefined {
  const { kind } = contestant.system
  return kind === 'skein' || kind === 'crdt' ? mainVariant(contestant) : 'it has no documents that merge'
}

function restarts(contestant: Contestant): string | undefined {
  return contestant.system.restarts ? mainVariant(contestant) : 'a node that was killed starts with nothing'
}

function healing(contestant: Contestant): string | undefined {
  return catchesUp(contestant) ?? mainVariant(contestant)
}

function lagAt(nodes: number, slices: number, sliceWrites: number, warmingWrites: number): Setting<LagRun> {
  return {
    label: `N = ${nodes}`,
    rounds: slices,
    withinSeconds: 30,
    run: {
      kind: 'lag',
      nodes,
      rate: 50,
      valueBytes,
      // As many deliveries a second at every size.
      warming: { writes: warmingWrites, rate: Math.ceil(1_200 / nodes) },
      slices,
      sliceWrites,
      isTogether: nodes <= 8,
    },
  }
}

const crdts = { kinds: ['crdt'], says: 'the best CRDT peer' } as const
const floor = { ids: ['raw ws'], says: 'the raw WebSocket mesh' } as const
const composite = { ids: ['raw ws + leveldb'], says: 'raw WebSockets with raw LevelDB batches' } as const

export const scenarios: readonly Scenario[] = [
  {
    letter: 'a',
    runsIn: ['all', 'quick'],
    name: 'lag, one write at a time',
    measures:
      '50 writes a second, by each node in turn: milliseconds from when a write was due until each other node can read it.',
    shows: ['p50', 'p90', 'p99', 'p999', 'max', 'seen', 'cpu', 'peak', 'hubPeak', 'bytes'],
    excludes: anybody,
    settings: {
      full: [lagAt(3, 5, 120, 1_500), lagAt(8, 4, 96, 960), lagAt(16, 1, 96, 320), lagAt(32, 1, 96, 256)],
      quick: [lagAt(3, 3, 60, 300)],
    },
    goals: [3, 8].flatMap((nodes) => [
      { setting: `N = ${nodes}`, metric: 'p50' as const, of: 'skein os', over: floor, atMost: 1.5 },
      { setting: `N = ${nodes}`, metric: 'p99' as const, of: 'skein os', over: floor, atMost: 2.5 },
      { setting: `N = ${nodes}`, metric: 'p50' as const, of: 'skein os', over: crdts, atMost: 1 },
      { setting: `N = ${nodes}`, metric: 'p99' as const, of: 'skein os', over: crdts, atMost: 1 },
      {
        setting: `N = ${nodes}`,
        metric: 'p50' as const,
        of: 'skein os',
        over: { ids: ['nats kv os', 'nats kv memory'], says: 'NATS KV' },
        atMost: 1,
      },
      ...(nodes === 3
        ? [
            {
              setting: 'N = 3',
              metric: 'p50' as const,
              of: 'skein os',
              over: { ids: ['redis memory', 'redis disk'], says: 'Redis' },
              atMost: 1,
            },
          ]
        : []),
    ]),
  },
  {
    letter: 'b',
    runsIn: ['all'],
    name: 'lag under load',
    measures:
      'Three nodes find their own most converged writes a second, then write at shares of it: milliseconds from when a write was due.',
    shows: ['offered', 'p50', 'p99', 'max', 'seen', 'cpu', 'bytes'],
    excludes: anybody,
    settings: {
      full: [
        {
          label: 'load',
          rounds: 1,
          withinSeconds: 20,
          run: { kind: 'load', nodes: 3, valueBytes, probe: 4_000, shares: [0.1, 0.5, 0.9], seconds: 3 },
        },
      ],
      quick: [
        {
          label: 'load',
          rounds: 1,
          withinSeconds: 10,
          run: { kind: 'load', nodes: 3, valueBytes, probe: 500, shares: [0.5], seconds: 1 },
        },
      ],
    },
    goals: [],
  },
  {
    letter: 'c',
    runsIn: ['all', 'quick'],
    name: 'throughput to convergence',
    measures:
      'Three replicas write as fast as they can, 256 writes unacknowledged at most: writes a second until every replica has every write.',
    shows: ['rate', 'acked', 'cpu', 'peak', 'hubPeak', 'bytes'],
    excludes: anybody,
    settings: {
      full: [
        {
          label: '3 x 10,000 distinct keys',
          rounds: 3,
          withinSeconds: 30,
          run: { kind: 'rush', nodes: 3, valueBytes, warming: 2_000, count: 10_000, keys: 'distinct' },
        },
        {
          label: '3 x 3,000 writes to one key',
          rounds: 1,
          withinSeconds: 30,
          run: { kind: 'rush', nodes: 3, valueBytes, warming: 2_000, count: 3_000, keys: 'one' },
        },
      ],
      quick: [
        {
          label: '3 x 1,000 distinct keys',
          rounds: 1,
          withinSeconds: 15,
          run: { kind: 'rush', nodes: 3, valueBytes, warming: 500, count: 1_000, keys: 'distinct' },
        },
      ],
    },
    goals: [
      { setting: '3 x 10,000 distinct keys', metric: 'rate', of: 'skein os', over: crdts, atLeast: 1.3 },
      { setting: '3 x 10,000 distinct keys', metric: 'rate', of: 'skein memory', over: crdts, atLeast: 2 },
      { setting: '3 x 10,000 distinct keys', metric: 'rate', of: 'skein os', over: composite, atLeast: 0.4 },
      { setting: '3 x 10,000 distinct keys', metric: 'peak', of: 'skein os', over: crdts, atMost: 1 },
    ],
  },
  {
    letter: 'd',
    runsIn: ['all', 'quick'],
    name: 'catch-up',
    measures:
      'One node of three is cut off while the others write; its links heal: seconds until it has everything, and bytes that it took for it.',
    shows: ['equal', 'first', 'transfer', 'overhead', 'cpu', 'peak'],
    excludes: catchesUp,
    settings: {
      full: [
        {
          label: '10,000 missed',
          rounds: 2,
          withinSeconds: 20,
          run: { kind: 'missed', valueBytes, warming: 1_000, count: 10_000 },
        },
        {
          label: '100,000 missed',
          rounds: 1,
          withinSeconds: 30,
          after: { setting: '10,000 missed', metric: 'equal', atLeast: 0 },
          run: { kind: 'missed', valueBytes, warming: 1_000, count: 100_000 },
        },
      ],
      quick: [
        {
          label: '1,000 missed',
          rounds: 1,
          withinSeconds: 15,
          run: { kind: 'missed', valueBytes, warming: 1_000, count: 1_000 },
        },
      ],
    },
    goals: ['10,000 missed', '100,000 missed'].flatMap((setting) => [
      { setting, metric: 'overhead' as const, of: 'skein os', atMost: 1.3 },
      { setting, metric: 'transfer' as const, of: 'skein os', over: composite, atMost: 2 },
    ]),
  },
  {
    letter: 'e',
    runsIn: ['all'],
    name: 'few differences in much state',
    measures:
      'Two nodes hold the same entries, are cut from each other, take 10 writes and are linked again: seconds until both are equal, and bytes beside those entries.',
    shows: ['equal', 'first', 'exchanged', 'fill'],
    excludes: healing,
    settings: {
      full: [
        {
          label: '10 in 100,000',
          rounds: 1,
          withinSeconds: 40,
          run: { kind: 'bulk', valueBytes, entries: 100_000, differing: 10 },
        },
        {
          label: '10 in 1,000,000',
          rounds: 1,
          withinSeconds: 240,
          after: { setting: '10 in 100,000', metric: 'fill', atLeast: 6_000 },
          run: { kind: 'bulk', valueBytes, entries: 1_000_000, differing: 10 },
        },
      ],
      quick: [
        {
          label: '10 in 5,000',
          rounds: 1,
          withinSeconds: 15,
          run: { kind: 'bulk', valueBytes, entries: 5_000, differing: 10 },
        },
      ],
    },
    goals: ['10 in 100,000', '10 in 1,000,000'].map((setting) => ({
      setting,
      metric: 'exchanged' as const,
      of: 'skein os',
      atMost: 600,
    })),
  },
  {
    letter: 'f',
    runsIn: ['all', 'quick'],
    name: 'a partition',
    measures:
      'Four nodes write 100 times a second together; half is cut from half, where whatever is sent waits in the network; they heal and stop writing: seconds until all are equal.',
    shows: ['equal', 'refused', 'bytes', 'peak'],
    excludes: healing,
    settings: {
      full: [
        {
          label: '30 s, 2 against 2',
          rounds: 1,
          withinSeconds: 20,
          run: { kind: 'partition', nodes: 4, valueBytes, rate: 100, beforeSeconds: 3, cutSeconds: 30 },
        },
      ],
      quick: [
        {
          label: '3 s, 2 against 2',
          rounds: 1,
          withinSeconds: 15,
          run: { kind: 'partition', nodes: 4, valueBytes, rate: 100, beforeSeconds: 1, cutSeconds: 3 },
        },
      ],
    },
    goals: [{ setting: '30 s, 2 against 2', metric: 'refused', of: 'skein os', atMost: 0 }],
  },
  {
    letter: 'g',
    runsIn: ['all'],
    name: 'one slow peer',
    measures:
      'Three nodes write 300 times a second together; a fourth has links for a third of it: lag among the three, and their memory.',
    shows: ['p99Before', 'p50', 'p99', 'max', 'equal', 'peak', 'hubPeak'],
    excludes: mainVariant,
    settings: {
      full: [
        {
          label: '30 kB a second for one of 4',
          rounds: 1,
          withinSeconds: 20,
          run: { kind: 'slow', nodes: 4, valueBytes, rate: 300, seconds: 5, bytesPerSecond: 30_000 },
        },
      ],
      quick: [
        {
          label: '30 kB a second for one of 4',
          rounds: 1,
          withinSeconds: 15,
          run: { kind: 'slow', nodes: 4, valueBytes, rate: 300, seconds: 2, bytesPerSecond: 30_000 },
        },
      ],
    },
    goals: [],
  },
  {
    letter: 'h',
    runsIn: ['all'],
    name: 'a killed node',
    measures:
      'Three nodes write 90 times a second together; one is killed (SIGKILL) and started again a second later: seconds until its writes are seen again, and acknowledged writes that are missing then.',
    shows: ['flows', 'lost', 'equal'],
    excludes: restarts,
    settings: {
      full: [
        {
          label: 'kill -9',
          rounds: 1,
          withinSeconds: 20,
          run: { kind: 'crash', nodes: 3, valueBytes, rate: 90, beforeSeconds: 3, downSeconds: 1, afterSeconds: 4 },
        },
      ],
      quick: [
        {
          label: 'kill -9',
          rounds: 1,
          withinSeconds: 15,
          run: { kind: 'crash', nodes: 3, valueBytes, rate: 90, beforeSeconds: 1, downSeconds: 1, afterSeconds: 2 },
        },
      ],
    },
    goals: [{ setting: 'kill -9', metric: 'lost', of: 'skein os', atMost: 0 }],
  },
  {
    letter: 'i',
    runsIn: ['all'],
    name: 'wide links',
    measures:
      'As (a) with three nodes, each link 40 ms one way, 5 ms of jitter, and 1 % of packets lost: what a lost packet carries comes when TCP sends it again.',
    shows: ['p50', 'p90', 'p99', 'max', 'seen', 'bytes'],
    excludes: mainVariant,
    settings: {
      full: [wide(2, 150)],
      quick: [wide(1, 30)],
    },
    goals: [{ setting: '40 ms, 1 % loss', metric: 'p50', of: 'skein os', over: floor, atMost: 1.5 }],
  },
  {
    letter: 'j',
    runsIn: ['all'],
    name: 'a cold join',
    measures:
      'A third node starts with nothing beside two that hold all entries: seconds from its opening until it has them.',
    shows: ['equal', 'overhead', 'cpu', 'peak'],
    excludes: healing,
    // Measured in the runs of (e), on the same filled fleets.
    settings: { full: [], quick: [] },
    goals: [],
  },
  {
    letter: 'k',
    name: 'documents',
    runsIn: ['all'],
    measures:
      'One of three nodes types into a text, a character at a time with slips and jumps: edits a second until all show the same text. Then all three set fields of one JSON document in turn: lag.',
    shows: ['rate', 'p50', 'p90', 'p99', 'max', 'seen', 'cpu', 'peak', 'bytes'],
    excludes: documented,
    settings: {
      full: [documentsOf(5_000, 300)],
      quick: [documentsOf(500, 60)],
    },
    goals: [],
  },
  {
    letter: 'l',
    name: 'an hour of steady load',
    runsIn: [],
    measures:
      'Three nodes overwrite the same 900 entries 100 times a second together: memory, disk and lag must stay where they are. A log that is kept for a while grows until it is as long as it may be.',
    shows: ['p50', 'seen', 'memoryGrowth', 'diskGrowth', 'lagGrowth'],
    excludes: mainVariant,
    settings: {
      full: [steadyFor('an hour', 3_600, 20)],
      quick: [steadyFor('5 minutes', 300, 5)],
    },
    goals: ['an hour', '5 minutes'].flatMap((setting) => [
      { setting, metric: 'lagGrowth' as const, of: 'skein os', atMost: 1.25 },
      { setting, metric: 'memoryGrowth' as const, of: 'skein os', atMost: 10 },
    ]),
  },
]

function wide(slices: number, sliceWrites: number): Setting<LagRun> {
  return {
    label: '40 ms, 1 % loss',
    rounds: slices,
    withinSeconds: 20,
    run: {
      kind: 'lag',
      nodes: 3,
      rate: 50,
      valueBytes,
      warming: { writes: 300, rate: 400 },
      slices,
      sliceWrites,
      isTogether: true,
      link: { delayMs: 40, jitterMs: 5, loss: 0.01 },
    },
  }
}

function steadyFor(label: string, seconds: number, windowSeconds: number): Setting {
  const run = { kind: 'steady', nodes: 3, valueBytes, rate: 100, seconds, windowSeconds } as const
  return { label, rounds: 1, withinSeconds: 30, run }
}

function documentsOf(count: number, writes: number): Setting {
  const run = { kind: 'documents', nodes: 3, valueBytes, count, writes, rate: 50 } as const
  return { label: 'documents', rounds: 1, withinSeconds: 30, run }
}
