/** Two writers gave one field different values, neither having seen the other's. */
import { equalBytes } from '../../base/bytes.ts'
import type { Value } from '../../base/value.ts'
import { rootPath } from '../../crdt/cell.ts'
import { record } from '../../crdt/types/record.ts'
import { register } from '../../crdt/types/register.ts'
import { bucketOf, namesIn, touchOf } from '../deed.ts'
import type { Met, RuleKind, Verdict } from '../rule.ts'
import { textsIn } from './settings.ts'

export const field: RuleKind = {
  name: 'field',
  version: 1,
  says: 'two concurrent writes gave one field different values',
  severity: 'medium',
  safe: 'keep-last',
  decides: 'agent',
  advice: 'Pick the value that is right, or write a merged one; the newer is shown meanwhile.',
  settings: ['fields'],
  check: ({ fields }) => {
    if (fields !== undefined) textsIn(fields, 'fields', 1)
  },
  touches: ({ puts }, { prefix, settings }) => {
    const fields = settings['fields'] as readonly string[] | undefined
    return puts.flatMap((put) => {
      if (!put.key.startsWith(prefix)) return []
      if (put.type === register.id) {
        return fields === undefined && put.path === rootPath ? [touchOf(put, bucketOf(put.key))] : []
      }
      const [name] = put.type === record.id ? namesIn(put.path) : []
      if (name === undefined || fields?.includes(name) === false) return []
      return [touchOf(put, bucketOf(put.key, name))]
    })
  },
  judge: (a, b) => {
    const { touch: one } = a
    const { touch: other } = b
    if (one.type !== other.type) return undefined
    if (one.path === other.path) return sameValue(a, b) ? undefined : verdictOn(a)
    // A scalar beside what stands below it: one of the two is not shown.
    const [upper, lower] = namesIn(one.path).length < namesIn(other.path).length ? [a, b] : [b, a]
    const above = namesIn(upper.touch.path)
    const below = namesIn(lower.touch.path)
    if (above.length === below.length || !above.every((name, at) => name === below[at])) return undefined
    return isEmptyObject(upper) ? undefined : verdictOn(upper)
  },
}

export function sameValue({ touch: a }: Met, { touch: b }: Met): boolean {
  return a.value !== undefined && b.value !== undefined && equalBytes(a.value, b.value)
}

/** `{}` says that an object stands here, and so do its fields. */
function isEmptyObject({ touch: { value } }: Met): boolean {
  return value?.length === 1 && value[0] === 0x80
}

/** The subject is a field, and a decision writes it. */
export function verdictOn({ touch: { key, type, path } }: Met): Verdict {
  const names: Value = type === record.id ? namesIn(path) : []
  return { subject: [key, type, names], target: { key, type, path } }
}
