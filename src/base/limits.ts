/**
 * Every limit in one table; docs/LIMITS.md is held to it by a test. They act where a write is made. A receiver never
 * refuses a delta for its size below the frame, since one refused delta would block its origin for ever.
 */
export const limits = {
  /** UTF-8 bytes of an entry key. A guess: room for a path of ids; rows stay small. */
  keyBytes: 512,
  /** UTF-8 bytes of a space name. */
  spaceNameBytes: 128,
  /** UTF-8 bytes of an agent name. */
  agentBytes: 128,
  /** UTF-8 bytes of a reason. */
  reasonBytes: 1024,
  /** Encoded bytes of one value in a cell. */
  valueBytes: 262_144,
  /** Nesting of a value. JSON parsers and people stop long before. */
  valueDepth: 32,
  /** Encoded bytes of a cell path: a set element or a record path is one. */
  pathBytes: 1024,
  /** Encoded bytes of one delta: it must fit one frame of 1 MiB with its envelope. */
  deltaBytes: 983_040,
  /** Cell writes in one delta. */
  deltaWrites: 10_000,
  /** Spaces of one node. */
  spaces: 1000,
  /** Bytes of uncommitted rows above which a write throws `busy`. */
  uncommittedBytes: 67_108_864,
  /** Changes that wait for one watcher before it is told of a gap. */
  watchBuffer: 1024,
  /** Encoded size at which the cells of an entry are split into chunks. DESIGN: some 4 KiB, a page. */
  chunkBytes: 4096,
  /** How far away an expiry may be: a hundred years. What is to stay needs none. */
  ttlMs: 3_155_760_000_000,
  /** Structs that one Yjs update may claim, and operations of one Automerge change. */
  documentItems: 200_000,
} as const
