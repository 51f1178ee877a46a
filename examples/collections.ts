// Three collections: a set (no order), a log (in the order of time, append only), a list (an order that people choose).
import { openNode } from 'skein'

await using node = await openNode({ memory: true })
const space = node.space('work')

// Elements are values: { a: 1, b: 2 } is { b: 2, a: 1 }. An add wins over a removal that did not see it.
const tags = space.set<string>('tags')
tags.add('urgent', 'billing')
tags.remove('urgent')
console.log('set:', tags.get().value)

// For what must not come back, `removeForGood` wins over concurrent adds too, until somebody adds it again knowingly.
tags.removeForGood('spam')

const audit = space.log('audit')
audit.append({ did: 'asked' }, { did: 'refunded' })
audit.appendKeeping(2, { did: 'closed' }) // a log that holds its newest two
console.log('log:', audit.get().value)

const plan = space.list<string>('plan')
plan.insert(0, 'collect', 'check', 'pay')
plan.insert(2, 'ask') // before what stands at 2
plan.move(0, 3) // 3 is where it stands afterwards
plan.remove(0)
console.log('list:', plan.get().value)

// prints:
// set: [ 'billing' ]
// log: [ { did: 'refunded' }, { did: 'closed' } ]
// list: [ 'ask', 'pay', 'collect' ]
