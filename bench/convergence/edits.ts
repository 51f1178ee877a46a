/**
 * An editing session made from a seed: words typed a character at a time, slips taken back, the cursor moved now and then. No
 * recording of anybody: those are large, and what counts here is the shape, runs at a cursor with few jumps.
 */
import type { Prng } from '../../src/base/prng.ts'

export interface Edit {
  readonly at: number
  /** Removed first. */
  readonly removed: number
  readonly inserted: string
}

const letters = 'etaoinshrdlucmfwygpb '

export function edits(count: number, chance: Prng): Edit[] {
  const made: Edit[] = []
  let length = 0
  let cursor = 0
  while (made.length < count) {
    if (chance.chance(0.02)) cursor = chance.below(length + 1)
    const isSlip = cursor > 0 && chance.chance(0.08)
    if (isSlip) {
      cursor--
      length--
      made.push({ at: cursor, removed: 1, inserted: '' })
      continue
    }
    made.push({ at: cursor, removed: 0, inserted: letters.charAt(chance.below(letters.length)) })
    cursor++
    length++
  }
  return made
}

export function edited(all: readonly Edit[]): string {
  let text = ''
  for (const { at, removed, inserted } of all) text = text.slice(0, at) + inserted + text.slice(at + removed)
  return text
}
