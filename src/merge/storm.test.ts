import { expect, test } from 'vitest'
import { gather, groupOf } from './storm.ts'
import type { Spell } from './storm.ts'

function items(from: number, count: number, group: string = 'field order-'): { id: string; group: string }[] {
  return Array.from({ length: count }, (_, at) => ({ id: `${from + at}`, group }))
}

test('[M21] a few conflicts are told each for itself, more of one kind together, and none is left out', () => {
  const spells = new Map<string, Spell>()
  const few = gather(items(0, 5), spells, 0)
  expect(few.batches.map((batch) => batch.items.length)).toEqual([1, 1, 1, 1, 1])
  const more = gather(items(5, 2), spells, 1)
  expect(more.batches.map((batch) => batch.items.length)).toEqual([2])
  const storm = gather(items(7, 1000), spells, 2)
  expect(storm).toMatchObject({ batches: [], wakeAt: 60_000 })
  expect(storm.stay).toHaveLength(1000)
  const after = gather([...storm.stay, ...items(1007, 1)], spells, 60_000)
  expect(after.batches.map((batch) => batch.items.length)).toEqual([1001])
  expect(after.stay).toEqual([])
})

test('[M21] one kind does not silence another, and a while that is over is forgotten', () => {
  const spells = new Map<string, Spell>()
  gather(items(0, 100), spells, 0)
  expect(gather(items(100, 1, 'field task-'), spells, 1).batches).toHaveLength(1)
  expect(gather(items(101, 1), spells, 60_000).batches.map((batch) => batch.items.length)).toEqual([1])
  expect(gather([], spells, 200_000).batches).toEqual([])
  expect(spells.size).toBe(0)
})

test('[M21] what is told together has the rule and the prefix of its key in common', () => {
  expect(groupOf('field', 'order-12')).toBe('field order-')
  expect(groupOf('field', 'shop/order-f3a-9')).toBe('field shop/order-')
  expect(groupOf('field', 'tenant-7/order-12')).toBe('field tenant-')
  expect(groupOf('field', 'stock')).toBe('field ')
})
