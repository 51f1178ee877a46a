/**
 * Watching a space: a bounded queue between the replica, which never waits, and a reader, who may be slow. When it is
 * full, what is in it is dropped and the reader is told so by a `gap`, with a token from which nothing is missing.
 */
import { limits } from '../base/limits.ts'
import type { Dot } from '../crdt/dot.ts'

export interface EntryChanged {
  readonly kind: 'change'
  readonly space: string
  readonly key: string
  /** The type's name; the newest where several are alive; undefined when the entry is gone. */
  readonly type: string | undefined
  readonly deleted: boolean
  readonly agent: string
  readonly reason: string | undefined
  /** Wall-clock milliseconds of the write. */
  readonly at: number
  readonly dot: Dot
  /** Written through this node, rather than received. */
  readonly local: boolean
  /** The entry now holds concurrent writes that its plain value does not show. */
  readonly conflict: boolean
  /** Watching again with `since: token` goes on after this change; inside a transaction, with the whole transaction. */
  readonly token: string
}

export interface WatchGap {
  readonly kind: 'gap'
  readonly space: string
  /**
   * Why changes are missing here: the reader was too slow, the log no longer reaches back, or the token is of a history
   * that this directory, restored from a backup, does not have.
   */
  readonly cause: 'slow' | 'pruned' | 'restored'
  /**
   * After `slow`: watching with `since: token` brings what was skipped. After the others: read the entries once; changes
   * after this token follow.
   */
  readonly token: string
}

export type WatchEvent = EntryChanged | WatchGap

const foreverMs = 2 ** 31 - 1

export class WatchQueue {
  #queue: WatchEvent[] = []
  #wake: (() => void) | undefined
  #ended = false
  /** The token before the oldest change that is still wanted: where a reader resumes after a gap. */
  #last: string

  constructor(from: string) {
    this.#last = from
  }

  /** False where its reader was too slow: what waited for it is a gap now. */
  push(event: EntryChanged): boolean {
    if (this.#ended) return true
    const isFull = this.#queue.length >= limits.watchBuffer
    if (isFull) {
      this.#queue = [{ kind: 'gap', space: event.space, cause: 'slow', token: this.#last }]
    }
    this.#queue.push(event)
    this.#wake?.()
    return !isFull
  }

  /** What is queued is dropped: the reader is told to read instead, and to go on from this token. */
  skip(space: string, token: string): void {
    this.#queue = [{ kind: 'gap', space, cause: 'pruned', token }]
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  async *read(): AsyncGenerator<WatchEvent, void, void> {
    for (;;) {
      const event = this.#queue.shift()
      if (event !== undefined) {
        this.#last = event.token
        yield event
      } else if (this.#ended) return
      else {
        // Somebody waits for a change: that is reason enough for the process to stay.
        const alive = setInterval(() => undefined, foreverMs)
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        clearInterval(alive)
        this.#wake = undefined
      }
    }
  }
}

/** What `watch` answers: it watches from the call on, not from the first `next`. */
export class Watch implements AsyncIterableIterator<WatchEvent, void, void>, AsyncDisposable {
  readonly #events: AsyncGenerator<WatchEvent, void, void>
  readonly #stop: () => void
  #left = false
  /** Where it begins: watching with `since` this token tells the same, and what came after. */
  readonly token: string

  constructor(events: AsyncGenerator<WatchEvent, void, void>, stop: () => void, token: string) {
    this.token = token
    this.#events = events
    this.#stop = stop
  }

  next(): Promise<IteratorResult<WatchEvent, void>> {
    return this.#left ? Promise.resolve({ done: true, value: undefined }) : this.#events.next()
  }

  /** Stops watching: what leaving a `for await` loop calls. */
  return(): Promise<IteratorResult<WatchEvent, void>> {
    this.#stop()
    this.#left = true
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}
