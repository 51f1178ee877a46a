/** `npm run bench -- convergence`: fleets of processes, ours and those that people use today, through the same scenarios. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { spread } from '../measure.ts'
import { campaign } from './campaign.ts'
import { contestants } from './contestant.ts'
import type { Contestant } from './contestant.ts'
import { metrics } from './sample.ts'
import type { Sample } from './sample.ts'
import type { Scenario } from './scenario.ts'
import { scenarios } from './scenarios.ts'

const help = `npm run bench -- convergence [options]

Scenarios:
${scenarios.map(({ letter, name }) => `  ${letter}  ${name}`).join('\n')}

Options:
  --all            every scenario but (l); the default
  --quick          smaller and shorter: to see that it runs, not to quote
  --only LETTERS   only these scenarios: a,c,f
  --systems TEXT   only systems whose name contains one of these words, separated by commas
  --json FILE      write everything that was measured
  --help           this

Data goes to the system's directory for temporary files (TMPDIR): point it at a real disk.
`

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

export async function convergence(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      all: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      systems: { type: 'string', default: '' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const letters = values.only.split(',').filter((letter) => letter !== '')
  const unknown = letters.filter((letter) => !scenarios.some((scenario) => scenario.letter === letter))
  if (unknown.length > 0) {
    process.stderr.write(`There is no scenario ${unknown.join(', ')}.\n\n${help}`)
    return 2
  }
  const wanted = scenarios.filter(({ letter }) => letters.length === 0 || letters.includes(letter))
  const { present, absent } = await contestants()
  for (const { id, why } of absent) process.stdout.write(`${id} does not run here: ${why}\n`)
  const progress = (text: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  }
  const samples: Sample[] = []
  const took = await campaign({
    scenarios: wanted,
    contestants: chosen(present, values.systems),
    quick: values.quick,
    told: (sample) => samples.push(sample),
    progress,
  })
  progress('')
  for (const scenario of scenarios) {
    const text = printed(scenario, samples)
    if (text !== '') process.stdout.write(`${text}\n`)
  }
  process.stdout.write(
    `\n${took.map(({ scenario, setting, seconds }) => `(${scenario}) ${setting}: ${seconds.toFixed(0)} s`).join('\n')}\n`,
  )
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ samples, took })}\n`)
  return 0
}
