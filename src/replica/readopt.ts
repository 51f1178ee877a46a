/**
 * Who stands on the losing side of a fork takes the space over from the other side: the snapshot takes the place of the
 * cells, and every origin ends where it does there. On top comes the own log, as far as the snapshot does not cover it and
 * it can be applied. What would be lost even so is written again, under new dots and by the reason `rescued`:
 *
 *   siblings of lost deltas, unless an equal value stands in their cell; removals by lost deltas, of the very dots
 *
 * Cells that hold the account of one origin are not copied: a copy by another would count twice. They stand in the evidence.
 * The vector may go back, so the caller has taken a new incarnation just before, which has written nothing yet.
 */
import { equalBytes } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { cellKey } from '../crdt/change.ts'
import { hasDot } from '../crdt/cell.ts'
import type { Sibling } from '../crdt/cell.ts'
import { advanceChain, decodeDelta, linkBytes, startChain } from '../crdt/delta.ts'
import type { Delta } from '../crdt/delta.ts'
import { covers } from '../crdt/dot.ts'
import type { Dot, OriginId, ReadonlyVector, Seen, Vector } from '../crdt/dot.ts'
import { foremost, typeOf } from '../crdt/types/table.ts'
import type { ChainHead, Fork } from '../wire/frame.ts'
import { noCells } from './adoption.ts'
import type { Buckets } from './adoption.ts'
import type { StoredEntry } from './entry.ts'
import { Context } from './context.ts'
import type { Evidence } from './evidence.ts'
import { linksOf } from './forks.ts'
import type { OriginLog, Stand } from './log.ts'
import type { Replica } from './replica.ts'
import { chainBytes, chainOf } from './space.ts'
import type { Space } from './space.ts'

export interface Snapshot {
  readonly stands: readonly Stand[]
  readonly buckets: Buckets
  /** The last key of each chunk of cells, all of which are staged and stored. */
  readonly lastKeys: readonly string[]
  /** Entries in which there may be cells that would be lost. */
  readonly keys: ReadonlySet<string>
}

/** A dot that the snapshot's side does not have, or has as another delta. */
type IsLost = (dot: Dot) => boolean

interface Lost {
  readonly key: string
  readonly name: string
  readonly sibling: Sibling
}

/** A closed origin covers all that anybody ever says of it. */
const allOf = Number.MAX_SAFE_INTEGER
/** Bytes of values in one rescuing delta. */
const rescueBytes = limits.deltaBytes / 2

/** Could a sibling with this dot be lost to a snapshot with these heads? Also says yes where only the log can tell. */
export function mayBeLost(space: Space, heads: readonly ChainHead[]): IsLost {
  const theirs = new Map(heads.map(({ origin, seq }) => [origin, seq]))
  const astray = astrayOf(space, heads)
  return (dot) => !covers(theirs, dot) || astray(dot)
}

/** Dots of the losing history of an origin that the snapshot has closed. */
function astrayOf(space: Space, heads: readonly ChainHead[]): IsLost {
  const from = new Map<OriginId, number>()
  for (const head of heads) {
    const log = space.logs.get(head.origin)
    if (head.fork === undefined || log === undefined || isAlike(log, head)) continue
    const here = log.seq < head.fork.at ? undefined : log.linkAt(head.fork.at)
    const isOnChain = here !== undefined && equalBytes(here, head.fork.link)
    from.set(head.origin, isOnChain ? head.seq + 1 : head.fork.seq)
  }
  return ({ origin, seq }) => seq >= (from.get(origin) ?? Infinity)
}

function isAlike(log: OriginLog, head: ChainHead): boolean {
  return log.seq === head.seq && equalBytes(chainBytes(log.chain), head.chain)
}

/** Returns what is kept of each fork whose losing side was here. */
export function readopt(replica: Replica, space: Space, snapshot: Snapshot, nowMs: number): Evidence[] {
  const { stands: heads } = snapshot
  const before = new Map(heads.map((head) => [head.origin, head]))
  const onTop = aboveOf(space, before)
  const next = reachOf(heads, onTop)
  const astray = astrayOf(space, heads)
  const isLost: IsLost = (dot) => astray(dot) || !covers(next, dot)
  const losing = losingDeltas(space, isLost, next, heads)
  const keys = new Set(snapshot.keys)
  for (const { delta } of losing) for (const { key } of [...delta.clears, ...delta.writes]) keys.add(key)
  const lost: Lost[] = []
  for (const key of keys) {
    const entry = space.entry(key)
    space.tree.touch(entry.leaf)
    for (const name of namesOf(entry)) {
      const gone = entry.at(name).filter((one) => isLost(one) && (one.expires === 0 || one.expires > nowMs))
      const sibling = foremost(name.charCodeAt(0), gone)
      if (sibling !== undefined) lost.push({ key, name, sibling })
    }
  }
  const sides = sidesOf(space, heads)
  const seen = new Map<OriginId, Vector>()
  let told = { rescued: 0, unrescued: 0 }
  const takeOver = (): void => {
    setHeads(space, before, onTop, next)
    const theirs: Vector = new Map(heads.map(({ origin, seq, fork }) => [origin, fork === undefined ? seq : allOf]))
    const { buckets, lastKeys } = snapshot
    space.seal({ mine: new Map(), theirs, buckets, lastKeys, owed: undefined, replaces: true }, [])
    for (const key of keys) {
      space.mergeEntry(space.entry(key), noCells, (mine) =>
        mine.filter((one) => one.seq <= (next.get(one.origin) ?? 0)),
      )
    }
    for (const delta of onTop) {
      let context = seen.get(delta.origin)
      if (context === undefined) {
        const known = Array.from(before.get(delta.origin)?.context ?? [], ([number, seq]) => {
          return [space.origins.nameOf(number), seq] as const
        })
        seen.set(delta.origin, (context = new Map(known)))
      }
      space.reapply(delta, context)
    }
  }
  replica.merge(space, 0, nowMs, heads, takeOver, () => {
    told = rescue(replica, space, lost, losing, isLost, nowMs)
  })
  const found = sides.map(({ fork, ...side }): Evidence => {
    const own = losing.filter(({ delta }) => delta.origin === side.origin)
    return {
      ...side,
      seq: fork.seq,
      from: own[0]?.delta.seq ?? side.loser.seq + 1,
      bodies: bounded(own),
      ...told,
    }
  })
  for (const evidence of found) space.keepEvidence(evidence)
  return found
}

function bounded(losing: readonly Losing[]): Uint8Array[] {
  const bodies: Uint8Array[] = []
  let left = limits.forkEvidenceBytes
  for (const { body } of losing) {
    if ((left -= body.length) < 0) break
    bodies.push(body.slice())
  }
  return bodies
}

/** What of the own log can be applied on top of these heads, in an order in which it can. */
function aboveOf(space: Space, heads: ReadonlyMap<OriginId, Stand>): Delta[] {
  const vector: Vector = new Map(Array.from(heads, ([origin, { seq }]) => [origin, seq]))
  const seen: Seen = { get: (origin) => (heads.get(origin)?.fork === undefined ? vector.get(origin) : Infinity) }
  const sources = new Map<OriginLog, { readonly place: number; readonly body: Uint8Array }>()
  const step = (log: OriginLog): void => {
    const entry = log.entry((vector.get(log.origin) ?? 0) + 1)
    if (entry === undefined) sources.delete(log)
    else sources.set(log, entry)
  }
  for (const log of space.logs.values()) {
    const head = heads.get(log.origin)
    const here = head === undefined ? undefined : log.linkAt(head.seq)
    const follows = head === undefined || (here !== undefined && equalBytes(here, head.chain.subarray(0, linkBytes)))
    if (head?.fork === undefined && log.seq > (head?.seq ?? 0) && follows) step(log)
  }
  const deltas: Delta[] = []
  while (sources.size > 0) {
    let log: OriginLog | undefined
    for (const one of sources.keys()) {
      if (log === undefined || (sources.get(one)?.place ?? 0) < (sources.get(log)?.place ?? 0)) log = one
    }
    const { origin } = log as OriginLog
    const seq = (vector.get(origin) ?? 0) + 1
    const delta = decodeDelta(origin, seq, (sources.get(log as OriginLog) as { body: Uint8Array }).body)
    if (delta.context.every((dot) => covers(seen, dot))) {
      deltas.push(delta)
      vector.set(origin, seq)
      step(log as OriginLog)
    } else sources.delete(log as OriginLog)
  }
  return deltas
}

function reachOf(heads: readonly ChainHead[], onTop: readonly Delta[]): Vector {
  const next: Vector = new Map(heads.map(({ origin, seq }) => [origin, seq]))
  for (const { origin, seq } of onTop) next.set(origin, seq)
  return next
}

/** Logs that can stay as they are do; the others begin anew where the snapshot, and what is applied on top, leads to. */
function setHeads(
  space: Space,
  heads: ReadonlyMap<OriginId, Stand>,
  onTop: readonly Delta[],
  next: ReadonlyVector,
): void {
  const above = Map.groupBy(onTop, ({ origin }) => origin)
  for (const log of space.logs.values()) {
    if (log.seq > 0 && !next.has(log.origin)) space.dropHead(log.origin)
  }
  for (const [origin, seq] of next) {
    const log = space.log(origin)
    const head = heads.get(origin)
    if (head !== undefined && isAlike(log, head)) {
      if (head.fork !== undefined && log.fork === undefined) log.close(head.fork)
      continue
    }
    const deltas = above.get(origin)
    if (deltas === undefined) space.stand(head as Stand)
    else if (log.seq > seq) {
      const chain = head === undefined ? startChain(space.name, space.generation, origin) : chainOf(head.chain)
      const seen = new Map(head?.context)
      let time = 0
      for (const delta of deltas) {
        advanceChain(chain, log.entry(delta.seq)?.body as Uint8Array)
        for (const dot of delta.context) {
          const number = space.origins.numberOf(dot.origin)
          seen.set(number, Math.max(dot.seq, seen.get(number) ?? 0))
        }
        ;({ time } = delta)
      }
      const context = Context.none.changedBy(seen)
      const { links } = linksOf(space, origin, seq - 1)
      space.stand({ origin, seq, chain: chainBytes(chain), time, context, ...(links.length > 0 && { links }) })
    }
  }
}

interface Losing {
  readonly delta: Delta
  readonly body: Uint8Array
  /** What its origin surely had seen before it; less than it had where the log cannot tell. */
  readonly seen: ReadonlyVector
}

/** Deltas of the log that the snapshot's side will not have. */
function losingDeltas(space: Space, isLost: IsLost, next: ReadonlyVector, heads: readonly ChainHead[]): Losing[] {
  const forks = new Map(heads.map(({ origin, fork }) => [origin, fork]))
  const losing: Losing[] = []
  for (const log of space.logs.values()) {
    const first = forks.get(log.origin)?.seq ?? (next.get(log.origin) ?? 0) + 1
    const own: Losing[] = []
    const seen: Vector = new Map()
    if (isLost({ origin: log.origin, seq: log.seq }))
      for (const [number, last] of log.context.whole()) seen.set(space.origins.nameOf(number), last)
    for (let seq = log.seq; seq >= first && isLost({ origin: log.origin, seq }); seq--) {
      const entry = log.entry(seq)
      if (entry === undefined) break
      const delta = decodeDelta(log.origin, seq, entry.body)
      own.push({ delta, body: entry.body, seen: new Map(seen) })
      for (const dot of delta.context) seen.delete(dot.origin)
    }
    losing.push(...own.reverse())
  }
  return losing
}

function sidesOf(
  space: Space,
  heads: readonly ChainHead[],
): (Pick<Evidence, 'origin' | 'winner' | 'loser'> & { readonly fork: Fork })[] {
  return heads.flatMap((head) => {
    const { origin, seq, chain, fork } = head
    const log = space.logs.get(origin)
    if (fork === undefined || log === undefined || log.seq === 0 || isAlike(log, head)) return []
    return [
      { origin, fork, winner: { seq, chain: chain.slice() }, loser: { seq: log.seq, chain: chainBytes(log.chain) } },
    ]
  })
}

/** Writes again what was lost. */
function rescue(
  replica: Replica,
  space: Space,
  lost: readonly Lost[],
  losing: readonly Losing[],
  isLost: IsLost,
  nowMs: number,
): { rescued: number; unrescued: number } {
  const cells = new Map<string, { key: string; name: string; value: Sibling | undefined; gone: Sibling[] }>()
  const at = (key: string, name: string): { value: Sibling | undefined; gone: Sibling[] } => {
    const id = `${name.length} ${name}${key}`
    let cell = cells.get(id)
    if (cell === undefined) cells.set(id, (cell = { key, name, value: undefined, gone: [] }))
    return cell
  }
  let unrescued = 0
  const isCopied = (type: number): boolean => {
    const known = typeOf(type)
    return known !== undefined && known.countsByOrigin !== true
  }
  for (const { key, name, sibling } of lost) {
    const live = space.entry(key).at(name)
    if (live.some(({ value }) => equalBytes(value, sibling.value))) continue
    if (isCopied(name.charCodeAt(0))) at(key, name).value = sibling
    else unrescued++
  }
  for (const { delta, seen } of losing) {
    for (const { key, type, path, supersedes } of delta.writes) {
      const name = cellKey(type, path)
      const gone = space
        .entry(key)
        .at(name)
        .filter((one) => hasDot(supersedes, one) && !isLost(one))
      if (gone.length > 0 && isCopied(type)) remove(at(key, name).gone, gone)
    }
    for (const { key, type, keep } of delta.clears) {
      const entry = space.entry(key)
      for (const name of namesOf(entry)) {
        const own = name.charCodeAt(0)
        if ((type !== 0 && own !== type) || !isCopied(own)) continue
        const gone = entry.at(name).filter((one) => {
          const isSeen = one.origin === delta.origin ? one.seq < delta.seq : covers(seen, one)
          return isSeen && !isLost(one) && !hasDot(keep, one)
        })
        if (gone.length > 0) remove(at(key, name).gone, gone)
      }
    }
  }
  let part: typeof cells extends Map<string, infer Cell> ? Cell[] : never = []
  let sizeBytes = 0
  const write = (): void => {
    if (part.length === 0) return
    replica.transact(space, { nowMs, agent: 'skein', reason: 'rescued' }, (change) => {
      for (const { key, name, value, gone } of part) {
        change.repair(space.entry(key), name, gone, value?.value.slice(), value?.expires ?? 0)
      }
    })
    part = []
    sizeBytes = 0
  }
  for (const cell of cells.values()) {
    part.push(cell)
    sizeBytes += (cell.value?.value.length ?? 0) + 64 + 32 * cell.gone.length
    if (sizeBytes > rescueBytes || part.length >= limits.deltaWrites / 2) write()
  }
  write()
  return { rescued: cells.size, unrescued }
}

function namesOf(entry: StoredEntry): Set<string> {
  return new Set(entry.siblings().map(({ name }) => name))
}

function remove(into: Sibling[], gone: readonly Sibling[]): void {
  for (const one of gone) if (!hasDot(into, one)) into.push(one)
}

/** Would a rescue be refused now? */
export function isTooBusy(replica: Replica): boolean {
  return replica.waitingBytes > limits.uncommittedBytes
}
