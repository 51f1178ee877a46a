import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { limits } from '../base/limits.ts'
import { prng } from '../base/prng.ts'
import type { MemberState, MemberStatement, NodeId } from '../wire/frame.ts'
import { Fleet, nodeId } from './fleet.test-kit.ts'
import { Membership, type MembershipFrame, type MembershipOutput } from './membership.ts'
import { News } from './news.ts'
import { lanTiming } from './timing.ts'

const a = nodeId(1)
const b = nodeId(2)
const c = nodeId(3)

function statement(node: NodeId, state: MemberState, incarnation: number, by: NodeId = node): MemberStatement {
  return { node, address: `ws://${node}`, incarnation, state, zone: '', version: 1000, by }
}

/** One machine that has met some others, and nobody answers. */
function alone(others: readonly NodeId[] = [b, c]): Membership {
  const self = { node: a, address: 'ws://a', zone: 'z', version: 1000 }
  const machine = new Membership({ self, random: prng(1) })
  for (const node of others) machine.handle({ kind: 'met', node, address: `ws://${node}` }, 0)
  return machine
}

function told(machine: Membership, from: NodeId, statements: MemberStatement[], nowMs: number) {
  const frame: MembershipFrame = { kind: 'members', members: statements, answer: false }
  return machine.handle({ kind: 'message', from, frame }, nowMs)
}

function frames(outputs: readonly MembershipOutput[], to?: NodeId): MembershipFrame[] {
  return outputs.flatMap((one) => (one.kind === 'send' && (to === undefined || one.to === to) ? [one.frame] : []))
}

function stateOf(machine: Membership, node: NodeId): MemberState | undefined {
  return machine.member(node)?.state
}

/** Feeds timers until the time is reached. */
function pass(machine: Membership, untilMs: number): MembershipOutput[] {
  const outputs: MembershipOutput[] = []
  while (machine.wakeAt <= untilMs) outputs.push(...machine.handle({ kind: 'timer' }, machine.wakeAt))
  return outputs
}

function percentile(values: readonly number[], share: number): number {
  return values.toSorted((x, y) => x - y)[Math.floor((values.length - 1) * share)] ?? Number.NaN
}

test('[G20] of whom a link told first, zone and version are told once they are known', () => {
  const machine = alone([b])
  const known = told(machine, b, [{ ...statement(b, 'alive', 0), zone: 'east' }], 1)
  expect(known).toMatchObject([{ kind: 'described', member: { node: b, zone: 'east', version: 1000, state: 'alive' } }])
  expect(told(machine, c, [{ ...statement(b, 'alive', 1), zone: 'east' }], 2)).toEqual([])
})

describe('lists', () => {
  const own = (machine: Membership, to: NodeId, nowMs: number): MembershipFrame[] =>
    frames(machine.handle({ kind: 'met', node: to, address: `ws://${to}` }, nowMs), to)

  test('the first few strangers are asked for theirs, then one now and then; to others it says who it is', () => {
    const machine = alone([])
    const asks = (at: number, nowMs: number): boolean => {
      const [frame] = own(machine, nodeId(at), nowMs)
      if (frame?.kind !== 'members') throw new Error('says nothing')
      expect(frame.members).toContainEqual(expect.objectContaining({ node: a, state: 'alive' }))
      return frame.answer
    }
    expect([10, 11, 12, 13, 14].map((at) => asks(at, 1))).toEqual([true, true, true, false, false])
    expect([asks(15, 6000), asks(16, 6000)]).toEqual([true, false])
  })

  test('what a newcomer is given is no news, what it is given later is', () => {
    const list = Array.from({ length: 100 }, (_, at) => statement(nodeId(10 + at), 'alive', 0))
    const passedOn = (heardMs: number): number => {
      const machine = alone([b])
      pass(machine, heardMs - 1)
      told(machine, b, list, heardMs)
      expect(machine.size).toBe(list.length + 2)
      const said = frames(pass(machine, heardMs + 5000)).flatMap((frame) =>
        frame.kind === 'ping' ? frame.updates : frame.kind === 'members' && !frame.answer ? frame.members : [],
      )
      const alive = said.filter(({ state }) => state === 'alive')
      return new Set(alive.map(({ node }) => node).filter((node) => list.some((one) => one.node === node))).size
    }
    expect(passedOn(5)).toBe(0)
    expect(passedOn(5_000)).toBe(list.length)
  })

  test('[G7] two hundred that join through whoever is there know each other soon', () => {
    const fleet = new Fleet(4)
    const nodes = Array.from({ length: 200 }, (_, at) => nodeId(at))
    for (const [at, node] of nodes.entries()) {
      fleet.start(node)
      if (at > 0) fleet.meet(node, nodes[fleet.random.below(at)] as NodeId)
      fleet.run(10)
    }
    fleet.run(15_000)
    for (const node of nodes) expect(fleet.machine(node).size).toBe(nodes.length)
  })
})

describe('a fleet', () => {
  test('[G7] everybody comes to know everybody, through one that all have met', () => {
    const fleet = new Fleet(1)
    const nodes = fleet.startMany(100)
    fleet.run(20_000)
    for (const node of nodes) {
      expect(fleet.machine(node).size).toBe(100)
      expect([...fleet.machine(node).members()].every(({ zone, version }) => zone === 'here' && version === 1000)).toBe(
        true,
      )
    }
    expect(fleet.seen.every(({ state }) => state === 'alive')).toBe(true)
  })

  test('[G1] a death is seen by all the others, within some 8 s by most and 13 s by all', () => {
    const delays: number[] = []
    for (let seed = 0; seed < 6; seed++) {
      const fleet = new Fleet(seed)
      const nodes = fleet.startMany(50)
      fleet.run(60_000)
      const victim = fleet.random.pick(nodes)
      fleet.kill(victim)
      fleet.run(20_000)
      const deaths = fleet.seen.filter(({ state }) => state === 'dead')
      expect(deaths.every(({ of }) => of === victim)).toBe(true)
      expect(new Set(deaths.map(({ by }) => by)).size).toBe(49)
      delays.push(...deaths.map(({ atMs }) => atMs - 60_000))
    }
    expect(percentile(delays, 0.5)).toBeLessThan(9000)
    expect(percentile(delays, 1)).toBeLessThan(13_000)
  })

  test.each([0, 0.1])('[G2] nobody dies when a tenth stands still for 5 s, with a loss of %d', (loss) => {
    let suspicions = 0
    for (let seed = 0; seed < 4; seed++) {
      const fleet = new Fleet(seed, { delayMs: [0.2, 5], loss })
      const nodes = fleet.startMany(50)
      fleet.run(20_000)
      fleet.seen.length = 0
      for (let round = 0; round < 3; round++) {
        for (let at = 0; at < 5; at++) {
          const node = nodes[(5 * round + at) % nodes.length] as NodeId
          const delayMs = seed % 2 === 0 ? 0 : fleet.random.below(5000)
          fleet.at(fleet.nowMs + delayMs, () => fleet.freeze(node, 5000))
        }
        fleet.run(20_000)
      }
      suspicions += fleet.seen.filter(({ state }) => state === 'suspect').length
      expect(fleet.seen.filter(({ state }) => state === 'dead')).toEqual([])
      if (loss > 0) continue
      const doubted = nodes.filter((node) =>
        fleet
          .machine(node)
          .alive()
          .some(({ state }) => state !== 'alive'),
      )
      expect(doubted).toEqual([])
    }
    expect(suspicions).toBeGreaterThan(100)
  })

  test('[G3] a node that was suspected lives on under a higher incarnation, everywhere', () => {
    const fleet = new Fleet(3)
    const nodes = fleet.startMany(20)
    fleet.run(10_000)
    const late = nodes[7] as NodeId
    fleet.freeze(late, 5000)
    fleet.run(15_000)
    expect(fleet.machine(late).incarnation).toBeGreaterThan(0)
    for (const node of nodes) {
      if (node === late) continue
      expect(fleet.machine(node).member(late)).toMatchObject({
        state: 'alive',
        incarnation: fleet.machine(late).incarnation,
      })
    }
  })

  test('[G5] a process that starts again is alive again, under a higher incarnation than before its death', () => {
    const fleet = new Fleet(4)
    const nodes = fleet.startMany(10)
    fleet.run(10_000)
    const again = nodes[4] as NodeId
    fleet.kill(again)
    fleet.run(30_000)
    for (const node of nodes) if (node !== again) expect(stateOf(fleet.machine(node), again)).toBe('dead')
    fleet.start(again)
    fleet.meet(again, nodes[0] as NodeId)
    fleet.run(5000)
    for (const node of nodes) {
      expect(fleet.machine(node).size).toBe(10)
      if (node !== again) expect(stateOf(fleet.machine(node), again)).toBe('alive')
    }
    expect(fleet.machine(again).incarnation).toBeGreaterThan(0)
  })

  test('[G5] also before anybody saw that it was gone, and after it had left', () => {
    const fleet = new Fleet(5)
    const nodes = fleet.startMany(10)
    fleet.run(10_000)
    const [first, again, leaver] = nodes as [NodeId, NodeId, NodeId]
    fleet.start(again)
    fleet.meet(again, first)
    fleet.input(leaver, { kind: 'leave' })
    fleet.run(1000)
    fleet.kill(leaver)
    fleet.run(2000)
    fleet.start(leaver)
    fleet.meet(leaver, first)
    fleet.run(20_000)
    for (const node of nodes) expect(fleet.machine(node).size).toBe(10)
  })

  test('[G6] who leaves is gone for all at once, and nobody suspects it', () => {
    const fleet = new Fleet(6)
    const nodes = fleet.startMany(60)
    fleet.run(20_000)
    fleet.seen.length = 0
    const leaver = nodes[9] as NodeId
    fleet.input(leaver, { kind: 'leave' })
    fleet.run(500)
    fleet.kill(leaver)
    fleet.run(20_000)
    expect(fleet.seen).toHaveLength(59)
    expect(fleet.seen.every(({ of, state }) => of === leaver && state === 'left')).toBe(true)
    expect(Math.max(...fleet.seen.map(({ atMs }) => atMs))).toBeLessThan(22_000)
  })

  test('[G7] after a partition both sides find each other again, and nobody on the own side is taken for dead', () => {
    const fleet = new Fleet(7)
    const nodes = fleet.startMany(30)
    fleet.run(20_000)
    const left = new Set(nodes.slice(0, 15))
    fleet.cut = (from, to) => left.has(from) !== left.has(to)
    fleet.run(60_000)
    for (const node of nodes) expect(fleet.machine(node).size).toBe(15)
    fleet.seen.length = 0
    fleet.cut = () => false
    fleet.run(15_000)
    for (const node of nodes) expect(fleet.machine(node).size).toBe(30)
    expect(fleet.seen.filter(({ state }) => state === 'dead')).toEqual([])
  })

  test('a cut between two nodes is no death: others ping for them', () => {
    const fleet = new Fleet(8)
    const nodes = fleet.startMany(12)
    fleet.run(5000)
    const [x, y] = nodes.slice(3) as [NodeId, NodeId]
    fleet.cut = (from, to) => (from === x && to === y) || (from === y && to === x)
    fleet.seen.length = 0
    fleet.run(60_000)
    expect(fleet.seen).toEqual([])
  })

  test('[G9] a quiet fleet says one ping and one ack a node and period, and no news', () => {
    const fleet = new Fleet(9)
    const nodes = fleet.startMany(40)
    fleet.run(60_000)
    const before = fleet.sent
    fleet.run(20_000)
    const each = (fleet.sent - before) / nodes.length / 20
    expect(each).toBeGreaterThan(1.9)
    expect(each).toBeLessThan(2.2)
  })
})

describe('one member', () => {
  test('pings each of the others once before any twice', () => {
    const others = Array.from({ length: 9 }, (_, at) => nodeId(10 + at))
    const machine = alone(others)
    const pinged: NodeId[] = []
    for (let periods = 0; periods < 18;) {
      for (const output of machine.handle({ kind: 'timer' }, machine.wakeAt)) {
        if (output.kind !== 'send' || output.frame.kind !== 'ping') continue
        periods++
        pinged.push(output.to)
        const ack: MembershipFrame = { kind: 'ack', seq: output.frame.seq, updates: [] }
        machine.handle({ kind: 'message', from: output.to, frame: ack }, machine.wakeAt - 1)
      }
    }
    // All of them in each of two rounds; they were met before the first began.
    expect(new Set(pinged.slice(0, 9)).size).toBe(9)
    expect(new Set(pinged.slice(9, 18)).size).toBe(9)
    expect(machine.health).toBe(0)
  })

  test('asks others before it suspects, and is well while their nacks come', () => {
    const machine = alone([b, c])
    const ping = pass(machine, 999).find((one) => one.kind === 'send' && one.frame.kind === 'ping')
    if (ping?.kind !== 'send') throw new Error('no ping')
    const helper = ping.to === b ? c : b
    const said = frames(pass(machine, 999 + lanTiming.ackMs), helper)
    const asked = said.filter(({ kind }) => kind === 'ping-request')
    expect(asked).toMatchObject([{ kind: 'ping-request', target: ping.to }])
    const { seq } = ping.frame as { seq: number }
    machine.handle({ kind: 'message', from: helper, frame: { kind: 'nack', seq } }, machine.wakeAt - 1)
    expect(stateOf(machine, ping.to)).toBe('suspect')
    expect(machine.health).toBe(0)
  })

  test('doubts itself when nobody says a word, and its periods stretch', () => {
    const machine = alone([b, c])
    pass(machine, 10_000)
    expect(machine.health).toBeGreaterThan(2)
    expect(machine.wakeAt).toBeGreaterThan(0)
    machine.handle({ kind: 'lag', lagMs: 3000 }, 10_001)
    expect(machine.health).toBeGreaterThan(4)
  })

  test('[G2] time in which its own loop stood still counts for no deadline', () => {
    const machine = alone([b, c])
    told(machine, c, [statement(b, 'suspect', 0, c)], 100)
    expect(stateOf(machine, b)).toBe('suspect')
    const stalled = machine.handle({ kind: 'timer' }, 60_000)
    expect(stalled.some((one) => one.kind === 'changed')).toBe(false)
    expect(stateOf(machine, b)).toBe('suspect')
    told(machine, b, [statement(b, 'alive', 1)], 60_001)
    expect(stateOf(machine, b)).toBe('alive')
  })

  test('[G2] also when a message comes before the late timer', () => {
    const machine = alone([b, c])
    told(machine, c, [statement(b, 'suspect', 0, c)], 100)
    told(machine, c, [statement(nodeId(8), 'alive', 0)], 60_000)
    expect(stateOf(machine, b)).toBe('suspect')
    expect(machine.health).toBeGreaterThan(0)
  })

  test('more accusers make a suspicion shorter', () => {
    const others = Array.from({ length: 20 }, (_, at) => nodeId(10 + at))
    const [victim, ...accusers] = others as [NodeId, ...NodeId[]]
    const deadAfter = (count: number): number => {
      const machine = alone(others)
      for (const by of accusers.slice(0, count)) told(machine, by, [statement(victim, 'suspect', 0, by)], 1)
      while (stateOf(machine, victim) === 'suspect') machine.handle({ kind: 'timer' }, machine.wakeAt)
      return machine.wakeAt
    }
    const [one, two, four, six] = [1, 2, 4, 6].map(deadAfter) as [number, number, number, number]
    expect(one).toBeGreaterThan(two)
    expect(two).toBeGreaterThan(four)
    expect(Math.abs(four - six)).toBeLessThan(500)
    expect(four).toBeGreaterThan(lanTiming.suspicionPeriods * lanTiming.periodMs)
  })

  test('[G3] refutes at once, to who accuses and to who tells of it', () => {
    const machine = alone([b, c])
    const outputs = told(machine, c, [statement(a, 'suspect', 4, b)], 10)
    expect(machine.incarnation).toBe(5)
    for (const node of [b, c]) {
      expect(frames(outputs, node)).toContainEqual({
        kind: 'members',
        members: [expect.objectContaining({ node: a, state: 'alive', incarnation: 5 })],
        answer: false,
      })
    }
    // Somebody to whom the refutation has not come is answered, without another incarnation.
    expect(frames(told(machine, c, [statement(a, 'dead', 4, b)], 2000), c)).not.toEqual([])
    expect(machine.incarnation).toBe(5)
  })

  test('[G3] a suspect hears of it with the next ping, so that it can refute', () => {
    const machine = alone([b])
    told(machine, c, [statement(b, 'suspect', 3, c)], 5)
    const pings = frames(pass(machine, 3000), b).filter(({ kind }) => kind === 'ping')
    expect(pings[0]).toMatchObject({ updates: [{ node: b, state: 'suspect', incarnation: 3 }] })
  })

  test('[G4] a death is believed of a member that has been suspect for some periods, and refuted until then', () => {
    const machine = alone([b, c])
    told(machine, c, [statement(b, 'dead', 0, c)], 10)
    expect(stateOf(machine, b)).toBe('suspect')
    pass(machine, 1499)
    told(machine, c, [statement(b, 'dead', 0, c)], 1500)
    expect(stateOf(machine, b)).toBe('suspect')
    pass(machine, 4000)
    expect(stateOf(machine, b)).toBe('dead')
    told(machine, b, [statement(b, 'alive', 0)], 4001)
    expect(stateOf(machine, b)).toBe('dead')
    told(machine, b, [statement(b, 'alive', 1)], 4002)
    expect(stateOf(machine, b)).toBe('alive')
  })

  test('[G6] only a member itself says that it left', () => {
    const machine = alone([b, c])
    told(machine, c, [statement(b, 'left', 5, c)], 10)
    expect(stateOf(machine, b)).toBe('alive')
    told(machine, c, [statement(b, 'left', 5, b)], 11)
    expect(stateOf(machine, b)).toBe('left')
  })

  test('the higher incarnation wins, then the worse state', () => {
    const machine = alone([b, c])
    told(machine, c, [statement(b, 'alive', 5)], 1)
    told(machine, c, [statement(b, 'suspect', 4, c)], 2)
    expect(stateOf(machine, b)).toBe('alive')
    told(machine, c, [statement(b, 'suspect', 5, c)], 3)
    expect(stateOf(machine, b)).toBe('suspect')
    told(machine, c, [statement(b, 'alive', 5)], 4)
    expect(stateOf(machine, b)).toBe('suspect')
    told(machine, c, [statement(b, 'alive', 6)], 5)
    expect(machine.member(b)).toMatchObject({ state: 'alive', incarnation: 6 })
  })

  test('the dead are forgotten in the end, and a stranger is not taken in as dead', () => {
    const machine = alone([b, c])
    told(machine, c, [statement(b, 'left', 1)], 1)
    told(machine, c, [statement(nodeId(9), 'dead', 1, c)], 2)
    expect(machine.member(nodeId(9))).toBeUndefined()
    machine.handle({ kind: 'timer' }, 3)
    const outputs = machine.handle({ kind: 'timer' }, lanTiming.forgetMs + 120_000)
    expect(outputs).toContainEqual({ kind: 'forgotten', node: b })
    expect(machine.member(b)).toBeUndefined()
  })
})

describe('what others send', () => {
  test('[G8] nobody makes it ping a stranger, or more than a bound', () => {
    const machine = alone([b, c])
    const ask = (target: NodeId, seq: number) =>
      machine.handle(
        { kind: 'message', from: b, frame: { kind: 'ping-request', seq, target, address: 'ws://victim', updates: [] } },
        10,
      )
    expect(frames(ask(nodeId(77), 1))).toEqual([{ kind: 'nack', seq: 1 }])
    let pings = 0
    for (let seq = 2; seq < 2000; seq++) pings += frames(ask(c, seq)).filter(({ kind }) => kind === 'ping').length
    expect(pings).toBe(limits.probes)
    expect(frames(pass(machine, 3000), c).length).toBeLessThan(10)
  })

  test('[G8] whole lists go to members only, and to each at most once a second', () => {
    const machine = alone([b, c])
    const ask = (from: NodeId, nowMs: number): number => {
      const frame: MembershipFrame = { kind: 'members', members: [], answer: true }
      return frames(machine.handle({ kind: 'message', from, frame }, nowMs), from).length
    }
    pass(machine, 5000)
    expect([ask(b, 5001), ask(b, 5002), ask(b, 5900), ask(nodeId(9), 5901)]).toEqual([1, 0, 0, 0])
    pass(machine, 6100)
    expect(ask(b, 6101)).toBe(1)
  })

  test('[G8] the table of members has a bound, and the dead make room', () => {
    const machine = alone([b, c])
    const flood = (from: number, count: number): void => {
      for (let at = 0; at < count; at += limits.memberStatements) {
        const many = Array.from({ length: limits.memberStatements }, (_, more) =>
          statement(nodeId(from + at + more), 'alive', 0),
        )
        told(machine, b, many, 10)
      }
    }
    flood(1000, limits.members + 2000)
    expect([...machine.members()]).toHaveLength(limits.members)
    const [one] = machine.alive().filter(({ node }) => node !== b && node !== c)
    if (one === undefined) throw new Error('nobody')
    told(machine, b, [statement(one.node, 'left', 1)], 11)
    const fresh = nodeId(5)
    told(machine, b, [statement(fresh, 'alive', 0)], 12)
    expect(stateOf(machine, fresh)).toBe('alive')
    expect([...machine.members()]).toHaveLength(limits.members)
  })

  test('[G8] no message makes it throw, forget itself or stop its timers', () => {
    const nodes = [a, b, c, nodeId(4), '' as NodeId, 'x'.repeat(1000) as NodeId]
    const node = fc.constantFrom(...nodes)
    const number = fc.oneof(fc.nat(5), fc.constantFrom(-1, 2 ** 53 - 1, 2 ** 48, 2 ** 48 - 1, Number.NaN, 0.5))
    const said = fc.record({
      node,
      address: fc.constantFrom('', 'ws://x', 'y'.repeat(5000)),
      incarnation: number,
      state: fc.constantFrom<MemberState>('alive', 'suspect', 'dead', 'left'),
      zone: fc.constantFrom('', 'z', 'z'.repeat(5000)),
      version: number,
      by: node,
    })
    const updates = fc.array(said, { maxLength: 6 })
    const frame: fc.Arbitrary<MembershipFrame> = fc.oneof(
      fc.record({ kind: fc.constant('ping' as const), seq: number, updates }),
      fc.record({ kind: fc.constant('ack' as const), seq: number, updates }),
      fc.record({
        kind: fc.constant('ping-request' as const),
        seq: number,
        target: node,
        address: fc.string(),
        updates,
      }),
      fc.record({ kind: fc.constant('nack' as const), seq: number }),
      fc.record({ kind: fc.constant('members' as const), members: updates, answer: fc.boolean() }),
    )
    const input = fc.oneof(
      fc.record({ kind: fc.constant('message' as const), from: node, frame }),
      fc.record({ kind: fc.constant('met' as const), node, address: fc.string() }),
      fc.record({ kind: fc.constant('parted' as const), node }),
      fc.record({ kind: fc.constant('lag' as const), lagMs: number }),
      fc.constant({ kind: 'timer' as const }),
    )
    const steps = fc.array(fc.tuple(input, fc.nat(3000)), { maxLength: 60 })
    fc.assert(
      fc.property(steps, (given) => {
        const machine = alone()
        let nowMs = 0
        for (const [one, laterMs] of given) {
          nowMs += laterMs
          machine.handle(one, nowMs)
          expect(machine.wakeAt).toBeGreaterThan(nowMs)
          expect(machine.wakeAt).toBeLessThan(nowMs + 20_000)
          expect(machine.member(a)).toBeUndefined()
          expect(machine.size).toBe(machine.alive().length + 1)
          expect(machine.health).toBeLessThanOrEqual(8)
        }
      }),
    )
  })
})

describe('News', () => {
  test('[G9] each statement is told 4 log10(N + 1) times, the least told first', () => {
    const news = new News()
    news.add(statement(b, 'alive', 1))
    let told = 0
    for (let frame = 0; frame < 100; frame++) told += news.take(99, c).length
    expect(told).toBe(8)
    expect(news.empty).toBe(true)
    news.add(statement(b, 'alive', 1))
    expect(news.take(99, c, 1)).toHaveLength(1)
    news.add(statement(nodeId(4), 'alive', 1))
    expect(news.take(99, c, 1)).toMatchObject([{ node: nodeId(4) }])
  })

  test('a newer statement replaces an older one; suspicions of different accusers stand side by side', () => {
    const news = new News()
    news.add(statement(b, 'suspect', 1, a))
    news.add(statement(b, 'suspect', 1, c))
    expect(news.take(10, nodeId(9))).toHaveLength(2)
    news.add(statement(b, 'alive', 2))
    expect(news.take(10, nodeId(9))).toMatchObject([{ state: 'alive' }])
    news.forget(b)
    expect(news.empty).toBe(true)
  })
})
