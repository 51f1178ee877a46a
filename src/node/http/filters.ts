/** `where=field:value`: records whose field is that value. A dot in the field's name leads into nested fields. */
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'

export interface Filter {
  readonly path: readonly string[]
  /** As text, and as JSON where it is some: `where=priority:2` finds the number, `where=status:todo` the string. */
  readonly text: string
  readonly json: unknown
}

export function fieldFilters(texts: readonly string[]): Filter[] {
  if (texts.length > limits.filters) {
    throw new SkeinError('too_large', `a listing takes at most ${limits.filters} filters`, { limit: limits.filters })
  }
  return texts.map((filter) => {
    const at = filter.indexOf(':')
    if (at < 1) throw new SkeinError('invalid_argument', `where is field:value, not ${filter}`, { argument: 'where' })
    const text = filter.slice(at + 1)
    return { path: filter.slice(0, at).split('.'), text, json: parsed(text) }
  })
}

function parsed(text: string): unknown {
  try {
    const json: unknown = JSON.parse(text)
    return typeof json === 'object' && json !== null ? undefined : json
  } catch {
    return undefined
  }
}

export function passes({ path, text, json }: Filter, type: string, value: unknown): boolean {
  if (type !== 'record') return false
  let at = value
  for (const name of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return false
    at = (at as Readonly<Record<string, unknown>>)[name]
  }
  return at === text || (json !== undefined && at === json)
}
