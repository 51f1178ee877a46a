/**
 * What HTTP and the stream can ask about conflicts, and about the rules that raise them: the part of the service that knows who
 * may see one. Whoever reads all entries that have a part in a conflict may read it; whoever has the right `resolve` on all of
 * them may decide it.
 */
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Choice } from '../../merge/case.ts'
import type { Conflict } from '../../merge/evidence.ts'
import type { WorkflowDeclaration } from '../../merge/policy.ts'
import { declareRules } from '../../merge/rule-set.ts'
import type { RuleSet } from '../../merge/rule-set.ts'
import type { ConflictEvent } from '../../replica/conflicts.ts'
import { filterOf } from '../conflicts.ts'
import type { ConflictGap, ConflictHistoryItem, ConflictOptions, ConflictsStatus, SpaceRules } from '../conflicts.ts'
import type { SkeinNode } from '../node.ts'
import type { Durability } from '../receipt.ts'
import { agentOf, may, must, mustEverywhere } from '../security/caller.ts'
import type { Caller, Right } from '../security/caller.ts'
import type { FleetView } from './fleet-view.ts'
import { jsonOf, roughSize, sealed, unsealed } from './json.ts'
import type { Page } from './service.ts'
import { settled } from './waiting.ts'
import type { Settled, Wait } from './waiting.ts'

export type ConflictView = Conflict & { readonly history: readonly ConflictHistoryItem[] }

export interface ResolveRequest {
  readonly space?: string | undefined
  readonly revision: string
  readonly choice: Choice
  readonly agent?: string | undefined
  readonly reason?: string | undefined
  readonly durability?: Durability | undefined
  readonly wait: Wait
}

export interface Resolved extends Settled {
  readonly version: string
  /** False: it was decided so before. */
  readonly changed: boolean
  /** As it is now. */
  readonly conflict: Conflict
}

/** As a caller declares them: not checked yet. */
export type RulesGiven = WorkflowDeclaration & { readonly rules: unknown; readonly version?: number }

export class ConflictDesk {
  readonly #node: SkeinNode
  readonly #fleet: FleetView

  constructor(node: SkeinNode, fleet: FleetView) {
    this.#node = node
    this.#fleet = fleet
  }

  /** Those that the caller may see. A page that looked at very many ends early, perhaps empty, with a cursor. */
  async page(
    caller: Caller,
    query: ConflictOptions,
    { limit = 100, cursor }: { readonly limit?: number | undefined; readonly cursor?: string | undefined },
  ): Promise<Page<Conflict>> {
    const isWanted = filterOf(query)
    const { space, prefix = '' } = query
    if (space !== undefined) {
      must(caller, 'read', space, prefix)
      this.#known(space)
    }
    const items: Conflict[] = []
    let last = cursor === undefined ? undefined : placeOf(cursor, space)
    let scanned = 0
    let sizeBytes = 0
    for await (const conflict of this.#node.conflicts.scan(space, last)) {
      if (items.length >= limit || scanned >= limits.pageScanned || sizeBytes >= limits.pageBytes) {
        return { items, cursor: sealed(['c1', space ?? null, last?.space, last?.id]) }
      }
      scanned++
      last = conflict
      if (!isWanted(conflict) || !mayAll(caller, 'read', conflict)) continue
      const shown = jsonOf(conflict) as Conflict
      sizeBytes += roughSize(shown)
      items.push(shown)
    }
    return { items, cursor: undefined }
  }

  /** With the history around it: all that it takes to decide. */
  async get(caller: Caller, id: string, space: string | undefined): Promise<ConflictView> {
    const conflict = this.read(caller, id, space)
    const history = await this.#node.conflicts.history(id, { space: conflict.space })
    return { ...conflict, history: jsonOf(history) as readonly ConflictHistoryItem[] }
  }

  read(caller: Caller, id: string, space: string | undefined): Conflict {
    const conflict = this.#find(id, space)
    mustAll(caller, 'read', conflict)
    return jsonOf(conflict) as Conflict
  }

  async history(caller: Caller, id: string, space: string | undefined): Promise<readonly ConflictHistoryItem[]> {
    return (await this.get(caller, id, space)).history
  }

  async resolve(caller: Caller, id: string, request: ResolveRequest): Promise<Resolved> {
    const { revision, choice, reason, durability, wait } = request
    const conflict = this.#find(id, request.space)
    mustAll(caller, 'resolve', conflict)
    const { space } = conflict
    const agent = agentOf(caller, request.agent)
    const receipt = this.#node.conflicts.resolve(id, {
      space,
      revision,
      choice,
      ...(agent !== undefined && { agent }),
      ...(reason !== undefined && { reason }),
      ...(durability !== undefined && { durability }),
    })
    const { version, changed } = receipt
    const now = this.#find(id, space)
    return {
      version,
      changed,
      conflict: jsonOf(now) as Conflict,
      ...(await settled(this.#fleet, space, version, () => receipt.durable, wait)),
    }
  }

  async stats(caller: Caller, space: string | undefined): Promise<readonly ConflictsStatus[]> {
    if (space === undefined) {
      mustEverywhere(caller, 'read')
      return this.#node.conflicts.stats()
    }
    must(caller, 'read', space)
    this.#known(space)
    return this.#node.conflicts.stats({ space })
  }

  /** What changes from the call on. An event names no entries, so whoever listens must be allowed all of them. */
  watch(
    caller: Caller,
    space: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<ConflictEvent | ConflictGap, void, void> {
    if (space === undefined) mustEverywhere(caller, 'read')
    else {
      must(caller, 'read', space)
      this.#known(space)
    }
    return this.#of(space, this.#node.conflicts.watch({ signal }))
  }

  async *#of(
    space: string | undefined,
    events: AsyncIterable<ConflictEvent | ConflictGap>,
  ): AsyncGenerator<ConflictEvent | ConflictGap, void, void> {
    for await (const event of events) {
      if (space === undefined || event.change === 'gap' || event.space === space) yield event
    }
  }

  rules(name: string): SpaceRules {
    return jsonOf(this.#node.conflicts.rules(name)) as SpaceRules
  }

  /** Rules as they may be declared for a space, whether it is there or not; throws where they may not. */
  checked(name: string, { rules, version, ...beside }: RulesGiven): RuleSet {
    const set = declareRules(rules, version, beside)
    const space = this.#node.replica.find(name)
    if (space !== undefined && !this.#node.conflicts.takes(space, set)) {
      const here = this.#node.conflicts.rules(name).version
      throw new SkeinError('rules_superseded', `space ${name} has rules of version ${here}`, { version: here })
    }
    return set
  }

  /** It is on the disk when this resolves. */
  async declare(caller: Caller, name: string, rules: RuleSet, agent: string | undefined): Promise<void> {
    must(caller, 'admin', name)
    const space = this.#node.replica.find(name)
    if (space === undefined) throw nowhere(name)
    this.#node.conflicts.declare(space, rules, agentOf(caller, agent))
    const batch = this.#node.settled(space, 'disk')
    await this.#node.whenStored(batch)
  }

  #find(id: string, space: string | undefined): Conflict {
    if (space !== undefined) this.#known(space)
    const conflict = this.#node.conflicts.get(id, space === undefined ? {} : { space })
    if (conflict === undefined) throw new SkeinError('unknown_conflict', `there is no conflict ${id}`, { id })
    return conflict
  }

  #known(name: string): void {
    this.#node.readable()
    if (this.#node.replica.find(name) === undefined) throw nowhere(name)
  }
}

function nowhere(space: string): SkeinError {
  return new SkeinError('not_found', `there is no space ${space} here`, { space })
}

function mayAll(caller: Caller, right: Right, { space, keys }: Conflict): boolean {
  return keys.length === 0 ? may(caller, right, space) : keys.every((key) => may(caller, right, space, key))
}

function mustAll(caller: Caller, right: Right, { space, keys }: Conflict): void {
  if (keys.length === 0) must(caller, right, space)
  for (const key of keys) must(caller, right, space, key)
}

function placeOf(cursor: string, space: string | undefined): { readonly space: string; readonly id: string } {
  const [kind, of, at, id] = unsealed(cursor, 'cursor')
  if (kind === 'c1' && of === (space ?? null) && typeof at === 'string' && typeof id === 'string') {
    return { space: at, id }
  }
  throw new SkeinError('invalid_token', 'cursor is of another listing')
}
