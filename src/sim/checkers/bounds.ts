/** Waiting rooms and what waits for the disk stay under their bounds; what is unsent, the network itself watches. */
import { limits } from '../../base/limits.ts'
import type { Checker, Scene } from './checker.ts'

export function bounds(scene: Scene): Checker {
  return {
    stepped: (host, life) => {
      const { replica } = life.machine
      let waiting = 0
      for (const space of replica.spaces) waiting += space.waiting.size
      if (waiting > 0) scene.count('waiting room: used')
      if (waiting > limits.waitingDeltas) {
        scene.violate('bounds', `node ${host.index} holds ${waiting} deltas that wait for others`)
      }
      if (replica.waitingBytes > 2 * limits.uncommittedBytes) {
        scene.violate('bounds', `node ${host.index} holds ${replica.waitingBytes} bytes that wait for the disk`)
      }
    },
    quiet: () => {
      for (const { replica } of scene.hosts) {
        for (const space of replica?.spaces ?? []) {
          for (const log of space.logs.values()) if (log.floor > 1) scene.count('log: a part of it was pruned')
        }
      }
    },
  }
}
