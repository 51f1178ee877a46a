/**
 * A watch over whatever connections there are. It keeps the token behind the last event that came, and begins from there
 * on each new connection, so nothing is lost and a change may come twice.
 *
 * Its queue is bounded: while its reader is slow the node is asked to stop, and afterwards to go on from the last token.
 * What the node's own queue dropped meanwhile is asked for again in the same way. So a reader sees a `gap` only where the
 * log of the node no longer reaches back, or where another history answers.
 */
import type { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { WatchEvent } from '../node/watch.ts'
import type { Outcome } from './requests.ts'

/** What a watch needs of its session. */
export interface WatchHost {
  addWatch(watch: ClientWatch): void
  removeWatch(watch: ClientWatch): void
  beginWatch(watch: ClientWatch, message: Readonly<Record<string, unknown>>): number
  endWatch(id: number): void
  reading(isReading: boolean): void
}

export interface WatchedRange {
  readonly space: string
  readonly prefix?: string
  readonly key?: string
}

/** The beginning of a space: from where a watch begins that was there before the space. */
const beginning = 'w0'
/** How often the node is asked for a space that it does not have yet. A guess. */
const lookAgainMs = 250

export class ClientWatch implements AsyncIterableIterator<WatchEvent, void, void>, AsyncDisposable {
  readonly #host: WatchHost
  readonly #range: WatchedRange
  readonly #signal: AbortSignal | undefined
  readonly #begun: PromiseWithResolvers<void> = Promise.withResolvers<void>()
  /** From where to go on; undefined until the node has said where the watch began. */
  #token: string | undefined
  /** The token is one that the caller gave: if it is none, he is told. */
  #isGiven: boolean
  /** Under which the present connection knows it. */
  #id: number | undefined = undefined
  #isUp = false
  /** The reader is slow, and the node was asked to stop. */
  #isPaused = false
  /** Its place is lost: where it begins anew, a gap says so. */
  #isAstray = false
  #queue: WatchEvent[] = []
  #wake: (() => void) | undefined = undefined
  #end: { readonly error: SkeinError | undefined } | undefined = undefined
  #looking: NodeJS.Timeout | undefined = undefined
  readonly #onAbort = (): void => this.close()

  constructor(host: WatchHost, range: WatchedRange, since: string | undefined, signal: AbortSignal | undefined) {
    this.#host = host
    this.#range = range
    this.#token = since
    this.#isGiven = since !== undefined
    this.#signal = signal
    this.#begun.promise.catch(() => undefined)
    host.addWatch(this)
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (signal?.aborted === true) this.close()
  }

  /** Resolves once the node watches: changes by anybody from then on are told. */
  get ready(): Promise<void> {
    return this.#begun.promise
  }

  async next(): Promise<IteratorResult<WatchEvent, void>> {
    for (;;) {
      const event = this.#queue.shift()
      if (event !== undefined) {
        if (this.#isPaused && this.#queue.length <= limits.watchBuffer / 2) {
          this.#isPaused = false
          this.#ask()
        }
        return { done: false, value: event }
      }
      if (this.#end !== undefined) {
        const { error } = this.#end
        if (error === undefined) return { done: true, value: undefined }
        this.#end = { error: undefined }
        throw error
      }
      this.#host.reading(true)
      await new Promise<void>((resolve) => {
        const before = this.#wake
        this.#wake = () => {
          before?.()
          resolve()
        }
      })
      this.#host.reading(false)
    }
  }

  /** Stops watching: what leaving a `for await` loop calls. */
  return(): Promise<IteratorResult<WatchEvent, void>> {
    this.#queue = []
    this.close()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  // What the session tells.

  up(): void {
    this.#isUp = true
    this.#ask()
  }

  down(): void {
    this.#isUp = false
    this.#id = undefined
    clearTimeout(this.#looking)
  }

  #ask(): void {
    if (!this.#isUp || this.#isPaused || this.#end !== undefined) return
    this.#id = this.#host.beginWatch(this, {
      ...this.#range,
      ...(this.#token !== undefined && { since: this.#token }),
    })
  }

  begun(id: number, outcome: Outcome): void {
    if (id !== this.#id) return
    if (outcome.kind === 'failed') return this.#refused(outcome.error)
    const { token } = outcome.ok as { readonly token?: unknown }
    if (typeof token === 'string') {
      if (this.#isAstray) this.#push({ kind: 'gap', space: this.#range.space, cause: 'restored', token })
      this.#token ??= token
    }
    this.#isAstray = false
    this.#isGiven = false
    this.#begun.resolve()
  }

  #refused(error: SkeinError): void {
    this.#id = undefined
    if (error.code === 'not_found') {
      if (this.#token !== undefined && this.#token !== beginning) this.#isAstray = true
      this.#token = beginning
      this.#isGiven = false
      this.#begun.resolve()
      this.#looking = setTimeout(() => this.#ask(), lookAgainMs)
      this.#looking.unref()
    } else if (error.code === 'invalid_token' && !this.#isGiven) {
      // Another node answers, or the space was ended and begun anew.
      this.#isAstray = true
      this.#token = undefined
      this.#ask()
    } else this.fail(error)
  }

  told(value: unknown): void {
    if (this.#end !== undefined) return
    const event = value as WatchEvent
    this.#token = event.token
    if (event.kind === 'gap' && event.cause === 'slow') {
      this.#stopHere()
      this.#ask()
      return
    }
    this.#push(event)
    if (this.#queue.length < limits.watchBuffer) return
    this.#isPaused = true
    this.#stopHere()
  }

  #push(event: WatchEvent): void {
    this.#queue.push(event)
    this.#wake?.()
    this.#wake = undefined
  }

  ended(how: string, error: SkeinError | undefined): void {
    this.#id = undefined
    // The node is closing: it goes on over the next connection.
    if (how === 'closing' || error?.code === 'closed') return
    this.#finish(error)
  }

  fail(error: SkeinError): void {
    this.#finish(error)
  }

  close(): void {
    this.#stopHere()
    this.#finish(undefined)
  }

  #stopHere(): void {
    if (this.#id !== undefined) this.#host.endWatch(this.#id)
    this.#id = undefined
  }

  #finish(error: SkeinError | undefined): void {
    if (this.#end !== undefined) return
    this.#end = { error }
    clearTimeout(this.#looking)
    this.#host.removeWatch(this)
    this.#signal?.removeEventListener('abort', this.#onAbort)
    if (error === undefined) this.#begun.resolve()
    else this.#begun.reject(error)
    this.#wake?.()
    this.#wake = undefined
  }
}
