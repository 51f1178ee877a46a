import * as A from '@automerge/automerge'
import { createHash } from 'node:crypto'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { toHex, utf8 } from '../../base/bytes.ts'
import { limits } from '../../base/limits.ts'
import { prng } from '../../base/prng.ts'
import type { Prng } from '../../base/prng.ts'
import { checkChunks, objectDepth } from './automerge-check.ts'
import type { ChangeChunk } from './automerge-check.ts'
import { editing } from './automerge-edits.test-model.ts'
import { automergeDoc, doc } from './doc.ts'
import { Replica } from './documents.test-model.ts'
import { sha256 } from './sha256.ts'

type Bytes = readonly number[]

function leb(value: number): Bytes {
  const bytes: number[] = []
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80)
  return [...bytes, value]
}

/** A chunk with a right checksum, whatever is in it. */
function chunk(type: number, contents: Iterable<number>): Uint8Array {
  const body = Uint8Array.from(contents)
  const head = Uint8Array.from([type, ...leb(body.length)])
  const hash = createHash('sha256').update(head).update(body).digest()
  return Buffer.concat([Uint8Array.of(0x85, 0x6f, 0x4a, 0x83), hash.subarray(0, 4), head, body])
}

function contents(bytes: Uint8Array): Uint8Array {
  let at = 9
  while ((bytes[at++] as number) >= 0x80);
  const body = bytes.subarray(at)
  return bytes[8] === 2 ? inflateRawSync(body) : body
}

/** A change of actor aa with these columns: [number, data]. */
function change(columns: readonly (readonly [spec: number, data: Bytes])[], { seq = 1, startOp = 1 } = {}): Uint8Array {
  return chunk(1, [
    0,
    1,
    0xaa,
    ...leb(seq),
    ...leb(startOp),
    0,
    0,
    0,
    ...leb(columns.length),
    ...columns.flatMap(([spec, data]) => [...leb(spec), ...leb(data.length)]),
    ...columns.flatMap(([, data]) => data),
  ])
}

const why = (bytes: Uint8Array): string => {
  const chunks = checkChunks(bytes)
  return 'refused' in chunks ? chunks.refused : 'accepted'
}

/** Milliseconds of this process; the least of a few tries where it is more than `enough`, for a machine may be busy. */
function cost(enough: number, run: () => void): number {
  let least = Infinity
  for (let tries = 0; tries < 5 && least > enough; tries++) {
    const before = process.cpuUsage()
    run()
    const { user, system } = process.cpuUsage(before)
    least = Math.min(least, (user + system) / 1000)
  }
  return least
}

function spliced(bytes: Uint8Array, at: number, gone: number, added: Uint8Array = new Uint8Array()): Uint8Array {
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + gone)])
}

function mutant(body: Uint8Array, chance: Prng, from: number): Uint8Array {
  let bytes: Uint8Array = body.slice()
  for (let times = 1 + chance.below(2); times > 0 && bytes.length > from; times--) {
    const at = chance.chance(0.1) ? chance.below(bytes.length) : from + chance.below(bytes.length - from)
    switch (chance.below(4)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << chance.below(8))
        break
      case 1:
        bytes[at] = chance.pick([0, 1, 2, 0x7e, 0x7f, 0x80, 0xff])
        break
      case 2:
        bytes = spliced(bytes, at, 0, Uint8Array.of(chance.below(256)))
        break
      default:
        bytes = spliced(bytes, at, 1)
    }
  }
  return bytes
}

describe('sha256', () => {
  test('is the one of the standard', () => {
    for (let length = 0; length < 200; length++) {
      const bytes = Uint8Array.from({ length }, (_, i) => i * length)
      expect(toHex(sha256(bytes))).toBe(createHash('sha256').update(bytes).digest('hex'))
    }
  })
})

describe('the check', () => {
  test('accepts what real editing writes, and reads of it what Automerge does', () => {
    const chance = prng(1)
    let seen = 0
    for (let run = 0; run < 5; run++) {
      const { changes, doc: all } = editing(chance, 1 + (run % 3), 60)
      for (const bytes of [...changes, ...A.getAllChanges(all), A.save(all), A.saveSince(all, [])]) {
        const chunks = checkChunks(bytes)
        expect(chunks).not.toHaveProperty('refused')
        for (const one of 'refused' in chunks ? [] : chunks) {
          seen++
          if (one.kind === 'document') {
            expect(one.heads.toSorted()).toEqual(A.getHeads(all).toSorted())
            for (const { name, keyed, depth } of one.objects) {
              const info = A.getBackend(all).objInfo(name)
              expect(keyed).toBe(String(info.type) === 'map')
              // What was deleted, or has lost, has no path.
              if (info.path !== undefined) expect(depth).toBe(info.path.length)
            }
            continue
          }
          const { hash, deps, actor, seq, startOp, maxOp } = one
          const theirs = A.inspectChange(all, hash)
          expect({ hash, deps, actor, seq, startOp }).toEqual({
            hash: theirs?.hash,
            deps: theirs?.deps,
            actor: theirs?.actor,
            seq: theirs?.seq,
            startOp: theirs?.startOp,
          })
          expect(maxOp).toBe(startOp + (theirs?.ops.length ?? 0) - 1)
        }
      }
    }
    expect(seen).toBeGreaterThan(700)
  })

  test('takes a compressed change for what it stands for', () => {
    let one = A.from({ text: 'x'.repeat(2000) })
    one = A.change(one, (fields) => (fields.text = 'y'))
    const [plain] = A.getAllChanges(one) as [Uint8Array]
    const packed = chunk(2, deflateRawSync(contents(plain)))
    packed.set(plain.subarray(4, 8), 4)
    const chunks = checkChunks(packed) as readonly ChangeChunk[]
    expect(chunks[0]?.bytes).toEqual(plain)
    packed[4] = (packed[4] as number) ^ 1
    expect(why(packed)).toBe('a wrong checksum')
    const bomb = chunk(2, deflateRawSync(new Uint8Array(64 * 1024 * 1024)))
    expect(why(bomb)).toBe('a compressed part that is damaged or too large')
    expect(why(chunk(2, [...deflateRawSync(contents(plain)), 0]))).toBe(
      'a compressed part that is damaged or too large',
    )
  })

  const set: readonly (readonly [number, Bytes])[] = [
    [0x15, [0x7f, 1, 0x6b]], // key: k
    [0x34, [1]], // no insertion
    [0x42, [0x7f, 1]], // action: set
    [0x56, [0x7f, 0]], // value: null
    [0x70, [0x7f, 0]], // no predecessors
  ]
  const withColumn = (...changed: readonly (readonly [number, Bytes])[]): Uint8Array => {
    const columns = new Map([...set, ...changed])
    return change([...columns].filter(([, data]) => data.length > 0).sort((a, b) => a[0] - b[0]))
  }
  const run = (count: number, value: number): Bytes => {
    const length = [...leb(count)]
    // Signed: the last byte must not look negative.
    if (((length.at(-1) as number) & 0x40) > 0) length.push((length.pop() as number) | 0x80, 0)
    return [...length, value]
  }

  test.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(), 'cut short'],
    ['another magic', Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9), 'no chunk of Automerge'],
    ['a wrong checksum', withColumn().with(4, 0).with(5, 0), 'a wrong checksum'],
    ['a chunk of kind 7', chunk(7, []), 'a chunk of an unknown kind'],
    ['a good change', withColumn(), 'accepted'],
    ['two good changes', Uint8Array.of(...withColumn(), ...withColumn()), 'accepted'],
    ['bytes after it', Uint8Array.of(...withColumn(), 0), 'cut short'],
    ['sequence 0', change(set, { seq: 0 }), 'a sequence out of range'],
    ['operation 0', change(set, { startOp: 0 }), 'a sequence out of range'],
    ['operation 2^31', change(set, { startOp: 2 ** 31 }), 'an operation out of range'],
    ['2^40 operations in eight bytes', withColumn([0x42, run(2 ** 40, 1)]), 'a column of too many rows'],
    ['2^40 nulls', withColumn([0x15, [0, ...leb(2 ** 40)]]), 'a column of too many rows'],
    ['2^40 falses', withColumn([0x34, leb(2 ** 40)]), 'a column of too many rows'],
    ['no word of insertions', withColumn([0x34, []]), 'operations that say not if they insert'],
    ['2^40 predecessors', withColumn([0x70, [0x7f, ...leb(2 ** 40)]]), 'too many predecessors'],
    ['more keys than operations', withColumn([0x15, [2, 1, 0x6b]]), 'a column of too many rows'],
    ['a run of nothing', withColumn([0x15, [0, 0]]), 'a column of too many rows'],
    ['action 9', withColumn([0x42, [0x7f, 9]]), 'an operation of an unknown kind'],
    ['a table', withColumn([0x42, [0x7f, 6]]), 'an operation of an unknown kind'],
    ['an unknown column', withColumn([0x62, [0x7f, 1]]), 'an unknown column'],
    ['a compressed column', withColumn([0x1d, [0x7f, 1]]), 'a compressed column in a change'],
    ['columns out of order', change([...set].toReversed()), 'columns out of order'],
    ['a key that is not UTF-8', withColumn([0x15, [0x7f, 1, 0xff]]), 'a string that is not UTF-8'],
    [
      'a value longer than its column',
      withColumn([0x56, [0x7f, 0x36]], [0x57, utf8('ab') as never]),
      'a length beyond the end',
    ],
    ['a value that nobody names', withColumn([0x57, [1]]), 'values that nobody names'],
    ['a float of two bytes', withColumn([0x56, [0x7f, 0x25]], [0x57, [1, 2]]), 'a value of the wrong length'],
    ['a value of kind 12', withColumn([0x56, [0x7f, 0x0c]]), 'a value of an unknown kind'],
    ['no key at all', withColumn([0x15, []]), 'half a name'],
    ['half an object', withColumn([0x01, [0x7f, 0]]), 'half a name'],
    ['an actor that is not listed', withColumn([0x01, [0x7f, 3]], [0x02, [0x7f, 1]]), 'an actor that is not listed'],
    ['an object that is itself', withColumn([0x01, [0x7f, 0]], [0x02, [0x7f, 1]]), 'a name of no earlier operation'],
    ['a predecessor that is missing', withColumn([0x70, [0x7f, 1]]), 'predecessors that are missing'],
    ['an insertion under a key', withColumn([0x34, [0, 1]]), 'an insertion under a key'],
    ['a deletion of nothing', withColumn([0x42, [0x7f, 3]]), 'a change of nothing'],
    ['an object with a value', withColumn([0x42, [0x7f, 0]], [0x56, [0x7f, 1]]), 'a value where none belongs'],
  ])('%s', (_, bytes, verdict) => {
    expect(why(bytes)).toBe(verdict)
    expect(cost(1, () => checkChunks(bytes))).toBeLessThan(1)
  })

  test('bounds operations in number and objects in depth', () => {
    const rows = (count: number): Uint8Array =>
      change([
        [0x15, run(count, 1).concat(0x6b)],
        [0x34, leb(count)],
        [0x42, run(count, 1)],
        [0x56, run(count, 0)],
        [0x70, run(count, 0)],
      ])
    expect(why(rows(limits.documentItems))).toBe('accepted')
    expect(why(rows(limits.documentItems + 1))).toBe('a column of too many rows')
    const nested = (depth: number): Uint8Array => {
      const ops = Array.from({ length: depth }, (_, at) => ({
        action: 'makeMap',
        obj: at === 0 ? '_root' : `${at}@aa`,
        key: 'k',
        pred: [],
      }))
      return A.encodeChange({ actor: 'aa', seq: 1, startOp: 1, time: 0, deps: [], message: null, author: null, ops })
    }
    expect(why(nested(objectDepth))).toBe('accepted')
    expect(why(nested(objectDepth + 1))).toBe('objects nested too deep')
    const deep = nested(20_000)
    expect(cost(100, () => why(deep))).toBeLessThan(100)
    const [whole] = A.applyChanges(A.init(), [nested(objectDepth + 1)])
    expect(why(A.save(whole))).toBe('objects nested too deep')
  })
})

describe('beyond the check', () => {
  const byB = { actor: 'bb', seq: 1, startOp: 1, time: 0, deps: [], message: null, author: null }

  test('a change that Automerge would not give back as it is, is not taken: it could be saved and not loaded', () => {
    const keys: Bytes = [0x7e, 1, 0x6b, 1, 0x6c]
    const columns = (actions: Bytes): Uint8Array =>
      change([
        [0x15, keys],
        [0x34, [2]],
        [0x42, actions],
        [0x56, [2, 0]],
        [0x70, [2, 0]],
      ])
    const [right, wrong] = [columns([2, 1]), columns([0x7e, 1, 1])]
    expect([why(right), why(wrong)]).toEqual(['accepted', 'accepted'])
    const [accepted] = A.applyChanges(A.init(), [wrong])
    expect(() => A.load(A.save(accepted))).toThrow('mismatching heads')
    const a = new Replica(doc, 1)
    expect(() => a.do('change', { change: wrong })).toThrow('cannot take the change as it is')
    a.do('change', { change: right })
    expect(a.value).toEqual({ k: null, l: null })
    // Nor does a part of what was refused stay for the rest of the transaction.
    const good = A.encodeChange({
      ...byB,
      ops: [{ action: 'set', obj: '_root', key: 'part', value: true, pred: [] }],
    })
    const b = new Replica(doc, 2)
    b.attempt(['change', { change: Buffer.concat([good, wrong]) }], ['set', { path: ['x'], value: 1 }])
    expect(b.value).toEqual({ x: 1 })
  })

  test('no snapshot is made that would not load', () => {
    const [a, b] = [new Replica(doc, 1), new Replica(doc, 2)]
    a.do('set', { path: ['x'], value: 1 })
    // A mark that ends and never began. Automerge takes it, gives it back, saves it, and refuses to load what it saved.
    const odd = A.encodeChange({
      ...byB,
      ops: [
        { action: 'makeText', obj: '_root', key: 't', pred: [] },
        { action: 'markEnd', obj: '1@bb', elemId: '_head', insert: true, expand: true, pred: [] } as never,
      ],
    })
    a.do('change', { change: odd })
    expect(() => A.load(A.save(automergeDoc(a.cells)))).toThrow('invalid mark')
    for (let i = 0; i < 140; i++) a.do('set', { path: ['n'], value: i })
    b.hear(a.log)
    expect([b.value, a.value]).toEqual([
      { n: 139, t: '', x: 1 },
      { n: 139, t: '', x: 1 },
    ])
  })
})

describe('20,000 mutants', () => {
  /** What becomes of bytes that a peer put into a cell: read, and still alive afterwards. */
  function read(before: readonly Uint8Array[], bytes: Uint8Array): { value: unknown; shown: boolean } {
    const a = new Replica(doc, 1)
    if (before.length > 0) a.raw(Uint8Array.from(before.flatMap((one) => [...one])), 'before')
    const delta = a.raw(bytes, 'mutant')
    const { value } = a
    const shown = doc.read(a.cells).value
    a.do('set', { path: ['alive'], value: delta?.seq ?? 0 })
    expect(a.value).toMatchObject({ alive: delta?.seq ?? 0 })
    return { value, shown: shown !== undefined }
  }

  test('of changes are refused, or read in bounded time, and leave Automerge usable', () => {
    const chance = prng(2)
    const runs = [0, 1, 2, 3].map((index) => editing(chance, 1 + (index % 3), 12 + 8 * index).changes)
    const mutants: (readonly [readonly Uint8Array[], Uint8Array])[] = []
    const milliseconds = cost(10_000, () => {
      for (let i = 0; i < 19_000; i++) {
        const changes = chance.pick(runs)
        const at = chance.below(changes.length)
        const body = contents(changes[at] as Uint8Array)
        // Past the hashes that it depends on: with those wrong it only waits.
        const bytes = chunk(1, mutant(body, chance, Math.min(body.length - 1, 1 + 32 * (body[0] as number))))
        if (why(bytes) === 'accepted') mutants.push([changes.slice(0, at), bytes])
      }
    })
    expect(milliseconds).toBeLessThan(10_000)
    expect(mutants.length).toBeGreaterThan(1000)
    let slowest = 0
    for (const [before, bytes] of mutants.slice(0, 300))
      slowest = Math.max(
        slowest,
        cost(200, () => read(before, bytes)),
      )
    expect(slowest).toBeLessThan(200)
  })

  test('of documents likewise', () => {
    const chance = prng(3)
    const bodies = [0, 1, 2].map((index) => contents(A.save(editing(chance, 1 + index, 20).doc)))
    let accepted = 0
    let slowest = 0
    for (let i = 0; i < 500; i++) {
      const bytes = chunk(0, mutant(chance.pick(bodies), chance, 0))
      if (why(bytes) !== 'accepted') continue
      accepted++
      slowest = Math.max(
        slowest,
        cost(200, () => read([], bytes)),
      )
    }
    expect(accepted).toBeGreaterThan(50)
    expect(slowest).toBeLessThan(200)
  })
})
