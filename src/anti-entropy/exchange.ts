/**
 * Step 2 with one peer about one space: vectors, and the deltas that either side lacks, whole, in an order in which they
 * may be applied. Every chunk moves the receiver's vector as far as it reaches, so a lost link costs what was on its
 * way and nothing else.
 *
 *   asker                                    other
 *   vector {answer: true}            →
 *                                    ←       deltas, as many as the window takes
 *                                    ←       vector {answer: false}, when it lacks something too
 *   vector {answer: false}           →       after every chunk with `more`: credit for the next
 *   deltas                           →
 *
 * A catch-up without a delta and with `more` says: what you lack is no longer in my log. That is step 3.
 */
import { equalBytes } from '../base/bytes.ts'
import { covers, nodeOf } from '../crdt/dot.ts'
import type { Dot, OriginId, ReadonlyVector, Vector } from '../crdt/dot.ts'
import { missing } from '../replica/catch-up.ts'
import type { Received } from '../replica/replica.ts'
import type { Space } from '../replica/space.ts'
import { shortNameOf } from '../wire/names.ts'
import type { Chains, Deltas, NodeId, SpaceId, VectorEntry, VectorFrame } from '../wire/frame.ts'
import type { Compared, Forks } from './forks.ts'
import { Tally } from './output.ts'
import type { Shared } from './output.ts'

/** How much the peers must say to each other to move on. */
type Form = 'short' | 'full' | 'chains'

interface Flight extends Dot {
  readonly sizeBytes: number
}

export type Arrival = 'moved' | 'done' | 'below' | 'nothing' | 'forked'

export class Exchange {
  readonly space: Space
  readonly id: SpaceId
  readonly peer: NodeId
  /** Our vector is out: what the peer has is on its way. */
  asked: boolean = false
  movedMs: number = -Infinity
  /** When something last came of what was asked. A question of the peer's is nothing of it. */
  #answeredMs = -Infinity
  #repeatedMs = -Infinity
  startedMs: number = -Infinity
  readonly #shared: Shared
  readonly #forks: Forks
  #tally = new Tally(0)
  #form: Form = 'short'
  /** Both contexts at the start of the last exchange. */
  #before: { readonly mine: Uint8Array; readonly theirs: Uint8Array } | undefined
  /** The peer's word, raised by what is on its way to it. */
  #theirs: Vector | undefined
  #flights: Flight[] = []
  #flying = 0
  #comparedMs = -Infinity
  /** The peer was told that what it lacks is no longer in the log: it is for it to take a snapshot, from whom it likes. */
  #isBelow = false
  /** The peer has told its chains since the last start. */
  #heard = false
  #servedMs = -Infinity
  /** How often in a row what was asked for did not come in time. */
  #lates = 0

  constructor(shared: Shared, forks: Forks, space: Space, id: SpaceId, peer: NodeId) {
    this.#shared = shared
    this.#forks = forks
    this.space = space
    this.id = id
    this.peer = peer
  }

  /** The peer's greeting told of another context: ask for what it has. */
  start(theirContext: Uint8Array, nowMs: number): void {
    const mine = this.space.contextDigest()
    const before = this.#before
    const same = before !== undefined && equalBytes(before.mine, mine) && equalBytes(before.theirs, theirContext)
    // What moved nothing is followed by the next fuller form, and when even chains explained nothing, by the first again.
    const isSuspect = this.#forks.hasSuspects(this.space)
    if (!same) this.#isBelow = false
    if (same && this.#form === 'chains' && this.#heard && !isSuspect && !this.#isBelow) {
      this.#shared.outputs.push({ kind: 'event', event: { kind: 'stuck', space: this.space, peer: this.peer } })
    }
    if (this.#form === 'chains') this.#form = 'short'
    else if (isSuspect) this.#form = 'chains'
    else this.#form = !same ? 'short' : this.#form === 'short' ? 'full' : 'chains'
    this.#heard = false
    this.#before = { mine, theirs: theirContext }
    this.#tally = new Tally(nowMs)
    this.startedMs = nowMs
    this.movedMs = this.#answeredMs = nowMs
    this.asked = true
    if (this.#form === 'chains') this.#sendChains(true)
    else this.#sendVector(true)
  }

  /** What the peer sent does not follow what is here: both tell their chains. */
  startChains(nowMs: number): void {
    if (nowMs - this.#comparedMs < this.#shared.bounds.pauseMs) return
    this.#form = 'chains'
    this.asked = true
    this.startedMs = nowMs
    this.movedMs = this.#answeredMs = nowMs
    this.#sendChains(true)
    this.#comparedMs = nowMs
  }

  /** Whatever was under way is forgotten: the next greeting starts again. */
  end(outcome: 'lost' | 'late' | 'refused', nowMs: number): void {
    const wasBusy = this.busy
    if (outcome === 'late' && this.asked) {
      this.#lates++
      this.#shared.patience.failed(this.peer, this.id, nowMs - this.#answeredMs, nowMs)
      // What the peer asked for goes on.
      this.asked = false
      if (this.#theirs !== undefined && !this.isLate(nowMs)) return
    }
    if (wasBusy && !this.#tally.idle) this.#report(outcome, nowMs)
    this.#close()
  }

  /**
   * Nothing has moved for too long. While this one asks nobody else is asked, so a lost answer is given up soon; a peer that
   * is slow gets twice the time each time.
   */
  isLate(nowMs: number): boolean {
    const { answerMs, lateMs } = this.#shared.bounds
    if (this.asked) return nowMs - this.#answeredMs > Math.min(lateMs, answerMs * 2 ** this.#lates)
    return this.busy && nowMs - this.movedMs > lateMs
  }

  get busy(): boolean {
    return this.asked || this.#theirs !== undefined
  }

  #close(): void {
    this.asked = false
    this.#theirs = undefined
    this.#flights = []
    this.#flying = 0
  }

  /** A vector came: send what it lacks, and ours when we lack something. */
  vector(frame: VectorFrame, nowMs: number): void {
    // Each of these may cost a window of deltas: who asks all the time is not served all the time.
    if (frame.answer && this.#flights.length > 0 && nowMs - this.#servedMs < this.#shared.bounds.pauseMs) return
    const { theirs, ahead } = this.#resolve(frame)
    if (frame.answer && !this.busy) {
      this.#tally = new Tally(nowMs)
      this.startedMs = nowMs
    }
    this.movedMs = nowMs
    if (!frame.answer) this.#answeredMs = nowMs
    if (frame.answer) {
      this.#servedMs = nowMs
      this.#flights = []
      this.#flying = 0
    }
    while (this.#flights.length > 0 && covers(theirs, this.#flights[0] as Flight)) {
      this.#flying -= (this.#flights.shift() as Flight).sizeBytes
    }
    for (const { origin, seq } of this.#flights) if (seq > (theirs.get(origin) ?? 0)) theirs.set(origin, seq)
    this.#theirs = theirs
    const behind = this.#lacks(theirs)
    // An answer that finds both sides alike lets the asker see that nothing will come.
    if (frame.answer && !this.asked && (ahead || !behind)) {
      this.asked = ahead
      this.#answeredMs = nowMs
      this.#sendVector(false, frame.form)
    } else if (frame.answer && ahead && this.#isUnanswered(nowMs)) {
      this.#repeatedMs = nowMs
      this.#sendVector(true)
    } else if (!ahead) this.asked = false
    this.#pump(nowMs)
  }

  /** The peer asks and has not answered: links keep order, so by now the question was lost, or the answer. */
  #isUnanswered(nowMs: number): boolean {
    return this.asked && nowMs - Math.max(this.#answeredMs, this.#repeatedMs) > this.#shared.bounds.answerMs
  }

  /** Have we anything beyond this vector that may leave? */
  #lacks(theirs: ReadonlyVector): boolean {
    const { keptFrom, vector } = this.space
    for (const [origin, seq] of vector) {
      const next = (theirs.get(origin) ?? 0) + 1
      if (seq >= next && next < (keptFrom.get(origin) ?? Infinity)) return true
    }
    return false
  }

  #pump(nowMs: number): void {
    const { windowBytes, chunkBytes } = this.#shared.bounds
    while (this.#theirs !== undefined && this.#flying < windowBytes) {
      const { runs, sizeBytes, more, below } = missing(this.space, this.#theirs, chunkBytes)
      if (below) {
        this.#isBelow = true
        this.#deltas([], true)
        this.#theirs = undefined
        return
      }
      if (runs.length === 0) {
        if (this.#flights.length === 0 || this.#tally.deltasOut > 0) this.#sent(nowMs)
        return
      }
      for (const { origin, seq, bodies } of runs) {
        this.#theirs.set(origin, seq + bodies.length - 1)
        this.#tally.deltasOut += bodies.length
      }
      const last = runs.at(-1) as (typeof runs)[0]
      this.#flights.push({ origin: last.origin, seq: last.seq + last.bodies.length - 1, sizeBytes })
      this.#flying += sizeBytes
      this.#tally.bytesOut += sizeBytes
      this.#deltas(runs, more)
      if (!more) return this.#sent(nowMs)
    }
  }

  /** Everything that the peer lacked is on its way. */
  #sent(nowMs: number): void {
    this.#theirs = undefined
    if (!this.asked) this.#done(nowMs)
  }

  #done(nowMs: number): void {
    if (!this.#tally.idle) this.#report('done', nowMs)
    // What is on its way stays noted: acknowledgements of it are still to come.
    this.asked = false
    this.#lates = 0
    this.#theirs = undefined
  }

  #report(outcome: 'done' | 'lost' | 'late' | 'refused', nowMs: number): void {
    this.#shared.outputs.push(this.#tally.report(this.space, this.peer, 'deltas', outcome, nowMs))
    this.#tally = new Tally(nowMs)
  }

  /** Applies what came. Throws SkeinError `malformed` for bytes that are not what they say. */
  deltas(frame: Deltas, nowMs: number): Arrival {
    const { replica } = this.#shared
    const wasAsked = this.asked
    let applied = 0
    let isForked = false
    for (const { origin, seq, bodies } of frame.runs) {
      for (const [at, body] of bodies.entries()) {
        const dot = { origin, seq: seq + at }
        const outcome = replica.receive(this.space, dot, body, nowMs)
        this.#tally.bytesIn += body.length
        this.#tally.deltasIn++
        if (outcome === 'applied') applied++
        if (isOfFork(outcome)) {
          this.#forks.suspect(this.space, origin)
          isForked = true
        }
      }
    }
    this.movedMs = this.#answeredMs = nowMs
    if (isForked) {
      this.asked = false
      this.#before = undefined
      return 'forked'
    }
    if (!wasAsked) return applied > 0 ? 'moved' : 'nothing'
    this.#tally.roundTrips++
    if (frame.more) {
      if (frame.runs.length === 0) {
        this.asked = false
        this.#before = undefined
        return 'below'
      }
      // Without movement another round would bring the same again.
      if (applied > 0) {
        this.#sendVector(false, 'short')
        return 'moved'
      }
    }
    this.asked = false
    this.#lates = 0
    this.#shared.patience.came(this.peer, this.id)
    if (this.#theirs === undefined) this.#done(nowMs)
    return applied > 0 ? 'done' : 'nothing'
  }

  /** Vectors are equal and contexts are not, or something did not follow: where do the histories part? */
  chains(frame: Chains, nowMs: number): Compared {
    const wasAsked = this.asked && !frame.answer
    this.#heard ||= wasAsked && !this.#mayBeKeptBack(frame)
    this.movedMs = this.#answeredMs = nowMs
    this.asked = false
    const compared = this.#forks.compare(this.space, this.peer, frame, wasAsked, nowMs)
    if (compared.reply !== undefined) {
      this.asked = compared.reply === 'answer'
      this.#send(this.#forks.frame(this.space, this.id, this.asked, frame))
    }
    return compared
  }

  /** What its writer's disk does not have yet may be kept back by him for long: nobody is at a loss about that. */
  #mayBeKeptBack({ heads }: Chains): boolean {
    const { keptFrom, vector } = this.space
    const theirs = new Map(heads.map(({ origin, seq }) => [origin, seq]))
    for (const origin of keptFrom.keys()) {
      if ((vector.get(origin) ?? 0) > (theirs.get(origin) ?? 0)) return true
    }
    return heads.some(({ origin, seq }) => nodeOf(origin) === this.peer && seq > (vector.get(origin) ?? 0))
  }

  #resolve(frame: VectorFrame): { theirs: Vector; ahead: boolean } {
    const { vector } = this.space
    const theirs: Vector = new Map()
    let ahead = false
    if (frame.form === 'full') {
      for (const { origin, seq } of frame.entries) {
        theirs.set(origin as OriginId, seq)
        ahead ||= seq > (vector.get(origin as OriginId) ?? 0)
      }
      return { theirs, ahead }
    }
    const named = new Map<string, OriginId>()
    for (const [origin, seq] of vector) {
      const name = shortNameOf(origin)
      // Two of ours under one name: the short form cannot tell, so it moves neither, and the full one will.
      if (named.has(name)) theirs.set(origin, seq)
      else named.set(name, origin)
    }
    for (const { origin: name, seq } of frame.entries) {
      const origin = named.get(name)
      if (origin !== undefined) theirs.set(origin, seq)
      ahead ||= origin === undefined || seq > (vector.get(origin) ?? 0)
    }
    return { theirs, ahead }
  }

  #sendVector(answer: boolean, form: 'short' | 'full' = this.#form === 'short' ? 'short' : 'full'): void {
    const entries: VectorEntry[] = []
    for (const [origin, seq] of this.space.vector) {
      entries.push({ origin: form === 'full' ? origin : shortNameOf(origin), seq })
    }
    this.#send({ kind: 'vector', space: this.id, entries, form, answer })
  }

  #sendChains(answer: boolean): void {
    this.#send(this.#forks.frame(this.space, this.id, answer))
  }

  #deltas(runs: Deltas['runs'], more: boolean): void {
    this.#send({ kind: 'deltas', space: this.id, runs, cause: 'catch-up', more, hops: 0 })
  }

  #send(frame: VectorFrame | Chains | Deltas): void {
    this.#shared.outputs.push({ kind: 'send', to: this.peer, frame })
  }
}

/** Does what became of a delta speak of two histories of its origin? */
export function isOfFork(received: Received): boolean {
  return received === 'forked' || received === 'closed' || received === 'copied'
}
