/** Steady load for long: memory, disk and lag must stay where they are. Looked at in windows. */
import type { Keys } from '../control.ts'
import { Fleet } from '../fleet.ts'
import { spread } from '../../measure.ts'
import { lagOf } from '../sample.ts'
import type { CoursePoint } from '../sample.ts'
import type { Course, Result, SteadyRun } from '../scenario.ts'
import { paced, soonUs, warmed, whenQuiet } from '../stage.ts'

const warmingWrites = 1_000
const keys: Keys = { of: 'own', name: 'steady', count: 300 }

export async function steady({ contestant, run, withinMs, progress }: Course<SteadyRun>): Promise<Result[]> {
  const { nodes, valueBytes, rate, seconds, windowSeconds } = run
  await using fleet = await Fleet.open(contestant, { nodes })
  await warmed(fleet, warmingWrites, valueBytes, withinMs)
  const course: CoursePoint[] = []
  let seen = 0
  let expected = 0
  for (let at = 0; at < seconds; at += windowSeconds) {
    const phase = 1 + at
    progress(`${at} of ${seconds} s`)
    const load = { phase, keys, valueBytes, rate, writes: rate * windowSeconds, exactly: false, firstUs: soonUs() }
    const { writes } = await paced(fleet.members, load)
    await whenQuiet(fleet.members, phase, withinMs)
    const { figures } = lagOf(await fleet.all('arrived', { phase, forgets: true }), writes * (nodes - 1))
    seen += ((figures.seen ?? 0) * writes) / 100
    expected += writes
    const residentMb = Math.max(...fleet.members.map((member) => member.usage().residentBytes)) / 1e6
    const diskMb = (await fleet.diskBytes()) / 1e6
    course.push({ second: at + windowSeconds, p50: figures.p50 ?? Number.NaN, residentMb, diskMb })
  }
  const third = Math.ceil(course.length / 3)
  const [first, middle, last] = [course.slice(0, third), course.slice(third, 2 * third), course.slice(-third)]
  const median = (of: readonly CoursePoint[], what: (point: CoursePoint) => number): number =>
    spread(of.map(what)).median
  const p50 = median(last, (point) => point.p50)
  return [
    {
      figures: {
        p50,
        seen: (100 * seen) / expected,
        // A heap takes its time to find its size: the first third is not held against it.
        memoryGrowth: median(last, (point) => point.residentMb) - median(middle, (point) => point.residentMb),
        diskGrowth: median(last, (point) => point.diskMb) - median(middle, (point) => point.diskMb),
        lagGrowth: p50 / median(first, (point) => point.p50),
      },
      course,
    },
  ]
}
