/**
 * The chain of batches: the row that every batch holds about itself, and the check that the rows which are kept are exactly
 * the last ones and continue one another. What that proves stands at the head of level.ts.
 */
import { equalBytes } from '../base/bytes.ts'
import { checksum32, hash128, lanes } from '../base/hash.ts'
import { isIntact, plain } from './level-batch.ts'
import type { Database } from './level-batch.ts'
import { CHAIN_BYTES, noBatch } from './mark.ts'
import { reservedByte } from './store.ts'

/** Batch rows that are kept. A guess: enough to see what happened last, few enough to read at every opening. */
export const WINDOW_BATCHES = 1024

/** Reserved rows have one more byte that tells their kind. */
const BATCH_ROW = 0x01
const BATCH_KEY_BYTES = 10
const BATCH_VALUE_BYTES = 68
export const reservedStart: Uint8Array = Uint8Array.of(reservedByte)

/** The row that a batch holds about itself. */
export interface BatchRow {
  readonly number: number
  readonly timeMs: number
  readonly count: number
  readonly sizeBytes: number
  readonly durability: number
  /** Over the batch's records. */
  readonly content: Uint8Array
  /** Over the chain of the batch before and everything above. */
  readonly chain: Uint8Array
}

const keyBytes = new Uint8Array(BATCH_KEY_BYTES)
const keyView = new DataView(keyBytes.buffer)
const valueBytes = new Uint8Array(BATCH_VALUE_BYTES)
const valueView = new DataView(valueBytes.buffer)

/** In memory that is reused: valid until the next is made. */
export function batchKey(number: number): Uint8Array {
  keyView.setUint16(0, (reservedByte << 8) | BATCH_ROW)
  keyView.setUint32(2, Math.floor(number / 2 ** 32))
  keyView.setUint32(6, number >>> 0)
  return keyBytes
}

/** Fills in the chain, and the checksum of the row. In memory that is reused: valid until the next is made. */
export function batchValue(row: Omit<BatchRow, 'chain'>, previousChain: Uint8Array, key: Uint8Array): Uint8Array {
  const view = valueView
  view.setFloat64(0, row.number, true)
  view.setFloat64(8, row.timeMs, true)
  view.setFloat64(16, row.sizeBytes, true)
  view.setUint32(24, row.count, true)
  view.setUint32(28, row.durability, true)
  valueBytes.set(row.content, 32)
  // The chain before is the seed of this one.
  valueBytes.set(previousChain, 48)
  const seed1 = view.getUint32(48, true)
  const seed2 = view.getUint32(52, true)
  const seed3 = view.getUint32(56, true)
  const seed4 = view.getUint32(60, true)
  hash128(valueBytes, 0, 48, seed1, seed2, seed3, seed4)
  for (let lane = 0; lane < 4; lane++) view.setUint32(48 + 4 * lane, lanes[lane] as number, true)
  view.setUint32(64, checksum32(valueBytes, 0, 64, checksum32(key, 0, key.length, 0)), true)
  return valueBytes
}

/** The chain in a row of the kind that `batchValue` makes, as a copy. */
export function chainOf(value: Uint8Array): Uint8Array {
  return value.slice(48, 48 + CHAIN_BYTES)
}

function parseBatchRow(key: Uint8Array, value: Uint8Array): BatchRow | undefined {
  if (key.length !== BATCH_KEY_BYTES || key[1] !== BATCH_ROW || value.length !== BATCH_VALUE_BYTES) return undefined
  if (!isIntact(key, value)) return undefined
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  const number = view.getFloat64(0, true)
  if (!equalBytes(batchKey(number), key)) return undefined
  return {
    number,
    timeMs: view.getFloat64(8, true),
    sizeBytes: view.getFloat64(16, true),
    count: view.getUint32(24, true),
    durability: view.getUint32(28, true),
    content: value.slice(32, 48),
    chain: chainOf(value),
  }
}

/** All reserved rows in order, or the sentence that says what is wrong with them. */
export async function readWindow(database: Database): Promise<readonly BatchRow[] | string> {
  const rows: BatchRow[] = []
  const iterator = database.iterator({ gte: reservedStart, highWaterMarkBytes: 256 * 1024 })
  try {
    for (;;) {
      const page = await iterator.nextv(WINDOW_BATCHES)
      if (page.length === 0) break
      for (const [key, value] of page as [Uint8Array, Uint8Array][]) {
        const row = parseBatchRow(plain(key), plain(value))
        if (row === undefined) return 'a batch row does not have the checksum that was written with it'
        rows.push(row)
      }
    }
  } finally {
    await iterator.close()
  }
  const head = rows.at(-1)
  if (head === undefined) return rows
  const first = Math.max(1, head.number - WINDOW_BATCHES + 1)
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as BatchRow
    const expected = i === 0 ? first : (rows[i - 1] as BatchRow).number + 1
    if (row.number < expected) return `batch ${row.number} should have been deleted by a batch that is missing`
    if (row.number > expected) return `batches ${expected} to ${row.number - 1} are missing`
    const previous = i === 0 ? (row.number === 1 ? noBatch.chain : undefined) : (rows[i - 1] as BatchRow).chain
    if (previous && !equalBytes(continued(row, previous), row.chain)) {
      return `batch ${row.number} does not continue the one before it`
    }
  }
  return rows
}

/** What the chain of a row must be after the one before it. */
function continued(row: BatchRow, previousChain: Uint8Array): Uint8Array {
  return chainOf(batchValue(row, previousChain, batchKey(row.number)))
}
