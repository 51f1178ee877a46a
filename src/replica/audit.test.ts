/** The audit of a node: what it tells of a conflict, and that nobody can change it unseen. */
import { expect, test } from 'vitest'
import { encodeValue } from '../base/msgpack.ts'
import { record } from '../crdt/types/record.ts'
import type { Choice } from '../merge/case.ts'
import type { Conflict } from '../merge/evidence.ts'
import { Audit, AuditCheck, auditHead, auditLine, auditRows } from './audit.ts'
import type { AuditLine, AuditReport } from './audit.ts'
import { History } from './conflicts.test-kit.ts'
import type { Site } from './conflicts.test-kit.ts'
import { localKey } from './row-keys.ts'
import type { MapRows } from './rows.test-kit.ts'

function lines(site: Site): AuditLine[] {
  site.commit()
  return site.rows.list(auditRows).map(([, row]) => auditLine(row) as AuditLine)
}

function checked(rows: MapRows): AuditReport {
  const check = new AuditCheck(auditHead(rows))
  for (const [key, row] of rows.list(auditRows)) check.take(key, row)
  return check.end()
}

/** A conflict from its finding to its decision, and another that was taken note of only. */
function story(): [History, Site, Site] {
  const history = new History(2, { targets: 1, resolvers: new Set(), actions: new Set() })
  const [a, b] = history.sites as [Site, Site]
  a.declare([{ rule: 'field' }])
  history.pass(1)
  a.write('order-1', record, 'set', { fields: { status: 'paid' } })
  b.write('order-1', record, 'set', { fields: { status: 'cancelled' } })
  history.pass(20)
  a.say('acknowledge', {}, 'ada', 'looking')
  a.say('assign', { to: 'ada' }, 'boss')
  const [{ id, revision }] = a.all() as [Conflict]
  const choice: Choice = { kind: 'write', value: 'refunded' }
  b.say('propose', { proposing: { choice, revision, confidence: 0.5 } }, 'model')
  history.pass(1)
  a.settle(id, choice, 'as the ledger says', 'ada')
  history.pass(1)
  return [history, a, b]
}

test('[M27] a conflict is told from its finding to its decision, by whom and why, on each node', () => {
  const [, a, b] = story()
  for (const site of [a, b]) {
    const told = lines(site)
    expect(told.map(({ what, agent }) => `${what} by ${agent}`)).toEqual([
      'found by skein',
      'opened by skein',
      'notified by skein',
      ...(site === a ? ['acknowledged by ada', 'assigned by boss', 'proposed by model'] : []),
      ...(site === b ? ['proposed by model', 'acknowledged by ada', 'assigned by boss'] : []),
      'settled by ada',
    ])
    expect(told.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(told.at(-1)).toMatchObject({ reason: 'as the ledger says', details: { kind: 'write', value: 'refunded' } })
    expect(checked(site.rows)).toMatchObject({ isIntact: true, lines: 7, first: 1, next: 8, broken: undefined })
  }
})

test('[M27] the chain goes on after a restart', () => {
  const [history, a] = story()
  a.restart()
  a.write('order-2', record, 'set', { fields: { status: 'paid' } })
  history.sites[1]?.write('order-2', record, 'set', { fields: { status: 'cancelled' } })
  history.pass(5)
  expect(lines(a).length).toBeGreaterThan(8)
  expect(checked(a.rows)).toMatchObject({ isIntact: true, broken: undefined })
})

test('[M27] a line that is changed, left out, put in or cut off is found', () => {
  const [, a] = story()
  a.commit()
  const rows = a.rows.list(auditRows)
  const spoiled = (spoil: (list: Map<string, Uint8Array>, keys: readonly Uint8Array[]) => void): AuditReport => {
    const list = new Map(rows.map(([key, row]) => [Buffer.from(key).toString('hex'), row]))
    spoil(
      list,
      rows.map(([key]) => key),
    )
    const check = new AuditCheck(auditHead(a.rows))
    for (const [key, row] of [...list].sort(([one], [other]) => (one < other ? -1 : 1))) {
      check.take(Buffer.from(key, 'hex'), row)
    }
    return check.end()
  }
  const name = (key: Uint8Array | undefined): string => Buffer.from(key ?? []).toString('hex')
  const line = (at: number): AuditLine => auditLine(rows[at]?.[1] as Uint8Array) as AuditLine
  expect(spoiled(() => undefined).isIntact).toBe(true)
  const changed = spoiled((list, keys) => {
    const { hash: _, dot, reason, ...rest } = line(3)
    list.set(name(keys[3]), encodeValue({ ...rest, dot, reason, agent: 'eve' } as never).slice())
  })
  expect(changed.broken).toEqual({ number: 5, why: 'it does not follow the line before it' })
  expect(spoiled((list, keys) => list.delete(name(keys[2]))).broken).toMatchObject({ number: 3 })
  expect(spoiled((list, keys) => list.delete(name(keys[0]))).broken).toMatchObject({ number: 1 })
  expect(spoiled((list, keys) => list.delete(name(keys[6]))).broken).toMatchObject({ number: 7, why: 'it is missing' })
  const last = spoiled((list, keys) => {
    const { hash: _, dot, reason, ...rest } = line(6)
    list.set(name(keys[6]), encodeValue({ ...rest, dot, reason, agent: 'eve' } as never).slice())
  })
  expect(last.broken).toMatchObject({ number: 7 })
  expect(spoiled((list, keys) => list.set(name(keys[1]), Uint8Array.of(1))).broken).toMatchObject({ number: 2 })
  expect(
    spoiled((list) =>
      list.set(name(Uint8Array.of(...localKey('audit/'), 255, 255, 255, 255, 255, 255, 255)), rows[0]?.[1] as never),
    ).isIntact,
  ).toBe(false)
})

test('[M27] the oldest lines go when there are too many, and the rest is proven to follow them', () => {
  const [, a] = story()
  a.commit()
  const audit = new Audit(a.replica, a.rows, 5)
  const fact = { what: 'found', space: 's', id: 'x', rule: 'field', agent: 'skein', revision: '' }
  for (let at = 0; at < 20; at++) {
    audit.append({ ...fact, reason: undefined, dot: undefined, details: at }, at)
    a.commit()
  }
  const report = checked(a.rows)
  expect(report).toMatchObject({ isIntact: true, first: 23, next: 28, lines: 5 })
})
