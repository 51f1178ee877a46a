/**
 * Where a space keeps what it knows of its own conflicts: entries like any other, under keys that programs cannot write.
 * They replicate, are summed up by the tree and pruned as all cells are; listings and watches leave them out.
 */
import { hash128, lanes } from '../base/hash.ts'
import { encodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import type { TypeId } from '../crdt/cell.ts'

/** Keys of system entries begin with U+0000, and no other key does. */
export function isSystemKey(key: string): boolean {
  return key.charCodeAt(0) === 0
}

/** The rules of the space. */
export const rulesKey = '\u0000rules'
/** Before the id in the key of a case. */
export const casePrefix = '\u0000case/'
const threadPrefix = '\u0000thread/'

export function caseKey(id: string): string {
  return casePrefix + id
}

/** The id of the case that an entry is. */
export function caseIdOf(key: string): string | undefined {
  return key.startsWith(casePrefix) ? key.slice(casePrefix.length) : undefined
}

const queuePrefix = '\u0000queue/'

/** What is said of a case while it is open. */
export function queueKey(id: string): string {
  return queuePrefix + id
}

/** The id of the case that a queue is about. */
export function queueIdOf(key: string): string | undefined {
  return key.startsWith(queuePrefix) ? key.slice(queuePrefix.length) : undefined
}

/** Every decision on one subject under one rule, over all its cases. */
export function threadKey(id: string): string {
  return threadPrefix + id
}

/** What was purged: an entry for each key that ever was. */
export const purgePrefix = '\u0000purge/'

export function purgeKey(key: string): string {
  return purgePrefix + digestOf(key)
}

/** They stand in no table of types: whoever does not know them keeps their cells as they are. */
export const systemTypes: {
  readonly rules: TypeId
  readonly case: TypeId
  readonly queue: TypeId
  readonly purge: TypeId
} = {
  rules: 200,
  case: 201,
  queue: 202,
  purge: 203,
}

/** 32 hexadecimal digits that name a value, the same everywhere. */
export function digestOf(value: Value): string {
  const bytes = encodeValue(value)
  hash128(bytes, 0, bytes.length, 0x736b6569, 0x6e2d6361, 0x73650000, 1)
  return [...lanes].map((lane) => lane.toString(16).padStart(8, '0')).join('')
}
