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

export function machine(): Machine {
  const root = new URL('../', import.meta.url)
  const versionIn = (path: string): string =>
    (JSON.parse(readFileSync(new URL(path, root), 'utf8')) as { readonly version: string }).version
  const versions: Record<string, string> = { node: process.versions.node, skein: versionIn('package.json') }
  for (const name of packages) versions[name] = versionIn(`node_modules/${name}/package.json`)
  return {
    cpu: (cpus()[0]?.model ?? 'unknown').trim(),
    cores: availableParallelism(),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    load: Math.round(100 * (loadavg()[0] ?? 0)) / 100,
    versions,
  }
}
