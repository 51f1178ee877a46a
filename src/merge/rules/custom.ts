/**
 * A function of the owner's own says whether two changes can both stand. It is named, with a version, and runs on nodes that
 * have it; the others say that the rule is not evaluated there. What it is given are data: the entries that the rule names as
 * they are now, and the two changes, the older first.
 */
import { encodeValue } from '../../base/msgpack.ts'
import { limits } from '../../base/limits.ts'
import type { Value } from '../../base/value.ts'
import { timeToMs } from '../../crdt/clock.ts'
import { pathValue, rootPath } from '../../crdt/cell.ts'
import type { Path } from '../../crdt/cell.ts'
import { typeOf } from '../../crdt/types/table.ts'
import { deletionOf, touchOf, valueIn } from '../deed.ts'
import type { Deed } from '../deed.ts'
import type { Met, Rule, RuleKind, Touch, Values } from '../rule.ts'
import { textIn, textsIn, wrong } from './settings.ts'
import { isOlder } from './transition.ts'

/** What one writer did to the entries that the rule names. */
export interface MeetingChange {
  readonly agent: string
  /** Wall-clock milliseconds. */
  readonly at: number
  /** A write without a value took one away. The path is that of a field of a record, or what its type has for one. */
  readonly writes: readonly {
    readonly key: string
    readonly type: string
    readonly path: Value
    readonly value?: Value
  }[]
  readonly deleted: readonly string[]
}

/** What a function is given. */
export interface Meeting {
  /** By key: the value as a plain read shows it, null where there is none. */
  readonly entries: { readonly [key: string]: Value }
  readonly changes: readonly [MeetingChange, MeetingChange]
}

/** The functions that a node has. */
export interface CustomFunctions {
  has(name: string, version: number): boolean
  /** Throws where it gives no answer. */
  run(name: string, version: number, meeting: Meeting): boolean
}

export const custom: RuleKind = {
  name: 'custom',
  version: 1,
  says: "a function of the owner's own found two changes that cannot both stand",
  severity: 'medium',
  safe: 'keep-both',
  decides: 'agent',
  advice: 'See what the rule is for; its name says which function found this.',
  looksAtValues: true,
  settings: ['function', 'functionVersion', 'keys'],
  check: (settings) => {
    textIn(settings, 'function', true)
    const { functionVersion, keys } = settings
    if (!Number.isSafeInteger(functionVersion) || (functionVersion as number) < 1) {
      throw wrong('functionVersion', 'a whole number from 1 on')
    }
    if (keys !== undefined) textsIn(keys, 'keys', 1)
  },
  touches: (deed, { prefix, settings }) => {
    const keys = settings['keys'] as readonly string[] | undefined
    const isIn = (key: string): boolean => (keys === undefined ? key.startsWith(prefix) : keys.includes(key))
    const bucket = (key: string): string => (keys === undefined ? key : '')
    const touches = [
      ...[...deed.puts, ...deed.drops].filter(({ key }) => isIn(key)).map((write) => touchOf(write, bucket(write.key))),
      ...deed.deletions.filter(({ key }) => isIn(key)).map(({ key, type }) => deletionOf(key, type, bucket(key))),
    ]
    // One of them speaks for all that the delta did to the same thing.
    const spoken = new Set<string>()
    return touches.map((touch): Touch => {
      if (spoken.has(touch.bucket)) return touch
      spoken.add(touch.bucket)
      return { ...touch, note: changeOf(deed, (key) => isIn(key) && bucket(key) === touch.bucket) }
    })
  },
  judge: (a, b, rule, values) => {
    if (a.touch.note === undefined || b.touch.note === undefined) return undefined
    const keys = (rule.settings['keys'] as readonly string[] | undefined) ?? [a.touch.key]
    return values.custom?.(rule, () => meetingOf(a, b, keys, values)) === true ? { subject: keys } : undefined
  },
}

/** Which function a rule wants. */
export function functionOf({ settings }: Rule): readonly [name: string, version: number] {
  return [settings['function'] as string, settings['functionVersion'] as number]
}

/** Null where it is too much to be kept. */
function changeOf({ puts, drops, deletions }: Deed, isIn: (key: string) => boolean): Value {
  const writes = [...puts, ...drops]
    .filter(({ key }) => isIn(key))
    .map(({ key, type, path, value }): Value => {
      const held = value && valueIn(value)
      return { key, type: typeOf(type)?.name ?? '', path: pathIn(path), ...(held !== undefined && { value: held }) }
    })
  const change = { writes, deleted: deletions.map(({ key }) => key).filter(isIn) }
  return isGivable(change, limits.customBytes / 4) ? change : null
}

/** Is it no more than a function is given, and not nested so deep that there is no form for it? */
export function isGivable(value: Value | Meeting, mostBytes: number = limits.customBytes): boolean {
  try {
    return encodeValue(value).length <= mostBytes
  } catch {
    return false
  }
}

function pathIn(path: Path): Value {
  try {
    return path === rootPath ? null : pathValue(path)
  } catch {
    return null
  }
}

/** Undefined where it is more than a function is given. */
function meetingOf(a: Met, b: Met, keys: readonly string[], values: Values): Meeting | undefined {
  const [older, newer] = isOlder(a, b) ? [a, b] : [b, a]
  if (older.touch.note === null || newer.touch.note === null) return undefined
  const entries: Record<string, Value> = {}
  for (const key of keys) {
    const entry = values.entry(key)
    const type = typeOf(entry.types().at(-1) ?? 0)
    entries[key] = type === undefined ? null : ((type.read(entry.cells(type.id)).value ?? null) as Value)
  }
  return { entries, changes: [sideOf(older), sideOf(newer)] }
}

function sideOf({ agent, time, touch: { note } }: Met): MeetingChange {
  return { agent, at: timeToMs(time), ...(note as unknown as Pick<MeetingChange, 'writes' | 'deleted'>) }
}
