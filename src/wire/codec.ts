/**
 * A packet is what a link carries as one message: frames one after the other, each a canonical MessagePack array
 * [kind, field, …]. docs/PROTOCOL.md is the text; the codecs of the kinds stand in one table below.
 *
 * Decoding is total: whatever the bytes are, it ends in frames and perhaps a fault. A frame is framed before it is read,
 * by its headers alone, so that kinds and further fields of a later minor version are skipped unread.
 */
import { assert } from '../base/assert.ts'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { Reader, Writer, skipValue } from '../base/msgpack.ts'
import { deltaFrames } from './delta-frames.ts'
import { pack, packedCode, unpack } from './envelope.ts'
import { bounded } from './fields.ts'
import type { FrameCodec, FrameCodecs } from './fields.ts'
import type { Frame } from './frame.ts'
import { memberFrames, protocol } from './member-frames.ts'
import { presenceFrames } from './presence-frames.ts'
import { syncFrames } from './sync-frames.ts'

/** Why the rest of a packet was not read: the sender's fault, to be counted against it. */
export interface WireFault {
  readonly code: 'malformed' | 'too_large'
  readonly message: string
  /** Where the frame starts, in the unpacked packet. */
  readonly at: number
}

export interface Decoded {
  /** Those before the fault. Their byte fields are views of the packet: copy what outlives it. */
  readonly frames: readonly Frame[]
  readonly fault: WireFault | undefined
}

export { protocol }

export const frameCodecs: FrameCodecs<Frame['kind']> = {
  ...memberFrames,
  ...deltaFrames,
  ...syncFrames,
  ...presenceFrames,
}

const byCode: readonly (FrameCodec<Frame> | undefined)[] = tableOf(Object.values(frameCodecs) as FrameCodec<Frame>[])

function tableOf(codecs: readonly FrameCodec<Frame>[]): (FrameCodec<Frame> | undefined)[] {
  const table: (FrameCodec<Frame> | undefined)[] = Array.from({ length: 64 })
  for (const codec of codecs) {
    assert(codec.code < packedCode && table[codec.code] === undefined, 'every kind of frame has a number of its own')
    table[codec.code] = codec
  }
  return table
}

const writer = new Writer()

export function encodeFrame(into: Writer, frame: Frame): void {
  const codec = frameCodecs[frame.kind] as FrameCodec<Frame>
  into.array(1 + codec.fields)
  into.number(codec.code)
  codec.write(into, frame)
}

export interface PacketOptions {
  /** Compress what is worth it: for links where bytes are dearer than processor time (docs/decisions/packing.md). */
  readonly packed?: boolean
}

/** Frames that fit one packet. */
export function encodePacket(frames: readonly Frame[], options: PacketOptions = {}): Uint8Array {
  const packets = encodePackets(frames, options)
  assert(packets.length <= 1, 'the frames fit one packet')
  return packets[0] ?? new Uint8Array(0)
}

/** The same frames in as many packets as they need. Each frame fits one: whoever makes it minds its size. */
export function encodePackets(frames: readonly Frame[], options: PacketOptions = {}): Uint8Array[] {
  const [only] = frames
  if (frames.length === 1 && only !== undefined && options.packed !== true) return [encoded(only)]
  const packets: Uint8Array[] = []
  let pieces: Uint8Array[] = []
  let size = 0
  const close = (): void => {
    if (pieces.length === 0) return
    const plain = joined(pieces, size)
    packets.push(options.packed === true ? pack(plain) : plain)
    pieces = []
    size = 0
  }
  for (const frame of frames) {
    const piece = encoded(frame)
    if (size + piece.length > limits.packetBytes || pieces.length === limits.packetFrames) close()
    pieces.push(piece)
    size += piece.length
  }
  close()
  return packets
}

function encoded(frame: Frame): Uint8Array {
  writer.begin()
  encodeFrame(writer, frame)
  const piece = writer.finish()
  assert(piece.length <= limits.packetBytes, 'a frame fits a packet')
  return piece
}

function joined(pieces: readonly Uint8Array[], size: number): Uint8Array {
  const [first] = pieces
  if (pieces.length === 1 && first !== undefined) return first
  const packet = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    packet.set(piece, at)
    at += piece.length
  }
  return packet
}

/**
 * Never throws, whatever the bytes. The packet is not to be changed afterwards. A hello of another major version ends
 * it: nothing that follows would mean what we think.
 */
export function decodePacket(packet: Uint8Array): Decoded {
  const frames: Frame[] = []
  let at = 0
  try {
    bounded(packet.length, limits.packetBytes, 'bytes of a packet')
    const bytes = unpack(packet)
    while (at < bytes.length) {
      bounded(frames.length + 1, limits.packetFrames, 'frames of a packet')
      const end = skipValue(bytes, at)
      const frame = decodeFrame(new Reader(bytes, at, end))
      if (frame !== undefined) frames.push(frame)
      if (frame?.kind === 'hello' && frame.major !== protocol.major) break
      at = end
    }
    return { frames, fault: undefined }
  } catch (error) {
    if (!(error instanceof SkeinError)) throw error
    const code = error.code === 'too_large' ? 'too_large' : 'malformed'
    return { frames, fault: { code, message: error.message, at } }
  }
}

/** One frame, already framed: a field that it lacks is beyond the reader's end. */
function decodeFrame(reader: Reader): Frame | undefined {
  reader.array()
  const code = reader.uint()
  if (code === packedCode) reader.fail('an envelope inside a packet')
  return byCode[code]?.read(reader)
}
