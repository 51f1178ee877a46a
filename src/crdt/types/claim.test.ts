import { describe, expect, test } from 'vitest'
import { rootPath } from '../cell.ts'
import type { ClaimReading } from './claim.ts'
import { claim } from './claim.ts'
import { Writer, meet } from './writers.test-model.ts'

const writers = (): [Writer<ClaimReading>, Writer<ClaimReading>] => [new Writer(claim, 1), new Writer(claim, 2)]
const free = (fence: number): ClaimReading => ({ holder: null, fence, until: 0 })

describe('acquire', () => {
  test('a claim that nobody held has fence 1', () => {
    const [a] = writers()
    expect(a.value).toEqual(free(0))
    expect(a.answer('acquire', { ttlMs: 500 })).toEqual({ fence: 1, until: 1500 })
    expect(a.value).toEqual({ holder: 'agent 1', fence: 1, until: 1500 })
  })

  test('is refused while another holds it, and says who', () => {
    const [a, b] = writers()
    a.do('acquire', { ttlMs: 500 })
    meet(a, b)
    expect(() => b.do('acquire', { ttlMs: 500 })).toThrow(
      expect.objectContaining({ code: 'claim_held', details: { holder: 'agent 1', fence: 1, until: 1500 } }),
    )
    // Until its last millisecond.
    b.nowMs = 1500
    expect(b.refusal('acquire', { ttlMs: 500 })).toBe('claim_held')
    b.nowMs = 1501
    expect(b.answer('acquire', { ttlMs: 500 })).toEqual({ fence: 2, until: 2001 })
    meet(a, b)
    expect(a.value.holder).toBe('agent 2')
  })

  test.each([
    [500, 'less than a second'],
    [1_000, 'another 1 s'],
    [90_000, 'another 90 s'],
    [210_000, 'another 4 min'],
    [2 * 3_600_000, 'another 2 h'],
    [30 * 86_400_000, 'another 30 d'],
  ])('who is refused is told in words how long it is held: %i ms', (ttlMs, words) => {
    const [a, b] = writers()
    a.do('acquire', { ttlMs })
    meet(a, b)
    expect(() => b.do('acquire', { ttlMs })).toThrow(new RegExp(`is held by agent 1 for ${words}$`))
  })

  test('what one holds is renewed under its fence; what one held and lost to time gets a new one', () => {
    const [a] = writers()
    a.do('acquire', { ttlMs: 500 })
    a.nowMs = 1100
    expect(a.answer('acquire', { ttlMs: 500 })).toEqual({ fence: 1, until: 1600 })
    expect(a.do('acquire', { ttlMs: 500 })).toBeUndefined()
    a.nowMs = 1601
    expect(a.answer('acquire', { ttlMs: 500 })).toEqual({ fence: 2, until: 2101 })
  })

  test('an owner may be named', () => {
    const [a] = writers()
    a.do('acquire', { ttlMs: 500, owner: 'job 7' })
    expect(a.value.holder).toBe('job 7')
    expect(a.refusal('acquire', { ttlMs: 500 })).toBe('claim_held')
    expect(a.refusal('renew', { fence: 1, ttlMs: 500 })).toBe('stale_fence')
    expect(a.refusal('renew', { fence: 1, ttlMs: 500, owner: 'job 7' })).toBeUndefined()
    expect(a.refusal('release', { fence: 1 })).toBe('stale_fence')
    expect(a.refusal('release', { fence: 1, owner: 'job 7' })).toBeUndefined()
  })
})

describe('renew and release', () => {
  test('need the fence of the live claim', () => {
    const [a, b] = writers()
    expect(a.refusal('renew', { fence: 1, ttlMs: 5 })).toBe('stale_fence')
    expect(a.refusal('release', { fence: 1 })).toBe('stale_fence')
    a.do('acquire', { ttlMs: 500 })
    meet(a, b)
    for (const [writer, fence] of [
      [a, 2],
      [b, 1],
    ] as const) {
      expect(writer.refusal('renew', { fence, ttlMs: 5 })).toBe('stale_fence')
      expect(writer.refusal('release', { fence })).toBe('stale_fence')
    }
    expect(a.answer('renew', { fence: 1, ttlMs: 5 })).toEqual({ fence: 1, until: 1005 })
  })

  test('a claim that ran out may be renewed as long as nobody took it', () => {
    const [a] = writers()
    a.do('acquire', { ttlMs: 1 })
    a.nowMs = 90_000
    expect(a.answer('renew', { fence: 1, ttlMs: 1 })).toEqual({ fence: 1, until: 90_001 })
  })

  test('a release keeps the fence; releasing again is nothing', () => {
    const [a, b] = writers()
    a.do('acquire', { ttlMs: 500 })
    a.do('release', { fence: 1 })
    expect(a.value).toEqual(free(1))
    expect(a.do('release', { fence: 1 })).toBeUndefined()
    expect(a.refusal('renew', { fence: 1, ttlMs: 5 })).toBe('stale_fence')
    meet(a, b)
    expect(b.answer('acquire', { ttlMs: 1 })).toEqual({ fence: 2, until: 1001 })
  })

  test('deleting the entry is a release by force, and the fence lives on', () => {
    const [a, b] = writers()
    a.do('acquire', { ttlMs: 500 })
    meet(a, b)
    expect(b.delete()).toBeDefined()
    expect(b.delete()).toBeUndefined()
    meet(a, b)
    expect(a.value).toEqual(free(1))
    expect(a.refusal('renew', { fence: 1, ttlMs: 5 })).toBe('stale_fence')
    expect(a.answer('acquire', { ttlMs: 1 })).toEqual({ fence: 2, until: 1001 })
  })
})

describe('a double claim', () => {
  const doubled = (): [Writer<ClaimReading>, Writer<ClaimReading>] => {
    const [a, b] = writers()
    a.do('acquire', { ttlMs: 500 })
    b.do('acquire', { ttlMs: 700 })
    meet(a, b)
    return [a, b]
  }

  test('is shown, and one of the two holds, alike everywhere', () => {
    const [a] = doubled()
    expect(a.value).toEqual({ holder: 'agent 2', fence: 1, until: 1700 })
    expect(a.reading.concurrent).toEqual([
      expect.objectContaining({ agent: 'agent 1', value: { holder: 'agent 1', fence: 1, until: 1500 } }),
    ])
  })

  test('the side that lost is told', () => {
    const [a, b] = doubled()
    expect(a.refusal('renew', { fence: 1, ttlMs: 5 })).toBe('stale_fence')
    expect(b.refusal('renew', { fence: 1, ttlMs: 5 })).toBeUndefined()
    expect(b.lost).toEqual([])
  })

  test('a higher fence holds over a higher origin', () => {
    const [a, b] = writers()
    b.do('acquire', { ttlMs: 1 })
    meet(a, b)
    b.do('renew', { fence: 1, ttlMs: 5000 })
    a.nowMs = 2000
    a.do('acquire', { ttlMs: 5 })
    meet(a, b)
    expect(b.value).toMatchObject({ holder: 'agent 1', fence: 2 })
    expect(b.lost).toEqual([{ holder: 'agent 2', fence: 1, until: 6000 }])
    a.do('release', { fence: 2 })
    expect(a.value).toEqual(free(2))
  })
})

test('times are whole milliseconds from 1', () => {
  const [a] = writers()
  for (const ttlMs of [undefined, 0, -1, 1.5, Number.NaN, Infinity, 2 ** 53 - 1]) {
    expect(a.refusal('acquire', { ttlMs })).toBe('invalid_argument')
  }
  expect(a.refusal('acquire', { ttlMs: 1, owner: '' })).toBe('invalid_argument')
  expect(a.refusal('renew', { ttlMs: 1 })).toBe('invalid_argument')
  expect(a.refusal('release', { fence: 0 })).toBe('invalid_argument')
})

test('nonsense holds nothing, is written over, and a fence at the end of the integers stops there', () => {
  for (const value of [
    1,
    null,
    [],
    {},
    { fence: 0.5, owner: 'x', until: 1 },
    { fence: 9, owner: 1, until: 1 },
    { fence: 9, owner: 'x', until: -1 },
  ]) {
    const [a] = writers()
    a.forge([[rootPath, value]])
    expect(a.value).toEqual(free(0))
    expect(a.answer('acquire', { ttlMs: 1 })).toEqual({ fence: 1, until: 1001 })
    expect(a.cells.get(rootPath)).toHaveLength(1)
  }
  const [a, b] = writers()
  a.forge([[rootPath, { fence: Number.MAX_SAFE_INTEGER, owner: null, until: 0 }]])
  expect(a.refusal('acquire', { ttlMs: 1 })).toBe('counter_overflow')
  b.forge([[rootPath, 'nonsense']])
  b.delete()
  expect(b.cells.empty).toBe(true)
})
