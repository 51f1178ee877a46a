/**
 * One WebSocket that is set up, as a connection of the contract. All messages of one turn of the event loop leave in one
 * write. pulse.ts tells whether somebody is still there.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { assert } from '../base/assert.ts'
import { SkeinError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { Seals } from './primitives.ts'
import { Pulse } from './pulse.ts'
import type { PulseSettings } from './pulse.ts'
import type { Connection, ConnectionHandlers, TransportEvent } from './transport.ts'

export interface ConnectionSettings extends PulseSettings {
  readonly messageBytes: number
  readonly waitingBytes: number
  tell(event: TransportEvent): void
}

export interface ConnectionParts {
  readonly web: WebSocket
  readonly socket: Socket
  readonly remote: string
  readonly node: string | undefined
  readonly seals: Seals | undefined
  /** Whoever dialled masks what it sends. */
  readonly isMasked: boolean
  readonly settings: ConnectionSettings
  /** Its socket is closed. */
  ended(connection: WsConnection): void
}

/** Close codes of RFC 6455 that mean an end in order: done, going away, none given. */
const inOrder: ReadonlySet<number> = new Set([1000, 1001, 1005])

/** From here on a copy costs more than it saves. A guess. */
const shortBytes = 4_096

/** A final binary frame (RFC 6455, 5.2); its mask is one of zeros, which changes nothing (see ws.ts). */
function frameOf(payload: Uint8Array, isMasked: boolean): Uint8Array {
  const { length } = payload
  const isLong = length > 125
  const start = (isLong ? 4 : 2) + (isMasked ? 4 : 0)
  const frame = Buffer.allocUnsafe(start + length)
  frame[0] = 0x82
  frame[1] = (isMasked ? 0x80 : 0) | (isLong ? 126 : length)
  if (isLong) frame.writeUInt16BE(length, 2)
  if (isMasked) frame.writeUInt32BE(0, start - 4)
  frame.set(payload, start)
  return frame
}

export class WsConnection implements Connection {
  readonly node: string | undefined
  readonly #parts: ConnectionParts
  #handlers: ConnectionHandlers | undefined
  #state: 'open' | 'closing' | 'closed' = 'open'
  #isCorked = false
  readonly #pulse: Pulse

  constructor(parts: ConnectionParts, nowMs: number) {
    this.#parts = parts
    this.node = parts.node
    this.#pulse = new Pulse(parts.settings, nowMs)
  }

  /** Once, when it is known who takes the messages. */
  start(handlers: ConnectionHandlers): void {
    const { web, socket, seals, messageBytes } = { ...this.#parts, ...this.#parts.settings }
    this.#handlers = handlers
    web.on('message', (data: Buffer, isBinary: boolean) => {
      this.#pulse.heard()
      if (this.#state !== 'open') return
      if (!isBinary) return this.#fail('peer_protocol', 'a text message came')
      const bytes = seals === undefined ? data : seals.open(data)
      if (bytes === undefined) return this.#fail('peer_protocol', 'a message came with a broken seal')
      if (bytes.length > messageBytes) return this.#fail('peer_protocol', `a message of ${bytes.length} bytes came`)
      // Not a Buffer, whose `slice` is no copy.
      handlers.message(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length))
    })
    web.on('ping', () => this.#pulse.heard())
    web.on('pong', () => this.#pulse.heard())
    web.on('error', (error) => {
      const isProtocol = ((error as NodeJS.ErrnoException).code ?? '').startsWith('WS_ERR')
      if (isProtocol) this.#fail('peer_protocol', `what came is no WebSocket message: ${error.message}`, error)
      else this.#fail('peer_lost', `the connection broke: ${error.message}`, error)
    })
    web.on('close', (code) => this.#closed(code))
    socket.on('drain', () => {
      if (this.#state === 'open') handlers.drained()
    })
  }

  get waitingBytes(): number {
    return this.#parts.socket.writableLength
  }

  send(bytes: Uint8Array, isUrgent: boolean = false): boolean {
    if (this.#state !== 'open') return false
    const { socket, seals, settings } = this.#parts
    assert(bytes.length <= settings.messageBytes, `a message of ${bytes.length} bytes is sent`)
    if (!this.#isCorked && !isUrgent) {
      this.#isCorked = true
      socket.cork()
      // No timer: it leaves as soon as this turn is over.
      process.nextTick(() => {
        this.#isCorked = false
        socket.uncork()
      })
    }
    this.#write(seals === undefined ? bytes : seals.seal(bytes))
    if (socket.writableLength > settings.waitingBytes) {
      this.#fail('peer_slow', `${socket.writableLength} bytes wait for it`)
      return false
    }
    return !socket.writableNeedDrain
  }

  /**
   * A small message as one buffer. The library would take it as two, of header and payload, through a list of writes: at one
   * message now and then that is a third of what sending costs. It compresses nothing here, so whole frames may go between its own.
   */
  #write(payload: Uint8Array): void {
    const { web, socket, isMasked } = this.#parts
    if (payload.length >= shortBytes) web.send(payload)
    else if (web.readyState === web.OPEN) socket.write(frameOf(payload, isMasked))
  }

  close(): void {
    this.#handlers = undefined
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#parts.web.close(1000)
  }

  /** At once, whatever waits. */
  destroy(): void {
    this.#state = 'closed'
    this.#handlers = undefined
    this.#parts.web.terminate()
  }

  /** Now and then: is there still somebody? */
  look(nowMs: number, lateMs: number): void {
    if (this.#state !== 'open') return
    const { web, socket } = this.#parts
    const { bytesRead: readBytes, bytesWritten, writableLength } = socket
    const moved = { readBytes, leftBytes: bytesWritten - writableLength, isWaiting: writableLength > 0 }
    const output = this.#pulse.look(moved, nowMs, lateMs)
    if (output.kind === 'lost') this.#fail('peer_lost', output.what)
    else if (output.kind === 'ping') web.ping()
  }

  #fail(code: ErrorCode, what: string, cause?: unknown): void {
    if (this.#state !== 'open') return
    const { web, remote, node, settings } = this.#parts
    // After a fault of the protocol the library has said so with a close code, which may still leave.
    if (cause === undefined) web.terminate()
    this.#end(new SkeinError(code, `the link to ${remote} was closed: ${what}`, { remote, node }, cause))
    settings.tell({ kind: 'fault', remote, node, code, what })
  }

  #closed(code: number): void {
    const { remote, node, settings } = this.#parts
    this.#parts.ended(this)
    if (this.#state !== 'open') return
    if (inOrder.has(code)) return this.#end(undefined)
    const [kind, what]: [ErrorCode, string] =
      code === 1006 ? ['peer_lost', 'it went without a word'] : ['peer_protocol', `it closed with code ${code}`]
    this.#end(new SkeinError(kind, `the link to ${remote} was closed: ${what}`, { remote, node, closeCode: code }))
    settings.tell({ kind: 'fault', remote, node, code: kind, what })
  }

  /** Nothing is called back while the caller is still in `send`, nor if it closes meanwhile. */
  #end(error: SkeinError | undefined): void {
    this.#state = 'closed'
    process.nextTick(() => {
      const handlers = this.#handlers
      this.#handlers = undefined
      handlers?.closed(error)
    })
  }
}
