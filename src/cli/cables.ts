/**
 * Cables between nodes of one process, for the demo: each node reaches each other one through a small TCP proxy of their own,
 * and a cut ends what goes through and lets nothing new through, as a broken network does.
 */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { Connection, ConnectionHandlers, Transport } from '../transport/transport.ts'

export class Cables implements AsyncDisposable {
  readonly #transports = new Map<string, Transport>()
  readonly #cables = new Map<string, Promise<Cable>>()
  /** Nodes that are cut off from all others. */
  readonly #cutOff = new Set<string>()

  /** That node's transport: whatever it dials goes through a cable. */
  lay(from: string, transport: Transport): Transport {
    this.#transports.set(from, transport)
    const through = (address: string): Promise<string> => this.#through(from, address)
    return {
      name: transport.name,
      get addresses() {
        return transport.addresses
      },
      supports: (address) => transport.supports(address),
      listen: (accept) => transport.listen(accept),
      async dial(
        address: string,
        opened: (connection: Connection) => ConnectionHandlers,
        signal: AbortSignal,
      ): Promise<void> {
        await transport.dial(await through(address), opened, signal)
      },
      close: () => transport.close(),
      [Symbol.asyncDispose]: () => transport.close(),
    }
  }

  async cut(name: string): Promise<void> {
    this.#cutOff.add(name)
    for (const [ends, cable] of this.#cables) if (ends.split(' ').includes(name)) (await cable).end()
  }

  mend(): void {
    this.#cutOff.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cable of this.#cables.values()) await (await cable).close()
  }

  async #through(from: string, address: string): Promise<string> {
    const [to] = [...this.#transports].find(([, { addresses }]) => addresses.includes(address)) ?? []
    if (to === undefined) return address
    const ends = `${from} ${to}`
    let cable = this.#cables.get(ends)
    if (cable === undefined) {
      cable = Cable.open(address, () => this.#cutOff.has(from) || this.#cutOff.has(to))
      this.#cables.set(ends, cable)
    }
    return (await cable).address
  }
}

class Cable {
  readonly address: string
  readonly #server: Server
  readonly #sockets: Set<Socket>

  private constructor(server: Server, sockets: Set<Socket>) {
    this.#server = server
    this.#sockets = sockets
    this.address = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  static async open(address: string, isCut: () => boolean): Promise<Cable> {
    const { hostname, port } = new URL(address)
    const sockets = new Set<Socket>()
    const server = createServer((near) => {
      if (isCut()) return near.destroy()
      const far = connect(Number(port), hostname)
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(one)
        one.pipe(other)
        one.on('error', () => other.destroy())
        one.on('close', () => {
          sockets.delete(one)
          other.destroy()
        })
      }
      return undefined
    })
    await new Promise<void>((resolve, reject) => {
      server.on('error', reject)
      server.listen(0, '127.0.0.1', resolve)
    })
    return new Cable(server, sockets)
  }

  /** What goes through it ends in the midst. */
  end(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): Promise<void> {
    this.end()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }
}
