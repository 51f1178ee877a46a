/** Throughput to convergence: all nodes write as fast as they can; the clock stops when every replica has every write. */
import type { Keys } from '../control.ts'
import { Fleet } from '../fleet.ts'
import { Histogram } from '../histogram.ts'
import { takenFigures } from '../sample.ts'
import type { Course, Result, RushRun } from '../scenario.ts'
import { keysOf, rushed, soonUs, warmed, whenAll, whenEqual } from '../stage.ts'

const phase = 1
/** So many of the keys are read back everywhere: reading all of them takes a system that asks a server longer than writing. */
const readBack = 2_000

export async function rush({ contestant, run, withinMs }: Course<RushRun>): Promise<Result[]> {
  const { nodes, valueBytes, warming, count } = run
  await using fleet = await Fleet.open(contestant, { nodes })
  const warm = await warmed(fleet, warming, valueBytes, withinMs)
  const isOne = run.keys === 'one'
  const keys: Keys = isOne ? { of: 'shared', name: 'one', count: 1 } : { of: 'own', name: 'rush', count }
  const all = keysOf(keys, nodes)
  const before = await fleet.taken()
  const startUs = soonUs()
  const writing = rushed(fleet.members, { phase, keys, valueBytes, count, startUs })
  const [written, thereUs] = await Promise.all([writing, whenAll(fleet.members, warm + all.length, withinMs)])
  const after = await fleet.taken()
  const step = Math.ceil(all.length / readBack)
  await whenEqual(
    fleet,
    all.filter((_, at) => at % step === 0),
    withinMs,
  )
  // On one key the entry is there from the first write on: then the last change that anybody saw is the end.
  const arrived = await fleet.all('arrived', { phase })
  const lastUs = Math.max(...arrived.map((one) => one.lastUs), ...written.map((one) => one.acknowledgedUs))
  const seconds = ((isOne ? lastUs : thereUs) - startUs) / 1e6
  const acknowledging = Histogram.of(...written.map((one) => one.acknowledging))
  return [
    {
      figures: {
        rate: (nodes * count) / seconds,
        acked: acknowledging.quantile(0.99) / 1000,
        ...takenFigures(before, after, nodes * count),
      },
    },
  ]
}
