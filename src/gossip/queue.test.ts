import { describe, expect, test } from 'vitest'
import type { SpaceId } from '../wire/frame.ts'
import { nodeId, originOf, space } from './fleet.test-kit.ts'
import { PeerQueue } from './queue.ts'

const other = '00000000000000bb' as SpaceId
const a = originOf(nodeId(1))
const b = originOf(nodeId(2))

describe('PeerQueue', () => {
  test('[G18] an idle link takes a delta at once, a busy one all that has gathered', () => {
    const queue = new PeerQueue()
    expect(queue.ready).toBe(false)
    queue.push(space, { origin: a, seq: 1 }, 100)
    expect(queue.ready).toBe(true)
    expect(queue.take()).toEqual([{ space, runs: [{ origin: a, seq: 1, count: 1 }] }])
    queue.push(space, { origin: a, seq: 2 }, 100)
    queue.push(space, { origin: a, seq: 3 }, 100)
    queue.push(space, { origin: b, seq: 7 }, 100)
    expect(queue.ready).toBe(false)
    queue.drained()
    expect(queue.ready).toBe(true)
    const runs = [
      { origin: a, seq: 2, count: 2 },
      { origin: b, seq: 7, count: 1 },
    ]
    expect(queue.take()).toEqual([{ space, runs }])
    queue.drained()
    expect(queue.ready).toBe(false)
    expect(queue.heldBytes).toBe(0)
  })

  test('other frames on the link make it busy too', () => {
    const queue = new PeerQueue()
    queue.sent()
    queue.push(space, { origin: a, seq: 1 }, 100)
    expect(queue.ready).toBe(false)
  })

  test('[G18] only a queue where nothing waits, on a link that is free, is gone past; what went counts until it has left', () => {
    const queue = new PeerQueue(1_000)
    expect(queue.free).toBe(true)
    queue.passed(900)
    expect(queue.free).toBe(false)
    queue.push(space, { origin: a, seq: 2 }, 10)
    queue.push(space, { origin: a, seq: 3 }, 10)
    expect(queue.behind).toBe(true)
    queue.drained()
    expect(queue.free).toBe(false)
    queue.catchUp()
    expect(queue.free).toBe(true)
    queue.push(space, { origin: a, seq: 4 }, 10)
    expect(queue.free).toBe(false)
  })

  test('the order of pushes is kept, over spaces too', () => {
    const queue = new PeerQueue()
    queue.push(space, { origin: a, seq: 1 }, 10)
    queue.push(other, { origin: a, seq: 1 }, 10)
    queue.push(space, { origin: a, seq: 2 }, 10)
    expect(queue.take().map((parcel) => parcel.space)).toEqual([space, other, space])
  })

  test('a flush has a size, and at least one delta', () => {
    const queue = new PeerQueue()
    for (let seq = 1; seq <= 5; seq++) queue.push(space, { origin: a, seq }, 400)
    expect(queue.take(1000)).toEqual([{ space, runs: [{ origin: a, seq: 1, count: 2 }] }])
    expect(queue.take(1)).toEqual([{ space, runs: [{ origin: a, seq: 3, count: 1 }] }])
    expect(queue.length).toBe(2)
  })

  test('[G17] over its bound a queue is dropped, holds nothing more, and names the spaces to catch up', () => {
    const queue = new PeerQueue(10_000)
    queue.push(other, { origin: b, seq: 1 }, 100)
    let most = 0
    for (let seq = 1; seq <= 100_000; seq++) {
      queue.push(space, { origin: a, seq }, 100)
      most = Math.max(most, queue.heldBytes)
    }
    expect(most).toBeLessThanOrEqual(10_000)
    expect(queue.behind).toBe(true)
    expect(queue.length).toBe(0)
    expect(queue.heldBytes).toBe(0)
    expect(queue.take()).toEqual([])
    expect(queue.ready).toBe(true)
    expect([...queue.catchUp()].toSorted()).toEqual([space, other].toSorted())
    expect(queue.behind).toBe(false)
    queue.push(space, { origin: a, seq: 100_001 }, 100)
    expect(queue.take()).toEqual([{ space, runs: [{ origin: a, seq: 100_001, count: 1 }] }])
  })

  test('[G17] what is leaving counts until it has left', () => {
    const queue = new PeerQueue(10_000)
    const push = (from: number, count: number): void => {
      for (let seq = from; seq < from + count; seq++) queue.push(space, { origin: a, seq }, 936)
    }
    push(1, 5)
    queue.take()
    push(6, 5)
    expect(queue.behind).toBe(false)
    push(11, 1)
    expect(queue.behind).toBe(true)
    queue.catchUp()
    queue.drained()
    push(12, 10)
    expect(queue.behind).toBe(false)
  })

  test('a delta of any size finds its place in an empty queue', () => {
    const queue = new PeerQueue(1000)
    queue.push(space, { origin: a, seq: 1 }, 5000)
    expect(queue.behind).toBe(false)
    expect(queue.take(10)).toHaveLength(1)
  })
})
