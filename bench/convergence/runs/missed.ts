/** Catch-up: one of three nodes is cut off while the others write, then its links heal. */
import { setTimeout as sleep } from 'node:timers/promises'
import { nowUs } from '../clock.ts'
import type { Keys } from '../control.ts'
import { Fleet } from '../fleet.ts'
import type { Course, MissedRun, Result } from '../scenario.ts'
import { entryBytes, keysOf, rushed, soonUs, warmed, whenAll, whenEqual } from '../stage.ts'

const phase = 1
const away = 2
/** Between the last write that is missed and the healing: everybody is at rest. */
const restMs = 500

export async function missed({ contestant, run, withinMs }: Course<MissedRun>): Promise<Result[]> {
  const { valueBytes, warming } = run
  await using fleet = await Fleet.open(contestant, { nodes: 3, isShaped: true })
  const warm = await warmed(fleet, warming, valueBytes, withinMs)
  await fleet.cut([away], 'reset')
  const others = fleet.members.slice(0, away)
  const count = Math.ceil(run.count / others.length)
  const keys: Keys = { of: 'own', name: 'missed', count }
  const total = count * others.length
  await Promise.all([
    rushed(others, { phase, keys, valueBytes, count, startUs: soonUs() }),
    whenAll(others, warm + total, withinMs),
  ])
  await sleep(restMs)
  const late = fleet.member(away)
  const before = await late.ask('wire', {})
  const cpuBefore = late.usage().cpuSeconds
  const healUs = nowUs()
  await fleet.shaper?.heal()
  const thereUs = await whenAll([late], warm + total, withinMs)
  const after = await late.ask('wire', {})
  const { firstUs, count: changes } = await late.ask('arrived', { phase })
  await whenEqual(fleet, keysOf({ ...keys, count: Math.min(count, 500) }, others.length), withinMs)
  const bytes = after.receivedBytes - before.receivedBytes
  return [
    {
      figures: {
        equal: (thereUs - healUs) / 1e6,
        ...(changes > 0 && { first: (firstUs - healUs) / 1e6, transfer: (thereUs - firstUs) / 1e6 }),
        overhead: bytes / (total * entryBytes(keys, valueBytes)),
        cpu: late.usage().cpuSeconds - cpuBefore,
        peak: late.usage().peakBytes / 1e6,
      },
    },
  ]
}
