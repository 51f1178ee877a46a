/**
 * The other members as whoever runs a node sees them: who is alive, how far behind, whom the logs wait for. Who was met is
 * remembered over a restart, with the address, so that a node finds its fleet again without being told.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { RowReader } from '../base/rows.ts'
import { localKey } from '../replica/row-keys.ts'
import type { MemberState, NodeId } from '../wire/frame.ts'
import type { Fleet, SpaceLag } from './fleet.ts'
import type { Machine } from './machine.ts'

export interface PeerStatus {
  readonly node: string
  readonly address: string
  /** What is thought of it; `unknown`: it is on the roster, and nobody has heard of it since this node was started. */
  readonly state: MemberState | 'unknown'
  readonly zone: string
  /** A connection is up. */
  readonly linked: boolean
  /** The version of the protocol that it speaks. */
  readonly version: string
  /** The logs wait for it. */
  readonly onRoster: boolean
  /** For how long it has kept logs from being pruned. */
  readonly blocksMs: number | undefined
  /** Wall clock of the last time that it was linked. */
  readonly lastSeenMs: number | undefined
  /** The spaces that both hold, and how far apart the two are. */
  readonly spaces: readonly SpaceLag[]
}

/** A member that was met, as it is remembered. */
export interface Met {
  readonly node: string
  address: string
  lastMs: number
  onRoster: boolean
}

export interface PeersHost {
  readonly machine: Machine
  readonly fleet: Fleet
  now(): number
  readable(): void
  /** Stores, or without a value removes, a row of the node's own. */
  keep(key: Uint8Array, value: Uint8Array | undefined): void
}

const rowKey = localKey('peers')
/** Addresses that a node tries after a restart, beside those that it was told. A guess: some will be there. */
const triedAddresses = 8

export class Peers {
  readonly #host: PeersHost
  readonly #met = new Map<string, Met>()

  constructor(host: PeersHost) {
    this.#host = host
  }

  /** Who was met in earlier runs. A row that cannot be understood is no reason not to start. */
  static read(rows: RowReader): readonly Met[] {
    const row = rows.get(rowKey)
    if (row === undefined) return []
    try {
      const found: unknown = JSON.parse(new TextDecoder().decode(row))
      return Array.isArray(found) ? found.filter(isMet) : []
    } catch {
      return []
    }
  }

  static addresses(met: readonly Met[]): string[] {
    return met
      .filter(({ address }) => address !== '')
      .sort((a, b) => b.lastMs - a.lastMs)
      .slice(0, triedAddresses)
      .map(({ address }) => address)
  }

  static roster(met: readonly Met[], own: string): string[] {
    return met.filter(({ onRoster, node }) => onRoster && node !== own).map(({ node }) => node)
  }

  load(met: readonly Met[]): void {
    for (const one of met) this.#met.set(one.node, { ...one })
  }

  /** Everybody that this node knows of, itself not. */
  list(): PeerStatus[] {
    const { machine } = this.#host
    this.#host.readable()
    const members = new Map([...machine.membership.members()].map((member) => [member.node as string, member]))
    const blockers = new Map(machine.replica.cut.blockers(this.#host.now()).map(({ node, ageMs }) => [node, ageMs]))
    const links = new Map([...machine.peers].map((peer) => [peer.node as string, peer]))
    return [...new Set([...members.keys(), ...this.#met.keys()])].sort().map((node) => {
      const member = members.get(node)
      const met = this.#met.get(node)
      const link = links.get(node)
      const spaces = machine.replica.spaces.filter((space) => machine.holds(space, node as NodeId) === true)
      const version = member?.version ?? 0
      return {
        node,
        address: member?.address ?? met?.address ?? '',
        state: member?.state ?? 'unknown',
        zone: member?.zone ?? '',
        linked: link !== undefined,
        version: version === 0 ? '' : `${Math.floor(version / 1000)}.${version % 1000}`,
        onRoster: machine.replica.cut.roster.includes(node as NodeId),
        blocksMs: blockers.get(node as NodeId),
        lastSeenMs: link === undefined ? met?.lastMs : this.#host.now(),
        spaces: spaces.map((space) => this.#host.fleet.lag(space, node)),
      }
    })
  }

  /** The members, by node, that logs wait for before they are pruned. */
  get roster(): readonly string[] {
    return this.#host.machine.replica.cut.roster
  }

  /** Logs wait for that member from now on. */
  async add(node: string): Promise<void> {
    this.#enrol(checkNode(node), true)
  }

  /**
   * Nobody waits for that member any more, and it is not remembered. It may come back: what it lacks then, the tree brings.
   * One that is alive is met again at once, unless the roster is kept by hand.
   */
  async forget(node: string): Promise<void> {
    this.#host.readable()
    const { cut } = this.#host.machine.replica
    const isKnown = this.#met.delete(checkNode(node)) || cut.roster.includes(node as NodeId)
    if (!isKnown) throw new SkeinError('invalid_argument', `no member ${node} was ever met here`, { node })
    cut.roster = cut.roster.filter((one) => one !== node)
    this.#save()
  }

  /** A link to it is up. */
  met(node: string, onRoster: boolean): void {
    this.#enrol(node, onRoster || this.#met.get(node)?.onRoster === true)
  }

  #enrol(node: string, onRoster: boolean): void {
    const { machine } = this.#host
    const { cut } = machine.replica
    const address = machine.membership.member(node as NodeId)?.address ?? machine.peer(node as NodeId)?.address ?? ''
    if (!this.#met.has(node) && this.#met.size >= limits.frameMembers) return
    this.#met.set(node, { node, address, lastMs: this.#host.now(), onRoster })
    if (onRoster && !cut.roster.includes(node as NodeId)) cut.roster = [...cut.roster, node as NodeId]
    this.#save()
  }

  #save(): void {
    this.#host.keep(rowKey, new TextEncoder().encode(JSON.stringify([...this.#met.values()])))
  }
}

function isMet(one: unknown): one is Met {
  if (typeof one !== 'object' || one === null) return false
  const { node, address, lastMs, onRoster } = one as Record<string, unknown>
  return (
    typeof node === 'string' &&
    /^[0-9a-f]{16}$/.test(node) &&
    typeof address === 'string' &&
    typeof lastMs === 'number' &&
    typeof onRoster === 'boolean'
  )
}

function checkNode(node: unknown): string {
  if (typeof node === 'string' && /^[0-9a-f]{16}$/.test(node)) return node
  throw new SkeinError('invalid_argument', 'a node is named by 16 hexadecimal digits')
}
