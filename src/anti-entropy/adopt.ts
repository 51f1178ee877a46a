/**
 * Step 3, the side that takes: asks a peer for the cells of the buckets that differ and takes over its snapshot, with
 * the vector W that it belongs to. While it is under way deltas that W covers are not applied, others are, and the space
 * claims no equality.
 *
 *   sum     the own tree is summed up from the rows, unless nothing is here
 *   ask     the sums go out; the offer says W and which buckets differ
 *   take    chunks are checked as they come and staged: in memory, or as rows once they are many
 *   keys    of what stands here in those buckets: what W covers and does not hold is gone here too
 *   merge   in one batch; or the staged rows are sealed and folded in step by step (see Adoption)
 *
 * Nothing is believed: order, buckets, dots and, where nothing but W is here, the root that all of it must come to.
 */
import { compareUtf8 } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { lanes } from '../base/hash.ts'
import { limits } from '../base/limits.ts'
import { cellKey } from '../crdt/change.ts'
import { compareSiblings } from '../crdt/cell.ts'
import type { Sibling } from '../crdt/cell.ts'
import { decodeDelta, linkBytes } from '../crdt/delta.ts'
import { covers } from '../crdt/dot.ts'
import type { OriginId, ReadonlyVector, Vector } from '../crdt/dot.ts'
import { decodeSnapshot } from '../crdt/state.ts'
import { Buckets, Staging, gather, joining, noCells, replacing } from '../replica/adoption.ts'
import type { Moment } from '../replica/adoption.ts'
import { meet, runBefore } from '../replica/forks.ts'
import { isTooBusy, mayBeLost, readopt } from '../replica/readopt.ts'
import type { Correction, Space } from '../replica/space.ts'
import { standsOf } from '../replica/stands.ts'
import { digest, leafOf } from '../replica/tree.ts'
import type { Sum } from '../replica/tree.ts'
import type { Head, NodeId, TreeAsk, TreeCells, TreeOffer } from '../wire/frame.ts'
import { exchanged, sameSum, sumOf } from './digests.ts'
import type { Forks } from './forks.ts'
import { goneSince } from './gone.ts'
import type { Moments } from './moments.ts'
import { Tally } from './output.ts'
import type { SessionReport, Shared } from './output.ts'
import { Sums, bucketsFor, eachSibling } from './scan.ts'
import type { Scans } from './scan.ts'

/** Dots in the contexts of an offer, over its frames: two thousand origins that have seen each other. */
const mostDots = 16 * limits.frameDots

type State = 'sum' | 'ask' | 'take' | 'store' | 'keys' | 'renew' | 'done'

export class Adopt {
  readonly space: Space
  readonly peer: NodeId
  readonly session: number
  movedMs: number
  /** The link is gone; the peer may still have the snapshot. */
  paused: boolean = false
  outcome: SessionReport['outcome'] | 'sealed' | undefined
  /** The peer has closed an origin of which another history is here: its snapshot must take the place of what is here. */
  isAstray: boolean = false
  readonly #shared: Shared
  readonly #scans: Scans
  readonly #forks: Forks
  /** It does. */
  readonly #isForked: boolean
  readonly #tally: Tally
  /** The peer said something about it, if only that it is at work. */
  #heardMs: number
  readonly #patienceMs: number
  #state: State = 'sum'
  #scan = 0
  #own: { readonly vector: ReadonlyVector; readonly root: Sum; readonly sums: Sums; readonly width: number } | undefined
  /** The own cells do not add up to what they should: those of the peer replace them. */
  #replaces = false
  /** How often the rows are read to find them as memory is. A guess. */
  #attempts = 5
  #corrections: readonly Correction[] = []
  /** Entries that the rows hold more than were counted. */
  #entries = 0
  readonly #heads: Head[] = []
  /** The same by frame: contexts are told by what they have other than the one before. */
  readonly #told: Head[][] = []
  /** In their contexts. */
  #contextDots = 0
  /** Before them. */
  #linkCount = 0
  /** What the snapshot comes to. */
  #root: Sum | undefined
  #vector: Vector = new Map()
  #buckets = new Buckets(new Uint8Array(0))
  #received = 0
  #last: { readonly key: string; readonly name: string; readonly sibling: Sibling } | undefined
  readonly #sum: Sum = new Uint32Array(5)
  #chunks: Uint8Array[] = []
  #chunkBytes = 0
  /** The last key of each chunk. */
  readonly #lastKeys: string[] = []
  /** Chunks go to the disk: they are too many for one batch. */
  #staging: Staging | undefined
  #acknowledged = 0
  readonly #keys: string[] = []

  constructor(
    shared: Shared,
    scans: Scans,
    forks: Forks,
    space: Space,
    peer: NodeId,
    nowMs: number,
    isForked: boolean,
  ) {
    this.#shared = shared
    this.#scans = scans
    this.#forks = forks
    this.#isForked = isForked
    this.space = space
    this.peer = peer
    this.session = shared.random.uint32()
    this.movedMs = nowMs
    this.#heardMs = nowMs
    const { silentMs, silentMostMs } = shared.bounds
    this.#patienceMs = Math.min(silentMostMs, silentMs * 2 ** shared.patience.times(peer, space.id))
    this.#tally = new Tally(nowMs)
  }

  /** The peer is at work. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs
  }

  /** Nothing comes: not even a sign of life, or for very long nothing else. While it is paused, the peer does not come back. */
  isLate(nowMs: number): boolean {
    if (!this.isWaiting) return false
    const { lateMs, readMs } = this.#shared.bounds
    if (nowMs - this.movedMs > readMs) return true
    if (this.paused) return nowMs - Math.max(this.movedMs, this.#heardMs) > lateMs
    // What was not confirmed may be all that the peer may send.
    const isOwed = this.#state === 'ask' || this.#acknowledged === this.#received
    return isOwed && nowMs - this.#heardMs > this.#patienceMs
  }

  start(moments: Moments): void {
    if (this.#isForked) {
      this.#spill()
      return this.#ask(new Uint8Array(0))
    }
    if (this.space.tree.root[4] === 0) return this.#ask(new Uint8Array(0))
    // Which buckets are alike is only true of the cells as they were summed up: until W is known, nothing of others comes.
    this.space.target = everything
    moments.next(this.space, (moment) => {
      if (this.outcome !== undefined) return
      const sums = new Sums()
      let entries = 0
      this.#scan = this.#scans.start(this.space, {
        entry: (entry) => {
          entries++
          eachSibling(entry, () => sums.add(entry.leaf))
        },
        page: (done, nowMs) => {
          this.movedMs = nowMs
          if (done) this.#summed(moment, sums, entries, moments)
          else this.#scans.more(this.#scan)
        },
        failed: (why) => this.#damaged(why),
      })
      this.#scans.more(this.#scan)
    })
  }

  #summed(moment: Moment, sums: Sums, entries: number, moments: Moments): void {
    const { space } = this
    if (!sameSum(sums.root, moment.root)) {
      // The tree can be set right only against rows that are as memory is.
      if (!this.#shared.replica.isStored(space) || !sameSum(space.tree.root, moment.root)) {
        if (--this.#attempts === 0) return this.end('late', this.movedMs)
        return this.start(moments)
      }
      if (!this.#replaces) this.#integrity('the cells on the disk do not add up to the root')
      this.#replaces = true
      this.#corrections = space.corrections((leaf) => sums.leaf(leaf))
      this.#entries = entries - space.entryCount
    }
    const width = bucketsFor(sums.root[4] as number)
    this.#own = { vector: moment.vector, root: sums.root.slice(), sums, width }
    this.#ask(sums.folded(width))
  }

  #damaged(why: string): void {
    this.#integrity(why)
    this.end('refused', this.movedMs)
  }

  #ask(sums: Uint8Array): void {
    this.#state = 'ask'
    this.#heardMs = this.movedMs
    this.#tally.roundTrips++
    this.#send({
      kind: 'tree-ask',
      space: this.space.id,
      session: this.session,
      vector: this.space.chainHeads(limits.chainHeads),
      sums,
      after: '',
    })
  }

  #send(frame: TreeAsk): void {
    this.#shared.outputs.push({ kind: 'send', to: this.peer, frame })
  }

  /** The same peer is there again. */
  resume(nowMs: number): void {
    this.paused = false
    this.#heardMs = nowMs
    // Was the question heard? Nobody knows; it is cheap to begin again.
    if (this.#state === 'ask') return this.end('lost', nowMs)
    if (this.#state !== 'take') return
    // The last word of what is here may have been lost with the link, and the peer may send no more before it.
    if (this.#acknowledged > 0) this.#sendAck(this.#acknowledged, false)
    const after = this.#last?.key ?? ' '
    const { id } = this.space
    this.#send({ kind: 'tree-ask', space: id, session: this.session, vector: [], sums: new Uint8Array(0), after })
  }

  /** What the peer offers. Throws `malformed`. */
  offered(offer: TreeOffer, nowMs: number): void {
    // Many heads come in several frames, all of them before the first cell.
    const isFirst = this.#state === 'ask'
    if (!isFirst && (this.#state !== 'take' || this.#received > 0)) return
    const { space } = this
    this.movedMs = this.#heardMs = nowMs
    const width = this.#own?.width ?? 0
    if (offer.buckets.length !== width / 8 && offer.buckets.length > 0) wrong('buckets that were not asked for')
    if (!this.#isFit(offer, nowMs)) return
    const told: Head[] = []
    for (const head of offer.heads) {
      const { origin, seq, chain, fork, links } = head
      if (this.#vector.has(origin)) wrong('one origin has two heads')
      this.#vector.set(origin, seq)
      // Byte fields are views of a packet that will be gone.
      const kept = fork && { fork: { ...fork, link: fork.link.slice() } }
      told.push({ ...head, chain: chain.slice(), ...kept, ...(links && { links: links.slice() }) })
      this.#contextDots += head.context.length
      this.#linkCount += (links?.length ?? 0) / linkBytes
    }
    this.#heads.push(...told)
    this.#told.push(told)
    if (this.#contextDots > mostDots) wrong('more context than is held')
    if (this.#linkCount > limits.offerLinks) wrong('more links than are kept')
    if (this.#heads.length > limits.frameOrigins) wrong('more origins than a vector may have')
    if (!isFirst) return
    this.#root = sumOf(offer.root, offer.count)
    this.#buckets = new Buckets(offer.buckets.slice())
    this.#state = 'take'
    // What takes the place of everything here may meet anything here.
    if (!this.#isForked) space.target = this.#vector
  }

  /** What an origin had seen is in the snapshot. Of one that is closed whatever anybody speaks of counts as seen. */
  #closeOffer(): void {
    const closed = new Set<OriginId>()
    for (const { origin, fork } of this.#heads) if (fork !== undefined) closed.add(origin)
    for (const { context } of this.#heads) {
      for (const dot of context) {
        const last = this.#vector.get(dot.origin)
        if (last === undefined || (dot.seq > last && !closed.has(dot.origin))) wrong('a context beyond the vector')
      }
    }
  }

  /** Nothing is merged across a fork. */
  #isFit(offer: TreeOffer, nowMs: number): boolean {
    const { space, peer } = this
    const { replica } = this.#shared
    let isFit = true
    for (const head of offer.heads) {
      // Whoever knows more of this origin than it does itself has met a copy of it.
      const isCopied = head.origin === replica.origin && head.seq > (space.vector.get(head.origin) ?? 0)
      if (isCopied) replica.renewSoon()
      const { kind } = meet(space, head, runBefore(head))
      if (kind === 'astray') this.isAstray = true
      if (kind !== 'none' && kind !== 'take' && kind !== 'tell') this.#forks.found(space, peer, head)
      if (isCopied || (kind !== 'none' && kind !== 'take')) isFit = false
    }
    // Of the better side of a fork all is taken.
    if (this.#isForked) return true
    if (!isFit) this.end('refused', nowMs)
    return isFit
  }

  /** Cells of the snapshot. Throws `malformed`. */
  cells({ seq, cells, last }: TreeCells, nowMs: number): void {
    if (this.#state !== 'take' || seq <= this.#received) return
    if (seq !== this.#received + 1) wrong('a chunk out of order')
    if (seq === 1) this.#closeOffer()
    this.#received = seq
    this.#heardMs = nowMs
    if (cells.length > 0 || last) this.movedMs = nowMs
    if (cells.length > 0) this.#take(cells.slice())
    if (last) this.#close(nowMs)
    else this.#acknowledge()
  }

  #take(cells: Uint8Array): void {
    let { key: lastKey = '' } = this.#last ?? {}
    decodeSnapshot(cells, new Map(), (key, type, path, sibling) => {
      const name = cellKey(type, path)
      if (!isAfter(this.#last, key, name, sibling)) wrong('cells out of order')
      this.#last = { key, name, sibling }
      const leaf = key === lastKey ? -1 : leafOf(key)
      if (leaf >= 0 && !this.#buckets.has(leaf)) wrong('cells of a bucket that was not asked for')
      lastKey = key
      if (!covers(this.#vector, sibling)) wrong('a dot beyond the vector')
      digest(key, type, path, sibling)
      for (let i = 0; i < 4; i++) this.#sum[i] = (this.#sum[i] as number) + (lanes[i] as number)
      this.#sum[4] = (this.#sum[4] as number) + 1
    })
    if ((this.#sum[4] as number) > (this.#root?.[4] ?? 0)) wrong('more cells than the snapshot has')
    this.#tally.bytesIn += cells.length
    this.#chunkBytes += cells.length
    this.#lastKeys.push(lastKey)
    if (this.#staging !== undefined) this.#stage(cells)
    else {
      this.#chunks.push(cells)
      if (this.#chunkBytes > this.#shared.bounds.stagedBytes) this.#spill()
    }
  }

  /** From here on chunks stand in rows. */
  #spill(): void {
    this.#staging = new Staging(this.space.number)
    this.space.staging = this.#staging
    for (const cells of this.#chunks) this.#stage(cells)
    this.#chunks = []
  }

  #stage(cells: Uint8Array): void {
    this.#staging?.add(cells)
    this.space.touch()
  }

  /** Credit for more: for what memory holds at once, for rows when the store has them. */
  #acknowledge(): boolean {
    const seq = this.#staging === undefined ? this.#received : Math.min(this.#received, this.#staging.storedCount)
    if (seq <= this.#acknowledged || this.paused) return false
    this.#acknowledged = seq
    this.#sendAck(seq, false)
    return true
  }

  #sendAck(seq: number, stop: boolean): void {
    const frame = { kind: 'tree-ack', space: this.space.id, session: this.session, seq, stop } as const
    this.#shared.outputs.push({ kind: 'send', to: this.peer, frame })
  }

  stored(nowMs: number): void {
    if (this.#staging === undefined) return
    if (this.#state === 'take') {
      // From here on it is the peer's turn again; of one that is gone nothing was heard.
      if (this.#acknowledge()) this.#heardMs = nowMs
    } else if (this.#state === 'store' && this.#staging.storedCount === this.#lastKeys.length) {
      if (this.#isForked) this.#look(nowMs)
      else this.#seal(nowMs)
    }
  }

  /** Which cells may be lost? */
  #look(nowMs: number): void {
    const { space } = this
    // Without the record of a fork that went against this side nothing would be settled.
    if (!this.isAstray) return this.end('refused', nowMs)
    this.isAstray = false
    this.#state = 'keys'
    const isLost = mayBeLost(space, this.#heads)
    this.#keys.push(...space.unstored(''))
    this.#scan = this.#scans.start(space, {
      entry: (entry) => {
        let isMeant = false
        eachSibling(entry, (_, __, sibling) => {
          isMeant ||= isLost(sibling)
        })
        if (isMeant) this.#keys.push(entry.key)
      },
      page: (done) => {
        if (!done) return this.#scans.more(this.#scan)
        // The vector may go back: what is written from here on is written by another.
        this.#state = 'renew'
        this.#shared.replica.renewSoon()
      },
      failed: (why) => this.#damaged(why),
    })
    this.#scans.more(this.#scan)
  }

  /** Another incarnation is there, and has written nothing. */
  renewed(nowMs: number): void {
    if (this.#state !== 'renew') return
    const { space } = this
    const { replica } = this.#shared
    if (isTooBusy(replica)) return this.end('late', nowMs)
    const snapshot = {
      stands: standsOf(space, this.#told),
      buckets: this.#buckets,
      lastKeys: this.#lastKeys,
      keys: new Set(this.#keys),
    }
    try {
      this.#forks.settled(space, this.peer, readopt(replica, space, snapshot, nowMs))
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      return this.#damaged(error.message)
    }
    this.#staging = undefined
    this.#state = 'done'
    this.outcome = 'sealed'
  }

  /** All of it is here. */
  #close(nowMs: number): void {
    const own = this.#own
    // Where W covers all that was here, the result is the snapshot: its root is known.
    if (own === undefined || isCovered(own.vector, this.#vector)) {
      const nothing = new Uint32Array(5)
      const root = exchanged(own?.root ?? nothing, own?.sums.inside(this.#buckets) ?? nothing, this.#sum)
      if (this.#root === undefined || !sameSum(root, this.#root))
        wrong('cells that do not come to the root that was offered')
    }
    this.#sendAck(this.#received, false)
    this.#state = this.#staging === undefined ? 'keys' : 'store'
    if (this.#staging !== undefined) return this.stored(nowMs)
    if (own === undefined && this.space.tree.root[4] === 0) return this.#merge(nowMs)
    // What is written after this scan began and was not there before is beyond W, and stays.
    for (const key of this.space.unstored('')) if (this.#buckets.has(leafOf(key))) this.#keys.push(key)
    this.#scan = this.#scans.start(this.space, {
      entry: ({ key, leaf }) => {
        if (this.#buckets.has(leaf)) this.#keys.push(key)
      },
      page: (done, nowMs) => {
        this.movedMs = nowMs
        if (this.#keys.length > this.#shared.bounds.stagedKeys) {
          this.#scans.end(this.#scan)
          this.#state = 'store'
          this.#spill()
        } else if (done) this.#merge(this.movedMs)
        else this.#scans.more(this.#scan)
      },
      failed: (why) => this.#damaged(why),
    })
    this.#scans.more(this.#scan)
  }

  #merge(nowMs: number): void {
    const { space } = this
    const staged = new Map<string, Map<string, Sibling[]>>()
    for (const cells of this.#chunks) gather(cells, staged)
    const keys = new Set(this.#keys)
    for (const key of staged.keys()) keys.add(key)
    const outlived = this.#outlived()
    if (outlived === undefined || !this.#hasRead([...keys, ...outlived])) return
    const mine = new Map(space.vector)
    const isGone = this.#replaces ? goneSince(space, this.#vector, this.#shared.replica.origin) : undefined
    if (this.#replaces && isGone === undefined) return this.end('refused', nowMs)
    const rule = isGone === undefined ? joining(mine, this.#vector) : replacing(this.#vector, isGone)
    space.target = undefined
    this.#shared.replica.merge(space, this.#chunkBytes, nowMs, this.#heads, () => {
      space.correct(this.#corrections, this.#entries)
      for (const key of keys) space.mergeEntry(space.entry(key), staged.get(key) ?? noCells, rule)
      this.#leave(outlived)
      space.raise(standsOf(space, this.#told))
    })
    this.end('done', nowMs)
  }

  #seal(nowMs: number): void {
    const { space } = this
    const mine = new Map(space.vector)
    const isAll = isCovered(mine, this.#vector)
    const replaces = this.#replaces
    // What was superseded since would have to be known for as long as the fold takes.
    if (replaces && !isAll) return this.end('refused', nowMs)
    const outlived = this.#outlived()
    if (outlived === undefined || !this.#hasRead(outlived)) return
    space.target = undefined
    this.#shared.replica.merge(space, 0, nowMs, this.#heads, () => {
      space.correct(this.#corrections, this.#entries)
      this.#leave(outlived)
      const owed =
        isAll && this.#root !== undefined ? exchanged(this.#root, space.tree.root, new Uint32Array(5)) : undefined
      const seal = { mine, theirs: this.#vector, buckets: this.#buckets, lastKeys: this.#lastKeys, owed, replaces }
      space.seal(seal, standsOf(space, this.#told))
    })
    this.#staging = undefined
    this.#state = 'done'
    this.outcome = 'sealed'
  }

  /**
   * Entries outside of the buckets that were written here since the own sums were taken, by deltas that W covers: they went
   * to the peer by another way. In a bucket that was found alike W holds what was here then, so it holds nothing of them.
   * Undefined, and over, where the log does not tell.
   */
  #outlived(): Set<string> | undefined {
    const keys = new Set<string>()
    const own = this.#own
    if (own === undefined) return keys
    for (const log of this.space.logs.values()) {
      const last = Math.min(log.seq, this.#vector.get(log.origin) ?? 0)
      for (let seq = (own.vector.get(log.origin) ?? 0) + 1; seq <= last; seq++) {
        const entry = log.entry(seq)
        if (entry === undefined) {
          this.end('late', this.movedMs)
          return undefined
        }
        const { writes } = decodeDelta(log.origin, seq, entry.body)
        for (const { key } of writes) if (!this.#buckets.has(leafOf(key))) keys.add(key)
      }
    }
    return keys
  }

  #leave(outlived: ReadonlySet<string>): void {
    const { vector } = this.#own ?? { vector: this.#vector }
    for (const key of outlived) {
      this.space.mergeEntry(this.space.entry(key), noCells, (mine) =>
        mine.filter((sibling) => covers(vector, sibling) || !covers(this.#vector, sibling)),
      )
    }
  }

  /** Reads all that a merge will need: where a row is damaged nothing has changed, and it is over. */
  #hasRead(keys: Iterable<string>): boolean {
    const { space } = this
    try {
      for (const key of keys) {
        const entry = space.entry(key)
        entry.siblings()
        space.tree.touch(entry.leaf)
      }
      return true
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      this.#damaged(error.message)
      return false
    }
  }

  #integrity(what: string): void {
    const { space } = this
    this.#shared.outputs.push({ kind: 'event', event: { kind: 'integrity', space, peer: undefined, what, keys: [] } })
  }

  /** Is it known which snapshot it will be? */
  get hasTarget(): boolean {
    return this.#root !== undefined
  }

  /** Waits for the peer. */
  get isWaiting(): boolean {
    return this.#state === 'ask' || this.#state === 'take'
  }

  /** Is over, unless it was already. */
  end(outcome: SessionReport['outcome'], nowMs: number): void {
    if (this.#isForked) this.isAstray = false
    if (this.outcome !== undefined && this.outcome !== 'sealed') return
    if (this.outcome === undefined) {
      this.space.target = undefined
      this.#scans.end(this.#scan)
      if (this.#staging !== undefined) this.space.abandonStaging()
      if (outcome !== 'done' && outcome !== 'lost' && outcome !== 'stopped') this.#sendAck(0, true)
    }
    this.outcome = outcome
    this.#state = 'done'
    this.#chunks = []
    this.#tally.cellsIn = this.#sum[4] as number
    this.#tally.differing = this.#buckets.count
    this.#shared.outputs.push(this.#tally.report(this.space, this.peer, 'adopting', outcome, nowMs))
  }
}

/** Covers whatever there is. */
class Everything extends Map<OriginId, number> {
  override get(): number {
    return Infinity
  }
}

const everything: ReadonlyVector = new Everything()

function wrong(what: string): never {
  throw new SkeinError('malformed', what)
}

function isCovered(vector: ReadonlyVector, by: ReadonlyVector): boolean {
  for (const [origin, seq] of vector) if (seq > (by.get(origin) ?? 0)) return false
  return true
}

function isAfter(
  last: { readonly key: string; readonly name: string; readonly sibling: Sibling } | undefined,
  key: string,
  name: string,
  sibling: Sibling,
): boolean {
  if (last === undefined) return true
  if (key !== last.key) return compareUtf8(key, last.key) > 0
  if (name !== last.name) return name > last.name
  return compareSiblings(sibling, last.sibling) > 0
}
