/** Waiting rooms and what waits for the disk stay under their bounds, and nothing waits for ever; what is unsent, the network watches. */
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
      for (const { index, replica } of scene.hosts) {
        for (const space of replica?.spaces ?? []) {
          for (const log of space.logs.values()) if (log.floor > 1) scene.count('log: a part of it was pruned')
          for (const [origin, last] of space.waiting.size > 0 ? space.vector : []) {
            for (let seq = 1; seq <= last; seq++) {
              if (!space.waiting.has({ origin, seq })) continue
              const what = `node ${index}, ${space.name}: ${origin.slice(16)}-${seq}`
              return scene.violate('bounds', `${what} is applied, and still waits`)
            }
          }
        }
      }
    },
  }
}
