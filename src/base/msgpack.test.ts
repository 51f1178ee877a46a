import fc from 'fast-check'
import { Packr, unpack } from 'msgpackr'
import { describe, expect, test } from 'vitest'
import { compareBytes, utf8 } from './bytes.ts'
import { SkeinError } from './errors.ts'
import type { ErrorCode } from './errors.ts'
import { limits } from './limits.ts'
import { Reader, Writer, decodeValue, encodeValue, skipValue } from './msgpack.ts'

function codeOf(run: () => unknown): ErrorCode | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    if (error instanceof SkeinError) return error.code
    throw error
  }
}

const of = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes)
const text = (given: string): number[] => [0xa0 + utf8(given).length, ...utf8(given)]

const wellFormed = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: fc.constantFrom('a', '1', 'é', '\uffff', '😀', '\u{10ffff}') }),
  fc.string({ unit: 'binary-ascii', maxLength: 300 }),
)
const name = wellFormed.filter((given) => given !== '__proto__')
const numbers = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(
    0,
    -0,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    2 ** 32 - 1,
    2 ** 32,
    -32,
    -33,
    -128,
    -129,
    -32_768,
    -32_769,
  ),
  fc.constantFrom(-(2 ** 31), -(2 ** 31) - 1, 2 ** 53, 0.5),
)
const { value: anyValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false),
    numbers,
    wellFormed,
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(name, tie('value'), { maxKeys: 20 }),
  ),
}))

/** -0 is 0 once it was encoded. */
function withoutMinusZero(value: unknown): unknown {
  if (value === 0) return 0
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(withoutMinusZero)
  return Object.fromEntries(Object.entries(value).map(([field, item]) => [field, withoutMinusZero(item)]))
}

describe('the canonical form', () => {
  test('a value comes back as it was', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(decodeValue(encodeValue(value))).toStrictEqual(withoutMinusZero(value))
      }),
      { numRuns: 500 },
    )
  })

  test('there is one form: whatever decodes is what its value encodes to', () => {
    fc.assert(
      fc.property(anyValue, fc.nat(), fc.nat(255), (value, at, byte) => {
        const bytes = encodeValue(value).slice()
        bytes[at % bytes.length] = byte
        let decoded: unknown
        const code = codeOf(() => (decoded = decodeValue(bytes)))
        if (code === undefined && !hasProto(decoded)) expect(encodeValue(decoded)).toEqual(bytes)
        else if (code !== undefined) expect(code).toBe('malformed')
      }),
      { numRuns: 2000 },
    )
  })

  test('msgpackr reads it, and writes the same for what is no map', () => {
    const packr = new Packr({ useRecords: false, mapsAsObjects: true })
    fc.assert(
      fc.property(anyValue, (value) => {
        const bytes = encodeValue(value)
        expect(encodeValue(unpack(bytes.slice()))).toEqual(bytes)
        if (typeof value !== 'object' || value === null) {
          const plain = withoutMinusZero(value)
          expect(decodeValue(Uint8Array.from(packr.pack(plain)))).toStrictEqual(plain)
        }
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    [0, [0x00]],
    [127, [0x7f]],
    [128, [0xcc, 0x80]],
    [255, [0xcc, 0xff]],
    [256, [0xcd, 0x01, 0x00]],
    [65_536, [0xce, 0x00, 0x01, 0x00, 0x00]],
    [4_294_967_295, [0xce, 0xff, 0xff, 0xff, 0xff]],
    [4_294_967_296, [0xcb, 0x41, 0xf0, 0, 0, 0, 0, 0, 0]],
    [-1, [0xff]],
    [-32, [0xe0]],
    [-33, [0xd0, 0xdf]],
    [-129, [0xd1, 0xff, 0x7f]],
    [-32_769, [0xd2, 0xff, 0xff, 0x7f, 0xff]],
    [-2_147_483_649, [0xcb, 0xc1, 0xe0, 0, 0, 0, 0x20, 0, 0]],
    [0.5, [0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0]],
    [null, [0xc0]],
    [false, [0xc2]],
    [true, [0xc3]],
    ['', [0xa0]],
    ['é', [0xa2, 0xc3, 0xa9]],
    [of(1, 2), [0xc4, 2, 1, 2]],
    [[], [0x90]],
    [{}, [0x80]],
  ])('%j takes its shortest form', (value, bytes) => {
    expect([...encodeValue(value)]).toEqual(bytes)
    expect(decodeValue(Uint8Array.from(bytes))).toStrictEqual(value)
  })

  test.each([
    ['a number in more bytes than it needs', of(0xcc, 0x7f)],
    ['16 bits for 8', of(0xcd, 0, 0xff)],
    ['32 bits for 16', of(0xce, 0, 0, 0xff, 0xff)],
    ['a negative number in more bytes than it needs', of(0xd0, 0xff)],
    ['a positive number as a signed one', of(0xd0, 0x05)],
    ['a 64-bit integer', of(0xcf, 0, 0, 0, 1, 0, 0, 0, 0)],
    ['a 32-bit float', of(0xca, 0x3f, 0, 0, 0)],
    ['an integer as a float', of(0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0)],
    ['-0', of(0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0)],
    ['NaN', of(0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0)],
    ['infinity', of(0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0)],
    ['a long header for a short string', of(0xd9, 1, 0x61)],
    ['a long header for a short array', of(0xdc, 0, 1, 0xc0)],
    ['a long header for a short map', of(0xde, 0, 1, ...text('a'), 0xc0)],
    ['a long header for few bytes', of(0xc5, 0, 1, 7)],
    ['fields out of order', of(0x82, ...text('b'), 1, ...text('a'), 1)],
    ['a field twice', of(0x82, ...text('a'), 1, ...text('a'), 1)],
    ['a field name that is a number', of(0x81, 1, 1)],
    ['fields in the order of UTF-16', of(0x82, ...text('😀'), 1, ...text('\uffff'), 1)],
    ['an extension', of(0xd4, 1, 1)],
    ['a timestamp', of(0xd6, 0xff, 0, 0, 0, 0)],
    ['the unused byte', of(0xc1)],
    ['a string that is not UTF-8', of(0xa1, 0xff)],
    ['a lone surrogate in UTF-8', of(0xa3, 0xed, 0xa0, 0x80)],
    ['an overlong form of a slash', of(0xa2, 0xc0, 0xaf)],
    ['nothing', of()],
    ['something after the end', of(1, 1)],
    ['half a number', of(0xcd, 1)],
    ['half a string', of(0xa5, 0x61)],
  ])('%s is malformed', (_what, bytes) => {
    expect(codeOf(() => decodeValue(bytes))).toBe('malformed')
  })
})

function hasProto(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false
  if (Object.hasOwn(value, '__proto__')) return true
  return Object.values(value).some(hasProto)
}

describe('[C4.14] what JavaScript leaves open has one form', () => {
  test('-0 is 0', () => {
    expect(encodeValue(-0)).toEqual(encodeValue(0))
    expect(encodeValue([{ a: -0 }])).toEqual(encodeValue([{ a: 0 }]))
  })

  test.each([[Number.NaN], [Infinity], [-Infinity], [{ a: [Number.NaN] }]])('%j is refused, not made null', (value) => {
    expect(codeOf(() => encodeValue(value))).toBe('invalid_value')
  })

  test('an undefined field is an absent one; an undefined item, a hole and a bare undefined are refused', () => {
    expect(encodeValue({ a: undefined, b: 1 })).toEqual(encodeValue({ b: 1 }))
    // oxlint-disable-next-line no-sparse-arrays
    for (const value of [undefined, [undefined], [1, , 2]])
      expect(codeOf(() => encodeValue(value))).toBe('invalid_value')
  })

  test('keys that look like integers, or were set in another order, make no difference', () => {
    expect(encodeValue({ b: 1, 10: 2, 9: 3, a: 4 })).toEqual(encodeValue({ 9: 3, a: 4, 10: 2, b: 1 }))
    expect(Object.keys(decodeValue(encodeValue({ 9: 1, 10: 2 })) as object)).toEqual(['9', '10'])
    // By their bytes, '10' comes before '9'.
    expect([...encodeValue({ 9: 1, 10: 2 })]).toEqual([0x82, ...text('10'), 2, ...text('9'), 1])
  })

  test('field names beyond the BMP are ordered by their UTF-8 bytes', () => {
    expect([...encodeValue({ '😀': 1, '\uffff': 2 })]).toEqual([0x82, ...text('\uffff'), 2, ...text('😀'), 1])
  })

  test('lone surrogates, which all encode to the same UTF-8, are refused in values and in names', () => {
    for (const value of ['\ud800', 'a\udc00', ['\udfff'], { a: '\ud83d' }, { '\ud83d': 1 }]) {
      expect(codeOf(() => encodeValue(value))).toBe('invalid_value')
    }
  })

  test('a byte order mark is a character like any other', () => {
    expect(decodeValue(encodeValue('\ufeffa'))).toBe('\ufeffa')
  })

  test.each([[new Date(0)], [new Map()], [/a/], [() => 1], [Symbol('a')], [1n], [new Error('a')]])(
    'what is no JSON data is refused: %s',
    (value) => {
      expect(codeOf(() => encodeValue({ field: value }))).toBe('invalid_value')
    },
  )

  test('objects without a prototype and Buffers are what they hold', () => {
    expect(encodeValue(Object.assign(Object.create(null), { a: 1 }))).toEqual(encodeValue({ a: 1 }))
    expect(encodeValue(Buffer.from([1, 2]))).toEqual(encodeValue(of(1, 2)))
  })
})

describe('bytes from outside', () => {
  test('random bytes do nothing but throw malformed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const code = codeOf(() => decodeValue(bytes))
        expect(code === undefined || code === 'malformed').toBe(true)
      }),
      { numRuns: 5000 },
    )
  })

  test('what is cut short is malformed at every length', () => {
    const bytes = encodeValue({ a: [1, 2.5, 'text', of(1, 2, 3), null], b: { c: -70_000 } })
    for (let length = 0; length < bytes.length; length++) {
      expect(codeOf(() => decodeValue(bytes.subarray(0, length)))).toBe('malformed')
    }
  })

  test('a depth bomb is refused before it is a stack', () => {
    for (const head of [0x91, 0x81]) {
      const bomb = new Uint8Array(1_000_000).fill(head)
      expect(codeOf(() => decodeValue(bomb))).toBe('malformed')
    }
  })

  test('depth ends at the same place for writer and reader', () => {
    const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])
    const deepest = encodeValue(nested(limits.valueDepth))
    expect(encodeValue(decodeValue(deepest))).toEqual(deepest)
    expect(codeOf(() => encodeValue(nested(limits.valueDepth + 1)))).toBe('too_deep')
    expect(codeOf(() => decodeValue(of(0x91, ...deepest)))).toBe('malformed')
    const cycle: unknown[] = []
    cycle.push(cycle)
    expect(codeOf(() => encodeValue(cycle))).toBe('too_deep')
  })

  test.each([
    ['array', of(0xdd, 0xff, 0xff, 0xff, 0xff)],
    ['map', of(0xdf, 0xff, 0xff, 0xff, 0xff)],
    ['string', of(0xdb, 0xff, 0xff, 0xff, 0xff)],
    ['byte string', of(0xc6, 0xff, 0xff, 0xff, 0xff)],
    ['map that its bytes pay for by half', of(0x83, 0xa0, 0xc0, 0xa1)],
  ])('a huge %s is refused before anything is allocated', (_kind, bytes) => {
    expect(codeOf(() => decodeValue(bytes))).toBe('malformed')
  })

  test('__proto__ is refused in values and stays an own property when a peer sends it', () => {
    const poisoned = JSON.parse('{"__proto__": {"polluted": true}}') as unknown
    expect(codeOf(() => encodeValue(poisoned))).toBe('reserved_name')
    const decoded = decodeValue(of(0x81, ...text('__proto__'), 0x81, ...text('polluted'), 0xc3)) as object
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype)
    expect(Object.hasOwn(decoded, '__proto__')).toBe(true)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})

describe('the writer', () => {
  test('never overwrites a piece that it gave out, whatever follows', () => {
    fc.assert(
      fc.property(fc.array(anyValue, { maxLength: 30 }), (values) => {
        const writer = new Writer(64)
        const pieces = values.map((value) => {
          writer.begin()
          writer.value(value)
          return writer.finish()
        })
        for (const [at, piece] of pieces.entries()) expect(piece).toEqual(encodeValue(values[at]))
      }),
    )
  })

  test('a piece given up leaves no trace', () => {
    const writer = new Writer(64)
    writer.begin()
    expect(codeOf(() => writer.value(['begun', Number.NaN]))).toBe('invalid_value')
    writer.begin()
    writer.value('next')
    expect([...writer.finish()]).toEqual(text('next'))
  })

  test('strings of every length around a header take the right one', () => {
    for (const length of [31, 32, 33, 85, 255, 256, 21_845, 65_535, 65_536]) {
      for (const unit of ['a', 'é', '\uffff']) {
        const given = unit.repeat(length)
        expect(decodeValue(encodeValue(given))).toBe(given)
      }
    }
  })
})

describe('the reader', () => {
  test('walks values one after the other', () => {
    const writer = new Writer()
    writer.begin()
    for (const value of [1, 'a', [true], null]) writer.value(value)
    const reader = new Reader(writer.finish())
    expect(reader.uint()).toBe(1)
    expect(reader.string()).toBe('a')
    expect([...reader.raw()]).toEqual([0x91, 0xc3])
    expect(reader.nil()).toBe(true)
    expect(reader.done).toBe(true)
    reader.finish()
    expect(codeOf(() => reader.byte())).toBe('malformed')
  })

  test('takes whole numbers in their range only', () => {
    for (const [value, max] of [
      [-1, 10],
      [11, 10],
      [0.5, 10],
      [2 ** 53, undefined],
    ] as const) {
      expect(codeOf(() => new Reader(encodeValue(value)).uint(max))).toBe('malformed')
    }
    expect(new Reader(encodeValue(2 ** 53 - 1)).uint()).toBe(2 ** 53 - 1)
  })

  test('keeps to its part of the bytes', () => {
    const bytes = of(0xc0, ...text('ab'), 0xc0)
    expect(codeOf(() => new Reader(bytes, 1, 3).string())).toBe('malformed')
    expect(new Reader(bytes, 1, 4).string()).toBe('ab')
  })
})

test('canonical bytes order integers below 128 and short strings as one would expect', () => {
  expect(compareBytes(encodeValue(1), encodeValue(2))).toBeLessThan(0)
  expect(compareBytes(encodeValue('a'), encodeValue('b'))).toBeLessThan(0)
})

test('skipping a value lands where reading it does', () => {
  fc.assert(
    fc.property(anyValue, (value) => {
      const bytes = Uint8Array.of(1, ...encodeValue(value), 2)
      expect(skipValue(bytes, 1)).toBe(bytes.length - 1)
    }),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 32 }), (bytes) => {
      const code = codeOf(() => skipValue(bytes, 0))
      expect(code === undefined || code === 'malformed').toBe(true)
    }),
    { numRuns: 2000 },
  )
})
