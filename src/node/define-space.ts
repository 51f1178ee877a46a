/**
 * What a space's owner says about it. A schema for the values of its entries, from any library that speaks Standard
 * Schema (zod, valibot, arktype): it types the handles and refuses local writes that would break it. It never refuses
 * what comes from elsewhere: a replica that did would fall out of step with the others for ever. And rules, which raise
 * what merging cannot settle.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { SkeinError } from '../base/errors.ts'
import type { WorkflowDeclaration } from '../merge/policy.ts'
import { declareRules } from '../merge/rule-set.ts'
import type { RuleDeclaration, RuleSet } from '../merge/rule-set.ts'

type AnySchema = StandardSchemaV1<unknown, unknown>

/** A schema by type: of the whole record, of a register's value, of each element of a set, log or list. */
export interface SpaceSchemas {
  readonly record?: AnySchema
  readonly register?: AnySchema
  readonly set?: AnySchema
  readonly log?: AnySchema
  readonly list?: AnySchema
}

export interface SpaceDefinition<Schemas extends SpaceSchemas = SpaceSchemas> {
  readonly schema?: Schemas
  /** Kept with the space and replicated with it. */
  readonly rules?: RuleSet
}

/**
 * Rules for a space, what may be done about what they find, and which version of all that this is: the highest holds in the
 * whole fleet.
 */
interface Ruled extends WorkflowDeclaration {
  readonly rules?: readonly RuleDeclaration[]
  /** From 1 on; raise it with each change of the rules. */
  readonly version?: number
}

type Input<Schema, Otherwise> = Schema extends StandardSchemaV1<infer In, unknown> ? In : Otherwise

/** The value type of one CRDT type in a space of these schemas. */
export type ValueIn<Schemas, Type extends keyof SpaceSchemas, Otherwise> = Schemas extends {
  readonly [T in Type]: infer Schema
}
  ? Input<Schema, Otherwise>
  : Otherwise

/** `schema` is one schema for the space's records, or schemas by type. */
export function defineSpace<Schema extends AnySchema>(
  definition: { readonly schema: Schema } & Ruled,
): SpaceDefinition<{ readonly record: Schema }>
export function defineSpace<Schemas extends SpaceSchemas>(
  definition: { readonly schema: Schemas } & Ruled,
): SpaceDefinition<Schemas>
export function defineSpace(definition: Ruled & { readonly schema?: undefined }): SpaceDefinition
export function defineSpace(
  definition: { readonly schema?: AnySchema | SpaceSchemas | undefined } & Ruled,
): SpaceDefinition {
  const { schema, rules, version, people, due, policies } = definition
  for (const [name, value] of Object.entries({ version, people, due, policies })) {
    if (rules !== undefined || value === undefined) continue
    throw new SkeinError('invalid_argument', `${name}: it goes with rules, and there are none`)
  }
  const beside = { ...(people && { people }), ...(due && { due }), ...(policies && { policies }) }
  const declared = rules === undefined ? {} : { rules: declareRules(rules, version, beside) }
  return schema === undefined ? declared : { schema: checked(schema), ...declared }
}

function checked(schema: AnySchema | SpaceSchemas): SpaceSchemas {
  const schemas = isSchema(schema) ? { record: schema } : schema
  for (const [type, one] of Object.entries(schemas)) {
    if (!(type in elementwise)) {
      throw new SkeinError('invalid_argument', `schema: ${type} takes none; record, register, set, log and list do`)
    }
    if (!isSchema(one)) throw new SkeinError('invalid_argument', `schema: ${type} is not a Standard Schema`)
  }
  return schemas
}

const elementwise: Readonly<Record<string, boolean>> = {
  record: false,
  register: false,
  set: true,
  log: true,
  list: true,
}

function isSchema(value: unknown): value is AnySchema {
  return (typeof value === 'object' || typeof value === 'function') && value !== null && '~standard' in value
}

/** Throws schema_violation with the path, if the value that a write would leave is outside the schema. */
export function checkSchema(schemas: SpaceSchemas, type: string, key: string, value: unknown): void {
  const schema = schemas[type as keyof SpaceSchemas]
  if (schema === undefined) return
  if (elementwise[type] === true && Array.isArray(value)) {
    for (const [at, element] of value.entries()) checkOne(schema, key, element, [at])
  } else checkOne(schema, key, value, [])
}

function checkOne(schema: AnySchema, key: string, value: unknown, prefix: readonly PropertyKey[]): void {
  const outcome = schema['~standard'].validate(value)
  if (outcome instanceof Promise) {
    outcome.catch(() => undefined)
    throw new SkeinError('invalid_argument', 'schema: it validates asynchronously, and writes are synchronous')
  }
  if (outcome.issues === undefined) return
  const issues = outcome.issues.map((issue) => ({
    path: [...prefix, ...(issue.path ?? []).map((part) => (typeof part === 'object' ? part.key : part))].map(String),
    message: issue.message,
  }))
  const [first] = issues
  const where = first === undefined || first.path.length === 0 ? key : `${key}: ${first.path.join('.')}`
  throw new SkeinError('schema_violation', `${where}: ${first?.message ?? 'outside the schema'}`, { key, issues })
}
