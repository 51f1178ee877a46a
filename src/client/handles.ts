/**
 * The eleven types over a connection: the handles of a node in the process, with a promise wherever those answer at once.
 * A write is sent in the order of the calls, and a read behind it sees it.
 */
import type { Value } from '../base/value.ts'
import type { Written } from '../crdt/type.ts'
import type { BudgetState, CellSibling, ClaimState, Fields, Held, Read } from '../node/handles.ts'
import type { HistoryItem } from '../node/history.ts'
import { unlessHeld } from '../recipes/claim-next.ts'
import { hold } from '../recipes/hold.ts'
import type { HoldOptions, Holdable, Work } from '../recipes/hold.ts'
import type { ClientReceipt } from './receipt.ts'
import type { ClientWatch } from './watch.ts'

export interface AskOptions {
  readonly signal?: AbortSignal
}

export interface ReadOptions extends AskOptions {
  /** A version from elsewhere: the read waits until the node has what it names, or fails with `behind`. */
  readonly after?: string
  /** How long it waits for that: 10 s unless told otherwise. */
  readonly timeoutMs?: number
}

export interface ClientWatchOptions extends AskOptions {
  /** The token of an earlier event: everything after it is delivered, or a gap says that it cannot be. */
  readonly since?: string
}

/** As the node answers a read. */
export interface EntryAnswer {
  readonly key: string
  readonly type: string
  readonly value: unknown
  readonly by: { readonly agent: string; readonly at: number }
  readonly concurrent?: readonly Written<unknown>[]
  readonly conflicts?: readonly string[]
  readonly siblings?: readonly CellSibling[]
  readonly version: string
}

/** Only if the entry is at that version, or is not there. */
export type Condition = { readonly ifMatch: string } | { readonly ifNoneMatch: '*' }

/** What a handle needs of the space, or of the transaction, that made it. */
export interface ClientAccess {
  /** Undefined where nothing of that type is there. */
  get(key: string, type: string, siblings: boolean, options: ReadOptions): Promise<EntryAnswer | undefined>
  run(
    key: string,
    type: string,
    operation: string,
    args: Readonly<Record<string, unknown>>,
    condition?: Condition,
  ): ClientReceipt<unknown>
  /** The same space, with what is written given up by a signal. */
  until(signal: AbortSignal): ClientAccess
  remove(key: string): ClientReceipt
  history(key: string, options: AskOptions): Promise<readonly HistoryItem[]>
  watchKey(key: string, options: ClientWatchOptions): ClientWatch
}

abstract class ClientHandle<T> {
  readonly key: string
  readonly #access: ClientAccess
  readonly #type: string
  readonly #empty: T

  constructor(access: ClientAccess, key: string, type: string, empty: T) {
    this.#access = access
    this.key = key
    this.#type = type
    this.#empty = empty
  }

  async get(options: ReadOptions = {}): Promise<Read<T>> {
    const answer = await this.#access.get(this.key, this.#type, false, options)
    if (answer === undefined) {
      return { value: this.#empty, exists: false, concurrent: [], by: undefined, version: '' }
    }
    const { value, concurrent = [], conflicts, by, version } = answer
    return { value: value as T, exists: true, concurrent, ...(conflicts && { conflicts }), by, version }
  }

  /** Every live sibling of every cell, as it was written. */
  async siblings(options: ReadOptions = {}): Promise<readonly CellSibling[]> {
    return (await this.#access.get(this.key, this.#type, true, options))?.siblings ?? []
  }

  /** Who changed this entry, when and why, oldest first, as far back as the node's log goes. */
  history(options: AskOptions = {}): Promise<readonly HistoryItem[]> {
    return this.#access.history(this.key, options)
  }

  watch(options: ClientWatchOptions = {}): ClientWatch {
    return this.#access.watchKey(this.key, options)
  }

  /** Deletes the entry, whatever types are alive under its key. */
  delete(): ClientReceipt {
    return this.#access.remove(this.key)
  }

  protected run<Result = undefined>(operation: string, args: Readonly<Record<string, unknown>>): ClientReceipt<Result> {
    return this.#access.run(this.key, this.#type, operation, args) as ClientReceipt<Result>
  }
}

export class ClientRegister<T = Value> extends ClientHandle<T | undefined> {
  constructor(access: ClientAccess, key: string) {
    super(access, key, 'register', undefined)
  }

  set(value: T): ClientReceipt {
    return this.run('set', { value })
  }
}

export class ClientRecord<T = { readonly [name: string]: Value }> extends ClientHandle<T | undefined> {
  constructor(access: ClientAccess, key: string) {
    super(access, key, 'record', undefined)
  }

  /** Writes the fields that it names and leaves the others. */
  set(fields: Fields<T>): ClientReceipt {
    return this.run('set', { fields })
  }

  /** Removes fields: a name, or the names on the way to a nested one. */
  unset(...paths: readonly (string | readonly string[])[]): ClientReceipt {
    return this.run('unset', { paths })
  }
}

export class ClientCounter extends ClientHandle<number> {
  constructor(access: ClientAccess, key: string) {
    super(access, key, 'counter', 0)
  }

  incr(by: number = 1): ClientReceipt {
    return this.run('incr', { by })
  }
}

export class ClientSet<T = Value> extends ClientHandle<readonly T[]> {
  constructor(access: ClientAccess, key: string) {
    super(access, key, 'set', [])
  }

  add(...values: readonly T[]): ClientReceipt {
    return this.run('add', { values })
  }

  /** A concurrent add of the same element wins. */
  remove(...values: readonly T[]): ClientReceipt {
    return this.run('remove', { values })
  }

  /** The removal wins over concurrent adds. */
  removeForGood(...values: readonly T[]): ClientReceipt {
    return this.run('remove', { values, wins: 'remove' })
  }
}

export class ClientFlag extends ClientHandle<boolean> {
  constructor(access: ClientAccess, key: string) {
    super(access, key, 'flag', false)
  }

  enable(): ClientReceipt {
    return this.run('enable', {})
  }

  /** A concurrent enable wins, unless `wins` says otherwise. */
  disable(options: { readonly wins?: 'disable' } = {}): ClientReceipt {
    return this.run('disable', { ...options })
  }
}

export class ClientLog<T = Value> extends ClientHandle<readonly T[]> {
  constructor(access: ClientAccess, key: string) {
    super(access, key, 'log', [])
  }

  append(...values: readonly T[]): ClientReceipt {
    return this.run('append', { values })
  }

  /** Appends and keeps only the newest `keep` items. */
  appendKeeping(keep: number, ...values: readonly T[]): ClientReceipt {
    return this.run('append', { values, keep })
  }
}

export class ClientList<T = Value> extends ClientHandle<readonly T[]> {
  constructor(access: ClientAccess, key: string) {
    super(access, key, 'list', [])
  }

  insert(at: number, ...values: readonly T[]): ClientReceipt {
    return this.run('insert', { at, values })
  }

  remove(at: number, count: number = 1): ClientReceipt {
    return this.run('remove', { at, count })
  }

  move(from: number, to: number): ClientReceipt {
    return this.run('move', { from, to })
  }
}

export class ClientClaim extends ClientHandle<ClaimState> {
  readonly #access: ClientAccess

  constructor(access: ClientAccess, key: string) {
    super(access, key, 'claim', { holder: null, fence: 0, until: 0 })
    this.#access = access
  }

  /** Fails with claim_held while another agent holds it. */
  acquire(ttlMs: number): ClientReceipt<Held> {
    return this.run('acquire', { ttlMs })
  }

  renew(fence: number, ttlMs: number): ClientReceipt<Held> {
    return this.run('renew', { fence, ttlMs })
  }

  release(fence: number): ClientReceipt {
    return this.run('release', { fence })
  }

  /** @internal Acquires what nobody holds, this agent included; undefined when somebody does. */
  take(ttlMs: number): Promise<Held | undefined> {
    return unlessHeld(
      (async () => {
        const { value, exists, version } = await this.get()
        if (value.holder !== null && value.until >= Date.now()) return undefined
        const condition: Condition = exists ? { ifMatch: version } : { ifNoneMatch: '*' }
        return storedResult(this.#access.run(this.key, 'claim', 'acquire', { ttlMs }, condition) as ClientReceipt<Held>)
      })(),
    )
  }

  /**
   * Acquires, works, renews meanwhile, releases. The work's signal says that the claim is lost; then this fails with
   * `stale_fence`, whatever the work answers. A node that is away for longer than `ttlMs` loses it as well.
   */
  hold<T>(work: Work<T>, options: HoldOptions = {}): Promise<T> {
    const claim: Holdable = {
      key: this.key,
      acquire: async (ttlMs) => storedResult(this.acquire(ttlMs)),
      renew: async (fence, ttlMs, signal) =>
        storedResult(new ClientClaim(this.#access.until(signal), this.key).renew(fence, ttlMs)),
      release: async (fence) => this.release(fence).durable,
      read: async () => (await this.get()).value,
      changes: (signal) => this.watch({ signal }),
    }
    return hold(claim, work, options)
  }
}

async function storedResult<Result>(receipt: ClientReceipt<Result>): Promise<Result> {
  await receipt.durable
  return receipt.result
}

const noBudget: BudgetState = {
  granted: 0,
  spent: 0,
  held: 0,
  revoked: 0,
  available: 0,
  rights: {},
  overspent: 0,
}

export class ClientBudget extends ClientHandle<BudgetState> {
  constructor(access: ClientAccess, key: string) {
    super(access, key, 'budget', noBudget)
  }

  grant(amount: number): ClientReceipt {
    return this.run('grant', { amount })
  }

  /** Fails with budget_exceeded rather than overspend. */
  spend(amount: number): ClientReceipt {
    return this.run('spend', { amount })
  }

  /** Sets rights aside for a cost that is known later. */
  reserve(amount: number): ClientReceipt<{ readonly id: string }> {
    return this.run('reserve', { amount })
  }

  settle(id: string, amount: number): ClientReceipt {
    return this.run('settle', { id, amount })
  }

  refund(id: string): ClientReceipt {
    return this.run('refund', { id })
  }

  revoke(amount: number): ClientReceipt {
    return this.run('revoke', { amount })
  }

  transfer(to: string, amount: number): ClientReceipt {
    return this.run('transfer', { to, amount })
  }
}

export class ClientText extends ClientHandle<string> {
  constructor(access: ClientAccess, key: string) {
    super(access, key, 'text', '')
  }

  insert(at: number, text: string): ClientReceipt {
    return this.run('insert', { at, text })
  }

  override delete(): ClientReceipt
  override delete(at: number, count: number): ClientReceipt
  override delete(at?: number, count?: number): ClientReceipt {
    return at === undefined ? super.delete() : this.run('delete', { at, count })
  }

  /** Takes in an update that a Yjs client made, in format V1. */
  update(update: Uint8Array): ClientReceipt {
    return this.run('update', { update: base64Of(update) })
  }
}

export class ClientDoc<T = Value> extends ClientHandle<T> {
  constructor(access: ClientAccess, key: string) {
    super(access, key, 'doc', {} as T)
  }

  set(path: readonly (string | number)[], value: Value): ClientReceipt {
    return this.run('set', { path, value })
  }

  unset(path: readonly (string | number)[]): ClientReceipt {
    return this.run('unset', { path })
  }

  /** Takes in a change that an Automerge client made. */
  change(change: Uint8Array): ClientReceipt {
    return this.run('change', { change: base64Of(change) })
  }
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
