/**
 * What agents show of themselves stays in memory, and in the end everybody who holds the space sees the same: nothing of who
 * is gone, and all of who is there.
 */
import { binaryString } from '../../base/bytes.ts'
import { decodeValue, encodeValue } from '../../base/msgpack.ts'
import type { Host } from '../host.ts'
import type { Checker, Scene } from './checker.ts'

const mark = 'shown-and-not-kept/'
/** What ends sooner may have ended for one and not yet for the other. */
const nearlyOverMs = 20_000

export function shownValue(chance: number): Uint8Array {
  return encodeValue(mark + String(chance))
}

/** Who sees what another does not see, in words. */
export function presenceApart(one: Host, other: Host, name: string): string | undefined {
  const [mine, theirs] = [one, other].map((host) => {
    const space = host.replica?.find(name)
    return space === undefined ? [] : (host.current?.machine.present?.(space, host.nowMs) ?? [])
  })
  for (const { agent, node, value, leftMs } of mine ?? []) {
    if (leftMs < nearlyOverMs) continue
    const same = theirs?.find((there) => there.agent === agent && there.node === node)
    if (same !== undefined && binaryString(same.value) === binaryString(value)) continue
    const shown = `${agent} at ${node.slice(0, 4)} (${JSON.stringify(decodeValue(value))})`
    return `${name}: node ${one.index} sees ${shown}, and node ${other.index} does not`
  }
  return undefined
}

export function presence(scene: Scene): Checker {
  return {
    quiet: () => {
      for (const { disk, index } of scene.hosts) {
        for (const [, row] of disk.list({ gte: new Uint8Array(0), lt: Uint8Array.of(0xff) })) {
          if (binaryString(row).includes(mark))
            scene.violate('presence', `what an agent shows is on the disk of ${index}`)
        }
      }
      for (const name of scene.spaceNames) {
        for (const host of scene.holders(name)) {
          const space = host.replica?.find(name)
          const shown = space === undefined ? [] : (host.current?.machine.present?.(space, host.nowMs) ?? [])
          if (shown.length > 0) scene.count('check: an agent is present')
        }
      }
    },
  }
}
