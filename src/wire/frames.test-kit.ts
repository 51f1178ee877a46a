/** Arbitrary frames of every kind, in the form that decoding gives: sets of dots in the order of their origins. */
import fc from 'fast-check'
import { toHex } from '../base/bytes.ts'
import { encodeValue } from '../base/msgpack.ts'
import type { Dot, OriginId } from '../crdt/dot.ts'
import type { Fork, Frame, Head, HeldSpace, MemberStatement, NodeId, Run, SpaceId } from './frame.ts'
import { spaceIdOf } from './names.ts'

const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length })
const anyBytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength })
const hex = (length: number): fc.Arbitrary<string> => bytes(length).map((some) => toHex(some))
const node = hex(8) as fc.Arbitrary<NodeId>
const space = hex(8) as fc.Arbitrary<SpaceId>
/** A few that come again, so that tables have something to share. */
const origin = fc.oneof(hex(16), fc.constantFrom('a'.repeat(32), 'b'.repeat(32))) as fc.Arbitrary<OriginId>
const seq = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.maxSafeNat().map((n) => n + (n === 0 ? 1 : 0)),
)
const count = fc.oneof(fc.nat(300), fc.maxSafeNat())
const text = (maxLength: number): fc.Arbitrary<string> => fc.string({ unit: 'binary', maxLength })

function ascending<T extends { readonly origin: string }>(items: T[]): T[] {
  return items.sort((a, b) => (a.origin < b.origin ? -1 : 1))
}

const originOf = ({ origin: name }: { readonly origin: string }): string => name
const dotsOf = (each: fc.Arbitrary<Dot>): fc.Arbitrary<Dot[]> =>
  fc.uniqueArray(each, { maxLength: 8, selector: originOf }).map(ascending)
const dots = dotsOf(fc.record({ origin, seq }))

const run: fc.Arbitrary<Run> = fc.record({
  origin,
  seq: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER - 3 })),
  bodies: fc.array(anyBytes(40), { minLength: 1, maxLength: 3 }),
})

const statement: fc.Arbitrary<MemberStatement> = fc
  .record({
    node,
    address: text(40),
    incarnation: count,
    state: fc.constantFrom('alive', 'suspect', 'dead', 'left'),
    zone: text(10),
    version: count,
    other: fc.option(node, { nil: undefined }),
  })
  .map(({ other, ...said }) => ({ ...said, by: other ?? said.node }))
const statements = fc.array(statement, { maxLength: 4 })

const held: fc.Arbitrary<HeldSpace> = fc
  .record({ name: text(20), generation: count })
  .map(({ name, generation }) => ({ id: spaceIdOf(name, generation), name, generation }))

/** Some come with links of the chain before them. */
const head: fc.Arbitrary<Head> = fc
  .record({ origin, seq, chain: bytes(16), time: count, context: dots })
  .chain((plain) =>
    fc.nat(Math.min(3, plain.seq - 1)).chain((many) => {
      return many === 0 ? fc.constant(plain) : bytes(8 * many).map((links) => ({ ...plain, links }))
    }),
  )
const eights = (most: number): fc.Arbitrary<Uint8Array> => fc.nat(most).chain((length) => bytes(8 * length))

const shortEntries = fc
  .array(fc.record({ origin: hex(4), seq }), { maxLength: 8 })
  .map((entries) => entries.sort((a, b) => (a.origin === b.origin ? a.seq - b.seq : a.origin < b.origin ? -1 : 1)))

/** Some heads end a fork. */
function forked<T extends { readonly seq: number }>(head: T): fc.Arbitrary<T & { fork?: Fork }> {
  const record = fc.record({ from: fc.nat(3), at: fc.nat(3), link: bytes(8) }).map(({ from, at, link }) => {
    const last = Math.max(1, head.seq - at)
    return { ...head, fork: { seq: Math.max(1, last - from), at: last, link } }
  })
  return fc.oneof(fc.constant(head), record)
}

const chained = fc
  .uniqueArray(
    fc.record({ origin, seq, chain: bytes(16) }).chain((plain) => forked(plain)),
    { maxLength: 5, selector: originOf },
  )
  .map(ascending)

type Kinds = { readonly [Kind in Frame['kind']]: fc.Arbitrary<Extract<Frame, { readonly kind: Kind }>> }

export const framesOfKind: Kinds = {
  hello: fc.record({
    kind: fc.constant('hello'),
    major: fc.constant(1),
    minor: count,
    fleet: hex(8),
    node,
    incarnation: hex(8),
    nowMs: fc.maxSafeInteger(),
    address: text(60),
  }),
  refuse: fc.record({ kind: fc.constant('refuse'), code: text(16), reason: text(200) }),
  spaces: fc.record({ kind: fc.constant('spaces'), spaces: fc.array(held, { maxLength: 5 }) }),
  ping: fc.record({ kind: fc.constant('ping'), seq: count, updates: statements }),
  ack: fc.record({ kind: fc.constant('ack'), seq: count, updates: statements }),
  'ping-request': fc.record({
    kind: fc.constant('ping-request'),
    seq: count,
    target: node,
    address: text(60),
    updates: statements,
  }),
  nack: fc.record({ kind: fc.constant('nack'), seq: count }),
  members: fc.record({ kind: fc.constant('members'), members: statements, answer: fc.boolean() }),
  deltas: fc
    .record({
      kind: fc.constant('deltas' as const),
      space,
      runs: fc.array(run, { maxLength: 5 }),
      cause: fc.constantFrom('push' as const, 'catch-up' as const),
      more: fc.boolean(),
      hops: fc.nat(31),
    })
    .map((frame) => (frame.cause === 'push' ? frame : { ...frame, hops: 0 })),
  notice: fc.record({ kind: fc.constant('notice'), space, dots }),
  pull: fc.record({
    kind: fc.constant('pull'),
    space,
    after: dotsOf(fc.record({ origin, seq: fc.oneof(fc.constant(0), seq) })),
    graft: fc.boolean(),
  }),
  prune: fc.record({ kind: fc.constant('prune'), space, writers: fc.array(node, { maxLength: 5 }) }),
  greeting: fc.record({
    kind: fc.constant('greeting'),
    space,
    context: bytes(8),
    root: bytes(8),
    count,
    durable: fc.boolean(),
    catchingUp: fc.boolean(),
    answer: fc.boolean(),
  }),
  vector: fc.oneof(
    fc.record({
      kind: fc.constant('vector'),
      space,
      entries: dots,
      form: fc.constant('full'),
      answer: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant('vector'),
      space,
      entries: shortEntries,
      form: fc.constant('short'),
      answer: fc.boolean(),
    }),
  ),
  stored: fc.record({ kind: fc.constant('stored'), space, vector: dotsOf(fc.record({ origin, seq: count })) }),
  'stored-ask': fc.record({ kind: fc.constant('stored-ask'), space, vector: dots }),
  chains: fc
    .record({
      kind: fc.constant('chains' as const),
      space,
      heads: chained,
      links: fc.array(fc.tuple(fc.boolean(), fc.nat(3)), { maxLength: 5 }),
      answer: fc.boolean(),
    })
    .map((frame) => ({
      ...frame,
      links: frame.heads.flatMap(({ origin: of, seq: last }, at) => {
        const [isThere, many] = frame.links[at] ?? [false, 0]
        const from = Math.max(1, last - many)
        return isThere ? [{ origin: of, from, links: new Uint8Array(8 * Math.min(many, last)).fill(at) }] : []
      }),
    })),
  'tree-ask': fc.record({
    kind: fc.constant('tree-ask'),
    space,
    session: count,
    vector: fc
      .uniqueArray(fc.record({ origin, seq, chain: bytes(16) }), { maxLength: 5, selector: originOf })
      .map(ascending),
    sums: eights(4),
    after: text(30),
  }),
  'tree-offer': fc.record({
    kind: fc.constant('tree-offer'),
    space,
    session: count,
    heads: fc
      .uniqueArray(
        head.chain((plain) => forked(plain)),
        { maxLength: 4, selector: originOf },
      )
      .map(ascending),
    buckets: anyBytes(32),
    count,
    root: bytes(16),
  }),
  'tree-cells': fc.record({
    kind: fc.constant('tree-cells'),
    space,
    session: count,
    seq: count,
    cells: anyBytes(60),
    last: fc.boolean(),
  }),
  'tree-ack': fc.record({ kind: fc.constant('tree-ack'), space, session: count, seq: count, stop: fc.boolean() }),
  sketch: fc.record({
    kind: fc.constant('sketch'),
    space,
    session: count,
    context: bytes(8),
    from: count,
    cells: anyBytes(60),
  }),
  'sketch-ask': fc.record({
    kind: fc.constant('sketch-ask'),
    space,
    session: count,
    more: count,
    digests: eights(3),
    cells: anyBytes(40),
  }),
  presence: fc.record({
    kind: fc.constant('presence'),
    space,
    statements: fc.array(
      fc.record({
        node,
        agent: text(20),
        version: count,
        leftMs: fc.nat(3_600_000),
        value: fc.oneof(fc.constant(new Uint8Array(0)), text(20).map(encodeValue)),
      }),
      { maxLength: 4 },
    ),
  }),
  'rights-ask': fc.record({ kind: fc.constant('rights-ask'), space, key: text(30), to: origin, amount: count }),
}

export const anyFrame: fc.Arbitrary<Frame> = fc.oneof(...(Object.values(framesOfKind) as fc.Arbitrary<Frame>[]))
