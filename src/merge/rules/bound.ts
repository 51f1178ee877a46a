/**
 * A sum is out of its bounds, and concurrent changes brought it there: each writer saw it within them. It looks at current
 * values, so it finds what a replica has really shown; a writer who goes over the bound knowingly is no conflict.
 */
import type { Value } from '../../base/value.ts'
import { rootPath } from '../../crdt/cell.ts'
import { counter } from '../../crdt/types/counter.ts'
import { record } from '../../crdt/types/record.ts'
import { register } from '../../crdt/types/register.ts'
import { deletionOf, isObject, namesIn, touchOf } from '../deed.ts'
import type { Put } from '../deed.ts'
import type { Rule, RuleKind, Values } from '../rule.ts'
import { numberIn, textIn, textsIn, wrong } from './settings.ts'

export const bound: RuleKind = {
  name: 'bound',
  version: 1,
  says: 'concurrent changes together brought a sum out of its bounds',
  severity: 'high',
  safe: 'hold',
  decides: 'agent',
  advice: 'Take one of the changes back, or raise the bound; each was within it alone.',
  looksAtValues: true,
  settings: ['keys', 'field', 'min', 'max'],
  check: (settings) => {
    if (settings['keys'] !== undefined) textsIn(settings['keys'], 'keys', 1)
    textIn(settings, 'field', false)
    if (numberIn(settings, 'min') === undefined && numberIn(settings, 'max') === undefined) {
      throw wrong('min or max', 'given')
    }
  },
  touches: ({ puts, drops, deletions }, rule) => {
    const { prefix, settings } = rule
    const keys = settings['keys'] as readonly string[] | undefined
    const isIn = (key: string): boolean => (keys === undefined ? key.startsWith(prefix) : keys.includes(key))
    // Without a list each entry has its own sum.
    const bucket = (key: string): string => (keys === undefined ? key : '')
    return [
      ...[...puts, ...drops]
        .filter((write) => isIn(write.key) && isCounted(write, settings['field'] as string | undefined))
        .map((write) => touchOf(write, bucket(write.key))),
      ...deletions.filter(({ key }) => isIn(key)).map(({ key, type }) => deletionOf(key, type, bucket(key))),
    ]
  },
  judge: ({ touch: { key } }, _, rule, values) => {
    const keys = rule.settings['keys'] as readonly string[] | undefined
    const sum = sumOf(keys ?? [key], rule, values)
    const { min, max } = rule.settings as { readonly min?: number; readonly max?: number }
    if ((min === undefined || sum >= min) && (max === undefined || sum <= max)) return undefined
    return { subject: keys ?? [key] }
  },
}

function isCounted({ type, path }: Pick<Put, 'type' | 'path'>, field: string | undefined): boolean {
  if (field === undefined) return type === counter.id || type === register.id
  if (type === register.id) return path === rootPath
  const names = type === record.id ? namesIn(path) : []
  return names.length === 1 && names[0] === field
}

function sumOf(keys: readonly string[], { settings }: Rule, values: Values): number {
  const field = settings['field'] as string | undefined
  let sum = 0
  for (const key of keys) {
    const entry = values.entry(key)
    const types = entry.types()
    if (field === undefined && types.includes(counter.id)) {
      sum += counter.read(entry.cells(counter.id)).value as number
      continue
    }
    const type = types.includes(record.id) ? record : register
    const held = type.read(entry.cells(type.id)).value as Value | undefined
    const value = field === undefined ? held : isObject(held) ? held[field] : undefined
    if (typeof value === 'number') sum += value
  }
  return sum
}
