/**
 * The floor of whatever keeps what it replicates: a raw WebSocket mesh, the same bytes in LevelDB batches in the same
 * processes, and a log of each writer by which a link that comes back is told how much is there and sends the rest.
 *
 * Writes of one turn go out as one frame; writes that gather while a batch is being committed are the next batch.
 */
import { Level } from 'level'
import { WebSocket, WebSocketServer } from 'ws'
import { versionOf } from '../../machine.ts'
import type { OpenNode, Place, System } from '../system.ts'

/** writer (2), seq (4), clock (4), key length (2), then key and value. */
const headBytes = 12
const frameBytes = 65_536
/** The first byte of a frame: how much is there, entries, and that the answer is whole. */
const kinds = { counts: 0, entries: 1, end: 2 } as const
const redialMs = 100

interface Entry {
  readonly writer: number
  readonly seq: number
  readonly clock: number
  readonly key: string
  readonly value: string
  readonly bytes: Buffer
}

function packed(writer: number, seq: number, clock: number, key: string, value: string): Entry {
  const keyBytes = Buffer.byteLength(key)
  const bytes = Buffer.allocUnsafe(headBytes + keyBytes + Buffer.byteLength(value))
  bytes.writeUInt16BE(writer, 0)
  bytes.writeUInt32BE(seq, 2)
  bytes.writeUInt32BE(clock, 6)
  bytes.writeUInt16BE(keyBytes, 10)
  bytes.write(key, headBytes)
  bytes.write(value, headBytes + keyBytes)
  return { writer, seq, clock, key, value, bytes }
}

function unpacked(bytes: Buffer): Entry {
  const end = headBytes + bytes.readUInt16BE(10)
  return {
    writer: bytes.readUInt16BE(0),
    seq: bytes.readUInt32BE(2),
    clock: bytes.readUInt32BE(6),
    key: bytes.toString('utf8', headBytes, end),
    value: bytes.toString('utf8', end),
    bytes,
  }
}

/** What waits goes into one batch as soon as the one before is through. */
class Batches {
  readonly #level: Level<Buffer, Buffer>
  #waiting: { readonly entry: Entry; readonly done: () => void }[] = []
  #isRunning = false

  constructor(level: Level<Buffer, Buffer>) {
    this.#level = level
  }

  add(entry: Entry): Promise<void> {
    return new Promise((done) => {
      this.#waiting.push({ entry, done })
      if (!this.#isRunning) void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    while (this.#waiting.length > 0) {
      await new Promise((resolve) => setImmediate(resolve))
      const batch = this.#waiting
      this.#waiting = []
      await this.#level.batch(
        batch.map(({ entry: { key, bytes } }) => ({ type: 'put' as const, key: Buffer.from(key), value: bytes })),
      )
      for (const { done } of batch) done()
    }
    this.#isRunning = false
  }
}

async function open({ index, nodes, dir, listen, members }: Place): Promise<OpenNode> {
  const level = new Level<Buffer, Buffer>(dir, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  await level.open()
  const batches = new Batches(level)
  const logs = Array.from({ length: nodes }, () => [] as Entry[])
  const state = new Map<string, Entry>()
  const sockets = new Set<WebSocket>()
  let clock = 0
  let changed: (key: string, value: string) => void = () => undefined
  let outgoing: Buffer[] = []
  let isClosed = false

  const frame = (entries: readonly Buffer[]): Buffer => {
    const parts: Buffer[] = [Buffer.of(kinds.entries)]
    for (const bytes of entries) {
      const length = Buffer.allocUnsafe(4)
      length.writeUInt32BE(bytes.length)
      parts.push(length, bytes)
    }
    return Buffer.concat(parts)
  }
  const flush = (): void => {
    const whole = frame(outgoing)
    outgoing = []
    for (const socket of sockets) socket.send(whole, { binary: true })
  }
  /** The newest by (clock, writer) stays, on every replica alike. */
  const applied = (entry: Entry): Promise<void> => {
    logs[entry.writer]?.push(entry)
    clock = Math.max(clock, entry.clock)
    const old = state.get(entry.key)
    if (old !== undefined && (old.clock > entry.clock || (old.clock === entry.clock && old.writer > entry.writer))) {
      return batches.add(old)
    }
    state.set(entry.key, entry)
    return batches.add(entry)
  }
  const rest = (socket: WebSocket, counts: Buffer): void => {
    let entries: Buffer[] = []
    let size = 0
    const send = (): void => {
      if (entries.length > 0) socket.send(frame(entries), { binary: true })
      entries = []
      size = 0
    }
    for (const [writer, log] of logs.entries()) {
      for (const { bytes } of log.slice(counts.readUInt32BE(1 + 4 * writer))) {
        entries.push(bytes)
        size += bytes.length
        if (size > frameBytes) send()
      }
    }
    send()
    socket.send(Buffer.of(kinds.end), { binary: true })
  }
  /** One link at a time is asked for the rest: what one has sent no other sends again. */
  const unasked: WebSocket[] = []
  let asked: WebSocket | undefined
  const ask = (): void => {
    if (asked !== undefined) return
    do asked = unasked.shift()
    while (asked !== undefined && asked.readyState !== WebSocket.OPEN)
    if (asked === undefined) return
    const counts = Buffer.alloc(1 + 4 * nodes)
    counts[0] = kinds.counts
    for (const [writer, log] of logs.entries()) counts.writeUInt32BE(log.length, 1 + 4 * writer)
    asked.send(counts, { binary: true })
  }
  const answered = (socket: WebSocket): void => {
    if (socket !== asked) return
    asked = undefined
    ask()
  }
  const heard = (socket: WebSocket, bytes: Buffer): void => {
    if (bytes[0] === kinds.counts) return rest(socket, bytes)
    if (bytes[0] === kinds.end) return answered(socket)
    for (let at = 1; at < bytes.length;) {
      const length = bytes.readUInt32BE(at)
      const entry = unpacked(bytes.subarray(at + 4, at + 4 + length))
      at += 4 + length
      // What came twice is known already; what came too early comes again with the rest.
      if (entry.seq !== logs[entry.writer]?.length) continue
      void applied(entry)
      changed(entry.key, entry.value)
    }
  }
  const add = (socket: WebSocket): void => {
    socket.on('message', (bytes: Buffer) => heard(socket, bytes))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      sockets.delete(socket)
      answered(socket)
    })
  }
  const joined = (socket: WebSocket): void => {
    sockets.add(socket)
    unasked.push(socket)
    ask()
  }
  const dial = (host: string, port: number): void => {
    if (isClosed) return
    const socket = new WebSocket(`ws://${host}:${port}`, { perMessageDeflate: false })
    add(socket)
    socket.on('open', () => joined(socket))
    socket.on('close', () => setTimeout(() => dial(host, port), redialMs))
  }
  const server = new WebSocketServer({ ...listen, perMessageDeflate: false })
  server.on('connection', (socket) => {
    add(socket)
    joined(socket)
  })
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject))
  for (const { host, port } of members.slice(0, index)) dial(host, port)

  return {
    write(key, value) {
      const entry = packed(index, logs[index]?.length ?? 0, clock + 1, key, value)
      if (outgoing.push(entry.bytes) === 1) setImmediate(flush)
      return applied(entry)
    },
    read: (key) => state.get(key)?.value,
    count: () => state.size,
    onChange(listener) {
      changed = listener
    },
    ready: () => sockets.size === nodes - 1,
    async close() {
      isClosed = true
      for (const socket of sockets) socket.terminate()
      server.close()
      await level.close()
    },
  }
}

export const system: System = {
  name: 'raw ws + leveldb',
  kind: 'floor',
  topology: 'mesh',
  version: `ws ${versionOf('ws')}, level ${versionOf('level')}`,
  says: 'A full mesh of WebSockets, each entry also in a LevelDB batch; a link that comes back is sent the rest of each log.',
  variants: [{ name: '', durability: 'os', says: 'a write is acknowledged when its batch is with the system' }],
  catchesUp: true,
  restarts: false,
  notComparable: [
    'It keeps all logs in memory for ever, knows its members beforehand, and reads nothing back after a restart: a floor, no system.',
  ],
  openNode: open,
}
