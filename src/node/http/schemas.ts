/** JSON schemas that several routes share. The server validates and writes by them; the OpenAPI document shows them. */
import { limits } from '../../base/limits.ts'
import { types } from '../../crdt/types/table.ts'
import { policySettles } from '../../merge/policy.ts'
import { ruleKinds } from '../../merge/rules/table.ts'
import { defaultTimeoutMs, waitPattern } from './waiting.ts'

export type Schema = Readonly<Record<string, unknown>>

export const text: Schema = { type: 'string' }
export const whole: Schema = { type: 'integer' }
export const truth: Schema = { type: 'boolean' }
/** In a query. */
export const flag: Schema = { type: 'string', enum: ['true', 'false'] }
/** Any JSON value. */
export const anything: Schema = {}

export function listOf(items: Schema): Schema {
  return { type: 'array', items }
}

/** Every property is required unless its name ends in a question mark. */
export function object(properties: Readonly<Record<string, Schema>>, says?: string): Schema {
  const named = Object.entries(properties).map(([name, schema]) => [name.replace(/\?$/, ''), schema] as const)
  const required = Object.keys(properties).filter((name) => !name.endsWith('?'))
  return {
    type: 'object',
    ...(says !== undefined && { description: says }),
    properties: Object.fromEntries(named),
    required,
    additionalProperties: false,
  }
}

export function digits(most: number, says: string): Schema {
  return { type: 'string', pattern: `^[0-9]{1,${most}}$`, description: says }
}

export const limitQuery: Schema = digits(
  4,
  `Items in one page, 100 unless told otherwise, at most ${limits.pageItems}.`,
)
export const cursorQuery: Schema = { ...text, description: '`cursor` of the page before.' }

export const timeoutQuery: Schema = digits(
  6,
  `Milliseconds to wait, ${defaultTimeoutMs} unless told otherwise, at most ${limits.waitMs}.`,
)

/** Of every write. */
export const waitQuery: Readonly<Record<string, Schema>> = {
  wait: {
    type: 'string',
    pattern: waitPattern,
    description:
      'What the answer waits for: `durable` (unless told otherwise), `none`, `peers:k` disks of peers, or `all`.',
  },
  timeout: timeoutQuery,
  durability: { type: 'string', enum: ['memory', 'os', 'disk'] },
}

export const problem: Schema = object(
  {
    type: text,
    title: text,
    status: whole,
    detail: text,
    code: text,
    state: text,
    retryable: truth,
    action: text,
    'details?': { type: 'object', additionalProperties: true },
  },
  'Problem details (RFC 9457). `code` is stable: docs/ERRORS.md lists them.',
)

export const dot: Schema = object({ origin: text, seq: whole })

export const written: Schema = object({
  value: anything,
  agent: text,
  at: whole,
  dot,
})

const sibling: Schema = object({ path: anything, expires: whole, value: anything, agent: text, at: whole, dot })

export const entry: Schema = object({
  key: text,
  type: text,
  'value?': anything,
  by: object({ agent: text, at: whole }, 'Who wrote the newest part, and when (milliseconds).'),
  'concurrent?': { ...listOf(written), description: 'Concurrent writes that `value` does not show.' },
  'conflicts?': {
    ...listOf(text),
    description: 'Open conflicts in which it has a part: `/v1/conflicts/{id}` tells of one.',
  },
  'siblings?': { ...listOf(sibling), description: 'Every live value of every cell.' },
  version: text,
})

export const reached: Schema = object({ met: truth, reached: listOf(text), missing: listOf(text) })

const wroteBase: Readonly<Record<string, Schema>> = {
  version: { type: 'string', description: 'A causal token of this write.' },
  durable: { type: 'boolean', description: 'It survives what its durability names.' },
  changed: { type: 'boolean', description: 'False: it said nothing new, and cost nothing.' },
  'replayed?': { type: 'boolean', description: 'Answered from what was kept for the Idempotency-Key.' },
  'reached?': reached,
}

export const wrote: Schema = object({ ...wroteBase, 'result?': anything })

export const transacted: Schema = object({
  ...wroteBase,
  results: { type: 'array', items: anything, description: 'What each operation answers; null for nothing.' },
  entries: listOf(object({ key: text, version: text })),
})

const operationsText = types
  .map(({ name, operations }) => {
    const calls = Object.entries(operations).map(([op, { parameters }]) =>
      parameters.length === 0 ? `\`${op}\`` : `\`${op} {${parameters.join(', ')}}\``,
    )
    return `${name}: ${calls.join(', ')}`
  })
  .join('; ')

const typeName: Schema = { type: 'string', enum: types.map(({ name }) => name) }

/** Arguments are judged by the type itself, which knows more of them than a schema could say. */
export const operation: Schema = {
  type: 'object',
  description: `One operation with its arguments beside it. ${operationsText}. Bytes are base64.`,
  properties: { type: typeName, op: text },
  required: ['type', 'op'],
  additionalProperties: true,
}

export const transaction: Schema = object({
  operations: {
    type: 'array',
    minItems: 1,
    maxItems: limits.transactOperations,
    description: 'Applied in order, as one delta. `{key, op: "delete"}` without a type deletes the entry.',
    items: {
      type: 'object',
      properties: { key: text, type: typeName, op: text, ifMatch: text },
      required: ['key', 'op'],
      additionalProperties: true,
    },
  },
})

const spaceFigures: Readonly<Record<string, Schema>> = {
  name: text,
  generation: whole,
  entries: whole,
  siblings: whole,
  origins: whole,
  logBytes: whole,
  root: { type: 'string', description: 'Equal roots: equal content.' },
}

export const space: Schema = object(spaceFigures)

const rule: Schema = {
  type: 'object',
  description: `A kind of rule with its settings: ${ruleKinds.map(({ name }) => name).join(', ')}. docs/EMBEDDING.md has them.`,
  properties: { rule: text },
  required: ['rule'],
  additionalProperties: true,
}

const workflow: Readonly<Record<string, Schema>> = {
  'people?': {
    ...listOf(text),
    description: 'Agents that are persons: names, or beginnings of names that end in `*`.',
  },
  'due?': {
    type: 'object',
    description: 'How long a conflict may stay open before it is overdue, by severity, in milliseconds.',
    additionalProperties: whole,
  },
  'policies?': {
    type: 'array',
    description: 'What may be settled without anybody. docs/EMBEDDING.md has them.',
    items: {
      type: 'object',
      properties: { name: text, settle: { type: 'string', enum: policySettles } },
      required: ['name', 'settle'],
      additionalProperties: true,
    },
  },
}

export const ruledSpace: Schema = object({
  ...spaceFigures,
  rules: object({
    ...workflow,
    version: { type: 'integer', description: '0 without any.' },
    rules: listOf(rule),
    notEvaluated: { ...listOf(text), description: 'Rules of a newer version, which say nothing here.' },
  }),
})

export const spaceDeclaration: Schema = object({
  'rules?': listOf(rule),
  'version?': {
    type: 'integer',
    description: 'Of the rules, 1 unless told otherwise. The highest holds in the fleet.',
  },
  ...workflow,
})

export const historyFields: Readonly<Record<string, Schema>> = {
  dot,
  at: whole,
  agent: text,
  'reason?': text,
  cleared: truth,
  'purged?': truth,
  changes: listOf(object({ type: text, path: anything, 'value?': anything, supersedes: listOf(dot) })),
}

export const historyItem: Schema = object(historyFields)

export const peer: Schema = object({
  node: text,
  'address?': text,
  state: { type: 'string', enum: ['alive', 'suspect', 'dead', 'left', 'unknown'] },
  'heardMs?': { type: 'number' },
  lacks: object({ here: whole, there: whole }),
  zone: text,
  version: { type: 'string', description: 'Of the protocol that it speaks.' },
  linked: truth,
  onRoster: truth,
  queueBytes: whole,
  'stuck?': text,
})
