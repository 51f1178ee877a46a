/**
 * What was acknowledged is in the vector of everybody who holds the space, unless the last disk that had it was lost. What was on
 * the losing side of a fork is in somebody's evidence: it was written again under another dot.
 */
import { covers } from '../../crdt/dot.ts'
import { hashOf } from '../chronicle.ts'
import type { Promised } from '../ledger.ts'
import type { Checker, Scene } from './checker.ts'

export function acknowledged(scene: Scene): Checker {
  return {
    quiet: () => {
      for (const write of scene.ledger.all) {
        if (!scene.ledger.isOwed(write)) continue
        const { space, dot, node, told } = write
        scene.count('check: acknowledged write')
        if (scene.cloned && isElsewhere(scene, write)) continue
        for (const host of scene.holders(space)) {
          const held = host.replica?.find(space)
          if (held !== undefined && covers(held.vector, dot)) continue
          const what = `${space}: ${dot.origin.slice(16)}-${dot.seq} (${told}) was acknowledged by node ${node}`
          scene.violate('acknowledged', `${what} and is not at node ${host.index}`)
          return
        }
      }
    },
  }
}

/** Did another history of its origin come to stand? Then nobody has the dot as it was written, and says what became of it. */
function isElsewhere(scene: Scene, { space, dot, chain, told, node, at }: Promised): boolean {
  const held = scene.holders(space).flatMap((host) => host.replica?.find(space) ?? [])
  const [first] = held
  if (first === undefined) return false
  const chronicle = scene.chronicle(first)
  if (!chronicle.isForked(dot.origin)) {
    // It may rest on what only the losing side had; then its values were written again.
    return scene.lostAt > at || !covers(first.vector, dot)
  }
  const log = first.logs.get(dot.origin)
  const standing = log && chronicle.inHistory(log, dot.seq)
  const own = chronicle.get(dot.origin, dot.seq, chain)
  if (own !== undefined && standing === own) return false
  scene.count('check: acknowledged write on the losing side of a fork')
  const isKept = held.some((one) =>
    one
      .evidence()
      .some(({ origin, bodies }) => origin === dot.origin && bodies.some((body) => hashOf(body) === own?.hash)),
  )
  if (isKept || scene.lostAt > at) return true
  const what = `${space}: ${dot.origin.slice(16)}-${dot.seq} (${told}) of node ${node} was on the losing side of a fork`
  scene.violate('acknowledged', `${what}, and is in nobody's evidence`)
  return true
}
