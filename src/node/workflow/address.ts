/**
 * Which addresses an outgoing request may go to. Whoever can name a URL could otherwise make a node ask what only the node can
 * reach: the cloud's metadata service, a database on the same host. What is refused is the address that a connection would
 * really go to, after the name was looked up, so that a name that answers differently the second time gains nothing.
 */
import { lookup as lookUp } from 'node:dns'
import { BlockList, isIP } from 'node:net'
import type { LookupFunction } from 'node:net'

/** Reserved for hosts of one's own, links, documentation, tests and groups (IANA's special-purpose registries). */
const notPublic = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const) {
  notPublic.addSubnet(network, prefix, 'ipv4')
}
for (const [network, prefix] of [
  // Unspecified, loopback, and those that embed an IPv4 address in an old way.
  ['::', 96],
  // Of translators and tunnels: what is behind them is an IPv4 address that is not looked at.
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const) {
  notPublic.addSubnet(network, prefix, 'ipv6')
}

/** Is it an address of the Internet at large? An IPv4 address in the form of IPv6 is judged as what it is. */
export function isPublic(address: string): boolean {
  const plain = address.replace(/%.*$/, '')
  const kind = isIP(plain)
  return kind !== 0 && !notPublic.check(plain, kind === 6 ? 'ipv6' : 'ipv4')
}

/** Looks a name up for a connection; an address that is not public is as good as none. */
export const publicLookup: LookupFunction = (name, options, done) => {
  lookUp(name, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return done(error, '', 0)
    const refused = addresses.find(({ address }) => !isPublic(address))
    const [first] = addresses
    // One that is not public among several: somebody may be at work here, and none of them is taken.
    if (refused !== undefined || first === undefined) return done(notAllowed(name, refused?.address ?? ''), '', 0)
    if (options.all === true) return done(null, addresses)
    return done(null, first.address, first.family)
  })
}

export function notAllowed(name: string, address: string): Error {
  return new Error(`${name}${address === name || address === '' ? '' : ` (${address})`} is no public address`)
}
