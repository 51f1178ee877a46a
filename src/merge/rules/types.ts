/** Two entries of different types were made under one key. */
import { touchOf } from '../deed.ts'
import type { RuleKind } from '../rule.ts'

export const typesUnderOneKey: RuleKind = {
  name: 'types',
  version: 1,
  says: 'one key was given two types',
  severity: 'medium',
  safe: 'keep-both',
  decides: 'agent',
  advice: 'Move one of the two to another key; an untyped read shows the newest.',
  settings: [],
  check: () => undefined,
  touches: ({ puts }, { prefix }) =>
    puts.filter(({ key }) => key.startsWith(prefix)).map((put) => touchOf(put, put.key)),
  judge: ({ touch: a }, { touch: b }) => (a.type === b.type ? undefined : { subject: [a.key] }),
}
