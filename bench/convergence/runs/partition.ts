/** Half against half under load: links hold what is sent, as a network does that loses it, and heal. */
import { setTimeout as sleep } from 'node:timers/promises'
import { nowUs, untilUs } from '../clock.ts'
import type { Keys } from '../control.ts'
import { Fleet } from '../fleet.ts'
import { sentBytes } from '../sample.ts'
import type { Course, PartitionRun, Result } from '../scenario.ts'
import { keysOf, offered, soonUs, timelineOf, warmed, whenEqual } from '../stage.ts'

const phase = 1
const warmingWrites = 300

export async function partition({ contestant, run, withinMs }: Course<PartitionRun>): Promise<Result[]> {
  const { nodes, valueBytes, rate, beforeSeconds, cutSeconds } = run
  await using fleet = await Fleet.open(contestant, { nodes, isShaped: true })
  await warmed(fleet, warmingWrites, valueBytes, withinMs)
  const keys: Keys = { of: 'own', name: 'part', count: 50 }
  const startUs = soonUs()
  const healUs = startUs + 1e6 * (beforeSeconds + cutSeconds)
  const before = await fleet.taken()
  // Until it heals, and no longer: what is measured then is how long it takes to become equal, at rest.
  const writes = Math.floor(rate * (beforeSeconds + cutSeconds))
  const writing = offered(fleet.members, {
    phase,
    keys,
    valueBytes,
    rate,
    writes,
    exactly: false,
    firstUs: startUs,
    withinMs: 1000 * (beforeSeconds + cutSeconds) + withinMs,
  })
  await untilUs(startUs + 1e6 * beforeSeconds, false)
  const half = Array.from({ length: nodes / 2 }, (_, index) => nodes / 2 + index)
  await fleet.cut(half, 'hold')
  const cutUs = nowUs()
  await untilUs(healUs, false)
  await fleet.shaper?.heal()
  const healedUs = nowUs()
  const equalUs = await whenEqual(fleet, keysOf(keys, nodes), withinMs)
  const { refused, unanswered } = await writing
  await sleep(100)
  const after = await fleet.taken()
  const arrived = await fleet.all('arrived', { phase })
  const second = (atUs: number): number => (atUs - startUs) / 1e6
  return [
    {
      figures: {
        equal: (equalUs - healedUs) / 1e6,
        refused: (100 * (refused + unanswered)) / writes,
        bytes: sentBytes(before, after) / writes,
        peak: Math.max(...after.nodes.map(({ peakBytes }) => peakBytes)) / 1e6,
      },
      timeline: timelineOf(arrived, startUs, [
        { second: second(cutUs), says: 'cut' },
        { second: second(healedUs), says: 'healed' },
        { second: second(equalUs), says: 'equal' },
      ]),
    },
  ]
}
