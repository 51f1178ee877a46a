/**
 * The text: a Yjs document whose updates (format V1) are cells. Each edit, made here or by a Yjs client elsewhere, is
 * one cell under a path of its own; a *snapshot* is the same kind of cell in a delta that clears the entry, and so
 * supersedes exactly the updates that its writer had and none that is concurrent.
 *
 * The cells are the truth. The Y.Doc in the memo is a copy of what they say: it is fed what is new, and made anew when a
 * cell that it contains is gone (a snapshot, a deletion, a transaction that was rolled back).
 *
 *  - Foreign bytes, a peer's cells among them, reach Yjs only through yjs-check.ts and yjs-feed.ts. What fails there is
 *    refused where it is written; in a peer's cell it is skipped, reported by `unreadText` and kept by every snapshot.
 *  - Writers fold once the updates since the last snapshot are many and outweigh half of it, so folding costs no more
 *    than what was written. A document too large for one cell is folded in segments.
 *  - Local edits are written by a Yjs client of their own: its id is a hash of origin, key and the sequence at which it
 *    began, so that no client's clock is ever used twice, whatever crashed, was deleted or rolled back.
 *
 * It does not show Yjs's formatting, embeds or other roots in its value; `ydoc` has them all.
 */
import type * as Y from 'yjs'
import { assert } from '../../base/assert.ts'
import { equalBytes, utf8 } from '../../base/bytes.ts'
import { SkeinError } from '../../base/errors.ts'
import { hash128, lanes } from '../../base/hash.ts'
import { pathOf, pathValue } from '../cell.ts'
import type { Path } from '../cell.ts'
import type { OriginId } from '../dot.ts'
import type { Cells, Change, CrdtType } from '../type.ts'
import { integer, invalid, text as textArgument } from './arguments.ts'
import { bytesArgument, cellBytes, Copy, documentInvalid, snapshotBytes } from './document-copy.ts'
import type { Taken, UnreadCell } from './document-copy.ts'
import { yjs } from './document-libraries.ts'
import { checkUpdate } from './yjs-check.ts'
import type { Update } from './yjs-check.ts'
import { Feed, Source, cutUpdate, splitsPair, typeDepth } from './yjs-feed.ts'
import type { Flaw } from './yjs-feed.ts'

/** The Y.Text that `insert`, `delete` and the value speak of: `doc.getText(rootName)`. */
export const rootName = 'text'

/** UTF-16 units of one inserted piece: three bytes each at most, so that every update fits a cell. */
const pieceUnits = 60_000
/** Cells over which Yjs may throw before all of them are left unread. None is known that passes the check. */
const failures = 8

/** The Yjs client of local edits, and the number that names it in their paths. */
interface Author {
  readonly client: number
  readonly since: number
}

function clientOf(origin: OriginId, key: string, since: number): number {
  const name = utf8(`${origin} ${since} ${key}`)
  hash128(name, 0, name.length, 0x79, 0x6a, 0x73, 0)
  return lanes[0] as number
}

/** [time, index, since], and that in an array again for a snapshot, so that it stands before what it left over. */
function sinceOf(path: Path): number | undefined {
  const value = pathValue(path)
  const parts: unknown = Array.isArray(value) && value.length === 1 ? value[0] : value
  const since: unknown = Array.isArray(parts) ? parts[2] : undefined
  return typeof since === 'number' ? since : undefined
}

/** What the cells say, as a Y.Doc. */
class TextCopy extends Copy<Source> {
  doc!: Y.Doc
  #feed!: Feed
  #author: Author | undefined
  #text: string | undefined

  constructor() {
    super()
    this.reset()
  }

  get root(): Y.Text {
    return this.doc.getText(rootName)
  }

  get text(): string {
    this.#text ??= this.root.toString()
    return this.#text
  }

  protected override reset(): void {
    this.doc = new (yjs().Doc)()
    // Known as a text from the start: what comes in does not say what a root is.
    this.doc.getText(rootName)
    this.#feed = new Feed(this.doc)
    this.#author = undefined
    this.#text = undefined
  }

  protected override check(bytes: Uint8Array): Source | undefined {
    const update = checkUpdate(bytes)
    return 'refused' in update ? undefined : new Source(update)
  }

  protected override waits(source: Source): boolean {
    return this.#feed.pending(source)
  }

  protected override feed(fresh: readonly Taken<Source>[]): boolean {
    const sources = fresh.flatMap(({ source }) => (source === undefined || source.flaw === 'failed' ? [] : source))
    try {
      if (this.#feed.add(sources)) this.#text = undefined
    } catch {
      return false
    }
    for (const source of sources) if (source.flaw === undefined && !this.waits(source)) source.settle()
    return true
  }

  protected override feedAnew(all: readonly Taken<Source>[]): void {
    for (let failed = 0; ; failed++) {
      this.reset()
      if (this.feed(all)) return
      // Nobody knows bytes that get here. Whose they are is left out, and in the end everything.
      const culprit = this.#feed.current
      for (const { source } of all) source?.restart(failed === failures || source === culprit)
    }
  }

  /** Takes a foreign update in; what is then to be written, nothing if it says nothing new. */
  receive(bytes: Uint8Array): readonly Source[] {
    const update = checkUpdate(bytes)
    if ('refused' in update) throw documentInvalid(`not a Yjs update of format V1: ${update.refused}`)
    const pieces = bytes.length <= cellBytes ? [update] : cutUpdate(update, cellBytes).map(ownUpdate)
    const sources = pieces.map((piece) => new Source(piece))
    let changed: boolean
    try {
      changed = this.#feed.add(sources)
    } catch (cause) {
      throw documentInvalid('Yjs cannot apply the update', cause)
    }
    for (const { flaw } of sources) if (flaw !== undefined) throw documentInvalid(flawMessages[flaw])
    if (changed) this.#text = undefined
    const pending = sources.some((source) => this.waits(source))
    return changed || (pending && !this.#waitsFor(bytes)) ? sources : []
  }

  /** Is this very update waiting for others already? */
  #waitsFor(bytes: Uint8Array): boolean {
    for (const { source } of this.all()) {
      if (source !== undefined && this.waits(source) && equalBytes(source.bytes, bytes)) return true
    }
    return false
  }

  /** Runs a local edit; what is then to be written. */
  edit(key: string, change: Change, make: (text: Y.Text) => void): readonly Source[] {
    const sources: Source[] = []
    const hear = (update: Uint8Array): void => {
      sources.push(new Source(ownUpdate(update)))
    }
    this.doc.clientID = this.#authorFor(key, change).client
    this.doc.on('update', hear)
    try {
      make(this.root)
    } finally {
      this.doc.off('update', hear)
    }
    this.#text = undefined
    return sources
  }

  /**
   * The client may be one that an earlier copy wrote with, as long as all that it wrote is here: so it is when the newest
   * own cell is, for nothing but a snapshot that holds it all, or a deletion of that cell too, takes away older ones.
   */
  #authorFor(key: string, { origin, seq }: Change): Author {
    if (this.#author !== undefined) return this.#author
    const newest = this.newestOf(origin)
    const known = newest[0] && sinceOf(newest[0].path)
    if (
      known !== undefined &&
      newest.every((one) => sinceOf(one.path) === known && this.unreadReason(one) === undefined)
    ) {
      this.#author = { client: clientOf(origin, key, known), since: known }
      return this.#author
    }
    let since = seq
    // Somebody else may have that number: by chance, or on purpose.
    while (this.#feed.state(clientOf(origin, key, since)) > 0) since += 2 ** 32
    this.#author = { client: clientOf(origin, key, since), since }
    return this.#author
  }

  /** Writes updates that the copy has taken in, or in their place a snapshot that contains them. */
  put(change: Change, sources: readonly Source[]): void {
    if (sources.length === 0) return
    // The edit stands by itself beside a fold: what its delta did can be told from it.
    for (const [written, isFold] of [
      [this.#fold(change, sources) ?? [], true],
      [sources, false],
    ] as const) {
      for (const source of written) {
        const place = [change.time, change.nextIndex()]
        if (this.#author !== undefined) place.push(this.#author.since)
        this.write(change, pathOf(isFold ? [place] : place), source)
        if (!this.waits(source)) source.settle()
      }
    }
  }

  /** A snapshot in place of the cells that it contains, which are superseded, if it is time for one. */
  #fold(change: Change, written: readonly Source[]): readonly Source[] | undefined {
    const fold = this.foldNow(written)
    const bytes = fold?.whole === true ? yjs().encodeStateAsUpdate(this.doc) : undefined
    const whole = bytes === undefined || bytes.length > snapshotBytes ? undefined : checkUpdate(bytes)
    if (whole !== undefined && !('refused' in whole) && this.#stands(whole)) {
      this.supersede(change)
      const pieces = whole.bytes.length <= cellBytes ? [whole] : cutUpdate(whole, cellBytes).map(ownUpdate)
      return pieces.map((piece) => new Source(piece))
    }
    if (fold === undefined || fold.segment.length === 0) return undefined
    const parts = fold.segment.map(({ source }) => (source as Source).bytes)
    const segment = yjs().mergeUpdates(parts)
    this.supersede(change, fold.segment)
    return [new Source(ownUpdate(segment))]
  }

  /** Will whoever reads this snapshot find in it what is here? */
  #stands(snapshot: Update): boolean {
    const doc = new (yjs().Doc)()
    const root = doc.getText(rootName)
    const feed = new Feed(doc)
    const source = new Source(snapshot)
    feed.add([source])
    return source.flaw === undefined && !feed.pending(source) && root.toString() === this.text
  }
}

/** What Yjs or we ourselves encoded. */
function ownUpdate(bytes: Uint8Array): Update {
  const update = checkUpdate(bytes)
  assert(!('refused' in update), 'what Yjs encodes passes the check')
  return update
}

const flawMessages: Readonly<Record<Flaw, string>> = {
  clash: 'the update claims units of a Yjs client that are here with other content: two writers use one client id',
  costly: 'the update has Yjs search too long for where its items go',
  deep: `the update nests shared types more than ${typeDepth} deep`,
  failed: 'Yjs cannot apply the update',
}

/** The copy behind an entry, as its cells are now. */
function open(cells: Cells): TextCopy {
  const { memo } = cells
  const copy = memo.value instanceof TextCopy ? memo.value : new TextCopy()
  memo.value = copy
  copy.follow(cells)
  return copy
}

/** Opens the copy for an operation; when that throws, the copy may hold half of it and is forgotten. */
function withCopy(cells: Cells, run: (copy: TextCopy) => void): undefined {
  try {
    run(open(cells))
  } catch (error) {
    cells.memo.value = undefined
    throw error
  }
  return undefined
}

function place(copy: TextCopy, name: string, at: number): number {
  const { length } = copy.root
  if (at > length) {
    throw new SkeinError('out_of_range', `the text has ${length} characters`, { argument: name, length })
  }
  // With embeds in it, positions in the value are not those of the text.
  if (copy.text.length === length && splitsPair(copy.text, at)) {
    throw new SkeinError('out_of_range', `${name} is inside a character`, { argument: name })
  }
  return at
}

export const text: CrdtType<string> = {
  id: 10,
  name: 'text',
  merge: 'edits of all writers are kept, as Yjs merges them; runs of one writer stay together',
  operations: {
    insert: {
      parameters: ['at', 'text'],
      run: (cells, change, args) =>
        withCopy(cells, (copy) => {
          const at = place(copy, 'at', integer(args, 'at', { min: 0 }))
          const added = textArgument(args, 'text')
          const sources: Source[] = []
          for (let from = 0; from < added.length;) {
            let stop = Math.min(added.length, from + pieceUnits)
            if (splitsPair(added, stop)) stop--
            const piece = added.slice(from, stop)
            sources.push(...copy.edit(cells.key, change, (root) => root.insert(at + from, piece)))
            from = stop
          }
          copy.put(change, sources)
        }),
    },
    delete: {
      parameters: ['at', 'count'],
      run: (cells, change, args) =>
        withCopy(cells, (copy) => {
          const at = place(copy, 'at', integer(args, 'at', { min: 0 }))
          const count = integer(args, 'count', { min: 0 })
          place(copy, 'count', at + count)
          if (count > 0)
            copy.put(
              change,
              copy.edit(cells.key, change, (root) => root.delete(at, count)),
            )
        }),
    },
    update: {
      parameters: ['update'],
      run: (cells, change, args) =>
        withCopy(cells, (copy) => copy.put(change, copy.receive(bytesArgument(args, 'update')))),
    },
  },
  read: (cells) => ({ value: open(cells).text, concurrent: [] }),
}

/** The whole document, the caller's own: changes to it go back as `update`. */
export function ydoc(cells: Cells): Y.Doc {
  const copy = new TextCopy()
  copy.follow(cells)
  const { doc } = copy
  // While it was fed nobody was its client.
  for (const inner of doc.subdocs) inner.clientID = doc.clientID
  return doc
}

/** An update (V1) with everything that the state vector lacks, or everything: what a Yjs client is sent. */
export function stateAsUpdate(cells: Cells, stateVector?: Uint8Array): Uint8Array {
  const { doc } = open(cells)
  if (stateVector === undefined) return yjs().encodeStateAsUpdate(doc)
  try {
    return yjs().encodeStateAsUpdate(doc, stateVector)
  } catch {
    throw invalid('stateVector', 'a Yjs state vector', 'other bytes')
  }
}

/** The cells that the document does not show, for reports. Only a deletion of the entry takes them away. */
export function unreadText(cells: Cells): readonly UnreadCell[] {
  return open(cells).unread()
}
