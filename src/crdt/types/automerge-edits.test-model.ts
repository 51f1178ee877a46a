/** Random real editing with Automerge, from a seed: what tests of the doc type take their changes from. */
import * as A from '@automerge/automerge'
import type { Prng } from '../../base/prng.ts'

export type Fields = Record<string, unknown>

export function edit(fields: Fields, chance: Prng): void {
  const list = fields['list'] as unknown[] | undefined
  const text = fields['text']
  switch (chance.below(13)) {
    case 0:
      fields[chance.pick(['a', 'b'])] = chance.pick([1, -1, 2 ** 40, 1.5, true, null, 'words', new Uint8Array([1, 2])])
      return
    case 1:
      fields['map'] = { x: 1, y: { z: 'deep', list: [1, { k: null }] } }
      return
    case 2:
      fields['list'] = [1, 2, 'three']
      return
    case 3:
      list?.splice(chance.below(list.length + 1), 0, chance.pick<unknown>(['n', 7, { in: 'list' }]))
      return
    case 4:
      if (list !== undefined && list.length > 0) list.splice(chance.below(list.length), 1)
      return
    case 5:
      fields['count'] = new A.Counter(1)
      return
    case 6:
      if (fields['count'] instanceof A.Counter) fields['count'].increment(chance.below(5) - 2)
      return
    case 7:
    case 8:
    case 9: {
      if (typeof text !== 'string') fields['text'] = 'hello é😀'
      else A.splice(fields, ['text'], chance.below(text.length + 1), 0, chance.pick(['x', 'some words', 'é']))
      return
    }
    case 10: {
      if (typeof text !== 'string' || text.length < 4) return
      A.splice(fields, ['text'], chance.below(text.length - 2), 2)
      A.mark(fields, ['text'], { start: 0, end: 1, expand: 'both' }, 'bold', true)
      return
    }
    case 11:
      Reflect.deleteProperty(fields, chance.pick(['a', 'map', 'count']))
      return
    default:
      fields['misc'] = { when: new Date(5), raw: new A.ImmutableString('raw'), big: [0.1, 'x'.repeat(400)] }
  }
}

/** All changes that some clients made, and one of their documents that has seen them all. */
export function editing(chance: Prng, clients: number, steps: number): { changes: Uint8Array[]; doc: A.Doc<Fields> } {
  const docs = Array.from({ length: clients }, () =>
    A.init<Fields>({ actor: chance.uint32().toString(16).padStart(8, '0') }),
  )
  const changes: Uint8Array[] = []
  for (let step = 0; step < steps; step++) {
    const who = chance.below(clients)
    const options = { time: chance.below(2) * 1_700_000_000, ...(chance.chance(0.1) && { message: 'why é' }) }
    const before = docs[who] as A.Doc<Fields>
    const heads = A.getHeads(before)
    const after = A.change(before, options, (fields) => {
      for (let times = 1 + chance.below(2); times > 0; times--) edit(fields, chance)
    })
    docs[who] = after
    changes.push(...A.getChangesSince(after, heads))
    if (clients > 1 && chance.chance(0.25)) {
      docs[who] = A.merge(after, docs[(who + 1 + chance.below(clients - 1)) % clients] as A.Doc<Fields>)
    }
  }
  let [doc] = docs as [A.Doc<Fields>]
  for (const other of docs.slice(1)) doc = A.merge(doc, other)
  return { changes, doc }
}
