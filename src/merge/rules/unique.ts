/** Two entries were given one value that only one may have: an external id, a name. */
import type { Value } from '../../base/value.ts'
import { nestable, rowsOf } from '../deed.ts'
import type { RuleKind } from '../rule.ts'
import { digestOf } from '../system.ts'
import { textIn } from './settings.ts'

export const unique: RuleKind = {
  name: 'unique',
  version: 1,
  says: 'two entries have one value that only one may have',
  severity: 'high',
  safe: 'keep-both',
  decides: 'agent',
  advice: 'Merge the two entries if they mean one thing, else give one of them another value.',
  settings: ['field'],
  check: (settings) => {
    textIn(settings, 'field', true)
  },
  touches: (deed, { prefix, settings }) =>
    rowsOf(deed, prefix).flatMap(({ key, type, path, value, fields }) => {
      const held = fields.get(settings['field'] as string)
      if (held === undefined || held === null) return []
      const note = nestable(held)
      return [{ bucket: digestOf([note]), act: 'put' as const, key, type, path, value, over: [], note }]
    }),
  judge: (a, b) => (a.touch.key === b.touch.key ? undefined : { subject: [a.touch.note as Value] }),
}
