/** Arguments of calls, checked where they come in. */
import { SkeinError } from '../base/errors.ts'

export function invalid(message: string): SkeinError {
  return new SkeinError('invalid_argument', message)
}

export function checkOptions<T extends object>(options: T, known: readonly (keyof T & string)[]): T {
  if (typeof options !== 'object' || options === null) throw invalid('options are an object')
  for (const name of Object.keys(options)) {
    if (!(known as readonly string[]).includes(name)) {
      throw invalid(`${name} is not an option here; there are ${known.join(', ')}`)
    }
  }
  return options
}
