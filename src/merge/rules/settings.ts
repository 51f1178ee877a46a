/** Checks of settings that several rules share. They come from outside. */
import { SkeinError } from '../../base/errors.ts'
import type { Value } from '../../base/value.ts'
import type { Settings } from '../rule.ts'

export function wrong(name: string, expected: string): SkeinError {
  return new SkeinError('invalid_argument', `rules: ${name} must be ${expected}`, { argument: name })
}

export function textIn(settings: Settings, name: string, required: boolean): string | undefined {
  const given = settings[name]
  if (given === undefined && !required) return undefined
  if (typeof given !== 'string' || given === '') throw wrong(name, 'a string that is not empty')
  return given
}

export function textsIn(given: Value | undefined, name: string, least: number): readonly string[] {
  const isList = Array.isArray(given) && given.length >= least && given.every((one) => typeof one === 'string')
  if (!isList) throw wrong(name, `an array of ${least} strings or more`)
  return given as readonly string[]
}

export function numberIn(settings: Settings, name: string): number | undefined {
  const given = settings[name]
  if (given !== undefined && typeof given !== 'number') throw wrong(name, 'a number')
  return given
}
