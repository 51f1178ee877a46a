/**
 * A full disk, for which a small file system is mounted: writes are refused with store_full, reads go on, what was
 * acknowledged stays, and once there is room again the node recovers by itself.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openNode, SkeinError } from '../../src/index.ts'
import { prng } from '../../src/base/prng.ts'
import { Findings } from './findings.ts'
import { inspect } from './inspect.ts'
import { count } from './jobs.ts'
import type { Figures, Job, Progress, Report } from './jobs.ts'
import { Ledger } from './ledger.ts'
import { make, Workload } from './workload.ts'

/** Room for a database with a full write buffer twice over. */
const sizeMiB = 64
const mebibyte = 1024 * 1024
/** The node tries again after 5 s at the latest. */
const patienceMs = 15_000

export async function runFull(job: Job, progress: Progress): Promise<Report> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    return { figures: {}, violations: [], skipped: 'mounting a small file system takes root on Linux' }
  }
  const mount = join(job.dir, 'disk')
  mkdirSync(mount, { recursive: true })
  try {
    system('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m`, 'tmpfs', mount])
  } catch (error) {
    rmSync(job.dir, { recursive: true, force: true })
    return {
      figures: {},
      violations: [],
      skipped: `a tmpfs cannot be mounted here: ${(error as Error).message.split('\n').at(-2) ?? ''}`,
    }
  }
  const unmount = (): void => system('umount', [mount])
  process.once('exit', unmount)
  try {
    return await onSmallDisk(job, mount, progress)
  } finally {
    process.off('exit', unmount)
    unmount()
    rmSync(job.dir, { recursive: true, force: true })
  }
}

async function onSmallDisk(job: Job, mount: string, progress: Progress): Promise<Report> {
  const chance = prng(job.seed)
  const figures: Figures = {}
  const findings = new Findings()
  const dir = join(mount, 'data')
  const ballast = join(mount, 'ballast')
  const ledger = new Ledger()
  let node = await openNode({ dir })
  let workload = new Workload(chance, `d${job.number}`, { prunes: false, deletesSpaces: false })
  let written = 0
  const pending: Promise<void>[] = []
  /** The code that it was refused with. */
  const write = (): string | undefined => {
    const name = `d${job.number}.${++written}`
    const operation = workload.next(node)
    ledger.issue(name, operation)
    const { outcome, durable } = make(node, operation, name)
    ledger.made(name, outcome)
    workload.made(operation, outcome)
    pending.push(
      durable.then(
        () => ledger.acknowledge(name),
        (error: unknown) => findings.add('full', `${name} was given up: ${String(error)}`),
      ),
    )
    return outcome.error
  }
  for (let round = 1; round <= job.points; round++) {
    for (let i = 0; i < 100; i++) write()
    await Promise.all(pending.splice(0))
    fill(ballast, mount, round % 2 === 0 ? 0 : chance.below(48 * 1024))
    let refused: string | undefined
    const deadline = Date.now() + patienceMs
    while (refused !== 'store_full' && Date.now() < deadline) {
      refused = write()
      await sleep(1)
    }
    if (refused !== 'store_full')
      findings.add(
        'full',
        `round ${round}: nothing was refused with store_full on a full disk (last: ${refused ?? 'taken'})`,
      )
    count(figures, 'disks filled')
    try {
      findings.addAll(await readWhileFull(node))
    } catch (error) {
      findings.add('full', `round ${round}: reading on a full disk: ${String(error)}`)
    }
    // What a kill would leave now. It is looked at elsewhere, where there is room.
    const copy = join(job.dir, `killed-${round}`)
    cpSync(dir, copy, { recursive: true })
    const inspection = await inspect({ dir: copy, ledger })
    findings.addAll(inspection.findings)
    count(figures, 'acknowledged writes checked', inspection.settlement?.acknowledged ?? 0)
    rmSync(copy, { recursive: true, force: true })
    rmSync(ballast)
    const freedAt = performance.now()
    while (node.status().state === 'full' && performance.now() - freedAt < patienceMs) await sleep(5)
    if (node.status().state !== 'open') {
      findings.add('full', `round ${round}: ${patienceMs} ms after space was freed it is still ${node.status().state}`)
      break
    }
    figures['slowest recovery ms'] = Math.max(
      figures['slowest recovery ms'] ?? 0,
      Math.round(performance.now() - freedAt),
    )
    await Promise.all(pending.splice(0))
    if (write() === 'store_full') findings.add('full', `round ${round}: it calls itself open and refuses writes`)
    await Promise.all(pending.splice(0))
    progress({ 'disks filled': 1 })
    if (round % 2 === 0) {
      await node.close()
      const closed = await inspect({ dir, ledger })
      findings.addAll(closed.findings)
      count(figures, 'acknowledged writes checked', closed.settlement?.acknowledged ?? 0)
      if (closed.settlement === undefined || closed.findings.length > 0) break
      ledger.fold(closed.settlement)
      node = await openNode({ dir })
      workload = new Workload(chance, `d${job.number}.${round}`, { prunes: false, deletesSpaces: false })
    }
  }
  await node.close()
  const violations = findings.list.map((finding) => ({
    ...finding,
    phase: job.phase,
    job: job.number,
    point: `a tmpfs of ${sizeMiB} MiB`,
  }))
  return { figures, violations }
}

function system(command: string, args: readonly string[]): void {
  execFileSync(command, args, { stdio: 'pipe' })
}

/** Takes all room but `left` bytes. */
function fill(path: string, mount: string, left: number): void {
  writeFileSync(path, '')
  const { bavail, bsize } = statfsSync(mount)
  let need = bavail * bsize - left
  const chunk = new Uint8Array(mebibyte)
  while (need > 0) {
    writeFileSync(path, chunk.subarray(0, Math.min(need, chunk.length)), { flag: 'a' })
    need -= chunk.length
  }
}

/** Everything that was ever written can still be read; a scan may have to wait for the disk, single reads never. */
async function readWhileFull(node: Awaited<ReturnType<typeof openNode>>): Promise<Findings['list']> {
  const findings = new Findings()
  const trio = ['a', 'b', 'c'].map((letter) => node.space('work').register(`register/tx-${letter}`).get().value)
  if (trio[0] === undefined || new Set(trio).size > 1) findings.add('whole', `on a full disk: ${JSON.stringify(trio)}`)
  let code = 'none'
  try {
    node.space('work').register('register/refused').set(1)
  } catch (error) {
    code = error instanceof SkeinError ? error.code : String(error)
  }
  if (code !== 'store_full') findings.add('full', `a write on a full disk is answered with ${code}`)
  return findings.list
}
