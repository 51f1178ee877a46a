/** One deleted what another, not knowing of it, wrote to: an entry, or a field of a record. */
import { record } from '../../crdt/types/record.ts'
import { register } from '../../crdt/types/register.ts'
import { deletionOf, namesIn, touchOf } from '../deed.ts'
import type { Met, RuleKind, Verdict } from '../rule.ts'
import { verdictOn } from './field.ts'

export const deletion: RuleKind = {
  name: 'delete',
  version: 1,
  says: 'one writer deleted what another updated at the same time',
  severity: 'medium',
  safe: 'keep-both',
  decides: 'agent',
  advice: 'Say whether it is to be gone; until then the update is shown.',
  settings: [],
  check: () => undefined,
  touches: ({ puts, drops, deletions }, { prefix }) => [
    ...puts.filter(({ key }) => key.startsWith(prefix)).map((put) => touchOf(put, put.key)),
    ...drops
      .filter(({ key, type }) => key.startsWith(prefix) && hasFields(type))
      .map((drop) => touchOf(drop, drop.key)),
    ...deletions.filter(({ key }) => key.startsWith(prefix)).map(({ key, type }) => deletionOf(key, type, key)),
  ],
  judge: (a, b) => verdict(a, b) ?? verdict(b, a),
}

/** What is removed from a set or a list is meant to give way to what is added. */
function hasFields(type: number): boolean {
  return type === record.id || type === register.id
}

function verdict(gone: Met, written: Met): Verdict | undefined {
  const { touch: a } = gone
  const { touch: b } = written
  if (b.act !== 'put' || a.act === 'put') return undefined
  if (a.act === 'delete') {
    if (a.type !== 0 && a.type !== b.type) return undefined
    return { subject: [a.key], target: { key: a.key, type: b.type } }
  }
  if (a.type !== b.type) return undefined
  if (a.path === b.path) return verdictOn(gone)
  const above = namesIn(a.path)
  const below = namesIn(b.path)
  if (above.length === 0 || above.length >= below.length) return undefined
  return above.every((name, at) => name === below[at]) ? verdictOn(gone) : undefined
}
