/**
 * A space much larger than the memory that it may take: a million entries, in processes of their own, since what is
 * asked for is what a fresh process needs.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { StepAnswers, StepName } from './memory-child.ts'
import { exactly } from './measure.ts'
import type { Scenario, Suite } from './scenario.ts'

const child = fileURLToPath(new URL('memory-child.ts', import.meta.url))

/** Runs a step in a process of its own and reads the one line of JSON that it prints. */
function step<Name extends StepName>(name: Name, dir: string, count: number): Promise<StepAnswers[Name]> {
  return new Promise((resolve, reject) => {
    const running = spawn(process.execPath, [child, name, dir, String(count)], { stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    running.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    running.on('error', reject)
    running.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(output) as StepAnswers[Name])
      else reject(new Error(`${name} ended with ${code}`))
    })
  })
}

const million: Scenario = {
  name: 'a million entries',
  measures:
    'Registers of 150 ASCII characters under keys like task-000123 in one space on a disk. Filled, opened again and read at random, measured, deleted again: each in a process of its own.',
  async run({ quick, progress }) {
    const count = quick ? 50_000 : 1_000_000
    const dir = await mkdtemp(join(tmpdir(), 'skein-bench-'))
    try {
      progress(`writing ${count} entries`)
      const filled = await step('fill', dir, count)
      progress('opening and reading')
      const read = await step('read', dir, count)
      progress('measuring rows')
      const sizes = await step('size', dir, count)
      progress('deleting everything')
      const cleared = await step('clear', dir, count)
      const left = await step('size', dir, count)
      const gone = ['entry', 'chunk', 'leaf', 'log', 'segment', 'expiry']
      const rowsLeft = gone.reduce((sum, name) => sum + (left[name]?.rows ?? 0), 0)
      const bytesOf = (names: readonly string[]): number =>
        names.reduce((sum, name) => sum + (sizes[name]?.sizeBytes ?? 0), 0)
      const stateTables = Object.keys(sizes).filter((name) => !['log', 'segment'].includes(name))
      const userBytes = read.userBytes
      const constant = Object.entries(left).map(([name, { rows }]) => `${rows} ${name}`)
      return {
        figures: [
          { name: 'open to first read', unit: 's', value: exactly(read.openSeconds), goal: { atMost: 5 } },
          {
            name: `resident after ${read.reads.toLocaleString('en')} random reads`,
            unit: 'MB',
            value: exactly(read.residentBytes / 1e6),
            goal: { atMost: 350 },
          },
          {
            name: 'metadata an entry, without the log',
            unit: 'bytes',
            value: exactly((bytesOf(stateTables) - userBytes) / count),
            // A space has up to 65,536 leaf rows however few its entries: only a million of them weigh what is asked for.
            ...(quick ? {} : { goal: { atMost: 32 } }),
          },
          { name: 'of it, rows of the Merkle tree', unit: 'bytes', value: exactly(bytesOf(['leaf']) / count) },
          { name: 'log an entry', unit: 'bytes', value: exactly(bytesOf(['log', 'segment']) / count) },
          {
            name: 'rows left after deleting all and pruning',
            unit: 'rows',
            value: exactly(rowsLeft),
            goal: { atMost: 0 },
          },
          { name: 'resident at open', unit: 'MB', value: exactly(read.residentAtOpenBytes / 1e6) },
          { name: 'writes, os, committed every 1,000', unit: 'ops/s', value: exactly(count / filled.seconds) },
          { name: 'random reads', unit: 'ops/s', value: exactly(read.reads / read.readSeconds) },
          { name: 'deletions', unit: 'ops/s', value: exactly(count / cleared.seconds) },
        ],
        notes: [
          `${count.toLocaleString('en')} entries${quick ? ' (--quick: a twentieth of the real one)' : ''}; the files are warm in the system's cache`,
          'metadata: keys and values of all rows as the database holds them, checksums and batch rows included, less the bytes of user keys and values',
          `the log holds what its retention of 64 MiB keeps: ${(sizes['log']?.rows ?? 0).toLocaleString('en')} deltas`,
          `what stays when all is deleted: ${constant.join(', ')}`,
        ],
      }
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  },
}

export const memory: Suite = {
  name: 'memory',
  says: 'a million entries: open, read, measure, delete',
  scenarios: [million],
}
