/** Whom the logs of this node wait for: what an operator decides about other nodes. */
import type { Route } from '../route.ts'
import { listOf, object, text } from '../schemas.ts'

const roster = object({ roster: listOf(text) })

export const peerRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/roster',
    says: 'The members that logs wait for before they are pruned.',
    answers: { 200: { says: 'By node.', schema: roster } },
    codes: [],
    handle({ service, caller }) {
      service.mayLook(caller)
      return { body: { roster: service.node.peers.roster } }
    },
  },
  {
    method: 'PUT',
    path: '/v1/roster/{node}',
    says: 'Logs wait for that member from now on.',
    answers: { 200: { says: 'The roster now.', schema: roster } },
    codes: ['invalid_argument'],
    async handle({ service, caller, params: { node = '' } }) {
      service.mustAdminister(caller)
      await service.node.peers.add(node)
      return { body: { roster: service.node.peers.roster } }
    },
  },
  {
    method: 'DELETE',
    path: '/v1/peers/{node}',
    says: 'Nobody waits for that member any more, and it is not remembered. Should it come back, the tree brings what it lacks.',
    answers: { 200: { says: 'It is forgotten.', schema: object({ forgotten: text }) } },
    codes: ['invalid_argument'],
    async handle({ service, caller, params: { node = '' } }) {
      service.mustAdminister(caller)
      await service.node.peers.forget(node)
      return { body: { forgotten: node } }
    },
  },
]
