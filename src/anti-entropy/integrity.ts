/**
 * Step 4: two replicas with equal contexts and unequal roots. By theorem that is damage, a bug or a fork, and it is never
 * passed over in silence.
 *
 *   self     each side sums its tree up anew from its rows. Who disagrees with himself takes the peer's cells (Adopt)
 *   locate   both agree with themselves: one sends a sketch of all its digests, the other finds what they do not share and
 *            answers with its cells and the digests of those that it lacks
 *   repair   after a grace time the one who sent the sketch, chosen by rendezvous, writes deltas that supersede every
 *            disputed dot by name and keep the foremost value of each cell: nothing that anybody holds alone is lost unseen
 */
import { compareBytes, equalBytes, utf8 } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { checksum32, lanes } from '../base/hash.ts'
import { limits } from '../base/limits.ts'
import { cellKey } from '../crdt/change.ts'
import { compareSiblings, hasDot } from '../crdt/cell.ts'
import type { Path, Sibling, TypeId } from '../crdt/cell.ts'
import { covers } from '../crdt/dot.ts'
import { decodeSnapshot } from '../crdt/state.ts'
import { foremost } from '../crdt/types/table.ts'
import type { Moment } from '../replica/adoption.ts'
import type { StoredEntry } from '../replica/entry.ts'
import type { Space } from '../replica/space.ts'
import type { NodeId, SketchAsk, SketchFrame, SpaceId } from '../wire/frame.ts'
import { sameSum } from './digests.ts'
import type { Moments } from './moments.ts'
import { Tally } from './output.ts'
import type { SessionReport, Shared } from './output.ts'
import { Packer, Sums, eachSibling } from './scan.ts'
import type { Scans } from './scan.ts'
import { Sketch, sketchKey } from './sketch.ts'
import type { Digest64 } from './sketch.ts'

/**
 * Cells sent in the whole after each answer that they were too few. Twelve find a cell that differs 199 times
 * of 200, in some 210 bytes; 512 find 168 cells, 3,072 a thousand, by the 1.35 to 1.75 cells a digest of the paper.
 */
const prefixes: readonly number[] = [12, 512, 3072, 8192]

/** Bytes of cells in an answer: with their digests they must fit a frame. */
const answerBytes = 524_288

/** Cells and digests together, less their envelope. */
const frameBytes = limits.packetBytes - 1024

/** Bytes of values in one repairing delta. */
const repairBytes = limits.deltaBytes / 2

interface Disputed {
  readonly key: string
  readonly name: string
  readonly siblings: Sibling[]
}

type State = 'self' | 'ready' | 'locating' | 'repair' | 'over'

/** Which of two nodes repairs a space: both come to the same. */
export function repairer(space: SpaceId, a: NodeId, b: NodeId): NodeId {
  const weight = (node: NodeId): number => {
    const bytes = utf8(space + node)
    return checksum32(bytes, 0, bytes.length, 0x72657061)
  }
  const [x, y] = [weight(a), weight(b)]
  return x === y ? (a < b ? a : b) : x < y ? a : b
}

export class Integrity {
  readonly space: Space
  readonly peer: NodeId
  movedMs: number
  state: State = 'self'
  /** The own cells are wrong: the peer's are to be taken. */
  isDamaged: boolean = false
  repairAt: number = Infinity
  readonly #shared: Shared
  readonly #scans: Scans
  readonly #tally: Tally
  readonly #isRepairer: boolean
  #session: number
  #scan = 0
  #moment: Moment | undefined
  #sketch: Sketch | undefined
  #theirs: Sketch | undefined
  /** Cells that were sent, or that came. */
  #cells = 0
  /** What came before the own rows were summed up. */
  #early: SketchFrame | undefined
  readonly #disputed = new Map<string, Disputed>()

  constructor(shared: Shared, scans: Scans, space: Space, peer: NodeId, nowMs: number) {
    this.#shared = shared
    this.#scans = scans
    this.space = space
    this.peer = peer
    this.movedMs = nowMs
    this.#tally = new Tally(nowMs)
    this.#session = shared.random.uint32()
    this.#isRepairer = repairer(space.id, shared.node, peer) === shared.node
  }

  start(moments: Moments): void {
    moments.next(this.space, (moment) => {
      if (this.state === 'over') return
      this.#moment = moment
      const sums = new Sums()
      const sketch = new Sketch(this.#shared.bounds.sketchCells, sketchKey(moment.context))
      this.#scan = this.#scans.start(this.space, {
        entry: (entry) =>
          eachSibling(entry, () => {
            // First the sums: the sketch leaves other hashes in `lanes`.
            sums.add(entry.leaf)
            sketch.add(lanes[0] as number, lanes[1] as number)
          }),
        page: (done, nowMs) => {
          this.movedMs = nowMs
          if (!done) return this.#scans.more(this.#scan)
          if (!sameSum(sums.root, moment.root)) {
            this.isDamaged = true
            return this.end('refused', this.movedMs)
          }
          this.#sketch = sketch
          this.state = 'ready'
          if (this.#isRepairer) this.#sendSketch(prefixes[0] as number)
          else if (this.#early !== undefined) this.sketched(this.#early, this.movedMs)
        },
        failed: (why) => {
          this.#event(why, [])
          this.end('refused', this.movedMs)
        },
      })
      this.#scans.more(this.#scan)
    })
  }

  #sendSketch(upTo: number): void {
    const sketch = this.#sketch
    const to = Math.min(upTo, this.#shared.bounds.sketchCells)
    if (sketch === undefined || this.#moment === undefined || to <= this.#cells) return
    const { context } = this.#moment
    const cells = sketch.encode(this.#cells, to)
    this.#tally.bytesOut += cells.length
    this.#tally.roundTrips++
    this.#shared.outputs.push({
      kind: 'send',
      to: this.peer,
      frame: { kind: 'sketch', space: this.space.id, session: this.#session, context, from: this.#cells, cells },
    })
    this.#cells = to
    this.state = 'locating'
  }

  /** Cells of the repairer's sketch. Throws `malformed`. */
  sketched(frame: SketchFrame, nowMs: number): void {
    if (this.#isRepairer || this.state === 'repair') return
    this.movedMs = nowMs
    const sketch = this.#sketch
    if (sketch === undefined || this.#moment === undefined) {
      this.#early = { ...frame, cells: frame.cells.slice(), context: frame.context.slice() }
      return
    }
    // Another context is another set: a later greeting tells whether there is still something to find.
    if (!equalBytes(frame.context, this.#moment.context)) return this.end('late', nowMs)
    if (frame.from === 0) {
      this.#session = frame.session
      this.#theirs = new Sketch(sketch.size, sketch.key)
      this.#cells = 0
    }
    if (this.#theirs === undefined || frame.session !== this.#session || frame.from !== this.#cells) return
    this.state = 'locating'
    this.#tally.bytesIn += frame.cells.length
    this.#cells = this.#theirs.fill(frame.from, frame.cells)
    const found = sketch.difference(this.#theirs, this.#cells)
    if (found !== undefined) return this.#answer(found.mine, found.theirs)
    const next = prefixes.find((size) => size > this.#cells)
    if (next === undefined || next > sketch.size) {
      this.#event('more cells differ than a sketch can tell apart', [])
      return this.end('refused', nowMs)
    }
    this.#tally.roundTrips++
    this.#ask(next - this.#cells, new Uint8Array(0), new Uint8Array(0))
  }

  #ask(more: number, digests: Uint8Array, cells: Uint8Array): void {
    this.#tally.bytesOut += digests.length + cells.length
    this.#shared.outputs.push({
      kind: 'send',
      to: this.peer,
      frame: { kind: 'sketch-ask', space: this.space.id, session: this.#session, more, digests, cells },
    })
  }

  /** Finds the cells behind own digests in the rows and hands them on with the digests that only the peer has. */
  #answer(mine: readonly Digest64[], theirs: readonly Digest64[]): void {
    const digests = new Uint8Array(8 * theirs.length)
    const view = new DataView(digests.buffer)
    for (const [at, { high, low }] of theirs.entries()) {
      view.setUint32(8 * at, high)
      view.setUint32(8 * at + 4, low)
    }
    const packer = new Packer((this.#moment as Moment).vector, answerBytes)
    const keys = new Set<string>()
    this.#find(
      mine,
      (entry, type, path, sibling) => {
        keys.add(entry.key)
        packer.add(entry.key, type, path, sibling)
      },
      () => {
        packer.flush()
        // What does not fit one answer is found again when this much is mended.
        const [first] = packer.chunks
        const cells = first !== undefined && first.length + digests.length <= frameBytes ? first : new Uint8Array(0)
        this.#event('cells differ from those of a peer that has seen the same', [...keys])
        this.#tally.cellsOut += mine.length
        this.#tally.differing = mine.length + theirs.length
        this.#ask(0, digests, cells)
        this.end('done', this.movedMs)
      },
    )
  }

  #find(
    wanted: readonly Digest64[],
    each: (entry: StoredEntry, type: TypeId, path: Path, sibling: Sibling) => void,
    then: () => void,
  ): void {
    if (wanted.length === 0) return then()
    const lows = new Map<number, Digest64[]>()
    for (const digest of wanted) {
      const others = lows.get(digest.low)
      if (others === undefined) lows.set(digest.low, [digest])
      else others.push(digest)
    }
    const vector = this.#moment?.vector ?? new Map()
    this.#scan = this.#scans.start(this.space, {
      entry: (entry) =>
        eachSibling(entry, (type, path, sibling) => {
          const high = lanes[0] as number
          if (lows.get(lanes[1] as number)?.some((digest) => digest.high === high) !== true) return
          if (covers(vector, sibling)) each(entry, type, path, sibling)
        }),
      page: (done, nowMs) => {
        this.movedMs = nowMs
        if (done) then()
        else this.#scans.more(this.#scan)
      },
      failed: (why) => {
        this.#event(why, [])
        this.end('refused', this.movedMs)
      },
    })
    this.#scans.more(this.#scan)
  }

  /** The peer wants more cells, or has found what differs. Throws `malformed`. */
  asked(frame: SketchAsk, nowMs: number): void {
    if (!this.#isRepairer || this.state !== 'locating' || frame.session !== this.#session) return
    this.movedMs = nowMs
    if (frame.more > 0) return this.#sendSketch(this.#cells + frame.more)
    const wanted: Digest64[] = []
    const view = new DataView(frame.digests.buffer, frame.digests.byteOffset, frame.digests.byteLength)
    for (let at = 0; at < frame.digests.length; at += 8) {
      wanted.push({ high: view.getUint32(at), low: view.getUint32(at + 4) })
    }
    if (wanted.length > this.#shared.bounds.sketchCells) throw new SkeinError('malformed', 'more digests than cells')
    const vector = this.#moment?.vector ?? new Map()
    this.#tally.bytesIn += frame.cells.length + frame.digests.length
    if (frame.cells.length > 0) {
      decodeSnapshot(frame.cells.slice(), new Map(), (key, type, path, sibling) => {
        if (!covers(vector, sibling)) throw new SkeinError('malformed', 'a dot beyond the vector')
        this.#tally.cellsIn++
        this.#dispute(key, cellKey(type, path), sibling)
      })
    }
    this.#find(
      wanted,
      ({ key }, type, path, sibling) => this.#dispute(key, cellKey(type, path), sibling),
      () => {
        const keys = new Set(Array.from(this.#disputed.values(), ({ key }) => key))
        this.#event('cells differ from those of a peer that has seen the same', [...keys])
        this.state = 'repair'
        this.repairAt = this.movedMs + this.#shared.bounds.graceMs
      },
    )
  }

  #dispute(key: string, name: string, sibling: Sibling): void {
    const id = `${name.length} ${name}${key}`
    let disputed = this.#disputed.get(id)
    if (disputed === undefined) this.#disputed.set(id, (disputed = { key, name, siblings: [] }))
    disputed.siblings.push(sibling)
  }

  /** Supersedes what was disputed, by name. */
  repair(nowMs: number): void {
    this.repairAt = Infinity
    const { space } = this
    let cells: Disputed[] = []
    let sizeBytes = 0
    const write = (): void => {
      if (cells.length === 0) return
      const options = { nowMs, agent: 'skein', reason: 'integrity repair' }
      this.#shared.replica.transact(space, options, (change) => {
        for (const { key, name, siblings } of cells) {
          const entry = space.entry(key)
          const kept = keptOf(name.charCodeAt(0), siblings, entry.at(name))
          change.repair(entry, name, unique(siblings), kept?.value.slice(), kept?.expires ?? 0)
        }
      })
      cells = []
      sizeBytes = 0
    }
    for (const disputed of this.#disputed.values()) {
      cells.push(disputed)
      for (const { value } of disputed.siblings) sizeBytes += value.length + 64
      if (sizeBytes > repairBytes || cells.length >= limits.deltaWrites / 2) write()
    }
    write()
    this.#tally.cellsOut = this.#disputed.size
    this.#tally.differing = this.#disputed.size
    this.end('done', nowMs)
  }

  #event(what: string, keys: readonly string[]): void {
    const { space, peer } = this
    this.#shared.outputs.push({ kind: 'event', event: { kind: 'integrity', space, peer, what, keys } })
  }

  end(outcome: SessionReport['outcome'], nowMs: number): void {
    if (this.state === 'over') return
    this.state = 'over'
    this.#scans.end(this.#scan)
    this.#sketch = undefined
    this.#theirs = undefined
    this.#shared.outputs.push(this.#tally.report(this.space, this.peer, 'locating', outcome, nowMs))
  }
}

/** The value that stays: the foremost that is disputed, unless what came since has taken its place. */
function keptOf(type: TypeId, disputed: readonly Sibling[], live: readonly Sibling[]): Sibling | undefined {
  // One dot may have two values here: of those the greater.
  const sorted = disputed.toSorted((a, b) => compareSiblings(b, a) || compareBytes(b.value, a.value))
  const kept = foremost(type, sorted)
  if (kept === undefined) return undefined
  const latest = foremost(
    type,
    live.filter((sibling) => !hasDot(disputed, sibling)),
  )
  return latest === undefined || foremost(type, [latest, kept]) === kept ? kept : undefined
}

/** Each dot once: the same one may have two values, and that is the dispute. */
function unique(siblings: readonly Sibling[]): Sibling[] {
  return siblings.filter((sibling, at) => !hasDot(siblings.slice(0, at), sibling))
}
