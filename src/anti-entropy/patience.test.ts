import { describe, expect, test } from 'vitest'
import { toHex } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { register } from '../crdt/types/register.ts'
import type { Frame, NodeId, SpaceId } from '../wire/frame.ts'
import { Fleet, differences } from './fleet.test-kit.ts'
import type { Member } from './fleet.test-kit.ts'
import { Patience } from './patience.ts'

const [node, space] = ['aaaaaaaaaaaaaaaa' as NodeId, 'bbbbbbbbbbbbbbbb' as SpaceId]

/** a holds what honest does. The silent one claims more, which is in no log any more, and does not send these frames. */
function besideSilent(kept: readonly Frame['kind'][], bounds = {}): [Fleet, Member, Member, Member] {
  const fleet = new Fleet({ members: 3, bounds })
  const [a, honest, silent] = fleet.members as readonly [Member, Member, Member]
  fleet.link(a, honest)
  honest.write('k', register, 'set', { value: 0 })
  fleet.pass(3000)
  for (let i = 0; i < 5; i++) silent.write('s', register, 'set', { value: i })
  silent.prune()
  fleet.filter = ({ from, frame }) => from !== silent.node || !kept.includes(frame.kind)
  fleet.link(a, silent)
  fleet.greet(silent, a)
  fleet.settle()
  return [fleet, a, honest, silent]
}

/** For how many of so many seconds, in each of which the honest one writes, a does not hold what he wrote in the one before. */
function behind(
  fleet: Fleet,
  a: Member,
  honest: Member,
  silent: Member,
  seconds: number,
  also: () => void = () => undefined,
): number {
  let late = 0
  for (let second = 1; second <= seconds; second++) {
    honest.write('k', register, 'set', { value: second })
    const before = a.read('k', register) as number
    if (before < second - 4) late++
    // Nobody greets as often as who wants to be asked.
    for (let greetings = 3; greetings > 0; greetings--) {
      fleet.greet(silent, a)
      also()
      fleet.pass(333)
    }
  }
  return late
}

describe('a silent peer', () => {
  test('[AE16] keeps a space from nobody for more than a few rounds', () => {
    const [fleet, a, honest] = besideSilent(['tree-offer', 'tree-cells', 'tree-ack'])
    expect(a.space.catchingUp || fleet.frames('tree-ask').length > 0).toBe(true)
    honest.write('k', register, 'set', { value: 'honest' })
    fleet.pass(10_000)
    expect(a.read('k', register)).toBe('honest')
    expect(toHex(a.space.contextDigest())).toBe(toHex(honest.space.contextDigest()))
  })

  test.each([
    ['with nothing but greetings', ['vector', 'deltas', 'tree-offer', 'tree-cells', 'tree-ack']],
    ['before an offer', ['tree-offer', 'tree-cells', 'tree-ack']],
    ['after an offer', ['tree-cells', 'tree-ack']],
  ] as const)('[AE16] gets less and less of the time, however often it greets: %s', (_, kept) => {
    const [fleet, a, honest, silent] = besideSilent(kept)
    expect(behind(fleet, a, honest, silent, 100)).toBeLessThan(30)
    expect(behind(fleet, a, honest, silent, 300)).toBeLessThan(60)
  })

  test('[AE16] gets no more of it by asking', () => {
    const [fleet, a, honest, silent] = besideSilent(['vector', 'deltas', 'tree-offer', 'tree-cells', 'tree-ack'])
    // All that the silent one says are its questions, and the honest one hears of nothing to ask about.
    fleet.filter = ({ from, to, frame }) =>
      frame.kind === 'greeting' ? to === a.node : from === a.node || from === honest.node
    const entries = [{ origin: silent.replica.origin, seq: 5 }]
    fleet.pass(20_000)
    const question = { kind: 'vector', space: a.space.id, entries, form: 'full', answer: true } as const
    const ask = (): void => {
      a.sync.handle(silent.node, question, fleet.nowMs)
      fleet.collect(a)
    }
    expect(behind(fleet, a, honest, silent, 100, ask)).toBeLessThan(30)
  })

  test('[AE16] gets no more by signs of life than a peer may read', () => {
    const [fleet, a, honest, silent] = besideSilent(['tree-offer', 'tree-cells'], { readMs: 20_000 })
    const { session } = fleet.frames('tree-ask').at(-1) as { session: number }
    const sign = { kind: 'tree-ack', space: a.space.id, session, seq: 0, stop: false } as const
    for (let second = 0; second < 25; second++) {
      a.sync.handle(silent.node, sign, fleet.nowMs)
      fleet.pass(1000)
    }
    honest.write('k', register, 'set', { value: 1 })
    fleet.pass(4000)
    expect(a.read('k', register)).toBe(1)
  })

  test('[AE16] is asked all the same when those in whose favour it was left aside catch up themselves', () => {
    const [fleet, a, honest, silent] = besideSilent(['tree-offer', 'tree-cells', 'tree-ack'])
    behind(fleet, a, honest, silent, 60)
    const { frame: greeting } = fleet.sent.findLast(
      ({ from, to, frame }) => from === honest.node && to === a.node && frame.kind === 'greeting',
    ) as { frame: Frame }
    fleet.filter = ({ from, frame }) => from !== honest.node || frame.kind !== 'greeting'
    a.sync.handle(honest.node, { ...greeting, catchingUp: true } as Frame, fleet.nowMs)
    fleet.greet(silent, a)
    fleet.pass(5000)
    expect(a.read('s', register)).toBe(4)
  })

  test('[AE16] who is the only one is asked again and again, and is believed when he answers', () => {
    const [fleet, a, honest, silent] = besideSilent(['tree-offer', 'tree-cells', 'tree-ack'])
    fleet.unlink(a, honest)
    fleet.pass(100_000)
    expect(fleet.frames('tree-ask').length).toBeGreaterThan(3)
    fleet.filter = () => true
    fleet.pass(40_000)
    expect(a.read('s', register)).toBe(4)
    fleet.link(a, honest)
    fleet.pass(5000)
    expect(differences(fleet, [a, honest, silent])).toEqual([])
  })
})

describe('a peer that went away', () => {
  test('[AE16] is not waited for because the own disk took what it had sent', () => {
    const fleet = new Fleet({ members: 3, bounds: { newcomerSiblings: 0, stagedBytes: 0, cellBytes: 100 } })
    const [a, giver, other] = fleet.members as readonly [Member, Member, Member]
    for (let i = 0; i < 10; i++) giver.write(`k${i}`, register, 'set', { value: i })
    fleet.link(giver, other)
    fleet.pass(3000)
    // Rows of the snapshot are on their way to the disk, and will never be confirmed to anybody.
    fleet.filter = ({ to, frame }) => to !== a.node || frame.kind !== 'tree-cells' || frame.seq < 3
    fleet.link(a, giver)
    fleet.commits = false
    fleet.greet(giver, a)
    fleet.settle()
    expect(fleet.sent.filter(({ to, frame }) => to === a.node && frame.kind === 'tree-cells').length).toBe(2)
    fleet.drop(giver.node)
    fleet.commits = true
    fleet.filter = () => true
    fleet.link(a, other)
    fleet.pass(20_000)
    expect(a.space.catchingUp).toBe(false)
    expect(a.read('k9', register)).toBe(9)
  })
})

describe('a peer that reads for long', () => {
  test.each([
    ['is waited for, since it says so', 1000, ['done']],
    ['and does not say so is given up', 60_000, ['late']],
  ])('[AE16] %s', (_, signMs, outcomes) => {
    const fleet = new Fleet({ members: 2, bounds: { signMs, newcomerSiblings: 0 } })
    fleet.linkAll()
    const [a, b] = fleet.members as readonly [Member, Member]
    b.write('k', register, 'set', { value: 1 })
    // Its store takes its time, so there is no moment to read at.
    fleet.commits = false
    fleet.greet(b, a)
    fleet.pass(8500)
    fleet.commits = true
    fleet.pass(5000)
    const adopting = a.reports.filter(({ step }) => step === 'adopting')
    expect(adopting.map(({ outcome }) => outcome)).toEqual(outcomes)
    expect(a.read('k', register)).toBe(1)
  })
})

describe('patience', () => {
  test('[AE16] is lost for twice as long each time, up to a bound, and comes back answer by answer', () => {
    const patience = new Patience(100_000)
    expect(patience.isAside(node, space, 0)).toBe(false)
    patience.failed(node, space, 1000, 0)
    expect([1999, 2000].map((ms) => patience.isAside(node, space, ms))).toEqual([true, false])
    patience.failed(node, space, 1000, 0)
    expect([3999, 4000].map((ms) => patience.isAside(node, space, ms))).toEqual([true, false])
    for (let i = 0; i < 60; i++) patience.failed(node, space, 1000, 0)
    expect([99_999, 100_000].map((ms) => patience.isAside(node, space, ms))).toEqual([true, false])
    patience.came(node, space)
    expect(patience.isAside(node, space, 0)).toBe(false)
    expect(patience.times(node, space)).toBe(61)
    for (let i = 0; i < 70; i++) patience.came(node, space)
    expect(patience.times(node, space)).toBe(0)
  })

  test('[AE16] remembers no more names than its limit', () => {
    const patience = new Patience(100_000)
    for (let i = 0; i <= limits.silences; i++) {
      patience.failed(i.toString(16).padStart(16, '0') as NodeId, space, 1000, 0)
    }
    const remembered = (i: number): number => patience.times(i.toString(16).padStart(16, '0') as NodeId, space)
    expect([0, 1, limits.silences].map(remembered)).toEqual([0, 1, 1])
  })
})
