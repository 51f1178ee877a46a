import { describe, expect, test } from 'vitest'
import { utf8 } from '../base/bytes.ts'
import { prng } from '../base/prng.ts'
import type { Input } from '../node/machine.ts'
import { Totals, runSeed } from './campaign.ts'
import { SimBatch, SimDisk } from './disk.ts'
import { Agenda } from './heap.ts'
import { unmet } from './marks.ts'
import { Network } from './network.ts'
import type { NetworkStage, Party } from './network.ts'
import { drawOptions, faultClasses, storyOf } from './options.ts'
import { shrink } from './shrink.ts'
import { describe as told } from './story.ts'
import type { Action, PartitionAction, WeatherAction } from './story.ts'
import { convergenceMs, runStory } from './world.ts'

describe('the agenda', () => {
  test('goes by time, and by the order of planning within one time', () => {
    const agenda = new Agenda()
    const chance = prng(1)
    const planned: { at: number; order: number }[] = []
    const seen: { at: number; order: number }[] = []
    for (let order = 0; order < 500; order++) {
      const at = chance.below(50)
      planned.push({ at, order })
      agenda.plan(at, () => seen.push({ at, order }))
    }
    while (agenda.size > 0) agenda.next()?.run()
    expect(seen).toEqual(planned.toSorted((a, b) => a.at - b.at || a.order - b.order))
    expect(agenda.nextAt).toBe(Infinity)
  })
})

describe('the disk', () => {
  const key = (name: string): Uint8Array => utf8(name)
  const written = (disk: SimDisk, name: string, value: string): void => {
    const batch = new SimBatch()
    batch.put(key(name), utf8(value))
    disk.apply(batch)
  }
  const read = (disk: SimDisk, name: string): string | undefined => {
    const value = disk.get(key(name))
    return value === undefined ? undefined : new TextDecoder().decode(value)
  }

  test('keeps what was synced over a power cut, and a prefix of the rest', () => {
    for (let seed = 0; seed < 20; seed++) {
      const disk = new SimDisk()
      written(disk, 'a', '1')
      disk.sync()
      for (let i = 0; i < 5; i++) written(disk, `b${i}`, 'x')
      const lost = disk.powerCut(prng(seed))
      expect(read(disk, 'a')).toBe('1')
      expect(Array.from({ length: 5 }, (_, i) => read(disk, `b${i}`) !== undefined)).toEqual(
        Array.from({ length: 5 }, (_, i) => i < 5 - lost),
      )
    }
  })

  test('shows a snapshot as it was, restores a backup, and is copied', () => {
    const disk = new SimDisk()
    written(disk, 'a', '1')
    disk.backUp()
    const before = disk.snapshot()
    written(disk, 'a', '2')
    const other = new SimDisk()
    other.copyOf(disk)
    expect([read(before, 'a'), read(disk, 'a'), read(other, 'a')]).toEqual(['1', '2', '2'])
    const { directory } = disk
    expect(disk.restore()).toBe(true)
    expect([read(disk, 'a'), disk.directory]).toEqual(['1', directory + 1])
    disk.wipe()
    expect(disk.size).toBe(0)
  })

  test('tells of a row that cannot be read, and not of one that is lost', () => {
    const disk = new SimDisk()
    written(disk, 'a', '1')
    disk.damage('unreadable', ['a'.charCodeAt(0)], prng(1))
    expect(() => disk.get(key('a'))).toThrow('checksum')
    written(disk, 'a', '2')
    expect(read(disk, 'a')).toBe('2')
    disk.damage('vanish', ['a'.charCodeAt(0)], prng(1))
    expect([read(disk, 'a'), disk.damaged]).toEqual([undefined, true])
  })
})

/** Two parties that only note what they hear. */
class Wire implements NetworkStage {
  now = 0
  readonly counts: string[] = []
  readonly heard: [to: number, input: Input][] = []
  readonly parties: Party[]
  readonly network: Network
  readonly #agenda = new Agenda()

  constructor(latencyMs: readonly [number, number] = [2, 2]) {
    this.parties = [0, 1].map((index) => ({
      index,
      address: `sim://node-${index}`,
      life: 1,
      silent: false,
      receive: (input) => this.heard.push([index, input]),
    }))
    this.network = new Network(this, this.parties, 1, latencyMs)
  }

  plan(at: number, run: () => void): void {
    this.#agenda.plan(Math.max(at, this.now), run)
  }

  count(what: string): void {
    this.counts.push(what)
  }

  tell(): void {}

  violate(rule: string, what: string): void {
    throw new Error(`${rule}: ${what}`)
  }

  until(time: number): void {
    while (this.#agenda.nextAt <= time) {
      const next = this.#agenda.next()
      this.now = next?.at ?? time
      next?.run()
    }
    this.now = time
  }

  /** Node 0 dials node 1; the link's number at node 1. */
  link(): number {
    this.network.dial(this.parties[0] as Party, 2, 'sim://node-1')
    this.until(this.now + 100)
    const [, opened] = this.heard.find(([to, input]) => to === 1 && input.kind === 'opened') ?? []
    if (opened?.kind !== 'opened') throw new Error('no link')
    this.heard.length = 0
    return opened.link
  }

  send(bytes: Uint8Array): void {
    this.network.send(this.parties[0] as Party, 2, bytes)
  }

  /** The first bytes of the messages that node 1 heard. */
  messages(): number[] {
    return this.heard.flatMap(([to, input]) => (to === 1 && input.kind === 'message' ? [input.bytes[0] ?? -1] : []))
  }

  kinds(node: number): string[] {
    return this.heard.filter(([to]) => to === node).map(([, input]) => input.kind)
  }
}

const partition: PartitionAction = {
  kind: 'partition',
  at: 10,
  chance: 0,
  forMs: 5_000,
  sides: [0, 1],
  how: 'hole',
  oneWay: false,
  flapMs: 0,
}

const weather: WeatherAction = {
  kind: 'weather',
  at: 0,
  chance: 0,
  forMs: 60_000,
  from: undefined,
  to: undefined,
  loss: 0,
  duplicate: 0,
  reorder: 0,
  garble: 0,
  delayMs: 0,
}

describe('the network', () => {
  test('carries messages in order, and says when they have left', () => {
    const wire = new Wire([1, 40])
    wire.link()
    for (let i = 0; i < 20; i++) wire.send(Uint8Array.of(i))
    wire.until(1_000)
    expect(wire.messages()).toEqual(Array.from({ length: 20 }, (_, i) => i))
    expect(wire.kinds(0)).toEqual(['drained'])
  })

  test('a link that is closed delivers what was sent before, and tells both ends', () => {
    const wire = new Wire()
    wire.link()
    wire.send(Uint8Array.of(7))
    wire.network.close(wire.parties[0] as Party, 2)
    wire.send(Uint8Array.of(8))
    wire.until(1_000)
    expect(wire.kinds(1)).toEqual(['message', 'closed'])
    expect(wire.kinds(0)).toEqual(['closed'])
  })

  test('a reset loses what is in flight', () => {
    const wire = new Wire()
    wire.link()
    wire.send(Uint8Array.of(7))
    wire.network.resetLinks(0, 1)
    wire.until(1_000)
    expect([wire.kinds(0), wire.kinds(1)]).toEqual([['closed'], ['closed']])
  })

  test('a hole swallows, and the link is given up only after a while', () => {
    const wire = new Wire()
    wire.link()
    wire.network.partition({ ...partition, forMs: 60_000 })
    wire.send(Uint8Array.of(1))
    wire.until(10_000)
    expect([wire.messages(), wire.kinds(0)]).toEqual([[], ['drained']])
    wire.until(40_000)
    expect(wire.kinds(0)).toEqual(['drained', 'closed'])
  })

  test('one way, flapping, healed', () => {
    const wire = new Wire()
    const back = wire.link()
    wire.network.partition({ ...partition, oneWay: true, flapMs: 1_000 })
    wire.send(Uint8Array.of(1))
    wire.network.send(wire.parties[1] as Party, back, Uint8Array.of(9))
    wire.until(200)
    expect([wire.messages(), wire.kinds(0).filter((kind) => kind === 'message')]).toEqual([[], ['message']])
    wire.until(1_200)
    wire.send(Uint8Array.of(2))
    wire.until(2_100)
    wire.send(Uint8Array.of(3))
    wire.until(2_200)
    wire.network.heal()
    wire.send(Uint8Array.of(4))
    wire.until(2_300)
    expect(wire.messages()).toEqual([2, 4])
  })

  test('loses, doubles, reorders and garbles as the weather is', () => {
    const tried = (change: Partial<WeatherAction>): number[] => {
      const wire = new Wire()
      wire.link()
      wire.network.weather({ ...weather, ...change })
      for (let i = 0; i < 100; i++) wire.send(Uint8Array.of(i, i))
      wire.until(10_000)
      return wire.messages()
    }
    const sorted = Array.from({ length: 100 }, (_, i) => i)
    expect(tried({})).toEqual(sorted)
    expect(tried({ loss: 300 }).length).toBeLessThan(90)
    expect(tried({ duplicate: 300 }).length).toBeGreaterThan(110)
    const mixed = tried({ reorder: 300 })
    expect(mixed).not.toEqual(sorted)
    expect(mixed.toSorted((a, b) => a - b)).toEqual(sorted)
    expect(tried({ garble: 500 })).not.toEqual(sorted)
  })

  test('a slow link takes its time, and says so', () => {
    const wire = new Wire()
    wire.link()
    wire.network.slow({ kind: 'slow-link', at: 0, chance: 0, forMs: 60_000, from: 0, to: 1, bytesPerSecond: 1_000 })
    wire.send(new Uint8Array(2_000))
    wire.until(1_900)
    expect(wire.heard).toEqual([])
    wire.until(2_200)
    expect([wire.kinds(0), wire.messages()]).toEqual([['drained'], [0]])
  })
})

describe('a world', () => {
  test('goes the same way twice, and another way from another seed', () => {
    const [one, again, other] = [5, 5, 6].map((seed) => runStory(storyOf(seed)))
    expect(again?.trace).toBe(one?.trace)
    expect(again?.events).toBe(one?.events)
    expect(again?.counts).toEqual(one?.counts)
    expect(other?.trace).not.toBe(one?.trace)
  })

  test('a transcript changes nothing', () => {
    const { trace, transcript } = runStory(storyOf(7), { verbose: true })
    expect(runStory(storyOf(7)).trace).toBe(trace)
    expect(transcript.length).toBeGreaterThan(100)
  })

  const totals = new Totals()
  const seeds = Array.from({ length: 20 }, (_, at) => at + 1)

  test.each(seeds)('seed %i holds', (seed) => {
    const report = runSeed(seed)
    totals.add(report)
    expect(report.violation).toBeUndefined()
  })

  test('those had writes and faults, and were equal in time', () => {
    expect(totals.seeds).toBe(seeds.length)
    expect(totals.writes).toBeGreaterThan(500)
    expect(totals.faults).toBeGreaterThan(100)
    expect(totals.slowestMs).toBeLessThan(convergenceMs(9))
    expect(unmet(totals.counts)).not.toContain('write: made')
  })
})

describe('stories', () => {
  test('every class of faults is drawn, and left out', () => {
    const drawn = new Map(faultClasses.map((name) => [name, 0]))
    const left = new Map(faultClasses.map((name) => [name, 0]))
    for (let seed = 0; seed < 300; seed++) {
      for (const [name, count] of Object.entries(drawOptions(seed, 0.12).faults)) {
        const into = count > 0 ? drawn : left
        into.set(name as never, (into.get(name as never) ?? 0) + 1)
      }
    }
    for (const name of faultClasses) {
      expect(left.get(name)).toBeGreaterThan(20)
      expect(drawn.get(name)).toBeGreaterThan(10)
    }
  })

  test('every kind of action can be told', () => {
    const kinds = new Set<string>()
    for (let seed = 0; seed < 300; seed++) {
      for (const action of storyOf(seed, 0.12).actions) {
        kinds.add(action.kind)
        expect(told(action)).not.toContain('undefined')
      }
    }
    expect(kinds.size).toBeGreaterThan(12)
  })

  test('a failure is shrunk to the few actions that bring it about', () => {
    // Planted: whoever is told of a fourth delta of one origin loses his root.
    const settings = {
      checkers: [
        (scene: { violate(rule: 'alive', what: string): void }) => ({
          applied: (_host: unknown, _life: unknown, { delta }: { delta: { seq: number } }) => {
            if (delta.seq === 4) scene.violate('alive', 'planted')
          },
        }),
      ],
    }
    const story = storyOf(11)
    const { story: short, runs } = shrink(story, 'alive', settings)
    expect(short.actions.length).toBeLessThanOrEqual(4)
    expect(short.actions.every((action: Action) => action.kind === 'write')).toBe(true)
    expect(short.options.nodes).toBe(2)
    expect(runs).toBeLessThan(300)
  })
})
