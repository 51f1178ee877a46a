import { describe, expect, test } from 'vitest'
import { toHex } from '../base/bytes.ts'
import { counter } from '../crdt/types/counter.ts'
import { register } from '../crdt/types/register.ts'
import { faults, snapshotOf } from '../replica/rows.test-kit.ts'
import type { Deltas } from '../wire/frame.ts'
import { Fleet } from './fleet.test-kit.ts'
import type { Member } from './fleet.test-kit.ts'
import { usualBounds } from './output.ts'

function expectEqual(...members: Member[]): void {
  const snapshots = members.map((member) => {
    member.commit()
    expect(faults(member.rows, member.space)).toEqual([])
    return toHex(snapshotOf(member.rows, member.space))
  })
  expect(new Set(snapshots).size).toBe(1)
}

function pair(bounds = {}): [Fleet, Member, Member] {
  const fleet = new Fleet({ members: 2, bounds })
  fleet.linkAll()
  const [a, b] = fleet.members as readonly [Member, Member]
  return [fleet, a, b]
}

describe('greeting', () => {
  test('[AE1] equal replicas are proven equal by one greeting, without an answer', () => {
    const [fleet, a, b] = pair()
    a.write('k', register, 'set', { value: 1 })
    fleet.greet(a, b)
    fleet.settle()
    expectEqual(a, b)
    fleet.sent.length = 0
    const before = a.equal
    fleet.greet(b, a)
    fleet.settle()
    expect(fleet.sent.map(({ frame }) => frame.kind)).toEqual(['greeting'])
    expect(a.equal).toBe(before + 1)
  })
})

describe('exchange', () => {
  test('[AE2] missed deltas come from the log in one round trip, both ways', () => {
    const [fleet, a, b] = pair()
    for (let i = 0; i < 20; i++) {
      a.write(`a${i}`, register, 'set', { value: i })
      b.write(`b${i}`, register, 'set', { value: i })
      a.write('n', counter, 'incr', { by: 1 })
      b.write('n', counter, 'incr', { by: 1 })
    }
    fleet.greet(a, b)
    fleet.settle()
    expectEqual(a, b)
    expect(a.read('n', counter)).toBe(40)
    const kinds = fleet.sent.map(({ from, frame }) => `${from === a.node ? 'a' : 'b'} ${frame.kind}`)
    expect(kinds.slice(0, 5)).toEqual(['a greeting', 'b vector', 'a vector', 'a deltas', 'b deltas'])
    expect([a.reports[0]?.deltasIn, a.reports[0]?.deltasOut]).toEqual([40, 40])
    expect(a.equal + b.equal).toBeGreaterThan(0)
  })

  test('[AE3] chunks are cut anywhere, no more than the window is on its way, and a lost link costs only that', () => {
    const [fleet, a, b] = pair({ chunkBytes: 500, windowBytes: 1500 })
    for (let i = 0; i < 200; i++) a.write(`k${i % 17}`, register, 'set', { value: 'x'.repeat(100) + String(i) })
    let flying = 0
    let most = 0
    fleet.filter = ({ frame }) => {
      const size = (each: (typeof fleet.letters)[0]) =>
        each.frame.kind === 'deltas'
          ? (each.frame as Deltas).runs.flatMap(({ bodies }) => bodies).reduce((sum, body) => sum + body.length, 0)
          : 0
      flying = fleet.letters.reduce(
        (sum, letter) => sum + size(letter),
        frame.kind === 'deltas' ? size({ from: a.node, to: b.node, frame }) : 0,
      )
      most = Math.max(most, flying)
      return true
    }
    fleet.greet(a, b)
    for (let i = 0; i < 30; i++) fleet.step()
    const reached = b.space.vector.get(a.replica.origin) ?? 0
    expect(reached).toBeGreaterThan(10)
    expect(reached).toBeLessThan(200)
    fleet.unlink(a, b)
    fleet.settle()
    fleet.link(a, b)
    fleet.nowMs += 1000
    fleet.sent.length = 0
    fleet.greet(a, b)
    fleet.settle()
    expectEqual(a, b)
    const again = (fleet.frames('deltas') as Deltas[])
      .flatMap(({ runs }) => runs)
      .reduce((sum, { bodies }) => sum + bodies.length, 0)
    expect(again).toBe(200 - reached)
    expect(most).toBeLessThanOrEqual(2000)
    expect(most).toBeGreaterThan(1000)
  })

  test('[AE2] writes in the midst of it are kept, and rounds bring three nodes together', () => {
    const fleet = new Fleet({ members: 3, bounds: { chunkBytes: 300, windowBytes: 600 }, seed: 5 })
    fleet.linkAll()
    const { members } = fleet
    for (let i = 0; i < 100; i++) (members[i % 3] as Member).write(`k${i % 11}`, counter, 'incr', { by: 1 })
    for (let round = 0; round < 200; round++) {
      for (let i = 0; i < 5; i++) fleet.step()
      const member = fleet.random.pick(members)
      member.write(`k${round % 11}`, counter, 'incr', { by: 1 })
      if (round % 5 === 0) fleet.greet(member, fleet.random.pick(members.filter((each) => each !== member)))
      fleet.nowMs += 10
    }
    fleet.pass(20_000)
    expectEqual(...members)
    expect(
      members.map((member) =>
        Array.from({ length: 11 }, (_, i) => member.read(`k${i}`, counter) as number).reduce((x, y) => x + y),
      ),
    ).toEqual([300, 300, 300])
  })
})

describe('what its writer keeps back until his disk has it', () => {
  test('[AE2] leaves nobody at a loss, however long the disk takes', () => {
    const [fleet, a, b] = pair()
    a.write('k', register, 'set', { value: 1 })
    fleet.pass(3000)
    a.write('k', register, 'set', { value: 2 })
    a.space.keptFrom.set(a.replica.origin, 2)
    fleet.pass(30_000)
    expect(b.read('k', register)).toBe(1)
    expect([...a.events, ...b.events]).toEqual([])
    a.space.keptFrom.clear()
    fleet.pass(5000)
    expectEqual(a, b)
  })

  test('[AE2] keeps nobody waiting for an answer', () => {
    const [fleet, a, b] = pair()
    a.write('k', register, 'set', { value: 1 })
    fleet.pass(3000)
    a.write('k', register, 'set', { value: 2 })
    a.space.keptFrom.set(a.replica.origin, 2)
    const before = fleet.frames('vector').length
    fleet.greet(a, b)
    fleet.settle()
    const vectors = fleet.frames('vector').slice(before)
    expect(vectors).toMatchObject([{ answer: true }, { answer: false }])
  })

  test('[AE2] what others lack for no reason is told', () => {
    const [fleet, a, b] = pair()
    a.write('k', register, 'set', { value: 1 })
    fleet.filter = ({ frame }) => frame.kind !== 'deltas'
    fleet.pass(60_000)
    expect(a.events.map(({ kind }) => kind)).toContain('stuck')
    fleet.filter = () => true
    // No lost answer is waited for for longer than this, however many were lost before.
    fleet.pass(usualBounds.lateMs + 2000)
    expectEqual(a, b)
  })
})

test('[AE2] nobody is at a loss about who is below his log: he takes a snapshot when somebody gives it', () => {
  const [fleet, a, b] = pair()
  for (let i = 0; i < 5; i++) a.write('k', register, 'set', { value: i })
  a.prune()
  fleet.filter = ({ frame }) => frame.kind !== 'tree-ask'
  fleet.pass(60_000)
  expect(fleet.frames('chains').length).toBeGreaterThan(0)
  expect(a.events).toEqual([])
  fleet.filter = () => true
  fleet.pass(40_000)
  expectEqual(a, b)
})

describe('an answer that is lost', () => {
  test('[AE12] keeps nobody else waiting for long', () => {
    const fleet = new Fleet({ members: 3 })
    fleet.linkAll()
    const [a, b, c] = fleet.members as readonly [Member, Member, Member]
    b.write('k', register, 'set', { value: 1 })
    fleet.greet(b, c)
    fleet.settle()
    let lost = 0
    // What B answers A is lost, what C answers is not. And A is not heard to greet: it is to ask by itself.
    fleet.filter = ({ from, to, frame }) => {
      if (from === a.node && frame.kind === 'greeting') return false
      if (from !== b.node || to !== a.node || frame.kind !== 'deltas') return true
      lost++
      return false
    }
    fleet.greet(b, a)
    fleet.pass(8000)
    expect(lost).toBeGreaterThan(0)
    expect(a.read('k', register)).toBe(1)
  })

  test('[AE2] a slow peer is given more time each time, and comes to it', () => {
    const [fleet, a, b] = pair()
    b.write('k', register, 'set', { value: 1 })
    const sentMs: number[] = []
    const late: (typeof fleet.letters)[0][] = []
    // All that B sends in answer takes five seconds.
    fleet.filter = (letter) => {
      if (letter.frame.kind === 'vector' && letter.from === a.node) sentMs.push(fleet.nowMs)
      if (letter.frame.kind !== 'deltas' || late.includes(letter)) return true
      late.push(letter)
      return false
    }
    fleet.greet(b, a)
    for (let ms = 0; ms < 8000 && a.read('k', register) === undefined; ms += 100) {
      fleet.pass(100)
      const [first] = late
      if (first !== undefined && fleet.nowMs - (sentMs[0] as number) >= 5000) fleet.letters.push(first)
    }
    expect(a.read('k', register)).toBe(1)
    expect(sentMs.length).toBeLessThanOrEqual(4)
  })
})

describe('what others have on their disks', () => {
  test('[AE13] is known from greetings between equals, and is told where they are never equal', () => {
    const fleet = new Fleet({ members: 2, bounds: { storedMs: 2000 } })
    fleet.linkAll()
    const [a, b] = fleet.members as readonly [Member, Member]
    a.replica.cut.roster = [b.node]
    a.write('k', register, 'set', { value: 1 })
    const { origin } = a.replica
    const stable = (): number => a.replica.cut.of(a.space.id, origin, a.space.logs.get(origin)?.storedSeq ?? 0)
    expect(stable()).toBe(0)
    fleet.pass(4000)
    expect(stable()).toBe(1)
    expect(fleet.frames('stored')).toEqual([])
    // Whoever is greeted has just written: no greeting finds two equals.
    fleet.filter = ({ frame, to }) => {
      if (frame.kind === 'greeting') fleet.member(to).write('k', register, 'set', { value: fleet.sent.length })
      return true
    }
    fleet.pass(10_000)
    expect(fleet.frames('stored').length).toBeGreaterThan(2)
    expect(stable()).toBeGreaterThan(2)
    expect(stable()).toBeLessThanOrEqual(b.space.logs.get(origin)?.seq ?? 0)
  })

  test('[AE13] is not forgotten when only more of others is told', () => {
    const fleet = new Fleet({ members: 2, bounds: { storedMs: 2000 } })
    fleet.linkAll()
    const [a, b] = fleet.members as readonly [Member, Member]
    a.write('k', register, 'set', { value: 1 })
    fleet.pass(1000)
    fleet.filter = ({ frame, to }) => {
      if (frame.kind === 'greeting') fleet.member(to).write('k', register, 'set', { value: fleet.sent.length })
      return true
    }
    fleet.pass(5000)
    const { origin } = a.replica
    const known = a.replica.cut.storedBy(a.space.id, b.node, origin)
    expect(known).toBeGreaterThan(0)
    // From here on only the other writes: there is nothing new to say of this origin.
    fleet.filter = ({ frame, to }) => {
      if (frame.kind === 'greeting') b.write('k', register, 'set', { value: fleet.sent.length })
      return frame.kind !== 'greeting' || to !== a.node
    }
    fleet.pass(20_000)
    expect(a.replica.cut.storedBy(a.space.id, b.node, b.replica.origin)).toBeGreaterThan(0)
    expect(a.replica.cut.storedBy(a.space.id, b.node, origin)).toBeGreaterThanOrEqual(known)
  })
})
