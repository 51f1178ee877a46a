/**
 * Links of our machine over Maelstrom's network, whose messages come late, out of order or not at all. A link is what the
 * contract of a transport says: messages whole and in order, or its end. So each has a number; those that come early wait
 * a moment for those before, and where one stays away the link ends, and is dialled again by whoever wants it.
 */
import { SkeinError } from '../../src/base/errors.ts'
import type { Connection, ConnectionHandlers, Transport } from '../../src/transport/transport.ts'

export type LinkBody =
  | { readonly type: 'link'; readonly link: string; readonly is: 'open' | 'opened' | 'end' | 'here' }
  | {
      readonly type: 'link'
      readonly link: string
      readonly is: 'bytes'
      readonly number: number
      readonly bytes: string
    }

const scheme = 'maelstrom:'
const dialMs = 2_000
/** So long is waited for a message that others have overtaken. */
const lateMs = 1_000
/** Each end says so often that it is there, and is given up after so long without a word. */
const hereMs = 1_000
const silentMs = 4_000

export class MaelstromTransport implements Transport {
  readonly name: string = 'maelstrom'
  readonly addresses: readonly string[]
  readonly #send: (to: string, body: LinkBody) => void
  readonly #own: string
  readonly #wires = new Map<string, Wire>()
  readonly #dialling = new Map<string, () => void>()
  #accept: ((connection: Connection) => ConnectionHandlers) | undefined
  #dialled = 0

  constructor(own: string, send: (to: string, body: LinkBody) => void) {
    this.#own = own
    this.#send = send
    this.addresses = [`${scheme}${own}`]
  }

  supports(address: string): boolean {
    return address.startsWith(scheme)
  }

  listen(accept: (connection: Connection) => ConnectionHandlers): Promise<void> {
    this.#accept = accept
    return Promise.resolve()
  }

  dial(address: string, opened: (connection: Connection) => ConnectionHandlers, signal: AbortSignal): Promise<void> {
    const to = address.slice(scheme.length)
    // Nobody gives the same name twice, not even the same node in another life.
    const link = `${this.#own}-${process.pid}-${++this.#dialled}`
    return new Promise((resolve, reject) => {
      const failed = (what: string): void => {
        over()
        reject(new SkeinError('peer_unreachable', `${address}: ${what}`, { address }))
      }
      const late = setTimeout(() => failed('it does not answer'), dialMs)
      const aborted = (): void => failed('it was given up')
      const over = (): void => {
        clearTimeout(late)
        signal.removeEventListener('abort', aborted)
        this.#dialling.delete(link)
      }
      signal.addEventListener('abort', aborted)
      this.#dialling.set(link, () => {
        over()
        this.#open(to, link, opened)
        resolve()
      })
      this.#send(to, { type: 'link', link, is: 'open' })
    })
  }

  message(from: string, body: LinkBody): void {
    const { link } = body
    if (body.is === 'open') {
      if (this.#accept === undefined || this.#wires.has(link)) return
      this.#send(from, { type: 'link', link, is: 'opened' })
      return this.#open(from, link, this.#accept)
    }
    // Whatever comes over a link that is being dialled says that it was opened: that word itself may be overtaken.
    if (body.is !== 'end') this.#dialling.get(link)?.()
    if (body.is === 'opened') return
    const wire = this.#wires.get(link)
    if (wire !== undefined) wire.heard(body)
    else if (body.is !== 'end') this.#send(from, { type: 'link', link, is: 'end' })
  }

  close(): Promise<void> {
    for (const wire of this.#wires.values()) wire.close()
    return Promise.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #open(other: string, link: string, opened: (connection: Connection) => ConnectionHandlers): void {
    const wire = new Wire(
      (body) => this.#send(other, { type: 'link', link, ...body }),
      () => this.#wires.delete(link),
    )
    this.#wires.set(link, wire)
    wire.handlers = opened(wire)
  }
}

type Said = { readonly is: 'end' | 'here' } | { readonly is: 'bytes'; readonly number: number; readonly bytes: string }

class Wire implements Connection {
  readonly node: string | undefined = undefined
  readonly waitingBytes: number = 0
  handlers: ConnectionHandlers | undefined
  readonly #say: (body: Said) => void
  readonly #gone: () => void
  readonly #early = new Map<number, string>()
  readonly #here: NodeJS.Timeout
  #late: NodeJS.Timeout | undefined
  #heardMs: number = performance.now()
  #sent = 0
  #next = 1

  constructor(say: (body: Said) => void, gone: () => void) {
    this.#say = say
    this.#gone = gone
    this.#here = setInterval(() => {
      if (performance.now() - this.#heardMs > silentMs) this.#lost('it went without a word')
      else say({ is: 'here' })
    }, hereMs)
  }

  send(bytes: Uint8Array): boolean {
    this.#say({ is: 'bytes', number: ++this.#sent, bytes: Buffer.from(bytes).toString('base64') })
    return true
  }

  close(): void {
    this.#say({ is: 'end' })
    this.#over()
  }

  heard(body: LinkBody): void {
    this.#heardMs = performance.now()
    if (body.is === 'end') {
      const { handlers } = this
      this.#over()
      return handlers?.closed(undefined)
    }
    if (body.is !== 'bytes' || body.number < this.#next) return
    this.#early.set(body.number, body.bytes)
    for (;;) {
      const bytes = this.#early.get(this.#next)
      if (bytes === undefined) break
      this.#early.delete(this.#next++)
      this.handlers?.message(Buffer.from(bytes, 'base64'))
    }
    clearTimeout(this.#late)
    this.#late = this.#early.size === 0 ? undefined : setTimeout(() => this.#lost('a message was lost'), lateMs)
  }

  #lost(what: string): void {
    const { handlers } = this
    this.#say({ is: 'end' })
    this.#over()
    handlers?.closed(new SkeinError('peer_lost', `the link was closed: ${what}`))
  }

  #over(): void {
    clearInterval(this.#here)
    clearTimeout(this.#late)
    this.#early.clear()
    this.handlers = undefined
    this.#gone()
  }
}
