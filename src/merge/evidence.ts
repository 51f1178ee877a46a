/** A case as data: all that a person needs on one screen, and an agent in one JSON, to decide it. */
import { equalBytes } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import type { Value } from '../base/value.ts'
import { pathValue, sameDot } from '../crdt/cell.ts'
import type { Path } from '../crdt/cell.ts'
import { timeToMs } from '../crdt/clock.ts'
import type { Dot } from '../crdt/dot.ts'
import { typeOf } from '../crdt/types/table.ts'
import { keysOf } from './case.ts'
import type { Ancestor, Branch, Case, Choice, Part } from './case.ts'
import { belowLog } from './below-log.ts'
import { valueIn } from './deed.ts'
import type { Handling } from './queue.ts'
import { takesValue } from './resolve.ts'
import type { Decider, RuleKind, SafeOutcome, Severity } from './rule.ts'
import { ruleKind } from './rules/table.ts'

export interface Conflict extends Handling {
  readonly space: string
  readonly id: string
  readonly rule: string
  readonly kind: string
  /** What this kind of conflict is, in one line. */
  readonly says: string
  /** What happened here: who did it to what. */
  readonly summary: string
  readonly severity: Severity
  readonly safe: SafeOutcome
  readonly decides: Decider
  readonly state: 'open' | 'settled'
  readonly revision: string
  readonly subject: readonly Value[]
  /** Entries that have a part in it. */
  readonly keys: readonly string[]
  readonly branches: readonly BranchEvidence[]
  /** There were more branches than are kept. */
  readonly more: boolean
  readonly differences: readonly Difference[]
  /** `high` where branches may have acted on the world outside, each for itself. */
  readonly duplicateRisk: 'none' | 'high'
  readonly advice: string
  /** It is about one value, so that a decision can write another: `write`. */
  readonly takesValue: boolean
  readonly decisions: readonly DecisionEvidence[]
  /** Decisions that did not know of one another differ. */
  readonly contradictory: boolean
  /** How often a conflict on this subject was settled before. */
  readonly repeats: number
  /** So often that the flow upstream is broken: settling it once more mends nothing. */
  readonly isRepeated: boolean
  /** Wall-clock milliseconds of the first branch and the last. */
  readonly firstAt: number
  readonly lastAt: number
}

export interface BranchEvidence {
  /** Names the branch: `pick` takes it. */
  readonly dot: Dot
  readonly agent: string
  readonly reason: string | undefined
  /** Wall-clock milliseconds. */
  readonly at: number
  readonly did: readonly PartEvidence[]
  /** What it did in the same act to the entries in question, beside what is disputed. */
  readonly beside: readonly PartEvidence[]
  /** What its writer had newly seen of others, and at what it therefore looked. */
  readonly hadSeen: readonly Dot[]
  /** A later branch of the same case was written over it. */
  readonly supersededBy: Dot | undefined
  readonly settled: boolean
}

export interface PartEvidence {
  readonly key: string
  readonly type: string
  readonly path: Value
  readonly act: string
  readonly value: Value | undefined
  /** Of a value that was too long to keep. */
  readonly cutBytes: number
  readonly over: readonly Dot[]
}

/** One cell, and what each branch made of it. */
export interface Difference {
  readonly key: string
  readonly type: string
  readonly path: Value
  /** All branches wrote it, and the same. */
  readonly agreed: boolean
  /** What stood there before, where history still had it. */
  readonly before: readonly Earlier[]
  readonly branches: readonly { readonly dot: Dot; readonly act: string; readonly value: Value | undefined }[]
}

export interface Earlier {
  readonly dot: Dot
  readonly agent: string
  /** Wall-clock milliseconds. */
  readonly at: number
  readonly value: Value | undefined
}

export interface DecisionEvidence {
  readonly dot: Dot
  readonly choice: Choice
  readonly agent: string
  readonly at: number
  readonly reason: string | undefined
  readonly settles: readonly Dot[]
}

export function evidenceOf(space: string, known: Case, repeats: number, handling: Handling): Conflict {
  const kind: Partial<RuleKind> | undefined = known.kind === belowLog.name ? belowLog : ruleKind(known.kind)
  const { branches, decisions, unsettled } = known
  const isRepeated = repeats >= limits.repeatedConflicts
  const times = branches.map(({ time }) => timeToMs(time))
  const keys = keysOf(known)
  const says = kind?.says ?? 'found by a rule that this version does not know'
  return {
    ...handling,
    space,
    id: known.id,
    rule: known.rule,
    kind: known.kind,
    says,
    summary: summaryOf(known, keys, says),
    severity: known.severity,
    safe: known.safe,
    decides: known.decides,
    state: known.state,
    revision: known.revision,
    subject: known.subject,
    keys,
    branches: branches.map((branch) => ({
      dot: dotOf(branch),
      agent: branch.agent,
      reason: branch.reason,
      at: timeToMs(branch.time),
      did: branch.parts.map(partEvidence),
      beside: branch.beside.map(partEvidence),
      hadSeen: branch.news,
      supersededBy: laterOf(branch, branches),
      settled: !unsettled.includes(branch),
    })),
    more: known.more,
    differences: differencesOf(known),
    duplicateRisk: kind?.actsOutside === true ? 'high' : 'none',
    advice: adviceOf(known, kind, isRepeated),
    takesValue: takesValue(known),
    decisions: decisions.map(({ origin, seq, choice, agent, time, reason, settles }) => ({
      dot: { origin, seq },
      choice,
      agent,
      at: timeToMs(time),
      reason,
      settles,
    })),
    contradictory: known.contradictory,
    repeats,
    isRepeated,
    firstAt: Math.min(...times),
    lastAt: Math.max(...times),
  }
}

function adviceOf(known: Case, kind: Partial<RuleKind> | undefined, isRepeated: boolean): string {
  if (known.contradictory) return 'Two decisions contradict one another: agree, and decide once more.'
  if (isRepeated) return 'It comes again and again: find out which flow brings it about, and mend that.'
  return kind?.advice ?? 'Look at it on a node of a newer version.'
}

function dotOf({ origin, seq }: Dot): Dot {
  return { origin, seq }
}

function pathIn(path: Path): Value {
  try {
    return path === '' ? null : pathValue(path)
  } catch {
    return null
  }
}

function partEvidence({ key, type, path, act, value, cutBytes, over }: Part): PartEvidence {
  return {
    key,
    type: nameOf(type),
    path: pathIn(path),
    act,
    value: value && valueIn(value),
    cutBytes,
    over,
  }
}

function nameOf(type: number): string {
  return type === 0 ? 'any' : (typeOf(type)?.name ?? `unknown ${type}`)
}

function laterOf(branch: Branch, branches: readonly Branch[]): Dot | undefined {
  const later = branches.find(({ parts }) => parts.some(({ over }) => over.some((dot) => sameDot(dot, branch))))
  return later && dotOf(later)
}

function differencesOf({ branches, ancestors }: Case): Difference[] {
  const cells = new Map<string, { readonly part: Part; readonly wrote: [Branch, Part][] }>()
  for (const side of ['parts', 'beside'] as const) {
    for (const branch of branches) {
      for (const part of branch[side]) {
        const name = `${part.key} ${part.type} ${part.path}`
        const cell = cells.get(name)
        if (cell === undefined) cells.set(name, { part, wrote: [[branch, part]] })
        else cell.wrote.push([branch, part])
      }
    }
  }
  return [...cells.values()].map(({ part, wrote }) => ({
    key: part.key,
    type: nameOf(part.type),
    path: pathIn(part.path),
    agreed: wrote.length === branches.length && wrote.every(([, one]) => isSame(one, part)),
    before: earlierOf(part, branches, ancestors),
    branches: wrote.map(([branch, { act, value }]) => ({ dot: dotOf(branch), act, value: value && valueIn(value) })),
  }))
}

function isSame(a: Part, b: Part): boolean {
  if (a.act !== b.act || a.value === undefined || b.value === undefined) return a.act === b.act && a.act !== 'put'
  return equalBytes(a.value, b.value)
}

/** What branches stood on, but what is no branch itself. */
function earlierOf({ key, type, path }: Part, branches: readonly Branch[], ancestors: readonly Ancestor[]): Earlier[] {
  return ancestors.flatMap((ancestor) => {
    if (branches.some((one) => sameDot(one, ancestor))) return []
    const part = ancestor.parts.find((each) => each.key === key && each.type === type && each.path === path)
    if (part === undefined) return []
    const { agent, time } = ancestor
    return [{ dot: dotOf(ancestor), agent, at: timeToMs(time), value: part.value && valueIn(part.value) }]
  })
}

/** Agents that are named one by one, and entries. */
const mostNamed = 3

function summaryOf({ kind, branches }: Case, keys: readonly string[], says: string): string {
  const what = listed(keys)
  if (kind === belowLog.name) return `${what}: ${says}.`
  const agents = [...new Set(branches.map(({ agent }) => agent))]
  const who = agents.length === 1 ? `${agents[0] ?? ''}, at ${branches.length} places,` : listed(agents)
  return `${who} acted on ${what} without knowing of one another: ${says}.`
}

function listed(names: readonly string[]): string {
  if (names.length > mostNamed) return `${names.slice(0, mostNamed).join(', ')} and ${names.length - mostNamed} more`
  return names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1) ?? ''}`
}
