/** What was written just now, as one packet for all peers whose links are free: encoded once, and only where there is one. */
import type { Dot } from '../crdt/dot.ts'
import { encodePacket } from '../wire/codec.ts'
import type { Deltas, SpaceId } from '../wire/frame.ts'

export class FreshDelta {
  readonly frame: Deltas
  readonly sizeBytes: number
  #packet: Uint8Array | undefined = undefined

  constructor(space: SpaceId, { origin, seq }: Dot, body: Uint8Array) {
    this.sizeBytes = body.length
    this.frame = { kind: 'deltas', space, runs: [{ origin, seq, bodies: [body] }], cause: 'push', more: false, hops: 0 }
  }

  get packet(): Uint8Array {
    return (this.#packet ??= encodePacket([this.frame]))
  }
}
