/** What a conflict tells to whoever is to decide it, beyond what its rule compares. */
import { expect, test } from 'vitest'
import { record } from '../crdt/types/record.ts'
import type { Conflict } from '../merge/evidence.ts'
import type { RuleDeclaration } from '../merge/rule-set.ts'
import { History, startMs } from './conflicts.test-kit.ts'
import type { Site } from './conflicts.test-kit.ts'

const refunds: RuleDeclaration = { rule: 'effect', prefix: 'refund-', receipt: 'receipt' }

/** Two sites that wrote apart, each a record of its own kind, and have met. */
function clash(rule: RuleDeclaration, before: object | undefined, left: object, right: object): Conflict {
  const history = new History(2)
  const [here, there] = history.sites as [Site, Site]
  here.declare([rule])
  if (before !== undefined) here.write('refund-1', record, 'set', { fields: before }, 'planner')
  history.heal()
  here.write('refund-1', record, 'set', { fields: left }, 'ada')
  there.write('refund-1', record, 'set', { fields: right }, 'bob')
  history.heal()
  const [one] = here.all()
  expect(there.all()).toEqual([one])
  return one as Conflict
}

test('[M2] the evidence says in words what happened, and shows the whole of what each wrote', () => {
  const conflict = clash(
    refunds,
    undefined,
    { amount: 30, order: 9, receipt: 're_1' },
    { amount: 40, order: 9, receipt: 're_2' },
  )
  expect(conflict.summary).toBe(
    'ada and bob acted on refund-1 without knowing of one another: two receipts stand under one idempotency key.',
  )
  const cells = conflict.differences.map(({ path, agreed, branches }) => [
    path,
    agreed,
    branches.map(({ value }) => value),
  ])
  expect(cells).toContainEqual([['amount'], false, [30, 40]])
  expect(cells).toContainEqual([['order'], true, [9, 9]])
  expect(cells).toContainEqual([['receipt'], false, ['re_1', 're_2']])
  expect(cells).toHaveLength(3)
})

test('[M2] what stood there before is told with who wrote it and when', () => {
  const conflict = clash({ rule: 'field' }, { amount: 10 }, { amount: 30, note: 'half' }, { amount: 40 })
  const [{ agreed, before, branches } = expect.fail('no difference')] = conflict.differences
  expect(agreed).toBe(false)
  expect(before).toMatchObject([{ agent: 'planner', value: 10 }])
  expect(before[0]?.at).toBeGreaterThan(startMs)
  expect(branches.map(({ value }) => value)).toEqual([30, 40])
})

test('[M2] one agent in two places is said to be so', () => {
  const history = new History(2)
  const [here, there] = history.sites as [Site, Site]
  here.declare([{ rule: 'field' }])
  history.heal()
  here.write('k', record, 'set', { fields: { a: 1 } }, 'ada')
  there.write('k', record, 'set', { fields: { a: 2 } }, 'ada')
  history.heal()
  expect(here.all()[0]?.summary).toMatch(/^ada, at 2 places, acted on k without knowing of one another: /)
})

test('[M4] a long value beside what is compared is left out, whatever its place', () => {
  const long = 'x'.repeat(5_000)
  const conflict = clash(refunds, undefined, { a: 1, mail: long, receipt: 're_1' }, { a: 1, receipt: 're_2' })
  const cells = conflict.differences.map(({ path, branches }) => [path, branches.map(({ value }) => value)])
  expect(cells).toEqual([
    [['a'], [1, 1]],
    [['receipt'], ['re_1', 're_2']],
  ])
})
