/** The connections of a transport that are up: looked at now and then, and gone within their time once it closes. */
interface LiveConnection {
  look(nowMs: number, lateMs: number): void
  close(): void
  destroy(): void
}

interface LiveBounds {
  readonly lookEveryMs: number
  /** How long a connection may take to close in order. */
  readonly closeMs: number
}

export class LiveConnections<C extends LiveConnection> {
  readonly #bounds: LiveBounds
  readonly #all = new Set<C>()
  /** Undefined while there are none. */
  #looking: NodeJS.Timeout | undefined
  #lookedMs = 0

  constructor(bounds: LiveBounds) {
    this.#bounds = bounds
  }

  add(connection: C): void {
    this.#all.add(connection)
    if (this.#looking !== undefined) return
    this.#lookedMs = performance.now()
    this.#looking = setInterval(() => this.#look(), this.#bounds.lookEveryMs).unref()
  }

  delete(connection: C): void {
    this.#all.delete(connection)
  }

  #look(): void {
    const nowMs = performance.now()
    const lateMs = Math.max(nowMs - this.#lookedMs - this.#bounds.lookEveryMs, 0)
    this.#lookedMs = nowMs
    for (const connection of this.#all) connection.look(nowMs, lateMs)
    if (this.#all.size === 0) this.#rest()
  }

  #rest(): void {
    clearInterval(this.#looking)
    this.#looking = undefined
  }

  async close(): Promise<void> {
    this.#rest()
    for (const connection of this.#all) connection.close()
    // Each is gone within `closeMs`; a little later nobody waits for it any more.
    const endMs = performance.now() + this.#bounds.closeMs + 500
    while (this.#all.size > 0 && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 5))
    for (const connection of this.#all) connection.destroy()
  }
}
