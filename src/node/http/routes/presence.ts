/** What agents show of themselves for a while: on no disk, in no history. */
import { limits } from '../../../base/limits.ts'
import type { ShowOptions } from '../../presence.ts'
import type { Route } from '../route.ts'
import { anything, listOf, object, text, whole } from '../schemas.ts'

const agent = object({ agent: text, node: text, value: anything, leftMs: { type: 'number' } })

export const presenceRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/spaces/{space}/presence',
    says: 'Who is there in a space, at whichever node.',
    answers: { 200: { says: 'By agent, then node.', schema: object({ present: listOf(agent) }) } },
    codes: ['invalid_key', 'not_found'],
    handle: ({ service, caller, params: { space = '' } }) => ({ body: { present: service.present(caller, space) } }),
  },
  {
    method: 'PUT',
    path: '/v1/spaces/{space}/presence/{agent}',
    says: "Shows a value as that agent's for a while, in the place of what it showed before. Say it again well before the time is over.",
    body: object({
      value: anything,
      'ttlMs?': {
        ...whole,
        minimum: 1,
        maximum: limits.presenceMs,
        description: 'Milliseconds; 30,000 unless told otherwise.',
      },
    }),
    answers: { 200: { says: 'It is shown.', schema: object({ shown: text }) } },
    codes: ['invalid_key', 'too_large'],
    handle({ service, caller, params: { space = '', agent: name = '' }, body }) {
      const { value, ...options } = body as ShowOptions & { readonly value: unknown }
      service.show(caller, space, name, value, options)
      return { body: { shown: name } }
    },
  },
  {
    method: 'DELETE',
    path: '/v1/spaces/{space}/presence/{agent}',
    says: 'That agent is not there any more, at this node.',
    answers: { 200: { says: 'It is withdrawn, if it was there.', schema: object({ withdrawn: text }) } },
    codes: ['invalid_key'],
    handle({ service, caller, params: { space = '', agent: name = '' } }) {
      service.show(caller, space, name, undefined, {})
      return { body: { withdrawn: name } }
    },
  },
]
