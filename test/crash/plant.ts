/**
 * Faults on purpose, under the engine or in its files: the checks must find each of them, or a green run means nothing.
 * `early-ack` says durable before it writes, `no-sync` never syncs, and the others change one row at the next opening.
 */
import { randomBytes } from 'node:crypto'
import type { RowRange } from '../../src/base/rows.ts'
import { SkeinNode } from '../../src/node/node.ts'
import { openIdentity } from '../../src/node/security/identity.ts'
import { openLevelStore } from '../../src/store/level.ts'
import type { LevelStoreOptions } from '../../src/store/level.ts'
import type { Batch, Durability, Store } from '../../src/store/store.ts'
import type { Plant } from './jobs.ts'

const dayMs = 24 * 60 * 60 * 1000

/** As openNode puts it together, over a store of the tester's choice in that directory. */
export async function nodeOver(dir: string, store: Store): Promise<SkeinNode> {
  const { node } = await openIdentity(dir, SkeinNode.known(store))
  return SkeinNode.open({
    store,
    node,
    agent: 'local',
    durability: 'disk',
    retention: { keepMs: dayMs, keepBytes: 64 * 1024 * 1024 },
    cacheBytes: 64 * 1024,
    fresh: () => randomBytes(8).toString('hex'),
    now: Date.now,
  })
}

export async function openPlanted(
  dir: string,
  plant: Plant,
  options: Partial<LevelStoreOptions> = {},
): Promise<SkeinNode> {
  const store = await openLevelStore({ ...options, dir })
  if (plant === 'leaf') await spoil(store, 0x0a, (value) => value.with(value.length - 1, (value.at(-1) as number) ^ 1))
  if (plant === 'log-row') await spoil(store, 0x08, () => undefined)
  if (plant === 'lost-write') await spoil(store, 0x05, () => undefined)
  return nodeOver(dir, plantedStore(store, plant))
}

/** The store with a liar in front of it. */
export function plantedStore(store: Store, plant: Plant | undefined): Store {
  if (plant !== 'early-ack' && plant !== 'no-sync') return store
  let last: Promise<void> = Promise.resolve()
  const write = (batch: Batch, durability: Durability): Promise<void> => {
    if (plant === 'no-sync') return store.write(batch, 'os')
    last = last.then(() => new Promise((resolve) => setTimeout(resolve, 15))).then(() => store.write(batch, durability))
    return Promise.resolve()
  }
  return new Proxy(store, {
    get: (target, name) => {
      if (name === 'write') return write
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** Changes one row behind the replica's back; undefined removes it. */
async function spoil(
  store: Store,
  table: number,
  change: (value: Uint8Array) => Uint8Array | undefined,
): Promise<void> {
  const range: RowRange = { gte: Uint8Array.of(table), lt: Uint8Array.of(table + 1) }
  for await (const page of store.range(range)) {
    const [key, value] = page[Math.floor(page.length / 2)] ?? []
    if (key === undefined || value === undefined) return
    const batch = store.batch()
    const changed = change(value)
    if (changed === undefined) batch.del(key)
    else batch.put(key, changed)
    return store.write(batch, 'disk')
  }
}
