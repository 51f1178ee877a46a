/** Faults in the machine that joins the rooms, and in its links. */
import type { Fault } from '../fault.ts'

export const nodeFaults: readonly Fault[] = [
  {
    name: 'sim node: claims and budgets leave before the disk has them',
    file: 'src/node/machine.ts',
    find: 'if (space.keptFrom.size > 0 || leavesFromDisk(delta.writes)) {',
    replace: 'if (space.keptFrom.size > 0 && leavesFromDisk(delta.writes)) {',
    sim: { seeds: 300 },
  },
  {
    name: 'sim node: what waits for the disk is pushed late and caught up early',
    file: 'src/replica/catch-up.ts',
    find: '    if (known + 1 >= (space.keptFrom.get(log.origin) ?? Infinity)) continue\n',
    replace: '',
    sim: { seeds: 300 },
  },
  {
    name: 'sim node: what waits for the disk can be pulled',
    file: 'src/replica/space.ts',
    find: '    if (seq >= (this.keptFrom.get(origin) ?? Infinity)) return undefined\n',
    replace: '',
    sim: { seeds: 300 },
  },
  {
    name: 'sim node: deltas that were kept never leave',
    file: 'src/node/machine.ts',
    find: '      space.keptFrom.clear()\n      if (isGone) continue\n',
    replace: '      if (isGone) continue\n',
    sim: { seeds: 300 },
  },
  {
    name: 'sim node: anti-entropy keeps a peer whose link is gone',
    file: 'src/node/machine.ts',
    find: '    this.#sync.linkDown(node, nowMs)\n',
    replace: '',
    sim: { seeds: 1500 },
  },
  {
    name: 'sim node: a later generation is not followed',
    file: 'src/node/machine.ts',
    find: 'this.replica.openGeneration(name, generation)',
    replace: 'if (this.replica.find(name) === undefined) this.replica.openGeneration(name, generation)',
    sim: { seeds: 300 },
  },
  {
    name: 'http: an answer that was kept anew goes with the place of the old one',
    file: 'src/node/http/idempotency.ts',
    find: '      if (this.#kept.get(name) !== kept) continue\n',
    replace: '',
    tests: ['src/node/http/idempotency'],
  },
]
