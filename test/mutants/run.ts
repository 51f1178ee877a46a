/**
 * Breaks the code on purpose, one named small edit at a time, in a scratch copy, and runs the tests that should notice.
 * A mutant that survives is a hole in the tests. The faults are data: faults.ts and the rooms that it names. Those that the
 * simulator must find count as caught only when a seed breaks one of its rules, not when the code merely ends.
 *
 *   npm run mutants               all of them
 *   npm run mutants -- chain      those whose name holds the word; `sim` for all that the simulator must find
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Fault, Seeds } from './fault.ts'
import { faults } from './faults.ts'

const root = join(import.meta.dirname, '..', '..')
/** A mutant may hang: that counts as caught by tests, after this long. The simulator must say what is wrong instead. */
const patienceMs = 180_000
const seedsPatienceMs = 600_000
/** Seeds that a copy without a fault must pass first. */
const cleanSeeds = 60

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
  const suites = [...new Set(chosen.flatMap((fault) => ('tests' in fault ? fault.tests : [])))]
  const clean = await inCopy(async (dir) => {
    const isGreen = suites.length === 0 || (await runTests(dir, suites, 'inherit')) === 0
    return isGreen && (!chosen.some((fault) => 'sim' in fault) || (await runSeeds(dir, { seeds: cleanSeeds })).isClean)
  })
  if (!clean) {
    console.error('there are failures without any fault; mend those first')
    return 1
  }
  const survivors: string[] = []
  const queue = [...chosen]
  const worker = async (): Promise<void> => {
    for (let fault = queue.shift(); fault !== undefined; fault = queue.shift()) {
      const startedAt = performance.now()
      const found = await attempt(fault)
      if (found === undefined) survivors.push(fault.name)
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
      console.log(
        `${found === undefined ? 'SURVIVED' : 'caught  '}  ${fault.name}  (${found ?? 'nothing'}, ${seconds} s)`,
      )
    }
  }
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker))
  console.log(`${chosen.length - survivors.length} caught, ${survivors.length} survived`)
  return survivors.length === 0 ? 0 : 1
}

/** What noticed it; undefined when nothing did. */
async function attempt(fault: Fault): Promise<string | undefined> {
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
    if ('sim' in fault) return (await runSeeds(dir, fault.sim)).found
    return (await runTests(dir, fault.tests)) === 0 ? undefined : 'tests'
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

async function runTests(
  dir: string,
  tests: readonly string[],
  output: 'ignore' | 'inherit' = 'ignore',
): Promise<number> {
  const vitest = join(dir, 'node_modules', 'vitest', 'vitest.mjs')
  const args = [vitest, 'run', '--bail=1', '--maxWorkers=1', '--reporter=dot', ...tests]
  return (await run(dir, args, patienceMs, output)).code
}

/** What the simulator finds, from the first seed on until one fails. */
async function runSeeds(
  dir: string,
  { seeds, from = 1, damage = false }: Seeds,
): Promise<{ found: string | undefined; isClean: boolean }> {
  const args = [join(dir, 'test', 'sim', 'run.ts'), '--first', '--workers', '1']
  args.push('--seeds', String(seeds), '--from', String(from), ...(damage ? ['--damage'] : []))
  const { code, output } = await run(dir, args, seedsPatienceMs, 'pipe')
  const [, seed, rule] = /^seed (\d+) failed \[(.+)\]$/m.exec(output) ?? []
  if (code !== 0 && seed === undefined) console.log(output.trim())
  const found = seed === undefined ? undefined : `[${rule}] after ${Number(seed) - from + 1} seeds`
  return { found, isClean: code === 0 }
}

function run(
  dir: string,
  args: readonly string[],
  mostMs: number,
  stdout: 'ignore' | 'inherit' | 'pipe',
): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    // A group of its own: one that hangs in a lane of its own must end too.
    const child = spawn(process.execPath, args, { cwd: dir, stdio: ['ignore', stdout, stdout], detached: true })
    const kill = (): void =>
      void (child.pid !== undefined && child.exitCode === null && process.kill(-child.pid, 'SIGKILL'))
    process.once('exit', kill)
    let output = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (output += text))
    const timer = setTimeout(kill, mostMs)
    child.once('close', (code) => {
      clearTimeout(timer)
      process.off('exit', kill)
      resolve({ code: code ?? 1, output })
    })
  })
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
process.exitCode = await main(process.argv.slice(2))
