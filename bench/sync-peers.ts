/**
 * What the same exchange costs by other methods, counted on the very digests of both sides: no envelope, 8 bytes a digest,
 * the values themselves never counted. They are the textbook forms; their authors' programs differ in detail.
 */
export interface Cost {
  readonly bytes: number
  readonly roundTrips: number
}

/** Digests of 64 bits, as pairs of words [high, low, high, low, …], sorted. */
export type Digests = readonly bigint[]

const digestBytes = 8

/** Information that names `count` of 2^64 digests: no method that names differences by digest needs less. */
export function lowerBound(count: number): Cost {
  const bits = count === 0 ? 0 : count * (64 - Math.log2(count) + Math.LOG2E)
  return { bytes: Math.ceil(bits / 8), roundTrips: 0.5 }
}

/** A vector of every origin, 16 bytes and a sequence each, both ways. */
export function fullVectors(origins: number): Cost {
  return { bytes: 2 * origins * (16 + 3), roundTrips: 1 }
}

/** A Merkle tree of 16 children a node over 65,536 leaves, one level a message; differing leaves list their digests. */
export function merkle(mine: Digests, theirs: Digests): Cost {
  const leafOf = (digest: bigint): number => Number(digest >> 48n)
  const leaves = [mine, theirs].map((side) => {
    const sums = new BigUint64Array(65_536)
    const counts = new Uint32Array(65_536)
    for (const digest of side) {
      const leaf = leafOf(digest)
      sums[leaf] = (sums[leaf] as bigint) + digest
      counts[leaf] = (counts[leaf] as number) + 1
    }
    return { sums, counts }
  })
  const [a, b] = leaves as [(typeof leaves)[0], (typeof leaves)[0]]
  let differing = Array.from(a.sums.keys()).filter((leaf) => a.sums[leaf] !== b.sums[leaf])
  let listed = 0
  for (const leaf of differing) listed += (a.counts[leaf] as number) + (b.counts[leaf] as number)
  let bytes = digestBytes + digestBytes * listed
  if (differing.length === 0) return { bytes: digestBytes, roundTrips: 0.5 }
  for (let level = 0; level < 4; level++) {
    differing = [...new Set(differing.map((node) => node >> 4))]
    bytes += 16 * digestBytes * differing.length
  }
  // Root, four levels, leaf lists: one message each.
  return { bytes, roundTrips: 3 }
}

/** Range-based reconciliation (Meyer, 2022): 16 parts a range, each a bound and a fingerprint; short ranges are listed. */
export function ranges(mine: Digests, theirs: Digests): Cost {
  const sums = [mine, theirs].map((side) => {
    const prefix = new BigUint64Array(side.length + 1)
    for (const [at, digest] of side.entries()) prefix[at + 1] = (prefix[at] as bigint) + digest
    return prefix
  }) as [BigUint64Array, BigUint64Array]
  const sides = [mine, theirs] as const
  const from = (side: Digests, bound: bigint): number => {
    let low = 0
    let high = side.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((side[middle] as bigint) < bound) low = middle + 1
      else high = middle
    }
    return low
  }
  let bytes = digestBytes
  let messages = 1
  let open: { readonly low: bigint; readonly high: bigint }[] = [{ low: 0n, high: 1n << 64n }]
  for (let turn = 1; open.length > 0; turn++) {
    const next: typeof open = []
    for (const { low, high } of open) {
      const at = sides.map((side) => [from(side, low), from(side, high)] as const) as [
        readonly [number, number],
        readonly [number, number],
      ]
      const [x, y] = at.map(([start, end], side) =>
        BigInt.asUintN(64, (sums[side]?.[end] as bigint) - (sums[side]?.[start] as bigint)),
      )
      if (x === y) continue
      const [start, end] = at[turn % 2] as readonly [number, number]
      const side = sides[turn % 2] as Digests
      const other = at[1 - (turn % 2)] as readonly [number, number]
      if (end - start <= 16) {
        // This side lists what it has, the other answers with what this one lacks.
        bytes += digestBytes * (1 + end - start)
        bytes += digestBytes * Math.max(0, other[1] - other[0] - (end - start))
        continue
      }
      for (let part = 0; part < 16; part++) {
        const first = start + Math.floor(((end - start) * part) / 16)
        const last = start + Math.floor(((end - start) * (part + 1)) / 16)
        next.push({
          low: part === 0 ? low : (side[first] as bigint),
          high: part === 15 ? high : (side[last] as bigint),
        })
        bytes += 2 * digestBytes
      }
    }
    messages++
    open = next
  }
  return { bytes, roundTrips: messages / 2 }
}
