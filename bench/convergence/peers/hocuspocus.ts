/** Yjs over Hocuspocus: every replica is a client of one server, which keeps the document in memory. */
import { packagesMissing, versions } from './packages.ts'
import type { Hub, HubPlace, OpenNode, Place, System } from '../system.ts'

/** Its own default backs off to 30 s; after a partition that would be measured and nothing else. */
const reconnect = { delay: 100, minDelay: 100, maxDelay: 1000 }

async function openHub({ listen }: HubPlace): Promise<Hub> {
  const { Server } = await import('@hocuspocus/server')
  const server = new Server({ port: listen.port, address: listen.host, quiet: true, stopOnSignals: false })
  await server.listen()
  return { close: () => server.destroy() }
}

async function openNode({ hub, run }: Place): Promise<OpenNode> {
  const { Doc } = await import('yjs')
  const { WebSocket } = await import('ws')
  const { HocuspocusProvider, HocuspocusProviderWebsocket } = await import('@hocuspocus/provider')
  const { urlOf } = await import('./web-sockets.ts')
  const { yjsNode } = await import('./yjs-node.ts')
  const doc = new Doc()
  const websocketProvider = new HocuspocusProviderWebsocket({
    url: urlOf(hub),
    WebSocketPolyfill: WebSocket,
    ...reconnect,
  })
  const provider = new HocuspocusProvider({ websocketProvider, name: run, document: doc })
  provider.attach()
  return {
    ...yjsNode(doc),
    ready: () => provider.isSynced,
    close() {
      provider.destroy()
      websocketProvider.destroy()
      doc.destroy()
    },
  }
}

export const system: System = {
  name: 'hocuspocus',
  kind: 'crdt',
  topology: 'hub',
  version: versions('yjs', '@hocuspocus/provider', '@hocuspocus/server'),
  says: 'A Yjs document in each process, a key of a Y.Map for each entry, through a Hocuspocus server.',
  variants: [{ name: '', durability: 'memory', says: 'neither the replicas nor the server keep anything on disk' }],
  catchesUp: true,
  restarts: true,
  notComparable: [
    'It is a hub: a message takes two hops, and the fleet stops with the server.',
    'Nothing is on disk: its stores write a whole document, at most every 2 s, and none is loaded.',
    'Concurrent values of a key are settled by client id and the losing one is gone.',
    'A client that lost its server tries again after 0.1 to 1 s, where the default goes up to 30 s.',
  ],
  available: packagesMissing,
  openNode,
  openHub,
}
