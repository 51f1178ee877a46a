/** One process of a fleet: the node, or the hub, of one system. It does what its parent orders and nothing by itself. */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { onWire } from './wire.ts'
import { prng } from '../../src/base/prng.ts'
import { nowUs, untilUs } from './clock.ts'
import type { Arrived, Envelope, OrderName, Orders } from './control.ts'
import { edits } from './edits.ts'
import { Histogram } from './histogram.ts'
import { stampOf } from './stamp.ts'
import type { Hub, OpenNode } from './system.ts'
import { loadSystem } from './systems.ts'
import { inOneTurn, pace, rush } from './writing.ts'

let node: OpenNode | undefined
let hub: Hub | undefined
let index = -1

const tenthUs = 100_000
/** How often `until` looks. */
const lookMs = 2

class Arrivals {
  readonly #lag = new Histogram()
  readonly #service = new Histogram()
  readonly #timeline = new Map<number, { count: number; maxUs: number }>()
  #firstUs = 0
  #lastUs = 0

  add(dueUs: number, writtenUs: number, atUs: number): void {
    const lagUs = atUs - dueUs
    this.#lag.record(lagUs)
    this.#service.record(atUs - writtenUs)
    if (this.#firstUs === 0) this.#firstUs = atUs
    this.#lastUs = atUs
    const tenth = Math.floor(atUs / tenthUs)
    const entry = this.#timeline.get(tenth)
    if (entry === undefined) this.#timeline.set(tenth, { count: 1, maxUs: lagUs })
    else {
      entry.count++
      if (lagUs > entry.maxUs) entry.maxUs = lagUs
    }
  }

  result(): Arrived {
    return {
      count: this.#lag.count,
      lag: this.#lag.data(),
      service: this.#service.data(),
      firstUs: this.#firstUs,
      lastUs: this.#lastUs,
      timeline: [...this.#timeline].map(([tenth, { count, maxUs }]) => [tenth, count, maxUs] as const),
    }
  }
}

const phases = new Map<number, Arrivals>()

function came(value: string): void {
  const atUs = nowUs()
  const stamp = stampOf(value)
  if (stamp === undefined || stamp.writer === index) return
  let arrivals = phases.get(stamp.phase)
  if (arrivals === undefined) phases.set(stamp.phase, (arrivals = new Arrivals()))
  arrivals.add(stamp.dueUs, stamp.writtenUs, atUs)
}

function opened(): OpenNode {
  if (node === undefined) throw new Error('no node is open in this process')
  return node
}

type Handlers = {
  readonly [Name in OrderName]: (order: Orders[Name]['order']) => Promise<Orders[Name]['answer']>
}

const handlers: Handlers = {
  async openHub({ system, place }) {
    hub = await (await loadSystem(system)).openHub?.(place)
    return { pids: hub?.pids ?? [], isElsewhere: hub?.isElsewhere ?? false }
  },
  async open({ system, place }) {
    const loaded = await loadSystem(system)
    const startedUs = nowUs()
    index = place.index
    node = await loaded.openNode(place)
    node.onChange((_, value) => came(value))
    return { tookUs: nowUs() - startedUs }
  },
  async ready() {
    return { isReady: await opened().ready() }
  },
  write: (order) => (order.kind === 'pace' ? pace(opened(), index, order) : rush(opened(), index, order)),
  async arrived({ phase, forgets = false }) {
    const arrivals = phases.get(phase) ?? new Arrivals()
    if (forgets) phases.delete(phase)
    return arrivals.result()
  },
  async count() {
    return { count: await opened().count() }
  },
  async until({ count, untilUs: endUs }) {
    for (;;) {
      const there = await opened().count()
      const atUs = nowUs()
      if (there >= count || atUs >= endUs) return { count: there, atUs }
      await sleep(lookMs)
    }
  },
  async digest({ keys }) {
    const hash = createHash('sha256')
    let found = 0
    for (const key of keys) {
      const value = await opened().read(key)
      if (value !== undefined) found++
      hash.update(`${key}\0${value ?? ''}\0`)
    }
    return { digest: hash.digest('hex'), found }
  },
  async follow() {
    const { json, text } = opened()
    if (json === undefined || text === undefined) throw new Error('it has no texts and JSON documents')
    json.onChange((_, value) => came(String(value)))
    return {}
  },
  async type({ count, seed, startUs }) {
    const { text } = opened()
    if (text === undefined) throw new Error('it has no texts')
    await untilUs(startUs, true)
    for (const [at, edit] of edits(count, prng(seed)).entries()) {
      if (edit.removed > 0) await text.delete(edit.at, edit.removed)
      else await text.insert(edit.at, edit.inserted)
      if (at % inOneTurn === inOneTurn - 1) await new Promise((resolve) => setImmediate(resolve))
    }
    return {}
  },
  async text() {
    const text = opened().text?.read() ?? ''
    return { digest: createHash('sha256').update(text).digest('hex'), length: text.length }
  },
  async wire() {
    return onWire()
  },
  async close() {
    await node?.close()
    await hub?.close()
    return {}
  },
}

process.on('message', ({ id, name, order }: Envelope) => {
  // Each handler takes the order of its own name, which the compiler cannot see through the table.
  const handler = handlers[name] as (order: unknown) => Promise<unknown>
  handler(order).then(
    (answer) => process.send?.({ id, answer }),
    (error: unknown) => {
      const failed = error instanceof Error ? (error.stack ?? error.message) : String(error)
      process.send?.({ id, failed })
    },
  )
})
// The parent is gone: whatever it was measuring is over.
process.on('disconnect', () => process.exit(0))
