/** The fleet as HTTP tells of it, taken from a node that replicates. */
import { SkeinError } from '../../base/errors.ts'
import { covers } from '../../crdt/dot.ts'
import type { Space } from '../../replica/space.ts'
import type { MemberOfSpace, SpaceLag, Verdict as NodeVerdict } from '../fleet.ts'
import type { SkeinNode } from '../node.ts'
import type { PeerStatus } from '../peers.ts'
import type { FleetView, PeerView, SyncReport, Verdict } from './fleet-view.ts'

/** How long a comparison with every member may take. A guess: several rounds of anti-entropy. */
const compareMs = 20_000

/** How long a look at the fleet waits for words of its members. A guess: a sync of a disk and a round trip between continents. */
const confirmMs = 200

export function nodeFleet(node: SkeinNode): FleetView {
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
    // On the roster, and nobody has heard of it since this node was started.
    state: state === 'unknown' ? 'dead' : state,
    heardMs: lastSeenMs === undefined ? undefined : Math.max(0, node.now() - lastSeenMs),
    lagMs: undefined,
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
  const peers = members.map(({ node, found }) => ({
    node,
    verdict: verdicts[found],
    root: found === 'equal' ? root : undefined,
  }))
  return { space, root, peers }
}
