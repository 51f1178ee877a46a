/**
 * What a node tells others that it has, for the cut and for whoever waits until a write has reached so many disks, counts
 * only what its disk has. Listens to what is sent; decoding all of it is dear, so only some seeds have this checker.
 */
import type { Dot } from '../../crdt/dot.ts'
import type { Space } from '../../replica/space.ts'
import { decodePacket } from '../../wire/codec.ts'
import type { Host, Life } from '../host.ts'
import type { Checker, Scene } from './checker.ts'

const everySeeds = 4

export function claimsOfDisk(scene: Scene): Checker {
  if (scene.options.seed % everySeeds !== 0) return {}
  const spaceOf = (life: Life, id: string): Space | undefined =>
    life.machine.replica.spaces.find((space) => space.id === id)
  return {
    sent: (host: Host, life: Life, bytes) => {
      if (host.disk.damaged) return
      for (const frame of decodePacket(bytes).frames) {
        if (frame.kind !== 'stored' && frame.kind !== 'greeting') continue
        const space = spaceOf(life, frame.space)
        if (space === undefined) continue
        const reach = (host.durability === 'disk' ? host.disk.surelyReach : host.disk.reach).get(frame.space)
        const claimed = frame.kind === 'stored' ? frame.vector : frame.durable ? dotsOf(space) : []
        for (const { origin, seq } of claimed) {
          const has = reach?.get(origin) ?? 0
          if (seq <= has) continue
          const what = `node ${host.index}, ${space.name}: a ${frame.kind} frame says that ${origin.slice(16)}-${seq} is on its disk`
          scene.violate('claims', `${what}, which has ${has}`)
        }
      }
    },
  }
}

function dotsOf({ vector }: Space): Dot[] {
  return [...vector].map(([origin, seq]) => ({ origin, seq }))
}
