/** `npm run bench -- convergence`: fleets of processes, ours and those that people use today, through the same scenarios. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { machine } from '../machine.ts'
import { spread } from '../measure.ts'
import { putInto } from '../report.ts'
import { verdict } from '../scenario.ts'
import { campaign } from './campaign.ts'
import { contestants } from './contestant.ts'
import type { Contestant } from './contestant.ts'
import { markdown } from './docs.ts'
import { page } from './page.ts'
import { factsOf, judged } from './results.ts'
import type { Results } from './results.ts'
import { installPackages } from './peers/packages.ts'
import { metrics } from './sample.ts'
import type { Sample } from './sample.ts'
import type { Scenario } from './scenario.ts'
import { scenarios } from './scenarios.ts'

const help = `npm run bench -- convergence [options]

Scenarios:
${scenarios.map(({ letter, name }) => `  ${letter}  ${name}`).join('\n')}

Options:
  --all            every scenario but (l); the default
  --quick          the shortest of them, smaller: to see that it runs, not to quote; with --only any of them
  --only LETTERS   only these scenarios: a,c,f
  --systems TEXT   only systems whose name contains one of these words, separated by commas
  --json FILE      write everything that was measured
  --html FILE      write the report as one page for people
  --docs           put the figures into docs/BENCHMARKS.md
  --check          exit with 1 when a figure misses its goal
  --install        install what it compares with and end; otherwise that is done before it measures
  --help           this

Data goes to the system's directory for temporary files (TMPDIR): point it at a real disk.
`

/** Words that name nothing but what needs no packages of others. */
function ownAlone(words: string): boolean {
  return words !== '' && words.split(',').every((word) => word !== '' && /^(skein|raw)/.test(word))
}

function chosen(all: readonly Contestant[], words: string): Contestant[] {
  const wanted = words.split(',').filter((word) => word !== '')
  return all.filter(({ id }) => wanted.length === 0 || wanted.some((word) => id.includes(word)))
}

function printed({ letter, name, shows }: Scenario, samples: readonly Sample[]): string {
  const lines: string[] = []
  const own = samples.filter((sample) => sample.scenario === letter)
  for (const setting of new Set(own.map((sample) => sample.setting))) {
    lines.push(`\n(${letter}) ${name}, ${setting}`)
    for (const system of new Set(own.map((sample) => sample.system))) {
      const rounds = own.filter((sample) => sample.system === system && sample.setting === setting)
      const failed = rounds.find((sample) => sample.failed !== undefined)
      const cells = shows.flatMap((metric) => {
        const values = rounds.flatMap(({ figures }) => figures[metric] ?? [])
        return values.length === 0 ? [] : [`${metric} ${spread(values).median.toFixed(2)} ${metrics[metric].unit}`]
      })
      if (rounds.length > 0)
        lines.push(`  ${system.padEnd(18)} ${failed === undefined ? cells.join('  ') : failed.failed}`)
    }
  }
  return lines.join('\n')
}

/** What whoever repeats it would type: where files went is not part of that. */
function commandOf({ quick, only, systems }: { quick: boolean; only: string; systems: string }): string {
  const words = [quick ? '--quick' : only === '' ? '--all' : '', only === '' ? '' : `--only ${only}`]
  if (systems !== '') words.push(`--systems "${systems}"`)
  return ['npm run bench -- convergence', ...words.filter((word) => word !== '')].join(' ')
}

export async function convergence(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      all: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      systems: { type: 'string', default: '' },
      json: { type: 'string' },
      html: { type: 'string' },
      docs: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      install: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const letters = values.only.split(',').filter((letter) => letter !== '')
  if (values.docs && (values.quick || values.only !== '' || values.systems !== '')) {
    process.stderr.write('The docs show whole runs: --docs goes with none of --quick, --only and --systems.\n')
    return 2
  }
  const unknown = letters.filter((letter) => !scenarios.some((scenario) => scenario.letter === letter))
  if (unknown.length > 0) {
    process.stderr.write(`There is no scenario ${unknown.join(', ')}.\n\n${help}`)
    return 2
  }
  const wanted = scenarios.filter(({ letter, runsIn }) =>
    letters.length === 0 ? runsIn.includes(values.quick ? 'quick' : 'all') : letters.includes(letter),
  )
  const say = (text: string): void => void process.stderr.write(text)
  if (values.install || !ownAlone(values.systems)) {
    const why = await installPackages(say)
    if (values.install) return why === undefined ? 0 : 1
  }
  const { present, absent } = await contestants()
  for (const { id, why } of absent) process.stdout.write(`${id} does not run here: ${why}\n`)
  const progress = (text: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  }
  const among = chosen(present, values.systems)
  const samples: Sample[] = []
  const facts = machine()
  const date = new Date().toISOString()
  const took = await campaign({
    scenarios: wanted,
    contestants: among,
    quick: values.quick,
    told: (sample) => samples.push(sample),
    progress,
    finished({ scenario, setting, seconds }) {
      progress('')
      process.stderr.write(`(${scenario}) ${setting}: ${seconds.toFixed(0)} s\n`)
    },
  })
  progress('')
  const results: Results = {
    format: 1,
    command: commandOf(values),
    date,
    quick: values.quick,
    machine: facts,
    systems: among.map(factsOf),
    absent,
    excluded: Object.fromEntries(
      wanted.map(({ letter, excludes }) => [
        letter,
        among.flatMap((contestant) => {
          const why = excludes(contestant)
          return why === undefined ? [] : [{ id: contestant.id, why }]
        }),
      ]),
    ),
    samples,
    took,
  }
  for (const scenario of scenarios) {
    const text = printed(scenario, samples)
    if (text !== '') process.stdout.write(`${text}\n`)
  }
  const minutes = took.reduce((sum, { seconds }) => sum + seconds, 0) / 60
  const times = took.map(({ scenario, setting, seconds }) => `(${scenario}) ${setting} ${seconds.toFixed(0)} s`)
  process.stdout.write(`\n${minutes.toFixed(1)} minutes: ${times.join(', ')}\n`)
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results)}\n`)
  if (values.html !== undefined) writeFileSync(values.html, page(results, scenarios))
  if (values.docs)
    putInto(new URL('../../docs/BENCHMARKS.md', import.meta.url), 'convergence', markdown(results, scenarios))
  const goals = wanted.flatMap(({ letter, goals: of }) => of.flatMap((goal) => judged(results, letter, goal) ?? []))
  const short = goals.filter((goal) => verdict(goal) === 'short')
  const missed = short.map(({ scenario, setting, name }) => `  (${scenario}) ${setting}: ${name}\n`)
  process.stdout.write(
    short.length === 0 ? '\nEvery goal that was measured is met.\n' : `\nShort of their goals:\n${missed.join('')}`,
  )
  return values.check && short.length > 0 ? 1 : 0
}
