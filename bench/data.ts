/** What the benchmarks write: keys and values as an agent fleet has them, the same for every contender and in every run. */
import { prng } from '../src/base/prng.ts'
import type { Prng } from '../src/base/prng.ts'

export interface FieldWrite {
  readonly key: string
  readonly field: string
  readonly value: string
  /** The same for a contender that is told of fields as an object. */
  readonly fields: Readonly<Record<string, string>>
  /** The same for a contender that keeps fields flat in one map. */
  readonly flatKey: string
}

function fieldWrite(key: string, field: string, value: string): FieldWrite {
  return { key, field, value, fields: { [field]: value }, flatKey: inOnePiece(`${key}/${field}`) }
}

/** A string of its own, in one piece: whoever encodes it first should not pay for joining it. */
function inOnePiece(ascii: string): string {
  return Buffer.from(ascii, 'latin1').toString('latin1')
}

const fields = ['status', 'owner', 'note', 'plan'] as const

const words =
  'agent task plan retry budget tool call result summary waiting blocked done check source draft merge'.split(' ')

export function keyOf(number: number): string {
  return inOnePiece(`task-${String(number).padStart(6, '0')}`)
}

/** Text of 60 to 150 ASCII characters; the number keeps values apart. */
export function textOf(number: number, chance: Prng): string {
  const length = 60 + chance.below(91)
  let text = `${number}:`
  while (text.length < length) text += ` ${chance.pick(words)}`
  return inOnePiece(text.slice(0, length))
}

/** One write to each of so many records that are not there yet. */
export function newWrites(count: number): FieldWrite[] {
  const chance = prng(1)
  return Array.from({ length: count }, (_, i) => fieldWrite(keyOf(i), 'status', textOf(i, chance)))
}

/** Writes of another value to fields of `newWrites` that hold one, in random order. */
export function overwrites(count: number, records: number): FieldWrite[] {
  const chance = prng(2)
  return Array.from({ length: count }, (_, i) =>
    fieldWrite(keyOf(chance.below(records)), 'status', textOf(i + 1_000_000, chance)),
  )
}

/** Half of the writes make a record with its first field, half write a field of one that is there: another or the same. */
export function mixedWrites(count: number): FieldWrite[] {
  const chance = prng(3)
  let made = 0
  return Array.from({ length: count }, (_, i) => {
    const isNew = i % 2 === 0
    const key = keyOf(isNew ? made++ : chance.below(made))
    return fieldWrite(key, isNew ? 'status' : chance.pick(fields), textOf(i, chance))
  })
}
