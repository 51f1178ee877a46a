/**
 * What this node has found about conflicts, heard, decided and done, line after line: each holds the hash of the one before,
 * so that none can be changed, left out or put in between without all that follow being made anew. A line is a row in the
 * batch of what it tells of. The oldest go when there are too many, and the hash of the last that went stays: what is left
 * is still proven to follow it.
 *
 * The chain proves order and wholeness to whoever has its head from elsewhere. It is no signature: who can write the disk
 * can write a chain anew.
 */
import { compareBytes, equalBytes, toHex } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { encodeValue } from '../base/msgpack.ts'
import type { RowRange, RowReader } from '../base/rows.ts'
import type { Value } from '../base/value.ts'
import { sha256 } from '../crdt/types/sha256.ts'
import { isObject, valueIn } from '../merge/deed.ts'
import type { Replica } from './replica.ts'
import { localKey, prefixRange } from './row-keys.ts'

export interface AuditFact {
  /** `found` by this node; the others as events name them. */
  readonly what: string
  readonly space: string
  readonly id: string
  readonly rule: string
  readonly agent: string
  readonly reason: string | undefined
  /** The revision that it led to. */
  readonly revision: string
  /** The delta that brought it; none for what this node found by itself. */
  readonly dot: string | undefined
  /** What was said: the choice, the owner, the receipt. */
  readonly details: Value
}

export interface AuditLine extends AuditFact {
  /** From 1 on, without gaps. */
  readonly number: number
  /** By this node's clock, in wall milliseconds. */
  readonly at: number
  /** Hash of the line before, as hexadecimal digits. */
  readonly previous: string
  readonly hash: string
}

/** What a chain of lines begins and ends with. */
export interface AuditHead {
  /** The number of the first line that is kept. */
  readonly first: number
  /** The number that the next line gets. */
  readonly next: number
  /** Hash of the line before the first. */
  readonly anchor: string
  /** Hash of the last line: whoever keeps it elsewhere can tell that nothing was changed since. */
  readonly last: string
}

export interface AuditReport extends AuditHead {
  readonly isIntact: boolean
  /** Lines that were read. */
  readonly lines: number
  /** The first line that is not as it was written, and how. */
  readonly broken: { readonly number: number; readonly why: string } | undefined
}

const linesName = 'audit/'
const headKey = localKey('audit-head')
/** Rows of lines, in their order. */
export const auditRows: RowRange = prefixRange(localKey(linesName))
const zero = '0'.repeat(64)
const emptyHead: AuditHead = { first: 1, next: 1, anchor: zero, last: zero }

const linesKey = localKey(linesName)

/** In a storm there is one for each conflict. */
function lineKey(number: number): Uint8Array {
  const key = new Uint8Array(linesKey.length + 7)
  key.set(linesKey)
  let rest = number
  for (let at = key.length - 1; at >= linesKey.length; at--) {
    key[at] = rest % 256
    rest = Math.floor(rest / 256)
  }
  return key
}

export class Audit {
  readonly #replica: Replica
  readonly #rows: RowReader
  readonly #most: number
  #head: AuditHead | undefined
  #headBatch = 0

  constructor(replica: Replica, rows: RowReader, most: number = limits.auditLines) {
    this.#replica = replica
    this.#rows = rows
    this.#most = most
  }

  get head(): AuditHead {
    return (this.#head ??= headIn(this.#rows.get(headKey)))
  }

  append({ reason, dot, ...fact }: AuditFact, atMs: number): void {
    const { first, next, anchor, last } = this.head
    const line = {
      ...fact,
      ...(reason !== undefined && { reason }),
      ...(dot !== undefined && { dot }),
      number: next,
      at: atMs,
      previous: last,
    }
    const bytes = encodeValue(line).slice()
    this.#replica.keep(lineKey(next), bytes)
    this.#head = { first, next: next + 1, anchor, last: toHex(sha256(bytes)) }
    // Two, so that what could not go before its row was on the disk is made up for.
    for (let over = next - first + 1 - this.#most, left = 2; over > 0 && left > 0; over--, left--) this.#drop()
    // Many lines of one batch move the head; it is asked for when the batch is taken.
    if (this.#headBatch === this.#replica.batch) return
    this.#headBatch = this.#replica.keep(headKey, () => encodeHead(this.head))
  }

  /** The oldest line goes, once the disk has it. */
  #drop(): void {
    const head = this.head
    const oldest = this.#rows.get(lineKey(head.first))
    if (oldest === undefined) return
    this.#replica.keep(lineKey(head.first), undefined)
    this.#head = { ...head, first: head.first + 1, anchor: toHex(sha256(oldest)) }
  }
}

function encodeHead({ first, next, anchor, last }: AuditHead): Uint8Array {
  return encodeValue([first, next, anchor, last]).slice()
}

function headIn(bytes: Uint8Array | undefined): AuditHead {
  const value = bytes && valueIn(bytes)
  if (!Array.isArray(value)) return emptyHead
  const [first, next, anchor, last] = value as readonly Value[]
  const isHead = typeof first === 'number' && typeof next === 'number' && typeof anchor === 'string'
  return isHead && typeof last === 'string' ? { first, next, anchor, last } : emptyHead
}

/** The head as it stands among the rows of a store. */
export function auditHead(rows: RowReader): AuditHead {
  return headIn(rows.get(headKey))
}

/** Undefined for a row that holds no line. */
export function auditLine(bytes: Uint8Array): AuditLine | undefined {
  const line = valueIn(bytes)
  if (!isObject(line) || typeof line['number'] !== 'number' || typeof line['previous'] !== 'string') return undefined
  // In its one form: bytes that say the same in another way are not what was hashed.
  if (!equalBytes(encodeValue(line), bytes)) return undefined
  const { reason, dot } = line
  return {
    ...(line as unknown as AuditLine),
    reason: typeof reason === 'string' ? reason : undefined,
    dot: typeof dot === 'string' ? dot : undefined,
    hash: toHex(sha256(bytes)),
  }
}

/** Goes along a chain. Rows come in the order of their keys. */
export class AuditCheck {
  readonly #head: AuditHead
  #next: number
  #previous: string
  #lines = 0
  #broken: AuditReport['broken']

  constructor(head: AuditHead) {
    this.#head = head
    this.#next = head.first
    this.#previous = head.anchor
  }

  take(key: Uint8Array, bytes: Uint8Array): void {
    this.#lines++
    const line = auditLine(bytes)
    const number = this.#next++
    if (line === undefined) this.#say(number, 'it cannot be read')
    else if (compareBytes(key, lineKey(number)) !== 0 || line.number !== number) this.#say(number, 'it is missing')
    else if (line.previous !== this.#previous) this.#say(number, 'it does not follow the line before it')
    this.#previous = line?.hash ?? ''
  }

  #say(number: number, why: string): void {
    this.#broken ??= { number, why }
  }

  end(): AuditReport {
    const { next, last } = this.#head
    if (this.#next < next) this.#say(this.#next, 'it is missing')
    else if (this.#previous !== last) this.#say(next - 1, 'it is not the last one that was written')
    return { ...this.#head, isIntact: this.#broken === undefined, lines: this.#lines, broken: this.#broken }
  }
}
