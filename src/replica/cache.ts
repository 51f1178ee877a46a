/**
 * The bounded cache of entries over all spaces of a replica. State lives on disk; memory does not follow the number of
 * entries.
 *
 * Two rings, after S3-FIFO (Yang et al., 2023): an entry starts in the small one and moves to the large one only if it
 * was used again, so that a scan or a run of random reads neither empties the cache nor ages into V8's old generation.
 * The large ring gives second chances: what was used since the hand last passed stays for another round.
 *
 * It trims only when told to, between operations: an entry that somebody is working on is never taken away.
 */
import type { StoredEntry } from './entry.ts'

/** The small ring's part of the whole. A guess; the paper has a tenth. */
const freshPart = 1 / 16

class Ring {
  /** The next to be looked at, right after the newest. */
  hand: StoredEntry | undefined = undefined
  size = 0
  weight = 0

  add(entry: StoredEntry): void {
    const next = this.hand
    if (next === undefined) {
      entry.next = entry
      entry.previous = entry
      this.hand = entry
    } else {
      entry.next = next
      entry.previous = next.previous
      entry.previous.next = entry
      next.previous = entry
    }
    this.size++
    this.weight += entry.weighed
  }

  remove(entry: StoredEntry): void {
    if (--this.size === 0) this.hand = undefined
    else {
      entry.previous.next = entry.next
      entry.next.previous = entry.previous
      if (this.hand === entry) this.hand = entry.next
    }
    this.weight -= entry.weighed
    // An old entry that still pointed at a young one would drag it into V8's old generation, and that one the next.
    entry.next = entry
    entry.previous = entry
  }
}

export class EntryCache {
  readonly #limitBytes: number
  readonly #fresh = new Ring()
  readonly #kept = new Ring()
  #vainAt = -1
  #vainWeight = 0
  /** The last batch that is on disk: entries that wait for a later one stay. */
  storedBatch = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  add(entry: StoredEntry): void {
    entry.weighed = entry.weight
    this.#fresh.add(entry)
  }

  /** Takes note that an entry grew or shrank. */
  weigh(entry: StoredEntry): void {
    const { weight } = entry
    const ring = entry.kept ? this.#kept : this.#fresh
    ring.weight += weight - entry.weighed
    entry.weighed = weight
  }

  trim(): void {
    const fresh = this.#fresh
    while (fresh.weight > this.#limitBytes * freshPart && fresh.hand !== undefined) {
      const entry = fresh.hand
      fresh.remove(entry)
      if (!entry.used && entry.dirtyIn <= this.storedBatch) entry.forget()
      else {
        entry.used = false
        entry.kept = true
        this.#kept.add(entry)
      }
    }
    const kept = this.#kept
    if (kept.weight <= this.#limitBytes) return
    // All of it waited for the disk when the hand last went round: it is not sent round in vain for every write.
    if (this.#vainAt === this.storedBatch && kept.weight < this.#vainWeight) return
    const target = this.#limitBytes * 0.75
    // Twice round: the first may only take second chances away.
    for (let left = 2 * kept.size; left > 0 && kept.weight > target; left--) {
      const entry = kept.hand as StoredEntry
      if (entry.used || entry.dirtyIn > this.storedBatch) {
        entry.used = false
        kept.hand = entry.next
      } else {
        kept.remove(entry)
        entry.forget()
      }
    }
    this.#vainAt = this.storedBatch
    this.#vainWeight = kept.weight > target ? 1.5 * kept.weight : 0
  }
}
