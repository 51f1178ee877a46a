/**
 * Bytes on the sockets of this process, whoever opened them: TCP's payload, with WebSocket's frames and everybody's own
 * handshakes, without the headers of TCP and IP. Must be imported before anything that opens a socket.
 */
import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import type { Wire } from './control.ts'

const open = new Set<Socket>()
const over = { sentBytes: 0, receivedBytes: 0 }

function add(message: unknown): void {
  const { socket } = message as { readonly socket: Socket }
  if (open.has(socket)) return
  open.add(socket)
  socket.once('close', () => {
    open.delete(socket)
    over.sentBytes += socket.bytesWritten
    over.receivedBytes += socket.bytesRead
  })
}

subscribe('net.client.socket', add)
subscribe('net.server.socket', add)

export function onWire(): Wire {
  let { sentBytes, receivedBytes } = over
  for (const socket of open) {
    sentBytes += socket.bytesWritten
    receivedBytes += socket.bytesRead
  }
  return { sentBytes, receivedBytes }
}
