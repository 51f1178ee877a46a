/**
 * Addresses as libp2p writes them: `/ip4/127.0.0.1/tcp/7400`, with `/p2p/<peer id>` behind or without, and through a relay
 * `…/p2p/<relay>/p2p-circuit/p2p/<peer id>`. Read as text alone, so that nobody loads libp2p to tell whose address it is.
 */
import { isIP } from 'node:net'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { isLoopback } from './address.ts'

export interface Multiaddress {
  readonly text: string
  /** Where its first connection goes. */
  readonly host: string
  readonly port: number
  readonly isRelayed: boolean
}

export function isMultiaddress(text: string): boolean {
  return text.startsWith('/')
}

const peer = '[1-9A-HJ-NP-Za-km-z]{40,64}'
const form = new RegExp(
  `^/(?<kind>ip4|ip6|dns|dns4|dns6)/(?<host>[^/]+)/tcp/(?<port>\\d{1,5})(?:/p2p/(?<first>${peer}))?(?<relayed>/p2p-circuit(?:/p2p/${peer})?)?$`,
)

export function parseMultiaddress(text: string): Multiaddress {
  const fail = (what: string): never => {
    throw new SkeinError('invalid_address', `${JSON.stringify(text.slice(0, 100))} is no address: ${what}`, {
      address: text.slice(0, 100),
    })
  }
  if (text.length > limits.memberTextLength) fail(`it is longer than ${limits.memberTextLength} characters`)
  const { kind, host = '', port, first, relayed } = form.exec(text)?.groups ?? {}
  if (kind === undefined) return fail('it is not like /ip4/127.0.0.1/tcp/7400')
  if (Number(port) > 65_535) fail('ports end at 65535')
  const needed = kind === 'ip4' ? 4 : kind === 'ip6' ? 6 : 0
  if (isIP(host) !== needed) fail(`${host} is not what /${kind} stands for`)
  if (relayed !== undefined && first === undefined) fail('it does not name the relay by its peer id')
  return { text, host, port: Number(port), isRelayed: relayed !== undefined }
}

export function multiaddressText(host: string, port: number): string {
  const kind = isIP(host) === 6 ? 'ip6' : isIP(host) === 4 ? 'ip4' : 'dns'
  return `/${kind}/${host}/tcp/${port}`
}

/** Does its first connection stay on this host? */
export function staysHere({ host }: Multiaddress): boolean {
  return isLoopback(host)
}
