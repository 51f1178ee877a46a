/**
 * What the tester knows of every delta that anybody ever wrote, gathered when it is applied where it was made: more than
 * any single node, and from nobody's disk.
 */
import { hash128, lanes } from '../base/hash.ts'
import type { Delta } from '../crdt/delta.ts'
import type { OriginId, ReadonlyVector, Vector } from '../crdt/dot.ts'

export interface Known {
  readonly delta: Delta
  /** Of the body. */
  readonly hash: number
  /** All that its writer had seen, itself not included. */
  readonly seen: ReadonlyVector
  readonly fault: string | undefined
}

export class SpaceChronicle {
  readonly name: string
  readonly #byOrigin = new Map<OriginId, Known[]>()

  constructor(name: string) {
    this.name = name
  }

  get(origin: OriginId, seq: number): Known | undefined {
    return this.#byOrigin.get(origin)?.[seq - 1]
  }

  /** Takes up a delta of its own writer; undefined when that dot is known already. */
  write(delta: Delta, body: Uint8Array, fault: string | undefined): Known | undefined {
    let known = this.#byOrigin.get(delta.origin)
    if (known === undefined) this.#byOrigin.set(delta.origin, (known = []))
    if (delta.seq !== known.length + 1) return undefined
    const seen: Vector = new Map(known.at(-1)?.seen)
    for (const { origin, seq } of delta.context) seen.set(origin, Math.max(seq, seen.get(origin) ?? 0))
    if (delta.seq > 1) seen.set(delta.origin, delta.seq - 1)
    const one = { delta, hash: hashOf(body), seen, fault }
    known.push(one)
    return one
  }

  /** Every delta that the vector covers, in an order in which they may be applied. */
  *covered(vector: ReadonlyVector): Iterable<Known> {
    const done: Vector = new Map()
    const waiting = new Set(vector.keys())
    for (let moved = true; moved && waiting.size > 0;) {
      moved = false
      for (const origin of waiting) {
        for (;;) {
          const next = (done.get(origin) ?? 0) + 1
          const known = this.get(origin, next)
          if (next > (vector.get(origin) ?? 0) || known === undefined) {
            waiting.delete(origin)
            break
          }
          if (![...known.delta.context].every((dot) => (done.get(dot.origin) ?? 0) >= dot.seq)) break
          done.set(origin, next)
          moved = true
          yield known
        }
      }
    }
  }
}

export function hashOf(bytes: Uint8Array): number {
  hash128(bytes, 0, bytes.length, 0x73696d, 0, 0, 0)
  return (lanes[0] as number) * 0x20_0000 + ((lanes[1] as number) & 0x1f_ffff)
}

/** A number for a vector that does not depend on the order of its origins: sums of hashes, in two lanes. */
export class VectorHash {
  #first = 0
  #second = 0

  /** An origin moved from one sequence to another. */
  move(origin: OriginId, from: number, to: number): void {
    if (from > 0) this.#add(origin, from, -1)
    if (to > 0) this.#add(origin, to, 1)
  }

  get value(): string {
    return `${this.#first >>> 0}.${this.#second >>> 0}`
  }

  #add(origin: OriginId, seq: number, sign: number): void {
    const low = Number.parseInt(origin.slice(16, 24), 16) ^ Number.parseInt(origin.slice(0, 8), 16)
    const high = Number.parseInt(origin.slice(24, 32), 16) ^ Number.parseInt(origin.slice(8, 16), 16)
    this.#first = (this.#first + sign * mixed(low, high, seq)) | 0
    this.#second = (this.#second + sign * mixed(high, low, seq + 0x9e3779b9)) | 0
  }
}

/** The finalizer of MurmurHash3 (Appleby), over three words. */
function mixed(a: number, b: number, c: number): number {
  let hash = 0
  for (const word of [a, b, c]) {
    hash = Math.imul(hash ^ word, 0x85ebca6b)
    hash ^= hash >>> 13
    hash = Math.imul(hash, 0xc2b2ae35)
    hash ^= hash >>> 16
  }
  return hash
}
