/**
 * The entries of a space that are in memory, by key. A Map finds them too, by way of a table of its own and of the keys
 * themselves, each somewhere else in memory; with ten thousand entries and more those are what a write waits for. Here
 * an entry knows its hash and the next of its bucket, and is itself the link.
 */
import type { StoredEntry } from './entry.ts'

const leastBuckets = 64

export class EntryTable {
  #buckets: (StoredEntry | undefined)[] = buckets(leastBuckets)
  #size = 0

  /** `hash` is keyHash(key). */
  get(key: string, hash: number): StoredEntry | undefined {
    let entry = this.#buckets[hash & (this.#buckets.length - 1)]
    while (entry !== undefined && (entry.hash !== hash || entry.key !== key)) entry = entry.nextInBucket
    return entry
  }

  add(entry: StoredEntry): void {
    if (++this.#size > this.#buckets.length) this.#resize(4 * this.#buckets.length)
    this.#link(entry)
  }

  delete(entry: StoredEntry): void {
    const bucket = entry.hash & (this.#buckets.length - 1)
    let before = this.#buckets[bucket]
    if (before === entry) this.#buckets[bucket] = entry.nextInBucket
    else {
      while (before !== undefined && before.nextInBucket !== entry) before = before.nextInBucket
      if (before === undefined) return
      before.nextInBucket = entry.nextInBucket
    }
    // As in the rings of the cache: an old entry must not drag a young one along.
    entry.nextInBucket = undefined
    this.#size--
  }

  clear(): void {
    this.#buckets = buckets(leastBuckets)
    this.#size = 0
  }

  *values(): Iterable<StoredEntry> {
    for (const first of this.#buckets) {
      for (let entry = first; entry !== undefined; entry = entry.nextInBucket) yield entry
    }
  }

  #link(entry: StoredEntry): void {
    const bucket = entry.hash & (this.#buckets.length - 1)
    entry.nextInBucket = this.#buckets[bucket]
    this.#buckets[bucket] = entry
  }

  #resize(length: number): void {
    const before = this.#buckets
    this.#buckets = buckets(length)
    for (const first of before) {
      let entry = first
      while (entry !== undefined) {
        const next = entry.nextInBucket
        this.#link(entry)
        entry = next
      }
    }
  }
}

function buckets(length: number): (StoredEntry | undefined)[] {
  const empty: (StoredEntry | undefined)[] = []
  while (empty.length < length) empty.push(undefined)
  return empty
}
