/**
 * With whom patience was lost, and about what. Whoever was asked and said nothing in time is given longer the next time,
 * since he may only be slow; and he is left aside for a while, in favour of others that hold the space too, since he may be
 * dead, or mean to be waited for. Both grow with every time in a row, the while faster: of the time of a space a peer that
 * is silent on purpose gets less and less.
 */
import { limits } from '../base/limits.ts'
import type { NodeId, SpaceId } from '../wire/frame.ts'

interface Failed {
  readonly times: number
  readonly untilMs: number
}

export class Patience {
  readonly #mostMs: number
  /** In the order in which they failed. */
  readonly #failed = new Map<string, Failed>()

  constructor(mostMs: number) {
    this.#mostMs = mostMs
  }

  /** It was waited for so long, for nothing. */
  failed(node: NodeId, space: SpaceId, waitedMs: number, nowMs: number): void {
    const key = node + space
    const times = this.times(node, space) + 1
    const asideMs = Math.min(this.#mostMs, waitedMs * 2 ** times)
    this.#failed.delete(key)
    this.#failed.set(key, { times, untilMs: nowMs + asideMs })
    // Names cost a peer nothing: of many the first are forgotten.
    const [oldest] = this.#failed.keys()
    if (this.#failed.size > limits.silences && oldest !== undefined) this.#failed.delete(oldest)
  }

  /** It answered. Once does not make up for many times. */
  came(node: NodeId, space: SpaceId): void {
    const key = node + space
    const times = this.times(node, space) - 1
    if (times < 1) this.#failed.delete(key)
    else this.#failed.set(key, { times, untilMs: -Infinity })
  }

  /** How often it failed, less how often it answered since. */
  times(node: NodeId, space: SpaceId): number {
    return this.#failed.get(node + space)?.times ?? 0
  }

  isAside(node: NodeId, space: SpaceId, nowMs: number): boolean {
    return nowMs < (this.#failed.get(node + space)?.untilMs ?? -Infinity)
  }
}
