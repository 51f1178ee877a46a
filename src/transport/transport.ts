/**
 * The contract between a node and whatever carries its messages: whole messages, in order, both ways, until the connection
 * ends. Adapters are memory.ts and ws.ts; transport.suite.ts is what any other must pass.
 *
 * What every adapter promises:
 * - A message arrives whole, once and after those that were sent before it, or its connection has ended.
 * - It dials when it is told to, once. When to try again is decided above (node/links.ts).
 * - What waits for a peer is bounded: one that does not read loses its connection, and no other is the worse for it.
 * - A peer that went without a word is noticed within a bound, and so is one that never ends its handshake.
 * - Nothing that comes from the other end throws here: it ends that connection with a code, and is told to `tell`.
 *
 * What the contract leaves to its driver: what messages mean, one connection for a pair of nodes, dialling again, and telling
 * a peer why it is not wanted.
 */
import { createHash } from 'node:crypto'
import { toHex } from '../base/bytes.ts'
import type { SkeinError } from '../base/errors.ts'

export interface Connection {
  /**
   * Queues one message and sends it at the end of this turn of the event loop, with all others of the turn. False when more
   * waits than the transport likes: `drained` follows once all of it has left. The bytes must not change afterwards. On a
   * connection that has ended it does nothing. `isUrgent`: it may leave ahead of the turn's end, if it is the first of it.
   */
  send(bytes: Uint8Array, isUrgent?: boolean): boolean
  /** Bytes that have not left yet. */
  readonly waitingBytes: number
  /** Ends it: what was sent before still leaves where it can, within a bounded time; no handler is called after. */
  close(): void
  /** Who is at the other end, proven by the handshake; undefined where there is none (no fleet key: loopback only). */
  readonly node: string | undefined
}

/** None is called while `send` or `close` runs, and none after `closed`. */
export interface ConnectionHandlers {
  /** The bytes are the receiver's: nothing writes to them later. They may be a view of more. */
  message(bytes: Uint8Array): void
  drained(): void
  /** Without an error the other end closed it in order. */
  closed(error: SkeinError | undefined): void
}

export interface Transport extends AsyncDisposable {
  readonly name: string
  /** Where others can dial this node, once listening. */
  readonly addresses: readonly string[]
  /** Where it listens, with real ports, where others are told something else. */
  readonly bound?: readonly string[] | undefined
  supports(address: string): boolean
  /** Accepts connections from now on. A transport that was given nowhere to listen does nothing. */
  listen(accept: (connection: Connection) => ConnectionHandlers): Promise<void>
  /**
   * Never throws synchronously. Resolves after `opened` was called; rejects with a SkeinError that names address and cause,
   * and then `opened` is never called.
   */
  dial(address: string, opened: (connection: Connection) => ConnectionHandlers, signal: AbortSignal): Promise<void>
  /** Closes every connection as its own `close` would, gives up what is being dialled, and stops listening. */
  close(): Promise<void>
}

/** For counters and the local log: a stranger is never told any of it. */
export type TransportEvent =
  /** A connection that was not set up. */
  | {
      readonly kind: 'refused'
      readonly direction: 'in' | 'out'
      readonly remote: string
      /** From a short list, to count by. */
      readonly reason: RefusalReason
      readonly what: string
    }
  /** A connection that was set up, and ended by more than a close in order. */
  | {
      readonly kind: 'fault'
      readonly remote: string
      readonly node: string | undefined
      readonly code: SkeinError['code']
      readonly what: string
    }

export type RefusalReason =
  /** Too many connections, in total or from that address. */
  | 'full'
  /** It took too long. */
  | 'slow'
  /** No request that opens a link, or one from a web page. */
  | 'request'
  /** It knows no fleet key of ours, or a proof was wrong. */
  | 'proof'
  /** It went away before the end. */
  | 'gone'

/** What proves who a node is: an ed25519 key. */
export interface Identity {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** 64 bytes: the ed25519 signature. */
  sign(bytes: Uint8Array): Uint8Array
}

/** The id of a node: the first 16 hexadecimal digits of the SHA-256 of its public key. */
export function nodeIdOf(publicKey: Uint8Array): string {
  return toHex(createHash('sha256').update(publicKey).digest().subarray(0, 8))
}
