/** Frames of the broadcast: deltas, and the notices that there are some. */
import { assert } from '../base/assert.ts'
import { limits } from '../base/limits.ts'
import type { Reader, Writer } from '../base/msgpack.ts'
import type { OriginId } from '../crdt/dot.ts'
import {
  bounded,
  readDots,
  readFlags,
  readIds,
  readSpace,
  readTable,
  writeDots,
  writeFlags,
  writeIds,
  writeTable,
} from './fields.ts'
import type { FrameCodecs } from './fields.ts'
import type { NodeId, Run } from './frame.ts'

/**
 * [place, step, count, body, …] for each run: place of its origin in the table, and by how much its first sequence
 * differs from the one that would follow this origin's run before. A table stands in the order of first use.
 */
function writeRuns(writer: Writer, runs: readonly Run[], places: ReadonlyMap<OriginId, number>): void {
  const next = new Map<OriginId, number>()
  let items = 0
  for (const { bodies } of runs) items += 3 + bodies.length
  writer.array(items)
  for (const { origin, seq, bodies } of runs) {
    writer.number(places.get(origin) as number)
    writer.number(seq - (next.get(origin) ?? 0))
    writer.number(bodies.length)
    for (const body of bodies) writer.bin(body)
    next.set(origin, seq + bodies.length)
  }
}

function readRuns(reader: Reader, origins: readonly OriginId[]): Run[] {
  const runs: Run[] = []
  const next: number[] = []
  let deltas = 0
  let left = reader.array()
  while (left > 0) {
    const place = reader.uint(next.length)
    const origin = origins[place]
    if (origin === undefined) reader.fail('an origin that the table lacks')
    const seq = (next[place] ?? 0) + reader.number()
    const count = reader.uint()
    if (!Number.isSafeInteger(seq) || seq < 1 || count - 1 > Number.MAX_SAFE_INTEGER - seq) {
      reader.fail('a sequence out of range')
    }
    if (count === 0) reader.fail('a run without deltas')
    left -= 3 + count
    if (left < 0) reader.fail('half a run')
    deltas = bounded(deltas + count, limits.frameDeltas, 'deltas of a frame')
    const bodies: Uint8Array[] = []
    for (let i = 0; i < count; i++) bodies.push(reader.bin())
    runs.push({ origin, seq, bodies })
    next[place] = seq + count
  }
  if (left !== 0) reader.fail('half a run')
  if (next.length !== origins.length) reader.fail('an origin that nothing names')
  if (new Set(origins).size !== origins.length) reader.fail('an origin named twice')
  return runs
}

/** The highest count of hops: flags with it stay one byte. */
const hopsMask = 31
/** Bits of the flags before them. */
const hopsShift = 2

export const deltaFrames: FrameCodecs<'deltas' | 'notice' | 'pull' | 'prune'> = {
  deltas: {
    code: 0x10,
    fields: 3,
    write(writer, { space, runs, cause, more, hops }) {
      const places = new Map<OriginId, number>()
      let deltas = 0
      for (const { origin, seq, bodies } of runs) {
        assert(bodies.length > 0 && seq >= 1, 'a run has deltas, and sequences start at 1')
        deltas += bodies.length
        if (!places.has(origin)) places.set(origin, places.size)
      }
      assert(deltas <= limits.frameDeltas, 'a frame holds no more deltas than the limit')
      writeTable(writer, space, [...places.keys()])
      assert(hops >= 0 && hops <= hopsMask && (hops === 0 || cause === 'push'), 'a push says hops, up to the most')
      writer.number((hops << hopsShift) | (more ? 2 : 0) | (cause === 'catch-up' ? 1 : 0))
      writeRuns(writer, runs, places)
    },
    read(reader) {
      const { space, origins } = readTable(reader)
      const flags = readFlags(reader)
      const runs = readRuns(reader, origins)
      const isPush = (flags & 1) === 0
      const hops = isPush ? (flags >>> hopsShift) & hopsMask : 0
      return { kind: 'deltas', space, runs, cause: isPush ? 'push' : 'catch-up', more: (flags & 2) !== 0, hops }
    },
  },
  notice: {
    code: 0x11,
    fields: 2,
    write: (writer, { space, dots }) => writeDots(writer, space, dots),
    read: (reader) => ({ kind: 'notice', ...readDots(reader, 1) }),
  },
  pull: {
    code: 0x12,
    fields: 3,
    write(writer, { space, after, graft }) {
      writeDots(writer, space, after)
      writeFlags(writer, graft)
    },
    // After 0 is from the start.
    read(reader) {
      const { space, dots } = readDots(reader, 0)
      return { kind: 'pull', space, after: dots, graft: (readFlags(reader) & 1) !== 0 }
    },
  },
  prune: {
    code: 0x13,
    fields: 2,
    write(writer, { space, writers }) {
      writeTable(writer, space)
      writeIds(writer, writers)
    },
    read: (reader) => ({ kind: 'prune', space: readSpace(reader), writers: readIds(reader) as NodeId[] }),
  },
}
