/**
 * Random real editing with Yjs, from a seed: several clients that edit text, formats, embeds, maps, arrays, XML and
 * subdocuments, undo, and hear of each other late. What tests of the text type take their updates from.
 */
import * as Y from 'yjs'
import type { Prng } from '../../base/prng.ts'

const words: readonly string[] = ['a', 'word', 'é', '😀', 'two words ', '\n', 'x'.repeat(300), '\ufeff', 'end.']

function someAny(chance: Prng, depth: number): unknown {
  const scalars: readonly unknown[] = [
    null,
    true,
    -1,
    0.1,
    1e300,
    2 ** 40,
    { big: 123456n },
    'text',
    new Uint8Array([1, 2]),
  ]
  if (depth === 0 || chance.chance(0.6)) return chance.pick(scalars)
  if (chance.chance(0.5)) return [someAny(chance, depth - 1), someAny(chance, depth - 1)]
  return { one: someAny(chance, depth - 1), '': someAny(chance, depth - 1) }
}

function someShared(chance: Prng): unknown {
  return chance.pick([
    () => new Y.Map([['k', 1]]),
    () => Y.Array.from([1, 'two']),
    () => new Y.Text('nested'),
    () => new Y.XmlElement('p'),
    () => new Y.XmlText('xml'),
    () => new Y.Doc({ meta: { a: 1 }, autoLoad: chance.chance(0.5) }),
  ])()
}

export function edit(doc: Y.Doc, chance: Prng): void {
  const text = doc.getText('text')
  const at = chance.below(text.length + 1)
  const span = Math.min(text.length - at, chance.below(6))
  const map = doc.getMap('map')
  const array = doc.getArray('array')
  switch (chance.below(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      return text.insert(at, chance.pick(words))
    case 5:
    case 6:
      return text.delete(at, span)
    case 7:
      return text.format(at, span, { [chance.pick(['bold', 'link'])]: chance.pick([true, null, { href: 'x' }]) })
    case 8:
      return text.insertEmbed(at, { image: 'x', size: [1, 2] })
    case 9:
      map.set(chance.pick(['a', 'b']), someAny(chance, 2))
      return
    case 10:
      map.set(chance.pick(['a', 'b', 'c']), someShared(chance))
      return
    case 11:
      return map.delete(chance.pick(['a', 'b', 'c']))
    case 12:
      return array.insert(chance.below(array.length + 1), [
        someAny(chance, 1),
        chance.chance(0.3) ? someShared(chance) : 1,
      ])
    case 13: {
      if (array.length > 0) array.delete(chance.below(array.length))
      return
    }
    case 14: {
      const xml = doc.getXmlFragment('xml')
      const element = new Y.XmlElement('div')
      xml.insert(chance.below(xml.length + 1), [element])
      element.setAttribute('class', 'c')
      element.insert(0, [new Y.XmlText('t'), new Y.XmlElement('b')])
      return
    }
    default: {
      const nested = map.get('c')
      if (nested instanceof Y.Text) return nested.insert(0, 'in')
      if (nested instanceof Y.Map) nested.set('deep', new Y.Map([['deeper', new Y.Array()]]))
    }
  }
}

/** Every update that the clients made, in order, and the clients as they stand, all of them in touch at the end. */
export function editing(chance: Prng, clients: number, steps: number): { updates: Uint8Array[]; docs: Y.Doc[] } {
  const updates: Uint8Array[] = []
  const docs = Array.from({ length: clients }, () => {
    const doc = new Y.Doc({ gc: chance.chance(0.8) })
    doc.clientID = chance.uint32()
    doc.getText('text')
    return doc
  })
  const undo = docs.map((doc) => new Y.UndoManager([doc.getText('text'), doc.getMap('map')], { captureTimeout: 0 }))
  for (const doc of docs) {
    doc.on('update', (update: Uint8Array, from: unknown) => {
      if (from !== 'heard') updates.push(update)
    })
  }
  const hear = (to: Y.Doc, from: Y.Doc): void => {
    Y.applyUpdate(to, Y.encodeStateAsUpdate(from, Y.encodeStateVector(to)), 'heard')
  }
  for (let step = 0; step < steps; step++) {
    const who = chance.below(clients)
    const doc = docs[who] as Y.Doc
    if (chance.chance(0.04)) undo[who]?.undo()
    else if (chance.chance(0.02)) undo[who]?.redo()
    else if (chance.chance(0.1)) doc.transact(() => [1, 2, 3].forEach(() => edit(doc, chance)))
    else edit(doc, chance)
    if (chance.chance(0.15)) hear(doc, chance.pick(docs))
  }
  for (const one of docs) for (const other of docs) hear(one, other)
  for (const one of docs) for (const other of docs) hear(one, other)
  return { updates, docs }
}
