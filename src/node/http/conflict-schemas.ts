/** JSON schemas of conflicts: with them a person can decide from one screen, and an agent from one answer. */
import { decisionKinds } from '../../merge/case.ts'
import { stages } from '../../merge/queue.ts'
import { deciders, safeOutcomes, severities } from '../../merge/rule.ts'
import type { Deed } from './conflict-desk.ts'
import { anything, dot, historyFields, listOf, object, reached, text, truth, whole } from './schemas.ts'
import type { Schema } from './schemas.ts'

const part = object({
  key: text,
  type: text,
  path: anything,
  act: text,
  'value?': anything,
  cutBytes: { type: 'integer', description: 'Of a value that was too long to keep.' },
  over: listOf(dot),
})

const branch = object({
  dot: { ...dot, description: 'Names the branch: `pick` takes it.' },
  agent: text,
  'reason?': text,
  at: whole,
  did: { ...listOf(part), description: 'What it did to what the conflict is about.' },
  beside: { ...listOf(part), description: 'What it did in the same act to the same entries.' },
  hadSeen: { ...listOf(dot), description: 'What its writer had newly seen of others.' },
  'supersededBy?': dot,
  settled: truth,
})

const difference = object({
  key: text,
  type: text,
  path: anything,
  agreed: { type: 'boolean', description: 'All branches wrote it, and the same.' },
  before: {
    ...listOf(object({ dot, agent: text, at: whole, 'value?': anything })),
    description: 'What stood there before, where history still had it.',
  },
  branches: listOf(object({ dot, act: text, 'value?': anything })),
})

const choice = object(
  { kind: { type: 'string', enum: decisionKinds }, 'branch?': dot, 'value?': anything, 'action?': text },
  '`pick` takes a branch, `write` a value, `compensate` an action that is run elsewhere.',
)

const decision = object({ dot, choice, agent: text, at: whole, 'reason?': text, settles: listOf(dot) })

const said = { agent: text, at: whole, 'reason?': text }

const proposal = object({
  ...said,
  dot,
  choice,
  'confidence?': { type: 'number' },
  revision: text,
  isStale: { type: 'boolean', description: 'The conflict has moved since.' },
})

/** Who is at work on it. */
const handlingFields: Readonly<Record<string, Schema>> = {
  stage: { type: 'string', enum: stages, description: 'How far it has come.' },
  'owner?': text,
  'assigned?': object(said),
  'acknowledged?': object(said),
  'snoozed?': object({ ...said, untilMs: whole }),
  proposals: listOf(proposal),
  notices: {
    ...listOf(object({ level: whole, state: text, node: text, at: whole })),
    description: 'Who was told: 0 is the first target, the next ones are told when it is overdue.',
  },
  compensations: {
    ...listOf(object({ key: text, state: text, node: text, at: whole, 'receipt?': anything, 'failure?': text })),
    description: 'Actions that were to undo something, and what came of them.',
  },
  raisedAt: whole,
  dueAt: whole,
  overdue: truth,
}

const conflictFields: Readonly<Record<string, Schema>> = {
  space: text,
  id: text,
  rule: text,
  kind: text,
  says: { type: 'string', description: 'What this kind of conflict is.' },
  summary: { type: 'string', description: 'What happened here, in words.' },
  severity: { type: 'string', enum: severities },
  safe: { type: 'string', enum: safeOutcomes, description: 'What holds until somebody has decided.' },
  decides: { type: 'string', enum: deciders },
  state: { type: 'string', enum: ['open', 'settled'] },
  revision: { type: 'string', description: 'Moves with each branch and each decision.' },
  subject: listOf(anything),
  keys: { ...listOf(text), description: 'Entries that have a part in it.' },
  branches: listOf(branch),
  more: { type: 'boolean', description: 'There were more branches than are kept.' },
  differences: listOf(difference),
  duplicateRisk: {
    type: 'string',
    enum: ['none', 'high'],
    description: '`high`: each branch may have acted on the world outside.',
  },
  advice: { type: 'string', description: 'What to do next.' },
  takesValue: { type: 'boolean', description: 'It is about one value: `write` can give another.' },
  decisions: listOf(decision),
  contradictory: truth,
  repeats: { type: 'integer', description: 'How often a conflict on this subject was settled before.' },
  isRepeated: truth,
  firstAt: whole,
  lastAt: whole,
  ...handlingFields,
}

export const conflict: Schema = object(conflictFields)

export const conflictView: Schema = object({
  ...conflictFields,
  history: {
    ...listOf(object({ key: text, ...historyFields, isBranch: truth, seenBy: listOf(dot) })),
    description: "What was done to its entries around it, oldest first, as far back as this node's log goes.",
  },
})

const revision = { type: 'string', description: 'The one that was looked at: it holds for that, or not at all.' }

/** What is said with each deed. */
export const deedBodies: Readonly<Record<Deed['does'], Schema>> = {
  resolve: object({ revision, choice, 'reason?': text }),
  ack: object({ 'reason?': text }),
  assign: object({
    to: { type: ['string', 'null'], description: 'Whose it is from now on; null for nobody.' },
    'reason?': text,
  }),
  snooze: object({
    'forMs?': { type: 'integer', description: 'For so long, or' },
    'untilMs?': { type: 'integer', description: 'until then. A time that is over ends it.' },
    'reason?': text,
  }),
  propose: object({
    revision,
    choice,
    'confidence?': { type: 'number', description: 'How sure whoever proposes is, from 0 to 1.' },
    'reason?': text,
  }),
}

export const done: Schema = object({
  version: text,
  durable: truth,
  changed: { type: 'boolean', description: 'False: it was so before.' },
  space: text,
  'reached?': reached,
  'conflict?': conflict,
})
