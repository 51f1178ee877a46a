/**
 * The process that is killed. It opens a node, writes with several writers at once, and says on descriptor 3, one JSON
 * line each: what it is about to write, what came of it at once, and its acknowledgement. Lines are written
 * synchronously: what it said before it died, the tester hears.
 */
import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openNode, SkeinError } from '../../src/index.ts'
import { prng } from '../../src/base/prng.ts'
import type { Plant } from './jobs.ts'
import { openPlanted } from './plant.ts'
import { make, Workload } from './workload.ts'
import type { Operation, Outcome } from './workload.ts'

export interface Orders {
  readonly dir: string
  /** Of this life: operations are called `life.1`, `life.2`. */
  readonly life: string
  readonly seed: number
  readonly prunes: boolean
  readonly deletesSpaces: boolean
  /** Made once after a while, for a kill that aims at it. */
  readonly special?: 'prune' | 'delete-space'
  /** Closes in order after so long; otherwise it writes until it is killed. */
  readonly closeAfterMs?: number
  readonly plant?: Plant
}

export type Line =
  | { readonly is: 'opening' | 'closing' | 'closed' | 'special' }
  | { readonly is: 'open'; readonly origin: string }
  | { readonly is: 'issue'; readonly name: string; readonly operation: Operation }
  | { readonly is: 'made'; readonly name: string; readonly outcome: Outcome }
  | { readonly is: 'acknowledged'; readonly name: string }
  | { readonly is: 'rejected'; readonly name: string; readonly code: string }

const reportTo = 3
const writers = 5
/** Enough for the checks to have something to hold on to, few enough to check often. */
const mostOperations = 700
/** An orphan must not write for ever. */
const longestLifeMs = 20_000

function report(line: Line): void {
  const bytes = Buffer.from(`${JSON.stringify(line)}\n`)
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(reportTo, bytes, at)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }
}

async function main(orders: Orders): Promise<void> {
  const { dir, life, seed, prunes, deletesSpaces, special, closeAfterMs, plant } = orders
  setTimeout(() => process.exit(3), longestLifeMs).unref()
  report({ is: 'opening' })
  const options = { dir, cacheBytes: 128 * 1024 }
  const node = plant === undefined ? await openNode(options) : await openPlanted(dir, plant)
  report({ is: 'open', origin: node.status().origin })
  const chance = prng(seed)
  const workload = new Workload(chance, life, { prunes, deletesSpaces })
  let count = 0
  let stopping = false

  const write = (operation: Operation): Promise<void> => {
    const name = `${life}.${++count}`
    report({ is: 'issue', name, operation })
    const { outcome, durable } = make(node, operation, name)
    report({ is: 'made', name, outcome })
    workload.made(operation, outcome)
    return durable.then(
      () => report({ is: 'acknowledged', name }),
      (error: unknown) => {
        if (!(error instanceof SkeinError)) throw error
        report({ is: 'rejected', name, code: error.code })
      },
    )
  }

  const writer = async (): Promise<void> => {
    for (;;) {
      if (stopping || count >= mostOperations) return
      let last = Promise.resolve()
      for (let burst = chance.chance(0.1) ? 2 + chance.below(12) : 1; burst > 0; burst--)
        last = write(workload.next(node))
      if (chance.chance(0.8)) await last
      await sleep(chance.below(4))
    }
  }

  const writing = Array.from({ length: writers }, writer)
  if (special !== undefined) {
    await sleep(20 + chance.below(100))
    report({ is: 'special' })
    await write(special === 'prune' ? { kind: 'prune' } : { kind: 'delete-space', space: 'scratch' })
  }
  if (closeAfterMs === undefined) await sleep(longestLifeMs)
  else await sleep(closeAfterMs)
  stopping = true
  report({ is: 'closing' })
  // Writers that still wait are told `closed`, or that they made it.
  await node.close()
  await Promise.all(writing)
  report({ is: 'closed' })
}

await main(JSON.parse(process.argv[2] as string) as Orders)
