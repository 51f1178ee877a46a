/**
 * Who is at the other end of a link: a mutual proof that both know a key of the fleet and that each owns its identity, bound to
 * this one connection. docs/PROTOCOL.md has the bytes. The shape is SIGMA-I (Krawczyk 2003): fresh Diffie-Hellman keys,
 * signatures over what was said, and identities only inside boxes that nobody but the other end can open.
 *
 *   dialler                                         listener
 *   version, its fresh key, a tag for each fleet key  ->
 *                                     <-  which tag it knew, its fresh key, box(identity, signature)
 *   box(identity, signature)          ->
 *
 * - A stranger without a fleet key gets no byte back: the first message proves one already. Played again, it buys a box that only
 *   who made the message can open.
 * - Keys of the traffic come from the fleet key *and* the fresh keys: another member cannot read or forge what two say to each
 *   other, and nobody who learns the fleet key later can read what was recorded.
 * - Signatures cover both fresh keys, the roles and the channel (what TLS exports, where there is TLS), and the keys of the traffic
 *   everything said, so that nothing can be taken out, put in or carried over to another connection.
 *
 * Several fleet keys: the dialler offers a tag for every key it has, and the listener takes the first of *its own* that one of
 * them matches. Two nodes that share any key meet at the first attempt. So a key is changed without downtime, in any order
 * within a step: give every node both, the new one first; then take the old one from every node.
 *
 * It is a machine without a socket, a clock or chance: primitives and fresh keys come in.
 */
import { toHex, utf8 } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { nodeIdOf } from './transport.ts'
import type { Identity } from './transport.ts'

export interface Primitives {
  sha256(bytes: Uint8Array): Uint8Array
  hmac(key: Uint8Array, bytes: Uint8Array): Uint8Array
  /** HKDF with SHA-256, to 32 bytes. */
  derive(secret: Uint8Array, salt: Uint8Array, info: Uint8Array): Uint8Array
  /** X25519; undefined for a public key that makes every secret the same. */
  agree(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined
  /** Ed25519. */
  verify(publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean
  /** AES-256-GCM under a key that is used once: nonce 0, and 16 bytes of tag behind. */
  box(key: Uint8Array, bytes: Uint8Array, associated: Uint8Array): Uint8Array
  unbox(key: Uint8Array, box: Uint8Array, associated: Uint8Array): Uint8Array | undefined
  /** In a time that does not tell where they differ. */
  equal(a: Uint8Array, b: Uint8Array): boolean
}

export interface KeyPair {
  readonly privateKey: Uint8Array
  readonly publicKey: Uint8Array
}

export interface HandshakeConfig {
  readonly role: 'dialler' | 'listener'
  /** 32 bytes each; the listener's first choice first. */
  readonly fleetKeys: readonly Uint8Array[]
  readonly identity: Identity
  /** Makes an X25519 key for this connection alone. Called once, and for nobody who has not proven a fleet key. */
  fresh(): KeyPair
  /** What is known at both ends of this connection and of no other; empty without TLS. */
  readonly binding: Uint8Array
  readonly primitives: Primitives
}

export type HandshakeOutput =
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  | {
      readonly kind: 'accepted'
      readonly node: string
      readonly publicKey: Uint8Array
      /** Of the fleet keys here, the one that both have. */
      readonly fleetKey: number
      readonly sendKey: Uint8Array
      readonly receiveKey: Uint8Array
    }
  /** For the log here. The other end is told nothing: its connection is closed. */
  | { readonly kind: 'refused'; readonly what: string }

const version = 1
const keyBytes = 32
const tagBytes = 16
const signatureBytes = 64
const boxBytes = keyBytes + signatureBytes + 16

const label = 'skein-link-1'

/** What a fleet key proves itself with; the key itself is used for nothing else. */
function memberKey(primitives: Primitives, fleetKey: Uint8Array): Uint8Array {
  return primitives.derive(fleetKey, utf8(label), utf8('member'))
}

function join(...parts: readonly (Uint8Array | string | number)[]): Uint8Array {
  const all = parts.map((part) =>
    typeof part === 'string' ? utf8(part) : typeof part === 'number' ? Uint8Array.of(part) : part,
  )
  const joined = new Uint8Array(all.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of all) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

type State =
  | { readonly kind: 'fresh' }
  /** The listener waits for the first message, the dialler for the second, the listener for the third. */
  | { readonly kind: 'first' }
  | { readonly kind: 'second'; readonly said: Uint8Array; readonly fresh: KeyPair }
  | { readonly kind: 'third'; readonly said: Uint8Array; readonly secret: Secret }
  | { readonly kind: 'over' }

/** What both ends have once they know each other's fresh keys and which fleet key they share. */
interface Secret {
  readonly fleetKey: number
  readonly member: Uint8Array
  readonly shared: Uint8Array
}

class Refusal extends Error {}

export class Handshake {
  readonly #config: HandshakeConfig
  readonly #members: readonly Uint8Array[]
  /** A hash of what this connection is. */
  readonly #channel: Uint8Array
  #state: State = { kind: 'fresh' }

  constructor(config: HandshakeConfig) {
    const { primitives, fleetKeys, binding } = config
    this.#config = config
    this.#members = fleetKeys.map((key) => memberKey(primitives, key))
    this.#channel = primitives.sha256(join(label, binding.length, binding))
  }

  /** Once, before anything else: what the dialler says first. */
  start(): HandshakeOutput[] {
    const { role, primitives } = this.#config
    if (role === 'listener') {
      this.#state = { kind: 'first' }
      return []
    }
    const fresh = this.#config.fresh()
    const head = join(version, this.#members.length, fresh.publicKey)
    const bytes = join(head, ...this.#members.map((member) => this.#tag(member, head)))
    this.#state = { kind: 'second', fresh, said: primitives.sha256(join(this.#channel, bytes)) }
    return [{ kind: 'send', bytes }]
  }

  handle(bytes: Uint8Array): HandshakeOutput[] {
    const state = this.#state
    // Whatever goes wrong, nothing more is said.
    this.#state = { kind: 'over' }
    try {
      switch (state.kind) {
        case 'first':
          return this.#first(bytes)
        case 'second':
          return this.#second(bytes, state.said, state.fresh)
        case 'third':
          return this.#third(bytes, state.said, state.secret)
        case 'fresh':
        case 'over':
          throw new Refusal('a message that nobody waits for')
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return [{ kind: 'refused', what: error.message }]
    }
  }

  #first(bytes: Uint8Array): HandshakeOutput[] {
    const { primitives } = this.#config
    const count = bytes[1] ?? 0
    const tagsAt = 2 + keyBytes
    if (bytes[0] !== version) throw new Refusal('another version, or no handshake')
    if (count < 1 || count > limits.fleetKeys || bytes.length !== tagsAt + count * tagBytes) {
      throw new Refusal('a first message of another form')
    }
    const head = bytes.subarray(0, tagsAt)
    const theirs = bytes.subarray(2, tagsAt)
    let known = -1
    let offer = -1
    // Each of ours is compared with each of theirs, whatever matched before: the time tells nothing. The first wins.
    for (let mine = this.#members.length - 1; mine >= 0; mine--) {
      const tag = this.#tag(this.#members[mine] as Uint8Array, head)
      for (let at = 0; at < count; at++) {
        const from = tagsAt + at * tagBytes
        if (!primitives.equal(tag, bytes.subarray(from, from + tagBytes))) continue
        known = mine
        offer = at
      }
    }
    if (known === -1) throw new Refusal('none of its fleet keys is one of ours')
    const fresh = this.#config.fresh()
    const secret = this.#secret(fresh, theirs, known)
    const said = primitives.sha256(join(this.#channel, bytes))
    const open = join(offer, fresh.publicKey)
    const before = primitives.sha256(join(said, open))
    const box = this.#proof('listener', secret, before)
    this.#state = { kind: 'third', said: primitives.sha256(join(before, box)), secret }
    return [{ kind: 'send', bytes: join(open, box) }]
  }

  #second(bytes: Uint8Array, said: Uint8Array, fresh: KeyPair): HandshakeOutput[] {
    const { primitives } = this.#config
    const openBytes = 1 + keyBytes
    const fleetKey = bytes[0] ?? 255
    if (bytes.length !== openBytes + boxBytes || fleetKey >= this.#members.length) {
      throw new Refusal('a second message of another form')
    }
    const secret = this.#secret(fresh, bytes.subarray(1, openBytes), fleetKey)
    const before = primitives.sha256(join(said, bytes.subarray(0, openBytes)))
    const box = bytes.subarray(openBytes)
    const publicKey = this.#prove('listener', secret, before, box)
    const between = primitives.sha256(join(before, box))
    const mine = this.#proof('dialler', secret, between)
    const whole = primitives.sha256(join(between, mine))
    return [{ kind: 'send', bytes: mine }, this.#accepted(publicKey, secret, whole)]
  }

  #third(bytes: Uint8Array, said: Uint8Array, secret: Secret): HandshakeOutput[] {
    if (bytes.length !== boxBytes) throw new Refusal('a third message of another form')
    const publicKey = this.#prove('dialler', secret, said, bytes)
    return [this.#accepted(publicKey, secret, this.#config.primitives.sha256(join(said, bytes)))]
  }

  #accepted(publicKey: Uint8Array, secret: Secret, whole: Uint8Array): HandshakeOutput {
    const fromDialler = this.#key(secret, 'from dialler', whole)
    const fromListener = this.#key(secret, 'from listener', whole)
    const isDialler = this.#config.role === 'dialler'
    return {
      kind: 'accepted',
      node: nodeIdOf(publicKey),
      publicKey,
      fleetKey: secret.fleetKey,
      sendKey: isDialler ? fromDialler : fromListener,
      receiveKey: isDialler ? fromListener : fromDialler,
    }
  }

  #tag(member: Uint8Array, head: Uint8Array): Uint8Array {
    return this.#config.primitives.hmac(member, join('dial', this.#channel, head)).subarray(0, tagBytes)
  }

  #secret(fresh: KeyPair, theirs: Uint8Array, fleetKey: number): Secret {
    const shared = this.#config.primitives.agree(fresh.privateKey, theirs)
    if (shared === undefined) throw new Refusal('a fresh key that agrees with every other')
    return { fleetKey, member: this.#members[fleetKey] as Uint8Array, shared }
  }

  #key({ shared, member }: Secret, purpose: string, said: Uint8Array): Uint8Array {
    return this.#config.primitives.derive(shared, member, join(purpose, said))
  }

  /** Identity and signature of this end, in a box for the other. */
  #proof(role: 'dialler' | 'listener', secret: Secret, said: Uint8Array): Uint8Array {
    const { identity, primitives } = this.#config
    const signature = identity.sign(join(label, role, said, identity.publicKey))
    return primitives.box(this.#key(secret, `${role} proof`, said), join(identity.publicKey, signature), said)
  }

  #prove(role: 'dialler' | 'listener', secret: Secret, said: Uint8Array, box: Uint8Array): Uint8Array {
    const { primitives } = this.#config
    const plain = primitives.unbox(this.#key(secret, `${role} proof`, said), box, said)
    if (plain?.length !== keyBytes + signatureBytes) throw new Refusal('its box does not open')
    const publicKey = Uint8Array.from(plain.subarray(0, keyBytes))
    if (!primitives.verify(publicKey, join(label, role, said, publicKey), plain.subarray(keyBytes))) {
      throw new Refusal(`it does not own the key ${toHex(publicKey)}`)
    }
    return publicKey
  }
}
