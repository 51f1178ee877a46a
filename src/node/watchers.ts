/**
 * Who watches what: live changes as deltas are applied, and what a token asks for from the log. A token is a place in the
 * local order of a space on this node, pinned by a delta.
 */
import { SkeinError } from '../base/errors.ts'
import { timeToMs } from '../crdt/clock.ts'
import { decodeDelta } from '../crdt/delta.ts'
import type { Delta } from '../crdt/delta.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import type { CrdtType } from '../crdt/type.ts'
import { typeOf } from '../crdt/types/table.ts'
import { isSystemKey } from '../merge/system.ts'
import type { StoredEntry } from '../replica/entry.ts'
import type { Applied, Replica } from '../replica/replica.ts'
import type { Space } from '../replica/space.ts'
import { nextTurn } from './commits.ts'
import type { WatchOptions } from './handles.ts'
import { Watch, WatchQueue } from './watch.ts'
import type { EntryChanged, WatchEvent } from './watch.ts'

/** A token that names the beginning of any space: for who watched before the space was there. */
const beginning = 'w0'

interface Watcher {
  readonly space: Space
  readonly prefix: string
  readonly exact: boolean
  readonly queue: WatchQueue
  stop(): void
}

export interface WatchersHost {
  /** A watcher was too slow and lost what waited for it. */
  tooSlow(): void
  /** Has an entry a part in a conflict that is open? */
  inConflict(space: Space, key: string): boolean
}

export class Watchers {
  readonly #node: string
  readonly #replica: Replica
  readonly #watchers = new Set<Watcher>()
  readonly #host: WatchersHost

  constructor(node: string, replica: Replica, host: WatchersHost) {
    this.#node = node
    this.#replica = replica
    this.#host = host
  }

  get count(): number {
    return this.#watchers.size
  }

  /** No more comes for them: of that space, or at all. */
  end(space?: Space): void {
    for (const watcher of this.#watchers) if (space === undefined || watcher.space === space) watcher.stop()
  }

  /** The space took over another replica's cells: there are no deltas of that to tell. */
  merged(space: Space): void {
    for (const watcher of this.#watchers) {
      if (watcher.space === space)
        watcher.queue.skip(space.name, this.#token(space, space.places, this.#lastDot(space)))
    }
  }

  /** Watching begins with this call, not with the first read. */
  watch(space: Space, prefix: string, exact: boolean, options: WatchOptions): Watch {
    const { signal, since } = options
    const until = space.places
    const here = this.#token(space, until, this.#lastDot(space))
    const from = since === undefined ? until : this.#placeOf(space, since)
    const stop = (): void => {
      this.#watchers.delete(watcher)
      signal?.removeEventListener('abort', stop)
      watcher.queue.end()
    }
    const begin = from === undefined || from === until ? here : (since ?? here)
    const queue = new WatchQueue(begin)
    const watcher: Watcher = { space, prefix, exact, queue, stop }
    this.#watchers.add(watcher)
    signal?.addEventListener('abort', stop)
    if (signal?.aborted === true) stop()
    const before = from === undefined || from < until ? this.#past(watcher, from, until, here) : undefined
    return new Watch(queue, before, stop, begin)
  }

  async *#past(
    watcher: Watcher,
    from: number | undefined,
    until: number,
    here: string,
  ): AsyncGenerator<WatchEvent, void, void> {
    if (from === undefined) yield { kind: 'gap', space: watcher.space.name, cause: 'restored', token: here }
    else yield* this.#replay(watcher, from, until)
  }

  /** Deltas that were applied in (from, until], in that order, read from the log. */
  async *#replay(watcher: Watcher, from: number, until: number): AsyncGenerator<WatchEvent, void, void> {
    const { space } = watcher
    const found: { place: number; delta: Delta }[] = []
    for (const log of space.logs.values()) {
      for (let seq = log.seq; seq > 0; seq--) {
        const entry = log.remains(seq)
        if (entry === undefined || entry.place <= from) break
        if (entry.place <= until) found.push({ place: entry.place, delta: decodeDelta(log.origin, seq, entry.body) })
        if (found.length % 512 === 511) await nextTurn()
      }
    }
    found.sort((a, b) => a.place - b.place)
    if (found.length < until - from) {
      const [first] = found
      const token =
        first === undefined
          ? this.#token(space, until, this.#lastDot(space))
          : this.#token(space, first.place - 1, first.delta, true)
      yield { kind: 'gap', space: space.name, cause: 'pruned', token }
    }
    for (const { place, delta } of found) {
      const own = delta.origin === this.#replica.origin
      yield* this.#changes(watcher, { space, delta, place, own, fault: undefined })
    }
  }

  /** A delta was applied. */
  applied(event: Applied): void {
    for (const watcher of this.#watchers) {
      if (watcher.space !== event.space) continue
      try {
        for (const change of this.#changes(watcher, event)) {
          if (!watcher.queue.push(change)) this.#host.tooSlow()
        }
      } catch {
        // A row that this watcher would show cannot be read. The write stands; the watcher goes on from here by reading.
        watcher.queue.skip(event.space.name, this.#token(event.space, event.place, event.delta))
      }
    }
  }

  #changes(
    watcher: Watcher,
    { space, delta, place, own, fault }: Omit<Applied, 'body' | 'nowMs'>,
  ): readonly EntryChanged[] {
    if (fault !== undefined) return none
    const keys = changedKeys(delta, watcher)
    const last = keys.length - 1
    return keys.map((key, at) => {
      const entry = space.entry(key)
      const type = typeOf(entry.types().at(-1) ?? 0)
      return {
        kind: 'change',
        space: space.name,
        key,
        type: type?.name,
        deleted: entry.empty,
        agent: delta.agent,
        reason: delta.reason,
        at: timeToMs(delta.time),
        dot: { origin: delta.origin, seq: delta.seq },
        local: own,
        conflict: this.#host.inConflict(space, key) || (type !== undefined && hasConcurrent(entry, type)),
        // Only the last change of a transaction has it behind it: from an earlier one it comes again, whole.
        token: at === last ? this.#token(space, place, delta) : this.#token(space, place - 1, delta, true),
      }
    })
  }

  /**
   * A place in the space's local order, with a delta that pins it, since the same place may be another's after a
   * restore: the delta at that place, or (with a plus) the one right behind it.
   */
  #token(space: Space, place: number, at: Dot | undefined, behind: boolean = false): string {
    const pin = at === undefined ? '' : `${behind ? '+' : ''}${at.origin}-${at.seq.toString(36)}`
    return `w1.${this.#node}.${space.number}.${place.toString(36)}.${pin}`
  }

  /** Where a token points; undefined when this replica's history is not the one that it came from. */
  #placeOf(space: Space, token: unknown): number | undefined {
    if (token === beginning) return 0
    const match = /^w1\.([0-9a-f]{16})\.(\d+)\.([0-9a-z]{1,11})\.(?:(\+?)([0-9a-f]{32})-([0-9a-z]{1,11}))?$/.exec(
      String(token),
    )
    const [, node, number, place, behind, origin, seq] = match ?? []
    if (node !== this.#node || number !== String(space.number) || place === undefined) {
      throw new SkeinError('invalid_token', `since: not a token of this node's space ${space.name}`)
    }
    const at = Number.parseInt(place, 36)
    if (origin === undefined || seq === undefined) return at === 0 ? 0 : undefined
    const log = space.logs.get(origin as OriginId)
    const wanted = Number.parseInt(seq, 36)
    if (log === undefined || wanted > log.seq || at > space.places) return undefined
    // A dot is never used twice, so one that is known here stands where it stood; what is pruned needs no more proof.
    const entry = log.entry(wanted)
    return entry === undefined || entry.place === at + (behind === '+' ? 1 : 0) ? at : undefined
  }

  /** The delta that this space applied last. */
  #lastDot(space: Space): Dot | undefined {
    for (const { origin, seq, place } of space.logs.values())
      if (place === space.places && seq > 0) return { origin, seq }
    return undefined
  }
}

const none: readonly [] = []

/** Each once, in the order of the delta. */
function changedKeys({ clears, writes }: Delta, { exact, prefix }: Watcher): readonly string[] {
  const keys: string[] = []
  const wanted = (key: string): boolean => !isSystemKey(key) && (exact ? key === prefix : key.startsWith(prefix))
  for (const { key } of clears) if (key !== keys.at(-1) && wanted(key)) keys.push(key)
  for (const { key } of writes) if (key !== keys.at(-1) && wanted(key)) keys.push(key)
  return keys.length > 1 ? [...new Set(keys)] : keys
}

function hasConcurrent(entry: StoredEntry, type: CrdtType): boolean {
  // Of one sibling there is nothing to ask but where the library of a document merges inside it.
  if (entry.single && type.mergesWithin !== true) return false
  return type.read(entry.cells(type.id)).concurrent.length > 0
}
