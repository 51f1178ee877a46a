/** The spaces of the node. */
import { limitOf, textOf } from '../route.ts'
import type { Route } from '../route.ts'
import { cursorQuery, limitQuery, listOf, object, space, text } from '../schemas.ts'

export const spaceRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/spaces',
    says: 'The spaces that the caller may see.',
    query: { limit: limitQuery, cursor: cursorQuery },
    answers: {
      200: { says: 'A page, in the order of their names.', schema: object({ spaces: listOf(space), 'cursor?': text }) },
    },
    codes: ['invalid_token'],
    handle({ service, caller, query }) {
      const page = service.spacePage(caller, { limit: limitOf(query['limit']), cursor: textOf(query['cursor']) })
      return { body: { spaces: page.items, cursor: page.cursor } }
    },
  },
  {
    method: 'PUT',
    path: '/v1/spaces/{space}',
    says: 'Makes a space. Writing to one that is not there makes it too.',
    answers: { 200: { says: 'It was there.', schema: space }, 201: { says: 'It was made.', schema: space } },
    codes: ['invalid_key', 'too_large', 'busy', 'store_full', 'store_failed'],
    async handle({ service, caller, params: { space: name = '' } }) {
      const made = await service.makeSpace(caller, name)
      return { status: made ? 201 : 200, body: service.space(caller, name) }
    },
  },
  {
    method: 'GET',
    path: '/v1/spaces/{space}',
    says: 'Where a space stands.',
    answers: { 200: { says: 'Its counts and its root.', schema: space } },
    codes: ['invalid_key', 'not_found'],
    handle: ({ service, caller, params: { space: name = '' } }) => ({ body: service.space(caller, name) }),
  },
  {
    method: 'DELETE',
    path: '/v1/spaces/{space}',
    says: 'Ends a space with all that is in it. The same name starts anew, as another generation.',
    answers: { 200: { says: 'It is gone.', schema: object({ deleted: text }) } },
    codes: ['invalid_key', 'not_found', 'store_full', 'store_failed'],
    async handle({ service, caller, params: { space: name = '' } }) {
      await service.deleteSpace(caller, name)
      return { body: { deleted: name } }
    },
  },
]
