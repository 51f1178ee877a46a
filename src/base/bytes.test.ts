import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  binaryString,
  compareBytes,
  compareUtf8,
  equalBytes,
  fromBinaryString,
  fromHex,
  toHex,
  utf8,
  utf8Length,
} from './bytes.ts'

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom('a', 'b', 'é', '\uffff', '\ue000', '😀', '\u{10ffff}') }),
)

test('[C4.14] strings are ordered by their UTF-8 bytes, where JavaScript orders beyond the BMP otherwise', () => {
  expect(['\uffff', '😀'].toSorted()).toEqual(['😀', '\uffff'])
  expect(compareUtf8('😀', '\uffff')).toBeGreaterThan(0)
  fc.assert(
    fc.property(anyText, anyText, (a, b) => {
      expect(Math.sign(compareUtf8(a, b))).toBe(Math.sign(compareBytes(utf8(a), utf8(b))))
    }),
  )
})

test('the length in UTF-8 is known without encoding, lone surrogates included', () => {
  for (const text of ['\ud83d', '\ude00', 'a\ud83d', '\ud83da', '\ude00\ud83d'])
    expect(utf8Length(text)).toBe(utf8(text).length)
  fc.assert(
    fc.property(anyText, (text) => {
      expect(utf8Length(text)).toBe(utf8(text).length)
    }),
  )
})

describe('bytes', () => {
  const someBytes = fc.uint8Array({ maxLength: 40 })

  test('as a binary string they come back and keep their order', () => {
    fc.assert(
      fc.property(someBytes, someBytes, (a, b) => {
        expect(fromBinaryString(binaryString(a))).toEqual(a)
        const [x, y] = [binaryString(a), binaryString(b)]
        expect(x < y ? -1 : x > y ? 1 : 0).toBe(Math.sign(compareBytes(a, b)))
      }),
    )
  })

  test('a binary string of many bytes is made in pieces', () => {
    const long = Uint8Array.from({ length: 10_000 }, (_, at) => at & 0xff)
    expect(fromBinaryString(binaryString(long))).toEqual(long)
    expect(fromBinaryString(binaryString(long, 4000, 9000))).toEqual(long.slice(4000, 9000))
  })

  test('hexadecimal and back', () => {
    fc.assert(
      fc.property(someBytes, (bytes) => {
        expect(fromHex(toHex(bytes))).toEqual(bytes)
      }),
    )
    expect(toHex(Uint8Array.of(0, 1, 0xab, 0xff))).toBe('0001abff')
  })

  test('equal means the same bytes', () => {
    fc.assert(
      fc.property(someBytes, someBytes, (a, b) => {
        expect(equalBytes(a, b)).toBe(compareBytes(a, b) === 0)
      }),
    )
    fc.assert(
      fc.property(someBytes, (a) => {
        expect(equalBytes(a, a.slice())).toBe(true)
      }),
    )
  })
})
