/**
 * The conflicts of a replica: what the finder finds at the door is kept in a row of the batch of the delta that made it,
 * until it stands in its case. One node writes a case, by rendezvous among those that are alive and hold the space; each
 * of the others does so when its turn comes and the case is still not whole. So nothing is lost with its finder, and
 * mostly it is written once; twice written it says the same.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { equalBytes } from '../base/bytes.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import type { RowRange, RowReader } from '../base/rows.ts'
import { Slab } from '../base/slab.ts'
import type { Value } from '../base/value.ts'
import { decodeDelta } from '../crdt/delta.ts'
import type { Delta } from '../crdt/delta.ts'
import { hasDot } from '../crdt/cell.ts'
import { covers } from '../crdt/dot.ts'
import type { Dot, OriginId, Seen } from '../crdt/dot.ts'
import type { ChangeSet, Entry } from '../crdt/change.ts'
import type { Cells } from '../crdt/type.ts'
import {
  caseCell,
  caseId,
  caseType,
  choiceDigest,
  choiceValue,
  decodeFinding,
  encodeFinding,
  headPath,
  holdsBranch,
  isFull,
  isWritten,
  keysOf,
  lastOf,
  dotName,
  readCase,
  threadIn,
  threadOf,
} from '../merge/case.ts'
import type { Branch, Case, CaseCell, Choice, Deciding, Finding, Head } from '../merge/case.ts'
import { metBelowLog, ownSide } from '../merge/below-log.ts'
import type { MetEntry, OwnSide } from '../merge/below-log.ts'
import { evidenceOf } from '../merge/evidence.ts'
import type { Conflict } from '../merge/evidence.ts'
import { Finder } from '../merge/finder.ts'
import { Holds, heldBy } from '../merge/holds.ts'
import { handlingOf, queueCell, queueCells, queueType } from '../merge/queue.ts'
import type { Handling, QueueCell } from '../merge/queue.ts'
import { names } from '../merge/policy.ts'
import { purgeType } from '../merge/purge.ts'
import type { Purge } from '../merge/purge.ts'
import { checkChoice, checkRevision, settle } from '../merge/resolve.ts'
import { Turns, placeOf } from '../merge/turns.ts'
import type { Rule, Severity } from '../merge/rule.ts'
import { custom, functionOf, isGivable } from '../merge/rules/custom.ts'
import type { CustomFunctions, Meeting } from '../merge/rules/custom.ts'
import { noRules, rulesIn, rulesType } from '../merge/rule-set.ts'
import type { RuleSet } from '../merge/rule-set.ts'
import {
  caseIdOf,
  caseKey,
  digestOf,
  isSystemKey,
  purgePrefix,
  queueIdOf,
  queueKey,
  rulesKey,
  threadKey,
} from '../merge/system.ts'
import type { Replicated } from '../merge/window.ts'
import { Audit } from './audit.ts'
import { Errands, noAbilities } from './errands.ts'
import type { Abilities, Errand } from './errands.ts'
import type { Applied, Committed, Replica } from './replica.ts'
import { localKey, prefixRange } from './row-keys.ts'
import type { Space } from './space.ts'

export interface ConflictsConfig {
  readonly replica: Replica
  /** What the replica reads. */
  readonly rows: RowReader
  /** This node, among those that may write a case. */
  readonly node: string
  /** The living members that hold a space, without this node. */
  holders(space: Space): readonly string[]
  event(event: ConflictEvent): void
  /** What this node can do outside about cases. */
  readonly abilities?: Abilities | undefined
  workflow(event: WorkflowEvent): void
  /** Functions of rules of the owner's own. */
  readonly custom?: CustomFunctions | undefined
  /** One of them was suspended. */
  failed?(error: SkeinError): void
}

export type WorkflowEvent =
  /** This node is to do it, once that batch is on the disk. */
  | { readonly kind: 'errand'; readonly errand: Errand; readonly batch: number }
  /** Cases of the space may be open that were not looked at here, or other policies hold for them: `look` at each. */
  | { readonly kind: 'survey'; readonly space: Space }

export interface ConflictEvent {
  readonly space: string
  readonly id: string
  readonly rule: string
  readonly severity: Severity
  /** Entries that have a part in it. */
  readonly keys: readonly string[]
  /**
   * `opened`: it is new here. `grown`: it has a branch more. `reopened`: one that was decided has, or was decided twice,
   * differently. The others: somebody said something of it.
   */
  readonly change: 'opened' | 'grown' | 'reopened' | 'settled' | QueueCell
  /** Written here, rather than received. */
  readonly local: boolean
  /** Of `settled`: who decided. */
  readonly by?: 'policy' | 'person' | 'agent'
  /** Of `opened`: how often a conflict on the same subject was settled before. */
  readonly repeats?: number
}

export interface Resolution {
  readonly choice: Choice
  /** The revision that was looked at. */
  readonly revision: string
  readonly agent: string
  readonly reason: string | undefined
  /** A policy of the space decides, which needs nobody's right. */
  readonly automatic?: true
}

/** Something that is said of an open case: an operation of its queue. */
export interface Saying {
  readonly name: 'acknowledge' | 'assign' | 'snooze' | 'propose'
  args(known: Case): Readonly<Record<string, unknown>>
  readonly agent: string
  readonly reason: string | undefined
}

/** In a storm the members are not looked through for each finding. */
const holdersMs = 250
/** After a write that was refused. */
const retryMs = 1_000
/** Bytes of findings that go into one delta. A guess: half of what fits. */
const bytesAtOnce = 400_000
const author = 'skein'

/**
 * A finding that no case holds yet: what was found at each time, as bytes and in a row of its own. In a storm there are a
 * great many, and of one thing that is written again and again there are many pieces.
 */
interface Pending {
  readonly pieces: Uint8Array[]
  /** The branches in them. */
  readonly branches: Dot[]
}

interface Desk {
  readonly space: Space
  rules: RuleSet
  finder: Finder
  readonly pending: Map<string, Pending>
  /** For the pieces of what is pending. */
  readonly slab: Slab
  readonly turns: Turns
  /** Found in an earlier life: what others wrote of it since may be on its way. */
  untimed: string[]
  /** Those that are being written in this step. */
  writing: ReadonlyMap<string, Finding> | undefined
  /** The pending one that was looked at last, as long as nothing was added to it. */
  latest: Finding | undefined
  /** The snapshot that is being merged, by its vector, and what stands against it. */
  merging: { readonly with: Seen; readonly own: OwnSide } | undefined
  /** Found while a snapshot was merged, when no entry could be read. */
  unnamed: Finding[]
  /** Rules whose functions failed here, and how often such functions were not asked. */
  readonly suspended: Map<string, string>
  unasked: number
  readonly holds: Holds
  /** Cases that came with a snapshot: whether they hold anything is looked at in the next step. */
  unread: string[]
  /** Who may write cases here, as of a moment ago. */
  holders: readonly string[]
  holdersAtMs: number
}

const rowsName = 'finding/'
const holdsName = `${rowsName}held/`

/** The rows that `load` takes. */
export const findingRows: RowRange = prefixRange(localKey(rowsName))

export class Conflicts {
  readonly #config: ConflictsConfig
  readonly #desks = new Map<Space, Desk>()
  #spacesVersion = -1
  /** When the first of what is pending is to be written. */
  #wakeAt = Infinity
  /** What is to be done about cases beside keeping them. */
  readonly errands: Errands
  readonly audit: Audit

  constructor(config: ConflictsConfig) {
    this.#config = config
    this.audit = new Audit(config.replica, config.rows)
    this.errands = new Errands({
      ...config,
      abilities: config.abilities ?? noAbilities,
      conflicts: this,
      errand: (errand, batch) => config.workflow({ kind: 'errand', errand, batch }),
    })
  }

  get wakeAt(): number {
    return Math.min(this.#wakeAt, this.errands.wakeAt)
  }

  /** For opening, once spaces are loaded: a finding that no case had when the node stopped, or what a case holds. */
  load(key: Uint8Array, value: Uint8Array): void {
    const reader = new Reader(value)
    const name = reader.string()
    const generation = reader.uint()
    const space = this.#config.replica.find(name)
    if (equalBytes(key.subarray(0, heldPrefix.length), heldPrefix)) {
      if (space?.generation === generation) this.#loadHeld(this.#desk(space), reader)
      return
    }
    const piece = reader.bin()
    const finding = decodeFinding(piece)
    if (finding === undefined || space?.generation !== generation) return
    const desk = this.#desk(space)
    if (finding.id === '') desk.unnamed.push(finding)
    else {
      const { id } = finding
      const named = pieceKey(space, id, desk.pending.get(id)?.pieces.length ?? 0)
      if (this.#add(desk, finding, piece) === undefined) desk.untimed.push(id)
      // One that found no room in memory then has a name of its own.
      if (!equalBytes(key, named)) {
        this.#config.replica.keep(key.slice(), undefined)
        this.#config.replica.keep(named, value.slice())
      }
    }
    this.#wakeAt = -Infinity
  }

  /** A delta was applied. What it was found to be against goes into the batch that carries it. */
  applied({ space, delta, own, fault }: Applied, nowMs: number): void {
    const desk = this.#desk(space)
    if (delta.writes.some(({ key }) => isSystemKey(key))) this.#system(desk, delta, own, nowMs)
    if (own || fault !== undefined || desk.rules.rules.length === 0) return
    for (const finding of desk.finder.applied(delta)) this.#found(desk, finding, nowMs)
  }

  /** The space changed by other ways than deltas. */
  merged(space: Space): void {
    const desk = this.#desks.get(space)
    if (desk === undefined) return
    desk.finder.forget()
    this.#setRules(desk)
    for (const id of desk.pending.keys()) this.#dropWritten(desk, id)
    this.#config.workflow({ kind: 'survey', space })
  }

  rules(space: Space): RuleSet {
    return this.#desk(space).rules
  }

  /** Throws `entry_held` where what a program wants written would change an entry that an open conflict holds. */
  admit(space: Space, change: ChangeSet): void {
    const desk = this.#desk(space)
    if (desk.holds.size === 0) return
    for (const { entry } of change.touched()) {
      for (const id of desk.holds.on(entry.key)) {
        if (!this.#hold(desk, id).includes(entry.key)) continue
        const { key } = entry
        throw new SkeinError('entry_held', `${key} is held until conflict ${id} is settled`, { key, conflict: id })
      }
    }
  }

  /** Findings of this node that stand in no case yet, and comparisons that it could not make. */
  stats(space: Space): { readonly pending: number; readonly missed: number; readonly notEvaluated: readonly string[] } {
    const { pending, finder, rules, suspended, unasked } = this.#desk(space)
    const silent = rules.rules.filter((rule) => suspended.has(rule.name) || !this.#hasFunction(rule))
    const notEvaluated = [...rules.notEvaluated, ...silent.map(({ name }) => name)]
    return { pending: pending.size, missed: finder.missed + unasked, notEvaluated }
  }

  #hasFunction(rule: Rule): boolean {
    return rule.kind !== custom || this.#config.custom?.has(...functionOf(rule)) === true
  }

  /** Asks the function that a rule names. One that fails is suspended until other rules come: replication goes on. */
  #ask(space: Space, rule: Rule, meetingOf: () => Meeting | undefined): boolean | undefined {
    const desk = this.#desk(space)
    const { custom: functions } = this.#config
    if (functions === undefined || desk.suspended.has(rule.name) || !this.#hasFunction(rule)) return undefined
    const meeting = meetingOf()
    try {
      if (meeting !== undefined && isGivable(meeting)) {
        return functions.run(...functionOf(rule), meeting)
      }
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      desk.suspended.set(rule.name, why)
      const what = `rule ${rule.name} of space ${space.name} is suspended: ${why}`
      this.#config.failed?.(new SkeinError('rule_suspended', what, { space: space.name, rule: rule.name }))
    }
    desk.unasked++
    return undefined
  }

  /**
   * Declares rules. Those that are there stand where they are newer; under the version of other rules they are refused, or
   * two programs would take turns.
   */
  declare(space: Space, rules: RuleSet, nowMs: number, agent: string): Committed<'declared' | 'known' | 'older'> {
    const desk = this.#desk(space)
    const nothing = { dot: undefined, batch: 0 }
    if (desk.rules.version > rules.version) return { result: 'older', ...nothing }
    if (desk.rules.version === rules.version) {
      if (equalBytes(desk.rules.bytes, rules.bytes)) return { result: 'known', ...nothing }
      throw new SkeinError('invalid_argument', `rules: version ${rules.version} of ${space.name} says something else`, {
        version: rules.version,
      })
    }
    const { replica } = this.#config
    return replica.transact(space, { nowMs, agent, reason: 'rules' }, (change) => {
      const declare = rulesType.operations['declare'] as NonNullable<(typeof rulesType.operations)[string]>
      change.run(space.entry(rulesKey), rulesType, declare, { set: rules })
      return 'declared' as const
    })
  }

  /** A case, with what was found here and is not written yet. */
  case(space: Space, id: string): Case | undefined {
    const found = this.#pendingOf(this.#desk(space), id)
    return readCase(id, space.entry(caseKey(id)).cells(caseType.id), found)
  }

  /** Is it on record, rather than found here and not written yet? */
  isOnRecord(space: Space, id: string): boolean {
    return space.entry(caseKey(id)).cells(caseType.id).get(headPath).length > 0
  }

  evidence(space: Space, id: string, nowMs: number): Conflict | undefined {
    const known = this.case(space, id)
    if (known === undefined) return undefined
    return evidenceOf(space.name, known, this.#thread(space, known).length, this.handling(space, known, nowMs))
  }

  /** Who is at work on a case, and when it is due. */
  handling(space: Space, known: Case, nowMs: number): Handling {
    const cells = space.entry(caseKey(known.id)).cells(caseType.id)
    const said = space.entry(queueKey(known.id)).cells(queueType.id)
    return handlingOf(known, cells, said, this.#desk(space).rules.workflow.dueMs, nowMs)
  }

  /** Writes into the queue of an open case, and with it what was found of the case here and stands in none yet. */
  say(space: Space, id: string, saying: Saying, nowMs: number): Committed<void> {
    const known = this.case(space, id)
    if (known === undefined) throw new SkeinError('unknown_conflict', `there is no conflict ${id}`, { id })
    if (known.state === 'settled') throw new SkeinError('conflict_settled', `conflict ${id} is settled`, { id })
    const { name, agent, reason } = saying
    const args = { ...saying.args(known), reason }
    const operation = queueType.operations[name] as NonNullable<(typeof queueType.operations)[string]>
    return this.#config.replica.transact(space, { nowMs, agent, reason }, (change) => {
      const found = this.#pendingOf(this.#desk(space), id)
      if (found !== undefined) this.#run(change, space.entry(caseKey(id)), 'open', { finding: found })
      change.run(space.entry(queueKey(id)), queueType, operation, args)
    })
  }

  /** Up to where the writer of a delta had seen another origin, as far as the log can tell. */
  sawUpTo(space: Space, dot: Dot, origin: OriginId): number {
    return this.#desk(space).finder.sawUpTo(dot, origin)
  }

  /** Ids of cases of which only this node knows so far. */
  pending(space: Space): readonly string[] {
    return [...this.#desk(space).pending.keys()]
  }

  /** Decides a case, in one delta. The same decision on the same revision is one. */
  resolve(space: Space, id: string, resolution: Resolution, nowMs: number): Committed<'settled' | 'known'> {
    const desk = this.#desk(space)
    const known = this.case(space, id)
    if (known === undefined) throw new SkeinError('unknown_conflict', `there is no conflict ${id}`, { id })
    const { choice, revision, agent, reason } = resolution
    const isSame = known.decisions.some(
      (one) => one.revision === revision && one.agent === agent && choiceDigest(one.choice) === choiceDigest(choice),
    )
    if (isSame) return { result: 'known', dot: undefined, batch: 0 }
    if (known.state === 'settled') throw new SkeinError('conflict_settled', `conflict ${id} is settled`, { id })
    checkRevision(known, revision)
    const { people } = desk.rules.workflow
    if (known.decides === 'person' && people.length > 0 && resolution.automatic !== true && !names(people, agent)) {
      throw new SkeinError('not_entitled', `conflict ${id} is for a person to decide, and ${agent} is none`, {
        id,
        agent,
      })
    }
    checkChoice(known, choice)
    const { replica } = this.#config
    return replica.transact(space, { nowMs, agent, reason }, (change) => {
      settle(change, (key) => space.entry(key), known, choice)
      const entry = space.entry(caseKey(id))
      const found = this.#pendingOf(desk, id)
      if (found !== undefined) this.#run(change, entry, 'open', { finding: found })
      const deciding: Deciding = {
        id,
        choice,
        reason,
        settles: known.branches.map(({ origin, seq }) => ({ origin, seq })),
        over: known.decisions.map(({ origin, seq }) => ({ origin, seq })),
        revision,
      }
      this.#run(change, entry, 'decide', { deciding })
      this.#run(change, space.entry(threadKey(threadOf(known.rule, known.subject))), 'note', { id })
      return 'settled' as const
    })
  }

  /** Writes the cases whose turn has come: as much as goes into one delta a space. */
  due(nowMs: number, wallMs: number): void {
    const { replica } = this.#config
    if (this.#spacesVersion !== replica.spacesVersion) {
      this.#spacesVersion = replica.spacesVersion
      // Rules must be known before a snapshot is merged, not only when a delta comes.
      for (const space of replica.spaces) this.#desk(space)
    }
    if (nowMs >= this.#wakeAt) this.#writeDue(nowMs, wallMs)
    this.errands.due(nowMs, wallMs)
  }

  #writeDue(nowMs: number, wallMs: number): void {
    let next = Infinity
    for (const desk of this.#desks.values()) {
      if (desk.space.deleted) {
        this.#desks.delete(desk.space)
        continue
      }
      this.#name(desk, nowMs)
      for (const id of desk.unread.splice(0)) this.#hold(desk, id)
      for (const id of desk.untimed.splice(0)) desk.turns.add(id, 1 + this.#place(desk, id, nowMs), nowMs)
      const ready = new Map<string, Finding>()
      let sizeBytes = 0
      desk.turns.due(nowMs, (id) => {
        const pending = desk.pending.get(id)
        if (pending === undefined || ready.has(id) || this.#dropWritten(desk, id)) return true
        const size = pending.pieces.reduce((sum, { length }) => sum + length, 0)
        const isFull = ready.size >= limits.casesAtOnce || (ready.size > 0 && sizeBytes + size > bytesAtOnce)
        if (isFull) return false
        ready.set(id, this.#pendingOf(desk, id) as Finding)
        sizeBytes += size
        return true
      })
      if (ready.size > 0 && !this.#write(desk, ready, wallMs)) {
        for (const id of ready.keys()) desk.turns.add(id, 0, nowMs + retryMs)
      }
      next = Math.min(next, desk.turns.nextMs)
    }
    this.#wakeAt = next
  }

  /** A snapshot was merged into an entry. What it shows goes into the batch of the merge. */
  #met(desk: Desk, entry: MetEntry): void {
    if (isSystemKey(entry.key)) return
    const { space, rules } = desk
    const read = (dot: Dot): Delta | undefined => deltaAt(space, dot)
    if (desk.merging?.with !== entry.theirVector) desk.merging = { with: entry.theirVector, own: ownSide(entry, read) }
    for (const { head, branches } of metBelowLog(entry, desk.merging.own, rules.rules, read)) {
      const finding = { id: '', head, branches, ancestors: new Map(), others: new Map() }
      desk.unnamed.push(finding)
      this.#config.replica.keep(unnamedKey(space, head, branches), rowOf(space, encodeFinding(finding)))
      this.#wakeAt = -Infinity
    }
  }

  /** By the last decisions that are here: what was met below the log knows of no others. */
  #name(desk: Desk, nowMs: number): void {
    const { space, unnamed } = desk
    desk.unnamed = []
    for (const finding of unnamed) {
      const { head, branches } = finding
      const thread = threadIn(space.entry(threadKey(threadOf(head.rule, head.subject))).cells(caseType.id))
      const after = lastOf(thread).map(({ origin, seq }) => ({ origin, seq }))
      this.#config.replica.keep(unnamedKey(space, head, branches), undefined)
      this.#found(desk, { ...finding, id: caseId(head.rule, head.subject, after), head: { ...head, after } }, nowMs)
    }
  }

  #write(desk: Desk, ready: ReadonlyMap<string, Finding>, nowMs: number): boolean {
    const { space } = desk
    desk.writing = ready
    try {
      this.#config.replica.transact(space, { nowMs, agent: author, reason: 'conflict' }, (change) => {
        for (const finding of ready.values()) this.#run(change, space.entry(caseKey(finding.id)), 'open', { finding })
      })
      return true
    } catch (error) {
      // The disk is behind, or a fork is being settled: it stays pending.
      if (error instanceof SkeinError) return false
      throw error
    } finally {
      desk.writing = undefined
    }
  }

  #run(change: Parameters<Parameters<Replica['transact']>[2]>[0], entry: Entry, name: string, args: object): void {
    const operation = caseType.operations[name]
    if (operation !== undefined) change.run(entry, caseType, operation, args as Readonly<Record<string, unknown>>)
  }

  /** Cells of the system's own changed: rules, or cases. */
  #system(desk: Desk, delta: Delta, own: boolean, nowMs: number): void {
    const { space } = desk
    const news = new Map<string, Set<CaseCell | QueueCell>>()
    for (const { key, path, value } of delta.writes) {
      if (key === rulesKey) this.#setRules(desk)
      if (key.startsWith(purgePrefix)) {
        for (const purge of purgeType.read(space.entry(key).cells(purgeType.id)).value.purges) this.purged(space, purge)
      }
      const queued = queueIdOf(key)
      const id = queued ?? caseIdOf(key)
      if (id === undefined) continue
      let cells = news.get(id)
      if (cells === undefined) news.set(id, (cells = new Set<CaseCell | QueueCell>()))
      const said =
        queued !== undefined && value !== undefined
          ? queueCell(path, space.entry(key).cells(queueType.id).get(path))
          : undefined
      if (said !== undefined) cells.add(said)
      // What another has written too is no news.
      const cell = queued === undefined ? caseCell(path) : undefined
      if (cell !== undefined && space.entry(key).cells(caseType.id).get(path).length === 1) cells.add(cell)
    }
    for (const [id, cells] of news) {
      this.#dropWritten(desk, id)
      this.errands.look(space, id)
      if (cells.size === 0) continue
      if (!own) desk.turns.moved(nowMs)
      const known = this.case(space, id)
      if (known === undefined) continue
      const { rule, severity, safe, state, decisions, revision } = known
      const { agent, reason } = delta
      const tell = (change: ConflictEvent['change']): void => {
        const details = this.#detailsOf(space, known, change, nowMs)
        const fact = {
          what: change,
          space: space.name,
          id,
          rule,
          agent,
          reason,
          revision,
          dot: dotName(delta),
          details,
        }
        this.audit.append(fact, nowMs)
        const { people } = desk.rules.workflow
        const by = agent.startsWith('policy:') ? 'policy' : names(people, agent) ? 'person' : 'agent'
        this.#config.event({
          space: space.name,
          id,
          rule,
          severity,
          keys: keysOf(known),
          change,
          local: own,
          ...(change === 'settled' && { by }),
          ...(change === 'opened' && { repeats: this.#thread(space, known).length }),
        })
      }
      const isNew = cells.has('head') && !cells.has('decision')
      if (!isNew || safe === 'hold') this.#hold(desk, id, known)
      if (cells.has('head')) tell('opened')
      for (const said of queueCells) if (cells.has(said)) tell(said)
      if (isNew) continue
      if (cells.has('decision')) tell(state === 'settled' ? 'settled' : 'reopened')
      else if (cells.has('branch') && state === 'open') tell(decisions.length > 0 ? 'reopened' : 'grown')
    }
  }

  /** What the audit keeps of it beside who and why. */
  #detailsOf(space: Space, known: Case, change: ConflictEvent['change'], nowMs: number): Value {
    if (change === 'opened' || change === 'grown') return known.branches.map(dotName)
    const last = known.decisions.at(-1)
    if (change === 'settled' || change === 'reopened') {
      return last === undefined ? null : { ...choiceValue(last.choice), settles: last.settles.map(dotName) }
    }
    const { owner, snoozed, proposals, notices, compensations } = this.handling(space, known, nowMs)
    switch (change) {
      case 'acknowledged':
        return null
      case 'assigned':
        return owner ?? null
      case 'snoozed':
        return snoozed?.untilMs ?? null
      case 'proposed': {
        const proposal = proposals.at(-1)
        return proposal === undefined
          ? null
          : { ...choiceValue(proposal.choice), confidence: proposal.confidence ?? null }
      }
      case 'notified':
        return notices.map(({ level, node, state }) => [level, node, state])
      case 'compensated':
        return compensations.map(({ key, node, state, receipt = null }) => [key, node, state, receipt])
    }
  }

  #setRules(desk: Desk): void {
    const rules = rulesIn(desk.space.entry(rulesKey).cells(rulesType.id))
    if (equalBytes(rules.bytes, desk.rules.bytes)) return
    desk.rules = rules
    desk.suspended.clear()
    desk.space.met = rules.rules.length === 0 ? undefined : (entry) => this.#met(desk, entry)
    desk.finder = this.#finder(desk.space, rules)
    this.#config.workflow({ kind: 'survey', space: desk.space })
  }

  #found(desk: Desk, finding: Finding, nowMs: number): void {
    const { space } = desk
    const cells = space.entry(caseKey(finding.id)).cells(caseType.id)
    if (isWritten(finding.branches.values(), cells)) return
    const { id } = finding
    const before = desk.pending.get(id)
    if (before !== undefined && [...finding.branches.values()].every((dot) => hasDot(before.branches, dot))) return
    const fact = { what: 'found', space: space.name, id, rule: finding.head.rule, agent: author, reason: undefined }
    const details = [...finding.branches.keys()]
    this.audit.append({ ...fact, revision: '', dot: undefined, details }, nowMs)
    const piece = encodeFinding(finding)
    if (before === undefined && desk.pending.size >= limits.findings) {
      const name = digestOf(details)
      this.#config.replica.keep(rowKey(space, `${id}/${name}`), rowOf(space, piece))
      return
    }
    this.#config.replica.keep(pieceKey(space, id, before?.pieces.length ?? 0), rowOf(space, piece))
    if (this.#add(desk, finding, piece) === undefined) desk.turns.add(id, this.#place(desk, id, nowMs), nowMs)
    if (finding.head.safe === 'hold') this.#hold(desk, id)
    this.#wakeAt = Math.min(this.#wakeAt, desk.turns.nextMs)
  }

  /** What a case holds as it stands now, which is kept. */
  #hold({ space, holds }: Desk, id: string, known: Case | undefined = this.case(space, id)): readonly string[] {
    const keys = heldBy(known)
    if (holds.set(id, keys)) {
      this.#config.replica.keep(heldKey(space, id), keys.length === 0 ? undefined : heldRow(space, id, keys))
    }
    return keys
  }

  #loadHeld(desk: Desk, reader: Reader): void {
    const id = reader.string()
    const keys: string[] = []
    for (let left = reader.array(); left > 0; left--) keys.push(reader.string())
    if (keys.length > 0) desk.holds.set(id, keys)
    else this.#unread(desk, id)
  }

  /** A snapshot was merged into a case, which may not be read in this step: a row says that it is to be looked at. */
  #unread({ space, unread }: Desk, id: string): void {
    this.#config.replica.keep(heldKey(space, id), heldRow(space, id, []))
    unread.push(id)
    this.#wakeAt = -Infinity
  }

  /** What was pending of it before. */
  #add(desk: Desk, { id, branches }: Finding, piece: Uint8Array): Pending | undefined {
    const before = desk.pending.get(id)
    const dots = Array.from(branches.values(), ({ origin, seq }) => ({ origin, seq }))
    if (before === undefined) desk.pending.set(id, { pieces: [desk.slab.copy(piece)], branches: dots })
    else {
      before.pieces.push(desk.slab.copy(piece))
      before.branches.push(...dots.filter((dot) => !hasDot(before.branches, dot)))
    }
    if (desk.latest?.id === id) desk.latest = undefined
    return before
  }

  #pendingOf(desk: Desk, id: string): Finding | undefined {
    const writing = desk.writing?.get(id)
    if (writing !== undefined) return writing
    const pending = desk.pending.get(id)
    if (pending === undefined) return undefined
    if (desk.latest?.id !== id) desk.latest = joined(pending.pieces.flatMap((piece) => decodeFinding(piece) ?? []))
    return desk.latest
  }

  /** How many graces this node waits: none if the rendezvous falls on it. */
  #place(desk: Desk, id: string, nowMs: number): number {
    if (nowMs >= desk.holdersAtMs + holdersMs) {
      desk.holders = this.#config.holders(desk.space)
      desk.holdersAtMs = nowMs
    }
    return placeOf(this.#config.node, desk.holders, id)
  }

  #dropWritten(desk: Desk, id: string): boolean {
    const pending = desk.pending.get(id)
    if (pending === undefined) return false
    const cells = desk.space.entry(caseKey(id)).cells(caseType.id)
    if (!isWritten(pending.branches, cells)) {
      // Whoever decided knew of all of this: it is settled, and nobody is to hear of it again.
      const known = cells.empty ? undefined : readCase(id, cells)
      if (known === undefined || known.decisions.length === 0) return false
      const finding = this.#pendingOf(desk, id)
      if (finding !== undefined && !known.decisions.some((one) => desk.finder.knew(one, finding))) return false
    }
    this.#dropPending(desk, id, pending)
    return true
  }

  #dropPending(desk: Desk, id: string, { pieces }: Pending): void {
    for (let at = 0; at < pieces.length; at++) this.#config.replica.keep(pieceKey(desk.space, id, at), undefined)
    desk.pending.delete(id)
    if (desk.latest?.id === id) desk.latest = undefined
    if (desk.holds.has(id)) this.#hold(desk, id)
  }

  /** What was found and stands in no case yet quotes what is purged: it goes, as the cases do. */
  purged(space: Space, { keys, upTo }: Purge): void {
    const desk = this.#desk(space)
    const isConcerned = ({ branches, ancestors }: Finding): boolean =>
      [...branches.values(), ...ancestors.values()].some(
        (one) => covers(upTo, one) && one.parts.some(({ key }) => keys.includes(key)),
      )
    desk.finder.forget()
    for (const [id, pending] of desk.pending) {
      const finding = this.#pendingOf(desk, id)
      if (finding !== undefined && isConcerned(finding)) this.#dropPending(desk, id, pending)
    }
    desk.unnamed = desk.unnamed.filter((finding) => {
      if (!isConcerned(finding)) return true
      this.#config.replica.keep(unnamedKey(space, finding.head, finding.branches), undefined)
      return false
    })
  }

  #thread(space: Space, { rule, subject }: Case): readonly Dot[] {
    return threadIn(space.entry(threadKey(threadOf(rule, subject))).cells(caseType.id))
  }

  #finder(space: Space, rules: RuleSet): Finder {
    const cells = (id: string): Cells => space.entry(caseKey(id)).cells(caseType.id)
    const pending = (id: string): readonly Dot[] => this.#desks.get(space)?.pending.get(id)?.branches ?? []
    const view = { ...viewOf(space), custom: this.#ask.bind(this, space) }
    return new Finder(view, rules, {
      isFull: (id) => pending(id).length > limits.caseBranches || isFull(cells(id)),
      has: (id, branch) => hasDot(pending(id), branch) || holdsBranch(cells(id), branch),
    })
  }

  #desk(space: Space): Desk {
    let desk = this.#desks.get(space)
    if (desk === undefined) {
      desk = {
        space,
        rules: noRules,
        finder: this.#finder(space, noRules),
        pending: new Map(),
        slab: new Slab(),
        turns: new Turns(),
        untimed: [],
        writing: undefined,
        latest: undefined,
        merging: undefined,
        unnamed: [],
        suspended: new Map(),
        unasked: 0,
        holds: new Holds(),
        unread: [],
        holders: [],
        holdersAtMs: -Infinity,
      }
      this.#desks.set(space, desk)
      const made = desk
      space.remerged = (key) => {
        const id = caseIdOf(key)
        if (id !== undefined) this.#unread(made, id)
      }
      this.#setRules(desk)
    }
    return desk
  }
}

function viewOf(space: Space): Replicated {
  return {
    entry: (key) => space.entry(key),
    origins: () => space.vector.keys(),
    head: (origin) => space.vector.get(origin) ?? 0,
    floor: (origin) => space.logs.get(origin)?.floor ?? 1,
    delta: (dot) => deltaAt(space, dot),
    seen: (origin): Seen => space.logs.get(origin)?.context ?? new Map<OriginId, number>(),
  }
}

function deltaAt(space: Space, { origin, seq }: Dot): Delta | undefined {
  const entry = space.logs.get(origin)?.entry(seq)
  return entry && decodeDelta(origin, seq, entry.body)
}

const row = new Writer()

function rowOf({ name, generation }: Space, piece: Uint8Array): Uint8Array {
  row.begin()
  row.string(name)
  row.number(generation)
  row.bin(piece)
  return row.finish().slice()
}

function rowKey(space: Space, id: string): Uint8Array {
  return localKey(`${rowsName}${space.number}/${id}`)
}

const heldPrefix = localKey(holdsName)

function heldKey(space: Space, id: string): Uint8Array {
  return localKey(`${holdsName}${space.number}/${id}`)
}

/** Without keys: the case is to be looked at. */
function heldRow({ name, generation }: Space, id: string, keys: readonly string[]): Uint8Array {
  row.begin()
  row.string(name)
  row.number(generation)
  row.string(id)
  row.array(keys.length)
  for (const key of keys) row.string(key)
  return row.finish().slice()
}

/** Pieces of a case are counted, and go together. */
function pieceKey(space: Space, id: string, piece: number): Uint8Array {
  return rowKey(space, `${id}/${piece}`)
}

/** What was found of one case at several times. */
function joined(pieces: readonly Finding[]): Finding | undefined {
  const [first, ...others] = pieces
  if (first === undefined || others.length === 0) return first
  return {
    ...first,
    branches: new Map(pieces.flatMap(({ branches }) => [...branches])),
    ancestors: new Map(pieces.flatMap(({ ancestors }) => [...ancestors])),
    others: new Map(pieces.flatMap(({ others: known }) => [...known])),
  }
}

function unnamedKey(space: Space, { rule, subject }: Head, branches: ReadonlyMap<string, Branch>): Uint8Array {
  return rowKey(space, digestOf([rule, subject, [...branches.keys()].sort()]))
}
