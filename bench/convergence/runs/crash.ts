/** A node is killed under load, stays away for a moment and is started again with its directory. */
import { setTimeout as sleep } from 'node:timers/promises'
import { nowUs, untilUs } from '../clock.ts'
import type { Keys } from '../control.ts'
import { Fleet } from '../fleet.ts'
import type { CrashRun, Course, Result } from '../scenario.ts'
import { keysOf, offered, paced, soonUs, timelineOf, warmed, whenEqual } from '../stage.ts'
import { keyOf } from '../writing.ts'

const phases = { before: 1, others: 2, after: 3 }
const warmingWrites = 300
/** Writes a second by which the node that was killed shows that its writes are seen again. */
const signRate = 100

export async function crash({ contestant, run, withinMs }: Course<CrashRun>): Promise<Result[]> {
  const { nodes, valueBytes, rate, beforeSeconds, downSeconds, afterSeconds } = run
  await using fleet = await Fleet.open(contestant, { nodes })
  await warmed(fleet, warmingWrites, valueBytes, withinMs)
  const last = nodes - 1
  const others = fleet.members.slice(0, last)
  const total = beforeSeconds + downSeconds + afterSeconds
  const each = rate / nodes
  // Each write has a key of its own, so that what is missing is seen.
  const keys: Keys = { of: 'own', name: 'crash', count: each * total + 1 }
  const startUs = soonUs()
  const load = { keys, valueBytes, exactly: false, firstUs: startUs }
  const writing = paced(others, { ...load, phase: phases.others, rate: each * last, writes: each * last * total })
  const victim = fleet.member(last)
  const own = { ...load, phase: phases.before, rate: each, writes: each * total, withinMs: 1000 * total }
  const dying = offered([victim], own)
  await untilUs(startUs + 1e6 * beforeSeconds, false)
  const killedUs = nowUs()
  await victim.kill()
  await dying
  await sleep(1000 * downSeconds)
  const startedUs = nowUs()
  const again = await fleet.start(last)
  const signs: Keys = { of: 'own', name: 'sign', count: signRate * afterSeconds }
  await paced([again], {
    phase: phases.after,
    keys: signs,
    valueBytes,
    rate: signRate,
    writes: signs.count,
    exactly: false,
    firstUs: nowUs(),
  })
  await writing
  const doneUs = nowUs()
  const othersKeys = keysOf({ ...keys, count: each * total }, last)
  const ownSigns = keysOf(signs, nodes).slice(-signs.count)
  const equalUs = await whenEqual(fleet, [...othersKeys, ...ownSigns], withinMs)
  const acknowledged = victim.acknowledged.map((seq) => keyOf(keys, last, seq))
  const found = await fleet.all('digest', { keys: acknowledged })
  const seen = await Promise.all(others.map((member) => member.ask('arrived', { phase: phases.after })))
  const flowsUs = Math.max(...seen.map(({ firstUs }) => firstUs))
  const arrived = await fleet.all('arrived', { phase: phases.others })
  const second = (atUs: number): number => (atUs - startUs) / 1e6
  return [
    {
      figures: {
        flows: (flowsUs - startedUs) / 1e6,
        lost: acknowledged.length - Math.min(...found.map((one) => one.found)),
        equal: (equalUs - doneUs) / 1e6,
      },
      timeline: timelineOf(arrived, startUs, [
        { second: second(killedUs), says: 'killed' },
        { second: second(startedUs), says: 'started' },
        { second: second(flowsUs), says: 'writes again' },
      ]),
    },
  ]
}
