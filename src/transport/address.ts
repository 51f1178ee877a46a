/** Addresses of WebSocket links: `ws://host:port` and `wss://host:port`, and which of them never leave the host. */
import { BlockList, isIP } from 'node:net'
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

export interface WsAddress {
  readonly text: string
  readonly secure: boolean
  /** A name or an IP address, the latter without brackets. */
  readonly host: string
  readonly port: number
}

/** The port where nobody names one. */
const defaultPort = 7400

export function parseWsAddress(text: string): WsAddress {
  const fail = (what: string): never => {
    throw new SkeinError('invalid_address', `${JSON.stringify(text.slice(0, 100))} is no address: ${what}`, {
      address: text.slice(0, 100),
    })
  }
  if (text.length > limits.memberTextLength) fail(`it is longer than ${limits.memberTextLength} characters`)
  if (!/^wss?:\/\//i.test(text)) fail('it does not start with ws:// or wss://')
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return fail('it is not like ws://host:7400')
  }
  if (url.username !== '' || url.password !== '') fail('it holds a user name or a password')
  if (url.hash !== '' || url.search !== '') fail('it holds a query or a fragment')
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname
  // The default port of a scheme is dropped by URL; where one was written it was that.
  const written = /^wss?:\/\/(?:\[[^\]]*\]|[^/:]*):(\d+)/i.exec(text)?.[1]
  return { text, secure: url.protocol === 'wss:', host, port: written === undefined ? defaultPort : Number(written) }
}

export function wsAddressText(secure: boolean, host: string, port: number): string {
  return `${secure ? 'wss' : 'ws'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** Does it never leave this host? Of names only `localhost` does: what others mean is for somebody else to say. */
export function isLoopback(host: string): boolean {
  const kind = isIP(host)
  if (kind === 0) return host.toLowerCase() === 'localhost'
  return loopback.check(host, kind === 4 ? 'ipv4' : 'ipv6')
}
