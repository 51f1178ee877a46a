/**
 * Swarm testing (Groce et al., 2012): every seed draws its own mix of sizes, types, limits and faults, and a third of them
 * leave whole classes of faults out, so that what one fault hides another run shows.
 */
import type { Bounds } from '../anti-entropy/output.ts'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import type { Durability } from './disk.ts'
import type { Action, Story } from './story.ts'

/** Classes of faults that a seed may leave out as a whole. */
export const faultClasses = [
  'crash',
  'network',
  'weather',
  'clock',
  'freeze',
  'disk',
  'directory',
  'damage',
  'twin',
] as const
export type FaultClass = (typeof faultClasses)[number]

export interface SimOptions {
  readonly seed: number
  readonly nodes: number
  /** Per space the nodes that hold it. */
  readonly holders: readonly (readonly number[])[]
  readonly types: readonly string[]
  readonly writes: number
  /** How long faults go on. Everything heals after. */
  readonly faultsMs: number
  readonly faults: Readonly<Record<FaultClass, number>>
  readonly retention: { readonly keepMs: number; readonly keepBytes: number }
  readonly cacheBytes: number
  /** Sizes and times of anti-entropy that are not the usual ones. */
  readonly bounds: Partial<Bounds>
  /** By node. */
  readonly durability: readonly Durability[]
  /** By node: how far off its clock is, and how wrong it runs, in millionths. */
  readonly skewMs: readonly number[]
  readonly driftPpm: readonly number[]
  readonly latencyMs: readonly [least: number, most: number]
  readonly syncMs: readonly [least: number, most: number]
  /** Rows in a page of a scan. */
  readonly pageRows: number
  /** Each writes under names that the others use too. */
  readonly keysOfType: number
  /** All are restarted at the end of the faults, those too that run. */
  readonly restartAll: boolean
  /** Nodes begin without spaces, and open those that they hold when they write in them or hear of them. */
  readonly opensLate: boolean
  /** Nodes that change over to a later version of the protocol, which says more, when they start again. */
  readonly upgrades: boolean
  /** Nodes that never come back: they stay down, or hear and cannot speak. The others must be equal without them. */
  readonly lost: readonly { readonly node: number; readonly how: 'down' | 'dumb' }[]
  /** How often nodes are killed just then when a snapshot is on its way into their rows: by itself that is rare. */
  readonly ambushes: number
  /** Spaces have rules, and agents decide what these find. */
  readonly rules: boolean
  /** Nodes tell somebody of what is open. */
  readonly tells: boolean
  /** Agents show themselves. */
  readonly presence: boolean
}

const cheapTypes = ['register', 'record', 'counter', 'set', 'flag', 'log', 'list', 'claim', 'budget'] as const
const documents = ['text', 'doc'] as const

/** Between -most and most, mostly small. */
function around(chance: Prng, most: number): number {
  const size = Math.floor(most ** (chance.uint32() / 0x1_0000_0000))
  return chance.chance(0.5) ? size : -size
}

function between(chance: Prng, least: number, most: number): number {
  return least + chance.below(most - least + 1)
}

function someOf<T>(chance: Prng, items: readonly T[], part: number): T[] {
  const some = items.filter(() => chance.chance(part))
  return some.length > 0 ? some : [chance.pick(items)]
}

export function drawOptions(seed: number, damagedPart: number = 0): SimOptions {
  const chance = prng(seed)
  const nodes = chance.chance(0.7) ? between(chance, 2, 4) : between(chance, 5, 9)
  const all = Array.from({ length: nodes }, (_, node) => node)
  const spaces = chance.chance(0.7) ? 1 : between(chance, 2, 3)
  const holders = Array.from({ length: spaces }, () => {
    if (nodes === 2 || chance.chance(0.8)) return all
    const some = all.filter(() => chance.chance(0.7))
    return some.length >= 2 ? some : all
  })
  const types: string[] = someOf(chance, cheapTypes, chance.pick([0.3, 0.7, 1]))
  if (chance.chance(0.03)) types.push(chance.pick(documents))
  const isCalm = chance.chance(0.35)
  const rate = chance.pick([0.5, 1, 1, 2])
  const few = (most: number): number => (isCalm && chance.chance(0.6) ? 0 : Math.round(rate * chance.below(most + 1)))
  const isRough = chance.chance(0.15)
  // Drawn apart, so that the other stories stay what they were.
  const twin = nodes > 2 && prng(seed).fork(20).chance(0.15)
  const drawn: SimOptions = {
    seed,
    nodes,
    holders,
    types,
    writes: chance.pick([20, 60, 100, 150, 250]),
    faultsMs: 1000 * between(chance, 5, chance.chance(0.2) ? 90 : 30),
    faults: {
      crash: few(5),
      network: few(6),
      weather: few(4),
      clock: chance.chance(0.4) ? few(4) : 0,
      freeze: chance.chance(0.4) ? few(3) : 0,
      disk: chance.chance(0.4) ? few(3) : 0,
      directory: chance.chance(0.3) ? few(3) : 0,
      damage: chance.chance(damagedPart) ? few(2) : 0,
      twin: twin ? 1 : 0,
    },
    retention: keepsLong(twin, {
      keepMs: chance.pick([0, 500, 3_000, 10_000, 60_000, 86_400_000]),
      keepBytes: chance.pick([500, 4_000, 20_000, 1_000_000, 64 << 20]),
    }),
    cacheBytes: chance.pick([2_000, 20_000, 1_000_000]),
    bounds: chance.chance(0.5) ? {} : drawBounds(chance),
    durability: all.map(() => (chance.chance(0.75) ? 'disk' : 'os')),
    // Beyond a minute apart nodes refuse each other.
    skewMs: all.map(() => around(chance, chance.chance(0.9) ? chance.pick([200, 20_000]) : 3_600_000)),
    driftPpm: all.map(() => (chance.chance(0.8) ? 0 : around(chance, 1000))),
    latencyMs: isRough ? [20, 400] : [1, chance.pick([1, 5, 60])],
    syncMs: isRough ? [5, 200] : [1, chance.pick([2, 10])],
    pageRows: chance.pick([1, 3, 16, 256]),
    keysOfType: chance.pick([1, 2, 6, 30]),
    restartAll: chance.chance(0.2),
    opensLate: chance.chance(0.3),
    upgrades: chance.chance(0.15),
    lost: drawLost(chance, nodes, holders),
    ambushes: chance.chance(0.4) ? 1 + chance.below(4) : 0,
    rules: prng(seed).fork(21).chance(0.2),
    tells: prng(seed).fork(22).chance(0.5),
    // The stories of seeds that once failed stay what they were.
    presence: prng(seed).fork(27).chance(0.15),
  }
  // Snapshots that take a while: many are taken over, through rows, in many pieces, and an entry at a time.
  const slowly = { newcomerSiblings: 0, stagedBytes: 0, foldAtOnce: 1, cellBytes: 100 }
  return drawn.ambushes === 0 ? drawn : { ...drawn, bounds: { ...drawn.bounds, ...slowly } }
}

function drawLost(chance: Prng, nodes: number, holders: readonly (readonly number[])[]): SimOptions['lost'] {
  if (nodes < 3 || !chance.chance(0.12)) return []
  const lost: { node: number; how: 'down' | 'dumb' }[] = []
  for (let left = 1 + chance.below(nodes - 2); left > 0; left--) {
    const node = chance.below(nodes)
    const gone = new Set([node, ...lost.map((one) => one.node)])
    const isEnough = holders.every((held) => held.filter((one) => !gone.has(one)).length >= 2)
    if (isEnough && gone.size > lost.length) lost.push({ node, how: chance.pick(['down', 'dumb'] as const) })
  }
  return lost
}

/** A fork of which nobody can show the beginning is not seen before cells differ: see docs/decisions/sync.md, Open. */
function keepsLong(isCloned: boolean, retention: SimOptions['retention']): SimOptions['retention'] {
  return isCloned ? { keepMs: 86_400_000, keepBytes: 64 << 20 } : retention
}

/** Tiny ones, so that windows are full, snapshots are staged and folded, and sessions wait for one another. */
function drawBounds(chance: Prng): Partial<Bounds> {
  const maybe = <T>(name: keyof Bounds, ...values: T[]): Record<string, T> =>
    chance.chance(0.5) ? { [name]: chance.pick(values) } : {}
  return {
    ...maybe('roundPeers', 2, 3),
    ...maybe('windowBytes', 1_000, 8_000),
    ...maybe('chunkBytes', 100, 1_000),
    ...maybe('newcomerSiblings', 0, 5, 50),
    ...maybe('stagedBytes', 0, 200, 2_000),
    ...maybe('stagedKeys', 1, 10),
    ...maybe('foldAtOnce', 1, 3),
    ...maybe('offers', 1, 2),
    ...maybe('storedMs', 500),
    ...maybe('sketchCells', 4, 64),
  }
}

/**
 * The story of a seed. Rows that rot are drawn in a part of the seeds that is named: what is lost with its last copy cannot
 * be held against anybody, so such a run promises less.
 */
export function storyOf(seed: number, damagedPart: number = 0): Story {
  const options = drawOptions(seed, damagedPart)
  return { options, actions: actionsOf(options, prng(seed).fork(1)) }
}

function actionsOf(options: SimOptions, chance: Prng): Action[] {
  const { nodes, holders, faultsMs, faults } = options
  const actions: Action[] = []
  const writes = chance.fork(1)
  /** Bursts of writes with silence between them, so that both hot and idle stretches come up. */
  let at = 0
  for (let left = options.writes; left > 0; left--) {
    if (writes.chance(0.15)) at = writes.below(faultsMs)
    at += writes.below(writes.chance(0.7) ? 20 : 400)
    const space = writes.below(holders.length)
    const node = writes.pick(holders[space] as readonly number[])
    // A copy of an older directory may know of no deletion, and two that are one node tell it to nobody: not looked into yet.
    const isDeletion = writes.chance(0.002) && faults.twin === 0
    if (isDeletion) actions.push({ kind: 'delete-space', at: at % faultsMs, chance: 0, node, space })
    const operations = writes.chance(0.8) ? 1 : between(writes, 2, 6)
    actions.push({ kind: 'write', at: at % faultsMs, chance: writes.uint32(), node, space, operations })
  }
  for (const [index, name] of faultClasses.entries()) {
    const own = chance.fork(10 + index)
    for (let left = faults[name]; left > 0; left--) actions.push(...faultOf[name](own, options))
  }
  if (options.presence) actions.push(...shows(options, prng(options.seed).fork(28)))
  assertNodes(actions, nodes)
  return actions.sort((a, b) => a.at - b.at)
}

function shows({ holders, faultsMs, faults }: SimOptions, chance: Prng): Action[] {
  return Array.from({ length: 5 + chance.below(40) }, () => {
    const space = chance.below(holders.length)
    const node = chance.pick(holders[space] as readonly number[])
    // Two that are one node say different things of one agent under one version: that ends with its time.
    const longest = faults.twin > 0 ? 30_000 : 900_000
    const ttlMs = chance.chance(0.2) ? 0 : 1 + chance.below(chance.chance(0.5) ? 5_000 : longest)
    const agent = chance.pick(['ann', 'bob', 'cyd'])
    return { kind: 'show', at: chance.below(faultsMs), chance: chance.uint32(), node, space, agent, ttlMs }
  })
}

function assertNodes(actions: readonly Action[], nodes: number): void {
  for (const action of actions) {
    if ('node' in action && action.node >= nodes) throw new RangeError('an action names a node that is not there')
  }
}

const pair = (chance: Prng, nodes: number): { from: number; to: number } => {
  const from = chance.below(nodes)
  return { from, to: (from + 1 + chance.below(nodes - 1)) % nodes }
}

/** Faults of each class, one or a few actions a call. */
const faultOf: Readonly<Record<FaultClass, (chance: Prng, options: SimOptions) => Action[]>> = {
  crash: (chance, { nodes, faultsMs }) => {
    const how = chance.pick(['kill', 'kill', 'power', 'power', 'stop'] as const)
    const forMs = chance.chance(0.6) ? between(chance, 1, 2_000) : between(chance, 2_000, faultsMs)
    return [
      { kind: 'crash', at: chance.below(faultsMs), chance: chance.uint32(), node: chance.below(nodes), how, forMs },
    ]
  },
  network: (chance, { nodes, faultsMs }) => {
    const at = chance.below(faultsMs)
    const base = { at, chance: chance.uint32() }
    const kind = chance.below(6)
    if (kind === 0) return [{ kind: 'reset-links', ...base, ...pair(chance, nodes) }]
    if (kind === 1) return [{ kind: 'half-open', ...base, ...pair(chance, nodes) }]
    const forMs = between(chance, 500, faultsMs)
    if (kind === 2) {
      const bytesPerSecond = chance.pick([500, 5_000, 50_000])
      return [{ kind: 'slow-link', ...base, forMs, ...pair(chance, nodes), bytesPerSecond }]
    }
    const shape = chance.below(3)
    const lonely = chance.below(nodes)
    const sides = Array.from({ length: nodes }, (_, node) => {
      if (shape === 0) return node === lonely ? 1 : 0
      if (shape === 1) return chance.below(2)
      return node % 3
    })
    return [
      {
        kind: 'partition',
        ...base,
        forMs,
        sides,
        how: chance.pick(['reset', 'hole'] as const),
        oneWay: chance.chance(0.25),
        flapMs: chance.chance(0.2) ? between(chance, 100, 3_000) : 0,
      },
    ]
  },
  weather: (chance, { nodes, faultsMs }) => {
    const scope = chance.chance(0.5) ? { from: undefined, to: undefined } : pair(chance, nodes)
    const rate = (most: number): number => (chance.chance(0.5) ? 0 : 1 + chance.below(most))
    return [
      {
        kind: 'weather',
        at: chance.below(faultsMs),
        chance: chance.uint32(),
        forMs: between(chance, 500, faultsMs),
        ...scope,
        loss: rate(300),
        duplicate: rate(200),
        reorder: rate(500),
        garble: chance.chance(0.7) ? 0 : 1 + chance.below(30),
        delayMs: 1 + chance.below(chance.pick([5, 20, 500, 5_000])),
      },
    ]
  },
  clock: (chance, { nodes, faultsMs }) => {
    const most = chance.pick([1_000, 10_000, 60_000, 3_600_000, 315_360_000_000])
    const byMs = around(chance, most)
    return [{ kind: 'clock', at: chance.below(faultsMs), chance: chance.uint32(), node: chance.below(nodes), byMs }]
  },
  freeze: (chance, { nodes, faultsMs }) => [
    {
      kind: 'freeze',
      at: chance.below(faultsMs),
      chance: chance.uint32(),
      node: chance.below(nodes),
      forMs: between(chance, 50, chance.pick([1_000, 10_000, 30_000])),
    },
  ],
  disk: (chance, { nodes, faultsMs }) => [
    {
      kind: chance.pick(['disk-full', 'disk-slow'] as const),
      at: chance.below(faultsMs),
      chance: chance.uint32(),
      node: chance.below(nodes),
      forMs: between(chance, 200, 10_000),
    },
  ],
  directory: (chance, { nodes, faultsMs }) => {
    const node = chance.below(nodes)
    const at = chance.below(faultsMs)
    const kind = chance.below(5)
    if (kind === 0) return [{ kind: 'wipe', at, chance: chance.uint32(), node }]
    if (kind === 1) return [{ kind: 'clone', at, chance: chance.uint32(), ...pair(chance, nodes) }]
    const before = chance.below(at + 1)
    return [
      { kind: 'backup', at: before, chance: chance.uint32(), node },
      { kind: 'restore', at, chance: chance.uint32(), node },
    ]
  },
  twin: (chance, { nodes, faultsMs }) => [
    { kind: 'twin', at: chance.below(faultsMs), chance: chance.uint32(), ...pair(chance, nodes) },
  ],
  damage: (chance, { nodes, faultsMs }) => [
    {
      kind: chance.pick(['vanish', 'unreadable'] as const),
      at: chance.below(faultsMs),
      chance: chance.uint32(),
      node: chance.below(nodes),
    },
  ],
}

/** For people: everything that a seed has drawn. */
export function printOptions(options: SimOptions): string {
  return Object.entries(options)
    .map(([name, value]) => `  ${name.padEnd(12)} ${JSON.stringify(value)}`)
    .join('\n')
}
