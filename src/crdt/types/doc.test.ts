import * as A from '@automerge/automerge'
import { describe, expect, test } from 'vitest'
import { SkeinError } from '../../base/errors.ts'
import { prng } from '../../base/prng.ts'
import type { Delta } from '../delta.ts'
import { pathOf } from '../cell.ts'
import { fromHex } from '../../base/bytes.ts'
import { editing } from './automerge-edits.test-model.ts'
import { automergeDoc, changes, doc, unreadDoc } from './doc.ts'
import { binOf } from './document-copy.ts'
import { Replica as DocumentReplica } from './documents.test-model.ts'

type Fields = Record<string, unknown>

class Replica extends DocumentReplica<unknown> {
  constructor(name: number, log: Delta[] = [], aheadMs: number = 0) {
    super(doc, name, log, aheadMs)
  }

  set(path: readonly unknown[], value: unknown): Delta | undefined {
    return this.do('set', { path, value })
  }

  unset(path: readonly unknown[]): Delta | undefined {
    return this.do('unset', { path })
  }

  change(change: Uint8Array | string): Delta | undefined {
    return this.do('change', { change })
  }
}

const failure = (run: () => unknown): unknown => {
  try {
    run()
  } catch (error) {
    return error instanceof SkeinError ? error.code : error
  }
  return undefined
}

/** The slow twin: every change of every live cell, applied anew by Automerge alone, in any order. */
function twin(replica: Replica): unknown {
  let all = A.init<Fields>()
  const loose: Uint8Array[] = []
  for (const [, siblings] of replica.cells.all()) {
    for (const { value } of siblings) {
      const bytes = binOf(value) as Uint8Array
      if (bytes[8] === 0) all = A.merge(all, A.load<Fields>(bytes))
      else loose.push(bytes)
    }
  }
  for (const bytes of loose.reverse()) all = A.loadIncremental(all, bytes)
  return all
}

const json = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, one: unknown) =>
      one instanceof Uint8Array ? [...one] : typeof one === 'bigint' ? Number(one) : one,
    ),
  )

const heads = (one: A.Doc<unknown>): readonly string[] => A.getHeads(one).toSorted()

function client(seed: A.Doc<Fields> = A.init<Fields>()): {
  doc: A.Doc<Fields>
  edit(make: (fields: Fields) => void): Uint8Array
} {
  return {
    doc: seed,
    edit(make) {
      this.doc = A.change(this.doc, make)
      return A.getLastLocalChange(this.doc) as Uint8Array
    },
  }
}

describe('editing', () => {
  test('sets and unsets at paths, and makes the maps on the way', () => {
    const a = new Replica(1)
    expect(a.value).toEqual({})
    a.set(['title'], 'one')
    a.set(['deep', 'er', 'list'], [1, { two: 2 }])
    a.set(['deep', 'er', 'list', 1, 'two'], null)
    a.set(['deep', 'er', 'list', 2], 'end')
    a.set(['bytes'], new Uint8Array([1, 2]))
    a.set([''], true)
    expect(a.value).toEqual({
      '': true,
      bytes: new Uint8Array([1, 2]),
      deep: { er: { list: [1, { two: null }, 'end'] } },
      title: 'one',
    })
    a.unset(['deep', 'er', 'list', 0])
    a.unset(['title'])
    a.unset([''])
    a.unset(['bytes'])
    expect(a.value).toEqual({ deep: { er: { list: [{ two: null }, 'end'] } } })
    expect(a.reading.concurrent).toEqual([])
  })

  test.each<[string, unknown]>([
    ['1e300', 1e300],
    ['2^60', 2 ** 60],
    ['-(2^53)', -(2 ** 53)],
    ['-0', -0],
    ['0.1', 0.1],
    ['text beyond the BMP', 'é😀\0'],
    ['an empty text', ''],
    ['an empty list', []],
    ['an empty map', {}],
    ['a name that objects inherit', { constructor: 1, toString: { valueOf: null } }],
    ['what is undefined', { gone: undefined, kept: [{ gone: undefined }] }],
  ])('keeps %s as JSON does', (_, value) => {
    const a = new Replica(1)
    a.set(['v'], value)
    expect(a.value).toEqual({ v: JSON.parse(JSON.stringify(value)) as unknown })
    expect(a.set(['v'], value)).toBeUndefined()
  })

  test('refuses what it cannot do, and changes nothing', () => {
    const a = new Replica(1)
    a.set(['list'], [1])
    a.set(['text'], 'abc')
    const before = a.state.encode()
    expect(failure(() => a.set([], 1))).toBe('invalid_argument')
    expect(failure(() => a.set('list' as never, 1))).toBe('invalid_argument')
    expect(failure(() => a.set(['x'], undefined))).toBe('invalid_argument')
    expect(failure(() => a.set(['x'], Number.NaN))).toBe('invalid_value')
    expect(failure(() => a.set(['x'], () => 1))).toBe('invalid_value')
    expect(failure(() => a.set(['__proto__', 'x'], 1))).toBe('reserved_name')
    expect(failure(() => a.set(['x'], JSON.parse('{"__proto__":1}')))).toBe('reserved_name')
    expect(failure(() => a.set(['\ud800'], 1))).toBe('invalid_value')
    expect(failure(() => a.set(['list', 'x'], 1))).toBe('invalid_argument')
    expect(failure(() => a.set(['list', 2], 1))).toBe('out_of_range')
    expect(failure(() => a.set(['none', 0], 1))).toBe('out_of_range')
    expect(failure(() => a.set(['list', -1], 1))).toBe('invalid_argument')
    expect(failure(() => a.set([0], 1))).toBe('invalid_argument')
    expect(failure(() => a.set(['text', 0], 1))).toBe('invalid_argument')
    expect(
      failure(() =>
        a.set(
          Array.from({ length: 99 }, () => 'x'),
          [[[1]]],
        ),
      ),
    ).toBe('too_deep')
    expect(failure(() => a.set(['x'], 'x'.repeat(200_001)))).toBe('too_large')
    expect(failure(() => a.change('***'))).toBe('invalid_argument')
    expect(failure(() => a.change(new Uint8Array([1, 2, 3])))).toBe('document_invalid')
    expect(failure(() => a.change(A.save(A.from({ x: 1 }))))).toBe('document_invalid')
    expect(a.state.encode()).toEqual(before)
    expect(a.value).toEqual({ list: [1], text: 'abc' })
  })

  test('what changes nothing writes nothing', () => {
    const a = new Replica(1)
    a.set(['v'], { list: [1, 'x'] })
    expect(a.set(['v'], { list: [1, 'x'] })).toBeUndefined()
    expect(a.set(['v', 'list', 0], 1)).toBeUndefined()
    expect(a.unset(['none'])).toBeUndefined()
    expect(a.unset(['none', 'deeper'])).toBeUndefined()
    expect(a.unset(['v', 'list', 2])).toBeUndefined()
    expect(a.count).toBe(1)
  })

  test('several edits in one transaction are one delta, and a rollback leaves nothing of it', () => {
    const a = new Replica(1)
    a.set(['kept'], 1)
    const steps = [
      ['set', { path: ['list'], value: ['a'] }],
      ['set', { path: ['list', 1], value: 'b' }],
      ['unset', { path: ['list', 0] }],
    ] as const
    expect(() => a.all(steps, true)).toThrow('rolled back')
    expect(a.value).toEqual({ kept: 1 })
    a.all(steps, false)
    const b = new Replica(2)
    b.hear(a.log)
    expect([a.value, b.value, a.log.length]).toEqual([{ kept: 1, list: ['b'] }, { kept: 1, list: ['b'] }, 2])
  })

  test('a first edit that is rolled back never was, even at the same time', () => {
    const a = new Replica(1)
    const write = a.write()
    expect(() => a.all([['set', { path: ['x'], value: 'lost' }]], true, write)).toThrow('rolled back')
    a.all([['set', { path: ['x'], value: 'kept' }]], false, write)
    expect(a.value).toEqual({ x: 'kept' })
  })
})

describe('concurrent edits', () => {
  test('are all kept, and what lost is at hand with who wrote it', () => {
    const [a, b, c] = [new Replica(1), new Replica(2, [], 40), new Replica(3)]
    a.set(['list'], [{ v: 0 }, 'x'])
    b.hear(a.log)
    a.set(['a'], 1)
    a.set(['both'], 'from a')
    a.set(['list', 0, 'v'], 1)
    b.set(['b'], 2)
    b.set(['both'], { from: 'b' })
    b.set(['list', 0, 'v'], 2)
    c.hear([...a.log, ...b.log])
    a.hear(b.log)
    b.hear(a.log)
    expect(a.value).toMatchObject({ a: 1, b: 2 })
    for (const replica of [b, c]) {
      expect(replica.reading).toEqual(a.reading)
      expect(replica.state.encode()).toEqual(a.state.encode())
    }
    const { both, list } = a.value as { both: unknown; list: readonly [{ v: number }] }
    const [newer, older] = a.reading.concurrent
    const fromB = newer?.dot.origin === b.origin ? newer : older
    expect(a.reading.concurrent).toHaveLength(2)
    expect(new Set([list[0].v, ...a.reading.concurrent.map(({ value }) => value), both])).toEqual(
      new Set([1, 2, 'from a', { from: 'b' }]),
    )
    expect(fromB?.at).toBe(fromB?.dot.seq === 2 ? 1_700_000_000_041 : 1_700_000_000_042)
    a.set(['both'], 'settled')
    a.set(['list', 0, 'v'], 3)
    b.hear(a.log)
    expect(b.reading).toEqual({ value: { a: 1, b: 2, both: 'settled', list: [{ v: 3 }, 'x'] }, concurrent: [] })
  })

  test('writing the value that is shown settles a conflict', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    a.set(['x'], 1)
    b.set(['x'], 2)
    a.hear(b.log)
    expect(a.reading.concurrent).toHaveLength(1)
    const { x } = a.value as { x: number }
    expect(a.set(['x'], x)).toBeDefined()
    expect(a.reading).toEqual({ value: { x }, concurrent: [] })
  })
})

describe('Automerge clients', () => {
  test('two clients that edit at once through two replicas end alike, and like ours', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    const x = client()
    a.change(x.edit((fields) => Object.assign(fields, { text: 'shared', n: new A.Counter(1), list: [1] })))
    b.hear(a.log)
    const y = client(automergeDoc(b.cells) as A.Doc<Fields>)
    a.change(x.edit((fields) => A.splice(fields, ['text'], 6, 0, ' text')))
    a.change(Buffer.from(x.edit((fields) => (fields['n'] as A.Counter).increment(2))).toString('base64'))
    b.change(y.edit((fields) => A.splice(fields, ['text'], 0, 0, 'our ')))
    b.change(y.edit((fields) => (fields['n'] as A.Counter).increment(3)))
    b.set(['list', 1], 'set')
    a.hear(b.log)
    b.hear(a.log)
    for (const one of [x, y]) [one.doc] = A.applyChanges(one.doc, [...changes(a.cells)])
    expect(json(x.doc)).toEqual({ list: [1, 'set'], n: 6, text: 'our shared text' })
    expect(heads(y.doc)).toEqual(heads(x.doc))
    expect([a.value, b.value]).toEqual([json(x.doc), json(x.doc)])
    expect(heads(automergeDoc(a.cells))).toEqual(heads(x.doc))
    expect(new Set(changes(b.cells).map(String))).toEqual(new Set(A.getAllChanges(x.doc).map(String)))
  })

  test('a change by two routes is one cell, and a no-op the second time', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    const x = client()
    const change = x.edit((fields) => (fields['x'] = 1))
    a.change(change)
    b.change(change)
    expect(a.change(change)).toBeUndefined()
    a.hear(b.log)
    expect(a.count).toBe(1)
    expect(a.cells.get(pathOf(fromHex(A.decodeChange(change).hash)))).toHaveLength(2)
    expect(a.reading).toEqual({ value: { x: 1 }, concurrent: [] })
  })

  test('several changes in one argument are a cell each, compressed ones too', () => {
    const a = new Replica(1)
    const x = client()
    const before = A.getHeads(x.doc)
    x.edit((fields) => (fields['x'] = 'long '.repeat(500)))
    x.edit((fields) => (fields['y'] = 2))
    const delta = a.change(A.saveSince(x.doc, before))
    expect(delta?.writes).toHaveLength(2)
    expect(a.value).toEqual(json(x.doc))
    expect(a.change(A.saveSince(x.doc, before))).toBeUndefined()
  })

  test('a change that comes too early waits, is a no-op the second time, and shows when the rest is there', () => {
    const a = new Replica(1)
    const x = client()
    const [first, second, third] = ['a', 'b', 'c'].map((name) => x.edit((fields) => (fields[name] = 1))) as Uint8Array[]
    a.change(third as Uint8Array)
    a.change(second as Uint8Array)
    expect(a.change(second as Uint8Array)).toBeUndefined()
    expect([a.value, unreadDoc(a.cells).map(({ reason }) => reason)]).toEqual([{}, ['pending', 'pending']])
    a.change(first as Uint8Array)
    expect([a.value, unreadDoc(a.cells)]).toEqual([{ a: 1, b: 1, c: 1 }, []])
  })

  test('a document handed out is not the one inside', () => {
    const a = new Replica(1)
    a.set(['x'], 1)
    const theirs = client(automergeDoc(a.cells) as A.Doc<Fields>)
    const change = theirs.edit((fields) => (fields['y'] = 2))
    expect(a.value).toEqual({ x: 1 })
    a.change(change)
    expect(a.value).toEqual({ x: 1, y: 2 })
  })

  test('everything that Automerge has reads as JSON', () => {
    const a = new Replica(1)
    const x = client()
    a.change(
      x.edit((fields) => {
        fields['when'] = new Date(5)
        fields['raw'] = new A.ImmutableString('raw')
        fields['count'] = new A.Counter(3)
        fields['big'] = 2 ** 60
      }),
    )
    expect(a.value).toEqual({ big: 2 ** 60, count: 3, raw: 'raw', when: '1970-01-01T00:00:00.005Z' })
  })
})

describe('folding', () => {
  test('keeps the cells few, however much is written, and a reader sees the same', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    let most = 0
    for (let step = 0; step < 400; step++) {
      a.set([`k${step % 20}`], step)
      most = Math.max(most, a.count)
    }
    expect(most).toBeLessThanOrEqual(130)
    b.hear(a.log)
    expect(b.reading).toEqual(a.reading)
    expect(changes(b.cells)).toHaveLength(400)
    b.set(['more'], 1)
    expect(A.stats(automergeDoc(b.cells)).numActors).toBe(2)
    // The writer goes on as the actor that it was, though its copy is lost.
    a.cells.memo.value = undefined
    a.set(['and', 'more'], 1)
    expect(A.stats(automergeDoc(a.cells)).numActors).toBe(1)
  })

  test('a snapshot supersedes exactly what it contains, and names what it cannot read', () => {
    const [a, b] = [new Replica(1), new Replica(2, [], 500)]
    const x = client()
    x.edit((fields) => (fields['first'] = 1))
    const early = x.edit((fields) => (fields['second'] = 2))
    const bad = b.raw(new Uint8Array([0x85, 0x6f, 0x4a, 0x83, 1, 2, 3]))
    b.raw('not even bytes')
    a.hear(b.log)
    const waiting = a.change(early)
    for (let i = 0; i < 40; i++) a.set(['n'], i)
    b.hear(a.log)
    b.set(['concurrent'], true)
    for (let i = 0; i < 40; i++) a.set(['n'], 100 + i)
    const fold = a.log.find(({ clears }) => clears.length > 0)
    const dots = [bad, b.log[1], waiting].map((delta) => ({ origin: delta?.origin, seq: delta?.seq }))
    expect(fold?.clears[0]?.keep).toHaveLength(3)
    expect(fold?.clears[0]?.keep).toEqual(expect.arrayContaining(dots))
    b.hear(a.log)
    a.hear(b.log)
    expect(a.value).toEqual({ concurrent: true, n: 139 })
    expect(b.reading).toEqual(a.reading)
    expect(
      unreadDoc(b.cells)
        .map(({ reason }) => reason)
        .toSorted(),
    ).toEqual(['malformed', 'malformed', 'pending'])
    b.change(A.getAllChanges(x.doc)[0] as Uint8Array)
    a.hear(b.log)
    expect(a.value).toEqual({ concurrent: true, first: 1, n: 139, second: 2 })
    expect(a.state.encode()).toEqual(b.state.encode())
  })

  test('two snapshots at once are one document', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    for (let i = 0; i < 50; i++) a.set([`k${i}`], i)
    b.hear(a.log)
    for (let i = 0; i < 20; i++) {
      a.set(['a'], i)
      b.set(['b'], i)
    }
    a.hear(b.log)
    b.hear(a.log)
    expect(a.log.filter(({ clears }) => clears.length > 0)).toHaveLength(1)
    expect(b.reading).toEqual(a.reading)
    expect(a.value).toMatchObject({ a: 19, b: 19, k49: 49 })
    for (let i = 0; i < 100; i++) b.set(['b'], i)
    a.hear(b.log)
    expect(a.reading).toEqual(b.reading)
  })

  test('a document of any size is folded in segments', () => {
    const a = new Replica(1)
    const chance = prng(7)
    const noise = (): Uint8Array => Uint8Array.from({ length: 4000 }, () => chance.below(256))
    for (let i = 0; i < 200; i++) a.set([`k${i}`], noise())
    expect(a.count).toBeLessThan(140)
    const b = new Replica(2)
    b.hear(a.log)
    expect(b.value).toEqual(a.value)
  })
})

describe('deletion', () => {
  test('empties the document, and a new life shares nothing with the old one', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    a.set(['old'], 1)
    b.hear(a.log)
    const [old] = changes(a.cells).map((bytes) => A.decodeChange(bytes).actor)
    a.clear()
    expect([a.value, a.count]).toEqual([{}, 0])
    a.set(['new'], 1)
    expect(changes(a.cells).map((bytes) => A.decodeChange(bytes).actor)).not.toContain(old)
    b.set(['late'], 1)
    b.hear(a.log)
    a.hear(b.log)
    // What b wrote after the old life cannot be shown without it; it is not mixed into the new one.
    expect([a.value, b.value]).toEqual([{ new: 1 }, { new: 1 }])
    expect(unreadDoc(a.cells).map(({ reason }) => reason)).toEqual(['pending'])
  })
})

describe('hostile changes', () => {
  const actor = 'bb'
  const encode = (ops: readonly unknown[], more: object = {}): Uint8Array =>
    A.encodeChange({ actor, seq: 1, startOp: 1, time: 0, deps: [], message: null, author: null, ops, ...more } as never)
  const set = { action: 'set', obj: '_root', key: 'z', value: 1, datatype: 'int', pred: [] }

  test.each<[string, Uint8Array, known?: boolean]>([
    ['an object that is not there', encode([{ ...set, obj: '99@aa' }], { startOp: 100 }), true],
    ['a sequence with a gap', encode([set], { seq: 2 }), true],
    ['no operations, beyond a gap', encode([], { startOp: 5 }), true],
    ['a predecessor of an unknown actor', encode([{ ...set, pred: ['5@cc'] }], { startOp: 10 })],
    [
      'a list element that is not there',
      encode(
        [
          { action: 'makeList', obj: '_root', key: 'l', pred: [] },
          { ...set, key: undefined, obj: '10@bb', elemId: '3@cc', insert: true },
        ],
        { startOp: 10 },
      ),
    ],
  ])('%s is refused, and nothing changes', (_, bytes, known = false) => {
    const a = new Replica(1)
    a.set(['safe'], 1)
    const before = a.state.encode()
    expect(failure(() => a.change(bytes))).toBe('document_invalid')
    if (known) expect(() => a.change(bytes)).toThrow('the document does not have')
    expect(a.state.encode()).toEqual(before)
    a.set(['still'], 'safe')
    expect(a.value).toEqual({ safe: 1, still: 'safe' })
    // The same as a peer's cell.
    const b = new Replica(2, [], 500)
    b.raw(bytes)
    a.hear(b.log)
    expect(a.value).toEqual({ safe: 1, still: 'safe' })
    expect(unreadDoc(a.cells)).toEqual([{ dot: { origin: b.origin, seq: 1 }, reason: 'failed' }])
    for (let i = 0; i < 70; i++) a.set(['n'], i)
    expect(a.count).toBeLessThan(66)
    b.hear(a.log)
    expect(b.value).toEqual({ n: 69, safe: 1, still: 'safe' })
  })

  test('two changes of one actor and sequence: refused at the writer, alike wherever they meet', () => {
    const [a, b, c] = [new Replica(1), new Replica(2), new Replica(3)]
    const [right, wrong] = [encode([set]), encode([{ ...set, value: 2 }])]
    a.change(right)
    expect(failure(() => a.change(wrong))).toBe('document_invalid')
    b.change(wrong)
    a.hear(b.log)
    b.hear(a.log)
    c.hear([...b.log, ...a.log])
    expect(b.value).toEqual(a.value)
    expect(c.value).toEqual(a.value)
    expect(unreadDoc(c.cells).map(({ reason }) => reason)).toEqual(['clash'])
  })

  test('objects nested step by step beyond the bound are found', () => {
    const a = new Replica(1)
    const chain = (from: number, count: number, seq: number, deps: readonly string[]): Uint8Array =>
      encode(
        Array.from({ length: count }, (_, i) => ({
          action: 'makeMap',
          obj: from + i === 0 ? '_root' : `${from + i}@bb`,
          key: 'k',
          pred: [],
        })),
        { seq, startOp: from + 1, deps },
      )
    const first = chain(0, 60, 1, [])
    a.change(first)
    expect(failure(() => a.change(chain(60, 41, 2, [A.decodeChange(first).hash])))).toBe('document_invalid')
    expect(a.change(chain(60, 40, 2, [A.decodeChange(first).hash]))).toBeDefined()
  })

  test('one bad change among many good ones is the only one that is lost', () => {
    const a = new Replica(1)
    const good = editing(prng(5), 2, 60)
    const bad = encode([{ ...set, pred: ['5@cc'] }], { startOp: 10 })
    a.raw(bad)
    a.raw(Uint8Array.from(good.changes.flatMap((bytes) => [...bytes])), 'good')
    expect(json(a.value)).toEqual(json(A.toJS(good.doc)))
    expect(unreadDoc(a.cells).map(({ reason }) => reason)).toEqual(['failed'])
  })
})

describe('the copy', () => {
  test('says what a document made anew from the cells says, whatever happens', () => {
    for (let seed = 0; seed < 6; seed++) {
      const chance = prng(seed)
      const log: Delta[] = []
      const replicas = [1, 2, 3].map((name) => new Replica(name, log, name * 7))
      const { changes: foreign } = editing(chance, 2, 40)
      const lives = chance.chance(0.5)
      for (let step = 0; step < 120; step++) {
        const replica = chance.pick(replicas)
        const roll = chance.below(100)
        if (roll < 45) {
          const path = chance.pick([['a'], ['b'], ['m', 'x'], ['m', 'y', 'z'], ['l']])
          const shown = replica.value as Record<string, unknown>
          if (path[0] === 'm' && 'm' in shown && (typeof shown['m'] !== 'object' || shown['m'] === null)) continue
          if (
            failure(() => replica.set(path, chance.pick<unknown>([1, 2, 'text', [1, [2]], { k: null }]))) !== undefined
          )
            continue
        } else if (roll < 55) replica.unset([chance.pick(['a', 'm', 'l', 'list'])])
        else if (roll < 68 && foreign.length > 0) {
          const [change] = foreign.splice(chance.below(Math.min(3, foreign.length)), 1)
          replica.change(change as Uint8Array)
        } else if (roll < 73) replica.cells.memo.value = undefined
        else if (roll < 76 && lives) replica.clear()
        else if (roll < 82) {
          expect(() => replica.all([['set', { path: ['never'], value: 1 }]], true)).toThrow('rolled back')
        } else replica.hear(chance.chance(0.5) ? log : log.filter(() => chance.chance(0.7)))
        expect(json(replica.value)).toEqual(json(twin(replica)))
      }
      for (const replica of replicas) replica.hear(log)
      const [first, ...others] = replicas as [Replica, ...Replica[]]
      for (const other of others) {
        expect(other.reading).toEqual(first.reading)
        expect(other.state.encode()).toEqual(first.state.encode())
        expect(heads(automergeDoc(other.cells))).toEqual(heads(automergeDoc(first.cells)))
      }
    }
  })
})
