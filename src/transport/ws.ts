/**
 * Links over WebSocket (RFC 6455), by the `ws` package: binary messages, no compression (packets are packed above), no delay of
 * small ones, one connection for a pair of nodes whatever they share.
 *
 * Without a fleet key it stays on this host. Whoever connects is a stranger until the handshake is done: strangers are
 * counted apart from those who are known, bounded in number, time and bytes, and are told nothing. A web page is refused
 * whatever it says: browsers name their origin, nodes have none.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import { connect, isIP } from 'node:net'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'
import { SkeinError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { isLoopback, parseWsAddress, wsAddressText } from './address.ts'
import type { WsAddress } from './address.ts'
import type { Connection, ConnectionHandlers, RefusalReason, Transport, TransportEvent } from './transport.ts'
import { Visitors } from './visitors.ts'
import { WsConnection } from './ws-connection.ts'
import type { Seals } from './ws-connection.ts'

export interface WsTransportOptions {
  /** Where to listen: `ws://127.0.0.1:7400`; port 0 is any that is free. None: it only dials. */
  readonly listen?: readonly string[]
  /** Where others reach this node, where that differs from `listen`: a name, a mapped port. */
  readonly advertise?: readonly string[]
  /** Smaller bounds than those of limits.ts, for tests. */
  readonly bounds?: Partial<WsBounds>
  readonly tell?: (event: TransportEvent) => void
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

/** Nodes say it in their request and their answer, so that nobody takes another WebSocket server for one of us. */
const subprotocol = 'skein.1'

/** Bytes that a seal adds to a message. */
const sealBytes = 16

interface Established {
  readonly node: string | undefined
  readonly seals: Seals | undefined
}

export function openWsTransport(options: WsTransportOptions = {}): Transport {
  return new WsTransport(options)
}

class WsTransport implements Transport {
  readonly name = 'ws'
  readonly #options: WsTransportOptions
  readonly #bounds: WsBounds
  readonly #visitors: Visitors
  readonly #servers = new Set<Server>()
  readonly #connections = new Set<WsConnection>()
  /** Gives up what is being set up. */
  readonly #givingUp = new Set<() => void>()
  readonly #upgrader: WebSocketServer
  #addresses: readonly string[] = []
  #looking: NodeJS.Timeout | undefined
  #closed: Promise<void> | undefined

  constructor(options: WsTransportOptions) {
    this.#options = options
    this.#bounds = { ...standardBounds, ...options.bounds }
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
  }

  #bind(address: WsAddress, accept: (connection: Connection) => ConnectionHandlers): Promise<string> {
    const server = createServer({ maxHeaderSize: limits.strangerBytes })
    server.maxConnections = this.#bounds.linksIn + this.#bounds.strangers
    server.on('connection', (socket: Socket) => this.#visitors.enter(socket))
    server.on('request', ({ socket }: IncomingMessage) => this.#visitors.refuse(socket, 'request', 'a plain request'))
    server.on('clientError', (error: Error, socket: Duplex) =>
      this.#visitors.refuse(socket as Socket, 'request', error.message),
    )
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#upgrade(request, socket as Socket, head, accept),
    )
    return new Promise((resolve, reject) => {
      server.once('error', (error) => reject(listenError(address, error)))
      server.listen({ host: address.host, port: address.port }, () => {
        server.on('error', () => undefined)
        this.#servers.add(server)
        const { port } = server.address() as { port: number }
        resolve(wsAddressText(address.secure, address.host, port))
      })
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
    if (offered !== subprotocol) return this.#visitors.refuse(socket, 'request', 'it does not speak our protocol')
    this.#upgrader.handleUpgrade(request, socket, head, (web) => {
      const remote = remoteOf(socket)
      this.#establish(web, socket, remote, 'in', (established) => {
        if (this.#closed !== undefined || !this.#visitors.settle(socket)) return web.terminate()
        this.#start(web, socket, remote, established, accept)
      })
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
    const socket = connect({ host: address.host, port: address.port, noDelay: true })
    let isConnected = false
    socket.once('connect', () => (isConnected = true))
    const web = new WebSocket(text, subprotocol, {
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
    web.on('error', (error) => {
      if (isConnected) failed('peer_refused', 'gone', `it refused the connection: ${messageOf(error)}`, error)
      else failed('peer_unreachable', 'gone', messageOf(error), error)
    })
    web.on('close', () => failed('peer_refused', 'gone', 'it closed the connection before it was set up'))
    web.on('open', () => {
      this.#establish(web, socket, text, 'out', (established) => {
        if (!settle()) return
        this.#start(web, socket, text, established, opened)
        resolve()
      })
    })
  }

  /** From a WebSocket that is open to one whose other end is known. */
  #establish(
    _web: WebSocket,
    _socket: Socket,
    _remote: string,
    _direction: 'in' | 'out',
    done: (established: Established) => void,
  ): void {
    done({ node: undefined, seals: undefined })
  }

  #start(
    web: WebSocket,
    socket: Socket,
    remote: string,
    { node, seals }: Established,
    opened: (connection: Connection) => ConnectionHandlers,
  ): void {
    const settings = { ...this.#bounds, tell: (event: TransportEvent) => this.#options.tell?.(event) }
    const ended = (connection: WsConnection): boolean => this.#connections.delete(connection)
    const connection = new WsConnection({ web, socket, remote, node, seals, settings, ended }, performance.now())
    this.#connections.add(connection)
    connection.start(opened(connection))
    this.#looking ??= setInterval(() => this.#look(), this.#bounds.lookEveryMs).unref()
  }

  #look(): void {
    const nowMs = performance.now()
    for (const connection of this.#connections) connection.look(nowMs)
    if (this.#connections.size > 0) return
    clearInterval(this.#looking)
    this.#looking = undefined
  }

  #permitted(address: WsAddress): WsAddress {
    if (!isLoopback(address.host)) {
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
    clearInterval(this.#looking)
    for (const stop of this.#givingUp) stop()
    this.#visitors.leave()
    const servers = [...this.#servers].map((server) => new Promise<void>((resolve) => server.close(() => resolve())))
    for (const connection of this.#connections) connection.close()
    // The library ends each of them within `closeMs`; a little later nobody waits for it any more.
    const endMs = performance.now() + this.#bounds.closeMs + 500
    while (this.#connections.size > 0 && performance.now() < endMs)
      await new Promise((resolve) => setTimeout(resolve, 5))
    for (const connection of this.#connections) connection.destroy()
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
