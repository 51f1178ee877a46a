/**
 * The conflicts of a node, as programs see them: what is open, with all the evidence; what changes; and deciding. Cases are
 * read from their entries when somebody asks, so that a hundred thousand of them cost memory to nobody.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Choice } from '../merge/case.ts'
import type { Conflict } from '../merge/evidence.ts'
import type { RuleSet } from '../merge/rule-set.ts'
import { caseIdOf, casePrefix } from '../merge/system.ts'
import type { ConflictEvent, Conflicts } from '../replica/conflicts.ts'
import type { Space } from '../replica/space.ts'
import { Receipt } from './receipt.ts'
import type { Durability } from './receipt.ts'
import { checkOptions, checkSettings } from './space-handle.ts'
import type { SpaceHost } from './space-handle.ts'

export interface ConflictOptions {
  /** Only of this space. */
  readonly space?: string
  /** `open` unless told otherwise. */
  readonly state?: 'open' | 'settled' | 'all'
  readonly rule?: string
}

export interface ResolveOptions {
  /** Where the conflict is; without it every space is asked. */
  readonly space?: string
  /** The revision that was looked at: the decision holds for that, or not at all. */
  readonly revision: string
  readonly choice: Choice
  readonly agent?: string
  readonly reason?: string
  readonly durability?: Durability
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

interface Feed {
  queue: (ConflictEvent | ConflictGap)[]
  wake: (() => void) | undefined
  ended: boolean
}

const states: readonly unknown[] = ['open', 'settled', 'all']

export class NodeConflicts {
  readonly #host: SpaceHost
  readonly #conflicts: Conflicts
  readonly #feeds = new Set<Feed>()

  constructor(host: SpaceHost, conflicts: Conflicts) {
    this.#host = host
    this.#conflicts = conflicts
  }

  /** Conflicts with their evidence, space by space. */
  async *list(options: ConflictOptions = {}): AsyncGenerator<Conflict, void, void> {
    const { space, state = 'open', rule } = checkOptions(options, ['space', 'state', 'rule'])
    if (!states.includes(state)) throw new SkeinError('invalid_argument', 'state must be open, settled or all')
    for (const each of this.#spaces(space)) {
      for await (const conflict of this.#all(each)) {
        if ((state === 'all' || conflict.state === state) && (rule === undefined || conflict.rule === rule))
          yield conflict
      }
    }
  }

  get(id: string, options: { readonly space?: string } = {}): Conflict | undefined {
    for (const space of this.#spaces(checkOptions(options, ['space']).space)) {
      const conflict = this.#conflicts.evidence(this.#host.replica.read(space), checkId(id))
      if (conflict !== undefined) return conflict
    }
    return undefined
  }

  /**
   * Decides a conflict: in one delta, on the revision that was looked at. The same decision twice is one. Throws
   * `conflict_changed` where there is another branch by now.
   */
  resolve(id: string, options: ResolveOptions): Receipt {
    const { space, revision, choice, ...rest } = checkOptions(options, [
      'space',
      'revision',
      'choice',
      'agent',
      'reason',
      'durability',
    ])
    if (typeof revision !== 'string') throw new SkeinError('invalid_argument', 'revision is a string, as it was read')
    if (typeof choice !== 'object' || choice === null) throw new SkeinError('invalid_argument', 'choice is an object')
    const { agent, reason, durability } = checkSettings(rest)
    const host = this.#host
    const asked = durability ?? host.settings.durability
    host.writable(asked)
    const found = this.#spaces(space).find((each) => this.#conflicts.case(host.replica.read(each), checkId(id)))
    if (found === undefined) throw new SkeinError('unknown_conflict', `there is no conflict ${id}`, { id })
    const by = agent ?? host.settings.agent
    const { dot, batch } = this.#conflicts.resolve(found, id, { choice, revision, agent: by, reason }, host.now())
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

  /** @internal Of a space that a program opens with rules. */
  declare(space: Space, rules: RuleSet): void {
    const host = this.#host
    host.writable()
    const { dot, batch } = this.#conflicts.declare(space, rules, host.now(), host.settings.agent)
    if (dot !== undefined) host.wrote(batch, host.settings.durability)
  }

  /** @internal */
  tell(event: ConflictEvent): void {
    for (const feed of this.#feeds) {
      if (feed.queue.length >= limits.watchBuffer) feed.queue = [{ change: 'gap' }]
      feed.queue.push(event)
      feed.wake?.()
    }
  }

  /** @internal The node closes. */
  end(): void {
    for (const feed of this.#feeds) {
      feed.ended = true
      feed.wake?.()
    }
  }

  async *#all(space: Space): AsyncGenerator<Conflict, void, void> {
    const told = new Set<string>()
    for (const id of this.#conflicts.pending(space)) {
      told.add(id)
      const conflict = this.#conflicts.evidence(space, id)
      if (conflict !== undefined) yield conflict
    }
    for await (const { key } of this.#host.entries(space, casePrefix, '')) {
      const id = caseIdOf(key)
      const conflict = id === undefined || told.has(id) ? undefined : this.#conflicts.evidence(space, id)
      if (conflict !== undefined) yield conflict
    }
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

function checkId(id: unknown): string {
  if (typeof id === 'string' && /^[0-9a-f]{32}$/.test(id)) return id
  throw new SkeinError('unknown_conflict', 'a conflict is named by 32 hexadecimal digits', { id })
}
