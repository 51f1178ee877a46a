// Several writes as one: applied, stored and (later) replicated whole, or not at all.
import { openNode } from 'skein'

await using node = await openNode({ memory: true, agent: 'agent-7' })
const shop = node.space('shop')
shop.record('order-9').set({ status: 'paid' })

const refund = shop.transact(
  (tx) => {
    // Use the handles of `tx`. They read what the transaction has written so far.
    tx.record('order-9').set({ status: 'refunded' })
    tx.counter('refunds').incr()
    tx.log('receipts').append({ order: 'order-9', amount: 40 })
    return tx.counter('refunds').get().value
  },
  { agent: 'refund-bot', reason: 'customer asked' },
)
await refund.durable
console.log('refunds inside:', refund.result, 'and outside:', shop.counter('refunds').get().value)
console.log('by:', shop.record('order-9').get().by?.agent)

// If the function throws, nothing has happened. It must be synchronous: fetch first, then transact.
try {
  shop.transact((tx) => {
    tx.counter('refunds').incr(100)
    throw new Error('changed my mind')
  })
} catch (error) {
  console.log((error as Error).message, '->', shop.counter('refunds').get().value)
}

// `as` gives a handle on the same space whose writes carry an agent, a reason, a durability or a time to live.
shop.as({ agent: 'night-shift', reason: 'clean-up' }).delete('order-9')
const history = await shop.record('order-9').history()
console.log(history.map(({ agent, reason }) => [agent, reason]))

// prints:
// refunds inside: 1 and outside: 1
// by: refund-bot
// changed my mind -> 1
// [
//   [ 'agent-7', undefined ],
//   [ 'refund-bot', 'customer asked' ],
//   [ 'night-shift', 'clean-up' ]
// ]
