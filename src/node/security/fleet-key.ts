/** Fleet keys: 32 random bytes that every node of a fleet knows and nobody else. */
import { createHash, randomBytes } from 'node:crypto'
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { parseSecretText, secretBytes, secretText } from './secret-text.ts'

/** "Skein fleet key, form 1". */
const start = 'skf1_'

export function newFleetKey(): string {
  return secretText(start, randomBytes(secretBytes))
}

/** Throws `fleet_key_invalid`. The error does not repeat the key. */
export function parseFleetKey(text: string): Uint8Array {
  const key = parseSecretText(start, text)
  if (typeof key === 'string') throw new SkeinError('fleet_key_invalid', `this is no fleet key: ${key}`)
  return key
}

/** The keys that a node accepts at once, the one that it likes best first. */
export function parseFleetKeys(texts: readonly string[]): readonly Uint8Array[] {
  if (texts.length > limits.fleetKeys) {
    throw new SkeinError(
      'invalid_argument',
      `${texts.length} fleet keys are given; at most ${limits.fleetKeys} are taken`,
    )
  }
  return texts.map(parseFleetKey)
}

/** Which key it is, for logs and people: it tells nothing of the key. */
export function fleetKeyName(key: Uint8Array): string {
  return createHash('sha256').update('skein fleet key name').update(key).digest('hex').slice(0, 8)
}
