/** `npm run bench`: runs suites of scenarios, prints what they measured and says where a goal is missed. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { baseline } from './baseline.ts'
import { compare } from './convergence/compare.ts'
import { convergence } from './convergence/run.ts'
import { crdt } from './crdt.ts'
import { hop } from './hop.ts'
import { http } from './http.ts'
import { machine } from './machine.ts'
import { memory } from './memory.ts'
import { merge } from './merge.ts'
import { svgOf } from './plot.ts'
import { machineLines, printed, shortOf, writeInto } from './report.ts'
import type { Measured, Report } from './report.ts'
import { scale } from './scale.ts'
import type { Suite } from './scenario.ts'
import { store } from './store.ts'
import { sync } from './sync.ts'

const suites: readonly Suite[] = [crdt, store, memory, http, hop, sync, scale, merge]

const help = `npm run bench -- [suite …] [options]

Suites (all of them unless some are named):
${suites.map(({ name, says }) => `  ${name.padEnd(8)} ${says}`).join('\n')}

And, with options of its own (--help):
  convergence  fleets of processes, ours beside those that people use today
  compare      two runs of it: regression or noise
  baseline     bytes, round trips, copies, hops: as they were committed

Options:
  --quick        smaller, each suite within a minute: to see that it runs, not to quote
  --only TEXT    only scenarios whose name contains the text
  --json FILE    write the figures as JSON
  --plot FILE    draw the curves of the suites that have some, as SVG
  --docs         put the figures into docs/BENCHMARKS.md
  --check        exit with 1 when a figure misses its goal
  --help         this

Example: npm run bench -- crdt --quick --check
Data goes to the system's directory for temporary files (TMPDIR) and is removed: point it at a real disk.
`

function usage(message: string): never {
  process.stderr.write(`${message}\n\n${help}`)
  process.exit(2)
}

function parsed(): ReturnType<typeof parse> {
  try {
    return parse()
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error))
  }
}

function parse() {
  return parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      json: { type: 'string' },
      plot: { type: 'string' },
      docs: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
}

async function runSuite({ name, scenarios }: Suite, quick: boolean, only: string): Promise<Report> {
  const facts = machine()
  const [first = '', second = ''] = machineLines(facts)
  process.stdout.write(`\n=== ${name}${quick ? ', quick' : ''}\n${first}\n${second}\n`)
  const progress = (text: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  }
  const results: Measured[] = []
  for (const scenario of scenarios) {
    if (!scenario.name.includes(only)) continue
    const outcome = await scenario.run({ quick, progress })
    progress('')
    const measured = { scenario: scenario.name, measures: scenario.measures, ...outcome }
    process.stdout.write(`${printed(measured)}\n`)
    results.push(measured)
  }
  const command = ['npm run bench --', name, ...(quick ? ['--quick'] : [])].join(' ')
  return { suite: name, command, date: new Date().toISOString().slice(0, 10), quick, machine: facts, results }
}

if (process.argv[2] === 'convergence') process.exit(await convergence(process.argv.slice(3)))
if (process.argv[2] === 'baseline') process.exit(await baseline(process.argv.slice(3)))
if (process.argv[2] === 'compare') process.exit(compare(process.argv.slice(3)))
const { values, positionals } = parsed()
if (values.help) {
  process.stdout.write(help)
  process.exit(0)
}
for (const name of positionals) if (!suites.some((suite) => suite.name === name)) usage(`There is no suite ${name}.`)
if (values.docs && (values.quick || values.only !== ''))
  usage('The page shows whole runs: --docs goes with neither --quick nor --only.')

const reports: Report[] = []
for (const suite of suites) {
  if (positionals.length > 0 && !positionals.includes(suite.name)) continue
  const report = await runSuite(suite, values.quick, values.only)
  reports.push(report)
  if (values.docs) writeInto(new URL('../docs/BENCHMARKS.md', import.meta.url), report)
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(reports, undefined, 2)}\n`)
if (values.plot !== undefined) {
  writeFileSync(values.plot, svgOf(reports.flatMap(({ results }) => results.flatMap(({ series = [] }) => series))))
}
const short = reports.flatMap(shortOf)
process.stdout.write(
  short.length === 0
    ? '\nEvery goal is met.\n'
    : `\nShort of their goals:\n${short.map((line) => `  ${line}\n`).join('')}`,
)
process.exitCode = values.check && short.length > 0 ? 1 : 0
