// How safe a write is, and when one knows it.
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openNode } from 'skein'

await using temporary = await mkdtempDisposable(join(tmpdir(), 'skein-'))
const dir = join(temporary.path, 'data')

await using node = await openNode({ dir }) // durability: 'disk' unless told otherwise
const space = node.space('work')

// A write returns at once and is readable at once. `durable` resolves later: at `disk` it then survives a power cut.
const receipt = space.register('result').set('expensive')
console.log('read before it is durable:', space.register('result').get().value)
await receipt.durable

// At `os` it survives the end of this process, not the machine's. It costs no wait for the disk.
const quick = space.as({ durability: 'os' })
await quick.counter('progress').incr().durable

// Writes of one turn go to the disk together, so do not await them one by one.
const receipts = Array.from({ length: 1_000 }, (_, i) => space.counter(`n-${i % 10}`).incr())
await Promise.all(receipts.map((each) => each.durable))
console.log('a thousand writes, waiting:', node.status().waitingBytes)

// Without receipts: everything so far.
space.register('result').set('better')
await node.flush()

// Scrubbing reads every row and file back and compares checksums. A job may do it now and then.
const { damages, complete } = await node.scrub()
console.log('damaged:', damages.length, 'complete:', complete)

// prints:
// read before it is durable: expensive
// a thousand writes, waiting: 0
// damaged: 0 complete: true
