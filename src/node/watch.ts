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
  /** The entry now holds concurrent writes that its plain value does not show, or has a part in an open conflict. */
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
const over: IteratorResult<WatchEvent, void> = { done: true, value: undefined }

type Reader = (result: IteratorResult<WatchEvent, void>) => void

export class WatchQueue {
  #queue: WatchEvent[] = []
  /** Those who wait for what comes next, in their order: then nothing is queued. */
  readonly #readers: Reader[] = []
  #ended = false
  /** The token before the oldest change that is still wanted: where a reader resumes after a gap. */
  #last: string
  /** Somebody waits for a change: that is reason enough for the process to stay. */
  #alive: NodeJS.Timeout | undefined = undefined

  constructor(from: string) {
    this.#last = from
  }

  /** False where its reader was too slow: what waited for it is a gap now. */
  push(event: EntryChanged): boolean {
    if (this.#ended || this.#hand(event)) return true
    const isFull = this.#queue.length >= limits.watchBuffer
    if (isFull) {
      this.#queue = [{ kind: 'gap', space: event.space, cause: 'slow', token: this.#last }]
    }
    this.#queue.push(event)
    return !isFull
  }

  /** What is queued is dropped: the reader is told to read instead, and to go on from this token. */
  skip(space: string, token: string): void {
    const gap = { kind: 'gap', space, cause: 'pruned', token } as const
    if (!this.#hand(gap)) this.#queue = [gap]
  }

  end(): void {
    this.#ended = true
    clearInterval(this.#alive)
    for (const reader of this.#readers.splice(0)) reader(over)
  }

  next(): Promise<IteratorResult<WatchEvent, void>> {
    const event = this.#queue.shift()
    if (event !== undefined) {
      this.#last = event.token
      return Promise.resolve({ done: false, value: event })
    }
    if (this.#ended) return Promise.resolve(over)
    if (this.#alive === undefined) this.#alive = setInterval(() => undefined, foreverMs)
    else this.#alive.ref()
    return new Promise((resolve) => this.#readers.push(resolve))
  }

  /** Straight to whoever waits, without a turn in between. */
  #hand(event: WatchEvent): boolean {
    const reader = this.#readers.shift()
    if (reader === undefined) return false
    if (this.#readers.length === 0) this.#alive?.unref()
    this.#last = event.token
    reader({ done: false, value: event })
    return true
  }
}

/**
 * What `watch` answers: it watches from the call on, not from the first `next`. A class rather than a generator, since each
 * generator that an event passes through takes turns of its own.
 */
export class Watch implements AsyncIterableIterator<WatchEvent, void, void>, AsyncDisposable {
  readonly #queue: WatchQueue
  readonly #stop: () => void
  /** What is told before the queue is: the past from a token on. */
  #before: AsyncGenerator<WatchEvent, void, void> | undefined
  #left = false
  /** Where it begins: watching with `since` this token tells the same, and what came after. */
  readonly token: string

  constructor(
    queue: WatchQueue,
    before: AsyncGenerator<WatchEvent, void, void> | undefined,
    stop: () => void,
    token: string,
  ) {
    this.#queue = queue
    this.#before = before
    this.#stop = stop
    this.token = token
  }

  next(): Promise<IteratorResult<WatchEvent, void>> {
    if (this.#left) return Promise.resolve(over)
    return this.#before === undefined ? this.#queue.next() : this.#nextBefore(this.#before)
  }

  async #nextBefore(before: AsyncGenerator<WatchEvent, void, void>): Promise<IteratorResult<WatchEvent, void>> {
    try {
      const result = await before.next()
      if (result.done !== true) return result
    } catch (error) {
      await this.return()
      throw error
    }
    this.#before = undefined
    return this.next()
  }

  /** Stops watching: what leaving a `for await` loop calls. */
  return(): Promise<IteratorResult<WatchEvent, void>> {
    this.#stop()
    this.#left = true
    return Promise.resolve(over)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}
