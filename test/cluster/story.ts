/**
 * A fleet from its first day to a bad one: everything that operators do and suffer, one chapter after the other, while
 * programs go on writing. At the end every acknowledged write must be on every node, and the command line must say that all
 * are equal.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { prng } from '../../src/base/prng.ts'
import type { Prng } from '../../src/base/prng.ts'
import { stackOf } from './campaign.ts'
import { Cluster } from './cluster.ts'
import type { Spoken } from './cluster.ts'
import { Writers } from './writers.ts'

export interface StorySettings {
  readonly seed: number
  readonly nodes: number
  readonly home: string
  readonly alteration?: string | undefined
  readonly transport?: Spoken
  readonly tell: (line: string) => void
}

export interface Told {
  readonly problems: readonly string[]
  readonly skipped: readonly string[]
  readonly figures: Readonly<Record<string, number>>
}

const equalWithinMs = 60_000
/** A write on one node is on the disk of all others within this, once they are linked again. */
const spreadWithinMs = 20_000
const smallDiskMiB = 64
const mebibyte = 1_048_576

interface Scene {
  readonly cluster: Cluster
  readonly chance: Prng
  readonly writers: Writers
  readonly home: string
  readonly problems: string[]
  readonly skipped: string[]
  readonly figures: Record<string, number>
  /** A node whose directory lies on a small disk of its own. */
  readonly small: number | undefined
}

interface Chapter {
  readonly title: string
  readonly tell: (scene: Scene) => Promise<void>
}

const chapters: readonly Chapter[] = [
  { title: 'all meet, and every write is on every disk', tell: (scene) => spread(scene) },
  {
    title: 'nodes are killed at random moments, and come back',
    async tell({ cluster, chance, figures }) {
      for (let kill = 0; kill < 3; kill++) {
        const node = chance.below(cluster.members.length)
        await cluster.end(node, 'SIGKILL')
        add(figures, 'kills')
        await sleep(chance.below(600))
        await cluster.start(node)
        await sleep(chance.below(600))
      }
    },
  },
  {
    title: 'half is cut off from half, black holes and resets, and both go on writing',
    async tell({ cluster, figures }) {
      const all = cluster.members.map(({ index }) => index)
      const half = Math.floor(all.length / 2)
      for (const cut of ['hold', 'reset'] as const) {
        cluster.between(all.slice(0, half), all.slice(half), { cut })
        add(figures, 'partitions')
        await sleep(3_000)
        cluster.network.heal()
        await sleep(1_000)
      }
    },
  },
  {
    title: 'an upgrade: node by node to a later minor version, while all write',
    async tell(scene) {
      for (const { index } of scene.cluster.members) {
        scene.cluster.member(index).alteration = 'later-version'
        await again(scene, index)
        await untilWell(scene, index)
        // Old and new stand beside each other here.
        if (index === 0) await spread(scene)
      }
      await spread(scene)
    },
  },
  {
    title: 'the fleet key is rotated in three steps, the fleet running on',
    async tell(scene) {
      const { cluster, home, problems } = scene
      const file = join(home, 'fleet.key')
      writeFileSync(file, `${cluster.fleetKey}\n`, { mode: 0o600 })
      for (const step of ['stage', 'use', 'finish']) {
        const { code, error } = await cluster.skein('key', 'rotate', file, '--step', step)
        if (code !== 0) return void problems.push(`key rotate --step ${step} ended with ${code}: ${error}`)
        for (const member of cluster.members) {
          copyFileSync(file, member.keyFile)
          await again(scene, member.index)
          // Some have the next step's keys here, and others not yet.
          if (member.index === 0) await spread(scene)
        }
      }
      await spread(scene)
    },
  },
  {
    title: 'a backup is taken, and an old node goes back to it',
    async tell(scene) {
      const { cluster, home, problems, figures } = scene
      const member = cluster.member(1)
      const file = join(home, 'early.skein')
      const saved = await cluster.skein('backup', file, '--node', member.url ?? '')
      if (saved.code !== 0) return void problems.push(`backup ended with ${saved.code}: ${saved.error}`)
      // What is written now is not in it.
      await spread(scene)
      await cluster.end(1, 'SIGKILL')
      const identity = join(home, 'identity.key')
      execFileSync('cp', [join(member.dir, 'identity.key'), identity])
      member.loseDisk()
      const restored = await cluster.skein('restore', file, '--dir', member.dir, '--identity', identity)
      if (restored.code !== 0) return void problems.push(`restore ended with ${restored.code}: ${restored.error}`)
      const before = member.node
      await cluster.start(1)
      if (member.node !== before) problems.push(`node 1 was ${before} and is ${member.node} after its restore`)
      add(figures, 'backups restored')
      await spread(scene)
    },
  },
  {
    title: 'a disk is lost: its node comes back empty, as another, and the old one is forgotten',
    async tell(scene) {
      const { cluster, problems, figures, writers } = scene
      const lost = cluster.members.length - 1 === scene.small ? cluster.members.length - 2 : cluster.members.length - 1
      const member = cluster.member(lost)
      // What only that disk had would be lost with it, and rightly so.
      await writers.without(lost, async () => {
        await spread(scene, [lost])
        await cluster.end(lost, 'SIGKILL')
      })
      const before = member.node
      member.loseDisk()
      await cluster.start(lost)
      add(figures, 'disks lost')
      if (member.node === before) problems.push(`node ${lost} is ${before} again, with another disk`)
      await spread(scene)
      for (const other of cluster.members) {
        if (other === member) continue
        const forgotten = await cluster.skein('peers', 'forget', before, '--node', other.url ?? '')
        if (forgotten.code !== 0) problems.push(`peers forget ended with ${forgotten.code}: ${forgotten.error}`)
        const { out } = await cluster.skein('peers', 'roster', '--json', '--node', other.url ?? '')
        if (!out.includes(member.node) || out.includes(before)) {
          problems.push(`after node ${before} was forgotten, node ${other.index} waits for ${out}`)
        }
      }
    },
  },
  { title: 'a disk fills up while its node runs, and has room again', tell: fullDisk },
]

export async function story({ seed, nodes, home, alteration, transport = 'ws', tell }: StorySettings): Promise<Told> {
  mkdirSync(home, { recursive: true })
  const chance = prng(seed)
  const problems: string[] = []
  const skipped: string[] = []
  const figures: Record<string, number> = {}
  const cluster = await Cluster.open({ count: nodes, home, chance: chance.fork(1), alteration, transport })
  const small = smallDisk(cluster, nodes - 1, skipped)
  const writers = new Writers(cluster, chance.fork(2))
  const scene: Scene = { cluster, chance: chance.fork(3), writers, home, problems, skipped, figures, small }
  try {
    await Promise.all(cluster.members.map(({ index }) => cluster.start(index)))
    writers.start(Math.min(6, nodes + 1))
    for (const { title, tell: happens } of chapters) {
      const startMs = performance.now()
      const before = problems.length
      await happens(scene)
      const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
      tell(`  ${problems.length === before ? 'ok    ' : 'FAILED'} ${seconds.padStart(6)} s  ${title}`)
    }
    await writers.stop()
    const healedMs = performance.now()
    const unequal = await cluster.equalWithin(equalWithinMs)
    figures['ms to equal'] = Math.round(performance.now() - healedMs)
    if (unequal !== undefined) problems.push(`not equal after ${equalWithinMs / 1000} s:\n${unequal}`)
    for (const { url, index } of cluster.members) {
      const { code, out } = await cluster.skein('verify', '--json', '--node', url ?? '')
      const said = JSON.parse(out === '' ? '{}' : out) as { readonly equal?: boolean }
      if (code !== 0 || said.equal !== true) problems.push(`skein verify on node ${index} ended with ${code}: ${out}`)
    }
    problems.push(...(await writers.missing()))
    for (const { index, crashes } of cluster.members) {
      for (const crash of crashes) problems.push(`node ${index}: ${crash}, and nobody had asked for it`)
    }
  } catch (error) {
    problems.push(`the story ended early: ${stackOf(error)}`)
  } finally {
    await writers.stop()
    await cluster.close()
    if (small !== undefined) {
      const { dir, home: own } = cluster.member(small)
      // What somebody wants to look at must not go with the small disk.
      if (problems.length > 0) cpSync(dir, join(own, 'data'), { recursive: true })
      execFileSync('umount', [dirname(dir)])
    }
  }
  return { problems, skipped, figures: { ...writers.figures, ...figures } }
}

function add(figures: Record<string, number>, name: string): void {
  figures[name] = (figures[name] ?? 0) + 1
}

/** Stopped in order and started again, as an upgrade does. */
async function again({ cluster, figures }: Scene, node: number): Promise<void> {
  await cluster.end(node, 'SIGTERM')
  await cluster.start(node)
  add(figures, 'restarts in order')
}

/** What docs/OPERATIONS.md says to wait for before the next node: the command line finds it well. */
async function untilWell({ cluster, problems }: Scene, node: number): Promise<void> {
  const untilMs = performance.now() + spreadWithinMs
  for (;;) {
    const { code, out, error } = await cluster.skein('status', '--node', cluster.member(node).url ?? '')
    if (code === 0) return
    if (performance.now() > untilMs) {
      return void problems.push(`skein status on node ${node} goes on ending with ${code}:\n${out}${error}`)
    }
    await sleep(300)
  }
}

/** A write on each node comes to the disks of all others, by the word of the node itself. */
async function spread({ cluster, problems, figures }: Scene, only?: readonly number[]): Promise<void> {
  for (const member of cluster.members) {
    if (only !== undefined && !only.includes(member.index)) continue
    const startMs = performance.now()
    // Members are met again after a restart in their own time; `all` are those that are known to be alive.
    const path = `/v1/spaces/shop/entries/spread-${member.index}/ops?wait=peers:${cluster.members.length - 1}&timeout=${spreadWithinMs}`
    const body = { type: 'counter', op: 'incr', by: 1 }
    const asked = await member.ask('POST', path, { body, timeoutMs: spreadWithinMs + 10_000 })
    const reached = asked.kind === 'answer' ? asked.body['reached'] : undefined
    const isThere = (reached as { readonly met?: boolean } | undefined)?.met === true
    figures['slowest ms to all disks'] = Math.max(
      figures['slowest ms to all disks'] ?? 0,
      Math.round(performance.now() - startMs),
    )
    if (!isThere) problems.push(`a write on node ${member.index} did not come to all disks: ${JSON.stringify(asked)}`)
  }
}

/** A directory of its own for one node, where root may mount one. */
function smallDisk(cluster: Cluster, node: number, skipped: string[]): number | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    skipped.push('a full disk: mounting a small file system takes root on Linux')
    return undefined
  }
  const member = cluster.member(node)
  const disk = join(member.home, 'disk')
  mkdirSync(disk, { recursive: true })
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${smallDiskMiB}m`, 'tmpfs', disk], { stdio: 'pipe' })
  } catch (error) {
    skipped.push(`a full disk: a tmpfs cannot be mounted here: ${(error as Error).message.split('\n')[1] ?? ''}`)
    return undefined
  }
  member.dir = join(disk, 'data')
  // Somebody who stops the run must not be left with it.
  process.once('exit', () => spawnSync('umount', ['--lazy', disk], { stdio: 'ignore' }))
  return node
}

function fill(ballast: string): void {
  for (let sizeBytes = mebibyte; sizeBytes >= 1_024;) {
    try {
      writeFileSync(ballast, Buffer.alloc(sizeBytes), { flag: 'a' })
    } catch {
      sizeBytes /= 2
    }
  }
}

async function fullDisk({ cluster, small, problems, figures, writers }: Scene): Promise<void> {
  if (small === undefined) return
  const member = cluster.member(small)
  const ballast = join(dirname(member.dir), 'ballast')
  const large = 'x'.repeat(60_000)
  let refusals = 0
  fill(ballast)
  const untilMs = performance.now() + 20_000
  for (let at = 0; refusals < 3 && performance.now() < untilMs; at++) {
    const path = `/v1/spaces/shop/entries/full-${at % 50}/ops?timeout=300`
    const asked = await member.ask('POST', path, { body: { type: 'register', op: 'set', value: large + String(at) } })
    if (asked.kind === 'answer' && asked.body['code'] === 'store_full') refusals++
  }
  if (refusals < 3) problems.push(`node ${small} went on taking writes with a full disk`)
  const read = await member.ask('GET', '/v1/spaces/shop/entries?limit=5', {})
  if (read.kind !== 'answer' || read.status !== 200)
    problems.push(`node ${small} does not answer reads: ${JSON.stringify(read)}`)
  figures['writes refused by a full disk'] = writers.figures['refused: store_full'] ?? 0
  rmSync(ballast)
  const roomMs = performance.now()
  for (;;) {
    const asked = await member.ask('POST', '/v1/spaces/shop/entries/full-0/ops', {
      body: { type: 'register', op: 'set', value: 'room again' },
    })
    if (asked.kind === 'answer' && asked.status === 200) break
    if (performance.now() - roomMs > 20_000)
      return void problems.push(`node ${small} takes no writes although there is room: ${JSON.stringify(asked)}`)
    await sleep(200)
  }
  figures['ms from room to writes'] = Math.round(performance.now() - roomMs)
}
