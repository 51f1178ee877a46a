/**
 * What the convergence bench asks of a system: one file in `systems/` and one line in `systems.ts`. Every node of a fleet is
 * a process of its own that loads this file, opens one node and does as it is told; nothing here knows the other processes
 * but by the addresses that it is handed.
 *
 * An adapter uses its system as that system's own users do: its public interface, its defaults, its fastest sound way for
 * this shape of data (strings under keys). Where it must choose, the choice favours the system, and a line of
 * `notComparable` says it.
 */

export interface Address {
  readonly host: string
  readonly port: number
}

/** What survives once a write was acknowledged: nothing, the end of the process, the loss of power. */
export type Durability = 'memory' | 'os' | 'disk'

/** Where one node stands. Whatever it opens beside `listen` must be on port 0 of loopback. */
export interface Place {
  readonly index: number
  readonly nodes: number
  readonly variant: string
  /** Of its own, made already; what is in it outlives a killed process. */
  readonly dir: string
  readonly listen: Address
  /** Where the others reach it: `listen` itself, or a shaper in front of it. Never tell anybody another address. */
  readonly advertise: Address
  /** Where everybody is reached, by index, the own address included. Never dial any other. */
  readonly members: readonly Address[]
  /** Where the hub is reached, for a system that has one. */
  readonly hub: Address | undefined
  /** The same for all of a run: names of rooms, topics, documents, fleets. */
  readonly run: string
}

export interface OpenNode {
  /**
   * Applies a write. Settles once it is acknowledged as strongly as the variant says; nothing is returned where that is so
   * when the call returns. A rejection is a write that was refused.
   */
  write(key: string, value: string): void | Promise<void>
  /** What a reader here sees now. */
  read(key: string): string | undefined | Promise<string | undefined>
  /** Entries that a reader here sees now. */
  count(): number | Promise<number>
  /**
   * Calls the listener for each change that another node made, once `read` would show it. With the key and the value
   * that is read. It is set once, before anything is written. A system that joins changes of one key may join the calls.
   */
  onChange(listener: (key: string, value: string) => void): void
  /** All links of this node stand, and nothing is missing that it would need before it takes part. */
  ready(): boolean | Promise<boolean>
  close(): void | Promise<void>
  /** Documents, where the system has them. */
  readonly text?: TextDocument
  readonly json?: JsonDocument
}

/** One shared text, there on every node. */
export interface TextDocument {
  insert(at: number, text: string): void | Promise<void>
  delete(at: number, count: number): void | Promise<void>
  read(): string
  /** After every change that came from another node. */
  onChange(listener: () => void): void
}

/** One shared JSON document, an object, there on every node. */
export interface JsonDocument {
  set(path: readonly string[], value: string | number): void | Promise<void>
  read(): unknown
  onChange(listener: (path: readonly string[], value: string | number) => void): void
}

export interface Hub {
  /** Processes that the hub started: their processor time and memory count as the hub's. */
  readonly pids?: readonly number[]
  /** They are the hub, and the process that started them is not: it only waits. */
  readonly isElsewhere?: boolean
  close(): void | Promise<void>
}

export interface HubPlace {
  readonly variant: string
  readonly dir: string
  readonly listen: Address
  readonly run: string
}

export interface Variant {
  /** Empty where there is only one. */
  readonly name: string
  readonly durability: Durability
  /** What is special about it, in a few words. */
  readonly says: string
}

/**
 * `skein`; `crdt`: replicas that merge; `server`: a central server that programs ask; `broadcast`: messages without state;
 * `floor`: what no system can go below.
 */
export type Kind = 'skein' | 'crdt' | 'server' | 'broadcast' | 'floor'

export interface System {
  readonly name: string
  readonly kind: Kind
  readonly topology: 'mesh' | 'hub'
  /** Of the packages or programs that do the work: `yjs 13.6.33, @y/websocket-server 0.1.1`. */
  readonly version: string
  /** What runs, in one sentence. */
  readonly says: string
  readonly variants: readonly [Variant, ...Variant[]]
  /** A node that was cut off or is new gets what it missed. */
  readonly catchesUp: boolean
  /** A node whose process was killed finds its state in its directory, at its hub or at the others. What is lost is measured. */
  readonly restarts: boolean
  /** What a reader must know before he compares: a sentence each. */
  readonly notComparable: readonly string[]
  /** Why it cannot run here; nothing where it can. */
  available?(): string | undefined | Promise<string | undefined>
  openNode(place: Place): Promise<OpenNode>
  /** In a process of its own, started before the nodes. */
  openHub?(place: HubPlace): Promise<Hub>
}
