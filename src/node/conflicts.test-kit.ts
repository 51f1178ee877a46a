/** Nodes that were apart and have met, over a network within the process: for tests of conflicts. */
import { randomBytes } from 'node:crypto'
import { onTestFinished } from 'vitest'
import type { Conflict } from '../merge/evidence.ts'
import type { ConflictEvent } from '../replica/conflicts.ts'
import type { Store } from '../store/store.ts'
import type { Transport } from '../transport/transport.ts'
import { defineSpace } from './define-space.ts'
import type { SpaceDefinition } from './define-space.ts'
import { SkeinNode } from './node.ts'
import type { Endpoints } from './workflow/driver.ts'

export const tasks: SpaceDefinition = defineSpace({
  rules: [
    { rule: 'field', prefix: 't-' },
    { rule: 'effect', prefix: 'refund-', receipt: 'receipt' },
  ],
})

export async function until<T>(look: () => T | undefined, withinMs = 15_000): Promise<T> {
  const endMs = Date.now() + withinMs
  for (;;) {
    const found = look()
    if (found !== undefined) return found
    if (Date.now() > endMs) throw new Error(`not so within ${withinMs} ms: ${look.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** What the nodes keep and talk over, which a test picks. */
export interface Adapters {
  readonly store: () => Store
  readonly transport: () => Transport
}

export interface Meeting {
  readonly open: (agent: string, join: readonly string[], workflow?: Endpoints) => Promise<SkeinNode>
  /** Two nodes that wrote apart and have met since, through a third that has written nothing. */
  readonly clash: (
    workflow?: Endpoints,
    definition?: SpaceDefinition,
  ) => Promise<[SkeinNode, SkeinNode, Conflict, SkeinNode]>
}

export function meetingOver({ store, transport }: Adapters): Meeting {
  async function open(agent: string, join: readonly string[], workflow?: Endpoints): Promise<SkeinNode> {
    const node = await SkeinNode.open({
      store: store(),
      agent,
      durability: 'memory',
      retention: { keepMs: 1e12, keepBytes: 1e12 },
      cacheBytes: 1e6,
      fresh: () => randomBytes(8).toString('hex'),
      now: Date.now,
      ...(workflow && { workflow }),
      network: {
        transports: [transport()],
        join,
        zone: '',
        fleet: 'f1ee7f1ee7f1ee70',
        roster: 'auto',
        holds: () => true,
      },
    })
    onTestFinished(() => node.close())
    return node
  }

  async function clash(
    workflow?: Endpoints,
    definition: SpaceDefinition = tasks,
  ): Promise<[SkeinNode, SkeinNode, Conflict, SkeinNode]> {
    const left = await open('agent-a', [], workflow)
    const events = left.conflicts.watch()
    left.space('s', definition).record('t-1').set({ status: 'todo' })
    const apart = await open('agent-b', [], workflow)
    apart.space('s').record('t-1').set({ status: 'done' })
    const third = await open('agent-c', [...left.status().addresses, ...apart.status().addresses], workflow)
    const first = (await events.next()).value as ConflictEvent
    return [left, apart, await until(() => left.conflicts.get(first.id)), third]
  }

  return { open, clash }
}
