/**
 * Presence as programs see it: what agents show of themselves in a space, for a while, at whichever node. It is told at once
 * and kept nowhere. A reader who is slow sees the last that each agent shows, and not every step to it.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { decodeValue, encodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import type { PresenceOutput } from '../gossip/presence.ts'
import { keepPresent } from '../recipes/keep-present.ts'
import type { KeepOptions } from '../recipes/keep-present.ts'
import type { Space } from '../replica/space.ts'
import type { SpaceId } from '../wire/frame.ts'
import type { Machine } from './machine.ts'
import type { Network } from './network.ts'

/** An agent that is there. One may be there at several nodes. */
export interface PresentAgent<T = Value> {
  readonly agent: string
  /** At which node. */
  readonly node: string
  readonly value: T
  /** How long it still holds, unless it is said again. */
  readonly leftMs: number
}

export type PresenceEvent<T = Value> =
  /** Who is there: the first that comes, and again after anything was missed. It takes the place of all before. */
  | { readonly kind: 'all'; readonly present: readonly PresentAgent<T>[] }
  /** It came, or shows something else. */
  | { readonly kind: 'here'; readonly agent: string; readonly node: string; readonly value: T }
  | { readonly kind: 'gone'; readonly agent: string; readonly node: string }

export interface ShowOptions {
  /** For how long it holds unless it is said again: 30 s unless told otherwise, an hour at most. */
  readonly ttlMs?: number
}

export interface PresenceWatchOptions {
  readonly signal?: AbortSignal
}

const usualTtlMs = 30_000
const foreverMs = 2 ** 31 - 1

export interface PresenceHost {
  readonly machine: Machine
  readonly network: Network
  now(): number
  readable(): void
}

type Changed = Exclude<PresenceOutput, { readonly kind: 'send' }>

/** All of a node: what its spaces' handles speak with. */
export class NodePresence {
  readonly #host: PresenceHost
  readonly #watches = new Map<SpaceId, Set<PresenceWatch>>()

  constructor(host: PresenceHost) {
    this.#host = host
  }

  /** Nothing: the agent is not there any more. */
  show(space: Space, agent: string, value: Value | undefined, ttlMs: number = usualTtlMs): void {
    const { machine, network } = this.#host
    this.#host.readable()
    if (!(Number.isSafeInteger(ttlMs) && ttlMs >= 1 && ttlMs <= limits.presenceMs)) {
      throw new SkeinError('invalid_argument', `ttlMs is a whole number from 1 to ${limits.presenceMs}`, {
        argument: 'ttlMs',
      })
    }
    const bytes = value === undefined ? new Uint8Array(0) : encodeValue(value)
    if (bytes.length > limits.presenceBytes) {
      const what = `what an agent shows takes ${bytes.length} bytes, and may take ${limits.presenceBytes}`
      throw new SkeinError('too_large', what, { sizeBytes: bytes.length, limit: limits.presenceBytes })
    }
    if (!machine.presence.hasRoom(space.id, agent, bytes.length)) {
      throw new SkeinError('too_large', `more than ${limits.presences} agents are present, or they show too much`)
    }
    network.feed({ kind: 'show', shown: { kind: 'set', space: space.id, agent, value: bytes, ttlMs } })
  }

  list(space: Space): PresentAgent[] {
    this.#host.readable()
    return this.#host.machine
      .present(space, this.#host.now())
      .map(({ agent, node, value, leftMs }) => ({ agent, node, value: decodeValue(value), leftMs }))
  }

  watch(space: Space, { signal }: PresenceWatchOptions): PresenceWatch {
    this.#host.readable()
    let watches = this.#watches.get(space.id)
    if (watches === undefined) this.#watches.set(space.id, (watches = new Set()))
    const all = watches
    const stop = (): void => {
      all.delete(watch)
      if (all.size === 0) this.#watches.delete(space.id)
      signal?.removeEventListener('abort', stop)
      watch.end()
    }
    const watch = new PresenceWatch(() => this.list(space), stop)
    all.add(watch)
    signal?.addEventListener('abort', stop)
    if (signal?.aborted === true) stop()
    return watch
  }

  /** @internal From the machine. */
  changed(change: Changed): void {
    for (const watch of this.#watches.get(change.space) ?? []) watch.changed(change)
  }

  /** @internal Watches end: of a space that ended, or all. */
  end(space?: SpaceId): void {
    for (const [id, watches] of this.#watches) {
      if (space === undefined || id === space) for (const watch of watches) watch.end()
    }
  }
}

/** It watches from the call on; leaving a `for await` loop ends it. */
export class PresenceWatch implements AsyncIterableIterator<PresenceEvent, void, void>, AsyncDisposable {
  readonly #list: () => PresentAgent[]
  readonly #stop: () => void
  /** What each agent showed last, of those of whom the reader has not heard. */
  readonly #news = new Map<string, Changed>()
  #hasAll = false
  #isOver = false
  #isLeft = false
  #wake: (() => void) | undefined

  constructor(list: () => PresentAgent[], stop: () => void) {
    this.#list = list
    this.#stop = stop
  }

  /** @internal */
  changed(change: Changed): void {
    const name = `${change.agent}\u0000${change.node}`
    this.#news.delete(name)
    this.#news.set(name, change)
    this.#wake?.()
  }

  /** @internal */
  end(): void {
    this.#isOver = true
    this.#wake?.()
  }

  async next(): Promise<IteratorResult<PresenceEvent, void>> {
    for (;;) {
      if (this.#isLeft) return { done: true, value: undefined }
      if (!this.#hasAll && !this.#isOver) {
        this.#hasAll = true
        this.#news.clear()
        return { done: false, value: { kind: 'all', present: this.#list() } }
      }
      const [first] = this.#news
      if (first !== undefined) {
        const [name, { agent, node, value }] = first
        this.#news.delete(name)
        if (value === undefined) return { done: false, value: { kind: 'gone', agent, node } }
        return { done: false, value: { kind: 'here', agent, node, value: decodeValue(value) } }
      }
      if (this.#isOver) return { done: true, value: undefined }
      // Somebody waits: that is reason enough for the process to stay.
      const alive = setInterval(() => undefined, foreverMs)
      await new Promise<void>((resolve) => (this.#wake = resolve))
      clearInterval(alive)
      this.#wake = undefined
    }
  }

  return(): Promise<IteratorResult<PresenceEvent, void>> {
    this.#isLeft = true
    this.#stop()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}

/** What a space offers. */
export class SpacePresence {
  readonly #node: NodePresence
  readonly #space: Space
  readonly #agent: string
  readonly #alive: () => void

  constructor(node: NodePresence, space: Space, agent: string, alive: () => void) {
    this.#node = node
    this.#space = space
    this.#agent = agent
    this.#alive = alive
  }

  /** Shows a value as this agent's, in the place of what it showed before. */
  set(value: Value, { ttlMs }: ShowOptions = {}): void {
    this.#alive()
    this.#node.show(this.#space, this.#agent, value, ttlMs)
  }

  /** This agent is not there any more. */
  clear(): void {
    this.#alive()
    this.#node.show(this.#space, this.#agent, undefined)
  }

  /** Shows a value until the signal says stop, again and again; then it is cleared. */
  keep(value: Value, options: KeepOptions): Promise<void> {
    const shown = { set: async (ttlMs: number) => this.set(value, { ttlMs }), clear: async () => this.clear() }
    return keepPresent(shown, options)
  }

  /** Who is there, by agent and then node. */
  list(): readonly PresentAgent[] {
    this.#alive()
    return this.#node.list(this.#space)
  }

  /** Who is there, and then who comes and goes. */
  watch(options: PresenceWatchOptions = {}): PresenceWatch {
    this.#alive()
    return this.#node.watch(this.#space, options)
  }
}
