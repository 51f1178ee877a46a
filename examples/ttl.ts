// A time to live: what was written is deleted again, unless it was overwritten by then.
import { setTimeout as sleep } from 'node:timers/promises'
import { openNode } from 'skein'

await using node = await openNode({ memory: true })
const cache = node.space('cache')
const brief = cache.as({ agent: 'agent-7', ttlMs: 30 })

brief.register('kept').set('old')
cache.register('kept').set('new') // written over: this value has no end
brief.register('gone').set('soon')
console.log('at first:', cache.register('gone').get().value)

// The node deletes what is due by itself. Its timers do not keep a process alive that has nothing else to do.
while (cache.register('gone').get().exists) await sleep(10)
console.log('then:', cache.register('gone').get().value, cache.register('kept').get().value)

// Expiring is an ordinary deletion in the name of the writer, with a reason: history and watchers see it.
const last = (await cache.register('gone').history()).at(-1)
console.log('deleted by', last?.agent, 'because it', last?.reason)

// prints:
// at first: soon
// then: undefined new
// deleted by agent-7 because it expired
