/** What is in a packet, in a few words: for transcripts. */
import { toHex } from '../base/bytes.ts'
import { decodePacket } from '../wire/codec.ts'
import { packedCode } from '../wire/envelope.ts'
import type { Frame } from '../wire/frame.ts'

/** A frame of a kind that nobody knows yet, with two fields. */
const laterFrame = Uint8Array.of(0x93, 0x3e, 0x01, 0xa1, 0x78)

/** The packet as a later minor version would send it: with a frame more. Readers skip what they do not know. */
export function laterPacket(bytes: Uint8Array): Uint8Array {
  const isPacked = bytes[1] === packedCode
  if (isPacked) return bytes
  const longer = new Uint8Array(bytes.length + laterFrame.length)
  longer.set(bytes)
  longer.set(laterFrame, bytes.length)
  return longer
}

export function describePacket(bytes: Uint8Array): string {
  const { frames, fault } = decodePacket(bytes)
  const said = frames.map(describeFrame)
  if (fault !== undefined) said.push(`(${fault.code}: ${fault.message})`)
  return said.join(' + ')
}

function describeFrame(frame: Frame): string {
  switch (frame.kind) {
    case 'hello':
      return `hello ${frame.node.slice(0, 4)}`
    case 'refuse':
      return `refuse ${frame.code}`
    case 'deltas': {
      const runs = frame.runs.map(
        ({ origin, seq, bodies }) => `${origin.slice(16, 20)}-${seq}..${seq + bodies.length - 1}`,
      )
      return `deltas (${frame.cause}) ${runs.join(' ')}${frame.more ? ' and more' : ''}`
    }
    case 'greeting':
      return `greeting ${toHex(frame.context).slice(0, 6)} root ${toHex(frame.root).slice(0, 6)}${frame.catchingUp ? ' catching up' : ''}`
    case 'vector': {
      const entries = frame.entries.map(
        ({ origin, seq }) => `${origin.slice(frame.form === 'full' ? 16 : 0).slice(0, 4)}-${seq}`,
      )
      return `vector (${frame.form}${frame.answer ? ', answer' : ''}) ${entries.join(' ')}`
    }
    case 'stored':
    case 'stored-ask':
      return `${frame.kind} ${frame.vector.map(({ origin, seq }) => `${origin.slice(16, 20)}-${seq}`).join(' ')}`
    case 'notice':
      return `notice ${frame.dots.map(({ origin, seq }) => `${origin.slice(16, 20)}-${seq}`).join(' ')}`
    case 'pull':
      return `pull after ${frame.after.map(({ origin, seq }) => `${origin.slice(16, 20)}-${seq}`).join(' ')}`
    case 'tree-cells':
      return `tree-cells ${frame.seq}, ${frame.cells.length} bytes${frame.last ? ', the last' : ''}`
    default:
      return frame.kind
  }
}
