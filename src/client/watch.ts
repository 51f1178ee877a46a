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
import { LinkWatch } from './link-watch.ts'
import type { WatchHost } from './link-watch.ts'
import type { Outcome } from './requests.ts'

export interface WatchedRange {
  readonly space: string
  readonly prefix?: string
  readonly key?: string
}

/** The beginning of a space: from where a watch begins that was there before the space. */
const beginning = 'w0'
/** How often the node is asked for a space that it does not have yet. A guess. */
const lookAgainMs = 250

export class ClientWatch extends LinkWatch<WatchEvent> {
  readonly #range: WatchedRange
  /** From where to go on; undefined until the node has said where the watch began. */
  #token: string | undefined
  /** The token is one that the caller gave: if it is none, he is told. */
  #isGiven: boolean
  #isUp = false
  /** The reader is slow, and the node was asked to stop. */
  #isPaused = false
  /** Its place is lost: where it begins anew, a gap says so. */
  #isAstray = false
  #looking: NodeJS.Timeout | undefined = undefined

  constructor(host: WatchHost, range: WatchedRange, since: string | undefined, signal: AbortSignal | undefined) {
    super(host, signal)
    this.#range = range
    this.#token = since
    this.#isGiven = since !== undefined
    this.begin()
  }

  protected override taken(): void {
    if (!this.#isPaused || this.queued > limits.watchBuffer / 2) return
    this.#isPaused = false
    this.#ask()
  }

  // What the session tells.

  up(): void {
    this.#isUp = true
    this.#ask()
  }

  down(): void {
    this.#isUp = false
    this.id = undefined
    clearTimeout(this.#looking)
  }

  #ask(): void {
    if (!this.#isUp || this.#isPaused || this.isOver) return
    this.id = this.host.beginWatch(this, {
      do: 'watch',
      ...this.#range,
      ...(this.#token !== undefined && { since: this.#token }),
    })
  }

  begun(id: number, outcome: Outcome): void {
    if (id !== this.id) return
    if (outcome.kind === 'failed') return this.#refused(outcome.error)
    const { token } = outcome.ok as { readonly token?: unknown }
    if (typeof token === 'string') {
      if (this.#isAstray) this.push({ kind: 'gap', space: this.#range.space, cause: 'restored', token })
      this.#token ??= token
    }
    this.#isAstray = false
    this.#isGiven = false
    this.isReady()
  }

  #refused(error: SkeinError): void {
    this.id = undefined
    if (error.code === 'not_found') {
      if (this.#token !== undefined && this.#token !== beginning) this.#isAstray = true
      this.#token = beginning
      this.#isGiven = false
      this.isReady()
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
    if (this.isOver) return
    const event = value as WatchEvent
    this.#token = event.token
    if (event.kind === 'gap' && event.cause === 'slow') {
      this.stopHere()
      this.#ask()
      return
    }
    this.push(event)
    if (this.queued < limits.watchBuffer) return
    this.#isPaused = true
    this.stopHere()
  }

  protected override finish(error: SkeinError | undefined): void {
    clearTimeout(this.#looking)
    super.finish(error)
  }
}
