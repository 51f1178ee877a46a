// A claim says who holds a thing, until when, and under which fence: a number that only grows.
import { SkeinError, openNode } from 'skein'

await using node = await openNode({ memory: true })
const seven = node.space('tasks').as({ agent: 'agent-7' }).claim('t-1')
const eight = node.space('tasks').as({ agent: 'agent-8' }).claim('t-1')

const held = seven.acquire(60_000).result
console.log('agent-7 holds it under fence', held.fence)

function tried(what: () => void): string {
  try {
    what()
    return 'done'
  } catch (error) {
    return error instanceof SkeinError ? `${error.code} (retry later: ${error.retryable})` : String(error)
  }
}
console.log(
  'agent-8 acquires:',
  tried(() => eight.acquire(60_000)),
)

// Hand the fence to whatever the work touches. It must refuse a fence below the highest it has seen: that is what
// keeps a holder harmless that paused, lost its claim, and woke up again.
console.log('agent-7 renews under the same fence:', seven.renew(held.fence, 60_000).result.fence)

seven.release(held.fence)
console.log('agent-8 holds it under fence', eight.acquire(60_000).result.fence)
console.log(
  'agent-7 renews its old one:',
  tried(() => seven.renew(held.fence, 60_000)),
)

// Deleting a claim releases it by force. The fence stays, or the next holder would get one that was out already.
eight.delete()
const { holder, fence } = eight.get().value
console.log({ holder, fence })

// prints:
// agent-7 holds it under fence 1
// agent-8 acquires: claim_held (retry later: true)
// agent-7 renews under the same fence: 1
// agent-8 holds it under fence 2
// agent-7 renews its old one: stale_fence (retry later: false)
// { holder: null, fence: 2 }
