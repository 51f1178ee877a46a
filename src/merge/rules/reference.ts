/** A parent was deleted while a child was put under it. */
import { deletionOf, rowsOf } from '../deed.ts'
import type { Met, RuleKind, Verdict } from '../rule.ts'
import { textIn, wrong } from './settings.ts'

export const reference: RuleKind = {
  name: 'reference',
  version: 1,
  says: 'an entry refers to one that was deleted at the same time',
  severity: 'high',
  safe: 'keep-both',
  decides: 'agent',
  advice: 'Bring the parent back, put the child elsewhere, or delete it too.',
  settings: ['field', 'to'],
  check: (settings) => {
    textIn(settings, 'field', true)
    const { to } = settings
    if (typeof to !== 'string') throw wrong('to', 'the prefix of the keys that are referred to')
  },
  touches: (deed, { prefix, settings }) => {
    const to = settings['to'] as string
    const field = settings['field'] as string
    const children = rowsOf(deed, prefix).flatMap(({ key, type, path, value, fields }) => {
      const parent = fields.get(field)
      if (typeof parent !== 'string') return []
      return [{ bucket: to + parent, act: 'put' as const, key, type, path, value, over: [] }]
    })
    const deleted = deed.deletions
      .filter(({ key }) => key.startsWith(to))
      .map(({ key, type }) => deletionOf(key, type, key))
    return [...children, ...deleted]
  },
  judge: (a, b) => verdict(a, b) ?? verdict(b, a),
}

function verdict({ touch: gone }: Met, { touch: child }: Met): Verdict | undefined {
  return gone.act === 'delete' && child.act === 'put' ? { subject: [gone.key, child.key] } : undefined
}
