import { expect, test } from 'vitest'
import { fromHex, toHex } from '../base/bytes.ts'
import { identityOf } from '../node/security/identity.ts'
import { Handshake } from './handshake.ts'
import type { HandshakeOutput } from './handshake.ts'
import type { Identity } from './transport.ts'
import { keyPairOf, primitives, sealsOf } from './primitives.ts'

const bytes = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
const identities = { dialler: identityOf(bytes(101)), listener: identityOf(bytes(102)) }

interface Side {
  readonly keys?: readonly number[]
  readonly binding?: Uint8Array
  readonly fresh?: number
  readonly identity?: Identity
}

function machine(role: 'dialler' | 'listener', side: Side = {}): Handshake {
  const { keys = [1], binding = new Uint8Array(0), fresh, identity = identities[role] } = side
  return new Handshake({
    role,
    fleetKeys: keys.map(bytes),
    identity,
    fresh: () => keyPairOf(bytes(fresh ?? (role === 'dialler' ? 11 : 12))),
    binding,
    primitives,
  })
}

interface Meeting {
  readonly sent: Uint8Array[]
  readonly dialler: HandshakeOutput | undefined
  readonly listener: HandshakeOutput | undefined
}

/** Carries what is said between the two, through `change`, until nobody says anything more. */
function meet(
  dialling: Side = {},
  listening: Side = {},
  change = (message: Uint8Array, _at: number) => message,
): Meeting {
  const ends = { dialler: machine('dialler', dialling), listener: machine('listener', listening) }
  const ended: { dialler?: HandshakeOutput; listener?: HandshakeOutput } = {}
  const sent: Uint8Array[] = []
  expect(ends.listener.start()).toEqual([])
  let due = ends.dialler.start().map((output) => ({ from: 'dialler' as 'dialler' | 'listener', output }))
  while (due.length > 0) {
    const next: typeof due = []
    for (const { from, output } of due) {
      if (output.kind !== 'send') {
        ended[from] = output
        continue
      }
      sent.push(output.bytes)
      const to = from === 'dialler' ? 'listener' : 'dialler'
      const message = change(output.bytes, sent.length - 1)
      for (const reply of ends[to].handle(message)) next.push({ from: to, output: reply })
    }
    due = next
  }
  return { sent, dialler: ended.dialler, listener: ended.listener }
}

test('[K7] two of one fleet know each other after three messages, and share two keys', () => {
  const { sent, dialler, listener } = meet()
  expect(sent.map(({ length }) => length)).toEqual([50, 145, 112])
  if (dialler?.kind !== 'accepted' || listener?.kind !== 'accepted') return expect.unreachable()
  expect([dialler.node, listener.node]).toEqual([identities.listener.node, identities.dialler.node])
  expect(dialler.publicKey).toEqual(identities.listener.publicKey)
  expect(dialler.sendKey).toEqual(listener.receiveKey)
  expect(dialler.receiveKey).toEqual(listener.sendKey)
  expect(dialler.sendKey).not.toEqual(dialler.receiveKey)
})

test('identities are not seen on the wire', () => {
  const said = Buffer.concat(meet().sent)
  for (const { publicKey } of Object.values(identities)) expect(said.includes(Buffer.from(publicKey))).toBe(false)
})

test('every connection has other keys', () => {
  const [one, two, three] = [meet(), meet({ fresh: 13 }), meet({}, { fresh: 13 })]
  const keys = [one, two, three].map(({ dialler }) => dialler?.kind === 'accepted' && toHex(dialler.sendKey))
  expect(new Set(keys).size).toBe(3)
})

test('[K7] a change of any byte of any message is noticed before anybody is let in by it', () => {
  const lengths = meet().sent.map(({ length }) => length)
  for (const [at, length] of lengths.entries()) {
    for (let place = 0; place < length; place++) {
      const { dialler, listener, sent } = meet({}, {}, (message, number) => {
        if (number !== at) return message
        const changed = message.slice()
        changed[place] = (changed[place] as number) ^ 0x04
        return changed
      })
      // Who has the changed message refuses it; the third is the dialler's last word.
      expect(listener?.kind === 'accepted').toBe(false)
      expect(dialler?.kind).toBe(at === 2 ? 'accepted' : at === 1 ? 'refused' : undefined)
      if (at === 0) expect(sent.length).toBe(1)
    }
  }
})

test('a message that is cut, longer, of the wrong turn or repeated is refused', () => {
  const { sent } = meet()
  for (const role of ['dialler', 'listener'] as const) {
    for (const [at, right] of sent.entries()) {
      for (const message of [right.subarray(0, -1), Uint8Array.of(...right, 0), new Uint8Array(0)]) {
        const end = machine(role)
        end.start()
        expect(end.handle(message)[0]?.kind, `${role} ${at}`).toBe('refused')
        expect(end.handle(right)[0]?.kind).toBe('refused')
      }
    }
  }
  const listener = machine('listener')
  listener.start()
  const [first, , third] = sent as [Uint8Array, Uint8Array, Uint8Array]
  expect(listener.handle(third)[0]?.kind).toBe('refused')
  const other = machine('listener')
  other.start()
  expect(other.handle(first)[0]?.kind).toBe('send')
  expect(other.handle(first)[0]?.kind).toBe('refused')
})

test('what was recorded does not open another connection', () => {
  const { sent } = meet()
  const later = machine('listener', { fresh: 99 })
  later.start()
  expect(later.handle(sent[0] as Uint8Array)[0]?.kind).toBe('send')
  expect(later.handle(sent[2] as Uint8Array)).toEqual([{ kind: 'refused', what: 'its box does not open' }])
})

test('[K7] a member cannot pass for another: not by its public key, nor by what that one signed elsewhere', () => {
  for (const role of ['dialler', 'listener'] as const) {
    const victim = identities[role]
    const signed: Uint8Array[] = []
    const recorded: Identity = {
      publicKey: victim.publicKey,
      sign: (what) => {
        signed.push(victim.sign(what))
        return signed.at(-1) as Uint8Array
      },
    }
    const as = (side: Side): Meeting => (role === 'dialler' ? meet(side) : meet({}, side))
    const met = as({ identity: recorded })
    expect([met.dialler?.kind, met.listener?.kind]).toEqual(['accepted', 'accepted'])
    const own = identityOf(bytes(103))
    for (const sign of [(what: Uint8Array) => own.sign(what), () => signed[0] as Uint8Array]) {
      const { dialler, listener } = as({ fresh: 77, identity: { publicKey: victim.publicKey, sign } })
      expect((role === 'dialler' ? listener : dialler)?.kind).toBe('refused')
    }
  }
})

test('a message does not pass for that of the other role', () => {
  const dialler = machine('dialler')
  const [first] = dialler.start()
  if (first?.kind !== 'send') return expect.unreachable()
  expect(dialler.handle(first.bytes)[0]?.kind).toBe('refused')
})

test('the listener takes the first of its own keys that the dialler offers', () => {
  const chosen = (dialling: readonly number[], listening: readonly number[]): unknown => {
    const { dialler, listener } = meet({ keys: dialling }, { keys: listening })
    return [dialler, listener].map((end) => (end?.kind === 'accepted' ? end.fleetKey : end?.kind))
  }
  expect(chosen([1, 2], [2, 1])).toEqual([1, 0])
  expect(chosen([1, 2, 3, 4], [3])).toEqual([2, 0])
  expect(chosen([1], [5, 4, 3, 1])).toEqual([0, 3])
  expect(chosen([1, 2], [3, 4])).toEqual([undefined, 'refused'])
})

test('a member cannot be taken back to an old key by leaving its tag of the new one out', () => {
  const { dialler, listener } = meet({ keys: [2, 1] }, { keys: [2, 1] }, (message, at) =>
    at === 0 ? Uint8Array.of(1, 1, ...message.subarray(2, 34), ...message.subarray(50)) : message,
  )
  expect([dialler, listener?.kind]).toEqual([undefined, 'refused'])
})

test('the proof holds for one channel only', () => {
  const [one, two] = [bytes(1), bytes(2)]
  expect(meet({ binding: one }, { binding: one }).listener?.kind).toBe('accepted')
  for (const binding of [two, new Uint8Array(0)]) {
    expect(meet({ binding: one }, { binding }).listener?.kind).toBe('refused')
  }
})

test('fresh keys of low order, which make every secret the same, are refused', () => {
  const low = [
    '00'.repeat(32),
    `01${'00'.repeat(31)}`,
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  ]
  for (const hex of low) expect(primitives.agree(bytes(1), fromHex(hex))).toBeUndefined()
})

test('X25519, of RFC 7748, 6.1', () => {
  const mine = fromHex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb')
  const theirs = fromHex('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a')
  const shared = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742'
  expect(toHex(primitives.agree(mine, theirs) as Uint8Array)).toBe(shared)
})

test('[K10] a seal is opened once, in order, in its direction, whole', () => {
  const open = () => [sealsOf(bytes(1), bytes(2)), sealsOf(bytes(2), bytes(1))] as const
  const [mine, theirs] = open()
  for (let i = 0; i < 300; i++) {
    const plain = new Uint8Array(i).fill(i)
    const sealed = mine.seal(plain)
    expect(sealed.length).toBe(i + 16)
    expect(theirs.open(sealed)).toEqual(Buffer.from(plain))
  }
  const sealed = (number: number): Uint8Array => {
    const [end] = open()
    for (let i = 0; i < number; i++) end.seal(bytes(0))
    return end.seal(bytes(9))
  }
  const opens = (message: Uint8Array): boolean => open()[1].open(message) !== undefined
  expect(opens(sealed(0))).toBe(true)
  expect(opens(sealed(1))).toBe(false)
  expect(opens(sealed(0).subarray(0, -1))).toBe(false)
  expect(opens(sealed(0).subarray(0, 10))).toBe(false)
  expect(sealsOf(bytes(1), bytes(2)).open(sealed(0))).toBeUndefined()
  for (let place = 0; place < 48; place++) {
    const changed = sealed(0).slice()
    changed[place] = (changed[place] as number) ^ 1
    expect(opens(changed)).toBe(false)
  }
})
