/**
 * What another implementation checks itself against: docs/protocol-vectors.json, made here from fixed inputs. Byte strings
 * are hexadecimal; 32-bit lanes are 8 hexadecimal digits each, in order.
 */
import { toHex } from '../src/base/bytes.ts'
import { checksum32, hash128, lanes } from '../src/base/hash.ts'
import { encodeValue } from '../src/base/msgpack.ts'
import { pathOf } from '../src/crdt/cell.ts'
import { advanceChain, decodeDelta, linkOf, startChain } from '../src/crdt/delta.ts'
import type { Chain } from '../src/crdt/delta.ts'
import { originId } from '../src/crdt/dot.ts'
import { encodeSnapshot } from '../src/crdt/state.ts'
import { types } from '../src/crdt/types/table.ts'
import { identityOf } from '../src/node/security/identity.ts'
import { MapRows, cellsOf, commit, openReplica } from '../src/replica/rows.test-kit.ts'
import type { Replica } from '../src/replica/replica.ts'
import type { Space } from '../src/replica/space.ts'
import { digest, leafOf } from '../src/replica/tree.ts'
import { Handshake } from '../src/transport/handshake.ts'
import type { HandshakeOutput } from '../src/transport/handshake.ts'
import { keyPairOf, primitives, sealsOf } from '../src/transport/primitives.ts'
import { decodePacket, encodePacket } from '../src/wire/codec.ts'
import type { ChainHead, Frame, NodeId } from '../src/wire/frame.ts'
import { shortNameOf, spaceIdOf } from '../src/wire/names.ts'

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)
const words = (some: Iterable<number>): string[] => Array.from(some, (word) => word.toString(16).padStart(8, '0'))

const [nodeA, nodeB] = ['0123456789abcdef' as NodeId, 'fedcba9876543210' as NodeId]
const a = originId(`${nodeA}0000000000000001`)
const b = originId(`${nodeB}00000000000000ff`)
const nowMs = 1_800_000_000_000

function hashes(): unknown {
  return ['', 'a', 'skein', 'The quick brown fox jumps over the lazy dog'].map((text) => {
    const bytes = ascii(text)
    hash128(bytes, 0, bytes.length, 0, 0, 0, 0)
    const unseeded = words(lanes)
    hash128(bytes, 0, bytes.length, 1, 2, 3, 4)
    return {
      text,
      'murmur3 x86_128, seeds 0 0 0 0': unseeded,
      'murmur3 x86_128, seeds 1 2 3 4': words(lanes),
      'murmur3 x86_32, seed 7': checksum32(bytes, 0, bytes.length, 7).toString(16).padStart(8, '0'),
    }
  })
}

function names(): unknown {
  return {
    spaces: [
      ['tasks', 1],
      ['tasks', 2],
      ['überblick', 70_000],
    ].map(([name, generation]) => ({ name, generation, id: spaceIdOf(name as string, generation as number) })),
    origins: [a, b].map((origin) => ({ origin, short: shortNameOf(origin) })),
    leaves: ['t-42', 'überblick', '😀'].map((key) => ({ key, leaf: leafOf(key) })),
  }
}

function siblings(): unknown {
  const sibling = { origin: a, seq: 3, time: nowMs * 2048, agent: 'agent-7', value: encodeValue('doing'), expires: 0 }
  digest('t-42', 2, pathOf(['status']), sibling)
  return [
    {
      key: 't-42',
      type: 2,
      path: toHex(encodeValue(['status'])),
      ...sibling,
      value: toHex(sibling.value),
      digest: words(lanes),
    },
  ]
}

/** Two writers take turns in one space. */
function space(): unknown {
  const rows = new MapRows()
  const replicas = [nodeA, nodeB].map((node, at) =>
    openReplica(at === 0 ? rows : new MapRows(), node, { incarnation: [a, b][at]?.slice(16) ?? '' }),
  ) as [Replica, Replica]
  const spaces = replicas.map((replica) => replica.open('tasks')) as [Space, Space]
  const deltas: unknown[] = []
  const chains = new Map<string, Chain>()
  const write = (who: 0 | 1, key: string, type: string, name: string, args: Record<string, unknown>): void => {
    const [replica, held] = [replicas[who], spaces[who]]
    const kind = types.find((each) => each.name === type)
    const operation = kind?.operations[name]
    if (kind === undefined || operation === undefined) throw new Error(`no ${name} in ${type}`)
    const options = {
      nowMs: nowMs + deltas.length,
      agent: 'agent-7',
      reason: deltas.length === 0 ? 'first' : undefined,
    }
    const { dot } = replica.transact(held, options, (change) => change.run(held.entry(key), kind, operation, args))
    if (dot === undefined) throw new Error('the write changed nothing')
    const body = (held.logs.get(dot.origin)?.entry(dot.seq)?.body ?? new Uint8Array(0)).slice()
    replicas[1 - who]?.receive(spaces[1 - who] as Space, dot, body, options.nowMs)
    const chain = chains.get(dot.origin) ?? startChain('tasks', 1, dot.origin)
    const before = { chain: words(chain), link: toHex(linkOf(chain)) }
    advanceChain(chain, body)
    chains.set(dot.origin, chain)
    const { time, context } = decodeDelta(dot.origin, dot.seq, body)
    deltas.push({ ...dot, time, context, before, body: toHex(body), after: words(chain) })
  }
  write(0, 't-42', 'record', 'set', { fields: { status: 'doing', owner: 'agent-7' } })
  write(1, 't-42', 'record', 'set', { fields: { status: 'done' } })
  write(1, 'seen', 'counter', 'incr', { by: 2 })
  write(0, 'seen', 'counter', 'incr', { by: 40 })
  commit(replicas[0], rows)
  const [held] = spaces
  const { root } = held.tree
  return {
    name: 'tasks',
    generation: 1,
    id: held.id,
    deltas,
    vector: Object.fromEntries(held.vector),
    context: toHex(held.contextDigest()),
    root: words(root.subarray(0, 4)),
    count: root[4],
    snapshot: toHex(encodeSnapshot(held.vector, cellsOf(rows, held))),
  }
}

/** One of each kind, small enough to be read. */
function frames(): Frame[] {
  const id = spaceIdOf('tasks', 1)
  const bytes = (length: number, first: number): Uint8Array => Uint8Array.from({ length }, (_, at) => first + at)
  const member = { node: nodeB, address: 'ws://b:7400', incarnation: 3, zone: 'eu', version: 1000 } as const
  const dots = [
    { origin: a, seq: 7 },
    { origin: b, seq: 300 },
  ]
  const chained: ChainHead[] = dots.map((dot, at) => ({ ...dot, chain: bytes(16, 16 * at) }))
  const [firstHead, lastHead] = chained as [ChainHead, ChainHead]
  return [
    {
      kind: 'hello',
      major: 1,
      minor: 0,
      fleet: '00'.repeat(8),
      node: nodeA,
      incarnation: '0000000000000001',
      nowMs,
      address: 'ws://a:7400',
    },
    { kind: 'refuse', code: 'other_fleet', reason: 'this node belongs to another fleet' },
    { kind: 'spaces', spaces: [{ id, name: 'tasks', generation: 1 }] },
    { kind: 'ping', seq: 5, updates: [{ ...member, state: 'alive', by: nodeB }] },
    { kind: 'ack', seq: 5, updates: [{ ...member, state: 'suspect', by: nodeA }] },
    { kind: 'ping-request', seq: 6, target: nodeB, address: 'ws://b:7400', updates: [] },
    { kind: 'nack', seq: 6 },
    { kind: 'members', members: [{ ...member, state: 'left', by: nodeB }], answer: true },
    {
      kind: 'deltas',
      space: id,
      runs: [
        { origin: b, seq: 299, bodies: [bytes(3, 1), bytes(2, 9)] },
        { origin: a, seq: 7, bodies: [bytes(1, 0)] },
        { origin: b, seq: 301, bodies: [bytes(1, 5)] },
      ],
      cause: 'catch-up',
      more: true,
      hops: 0,
    },
    {
      kind: 'deltas',
      space: id,
      runs: [{ origin: b, seq: 302, bodies: [bytes(1, 5)] }],
      cause: 'push',
      more: false,
      hops: 3,
    },
    { kind: 'notice', space: id, dots },
    { kind: 'pull', space: id, after: [{ origin: a, seq: 0 }], graft: true },
    { kind: 'prune', space: id, writers: [nodeA, nodeB] },
    {
      kind: 'greeting',
      space: id,
      context: bytes(8, 1),
      root: bytes(8, 17),
      count: 70_000,
      durable: true,
      catchingUp: false,
      answer: false,
    },
    { kind: 'vector', space: id, entries: dots, form: 'full', answer: true },
    {
      kind: 'vector',
      space: id,
      entries: dots
        .map(({ origin, seq }) => ({ origin: shortNameOf(origin), seq }))
        .sort((one, other) => (one.origin < other.origin ? -1 : 1)),
      form: 'short',
      answer: false,
    },
    { kind: 'stored', space: id, vector: dots },
    { kind: 'stored-ask', space: id, vector: dots },
    {
      kind: 'chains',
      space: id,
      heads: [firstHead, { ...lastHead, fork: { seq: 280, at: 282, link: bytes(8, 40) } }],
      links: [{ origin: a, from: 6, links: bytes(16, 60) }],
      answer: true,
    },
    { kind: 'tree-ask', space: id, session: 1, vector: chained, sums: bytes(16, 0), after: '' },
    {
      kind: 'tree-offer',
      space: id,
      session: 1,
      heads: [
        {
          origin: a,
          seq: 7,
          chain: bytes(16, 0),
          time: 1000,
          context: [{ origin: b, seq: 299 }],
          links: bytes(16, 80),
        },
        {
          origin: b,
          seq: 300,
          chain: bytes(16, 16),
          time: 2000,
          context: dots.map(({ origin }) => ({ origin, seq: 2 })),
        },
      ],
      buckets: bytes(2, 1),
      count: 3,
      root: bytes(16, 64),
    },
    { kind: 'tree-cells', space: id, session: 1, seq: 1, cells: bytes(4, 1), last: true },
    { kind: 'tree-ack', space: id, session: 1, seq: 1, stop: false },
    { kind: 'tree-ack', space: id, session: 1, seq: 0, stop: false },
    { kind: 'sketch', space: id, session: 2, context: bytes(8, 1), from: 0, cells: bytes(4, 1) },
    { kind: 'sketch-ask', space: id, session: 2, more: 16, digests: bytes(8, 1), cells: bytes(4, 1) },
    { kind: 'rights-ask', space: id, key: 'tokens', to: a, amount: 500 },
    {
      kind: 'presence',
      space: id,
      statements: [
        { node: nodeA, agent: 'agent-7', version: nowMs, leftMs: 30_000, value: encodeValue({ doing: 't-42' }) },
        { node: nodeB, agent: 'agent-8', version: nowMs + 1, leftMs: 12_000, value: new Uint8Array(0) },
      ],
    },
  ]
}

/** Two nodes prove themselves to each other, without TLS and with it, and then say a word each way. */
function links(): unknown {
  const filled = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
  const fleetKeys = { dialler: [filled(0x11), filled(0x22)], listener: [filled(0x33), filled(0x22), filled(0x11)] }
  return [new Uint8Array(0), filled(0x99)].map((binding) => {
    const parts = { dialler: [0x41, 0x51], listener: [0x42, 0x52] } as const
    const made = (role: 'dialler' | 'listener') => {
      const [secret, fresh] = parts[role]
      const [identity, pair] = [identityOf(filled(secret)), keyPairOf(filled(fresh))]
      const machine = new Handshake({
        role,
        fleetKeys: fleetKeys[role],
        identity,
        fresh: () => pair,
        binding,
        primitives,
      })
      const { publicKey, node } = identity
      return {
        machine,
        told: { fleetKeys: fleetKeys[role], secret: filled(secret), publicKey, node, fresh: pair },
      }
    }
    const [dialler, listener] = [made('dialler'), made('listener')]
    const said = (outputs: HandshakeOutput[]): Uint8Array => {
      const [first] = outputs
      if (first?.kind !== 'send') throw new Error('the handshake went wrong')
      return first.bytes
    }
    const first = said([...listener.machine.start(), ...dialler.machine.start()])
    const second = said(listener.machine.handle(first))
    const third = said(dialler.machine.handle(second))
    const [accepted] = listener.machine.handle(third)
    if (accepted?.kind !== 'accepted') throw new Error('the handshake went wrong')
    const seals = sealsOf(accepted.sendKey, accepted.receiveKey)
    return {
      binding,
      dialler: dialler.told,
      listener: listener.told,
      messages: [first, second, third].map((message) => toHex(message)),
      fromDialler: accepted.receiveKey,
      fromListener: accepted.sendKey,
      sealedFromListener: ['', 'skein'].map((text) => ({ text, sealed: seals.seal(ascii(text)) })),
    }
  })
}

/** Packets that are refused, each with the code; and packets in which something is skipped. */
const refused: readonly (readonly [why: string, packet: string, code: string])[] = [
  ['a cut frame', '930805', 'malformed'],
  ['a number longer than needed', '920bcc05', 'malformed'],
  ['an array with a header longer than needed', 'dc00020b05', 'malformed'],
  ['a byte that is no header', 'c1', 'malformed'],
  ['a frame that is no array', '05', 'malformed'],
  ['a count beyond the end', '930805ddffffffff', 'malformed'],
  ['an envelope that claims too much', '933fce00100000c4020300', 'too_large'],
]
const skipping: readonly (readonly [what: string, packet: string])[] = [
  ['a kind that nobody knows, then a nack', '923ea178920b05'],
  ['a nack with a field of a later version', '930b05a178'],
  ['a hello of another major version; what follows is not read', '9400020781a16101c1'],
]

function fromPairs(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

export function protocolVectors(): string {
  const readable = (_: string, value: unknown): unknown => (value instanceof Uint8Array ? toHex(value) : value)
  const vectors = {
    hashes: hashes(),
    names: names(),
    siblings: siblings(),
    space: space(),
    links: links(),
    packets: frames().map((frame) => ({ packet: toHex(encodePacket([frame])), frames: [frame] })),
    skipping: skipping.map(([what, packet]) => ({ what, packet, ...decodePacket(fromPairs(packet)) })),
    refused: refused.map(([why, packet, code]) => {
      const { fault } = decodePacket(fromPairs(packet))
      if (fault?.code !== code) throw new Error(`${why}: ${fault?.code ?? 'taken'} instead of ${code}`)
      return { why, packet, code }
    }),
  }
  return `${JSON.stringify(vectors, readable, 2)}\n`
}
