/**
 * The rows of a directory, read again by a replica that is opened for nothing else: do they add up to the root, the leaves
 * and the counts that stand beside them, and are the cells those that the plain definition makes of the same deltas?
 */
import { equalBytes, toHex } from '../../base/bytes.ts'
import { lanes } from '../../base/hash.ts'
import type { Path, Siblings, TypeId } from '../../crdt/cell.ts'
import { covers } from '../../crdt/dot.ts'
import type { Dot } from '../../crdt/dot.ts'
import { State, encodeSnapshot } from '../../crdt/state.ts'
import { Replica } from '../../replica/replica.ts'
import { entryKeyOf, spaceRange, table, tableRange, tablesToOpen } from '../../replica/row-keys.ts'
import type { Space } from '../../replica/space.ts'
import { digest, leafOf, readSum } from '../../replica/tree.ts'
import type { SimDisk } from '../disk.ts'
import type { Host } from '../host.ts'
import type { Checker, Scene } from './checker.ts'

type Cell = readonly [key: string, type: TypeId, path: Path, siblings: Siblings]

/** A replica over the rows, which writes nothing. */
export function openAuditor(disk: SimDisk): Replica {
  const replica = new Replica({
    node: 'ffffffffffffffff',
    incarnation: 'ffffffffffffffff',
    rows: disk,
    cacheBytes: 1_000,
    retention: { keepMs: Infinity, keepBytes: Infinity },
  })
  for (const each of tablesToOpen) {
    for (const [key, value] of disk.list(tableRange(each))) replica.load(key, value)
  }
  return replica
}

/** Every live cell of a space, in order. */
export function cellsOf(disk: SimDisk, space: Space): Cell[] {
  const cells: Cell[] = []
  for (const [rowKey, row] of disk.list(spaceRange(table.entry, space.number))) {
    const key = entryKeyOf(rowKey)
    const entry = space.entryFromRow(key, row, disk)
    for (const type of entry.types()) {
      for (const [path, siblings] of entry.cells(type).all()) cells.push([key, type, path, siblings])
    }
  }
  return cells
}

/** What is wrong with the rows of a space; nothing when they add up. */
export function sumsOff(disk: SimDisk, space: Space, cells: readonly Cell[]): string[] {
  const found: string[] = []
  const sums = new Map<number, Uint32Array>()
  const root = new Uint32Array(5)
  const keys = new Set<string>()
  for (const [key, type, path, siblings] of cells) {
    keys.add(key)
    const leaf = leafOf(key)
    let sum = sums.get(leaf)
    if (sum === undefined) sums.set(leaf, (sum = new Uint32Array(5)))
    for (const sibling of siblings) {
      if (!covers(space.vector, sibling)) found.push(`${key} holds a dot beyond the vector`)
      digest(key, type, path, sibling)
      for (const into of [sum, root]) {
        for (let i = 0; i < 4; i++) into[i] = (into[i] as number) + (lanes[i] as number)
        into[4] = (into[4] as number) + 1
      }
    }
  }
  if (root.some((lane, i) => lane !== space.tree.root[i])) found.push('the root is not the sum of the cells')
  if (keys.size !== space.entryCount) found.push(`${space.entryCount} entries are counted, ${keys.size} are there`)
  const leaves = disk.list(spaceRange(table.leaf, space.number))
  if (leaves.length !== sums.size) found.push(`${leaves.length} leaf rows for ${sums.size} leaves`)
  for (const [key, row] of leaves) {
    const leaf = ((key.at(-2) as number) << 8) | (key.at(-1) as number)
    const sum = new Uint32Array(5)
    readSum(row, sum)
    if (sum.some((lane, i) => lane !== sums.get(leaf)?.[i])) found.push(`leaf ${leaf} is not the sum of its cells`)
  }
  return found
}

export function audit(scene: Scene): Checker {
  /** The plain definition's answer for a vector, made once for all nodes that stand there. */
  const known = new Map<string, Uint8Array>()
  const look = (host: Host): void => {
    if (host.disk.damaged) return
    const replica = openAuditor(host.disk)
    for (const space of replica.spaces) {
      // Cells that are staged are in no entry yet, and the root is that of no vector.
      if (space.catchingUp) continue
      const told = `node ${host.index}, ${space.name}`
      const cells = cellsOf(host.disk, space)
      for (const what of sumsOff(host.disk, space, cells)) scene.violate('rebuild', `${told}: ${what}`)
      const snapshot = encodeSnapshot(space.vector, cells)
      const name = `${space.id} ${[...space.logs.values()]
        .map(({ origin, seq, chain, fork }) => `${origin}-${seq}-${chain.join()}${fork === undefined ? '' : '!'}`)
        .sort()
        .join()}`
      let wanted = known.get(name)
      if (wanted === undefined) known.set(name, (wanted = defined(scene, space)))
      if (scene.damaged || equalBytes(snapshot, wanted)) continue
      const state = State.decode(wanted)
      scene.violate('oracle', `${told}: ${firstDifference(state, cells)}`)
    }
  }
  /** Once a snapshot is folded in, or was given up, nothing of it is left. */
  const leftOver = ({ index, disk, replica }: Host): void => {
    if (disk.damaged) return
    for (const space of replica?.spaces ?? []) {
      if (space.catchingUp) continue
      const rows = disk.list(spaceRange(table.staged, space.number)).length
      if (rows > 0) scene.violate('rebuild', `node ${index}, ${space.name}: ${rows} rows of a snapshot lead nowhere`)
    }
  }
  return {
    // What a crash left must add up too.
    opened: (host) => look(host),
    quiet: () => {
      for (const host of scene.hosts) {
        look(host)
        leftOver(host)
      }
    },
  }
}

function defined(scene: Scene, space: Space): Uint8Array {
  const state = new State()
  const isMet = (dot: Dot): boolean => covers(state.vector, dot) || space.logs.get(dot.origin)?.fork !== undefined
  for (const { delta } of scene.chronicle(space).covered(space.logs.values())) state.apply(delta, isMet)
  return state.encode()
}

function firstDifference(state: State, cells: readonly Cell[]): string {
  const shown = (siblings: Siblings): string =>
    siblings.map(({ origin, seq, value }) => `${origin.slice(16)}-${seq}=${toHex(value.subarray(0, 16))}`).join(' ')
  const stored = new Map(
    cells.map(([key, type, path, siblings]) => [`${key} ${type} ${toHexOf(path)}`, shown(siblings)]),
  )
  for (const [key, type, path, siblings] of state.cells()) {
    const name = `${key} ${type} ${toHexOf(path)}`
    const wanted = shown(siblings)
    if (stored.get(name) !== wanted) return `${name} should be [${wanted}] and is [${stored.get(name) ?? ''}]`
    stored.delete(name)
  }
  const [more] = stored.keys()
  return more === undefined ? 'the vectors differ' : `${more} is there and should not be`
}

function toHexOf(path: Path): string {
  return toHex(Uint8Array.from(path, (unit) => unit.charCodeAt(0)))
}
