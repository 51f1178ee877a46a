/**
 * Breaks the code on purpose, one named small edit at a time, in a scratch copy, and runs the tests that should notice.
 * A mutant that survives is a hole in the tests. The faults are data: faults.ts.
 *
 *   npm run mutants               all of them
 *   npm run mutants -- chain      those whose name holds the word
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { faults } from './faults.ts'
import type { Fault } from './faults.ts'

const root = join(import.meta.dirname, '..', '..')
/** A mutant may hang: that counts as caught, after this long. */
const patienceMs = 180_000

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) {
    console.log(
      'npm run mutants [-- WORD]\nruns every planted fault, or those whose name holds WORD; exit 1 if one survives',
    )
    return 0
  }
  const [word = ''] = args
  const chosen = faults.filter(({ name }) => name.includes(word))
  if (chosen.length === 0) {
    console.error(`no fault has "${word}" in its name; there are:\n${faults.map(({ name }) => `  ${name}`).join('\n')}`)
    return 2
  }
  console.log(`${chosen.length} faults, each in a scratch copy; first the copy without a fault must be green`)
  const suites = [...new Set(chosen.flatMap(({ tests }) => tests))]
  const clean = await inCopy((dir) => run(dir, suites, 'inherit'))
  if (clean !== 0) {
    console.error('the tests fail without any fault; mend that first')
    return 1
  }
  const survivors: string[] = []
  const queue = [...chosen]
  const worker = async (): Promise<void> => {
    for (let fault = queue.shift(); fault !== undefined; fault = queue.shift()) {
      const startedAt = performance.now()
      const caught = await attempt(fault)
      if (!caught) survivors.push(fault.name)
      console.log(
        `${caught ? 'caught  ' : 'SURVIVED'}  ${fault.name}  (${((performance.now() - startedAt) / 1000).toFixed(1)} s)`,
      )
    }
  }
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker))
  console.log(`${chosen.length - survivors.length} caught, ${survivors.length} survived`)
  return survivors.length === 0 ? 0 : 1
}

async function attempt(fault: Fault): Promise<boolean> {
  return inCopy(async (dir) => {
    const path = join(dir, fault.file)
    const source = readFileSync(path, 'utf8')
    if (source.split(fault.find).length !== 2) {
      throw new Error(
        `${fault.name}: its text must stand exactly once in ${fault.file}; the code moved on, mend the fault`,
      )
    }
    writeFileSync(
      path,
      source.replace(fault.find, () => fault.replace),
    )
    return (await run(dir, fault.tests)) !== 0
  })
}

async function inCopy<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'skein-mutant-'))
  try {
    for (const part of ['src', 'test', 'docs', 'examples', 'package.json', 'tsconfig.json', 'vitest.config.ts']) {
      cpSync(join(root, part), join(dir, part), { recursive: true })
    }
    symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'))
    return await work(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function run(dir: string, tests: readonly string[], output: 'ignore' | 'inherit' = 'ignore'): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      [
        join(dir, 'node_modules', 'vitest', 'vitest.mjs'),
        'run',
        '--bail=1',
        '--maxWorkers=1',
        '--reporter=dot',
        ...tests,
      ],
      { cwd: dir, stdio: ['ignore', output, output] },
    )
    const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs)
    child.once('exit', (code) => {
      clearTimeout(timer)
      resolve(code ?? 1)
    })
  })
}

process.exitCode = await main(process.argv.slice(2))
