/** A space over a connection: handles on its entries, transactions, listing, watching. */
import { utf8Length } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Value } from '../base/value.ts'
import type { SpaceSchemas, ValueIn } from '../node/define-space.ts'
import type { EntryRead } from '../node/entry-read.ts'
import type { ReachOptions } from '../node/fleet.ts'
import type { HistoryItem } from '../node/history.ts'
import type { EntriesQuery, WriteSettings } from '../node/space-handle.ts'
import { claimNext } from '../recipes/claim-next.ts'
import type { NextOptions, TakenTask, TaskSpace } from '../recipes/claim-next.ts'
import { checkWhere, fits } from '../recipes/where.ts'
import {
  ClientBudget,
  ClientClaim,
  ClientCounter,
  ClientDoc,
  ClientFlag,
  ClientList,
  ClientLog,
  ClientRecord,
  ClientRegister,
  ClientSet,
  ClientText,
} from './handles.ts'
import type { AskOptions, ClientAccess, ClientWatchOptions, EntryAnswer, ReadOptions } from './handles.ts'
import { checkOptions, invalid } from './checks.ts'
import { checkJson } from './json.ts'
import { ClientPresence } from './presence.ts'
import { ClientReceipt } from './receipt.ts'
import type { WriteAnswer } from './receipt.ts'
import { reachedIn } from './reached.ts'
import type { ClientEvent, Session } from './session.ts'
import { ClientWatch } from './watch.ts'

export interface ClientWriteSettings extends WriteSettings {
  /** Gives the writes up: `aborted` where it was not sent yet, `unanswered` where it may have been done. */
  readonly signal?: AbortSignal
}

/** A task that this agent has now. */
export type ClientTaken = TakenTask & { readonly claim: ClientClaim }

/** What `transact` hands to its function: handles that write and do not read. */
export interface ClientTransaction<Schemas extends SpaceSchemas = SpaceSchemas> {
  register<T = ValueIn<Schemas, 'register', Value>>(key: string): ClientRegister<T>
  record<T = ValueIn<Schemas, 'record', { readonly [name: string]: Value }>>(key: string): ClientRecord<T>
  counter(key: string): ClientCounter
  set<T = ValueIn<Schemas, 'set', Value>>(key: string): ClientSet<T>
  flag(key: string): ClientFlag
  log<T = ValueIn<Schemas, 'log', Value>>(key: string): ClientLog<T>
  list<T = ValueIn<Schemas, 'list', Value>>(key: string): ClientList<T>
  claim(key: string): ClientClaim
  budget(key: string): ClientBudget
  text(key: string): ClientText
  doc<T = Value>(key: string): ClientDoc<T>
  delete(key: string): ClientReceipt
  run(key: string, type: string, operation: string, args: Readonly<Record<string, unknown>>): ClientReceipt<unknown>
  /**
   * All of it only if that entry is still at this version, as a read or a write of it answered it; otherwise the
   * transaction fails with `version_mismatch`. The entry must be one that it writes.
   */
  expect(key: string, version: string): void
}

type Keyed = Readonly<Record<string, unknown>> & { readonly key: string }

abstract class ClientHandles<Schemas extends SpaceSchemas> {
  protected abstract readonly access: ClientAccess

  register<T = ValueIn<Schemas, 'register', Value>>(key: string): ClientRegister<T> {
    return new ClientRegister<T>(this.access, checkKey(key))
  }

  record<T = ValueIn<Schemas, 'record', { readonly [name: string]: Value }>>(key: string): ClientRecord<T> {
    return new ClientRecord<T>(this.access, checkKey(key))
  }

  counter(key: string): ClientCounter {
    return new ClientCounter(this.access, checkKey(key))
  }

  set<T = ValueIn<Schemas, 'set', Value>>(key: string): ClientSet<T> {
    return new ClientSet<T>(this.access, checkKey(key))
  }

  flag(key: string): ClientFlag {
    return new ClientFlag(this.access, checkKey(key))
  }

  log<T = ValueIn<Schemas, 'log', Value>>(key: string): ClientLog<T> {
    return new ClientLog<T>(this.access, checkKey(key))
  }

  list<T = ValueIn<Schemas, 'list', Value>>(key: string): ClientList<T> {
    return new ClientList<T>(this.access, checkKey(key))
  }

  claim(key: string): ClientClaim {
    return new ClientClaim(this.access, checkKey(key))
  }

  budget(key: string): ClientBudget {
    return new ClientBudget(this.access, checkKey(key))
  }

  text(key: string): ClientText {
    return new ClientText(this.access, checkKey(key))
  }

  doc<T = Value>(key: string): ClientDoc<T> {
    return new ClientDoc<T>(this.access, checkKey(key))
  }

  /** Deletes an entry, whatever types are alive under its key. */
  delete(key: string): ClientReceipt {
    return this.access.remove(checkKey(key))
  }

  /** An operation by its name and those of its arguments. Bytes are base64. */
  run(key: string, type: string, operation: string, args: Readonly<Record<string, unknown>>): ClientReceipt<unknown> {
    return this.access.run(checkKey(key), type, operation, args)
  }
}

/** What a space needs of its client. */
export interface SpaceParts {
  readonly session: Session
  tell(event: ClientEvent): void
}

export class ClientSpace<Schemas extends SpaceSchemas = SpaceSchemas> extends ClientHandles<Schemas> {
  readonly name: string
  protected readonly access: ClientAccess
  readonly #parts: SpaceParts
  readonly #settings: ClientWriteSettings

  constructor(parts: SpaceParts, name: string, settings: ClientWriteSettings) {
    super()
    this.name = checkName(name, 'space name', limits.spaceNameBytes)
    this.#parts = parts
    this.#settings = settings
    this.access = {
      get: (key, type, siblings, options) => this.#get(key, type, siblings, options),
      run: (key, type, op, args, condition) => {
        checkJson(args)
        return this.#write({ do: 'op', space: name, key, operation: { ...args, type, op }, ...condition }, key)[0]
      },
      until: (signal) => this.as({ signal }).access,
      remove: (key) => this.#write<undefined>({ do: 'delete', space: name, key }, key)[0],
      history: (key, options) => this.#history(key, options),
      watchKey: (key, options) => this.#watch({ space: name, key }, options),
    }
  }

  /** The same space with settings for what is written through the handle that this answers. */
  as(settings: ClientWriteSettings): ClientSpace<Schemas> {
    return new ClientSpace(this.#parts, this.name, { ...this.#settings, ...checkSettings(settings) })
  }

  /** What agents show of themselves for a while, kept on no disk; this handle's agent may show itself. */
  get presence(): ClientPresence {
    return new ClientPresence(this.#parts.session, this.name, this.#settings.agent)
  }

  /**
   * Everything that `work` writes through its argument becomes one delta: applied, stored and replicated whole. It must
   * be synchronous, and cannot read; if it throws, nothing is sent. The receipt's `result` is what each operation answers.
   */
  transact(
    work: (tx: ClientTransaction<Schemas>) => unknown,
    settings: ClientWriteSettings = {},
  ): ClientReceipt<readonly unknown[]> {
    const merged = { ...this.#settings, ...checkSettings(settings) }
    const outcome = Promise.withResolvers<WriteAnswer>()
    outcome.promise.catch(() => undefined)
    const staged = new StagedTransaction<Schemas>(outcome.promise)
    let made: unknown
    try {
      made = work(staged)
    } finally {
      staged.end()
    }
    if (made instanceof Promise) {
      made.catch(() => undefined)
      throw invalid('transact: its function must be synchronous, and it answered a promise')
    }
    const { operations } = staged
    if (operations.length === 0) throw invalid('transact: its function wrote nothing')
    const message = { do: 'transact', space: this.name, operations }
    const [receipt, answer] = this.#write<readonly unknown[]>(
      message,
      undefined,
      merged,
      ({ results }) => results ?? [],
    )
    answer.then(outcome.resolve, outcome.reject)
    return receipt
  }

  /** Changes of one entry. */
  watchKey(key: string, options: ClientWatchOptions = {}): ClientWatch {
    return this.access.watchKey(checkKey(key), options)
  }

  /** Changes of this space, from now on or from a token on. */
  watch(options: ClientWatchOptions & { readonly prefix?: string } = {}): ClientWatch {
    const { prefix = '', ...rest } = checkOptions(options, ['prefix', 'since', 'signal'])
    return this.#watch({ space: this.name, prefix }, rest)
  }

  #watch(
    range: { readonly space: string; readonly prefix?: string; readonly key?: string },
    options: ClientWatchOptions,
  ): ClientWatch {
    const { since, signal } = checkOptions(options, ['since', 'signal'])
    return new ClientWatch(this.#parts.session, range, since, signal)
  }

  /**
   * The entries under a prefix in the order of their keys, page after page; with `where` the records with these fields. What
   * is there throughout is listed, once.
   */
  async *entries(options: string | EntriesQuery = {}): AsyncGenerator<EntryRead, void, void> {
    const query = typeof options === 'string' ? { prefix: options } : options
    const { prefix = '', where = {}, signal } = checkOptions(query, ['prefix', 'where', 'signal'])
    const fields = Object.entries(checkWhere(where))
    if (fields.some(([field]) => field.includes(':'))) throw invalid('where: a field with a colon cannot be asked for')
    const texts = fields.map(([field, value]) => `${field}:${value}`)
    let cursor: string | undefined
    do {
      const page = (await this.#ask(
        {
          do: 'list',
          space: this.name,
          prefix,
          limit: limits.pageItems,
          ...(texts.length > 0 && { where: texts }),
          ...(cursor !== undefined && { cursor }),
        },
        signal,
      )) as { readonly entries: readonly EntryAnswer[]; readonly cursor?: string } | undefined
      for (const { concurrent = [], ...entry } of page?.entries ?? []) {
        // As text the number 2 and "2" are one.
        if (fits(where, entry.type, entry.value)) yield { ...entry, concurrent }
      }
      cursor = page?.cursor
    } while (cursor !== undefined)
  }

  /**
   * Takes a task under the prefix that nobody has: claims it beside its entry, at `<key>/claim` unless told otherwise, so
   * that no other `claimNext` gets it while the claim stands. Undefined when none is free.
   */
  async claimNext(prefix: string, options: NextOptions = {}): Promise<ClientTaken | undefined> {
    checkOptions(options, ['ttlMs', 'where', 'claimOf', 'signal'])
    const space: TaskSpace = {
      entries: (query) => this.entries(query),
      read: (key) => this.read(key),
      take: (key, ttlMs) => this.claim(key).take(ttlMs),
      release: (key, fence) => this.claim(key).release(fence).durable,
    }
    const taken = await claimNext(space, prefix, options, `${this.#settings.agent ?? ''}/${Math.random()}`)
    return taken && { ...taken, claim: this.claim(taken.claimKey) }
  }

  /** An entry as the named type, or else its newest, reads it. */
  async read(key: string, type?: string, options: ReadOptions = {}): Promise<EntryRead | undefined> {
    const answer = await this.#get(checkKey(key), type, false, options)
    return answer === undefined ? undefined : { ...answer, concurrent: answer.concurrent ?? [] }
  }

  history(key: string, options: AskOptions = {}): Promise<readonly HistoryItem[]> {
    return this.#history(checkKey(key), options)
  }

  async #get(
    key: string,
    type: string | undefined,
    siblings: boolean,
    options: ReadOptions,
  ): Promise<EntryAnswer | undefined> {
    const { signal, after, timeoutMs } = checkOptions(options, ['signal', 'after', 'timeoutMs'])
    const message = {
      do: 'get',
      space: this.name,
      key,
      ...(type !== undefined && { type }),
      ...(siblings && { siblings }),
      ...(after !== undefined && { after }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    }
    return (await this.#ask(message, signal)) as EntryAnswer | undefined
  }

  async #history(key: string, options: AskOptions): Promise<readonly HistoryItem[]> {
    const { signal } = checkOptions(options, ['signal'])
    const all: HistoryItem[] = []
    let cursor: string | undefined
    do {
      const page = (await this.#ask(
        { do: 'history', space: this.name, key, limit: limits.pageItems, ...(cursor !== undefined && { cursor }) },
        signal,
      )) as { readonly items: readonly HistoryItem[]; readonly cursor?: string } | undefined
      all.push(...(page?.items ?? []))
      cursor = page?.cursor
    } while (cursor !== undefined)
    return all
  }

  /** Undefined for what is not there: neither a space nor an entry need be. */
  async #ask(message: Readonly<Record<string, unknown>>, signal: AbortSignal | undefined): Promise<unknown> {
    try {
      return await this.#parts.session.ask(message, 'read', signal)
    } catch (error) {
      if (error instanceof SkeinError && error.code === 'not_found') return undefined
      throw error
    }
  }

  #write<Result>(
    message: Readonly<Record<string, unknown>>,
    key: string | undefined,
    { signal, ...settings }: ClientWriteSettings = this.#settings,
    pick?: (answer: WriteAnswer) => unknown,
  ): readonly [receipt: ClientReceipt<Result>, answer: Promise<WriteAnswer>] {
    const { session } = this.#parts
    // `busy` and `closed` are thrown here: nothing was kept that could be sent later.
    session.check()
    const whole = { ...message, ...settings, once: session.nextWrite() }
    const ask = (): Promise<WriteAnswer> => session.ask(whole, 'write', signal) as Promise<WriteAnswer>
    const answer =
      message['do'] === 'delete'
        ? ask().catch((error: unknown): WriteAnswer => {
            if (error instanceof SkeinError && error.code === 'not_found') return nothing
            throw error
          })
        : ask()
    const untilDurable = async (): Promise<void> => {
      while (!(await ask()).durable);
    }
    const writing = {
      untilDurable,
      reached: (version: string, options: ReachOptions) => reachedIn(session, this.name, version, options),
    }
    const unseen = (error: SkeinError): void => this.#parts.tell({ kind: 'unseen', error, space: this.name, key })
    return [new ClientReceipt<Result>(answer, writing, unseen, pick), answer]
  }
}

const nothing: WriteAnswer = { version: '', durable: true, changed: false }

class StagedTransaction<Schemas extends SpaceSchemas> extends ClientHandles<Schemas> {
  readonly operations: Keyed[] = []
  protected readonly access: ClientAccess
  #isEnded = false

  constructor(answer: Promise<WriteAnswer>) {
    super()
    const outside = (what: string) => (): never => {
      throw invalid(`${what} is for the space, not for a transaction: it is run by the node, when it gets there`)
    }
    const whole = {
      untilDurable: undefined,
      reached: () => Promise.reject(invalid('inside a transaction, await the receipt of transact')),
    }
    const add = (operation: Keyed): ClientReceipt<unknown> => {
      if (this.#isEnded) throw invalid('the transaction is over; its handles are too')
      const at = this.operations.push(operation) - 1
      return new ClientReceipt(
        answer,
        whole,
        () => undefined,
        ({ results }) => results?.[at] ?? undefined,
      )
    }
    this.access = {
      get: outside('reading'),
      run: (key, type, op, args) => {
        checkJson(args)
        return add({ ...args, key, type, op })
      },
      remove: (key) => add({ key, op: 'delete' }) as ClientReceipt,
      until: outside('hold'),
      history: outside('history'),
      watchKey: outside('watch'),
    }
  }

  expect(key: string, version: string): void {
    const at = this.operations.findIndex((operation) => operation.key === key)
    if (at < 0) throw invalid(`expect: write ${key} first; a condition stands on what is written`)
    this.operations[at] = { ...(this.operations[at] as Keyed), ifMatch: version }
  }

  end(): void {
    this.#isEnded = true
  }
}

function checkSettings(settings: ClientWriteSettings): ClientWriteSettings {
  return checkOptions(settings, ['agent', 'reason', 'durability', 'ttlMs', 'signal'])
}

function checkKey(key: string): string {
  return checkName(key, 'key', limits.keyBytes)
}

function checkName(name: string, what: string, limit: number): string {
  if (typeof name !== 'string' || name === '' || !name.isWellFormed() || utf8Length(name) > limit) {
    throw new SkeinError('invalid_key', `a ${what} is well-formed text of 1 to ${limit} bytes`, { limit })
  }
  return name
}
