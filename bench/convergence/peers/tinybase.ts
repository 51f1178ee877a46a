/** TinyBase: a MergeableStore in each process, a row of one cell for each entry, through its own WebSocket server. */
import type { MergeableStore } from 'tinybase'
import { packagesMissing, versions } from './packages.ts'
import type { Hub, HubPlace, OpenNode, Place, System } from '../system.ts'

/** `Persists.MergeableStoreOnly`, which is a constant of its declarations and not of its code. */
const mergeableStoreOnly = 2
const table = 'entries'
const cell = 'value'
/** Of a whole catch-up: its default of 1 s is over before a large table has been compared. */
const requestTimeoutSeconds = 30
/** Of the wrapper that its documentation names; the defaults are 1 to 5 s. */
const reconnect = { minReconnectionDelay: 100, maxReconnectionDelay: 1000 }

async function openHub({ listen }: HubPlace): Promise<Hub> {
  const { createMergeableStore } = await import('tinybase')
  const { createCustomPersister } = await import('tinybase/persisters')
  const { createWsServer } = await import('tinybase/synchronizers/synchronizer-ws-server')
  const { hubOf, listening } = await import('./web-sockets.ts')
  const server = await listening(listen)
  // A persister gives the server a store of its own, from which it answers who comes; this one writes nothing.
  createWsServer(server, () =>
    createCustomPersister(
      createMergeableStore(),
      async () => undefined,
      async () => undefined,
      () => undefined,
      () => undefined,
      () => undefined,
      mergeableStoreOnly,
    ),
  )
  return hubOf(server)
}

async function openNode({ hub, run }: Place): Promise<OpenNode> {
  // Its types speak of a default of the default, which is not there.
  const { default: reconnecting } = await import('reconnecting-websocket')
  const ReconnectingWebSocket = reconnecting as unknown as typeof reconnecting.default
  const { createMergeableStore } = await import('tinybase')
  const { createWsSynchronizer } = await import('tinybase/synchronizers/synchronizer-ws-client')
  const { WebSocket } = await import('ws')
  const { urlOf } = await import('./web-sockets.ts')
  const store = createMergeableStore()
  const socket = new ReconnectingWebSocket(urlOf(hub), 'tinybase', { WebSocket, ...reconnect })
  const synchronizer = await createWsSynchronizer(store, socket as never, run, requestTimeoutSeconds)
  await synchronizer.startSync()
  // What its own guide does where a socket comes back: what both ends missed is compared and exchanged.
  socket.addEventListener('open', () => void synchronizer.load().then(() => synchronizer.save()))
  return {
    ...state(store),
    ready: () => socket.readyState === 1,
    async close() {
      await synchronizer.destroy()
    },
  }
}

function state(store: MergeableStore): Pick<OpenNode, 'write' | 'read' | 'count' | 'onChange'> {
  let isOwn = false
  const read = (key: string): string | undefined => store.getCell(table, key, cell) as string | undefined
  return {
    write(key, value) {
      isOwn = true
      store.setCell(table, key, cell, value)
      isOwn = false
    },
    read,
    count: () => store.getRowCount(table),
    onChange(listener) {
      store.addCellListener(table, null, cell, (_store, _table, key, _cell, value) => {
        if (!isOwn && typeof value === 'string') listener(key, value)
      })
    },
  }
}

export const system: System = {
  name: 'tinybase',
  kind: 'crdt',
  topology: 'hub',
  version: versions('tinybase', 'reconnecting-websocket'),
  says: 'A MergeableStore in each process, a row of one cell for each entry, through its WebSocket server.',
  variants: [{ name: '', durability: 'memory', says: 'neither the stores nor the server keep anything on disk' }],
  catchesUp: true,
  restarts: true,
  notComparable: [
    'It is a hub: a message takes two hops, and the fleet stops with the server.',
    'Nothing is on disk: its persisters write a whole store, and none is loaded.',
    'Cells are settled by time of day and the losing value is gone; differences are found by hashes of 32 bits.',
    'It has no type for text.',
  ],
  available: packagesMissing,
  openNode,
  openHub,
}
