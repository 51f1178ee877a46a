/**
 * The conflicts of a replica: what the finder finds at the door is kept in a row of the batch of the delta that made it,
 * until it stands in its case. One node writes a case, by rendezvous among those that are alive and hold the space; each
 * of the others does so when its turn comes and the case is still not whole. So nothing is lost with its finder, and
 * mostly it is written once; twice written it says the same.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { equalBytes, utf8 } from '../base/bytes.ts'
import { checksum32 } from '../base/hash.ts'
import { Reader, Writer } from '../base/msgpack.ts'
import type { RowRange } from '../base/rows.ts'
import { decodeDelta } from '../crdt/delta.ts'
import type { Delta } from '../crdt/delta.ts'
import type { Dot, OriginId, Seen } from '../crdt/dot.ts'
import type { ChangeSet, Entry } from '../crdt/change.ts'
import type { Cells } from '../crdt/type.ts'
import {
  caseCell,
  caseId,
  caseType,
  choiceDigest,
  decodeFinding,
  dotName,
  encodeFinding,
  holdsBranch,
  isFull,
  isWritten,
  lastOf,
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
import { checkChoice, settle } from '../merge/resolve.ts'
import type { Severity } from '../merge/rule.ts'
import { noRules, rulesIn, rulesType } from '../merge/rule-set.ts'
import type { RuleSet } from '../merge/rule-set.ts'
import { caseIdOf, caseKey, digestOf, isSystemKey, rulesKey, threadKey } from '../merge/system.ts'
import type { Replicated } from '../merge/window.ts'
import type { Applied, Committed, Replica } from './replica.ts'
import { localKey, prefixRange } from './row-keys.ts'
import type { Space } from './space.ts'

export interface ConflictsConfig {
  readonly replica: Replica
  /** This node, among those that may write a case. */
  readonly node: string
  /** The living members that hold a space, without this node. */
  holders(space: Space): readonly string[]
  event(event: ConflictEvent): void
}

export interface ConflictEvent {
  readonly space: string
  readonly id: string
  readonly rule: string
  readonly severity: Severity
  /**
   * `opened`: it is new here. `grown`: it has a branch more. `reopened`: one that was decided has, or was decided twice,
   * differently.
   */
  readonly change: 'opened' | 'grown' | 'reopened' | 'settled'
  /** Written here, rather than received. */
  readonly local: boolean
}

export interface Resolution {
  readonly choice: Choice
  /** The revision that was looked at. */
  readonly revision: string
  readonly agent: string
  readonly reason: string | undefined
}

/** How long the next in turn waits before it writes a case that somebody else was to write. A guess: some round trips. */
const graceMs = 2_000
/** Beyond so many nobody waits longer. */
const mostGraces = 8
/** In a storm the members are not looked through for each finding. */
const holdersMs = 250
/** Found in an earlier life: what others wrote of it since may be on its way. */
const untimed = -Infinity
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
  /** The keys of their rows. */
  readonly rows: Uint8Array[]
  /** The branches in them. */
  readonly branches: Set<string>
  /** When this node writes it, if it is still not written. */
  turnMs: number
}

interface Desk {
  readonly space: Space
  rules: RuleSet
  finder: Finder
  readonly pending: Map<string, Pending>
  /** The pending one that was looked at last, as long as nothing was added to it. */
  latest: Finding | undefined
  /** The snapshot that is being merged, by its vector, and what stands against it. */
  merging: { readonly with: Seen; readonly own: OwnSide } | undefined
  /** Found while a snapshot was merged, when no entry could be read. */
  unnamed: Finding[]
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
  wakeAt: number = Infinity

  constructor(config: ConflictsConfig) {
    this.#config = config
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
    const finding = decodeFinding(reader.bin())
    if (finding === undefined || space?.generation !== generation) return
    const desk = this.#desk(space)
    if (finding.id === '') desk.unnamed.push(finding)
    else this.#add(desk, finding, key.slice(), untimed)
    this.wakeAt = -Infinity
  }

  /** A delta was applied. What it was found to be against goes into the batch that carries it. */
  applied({ space, delta, own, fault }: Applied, nowMs: number): void {
    const desk = this.#desk(space)
    if (delta.writes.some(({ key }) => isSystemKey(key))) this.#system(desk, delta, own)
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
    const { pending, finder, rules } = this.#desk(space)
    return { pending: pending.size, missed: finder.missed, notEvaluated: rules.notEvaluated }
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

  evidence(space: Space, id: string): Conflict | undefined {
    const known = this.case(space, id)
    return known && evidenceOf(space.name, known, this.#thread(space, known).length)
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
    if (known.revision !== revision) {
      throw new SkeinError('conflict_changed', `conflict ${id} is at revision ${known.revision}`, {
        id,
        revision: known.revision,
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
    if (nowMs < this.wakeAt) return
    let next = Infinity
    for (const desk of this.#desks.values()) {
      if (desk.space.deleted) {
        this.#desks.delete(desk.space)
        continue
      }
      this.#name(desk, nowMs)
      for (const id of desk.unread.splice(0)) this.#hold(desk, id)
      const ready: Finding[] = []
      let sizeBytes = 0
      let soonest = Infinity
      for (const [id, pending] of desk.pending) {
        const size = pending.pieces.reduce((sum, { length }) => sum + length, 0)
        if (pending.turnMs === untimed) pending.turnMs = nowMs + graceMs * (1 + this.#place(desk, id, nowMs))
        const { turnMs } = pending
        const isFull = ready.length >= limits.casesAtOnce || (ready.length > 0 && sizeBytes + size > bytesAtOnce)
        if (isFull) {
          soonest = nowMs
          break
        }
        if (turnMs > nowMs) {
          soonest = Math.min(soonest, turnMs)
          continue
        }
        if (this.#dropWritten(desk, id)) continue
        ready.push(this.#pendingOf(desk, id) as Finding)
        sizeBytes += size
      }
      if (ready.length > 0 && !this.#write(desk, ready, wallMs)) soonest = nowMs + retryMs
      next = Math.min(next, soonest)
    }
    this.wakeAt = next
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
      this.#config.replica.keep(unnamedKey(space, head, branches), rowOf(space, finding))
      this.wakeAt = -Infinity
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

  #write({ space }: Desk, ready: readonly Finding[], nowMs: number): boolean {
    try {
      this.#config.replica.transact(space, { nowMs, agent: author, reason: 'conflict' }, (change) => {
        for (const finding of ready) this.#run(change, space.entry(caseKey(finding.id)), 'open', { finding })
      })
      return true
    } catch (error) {
      // The disk is behind, or a fork is being settled: it stays pending.
      if (error instanceof SkeinError) return false
      throw error
    }
  }

  #run(change: Parameters<Parameters<Replica['transact']>[2]>[0], entry: Entry, name: string, args: object): void {
    const operation = caseType.operations[name]
    if (operation !== undefined) change.run(entry, caseType, operation, args as Readonly<Record<string, unknown>>)
  }

  /** Cells of the system's own changed: rules, or cases. */
  #system(desk: Desk, delta: Delta, own: boolean): void {
    const { space } = desk
    const news = new Map<string, Set<CaseCell>>()
    for (const { key, path } of delta.writes) {
      if (key === rulesKey) this.#setRules(desk)
      const id = caseIdOf(key)
      if (id === undefined) continue
      let cells = news.get(id)
      if (cells === undefined) news.set(id, (cells = new Set<CaseCell>()))
      // What another has written too is no news.
      const cell = caseCell(path)
      if (cell !== undefined && space.entry(key).cells(caseType.id).get(path).length === 1) cells.add(cell)
    }
    for (const [id, cells] of news) {
      this.#dropWritten(desk, id)
      const known = cells.size === 0 ? undefined : this.case(space, id)
      if (known === undefined) continue
      const { rule, severity, state } = known
      const tell = (change: ConflictEvent['change']): void =>
        this.#config.event({ space: space.name, id, rule, severity, change, local: own })
      this.#hold(desk, id, known)
      if (cells.has('head')) tell('opened')
      if (cells.has('decision')) tell(state === 'settled' ? 'settled' : 'reopened')
      else if (!cells.has('head') && state === 'open') tell(known.decisions.length > 0 ? 'reopened' : 'grown')
    }
  }

  #setRules(desk: Desk): void {
    const rules = rulesIn(desk.space.entry(rulesKey).cells(rulesType.id))
    if (equalBytes(rules.bytes, desk.rules.bytes)) return
    desk.rules = rules
    desk.space.met = rules.rules.length === 0 ? undefined : (entry) => this.#met(desk, entry)
    desk.finder = this.#finder(desk.space, rules)
  }

  #found(desk: Desk, finding: Finding, nowMs: number): void {
    const { space } = desk
    const cells = space.entry(caseKey(finding.id)).cells(caseType.id)
    if (isWritten(finding, cells)) return
    const { id } = finding
    const before = desk.pending.get(id)
    if (before !== undefined && [...finding.branches.keys()].every((name) => before.branches.has(name))) return
    if (before === undefined && desk.pending.size >= limits.findings) return
    const turnMs = before?.turnMs ?? nowMs + graceMs * this.#place(desk, id, nowMs)
    const key = pieceKey(space, finding)
    this.#config.replica.keep(key, rowOf(space, finding))
    this.#add(desk, finding, key, turnMs)
    if (finding.head.safe === 'hold') this.#hold(desk, id)
    this.wakeAt = Math.min(this.wakeAt, turnMs)
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
    this.wakeAt = -Infinity
  }

  #add(desk: Desk, finding: Finding, key: Uint8Array, turnMs: number): void {
    const { id, branches } = finding
    let pending = desk.pending.get(id)
    if (pending === undefined) desk.pending.set(id, (pending = { pieces: [], rows: [], branches: new Set(), turnMs }))
    for (const name of branches.keys()) pending.branches.add(name)
    pending.pieces.push(encodeFinding(finding).slice())
    pending.rows.push(key)
    if (desk.latest?.id === id) desk.latest = undefined
  }

  #pendingOf(desk: Desk, id: string): Finding | undefined {
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
    const own = rank(this.#config.node, id)
    let before = 0
    for (const node of desk.holders) if (rank(node, id) < own) before++
    return Math.min(before, mostGraces)
  }

  #dropWritten(desk: Desk, id: string): boolean {
    const finding = this.#pendingOf(desk, id)
    if (finding === undefined) return false
    const cells = desk.space.entry(caseKey(id)).cells(caseType.id)
    if (!isWritten(finding, cells)) {
      // Whoever decided knew of all of this: it is settled, and nobody is to hear of it again.
      const known = readCase(id, cells)
      if (known?.decisions.some((decision) => desk.finder.knew(decision, finding)) !== true) return false
    }
    for (const key of desk.pending.get(id)?.rows ?? []) this.#config.replica.keep(key, undefined)
    desk.pending.delete(id)
    desk.latest = undefined
    if (finding.head.safe === 'hold') this.#hold(desk, id)
    return true
  }

  #thread(space: Space, { rule, subject }: Case): readonly Dot[] {
    return threadIn(space.entry(threadKey(threadOf(rule, subject))).cells(caseType.id))
  }

  #finder(space: Space, rules: RuleSet): Finder {
    const cells = (id: string): Cells => space.entry(caseKey(id)).cells(caseType.id)
    const pending = (id: string): ReadonlySet<string> | undefined => this.#desks.get(space)?.pending.get(id)?.branches
    return new Finder(viewOf(space), rules, {
      isFull: (id) => (pending(id)?.size ?? 0) > limits.caseBranches || isFull(cells(id)),
      has: (id, branch) => pending(id)?.has(dotName(branch)) === true || holdsBranch(cells(id), branch),
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
        latest: undefined,
        merging: undefined,
        unnamed: [],
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

function rowOf({ name, generation }: Space, finding: Finding): Uint8Array {
  row.begin()
  row.string(name)
  row.number(generation)
  row.bin(encodeFinding(finding))
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

/** Another for each piece of a case, whatever came in other lives. */
function pieceKey(space: Space, { id, branches }: Finding): Uint8Array {
  return rowKey(space, `${id}/${digestOf([...branches.keys()])}`)
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

/** Another order of the nodes for each case, the same everywhere. */
function rank(node: string, id: string): number {
  const bytes = utf8(node + id)
  return checksum32(bytes, 0, bytes.length, 0) >>> 0
}

function unnamedKey(space: Space, { rule, subject }: Head, branches: ReadonlyMap<string, Branch>): Uint8Array {
  return rowKey(space, digestOf([rule, subject, [...branches.keys()].sort()]))
}
