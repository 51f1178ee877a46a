/** Rows that contradict one another: each was whole by its checksum, so one of them is missing or of another time. */
import { SkeinError } from '../base/errors.ts'

export function intact(condition: boolean, what: string): asserts condition {
  if (!condition) throw new SkeinError('store_damaged', `rows on the disk contradict one another: ${what}`)
}
