/**
 * What an origin had seen of the others. A space has an origin for each time that a node was opened and wrote, and each of
 * them had seen all before it: in full that is the square of their number. So a context shares with the one that it came
 * from: it is a tree of small arrays over the local numbers of origins, and changing it copies the path to the change.
 */

const width = 32
const bits = 5

/** At the lowest level sequences, 0 for what was not seen; above it nodes. */
type Leaf = readonly number[]
type Branch = readonly (Tree | undefined)[]
type Tree = Leaf | Branch

/** The local number of an origin, and a sequence; 0 takes it out. */
export type NumberedDot = readonly [number: number, seq: number]

const noLeaf: Leaf = Array.from({ length: width }, () => 0)
const noBranch: Branch = Array.from({ length: width }, () => undefined)

export class Context implements Iterable<NumberedDot> {
  static readonly none: Context = new Context(noLeaf, 0, 0)
  readonly size: number
  readonly #root: Tree
  /** Levels of branches above the leaves. */
  readonly #height: number

  private constructor(root: Tree, height: number, size: number) {
    this.#root = root
    this.#height = height
    this.size = size
  }

  /** The sequence seen of an origin; 0 where nothing was. */
  get(number: number): number {
    if (number >= width ** (this.#height + 1)) return 0
    let tree: Tree | undefined = this.#root
    for (let shift = bits * this.#height; shift > 0; shift -= bits) {
      tree = (tree as Branch)[(number >>> shift) % width]
      if (tree === undefined) return 0
    }
    return (tree as Leaf)[number % width] as number
  }

  changedBy(changes: Iterable<NumberedDot>): Context {
    let root = this.#root
    let height = this.#height
    let size = this.size
    /** What was copied already for these changes, and so may be written to. */
    const own = new Set<Tree>()
    const mine = <T extends Tree>(tree: T): T => {
      if (own.has(tree)) return tree
      const copy = tree.slice() as Tree as T
      own.add(copy)
      return copy
    }
    for (const [number, seq] of changes) {
      for (; number >= width ** (height + 1); height++) {
        const above = [...noBranch]
        above[0] = root
        own.add(above)
        root = above
      }
      root = mine(root)
      let tree: Tree = root
      for (let shift = bits * height; shift > 0; shift -= bits) {
        const branch = tree as (Tree | undefined)[]
        const at = (number >>> shift) % width
        tree = branch[at] = mine(branch[at] ?? (shift === bits ? noLeaf : noBranch))
      }
      const leaf = tree as number[]
      const before = leaf[number % width] as number
      if (before === 0 && seq > 0) size++
      if (before > 0 && seq === 0) size--
      leaf[number % width] = seq
    }
    return root === this.#root ? this : new Context(root, height, size)
  }

  *[Symbol.iterator](): Generator<NumberedDot> {
    yield* seqsIn(this.#root, this.#height, 0)
  }

  /** What it takes to make `other` of this. Costs as much as they do not share. */
  changesTo(other: Context): NumberedDot[] {
    const changes: NumberedDot[] = []
    const height = Math.max(this.#height, other.#height)
    differences(this.#under(height), other.#under(height), height, 0, changes)
    return changes
  }

  #under(height: number): Tree {
    let root = this.#root
    for (let at = this.#height; at < height; at++) {
      const above = [...noBranch]
      above[0] = root
      root = above
    }
    return root
  }
}

function* seqsIn(tree: Tree | undefined, height: number, base: number): Generator<NumberedDot> {
  if (tree === undefined) return
  for (let at = 0; at < width; at++) {
    const number = base * width + at
    if (height > 0) yield* seqsIn((tree as Branch)[at], height - 1, number)
    else if (tree[at] !== 0) yield [number, tree[at] as number]
  }
}

function differences(
  from: Tree | undefined,
  to: Tree | undefined,
  height: number,
  base: number,
  into: NumberedDot[],
): void {
  if (from === to) return
  for (let at = 0; at < width; at++) {
    const number = base * width + at
    if (height > 0) {
      differences((from as Branch | undefined)?.[at], (to as Branch | undefined)?.[at], height - 1, number, into)
      continue
    }
    const before = (from as Leaf | undefined)?.[at] ?? 0
    const after = (to as Leaf | undefined)?.[at] ?? 0
    if (before !== after) into.push([number, after])
  }
}
