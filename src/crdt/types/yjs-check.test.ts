import { describe, expect, test } from 'vitest'
import * as encoding from 'lib0/encoding'
import * as Y from 'yjs'
import { fromHex } from '../../base/bytes.ts'
import { prng } from '../../base/prng.ts'
import type { Prng } from '../../base/prng.ts'
import { checkUpdate, updateDepth } from './yjs-check.ts'
import type { Update } from './yjs-check.ts'
import { editing } from './yjs-edits.test-model.ts'
import { Feed, Source, cutUpdate, typeDepth } from './yjs-feed.ts'

const { writeUint8, writeVarString, writeVarUint, writeVarUint8Array, writeAny } = encoding

function encoded(write: (encoder: encoding.Encoder) => void): Uint8Array {
  const encoder = encoding.createEncoder()
  write(encoder)
  return encoding.toUint8Array(encoder)
}

/** One section of client 2 from clock 0 with these structs, and no deletions. */
function structs(count: number, write: (encoder: encoding.Encoder, index: number) => void): Uint8Array {
  return encoded((encoder) => {
    for (const head of [1, count, 2, 0]) writeVarUint(encoder, head)
    for (let i = 0; i < count; i++) write(encoder, i)
    writeVarUint(encoder, 0)
  })
}

function inRoot(encoder: encoding.Encoder, kind: number, key?: string): void {
  writeUint8(encoder, kind | (key === undefined ? 0 : 0x20))
  writeVarUint(encoder, 1)
  writeVarString(encoder, 'text')
  if (key !== undefined) writeVarString(encoder, key)
}

function checked(bytes: Uint8Array): Update {
  const update = checkUpdate(bytes)
  if ('refused' in update) throw new Error(update.refused)
  return update
}

const why = (bytes: Uint8Array): string => {
  const update = checkUpdate(bytes)
  return 'refused' in update ? update.refused : 'accepted'
}

function fed(...updates: Uint8Array[]): { doc: Y.Doc; text: string; flaws: unknown[]; feed: Feed; sources: Source[] } {
  const doc = new Y.Doc()
  const text = doc.getText('text')
  const feed = new Feed(doc)
  const sources = updates.map((update) => new Source(checked(update)))
  for (const source of sources) feed.add([source])
  return { doc, text: text.toString(), flaws: sources.map(({ flaw }) => flaw), feed, sources }
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

function corpus(chance: Prng, size: number): Uint8Array[] {
  const updates: Uint8Array[] = []
  while (updates.length < size) {
    const made = editing(chance, 1 + chance.below(4), 250)
    updates.push(...made.updates)
    for (const doc of made.docs) {
      const whole = Y.encodeStateAsUpdate(doc)
      updates.push(whole)
      // What a server that misses something keeps and hands on: gaps, merged pieces, parts of a string.
      const some = made.updates.filter(() => chance.chance(0.7))
      updates.push(Y.mergeUpdates(some), Y.diffUpdate(whole, Y.encodeStateVectorFromUpdate(chance.pick(made.updates))))
    }
  }
  return updates
}

function spliced(bytes: Uint8Array, at: number, gone: number, added: Uint8Array = new Uint8Array()): Uint8Array {
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + gone)])
}

function mutant(base: Uint8Array, others: readonly Uint8Array[], chance: Prng): Uint8Array {
  let bytes: Uint8Array = base.slice()
  for (let times = 1 + chance.below(3); times > 0 && bytes.length > 0; times--) {
    const at = chance.below(bytes.length)
    const other = chance.pick(others)
    const from = chance.below(other.length)
    switch (chance.below(5)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << chance.below(8))
        break
      case 1:
        bytes[at] = chance.pick([0, 1, 0x7f, 0x80, 0xff])
        break
      case 2:
        bytes = bytes.slice(0, at)
        break
      case 3:
        bytes = spliced(bytes, at, 0, other.subarray(from, from + 1 + chance.below(20)))
        break
      default:
        bytes = spliced(bytes, at, 1 + chance.below(3))
    }
  }
  return bytes
}

describe('the check', () => {
  test('accepts 20,000 updates of real editing, and knows their clocks', () => {
    const updates = corpus(prng(1), 20_000)
    const refused = updates.map(why).filter((verdict) => verdict !== 'accepted')
    expect(refused).toEqual([])
    expect(updates.length).toBeGreaterThanOrEqual(20_000)
    for (const update of updates.slice(0, 2000)) {
      const { from, to } = Y.parseUpdateMeta(update)
      const { sections } = checked(update)
      const ends = sections.map(({ client, structs: all }) => [client, all.at(-1)] as const)
      expect(new Map(sections.map(({ client, clock }) => [client, clock]))).toEqual(from)
      expect(new Map(ends.map(([client, last]) => [client, (last?.clock ?? 0) + (last?.length ?? 0)]))).toEqual(to)
    }
  })

  test('refuses what would keep a decoder busy, at once', () => {
    // Found by fuzzing: updates of format V2 from which a decoder of Yjs 13.6.33 did not return.
    const hanging = [
      '000006e8a2ba985a00010a0001840604f09f98800200000077de0901a8919dcc04010100',
      '00010006ee92c6c8110001220001870301700100010300ed01be0201ae89a3e408011100',
    ]
    const claims = [
      encoded((encoder) => [1, 30_000_000, 2, 0].forEach((value) => writeVarUint(encoder, value))),
      encoded((encoder) => [30_000_000].forEach((value) => writeVarUint(encoder, value))),
      encoded((encoder) => [0, 1, 2, 2 ** 40].forEach((value) => writeVarUint(encoder, value))),
      structs(1, (encoder) => (inRoot(encoder, 8), writeVarUint(encoder, 2 ** 31))),
      structs(1, (encoder) => (inRoot(encoder, 2), writeVarUint(encoder, 2 ** 31))),
      structs(1, (encoder) => (inRoot(encoder, 4), writeVarUint(encoder, 2 ** 31))),
    ]
    for (const bytes of [...hanging.map(fromHex), ...claims]) {
      expect(why(bytes)).not.toBe('accepted')
      expect(cost(1, () => checkUpdate(bytes))).toBeLessThan(1)
    }
  })

  const deep = (open: string, close: string, times: number): string => open.repeat(times) + close.repeat(times)
  const oneAny = (write: (encoder: encoding.Encoder) => void): Uint8Array =>
    structs(1, (encoder) => {
      inRoot(encoder, 8)
      writeVarUint(encoder, 1)
      write(encoder)
    })
  const nested = (times: number): Uint8Array =>
    oneAny((encoder) => {
      for (let i = 0; i < times; i++) [117, 1].forEach((byte) => writeUint8(encoder, byte))
      writeUint8(encoder, 126)
    })
  const embed = (json: string): Uint8Array =>
    structs(1, (encoder) => (inRoot(encoder, 5), writeVarString(encoder, json)))
  const string = (bytes: readonly number[]): Uint8Array =>
    structs(1, (encoder) => (inRoot(encoder, 4), writeVarUint8Array(encoder, Uint8Array.from(bytes))))

  test.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(), 'cut short'],
    ['an empty update', new Uint8Array([0, 0]), 'accepted'],
    ['something after the end', new Uint8Array([0, 0, 0]), 'bytes follow the end'],
    [
      'a clock beyond 2^53',
      new Uint8Array([1, 1, 2, 255, 255, 255, 255, 255, 255, 255, 127, 0]),
      'a number beyond 2^53',
    ],
    ['a number without end', new Uint8Array(30).fill(0x80), 'a number beyond 2^53'],
    ['a value nested to the bound', nested(updateDepth - 1), 'accepted'],
    ['a value nested too deep', nested(updateDepth), 'a value nested too deep'],
    ['JSON nested to the bound', embed(deep('[', ']', updateDepth)), 'accepted'],
    ['JSON nested too deep', embed(deep('{"a":[', ']}', updateDepth)), 'JSON nested too deep'],
    ['brackets inside a JSON string', embed(JSON.stringify('["\\"['.repeat(200))), 'accepted'],
    ['JSON that is none', embed('{"a":'), 'JSON that is none'],
    ['text that is not UTF-8', string([0xc0, 0x80]), 'a string that is not UTF-8'],
    ['half a character', string([0xed, 0xa0, 0x80]), 'a string that is not UTF-8'],
    ['a byte order mark', string([0xef, 0xbb, 0xbf]), 'accepted'],
    ['a string of no length', string([]), 'a struct without length'],
    [
      'a gap of no length',
      structs(1, (encoder) => [0, 0].forEach((byte) => writeUint8(encoder, byte))),
      'a struct without length',
    ],
    ['a struct of kind 11', structs(1, (encoder) => inRoot(encoder, 11)), 'a struct of an unknown kind'],
    [
      'a type of kind 7',
      structs(1, (encoder) => (inRoot(encoder, 7), writeVarUint(encoder, 7))),
      'a shared type of an unknown kind',
    ],
    [
      'options that are code',
      structs(1, (encoder) => (inRoot(encoder, 9), writeVarString(encoder, 'id'), writeAny(encoder, { gcFilter: 1 }))),
      'an option that is code',
    ],
    [
      'options that are null',
      structs(1, (encoder) => (inRoot(encoder, 9), writeVarString(encoder, 'id'), writeAny(encoder, null))),
      'options that are no object',
    ],
    [
      'a struct that rests on itself',
      structs(
        1,
        (encoder) => ([0x84, 2, 0].forEach((byte) => writeUint8(encoder, byte)), writeVarString(encoder, 'x')),
      ),
      'a struct that rests on itself',
    ],
    ['a client named twice', new Uint8Array([2, 1, 2, 0, 0, 1, 1, 2, 1, 0, 1, 0]), 'a client named twice'],
  ])('%s', (_, bytes, verdict) => {
    expect(why(bytes)).toBe(verdict)
  })
})

describe('the feed', () => {
  test('gives the same document in any order, waits without Yjs, and cut updates add up to the whole', () => {
    const chance = prng(2)
    for (let run = 0; run < 40; run++) {
      const { updates, docs } = editing(chance, 3, 80)
      const [first] = docs as [Y.Doc]
      const mixed = updates.map((update) => ({ update, at: chance.uint32() })).sort((a, b) => a.at - b.at)
      const whole = Y.encodeStateAsUpdate(first)
      const pieces = cutUpdate(checked(whole), 64)
      for (const some of [updates, mixed.map(({ update }) => update), [whole], pieces]) {
        const { doc, text, flaws, feed, sources } = fed(...some)
        expect(flaws.every((flaw) => flaw === undefined)).toBe(true)
        expect(sources.some((source) => feed.pending(source))).toBe(false)
        expect([doc.store.pendingStructs, doc.store.pendingDs]).toEqual([null, null])
        expect(text).toBe(first.getText('text').toString())
        expect(Y.encodeStateVector(doc)).toEqual(Y.encodeStateVector(first))
      }
    }
  })

  test('adds nothing of its own: no formatting is cleaned up, which is a deletion that no writer made', () => {
    const [a, b] = [new Y.Doc(), new Y.Doc()]
    a.getText('text').insert(0, 'some text')
    Y.applyUpdate(b, Y.encodeStateAsUpdate(a))
    a.getText('text').format(0, 4, { bold: true })
    b.getText('text').delete(0, 4)
    const deleted = (doc: Y.Doc): number =>
      [...Y.createDeleteSetFromStructStore(doc.store).clients.values()].flat().reduce((sum, { len }) => sum + len, 0)
    const both = [Y.encodeStateAsUpdate(a), Y.encodeStateAsUpdate(b)] as const
    const { doc, text } = fed(...both)
    expect([text, deleted(doc)]).toEqual([' text', 4])
    Y.applyUpdate(a, both[1])
    expect(deleted(a)).toBeGreaterThan(4)
  })

  test('refuses what Yjs would search through for minutes', () => {
    const count = 20_000
    const base = structs(1, (encoder) => (inRoot(encoder, 4), writeVarString(encoder, 'x'.repeat(count))))
    const far = encoded((encoder) => {
      for (const head of [1, count, 3, 0]) writeVarUint(encoder, head)
      for (let i = 0; i < count; i++) {
        writeUint8(encoder, 0x44)
        for (const value of [2, i]) writeVarUint(encoder, value)
        writeVarString(encoder, 'y')
      }
      writeVarUint(encoder, 0)
    })
    let flaws: unknown[] = []
    expect(cost(5000, () => ({ flaws } = fed(base, far)))).toBeLessThan(5000)
    expect(flaws).toEqual([undefined, 'costly'])
    const oneKey = structs(
      count,
      (encoder) => (inRoot(encoder, 8, 'k'), writeVarUint(encoder, 1), writeAny(encoder, 1)),
    )
    expect(fed(oneKey).flaws).toEqual(['costly'])
  })

  test('refuses types nested beyond the stack', () => {
    const chain = (depth: number): Uint8Array =>
      structs(depth, (encoder, index) => {
        if (index === 0) inRoot(encoder, 7)
        else for (const value of [7, 0, 2, index - 1]) writeVarUint(encoder, value)
        writeVarUint(encoder, 0)
      })
    expect(fed(chain(typeDepth)).flaws).toEqual([undefined])
    expect(fed(chain(typeDepth + 1)).flaws).toEqual(['deep'])
    expect(cost(1000, () => fed(chain(40_000)))).toBeLessThan(1000)
  })

  test('finds two contents for one unit', () => {
    const write = (content: string): Uint8Array =>
      structs(1, (encoder) => (inRoot(encoder, 4), writeVarString(encoder, content)))
    expect(fed(write('abc'), write('abcd')).flaws).toEqual([undefined, undefined])
    expect(fed(write('abc'), write('abcd')).text).toBe('abcd')
    expect(fed(write('abcd'), write('ab')).flaws).toEqual([undefined, undefined])
    expect(fed(write('abc'), write('abX')).flaws).toEqual([undefined, 'clash'])
    const other = structs(1, (encoder) => (inRoot(encoder, 8), writeVarUint(encoder, 1), writeAny(encoder, 'a')))
    expect(fed(write('abc'), other).flaws).toEqual([undefined, 'clash'])
  })

  test('what the check lets through costs little and never throws, in 50,000 mutants', () => {
    const chance = prng(3)
    const updates = corpus(chance, 6000)
    let accepted = 0
    let slowest = 0
    for (let i = 0; i < 50_000; i++) {
      const base = chance.pick(updates)
      const bytes = mutant(base, updates, chance)
      if (why(bytes) !== 'accepted') continue
      accepted++
      const both = chance.chance(0.5) ? [base, bytes] : [bytes, base]
      const milliseconds = cost(50, () => {
        const { doc } = fed(...both)
        if (why(Y.encodeStateAsUpdate(doc)) !== 'accepted') throw new Error('an encoding that is refused')
        Y.mergeUpdates([bytes, base])
      })
      slowest = Math.max(slowest, milliseconds)
    }
    expect(accepted).toBeGreaterThan(3000)
    expect(slowest).toBeLessThan(50)
  })

  /** Well-formed structs with names drawn from a small space: everything points at everything. */
  function crafted(chance: Prng): Uint8Array {
    let own = 0
    const id = (encoder: encoding.Encoder): void => {
      const client = 1 + chance.below(3)
      writeVarUint(encoder, client)
      // Mostly not what the check refuses: a struct that rests on itself.
      writeVarUint(encoder, client === own ? chance.below(2) : chance.below(14))
    }
    const some = (): number[] => [1, 2, 3].filter(() => chance.chance(0.6))
    return encoded((encoder) => {
      const clients = some()
      writeVarUint(encoder, clients.length)
      for (const client of clients) {
        own = client
        const count = 1 + chance.below(8)
        for (const head of [count, client, chance.chance(0.7) ? 0 : chance.below(8)]) writeVarUint(encoder, head)
        for (let left = count; left > 0; left--) {
          const kind = chance.pick([0, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 7, 8, 9, 10])
          if (kind === 0 || kind === 10) {
            writeUint8(encoder, kind)
            writeVarUint(encoder, 1 + chance.below(3))
            continue
          }
          const info = kind | chance.pick([0, 0x80, 0x80, 0x40, 0xc0]) | chance.pick([0, 0, 0, 0x20])
          writeUint8(encoder, info)
          if ((info & 0x80) !== 0) id(encoder)
          if ((info & 0x40) !== 0) id(encoder)
          if ((info & 0xc0) === 0) {
            if (chance.chance(0.5)) {
              writeVarUint(encoder, 1)
              writeVarString(encoder, chance.pick(['text', 'm']))
            } else {
              writeVarUint(encoder, 0)
              id(encoder)
            }
            if ((info & 0x20) !== 0) writeVarString(encoder, chance.pick(['a', 'b']))
          }
          if (kind === 1) writeVarUint(encoder, 1 + chance.below(3))
          else if (kind === 3) writeVarUint8Array(encoder, new Uint8Array(2))
          else if (kind === 4) writeVarString(encoder, chance.pick(['a', 'bc', 'def', '😀']))
          else if (kind === 5) writeVarString(encoder, '{}')
          else if (kind === 6) {
            writeVarString(encoder, 'bold')
            writeVarString(encoder, chance.pick(['true', 'null']))
          } else if (kind === 7) {
            const type = chance.below(7)
            writeVarUint(encoder, type)
            if (type === 3 || type === 5) writeVarString(encoder, 'n')
          } else if (kind === 9) {
            writeVarString(encoder, 'guid')
            writeAny(encoder, {})
          } else {
            writeVarUint(encoder, 1)
            if (kind === 2) writeVarString(encoder, '[1]')
            else writeAny(encoder, 1)
          }
        }
      }
      const deleted = some()
      writeVarUint(encoder, deleted.length)
      for (const client of deleted)
        for (const value of [client, 1, chance.below(14), 1 + chance.below(4)]) writeVarUint(encoder, value)
    })
  }

  test('nor in 3,000 crafted ones, three to a document', () => {
    const chance = prng(4)
    let accepted = 0
    let slowest = 0
    for (let run = 0; run < 1000;) {
      const three = [crafted(chance), crafted(chance), crafted(chance)]
      if (three.some((update) => why(update) !== 'accepted')) continue
      run++
      slowest = Math.max(
        slowest,
        cost(50, () => {
          const { doc, flaws } = fed(...three)
          if (flaws.every((flaw) => flaw === undefined)) accepted++
          doc.getText('text').toDelta()
          const again = fed(Y.encodeStateAsUpdate(doc))
          expect([again.text, again.flaws]).toEqual([doc.getText('text').toString(), [undefined]])
          Y.mergeUpdates(three)
        }),
      )
    }
    expect(accepted).toBeGreaterThan(200)
    expect(slowest).toBeLessThan(50)
  })
})
