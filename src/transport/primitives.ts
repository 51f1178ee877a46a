/** The primitives of the handshake, and the seals of messages, by node:crypto (OpenSSL). Keys and signatures are raw bytes. */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
  verify,
} from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { assert } from '../base/assert.ts'
import { fromHex } from '../base/bytes.ts'
import type { KeyPair, Primitives } from './handshake.ts'

/** RFC 8410: what stands before the 32 bytes of a key in DER. */
const derBefore = {
  x25519Private: fromHex('302e020100300506032b656e04220420'),
  x25519: fromHex('302a300506032b656e032100'),
  ed25519: fromHex('302a300506032b6570032100'),
} as const

function privateKeyOf(raw: Uint8Array): KeyObject {
  assert(raw.length === 32, 'a private key has 32 bytes')
  return createPrivateKey({ key: Buffer.concat([derBefore.x25519Private, raw]), format: 'der', type: 'pkcs8' })
}

function publicKeyOf(kind: 'x25519' | 'ed25519', raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([derBefore[kind], raw]), format: 'der', type: 'spki' })
}

const algorithm = 'aes-256-gcm'
const sealTagBytes = 16

export const primitives: Primitives = {
  sha256: (bytes) => createHash('sha256').update(bytes).digest(),
  hmac: (key, bytes) => createHmac('sha256', key).update(bytes).digest(),
  derive: (secret, salt, info) => new Uint8Array(hkdfSync('sha256', secret, salt, info, 32)),
  agree(privateKey, publicKey) {
    try {
      const shared = diffieHellman({
        privateKey: privateKeyOf(privateKey),
        publicKey: publicKeyOf('x25519', publicKey),
      })
      return shared.some((byte) => byte !== 0) ? shared : undefined
    } catch {
      // OpenSSL refuses a public key of low order.
      return undefined
    }
  },
  verify(publicKey, bytes, signature) {
    try {
      return verify(null, bytes, publicKeyOf('ed25519', publicKey), signature)
    } catch {
      return false
    }
  },
  box(key, bytes, associated) {
    const cipher = createCipheriv(algorithm, key, new Uint8Array(12), { authTagLength: sealTagBytes })
    cipher.setAAD(associated)
    return Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
  },
  unbox(key, box, associated) {
    if (box.length < sealTagBytes) return undefined
    const decipher = createDecipheriv(algorithm, key, new Uint8Array(12), { authTagLength: sealTagBytes })
    decipher.setAAD(associated)
    decipher.setAuthTag(box.subarray(box.length - sealTagBytes))
    try {
      return Buffer.concat([decipher.update(box.subarray(0, box.length - sealTagBytes)), decipher.final()])
    } catch {
      return undefined
    }
  },
  equal: (a, b) => a.length === b.length && timingSafeEqual(a, b),
}

export function keyPairOf(privateKey: Uint8Array): KeyPair {
  const der = createPublicKey(privateKeyOf(privateKey)).export({ format: 'der', type: 'spki' })
  return { privateKey, publicKey: new Uint8Array(der.subarray(-32)) }
}

export function freshKeyPair(): KeyPair {
  return keyPairOf(new Uint8Array(randomBytes(32)))
}

/** Bytes that a seal adds to a message. */
export const sealBytes: number = sealTagBytes

/**
 * Messages of one connection without TLS: encrypted, and each tied to its direction and place, so that none can be forged,
 * changed, left out, played again or put elsewhere. AES-256-GCM, whose nonce is the number of the message.
 */
export interface Seals {
  seal(bytes: Uint8Array): Uint8Array
  /** Undefined: it is not what the other end sealed next. */
  open(sealed: Uint8Array): Uint8Array | undefined
}

export function sealsOf(sendKey: Uint8Array, receiveKey: Uint8Array): Seals {
  const sending = { key: createSecretKey(sendKey), nonce: Buffer.alloc(12), count: 0 }
  const receiving = { key: createSecretKey(receiveKey), nonce: Buffer.alloc(12), count: 0 }
  return {
    seal(bytes) {
      const cipher = createCipheriv(algorithm, sending.key, next(sending), { authTagLength: sealTagBytes })
      const sealed = new Uint8Array(bytes.length + sealTagBytes)
      sealed.set(cipher.update(bytes))
      cipher.final()
      sealed.set(cipher.getAuthTag(), bytes.length)
      return sealed
    },
    open(sealed) {
      const length = sealed.length - sealTagBytes
      if (length < 0) return undefined
      const decipher = createDecipheriv(algorithm, receiving.key, next(receiving), { authTagLength: sealTagBytes })
      decipher.setAuthTag(sealed.subarray(length))
      const plain = decipher.update(sealed.subarray(0, length))
      try {
        decipher.final()
      } catch {
        return undefined
      }
      return plain
    },
  }
}

/** At a million messages a second the count lasts for 285 years. */
function next(direction: { readonly nonce: Buffer; count: number }): Buffer {
  const { nonce, count } = direction
  assert(Number.isSafeInteger(count), 'a connection has sent 2^53 messages')
  nonce.writeUInt32BE(Math.floor(count / 2 ** 32), 4)
  nonce.writeUInt32BE(count >>> 0, 8)
  direction.count = count + 1
  return nonce
}
