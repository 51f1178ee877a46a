/**
 * Who is there in a space: what agents show of themselves for a while, at which node. It is memory alone: no delta, no vector
 * and no disk knows it, and nothing waits for it.
 *
 * A statement holds for the time that it says, counted from when it came, so no clocks need agree; whoever wants to stay says
 * it again. It ends sooner when its node dies, leaves or starts anew. A withdrawal is a statement without a value, kept for as
 * long as the one that it ends could have been. Statements go to everybody who is linked and holds the space; who is not
 * linked to all passes on what he hears, and all repeat a little of it now and then, for pairs that have no link.
 *
 * Bounded: a value, how many agents there are and their bytes; and statements about one space leave together, at most every
 * tenth of a second, the newest of each agent.
 */
import { equalBytes } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import type { Member, Membership } from './membership.ts'
import type { Roster } from './roster.ts'
import type { NodeId, PresenceFrame, PresenceStatement, SpaceId } from '../wire/frame.ts'

export interface PresenceConfig {
  readonly self: NodeId
  readonly members: Pick<Membership, 'member' | 'members'>
  readonly roster: Pick<Roster, 'get'>
  /** Who is linked, with the spaces that he has said to hold. */
  peers(): Iterable<{ readonly node: NodeId; readonly spaces: ReadonlySet<SpaceId> | undefined }>
}

export type PresenceInput =
  | {
      readonly kind: 'set'
      readonly space: SpaceId
      readonly agent: string
      /** In canonical form. Empty: it is not there any more. */
      readonly value: Uint8Array
      readonly ttlMs: number
    }
  | { readonly kind: 'message'; readonly from: NodeId; readonly frame: PresenceFrame }
  /** A peer is linked, as that incarnation. */
  | { readonly kind: 'linked'; readonly node: NodeId; readonly incarnation: string }
  /** It says which spaces it holds. */
  | { readonly kind: 'holds'; readonly node: NodeId; readonly spaces: ReadonlySet<SpaceId> }
  /** The link is gone; the node may live. */
  | { readonly kind: 'unlinked'; readonly node: NodeId }
  /** The node is dead, has left or is forgotten. */
  | { readonly kind: 'gone'; readonly node: NodeId }
  /** This node does not hold the space any more. */
  | { readonly kind: 'drop'; readonly space: SpaceId }
  | { readonly kind: 'timer' }

export interface Present {
  readonly node: NodeId
  readonly agent: string
  readonly value: Uint8Array
  readonly leftMs: number
}

export type PresenceOutput =
  | { readonly kind: 'send'; readonly to: NodeId; readonly frame: PresenceFrame }
  /** Without a value: it is gone. */
  | {
      readonly kind: 'changed'
      readonly space: SpaceId
      readonly node: NodeId
      readonly agent: string
      readonly value: Uint8Array | undefined
    }

interface Held {
  readonly node: NodeId
  readonly agent: string
  readonly version: number
  readonly value: Uint8Array
  readonly untilMs: number
  /** Who told; undefined for what was said here. */
  readonly from: NodeId | undefined
}

interface Room {
  readonly space: SpaceId
  readonly held: Map<string, Held>
  /** Names of what is to be told. */
  readonly fresh: Set<string>
  sentMs: number
}

/** Between two frames about one space: faster than people see, slower than a loop that tells of every step. */
const sendEveryMs = 100
/** Between two looks for what has expired. */
const sweepEveryMs = 250
/** Between two repetitions to one peer or another, and how much of it. Guesses. */
const repeatEveryMs = 5_000
const repeatBytes = 8_192
/** Bytes of one frame, roughly. */
const frameBytes = 131_072
/** Roughly what a statement takes beside its value. */
const statementBytes = 64
/** No clock comes to such a number: one that is said in this node's name is not gone above, or no frame could hold what follows. */
const beyondVersions = 2 ** 52

export class Presence {
  readonly #config: PresenceConfig
  readonly #rooms = new Map<SpaceId, Room>()
  /** What linked peers have said to hold. */
  readonly #heard = new Map<NodeId, ReadonlySet<SpaceId>>()
  readonly #incarnations = new Map<NodeId, string>()
  #out: PresenceOutput[] = []
  #count = 0
  #bytes = 0
  /** No statement ends before it. */
  #expiresAt = Infinity
  #sweptMs = -Infinity
  #repeatAt = Infinity
  #repeats = 0

  constructor(config: PresenceConfig) {
    this.#config = config
  }

  get wakeAt(): number {
    let at = Math.min(this.#repeatAt, Math.max(this.#expiresAt, this.#sweptMs + sweepEveryMs))
    for (const { fresh, sentMs } of this.#rooms.values()) if (fresh.size > 0) at = Math.min(at, sentMs + sendEveryMs)
    return at
  }

  /** Would another agent find room? */
  hasRoom(space: SpaceId, agent: string, sizeBytes: number): boolean {
    return this.#fits(this.#rooms.get(space)?.held.get(nameOf(this.#config.self, agent)), sizeBytes)
  }

  /** Who is there, by agent and then node. */
  list(space: SpaceId, nowMs: number): Present[] {
    const all: Present[] = []
    for (const { node, agent, value, untilMs } of this.#rooms.get(space)?.held.values() ?? []) {
      if (value.length > 0 && untilMs > nowMs) all.push({ node, agent, value, leftMs: untilMs - nowMs })
    }
    return all.sort((a, b) => (nameOf(a.node, a.agent) < nameOf(b.node, b.agent) ? -1 : 1))
  }

  handle(input: PresenceInput, nowMs: number): readonly PresenceOutput[] {
    switch (input.kind) {
      case 'set':
        this.#set(input.space, input.agent, input.value, input.ttlMs, nowMs)
        break
      case 'message':
        for (const statement of input.frame.statements) this.#hear(input.from, input.frame.space, statement, nowMs)
        break
      case 'linked': {
        const before = this.#incarnations.get(input.node)
        this.#incarnations.set(input.node, input.incarnation)
        if (before !== undefined && before !== input.incarnation) this.#forget(({ node }) => node === input.node)
        break
      }
      case 'holds':
        this.#holds(input.node, input.spaces, nowMs)
        break
      case 'unlinked':
        this.#heard.delete(input.node)
        break
      case 'gone':
        this.#heard.delete(input.node)
        this.#incarnations.delete(input.node)
        this.#forget(({ node }) => node === input.node)
        break
      case 'drop':
        this.#forget(() => true, input.space)
        this.#rooms.delete(input.space)
        break
      case 'timer':
        this.#sweep(nowMs)
        if (nowMs >= this.#repeatAt) this.#repeat(nowMs)
        break
    }
    for (const room of this.#rooms.values()) if (room.fresh.size > 0) this.#tell(room, nowMs)
    const out = this.#out
    this.#out = []
    return out
  }

  // What is held.

  #set(space: SpaceId, agent: string, value: Uint8Array, ttlMs: number, nowMs: number): void {
    const node = this.#config.self
    const known = this.#rooms.get(space)?.held.get(nameOf(node, agent))
    if (value.length === 0 && (known === undefined || known.value.length === 0)) return
    // A node that starts anew goes on above what it said before, as long as its clock does.
    const version = Math.max((known?.version ?? 0) + 1, Math.max(0, Math.floor(nowMs)))
    const untilMs = value.length === 0 ? (known as Held).untilMs : nowMs + ttlMs
    this.#keep(space, { node, agent, version, value, untilMs, from: undefined }, nowMs)
  }

  #hear(from: NodeId, space: SpaceId, statement: PresenceStatement, nowMs: number): void {
    const { node, agent, version, leftMs } = statement
    const known = this.#rooms.get(space)?.held.get(nameOf(node, agent))
    if (known !== undefined && version <= known.version) return
    const untilMs = nowMs + leftMs
    if (node === this.#config.self) {
      if (version >= beyondVersions) return
      // Of an earlier run, from somebody who has not heard that it is over: what is so here is said above it.
      const { value, untilMs: until } = known ?? { value: nothing, untilMs }
      this.#keep(space, { node, agent, version: version + 1, value, untilMs: until, from: undefined }, nowMs)
      return
    }
    if (node !== from && !isAlive(this.#config.members.member(node))) return
    // The packet that it came in is not to be kept for it.
    const held: Held = { node, agent, version, value: statement.value.slice(), untilMs, from }
    this.#keep(space, held, nowMs)
  }

  #keep(space: SpaceId, held: Held, nowMs: number): void {
    const room = this.#room(space)
    const name = nameOf(held.node, held.agent)
    const before = room.held.get(name)
    if (!this.#fits(before, held.value.length)) return
    this.#count += before === undefined ? 1 : 0
    this.#bytes += held.value.length - (before?.value.length ?? 0)
    room.held.set(name, held)
    this.#expiresAt = Math.min(this.#expiresAt, held.untilMs)
    if (this.#repeatAt === Infinity) this.#repeatAt = nowMs + repeatEveryMs
    room.fresh.add(name)
    const value = valueAt(held, nowMs)
    const old = before && valueAt(before, nowMs)
    if (!isSame(old, value)) this.#changed(space, held, value)
  }

  #fits(before: Held | undefined, sizeBytes: number): boolean {
    const isNew = before === undefined
    if (isNew && this.#count >= limits.presences) return false
    return this.#bytes + sizeBytes - (before?.value.length ?? 0) <= limits.presencesBytes
  }

  #room(space: SpaceId): Room {
    let room = this.#rooms.get(space)
    if (room === undefined) {
      this.#rooms.set(space, (room = { space, held: new Map(), fresh: new Set(), sentMs: -Infinity }))
    }
    return room
  }

  #forget(isGone: (held: Held) => boolean, only?: SpaceId): void {
    for (const [space, { held: all, fresh }] of this.#rooms) {
      if (only !== undefined && space !== only) continue
      for (const [name, held] of all) {
        if (!isGone(held)) continue
        all.delete(name)
        fresh.delete(name)
        this.#count--
        this.#bytes -= held.value.length
        if (held.value.length > 0) this.#changed(space, held, undefined)
      }
    }
  }

  #sweep(nowMs: number): void {
    if (nowMs < this.#expiresAt || nowMs < this.#sweptMs + sweepEveryMs) return
    this.#sweptMs = nowMs
    this.#forget(({ untilMs }) => untilMs <= nowMs)
    this.#expiresAt = Infinity
    for (const { held } of this.#rooms.values()) {
      for (const { untilMs } of held.values()) this.#expiresAt = Math.min(this.#expiresAt, untilMs)
    }
  }

  #changed(space: SpaceId, { node, agent }: Held, value: Uint8Array | undefined): void {
    this.#out.push({ kind: 'changed', space, node, agent, value })
  }

  // What is told.

  /** Linked peers that hold the space. */
  #peers(space: SpaceId): NodeId[] {
    return [...this.#config.peers()].flatMap(({ node, spaces }) => (spaces?.has(space) === true ? [node] : []))
  }

  /** Is every living member that may hold the space linked? */
  #isMesh(space: SpaceId): boolean {
    const { members, roster } = this.#config
    const linked = new Set(Array.from(this.#config.peers(), ({ node }) => node))
    for (const member of members.members()) {
      const { node } = member
      if (isAlive(member) && !linked.has(node) && roster.get(node)?.spaces?.has(space) !== false) return false
    }
    return true
  }

  #tell(room: Room, nowMs: number): void {
    if (nowMs < room.sentMs + sendEveryMs) return
    const isMesh = this.#isMesh(room.space)
    const fresh = [...room.fresh]
      .flatMap((name) => room.held.get(name) ?? [])
      .filter(({ from }) => from === undefined || !isMesh)
    room.fresh.clear()
    room.sentMs = nowMs
    if (fresh.length === 0) return
    for (const to of this.#peers(room.space)) this.#send(to, room.space, fresh, nowMs)
  }

  /** A peer that comes to hold a space hears who is there: from each his own, and all where not everybody is linked. */
  #holds(node: NodeId, spaces: ReadonlySet<SpaceId>, nowMs: number): void {
    const before = this.#heard.get(node)
    this.#heard.set(node, new Set(spaces))
    for (const { space, held } of this.#rooms.values()) {
      if (!spaces.has(space) || before?.has(space) === true) continue
      const isMesh = this.#isMesh(space)
      const told = [...held.values()].filter(({ from }) => from === undefined || !isMesh)
      this.#send(node, space, told, nowMs)
    }
  }

  /**
   * To one peer, a different one each time, some of all that is known: of others, who may have no link to him; of this node,
   * since a word may be lost; and of himself, who may have begun anew.
   */
  #repeat(nowMs: number): void {
    this.#repeatAt = this.#count === 0 ? Infinity : nowMs + repeatEveryMs
    for (const { space, held } of this.#rooms.values()) {
      const peers = this.#peers(space)
      const to = peers[this.#repeats % peers.length]
      if (to === undefined) continue
      const all = [...held.values()]
      const start = all.length === 0 ? 0 : (this.#repeats * 37) % all.length
      let left = repeatBytes
      const some: Held[] = []
      for (const one of [...all.slice(start), ...all.slice(0, start)]) {
        if ((left -= one.value.length + statementBytes) < 0) break
        some.push(one)
      }
      this.#send(to, space, some, nowMs, true)
    }
    this.#repeats++
  }

  #send(to: NodeId, space: SpaceId, all: readonly Held[], nowMs: number, isRepeat: boolean = false): void {
    let statements: PresenceStatement[] = []
    let sizeBytes = 0
    const flush = (): void => {
      if (statements.length > 0) this.#out.push({ kind: 'send', to, frame: { kind: 'presence', space, statements } })
      statements = []
      sizeBytes = 0
    }
    for (const { node, agent, version, value, untilMs, from } of all) {
      const leftMs = Math.min(Math.ceil(untilMs - nowMs), limits.presenceMs)
      if (leftMs <= 0 || (!isRepeat && (node === to || from === to))) continue
      statements.push({ node, agent, version, leftMs, value })
      sizeBytes += value.length + statementBytes
      if (sizeBytes >= frameBytes || statements.length >= limits.framePresences) flush()
    }
    flush()
  }
}

const nothing = new Uint8Array(0)

function nameOf(node: NodeId, agent: string): string {
  return `${agent}\u0000${node}`
}

function isAlive(member: Member | undefined): boolean {
  return member?.state === 'alive' || member?.state === 'suspect'
}

function valueAt({ value, untilMs }: Held, nowMs: number): Uint8Array | undefined {
  return value.length > 0 && untilMs > nowMs ? value : undefined
}

function isSame(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (one === undefined || other === undefined) return one === other
  return equalBytes(one, other)
}
