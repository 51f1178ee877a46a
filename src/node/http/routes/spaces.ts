/** The spaces of the node. */
import { SkeinError } from '../../../base/errors.ts'
import type { RulesGiven } from '../conflict-desk.ts'
import { agentHeader, agentIn, limitOf, textOf } from '../route.ts'
import type { Call, Route } from '../route.ts'
import { cursorQuery, limitQuery, listOf, object, ruledSpace, space, spaceDeclaration, text } from '../schemas.ts'

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
    says: 'Makes a space, or declares its rules, or both. Writing to one that is not there makes it too.',
    headers: { 'Skein-Agent': agentHeader },
    body: spaceDeclaration,
    bodyOptional: true,
    answers: { 200: { says: 'It was there.', schema: ruledSpace }, 201: { says: 'It was made.', schema: ruledSpace } },
    codes: ['invalid_key', 'too_large', 'rules_superseded', 'busy', 'store_full', 'store_failed'],
    async handle({ service, caller, params: { space: name = '' }, body, headers }) {
      const given = (body ?? {}) as Partial<RulesGiven>
      const [alone] = Object.keys(given)
      if (given.rules === undefined && alone !== undefined) {
        throw new SkeinError('invalid_argument', `${alone}: it goes with rules, and there are none`)
      }
      // Before anything is made: rules that are wrong leave nothing behind.
      const declared = given.rules === undefined ? undefined : service.conflicts.checked(name, given as RulesGiven)
      const made = await service.makeSpace(caller, name)
      if (declared !== undefined) await service.conflicts.declare(caller, name, declared, agentIn(headers))
      return { status: made ? 201 : 200, body: ruled(service, caller, name) }
    },
  },
  {
    method: 'GET',
    path: '/v1/spaces/{space}',
    says: 'Where a space stands.',
    answers: { 200: { says: 'Its counts, its root and its rules.', schema: ruledSpace } },
    codes: ['invalid_key', 'not_found'],
    handle: ({ service, caller, params: { space: name = '' } }) => ({ body: ruled(service, caller, name) }),
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

function ruled(service: Call['service'], caller: Call['caller'], name: string): unknown {
  return { ...service.space(caller, name), rules: service.conflicts.rules(name) }
}
