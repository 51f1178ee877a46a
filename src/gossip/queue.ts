/**
 * What waits for one peer: names of deltas in order, not their bytes, which are read from the log when they leave.
 *
 * While the link is idle whatever is pushed leaves at once; while it is busy deltas gather, and all that has gathered
 * leaves together. Over its bound the queue is dropped and takes no more of anything: the peer catches up from the log,
 * which costs O(1) here however far behind it is. Other peers have queues of their own.
 */
import { limits } from '../base/limits.ts'
import type { Dot, OriginId, SpaceId } from '../wire/frame.ts'

/** A dot, its place in the list and its space, held by reference. A guess, on the safe side. */
const itemBytes = 64
/** Bytes of deltas in one flush. From measurements elsewhere: 16 to 64 KiB keep a link full and latency low. */
export const flushBytes: number = 65_536

interface Item {
  readonly space: SpaceId
  readonly dot: Dot
  readonly sizeBytes: number
}

/** Deltas of one space that leave in one frame: runs of consecutive sequences, in an order in which they may be applied. */
export interface Parcel {
  readonly space: SpaceId
  readonly runs: readonly { readonly origin: OriginId; readonly seq: number; readonly count: number }[]
}

export class PeerQueue {
  readonly #limitBytes: number
  #items: Item[] = []
  /** Items before this one have left. */
  #head = 0
  #heldBytes = 0
  /** Taken, and not known to have left: they are in buffers of the link, and count too. */
  #leavingBytes = 0
  /** Spaces that the peer must catch up in, since something of theirs was dropped. */
  #behind: Set<SpaceId> | undefined
  #busy = false

  constructor(limitBytes: number = limits.peerQueueBytes) {
    this.#limitBytes = limitBytes
  }

  /** What it holds in memory. Never over the bound, and not with what is leaving either. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  get length(): number {
    return this.#items.length - this.#head
  }

  /** Something was dropped, and nothing is queued until `catchUp` is called. */
  get behind(): boolean {
    return this.#behind !== undefined
  }

  /** There is something to take and the link is free. */
  get ready(): boolean {
    return !this.#busy && (this.length > 0 || this.#behind !== undefined)
  }

  /** Nothing waits, and the link is free: what is pushed now may as well leave now. */
  get free(): boolean {
    return !this.#busy && this.length === 0 && this.#behind === undefined
  }

  /** So many bytes of deltas were sent past it, while it was free. */
  passed(sizeBytes: number): void {
    this.#busy = true
    this.#leavingBytes += sizeBytes
  }

  push(space: SpaceId, dot: Dot, sizeBytes: number): void {
    if (this.#behind !== undefined) {
      this.#behind.add(space)
      return
    }
    const cost = sizeBytes + itemBytes
    if (this.#heldBytes + this.#leavingBytes + cost > this.#limitBytes && this.length > 0) {
      this.#behind = new Set([space])
      for (let at = this.#head; at < this.#items.length; at++) this.#behind.add((this.#items[at] as Item).space)
      this.#clear()
      return
    }
    this.#items.push({ space, dot, sizeBytes })
    this.#heldBytes += cost
  }

  /** The link has something unsent. Called for whatever is sent over it; `take` counts as such. */
  sent(): void {
    this.#busy = true
  }

  /** Everything sent has left. */
  drained(): void {
    this.#busy = false
    this.#leavingBytes = 0
  }

  /** The oldest deltas, up to so many bytes but at least one. The link is busy from then on. */
  take(maxBytes: number = flushBytes): readonly Parcel[] {
    let bytes = 0
    const from = this.#head
    while (this.#head < this.#items.length) {
      const { sizeBytes } = this.#items[this.#head] as Item
      if (this.#head > from && bytes + sizeBytes > maxBytes) break
      bytes += sizeBytes
      this.#heldBytes -= sizeBytes + itemBytes
      this.#head++
    }
    this.#leavingBytes += bytes
    const taken = parcels(this.#items, from, this.#head)
    if (this.#head > from) this.#busy = true
    if (this.#head === this.#items.length) this.#clear()
    else if (this.#head > this.#items.length / 2) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return taken
  }

  /** The spaces to compare vectors in. From here on new deltas are queued again. */
  catchUp(): readonly SpaceId[] {
    const spaces = [...(this.#behind ?? [])]
    this.#behind = undefined
    return spaces
  }

  #clear(): void {
    this.#items = []
    this.#head = 0
    this.#heldBytes = 0
  }
}

function parcels(items: readonly Item[], from: number, to: number): Parcel[] {
  const taken: Parcel[] = []
  let runs: { origin: OriginId; seq: number; count: number }[] = []
  let space: SpaceId | undefined
  for (let at = from; at < to; at++) {
    const item = items[at] as Item
    if (item.space !== space) {
      runs = []
      space = item.space
      taken.push({ space, runs })
    }
    const last = runs.at(-1)
    if (last !== undefined && last.origin === item.dot.origin && last.seq + last.count === item.dot.seq) last.count++
    else runs.push({ ...item.dot, count: 1 })
  }
  return taken
}
