/**
 * What the tester knows of every delta that anybody ever wrote, gathered when it is applied where it was made: more than
 * any single node, and from nobody's disk.
 */
import { hash128, lanes } from '../base/hash.ts'
import { equalBytes } from '../base/bytes.ts'
import { decodeDelta, linkOf } from '../crdt/delta.ts'
import type { Chain, Delta } from '../crdt/delta.ts'
import type { OriginId, ReadonlyVector, Vector } from '../crdt/dot.ts'

export interface Known {
  readonly delta: Delta
  /** Of the body. */
  readonly hash: number
  /** All that its writer had seen, itself not included. */
  readonly seen: ReadonlyVector
  readonly fault: string | undefined
  /** The chain after it. */
  readonly chain: Chain
  readonly before: Known | undefined
}

/** Where a replica stands with an origin. */
export interface Standing {
  readonly origin: OriginId
  readonly seq: number
  readonly chain: Chain
  /** It ended there in a fork. */
  readonly fork: unknown
}

export class SpaceChronicle {
  readonly name: string
  /** By sequence; more than one where a memory was cloned. */
  readonly #byOrigin = new Map<OriginId, Known[][]>()

  constructor(name: string) {
    this.name = name
  }

  get(origin: OriginId, seq: number, chain: Chain): Known | undefined {
    return this.#byOrigin.get(origin)?.[seq - 1]?.find((known) => isSame(known.chain, chain))
  }

  /** Was there ever another history of this origin? */
  isForked(origin: OriginId): boolean {
    return this.#byOrigin.get(origin)?.some((known) => known.length > 1) === true
  }

  /** Takes up a delta of its own writer; undefined when that dot is known already. */
  write(delta: Delta, body: Uint8Array, fault: string | undefined, chain: Chain): Known | undefined {
    let known = this.#byOrigin.get(delta.origin)
    if (known === undefined) this.#byOrigin.set(delta.origin, (known = []))
    // The link of an own delta is lent: that in the bytes stays.
    const { link } = decodeDelta(delta.origin, delta.seq, body)
    const before = known[delta.seq - 2]?.find((one) => equalBytes(linkOf(one.chain), link))
    if (delta.seq > 1 && before === undefined) return undefined
    const histories = (known[delta.seq - 1] ??= [])
    if (histories.some((one) => isSame(one.chain, chain))) return undefined
    const seen: Vector = new Map(before?.seen)
    for (const { origin, seq } of delta.context) seen.set(origin, Math.max(seq, seen.get(origin) ?? 0))
    if (delta.seq > 1) seen.set(delta.origin, delta.seq - 1)
    const one = { delta, hash: hashOf(body), seen, fault, chain: chain.slice(), before }
    histories.push(one)
    return one
  }

  /** The delta of that sequence in the history that leads there. */
  inHistory({ origin, seq, chain }: Standing, at: number): Known | undefined {
    let known = this.get(origin, seq, chain)
    while (known !== undefined && known.delta.seq > at) known = known.before
    return known?.delta.seq === at ? known : undefined
  }

  /** Every delta that led a replica to where it stands, in an order in which they may be applied. */
  *covered(standings: Iterable<Standing>): Iterable<Known> {
    const done: Vector = new Map()
    const histories = new Map<OriginId, Known[]>()
    const ended = new Map<OriginId, number>()
    for (const standing of standings) {
      const history: Known[] = []
      let known = this.get(standing.origin, standing.seq, standing.chain)
      for (; known !== undefined; known = known.before) history.push(known)
      histories.set(standing.origin, history.reverse())
      if (standing.fork !== undefined) ended.set(standing.origin, standing.seq)
    }
    const waiting = new Set(histories.keys())
    for (let moved = true; moved && waiting.size > 0;) {
      moved = false
      for (const origin of waiting) {
        for (;;) {
          const next = done.get(origin) ?? 0
          const known = histories.get(origin)?.[next]
          if (known === undefined) {
            waiting.delete(origin)
            break
          }
          const isReady = [...known.delta.context].every(
            (dot) => (done.get(dot.origin) ?? 0) >= Math.min(dot.seq, ended.get(dot.origin) ?? Infinity),
          )
          if (!isReady) break
          done.set(origin, next + 1)
          moved = true
          yield known
        }
      }
    }
  }
}

function isSame(a: Chain, b: Chain): boolean {
  return a.every((lane, at) => lane === b[at])
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
