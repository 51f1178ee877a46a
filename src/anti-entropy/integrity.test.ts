import { describe, expect, test } from 'vitest'
import { noSiblings } from '../crdt/cell.ts'
import type { Sibling, Siblings } from '../crdt/cell.ts'
import { encodeValue } from '../base/msgpack.ts'
import { counter } from '../crdt/types/counter.ts'
import { register } from '../crdt/types/register.ts'
import { KeyWriter, table } from '../replica/row-keys.ts'
import type { SketchAsk, SketchFrame } from '../wire/frame.ts'
import { Fleet, differences, rot } from './fleet.test-kit.ts'
import type { Member } from './fleet.test-kit.ts'
import type { Bounds } from './output.ts'

const name = '\x01\xc0'

function pair(bounds: Partial<Bounds> = {}, seed = 1, entries = 200): [Fleet, Member, Member] {
  const fleet = new Fleet({ members: 2, bounds, seed })
  fleet.linkAll()
  const [a, b] = fleet.members as readonly [Member, Member]
  for (let i = 0; i < entries; i++) a.write(`k${i}`, register, 'set', { value: `value ${i}` })
  for (let i = 0; i < 20; i++) b.write(`n${i}`, counter, 'incr', { by: i })
  fleet.pass(3000)
  expect(differences(fleet)).toEqual([])
  return [fleet, a, b]
}

/** As a bug would: the cells change, the tree follows them, and no delta says so. */
function twist(member: Member, key: string, change: (before: Siblings) => Siblings): void {
  const { replica, space } = member
  replica.merge(space, 0, 0, [], () => {
    space.mergeEntry(space.entry(key), new Map([[name, noSiblings]]), (mine, _, __, at) =>
      at === name ? change(mine) : mine,
    )
  })
}

const other = (before: Siblings, change: Partial<Sibling>): Siblings =>
  before.map(({ origin, seq, time, agent, value, expires }) => ({
    origin,
    seq,
    time,
    agent,
    value,
    expires,
    ...change,
  }))

const garbled = (before: Siblings): Siblings => other(before, { value: encodeValue('garbled') })

function expectAlike(...members: Member[]): void {
  for (const member of members) member.commit()
  const roots = members.map(({ space }) => [...space.tree.root].join())
  expect(new Set(roots).size).toBe(1)
  const contexts = members.map(({ space }) => space.contextDigest().join())
  expect(new Set(contexts).size).toBe(1)
}

function entryRow(member: Member, key: string): Uint8Array {
  return new KeyWriter().start(table.entry).short(member.space.number).text(key).bytes.slice()
}

describe('equal contexts and unequal roots', () => {
  test('[AE10] whose rows disagree with his own root takes the cells of the other, and says so', () => {
    for (const bounds of [{}, { stagedBytes: 10, foldAtOnce: 3 }]) {
      const [fleet, a, b] = pair(bounds)
      // Rot that the store did not see: in one entry that is written over, and in one that is not.
      rot(b.rows, entryRow(b, 'k7'), -1, 0x21)
      rot(b.rows, entryRow(b, 'k8'), -1, 0x21)
      b.restart()
      fleet.link(a, b)
      b.write('k7', register, 'set', { value: 'new' })
      fleet.pass(8000)
      expect(b.read('k8', register)).toBe('value 8')
      expect(differences(fleet)).toEqual([])
      expect(b.events.map(({ kind }) => kind)).toContain('integrity')
      expect(b.reports.some(({ step, outcome }) => step === 'adopting' && outcome === 'done')).toBe(true)
    }
  })

  test('[AE10] what is written meanwhile stays, and what it replaced stays away', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const [fleet, a, b] = pair({ cellBytes: 300 }, seed, 60)
      for (const key of ['k7', 'k8', 'k9', 'k10']) rot(b.rows, entryRow(b, key), -1, 0x21)
      b.restart()
      fleet.link(a, b)
      b.write('k7', register, 'set', { value: 'new' })
      for (let i = 0; i < 200; i++) {
        fleet.step()
        if (i % 10 === 0) fleet.nowMs += 300
        for (const member of fleet.members) {
          if (member.sync.wakeAt <= fleet.nowMs) member.sync.timer(fleet.nowMs)
          fleet.collect(member)
        }
        if (i % 9 === 0) b.write(`k${fleet.random.below(20)}`, register, 'set', { value: `b${i}` })
        if (i % 31 === 0) b.remove(`k${20 + fleet.random.below(20)}`)
        if (i % 23 === 0) a.write(`k${fleet.random.below(20)}`, register, 'set', { value: `a${i}` })
      }
      fleet.pass(60_000)
      expect(differences(fleet), `seed ${seed}`).toEqual([])
    }
  })

  test.each([1, 3, 60])(
    '[AE11] when both agree with themselves %d cells are found by a sketch and repaired by a delta',
    (count) => {
      const [fleet, a, b] = pair()
      for (let i = 0; i < count; i++) {
        const [one, second] = i % 2 === 0 ? [a, b] : [b, a]
        if (i % 3 === 0) twist(one, `k${i}`, garbled)
        else if (i % 3 === 1) twist(second, `k${i}`, () => [])
        else twist(one, `k${i}`, (before) => other(before, { time: (before[0]?.time ?? 0) + 1 }))
      }
      const before = [...a.space.vector.values()].reduce((sum, seq) => sum + seq)
      fleet.sent.length = 0
      fleet.pass(30_000)
      expectAlike(a, b)
      const after = [...a.space.vector.values()].reduce((sum, seq) => sum + seq)
      expect(after).toBe(before + 1)
      for (const member of [a, b]) {
        const found = member.events.flatMap((event) => (event.kind === 'integrity' ? event.keys : []))
        if (member.reports.at(-1)?.cellsOut !== 0) expect(found.length).toBeGreaterThan(0)
      }
      // What only one side had is not lost unseen.
      if (count > 1) expect(a.read('k1', register)).toBe('value 1')
      expect(a.read('k100', register)).toBe('value 100')
      const rounds = (fleet.frames('sketch') as SketchFrame[]).length
      expect(rounds).toBeLessThanOrEqual(count === 1 ? 1 : 2)
      if (count === 1) {
        const bytes = (fleet.frames('sketch') as SketchFrame[]).reduce((sum, { cells }) => sum + cells.length, 0)
        const answer = (fleet.frames('sketch-ask') as SketchAsk[]).reduce(
          (sum, { digests, cells }) => sum + digests.length + cells.length,
          0,
        )
        expect(bytes + answer).toBeLessThanOrEqual(350)
      }
    },
  )

  test('[AE11] a repair brings nothing back that was written over in the meantime', () => {
    const [fleet, a, b] = pair()
    twist(a, 'k5', garbled)
    fleet.greet(a, b)
    fleet.settle()
    expect([...a.events, ...b.events].length).toBeGreaterThan(0)
    a.write('k5', register, 'set', { value: 'newer' })
    fleet.pass(30_000)
    expectAlike(a, b)
    expect([a.read('k5', register), b.read('k5', register)]).toEqual(['newer', 'newer'])
    expect(a.space.entry('k5').at(name)).toHaveLength(1)
  })
})

describe('a peer that lies', () => {
  const frames = ['tree-cells', 'tree-offer', 'tree-ack', 'sketch', 'sketch-ask', 'vector', 'deltas', 'chains'] as const

  test.each(frames)(
    '[AE12] garbled %s frames end a session or are a fault, and the fleet comes together without them',
    (kind) => {
      let seen = 0
      for (let seed = 1; seed <= 25; seed++) {
        const [fleet, a, b] = pair({ cellBytes: 300, windowBytes: 900, readMs: 10_000 }, seed, 60)
        const { random } = fleet
        fleet.unlink(a, b)
        for (let i = 0; i < 300; i++) a.write(`k${random.below(60)}`, register, 'set', { value: `later ${i}` })
        if (kind.startsWith('sketch')) {
          fleet.link(a, b)
          fleet.pass(2000)
          twist(a, 'k5', garbled)
          for (let i = 10; i < 30; i++) twist(b, `k${i}`, garbled)
        } else if (kind.startsWith('tree')) a.prune()
        fleet.link(a, b)
        let lies = 6
        fleet.filter = (letter) => {
          if (letter.frame.kind !== kind || lies === 0) return true
          seen++
          lies--
          const frame = letter.frame as unknown as Record<string, unknown>
          const field = random.pick(Object.keys(frame).filter((each) => each !== 'kind' && each !== 'space'))
          const value = frame[field]
          if (value instanceof Uint8Array) {
            const bytes = value.slice(0, random.chance(0.3) ? random.below(value.length + 1) : value.length)
            if (bytes.length > 0 && field !== 'chain') bytes[random.below(bytes.length)] = random.below(256)
            frame[field] = ['sums', 'digests'].includes(field) ? bytes.subarray(0, bytes.length & ~7) : bytes
            if (['context', 'root'].includes(field)) frame[field] = value.map((byte) => byte ^ 1)
          } else if (typeof value === 'number') frame[field] = random.pick([0, 1, value + 1, 2 ** 31])
          else if (typeof value === 'boolean') frame[field] = !value
          else if (Array.isArray(value)) frame[field] = value.slice(random.below(value.length + 1))
          return true
        }
        fleet.pass(15_000)
        fleet.filter = () => true
        fleet.pass(60_000)
        expectAlike(a, b)
      }
      if (kind !== 'chains' && kind !== 'sketch-ask') expect(seen).toBeGreaterThan(10)
    },
  )

  test('[AE12] asks that never end and acknowledgements that never come hold little and stop', () => {
    const [fleet, a, b] = pair({ cellBytes: 300, windowBytes: 900 })
    const id = a.space.id
    let stopped = 0
    for (let session = 1; session <= 1000; session++) {
      a.sync.handle(
        b.node,
        { kind: 'tree-ask', space: id, session, vector: [], sums: new Uint8Array(0), after: '' },
        fleet.nowMs,
      )
    }
    let scans = 0
    for (const output of a.sync.outputs) {
      if (output.kind === 'scan') scans++
      if (output.kind === 'send' && output.frame.kind === 'tree-ack' && output.frame.stop) stopped++
    }
    expect(scans).toBeLessThanOrEqual(2)
    expect(stopped).toBeGreaterThan(990)
    // The acknowledgements of the one that runs are lost.
    fleet.filter = ({ frame }) => frame.kind !== 'tree-ack'
    fleet.collect(a)
    fleet.settle()
    expect(fleet.frames('tree-cells').length).toBeLessThanOrEqual(5)
    fleet.pass(15_000)
    expect(a.reports.filter(({ step }) => step === 'offering').every(({ outcome }) => outcome !== 'done')).toBe(true)
  })
})
