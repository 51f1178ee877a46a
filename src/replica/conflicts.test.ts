import { describe, expect, test } from 'vitest'
import { claim } from '../crdt/types/claim.ts'
import { counter } from '../crdt/types/counter.ts'
import { record } from '../crdt/types/record.ts'
import { limits } from '../base/limits.ts'
import { encodeValue } from '../base/msgpack.ts'
import type { Dot } from '../crdt/dot.ts'
import { caseId } from '../merge/case.ts'
import type { Case, Choice } from '../merge/case.ts'
import type { Conflict } from '../merge/evidence.ts'
import { declareRules, rulesType } from '../merge/rule-set.ts'
import type { RuleDeclaration, RuleSet } from '../merge/rule-set.ts'
import { rulesKey } from '../merge/system.ts'
import { findingRows } from './conflicts.ts'
import { History, begin, remove, set } from './conflicts.test-kit.ts'
import type { Beginning, Site, Work } from './conflicts.test-kit.ts'

const fieldRule: Beginning = { rule: { rule: 'field' } }

/** Two values in one field, and everybody knows. */
function clash(): [History, Site, Site, Site, string] {
  const [history, left, right, third] = begin(fieldRule)
  set('k', { a: 1 })(left)
  set('k', { a: 2 })(right)
  history.heal()
  return [history, left, right, third, left.ids()[0] as string]
}

describe('findings', () => {
  test('[M4] a finder that crashes has what it found in its rows, and writes it after the start', () => {
    const [history, left, right] = begin(fieldRule)
    set('k', { a: 1 })(left)
    set('k', { a: 2 })(right)
    left.takeAll(right)
    expect(left.conflicts.pending(left.space)).toHaveLength(1)
    const found = left.all()
    left.restart()
    expect(left.conflicts.pending(left.space)).toHaveLength(1)
    expect(left.all()).toEqual(found)
    history.heal()
    expect(right.all()).toHaveLength(1)
    left.commit()
    expect(left.rows.list(findingRows)).toEqual([])
  })

  test('[M4] the other finders write it where the first never does', () => {
    const [history, left, right, third] = begin(fieldRule)
    set('k', { a: 1 })(left)
    set('k', { a: 2 })(right)
    for (let round = 0; round < 3; round++)
      for (const site of history.sites) for (const other of history.sites) if (other !== site) site.takeAll(other)
    const turns = history.sites.map((site) => site.conflicts.wakeAt)
    expect(new Set(turns).size).toBe(3)
    // Who comes first is gone; the next in turn writes it, and not before its turn.
    const [gone, next, last] = history.sites.toSorted((a, b) => a.conflicts.wakeAt - b.conflicts.wakeAt) as [
      Site,
      Site,
      Site,
    ]
    next.due()
    expect(next.conflicts.pending(next.space)).toHaveLength(1)
    history.nowMs = next.conflicts.wakeAt
    next.due()
    expect(next.conflicts.pending(next.space)).toEqual([])
    last.takeAll(next)
    expect(last.conflicts.pending(last.space)).toEqual([])
    history.nowMs += 60_000
    last.due()
    gone.due()
    history.heal()
    expect(third.all()).toHaveLength(1)
    expect(new Set(history.sites.map(({ space }) => [...space.tree.root].join(' '))).size).toBe(1)
    expect(left.all()).toEqual(right.all())
  })

  test('[M4] a case keeps its evidence when the log is gone', () => {
    const [history, left, , , id] = clash()
    const before = left.all()
    for (const site of history.sites) {
      for (let i = 0; i < 600; i++) site.write('filler', counter, 'incr', { by: 1 })
      site.commit()
      while (site.replica.prune(history.nowMs + 1e12, { keepMs: 0, keepBytes: 0 }).more) site.commit()
      expect([...site.space.logs.values()].some(({ floor }) => floor > 1)).toBe(true)
      site.restart()
    }
    expect(left.all()).toEqual(before)
    left.settle(id, { kind: 'write', value: 3 })
    expect(left.read('k', record)).toEqual({ a: 3 })
  })

  test('[M8] a storm comes in pieces', () => {
    const [history, left, right] = begin(fieldRule)
    const many = 2 * limits.casesAtOnce + 10
    for (let at = 0; at < many; at++) {
      set(`k-${at}`, { a: 1 })(left)
      set(`k-${at}`, { a: 2 })(right)
    }
    history.heal()
    expect(left.ids()).toHaveLength(many)
    expect(right.ids()).toEqual(left.ids())
    const cases = history.written.filter(({ delta }) => delta.reason === 'conflict')
    expect(cases.length).toBeGreaterThan(2)
    for (const { delta } of cases) expect(delta.writes.length).toBeLessThanOrEqual(limits.deltaWrites)
  })

  test('[M8] a field that was written again and again on both sides is one case, of so many branches', () => {
    const [history, left, right] = begin(fieldRule)
    for (let at = 0; at < 200; at++) {
      set('k', { a: `left ${at}` })(left)
      set('k', { a: `right ${at}` })(right)
    }
    history.heal()
    const [conflict, ...others] = right.all() as [Conflict, ...Conflict[]]
    expect(others).toEqual([])
    expect(conflict.more).toBe(true)
    expect(conflict.branches.length).toBeGreaterThanOrEqual(limits.caseBranches)
    expect(conflict.branches.length).toBeLessThanOrEqual(3 * limits.caseBranches)
    // What is decided makes room: one that comes later is not one too many.
    left.settle(conflict.id, { kind: 'write', value: 'settled' })
    set('k', { a: 'late' })(right)
    history.heal()
    expect(left.open()).toMatchObject([{ id: conflict.id, more: false }])
  })

  test('[M4] a value that is too long is named, not kept', () => {
    const [history, left, right] = begin(fieldRule)
    set('k', { a: 'x'.repeat(10_000) })(left)
    set('k', { a: 'y' })(right)
    history.heal()
    const [conflict] = right.all() as [Conflict]
    const long = conflict.branches.find(({ agent }) => agent === 'agent-a') as Conflict['branches'][number]
    expect(long.did[0]).toMatchObject({ value: undefined, cutBytes: 10_003 })
    right.settle(conflict.id, { kind: 'pick', branch: long.dot })
    expect(right.read('k', record)).toEqual({ a: 'x'.repeat(10_000) })
  })
})

describe('below the log', () => {
  const rules: readonly RuleDeclaration[] = [{ rule: 'field' }, { rule: 'delete' }, { rule: 'claim' }]

  /** Both know the entry; then they are apart, and no log reaches back to what the other did. */
  function apart(): [History, Site, Site] {
    const history = new History(2)
    const [left, right] = history.sites as [Site, Site]
    left.declare(rules)
    set('k', { a: 0, b: 0 })(left)
    set('other', { a: 0 })(left)
    history.heal()
    return [history, left, right]
  }

  /** One takes the other's snapshot; the other gets what that had as deltas, or as a snapshot too. */
  function meet(history: History, left: Site, right: Site): Conflict[] {
    left.merge(right)
    right.merge(left)
    left.restart()
    history.heal()
    expect(left.all()).toEqual(right.all())
    expect(new Set(history.sites.map(({ space }) => [...space.tree.root].join(' '))).size).toBe(1)
    return left.all()
  }

  test('[M11] values that clash are found as ever, under the same id', () => {
    const [history, left, right] = apart()
    set('k', { a: 1 })(left)
    set('k', { a: 2 })(right)
    set('other', { a: 7 })(right)
    for (const site of [left, right]) site.write('task', claim, 'acquire', { ttlMs: 9 })
    const found = meet(history, left, right)
    expect(found.map(({ kind, subject }) => `${kind} ${JSON.stringify(subject)}`).sort()).toEqual([
      'claim ["task"]',
      'field ["k",2,["a"]]',
    ])
    const [again, one, two] = apart()
    set('k', { a: 1 })(one)
    set('k', { a: 2 })(two)
    again.heal()
    expect(found.map(({ id }) => id)).toContain(one.ids()[0])
  })

  test('[M11] a removal here is in the own log, and is judged', () => {
    for (const gone of [remove('k'), (site: Site) => void site.write('k', record, 'unset', { paths: ['a'] })]) {
      const [history, left, right] = apart()
      gone(left)
      set('k', { a: 2 })(right)
      expect(meet(history, left, right)).toMatchObject([{ kind: 'delete' }])
      const [again, one, two] = apart()
      gone(one)
      set('k', { a: 2 })(two)
      again.heal()
      expect(one.ids()).toEqual(left.ids())
    }
  })

  test('[M11] a removal there that may have crossed a write here is said, and one that did not is not', () => {
    for (const gone of [remove('k'), (site: Site) => void site.write('k', record, 'unset', { paths: ['a'] })]) {
      const [history, left, right] = apart()
      set('k', { a: 2 })(left)
      gone(right)
      const found = meet(history, left, right)
      expect(found).toMatchObject([{ kind: 'below-log', subject: ['k'], state: 'open' }])
      left.settle((found[0] as Conflict).id, { kind: 'dismiss' })
      history.heal()
      expect(right.open()).toEqual([])
    }
    const silent: Work[] = [
      remove('other'),
      set('k', { b: 5 }),
      set('other', { a: 1 }),
      set('new', { a: 1 }),
      (site) => void site.write('k', record, 'unset', { paths: ['b'] }),
      () => undefined,
    ]
    for (const work of silent) {
      const [again, one, two] = apart()
      set('k', { a: 2 })(one)
      work(two)
      expect(meet(again, one, two)).toEqual([])
    }
  })
})

describe('decisions', () => {
  test('[M5] are made on a revision, once', () => {
    const [history, left, right, , id] = clash()
    const resolve = (site: Site, choice: Choice, revision: string): string =>
      site.conflicts.resolve(site.space, id, { choice, revision, agent: 'p', reason: undefined }, ++history.nowMs)
        .result
    const { revision } = left.all()[0] as Conflict
    expect(() => resolve(left, { kind: 'dismiss' }, 'another')).toThrow(
      expect.objectContaining({ code: 'conflict_changed' }),
    )
    expect(() =>
      left.conflicts.resolve(
        left.space,
        'x',
        { choice: { kind: 'dismiss' }, revision, agent: 'p', reason: undefined },
        0,
      ),
    ).toThrow(expect.objectContaining({ code: 'unknown_conflict' }))
    expect(resolve(left, { kind: 'write', value: 9 }, revision)).toBe('settled')
    const vector = new Map(left.space.vector)
    expect(resolve(left, { kind: 'write', value: 9 }, revision)).toBe('known')
    expect(left.space.vector).toEqual(vector)
    expect(() => resolve(left, { kind: 'dismiss' }, revision)).toThrow(
      expect.objectContaining({ code: 'conflict_settled' }),
    )
    history.heal()
    expect(right.read('k', record)).toEqual({ a: 9 })
    expect(right.siblings('k', record, '\x91\xa1a')).toBe(1)
    expect(right.open()).toEqual([])
  })

  test('[M5] that make no sense are refused, and change nothing', () => {
    const [, left, , third, id] = clash()
    const own = third.space.contextDigest()
    const wrong: unknown[] = [
      { kind: 'win' },
      { kind: 'pick' },
      { kind: 'write' },
      { kind: 'compensate' },
      { kind: 'dismiss', value: 1 },
      { kind: 'write', value: { nested: 1 } },
      { kind: 'pick', branch: { origin: left.replica.origin, seq: 99 } },
    ]
    for (const choice of wrong) {
      expect(() => third.settle(id, choice as Choice), JSON.stringify(choice)).toThrow(
        expect.objectContaining({ code: 'invalid_argument' }),
      )
    }
    expect(third.space.contextDigest()).toEqual(own)
  })

  test('[M5] picking a holder gives him a fence that nobody had', () => {
    const [history, left, right] = begin({ rule: { rule: 'claim' } })
    for (const site of [left, right]) site.write('task', claim, 'acquire', { ttlMs: 60_000 })
    history.heal()
    const [conflict] = right.all() as [Conflict]
    const loser = conflict.branches.find(({ agent }) => agent === 'agent-a') as Conflict['branches'][number]
    right.settle(conflict.id, { kind: 'pick', branch: loser.dot })
    history.heal()
    for (const site of history.sites) expect(site.read('task', claim)).toMatchObject({ holder: 'agent-a', fence: 2 })
  })

  test('[M5] supersede the branches and no other value', () => {
    const exclusive = { rule: 'exclusive', field: 'status', values: [['done', 'cancelled']] }
    const [history, left, right, third] = begin({ rule: exclusive })
    set('k', { status: 'done' })(left)
    set('k', { status: 'cancelled' })(right)
    set('k', { status: 'paused' })(third)
    history.heal()
    const [conflict] = third.all() as [Conflict]
    expect(conflict.branches).toHaveLength(2)
    third.settle(conflict.id, { kind: 'write', value: 'done' })
    history.heal()
    for (const site of history.sites) expect(site.siblings('k', record, '\x91\xa6status')).toBe(2)
  })

  test('[M4] written by two finders, a case is told of once', () => {
    const [history, left, right, third] = begin(fieldRule)
    set('k', { a: 1 })(left)
    set('k', { a: 2 })(right)
    left.takeAll(right)
    right.takeAll(left)
    history.nowMs += 60_000
    left.due()
    right.due()
    expect(history.written.filter(({ delta }) => delta.reason === 'conflict')).toHaveLength(2)
    history.heal()
    for (const site of history.sites) expect(site.events.map(({ change }) => change)).toEqual(['opened'])
    expect(third.all()).toEqual(left.all())
  })

  test('[M5] picking a deletion leaves what was written elsewhere since', () => {
    const [history, left, right, third] = begin({ rule: { rule: 'delete' }, before: set('k', { a: 1 }) })
    left.remove('k')
    set('k', { a: 2 })(right)
    history.heal()
    const [conflict] = third.all() as [Conflict]
    const gone = conflict.branches.find(({ agent }) => agent === 'agent-a') as Conflict['branches'][number]
    set('k', { b: 3 })(left)
    third.settle(conflict.id, { kind: 'pick', branch: gone.dot })
    history.heal()
    for (const site of history.sites) expect(site.read('k', record)).toEqual({ b: 3 })
  })

  test('[M6] a branch that comes later opens the case again, and two who knew of it make another', () => {
    const [history, left, right, third] = begin(fieldRule)
    set('k', { a: 1 })(left)
    set('k', { a: 2 })(right)
    set('k', { a: 3 })(third)
    left.takeAll(right)
    const [id] = left.ids() as [string]
    left.settle(id, { kind: 'write', value: 4 })
    expect(left.open()).toEqual([])
    history.heal()
    const [again, ...others] = right.open() as [Conflict, ...Conflict[]]
    expect(others).toEqual([])
    expect(again.id).toBe(id)
    expect(again.branches).toHaveLength(4)
    right.settle(id, { kind: 'write', value: 5 })
    history.heal()
    expect(third.open()).toEqual([])
    set('k', { a: 6 })(left)
    set('k', { a: 7 })(right)
    history.heal()
    const [anew] = third.open() as [Conflict]
    expect(anew.id).not.toBe(id)
    expect(anew).toMatchObject({ repeats: 2 })
    // Named by the last decision that both had seen, and by that alone.
    const [, last] = (right.conflicts.case(right.space, id) as Case).decisions
    expect(anew.id).toBe(caseId('field', anew.subject, [last as Dot]))
    expect(history.sites.map((site) => site.ids().length)).toEqual([2, 2, 2])
  })

  test('[M6] what comes again and again says so', () => {
    const [history, left, right, third] = begin(fieldRule)
    for (let round = 0; round <= limits.repeatedConflicts; round++) {
      set('k', { a: `left ${round}` })(left)
      set('k', { a: `right ${round}` })(right)
      history.heal()
      const [conflict] = third.open() as [Conflict]
      expect(conflict).toMatchObject({ repeats: round, isRepeated: round >= limits.repeatedConflicts })
      if (conflict.isRepeated) expect(conflict.advice).toContain('again and again')
      third.settle(conflict.id, { kind: 'keep-both' })
      history.heal()
    }
    expect(left.ids()).toHaveLength(limits.repeatedConflicts + 1)
  })

  test('[M8] one delta that touches a great deal is compared within a bound, and what was left out is counted', () => {
    const [history, left, right] = begin(fieldRule)
    for (let at = 0; at < 120; at++)
      set('k', Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`f${i}`, at])))(left)
    set('k', Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`f${i}`, 'x'])))(right)
    left.takeAll(right)
    expect(left.conflicts.pending(left.space).length).toBeGreaterThan(100)
    expect(left.conflicts.stats(left.space).missed).toBeGreaterThan(0)
    history.heal()
    expect(right.all().length).toBeGreaterThan(100)
  })

  test('[M6] decisions that cross and differ open it again; the same one made twice does not', () => {
    const [history, left, right, third, id] = clash()
    left.settle(id, { kind: 'keep-both' })
    right.settle(id, { kind: 'dismiss' })
    history.heal()
    expect(third.open()).toMatchObject([{ id, contradictory: true }])
    third.settle(id, { kind: 'write', value: 3 })
    history.heal()
    for (const site of history.sites) expect(site.open()).toEqual([])
    const [other, one, two, , same] = clash()
    one.settle(same, { kind: 'write', value: 3 })
    two.settle(same, { kind: 'write', value: 3 })
    other.heal()
    expect(one.open()).toEqual([])
  })

  test('[M6] decisions that cross and each miss a branch leave it open, though they agree', () => {
    const [history, left, right, third] = begin(fieldRule)
    set('k', { a: 1 })(left)
    set('k', { a: 2 })(third)
    set('k', { a: 3 })(right)
    left.takeFrom(third, third.replica.origin, Infinity)
    const [id] = left.ids() as [string]
    left.settle(id, { kind: 'keep-both' })
    right.takeFrom(third, third.replica.origin, Infinity)
    right.settle(id, { kind: 'keep-both' })
    history.heal()
    expect(third.open()).toMatchObject([{ id, contradictory: false }])
    third.settle(id, { kind: 'keep-both' })
    history.heal()
    for (const site of history.sites) expect(site.open()).toEqual([])
  })

  test('[M6] what a late finder finds, and whoever decided knew, does not open a case again', () => {
    const [history, left, right, third] = begin(fieldRule)
    set('k', { a: 1 })(third)
    set('k', { a: 9 })(right)
    // Whoever decides has no log any more of the first write, and does not name it; the other finds it.
    left.takeAll(third)
    left.commit()
    left.replica.prune(history.nowMs + 1e12, { keepMs: 0, keepBytes: 0 })
    left.commit()
    set('k', { a: 2 })(third)
    left.takeAll(third)
    left.takeFrom(right, right.replica.origin, Infinity)
    const [id] = left.ids() as [string]
    expect((left.all() as [Conflict])[0].branches).toHaveLength(2)
    left.settle(id, { kind: 'keep-both' })
    right.takeAll(third)
    expect((right.all() as [Conflict])[0].branches).toHaveLength(3)
    history.heal()
    for (const site of history.sites) expect(site.open()).toEqual([])
  })

  test('[M6] whoever decided is not taken to have known what his log no longer tells', () => {
    const [, left, right, third] = begin(fieldRule)
    set('k', { a: 1 })(left)
    set('k', { a: 2 })(right)
    set('k', { a: 3 })(third)
    right.takeFrom(left, left.replica.origin, Infinity)
    right.settle(right.ids()[0] as string, { kind: 'keep-both' })
    // He hears of the third only now, and what he had seen when he decided is told by his log alone.
    right.takeFrom(third, third.replica.origin, Infinity)
    set('k', { b: 1 })(right)
    left.takeFrom(third, third.replica.origin, Infinity)
    left.merge(right)
    expect(left.open()).toHaveLength(1)
  })

  test('[M6] a case that is settled stays so, over restarts and what comes late', () => {
    const [history, left, right, third] = begin(fieldRule)
    set('k', { a: 1 })(left)
    set('k', { a: 2 })(right)
    left.takeAll(right)
    right.takeAll(left)
    // Both have found it, one has settled it before anybody wrote it down.
    left.settle(left.ids()[0] as string, { kind: 'keep-both' })
    right.restart()
    right.takeAll(left)
    history.nowMs += 60_000
    right.due()
    history.heal()
    for (const site of history.sites) expect(site.open()).toEqual([])
    third.restart()
    history.heal()
    expect(third.open()).toEqual([])
    expect(history.written.filter(({ delta }) => delta.reason === 'conflict')).toEqual([])
  })
})

describe('declaring rules', () => {
  test('[M7] what is wrong is refused, and says where', () => {
    const wrong: unknown[] = [
      'field',
      [{}],
      [{ rule: 'unheard-of' }],
      [{ rule: 'field', colour: 'red' }],
      [{ rule: 'field', fields: [] }],
      [{ rule: 'field', severity: 'dire' }],
      [{ rule: 'field' }, { rule: 'field' }],
      [{ rule: 'exclusive', field: 'status' }],
      [{ rule: 'exclusive', field: 'status', values: [['done']] }],
      [{ rule: 'transition', field: 'status', steps: { open: 'closed' } }],
      [{ rule: 'effect' }],
      [{ rule: 'bound', keys: ['a'] }],
      [{ rule: 'bound', keys: ['a'], max: '3' }],
      [{ rule: 'unique' }],
      [{ rule: 'reference', field: 'plan' }],
      [{ rule: 'field', name: 'x'.repeat(1000) }],
      [{ rule: 'field', prefix: 7 }],
    ]
    for (const rules of wrong) {
      expect(() => declareRules(rules), JSON.stringify(rules)).toThrow(
        expect.objectContaining({ code: 'invalid_argument' }),
      )
    }
    expect(() => declareRules([{ rule: 'field' }], 0)).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
    const many = Array.from({ length: limits.rules + 1 }, (_, at) => ({ rule: 'field', name: String(at) }))
    expect(() => declareRules(many)).toThrow(expect.objectContaining({ code: 'too_large' }))
  })

  test('[M7] the highest version holds, and declaring what is there costs nothing', () => {
    const history = new History(2)
    const [left, right] = history.sites as [Site, Site]
    expect(left.declare([{ rule: 'field' }], 1)).toBe('declared')
    expect(left.declare([{ rule: 'field' }], 1)).toBe('known')
    expect(right.declare([{ rule: 'delete' }], 2)).toBe('declared')
    history.heal()
    for (const site of history.sites)
      expect(site.conflicts.rules(site.space).rules.map(({ name }) => name)).toEqual(['delete'])
    expect(left.declare([{ rule: 'field' }], 1)).toBe('older')
    expect(() => left.declare([{ rule: 'claim' }], 2)).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
    left.restart()
    expect(left.conflicts.rules(left.space).version).toBe(2)
  })

  test('[M7] a rule that a newer version wrote is not evaluated, and said so', () => {
    const [history, left, right, third] = begin(fieldRule)
    const rules = [
      { rule: 'field', name: 'field', judged: 1 },
      { rule: 'delete', name: 'delete', judged: 9 },
      { rule: 'telepathy', name: 'telepathy', judged: 1 },
      { rule: 'unique', name: 'unique', judged: 1 },
      7,
    ]
    const bytes = encodeValue({ version: 9, rules })
    third.transact('newer', [[rulesKey, rulesType, 'declare', { set: { bytes } as RuleSet }]])
    history.heal()
    expect(left.conflicts.stats(left.space).notEvaluated).toEqual(['delete', 'telepathy', 'unique'])
    set('k', { a: 1 })(left)
    set('k', { a: 2 })(right)
    history.heal()
    expect(left.all()).toHaveLength(1)
  })

  test('[M7] cells that hold nonsense are no rules, and stop nothing', () => {
    const [history, left, , third] = begin(fieldRule)
    for (const value of [1, 'rules', { version: 'x' }, { version: 1e9, rules: 'none' }]) {
      third.transact('faulty', [[rulesKey, rulesType, 'declare', { set: { bytes: encodeValue(value) } as RuleSet }]])
      history.heal()
      expect(left.conflicts.rules(left.space).rules).toEqual([])
    }
  })
})
