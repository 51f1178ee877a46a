/** Taking a leaked value out of logs, histories and files, everywhere. */
import { limits } from '../../../base/limits.ts'
import { agentHeader, agentIn, numberOf, reasonHeader, reasonIn } from '../route.ts'
import type { Route } from '../route.ts'
import { digits, listOf, object, text } from '../schemas.ts'

const report = object({ done: listOf(text), waiting: listOf(text) })
const path = '/v1/spaces/{space}/entries/{key}/purge'

export const purgeRoutes: readonly Route[] = [
  {
    method: 'POST',
    path,
    says: 'Deletes the entry and takes all that was written to it out of logs, histories and files, at every node.',
    query: {
      timeout: digits(6, 'Milliseconds to wait for the other members: 10,000 unless told otherwise.'),
    },
    headers: { 'Skein-Agent': agentHeader, 'Skein-Reason': reasonHeader },
    answers: {
      200: { says: 'The nodes that have done it, and living members that have not said so.', schema: report },
    },
    codes: ['invalid_key', 'not_found', 'budget_not_deletable', 'busy', 'store_full', 'store_failed'],
    async handle({ service, caller, params: { space = '', key = '' }, query, headers }) {
      const request = {
        agent: agentIn(headers),
        reason: reasonIn(headers),
      }
      const timeoutMs = Math.min(numberOf(query['timeout']) ?? 10_000, limits.waitMs)
      return { body: await service.purge(caller, space, key, request, timeoutMs) }
    },
  },
  {
    method: 'GET',
    path,
    says: 'Who has carried out the purges of an entry.',
    answers: { 200: { says: 'As this node knows it.', schema: report } },
    codes: ['invalid_key', 'not_found'],
    handle: ({ service, caller, params: { space = '', key = '' } }) => ({ body: service.purged(caller, space, key) }),
  },
]
