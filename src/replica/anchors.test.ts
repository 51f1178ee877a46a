/** Contexts are another form of plain maps, whose bytes follow what is new and not the square of all origins. */
import { describe, expect, test } from 'vitest'
import { prng } from '../base/prng.ts'
import { decodeDelta } from '../crdt/delta.ts'
import type { OriginId } from '../crdt/dot.ts'
import { register } from '../crdt/types/register.ts'
import { decodePacket, encodePacket } from '../wire/codec.ts'
import type { TreeOffer } from '../wire/frame.ts'
import type { Replica } from './replica.ts'
import { spaceRange, table, tableRange } from './row-keys.ts'
import { MapRows, commit, openReplica, rowsIn } from './rows.test-kit.ts'
import type { Space } from './space.ts'
import { headOf, standsOf } from './stands.ts'

const nowMs = 1_800_000_000_000
const nodes = ['aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb', 'cccccccccccccccc']

function put(replica: Replica, space: Space, key: string, value: unknown): void {
  const operation = register.operations['set'] as NonNullable<(typeof register.operations)['set']>
  replica.transact(space, { nowMs, agent: 'a', reason: undefined }, (change) =>
    change.run(space.entry(key), register, operation, { value }),
  )
}

/** All that the other has and this one lacks. */
function pull(replica: Replica, space: Space, from: Space): void {
  const lacking = [...from.logs.values()].flatMap((log) => {
    const first = (space.vector.get(log.origin) ?? 0) + 1
    return Array.from({ length: Math.max(0, log.seq - first + 1) }, (_, at) => ({ log, seq: first + at }))
  })
  for (const { log, seq } of lacking) {
    const { body, place } = log.entry(seq) as { body: Uint8Array; place: number }
    expect(place).toBeGreaterThan(0)
    replica.receive(space, { origin: log.origin, seq }, body.slice(), nowMs)
  }
}

/** What each origin had seen, by the definition: read from the deltas. */
function byDefinition(space: Space): Map<OriginId, Map<OriginId, number>> {
  const all = new Map<OriginId, Map<OriginId, number>>()
  for (const log of space.logs.values()) {
    const seen = new Map<OriginId, number>()
    all.set(log.origin, seen)
    for (let seq = 1; seq <= log.seq; seq++) {
      const { context } = decodeDelta(log.origin, seq, log.entry(seq)?.body as Uint8Array)
      for (const dot of context) seen.set(dot.origin, Math.max(dot.seq, seen.get(dot.origin) ?? 0))
    }
  }
  return all
}

function expectContexts(space: Space, wanted: ReadonlyMap<OriginId, ReadonlyMap<OriginId, number>>): void {
  for (const [origin, seen] of wanted) {
    const context = space.logs.get(origin)?.context
    const whole = Array.from(context?.whole() ?? [], ([number, seq]) => [space.origins.nameOf(number), seq] as const)
    expect(new Map(whole)).toEqual(seen)
    for (const other of wanted.keys()) expect(context?.get(other)).toBe(seen.get(other))
  }
}

/** Nodes that are opened, read, write and are closed again and again; some pull from others and some do not. */
function history(opens: number, seed: number): MapRows[] {
  const random = prng(seed)
  const disks = nodes.map(() => new MapRows())
  for (let i = 0; i < opens; i++) {
    const at = random.below(nodes.length)
    const rows = disks[at] as MapRows
    const replica = openReplica(rows, nodes[at] as string)
    const space = replica.open('s')
    for (const other of disks) {
      if (other !== rows && random.chance(0.5)) pull(replica, space, openReplica(other, 'dddddddddddddddd').open('s'))
      put(replica, space, `k${random.below(5)}`, i)
      if (random.chance(0.5)) commit(replica, rows)
    }
    commit(replica, rows)
  }
  return disks
}

function bytesOf(rows: MapRows): number {
  return [table.writer, table.context]
    .flatMap((each) => rows.list(tableRange(each)))
    .reduce((sum, [, row]) => sum + row.length, 0)
}

describe('contexts of many origins', () => {
  test('[R18] after any opens they are what the deltas say', () => {
    for (const seed of [1, 2, 3]) {
      for (const rows of history(90, seed)) {
        const space = openReplica(rows, 'dddddddddddddddd').open('s')
        expect(space.logs.size).toBeGreaterThan(30)
        expectContexts(space, byDefinition(space))
        expect(rowsIn(rows, table.context)).toBeGreaterThan(20)
      }
    }
  })

  test('[R18] their rows grow with what is new, not with all that was seen', () => {
    const [rows] = [new MapRows()]
    const bytes: number[] = []
    for (let i = 1; i <= 200; i++) {
      const replica = openReplica(rows, nodes[0] as string)
      put(replica, replica.open('s'), 'k', i)
      commit(replica, rows)
      if (i % 100 === 0) bytes.push(bytesOf(rows))
    }
    const [half = 0, whole = 0] = bytes
    expect(whole).toBeLessThan(2.2 * half)
    expect(whole).toBeLessThan(200 * 64)
  })

  test('[R18] an offer tells them in as little, and they arrive as they are', () => {
    const [rows] = history(120, 4)
    const from = openReplica(rows as MapRows, 'dddddddddddddddd').open('s')
    const { stands } = from.moment()
    const heads = stands.map((stand, at) => headOf(from, stand, stands[at - 1]?.context))
    const offer: TreeOffer = {
      kind: 'tree-offer',
      space: from.id,
      session: 1,
      heads,
      buckets: new Uint8Array(0),
      count: 0,
      root: new Uint8Array(16),
    }
    const packet = encodePacket([offer])
    expect(packet.length).toBeLessThan(120 * stands.length)
    const [arrived] = decodePacket(packet.slice()).frames as [TreeOffer]
    const disk = new MapRows()
    const replica = openReplica(disk, 'eeeeeeeeeeeeeeee')
    const into = replica.open('s')
    // Others stand elsewhere by their numbers.
    into.origins.numberOf('f'.repeat(32) as OriginId)
    replica.merge(into, 0, nowMs, arrived.heads, () => into.raise(standsOf(into, [arrived.heads])))
    const wanted = byDefinition(from)
    expectContexts(into, wanted)
    commit(replica, disk)
    expectContexts(openReplica(disk, 'eeeeeeeeeeeeeeee').open('s'), wanted)
  })

  test('[R18] anchors at which nothing begins any more go at the next opening', () => {
    const [rows = new MapRows()] = history(90, 5)
    const replica = openReplica(rows, nodes[0] as string)
    const space = replica.open('s')
    const many = rowsIn(rows, table.context)
    // Also such at whose anchors others go on.
    const gone = [...space.logs.keys()].filter((_, at) => at % 2 === 0)
    replica.merge(space, 0, nowMs, [], () => gone.forEach((origin) => space.dropHead(origin)))
    commit(replica, rows)
    const again = openReplica(rows, nodes[0] as string)
    const left = again.open('s')
    put(again, left, 'k', 'x')
    commit(again, rows)
    expect(rowsIn(rows, table.context)).toBeLessThan(many)
    const kept = byDefinition(left)
    expect(kept.size).toBe(space.logs.size + 1)
    expectContexts(openReplica(rows, nodes[0] as string).open('s'), kept)
  })

  test('[R18] nothing begins at an anchor that went', () => {
    const [rows = new MapRows()] = history(90, 5)
    const replica = openReplica(rows, nodes[0] as string)
    const space = replica.open('s')
    const newest = [...space.logs.values()].sort((a, b) => b.context.anchor.id - a.context.anchor.id)
    replica.merge(space, 0, nowMs, [], () => newest.slice(0, 12).forEach(({ origin }) => space.dropHead(origin)))
    commit(replica, rows)
    put(replica, space, 'k', 'x')
    commit(replica, rows)
    const again = openReplica(rows, nodes[0] as string).open('s')
    expect(again.logs.get(replica.origin)?.context.whole().size).toBe(space.logs.size - 1)
  })

  test('[R18] what is begun at in the first batch and left again is not written on what went', () => {
    const [rows = new MapRows()] = history(90, 5)
    const replica = openReplica(rows, nodes[0] as string)
    const space = replica.open('s')
    const newest = [...space.logs.values()].sort((a, b) => b.context.anchor.id - a.context.anchor.id)
    put(replica, space, 'k', 'x')
    const dropped = [...newest.slice(0, 12).map(({ origin }) => origin), replica.origin]
    replica.merge(space, 0, nowMs, [], () => dropped.forEach((origin) => space.dropHead(origin)))
    commit(replica, rows)
    const again = openReplica(rows, nodes[0] as string).open('s')
    expect(again.logs.size).toBe(space.logs.size)
  })

  test('[R18] a space that was deleted is no hindrance while its rows go', () => {
    const [rows = new MapRows()] = history(90, 5)
    const replica = openReplica(rows, nodes[0] as string)
    const number = replica.open('s').number
    replica.deleteSpace('s')
    commit(replica, rows)
    for (const each of [table.writer, table.log, table.context]) {
      for (const [key] of rows.list(spaceRange(each, number))) {
        replica.remove(key)
        commit(replica, rows)
        if (each !== table.context) continue
        expect(openReplica(rows, nodes[0] as string).find('s')).toBe(undefined)
      }
    }
    expect(openReplica(rows, nodes[0] as string).open('s').generation).toBe(2)
  })
})
