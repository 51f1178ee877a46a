/**
 * What a record must look like, in words of JSON Schema: data, so that it is replicated with the rules and means the same on
 * every node. It is judged of what is known of a record: some fields have a value, some are certainly gone, of the others
 * nothing is known. So the answer may be that it is right, that it is broken whatever the others hold, or neither
 * (Kleene, On Notation for Ordinal Numbers, 1938).
 */
import { equalBytes } from '../base/bytes.ts'
import { encodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import { isObject } from './deed.ts'
import { matches, patternOf } from './pattern.ts'
import { textsIn, wrong } from './rules/settings.ts'

/** Undefined where the record is not told enough of. */
export type Verdict3 = boolean | undefined

/** What is known of a field: a value, that there is none, or nothing. */
export type Known = { readonly value: Value } | 'gone' | undefined

export type Fields = (name: string) => Known

type Shape = { readonly [word: string]: Value }

const wordsOfRecord = [
  'required',
  'properties',
  'dependentRequired',
  'if',
  'then',
  'else',
  'not',
  'allOf',
  'anyOf',
  'oneOf',
]
const wordsOfField = ['type', 'const', 'enum', 'pattern', 'minLength', 'maxLength', 'minimum', 'maximum']
const types: readonly string[] = ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object']
const deepest = 8
/** Longer texts are not held against a pattern. A guess: names and ids are shorter. */
const patternUnits = 4096

/** Checks a shape: it comes from outside. Throws `invalid_argument`. Answers the fields that it names. */
export function checkShape(given: Value | undefined, depth: number = 0): readonly string[] {
  if (!isObject(given) || depth > deepest) throw wrong('schema', `an object, at most ${deepest} deep`)
  const names: string[] = []
  for (const [word, value] of Object.entries(given)) {
    switch (word) {
      case 'required':
        names.push(...textsIn(value, 'schema.required', 1))
        break
      case 'properties':
        if (!isObject(value)) throw wrong('schema.properties', 'an object of fields')
        for (const [name, field] of Object.entries(value)) {
          checkField(name, field)
          names.push(name)
        }
        break
      case 'dependentRequired':
        if (!isObject(value)) throw wrong('schema.dependentRequired', 'an object of lists of fields')
        for (const [name, others] of Object.entries(value)) names.push(name, ...textsIn(others, word, 1))
        break
      case 'if':
      case 'then':
      case 'else':
      case 'not':
        names.push(...checkShape(value, depth + 1))
        break
      case 'allOf':
      case 'anyOf':
      case 'oneOf':
        if (!Array.isArray(value) || value.length === 0) throw wrong(`schema.${word}`, 'an array of shapes')
        for (const one of value as readonly Value[]) names.push(...checkShape(one, depth + 1))
        break
      default:
        throw wrong(`schema.${word}`, `one of ${wordsOfRecord.join(', ')}`)
    }
  }
  return [...new Set(names)]
}

function checkField(name: string, field: Value): void {
  const at = `schema.properties.${name}`
  if (!isObject(field)) throw wrong(at, 'an object')
  for (const [word, value] of Object.entries(field)) {
    const isRight =
      word === 'const' ||
      (word === 'enum' && Array.isArray(value) && value.length > 0) ||
      (word === 'type' && types.includes(value as string)) ||
      (word === 'pattern' && typeof value === 'string' && patternOf(value) !== undefined) ||
      (['minLength', 'maxLength', 'minimum', 'maximum'].includes(word) && typeof value === 'number')
    if (isRight) continue
    if (!wordsOfField.includes(word)) throw wrong(`${at}.${word}`, `one of ${wordsOfField.join(', ')}`)
    throw wrong(`${at}.${word}`, word === 'pattern' ? 'a regular expression without groups' : `what ${word} takes`)
  }
}

export function fitsShape(shape: Value, fields: Fields): Verdict3 {
  return all(
    Object.entries(shape as Shape).map(
      ([word, value]) =>
        () =>
          fitsWord(shape as Shape, word, value, fields),
    ),
  )
}

function fitsWord(shape: Shape, word: string, value: Value, fields: Fields): Verdict3 {
  const shapes = (): (() => Verdict3)[] => (value as readonly Value[]).map((one) => () => fitsShape(one, fields))
  switch (word) {
    case 'required':
      return all((value as readonly string[]).map((name) => () => isThere(fields(name))))
    case 'properties':
      return all(
        Object.entries(value as Shape).map(([name, field]) => () => {
          const known = fields(name)
          if (known === undefined) return undefined
          return known === 'gone' || fitsField(field as Shape, known.value)
        }),
      )
    case 'dependentRequired':
      return all(
        Object.entries(value as Shape).map(
          ([name, others]) =>
            () =>
              any([
                () => not(isThere(fields(name))),
                () => all((others as readonly string[]).map((other) => () => isThere(fields(other)))),
              ]),
        ),
      )
    case 'if':
      return all([
        () => any([() => not(fitsShape(value, fields)), () => fitsShape(shape['then'] ?? {}, fields)]),
        () => any([() => fitsShape(value, fields), () => fitsShape(shape['else'] ?? {}, fields)]),
      ])
    case 'not':
      return not(fitsShape(value, fields))
    case 'allOf':
      return all(shapes())
    case 'anyOf':
      return any(shapes())
    case 'oneOf': {
      const verdicts = shapes().map((one) => one())
      if (verdicts.filter((one) => one === true).length > 1) return false
      if (verdicts.includes(undefined)) return undefined
      return verdicts.includes(true)
    }
    default:
      // `then` and `else` belong to their `if`.
      return true
  }
}

function isThere(known: Known): Verdict3 {
  return known === undefined ? undefined : known !== 'gone'
}

function all(verdicts: readonly (() => Verdict3)[]): Verdict3 {
  let found: Verdict3 = true
  for (const one of verdicts) {
    const verdict = one()
    if (verdict === false) return false
    if (verdict === undefined) found = undefined
  }
  return found
}

function any(verdicts: readonly (() => Verdict3)[]): Verdict3 {
  return not(all(verdicts.map((one) => () => not(one()))))
}

function not(verdict: Verdict3): Verdict3 {
  return verdict === undefined ? undefined : !verdict
}

function fitsField(field: Shape, value: Value): Verdict3 {
  return all(
    Object.entries(field).map(
      ([word, wanted]) =>
        () =>
          fitsWordOfField(word, wanted, value),
    ),
  )
}

function fitsWordOfField(word: string, wanted: Value, value: Value): Verdict3 {
  switch (word) {
    case 'type':
      return wanted === typeOfValue(value) || (wanted === 'number' && typeof value === 'number')
    case 'const':
      return isSame(wanted, value)
    case 'enum':
      return (wanted as readonly Value[]).some((one) => isSame(one, value))
    case 'pattern': {
      if (typeof value !== 'string') return true
      if (value.length > patternUnits) return undefined
      const pattern = patternOf(wanted as string)
      return pattern && matches(pattern, value)
    }
    case 'minLength':
      return typeof value !== 'string' || value.length >= (wanted as number)
    case 'maxLength':
      return typeof value !== 'string' || value.length <= (wanted as number)
    case 'minimum':
      return typeof value !== 'number' || value >= (wanted as number)
    default:
      return typeof value !== 'number' || value <= (wanted as number)
  }
}

function isSame(a: Value, b: Value): boolean {
  return equalBytes(encodeValue(a).slice(), encodeValue(b))
}

function typeOfValue(value: Value): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}
