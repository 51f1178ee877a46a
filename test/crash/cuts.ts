/**
 * Power cuts: a script runs over the real engine, and after each commit the directory's state is taken down together
 * with what of it was synced. From each such state the ones are derived that a power cut may leave, and opened with
 * openNode. Only bytes that were never synced are touched: what was acknowledged at `disk` must be there, what is there
 * must be a prefix, and refusing to open is as wrong as losing something.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { prng } from '../../src/base/prng.ts'
import type { Prng } from '../../src/base/prng.ts'
import type { SkeinNode } from '../../src/node/node.ts'
import { openLevelStore } from '../../src/store/level.ts'
import { DiskWatch, layOut, ofAnotherBoot } from './disk.ts'
import type { Capture } from './disk.ts'
import { inspect } from './inspect.ts'
import { count } from './jobs.ts'
import type { Figures, Job, Progress, Report, Violation } from './jobs.ts'
import { Ledger } from './ledger.ts'
import { nodeOver, plantedStore } from './plant.ts'
import { make, Workload } from './workload.ts'
import type { Operation } from './workload.ts'

/** A state with what the tester knew when it was taken. */
export interface Moment {
  readonly capture: Capture
  /** Operations issued by then. */
  readonly issued: number
  /** Of those, how many were acknowledged at `disk` (in order: a synced batch syncs all before it). */
  readonly synced: ReadonlySet<string>
}

export interface Script {
  readonly ledger: Ledger
  readonly moments: readonly Moment[]
}

/** Small, so that logs roll and tables are compacted within one script. LevelDB takes no less. */
export const writeBufferBytes: number = 64 * 1024

export interface ScriptSettings {
  readonly dir: string
  /** For what watching needs. */
  readonly scratch: string
  readonly commits: number
  readonly chance: Prng
  readonly name: string
  readonly job: Job
}

/** Runs a script of commits; the directory stays as it was closed. */
export async function runScript({ dir, scratch, commits, chance, name, job }: ScriptSettings): Promise<Script> {
  const watch = await DiskWatch.start(dir, scratch)
  const ledger = new Ledger()
  const moments: Moment[] = []
  const synced = new Set<string>()
  const prunes = chance.chance(0.3)
  const workload = new Workload(chance, name, { prunes: false, deletesSpaces: false })
  const openIt = async (): Promise<SkeinNode> => {
    const store = await openLevelStore({ dir, writeBufferBytes })
    return nodeOver(dir, plantedStore(store, job.plant))
  }
  let node = await openIt()
  let issued = 0
  const take = (label: string, isBefore: ReadonlySet<string> | undefined): void => {
    const { after, during } = watch.capture(label)
    if (isBefore !== undefined) moments.push({ capture: during, issued, synced: isBefore })
    moments.push({ capture: after, issued, synced: new Set(synced) })
  }
  const write = (operation: Operation): Promise<unknown> => {
    const called = `${name}.${++issued}`
    ledger.issue(called, operation)
    const { outcome, durable } = make(node, operation, called)
    ledger.made(called, outcome)
    workload.made(operation, outcome)
    return durable.then(() => {
      ledger.acknowledge(called)
      if (operation.kind === 'delete-space' || (operation.kind === 'write' && operation.durability === 'disk'))
        synced.add(called)
    })
  }
  take('the first opening', undefined)
  try {
    for (let commit = 1; commit <= commits; commit++) {
      const before = new Set(synced)
      // Some stretches write much more at `os`, so that more than one log waits for its sync.
      const lazy = Math.floor(commit / 20) % 2 === 1
      const durability = chance.chance(lazy ? 0.1 : 0.5) ? 'disk' : 'os'
      const acknowledged: Promise<unknown>[] = []
      if (chance.chance(0.02)) acknowledged.push(write({ kind: 'delete-space', space: 'scratch' }))
      else if (prunes && chance.chance(0.03)) acknowledged.push(write({ kind: 'prune' }))
      for (let burst = 1 + chance.below(6); burst > 0; burst--) {
        const operation = workload.next(node)
        acknowledged.push(write(operation.kind === 'write' ? { ...operation, durability } : operation))
      }
      await Promise.all(acknowledged)
      take(`commit ${commit} (${durability})`, durability === 'disk' ? before : undefined)
      if (chance.chance(0.06)) {
        await node.close()
        take(`the close after commit ${commit}`, undefined)
        node = await openIt()
        take(`the opening after commit ${commit}`, undefined)
      }
    }
  } finally {
    // The end of the log is not on the disk when it closes.
    await write({
      kind: 'write',
      space: 'work',
      agent: 'ann',
      durability: 'os',
      parts: [{ kind: 'set', key: 'register/last', value: name }],
    })
    await node.close()
  }
  take('the last close', undefined)
  return { ledger, moments }
}

// --- what a power cut may leave -------------------------------------------------------------------------------------

interface Cut {
  readonly name: string
  /** Bytes of a log: the first `synced` are on the disk, of the others anything may be. Undefined: the file is not there. */
  log(bytes: Uint8Array, synced: number, chance: Prng): Uint8Array | undefined
}

function sectors(size: number): Cut {
  return {
    name: `lost sectors of ${size}`,
    log(bytes, synced, chance) {
      const left = bytes.slice()
      const share = chance.pick([0.1, 0.5, 0.9])
      for (let at = synced - (synced % size); at < left.length; at += size) {
        if (chance.chance(share)) left.fill(0, Math.max(at, synced), Math.min(at + size, left.length))
      }
      return left
    },
  }
}

const cuts: readonly Cut[] = [
  { name: 'all unsynced lost', log: (bytes, synced) => (synced === 0 ? undefined : bytes.slice(0, synced)) },
  { name: 'all kept', log: (bytes) => bytes },
  { name: 'torn', log: (bytes, synced, chance) => bytes.slice(0, synced + chance.below(bytes.length - synced + 1)) },
  { name: 'size without data', log: (bytes, synced) => bytes.slice().fill(0, synced) },
  sectors(512),
  sectors(4096),
  {
    name: 'one bit flipped',
    log(bytes, synced, chance) {
      if (bytes.length === synced) return bytes
      const left = bytes.slice()
      const at = synced + chance.below(bytes.length - synced)
      left[at] = (left[at] as number) ^ (1 << chance.below(8))
      return left
    },
  },
]

/** Of each page of the mark any version since its last sync may be the one on the disk. */
function cutMark(marks: readonly Uint8Array[], chance: Prng): Uint8Array[] {
  if (marks.length === 0) return []
  const mark = (chance.pick(marks) as Uint8Array).slice()
  const other = chance.pick(marks)
  if (chance.chance(0.5) && other.length === mark.length) mark.set(other.subarray(4096), 4096)
  return [ofAnotherBoot(mark)]
}

function derive(capture: Capture, cut: Cut, chance: Prng): Capture {
  const logs: { name: string; bytes: Uint8Array; synced: number }[] = []
  for (const log of capture.logs) {
    const bytes = cut.log(log.bytes, log.synced, chance)
    if (bytes !== undefined) logs.push({ ...log, bytes })
  }
  return { ...capture, logs, marks: cutMark(capture.marks, chance) }
}

/** A commit gives one state or two, so that every state is looked at about once. */
const commitsOf = (points: number): number => Math.min(250, Math.max(20, Math.floor(0.68 * points)))

export async function runCuts(job: Job, progress: Progress): Promise<Report> {
  const chance = prng(job.seed)
  const figures: Figures = {}
  const violations: Violation[] = []
  const scratch = join(job.dir, 'scratch')
  mkdirSync(scratch, { recursive: true })
  const settings = { dir: join(job.dir, 'data'), scratch, commits: commitsOf(job.points), name: `c${job.number}`, job }
  const { ledger, moments } = await runScript({ ...settings, chance: chance.fork(1) })
  count(figures, 'commits of scripts', settings.commits)
  for (let point = 1; point <= job.points; point++) {
    // Every moment in its turn; how it is cut, by lot.
    const moment = moments[Math.floor(((point - 1) / job.points) * moments.length)] as Moment
    const isOpen = moment.capture.logs.some(({ bytes, synced }) => bytes.length > synced)
    const cut = isOpen ? chance.pick(cuts) : (cuts[1] as Cut)
    const dir = join(job.dir, `cut-${point}`)
    const derived = derive(moment.capture, cut, chance)
    layOut(dir, derived)
    const { findings, settlement } = await inspect({
      dir,
      ledger,
      count: moment.issued,
      isAcknowledged: ({ name }) => moment.synced.has(name),
    })
    count(figures, 'cuts')
    count(figures, isOpen ? `cut: ${cut.name}` : 'cut: nothing was unsynced')
    count(figures, 'acknowledged writes checked', settlement?.acknowledged ?? 0)
    progress({ cuts: 1 })
    rmSync(dir, { recursive: true, force: true })
    if (findings.length === 0) continue
    // Laid out again, as it was found: the opening has rewritten the other.
    const kept = `${dir}-evidence`
    layOut(kept, derived)
    const unsynced = moment.capture.logs
      .map(({ name, bytes, synced }) => `${name} ${synced} of ${bytes.length} bytes synced`)
      .join(', ')
    const where = `cut ${point}: ${cut.name}, ${moment.capture.label} (${unsynced})`
    for (const finding of findings)
      violations.push({ ...finding, phase: job.phase, job: job.number, point: where, kept })
  }
  for (const used of violations.length === 0 ? [job.dir] : [scratch, settings.dir])
    rmSync(used, { recursive: true, force: true })
  return { figures, violations }
}
