// A register is one value, replaced whole. A record is an object, merged field by field.
import { openNode } from 'skein'

await using node = await openNode({ memory: true, agent: 'agent-1' })
const space = node.space('shop')

// Of two concurrent writes to one register the newest is shown; the other stays readable in `concurrent`.
const motto = space.register<string>('motto')
motto.set('open all night')
console.log(motto.get().value, motto.get().exists)

// A record writes only the fields that it names, so two writers of different fields never meet.
const order = space.record('order-9')
order.set({ status: 'paid', customer: { name: 'Ada', city: 'Turin' }, items: ['book', 'pen'] })
order.set({ customer: { city: 'Bern' } })
console.log(order.get().value) // the order of fields is not kept

// null is a value like any other. To take a field away, unset it: by name, or by the names on the way to it.
order.unset('items', ['customer', 'name'])
console.log(order.get().value)

// A write that changes nothing costs nothing: no history, no disk, no traffic.
console.log('changed:', order.set({ status: 'paid' }).changed)

// Deleting leaves no tombstone behind.
order.delete()
console.log(order.get())

// prints:
// open all night true
// {
//   items: [ 'book', 'pen' ],
//   status: 'paid',
//   customer: { city: 'Bern', name: 'Ada' }
// }
// { status: 'paid', customer: { city: 'Bern' } }
// changed: false
// {
//   value: undefined,
//   exists: false,
//   concurrent: [],
//   by: undefined,
//   version: ''
// }
