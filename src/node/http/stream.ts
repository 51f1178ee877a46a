/**
 * The stream: one WebSocket for operations and watches, for clients that ask much (docs/STREAM.md is its contract). A frame
 * is a JSON array of messages, in both directions; whatever has gathered goes in one. Requests carry ids, may be sent
 * without waiting, and begin in the order in which they came; answers come as they are ready.
 *
 * Nobody is let grow without bound: a client that asks faster than it is answered, or reads slower, is not read from until
 * it catches up; its watches wait meanwhile, and what the node's bounded queue drops is told by a `gap`.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { RawData, WebSocket } from 'ws'
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Caller } from '../security/caller.ts'
import { calls } from './calls.ts'
import type { Ask } from './calls.ts'
import type { EventStreams, EventTiming } from './events.ts'
import { problemOf } from './problem.ts'
import type { Service } from './service.ts'
import type { Session, Sessions } from './sessions.ts'

/** What a client may offer as its subprotocol; one that offers none gets the same. */
export const streamProtocol = 'skein.1'

/** Of RFC 6455: the server goes away; a message was not as it must be; the caller may not, or no longer, be here. */
const goingAway = 1001
const notUnderstood = 1007
const notAllowed = 1008

export class Streams {
  readonly #service: Service
  readonly #sessions: Sessions
  readonly #places: EventStreams
  readonly #timing: EventTiming
  readonly #report: (error: unknown) => void
  readonly #server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.streamMessageBytes,
    handleProtocols: (offered) => (offered.has(streamProtocol) ? streamProtocol : false),
  })
  readonly #open = new Set<Connection>()

  /** `report` is told of what nobody foresaw. */
  constructor(
    service: Service,
    sessions: Sessions,
    places: EventStreams,
    timing: EventTiming,
    report: (error: unknown) => void,
  ) {
    this.#service = service
    this.#sessions = sessions
    this.#report = report
    this.#places = places
    this.#timing = timing
  }

  /** `admit` says who the caller is, again and again: a token may be revoked while its stream is open. It throws. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, admit: (requests: number) => Caller): void {
    try {
      admit(1)
      const release = this.#places.take()
      socket.once('close', release)
    } catch (error) {
      refuse(socket, error)
      return
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      const connection = new Connection(this.#service, this.#sessions, webSocket, admit, this.#timing, this.#report)
      this.#open.add(connection)
      webSocket.on('close', () => this.#open.delete(connection))
    })
  }

  /** Tells every client, answers what it has asked within that time, and closes. */
  async close(graceMs: number): Promise<void> {
    await Promise.all([...this.#open].map((connection) => connection.close(graceMs)))
  }
}

class Connection {
  readonly #service: Service
  readonly #socket: WebSocket
  readonly #admit: (requests: number) => Caller
  readonly #timing: EventTiming
  readonly #report: (error: unknown) => void
  /** Messages that go with the next frame. */
  #out: string[] = []
  /** Requests that came and have not begun. */
  #waiting: unknown[] = []
  #underWay = 0
  #isBeginning = false
  readonly #sessions: Sessions
  #session: Session | undefined = undefined
  /** As of its last frame. */
  #caller: Caller | undefined = undefined
  readonly #watches = new Map<number, AbortController>()
  #isPaused = false
  #isAlive = true
  #isClosing = false
  #isOver = false
  #drained: PromiseWithResolvers<void> | undefined = undefined
  #stalled: NodeJS.Timeout | undefined = undefined
  #idle: (() => void) | undefined = undefined
  readonly #heartbeat: NodeJS.Timeout

  constructor(
    service: Service,
    sessions: Sessions,
    socket: WebSocket,
    admit: (requests: number) => Caller,
    timing: EventTiming,
    report: (error: unknown) => void,
  ) {
    this.#service = service
    this.#sessions = sessions
    this.#socket = socket
    this.#admit = admit
    this.#report = report
    this.#timing = timing
    socket.on('message', (data, isBinary) => this.#received(data, isBinary))
    socket.on('pong', () => (this.#isAlive = true))
    // What is wrong with its frames, `ws` has told the client by then.
    socket.on('error', () => undefined)
    socket.on('close', () => this.#over())
    this.#heartbeat = setInterval(() => this.#beat(), timing.heartbeatMs)
    // It is the socket that holds the process, where anything does.
    this.#heartbeat.unref()
    this.#send({ hello: { node: service.node.id, protocol: streamProtocol } })
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosing = true
    this.#waiting = []
    for (const watch of this.#watches.values()) watch.abort()
    this.#drained?.resolve()
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve
      this.#tellIdle()
    })
    const late = new Promise<void>((resolve) => setTimeout(resolve, graceMs).unref())
    await Promise.race([idle, late])
    this.#send({ bye: 'closing' })
    this.#flush()
    await new Promise<void>((resolve) => {
      const late = setTimeout(() => this.#socket.terminate(), graceMs)
      this.#socket.once('close', () => {
        clearTimeout(late)
        resolve()
      })
      if (this.#isOver) {
        clearTimeout(late)
        resolve()
      } else this.#socket.close(goingAway, 'closing')
    })
  }

  #received(data: RawData, isBinary: boolean): void {
    if (this.#isClosing || this.#isOver) return
    const messages = isBinary ? undefined : parsed(data)
    if (messages === undefined) {
      this.#socket.close(notUnderstood, 'a frame is text: a JSON array of messages')
      return
    }
    try {
      this.#caller = this.#admit(messages.length)
    } catch (error) {
      if (error instanceof SkeinError && error.code === 'rate_limited') this.#refuseAll(messages, error)
      else this.#socket.close(notAllowed, problemOf(error).code)
      return
    }
    if (this.#waiting.length > 0) this.#waiting.push(...messages)
    else this.#waiting = messages
    this.#begin()
  }

  /** Begins what has come, as far as the bounds allow. What is answered at once comes by here again: not into the loop. */
  #begin(): void {
    if (this.#isBeginning || this.#caller === undefined) return
    this.#isBeginning = true
    let at = 0
    while (at < this.#waiting.length && this.#underWay < limits.streamRequests && !this.#isFull) {
      if (!this.#ask(this.#caller, this.#waiting[at++])) return
    }
    this.#waiting = at === this.#waiting.length ? [] : this.#waiting.slice(at)
    this.#isBeginning = false
    this.#breathe()
  }

  #refuseAll(messages: readonly unknown[], error: SkeinError): void {
    const problem = problemOf(error)
    for (const message of messages) {
      const id = idOf(message)
      if (id !== undefined) this.#send({ id, problem })
    }
  }

  /** False when the connection is at its end. */
  #ask(caller: Caller, message: unknown): boolean {
    const id = idOf(message)
    if (id === undefined) {
      this.#socket.close(notUnderstood, 'a message is an object with a whole number as its id')
      return false
    }
    this.#underWay++
    try {
      const answer = this.#answer(caller, id, message as Ask)
      if (answer instanceof Promise) {
        answer.then(
          (ok) => this.#answered(`{"id":${id},"ok":${JSON.stringify(ok)}}`),
          (error: unknown) => this.#failed(id, error),
        )
      } else this.#answered(`{"id":${id},"ok":${JSON.stringify(answer)}}`)
    } catch (error) {
      this.#failed(id, error)
    }
    return true
  }

  #answer(caller: Caller, id: number, ask: Ask): unknown {
    if (ask.do === 'session') return this.#open(caller, ask)
    if (ask.do === 'watch') return this.#watch(caller, id, ask)
    if (ask.do === 'watchConflicts') return this.#watchConflicts(caller, id, ask)
    if (ask.do === 'unwatch') return this.#unwatch(ask)
    // Only what is a string is looked up: anything else would be made one first, however large it is.
    const call = typeof ask.do === 'string' && Object.hasOwn(calls, ask.do) ? calls[ask.do] : undefined
    if (call === undefined) {
      const known = [...Object.keys(calls), 'session', 'watch', 'watchConflicts', 'unwatch']
      throw new SkeinError('invalid_argument', `do is one of ${known.join(', ')}`, { argument: 'do' })
    }
    return call.run(this.#service, caller, call.check(ask), this.#session)
  }

  /** Names the session of the writes that follow, and says up to which of them the client has its answers. */
  #open(caller: Caller, { session, confirmed = 0 }: Ask): { readonly kept: number } {
    if (typeof session !== 'string' || typeof confirmed !== 'number' || !Number.isSafeInteger(confirmed)) {
      throw new SkeinError('invalid_argument', 'session takes a session and up to which number it is confirmed')
    }
    if (this.#session?.name !== `${caller.id}/${session}`) {
      const opened = this.#sessions.open(caller.id, session)
      if (this.#session !== undefined) this.#sessions.leave(this.#session)
      this.#session = opened
    }
    this.#session.confirm(confirmed)
    return { kept: this.#session.size }
  }

  #failed(id: number, error: unknown): void {
    if (!(error instanceof SkeinError)) this.#report(error)
    this.#answered(`{"id":${id},"problem":${JSON.stringify(problemOf(error))}}`)
  }

  #answered(text: string): void {
    this.#underWay--
    this.#push(text)
    if (this.#waiting.length > 0) this.#begin()
    else if (this.#isPaused) this.#breathe()
    this.#tellIdle()
  }

  #watch(caller: Caller, id: number, ask: Ask): { readonly watching: true; readonly token?: string } {
    const { space, prefix, key, since, presence } = watchArguments(ask)
    if (presence) {
      this.#begun(id, (signal) => this.#service.watchPresence(caller, space, signal))
      return { watching: true }
    }
    const { token } = this.#begun(id, (signal) => this.#service.watch(caller, space, { prefix, key, since, signal }))
    return { watching: true, token }
  }

  #watchConflicts(caller: Caller, id: number, ask: Ask): { readonly watching: true } {
    const { id: _id, do: _do, space, ...others } = ask
    const [unknown] = Object.keys(others)
    if (unknown !== undefined) {
      throw new SkeinError('invalid_argument', `watchConflicts takes no ${unknown}`, { argument: unknown })
    }
    if (space !== undefined && typeof space !== 'string') {
      throw new SkeinError('invalid_argument', 'space is a string', { argument: 'space' })
    }
    this.#begun(id, (signal) => this.#service.conflicts.watch(caller, space, signal))
    return { watching: true }
  }

  #begun<Events extends AsyncIterable<unknown>>(id: number, open: (signal: AbortSignal) => Events): Events {
    if (this.#watches.size >= limits.streamWatches) {
      throw new SkeinError('rate_limited', `a stream has at most ${limits.streamWatches} watches`)
    }
    if (this.#watches.has(id)) throw new SkeinError('invalid_argument', `watch ${id} is open`, { argument: 'id' })
    const stop = new AbortController()
    const events = open(stop.signal)
    this.#watches.set(id, stop)
    void this.#forward(id, events, stop)
    return events
  }

  #unwatch({ watch }: Ask): { readonly watching: false } {
    if (typeof watch !== 'number') throw new SkeinError('invalid_argument', 'watch is the id of a watch')
    this.#watches.get(watch)?.abort()
    return { watching: false }
  }

  async #forward(id: number, events: AsyncIterable<unknown>, stop: AbortController): Promise<void> {
    let end: unknown
    try {
      for await (const event of events) {
        // It was asked to stop: what is still queued is nobody's any more.
        if (stop.signal.aborted && !this.#isClosing) break
        this.#push(`{"watch":${id},"event":${JSON.stringify(event)}}`)
        if (this.#isFull && !this.#isClosing) await this.#whenDrained()
        if (this.#isOver) return
      }
      end = { watch: id, end: this.#isClosing ? 'closing' : 'over' }
    } catch (error) {
      end = { watch: id, end: 'failed', problem: problemOf(error) }
    } finally {
      stop.abort()
      this.#watches.delete(id)
    }
    this.#send(end)
    this.#tellIdle()
  }

  #tellIdle(): void {
    if (this.#isOver || (this.#underWay === 0 && this.#watches.size === 0)) this.#idle?.()
  }

  // Writing, and not writing.

  #send(message: unknown): void {
    this.#push(JSON.stringify(message))
  }

  #push(text: string): void {
    if (this.#isOver) return
    if (this.#out.length === 0) setImmediate(() => this.#flush())
    this.#out.push(text)
  }

  #flush(): void {
    if (this.#out.length === 0 || this.#isOver) return
    const frame = `[${this.#out.join(',')}]`
    this.#out = []
    this.#socket.send(frame, () => this.#sent())
  }

  get #isFull(): boolean {
    return this.#socket.bufferedAmount > limits.streamBufferBytes
  }

  #sent(): void {
    if (this.#isFull) return
    clearTimeout(this.#stalled)
    this.#stalled = undefined
    this.#drained?.resolve()
    this.#drained = undefined
    if (this.#waiting.length > 0) this.#begin()
    else if (this.#isPaused) this.#breathe()
  }

  #whenDrained(): Promise<void> {
    this.#waitForReader()
    return (this.#drained ??= Promise.withResolvers<void>()).promise
  }

  /** A reader who takes nothing at all for long is cut off. */
  #waitForReader(): void {
    this.#stalled ??= setTimeout(() => this.#socket.terminate(), this.#timing.stalledMs)
  }

  /** Reads from the socket only while there is room for what comes. */
  #breathe(): void {
    if (this.#isOver) return
    const isFull = this.#isFull
    if (isFull) this.#waitForReader()
    const shouldPause = isFull || this.#waiting.length > 0 || this.#underWay >= limits.streamRequests
    if (shouldPause === this.#isPaused) return
    this.#isPaused = shouldPause
    if (shouldPause) this.#socket.pause()
    else this.#socket.resume()
  }

  #beat(): void {
    // While its socket is not read, its pongs are not heard either; the other bounds hold meanwhile.
    if (!this.#isAlive && !this.#isPaused) {
      this.#socket.terminate()
      return
    }
    try {
      this.#admit(0)
    } catch (error) {
      this.#socket.close(notAllowed, problemOf(error).code)
      return
    }
    this.#isAlive = false
    this.#socket.ping()
  }

  #over(): void {
    this.#isOver = true
    if (this.#session !== undefined) this.#sessions.leave(this.#session)
    clearInterval(this.#heartbeat)
    clearTimeout(this.#stalled)
    for (const watch of this.#watches.values()) watch.abort()
    this.#drained?.resolve()
    this.#waiting = []
    this.#out = []
    this.#tellIdle()
  }
}

function parsed(data: RawData): unknown[] | undefined {
  try {
    const messages: unknown = JSON.parse((data as Buffer).toString())
    return Array.isArray(messages) ? messages : undefined
  } catch {
    return undefined
  }
}

function idOf(message: unknown): number | undefined {
  if (typeof message !== 'object' || message === null || !('id' in message)) return undefined
  const { id } = message
  return typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 ? id : undefined
}

function watchArguments(ask: Ask): {
  readonly space: string
  readonly prefix: string | undefined
  readonly key: string | undefined
  readonly since: string | undefined
  /** Agents that come and go, rather than entries. */
  readonly presence: boolean
} {
  const { id: _id, do: _do, space, prefix, key, since, presence = false, ...others } = ask
  const [unknown] = Object.keys(others)
  if (unknown !== undefined)
    throw new SkeinError('invalid_argument', `watch takes no ${unknown}`, { argument: unknown })
  const text = (value: unknown, name: string): string | undefined => {
    if (value === undefined || typeof value === 'string') return value
    throw new SkeinError('invalid_argument', `${name} is a string`, { argument: name })
  }
  const named = text(space, 'space')
  if (named === undefined) throw new SkeinError('invalid_argument', 'space is missing', { argument: 'space' })
  const [under, one] = [text(prefix, 'prefix'), text(key, 'key')]
  if (under !== undefined && one !== undefined) {
    throw new SkeinError('invalid_argument', 'prefix and key exclude each other', { argument: 'key' })
  }
  const isOfEntries = under !== undefined || one !== undefined || since !== undefined
  if (typeof presence !== 'boolean' || (presence && isOfEntries)) {
    throw new SkeinError('invalid_argument', 'presence is true, and excludes the others', { argument: 'presence' })
  }
  return { space: named, prefix: under, key: one, since: text(since, 'since'), presence }
}

/** Before the upgrade it is still HTTP. */
export function refuse(socket: Duplex, error: unknown): void {
  const problem = problemOf(error)
  const body = JSON.stringify(problem)
  socket.on('error', () => undefined)
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${problem.code}`,
      'content-type: application/problem+json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  )
}
