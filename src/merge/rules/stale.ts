/**
 * A write says which versions of other entries it was based on, and one of those changed without its writer knowing. The
 * record has a field with a field for each entry that was read: `{ basedOn: { 'plan-1': version } }`.
 */
import { record } from '../../crdt/types/record.ts'
import { deletionOf, namesIn, touchOf } from '../deed.ts'
import type { Met, RuleKind, Verdict } from '../rule.ts'
import { textIn } from './settings.ts'

export const stale: RuleKind = {
  name: 'stale',
  version: 1,
  says: 'what a write was based on changed at the same time',
  severity: 'medium',
  safe: 'keep-both',
  decides: 'agent',
  advice: 'Look whether the decision would be the same with what is known now, and make it again if not.',
  settings: ['field'],
  check: (settings) => {
    textIn(settings, 'field', true)
  },
  touches: ({ puts, drops, deletions }, { prefix, settings }) => {
    const changes = [
      ...[...puts, ...drops].map((write) => touchOf(write, write.key)),
      ...deletions.map(({ key, type }) => deletionOf(key, type, key)),
    ]
    for (const put of puts) {
      if (put.type !== record.id || !put.key.startsWith(prefix)) continue
      const [name, read, ...deeper] = namesIn(put.path)
      if (name !== settings['field'] || read === undefined || deeper.length > 0) continue
      changes.push({ ...touchOf(put, read), note: 'based on' })
    }
    return changes
  },
  judge: (a, b) => verdict(a, b) ?? verdict(b, a),
}

function verdict({ touch: based }: Met, { touch: change }: Met): Verdict | undefined {
  if (based.note === undefined || change.note !== undefined) return undefined
  return { subject: [based.key, based.bucket] }
}
