/** Reading and writing entries. */
import { SkeinError } from '../../../base/errors.ts'
import type { ErrorCode } from '../../../base/errors.ts'
import { limits } from '../../../base/limits.ts'
import type { Durability } from '../../receipt.ts'
import { agentHeader, agentIn, limitOf, numberOf, reasonHeader, reasonIn, textOf, textsOf } from '../route.ts'
import type { Call, Outcome, Route } from '../route.ts'
import {
  cursorQuery,
  digits,
  entry,
  flag,
  historyItem,
  limitQuery,
  listOf,
  object,
  operation,
  text,
  timeoutQuery,
  transacted,
  transaction,
  waitQuery,
  wrote,
} from '../schemas.ts'
import type { KeyedOperation, Operation, WriteAnswer, WriteRequest } from '../service.ts'
import { etagOf, matches } from '../version.ts'
import { waitOf } from '../waiting.ts'

const readCodes: readonly ErrorCode[] = ['invalid_key', 'not_found']
const writeCodes: readonly ErrorCode[] = [
  'invalid_key',
  'invalid_value',
  'reserved_name',
  'too_large',
  'too_deep',
  'unknown_type',
  'type_mismatch',
  'counter_overflow',
  'budget_exceeded',
  'unknown_reservation',
  'budget_not_deletable',
  'claim_held',
  'stale_fence',
  'out_of_range',
  'document_invalid',
  'entry_held',
  'version_mismatch',
  'invalid_token',
  'idempotency_conflict',
  'unsupported_media',
  'busy',
  'store_full',
  'store_failed',
]

const writeQuery: Route['query'] = {
  ...waitQuery,
  ttlMs: digits(13, 'What is written is deleted again after this time, unless it was overwritten.'),
}

const writeHeaders: Route['headers'] = {
  'If-Match': 'Only if the entry is at this version on this replica; `*`: only if it is there.',
  'If-None-Match': '`*`: only if the entry is not there.',
  'Idempotency-Key': 'The same request with the same key is done once, and answered alike, for a day.',
  'Skein-Agent': agentHeader,
  'Skein-Reason': reasonHeader,
}

const { 'If-Match': _ifMatch, 'If-None-Match': _ifNoneMatch, ...transactHeaders } = writeHeaders

const afterQuery = { ...text, description: 'A version: the answer waits until this node has applied what it names.' }

export const entryRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/spaces/{space}/entries',
    says: 'Lists entries in the order of their keys, a page at a time. Writes in between neither skip nor repeat an entry.',
    query: {
      prefix: { ...text, description: 'Only keys that begin so.' },
      where: {
        anyOf: [text, { ...listOf(text), maxItems: limits.filters }],
        description: '`field:value`, also several times: only records with that value; dots lead into nested fields.',
      },
      limit: limitQuery,
      cursor: cursorQuery,
      after: afterQuery,
      timeout: timeoutQuery,
    },
    answers: {
      200: {
        says: 'A page. It may be empty and still have a cursor, where filters found nothing yet.',
        schema: object({ entries: listOf(entry), 'cursor?': text }),
      },
    },
    codes: [...readCodes, 'invalid_token', 'behind'],
    async handle({ service, caller, params: { space = '' }, query }) {
      await afterwards(service, caller, space, query)
      const { items, cursor } = await service.list(caller, space, {
        prefix: textOf(query['prefix']),
        where: textsOf(query['where']),
        limit: limitOf(query['limit']),
        cursor: textOf(query['cursor']),
      })
      return { body: { entries: items, cursor } }
    },
  },
  {
    method: 'GET',
    path: '/v1/spaces/{space}/entries/{key}',
    says: 'One entry. `ETag` is its version.',
    query: {
      type: { ...text, description: 'Read it as this type; else as the newest that is alive under the key.' },
      siblings: { ...flag, description: 'With every live value of every cell.' },
      after: afterQuery,
      timeout: timeoutQuery,
    },
    headers: { 'If-None-Match': 'A version: 304 without a body while the entry is at it.' },
    answers: { 200: { says: 'The entry.', schema: entry }, 304: { says: 'It is at that version.' } },
    codes: [...readCodes, 'unknown_type', 'invalid_token', 'behind'],
    async handle({ service, caller, params: { space = '', key = '' }, query, headers }) {
      if (query['after'] !== undefined) await afterwards(service, caller, space, query)
      const read = service.get(caller, space, key, {
        type: textOf(query['type']),
        siblings: query['siblings'] === 'true',
      })
      const etag = etagOf(read.version)
      const known = headers['if-none-match']
      if (known !== undefined && matches(known, read.version, true)) return { status: 304, headers: { etag } }
      return { body: read, headers: { etag } }
    },
  },
  {
    method: 'POST',
    path: '/v1/spaces/{space}/entries/{key}/ops',
    says: 'Writes: one operation on one entry.',
    query: writeQuery,
    headers: writeHeaders,
    body: operation,
    answers: {
      200: { says: 'Written, and as safe as was asked for. `ETag` is the version of the entry now.', schema: wrote },
      202: { says: 'Applied here, and not yet as safe as was asked for, or nobody waited for it.', schema: wrote },
    },
    codes: writeCodes,
    async handle(call) {
      const { service, caller, params } = call
      const { space = '', key = '' } = params
      return outcome(await service.operate(caller, space, key, call.body as Operation, requestOf(call)))
    },
  },
  {
    method: 'DELETE',
    path: '/v1/spaces/{space}/entries/{key}',
    says: 'Deletes an entry, whatever types are alive under its key.',
    query: writeQuery,
    headers: writeHeaders,
    answers: {
      200: { says: 'Deleted.', schema: wrote },
      202: { says: 'Deleted here, and not yet as safe as was asked for.', schema: wrote },
    },
    codes: [...readCodes, ...writeCodes.filter((code) => code !== 'unsupported_media' && code !== 'invalid_key')],
    async handle(call) {
      const { service, caller, params } = call
      const { space = '', key = '' } = params
      return outcome(await service.remove(caller, space, key, requestOf(call)))
    },
  },
  {
    method: 'POST',
    path: '/v1/spaces/{space}/transact',
    says: 'Writes several operations as one delta: applied, stored and replicated whole, or not at all.',
    query: writeQuery,
    headers: transactHeaders,
    body: transaction,
    answers: {
      200: { says: 'Written, and as safe as was asked for.', schema: transacted },
      202: { says: 'Applied here, and not yet as safe as was asked for.', schema: transacted },
    },
    codes: writeCodes,
    async handle(call) {
      const { service, caller, params } = call
      const { operations } = call.body as { readonly operations: readonly KeyedOperation[] }
      return outcome(await service.transact(caller, params['space'] ?? '', operations, requestOf(call)))
    },
  },
  {
    method: 'GET',
    path: '/v1/spaces/{space}/entries/{key}/history',
    says: "Who changed it, when, why and over what, oldest first, as far back as this node's log goes.",
    query: { limit: limitQuery, cursor: cursorQuery },
    answers: { 200: { says: 'A page.', schema: object({ items: listOf(historyItem), 'cursor?': text }) } },
    codes: [...readCodes, 'invalid_token'],
    async handle({ service, caller, params: { space = '', key = '' }, query }) {
      const page = await service.history(caller, space, key, {
        limit: limitOf(query['limit']),
        cursor: textOf(query['cursor']),
      })
      return { body: page }
    },
  },
]

async function afterwards(
  service: Call['service'],
  caller: Call['caller'],
  space: string,
  query: Call['query'],
): Promise<void> {
  const after = textOf(query['after'])
  if (after === undefined) return
  await service.caughtUp(caller, space, after, waitOf(undefined, numberOf(query['timeout'])).timeoutMs)
}

function requestOf({ query, headers }: Call): WriteRequest {
  return {
    agent: agentIn(headers),
    reason: reasonIn(headers),
    durability: textOf(query['durability']) as Durability | undefined,
    ttlMs: numberOf(query['ttlMs']),
    ifMatch: headers['if-match'],
    ifNoneMatch: headers['if-none-match'],
    idempotencyKey: idempotencyKeyOf(headers['idempotency-key']),
    wait: waitOf(textOf(query['wait']), numberOf(query['timeout'])),
  }
}

function idempotencyKeyOf(header: string | readonly string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  if (typeof header === 'string' && header !== '' && header.length <= limits.idempotencyKeyLength) return header
  throw new SkeinError('invalid_argument', `Idempotency-Key has 1 to ${limits.idempotencyKeyLength} characters`, {
    argument: 'Idempotency-Key',
  })
}

function outcome({ entry: version, ...answer }: WriteAnswer): Outcome {
  const isSafe = answer.durable && answer.reached?.met !== false
  return {
    status: isSafe ? 200 : 202,
    body: answer,
    ...(version !== undefined && { headers: { etag: etagOf(version) } }),
  }
}
