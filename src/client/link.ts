/**
 * One WebSocket to a node's stream (docs/STREAM.md), from the dial to its end: frames in, frames out, and why it ended. It
 * keeps nothing beyond its end; what survives that is the session's.
 *
 * It is `ws` rather than Node's own WebSocket, which can be given neither a socket file nor a header.
 */
import { connect as connectSocket } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { WebSocket } from 'ws'
import { SkeinError, errorTable } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

/** Where a node's stream is. */
export type Target =
  | { readonly kind: 'tcp'; readonly url: string }
  /** A socket in a file, as nodes have one in their data directory. */
  | { readonly kind: 'file'; readonly path: string }

/** What a server says, as far as a client looks. Only that it is an object is known. */
export interface Said {
  readonly hello?: { readonly node?: unknown }
  readonly id?: number
  readonly ok?: unknown
  readonly problem?: Problem
  readonly watch?: number
  readonly event?: unknown
  readonly end?: string
}

export interface Problem {
  readonly code?: unknown
  readonly detail?: unknown
  readonly details?: unknown
}

export interface LinkHandlers {
  said(messages: readonly Said[]): void
  /** There is room for more. */
  drained(): void
  /** Once, whatever happened. */
  ended(error: SkeinError): void
}

/** The server pings every 15 s: who is silent for three of them is gone. */
const silentMs = 45_000
const protocol = 'skein.1'
/** Of RFC 6455. */
const notAllowed = 1008
const refusalBytes = 65_536

export class Link {
  readonly #web: WebSocket
  readonly #handlers: LinkHandlers
  readonly #where: string
  #socket: Socket | undefined = undefined
  #isWanted = true
  #isEnded = false
  #heardMs: number = performance.now()
  readonly #watchdog: NodeJS.Timeout

  constructor(target: Target, token: string | undefined, timeoutMs: number, handlers: LinkHandlers) {
    this.#handlers = handlers
    this.#where = textOf(target)
    this.#web = new WebSocket(target.kind === 'file' ? 'ws://localhost/v1/stream' : target.url, protocol, {
      perMessageDeflate: false,
      handshakeTimeout: timeoutMs,
      maxPayload: limits.clientFrameBytes,
      followRedirects: false,
      ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }),
      createConnection: ((options: object) => this.#open(target, options)) as typeof connectSocket,
    })
    const web = this.#web
    web.on('message', (data, isBinary) => this.#message(data as Buffer, isBinary))
    web.on('ping', () => (this.#heardMs = performance.now()))
    web.on('unexpected-response', (_request, response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (piece: string) => {
        text += piece
        if (text.length > refusalBytes) response.destroy()
      })
      response.on('close', () => this.#end(this.#refusal(text, response.statusCode ?? 0)))
    })
    web.on('error', (error) => this.#end(this.#unreachable(error)))
    web.on('close', (code, reason) => {
      const said = reason.toString()
      const isRefused = code === notAllowed && isCode(said)
      this.#end(isRefused ? new SkeinError(said, `${this.#where} ended the stream: ${said}`) : this.#lost())
    })
    this.#watchdog = setInterval(() => {
      if (performance.now() - this.#heardMs > silentMs) this.#web.terminate()
    }, silentMs / 3)
    this.#watchdog.unref()
  }

  /** One frame. */
  send(text: string): void {
    this.#web.send(text, () => {
      if (!this.isFull) this.#handlers.drained()
    })
  }

  get isFull(): boolean {
    return this.#web.bufferedAmount > limits.clientFrameCharacters
  }

  /** Does anybody wait for something? Otherwise the process may end while it is open. */
  want(isWanted: boolean): void {
    if (isWanted === this.#isWanted) return
    this.#isWanted = isWanted
    if (isWanted) this.#socket?.ref()
    else this.#socket?.unref()
  }

  close(): void {
    this.#isEnded = true
    clearInterval(this.#watchdog)
    if (this.#web.readyState === WebSocket.OPEN) {
      this.#web.close()
      // Who does not answer the goodbye must not hold anybody.
      setTimeout(() => this.#web.terminate(), 1000).unref()
    } else this.#web.terminate()
  }

  #open(target: Target, options: object): Socket {
    const socket =
      target.kind === 'file'
        ? connectSocket({ path: target.path })
        : target.url.startsWith('wss:')
          ? connectTls(options)
          : connectSocket(options as { port: number })
    this.#socket = socket
    if (!this.#isWanted) socket.unref()
    return socket
  }

  #message(data: Buffer, isBinary: boolean): void {
    if (this.#isEnded) return
    this.#heardMs = performance.now()
    let messages: unknown
    try {
      messages = isBinary ? undefined : JSON.parse(data.toString())
    } catch {
      // Told below.
    }
    if (!Array.isArray(messages) || !messages.every((one) => typeof one === 'object' && one !== null)) {
      this.#web.terminate()
      this.#end(new SkeinError('peer_refused', `${this.#where} does not answer as a node does`))
      return
    }
    this.#handlers.said(messages as readonly Said[])
  }

  #end(error: SkeinError): void {
    if (this.#isEnded) return
    this.#isEnded = true
    clearInterval(this.#watchdog)
    this.#handlers.ended(error)
  }

  #lost(): SkeinError {
    return new SkeinError('peer_lost', `the stream of ${this.#where} ended`, { node: this.#where })
  }

  #unreachable(cause: Error): SkeinError {
    return new SkeinError(
      'peer_unreachable',
      `the node at ${this.#where} cannot be reached: ${cause.message}`,
      { node: this.#where },
      cause,
    )
  }

  #refusal(text: string, status: number): SkeinError {
    try {
      const problem: unknown = JSON.parse(text)
      if (typeof problem === 'object' && problem !== null && isCode((problem as Problem).code)) {
        return errorOf(problem as Problem)
      }
    } catch {
      // Somebody else's answer.
    }
    return new SkeinError('peer_refused', `${this.#where} answers ${status}, and not as a node does`)
  }
}

function isCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorTable, code)
}

/** The server's error, as the same call would have thrown it there. */
export function errorOf({ code, detail, details }: Problem): SkeinError {
  const message = typeof detail === 'string' ? detail : String(code)
  const more = typeof details === 'object' && details !== null ? (details as Readonly<Record<string, unknown>>) : {}
  // A code that a later version has, or the server's own `internal`: what happened is not known here.
  return isCode(code)
    ? new SkeinError(code, message, more)
    : new SkeinError('unanswered', `the node failed (${String(code)}): ${message}`, more)
}

function textOf(target: Target): string {
  return target.kind === 'file' ? `unix:${target.path}` : target.url.replace(/^ws/, 'http').replace(/\/v1\/stream$/, '')
}

/** `http://host:port`, `https:`, `ws:`, `wss:`, or `unix:/path/of/node.sock`. */
export function targetOf(address: string): Target {
  const path = /^unix:(?:\/\/)?(\/.+)$/.exec(address)?.[1]
  if (path !== undefined) return { kind: 'file', path }
  const written = /^\w+:\/\//.test(address) ? address : `http://${address}`
  const url = URL.canParse(written) ? new URL(written) : undefined
  if (url === undefined || !/^(https?|wss?):$/.test(url.protocol)) {
    throw new SkeinError('invalid_address', `${address} is no address of a node, such as http://127.0.0.1:7401`)
  }
  const secure = url.protocol === 'https:' || url.protocol === 'wss:'
  return { kind: 'tcp', url: `${secure ? 'wss' : 'ws'}://${url.host}/v1/stream` }
}
