import { describe, expect, test } from 'vitest'
import type { NodeId, SpaceId } from '../wire/frame.ts'
import { nodeId, space } from './fleet.test-kit.ts'
import { Roster, rings, type RosterMember } from './roster.ts'

const other = '00000000000000bb' as SpaceId

function member(index: number, facts: Partial<RosterMember> = {}): RosterMember {
  return { node: nodeId(index), zone: '', spaces: new Set([space]), dialable: true, ...facts }
}

function rosterOf(members: readonly RosterMember[]): Roster {
  const roster = new Roster()
  for (const one of members) roster.set(one)
  return roster
}

function neighbours(roster: Roster, self: RosterMember, of: SpaceId = space): Set<NodeId> {
  const found = new Set<NodeId>()
  for (let ring = 0; ring < rings; ring++) {
    for (const step of [1, -1] as const) {
      for (const { node } of roster.walk(self, of, ring, step)) {
        found.add(node)
        break
      }
    }
  }
  return found
}

describe('Roster', () => {
  const members = Array.from({ length: 200 }, (_, at) => member(at))

  test('[G16] being neighbours is mutual, and nobody has more than two a ring', () => {
    const roster = rosterOf(members)
    const all = new Map(members.map((self) => [self.node, neighbours(roster, self)]))
    for (const [node, near] of all) {
      expect(near.size).toBeGreaterThan(rings)
      expect(near.size).toBeLessThanOrEqual(2 * rings)
      for (const one of near) expect(all.get(one)).toContain(node)
    }
  })

  test('[G16] a death changes the neighbours of its neighbours only', () => {
    const roster = rosterOf(members)
    const before = new Map(members.map((self) => [self.node, neighbours(roster, self)]))
    const gone = members[17] as RosterMember
    roster.delete(gone.node)
    for (const self of members) {
      if (self === gone) continue
      const near = before.get(self.node) as Set<NodeId>
      if (!near.has(gone.node)) expect(neighbours(roster, self)).toEqual(near)
      else expect(neighbours(roster, self)).not.toContain(gone.node)
    }
  })

  test('a walk goes once round, past nobody and over itself', () => {
    const roster = rosterOf(members)
    const self = members[3] as RosterMember
    for (const step of [1, -1] as const) {
      const met = [...roster.walk(self, space, 2, step)].map(({ node }) => node)
      expect(new Set(met).size).toBe(199)
      expect(met).toHaveLength(199)
      expect(met).not.toContain(self.node)
    }
    // Somebody who is not in the list stands where he would.
    expect([...roster.walk(member(999), space, 2, 1)]).toHaveLength(200)
  })

  test('who does not hold the space is passed over; who is not known to is not', () => {
    const some = members.map((one, at) =>
      at % 2 === 0 ? one : { ...one, spaces: at % 4 === 1 ? new Set([other]) : undefined },
    )
    const roster = rosterOf(some)
    const self = some[0] as RosterMember
    const met = [...roster.walk(self, space, 0, 1)]
    expect(met).toHaveLength(149)
    expect(met.every(({ spaces }) => spaces?.has(space) ?? true)).toBe(true)
    expect(roster.holders(space, self.node, 200)).toHaveLength(149)
    expect(roster.holders(space, self.node, 100)).toBeUndefined()
  })

  test('half of the rings keep zones together', () => {
    const zoned = members.map((one, at) => ({ ...one, zone: `zone ${at % 4}` }))
    const roster = rosterOf(zoned)
    const near = zoned.map((self) => {
      const same = [...neighbours(roster, self)].filter((node) => roster.get(node)?.zone === self.zone)
      return same.length
    })
    const mean = near.reduce((sum, count) => sum + count) / near.length
    // Four of ten by the zoned rings, and a quarter of the rest by chance.
    expect(mean).toBeGreaterThan(4.5)
  })

  test('a member that changes is found in its new place', () => {
    const roster = rosterOf(members)
    roster.set(member(5, { zone: 'far', spaces: new Set([other]) }))
    roster.set(member(6, { spaces: new Set([other]) }))
    expect(roster.size).toBe(200)
    const self = members[0] as RosterMember
    expect([...roster.walk(self, other, 4, 1)].map(({ node }) => node).toSorted()).toEqual(
      [nodeId(5), nodeId(6)].toSorted(),
    )
    roster.delete(nodeId(5))
    roster.delete(nodeId(6))
    expect([...roster.walk(self, space, 3, 1)]).toHaveLength(197)
  })
})
