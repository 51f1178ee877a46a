/** X.509 certificates for tests (RFC 5280), made and signed here: just enough DER for an authority and for a host on loopback. */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

export interface Certified {
  readonly cert: string
  readonly key: string
}

export interface Authority extends Certified {
  readonly name: string
  readonly privateKey: KeyObject
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  const { length } = body
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >>> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), body])
}

const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts)
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'))
const ed25519 = sequence(oid('2b6570'))
const commonName = (name: string): Buffer => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(name)))))
const moment = (text: string): Buffer => der(0x17, Buffer.from(text))
const truth = der(0x01, Buffer.from([0xff]))

function certify(name: string, issuer: Authority | undefined, extensions: readonly Buffer[]): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ed25519,
    commonName(issuer?.name ?? name),
    sequence(moment('200101000000Z'), moment('491231235959Z')),
    commonName(name),
    publicKey.export({ format: 'der', type: 'spki' }),
    der(0xa3, sequence(...extensions)),
  )
  const signature = sign(null, body, issuer?.privateKey ?? privateKey)
  const whole = sequence(body, ed25519, der(0x03, Buffer.from([0]), signature))
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? []
  return {
    name,
    privateKey,
    cert: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
  }
}

/** Authorities that are told apart by their names. */
export function authority(name: string): Authority {
  return certify(name, undefined, [sequence(oid('551d13'), truth, der(0x04, sequence(truth)))])
}

/** Good for 127.0.0.1 and localhost. */
export function certificateOf(issuer: Authority, name: string): Certified {
  const names = sequence(der(0x82, Buffer.from('localhost')), der(0x87, Buffer.from([127, 0, 0, 1])))
  return certify(name, issuer, [sequence(oid('551d11'), der(0x04, names))])
}
