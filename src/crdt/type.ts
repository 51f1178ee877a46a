/**
 * What a CRDT type is: a view over cells. A new type is one file in types/ and one line in types/table.ts; the laws,
 * the operations of the API and the tables of the docs come from there.
 *
 * A type is pure. It reads through `Cells` and answers an operation by telling `Change` which cells to write; it never
 * sees a store, a clock or another entry. The replica turns what it was told into one delta.
 */
import type { Value } from '../base/value.ts'
import type { Path, Sibling, Siblings, TypeId } from './cell.ts'
import { timeToMs } from './clock.ts'
import type { Dot, OriginId } from './dot.ts'

/** The live cells of one entry under one type. */
export interface Cells {
  readonly key: string
  get(path: Path): Siblings
  /** Every live cell in the order of its path, from a path on where one is given. */
  all(from?: Path): Iterable<readonly [path: Path, siblings: Siblings]>
  /** Another number whenever a cell of the entry has changed; undefined where that cannot be told. */
  readonly version: number | undefined
  /** The paths of cells that changed after that version, some perhaps twice; undefined where nobody knows any more. */
  changedSince?(version: number): readonly Path[] | undefined
  readonly empty: boolean
  /**
   * A place for what is costly to rebuild (a Y.Doc, a sorted list). It survives as long as the entry stays cached, and is
   * dropped when a transaction that touched the entry is rolled back. Whoever uses it must check that it still fits the
   * cells: they may have changed since.
   */
  readonly memo: { value: unknown }
}

/** Who writes, and how a type says what it wants written. Everything told here becomes one delta. */
export interface Change {
  /** The dot and time that the delta will carry, if anything is written at all. */
  readonly origin: OriginId
  readonly seq: number
  readonly time: number
  readonly nowMs: number
  readonly agent: string
  /** When what is put expires, in wall milliseconds; 0 for never. */
  readonly expires: number
  /** A number that no other call in this delta has had: paths made of (time, index) are unique for it. */
  nextIndex(): number
  /**
   * True for an origin that will never write again as far as this node can know: an earlier incarnation of its own
   * whose whole sequence every roster member has on disk. Only such an origin's counter can be folded and its budget
   * taken over.
   */
  retired(origin: OriginId): boolean
  /** Writes a value, superseding the named siblings: all that are live in the cell unless told otherwise. */
  put(path: Path, value: Value, supersedes?: Siblings): void
  /** The same for a value that is encoded already, in canonical form. */
  putBytes(path: Path, value: Uint8Array, supersedes?: Siblings): void
  /** Supersedes siblings of a cell and writes nothing in their place. */
  remove(path: Path, supersedes?: Siblings): void
  /**
   * Supersedes every live sibling of this type in the entry, in one short form whatever their number, except `keep`.
   * Puts to the same entry in this delta stand, whether they came before or after.
   */
  clear(keep?: readonly Dot[]): void
}

/** One value as it was written. */
export interface Written<T> {
  readonly value: T
  readonly agent: string
  /** Wall-clock milliseconds of the hybrid time. */
  readonly at: number
  readonly dot: Dot
}

export interface Reading<T> {
  readonly value: T
  /**
   * Values of concurrent writes that the plain value does not show: last-writer-wins losers, most recent first. Empty
   * for types that lose nothing in merging.
   */
  readonly concurrent: readonly Written<unknown>[]
}

/** An operation as the outside names it: the same in HTTP, on the command line and in TypeScript. */
export interface Operation {
  /** Names of the arguments in the order in which TypeScript takes them. */
  readonly parameters: readonly string[]
  /** The last parameter is an array that TypeScript takes spread out: `add('x', 'y')`. */
  readonly spread?: boolean
  /**
   * Checks the arguments (they come from outside) and tells `change` what to write; telling it nothing is a no-op and
   * costs nothing. Throws a SkeinError, and then nothing at all is written.
   */
  run(cells: Cells, change: Change, args: Readonly<Record<string, unknown>>): Value | undefined
}

export interface CrdtType<T = unknown> {
  readonly id: TypeId
  readonly name: string
  /** One line for the docs: how concurrent writes merge. */
  readonly merge: string
  readonly operations: Readonly<Record<string, Operation>>
  /** May what is written be given a time to live? Not where a cell that goes would take an account or a fence along. */
  readonly expiring?: true
  /**
   * Its deltas leave the node only once its disk has them: whoever acts on them must be able to count on it, because an
   * account or a fence that a crash took back may have been spent.
   */
  readonly leavesFromDisk?: true
  /** One sibling may hold writes that were concurrent: what merged them is inside. */
  readonly mergesWithin?: true
  /** A cell holds the account of one origin: a copy of it by another does not mean the same. */
  readonly countsByOrigin?: true
  /**
   * Which of some siblings of a cell is written anew where one must stand for all; where a type does not say, the newest.
   * Where time does not decide what a cell shows, the newest would take a fence or a prohibition back.
   */
  foremost?(siblings: Siblings): Sibling | undefined
  /** The value that the cells show. Total: cells that hold nonsense are skipped, never thrown over. */
  read(cells: Cells): Reading<T>
  /** What deleting the entry means where it is not just clearing its cells: a claim is released, a budget refuses. */
  delete?(cells: Cells, change: Change): void
}

/** Provenance of the newest of some siblings, decoded. */
export function written<T>(sibling: Sibling, value: T): Written<T> {
  return {
    value,
    agent: sibling.agent,
    at: timeToMs(sibling.time),
    dot: { origin: sibling.origin, seq: sibling.seq },
  }
}
