/**
 * Two writers edited one passage of a text: both wrote at one place, one wrote into what the other took away, or both took away
 * parts of one stretch that are not the same. Merging keeps every letter, and the sentence may be none.
 *
 * Letters have names that stay (Yjs), so it is judged of the two edits alone: between which letters each wrote, and which it
 * took away. Two values given to one key of a shared map meet in the same way: one of them is lost.
 */
import { limits } from '../../base/limits.ts'
import { encodeValue } from '../../base/msgpack.ts'
import type { Value } from '../../base/value.ts'
import { pathValue } from '../../crdt/cell.ts'
import type { Path } from '../../crdt/cell.ts'
import { text } from '../../crdt/types/text.ts'
import { checkUpdate } from '../../crdt/types/yjs-check.ts'
import type { Deletion, Struct, UnitId, Update } from '../../crdt/types/yjs-check.ts'
import { binOf } from '../../crdt/types/document-copy.ts'
import type { Put } from '../deed.ts'
import type { RuleKind, Touch } from '../rule.ts'

/** Between which letters something was written, and in which of the shared types; '' where that is not told. */
type Gap = readonly [left: string, right: string, home: string]
type Stretch = readonly [client: number, from: number, to: number]

interface Edit {
  readonly gaps: readonly Gap[]
  readonly gone: readonly Stretch[]
}

export const textOverlap: RuleKind = {
  name: 'text',
  version: 1,
  says: 'two concurrent edits changed one passage of a text',
  severity: 'low',
  safe: 'keep-both',
  decides: 'agent',
  advice: 'Read the passage as it is now, and write it as it should be.',
  settings: [],
  check: () => undefined,
  touches: ({ puts }, { prefix }) => {
    const byKey = new Map<string, Put[]>()
    for (const put of puts) {
      if (put.type !== text.id || !put.key.startsWith(prefix) || isFold(put.path)) continue
      const known = byKey.get(put.key)
      if (known === undefined) byKey.set(put.key, [put])
      else known.push(put)
    }
    return Array.from(byKey.values(), touchOfEdit)
  },
  judge: ({ touch: a }, { touch: b }) => {
    const [one, other] = [a.note, b.note] as unknown as readonly [Edit, Edit]
    return isOver(one, other) ? { subject: [a.key] } : undefined
  },
}

/** A snapshot, or several edits in one: nothing that its writer wrote now. */
function isFold(path: Path): boolean {
  try {
    const place = pathValue(path)
    return Array.isArray(place) && Array.isArray(place[0])
  } catch {
    return true
  }
}

function touchOfEdit(puts: readonly Put[]): Touch {
  const [first] = puts as [Put, ...Put[]]
  const updates = puts.flatMap(({ value }): Update[] => {
    const update = checkUpdate(binOf(value) ?? new Uint8Array(0))
    return 'refused' in update ? [] : [update]
  })
  const own = updates.flatMap(({ sections }) =>
    sections.map(({ client, clock, structs }) => stretchOf(client, clock, structs)),
  )
  const structs = updates.flatMap(({ sections }) => sections.flatMap((section) => section.structs))
  const gone = updates.flatMap(({ deletions }) => deletions).flatMap((each) => without(each, own))
  const gaps = structs.flatMap((struct) => gapOf(struct, own))
  const { key, type, path } = first
  const shown = {
    inserted: structs
      .map((struct) => struct.text)
      .join('')
      .slice(0, limits.caseValueBytes / 4)
      // Half a character may be cut off, or be what somebody's editor wrote.
      .toWellFormed(),
    deleted: gone.reduce((sum, [, from, to]) => sum + to - from, 0),
  }
  return {
    bucket: key,
    act: 'put',
    key,
    type,
    path,
    value: encodeValue(shown),
    over: [],
    note: { gaps: gaps.slice(0, limits.textPieces), gone: gone.slice(0, limits.textPieces) } as unknown as Value,
  }
}

function stretchOf(client: number, clock: number, structs: readonly Struct[]): Stretch {
  return [client, clock, clock + structs.reduce((sum, { length }) => sum + length, 0)]
}

function isIn({ client, clock }: UnitId, stretches: readonly Stretch[]): boolean {
  return stretches.some(([other, from, to]) => client === other && clock >= from && clock < to)
}

/** What was there before: what somebody writes and takes away at once nobody else has seen. */
function without({ client, clock, length }: Deletion, own: readonly Stretch[]): Stretch[] {
  const inside = own.find(([other, from, to]) => other === client && clock < to && clock + length > from)
  if (inside === undefined) return [[client, clock, clock + length]]
  const [, from, to] = inside
  const parts: Stretch[] = [
    [client, clock, Math.min(from, clock + length)],
    [client, Math.max(to, clock), clock + length],
  ]
  return parts.filter(([, start, end]) => start < end)
}

/** Where a struct was written, if not behind what its writer had just written. */
function gapOf({ left, right, parent, key, kind }: Struct, own: readonly Stretch[]): Gap[] {
  if (kind === 0 || kind === 10 || (left !== undefined && isIn(left, own))) return []
  const home = typeof parent === 'object' ? nameOf(parent) : (parent ?? '')
  if (key !== undefined) return [[`key ${key}`, '', home]]
  const after = right !== undefined && isIn(right, own) ? '' : right === undefined ? 'end' : nameOf(right)
  return [[left === undefined ? 'start' : nameOf(left), after, home]]
}

function nameOf({ client, clock }: UnitId): string {
  return `${client}-${clock}`
}

function isOver(a: Edit, b: Edit): boolean {
  const isOnePlace = a.gaps.some((one) => b.gaps.some((other) => isSame(one, other)))
  return isOnePlace || isWithin(a.gaps, b.gone) || isWithin(b.gaps, a.gone) || isPartly(a.gone, b.gone)
}

/** Only who has no neighbour at all says where his letters are at home. */
function isSame([left, right, home]: Gap, [otherLeft, otherRight, otherHome]: Gap): boolean {
  if (home !== '' && otherHome !== '' && home !== otherHome) return false
  return left === otherLeft || (right !== '' && right !== 'end' && right === otherRight)
}

/** Was something written between two letters that the other took away? */
function isWithin(gaps: readonly Gap[], gone: readonly Stretch[]): boolean {
  const isGone = (name: string): boolean => {
    const [client, clock] = name.split('-').map(Number) as [number, number]
    return isIn({ client, clock }, gone)
  }
  return gaps.some(([left, right]) => isGone(left) && isGone(right))
}

/** Did both take away some of the same, and one of them more? */
function isPartly(a: readonly Stretch[], b: readonly Stretch[]): boolean {
  const shared = a.reduce(
    (sum, [client, from, to]) =>
      sum +
      b.reduce((more, [other, start, end]) => {
        return client === other ? more + Math.max(0, Math.min(to, end) - Math.max(from, start)) : more
      }, 0),
    0,
  )
  return shared > 0 && (shared < sizeOf(a) || shared < sizeOf(b))
}

function sizeOf(stretches: readonly Stretch[]): number {
  return stretches.reduce((sum, [, from, to]) => sum + to - from, 0)
}
