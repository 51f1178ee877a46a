/** The fuzzer itself: it finds what is planted, and every target is sound as far as a few thousand inputs tell. */
import { describe, expect, test } from 'vitest'
import { encodeValue, decodeValue } from '../src/base/msgpack.ts'
import { attempt, fuzz } from './fuzz/fuzzer.ts'
import type { Report } from './fuzz/fuzzer.ts'
import { taken } from './fuzz/target.ts'
import type { Target } from './fuzz/target.ts'
import { targets } from './fuzz/targets.ts'

function inputs(target: Target, most: number): Report {
  return fuzz(target, { seed: 1, more: (done) => done < most })
}

describe('every target is sound', () => {
  test.each(targets)('$name', (target) => {
    for (const input of target.corpus()) expect(attempt(target, input).broken).toBeUndefined()
    const report = inputs(target, target.inputsTested ?? 1000)
    expect(report.findings).toEqual([])
    expect(report.taken).toBeGreaterThan(0)
    expect(report.inputs).toBeGreaterThan(report.taken)
  })
})

function spin(microseconds: number): void {
  const from = process.threadCpuUsage()
  for (let spent = 0; spent < microseconds;) {
    const { user, system } = process.threadCpuUsage(from)
    spent = user + system
  }
}

describe('what is planted is found', () => {
  const valid = encodeValue([1, 'abc', { k: [true, 2] }])
  const planted = (name: string, run: (bytes: Uint8Array) => void): Target => ({
    name,
    corpus: () => [valid],
    run(bytes) {
      run(bytes)
      return taken
    },
  })

  test('a crash, shrunk to what makes it', () => {
    const { findings } = inputs(
      planted('crash', (bytes) => {
        if (bytes.includes(0xdd)) throw new RangeError('Invalid array length')
      }),
      5000,
    )
    expect(findings).toMatchObject([{ what: 'RangeError: Invalid array length', input: Uint8Array.of(0xdd) }])
  })

  test('a hang', () => {
    let hangs = 0
    const { findings } = inputs(
      planted('hang', (bytes) => {
        if (bytes.length > valid.length + 20 && hangs++ < 12) spin(80_000)
      }),
      400,
    )
    expect(findings[0]?.what).toMatch(/^took \d+ ms/)
  })

  test('memory that nobody paid for', () => {
    const { findings } = inputs(
      planted('memory', (bytes) => {
        if (bytes[0] === 0xdc) new Uint8Array(4_000_000).fill(1)
      }),
      20_000,
    )
    expect(findings[0]?.what).toMatch(/^allocated \d+ bytes for \d+/)
  })

  test('a changed prototype', () => {
    try {
      const { findings } = inputs(
        planted('prototype', () => {
          Object.defineProperty(Object.prototype, 'polluted', { value: 1, configurable: true })
        }),
        200,
      )
      expect(findings).toMatchObject([{ what: 'a prototype was changed' }])
    } finally {
      Reflect.deleteProperty(Object.prototype, 'polluted')
    }
  })

  test('a value that comes back as another', () => {
    const { findings } = inputs(
      planted('false', (bytes) => {
        let text = ''
        try {
          text = JSON.stringify(decodeValue(bytes))
        } catch {}
        if (text.includes('__proto__')) throw new Error('lost')
      }),
      5000,
    )
    expect(findings.map(({ what }) => what)).toContain('Error: lost')
  })
})
