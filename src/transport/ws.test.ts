import { transportSuite } from './transport.suite.ts'
import { garbage, openFreezableWay, rawClient } from './ws.test-kit.ts'
import { openWsTransport } from './ws.ts'

const nobody = 'ws://127.0.0.1:9'

transportSuite('ws', async () => {
  const ways: { close(): Promise<void> }[] = []
  return {
    open: async ({ at, messageBytes, waitingBytes, tell }) =>
      openWsTransport({
        listen: at === 'none' ? [] : [at ?? 'ws://127.0.0.1:0'],
        bounds: {
          lookEveryMs: 30,
          silentMs: 200,
          ...(messageBytes === undefined ? {} : { messageBytes }),
          ...(waitingBytes === undefined ? {} : { waitingBytes }),
        },
        ...(tell === undefined ? {} : { tell }),
      }),
    nobody,
    freezable: async (address) => {
      const way = await openFreezableWay(address)
      ways.push(way)
      return way
    },
    frozenFoundMs: 300,
    garbage: garbage.map(([title, bytes]) => ({
      title,
      send: async (address) => {
        const socket = await rawClient(address)
        socket.write(Uint8Array.from(bytes))
        return { done: () => socket.destroy() }
      },
    })),
    cleanUp: async () => {
      for (const way of ways) await way.close()
    },
  }
})
