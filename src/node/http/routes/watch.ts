/** Watching over HTTP: server-sent events. See events.ts for how they are written. */
import { SkeinError } from '../../../base/errors.ts'
import type { WatchEvent } from '../../watch.ts'
import type { ServerSent } from '../events.ts'
import type { PresenceEvent } from '../../presence.ts'
import { taken, textOf } from '../route.ts'
import type { Route } from '../route.ts'
import { text } from '../schemas.ts'

export const watchRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/watch',
    says: 'Changes as server-sent events, from now on or from a token on. What is left out is told by a `gap`.',
    query: {
      space: text,
      prefix: { ...text, description: 'Only keys that begin so.' },
      key: { ...text, description: 'Only this entry.' },
      since: {
        ...text,
        description: 'A token: everything after it, or a gap that says why not. So does Last-Event-ID.',
      },
    },
    required: ['space'],
    headers: { 'Last-Event-ID': 'The token of the last event; what a browser sends when it comes again.' },
    answers: {
      200: { says: 'Events: `change`, `gap` and, before the server goes, `end`.', media: 'text/event-stream' },
    },
    codes: ['invalid_key', 'not_found', 'invalid_token'],
    handle({ service, caller, query, headers, reply, events, recheck }) {
      const last = headers['last-event-id']
      if (query['prefix'] !== undefined && query['key'] !== undefined) {
        throw new SkeinError('invalid_argument', 'prefix and key exclude each other', { argument: 'key' })
      }
      const [space = '', prefix, key] = ['space', 'prefix', 'key'].map((name) => textOf(query[name]))
      const since = typeof last === 'string' ? last : textOf(query['since'])
      events.send(reply, (signal) => sent(service.watch(caller, space, { prefix, key, since, signal })), recheck)
      return taken
    },
  },
  {
    method: 'GET',
    path: '/v1/watch/presence',
    says: 'Who is there in a space, and who comes and goes, as server-sent events. There is nothing to resume: it begins with `all`.',
    query: { space: text },
    required: ['space'],
    answers: {
      200: { says: 'Events: `all`, `here`, `gone` and, before the server goes, `end`.', media: 'text/event-stream' },
    },
    codes: ['invalid_key', 'not_found'],
    handle({ service, caller, query, reply, events, recheck }) {
      const space = textOf(query['space']) ?? ''
      events.send(reply, (signal) => present(service.watchPresence(caller, space, signal)), recheck)
      return taken
    },
  },
]

async function* sent(events: AsyncIterable<WatchEvent>): AsyncGenerator<ServerSent, void, void> {
  for await (const event of events) yield { name: event.kind, id: event.token, data: event }
}

async function* present(events: AsyncIterable<PresenceEvent<unknown>>): AsyncGenerator<ServerSent, void, void> {
  for await (const event of events) yield { name: event.kind, data: event }
}
