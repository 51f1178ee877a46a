// A node in another process, over its stream: the same handles, with promises. `skein/client` loads no node.
import { connect } from 'skein/client'
import { openOrConnect } from 'skein'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// Here a node of this program; a real one is up already, and `connect()` finds it.
await using temporary = await mkdtempDisposable(join(tmpdir(), 'skein-'))
const dir = join(temporary.path, 'data')
await using host = await openOrConnect({ dir })
console.log('a node is', host.state)

await using client = await connect({ node: `unix:${join(dir, 'node.sock')}`, agent: 'agent-7' })
const tasks = client.space('tasks')

// Nothing is awaited in between: all goes in one frame, in order, and the read sees the writes.
const events = tasks.watch({ prefix: 't-' })
const receipt = tasks.record('t-1').set({ title: 'refund order 9', status: 'doing' })
tasks.counter('seen').incr(2)
const read = tasks.counter('seen').get()
console.log('seen:', (await read).value)
await receipt.durable
for await (const event of events) {
  if (event.kind === 'change') console.log('changed:', event.key, 'by', event.agent)
  break
}

// Only if nobody changed it since it was read.
const { version } = await tasks.record('t-1').get()
tasks.record('t-1').set({ status: 'blocked' })
const careful = tasks.transact((tx) => {
  tx.record('t-1').set({ status: 'done' })
  tx.expect('t-1', version)
})
await careful.durable.catch((error: { readonly code: string }) => console.log('refused:', error.code))

// prints:
// a node is connected
// seen: 2
// changed: t-1 by agent-7
// refused: version_mismatch
