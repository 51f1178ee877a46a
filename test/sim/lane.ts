/** One of the processes of a campaign: runs the seeds that it is given, and says what became of each. */
import { runSeed } from '../../src/sim/campaign.ts'
import type { SeedReport } from '../../src/sim/campaign.ts'

export interface Share {
  readonly first: number
  readonly last: number
  readonly damagedPart: number
}

export type LaneMessage = { readonly kind: 'idle' } | { readonly kind: 'report'; readonly report: SeedReport }

const say = (message: LaneMessage): void => {
  process.send?.(message)
}

process.on('message', ({ first, last, damagedPart }: Share) => {
  for (let seed = first; seed <= last; seed++) say({ kind: 'report', report: runSeed(seed, damagedPart) })
  say({ kind: 'idle' })
})
process.on('disconnect', () => process.exit(0))
say({ kind: 'idle' })
