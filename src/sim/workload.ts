/**
 * Writes as agents make them: operations of every type on keys that all writers share, in transactions, with deletions
 * and times to live. What was written is noted with the durability at which it was acknowledged; a refusal is a part of
 * life (a claim that another holds, rights that are not there).
 */
import { SkeinError } from '../base/errors.ts'
import { prng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import type { ChangeSet } from '../crdt/change.ts'
import type { Chain } from '../crdt/delta.ts'
import type { Dot } from '../crdt/dot.ts'
import type { CrdtType } from '../crdt/type.ts'
import type { ClaimReading } from '../crdt/types/claim.ts'
import { typeNamed, typeOf, types } from '../crdt/types/table.ts'
import { workload } from '../crdt/workload.ts'
import type { Space } from '../replica/space.ts'
import { declareRules } from '../merge/rule-set.ts'
import { caseIdOf } from '../merge/system.ts'
import type { Conflicts } from '../replica/conflicts.ts'
import { entryKeyOf, spaceRange, table } from '../replica/row-keys.ts'
import type { Host, Life } from './host.ts'
import type { SimOptions } from './options.ts'
import type { WriteAction } from './story.ts'

/** A fence that somebody was given. */
export interface Given {
  readonly key: string
  readonly fence: number
  /** What it must be above: the fence of the holder before, if that was somebody else. */
  readonly above: number
}

export interface Written {
  readonly host: Host
  readonly life: Life
  readonly space: Space
  /** Undefined when nothing changed. */
  readonly dot: Dot | undefined
  readonly batch: number
  readonly fences: readonly Given[]
  readonly told: string
  /** Of its origin, after it. */
  readonly chain: Chain
  /** Virtual time. */
  readonly at: number
}

export type Attempt = Written | { readonly refused: string; readonly key: unknown }

const agents = ['ann', 'bob', 'cyd'] as const
/** Refusals that a correct caller may meet. Anything else is a finding. */
const expected: ReadonlySet<string> = new Set([
  'space_deleted',
  'type_mismatch',
  'invalid_argument',
  'budget_exceeded',
  'budget_not_deletable',
  'unknown_reservation',
  'claim_held',
  'stale_fence',
  'out_of_range',
  'counter_overflow',
  'busy',
  'too_large',
])

/** Makes the write of an action; undefined where the node is down or broke over it. */
export function make(action: WriteAction, host: Host, name: string, options: SimOptions): Attempt | undefined {
  const chance = prng(action.chance)
  const agent = chance.pick(agents)
  const told: string[] = []
  const fences: Given[] = []
  try {
    return host.transact((life) => {
      const { replica } = life.machine
      const space = replica.open(name)
      if (options.rules && life.machine.conflicts !== undefined) {
        const decided = decide(life.machine.conflicts, space, host, prng(action.chance).fork(1), agent)
        if (decided !== undefined) return decided(life)
      }
      const reason = chance.chance(0.2) ? 'because' : undefined
      const { dot, batch } = replica.transact(space, { nowMs: host.nowMs, agent, reason }, (change) => {
        for (let left = action.operations; left > 0; left--) {
          operate(change, space, chance, options, agent, told, fences)
        }
      })
      const given = dot === undefined ? [] : fences
      const chain = space.chainOf(replica.origin).slice()
      return { host, life, space, dot, batch, fences: given, told: told.join('; '), chain, at: host.at }
    })
  } catch (error) {
    if (error instanceof SkeinError && expected.has(error.code))
      return { refused: error.code, key: told.at(-1)?.split(' ')[0] }
    throw error
  }
}

const rules = declareRules([{ rule: 'field' }, { rule: 'delete' }, { rule: 'claim' }, { rule: 'types' }])

/** Declares the rules where there are none, and now and then decides a conflict that this node knows of. */
function decide(
  conflicts: Conflicts,
  space: Space,
  host: Host,
  chance: Prng,
  agent: string,
): ((life: Life) => Written) | undefined {
  const { nowMs, at } = host
  conflicts.declare(space, rules, nowMs, agent)
  if (!chance.chance(0.25)) return undefined
  const ids = new Set(conflicts.pending(space))
  for (const [key] of host.disk.list(spaceRange(table.entry, space.number))) {
    const id = caseIdOf(entryKeyOf(key))
    if (id !== undefined) ids.add(id)
  }
  const open = [...ids].flatMap((id) => conflicts.case(space, id) ?? []).filter(({ state }) => state === 'open')
  if (open.length === 0) return undefined
  const { id, revision, branches } = chance.pick(open)
  const kind = chance.pick(['pick', 'pick', 'keep-both', 'dismiss'] as const)
  const choice = kind === 'pick' ? { kind, branch: chance.pick(branches) } : { kind }
  return (life) => {
    const { dot, batch } = conflicts.resolve(space, id, { choice, revision, agent, reason: undefined }, nowMs)
    const chain = space.chainOf(life.machine.replica.origin).slice()
    return { host, life, space, dot, batch, fences: [], told: `settles ${id.slice(0, 8)}: ${kind}`, chain, at }
  }
}

function operate(
  change: ChangeSet,
  space: Space,
  chance: Prng,
  options: SimOptions,
  agent: string,
  told: string[],
  fences: Given[],
): void {
  const named = chance.pick(options.types)
  const type = typeNamed(named) as CrdtType
  // Now and then a key that entries of another type have.
  const home = chance.chance(0.02) ? types[chance.below(types.length)]?.name : named
  const key = `${home}/${chance.below(options.keysOfType)}`
  const entry = space.entry(key)
  if (chance.chance(0.06)) {
    told.push(`delete ${key}`)
    change.delete(entry, typeOf)
    return
  }
  const generator = workload[named]
  if (generator === undefined) throw new RangeError(`no workload for ${named}`)
  const value = type.read(change.cells(entry, type)).value
  const [operation, args] = generator(chance, value)
  const ttlMs = type.expiring === true && chance.chance(0.05) ? 1 + chance.below(5_000) : 0
  const run = type.operations[operation]
  if (run === undefined) throw new RangeError(`${named} has no operation ${operation}`)
  told.push(`${key} ${operation} ${JSON.stringify(args).slice(0, 80)}${ttlMs > 0 ? ` for ${ttlMs} ms` : ''}`)
  const answer = change.run(entry, type, run, args, ttlMs)
  if (named === 'claim' && operation === 'acquire') {
    const before = value as ClaimReading
    const owner = typeof args['owner'] === 'string' ? args['owner'] : agent
    const above = before.holder === owner ? before.fence - 1 : before.fence
    fences.push({ key, fence: (answer as { readonly fence: number }).fence, above })
  }
}
