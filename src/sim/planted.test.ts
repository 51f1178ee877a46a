/** Every checker must find what it is there for: each test plants one fault in code that is right, and names who must see it. */
import { afterEach, expect, test, vi } from 'vitest'
import { ChangeSet } from '../crdt/change.ts'
import { budget } from '../crdt/types/budget.ts'
import { claim } from '../crdt/types/claim.ts'
import type { Operation } from '../crdt/type.ts'
import { caseType, dotName } from '../merge/case.ts'
import type { Branch, Deciding } from '../merge/case.ts'
import { Finder } from '../merge/finder.ts'
import { Machine } from '../node/machine.ts'
import type { Input, MachineConfig, Output } from '../node/machine.ts'
import { StoredEntry } from '../replica/entry.ts'
import { OriginLog } from '../replica/log.ts'
import { Replica } from '../replica/replica.ts'
import { Space } from '../replica/space.ts'
import { decodePacket, encodePacket } from '../wire/codec.ts'
import type { Frame } from '../wire/frame.ts'
import { runSeed } from './campaign.ts'
import { SpaceChronicle } from './chronicle.ts'
import { SimDisk } from './disk.ts'
import type { Driven } from './host.ts'
import { storyOf } from './options.ts'
import type { SimOptions } from './options.ts'
import type { Rule } from './rules.ts'
import type { Action, Story } from './story.ts'
import { World } from './world.ts'
import type { RunSettings } from './world.ts'

afterEach(() => vi.restoreAllMocks())

/** Story of a seed with some of its circumstances changed. */
function story(seed: number, change: Partial<SimOptions> = {}, keep: (action: Action) => boolean = () => true): Story {
  const { options, actions } = storyOf(seed)
  return { options: { ...options, ...change }, actions: actions.filter(keep) }
}

const writesOnly = (action: Action): boolean => action.kind === 'write'

/** The rules that a fault broke in some of the first seeds; stops at the first that breaks the wanted one. */
function broken(wanted: Rule, seeds: number, make: (seed: number) => Story, settings: RunSettings = {}): Set<Rule> {
  const rules = new Set<Rule>()
  for (let seed = 1; seed <= seeds && !rules.has(wanted); seed++) {
    const world = new World(make(seed), settings)
    for (const { rule } of world.run().violations) rules.add(rule)
  }
  return rules
}

/** A machine with something between it and its driver. */
function between(
  config: MachineConfig,
  handle: (machine: Machine, input: Input, nowMs: number) => readonly Output[],
): Driven {
  const machine = new Machine(config)
  return {
    replica: machine.replica,
    get wakeAt() {
      return machine.wakeAt
    },
    handle: (input, nowMs) => handle(machine, input, nowMs),
  }
}

test('without a fault nothing is found', () => {
  expect(broken('alive', 6, story)).toEqual(new Set())
})

test('alive: a machine that throws', () => {
  let left = 200
  const makeMachine = (config: MachineConfig): Driven =>
    between(config, (machine, input, nowMs) => {
      if (left-- === 0) throw new TypeError('planted')
      return machine.handle(input, nowMs)
    })
  expect(broken('alive', 1, story, { makeMachine })).toContain('alive')
})

test('alive: a machine that asks for the same timer for ever', () => {
  const makeMachine = (config: MachineConfig): Driven => {
    const driven = between(config, (machine, input, nowMs) => machine.handle(input, nowMs))
    return { replica: driven.replica, wakeAt: 0, handle: (input, nowMs) => driven.handle(input, nowMs) }
  }
  expect(broken('alive', 1, story, { makeMachine })).toContain('alive')
})

test('a node that never gives the cells that it is asked for keeps nobody from becoming equal', () => {
  const isKept = ({ kind }: Frame): boolean => kind === 'tree-offer' || kind === 'tree-cells' || kind === 'tree-ack'
  let kept = 0
  const makeMachine = (config: MachineConfig): Driven =>
    between(config, (machine, input, nowMs) => {
      const outputs = machine.handle(input, nowMs)
      if (!config.address.endsWith('-0')) return outputs
      return outputs.map((output) => {
        if (output.kind !== 'send') return output
        const { frames } = decodePacket(output.bytes)
        if (!frames.some(isKept)) return output
        kept++
        return { ...output, bytes: encodePacket(frames.filter((frame) => !isKept(frame))) }
      })
    })
  const make = (seed: number): Story => {
    const { options, actions } = story(seed)
    const retention = { keepMs: 86_400_000, keepBytes: 64 << 20 }
    return { options: { ...options, retention, bounds: { newcomerSiblings: 0 }, lost: [] }, actions }
  }
  expect(broken('alive', 25, make, { makeMachine })).toEqual(new Set())
  expect(kept).toBeGreaterThan(10)
})

test('contract: more of a scan that nobody began', () => {
  const makeMachine = (config: MachineConfig): Driven =>
    between(config, (machine, input, nowMs) => {
      const outputs = machine.handle(input, nowMs)
      return input.kind === 'stored' ? [...outputs, { kind: 'more', scan: 99 }] : outputs
    })
  expect(broken('contract', 1, story, { makeMachine })).toContain('contract')
})

test('bounds: a machine that sends without waiting for a slow link', () => {
  const bytes = new Uint8Array(900_000)
  const makeMachine = (config: MachineConfig): Driven =>
    between(config, (machine, input, nowMs) => {
      const outputs = machine.handle(input, nowMs)
      const more: Output[] = []
      if (input.kind === 'opened' && config.address.endsWith('-1'))
        for (let i = 0; i < 5; i++) more.push({ kind: 'send', link: input.link, bytes })
      return [...outputs, ...more]
    })
  const slow = { kind: 'slow-link', at: 0, chance: 0, forMs: 60_000, from: 1, bytesPerSecond: 5_000 } as const
  const make = (seed: number): Story => {
    const { options, actions } = story(seed, {}, writesOnly)
    return { options, actions: [...Array.from({ length: options.nodes }, (_, to) => ({ ...slow, to })), ...actions] }
  }
  expect(broken('bounds', 1, make, { makeMachine })).toContain('bounds')
})

test('acknowledged: a sync that does not sync', () => {
  vi.spyOn(SimDisk.prototype, 'sync').mockImplementation(() => {})
  const make = (seed: number): Story => story(seed, { durability: Array.from({ length: 9 }, () => 'disk') })
  expect(broken('acknowledged', 30, make)).toContain('acknowledged')
})

test('equal vectors: a root that takes in what differs from node to node', () => {
  const makeMachine = (config: MachineConfig): Driven =>
    new Machine({
      ...config,
      applied: (event) => {
        const { root } = event.space.tree
        root[0] = (root[0] as number) + (event.own ? 1 : 2)
        config.applied?.(event)
      },
    })
  expect(broken('equal vectors', 1, story, { makeMachine })).toContain('equal vectors')
})

test('rebuild: a root that is the same everywhere and not the sum of the cells', () => {
  const makeMachine = (config: MachineConfig): Driven =>
    new Machine({
      ...config,
      applied: (event) => {
        const { root } = event.space.tree
        root[0] = (root[0] as number) + event.delta.seq
        config.applied?.(event)
      },
    })
  expect(broken('rebuild', 3, story, { makeMachine })).toContain('rebuild')
})

test('one dot: a node that goes on as the same origin after it lost its tail', () => {
  const makeMachine = (config: MachineConfig): Driven => new Machine({ ...config, incarnation: '0000000000000001' })
  expect(broken('one dot', 40, story, { makeMachine })).toContain('one dot')
})

test('causal: a delta that is applied before what its writer had seen', () => {
  vi.spyOn(Space.prototype, 'ready').mockImplementation(function (this: Space, delta) {
    return delta.seq === (this.vector.get(delta.origin) ?? 0) + 1
  })
  expect(broken('causal', 20, story)).toContain('causal')
})

test('watchers: a delta that nobody is told of', () => {
  const makeMachine = (config: MachineConfig): Driven =>
    new Machine({
      ...config,
      applied: (event) => {
        if (event.own || event.delta.seq % 5 !== 0) config.applied?.(event)
      },
    })
  const found = broken('watchers', 5, story, { makeMachine })
  expect([...found].some((rule) => rule === 'watchers' || rule === 'causal')).toBe(true)
})

test('watchers: a vector that moves by itself', () => {
  const makeMachine = (config: MachineConfig): Driven =>
    between(config, (machine, input, nowMs) => {
      const outputs = machine.handle(input, nowMs)
      const space = machine.replica.find('space-0')
      const [first] = space?.vector.keys() ?? []
      if (first !== undefined && input.kind === 'timer') space?.vector.set(first, 1_000)
      return outputs
    })
  expect(broken('watchers', 1, story, { makeMachine })).toContain('watchers')
})

test('no resurrection and oracle: a cell that keeps what was removed', () => {
  const { set } = Object.getOwnPropertyDescriptors(StoredEntry.prototype)
  vi.spyOn(StoredEntry.prototype, 'set').mockImplementation(function (this: StoredEntry, name, siblings) {
    if (siblings.length > 0) set.value?.call(this, name, siblings)
  })
  const make = (seed: number): Story => story(seed, {}, writesOnly)
  const found = broken('no resurrection', 20, make)
  expect(found).toContain('no resurrection')
  expect(found).toContain('oracle')
})

test('oracle: a delta that says something else than was applied', () => {
  const { write } = Object.getOwnPropertyDescriptors(SpaceChronicle.prototype)
  vi.spyOn(SpaceChronicle.prototype, 'write').mockImplementation(function (
    this: SpaceChronicle,
    delta,
    body,
    fault,
    chain,
  ) {
    const other = delta.seq === 2 ? { ...delta, writes: delta.writes.slice(1), clears: [] } : delta
    return write.value?.call(this, other, body, fault, chain)
  })
  expect(broken('oracle', 5, (seed) => story(seed, {}, writesOnly))).toContain('oracle')
})

test('budget: a reading that is overspent', () => {
  const { read } = Object.getOwnPropertyDescriptors(budget)
  vi.spyOn(budget, 'read').mockImplementation((cells) => {
    const { value, concurrent } = (read.value as typeof budget.read)(cells)
    return { value: { ...value, overspent: 1 }, concurrent }
  })
  const make = (seed: number): Story => story(seed, { types: ['budget'] }, writesOnly)
  expect(broken('budget', 2, make)).toContain('budget')
})

test('fence: a claim that gives out ever lower fences', () => {
  let fence = 1_000_000
  const acquire = claim.operations['acquire']
  if (acquire === undefined) throw new Error('a claim is acquired')
  vi.spyOn(acquire, 'run').mockImplementation((cells, change) => {
    fence--
    change.put('\xc0', { fence, owner: change.agent, until: 0 }, cells.get('\xc0'))
    return { fence, until: 0 }
  })
  const make = (seed: number): Story => story(seed, { types: ['claim'], keysOfType: 1 }, writesOnly)
  expect(broken('fence', 3, make)).toContain('fence')
})

test('disks: what is applied is told as if it were on the disk', () => {
  vi.spyOn(OriginLog.prototype, 'storedSeq', 'get').mockImplementation(function (this: OriginLog) {
    return this.seq
  })
  expect(broken('disks', 40, story)).toContain('disks')
})

test('alarms: a node that sees damage where there is none', () => {
  const makeMachine = (config: MachineConfig): Driven =>
    between(config, (machine, input, nowMs) => {
      const outputs = machine.handle(input, nowMs)
      const [space] = machine.replica.spaces
      if (space === undefined || input.kind !== 'local') return outputs
      const event = { kind: 'integrity', space, peer: undefined, what: 'planted', keys: [] } as const
      return [...outputs, { kind: 'event', event: { kind: 'sync', event } }]
    })
  expect(broken('alarms', 1, story, { makeMachine })).toContain('alarms')
})

test('alarms: a peer that breaks the protocol over a network that spoils nothing', () => {
  const makeMachine = (config: MachineConfig): Driven =>
    between(config, (machine, input, nowMs) =>
      machine.handle(input.kind === 'message' ? { ...input, bytes: input.bytes.subarray(1) } : input, nowMs),
    )
  expect(broken('alarms', 1, (seed) => story(seed, {}, writesOnly), { makeMachine })).toContain('alarms')
})

test('fence: a new holder under the fence of the last', () => {
  const { acquire } = claim.operations
  if (acquire === undefined) throw new Error('a claim is acquired')
  vi.spyOn(acquire, 'run').mockImplementation((cells, change) => {
    change.put('\xc0', { fence: 1, owner: change.agent, until: 0 }, cells.get('\xc0'))
    return { fence: 1, until: 0 }
  })
  const make = (seed: number): Story => story(seed, { types: ['claim'], keysOfType: 1 }, writesOnly)
  expect(broken('fence', 3, make)).toContain('fence')
})

test('expiry: what replaced it is taken along', () => {
  const { expire } = Object.getOwnPropertyDescriptors(ChangeSet.prototype)
  vi.spyOn(ChangeSet.prototype, 'expire').mockImplementation(function (this: ChangeSet, entry, name, dot) {
    const other = entry
      .cells(name.charCodeAt(0))
      .get(name.slice(1))
      .find(({ expires }) => expires === 0)
    expire.value?.call(this, entry, name, other ?? dot)
  })
  // Of a value that was written over, nothing is left to expire: the replica is made to ask all the same.
  vi.spyOn(Replica.prototype, 'expire').mockImplementation(function (this: Replica, space, due, nowMs) {
    return this.transact(space, { nowMs, agent: 'ann', reason: 'expired' }, (change) => {
      for (const { key, name, dot } of due) change.expire(space.entry(key), name, dot)
    }).batch
  })
  const make = (seed: number): Story => story(seed, { types: ['register', 'record'], keysOfType: 1 }, writesOnly)
  expect(broken('expiry', 30, make)).toContain('expiry')
})

/** Rules in every space, values that clash, and nobody loses a disk. */
const clashing = (seed: number): Story =>
  story(seed, { rules: true, types: ['register', 'record'], keysOfType: 1, durability: [] }, writesOnly)

test('conflicts: what is found over some subjects is forgotten by everybody', () => {
  const { applied } = Object.getOwnPropertyDescriptors(Finder.prototype)
  vi.spyOn(Finder.prototype, 'applied').mockImplementation(function (this: Finder, delta) {
    return (applied.value?.call(this, delta) ?? []).filter(({ id }) => id > '8')
  })
  expect(broken('conflicts', 6, clashing)).toContain('conflicts')
})

test('conflicts: a case gets a branch that is against nobody', () => {
  const { applied } = Object.getOwnPropertyDescriptors(Finder.prototype)
  let last: Branch | undefined
  vi.spyOn(Finder.prototype, 'applied').mockImplementation(function (this: Finder, delta) {
    return (applied.value?.call(this, delta) ?? []).map((finding) => {
      const branches = new Map(finding.branches)
      if (last !== undefined) branches.set(dotName(last), last)
      last = [...finding.branches.values()][0]
      return { ...finding, branches }
    })
  })
  expect(broken('conflicts', 6, clashing)).toContain('conflicts')
})

test('conflicts: what was settled comes back', () => {
  const decide = caseType.operations['decide'] as Operation
  const run = decide.run.bind(decide)
  vi.spyOn(decide, 'run').mockImplementation((cells, change, args) => {
    const deciding = args['deciding'] as Deciding
    return run(cells, change, { deciding: { ...deciding, settles: deciding.settles.slice(1) } })
  })
  expect(broken('conflicts', 12, clashing)).toContain('conflicts')
})

/** Nothing goes wrong, and nobody decides anything soon. */
const telling = (seed: number): Story => {
  const { options, actions } = clashing(seed)
  const calm = { tells: true, lost: [], restartAll: false, opensLate: false, skewMs: options.skewMs.map(() => 0) }
  return { options: { ...options, ...calm, ambushes: 0 }, actions }
}

test('told: a node says that it told somebody, and did not', () => {
  const { told } = Object.getOwnPropertyDescriptors(World.prototype)
  vi.spyOn(World.prototype, 'told').mockImplementation(function (this: World, host, errand) {
    if (errand.id > '8') told.value?.call(this, host, errand)
  })
  expect(broken('told', 12, telling)).toContain('told')
})

test('told: each node takes itself for the only one', () => {
  vi.spyOn(Machine.prototype, 'holders').mockReturnValue([])
  expect(broken('told', 12, telling)).toContain('told')
})

test('claims: a node that says to have on its disk what is in its memory', () => {
  vi.spyOn(Space.prototype, 'durable').mockImplementation(function (this: Space) {
    for (const log of this.logs.values()) log.durableSeq = log.seq
  })
  expect(broken('claims', 60, (seed) => story(4 * seed))).toContain('claims')
})

test('rest: a node that talks without end', () => {
  // A frame of a kind that nobody knows: it is skipped.
  const greeting = new Uint8Array(505)
  greeting.set([0x92, 0x3e, 0xc5, 0x01, 0xf4])
  const makeMachine = (config: MachineConfig): Driven => {
    const links = new Set<number>()
    return between(config, (machine, input, nowMs) => {
      if (input.kind === 'opened') links.add(input.link)
      if (input.kind === 'closed') links.delete(input.link)
      const more = [...links].map((link) => ({ kind: 'send', link, bytes: greeting }) as const)
      return [...machine.handle(input, nowMs), ...(input.kind === 'timer' ? [...more, ...more, ...more, ...more] : [])]
    })
  }
  expect(broken('rest', 3, (seed) => story(seed, {}, writesOnly), { makeMachine })).toContain('rest')
})

test('converges: a node that is deaf', () => {
  const makeMachine = (config: MachineConfig): Driven =>
    between(config, (machine, input, nowMs) =>
      config.address.endsWith('-1') && input.kind === 'message' ? [] : machine.handle(input, nowMs),
    )
  expect(broken('converges', 1, story, { makeMachine })).toContain('converges')
})

test('determinism: a machine that throws dice of its own', () => {
  let calls = 0
  const incarnationOf = (): string => (calls++ + Date.now()).toString(16).padStart(16, '0')
  const makeMachine = (config: MachineConfig): Driven => new Machine({ ...config, incarnation: incarnationOf() })
  const once = new World(story(3), { makeMachine }).run()
  const twice = new World(story(3), { makeMachine }).run()
  expect(once.trace).not.toBe(twice.trace)
  expect(runSeed(3, 0, true).violation).toBeUndefined()
})
