/**
 * Timing in rounds. Contenders take turns within each round (A B C, A B C, …, each round beginning with another one), so
 * that whatever else the machine does meets all of them; a ratio is taken within a round, and its median over rounds.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Figure, Goal, Plan, Scenario, Spread } from './scenario.ts'

export interface Work {
  /** What is timed: `count` operations. */
  run(): void | Promise<void>
  /** Afterwards, not timed. */
  end?(): void | Promise<void>
}

export interface Contender {
  readonly name: string
  /** What its operation is and what it includes. */
  readonly does: string
  /** Part of the operations that it does, where all would take too long. Its rate is what is compared. */
  readonly share?: number
  /** Sets up a fresh subject, not timed. */
  readonly prepare: (count: number) => Work | Promise<Work>
}

/**
 * `processor`: seconds of all processors in this process, garbage collection and compiler included. For what only
 * computes: on a shared machine it counts what was done, not what others kept it waiting for. `wall` for the rest.
 */
export type Clock = 'processor' | 'wall'

const clocks: Readonly<Record<Clock, () => number>> = {
  processor() {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
  wall: () => performance.now(),
}

export interface Race {
  readonly name: string
  readonly measures: string
  /** Operations a round. */
  readonly operations: { readonly full: number; readonly quick: number }
  readonly clock: Clock
  readonly rounds?: { readonly full: number; readonly quick: number }
  /** The first is the one that is compared with each of the others. */
  readonly contenders: readonly [Contender, ...Contender[]]
  /** How many times as fast as this contender the first must be. */
  readonly goals: Readonly<Record<string, Goal>>
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as (options: { readonly type: 'minor' }) => void

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? NaN
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2
  return { median, low: sorted[0] ?? NaN, high: sorted.at(-1) ?? NaN, rounds: sorted.length }
}

export function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? Number.NaN
}

export function exactly(value: number): Spread {
  return spread([value])
}

/** Operations a second of one contender, once. */
async function rate({ prepare, share = 1 }: Contender, operations: number, clock: Clock): Promise<number> {
  const count = Math.max(1, Math.round(operations * share))
  const work = await prepare(count)
  // What the setting up left young goes. No full collection: V8 drops what it has learnt about types with it.
  collect({ type: 'minor' })
  const startedMs = clocks[clock]()
  const running = work.run()
  if (running !== undefined) await running
  const tookMs = clocks[clock]() - startedMs
  await work.end?.()
  return (1000 * count) / tookMs
}

export function race({ name, measures, operations, rounds, contenders, goals, clock }: Race): Scenario {
  return {
    name,
    measures,
    async run({ quick, progress }: Plan) {
      const count = quick ? operations.quick : operations.full
      const turns = quick ? (rounds?.quick ?? 3) : (rounds?.full ?? 7)
      const rates = new Map<Contender, number[]>(contenders.map((contender) => [contender, []]))
      // The first turns only warm the compiler up.
      for (const contender of contenders) await rate(contender, count, clock)
      for (let turn = 0; turn < turns; turn++) {
        progress(`${name}: round ${turn + 1} of ${turns}`)
        for (let i = 0; i < contenders.length; i++) {
          const contender = contenders[(turn + i) % contenders.length] as Contender
          rates.get(contender)?.push(await rate(contender, count, clock))
        }
      }
      const [first, ...others] = contenders
      const own = rates.get(first) ?? []
      const figures: Figure[] = []
      for (const other of others) {
        const theirs = rates.get(other) ?? []
        const goal = goals[other.name]
        figures.push({
          name: `${first.name} / ${other.name}`,
          unit: 'x',
          value: spread(own.map((mine, turn) => mine / (theirs[turn] ?? NaN))),
          ...(goal && { goal }),
        })
      }
      for (const each of contenders)
        figures.push({ name: each.name, unit: 'ops/s', value: spread(rates.get(each) ?? []) })
      const notes = [
        `${count.toLocaleString('en')} operations a round, ${clock === 'wall' ? 'wall time' : 'processor time of the whole process'}`,
        ...contenders.map((each) => `${each.name}: ${each.does}${shareOf(each)}`),
      ]
      return { figures, notes }
    },
  }
}

function shareOf({ share = 1 }: Contender): string {
  return share === 1 ? '' : ` (${100 * share} % of the operations, for time)`
}
