/**
 * What a reader reads and a session feeds, over whatever connections there are: a queue between both. What is asked of the node on
 * each new connection, and what becomes of a reader who is slow, is for those who extend it to say.
 */
import type { SkeinError } from '../base/errors.ts'
import type { Outcome } from './requests.ts'

/** What a watch needs of its session. */
export interface WatchHost {
  addWatch(watch: Watching): void
  removeWatch(watch: Watching): void
  beginWatch(watch: Watching, message: Readonly<Record<string, unknown>>): number
  endWatch(id: number): void
  reading(isReading: boolean): void
}

/** What a session tells a watch. */
export interface Watching {
  up(): void
  down(): void
  begun(id: number, outcome: Outcome): void
  told(event: unknown): void
  ended(how: string, error: SkeinError | undefined): void
  fail(error: SkeinError): void
  close(): void
}

export abstract class LinkWatch<Event> implements AsyncIterableIterator<Event, void, void>, AsyncDisposable, Watching {
  protected readonly host: WatchHost
  /** Under which this connection knows it. */
  protected id: number | undefined = undefined
  #queue: Event[] = []
  #wake: (() => void) | undefined = undefined
  #end: { readonly error: SkeinError | undefined } | undefined = undefined
  readonly #begun: PromiseWithResolvers<void> = Promise.withResolvers<void>()
  readonly #signal: AbortSignal | undefined
  readonly #onAbort = (): void => this.close()

  constructor(host: WatchHost, signal: AbortSignal | undefined) {
    this.host = host
    this.#signal = signal
    this.#begun.promise.catch(() => undefined)
  }

  /** Once all of it is made: the session speaks to it from here on. */
  protected begin(): void {
    this.host.addWatch(this)
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (this.#signal?.aborted === true) this.close()
  }

  /** Resolves once the node watches: changes by anybody from then on are told. */
  get ready(): Promise<void> {
    return this.#begun.promise
  }

  protected get isOver(): boolean {
    return this.#end !== undefined
  }

  protected get queued(): number {
    return this.#queue.length
  }

  protected isReady(): void {
    this.#begun.resolve()
  }

  async next(): Promise<IteratorResult<Event, void>> {
    for (;;) {
      const event = this.#queue.shift()
      if (event !== undefined) {
        this.taken()
        return { done: false, value: event }
      }
      if (this.#end !== undefined) {
        const { error } = this.#end
        if (error === undefined) return { done: true, value: undefined }
        this.#end = { error: undefined }
        throw error
      }
      this.host.reading(true)
      await new Promise<void>((resolve) => {
        const before = this.#wake
        this.#wake = () => {
          before?.()
          resolve()
        }
      })
      this.host.reading(false)
    }
  }

  /** Stops watching: what leaving a `for await` loop calls. */
  return(): Promise<IteratorResult<Event, void>> {
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

  protected push(event: Event): void {
    this.#queue.push(event)
    this.#wake?.()
    this.#wake = undefined
  }

  /** Nobody will read it. */
  protected drop(): void {
    this.#queue = []
  }

  /** The reader took one. */
  protected taken(): void {}

  abstract up(): void
  abstract down(): void
  abstract begun(id: number, outcome: Outcome): void
  abstract told(event: unknown): void

  ended(how: string, error: SkeinError | undefined): void {
    this.id = undefined
    // The node is closing: it goes on over the next connection.
    if (how === 'closing' || error?.code === 'closed') return
    this.finish(error)
  }

  fail(error: SkeinError): void {
    this.finish(error)
  }

  close(): void {
    this.stopHere()
    this.finish(undefined)
  }

  protected stopHere(): void {
    if (this.id !== undefined) this.host.endWatch(this.id)
    this.id = undefined
  }

  protected finish(error: SkeinError | undefined): void {
    if (this.#end !== undefined) return
    this.#end = { error }
    this.host.removeWatch(this)
    this.#signal?.removeEventListener('abort', this.#onAbort)
    if (error === undefined) this.#begun.resolve()
    else this.#begun.reject(error)
    this.#wake?.()
    this.#wake = undefined
  }
}
