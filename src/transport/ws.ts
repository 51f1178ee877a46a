/**
 * Links over WebSocket (RFC 6455), by the `ws` package: binary messages, no compression (packets are packed above), no delay of
 * small ones, one connection for a pair of nodes whatever they share.
 *
 * Without a fleet key it stays on this host. Whoever connects is a stranger until the handshake is done: strangers are
 * counted apart from those who are known, bounded in number, time and bytes, and are told nothing. A web page is refused
 * whatever it says: browsers name their origin, nodes have none.
 */
import type { IncomingMessage, Server } from 'node:http'
import { connect, isIP } from 'node:net'
import { hostname } from 'node:os'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectSecurely } from 'node:tls'
import { WebSocket, WebSocketServer } from 'ws'
import { assert } from '../base/assert.ts'
import { SkeinError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { isLoopback, parseWsAddress, wsAddressText } from './address.ts'
import type { WsAddress } from './address.ts'
import { LiveConnections } from './live.ts'
import { sealBytes } from './primitives.ts'
import type { Connection, ConnectionHandlers, Identity, RefusalReason, Transport, TransportEvent } from './transport.ts'
import { Visitors } from './visitors.ts'
import { WsConnection } from './ws-connection.ts'
import { proveOverWs } from './ws-handshake.ts'
import type { Established } from './ws-handshake.ts'

export interface WsTransportOptions {
  /** Where to listen: `ws://127.0.0.1:7400`; port 0 is any that is free. None: it only dials. */
  readonly listen?: readonly string[]
  /**
   * Where others reach this node, where that differs from `listen`: a name, a mapped port. Without it the host's own name stands
   * for 0.0.0.0 and [::].
   */
  readonly advertise?: readonly string[]
  /** With a fleet key, and only with one, it reaches beyond this host, and every connection starts with a proof. */
  readonly security?: WsSecurity
  readonly tls?: WsTls
  /** Smaller bounds than those of limits.ts, for tests. */
  readonly bounds?: Partial<WsBounds>
  readonly tell?: (event: TransportEvent) => void
}

export interface WsSecurity {
  /** 32 bytes each; any is accepted, and of several that both ends have the listener's first is used. */
  readonly fleetKeys: readonly Uint8Array[]
  readonly identity: Identity
}

/** All as PEM. Listening at `wss:` needs `cert` and `key`. */
export interface WsTls {
  readonly cert?: string
  readonly key?: string
  /** Whose certificates are good: those the system trusts, unless told otherwise. */
  readonly ca?: string
  /** Mutual TLS: who dials must have a good certificate too, and shows `cert` when it dials itself. */
  readonly clientCertificates?: boolean
}

export interface WsBounds {
  readonly messageBytes: number
  readonly waitingBytes: number
  readonly linksIn: number
  readonly linksInPerAddress: number
  readonly strangers: number
  readonly strangersPerAddress: number
  readonly handshakeMs: number
  /** How often each connection is looked at; one that was silent meanwhile is pinged. A guess. */
  readonly lookEveryMs: number
  /** See ws-connection.ts. Three looks: one lost segment must not end a link. */
  readonly silentMs: number
  readonly stalledMs: number
  /** How long what was sent has time to leave a connection that is closed. */
  readonly closeMs: number
}

const standardBounds: WsBounds = {
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

/**
 * Nodes say it in their request and their answer, so that nobody takes another WebSocket server for one of us, and a node without
 * a fleet key learns at once that it needs one.
 */
const subprotocols = { open: 'skein.1', proven: 'skein.1.proven' } as const

export function openWsTransport(options: WsTransportOptions = {}): Transport {
  return new WsTransport(options)
}

class WsTransport implements Transport {
  readonly name = 'ws'
  readonly #options: WsTransportOptions
  readonly #bounds: WsBounds
  readonly #security: WsSecurity | undefined
  readonly #subprotocol: string
  readonly #visitors: Visitors
  readonly #servers = new Set<Server>()
  readonly #connections: LiveConnections<WsConnection>
  /** Gives up what is being set up. */
  readonly #givingUp = new Set<() => void>()
  readonly #upgrader: WebSocketServer
  #addresses: readonly string[] = []
  #bound: readonly string[] | undefined = undefined
  #closed: Promise<void> | undefined

  constructor(options: WsTransportOptions) {
    this.#options = options
    this.#bounds = { ...standardBounds, ...options.bounds }
    this.#connections = new LiveConnections(this.#bounds)
    const { security } = options
    if (security !== undefined && security.fleetKeys.length > 0) this.#security = security
    for (const { length } of security?.fleetKeys ?? []) assert(length === 32, 'a fleet key has 32 bytes')
    assert((security?.fleetKeys.length ?? 0) <= limits.fleetKeys, 'there are no more fleet keys than are offered')
    this.#subprotocol = this.#security === undefined ? subprotocols.open : subprotocols.proven
    this.#visitors = new Visitors(this.#bounds, (remote, reason, what) => this.#refused('in', remote, reason, what))
    this.#upgrader = new WebSocketServer({ noServer: true, clientTracking: false, ...this.#webOptions })
  }

  get #webOptions() {
    return {
      perMessageDeflate: false,
      maxPayload: this.#bounds.messageBytes + sealBytes,
      maxFragments: limits.linkMessageParts,
      closeTimeout: this.#bounds.closeMs,
      skipUTF8Validation: true,
    } as const
  }

  get bound(): readonly string[] | undefined {
    return this.#bound
  }

  get addresses(): readonly string[] {
    return this.#addresses
  }

  supports(address: string): boolean {
    try {
      parseWsAddress(address)
      return true
    } catch {
      return false
    }
  }

  async listen(accept: (connection: Connection) => ConnectionHandlers): Promise<void> {
    const { listen = [], advertise } = this.#options
    const addresses = listen.map((text) => this.#permitted(parseWsAddress(text)))
    const bound: string[] = []
    try {
      for (const address of addresses) {
        this.#stopped()
        bound.push(await this.#bind(address, accept))
      }
    } catch (error) {
      for (const server of this.#servers) server.close()
      this.#servers.clear()
      throw error
    }
    this.#addresses = advertise ?? bound
    if (advertise !== undefined) this.#bound = bound
  }

  #bind(address: WsAddress, accept: (connection: Connection) => ConnectionHandlers): Promise<string> {
    const server = this.#server(address)
    server.maxConnections = this.#bounds.linksIn + this.#bounds.strangers
    server.on('connection', (socket: Socket) => this.#visitors.enter(socket))
    server.on('request', ({ socket }: IncomingMessage) => this.#visitors.refuse(socket, 'request', 'a plain request'))
    server.on('clientError', (error: Error, socket: Duplex) =>
      this.#visitors.refuse(socket as Socket, 'request', error.message),
    )
    server.on('tlsClientError', (error: Error, socket: Socket) =>
      this.#visitors.refuse(socket, 'request', `TLS: ${error.message}`),
    )
    server.on('drop', () => this.#refused('in', '', 'full', 'no more sockets are accepted'))
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#upgrade(request, socket as Socket, head, accept),
    )
    return new Promise((resolve, reject) => {
      server.once('error', (error) => reject(listenError(address, error)))
      server.listen({ host: address.host, port: address.port }, () => {
        server.on('error', () => undefined)
        this.#servers.add(server)
        const { port } = server.address() as { port: number }
        // Nobody can dial all addresses of a host: its name is the best guess for whoever did not say otherwise.
        const isAny = address.host === '0.0.0.0' || address.host === '::'
        resolve(wsAddressText(address.secure, isAny ? hostname() : address.host, port))
      })
    })
  }

  #server({ text, secure }: WsAddress): Server {
    const { cert, key, ca, clientCertificates = false } = this.#options.tls ?? {}
    const maxHeaderSize = limits.strangerBytes
    // Not imported: an import of node:http evaluates all that it exports, a WebSocket client of 14 MB and 30 ms among it.
    if (!secure) return process.getBuiltinModule('node:http').createServer({ maxHeaderSize })
    if (cert === undefined || key === undefined) {
      throw new SkeinError('invalid_argument', `listening at ${text} needs tls: { cert, key }`, { address: text })
    }
    try {
      return process.getBuiltinModule('node:https').createServer({
        maxHeaderSize,
        cert,
        key,
        ...(ca === undefined ? {} : { ca }),
        minVersion: 'TLSv1.3',
        handshakeTimeout: this.#bounds.handshakeMs,
        requestCert: clientCertificates,
        rejectUnauthorized: clientCertificates,
      })
    } catch (error) {
      throw new SkeinError('invalid_argument', `tls: ${messageOf(error as Error)}`, { address: text }, error)
    }
  }

  #connect({ secure, host, port }: WsAddress): Socket {
    if (!secure) return connect({ host, port, noDelay: true })
    const { cert, key, ca } = this.#options.tls ?? {}
    return connectSecurely({
      host,
      port,
      servername: isIP(host) === 0 ? host : '',
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['http/1.1'],
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
    })
  }

  #upgrade(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    accept: (connection: Connection) => ConnectionHandlers,
  ): void {
    const { origin, 'sec-websocket-protocol': offered } = request.headers
    if (origin !== undefined) return this.#visitors.refuse(socket, 'request', 'a web page')
    if (offered !== this.#subprotocol) {
      return this.#visitors.refuse(
        socket,
        'request',
        `it asks for ${JSON.stringify(offered)}, not ${this.#subprotocol}`,
      )
    }
    this.#upgrader.handleUpgrade(request, socket, head, (web) => {
      const remote = remoteOf(socket)
      // Until it is known who it is, whatever goes wrong ends it without a word.
      const onError = (error: Error): void => this.#visitors.refuse(socket, 'request', error.message)
      web.on('error', onError)
      const established = (known: Established): void => {
        web.off('error', onError)
        if (this.#closed !== undefined || !this.#visitors.settle(socket)) return web.terminate()
        this.#start(web, socket, 'listener', remote, known, accept)
      }
      this.#establish(web, socket, 'listener', established, (what) => this.#visitors.refuse(socket, 'proof', what))
    })
  }

  async dial(text: string, opened: (connection: Connection) => ConnectionHandlers, signal: AbortSignal): Promise<void> {
    const address = this.#permitted(parseWsAddress(text))
    this.#stopped()
    if (signal.aborted)
      throw new SkeinError('aborted', `dialling ${text} was given up`, { address: text }, signal.reason)
    await new Promise<void>((resolve, reject) => this.#dial(address, opened, signal, resolve, reject))
  }

  #dial(
    address: WsAddress,
    opened: (connection: Connection) => ConnectionHandlers,
    signal: AbortSignal,
    resolve: () => void,
    reject: (error: SkeinError) => void,
  ): void {
    const { text } = address
    let socket: Socket
    try {
      socket = this.#connect(address)
    } catch (error) {
      return reject(new SkeinError('invalid_argument', `tls: ${messageOf(error as Error)}`, { address: text }, error))
    }
    let reached: 'nobody' | 'socket' | 'peer' = 'nobody'
    socket.once('connect', () => (reached = address.secure ? 'socket' : 'peer'))
    socket.once('secureConnect', () => (reached = 'peer'))
    const web = new WebSocket(text, this.#subprotocol, {
      ...this.#webOptions,
      followRedirects: false,
      createConnection: () => socket,
      // Masks keep web pages from writing what proxies take for requests. Here no page chooses the bytes, and with a fleet
      // key they are sealed; a mask of zeros is left out by the library, and with it a pass over every message.
      generateMask: (mask) => mask.fill(0),
    })
    const failed = (code: ErrorCode, reason: RefusalReason, what: string, cause?: unknown): void => {
      if (!settle()) return
      web.on('error', () => undefined)
      web.terminate()
      socket.destroy()
      this.#refused('out', text, reason, what)
      reject(new SkeinError(code, `${text} could not be dialled: ${what}`, { address: text }, cause))
    }
    const abort = (): void => failed('aborted', 'gone', 'it was given up', signal.reason)
    const stop = (): void => failed('closed', 'gone', 'the transport was closed')
    const timer = setTimeout(() => {
      failed('peer_unreachable', 'slow', `no answer within ${this.#bounds.handshakeMs} ms`)
    }, this.#bounds.handshakeMs)
    let isSettled = false
    const settle = (): boolean => {
      if (isSettled) return false
      isSettled = true
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      this.#givingUp.delete(stop)
      return true
    }
    signal.addEventListener('abort', abort)
    this.#givingUp.add(stop)
    web.on('error', (error: NodeJS.ErrnoException) => {
      if (reached === 'nobody') failed('peer_unreachable', 'gone', messageOf(error), error)
      else if (reached === 'socket' && error.code !== 'ECONNRESET')
        failed('peer_unproven', 'proof', messageOf(error), error)
      else failed('peer_refused', 'gone', `it refused the connection: ${messageOf(error)}`, error)
    })
    web.on('close', () => failed('peer_refused', 'gone', 'it closed the connection before it was set up'))
    web.on('open', () => {
      const established = (known: Established): void => {
        if (!settle()) return
        web.removeAllListeners('error')
        web.removeAllListeners('close')
        this.#start(web, socket, 'dialler', text, known, opened)
        resolve()
      }
      this.#establish(web, socket, 'dialler', established, (what) => failed('peer_unproven', 'proof', what))
    })
  }

  /** From a WebSocket that is open to one whose other end is known. */
  #establish(
    web: WebSocket,
    socket: Socket,
    role: 'dialler' | 'listener',
    established: (known: Established) => void,
    refused: (what: string) => void,
  ): void {
    if (this.#security === undefined) established({ node: undefined, seals: undefined })
    else proveOverWs(web, socket, role, this.#security, established, refused)
  }

  #start(
    web: WebSocket,
    socket: Socket,
    role: 'dialler' | 'listener',
    remote: string,
    { node, seals }: Established,
    opened: (connection: Connection) => ConnectionHandlers,
  ): void {
    const settings = { ...this.#bounds, tell: (event: TransportEvent) => this.#options.tell?.(event) }
    const ended = (connection: WsConnection): void => this.#connections.delete(connection)
    const connection = new WsConnection(
      { web, socket, remote, node, seals, isMasked: role === 'dialler', settings, ended },
      performance.now(),
    )
    this.#connections.add(connection)
    connection.start(opened(connection))
  }

  #permitted(address: WsAddress): WsAddress {
    if (this.#security === undefined && !isLoopback(address.host)) {
      throw new SkeinError(
        'fleet_key_needed',
        `${address.text} is not on this host. Without a fleet key a node keeps to loopback addresses like 127.0.0.1`,
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
    for (const stop of this.#givingUp) stop()
    this.#visitors.leave()
    const servers = [...this.#servers].map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    await this.#connections.close()
    await Promise.all(servers)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function remoteOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return `${isIP(remoteAddress) === 6 ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`
}

function messageOf(error: Error): string {
  // Of several addresses of one name each has its own error, and their sum has no message.
  const inner = error instanceof AggregateError ? (error.errors as readonly Error[])[0] : undefined
  return (inner ?? error).message
}

function listenError({ text }: WsAddress, error: NodeJS.ErrnoException): SkeinError {
  const code: ErrorCode = error.code === 'EADDRINUSE' ? 'address_in_use' : 'address_unavailable'
  return new SkeinError(code, `cannot listen at ${text}: ${error.message}`, { address: text }, error)
}
