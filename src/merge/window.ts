/**
 * What was written lately, by what it touched: the other half of a comparison. It is filled from the log, and only when a
 * delta comes whose writer had not seen all that is here; while writers see one another's work it costs nothing, and after
 * a restart there is nothing to load. It is bounded: what does not fit is left out and read again when it is wanted.
 */
import { SkeinError } from '../base/errors.ts'
import { encodeValue } from '../base/msgpack.ts'
import { limits } from '../base/limits.ts'
import { Slab } from '../base/slab.ts'
import type { Delta } from '../crdt/delta.ts'
import type { Dot, OriginId, Seen } from '../crdt/dot.ts'
import { deedOf, valueIn } from './deed.ts'
import type { Deed } from './deed.ts'
import type { Met, Rule, Touch, Values } from './rule.ts'
import { digestOf } from './system.ts'

/** A space of a replica, as far as it is looked at. */
export interface Replicated extends Values {
  origins(): Iterable<OriginId>
  /** The last sequence that is here, and the first that the log still holds. */
  head(origin: OriginId): number
  floor(origin: OriginId): number
  delta(dot: Dot): Delta | undefined
  /** What an origin had seen of others at its last delta. */
  seen(origin: OriginId): Seen
}

/** Deltas of an origin that are read however full the window is. A guess: some seconds of a busy writer. */
const alwaysRead = 1_000
/** Deltas in a row that knew of everything, before the window is emptied. A guess: writers keep step again. */
const restsKept = 256
/** Longer values are compared by their digests. */
const digestedBytes = 512

interface Range {
  from: number
  to: number
}

export class Window {
  readonly #space: Replicated
  readonly #rules: readonly Rule[]
  readonly #buckets = new Map<string, Met[]>()
  readonly #held = new Map<OriginId, Range>()
  #size = 0
  #rested = 0
  #slab = new Slab()
  /** The value that was copied last, and its copy. */
  #copied: Uint8Array | undefined
  #copy: Uint8Array = new Uint8Array(0)
  /** Deltas that were wanted and had left the log, or found no room. */
  missed = 0

  constructor(space: Replicated, rules: readonly Rule[]) {
    this.#space = space
    this.#rules = rules
  }

  /** Makes sure that what an origin wrote from a sequence on is here. */
  want(origin: OriginId, from: number): void {
    this.#rested = 0
    const head = this.#space.head(origin)
    const held = this.#held.get(origin)
    if (held !== undefined && held.from <= from && held.to === head) return
    const floor = this.#space.floor(origin)
    if (from < floor && (held === undefined || held.from > from)) this.missed += Math.min(floor, head + 1) - from
    const first = Math.max(from, floor)
    if (this.#size > limits.windowTouches) this.clear()
    const range = this.#held.get(origin)
    if (range === undefined || first > range.to + 1 || head < range.to) {
      this.#held.set(origin, { from: first, to: head })
      return this.#load(origin, first, head)
    }
    if (first < range.from) {
      this.#load(origin, first, range.from - 1)
      range.from = first
    }
    this.#load(origin, range.to + 1, head)
    range.to = head
  }

  /**
   * The newest come last, so that they are what stays if there is no room. What is read at once leaves half of the window
   * free: it is not emptied again before as much has come.
   */
  #load(origin: OriginId, from: number, to: number): void {
    const room = Math.max(limits.windowTouches / 2 - this.#size, alwaysRead)
    const least = Math.max(from, to - room + 1)
    this.missed += least - from
    for (let seq = least; seq <= to; seq++) {
      const delta = this.#space.delta({ origin, seq })
      if (delta !== undefined) this.#add(deedOf(delta))
    }
  }

  /** What another member wrote in a form that no rule can take stands in the way of nothing else. */
  touches(deed: Deed, rule: Rule): readonly Touch[] {
    try {
      return rule.kind.touches(deed, rule)
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      this.missed++
      return []
    }
  }

  #add(deed: Deed): void {
    const { origin, seq, time, agent } = deed.delta
    for (const [at, rule] of this.#rules.entries()) {
      for (const touch of this.touches(deed, rule)) {
        const met = { origin, seq, time, agent, touch: this.#kept(lean(touch)) }
        const name = nameOf(at, touch.bucket)
        const bucket = this.#buckets.get(name)
        if (bucket === undefined) this.#buckets.set(name, [met])
        else bucket.push(met)
        this.#size++
      }
    }
  }

  /** It outlives its delta. Several rules look at the same value. */
  #kept(touch: Touch): Touch {
    const { value } = touch
    if (value === undefined) return touch
    if (value !== this.#copied) {
      this.#copied = value
      this.#copy = this.#slab.copy(value)
    }
    return { ...touch, value: this.#copy }
  }

  /** What touched that bucket and was not seen, the newest first; no more than can be compared. */
  unseen(rule: number, bucket: string, seen: (dot: Dot) => boolean): Met[] {
    const found: Met[] = []
    const known = new Set<string>()
    const all = this.#buckets.get(nameOf(rule, bucket)) ?? []
    for (let at = all.length - 1; at >= 0 && found.length < limits.casePairs; at--) {
      const met = all[at] as Met
      if (seen(met)) continue
      // A stretch of the log that was left out once may have been read a second time.
      const { act, key, type, path, note } = met.touch
      const name = `${met.origin}${met.seq} ${act} ${key} ${type} ${path} ${note === undefined}`
      if (known.has(name)) continue
      known.add(name)
      found.push(met)
    }
    return found
  }

  /** Nobody is behind: what is here is let go once that has been so for a while. */
  rest(): void {
    if (this.#size > 0 && ++this.#rested > restsKept) this.clear()
  }

  clear(): void {
    this.#rested = 0
    this.#slab = new Slab()
    this.#buckets.clear()
    this.#held.clear()
    this.#size = 0
  }
}

function nameOf(rule: number, bucket: string): string {
  return `${rule} ${bucket}`
}

/** As much of a touch as is compared. */
export function lean(touch: Touch): Touch {
  const { value } = touch
  if (value === undefined || value.length <= digestedBytes) return touch
  return { ...touch, value: encodeValue(digestOf(valueIn(value) ?? value)), cutBytes: value.length }
}
