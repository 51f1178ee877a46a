/**
 * Kill points: a real process, a real disk, SIGKILL at a random moment of opening, writing, pruning, ending a space or
 * closing. One directory lives through many lives, so that incarnations and half recoveries pile up; between them a
 * copy or the directory itself is opened and everything in it checked.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { prng } from '../../src/base/prng.ts'
import type { Prng } from '../../src/base/prng.ts'
import type { Line, Orders } from './child.ts'
import { Findings } from './findings.ts'
import type { Finding } from './findings.ts'
import { inspect } from './inspect.ts'
import { count } from './jobs.ts'
import type { Figures, Job, Progress, Report, Violation } from './jobs.ts'
import { Ledger } from './ledger.ts'
import { Memory } from './rebuild.ts'

interface Plan {
  /** The line after which the kill is due. */
  readonly after: 'opening' | 'open' | 'special' | 'closing'
  readonly delayMs: number
  readonly special?: 'prune' | 'delete-space'
  readonly closeAfterMs?: number
}

const childPath = fileURLToPath(new URL('child.ts', import.meta.url))

let running: ChildProcess | undefined
/** Nobody must outlive the tester. */
process.on('exit', () => running?.kill('SIGKILL'))

export async function runKills(job: Job, progress: Progress): Promise<Report> {
  const chance = prng(job.seed)
  const figures: Figures = {}
  const violations: Violation[] = []
  const dir = join(job.dir, 'data')
  const ledger = new Ledger()
  const memory = new Memory()
  // A log that was pruned can no longer be replayed from nothing, so only some directories ever are.
  const prunes = chance.chance(0.3)
  const deletesSpaces = chance.chance(0.4)
  for (let point = 1; point <= job.points; point++) {
    const plan = planOf(chance, prunes, deletesSpaces)
    const orders: Orders = {
      dir,
      prunes,
      deletesSpaces,
      life: `k${job.number}.${point}`,
      seed: chance.uint32(),
      ...(plan.special && { special: plan.special }),
      ...(plan.closeAfterMs !== undefined && { closeAfterMs: plan.closeAfterMs }),
      // The first life must leave something to spoil.
      ...(job.plant && (point > 1 || job.plant === 'early-ack') && { plant: job.plant }),
    }
    const { findings, killed, slept } = await live(orders, plan, ledger, memory)
    count(figures, killed ? 'kills' : 'closed in order')
    count(figures, `killed after ${plan.special ?? plan.after}`, killed ? 1 : 0)
    const ofLife = ledger.items.length
    // Looking at a copy leaves the directory as the kill left it: the next life recovers it, and may be killed at that.
    const looked = chance.chance(0.5) ? join(job.dir, `copy-${point}`) : dir
    const evidence = join(job.dir, `evidence-${point}`)
    // Killed before it made anything, it leaves nothing to copy.
    if (existsSync(dir))
      for (const to of new Set([evidence, looked])) if (to !== dir) cpSync(dir, to, { recursive: true })
    const inspection = await inspect({ dir: looked, ledger, memory })
    if (looked !== dir) rmSync(looked, { recursive: true, force: true })
    const all = [...findings, ...inspection.findings]
    for (const finding of all) {
      const where = `point ${point}: killed ${plan.delayMs} ms after "${plan.special ?? plan.after}" (slept ${slept} ms), ${ofLife} operations issued, opened ${looked === dir ? 'in place' : 'as a copy'}`
      violations.push({ ...finding, phase: job.phase, job: job.number, point: where, kept: evidence })
    }
    count(figures, 'operations issued', ofLife)
    count(figures, 'acknowledged writes checked', inspection.settlement?.acknowledged ?? 0)
    count(figures, 'operations found', inspection.settlement?.survivors ?? 0)
    progress({ kills: 1 })
    // After a finding the ledger no longer fits the directory: what follows would only be noise.
    if (all.length > 0) break
    rmSync(evidence, { recursive: true, force: true })
    if (inspection.settlement !== undefined) ledger.fold(inspection.settlement)
  }
  if (violations.length === 0) rmSync(job.dir, { recursive: true, force: true })
  return { figures, violations }
}

function planOf(chance: Prng, prunes: boolean, deletesSpaces: boolean): Plan {
  // Most moments soon, some late.
  const soon = (most: number): number => Math.floor(most * (chance.below(1000) / 1000) ** 2)
  const choice = chance.below(10)
  if (choice === 0) return { after: 'opening', delayMs: soon(40) }
  if (choice === 1) return { after: 'closing', delayMs: soon(12), closeAfterMs: chance.below(200) }
  if (choice === 2 && prunes) return { after: 'special', special: 'prune', delayMs: soon(12) }
  if (choice === 3 && deletesSpaces) return { after: 'special', special: 'delete-space', delayMs: soon(12) }
  return { after: 'open', delayMs: soon(300) }
}

/** The last line may be half a line: what it was about to say had not been done yet. */
function parsed(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line
  } catch {
    return undefined
  }
}

interface Life {
  readonly findings: readonly Finding[]
  readonly killed: boolean
  /** How long the timer took in truth. */
  readonly slept: number
}

function live(orders: Orders, plan: Plan, ledger: Ledger, memory: Memory): Promise<Life> {
  mkdirSync(join(orders.dir, '..'), { recursive: true })
  const child = spawn(process.execPath, [childPath, JSON.stringify(orders)], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  })
  running = child
  const findings = new Findings()
  let slept = 0
  let killed = false
  let errors = ''
  const heard = (line: Line): void => {
    if (line.is === plan.after) {
      const startMs = performance.now()
      setTimeout(() => {
        slept = Math.round(performance.now() - startMs)
        killed = child.kill('SIGKILL')
      }, plan.delayMs)
    }
    if (line.is === 'open') findings.addAll(memory.incarnation(line.origin))
    else if (line.is === 'issue') ledger.issue(line.name, line.operation)
    else if (line.is === 'made') ledger.made(line.name, line.outcome)
    else if (line.is === 'acknowledged') ledger.acknowledge(line.name)
    else if (line.is === 'rejected' && line.code !== 'closed')
      findings.add('died', `${line.name} was rejected with ${line.code}`)
  }
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text))
  const lines = createInterface({ input: child.stdio[3] as NodeJS.ReadableStream, crlfDelay: Infinity })
  const ended = new Promise<void>((resolve) => lines.once('close', resolve))
  lines.on('line', (text) => {
    const line = parsed(text)
    if (line !== undefined) heard(line)
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      running = undefined
      if (signal !== 'SIGKILL' && code !== 0)
        findings.add('died', `it ended with ${code ?? signal}: ${errors.trim().slice(0, 2000)}`)
      void ended.then(() => resolve({ findings: findings.list, killed: killed && signal === 'SIGKILL', slept }))
    })
  })
}
