/**
 * Assertions stay on in production: a programmer error stops at once, with words, rather than spread.
 * Bytes from outside are never judged by an assertion; they get a code (errors.ts) and are counted.
 */
export class AssertionError extends Error {
  override readonly name: string = 'AssertionError'
}

export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new AssertionError(`broken invariant: ${what}. This is a bug in Skein.`)
}
