/** Lag under load: at shares of what the system itself can take, found just before in the same fleet. */
import type { Keys } from '../control.ts'
import { Fleet } from '../fleet.ts'
import { lagOf, takenFigures } from '../sample.ts'
import type { Course, LoadRun, Result } from '../scenario.ts'
import { paced, rushed, soonUs, warmed, whenAll, whenQuiet } from '../stage.ts'

const warmingWrites = 2_000

export async function load({ contestant, run, withinMs, progress }: Course<LoadRun>): Promise<Result[]> {
  const { nodes, valueBytes, probe, shares, seconds } = run
  await using fleet = await Fleet.open(contestant, { nodes })
  const warm = await warmed(fleet, warmingWrites, valueBytes, withinMs)
  const probing: Keys = { of: 'own', name: 'probe', count: probe }
  const startUs = soonUs()
  const [, thereUs] = await Promise.all([
    rushed(fleet.members, { phase: 1, keys: probing, valueBytes, count: probe, startUs }),
    whenAll(fleet.members, warm + nodes * probe, withinMs),
  ])
  const most = (nodes * probe) / ((thereUs - startUs) / 1e6)
  const keys: Keys = { of: 'own', name: 'load', count: 1_000 }
  const results: Result[] = []
  for (const [at, share] of shares.entries()) {
    const phase = 2 + at
    const rate = share * most
    progress(`${Math.round(100 * share)} % of its own maximum`)
    const before = await fleet.taken()
    const load = { phase, keys, valueBytes, rate, writes: rate * seconds, exactly: false, firstUs: soonUs() }
    const { writes } = await paced(fleet.members, load)
    await whenQuiet(fleet.members, phase, withinMs)
    const lags = lagOf(await fleet.all('arrived', { phase }), writes * (nodes - 1))
    const taken = takenFigures(before, await fleet.taken(), writes)
    results.push({
      ...lags,
      setting: `${Math.round(100 * share)} % of its maximum`,
      figures: { ...lags.figures, ...taken, offered: rate },
    })
  }
  return results
}
