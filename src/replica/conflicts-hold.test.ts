/** Entries that an open conflict holds: nobody writes to them here until it is settled. */
import { expect, test } from 'vitest'
import { record } from '../crdt/types/record.ts'
import type { Conflict } from '../merge/evidence.ts'
import type { RuleDeclaration } from '../merge/rule-set.ts'
import { findingRows } from './conflicts.ts'
import { begin, set } from './conflicts.test-kit.ts'
import type { History, Site } from './conflicts.test-kit.ts'

const rule: RuleDeclaration = { rule: 'exclusive', field: 'status', values: [['done', 'cancelled']] }
const done = set('t', { status: 'done' })
const cancelled = set('t', { status: 'cancelled' })

function frozen(declared: RuleDeclaration = rule): [History, Site, Site, Site, string] {
  const [history, left, right, third] = begin({ rule: declared, before: set('t', { status: 'doing' }) })
  done(left)
  cancelled(right)
  history.heal()
  return [history, left, right, third, left.ids()[0] as string]
}

test('[M12] every replica refuses to write to the entry, by a code that names the conflict, until it is settled', () => {
  const [history, left, , third, id] = frozen()
  for (const site of history.sites) {
    expect(site.write('t', record, 'set', { fields: { owner: 'x' } })).toBe(false)
    expect(site.refused).toMatchObject({ code: 'entry_held', details: { key: 't', conflict: id } })
    expect(site.remove('t')).toBe(false)
    // All of a transaction, or nothing.
    const other = `other-${site.number}`
    expect(
      site.transact('agent', [
        [other, record, 'set', { fields: { a: 1 } }],
        ['t', record, 'set', { fields: { a: 1 } }],
      ]),
    ).toBe(false)
    expect(site.read(other, record)).toEqual({})
    expect(site.write('free', record, 'set', { fields: { a: site.number } })).toBe(true)
  }
  const [{ branches }] = left.all() as [Conflict]
  third.settle(id, { kind: 'pick', branch: (branches[0] as Conflict['branches'][number]).dot })
  history.heal()
  for (const site of history.sites) expect(site.write('t', record, 'set', { fields: { owner: site.node } })).toBe(true)
})

test('[M12] what others write comes in all the same, and a branch that comes later freezes it again', () => {
  const [history, left, right, third] = begin({ rule, before: set('t', { status: 'doing' }) })
  done(left)
  cancelled(right)
  left.takeAll(right)
  right.takeAll(left)
  expect(left.write('t', record, 'set', { fields: { status: 'doing' } })).toBe(false)
  // The third has not heard of it.
  expect(third.write('t', record, 'set', { fields: { owner: 'x' } })).toBe(true)
  expect(third.write('t', record, 'set', { fields: { status: 'done' } })).toBe(true)
  left.takeAll(third)
  expect(left.read('t', record)).toMatchObject({ owner: 'x' })
  left.due()
  left.settle(left.ids()[0] as string, { kind: 'keep-both' })
  expect(left.write('t', record, 'set', { fields: { owner: 'y' } })).toBe(true)
  history.heal()
  expect(third.open()).toHaveLength(0)
  done(third)
  cancelled(right)
  history.heal()
  expect(left.write('t', record, 'set', { fields: { owner: 'z' } })).toBe(false)
})

test('[M12] it is so from the moment of the finding, after restarts, and where a snapshot brought the case', () => {
  const [history, left, right, third] = begin({ rule, before: set('t', { status: 'doing' }) })
  done(left)
  cancelled(right)
  left.takeAll(right)
  let at = 0
  const refuses = (site: Site): boolean => !site.write('t', record, 'set', { fields: { owner: at++ } })
  expect(refuses(left)).toBe(true)
  left.restart()
  expect(refuses(left)).toBe(true)
  left.due()
  history.nowMs += 60_000
  left.due()
  expect(left.conflicts.pending(left.space)).toEqual([])
  left.restart()
  expect(refuses(left)).toBe(true)
  expect(refuses(third)).toBe(false)
  third.merge(left)
  third.restart()
  third.due()
  expect(refuses(third)).toBe(true)
  left.settle(left.ids()[0] as string, { kind: 'keep-both' })
  third.merge(left)
  // Whoever is refused is refused by the case: this one knows better before it has looked.
  expect(refuses(third)).toBe(false)
  left.restart()
  expect(refuses(left)).toBe(false)
  left.commit()
  expect(left.rows.list(findingRows)).toEqual([])
})

test('[M12] another safe outcome freezes nothing', () => {
  const [, left] = frozen({ ...rule, safe: 'keep-last' })
  expect(left.open()).toHaveLength(1)
  expect(left.write('t', record, 'set', { fields: { owner: 'x' } })).toBe(true)
})
