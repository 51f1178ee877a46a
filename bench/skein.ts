/** Skein as the benchmarks drive it: through its public door, and as the bare engine that stands behind it. */
import { assert } from '../src/base/assert.ts'
import type { RowSink } from '../src/base/rows.ts'
import type { Dot } from '../src/crdt/dot.ts'
import type { CrdtType } from '../src/crdt/type.ts'
import { record } from '../src/crdt/types/record.ts'
import { openNode } from '../src/index.ts'
import type { SpaceHandle } from '../src/index.ts'
import { Replica } from '../src/replica/replica.ts'
import type { Space } from '../src/replica/space.ts'
import type { FieldWrite } from './data.ts'
import type { Contender, Work } from './measure.ts'

/** Writes between two commits: what gathers in one turn of the event loop under load. */
export const writesInBatch = 1000

const cacheBytes = 2 ** 30

export type Step = (space: SpaceHandle, at: number) => void

/** A memory node; every thousand operations everything is committed to its store, inside the timed part. */
export async function onNode(count: number, step: Step, before?: (space: SpaceHandle) => void): Promise<Work> {
  const node = await openNode({ memory: true, agent: 'bench', cacheBytes })
  const space = node.space('tasks')
  before?.(space)
  await node.flush()
  return {
    async run() {
      for (let at = 0; at < count; at++) {
        step(space, at)
        if (at % writesInBatch === writesInBatch - 1) await node.flush()
      }
      await node.flush()
    },
    end: () => node.close(),
  }
}

export function setField(space: SpaceHandle, { key, fields }: FieldWrite): void {
  space.record(key).set(fields)
}

/** Takes the rows of a batch into one buffer, as a store does that will hand them to a disk, and forgets them. */
class Arena implements RowSink {
  #bytes = new Uint8Array(2 ** 20)
  #at = 0

  put(key: Uint8Array, value: Uint8Array): void {
    const end = this.#at + key.length + value.length
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(2 * end)
      grown.set(this.#bytes)
      this.#bytes = grown
    }
    this.#bytes.set(key, this.#at)
    this.#bytes.set(value, this.#at + key.length)
    this.#at = end
  }

  del(key: Uint8Array): void {
    this.put(key, key.subarray(0, 0))
  }

  clear(): void {
    this.#at = 0
  }
}

/** A replica without a node around it: state, tree, chain and log in memory, rows made and dropped. */
export class Engine {
  readonly replica: Replica
  readonly space: Space
  readonly #arena = new Arena()

  constructor(incarnation: string) {
    this.replica = new Replica({
      node: '00000000000000aa',
      incarnation,
      rows: { get: () => undefined },
      cacheBytes,
      retention: { keepMs: Infinity, keepBytes: Infinity },
    })
    this.space = this.replica.open('tasks')
  }

  set({ key, fields }: FieldWrite): void {
    this.run(key, record, 'set', { fields })
  }

  run(
    key: string,
    type: CrdtType,
    name: string,
    args: Readonly<Record<string, unknown>>,
    nowMs: number = Date.now(),
  ): void {
    const { replica, space } = this
    const operation = type.operations[name]
    assert(operation !== undefined, `${type.name} has an operation ${name}`)
    replica.transact(space, { nowMs, agent: 'bench', reason: undefined }, (change) =>
      change.run(space.entry(key), type, operation, args),
    )
  }

  receive({ dot, body }: Sent): void {
    const received = this.replica.receive(this.space, dot, body, Date.now())
    assert(received === 'applied', 'a delta that comes in order is applied')
  }

  commit(): void {
    this.#arena.clear()
    const batch = this.replica.takeBatch(this.#arena)
    if (batch > 0) this.replica.stored(batch)
  }
}

export interface Sent {
  readonly dot: Dot
  readonly body: Uint8Array
}

/** The deltas of these writes, one each, as another replica would send them. */
export function deltasOf(writes: readonly FieldWrite[]): Sent[] {
  const engine = new Engine('0000000000000001')
  const log = engine.space.log(engine.replica.origin)
  return writes.map((write, at) => {
    engine.set(write)
    const { origin, seq } = log
    const body = log.entry(seq)?.body.slice()
    assert(body !== undefined, 'the log holds what was just written')
    if (at % writesInBatch === writesInBatch - 1) engine.commit()
    return { dot: { origin, seq }, body }
  })
}

/** The engine as a contender: `step` runs once for each operation. */
export function engineRuns(name: string, does: string, step: (engine: Engine, at: number) => void): Contender
export function engineRuns(
  name: string,
  does: string,
  step: (engine: Engine, at: number) => void,
  before: (engine: Engine) => void,
): Contender
export function engineRuns(
  name: string,
  does: string,
  step: (engine: Engine, at: number) => void,
  before?: (engine: Engine) => void,
): Contender {
  return {
    name,
    does,
    prepare(count) {
      const engine = new Engine('0000000000000002')
      before?.(engine)
      engine.commit()
      return {
        run() {
          for (let at = 0; at < count; at++) {
            step(engine, at)
            if (at % writesInBatch === writesInBatch - 1) engine.commit()
          }
          engine.commit()
        },
      }
    },
  }
}
