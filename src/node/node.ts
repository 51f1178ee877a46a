/**
 * A node: the replica and its protocols, driven. It owns the store, the clock and the parts that drive: group commit, the
 * network, watchers, chores. Writes are applied in memory at once, told to peers in the same turn, and stored together.
 */
import { binaryString, compareBytes, compareUtf8 } from '../base/bytes.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { prng } from '../base/prng.ts'
import type { RowScanner } from '../base/rows.ts'
import type { ChangeSet } from '../crdt/change.ts'
import type { Dot } from '../crdt/dot.ts'
import type { CustomFunctions } from '../merge/rules/custom.ts'
import { findingRows } from '../replica/conflicts.ts'
import type { Applied, Replica } from '../replica/replica.ts'
import { KeyWriter, entryKeyOf, metaKey, prefixRange, table, tableRange, tablesToOpen } from '../replica/row-keys.ts'
import type { StoredEntry } from '../replica/entry.ts'
import type { Retention, Space } from '../replica/space.ts'
import { reaches } from '../store/store.ts'
import type { OpeningReport, ScrubReport, Store } from '../store/store.ts'
import type { Transport } from '../transport/transport.ts'
import { Chores } from './chores.ts'
import { NodeConflicts } from './conflicts.ts'
import { Commits, nextTurn } from './commits.ts'
import type { Commit } from './commits.ts'
import type { SpaceDefinition, SpaceSchemas } from './define-space.ts'
import type { Figures } from './figures.ts'
import { Fleet } from './fleet.ts'
import type { ReachOptions, SyncReport } from './fleet.ts'
import { historyOf } from './history.ts'
import type { HistoryItem } from './history.ts'
import type { WatchOptions } from './handles.ts'
import { Machine } from './machine.ts'
import type { MachineEvent } from './machine.ts'
import { Network, refuse } from './network.ts'
import type { Fault } from './network.ts'
import { Peers } from './peers.ts'
import { NodePresence } from './presence.ts'
import { Purges } from './purges.ts'
import type { Durability } from './receipt.ts'
import { SpaceHandle, checkName, checkOptions, spaceStatus } from './space-handle.ts'
import type { SpaceHost, SpaceStatus } from './space-handle.ts'
import type { Watch } from './watch.ts'
import { Watchers } from './watchers.ts'
import { WorkflowDriver, abilitiesOf, noEndpoints } from './workflow/driver.ts'
import type { Endpoints, ErrandReport } from './workflow/driver.ts'

export interface NodeConfig {
  readonly store: Store
  readonly agent: string
  readonly durability: Durability
  readonly retention: Retention
  readonly cacheBytes: number
  /** 16 fresh random hexadecimal digits at every call; they must not come from the disk. */
  fresh(): string
  /** Who this node is: 16 hexadecimal digits, proven by its key. Without a key it is what the store says, or somebody new. */
  readonly node?: string
  readonly network?: NetworkConfig
  /** Whom to tell of conflicts, whom to ask about them, and what can undo what they have done. */
  readonly workflow?: Endpoints
  /** What happens, for logs and metrics. */
  readonly observer?: Observer
  /** Functions of rules of the owner's own. */
  readonly custom?: CustomFunctions
  now(): number
}

export interface NetworkConfig {
  readonly transports: readonly Transport[]
  readonly join: readonly string[]
  readonly zone: string
  /** 16 hexadecimal digits: nodes of other fleets are refused. */
  readonly fleet: string
  /** Is whoever is met put on the roster, or does an operator do that? */
  readonly roster: 'auto' | 'manual'
  /** Which of the spaces that others have this node holds too. */
  holds(space: string): boolean
}

/** What somebody who watches over a node may hear. What nobody listens to costs nothing. */
export interface Observer extends Figures {
  /** `batch` is the one that it goes to the store in. */
  applied?(event: Applied, batch: number): void
  committed?(commit: Commit): void
  /** The machine took a step. */
  stepped?(seconds: number): void
  /** The event loop was late by so much, as measured twice a second. */
  late?(lagMs: number): void
  /** A watcher lost what waited for it, since it took too little. */
  watcherFellBehind?(): void
  event?(event: MachineEvent): void
  /** Somebody was told of a conflict, was asked, or an action was run; or it came to nothing. */
  errand?(report: ErrandReport): void
  fault?(fault: Fault): void
  linkFailed?(address: string, error: SkeinError): void
  /** The node goes on without what it could not do; the reason is for whoever runs it. */
  broken?(error: unknown): void
}

export interface NodeStatus {
  readonly node: string
  readonly origin: string
  /**
   * `full`: the disk refuses writes; what returned is kept in memory and retried. `failing`: the same for another reason.
   */
  readonly state: 'open' | 'full' | 'failing' | 'closed'
  /** What opening found: whether the last run ended in order, what may be lost, where a damaged directory went. */
  readonly opening: OpeningReport
  readonly spaces: readonly SpaceStatus[]
  /** Bytes that wait for the disk. */
  readonly waitingBytes: number
  /** Where others can dial this node. */
  readonly addresses: readonly string[]
  /** Where it listens: the same unless it was told to advertise something else. */
  readonly listening: readonly string[]
}

const alone: NetworkConfig = {
  transports: [],
  join: [],
  zone: '',
  fleet: '0000000000000000',
  roster: 'manual',
  holds: () => false,
}

export class SkeinNode implements SpaceHost, AsyncDisposable {
  readonly replica: Replica
  readonly settings: { readonly agent: string; readonly durability: Durability }
  readonly id: string
  /** The other members: who is there, how far behind, and whom the logs wait for. */
  readonly peers: Peers
  /** What merging could not settle: listed, watched, decided. */
  readonly conflicts: NodeConflicts
  /** @internal What agents show of themselves: see `SpaceHandle.presence`. */
  readonly presence: NodePresence
  /** @internal See `SpaceHandle.purge`. */
  readonly purges: Purges
  /** @internal The protocols, for the parts of a node. */
  readonly machine: Machine
  /** @internal */
  readonly network: Network
  /** @internal */
  readonly fleet: Fleet
  readonly #config: NodeConfig
  readonly #networking: NetworkConfig
  readonly #store: Store
  readonly #commits: Commits
  readonly #watchers: Watchers
  readonly #chores: Chores
  readonly #workflow: WorkflowDriver
  #state: 'opening' | 'open' | 'closing' | 'closed' = 'opening'

  private constructor(config: NodeConfig, id: string, known: readonly string[], roster: readonly string[]) {
    const { store, observer } = config
    const network = config.network ?? alone
    this.#config = config
    this.#networking = network
    this.#store = store
    this.id = id
    this.settings = { agent: config.agent, durability: config.durability }
    this.machine = new Machine({
      node: id,
      incarnation: config.fresh(),
      rows: store,
      cacheBytes: config.cacheBytes,
      retention: config.retention,
      fleet: network.fleet,
      address: network.transports.flatMap(({ addresses }) => addresses)[0] ?? '',
      join: [...new Set([...network.join, ...known])],
      zone: network.zone,
      roster,
      random: prng(Number.parseInt(config.fresh().slice(0, 8), 16)),
      holds: (name) => network.holds(name),
      leaves: (outputs, nowMs) => this.network.leave(outputs, nowMs),
      ...(observer && { figures: observer }),
      abilities: abilitiesOf(config.workflow ?? noEndpoints),
      custom: config.custom,
      applied: (event) => this.#applied(event),
      merged: (space) => {
        this.#watchers.merged(space)
        this.purges.merged(space)
      },
    })
    this.replica = this.machine.replica
    this.#watchers = new Watchers(id, this.replica, {
      tooSlow: () => observer?.watcherFellBehind?.(),
      inConflict: (space, key) => this.conflictsOn(space, key).length > 0,
    })
    const now = (): number => this.now()
    this.network = new Network({
      machine: this.machine,
      store,
      transports: network.transports,
      now,
      fresh: () => config.fresh(),
      persist: () => this.#commits.kick(),
      event: (event) => this.#event(event),
      fault: (fault) => observer?.fault?.(fault),
      broken: (error) => this.#broke(error),
      linkFailed: (address, error) => observer?.linkFailed?.(address, error),
      ...(observer?.stepped && { stepped: (seconds: number) => observer.stepped?.(seconds) }),
      ...(observer?.late && { late: (lagMs: number) => observer.late?.(lagMs) }),
    })
    const { machine } = this
    this.#commits = new Commits({
      replica: this.replica,
      store,
      now,
      stored: (batch, durable) => this.network.feed({ kind: 'stored', batch, durable }),
      synced: () => this.network.feed({ kind: 'durable' }),
      committed: (commit) => observer?.committed?.(commit),
      get awaitsDisk() {
        return network.transports.length > 0 && machine.awaitsDisk
      },
      get linked() {
        return machine.linked
      },
      syncs: network.transports.length > 0,
    })
    this.#chores = new Chores({
      id,
      replica: this.replica,
      store,
      isOpen: () => this.#state === 'open',
      now,
      writable: () => this.writable(),
      wrote: (batch) => this.wrote(batch, 'os'),
      flush: () => this.flush(),
      holders: (space) => machine.holders(space).map(({ node }) => node),
    })
    this.conflicts = new NodeConflicts(this, machine.conflicts, {
      flush: () => this.flush(),
      snapshot: () => store.snapshot(),
    })
    this.#workflow = new WorkflowDriver({
      conflicts: machine.conflicts,
      tally: this.conflicts.tally,
      endpoints: config.workflow ?? noEndpoints,
      isOpen: () => this.#state === 'open' || this.#state === 'opening',
      now,
      entries: (space, prefix) => this.entries(space, prefix, ''),
      find: (name) => this.replica.find(name),
      stored: (batch) => this.whenStored(batch),
      wrote: (batch) => this.wrote(batch, config.durability),
      step: () => this.network.wrote(),
      told: (report) => observer?.errand?.(report),
    })
    this.presence = new NodePresence({ machine, network: this.network, now, readable: () => this.readable() })
    this.fleet = new Fleet({ machine, network: this.network, now, readable: () => this.readable() })
    this.purges = new Purges({
      id,
      replica: this.replica,
      store,
      conflicts: this.conflicts,
      holders: (space) => machine.holders(space).map(({ node }) => node),
      keys: (space, prefix) => this.#keys(space, prefix),
      isOpen: () => this.#state === 'open',
      now,
      writable: () => this.writable(),
      wrote: (batch) => this.wrote(batch, 'os'),
      flush: () => this.flush(),
    })
    this.peers = new Peers({
      machine,
      fleet: this.fleet,
      now,
      readable: () => this.readable(),
      keep: (key, value) => {
        this.wrote(this.replica.keep(key, value), 'os')
      },
    })
  }

  /** The node that a store says it belongs to. */
  static known(store: Store): string | undefined {
    const stored = store.get(metaKey('node'))
    return stored === undefined ? undefined : binaryString(stored)
  }

  /**
   * Listens, since a node must know its own address; reads what must be in memory (names, spaces, vectors), not the entries;
   * then answers who has dialled it, and dials.
   */
  static async open(config: NodeConfig): Promise<SkeinNode> {
    const transports = config.network?.transports ?? []
    let ready: SkeinNode | undefined
    try {
      for (const transport of transports) {
        await transport.listen((connection) => ready?.network.accept(connection) ?? refuse(connection))
      }
      const node = await SkeinNode.#load(config)
      ready = node
      node.network.start()
      return node
    } catch (error) {
      await Promise.all(transports.map((transport) => transport.close()))
      throw error
    }
  }

  static async #load(config: NodeConfig): Promise<SkeinNode> {
    const { store } = config
    const before = SkeinNode.known(store)
    const id = config.node ?? before ?? config.fresh()
    const met = Peers.read(store)
    const node = new SkeinNode(config, id, Peers.addresses(met), Peers.roster(met, id))
    node.peers.load(met)
    if (id !== before && store.supports.persistent) {
      const batch = store.batch()
      batch.put(
        metaKey('node'),
        Uint8Array.from(id, (unit) => unit.charCodeAt(0)),
      )
      await store.write(batch, 'disk')
    }
    for (const each of tablesToOpen) {
      for await (const page of store.range(tableRange(each))) {
        for (const [key, value] of page) node.replica.load(key, value)
      }
    }
    for await (const page of store.range(findingRows))
      for (const [key, row] of page) node.machine.conflicts.load(key, row)
    node.#state = 'open'
    // What was written before the opening need not be on the disk yet, and peers will count on it.
    await node.#commits.sync()
    await node.#chores.start()
    await node.purges.start()
    return node
  }

  /** The space of that name, made when there is none. A definition types it and holds local writes to its schema. */
  space<Schemas extends SpaceSchemas = SpaceSchemas>(
    name: string,
    definition?: SpaceDefinition<Schemas>,
  ): SpaceHandle<Schemas> {
    this.readable()
    checkName(name, 'space name', limits.spaceNameBytes)
    if (definition !== undefined) checkOptions(definition, ['schema', 'rules'])
    const version = this.replica.spacesVersion
    const space = this.replica.open(name)
    if (this.replica.spacesVersion !== version) this.network.wrote()
    if (definition?.rules !== undefined) this.conflicts.declare(space, definition.rules)
    return new SpaceHandle(this, space, definition)
  }

  /** The spaces that are here. */
  async spaceNames(): Promise<readonly string[]> {
    this.readable()
    return this.replica.spaces.map(({ name }) => name)
  }

  /** Ends a space: its entries and its log go. The name starts anew as another generation. */
  async deleteSpace(name: string): Promise<boolean> {
    this.writable()
    const space = this.replica.deleteSpace(name)
    if (space === undefined) return false
    this.#watchers.end(space)
    this.conflicts.tally.ended(name)
    this.presence.end(space.id)
    const { batch } = this.replica
    this.wrote(batch, 'disk')
    await this.whenStored(batch)
    await this.#chores.purge()
    return true
  }

  /**
   * Resolves when what is here now is on the disks of the members that hold it, and what they had is here. Fails with
   * `not_reached`, which names who is behind.
   */
  async synced(options: ReachOptions & { readonly spaces?: readonly string[] } = {}): Promise<void> {
    this.readable()
    const { spaces, ...rest } = checkOptions(options, ['peers', 'timeoutMs', 'signal', 'spaces'])
    await this.fleet.synced(this.#spaces(spaces), rest)
  }

  /**
   * Compares with every living member that holds a space, exchanging on the way what either lacks. Equal means: the same root at
   * the same vector, so the same content.
   */
  async verify(
    options: Omit<ReachOptions, 'peers'> & { readonly spaces?: readonly string[] } = {},
  ): Promise<SyncReport> {
    this.readable()
    const { spaces, ...rest } = checkOptions(options, ['timeoutMs', 'signal', 'spaces'])
    return this.fleet.verify(this.#spaces(spaces), rest)
  }

  #spaces(names: readonly string[] | undefined): readonly Space[] {
    if (names === undefined) return this.replica.spaces
    return names.map((name) => {
      const space = this.replica.find(name)
      if (space !== undefined) return space
      throw new SkeinError('invalid_argument', `there is no space ${name} on this node`, { space: name })
    })
  }

  status(): NodeStatus {
    return {
      node: this.id,
      origin: this.replica.origin,
      state: this.#stateName(),
      opening: this.#store.opening,
      spaces: this.replica.spaces.map(spaceStatus),
      waitingBytes: this.replica.waitingBytes,
      addresses: this.#networking.transports.flatMap(({ addresses }) => addresses),
      listening: this.#networking.transports.flatMap(({ addresses, bound }) => bound ?? addresses),
    }
  }

  #stateName(): NodeStatus['state'] {
    if (this.#state !== 'open') return 'closed'
    const { refusal } = this.#commits
    if (refusal === undefined) return 'open'
    return refusal.code === 'store_full' ? 'full' : 'failing'
  }

  /** Watches that are open. */
  get watchers(): number {
    return this.#watchers.count
  }

  /** Resolves when everything written so far is as durable as it asked to be. */
  async flush(): Promise<void> {
    this.writable()
    await this.#commits.flush()
  }

  /** Drops from the logs what their retention no longer asks for, now rather than in a while. */
  async prune(retention: Partial<Retention> = {}): Promise<void> {
    this.writable()
    await this.flush()
    const merged = { ...this.#config.retention, ...checkOptions(retention, ['keepMs', 'keepBytes']) }
    if (!(merged.keepMs >= 0 && merged.keepBytes >= 0)) {
      throw new SkeinError('invalid_argument', 'keepMs and keepBytes are numbers from 0')
    }
    for (let more = true; more;) {
      more = this.replica.prune(this.now(), merged).more
      await this.flush()
    }
  }

  /** Reads every row and file, and says what is not as it was written. */
  scrub(signal?: AbortSignal): Promise<ScrubReport> {
    this.readable()
    return this.#store.scrub(signal === undefined ? {} : { signal })
  }

  /** A consistent view of all rows as of now, for a backup: what was written before is in it. */
  async rows(): Promise<RowScanner> {
    await this.flush()
    return this.#store
  }

  /** Says goodbye to peers, waits for what was written, stops, and closes the store. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return
    await this.#stop()
    await this.#store.close()
  }

  async #stop(): Promise<void> {
    this.#state = 'closing'
    this.#watchers.end()
    this.presence.end()
    this.conflicts.end()
    this.#workflow.stop()
    this.fleet.close()
    try {
      // What the last writes still have to tell goes before the goodbye.
      this.network.feed({ kind: 'local' })
      await this.purges.stop()
      await this.#commits.close()
    } finally {
      await this.network.stop()
      this.#state = 'closed'
      await this.#chores.stop()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // What spaces need of their node.

  now(): number {
    return this.#config.now()
  }

  readable(): void {
    if (this.#state !== 'open') throw new SkeinError('closed', 'the node is closed')
  }

  writable(durability: Durability = 'memory'): void {
    this.readable()
    const { supports } = this.#store
    if (!reaches(supports.durability, durability)) {
      throw new SkeinError('invalid_argument', `durability: no ${durability} here, ${supports.reason ?? ''}`, {
        durability,
      })
    }
    const { refusal } = this.#commits
    if (refusal !== undefined) throw refusal
  }

  /** It leaves for the peers, and then for the disk, at the end of what is being done now. */
  wrote(_batch: number, asked: Durability): void {
    this.#commits.want(asked)
    this.network.wrote()
  }

  settled(space: Space, durability: Durability): number {
    const batch = this.#commits.settled(space, durability)
    if (this.replica.dirty) this.#commits.kick()
    return batch
  }

  whenStored(batch: number): Promise<void> {
    return this.#commits.whenStored(batch)
  }

  async whenReached(space: Space, dots: readonly Dot[], options: ReachOptions): Promise<readonly string[]> {
    this.readable()
    return this.fleet.reached(space, dots, checkOptions(options, ['peers', 'timeoutMs', 'signal']))
  }

  admit(space: Space, change: ChangeSet): void {
    this.machine.conflicts.admit(space, change)
  }

  /** @internal */
  shortOf(space: Space, key: string, amount: number): void {
    this.network.take(() => this.machine.askRights(space, key, amount, this.now()))
  }

  conflictsOn({ name }: Space, key: string): readonly string[] {
    return this.conflicts.tally.on(name, key)
  }

  history(space: Space, key: string): Promise<readonly HistoryItem[]> {
    this.readable()
    return historyOf(space, key, nextTurn)
  }

  async *entries(space: Space, prefix: string, after: string): AsyncGenerator<StoredEntry, void, void> {
    this.readable()
    // A snapshot that is being taken over is in the entries only once all of it was folded in.
    while (space.adoption !== undefined && !space.deleted) {
      await nextTurn()
      this.readable()
    }
    // Rows are what the disk has; entries that are still on their way to it are laid over them, so that a listing
    // neither waits for the disk nor misses a write.
    const waiting = space.unstored(prefix).filter((key) => after === '' || compareUtf8(key, after) > 0)
    using snapshot = this.#store.snapshot()
    let next = 0
    const keys = new KeyWriter()
    const under = prefixRange(keys.start(table.entry).short(space.number).text(prefix).bytes)
    const last = keys.start(table.entry).short(space.number).text(after).bytes
    const range =
      after !== '' && compareBytes(last, under.gte) >= 0 ? { ...under, gte: Uint8Array.of(...last, 0) } : under
    for await (const page of snapshot.range(range)) {
      for (const [rowKey, row] of page) {
        const key = entryKeyOf(rowKey)
        for (; next < waiting.length && compareUtf8(waiting[next] as string, key) < 0; next++) {
          yield space.entry(waiting[next] as string)
        }
        const isWaiting = waiting[next] === key
        if (isWaiting) next++
        yield isWaiting ? space.entry(key) : space.entryFromRow(key, row, snapshot)
      }
      this.readable()
      if (space.deleted) throw new SkeinError('space_deleted', `space ${space.name} was deleted meanwhile`)
    }
    for (const key of waiting.slice(next)) yield space.entry(key)
  }

  async *#keys(space: Space, prefix: string): AsyncGenerator<string, void, void> {
    for await (const { key } of this.entries(space, prefix, '')) yield key
  }

  /** Watching begins with this call, not with the first read. */
  watch(space: Space, prefix: string, exact: boolean, options: WatchOptions): Watch {
    this.readable()
    return this.#watchers.watch(space, prefix, exact, options)
  }

  // What its parts tell.

  #applied(event: Applied): void {
    this.#chores.look(event.space)
    this.#watchers.applied(event)
    this.purges.applied(event)
    this.#config.observer?.applied?.(event, this.replica.batch)
  }

  #event(event: MachineEvent): void {
    if (event.kind === 'peer' && event.state === 'up') this.peers.met(event.node, this.#networking.roster === 'auto')
    if (event.kind === 'failed' && this.replica.broken !== undefined) this.#broke(this.replica.broken)
    if (event.kind === 'conflict') this.conflicts.tell(event.event)
    if (event.kind === 'workflow') this.#workflow.event(event.event)
    if (event.kind === 'presence') return this.presence.changed(event.change)
    this.fleet.event(event)
    this.#config.observer?.event?.(event)
  }

  /** What is in memory is not to be believed: nothing more is written, and nothing more is said. */
  #broke(error: unknown): void {
    const known = error instanceof SkeinError
    this.#commits.refuse(known ? error : new SkeinError('store_failed', 'the node cannot go on', {}, error))
    this.#config.observer?.broken?.(error)
  }
}
