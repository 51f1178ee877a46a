/**
 * What is to be done about cases beside keeping them: policies settle what they may, a resolver is asked, somebody is told,
 * an action is run. One node does each of these for all: the first by rendezvous among those that are alive and hold the
 * space. What happens outside leaves a mark beside the case, first that it was taken, then what came of it; the next in turn
 * takes what stays unmarked, and what a node took that is gone.
 *
 * So nothing is left undone with its node, and where nobody crashes and nobody is cut off it is done once. Whoever receives
 * what was done twice knows it by its key.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Value } from '../base/value.ts'
import type { Case } from '../merge/case.ts'
import { stepOf } from '../merge/policy.ts'
import type { Step } from '../merge/policy.ts'
import { compensationKey, errandNames, markIn, markPath, queueType, roundOf } from '../merge/queue.ts'
import type { Handling, Mark, Marking, Proposing } from '../merge/queue.ts'
import type { Severity } from '../merge/rule.ts'
import { groupOf } from '../merge/storm.ts'
import { queueKey } from '../merge/system.ts'
import type { Conflicts } from './conflicts.ts'
import type { Replica } from './replica.ts'
import type { Space } from './space.ts'
import { graceMs, placeOf } from '../merge/turns.ts'

/** What this node can do outside. */
export interface Abilities {
  /** How many targets it can tell, one after the other. */
  readonly targets: number
  readonly resolvers: ReadonlySet<string>
  readonly actions: ReadonlySet<string>
}

export const noAbilities: Abilities = { targets: 0, resolvers: new Set(), actions: new Set() }

interface About {
  readonly space: string
  readonly id: string
  /** Of the mark beside the case. */
  readonly name: string
}

export type Errand =
  /** Somebody is to be told. `group`: of what kind it is, in a storm. */
  | (About & {
      readonly kind: 'notify'
      readonly level: number
      readonly rule: string
      readonly severity: Severity
      readonly group: string
    })
  | (About & { readonly kind: 'ask'; readonly resolver: string; readonly revision: string })
  | (About & { readonly kind: 'run'; readonly action: string; readonly key: string })

/** What came of an errand. */
export type Outcome =
  | { readonly kind: 'done'; readonly result?: Value | undefined }
  /** A resolver's answer. */
  | {
      readonly kind: 'proposed'
      readonly proposing: Proposing
      readonly agent: string
      readonly reason: string | undefined
    }
  /** It will not come to anything, here or elsewhere. */
  | { readonly kind: 'failed'; readonly why: string }
  /** It did not work here, now: whoever comes next may try. */
  | { readonly kind: 'given-up' }

export interface ErrandsConfig {
  readonly replica: Replica
  readonly conflicts: Conflicts
  readonly node: string
  readonly abilities: Abilities
  /** The living members that hold a space, without this node. */
  holders(space: Space): readonly string[]
  /** Taken, and told of in this batch: to be done once that is on the disk. */
  errand(errand: Errand, batch: number): void
}

/** Cases looked at in one step. A guess: some milliseconds. */
const looksAtOnce = 100
/** Later times are kept to the second, so that many that are due together are found together. */
const tickMs = 1_000
/** Somebody who took an errand and lives is trusted so long. Longer than the retries of a driver. */
const leaseMs = 30 * 60_000
/** How long nobody is told, where a policy is about to settle it: for a resolver, and the delta that its answer comes in. */
const patienceMs = 60_000
/** After an errand that did not work here. */
const againMs = 5 * 60_000
const author = 'skein'

interface Item {
  readonly space: Space
  readonly id: string
  /** When each errand was first found due here. */
  readonly since: Map<string, number>
  /** When it was first looked at here, by the wall. */
  seenMs: number | undefined
}

interface Due {
  readonly errand: Errand
  readonly atMs: number
}

interface Take {
  readonly errand: Errand
  readonly marking: Marking
}

export class Errands {
  readonly #config: ErrandsConfig
  readonly #items = new Map<string, Item>()
  readonly #ready = new Set<string>()
  /** When each is to be looked at again. */
  readonly #later = new Map<string, number>()
  #laterAt = Infinity
  /** What this run of the node has taken and not come back with. */
  readonly #under = new Set<string>()
  /** What did not work here, and when it may be tried again. */
  readonly #resting = new Map<string, number>()
  wakeAt: number = Infinity

  constructor(config: ErrandsConfig) {
    this.#config = config
  }

  /** Open cases, and settled ones of which something is left to do. */
  get size(): number {
    return this.#items.size
  }

  /** Is there nothing that this node could do about cases of the space? */
  isIdle(space: Space): boolean {
    const { abilities, conflicts } = this.#config
    const { targets, actions } = abilities
    return targets === 0 && actions.size === 0 && conflicts.rules(space).workflow.policies.length === 0
  }

  /** A case may need something. */
  look(space: Space, id: string): void {
    if (this.isIdle(space)) return
    const key = keyOf(space, id)
    if (!this.#items.has(key)) this.#items.set(key, { space, id, since: new Map(), seenMs: undefined })
    this.#ready.add(key)
    this.wakeAt = -Infinity
  }

  /** Does what is due. `nowMs` is the time that timers go by, `wallMs` what people see. */
  due(nowMs: number, wallMs: number): void {
    if (nowMs < this.wakeAt) return
    if (nowMs >= this.#laterAt) this.#recall(nowMs)
    const takes = new Map<Space, Take[]>()
    let left = looksAtOnce
    for (const key of this.#ready) {
      if (left-- === 0) break
      this.#ready.delete(key)
      const item = this.#items.get(key)
      if (item === undefined) continue
      const atMs = item.space.deleted ? undefined : this.#look(item, takes, nowMs, wallMs)
      if (atMs === undefined) this.#forget(key)
      else if (atMs < Infinity) this.#put(key, atMs)
    }
    for (const [space, some] of takes) this.#take(space, some, nowMs, wallMs)
    this.wakeAt = this.#ready.size > 0 ? nowMs : this.#laterAt
  }

  /** What came of errands, in one delta a space. Nothing where somebody else has taken one meanwhile. */
  back(errands: readonly Errand[], outcome: Outcome, nowMs: number, wallMs: number): number {
    const { replica, node } = this.#config
    let batch = 0
    for (const [name, some] of Map.groupBy(errands, ({ space }) => space)) {
      const space = replica.find(name)
      const kept = space === undefined ? [] : some.filter((one) => this.#mark(space, one)?.node === node)
      if (space === undefined) continue
      for (const one of kept) if (outcome.kind === 'given-up') this.#resting.set(underKey(one), nowMs + againMs)
      const agent = outcome.kind === 'proposed' ? outcome.agent : author
      const reason = outcome.kind === 'proposed' ? outcome.reason : 'errand'
      for (let at = 0; at < kept.length; at += limits.casesAtOnce) {
        const part = kept.slice(at, at + limits.casesAtOnce)
        const done = replica.transact(space, { nowMs: wallMs, agent, reason }, (change) => {
          for (const one of part) {
            const entry = space.entry(queueKey(one.id))
            if (outcome.kind === 'proposed') {
              change.run(entry, queueType, operation('propose'), { proposing: outcome.proposing, reason })
            }
            change.run(entry, queueType, operation('mark'), { marking: markingOf(one, outcome, node) })
          }
        })
        batch = done.batch
      }
      // Not before: what could not be written is not to be set out for again.
      for (const one of some) {
        this.#under.delete(underKey(one))
        this.look(space, one.id)
      }
    }
    return batch
  }

  /** Is the errand still this node's? */
  isOwn(errand: Errand): boolean {
    const space = this.#config.replica.find(errand.space)
    const mark = space && this.#mark(space, errand)
    return mark?.state === 'taken' && mark.node === this.#config.node
  }

  /** When to look at it again; undefined when there is nothing more to do. */
  #look(item: Item, takes: Map<Space, Take[]>, nowMs: number, wallMs: number): number | undefined {
    const { space, id, since } = item
    const { conflicts, node } = this.#config
    const known = conflicts.case(space, id)
    if (known === undefined || !conflicts.isOnRecord(space, id)) return undefined
    const { workflow } = conflicts.rules(space)
    const handling = conflicts.handling(space, known, wallMs)
    const keys = keysOf(known)
    const mark = (name: string): Mark | undefined => this.#markNamed(space, id, name)
    const asked = (resolver: string): boolean => {
      const found = mark(errandNames.ask(resolver, known.revision))
      return found !== undefined && found.state !== 'taken'
    }
    const step = stepOf(known, keys, handling, workflow, asked)
    // Whoever raised it may have a clock that is ahead: nothing waits for a time that is not to come.
    const early = Math.max(0, handling.raisedAt - (item.seenMs ??= wallMs))
    const toWall = nowMs - wallMs - early
    let next = Infinity
    if (step.kind === 'settle') {
      const name = `settle ${known.revision}`
      const atMs = this.#turn(since, space, name, id, step.atMs + toWall, nowMs)
      if (atMs > nowMs) next = atMs
      else if (this.#settle(space, known, step, wallMs)) return Infinity
    }
    for (const { errand, atMs } of this.#errands(space, known, keys, handling, step, workflow.dueMs[known.severity])) {
      const found = mark(errand.name)
      if (found !== undefined && found.state !== 'taken') continue
      const dueMs = Math.max(atMs + toWall, this.#resting.get(underKey(errand)) ?? -Infinity)
      if (dueMs > nowMs) {
        next = Math.min(next, dueMs)
        continue
      }
      if (found?.node === node) {
        // Taken in an earlier life, which came to nothing that is known.
        if (!this.#under.has(underKey(errand))) this.#out(errand)
        continue
      }
      const isLost =
        found === undefined || found.at + leaseMs <= wallMs || !this.#config.holders(space).includes(found.node)
      if (!isLost) {
        since.delete(errand.name)
        next = Math.min(next, nowMs + graceMs)
        continue
      }
      const who = errand.kind === 'notify' ? `${space.name} ${errand.level} ${errand.group}` : id
      const turnMs = this.#turn(since, space, errand.name, who, dueMs, nowMs)
      if (turnMs > nowMs) {
        next = Math.min(next, turnMs)
        continue
      }
      const marking = { name: errand.name, state: 'taken', node } as const
      const some = takes.get(space)
      if (some === undefined) takes.set(space, [{ errand, marking }])
      else some.push({ errand, marking })
    }
    if (known.state === 'settled' && next === Infinity) return undefined
    // Once a snooze is over, or the next target is to be told; and policies look at it again.
    if (handling.snoozed !== undefined) next = Math.min(next, handling.snoozed.untilMs + toWall + early)
    return this.isIdle(space) ? undefined : next
  }

  /** The errands of a case, and from when on each is due by the wall. */
  *#errands(
    space: Space,
    known: Case,
    keys: readonly string[],
    handling: Handling,
    step: Step,
    dueMs: number,
  ): Generator<Due> {
    const { abilities } = this.#config
    const { id, rule, severity, revision } = known
    const about = { space: space.name, id }
    const telling = { ...about, kind: 'notify', rule, severity, group: groupOf(rule, keys[0] ?? '') } as const
    if (known.state === 'settled') {
      const choice = known.decisions.at(-1)?.choice
      if (choice?.kind !== 'compensate' || choice.action === undefined) return
      const { action } = choice
      const key = compensationKey(known, action)
      const name = errandNames.run(key)
      if (abilities.actions.has(action)) yield { errand: { ...about, kind: 'run', name, action, key }, atMs: -Infinity }
      if (this.#markNamed(space, id, name)?.state !== 'failed' || abilities.targets === 0) return
      // What was decided has not come about.
      yield { errand: { ...telling, name: errandNames.failed(key), level: 0 }, atMs: -Infinity }
      return
    }
    if (step.kind === 'ask' && abilities.resolvers.has(step.resolver)) {
      const { resolver } = step
      yield {
        errand: { ...about, kind: 'ask', name: errandNames.ask(resolver, revision), resolver, revision },
        atMs: step.atMs,
      }
    }
    if (handling.snoozed !== undefined) return
    const round = roundOf(known)
    const level = handling.notices.filter(({ state }) => state === 'done').length
    if (level >= abilities.targets) return
    const waits = step.kind === 'nothing' ? 0 : Math.max(step.atMs - handling.raisedAt, 0) + patienceMs
    yield {
      errand: { ...telling, name: errandNames.notify(level, round), level },
      atMs: level === 0 ? handling.raisedAt + waits : handling.dueAt + (level - 1) * dueMs,
    }
  }

  /** When this node comes to do what is due: at once where the rendezvous falls on it, else a grace for each before it. */
  #turn(since: Map<string, number>, space: Space, name: string, who: string, dueMs: number, nowMs: number): number {
    if (dueMs > nowMs) return dueMs
    let from = since.get(name)
    if (from === undefined) since.set(name, (from = nowMs))
    return from + graceMs * placeOf(this.#config.node, this.#config.holders(space), who)
  }

  #settle(space: Space, known: Case, step: Step & { readonly kind: 'settle' }, wallMs: number): boolean {
    const { conflicts } = this.#config
    const { id, revision } = known
    const { policy, choice } = step
    const agent = `policy:${policy}`
    try {
      conflicts.resolve(space, id, { choice, revision, agent, reason: `policy ${policy}`, automatic: true }, wallMs)
      return true
    } catch (error) {
      // What it says does not fit this case, or the disk is behind: people are told of it as of any other.
      if (error instanceof SkeinError) return false
      throw error
    }
  }

  #take(space: Space, takes: readonly Take[], nowMs: number, wallMs: number): void {
    const { replica } = this.#config
    try {
      const { batch } = replica.transact(space, { nowMs: wallMs, agent: author, reason: 'errand' }, (change) => {
        for (const { errand, marking } of takes) {
          change.run(space.entry(queueKey(errand.id)), queueType, operation('mark'), { marking })
        }
      })
      for (const { errand } of takes) this.#out(errand, batch)
    } catch (error) {
      if (!(error instanceof SkeinError)) throw error
      for (const { errand } of takes) this.#put(keyOf(space, errand.id), nowMs + tickMs)
    }
  }

  #out(errand: Errand, batch: number = 0): void {
    this.#under.add(underKey(errand))
    this.#config.errand(errand, batch)
  }

  #markNamed(space: Space, id: string, name: string): Mark | undefined {
    return markIn(name, space.entry(queueKey(id)).cells(queueType.id).get(markPath(name)))
  }

  #mark(space: Space, { id, name }: Errand): Mark | undefined {
    return this.#markNamed(space, id, name)
  }

  #put(key: string, atMs: number): void {
    const at = Math.ceil(atMs / tickMs) * tickMs
    this.#later.set(key, at)
    this.#laterAt = Math.min(this.#laterAt, at)
  }

  #recall(nowMs: number): void {
    let next = Infinity
    for (const [key, at] of this.#later) {
      if (at > nowMs) next = Math.min(next, at)
      else {
        this.#later.delete(key)
        this.#ready.add(key)
      }
    }
    this.#laterAt = next
  }

  #forget(key: string): void {
    this.#items.delete(key)
    this.#later.delete(key)
  }
}

function keyOf(space: Space, id: string): string {
  return `${space.id} ${id}`
}

function underKey({ space, id, name }: Errand): string {
  return `${space} ${id} ${name}`
}

function keysOf({ branches }: Case): readonly string[] {
  return [...new Set(branches.flatMap(({ parts }) => parts.map(({ key }) => key)))].sort()
}

function operation(name: 'mark' | 'propose'): NonNullable<(typeof queueType.operations)[string]> {
  return queueType.operations[name] as NonNullable<(typeof queueType.operations)[string]>
}

function markingOf({ name }: Errand, outcome: Outcome, node: string): Marking {
  switch (outcome.kind) {
    case 'done':
      return { name, state: 'done', node, result: outcome.result }
    case 'proposed':
      return { name, state: 'done', node }
    case 'failed':
      return { name, state: 'failed', node, result: outcome.why }
    case 'given-up':
      return { name, state: undefined, node }
  }
}
