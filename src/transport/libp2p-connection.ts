/**
 * One libp2p connection with its one stream, as a connection of the contract. Messages queue here and not in the library, whose
 * buffers have no bound: it is handed as much as it takes at once. What a turn of the event loop sends leaves together.
 */
import type { Connection as Libp2pLink, Stream } from '@libp2p/interface'
import { assert } from '../base/assert.ts'
import { SkeinError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import { Pulse } from './pulse.ts'
import type { PulseSettings } from './pulse.ts'
import { MessageReader, headOf, marks } from './stream-messages.ts'
import type { Mark, Read } from './stream-messages.ts'
import type { Connection, ConnectionHandlers, TransportEvent } from './transport.ts'

export interface Libp2pConnectionSettings extends PulseSettings {
  readonly messageBytes: number
  readonly waitingBytes: number
  readonly closeMs: number
  tell(event: TransportEvent): void
}

export interface Libp2pConnectionParts {
  readonly link: Libp2pLink
  readonly stream: Stream
  /** Ends the connection at once. */
  readonly abort: (why: string) => void
  readonly remote: string
  readonly node: string
  readonly settings: Libp2pConnectionSettings
  /** Its socket is closed. */
  ended(connection: Libp2pConnection): void
}

/** What the library is handed in one piece: a noise packet holds 65,535 bytes, with its tag and a header of yamux. */
const pieceBytes = 65_000
/** From so many waiting bytes on it is enough for a while: what a socket of Node likes. */
const enoughBytes = 65_536

export class Libp2pConnection implements Connection {
  readonly node: string
  readonly #parts: Libp2pConnectionParts
  readonly #pulse: Pulse
  readonly #reader: MessageReader
  #handlers: ConnectionHandlers | undefined
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** Of the first part, what lies before `queueAt` has left. */
  #queue: Uint8Array[] = []
  #queueAt = 0
  #queuedBytes = 0
  #isFlushPlanned = false
  #owesDrained = false
  #readBytes = 0
  #leftBytes = 0
  #closeTimer: NodeJS.Timeout | undefined

  constructor(parts: Libp2pConnectionParts, nowMs: number) {
    this.#parts = parts
    this.node = parts.node
    this.#pulse = new Pulse(parts.settings, nowMs)
    this.#reader = new MessageReader(parts.settings.messageBytes)
  }

  /** Once, when it is known who takes the messages. */
  start(handlers: ConnectionHandlers): void {
    const { link, stream } = this.#parts
    this.#handlers = handlers
    stream.addEventListener('drain', () => this.#flush())
    // After `drain` the library still sends what it kept; `idle` follows.
    stream.addEventListener('idle', () => this.#planFlush())
    stream.addEventListener('close', ({ error }) => this.#ended(error))
    link.addEventListener('close', ({ error }) => {
      clearTimeout(this.#closeTimer)
      this.#ended(error)
      this.#parts.ended(this)
    })
    // The last one: what has come already is handed out from here on.
    stream.addEventListener('message', ({ data }) => {
      for (const bytes of data instanceof Uint8Array ? [data] : data) {
        this.#readBytes += bytes.length
        if (this.#state !== 'closed') this.#reader.read(bytes, (read) => this.#take(read))
      }
    })
  }

  get waitingBytes(): number {
    return this.#queuedBytes + this.#parts.stream.writeBufferLength
  }

  send(bytes: Uint8Array): boolean {
    if (this.#state !== 'open') return false
    const { settings } = this.#parts
    assert(bytes.length <= settings.messageBytes, `a message of ${bytes.length} bytes is sent`)
    this.#push(headOf(bytes.length), bytes)
    const { waitingBytes } = this
    if (waitingBytes > settings.waitingBytes) {
      this.#fail('peer_slow', `${waitingBytes} bytes wait for it`)
      return false
    }
    if (waitingBytes >= enoughBytes) this.#owesDrained = true
    return !this.#owesDrained
  }

  close(): void {
    this.#handlers = undefined
    if (this.#state !== 'open') return
    this.#state = 'closing'
    // Who is told so ends the connection, once all before it has been read.
    this.#mark('bye')
    this.#closeTimer = setTimeout(() => this.destroy(), this.#parts.settings.closeMs)
  }

  /** At once, whatever waits. */
  destroy(): void {
    this.#state = 'closed'
    this.#handlers = undefined
    this.#parts.abort('closed')
  }

  /** Now and then: is there still somebody? */
  look(nowMs: number, lateMs: number): void {
    if (this.#state !== 'open') return
    const isWaiting = this.waitingBytes > 0
    const moved = { readBytes: this.#readBytes, leftBytes: this.#leftBytes, isWaiting }
    const output = this.#pulse.look(moved, nowMs, lateMs)
    if (output.kind === 'lost') this.#fail('peer_lost', output.what)
    else if (output.kind === 'ping') this.#mark('ping')
  }

  #mark(mark: Mark): void {
    this.#push(headOf(marks[mark]))
  }

  #push(...parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      if (part.length === 0) continue
      this.#queue.push(part)
      this.#queuedBytes += part.length
    }
    this.#planFlush()
  }

  #planFlush(): void {
    if (this.#isFlushPlanned) return
    this.#isFlushPlanned = true
    // No timer: it leaves as soon as this turn is over.
    process.nextTick(() => {
      this.#isFlushPlanned = false
      this.#flush()
    })
  }

  #flush(): void {
    const { stream } = this.#parts
    while (this.#state !== 'closed' && this.#queuedBytes > 0 && !stream.writableNeedsDrain) {
      const piece = this.#piece()
      try {
        stream.send(piece)
      } catch (error) {
        return this.#fail('peer_lost', `the connection broke: ${(error as Error).message}`, error)
      }
    }
    if (this.#state !== 'open' || !this.#owesDrained || this.waitingBytes > 0 || stream.writableNeedsDrain) return
    this.#owesDrained = false
    this.#handlers?.drained()
  }

  /** What is first in the queue, small parts together: each piece costs a header, a seal and a call of the system. */
  #piece(): Uint8Array {
    const pieces: Uint8Array[] = []
    let roomBytes = pieceBytes
    let at = 0
    while (roomBytes > 0 && at < this.#queue.length) {
      const part = this.#queue[at] as Uint8Array
      const piece = part.subarray(this.#queueAt, this.#queueAt + roomBytes)
      pieces.push(piece)
      roomBytes -= piece.length
      this.#queueAt += piece.length
      if (this.#queueAt < part.length) break
      this.#queueAt = 0
      at++
    }
    this.#queue.splice(0, at)
    const [first] = pieces
    const whole = pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces)
    this.#queuedBytes -= whole.length
    this.#leftBytes += whole.length
    return whole
  }

  /** False when nothing more is wanted. */
  #take(read: Read): boolean {
    this.#pulse.heard()
    switch (read.kind) {
      case 'bye':
        this.#state = this.#state === 'open' ? 'closed' : this.#state
        this.#tellEnd(undefined)
        this.#leave()
        return false
      case 'broken':
        this.#fail('peer_protocol', read.what)
        return false
      case 'ping':
        if (this.#state === 'open') this.#mark('pong')
        break
      case 'message':
        if (this.#state === 'open') this.#handlers?.message(read.bytes)
        break
      case 'pong':
    }
    return this.#state !== 'closed'
  }

  /** It has said all that it will, and has closed in order. */
  #leave(): void {
    const { link, abort, settings } = this.#parts
    this.#queue = []
    this.#queuedBytes = 0
    link.close({ signal: AbortSignal.timeout(settings.closeMs) }).catch((error: Error) => abort(error.message))
  }

  #fail(code: ErrorCode, what: string, cause?: unknown): void {
    if (this.#state !== 'open') return
    const { abort, remote, node, settings } = this.#parts
    this.#state = 'closed'
    this.#tellEnd(new SkeinError(code, `the link to ${remote} was closed: ${what}`, { remote, node }, cause))
    settings.tell({ kind: 'fault', remote, node, code, what })
    abort(what)
  }

  #ended(error: Error | undefined): void {
    this.#fail('peer_lost', error === undefined ? 'it went without a word' : `it broke: ${error.message}`, error)
    this.#state = 'closed'
    this.#queue = []
    this.#queuedBytes = 0
  }

  /** Nothing is called back while the caller is still in `send`, nor if it closes meanwhile. */
  #tellEnd(error: SkeinError | undefined): void {
    process.nextTick(() => {
      const handlers = this.#handlers
      this.#handlers = undefined
      handlers?.closed(error)
    })
  }
}
