/** Ports for programs that must be told where to listen. */
import { createServer } from 'node:net'

/** Handed out by this process: a port is free until its program listens. */
const given = new Set<number>()

/** Below those that the system hands out by itself, so that nobody gets it by chance while its node is down. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (given.has(port)) continue
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    await new Promise((resolve) => server.close(resolve))
    if (isFree) {
      given.add(port)
      return port
    }
  }
}
