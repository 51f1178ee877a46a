/** One step of the memory benchmark, in a process of its own: `memory-child.ts step dir count`, answers with one line of JSON. */
import { join } from 'node:path'
import { Level } from 'level'
import { prng } from '../src/base/prng.ts'
import { openNode } from '../src/index.ts'
import type { Retention, SkeinNode, SpaceHandle } from '../src/index.ts'
import { table } from '../src/replica/row-keys.ts'
import { reservedByte } from '../src/store/store.ts'
import { names } from '../src/store/directory.ts'
import { keyOf } from './data.ts'

export interface TableSize {
  readonly rows: number
  readonly sizeBytes: number
}

export interface StepAnswers {
  readonly fill: { readonly seconds: number }
  readonly read: {
    readonly openSeconds: number
    readonly residentAtOpenBytes: number
    readonly residentBytes: number
    readonly reads: number
    readonly readSeconds: number
    readonly userBytes: number
  }
  readonly size: Readonly<Record<string, TableSize>>
  readonly clear: { readonly seconds: number }
}

export type StepName = keyof StepAnswers

const valueLength = 150
const randomReads = 200_000
const together = 1000

async function opened(dir: string): Promise<{ readonly node: SkeinNode; readonly space: SpaceHandle }> {
  const node = await openNode({ dir, agent: 'bench', durability: 'os' })
  return { node, space: node.space('tasks') }
}

/** All of different text, so that compression has something to do, but not everything. */
function valueOf(number: number): string {
  const chance = prng(number)
  let text = ''
  while (text.length < valueLength) text += chance.uint32().toString(36)
  return text.slice(0, valueLength)
}

/** Runs something for every entry, then prunes the log as its retention has it. */
async function each(dir: string, count: number, retention: Partial<Retention>, run: Run): Promise<number> {
  const { node, space } = await opened(dir)
  const startedMs = performance.now()
  for (let at = 0; at < count; at++) {
    run(space, at)
    if (at % together === together - 1) await node.flush()
  }
  await node.flush()
  const seconds = (performance.now() - startedMs) / 1000
  await node.prune(retention)
  await node.close()
  return seconds
}

type Run = (space: SpaceHandle, at: number) => void

function write(space: SpaceHandle, at: number): void {
  space.register<string>(keyOf(at)).set(valueOf(at))
}

function remove(space: SpaceHandle, at: number): void {
  space.delete(keyOf(at))
}

async function read(dir: string, count: number): Promise<StepAnswers['read']> {
  const startedMs = performance.now()
  const { node, space } = await opened(dir)
  const first = space.register<string>(keyOf(count >> 1)).get().value
  const openSeconds = (performance.now() - startedMs) / 1000
  if (first !== valueOf(count >> 1)) throw new Error('the first read is not what was written')
  const residentAtOpenBytes = process.memoryUsage.rss()
  const chance = prng(6)
  const readMs = performance.now()
  let wrong = 0
  for (let i = 0; i < randomReads; i++) {
    const number = chance.below(count)
    if (space.register<string>(keyOf(number)).get().value?.length !== valueLength) wrong++
    // Others get their turn, as in any server.
    if (i % together === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const readSeconds = (performance.now() - readMs) / 1000
  const residentBytes = process.memoryUsage.rss()
  if (wrong > 0) throw new Error(`${wrong} reads did not find what was written`)
  await node.close()
  let userBytes = 0
  for (let at = 0; at < count; at++) userBytes += keyOf(at).length + valueLength
  return { openSeconds, residentAtOpenBytes, residentBytes, reads: randomReads, readSeconds, userBytes }
}

/** Rows as the database under the store holds them, by table. */
async function size(dir: string): Promise<StepAnswers['size']> {
  const byByte = new Map<number, string>(Object.entries(table).map(([name, byte]) => [byte, name]))
  byByte.set(reservedByte, 'batch')
  const database = new Level<Uint8Array, Uint8Array>(join(dir, names.db), {
    keyEncoding: 'view',
    valueEncoding: 'view',
  })
  const sizes: Record<string, { rows: number; sizeBytes: number }> = {}
  const rows = database.iterator({ highWaterMarkBytes: 256 * 1024 })
  for (let page = await rows.nextv(1000); page.length > 0; page = await rows.nextv(1000)) {
    for (const [key, value] of page) {
      const name = byByte.get(key[0] ?? -1) ?? 'unknown'
      const found = (sizes[name] ??= { rows: 0, sizeBytes: 0 })
      found.rows++
      found.sizeBytes += key.length + value.length
    }
  }
  await rows.close()
  await database.close()
  return sizes
}

const steps: { readonly [Name in StepName]: (dir: string, count: number) => Promise<StepAnswers[Name]> } = {
  fill: async (dir, count) => ({ seconds: await each(dir, count, {}, write) }),
  read,
  size,
  clear: async (dir, count) => ({ seconds: await each(dir, count, { keepMs: 0, keepBytes: 0 }, remove) }),
}

const [name = '', dir = '', count = ''] = process.argv.slice(2)
if (!Object.hasOwn(steps, name)) throw new Error(`no step ${name}`)
process.stdout.write(`${JSON.stringify(await steps[name as StepName](dir, Number(count)))}\n`)
