/** Frames between nodes as nodes: who they are, which spaces they hold, who is alive. */
import { assert } from '../base/assert.ts'
import { toHex } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import type { Reader, Writer } from '../base/msgpack.ts'
import {
  bounded,
  idBytes,
  readFlags,
  readId,
  readInteger,
  readText,
  writeFlags,
  writeHex,
  writeId,
  writeText,
} from './fields.ts'
import type { FrameCodecs } from './fields.ts'
import type { HeldSpace, Hello, MemberState, MemberStatement, NodeId } from './frame.ts'
import { spaceIdOf } from './names.ts'

/** Of this code. Nodes of another major version refuse each other; of two minor ones the newer sends what both know. */
export const protocol = { major: 1, minor: 0 } as const

/** By their number on the wire. */
const states: readonly MemberState[] = ['alive', 'suspect', 'dead', 'left']

const statementItems = 6
const codeBytes = 64

/** Six items: who (8 bytes, and 8 more of who says it if that is another), address, incarnation, state, zone, version. */
function writeStatements(writer: Writer, statements: readonly MemberStatement[]): void {
  assert(statements.length <= limits.frameMembers, 'a frame holds no more statements than the limit')
  writer.array(statementItems * statements.length)
  for (const { node, address, incarnation, state, zone, version, by } of statements) {
    assert(node.length === 2 * idBytes && by.length === 2 * idBytes, 'a node has 16 hexadecimal digits')
    writer.binHeader(by === node ? idBytes : 2 * idBytes)
    writeHex(writer, node)
    if (by !== node) writeHex(writer, by)
    writeText(writer, address, limits.addressBytes)
    writer.number(incarnation)
    writer.number(states.indexOf(state))
    writeText(writer, zone, limits.zoneBytes)
    writer.number(version)
  }
}

function readStatements(reader: Reader): MemberStatement[] {
  const items = reader.array()
  if (items % statementItems !== 0) reader.fail('half a statement')
  bounded(items / statementItems, limits.frameMembers, 'statements of a frame')
  const statements: MemberStatement[] = []
  for (let left = items; left > 0; left -= statementItems) {
    const ids = reader.bin()
    if (ids.length !== idBytes && ids.length !== 2 * idBytes) reader.fail('a node of another length')
    const node = toHex(ids, 0, idBytes) as NodeId
    const by = ids.length === idBytes ? node : (toHex(ids, idBytes) as NodeId)
    if (by === node && ids.length !== idBytes) reader.fail('a node named twice')
    statements.push({
      node,
      address: readText(reader, limits.addressBytes, 'bytes of an address'),
      incarnation: reader.uint(),
      state: states[reader.uint(states.length - 1)] as MemberState,
      zone: readText(reader, limits.zoneBytes, 'bytes of a zone'),
      version: reader.uint(),
      by,
    })
  }
  return statements
}

export const memberFrames: FrameCodecs<
  'hello' | 'refuse' | 'spaces' | 'ping' | 'ack' | 'ping-request' | 'nack' | 'members'
> = {
  hello: {
    code: 0x00,
    fields: 7,
    write(writer, frame) {
      writer.number(frame.major)
      writer.number(frame.minor)
      writeId(writer, frame.fleet)
      writeId(writer, frame.node)
      writeId(writer, frame.incarnation)
      writer.number(frame.nowMs)
      writeText(writer, frame.address, limits.addressBytes)
    },
    read(reader) {
      const major = reader.uint()
      const minor = reader.uint()
      if (major !== protocol.major) return foreignHello(major, minor)
      return {
        kind: 'hello',
        major,
        minor,
        fleet: readId(reader),
        node: readId(reader) as NodeId,
        incarnation: readId(reader),
        nowMs: readInteger(reader),
        address: readText(reader, limits.addressBytes, 'bytes of an address'),
      }
    },
  },
  refuse: {
    code: 0x01,
    fields: 2,
    write(writer, frame) {
      writeText(writer, frame.code, codeBytes)
      writeText(writer, frame.reason, limits.refusalBytes)
    },
    read: (reader) => ({
      kind: 'refuse',
      code: readText(reader, codeBytes, 'bytes of a code'),
      reason: readText(reader, limits.refusalBytes, 'bytes of a reason'),
    }),
  },
  // The ids are not sent: they follow from name and generation.
  spaces: {
    code: 0x02,
    fields: 1,
    write(writer, { spaces }) {
      assert(spaces.length <= limits.spaces, 'a node holds no more spaces than the limit')
      writer.array(2 * spaces.length)
      for (const { id, name, generation } of spaces) {
        assert(id === spaceIdOf(name, generation), 'a space id follows from name and generation')
        writeText(writer, name, limits.spaceNameBytes)
        writer.number(generation)
      }
    },
    read(reader) {
      const items = reader.array()
      if (items % 2 !== 0) reader.fail('half a space')
      bounded(items / 2, limits.spaces, 'spaces of a node')
      const spaces: HeldSpace[] = []
      for (let left = items; left > 0; left -= 2) {
        const name = readText(reader, limits.spaceNameBytes, 'bytes of a space name')
        const generation = reader.uint()
        spaces.push({ id: spaceIdOf(name, generation), name, generation })
      }
      return { kind: 'spaces', spaces }
    },
  },
  ping: {
    code: 0x08,
    fields: 2,
    write(writer, frame) {
      writer.number(frame.seq)
      writeStatements(writer, frame.updates)
    },
    read: (reader) => ({ kind: 'ping', seq: reader.uint(), updates: readStatements(reader) }),
  },
  ack: {
    code: 0x09,
    fields: 2,
    write(writer, frame) {
      writer.number(frame.seq)
      writeStatements(writer, frame.updates)
    },
    read: (reader) => ({ kind: 'ack', seq: reader.uint(), updates: readStatements(reader) }),
  },
  'ping-request': {
    code: 0x0a,
    fields: 4,
    write(writer, frame) {
      writer.number(frame.seq)
      writeId(writer, frame.target)
      writeText(writer, frame.address, limits.addressBytes)
      writeStatements(writer, frame.updates)
    },
    read: (reader) => ({
      kind: 'ping-request',
      seq: reader.uint(),
      target: readId(reader) as NodeId,
      address: readText(reader, limits.addressBytes, 'bytes of an address'),
      updates: readStatements(reader),
    }),
  },
  nack: {
    code: 0x0b,
    fields: 1,
    write: (writer, frame) => writer.number(frame.seq),
    read: (reader) => ({ kind: 'nack', seq: reader.uint() }),
  },
  members: {
    code: 0x0c,
    fields: 2,
    write(writer, frame) {
      writeFlags(writer, frame.answer)
      writeStatements(writer, frame.members)
    },
    read(reader) {
      const flags = readFlags(reader)
      return { kind: 'members', members: readStatements(reader), answer: (flags & 1) !== 0 }
    },
  },
}

/** Enough to refuse it: what else it says, and how, is that version's own affair. */
function foreignHello(major: number, minor: number): Hello {
  return { kind: 'hello', major, minor, fleet: '', node: '' as NodeId, incarnation: '', nowMs: 0, address: '' }
}
