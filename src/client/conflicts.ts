/** The conflicts of a node in another process, in the shape of those of one in this process. */
import { limits } from '../base/limits.ts'
import { SkeinError } from '../base/errors.ts'
import type {
  AssignOptions,
  AuditOptions,
  ConflictCall,
  ConflictGap,
  ConflictHistoryItem,
  ConflictOptions,
  ConflictsStatus,
  ProposeOptions,
  ResolveOptions,
  SnoozeOptions,
} from '../node/conflicts.ts'
import type { Conflict } from '../merge/evidence.ts'
import type { AuditLine, AuditReport } from '../replica/audit.ts'
import type { ConflictEvent } from '../replica/conflicts.ts'
import { checkOptions, invalid } from './checks.ts'
import type { AskOptions } from './handles.ts'
import { checkJson } from './json.ts'
import { LinkWatch } from './link-watch.ts'
import type { WatchHost } from './link-watch.ts'
import { reachedIn } from './reached.ts'
import { ClientReceipt } from './receipt.ts'
import type { WriteAnswer } from './receipt.ts'
import type { Outcome } from './requests.ts'
import type { SpaceParts } from './space.ts'

type InSpace = AskOptions & { readonly space?: string }

const filters = ['space', 'prefix', 'state', 'stage', 'rule', 'severity', 'owner', 'overdue'] as const
const callOptions = ['space', 'agent', 'reason', 'durability'] as const

export class ClientConflicts {
  readonly #parts: SpaceParts
  readonly #agent: string | undefined

  /** @internal */
  constructor(parts: SpaceParts, agent: string | undefined) {
    this.#parts = parts
    this.#agent = agent
  }

  /** Conflicts with their evidence, in the order of spaces and ids; each page is from one moment. */
  async *list(options: ConflictOptions & AskOptions = {}): AsyncGenerator<Conflict, void, void> {
    const { signal, ...filter } = checkOptions(options, [...filters, 'signal'])
    let cursor: string | undefined
    do {
      const message = { do: 'conflicts', ...filter, ...(cursor !== undefined && { cursor }) }
      const page = (await this.#parts.session.ask(message, 'read', signal)) as {
        readonly conflicts: readonly Conflict[]
        readonly cursor?: string
      }
      yield* page.conflicts
      cursor = page.cursor
    } while (cursor !== undefined)
  }

  async get(id: string, options: InSpace = {}): Promise<Conflict | undefined> {
    try {
      return (await this.#ask('conflict', { conflict: checkId(id) }, options)) as Conflict
    } catch (error) {
      if (error instanceof SkeinError && error.code === 'unknown_conflict') return undefined
      throw error
    }
  }

  /**
   * What was done to its entries around it, oldest first, as far back as the log of the node goes, and which of it each side
   * knew.
   */
  async history(id: string, options: InSpace = {}): Promise<readonly ConflictHistoryItem[]> {
    const answer = await this.#ask('conflictHistory', { conflict: checkId(id) }, options)
    return (answer as { readonly items: readonly ConflictHistoryItem[] }).items
  }

  /** How many there are, and what is not looked at. Reads every case. */
  async stats(options: InSpace = {}): Promise<readonly ConflictsStatus[]> {
    return ((await this.#ask('conflictStats', {}, options)) as { readonly spaces: readonly ConflictsStatus[] }).spaces
  }

  /** Everything that the node has found, heard, decided and done about conflicts, the oldest first. */
  async *audit(options: AuditOptions & AskOptions = {}): AsyncGenerator<AuditLine, void, void> {
    const { after: first, space, id, signal } = checkOptions(options, ['after', 'space', 'id', 'signal'])
    const asked = { do: 'audit', ...(space !== undefined && { space }), ...(id !== undefined && { conflict: id }) }
    let after: number | undefined = first ?? 0
    do {
      const page = (await this.#parts.session.ask({ ...asked, after }, 'read', signal)) as {
        readonly lines: readonly AuditLine[]
        readonly after?: number
      }
      yield* page.lines
      after = page.after
    } while (after !== undefined)
  }

  /** Proves that the audit of the node is whole. */
  async verifyAudit(options: AskOptions = {}): Promise<AuditReport> {
    const { signal } = checkOptions(options, ['signal'])
    return (await this.#parts.session.ask({ do: 'verifyAudit' }, 'read', signal)) as AuditReport
  }

  /** Decides a conflict, on the revision that was looked at. The same decision twice is one. */
  resolve(id: string, options: ResolveOptions): ClientReceipt {
    const { revision, choice, ...call } = checkOptions(options, ['revision', 'choice', ...callOptions])
    return this.#act('resolve', id, { revision, choice }, call)
  }

  /** Takes note of a conflict. */
  ack(id: string, options: ConflictCall = {}): ClientReceipt {
    return this.#act('ack', id, {}, checkOptions(options, callOptions))
  }

  /** Says whose it is. */
  assign(id: string, options: AssignOptions): ClientReceipt {
    const { to, ...call } = checkOptions(options, ['to', ...callOptions])
    return this.#act('assign', id, { to }, call)
  }

  /** Puts it off: until then it troubles nobody, and is not overdue. */
  snooze(id: string, options: SnoozeOptions): ClientReceipt {
    const { untilMs, forMs, ...call } = checkOptions(
      options as ConflictCall & { readonly untilMs?: number; readonly forMs?: number },
      ['untilMs', 'forMs', ...callOptions],
    )
    return this.#act(
      'snooze',
      id,
      { ...(untilMs !== undefined && { untilMs }), ...(forMs !== undefined && { forMs }) },
      call,
    )
  }

  /** Puts a decision before whoever decides. */
  propose(id: string, options: ProposeOptions): ClientReceipt {
    const { revision, choice, confidence, ...call } = checkOptions(options, [
      'revision',
      'choice',
      'confidence',
      ...callOptions,
    ])
    return this.#act('propose', id, { revision, choice, ...(confidence !== undefined && { confidence }) }, call)
  }

  /** What changes from when the node hears of it. A slow reader, and one whose node was away, is told that there is a gap. */
  watch(options: InSpace = {}): ConflictWatch {
    const { space, signal } = checkOptions(options, ['space', 'signal'])
    return new ConflictWatch(this.#parts.session, space, signal)
  }

  async #ask(what: string, given: Readonly<Record<string, unknown>>, options: InSpace): Promise<unknown> {
    const { space, signal } = checkOptions(options, ['space', 'signal'])
    const message = { do: what, ...given, ...(space !== undefined && { space }) }
    return this.#parts.session.ask(message, 'read', signal)
  }

  #act(does: string, id: string, given: Readonly<Record<string, unknown>>, call: ConflictCall): ClientReceipt {
    const { session } = this.#parts
    checkJson(given)
    session.check()
    const by = this.#agent === undefined ? {} : { agent: this.#agent }
    const message = { do: does, conflict: checkId(id), ...given, ...by, ...call, once: session.nextWrite() }
    const ask = (): Promise<WriteAnswer & { readonly space: string }> =>
      session.ask(message, 'write') as Promise<WriteAnswer & { readonly space: string }>
    const answer = ask()
    const writing = {
      untilDurable: async (): Promise<void> => {
        while (!(await ask()).durable);
      },
      reached: async (version: string, options: Parameters<typeof reachedIn>[3]) =>
        reachedIn(session, (await answer).space, version, options),
    }
    const unseen = (error: SkeinError): void =>
      this.#parts.tell({ kind: 'unseen', error, space: call.space ?? '', key: undefined, conflict: id })
    return new ClientReceipt(answer, writing, unseen)
  }
}

function checkId(id: unknown): string {
  if (typeof id === 'string') return id
  throw invalid('a conflict is named by its id')
}

export class ConflictWatch extends LinkWatch<ConflictEvent | ConflictGap> {
  readonly #space: string | undefined
  #hasBegun = false

  constructor(host: WatchHost, space: string | undefined, signal: AbortSignal | undefined) {
    super(host, signal)
    this.#space = space
    this.begin()
  }

  up(): void {
    if (this.isOver) return
    this.id = this.host.beginWatch(this, {
      do: 'watchConflicts',
      ...(this.#space !== undefined && { space: this.#space }),
    })
  }

  down(): void {
    this.id = undefined
  }

  begun(id: number, outcome: Outcome): void {
    if (id !== this.id) return
    if (outcome.kind === 'failed') {
      this.id = undefined
      return this.fail(outcome.error)
    }
    // The node was away: what happened meanwhile nobody told.
    if (this.#hasBegun) this.told({ change: 'gap' })
    this.#hasBegun = true
    this.isReady()
  }

  told(event: unknown): void {
    if (this.isOver) return
    if (this.queued >= limits.watchBuffer) {
      this.drop()
      this.push({ change: 'gap' })
    }
    this.push(event as ConflictEvent | ConflictGap)
  }
}
