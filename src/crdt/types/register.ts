/**
 * The register: one cell with one value of any kind. The newest write by (time, dot) is what a plain read shows; writes
 * that were concurrent with it stay at hand as siblings until somebody writes over them (multi-value register; Shapiro
 * et al., 2011, read as last-writer-wins).
 *
 * It merges nothing inside a value: two writers of different fields of one object want a record.
 */
import type { Value } from '../../base/value.ts'
import { rootPath } from '../cell.ts'
import { holdsOnly } from '../change.ts'
import type { CrdtType } from '../type.ts'
import { value } from './arguments.ts'
import { readable } from './reading.ts'

export const register: CrdtType<Value | undefined> = {
  id: 1,
  name: 'register',
  merge: 'the newest write wins by (time, dot); concurrent ones stay readable until the next write',
  expiring: true,
  operations: {
    set: {
      parameters: ['value'],
      run(cells, change, args) {
        const bytes = value(args, 'value')
        if (!holdsOnly(cells.get(rootPath), bytes, change.expires)) change.putBytes(rootPath, bytes)
        return undefined
      },
    },
  },
  read(cells) {
    const found = readable(cells.get(rootPath))
    const newest = found.pop()
    return { value: newest?.value, concurrent: found.reverse() }
  },
}
