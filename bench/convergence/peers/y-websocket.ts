/** Yjs over y-websocket: every replica is a client of the reference server, which keeps the document in memory. */
import { packagesMissing, versions } from './packages.ts'
import type { HubPlace, Hub, OpenNode, Place, System } from '../system.ts'

async function openHub({ listen }: HubPlace): Promise<Hub> {
  const { setupWSConnection } = await import('@y/websocket-server/utils')
  const { hubOf, listening } = await import('./web-sockets.ts')
  const server = await listening(listen)
  server.on('connection', (socket, request) => setupWSConnection(socket, request))
  return hubOf(server)
}

async function openNode({ hub, run }: Place): Promise<OpenNode> {
  const { Doc } = await import('yjs')
  const { WebSocket } = await import('ws')
  const { WebsocketProvider } = await import('y-websocket')
  const { urlOf } = await import('./web-sockets.ts')
  const { yjsNode } = await import('./yjs-node.ts')
  const doc = new Doc()
  const provider = new WebsocketProvider(urlOf(hub), run, doc, {
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
    disableBc: true,
  })
  return {
    ...yjsNode(doc),
    ready: () => provider.synced,
    close() {
      provider.destroy()
      doc.destroy()
    },
  }
}

export const system: System = {
  name: 'y-websocket',
  kind: 'crdt',
  topology: 'hub',
  version: versions('yjs', 'y-websocket', '@y/websocket-server'),
  says: 'A Yjs document in each process, a key of a Y.Map for each entry, through the reference WebSocket server.',
  variants: [{ name: '', durability: 'memory', says: 'neither the replicas nor the server keep anything on disk' }],
  catchesUp: true,
  restarts: true,
  notComparable: [
    'It is a hub: a message takes two hops, and the fleet stops with the server.',
    'Nothing is on disk, and a write is acknowledged before anybody else has it.',
    'Concurrent values of a key are settled by client id and the losing one is gone.',
  ],
  available: packagesMissing,
  openNode,
  openHub,
}
