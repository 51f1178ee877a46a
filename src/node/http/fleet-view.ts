/**
 * What HTTP asks about other nodes, in the words of its answers. A node without peers is a fleet of one.
 *
 * A version names dots, and a dot belongs to a space: so whoever asks about a version says of which.
 */
import { SkeinError } from '../../base/errors.ts'
import type { Dot } from '../../crdt/dot.ts'
import { covers } from '../../crdt/dot.ts'
import type { Space } from '../../replica/space.ts'
import type { MemberOfSpace, SpaceLag, Verdict as NodeVerdict } from '../fleet.ts'
import type { SkeinNode } from '../node.ts'
import type { PeerStatus } from '../peers.ts'

export interface PeerView {
  readonly node: string
  readonly address: string | undefined
  /** `unknown`: it was met in an earlier run, and not since. */
  readonly state: PeerStatus['state']
  /** Milliseconds since something was heard of it; undefined where nothing ever was. */
  readonly heardMs: number | undefined
  /** Deltas that it has and this node lacks, and the other way round, as far as is known. */
  readonly lacks: { readonly here: number; readonly there: number }
  readonly zone: string
  /** Of the protocol that it speaks: how far an upgrade has come. */
  readonly version: string
  /** A connection is up. */
  readonly linked: boolean
  /** The logs wait for it. */
  readonly onRoster: boolean
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
    /** Where different: keys that are known to differ. */
    readonly keys: readonly string[]
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

/** How long a comparison with every member may take. A guess: several rounds of anti-entropy. */
const compareMs = 20_000

/** How long a look at the fleet waits for words of its members. A guess: a sync of a disk and a round trip between continents. */
const confirmMs = 200

export function fleetOf(node: SkeinNode): FleetView {
  const one = (name: string): Space => {
    const space = node.replica.find(name)
    if (space === undefined) throw new SkeinError('not_found', `there is no space ${name} here`, { space: name })
    return space
  }
  const some = (name: string | undefined): readonly Space[] => (name === undefined ? node.replica.spaces : [one(name)])
  return {
    confirm: () => node.fleet.confirm(confirmMs),
    peers: () => node.peers.list().map((peer) => peerView(peer, node)),
    async sync(name) {
      const { spaces, exchanged } = await node.fleet.verify(some(name), { timeoutMs: compareMs })
      return spaces.flatMap(({ space, members }) =>
        members.map((member): SyncReport => {
          const moved = exchanged.find((session) => session.space === space && session.node === member.node)
          const [deltas, cells] =
            moved === undefined ? [0, 0] : [moved.deltasIn + moved.deltasOut, moved.cellsIn + moved.cellsOut]
          return {
            space,
            peer: member.node,
            outcome: member.found !== 'equal' ? 'failed' : deltas + cells > 0 ? 'synced' : 'equal',
            deltas,
            cells,
            sizeBytes: moved === undefined ? 0 : moved.bytesIn + moved.bytesOut,
          }
        }),
      )
    },
    async verify(name) {
      const { spaces } = await node.fleet.verify(some(name), { timeoutMs: compareMs })
      return spaces.map(verdict)
    },
    visibility(name, dots) {
      const space = one(name)
      return { here: dots.every((dot) => covers(space.vector, dot)), ...node.fleet.visibility(space, dots) }
    },
    async reached(name, dots, wanted, timeoutMs) {
      const space = one(name)
      const peers = wanted === 'all' ? wanted : wanted.peers
      try {
        await node.fleet.reached(space, dots, { peers, timeoutMs })
        return { met: true, ...node.fleet.visibility(space, dots) }
      } catch (error) {
        if (!(error instanceof SkeinError) || error.code !== 'not_reached') throw error
        return { met: false, ...node.fleet.visibility(space, dots) }
      }
    },
    health: () => node.fleet.health(),
  }
}

function peerView(peer: PeerStatus, node: SkeinNode): PeerView {
  const { node: id, address, state, zone, version, linked, onRoster, blocksMs, lastSeenMs, spaces } = peer
  const link = [...node.machine.peers].find((one) => one.node === id)
  return {
    node: id,
    address: address === '' ? undefined : address,
    state,
    heardMs: lastSeenMs === undefined ? undefined : Math.max(0, node.now() - lastSeenMs),
    lacks: { here: sum(spaces, 'thisLacks'), there: sum(spaces, 'peerLacks') },
    queueBytes: link?.queue.heldBytes ?? 0,
    stuck: blocksMs === undefined ? undefined : `keeps logs from being pruned for ${Math.round(blocksMs / 1000)} s`,
    zone,
    version,
    linked,
    onRoster,
  }
}

function sum(spaces: readonly SpaceLag[], what: 'thisLacks' | 'peerLacks'): number {
  return spaces.reduce((total, lag) => total + lag[what], 0)
}

const verdicts: Readonly<Record<MemberOfSpace['found'], Verdict['peers'][number]['verdict']>> = {
  equal: 'equal',
  unequal: 'different',
  apart: 'undecided',
  'catching-up': 'undecided',
  silent: 'unreachable',
}

function verdict({ space, root, members }: NodeVerdict): Verdict {
  const peers = members.map(({ node, found, keys }) => ({
    node,
    verdict: verdicts[found],
    root: found === 'equal' ? root : undefined,
    keys,
  }))
  return { space, root, peers }
}
