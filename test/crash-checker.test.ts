/**
 * The checker of the crash tests, checked: a whole run is clean, and each fault that is planted in the rows, or in what
 * the tester was told, is found under the rule that it breaks. `npm run crash -- --plant …` does the same to real processes.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openNode } from '../src/index.ts'
import type { SkeinNode } from '../src/index.ts'
import { prng } from '../src/base/prng.ts'
import type { Row } from '../src/base/rows.ts'
import type { OriginId } from '../src/crdt/dot.ts'
import { rules } from './crash/findings.ts'
import type { Finding, Rule } from './crash/findings.ts'
import { rowsOf } from './crash/inspect.ts'
import { Ledger } from './crash/ledger.ts'
import type { Item } from './crash/ledger.ts'
import { Memory, rebuild } from './crash/rebuild.ts'
import { make, Model, Workload } from './crash/workload.ts'
import type { Operation } from './crash/workload.ts'

const tables = { entry: 5, writer: 7, log: 8, segment: 9, leaf: 10, expiry: 11 }

let node: SkeinNode
let rows: readonly Row[]
let ledger: Ledger

beforeAll(async () => {
  node = await openNode({ memory: true })
  ledger = new Ledger()
  const workload = new Workload(prng(7), 't', { prunes: false, deletesSpaces: false })
  const write = async (operation: Operation, name: string): Promise<void> => {
    const made = { ...operation, ...(operation.kind === 'write' && { durability: 'memory' as const }) }
    ledger.issue(name, made)
    const { outcome, durable } = make(node, made, name)
    ledger.made(name, outcome)
    workload.made(made, outcome)
    await durable
    ledger.acknowledge(name)
  }
  for (let i = 1; i <= 400; i++) await write(workload.next(node), `t.${i}`)
  const common = { kind: 'write', space: 'work', agent: 'ann', durability: 'memory' } as const
  await write({ ...common, ttlMs: 60_000, parts: [{ kind: 'set', key: 'ttl/late', value: 1 }] }, 't.ttl')
  await write({ ...common, parts: [{ kind: 'acquire', key: 'claim/0', ttlMs: 60_000 }] }, 't.claim')
  await write({ ...common, parts: [{ kind: 'set', key: 'register/end', value: 'the end' }] }, 't.end')
  rows = await rowsOf(node)
})

afterAll(async () => {
  await node.close()
})

function found(findings: readonly Finding[]): ReadonlySet<Rule> {
  return new Set(findings.map(({ rule }) => rule))
}

/** What is wrong with rows in which one was changed; undefined removes it. */
function changed(
  table: number,
  change: (value: Uint8Array) => Uint8Array | undefined,
  which: (matching: readonly Row[]) => Row | undefined = (matching) => matching[Math.floor(matching.length / 2)],
): ReadonlySet<Rule> {
  const victim = which(rows.filter(([key]) => key[0] === table))
  if (victim === undefined) throw new Error(`no row of table ${table}`)
  const harmed = rows.flatMap((row): Row[] => {
    if (row !== victim) return [row]
    const value = change(row[1])
    return value === undefined ? [] : [[row[0], value]]
  })
  return found(rebuild(harmed).findings)
}

const flipLast = (value: Uint8Array): Uint8Array => value.with(value.length - 1, (value.at(-1) as number) ^ 1)
const remove = (): undefined => undefined

test('a whole run is clean', async () => {
  const picture = rebuild(rows)
  expect(picture.findings).toEqual([])
  const { findings, model, survivors, acknowledged } = ledger.settle(picture)
  expect(findings).toEqual([])
  expect(survivors).toBeGreaterThan(200)
  expect(acknowledged).toBe(403)
  expect(await model.compare(node)).toEqual([])
  const memory = new Memory()
  expect([...memory.meet(picture), ...memory.meet(picture)]).toEqual([])
})

describe('a fault in the rows', () => {
  test('a leaf that is off', () => expect(changed(tables.leaf, flipLast)).toContain('tree'))
  test('a leaf that is gone', () => expect(changed(tables.leaf, remove)).toContain('tree'))
  test('an entry that is gone', () => {
    expect([...changed(tables.entry, remove)]).toEqual(expect.arrayContaining(['tree', 'replay']))
  })
  test('an entry with another value', () => {
    expect([...changed(tables.entry, flipLast)].some((rule) => rule === 'tree' || rule === 'rows')).toBe(true)
  })
  test('a log row that is gone', () => expect(changed(tables.log, remove)).toContain('log'))
  test('a log row with another body', () => {
    // The end of a body names what it supersedes, or is the value itself: either way the chain is another.
    const isFound = changed(tables.log, flipLast)
    expect(isFound.has('chain') || isFound.has('log')).toBe(true)
  })
  test('a writer row of before', () => {
    const first = rows.find(([key]) => key[0] === tables.writer) as Row
    // Its sequence, one lower: the vector no longer covers the newest sibling.
    const lower = (value: Uint8Array): Uint8Array => {
      const head = value[0] as number
      const at = head < 0x80 ? 0 : head === 0xcc ? 1 : 2
      return value.with(at, (value[at] as number) - 1)
    }
    const isFound = changed(tables.writer, lower, () => first)
    expect([...isFound]).toEqual(expect.arrayContaining(['covered', 'log']))
  })
  test('an expiry row that is gone', () => expect(changed(tables.expiry, remove)).toContain('rows'))
  test('a row of nothing', () => {
    const stray: Row = [Uint8Array.of(tables.leaf, 99, 0, 0), Uint8Array.of(0)]
    expect(found(rebuild([...rows, stray]).findings)).toContain('rows')
  })
})

describe('a fault in what survived', () => {
  const picture = () => rebuild(rows)

  test('an acknowledged write that is not there', () => {
    const lost = picture()
    for (const { name, writers } of lost.spaces) {
      for (const [origin, writer] of writers)
        if (name === 'work') writers.set(origin, { ...writer, seq: writer.seq - 1 })
    }
    expect(found(ledger.settle(lost).findings)).toContain('acknowledged')
  })

  test('a hole before a write that is there', () => {
    const holed = picture()
    const side = holed.spaces.find(({ name }) => name === 'side')
    for (const [origin, writer] of side?.writers ?? []) side?.writers.set(origin, { ...writer, seq: 1 })
    expect(found(ledger.settle(holed, () => false).findings)).toContain('prefix')
  })

  test('a write that changed nothing, acknowledged on the strength of one that is gone', () => {
    const told = new Ledger()
    const operation: Operation = {
      kind: 'write',
      space: 'new',
      agent: 'ann',
      durability: 'disk',
      parts: [{ kind: 'flag', key: 'flag/0', on: true }],
    }
    told.issue('one', operation)
    told.made('one', { dot: `${'a'.repeat(32)}-1`, generation: 1, results: [null], atMs: 0 })
    told.issue('two', operation)
    told.made('two', { generation: 1, results: [null], atMs: 0 })
    told.acknowledge('two')
    expect(found(told.settle(picture()).findings)).toContain('acknowledged')
  })

  test('a write in the log that was refused, or that has another dot', () => {
    const altered = (change: (item: Item) => Item['outcome']): ReadonlySet<Rule> => {
      const told = new Ledger()
      for (const item of ledger.items) {
        told.issue(item.name, item.operation)
        const outcome = item.name === 't.end' ? change(item) : item.outcome
        if (outcome !== undefined) told.made(item.name, outcome)
      }
      return found(told.settle(picture()).findings)
    }
    expect(altered(() => ({ error: 'busy', atMs: 0 }))).toContain('phantom')
    expect(altered(() => ({ dot: `${'a'.repeat(32)}-1`, generation: 1, atMs: 0 }))).toContain('dot')
  })

  test('a dot that has other bytes than before', () => {
    const memory = new Memory()
    memory.meet(picture())
    const reused = picture()
    const log = reused.spaces[0]?.logs.values().next().value
    const [seq, row] = [...(log ?? [])][0] ?? []
    if (seq !== undefined && row !== undefined) log?.set(seq, { ...row, body: flipLast(row.body) })
    expect(found(memory.meet(reused))).toContain('dot')
  })

  test('a chain hash that is not what it was', () => {
    const memory = new Memory()
    memory.meet(picture())
    const other = picture()
    const writer = other.spaces[0]?.writers.values().next().value
    if (writer !== undefined) writer.chain[0] = (writer.chain[0] as number) ^ 1
    expect(found(memory.meet(other))).toContain('chain')
  })

  test('an incarnation that comes again, and a fence that goes back', () => {
    const memory = new Memory()
    const origin = 'ab'.repeat(16) as OriginId
    expect(memory.incarnation(origin)).toEqual([])
    expect(found(memory.incarnation(origin))).toContain('incarnation')
    expect(memory.fence('work claim/0', 3)).toEqual([])
    expect(found(memory.fence('work claim/0', 2))).toContain('fence')
  })
})

describe('a fault in what is read', () => {
  /** A model that was told one more operation than the node. */
  async function afterOneMore(operation: Omit<Extract<Operation, { kind: 'write' }>, 'kind' | 'agent' | 'durability'>) {
    const model: Model = ledger.settle(rebuild(rows)).model
    model.apply({ kind: 'write', agent: 'ann', durability: 'disk', ...operation }, { atMs: 0 })
    return found(await model.compare(node))
  }

  test('an increment that does not count', async () => {
    const isFound = await afterOneMore({ space: 'work', parts: [{ kind: 'incr', key: 'counter/tx', amount: 1 }] })
    expect(isFound).toContain('counter')
  })

  test('a spending that is not on record', async () => {
    const isFound = await afterOneMore({ space: 'work', parts: [{ kind: 'spend', key: 'budget/0', amount: 1 }] })
    expect(isFound).toContain('budget')
  })

  test('a value that is another, an entry that is gone or not listed', async () => {
    const other = await afterOneMore({ space: 'work', parts: [{ kind: 'set', key: 'register/end', value: 2 }] })
    expect(other).toContain('value')
    const more = await afterOneMore({ space: 'work', parts: [{ kind: 'set', key: 'register/more', value: 2 }] })
    expect([...more]).toEqual(expect.arrayContaining(['value', 'listed']))
  })

  test('an entry that should not be there', async () => {
    expect(await afterOneMore({ space: 'work', parts: [{ kind: 'delete', key: 'register/end' }] })).toContain('phantom')
  })

  test('a fence that went back', async () => {
    const model = ledger.settle(rebuild(rows)).model
    const parts = [{ kind: 'acquire', key: 'claim/0', ttlMs: 1 } as const]
    const outcome = { atMs: 0, results: [{ fence: 1_000, until: 1 }] }
    model.apply({ kind: 'write', space: 'work', agent: 'ann', durability: 'disk', parts }, outcome)
    expect(found(await model.compare(node))).toContain('fence')
  })

  test('half a transaction', async () => {
    await using other = await openNode({ memory: true })
    other.space('work').register('register/tx-a').set('new')
    other.space('work').register('register/tx-b').set('new')
    expect(found(await new Model().compare(other))).toContain('whole')
  })
})

test('every rule says what it asks', () => {
  for (const meaning of Object.values(rules)) expect(meaning).toMatch(/^[A-Z].*\.$/)
})
