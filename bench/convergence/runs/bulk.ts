/**
 * Much state: two nodes are filled, cut from each other, given a few differences and healed (e); then a third node starts
 * with nothing (j). One filling serves both, since filling is what takes long.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { nowUs } from '../clock.ts'
import type { Keys } from '../control.ts'
import { Fleet } from '../fleet.ts'
import { sentBytes } from '../sample.ts'
import type { BulkRun, Course, Result } from '../scenario.ts'
import { entryBytes, keysOf, rushed, soonUs, whenAll, whenEqual } from '../stage.ts'

const restMs = 1_000

export async function bulk({ contestant, run, withinMs, progress }: Course<BulkRun>): Promise<Result[]> {
  const { valueBytes, entries, differing } = run
  const { system } = contestant
  await using fleet = await Fleet.open(contestant, { nodes: 3, starting: 2, isShaped: true })
  const [one, other] = [fleet.member(0), fleet.member(1)]
  const both = [one, other]
  const keys: Keys = { of: 'own', name: 'bulk', count: entries / 2 }
  const startUs = soonUs()
  const [, filledUs] = await Promise.all([
    rushed(both, { phase: 1, keys, valueBytes, count: entries / 2, startUs }),
    whenAll(both, entries, withinMs),
  ])
  const fill = entries / ((filledUs - startUs) / 1e6)
  const results: Result[] = []

  progress('reconnecting with a few differences')
  await sleep(restMs)
  await fleet.cut([1], 'reset')
  const late: Keys = { of: 'own', name: 'late', count: differing / 2 }
  await rushed(both, { phase: 2, keys: late, valueBytes, count: differing / 2, startUs: soonUs() })
  await sleep(restMs)
  const before = await fleet.taken()
  const healUs = nowUs()
  await fleet.shaper?.heal()
  const equalUs = await whenAll(both, entries + differing, withinMs)
  const after = await fleet.taken()
  const [{ firstUs }] = [await one.ask('arrived', { phase: 2 })]
  const way = system.topology === 'hub' ? 2 : 1
  results.push({
    scenario: 'e',
    figures: {
      equal: (equalUs - healUs) / 1e6,
      ...(firstUs > 0 && { first: (firstUs - healUs) / 1e6 }),
      exchanged: sentBytes(before, after) - way * differing * entryBytes(late, valueBytes),
      fill,
    },
  })

  progress('joining with nothing')
  const joiner = await fleet.start(2)
  const openedUs = nowUs() - 1000 * joiner.openedMs
  const joinedUs = await whenAll([joiner], entries + differing, withinMs)
  const { receivedBytes } = await joiner.ask('wire', {})
  await whenEqual(fleet, keysOf({ ...keys, count: 500 }, 2), withinMs)
  const { cpuSeconds, peakBytes } = joiner.usage()
  results.push({
    scenario: 'j',
    figures: {
      equal: (joinedUs - openedUs) / 1e6,
      overhead: receivedBytes / (entries * entryBytes(keys, valueBytes)),
      cpu: cpuSeconds,
      peak: peakBytes / 1e6,
    },
  })
  return results
}
