/** What is said of a case while it is open, by several at once, and what it comes to. */
import { expect, test } from 'vitest'
import { limits } from '../base/limits.ts'
import { pathOf } from '../crdt/cell.ts'
import { record } from '../crdt/types/record.ts'
import type { Choice } from '../merge/case.ts'
import type { Conflict } from '../merge/evidence.ts'
import { queueType } from '../merge/queue.ts'
import { queueKey } from '../merge/system.ts'
import { History } from './conflicts.test-kit.ts'
import type { Site } from './conflicts.test-kit.ts'

const dismiss: Choice = { kind: 'dismiss' }

/** Two writers of one field, healed: one case, on three sites. */
function clash(): [History, Site, Site, Site] {
  const history = new History(3)
  const [a, b, c] = history.sites as [Site, Site, Site]
  a.declare([{ rule: 'field', severity: 'high' }])
  history.heal()
  a.write('order-1', record, 'set', { fields: { status: 'paid' } })
  b.write('order-1', record, 'set', { fields: { status: 'cancelled' } })
  history.heal()
  return [history, a, b, c]
}

function only(site: Site): Conflict {
  const all = site.all()
  expect(all).toHaveLength(1)
  return all[0] as Conflict
}

/** The same on each site, and what it is. */
function agreed(history: History): Conflict {
  const [first, ...others] = history.sites.map(only)
  for (const other of others) expect(other).toEqual(first)
  return first as Conflict
}

test('[M20] two who assign, put off and take note at once come to the same everywhere', () => {
  const [history, a, b, c] = clash()
  expect(agreed(history)).toMatchObject({ stage: 'open', owner: undefined, overdue: false })
  a.say('assign', { to: 'ada' })
  b.say('assign', { to: 'bob' })
  c.say('acknowledge', {}, 'cyd')
  expect([only(a).owner, only(b).owner, only(c).stage]).toEqual(['ada', 'bob', 'acknowledged'])
  history.heal()
  expect(agreed(history)).toMatchObject({ stage: 'assigned', owner: 'bob', acknowledged: { agent: 'cyd' } })
  const untilMs = history.nowMs + 86_400_000
  a.say('snooze', { until: untilMs }, 'ada', 'after the holidays')
  b.say('assign', { to: undefined })
  history.heal()
  expect(agreed(history)).toMatchObject({
    stage: 'snoozed',
    owner: undefined,
    snoozed: { agent: 'ada', reason: 'after the holidays', untilMs },
    dueAt: untilMs,
  })
  history.nowMs = untilMs
  expect(agreed(history)).toMatchObject({ stage: 'acknowledged', snoozed: undefined, overdue: true })
})

test('[M20] a case is due after the time of its severity, counted from when it was raised', () => {
  const [history, a] = clash()
  const { raisedAt, dueAt } = only(a)
  expect(dueAt - raisedAt).toBe(3_600_000)
  history.nowMs = dueAt - 1
  expect(agreed(history).overdue).toBe(false)
  history.nowMs = dueAt
  expect(agreed(history).overdue).toBe(true)
  a.settle(only(a).id, dismiss)
  history.heal()
  expect(agreed(history)).toMatchObject({ stage: 'dismissed', overdue: false })
})

test('[M20] what was noted or put off before it was settled is void when it opens again; its owner keeps it', () => {
  const history = new History(3)
  const [a, b, c] = history.sites as [Site, Site, Site]
  a.declare([{ rule: 'field', severity: 'high' }])
  history.heal()
  for (const [site, status] of [
    [a, 'paid'],
    [b, 'cancelled'],
    [c, 'refunded'],
  ] as const) {
    site.write('order-1', record, 'set', { fields: { status } })
  }
  a.takeAll(b)
  a.say('acknowledge', {})
  a.say('assign', { to: 'ada' })
  a.say('snooze', { until: history.nowMs + 1e9 })
  history.nowMs += 3_600_000
  a.settle(only(a).id, dismiss)
  expect(only(a).stage).toBe('dismissed')
  expect(() => a.say('acknowledge', {})).toThrow(expect.objectContaining({ code: 'conflict_settled' }))
  history.heal()
  const opened = agreed(history)
  expect(opened).toMatchObject({ stage: 'assigned', acknowledged: undefined, snoozed: undefined, owner: 'ada' })
  expect(opened.dueAt - opened.raisedAt).toBe(3_600_000)
  expect(opened.raisedAt).toBeGreaterThan(opened.firstAt + 3_600_000)
})

test('[M20] proposals are kept as such, are about one revision, and settle nothing', () => {
  const [history, a, b] = clash()
  const { revision, branches } = only(a)
  const propose = (site: Site, choice: Choice, confidence: number, agent: string): boolean =>
    site.say('propose', { proposing: { choice, revision, confidence } }, agent, 'read the ledger')
  const pick: Choice = { kind: 'pick', branch: branches[0]?.dot as never }
  expect(propose(a, pick, 0.9, 'model-1')).toBe(true)
  expect(propose(a, pick, 0.9, 'model-1')).toBe(false)
  expect(propose(b, dismiss, 0.4, 'model-2')).toBe(true)
  history.heal()
  const proposed = agreed(history)
  expect(proposed).toMatchObject({ stage: 'proposed', state: 'open', revision })
  expect(proposed.proposals).toMatchObject([
    { agent: 'model-1', choice: pick, confidence: 0.9, reason: 'read the ledger', isStale: false },
    { agent: 'model-2', choice: dismiss, confidence: 0.4, isStale: false },
  ])
  expect(a.read('order-1', record)).toEqual({ status: 'cancelled' })
  b.write('order-1', record, 'set', { fields: { status: 'lost' } })
  a.write('order-1', record, 'set', { fields: { status: 'found' } })
  history.heal()
  const grown = agreed(history)
  expect(grown.stage).toBe('open')
  expect(grown.proposals.map(({ isStale }) => isStale)).toEqual([true, true])
})

test('[M20] proposals are bounded: stale ones make room, and there are no more than somebody would read', () => {
  const [history, a, b] = clash()
  const fill = (): void => {
    const { revision } = only(a)
    for (let at = 0; at < limits.caseProposals; at++) {
      a.say('propose', { proposing: { choice: dismiss, revision, confidence: undefined } }, `model-${at}`)
    }
    const more = (): unknown =>
      a.say('propose', { proposing: { choice: dismiss, revision, confidence: undefined } }, 'one-more')
    expect(more).toThrow(expect.objectContaining({ code: 'too_large' }))
  }
  fill()
  b.write('order-1', record, 'set', { fields: { status: 'lost' } })
  a.write('order-1', record, 'set', { fields: { status: 'found' } })
  history.heal()
  fill()
  history.heal()
  expect(agreed(history).proposals).toHaveLength(limits.caseProposals)
})

test('[M20] what is said of a case that stands in none yet writes the case with it', () => {
  const history = new History(2)
  const [a, b] = history.sites as [Site, Site]
  a.declare([{ rule: 'field' }])
  history.heal()
  a.write('order-1', record, 'set', { fields: { status: 'paid' } })
  b.write('order-1', record, 'set', { fields: { status: 'cancelled' } })
  b.takeAll(a)
  expect(b.conflicts.pending(b.space)).toHaveLength(1)
  b.say('assign', { to: 'bob' })
  expect(b.conflicts.pending(b.space)).toEqual([])
  history.heal()
  expect(agreed(history)).toMatchObject({ stage: 'assigned', owner: 'bob' })
  expect(b.events.map(({ change }) => change)).toEqual(['opened', 'assigned'])
})

test('[M20] cells that a faulty peer made say nothing', () => {
  const [history, a] = clash()
  const key = queueKey(only(a).id)
  const odd = {
    ...queueType,
    operations: {
      odd: {
        parameters: [],
        run: (_: unknown, change: { put(path: string, value: unknown): void }) => {
          for (const path of [['ack'], ['owner'], ['snooze'], ['p', 'x', 1], ['p', 'f'.repeat(32), 1], ['q']]) {
            change.put(pathOf(path), 7)
          }
          return undefined
        },
      },
    },
  }
  a.write(key, odd as never, 'odd')
  history.heal()
  expect(agreed(history)).toMatchObject({ stage: 'open', owner: undefined, proposals: [] })
})
