import { describe, expect, test } from 'vitest'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import { claim } from '../crdt/types/claim.ts'
import { log } from '../crdt/types/log.ts'
import { record } from '../crdt/types/record.ts'
import { register } from '../crdt/types/register.ts'
import { text } from '../crdt/types/text.ts'
import type { CrdtType } from '../crdt/type.ts'
import { dotName } from '../merge/case.ts'
import type { Choice } from '../merge/case.ts'
import type { Conflict } from '../merge/evidence.ts'
import type { RuleDeclaration } from '../merge/rule-set.ts'
import { conflictsOf, storyOf } from './conflicts.test-model.ts'
import { History } from './conflicts.test-kit.ts'
import type { Site } from './conflicts.test-kit.ts'

const rules: readonly RuleDeclaration[] = [
  { rule: 'field' },
  { rule: 'field', name: 'owner', fields: ['owner'] },
  { rule: 'delete' },
  { rule: 'claim' },
  { rule: 'exclusive', field: 'status', values: [['done', 'cancelled', 'failed']] },
  { rule: 'transition', field: 'status', steps: { todo: ['doing'], doing: ['done', 'cancelled'], failed: ['todo'] } },
  { rule: 'effect', receipt: 'receipt' },
  { rule: 'effect', name: 'effect by order', receipt: 'receipt', key: 'order' },
  { rule: 'unique', field: 'external' },
  { rule: 'reference', field: 'parent', to: 'k-' },
  { rule: 'stale', field: 'basedOn' },
  { rule: 'types' },
  { rule: 'text' },
  { rule: 'custom', function: 'both-doing', functionVersion: 1, keys: ['k-0', 'k-1'] },
  {
    rule: 'schema',
    schema: {
      anyOf: [
        { not: { properties: { status: { enum: ['done', 'failed'] } }, required: ['status'] } },
        { required: ['owner'], properties: { owner: { pattern: '^[x-z]$' } } },
      ],
    },
  },
]

function act(site: Site, chance: Prng): void {
  const key = `k-${chance.below(3)}`
  const other = `k-${chance.below(3)}`
  switch (chance.below(14)) {
    case 0:
    case 1:
      return void site.write(key, record, 'set', {
        fields: {
          status: chance.pick(['todo', 'doing', 'done', 'cancelled', 'failed']),
          ...(chance.chance(0.2) && { owner: chance.pick(['x', '0']) }),
        },
      })
    case 2:
      return void site.write(key, record, 'set', {
        fields: { owner: chance.pick(['x', 'y']), external: chance.below(3) },
      })
    case 3:
      return void site.write(key, record, 'set', {
        fields: { receipt: `r${chance.below(3)}`, order: `o${chance.below(2)}` },
      })
    case 4:
      return void site.write(key, record, 'set', { fields: { parent: String(chance.below(3)) } })
    case 5:
      return void site.write(key, record, 'set', { fields: { basedOn: { [other]: 'v' } } })
    case 6:
      return void site.write(key, record, 'set', { fields: { basedOn: chance.pick([1, {}]) } })
    case 7:
      return void site.write(key, record, 'unset', { paths: [chance.pick(['status', 'owner', 'basedOn'])] })
    case 8:
      return void site.remove(key)
    case 9:
      return void site.write(`c-${chance.below(2)}`, claim, 'acquire', { ttlMs: 1 + chance.below(5) })
    case 10:
      return void site.write(chance.chance(0.5) ? key : 'r', register, 'set', { value: chance.below(3) })
    case 12:
    case 13:
      return edit(site, chance, `t-${chance.below(2)}`)
    case 11:
      return void site.write('l', log, 'append', {
        values: [{ receipt: `r${chance.below(2)}`, order: `o${chance.below(2)}` }],
      })
  }
}

/** Writes, takes away, or rewrites somewhere in a short text. */
function edit(site: Site, chance: Prng, key: string): void {
  const { length } = site.read(key, text) as string
  const at = chance.below(length + 1)
  const count = Math.min(length - at, chance.below(4))
  const steps: (readonly [string, CrdtType, string, object])[] = []
  if (chance.chance(0.6)) steps.push([key, text, 'delete', { at, count }])
  if (chance.chance(0.8)) steps.push([key, text, 'insert', { at, text: chance.pick(['a', 'bc', 'def', 'ghijkl']) }])
  if (chance.chance(0.2)) steps.push([key, text, 'insert', { at: 0, text: '-' }])
  site.transact(`agent-${site.node[0]}`, steps)
}

function decide(site: Site, chance: Prng): void {
  const open = site.open()
  if (open.length === 0) return
  const conflict = chance.pick(open)
  try {
    site.settle(conflict.id, choiceFor(conflict, chance))
  } catch (error) {
    // A field that another type holds by now, or a claim that was let go.
    if (!(error instanceof Error) || !('code' in error)) throw error
  }
}

function choiceFor(conflict: Conflict, chance: Prng): Choice {
  const kind = chance.pick(['pick', 'pick', 'keep-both', 'dismiss', 'write'] as const)
  if (kind === 'pick') return { kind, branch: chance.pick(conflict.branches).dot }
  return kind === 'write' ? { kind, value: chance.pick(['doing', 'todo']) } : { kind }
}

/** Three sites, chance, and in the end everybody has everything. */
function play(seed: number): History {
  const chance = prng(seed)
  const history = new History(3)
  const [first] = history.sites as [Site, Site, Site]
  // Half of the histories go on writing to what a conflict would hold.
  first.declare(chance.chance(0.5) ? rules : rules.map((rule) => ({ ...rule, safe: 'keep-both' as const })))
  history.exchange()
  history.written.length = 0
  const resolves = chance.chance(0.6)
  for (let rounds = chance.pick([1, 1, 2, 3]); rounds > 0; rounds--) {
    round(history, chance, resolves)
    if (chance.chance(0.5)) history.heal()
    if (!resolves) continue
    // Sometimes two sites decide the same, and neither knows of the other.
    for (let decisions = chance.below(6); decisions > 0; decisions--) decide(chance.pick(history.sites), chance)
  }
  history.heal()
  return history
}

function round(history: History, chance: Prng, resolves: boolean): void {
  const steps = 6 + chance.below(22)
  for (let step = 0; step < steps; step++) {
    const site = chance.pick(history.sites)
    const other = chance.pick(history.sites)
    switch (chance.below(resolves ? 14 : 10)) {
      case 0:
        if (site !== other) site.takeAll(other)
        break
      case 1: {
        const origin = chance.pick([...other.space.vector.keys()])
        if (site !== other && origin !== undefined) site.takeFrom(other, origin, 1 + chance.below(4))
        break
      }
      case 2:
        history.nowMs += chance.pick([10, 2_000, 5_000])
        site.due()
        break
      case 3:
        if (chance.chance(0.3)) site.restart()
        break
      case 10:
      case 11:
      case 12:
      case 13:
        decide(site, chance)
        break
      default:
        act(site, chance)
    }
  }
}

function differences(history: History): string[] {
  const wrong: string[] = []
  const expected = conflictsOf(history.written, rules)
  const [first] = history.sites as [Site, Site, Site]
  const roots = new Set(history.sites.map(({ space }) => [...space.tree.root].join(' ')))
  if (roots.size > 1) wrong.push('the roots differ')
  const ids = first.ids()
  for (const id of ids) if (!expected.has(id)) wrong.push(`${id} is raised and is none`)
  for (const [id, { branches, isOpen, about }] of expected) {
    const conflict = first.conflicts.evidence(first.space, id, history.nowMs)
    if (conflict === undefined) {
      wrong.push(`${about} ${id} with ${[...branches].map(short).join(' ')} is missing`)
      continue
    }
    const names = conflict.branches.map(({ dot }) => dotName(dot))
    for (const name of names) if (!branches.has(name)) wrong.push(`${conflict.rule} ${id}: ${short(name)} is no branch`)
    for (const name of branches)
      if (!names.includes(name)) wrong.push(`${conflict.rule} ${id}: ${short(name)} is lacking`)
    if ((conflict.state === 'open') !== isOpen) wrong.push(`${conflict.rule} ${id} is ${conflict.state}`)
  }
  return wrong
}

function short(name: string): string {
  return name.slice(0, 1) + name.slice(33)
}

describe('findings and the naive oracle', () => {
  const seeds = Number(process.env['SKEIN_HISTORIES'] ?? 400)
  const from = Number(process.env['SKEIN_FROM'] ?? 1)

  test(
    `[M1] ${seeds} random histories come to exactly the conflicts that the oracle finds in them`,
    { timeout: 600_000 },
    () => {
      let cases = 0
      let open = 0
      let silent = 0
      let contradictory = 0
      let reopened = 0
      let repeated = 0
      const kinds = new Map<string, number>()
      for (let seed = from; seed < from + seeds; seed++) {
        const history = play(seed)
        const wrong = differences(history)
        if (wrong.length > 0) expect.fail(`seed ${seed}: ${wrong.join('\n')}\n${storyOf(history.written)}`)
        const found = (history.sites[0] as Site).all()
        cases += found.length
        if (found.length === 0) silent++
        for (const { kind, state, ...conflict } of found) {
          if (conflict.contradictory) contradictory++
          else if (state === 'open' && conflict.decisions.length > 0) reopened++
          if (conflict.repeats > conflict.decisions.length) repeated++
          kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
          if (state === 'open') open++
        }
      }
      if (process.env['SKEIN_HISTORIES'] !== undefined)
        console.log({ cases, open, silent, contradictory, reopened, repeated }, kinds)
      // It compared something: every rule, cases of both states, and histories without any.
      expect([...kinds.keys()].sort()).toEqual(
        rules
          .map(({ rule }) => rule)
          .filter((rule, at, all) => all.indexOf(rule) === at)
          .sort(),
      )
      expect(Math.min(open, cases - open, silent, contradictory, reopened, repeated)).toBeGreaterThan(0)
    },
  )
})
