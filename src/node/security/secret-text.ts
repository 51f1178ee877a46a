/**
 * Secrets as text: what they are, 32 bytes and a checksum in base64url, so that one that was cut, changed or mistaken for
 * another kind is found before it is used, and a scanner of leaked secrets finds it by its start.
 */
import { createHash } from 'node:crypto'
import { equalBytes } from '../../base/bytes.ts'

export const secretBytes = 32
const checkBytes = 4

function checkOf(start: string, secret: Uint8Array): Uint8Array {
  return createHash('sha256').update(start).update(secret).digest().subarray(0, checkBytes)
}

export function secretText(start: string, secret: Uint8Array): string {
  return start + Buffer.concat([secret, checkOf(start, secret)]).toString('base64url')
}

/** The 32 bytes, or what is wrong with the text. It never repeats the text. */
export function parseSecretText(start: string, text: string): Uint8Array | string {
  const plain = text.trim()
  if (!plain.startsWith(start)) return `it does not start with ${start}`
  const digits = plain.slice(start.length)
  const length = Math.ceil(((secretBytes + checkBytes) * 4) / 3)
  if (!/^[\w-]*$/.test(digits) || digits.length !== length) return `${length} letters, digits, - and _ follow ${start}`
  const bytes = new Uint8Array(Buffer.from(digits, 'base64url'))
  const secret = bytes.slice(0, secretBytes)
  return equalBytes(bytes.subarray(secretBytes), checkOf(start, secret)) ? secret : 'its checksum is wrong'
}
