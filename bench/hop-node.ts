/**
 * One process of the `hop` suite: a node, and beside it a raw WebSocket mesh among the same processes. Told what to write by
 * its parent, it says how long after the write each message was there.
 */
import { WebSocket, WebSocketServer } from 'ws'
import type { RawData } from 'ws'
import { openNode } from '../src/index.ts'
import type { Durability, SkeinNode } from '../src/index.ts'

export type Order =
  | { readonly kind: 'open'; readonly dir: string; readonly durability: Durability; readonly join: readonly string[] }
  | { readonly kind: 'mesh'; readonly ports: readonly number[] }
  | { readonly kind: 'write'; readonly system: System; readonly size: number }
  | { readonly kind: 'state' }
  | { readonly kind: 'close' }

export type System = 'skein' | 'raw'

export type Answer =
  | { readonly kind: 'opened'; readonly address: string; readonly port: number }
  | { readonly kind: 'state'; readonly links: number; readonly raws: number; readonly sentBytes: number }
  | { readonly kind: 'came'; readonly system: System; readonly microseconds: number }
  | { readonly kind: 'closed' }

const stampBytes = 8

let node: SkeinNode | undefined
let server: WebSocketServer | undefined
const raws: WebSocket[] = []

function say(answer: Answer): void {
  process.send?.(answer)
}

/** All processes of a machine share this clock. */
function nowNs(): bigint {
  return process.hrtime.bigint()
}

function came(system: System, sinceNs: bigint): void {
  const microseconds = Number(nowNs() - sinceNs) / 1000
  // The answer to the parent waits until the message is through, so that it costs neither system anything.
  setImmediate(() => say({ kind: 'came', system, microseconds }))
}

async function watch(of: SkeinNode): Promise<void> {
  const space = of.space('hop')
  for await (const event of space.watch()) {
    if (event.kind !== 'change' || event.local) continue
    const { value } = space.register<{ readonly at: string }>(event.key).get()
    if (value !== undefined) came('skein', BigInt(value.at))
  }
}

function addRaw(socket: WebSocket): void {
  socket.on('message', (data: RawData) => came('raw', (data as Buffer).readBigUInt64BE(0)))
  socket.on('error', () => undefined)
  raws.push(socket)
}

async function open(order: Order & { readonly kind: 'open' }): Promise<void> {
  node = await openNode({
    dir: order.dir,
    durability: order.durability,
    listen: 'ws://127.0.0.1:0',
    join: order.join,
    agent: 'bench',
  })
  void watch(node)
  server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  server.on('connection', addRaw)
  await new Promise((resolve) => server?.once('listening', resolve))
  const [address = ''] = node.status().addresses
  say({ kind: 'opened', address, port: (server.address() as { port: number }).port })
}

function write({ system, size }: Order & { readonly kind: 'write' }): void {
  const at = nowNs()
  if (system === 'skein') {
    node
      ?.space('hop')
      .register('k')
      .set({ at: at.toString(), text: 'x'.repeat(size) })
    return
  }
  const bytes = Buffer.alloc(Math.max(stampBytes, size))
  bytes.writeBigUInt64BE(at, 0)
  for (const socket of raws) socket.send(bytes, { binary: true })
}

async function close(): Promise<void> {
  for (const socket of raws) socket.terminate()
  server?.close()
  await node?.close()
  say({ kind: 'closed' })
  process.disconnect()
}

process.on('message', (order: Order) => {
  switch (order.kind) {
    case 'open':
      return void open(order)
    case 'mesh':
      for (const port of order.ports) {
        addRaw(new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false }))
      }
      return
    case 'write':
      return write(order)
    case 'state': {
      const links = node?.peers.list().filter(({ linked }) => linked).length ?? 0
      const open = raws.filter((socket) => socket.readyState === WebSocket.OPEN).length
      return say({ kind: 'state', links, raws: open, sentBytes: node?.network.traffic.sentBytes ?? 0 })
    }
    case 'close':
      return void close()
  }
})
