import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Context } from './context.ts'
import type { NumberedDot } from './context.ts'

const changes: fc.Arbitrary<NumberedDot[]> = fc.array(
  fc.tuple(fc.oneof(fc.nat(40), fc.nat(3000), fc.nat(2 ** 21)), fc.oneof(fc.constant(0), fc.nat(2 ** 40))),
  { maxLength: 60 },
)

function applied(to: ReadonlyMap<number, number>, some: readonly NumberedDot[]): Map<number, number> {
  const map = new Map(to)
  for (const [number, seq] of some) {
    if (seq === 0) map.delete(number)
    else map.set(number, seq)
  }
  return map
}

function inOrder(map: ReadonlyMap<number, number>): NumberedDot[] {
  return [...map].sort(([a], [b]) => a - b)
}

test('a context is a map that never changes: another is made of it', () => {
  fc.assert(
    fc.property(changes, changes, (some, more) => {
      const first = Context.none.changedBy(some)
      const next = first.changedBy(more)
      const [plain, plainNext] = [applied(new Map(), some), applied(applied(new Map(), some), more)]
      expect([...first]).toEqual(inOrder(plain))
      expect([...next]).toEqual(inOrder(plainNext))
      expect([first.size, next.size]).toEqual([plain.size, plainNext.size])
      for (const [number] of [...some, ...more]) expect(next.get(number)).toBe(plainNext.get(number) ?? 0)
      expect([...Context.none]).toEqual([])
    }),
  )
})

test('the changes from one context to another are those that differ, and lead there', () => {
  fc.assert(
    fc.property(changes, changes, changes, (some, more, others) => {
      for (const [a, b] of [
        [Context.none.changedBy(some), Context.none.changedBy(some).changedBy(more)],
        [Context.none.changedBy(some).changedBy(more), Context.none.changedBy(some)],
        [Context.none.changedBy(some), Context.none.changedBy(others)],
      ] as const) {
        const way = a.changesTo(b)
        expect([...a.changedBy(way)]).toEqual([...b])
        expect(way.every(([number, seq]) => a.get(number) !== seq)).toBe(true)
      }
    }),
  )
})
