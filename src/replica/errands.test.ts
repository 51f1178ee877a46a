/** What is done about cases by one node for all: settled by policies, told, asked about, undone. */
import { expect, test } from 'vitest'
import { record } from '../crdt/types/record.ts'
import type { Choice } from '../merge/case.ts'
import type { Conflict } from '../merge/evidence.ts'
import type { WorkflowDeclaration } from '../merge/policy.ts'
import type { RuleDeclaration } from '../merge/rule-set.ts'
import { History } from './conflicts.test-kit.ts'
import type { Site } from './conflicts.test-kit.ts'
import type { Abilities, Errand, Outcome } from './errands.ts'

const able: Abilities = { targets: 2, resolvers: new Set(['model']), actions: new Set(['refund back']) }
const unable: Abilities = { targets: 0, resolvers: new Set(), actions: new Set() }
const minuteMs = 60_000

/** Two writers of one field who do not know of one another yet. */
function clash(
  beside: WorkflowDeclaration,
  rule: Partial<RuleDeclaration> = {},
  abilities: Abilities = able,
  writers: readonly [string, string] = ['agent-a', 'agent-b'],
): [History, Site, Site, Site] {
  const history = new History(3, abilities)
  const [a, b, c] = history.sites as [Site, Site, Site]
  a.declare([{ rule: 'field', ...rule }], 1, beside)
  history.pass(1)
  a.write('order-1', record, 'set', { fields: { status: 'paid' } }, writers[0])
  b.write('order-1', record, 'set', { fields: { status: 'cancelled' } }, writers[1])
  return [history, a, b, c]
}

function agreed(history: History): Conflict {
  const [first, ...others] = history.sites.filter(({ isDown }) => !isDown).map((site) => site.all())
  for (const other of others) expect(other).toEqual(first)
  expect(first).toHaveLength(1)
  return first?.[0] as Conflict
}

const kinds = (errands: readonly Errand[]): string[] =>
  errands.map((errand) => (errand.kind === 'notify' ? `notify ${errand.level}` : errand.kind))

test('[M22] a policy settles what it may, in one decision of one node, and nobody is told', () => {
  const [history] = clash({ policies: [{ name: 'newest', settle: 'keep-last' }] })
  expect(history.pass(30)).toEqual([])
  const settled = agreed(history)
  expect(settled).toMatchObject({ state: 'settled', stage: 'resolved' })
  expect(settled.decisions).toMatchObject([{ agent: 'policy:newest', choice: { kind: 'pick' } }])
  for (const site of history.sites) {
    expect(site.read('order-1', record)).toEqual({ status: 'cancelled' })
    expect(site.conflicts.errands.size).toBe(0)
  }
})

test('[M22] a policy leaves people the time that it says, and whoever takes the case upon himself has it', () => {
  const [history, a] = clash({ policies: [{ name: 'late', settle: 'keep-first', afterMs: minuteMs }] }, {}, unable)
  history.pass(40)
  expect(agreed(history).state).toBe('open')
  history.pass(30)
  expect(agreed(history)).toMatchObject({ state: 'settled', decisions: [{ agent: 'policy:late' }] })
  const [other, there] = clash({ policies: [{ name: 'late', settle: 'keep-first', afterMs: minuteMs }] }, {}, unable)
  other.pass(10)
  there.say('assign', { to: 'ada' })
  other.pass(100)
  expect(agreed(other)).toMatchObject({ state: 'open', stage: 'assigned' })
  expect(a.read('order-1', record)).toEqual({ status: 'paid' })
})

test('[M22] a rule that is for persons is settled by a policy that names it, and by no other', () => {
  const rule = { decides: 'person' } as const
  const [general] = clash({ policies: [{ name: 'any', settle: 'dismiss' }] }, rule, unable)
  general.pass(30)
  expect(agreed(general).state).toBe('open')
  const [named] = clash({ policies: [{ name: 'this', settle: 'dismiss', rules: ['field'] }] }, rule, unable)
  named.pass(30)
  expect(agreed(named).stage).toBe('dismissed')
})

test('[M22] what a person corrected beats what an agent writes beside it, also later', () => {
  const people = { people: ['ada', 'ops-*'], policies: [{ name: 'people first', settle: 'person' }] } as const
  const [history, a] = clash(people, {}, unable, ['ops-bob', 'agent-b'])
  history.pass(20)
  expect(agreed(history)).toMatchObject({ state: 'settled', decisions: [{ agent: 'policy:people first' }] })
  expect(a.read('order-1', record)).toEqual({ status: 'paid' })
  const [both] = clash(people, {}, unable, ['ops-bob', 'ada'])
  both.pass(20)
  expect(agreed(both).state).toBe('open')
  const [neither] = clash(people, {}, unable)
  neither.pass(20)
  expect(agreed(neither).state).toBe('open')
})

test('[M22] a person has decided: no other policy overrules that when a branch comes later', () => {
  const history = new History(3, unable)
  const [a, b, c] = history.sites as [Site, Site, Site]
  a.declare([{ rule: 'field' }], 1, { people: ['ada'], policies: [{ name: 'newest', settle: 'keep-last' }] })
  history.pass(1)
  for (const [site, status] of [
    [a, 'paid'],
    [b, 'cancelled'],
    [c, 'lost'],
  ] as const) {
    site.write('order-1', record, 'set', { fields: { status } })
  }
  a.takeAll(b)
  const [found] = a.all()
  a.settle(found?.id ?? '', { kind: 'write', value: 'refunded' }, undefined, 'ada')
  history.pass(20)
  expect(agreed(history)).toMatchObject({ state: 'open', decisions: [{ agent: 'ada' }] })
})

test('[M22] who may not decide what is for persons is refused, and may propose', () => {
  const [history, a] = clash({ people: ['ada'] }, { decides: 'person' }, unable)
  history.pass(5)
  const { id, revision } = agreed(history)
  const dismiss: Choice = { kind: 'dismiss' }
  expect(() => a.settle(id, dismiss)).toThrow(expect.objectContaining({ code: 'not_entitled' }))
  a.say('propose', { proposing: { choice: dismiss, revision, confidence: 1 } })
  a.settle(id, dismiss, undefined, 'ada')
  history.pass(1)
  expect(agreed(history).stage).toBe('dismissed')
})

const asking: WorkflowDeclaration = {
  policies: [{ name: 'sure', settle: 'accept', resolver: 'model', confidence: 0.8 }],
}

function answer(errand: Errand, confidence: number, choice: Choice = { kind: 'keep-both' }): Outcome {
  if (errand.kind !== 'ask') return { kind: 'done' }
  const proposing = { choice, revision: errand.revision, confidence }
  return { kind: 'proposed', proposing, agent: 'resolver:model', reason: 'read both' }
}

test('[M23] a resolver is asked once, and what it proposes is accepted where it is sure enough', () => {
  const [history] = clash(asking)
  expect(kinds(history.pass(60, (errand) => answer(errand, 0.9)))).toEqual(['ask'])
  expect(agreed(history)).toMatchObject({
    stage: 'resolved',
    proposals: [{ agent: 'resolver:model', confidence: 0.9, reason: 'read both' }],
    decisions: [{ agent: 'policy:sure', choice: { kind: 'keep-both' } }],
  })
})

test('[M23] an answer that is not sure enough stays a proposal, and people are told', () => {
  const [history] = clash(asking)
  expect(kinds(history.pass(60, (errand) => answer(errand, 0.5)))).toEqual(['ask', 'notify 0'])
  expect(agreed(history)).toMatchObject({ stage: 'proposed', state: 'open', notices: [{ level: 0, state: 'done' }] })
})

test('[M23] a resolver that fails is not asked again on this revision, and people are told', () => {
  const [history] = clash(asking)
  const failed = (errand: Errand): Outcome =>
    errand.kind === 'ask' ? { kind: 'failed', why: 'timed out' } : { kind: 'done' }
  expect(kinds(history.pass(60, failed))).toEqual(['ask', 'notify 0'])
})

test('[M23] where nobody can ask the resolver, people are told after a while', () => {
  const [history] = clash(asking, {}, { ...able, resolvers: new Set() })
  expect(history.pass(50)).toEqual([])
  expect(kinds(history.pass(30))).toEqual(['notify 0'])
})

test('[M24] each is told of once, by one node, and the next target when it is overdue', () => {
  const [history] = clash({ due: { medium: 10 * minuteMs } })
  expect(kinds(history.pass(60))).toEqual(['notify 0'])
  expect(agreed(history).notices).toMatchObject([{ level: 0, state: 'done' }])
  expect(kinds(history.pass(9 * 60 - 20))).toEqual([])
  expect(kinds(history.pass(40))).toEqual(['notify 1'])
  expect(kinds(history.pass(30 * 60))).toEqual([])
  expect(agreed(history)).toMatchObject({ overdue: true, notices: [{ level: 0 }, { level: 1 }] })
})

test('[M24] what is put off troubles nobody until then', () => {
  const [history, a] = clash({}, { severity: 'critical' })
  a.takeAll(history.sites[1] as Site)
  a.say('snooze', { until: history.nowMs + 30 * minuteMs })
  expect(history.pass(29 * 60)).toEqual([])
  expect(kinds(history.pass(2 * 60))).toEqual(['notify 0', 'notify 1'])
})

test('[M24] the next in turn takes over from a node that is gone, and from one that gave up', () => {
  const [history] = clash({})
  let taken: Site | undefined
  for (let second = 0; second < 20 && taken === undefined; second++) {
    history.exchange()
    for (const site of history.sites) {
      site.due()
      if (site.errands.length > 0) taken = site
      site.commit()
    }
    history.nowMs += 1_000
  }
  if (taken === undefined) throw new Error('nobody set out')
  history.exchange()
  taken.isDown = true
  expect(kinds(history.pass(20))).toEqual(['notify 0'])
  expect(agreed(history).notices).toMatchObject([{ level: 0, state: 'done' }])
  const [other] = clash({})
  let tries = 0
  const flaky = (): Outcome => (tries++ === 0 ? { kind: 'given-up' } : { kind: 'done' })
  expect(kinds(other.pass(30, flaky))).toEqual(['notify 0', 'notify 0'])
})

test('[M24] who crashed after setting out does it again: at least once', () => {
  const [history] = clash({})
  const seen: Errand[] = []
  for (let second = 0; second < 10; second++) {
    history.exchange()
    for (const site of history.sites) {
      site.due()
      seen.push(...site.errands.splice(0))
      site.commit()
    }
    history.nowMs += 1_000
  }
  expect(seen).toHaveLength(1)
  for (const site of history.sites) site.restart()
  expect(kinds(history.pass(20))).toEqual(['notify 0'])
  expect(agreed(history).notices).toMatchObject([{ level: 0, state: 'done' }])
})

const undo: Choice = { kind: 'compensate', action: 'refund back' }

test('[M25] an action that is to undo something runs once, under one key, and leaves its receipt', () => {
  const [history, a] = clash({})
  history.pass(5)
  a.settle(agreed(history).id, undo, 'both were refunded', 'ada')
  const done = history.pass(30, () => ({ kind: 'done', result: { receipt: 're_9' } }))
  expect(kinds(done)).toEqual(['run'])
  const key = done[0]?.kind === 'run' ? done[0].key : ''
  expect(agreed(history).compensations).toMatchObject([{ key, state: 'done', receipt: { receipt: 're_9' } }])
})

test('[M25] two who decide at once on the same action have it run once', () => {
  const [history, a, b] = clash({})
  history.pass(5)
  const { id } = agreed(history)
  a.settle(id, undo, undefined, 'ada')
  b.settle(id, undo, undefined, 'bob')
  expect(kinds(history.pass(30))).toEqual(['run'])
  expect(agreed(history)).toMatchObject({ state: 'settled', contradictory: false })
})

test('[M25] an action that fails says so, and people are told', () => {
  const [history, a] = clash({})
  history.pass(5)
  a.settle(agreed(history).id, undo)
  const failing = (errand: Errand): Outcome =>
    errand.kind === 'run' ? { kind: 'failed', why: 'no such order' } : { kind: 'done' }
  expect(kinds(history.pass(30, failing))).toEqual(['run', 'notify 0'])
  expect(agreed(history).compensations).toMatchObject([{ state: 'failed', failure: 'no such order' }])
})

test('[M22] policies are checked when they are declared, and bad ones in a cell settle nothing', () => {
  const [, a] = clash({})
  const bad: readonly unknown[] = [
    { policies: [{ name: 'x', settle: 'never' }] },
    { policies: [{ name: 'x', settle: 'accept' }] },
    { policies: [{ name: 'x', settle: 'compensate' }] },
    { policies: [{ name: 'x', settle: 'dismiss', rules: ['unknown'] }] },
    { policies: [{ name: 'x', settle: 'dismiss', confidence: 1 }] },
    { policies: [{ name: 'x', settle: 'dismiss', severities: ['dire'] }] },
    { policies: [{ name: 'x', settle: 'dismiss', other: 1 }] },
    {
      policies: [
        { name: 'x', settle: 'dismiss' },
        { name: 'x', settle: 'dismiss' },
      ],
    },
    { policies: 'all' },
    { due: { high: 0 } },
    { due: { dire: 1 } },
    { people: 'ada' },
  ]
  for (const beside of bad) {
    const declare = (): unknown => a.declare([{ rule: 'field' }], 2, beside as never)
    expect(declare, JSON.stringify(beside)).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
  }
})
