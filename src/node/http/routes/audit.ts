/** What this node has found, heard, decided and done about conflicts, in a chain. */
import { limitOf, numberOf, textOf } from '../route.ts'
import type { Route } from '../route.ts'
import { anything, digits, limitQuery, listOf, object, text, truth, whole } from '../schemas.ts'

const line = object({
  number: { type: 'integer', description: 'From 1 on, without gaps.' },
  at: { type: 'integer', description: "By this node's clock." },
  what: { type: 'string', description: '`found` by this node; the others as events name them.' },
  space: text,
  id: text,
  rule: text,
  agent: text,
  'reason?': text,
  revision: { type: 'string', description: 'The one that it led to.' },
  'dot?': { type: 'string', description: 'The write that brought it.' },
  details: anything,
  previous: { type: 'string', description: 'Hash of the line before.' },
  hash: text,
})

export const auditRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/audit',
    says: 'The lines that this node has written about conflicts, the oldest first.',
    query: {
      space: { ...text, description: 'Only of this space; of all it takes the right to read all.' },
      conflict: { ...text, description: 'Only of this conflict, by its id.' },
      after: digits(15, 'Only lines behind that one, by number.'),
      limit: limitQuery,
    },
    answers: {
      200: {
        says: 'A page. `after` goes on behind it; absent at the end.',
        schema: object({ lines: listOf(line), 'after?': whole }),
      },
    },
    codes: ['not_found'],
    async handle({ service, caller, query }) {
      const id = textOf(query['conflict'])
      const after = numberOf(query['after'])
      const asked = { ...(id !== undefined && { id }), ...(after !== undefined && { after }) }
      const { items, more } = await service.conflicts.audit(
        caller,
        textOf(query['space']),
        asked,
        limitOf(query['limit']),
      )
      return { body: { lines: items, after: more ? items.at(-1)?.number : undefined } }
    },
  },
  {
    method: 'GET',
    path: '/v1/audit/verify',
    says: 'Proves that the audit of this node is whole: each line follows the one before.',
    answers: {
      200: {
        says: 'What was found. Whoever keeps `last` elsewhere can tell later that nothing before it was changed.',
        schema: object({
          isIntact: truth,
          lines: whole,
          'broken?': object({ number: whole, why: text }),
          first: whole,
          next: whole,
          anchor: text,
          last: text,
        }),
      },
    },
    codes: [],
    async handle({ service, caller }) {
      return { body: await service.conflicts.verifyAudit(caller) }
    },
  },
]
