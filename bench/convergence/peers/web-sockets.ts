/** WebSocket servers of hubs, opened where the bench says. */
import { WebSocketServer } from 'ws'
import type { Address, Hub } from '../system.ts'

export async function listening(address: Address): Promise<WebSocketServer> {
  const server = new WebSocketServer({ ...address })
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject))
  return server
}

export function hubOf(server: WebSocketServer): Hub {
  return {
    close() {
      for (const client of server.clients) client.terminate()
      server.close()
    },
  }
}

export function urlOf(hub: Address | undefined): string {
  if (hub === undefined) throw new Error('the bench opened no hub')
  return `ws://${hub.host}:${hub.port}`
}
