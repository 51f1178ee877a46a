/**
 * The table of types. A new type is its file and one line here; the laws, the operations of the API and the tables of
 * the docs all come from this list. A number names its type on the wire and on disk for ever: none is used twice.
 */
import { assert } from '../../base/assert.ts'
import { newest } from '../cell.ts'
import type { Sibling, Siblings, TypeId } from '../cell.ts'
import type { CrdtType } from '../type.ts'
import { budget } from './budget.ts'
import { claim } from './claim.ts'
import { counter } from './counter.ts'
import { doc } from './doc.ts'
import { flag } from './flag.ts'
import { list } from './list.ts'
import { log } from './log.ts'
import { record } from './record.ts'
import { register } from './register.ts'
import { set } from './set.ts'
import { text } from './text.ts'

export const types: readonly CrdtType[] = [
  register, // 1
  record, // 2
  counter, // 3
  set, // 4
  flag, // 5
  log, // 6
  list, // 7
  claim, // 8
  budget, // 9
  text, // 10
  doc, // 11
]

const byId = new Map<TypeId, CrdtType>(types.map((type) => [type.id, type]))
const byName = new Map<string, CrdtType>(types.map((type) => [type.name, type]))
assert(byId.size === types.length && byName.size === types.length, 'types have numbers and names of their own')

/** Undefined for a type that a newer version wrote: its cells are kept as they are. */
export function typeOf(id: TypeId): CrdtType | undefined {
  return byId.get(id)
}

/** Which of some siblings of a cell of that type may stand for all of them. */
export function foremost(id: TypeId, siblings: Siblings): Sibling | undefined {
  return typeOf(id)?.foremost?.(siblings) ?? newest(siblings)
}

export function typeNamed(name: string): CrdtType | undefined {
  return byName.get(name)
}

/** Does a write hold what others act on, so that its delta leaves only from the disk? */
export function leavesFromDisk(writes: readonly { readonly type: TypeId }[]): boolean {
  return writes.some(({ type }) => typeOf(type)?.leavesFromDisk === true)
}
