/** What tests of WebSocket links share: a way in between that freezes, and a client that sends what it likes. */
import { randomBytes } from 'node:crypto'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { parseWsAddress } from './address.ts'
import type { Certified } from './certificates.test-kit.ts'
import type { FreezableWay } from './transport.suite.ts'

/** `pass` may change what goes from the one who dials to the one who listens, as pieces that are sent apart. */
export async function openFreezableWay(
  address: string,
  pass: (bytes: Buffer) => readonly Buffer[] = (bytes) => [bytes],
): Promise<FreezableWay & { close(): Promise<void> }> {
  const { host, port, secure } = parseWsAddress(address)
  const sockets = new Set<Socket>()
  let isFrozen = false
  const server = createServer((near) => {
    const far = connect({ host, port })
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('data', (bytes: Buffer) => {
        if (isFrozen) return
        const pieces = from === near ? pass(bytes) : [bytes]
        for (const piece of pieces) if (!to.write(piece)) from.pause()
      })
      to.on('drain', () => {
        if (!isFrozen) from.resume()
      })
      from.on('error', () => undefined)
      from.on('close', () => {
        sockets.delete(from)
        if (!isFrozen) to.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `${secure ? 'wss' : 'ws'}://127.0.0.1:${(server.address() as { port: number }).port}`,
    freeze: () => {
      isFrozen = true
      for (const socket of sockets) socket.pause()
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A man in the middle whose certificate is good: he ends TLS on both sides and passes all on. */
export async function openTlsRelay(
  address: string,
  tls: Certified & { readonly ca: string },
): Promise<{ readonly address: string; close(): Promise<void> }> {
  const { host, port } = parseWsAddress(address)
  const sockets = new Set<Socket>()
  const server = createTlsServer(tls, (near) => {
    const far = connectTls({ host, port, ca: tls.ca })
    near.pipe(far)
    far.pipe(near)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `wss://127.0.0.1:${(server.address() as { port: number }).port}`,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A socket on which a WebSocket was asked for and granted. */
export async function rawClient(address: string, headers: Readonly<Record<string, string>> = {}): Promise<Socket> {
  const { host, port } = parseWsAddress(address)
  const socket = connect({ host, port })
  socket.on('error', () => undefined)
  const all = {
    Host: host,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    'Sec-WebSocket-Protocol': 'skein.1',
    ...headers,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`GET / HTTP/1.1\r\n${lines.join('')}\r\n`)
  await new Promise<void>((resolve, reject) => {
    socket.once('data', () => resolve())
    socket.once('close', () => reject(new Error('it closed the connection')))
  })
  return socket
}

/** Bytes on a WebSocket that are no message of ours, as a client sends them. */
export const garbage: readonly (readonly [title: string, bytes: readonly number[]])[] = [
  ['noise', Array.from({ length: 64 }, (_, at) => (at * 73 + 0x55) & 255)],
  ['a reserved kind of frame', [0x83, 0x80, 0, 0, 0, 0]],
  ['a frame that claims 2^62 bytes', [0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ['a frame that claims more than the limit', [0x82, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0]],
  ['a frame without a mask', [0x82, 0x01, 0x00]],
  ['a compressed frame', [0xc2, 0x80, 0, 0, 0, 0]],
  ['a text', [0x81, 0x81, 0, 0, 0, 0, 0x61]],
  [
    'a message in parts without end',
    Array.from({ length: 200 }, (_, at) => [at === 0 ? 2 : 0, 0x81, 0, 0, 0, 0, 1]).flat(),
  ],
  ['a message that starts amid another', [0x02, 0x81, 0, 0, 0, 0, 1, 0x82, 0x81, 0, 0, 0, 0, 1]],
  ['a close frame with a broken code', [0x88, 0x82, 0, 0, 0, 0, 0, 1]],
]
