import { describe, expect, test } from 'vitest'
import { toHex } from '../base/bytes.ts'
import { prng } from '../base/prng.ts'
import { decodeDelta } from '../crdt/delta.ts'
import { claim } from '../crdt/types/claim.ts'
import { counter } from '../crdt/types/counter.ts'
import { flag } from '../crdt/types/flag.ts'
import { register } from '../crdt/types/register.ts'
import { set } from '../crdt/types/set.ts'
import { spaceRange, table } from '../replica/row-keys.ts'
import { MapRows, cellsOf, faults } from '../replica/rows.test-kit.ts'
import { encodeSnapshot } from '../crdt/state.ts'
import { Fleet } from './fleet.test-kit.ts'
import type { Member } from './fleet.test-kit.ts'
import type { SyncEvent } from './output.ts'

/** a wrote; twin is its memory, cloned while it ran; b and c are others. a and twin never meet, as links are by node. */
function cloned(more: Partial<ConstructorParameters<typeof Fleet>[0]> = {}): [Fleet, Member, Member, Member, Member] {
  const fleet = new Fleet({ members: 4, ...more })
  const [a, twin, b, c] = fleet.members as readonly [Member, Member, Member, Member]
  fleet.link(a, b)
  fleet.link(a, c)
  fleet.link(b, c)
  for (let i = 0; i < 5; i++) a.write(`k${i}`, register, 'set', { value: `old ${i}` })
  a.write('n', counter, 'incr', { by: 1 })
  b.write('shared', register, 'set', { value: 'of b' })
  fleet.pass(3000)
  twin.becomeCloneOf(a)
  expect(twin.replica.origin).toBe(a.replica.origin)
  return [fleet, a, twin, b, c]
}

function joinTwin(fleet: Fleet, twin: Member, ...others: Member[]): void {
  for (const other of others) fleet.link(twin, other)
}

const settledOf = (member: Member): SyncEvent[] =>
  member.events.filter((event) => event.kind === 'fork' && event.settled)

/** All of them stand at the same vector, chains and cells, on disk too, and their rows add up. */
function expectAlike(...members: Member[]): void {
  const [first, ...others] = members.map((member) => {
    member.commit()
    expect(member.space.catchingUp).toBe(false)
    expect(faults(member.rows, member.space)).toEqual([])
    const { space, rows } = member
    return {
      context: toHex(space.contextDigest()),
      cells: toHex(encodeSnapshot(space.vector, cellsOf(rows, space))),
    }
  })
  for (const other of others) expect(other).toEqual(first)
}

function staged(member: Member): number {
  return (
    member.rows.list(spaceRange(table.staged, member.space.number)).length +
    member.rows.list(spaceRange(table.adoption, member.space.number)).length
  )
}

describe('forks', () => {
  test.each([
    ['of one length', 1, 1],
    ['the clone wrote more', 1, 3],
    ['the original wrote more', 4, 1],
  ])('[F1] shows at the first meeting, and both writers become others: %s', (_, ofOriginal, ofClone) => {
    const [fleet, a, twin, b, c] = cloned()
    const { origin } = a.replica
    for (let i = 0; i < ofOriginal; i++) a.write(`a${i}`, register, 'set', { value: 'original' })
    for (let i = 0; i < ofClone; i++) twin.write(`t${i}`, register, 'set', { value: 'clone' })
    fleet.pass(2000)
    joinTwin(fleet, twin, b)
    fleet.pass(10_000)
    expect(a.replica.origin).not.toBe(origin)
    expect(twin.replica.origin).not.toBe(origin)
    expect(a.replica.origin).not.toBe(twin.replica.origin)
    expectAlike(a, twin, b, c)
    for (let i = 0; i < ofOriginal; i++) expect(b.read(`a${i}`, register)).toBe('original')
    for (let i = 0; i < ofClone; i++) expect(b.read(`t${i}`, register)).toBe('clone')
    a.write('later', register, 'set', { value: 1 })
    twin.write('later too', register, 'set', { value: 2 })
    fleet.pass(3000)
    expectAlike(a, twin, b, c)
    expect(c.read('later too', register)).toBe(2)
  })

  test('[F2] the longer side stands, ends where it is and changes nothing; who has that head takes the record up', () => {
    const [fleet, a, twin, b, c] = cloned()
    const { origin } = a.replica
    for (let i = 0; i < 3; i++) a.write('x', register, 'set', { value: i })
    twin.write('x', register, 'set', { value: 'clone' })
    fleet.pass(3000)
    const before = [a, b, c].map(({ space }) => toHex(space.logs.get(origin)?.linkAt(9) as Uint8Array))
    joinTwin(fleet, twin, b)
    fleet.pass(10_000)
    for (const [at, { space }] of [a, b, c].entries()) {
      const log = space.logs.get(origin)
      expect(log?.seq).toBe(9)
      expect(toHex(log?.linkAt(9) as Uint8Array)).toBe(before[at])
    }
    for (const { space } of [a, b, c, twin]) {
      expect(space.logs.get(origin)?.fork).toEqual({ seq: 7, at: 7, link: b.space.logs.get(origin)?.linkAt(7) })
    }
    b.restart()
    expect(b.space.logs.get(origin)?.fork).toMatchObject({ seq: 7, at: 7 })
    expect(toHex(b.space.contextDigest())).toBe(toHex(a.space.contextDigest()))
    expect(a.reports.concat(b.reports, c.reports).some(({ step }) => step === 'adopting')).toBe(false)
  })

  test('[F3] nothing of it is applied beyond its end, and whatever is said to have been seen there counts as met', () => {
    const [fleet, a, twin, b, c] = cloned()
    const { origin } = a.replica
    a.write('x', register, 'set', { value: 1 })
    a.write('x', register, 'set', { value: 2 })
    twin.write('y', register, 'set', { value: 'clone' })
    fleet.pass(2000)
    joinTwin(fleet, twin, b)
    // Somebody who only the losing side reaches, and who has seen what will be no more.
    fleet.unlink(a, c)
    fleet.unlink(b, c)
    c.restart()
    fleet.link(twin, c)
    twin.write('y', register, 'set', { value: 'clone again' })
    twin.write('y', register, 'set', { value: 'and again' })
    fleet.pass(200)
    c.write('z', register, 'set', { value: 'after the clone' })
    fleet.pass(10_000)
    fleet.link(b, c)
    fleet.pass(10_000)
    expectAlike(a, twin, b, c)
    expect(a.read('z', register)).toBe('after the clone')
    expect(a.read('x', register)).toBe(2)
    expect(a.read('y', register)).toBe('and again')
    const end = b.space.vector.get(origin) as number
    expect(b.replica.receive(b.space, { origin, seq: end + 1 }, new Uint8Array(20), fleet.nowMs)).toBe('closed')
  })

  test('[F4] what only the losing side held is written again, once, and what it removed goes', () => {
    const [fleet, a, twin, b, c] = cloned()
    for (let i = 0; i < 4; i++) a.write('x', register, 'set', { value: i })
    a.write('both', register, 'set', { value: 'alike' })
    twin.write('k0', register, 'set', { value: 'of the clone' })
    twin.remove('k1')
    twin.write('s', set, 'add', { values: ['one', 'two'] })
    twin.write('both', register, 'set', { value: 'alike' })
    fleet.pass(2000)
    joinTwin(fleet, twin, b, c)
    fleet.pass(10_000)
    expectAlike(a, twin, b, c)
    expect(a.read('x', register)).toBe(3)
    expect(a.read('k0', register)).toBe('of the clone')
    expect(a.read('k1', register)).toBeUndefined()
    expect(a.read('s', set)).toEqual(['one', 'two'])
    expect(a.space.entry('both').at('\x01\xc0').length).toBe(1)
    const rescued = fleet.written.filter(({ reason }) => reason === 'rescued')
    expect(rescued.length).toBe(1)
    expect(rescued[0]?.origin.slice(0, 16)).toBe(a.replica.origin.slice(0, 16))
  })

  test('[F4] accounts of the origin itself are not copied: they stand in the evidence', () => {
    const [fleet, a, twin, b, c] = cloned()
    a.write('n', counter, 'incr', { by: 10 })
    a.write('x', register, 'set', { value: 1 })
    twin.write('n', counter, 'incr', { by: 100 })
    fleet.pass(2000)
    joinTwin(fleet, twin, b)
    fleet.pass(10_000)
    expectAlike(a, twin, b, c)
    expect(a.read('n', counter)).toBe(11)
    expect(twin.space.evidence().map(({ unrescued }) => unrescued)).toEqual([1])
  })

  test.each([
    [
      'the highest fence',
      claim,
      (twin: Member, fleet: Fleet): void => {
        for (let fence = 1; fence <= 3; fence++, fleet.nowMs += 10) twin.write('x', claim, 'acquire', { ttlMs: 1 })
      },
      (other: Member): void => other.write('x', claim, 'acquire', { ttlMs: 1 }),
      { fence: 3 },
    ],
    [
      'a prohibition',
      flag,
      (twin: Member): void => twin.write('x', flag, 'disable', { wins: 'disable' }),
      (other: Member): void => other.write('x', flag, 'enable'),
      false,
    ],
  ])('[F4] of several that would be lost in a cell it is %s that is written again', (_, type, first, second, shown) => {
    const [fleet, a, twin, b, c] = cloned()
    fleet.drop(c.node)
    for (let i = 0; i < 9; i++) a.write('k', register, 'set', { value: i })
    first(twin, fleet)
    fleet.nowMs += 1000
    second(c)
    fleet.link(c, twin)
    fleet.pass(3000)
    expect(twin.space.entry('x').siblings().length).toBe(2)
    // Nobody can show what the other wrote: it is as lost as what the clone did.
    fleet.drop(c.node)
    twin.space.logs.get(c.replica.origin)?.dropOldest()
    joinTwin(fleet, twin, b)
    fleet.pass(10_000)
    expectAlike(a, twin, b)
    if (typeof shown === 'object') expect(a.read('x', type)).toMatchObject(shown)
    else expect(a.read('x', type)).toBe(shown)
  })

  test('[F5] the losing deltas are kept as they were written, and each node raises it once', () => {
    const [fleet, a, twin, b, c] = cloned()
    const { origin } = a.replica
    a.write('x', register, 'set', { value: 1 })
    a.write('x', register, 'set', { value: 2 })
    twin.write('y', register, 'set', { value: 'clone' })
    fleet.pass(2000)
    joinTwin(fleet, twin, b, c)
    fleet.pass(20_000)
    expectAlike(a, twin, b, c)
    for (const member of [a, b, c, twin]) expect([member.node, settledOf(member).length]).toEqual([member.node, 1])
    for (const again of [false, true]) {
      if (again) twin.restart()
      const [evidence, ...more] = twin.space.evidence()
      expect(more).toEqual([])
      expect(evidence).toMatchObject({ origin, seq: 7, from: 7, winner: { seq: 8 }, loser: { seq: 7 }, rescued: 1 })
      const delta = decodeDelta(origin, 7, evidence?.bodies[0] as Uint8Array)
      expect(delta.writes.map(({ key }) => key)).toEqual(['y'])
    }
    expect(a.space.evidence()).toEqual([])
  })

  test('[F6] in whatever order they meet, write and crash, they come to the same, and no row is left behind', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = prng(seed)
      const bounds = random.chance(0.5) ? {} : { cellBytes: 100, foldAtOnce: 1, windowBytes: 300, chunkBytes: 60 }
      const [fleet, a, twin, b, c] = cloned({ seed, bounds })
      let told = 0
      // Without crashes and with a key for each write nothing at all may be lost.
      const isKept = seed % 3 === 0
      const written: string[] = []
      const some = (): void => {
        const member = random.pick([a, twin, a, twin, b, c])
        try {
          const key = isKept ? `w${++told}` : `k${random.below(8)}`
          if (!isKept && random.chance(0.2)) member.remove(key)
          else member.write(key, register, 'set', { value: ++told })
          if (isKept) written.push(key)
        } catch (error) {
          expect((error as { code?: string }).code).toBe('busy')
        }
      }
      for (let left = random.below(8); left > 0; left--) some()
      joinTwin(fleet, twin, ...(random.chance(0.5) ? [b] : [b, c]))
      for (let left = 60; left > 0; left--) {
        if (random.chance(0.2)) some()
        if (!isKept && random.chance(0.03)) {
          const member = random.pick([a, twin, b])
          member.restart()
          fleet.link(member, b === member ? c : b)
          if (member === b) joinTwin(fleet, twin, b)
        }
        for (let steps = random.below(10); steps > 0; steps--) fleet.step()
        fleet.nowMs += random.below(300)
        for (const member of fleet.members) {
          if (member.sync.wakeAt <= fleet.nowMs) member.sync.timer(fleet.nowMs)
          fleet.collect(member)
        }
      }
      fleet.link(a, b)
      fleet.link(b, c)
      fleet.pass(30_000)
      expectAlike(a, twin, b, c)
      expect(written.filter((key) => b.read(key, register) === undefined)).toEqual([])
      for (const member of fleet.members) expect([seed, staged(member)]).toEqual([seed, 0])
    }
  })

  test('[F7] below the log nothing is merged across a fork that both chains can show', () => {
    const [fleet, a, twin, b, c] = cloned()
    for (let i = 0; i < 3; i++) a.write('x', register, 'set', { value: i })
    twin.write('y', register, 'set', { value: 'clone' })
    fleet.pass(8000)
    b.write('z', register, 'set', { value: 'below' })
    fleet.pass(8000)
    // What b wrote is in nobody's log any more; what a wrote still is.
    const { origin } = b.replica
    for (const member of [a, b, c]) member.space.logs.get(origin)?.dropOldest()
    joinTwin(fleet, twin, b)
    fleet.pass(15_000)
    expectAlike(a, twin, b, c)
    expect(a.read('y', register)).toBe('clone')
    expect(twin.read('z', register)).toBe('below')
  })

  test.each([
    ['at once', {}],
    ['by rows', { stagedBytes: 0, cellBytes: 100, foldAtOnce: 1 }],
  ])('[F8] who took the cells of the winner without his log sees the fork when the loser comes: %s', (_, bounds) => {
    const [fleet, a, twin, b, c] = cloned({ bounds: { ...bounds, newcomerSiblings: 0 } })
    const { origin } = a.replica
    for (let i = 0; i < 3; i++) a.write('x', register, 'set', { value: i })
    twin.write('y', register, 'set', { value: 'clone' })
    fleet.pass(3000)
    // Of all that c knew nothing is left: it comes back with an empty disk, and takes cells.
    fleet.drop(c.node)
    c.rows = new MapRows()
    c.restart()
    fleet.link(b, c)
    fleet.greet(b, c)
    fleet.pass(5000)
    expect(c.space.logs.get(origin)).toMatchObject({ seq: 9, floor: 10 })
    for (const again of [false, true]) {
      if (again) c.restart()
      for (let seq = 1; seq <= 9; seq++) {
        expect(c.space.logs.get(origin)?.linkAt(seq)).toEqual(b.space.logs.get(origin)?.linkAt(seq))
      }
    }
    fleet.link(twin, c)
    fleet.pass(10_000)
    expectAlike(twin, c)
    expect(c.read('y', register)).toBe('clone')
    expect(c.space.logs.get(origin)?.fork).toMatchObject({ seq: 7, at: 7 })
    expect(settledOf(twin).length).toBe(1)
    fleet.link(b, c)
    fleet.pass(10_000)
    expectAlike(a, twin, b, c)
  })
})
