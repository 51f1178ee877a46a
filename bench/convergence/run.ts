/** `npm run bench -- convergence`: fleets of processes, ours and those that people use today, through the same scenarios. */
import { parseArgs } from 'node:util'
import { spread } from '../measure.ts'
import { contestants } from './contestant.ts'
import type { Contestant } from './contestant.ts'
import { lag } from './lag.ts'
import { metrics } from './sample.ts'
import type { MetricName, Sample } from './sample.ts'

const help = `npm run bench -- convergence [options]

Options:
  --quick          smaller and shorter: to see that it runs, not to quote
  --systems TEXT   only systems whose name contains one of these words, separated by commas
  --help           this

Data goes to the system's directory for temporary files (TMPDIR): point it at a real disk.
`

function chosen(all: readonly Contestant[], words: string): Contestant[] {
  const wanted = words.split(',').filter((word) => word !== '')
  return all.filter(({ id }) => wanted.length === 0 || wanted.some((word) => id.includes(word)))
}

function printed(samples: readonly Sample[]): string {
  const lines: string[] = []
  for (const system of new Set(samples.map((sample) => sample.system))) {
    const rounds = samples.filter((sample) => sample.system === system)
    const failed = rounds.find((sample) => sample.failed !== undefined)
    const cells = (Object.keys(metrics) as MetricName[]).flatMap((name) => {
      const values = rounds.flatMap(({ figures }) => figures[name] ?? [])
      return values.length === 0 ? [] : [`${name} ${spread(values).median.toFixed(2)}${metrics[name].unit}`]
    })
    lines.push(`  ${system.padEnd(20)} ${failed === undefined ? cells.join('  ') : `failed: ${failed.failed}`}`)
  }
  return lines.join('\n')
}

export async function convergence(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      systems: { type: 'string', default: '' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  const { present, absent } = await contestants()
  for (const { id, why } of absent) process.stdout.write(`${id} does not run here: ${why}\n`)
  const progress = (text: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  }
  const size = values.quick
    ? { warmingWrites: 600, slices: 3, sliceWrites: 60 }
    : { warmingWrites: 3000, slices: 7, sliceWrites: 150 }
  const plan = { scenario: 'a', nodes: 3, rate: 50, valueBytes: 128, ...size }
  const samples = await lag(plan, chosen(present, values.systems), progress)
  progress('')
  process.stdout.write(`${printed(samples)}\n`)
  return 0
}
