// The first minute: open a replica in this process, write, read, close, and find everything again.
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openNode } from 'skein'

// A real program uses a directory that stays, such as './data'.
await using temporary = await mkdtempDisposable(join(tmpdir(), 'skein-'))
const dir = temporary.path

{
  // `await using` closes the node at the end of the block. `await node.close()` does the same.
  await using node = await openNode({ dir, agent: 'agent-7' })
  const tasks = node.space('tasks')

  // A write is applied here at once: the next line reads it.
  const receipt = tasks.record('t-42').set({ title: 'refund order 9', status: 'doing' })
  console.log(tasks.record('t-42').get().value)

  // `durable` resolves when the write survives a crash and a power cut.
  await receipt.durable
  console.log('durable:', receipt.changed)
}

// The same directory, opened again, as after a restart.
await using node = await openNode({ dir })
const { value, by } = node.space('tasks').record('t-42').get()
console.log('after a restart:', value?.['status'], 'by', by?.agent)

// prints:
// { title: 'refund order 9', status: 'doing' }
// durable: true
// after a restart: doing by agent-7
