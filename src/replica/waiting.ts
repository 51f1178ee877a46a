/**
 * Deltas of a space that came before what they follow: an earlier one of their origin, or what their writer had seen. They
 * wait here, decoded and bounded, until it comes. What is held counts as seen; what found no room was never seen, and
 * anti-entropy brings it again.
 */
import { limits } from '../base/limits.ts'
import type { Delta } from '../crdt/delta.ts'
import { covers } from '../crdt/dot.ts'
import type { Dot, OriginId, Seen } from '../crdt/dot.ts'

export interface Held {
  readonly delta: Delta
  readonly body: Uint8Array
  readonly sinceMs: number
}

/** What all waiting rooms of a node hold together. */
export interface Room {
  deltas: number
  bytes: number
}

export class WaitingRoom {
  readonly #room: Room
  readonly #held = new Map<OriginId, Map<number, Held>>()
  /** Origin that must move first → origins whose next delta waits for it. */
  readonly #blocked = new Map<OriginId, Set<OriginId>>()

  constructor(room: Room) {
    this.#room = room
  }

  get size(): number {
    let size = 0
    for (const held of this.#held.values()) size += held.size
    return size
  }

  has({ origin, seq }: Dot): boolean {
    return this.#held.get(origin)?.has(seq) === true
  }

  /** Takes a delta in. False when the room is full. */
  hold(delta: Delta, body: Uint8Array, nowMs: number, vector: Seen): boolean {
    const room = this.#room
    if (room.deltas >= limits.waitingDeltas || room.bytes + body.length > limits.waitingBytes) return false
    const { origin, seq } = delta
    let held = this.#held.get(origin)
    if (held === undefined) this.#held.set(origin, (held = new Map<number, Held>()))
    held.set(seq, { delta, body, sinceMs: nowMs })
    room.deltas++
    room.bytes += body.length
    this.#block(delta, vector)
    return true
  }

  /** The deltas that may be applied now that this origin moved. They leave the room. */
  release(moved: OriginId, vector: Seen): Held[] {
    if (this.#held.size === 0) return []
    const ready: Held[] = []
    const origins = this.#blocked.get(moved)
    this.#blocked.delete(moved)
    this.#next(moved, vector, ready)
    if (origins !== undefined) for (const origin of origins) if (origin !== moved) this.#next(origin, vector, ready)
    return ready
  }

  /** The same after the vector moved as a whole: what it covers now leaves, and is not wanted any more. */
  releaseAll(vector: Seen): Held[] {
    const ready: Held[] = []
    this.#blocked.clear()
    for (const [origin, held] of this.#held) {
      for (const one of held.values()) if (covers(vector, one.delta)) this.#remove(one)
      this.#next(origin, vector, ready)
    }
    return ready
  }

  /** Lets go of what waits since before `beforeMs`: nobody could complete it. Returns what went. */
  drop(beforeMs: number): Dot[] {
    const dropped: Dot[] = []
    for (const held of this.#held.values()) {
      for (const one of held.values()) {
        if (one.sinceMs > beforeMs) continue
        this.#remove(one)
        dropped.push({ origin: one.delta.origin, seq: one.delta.seq })
      }
    }
    return dropped
  }

  #next(origin: OriginId, vector: Seen, ready: Held[]): void {
    const next = this.#held.get(origin)?.get((vector.get(origin) ?? 0) + 1)
    if (next === undefined || this.#block(next.delta, vector)) return
    this.#remove(next)
    ready.push(next)
  }

  /** Notes what an origin's next delta waits for. False when it waits for nothing, or is not the next. */
  #block(delta: Delta, vector: Seen): boolean {
    if (delta.seq !== (vector.get(delta.origin) ?? 0) + 1) return false
    const lacking = delta.context.find((dot) => !covers(vector, dot))
    if (lacking === undefined) return false
    const origins = this.#blocked.get(lacking.origin)
    if (origins === undefined) this.#blocked.set(lacking.origin, new Set([delta.origin]))
    else origins.add(delta.origin)
    return true
  }

  #remove({ delta, body }: Held): void {
    const held = this.#held.get(delta.origin) as Map<number, Held>
    held.delete(delta.seq)
    if (held.size === 0) this.#held.delete(delta.origin)
    this.#room.deltas--
    this.#room.bytes -= body.length
  }
}
