/**
 * Entries that are frozen: a conflict is open on them whose safe outcome is `hold`. Who writes here is refused until it is
 * settled; what others write comes in as ever. It is derived from cases, and only a shortcut to them: whoever is refused is
 * refused by the case itself.
 */
import type { Case } from './case.ts'

export class Holds {
  /** By the key of the entry: the cases that hold it. Nearly always one. */
  readonly #byKey = new Map<string, readonly string[]>()
  readonly #byCase = new Map<string, readonly string[]>()

  get size(): number {
    return this.#byCase.size
  }

  has(id: string): boolean {
    return this.#byCase.has(id)
  }

  /** The cases that hold an entry. */
  on(key: string): readonly string[] {
    return this.#byKey.get(key) ?? none
  }

  /** What a case holds from now on. Is that anything new? */
  set(id: string, keys: readonly string[]): boolean {
    const before = this.#byCase.get(id) ?? none
    if (before.length === keys.length && keys.every((key, at) => key === before[at])) return false
    for (const key of before) {
      const left = this.on(key).filter((other) => other !== id)
      if (left.length === 0) this.#byKey.delete(key)
      else this.#byKey.set(key, left)
    }
    for (const key of keys) this.#byKey.set(key, [...this.on(key), id])
    if (keys.length === 0) this.#byCase.delete(id)
    else this.#byCase.set(id, keys)
    return true
  }
}

const none: readonly never[] = []

/** The entries that a case holds: all that have a part in it, while it is open. */
export function heldBy(known: Case | undefined): readonly string[] {
  if (known?.safe !== 'hold' || known.state === 'settled') return none
  const keys = new Set(known.branches.flatMap(({ parts }) => parts.map(({ key }) => key)))
  if (known.target !== undefined) keys.add(known.target.key)
  return [...keys].sort()
}
