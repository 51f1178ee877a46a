/**
 * What HTTP and the stream can ask about conflicts, and about the rules that raise them: the part of the service that knows who
 * may see one. Whoever reads all entries that have a part in a conflict may read it; whoever has the right `resolve` on all of
 * them may decide it.
 */
import { SkeinError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { Conflict } from '../../merge/evidence.ts'
import type { WorkflowDeclaration } from '../../merge/policy.ts'
import { declareRules } from '../../merge/rule-set.ts'
import type { RuleSet } from '../../merge/rule-set.ts'
import type { AuditLine, AuditReport } from '../../replica/audit.ts'
import type { ConflictEvent } from '../../replica/conflicts.ts'
import { filterOf } from '../conflicts.ts'
import type {
  AssignOptions,
  ConflictCall,
  ConflictGap,
  ConflictHistoryItem,
  ConflictOptions,
  ConflictsStatus,
  ProposeOptions,
  ResolveOptions,
  SnoozeOptions,
  SpaceRules,
} from '../conflicts.ts'
import type { SkeinNode } from '../node.ts'
import type { Receipt } from '../receipt.ts'
import { agentOf, may, must, mustEverywhere } from '../security/caller.ts'
import type { Caller, Right } from '../security/caller.ts'
import type { FleetView } from './fleet-view.ts'
import { jsonOf, roughSize, sealed, unsealed } from './json.ts'
import type { Page, WriteRequest } from './service.ts'
import { settled } from './waiting.ts'
import type { Settled } from './waiting.ts'

export type ConflictView = Conflict & { readonly history: readonly ConflictHistoryItem[] }

/** What somebody does about a conflict, with what it takes. */
export type Deed =
  | ({ readonly does: 'resolve' } & Pick<ResolveOptions, 'revision' | 'choice'>)
  | { readonly does: 'ack' }
  | ({ readonly does: 'assign' } & Pick<AssignOptions, 'to'>)
  | ({ readonly does: 'snooze' } & Omit<SnoozeOptions, keyof ConflictCall>)
  | ({ readonly does: 'propose' } & Pick<ProposeOptions, 'revision' | 'choice' | 'confidence'>)

export type DeedRequest = Pick<WriteRequest, 'agent' | 'reason' | 'durability' | 'once' | 'wait'> & {
  readonly space?: string | undefined
}

export interface DeedAnswer extends Settled {
  readonly version: string
  /** False: it was so before. */
  readonly changed: boolean
  readonly space: string
  readonly replayed?: boolean
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

  /** For whoever has just done something about it, and need not be allowed to read it. */
  glance(caller: Caller, id: string, space: string): Conflict | undefined {
    const conflict = this.#find(id, space)
    return mayAll(caller, 'read', conflict) ? (jsonOf(conflict) as Conflict) : undefined
  }

  /** Whoever may write to the entries may propose; for the rest it takes the right to resolve. */
  async act(caller: Caller, id: string, deed: Deed, request: DeedRequest): Promise<DeedAnswer> {
    const { once, wait, reason, durability } = request
    const conflict = this.#find(id, request.space)
    const { space } = conflict
    if (deed.does !== 'propose' || !mayAll(caller, 'write', conflict)) mustAll(caller, 'resolve', conflict)
    const agent = agentOf(caller, request.agent)
    const before = once?.session.replay(once.number)
    if (before !== undefined) {
      const told = before.answer as unknown as Omit<DeedAnswer, keyof Settled>
      return { ...told, ...(await settled(this.#fleet, space, told.version, before.durable, wait)), replayed: true }
    }
    const receipt = this.#do(id, deed, {
      space,
      ...(agent !== undefined && { agent }),
      ...(reason !== undefined && { reason }),
      ...(durability !== undefined && { durability }),
    })
    const { version, changed } = receipt
    const told = { version, changed, space }
    if (once !== undefined) once.session.keep(once.number, told)
    return { ...told, ...(await settled(this.#fleet, space, version, () => receipt.durable, wait)) }
  }

  #do(id: string, deed: Deed, call: ConflictCall): Receipt {
    const { conflicts } = this.#node
    const { does, ...rest } = deed
    switch (does) {
      case 'resolve':
        return conflicts.resolve(id, { ...(rest as ResolveOptions), ...call })
      case 'ack':
        return conflicts.ack(id, call)
      case 'assign':
        return conflicts.assign(id, { ...(rest as AssignOptions), ...call })
      case 'snooze':
        return conflicts.snooze(id, { ...(rest as SnoozeOptions), ...call })
      case 'propose':
        return conflicts.propose(id, { ...(rest as ProposeOptions), ...call })
    }
  }

  async stats(caller: Caller, space: string | undefined): Promise<readonly ConflictsStatus[]> {
    this.#mayRead(caller, space)
    return this.#node.conflicts.stats(space === undefined ? {} : { space })
  }

  /** What changes from the call on. An event names no entries, so whoever listens must be allowed all of them. */
  watch(
    caller: Caller,
    space: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<ConflictEvent | ConflictGap, void, void> {
    this.#mayRead(caller, space)
    return this.#of(space, this.#node.conflicts.watch({ signal }))
  }

  /** All of a space, or of all spaces. */
  #mayRead(caller: Caller, space: string | undefined): void {
    if (space === undefined) return mustEverywhere(caller, 'read')
    must(caller, 'read', space)
    this.#known(space)
  }

  async *#of(
    space: string | undefined,
    events: AsyncIterable<ConflictEvent | ConflictGap>,
  ): AsyncGenerator<ConflictEvent | ConflictGap, void, void> {
    for await (const event of events) {
      if (space === undefined || event.change === 'gap' || event.space === space) yield event
    }
  }

  async audit(
    caller: Caller,
    space: string | undefined,
    asked: { readonly id?: string; readonly after?: number },
    limit: number,
  ): Promise<{ readonly items: readonly AuditLine[]; readonly more: boolean }> {
    this.#mayRead(caller, space)
    const items: AuditLine[] = []
    for await (const line of this.#node.conflicts.audit({ ...asked, ...(space !== undefined && { space }) })) {
      if (items.length >= limit) return { items, more: true }
      items.push(jsonOf(line) as AuditLine)
    }
    return { items, more: false }
  }

  verifyAudit(caller: Caller): Promise<AuditReport> {
    mustEverywhere(caller, 'read')
    return this.#node.conflicts.verifyAudit()
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
