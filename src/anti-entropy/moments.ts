/**
 * Waits until the store holds a space exactly as memory had it at one moment, and says what that moment was: what is read
 * from a snapshot taken then and there belongs to that vector. A space that is written to all the time has such moments
 * too, one a batch.
 */
import type { Moment } from '../replica/adoption.ts'
import type { Replica } from '../replica/replica.ts'
import type { Space } from '../replica/space.ts'

export class Moments {
  readonly #replica: Replica
  readonly #waiting = new Map<Space, ((moment: Moment) => void)[]>()

  constructor(replica: Replica) {
    this.#replica = replica
  }

  /** Calls `then` as soon as it may ask for a scan: now, or when a batch was stored. */
  next(space: Space, then: (moment: Moment) => void): void {
    if (this.#replica.isStored(space)) return then(space.moment())
    space.imprint ??= { moment: undefined, isStored: false }
    const waiting = this.#waiting.get(space)
    if (waiting === undefined) this.#waiting.set(space, [then])
    else waiting.push(then)
  }

  stored(): void {
    for (const [space, waiting] of this.#waiting) {
      const { imprint } = space
      const moment = imprint?.isStored === true ? imprint.moment : undefined
      if (moment === undefined && !this.#replica.isStored(space)) continue
      space.imprint = undefined
      this.#waiting.delete(space)
      for (const then of waiting) then(moment ?? space.moment())
    }
  }
}
