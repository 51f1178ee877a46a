// Three nodes that find each other, here in one process; as a rule each is on a host of its own.
import { newFleetKey, openNode } from 'skein'

// What all nodes of a fleet know and nobody else. Without it a node stays on its host, as here it would do too.
const fleetKey = newFleetKey()
const listen = 'ws://127.0.0.1:0'

await using a = await openNode({ memory: true, agent: 'agent-a', listen, fleetKey })
const join = a.status().addresses
await using b = await openNode({ memory: true, agent: 'agent-b', listen, join, fleetKey })
await using c = await openNode({ memory: true, agent: 'agent-c', listen, join, fleetKey })

// One address was enough: each has heard of the others.
for (const node of [a, b, c]) {
  while (node.peers.list().filter((peer) => peer.linked).length < 2) await new Promise((done) => setTimeout(done, 10))
}

// Written on one, read on all. The receipt tells when two others have it on their disks (in memory, here).
const receipt = a.space('tasks').record('t-1').set({ status: 'doing' })
console.log('peers that have it:', (await receipt.reached({ peers: 2 })).length)
console.log('read elsewhere:', c.space('tasks').record('t-1').get().value)

// Two write at once. Nobody waits, both writes stay, and all three come to the same.
b.space('tasks').record('t-1').set({ owner: 'agent-b' })
c.space('tasks').record('t-1').set({ reviewer: 'agent-c' })
await a.synced()
console.log('merged:', a.space('tasks').record('t-1').get().value)

// Not only alike: proven equal, by one root over everything that is in the space.
const { spaces } = await a.verify()
console.log(
  'equal:',
  spaces.every(({ equal }) => equal),
)

// prints:
// peers that have it: 2
// read elsewhere: { status: 'doing' }
// merged: { owner: 'agent-b', status: 'doing', reviewer: 'agent-c' }
// equal: true
