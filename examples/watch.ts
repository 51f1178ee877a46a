// Watching changes, stopping, and going on later from exactly there.
import { openNode } from 'skein'

await using node = await openNode({ memory: true })
const tasks = node.space('tasks')
const first = tasks.record('t-1').set({ status: 'todo' })
console.log('written before anybody watched:', first.changed)

// A watcher has a queue with a bound. Its reader may be slow, and then gets a `gap` with a token, never silence.
async function read(count: number, since?: string): Promise<string | undefined> {
  let token = since
  const events = tasks.watch({ prefix: 't-', ...(since !== undefined && { since }) })
  for await (const event of events) {
    token = event.token // keep it: watching with `since: token` goes on right after this event
    if (event.kind === 'gap') console.log('gap:', event.cause)
    else console.log(event.deleted ? 'deleted' : 'changed', event.key, 'by', event.agent)
    if (--count === 0) break // leaving the loop ends the watch
  }
  return token
}

const reading = read(2)
tasks.as({ agent: 'agent-1' }).record('t-1').set({ status: 'doing' })
tasks.record('other').set({ status: 'not under the prefix' })
tasks.as({ agent: 'agent-2' }).record('t-2').set({ status: 'todo' })
const token = await reading

// Nobody watches now. What happens meanwhile is in the log and comes first when watching goes on.
tasks.as({ agent: 'agent-3' }).delete('t-1')
console.log('resumed')
await read(1, token)

// An AbortSignal ends a watch from outside; so does closing the node.
const stop = new AbortController()
const until = (async () => {
  for await (const event of tasks.record('t-2').watch({ signal: stop.signal })) console.log(event.kind)
})()
stop.abort()
await until
console.log('stopped')

// prints:
// written before anybody watched: true
// changed t-1 by agent-1
// changed t-2 by agent-2
// resumed
// deleted t-1 by agent-3
// stopped
