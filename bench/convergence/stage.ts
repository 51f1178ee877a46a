/** What scenarios do with a fleet: write, wait for all of it, look whether all are equal. Every wait has an end. */
import { setTimeout as sleep } from 'node:timers/promises'
import { nowUs } from './clock.ts'
import type { Arrived, Keys, Pace, Rush, Written } from './control.ts'
import type { Fleet } from './fleet.ts'
import type { Member } from './member.ts'
import type { Timeline } from './sample.ts'
import { keyOf } from './writing.ts'

/** Between an order and its first write, for the order to get there. */
const leadUs = 50_000
/** Writes of one node that are not yet acknowledged: what a program has under way that does not wait for each. A guess. */
const window = 256
const lookMs = 20
const quietMs = 200

export function soonUs(): number {
  return nowUs() + leadUs
}

/** Tells some nodes to write, and throws when one of them was refused. */
async function written(members: readonly Member[], orders: readonly (Pace | Rush)[]): Promise<Written[]> {
  const all = await Promise.all(members.map((member, at) => member.ask('write', orders[at] as Pace | Rush)))
  const refused = all.find((one) => one.refused > 0)
  if (refused !== undefined) throw new Error(`${refused.refused} writes were refused: ${refused.why}`)
  return all
}

export interface Paced {
  readonly phase: number
  readonly keys: Keys
  readonly valueBytes: number
  /** Writes a second of all together, by each in turn. */
  readonly rate: number
  readonly writes: number
  readonly exactly: boolean
  readonly firstUs: number
  readonly isJson?: boolean
}

/** In turn by all of these. Answers how many that were. */
export async function paced(members: readonly Member[], paced: Paced): Promise<{ writes: number; written: Written[] }> {
  const { phase, keys, valueBytes, rate, writes, exactly, firstUs, isJson = false } = paced
  const betweenUs = 1e6 / rate
  const count = Math.ceil(writes / members.length)
  const all = await written(
    members,
    members.map((_, at) => ({
      kind: 'pace',
      phase,
      keys,
      valueBytes,
      exactly,
      isJson,
      count,
      firstUs: firstUs + at * betweenUs,
      periodUs: members.length * betweenUs,
    })),
  )
  return { writes: count * members.length, written: all }
}

export interface Offered {
  readonly refused: number
  /** Neither acknowledged nor refused when the time was over, or when the node was gone. */
  readonly unanswered: number
}

/** The same, but refusals are counted rather than an error, and no longer waited for than said. */
export async function offered(
  members: readonly Member[],
  { withinMs, ...load }: Paced & { readonly withinMs: number },
): Promise<Offered> {
  const count = Math.ceil(load.writes / members.length)
  const betweenUs = 1e6 / load.rate
  const { phase, keys, valueBytes, exactly } = load
  const all = await Promise.all(
    members.map((member, at) => {
      const times = { firstUs: load.firstUs + at * betweenUs, periodUs: members.length * betweenUs }
      const order: Pace = { kind: 'pace', phase, keys, valueBytes, exactly, count, tells: true, ...times }
      const late = sleep(withinMs, undefined, { ref: false })
      return Promise.race([member.ask('write', order).catch(() => undefined), late])
    }),
  )
  const refused = all.reduce((sum, one) => sum + (one?.refused ?? 0), 0)
  const acknowledged = members.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0)
  return { refused, unanswered: Math.max(0, count * members.length - refused - acknowledged) }
}

export interface Rushed {
  readonly phase: number
  readonly keys: Keys
  readonly valueBytes: number
  /** Of each. */
  readonly count: number
  readonly startUs: number
}

export function rushed(members: readonly Member[], rush: Rushed): Promise<Written[]> {
  return written(
    members,
    members.map(() => ({ kind: 'rush', window, ...rush })),
  )
}

/** When each of these could read so many entries. Throws with what there was when one never could. */
export async function whenAll(members: readonly Member[], count: number, withinMs: number): Promise<number> {
  const all = await Promise.all(
    members.map((member) => member.ask('until', { count, untilUs: nowUs() + 1000 * withinMs })),
  )
  const short = all.findIndex((one) => one.count < count)
  if (short >= 0) {
    const there = (all[short]?.count ?? 0).toLocaleString('en')
    throw new Error(
      `not done within ${Math.round(withinMs / 1000)} s: ${members[short]?.name} has ${there} of ${count.toLocaleString('en')} entries`,
    )
  }
  return Math.max(...all.map(({ atUs }) => atUs))
}

export function keysOf(keys: Keys, writers: number): string[] {
  const seqs = Array.from({ length: keys.count }, (_, seq) => seq)
  if (keys.of === 'shared') return seqs.map((seq) => keyOf(keys, 0, seq))
  return Array.from({ length: writers }, (_, writer) => seqs.map((seq) => keyOf(keys, writer, seq))).flat()
}

/** When these keys read alike, and there, on all nodes, and still did a little later. */
export async function whenEqual(fleet: Fleet, keys: readonly string[], withinMs: number): Promise<number> {
  const endUs = nowUs() + 1000 * withinMs
  let equalUs: number | undefined
  for (;;) {
    const all = await fleet.all('digest', { keys })
    const atUs = nowUs()
    const [first] = all
    const isEqual = all.every(({ digest, found }) => digest === first?.digest && found === keys.length)
    if (!isEqual) equalUs = undefined
    else if (equalUs === undefined) equalUs = atUs
    else return equalUs
    if (atUs > endUs) {
      const found = all.map((one) => one.found).join(', ')
      throw new Error(`not equal within ${Math.round(withinMs / 1000)} s: of ${keys.length} keys there are ${found}`)
    }
    await sleep(lookMs)
  }
}

/** When nothing of this phase came to any of these for a while. */
export async function whenQuiet(members: readonly Member[], phase: number, withinMs: number): Promise<void> {
  const endUs = nowUs() + 1000 * withinMs
  for (let before = -1; ;) {
    const all = await Promise.all(members.map((member) => member.ask('arrived', { phase })))
    const count = all.reduce((sum, one) => sum + one.count, 0)
    if (count === before) return
    if (nowUs() > endUs) throw new Error(`changes still came ${Math.round(withinMs / 1000)} s after the last write`)
    before = count
    await sleep(quietMs)
  }
}

/** What came to all of these, on one line of time. */
export function timelineOf(arrived: readonly Arrived[], zeroUs: number, marks: Timeline['marks']): Timeline {
  const tenths = new Map<number, { count: number; maxUs: number }>()
  for (const { timeline } of arrived) {
    for (const [tenth, count, maxUs] of timeline) {
      const entry = tenths.get(tenth) ?? { count: 0, maxUs: 0 }
      tenths.set(tenth, { count: entry.count + count, maxUs: Math.max(entry.maxUs, maxUs) })
    }
  }
  const sorted = [...tenths].sort(([a], [b]) => a - b)
  const arrivals = sorted.map(
    ([tenth, { count, maxUs }]) => [tenth / 10 - zeroUs / 1e6, count, maxUs / 1000] as [number, number, number],
  )
  return { arrivals, marks }
}

/** Of one key and its value, as they are written. */
export function entryBytes(keys: Keys, valueBytes: number): number {
  return keyOf(keys, 0, keys.count - 1).length + valueBytes
}

/** So many writes by each node, as fast as they go, before anything is measured: what a node has behind it by then. */
export async function warmed(fleet: Fleet, count: number, valueBytes: number, withinMs: number): Promise<number> {
  const keys: Keys = { of: 'own', name: 'warm', count: Math.min(count, 100) }
  const nodes = fleet.members.length
  await rushed(fleet.members, { phase: 0, keys, valueBytes, count, startUs: soonUs() })
  const entries = nodes * keys.count
  await whenAll(fleet.members, entries, withinMs)
  if (fleet.contestant.system.catchesUp) await whenEqual(fleet, keysOf(keys, nodes), withinMs)
  return entries
}
