/**
 * The handshake, with somebody in between who says what he likes. The first byte of an input says at which point, the rest
 * what: a stranger's message to the listener or to the dialler, the third message, or what stands in the box of the third
 * message of somebody who has the fleet key (made here as docs/PROTOCOL.md tells it, not by the code that is fuzzed).
 *
 * Whatever it is: nothing is thrown; nobody is let in but by the very bytes of the honest end; nobody without a fleet key gets
 * a byte or costs a fresh key; and after a refusal nothing is said any more.
 */
import { equalBytes, utf8 } from '../../src/base/bytes.ts'
import { identityOf } from '../../src/node/security/identity.ts'
import { Handshake } from '../../src/transport/handshake.ts'
import type { HandshakeOutput } from '../../src/transport/handshake.ts'
import { keyPairOf, primitives } from '../../src/transport/primitives.ts'
import { hold, taken } from './target.ts'
import type { Target } from './target.ts'

const filled = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
const fleetKeys = [filled(0x22), filled(0x11)]
const ends = {
  dialler: {
    identity: identityOf(filled(0x41)),
    pair: keyPairOf(filled(0x51)),
    fleetKeys: [filled(0x33), filled(0x22)],
  },
  listener: { identity: identityOf(filled(0x42)), pair: keyPairOf(filled(0x52)), fleetKeys },
} as const

interface End {
  readonly machine: Handshake
  /** Fresh keys that were made. */
  made: number
}

function end(role: 'dialler' | 'listener'): End {
  const { identity, pair, fleetKeys: own } = ends[role]
  const fresh = (): typeof pair => {
    made.made++
    return pair
  }
  const config = { role, fleetKeys: own, identity, fresh, binding: new Uint8Array(0), primitives }
  const made: End = { machine: new Handshake(config), made: 0 }
  return made
}

const sent = ([first]: readonly HandshakeOutput[]): Uint8Array =>
  first?.kind === 'send' ? first.bytes : new Uint8Array(0)
const joined = (...parts: readonly (Uint8Array | string)[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...(typeof part === 'string' ? utf8(part) : part)]))

/** What both honest ends say, the same each time: their fresh keys are fixed. */
const honest = (() => {
  const [dialler, listener] = [end('dialler').machine, end('listener').machine]
  const first = sent([...listener.start(), ...dialler.start()])
  const second = sent(listener.handle(first))
  return { first, second, third: sent(dialler.handle(second)) }
})()

const label = 'skein-link-1'
const channel = primitives.sha256(joined(label, Uint8Array.of(0)))
const member = (key: Uint8Array): Uint8Array => primitives.derive(key, utf8(label), utf8('member'))

function hasTag(first: Uint8Array): boolean {
  const said = joined('dial', channel, first.subarray(0, 34))
  return fleetKeys.some((key) => {
    const tag = primitives.hmac(member(key), said).subarray(0, 16)
    for (let at = 34; at + 16 <= first.length; at += 16) if (equalBytes(tag, first.subarray(at, at + 16))) return true
    return false
  })
}

/** The key of the third message's box, and what is associated with it. */
const third = (() => {
  const { first, second } = honest
  const said = primitives.sha256(joined(primitives.sha256(joined(channel, first)), second.subarray(0, 33)))
  const between = primitives.sha256(joined(said, second.subarray(33)))
  const shared = primitives.agree(ends.dialler.pair.privateKey, ends.listener.pair.publicKey) ?? new Uint8Array(0)
  const key = primitives.derive(shared, member(filled(0x22)), joined('dialler', ' proof', between))
  const plain = primitives.unbox(key, honest.third, between)
  if (plain === undefined) throw new Error('docs/PROTOCOL.md and the handshake are not the same')
  return { key, between, plain: new Uint8Array(plain) }
})()

const points = 4

export const handshake: Target = {
  name: 'handshake',
  corpus: () =>
    [honest.first, honest.second, honest.third, third.plain].map((bytes, point) => Uint8Array.of(point, ...bytes)),
  run(bytes) {
    const point = (bytes[0] ?? 0) % points
    const said = bytes.subarray(1)
    const role = point === 1 ? 'dialler' : 'listener'
    const one = end(role)
    one.machine.start()
    const before = one.made
    if (point >= 2) one.machine.handle(honest.first)
    const message = point === 3 ? primitives.box(third.key, said, third.between) : said
    const outputs = one.machine.handle(message)
    hold(outputs.length > 0 && outputs.length <= 2, 'each message is answered, refused or accepted')
    const refusal = outputs.find(({ kind }) => kind === 'refused')
    hold(refusal === undefined || outputs.length === 1, 'who is refused gets no byte')
    const isHonest = equalBytes(said, [honest.first, honest.second, honest.third, third.plain][point] as Uint8Array)
    const accepted = outputs.find(({ kind }) => kind === 'accepted')
    if (accepted?.kind === 'accepted') {
      const other = ends[role === 'dialler' ? 'listener' : 'dialler'].identity
      hold(isHonest, 'nobody is let in but by the bytes of the honest end')
      hold(accepted.node === other.node && equalBytes(accepted.publicKey, other.publicKey), 'and as that one')
    }
    if (point === 0) {
      const answer = sent(outputs)
      hold(answer.length === 0 || hasTag(said), 'nobody without a fleet key gets a byte')
      const tags = (said.length - 34) / 16
      hold(answer.length === 0 || (said[1] === tags && tags <= 4), 'and nobody whose message has another form')
      hold(one.made === before + (answer.length > 0 ? 1 : 0), 'a fresh key is made for who has proven a fleet key')
      hold(answer.length === 0 || answer.length === 145, 'an answer has its length')
    }
    if (refusal?.kind === 'refused') {
      const [again] = one.machine.handle([honest.first, honest.second, honest.third, honest.third][point] as Uint8Array)
      hold(again?.kind === 'refused', 'after a refusal nothing is said any more')
    }
    return refusal?.kind === 'refused' ? refusal.what.replace(/[0-9a-f]{64}/, 'KEY') : taken
  },
}
