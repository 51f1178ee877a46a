import { deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { unpackMultiple } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { binaryString, fromHex, toHex } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { Writer } from '../base/msgpack.ts'
import { prng } from '../base/prng.ts'
import { originId } from '../crdt/dot.ts'
import type { OriginId } from '../crdt/dot.ts'
import { decodePacket, encodePacket, encodePackets, frameCodecs, protocol } from './codec.ts'
import type { Frame, NodeId } from './frame.ts'
import { anyFrame, framesOfKind } from './frames.test-kit.ts'
import { shortNameOf, shortOf, spaceIdOf } from './names.ts'

const space = spaceIdOf('tasks', 1)
const kinds = Object.keys(frameCodecs) as Frame['kind'][]

function hex(bytes: number, chance: ReturnType<typeof prng>): string {
  return toHex(Uint8Array.from({ length: bytes }, () => chance.below(256)))
}

function originsOf(count: number): OriginId[] {
  const chance = prng(count)
  return Array.from({ length: count }, () => originId(hex(16, chance))).sort()
}

/** A packet put together by hand, so that it can be wrong. */
function written(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer()
  writer.begin()
  write(writer)
  return writer.finish()
}

const faultOf = (packet: Uint8Array): string | undefined => decodePacket(packet).fault?.code

describe.each(kinds)('%s', (kind) => {
  const arbitrary = framesOfKind[kind] as fc.Arbitrary<Frame>

  test('[P1] comes back as it was, and has one form', () => {
    fc.assert(
      fc.property(arbitrary, (frame) => {
        const packet = encodePacket([frame])
        const { frames, fault } = decodePacket(packet)
        expect(fault).toBeUndefined()
        expect(frames).toEqual([frame])
        expect(encodePacket(frames)).toEqual(packet)
      }),
    )
  })

  test('is plain MessagePack to another reader', () => {
    fc.assert(
      fc.property(arbitrary, (frame) => {
        const [parts] = unpackMultiple(encodePacket([frame])) as unknown[][]
        expect(parts?.[0]).toBe(frameCodecs[kind].code)
        expect(parts?.length).toBe(1 + frameCodecs[kind].fields)
      }),
      { numRuns: 30 },
    )
  })

  test('[P2] cut short anywhere, nothing or a fault comes out', () => {
    fc.assert(
      fc.property(arbitrary, (frame) => {
        const packet = encodePacket([frame])
        for (let end = 1; end < packet.length; end++) {
          expect(decodePacket(packet.slice(0, end))).toMatchObject({ frames: [], fault: { code: 'malformed', at: 0 } })
        }
      }),
      { numRuns: 20 },
    )
  })

  test('[P3] fields of a later minor version are skipped', () => {
    const frame = fc.sample(arbitrary, { numRuns: 1, seed: 7 })[0] as Frame
    const packet = encodePacket([frame])
    const grown = written((writer) => {
      writer.array(1 + frameCodecs[kind].fields + 2)
      writer.raw(packet.subarray(1))
      writer.value({ later: [1, null, 'x'] })
      writer.value('more')
    })
    expect(decodePacket(grown)).toEqual({ frames: [frame], fault: undefined })
  })
})

describe('a packet', () => {
  test('of several frames keeps their order, and comes back as it was', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 6 }), (frames) => {
        const packet = encodePacket(frames)
        expect(decodePacket(packet)).toEqual({ frames, fault: undefined })
      }),
    )
  })

  test('[P2] with changed bytes ends in frames and perhaps a fault; what was taken has one form', () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 3 }), edits, (frames, changes) => {
        const packet = encodePacket(frames).slice()
        for (const [at, byte] of changes) packet[at % packet.length] = byte
        const { frames: taken } = decodePacket(packet)
        const known = taken.filter((frame) => frame.kind !== 'hello' || frame.major === protocol.major)
        expect(decodePacket(encodePacket(known))).toEqual({ frames: known, fault: undefined })
      }),
      { numRuns: 2000 },
    )
  })

  test('of any bytes ends in frames and perhaps a fault', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        decodePacket(bytes)
      }),
      { numRuns: 5000 },
    )
  })

  test('[P2] gives the frames before a fault, and says where it is', () => {
    const good = encodePacket([{ kind: 'nack', seq: 1 }])
    const packet = Uint8Array.of(...good, ...good, 0x92, 0x0b, 0xc0)
    const { frames, fault } = decodePacket(packet)
    expect(frames).toHaveLength(2)
    expect(fault).toMatchObject({ code: 'malformed', at: 2 * good.length })
  })

  test('[P3] with kinds that nobody knows skips them', () => {
    const nack = { kind: 'nack', seq: 1 } as const
    const packet = written((writer) => {
      writer.value([0x3e, { a: ['of', 'a', 'later', 'version'] }])
      writer.value([70_000])
      writer.raw(encodePacket([nack]))
      writer.value([0x30])
    })
    expect(decodePacket(packet)).toEqual({ frames: [nack], fault: undefined })
  })

  test('that is too long, or has too many frames, is a fault', () => {
    expect(faultOf(new Uint8Array(limits.packetBytes + 1))).toBe('too_large')
    const nack: Frame = { kind: 'nack', seq: 1 }
    const many = Array.from({ length: limits.packetFrames + 1 }, () => nack)
    expect(encodePackets(many).map((packet) => decodePacket(packet).frames.length)).toEqual([limits.packetFrames, 1])
    const long = written((writer) => many.forEach(() => writer.value([0x0b, 1])))
    expect(decodePacket(long)).toMatchObject({ fault: { code: 'too_large' } })
    expect(decodePacket(long).frames).toHaveLength(limits.packetFrames)
  })

  test('is closed when the next frame does not fit', () => {
    const cells = (seq: number): Frame => ({
      kind: 'tree-cells',
      space,
      session: 1,
      seq,
      cells: new Uint8Array(400_000),
      last: false,
    })
    const packets = encodePackets([cells(1), cells(2), cells(3)])
    expect(packets.map((packet) => decodePacket(packet).frames)).toEqual([[cells(1), cells(2)], [cells(3)]])
    expect(() => encodePacket([cells(1), cells(2), cells(3)])).toThrow('the frames fit one packet')
  })

  test('holds the largest delta', () => {
    const run = { origin: originsOf(1)[0] as OriginId, seq: 2 ** 53 - 1, bodies: [new Uint8Array(limits.deltaBytes)] }
    const frame: Frame = { kind: 'deltas', space, runs: [run], cause: 'catch-up', more: true, hops: 0 }
    expect(decodePacket(encodePacket([frame])).frames).toEqual([frame])
  })
})

describe('a hello of another major version', () => {
  test('[P4] is read as far as its version, whatever else it says, and ends the packet', () => {
    const packet = written((writer) => {
      writer.value([0, 2, 7, { nothing: 'that we know' }])
      writer.value(['nor', 'this'])
    })
    expect(decodePacket(packet)).toMatchObject({ frames: [{ kind: 'hello', major: 2, minor: 7 }], fault: undefined })
    expect(decodePacket(written((writer) => writer.value([0, 2, 7]))).frames).toHaveLength(1)
  })
})

describe('what is not in the one form is refused', () => {
  const table = (...origins: string[]): Uint8Array => fromHex(`0123456701234567${origins.join('')}`)
  const [a, b] = ['a'.repeat(32), 'b'.repeat(32)]
  const body = new Uint8Array(3)
  const short = (...bytes: number[]): unknown[] => [0x19, table(), 2, Uint8Array.of(...bytes)]

  test.each<[title: string, frame: unknown[]]>([
    ['origins out of order', [0x11, table(b, a), [1, 1]]],
    ['an origin twice', [0x11, table(a, a), [1, 1]]],
    ['a sequence too many', [0x11, table(a), [1, 1]]],
    ['a sequence of 0', [0x11, table(a), [0]]],
    ['a table cut in an origin', [0x11, table(a).subarray(0, 20), [1]]],
    ['a table shorter than a space', [0x13, new Uint8Array(7)]],
    ['origins that nothing names', [0x13, table(a)]],
    ['a run of an origin that the table lacks', [0x10, table(a), 0, [1, 1, 1, body]]],
    ['a table in another order than the runs', [0x10, table(a, b), 0, [1, 1, 1, body, 0, 1, 1, body]]],
    ['a table with more than the runs name', [0x10, table(a, b), 0, [0, 1, 1, body]]],
    ['a table that names an origin twice', [0x10, table(a, a), 0, [0, 1, 1, body, 1, 1, 1, body]]],
    ['an empty run', [0x10, table(a), 0, [0, 1, 0]]],
    ['a run that starts at 0', [0x10, table(a), 0, [0, 0, 1, body]]],
    ['a run that starts between two', [0x10, table(a), 0, [0, 1.5, 1, body]]],
    ['a run with fewer bodies than it says', [0x10, table(a), 0, [0, 1, 2, body]]],
    ['a run that ends in the middle', [0x10, table(a), 0, [0, 1, 1, body, 0]]],
    ['a run beyond all sequences', [0x10, table(a), 0, [0, 2 ** 53 - 1, 2, body, body]]],
    ['half an entry', short(1)],
    ['an entry with a sequence of 0', short(1, 0)],
    ['entries of one origin out of order', short(1, 5, 0, 4)],
    ['a varint that is longer than needed', short(0x81, 0x00, 1)],
    ['a varint beyond all sequences', short(1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)],
    ['a varint without an end', short(1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80)],
    ['a short origin beyond 32 bits', short(0x80, 0x80, 0x80, 0x80, 0x20, 1)],
    ['a greeting without a count', [0x18, new Uint8Array(25)]],
    ['a greeting whose count is longer than needed', [0x18, new Uint8Array(27)]],
    ['a member who is named twice', [0x08, 1, [new Uint8Array(16), '', 0, 0, '', 0]]],
    ['a member in an unknown state', [0x08, 1, [new Uint8Array(8), '', 0, 4, '', 0]]],
    ['half a statement', [0x08, 1, [new Uint8Array(8)]]],
    ['half a leaf sum', [0x20, table(), [], 1, new Uint8Array(7), '']],
    ['half a digest', [0x25, table(), 1, 0, new Uint8Array(9), body]],
    ['a chain of another length', [0x1b, table(a), [1], 0, new Uint8Array(15)]],
    ['a context that the table lacks', [0x21, table(a), [1], new Uint8Array(16), [1], [[1, 1]], 1, body, 1, body]],
    ['an offer that names an origin for nothing', [0x21, table(a), [0], body.subarray(3), [], [], 1, body, 1, body]],
    ['rights for two', [0x28, table(a, b), 'k', 1]],
    ['a time between two', [0, 1, 0, body, body, body, 0.5, '']],
    ['a kind that is no number', ['hello']],
    ['no kind', []],
  ])('%s', (_, frame) => {
    expect(decodePacket(written((writer) => writer.value(frame)))).toMatchObject({
      frames: [],
      fault: { code: 'malformed' },
    })
  })

  test.each<[title: string, bytes: number[]]>([
    ['no array', [0x01]],
    ['an extension', [0x92, 0x3e, 0xd4, 0, 0]],
    ['a byte that is no header', [0x92, 0x3e, 0xc1]],
  ])('%s', (_, bytes) => {
    expect(faultOf(Uint8Array.from(bytes))).toBe('malformed')
  })

  test.each<[title: string, frame: unknown[]]>([
    ['an address', [0x0a, 1, new Uint8Array(8), 'x'.repeat(limits.addressBytes + 1), []]],
    ['a reason', [0x01, '', 'x'.repeat(limits.refusalBytes + 1)]],
    ['a space name', [0x02, ['x'.repeat(limits.spaceNameBytes + 1), 1]]],
    ['a table', [0x11, new Uint8Array(8 + 16 * (limits.frameOrigins + 1)), []]],
    ['leaf sums', [0x20, table(), [], new Uint8Array(0), 1, new Uint8Array(limits.leafSumBytes + 8), '']],
    ['deltas', [0x10, table(a), 0, [0, 1, 20_000, ...Array.from({ length: 20_000 }, () => body)]]],
  ])('%s over its limit', (_, frame) => {
    expect(faultOf(written((writer) => writer.value(frame)))).toBe('too_large')
  })
})

describe('[P5] a count that lies costs nothing', () => {
  test.each<[title: string, bytes: number[]]>([
    ['of frame fields', [0xdd, 0xff, 0xff, 0xff, 0xff, 0x08]],
    ['of statements', [0x93, 0x08, 0x01, 0xdd, 0xff, 0xff, 0xff, 0xff]],
    ['of runs', [0x94, 0x10, 0xc4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xdd, 0xff, 0xff, 0xff, 0xff]],
    ['of bytes', [0x92, 0x13, 0xc6, 0xff, 0xff, 0xff, 0xff]],
    ['in a kind that is skipped', [0x92, 0x3e, 0xdf, 0xff, 0xff, 0xff, 0xff]],
    ['in an envelope', [0x93, 0x3f, 0xce, 0xff, 0xff, 0xff, 0xff, 0xc4, 1, 3]],
  ])('%s', (_, bytes) => {
    const packet = Uint8Array.from(bytes)
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < 1000; i++) expect(decodePacket(packet).fault).toBeDefined()
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024)
  })
})

describe('bytes', () => {
  const [origin] = originsOf(1) as [OriginId]

  test('[P6] of a greeting: at most 32 up to a million siblings', () => {
    const greeting = (count: number): number =>
      encodePacket([
        {
          kind: 'greeting',
          space,
          context: new Uint8Array(8),
          root: new Uint8Array(8),
          count,
          durable: true,
          catchingUp: true,
          answer: true,
        },
      ]).length
    expect([0, 255, 65_535, 1_000_000, 16_777_215, 2 ** 53 - 1].map(greeting)).toEqual([30, 30, 31, 32, 32, 36])
  })

  test('[P6] of a lone pushed delta: at most 40 over its body', () => {
    const over = (seq: number, size: number): number =>
      encodePacket([
        {
          kind: 'deltas',
          space,
          runs: [{ origin, seq, bodies: [new Uint8Array(size)] }],
          cause: 'push',
          more: false,
          hops: 31,
        },
      ]).length - size
    expect([over(1, 200), over(100_000, 200), over(100_000, 60_000), over(2 ** 32, 200)]).toEqual([35, 39, 40, 43])
  })

  test('[P6] of a short vector entry: about 6, and some 19 in the full form', () => {
    const chance = prng(5)
    const sizes = [10, 100, 1000, 10_000].map((count) => {
      const origins = originsOf(count)
      const seqs = origins.map(() => 1 + chance.below(10_000))
      const short = origins.map((name, at) => ({ origin: shortNameOf(name), seq: seqs[at] as number }))
      const full = origins.map((name, at) => ({ origin: name, seq: seqs[at] as number }))
      const bytes = (frame: Frame): number => encodePacket([frame]).length / count
      return [
        bytes({ kind: 'vector', space, entries: short, form: 'short', answer: true }),
        bytes({ kind: 'vector', space, entries: full, form: 'full', answer: true }),
      ].map((each) => Number(each.toFixed(1)))
    })
    expect(sizes).toEqual([
      [8.1, 20.4],
      [6.1, 19.1],
      [5.6, 19],
      [5, 19],
    ])
  })
})

describe('packing', () => {
  const text = (seq: number): Uint8Array =>
    Uint8Array.from(`{"key":"task-${seq}","status":"doing"}`, (c) => c.charCodeAt(0))
  const deltas: Frame = {
    kind: 'deltas',
    space,
    runs: [{ origin: originsOf(1)[0] as OriginId, seq: 1, bodies: Array.from({ length: 100 }, (_, i) => text(i)) }],
    cause: 'push',
    more: false,
    hops: 1,
  }
  const envelope = (plain: Uint8Array, size = plain.length, bytes: Uint8Array = deflateRawSync(plain)): Uint8Array =>
    written((writer) => writer.value([0x3f, size, bytes]))

  test('makes it smaller, and every receiver takes it', () => {
    const plain = encodePacket([deltas])
    const packed = encodePacket([deltas], { packed: true })
    expect(packed.length).toBeLessThan(plain.length / 3)
    expect(decodePacket(packed)).toEqual({ frames: [deltas], fault: undefined })
  })

  test('leaves alone what is small, or does not get smaller', () => {
    const small: Frame[] = [{ kind: 'nack', seq: 1 }]
    expect(encodePacket(small, { packed: true })).toEqual(encodePacket(small))
    const chance = prng(9)
    const noise = Uint8Array.from({ length: 5000 }, () => chance.below(256))
    const cells: Frame[] = [{ kind: 'tree-cells', space, session: 1, seq: 1, cells: noise, last: true }]
    expect(encodePacket(cells, { packed: true })).toEqual(encodePacket(cells))
    // What would look like a bomb is sent as it is.
    const zeros: Frame[] = [
      { kind: 'tree-cells', space, session: 1, seq: 1, cells: new Uint8Array(900_000), last: true },
    ]
    expect(encodePacket(zeros, { packed: true })).toEqual(encodePacket(zeros))
  })

  test('[P5] a bomb is refused before it is opened', () => {
    expect(faultOf(envelope(new Uint8Array(limits.packetBytes + 1)))).toBe('too_large')
    expect(faultOf(envelope(new Uint8Array(1_000_000)))).toBe('too_large')
    // One that says less than it is.
    expect(faultOf(envelope(new Uint8Array(1_000_000), 1000))).toBe('malformed')
  })

  test('an envelope that says more than it is, is cut, garbled, nested or followed is a fault', () => {
    const plain = encodePacket([deltas])
    const packed = encodePacket([deltas], { packed: true })
    expect(faultOf(envelope(plain, plain.length + 1))).toBe('malformed')
    expect(faultOf(envelope(plain, plain.length, deflateRawSync(plain).subarray(0, 200)))).toBe('malformed')
    expect(faultOf(envelope(plain, plain.length, new Uint8Array(200).fill(0xff)))).toBe('malformed')
    expect(faultOf(envelope(packed))).toBe('malformed')
    expect(faultOf(Uint8Array.of(...packed, ...encodePacket([{ kind: 'nack', seq: 1 }])))).toBe('malformed')
    for (let end = 1; end < packed.length; end += 7) expect(faultOf(packed.slice(0, end))).toBe('malformed')
  })
})

test('what is decoded from a Buffer holds none', () => {
  const cells: Frame = { kind: 'tree-cells', space, session: 1, seq: 1, cells: new Uint8Array(5), last: true }
  expect(decodePacket(Buffer.from(encodePacket([cells]))).frames).toEqual([cells])
})

describe('names', () => {
  test('of spaces differ by name and by generation', () => {
    expect(spaceIdOf('tasks', 1)).toMatch(/^[0-9a-f]{16}$/)
    const names = [spaceIdOf('tasks', 1), spaceIdOf('tasks', 2), spaceIdOf('task', 1), spaceIdOf('', 0)]
    expect(new Set(names).size).toBe(4)
  })

  test('of origins are 32 bits, the same as a number and as text', () => {
    for (const origin of originsOf(50)) {
      expect(Number.parseInt(shortNameOf(origin), 16)).toBe(shortOf(origin))
      expect(shortNameOf(origin)).toHaveLength(8)
    }
    expect(new Set(originsOf(5000).map(shortOf)).size).toBe(5000)
  })

  test('a node is not a byte string', () => {
    const node = '0123456789abcdef' as NodeId
    const packet = encodePacket([{ kind: 'ping-request', seq: 1, target: node, address: '', updates: [] }])
    expect(binaryString(packet)).not.toContain(node)
  })
})
