/** Real nodes that have written apart and met, over several entries: what tests of surfaces begin with. */
import { onTestFinished } from 'vitest'
import type { Conflict } from '../merge/evidence.ts'
import type { ConflictEvent } from '../replica/conflicts.ts'
import { tasks, until } from './conflicts.test-kit.ts'
import type { SpaceDefinition } from './define-space.ts'
import type { SkeinNode } from './node.ts'

/** Opens a node on loopback: a kit picks no adapters, its tests do. */
export type Opening = (agent: string, join: readonly string[]) => Promise<SkeinNode>

/** Two nodes that wrote apart and have met since, through a third that has written nothing; with the conflict of the first key. */
export async function clash(
  opening: Opening,
  keys: readonly string[] = ['t-1'],
  definition: SpaceDefinition = tasks,
): Promise<[SkeinNode, SkeinNode, Conflict]> {
  const open: Opening = async (agent, join) => {
    const node = await opening(agent, join)
    onTestFinished(() => node.close())
    return node
  }
  const left = await open('agent-a', [])
  const events = left.conflicts.watch()
  for (const key of keys) left.space('s', definition).record(key).set({ status: 'todo' })
  const apart = await open('agent-b', [])
  for (const key of keys) apart.space('s').record(key).set({ status: 'done' })
  await open('agent-c', [...left.status().addresses, ...apart.status().addresses])
  const found = new Map<string, Conflict>()
  while (found.size < keys.length) {
    const event = (await events.next()).value as ConflictEvent
    const conflict = await until(() => left.conflicts.get(event.id))
    found.set(conflict.keys[0] ?? '', conflict)
  }
  await events.return()
  return [left, apart, found.get(keys[0] ?? '') as Conflict]
}
