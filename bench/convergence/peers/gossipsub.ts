/** GossipSub alone: each write a message, kept in a Map by who hears it. What a fleet on libp2p begins with. */
import { packagesMissing, versions } from './packages.ts'
import type { OpenNode, Place, System } from '../system.ts'

const topic = 'entries'

async function openNode(place: Place): Promise<OpenNode> {
  const { StrictNoSign } = await import('@libp2p/gossipsub')
  const { packed, unpacked } = await import('../raw.ts')
  const { openHost } = await import('./libp2p-host.ts')
  // Links are authenticated; a signature of every message would only cost.
  const host = await openHost(place, { globalSignaturePolicy: StrictNoSign })
  const { pubsub } = host.services
  const state = new Map<string, string>()
  let changed: (key: string, value: string) => void = () => undefined
  pubsub.addEventListener('message', ({ detail }) => {
    const [key, value] = unpacked(Buffer.from(detail.data))
    state.set(key, value)
    changed(key, value)
  })
  pubsub.subscribe(topic)
  return {
    async write(key, value) {
      state.set(key, value)
      await pubsub.publish(topic, packed(key, value))
    },
    read: (key) => state.get(key),
    count: () => state.size,
    onChange(listener) {
      changed = listener
    },
    ready: () => pubsub.getSubscribers(topic).length === place.nodes - 1,
    close: () => host.stop(),
  }
}

export const system: System = {
  name: 'gossipsub',
  kind: 'broadcast',
  topology: 'mesh',
  version: versions('libp2p', '@libp2p/gossipsub'),
  says: 'A message of one topic for each entry, over TCP, Noise and Yamux, kept in a Map by every process.',
  variants: [{ name: '', durability: 'memory', says: 'nothing is kept; messages are not signed' }],
  catchesUp: false,
  restarts: false,
  notComparable: [
    'It replicates nothing: what was missed for longer than its cache is lost, and two writes that cross stay apart.',
    'A writer sends to every subscriber it is linked with, as it comes; what its neighbours pass on besides is dropped.',
  ],
  available: packagesMissing,
  openNode,
}
