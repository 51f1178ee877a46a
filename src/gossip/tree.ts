/**
 * The tree of one writer in one space, as this node sees it: whom it pushes to what that writer writes, and who is its own
 * source of it.
 *
 * Plumtree keeps the link that was first and prunes what was late. Where delays differ by chance, another is first each
 * time: links are pruned by luck, paths grow long, and two nodes may each take the other for the better source, which
 * cuts off both. So here a node stays with its source. It changes for one that has what comes over fewer hops, if it comes
 * about as soon, or for one that is much sooner; a source counts as gone when it is silent about what others brought.
 *
 * Not here: who the neighbours are, and repair (broadcast.ts).
 */

/** Neighbours in one space: a mesh of 32 has 31 others; with rings 10, and whoever takes this node for one of his. */
export const slots = 32
/** Beyond it hops are not told apart. Five bits of a frame's flags. */
export const mostHops = 31
/** In a slot's byte: duplicates, then what was agreed over the default. */
export const mostDuplicates = 3
const grafted = 4
const pruned = 8
/** What comes within so long came together, and fewer hops are better. A guess: above what chance makes of a few hops in a LAN. */
const togetherMs = 5
/** After a partition much is caught up once; who is cut off from a tree catches up again and again. */
const missedOften = 2
const none = -1

export class Tree {
  readonly #slots = new Uint8Array(slots)
  readonly #kind: 'own' | 'other' | 'shared'
  /** Over how many hops the last news came. */
  hops = 0
  /** Where the last news came from. */
  last: number = none
  #lastMs = 0
  #source = none
  #sourceHops = 0
  /** Who brought news that the source has not brought yet. */
  #rival = none
  #rivalHops = 0
  #rivalMs = 0
  /** Deltas in a row that neighbours told of and that nobody pushed. */
  #missed = 0

  constructor(kind: 'own' | 'other' | 'shared') {
    this.#kind = kind
  }

  /** Is what the writer writes pushed to that slot? */
  pushes(slot: number, byDefault: boolean): boolean {
    const agreed = this.#byte(slot)
    return (agreed & grafted) !== 0 || ((agreed & pruned) === 0 && byDefault)
  }

  /** The node there asked for pushes, or for none. */
  graft(slot: number): void {
    this.#slots[slot] = grafted
  }

  prune(slot: number): void {
    this.#slots[slot] = pruned
  }

  /** News were pushed from that slot, over so many hops. */
  arrived(slot: number, hops: number, nowMs: number): void {
    const isSilent = this.#rival !== none && nowMs - this.#rivalMs > togetherMs
    this.heard()
    this.last = slot
    this.#lastMs = nowMs
    this.hops = Math.min(hops, mostHops)
    if (this.#kind === 'shared') {
      // Writers that share a tree come from different sides: each link that brings news of some is needed.
      this.hops = 0
      this.forgive(slot)
    } else if (slot === this.#source || this.#source === none || isSilent) this.#follow(slot, this.hops)
    else if (this.#rival === none) {
      this.#rival = slot
      this.#rivalHops = this.hops
      this.#rivalMs = nowMs
    }
  }

  heard(): void {
    this.#missed = 0
  }

  /** A delta that neighbours told of was caught up, and nobody has pushed it; true when that happened again. */
  missed(): boolean {
    if (++this.#missed < missedOften) return false
    this.#missed = 0
    return true
  }

  /** What was known was pushed from that slot. The answer is whose pushes are not needed, be it that slot or another. */
  repeated(slot: number, hops: number, nowMs: number): number | undefined {
    if (this.#kind === 'own' || this.#kind === 'shared') return slot
    const isLate = nowMs - this.#lastMs > togetherMs
    if (slot === this.#source) {
      const rival = this.#rival
      this.#rival = none
      this.#sourceHops = hops
      if (rival === none) return undefined
      if (!isLate && this.#rivalHops >= hops) return rival
      this.#follow(rival, this.#rivalHops)
      return slot
    }
    if (this.#source !== none && (isLate || hops >= this.#sourceHops)) return slot
    const before = this.#source
    this.#follow(slot, hops)
    return before === none ? undefined : before
  }

  /** One more duplicate of that slot; true when they are `most`, and it begins anew. */
  counts(slot: number, most: number): boolean {
    const duplicates = (this.#byte(slot) & mostDuplicates) + 1
    this.forgive(slot)
    if (duplicates >= most) return true
    this.#slots[slot] = this.#byte(slot) | duplicates
    return false
  }

  /** Its duplicates count no more. */
  forgive(slot: number): void {
    this.#slots[slot] = this.#byte(slot) & ~mostDuplicates
  }

  /** The node in that slot is another, or its link is gone. */
  vacate(slot: number): void {
    this.#slots[slot] = 0
    if (this.last === slot) this.last = none
    if (this.#source === slot) this.#source = none
    if (this.#rival === slot) this.#rival = none
  }

  /** All that was agreed was meant for another form. */
  clear(): void {
    for (let slot = 0; slot < slots; slot++) this.vacate(slot)
  }

  #follow(slot: number, hops: number): void {
    this.#source = slot
    this.#sourceHops = hops
    this.#rival = none
    this.forgive(slot)
  }

  #byte(slot: number): number {
    return this.#slots[slot] as number
  }
}
