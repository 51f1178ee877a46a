/**
 * Who is connected from outside. A stranger is whoever has not gone through the handshake yet. Strangers and those who are
 * known are counted apart, in total and for each remote address, so that no number of strangers takes a member's place.
 */
import type { RefusalReason } from './transport.ts'

/** Of a socket, what is needed to know it again and to be rid of it. */
export interface Caller {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
  readonly destroyed: boolean
  once(event: 'close', listener: () => void): unknown
  destroy(): unknown
}

export interface VisitorBounds {
  readonly linksIn: number
  readonly linksInPerAddress: number
  readonly strangers: number
  readonly strangersPerAddress: number
  readonly handshakeMs: number
}

interface Visitor {
  readonly socket: Caller
  readonly from: string
  readonly timer: NodeJS.Timeout
  isKnown: boolean
  /** What became of a stranger is told once. */
  isTold: boolean
}

/** How many there are, in total and by address. */
class Census {
  total = 0
  readonly #byAddress = new Map<string, number>()

  of(address: string): number {
    return this.#byAddress.get(address) ?? 0
  }

  add(address: string, change: 1 | -1): void {
    this.total += change
    const count = this.of(address) + change
    if (count === 0) this.#byAddress.delete(address)
    else this.#byAddress.set(address, count)
  }
}

export class Visitors {
  readonly #bounds: VisitorBounds
  readonly #told: (remote: string, reason: RefusalReason, what: string) => void
  /** By remote address and port: a TLS socket is another object than the one below it, with the same two. */
  readonly #visitors = new Map<string, Visitor>()
  readonly #strangers = new Census()
  readonly #known = new Census()

  constructor(bounds: VisitorBounds, told: (remote: string, reason: RefusalReason, what: string) => void) {
    this.#bounds = bounds
    this.#told = told
  }

  /** A socket was accepted. */
  enter(socket: Caller): void {
    const { remoteAddress: from, remotePort } = socket
    if (from === undefined || remotePort === undefined) return void socket.destroy()
    const { strangers, strangersPerAddress, handshakeMs } = this.#bounds
    const isFull = this.#strangers.total >= strangers || this.#strangers.of(from) >= strangersPerAddress
    if (isFull) {
      this.#told(from, 'full', `${this.#strangers.of(from)} strangers from there, ${this.#strangers.total} in all`)
      return void socket.destroy()
    }
    const key = `${from} ${remotePort}`
    const timer = setTimeout(() => this.refuse(socket, 'slow', `no proof within ${handshakeMs} ms`), handshakeMs)
    const visitor: Visitor = { socket, from, timer, isKnown: false, isTold: false }
    this.#visitors.set(key, visitor)
    this.#strangers.add(from, 1)
    socket.once('close', () => {
      clearTimeout(timer)
      this.#visitors.delete(key)
      if (!visitor.isKnown && !visitor.isTold) this.#told(from, 'gone', 'it went before it was known')
      const census = visitor.isKnown ? this.#known : this.#strangers
      census.add(from, -1)
    })
  }

  /** It is no stranger any more. False when there is no room for it; then it is gone. */
  settle(socket: Caller): boolean {
    const visitor = this.#of(socket)
    if (visitor === undefined || visitor.isKnown) return false
    const { from } = visitor
    const { linksIn, linksInPerAddress } = this.#bounds
    if (this.#known.total >= linksIn || this.#known.of(from) >= linksInPerAddress) {
      this.refuse(socket, 'full', `${this.#known.of(from)} links from there, ${this.#known.total} in all`)
      return false
    }
    clearTimeout(visitor.timer)
    visitor.isKnown = true
    this.#strangers.add(from, -1)
    this.#known.add(from, 1)
    return true
  }

  /** Tells it nothing. */
  refuse(socket: Caller, reason: RefusalReason, what: string): void {
    const visitor = this.#of(socket)
    if (visitor?.isKnown === true) return
    if (visitor?.isTold === false) {
      visitor.isTold = true
      this.#told(visitor.from, reason, what)
    }
    socket.destroy()
    visitor?.socket.destroy()
  }

  /** All strangers go. */
  leave(): void {
    for (const visitor of this.#visitors.values()) {
      if (visitor.isKnown) continue
      visitor.isTold = true
      visitor.socket.destroy()
    }
  }

  #of({ remoteAddress, remotePort }: Caller): Visitor | undefined {
    return this.#visitors.get(`${remoteAddress} ${remotePort}`)
  }
}
