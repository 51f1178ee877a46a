/** Purges amid lost links, crashes, pruned logs and snapshots: what was purged is in no row, and nobody is left behind. */
import { describe, expect, test } from 'vitest'
import { binaryString } from '../base/bytes.ts'
import { covers } from '../crdt/dot.ts'
import type { Dot } from '../crdt/dot.ts'
import { counter } from '../crdt/types/counter.ts'
import { record } from '../crdt/types/record.ts'
import { register } from '../crdt/types/register.ts'
import { purgeType } from '../merge/purge.ts'
import type { Purge } from '../merge/purge.ts'
import { purgeKey } from '../merge/system.ts'
import { beginPurge, purgeLog } from '../replica/purge.ts'
import { bodyOf } from '../replica/rows.test-kit.ts'
import { Fleet, differences, startMs } from './fleet.test-kit.ts'
import type { Member } from './fleet.test-kit.ts'

const keys = ['register', 'record']

function purgesAt(member: Member): readonly Purge[] {
  return keys.flatMap((key) => purgeType.read(member.space.entry(purgeKey(key)).cells(purgeType.id)).value.purges)
}

/** As a node does, step by step. */
function carryOut(member: Member): void {
  for (const purge of purgesAt(member)) {
    member.commit()
    for (const _changed of purgeLog(member.space, purge)) member.commit()
    member.commit()
  }
}

function begin(member: Member, key: string, nowMs: number): void {
  beginPurge(member.replica, member.space, key, [], { nowMs, agent: 'agent-7', reason: 'leaked' })
}

/** The secrets in a member's rows that some purge covers. */
function leftAt(member: Member, fleet: Fleet): string[] {
  const purges = purgesAt(member)
  const isCovered = (dot: Dot, key: string): boolean =>
    purges.some((purge) => purge.keys.includes(key) && covers(purge.upTo, dot))
  const gone = fleet.written.flatMap((delta) =>
    delta.writes.filter(({ key }) => keys.includes(key) && isCovered(delta, key)).flatMap(({ value }) => value ?? []),
  )
  const rows = [...member.rows.rows.values()].map((row) => binaryString(row)).join('\u0000')
  return gone.map((value) => binaryString(value)).filter((value) => value.length > 12 && rows.includes(value))
}

function story(seed: number): { purged: number; below: number } {
  const bounds = {
    cellBytes: 500,
    windowBytes: 1500,
    chunkBytes: 400,
    newcomerSiblings: 10,
    ...(seed % 2 === 0 ? { stagedBytes: 800, foldAtOnce: 1 + (seed % 7) } : {}),
  }
  const fleet = new Fleet({ members: 3, bounds, seed, pageRows: 1 + (seed % 9) })
  const { random, members } = fleet
  fleet.linkAll()
  let secrets = 0
  const two = (): [Member, Member] => {
    const [one, other] = [random.pick(members), random.pick(members)]
    return one === other ? two() : [one, other]
  }
  for (let step = 0; step < 400; step++) {
    const dice = random.below(100)
    const member = random.pick(members)
    const key = random.pick(keys)
    if (dice < 12) member.write('register', register, 'set', { value: `secret ${seed} number ${secrets++}.` })
    else if (dice < 20) {
      const fields = { [`f${random.below(3)}`]: `secret ${seed} of a field ${secrets++}.` }
      member.write('record', record, 'set', { fields })
    } else if (dice < 36) member.write(`c${random.below(9)}`, counter, 'incr', { by: random.below(9) })
    else if (dice < 40) begin(member, key, fleet.nowMs)
    else if (dice < 48) carryOut(member)
    else if (dice < 76) for (let steps = random.below(12); steps > 0; steps--) fleet.step()
    else if (dice < 81) fleet.unlink(...two())
    else if (dice < 86) fleet.link(...two())
    else if (dice < 88) member.prune()
    else if (dice < 91) {
      if (member.unsaved) member.commit()
      member.restart()
    } else {
      fleet.nowMs += random.below(2000)
      for (const one of members) {
        if (one.sync.wakeAt <= fleet.nowMs) one.sync.timer(fleet.nowMs)
        fleet.collect(one)
      }
    }
  }
  fleet.linkAll()
  for (const member of members) fleet.collect(member)
  fleet.pass(120_000)
  for (const member of members) carryOut(member)
  fleet.pass(10_000)
  expect(differences(fleet)).toEqual([])
  expect(members.flatMap(({ faults }) => faults)).toEqual([])
  for (const member of members) expect(leftAt(member, fleet)).toEqual([])
  // And so it stays over a restart.
  for (const member of members) member.restart()
  expect(differences(fleet)).toEqual([])
  return { purged: purgesAt(members[0] as Member).length, below: fleet.frames('tree-ask').length }
}

describe('purging', () => {
  test.each([1, 101])(
    '[PU2] in random stories nothing that is covered is left, and all are equal: 12 seeds from %i',
    (first) => {
      const sums = { purged: 0, below: 0 }
      for (let seed = first; seed < first + 12; seed++) {
        try {
          const { purged, below } = story(seed)
          sums.purged += purged
          sums.below += below
        } catch (error) {
          throw new Error(`seed ${seed}`, { cause: error })
        }
      }
      expect(sums.purged).toBeGreaterThan(12)
      expect(sums.below).toBeGreaterThan(12)
    },
  )

  test('[PU3] who lacks a purged delta comes by the tree, and never sees the value', () => {
    const fleet = new Fleet({ members: 2 })
    const [a, b] = fleet.members as [Member, Member]
    a.write('c', counter, 'incr', { by: 1 })
    fleet.link(a, b)
    fleet.greet(b, a)
    fleet.pass(10_000)
    fleet.unlink(a, b)
    a.write('register', register, 'set', { value: 'a secret that leaked' })
    a.write('c', counter, 'incr', { by: 2 })
    const { origin } = a.replica
    const original = bodyOf(a.space, origin, 2).slice()
    begin(a, 'register', startMs)
    carryOut(a)
    const log = a.space.logs.get(origin)
    expect(log?.entry(2)).toBeUndefined()
    expect(log?.remains(2)).toMatchObject({ isPurged: true })
    expect([0, 1, 2, 3].map((seq) => log?.linkAt(seq)?.length)).toEqual([8, 8, 8, 8])
    const sent: string[] = []
    fleet.filter = ({ frame }) => {
      sent.push(
        frame.kind === 'deltas'
          ? frame.runs.flatMap(({ bodies }) => bodies.map((body) => binaryString(body))).join()
          : frame.kind,
      )
      return true
    }
    fleet.link(a, b)
    fleet.greet(b, a)
    fleet.pass(60_000)
    expect(differences(fleet)).toEqual([])
    expect(sent).toContain('tree-cells')
    expect(sent.join()).not.toContain('leaked')
    expect(b.read('c', counter)).toBe(3)
    // The delta itself, late and from somebody who still has it, is nothing new, and no fork.
    expect(a.replica.receive(a.space, { origin, seq: 2 }, original, startMs)).toBe('known')
    expect(b.replica.receive(b.space, { origin, seq: 2 }, original, startMs)).toBe('known')
  })
})
