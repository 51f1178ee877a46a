/**
 * A backup as bytes, while the node writes: everything that was written before the first piece is asked for.
 *
 * Layout: the line `skein-backup 1`, then records [key length, value length, key, value] with 4-byte lengths, then a
 * record of two zero lengths, the number of records and a 128-bit hash chained over all of them.
 */
import { hash128, lanes } from '../base/hash.ts'
import type { RowScanner } from '../base/rows.ts'

export const headline: Uint8Array = new TextEncoder().encode('skein-backup 1\n')
export const endBytes = 32
/** Records are hashed, and read back, in pieces: records until they are this much or more. */
export const chunkBytes = 1_048_576

export async function* backupBytes(rows: RowScanner): AsyncGenerator<Uint8Array, void, void> {
  const chain = new Uint32Array(4)
  let count = 0
  let pieces: Uint8Array[] = []
  let waiting = 0
  const taken = (): Uint8Array => {
    const bytes = Buffer.concat(pieces)
    advance(chain, bytes)
    pieces = []
    waiting = 0
    return bytes
  }
  yield headline
  for await (const page of rows.range({ gte: Uint8Array.of(0), lt: Uint8Array.of(0xff) })) {
    for (const [key, value] of page) {
      const lengths = new DataView(new ArrayBuffer(8))
      lengths.setUint32(0, key.length)
      lengths.setUint32(4, value.length)
      pieces.push(new Uint8Array(lengths.buffer), key, value)
      waiting += 8 + key.length + value.length
      count++
      if (waiting >= chunkBytes) yield taken()
    }
  }
  if (waiting > 0) yield taken()
  const end = new DataView(new ArrayBuffer(endBytes))
  end.setBigUint64(8, BigInt(count))
  for (const [i, lane] of chain.entries()) end.setUint32(16 + 4 * i, lane)
  yield new Uint8Array(end.buffer)
}

export function advance(chain: Uint32Array, bytes: Uint8Array): void {
  hash128(bytes, 0, bytes.length, chain[0] as number, chain[1] as number, chain[2] as number, chain[3] as number)
  chain.set(lanes)
}
