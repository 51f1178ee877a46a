/**
 * What the yamux of @chainsafe leaves open to a peer of ill will, closed from outside:
 * - It keeps the bytes of a frame until the frame is whole, and looks at the window only then: one header could claim 4 GiB.
 * - After garbage it says goodbye, and throws where that connection is closed already: amid an event, so that it would end
 *   the process.
 */
import type { StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'

const headBytes = 12

/** Follows the frames that come without keeping them. */
export class FrameWatch {
  readonly #frameBytes: number
  readonly #head = new Uint8Array(headBytes)
  #headHas = 0
  #bodyBytes = 0

  /** `frameBytes`: the most that one frame may carry. */
  constructor(frameBytes: number) {
    this.#frameBytes = frameBytes
  }

  /** False when a frame claims more. */
  isFine(bytes: Uint8Array): boolean {
    let at = 0
    while (at < bytes.length) {
      if (this.#bodyBytes > 0) {
        const skipped = Math.min(this.#bodyBytes, bytes.length - at)
        this.#bodyBytes -= skipped
        at += skipped
        continue
      }
      this.#head[this.#headHas++] = bytes[at++] as number
      if (this.#headHas < headBytes) continue
      this.#headHas = 0
      const isData = this.#head[1] === 0
      this.#bodyBytes = isData ? new DataView(this.#head.buffer).getUint32(8) : 0
      if (this.#bodyBytes > this.#frameBytes) return false
    }
    return true
  }
}

/** What stands behind the library's interface, and is called for each piece that comes. */
interface Taking {
  onData(data: Uint8Array | Iterable<Uint8Array>): void
}

export function guarded(make: () => StreamMuxerFactory, frameBytes: number): () => StreamMuxerFactory {
  return () => {
    const factory = make()
    return {
      protocol: factory.protocol,
      createStreamMuxer(connection) {
        const muxer = factory.createStreamMuxer(connection) as StreamMuxer & Taking
        const watch = new FrameWatch(frameBytes)
        const onData = muxer.onData.bind(muxer)
        muxer.onData = (data) => {
          for (const bytes of data instanceof Uint8Array ? [data] : data) {
            if (!watch.isFine(bytes)) throw new Error(`a frame claims more than ${frameBytes} bytes`)
          }
          onData(data)
        }
        const abort = muxer.abort.bind(muxer)
        muxer.abort = (error) => {
          try {
            abort(error)
          } catch {
            // The connection is ended by whoever calls, and nobody is there to hear the goodbye.
          }
        }
        return muxer
      },
    }
  }
}
