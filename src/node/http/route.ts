/** What a route is, as data: from it come the server's validation and serialisation, and the OpenAPI document. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { SkeinError } from '../../base/errors.ts'
import type { ErrorCode } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Caller } from '../security/caller.ts'
import type { EventStreams } from './events.ts'
import type { Schema } from './schemas.ts'
import type { Service } from './service.ts'

export interface Call {
  readonly service: Service
  readonly caller: Caller
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly headers: FastifyRequest['headers']
  readonly body: unknown
  readonly events: EventStreams
  /** Throws once the caller may no longer be here: for what stays open. */
  readonly recheck: () => void
  readonly reply: FastifyReply
}

export interface Outcome {
  /** 200 unless told otherwise. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Absent: no content, or the handler has taken the reply over. */
  readonly body?: unknown
}

/** The handler writes the answer itself: a stream of events. */
export const taken: unique symbol = Symbol('taken')

export interface AnswerSchema {
  readonly says: string
  readonly schema?: Schema
  /** `application/json` unless told otherwise. */
  readonly media?: string
}

export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE'
  /** With `{name}` for its parameters. */
  readonly path: string
  readonly says: string
  /** Probes are for whoever can reach the port: they tell no content. */
  readonly open?: true
  readonly query?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  /** Request headers that it looks at. */
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Schema
  /** It may be left out. */
  readonly bodyOptional?: true
  readonly answers: Readonly<Record<number, AnswerSchema>>
  /** Beside those that any route may answer. */
  readonly codes: readonly ErrorCode[]
  handle(call: Call): Promise<Outcome | typeof taken> | Outcome | typeof taken
}

/** A query value that is a whole number: its digits were checked by its schema. */
export function numberOf(value: Call['query'][string]): number | undefined {
  return typeof value === 'string' ? Number(value) : undefined
}

export function textOf(value: Call['query'][string]): string | undefined {
  return typeof value === 'string' ? value : undefined
}

export function textsOf(value: Call['query'][string]): readonly string[] {
  if (value === undefined) return []
  return typeof value === 'string' ? [value] : value
}

/** Items in a page. */
export function limitOf(value: Call['query'][string]): number {
  const limit = numberOf(value) ?? 100
  if (limit >= 1 && limit <= limits.pageItems) return limit
  throw new SkeinError('invalid_argument', `limit is from 1 to ${limits.pageItems}`, { argument: 'limit' })
}

export const agentHeader: string = 'Who writes, percent-encoded. A token names its agent itself.'
export const reasonHeader: string = 'Why, for history, percent-encoded.'

export function agentIn(headers: Call['headers']): string | undefined {
  return decoded(headers['skein-agent'], 'Skein-Agent')
}

export function reasonIn(headers: Call['headers']): string | undefined {
  return decoded(headers['skein-reason'], 'Skein-Reason')
}

/** Headers are ASCII by their own law; names of agents are not. */
function decoded(header: string | readonly string[] | undefined, name: string): string | undefined {
  if (header === undefined) return undefined
  if (typeof header === 'string') {
    try {
      return decodeURIComponent(header)
    } catch {
      // Told below.
    }
  }
  throw new SkeinError('invalid_argument', `${name} must be percent-encoded UTF-8, once`, { argument: name })
}
