import fc from 'fast-check'
import { unpack } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { toHex } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { Writer, encodeValue } from '../base/msgpack.ts'
import { pathOf } from './cell.ts'
import { advanceChain, decodeDelta, encodeDelta, follows, linkOf, startChain } from './delta.ts'
import type { Delta } from './delta.ts'
import { originId } from './dot.ts'

const [a, b] = [originId('a'.repeat(32)), originId('b'.repeat(32))]

const delta: Delta = {
  origin: a,
  seq: 9,
  time: 3_686_400_000_000_001,
  link: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
  context: [{ origin: b, seq: 3 }],
  agent: 'agent-7',
  reason: 'because',
  clears: [{ key: 'gone', type: 0, keep: [{ origin: b, seq: 2 }] }],
  writes: [
    {
      key: 'k',
      type: 2,
      path: pathOf(['x']),
      value: encodeValue('v'),
      expires: 0,
      supersedes: [{ origin: a, seq: 8 }],
    },
    { key: 'k', type: 2, path: pathOf(['y']), value: undefined, expires: 0, supersedes: [{ origin: b, seq: 1 }] },
    { key: 'l', type: 1, path: '\xc0', value: encodeValue(1), expires: 99, supersedes: [] },
  ],
}

/** The same parts as `encodeDelta` writes, put together by hand so that they can be wrong. */
function parts(change: (writer: Writer) => void): Uint8Array {
  const writer = new Writer()
  writer.begin()
  writer.array(8)
  writer.number(5)
  writer.bin(new Uint8Array(8))
  writer.array(0)
  writer.array(0)
  writer.string('agent')
  writer.nil()
  writer.array(0)
  change(writer)
  return writer.finish()
}

function malformed(bytes: Uint8Array): string {
  try {
    decodeDelta(a, 9, bytes)
    return 'taken'
  } catch (error) {
    if (!(error instanceof SkeinError)) throw error
    return error.code
  }
}

describe('a delta', () => {
  test('comes back as it was, from bytes that msgpackr reads', () => {
    const bytes = encodeDelta(delta)
    expect(decodeDelta(a, 9, bytes)).toEqual(delta)
    expect(toHex(encodeDelta(decodeDelta(a, 9, bytes)))).toBe(toHex(bytes))
    const read = unpack(bytes) as unknown[]
    expect(read).toHaveLength(8)
    expect(read[4]).toBe('agent-7')
  })

  test('has one form: changed bytes are malformed, or are the form of another delta', () => {
    const samples = [delta, { ...delta, context: [], clears: [], reason: undefined }].map((each) =>
      encodeDelta(each).slice(),
    )
    let taken = 0
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.nat(), fc.nat(255), fc.nat(3), (sample, place, byte, extra) => {
        const bytes = sample.slice()
        bytes[place % bytes.length] = byte
        // Two changes together reach further than one.
        if (extra > 0) bytes[(place * 7 + extra) % bytes.length] = extra
        try {
          const decoded = decodeDelta(a, 9, bytes)
          expect(toHex(encodeDelta(decoded))).toBe(toHex(bytes))
          taken++
        } catch (error) {
          expect(error).toBeInstanceOf(SkeinError)
        }
      }),
      { numRuns: 5000 },
    )
    expect(taken).toBeGreaterThan(50)
  })

  test('that writes one cell twice is malformed', () => {
    const twice = parts((writer) => {
      writer.array(10)
      for (const value of [1, 2]) {
        if (value === 1) writer.string('k')
        else writer.nil()
        writer.number(4 * 1 + 1)
        writer.nil()
        writer.number(value)
        writer.nil()
      }
    })
    expect(malformed(twice)).toBe('malformed')
  })

  test('that does nothing, supersedes itself or names nobody is malformed', () => {
    const write = (head: number, tail: (writer: Writer) => void, items: number): Uint8Array =>
      parts((writer) => {
        writer.array(items)
        writer.string('k')
        writer.number(head)
        writer.nil()
        tail(writer)
      })
    expect(malformed(write(5, (writer) => (writer.number(1), writer.nil()), 5))).toBe('taken')
    expect(malformed(write(4, (writer) => writer.nil(), 4))).toBe('malformed')
    expect(malformed(write(4, (writer) => writer.number(0), 4))).toBe('malformed')
    expect(malformed(write(4, (writer) => writer.number(9), 4))).toBe('malformed')
    expect(malformed(write(4, (writer) => writer.array(0), 4))).toBe('malformed')
    expect(malformed(write(1, (writer) => (writer.number(1), writer.nil()), 5))).toBe('malformed')
  })

  test('of random or damaged bytes is read or malformed, never anything else', () => {
    const good = encodeDelta(delta)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => ['taken', 'malformed'].includes(malformed(bytes))),
      { numRuns: 3000 },
    )
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(good.length), (at, flip, cut) => {
        const bytes = good.slice(0, cut === 0 ? good.length : cut)
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ flip
        return ['taken', 'malformed'].includes(malformed(bytes))
      }),
      { numRuns: 5000 },
    )
  })
})

describe('the chain', () => {
  test('links each delta to all before it, and to its space, generation and origin', () => {
    const chains = [startChain('s', 1, a), startChain('t', 1, a), startChain('s', 2, a), startChain('s', 1, b)]
    expect(new Set(chains.map(String)).size).toBe(4)
    const [chain] = chains as [Uint32Array]
    const link = linkOf(chain).slice()
    expect(follows({ ...delta, link }, chain)).toBe(true)
    advanceChain(chain, encodeDelta({ ...delta, link }))
    expect(follows({ ...delta, link }, chain)).toBe(false)
  })
})
