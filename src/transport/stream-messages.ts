/**
 * Messages on a stream of bytes, for carriers that know no messages: four bytes of length, most significant first, then
 * the message. The highest lengths are no messages but marks: a ping, its answer, and the last word of who closes in order.
 *
 * Reading is total and bounded: memory follows what has come, never what a length claims.
 */

const headBytes = 4

export const marks = { ping: 0xffff_ffff, pong: 0xffff_fffe, bye: 0xffff_fffd } as const

export type Mark = keyof typeof marks

export function headOf(lengthOrMark: number): Uint8Array {
  const head = new Uint8Array(headBytes)
  new DataView(head.buffer).setUint32(0, lengthOrMark)
  return head
}

export type Read =
  | { readonly kind: 'message'; readonly bytes: Uint8Array }
  | { readonly kind: Mark }
  /** Nothing after it is read. */
  | { readonly kind: 'broken'; readonly what: string }

export class MessageReader {
  readonly #messageBytes: number
  readonly #head = new Uint8Array(headBytes)
  #headHas = 0
  /** How long the message is whose parts are gathered; undefined amid a head. */
  #length: number | undefined
  #parts: Uint8Array[] = []
  #partBytes = 0
  #isBroken = false

  constructor(messageBytes: number) {
    this.#messageBytes = messageBytes
  }

  /** Hands out what is whole with these bytes, until `take` says that it is enough. */
  read(bytes: Uint8Array, take: (read: Read) => boolean): void {
    let at = 0
    while (at < bytes.length && !this.#isBroken) {
      if (this.#length === undefined) {
        this.#head[this.#headHas++] = bytes[at++] as number
        if (this.#headHas < headBytes) continue
        this.#headHas = 0
        const read = this.#begin(new DataView(this.#head.buffer).getUint32(0))
        if (read !== undefined && !take(read)) return
        continue
      }
      const part = bytes.subarray(at, at + this.#length - this.#partBytes)
      at += part.length
      this.#parts.push(part)
      this.#partBytes += part.length
      if (this.#partBytes === this.#length && !take({ kind: 'message', bytes: this.#whole() })) return
    }
  }

  #begin(length: number): Read | undefined {
    if (length === marks.ping) return { kind: 'ping' }
    if (length === marks.pong) return { kind: 'pong' }
    if (length === marks.bye) return { kind: 'bye' }
    if (length > this.#messageBytes) {
      this.#isBroken = true
      return { kind: 'broken', what: `a message of ${length} bytes was announced` }
    }
    if (length === 0) return { kind: 'message', bytes: new Uint8Array(0) }
    this.#length = length
    return undefined
  }

  #whole(): Uint8Array {
    const [first, ...more] = this.#parts
    const length = this.#length as number
    this.#length = undefined
    this.#parts = []
    this.#partBytes = 0
    if (first !== undefined && more.length === 0) return first
    const whole = new Uint8Array(length)
    let at = 0
    for (const part of [first as Uint8Array, ...more]) {
      whole.set(part, at)
      at += part.length
    }
    return whole
  }
}
