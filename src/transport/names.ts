/**
 * Addresses like `dns:skein.default.svc:7400`: a name that stands for every node behind it, as a headless service of
 * Kubernetes has one. Each dialling looks the name up anew and takes one of its addresses by chance; the other nodes are
 * heard of from whoever answers.
 */
import { randomInt } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { isIPv6 } from 'node:net'
import { SkeinError } from '../base/errors.ts'
import type { Connection, ConnectionHandlers, Transport } from './transport.ts'

const start = 'dns:'

/** A transport that also dials names; `scheme` is how the addresses behind them are dialled. */
export function withNames(transport: Transport, scheme: 'ws' | 'wss'): Transport {
  return {
    name: transport.name,
    get addresses() {
      return transport.addresses
    },
    get bound() {
      return transport.bound
    },
    supports: (address) => address.startsWith(start) || transport.supports(address),
    listen: (accept) => transport.listen(accept),
    async dial(
      address: string,
      opened: (connection: Connection) => ConnectionHandlers,
      signal: AbortSignal,
    ): Promise<void> {
      await transport.dial(address.startsWith(start) ? await oneOf(address, scheme) : address, opened, signal)
    },
    close: () => transport.close(),
    [Symbol.asyncDispose]: () => transport.close(),
  }
}

async function oneOf(address: string, scheme: 'ws' | 'wss'): Promise<string> {
  const at = address.lastIndexOf(':')
  const name = address.slice(start.length, at)
  const port = address.slice(at + 1)
  if (name === '' || !/^\d{1,5}$/.test(port)) {
    throw new SkeinError('invalid_address', `${address} is not dns:name:port`, { address })
  }
  // A certificate names a host, not the address that it has today.
  if (scheme === 'wss') return `wss://${name}:${port}`
  const found = await lookup(name, { all: true }).catch((error: unknown) => {
    throw new SkeinError('peer_unreachable', `no address is known for ${name}`, { address }, error)
  })
  const one = found[found.length > 1 ? randomInt(found.length) : 0]
  if (one === undefined) throw new SkeinError('peer_unreachable', `${name} has no address`, { address })
  return `ws://${isIPv6(one.address) ? `[${one.address}]` : one.address}:${port}`
}
