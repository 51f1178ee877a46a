/**
 * The cut: what every member of the roster has durably applied. Below it no log is needed for catching up, and an earlier
 * incarnation of a node whose whole sequence lies below it is retired. It is made of what members say that their disks
 * have, and remembers nothing over a restart: until a member has spoken, it waits for him.
 */
import type { OriginId, ReadonlyVector } from '../crdt/dot.ts'
import type { NodeId, SpaceId } from '../wire/frame.ts'

export interface Blocker {
  readonly node: NodeId
  /** How long he has kept a delta from being stable. */
  readonly ageMs: number
}

export class Cut {
  #roster: readonly NodeId[] = []
  /** The spaces that a member holds, where it has said so; until then it is waited for everywhere. */
  readonly #held = new Map<NodeId, ReadonlySet<SpaceId>>()
  readonly #stored = new Map<SpaceId, Map<NodeId, ReadonlyVector>>()
  readonly #blocking = new Map<NodeId, number>()

  /** The other members that the cut waits for. */
  get roster(): readonly NodeId[] {
    return this.#roster
  }

  set roster(members: readonly NodeId[]) {
    this.#roster = [...members]
    for (const node of this.#blocking.keys()) if (!members.includes(node)) this.#blocking.delete(node)
  }

  /** A member says which spaces it holds: for others it is not waited for. */
  holds(node: NodeId, spaces: ReadonlySet<SpaceId>): void {
    if (this.#roster.includes(node)) this.#held.set(node, spaces)
  }

  #waitedFor(space: SpaceId): readonly NodeId[] {
    return this.#roster.filter((node) => this.#held.get(node)?.has(space) ?? true)
  }

  /** A member says what its disk has. The latest word counts, also downwards: a backup may have been restored. */
  note(space: SpaceId, node: NodeId, stored: ReadonlyVector): void {
    let members = this.#stored.get(space)
    if (members === undefined) this.#stored.set(space, (members = new Map<NodeId, ReadonlyVector>()))
    members.set(node, new Map(stored))
  }

  /** A member lost its disk, or came back with an older one. */
  forget(node: NodeId): void {
    for (const members of this.#stored.values()) members.delete(node)
  }

  /** What `node` has said to have of an origin. */
  storedBy(space: SpaceId, node: NodeId, origin: OriginId): number {
    return this.#stored.get(space)?.get(node)?.get(origin) ?? 0
  }

  /** All that `node` has said to have of a space. */
  vectorOf(space: SpaceId, node: NodeId): ReadonlyVector | undefined {
    return this.#stored.get(space)?.get(node)
  }

  /** The highest sequence of an origin that the own disk (`own`) and every member's have. */
  of(space: SpaceId, origin: OriginId, own: number): number {
    let least = own
    for (const node of this.#waitedFor(space)) least = Math.min(least, this.storedBy(space, node, origin))
    return least
  }

  /**
   * Has every member exactly this much of an origin on its disk? Then its sequence ends there: who knows more of it would
   * have said so.
   */
  endsAt(space: SpaceId, origin: OriginId, seq: number): boolean {
    return this.#waitedFor(space).every((node) => this.storedBy(space, node, origin) === seq)
  }

  /** The highest sequence of an origin that at least one other disk has. */
  elsewhere(space: SpaceId, origin: OriginId): number {
    let most = 0
    for (const stored of this.#stored.get(space)?.values() ?? []) most = Math.max(most, stored.get(origin) ?? 0)
    return most
  }

  /** Looks at who keeps the cut behind what is here. Called now and then; ages count from the first look. */
  look(spaces: Iterable<{ readonly id: SpaceId; durableVector(): ReadonlyVector }>, nowMs: number): void {
    const behind = new Set<NodeId>()
    for (const space of spaces) {
      const members = this.#waitedFor(space.id)
      for (const [origin, seq] of space.durableVector()) {
        for (const node of members) if (this.storedBy(space.id, node, origin) < seq) behind.add(node)
      }
    }
    for (const node of this.#roster) {
      if (!behind.has(node)) this.#blocking.delete(node)
      else if (!this.#blocking.has(node)) this.#blocking.set(node, nowMs)
    }
  }

  /** Who blocks the cut, the longest first. */
  blockers(nowMs: number): Blocker[] {
    return [...this.#blocking]
      .map(([node, sinceMs]) => ({ node, ageMs: nowMs - sinceMs }))
      .sort((a, b) => b.ageMs - a.ageMs)
  }
}
