/** Where a space stands with its origins, as it is told in frames: each context by what it has other than the one before. */
import type { Dot } from '../crdt/dot.ts'
import type { Head } from '../wire/frame.ts'
import { Context } from './context.ts'
import type { Stand } from './log.ts'
import type { Space } from './space.ts'

/** `before` is the context of the head that is told just before it in the same frame. */
export function headOf({ origins }: Space, { context, ...stand }: Stand, before: Context | undefined): Head {
  const changes = (before ?? Context.none).changesTo(context)
  return { ...stand, context: changes.map(([number, seq]): Dot => ({ origin: origins.nameOf(number), seq })) }
}

/** `told` are the heads of one frame after the other. */
export function standsOf({ origins }: Space, told: readonly (readonly Head[])[]): Stand[] {
  return told.flatMap((heads) => {
    let { none: context } = Context
    return heads.map(({ context: changes, ...head }): Stand => {
      context = context.changedBy(changes.map(({ origin, seq }) => [origins.numberOf(origin), seq]))
      return { ...head, context }
    })
  })
}
