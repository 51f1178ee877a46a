/**
 * The conflicts of a node, as programs see them: what is open, with all the evidence; what changes; and deciding. Cases are
 * read from their entries when somebody asks, so that a hundred thousand of them cost memory to nobody.
 */
import { compareUtf8, equalBytes } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { sameDot } from '../crdt/cell.ts'
import type { Dot } from '../crdt/dot.ts'
import type { Choice } from '../merge/case.ts'
import type { Conflict } from '../merge/evidence.ts'
import { isObject, valueIn } from '../merge/deed.ts'
import { isReservedAgent } from '../merge/policy.ts'
import type { WorkflowDeclaration } from '../merge/policy.ts'
import type { Purge } from '../merge/purge.ts'
import { roundOf, stages } from '../merge/queue.ts'
import type { Stage } from '../merge/queue.ts'
import { checkChoice, checkRevision } from '../merge/resolve.ts'
import { severities } from '../merge/rule.ts'
import type { Severity } from '../merge/rule.ts'
import type { RowReader, RowScanner } from '../base/rows.ts'
import type { RuleDeclaration, RuleSet } from '../merge/rule-set.ts'
import { caseIdOf, caseKey, casePrefix } from '../merge/system.ts'
import { AuditCheck, auditHead, auditLine, auditRows } from '../replica/audit.ts'
import type { AuditLine, AuditReport } from '../replica/audit.ts'
import type { ConflictEvent, Conflicts, Saying } from '../replica/conflicts.ts'
import type { Committed } from '../replica/replica.ts'
import type { Space } from '../replica/space.ts'
import type { HistoryItem } from './history.ts'
import { Receipt } from './receipt.ts'
import type { Durability } from './receipt.ts'
import { checkName, checkOptions, checkSettings } from './space-handle.ts'
import type { SpaceHost } from './space-handle.ts'
import { Tally } from './workflow/tally.ts'

export interface ConflictOptions {
  /** Only of this space. */
  readonly space?: string
  /** `open` unless told otherwise. */
  readonly state?: 'open' | 'settled' | 'all'
  /** How far it has come, more exactly; `resolved` and `dismissed` need no `state` beside them. */
  readonly stage?: Stage
  readonly rule?: string
  readonly severity?: Severity
  readonly owner?: string
  /** One of its entries has a key that starts so. */
  readonly prefix?: string
  /** Only those whose time is over, or only the others. */
  readonly overdue?: boolean
}

/** What every call on one conflict takes. */
export interface ConflictCall {
  /** Where the conflict is; without it every space is asked. */
  readonly space?: string
  readonly agent?: string
  readonly reason?: string
  readonly durability?: Durability
}

export interface AssignOptions extends ConflictCall {
  /** Whose it is from now on; null for nobody's. */
  readonly to: string | null
}

/** Until then, or for so long: one of the two. A time that is over ends it. */
export type SnoozeOptions = ConflictCall & ({ readonly untilMs: number } | { readonly forMs: number })

export interface ResolveOptions extends ConflictCall {
  /** The revision that was looked at: the decision holds for that, or not at all. */
  readonly revision: string
  readonly choice: Choice
}

export interface ProposeOptions extends ResolveOptions {
  /** How sure whoever proposes is, from 0 to 1. */
  readonly confidence?: number
}

/** A change of an entry that has a part in a conflict. */
export interface ConflictHistoryItem extends HistoryItem {
  readonly key: string
  /** It is a branch of the conflict. */
  readonly isBranch: boolean
  /** The branches whose writers had seen it, of the first few. */
  readonly seenBy: readonly Dot[]
}

/** A reader was too slow, and events were dropped: list the conflicts instead. */
export interface ConflictGap {
  readonly change: 'gap'
}

export interface ConflictsStatus {
  readonly space: string
  readonly open: number
  readonly settled: number
  /** Found here, and in no case that all have. */
  readonly pending: number
  /** Comparisons that could not be made, since one side had left the log. */
  readonly missed: number
  /** The version of the rules; 0 without any. */
  readonly rulesVersion: number
  readonly rules: readonly string[]
  /** Rules of a newer version, which say nothing here. */
  readonly notEvaluated: readonly string[]
}

/** Where the lines of the audit stand. */
export interface AuditRows {
  /** Resolves when everything that was written so far stands there. */
  flush(): Promise<void>
  snapshot(): RowScanner & RowReader & Disposable
}

export interface AuditOptions {
  /** Only lines after that one, by number. */
  readonly after?: number
  readonly space?: string
  /** Only of this conflict. */
  readonly id?: string
}

/** What raises conflicts in a space, who people are there, and what may be settled without them. */
export interface SpaceRules extends WorkflowDeclaration {
  /** 0 without any. */
  readonly version: number
  readonly rules: readonly RuleDeclaration[]
  /** Rules of a newer version, which say nothing here. */
  readonly notEvaluated: readonly string[]
}

interface Feed {
  queue: (ConflictEvent | ConflictGap)[]
  wake: (() => void) | undefined
  ended: boolean
}

const states: readonly unknown[] = ['open', 'settled', 'all']
const callOptions = ['space', 'agent', 'reason', 'durability'] as const
/** Of the history before the first branch, and of all. Guesses: a screen, and what one reads on. */
const itemsBefore = 10
const itemsAround = 50
/** Entries whose history is read, and branches of which it is told what they knew: each reads the log once. A guess. */
const keysAround = 8
const branchesAround = 8

export class NodeConflicts {
  readonly #host: SpaceHost
  readonly #conflicts: Conflicts
  readonly #rows: AuditRows
  readonly #feeds = new Set<Feed>()
  /** @internal What is open, for figures. */
  readonly tally: Tally = new Tally()

  constructor(host: SpaceHost, conflicts: Conflicts, rows: AuditRows) {
    this.#host = host
    this.#conflicts = conflicts
    this.#rows = rows
  }

  /** Conflicts with their evidence: space by space in the order of their names, each in the order of ids. */
  async *list(options: ConflictOptions = {}): AsyncGenerator<Conflict, void, void> {
    const wanted = filterOf(options)
    for await (const conflict of this.scan(options.space)) if (wanted(conflict)) yield conflict
  }

  /** @internal All there are, in that order, from behind a place in it. */
  async *scan(
    space?: string,
    behind?: { readonly space: string; readonly id: string },
  ): AsyncGenerator<Conflict, void, void> {
    const spaces = this.#spaces(space).toSorted((one, other) => compareUtf8(one.name, other.name))
    for (const each of spaces) {
      const order = behind === undefined ? 1 : compareUtf8(each.name, behind.space)
      if (order >= 0) yield* this.#all(each, order === 0 ? behind?.id : undefined)
    }
  }

  get(id: string, options: { readonly space?: string } = {}): Conflict | undefined {
    for (const space of this.#spaces(checkOptions(options, ['space']).space)) {
      const conflict = this.#conflicts.evidence(this.#host.replica.read(space), checkId(id), this.#host.now())
      if (conflict !== undefined) return conflict
    }
    return undefined
  }

  /**
   * What was done to its entries around it, oldest first, as far back as the log of this node goes, and which of it each side
   * knew.
   */
  async history(id: string, options: { readonly space?: string } = {}): Promise<readonly ConflictHistoryItem[]> {
    for (const space of this.#spaces(checkOptions(options, ['space']).space)) {
      const conflict = this.#conflicts.evidence(this.#host.replica.read(space), checkId(id), this.#host.now())
      if (conflict !== undefined) return this.#around(space, conflict)
    }
    return []
  }

  async #around(space: Space, { keys, branches }: Conflict): Promise<readonly ConflictHistoryItem[]> {
    const isBranch = (dot: Dot): boolean => branches.some((branch) => sameDot(branch.dot, dot))
    const all: (HistoryItem & { readonly key: string })[] = []
    for (const key of keys.slice(0, keysAround)) {
      for (const item of await this.#host.history(space, key)) all.push({ key, ...item })
    }
    all.sort((one, other) => one.at - other.at)
    const first = all.findIndex(({ dot }) => isBranch(dot))
    const from = first < 0 ? Math.max(0, all.length - itemsAround) : Math.max(0, first - itemsBefore)
    const items = all.slice(from, from + itemsAround)
    const origins = [...new Set(items.map(({ dot }) => dot.origin))]
    const knew = branches.slice(0, branchesAround).map(({ dot }) => {
      const upTo = new Map(origins.map((origin) => [origin, this.#conflicts.sawUpTo(space, dot, origin)]))
      return { dot, saw: ({ origin, seq }: Dot): boolean => seq <= (upTo.get(origin) ?? 0) }
    })
    return items.map((item) => ({
      ...item,
      isBranch: isBranch(item.dot),
      seenBy: knew.filter(({ saw }) => saw(item.dot)).map(({ dot }) => dot),
    }))
  }

  /**
   * Decides a conflict: in one delta, on the revision that was looked at. The same decision twice is one. Throws
   * `conflict_changed` where there is another branch by now.
   */
  resolve(id: string, options: ResolveOptions): Receipt {
    const { revision, choice, ...rest } = checkOptions(options, ['revision', 'choice', ...callOptions])
    checkDecision(revision, choice)
    return this.#write(id, rest, (space, agent, reason, nowMs) =>
      this.#conflicts.resolve(space, id, { choice, revision, agent, reason }, nowMs),
    )
  }

  /** Takes note of a conflict: whoever lists them sees that somebody has. Holds until it was settled and opens again. */
  ack(id: string, options: ConflictCall = {}): Receipt {
    return this.#say(id, checkOptions(options, callOptions), 'acknowledge', (known) => ({ round: roundOf(known) }))
  }

  /** Says whose it is. */
  assign(id: string, options: AssignOptions): Receipt {
    const { to, ...rest } = checkOptions(options, ['to', ...callOptions])
    if (to !== null) checkName(to, 'agent name', limits.agentBytes)
    return this.#say(id, rest, 'assign', () => ({ to: to ?? undefined }))
  }

  /** Puts it off: until then it troubles nobody, and is not overdue. */
  snooze(id: string, options: SnoozeOptions): Receipt {
    const { untilMs, forMs, ...rest } = checkOptions(
      options as ConflictCall & Partial<Record<'untilMs' | 'forMs', number>>,
      ['untilMs', 'forMs', ...callOptions],
    )
    const nowMs = this.#host.now()
    const until = untilMs ?? nowMs + (forMs ?? Number.NaN)
    if ((untilMs === undefined) === (forMs === undefined) || !Number.isSafeInteger(until) || until < 0) {
      throw new SkeinError('invalid_argument', 'untilMs or forMs: one of them, a whole number of milliseconds from 0')
    }
    if (until > nowMs + limits.ttlMs) throw new SkeinError('invalid_argument', 'snooze: that is too far away')
    return this.#say(id, rest, 'snooze', (known) => ({ until, round: roundOf(known) }))
  }

  /** Puts a decision before whoever decides: it is recorded as a proposal, and changes nothing else. */
  propose(id: string, options: ProposeOptions): Receipt {
    const { revision, choice, confidence, ...rest } = checkOptions(options, [
      'revision',
      'choice',
      'confidence',
      ...callOptions,
    ])
    checkDecision(revision, choice)
    if (confidence !== undefined && !(confidence >= 0 && confidence <= 1)) {
      throw new SkeinError('invalid_argument', 'confidence is a number from 0 to 1')
    }
    return this.#say(id, rest, 'propose', (known) => {
      checkRevision(known, revision)
      checkChoice(known, choice)
      return { proposing: { choice, revision, confidence } }
    })
  }

  #say(id: string, call: ConflictCall, name: Saying['name'], args: Saying['args']): Receipt {
    return this.#write(id, call, (space, agent, reason, nowMs) =>
      this.#conflicts.say(space, id, { name, args, agent, reason }, nowMs),
    )
  }

  #write(
    id: string,
    { space, ...settings }: ConflictCall,
    write: (space: Space, agent: string, reason: string | undefined, nowMs: number) => Committed<unknown>,
  ): Receipt {
    const { agent, reason, durability } = checkSettings(settings)
    if (agent !== undefined && isReservedAgent(agent)) {
      throw new SkeinError('invalid_key', `the agent name ${agent} is the system's own here`)
    }
    const host = this.#host
    const asked = durability ?? host.settings.durability
    host.writable(asked)
    const found = this.#spaces(space).find((each) => this.#conflicts.case(host.replica.read(each), checkId(id)))
    if (found === undefined) throw new SkeinError('unknown_conflict', `there is no conflict ${id}`, { id })
    const { dot, batch } = write(found, agent ?? host.settings.agent, reason, host.now())
    if (dot === undefined) return new Receipt(host, undefined, undefined, dot, host.settled(found, asked))
    host.wrote(batch, asked)
    return new Receipt(host, undefined, found, dot, batch)
  }

  /** What changes from the call on. Bounded: a slow reader is told that there is a gap. */
  watch(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<ConflictEvent | ConflictGap, void, void> {
    this.#host.readable()
    const { signal } = checkOptions(options, ['signal'])
    const feed: Feed = { queue: [], wake: undefined, ended: false }
    this.#feeds.add(feed)
    const stop = (): void => {
      feed.ended = true
      feed.wake?.()
    }
    signal?.addEventListener('abort', stop)
    if (signal?.aborted === true) stop()
    return this.#read(feed)
  }

  async *#read(feed: Feed): AsyncGenerator<ConflictEvent | ConflictGap, void, void> {
    try {
      for (;;) {
        const event = feed.queue.shift()
        if (event !== undefined) yield event
        else if (feed.ended) return
        else {
          await new Promise<void>((resolve) => {
            feed.wake = resolve
          })
          feed.wake = undefined
        }
      }
    } finally {
      this.#feeds.delete(feed)
    }
  }

  /** How many there are, and what is not looked at. Reads every case. */
  async stats(options: { readonly space?: string } = {}): Promise<readonly ConflictsStatus[]> {
    const found: ConflictsStatus[] = []
    for (const space of this.#spaces(checkOptions(options, ['space']).space)) {
      const counts = { open: 0, settled: 0 }
      for await (const { state } of this.#all(space)) counts[state]++
      const { rules, version } = this.#conflicts.rules(space)
      found.push({
        space: space.name,
        ...counts,
        ...this.#conflicts.stats(space),
        rulesVersion: version,
        rules: rules.map(({ name }) => name),
      })
    }
    return found
  }

  /** Everything that this node has found, heard, decided and done about conflicts, the oldest first. */
  async *audit(options: AuditOptions = {}): AsyncGenerator<AuditLine, void, void> {
    this.#host.readable()
    const { after = 0, space, id } = checkOptions(options, ['after', 'space', 'id'])
    if (!Number.isSafeInteger(after) || after < 0) throw new SkeinError('invalid_argument', 'after is a number from 0')
    await this.#rows.flush()
    using snapshot = this.#rows.snapshot()
    for await (const page of snapshot.range(auditRows)) {
      for (const [, row] of page) {
        const line = auditLine(row)
        if (line === undefined || line.number <= after) continue
        if ((space === undefined || line.space === space) && (id === undefined || line.id === id)) yield line
      }
    }
  }

  /** Proves that the audit is whole: each line follows the one before, and none was changed, left out or put in. */
  async verifyAudit(): Promise<AuditReport> {
    this.#host.readable()
    await this.#rows.flush()
    using snapshot = this.#rows.snapshot()
    const check = new AuditCheck(auditHead(snapshot))
    for await (const page of snapshot.range(auditRows)) for (const [key, row] of page) check.take(key, row)
    return check.end()
  }

  /** The rules of a space, as they can be declared again. */
  rules(space: string): SpaceRules {
    const [found] = this.#spaces(space)
    const { version, rules, notEvaluated, bytes } = this.#conflicts.rules(found as Space)
    const declared = valueIn(bytes)
    return {
      ...(isObject(declared) && (declared['workflow'] as WorkflowDeclaration | undefined)),
      version,
      rules: rules.map(({ name, kind, prefix, severity, safe, decides, settings }) => ({
        rule: kind.name,
        name,
        prefix,
        severity,
        safe,
        decides,
        ...settings,
      })),
      notEvaluated,
    }
  }

  /** @internal Of a space that a program opens with rules: those that are there stand where they are newer. */
  declare(space: Space, rules: RuleSet, agent: string = this.#host.settings.agent): void {
    const host = this.#host
    host.writable()
    const { dot, batch } = this.#conflicts.declare(space, rules, host.now(), agent)
    if (dot !== undefined) host.wrote(batch, host.settings.durability)
  }

  /** @internal Would these rules be taken, or are they there? Others of their version, and newer ones, stand. */
  takes(space: Space, { version, bytes }: RuleSet): boolean {
    const present = this.#conflicts.rules(space)
    return present.version < version || (present.version === version && equalBytes(present.bytes, bytes))
  }

  /** @internal */
  tell(event: ConflictEvent): void {
    this.tally.event(event, this.#host.now())
    for (const feed of this.#feeds) {
      if (feed.queue.length >= limits.watchBuffer) feed.queue = [{ change: 'gap' }]
      feed.queue.push(event)
      feed.wake?.()
    }
  }

  /** @internal Again once the log has let go of it: it may have come with a snapshot, or been found meanwhile. */
  purged(space: Space, purge: Purge): void {
    this.#conflicts.purged(space, purge)
  }

  /** @internal The node closes. */
  end(): void {
    for (const feed of this.#feeds) {
      feed.ended = true
      feed.wake?.()
    }
  }

  /** What stands in cases, and in between what only this node knows. */
  async *#all(space: Space, behind: string = ''): AsyncGenerator<Conflict, void, void> {
    const waiting = this.#conflicts
      .pending(space)
      .filter((id) => id > behind)
      .sort()
    let next = 0
    const evidence = (id: string): Iterable<Conflict> => {
      const conflict = this.#conflicts.evidence(space, id, this.#host.now())
      return conflict === undefined ? [] : [conflict]
    }
    for await (const { key } of this.#host.entries(space, casePrefix, behind === '' ? '' : caseKey(behind))) {
      const id = caseIdOf(key) ?? ''
      for (; next < waiting.length && (waiting[next] as string) <= id; next++) {
        if (waiting[next] !== id) yield* evidence(waiting[next] as string)
      }
      yield* evidence(id)
    }
    for (const id of waiting.slice(next)) yield* evidence(id)
  }

  #spaces(name: string | undefined): readonly Space[] {
    this.#host.readable()
    const { replica } = this.#host
    if (name === undefined) return replica.spaces
    const space = replica.find(name)
    if (space !== undefined) return [space]
    throw new SkeinError('invalid_argument', `there is no space ${name} on this node`, { space: name })
  }
}

/** @internal Checks a filter, and makes a question of it. */
export function filterOf(options: ConflictOptions): (conflict: Conflict) => boolean {
  const { stage, rule, severity, owner, prefix, overdue, ...rest } = checkOptions(options, [
    'space',
    'state',
    'stage',
    'rule',
    'severity',
    'owner',
    'prefix',
    'overdue',
  ])
  const state = rest.state ?? (stage === 'resolved' || stage === 'dismissed' ? 'settled' : 'open')
  oneOf(state, states, 'state')
  if (stage !== undefined) oneOf(stage, stages, 'stage')
  if (severity !== undefined) oneOf(severity, severities, 'severity')
  if (prefix !== undefined && typeof prefix !== 'string') throw new SkeinError('invalid_argument', 'prefix is a string')
  if (overdue !== undefined && typeof overdue !== 'boolean') {
    throw new SkeinError('invalid_argument', 'overdue is true or false')
  }
  return (conflict) =>
    (state === 'all' || conflict.state === state) &&
    (stage === undefined || conflict.stage === stage) &&
    (rule === undefined || conflict.rule === rule) &&
    (severity === undefined || conflict.severity === severity) &&
    (owner === undefined || conflict.owner === owner) &&
    (prefix === undefined || conflict.keys.some((key) => key.startsWith(prefix))) &&
    (overdue === undefined || conflict.overdue === overdue)
}

function oneOf(given: unknown, known: readonly unknown[], name: string): void {
  if (!known.includes(given)) throw new SkeinError('invalid_argument', `${name} must be one of ${known.join(', ')}`)
}

function checkDecision(revision: unknown, choice: unknown): void {
  if (typeof revision !== 'string') throw new SkeinError('invalid_argument', 'revision is a string, as it was read')
  if (typeof choice !== 'object' || choice === null) throw new SkeinError('invalid_argument', 'choice is an object')
}

function checkId(id: unknown): string {
  if (typeof id === 'string' && /^[0-9a-f]{32}$/.test(id)) return id
  throw new SkeinError('unknown_conflict', 'a conflict is named by 32 hexadecimal digits', { id })
}
