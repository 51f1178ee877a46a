/**
 * A packed packet: the one frame [0x3f, size, bytes], whose bytes are those of the plain packet through raw DEFLATE (RFC
 * 1951). Envelopes do not nest. Its sender decides by the link; every receiver takes it.
 *
 * What it unpacks to is bounded twice before anything is allocated: by the packet limit, and by a ratio, so that a few
 * bytes never buy a megabyte.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { Reader, Writer, skipValue } from '../base/msgpack.ts'
import { bounded } from './fields.ts'

export const packedCode = 0x3f

/** Below this the saving is not worth the call. Measured: see docs/decisions/packing.md. */
const leastBytes = 512
/** Higher levels gain some 5 % and take twice the time. */
const level = 1

const writer = new Writer()

/** The packet in an envelope, or as it is where that is not smaller by an eighth. */
export function pack(plain: Uint8Array): Uint8Array {
  if (plain.length < leastBytes) return plain
  const bytes = deflateRawSync(plain, { level })
  if (bytes.length > plain.length - plain.length / 8) return plain
  if (plain.length > limits.packedRatio * bytes.length) return plain
  writer.begin()
  writer.array(3)
  writer.number(packedCode)
  writer.number(plain.length)
  writer.bin(bytes)
  return writer.finish()
}

/** Not a Buffer, whose `slice` is no copy: views of the packet go far. */
function plainBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.constructor === Uint8Array) return bytes
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** The plain packet, which may be the packet itself. */
export function unpack(packet: Uint8Array): Uint8Array {
  // An array of 3 to 15 items that starts with the code: all that an envelope of this and later minor versions can be.
  if (packet[1] !== packedCode || ((packet[0] as number) & 0xf0) !== 0x90) return plainBytes(packet)
  const end = skipValue(packet, 0)
  const reader = new Reader(packet, 1, end)
  reader.byte()
  const size = reader.uint()
  const bytes = reader.bin()
  if (end !== packet.length) reader.fail('bytes follow the envelope')
  bounded(size, limits.packetBytes, 'bytes of a packet')
  bounded(size, limits.packedRatio * bytes.length, 'bytes of a packet for those of its envelope')
  let plain: Uint8Array
  try {
    plain = plainBytes(inflateRawSync(bytes, { maxOutputLength: Math.max(size, 1) }))
  } catch (error) {
    throw new SkeinError('malformed', 'not in the canonical form: an envelope that does not open', {}, error)
  }
  if (plain.length !== size) reader.fail('an envelope of another size')
  return plain
}
