/** A field was given two values that exclude one another: done here, cancelled there. */
import type { Value } from '../../base/value.ts'
import { putsOfField, touchOf, valueIn } from '../deed.ts'
import type { Met, RuleKind } from '../rule.ts'
import { verdictOn } from './field.ts'
import { textIn, textsIn, wrong } from './settings.ts'

export const exclusive: RuleKind = {
  name: 'exclusive',
  version: 1,
  says: 'one field was given two values that exclude one another',
  severity: 'high',
  safe: 'hold',
  decides: 'agent',
  advice: 'Find out which of the two really happened, and write that.',
  settings: ['field', 'values'],
  check: (settings) => {
    textIn(settings, 'field', false)
    const { values } = settings
    if (!Array.isArray(values) || values.length === 0) throw wrong('values', 'an array of groups of values')
    for (const group of values as readonly Value[]) textsIn(group, 'values', 2)
  },
  touches: (deed, { prefix, settings }) =>
    putsOfField(deed, prefix, settings['field'] as string | undefined).map((put) => touchOf(put, put.key)),
  judge: (a, b, { settings }) => {
    const one = textOf(a)
    const other = textOf(b)
    if (one === undefined || other === undefined || one === other) return undefined
    const groups = settings['values'] as readonly (readonly string[])[]
    return groups.some((group) => group.includes(one) && group.includes(other)) ? verdictOn(a) : undefined
  },
}

export function textOf({ touch: { value } }: Met): string | undefined {
  const held = value && valueIn(value)
  return typeof held === 'string' ? held : undefined
}
