/**
 * Writes at a fixed rate, each at its moment whether or not the ones before were answered, and times from that moment: a
 * fleet that stalls is charged for every write that should have been made meanwhile (no coordinated omission).
 *
 * All times are of this process's one steady clock. What is seen through a node is seen when its word arrives here, so the
 * way from that node to here is in it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { SkeinClient } from '../../client/client.ts'
import type { ClientSpace } from '../../client/space.ts'
import { Samples } from './samples.ts'

export interface LoadPlan {
  readonly rate: number
  readonly sizeBytes: number
  readonly durationMs: number
  /** Entries that are written in turn. */
  readonly keys: number
}

export interface Through {
  readonly node: string
  readonly client: SkeinClient
}

export interface Load {
  /** Writes whose moment has come. */
  due: number
  answered: number
  failed: number
  /** From a write's moment to its answer: durable at the node that was asked. */
  readonly written: Samples
  /** To the word that the disks of all living members have it, for some of the writes. */
  readonly everywhere: Samples
  /** To the word of a node that was named that it has it, by node. */
  readonly seen: ReadonlyMap<string, Samples>
  lastError: string | undefined
}

/** Between two looks at the clock. */
const tickMs = 2
/** Between two questions who has a write, and how long one may take. */
const askEveryMs = 50
const reachedWithinMs = 10_000
/** After the last write, for what is still on its way. */
const drainMs = 10_000

/** Tells `look` now and then; ends early with the signal. */
export async function runLoad(
  space: ClientSpace,
  through: readonly Through[],
  plan: LoadPlan,
  stop: AbortSignal,
  look: (load: Load, atMs: number) => void,
): Promise<Load> {
  const load: Load = {
    due: 0,
    answered: 0,
    failed: 0,
    written: new Samples(),
    everywhere: new Samples(),
    seen: new Map(through.map(({ node }) => [node, new Samples()])),
    lastError: undefined,
  }
  const ended = new AbortController()
  const moments = new Moments(through.length)
  let startMs = performance.now()
  const watches = through.map(({ client, node }) => {
    const watch = client.space(space.name).watch({ signal: ended.signal })
    const over = (async () => {
      for await (const event of watch) {
        if (event.kind !== 'change') continue
        const atMs = performance.now()
        const dueMs = moments.seen(`${event.dot.origin}-${event.dot.seq.toString(36)}`, node, atMs)
        if (dueMs !== undefined) load.seen.get(node)?.add(atMs - startMs, atMs - dueMs)
      }
    })()
    return { watch, over }
  })
  await Promise.all(watches.map(({ watch }) => watch.ready))
  startMs = performance.now()
  let askedMs = -Infinity
  let lookedMs = startMs
  const write = (dueMs: number): void => {
    const number = load.due++
    const value = `${number} `.padEnd(plan.sizeBytes, padding).slice(0, Math.max(plan.sizeBytes, `${number} `.length))
    const failed = (error: unknown): void => {
      load.failed++
      load.lastError = error instanceof Error ? error.message : String(error)
    }
    let receipt: ReturnType<ReturnType<ClientSpace['register']>['set']>
    try {
      receipt = space.register(`k-${number % plan.keys}`).set(value)
    } catch (error) {
      return failed(error)
    }
    const answered = receipt.durable.then(async () => {
      const atMs = performance.now()
      load.answered++
      load.written.add(atMs - startMs, atMs - dueMs)
      const dot = dotOf(await receipt.version)
      for (const [node, seenMs] of moments.wrote(dot, dueMs)) load.seen.get(node)?.add(seenMs - startMs, seenMs - dueMs)
    })
    answered.catch(failed)
    if (performance.now() - askedMs < askEveryMs) return
    askedMs = performance.now()
    receipt.reached({ timeoutMs: reachedWithinMs }).then(
      () => load.everywhere.add(performance.now() - startMs, performance.now() - dueMs),
      () => undefined,
    )
  }
  try {
    for (;;) {
      const nowMs = performance.now()
      const dueCount = Math.floor((Math.min(nowMs - startMs, plan.durationMs) * plan.rate) / 1000)
      while (load.due < dueCount) write(startMs + (1000 * (load.due + 1)) / plan.rate)
      if (nowMs - lookedMs >= 250) look(load, (lookedMs = nowMs) - startMs)
      if (nowMs - startMs >= plan.durationMs || stop.aborted) break
      await sleep(tickMs)
    }
    const drainedBy = performance.now() + drainMs
    const isOpen = (): boolean => load.answered + load.failed < load.due || moments.waiting > 0
    while (isOpen() && performance.now() < drainedBy && !stop.aborted) await sleep(tickMs)
  } finally {
    ended.abort()
    await Promise.allSettled(watches.map(({ over }) => over))
  }
  return load
}

const padding = 'abcdefghijklmnopqrstuvwxyz0123456789'

function dotOf(version: string): string {
  return version.split('~')[0] ?? ''
}

/** A write is known by its dot once it is answered; its word may come through another node before that. */
class Moments {
  readonly #nodes: number
  readonly #due = new Map<string, { readonly dueMs: number; left: number }>()
  readonly #early = new Map<string, (readonly [node: string, atMs: number])[]>()

  constructor(nodes: number) {
    this.#nodes = nodes
  }

  /** Writes of which some word is still to come. */
  get waiting(): number {
    return this.#due.size
  }

  seen(dot: string, node: string, atMs: number): number | undefined {
    const known = this.#due.get(dot)
    if (known === undefined) {
      this.#early.set(dot, [...(this.#early.get(dot) ?? []), [node, atMs]])
      return undefined
    }
    if (--known.left === 0) this.#due.delete(dot)
    return known.dueMs
  }

  /** Answers what came of it before. */
  wrote(dot: string, dueMs: number): readonly (readonly [node: string, atMs: number])[] {
    const early = this.#early.get(dot) ?? []
    this.#early.delete(dot)
    if (early.length < this.#nodes) this.#due.set(dot, { dueMs, left: this.#nodes - early.length })
    return early
  }
}
