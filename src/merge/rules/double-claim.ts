/** Two agents hold one claim: each acquired it on its side of a partition. */
import { rootPath } from '../../crdt/cell.ts'
import { claim } from '../../crdt/types/claim.ts'
import { isObject, touchOf, valueIn } from '../deed.ts'
import type { Met, RuleKind } from '../rule.ts'

export const doubleClaim: RuleKind = {
  name: 'claim',
  version: 1,
  says: 'two agents hold one claim',
  severity: 'high',
  safe: 'keep-first',
  decides: 'agent',
  advice: 'Say whose work counts; the other stops, and what it has done is looked through before it is thrown away.',
  actsOutside: true,
  settings: [],
  check: () => undefined,
  touches: ({ puts }, { prefix }) =>
    puts
      .filter(({ key, type, path }) => type === claim.id && path === rootPath && key.startsWith(prefix))
      .map((put) => touchOf(put, put.key)),
  judge: (a, b) => {
    const one = ownerOf(a)
    const other = ownerOf(b)
    if (one === undefined || other === undefined || one === other) return undefined
    const { key } = a.touch
    return { subject: [key], target: { key, type: claim.id, path: rootPath } }
  },
}

/** Undefined for a release. */
function ownerOf({ touch: { value } }: Met): string | undefined {
  const tenure = value && valueIn(value)
  const owner = isObject(tenure) ? tenure['owner'] : undefined
  return typeof owner === 'string' ? owner : undefined
}
