/**
 * A disk as the store keeps it: batches are atomic and in order, an unsynced tail goes with the power, a full disk
 * refuses, and damage is a row that cannot be read or is not there. Rows are what the process reads; `base` is what a
 * power cut leaves.
 */
import { binaryString, fromBinaryString } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import type { Prng } from '../base/prng.ts'
import type { Row, RowRange, RowReader, RowSink } from '../base/rows.ts'
import type { OriginId } from '../crdt/dot.ts'

/** `os`: a batch counts when the system has it, and a power cut may take it back. */
export type Durability = 'os' | 'disk'

/** Per space what the rows have seen. */
export type Reach = ReadonlyMap<string, ReadonlyMap<OriginId, number>>

type Rows = Map<string, Uint8Array>

interface Image {
  rows: Rows
  reach: Reach
  /** Something in it is not what was written. */
  damaged: boolean
}

/** The rows of one commit. */
export class SimBatch implements RowSink {
  readonly operations: (readonly [key: string, value: Uint8Array | undefined])[] = []
  reach: Reach = new Map()
  number = 0
  /** The disk was full when it was to be written. */
  refused = false

  put(key: Uint8Array, value: Uint8Array): void {
    this.operations.push([binaryString(key), value.slice()])
  }

  del(key: Uint8Array): void {
    this.operations.push([binaryString(key), undefined])
  }
}

export class SimDisk implements RowReader {
  /** Writes are refused until then. */
  fullUntil = 0
  /** Each write takes this much longer until then. */
  slowUntil = 0
  slowMs = 0
  /** Which directory this is: what was on its way to another one does not arrive. */
  directory = 1
  #now: Image = { rows: new Map(), reach: new Map(), damaged: false }
  #base: Image = { rows: new Map(), reach: new Map(), damaged: false }
  #unsynced: SimBatch[] = []
  #backup: Image | undefined
  readonly #unreadable = new Set<string>()

  get(key: Uint8Array): Uint8Array | undefined {
    const name = binaryString(key)
    if (this.#unreadable.size > 0 && this.#unreadable.has(name)) {
      throw new SkeinError('store_damaged', 'A row does not have the checksum that was written with it.')
    }
    return this.#now.rows.get(name)
  }

  /** What the rows that survive a kill of the process have seen. */
  get reach(): Reach {
    return this.#now.reach
  }

  /** What the rows that survive a power cut have seen. */
  get surelyReach(): Reach {
    return this.#base.reach
  }

  /** Something on it is not what was written. */
  get damaged(): boolean {
    return this.#now.damaged
  }

  get size(): number {
    return this.#now.rows.size
  }

  get unsynced(): number {
    return this.#unsynced.length
  }

  apply(batch: SimBatch): void {
    fold(this.#now, batch)
    for (const [key] of batch.operations) this.#unreadable.delete(key)
    this.#unsynced.push(batch)
  }

  sync(): void {
    for (const batch of this.#unsynced) fold(this.#base, batch)
    this.#unsynced = []
  }

  /** The power goes: of what was not synced a prefix is left. Returns how many batches went. */
  powerCut(chance: Prng): number {
    const kept = chance.below(this.#unsynced.length + 1)
    const lost = this.#unsynced.length - kept
    for (const batch of this.#unsynced.slice(0, kept)) fold(this.#base, batch)
    this.#unsynced = []
    this.#now = copy(this.#base)
    return lost
  }

  /** In key order. */
  list({ gte, lt }: RowRange): Row[] {
    const from = binaryString(gte)
    const to = binaryString(lt)
    const names: string[] = []
    for (const name of this.#now.rows.keys()) if (name >= from && name < to) names.push(name)
    names.sort()
    return names.map((name) => {
      if (this.#unreadable.has(name)) throw new SkeinError('store_damaged', 'A row cannot be read.')
      return [fromBinaryString(name), this.#now.rows.get(name) as Uint8Array] as const
    })
  }

  /** A view of all rows as they are now. */
  snapshot(): SimDisk {
    const view = new SimDisk()
    view.#now = copy(this.#now)
    for (const name of this.#unreadable) view.#unreadable.add(name)
    return view
  }

  backUp(): void {
    this.#backup = copy(this.#now)
  }

  /** False when there is no backup. */
  restore(): boolean {
    if (this.#backup === undefined) return false
    this.#become(this.#backup)
    return true
  }

  wipe(): void {
    this.#become({ rows: new Map(), reach: new Map(), damaged: false })
  }

  copyOf(other: SimDisk): void {
    this.#become(other.#now)
  }

  /** Loses a row, or makes it unreadable. Rows of `tables` only; returns whether there was one. */
  damage(how: 'vanish' | 'unreadable', tables: readonly number[], chance: Prng): boolean {
    const names = [...this.#now.rows.keys()].filter((name) => tables.includes(name.charCodeAt(0))).sort()
    if (names.length === 0) return false
    const name = chance.pick(names)
    this.#now.damaged = true
    this.#base.damaged = true
    if (how === 'unreadable') this.#unreadable.add(name)
    else {
      this.#now.rows.delete(name)
      this.#base.rows.delete(name)
    }
    return true
  }

  #become(image: Image): void {
    this.directory++
    this.#now = copy(image)
    this.#base = copy(image)
    this.#unsynced = []
    this.#unreadable.clear()
    this.fullUntil = 0
  }
}

function fold(into: Image, { operations, reach }: SimBatch): void {
  for (const [key, value] of operations) {
    if (value === undefined) into.rows.delete(key)
    else into.rows.set(key, value)
  }
  into.reach = reach
}

function copy({ rows, reach, damaged }: Image): Image {
  return { rows: new Map(rows), reach, damaged }
}
