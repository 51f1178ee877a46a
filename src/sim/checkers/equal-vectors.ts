/**
 * Equal vectors mean equal roots: two replicas that ever stood at one vector, at whatever times, had one root there. Where a
 * memory was cloned while it ran, at one vector with the same histories behind it.
 */
import { toHex } from '../../base/bytes.ts'
import type { Space } from '../../replica/space.ts'
import type { Host, Life } from '../host.ts'
import type { Checker, Scene } from './checker.ts'
import type { Shadows } from './shadow.ts'

interface Seen {
  readonly root: string
  readonly node: number
  readonly at: number
}

export function equalVectors(scene: Scene, shadows: Shadows): Checker {
  const roots = new Map<string, Seen>()
  const look = (host: Host, life: Life, space: Space): void => {
    // What was lost in silence is no fault of the merge; it must be found and mended, and in the end all are equal.
    if (isCatchingUp(space) || host.disk.damaged) return
    const at = `${space.id} ${shadows.hash(host, life, space)}${scene.cloned ? ` ${toHex(space.contextDigest())}` : ''}`
    const root = rootOf(space)
    const seen = roots.get(at)
    if (seen === undefined) roots.set(at, { root, node: host.index, at: scene.now })
    else if (seen.root !== root) {
      const what = `${space.name}: node ${host.index} has root ${root} where node ${seen.node} had ${seen.root} at ${seen.at} ms`
      scene.violate('equal vectors', `${what}, with the same vector`)
    }
  }
  return {
    opened: (host, life) => {
      for (const space of life.machine.replica.spaces) look(host, life, space)
    },
    applied: (host, life, { space }) => look(host, life, space),
  }
}

/** It fetches a snapshot, and claims no equality. */
export function isCatchingUp(space: Space): boolean {
  return space.catchingUp
}

export function rootOf({ tree }: Space): string {
  return [...tree.root].map((lane) => lane.toString(16).padStart(8, '0')).join('')
}
