/**
 * A case: a conflict on record, as cells of a system entry that its id names. They come, and but for one none goes:
 *
 *   ['head']            the rule and the subject; alike from whoever writes it
 *   ['b', origin, seq]  a branch: what the delta of that dot did to the subject
 *   ['a', origin, seq]  what stood there before, where the log still had it
 *   ['d', origin, seq]  a decision, at the dot of the delta that made it: which branches it settles, and how
 *   ['more']            there are more branches than are kept; it goes with the next decision, which knew of them
 *
 * Each cell is a function of the dot in its path, so two nodes that find the same write the same. What the case comes to is
 * read off them, never written: it is open while a branch is in it that no decision names, or while two decisions that
 * did not know of one another say different things. So a branch that comes later opens it again, and nothing else does.
 */
import { binaryString, compareBytes, fromBinaryString } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { encodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import { pathOf, pathValue } from '../crdt/cell.ts'
import type { Path, Siblings } from '../crdt/cell.ts'
import { compareDots } from '../crdt/dot.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import type { Cells, Change, CrdtType } from '../crdt/type.ts'
import { isObject, valueIn } from './deed.ts'
import { deciders, safeOutcomes, severities } from './rule.ts'
import type { Decider, Rule, SafeOutcome, Severity, Target, Verdict } from './rule.ts'
import { digestOf, systemTypes } from './system.ts'

/** What the case is about: its head. */
export interface Head {
  readonly rule: string
  readonly kind: string
  readonly severity: Severity
  readonly safe: SafeOutcome
  readonly decides: Decider
  readonly subject: readonly Value[]
  readonly target: Target | undefined
  /** The decisions that both sides had seen: it is another case than the one that they settled. */
  readonly after: readonly Dot[]
}

/** Something that a delta did to what the case is about. */
export interface Part {
  readonly key: string
  readonly type: number
  readonly path: Path
  readonly act: string
  /** Canonical bytes; undefined for what is gone, or is too long to keep. */
  readonly value: Uint8Array | undefined
  /** Of a value that is too long: how long it is. */
  readonly cutBytes: number
  readonly over: readonly Dot[]
}

export interface Branch extends Dot {
  /** Hybrid time. */
  readonly time: number
  readonly agent: string
  readonly reason: string | undefined
  readonly parts: readonly Part[]
  /** What it did in the same act to the entries in question, beside what is disputed. */
  readonly beside: readonly Part[]
  /** What its writer had newly seen of others. */
  readonly news: readonly Dot[]
}

/** What stood somewhere before. */
export interface Ancestor extends Dot {
  readonly agent: string
  readonly time: number
  readonly parts: readonly Part[]
}

/**
 * How a case is settled. `pick`: one branch stands. `write`: a value of its own. `keep-both`: nothing is to be done.
 * `compensate`: something outside is undone, by the action named. `dismiss`: it was no conflict.
 */
export type DecisionKind = 'pick' | 'write' | 'keep-both' | 'compensate' | 'dismiss'
export const decisionKinds: readonly DecisionKind[] = ['pick', 'write', 'keep-both', 'compensate', 'dismiss']

export interface Choice {
  readonly kind: DecisionKind
  /** Of `pick`. */
  readonly branch?: Dot
  /** Of `write`. */
  readonly value?: Value
  /** Of `compensate`: the action, in words that whoever runs it knows. */
  readonly action?: string
}

export interface Decision extends Dot {
  readonly choice: Choice
  readonly agent: string
  readonly time: number
  readonly reason: string | undefined
  /** The branches that it settles. */
  readonly settles: readonly Dot[]
  /** Earlier decisions on the case that its writer had seen. */
  readonly over: readonly Dot[]
  readonly revision: string
}

export interface Case extends Head {
  readonly id: string
  readonly state: 'open' | 'settled'
  /** Moves with each branch and each decision; a decision names the one that it was made on. */
  readonly revision: string
  readonly branches: readonly Branch[]
  readonly ancestors: readonly Ancestor[]
  readonly decisions: readonly Decision[]
  /** Branches that no decision names. */
  readonly unsettled: readonly Branch[]
  /** Two decisions that did not know of one another differ. */
  readonly contradictory: boolean
  /** There were more branches than are kept. */
  readonly more: boolean
}

/** What a node has found, before it is in a case. */
export interface Finding {
  readonly id: string
  readonly head: Head
  readonly branches: ReadonlyMap<string, Branch>
  readonly ancestors: ReadonlyMap<string, Ancestor>
  /** Branches that these are against and that were on record already. */
  readonly others: ReadonlyMap<string, Dot>
}

/** Entries that have a part in a case, in their order. */
export function keysOf({ branches }: Pick<Case, 'branches'>): readonly string[] {
  return [...new Set(branches.flatMap(({ parts }) => parts.map(({ key }) => key)))].sort()
}

export function dotName({ origin, seq }: Dot): string {
  return `${origin}-${seq}`
}

/** Which thread of decisions a subject has under a rule. */
export function threadOf(rule: string, subject: readonly Value[]): string {
  return digestOf([rule, subject])
}

/** The id of a case: the same for everybody who has found its branches against each other. */
export function caseId(rule: string, subject: readonly Value[], after: readonly Dot[]): string {
  return digestOf([rule, subject, dotsValue(after.toSorted(compareDots))])
}

export function headOf(rule: Rule, { subject, target }: Verdict, after: readonly Dot[]): Head {
  const { name, kind, severity, safe, decides } = rule
  return { rule: name, kind: kind.name, severity, safe, decides, subject, target, after }
}

function dotsValue(dots: readonly Dot[]): Value {
  return dots.map(({ origin, seq }) => [origin, seq])
}

function dotsOf(value: Value | undefined): Dot[] {
  if (!Array.isArray(value)) return []
  return (value as readonly Value[]).flatMap((one) => {
    const dot = Array.isArray(one) ? dotOf(one[0] as Value, one[1] as Value) : undefined
    return dot === undefined ? [] : [dot]
  })
}

export function dotOf(origin: Value, seq: Value): Dot | undefined {
  if (typeof origin !== 'string' || !/^[0-9a-f]{32}$/.test(origin)) return undefined
  return Number.isSafeInteger(seq) && (seq as number) > 0
    ? { origin: origin as OriginId, seq: seq as number }
    : undefined
}

function partsValue(parts: readonly Part[]): Value {
  return parts.map(({ key, type, path, act, value, cutBytes, over }) => [
    key,
    type,
    fromBinaryString(path),
    act,
    value ?? (cutBytes > 0 ? cutBytes : null),
    dotsValue(over),
  ])
}

function partsOf(value: Value | undefined): Part[] {
  if (!Array.isArray(value)) return []
  return (value as readonly Value[]).flatMap((one) => {
    if (!Array.isArray(one)) return []
    const [key, type, path, act, held, over] = one as readonly Value[]
    if (typeof key !== 'string' || typeof type !== 'number' || !(path instanceof Uint8Array)) return []
    if (typeof act !== 'string') return []
    return [
      {
        key,
        type,
        path: binaryString(path),
        act,
        value: held instanceof Uint8Array ? held : undefined,
        cutBytes: typeof held === 'number' ? held : 0,
        over: dotsOf(over),
      },
    ]
  })
}

function headValue(head: Head): Value {
  const { target } = head
  return {
    rule: head.rule,
    kind: head.kind,
    severity: head.severity,
    safe: head.safe,
    decides: head.decides,
    subject: head.subject,
    target:
      target === undefined
        ? null
        : [target.key, target.type, target.path === undefined ? null : fromBinaryString(target.path)],
    after: dotsValue(head.after),
  }
}

function headOfValue(value: Value | undefined): Head | undefined {
  if (!isObject(value) || typeof value['rule'] !== 'string' || !Array.isArray(value['subject'])) return undefined
  const [key, type, path] = (Array.isArray(value['target']) ? value['target'] : []) as readonly Value[]
  const isWhole = typeof key === 'string' && typeof type === 'number'
  return {
    rule: value['rule'],
    kind: textOf(value['kind']),
    severity: oneOf(value['severity'], severities, 'medium'),
    safe: oneOf(value['safe'], safeOutcomes, 'keep-both'),
    decides: oneOf(value['decides'], deciders, 'agent'),
    subject: value['subject'] as readonly Value[],
    target: !isWhole ? undefined : path instanceof Uint8Array ? { key, type, path: binaryString(path) } : { key, type },
    after: dotsOf(value['after']),
  }
}

/** A cell may hold anything that a faulty peer sent. */
function oneOf<T extends string>(value: Value | undefined, known: readonly T[], otherwise: T): T {
  return (known as readonly unknown[]).includes(value) ? (value as T) : otherwise
}

function textOf(value: Value | undefined): string {
  return typeof value === 'string' ? value : ''
}

function branchValue({ time, agent, reason, parts, beside, news }: Branch): Value {
  return {
    time,
    agent,
    reason: reason ?? null,
    parts: partsValue(parts),
    ...(beside.length > 0 && { beside: partsValue(beside) }),
    news: dotsValue(news),
  }
}

function ancestorValue(ancestor: Ancestor): Value {
  return branchValue({ ...ancestor, reason: undefined, beside: [], news: [] })
}

function branchOf(dot: Dot, value: Value | undefined): Branch | undefined {
  if (!isObject(value) || typeof value['time'] !== 'number' || typeof value['agent'] !== 'string') return undefined
  const { reason } = value
  return {
    ...dot,
    time: value['time'],
    agent: value['agent'],
    reason: typeof reason === 'string' ? reason : undefined,
    parts: partsOf(value['parts']),
    beside: partsOf(value['beside']),
    news: dotsOf(value['news']),
  }
}

function decisionOf(dot: Dot, value: Value | undefined): Decision | undefined {
  if (!isObject(value)) return undefined
  const { reason, time, agent, revision } = value
  const choice = choiceIn(value)
  if (choice === undefined || typeof time !== 'number') return undefined
  return {
    ...dot,
    choice,
    agent: textOf(agent),
    time,
    reason: typeof reason === 'string' ? reason : undefined,
    settles: dotsOf(value['settles']),
    over: dotsOf(value['over']),
    revision: textOf(revision),
  }
}

/** A choice as it stands in a cell, and back. */
export function choiceValue({ kind, branch, value, action }: Choice): Readonly<Record<string, Value>> {
  return {
    kind,
    ...(branch !== undefined && { branch: [branch.origin, branch.seq] }),
    ...(value !== undefined && { value }),
    ...(action !== undefined && { action }),
  }
}

export function choiceIn({ kind, branch, value, action }: Readonly<Record<string, Value>>): Choice | undefined {
  if (!(decisionKinds as readonly unknown[]).includes(kind)) return undefined
  const [picked] = dotsOf([branch ?? null])
  return {
    kind: kind as DecisionKind,
    ...(picked !== undefined && { branch: picked }),
    ...(value !== undefined && { value }),
    ...(typeof action === 'string' && { action }),
  }
}

/** Two decisions that say the same are one. */
export function choiceDigest({ kind, branch, value, action }: Choice): string {
  return digestOf([kind, branch === undefined ? null : dotName(branch), value ?? null, action ?? null])
}

export const headPath: Path = pathOf(['head'])
const morePath = pathOf(['more'])

/** What a cell of a case is, as far as somebody is told of it. */
export type CaseCell = 'head' | 'branch' | 'decision'

export function caseCell(path: Path): CaseCell | undefined {
  if (path === headPath) return 'head'
  const what = placeOf(path)?.what
  return what === 'b' ? 'branch' : what === 'd' ? 'decision' : undefined
}

export function branchPath({ origin, seq }: Dot): Path {
  return pathOf(['b', origin, seq])
}

/** Nodes of different versions may have written it differently: the greatest bytes hold, everywhere. */
function valueOfCell(siblings: Siblings): Value | undefined {
  let best: Uint8Array | undefined
  for (const { value } of siblings) if (best === undefined || compareBytes(value, best) > 0) best = value
  return best && valueIn(best)
}

/** The case that an entry holds; undefined where there is none. `found` is what this node knows and has not written. */
export function readCase(id: string, cells: Cells, found?: Finding): Case | undefined {
  const branches = new Map<string, Branch>()
  const ancestors = new Map<string, Ancestor>()
  const decisions: Decision[] = []
  let head = found?.head
  let more = false
  for (const [path, siblings] of cells.all()) {
    if (path === headPath) {
      head = headOfValue(valueOfCell(siblings)) ?? head
      continue
    }
    if (path === morePath) {
      more = true
      continue
    }
    const place = placeOf(path)
    if (place === undefined) continue
    const { dot } = place
    const value = valueOfCell(siblings)
    if (place.what === 'd') {
      const decision = decisionOf(dot, value)
      if (decision !== undefined) decisions.push(decision)
      continue
    }
    const branch = branchOf(dot, value)
    if (branch === undefined) continue
    if (place.what === 'b') branches.set(dotName(dot), branch)
    else ancestors.set(dotName(dot), branch)
  }
  if (head === undefined) return undefined
  for (const [name, branch] of found?.branches ?? []) if (!branches.has(name)) branches.set(name, branch)
  for (const [name, ancestor] of found?.ancestors ?? []) if (!ancestors.has(name)) ancestors.set(name, ancestor)
  const all = [...branches.values()].sort(byTime)
  const passed = new Set(decisions.flatMap(({ over }) => over.map(dotName)))
  const last = decisions.filter((decision) => !passed.has(dotName(decision)))
  const contradictory = new Set(last.map(({ choice }) => choiceDigest(choice))).size > 1
  const unsettled = unsettledBy(last, all)
  return {
    ...head,
    id,
    state: last.length === 0 || unsettled.length > 0 || contradictory ? 'open' : 'settled',
    revision: revisionOf(all, decisions),
    branches: all,
    ancestors: [...ancestors.values()].sort(byTime),
    decisions: decisions.sort(byTime),
    unsettled,
    contradictory,
    more,
  }
}

/**
 * Branches that the decisions leave open. One that knew all of them settles them; two that crossed and knew different ones
 * do not, though each was named by somebody: nobody has looked at them together.
 */
function unsettledBy(decisions: readonly Decision[], branches: readonly Branch[]): readonly Branch[] {
  const named = decisions.map(({ settles }) => new Set(settles.map(dotName)))
  if (named.some((names) => branches.every((branch) => names.has(dotName(branch))))) return []
  return branches.filter((branch) => !named.every((names) => names.has(dotName(branch))) || named.length === 0)
}

function placeOf(path: Path): { readonly what: 'b' | 'a' | 'd'; readonly dot: Dot } | undefined {
  let place: Value
  try {
    place = pathValue(path)
  } catch {
    return undefined
  }
  if (!Array.isArray(place) || place.length !== 3) return undefined
  const [what, origin, seq] = place as readonly Value[]
  const dot = dotOf(origin as Value, seq as Value)
  return (what === 'b' || what === 'a' || what === 'd') && dot !== undefined ? { what, dot } : undefined
}

function byTime(a: Branch | Ancestor | Decision, b: Branch | Ancestor | Decision): number {
  return a.time - b.time || compareDots(a, b)
}

function revisionOf(branches: readonly Dot[], decisions: readonly Dot[]): string {
  const names = (dots: readonly Dot[]): Value => dots.map(dotName).sort()
  return digestOf([names(branches), names(decisions)]).slice(0, 16)
}

/** Are there more branches than are kept, and has nobody decided since? */
export function isFull(cells: Cells): boolean {
  return cells.get(morePath).length > 0
}

/** Is that branch in the entry, or is there no room for it? */
export function holdsBranch(cells: Cells, dot: Dot): boolean {
  return cells.get(branchPath(dot)).length > 0 || isFull(cells)
}

/** Does the entry hold all branches of a finding? */
export function isWritten(branches: Iterable<Dot>, cells: Cells): boolean {
  if (cells.get(headPath).length === 0) return false
  for (const branch of branches) if (!holdsBranch(cells, branch)) return false
  return true
}

/** Writes what is not there yet of a finding. */
function open(cells: Cells, change: Change, { head, branches, ancestors }: Finding): void {
  if (cells.get(headPath).length === 0) change.put(headPath, headValue(head))
  // What was decided makes room: a branch that comes later is never one too many.
  let held = readCase('', cells)?.unsettled.length ?? 0
  for (const branch of branches.values()) {
    const path = branchPath(branch)
    if (cells.get(path).length > 0) continue
    if (held >= limits.caseBranches) {
      if (cells.get(morePath).length === 0) change.put(morePath, true)
      return
    }
    held++
    change.put(path, branchValue(branch))
    for (const { over } of branch.parts) {
      for (const dot of over) {
        const ancestor = ancestors.get(dotName(dot))
        const at = pathOf(['a', dot.origin, dot.seq])
        if (ancestor === undefined || cells.get(at).length > 0) continue
        change.put(at, ancestorValue(ancestor))
      }
    }
  }
}

export interface Deciding {
  readonly id: string
  readonly choice: Choice
  readonly reason: string | undefined
  readonly settles: readonly Dot[]
  readonly over: readonly Dot[]
  readonly revision: string
}

/** The cells of a case. */
export const caseType: CrdtType<null> = {
  id: systemTypes.case,
  name: 'case',
  merge: 'branches and decisions come together; nothing goes',
  operations: {
    open: {
      parameters: ['finding'],
      run(cells, change, args) {
        open(cells, change, args['finding'] as Finding)
        return undefined
      },
    },
    decide: {
      parameters: ['deciding'],
      run(cells, change, args) {
        const { choice, reason, settles, over, revision } = args['deciding'] as Deciding
        if (cells.get(morePath).length > 0) change.remove(morePath)
        change.put(pathOf(['d', change.origin, change.seq]), {
          ...choiceValue(choice),
          agent: change.agent,
          time: change.time,
          reason: reason ?? null,
          settles: dotsValue(settles),
          over: dotsValue(over),
          revision,
        })
        return undefined
      },
    },
    /** In the thread of the subject: a decision was made, and which its writer had seen. */
    note: {
      parameters: ['id'],
      run(cells, change, args) {
        const over = lastOf(threadIn(cells))
        change.put(pathOf(['d', change.origin, change.seq]), { case: String(args['id']), over: dotsValue(over) })
        return undefined
      },
    },
  },
  read: () => ({ value: null, concurrent: [] }),
}

/** A decision on a subject, in its thread. */
export interface Settled extends Dot {
  readonly over: readonly Dot[]
}

export function threadIn(cells: Cells): Settled[] {
  const found: Settled[] = []
  for (const [path, siblings] of cells.all()) {
    const place = placeOf(path)
    const value = valueOfCell(siblings)
    if (place?.what === 'd' && isObject(value)) found.push({ ...place.dot, over: dotsOf(value['over']) })
  }
  return found
}

/** Those that no other of them had seen. The set must hold with each all that it had seen. */
export function lastOf(settled: readonly Settled[]): Settled[] {
  const passed = new Set(settled.flatMap(({ over }) => over.map(dotName)))
  return settled.filter((one) => !passed.has(dotName(one)))
}

export function encodeFinding({ id, head, branches, ancestors, others }: Finding): Uint8Array {
  const dotted = (value: Value, { origin, seq }: Dot): Value => [[origin, seq], value]
  return encodeValue([
    id,
    headValue(head),
    [...branches.values()].map((each) => dotted(branchValue(each), each)),
    [...ancestors.values()].map((each) => dotted(ancestorValue(each), each)),
    dotsValue([...others.values()]),
  ])
}

/** Undefined for bytes that hold none. */
export function decodeFinding(bytes: Uint8Array): Finding | undefined {
  const value = valueIn(bytes)
  if (!Array.isArray(value)) return undefined
  const [id, head, branches, ancestors, others] = value as readonly Value[]
  const known = headOfValue(head)
  if (typeof id !== 'string' || known === undefined) return undefined
  return {
    id,
    head: known,
    branches: branchesIn(branches),
    ancestors: branchesIn(ancestors),
    others: new Map(dotsOf(others).map((dot) => [dotName(dot), dot])),
  }
}

function branchesIn(value: Value | undefined): Map<string, Branch> {
  const found = new Map<string, Branch>()
  for (const one of Array.isArray(value) ? (value as readonly Value[]) : []) {
    const [at, held] = Array.isArray(one) ? (one as readonly Value[]) : []
    const [dot] = dotsOf([at ?? null])
    const branch = dot && branchOf(dot, held)
    if (branch !== undefined) found.set(dotName(branch), branch)
  }
  return found
}
