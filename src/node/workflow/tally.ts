/**
 * Which conflicts are open here, of which rules, on which entries and for how long: kept up to date, so that asking for it costs
 * nothing.
 */
import type { Severity } from '../../merge/rule.ts'
import type { ConflictEvent } from '../../replica/conflicts.ts'

interface Open {
  readonly rule: string
  readonly severity: Severity
  readonly sinceMs: number
  readonly keys: readonly string[]
}

interface Opened {
  readonly byId: Map<string, Open>
  /** Ids by the key of an entry: nearly always one. */
  readonly byKey: Map<string, readonly string[]>
}

export class Tally {
  readonly #spaces = new Map<string, Opened>()

  event({ space, id, rule, severity, keys, change }: ConflictEvent, nowMs: number): void {
    if (change === 'settled') this.settled(space, id)
    else if (change === 'opened' || change === 'reopened' || change === 'grown') {
      this.open(space, id, { rule, severity, sinceMs: nowMs, keys })
    }
  }

  /** As it was found on the disk, or just came: since when stays what is known already. */
  open(space: string, id: string, opened: Open): void {
    let open = this.#spaces.get(space)
    if (open === undefined) this.#spaces.set(space, (open = { byId: new Map(), byKey: new Map() }))
    const { byId, byKey } = open
    const before = byId.get(id)
    byId.set(id, before === undefined ? opened : { ...opened, sinceMs: before.sinceMs })
    for (const key of opened.keys) {
      if (before?.keys.includes(key) !== true) byKey.set(key, [...(byKey.get(key) ?? none), id])
    }
  }

  settled(space: string, id: string): void {
    const open = this.#spaces.get(space)
    const known = open?.byId.get(id)
    if (open === undefined || known === undefined) return
    open.byId.delete(id)
    for (const key of known.keys) {
      const left = (open.byKey.get(key) ?? none).filter((other) => other !== id)
      if (left.length === 0) open.byKey.delete(key)
      else open.byKey.set(key, left)
    }
  }

  ended(space: string): void {
    this.#spaces.delete(space)
  }

  /** Ids of those that an entry has a part in. */
  on(space: string, key: string): readonly string[] {
    return this.#spaces.get(space)?.byKey.get(key) ?? none
  }

  byRule(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (const { rule } of this.#all()) counts.set(rule, (counts.get(rule) ?? 0) + 1)
    return counts
  }

  /** Since when the oldest of each severity is open. */
  oldest(): ReadonlyMap<Severity, number> {
    const oldest = new Map<Severity, number>()
    for (const { severity, sinceMs } of this.#all()) {
      oldest.set(severity, Math.min(oldest.get(severity) ?? Infinity, sinceMs))
    }
    return oldest
  }

  *#all(): Generator<Open> {
    for (const { byId } of this.#spaces.values()) yield* byId.values()
  }
}

const none: readonly never[] = []
