/**
 * Which keys a space may have rows for, as far as it was told. A no is certain; a yes is wrong for a few keys in a hundred.
 * It serves spaces that were empty when they were opened, and so were told of every key: asking a store for a row that is
 * not there costs more than making one.
 *
 * Bloom filters in stages that grow with the keys ("Scalable Bloom Filters", Almeida et al., 2007): one alone cannot be made
 * larger, since it does not know its keys. Two bits a key; beyond half a million keys the last stage fills up, and more
 * of its answers are yes.
 */
const firstBits = 2 ** 13
const growth = 8
/** One MiB. A guess. */
const mostBits = 2 ** 23
/** Above this the next stage begins: some 1.4 % of foreign keys have both bits set then. */
const bitsAKey = 16

interface Stage {
  readonly bits: Uint32Array
  readonly mask: number
  keys: number
}

/** Where the bits of the key that was hashed last stand, before a stage's mask. */
let first = 0
let second = 0

/** FNV-1a over UTF-16 units, and a second mix of it. */
function hash(key: string): void {
  let h = 0x811c9dc5
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193)
  first = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  first ^= first >>> 12
  second = Math.imul(first, 0x297a2d39)
  second ^= second >>> 15
}

function isSet({ bits, mask }: Stage): boolean {
  const a = first & mask
  const b = second & mask
  return (((bits[a >>> 5] as number) >>> (a & 31)) & ((bits[b >>> 5] as number) >>> (b & 31)) & 1) === 1
}

function set({ bits, mask }: Stage, place: number): void {
  const bit = place & mask
  bits[bit >>> 5] = (bits[bit >>> 5] as number) | (1 << (bit & 31))
}

export class KeyFilter {
  readonly #stages: Stage[] = []

  /** False when this key was never added. */
  mayHave(key: string): boolean {
    if (this.#stages.length === 0) return false
    hash(key)
    return this.#stages.some(isSet)
  }

  add(key: string): void {
    hash(key)
    if (this.#stages.some(isSet)) return
    let stage = this.#stages.at(-1)
    const sizeBits = stage === undefined ? 0 : stage.mask + 1
    if (stage === undefined || (stage.keys * bitsAKey >= sizeBits && sizeBits < mostBits)) {
      const nextBits = stage === undefined ? firstBits : Math.min(sizeBits * growth, mostBits)
      stage = { bits: new Uint32Array(nextBits / 32), mask: nextBits - 1, keys: 0 }
      this.#stages.push(stage)
    }
    stage.keys++
    set(stage, first)
    set(stage, second)
  }
}
