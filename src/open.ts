/** Opening a node inside a process: the one place, beside the command line, that picks adapters. */
import { randomBytes } from 'node:crypto'
import { SkeinError } from './base/errors.ts'
import type { Retention } from './replica/space.ts'
import { SkeinNode } from './node/node.ts'
import type { Durability } from './node/receipt.ts'
import { checkDurability, checkName, checkOptions } from './node/space-handle.ts'
import { limits } from './base/limits.ts'
import { openLevelStore } from './store/level.ts'
import { openMemoryStore } from './store/memory.ts'

export interface OpenOptions {
  /** The data directory, made when it is not there. */
  readonly dir?: string
  /** Keep nothing on disk. */
  readonly memory?: boolean
  /** Who writes where a write does not say. */
  readonly agent?: string
  /** What `durable` means where a write does not say: `disk` unless `memory`. */
  readonly durability?: Durability
  /** How long and how much history the log keeps. A day and 64 MiB a space unless told otherwise. */
  readonly log?: Partial<Retention>
  /** Memory for entries that are not being written, over all spaces. */
  readonly cacheBytes?: number
  /** What to do with a damaged directory: refuse to open it, or move it aside whole and start empty. */
  readonly onDamage?: 'refuse' | 'set-aside'
}

const known: ReadonlySet<string> = new Set([
  'dir',
  'memory',
  'agent',
  'durability',
  'log',
  'cacheBytes',
  'onDamage',
] satisfies (keyof OpenOptions)[])

const dayMs = 24 * 60 * 60 * 1000

export async function openNode(options: OpenOptions): Promise<SkeinNode> {
  if (typeof options !== 'object' || options === null) throw invalid('give an object with a dir, or memory: true')
  for (const name of Object.keys(options)) {
    if (!known.has(name)) throw invalid(`${name} is not an option; there are ${[...known].join(', ')}`)
  }
  const { dir, memory = false, agent = 'local', onDamage = 'refuse', cacheBytes = 32 * 1024 * 1024 } = options
  if ((dir === undefined) === !memory) throw invalid('give a dir, or memory: true')
  if (dir !== undefined && (typeof dir !== 'string' || dir === '')) throw invalid('dir is a path')
  checkName(agent, 'agent name', limits.agentBytes)
  const durability = checkDurability(options.durability ?? (memory ? 'memory' : 'disk'))
  if (memory && durability !== 'memory') throw invalid(`with memory: true nothing is kept at durability ${durability}`)
  if (onDamage !== 'refuse' && onDamage !== 'set-aside') throw invalid('onDamage is refuse or set-aside')
  const log = options.log === undefined ? {} : checkOptions(options.log, ['keepMs', 'keepBytes'])
  const retention = { keepMs: dayMs, keepBytes: 64 * 1024 * 1024, ...log }
  for (const [name, value] of Object.entries({ cacheBytes, ...retention })) {
    if (!(typeof value === 'number' && value >= 0)) throw invalid(`${name} must be a number from 0`)
  }
  const store = dir === undefined ? openMemoryStore() : await openLevelStore({ dir, onDamage })
  try {
    return await SkeinNode.open({
      store,
      agent,
      durability,
      retention,
      cacheBytes,
      // Fresh from the system at every open: a restored or cloned disk gives no sign, so nothing on it may decide this.
      fresh: () => randomBytes(8).toString('hex'),
      now: Date.now,
    })
  } catch (error) {
    await store.close()
    throw error
  }
}

function invalid(message: string): SkeinError {
  return new SkeinError('invalid_argument', `openNode: ${message}`)
}
