/**
 * A node on a disk beside the bare database under it: what durability costs that LevelDB does not. The bare side writes
 * the very rows that a node wrote, recorded beforehand, in batches of the same sizes, one in flight at a time.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Level } from 'level'
import type { RowReader, RowScanner } from '../src/base/rows.ts'
import { openNode } from '../src/index.ts'
import type { Durability, SpaceHandle } from '../src/index.ts'
import { SkeinNode } from '../src/node/node.ts'
import { openLevelStore } from '../src/store/level.ts'
import type { Batch, Store } from '../src/store/store.ts'
import { mixedWrites } from './data.ts'
import type { FieldWrite } from './data.ts'
import { race, spread } from './measure.ts'
import type { Scenario, Suite } from './scenario.ts'

const writers = 64

async function temporary(): Promise<{ readonly dir: string; readonly remove: () => Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'skein-bench-'))
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) }
}

/** Each writer takes the next write and waits until it is durable before it takes another. */
async function writeAll(space: SpaceHandle, writes: readonly FieldWrite[]): Promise<void> {
  let next = 0
  const writer = async (): Promise<void> => {
    for (let write = writes[next++]; write !== undefined; write = writes[next++]) {
      await space.record(write.key).set(write.fields).durable
    }
  }
  await Promise.all(Array.from({ length: writers }, writer))
}

type Operation = readonly [key: Uint8Array, value: Uint8Array | undefined]

/** Passes everything on to a store and keeps a copy of the rows of each batch. */
function recording(store: Store, batches: Operation[][]): Store {
  const inner = new Map<Batch, Batch>()
  const reads: RowReader & RowScanner = { get: (key) => store.get(key), range: (range) => store.range(range) }
  return {
    ...reads,
    supports: store.supports,
    opening: store.opening,
    get status() {
      return store.status
    },
    get lastBatch() {
      return store.lastBatch
    },
    snapshot: () => store.snapshot(),
    scrub: (options) => store.scrub(options),
    compact: () => store.compact(),
    close: () => store.close(),
    [Symbol.asyncDispose]: () => store.close(),
    batch() {
      const batch = store.batch()
      const operations: Operation[] = []
      batches.push(operations)
      const outer: Batch = {
        get count() {
          return batch.count
        },
        get sizeBytes() {
          return batch.sizeBytes
        },
        put(key, value) {
          operations.push([key.slice(), value.slice()])
          batch.put(key, value)
        },
        del(key) {
          operations.push([key.slice(), undefined])
          batch.del(key)
        },
      }
      inner.set(outer, batch)
      return outer
    },
    write(batch, durability) {
      const under = inner.get(batch) ?? batch
      inner.delete(batch)
      return store.write(under, durability)
    },
  }
}

/** The rows of these writes, batch by batch, as a node with that durability commits them. */
async function recorded(writes: readonly FieldWrite[], durability: Durability): Promise<Operation[][]> {
  const { dir, remove } = await temporary()
  const batches: Operation[][] = []
  const node = await SkeinNode.open({
    store: recording(await openLevelStore({ dir: join(dir, 'data') }), batches),
    agent: 'bench',
    durability,
    retention: { keepMs: Infinity, keepBytes: Infinity },
    cacheBytes: 32 * 2 ** 20,
    node: '00000000000000aa',
    fresh: () => '0000000000000004',
    now: Date.now,
  })
  batches.length = 0
  await writeAll(node.space('tasks'), writes)
  await node.close()
  await remove()
  return batches.filter((operations) => operations.length > 0)
}

type Database = Level<Uint8Array, Uint8Array>

/** Set up as the store sets its own up. */
async function openBare(dir: string): Promise<Database> {
  const database: Database = new Level(join(dir, 'bare'), {
    keyEncoding: 'view',
    valueEncoding: 'view',
    writeBufferSize: 16 * 2 ** 20,
    cacheSize: 32 * 2 ** 20,
    maxOpenFiles: 40,
  })
  await database.open()
  return database
}

async function replay(database: Database, batches: readonly (readonly Operation[])[], sync: boolean): Promise<void> {
  for (const operations of batches) {
    const batch = database.batch()
    for (const [key, value] of operations) {
      if (value === undefined) batch.del(key)
      else batch.put(key, value)
    }
    await batch.write({ sync })
  }
}

function throughput(
  durability: 'os' | 'disk',
  operations: { readonly full: number; readonly quick: number },
): Scenario {
  const recordings = new Map<number, Promise<Operation[][]>>()
  const recordingOf = (count: number): Promise<Operation[][]> => {
    let batches = recordings.get(count)
    if (batches === undefined) recordings.set(count, (batches = recorded(mixedWrites(count), durability)))
    return batches
  }
  return race({
    name: `${writers} writers, ${durability}`,
    measures: `Field writes a second of ${writers} writers, each waiting for \`durable\` (${durability}) before its next write, against the bare database.`,
    operations,
    clock: 'wall',
    rounds: { full: 7, quick: 3 },
    goals: { 'bare level': { atLeast: 0.7 } },
    contenders: [
      {
        name: 'skein',
        does: `openNode({ dir, durability: '${durability}' }), record(key).set({ field }), await durable`,
        async prepare(count) {
          const { dir, remove } = await temporary()
          const node = await openNode({ dir: join(dir, 'data'), durability, agent: 'bench' })
          const space = node.space('tasks')
          const writes = mixedWrites(count)
          return {
            run: () => writeAll(space, writes),
            async end() {
              await node.close()
              await remove()
            },
          }
        },
      },
      {
        name: 'bare level',
        does: `classic-level, one chained batch for each that a node wrote, the same rows, sync: ${durability === 'disk'}; it makes no rows and reads none`,
        async prepare(count) {
          const batches = await recordingOf(count)
          const { dir, remove } = await temporary()
          const database = await openBare(dir)
          return {
            run: () => replay(database, batches, durability === 'disk'),
            async end() {
              await database.close()
              await remove()
            },
          }
        },
      },
    ],
  })
}

function median(values: readonly number[]): number {
  return spread(values).median
}

const lone: Scenario = {
  name: 'a lone disk write',
  measures:
    'Milliseconds until one field write is on the disk with nothing else going on, against one synced put of a row of that size; the two take turns write by write.',
  async run({ quick, progress }) {
    const rounds = quick ? 3 : 7
    const each = quick ? 40 : 150
    const { dir, remove } = await temporary()
    const node = await openNode({ dir: join(dir, 'data'), durability: 'disk', agent: 'bench' })
    const space = node.space('tasks')
    const database = await openBare(dir)
    const writes = mixedWrites((rounds + 1) * each)
    const ratios: number[] = []
    const own: number[] = []
    const bare: number[] = []
    for (let round = 0; round <= rounds; round++) {
      progress(`a lone disk write: round ${round} of ${rounds}`)
      const mine: number[] = []
      const theirs: number[] = []
      for (const write of writes.slice(round * each, (round + 1) * each)) {
        const key = Buffer.from(write.flatKey)
        const value = Buffer.from(write.value)
        const startedMs = performance.now()
        await space.record(write.key).set(write.fields).durable
        const middleMs = performance.now()
        await database.put(key, value, { sync: true })
        theirs.push(performance.now() - middleMs)
        mine.push(middleMs - startedMs)
      }
      // The first round only warms up.
      if (round === 0) continue
      ratios.push(median(mine) / median(theirs))
      own.push(median(mine))
      bare.push(median(theirs))
    }
    await node.close()
    await database.close()
    await remove()
    return {
      figures: [
        { name: 'skein / bare level, median latency', unit: 'x', value: spread(ratios), goal: { atMost: 1.3 } },
        { name: 'skein', unit: 'ms', value: spread(own) },
        { name: 'bare level', unit: 'ms', value: spread(bare) },
      ],
      notes: [`${each} writes of each a round`],
    }
  },
}

export const store: Suite = {
  name: 'store',
  says: 'a node on a disk beside the bare database under it',
  scenarios: [
    throughput('os', { full: 60_000, quick: 16_000 }),
    throughput('disk', { full: 30_000, quick: 6_000 }),
    lone,
  ],
}
