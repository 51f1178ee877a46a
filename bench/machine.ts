/** What the figures were measured on. */
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGib: number
  readonly system: string
  /** Others at work: the load of the last minute when the run began. */
  readonly load: number
  readonly versions: Readonly<Record<string, string>>
}

/** What is measured, compared with, or stands under it. */
const packages = ['yjs', '@automerge/automerge', 'loro-crdt', 'msgpackr', 'level', 'classic-level'] as const

const root = new URL('../', import.meta.url)

/** Of an installed package, or of `skein` itself. */
export function versionOf(name: string): string {
  const path = name === 'skein' ? 'package.json' : `node_modules/${name}/package.json`
  return (JSON.parse(readFileSync(new URL(path, root), 'utf8')) as { readonly version: string }).version
}

export function machine(): Machine {
  const versions: Record<string, string> = { node: process.versions.node, skein: versionOf('skein') }
  for (const name of packages) versions[name] = versionOf(name)
  return {
    cpu: (cpus()[0]?.model ?? 'unknown').trim(),
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    load: Math.round(100 * (loadavg()[0] ?? 0)) / 100,
    versions,
  }
}
