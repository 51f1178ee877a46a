/**
 * What this node does outside about conflicts, for the whole fleet: tells targets, asks resolvers, runs actions. Which node
 * does what is decided in `replica/errands.ts`; this obeys, and comes back with what came of it. Nothing is done before the
 * disk has the mark that says who does it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { SkeinError, errorTable } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { encodeValue } from '../../base/msgpack.ts'
import type { Value } from '../../base/value.ts'
import { keysOf } from '../../merge/case.ts'
import type { Choice } from '../../merge/case.ts'
import type { Conflict } from '../../merge/evidence.ts'
import { resolverAgent } from '../../merge/policy.ts'
import { checkChoice } from '../../merge/resolve.ts'
import { gather, stormBounds } from '../../merge/storm.ts'
import type { Spell, StormBounds } from '../../merge/storm.ts'
import { caseIdOf, casePrefix, digestOf } from '../../merge/system.ts'
import type { Conflicts, WorkflowEvent } from '../../replica/conflicts.ts'
import type { StoredEntry } from '../../replica/entry.ts'
import type { Abilities, Errand, Outcome } from '../../replica/errands.ts'
import type { Space } from '../../replica/space.ts'
import { Broken, Caller, usualBounds } from './caller.ts'
import type { CallBounds } from './caller.ts'
import type { Endpoint } from './endpoint.ts'
import type { Tally } from './tally.ts'

export interface Target {
  readonly name: string
  readonly endpoint: Endpoint
}

export interface Endpoints {
  /** Whom to tell first, and whom next when nobody has settled it by then. */
  readonly targets: readonly Target[]
  readonly resolvers: ReadonlyMap<string, Endpoint>
  readonly actions: ReadonlyMap<string, Endpoint>
  readonly bounds?: Partial<CallBounds>
  readonly storm?: StormBounds
}

export const noEndpoints: Endpoints = { targets: [], resolvers: new Map(), actions: new Map() }

export function abilitiesOf({ targets, resolvers, actions }: Endpoints): Abilities {
  return { targets: targets.length, resolvers: new Set(resolvers.keys()), actions: new Set(actions.keys()) }
}

export interface ErrandReport {
  readonly kind: Errand['kind']
  /** The target, the resolver or the action. */
  readonly name: string
  readonly outcome: Outcome['kind']
  /** Conflicts that it was about. */
  readonly count: number
  readonly seconds: number
  readonly why?: string
}

/** What a target is told: one conflict with all its evidence, or what a storm brought of one kind. */
export type NoticeBody =
  | {
      readonly event: 'conflict'
      readonly target: string
      readonly level: number
      readonly dedupKey: string
      readonly conflict: Conflict
    }
  | {
      readonly event: 'conflicts'
      readonly target: string
      readonly level: number
      readonly dedupKey: string
      readonly rule: string
      readonly group: string
      readonly count: number
      readonly conflicts: readonly BriefConflict[]
    }

export type BriefConflict = Pick<Conflict, 'space' | 'id' | 'says' | 'severity' | 'keys' | 'duplicateRisk' | 'dueAt'>

/** What a resolver is asked. It answers with a choice, and how sure it is. */
export interface ResolverBody {
  readonly event: 'resolve'
  readonly resolver: string
  readonly conflict: Conflict
}

export interface ResolverAnswer {
  readonly choice: Choice
  readonly confidence?: number
  readonly reason?: string
}

/** What an action is to undo. It must do what it does under one key once, however often it is asked. */
export interface ActionBody {
  readonly event: 'compensate'
  readonly action: string
  readonly key: string
  readonly conflict: Conflict
}

export interface WorkflowHost {
  readonly conflicts: Conflicts
  readonly tally: Tally
  readonly endpoints: Endpoints
  isOpen(): boolean
  now(): number
  entries(space: Space, prefix: string): AsyncIterable<StoredEntry>
  find(name: string): Space | undefined
  /** Resolves when that batch is on the disk. */
  stored(batch: number): Promise<void>
  wrote(batch: number): void
  /** The machine has something to do. */
  step(): void
  told(report: ErrandReport): void
}

type Notify = Errand & { readonly kind: 'notify' }

/** Calls that are under way at once, of each kind. A guess. */
const atOnce = 4
/** After what came of an errand could not be written. */
const writeAgainMs = 1_000

export class WorkflowDriver {
  readonly #host: WorkflowHost
  readonly #stop = new AbortController()
  readonly #targets: readonly { readonly name: string; readonly caller: Caller; readonly spells: Map<string, Spell> }[]
  readonly #resolvers: ReadonlyMap<string, Caller>
  readonly #actions: ReadonlyMap<string, Caller>
  #waiting: Notify[] = []
  #flushTimer: NodeJS.Timeout | undefined
  readonly #lines: Record<Errand['kind'], { queue: (() => Promise<void>)[]; running: number }> = {
    notify: { queue: [], running: 0 },
    ask: { queue: [], running: 0 },
    run: { queue: [], running: 0 },
  }

  constructor(host: WorkflowHost) {
    this.#host = host
    const { targets, resolvers, actions, bounds } = host.endpoints
    const all = { ...usualBounds, ...bounds }
    const caller = (endpoint: Endpoint): Caller => new Caller(endpoint, all, () => host.now())
    this.#targets = targets.map(({ name, endpoint }) => ({ name, caller: caller(endpoint), spells: new Map() }))
    this.#resolvers = new Map([...resolvers].map(([name, endpoint]) => [name, caller(endpoint)]))
    this.#actions = new Map([...actions].map(([name, endpoint]) => [name, caller(endpoint)]))
  }

  event(event: WorkflowEvent): void {
    if (event.kind === 'survey') void this.#survey(event.space)
    else void this.#set(event.errand, event.batch)
  }

  /** What was taken and not brought to an end is done again after the next start, or by others. */
  stop(): void {
    this.#stop.abort(new SkeinError('closed', 'the node is closed'))
    clearTimeout(this.#flushTimer)
  }

  /** Every case of a space is looked at: something may be due. */
  async #survey(space: Space): Promise<void> {
    const { conflicts, tally } = this.#host
    try {
      for await (const { key } of this.#host.entries(space, casePrefix)) {
        const id = caseIdOf(key)
        const known = id === undefined ? undefined : conflicts.case(space, id)
        if (id === undefined || known === undefined) continue
        const { rule, severity } = known
        if (known.state === 'settled') tally.settled(space.name, id)
        else
          tally.open(space.name, id, {
            rule,
            severity,
            sinceMs: conflicts.handling(space, known, this.#host.now()).raisedAt,
            keys: keysOf(known),
          })
        conflicts.errands.look(space, id)
      }
      this.#host.step()
    } catch (error) {
      // The node closes, or the space was deleted.
      if (!(error instanceof SkeinError)) throw error
    }
  }

  async #set(errand: Errand, batch: number): Promise<void> {
    if (batch > 0) {
      this.#host.wrote(batch)
      try {
        await this.#host.stored(batch)
      } catch {
        // The disk will not have it: whoever is next does it.
        return
      }
    }
    if (this.#stop.signal.aborted) return
    if (errand.kind === 'notify') {
      this.#waiting.push(errand)
      this.#flushAt(0)
    } else this.#line(errand.kind, () => (errand.kind === 'ask' ? this.#ask(errand) : this.#run(errand)))
  }

  #line(kind: Errand['kind'], work: () => Promise<void>): void {
    const line = this.#lines[kind]
    line.queue.push(work)
    const next = (): void => {
      const first = line.running < atOnce ? line.queue.shift() : undefined
      if (first === undefined || this.#stop.signal.aborted) return
      line.running++
      void first().finally(() => {
        line.running--
        next()
      })
    }
    next()
  }

  #flushAt(inMs: number): void {
    clearTimeout(this.#flushTimer)
    this.#flushTimer = setTimeout(() => this.#flush(), inMs)
    this.#flushTimer.unref()
  }

  /** Everything that waits and may go out now. */
  #flush(): void {
    if (this.#stop.signal.aborted) return
    const nowMs = this.#host.now()
    const { storm = stormBounds } = this.#host.endpoints
    const stay: Notify[] = []
    let wakeAt = Infinity
    for (const [level, errands] of Map.groupBy(this.#waiting, (errand) => errand.level)) {
      const target = this.#targets[level]
      if (target === undefined) continue
      const waiting = errands.map((errand) => ({ id: errand.id, group: `${errand.space} ${errand.group}`, errand }))
      const out = gather(waiting, target.spells, nowMs, storm)
      stay.push(...out.stay.map(({ errand }) => errand))
      wakeAt = Math.min(wakeAt, out.wakeAt)
      for (const { items } of out.batches) {
        for (let at = 0; at < items.length; at += limits.noticeConflicts) {
          const some = items.slice(at, at + limits.noticeConflicts).map(({ errand }) => errand)
          this.#line('notify', () => this.#notify(level, some))
        }
      }
    }
    this.#waiting = stay
    if (wakeAt < Infinity) this.#flushAt(Math.max(wakeAt - nowMs, 1))
  }

  async #notify(level: number, errands: readonly Notify[]): Promise<void> {
    const target = this.#targets[level]
    const { errands: machine } = this.#host.conflicts
    const own = errands.filter((errand) => machine.isOwn(errand))
    if (target === undefined || own.length === 0) return
    const conflicts = own.flatMap((errand) => this.#evidence(errand) ?? [])
    const body = noticeOf(target.name, level, own, conflicts)
    await this.#errand(target.name, own, async (signal) => {
      // Settled meanwhile: there is nothing to tell.
      if (body === undefined) return { kind: 'done', result: 'settled' }
      await target.caller.call(digestOf(own.map(({ id, name }) => `${id} ${name}`)), body, signal, () =>
        own.some((errand) => machine.isOwn(errand)),
      )
      return { kind: 'done', result: target.name }
    })
  }

  async #ask(errand: Errand & { readonly kind: 'ask' }): Promise<void> {
    const { resolver, revision } = errand
    const caller = this.#resolvers.get(resolver)
    const conflict = this.#evidence(errand)
    if (caller === undefined || conflict === undefined) return
    await this.#errand(resolver, [errand], async (signal) => {
      const body: ResolverBody = { event: 'resolve', resolver, conflict }
      const answer = await caller.call(`${errand.id} ${revision}`, body, signal)
      const { choice, confidence, reason } = answerOf(answer)
      const space = this.#host.find(errand.space)
      const known = space && this.#host.conflicts.case(space, errand.id)
      if (known === undefined) throw new Error('the conflict is gone')
      // Also where there are more branches by now: none was taken away.
      checkChoice(known, choice)
      const proposing = { choice, revision, confidence }
      return { kind: 'proposed', proposing, agent: resolverAgent(resolver), reason }
    })
  }

  async #run(errand: Errand & { readonly kind: 'run' }): Promise<void> {
    const { action, key } = errand
    const caller = this.#actions.get(action)
    const conflict = this.#evidence(errand)
    if (caller === undefined || conflict === undefined) return
    await this.#errand(action, [errand], async (signal) => {
      const body: ActionBody = { event: 'compensate', action, key, conflict }
      return { kind: 'done', result: receiptOf(await caller.call(key, body, signal)) }
    })
  }

  /** Does it, and writes what came of it. */
  async #errand(
    name: string,
    errands: readonly Errand[],
    work: (signal: AbortSignal) => Promise<Outcome>,
  ): Promise<void> {
    const host = this.#host
    const { signal } = this.#stop
    const startMs = host.now()
    const kind = (errands[0] as Errand).kind
    let outcome: Outcome
    let why: string | undefined
    try {
      outcome = await work(signal)
    } catch (error) {
      if (signal.aborted) return
      why = error instanceof Error ? error.message : String(error)
      // To tell somebody is tried for ever. A resolver or an action that failed is for people.
      const isForLater = kind === 'notify' || error instanceof Broken
      outcome = isForLater ? { kind: 'given-up' } : failed(why)
    }
    host.told({
      kind,
      name,
      outcome: outcome.kind,
      count: errands.length,
      seconds: (host.now() - startMs) / 1000,
      ...(why !== undefined && { why }),
    })
    while (host.isOpen() && !signal.aborted) {
      try {
        const nowMs = host.now()
        const batch = host.conflicts.errands.back(errands, outcome, nowMs, nowMs)
        if (batch > 0) host.wrote(batch)
        return host.step()
      } catch (error) {
        if (!(error instanceof SkeinError)) throw error
        // What it says cannot be written, now or later.
        if (outcome.kind === 'proposed' && !errorTable[error.code].retry) outcome = failed(error.message)
        else await sleep(writeAgainMs, undefined, { signal }).catch(() => undefined)
      }
    }
  }

  #evidence({ space: name, id }: Errand): Conflict | undefined {
    const space = this.#host.find(name)
    return space && this.#host.conflicts.evidence(space, id, this.#host.now())
  }
}

/** Undefined where nothing of it is left to tell. */
function noticeOf(
  target: string,
  level: number,
  errands: readonly Notify[],
  conflicts: readonly Conflict[],
): NoticeBody | undefined {
  const left = conflicts.filter(
    ({ state, compensations }) => state === 'open' || compensations.some((one) => one.state === 'failed'),
  )
  const [conflict, ...others] = left
  const { rule = '', group = '' } = errands[0] ?? {}
  if (conflict === undefined) return undefined
  if (others.length === 0) return { event: 'conflict', target, level, dedupKey: conflict.id, conflict }
  const briefs = left.map(({ space, id, says, severity, keys, duplicateRisk, dueAt }) => ({
    space,
    id,
    says,
    severity,
    keys,
    duplicateRisk,
    dueAt,
  }))
  const dedupKey = digestOf(left.map(({ id }) => id).sort())
  return { event: 'conflicts', target, level, dedupKey, rule, group, count: left.length, conflicts: briefs }
}

/** What a resolver said: it comes from outside. */
function answerOf(answer: unknown): ResolverAnswer {
  if (typeof answer !== 'object' || answer === null) throw new Error('it proposed nothing')
  const { choice, confidence, reason } = answer as Partial<Record<keyof ResolverAnswer, unknown>>
  if (typeof choice !== 'object' || choice === null) throw new Error('it proposed nothing')
  if (confidence !== undefined && !(typeof confidence === 'number' && confidence >= 0 && confidence <= 1)) {
    throw new Error('its confidence is no number from 0 to 1')
  }
  return {
    choice: choice as Choice,
    ...(confidence !== undefined && { confidence: confidence as number }),
    ...(typeof reason === 'string' && reason !== '' && { reason: cut(reason, limits.reasonBytes / 4) }),
  }
}

/** What an action gave for a receipt, as far as it can be kept. */
function receiptOf(answer: unknown): Value | undefined {
  if (answer === undefined) return undefined
  try {
    const bytes = encodeValue(answer as Value)
    if (bytes.length <= limits.caseValueBytes) return answer as Value
  } catch {
    // It is no value: its text will do.
  }
  return cut(JSON.stringify(answer) ?? '', limits.caseValueBytes / 4)
}

function failed(why: string): Outcome {
  return { kind: 'failed', why: cut(why, 500) }
}

/** Of a text from outside; half a character, there or where it is cut, could not be written. */
function cut(text: string, most: number): string {
  return text.slice(0, most).toWellFormed()
}
