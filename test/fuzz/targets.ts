/** Every decoder that reads what somebody else wrote. A new target is one entry at the end. */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { equalBytes } from '../../src/base/bytes.ts'
import { SkeinError } from '../../src/base/errors.ts'
import { Reader, Writer, decodeValue, encodeValue, skipValue } from '../../src/base/msgpack.ts'
import { prng } from '../../src/base/prng.ts'
import { decodeDelta, encodeDelta } from '../../src/crdt/delta.ts'
import type { Delta } from '../../src/crdt/delta.ts'
import { originId } from '../../src/crdt/dot.ts'
import { State, decodeSnapshot } from '../../src/crdt/state.ts'
import { checkChunks } from '../../src/crdt/types/automerge-check.ts'
import { editing as automergeEditing } from '../../src/crdt/types/automerge-edits.test-model.ts'
import { types } from '../../src/crdt/types/table.ts'
import { checkUpdate } from '../../src/crdt/types/yjs-check.ts'
import { editing as yjsEditing } from '../../src/crdt/types/yjs-edits.test-model.ts'
import { anyValue, workload } from '../../src/crdt/workload.ts'
import { readSpaceFacts } from '../../src/replica/space.ts'
import { readSum, writeSum } from '../../src/replica/tree.ts'
import { crc32c, maskCrc } from '../../src/store/crc32c.ts'
import { readLevelLog, snappyDecode } from '../../src/store/level-files.ts'
import { decodePacket, encodePackets, protocol } from '../../src/wire/codec.ts'
import type { Frame } from '../../src/wire/frame.ts'
import { framesOfKind } from '../../src/wire/frames.test-kit.ts'
import { spaceIdOf } from '../../src/wire/names.ts'
import { handshake } from './handshake.ts'
import { machine } from './machine.ts'
import { hold, taken } from './target.ts'
import type { Target } from './target.ts'

const origins = [originId('a'.repeat(32)), originId('b'.repeat(32)), originId('0123456789abcdef'.repeat(2))] as const
const deltaSeq = 1_000_000

/** Deltas of every type, in the order in which they were written, and the state they come to. */
function histories(): { deltas: Delta[]; states: State[] } {
  const deltas: Delta[] = []
  const states: State[] = []
  const chance = prng(3)
  for (const type of types) {
    const state = new State()
    for (let i = 0; i < 40; i++) {
      const write = { origin: chance.pick(origins), time: 3e15 + i * 5000, agent: chance.pick(['agent-7', 'é']) }
      const key = chance.pick(['k', 'task-1', '😀'])
      const cells = state.entry(key).cells(type.id)
      const [name, args] = (workload[type.name] as (typeof workload)[string])(chance, type.read(cells).value)
      try {
        const { delta } = state.local(write, key, type, name, args)
        if (delta !== undefined) deltas.push(delta)
        if (i % 13 === 12) {
          const removal = state.delete(write, key, (id) => types.find((other) => other.id === id))
          if (removal !== undefined) deltas.push(removal)
        }
      } catch (error) {
        if (!(error instanceof SkeinError)) throw error
      }
      if (i % 8 === 0) states.push(state.clone())
    }
    states.push(state)
  }
  return { deltas, states }
}

let made: ReturnType<typeof histories> | undefined
const history = (): ReturnType<typeof histories> => (made ??= histories())

/** What a decoder of ours may say no with: one sentence under one of these codes. */
function refusal(error: unknown, ...codes: readonly string[]): string {
  if (!(error instanceof SkeinError) || !codes.includes(error.code)) throw error
  return error.message
}

const packet: Target = {
  name: 'packet',
  corpus() {
    const frames = Object.values(framesOfKind).flatMap((arbitrary) =>
      fc.sample(arbitrary as fc.Arbitrary<Frame>, { numRuns: 4, seed: 11 }),
    )
    const runs = history().deltas.map((delta) => ({
      origin: delta.origin,
      seq: delta.seq,
      bodies: [encodeDelta(delta)],
    }))
    const deltas: Frame[] = [1, 3, 30].map((count) => ({
      kind: 'deltas',
      space: spaceIdOf('tasks', 1),
      runs: runs.slice(0, count),
      cause: 'catch-up',
      more: true,
      hops: 0,
    }))
    return [
      ...frames.flatMap((frame) => encodePackets([frame])),
      ...encodePackets(frames.slice(0, 8)),
      ...deltas.flatMap((frame) => [...encodePackets([frame]), ...encodePackets([frame], { packed: true })]),
    ]
  },
  run(bytes) {
    const { frames, fault } = decodePacket(bytes)
    const known = frames.filter((frame) => frame.kind !== 'hello' || frame.major === protocol.major)
    const again = encodePackets(known)
    hold(
      isDeepStrictEqual(
        again.flatMap((part) => decodePacket(part).frames),
        known,
      ),
      'frames that were taken come back as they were',
    )
    return fault?.message ?? taken
  },
}

const delta: Target = {
  name: 'delta',
  corpus: () => history().deltas.map(encodeDelta),
  run(bytes) {
    let decoded: Delta
    try {
      decoded = decodeDelta(origins[0], deltaSeq, bytes)
    } catch (error) {
      return refusal(error, 'malformed')
    }
    hold(equalBytes(encodeDelta(decoded), bytes), 'a delta has one form')
    return taken
  },
}

const snapshot: Target = {
  name: 'snapshot',
  corpus: () => history().states.map((state) => state.encode()),
  run(bytes) {
    try {
      decodeSnapshot(bytes, new Map(), () => {})
    } catch (error) {
      refusal(error, 'malformed')
    }
    try {
      hold(equalBytes(State.decode(bytes).encode(), bytes), 'a snapshot that was taken has one form')
    } catch (error) {
      return refusal(error, 'malformed')
    }
    return taken
  },
}

const messagePack: Target = {
  name: 'messagepack',
  corpus() {
    const chance = prng(7)
    return Array.from({ length: 100 }, () => encodeValue(anyValue(chance, 4)))
  },
  run(bytes) {
    let answer = taken
    try {
      const value = decodeValue(bytes)
      hold(skipValue(bytes, 0) === bytes.length, 'a value ends where its headers say')
      hold(equalBytes(encodeValue(value), bytes), 'a value that was taken has one form')
    } catch (error) {
      // A field called __proto__ is read as data; writing it is refused in words.
      answer = refusal(error, 'malformed', 'reserved_name')
    }
    try {
      hold(skipValue(bytes, 0) <= bytes.length, 'skipping stays inside the bytes')
    } catch (error) {
      refusal(error, 'malformed')
    }
    return answer
  },
}

const yjs: Target = {
  name: 'yjs',
  corpus: () => yjsEditing(prng(5), 3, 60).updates,
  run(bytes) {
    const checked = checkUpdate(bytes)
    return 'refused' in checked ? checked.refused : taken
  },
}

const automerge: Target = {
  name: 'automerge',
  corpus: () => automergeEditing(prng(5), 3, 60).changes,
  run(bytes) {
    const checked = checkChunks(bytes)
    return 'refused' in checked ? checked.refused : taken
  },
}

const leafRow: Target = {
  name: 'leaf-row',
  corpus() {
    return [0, 5, 70_000].map((count) => {
      const writer = new Writer()
      writer.begin()
      writeSum(writer, Uint32Array.of(1, 2, 0xffff_ffff, 4, count))
      return writer.finish()
    })
  },
  run(bytes) {
    const sum = new Uint32Array(5)
    try {
      readSum(bytes, sum)
    } catch (error) {
      return refusal(error, 'malformed')
    }
    return taken
  },
}

const spaceRow: Target = {
  name: 'space-row',
  corpus: () => [encodeValue(['tasks', 1, 0]).subarray(1), encodeValue(['é😀', 70_000]).subarray(1)],
  run(bytes) {
    try {
      readSpaceFacts(1, bytes)
    } catch (error) {
      return refusal(error, 'malformed')
    }
    return taken
  },
}

/** A record in one piece as LevelDB's log has it: checksum, length, type. */
function logRecord(bytes: Uint8Array): Uint8Array {
  const record = Uint8Array.of(0, 0, 0, 0, bytes.length & 0xff, bytes.length >> 8, 1, ...bytes)
  new DataView(record.buffer).setUint32(0, maskCrc(crc32c(record, 6)), true)
  return record
}

/** The log that a LevelDB writes: blocks of records. */
const levelLog: Target = {
  name: 'level-log',
  corpus() {
    const records = history()
      .deltas.slice(0, 10)
      .map((each) => logRecord(encodeDelta(each)))
    return [...records, Buffer.concat(records), logRecord(new Uint8Array(0)), new Uint8Array(40)].map((bytes) =>
      Uint8Array.from(bytes),
    )
  },
  run(bytes) {
    const { records, damage, torn } = readLevelLog('x', bytes)
    hold(records >= 0, 'records are counted')
    return damage?.what ?? (torn === undefined ? taken : 'torn')
  },
}

const snappy: Target = {
  name: 'snappy',
  corpus: () => [
    Uint8Array.of(5, 4 << 2, 1, 2, 3, 4, 5),
    Uint8Array.of(20, 3 << 2, 1, 2, 3, 4, (15 << 2) | 2, 4, 0),
    Uint8Array.of(12, 3 << 2, 1, 2, 3, 4, (4 << 2) | 1, 4),
  ],
  run(bytes) {
    try {
      snappyDecode(bytes)
    } catch (error) {
      if (!(error instanceof RangeError) || error.message.startsWith('Invalid')) throw error
      return error.message
    }
    return taken
  },
}

/** A reader that starts and ends inside of its bytes. */
const bounds: Target = {
  name: 'reader',
  corpus: () => messagePack.corpus(),
  run(bytes) {
    const [from, to] = [bytes.length >> 2, bytes.length - (bytes.length >> 2)]
    const reader = new Reader(bytes, from, to)
    try {
      while (!reader.done) {
        reader.value()
        hold(reader.at <= to, 'a reader stays inside its bytes')
      }
    } catch (error) {
      return refusal(error, 'malformed')
    }
    return taken
  },
}

export const targets: readonly Target[] = [
  packet,
  delta,
  snapshot,
  messagePack,
  bounds,
  yjs,
  automerge,
  leafRow,
  spaceRow,
  levelLog,
  snappy,
  handshake,
  machine,
]
