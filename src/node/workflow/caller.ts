/** One endpoint, called until it answers or is given up: with waits that grow and vary, and a breaker for one that is dead. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Refused, callEndpoint } from './endpoint.ts'
import type { Endpoint } from './endpoint.ts'

export interface CallBounds {
  /** Of one attempt. A guess: a model that thinks, a mail server that looks twice. */
  readonly timeoutMs: number
  readonly attempts: number
  /** Before the second attempt; it doubles from there. */
  readonly backoffMs: number
  readonly backoffMostMs: number
  /** Failures in a row after which nothing is asked for a while. */
  readonly breakAfter: number
  readonly breakMs: number
}

/** Guesses: some two minutes of attempts in all, and half a minute for a dead endpoint to come back. */
export const usualBounds: CallBounds = {
  timeoutMs: 30_000,
  attempts: 6,
  backoffMs: 1_000,
  backoffMostMs: 60_000,
  breakAfter: 5,
  breakMs: 30_000,
}

/** It was not asked, since it failed again and again just before. */
export class Broken extends Error {}

export class Caller {
  readonly #endpoint: Endpoint
  readonly #bounds: CallBounds
  readonly #now: () => number
  #failures = 0
  #brokenUntilMs = -Infinity

  constructor(endpoint: Endpoint, bounds: CallBounds, now: () => number) {
    this.#endpoint = endpoint
    this.#bounds = bounds
    this.#now = now
  }

  get isBroken(): boolean {
    return this.#now() < this.#brokenUntilMs
  }

  /** Throws what the last attempt threw. `mayGoOn` is asked before each further one. */
  async call(key: string, body: unknown, signal: AbortSignal, mayGoOn: () => boolean = () => true): Promise<unknown> {
    const { timeoutMs, attempts, backoffMs, backoffMostMs } = this.#bounds
    for (let attempt = 1; ; attempt++) {
      if (this.isBroken) throw new Broken('it failed again and again, and is left alone for a while')
      try {
        const answer = await callEndpoint(this.#endpoint, { key, body, timeoutMs, signal, now: this.#now })
        this.#failures = 0
        return answer
      } catch (error) {
        signal.throwIfAborted()
        this.#failed()
        if (error instanceof Refused || attempt >= attempts || !mayGoOn()) throw error
      }
      // Full jitter: those who failed together do not come back together.
      const most = Math.min(backoffMs * 2 ** (attempt - 1), backoffMostMs)
      await sleep(most / 2 + (Math.random() * most) / 2, undefined, { signal })
    }
  }

  /** After its time one call goes through again; if that fails, the breaker is back. */
  #failed(): void {
    const { breakAfter, breakMs } = this.#bounds
    this.#failures++
    if (this.#failures >= breakAfter) this.#brokenUntilMs = this.#now() + breakMs
  }
}
