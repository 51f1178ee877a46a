/** The fleet as this node sees it, and the node itself. */
import { numberOf, textOf } from '../route.ts'
import type { Route } from '../route.ts'
import { digits, listOf, object, peer, reached, space, text, truth, whole } from '../schemas.ts'
import { waitOf, waitPattern } from '../waiting.ts'

const inSpace = { ...text, description: 'Only this space; all of them unless told otherwise.' }

const verdict = object({
  space: text,
  root: text,
  peers: listOf(
    object({
      node: text,
      verdict: { type: 'string', enum: ['equal', 'different', 'undecided', 'unreachable'] },
      'root?': text,
      keys: listOf(text),
    }),
  ),
})

export const fleetRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/status',
    says: 'How the node is. It asks members of whom it is not known what their disks have, and gives them 200 ms to answer.',
    answers: {
      200: {
        says: 'Its state: `open`; `full` or `failing` while the disk refuses writes; `closed`.',
        schema: object({
          node: text,
          origin: text,
          state: text,
          waitingBytes: whole,
          addresses: listOf(text),
          listening: listOf(text),
          opening: { type: 'object', additionalProperties: true },
          spaces: listOf(space),
          peers: listOf(peer),
          fleet: object({ gaps: whole, lagMs: { type: 'number' }, queueBytes: whole }),
        }),
      },
    },
    codes: [],
    async handle({ service, caller }) {
      service.mayLook(caller)
      const { node, fleet } = service
      await fleet.confirm()
      return { body: { ...node.status(), spaces: service.spaces(caller), peers: fleet.peers(), fleet: fleet.health() } }
    },
  },
  {
    method: 'GET',
    path: '/v1/peers',
    says: 'The other nodes, and how far apart this node and they are; asked as for the status.',
    answers: { 200: { says: 'All that this node knows of.', schema: object({ peers: listOf(peer) }) } },
    codes: [],
    async handle({ service, caller }) {
      service.mayLook(caller)
      await service.fleet.confirm()
      return { body: { peers: service.fleet.peers() } }
    },
  },
  {
    method: 'POST',
    path: '/v1/sync',
    says: 'Anti-entropy now, rather than in a second or so.',
    query: { space: inSpace },
    answers: {
      200: {
        says: 'What was exchanged, with whom.',
        schema: object({
          sessions: listOf(
            object({
              space: text,
              peer: text,
              outcome: { type: 'string', enum: ['equal', 'synced', 'failed'] },
              deltas: whole,
              cells: whole,
              sizeBytes: whole,
            }),
          ),
        }),
      },
    },
    codes: ['not_found'],
    async handle({ service, caller, query }) {
      return { body: { sessions: await service.sync(caller, textOf(query['space'])) } }
    },
  },
  {
    method: 'GET',
    path: '/v1/verify',
    says: 'Proves that this node and its peers are equal, or names who is not.',
    query: { space: inSpace },
    answers: {
      200: { says: 'A verdict for each space and peer.', schema: object({ equal: truth, spaces: listOf(verdict) }) },
    },
    codes: ['not_found'],
    async handle({ service, caller, query }) {
      const spaces = await service.verify(caller, textOf(query['space']))
      return { body: { equal: spaces.every(({ peers }) => peers.every((one) => one.verdict === 'equal')), spaces } }
    },
  },
  {
    method: 'GET',
    path: '/v1/visibility',
    says: 'Who has a write. A version names writes of one space, so it takes both.',
    query: {
      space: text,
      token: { ...text, description: 'A `version`, as reads and writes answer it.' },
      wait: { type: 'string', pattern: waitPattern, description: 'Wait for `peers:k` or `all` before answering.' },
      timeout: digits(6, 'Milliseconds to wait.'),
    },
    required: ['space', 'token'],
    answers: {
      200: {
        says: 'Who has it.',
        schema: object({ here: truth, reached: listOf(text), missing: listOf(text), 'waited?': reached }),
      },
    },
    codes: ['not_found', 'invalid_key', 'invalid_token'],
    async handle({ service, caller, query }) {
      const [name, token] = [textOf(query['space']) ?? '', textOf(query['token']) ?? '']
      const wait = query['wait'] === undefined ? undefined : waitOf(textOf(query['wait']), numberOf(query['timeout']))
      return { body: await service.visibility(caller, name, token, wait) }
    },
  },
]
