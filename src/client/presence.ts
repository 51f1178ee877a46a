/**
 * Presence over a connection. What this client shows it shows again on a new connection only where `keep` does: a node that
 * went and came may have forgotten it, and its time goes on meanwhile. Watching begins anew on each connection, with all.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { PresenceEvent, PresenceWatchOptions, PresentAgent, ShowOptions } from '../node/presence.ts'
import { keepPresent } from '../recipes/keep-present.ts'
import type { KeepOptions } from '../recipes/keep-present.ts'
import { checkJson } from './json.ts'
import type { Outcome } from './requests.ts'
import { LinkWatch } from './link-watch.ts'
import type { WatchHost } from './link-watch.ts'
import type { Session } from './session.ts'

/** How often the node is asked for a space that it does not have yet. A guess. */
const lookAgainMs = 250

export class ClientPresence {
  readonly #session: Session
  readonly #about: { readonly space: string; readonly agent?: string }

  constructor(session: Session, space: string, agent: string | undefined) {
    this.#session = session
    this.#about = { space, ...(agent !== undefined && { agent }) }
  }

  /** Shows a value as this agent's, in the place of what it showed before. Resolves once the node has it. */
  async set(value: unknown, { ttlMs }: ShowOptions = {}): Promise<void> {
    if (value === undefined) throw new SkeinError('invalid_argument', 'a value is missing; clear() withdraws one')
    checkJson(value)
    await this.#session.ask({ do: 'show', ...this.#about, value, ...(ttlMs !== undefined && { ttlMs }) }, 'read')
  }

  /** This agent is not there any more. */
  async clear(): Promise<void> {
    await this.#session.ask({ do: 'show', ...this.#about }, 'read')
  }

  /** Shows a value until the signal says stop, again and again; then it is cleared. */
  keep(value: unknown, options: KeepOptions): Promise<void> {
    return keepPresent({ set: (ttlMs) => this.set(value, { ttlMs }), clear: () => this.clear() }, options)
  }

  /** Who is there, by agent and then node. */
  async list(): Promise<readonly PresentAgent<unknown>[]> {
    try {
      const answer = await this.#session.ask({ do: 'present', space: this.#about.space }, 'read')
      return (answer as { readonly present: readonly PresentAgent<unknown>[] }).present
    } catch (error) {
      if (error instanceof SkeinError && error.code === 'not_found') return []
      throw error
    }
  }

  /** Who is there, and then who comes and goes. */
  watch({ signal }: PresenceWatchOptions = {}): ClientPresenceWatch {
    return new ClientPresenceWatch(this.#session, this.#about.space, signal)
  }
}

type Event = PresenceEvent<unknown>

/** Begun anew on each connection, with all that is there then. */
export class ClientPresenceWatch extends LinkWatch<Event> {
  readonly #space: string
  #looking: NodeJS.Timeout | undefined

  constructor(host: WatchHost, space: string, signal: AbortSignal | undefined) {
    super(host, signal)
    this.#space = space
    this.begin()
  }

  up(): void {
    if (this.isOver) return
    this.id = this.host.beginWatch(this, { do: 'watch', space: this.#space, presence: true })
  }

  down(): void {
    this.id = undefined
    clearTimeout(this.#looking)
  }

  begun(id: number, outcome: Outcome): void {
    if (id !== this.id) return
    if (outcome.kind === 'ok') return this.isReady()
    this.id = undefined
    if (outcome.error.code !== 'not_found') return this.finish(outcome.error)
    // The space is not there yet.
    this.#looking = setTimeout(() => this.up(), lookAgainMs)
    this.#looking.unref()
  }

  told(value: unknown): void {
    if (this.isOver) return
    const event = value as Event
    // It takes the place of all before; and who reads too slowly is told of all again, rather than of each step.
    if (event.kind === 'all') this.drop()
    else if (this.queued >= limits.watchBuffer) {
      this.drop()
      this.stopHere()
      return this.up()
    }
    this.push(event)
  }

  protected override finish(error: SkeinError | undefined): void {
    clearTimeout(this.#looking)
    super.finish(error)
  }
}
