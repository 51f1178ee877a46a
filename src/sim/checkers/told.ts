/**
 * Whoever is to be told of conflicts. Each case that is open at the end was really told of, in this round of it; and where
 * nobody crashed, was cut off or had a clock that is wrong, once.
 */
import type { Case } from '../../merge/case.ts'
import { errandNames, roundOf } from '../../merge/queue.ts'
import type { Handling } from '../../merge/queue.ts'
import { caseIdOf } from '../../merge/system.ts'
import { entryKeyOf, spaceRange, table } from '../../replica/row-keys.ts'
import type { Host } from '../host.ts'
import type { Checker, Scene } from './checker.ts'

/** Clocks that are so far off do not change whose turn it is. */
const aboutRightMs = 1_000

export function toldOnce(scene: Scene): Checker {
  const told = new Map<string, number>()
  return {
    told: (_, { space, id, name }) => {
      const about = `${space} ${id} ${name}`
      told.set(about, (told.get(about) ?? 0) + 1)
    },
    quiet: () => {
      const { options } = scene
      // What was told of may have been lost with a disk, and is told of again.
      if (!options.rules || !options.tells || scene.cloned || scene.damaged) return
      for (const name of scene.spaceNames) {
        for (const host of scene.holders(name)) {
          for (const { known } of openCases(host, name)) {
            const about = `${name} ${known.id} ${errandNames.notify(0, roundOf(known))}`
            scene.count('conflict: open, and somebody was told')
            if (told.has(about)) continue
            scene.violate('told', `node ${host.index}: of ${known.rule} ${known.id.slice(0, 8)} nobody was told`)
          }
        }
      }
      if (!isCalm(scene)) return
      for (const [about, times] of told) {
        scene.count('conflict: told where nothing goes wrong')
        if (times > 1) scene.violate('told', `${about.slice(0, 40)} was told ${times} times`)
      }
    },
  }
}

interface OpenCase {
  readonly known: Case
  readonly handling: Handling
}

/** As that node sees them. */
export function* openCases(host: Host, name: string): Generator<OpenCase> {
  const space = host.replica?.find(name)
  const conflicts = host.current?.machine.conflicts
  if (space === undefined || conflicts === undefined) return
  for (const [rowKey] of host.disk.list(spaceRange(table.entry, space.number))) {
    const id = caseIdOf(entryKeyOf(rowKey))
    const known = id === undefined ? undefined : conflicts.case(space, id)
    if (known?.state === 'open') yield { known, handling: conflicts.handling(space, known, host.nowMs) }
  }
}

function isCalm({ options, counts }: Scene): boolean {
  const { skewMs, lost, restartAll } = options
  const isFaulty = [...counts.keys()].some((what) => what.startsWith('fault: '))
  return !isFaulty && !restartAll && lost.length === 0 && skewMs.every((skew) => Math.abs(skew) < aboutRightMs)
}
