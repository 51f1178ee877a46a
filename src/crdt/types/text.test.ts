import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { prng } from '../../base/prng.ts'
import type { Delta } from '../delta.ts'
import type { Cells } from '../type.ts'
import { Replica as DocumentReplica } from './documents.test-model.ts'
import { rootName, stateAsUpdate, text, unreadText, ydoc } from './text.ts'
import { binOf } from './document-copy.ts'

class Replica extends DocumentReplica<string> {
  constructor(name: number, log: Delta[] = [], aheadMs: number = 0) {
    super(text, name, log, aheadMs)
  }

  insert(at: number, added: string): Delta | undefined {
    return this.do('insert', { at, text: added })
  }

  get text(): string {
    return this.value
  }
}

/** The slow twin: a new document from every live cell, in no order of ours, with Yjs's own handling of what is missing. */
function twin(cells: Cells, shuffle: () => number): Y.Doc {
  const updates: Uint8Array[] = []
  for (const [, siblings] of cells.all()) for (const { value } of siblings) updates.push(binOf(value) as Uint8Array)
  const doc = new Y.Doc()
  const mixed = updates.map((update) => ({ update, at: shuffle() })).sort((a, b) => a.at - b.at)
  // Twice, since Yjs can lose an update that waited (13.6.33); what it has it skips.
  for (let round = 0; round < 2; round++) for (const { update } of mixed) Y.applyUpdate(doc, update)
  return doc
}

const stateVector = (doc: Y.Doc): [number, number][] =>
  [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort((a, b) => a[0] - b[0])

function client(): { doc: Y.Doc; text: Y.Text; updates: Uint8Array[] } {
  const doc = new Y.Doc()
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array, from: unknown) => {
    if (from !== 'heard') updates.push(update)
  })
  return { doc, text: doc.getText(rootName), updates }
}

const failure = (run: () => unknown): unknown => {
  try {
    run()
  } catch (error) {
    return error instanceof SkeinError ? error.code : error
  }
  return undefined
}

describe('editing', () => {
  test('inserts and deletes at positions in UTF-16 units', () => {
    const a = new Replica(1)
    a.insert(0, 'helo')
    a.insert(3, 'l')
    a.insert(5, ' 😀')
    a.do('delete', { at: 0, count: 1 })
    expect(a.text).toBe('ello 😀')
    expect(text.read(a.cells).concurrent).toEqual([])
  })

  test('refuses what is outside, or inside a character, and changes nothing', () => {
    const a = new Replica(1)
    a.insert(0, 'a😀')
    const before = a.state.encode()
    expect(failure(() => a.insert(4, 'x'))).toBe('out_of_range')
    expect(failure(() => a.insert(2, 'x'))).toBe('out_of_range')
    expect(failure(() => a.do('delete', { at: 2, count: 1 }))).toBe('out_of_range')
    expect(failure(() => a.do('delete', { at: 0, count: 2 }))).toBe('out_of_range')
    expect(failure(() => a.do('delete', { at: 1, count: 3 }))).toBe('out_of_range')
    expect(failure(() => a.insert(-1, 'x'))).toBe('invalid_argument')
    expect(failure(() => a.insert(0, '\ud800'))).toBe('invalid_argument')
    expect(failure(() => a.do('update', { update: 7 }))).toBe('invalid_argument')
    expect(failure(() => a.do('update', { update: '***' }))).toBe('invalid_argument')
    expect(a.state.encode()).toEqual(before)
    expect(a.text).toBe('a😀')
  })

  test('what changes nothing writes nothing', () => {
    const a = new Replica(1)
    expect(a.insert(0, '')).toBeUndefined()
    expect(a.do('delete', { at: 0, count: 0 })).toBeUndefined()
    expect(a.do('update', { update: Y.encodeStateAsUpdate(new Y.Doc()) })).toBeUndefined()
    expect(a.count).toBe(0)
  })

  test('concurrent edits of two replicas are both kept, in the same order', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    a.insert(0, 'one three')
    b.hear(a.log)
    a.insert(4, 'two ')
    b.insert(9, ' four')
    b.do('delete', { at: 0, count: 3 })
    a.hear(b.log)
    b.hear(a.log)
    expect(a.text).toBe(' two three four')
    expect(b.text).toBe(a.text)
    expect(a.state.encode()).toEqual(b.state.encode())
  })

  test('several edits in one transaction are one delta, and a rollback leaves nothing of it', () => {
    const a = new Replica(1)
    a.insert(0, 'kept')
    const steps = [
      ['insert', { at: 0, text: 'ab' }],
      ['insert', { at: 1, text: '-' }],
      ['delete', { at: 0, count: 1 }],
    ] as const
    expect(() => a.all(steps, true)).toThrow('rolled back')
    expect(a.text).toBe('kept')
    const b = new Replica(2)
    a.all(steps, false)
    b.hear(a.log)
    expect([a.text, b.text, a.log.length]).toEqual(['-bkept', '-bkept', 2])
  })

  test('a first edit that is rolled back never was, even at the same time', () => {
    const a = new Replica(1)
    const write = a.write()
    expect(() => a.all([['insert', { at: 0, text: 'lost' }]], true, write)).toThrow('rolled back')
    a.all([['insert', { at: 0, text: 'kept' }]], false, write)
    expect(a.text).toBe('kept')
  })
})

describe('a refused operation', () => {
  test('leaves nothing behind in the transaction that goes on without it', () => {
    const a = new Replica(1)
    const [x, y] = [client(), client()]
    x.doc.clientID = y.doc.clientID = 77
    x.text.insert(0, 'right')
    y.text.insert(0, 'wrong!')
    const z = client()
    z.doc.clientID = 78
    z.text.insert(0, 'half of it ')
    Y.applyUpdate(z.doc, y.updates[0] as Uint8Array)
    a.do('update', { update: x.updates[0] })
    const both = Y.encodeStateAsUpdate(z.doc)
    a.attempt(['update', { update: both }], ['insert', { at: 5, text: '!' }])
    expect(a.text).toBe('right!')
    expect(ydoc(a.cells).getText(rootName).toString()).toBe('right!')
  })
})

describe('Yjs clients', () => {
  test('two clients that edit at once through two replicas end alike, and like ours', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    const [x, y] = [client(), client()]
    x.text.insert(0, 'shared text')
    x.text.format(0, 6, { bold: true })
    a.do('update', { update: x.updates[0] })
    a.do('update', { update: Buffer.from(x.updates[1] as Uint8Array).toString('base64') })
    b.hear(a.log)
    Y.applyUpdate(y.doc, stateAsUpdate(b.cells), 'heard')
    expect(y.text.toDelta()).toEqual(x.text.toDelta())

    x.text.insert(6, ' and edited')
    y.text.delete(0, 3)
    y.text.insert(y.text.length, '!')
    for (const update of x.updates.slice(2)) a.do('update', { update })
    for (const update of y.updates) b.do('update', { update })
    a.insert(0, '> ')
    a.hear(b.log)
    b.hear(a.log)
    for (const { doc } of [x, y]) {
      const replica = doc === x.doc ? a : b
      Y.applyUpdate(doc, stateAsUpdate(replica.cells, Y.encodeStateVector(doc)), 'heard')
    }
    expect(x.text.toDelta()).toEqual(y.text.toDelta())
    expect([a.text, b.text]).toEqual([x.text.toString(), x.text.toString()])

    const plain = new Y.Doc()
    Y.applyUpdate(plain, stateAsUpdate(a.cells))
    expect(plain.getText(rootName).toDelta()).toEqual(x.text.toDelta())
    expect(stateVector(plain)).toEqual(stateVector(x.doc))
    expect(Y.encodeStateAsUpdate(plain)).toEqual(Y.encodeStateAsUpdate(x.doc))
    expect(stateVector(ydoc(b.cells))).toEqual(stateVector(x.doc))
  })

  test('an update that says nothing new is a no-op, whole or in parts', () => {
    const a = new Replica(1)
    const x = client()
    x.text.insert(0, 'abc')
    x.text.delete(1, 1)
    for (const update of x.updates) expect(a.do('update', { update })).toBeDefined()
    for (const update of x.updates) expect(a.do('update', { update })).toBeUndefined()
    expect(a.do('update', { update: Y.encodeStateAsUpdate(x.doc) })).toBeUndefined()
    expect(a.do('update', { update: stateAsUpdate(a.cells) })).toBeUndefined()
    expect(a.count).toBe(2)
  })

  test('an update that comes too early waits, is a no-op the second time, and shows when the rest is there', () => {
    const a = new Replica(1)
    const x = client()
    x.text.insert(0, 'one')
    x.text.insert(3, 'two')
    x.text.delete(0, 1)
    const [first, second, third] = x.updates
    a.do('update', { update: third })
    a.do('update', { update: second })
    expect(a.do('update', { update: second })).toBeUndefined()
    expect(a.text).toBe('')
    expect(unreadText(a.cells).map(({ reason }) => reason)).toEqual(['pending', 'pending'])
    a.do('update', { update: first })
    expect(a.text).toBe('netwo')
    expect(unreadText(a.cells)).toEqual([])
  })

  test('everything else that Yjs has comes through: other roots, embeds, XML, subdocuments', () => {
    const a = new Replica(1)
    const x = client()
    x.doc.getMap('map').set('k', { deep: [1, null, 'é'] })
    x.doc.getXmlFragment('xml').insert(0, [new Y.XmlElement('p')])
    x.doc.getMap('docs').set('inner', new Y.Doc({ guid: 'inner' }))
    x.text.insertEmbed(0, { image: 'x' })
    x.text.insert(1, 'after')
    for (const update of x.updates) a.do('update', { update })
    const mine = ydoc(a.cells)
    expect(a.text).toBe('after')
    expect(mine.getText(rootName).toDelta()).toEqual(x.text.toDelta())
    expect(mine.getMap('map').toJSON()).toEqual({ k: { deep: [1, null, 'é'] } })
    expect(mine.getXmlFragment('xml').toString()).toBe('<p></p>')
    expect([...mine.subdocs].map(({ guid }) => guid)).toEqual(['inner'])
    // Positions count embeds, as they do in Yjs.
    a.insert(1, '>')
    expect(a.text).toBe('>after')
  })

  test('a document handed out is not the one inside', () => {
    const a = new Replica(1)
    a.insert(0, 'ours')
    const theirs = ydoc(a.cells)
    theirs.getText(rootName).insert(0, 'and theirs')
    expect(a.text).toBe('ours')
    a.do('update', { update: Y.encodeStateAsUpdate(theirs) })
    expect(a.text).toBe('and theirsours')
  })

  test('an update larger than a cell is cut, and what cannot be cut is refused in words', () => {
    const a = new Replica(1)
    const x = client()
    x.text.insert(0, 'é😀x'.repeat(60_000))
    x.text.insert(5, 'y'.repeat(300))
    x.text.delete(70_000, 10)
    const whole = Y.encodeStateAsUpdate(x.doc)
    expect(whole.length).toBeGreaterThan(limits.valueBytes)
    a.do('update', { update: whole })
    expect(a.count).toBeGreaterThan(1)
    expect(a.text).toBe(x.text.toString())
    expect(a.do('update', { update: whole })).toBeUndefined()
    const plain = new Y.Doc()
    Y.applyUpdate(plain, stateAsUpdate(a.cells))
    expect(stateVector(plain)).toEqual(stateVector(x.doc))
    const y = client()
    y.doc.getArray('a').insert(0, [new Uint8Array(limits.valueBytes)])
    expect(failure(() => a.do('update', { update: y.updates[0] }))).toBe('too_large')
    expect(a.text).toBe(x.text.toString())
  })

  test('a bad state vector is refused in words', () => {
    const a = new Replica(1)
    a.insert(0, 'x')
    expect(failure(() => stateAsUpdate(a.cells, new Uint8Array([255, 255])))).toBe('invalid_argument')
  })
})

describe('folding', () => {
  test('keeps the cells few, however much is written, and a reader sees the same', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    const chance = prng(1)
    let most = 0
    for (let step = 0; step < 1500; step++) {
      const { length } = a.text
      if (length > 20 && chance.chance(0.3)) a.do('delete', { at: chance.below(length - 3), count: 3 })
      else a.insert(chance.below(length + 1), chance.pick(['x', 'word ', 'é']))
      most = Math.max(most, a.count)
    }
    expect(most).toBeLessThanOrEqual(150)
    b.hear(a.log)
    expect(b.text).toBe(a.text)
    expect(a.state.encode()).toEqual(b.state.encode())
    // One client wrote it all, copies and snapshots notwithstanding.
    expect(stateVector(ydoc(b.cells)).length).toBe(1)
  })

  test('a snapshot supersedes exactly what it contains: what is concurrent stays', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    for (let i = 0; i < 50; i++) a.insert(i, 'a')
    b.hear(a.log)
    b.insert(50, ' from b')
    b.do('delete', { at: 0, count: 1 })
    for (let i = 0; i < 50; i++) a.insert(0, 'A')
    expect(a.count).toBeLessThan(60)
    const fold = a.log.find(({ clears }) => clears.length > 0)
    expect(fold?.clears[0]?.keep).toEqual([])
    b.hear(a.log)
    a.hear(b.log)
    expect(a.text).toBe(`${'A'.repeat(50)}${'a'.repeat(49)} from b`)
    expect(b.text).toBe(a.text)
    expect(a.state.encode()).toEqual(b.state.encode())
  })

  test('names in `keep` what it cannot read and what still waits', () => {
    const [a, b] = [new Replica(1), new Replica(2, [], 500)]
    const x = client()
    x.text.insert(0, 'later')
    x.text.insert(5, ' more')
    const bad = b.raw(new Uint8Array([1, 200, 1]))
    b.raw('not even bytes')
    a.hear(b.log)
    const waiting = a.do('update', { update: x.updates[1] })
    for (let i = 0; i < 100; i++) a.insert(i, 'a')
    const fold = a.log.find(({ clears }) => clears.length > 0)
    const dots = [bad, b.log[1], waiting].map((delta) => ({ origin: delta?.origin, seq: delta?.seq }))
    expect(fold?.clears[0]?.keep).toHaveLength(3)
    expect(fold?.clears[0]?.keep).toEqual(expect.arrayContaining(dots))
    b.hear(a.log)
    expect(unreadText(b.cells).map(({ reason }) => reason)).toEqual(
      expect.arrayContaining(['malformed', 'malformed', 'pending']),
    )
    b.do('update', { update: x.updates[0] })
    a.hear(b.log)
    expect(a.text).toContain('later more')
    expect(b.text).toBe(a.text)
  })

  test('a document of any size is folded in segments', () => {
    const a = new Replica(1)
    const line = `${'lorem ipsum dolor sit amet '.repeat(300)}\n`
    for (let i = 0; i < 130; i++) a.insert(0, line)
    expect(a.count).toBeLessThan(90)
    const b = new Replica(2)
    b.hear(a.log)
    expect(b.text).toBe(line.repeat(130))
    b.insert(5, '!')
    expect(b.text.length).toBe(line.length * 130 + 1)
  })

  test('a long insertion is cut into pieces that fit', () => {
    const a = new Replica(1)
    const long = '😀é'.repeat(70_000)
    a.insert(0, long)
    expect(a.text).toBe(long)
    expect(a.count).toBe(4)
  })
})

describe('deletion', () => {
  test('empties the text, and a new life shares nothing with the old one', () => {
    const [a, b] = [new Replica(1), new Replica(2)]
    a.insert(0, 'old life')
    b.hear(a.log)
    const [old] = stateVector(ydoc(a.cells))
    a.clear()
    expect([a.text, a.count]).toEqual(['', 0])
    a.insert(0, 'new')
    expect(a.text).toBe('new')
    expect(stateVector(ydoc(a.cells)).map(([id]) => id)).not.toContain(old?.[0])
    b.insert(8, ' goes on')
    b.hear(a.log)
    a.hear(b.log)
    // What b wrote after the old life cannot be shown without it; it is not mixed into the new one.
    expect([a.text, b.text]).toEqual(['new', 'new'])
    expect(unreadText(a.cells).map(({ reason }) => reason)).toEqual(['pending'])
  })

  test('a client goes on where its copy was lost, and a new incarnation is a new client', () => {
    const a = new Replica(1)
    a.insert(0, 'one ')
    a.cells.memo.value = undefined
    a.insert(4, 'two ')
    expect(stateVector(ydoc(a.cells)).length).toBe(1)
    const b = new Replica(2)
    b.hear(a.log)
    b.insert(8, 'three')
    expect(stateVector(ydoc(b.cells)).length).toBe(2)
    expect(b.text).toBe('one two three')
  })
})

describe('hostile bytes', () => {
  test('are refused where they are written, and nothing changes', () => {
    const a = new Replica(1)
    a.insert(0, 'safe')
    const before = a.state.encode()
    for (const bytes of [[], [1], [1, 1, 1, 0, 4], [0, 0, 0], [1, 255, 255, 255, 15, 1, 0, 0]]) {
      expect(failure(() => a.do('update', { update: new Uint8Array(bytes) }))).toBe('document_invalid')
    }
    expect(a.state.encode()).toEqual(before)
    expect(a.text).toBe('safe')
  })

  test('two contents for the same units of a client are refused at the writer', () => {
    const a = new Replica(1)
    const [x, y] = [client(), client()]
    x.doc.clientID = y.doc.clientID = 77
    x.text.insert(0, 'right')
    y.text.insert(0, 'wrong!')
    a.do('update', { update: x.updates[0] })
    expect(failure(() => a.do('update', { update: y.updates[0] }))).toBe('document_invalid')
    expect(a.text).toBe('right')
  })

  test('two contents that meet read alike on every replica, whichever came first', () => {
    const [a, b, c] = [new Replica(1), new Replica(2, [], 10), new Replica(3)]
    const [x, y] = [client(), client()]
    x.doc.clientID = y.doc.clientID = 77
    x.text.insert(0, 'right')
    y.text.insert(0, 'wrong!')
    a.do('update', { update: x.updates[0] })
    b.do('update', { update: y.updates[0] })
    expect(b.text).toBe('wrong!')
    a.hear(b.log)
    b.hear(a.log)
    c.hear([...b.log, ...a.log])
    expect([a.text, b.text, c.text]).toEqual(['right', 'right', 'right'])
    b.insert(0, '> ')
    a.hear(b.log)
    c.hear(b.log)
    expect([a.text, b.text, c.text]).toEqual(['> right', '> right', '> right'])
    expect(unreadText(c.cells)).toEqual([{ dot: { origin: b.origin, seq: 1 }, reason: 'clash' }])
    for (let i = 0; i < 100; i++) c.insert(0, 'c')
    expect(c.count).toBeLessThan(90)
    a.hear(c.log)
    expect(a.text).toBe(`${'c'.repeat(100)}> right`)
  })
})

describe('the copy', () => {
  test('is made anew when a cell that it contains has other bytes now', () => {
    const say = (content: string): Uint8Array => {
      const one = client()
      one.text.insert(0, content)
      return one.updates[0] as Uint8Array
    }
    const [a, b] = [new Replica(1), new Replica(1)]
    a.raw(say('one'), 'here')
    b.raw(say('other'), 'here')
    expect([a.text, b.text]).toEqual(['one', 'other'])
    // The same path and dot, as after a rollback at the same time.
    b.cells.memo.value = a.cells.memo.value
    expect(b.text).toBe('other')
  })

  test('says what a document made anew from the cells says, whatever happens', () => {
    for (let seed = 0; seed < 12; seed++) {
      const chance = prng(seed)
      const log: Delta[] = []
      const replicas = [1, 2, 3].map((name) => new Replica(name, log, name * 7))
      const clients = [client(), client()]
      const lives = chance.chance(0.5)
      for (let step = 0; step < 150; step++) {
        const replica = chance.pick(replicas)
        const before = replica.text
        const { length } = before
        const at = chance.below(length + 1)
        const roll = chance.below(100)
        if (roll < 40) {
          const added = chance.pick(['a', 'bc', 'def '])
          replica.insert(at, added)
          expect(replica.text).toBe(before.slice(0, at) + added + before.slice(at))
        } else if (roll < 55) {
          const count = chance.below(Math.min(4, length - at + 1))
          replica.do('delete', { at, count })
          expect(replica.text).toBe(before.slice(0, at) + before.slice(at + count))
        } else if (roll < 70) {
          const one = chance.pick(clients)
          if (chance.chance(0.5)) {
            Y.applyUpdate(one.doc, stateAsUpdate(replica.cells, Y.encodeStateVector(one.doc)), 'heard')
          }
          one.text.insert(chance.below(one.text.length + 1), chance.pick(['X', 'YZ']))
          if (chance.chance(0.3)) one.text.delete(0, Math.min(2, one.text.length))
          // Sometimes out of order, sometimes lost until later.
          while (one.updates.length > 0 && chance.chance(0.8)) {
            const [update] = one.updates.splice(chance.below(one.updates.length), 1)
            replica.do('update', { update })
          }
        } else if (roll < 75) replica.cells.memo.value = undefined
        else if (roll < 78 && lives) replica.clear()
        else if (roll < 84) {
          expect(() => replica.all([['insert', { at: 0, text: 'never' }]], true)).toThrow('rolled back')
        } else replica.hear(chance.chance(0.5) ? log : log.filter(() => chance.chance(0.7)))
        expect(replica.text).toBe(ydoc(replica.cells).getText(rootName).toString())
        if (step % 10 > 0) continue
        const slow = twin(replica.cells, () => chance.uint32())
        expect(replica.text).toBe(slow.getText(rootName).toString())
      }
      for (const replica of replicas) replica.hear(log)
      const [first, ...others] = replicas as [Replica, ...Replica[]]
      for (const other of others) {
        expect(other.text).toBe(first.text)
        expect(other.state.encode()).toEqual(first.state.encode())
        expect(stateVector(ydoc(other.cells))).toEqual(stateVector(ydoc(first.cells)))
      }
    }
  })
})
