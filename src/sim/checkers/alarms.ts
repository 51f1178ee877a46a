/**
 * Nobody is accused without cause. Where no row rotted nobody finds damage; where no directory came back from the past or
 * was copied there are no forks; and a peer breaks the protocol only where the network spoiled what it said.
 */
import type { Checker, Scene } from './checker.ts'

/** What a network may do to a protocol that counts on order. */
const spoiling = [
  'message: garbled',
  'message: doubled',
  'message: reordered',
  'message: lost',
  'message: into the void',
]

export function alarms(scene: Scene): Checker {
  const happened = (what: string): boolean => (scene.counts.get(what) ?? 0) > 0
  return {
    event: (host, event) => {
      const told = (what: string): void => scene.violate('alarms', `node ${host.index} tells of ${what}`)
      if (event.kind === 'void') told(`a void delta of ${event.dot.origin.slice(16)}: ${event.why}`)
      if (event.kind === 'failed' && event.code === 'store_damaged' && !scene.damaged) told(event.reason)
      if (event.kind !== 'sync') return
      const { event: found } = event
      if (found.kind === 'integrity' && !scene.damaged) told(`damage: ${found.what}`)
      // What was lost on a link that lives may leave two at a loss until the next round.
      const isExcused = scene.rolledBack || (found.kind === 'stuck' && !scene.healed && spoiling.some(happened))
      if (found.kind !== 'integrity' && !isExcused) told(`${found.kind} in ${found.space.name}`)
    },
    accused: (host, code, what) => {
      if ((code !== 'malformed' && code !== 'protocol') || spoiling.some(happened)) return
      scene.violate('alarms', `node ${host.index} says that a peer broke the protocol: ${code}, ${what}`)
    },
  }
}
