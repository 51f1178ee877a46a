/**
 * Two histories that meet below the log: a snapshot is merged, and its deltas are nowhere to be read. What is live there and
 * was not known here is concurrent for certain with what was written here and not known there, so it is judged as ever. What
 * they removed left nothing behind: where that may have crossed a write of ours, nobody can tell, and that is said, entry by
 * entry.
 */
import { hasDot } from '../crdt/cell.ts'
import type { Path, Sibling, Siblings, TypeId } from '../crdt/cell.ts'
import type { CellWrite, Delta } from '../crdt/delta.ts'
import { covers } from '../crdt/dot.ts'
import type { Dot, ReadonlyVector, Seen } from '../crdt/dot.ts'
import { record } from '../crdt/types/record.ts'
import { register } from '../crdt/types/register.ts'
import { dotName, headOf } from './case.ts'
import type { Branch, Head } from './case.ts'
import { deedOf } from './deed.ts'
import type { Deed } from './deed.ts'
import { deletion } from './rules/deletion.ts'
import type { Met, Rule, RuleKind, Verdict } from './rule.ts'
import { branchOfDeed } from './finder.ts'
import { lean } from './window.ts'

/** What stands for a rule where nothing could be judged. */
export const belowLog: Pick<RuleKind, 'name' | 'says' | 'severity' | 'safe' | 'decides' | 'advice'> = {
  name: 'below-log',
  says: 'two histories met below the log, and whether a removal crossed a write cannot be told',
  severity: 'medium',
  safe: 'keep-both',
  decides: 'agent',
  advice: 'Look whether the entry is as it should be; what was written is shown.',
}

/** A cell of ours and the same of theirs, and what became of it. */
export interface MetCell {
  readonly type: TypeId
  readonly path: Path
  readonly mine: Siblings
  readonly theirs: Siblings
  readonly merged: Siblings
}

export interface MetEntry {
  readonly key: string
  readonly cells: readonly MetCell[]
  /** What each side had seen when they met. */
  readonly ownVector: ReadonlyVector
  readonly theirVector: Seen
}

/** What the own log still has of what they had not seen, by the entries that it touches. */
export interface OwnSide {
  readonly byKey: ReadonlyMap<string, readonly Delta[]>
  /** Is that all of it? */
  readonly isWhole: boolean
}

/** Gathers the own side, once for a merge. */
export function ownSide(
  { ownVector, theirVector }: Pick<MetEntry, 'ownVector' | 'theirVector'>,
  read: (dot: Dot) => Delta | undefined,
): OwnSide {
  const byKey = new Map<string, Delta[]>()
  let isWhole = true
  for (const [origin, last] of ownVector) {
    for (let seq = last; seq > (theirVector.get(origin) ?? 0); seq--) {
      const delta = read({ origin, seq })
      if (delta === undefined) {
        isWhole = false
        break
      }
      const keys = new Set([...delta.writes, ...delta.clears].map(({ key }) => key))
      for (const key of keys) {
        const known = byKey.get(key)
        if (known === undefined) byKey.set(key, [delta])
        else known.push(delta)
      }
    }
  }
  return { byKey, isWhole }
}

/** Without an id: that takes the decisions on the subject, which may not be read while entries are merged. */
export interface Unnamed {
  readonly head: Head
  readonly branches: ReadonlyMap<string, Branch>
}

/** What is concurrent in a cell, by side, and what went without anything in its place. */
interface Sides {
  readonly cell: MetCell
  readonly ours: Siblings
  readonly others: Siblings
  readonly goneHere: boolean
  readonly goneThere: boolean
}

export function metBelowLog(
  { key, cells, theirVector }: MetEntry,
  own: OwnSide,
  rules: readonly Rule[],
  read: (dot: Dot) => Delta | undefined,
): Unnamed[] {
  const sides = cells.map((cell) => sidesOf(cell, key, theirVector, read))
  const logged = own.byKey.get(key) ?? []
  const ours = [
    ...logged.map(deedOf),
    ...deedsOf(key, sides, ({ ours: live }) => live.filter((dot) => !hasDot(logged, dot)), read),
  ]
  const others = deedsOf(key, sides, ({ others: live }) => live, read)
  const found = new Map<string, { readonly head: Head; readonly branches: Map<string, Branch> }>()
  for (const rule of rules) {
    if (rule.kind.looksAtValues === true || !key.startsWith(rule.prefix)) continue
    for (const one of ours) for (const other of others) judge(found, rule, one, other)
  }
  const doubtful = rules.some(({ kind, prefix }) => kind === deletion && key.startsWith(prefix))
    ? doubts(sides, own.isWhole)
    : []
  if (doubtful.length > 0) {
    const branches = new Map<string, Branch>()
    for (const deed of [...ours, ...others]) {
      const { delta } = deed
      const parts = deed.puts
        .filter(
          (put) => put.key === key && doubtful.some(({ cell }) => cell.type === put.type && cell.path === put.path),
        )
        .map((put) => ({ ...put, bucket: '', act: 'put' as const, over: put.supersedes }))
      if (parts.length > 0) branches.set(dotName(delta), branchOfDeed(deed, parts))
    }
    const { name, severity, safe, decides } = belowLog
    const head: Head = { rule: name, kind: name, severity, safe, decides, subject: [key], target: undefined, after: [] }
    if (branches.size > 0) found.set(name, { head, branches })
  }
  return [...found.values()]
}

function sidesOf(cell: MetCell, key: string, theirVector: Seen, read: (dot: Dot) => Delta | undefined): Sides {
  const { mine, theirs, merged } = cell
  const ours = mine.filter((sibling) => !hasDot(theirs, sibling) && !covers(theirVector, sibling))
  const others = merged.filter((sibling) => !hasDot(mine, sibling))
  const removedThere = mine.some((sibling) => !hasDot(theirs, sibling) && covers(theirVector, sibling))
  // What was written over here was there for them too, and is not any more.
  const wasThere = (sibling: Sibling): boolean =>
    writesOf(read(sibling), key, cell).some(({ supersedes }) =>
      supersedes.some((dot) => covers(theirVector, dot) && !hasDot(theirs, dot)),
    )
  const removedHere = theirs.some((sibling) => !hasDot(mine, sibling) && !hasDot(merged, sibling))
  return {
    cell,
    ours,
    others,
    goneThere: others.length === 0 && (removedThere || ours.some(wasThere)),
    goneHere: ours.length === 0 && removedHere,
  }
}

function writesOf(delta: Delta | undefined, key: string, { type, path }: MetCell): readonly CellWrite[] {
  return delta?.writes.filter((write) => write.key === key && write.type === type && write.path === path) ?? []
}

/** Cells with a value that a removal may have crossed: of that cell, or of the whole entry. */
function doubts(sides: readonly Sides[], isWhole: boolean): Sides[] {
  const fields = sides.filter(({ cell: { type } }) => type === record.id || type === register.id)
  const emptyThere = fields.some(({ goneThere }) => goneThere) && fields.every(({ cell }) => cell.theirs.length === 0)
  const emptyHere = fields.some(({ goneHere }) => goneHere) && fields.every(({ cell }) => cell.mine.length === 0)
  return fields.filter(
    ({ ours, others, goneThere, goneHere, cell }) =>
      (ours.length > 0 && (goneThere || emptyThere)) ||
      // What was removed here is in the own log, and was judged, if that reaches back.
      (!isWhole && ((others.length > 0 && emptyHere) || (goneHere && cell.merged.length > 0))),
  )
}

/** What a side has in the entry, delta by delta; as it was written where the log still has it. */
function deedsOf(
  key: string,
  sides: readonly Sides[],
  live: (sides: Sides) => Siblings,
  read: (dot: Dot) => Delta | undefined,
): Deed[] {
  const deltas = new Map<string, Delta & { writes: CellWrite[] }>()
  for (const one of sides) {
    const { type, path } = one.cell
    for (const { origin, seq, time, agent, value, expires } of live(one)) {
      const name = dotName({ origin, seq })
      let delta = deltas.get(name)
      if (delta === undefined) {
        const link = new Uint8Array(0)
        delta = { origin, seq, time, link, context: [], agent, reason: undefined, clears: [], writes: [] }
        deltas.set(name, delta)
      }
      delta.writes.push({ key, type, path, value, expires, supersedes: [] })
    }
  }
  return [...deltas.values()].map((delta) => deedOf(read(delta) ?? delta))
}

function judge(
  found: Map<string, { readonly head: Head; readonly branches: Map<string, Branch> }>,
  rule: Rule,
  one: Deed,
  other: Deed,
): void {
  const theirs = rule.kind.touches(other, rule)
  for (const a of rule.kind.touches(one, rule)) {
    for (const b of theirs) {
      if (a.bucket !== b.bucket) continue
      const verdict: Verdict | undefined = rule.kind.judge(metOf(one, lean(a)), metOf(other, lean(b)), rule, noValues)
      if (verdict === undefined) continue
      const head = headOf(rule, verdict, [])
      const name = JSON.stringify([rule.name, head.subject])
      const known = found.get(name) ?? { head, branches: new Map<string, Branch>() }
      found.set(name, known)
      for (const deed of [one, other]) {
        const parts = rule.kind.touches(deed, rule).filter(({ bucket }) => bucket === a.bucket)
        known.branches.set(dotName(deed.delta), branchOfDeed(deed, parts))
      }
    }
  }
}

function metOf({ delta: { origin, seq, time, agent } }: Deed, touch: Met['touch']): Met {
  return { origin, seq, time, agent, touch }
}

const noValues = {
  entry: (): never => {
    throw new RangeError('rules over current values are not judged while entries are merged')
  },
}
