/**
 * One space's overlay, as one node sees it: who its neighbours are and of what they have heard, the trees of the writers, and
 * what is missing. A value that broadcast.ts works on.
 */
import { limits } from '../base/limits.ts'
import type { NodeId, OriginId, SpaceId } from '../wire/frame.ts'
import { slots, Tree } from './tree.ts'

/** Writers of a space that share a tree, because no other is free. */
const shared = '' as NodeId

export interface Told {
  seq: number
  /** Bits of the slots that have it: they sent it, or it was sent to them. */
  slots: number
}

export interface Gap {
  upTo: number
  readonly sources: NodeId[]
  readonly noticedMs: number
  dueMs: number
  pulls: number
  pulledFrom: NodeId | undefined
  pulledMs: number
}

export class View {
  readonly space: SpaceId
  readonly #self: NodeId
  mesh = true
  readonly nodes: (NodeId | undefined)[] = []
  readonly slotOf: Map<NodeId, number> = new Map()
  /** Bits of slots whose link is up. */
  linked = 0
  /** Bits of slots that this node chose; the others chose it. */
  chosen = 0
  /** Bits of slots that are told rather than pushed to whatever the writer. */
  cool = 0
  /** Bits of slots that get notices in a mesh. */
  told = 0
  /** Neighbours who cannot know that they are, and are told so. */
  unaware = 0
  readonly trees: Map<NodeId, Tree> = new Map()
  readonly pending: Map<OriginId, Told> = new Map()
  noticeMs: number = Infinity
  readonly gaps: Map<OriginId, Gap> = new Map()

  constructor(space: SpaceId, self: NodeId) {
    this.space = space
    this.#self = self
  }

  /** The tree of the writer, a new one while there is room. */
  tree(writer: NodeId): Tree {
    const known = this.trees.get(writer)
    if (known !== undefined) return known
    if (this.trees.size >= limits.broadcastTrees && writer !== shared) return this.tree(shared)
    const tree = new Tree(writer === shared ? 'shared' : writer === this.#self ? 'own' : 'other')
    this.trees.set(writer, tree)
    return tree
  }

  /** A tree that is there; writers beyond the bound share one. */
  known(writer: NodeId): Tree | undefined {
    return this.trees.get(writer) ?? this.trees.get(shared)
  }

  /** Makes room, when there is none left, by letting go of writers that are gone. */
  forgetWriters(isGone: (writer: NodeId) => boolean): void {
    if (this.trees.size < limits.broadcastTrees) return
    for (const writer of this.trees.keys()) if (writer !== shared && isGone(writer)) this.trees.delete(writer)
  }

  /** From a mesh to trees or back: what was agreed was meant for the other form. */
  change(): void {
    this.mesh = !this.mesh
    this.cool = 0
    for (const tree of this.trees.values()) tree.clear()
  }

  /** A place for the node, or undefined when all are taken. */
  seat(node: NodeId): number | undefined {
    const had = this.slotOf.get(node)
    if (had !== undefined) return had
    for (let slot = 0; slot < slots; slot++) {
      if (this.nodes[slot] !== undefined) continue
      this.nodes[slot] = node
      this.slotOf.set(node, slot)
      return slot
    }
    return undefined
  }

  unseat(slot: number): void {
    const node = this.nodes[slot]
    if (node === undefined) return
    this.slotOf.delete(node)
    this.nodes[slot] = undefined
    const keep = ~(1 << slot)
    this.chosen &= keep
    this.cool &= keep
    this.told &= keep
    this.unaware &= keep
    this.unlink(slot)
  }

  /** Its link is gone. */
  unlink(slot: number): void {
    const keep = ~(1 << slot)
    this.linked &= keep
    for (const told of this.pending.values()) told.slots &= keep
    for (const tree of this.trees.values()) tree.vacate(slot)
  }

  /** Is what the tree's writer writes pushed to that slot? */
  pushes(tree: Tree, slot: number, own: boolean): boolean {
    return tree.pushes(slot, (this.cool & (1 << slot)) === 0 && (own || !this.mesh))
  }
}
