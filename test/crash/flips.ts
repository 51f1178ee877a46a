/**
 * Rot: one bit flipped or the end cut off, in any file of a directory, synced parts too. Afterwards every read gives the
 * right value or an error of the store_ codes, or of the identity; never a wrong value, never a missing one in silence. What rots while the
 * node runs, or in tables that were not looked at when it opened, a scrub must find.
 *
 * What is not asked here, because LevelDB 1.20 as bundled cannot give it: that rot does no harm which LevelDB meets before
 * we do. It reads tables without comparing checksums and with its assertions on, so it ends the process at a rotted block
 * (SIGABRT; counted below), or a compaction writes what it made of the block anew, under a right checksum. So the scrub
 * is tested on directories in which nothing is left to compact. Nor is a table ever cut while it is open: it is mapped
 * into memory, and the process would end (SIGBUS).
 */
import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { prng } from '../../src/base/prng.ts'
import type { Prng } from '../../src/base/prng.ts'
import { openLevelStore } from '../../src/store/level.ts'
import { runScript } from './cuts.ts'
import { layOut } from './disk.ts'
import { inspect } from './inspect.ts'
import type { Finding } from './findings.ts'
import { count } from './jobs.ts'
import type { Figures, Job, Progress, Report, Violation } from './jobs.ts'
import type { Ledger } from './ledger.ts'
import { flipBit } from './harm.ts'
import type { ScrubAnswer, ScrubOrders } from './scrub-child.ts'

const commits = 120

interface Original {
  readonly dir: string
  /** Closed in order, or as a crash of the process left it. */
  readonly isClosed: boolean
  /** Operations issued by then, and how many of them are in it, unharmed. */
  readonly issued: number
  readonly survivors: number
}

export async function runFlips(job: Job, progress: Progress): Promise<Report> {
  const chance = prng(job.seed)
  const figures: Figures = {}
  const violations: Violation[] = []
  const scratch = join(job.dir, 'scratch')
  mkdirSync(scratch, { recursive: true })
  const closed = join(job.dir, 'data')
  const { ledger, moments } = await runScript({
    dir: closed,
    scratch,
    commits,
    job,
    name: `f${job.number}`,
    chance: chance.fork(1),
  })
  // The last moment in which it was open, all of it as the operating system had it.
  const crashed = join(job.dir, 'crashed')
  const last = moments.findLast(({ capture }) => capture.label.startsWith('after commit'))
  if (last === undefined) throw new Error('the script made no commit')
  layOut(crashed, last.capture)
  const originals: Original[] = []
  for (const [dir, issued] of [
    [closed, ledger.items.length],
    [crashed, last.issued],
  ] as const) {
    const copy = join(job.dir, 'unharmed')
    copyAll(dir, copy)
    const { findings, settlement } = await inspect({ dir: copy, ledger, count: issued })
    rmSync(copy, { recursive: true })
    if (settlement === undefined || findings.length > 0)
      throw new Error(`${dir} is wrong before any flip: ${JSON.stringify(findings)}`)
    originals.push({ dir, isClosed: dir === closed, issued, survivors: settlement.survivors })
  }
  const settled = { ...(originals[0] as Original), dir: join(job.dir, 'settled') }
  copyAll(closed, settled.dir)
  await settle(settled.dir)
  for (let point = 1; point <= job.points; point++) {
    const dir = join(job.dir, `flip-${point}`)
    const evidence = `${dir}-evidence`
    const isScrub = chance.chance(0.1)
    const original = isScrub ? settled : chance.pick(originals)
    copyAll(original.dir, dir)
    const victim = pickVictim(dir, chance, isScrub)
    if (victim === undefined) throw new Error(`${original.dir} has no table to flip`)
    let what: string
    let answer: Answer
    if (isScrub) [what, answer] = await scrub(dir, victim, chance)
    else {
      what = `${harm(dir, victim, chance)}, ${original.isClosed ? 'closed in order' : 'crashed'}`
      copyAll(dir, evidence)
      answer = await read(dir, ledger, original)
    }
    count(figures, 'flips')
    count(figures, `flip: ${answer.is}`)
    count(figures, 'acknowledged writes checked', answer.checked ?? 0)
    progress({ flips: 1 })
    rmSync(dir, { recursive: true, force: true })
    if (answer.is !== 'violation') rmSync(evidence, { recursive: true, force: true })
    for (const finding of answer.findings ?? []) {
      violations.push({
        ...finding,
        phase: job.phase,
        job: job.number,
        point: `flip ${point}: ${what}`,
        kept: evidence,
      })
    }
  }
  for (const used of violations.length === 0 ? [job.dir] : [scratch, closed, crashed, settled.dir])
    rmSync(used, { recursive: true, force: true })
  return { figures, violations }
}

/** Opens and closes it until opening no longer changes a table: nothing is left to write or to compact. */
async function settle(dir: string): Promise<void> {
  const tables = (): string =>
    filesOf(dir)
      .filter((name) => name.endsWith('.ldb'))
      .join()
  for (let before = ''; before !== tables();) {
    before = tables()
    const store = await openLevelStore({ dir })
    await sleep(100)
    await store.close()
  }
}

interface Answer {
  readonly is: 'refused' | 'harmless' | 'found by a scrub' | 'LevelDB ended the process' | 'told as lost' | 'violation'
  readonly findings?: readonly Finding[]
  readonly checked?: number
}

/** Opens it and reads everything. */
async function read(dir: string, ledger: Ledger, { isClosed, issued, survivors }: Original): Promise<Answer> {
  const { findings, error, opening, settlement } = await inspect({
    dir,
    ledger,
    count: issued,
    // A crash of the process loses nothing; but of what was never synced, a cut file may cost the end, if that is said.
    ...(!isClosed && {
      isAcknowledged: ({ operation, acknowledged }) =>
        acknowledged && operation.kind === 'write' && operation.durability === 'disk',
    }),
  })
  if (error !== undefined) {
    const isStores = error.code.startsWith('store_') || error.code === 'identity_damaged'
    return isStores
      ? { is: 'refused' }
      : { is: 'violation', findings: [{ rule: 'silent', what: `${error.code}: ${error.message}` }] }
  }
  const checked = settlement?.acknowledged ?? 0
  if (findings.length > 0)
    return {
      is: 'violation',
      findings: findings.map(asSilent),
    }
  if (settlement?.survivors === survivors) return { is: 'harmless', checked }
  if (opening?.lostUnsynced !== undefined) return { is: 'told as lost', checked }
  return {
    is: 'violation',
    findings: [
      {
        rule: 'silent',
        what: `writes are missing and nothing says so: ${settlement?.survivors} of ${survivors} are there`,
      },
    ],
  }
}

/** One bit of a table, not looked at when it was opened or flipped after that. */
async function scrub(dir: string, victim: string, chance: Prng): Promise<[what: string, answer: Answer]> {
  const table = join(dir, victim)
  // The last 48 bytes are its footer, whose padding nobody reads.
  const at = chance.below(statSync(table).size - 48)
  const orders: ScrubOrders = { dir, table, at, bit: chance.below(8), isOpen: chance.chance(0.5) }
  const what = `${victim}: bit ${orders.bit} of byte ${at} flipped ${orders.isOpen ? 'while it was open' : 'and not looked at'}`
  const { stdout, stderr, code } = await run(JSON.stringify(orders))
  if (stdout !== '') {
    const { damages } = JSON.parse(stdout) as ScrubAnswer
    if (damages === undefined) return [what, { is: 'refused' }]
    if (damages.length > 0) return [what, { is: 'found by a scrub' }]
    return [what, { is: 'violation', findings: [{ rule: 'scrub', what: 'the scrub finds nothing' }] }]
  }
  if (code === 'SIGABRT' && stderr.includes('deps/leveldb')) return [what, { is: 'LevelDB ended the process' }]
  return [
    what,
    { is: 'violation', findings: [{ rule: 'scrub', what: `it ended with ${code}: ${stderr.slice(0, 2000)}` }] },
  ]
}

interface Run {
  readonly stdout: string
  readonly stderr: string
  readonly code: number | string | null
}

const childPath = fileURLToPath(new URL('scrub-child.ts', import.meta.url))

function run(orders: string): Promise<Run> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [childPath, orders], { timeout: 30_000 }, (_, stdout, stderr) =>
      resolve({ stdout, stderr, code: child.exitCode ?? child.signalCode }),
    )
  })
}

function asSilent({ rule, what }: Finding): Finding {
  return { rule: 'silent', what: `(${rule}) ${what}` }
}

/** Files that hold something; those of a kind share its weight, or the tables would take all the flips. */
function pickVictim(dir: string, chance: Prng, isTable: boolean): string | undefined {
  const kinds = new Map<string, string[]>()
  for (const name of filesOf(dir)) {
    if (statSync(join(dir, name)).size === 0) continue
    const kind = name.endsWith('.ldb') ? 'table' : name.startsWith('lock/') ? 'lock' : name.replaceAll(/\d+/g, '')
    if (isTable && kind !== 'table') continue
    kinds.set(kind, [...(kinds.get(kind) ?? []), name])
  }
  // LevelDB's own diary and the lock are worth nothing, but harming them must do no harm: some.
  const worthy = [...kinds].filter(([kind]) => !(kind.includes('LOG') || kind === 'lock') || chance.chance(0.2))
  if (worthy.length === 0) return undefined
  const [, names] = chance.pick([...worthy, ...worthy.filter(([kind]) => kind === 'table' || kind.endsWith('.log'))])
  return chance.pick(names)
}

/** Changes the file where it stands and says how. */
function harm(dir: string, name: string, chance: Prng): string {
  const path = join(dir, name)
  const { size } = statSync(path)
  const at = chance.below(size)
  if (chance.chance(0.3)) {
    truncateSync(path, at)
    return `${name} cut from ${size} to ${at} bytes`
  }
  const bit = chance.below(8)
  flipBit(path, at, bit)
  return `${name}: bit ${bit} of byte ${at} of ${size} flipped`
}

function filesOf(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
    .sort()
}

function copyAll(from: string, to: string): void {
  for (const name of filesOf(from)) {
    mkdirSync(join(to, name, '..'), { recursive: true })
    copyFileSync(join(from, name), join(to, name))
  }
}
