/**
 * What the document types share: a library's document in the memo as a *copy* of what an entry's cells say. Each cell
 * holds one byte string that the library wrote, here or elsewhere; the copy is fed what is new, and made anew when
 * something that it contains is gone (a snapshot, a deletion, a transaction that was rolled back).
 *
 * Bytes that cannot be read stay out: they are reported, and every snapshot leaves them as they are. What is wrong with
 * some of them shows only beside others, and then the order counts; such a copy is always made anew, in the order of
 * the paths, which is the same for everyone.
 */
import { equalBytes } from '../../base/bytes.ts'
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { encodeValue, Reader } from '../../base/msgpack.ts'
import { noSiblings, sameDot } from '../cell.ts'
import type { Path, Sibling } from '../cell.ts'
import type { Dot } from '../dot.ts'
import type { Cells, Change } from '../type.ts'
import { invalid } from './arguments.ts'
import type { Arguments } from './arguments.ts'

/** Cells since the last snapshot below which nobody folds. A guess: what a reader applies in a millisecond. */
const foldCells = 64
/** What a cell costs beside its bytes: dot, time, agent, path. */
const cellOverhead = 64
/** Bytes of one folded cell: room in a value for its header, and for what a merge adds. */
export const cellBytes: number = 200 * 1024
/** Bytes of a whole snapshot, in several cells: room in a delta for what else it writes. */
export const snapshotBytes: number = 600 * 1024
/** In a document beyond that, a cell from this size on is not folded again. */
const segmentBytes = 100 * 1024
/** Cells that a snapshot may have to name because they cannot be read; with more, nobody folds. */
const keptCells = 1000

/** What one cell's bytes came to. */
export interface Source {
  readonly bytes: Uint8Array
  /** Why something in it stays out of the document. */
  readonly flaw: string | undefined
}

/** A sibling that the copy has taken in. */
export interface Taken<S extends Source> {
  readonly path: Path
  readonly dot: Dot
  readonly time: number
  readonly agent: string
  value: Uint8Array
  /** None: the bytes are not what the type writes. */
  readonly source: S | undefined
}

/** A cell that the document does not show: `malformed`, `pending` (it waits for others), or what is wrong with it. */
export interface UnreadCell {
  readonly dot: Dot
  readonly reason: string
}

/** What a writer may fold: everything into one snapshot, or at least these cells into one. */
export interface Fold<S extends Source> {
  readonly whole: boolean
  readonly segment: readonly Taken<S>[]
}

export abstract class Copy<S extends Source> {
  /** By path: concurrent writers can have hit on one. */
  readonly #taken = new Map<Path, Taken<S>[]>()
  #count = 0
  /** Of the cells as they were followed last. */
  #version: number | undefined
  /** Cells from which on folding is tried. */
  #foldAgain = 0
  /** What is here may not be what the cells make: it is made anew before the next use. */
  #distrusted = false

  /** Becomes an empty document. */
  protected abstract reset(): void
  protected abstract check(bytes: Uint8Array): S | undefined
  /** Takes these in; false when the copy is unusable now, or depends on the order in which they came. */
  protected abstract feed(fresh: readonly Taken<S>[]): boolean
  /** Takes all of these into an empty document, whatever they are: a function of them and their order. */
  protected abstract feedAnew(all: readonly Taken<S>[]): void
  /** Is there anything of it that the document does not show yet? */
  protected abstract waits(source: S): boolean

  /** Makes the copy say what the cells say now. */
  follow(cells: Cells): void {
    const { version } = cells
    if (version !== undefined && version === this.#version && !this.#distrusted) return
    this.#version = version
    const fresh: Taken<S>[] = []
    let known = 0
    for (const [path, siblings] of cells.all()) {
      const taken = this.#taken.get(path)
      for (const sibling of siblings) {
        const there = taken?.find(({ dot }) => sameDot(dot, sibling))
        if (there === undefined) fresh.push(this.#take(path, sibling))
        else if (there.value === sibling.value || equalBytes(there.value, sibling.value)) {
          there.value = sibling.value
          known++
        }
      }
    }
    if (known === this.#count && !this.#distrusted) {
      if (fresh.length === 0) return
      for (const one of fresh) this.#keep(one)
      if (this.feed(fresh) && !this.#flawed) return
    }
    this.#rebuild(cells)
  }

  #rebuild(cells: Cells): void {
    this.#taken.clear()
    this.#count = 0
    this.#foldAgain = 0
    this.#distrusted = false
    for (const [path, siblings] of cells.all()) for (const sibling of siblings) this.#keep(this.#take(path, sibling))
    this.feedAnew([...this.all()])
  }

  #take(path: Path, { origin, seq, time, agent, value }: Sibling): Taken<S> {
    const bytes = binOf(value)
    const source = bytes === undefined ? undefined : this.check(bytes)
    return { path, dot: { origin, seq }, time, agent, value, source }
  }

  #keep(one: Taken<S>): void {
    const there = this.#taken.get(one.path)
    if (there === undefined) this.#taken.set(one.path, [one])
    else there.push(one)
    this.#count++
  }

  /** Has the copy made anew before it is used again. */
  protected distrust(): void {
    this.#distrusted = true
  }

  *all(): Iterable<Taken<S>> {
    for (const some of this.#taken.values()) yield* some
  }

  get #flawed(): boolean {
    for (const { source } of this.all()) if (source?.flaw !== undefined) return true
    return false
  }

  /** Why the document does not show a cell, or not all of it. */
  unreadReason({ source }: Taken<S>): string | undefined {
    if (source === undefined) return 'malformed'
    return source.flaw ?? (this.waits(source) ? 'pending' : undefined)
  }

  unread(): UnreadCell[] {
    const cells: UnreadCell[] = []
    for (const one of this.all()) {
      const reason = this.unreadReason(one)
      if (reason !== undefined) cells.push({ dot: one.dot, reason })
    }
    return cells
  }

  /** Writes a cell that the copy has taken in. Another writer may have had the same path: his cell stays. */
  write(change: Change, path: Path, source: S): void {
    const { origin, seq, time, agent } = change
    const value = encodeValue(source.bytes)
    change.putBytes(path, value, noSiblings)
    this.#version = undefined
    this.#keep({ path, dot: { origin, seq }, time, agent, value, source })
    if (this.#flawed) this.distrust()
  }

  /** The newest cells of an origin: those of its last delta that wrote here, as far as they live. */
  newestOf(origin: string): readonly Taken<S>[] {
    let seq = 0
    for (const { dot } of this.all()) if (dot.origin === origin && dot.seq > seq) seq = dot.seq
    return [...this.all()].filter(({ dot }) => dot.origin === origin && dot.seq === seq)
  }

  /**
   * Says if it is time to fold with what is now to be written. Cells that were written since the last snapshot must be
   * many and outweigh half of it, so that folding costs no more than what was written did. A document larger than a
   * snapshot grows by segments, and is looked at as a whole each time that their number has doubled.
   */
  foldNow(written: readonly S[]): Fold<S> | undefined {
    const count = this.#count + written.length
    if (this.#distrusted || count <= foldCells || count < this.#foldAgain) return undefined
    if (written.some((source) => this.waits(source))) return undefined
    const readable = [...this.all()].filter((one) => this.unreadReason(one) === undefined)
    if (this.#count - readable.length > keptCells) return undefined
    // The largest, and all that are large, are what was folded before.
    let largest: Taken<S> | undefined
    for (const one of readable) if (one.value.length > (largest?.value.length ?? 0)) largest = one
    const recent = readable.filter((one) => one !== largest && one.value.length < segmentBytes)
    const added = written.reduce((sum, { bytes }) => sum + bytes.length + cellOverhead, 0)
    const size = sizeOf(recent) + added
    const before = sizeOf(readable) + added - size
    const segments = readable.length - recent.length
    const large = before > snapshotBytes
    if (size < (large ? segmentBytes : before / 2)) return undefined
    // If it comes to nothing, it is not tried again at once.
    this.#foldAgain = 2 * count

    let room = cellBytes - added
    recent.sort((a, b) => a.value.length - b.value.length)
    const segment = recent.filter(({ value }) => (room -= value.length) >= 0)
    const worth = sizeOf(segment) + added >= segmentBytes
    return { whole: !large || (segments & (segments - 1)) === 0, segment: worth ? segment : [] }
  }

  /** Supersedes everything that was read, or just these; what was written in this delta stands. */
  supersede(change: Change, segment?: readonly Taken<S>[]): void {
    const gone = segment === undefined ? undefined : new Set(segment)
    const left = [...this.all()].filter((one) => {
      if (sameDot(one.dot, change)) return true
      return gone === undefined ? this.unreadReason(one) !== undefined : !gone.has(one)
    })
    change.clear(left.flatMap(({ dot }) => (sameDot(dot, change) ? [] : dot)))
    this.#taken.clear()
    this.#count = 0
    this.#foldAgain = 0
    for (const one of left) this.#keep(one)
  }
}

function sizeOf(cells: readonly Taken<Source>[]): number {
  return cells.reduce((sum, { value }) => sum + value.length + cellOverhead, 0)
}

/** Bytes, or the same in base64. */
export function bytesArgument(args: Arguments, name: string): Uint8Array {
  const given = Object.hasOwn(args, name) ? args[name] : undefined
  const size = given instanceof Uint8Array ? given.length : typeof given === 'string' ? (given.length / 4) * 3 : 0
  if (size > limits.deltaBytes) {
    throw new SkeinError('too_large', `${name} may have ${limits.deltaBytes} bytes`, { limit: limits.deltaBytes })
  }
  if (given instanceof Uint8Array) return given
  if (typeof given === 'string') {
    try {
      const binary = atob(given)
      return Uint8Array.from(binary, (unit) => unit.charCodeAt(0))
    } catch {
      // Said below.
    }
  }
  throw invalid(name, 'bytes, or a string of base64', given)
}

/** The bytes of a cell's value, as a view; undefined when it holds anything else. */
export function binOf(value: Uint8Array): Uint8Array | undefined {
  const reader = new Reader(value)
  const head = reader.peek()
  if (head < 0xc4 || head > 0xc6) return undefined
  try {
    const bytes = reader.bin()
    return reader.done ? bytes : undefined
  } catch {
    return undefined
  }
}

export function documentInvalid(what: string, cause?: unknown): SkeinError {
  return new SkeinError('document_invalid', what, {}, cause)
}
