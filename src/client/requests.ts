/**
 * What a client has asked and was not answered yet, in the order in which it was asked. It outlives connections: what was
 * sent over one that is gone is sent again over the next, in its place. Bounded by number and by characters.
 *
 * A request is text from the moment it is made: what is changed afterwards in a value that was given does not count.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

/** Room is left for what tells whose writes they are. */
const mostBytes = limits.streamMessageBytes - 512

export type Settle = (outcome: Outcome) => void

export type Outcome =
  | { readonly kind: 'ok'; readonly ok: unknown }
  | { readonly kind: 'failed'; readonly error: SkeinError }

export interface Request {
  readonly id: number
  readonly text: string
  readonly what: What
  readonly settle: Settle
  /** The number of a write. */
  readonly write: number | undefined
  /** It went out, over this connection or an earlier one. */
  wasSent: boolean
}

/**
 * A write may be repeated under its key at the node that it was sent to, and nowhere else. What is of the connection ends
 * with it, without a word: a watch is asked for anew by itself.
 */
export type What = 'read' | 'write' | 'of-the-link'

export class Requests {
  /** In the order of their ids. */
  readonly #all = new Map<number, Request>()
  #unsent: Request[] = []
  #next = 0
  /** Sent over this connection and not answered: also those that nobody waits for any more. */
  readonly #open = new Set<number>()
  #characters = 0
  #lastId = 0
  #lastWrite = 0
  /** Numbers of writes whose answers have not come, or do not say yet that they are durable. */
  readonly #unconfirmed = new Set<number>()
  #told = -1

  get size(): number {
    return this.#all.size
  }

  /** Requests that wait for the next frame. */
  get gathered(): number {
    return this.#unsent.length - this.#next
  }

  get isFull(): boolean {
    return this.#all.size >= limits.clientRequests || this.#characters >= limits.clientCharacters
  }

  check(): void {
    if (!this.isFull) return
    throw new SkeinError('busy', `${this.#all.size} requests wait for the node already`, { waiting: this.#all.size })
  }

  /** The id of the oldest that is not answered; Infinity when all are. */
  get oldest(): number {
    for (const id of this.#all.keys()) return id
    return Infinity
  }

  nextId(): number {
    return ++this.#lastId
  }

  add(id: number, text: string, what: What, settle: Settle, write?: number): Request {
    // The node would end the connection for it, again and again.
    if (3 * text.length > mostBytes && Buffer.byteLength(text) > mostBytes) {
      throw new SkeinError('too_large', `a request of ${text.length} characters does not fit one message`)
    }
    if (what !== 'of-the-link') this.check()
    const request: Request = { id, text, what, settle, write, wasSent: false }
    this.#all.set(id, request)
    this.#characters += text.length
    this.#unsent.push(request)
    return request
  }

  /** The number of a write; it may be sent again until it is confirmed. */
  nextWrite(): number {
    this.#unconfirmed.add(++this.#lastWrite)
    return this.#lastWrite
  }

  /** Up to where nothing will be sent again; undefined where that was told over this connection. */
  confirmed(): number | undefined {
    const confirmed = this.#firstOpen - 1
    if (confirmed === this.#told) return undefined
    this.#told = confirmed
    return confirmed
  }

  get #firstOpen(): number {
    for (const write of this.#unconfirmed) return write
    return this.#lastWrite + 1
  }

  /** The next frame; empty when nothing is to be sent, or enough is under way. */
  frame(): string {
    if (this.gathered === 0 || this.#open.size >= limits.streamRequests) return ''
    let frame = ''
    // So that the node need not keep more of them than it would.
    const lastWrite = this.#firstOpen + limits.sessionAnswers / 2
    while (this.#next < this.#unsent.length && this.#open.size < limits.streamRequests) {
      const request = this.#unsent[this.#next] as Request
      const isOver = frame.length + request.text.length > limits.clientFrameCharacters
      if ((isOver && frame !== '') || (request.write ?? 0) > lastWrite) break
      this.#next++
      if (!this.#all.has(request.id)) continue
      frame += frame === '' ? `[${request.text}` : `,${request.text}`
      request.wasSent = true
      this.#open.add(request.id)
    }
    if (this.#next === this.#unsent.length) {
      this.#unsent = []
      this.#next = 0
    }
    return frame === '' ? '' : `${frame}]`
  }

  /** Undefined where nobody waits for it any more. */
  answered(id: number, isDurable: boolean): Request | undefined {
    this.#open.delete(id)
    return this.drop(id, isDurable)
  }

  /** A write that is not durable yet is asked for again, under its number. */
  drop(id: number, isDurable: boolean = true): Request | undefined {
    const request = this.#all.get(id)
    if (request === undefined) return undefined
    this.#all.delete(id)
    this.#characters -= request.text.length
    if (request.write !== undefined && isDurable) this.#unconfirmed.delete(request.write)
    return request
  }

  /** It was not done: it goes again, in its place. */
  again(ids: readonly number[]): void {
    for (const id of ids) this.#open.delete(id)
    const unsent = [...this.#all.values()].filter(({ id }) => !this.#open.has(id))
    // Whoever watches from before a write on is to hear of it.
    const isFirst = ({ what }: Request): boolean => what === 'of-the-link'
    this.#unsent = [...unsent.filter(isFirst), ...unsent.filter((request) => !isFirst(request))]
    this.#next = 0
    this.#told = -1
  }

  /** The connection is gone. */
  lost(): void {
    this.#open.clear()
    for (const request of this.#all.values()) if (request.what === 'of-the-link') this.drop(request.id)
    this.again([])
  }

  /** Takes all out that fit. */
  takeAll(fits: (request: Request) => boolean): readonly Request[] {
    const taken = [...this.#all.values()].filter(fits)
    for (const { id } of taken) this.drop(id)
    return taken
  }
}
