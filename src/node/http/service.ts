/**
 * What HTTP and the stream can ask of a node, without either: a caller, plain arguments, plain answers. Rights are asked
 * for here, so that no door can forget them; conditions are checked in the very step that writes, so that nothing comes in
 * between on this replica.
 */
import { SkeinError } from '../../base/errors.ts'
import { compareUtf8 } from '../../base/bytes.ts'
import { limits } from '../../base/limits.ts'
import type { RowScanner } from '../../base/rows.ts'
import type { Value } from '../../base/value.ts'
import { covers } from '../../crdt/dot.ts'
import type { HistoryItem } from '../history.ts'
import type { SkeinNode } from '../node.ts'
import type { PresenceEvent, PresentAgent, ShowOptions } from '../presence.ts'
import type { PurgeReport } from '../purges.ts'
import type { Durability, Receipt } from '../receipt.ts'
import { checkKey, checkName } from '../space-handle.ts'
import type { SpaceHandle, SpaceStatus, Transaction, WriteSettings } from '../space-handle.ts'
import type { Watch } from '../watch.ts'
import { agentOf, mayAnywhere, must, mustEverywhere, mustSomewhere } from '../security/caller.ts'
import type { Caller, Right } from '../security/caller.ts'
import { ConflictDesk } from './conflict-desk.ts'
import { fleetOf } from './fleet-view.ts'
import type { FleetView, Reached, SyncReport, Verdict, Visibility } from './fleet-view.ts'
import { fieldFilters, passes } from './filters.ts'
import { fingerprintOf } from './idempotency.ts'
import type { Idempotency, Replayed } from './idempotency.ts'
import type { Session } from './sessions.ts'
import { fromBase64, jsonOf, roughSize, sealed, unsealed } from './json.ts'
import { matches, parseVersion, versionAfter } from './version.ts'
import { settled } from './waiting.ts'
import type { Wait } from './waiting.ts'

export interface WriteRequest {
  readonly agent?: string | undefined
  readonly reason?: string | undefined
  readonly durability?: Durability | undefined
  readonly ttlMs?: number | undefined
  readonly ifMatch?: string | undefined
  readonly ifNoneMatch?: string | undefined
  readonly idempotencyKey?: string | undefined
  /** The same for a client of the stream: which of the writes of its session this is. */
  readonly once?: { readonly session: Session; readonly number: number } | undefined
  readonly wait: Wait
}

export type Operation = Readonly<Record<string, unknown>> & {
  readonly type?: string
  readonly op: string
}

export type KeyedOperation = Operation & { readonly key: string; readonly ifMatch?: string }

export interface WriteAnswer {
  readonly version: string
  readonly durable: boolean
  /** False: it said nothing new. */
  readonly changed: boolean
  readonly result?: unknown
  readonly reached?: { readonly met: boolean; readonly reached: readonly string[]; readonly missing: readonly string[] }
  /** The entry's version as a read gives it. */
  readonly entry?: string
  readonly results?: readonly unknown[]
  readonly entries?: readonly { readonly key: string; readonly version: string }[]
  /** Answered from what was kept for the Idempotency-Key. */
  readonly replayed?: boolean
}

/** What is known when the write has been applied. */
type Told = Omit<WriteAnswer, 'durable' | 'reached' | 'replayed'>

export interface EntryAnswer {
  readonly key: string
  readonly type: string
  readonly value: unknown
  readonly by: { readonly agent: string; readonly at: number }
  readonly concurrent?: readonly unknown[]
  readonly siblings?: readonly unknown[]
  readonly version: string
}

export interface Page<Item> {
  readonly items: readonly Item[]
  /** Where to go on; absent at the end. */
  readonly cursor: string | undefined
}

/** How often a read that waits for a version looks again. */
const lookAgainMs = 20

export class Service {
  readonly node: SkeinNode
  readonly fleet: FleetView
  readonly conflicts: ConflictDesk
  readonly metrics: () => Promise<string>
  readonly #idempotency: Idempotency

  constructor(node: SkeinNode, idempotency: Idempotency, metrics: () => Promise<string>) {
    this.node = node
    this.fleet = fleetOf(node)
    this.conflicts = new ConflictDesk(node, this.fleet)
    this.metrics = metrics
    this.#idempotency = idempotency
  }

  // Entries

  get(
    caller: Caller,
    space: string,
    key: string,
    { type, siblings = false }: { readonly type?: string | undefined; readonly siblings?: boolean } = {},
  ): EntryAnswer {
    must(caller, 'read', space, checkKey(key))
    const handle = this.#known(space)
    const read = handle.read(key, type)
    if (read === undefined) throw new SkeinError('not_found', `space ${space} has no entry ${key}`, { key })
    const { concurrent, value, ...rest } = read
    return {
      ...rest,
      value: jsonOf(value),
      ...(concurrent.length > 0 && { concurrent: concurrent.map(jsonOf) }),
      ...(siblings && { siblings: handle.siblings(key, read.type).map(jsonOf) }),
    }
  }

  /** Waits until this node has applied what a version names. */
  async caughtUp(caller: Caller, space: string, version: string, timeoutMs: number): Promise<void> {
    must(caller, 'read', space)
    const { dots } = parseVersion(version)
    const untilMs = performance.now() + timeoutMs
    for (;;) {
      const vector = this.node.replica.find(space)?.vector
      if (vector !== undefined && dots.every((dot) => covers(vector, dot))) return
      this.node.readable()
      const leftMs = untilMs - performance.now()
      if (leftMs <= 0) throw new SkeinError('behind', `space ${space} here has not come to that version`)
      await new Promise((resolve) => setTimeout(resolve, Math.min(lookAgainMs, leftMs)))
    }
  }

  /** Pages in the order of the keys. The cursor is the last key: writes in between neither skip nor repeat an entry. */
  async list(
    caller: Caller,
    space: string,
    query: {
      readonly prefix?: string | undefined
      readonly where?: readonly string[] | undefined
      readonly limit?: number | undefined
      readonly cursor?: string | undefined
    },
  ): Promise<Page<EntryAnswer>> {
    const { prefix = '', where = [], limit = 100, cursor } = query
    must(caller, 'read', space, prefix)
    const filters = fieldFilters(where)
    const after = cursor === undefined ? '' : afterOf(cursor, space, prefix)
    const items: EntryAnswer[] = []
    let last = after
    let scanned = 0
    let sizeBytes = 0
    for await (const { concurrent, value, ...rest } of this.#known(space).scan({ prefix, after })) {
      if (items.length >= limit || scanned >= limits.pageScanned || sizeBytes >= limits.pageBytes) {
        return { items, cursor: sealed(['e1', space, prefix, last]) }
      }
      scanned++
      last = rest.key
      if (!filters.every((filter) => passes(filter, rest.type, value))) continue
      const shown = {
        ...rest,
        value: jsonOf(value),
        ...(concurrent.length > 0 && { concurrent: concurrent.map(jsonOf) }),
      }
      // A rough measure is enough for a bound; only large pages pay for it.
      sizeBytes += roughSize(shown.value)
      items.push(shown)
    }
    return { items, cursor: undefined }
  }

  operate(caller: Caller, space: string, key: string, body: Operation, request: WriteRequest): Promise<WriteAnswer> {
    return this.#write(caller, space, [key], ['op', body], request, (handle) => {
      this.#condition(handle, key, request)
      const { type, op, ...args } = body
      const receipt = handle.run(key, named(type), op, fromJson(named(type), op, args))
      return { receipt, told: oneAnswer(receipt, handle.version(key)) }
    })
  }

  remove(caller: Caller, space: string, key: string, request: WriteRequest): Promise<WriteAnswer> {
    return this.#write(caller, space, [key], ['delete'], request, (handle) => {
      this.#condition(handle, key, request)
      if (handle.read(key) === undefined) {
        throw new SkeinError('not_found', `space ${space} has no entry ${key}`, { key })
      }
      const receipt = handle.delete(key)
      return { receipt, told: oneAnswer(receipt, handle.version(key)) }
    })
  }

  transact(
    caller: Caller,
    space: string,
    operations: readonly KeyedOperation[],
    request: WriteRequest,
  ): Promise<WriteAnswer> {
    const keys = [...new Set(operations.map(({ key }) => key))]
    return this.#write(caller, space, keys, ['transact', operations], request, (handle) => {
      for (const { key, ifMatch } of operations) this.#condition(handle, key, { ifMatch, ifNoneMatch: undefined })
      const receipt = handle.transact((tx) => operations.map((operation) => runIn(tx, operation)))
      const told = {
        version: receipt.version,
        changed: receipt.changed,
        results: receipt.result.map((result) => jsonOf(result) ?? null),
        entries: keys.map((key) => ({ key, version: handle.version(key) })),
      }
      return { receipt, told }
    })
  }

  /** Everything up to the receipt is one synchronous step; only then is there something to wait for. */
  async #write(
    caller: Caller,
    space: string,
    keys: readonly string[],
    asked: readonly unknown[],
    request: WriteRequest,
    make: (handle: SpaceHandle) => { readonly receipt: Receipt<unknown>; readonly told: Told },
  ): Promise<WriteAnswer> {
    const { idempotencyKey, once, wait } = request
    checkName(space, 'space name', limits.spaceNameBytes)
    for (const key of keys) must(caller, 'write', space, checkKey(key))
    const agent = agentOf(caller, request.agent)
    let fingerprint = ''
    if (idempotencyKey !== undefined) {
      const { reason, ttlMs, ifMatch, ifNoneMatch } = request
      fingerprint = fingerprintOf([space, keys, asked, agent, reason, ttlMs, ifMatch, ifNoneMatch])
      const before = this.#idempotency.replay(caller.id, idempotencyKey, fingerprint)
      if (before !== undefined) return this.#repeated(space, before, wait)
    }
    const before = once?.session.replay(once.number)
    if (before !== undefined) return this.#repeated(space, before, wait)
    const handle = this.#writable(space).as(settingsOf(agent, request))
    const { receipt, told } = make(handle)
    if (idempotencyKey !== undefined) {
      this.#idempotency.keep(caller.id, idempotencyKey, fingerprint, told as unknown as Value)
    }
    if (once !== undefined) {
      // The stream tells one version, and keeps no other.
      const { entry: _entry, ...kept } = told
      once.session.keep(once.number, kept as unknown as Value)
    }
    // The version and not the write alone: one that said nothing new waits for what it found.
    return { ...told, ...(await settled(this.fleet, space, told.version, () => receipt.durable, wait)) }
  }

  async #repeated(space: string, { answer, durable }: Replayed, wait: Wait): Promise<WriteAnswer> {
    const told = answer as unknown as Told
    return { ...told, ...(await settled(this.fleet, space, told.version, durable, wait)), replayed: true }
  }

  #condition(
    handle: SpaceHandle,
    key: string,
    { ifMatch, ifNoneMatch }: Pick<WriteRequest, 'ifMatch' | 'ifNoneMatch'>,
  ): void {
    if (ifMatch === undefined && ifNoneMatch === undefined) return
    const version = handle.version(key)
    const exists = handle.read(key) !== undefined
    const met =
      (ifMatch === undefined || matches(ifMatch, version, exists)) &&
      (ifNoneMatch === undefined || !matches(ifNoneMatch, version, exists))
    if (!met) {
      const what = exists ? 'is at another version' : 'is not there'
      throw new SkeinError('version_mismatch', `${key} ${what}`, { key, version, exists })
    }
  }

  async history(
    caller: Caller,
    space: string,
    key: string,
    { limit = 100, cursor }: { readonly limit?: number | undefined; readonly cursor?: string | undefined },
  ): Promise<Page<HistoryItem>> {
    must(caller, 'read', space, checkKey(key))
    const all = await this.#known(space).history(key)
    const start = cursor === undefined ? 0 : behind(all, cursor, space, key)
    const items = all.slice(start, start + limit)
    const last = items.at(-1)
    const more = last !== undefined && start + limit < all.length
    return {
      items: items.map((item) => jsonOf(item) as HistoryItem),
      cursor: more ? sealed(['h1', space, key, last.dot.origin, last.dot.seq, last.at]) : undefined,
    }
  }

  /** Watching begins with this call. */
  watch(
    caller: Caller,
    space: string,
    options: {
      readonly prefix?: string | undefined
      readonly key?: string | undefined
      readonly since?: string | undefined
      readonly signal: AbortSignal
    },
  ): Watch {
    const { prefix = '', key, since, signal } = options
    must(caller, 'read', space, key ?? prefix)
    const handle = this.#known(space)
    const rest = { signal, ...(since !== undefined && { since }) }
    return key === undefined ? handle.watch({ prefix, ...rest }) : handle.watchKey(key, rest)
  }

  /** It cannot be undone, and reaches what others have written: for who may administer the space. */
  async purge(
    caller: Caller,
    space: string,
    key: string,
    request: { readonly agent?: string | undefined; readonly reason?: string | undefined },
    timeoutMs: number,
  ): Promise<PurgeReport> {
    must(caller, 'admin', space, checkKey(key))
    const { reason } = request
    const agent = agentOf(caller, request.agent)
    const handle = this.#known(space).as({
      ...(agent !== undefined && { agent }),
      ...(reason !== undefined && { reason }),
    })
    return handle.purge(key, { timeoutMs })
  }

  purged(caller: Caller, space: string, key: string): PurgeReport {
    must(caller, 'admin', space, checkKey(key))
    return this.#known(space).purged(key)
  }

  // Presence

  present(caller: Caller, space: string): readonly PresentAgent<unknown>[] {
    mustSomewhere(caller, 'read', space)
    const present = this.#known(space).presence.list()
    return present.map((one) => ({ ...one, value: jsonOf(one.value) }))
  }

  /** Nothing: the agent is not there any more. */
  show(caller: Caller, space: string, agent: string | undefined, value: unknown, options: ShowOptions): void {
    mustSomewhere(caller, 'write', space)
    checkName(space, 'space name', limits.spaceNameBytes)
    if (agent !== undefined) checkName(agent, 'agent name', limits.agentBytes)
    const as = agentOf(caller, agent) ?? this.node.settings.agent
    if (value === undefined) {
      if (this.node.replica.find(space) !== undefined) this.#known(space).as({ agent: as }).presence.clear()
    } else
      this.#writable(space)
        .as({ agent: as })
        .presence.set(value as Value, options)
  }

  /** Watching begins with this call. */
  watchPresence(caller: Caller, space: string, signal: AbortSignal): AsyncIterable<PresenceEvent<unknown>> {
    mustSomewhere(caller, 'read', space)
    return inJson(this.#known(space).presence.watch({ signal }))
  }

  // Spaces

  spaces(caller: Caller): SpaceStatus[] {
    return this.node.status().spaces.filter(({ name }) => mayIn(caller, name))
  }

  /** Pages in the order of the names. */
  spacePage(
    caller: Caller,
    { limit = limits.pageItems, cursor }: { readonly limit?: number | undefined; readonly cursor?: string | undefined },
  ): Page<SpaceStatus> {
    const after = cursor === undefined ? '' : nameAfter(cursor)
    const all = this.spaces(caller)
      .filter(({ name }) => after === '' || compareUtf8(name, after) > 0)
      .sort((one, other) => compareUtf8(one.name, other.name))
    const items = all.slice(0, limit)
    return { items, cursor: all.length > limit ? sealed(['s1', items.at(-1)?.name]) : undefined }
  }

  space(caller: Caller, name: string): SpaceStatus {
    if (!mayIn(caller, name)) must(caller, 'read', name)
    return this.#known(name).status()
  }

  /** Makes the space, and answers whether it was not there before. It is on the disk when this resolves. */
  async makeSpace(caller: Caller, name: string): Promise<boolean> {
    must(caller, 'admin', name)
    checkName(name, 'space name', limits.spaceNameBytes)
    if (this.node.replica.find(name) !== undefined) return false
    this.node.writable()
    this.#room()
    const space = this.node.replica.open(name)
    this.node.replica.touch(space)
    const { batch } = this.node.replica
    this.node.wrote(batch, 'disk')
    await this.node.whenStored(batch)
    return true
  }

  async deleteSpace(caller: Caller, name: string): Promise<void> {
    must(caller, 'admin', name)
    this.#known(name)
    await this.node.deleteSpace(name)
  }

  // The fleet

  async visibility(
    caller: Caller,
    space: string,
    version: string,
    wait: Wait | undefined,
  ): Promise<Visibility & { readonly waited?: Reached }> {
    must(caller, 'read', space)
    this.#known(space)
    const { dots } = parseVersion(version)
    const wanted = wait?.for
    const isForPeers = wanted === 'all' || typeof wanted === 'object'
    const waited = isForPeers ? await this.fleet.reached(space, dots, wanted, wait?.timeoutMs ?? 0) : undefined
    return { ...this.fleet.visibility(space, dots), ...(waited !== undefined && { waited }) }
  }

  async sync(caller: Caller, space: string | undefined): Promise<readonly SyncReport[]> {
    this.#mayTurn(caller, 'admin', space)
    return this.fleet.sync(space)
  }

  async verify(caller: Caller, space: string | undefined): Promise<readonly Verdict[]> {
    this.#mayTurn(caller, 'read', space)
    return this.fleet.verify(space)
  }

  #mayTurn(caller: Caller, right: Right, space: string | undefined): void {
    if (space === undefined) return mustEverywhere(caller, right)
    must(caller, right, space)
    this.#known(space)
  }

  /** For what tells of the whole node and changes nothing. */
  mayLook(caller: Caller): void {
    if (!mayAnywhere(caller, 'read') && !mayAnywhere(caller, 'admin')) mustEverywhere(caller, 'read')
  }

  /** For what decides about the node and its fleet. */
  mustAdminister(caller: Caller): void {
    mustEverywhere(caller, 'admin')
  }

  /** Everything that is on the node, for a backup: as of when the first row is asked for. */
  rows(caller: Caller): Promise<RowScanner> {
    this.mustAdminister(caller)
    return this.node.rows()
  }

  /** Reading makes no space: a name that is asked for must not cost anything. */
  #known(name: string): SpaceHandle {
    this.node.readable()
    checkName(name, 'space name', limits.spaceNameBytes)
    if (this.node.replica.find(name) === undefined) {
      throw new SkeinError('not_found', `there is no space ${name} here`, { space: name })
    }
    return this.node.space(name)
  }

  #writable(name: string): SpaceHandle {
    if (this.node.replica.find(name) === undefined) this.#room()
    return this.node.space(name)
  }

  /** Spaces that nobody has written to yet count as well: asking for names must not fill the node. */
  #room(): void {
    if (this.node.replica.spaces.length >= limits.spaces) {
      throw new SkeinError('too_large', `a node holds at most ${limits.spaces} spaces`, { limit: limits.spaces })
    }
  }
}

async function* inJson(events: AsyncIterable<PresenceEvent>): AsyncGenerator<PresenceEvent<unknown>, void, void> {
  for await (const event of events) yield jsonOf(event) as PresenceEvent<unknown>
}

function mayIn(caller: Caller, space: string): boolean {
  return caller.grants === undefined || caller.grants.some((grant) => grant.space === '*' || grant.space === space)
}

function named(type: unknown): string {
  if (typeof type === 'string') return type
  throw new SkeinError('invalid_argument', 'type is missing', { argument: 'type' })
}

function oneAnswer(receipt: Receipt<unknown>, entry: string): Told {
  const result = jsonOf(receipt.result)
  return {
    version: versionAfter(entry, receipt.version),
    changed: receipt.changed,
    entry,
    ...(result !== undefined && { result }),
  }
}

function runIn(tx: Transaction, operation: KeyedOperation): unknown {
  const { key, type, op, ifMatch: _condition, ...args } = operation
  if (type === undefined && op === 'delete') return tx.delete(key).result
  return tx.run(key, named(type), op, fromJson(named(type), op, args)).result
}

/** Bytes come as base64. */
function fromJson(
  type: string,
  op: string,
  args: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  if (type === 'text' && op === 'update') return { ...args, update: fromBase64(args['update'], 'update') }
  if (type === 'doc' && op === 'change') return { ...args, change: fromBase64(args['change'], 'change') }
  return args
}

function settingsOf(agent: string | undefined, { reason, durability, ttlMs }: WriteRequest): WriteSettings {
  return {
    ...(agent !== undefined && { agent }),
    ...(reason !== undefined && { reason }),
    ...(durability !== undefined && { durability }),
    ...(ttlMs !== undefined && { ttlMs }),
  }
}

function afterOf(cursor: string, space: string, prefix: string): string {
  const [kind, of, under, last] = unsealed(cursor, 'cursor')
  if (kind === 'e1' && of === space && under === prefix && typeof last === 'string') return last
  throw new SkeinError('invalid_token', 'cursor is of another listing')
}

function nameAfter(cursor: string): string {
  const [kind, name] = unsealed(cursor, 'cursor')
  if (kind === 's1' && typeof name === 'string') return name
  throw new SkeinError('invalid_token', 'cursor is of another listing')
}

/** The place behind what a cursor names. Where the log was pruned up to there, whatever is younger follows. */
function behind(items: readonly HistoryItem[], cursor: string, space: string, key: string): number {
  const [kind, of, entry, origin, seq, at] = unsealed(cursor, 'cursor')
  if (kind !== 'h1' || of !== space || entry !== key || typeof at !== 'number') {
    throw new SkeinError('invalid_token', 'cursor is of another history')
  }
  const known = items.findIndex(({ dot }) => dot.origin === origin && dot.seq === seq)
  if (known >= 0) return known + 1
  const younger = items.findIndex((item) => item.at > at)
  return younger < 0 ? items.length : younger
}
