/**
 * What types remember of one entry (see Cells.memo), and which cells changed since: for types that follow their cells
 * rather than read them all again. Few entries have any.
 */
import { appended, none } from '../crdt/change.ts'
import type { TypeId } from '../crdt/cell.ts'

interface Memo {
  readonly type: TypeId
  value: unknown
}

interface Change {
  readonly version: number
  readonly name: string
}

/** So many of the last changes are known. A guess: what one turn of the event loop writes to one entry. */
const knownChanges = 128

export class Memos {
  readonly #memos: Memo[] = []
  #changes: Change[] = none
  /** All changes after this version are known. */
  #from: number

  constructor(version: number) {
    this.#from = version
  }

  of(type: TypeId): { value: unknown } {
    let memo = this.#memos.find((other) => other.type === type)
    if (memo === undefined) this.#memos.push((memo = { type, value: undefined }))
    return memo
  }

  changed(version: number, name: string): void {
    this.#changes = appended(this.#changes, { version, name })
    if (this.#changes.length <= knownChanges) return
    this.#changes = none
    this.#from = version
  }

  /** The names of cells that changed after a version; undefined where that is too long ago. */
  since(version: number): readonly string[] | undefined {
    if (version < this.#from) return undefined
    return this.#changes.filter((change) => change.version > version).map(({ name }) => name)
  }
}
