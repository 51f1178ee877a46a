/**
 * What the owner of a space allows to be settled without anybody, as data that is kept and replicated with its rules: who
 * counts as a person, how long a conflict may stay open, and policies. The first policy that fits and has an answer decides;
 * where none has, people do.
 *
 * A policy never overrules a person. It leaves alone what somebody has taken upon himself, what persons have decided before,
 * what is contradictory, and what is not all on record; and a rule that persons are to decide is settled only by a policy
 * that names it.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { encodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import { sameDot } from '../crdt/cell.ts'
import { choiceDigest } from './case.ts'
import type { Branch, Case, Choice } from './case.ts'
import { isObject, valueIn } from './deed.ts'
import { usualDueMs } from './queue.ts'
import type { DueTimes, Handling, Proposal } from './queue.ts'
import { severities } from './rule.ts'
import type { Severity } from './rule.ts'
import { numberIn, textIn, textsIn, wrong } from './rules/settings.ts'

/**
 * `accept`: a proposal stands. `person`: what a person wrote, or decided, beats what agents did beside it. `keep-first` and
 * `keep-last`: the branch that was written first, or last. `compensate`: an action undoes it.
 */
export type PolicySettles = 'accept' | 'person' | 'keep-first' | 'keep-last' | 'keep-both' | 'dismiss' | 'compensate'
export const policySettles: readonly PolicySettles[] = [
  'accept',
  'person',
  'keep-first',
  'keep-last',
  'keep-both',
  'dismiss',
  'compensate',
]

/** A policy as it is declared. */
export interface PolicyDeclaration {
  readonly name: string
  readonly settle: PolicySettles
  /** Names of rules; without them, every rule that is not for persons to decide. */
  readonly rules?: readonly string[]
  readonly severities?: readonly Severity[]
  /** Only where each entry that has a part in it has a key that starts so. */
  readonly prefix?: string
  /** Leaves people so long to step in. */
  readonly afterMs?: number
  /** Of `accept`: whose proposals. Names, or beginnings of names that end in `*`. */
  readonly from?: readonly string[]
  /** Of `accept`: how sure they must be, from 0 to 1. */
  readonly confidence?: number
  /** Of `accept`: who is asked for one, by the name under which nodes know him. */
  readonly resolver?: string
  /** Of `compensate`: which. */
  readonly action?: string
}

export type Policy = PolicyDeclaration & { readonly afterMs: number; readonly prefix: string }

/** What goes with the rules of a space. */
export interface WorkflowDeclaration {
  /** Agents that are persons: names, or beginnings of names that end in `*`. */
  readonly people?: readonly string[]
  /** How long a conflict may stay open before it is overdue, in milliseconds. */
  readonly due?: Partial<DueTimes>
  readonly policies?: readonly PolicyDeclaration[]
}

export interface Workflow {
  readonly people: readonly string[]
  readonly dueMs: DueTimes
  readonly policies: readonly Policy[]
}

export const noWorkflow: Workflow = { people: [], dueMs: usualDueMs, policies: [] }

const settings: readonly string[] = [
  'name',
  'settle',
  'rules',
  'severities',
  'prefix',
  'afterMs',
  'from',
  'confidence',
  'resolver',
  'action',
]

/** Agents as which the system itself writes: nobody else may, or he would speak for it. */
export function isReservedAgent(agent: string): boolean {
  return agent.startsWith('policy:') || agent.startsWith('resolver:')
}

export function resolverAgent(name: string): string {
  return `resolver:${name}`
}

/** Checks a declaration: it comes from outside. Undefined where it says nothing. */
export function checkWorkflow(given: WorkflowDeclaration, ruleNames: ReadonlySet<string>): Value | undefined {
  const { people, due, policies } = given
  if (people === undefined && due === undefined && policies === undefined) return undefined
  if (people !== undefined) textsIn(people as Value, 'people', 0)
  if (due !== undefined) {
    if (typeof due !== 'object' || due === null) throw wrong('due', 'an object')
    for (const [severity, ms] of Object.entries(due)) {
      if (!(severities as readonly string[]).includes(severity)) throw wrong(`due.${severity}`, severities.join(', '))
      if (!isTime(ms)) throw wrong(`due.${severity}`, 'a whole number of milliseconds from 1')
    }
  }
  if (policies !== undefined) {
    checkPolicies(policies)
    for (const rule of policies.flatMap((policy) => policy.rules ?? [])) {
      if (!ruleNames.has(rule)) throw wrong(`policies: rule ${rule}`, `one of ${[...ruleNames].join(', ')}`)
    }
  }
  return valueIn(encodeValue(JSON.parse(JSON.stringify({ people, due, policies })) as Value))
}

function checkPolicies(given: unknown): void {
  if (!Array.isArray(given)) throw wrong('policies', 'an array')
  if (given.length > limits.rules) {
    throw new SkeinError('too_large', `a space has at most ${limits.rules} policies`, { limit: limits.rules })
  }
  const names = new Set<string>()
  for (const one of given as readonly unknown[]) {
    if (typeof one !== 'object' || one === null) throw wrong('each policy', 'an object')
    const policy = one as Readonly<Record<string, Value>>
    for (const setting of Object.keys(policy)) {
      if (!settings.includes(setting)) throw wrong(`policy ${setting}`, `one of ${settings.join(', ')}`)
    }
    const name = textIn(policy, 'name', true) as string
    if (name.length > limits.ruleNameLength) throw wrong('name', `at most ${limits.ruleNameLength} characters`)
    if (names.has(name)) throw wrong(`policy ${name}`, 'named differently from the others')
    names.add(name)
    checkPolicy(policy)
  }
}

function checkPolicy(policy: Readonly<Record<string, Value>>): void {
  const { settle, rules, severities: which, afterMs, from, confidence, resolver, action } = policy
  if (!(policySettles as readonly unknown[]).includes(settle))
    throw wrong('settle', `one of ${policySettles.join(', ')}`)
  if (rules !== undefined) textsIn(rules, 'rules', 1)
  const isKnown = (one: string): boolean => (severities as readonly string[]).includes(one)
  if (which !== undefined && !textsIn(which, 'severities', 1).every(isKnown)) {
    throw wrong('severities', `some of ${severities.join(', ')}`)
  }
  textIn(policy, 'prefix', false)
  if (afterMs !== undefined && afterMs !== 0 && !isTime(afterMs)) throw wrong('afterMs', 'milliseconds from 0')
  const isAccept = settle === 'accept'
  if (from !== undefined) textsIn(from, 'from', 1)
  textIn(policy, 'resolver', false)
  if (isAccept && from === undefined && resolver === undefined) throw wrong('accept', 'given from, or a resolver')
  if (!isAccept && (from ?? resolver ?? confidence) !== undefined) {
    throw wrong('from, resolver and confidence', 'given for accept, and only there')
  }
  const sure = numberIn(policy, 'confidence')
  if (sure !== undefined && !(sure >= 0 && sure <= 1)) throw wrong('confidence', 'a number from 0 to 1')
  textIn(policy, 'action', settle === 'compensate')
  if (action !== undefined && settle !== 'compensate') throw wrong('action', 'given for compensate, and only there')
}

function isTime(ms: unknown): boolean {
  return Number.isSafeInteger(ms) && (ms as number) >= 1 && (ms as number) <= limits.ttlMs
}

/** What stands in a cell. Total: a policy that cannot be read settles nothing. */
export function workflowIn(value: Value | undefined): Workflow {
  if (!isObject(value)) return noWorkflow
  const { people, due, policies } = value
  const texts = Array.isArray(people) ? (people as readonly Value[]).filter((one) => typeof one === 'string') : []
  const dueMs = { ...usualDueMs }
  for (const severity of severities) {
    const ms = isObject(due) ? due[severity] : undefined
    if (isTime(ms)) dueMs[severity] = ms as number
  }
  const found: Policy[] = []
  for (const one of Array.isArray(policies) ? (policies as readonly Value[]) : []) {
    try {
      checkPolicies([one])
    } catch {
      continue
    }
    found.push({ afterMs: 0, prefix: '', ...(one as unknown as PolicyDeclaration) })
  }
  return { people: texts, dueMs, policies: found }
}

/** Does one of these names, and beginnings of names, name the agent? */
export function names(patterns: readonly string[], agent: string): boolean {
  return patterns.some((one) => (one.endsWith('*') ? agent.startsWith(one.slice(0, -1)) : one === agent))
}

/** What is to be done about an open case without people. */
export type Step =
  | { readonly kind: 'settle'; readonly policy: string; readonly choice: Choice; readonly atMs: number }
  /** A resolver is to be asked; until it has answered, nothing else is done. */
  | { readonly kind: 'ask'; readonly policy: string; readonly resolver: string; readonly atMs: number }
  | { readonly kind: 'nothing' }

const nothing: Step = { kind: 'nothing' }

/** `asked`: has that resolver answered on this revision, or failed to? */
export function stepOf(
  known: Case,
  keys: readonly string[],
  handling: Handling,
  { people, policies }: Workflow,
  asked: (resolver: string) => boolean,
): Step {
  if (known.state !== 'open' || known.more) return nothing
  // Somebody has it in his hands.
  if (handling.snoozed !== undefined || handling.owner !== undefined || handling.acknowledged !== undefined)
    return nothing
  for (const policy of policies) {
    if (!fits(policy, known, keys)) continue
    const atMs = handling.raisedAt + policy.afterMs
    const choice = choiceBy(policy, known, handling, people)
    if (choice !== undefined) return { kind: 'settle', policy: policy.name, choice, atMs }
    const { resolver } = policy
    if (resolver !== undefined && mayOverrule(known, people) && !asked(resolver)) {
      return { kind: 'ask', policy: policy.name, resolver, atMs: handling.raisedAt }
    }
  }
  return nothing
}

function fits({ rules, severities: which, prefix }: Policy, known: Case, keys: readonly string[]): boolean {
  if (rules === undefined ? known.decides === 'person' : !rules.includes(known.rule)) return false
  if (which !== undefined && !which.includes(known.severity)) return false
  return keys.every((key) => key.startsWith(prefix))
}

/** No person has decided before, and decisions do not contradict one another. */
function mayOverrule({ decisions, contradictory }: Case, people: readonly string[]): boolean {
  return !contradictory && !decisions.some(({ agent }) => names(people, agent))
}

function choiceBy(policy: Policy, known: Case, handling: Handling, people: readonly string[]): Choice | undefined {
  if (policy.settle === 'person') return ofPerson(known, people)
  if (!mayOverrule(known, people)) return undefined
  switch (policy.settle) {
    case 'accept':
      return accepted(policy, handling.proposals)
    case 'keep-first':
    case 'keep-last': {
      if (known.target === undefined) return undefined
      const branch = policy.settle === 'keep-first' ? known.branches[0] : known.branches.at(-1)
      return branch && pick(branch)
    }
    case 'compensate':
      return policy.action === undefined ? undefined : { kind: 'compensate', action: policy.action }
    case 'keep-both':
    case 'dismiss':
      return { kind: policy.settle }
  }
}

/** What they propose, if that is one thing: of two answers neither is accepted. */
function accepted({ from, resolver, confidence = 0 }: Policy, proposals: readonly Proposal[]): Choice | undefined {
  const heard = from ?? (resolver === undefined ? [] : [resolverAgent(resolver)])
  const good = proposals.filter(
    (one) => !one.isStale && names(heard, one.agent) && (one.confidence ?? (confidence > 0 ? 0 : 1)) >= confidence,
  )
  const [first] = good
  if (first === undefined) return undefined
  const digest = choiceDigest(first.choice)
  return good.every(({ choice }) => choiceDigest(choice) === digest) ? first.choice : undefined
}

/** The one thing that persons decided, or else the one branch that a person wrote and no other person has written against. */
function ofPerson(known: Case, people: readonly string[]): Choice | undefined {
  const decided = known.decisions.filter(({ agent }) => names(people, agent))
  const last = decided.at(-1)
  if (last !== undefined) {
    const digest = choiceDigest(last.choice)
    return decided.every(({ choice }) => choiceDigest(choice) === digest) ? last.choice : undefined
  }
  if (known.target === undefined) return undefined
  // What the same person has written over is not another word of his.
  const written = known.branches.filter(({ agent }) => names(people, agent))
  const standing = written.filter((one) => !written.some((later) => isOver(later, one)))
  const [branch, ...others] = standing
  return branch !== undefined && others.length === 0 ? pick(branch) : undefined
}

function isOver(later: Branch, branch: Branch): boolean {
  return later.parts.some(({ over }) => over.some((dot) => sameDot(dot, branch)))
}

function pick({ origin, seq }: Branch): Choice {
  return { kind: 'pick', branch: { origin, seq } }
}
