/** Presence among a few nodes, whose links are what the test says they are. */
import { describe, expect, test } from 'vitest'
import { limits } from '../base/limits.ts'
import { decodeValue, encodeValue } from '../base/msgpack.ts'
import { decodePacket, encodePacket } from '../wire/codec.ts'
import type { NodeId, PresenceFrame, SpaceId } from '../wire/frame.ts'
import type { Member } from './membership.ts'
import { Presence } from './presence.ts'
import type { PresenceInput, PresenceOutput } from './presence.ts'

const space = '00000000000000aa' as SpaceId
const spaces = new Set([space])
const id = (at: number): NodeId => `${at}`.padStart(16, '0') as NodeId

/** Frames go through the codec and arrive at once; time goes on when the test says so. */
class Rooms {
  nowMs = 1_000_000
  readonly nodes = new Map<NodeId, Presence>()
  readonly cut = new Set<string>()
  readonly dead = new Set<NodeId>()
  readonly events: string[] = []
  frames = 0

  constructor(count: number) {
    for (let at = 0; at < count; at++) this.start(id(at))
  }

  start(node: NodeId): void {
    this.nodes.set(
      node,
      new Presence({
        self: node,
        members: { member: (other) => this.#member(other), members: () => this.#members(node) },
        roster: { get: () => undefined },
        peers: () =>
          [...this.nodes.keys()]
            .filter((other) => this.isLinked(node, other))
            .map((other) => ({ node: other, spaces })),
      }),
    )
  }

  isLinked(one: NodeId, other: NodeId): boolean {
    const both = [one, other].sort().join(' ')
    return one !== other && this.nodes.has(one) && this.nodes.has(other) && !this.cut.has(both)
  }

  #member(node: NodeId): Member | undefined {
    if (!this.nodes.has(node) && !this.dead.has(node)) return undefined
    const state = this.dead.has(node) ? 'dead' : 'alive'
    return { node, state } as Member
  }

  *#members(self: NodeId): MapIterator<Member> {
    for (const node of this.nodes.keys()) if (node !== self) yield this.#member(node) as Member
  }

  feed(node: NodeId, input: PresenceInput): void {
    this.#obey(node, this.nodes.get(node)?.handle(input, this.nowMs) ?? [])
  }

  #obey(node: NodeId, outputs: readonly PresenceOutput[]): void {
    for (const output of outputs) {
      if (output.kind === 'changed') {
        const shown = output.value === undefined ? 'gone' : JSON.stringify(decodeValue(output.value))
        this.events.push(`${Number(node)}: ${output.agent}@${Number(output.node)} ${shown}`)
        continue
      }
      this.frames++
      const { frames, fault } = decodePacket(encodePacket([output.frame]))
      expect(fault).toBeUndefined()
      if (this.isLinked(node, output.to)) {
        for (const frame of frames) this.feed(output.to, { kind: 'message', from: node, frame: frame as PresenceFrame })
      }
    }
  }

  set(at: number, agent: string, value: unknown, ttlMs = 30_000): void {
    const bytes = value === undefined ? new Uint8Array(0) : encodeValue(value as string)
    this.feed(id(at), { kind: 'set', space, agent, value: bytes, ttlMs })
  }

  pass(ms: number): void {
    const until = this.nowMs + ms
    for (;;) {
      const next = Math.min(...[...this.nodes.values()].map(({ wakeAt }) => wakeAt))
      if (next > until) break
      this.nowMs = Math.max(this.nowMs, next)
      for (const [node, presence] of this.nodes) if (presence.wakeAt <= this.nowMs) this.feed(node, { kind: 'timer' })
    }
    this.nowMs = until
  }

  seen(at: number): string[] {
    return (this.nodes.get(id(at))?.list(space, this.nowMs) ?? []).map(
      ({ agent, node, value }) => `${agent}@${Number(node)} ${JSON.stringify(decodeValue(value))}`,
    )
  }
}

describe('presence', () => {
  test('[PR1] what an agent shows is seen at every node at once, and ends by itself at its time', () => {
    const rooms = new Rooms(3)
    rooms.set(0, 'ann', { doing: 't-1' }, 5_000)
    for (const at of [0, 1, 2]) expect(rooms.seen(at)).toEqual(['ann@0 {"doing":"t-1"}'])
    rooms.pass(4_999)
    expect(rooms.seen(2)).toHaveLength(1)
    rooms.pass(300)
    for (const at of [0, 1, 2]) expect(rooms.seen(at)).toEqual([])
    expect(rooms.events.filter((event) => event.endsWith('gone')).sort()).toEqual(
      [0, 1, 2].map((at) => `${at}: ann@0 gone`),
    )
    // Nothing is left to be woken for.
    rooms.pass(60_000)
    expect([...rooms.nodes.values()].map(({ wakeAt }) => wakeAt)).toEqual([Infinity, Infinity, Infinity])
  })

  test('[PR1] said again it stays, without an event; withdrawn it is gone, and nobody brings it back', () => {
    const rooms = new Rooms(3)
    rooms.set(0, 'ann', 1, 6_000)
    rooms.pass(4_000)
    rooms.set(0, 'ann', 1, 6_000)
    rooms.pass(4_000)
    expect(rooms.seen(1)).toEqual(['ann@0 1'])
    expect(rooms.events).toHaveLength(3)
    // One who does not hear of the end tells the others what he knows, now and then.
    rooms.cut.add([id(0), id(2)].sort().join(' ')).add([id(1), id(2)].sort().join(' '))
    rooms.set(0, 'ann', undefined)
    expect(rooms.seen(1)).toEqual([])
    rooms.cut.clear()
    rooms.feed(id(2), { kind: 'message', from: id(1), frame: { kind: 'presence', space, statements: [] } })
    rooms.pass(1_000)
    expect([rooms.seen(0), rooms.seen(1)]).toEqual([[], []])
    rooms.pass(6_000)
    expect(rooms.seen(2)).toEqual([])
  })

  test('[PR2] it goes with its node: dead, left, or started anew', () => {
    const rooms = new Rooms(3)
    rooms.feed(id(1), { kind: 'linked', node: id(0), incarnation: 'a' })
    rooms.set(0, 'ann', 1)
    rooms.set(2, 'cyd', 1)
    rooms.dead.add(id(2))
    rooms.feed(id(1), { kind: 'gone', node: id(2) })
    expect(rooms.seen(1)).toEqual(['ann@0 1'])
    // Somebody who has not heard of the death yet does not bring it back.
    const [{ value } = { value: new Uint8Array(0) }] = rooms.nodes.get(id(2))?.list(space, rooms.nowMs) ?? []
    const statements = [{ node: id(2), agent: 'cyd', version: 2 ** 50, leftMs: 9_000, value: encodeValue(2) }]
    expect(value.length).toBeGreaterThan(0)
    rooms.feed(id(1), { kind: 'message', from: id(0), frame: { kind: 'presence', space, statements } })
    expect(rooms.seen(1)).toEqual(['ann@0 1'])
    rooms.start(id(0))
    rooms.feed(id(1), { kind: 'linked', node: id(0), incarnation: 'b' })
    expect(rooms.seen(1)).toEqual([])
  })

  test('[PR2] a node that starts anew and hears of what it said before takes it back', () => {
    const rooms = new Rooms(3)
    rooms.set(0, 'ann', 1)
    rooms.nowMs -= 60_000
    rooms.start(id(0))
    rooms.set(0, 'bob', 2, 120_000)
    rooms.nowMs += 60_000
    rooms.pass(12_000)
    for (const at of [0, 1, 2]) expect(rooms.seen(at), `${at}`).toEqual(['bob@0 2'])
  })

  test('[PR3] two that have no link hear of each other, and so does who comes later', () => {
    const rooms = new Rooms(4)
    rooms.cut.add([id(0), id(3)].sort().join(' '))
    rooms.set(0, 'ann', 1)
    rooms.pass(16_000)
    expect(rooms.seen(3)).toEqual(['ann@0 1'])
    rooms.set(3, 'dan', 4)
    rooms.start(id(4))
    for (const at of [0, 1, 2, 3]) rooms.feed(id(at), { kind: 'holds', node: id(4), spaces })
    expect(rooms.seen(4)).toEqual(['ann@0 1', 'dan@3 4'])
  })

  test('[PR4] however often an agent says something, a frame leaves every tenth of a second, with the last of it', () => {
    const rooms = new Rooms(2)
    for (let step = 0; step < 1_000; step++) {
      rooms.set(0, 'ann', step)
      rooms.set(0, 'bob', -step)
      rooms.pass(1)
    }
    rooms.pass(200)
    expect(rooms.frames).toBeLessThanOrEqual(12)
    expect(rooms.seen(1)).toEqual(['ann@0 999', 'bob@0 -999'])
  })

  test('[PR4] agents beyond the bound find no room, and a peer that tells of more is not believed', () => {
    const rooms = new Rooms(2)
    const node = rooms.nodes.get(id(0)) as Presence
    const value = encodeValue(1)
    const statements = Array.from({ length: limits.presences + 10 }, (_, at) => ({
      node: id(1),
      agent: `agent-${at}`,
      version: 1,
      leftMs: 60_000,
      value,
    }))
    for (let at = 0; at < statements.length; at += 1000) {
      const frame: PresenceFrame = { kind: 'presence', space, statements: statements.slice(at, at + 1000) }
      rooms.feed(id(0), { kind: 'message', from: id(1), frame })
    }
    expect(node.list(space, rooms.nowMs)).toHaveLength(limits.presences)
    expect(node.hasRoom(space, 'ann', 1)).toBe(false)
    rooms.pass(61_000)
    expect(node.hasRoom(space, 'ann', 1)).toBe(true)
    expect(node.hasRoom(space, 'ann', limits.presencesBytes + 1)).toBe(false)
  })

  test('[PR1] a number that nobody can go above does not make this node say what nobody can read', () => {
    const rooms = new Rooms(3)
    rooms.set(0, 'ann', 1)
    for (const version of [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1, 2 ** 52 - 1]) {
      const statement = { node: id(0), agent: 'ann', version, leftMs: 1_000, value: encodeValue('false') }
      for (const at of [0, 1]) {
        rooms.feed(id(at), {
          kind: 'message',
          from: id(2),
          frame: { kind: 'presence', space, statements: [statement] },
        })
      }
      // The codec that frames go through takes all of them.
      for (let more = 0; more < 5; more++) {
        rooms.pass(200)
        rooms.set(0, 'ann', more)
      }
      expect(rooms.seen(0)).toEqual(['ann@0 4'])
    }
    // What was said in its name ends like all that is not said again.
    rooms.pass(2_000)
    rooms.set(0, 'ann', 'back')
    rooms.pass(200)
    for (const at of [0, 1, 2]) expect(rooms.seen(at)).toEqual(['ann@0 "back"'])
  })
})
