/**
 * Deciding a case: what the decision writes into the cells that the case is about. It supersedes the siblings of the
 * branches that it names and nothing else, so what came from somebody else meanwhile stays, and opens the case again.
 */
import { SkeinError } from '../base/errors.ts'
import { encodeValue } from '../base/msgpack.ts'
import { cellKey } from '../crdt/change.ts'
import type { ChangeSet, Entry } from '../crdt/change.ts'
import { hasDot, sameDot } from '../crdt/cell.ts'
import type { Path, TypeId } from '../crdt/cell.ts'
import { claim } from '../crdt/types/claim.ts'
import type { ClaimReading } from '../crdt/types/claim.ts'
import { record } from '../crdt/types/record.ts'
import { decisionKinds, dotName } from './case.ts'
import type { Branch, Case, Choice, Part } from './case.ts'
import { isObject, namesIn, valueIn } from './deed.ts'

function wrong(message: string): SkeinError {
  return new SkeinError('invalid_argument', `resolve: ${message}`)
}

/** Who decides, or proposes, does so on what he has looked at. */
export function checkRevision({ id, revision }: Case, seen: string): void {
  if (revision === seen) return
  throw new SkeinError('conflict_changed', `conflict ${id} is at revision ${revision}`, { id, revision })
}

/** Checks a choice against the case: it comes from outside. */
export function checkChoice(known: Case, choice: Choice): void {
  const { kind, branch, value, action } = choice
  const { target, branches } = known
  if (!decisionKinds.includes(kind)) throw wrong(`kind must be one of ${decisionKinds.join(', ')}`)
  if ((kind === 'pick') !== (branch !== undefined)) throw wrong('a branch is given for pick, and only there')
  if ((kind === 'write') !== (value !== undefined)) throw wrong('a value is given for write, and only there')
  if ((kind === 'compensate') !== (action !== undefined))
    throw wrong('an action is given for compensate, and only there')
  if (branch !== undefined && !branches.some((one) => sameDot(one, branch))) {
    throw wrong(`${dotName(branch)} is no branch of this conflict`)
  }
  if (kind !== 'write') return
  if (target?.path === undefined)
    throw wrong(`a conflict of ${known.kind} is about no single value: decide, and write apart`)
  if (target.type === claim.id) throw wrong('a claim is not written: pick one of the holders')
  if (target.type === record.id && isObject(value)) throw wrong('fields of a record are written one by one')
  encodeValue(value)
}

/** Is it about one value? Of a claim nobody else can say who holds it. */
export function takesValue({ target }: Case): boolean {
  return target?.path !== undefined && target.type !== claim.id
}

interface CellName {
  readonly type: TypeId
  readonly path: Path
}

/** Writes what the choice means, entry by entry. */
export function settle(change: ChangeSet, entryOf: (key: string) => Entry, known: Case, choice: Choice): void {
  const { target, branches } = known
  if (target === undefined || (choice.kind !== 'pick' && choice.kind !== 'write')) return
  const entry = entryOf(target.key)
  const picked = branches.find((one) => choice.branch !== undefined && sameDot(one, choice.branch))
  const isGone = picked?.parts.some(({ act }) => act === 'delete') === true
  for (const cell of cellsOf(known, target.key, target.path)) {
    const name = cellKey(cell.type, cell.path)
    const live = entry.cells(cell.type).get(cell.path)
    const disputed = live.filter((sibling) => hasDot(branches, sibling))
    const isTarget = cell.path === target.path && cell.type === target.type
    const part = picked && partIn(picked, target.key, cell)
    let value: Uint8Array | undefined
    if (choice.kind === 'write') value = isTarget ? encodeValue(choice.value) : undefined
    else if (part?.act === 'put') value = bytesOf(part, picked as Branch, live)
    else if (part === undefined && target.path === undefined && !isGone) continue
    if (value !== undefined && cell.type === claim.id) value = tenure(entry, value)
    if (value !== undefined || disputed.length > 0) change.repair(entry, name, disputed, value, 0)
  }
}

/** Every cell that branches touched in the entry, at or below the path that is disputed. */
function cellsOf({ branches, target }: Case, key: string, path: Path | undefined): CellName[] {
  const cells = new Map<string, CellName>()
  if (path !== undefined && target !== undefined) cells.set(cellKey(target.type, path), { type: target.type, path })
  const above = path === undefined ? [] : namesIn(path)
  for (const { parts } of branches) {
    for (const part of parts) {
      if (part.key !== key || part.act === 'delete') continue
      const names = namesIn(part.path)
      const isWithin = above.length > 0 && above.length <= names.length && above.every((name, at) => name === names[at])
      if (path !== undefined && part.path !== path && !isWithin) continue
      cells.set(cellKey(part.type, part.path), { type: part.type, path: part.path })
    }
  }
  return [...cells.values()]
}

function partIn({ parts }: Branch, key: string, { type, path }: CellName): Part | undefined {
  return parts.find((part) => part.key === key && part.type === type && part.path === path)
}

/** What a branch wrote; where that was too long to be kept, as it still stands in the cell. */
function bytesOf(
  part: Part,
  branch: Branch,
  live: Iterable<{ readonly value: Uint8Array } & Branch['news'][number]>,
): Uint8Array {
  if (part.value !== undefined) return part.value
  for (const sibling of live) if (sameDot(sibling, branch)) return sibling.value
  throw wrong('the value of that branch was too long to be kept and is gone: write it')
}

/** Of whoever is to hold a claim, under a fence that nobody has had. */
function tenure(entry: Entry, value: Uint8Array): Uint8Array {
  const { fence } = claim.read(entry.cells(claim.id)).value as ClaimReading
  const held = valueIn(value)
  if (!isObject(held)) throw wrong('that branch holds no claim')
  return encodeValue({ ...held, fence: fence + 1 })
}
