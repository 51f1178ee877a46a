/** Who has a write: what the receipts of a client ask. */
import { SkeinError } from '../base/errors.ts'
import type { ReachOptions } from '../node/fleet.ts'
import { checkOptions } from './checks.ts'
import type { Session } from './session.ts'

export async function reachedIn(
  session: Session,
  space: string,
  version: string,
  options: ReachOptions,
): Promise<readonly string[]> {
  const { peers = 'all', timeoutMs = 10_000, signal } = checkOptions(options, ['peers', 'timeoutMs', 'signal'])
  const wait = peers === 'all' ? peers : `peers:${peers}`
  const message = { do: 'visibility', space, token: version, wait, timeoutMs }
  const { waited } = (await session.ask(message, 'read', signal)) as {
    readonly waited?: {
      readonly met: boolean
      readonly reached: readonly string[]
      readonly missing: readonly string[]
    }
  }
  if (waited?.met === true) return waited.reached
  const behind = waited?.missing ?? []
  throw new SkeinError('not_reached', `not confirmed within ${timeoutMs} ms by ${behind.join(', ')}`, {
    reached: waited?.reached ?? [],
    behind,
  })
}
