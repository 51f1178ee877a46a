import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { limits } from '../base/limits.ts'
import type { Dot, NodeId, SpaceId } from '../wire/frame.ts'
import { Broadcast, lanBroadcast, type BroadcastInput, type BroadcastOutput } from './broadcast.ts'
import { nodeId, originOf, type Overlay, Overlays, space } from './fleet.test-kit.ts'
import { Roster, rings } from './roster.ts'

const other = '00000000000000bb' as SpaceId

/** One machine among others that do not exist, all linked. */
function alone(count: number, spacesOf: (at: number) => SpaceId[] = () => [space]) {
  const roster = new Roster()
  const self = { node: nodeId(0), zone: '', spaces: new Set([space, other]), dialable: true }
  for (let at = 1; at <= count; at++) {
    roster.set({ node: nodeId(at), zone: '', spaces: new Set(spacesOf(at)), dialable: true })
  }
  const applied = new Map<string, number>()
  const machine = new Broadcast({ self, roster, applied: (of, origin) => applied.get(of + origin) ?? 0 })
  const connects = machine.handle({ kind: 'hold', space }, 0)
  for (const one of connects) if (one.kind === 'connect') machine.handle({ kind: 'linked', node: one.node }, 0)
  const apply = (dot: Dot, of: SpaceId = space): number => applied.set(of + dot.origin, dot.seq).size
  return { machine, roster, apply, connects }
}

function pushes(outputs: readonly BroadcastOutput[]): NodeId[] {
  return outputs.flatMap((one) => (one.kind === 'push' ? [one.to] : []))
}

function sends(outputs: readonly BroadcastOutput[]) {
  return outputs.flatMap((one) => (one.kind === 'send' ? [{ to: one.to, ...one.frame }] : []))
}

function local(seq: number, of: SpaceId = space): BroadcastInput {
  return { kind: 'have', space: of, dot: { origin: originOf(nodeId(0)), seq }, sizeBytes: 100, cause: 'local' }
}

function pushed(writer: NodeId, seq: number, from: NodeId, hops = 1): BroadcastInput {
  return { kind: 'have', space, dot: { origin: originOf(writer), seq }, sizeBytes: 100, cause: 'push', from, hops }
}

function duplicate(writer: NodeId, seq: number, from: NodeId, hops = 1): BroadcastInput {
  return { kind: 'duplicate', space, dot: { origin: originOf(writer), seq }, from, hops }
}

describe('a mesh', () => {
  test.each([2, 5, 32])('[G10] %d members: one hop, one copy, and notices that pull nothing', (count) => {
    const world = new Overlays(1, count)
    for (let round = 0; round < 5; round++) {
      const spread = world.measure(world.all, 500)
      expect(spread.missing).toBe(0)
      expect(Math.max(...spread.hops)).toBe(1)
      expect(spread.payloads).toBe(count * (count - 1))
      expect(spread.pulls).toBe(0)
      expect(spread.notices).toBeLessThanOrEqual(2 * count)
    }
  })

  test('[G11] a pair without a link is bridged: first by a pull, then by a push', () => {
    const world = new Overlays(2, 10)
    const [writer, far] = world.all as [Overlay, Overlay]
    world.measure(world.all, 500)
    world.unlink(writer, far)
    const first = world.measure([writer], 1000)
    expect(first).toMatchObject({ missing: 0, pulls: 1 })
    expect(first.lastMs[0]).toBeLessThan(lanBroadcast.noticeMs + lanBroadcast.mostGraftMs)
    const second = world.measure([writer], 1000)
    expect(second).toMatchObject({ missing: 0, pulls: 0, hops: [2] })
    expect(second.lastMs[0]).toBeLessThan(3)
    // The way back is another tree, and has its own bridge.
    expect(world.measure([far], 1000).missing).toBe(0)
    // With the link the bridge goes, and the direct way stays.
    world.link(writer, far)
    for (let round = 0; round < 5; round++) world.measure([writer], 1000)
    expect(world.measure([writer], 1000)).toMatchObject({ hops: [1], payloads: 9, missing: 0 })
  })

  test('[G15] a delta is pushed to those that hold its space, and only they are connected', () => {
    const { machine, connects, apply } = alone(9, (at) =>
      at % 3 === 0 ? [space, other] : at % 3 === 1 ? [space] : [other],
    )
    expect(connects).toHaveLength(6)
    apply({ origin: originOf(nodeId(0)), seq: 1 })
    expect(pushes(machine.handle(local(1), 1)).toSorted()).toEqual([1, 3, 4, 6, 7, 9].map(nodeId).toSorted())
    expect(pushes(machine.handle(local(1, other), 1))).toEqual([])
    expect(machine.handle({ kind: 'hold', space: other }, 2).filter(({ kind }) => kind === 'connect')).toHaveLength(3)
    const both = machine.handle({ kind: 'drop', space }, 3)
    expect(both.filter(({ kind }) => kind === 'disconnect')).toHaveLength(3)
  })

  test('a member is taken in and let go with the roster', () => {
    const { machine, roster } = alone(3)
    roster.set({ node: nodeId(9), zone: '', spaces: new Set([space]), dialable: true })
    expect(machine.handle({ kind: 'roster' }, 1)).toEqual([{ kind: 'connect', node: nodeId(9) }])
    machine.handle({ kind: 'linked', node: nodeId(9) }, 2)
    expect(pushes(machine.handle(local(1), 3))).toContain(nodeId(9))
    roster.delete(nodeId(9))
    expect(machine.handle({ kind: 'roster' }, 4)).toEqual([{ kind: 'disconnect', node: nodeId(9) }])
    expect(pushes(machine.handle(local(2), 5))).toHaveLength(3)
  })
})

describe('trees', () => {
  test.each([33, 100, 400])(
    '[G12] %d members, several writers: few hops, and one copy once they have settled',
    (count) => {
      const world = new Overlays(3, count)
      const writers = world.all.slice(0, 8)
      for (let round = 0; round < 12; round++) expect(world.measure(writers, 500).missing).toBe(0)
      const spread = world.measure(writers, 500)
      expect(spread.missing).toBe(0)
      expect(Math.max(...spread.hops)).toBeLessThanOrEqual(count > 100 ? 6 : 4)
      expect(spread.payloads / count / writers.length).toBeLessThan(1.1)
    },
  )

  test.each([100, 300])(
    '[G19] %d members, delays by chance alone: few hops, one copy, and nobody waits for a notice',
    (count) => {
      const world = new Overlays(8, count, { delayMs: [1, 2], loss: 0, chance: 1 })
      const writers = world.all.slice(0, 8)
      for (let round = 0; round < 12; round++) world.measure(writers, 500)
      for (let round = 0; round < 8; round++) {
        const spread = world.measure(writers, 500)
        expect(spread).toMatchObject({ missing: 0, pulls: 0 })
        expect(Math.max(...spread.hops)).toBeLessThanOrEqual(count > 100 ? 5 : 4)
        expect(Math.max(...spread.lastMs)).toBeLessThanOrEqual(10)
        expect(spread.payloads / count / writers.length).toBeLessThan(1.1)
      }
    },
  )

  test('[G13] who catches up what neighbours told of, again and again, asks one of them for pushes', () => {
    const { machine, apply } = alone(60)
    const [first, second] = machine.neighbours(space) as [NodeId, NodeId]
    const dotOf = (seq: number): Dot => ({ origin: originOf(nodeId(50)), seq })
    let nowMs = 0
    /** A notice, then the delta by anti-entropy, before the pull is due; perhaps somebody pushes it late. */
    const caughtUp = (seq: number, late?: NodeId): ReturnType<typeof sends> => {
      nowMs += 10_000
      machine.handle({ kind: 'message', from: first, frame: { kind: 'notice', space, dots: [dotOf(seq)] } }, nowMs)
      apply(dotOf(seq))
      machine.handle(
        { kind: 'have', space, dot: dotOf(seq), sizeBytes: 9, cause: 'catch-up', from: second },
        nowMs + 30,
      )
      if (late !== undefined) machine.handle(duplicate(nodeId(50), seq, late), nowMs + 40)
      const said: ReturnType<typeof sends> = []
      while (machine.wakeAt < Infinity) said.push(...sends(machine.handle({ kind: 'timer' }, machine.wakeAt)))
      return said.filter(({ kind }) => kind === 'pull')
    }
    expect(caughtUp(1)).toEqual([])
    expect(caughtUp(2, second)).toEqual([])
    expect(caughtUp(3)).toEqual([])
    expect(caughtUp(4)).toEqual([{ to: first, kind: 'pull', space, after: [dotOf(4)], graft: true }])
    expect(caughtUp(5)).toEqual([])
  })

  test.each([0.05, 0.2])('[G13] with a loss of %d all get everything, by pulls', (loss) => {
    const world = new Overlays(4, 60, { delayMs: [0.2, 5], loss })
    const writers = world.all.slice(0, 4)
    let pulls = 0
    for (let round = 0; round < 10; round++) pulls += world.measure(writers, 300).pulls
    world.loss = 0
    // One more write of each tells those that never heard of the last.
    const end = world.measure(writers, 10_000)
    expect(end.missing).toBe(0)
    expect(pulls).toBeGreaterThan(0)
  })

  test('[G12] writers beyond the bound share a tree, and all still get everything', () => {
    const { machine, apply } = alone(60)
    const from = machine.neighbours(space)[0] as NodeId
    for (let writer = 0; writer < 5 * limits.broadcastTrees; writer++) {
      apply({ origin: originOf(nodeId(1000 + writer)), seq: 1 })
      const outputs = machine.handle(pushed(nodeId(1000 + writer), 1, from), 1)
      expect(pushes(outputs)).toHaveLength(machine.neighbours(space).length - 1)
    }
  })

  test('[G10] a fleet that shrinks to a mesh is one, and one that grows out of it reaches all', () => {
    const world = new Overlays(6, 40)
    const writers = world.all.slice(0, 4)
    for (let round = 0; round < 8; round++) world.measure(writers, 500)
    const gone = world.all.slice(30)
    for (const one of gone) world.remove(one)
    for (let round = 0; round < 2; round++) {
      const spread = world.measure(writers, 500)
      expect(spread).toMatchObject({ hops: [1, 1, 1, 1], payloads: 4 * 29, missing: 0, pulls: 0 })
    }
    for (const one of gone) world.restore(one)
    for (let round = 0; round < 8; round++) expect(world.measure(writers, 500).missing).toBe(0)
    expect(world.measure(writers, 500).payloads / 160).toBeLessThan(1.2)
  })

  test('[G12] writers that are gone leave their trees to new ones', () => {
    const { machine, roster, apply } = alone(60)
    const [from, second] = machine.neighbours(space) as [NodeId, NodeId]
    const writers = Array.from({ length: limits.broadcastTrees + 10 }, (_, at) => nodeId(1000 + at))
    for (const writer of writers) machine.handle(pushed(writer, 1, from), 1)
    roster.set({ node: nodeId(70), zone: '', spaces: new Set(), dialable: true })
    machine.handle({ kind: 'roster' }, 2)
    const [one, other] = [nodeId(70), nodeId(5)]
    for (const writer of [one, other]) {
      apply({ origin: originOf(writer), seq: 1 })
      machine.handle(pushed(writer, 1, from), 3)
    }
    // Each has a tree of its own again: what is agreed for one is not for the other.
    machine.handle({ kind: 'message', from: second, frame: { kind: 'prune', space, writers: [one] } }, 4)
    expect(pushes(machine.handle(pushed(one, 2, from), 5))).not.toContain(second)
    expect(pushes(machine.handle(pushed(other, 2, from), 5))).toContain(second)
  })

  test('[G12] neighbours that die are replaced, and the trees mend', () => {
    const world = new Overlays(5, 80)
    const writers = world.all.slice(0, 4)
    for (let round = 0; round < 8; round++) world.measure(writers, 500)
    const gone = world.all.slice(40, 60)
    for (const one of gone) world.remove(one)
    for (let round = 0; round < 3; round++) world.measure(writers, 2000)
    expect(world.measure(writers, 2000).missing).toBe(0)
  })

  test('a member that cannot be reached is passed over on its ring, and the one behind it is told', () => {
    const { machine } = alone(100)
    const [first] = machine.neighbours(space) as [NodeId]
    const outputs = machine.handle({ kind: 'unlinked', node: first, failed: true }, 5)
    const fresh = outputs.flatMap((one) => (one.kind === 'connect' ? [one.node] : []))
    expect(fresh.length).toBeGreaterThan(0)
    expect(outputs.some(({ kind }) => kind === 'disconnect')).toBe(false)
    expect(machine.neighbours(space)).not.toContain(first)
    const hello = machine.handle({ kind: 'linked', node: fresh[0] as NodeId }, 6)
    expect(sends(hello)).toEqual([{ to: fresh[0], kind: 'notice', space, dots: [] }])
    // Back on its feet it is a neighbour again, and the other one hears that it is none.
    const back = machine.handle({ kind: 'linked', node: first }, 7)
    expect(machine.neighbours(space)).toContain(first)
    expect(sends(back)).toContainEqual({ to: fresh[0], kind: 'prune', space, writers: [] })
  })

  test('who takes this node for a neighbour is one, until it says otherwise', () => {
    const { machine, roster } = alone(100)
    const near = new Set(machine.neighbours(space))
    const guest = nodeId(Array.from({ length: 100 }, (_, at) => at + 1).find((at) => !near.has(nodeId(at))) as number)
    machine.handle({ kind: 'linked', node: guest }, 1)
    expect(pushes(machine.handle(local(1), 1))).not.toContain(guest)
    machine.handle({ kind: 'message', from: guest, frame: { kind: 'notice', space, dots: [] } }, 2)
    expect(pushes(machine.handle(local(2), 2))).toContain(guest)
    roster.set({ node: nodeId(500), zone: '', spaces: new Set([space]), dialable: true })
    machine.handle({ kind: 'roster' }, 3)
    expect(machine.neighbours(space)).toContain(guest)
    machine.handle({ kind: 'message', from: guest, frame: { kind: 'prune', space, writers: [] } }, 4)
    expect(pushes(machine.handle(local(3), 4))).not.toContain(guest)
  })

  test('[G14] a link is pruned for one writer after three duplicates, and grafted again by a pull', () => {
    const { machine, apply } = alone(60)
    const [first, second] = machine.neighbours(space) as [NodeId, NodeId]
    const writer = nodeId(50)
    const said: ReturnType<typeof sends> = []
    for (let seq = 1; seq <= 3; seq++) {
      machine.handle(pushed(writer, seq, first), seq)
      said.push(...sends(machine.handle(duplicate(writer, seq, second), seq)))
      expect(said).toHaveLength(seq < 3 ? 0 : 1)
    }
    expect(said).toEqual([{ to: second, kind: 'prune', space, writers: [writer] }])
    // Where it becomes the source, the count begins anew.
    machine.handle(duplicate(writer, 3, second), 4)
    machine.handle(duplicate(writer, 3, second), 4)
    machine.handle(pushed(writer, 4, first, 3), 4)
    machine.handle(duplicate(writer, 4, first, 3), 4)
    machine.handle(duplicate(writer, 4, second, 1), 4)
    machine.handle(pushed(writer, 5, second, 1), 4)
    expect(sends(machine.handle(duplicate(writer, 5, second, 1), 4))).toEqual([])

    const prune = { kind: 'prune', space, writers: [writer] } as const
    machine.handle({ kind: 'message', from: second, frame: prune }, 5)
    expect(pushes(machine.handle(pushed(writer, 5, first), 5))).not.toContain(second)
    expect(pushes(machine.handle(pushed(nodeId(51), 1, first), 5))).toContain(second)
    const after = [{ origin: originOf(writer), seq: 5 }]
    apply({ origin: originOf(writer), seq: 5 })
    const pull = { kind: 'pull', space, after, graft: true } as const
    machine.handle({ kind: 'message', from: second, frame: pull }, 6)
    expect(pushes(machine.handle(pushed(writer, 6, first), 6))).toContain(second)
  })

  test('[G14] a notice is followed by a pull only when nothing has come after some hops', () => {
    const { machine, apply } = alone(60)
    const [first, second] = machine.neighbours(space) as [NodeId, NodeId]
    const dot = { origin: originOf(nodeId(50)), seq: 1 }
    const notice = { kind: 'notice', space, dots: [dot] } as const
    expect(sends(machine.handle({ kind: 'message', from: first, frame: notice }, 0))).toEqual([])
    const waitMs = lanBroadcast.graftHops * lanBroadcast.hopMs
    expect(machine.wakeAt).toBe(waitMs)
    apply(dot)
    machine.handle(pushed(nodeId(50), 1, second), 10)
    expect(machine.hopMs).toBeLessThan(lanBroadcast.hopMs)
    const outputs = sends(machine.handle({ kind: 'timer' }, 200))
    expect(outputs.filter(({ kind }) => kind === 'pull')).toEqual([])
    // The one that told has it; the others are told.
    expect(outputs.map(({ to }) => to)).not.toContain(first)

    const next = { ...notice, dots: [{ ...dot, seq: 3 }] } as const
    machine.handle({ kind: 'message', from: first, frame: next }, 300)
    machine.handle({ kind: 'message', from: second, frame: next }, 301)
    const asked: NodeId[] = []
    while (machine.wakeAt < Infinity) {
      for (const one of sends(machine.handle({ kind: 'timer' }, machine.wakeAt))) {
        if (one.kind !== 'pull') continue
        expect(one).toMatchObject({ after: [{ ...dot, seq: 1 }], graft: true })
        asked.push(one.to)
      }
    }
    // In turn, and then it is left to anti-entropy.
    expect(asked).toEqual([first, second, first])
  })

  test('[G13] what is caught up is told, not pushed; the answer to a pull goes on', () => {
    const { machine, apply } = alone(60)
    const [first] = machine.neighbours(space) as [NodeId]
    const dot = { origin: originOf(nodeId(50)), seq: 1 }
    apply(dot)
    const caughtUp = { kind: 'have', space, dot, sizeBytes: 10, cause: 'catch-up', from: first } as const
    expect(pushes(machine.handle(caughtUp, 1))).toEqual([])
    const notices = sends(machine.handle({ kind: 'timer' }, 100))
    expect(new Set(notices.map(({ to }) => to))).toEqual(
      new Set(machine.neighbours(space).filter((one) => one !== first)),
    )
    machine.handle({ kind: 'held', space, dot: { ...dot, seq: 3 }, from: first }, 200)
    expect(sends(machine.handle({ kind: 'timer' }, 1000))).toMatchObject([{ kind: 'pull', to: first }])
    apply({ ...dot, seq: 2 })
    expect(pushes(machine.handle({ ...caughtUp, dot: { ...dot, seq: 2 } }, 1001)).length).toBeGreaterThan(rings)
  })
})

test('[C4.23] three nodes prune and pull nothing; sixty neither prune at first sight nor graft at once', () => {
  const three = new Overlays(7, 3)
  for (let round = 0; round < 20; round++) {
    expect(three.measure(three.all, 300)).toMatchObject({ payloads: 6, prunes: 0, pulls: 0, missing: 0 })
  }
  const sixty = new Overlays(7, 60)
  expect(sixty.measure(sixty.all, 300)).toMatchObject({ prunes: 0, pulls: 0, missing: 0 })
})

test('[G8] nothing that a peer says makes broadcast throw or keep more than its bounds', () => {
  const nodes = [...Array.from({ length: 40 }, (_, at) => nodeId(at)), '' as NodeId, 'x' as NodeId]
  const node = fc.constantFrom(...nodes)
  const dot = fc.record({
    origin: node.map(originOf),
    seq: fc.oneof(fc.nat(9), fc.constantFrom(-1, 2 ** 53, Number.NaN)),
  })
  const of = fc.constantFrom(space, other, 'zz' as SpaceId)
  const frame = fc.oneof(
    fc.record({ kind: fc.constant('notice' as const), space: of, dots: fc.array(dot, { maxLength: 5 }) }),
    fc.record({
      kind: fc.constant('pull' as const),
      space: of,
      after: fc.array(dot, { maxLength: 5 }),
      graft: fc.boolean(),
    }),
    fc.record({ kind: fc.constant('prune' as const), space: of, writers: fc.array(node, { maxLength: 5 }) }),
  )
  const input: fc.Arbitrary<BroadcastInput> = fc.oneof(
    fc.record({ kind: fc.constant('message' as const), from: node, frame }),
    fc.record({ kind: fc.constant('duplicate' as const), space: of, dot, from: node, hops: fc.nat(32) }),
    fc.record({ kind: fc.constant('held' as const), space: of, dot, from: node }),
    fc.record({ kind: fc.constant('linked' as const), node }),
    fc.record({ kind: fc.constant('unlinked' as const), node, failed: fc.boolean() }),
    fc.constant({ kind: 'timer' as const }),
  )
  const steps = fc.array(fc.tuple(input, fc.nat(200)), { maxLength: 80 })
  fc.assert(
    fc.property(fc.constantFrom(5, 39), steps, (count, given) => {
      const { machine } = alone(count)
      let nowMs = 0
      for (const [one, laterMs] of given) {
        nowMs += laterMs
        machine.handle(one, nowMs)
        expect(machine.neighbours(space).length).toBeLessThanOrEqual(32)
        expect(machine.wakeAt).toBeGreaterThan(nowMs)
      }
    }),
  )
})
