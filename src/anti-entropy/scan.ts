/**
 * One pass over the rows of a space as of one moment of the store. The driver brings pages when they are asked for; what
 * is made of them is up to whoever started the scan: sums of the tree, a sketch, cells for a peer, keys.
 *
 * Entries are decoded from the rows of the snapshot, never taken from the cache: what is on the disk is the question.
 */
import type { Row, RowReader } from '../base/rows.ts'
import { lanes } from '../base/hash.ts'
import { utf8Length } from '../base/bytes.ts'
import type { Path, Sibling, Siblings, TypeId } from '../crdt/cell.ts'
import type { OriginId, ReadonlyVector, Vector } from '../crdt/dot.ts'
import { encodeSnapshot } from '../crdt/state.ts'
import type { Buckets } from '../replica/adoption.ts'
import { StoredEntry } from '../replica/entry.ts'
import { entryKeyOf } from '../replica/row-keys.ts'
import type { Space } from '../replica/space.ts'
import { keyHash, leafCount } from '../replica/tree.ts'
import type { Sum } from '../replica/tree.ts'
import type { SyncOutput } from './output.ts'

/** What a scan hands on: entries in the order of their keys. */
export interface Visitor {
  entry(entry: StoredEntry): void
  /** A page is through, and perhaps all of it. */
  page(done: boolean, nowMs: number): void
  /** It cannot go on: rows are damaged. */
  failed(why: string): void
}

interface Running {
  readonly space: Space
  readonly visitor: Visitor
}

export class Scans {
  readonly #outputs: SyncOutput[]
  readonly #running = new Map<number, Running>()
  #next = 1

  constructor(outputs: SyncOutput[]) {
    this.#outputs = outputs
  }

  /** Takes a snapshot of the store now; `more` asks for its pages. */
  start(space: Space, visitor: Visitor): number {
    const scan = this.#next++
    this.#running.set(scan, { space, visitor })
    this.#outputs.push({ kind: 'scan', scan, space: space.number })
    return scan
  }

  more(scan: number): void {
    this.#outputs.push({ kind: 'more', scan })
  }

  end(scan: number): void {
    if (this.#running.delete(scan)) this.#outputs.push({ kind: 'end-scan', scan })
  }

  page(scan: number, rows: readonly Row[], done: boolean, snapshot: RowReader, nowMs: number): void {
    const running = this.#running.get(scan)
    if (running === undefined) return
    const { space, visitor } = running
    const { number, origins, agents } = space
    const home = { number, rows: snapshot, origins, agents, forget: () => {}, weigh: () => {} }
    for (const [key, bytes] of rows) {
      const name = entryKeyOf(key)
      const entry = new StoredEntry(home, name, keyHash(name))
      try {
        entry.decode(bytes)
        // Every chunk is read, and everything in it named: what follows meets no damage.
        entry.siblings()
      } catch (error) {
        return this.fail(scan, `an entry cannot be read: ${error instanceof Error ? error.message : String(error)}`)
      }
      visitor.entry(entry)
      if (!this.#running.has(scan)) return
    }
    if (done) this.end(scan)
    visitor.page(done, nowMs)
  }

  fail(scan: number, why: string): void {
    const running = this.#running.get(scan)
    if (running === undefined) return
    this.end(scan)
    running.visitor.failed(why)
  }
}

/** Every sibling of an entry, its digest left in `lanes`. */
export function eachSibling(entry: StoredEntry, each: (type: TypeId, path: Path, sibling: Sibling) => void): void {
  for (const sibling of entry.siblings()) {
    const { name } = sibling
    sibling.digest(entry.key)
    each(name.charCodeAt(0), name.slice(1), sibling)
  }
}

const width = 5

/** The leaves of a tree and its root, summed up anew from cells. */
export class Sums {
  readonly root: Sum = new Uint32Array(width)
  readonly #leaves = new Uint32Array(width * leafCount)

  /** Adds the digest in `lanes`. */
  add(leaf: number): void {
    const { root } = this
    const leaves = this.#leaves
    const at = width * leaf
    for (let i = 0; i < 4; i++) {
      const lane = lanes[i] as number
      leaves[at + i] = (leaves[at + i] as number) + lane
      root[i] = (root[i] as number) + lane
    }
    leaves[at + 4] = (leaves[at + 4] as number) + 1
    root[4] = (root[4] as number) + 1
  }

  leaf(leaf: number): Sum {
    return this.#leaves.subarray(width * leaf, width * leaf + width)
  }

  /** The first two lanes of the sums over neighbouring leaves, as a tree-ask carries them. */
  folded(buckets: number): Uint8Array {
    const bytes = new Uint8Array(8 * buckets)
    const view = new DataView(bytes.buffer)
    const each = leafCount / buckets
    for (let bucket = 0; bucket < buckets; bucket++) {
      let high = 0
      let low = 0
      for (let leaf = bucket * each; leaf < (bucket + 1) * each; leaf++) {
        high = (high + (this.#leaves[width * leaf] as number)) >>> 0
        low = (low + (this.#leaves[width * leaf + 1] as number)) >>> 0
      }
      view.setUint32(8 * bucket, high)
      view.setUint32(8 * bucket + 4, low)
    }
    return bytes
  }

  /** The sum over everything in those buckets. */
  inside(buckets: Buckets): Sum {
    const sum = new Uint32Array(width)
    for (let leaf = 0; leaf < leafCount; leaf++) {
      if (buckets.has(leaf))
        for (let i = 0; i < width; i++) sum[i] = (sum[i] as number) + (this.#leaves[width * leaf + i] as number)
    }
    return sum
  }
}

/** How finely sums are folded: some cells a bucket. A guess: fewer, and sums cost more than cells; more, and cells do. */
export function bucketsFor(siblings: number): number {
  return siblings <= 2048 ? 256 : siblings <= 131_072 ? 4096 : leafCount
}

/** Which buckets of two lists of folded sums differ, as the bits of a tree-offer. */
export function differingBuckets(mine: Uint8Array, theirs: Uint8Array): Uint8Array {
  const buckets = mine.length / 8
  const bits = new Uint8Array(buckets / 8)
  for (let bucket = 0; bucket < buckets; bucket++) {
    for (let i = 8 * bucket; i < 8 * bucket + 8; i++) {
      if (mine[i] === theirs[i]) continue
      bits[bucket >> 3] = (bits[bucket >> 3] as number) | (1 << (bucket & 7))
      break
    }
  }
  return bits
}

type CellRow = [key: string, type: TypeId, path: Path, siblings: Siblings]

/** Gathers siblings in the order of a snapshot and cuts them into chunks of about so many bytes. */
export class Packer {
  readonly #vector: ReadonlyVector
  readonly #mostBytes: number
  #rows: CellRow[] = []
  #origins = new Set<OriginId>()
  #agents = new Set<string>()
  #sizeBytes = 0
  siblings = 0
  readonly chunks: Uint8Array[] = []

  constructor(vector: ReadonlyVector, mostBytes: number) {
    this.#vector = vector
    this.#mostBytes = mostBytes
  }

  add(key: string, type: TypeId, path: Path, sibling: Sibling): void {
    const last = this.#rows.at(-1)
    const sameKey = last?.[0] === key
    // The most that it can take: what it shares with its neighbour comes off.
    let sizeBytes = 28 + (sameKey ? 0 : utf8Length(key) + 6) + path.length + sibling.value.length
    if (!this.#origins.has(sibling.origin)) sizeBytes += 27
    if (!this.#agents.has(sibling.agent)) sizeBytes += utf8Length(sibling.agent) + 5
    if (this.#rows.length > 0 && this.#sizeBytes + sizeBytes > this.#mostBytes) {
      this.flush()
      this.add(key, type, path, sibling)
      return
    }
    this.#sizeBytes += sizeBytes
    this.#origins.add(sibling.origin)
    this.#agents.add(sibling.agent)
    this.siblings++
    const current = this.#rows.at(-1)
    if (current?.[0] === key && current[1] === type && current[2] === path) current[3] = [...current[3], sibling]
    else this.#rows.push([key, type, path, [sibling]])
  }

  /** Ends the chunk that is being gathered, if it holds anything. */
  flush(): void {
    if (this.#rows.length === 0) return
    const vector: Vector = new Map()
    for (const origin of this.#origins) vector.set(origin, this.#vector.get(origin) as number)
    this.chunks.push(encodeSnapshot(vector, this.#rows))
    this.#rows = []
    this.#origins = new Set()
    this.#agents = new Set()
    this.#sizeBytes = 0
  }
}
