/** Roots and sums as frames carry them. */
import type { Sum } from '../replica/tree.ts'

/** The first bytes of a root: 8 in a greeting, 16 where it is a proof. */
export function rootBytes(root: Sum, length: number = 8): Uint8Array {
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  for (let i = 0; 4 * i < length; i++) view.setUint32(4 * i, root[i] as number)
  return bytes
}

/** A root of 16 bytes and its count as a sum. */
export function sumOf(root: Uint8Array, count: number): Sum {
  const view = new DataView(root.buffer, root.byteOffset, 16)
  return Uint32Array.of(view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12), count)
}

export function sameSum(a: Sum, b: Sum): boolean {
  return a.every((lane, at) => lane === b[at])
}

/** a - b + c, lane by lane. */
export function exchanged(a: Sum, b: Sum, c: Sum): Sum {
  return a.map((lane, at) => lane - (b[at] as number) + (c[at] as number))
}
