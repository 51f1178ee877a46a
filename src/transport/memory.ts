/**
 * Transports within one process, for tests and for nodes that share it. What is sent arrives in a later turn of the event
 * loop, as it would over a socket. A peer that is gone without a word cannot be: both ends live and die together.
 */
import { SkeinError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Connection, ConnectionHandlers, Transport, TransportEvent } from './transport.ts'

export interface MemoryTransportOptions {
  /** Addresses are `memory:` and a name. Without one it only dials. */
  readonly address?: string
  /** Who this is, as the other end will see it. */
  readonly node?: string
  readonly messageBytes?: number
  readonly waitingBytes?: number
  readonly tell?: (event: TransportEvent) => void
}

/** Above it `send` says that it is enough. That of a socket in Node. */
const likedBytes = 65_536

/** What the transports of one network know of each other. */
export class MemoryNetwork {
  readonly #listening = new Map<string, MemoryTransport>()
  readonly #frozen = new Set<string>()
  readonly #thaws = new Set<() => void>()

  transport(options: MemoryTransportOptions = {}): Transport {
    return new MemoryTransport(this, options)
  }

  /** Nothing arrives any more on connections to and from that address, and nothing is lost. */
  freeze(address: string): void {
    this.#frozen.add(address)
  }

  thaw(address: string): void {
    this.#frozen.delete(address)
    for (const thaw of this.#thaws) thaw()
  }

  isFrozen(address: string): boolean {
    return this.#frozen.has(address)
  }

  whenThawed(run: () => void): () => void {
    this.#thaws.add(run)
    return () => this.#thaws.delete(run)
  }

  at(address: string): MemoryTransport | undefined {
    return this.#listening.get(address)
  }

  listen(address: string, transport: MemoryTransport): void {
    if (this.#listening.has(address)) {
      throw new SkeinError('address_in_use', `another transport listens at ${address}`, { address })
    }
    this.#listening.set(address, transport)
  }

  unlisten(address: string, transport: MemoryTransport): void {
    if (this.#listening.get(address) === transport) this.#listening.delete(address)
  }
}

class MemoryTransport implements Transport {
  readonly name: string = 'memory'
  readonly options: MemoryTransportOptions
  readonly ends: Set<MemoryEnd> = new Set()
  accept: ((connection: Connection) => ConnectionHandlers) | undefined
  readonly #network: MemoryNetwork
  #closed = false

  constructor(network: MemoryNetwork, options: MemoryTransportOptions) {
    this.#network = network
    this.options = options
  }

  get addresses(): readonly string[] {
    const { address } = this.options
    return address === undefined || this.accept === undefined ? [] : [address]
  }

  supports(address: string): boolean {
    return address.startsWith('memory:')
  }

  async listen(accept: (connection: Connection) => ConnectionHandlers): Promise<void> {
    const { address } = this.options
    if (this.#closed) throw new SkeinError('closed', 'the transport is closed')
    if (address === undefined) return
    if (!this.supports(address)) throw new SkeinError('invalid_address', `${address} is no memory address`, { address })
    this.#network.listen(address, this)
    this.accept = accept
  }

  async dial(
    address: string,
    opened: (connection: Connection) => ConnectionHandlers,
    signal: AbortSignal,
  ): Promise<void> {
    if (!this.supports(address)) throw new SkeinError('invalid_address', `${address} is no memory address`, { address })
    await nextTurn()
    if (signal.aborted) throw new SkeinError('aborted', `dialling ${address} was given up`, { address }, signal.reason)
    if (this.#closed) throw new SkeinError('closed', 'the transport is closed', { address })
    const other = this.#network.at(address)
    if (other?.accept === undefined) {
      throw new SkeinError('peer_unreachable', `nobody listens at ${address}`, { address })
    }
    const isFrozen = (): boolean => this.#network.isFrozen(address)
    const whenThawed = (run: () => void): (() => void) => this.#network.whenThawed(run)
    const mine = new MemoryEnd(this, other.options.node, isFrozen, whenThawed)
    const theirs = new MemoryEnd(other, this.options.node, isFrozen, whenThawed)
    mine.other = theirs
    theirs.other = mine
    theirs.handlers = other.accept(theirs)
    mine.handlers = opened(mine)
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.options.address !== undefined) this.#network.unlisten(this.options.address, this)
    for (const end of this.ends) end.close()
    await nextTurn()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

type Parcel = { readonly kind: 'message'; readonly bytes: Uint8Array } | { readonly kind: 'end' }

class MemoryEnd implements Connection {
  readonly node: string | undefined
  waitingBytes: number = 0
  other!: MemoryEnd
  handlers: ConnectionHandlers | undefined
  readonly #owner: MemoryTransport
  readonly #isFrozen: () => boolean
  readonly #unthaw: () => void
  #parcels: Parcel[] = []
  #isDue = false
  #owesDrained = false
  #state: 'open' | 'closing' | 'closed' = 'open'

  constructor(
    owner: MemoryTransport,
    node: string | undefined,
    isFrozen: () => boolean,
    whenThawed: (run: () => void) => () => void,
  ) {
    this.#owner = owner
    this.node = node
    this.#isFrozen = isFrozen
    this.#unthaw = whenThawed(() => this.#deliverSoon())
    owner.ends.add(this)
  }

  send(bytes: Uint8Array): boolean {
    if (this.#state !== 'open') return false
    this.#parcels.push({ kind: 'message', bytes: bytes.slice() })
    this.waitingBytes += bytes.length
    if (this.waitingBytes > (this.#owner.options.waitingBytes ?? limits.linkWaitingBytes)) {
      this.#endSoon('peer_slow', `${this.waitingBytes} bytes wait for it`)
      return false
    }
    this.#deliverSoon()
    if (this.waitingBytes > likedBytes) this.#owesDrained = true
    return !this.#owesDrained
  }

  close(): void {
    this.handlers = undefined
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#parcels.push({ kind: 'end' })
    this.#deliverSoon()
    // A frozen network must not keep it: whatever time is given would be too long here.
    if (this.#isFrozen()) this.#gone()
  }

  /** Nothing is called back while the caller is still in `send`. */
  #endSoon(code: ErrorCode, what: string): void {
    const { handlers } = this
    this.#gone()
    this.handlers = handlers
    setImmediate(() => {
      const still = this.handlers
      this.handlers = undefined
      const error = new SkeinError(code, `the link was closed: ${what}`, { node: this.node })
      this.#owner.options.tell?.({ kind: 'fault', remote: 'memory', node: this.node, code, what })
      still?.closed(error)
      this.other.#lost()
    })
  }

  #gone(): void {
    this.#state = 'closed'
    this.#parcels = []
    this.waitingBytes = 0
    this.handlers = undefined
    this.#unthaw()
    this.#owner.ends.delete(this)
  }

  /** The other end is there no more, and said nothing. */
  #lost(): void {
    const { handlers } = this
    if (this.#state === 'closed') return
    this.#gone()
    handlers?.closed(new SkeinError('peer_lost', 'the other end went without a word', { node: this.node }))
  }

  #deliverSoon(): void {
    if (this.#isDue || this.#isFrozen() || this.#parcels.length === 0) return
    this.#isDue = true
    setImmediate(() => {
      this.#isDue = false
      if (!this.#isFrozen()) this.#deliver()
    })
  }

  #deliver(): void {
    const parcels = this.#parcels
    this.#parcels = []
    this.waitingBytes = 0
    for (const parcel of parcels) {
      const { handlers } = this.other
      if (parcel.kind === 'end') {
        this.#gone()
        if (this.other.#state !== 'closed') {
          this.other.#gone()
          handlers?.closed(undefined)
        }
        return
      }
      const { bytes } = parcel
      const most = this.other.#owner.options.messageBytes ?? limits.packetBytes
      if (this.other.#state === 'open' && bytes.length > most) {
        this.other.#endSoon('peer_protocol', `a message of ${bytes.length} bytes, over the limit of ${most}`)
      } else if (this.other.#state === 'open') handlers?.message(bytes)
    }
    if (this.#owesDrained && this.waitingBytes === 0) {
      this.#owesDrained = false
      this.handlers?.drained()
    }
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
