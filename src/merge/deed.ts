/**
 * A delta as rules look at it: what it put, what it dropped, what it deleted. System entries are left out, and deletions of
 * what expired: they were agreed on when it was written.
 */
import { limits } from '../base/limits.ts'
import { decodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import { pathValue, rootPath } from '../crdt/cell.ts'
import type { Path, TypeId } from '../crdt/cell.ts'
import type { CellWrite, Delta } from '../crdt/delta.ts'
import { log } from '../crdt/types/log.ts'
import { record } from '../crdt/types/record.ts'
import { register } from '../crdt/types/register.ts'
import { set } from '../crdt/types/set.ts'
import type { Touch } from './rule.ts'
import { digestOf, isSystemKey } from './system.ts'

export interface Put extends CellWrite {
  readonly value: Uint8Array
}

/** The fields that a delta gave to one thing: of a record, or of an object in a register, a log or a set. */
export interface Row {
  readonly key: string
  readonly type: TypeId
  /** The cell that holds all of it; the first of its fields where it is a record. */
  readonly path: Path
  readonly value: Uint8Array
  readonly fields: ReadonlyMap<string, Value>
}

export interface Deed {
  readonly delta: Delta
  readonly puts: readonly Put[]
  readonly drops: readonly CellWrite[]
  /** Keys of entries that it deleted, or all of one type in them. */
  readonly deletions: readonly { readonly key: string; readonly type: TypeId }[]
  /** What it gave to things, thing by thing: read when a rule asks, and once for all of them. */
  readonly rows: readonly Row[]
}

export function deedOf(delta: Delta): Deed {
  const puts: Put[] = []
  const drops: CellWrite[] = []
  const expired = delta.reason === 'expired'
  for (const write of delta.writes) {
    if (isSystemKey(write.key)) continue
    if (write.value !== undefined) puts.push(write as Put)
    else if (!expired) drops.push(write)
  }
  const deletions: { key: string; type: TypeId }[] = []
  for (const { key, type } of delta.clears) {
    // What clears and writes in one is a replacement: a snapshot of a document, a log that keeps its newest.
    if (isSystemKey(key) || puts.some((put) => put.key === key)) continue
    deletions.push({ key, type })
  }
  let rows: readonly Row[] | undefined
  return {
    delta,
    puts,
    drops,
    deletions,
    get rows() {
      return (rows ??= rowsIn(puts))
    },
  }
}

/** Undefined where the bytes are no canonical value: what a faulty peer sent is skipped, alike everywhere. */
export function valueIn(bytes: Uint8Array): Value | undefined {
  try {
    return decodeValue(bytes)
  } catch {
    return undefined
  }
}

/** Above what a value may be wrapped in: a case, and what tells of it. */
const wrappings = 8

/** A value that others are to hold; one that is nested about as deep as may be is named by its digest. */
export function nestable(value: Value): Value {
  return isDeep(value, limits.valueDepth - wrappings) ? digestOf(value) : value
}

function isDeep(value: Value, most: number): boolean {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false
  return most === 0 || Object.values(value).some((one: Value) => isDeep(one, most - 1))
}

export function isObject(value: Value | undefined): value is { readonly [name: string]: Value } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}

/** Paths that were read lately: a few fields stand in nearly all of them. */
const namesByPath = new Map<Path, readonly string[]>()
const pathsKept = 1024

/** The names in a record's path; none for what is not one. */
export function namesIn(path: Path): readonly string[] {
  let names = namesByPath.get(path)
  if (names !== undefined) return names
  names = namesOfPath(path)
  if (namesByPath.size >= pathsKept) namesByPath.clear()
  namesByPath.set(path, names)
  return names
}

function namesOfPath(path: Path): readonly string[] {
  let names: Value
  try {
    names = pathValue(path)
  } catch {
    return []
  }
  return Array.isArray(names) && names.every((name) => typeof name === 'string') ? (names as string[]) : []
}

/** What a delta gave to things under a prefix, thing by thing. */
export function rowsOf({ rows }: Deed, prefix: string): readonly Row[] {
  return prefix === '' ? rows : rows.filter(({ key }) => key.startsWith(prefix))
}

function rowsIn(puts: readonly Put[]): Row[] {
  const rows: Row[] = []
  const records = new Map<string, Map<string, Value>>()
  for (const { key, type, path, value } of puts) {
    if (type === record.id) {
      const [name, ...deeper] = namesIn(path)
      const held = valueIn(value)
      if (name === undefined || deeper.length > 0 || held === undefined) continue
      const known = records.get(key)
      if (known !== undefined) {
        known.set(name, held)
        continue
      }
      const fields = new Map([[name, held]])
      records.set(key, fields)
      rows.push({ key, type, path, value, fields })
    } else if (type === register.id || type === log.id || type === set.id) {
      const held = type === set.id ? elementOf(path) : valueIn(value)
      if (isObject(held)) rows.push({ key, type, path, value, fields: new Map(Object.entries(held)) })
    }
  }
  return rows
}

function elementOf(path: Path): Value | undefined {
  try {
    return pathValue(path)
  } catch {
    return undefined
  }
}

/** The puts of one named field: of records, or without a name of registers. */
export function putsOfField({ puts }: Deed, prefix: string, field: string | undefined): Put[] {
  return puts.filter(({ key, type, path }) => {
    if (!key.startsWith(prefix)) return false
    if (field === undefined) return type === register.id && path === rootPath
    const names = type === record.id ? namesIn(path) : []
    return names.length === 1 && names[0] === field
  })
}

export function touchOf(write: CellWrite, bucket: string): Touch {
  const { key, type, path, value, supersedes } = write
  return { bucket, act: value === undefined ? 'drop' : 'put', key, type, path, value, over: supersedes }
}

/** The deletion of an entry. */
export function deletionOf(key: string, type: TypeId, bucket: string): Touch {
  return { bucket, act: 'delete', key, type, path: '', value: undefined, over: [] }
}

/** A bucket for a value: as short as a key may be. */
export function bucketOf(...parts: readonly string[]): string {
  return parts.join('\u0000')
}
