import { expect, test } from 'vitest'
import fc from 'fast-check'
import { MessageReader, headOf, marks } from './stream-messages.ts'
import type { Read } from './stream-messages.ts'

function readAll(bytes: Uint8Array, cuts: readonly number[], messageBytes = 1000): Read[] {
  const reader = new MessageReader(messageBytes)
  const reads: Read[] = []
  let at = 0
  for (const end of [...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    reader.read(bytes.subarray(at, end), (read) => reads.push(read) > 0)
    at = end
  }
  return reads
}

test('[K1] messages and marks come out as they went in, wherever the stream is cut', () => {
  const item = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constantFrom('ping', 'pong', 'bye'))
  fc.assert(
    fc.property(fc.array(item), fc.array(fc.nat()), (items, cuts) => {
      const parts = items.flatMap((one) => (typeof one === 'string' ? [headOf(marks[one])] : [headOf(one.length), one]))
      const reads = readAll(Buffer.concat(parts), cuts)
      const back = reads.map((read) => (read.kind === 'message' ? Uint8Array.from(read.bytes) : read.kind))
      expect(back).toEqual(items)
    }),
  )
})

test('[K2] what is over the limit is told once, and nothing behind it is read', () => {
  const good = Buffer.concat([headOf(3), Buffer.from('abc')])
  for (const length of [1001, 2 ** 31, 0xffff_fffc]) {
    const reads = readAll(Buffer.concat([good, headOf(length), good, good]), [8, 9, 13])
    expect(reads.map(({ kind }) => kind)).toEqual(['message', 'broken'])
  }
})

test('[K2] a length that is announced costs nothing before its bytes come', () => {
  const reader = new MessageReader(2 ** 30)
  const before = process.memoryUsage().arrayBuffers
  reader.read(headOf(2 ** 30), () => true)
  reader.read(new Uint8Array(10), () => true)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20)
})
