/** A space as programs see it: handles on its entries, transactions, listing, watching. */
import { utf8Length } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Value } from '../base/value.ts'
import type { ChangeSet } from '../crdt/change.ts'
import type { CrdtType } from '../crdt/type.ts'
import { typeNamed, typeOf, types } from '../crdt/types/table.ts'
import { claimNext, unlessHeld } from '../recipes/claim-next.ts'
import type { NextOptions, TakenTask, TaskSpace } from '../recipes/claim-next.ts'
import { checkWhere, fits } from '../recipes/where.ts'
import type { Where } from '../recipes/where.ts'
import { isSystemKey } from '../merge/system.ts'
import type { Replica } from '../replica/replica.ts'
import type { StoredEntry } from '../replica/entry.ts'
import type { Space } from '../replica/space.ts'
import { checkSchema } from './define-space.ts'
import type { SpaceDefinition, SpaceSchemas, ValueIn } from './define-space.ts'
import {
  BudgetHandle,
  ClaimHandle,
  CounterHandle,
  DocHandle,
  FlagHandle,
  ListHandle,
  LogHandle,
  RecordHandle,
  RegisterHandle,
  SetHandle,
  TextHandle,
} from './handles.ts'
import { entryVersion, readEntry, siblingsOf } from './entry-read.ts'
import type { EntryRead } from './entry-read.ts'
import type { Access, CellSibling, WatchOptions } from './handles.ts'
import type { HistoryItem } from './history.ts'
import type { PurgeReport, Purges } from './purges.ts'
import type { ReachOptions } from './fleet.ts'
import { SpacePresence } from './presence.ts'
import type { NodePresence } from './presence.ts'
import { Receipt } from './receipt.ts'
import type { Commits, Durability } from './receipt.ts'
import type { Watch } from './watch.ts'

export interface WriteSettings {
  /** Who writes: a name on every delta, in history and in conflicts. */
  readonly agent?: string
  /** Why, for history. */
  readonly reason?: string
  readonly durability?: Durability
  /** What is written is deleted again after this time, unless it was overwritten by then. */
  readonly ttlMs?: number
}

/** What a space handle needs of its node. */
export interface SpaceHost extends Commits {
  readonly replica: Replica
  readonly presence: NodePresence
  readonly purges: Purges
  readonly settings: { readonly agent: string; readonly durability: Durability }
  now(): number
  /** Throws when the node takes no writes: closed, its disk full, or its store unable to be that durable. */
  writable(durability?: Durability): void
  /** Throws when the node is closed. */
  readable(): void
  /** Throws where an open conflict holds an entry that would change. */
  admit(space: Space, change: ChangeSet): void
  /** Ids of open conflicts in which an entry has a part. */
  conflictsOn(space: Space, key: string): readonly string[]
  /** A batch now waits; it needs at least this durability. */
  wrote(batch: number, durability: Durability): void
  /** The batch to wait for so that what can be read now is that durable: for a write that changed nothing. */
  settled(space: Space, durability: Durability): number
  /** A budget's rights on this node did not suffice: they are asked for. */
  shortOf(space: Space, key: string, amount: number): void
  history(space: Space, key: string): Promise<readonly HistoryItem[]>
  watch(space: Space, prefix: string, exact: boolean, options: WatchOptions): Watch
  /** The entries under a prefix, behind a key where one is given. */
  entries(space: Space, prefix: string, after: string): AsyncGenerator<StoredEntry, void, void>
}

export interface EntryRow {
  readonly key: string
  readonly type: string
  readonly value: unknown
}

export interface EntriesQuery {
  readonly prefix?: string
  /** Only records with these fields; dots lead into nested ones. */
  readonly where?: Where
  readonly signal?: AbortSignal
}

/** A task that this agent has now. */
export type Taken = TakenTask & { readonly claim: ClaimHandle }

/** What `transact` hands to its function: the same handles, over what the transaction has staged. */
export interface Transaction<Schemas extends SpaceSchemas = SpaceSchemas> {
  register<T = ValueIn<Schemas, 'register', Value>>(key: string): RegisterHandle<T>
  record<T = ValueIn<Schemas, 'record', { readonly [name: string]: Value }>>(key: string): RecordHandle<T>
  counter(key: string): CounterHandle
  set<T = ValueIn<Schemas, 'set', Value>>(key: string): SetHandle<T>
  flag(key: string): FlagHandle
  log<T = ValueIn<Schemas, 'log', Value>>(key: string): LogHandle<T>
  list<T = ValueIn<Schemas, 'list', Value>>(key: string): ListHandle<T>
  claim(key: string): ClaimHandle
  budget(key: string): BudgetHandle
  text(key: string): TextHandle
  doc<T = Value>(key: string): DocHandle<T>
  delete(key: string): Receipt
  run(key: string, type: string, operation: string, args: Readonly<Record<string, unknown>>): Receipt<unknown>
}

abstract class Handles<Schemas extends SpaceSchemas> implements Transaction<Schemas> {
  protected abstract readonly access: Access

  register<T = ValueIn<Schemas, 'register', Value>>(key: string): RegisterHandle<T> {
    return new RegisterHandle<T>(this.access, checkKey(key))
  }

  record<T = ValueIn<Schemas, 'record', { readonly [name: string]: Value }>>(key: string): RecordHandle<T> {
    return new RecordHandle<T>(this.access, checkKey(key))
  }

  counter(key: string): CounterHandle {
    return new CounterHandle(this.access, checkKey(key))
  }

  set<T = ValueIn<Schemas, 'set', Value>>(key: string): SetHandle<T> {
    return new SetHandle<T>(this.access, checkKey(key))
  }

  flag(key: string): FlagHandle {
    return new FlagHandle(this.access, checkKey(key))
  }

  log<T = ValueIn<Schemas, 'log', Value>>(key: string): LogHandle<T> {
    return new LogHandle<T>(this.access, checkKey(key))
  }

  list<T = ValueIn<Schemas, 'list', Value>>(key: string): ListHandle<T> {
    return new ListHandle<T>(this.access, checkKey(key))
  }

  claim(key: string): ClaimHandle {
    return new ClaimHandle(this.access, checkKey(key))
  }

  budget(key: string): BudgetHandle {
    return new BudgetHandle(this.access, checkKey(key))
  }

  text(key: string): TextHandle {
    return new TextHandle(this.access, checkKey(key))
  }

  doc<T = Value>(key: string): DocHandle<T> {
    return new DocHandle<T>(this.access, checkKey(key))
  }

  /** Deletes an entry, whatever types are alive under its key. */
  delete(key: string): Receipt {
    return this.access.remove(checkKey(key))
  }

  /** An operation by its name and those of its arguments: how HTTP and the command line write. */
  run(key: string, type: string, operation: string, args: Readonly<Record<string, unknown>>): Receipt<unknown> {
    return this.access.run(checkKey(key), typeCalled(type), operation, args)
  }
}

export class SpaceHandle<Schemas extends SpaceSchemas = SpaceSchemas> extends Handles<Schemas> {
  readonly name: string
  protected readonly access: Access
  readonly #host: SpaceHost
  readonly #space: Space
  readonly #definition: SpaceDefinition<Schemas> | undefined
  readonly #settings: WriteSettings

  constructor(
    host: SpaceHost,
    space: Space,
    definition: SpaceDefinition<Schemas> | undefined,
    settings: WriteSettings = {},
  ) {
    super()
    this.name = space.name
    this.#host = host
    this.#space = space
    this.#definition = definition
    this.#settings = settings
    this.access = {
      cells: (key, type) => {
        this.#alive()
        return host.replica.read(space).entry(key).cells(type.id)
      },
      run: (key, type, operation, args) => {
        try {
          return this.#commit((change) => runOn(change, space, key, type, operation, args, settings.ttlMs))
        } catch (error) {
          // Somebody else may have rights to spare: by the time of another attempt they may be here.
          if (error instanceof SkeinError && error.code === 'budget_exceeded') {
            host.shortOf(space, key, Number(error.details['asked']))
          }
          throw error
        }
      },
      remove: (key) =>
        this.#commit((change): undefined => {
          change.delete(space.entry(key), typeOf)
        }),
      conflicts: (key) => this.#conflicts(key),
      history: (key) => {
        this.#alive()
        return host.history(space, key)
      },
      watchKey: (key, options) => this.#watch(key, true, options),
    }
  }

  /** The same space with settings for what is written through the handle that this answers. */
  as(settings: WriteSettings): SpaceHandle<Schemas> {
    return new SpaceHandle(this.#host, this.#space, this.#definition, { ...this.#settings, ...checkSettings(settings) })
  }

  /** What agents show of themselves for a while, told at once and kept on no disk; this handle's agent may show itself. */
  get presence(): SpacePresence {
    const agent = this.#settings.agent ?? this.#host.settings.agent
    return new SpacePresence(this.#host.presence, this.#space, agent, () => this.#alive())
  }

  /**
   * Everything that `work` writes through its argument becomes one delta: applied, stored and replicated whole. It must
   * be synchronous; if it throws, nothing has happened.
   */
  transact<T>(work: (tx: Transaction<Schemas>) => T, settings: WriteSettings = {}): Receipt<T> {
    if (typeof work !== 'function') throw new SkeinError('invalid_argument', 'transact takes a function')
    const merged = { ...this.#settings, ...checkSettings(settings) }
    return this.#commit((change) => {
      const staged = new StagedSpace<Schemas>(this.#space, change, merged.ttlMs)
      let result: T
      try {
        result = work(staged)
      } finally {
        staged.end()
      }
      if (isThenable(result)) {
        result.then(undefined, () => undefined)
        throw new SkeinError(
          'invalid_argument',
          'transact: its function must be synchronous, and it answered a promise',
        )
      }
      return result
    }, merged)
  }

  /** Changes of one entry. */
  watchKey(key: string, options: WatchOptions = {}): Watch {
    return this.access.watchKey(checkKey(key), options)
  }

  /** Changes of this space, from now on or from a token on. */
  watch(options: WatchOptions & { readonly prefix?: string } = {}): Watch {
    const { prefix = '', ...rest } = checkOptions(options, ['prefix', 'since', 'signal'])
    if (typeof prefix !== 'string') throw new SkeinError('invalid_argument', 'prefix must be a string')
    return this.#watch(prefix, false, rest)
  }

  /**
   * The entries under a prefix in the order of their keys; with `where` the records with these fields. What is there
   * throughout is listed, once.
   */
  entries(options: string | EntriesQuery = {}): AsyncGenerator<EntryRow, void, void> {
    if (typeof options === 'string') return rows(this.#listed(options, ''))
    const { prefix = '', where = {}, signal } = checkOptions(options, ['prefix', 'where', 'signal'])
    return selected(rows(this.#listed(prefix, '')), checkWhere(where), signal)
  }

  /**
   * Takes a task under the prefix that nobody has: claims it beside its entry, at `<key>/claim` unless told otherwise, so
   * that no other `claimNext` gets it while the claim stands. Undefined when none is free.
   */
  async claimNext(prefix: string, options: NextOptions = {}): Promise<Taken | undefined> {
    checkOptions(options, ['ttlMs', 'where', 'claimOf', 'signal'])
    const host = this.#host
    const space: TaskSpace = {
      entries: (query) => this.entries(query),
      read: async (key) => this.read(key),
      take: (key, ttlMs) =>
        unlessHeld(
          (async () => {
            const claim = this.claim(key)
            const { holder, until } = claim.get().value
            if (holder !== null && until >= host.now()) return undefined
            const receipt = claim.acquire(ttlMs)
            await receipt.durable
            return receipt.result
          })(),
        ),
      release: async (key, fence) => this.claim(key).release(fence).durable,
    }
    const salt = `${this.#settings.agent ?? host.settings.agent}/${Math.random()}`
    const taken = await claimNext(space, prefix, options, salt)
    return taken && { ...taken, claim: this.claim(taken.claimKey) }
  }

  /** The same with versions, from behind a key on: a page of a listing goes on where the last one ended. */
  scan(options: { readonly prefix?: string; readonly after?: string } = {}): AsyncGenerator<EntryRead, void, void> {
    return reads(this.#listed(options.prefix ?? '', options.after ?? ''), (key) => this.#conflicts(key))
  }

  #listed(prefix: string, after: string): AsyncGenerator<StoredEntry, void, void> {
    this.#alive()
    if (typeof prefix !== 'string') throw new SkeinError('invalid_argument', 'prefix must be a string')
    return this.#host.entries(this.#space, prefix, after)
  }

  /** An entry as the named type, or else its newest, reads it. */
  read(key: string, type?: string): EntryRead | undefined {
    this.#alive()
    const entry = this.#host.replica.read(this.#space).entry(checkKey(key))
    const read = readEntry(entry, type === undefined ? undefined : typeCalled(type).id)
    return read && { ...read, ...this.#conflicts(key) }
  }

  #conflicts(key: string): { readonly conflicts?: readonly string[] } {
    const conflicts = this.#host.conflictsOn(this.#space, key)
    return conflicts.length === 0 ? {} : { conflicts }
  }

  /** Every live sibling of an entry under one type. */
  siblings(key: string, type: string): CellSibling[] {
    this.#alive()
    return siblingsOf(this.#host.replica.read(this.#space).entry(checkKey(key)), typeCalled(type).id)
  }

  /** The version of an entry, whether it is there or not. */
  version(key: string): string {
    this.#alive()
    return entryVersion(this.#host.replica.read(this.#space).entry(checkKey(key)))
  }

  history(key: string): Promise<readonly HistoryItem[]> {
    return this.access.history(checkKey(key))
  }

  /**
   * Deletes an entry and takes all that was ever written to it, as far as this node has seen it, out of logs, histories and
   * files: here, and at every node that holds the space as soon as it hears of it. Resolves when all living members
   * have said so or the time is over, and says who has not. Unlike a deletion, and like no other write, it cannot be undone.
   */
  async purge(key: string, options: ReachOptions = {}): Promise<PurgeReport> {
    this.#alive()
    checkOptions(options, ['timeoutMs', 'signal'])
    const { purges, settings } = this.#host
    const { agent = settings.agent, reason } = this.#settings
    await purges.purge(this.#space, checkKey(key), reason, agent)
    return purges.everywhere(this.#space, key, options)
  }

  /** Who has carried out the purges of an entry. */
  purged(key: string): PurgeReport {
    this.#alive()
    return this.#host.purges.status(this.#space, checkKey(key))
  }

  /** Where the space stands: counts, and the root that equal replicas share. */
  status(): SpaceStatus {
    this.#alive()
    return spaceStatus(this.#space)
  }

  #watch(prefix: string, exact: boolean, options: WatchOptions): Watch {
    this.#alive()
    const { signal } = checkOptions(options, ['since', 'signal'])
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw new SkeinError('invalid_argument', 'signal must be an AbortSignal')
    }
    return this.#host.watch(this.#space, prefix, exact, options)
  }

  #alive(): void {
    this.#host.readable()
    if (this.#space.deleted) {
      throw new SkeinError('space_deleted', `this generation of space ${this.name} was deleted`)
    }
  }

  #commit<T>(make: (change: ChangeSet) => T, settings: WriteSettings = this.#settings): Receipt<T> {
    const host = this.#host
    const durability = settings.durability ?? host.settings.durability
    host.writable(durability)
    const agent = settings.agent ?? host.settings.agent
    const schemas = this.#definition?.schema
    const { result, dot, batch } = host.replica.transact(
      this.#space,
      { nowMs: host.now(), agent, reason: settings.reason },
      (change) => {
        const answer = make(change)
        if (schemas !== undefined) checkAll(change, schemas)
        host.admit(this.#space, change)
        return answer
      },
    )
    if (dot === undefined) return new Receipt(host, result, undefined, dot, host.settled(this.#space, durability))
    host.wrote(batch, durability)
    return new Receipt(host, result, this.#space, dot, batch)
  }
}

async function* selected(
  entries: AsyncIterable<EntryRow>,
  where: Where,
  signal: AbortSignal | undefined,
): AsyncGenerator<EntryRow, void, void> {
  for await (const entry of entries) {
    if (signal?.aborted === true) throw new SkeinError('aborted', 'the listing was given up', {}, signal.reason)
    if (fits(where, entry.type, entry.value)) yield entry
  }
}

async function* rows(entries: AsyncIterable<StoredEntry>): AsyncGenerator<EntryRow, void, void> {
  for await (const entry of entries) {
    const type = typeOf(entry.types().at(-1) ?? 0)
    if (type !== undefined) yield { key: entry.key, type: type.name, value: type.read(entry.cells(type.id)).value }
  }
}

async function* reads(
  entries: AsyncIterable<StoredEntry>,
  conflicts: (key: string) => Pick<EntryRead, 'conflicts'>,
): AsyncGenerator<EntryRead, void, void> {
  for await (const entry of entries) {
    const read = readEntry(entry)
    if (read !== undefined) yield { ...read, ...conflicts(read.key) }
  }
}

export interface SpaceStatus {
  readonly name: string
  readonly generation: number
  readonly entries: number
  readonly siblings: number
  readonly origins: number
  readonly logBytes: number
  readonly root: string
}

export function spaceStatus(space: Space): SpaceStatus {
  const { name, generation, entryCount, tree, vector, logBytes } = space
  return {
    name,
    generation,
    entries: entryCount,
    siblings: tree.root[4] as number,
    origins: vector.size,
    logBytes,
    root: [...tree.root.subarray(0, 4)].map((lane) => lane.toString(16).padStart(8, '0')).join(''),
  }
}

class StagedSpace<Schemas extends SpaceSchemas> extends Handles<Schemas> {
  protected readonly access: Access
  #ended = false

  constructor(space: Space, change: ChangeSet, ttlMs: number | undefined) {
    super()
    const inside = (): void => {
      if (this.#ended) throw new SkeinError('invalid_argument', 'the transaction is over; its handles are too')
    }
    const outside = (what: string) => () => {
      throw new SkeinError('invalid_argument', `${what} is for the space, not for a transaction`)
    }
    const receipt = <T>(result: T): Receipt<T> => new Receipt(inTransaction, result, undefined, undefined, 0)
    this.access = {
      cells: (key, type) => {
        inside()
        return change.cells(space.entry(key), type)
      },
      run: (key, type, operation, args) => {
        inside()
        return receipt(runOn(change, space, key, type, operation, args, ttlMs))
      },
      remove: (key) => {
        inside()
        change.delete(space.entry(key), typeOf)
        return receipt(undefined)
      },
      // What a transaction reads, it reads to write: who decides conflicts asks the space.
      conflicts: () => ({}),
      history: outside('history'),
      watchKey: outside('watch'),
    }
  }

  end(): void {
    this.#ended = true
  }
}

/** Inside a transaction nothing is durable by itself: the transaction's own receipt says when it is. */
const inTransaction: Commits = {
  whenStored: () =>
    Promise.reject(new SkeinError('invalid_argument', 'inside a transaction, await the receipt of transact')),
  whenReached: () =>
    Promise.reject(new SkeinError('invalid_argument', 'inside a transaction, await the receipt of transact')),
}

function runOn(
  change: ChangeSet,
  space: Space,
  key: string,
  type: CrdtType,
  name: string,
  args: Readonly<Record<string, unknown>>,
  ttlMs: number | undefined,
): Value | undefined {
  const operation = Object.hasOwn(type.operations, name) ? type.operations[name] : undefined
  if (operation === undefined) {
    throw new SkeinError('unknown_type', `${type.name} has no operation ${name}`, {
      known: Object.keys(type.operations),
    })
  }
  return change.run(space.entry(key), type, operation, args, ttlMs)
}

function typeCalled(name: unknown): CrdtType {
  const type = typeof name === 'string' ? typeNamed(name) : undefined
  if (type !== undefined) return type
  throw new SkeinError('unknown_type', `there is no type ${String(name)}`, { known: types.map((one) => one.name) })
}

function checkAll(change: ChangeSet, schemas: SpaceSchemas): void {
  for (const touched of change.touched()) {
    for (const id of touched.types) {
      const type = typeOf(id)
      if (type === undefined || !(type.name in schemas)) continue
      checkSchema(schemas, type.name, touched.entry.key, type.read(touched.cells(id)).value)
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** An option that nobody reads is a typing error, and silence would hide it. */
export function checkOptions<T extends object>(options: T, known: readonly (keyof T & string)[]): T {
  if (typeof options !== 'object' || options === null) throw new SkeinError('invalid_argument', 'options are an object')
  for (const name of Object.keys(options)) {
    if (!(known as readonly string[]).includes(name)) {
      throw new SkeinError('invalid_argument', `${name} is not an option here; there are ${known.join(', ')}`)
    }
  }
  return options
}

export function checkKey(key: unknown): string {
  const name = checkName(key, 'key', limits.keyBytes)
  if (isSystemKey(name)) throw new SkeinError('invalid_key', "keys that begin with U+0000 are the system's own")
  return name
}

export function checkName(name: unknown, what: string, limit: number): string {
  if (typeof name !== 'string' || name === '')
    throw new SkeinError('invalid_key', `a ${what} is a string that is not empty`)
  if (!name.isWellFormed()) throw new SkeinError('invalid_key', `the ${what} holds a lone surrogate`)
  const sizeBytes = utf8Length(name)
  if (sizeBytes > limit) {
    throw new SkeinError('invalid_key', `a ${what} of ${sizeBytes} bytes is over the limit of ${limit}`, {
      sizeBytes,
      limit,
    })
  }
  return name
}

export function checkSettings(settings: WriteSettings): WriteSettings {
  const { agent, reason, durability, ttlMs } = checkOptions(settings, ['agent', 'reason', 'durability', 'ttlMs'])
  if (agent !== undefined) checkName(agent, 'agent name', limits.agentBytes)
  if (reason !== undefined) checkName(reason, 'reason', limits.reasonBytes)
  if (durability !== undefined) checkDurability(durability)
  if (ttlMs !== undefined && !(Number.isSafeInteger(ttlMs) && ttlMs > 0 && ttlMs <= limits.ttlMs)) {
    throw new SkeinError(
      'invalid_argument',
      `ttlMs must be a whole number from 1 to ${limits.ttlMs}, not ${String(ttlMs)}`,
    )
  }
  // What was checked is what is kept: a getter could answer otherwise the next time.
  return {
    ...(agent !== undefined && { agent }),
    ...(reason !== undefined && { reason }),
    ...(durability !== undefined && { durability }),
    ...(ttlMs !== undefined && { ttlMs }),
  }
}

export function checkDurability(durability: unknown): Durability {
  if (durability === 'memory' || durability === 'os' || durability === 'disk') return durability
  throw new SkeinError('invalid_argument', `durability must be memory, os or disk, not ${String(durability)}`)
}
