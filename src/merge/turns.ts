/**
 * Who writes what several nodes have found: the first in turn at once, each of the others when he is still the one who has
 * it after a grace for each before him. While the cases of others keep coming he goes on waiting, since his may be on its
 * way: in a storm everybody would else write everything. He does not wait for ever.
 */

import { utf8 } from '../base/bytes.ts'
import { checksum32 } from '../base/hash.ts'

/** How long the next in turn waits for what somebody else was to do. A guess: some round trips. */
export const graceMs = 2_000
/** Beyond so many nobody waits longer. */
const mostGraces = 8
/** So many more while cases keep coming. A guess: a storm of a hundred thousand is over by then. */
const patience = 15

interface Turn {
  readonly id: string
  readonly sinceMs: number
}

export class Turns {
  /** By place: in the order in which they were added, and so in that of their turns. */
  readonly #queues: (Turn[] | undefined)[] = []
  /** How many at the front of each are done with. */
  readonly #done: number[] = []
  #movedMs = -Infinity

  add(id: string, place: number, nowMs: number): void {
    const at = Math.min(place, mostGraces)
    const queue = (this.#queues[at] ??= [])
    this.#done[at] ??= 0
    queue.push({ id, sinceMs: nowMs })
  }

  /** A case of another came. */
  moved(nowMs: number): void {
    this.#movedMs = nowMs
  }

  /** Those whose turn has come, the own ones first, as long as `take` wants another: then it is done with. */
  due(nowMs: number, take: (id: string) => boolean): void {
    for (const [place, queue] of this.#queues.entries()) {
      if (queue === undefined) continue
      let at = this.#done[place] ?? 0
      let isWanted = true
      for (; at < queue.length; at++) {
        const turn = queue[at] as Turn
        if (this.#turnMs(turn, place) > nowMs) break
        isWanted = take(turn.id)
        if (!isWanted) break
      }
      if (at > queue.length / 2) {
        queue.splice(0, at)
        at = 0
      }
      this.#done[place] = at
      if (!isWanted) return
    }
  }

  /** When the next turn comes. */
  get nextMs(): number {
    let next = Infinity
    for (const [place, queue] of this.#queues.entries()) {
      const first = queue?.[this.#done[place] ?? 0]
      if (first !== undefined) next = Math.min(next, this.#turnMs(first, place))
    }
    return next
  }

  #turnMs({ sinceMs }: Turn, place: number): number {
    if (place === 0) return sinceMs
    const waitMs = graceMs * place
    return Math.min(Math.max(sinceMs, this.#movedMs) + waitMs, sinceMs + waitMs + patience * graceMs)
  }
}

/** How many graces a node waits among the others: none if the rendezvous falls on it. Another order for each name. */
export function placeOf(node: string, others: readonly string[], name: string): number {
  const own = rank(node, name)
  let before = 0
  for (const other of others) if (rank(other, name) < own) before++
  return Math.min(before, mostGraces)
}

function rank(node: string, name: string): number {
  const bytes = utf8(node + name)
  return checksum32(bytes, 0, bytes.length, 0) >>> 0
}
