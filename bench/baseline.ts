/**
 * Figures that are the same on every machine, held against those that were committed: bytes, round trips, copies, hops. A change
 * that moves one of them says so in its own diff, by `npm run bench -- baseline --update`.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { scale } from './scale.ts'
import type { Suite, Unit } from './scenario.ts'
import { sync } from './sync.ts'

const file = new URL('baseline.json', import.meta.url)

/** The cheapest that cover greeting, catch-up from the log, and the tree of broadcast: some ten seconds. */
const chosen: readonly (readonly [suite: Suite, scenario: string])[] = [
  [sync, 'equal replicas'],
  [sync, 'missed writes'],
  [scale, 'broadcast'],
]

const exact: readonly Unit[] = ['bytes', 'round trips', 'copies', 'frames', 'hops']

export type Baseline = Readonly<Record<string, number>>

async function measured(): Promise<Baseline> {
  const figures: Record<string, number> = {}
  for (const [suite, name] of chosen) {
    const scenario = suite.scenarios.find((one) => one.name === name)
    if (scenario === undefined) throw new Error(`${suite.name} has no scenario ${name}`)
    const outcome = await scenario.run({ quick: true, progress: () => undefined })
    for (const { name: figure, unit, value } of outcome.figures) {
      if (exact.includes(unit)) figures[`${suite.name}, ${name}: ${figure} (${unit})`] = value.median
    }
  }
  return figures
}

/** What is not as it was, a line each. */
export function differences(before: Baseline, after: Baseline): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names.flatMap((name) => {
    const [old, now] = [before[name], after[name]]
    if (old === now) return []
    if (old === undefined) return [`${name}: ${now}, not in the baseline`]
    if (now === undefined) return [`${name}: ${old} in the baseline, not measured any more`]
    return [`${name}: ${old} in the baseline, ${now} now`]
  })
}

const help = `npm run bench -- baseline [--update]

Measures what is the same on every machine and holds it against bench/baseline.json; --update writes that file.
Exits with 1 where something differs.
`

export async function baseline(args: readonly string[]): Promise<number> {
  if (args.some((arg) => arg !== '--update')) {
    process.stdout.write(help)
    return args.includes('--help') ? 0 : 2
  }
  const now = await measured()
  if (args.includes('--update')) {
    writeFileSync(file, `${JSON.stringify(now, undefined, 2)}\n`)
    process.stdout.write(`bench/baseline.json holds ${Object.keys(now).length} figures\n`)
    return 0
  }
  const found = differences(JSON.parse(readFileSync(file, 'utf8')) as Baseline, now)
  process.stdout.write(
    found.length === 0
      ? `${Object.keys(now).length} figures are what they were.\n`
      : `Not what they were (if that is meant: npm run bench -- baseline --update):\n${found.map((line) => `  ${line}\n`).join('')}`,
  )
  return found.length === 0 ? 0 : 1
}
