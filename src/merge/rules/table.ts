/** The table of rules: a new one is its file and a line here. */
import type { RuleKind } from '../rule.ts'
import { bound } from './bound.ts'
import { custom } from './custom.ts'
import { deletion } from './deletion.ts'
import { doubleClaim } from './double-claim.ts'
import { effect } from './effect.ts'
import { exclusive } from './exclusive.ts'
import { field } from './field.ts'
import { reference } from './reference.ts'
import { schema } from './schema.ts'
import { stale } from './stale.ts'
import { textOverlap } from './text.ts'
import { transition } from './transition.ts'
import { typesUnderOneKey } from './types.ts'
import { unique } from './unique.ts'

export const ruleKinds: readonly RuleKind[] = [
  field,
  deletion,
  doubleClaim,
  exclusive,
  transition,
  effect,
  unique,
  bound,
  reference,
  stale,
  typesUnderOneKey,
  schema,
  custom,
  textOverlap,
]

const byName = new Map(ruleKinds.map((kind) => [kind.name, kind]))

/** Undefined for one that a newer version knows. */
export function ruleKind(name: string): RuleKind | undefined {
  return byName.get(name)
}
