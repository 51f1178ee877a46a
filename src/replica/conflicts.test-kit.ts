/** A few replicas that find conflicts, with deltas carried between them by hand: for the tests of merging. */
import { SkeinError } from '../base/errors.ts'
import { cellKey } from '../crdt/change.ts'
import type { ChangeSet } from '../crdt/change.ts'
import type { Sibling } from '../crdt/cell.ts'
import type { OriginId, Vector } from '../crdt/dot.ts'
import type { Delta } from '../crdt/delta.ts'
import type { CrdtType } from '../crdt/type.ts'
import { record } from '../crdt/types/record.ts'
import { typeOf } from '../crdt/types/table.ts'
import type { Choice } from '../merge/case.ts'
import type { Conflict } from '../merge/evidence.ts'
import type { WorkflowDeclaration } from '../merge/policy.ts'
import { roundOf } from '../merge/queue.ts'
import { declareRules } from '../merge/rule-set.ts'
import type { RuleDeclaration } from '../merge/rule-set.ts'
import type { CustomFunctions, Meeting } from '../merge/rules/custom.ts'
import { caseIdOf } from '../merge/system.ts'
import { joining, noCells } from './adoption.ts'
import { Conflicts, findingRows } from './conflicts.ts'
import type { ConflictEvent, Saying, WorkflowEvent } from './conflicts.ts'
import type { Abilities, Errand, Outcome } from './errands.ts'
import { entryKeyOf, spaceRange, table } from './row-keys.ts'
import type { Replica } from './replica.ts'
import { MapRows, cellsOf, commit, openReplica } from './rows.test-kit.ts'
import type { Space } from './space.ts'
import { headOf, standsOf } from './stands.ts'

export const startMs = 1_800_000_000_000

/** Every delta of a history, with all that its writer had seen. */
export interface Written {
  readonly delta: Delta
  readonly seen: Vector
}

/** True where both changes put a status of `doing` somewhere. */
function areBothDoing({ changes }: Meeting): boolean {
  return changes.every(({ writes }) =>
    writes.some(({ path, value }) => JSON.stringify(path) === '["status"]' && value === 'doing'),
  )
}

/** As a node has them, without the room of their own. */
const functions: CustomFunctions = {
  has: (name, version) => ['both-doing', 'broken'].includes(name) && version === 1,
  run: (name, _, meeting) => {
    if (name === 'broken') throw new Error('it is broken')
    return areBothDoing(meeting)
  },
}

export class Site {
  readonly number: number
  readonly node: string
  rows: MapRows = new MapRows()
  replica: Replica
  space: Space
  conflicts: Conflicts
  readonly events: ConflictEvent[] = []
  readonly failures: string[] = []
  /** Why the last write was refused, if it was. */
  refused: SkeinError | undefined = undefined
  /** What it is to do outside. */
  readonly errands: Errand[] = []
  /** It is gone: nobody counts on it. */
  isDown: boolean = false
  #surveys = false
  readonly #history: History

  constructor(history: History, number: number) {
    this.number = number
    this.#history = history
    this.node = String.fromCharCode(97 + number).repeat(16)
    ;[this.replica, this.conflicts] = this.#open()
    this.space = this.replica.open('s')
  }

  #open(): [Replica, Conflicts] {
    const history = this.#history
    const replica: Replica = openReplica(this.rows, this.node, {
      applied: (event) => {
        if (event.own) {
          const seen = new Map(event.space.vector)
          history.written.push({ delta: event.delta, seen })
        }
        conflicts.applied(event, history.nowMs)
      },
    })
    const conflicts = new Conflicts({
      replica,
      rows: this.rows,
      node: this.node,
      holders: () => history.sites.filter((site) => site !== this && !site.isDown).map(({ node }) => node),
      event: (event) => this.events.push(event),
      abilities: history.abilities,
      workflow: (event) => this.#workflow(event),
      custom: functions,
      failed: (error) => this.failures.push(error.message),
    })
    return [replica, conflicts]
  }

  #workflow(event: WorkflowEvent): void {
    if (event.kind === 'errand') this.errands.push(event.errand)
    else this.#surveys = true
  }

  /** Looks at every case again, as a node does once rows have been read. */
  survey(): void {
    if (!this.#surveys) return
    this.#surveys = false
    for (const id of this.ids()) this.conflicts.errands.look(this.space, id)
  }

  /** Comes back from everything that this site was to do outside. */
  back(outcome: (errand: Errand) => Outcome): Errand[] {
    const done = this.errands.splice(0)
    const { nowMs } = this.#history
    for (const errand of done) this.conflicts.errands.back([errand], outcome(errand), nowMs, nowMs)
    return done
  }

  /** As after a crash right behind a commit. */
  restart(): void {
    commit(this.replica, this.rows)
    ;[this.replica, this.conflicts] = this.#open()
    this.space = this.replica.open('s')
    for (const [key, value] of this.rows.list(findingRows)) this.conflicts.load(key, value)
  }

  commit(): void {
    commit(this.replica, this.rows)
  }

  /** Runs an operation; false where it was refused. */
  write(
    key: string,
    type: CrdtType,
    name: string,
    args: object = {},
    agent: string = `agent-${this.node[0]}`,
  ): boolean {
    return this.transact(agent, [[key, type, name, args]])
  }

  transact(agent: string, steps: readonly (readonly [string, CrdtType, string, object])[]): boolean {
    return this.#transact(agent, (change) => {
      for (const [key, type, name, args] of steps) {
        const operation = type.operations[name]
        if (operation === undefined) throw new Error(`no ${name}`)
        change.run(this.space.entry(key), type, operation, args as Record<string, unknown>)
      }
    })
  }

  /** As a program writes: what an open conflict holds is refused. */
  #transact(agent: string, work: (change: ChangeSet) => void): boolean {
    this.#history.nowMs++
    this.refused = undefined
    try {
      this.replica.transact(this.space, { nowMs: this.#history.nowMs, agent, reason: undefined }, (change) => {
        work(change)
        this.conflicts.admit(this.space, change)
      })
      return true
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      this.refused = error
      return false
    }
  }

  /** Deletes an entry; false where that was refused. */
  remove(key: string): boolean {
    return this.#transact(`agent-${this.node[0]}`, (change) => change.delete(this.space.entry(key), typeOf))
  }

  declare(rules: readonly RuleDeclaration[], version?: number, beside?: WorkflowDeclaration): string {
    const set = declareRules(rules, version, beside)
    return this.conflicts.declare(this.space, set, ++this.#history.nowMs, 'owner').result
  }

  /** Takes over up to so many deltas of one origin that the other has. */
  takeFrom(other: Site, origin: OriginId, most: number): void {
    for (let left = most, seq = (this.space.vector.get(origin) ?? 0) + 1; left > 0; left--, seq++) {
      const entry = other.space.logs.get(origin)?.entry(seq)
      if (entry === undefined) return
      this.replica.receive(this.space, { origin, seq }, entry.body, this.#history.nowMs)
    }
  }

  takeAll(other: Site): void {
    for (const origin of other.space.vector.keys()) this.takeFrom(other, origin, Infinity)
  }

  /** Takes over what the other has as a snapshot, as where its log does not reach back. */
  merge(other: Site): void {
    const mine = new Map(this.space.vector)
    const { stands, vector } = other.space.moment()
    // Through the form in which they are told: numbers of origins are each replica's own.
    const heads = stands.map((stand, at) => headOf(other.space, stand, stands[at - 1]?.context))
    const staged = new Map<string, Map<string, Sibling[]>>()
    other.commit()
    for (const [key, type, path, siblings] of cellsOf(other.rows, other.space)) {
      const cells = staged.get(key) ?? new Map<string, Sibling[]>()
      staged.set(key, cells.set(cellKey(type, path), siblings.map(plain)))
    }
    this.commit()
    const keys = new Set([...staged.keys(), ...cellsOf(this.rows, this.space).map(([key]) => key)])
    this.replica.merge(this.space, 0, this.#history.nowMs, heads, () => {
      for (const key of keys) {
        this.space.mergeEntry(this.space.entry(key), staged.get(key) ?? noCells, joining(mine, vector))
      }
      this.space.raise(standsOf(this.space, [heads]))
    })
    this.conflicts.merged(this.space)
  }

  /** Writes what is due, once so much time has passed. */
  due(): void {
    this.conflicts.due(this.#history.nowMs, this.#history.nowMs)
  }

  read(key: string, type: CrdtType): unknown {
    return type.read(this.space.entry(key).cells(type.id)).value
  }

  siblings(key: string, type: CrdtType, path: string): number {
    return this.space.entry(key).at(cellKey(type.id, path)).length
  }

  /** Ids of the cases in the space, and of what this node has found and not written. */
  ids(): string[] {
    this.commit()
    const ids = new Set(this.conflicts.pending(this.space))
    for (const [rowKey] of this.rows.list(spaceRange(table.entry, this.space.number))) {
      const id = caseIdOf(entryKeyOf(rowKey))
      if (id !== undefined) ids.add(id)
    }
    return [...ids].sort()
  }

  all(): Conflict[] {
    return this.ids().map((id) => this.conflicts.evidence(this.space, id, this.#history.nowMs) as Conflict)
  }

  open(): Conflict[] {
    return this.all().filter(({ state }) => state === 'open')
  }

  /** Says something of the one case that there is; false where it said what holds already. */
  say(name: Saying['name'], args: object, agent: string = `agent-${this.node[0]}`, reason?: string): boolean {
    const [id = ''] = this.ids()
    const saying: Saying = { name, agent, reason, args: (known) => ({ round: roundOf(known), ...args }) }
    return this.conflicts.say(this.space, id, saying, ++this.#history.nowMs).dot !== undefined
  }

  settle(id: string, choice: Choice, reason?: string, agent: string = `agent-${this.node[0]}`): string {
    const known = this.conflicts.case(this.space, id)
    const revision = known?.revision ?? ''
    return this.conflicts.resolve(this.space, id, { choice, revision, agent, reason }, ++this.#history.nowMs).result
  }
}

export class History {
  nowMs: number = startMs
  readonly written: Written[] = []
  readonly sites: readonly Site[]
  readonly abilities: Abilities | undefined

  constructor(sites: number, abilities?: Abilities) {
    this.abilities = abilities
    const made: Site[] = []
    this.sites = made
    for (let number = 0; number < sites; number++) made.push(new Site(this, number))
  }

  /** Everybody gets everything. */
  exchange(): void {
    for (let moved = true; moved;) {
      moved = false
      for (const to of this.sites) {
        for (const from of this.sites) {
          if (from === to || from.isDown || to.isDown) continue
          const before = [...to.space.vector.values()].reduce((sum, seq) => sum + seq, 0)
          to.takeAll(from)
          moved ||= [...to.space.vector.values()].reduce((sum, seq) => sum + seq, 0) > before
        }
      }
    }
  }

  /** Until nobody has anything to write or to say. */
  heal(): void {
    for (let rounds = 0; rounds < 100; rounds++) {
      this.exchange()
      if (this.sites.every((site) => site.conflicts.wakeAt === Infinity)) return
      for (const site of this.sites) site.due()
      this.exchange()
      for (const site of this.sites) site.commit()
      this.nowMs += 1_000
    }
    throw new Error('it does not come to rest')
  }

  /** So many seconds go by: everybody gets everything, does what is due and comes back from what he did outside. */
  pass(seconds: number, outcome: (errand: Errand, site: Site) => Outcome = () => ({ kind: 'done' })): Errand[] {
    const done: Errand[] = []
    for (let second = 0; second < seconds; second++) {
      this.exchange()
      for (const site of this.sites) {
        if (site.isDown) continue
        site.survey()
        site.due()
        done.push(...site.back((errand) => outcome(errand, site)))
        site.commit()
      }
      this.nowMs += 1_000
    }
    this.exchange()
    return done
  }
}

/** As it comes out of a snapshot. */
function plain({ origin, seq, time, agent, expires, value }: Sibling): Sibling {
  return { origin, seq, time, agent, expires, value }
}

export type Work = (site: Site) => void

export const set =
  (key: string, fields: object): Work =>
  (site) =>
    void site.write(key, record, 'set', { fields })

export const remove =
  (key: string): Work =>
  (site) =>
    void site.remove(key)

/** Before a partition. */
export interface Beginning {
  readonly rule: RuleDeclaration
  readonly before?: Work
}

/** Three sites with a rule, and what all of them know. */
export function begin({ rule, before }: Beginning): [History, Site, Site, Site] {
  const history = new History(3)
  const [left, right, third] = history.sites as [Site, Site, Site]
  third.declare([rule])
  before?.(third)
  history.heal()
  return [history, left, right, third]
}
