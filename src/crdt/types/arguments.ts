/**
 * The checks at the border of every operation. Arguments come from programs, HTTP and the command line as they are;
 * what leaves here is of the kind that its name says, and whatever is not throws `invalid_argument` naming the
 * argument. What is inside a value is judged where it is encoded (base/msgpack.ts), not here.
 */
import { SkeinError } from '../../base/errors.ts'
import { encodeValue } from '../../base/msgpack.ts'

export type Arguments = Readonly<Record<string, unknown>>

/** For a type's own checks, so that they sound alike: invalid(`at`, `a whole number from 0`, -1). */
export function invalid(name: string, expected: string, given: unknown): SkeinError {
  const what = given === undefined ? 'it is missing' : `not ${described(given)}`
  return new SkeinError('invalid_argument', `${name} must be ${expected}, ${what}`, { argument: name })
}

function described(given: unknown): string {
  if (given === null) return 'null'
  if (typeof given === 'string') return given.length > 40 ? 'a string' : JSON.stringify(given)
  if (typeof given === 'number' || typeof given === 'boolean' || typeof given === 'bigint') return String(given)
  if (Array.isArray(given)) return 'an array'
  return typeof given === 'object' ? 'an object' : `a ${typeof given}`
}

/** An own property: an argument is never inherited. */
function argument(args: Arguments, name: string): unknown {
  return Object.hasOwn(args, name) ? args[name] : undefined
}

/** True when the argument was given; null counts as given. */
export function has(args: Arguments, name: string): boolean {
  return argument(args, name) !== undefined
}

export interface Range {
  readonly min?: number
  readonly max?: number
}

export function integer(args: Arguments, name: string, range: Range = {}): number {
  const given = argument(args, name)
  const { min = -Number.MAX_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = range
  if (typeof given !== 'number' || !Number.isSafeInteger(given) || given < min || given > max) {
    throw invalid(name, `a whole number${bounds(range)}`, given)
  }
  // There is no -0.
  return given === 0 ? 0 : given
}

function bounds({ min, max }: Range): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`
  if (min !== undefined) return ` from ${min}`
  return max === undefined ? '' : ` up to ${max}`
}

/** Well-formed text, empty or not. */
export function text(args: Arguments, name: string): string {
  const given = argument(args, name)
  if (typeof given !== 'string' || !given.isWellFormed()) throw invalid(name, 'a well-formed string', given)
  return given
}

/** Text that names something: not empty. */
export function key(args: Arguments, name: string): string {
  const given = argument(args, name)
  if (typeof given !== 'string' || given === '' || !given.isWellFormed()) {
    throw invalid(name, 'a well-formed string that is not empty', given)
  }
  return given
}

export function choice<T extends string>(args: Arguments, name: string, choices: readonly T[], otherwise: T): T {
  const given = argument(args, name)
  if (given === undefined) return otherwise
  for (const one of choices) if (given === one) return one
  throw invalid(name, `one of ${choices.join(', ')}`, given)
}

export function list(args: Arguments, name: string): readonly unknown[] {
  const given = argument(args, name)
  if (!Array.isArray(given)) throw invalid(name, 'an array', given)
  return given
}

/** A plain object of named things. */
export function fields(args: Arguments, name: string): Readonly<Record<string, unknown>> {
  const given = argument(args, name)
  if (!isFields(given)) throw invalid(name, 'an object', given)
  return given
}

/** As base/msgpack.ts has it: no array, no bytes, no class instance; objects of another realm will do. */
export function isFields(given: unknown): given is Readonly<Record<string, unknown>> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return false
  const prototype: unknown = Object.getPrototypeOf(given)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

export function bytes(args: Arguments, name: string): Uint8Array {
  const given = argument(args, name)
  if (!(given instanceof Uint8Array)) throw invalid(name, 'bytes', given)
  return given
}

/** The canonical bytes of a value of any kind; null is one, undefined is none. */
export function value(args: Arguments, name: string): Uint8Array {
  const given = argument(args, name)
  if (given === undefined) throw invalid(name, 'a value', given)
  return encodeValue(given)
}

/** The canonical bytes of each value of an array. */
export function values(args: Arguments, name: string): readonly Uint8Array[] {
  return list(args, name).map((item, at) => {
    if (item === undefined) throw invalid(`${name}[${at}]`, 'a value', item)
    return encodeValue(item)
  })
}
