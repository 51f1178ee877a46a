/**
 * Links over libp2p: tcp, noise, yamux, and circuits through relays; one connection with one stream `/skein/1` for each link.
 * Its packages are loaded by this module, and this module only when somebody asks for it.
 *
 * Noise proves who is at the other end, by the node's own key. With a fleet key a proof of it comes first, below noise:
 * strangers are counted, bounded and told nothing, exactly as with ws. Without one it stays on this host.
 */
import { hostname } from 'node:os'
import type {
  Connection as Libp2pLink,
  Listener,
  MessageStream,
  MultiaddrConnection,
  PeerId,
  Stream,
} from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { assert } from '../base/assert.ts'
import { SkeinError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { Libp2pConnection } from './libp2p-connection.ts'
import { openHost } from './libp2p-host.ts'
import type { Host } from './libp2p-host.ts'
import { FleetProof } from './libp2p-proof.ts'
import { LiveConnections } from './live.ts'
import { isMultiaddress, multiaddressText, parseMultiaddress, staysHere } from './multiaddress.ts'
import type { Multiaddress } from './multiaddress.ts'
import { nodeIdOf } from './transport.ts'
import type { Connection, ConnectionHandlers, Identity, RefusalReason, Transport, TransportEvent } from './transport.ts'
import { Visitors } from './visitors.ts'
import type { Caller } from './visitors.ts'

export interface Libp2pTransportOptions {
  /** Where to listen: `/ip4/127.0.0.1/tcp/7400`, or through a relay: `/ip4/…/tcp/…/p2p/…/p2p-circuit`. None: it only dials. */
  readonly listen?: readonly string[]
  /** Where others reach this node, where that differs from `listen`. */
  readonly advertise?: readonly string[]
  /** The node's own: its peer id follows from it. */
  readonly identity: Identity
  /** As with ws: without one it stays on this host; of several any is accepted. */
  readonly fleetKeys?: readonly Uint8Array[]
  /** Lets other members be reached through this node. */
  readonly relay?: boolean
  /** Looks for other nodes of that name on the local network, by mDNS, and answers those who look. */
  readonly discover?: { readonly name: string; found(node: string, address: string): void }
  /** Smaller bounds than those of limits.ts, for tests. */
  readonly bounds?: Partial<Libp2pBounds>
  readonly tell?: (event: TransportEvent) => void
}

export interface Libp2pBounds {
  readonly messageBytes: number
  readonly waitingBytes: number
  readonly linksIn: number
  readonly linksInPerAddress: number
  readonly strangers: number
  readonly strangersPerAddress: number
  readonly handshakeMs: number
  /** As with ws. */
  readonly lookEveryMs: number
  readonly silentMs: number
  readonly stalledMs: number
  readonly closeMs: number
}

const standardBounds: Libp2pBounds = {
  messageBytes: limits.packetBytes,
  waitingBytes: limits.linkWaitingBytes,
  linksIn: limits.linksIn,
  linksInPerAddress: limits.linksInPerAddress,
  strangers: limits.strangers,
  strangersPerAddress: limits.strangersPerAddress,
  handshakeMs: limits.handshakeMs,
  lookEveryMs: 5_000,
  silentMs: 15_000,
  stalledMs: 120_000,
  closeMs: 2_000,
}

const protocol = '/skein/1'

type Opened = (connection: Connection) => ConnectionHandlers

/** A dial that is under way. */
interface Attempt {
  /** Does a connection stand? */
  isConnected: boolean
  /** Did the other end close it? */
  isClosedThere: boolean
  /** Why the other end did not prove itself. */
  refusal: string | undefined
}

export function openLibp2pTransport(options: Libp2pTransportOptions): Transport {
  return new Libp2pTransport(options)
}

class Libp2pTransport implements Transport {
  readonly name = 'libp2p'
  readonly #options: Libp2pTransportOptions
  readonly #bounds: Libp2pBounds
  readonly #fleetKeys: readonly Uint8Array[]
  readonly #proof: FleetProof
  readonly #visitors: Visitors
  readonly #connections: LiveConnections<Libp2pConnection>
  /** By its signal, which the library hands through to the proof. */
  readonly #attempts = new WeakMap<AbortSignal, Attempt>()
  /** By the timeline that a connection shares with what the library makes of it. */
  readonly #callers = new WeakMap<object, MultiaddressCaller>()
  /** What lies below a connection of the library, likewise. */
  readonly #below = new WeakMap<object, MessageStream>()
  readonly #closing = new AbortController()
  #host: Promise<Host> | undefined
  #accept: Opened | undefined
  #addresses: readonly string[] = []
  #bound: readonly string[] | undefined = undefined
  #closed: Promise<void> | undefined

  constructor(options: Libp2pTransportOptions) {
    const { fleetKeys = [], identity } = options
    this.#options = options
    this.#bounds = { ...standardBounds, ...options.bounds }
    this.#connections = new LiveConnections(this.#bounds)
    this.#fleetKeys = fleetKeys
    for (const { length } of fleetKeys) assert(length === 32, 'a fleet key has 32 bytes')
    assert(fleetKeys.length <= limits.fleetKeys, 'there are no more fleet keys than are offered')
    this.#visitors = new Visitors(this.#bounds, (remote, reason, what) => this.#refused('in', remote, reason, what))
    this.#proof = new FleetProof({
      fleetKeys,
      identity,
      began: (stream, signal) => {
        this.#below.set(stream.timeline, stream)
        const attempt = signal && this.#attempts.get(signal)
        if (attempt === undefined) return
        attempt.isConnected = true
        stream.addEventListener('close', ({ error, local }) => {
          attempt.isClosedThere = local !== true || isReset(error)
        })
      },
      refused: (stream, signal, what) => {
        const attempt = signal && this.#attempts.get(signal)
        if (attempt !== undefined) attempt.refusal = what
        const caller = this.#callers.get(stream.timeline)
        if (caller !== undefined) this.#visitors.refuse(caller, 'proof', what)
      },
    })
  }

  get bound(): readonly string[] | undefined {
    return this.#bound
  }

  get addresses(): readonly string[] {
    return this.#addresses
  }

  supports(address: string): boolean {
    return isMultiaddress(address)
  }

  async listen(accept: Opened): Promise<void> {
    const { listen = [], advertise, discover } = this.#options
    const addresses = listen.map((text) => this.#permitted(parseMultiaddress(text)))
    if (discover !== undefined && this.#fleetKeys.length === 0) {
      throw new SkeinError('fleet_key_needed', 'looking for nodes on the local network needs a fleet key')
    }
    if (addresses.length === 0 && discover === undefined) return
    this.#accept = accept
    const { transports } = await this.#open()
    const bound: string[] = []
    for (const address of addresses) {
      this.#stopped()
      const before = new Set(transports.getListeners())
      try {
        await transports.listen([multiaddr(address.text)])
      } catch (error) {
        throw listenError(address, error as Error)
      }
      for (const listener of transports.getListeners()) {
        const [first] = before.has(listener) ? [] : listener.getAddrs()
        if (first !== undefined) bound.push(reachable(address, first.toString()))
        if (!before.has(listener) && address.isRelayed) this.#keepUp(listener, address)
      }
    }
    const self = (await this.#open()).libp2p.peerId.toString()
    if (advertise !== undefined) this.#bound = bound
    this.#addresses = advertise ?? bound.map((text) => (text.endsWith('/p2p-circuit') ? `${text}/p2p/${self}` : text))
  }

  /** A relay that was away holds no place for this node any more: it is asked for one again. */
  #keepUp(listener: Listener, { text }: Multiaddress): void {
    let isAsking = false
    const timer = setInterval(() => {
      if (isAsking || listener.getAddrs().length > 0) return
      isAsking = true
      listener
        .listen(multiaddr(text))
        .catch((error: Error) => this.#refused('out', text, 'gone', `the relay is away: ${error.message}`))
        .finally(() => (isAsking = false))
    }, this.#bounds.lookEveryMs).unref()
    this.#closing.signal.addEventListener('abort', () => clearInterval(timer))
  }

  /** Once somebody listens or dials. */
  #open(): Promise<Host> {
    this.#host ??= this.#start()
    return this.#host
  }

  async #start(): Promise<Host> {
    const { identity, relay = false, listen = [], discover } = this.#options
    const { handshakeMs, closeMs, linksIn, strangers } = this.#bounds
    const host = await openHost({
      identity,
      proof: this.#proof,
      gater: {
        denyInboundConnection: (connection) => !this.#enter(connection),
        denyInboundEncryptedConnection: (peer, connection) => !this.#isWhoItProved(peer, connection),
        denyOutboundEncryptedConnection: (peer, connection) => !this.#isWhoItProved(peer, connection),
      },
      // Visitors go by their own clock, which is to be the first.
      handshakeMs: handshakeMs + 1000,
      closeMs,
      sockets: linksIn + strangers,
      relays: relay,
      isRelayed: listen.some((text) => parseMultiaddress(text).isRelayed),
      discovery: discover?.name,
    })
    await host.libp2p.handle(protocol, (stream, link) => this.#arrived(stream, link), {
      maxInboundStreams: 1,
      runOnLimitedConnection: true,
    })
    if (relay) host.libp2p.addEventListener('connection:open', ({ detail }) => this.#settle(detail))
    if (discover !== undefined) {
      host.libp2p.addEventListener('peer:discovery', ({ detail: { id, multiaddrs } }) => {
        if (id.publicKey?.type !== 'Ed25519') return
        for (const one of multiaddrs) discover.found(nodeIdOf(id.publicKey.raw), one.toString())
      })
    }
    return host
  }

  /** A connection came in, and is set up only when there is room for it. */
  #enter(connection: MultiaddrConnection): boolean {
    if (this.#closed !== undefined || this.#accept === undefined) return false
    const caller = new MultiaddressCaller(connection)
    this.#callers.set(connection.timeline, caller)
    // Before it is forgotten: what the library found wrong with it.
    connection.addEventListener('close', ({ error, local }) => {
      if (local === true && error !== undefined && !isReset(error))
        this.#visitors.refuse(caller, 'request', error.message)
    })
    this.#visitors.enter(caller)
    return !caller.destroyed
  }

  /** Who proved one key to us and another to noise carries somebody else's proof. */
  #isWhoItProved({ publicKey }: PeerId, connection: MultiaddrConnection): boolean {
    if (publicKey?.type !== 'Ed25519') return false
    if (this.#fleetKeys.length === 0) return true
    const proven = this.#proof.provenOn(connection)
    return proven !== undefined && Buffer.compare(proven, publicKey.raw) === 0
  }

  #settle(link: Libp2pLink): boolean {
    const caller = this.#callers.get(link.timeline)
    return caller === undefined || caller.isKnown || (caller.isKnown = this.#visitors.settle(caller))
  }

  #arrived(stream: Stream, link: Libp2pLink): void {
    if (this.#closed !== undefined || this.#accept === undefined || !this.#settle(link)) {
      return this.#abort(link, 'refused')
    }
    if (!isOpen(link, stream)) return this.#abort(link, 'it went')
    this.#begin(link, stream, link.remoteAddr.toString(), this.#accept)
  }

  async dial(text: string, opened: Opened, signal: AbortSignal): Promise<void> {
    const address = this.#permitted(parseMultiaddress(text))
    this.#stopped()
    const attempt: Attempt = { isConnected: false, isClosedThere: false, refusal: undefined }
    const late = AbortSignal.timeout(this.#bounds.handshakeMs)
    const ending = AbortSignal.any([signal, late, this.#closing.signal])
    this.#attempts.set(ending, attempt)
    let link: Libp2pLink | undefined
    try {
      ending.throwIfAborted()
      const { transports } = await this.#open()
      link = await transports.dial(multiaddr(address.text), { signal: ending })
      const stream = await link.newStream(protocol, { signal: ending, runOnLimitedConnection: true })
      ending.throwIfAborted()
      // From here on its end is told; what ended before would never be.
      if (!isOpen(link, stream)) throw new Error('it closed the connection before it was set up')
      this.#begin(link, stream, text, opened)
    } catch (error) {
      if (link !== undefined) this.#abort(link, 'it was not set up')
      const [code, reason, what] = this.#dialFailure(attempt, signal, late, error as Error)
      this.#refused('out', text, reason, what)
      throw new SkeinError(code, `${text} could not be dialled: ${what}`, { address: text }, error)
    }
  }

  #dialFailure(
    { isConnected, isClosedThere, refusal }: Attempt,
    signal: AbortSignal,
    late: AbortSignal,
    error: Error,
  ): [code: ErrorCode, reason: RefusalReason, what: string] {
    if (this.#closed !== undefined) return ['closed', 'gone', 'the transport was closed']
    if (signal.aborted) return ['aborted', 'gone', 'it was given up']
    if (late.aborted) return ['peer_unreachable', 'slow', `no answer within ${this.#bounds.handshakeMs} ms`]
    if (refusal !== undefined) return ['peer_unproven', 'proof', refusal]
    if (!isConnected) return ['peer_unreachable', 'gone', error.message]
    if (isClosedThere) return ['peer_refused', 'gone', 'it closed the connection before it was set up']
    return ['peer_unproven', 'proof', error.message]
  }

  #begin(link: Libp2pLink, stream: Stream, remote: string, opened: Opened): void {
    const settings = { ...this.#bounds, tell: (event: TransportEvent) => this.#options.tell?.(event) }
    const ended = (connection: Libp2pConnection): void => this.#connections.delete(connection)
    // The gater has let nobody else through.
    const node = nodeIdOf(link.remotePeer.publicKey?.raw as Uint8Array)
    const abort = (why: string): void => this.#abort(link, why)
    const connection = new Libp2pConnection({ link, stream, abort, remote, node, settings, ended }, performance.now())
    this.#connections.add(connection)
    connection.start(opened(connection))
  }

  /** Not amid an event of the library, which does not expect its connections to end meanwhile. */
  #abort(link: Libp2pLink, why: string): void {
    const error = new Error(why)
    process.nextTick(() => {
      link.abort(error)
      // The library leaves it open where the rest is half gone already.
      this.#below.get(link.timeline)?.abort(error)
    })
  }

  #permitted(address: Multiaddress): Multiaddress {
    if (this.#fleetKeys.length === 0 && !staysHere(address)) {
      throw new SkeinError(
        'fleet_key_needed',
        `${address.text} is not on this host. Without a fleet key a node keeps to loopback addresses like /ip4/127.0.0.1`,
        { address: address.text },
      )
    }
    return address
  }

  #stopped(): void {
    if (this.#closed !== undefined) throw new SkeinError('closed', 'the transport is closed')
  }

  #refused(direction: 'in' | 'out', remote: string, reason: RefusalReason, what: string): void {
    this.#options.tell?.({ kind: 'refused', direction, remote, reason, what })
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#closing.abort(new Error('the transport was closed'))
    this.#visitors.leave()
    await this.#connections.close()
    const host = await this.#host?.catch(() => undefined)
    await host?.libp2p.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** An incoming connection as visitors are counted. */
class MultiaddressCaller implements Caller {
  static #relayed = 0
  readonly remoteAddress: string
  readonly remotePort: number
  isKnown = false
  readonly #connection: MultiaddrConnection

  constructor(connection: MultiaddrConnection) {
    const parts = connection.remoteAddr.getComponents()
    const valueOf = (...names: readonly string[]) => parts.find(({ name }) => names.includes(name))?.value
    const host = valueOf('ip4', 'ip6') ?? 'unknown'
    const isRelayed = parts.some(({ name }) => name === 'p2p-circuit')
    this.#connection = connection
    // Through a relay all have its address, and are told apart by a number.
    this.remoteAddress = isRelayed ? `${host} (relayed)` : host
    this.remotePort = isRelayed ? ++MultiaddressCaller.#relayed : Number(valueOf('tcp'))
  }

  get destroyed(): boolean {
    return this.#connection.status !== 'open'
  }

  once(_event: 'close', listener: () => void): void {
    this.#connection.addEventListener('close', () => listener(), { once: true })
  }

  destroy(): void {
    this.#connection.abort(new Error('refused'))
  }
}

/** Nobody can dial all addresses of a host: its name is the best guess for whoever did not say otherwise. */
function reachable({ host, isRelayed }: Multiaddress, bound: string): string {
  const isAny = host === '0.0.0.0' || host === '::'
  return isRelayed || !isAny ? bound : multiaddressText(hostname(), parseMultiaddress(bound).port)
}

function isReset(error: Error | undefined): boolean {
  const { code } = (error ?? {}) as NodeJS.ErrnoException
  return code === 'ECONNRESET' || code === 'EPIPE'
}

function isOpen(link: Libp2pLink, stream: Stream): boolean {
  return link.status === 'open' && stream.status === 'open'
}

/** The library puts the errors of all its listeners into one text. */
function listenError({ text }: Multiaddress, error: Error): SkeinError {
  const [name = ''] = /\b(EADDRINUSE|EADDRNOTAVAIL|EACCES|ENOTFOUND)\b/.exec(error.message) ?? []
  const code: ErrorCode = name === 'EADDRINUSE' ? 'address_in_use' : 'address_unavailable'
  const cause = Object.assign(error, name !== '' && { code: name })
  return new SkeinError(
    code,
    `cannot listen at ${text}: ${name === '' ? error.message : name}`,
    { address: text },
    cause,
  )
}
