/**
 * One process of the `merge` suite: `merge-child.ts write dir agent count rules` fills a directory and ends;
 * `merge-child.ts heal dir agent count rules [address]` opens it, meets the other and says how long it took until every
 * conflict stood open here, and how much memory that cost.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { defineSpace, openNode } from '../src/index.ts'
import type { RuleDeclaration, SkeinNode } from '../src/index.ts'
import { keyOf } from './data.ts'

export type HealAnswer =
  | { readonly kind: 'opened'; readonly address: string }
  | { readonly kind: 'closed' }
  | {
      readonly kind: 'healed'
      /** By the clock on the wall, and of all processors in this process. */
      readonly seconds: number
      readonly processorSeconds: number
      /** Above what the process took before it met the other. */
      readonly peakBytes: number
      /** Of objects and buffers, when all was done and collected. */
      readonly heldBytes: number
      readonly open: number
    }

const together = 1000
const lookEveryMs = 20

const [task = '', dir = '', agent = '', given = '', kind = '', address = ''] = process.argv.slice(2)
const count = Number(given)
const rules: readonly RuleDeclaration[] = kind === 'none' ? [] : [{ rule: kind }]
const declared = rules.length === 0 ? {} : defineSpace({ rules })

async function write(): Promise<void> {
  await using node = await openNode({ dir, agent, durability: 'os' })
  const space = node.space('tasks', declared)
  for (let at = 0; at < count; at++) {
    space.record(keyOf(at)).set({ status: `${agent} did ${at}` })
    if (at % together === together - 1) await node.flush()
  }
  await node.flush()
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function heldBytes(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function processorSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Entries that a healed space has: the tasks, a case for each, and the rules. */
function isWhole(node: SkeinNode): boolean {
  const [space] = node.replica.spaces
  if (space === undefined || space.catchingUp || space.vector.size < 2) return false
  const wanted = kind === 'none' ? count : 2 * count + 1
  return space.entryCount >= wanted && node.machine.conflicts.stats(space).pending === 0
}

async function heal(): Promise<void> {
  // Once before, so that code and caches are there when memory is first looked at.
  await (await openNode({ dir, agent: 'bench' })).close()
  const heldBefore = heldBytes()
  const residentBefore = process.memoryUsage.rss()
  const node = await openNode({
    dir,
    agent: 'bench',
    durability: 'os',
    listen: 'ws://127.0.0.1:0',
    ...(address !== '' && { join: [address] }),
  })
  say({ kind: 'opened', address: node.status().addresses[0] ?? '' })
  let startedMs = 0
  let startedAt = 0
  let peak = 0
  while (!isWhole(node)) {
    if (startedMs === 0 && node.peers.list().some(({ linked }) => linked)) {
      startedMs = performance.now()
      startedAt = processorSeconds()
    }
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs))
    peak = Math.max(peak, process.memoryUsage.rss())
  }
  const seconds = (performance.now() - startedMs) / 1000
  const busy = processorSeconds() - startedAt
  const held = heldBytes() - heldBefore
  let open = 0
  if (rules.length > 0) for (const status of await node.conflicts.stats()) open += status.open
  say({ kind: 'healed', seconds, processorSeconds: busy, peakBytes: peak - residentBefore, heldBytes: held, open })
  // The other may still want what is here.
  await new Promise((resolve) => process.once('message', resolve))
  await node.close()
  say({ kind: 'closed' })
  process.disconnect()
}

function say(answer: HealAnswer): void {
  process.send?.(answer)
}

await (task === 'write' ? write() : heal())
