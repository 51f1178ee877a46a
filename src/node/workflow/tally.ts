/** How many conflicts are open here, of which rules and for how long: kept up to date, so that asking for it costs nothing. */
import type { Severity } from '../../merge/rule.ts'
import type { ConflictEvent } from '../../replica/conflicts.ts'

interface Open {
  readonly rule: string
  readonly severity: Severity
  readonly sinceMs: number
}

export class Tally {
  readonly #spaces = new Map<string, Map<string, Open>>()

  event({ space, id, rule, severity, change }: ConflictEvent, nowMs: number): void {
    if (change === 'settled') this.settled(space, id)
    else if (change === 'opened' || change === 'reopened') this.open(space, id, { rule, severity, sinceMs: nowMs })
  }

  /** As it was found on the disk, or just came: what is known already stays. */
  open(space: string, id: string, { rule, severity, sinceMs }: Open): void {
    const open = this.#spaces.get(space) ?? new Map<string, Open>()
    if (!open.has(id)) this.#spaces.set(space, open.set(id, { rule, severity, sinceMs }))
  }

  settled(space: string, id: string): void {
    this.#spaces.get(space)?.delete(id)
  }

  ended(space: string): void {
    this.#spaces.delete(space)
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
    for (const open of this.#spaces.values()) yield* open.values()
  }
}
