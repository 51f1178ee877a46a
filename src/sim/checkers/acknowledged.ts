/** What was acknowledged is in the vector of everybody who holds the space, unless the last disk that had it was lost. */
import { covers } from '../../crdt/dot.ts'
import type { Checker, Scene } from './checker.ts'

export function acknowledged(scene: Scene): Checker {
  return {
    quiet: () => {
      for (const write of scene.ledger.all) {
        if (!scene.ledger.isOwed(write)) continue
        const { space, dot, node, told } = write
        scene.count('check: acknowledged write')
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
