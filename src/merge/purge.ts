/**
 * What a space says of its own purges: which entries, up to which dots, and which nodes have done it. An entry of the system
 * for each key that was purged; its cells are ordinary ones, so everybody comes to know, also who was away.
 */
import { fromBinaryString } from '../base/bytes.ts'
import type { Value } from '../base/value.ts'
import { pathOf, rootPath } from '../crdt/cell.ts'
import type { Dot, OriginId, Vector } from '../crdt/dot.ts'
import type { Cells, CrdtType } from '../crdt/type.ts'
import { valueIn } from './deed.ts'
import { systemTypes } from './system.ts'

/** Nothing that a covered delta wrote to these entries is to be kept. */
export interface Purge {
  /** The delta that says so. */
  readonly dot: Dot
  readonly keys: readonly string[]
  readonly upTo: Vector
}

export interface PurgeReading {
  /** More than one where two were begun apart. */
  readonly purges: readonly Purge[]
  /** By node, the purges that it has done. */
  readonly done: ReadonlyMap<string, readonly Dot[]>
}

export function purgeValue(keys: readonly string[], upTo: Iterable<readonly [OriginId, number]>): Value {
  return [[...keys], [...upTo].flat()]
}

export const purgeType: CrdtType<PurgeReading> = {
  id: systemTypes.purge,
  name: 'purge',
  merge: 'all that were begun, and each node that has done them',
  operations: {
    begin: {
      parameters: ['value'],
      run(_, change, args) {
        change.put(rootPath, args['value'] as Value)
        return undefined
      },
    },
    done: {
      parameters: ['node', 'dots', 'at'],
      run(_, change, args) {
        const dots = (args['dots'] as readonly Dot[]).flatMap(({ origin, seq }) => [origin, seq])
        // A node that has to do it again, from an older directory, says so again.
        change.put(pathOf([args['node']]), [args['at'] as number, ...dots])
        return undefined
      },
    },
  },
  read: (cells) => ({ value: readPurges(cells), concurrent: [] }),
}

/** Total: what another version wrote otherwise is passed over. */
export function readPurges(cells: Cells): PurgeReading {
  const purges: Purge[] = []
  const done = new Map<string, Dot[]>()
  for (const [path, siblings] of cells.all()) {
    for (const { origin, seq, value } of siblings) {
      if (path === rootPath) {
        const read = purgeIn(valueIn(value))
        if (read !== undefined) purges.push({ dot: { origin, seq }, ...read })
        continue
      }
      const [node] = listIn(valueIn(fromBinaryString(path)))
      const [, ...flat] = listIn(valueIn(value))
      if (typeof node === 'string') done.set(node, [...(done.get(node) ?? []), ...dotsIn(flat)])
    }
  }
  return { purges, done }
}

function listIn(value: Value | undefined): readonly Value[] {
  return Array.isArray(value) ? (value as readonly Value[]) : []
}

function purgeIn(value: Value | undefined): { readonly keys: readonly string[]; readonly upTo: Vector } | undefined {
  const [keys, flat] = listIn(value)
  if (!Array.isArray(keys) || !Array.isArray(flat) || !keys.every((key) => typeof key === 'string')) return undefined
  return {
    keys: keys as readonly string[],
    upTo: new Map(dotsIn(flat as readonly Value[]).map((dot) => [dot.origin, dot.seq])),
  }
}

function dotsIn(flat: readonly Value[]): Dot[] {
  const dots: Dot[] = []
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const [origin, seq] = [flat[at], flat[at + 1]]
    if (typeof origin === 'string' && typeof seq === 'number') dots.push({ origin: origin as OriginId, seq })
  }
  return dots
}
