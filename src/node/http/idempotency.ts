/**
 * Answers kept for their Idempotency-Key, so that a client that heard nothing may ask again. They are of this node alone: no
 * peer knows them. A kept answer stands in the very batch of the write that it tells of, so after a crash both are there or
 * neither is.
 *
 * Only answers of writes that succeeded are kept: a request that was refused changed nothing, and may be tried anew under
 * its key. Bounded by age, number and bytes; the oldest goes first.
 */
import { createHash } from 'node:crypto'
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { decodeValue, encodeValue } from '../../base/msgpack.ts'
import type { Value } from '../../base/value.ts'
import { localKey, prefixRange } from '../../replica/row-keys.ts'
import type { SkeinNode } from '../node.ts'

const rowPrefix = 'http/idempotency/'
/** Places in the order that are passed before they are let go, when they are half of it. */
const forgetAt = 1024

interface Kept {
  readonly fingerprint: string
  readonly atMs: number
  readonly answer: Value
  readonly sizeBytes: number
  /** The batch that carries it: until that is stored, so is the write. */
  readonly batch: number
}

interface Placed {
  readonly name: string
  readonly kept: Kept
}

export interface Replayed {
  readonly answer: Value
  /** As durable as the write was asked to be. */
  readonly durable: () => Promise<void>
}

export class Idempotency {
  readonly #node: SkeinNode
  /** By caller and key. */
  readonly #kept = new Map<string, Kept>()
  /**
   * The oldest first, from a place on; also what was replaced since. Not the order of the map: each walk over that would
   * pass by all that was deleted before.
   */
  #order: Placed[] = []
  #first = 0
  #sizeBytes = 0

  private constructor(node: SkeinNode) {
    this.#node = node
  }

  static async open(node: SkeinNode): Promise<Idempotency> {
    const table = new Idempotency(node)
    const found: { readonly name: string; readonly kept: Kept }[] = []
    const prefix = localKey(rowPrefix)
    for await (const page of (await node.rows()).range(prefixRange(prefix))) {
      for (const [key, row] of page) {
        const name = new TextDecoder().decode(key.subarray(prefix.length))
        const kept = fromRow(row)
        if (kept === undefined) node.replica.keep(key, undefined)
        else found.push({ name, kept })
      }
    }
    found.sort((one, other) => one.kept.atMs - other.kept.atMs)
    for (const { name, kept } of found) table.#put(name, kept)
    table.#trim()
    return table
  }

  get size(): number {
    return this.#kept.size
  }

  /** The answer that was given before; throws where the key was another request's. */
  replay(caller: string, key: string, fingerprint: string): Replayed | undefined {
    this.#trim()
    const kept = this.#kept.get(nameOf(caller, key))
    if (kept === undefined) return undefined
    if (kept.fingerprint !== fingerprint) {
      throw new SkeinError('idempotency_conflict', 'this Idempotency-Key was used for another request')
    }
    return { answer: kept.answer, durable: () => this.#node.whenStored(kept.batch) }
  }

  /** In the same step as the write: nothing may be awaited in between. */
  keep(caller: string, key: string, fingerprint: string, answer: Value): void {
    const name = nameOf(caller, key)
    const atMs = this.#node.now()
    const row = encodeValue([fingerprint, atMs, answer])
    const batch = this.#node.replica.keep(localKey(rowPrefix + name), row)
    this.#put(name, { fingerprint, atMs, answer, sizeBytes: row.length + name.length, batch })
    this.#node.wrote(batch, 'memory')
    this.#trim()
  }

  #put(name: string, kept: Kept): void {
    this.#sizeBytes += kept.sizeBytes - (this.#kept.get(name)?.sizeBytes ?? 0)
    this.#kept.set(name, kept)
    this.#order.push({ name, kept })
  }

  #trim(): void {
    const oldestMs = this.#node.now() - limits.idempotencyMs
    for (; this.#first < this.#order.length; this.#first++) {
      const { name, kept } = this.#order[this.#first] as Placed
      if (this.#kept.get(name) !== kept) continue
      const isOver = this.#kept.size > limits.idempotencyKeys || this.#sizeBytes > limits.idempotencyBytes
      if (!isOver && kept.atMs >= oldestMs) break
      this.#kept.delete(name)
      this.#sizeBytes -= kept.sizeBytes
      this.#node.wrote(this.#node.replica.keep(localKey(rowPrefix + name), undefined), 'memory')
    }
    if (this.#first < forgetAt || 2 * this.#first < this.#order.length) return
    this.#order = this.#order.slice(this.#first)
    this.#first = 0
  }
}

/** Names of callers and keys are of any characters and length: what stands in the row is a digest of both. */
function nameOf(caller: string, key: string): string {
  return createHash('sha256')
    .update(JSON.stringify([caller, key]))
    .digest('base64url')
}

/** What makes two requests the same: where they go and what they say. */
export function fingerprintOf(parts: readonly unknown[]): string {
  let text: string
  try {
    text = JSON.stringify(parts)
  } catch (error) {
    // The stack has its end: nothing that is nested so deeply would be taken anyway.
    throw new SkeinError('too_deep', 'the request is nested too deeply', {}, error)
  }
  return createHash('sha256').update(text).digest('base64url')
}

/** Undefined for what another version wrote: it is dropped, and a request that is repeated over it is done again. */
function fromRow(row: Uint8Array): Kept | undefined {
  let parts: Value
  try {
    parts = decodeValue(row)
  } catch {
    return undefined
  }
  if (!Array.isArray(parts)) return undefined
  const [fingerprint, atMs, answer] = parts as readonly Value[]
  if (typeof fingerprint !== 'string' || typeof atMs !== 'number' || answer === undefined) return undefined
  return { fingerprint, atMs, answer, sizeBytes: row.length, batch: 0 }
}
