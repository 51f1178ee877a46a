/** The floor of everything on TCP: a full mesh, each write its length and its bytes to each member. */
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { rawNode } from '../raw.ts'
import type { Mesh } from '../raw.ts'
import type { Place, System } from '../system.ts'

/** Cuts what comes into the messages that were sent. */
function framed(came: (bytes: Buffer) => void): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    let at = 0
    while (rest.length - at >= 4) {
      const length = rest.readUInt32BE(at)
      if (rest.length - at - 4 < length) break
      came(rest.subarray(at + 4, at + 4 + length))
      at += 4 + length
    }
    rest = rest.subarray(at)
  }
}

async function mesh({ index, listen, members }: Place, came: (bytes: Buffer) => void): Promise<Mesh> {
  const sockets = new Set<Socket>()
  const add = (socket: Socket): void => {
    socket.setNoDelay(true)
    socket.on('data', framed(came))
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((socket) => {
    add(socket)
    sockets.add(socket)
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(listen.port, listen.host, resolve))
  for (const { host, port } of members.slice(0, index)) {
    const socket = connect({ host, port })
    add(socket)
    socket.once('connect', () => sockets.add(socket))
  }
  return {
    send(bytes) {
      const head = Buffer.allocUnsafe(4)
      head.writeUInt32BE(bytes.length)
      const whole = Buffer.concat([head, bytes])
      for (const socket of sockets) socket.write(whole)
    },
    links: () => sockets.size,
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

export const system: System = {
  name: 'raw tcp',
  kind: 'floor',
  topology: 'mesh',
  version: `node ${process.versions.node}`,
  says: 'A full mesh of TCP connections: each write is its length and its bytes to each member, kept in a Map.',
  variants: [{ name: '', durability: 'memory', says: 'nothing is kept, nothing is sent twice' }],
  catchesUp: false,
  restarts: false,
  notComparable: ['It replicates nothing: what was missed is lost, and two writes to one key that cross stay apart.'],
  openNode: (place) => rawNode(place, mesh),
}
