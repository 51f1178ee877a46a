/**
 * The network between nodes: one listener of ours before each node, where all others dial it, and a rule for each directed
 * pair. The nodes are what they are: they are told the address of their proxy with `--advertise`, and nothing else.
 *
 * Who dials cannot be read from the bytes, since links prove themselves under a seal; the kernel knows it (dialler.ts).
 *
 * What it can do, in either direction alone: hold bytes back (as a network does that drops packets: they come when it heals,
 * the end of a connection too), reset connections, delay, jitter, a rate, loss as the time until TCP sends again. What it
 * cannot: a dial always succeeds as far as TCP is concerned, and ends with a reset where nobody listens behind; and a
 * connection that was held never dies of TCP's own patience. Namespaces (namespaces.ts) have no such limits.
 */
import { createServer, connect } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { Network } from './network.ts'

export interface Rule {
  /** `hold` is a black hole: nothing arrives, and nobody is told. */
  readonly cut: 'none' | 'hold' | 'reset'
  readonly delayMs: number
  readonly jitterMs: number
  readonly bytesPerSecond: number
  /** The share of packets that are lost: as TCP shows it, what they carry and all behind them comes later. */
  readonly loss: number
}

export const clear: Rule = { cut: 'none', delayMs: 0, jitterMs: 0, bytesPerSecond: Infinity, loss: 0 }

/** What an Ethernet packet carries of a TCP stream. */
const packetBytes = 1_448
/** Linux's least time to send again what nothing behind it asked for: TCP_RTO_MIN. */
const sendAgainMs = 200

/** Unsent bytes of one direction from which on its source is not read: a router has no more memory either. */
const mostHeldBytes = 1_048_576

export interface Figures {
  connections: number
  resets: number
  bytes: number
}

export class Proxies implements Network {
  readonly figures: Figures = { connections: 0, resets: 0, bytes: 0 }
  readonly #rules = new Map<string, Rule>()
  readonly #servers: Server[] = []
  readonly #ports: number[] = []
  /** Where nodes listen themselves; nothing while they are down. */
  readonly #targets: (number | undefined)[] = []
  readonly #listenPorts: number[] = []
  readonly #wires = new Set<Wire>()
  readonly #whose: (remotePort: number, localPort: number) => number | undefined
  readonly #chance: () => number

  constructor(whose: (remotePort: number, localPort: number) => number | undefined, chance: () => number) {
    this.#whose = whose
    this.#chance = chance
  }

  /** Opens the listener before a node that will listen on that port. */
  async open(node: number, listenPort: number): Promise<void> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket, node))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', resolve)
    })
    this.#servers[node] = server
    this.#ports[node] = (server.address() as AddressInfo).port
    this.#listenPorts[node] = listenPort
  }

  place(node: number): { readonly listen: string; readonly advertise: string; readonly prefix: readonly string[] } {
    const [port = 0, listenPort = 0] = [this.#ports[node], this.#listenPorts[node]]
    return { listen: `127.0.0.1:${listenPort}`, advertise: `ws://127.0.0.1:${port}`, prefix: [] }
  }

  up(node: number, isUp: boolean): void {
    this.#targets[node] = isUp ? this.#listenPorts[node] : undefined
  }

  rule(from: number, to: number): Rule {
    return this.#rules.get(`${from}>${to}`) ?? clear
  }

  set(from: number, to: number, rule: Rule): void {
    this.#rules.set(`${from}>${to}`, rule)
    for (const wire of this.#wires) {
      if ((wire.from === from && wire.to === to) || (wire.from === to && wire.to === from)) wire.changed()
    }
  }

  heal(): void {
    this.#rules.clear()
    for (const wire of this.#wires) wire.changed()
  }

  async close(): Promise<void> {
    for (const wire of this.#wires) wire.reset()
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))))
  }

  #accept(socket: Socket, to: number): void {
    this.figures.connections++
    const from = this.#whose(socket.remotePort ?? 0, socket.localPort ?? 0)
    // Whoever dialled is gone already.
    if (from === undefined) return broken(socket)
    const wire: Wire = new Wire({
      from,
      to,
      near: socket,
      rule: (back) => (back ? this.rule(to, from) : this.rule(from, to)),
      target: () => this.#targets[to],
      chance: this.#chance,
      figures: this.figures,
      over: () => this.#wires.delete(wire),
    })
    this.#wires.add(wire)
    wire.changed()
  }
}

interface WireOptions {
  readonly from: number
  readonly to: number
  readonly near: Socket
  rule(back: boolean): Rule
  target(): number | undefined
  chance(): number
  readonly figures: Figures
  over(): void
}

/** One connection through a proxy: `from` dialled, `to` is dialled for it once its first packet may arrive. */
class Wire {
  readonly from: number
  readonly to: number
  readonly #options: WireOptions
  readonly #there: Flow
  readonly #back: Flow
  #far: Socket | undefined
  #isOver = false

  constructor(options: WireOptions) {
    this.from = options.from
    this.to = options.to
    this.#options = options
    const flow = (back: boolean): Flow =>
      new Flow(
        () => options.rule(back),
        () => options.chance(),
        options.figures,
        () => this.reset(),
      )
    this.#there = flow(false)
    this.#back = flow(true)
    this.#there.read(options.near)
    this.#back.write(options.near)
  }

  changed(): void {
    if (this.#isOver) return
    const [there, back] = [this.#options.rule(false), this.#options.rule(true)]
    if (there.cut === 'reset' || back.cut === 'reset') {
      this.#options.figures.resets++
      return this.reset()
    }
    if (this.#far === undefined && there.cut === 'none' && back.cut === 'none') {
      const port = this.#options.target()
      if (port === undefined) return this.reset()
      this.#far = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
      this.#back.read(this.#far)
      this.#there.write(this.#far)
    }
    this.#there.changed()
    this.#back.changed()
  }

  reset(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#there.stop()
    this.#back.stop()
    broken(this.#options.near)
    if (this.#far !== undefined) broken(this.#far)
    this.#options.over()
  }
}

/** A socket that is being shut down takes no reset in Node 24: its handle stays open for ever, and the process with it. */
function broken(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

type Piece = { readonly dueMs: number; readonly bytes: Buffer | 'end' | 'broken' }

/** One direction of one connection. */
class Flow {
  readonly #rule: () => Rule
  readonly #chance: () => number
  readonly #figures: Figures
  readonly #broken: () => void
  readonly #pieces: Piece[] = []
  #heldBytes = 0
  #source: Socket | undefined
  #sink: Socket | undefined
  #timer: NodeJS.Timeout | undefined
  /** What was sent first arrives first, whatever the jitter. */
  #lastMs = 0
  #isBlocked = false
  /** When the rate lets the next bytes go. */
  #freeMs = 0
  #isOver = false

  constructor(rule: () => Rule, chance: () => number, figures: Figures, broken: () => void) {
    this.#rule = rule
    this.#chance = chance
    this.#figures = figures
    this.#broken = broken
  }

  read(source: Socket): void {
    this.#source = source
    source.on('data', (bytes: Buffer) => {
      this.#heldBytes += bytes.length
      this.#take(bytes)
      if (this.#heldBytes > mostHeldBytes) source.pause()
    })
    source.on('end', () => this.#take('end'))
    source.on('error', () => this.#take('broken'))
    source.on('close', () => this.#take('broken'))
  }

  write(sink: Socket): void {
    this.#sink = sink
    sink.on('drain', () => {
      this.#isBlocked = false
      this.pump()
    })
  }

  stop(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#pieces.length = 0
  }

  /** Another rate holds for what still waits. */
  changed(): void {
    this.#freeMs = 0
    this.pump()
  }

  pump(): void {
    clearTimeout(this.#timer)
    const sink = this.#sink
    if (sink === undefined || this.#isBlocked) return
    for (;;) {
      const piece = this.#pieces[0]
      if (piece === undefined || this.#rule().cut === 'hold') return
      const waitMs = Math.max(piece.dueMs, this.#freeMs) - performance.now()
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.pump(), waitMs)
        return
      }
      this.#pieces.shift()
      if (piece.bytes === 'broken') return this.#broken()
      if (piece.bytes === 'end') {
        sink.end()
        continue
      }
      this.#heldBytes -= piece.bytes.length
      this.#freeMs = performance.now() + (piece.bytes.length * 1000) / this.#rule().bytesPerSecond
      this.#figures.bytes += piece.bytes.length
      if (this.#source?.isPaused() === true && this.#heldBytes < mostHeldBytes / 2) this.#source.resume()
      if (sink.destroyed) continue
      if (!sink.write(piece.bytes)) {
        this.#isBlocked = true
        return
      }
    }
  }

  #take(bytes: Piece['bytes']): void {
    if (this.#isOver) return
    const { delayMs, jitterMs, loss } = this.#rule()
    const packets = typeof bytes === 'string' ? 1 : Math.ceil(bytes.length / packetBytes)
    const isLost = loss > 0 && this.#chance() > (1 - loss) ** packets
    const onWayMs = delayMs + jitterMs * this.#chance() + (isLost ? sendAgainMs + delayMs : 0)
    const dueMs = Math.max(this.#lastMs, performance.now() + onWayMs)
    this.#lastMs = dueMs
    this.#pieces.push({ dueMs, bytes })
    this.pump()
  }
}
