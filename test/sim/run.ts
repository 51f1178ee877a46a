/**
 * npm run sim: whole fleets in virtual time, thousands of them, each from a seed. Exit 1 with any violation: its seed, the
 * shortest story that shows it, and the command that plays it again.
 */
import { fork } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Totals, runSeed, toldFailure, toldViolation, usualDamage } from '../../src/sim/campaign.ts'
import { required, unmet } from '../../src/sim/marks.ts'
import { printOptions, storyOf } from '../../src/sim/options.ts'
import { runStory } from '../../src/sim/world.ts'
import type { LaneMessage } from './lane.ts'

const help = `npm run sim -- [options]

  --seeds N     how many (2000)
  --from N      the first (1)
  --quick       300 seeds
  --seed N      one seed, with its whole transcript
  --shrink N    one seed that fails: the shortest story that still does
  --damage      rows rot too, in some of the seeds
  --first       ends at the first seed that fails, and looks for no shorter story
  --workers N   processes side by side (2)
  --keep DIR    where stories of failures go (skein-sim)
  --help

Exit code 0: no violation. 1: at least one, or a rare path that never was taken. 2: usage.
`

/** A smaller campaign may miss a rare path by bad luck. */
const enoughForMarks = 1_000
/** So many failures are told in full; a thousand would say no more. */
const mostTold = 3
const seedsAtOnce = 10

interface Settings {
  readonly seeds: number
  readonly from: number
  readonly damagedPart: number
  readonly endsAtFirst: boolean
  readonly workers: number
  readonly keep: string
}

function usage(message: string): never {
  process.stderr.write(`${message}\n\n${help}`)
  process.exit(2)
}

async function main(args: readonly string[]): Promise<number> {
  let values: Partial<Record<string, string | boolean>>
  try {
    const text = { type: 'string' } as const
    const flag = { type: 'boolean' } as const
    const options = {
      seeds: text,
      from: text,
      seed: text,
      shrink: text,
      workers: text,
      keep: text,
      quick: flag,
      damage: flag,
      first: flag,
      help: flag,
    }
    ;({ values } = parseArgs({ args: [...args], options }))
  } catch (error) {
    usage((error as Error).message)
  }
  if (values['help'] === true) {
    process.stdout.write(help)
    return 0
  }
  const whole = (name: string, otherwise: number): number => {
    const given = values[name]
    if (given === undefined) return otherwise
    if (typeof given !== 'string' || !/^\d{1,9}$/.test(given))
      usage(`--${name} is a whole number, not ${String(given)}`)
    return Number(given)
  }
  const damagedPart = values['damage'] === true ? usualDamage : 0
  if (values['seed'] !== undefined) return one(whole('seed', 1), damagedPart)
  if (values['shrink'] !== undefined) {
    process.stdout.write(`${toldFailure(whole('shrink', 1), damagedPart)}\n`)
    return 1
  }
  return campaign({
    seeds: whole('seeds', values['quick'] === true ? 300 : 2000),
    from: whole('from', 1),
    damagedPart,
    endsAtFirst: values['first'] === true,
    workers: Math.max(1, whole('workers', 2)),
    keep: typeof values['keep'] === 'string' ? values['keep'] : 'skein-sim',
  })
}

function one(seed: number, damagedPart: number): number {
  const story = storyOf(seed, damagedPart)
  process.stdout.write(`seed ${seed}\n${printOptions(story.options)}\n\n`)
  const { transcript, violations, events, trace, tookMs, convergedMs } = runStory(story, { verbose: true })
  process.stdout.write(`${transcript.join('\n')}\n\n`)
  process.stdout.write(
    `${events} events in ${tookMs} virtual ms, equal ${convergedMs} ms after healing, trace ${trace}\n`,
  )
  for (const violation of violations) process.stdout.write(`${toldViolation(violation)}\n`)
  if (violations.length === 0) {
    const again = runSeed(seed, damagedPart, true)
    process.stdout.write(again.violation === undefined ? 'no violation\n' : `${toldViolation(again.violation)}\n`)
    return again.violation === undefined ? 0 : 1
  }
  return 1
}

async function campaign({ seeds, from, damagedPart, endsAtFirst, workers, keep }: Settings): Promise<number> {
  const startedMs = performance.now()
  const totals = new Totals()
  const isLive = process.stdout.isTTY
  const tell = (): void => {
    const seconds = (performance.now() - startedMs) / 1000
    const rate = Math.round((60 * totals.seeds) / seconds)
    const line = `${totals.seeds} of ${seeds} seeds, ${rate} a minute, ${totals.events} events, ${totals.faults} faults, ${totals.failed.length} failed`
    process.stdout.write(isLive ? `\r${line}` : `${line}\n`)
  }
  const timer = setInterval(tell, isLive ? 500 : 15_000)
  let next = from
  const died: string[] = []
  const lane = (): Promise<void> =>
    new Promise((resolve) => {
      const child = fork(join(fileURLToPath(import.meta.url), '..', 'lane.ts'))
      const give = (): void => {
        const first = next
        next = Math.min(next + seedsAtOnce, from + seeds)
        if (first < next) child.send({ first, last: next - 1, damagedPart })
        else child.disconnect()
      }
      child.on('message', (message: LaneMessage) => {
        if (message.kind === 'idle') give()
        else {
          totals.add(message.report)
          const { seed, violation } = message.report
          if (violation !== undefined)
            process.stdout.write(`${isLive ? '\n' : ''}seed ${seed} failed [${violation.rule}]\n`)
          if (violation !== undefined && endsAtFirst) {
            next = from + seeds
            child.kill()
          }
        }
      })
      child.on('exit', (code, signal) => {
        const isOurs = endsAtFirst && totals.failed.length > 0
        if (code !== 0 && !isOurs) died.push(`a lane ended with ${code ?? signal}`)
        resolve()
      })
    })
  await Promise.all(Array.from({ length: Math.min(workers, Math.ceil(seeds / seedsAtOnce)) }, lane))
  clearInterval(timer)
  tell()
  process.stdout.write(`\n${told(totals, (performance.now() - startedMs) / 1000)}\n`)
  const failed = totals.failed.sort((a, b) => a.seed - b.seed)
  for (const [rule, reports] of Map.groupBy(failed, ({ violation }) => violation?.rule)) {
    process.stdout.write(`\n[${rule}] ${reports.map(({ seed }) => seed).join(' ')}\n`)
    for (const { seed, violation } of reports.slice(0, mostTold)) {
      if (violation !== undefined) process.stdout.write(`seed ${seed} ${toldViolation(violation)}\n`)
    }
  }
  if (failed.length > 0 && !endsAtFirst) {
    mkdirSync(keep, { recursive: true })
    for (const { seed } of failed.slice(0, mostTold)) {
      const path = join(keep, `seed-${seed}.txt`)
      writeFileSync(path, `${toldFailure(seed, damagedPart)}\n`)
      process.stdout.write(
        `\nthe story of seed ${seed} is in ${path}; again: npm run sim -- --seed ${seed}${damagedPart > 0 ? ' --damage' : ''}\n`,
      )
    }
  }
  for (const what of died) process.stdout.write(`${what}\n`)
  const missed = seeds >= enoughForMarks ? unmet(totals.counts) : []
  for (const mark of missed) process.stdout.write(`never happened, so it was not tested: ${mark}\n`)
  const isGood = failed.length === 0 && died.length === 0 && missed.length === 0
  process.stdout.write(isGood ? 'sim: ok\n' : `sim: ${failed.length} seeds failed\n`)
  return isGood ? 0 : 1
}

function told(totals: Totals, seconds: number): string {
  const hours = (totals.virtualMs / 3_600_000).toFixed(1)
  const lines = [
    `${totals.seeds} seeds in ${seconds.toFixed(0)} s: ${totals.events} events, ${totals.writes} writes, ${totals.faults} faults, ${hours} virtual hours`,
    `the slowest became equal ${totals.slowestMs} ms after healing (seed ${totals.slowestSeed})`,
    '',
  ]
  const width = Math.max(...[...totals.counts.keys()].map((what) => what.length), 0)
  for (const [what, count] of [...totals.counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    lines.push(`  ${what.padEnd(width)} ${String(count).padStart(9)}${required.includes(what) ? '  required' : ''}`)
  }
  return lines.join('\n')
}

process.exitCode = await main(process.argv.slice(2))
