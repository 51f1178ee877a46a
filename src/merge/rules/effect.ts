/**
 * An effect on the world outside happened twice: two receipts under one idempotency key, written without knowing of one
 * another, and not of one and the same thing outside.
 */
import { equalBytes } from '../../base/bytes.ts'
import { encodeValue } from '../../base/msgpack.ts'
import type { Value } from '../../base/value.ts'
import { bucketOf, nestable, rowsOf } from '../deed.ts'
import type { Met, RuleKind } from '../rule.ts'
import { digestOf } from '../system.ts'
import { textIn } from './settings.ts'

export const effect: RuleKind = {
  name: 'effect',
  version: 1,
  says: 'two receipts stand under one idempotency key',
  severity: 'critical',
  safe: 'hold',
  decides: 'person',
  advice: 'Ask the provider what really happened; do not try again, and compensate one of the two if both did.',
  actsOutside: true,
  settings: ['receipt', 'key'],
  check: (settings) => {
    textIn(settings, 'receipt', true)
    textIn(settings, 'key', false)
  },
  touches: (deed, { prefix, settings }) => {
    const receipt = settings['receipt'] as string
    const named = settings['key'] as string | undefined
    return rowsOf(deed, prefix).flatMap(({ key, type, path, value, fields }) => {
      const proof = fields.get(receipt)
      const given = named === undefined ? key : fields.get(named)
      if (proof === undefined || proof === null || given === undefined) return []
      const idempotencyKey = nestable(given)
      const bucket = bucketOf(digestOf([idempotencyKey]))
      return [{ bucket, act: 'put' as const, key, type, path, value, over: [], note: [idempotencyKey, proof] }]
    })
  },
  judge: (a, b) => {
    const [key, proof] = noteOf(a)
    const [, other] = noteOf(b)
    return equalBytes(encodeValue(proof), encodeValue(other)) ? undefined : { subject: [key] }
  },
}

function noteOf({ touch }: Met): readonly [Value, Value] {
  return touch.note as readonly [Value, Value]
}
