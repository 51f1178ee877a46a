/** The frame that tells who is there: of agents and not of nodes, and of nothing that is kept. */
import { assert } from '../base/assert.ts'
import { toHex } from '../base/bytes.ts'
import { limits } from '../base/limits.ts'
import { decodeValue } from '../base/msgpack.ts'
import type { Reader } from '../base/msgpack.ts'
import { bounded, idBytes, readBytes, readSpace, readText, writeId, writeTable, writeText } from './fields.ts'
import type { FrameCodecs } from './fields.ts'
import type { NodeId, PresenceStatement } from './frame.ts'

const items = 5

function readStatement(reader: Reader): PresenceStatement {
  const node = toHex(readBytes(reader, idBytes)) as NodeId
  const agent = readText(reader, limits.agentBytes, 'bytes of an agent')
  const version = reader.uint()
  const leftMs = reader.uint(limits.presenceMs)
  const value = reader.bin()
  bounded(value.length, limits.presenceBytes, 'bytes of a presence')
  // Whoever passes it on must be able to answer for it.
  if (value.length > 0) decodeValue(value)
  return { node, agent, version, leftMs, value }
}

export const presenceFrames: FrameCodecs<'presence'> = {
  presence: {
    code: 0x2a,
    fields: 2,
    write(writer, { space, statements }) {
      assert(statements.length <= limits.framePresences, 'a frame holds no more statements than the limit')
      writeTable(writer, space)
      writer.array(items * statements.length)
      for (const { node, agent, version, leftMs, value } of statements) {
        assert(value.length <= limits.presenceBytes, 'a presence is within its limit')
        writeId(writer, node)
        writeText(writer, agent, limits.agentBytes)
        writer.number(version)
        writer.number(leftMs)
        writer.bin(value)
      }
    },
    read(reader) {
      const space = readSpace(reader)
      const length = reader.array()
      if (length % items !== 0) reader.fail('half a statement')
      bounded(length / items, limits.framePresences, 'statements of a frame')
      const statements: PresenceStatement[] = []
      for (let left = length; left > 0; left -= items) statements.push(readStatement(reader))
      return { kind: 'presence', space, statements }
    },
  },
}
