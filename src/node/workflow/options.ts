/** Whom a program names to be told, asked or called about conflicts; checked, and made into endpoints. */
import { SkeinError } from '../../base/errors.ts'
import type { Value } from '../../base/value.ts'
import { checkOptions } from '../space-handle.ts'
import type { CallBounds } from './caller.ts'
import { usualBounds } from './caller.ts'
import type { ActionBody, Endpoints, NoticeBody, ResolverAnswer, ResolverBody, Target } from './driver.ts'
import type { Endpoint } from './endpoint.ts'

export interface WebhookOptions {
  readonly url: string
  /** Signs what is sent: `skein-signature: t=…,v1=` and the HMAC-SHA256 of the time, a point and the body. */
  readonly secret?: string
  /** May it be on this host or in its own network? */
  readonly allowPrivate?: boolean
}

/** An absolute path, and arguments. It gets JSON on its standard input and answers on its standard output. */
export interface CommandOptions {
  readonly command: readonly string[]
}

export type Called<Body, Answer> =
  | ((body: Body, signal: AbortSignal) => Answer | Promise<Answer>)
  | WebhookOptions
  | CommandOptions

export type TargetOptions = { readonly name?: string } & (
  | { readonly tell: (notice: NoticeBody, signal: AbortSignal) => void | Promise<void> }
  | WebhookOptions
  | CommandOptions
)

export interface WorkflowOptions {
  /** Whom to tell first, and whom next when it is overdue. */
  readonly targets?: readonly TargetOptions[]
  /** By the names that policies use. */
  readonly resolvers?: Readonly<Record<string, Called<ResolverBody, ResolverAnswer | undefined>>>
  /** By the names that decisions use. What they answer is kept as the receipt. */
  readonly actions?: Readonly<Record<string, Called<ActionBody, Value | undefined>>>
  /** How long a call may take, how often it is tried, and when nothing more is asked for a while. */
  readonly bounds?: Partial<CallBounds>
}

function wrong(message: string): SkeinError {
  return new SkeinError('invalid_argument', `conflicts: ${message}`)
}

export function endpointsOf(options: WorkflowOptions): Endpoints {
  const {
    targets = [],
    resolvers = {},
    actions = {},
    bounds = {},
  } = checkOptions(options, ['targets', 'resolvers', 'actions', 'bounds'])
  if (!Array.isArray(targets)) throw wrong('targets is an array')
  for (const [name, value] of Object.entries(checkOptions(bounds, Object.keys(usualBounds) as (keyof CallBounds)[]))) {
    if (!Number.isSafeInteger(value) || (value as number) < 1) throw wrong(`bounds.${name} is a whole number from 1`)
  }
  const all = (given: object, what: string): ReadonlyMap<string, Endpoint> =>
    new Map(Object.entries(given).map(([name, one]) => [name, endpointOf(one, `${what} ${name}`)]))
  return {
    targets: (targets as readonly TargetOptions[]).map(targetOf),
    resolvers: all(resolvers, 'resolver'),
    actions: all(actions, 'action'),
    bounds,
  }
}

function targetOf(options: TargetOptions, at: number): Target {
  if (typeof options !== 'object' || options === null) throw wrong('a target is an object')
  const { name = `target-${at}`, ...rest } = options
  if (typeof name !== 'string' || name === '') throw wrong('the name of a target is a text')
  if (!('tell' in rest)) return { name, endpoint: endpointOf(rest, name) }
  checkOptions(rest, ['tell'])
  return { name, endpoint: endpointOf(rest.tell, name) }
}

function endpointOf(given: unknown, what: string): Endpoint {
  if (typeof given === 'function') return { kind: 'function', call: given as (body: never) => unknown }
  if (typeof given !== 'object' || given === null) throw wrong(`${what} is a function, or has a url or a command`)
  if ('command' in given) {
    const { command } = checkOptions(given as CommandOptions, ['command'])
    const isGood = Array.isArray(command) && command.length > 0 && command.every((word) => typeof word === 'string')
    if (!isGood || !(command[0] as string).startsWith('/')) {
      throw wrong(`${what}: a command is a list of texts, an absolute path first`)
    }
    return { kind: 'command', command: command as readonly string[] }
  }
  const { url, secret, allowPrivate = false } = checkOptions(given as WebhookOptions, ['url', 'secret', 'allowPrivate'])
  if (typeof url !== 'string' || !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw wrong(`${what}: its url is https://…`)
  }
  if (secret !== undefined && (typeof secret !== 'string' || secret.length < 16)) {
    throw wrong(`${what}: a secret is a text of 16 characters or more`)
  }
  if (typeof allowPrivate !== 'boolean') throw wrong(`${what}: allowPrivate is true or false`)
  return { kind: 'webhook', url, secret, allowPrivate }
}
