/** A node in another process, in the shape of one in this process. */
import { randomBytes } from 'node:crypto'
import { SkeinError } from '../base/errors.ts'
import type { SpaceDefinition, SpaceSchemas } from '../node/define-space.ts'
import type { SpaceStatus } from '../node/space-handle.ts'
import { targetOf } from './link.ts'
import { Session } from './session.ts'
import type { ClientEvent, SessionOptions } from './session.ts'
import { checkOptions } from './checks.ts'
import { ClientConflicts } from './conflicts.ts'
import { ClientSpace } from './space.ts'
import type { SpaceParts } from './space.ts'

export interface ConnectOptions {
  /** `http://host:port`, `https:`, or `unix:/path/of/node.sock`. The usual node of this host unless told otherwise. */
  readonly node?: string
  /** An agent token; asked for anew at each connection where it is a function. */
  readonly token?: string | (() => string)
  /** Who writes where a write does not say. With a token it is the token's agent. */
  readonly agent?: string
  /** How long `connect` waits for the node; 0 begins at once, with what is asked waiting until the node is there. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** Hears of connections that come and go, and of writes that failed and that nobody looks at. */
  readonly tell?: (event: ClientEvent) => void
}

/** Where a program finds the node when nobody says: on this host. */
const usualNode = 'http://127.0.0.1:7401'
const connectMs = 10_000
const closeMs = 5_000

export class SkeinClient implements AsyncDisposable {
  /** What merging could not settle: listed, watched, decided. */
  readonly conflicts: ClientConflicts
  readonly #session: Session
  readonly #parts: SpaceParts
  readonly #agent: string | undefined
  readonly #ended: (() => Promise<void>) | undefined

  /** @internal `ended` is done after the session's end. */
  constructor(session: Session, parts: SpaceParts, agent: string | undefined, ended?: () => Promise<void>) {
    this.#session = session
    this.#parts = parts
    this.conflicts = new ClientConflicts(parts, agent)
    this.#agent = agent
    this.#ended = ended
  }

  /** While it is `away` what is asked waits, and the node is dialled. */
  get state(): 'connected' | 'away' | 'closed' {
    return this.#session.state
  }

  /** Who answers, or answered last. */
  get node(): string | undefined {
    return this.#session.node
  }

  /** Requests that are not answered yet. Beyond a bound another is refused as `busy`. */
  get waiting(): number {
    return this.#session.waiting
  }

  /** A space of the node. It costs nothing; the space is made by the first write. A definition types it, and no more. */
  space<Schemas extends SpaceSchemas = SpaceSchemas>(
    name: string,
    _definition?: SpaceDefinition<Schemas>,
  ): ClientSpace<Schemas> {
    return new ClientSpace(this.#parts, name, this.#agent === undefined ? {} : { agent: this.#agent })
  }

  /** The spaces of the node, as far as this client may see them. */
  async spaces(options: { readonly signal?: AbortSignal } = {}): Promise<readonly SpaceStatus[]> {
    const answer = await this.#session.ask({ do: 'spaces' }, 'read', options.signal)
    return (answer as { readonly spaces: readonly SpaceStatus[] }).spaces
  }

  async spaceNames(): Promise<readonly string[]> {
    return (await this.spaces()).map(({ name }) => name)
  }

  /** Resolves when another request would be taken: what to await after `busy`. */
  room(): Promise<void> {
    return this.#session.room()
  }

  /** Resolves when everything that was asked so far is answered, well or badly. */
  flush(): Promise<void> {
    return this.#session.flush()
  }

  /**
   * Takes nothing more and ends watches; waits for what is under way, 5 s unless told otherwise. What is not answered by
   * then fails: as `closed` where it was never sent, a write that was as `unanswered`.
   */
  async close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    await this.#session.close(options.timeoutMs ?? closeMs)
    await this.#ended?.()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** Resolves when the node has answered. */
export async function connect(options: ConnectOptions = {}): Promise<SkeinClient> {
  const {
    node = usualNode,
    token,
    ...rest
  } = checkOptions(options, ['node', 'token', 'agent', 'timeoutMs', 'signal', 'tell'])
  const target = targetOf(node)
  return begin(() => Promise.resolve({ target, token: typeof token === 'function' ? token() : token }), rest)
}

/** The same for whoever finds the node in another way. */
export async function begin(
  where: SessionOptions['where'],
  { agent, timeoutMs = connectMs, signal, tell = warn }: Omit<ConnectOptions, 'node' | 'token'>,
  ended?: () => Promise<void>,
): Promise<SkeinClient> {
  let last: SkeinError | undefined
  const refused = Promise.withResolvers<never>()
  const session = new Session({
    where,
    session: randomBytes(12).toString('base64url'),
    random: Math.random,
    tell(event) {
      if (event.kind === 'away') {
        last = event.error
        if (!event.error.retryable) refused.reject(event.error)
      }
      tell(event)
    },
  })
  const client = new SkeinClient(session, { session, tell }, agent, ended)
  refused.promise.catch(() => undefined)
  session.dial()
  if (timeoutMs === 0) return client
  const late = setTimeout(() => {
    refused.reject(last ?? new SkeinError('peer_unreachable', `no node answered within ${timeoutMs} ms`))
  }, timeoutMs)
  const stop = (): void => refused.reject(new SkeinError('aborted', 'connecting was given up', {}, signal?.reason))
  signal?.addEventListener('abort', stop)
  if (signal?.aborted === true) stop()
  try {
    await Promise.race([session.connected(), refused.promise])
    return client
  } catch (error) {
    await client.close({ timeoutMs: 0 })
    throw error
  } finally {
    clearTimeout(late)
    signal?.removeEventListener('abort', stop)
  }
}

/** Nothing fails in silence. */
function warn(event: ClientEvent): void {
  if (event.kind !== 'unseen') return
  const { space, key, conflict } = event
  const where = conflict === undefined ? (key === undefined ? space : `${key} in ${space}`) : `conflict ${conflict}`
  process.emitWarning(`a write of ${where} failed: ${event.error.message}`, 'SkeinWarning', event.error.code)
}
