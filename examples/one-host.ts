// Several programs of a host, one directory: the first one hosts the node, the others connect to it, and when it goes
// another takes over. Here they are three objects in one program.
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openOrConnect } from 'skein'

await using temporary = await mkdtempDisposable(join(tmpdir(), 'skein-'))
const dir = join(temporary.path, 'data')

const first = await openOrConnect({ dir, agent: 'planner' })
const second = await openOrConnect({ dir, agent: 'worker' })
console.log('one node:', first.node === second.node)

await first.space('tasks').record('t-1').set({ status: 'todo' }).durable
console.log((await second.space('tasks').record('t-1').get()).value)

// The host goes. What is asked meanwhile waits for whoever takes over, and is done once.
const closed = first.close()
await second.space('tasks').record('t-1').set({ status: 'doing' }).durable
await closed
const { value, by } = await second.space('tasks').record('t-1').get()
console.log(value, 'by', by?.agent)
await second.close()

// prints:
// one node: true
// { status: 'todo' }
// { status: 'doing' } by worker
