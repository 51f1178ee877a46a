/**
 * Two writers left a record that breaks its schema, though what each of them wrote was right alone: one set it to done, the
 * other took the receipt away; one deleted it while the other filled in a field. A single field is always as somebody wrote
 * it, so what merging can break is what must hold of several.
 *
 * It judges what the two deltas say of the fields, and calls them a conflict only where the schema is broken whatever the
 * other fields hold. So it comes to the same everywhere; and what takes three writers to break is not found.
 */
import type { Value } from '../../base/value.ts'
import { record } from '../../crdt/types/record.ts'
import { deletionOf, namesIn, touchOf, valueIn } from '../deed.ts'
import type { Met, RuleKind, Settings, Touch } from '../rule.ts'
import { isSystemKey } from '../system.ts'
import { checkShape, fitsShape } from '../shape.ts'
import type { Known } from '../shape.ts'
import { isOlder } from './transition.ts'

/** What a delta says of one record. */
interface Note {
  /** Fields with their value; without one where it took them away, with two where theirs is too long to be kept. */
  readonly fields: { readonly [name: string]: readonly Value[] }
  /** It deleted the record, and what it does not give is gone. */
  readonly cleared: boolean
  /** It gave some field, named by the schema or not: there is a record. */
  readonly gives: boolean
}

interface Gathered {
  readonly touches: Touch[]
  readonly fields: Record<string, readonly Value[]>
  gives: boolean
}

/** Longer values are not kept to be compared; of such a field nothing is known. */
const mostBytes = 4096
const tooLong: readonly Value[] = [null, null]

export const schema: RuleKind = {
  name: 'schema',
  version: 1,
  says: 'two writes that were right alone left a record that breaks its schema',
  severity: 'high',
  safe: 'keep-both',
  decides: 'agent',
  advice: 'Write the fields so that they fit together, or take one of the two back.',
  settings: ['schema'],
  check: ({ schema: shape }) => {
    checkShape(shape)
  },
  touches: ({ delta, puts, drops }, { prefix, settings }) => {
    const names = namesOf(settings)
    const byKey = new Map<string, Gathered>()
    const at = (key: string): Gathered => {
      let known = byKey.get(key)
      if (known === undefined) byKey.set(key, (known = { touches: [], fields: {}, gives: false }))
      return known
    }
    for (const put of puts) {
      if (put.type !== record.id || !put.key.startsWith(prefix)) continue
      const gathered = at(put.key)
      gathered.gives = true
      gathered.touches.push(touchOf(put, put.key))
      const name = namesIn(put.path).join('.')
      if (names.has(name)) gathered.fields[name] = heldIn(put.value)
    }
    for (const drop of drops) {
      const name = namesIn(drop.path).join('.')
      if (drop.type !== record.id || !drop.key.startsWith(prefix) || !names.has(name)) continue
      const gathered = at(drop.key)
      gathered.touches.push(touchOf(drop, drop.key))
      gathered.fields[name] = []
    }
    const cleared = new Set<string>()
    for (const { key, type } of delta.clears) {
      if ((type !== 0 && type !== record.id) || !key.startsWith(prefix) || isSystemKey(key)) continue
      cleared.add(key)
      if (!byKey.has(key)) at(key).touches.push(deletionOf(key, type, key))
    }
    return Array.from(byKey, ([key, { touches, fields, gives }]) => {
      const [first, ...others] = touches
      return [{ ...(first as Touch), note: { fields, gives, cleared: cleared.has(key) } }, ...others]
    }).flat()
  },
  judge: (a, b, { settings }) => {
    const [one, other] = [noteOf(a), noteOf(b)]
    if (one === undefined || other === undefined) return undefined
    // Where nobody gives anything there is no record that could be broken.
    if (!one.gives && !other.gives) return undefined
    const shape = settings['schema'] as Value
    const together = isOlder(a, b) ? [other, one] : [one, other]
    if (fitsShape(shape, (name) => knownOf(together, name)) !== false) return undefined
    for (const alone of [one, other]) {
      if (alone.gives && fitsShape(shape, (name) => knownOf([alone], name)) === false) return undefined
    }
    return { subject: [a.touch.key] }
  },
}

const namesBySettings = new WeakMap<Settings, ReadonlySet<string>>()

function namesOf(settings: Settings): ReadonlySet<string> {
  let names = namesBySettings.get(settings)
  if (names === undefined) namesBySettings.set(settings, (names = new Set(checkShape(settings['schema']))))
  return names
}

function heldIn(bytes: Uint8Array): readonly Value[] {
  const value = bytes.length > mostBytes ? undefined : valueIn(bytes)
  return value === undefined ? tooLong : [value]
}

function noteOf({ touch: { note } }: Met): Note | undefined {
  return note as Note | undefined
}

/** What these leave of a field, the newest of them first: what somebody gave stands against what another took away. */
function knownOf(notes: readonly Note[], name: string): Known {
  let isGone = false
  for (const { fields, cleared } of notes) {
    const held = Object.hasOwn(fields, name) ? fields[name] : undefined
    if (held === undefined ? cleared : held.length === 0) isGone = true
    else if (held !== undefined) return held.length > 1 ? undefined : { value: held[0] as Value }
  }
  return isGone ? 'gone' : undefined
}
