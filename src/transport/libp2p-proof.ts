/**
 * The mutual proof of handshake.ts on a connection that has said nothing yet, below noise: whoever has no fleet key never
 * reaches libp2p's own protocols. It takes the place of a private network with one shared key, which could not be changed without
 * downtime and proves nobody's identity.
 *
 * Each message goes behind one byte of length. Noise then proves an identity again and seals what follows: who proved one
 * key here and another there is refused (libp2p-host.ts), so nobody can carry a proof over to a connection of his own.
 */
import type { ConnectionProtector, MessageStream } from '@libp2p/interface'
import { Handshake } from './handshake.ts'
import type { HandshakeOutput } from './handshake.ts'
import { freshKeyPair, primitives } from './primitives.ts'
import type { Identity } from './transport.ts'

export interface ProofConfig {
  /** None: nothing is asked for, and nothing proven. */
  readonly fleetKeys: readonly Uint8Array[]
  readonly identity: Identity
  /** A connection stands, and nothing has been said. */
  readonly began: (stream: MessageStream, signal: AbortSignal | undefined) => void
  readonly refused: (stream: MessageStream, signal: AbortSignal | undefined, what: string) => void
}

export class FleetProof implements ConnectionProtector {
  readonly #config: ProofConfig
  readonly #proven = new WeakMap<object, Uint8Array>()

  constructor(config: ProofConfig) {
    this.#config = config
  }

  /** The public key that was proven on that connection. */
  provenOn(stream: object): Uint8Array | undefined {
    return this.#proven.get(stream)
  }

  async protect(stream: MessageStream, { signal }: { signal?: AbortSignal } = {}): Promise<MessageStream> {
    const { fleetKeys, identity, began, refused } = this.#config
    began(stream, signal)
    if (fleetKeys.length === 0) return stream
    const role = stream.direction === 'outbound' ? 'dialler' : 'listener'
    const binding = new Uint8Array(0)
    const machine = new Handshake({ role, fleetKeys, identity, fresh: freshKeyPair, binding, primitives })
    return new Promise((resolve, reject) => {
      const over = (): void => {
        stream.removeEventListener('message', onMessage)
        stream.removeEventListener('close', onClose)
        signal?.removeEventListener('abort', onAbort)
      }
      const fail = (error: Error): void => {
        over()
        reject(error)
      }
      const onAbort = (): void => fail(signal?.reason as Error)
      const onClose = (): void => fail(new Error('it closed the connection before its proof'))
      const obey = (outputs: readonly HandshakeOutput[]): boolean => {
        for (const output of outputs) {
          switch (output.kind) {
            case 'send':
              stream.send(Uint8Array.of(output.bytes.length, ...output.bytes))
              break
            case 'refused':
              refused(stream, signal, output.what)
              fail(new Error(output.what))
              return false
            case 'accepted':
              this.#proven.set(stream, output.publicKey)
              over()
              return false
          }
        }
        return true
      }
      let came = Buffer.alloc(0)
      const onMessage = ({ data }: { data: Uint8Array | { subarray(): Uint8Array } }): void => {
        came = Buffer.concat([came, data.subarray()])
        while (came.length > 0 && came.length > (came[0] as number)) {
          const end = 1 + (came[0] as number)
          const message = Uint8Array.from(came.subarray(1, end))
          came = came.subarray(end)
          if (obey(machine.handle(message))) continue
          if (this.#proven.has(stream)) {
            // What comes behind the proof is for noise.
            if (came.length > 0) stream.push(came)
            resolve(stream)
          }
          return
        }
      }
      if (signal?.aborted === true) return onAbort()
      if (stream.status !== 'open') return onClose()
      signal?.addEventListener('abort', onAbort)
      stream.addEventListener('close', onClose)
      stream.addEventListener('message', onMessage)
      obey(machine.start())
    })
  }
}
