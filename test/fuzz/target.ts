/** What is fuzzed: one entry in targets.ts is all that a new one needs. */
export interface Target {
  readonly name: string
  /** What one input may take at least, where that is more than a decoder needs. */
  readonly baseMs?: number
  readonly baseBytes?: number
  /** How many inputs the tests try, where one takes long. */
  readonly inputsTested?: number
  /** Valid inputs that mutations start from: of every form that there is. */
  corpus(): readonly Uint8Array[]
  /**
   * Reads the bytes, and throws when a promise is broken: an error that is none of those allowed, or something taken that
   * does not come back as it was. Otherwise it says in a word or a sentence what came of it; `taken` counts as a success,
   * and each new answer counts as new ground.
   */
  run(bytes: Uint8Array): string
}

export const taken = 'taken'

/** A broken promise, in words. */
export class Broken extends Error {}

export function hold(condition: boolean, promise: string): asserts condition {
  if (!condition) throw new Broken(promise)
}
