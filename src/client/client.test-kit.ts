/** What tests of the client share. */
import { SkeinError } from '../base/errors.ts'
import type { WatchEvent } from '../node/watch.ts'

/** The code of what a promise fails with. */
export async function errorCode(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'it did not fail'
  } catch (error) {
    if (error instanceof SkeinError) return error.code
    throw error
  }
}

export async function events(watch: AsyncIterable<WatchEvent>, count: number): Promise<WatchEvent[]> {
  const all: WatchEvent[] = []
  for await (const event of watch) if (all.push(event) >= count) break
  return all
}
