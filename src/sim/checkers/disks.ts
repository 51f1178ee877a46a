/**
 * What nodes say of disks. A disk is said to have only what it has had; what others act on (claims, budgets) leaves a node
 * only from its disk; and a log lets go only of what the disks of all roster members have had. It knows of each directory all
 * that was ever in it, so a word that comes late, or from before a backup was restored, is no lie.
 */
import { covers, nodeOf } from '../../crdt/dot.ts'
import type { Dot, OriginId } from '../../crdt/dot.ts'
import { leavesFromDisk } from '../../crdt/types/table.ts'
import type { Space } from '../../replica/space.ts'
import type { SpaceId } from '../../wire/frame.ts'
import type { Host, Life } from '../host.ts'
import type { Checker, Scene } from './checker.ts'

export function disks(scene: Scene): Checker {
  const everByNode = new Map<string, Map<string, Map<OriginId, number>>>()

  const note = ({ node, disk }: Host): void => {
    if (node === undefined) return
    let ever = everByNode.get(node)
    if (ever === undefined) everByNode.set(node, (ever = new Map<string, Map<OriginId, number>>()))
    for (const [space, reach] of disk.reach) {
      let known = ever.get(space)
      if (known === undefined) ever.set(space, (known = new Map<OriginId, number>()))
      for (const [origin, seq] of reach) if (seq > (known.get(origin) ?? 0)) known.set(origin, seq)
    }
  }
  const had = (node: string, space: SpaceId, dot: Dot): boolean => {
    const known = everByNode.get(node)?.get(space)
    return known !== undefined && covers(known, dot)
  }

  /** Listens to what a node notes of others, and to what it prunes. */
  const listen = (host: Host, life: Life): void => {
    const { replica } = life.machine
    const { cut } = replica
    const heldBy = new Map<string, ReadonlySet<string>>()
    const holds = cut.holds.bind(cut)
    cut.holds = (node, spaces) => {
      if (cut.roster.includes(node)) heldBy.set(node, spaces)
      holds(node, spaces)
    }
    const noted = cut.note.bind(cut)
    cut.note = (space, node, stored) => {
      for (const [origin, seq] of stored) {
        if (seq === 0 || had(node, space, { origin, seq })) continue
        const what = `node ${host.index} was told that the disk of ${node.slice(0, 4)} has ${origin.slice(16)}-${seq}`
        scene.violate('disks', `${what}, which it never had`)
      }
      noted(space, node, stored)
    }
    const prune = replica.prune.bind(replica)
    replica.prune = (nowMs, retention) => {
      // The machine hears of a batch before this does.
      note(host)
      const floors = replica.spaces.map((space) => [space, floorsOf(space)] as const)
      const pruned = prune(nowMs, retention)
      for (const [space, before] of floors) {
        for (const { origin, floor } of space.logs.values()) {
          if (floor === before.get(origin)) continue
          scene.count('log: pruned')
          // A log that is far over its size goes whatever the cut; then who counts on the rest cannot be told.
          if (pruned.aboveCut === 0) look(host, space, { origin, seq: floor - 1 }, heldBy)
        }
      }
      return pruned
    }
  }
  const look = (host: Host, space: Space, dot: Dot, heldBy: ReadonlyMap<string, ReadonlySet<string>>): void => {
    const { cut } = (host.current as Life).machine.replica
    for (const node of [host.node as string, ...cut.roster]) {
      // Nobody waits for one who said that he does not hold the space.
      if (heldBy.get(node)?.has(space.id) === false || had(node, space.id, dot)) continue
      const what = `node ${host.index}, ${space.name}: ${dot.origin.slice(16)}-${dot.seq} left the log`
      scene.violate('disks', `${what}, and the disk of ${node.slice(0, 4)} never had it`)
    }
  }

  return {
    opened: (host, life) => {
      note(host)
      listen(host, life)
    },
    stored: (host) => note(host),
    applied: (host, _, { space, delta, own }) => {
      if (own || !leavesFromDisk(delta.writes)) return
      if (had(nodeOf(delta.origin), space.id, delta)) return
      const what = `node ${host.index}, ${space.name}: ${delta.origin.slice(16)}-${delta.seq} came here`
      scene.violate('disks', `${what} before its writer had it on disk`)
    },
  }
}

function floorsOf(space: Space): Map<OriginId, number> {
  return new Map(Array.from(space.logs.values(), ({ origin, floor }) => [origin, floor]))
}
