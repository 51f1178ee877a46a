/**
 * What clients of the stream were answered and have not confirmed, so that a write whose answer was lost with its connection
 * may be sent again and is not done again. A client numbers its writes, and says up to where it has its answers; so what is
 * kept is what is under way, and no bound of age or number can forget an answer that somebody still needs.
 *
 * Answers stand in rows of some dozens each, made when the batch is taken that carries their writes: after a crash both are
 * there or neither is. They are of this node alone: no peer knows them.
 */
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { decodeValue, encodeValue } from '../../base/msgpack.ts'
import type { Value } from '../../base/value.ts'
import { localKey, prefixRange } from '../../replica/row-keys.ts'
import type { SkeinNode } from '../node.ts'
import type { Replayed } from './idempotency.ts'

const rowPrefix = 'http/session/'
/** Answers in one row: each batch writes anew the rows that it adds to. A guess. */
const rowAnswers = 64
const namePattern = /^[\w-]{8,64}$/
const dayMs = 24 * 60 * 60 * 1000

interface Kept {
  readonly answer: Value
  /** The batch that carries it: until that is stored, so is the write. */
  readonly batch: number
}

export class Session {
  readonly name: string
  atMs: number
  readonly #node: SkeinNode
  /** By their rows, and there by number. */
  readonly #rows = new Map<number, Map<number, Kept>>()
  /** Connections that it is open on. */
  users = 0
  #confirmed = 0
  #size = 0
  /** The row that a batch will ask for. */
  #asked = { batch: 0, row: -1 }

  constructor(node: SkeinNode, name: string, atMs: number) {
    this.#node = node
    this.name = name
    this.atMs = atMs
  }

  get size(): number {
    return this.#size
  }

  /** The answer that was given before. */
  replay(number: number): Replayed | undefined {
    if (number <= this.#confirmed) {
      throw new SkeinError('invalid_argument', `write ${number} of this session was confirmed`, { argument: 'number' })
    }
    const kept = this.#rows.get(rowOf(number))?.get(number)
    if (kept !== undefined) return { answer: kept.answer, durable: () => this.#node.whenStored(kept.batch) }
    if (this.#size >= limits.sessionAnswers) {
      throw new SkeinError('rate_limited', `confirm answers: ${this.#size} of this session are kept`)
    }
    return undefined
  }

  /** In the same step as the write: nothing may be awaited in between. */
  keep(number: number, answer: Value): void {
    const row = rowOf(number)
    let kept = this.#rows.get(row)
    if (kept === undefined) this.#rows.set(row, (kept = new Map<number, Kept>()))
    const { replica } = this.#node
    const { batch } = replica
    // Once a batch: it asks for the row when it is taken.
    if (this.#asked.batch !== batch || this.#asked.row !== row) {
      this.#asked = { batch, row }
      this.#node.wrote(
        replica.keep(this.#key(row), () => this.#row(row)),
        'memory',
      )
    }
    kept.set(number, { answer, batch })
    this.#size++
  }

  /** Nobody will ask for these any more, nor send those writes again. */
  confirm(upTo: number): void {
    if (upTo <= this.#confirmed) return
    this.#confirmed = upTo
    for (const [row, kept] of this.#rows) {
      if ((row + 1) * rowAnswers - 1 > upTo) continue
      this.#size -= kept.size
      this.#drop(row)
    }
    this.atMs = this.#node.now()
  }

  /** @internal From the disk. */
  load(row: number, answers: readonly (readonly [number, Value])[]): void {
    this.#rows.set(row, new Map(answers.map(([number, answer]) => [number, { answer, batch: 0 }])))
    this.#size += answers.length
  }

  end(): void {
    for (const row of this.#rows.keys()) this.#drop(row)
    this.#size = 0
  }

  /** Nothing is kept that the client does not have. */
  get isIdle(): boolean {
    for (const kept of this.#rows.values()) for (const number of kept.keys()) if (number > this.#confirmed) return false
    return true
  }

  #drop(row: number): void {
    this.#rows.delete(row)
    this.#asked = { batch: 0, row: -1 }
    this.#node.wrote(this.#node.replica.keep(this.#key(row), undefined), 'memory')
  }

  #row(row: number): Uint8Array | undefined {
    const kept = this.#rows.get(row)
    return kept && encodeValue([this.atMs, ...[...kept].map(([number, { answer }]) => [number, answer])])
  }

  #key(row: number): Uint8Array {
    return localKey(`${rowPrefix}${this.name}/${row.toString(36)}`)
  }
}

export class Sessions {
  readonly #node: SkeinNode
  /** The one that was opened last at the end. */
  readonly #all = new Map<string, Session>()

  private constructor(node: SkeinNode) {
    this.#node = node
  }

  static async open(node: SkeinNode): Promise<Sessions> {
    const sessions = new Sessions(node)
    const prefix = localKey(rowPrefix)
    for await (const page of (await node.rows()).range(prefixRange(prefix))) {
      for (const [key, bytes] of page) {
        const name = new TextDecoder().decode(key.subarray(prefix.length))
        const at = name.lastIndexOf('/')
        const row = fromRow(bytes)
        if (row === undefined || row.atMs < node.now() - dayMs) {
          node.replica.keep(key, undefined)
          continue
        }
        const session = sessions.#get(name.slice(0, at), row.atMs)
        session.load(Number.parseInt(name.slice(at + 1), 36), row.answers)
      }
    }
    return sessions
  }

  /** A caller's session, the same over all of his connections. */
  open(caller: string, name: string): Session {
    if (!namePattern.test(name)) {
      throw new SkeinError('invalid_argument', 'a session is named by 8 to 64 letters, digits, - or _', {
        argument: 'session',
      })
    }
    const whole = `${caller}/${name}`
    const session = this.#get(whole, this.#node.now())
    this.#all.delete(whole)
    this.#all.set(whole, session)
    session.users++
    if (this.#all.size > limits.sessions) this.#trim()
    return session
  }

  /** Its connection ended: what the client has needs no place. */
  leave(session: Session): void {
    session.users--
    if (session.users > 0 || !session.isIdle) return
    session.end()
    this.#all.delete(session.name)
  }

  #get(name: string, atMs: number): Session {
    let session = this.#all.get(name)
    if (session === undefined) this.#all.set(name, (session = new Session(this.#node, name, atMs)))
    return session
  }

  #trim(): void {
    for (const [name, session] of this.#all) {
      if (this.#all.size <= limits.sessions) return
      if (session.users > 0) continue
      session.end()
      this.#all.delete(name)
    }
  }
}

function rowOf(number: number): number {
  return Math.floor(number / rowAnswers)
}

/** Undefined for what another version wrote. */
function fromRow(
  bytes: Uint8Array,
): { readonly atMs: number; readonly answers: readonly (readonly [number, Value])[] } | undefined {
  try {
    const parts = decodeValue(bytes)
    if (!Array.isArray(parts)) return undefined
    const [atMs, ...answers] = parts as readonly Value[]
    if (typeof atMs !== 'number' || !answers.every((one) => Array.isArray(one) && typeof one[0] === 'number')) {
      return undefined
    }
    return { atMs, answers: answers as unknown as readonly (readonly [number, Value])[] }
  } catch {
    return undefined
  }
}
