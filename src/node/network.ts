/**
 * The driver of the machine: it feeds it what happens (messages, links, time, batches on disk, pages of rows) and obeys
 * what comes out, in that order. It decides nothing.
 */
import { SkeinError } from '../base/errors.ts'
import type { Row } from '../base/rows.ts'
import { spaceRange, table } from '../replica/row-keys.ts'
import type { Store, StoreSnapshot } from '../store/store.ts'
import type { Connection, ConnectionHandlers, Transport } from '../transport/transport.ts'
import type { NodeId } from '../wire/frame.ts'
import type { LinkId, LinkOutput } from './links.ts'
import type { Input, Machine, MachineEvent, Output } from './machine.ts'

export type Fault = LinkOutput & { readonly kind: 'fault' }

export interface NetworkHost {
  readonly machine: Machine
  readonly store: Store
  readonly transports: readonly Transport[]
  now(): number
  /** Sixteen hexadecimal digits from the system's chance. */
  fresh(): string
  /** Something waits for the disk. */
  persist(): void
  event(event: MachineEvent): void
  fault(fault: Fault): void
  /** The machine cannot go on: nothing that it holds is to be believed. */
  broken(error: unknown): void
  /** How long a step of the machine took; measured where somebody asks. */
  readonly stepped?: (seconds: number) => void
  /** By how much the event loop was late, each time that is measured. */
  late?(lagMs: number): void
  /** For whoever reads the log: a link could not be made, or ended badly. */
  linkFailed(address: string, error: SkeinError): void
}

/** Bytes that went over links since the start. */
export interface Traffic {
  sentBytes: number
  receivedBytes: number
  sentMessages: number
  receivedMessages: number
}

interface Scan {
  readonly snapshot: StoreSnapshot
  readonly pages: AsyncIterator<readonly Row[]>
  /** The page after the one that was handed out, so that the last is known as such. */
  next: Promise<IteratorResult<readonly Row[]>>
}

/** How often the event loop's lateness is measured, and from when on the machine hears of it. */
const lagEveryMs = 500
const lagFromMs = 100
const timerMostMs = 2 ** 31 - 1

export class Network {
  readonly traffic: Traffic = { sentBytes: 0, receivedBytes: 0, sentMessages: 0, receivedMessages: 0 }
  readonly #host: NetworkHost
  readonly #machine: Machine
  readonly #connections = new Map<LinkId, Connection>()
  /** Dials that are under way. */
  readonly #dialling = new Map<LinkId, AbortController>()
  readonly #scans = new Map<number, Scan>()
  /** Links over which something was sent in this step and nothing waits. */
  readonly #drained = new Set<LinkId>()
  /** Outputs of steps that were taken while outputs were being obeyed. */
  readonly #queue: Output[] = []
  #nextIncoming = 1
  #obeying = false
  #stepPlanned = false
  /** When something last left ahead of its step. */
  #leftMs = 0
  #isTidying = false
  #persists = false
  #timer: NodeJS.Timeout | undefined
  #timerAt = Infinity
  #lagTimer: NodeJS.Timeout | undefined
  #state: 'idle' | 'running' | 'stopped' = 'idle'

  constructor(host: NetworkHost) {
    this.#host = host
    this.#machine = host.machine
  }

  /** Begins to dial. */
  start(): void {
    this.#state = 'running'
    this.feed({ kind: 'timer' })
    this.#watchLag()
  }

  /** Somebody has dialled this node. */
  accept(connection: Connection): ConnectionHandlers {
    if (this.#state !== 'running') return refuse(connection)
    const link = 2 * this.#nextIncoming++ - 1
    return this.#opened(link, connection, false)
  }

  /** Says goodbye, and closes all links. */
  async stop(): Promise<void> {
    if (this.#state === 'running') this.feed({ kind: 'leave' })
    this.#state = 'stopped'
    clearTimeout(this.#timer)
    clearInterval(this.#lagTimer)
    for (const dial of this.#dialling.values()) dial.abort()
    for (const connection of this.#connections.values()) connection.close()
    this.#connections.clear()
    for (const scan of this.#scans.keys()) this.#endScan(scan)
    await Promise.all(this.#host.transports.map((transport) => transport.close()))
  }

  /** The replica was written to: what that means for others is looked at before anything else happens. */
  wrote(): void {
    if (this.#stepPlanned) return
    this.#stepPlanned = true
    queueMicrotask(() => {
      this.#stepPlanned = false
      this.feed({ kind: 'local' })
    })
  }

  /**
   * Something was written, and this is what peers are to have of it: it leaves before anything else happens here. Of what
   * follows within the same millisecond it is sent with the rest of its turn.
   */
  leave(outputs: readonly LinkOutput[], nowMs: number): void {
    const isFirst = nowMs !== this.#leftMs
    this.#leftMs = nowMs
    for (const output of outputs) {
      if (output.kind === 'send') this.#send(output.link, output.bytes, isFirst)
      else this.#obey(output)
    }
  }

  feed(input: Input): void {
    if (this.#state === 'stopped') return
    this.take(() => this.#machine.handle(input, this.#host.now()))
  }

  /** Takes a step of the machine and obeys what comes out of it. */
  take(step: () => readonly Output[]): void {
    if (this.#state === 'stopped') return
    const { stepped } = this.#host
    const startedMs = stepped === undefined ? 0 : performance.now()
    try {
      const outputs = step()
      stepped?.((performance.now() - startedMs) / 1000)
      if (outputs.length > 0) this.#queue.push(...outputs)
    } catch (error) {
      return this.#host.broken(error)
    }
    if (this.#obeying) return
    this.#obeying = true
    try {
      this.#obeyAll()
    } finally {
      this.#obeying = false
    }
    this.#tidySoon()
  }

  /** What nobody waits for comes after those who were told of something: they run before this does. */
  #tidySoon(): void {
    if (this.#isTidying) return
    this.#isTidying = true
    queueMicrotask(() => {
      this.#isTidying = false
      if (this.#persists) this.#host.persist()
      this.#persists = false
      this.#planTimer()
    })
  }

  #obeyAll(): void {
    do {
      for (let at = 0; at < this.#queue.length; at++) this.#obey(this.#queue[at] as Output)
      this.#queue.length = 0
      // What the transport took without complaint has left, as far as queues are concerned.
      for (const link of this.#drained) {
        this.#drained.delete(link)
        this.feed({ kind: 'drained', link })
      }
    } while (this.#queue.length > 0)
  }

  #obey(output: Output): void {
    switch (output.kind) {
      case 'send':
        return this.#send(output.link, output.bytes)
      case 'persist':
        this.#persists = true
        return
      case 'dial':
        return this.#dial(output.link, output.address)
      case 'close': {
        this.#dialling.get(output.link)?.abort()
        this.#dialling.delete(output.link)
        const connection = this.#connections.get(output.link)
        this.#connections.delete(output.link)
        this.#drained.delete(output.link)
        return connection?.close()
      }
      case 'scan':
        return this.#startScan(output.scan, output.space)
      case 'more':
        return void this.#page(output.scan)
      case 'end-scan':
        return this.#endScan(output.scan)
      case 'renew': {
        const incarnation = this.#host.fresh()
        return queueMicrotask(() => this.feed({ kind: 'incarnation', incarnation }))
      }
      case 'event':
        return this.#host.event(output.event)
      case 'fault':
        return this.#host.fault(output)
    }
  }

  // Links.

  #send(link: LinkId, bytes: Uint8Array, isUrgent: boolean = false): void {
    const connection = this.#connections.get(link)
    if (connection === undefined) return
    this.traffic.sentBytes += bytes.length
    this.traffic.sentMessages++
    if (connection.send(bytes, isUrgent)) this.#drained.add(link)
    else this.#drained.delete(link)
  }

  #opened(link: LinkId, connection: Connection, outgoing: boolean): ConnectionHandlers {
    this.#connections.set(link, connection)
    this.feed({ kind: 'opened', link, outgoing, node: connection.node as NodeId | undefined })
    return {
      message: (bytes) => {
        if (this.#connections.get(link) !== connection) return
        this.traffic.receivedBytes += bytes.length
        this.traffic.receivedMessages++
        this.feed({ kind: 'message', link, bytes })
      },
      drained: () => {
        if (this.#connections.get(link) === connection) this.feed({ kind: 'drained', link })
      },
      closed: (error) => {
        if (this.#connections.get(link) !== connection) return
        this.#connections.delete(link)
        if (error !== undefined) this.#host.linkFailed('', error)
        this.feed({ kind: 'closed', link })
      },
    }
  }

  #dial(link: LinkId, address: string): void {
    const transport = this.#host.transports.find((one) => one.supports(address))
    const dialling = new AbortController()
    this.#dialling.set(link, dialling)
    const dialled =
      transport === undefined
        ? Promise.reject(new SkeinError('invalid_argument', `no transport here dials ${address}`, { address }))
        : transport.dial(address, (connection) => this.#opened(link, connection, true), dialling.signal)
    dialled
      .catch((error: unknown) => {
        if (this.#dialling.get(link) !== dialling) return
        const why =
          error instanceof SkeinError
            ? error
            : new SkeinError('peer_unreachable', `${address} failed`, { address }, error)
        this.#host.linkFailed(address, why)
        this.feed({ kind: 'closed', link })
      })
      .finally(() => {
        if (this.#dialling.get(link) === dialling) this.#dialling.delete(link)
      })
  }

  // Scans.

  #startScan(scan: number, space: number): void {
    try {
      const snapshot = this.#host.store.snapshot()
      const pages = snapshot.range(spaceRange(table.entry, space))[Symbol.asyncIterator]()
      this.#scans.set(scan, { snapshot, pages, next: pages.next() })
      this.#scans.get(scan)?.next.catch(() => undefined)
    } catch (error) {
      this.#scanFailed(scan, error)
    }
  }

  async #page(number: number): Promise<void> {
    const scan = this.#scans.get(number)
    if (scan === undefined) return
    try {
      const page = await scan.next
      if (this.#scans.get(number) !== scan) return
      const rows = page.done === true ? [] : page.value
      let isLast = page.done === true
      if (!isLast) {
        scan.next = scan.pages.next()
        isLast = (await scan.next).done === true
        if (this.#scans.get(number) !== scan) return
      }
      this.feed({ kind: 'page', scan: number, rows, done: isLast, snapshot: scan.snapshot })
    } catch (error) {
      if (this.#scans.get(number) === scan) this.#scanFailed(number, error)
    }
  }

  #scanFailed(scan: number, error: unknown): void {
    if (!(error instanceof SkeinError)) return this.#host.broken(error)
    this.#endScan(scan)
    const why = error.message
    queueMicrotask(() => this.feed({ kind: 'page-failed', scan, why }))
  }

  #endScan(number: number): void {
    const scan = this.#scans.get(number)
    if (scan === undefined) return
    this.#scans.delete(number)
    // A page that is being read needs the snapshot to its end.
    const end = (): void => scan.snapshot[Symbol.dispose]()
    scan.next.then(() => scan.pages.return?.()).then(end, end)
  }

  // Time.

  #planTimer(): void {
    const { wakeAt } = this.#machine
    if (wakeAt >= this.#timerAt || this.#state !== 'running') return
    clearTimeout(this.#timer)
    this.#timerAt = wakeAt
    const waitMs = Math.min(Math.max(wakeAt - this.#host.now(), 0), timerMostMs)
    this.#timer = setTimeout(() => {
      this.#timerAt = Infinity
      // Also when it seems too early: the clock may have been set back, and only the machine knows by how much.
      this.feed({ kind: 'timer' })
    }, waitMs)
    this.#timer.unref()
  }

  /** The machine widens its own time-outs when this process is the one that is late. */
  #watchLag(): void {
    let dueMs = performance.now() + lagEveryMs
    this.#lagTimer = setInterval(() => {
      const nowMs = performance.now()
      const lagMs = Math.max(0, Math.round(nowMs - dueMs))
      dueMs = nowMs + lagEveryMs
      this.#host.late?.(lagMs)
      if (lagMs >= lagFromMs) this.feed({ kind: 'lag', lagMs })
    }, lagEveryMs)
    this.#lagTimer.unref()
  }
}

/** Not yet, or not any more: it will dial again. */
export function refuse(connection: Connection): ConnectionHandlers {
  connection.close()
  return { message: () => undefined, drained: () => undefined, closed: () => undefined }
}
