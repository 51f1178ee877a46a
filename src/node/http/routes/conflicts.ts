/** Conflicts: what merging could not settle, and deciding it. */
import type { ErrorCode } from '../../../base/errors.ts'
import { stages } from '../../../merge/queue.ts'
import { severities } from '../../../merge/rule.ts'
import type { ConflictEvent } from '../../../replica/conflicts.ts'
import type { ConflictGap, ConflictOptions } from '../../conflicts.ts'
import type { Durability } from '../../receipt.ts'
import type { Deed } from '../conflict-desk.ts'
import { conflict, conflictView, deedBodies, done } from '../conflict-schemas.ts'
import type { ServerSent } from '../events.ts'
import { agentHeader, agentIn, limitOf, numberOf, reasonHeader, reasonIn, taken, textOf } from '../route.ts'
import type { Call, Route } from '../route.ts'
import { cursorQuery, flag, limitQuery, listOf, object, text, waitQuery } from '../schemas.ts'
import { waitOf } from '../waiting.ts'

const inSpace = { ...text, description: 'Only of this space; of all that the caller may see unless told otherwise.' }

const deedCodes: readonly ErrorCode[] = [
  'unknown_conflict',
  'not_found',
  'conflict_settled',
  'invalid_key',
  'too_large',
  'unsupported_media',
  'busy',
  'store_full',
  'store_failed',
]
const choiceCodes: readonly ErrorCode[] = [
  'not_entitled',
  'conflict_changed',
  'invalid_value',
  'too_deep',
  'reserved_name',
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
    path: '/v1/conflicts/watch',
    says: 'What becomes of conflicts from now on, as server-sent events. They name no entries: it takes the right to read all.',
    query: { space: inSpace },
    answers: {
      200: { says: 'Events: `conflict`, `gap` and, before the server goes, `end`.', media: 'text/event-stream' },
    },
    codes: ['not_found'],
    handle({ service, caller, query, reply, events, recheck }) {
      const space = textOf(query['space'])
      events.send(reply, (signal) => sent(service.conflicts.watch(caller, space, signal)), recheck)
      return taken
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
  deed('resolve', 'Decides a conflict, in one delta. The same decision twice is one.', choiceCodes),
  deed('ack', 'Takes note of a conflict, so that whoever lists them sees that somebody has.'),
  deed('assign', 'Says whose it is.'),
  deed('snooze', 'Puts it off: until then it troubles nobody.'),
  deed('propose', 'Puts a decision before whoever decides. It is recorded, and changes nothing else.', choiceCodes),
]

/** What is done about a conflict: each is one route, with its own body. */
function deed(does: Deed['does'], says: string, codes: readonly ErrorCode[] = []): Route {
  return {
    method: 'POST',
    path: `/v1/conflicts/{id}/${does}`,
    says,
    query: { space: inSpace, ...waitQuery },
    headers: { 'Skein-Agent': agentHeader, 'Skein-Reason': reasonHeader },
    body: deedBodies[does],
    ...(does === 'ack' && { bodyOptional: true as const }),
    answers: {
      200: { says: 'Done, and as safe as was asked for; with the conflict as it is now.', schema: done },
      202: { says: 'Done here, and not yet as safe as was asked for.', schema: done },
    },
    codes: [...deedCodes, ...codes],
    async handle({ service, caller, params: { id = '' }, query, headers, body }) {
      const { reason, ...rest } = (body ?? {}) as { readonly reason?: string }
      const answer = await service.conflicts.act(caller, id, { ...rest, does } as Deed, {
        space: textOf(query['space']),
        agent: agentIn(headers),
        reason: reason ?? reasonIn(headers),
        durability: textOf(query['durability']) as Durability | undefined,
        wait: waitOf(textOf(query['wait']), numberOf(query['timeout'])),
      })
      const isSafe = answer.durable && answer.reached?.met !== false
      const conflict = service.conflicts.glance(caller, id, answer.space)
      return { status: isSafe ? 200 : 202, body: { ...answer, conflict } }
    },
  }
}

function filterOf(query: Call['query']): ConflictOptions {
  const { limit: _limit, cursor: _cursor, overdue, ...rest } = query
  // Their kinds were checked by the schema; what is not there is not in the query.
  return { ...rest, ...(overdue !== undefined && { overdue: overdue === 'true' }) } as ConflictOptions
}

async function* sent(events: AsyncIterable<ConflictEvent | ConflictGap>): AsyncGenerator<ServerSent, void, void> {
  for await (const event of events) yield { name: event.change === 'gap' ? 'gap' : 'conflict', data: event }
}
