/**
 * A storm of conflicts told as one: the first few of a kind are told each for itself, and what comes beyond them in the same
 * while goes out together, by rule and prefix. Nothing is left out: whoever is told of many is told which.
 */

export interface Waiting {
  readonly id: string
  readonly group: string
}

/** What goes out together: one conflict with all about it, or many of one group. */
export interface Batch<Item extends Waiting> {
  readonly group: string
  readonly items: readonly Item[]
}

/** Of one group: since when its while runs, and how many went out in it. */
export interface Spell {
  readonly fromMs: number
  readonly told: number
}

export interface StormBounds {
  readonly windowMs: number
  readonly singly: number
}

/** A guess: five in a minute are read one by one. */
export const stormBounds: StormBounds = { windowMs: 60_000, singly: 5 }

/** The prefix that keys of a kind share: up to the last mark of separation before the first digit, since ids have digits. */
export function prefixOf(key: string): string {
  return /^\D*[-/:._]/.exec(key)?.[0] ?? ''
}

export function groupOf(rule: string, key: string): string {
  return `${rule} ${prefixOf(key)}`
}

/** What of all that waits goes out now. `spells` is brought up to date; what stays waits for `wakeAt`. */
export function gather<Item extends Waiting>(
  waiting: readonly Item[],
  spells: Map<string, Spell>,
  nowMs: number,
  { windowMs, singly }: StormBounds = stormBounds,
): { readonly batches: readonly Batch<Item>[]; readonly stay: readonly Item[]; readonly wakeAt: number } {
  for (const [group, { fromMs }] of spells) if (fromMs + windowMs <= nowMs) spells.delete(group)
  const batches: Batch<Item>[] = []
  const stay: Item[] = []
  let wakeAt = Infinity
  for (const [group, items] of Map.groupBy(waiting, (item) => item.group)) {
    const spell = spells.get(group) ?? { fromMs: nowMs, told: 0 }
    if (spell.told > singly) {
      // Their number was told once: the rest of it comes when this while is over.
      stay.push(...items)
      wakeAt = Math.min(wakeAt, spell.fromMs + windowMs)
      continue
    }
    if (spell.told + items.length <= singly) for (const item of items) batches.push({ group, items: [item] })
    else batches.push({ group, items })
    const told = spell.told + items.length
    spells.set(group, { ...spell, told })
  }
  return { batches, stay, wakeAt }
}
