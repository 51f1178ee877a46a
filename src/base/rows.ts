/**
 * The two narrow doors between the pure replica and whatever keeps its rows: it reads synchronously through a
 * RowReader and hands finished rows to a RowSink. Keys are ordered bytewise.
 */
export interface RowReader {
  /** The value, or undefined where there is none. The bytes are the caller's to keep, not to change. */
  get(key: Uint8Array): Uint8Array | undefined
}

/** Takes the rows of one atomic batch. It copies what it is given before it returns: callers reuse their buffers. */
export interface RowSink {
  put(key: Uint8Array, value: Uint8Array): void
  del(key: Uint8Array): void
}

export interface RowRange {
  readonly gte: Uint8Array
  readonly lt: Uint8Array
  readonly reverse?: boolean
}

export type Row = readonly [key: Uint8Array, value: Uint8Array]

/** Pages of rows from one consistent snapshot, in key order (or its reverse). */
export interface RowScanner {
  range(range: RowRange): AsyncIterable<readonly Row[]>
}
