import { describe, expect, test } from 'vitest'
import type { Prng } from '../base/prng.ts'
import { counter } from '../crdt/types/counter.ts'
import { record } from '../crdt/types/record.ts'
import { register } from '../crdt/types/register.ts'
import { set } from '../crdt/types/set.ts'
import { table } from '../replica/row-keys.ts'
import { rowsIn } from '../replica/rows.test-kit.ts'
import type { OriginId } from '../crdt/dot.ts'
import type { Head, TreeCells, TreeOffer } from '../wire/frame.ts'
import { Fleet, differences } from './fleet.test-kit.ts'
import type { Member } from './fleet.test-kit.ts'
import type { Bounds } from './output.ts'

function pair(bounds: Partial<Bounds> = {}, seed = 1): [Fleet, Member, Member] {
  const fleet = new Fleet({ members: 2, bounds, seed })
  fleet.linkAll()
  const [a, b] = fleet.members as readonly [Member, Member]
  return [fleet, a, b]
}

function fill(member: Member, from: number, to: number): void {
  for (let i = from; i < to; i++) member.write(`k${i}`, register, 'set', { value: `value ${i} of ${member.node}` })
}

/** Writes and removals of some types, over few keys, so that both sides meet. */
function change(chance: Prng, member: Member): void {
  const key = `k${chance.below(40)}`
  const dice = chance.below(10)
  if (dice < 3) member.write(`r${key}`, register, 'set', { value: chance.below(1000) })
  else if (dice < 5) member.write(`c${key}`, counter, 'incr', { by: chance.below(9) })
  else if (dice === 5) member.write(`f${key}`, record, 'set', { fields: { [`f${chance.below(3)}`]: chance.below(5) } })
  else if (dice === 6) {
    const values = Array.from({ length: chance.below(60) }, () => `${chance.below(500)}`.repeat(20))
    member.write(`s${chance.below(3)}`, set, chance.chance(0.6) ? 'add' : 'remove', { values })
  } else member.remove(`${chance.pick(['r', 'c', 'f', 's'])}${chance.chance(0.2) ? chance.below(3) : key}`)
}

const tiny = { cellBytes: 900, windowBytes: 3000, newcomerSiblings: 20 }

describe('adoption', () => {
  test('[AE5] a new node takes cells, not deltas, and comes to the very root that was offered', () => {
    const [fleet, a, b] = pair(tiny)
    fill(a, 0, 200)
    a.write('big', set, 'add', { values: Array.from({ length: 400 }, (_, i) => `element ${i}`) })
    fleet.greet(a, b)
    fleet.settle()
    expect(differences(fleet)).toEqual([])
    expect(fleet.frames('deltas')).toEqual([])
    expect(b.reports.map(({ step, outcome, cellsIn }) => [step, outcome, cellsIn])).toEqual([['adopting', 'done', 600]])
    expect(a.reports.map(({ step, outcome, cellsOut }) => [step, outcome, cellsOut])).toEqual([
      ['offering', 'done', 600],
    ])
    expect(fleet.frames('tree-cells').length).toBeGreaterThan(10)
    expect(a.equal + b.equal).toBeGreaterThan(0)
    // And it writes on from there.
    b.write('k1', register, 'set', { value: 'b' })
    fleet.pass(3000)
    expect(differences(fleet)).toEqual([])
  })

  test('[AE6] a member that was away past the log comes back with its own unsent deltas, and only what differs is sent', () => {
    const [fleet, a, b] = pair({ cellBytes: 900, windowBytes: 3000 })
    fill(a, 0, 1000)
    fleet.greet(a, b)
    fleet.settle()
    fleet.unlink(a, b)
    for (let i = 0; i < 300; i++) a.write(`k${i % 10}`, register, 'set', { value: `later ${i}` })
    for (let i = 20; i < 25; i++) a.remove(`k${i}`)
    for (let i = 0; i < 20; i++) b.write(`k${i}`, register, 'set', { value: `away ${i}` })
    b.remove('k30')
    a.prune()
    const before = b.space.logs.get(b.replica.origin)?.seq
    fleet.link(a, b)
    fleet.sent.length = 0
    fleet.pass(5000)
    expect(differences(fleet)).toEqual([])
    expect(b.space.logs.get(b.replica.origin)?.seq).toBe(before)
    expect(b.reports.some(({ step, outcome }) => step === 'adopting' && outcome === 'done')).toBe(true)
    const offer = fleet.frames('tree-offer')[0] as TreeOffer
    expect(offer.buckets.length).toBe(32)
    const sent = (fleet.frames('tree-cells') as TreeCells[]).reduce((sum, { cells }) => sum + cells.length, 0)
    expect(sent).toBeLessThan(20_000)
    expect(b.space.entry('k21').empty).toBe(true)
    expect(b.space.entry('k5').at('\x01\xc0')).toHaveLength(2)
  })

  test.each([
    ['in one batch', {}],
    ['by a seal', { stagedBytes: 0, foldAtOnce: 3 }],
  ])('[AE7] what was written while the sums were taken, and was superseded elsewhere, goes: %s', (_, bounds) => {
    const [fleet, a, b] = pair(bounds)
    fill(a, 0, 100)
    fleet.greet(a, b)
    fleet.settle()
    fleet.unlink(a, b)
    a.write('k1', register, 'set', { value: 'later' })
    a.prune()
    fleet.link(a, b)
    fleet.greet(a, b)
    while (b.scans.size === 0) fleet.step()
    // It reaches the peer by another way, which removes half of it, before the peer is asked for its snapshot.
    b.write('x', register, 'set', { value: 'removed' })
    b.write('y', register, 'set', { value: 'kept' })
    const { origin } = b.replica
    b.commit()
    for (let seq = 1; seq <= 2; seq++) {
      const { body } = b.space.logs.get(origin)?.entry(seq) ?? {}
      expect(a.replica.receive(a.space, { origin, seq }, body as Uint8Array, fleet.nowMs)).toBe('applied')
    }
    a.remove('x')
    fleet.pass(5000)
    expect(differences(fleet)).toEqual([])
    expect(b.read('x', register)).toBeUndefined()
    expect([...a.events, ...b.events]).toEqual([])
    expect(b.reports.map(({ step, outcome }) => [step, outcome])).toContainEqual(['adopting', 'done'])
  })

  test.each([
    ['in one batch', {}],
    ['by a seal', { stagedBytes: 1000, foldAtOnce: 3 }],
    ['by a seal, for the keys', { stagedKeys: 3, foldAtOnce: 2 }],
  ])('[AE7] with writes and removals on both sides all the while it comes to the join of both, %s', (_, bounds) => {
    for (let seed = 1; seed <= 40; seed++) {
      try {
        const [fleet, a, b] = pair({ cellBytes: 400, windowBytes: 1200, ...bounds }, seed)
        const { random } = fleet
        for (let i = 0; i < 60; i++) change(random, a)
        fleet.pass(2500)
        fleet.unlink(a, b)
        for (let i = 0; i < 300; i++) change(random, a)
        for (let i = random.below(60); i > 0; i--) change(random, b)
        a.prune()
        if (random.chance(0.3)) b.prune()
        fleet.link(a, b)
        fleet.greet(a, b)
        for (let i = 0; i < 60; i++) {
          for (let steps = random.below(6); steps > 0; steps--) fleet.step()
          if (random.chance(0.5)) change(random, random.pick(fleet.members))
          if (random.chance(0.3)) fleet.collect(random.pick(fleet.members))
        }
        for (const member of fleet.members) fleet.collect(member)
        fleet.pass(30_000)
        expect(differences(fleet)).toEqual([])
        expect([...a.events, ...b.events]).toEqual([])
        expect([...a.faults, ...b.faults]).toEqual([])
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
  })

  test('[AE8] a crash anywhere while cells are staged or folded in loses nothing, and the rest is folded after it', () => {
    let resumed = 0
    for (let seed = 1; seed <= 40; seed++) {
      const bounds = { cellBytes: 600, windowBytes: 1800, stagedBytes: 1000, foldAtOnce: 5, newcomerSiblings: 20 }
      const [fleet, a, b] = pair(bounds, seed)
      const { random } = fleet
      for (let i = 0; i < 150; i++) change(random, a)
      if (random.chance(0.5)) {
        fleet.pass(2500)
        fleet.unlink(a, b)
        for (let i = 0; i < 300; i++) change(random, a)
        for (let i = 0; i < 10; i++) change(random, b)
        b.commit()
        a.prune()
        fleet.link(a, b)
      }
      fleet.greet(a, b)
      for (let steps = random.below(250); steps > 0; steps--) fleet.step()
      // Half of the crashes are meant for the fold.
      if (seed % 2 === 0) {
        while (b.space.adoption === undefined && fleet.step());
        for (let steps = random.below(30); steps > 0; steps--) fleet.step()
      }
      if (b.space.adoption !== undefined) resumed++
      b.restart()
      if (b.space.adoption !== undefined) {
        b.write('rk1', register, 'set', { value: 'after the crash' })
        b.remove('rk2')
        if (random.chance(0.5)) {
          for (let steps = random.below(12); steps > 0; steps--) fleet.step()
          b.commit()
          b.restart()
        }
      }
      fleet.link(a, b)
      fleet.pass(30_000)
      try {
        expect(differences(fleet)).toEqual([])
        expect(b.events).toEqual([])
        expect([rowsIn(b.rows, table.staged), rowsIn(b.rows, table.adoption)]).toEqual([0, 0])
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error })
      }
    }
    expect(resumed).toBeGreaterThan(5)
  })

  test('[AE9] when the link breaks it goes on after what was taken, and another snapshot begins anew', () => {
    const [fleet, a, b] = pair(tiny)
    fill(a, 0, 300)
    fleet.greet(a, b)
    while (fleet.frames('tree-cells').length < 8) fleet.step()
    fleet.unlink(a, b)
    fleet.nowMs += 500
    fleet.link(a, b)
    fleet.settle()
    expect(differences(fleet)).toEqual([])
    const seqs = (fleet.frames('tree-cells') as TreeCells[]).map(({ seq }) => seq)
    expect(new Set(seqs).size).toBe(seqs.at(-1))
    expect(seqs.length - new Set(seqs).size).toBeLessThanOrEqual(4)
    expect(fleet.frames('tree-offer')).toHaveLength(1)
    expect(b.reports[0]?.outcome).toBe('done')
  })

  test('[AE9] a word of what was taken that was lost with the link is said again', () => {
    const fleet = new Fleet({ members: 2, bounds: { newcomerSiblings: 0, cellBytes: 100, windowBytes: 300 } })
    const [a, b] = fleet.members as readonly [Member, Member]
    for (let i = 0; i < 20; i++) a.write(`k${i}`, register, 'set', { value: i })
    fleet.filter = ({ frame }) => frame.kind !== 'tree-ack'
    fleet.link(a, b)
    fleet.greet(a, b)
    fleet.settle()
    // The window is full, and all of it is there.
    expect(b.space.catchingUp).toBe(true)
    fleet.unlink(a, b)
    fleet.filter = () => true
    fleet.link(a, b)
    fleet.settle()
    expect(b.read('k19', register)).toBe(19)
    expect(fleet.frames('tree-ask').length).toBe(2)
  })

  test('[AE5] nothing is taken of whoever says that an origin had seen what the snapshot does not have', () => {
    for (const lie of ['an origin of nobody', 'more than there is']) {
      const [fleet, a, b] = pair(tiny)
      fill(a, 0, 60)
      const stranger = 'f'.repeat(32) as OriginId
      fleet.filter = ({ frame }) => {
        if (frame.kind !== 'tree-offer') return true
        const [head] = frame.heads as [Head]
        const told = frame.heads as Head[]
        if (lie === 'more than there is') told.push({ ...head, origin: stranger, seq: 1 })
        const seq = lie === 'more than there is' ? 2 : 1
        told[0] = { ...head, context: [{ origin: stranger, seq }] }
        return true
      }
      fleet.greet(a, b)
      fleet.settle()
      expect(b.faults[0]).toBe('a context beyond the vector')
      expect([b.space.vector.size, b.space.origins.find(stranger)]).toEqual([0, undefined])
      fleet.filter = () => true
      fleet.pass(60_000)
      expect(b.read('k1', register)).toBe(a.read('k1', register))
    }
  })

  test('[AE15] while a snapshot is on its way nothing beyond it is pruned', () => {
    const [fleet, a, b] = pair(tiny)
    fill(a, 0, 300)
    fleet.greet(a, b)
    while (fleet.frames('tree-cells').length < 3) fleet.step()
    for (let i = 0; i < 300; i++) a.write(`k${i}`, register, 'set', { value: `later ${i}` })
    const log = a.space.logs.get(a.replica.origin)
    a.prune()
    expect(log?.floor).toBeLessThanOrEqual(301)
    fleet.settle()
    fleet.pass(3000)
    expect(differences(fleet)).toEqual([])
    expect(fleet.frames('tree-offer')).toHaveLength(1)
    a.prune()
    expect(log?.floor).toBeGreaterThan(500)
  })
})
