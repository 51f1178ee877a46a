/**
 * The set: a cell per element, named by the element's canonical bytes. Adding wins over a concurrent removal; a removal
 * with `wins: 'remove'` wins over concurrent adds. See existence.ts for how.
 *
 * Elements are compared as values: {a: 1, b: 2} is {b: 2, a: 1}. Nothing merges inside an element.
 */
import { binaryString } from '../../base/bytes.ts'
import type { Value } from '../../base/value.ts'
import type { CrdtType } from '../type.ts'
import { choice, values } from './arguments.ts'
import { bring, decisive, drop, exists, forbid } from './existence.ts'
import { valueOfPath } from './reading.ts'

export const set: CrdtType<readonly Value[]> = {
  id: 4,
  name: 'set',
  merge: 'element by element; an add wins over a concurrent removal unless the removal asks to win',
  expiring: true,
  operations: {
    add: {
      parameters: ['values'],
      spread: true,
      run(cells, change, args) {
        for (const element of values(args, 'values')) bring(cells, change, binaryString(element))
        return undefined
      },
    },
    remove: {
      parameters: ['values'],
      spread: true,
      run(cells, change, args) {
        const take = choice(args, 'wins', ['add', 'remove'], 'add') === 'add' ? drop : forbid
        for (const element of values(args, 'values')) take(cells, change, binaryString(element))
        return undefined
      },
    },
  },
  foremost: decisive,
  read(cells) {
    const elements: Value[] = []
    for (const [path, siblings] of cells.all()) {
      if (!exists(siblings)) continue
      const element = valueOfPath(path)
      if (element !== undefined) elements.push(element)
    }
    return { value: elements, concurrent: [] }
  },
}
