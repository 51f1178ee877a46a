// Who changed what, when and why: read from the node's log, for as long as the log keeps it.
import { openNode } from 'skein'

// How much history is kept is a choice: a day and 64 MiB a space unless told otherwise.
await using node = await openNode({ memory: true, log: { keepMs: 7 * 24 * 60 * 60 * 1000 } })
const tasks = node.space('tasks')
const started = Date.now()
tasks.as({ agent: 'planner' }).record('t-1').set({ status: 'todo', owner: null })
tasks.as({ agent: 'agent-7', reason: 'next in the queue' }).record('t-1').set({ status: 'doing', owner: 'agent-7' })
tasks.as({ agent: 'operator', reason: 'duplicate' }).delete('t-1')

for (const { agent, reason, at, cleared, changes } of await tasks.record('t-1').history()) {
  const what = changes.map(({ path, value }) => `${(path as string[]).join('.')}=${JSON.stringify(value)}`)
  console.log(at >= started, agent, cleared ? 'deleted it' : what.join(' '), reason ?? 'without a reason')
}

// Where an entry stands now, write by write, is another question: its siblings, each with who wrote it.
tasks.as({ agent: 'planner' }).record('t-2').set({ status: 'todo', size: 3 })
tasks.as({ agent: 'agent-7' }).record('t-2').set({ status: 'doing' })
console.log(
  tasks
    .record('t-2')
    .siblings()
    .map(({ path, value, agent }) => [path, value, agent]),
)

// prints:
// true planner status="todo" owner=null without a reason
// true agent-7 status="doing" owner="agent-7" next in the queue
// true operator deleted it duplicate
// [ [ [ 'size' ], 3, 'planner' ], [ [ 'status' ], 'doing', 'agent-7' ] ]
