/** What anti-entropy wants done and what it has to tell; see AntiEntropy. Outputs come in the order of duty. */
import type { Prng } from '../base/prng.ts'
import type { OriginId, ReadonlyVector } from '../crdt/dot.ts'
import type { Replica } from '../replica/replica.ts'
import type { Space } from '../replica/space.ts'
import type { Frame, NodeId } from '../wire/frame.ts'
import type { Patience } from './patience.ts'

/**
 * `equal`: the same context and the same root, proven at this moment. `apart`: other contexts, so something is on its way.
 * `unequal`: the same context and other roots, which must not be. `catching-up`: one of the two claims nothing.
 */
export type Comparison = 'equal' | 'apart' | 'unequal' | 'catching-up'

export type Report =
  /** A greeting came. `durable`: the peer has all that it greets about on its disk. */
  | {
      readonly kind: 'compared'
      readonly space: Space
      readonly peer: NodeId
      readonly found: Comparison
      readonly durable: boolean
    }
  /** What the peer has on its disk, for the cut. */
  | { readonly kind: 'stored'; readonly space: Space; readonly peer: NodeId; readonly vector: ReadonlyVector }
  | SessionReport

/** A session that came to its end, one way or another. */
export interface SessionReport {
  readonly kind: 'session'
  readonly space: Space
  readonly peer: NodeId
  /** `deltas`: step 2. `adopting`, `offering`: the two sides of step 3. `locating`: step 4. */
  readonly step: 'deltas' | 'adopting' | 'offering' | 'locating'
  /** `done`, or why not. */
  readonly outcome: 'done' | 'lost' | 'late' | 'stopped' | 'refused'
  /** Of `adopting` and `offering` the leaves of the tree that differed or were fetched, of `locating` the cells. */
  readonly differing: number
  readonly deltasIn: number
  readonly deltasOut: number
  readonly cellsIn: number
  readonly cellsOut: number
  /** Bytes of deltas and cells, without the envelope. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** How often this side waited for an answer. */
  readonly roundTrips: number
  readonly tookMs: number
}

export type SyncEvent =
  | {
      readonly kind: 'integrity'
      readonly space: Space
      readonly peer: NodeId | undefined
      readonly what: string
      readonly keys: readonly string[]
    }
  /** Two histories under one name: raised when it is found, unless it is settled at once, and when it is settled here. */
  | {
      readonly kind: 'fork'
      readonly space: Space
      readonly peer: NodeId
      readonly origin: OriginId
      /** Below it they are the same, as far as is known; where it was found, until it is settled. */
      readonly seq: number
      /** Chain hashes of both, at their ends; undefined where nothing here ever knew the losing one. */
      readonly winner: Uint8Array
      readonly loser: Uint8Array | undefined
      readonly settled: boolean
    }
  /** Vectors are equal, contexts are not, and nothing that was exchanged explains it. */
  | { readonly kind: 'stuck'; readonly space: Space; readonly peer: NodeId }

export type SyncOutput =
  | { readonly kind: 'send'; readonly to: NodeId; readonly frame: Frame }
  /** Take a snapshot of the store now: the entry rows of that local space number will be asked for. */
  | { readonly kind: 'scan'; readonly scan: number; readonly space: number }
  | { readonly kind: 'more'; readonly scan: number }
  | { readonly kind: 'end-scan'; readonly scan: number }
  | { readonly kind: 'report'; readonly report: Report }
  | { readonly kind: 'event'; readonly event: SyncEvent }
  | { readonly kind: 'fault'; readonly from: NodeId; readonly code: string; readonly what: string }

/** What the parts of anti-entropy share. */
export interface Shared {
  readonly node: NodeId
  readonly replica: Replica
  readonly random: Prng
  readonly bounds: Bounds
  readonly patience: Patience
  readonly outputs: SyncOutput[]
}

/** Sizes and times. Tests make them tiny. */
export interface Bounds {
  /** A greeting round. DESIGN: about every second. */
  readonly roundMs: number
  /** Peers that a round greets. */
  readonly roundPeers: number
  /** Quiet after a burst of changes before it is greeted about. A guess: ten times the round trip of a LAN at load. */
  readonly burstMs: number
  /** Between two exchanges of vectors with one peer about one space. A guess. */
  readonly pauseMs: number
  /**
   * An answer of vectors and deltas of which nothing came for so long is given up, at first; twice as long each time in a
   * row, up to `lateMs`. Measured: with 10 s from the start, one lost answer kept all others waiting for ten rounds.
   */
  readonly answerMs: number
  /** A session in which nothing moves for so long is over. A guess: several round trips of the worst link. */
  readonly lateMs: number
  /** A peer may read all of a space before it answers, while it says that it does. A guess: ten million cells. */
  readonly readMs: number
  /** Between two signs of life of a peer that reads for another. A guess: several in `silentMs`. */
  readonly signMs: number
  /**
   * Who offers a snapshot and says nothing for so long is given up; twice as long each time, up to `silentMostMs`. A guess:
   * a pause of a process or a lost packet, and the largest chunk of cells on a link of some 20 kB/s.
   */
  readonly silentMs: number
  readonly silentMostMs: number
  /** The longest while for which a peer that was silent is left aside in favour of others. A guess. */
  readonly asideMs: number
  /** Deltas or cells that are on their way and not acknowledged. algorithms, B6: 256 KiB to 1 MiB. */
  readonly windowBytes: number
  /** Bytes of deltas in one frame, less the last of them. A guess: with the largest delta it still fits a packet. */
  readonly chunkBytes: number
  /** Bytes of cells in one frame. A guess: a quarter of the window, so that the link stays busy. */
  readonly cellBytes: number
  /** A space without a vector takes cells rather than deltas when the peer holds more siblings than this. A guess. */
  readonly newcomerSiblings: number
  /** Staged cells up to this size stay in memory and are merged in one batch: measured, some 100 ms in one step. */
  readonly stagedBytes: number
  /** Local keys that one batch may have to look at. */
  readonly stagedKeys: number
  /** Entries folded at a step, so that it stays short. A guess. */
  readonly foldAtOnce: number
  /** Peers that are served cells at one time. A guess. */
  readonly offers: number
  /** Between two snapshots of a space for one peer: each reads all of it. A guess. */
  readonly offerPauseMs: number
  /** Between finding damage and writing its repair. A guess: time for whoever repairs first to be heard. */
  readonly graceMs: number
  /** Between two times that a space is read because a peer's differs at the same context. A guess. */
  readonly disputeMs: number
  /** Cells of a sketch; beyond it nothing is located. */
  readonly sketchCells: number
  /** Between two `stored` frames to a peer. A guess. */
  readonly storedMs: number
}

export const usualBounds: Bounds = {
  roundMs: 1000,
  roundPeers: 1,
  burstMs: 100,
  pauseMs: 300,
  answerMs: 1000,
  lateMs: 10_000,
  readMs: 120_000,
  signMs: 1000,
  silentMs: 5000,
  silentMostMs: 30_000,
  asideMs: 300_000,
  windowBytes: 262_144,
  chunkBytes: 32_768,
  cellBytes: 65_536,
  newcomerSiblings: 1000,
  stagedBytes: 1_048_576,
  stagedKeys: 10_000,
  foldAtOnce: 1000,
  offers: 4,
  offerPauseMs: 1000,
  graceMs: 5000,
  disputeMs: 10_000,
  sketchCells: 8192,
  storedMs: 5000,
}

/** Counts for a session's report. */
export class Tally {
  differing: number = 0
  deltasIn: number = 0
  deltasOut: number = 0
  cellsIn: number = 0
  cellsOut: number = 0
  bytesIn: number = 0
  bytesOut: number = 0
  roundTrips: number = 0
  readonly startedMs: number

  constructor(startedMs: number) {
    this.startedMs = startedMs
  }

  get idle(): boolean {
    return this.deltasIn + this.deltasOut + this.cellsIn + this.cellsOut === 0
  }

  report(
    space: Space,
    peer: NodeId,
    step: SessionReport['step'],
    outcome: SessionReport['outcome'],
    nowMs: number,
  ): SyncOutput {
    const { differing, deltasIn, deltasOut, cellsIn, cellsOut, bytesIn, bytesOut, roundTrips, startedMs } = this
    const counts = {
      differing,
      deltasIn,
      deltasOut,
      cellsIn,
      cellsOut,
      bytesIn,
      bytesOut,
      roundTrips,
      tookMs: nowMs - startedMs,
    }
    return { kind: 'report', report: { kind: 'session', space, peer, step, outcome, ...counts } }
  }
}
