/**
 * Is there still somebody at the other end of a link? Looked at now and then: a peer that went without a word is found by
 * pings, and by nothing moving in either direction. It knows no socket: what moved comes in as counts.
 */

export interface PulseSettings {
  /** Nothing moved for so long: the peer is gone. */
  readonly silentMs: number
  /** Bytes come, and no whole message for so long: the largest message at 9 KB a second takes as much. */
  readonly stalledMs: number
}

/** What a link has done so far. */
export interface Moved {
  readonly readBytes: number
  readonly leftBytes: number
  /** Does anything wait for the peer to read? */
  readonly isWaiting: boolean
}

export type PulseOutput =
  | { readonly kind: 'fine' }
  | { readonly kind: 'ping' }
  | { readonly kind: 'lost'; readonly what: string }

export class Pulse {
  readonly #settings: PulseSettings
  /** As of the last look: what was heard, how many bytes had come and gone, and whether any waited. */
  #isHeard = true
  #isPinged = false
  #heardMs: number
  #movedMs: number
  #readBytes = 0
  #leftBytes = 0
  #wasWaiting = false

  constructor(settings: PulseSettings, nowMs: number) {
    this.#settings = settings
    this.#heardMs = nowMs
    this.#movedMs = nowMs
  }

  /** A whole message, a ping or its answer came. */
  heard(): void {
    this.#isHeard = true
  }

  /**
   * `lateMs` is by how much this process itself was late to look: what came meanwhile may not have been read yet, and a
   * process that stood still must not take all others for gone.
   */
  look({ readBytes, leftBytes, isWaiting }: Moved, nowMs: number, lateMs: number): PulseOutput {
    const { silentMs, stalledMs } = this.#settings
    this.#movedMs += lateMs
    this.#heardMs += lateMs
    // What leaves tells of the peer only while something waited for it to read: else the system's buffers took it.
    if (readBytes !== this.#readBytes || (this.#wasWaiting && leftBytes > this.#leftBytes)) this.#movedMs = nowMs
    this.#readBytes = readBytes
    this.#leftBytes = leftBytes
    this.#wasWaiting = isWaiting
    if (this.#isHeard) {
      this.#isHeard = false
      this.#isPinged = false
      this.#heardMs = nowMs
      return { kind: 'fine' }
    }
    if (nowMs - this.#movedMs >= silentMs) return { kind: 'lost', what: `nothing came for ${silentMs} ms` }
    if (nowMs - this.#heardMs >= stalledMs) {
      return { kind: 'lost', what: `no whole message came for ${stalledMs} ms` }
    }
    if (this.#isPinged) return { kind: 'fine' }
    this.#isPinged = true
    return { kind: 'ping' }
  }
}
