/**
 * npm run crash: kills real processes, cuts the power, rots files and fills the disk, and looks at what survived. Exit 1
 * with any violation, each with its story and the command that plays it again.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { count, phases, plants } from './jobs.ts'
import type { Figures, Job, Phase, Plant, Violation } from './jobs.ts'
import type { LaneMessage } from './lane.ts'
import { rules } from './findings.ts'

const help = `npm run crash -- [options]

  --points N    SIGKILLs of a process that writes (300)
  --cuts M      power cuts, derived from the states of scripted runs (2000)
  --flips K     bits flipped or files cut, synced parts too (400)
  --full R      times that a small disk is filled (3; needs root on Linux)
  --seed S      for all choices; moments of kills still differ from run to run
  --only P:J    one job of one phase, as a story names it (kills:3), or a phase (cuts)
  --lanes L     processes side by side (2)
  --json FILE   figures and violations
  --plant NAME  plants a fault that must be found: ${plants.join(', ')}
  --help

Exit code 0: no violation. 1: at least one. 2: usage.
`

/** Points in one job: a directory of kills, a script of cuts, a directory of flips. */
const pointsAJob: Readonly<Record<Phase, number>> = { kills: 10, cuts: 250, flips: 50, full: 1_000 }

interface Settings {
  readonly points: Readonly<Record<Phase, number>>
  readonly seed: number
  readonly only: string | undefined
  readonly lanes: number
  readonly json: string | undefined
  readonly plant: Plant | undefined
}

function usage(message: string): never {
  process.stderr.write(`${message}\n\n${help}`)
  process.exit(2)
}

function settingsOf(args: readonly string[]): Settings {
  let values: Partial<Record<string, string | boolean>>
  try {
    const text = { type: 'string' } as const
    const options = {
      points: text,
      cuts: text,
      flips: text,
      full: text,
      seed: text,
      only: text,
      lanes: text,
      json: text,
      plant: text,
    }
    ;({ values } = parseArgs({ args: [...args], options: { ...options, help: { type: 'boolean', short: 'h' } } }))
  } catch (error) {
    usage((error as Error).message)
  }
  if (values['help'] === true) {
    process.stdout.write(help)
    process.exit(0)
  }
  const whole = (name: string, otherwise: number): number => {
    const given = values[name]
    if (given === undefined) return otherwise
    if (typeof given !== 'string' || !/^\d{1,9}$/.test(given))
      usage(`--${name} is a whole number, not ${String(given)}`)
    return Number(given)
  }
  const textOf = (name: string): string | undefined => values[name] as string | undefined
  const plant = textOf('plant')
  const known = plants.find((one) => one === plant)
  if (plant !== undefined && known === undefined) usage(`--plant is one of ${plants.join(', ')}`)
  const only = textOf('only')
  if (only !== undefined && !phases.some((phase) => only === phase || new RegExp(`^${phase}:\\d+$`).test(only))) {
    usage(`--only is one of ${phases.join(', ')}, or one with a job: ${phases[0]}:3`)
  }
  return {
    points: {
      kills: whole('points', 300),
      cuts: whole('cuts', 2000),
      flips: whole('flips', 400),
      full: whole('full', 3),
    },
    seed: whole('seed', Math.floor(Math.random() * 1_000_000)),
    only,
    lanes: Math.max(1, whole('lanes', 2)),
    json: textOf('json'),
    plant: known,
  }
}

function jobsOf({ points, seed, only, plant }: Settings, dir: string): Job[] {
  const jobs: Job[] = []
  for (const [at, phase] of phases.entries()) {
    let left = points[phase]
    for (let number = 1; left > 0; number++) {
      const share = Math.min(left, pointsAJob[phase])
      left -= share
      if (only !== undefined && only !== phase && only !== `${phase}:${number}`) continue
      const jobSeed = (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(at * 100_003 + number, 0x85ebca6b)) >>> 0
      jobs.push({
        phase,
        number,
        seed: jobSeed,
        points: share,
        dir: join(dir, `${phase}-${number}`),
        ...(plant && { plant }),
      })
    }
  }
  // The longest first, so that no lane ends long before the other: kills wait most, the others compute.
  return jobs.sort((a, b) => phases.indexOf(a.phase) - phases.indexOf(b.phase))
}

interface Outcome {
  readonly figures: Figures
  readonly violations: readonly Violation[]
  readonly skipped: readonly string[]
}

/** Works all jobs off over some processes. */
function work(jobs: readonly Job[], lanes: number, tell: (figures: Figures) => void): Promise<Outcome> {
  const figures: Figures = {}
  const violations: Violation[] = []
  const skipped: string[] = []
  const shown: Figures = {}
  const queue = [...jobs]
  const running = new Set<ChildProcess>()
  const stopAll = (): void => {
    for (const lane of running) lane.disconnect()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      stopAll()
      setTimeout(() => process.exit(130), 500)
    })
  }
  const lane = (): Promise<void> =>
    new Promise((resolve) => {
      const child = fork(fileURLToPath(new URL('lane.ts', import.meta.url)), {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      })
      running.add(child)
      let job: Job | undefined
      const next = (): void => {
        job = queue.shift()
        if (job === undefined) child.disconnect()
        else child.send(job)
      }
      child.on('message', (message: LaneMessage) => {
        if (message.is === 'progress') {
          for (const [name, by] of Object.entries(message.figures)) count(shown, name, by)
          return tell(shown)
        }
        if (message.is === 'done') {
          for (const [name, by] of Object.entries(message.report.figures)) {
            if (name.startsWith('slowest')) figures[name] = Math.max(figures[name] ?? 0, by)
            else count(figures, name, by)
          }
          violations.push(...message.report.violations)
          if (message.report.skipped !== undefined) skipped.push(`${message.job.phase}: ${message.report.skipped}`)
        } else if (message.is === 'failed') {
          violations.push({
            rule: 'died',
            what: message.stack,
            phase: message.job.phase,
            job: message.job.number,
            point: 'the job itself',
          })
        }
        next()
      })
      child.once('exit', (code, signal) => {
        running.delete(child)
        if (job === undefined) return resolve()
        const what = `the lane ended with ${code ?? signal} in the middle of the job`
        violations.push({ rule: 'died', what, phase: job.phase, job: job.number, point: 'unknown', kept: job.dir })
        // Its other jobs still have to be done.
        resolve(queue.length > 0 ? lane() : undefined)
      })
    })
  return Promise.all(Array.from({ length: lanes }, lane)).then(() => ({ figures, violations, skipped }))
}

function tellProgress(total: Readonly<Record<Phase, number>>): (figures: Figures) => void {
  const isTerminal = process.stderr.isTTY
  let lastMs = Date.now()
  return (figures) => {
    if (Date.now() - lastMs < (isTerminal ? 100 : 10_000)) return
    lastMs = Date.now()
    const line = `kills ${figures['kills'] ?? 0}/${total.kills}  cuts ${figures['cuts'] ?? 0}/${total.cuts}  flips ${figures['flips'] ?? 0}/${total.flips}`
    process.stderr.write(isTerminal ? `\r${line}\u001b[K` : `${line}\n`)
  }
}

/** At most so many stories are told whole. */
const mostStories = 20

function tellViolations(violations: readonly Violation[], { seed, points }: Settings): void {
  const amounts = `--points ${points.kills} --cuts ${points.cuts} --flips ${points.flips} --full ${points.full}`
  for (const { rule, what, phase, job, point, kept } of violations.slice(0, mostStories)) {
    process.stdout.write(
      `\nVIOLATION of "${rule}": ${rules[rule]}\n  ${what}\n  at      ${phase}:${job}, ${point}\n` +
        (kept === undefined ? '' : `  kept    ${kept}\n`) +
        `  replay  npm run crash -- ${amounts} --seed ${seed} --only ${phase}:${job}\n`,
    )
  }
  if (violations.length <= mostStories) return
  process.stdout.write(`\nand ${violations.length - mostStories} more\n`)
}

const tableRows = ['kills', 'closed in order', 'cuts', 'flips', 'disks filled', 'acknowledged writes checked'] as const

async function main(): Promise<number> {
  const settings = settingsOf(process.argv.slice(2))
  const startMs = Date.now()
  const dir = mkdtempSync(join(tmpdir(), 'skein-crash-'))
  process.stdout.write(`seed ${settings.seed}, in ${dir}\n`)
  const jobs = jobsOf(settings, dir)
  if (jobs.length === 0) usage('there is nothing to do')
  const { figures, violations, skipped } = await work(
    jobs,
    Math.min(settings.lanes, jobs.length),
    tellProgress(settings.points),
  )
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
  tellViolations(violations, settings)
  const seconds = (Date.now() - startMs) / 1000
  process.stdout.write('\n')
  const details = Object.keys(figures)
    .filter((name) => !(tableRows as readonly string[]).includes(name))
    .sort()
  for (const name of [...tableRows, ...details])
    process.stdout.write(`${name.padEnd(34)} ${String(figures[name] ?? 0).padStart(8)}\n`)
  for (const reason of skipped) process.stdout.write(`${'skipped'.padEnd(34)} ${reason}\n`)
  process.stdout.write(
    `${'seconds'.padEnd(34)} ${seconds.toFixed(1).padStart(8)}\n${'violations'.padEnd(34)} ${String(violations.length).padStart(8)}\n`,
  )
  if (settings.json !== undefined) {
    writeFileSync(
      settings.json,
      `${JSON.stringify({ seed: settings.seed, seconds, figures, skipped, violations }, undefined, 2)}\n`,
    )
  }
  if (violations.some(({ kept }) => kept !== undefined))
    process.stdout.write(`\nThe directories of violations are kept in ${dir}.\n`)
  else rmSync(dir, { recursive: true, force: true })
  return violations.length === 0 ? 0 : 1
}

process.exitCode = await main()
