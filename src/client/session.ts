/**
 * What a client is over the coming and going of connections: it dials, and dials again with growing, random delays; sends
 * what waits, as much in a frame as has gathered; gives answers to whoever asked; and begins watches anew from where they
 * were.
 *
 * Nothing is done twice: writes are numbered, and the node keeps what it answered in the very batch of the write until the
 * client says that it has it; so one that is sent again is answered and not repeated. That holds at the node that it was sent to. Where another answers,
 * what was sent and not answered fails as `unanswered`; what was never sent goes to the other.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { Link, errorOf } from './link.ts'
import type { Said, Target } from './link.ts'
import { Requests } from './requests.ts'
import type { Outcome, Request, What } from './requests.ts'
import type { WatchHost, Watching } from './link-watch.ts'

export type ClientEvent =
  | { readonly kind: 'connected'; readonly node: string }
  /** What waits goes on waiting; it is dialled again. */
  | { readonly kind: 'away'; readonly error: SkeinError }
  /** A write failed, and nobody looks at its receipt. */
  | {
      readonly kind: 'unseen'
      readonly error: SkeinError
      /** Empty where it was about a conflict of which nobody said where it is. */
      readonly space: string
      readonly key: string | undefined
      readonly conflict?: string
    }

export interface Where {
  readonly target: Target
  readonly token: string | undefined
}

export interface SessionOptions {
  /** Nobody else's: the node knows the writes by it, on whatever connection they come. */
  readonly session: string
  /** Asked before each dial: the answer may differ the next time. */
  where(): Promise<Where>
  tell(event: ClientEvent): void
  /** From 0 to 1. */
  random(): number
}

/** A restarted process is back in tenths of a second; a host that is gone need not be asked all the time. Guesses. */
const backoffFirstMs = 50
const backoffMostMs = 1_000
const dialMs = 10_000
/** Requests that are not kept waiting for the end of the turn. A guess: a frame's cost is small beside theirs. */
const startWith = 32

export class Session implements WatchHost {
  readonly #options: SessionOptions
  readonly #requests = new Requests()
  readonly #watches = new Set<Watching>()
  /** Watches by the ids under which this connection knows them. */
  readonly #watching = new Map<number, Watching>()
  #link: Link | undefined = undefined
  #state: 'dialling' | 'connected' | 'away' | 'refused' | 'closed' = 'away'
  /** It takes nothing more, and sees to what it took. */
  #isClosing = false
  #node: string | undefined = undefined
  #failures = 0
  #redial: NodeJS.Timeout | undefined = undefined
  #isFlushPlanned = false
  #heldUntilMs = 0
  #readers = 0
  #waiters: { readonly isDone: () => boolean; readonly resolve: () => void }[] = []

  constructor(options: SessionOptions) {
    this.#options = options
  }

  get state(): 'connected' | 'away' | 'closed' {
    if (this.#isClosing) return 'closed'
    return this.#state === 'connected' ? 'connected' : 'away'
  }

  get node(): string | undefined {
    return this.#node
  }

  get waiting(): number {
    return this.#requests.size
  }

  // Connections

  dial(): void {
    if (this.#state !== 'away' && this.#state !== 'refused') return
    this.#state = 'dialling'
    clearTimeout(this.#redial)
    this.#options.where().then(
      ({ target, token }) => {
        if (this.#state === 'dialling') this.#open(target, token)
      },
      (error: unknown) => this.#away(asError(error)),
    )
  }

  #open(target: Target, token: string | undefined): void {
    const link: Link = new Link(target, token, dialMs, {
      said: (messages) => this.#link === link && this.#said(messages),
      drained: () => this.#link === link && this.#plan(),
      ended: (error) => this.#link === link && this.#lost(error),
    })
    this.#link = link
    this.#hold()
  }

  #up(node: string): void {
    if (this.#state === 'connected') return
    const isAnother = this.#node !== undefined && node !== this.#node
    this.#node = node
    this.#failures = 0
    if (isAnother) {
      const why = `node ${node} answers now, and may not know of it`
      for (const request of this.#requests.takeAll(({ what, wasSent }) => what === 'write' && wasSent)) {
        fail(request, new SkeinError('unanswered', why))
      }
    }
    for (const watch of this.#watches) watch.up()
    // A watch that was begun before a write is to hear of it: nothing is sent before this.
    this.#requests.again([])
    this.#state = 'connected'
    this.#options.tell({ kind: 'connected', node })
    this.#settle()
    this.#plan()
  }

  #lost(error: SkeinError): void {
    this.#link?.close()
    this.#link = undefined
    this.#requests.lost()
    this.#watching.clear()
    for (const watch of this.#watches) watch.down()
    this.#away(error)
  }

  #away(error: SkeinError): void {
    if (this.#state === 'closed') return
    const isRefused = !error.retryable
    this.#state = isRefused ? 'refused' : 'away'
    this.#options.tell({ kind: 'away', error })
    if (isRefused) {
      for (const request of this.#requests.takeAll(() => true)) fail(request, error)
      for (const watch of this.#watches) watch.fail(error)
      this.#settle()
      return
    }
    const mostMs = Math.min(backoffMostMs, backoffFirstMs * 2 ** Math.min(this.#failures++, 16))
    const waitMs = mostMs * (0.5 + 0.5 * this.#options.random())
    this.#redial = setTimeout(() => this.dial(), waitMs)
    this.#hold()
  }

  // Asking

  /** Resolves with the answer. A request that is given up after it was sent may have been done. */
  ask(message: Readonly<Record<string, unknown>>, what: What, signal?: AbortSignal): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) throw given(signal)
      let stop: (() => void) | undefined
      const request = this.send(message, what, (outcome) => {
        if (stop !== undefined) signal?.removeEventListener('abort', stop)
        if (outcome.kind === 'ok') resolve(outcome.ok)
        else reject(outcome.error)
      })
      if (signal === undefined) return
      stop = (): void => {
        if (this.#requests.drop(request.id) === undefined) return
        const isOpen = what === 'write' && request.wasSent
        reject(isOpen ? new SkeinError('unanswered', 'the write was given up after it was sent') : given(signal))
        this.#settle()
      }
      signal.addEventListener('abort', stop, { once: true })
    })
  }

  /** Throws what `send` would throw of a small request. */
  check(): void {
    if (this.#isClosing) throw new SkeinError('closed', 'the client is closed')
    this.#requests.check()
  }

  /** Throws `busy` where too much waits, and `closed`. */
  send(message: Readonly<Record<string, unknown>>, what: What, settle: (outcome: Outcome) => void): Request {
    if (this.#isClosing) throw new SkeinError('closed', 'the client is closed')
    const id = this.#requests.nextId()
    const request = this.#requests.add(
      id,
      `{"id":${id},${JSON.stringify(message).slice(1)}`,
      what,
      settle,
      message['once'] as number | undefined,
    )
    if (this.#state === 'refused') this.dial()
    this.#hold()
    // The node begins with these while the others are still being made.
    if (this.#requests.gathered >= startWith && this.#heldUntilMs < performance.now()) this.#flush()
    else this.#plan()
    return request
  }

  /** What is asked in one turn of the event loop goes in one frame. */
  #plan(): void {
    if (this.#isFlushPlanned || this.#state !== 'connected') return
    this.#isFlushPlanned = true
    const heldMs = this.#heldUntilMs - performance.now()
    const flush = (): void => {
      this.#isFlushPlanned = false
      this.#flush()
    }
    if (heldMs > 0) setTimeout(flush, heldMs)
    else setImmediate(flush)
  }

  #flush(): void {
    const link = this.#link
    if (link === undefined || this.#state !== 'connected') return
    while (!link.isFull) {
      const frame = this.#requests.frame()
      if (frame === '') return
      const own = this.#own()
      link.send(own === '' ? frame : `[${own},${frame.slice(1)}`)
    }
  }

  /** Whose writes these are, and which of them need not be kept any more; nothing where that was said. */
  #own(): string {
    const confirmed = this.#requests.confirmed()
    if (confirmed === undefined) return ''
    const { session } = this.#options
    return JSON.stringify({ id: this.#requests.nextId(), do: 'session', session, confirmed })
  }

  nextWrite(): number {
    return this.#requests.nextWrite()
  }

  #said(messages: readonly Said[]): void {
    const again: number[] = []
    let isClosing = false
    for (const message of messages) {
      const { id, problem, watch } = message
      if (id !== undefined) {
        const code = problem?.code
        const retryMs = retryOf(problem)
        if (code === 'closed') isClosing = true
        else if (retryMs !== undefined) {
          again.push(id)
          this.#heldUntilMs = performance.now() + retryMs
        } else this.#answer(id, message)
      } else if (watch !== undefined) this.#told(watch, message)
      else if (typeof message.hello?.node === 'string') this.#up(message.hello.node)
    }
    if (again.length > 0) this.#requests.again(again)
    this.#settle()
    if (isClosing) this.#lost(new SkeinError('peer_lost', 'the node is closing'))
    else this.#plan()
  }

  #answer(id: number, { ok, problem }: Said): void {
    const isDurable = problem !== undefined || (ok as { readonly durable?: unknown } | undefined)?.durable !== false
    const request = this.#requests.answered(id, isDurable)
    if (request === undefined) return
    if (problem === undefined) request.settle({ kind: 'ok', ok })
    else request.settle({ kind: 'failed', error: errorOf(problem) })
  }

  #settle(): void {
    this.#hold()
    if (this.#waiters.length === 0) return
    const done = this.#waiters.filter(({ isDone }) => isDone())
    this.#waiters = this.#waiters.filter((one) => !done.includes(one))
    for (const { resolve } of done) resolve()
  }

  /** Resolves as soon as it is so; what may change it is an answer or a connection. */
  #until(isDone: () => boolean): Promise<void> {
    if (isDone()) return Promise.resolve()
    return new Promise((resolve) => this.#waiters.push({ isDone, resolve }))
  }

  connected(): Promise<void> {
    return this.#until(() => this.#state === 'connected')
  }

  /** Another request would be taken. */
  room(): Promise<void> {
    return this.#until(() => !this.#requests.isFull)
  }

  /** Everything that was asked so far is answered. */
  flush(): Promise<void> {
    const last = this.#requests.nextId()
    return this.#until(() => this.#requests.oldest > last)
  }

  // Watches

  /** It is told of connections from now on. */
  addWatch(watch: Watching): void {
    if (this.#isClosing) throw new SkeinError('closed', 'the client is closed')
    this.#watches.add(watch)
    if (this.#state === 'connected') watch.up()
    else if (this.#state === 'refused') this.dial()
  }

  removeWatch(watch: Watching): void {
    this.#watches.delete(watch)
  }

  /** Answers the id of the watch on this connection. */
  beginWatch(watch: Watching, message: Readonly<Record<string, unknown>>): number {
    const request = this.send(message, 'of-the-link', (outcome) => {
      if (outcome.kind === 'failed') this.#watching.delete(request.id)
      watch.begun(request.id, outcome)
    })
    this.#watching.set(request.id, watch)
    return request.id
  }

  endWatch(id: number): void {
    this.#watching.delete(id)
    if (this.#link !== undefined && !this.#isClosing) {
      this.send({ do: 'unwatch', watch: id }, 'of-the-link', () => undefined)
    }
  }

  #told(id: number, { event, end, problem }: Said): void {
    const watch = this.#watching.get(id)
    if (watch === undefined) return
    if (event !== undefined) watch.told(event)
    else if (end !== undefined) {
      this.#watching.delete(id)
      watch.ended(end, problem === undefined ? undefined : errorOf(problem))
    }
  }

  /** Somebody waits for an event, or no longer: that is reason enough for the process to stay. */
  reading(isReading: boolean): void {
    this.#readers += isReading ? 1 : -1
    this.#hold()
  }

  #hold(): void {
    const isWanted = this.#readers > 0 || this.#requests.size > 0 || this.#waiters.length > 0
    this.#link?.want(isWanted)
    if (isWanted) this.#redial?.ref()
    else this.#redial?.unref()
  }

  // The end

  /** Takes nothing more, waits that long for what is asked, and gives the rest up. */
  async close(timeoutMs: number): Promise<void> {
    if (!this.#isClosing) {
      this.#isClosing = true
      for (const watch of this.#watches) watch.close()
      const late = Promise.withResolvers<void>()
      const timer = setTimeout(late.resolve, timeoutMs)
      await Promise.race([this.#until(() => this.#requests.size === 0), late.promise])
      clearTimeout(timer)
      for (const request of this.#requests.takeAll(() => true)) {
        fail(request, new SkeinError('closed', 'the client was closed before it was sent'))
      }
      const own = this.#state === 'connected' ? this.#own() : ''
      if (own !== '') this.#link?.send(`[${own}]`)
      this.#state = 'closed'
      clearTimeout(this.#redial)
      this.#link?.close()
      this.#link = undefined
      this.#settle()
    }
    await this.#until(() => this.#state === 'closed')
  }
}

/** A write that was sent may have been done, whatever stops the waiting. */
function fail({ what, wasSent, settle }: Request, error: SkeinError): void {
  const isOpen = what === 'write' && wasSent && error.code !== 'unanswered'
  settle({
    kind: 'failed',
    error: isOpen ? new SkeinError('unanswered', `no answer came: ${error.message}`, {}, error) : error,
  })
}

function given(signal: AbortSignal): SkeinError {
  return new SkeinError('aborted', 'it was given up', {}, signal.reason)
}

function asError(error: unknown): SkeinError {
  return error instanceof SkeinError ? error : new SkeinError('peer_unreachable', String(error), {}, error)
}

function retryOf(problem: Said['problem']): number | undefined {
  if (problem?.code !== 'rate_limited') return undefined
  const { retryAfterMs } = (problem.details ?? {}) as { readonly retryAfterMs?: unknown }
  return typeof retryAfterMs === 'number' ? Math.min(Math.max(1, retryAfterMs), limits.waitMs) : undefined
}
