/**
 * Values on their way into JSON. JSON would turn some of them into others in silence (NaN into null, bytes into an
 * object of numbers); they are refused as a node in this process would refuse them.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

export function checkJson(value: unknown, depth: number = 0): void {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw new SkeinError('invalid_value', 'a string holds a lone surrogate')
      return
    case 'number':
      if (!Number.isFinite(value)) throw new SkeinError('invalid_value', `${value} has no canonical form`)
      return
    case 'boolean':
      return
    case 'object':
      break
    default:
      throw new SkeinError('invalid_value', `a ${typeof value} has no canonical form; send JSON data`)
  }
  if (value === null) return
  if (depth >= limits.valueDepth) {
    throw new SkeinError('too_deep', `values may be nested ${limits.valueDepth} deep`, { limit: limits.valueDepth })
  }
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) checkJson(value[i], depth + 1)
    return
  }
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype !== null && prototype !== Object.prototype && Object.getPrototypeOf(prototype) !== null) {
    throw new SkeinError('invalid_value', `a ${prototype.constructor.name} is not JSON data`)
  }
  for (const [name, field] of Object.entries(value)) {
    if (field === undefined) continue
    if (name === '__proto__') throw new SkeinError('reserved_name', 'a field cannot be called __proto__')
    if (!name.isWellFormed()) throw new SkeinError('invalid_value', 'a field name holds a lone surrogate')
    checkJson(field, depth + 1)
  }
}
