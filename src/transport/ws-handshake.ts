/** The handshake of handshake.ts, driven over a WebSocket that was just opened. */
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { WebSocket } from 'ws'
import { limits } from '../base/limits.ts'
import { Handshake } from './handshake.ts'
import { freshKeyPair, primitives, sealsOf } from './primitives.ts'
import type { Seals } from './primitives.ts'
import type { Identity } from './transport.ts'

export interface Established {
  readonly node: string | undefined
  /** Without TLS every message is sealed; with it TLS does that, and the proof is bound to it. */
  readonly seals: Seals | undefined
}

/** RFC 9266: what both ends of one TLS 1.3 connection know, and nobody in between. */
function bindingOf(socket: Socket): Uint8Array {
  if (!(socket instanceof TLSSocket)) return new Uint8Array(0)
  return new Uint8Array(socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)))
}

/** Calls one of the two, once, unless the WebSocket ends before. */
export function proveOverWs(
  web: WebSocket,
  socket: Socket,
  role: 'dialler' | 'listener',
  { fleetKeys, identity }: { readonly fleetKeys: readonly Uint8Array[]; readonly identity: Identity },
  proven: (established: Established) => void,
  refused: (what: string) => void,
): void {
  const binding = bindingOf(socket)
  const machine = new Handshake({ role, fleetKeys, identity, fresh: freshKeyPair, binding, primitives })
  const readBefore = socket.bytesRead
  let isOver = false
  const over = (): void => {
    isOver = true
    web.off('message', message)
    socket.off('data', count)
  }
  const obey = (outputs: ReturnType<Handshake['handle']>): void => {
    for (const output of outputs) {
      switch (output.kind) {
        case 'send':
          web.send(output.bytes)
          break
        case 'accepted': {
          over()
          const seals = binding.length > 0 ? undefined : sealsOf(output.sendKey, output.receiveKey)
          proven({ node: output.node, seals })
          break
        }
        case 'refused':
          over()
          refused(output.what)
          break
      }
    }
  }
  const message = (data: Buffer, isBinary: boolean): void => obey(machine.handle(isBinary ? data : new Uint8Array(0)))
  /** The library would wait for a whole message of the largest size. */
  const count = (): void => {
    if (isOver || socket.bytesRead - readBefore <= limits.strangerBytes) return
    over()
    refused('too many bytes before a proof')
  }
  web.on('message', message)
  socket.on('data', count)
  obey(machine.start())
}
