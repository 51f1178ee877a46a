/** What can be asked over the stream: one row each, with its arguments by name and kind. */
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Durability } from '../receipt.ts'
import type { Caller } from '../security/caller.ts'
import type { Deed } from './conflict-desk.ts'
import type { KeyedOperation, Operation, Service, WriteAnswer, WriteRequest } from './service.ts'
import type { Session } from './sessions.ts'
import { matches } from './version.ts'
import { durably, waitOf } from './waiting.ts'

/** A request as it came: only that `id` is a number is known, and here that `do` is a call. */
export interface Ask {
  readonly id: number
  readonly do: string
  readonly [name: string]: unknown
}

type Kind = 'any' | 'text' | 'whole' | 'number' | 'truth' | 'texts' | 'owner' | 'choice' | 'operation' | 'operations'

interface Call {
  /** Answers the request when its arguments are of their kinds; throws otherwise. */
  check(ask: Ask): Ask
  run(service: Service, caller: Caller, ask: Ask, session: Session | undefined): unknown
}

const isOfKind: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  any: () => true,
  text: (value) => typeof value === 'string',
  whole: (value) => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0,
  number: (value) => typeof value === 'number',
  truth: (value) => typeof value === 'boolean',
  texts: (value) => Array.isArray(value) && value.every((one) => typeof one === 'string'),
  owner: (value) => value === null || typeof value === 'string',
  choice: (value) => typeof value === 'object' && value !== null && 'kind' in value,
  operation: isOperation,
  operations: (value) =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= limits.transactOperations &&
    value.every((one) => isKeyed(one)),
}

const said: Readonly<Record<Kind, string>> = {
  any: 'a value',
  text: 'a string',
  whole: 'a whole number from 0',
  number: 'a number',
  truth: 'true or false',
  texts: 'a list of strings',
  owner: 'a string, or null for nobody',
  choice: 'an object with a kind',
  operation: 'an object with type and op',
  operations: `a list of 1 to ${limits.transactOperations} objects with key and op`,
}

function isOperation(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { type, op } = value as Readonly<Record<string, unknown>>
  return typeof type === 'string' && typeof op === 'string'
}

function isKeyed(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { key, type, op, ifMatch } = value as Readonly<Record<string, unknown>>
  return (
    typeof key === 'string' &&
    typeof op === 'string' &&
    (type === undefined || typeof type === 'string') &&
    (ifMatch === undefined || typeof ifMatch === 'string')
  )
}

function call(
  required: Readonly<Record<string, Kind>>,
  optional: Readonly<Record<string, Kind>>,
  run: Call['run'],
): Call {
  const kinds = new Map(Object.entries({ ...required, ...optional }))
  const needed = Object.keys(required)
  return {
    check(ask) {
      for (const name in ask) {
        if (name === 'id' || name === 'do') continue
        const kind = kinds.get(name)
        if (kind === undefined) {
          throw new SkeinError('invalid_argument', `${ask.do} takes no ${name}`, { argument: name })
        }
        if (!isOfKind[kind](ask[name])) {
          throw new SkeinError('invalid_argument', `${name} must be ${said[kind]}`, { argument: name })
        }
      }
      for (const name of needed) {
        if (ask[name] === undefined) throw new SkeinError('invalid_argument', `${name} is missing`, { argument: name })
      }
      return ask
    },
    run,
  }
}

const writing: Readonly<Record<string, Kind>> = {
  agent: 'text',
  reason: 'text',
  durability: 'text',
  ttlMs: 'whole',
  idempotencyKey: 'text',
  once: 'whole',
  wait: 'text',
  timeoutMs: 'whole',
}
const conditional: Readonly<Record<string, Kind>> = { ...writing, ifMatch: 'text', ifNoneMatch: 'text' }
/** What is said with anything that is done about a conflict. It is named by `conflict`: `id` is the request's own. */
const acting: Readonly<Record<string, Kind>> = {
  space: 'text',
  agent: 'text',
  reason: 'text',
  durability: 'text',
  once: 'whole',
  wait: 'text',
  timeoutMs: 'whole',
}
const paged: Readonly<Record<string, Kind>> = { limit: 'whole', cursor: 'text' }
const read: Readonly<Record<string, Kind>> = { after: 'text', timeoutMs: 'whole' }

const conflictFilter: Readonly<Record<string, Kind>> = {
  space: 'text',
  prefix: 'text',
  state: 'text',
  stage: 'text',
  rule: 'text',
  severity: 'text',
  owner: 'text',
  overdue: 'truth',
}

interface Asked {
  readonly space: string
  readonly key: string
  readonly [name: string]: unknown
}

export const calls: Readonly<Record<string, Call>> = {
  get: call(
    { space: 'text', key: 'text' },
    { type: 'text', siblings: 'truth', ifNoneMatch: 'text', ...read },
    (service, caller, ask) => {
      if (ask['after'] !== undefined) return afterwards(service, caller, ask, () => get(service, caller, ask))
      return get(service, caller, ask)
    },
  ),
  list: call({ space: 'text' }, { prefix: 'text', where: 'texts', ...paged, ...read }, (service, caller, ask) => {
    const list = async (): Promise<unknown> => {
      const { items, cursor } = await service.list(caller, (ask as Ask & Asked).space, {
        prefix: text(ask['prefix']),
        where: ask['where'] as readonly string[] | undefined,
        limit: limitOf(ask),
        cursor: text(ask['cursor']),
      })
      return { entries: items, cursor }
    }
    return ask['after'] === undefined ? list() : afterwards(service, caller, ask, list)
  }),
  op: call({ space: 'text', key: 'text', operation: 'operation' }, conditional, (service, caller, ask, session) => {
    const { space, key } = ask as Ask & Asked
    return service.operate(caller, space, key, ask['operation'] as Operation, requestOf(ask, session)).then(shown)
  }),
  delete: call({ space: 'text', key: 'text' }, conditional, (service, caller, ask, session) => {
    const { space, key } = ask as Ask & Asked
    return service.remove(caller, space, key, requestOf(ask, session)).then(shown)
  }),
  transact: call({ space: 'text', operations: 'operations' }, writing, (service, caller, ask, session) => {
    const { space } = ask as Ask & Asked
    return service.transact(caller, space, ask['operations'] as readonly KeyedOperation[], requestOf(ask, session))
  }),
  history: call({ space: 'text', key: 'text' }, paged, (service, caller, ask) => {
    const { space, key } = ask as Ask & Asked
    return service.history(caller, space, key, { limit: limitOf(ask), cursor: text(ask['cursor']) })
  }),
  present: call({ space: 'text' }, {}, (service, caller, ask) => ({
    present: service.present(caller, (ask as Ask & Asked).space),
  })),
  show: call({ space: 'text' }, { agent: 'text', value: 'any', ttlMs: 'whole' }, (service, caller, ask) => {
    const ttlMs = whole(ask['ttlMs'])
    const options = ttlMs === undefined ? {} : { ttlMs }
    service.show(caller, (ask as Ask & Asked).space, text(ask['agent']), ask['value'], options)
    return { shown: ask['value'] !== undefined }
  }),
  spaces: call({}, {}, (service, caller) => ({ spaces: service.spaces(caller) })),
  visibility: call({ space: 'text', token: 'text' }, { wait: 'text', timeoutMs: 'whole' }, (service, caller, ask) => {
    const wait = ask['wait'] === undefined ? undefined : waitOf(text(ask['wait']), whole(ask['timeoutMs']))
    return service.visibility(caller, (ask as Ask & Asked).space, String(ask['token']), wait)
  }),
  conflicts: call({}, { ...conflictFilter, ...paged }, async (service, caller, ask) => {
    const { id: _id, do: _do, limit: _limit, cursor, ...filter } = ask
    const page = { limit: limitOf(ask), cursor: text(cursor) }
    const { items, cursor: next } = await service.conflicts.page(caller, filter, page)
    return { conflicts: items, cursor: next }
  }),
  conflict: call({ conflict: 'text' }, { space: 'text' }, (service, caller, ask) =>
    service.conflicts.read(caller, String(ask['conflict']), text(ask['space'])),
  ),
  conflictHistory: call({ conflict: 'text' }, { space: 'text' }, async (service, caller, ask) => ({
    items: (await service.conflicts.get(caller, String(ask['conflict']), text(ask['space']))).history,
  })),
  conflictStats: call({}, { space: 'text' }, async (service, caller, ask) => ({
    spaces: await service.conflicts.stats(caller, text(ask['space'])),
  })),
  audit: call({}, { space: 'text', conflict: 'text', after: 'whole', limit: 'whole' }, async (service, caller, ask) => {
    const [id, after] = [text(ask['conflict']), whole(ask['after'])]
    const asked = { ...(id !== undefined && { id }), ...(after !== undefined && { after }) }
    const { items, more } = await service.conflicts.audit(caller, text(ask['space']), asked, limitOf(ask))
    return { lines: items, after: more ? items.at(-1)?.number : undefined }
  }),
  verifyAudit: call({}, {}, (service, caller) => service.conflicts.verifyAudit(caller)),
  resolve: deed('resolve', { revision: 'text', choice: 'choice' }),
  ack: deed('ack', {}),
  assign: deed('assign', { to: 'owner' }),
  snooze: deed('snooze', {}, { forMs: 'whole', untilMs: 'whole' }),
  propose: deed('propose', { revision: 'text', choice: 'choice' }, { confidence: 'number' }),
}

function deed(
  does: Deed['does'],
  required: Readonly<Record<string, Kind>>,
  optional: Readonly<Record<string, Kind>> = {},
): Call {
  return call({ conflict: 'text', ...required }, { ...optional, ...acting }, (service, caller, ask, session) => {
    const own = Object.keys({ ...required, ...optional }).filter((name) => ask[name] !== undefined)
    const given = Object.fromEntries(own.map((name) => [name, ask[name]]))
    const request = { ...requestOf(ask, session), space: text(ask['space']) }
    return service.conflicts.act(caller, String(ask['conflict']), { ...given, does } as Deed, request)
  })
}

function text(value: unknown): string | undefined {
  return value as string | undefined
}

function whole(value: unknown): number | undefined {
  return value as number | undefined
}

function limitOf(ask: Ask): number {
  const limit = whole(ask['limit']) ?? 100
  if (limit >= 1 && limit <= limits.pageItems) return limit
  throw new SkeinError('invalid_argument', `limit is from 1 to ${limits.pageItems}`, { argument: 'limit' })
}

function get(service: Service, caller: Caller, ask: Ask): unknown {
  const { space, key } = ask as Ask & Asked
  const answer = service.get(caller, space, key, { type: text(ask['type']), siblings: ask['siblings'] === true })
  const known = text(ask['ifNoneMatch'])
  return known !== undefined && matches(known, answer.version, true) ? { unchanged: true } : answer
}

async function afterwards<T>(service: Service, caller: Caller, ask: Ask, then: () => T | Promise<T>): Promise<T> {
  const { timeoutMs } = waitOf(undefined, whole(ask['timeoutMs']))
  await service.caughtUp(caller, (ask as Ask & Asked).space, String(ask['after']), timeoutMs)
  return then()
}

function shown({ entry: _entry, ...answer }: WriteAnswer): unknown {
  return answer
}

function requestOf(ask: Ask, session: Session | undefined): WriteRequest {
  const { wait, timeoutMs, idempotencyKey } = ask
  if (
    typeof idempotencyKey === 'string' &&
    (idempotencyKey === '' || idempotencyKey.length > limits.idempotencyKeyLength)
  ) {
    throw new SkeinError('invalid_argument', `idempotencyKey has 1 to ${limits.idempotencyKeyLength} characters`, {
      argument: 'idempotencyKey',
    })
  }
  const number = whole(ask['once'])
  if (number !== undefined && (number === 0 || session === undefined || idempotencyKey !== undefined)) {
    throw new SkeinError('invalid_argument', 'once is a number from 1, of the session that was opened', {
      argument: 'once',
    })
  }
  return {
    ...(number !== undefined && session !== undefined && { once: { session, number } }),
    agent: text(ask['agent']),
    reason: text(ask['reason']),
    durability: ask['durability'] as Durability | undefined,
    ttlMs: whole(ask['ttlMs']),
    ifMatch: text(ask['ifMatch']),
    ifNoneMatch: text(ask['ifNoneMatch']),
    idempotencyKey: text(idempotencyKey),
    wait: wait === undefined && timeoutMs === undefined ? durably : waitOf(text(wait), whole(timeoutMs)),
  }
}
