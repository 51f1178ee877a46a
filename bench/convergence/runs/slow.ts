/** One slow peer: its links carry less than what the others write. The others must not feel it. */
import { nowUs } from '../clock.ts'
import type { Keys } from '../control.ts'
import { Fleet } from '../fleet.ts'
import { lagOf, takenFigures } from '../sample.ts'
import type { Course, Result, SlowRun } from '../scenario.ts'
import { keysOf, paced, soonUs, warmed, whenEqual, whenQuiet } from '../stage.ts'

const warmingWrites = 500

export async function slow({ contestant, run, withinMs }: Course<SlowRun>): Promise<Result[]> {
  const { nodes, valueBytes, rate, seconds, bytesPerSecond } = run
  await using fleet = await Fleet.open(contestant, { nodes, isShaped: true })
  await warmed(fleet, warmingWrites, valueBytes, withinMs)
  const keys: Keys = { of: 'own', name: 'slow', count: 100 }
  const last = nodes - 1
  const quick = fleet.members.slice(0, last)
  const writes = rate * seconds
  const phases = { alike: 1, narrow: 2 }
  const load = { keys, valueBytes, rate, writes, exactly: false }
  await paced(quick, { ...load, phase: phases.alike, firstUs: soonUs() })
  await whenQuiet(fleet.members, phases.alike, withinMs)
  const before = await fleet.taken()
  const others = quick.map((_, index) => index)
  // A hub reaches it over one link, a mesh over one from each of the others.
  const links = fleet.hubParty === undefined ? others.length : 1
  const sources = fleet.hubParty === undefined ? others : [fleet.hubParty]
  await fleet.shaper?.between([last], sources, { bytesPerSecond: bytesPerSecond / links })
  const { writes: written } = await paced(quick, { ...load, phase: phases.narrow, firstUs: soonUs() })
  await whenQuiet(quick, phases.narrow, withinMs)
  const [alike, narrow] = await Promise.all(
    [phases.alike, phases.narrow].map((phase) => Promise.all(quick.map((member) => member.ask('arrived', { phase })))),
  )
  const taken = takenFigures(before, await fleet.taken(), written)
  const healUs = nowUs()
  await fleet.shaper?.heal()
  const equalUs = await whenEqual(fleet, keysOf(keys, quick.length), withinMs)
  const seen = written * (quick.length - 1)
  const unhindered = lagOf(alike ?? [], seen)
  const hindered = lagOf(narrow ?? [], seen)
  return [
    {
      ...hindered,
      figures: {
        ...hindered.figures,
        p99Before: unhindered.figures.p99 ?? Number.NaN,
        equal: (equalUs - healUs) / 1e6,
        ...taken,
      },
    },
  ]
}
