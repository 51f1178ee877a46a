/** Conflicts: what merging could not settle, and deciding it. */
import type { ErrorCode } from '../../../base/errors.ts'
import type { Choice } from '../../../merge/case.ts'
import { stages } from '../../../merge/queue.ts'
import { severities } from '../../../merge/rule.ts'
import type { ConflictOptions } from '../../conflicts.ts'
import type { Durability } from '../../receipt.ts'
import { conflict, conflictView, resolution, resolved } from '../conflict-schemas.ts'
import { agentHeader, agentIn, limitOf, numberOf, reasonHeader, reasonIn, textOf } from '../route.ts'
import type { Call, Route } from '../route.ts'
import { cursorQuery, flag, limitQuery, listOf, object, text, waitQuery } from '../schemas.ts'
import { waitOf } from '../waiting.ts'

const inSpace = { ...text, description: 'Only of this space; of all that the caller may see unless told otherwise.' }

const decisionCodes: readonly ErrorCode[] = [
  'unknown_conflict',
  'not_found',
  'conflict_settled',
  'conflict_changed',
  'invalid_value',
  'too_deep',
  'too_large',
  'reserved_name',
  'unsupported_media',
  'busy',
  'store_full',
  'store_failed',
]

export const conflictRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/conflicts',
    says: 'Conflicts with their evidence.',
    query: {
      space: inSpace,
      prefix: { ...text, description: 'Only where an entry with a part in it has a key that begins so.' },
      rule: { ...text, description: 'Only those that this rule found, by its name.' },
      state: { type: 'string', enum: ['open', 'settled', 'all'], description: '`open` unless told otherwise.' },
      stage: { type: 'string', enum: stages, description: 'How far it has come, more exactly.' },
      severity: { type: 'string', enum: severities },
      owner: { ...text, description: 'Only those that are assigned to this agent.' },
      overdue: { ...flag, description: 'Only those whose time is over, or only the others.' },
      limit: limitQuery,
      cursor: cursorQuery,
    },
    answers: {
      200: {
        says: 'A page, in the order of spaces and ids.',
        schema: object({ conflicts: listOf(conflict), 'cursor?': text }),
      },
    },
    codes: ['not_found', 'invalid_token'],
    async handle({ service, caller, query }) {
      const { items, cursor } = await service.conflicts.page(caller, filterOf(query), {
        limit: limitOf(query['limit']),
        cursor: textOf(query['cursor']),
      })
      return { body: { conflicts: items, cursor } }
    },
  },
  {
    method: 'GET',
    path: '/v1/conflicts/{id}',
    says: 'One conflict, with the history around it: all that it takes to decide.',
    query: { space: inSpace },
    answers: { 200: { says: 'The conflict.', schema: conflictView } },
    codes: ['unknown_conflict', 'not_found'],
    async handle({ service, caller, params: { id = '' }, query }) {
      return { body: await service.conflicts.get(caller, id, textOf(query['space'])) }
    },
  },
  {
    method: 'POST',
    path: '/v1/conflicts/{id}/resolve',
    says: 'Decides a conflict, in one delta. The same decision twice is one.',
    query: { space: inSpace, ...waitQuery },
    headers: { 'Skein-Agent': agentHeader, 'Skein-Reason': reasonHeader },
    body: resolution,
    answers: {
      200: { says: 'Decided, and as safe as was asked for.', schema: resolved },
      202: { says: 'Decided here, and not yet as safe as was asked for.', schema: resolved },
    },
    codes: decisionCodes,
    async handle({ service, caller, params: { id = '' }, query, headers, body }) {
      const { revision, choice, reason } = body as {
        readonly revision: string
        readonly choice: Choice
        readonly reason?: string
      }
      const answer = await service.conflicts.resolve(caller, id, {
        space: textOf(query['space']),
        revision,
        choice,
        agent: agentIn(headers),
        reason: reason ?? reasonIn(headers),
        durability: textOf(query['durability']) as Durability | undefined,
        wait: waitOf(textOf(query['wait']), numberOf(query['timeout'])),
      })
      return { status: answer.durable && answer.reached?.met !== false ? 200 : 202, body: answer }
    },
  },
]

function filterOf(query: Call['query']): ConflictOptions {
  const { limit: _limit, cursor: _cursor, overdue, ...rest } = query
  // Their kinds were checked by the schema; what is not there is not in the query.
  return { ...rest, ...(overdue !== undefined && { overdue: overdue === 'true' }) } as ConflictOptions
}
