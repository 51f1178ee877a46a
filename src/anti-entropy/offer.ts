/**
 * Step 3, the side that gives: one snapshot of a space for one peer, with its vector and everything that comes with it.
 * A first pass over the rows sums the tree up anew and finds the buckets that differ, a second one ships their cells under
 * credit. What is shipped must come to what the tree said, or this node is unfit as a source and stops.
 */
import { equalBytes } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { linkBytes } from '../crdt/delta.ts'
import { covers } from '../crdt/dot.ts'
import type { ReadonlyVector } from '../crdt/dot.ts'
import { Buckets } from '../replica/adoption.ts'
import type { Moment } from '../replica/adoption.ts'
import type { Context } from '../replica/context.ts'
import type { StoredEntry } from '../replica/entry.ts'
import { linksOf } from '../replica/forks.ts'
import type { Stand } from '../replica/log.ts'
import type { Space } from '../replica/space.ts'
import { headOf } from '../replica/stands.ts'
import { lanes } from '../base/hash.ts'
import type { Head, NodeId, TreeAck, TreeAsk } from '../wire/frame.ts'
import { rootBytes, sameSum } from './digests.ts'
import { Tally } from './output.ts'
import type { SessionReport, Shared } from './output.ts'
import { Packer, Sums, differingBuckets, eachSibling } from './scan.ts'
import type { Scans } from './scan.ts'

/** Heads, what they had seen and (two for one) the links before them in one frame. A guess: a third of a packet, and the last head of it may be as large again. */
const offerDots = 20_000

interface Sent {
  readonly seq: number
  readonly cells: Uint8Array
  readonly last: boolean
}

export class Offer {
  readonly space: Space
  readonly peer: NodeId
  readonly session: number
  movedMs: number
  ended: boolean = false
  /** The link is gone: nothing is sent until the peer asks again. */
  paused: boolean = false
  readonly #shared: Shared
  readonly #scans: Scans
  readonly #ask: TreeAsk
  readonly #tally: Tally
  readonly #open: number[] = []
  #cellScan = 0
  #buckets = new Buckets(new Uint8Array(0))
  #packer: Packer | undefined
  #pin: ReadonlyVector | undefined
  /** What the shipped cells must add up to, and what they add up to so far. */
  #promised: Uint32Array = new Uint32Array(5)
  readonly #shipped = new Uint32Array(5)
  #pending = false
  #scanned = false
  #seq = 0
  /** On their way and not acknowledged: kept, so that a new link goes on where the old one broke. */
  #sent: Sent[] = []
  #sentBytes = 0
  /** When the peer last got something. */
  #saidMs: number

  constructor(shared: Shared, scans: Scans, space: Space, peer: NodeId, ask: TreeAsk, nowMs: number) {
    this.#shared = shared
    this.#scans = scans
    this.space = space
    this.peer = peer
    this.session = ask.session
    this.#ask = ask
    this.#tally = new Tally(nowMs)
    this.movedMs = nowMs
    this.#saidMs = nowMs
  }

  /** When the peer is to be told that this side is still at work: it has nothing else to go by. */
  get signAt(): number {
    const isAtWork = this.#packer === undefined || (!this.#scanned && this.#sentBytes < this.#shared.bounds.windowBytes)
    return this.ended || this.paused || !isAtWork ? Infinity : this.#saidMs + this.#shared.bounds.signMs
  }

  sign(nowMs: number): void {
    this.#saidMs = nowMs
    const { session, peer: to } = this
    const frame = { kind: 'tree-ack', space: this.space.id, session, seq: 0, stop: false } as const
    this.#shared.outputs.push({ kind: 'send', to, frame })
  }

  /** The store holds that moment: read it. */
  begin(moment: Moment): void {
    if (this.ended) return
    this.#pin = moment.vector
    this.space.pins.add(moment.vector)
    this.#packer = new Packer(moment.vector, this.#shared.bounds.cellBytes)
    const { sums: asked } = this.#ask
    const isAll = asked.length === 0
    if (!isAll) this.#sum(moment, asked)
    this.#cellScan = this.#scans.start(this.space, {
      entry: (entry) => this.#ship(entry, moment),
      page: (done, nowMs) => {
        this.movedMs = nowMs
        this.#pending = false
        if (done) this.#finish()
        this.#pump()
      },
      failed: (why) => this.#unfit(why),
    })
    this.#open.push(this.#cellScan)
    if (!isAll) return
    this.#promised = moment.root
    this.#offer(moment)
    this.#pump()
  }

  #sum(moment: Moment, asked: Uint8Array): void {
    const sums = new Sums()
    const scan = this.#scans.start(this.space, {
      entry: (entry) => eachSibling(entry, () => sums.add(entry.leaf)),
      page: (done, nowMs) => {
        this.movedMs = nowMs
        if (!done) return this.#scans.more(scan)
        if (!sameSum(sums.root, moment.root)) return this.#unfit('the cells on the disk do not add up to the root')
        this.#buckets = new Buckets(differingBuckets(sums.folded(asked.length / 8), asked))
        this.#promised = sums.inside(this.#buckets)
        this.#offer(moment)
        this.#pump()
      },
      failed: (why) => this.#unfit(why),
    })
    this.#open.push(scan)
    this.#scans.more(scan)
  }

  #offer({ stands, root }: Moment): void {
    const { outputs } = this.#shared
    const { session, peer: to } = this
    const buckets = this.#buckets.bits
    const [count, proof] = [root[4] as number, rootBytes(root, 16)]
    const send = (some: readonly Head[]): void => {
      const { id } = this.space
      outputs.push({
        kind: 'send',
        to,
        frame: { kind: 'tree-offer', space: id, session, heads: some, buckets, count, root: proof },
      })
    }
    let some: Head[] = []
    let before: Context | undefined
    let dots = 0
    const most = Math.min(limits.forkLinks, Math.floor(limits.offerLinks / stands.length))
    for (const stand of stands) {
      const links = this.#linksBefore(stand, most)
      const head = headOf(this.space, { ...stand, ...(links && { links }) }, before)
      some.push(head)
      before = stand.context
      dots += 1 + head.context.length + (links?.length ?? 0) / 16
      if (dots < offerDots) continue
      send(some)
      some = []
      before = undefined
      dots = 0
    }
    if (some.length > 0 || stands.length === 0) send(some)
  }

  /** What the taker must be able to show later: with the cells alone a fork would be merged unseen. */
  #linksBefore({ origin, seq, chain }: Stand, most: number): Uint8Array | undefined {
    const here = this.space.logs.get(origin)?.linkAt(seq)
    // It may stand in another history by now than at the moment of the snapshot.
    if (here === undefined || !equalBytes(here, chain.subarray(0, linkBytes))) return undefined
    const { links } = linksOf(this.space, origin, seq - 1, most)
    return links.length === 0 ? undefined : links
  }

  #ship(entry: StoredEntry, moment: Moment): void {
    if (!this.#buckets.has(entry.leaf)) return
    eachSibling(entry, (type, path, sibling) => {
      if (this.ended) return
      if (!covers(moment.vector, sibling)) return this.#unfit('a cell on the disk has a dot beyond the vector')
      for (let i = 0; i < 4; i++) this.#shipped[i] = (this.#shipped[i] as number) + (lanes[i] as number)
      this.#shipped[4] = (this.#shipped[4] as number) + 1
      this.#packer?.add(entry.key, type, path, sibling)
    })
  }

  #finish(): void {
    if (!sameSum(this.#shipped, this.#promised)) return this.#unfit('the cells on the disk do not add up to the tree')
    this.#packer?.flush()
    this.#scanned = true
  }

  /** Sends what the window takes, and asks for rows when it takes more. */
  #pump(): void {
    const chunks = this.#packer?.chunks
    if (this.ended || this.paused || chunks === undefined) return
    const { windowBytes } = this.#shared.bounds
    while (this.#sentBytes < windowBytes) {
      // The last one must be known as such, so one is kept back until the scan is through.
      if (chunks.length > 1 || (this.#scanned && chunks.length === 1)) {
        this.#send(chunks.shift() as Uint8Array, this.#scanned && chunks.length === 0)
      } else if (this.#scanned) {
        if (this.#seq === 0) this.#send(new Uint8Array(0), true)
        return
      } else {
        if (!this.#pending) this.#scans.more(this.#cellScan)
        this.#pending = true
        return
      }
    }
  }

  #send(cells: Uint8Array, last: boolean): void {
    const sent = { seq: ++this.#seq, cells, last }
    this.#sent.push(sent)
    this.#sentBytes += cells.length
    this.#tally.bytesOut += cells.length
    this.#post(sent)
  }

  #post({ seq, cells, last }: Sent): void {
    this.#saidMs = this.movedMs
    const { session, peer } = this
    const frame = { kind: 'tree-cells', space: this.space.id, session, seq, cells, last } as const
    this.#shared.outputs.push({ kind: 'send', to: peer, frame })
  }

  ack({ seq, stop }: TreeAck, nowMs: number): void {
    if (stop) return this.end('stopped', nowMs)
    this.movedMs = nowMs
    this.#tally.roundTrips++
    while (this.#sent.length > 0 && (this.#sent[0] as Sent).seq <= seq) {
      const { cells, last } = this.#sent.shift() as Sent
      this.#sentBytes -= cells.length
      if (last) return this.end('done', nowMs)
    }
    this.#pump()
  }

  /** The peer is back on another link: what it may not have got goes out again. */
  resume(nowMs: number): void {
    this.movedMs = nowMs
    this.paused = false
    for (const sent of this.#sent) this.#post(sent)
    this.#pump()
  }

  #unfit(why: string): void {
    if (this.ended) return
    const { space } = this
    this.#shared.outputs.push({
      kind: 'event',
      event: { kind: 'integrity', space, peer: undefined, what: why, keys: [] },
    })
    this.end('refused', this.movedMs)
  }

  end(outcome: SessionReport['outcome'], nowMs: number): void {
    if (this.ended) return
    this.ended = true
    if (outcome !== 'done' && outcome !== 'stopped') {
      // Nobody is left waiting for what will not come.
      const frame = { kind: 'tree-ack', space: this.space.id, session: this.session, seq: 0, stop: true } as const
      this.#shared.outputs.push({ kind: 'send', to: this.peer, frame })
    }
    for (const scan of this.#open) this.#scans.end(scan)
    if (this.#pin !== undefined) this.space.pins.delete(this.#pin)
    this.#tally.cellsOut = this.#packer?.siblings ?? 0
    this.#tally.differing = this.#buckets.count
    this.#packer = undefined
    this.#sent = []
    this.#shared.outputs.push(this.#tally.report(this.space, this.peer, 'offering', outcome, nowMs))
  }
}
