/**
 * Changes as server-sent events. An event's id is its token, so a client that comes again with Last-Event-ID goes on where it
 * was. A reader that does not keep up is waited for: meanwhile changes gather in the node's own bounded queue, and what that
 * drops comes as a `gap`. One that takes nothing at all for a while is cut off; it comes again with its last token.
 */
import type { ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'

/** One event as it is written. */
export interface ServerSent {
  readonly name: string
  /** Its token, where a client can go on behind it. */
  readonly id?: string
  readonly data: unknown
}

export interface EventTiming {
  /** How long nothing is written before a comment line shows that the connection lives. */
  readonly heartbeatMs: number
  /** How long a reader may take nothing before it is cut off. */
  readonly stalledMs: number
}

export class EventStreams {
  readonly #timing: EventTiming
  readonly #open = new Set<AbortController>()
  readonly #streams = new Set<Promise<void>>()
  #others = 0

  constructor(timing: EventTiming) {
    this.#timing = timing
  }

  /** Another kind of stream counts towards the same bound. Answers how to give the place back. */
  take(): () => void {
    if (this.#open.size + this.#others >= limits.httpStreams) {
      throw new SkeinError('rate_limited', `${limits.httpStreams} streams are open already`, { retryAfterMs: 1000 })
    }
    this.#others++
    let isHeld = true
    return () => {
      if (isHeld) this.#others--
      isHeld = false
    }
  }

  /** Throws before the reply is taken over; from then on the stream ends by itself. */
  send(reply: FastifyReply, open: (signal: AbortSignal) => AsyncIterable<ServerSent>, recheck: () => void): void {
    const stop = new AbortController()
    const release = this.take()
    let events: AsyncIterable<ServerSent>
    try {
      events = open(stop.signal)
    } catch (error) {
      release()
      throw error
    }
    reply.hijack()
    const out = reply.raw
    for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) out.setHeader(name, value)
    out.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    })
    out.on('error', () => undefined)
    out.on('close', () => stop.abort())
    out.flushHeaders()
    this.#open.add(stop)
    const stream = this.#run(out, events, stop, recheck)
      .catch(() => {
        // The node was closed under it, or a row could not be read: the client comes again and is told.
        out.destroy()
      })
      .finally(() => {
        release()
        stop.abort()
        this.#open.delete(stop)
        this.#streams.delete(stream)
      })
    this.#streams.add(stream)
  }

  async #run(
    out: ServerResponse,
    events: AsyncIterable<ServerSent>,
    stop: AbortController,
    recheck: () => void,
  ): Promise<void> {
    const { heartbeatMs, stalledMs } = this.#timing
    let isIdle = false
    const heartbeat = setInterval(() => {
      try {
        recheck()
      } catch {
        // Its token was revoked, or has expired.
        out.destroy()
        return
      }
      if (isIdle && !out.writableNeedDrain) out.write(': alive\n\n')
      isIdle = true
    }, heartbeatMs)
    out.write(': open\n\n')
    try {
      for await (const event of events) {
        isIdle = false
        if (!out.write(framed(event)) && !(await drained(out, stop, stalledMs))) return
      }
      if (!out.destroyed) out.end(framed({ name: 'end', data: { kind: 'end', reason: this.#reason } }))
    } finally {
      clearInterval(heartbeat)
    }
  }

  #reason: 'over' | 'closing' = 'over'

  /** Every stream ends with a last event. */
  async close(): Promise<void> {
    this.#reason = 'closing'
    for (const stop of this.#open) stop.abort()
    await Promise.all(this.#streams)
  }
}

function framed({ name, id, data }: ServerSent): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}

/** True once the reader has taken what waits; false when it is gone, or has stood still for too long. */
function drained(out: ServerResponse, stop: AbortController, stalledMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (isDrained: boolean): void => {
      clearTimeout(timer)
      out.off('drain', onDrain)
      stop.signal.removeEventListener('abort', onStop)
      resolve(isDrained)
    }
    const onDrain = (): void => end(true)
    const onStop = (): void => end(!out.destroyed)
    const timer = setTimeout(() => {
      out.destroy()
      end(false)
    }, stalledMs)
    out.on('drain', onDrain)
    stop.signal.addEventListener('abort', onStop)
  })
}
