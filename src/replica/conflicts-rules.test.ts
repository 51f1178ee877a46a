/** Each rule over a partition, two histories and a heal: what is raised, with which evidence, how it is settled. */
import { describe, expect, test } from 'vitest'
import { claim } from '../crdt/types/claim.ts'
import { counter } from '../crdt/types/counter.ts'
import { log } from '../crdt/types/log.ts'
import { record } from '../crdt/types/record.ts'
import { register } from '../crdt/types/register.ts'
import { text } from '../crdt/types/text.ts'
import type { CrdtType } from '../crdt/type.ts'
import type { Choice } from '../merge/case.ts'
import type { Conflict } from '../merge/evidence.ts'
import { ruleKinds } from '../merge/rules/table.ts'
import { begin, remove, set } from './conflicts.test-kit.ts'
import type { Beginning, Work } from './conflicts.test-kit.ts'
import { faults } from './rows.test-kit.ts'

/** A partition, two histories, and the heal. */
interface Story extends Beginning {
  readonly tells: string
  readonly left: Work
  readonly right: Work
  /** Which branch is picked; without one both are kept. */
  readonly pick?: 'left' | 'right'
  /** What is read afterwards. */
  readonly read: readonly (readonly [string, CrdtType])[]
  /** Right sides that are no conflict with the left one. */
  readonly silent: readonly Work[]
}

const type =
  (key: string, at: number, what: string): Work =>
  (site) =>
    void site.write(key, text, 'insert', { at, text: what })
const retype =
  (key: string, at: number, count: number, what: string): Work =>
  (site) =>
    void site.transact(`agent-${site.node[0]}`, [
      [key, text, 'delete', { at, count }],
      [key, text, 'insert', { at, text: what }],
    ])

const stories: readonly Story[] = [
  {
    rule: { rule: 'field' },
    tells: 'two planners set the model of one agent',
    before: set('agent-7', { model: 'small', task: 't-1' }),
    left: set('agent-7', { model: 'large' }),
    right: set('agent-7', { model: 'cheap' }),
    pick: 'left',
    read: [['agent-7', record]],
    silent: [set('agent-7', { model: 'large' }), set('agent-7', { task: 't-2' }), set('agent-8', { model: 'cheap' })],
  },
  {
    rule: { rule: 'delete' },
    tells: 'a memory is cleaned up here and corrected there',
    before: set('memory-1', { text: 'old' }),
    left: remove('memory-1'),
    right: set('memory-1', { text: 'corrected' }),
    pick: 'right',
    read: [['memory-1', record]],
    silent: [remove('memory-1'), set('memory-2', { text: 'corrected' })],
  },
  {
    rule: { rule: 'claim' },
    tells: 'two agents take one task',
    left: (site) => void site.write('task-1', claim, 'acquire', { ttlMs: 60_000 }),
    right: (site) => void site.write('task-1', claim, 'acquire', { ttlMs: 60_000 }),
    pick: 'left',
    read: [['task-1', claim]],
    silent: [
      (site) => void site.write('task-2', claim, 'acquire', { ttlMs: 60_000 }),
      (site) => void site.write('task-1', claim, 'acquire', { ttlMs: 60_000, owner: 'agent-a' }),
    ],
  },
  {
    rule: { rule: 'exclusive', field: 'status', values: [['done', 'cancelled']] },
    tells: 'a task is done here and cancelled there',
    before: set('task-1', { status: 'doing' }),
    left: set('task-1', { status: 'done' }),
    right: set('task-1', { status: 'cancelled' }),
    pick: 'left',
    read: [['task-1', record]],
    silent: [set('task-1', { status: 'done' }), set('task-1', { status: 'doing again' })],
  },
  {
    rule: {
      rule: 'transition',
      field: 'status',
      steps: { open: ['closed', 'assigned'], assigned: ['closed'], closed: [] },
    },
    tells: 'a ticket is closed here and assigned there',
    before: set('ticket-1', { status: 'open' }),
    left: set('ticket-1', { status: 'closed' }),
    right: set('ticket-1', { status: 'assigned' }),
    pick: 'left',
    read: [['ticket-1', record]],
    silent: [set('ticket-1', { status: 'closed' }), set('ticket-1', { other: 'assigned' })],
  },
  {
    rule: { rule: 'effect', prefix: 'refund-', receipt: 'receipt' },
    tells: 'two agents refund one order',
    before: set('refund-order-1', { amount: 30 }),
    left: set('refund-order-1', { receipt: 're_1' }),
    right: set('refund-order-1', { receipt: 're_2' }),
    read: [['refund-order-1', record]],
    silent: [set('refund-order-1', { receipt: 're_1' }), set('refund-order-2', { receipt: 're_2' })],
  },
  {
    rule: { rule: 'unique', field: 'externalId' },
    tells: 'two records for one customer',
    left: set('customer-1', { externalId: 'cus_9' }),
    right: set('customer-2', { externalId: 'cus_9' }),
    read: [
      ['customer-1', record],
      ['customer-2', record],
    ],
    silent: [set('customer-1', { externalId: 'cus_9' }), set('customer-2', { externalId: 'cus_8' })],
  },
  {
    rule: { rule: 'bound', keys: ['stock'], min: 0 },
    tells: 'the last ones are sold twice',
    before: (site) => void site.write('stock', counter, 'incr', { by: 3 }),
    left: (site) => void site.write('stock', counter, 'incr', { by: -2 }),
    right: (site) => void site.write('stock', counter, 'incr', { by: -2 }),
    read: [['stock', counter]],
    silent: [
      (site) => void site.write('stock', counter, 'incr', { by: -1 }),
      (site) => void site.write('other', counter, 'incr', { by: -2 }),
    ],
  },
  {
    rule: { rule: 'reference', prefix: 'task-', field: 'plan', to: 'plan-' },
    tells: 'a plan is deleted while a task is put under it',
    before: set('plan-1', { goal: 'ship' }),
    left: remove('plan-1'),
    right: set('task-1', { plan: '1' }),
    read: [
      ['plan-1', record],
      ['task-1', record],
    ],
    silent: [set('task-1', { plan: '2' }), set('note-1', { plan: '1' })],
  },
  {
    rule: { rule: 'stale', field: 'basedOn' },
    tells: 'a mail is sent on a plan that was stopped',
    before: set('plan-1', { state: 'go' }),
    left: set('plan-1', { state: 'stop' }),
    right: set('mail-1', { sent: true, basedOn: { 'plan-1': 'v1' } }),
    read: [
      ['plan-1', record],
      ['mail-1', record],
    ],
    silent: [set('mail-1', { sent: true, basedOn: { 'plan-2': 'v1' } }), set('mail-1', { sent: true })],
  },
  {
    rule: { rule: 'types' },
    tells: 'one key is a note here and a log there',
    left: (site) => void site.write('note', register, 'set', { value: 'text' }),
    right: (site) => void site.write('note', log, 'append', { values: ['text'] }),
    read: [
      ['note', register],
      ['note', log],
    ],
    silent: [(site) => void site.write('note', register, 'set', { value: 'other' })],
  },
  {
    rule: {
      rule: 'schema',
      prefix: 'payout-',
      schema: { anyOf: [{ not: { properties: { status: { const: 'paid' } } } }, { required: ['receipt'] }] },
    },
    tells: 'a payout is marked as paid here, and its receipt is withdrawn there',
    before: set('payout-1', { status: 'open', receipt: 're_1' }),
    left: set('payout-1', { status: 'paid' }),
    right: (site) => void site.write('payout-1', record, 'unset', { paths: ['receipt'] }),
    read: [['payout-1', record]],
    silent: [set('payout-1', { receipt: 're_2' }), set('payout-1', { amount: 1 }), set('payout-2', { status: 'paid' })],
  },
  {
    rule: {
      rule: 'custom',
      name: 'one at a time',
      function: 'both-doing',
      functionVersion: 1,
      keys: ['job-1', 'job-2'],
    },
    tells: 'two jobs that must not run at once are both begun',
    left: set('job-1', { status: 'doing' }),
    right: set('job-2', { status: 'doing', by: 'me' }),
    read: [
      ['job-1', record],
      ['job-2', record],
    ],
    silent: [set('job-2', { status: 'done' }), set('job-3', { status: 'doing' })],
  },
  {
    rule: { rule: 'text' },
    tells: 'a sentence is rewritten here and corrected there',
    before: type('note', 0, 'We meet on Monday at noon.'),
    left: retype('note', 11, 6, 'Friday'),
    right: type('note', 14, '-'),
    read: [['note', text]],
    silent: [type('note', 26, ' Bring cake.'), retype('note', 0, 2, 'They'), type('other', 0, 'Monday')],
  },
]

function brief(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => {
    if (typeof each !== 'object' || each === null || !('origin' in each) || !('seq' in each)) return each
    return `${String(each.origin).slice(0, 1)}${String(each.seq)}`
  })
}

function told(conflict: Conflict): string[] {
  const lines = [
    `${conflict.severity} ${conflict.kind} ${conflict.id.slice(0, 8)} on ${brief(conflict.subject)}: ${conflict.says}`,
    `  ${conflict.state}; until then ${conflict.safe}; ${conflict.decides} decides; duplicate risk ${conflict.duplicateRisk}`,
  ]
  for (const { dot, agent, did, supersededBy } of conflict.branches) {
    for (const { key, path, act, value, over } of did) {
      const later = supersededBy === undefined ? '' : `, later ${brief(supersededBy)}`
      lines.push(`  ${brief(dot)} ${agent}: ${act} ${key} ${brief(path)} ${brief(value)} over ${brief(over)}${later}`)
    }
  }
  for (const { key, path, before } of conflict.differences) {
    for (const { agent, value } of before) lines.push(`  before: ${key} ${brief(path)} was ${brief(value)} by ${agent}`)
  }
  lines.push(`  advice: ${conflict.advice}`)
  for (const { agent, choice, reason } of conflict.decisions) {
    lines.push(`  decided by ${agent}: ${brief(choice)}${reason === undefined ? '' : ` since ${reason}`}`)
  }
  return lines
}

function play(story: Story): string {
  const [history, left, right, third] = begin(story)
  const lines = [`# ${story.tells}`, '']
  story.left(left)
  story.right(right)
  lines.push(`before the heal: ${left.ids().length} and ${right.ids().length}`)
  history.heal()
  const ids = history.sites.map((site) => site.ids())
  expect(ids[0]).toHaveLength(1)
  expect(ids[1]).toEqual(ids[0])
  expect(ids[2]).toEqual(ids[0])
  const all = history.sites.map((site) => site.all())
  expect(all[1]).toEqual(all[0])
  expect(all[2]).toEqual(all[0])
  const [conflict] = third.all() as [Conflict]
  lines.push(...told(conflict))
  const { branches } = conflict
  const picked = branches.find(({ agent }) => agent === (story.pick === 'left' ? 'agent-a' : 'agent-b'))
  const choice: Choice =
    story.pick === undefined || picked === undefined ? { kind: 'keep-both' } : { kind: 'pick', branch: picked.dot }
  third.settle(conflict.id, choice, 'looked at it', 'person-1')
  history.heal()
  lines.push('settled:')
  lines.push(...told((left.all() as [Conflict])[0]).slice(1, 2), ...told((left.all() as [Conflict])[0]).slice(-1))
  for (const site of history.sites) {
    expect(site.open()).toEqual([])
    expect(site.all()[0]?.branches).toHaveLength(branches.length)
    expect(faults(site.rows, site.space)).toEqual([])
  }
  for (const [key, type] of story.read) lines.push(`${key} reads ${JSON.stringify(left.read(key, type))}`)
  const roots = new Set(history.sites.map(({ space }) => [...space.tree.root].join(' ')))
  expect(roots.size).toBe(1)
  // Raised once: one node wrote it, and everybody heard of it once.
  for (const site of history.sites) expect(site.events.map(({ change }) => change)).toEqual(['opened', 'settled'])
  expect(history.sites.flatMap(({ events }) => events).filter(({ local }) => local)).toHaveLength(2)
  return lines.join('\n')
}

describe('rules', () => {
  test('[M2] every rule has a story, and it reads as it should', async () => {
    expect(stories.map(({ rule }) => rule.rule).sort()).toEqual(ruleKinds.map(({ name }) => name).sort())
    await expect(`${stories.map(play).join('\n\n')}\n`).toMatchFileSnapshot('conflicts.stories.txt')
  })

  test.each(stories.map((story) => [story.rule.rule, story] as const))(
    '[M3] %s is silent where there is no conflict',
    (_, story) => {
      for (const silent of story.silent) {
        const [history, left, right] = begin(story)
        story.left(left)
        silent(right)
        history.heal()
        expect(history.sites.map((site) => site.ids())).toEqual([[], [], []])
      }
      const [history, left, right] = begin(story)
      story.left(left)
      history.heal()
      story.right(right)
      history.heal()
      expect(history.sites.map((site) => site.ids())).toEqual([[], [], []])
    },
  )
})
