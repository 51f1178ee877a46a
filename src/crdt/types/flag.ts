/**
 * The flag: one cell that says yes or no. Enabling wins over a concurrent disabling; a disabling with `wins: 'disable'`
 * wins over concurrent enablings. See existence.ts for how. A flag never written is false.
 */
import { rootPath } from '../cell.ts'
import type { CrdtType } from '../type.ts'
import { choice } from './arguments.ts'
import { bring, decisive, drop, exists, forbid } from './existence.ts'

export const flag: CrdtType<boolean> = {
  id: 5,
  name: 'flag',
  merge: 'enabling wins over a concurrent disabling unless the disabling asks to win',
  expiring: true,
  operations: {
    enable: {
      parameters: [],
      run(cells, change) {
        bring(cells, change, rootPath)
        return undefined
      },
    },
    disable: {
      parameters: [],
      run(cells, change, args) {
        const take = choice(args, 'wins', ['enable', 'disable'], 'enable') === 'enable' ? drop : forbid
        take(cells, change, rootPath)
        return undefined
      },
    },
  },
  foremost: decisive,
  read(cells) {
    return { value: exists(cells.get(rootPath)), concurrent: [] }
  },
}
