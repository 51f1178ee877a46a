/**
 * npm run fuzz: feeds every decoder mutations of valid input and holds each to its promises: no error but those allowed, no
 * hang, no memory that the bytes do not pay for, nothing that does not come back as it was. Exit 1 with any finding, each
 * with the command that plays it again.
 *
 * The search follows V8's block coverage through node:inspector. Why no fuzzer from elsewhere: docs/decisions/fuzzing.md.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Coverage } from './coverage.ts'
import type { Finding } from './fuzzer.ts'

const help = `npm run fuzz -- [options]

  --seconds N    for all targets together (60)
  --seed S       of the mutations (chosen and printed)
  --target NAME  only this one
  --replay FILE  one input into the target named: what becomes of it
  --help

Exit code 0: no finding. 1: at least one. 2: usage.
`

async function main(args: readonly string[]): Promise<number> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: { seconds: text, seed: text, target: text, replay: text, help: { type: 'boolean' } },
  })
  if (values.help === true) {
    process.stdout.write(help)
    return 0
  }
  // Before the code that it is to cover.
  const coverage = new Coverage()
  const { targets } = await import('./targets.ts')
  const { attempt, fuzz } = await import('./fuzzer.ts')
  const chosen = targets.filter(({ name }) => values.target === undefined || name === values.target)
  if (chosen.length === 0) throw new TypeError(`there are the targets ${targets.map(({ name }) => name).join(', ')}`)
  if (values.replay !== undefined) {
    const [target] = chosen
    if (chosen.length > 1 || target === undefined) throw new TypeError('--replay needs --target')
    const { answer, broken } = attempt(target, new Uint8Array(readFileSync(values.replay)))
    process.stdout.write(broken === undefined ? `fine: ${answer}\n` : `broken: ${broken}\n`)
    return broken === undefined ? 0 : 1
  }
  const seconds = numberOf(values.seconds ?? '60')
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : numberOf(values.seed)
  process.stdout.write(`seed ${seed}, ${seconds} s for ${chosen.map(({ name }) => name).join(', ')}\n`)
  const endMs = performance.now() + seconds * 1000
  const findings: Finding[] = []
  for (const [at, target] of chosen.entries()) {
    const startedMs = performance.now()
    // What one target leaves over, the others share.
    const stopMs = startedMs + (endMs - startedMs) / (chosen.length - at)
    const report = fuzz(target, { seed, coverage, more: () => performance.now() < stopMs })
    const rate = report.inputs / ((performance.now() - startedMs) / 1000)
    const share = ((100 * report.taken) / report.inputs).toFixed(0)
    process.stdout.write(
      `${target.name.padEnd(12)} ${report.inputs.toLocaleString('en')} inputs (${rate.toFixed(0)}/s), ` +
        `${share} % taken, ${report.pool} kept, ${report.findings.length} findings\n`,
    )
    findings.push(...report.findings)
  }
  process.stdout.write(`${coverage.characters.toLocaleString('en')} characters of source covered\n`)
  for (const finding of findings) tell(finding)
  return findings.length === 0 ? 0 : 1
}

function tell({ target, what, input }: Finding): void {
  const folder = join(tmpdir(), 'skein-fuzz')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${target}-${createHash('sha256').update(input).digest('hex').slice(0, 12)}.bin`)
  writeFileSync(file, input)
  const shown = Buffer.from(input.subarray(0, 64)).toString('hex')
  process.stdout.write(`\n${target}: ${what}\n  ${input.length} bytes: ${shown}${input.length > 64 ? '…' : ''}\n`)
  process.stdout.write(`  npm run fuzz -- --target ${target} --replay ${file}\n`)
}

function numberOf(text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value < 0) throw new TypeError(`${text} is no number`)
  return value
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  const usage = error instanceof TypeError && !('cause' in error && error.cause !== undefined)
  process.stderr.write(
    usage ? `${error.message}\n\n${help}` : `${error instanceof Error ? error.stack : String(error)}\n`,
  )
  process.exitCode = 2
}
