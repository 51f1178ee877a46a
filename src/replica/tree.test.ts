import { describe, expect, test } from 'vitest'
import { lanes } from '../base/hash.ts'
import type { Sibling } from '../crdt/cell.ts'
import { originId } from '../crdt/dot.ts'
import { MapRows } from './rows.test-kit.ts'
import { Tree, digest, leafCount, leafOf } from './tree.ts'

const sibling: Sibling = {
  origin: originId('00112233445566778899aabbccddeeff'),
  seq: 7,
  time: 3_686_400_000_000_000,
  agent: 'agent-7',
  value: Uint8Array.of(1),
  expires: 0,
}

function digestOf(key: string, type: number, path: string, one: Sibling): string {
  digest(key, type, path, one)
  return [...lanes].map((lane) => lane.toString(16).padStart(8, '0')).join('')
}

describe('the digest', () => {
  test('[C4.21] a key or a dot that is not in the fingerprint cancels out: everything a reader sees is inside', () => {
    const base = digestOf('key', 1, '\xc0', sibling)
    const others = [
      digestOf('kez', 1, '\xc0', sibling),
      digestOf('key', 2, '\xc0', sibling),
      digestOf('key', 1, '\xc2', sibling),
      digestOf('key', 1, '\xc0', { ...sibling, origin: originId('00112233445566778899aabbccddeefe') }),
      digestOf('key', 1, '\xc0', { ...sibling, seq: 8 }),
      digestOf('key', 1, '\xc0', { ...sibling, time: sibling.time + 1 }),
      digestOf('key', 1, '\xc0', { ...sibling, agent: 'agent-8' }),
      digestOf('key', 1, '\xc0', { ...sibling, value: Uint8Array.of(2) }),
      digestOf('key', 1, '\xc0', { ...sibling, expires: 1 }),
    ]
    expect(new Set([base, ...others]).size).toBe(others.length + 1)
    expect(digestOf('key', 1, '\xc0', { ...sibling })).toBe(base)
  })

  test('is the same in every version: it is part of the protocol', () => {
    expect(digestOf('key', 1, '\xc0', sibling)).toMatchInlineSnapshot(`"c8436051f0dde759e1d8241e2898fe3c"`)
    expect([leafOf('key'), leafOf('schlüssel'), leafOf('😀')]).toMatchInlineSnapshot(`
      [
        61789,
        52404,
        3582,
      ]
    `)
  })
})

describe('the tree', () => {
  test('sums are additive: order and detours leave no trace, and duplicates do not cancel', () => {
    const rows = new MapRows()
    const [one, two] = [new Tree(0, rows), new Tree(0, rows)]
    const at = (i: number): Sibling => ({ ...sibling, seq: i + 1 })
    for (let i = 0; i < 500; i++) {
      digest(`k${i}`, 1, '\xc0', at(i))
      one.add(leafOf(`k${i}`))
    }
    for (let i = 499; i >= 0; i--) {
      for (const step of ['add', 'subtract', 'add'] as const) {
        digest(`k${i}`, 1, '\xc0', at(i))
        two[step](leafOf(`k${i}`))
      }
    }
    expect([...one.root]).toEqual([...two.root])
    expect(one.root[4]).toBe(500)
    digest('k0', 1, '\xc0', at(0))
    two.add(leafOf('k0'))
    digest('k0', 1, '\xc0', at(0))
    two.add(leafOf('k0'))
    expect([...two.root.subarray(0, 4)]).not.toEqual([...one.root.subarray(0, 4)])
  })

  test('keys spread over the leaves', () => {
    const used = new Set(Array.from({ length: 20_000 }, (_, i) => leafOf(`task-${i}`)))
    // Of n balls in m bins, m (1 - e^(-n / m)) bins are hit on average.
    const expected = leafCount * (1 - Math.exp(-20_000 / leafCount))
    expect(Math.abs(used.size - expected)).toBeLessThan(0.02 * expected)
  })
})
