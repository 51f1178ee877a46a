/**
 * A field that goes from state to state was moved to two states at once, and no legal step leads from the one that is not
 * shown to the one that is: both steps were legal alone, the merge is not.
 */
import { isObject, putsOfField, touchOf } from '../deed.ts'
import { compareDots } from '../../crdt/dot.ts'
import type { Value } from '../../base/value.ts'
import type { Met, RuleKind } from '../rule.ts'
import { textOf } from './exclusive.ts'
import { verdictOn } from './field.ts'
import { textIn, textsIn, wrong } from './settings.ts'

export const transition: RuleKind = {
  name: 'transition',
  version: 1,
  says: 'two steps of a state machine that were legal alone do not follow one another',
  severity: 'high',
  safe: 'hold',
  decides: 'agent',
  advice: 'Find out which state is true, and write it.',
  settings: ['field', 'steps'],
  check: (settings) => {
    textIn(settings, 'field', false)
    const { steps } = settings
    if (!isObject(steps)) throw wrong('steps', 'an object from each state to the states that may follow')
    for (const next of Object.values(steps)) textsIn(next, 'steps', 0)
  },
  touches: (deed, { prefix, settings }) =>
    putsOfField(deed, prefix, settings['field'] as string | undefined).map((put) => touchOf(put, put.key)),
  judge: (a, b, { settings }) => {
    const [older, newer] = isOlder(a, b) ? [a, b] : [b, a]
    const from = textOf(older)
    const to = textOf(newer)
    if (from === undefined || to === undefined || from === to) return undefined
    const steps = settings['steps'] as { readonly [state: string]: Value }
    const next = Object.hasOwn(steps, from) ? (steps[from] as readonly string[]) : []
    return next.includes(to) ? undefined : verdictOn(a)
  },
}

/** As a plain read orders them. */
export function isOlder(a: Met, b: Met): boolean {
  return a.time === b.time ? compareDots(a, b) < 0 : a.time < b.time
}
