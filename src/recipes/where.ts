/** Records by their fields: `{ status: 'todo', 'owner.name': 'agent-7' }`. Dots lead into nested fields. */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

export type Where = { readonly [field: string]: string | number | boolean | null }

export function checkWhere(where: Where): Where {
  const fields = Object.entries(where)
  if (fields.length > limits.filters) {
    throw new SkeinError('too_large', `a listing takes at most ${limits.filters} filters`, { limit: limits.filters })
  }
  for (const [field, value] of fields) {
    if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) continue
    throw new SkeinError('invalid_argument', `where: ${field} is compared with a text, a number, a truth or null`)
  }
  return where
}

/** Only records have fields. */
export function fits(where: Where, type: string, value: unknown): boolean {
  const fields = Object.entries(where)
  if (fields.length === 0) return true
  return type === 'record' && fields.every(([field, wanted]) => valueAt(value, field.split('.')) === wanted)
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Readonly<Record<string, unknown>>)[name]
  }
  return value
}
