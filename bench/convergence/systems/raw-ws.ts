/** The floor of everything that talks WebSocket: a full mesh, each write one message to each member. */
import { WebSocket, WebSocketServer } from 'ws'
import { versionOf } from '../../machine.ts'
import { rawNode } from '../raw.ts'
import type { Mesh } from '../raw.ts'
import type { Place, System } from '../system.ts'

async function mesh({ index, listen, members }: Place, came: (bytes: Buffer) => void): Promise<Mesh> {
  const sockets = new Set<WebSocket>()
  const add = (socket: WebSocket): void => {
    socket.on('message', (bytes: Buffer) => came(bytes))
    socket.on('error', () => undefined)
    socket.on('open', () => sockets.add(socket))
    socket.on('close', () => sockets.delete(socket))
  }
  const server = new WebSocketServer({ ...listen, perMessageDeflate: false })
  server.on('connection', (socket) => {
    add(socket)
    sockets.add(socket)
  })
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject))
  for (const { host, port } of members.slice(0, index)) {
    add(new WebSocket(`ws://${host}:${port}`, { perMessageDeflate: false }))
  }
  return {
    send(bytes) {
      for (const socket of sockets) socket.send(bytes, { binary: true })
    },
    links: () => sockets.size,
    close() {
      for (const socket of sockets) socket.terminate()
      server.close()
    },
  }
}

export const system: System = {
  name: 'raw ws',
  kind: 'floor',
  topology: 'mesh',
  version: `ws ${versionOf('ws')}`,
  says: 'A full mesh of WebSockets: each write is one message to each member, kept in a Map.',
  variants: [{ name: '', durability: 'memory', says: 'nothing is kept, nothing is sent twice' }],
  catchesUp: false,
  restarts: false,
  notComparable: ['It replicates nothing: what was missed is lost, and two writes to one key that cross stay apart.'],
  openNode: (place) => rawNode(place, mesh),
}
