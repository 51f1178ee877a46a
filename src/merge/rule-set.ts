/**
 * The rules of a space as its owner declares them, and as they stand in its system entry: one cell, so that a set of rules
 * is taken whole. The highest version holds; of two sets under one version that were declared apart, the one with the
 * greater bytes, everywhere alike.
 */
import { compareBytes } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { encodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import { rootPath } from '../crdt/cell.ts'
import type { Siblings } from '../crdt/cell.ts'
import type { Cells, CrdtType } from '../crdt/type.ts'
import { isObject, valueIn } from './deed.ts'
import { checkWorkflow, noWorkflow, workflowIn } from './policy.ts'
import type { Workflow, WorkflowDeclaration } from './policy.ts'
import { belowLog } from './below-log.ts'
import { deciders, safeOutcomes, severities } from './rule.ts'
import type { Decider, Rule, SafeOutcome, Settings, Severity } from './rule.ts'
import { ruleKind, ruleKinds } from './rules/table.ts'
import { wrong } from './rules/settings.ts'
import { systemTypes } from './system.ts'

/** A rule as it is declared: the kind, and its settings beside those that every rule has. */
export interface RuleDeclaration {
  readonly rule: string
  /** Names it among the rules of the space; without it, its kind does. */
  readonly name?: string
  /** Only keys that start so. */
  readonly prefix?: string
  readonly severity?: Severity
  readonly safe?: SafeOutcome
  readonly decides?: Decider
  readonly [setting: string]: unknown
}

export interface RuleSet {
  /** 0 where none was declared. */
  readonly version: number
  readonly rules: readonly Rule[]
  /** Rules that a newer version knows: nothing is said about what they would find. */
  readonly notEvaluated: readonly string[]
  /** What may be settled without people, who they are, and when it is due. */
  readonly workflow: Workflow
  /** As it stands in the cell. */
  readonly bytes: Uint8Array
}

const common: readonly string[] = ['rule', 'name', 'prefix', 'severity', 'safe', 'decides']
/** Of a set that was declared by an older or a newer version, `judged` says how its rules were understood there. */
const stored: readonly string[] = [...common, 'judged']

export const noRules: RuleSet = {
  version: 0,
  rules: [],
  notEvaluated: [],
  workflow: noWorkflow,
  bytes: new Uint8Array(0),
}

/** Checks a declaration: it comes from outside. Throws `invalid_argument`. */
export function declareRules(declared: unknown, version: unknown = 1, beside: WorkflowDeclaration = {}): RuleSet {
  if (!Number.isSafeInteger(version) || (version as number) < 1) throw wrong('version', 'a whole number from 1 on')
  if (!Array.isArray(declared)) throw wrong('rules', 'an array of rules')
  if (declared.length > limits.rules) {
    throw new SkeinError('too_large', `a space has at most ${limits.rules} rules`, { limit: limits.rules })
  }
  const names = new Set<string>()
  const normal = (declared as readonly unknown[]).map((one) => {
    if (typeof one !== 'object' || one === null) throw wrong('each rule', 'an object')
    const given = one as RuleDeclaration
    const kind = typeof given.rule === 'string' ? ruleKind(given.rule) : undefined
    if (kind === undefined) {
      const known = ruleKinds.map(({ name }) => name).join(', ')
      throw wrong(`rule ${String(given.rule)}`, `one of ${known}`)
    }
    for (const setting of Object.keys(given)) {
      if (!common.includes(setting) && !kind.settings.includes(setting)) {
        throw wrong(`${kind.name}.${setting}`, `one of ${[...common, ...kind.settings].join(', ')}`)
      }
    }
    const name = given.name ?? kind.name
    if (typeof name !== 'string' || name === '' || name.length > limits.ruleNameLength) {
      throw wrong('name', `a string of at most ${limits.ruleNameLength} characters`)
    }
    if (names.has(name)) throw wrong(`name ${name}`, 'different for each rule')
    names.add(name)
    if (given.prefix !== undefined && typeof given.prefix !== 'string') throw wrong('prefix', 'a string')
    choice(given.severity, severities, 'severity')
    choice(given.safe, safeOutcomes, 'safe')
    choice(given.decides, deciders, 'decides')
    const kept = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
    // Encoded and decoded: a setting is data, and what was checked is what is kept.
    const settings = valueIn(encodeValue({ ...kept, name, judged: kind.version })) as Settings
    kind.check(settings)
    return settings
  })
  const workflow = checkWorkflow(beside, names.add(belowLog.name))
  const bytes = encodeValue({ version: version as number, rules: normal, ...(workflow !== undefined && { workflow }) })
  if (bytes.length > limits.rulesBytes) {
    throw new SkeinError('too_large', `rules of ${bytes.length} bytes are over the limit`, { limit: limits.rulesBytes })
  }
  return readRules(bytes)
}

function choice(given: unknown, choices: readonly string[], name: string): void {
  if (given !== undefined && !(choices as readonly unknown[]).includes(given)) {
    throw wrong(name, `one of ${choices.join(', ')}`)
  }
}

/** The set that some bytes hold. Total: what cannot be read is not evaluated. */
function readRules(bytes: Uint8Array): RuleSet {
  const value = valueIn(bytes)
  if (!isObject(value) || typeof value['version'] !== 'number' || !Array.isArray(value['rules'])) return noRules
  const rules: Rule[] = []
  const notEvaluated: string[] = []
  for (const one of (value['rules'] as readonly Value[]).slice(0, limits.rules)) {
    if (!isObject(one) || typeof one['name'] !== 'string') continue
    const rule = ruleOf(one['name'], one)
    if (rule === undefined) notEvaluated.push(one['name'])
    else rules.push(rule)
  }
  return { version: value['version'], rules, notEvaluated, workflow: workflowIn(value['workflow']), bytes }
}

function ruleOf(name: string, given: Settings): Rule | undefined {
  const kind = typeof given['rule'] === 'string' ? ruleKind(given['rule']) : undefined
  if (kind === undefined || Number(given['judged']) > kind.version) return undefined
  const settings = Object.fromEntries(Object.entries(given).filter(([each]) => !stored.includes(each)))
  try {
    kind.check(settings)
  } catch {
    return undefined
  }
  const one = <T extends string>(each: string, choices: readonly T[], otherwise: T): T =>
    (choices as readonly unknown[]).includes(given[each]) ? (given[each] as T) : otherwise
  return {
    name,
    kind,
    severity: one('severity', severities, kind.severity),
    safe: one('safe', safeOutcomes, kind.safe),
    decides: one('decides', deciders, kind.decides),
    prefix: typeof given['prefix'] === 'string' ? given['prefix'] : '',
    settings,
  }
}

/** The set that holds, of those that stand in the cell. */
function holding(siblings: Siblings): RuleSet {
  let best = noRules
  for (const { value } of siblings) {
    const set = readRules(value)
    const isNewer = set.version > best.version
    if (isNewer || (set.version === best.version && compareBytes(set.bytes, best.bytes) > 0)) best = set
  }
  return best
}

export function rulesIn(cells: Cells): RuleSet {
  return holding(cells.get(rootPath))
}

/** The cell of a space's rules. */
export const rulesType: CrdtType<RuleSet> = {
  id: systemTypes.rules,
  name: 'rules',
  merge: 'the highest version, then the greater bytes',
  operations: {
    declare: {
      parameters: ['set'],
      run(_, change, args) {
        change.putBytes(rootPath, (args['set'] as RuleSet).bytes)
        return undefined
      },
    },
  },
  read: (cells) => ({ value: rulesIn(cells), concurrent: [] }),
}
