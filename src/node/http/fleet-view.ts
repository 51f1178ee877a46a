/**
 * What HTTP asks about other nodes, and the answer of a node that has none. A node that replicates hands in its own.
 *
 * A version names dots, and a dot belongs to a space: so whoever asks about a version says of which.
 */
import { SkeinError } from '../../base/errors.ts'
import type { Dot } from '../../crdt/dot.ts'
import { covers } from '../../crdt/dot.ts'
import type { SkeinNode } from '../node.ts'

export interface PeerView {
  readonly node: string
  readonly address: string | undefined
  readonly state: 'alive' | 'suspect' | 'dead' | 'left'
  /** Milliseconds since something was heard of it; undefined where nothing ever was. */
  readonly heardMs: number | undefined
  /** How long the oldest delta waits that it has and this node lacks, and the other way round. */
  readonly lagMs: { readonly here: number; readonly there: number } | undefined
  /** Deltas that it has and this node lacks, and the other way round, as far as is known. */
  readonly lacks?: { readonly here: number; readonly there: number }
  readonly zone?: string
  /** Of the protocol that it speaks: how far an upgrade has come. */
  readonly version?: string
  /** A connection is up. */
  readonly linked?: boolean
  /** The logs wait for it. */
  readonly onRoster?: boolean
  /** Bytes that wait to be sent to it. */
  readonly queueBytes: number
  /** In words, what it is stuck on. */
  readonly stuck: string | undefined
}

export interface SyncReport {
  readonly space: string
  readonly peer: string
  readonly outcome: 'equal' | 'synced' | 'failed'
  readonly deltas: number
  readonly cells: number
  readonly sizeBytes: number
}

export interface Verdict {
  readonly space: string
  readonly root: string
  readonly peers: readonly {
    readonly node: string
    /** Undecided: the peer is at another vector, so equal roots are not to be expected yet. */
    readonly verdict: 'equal' | 'different' | 'undecided' | 'unreachable'
    readonly root: string | undefined
  }[]
}

export interface Visibility {
  /** This node has applied all that the version names. */
  readonly here: boolean
  /** Peers whose disk has it, and those of the roster that do not have it yet. */
  readonly reached: readonly string[]
  readonly missing: readonly string[]
}

export interface Reached {
  /** Was what was asked for reached within the time? */
  readonly met: boolean
  readonly reached: readonly string[]
  readonly missing: readonly string[]
}

export interface FleetHealth {
  /** Deltas known to exist and not yet applied here. */
  readonly gaps: number
  /** Age in milliseconds of the oldest of them. */
  readonly lagMs: number
  /** Bytes that wait for peers. */
  readonly queueBytes: number
}

export interface FleetView {
  /** Asks those of whom it is not known that they have what is here, and gives them a moment to answer. */
  confirm(): Promise<void>
  peers(): readonly PeerView[]
  /** Anti-entropy now, with every peer that holds the space, or any. */
  sync(space?: string): Promise<readonly SyncReport[]>
  /** Proves that this node and its peers are equal, or names who is not. */
  verify(space?: string): Promise<readonly Verdict[]>
  visibility(space: string, dots: readonly Dot[]): Visibility
  /** Resolves once that many peers, or all of the roster, have the version on their disks, or the time is over. */
  reached(
    space: string,
    dots: readonly Dot[],
    wanted: { readonly peers: number } | 'all',
    timeoutMs: number,
  ): Promise<Reached>
  health(): FleetHealth
}

/** A node without peers: all of its fleet has what it has. */
export function loneFleet(node: SkeinNode): FleetView {
  const vectorOf = (space: string) => {
    const found = node.replica.find(space)
    if (found === undefined) throw new SkeinError('not_found', `there is no space ${space} here`)
    return found.vector
  }
  return {
    confirm: () => Promise.resolve(),
    peers: () => [],
    sync: () => Promise.resolve([]),
    verify: (space) =>
      Promise.resolve(
        node
          .status()
          .spaces.filter(({ name }) => space === undefined || name === space)
          .map(({ name, root }) => ({ space: name, root, peers: [] })),
      ),
    visibility(space, dots) {
      const vector = vectorOf(space)
      return { here: dots.every((dot) => covers(vector, dot)), reached: [], missing: [] }
    },
    // There is nobody to wait for: what was asked for either holds now or will not.
    reached: (_space, _dots, wanted) =>
      Promise.resolve({ met: wanted === 'all' || wanted.peers === 0, reached: [], missing: [] }),
    health: () => ({ gaps: 0, lagMs: 0, queueBytes: 0 }),
  }
}
