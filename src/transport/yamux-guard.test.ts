import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FrameWatch } from './yamux-guard.ts'

function frame(kind: number, length: number, body = kind === 0 ? length : 0): Uint8Array {
  const bytes = new Uint8Array(12 + body)
  bytes[1] = kind
  new DataView(bytes.buffer).setUint32(8, length)
  return bytes.fill(255, 12)
}

test('[K2] a frame that claims too much is found by its head, wherever the stream is cut', () => {
  const good = fc.oneof(
    fc.nat({ max: 300 }).map((length) => frame(0, length)),
    fc.tuple(fc.constantFrom(1, 2, 3), fc.nat()).map(([kind, length]) => frame(kind, length)),
  )
  fc.assert(
    fc.property(fc.array(good), fc.array(fc.nat()), fc.boolean(), (frames, cuts, isBad) => {
      const bytes = Buffer.concat([...frames, ...(isBad ? [frame(0, 301, 0)] : [])])
      const watch = new FrameWatch(300)
      let at = 0
      let isFine = true
      for (const end of [...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
        isFine &&= watch.isFine(bytes.subarray(at, end))
        at = end
      }
      expect(isFine).toBe(!isBad)
    }),
  )
})
