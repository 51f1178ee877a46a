/**
 * Scrubs a store in a process of its own: one bit of a table is flipped before it opens, without a look at the tables,
 * or while it is open. LevelDB may end the process at a rotted block, and then it must not be the tester's.
 */
import { SkeinError } from '../../src/base/errors.ts'
import { openLevelStore } from '../../src/store/level.ts'
import { flipBit } from './harm.ts'

export interface ScrubOrders {
  readonly dir: string
  /** Path of the table, the byte and the bit. */
  readonly table: string
  readonly at: number
  readonly bit: number
  readonly isOpen: boolean
}

export interface ScrubAnswer {
  /** What the scrub found; undefined where the opening refused already. */
  readonly damages?: readonly string[]
}

async function scrub({ dir, table, at, bit, isOpen }: ScrubOrders): Promise<ScrubAnswer> {
  if (!isOpen) flipBit(table, at, bit)
  try {
    await using store = await openLevelStore({ dir, verifyBytes: 0 })
    if (isOpen) flipBit(table, at, bit)
    const { damages } = await store.scrub()
    return { damages: damages.map(({ what }) => what) }
  } catch (error) {
    if (error instanceof SkeinError && error.code.startsWith('store_')) return {}
    throw error
  }
}

process.stdout.write(JSON.stringify(await scrub(JSON.parse(process.argv[2] as string) as ScrubOrders)))
