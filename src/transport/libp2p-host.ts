/**
 * A libp2p host set up for a fleet: tcp, noise and yamux, our proof below them, circuits of relays, nothing else. Its defaults
 * are meant for browsers and the open network: five connections a second from one host, ten being set up, three hundred in
 * all. What bounds a fleet is counted by us instead (visitors.ts), before the library sets anything up.
 *
 * Connections are dialled past its dial queue, which would hand out the same connection twice and join dials that are alike.
 */
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import type {
  ConnectionGater,
  ConnectionProtector,
  Ed25519PrivateKey,
  Ed25519PublicKey,
  Libp2p,
} from '@libp2p/interface'
import type { TransportManager } from '@libp2p/interface-internal'
import { mdns } from '@libp2p/mdns'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'
import { limits } from '../base/limits.ts'
import type { Identity } from './transport.ts'
import { guarded } from './yamux-guard.ts'

export interface HostConfig {
  readonly identity: Identity
  readonly proof: ConnectionProtector
  readonly gater: ConnectionGater
  readonly handshakeMs: number
  readonly closeMs: number
  /** Sockets that are accepted at once. */
  readonly sockets: number
  /** Does it relay for others? */
  readonly relays: boolean
  /** Is it reached through a relay? */
  readonly isRelayed: boolean
  /** The name under which nodes look for each other on the local network; undefined: they do not. */
  readonly discovery: string | undefined
}

export interface Host {
  readonly libp2p: Libp2p
  readonly transports: TransportManager
}

/** How much one stream may have on its way to us: at 100 ms there and back, 40 MB a second. */
const windowBytes = 4_194_304
const never = Number.MAX_SAFE_INTEGER

export async function openHost(config: HostConfig): Promise<Host> {
  const { identity, proof, gater, handshakeMs, closeMs, sockets, relays, isRelayed, discovery } = config
  let transports: TransportManager | undefined
  const libp2p = await createLibp2p({
    privateKey: privateKeyOf(identity),
    nodeInfo: { name: 'skein', version: '1', userAgent: 'skein' },
    addresses: { listen: [] },
    transports: [
      tcp({
        // Half-open links are found by pings of ours; the library's own clock is kept off quiet ones.
        inboundSocketInactivityTimeout: 0,
        outboundSocketInactivityTimeout: 0,
        maxConnections: sockets,
      }),
      circuitRelayTransport({ reservationCompletionTimeout: handshakeMs }),
    ],
    connectionProtector: () => proof,
    connectionEncrypters: [noise()],
    streamMuxers: [
      guarded(
        yamux({
          // One of ours, and what relaying and identifying take.
          maxInboundStreams: relays ? limits.linksIn : 8,
          maxOutboundStreams: relays ? limits.linksIn : 8,
          streamOptions: { maxStreamWindowSize: windowBytes, inactivityTimeout: never },
        }),
        windowBytes,
      ),
    ],
    connectionGater: gater,
    connectionManager: {
      maxConnections: never,
      maxIncomingPendingConnections: never,
      inboundConnectionThreshold: never,
      inboundUpgradeTimeout: handshakeMs,
      inboundStreamProtocolNegotiationTimeout: handshakeMs,
      outboundStreamProtocolNegotiationTimeout: handshakeMs,
      connectionCloseTimeout: closeMs,
      // When to dial again is decided above.
      reconnectRetries: 0,
    },
    // It watches over the connection to a relay, which carries no pings of ours.
    connectionMonitor: { enabled: isRelayed },
    peerDiscovery: discovery === undefined ? [] : [mdns({ serviceTag: discovery })],
    services: {
      // Relaying wants it; nobody is asked unless he asks.
      identify: identify({ runOnConnectionOpen: false }),
      ...(relays && {
        relay: circuitRelayServer({
          maxInboundHopStreams: limits.linksIn,
          maxOutboundStopStreams: limits.linksIn,
          // Who reserves is a member. The usual limits end a relayed link after two minutes or 128 KiB.
          reservations: { maxReservations: limits.linksIn, applyDefaultLimit: false },
        }),
      }),
      // Not a service, but the way in which the library hands out its parts.
      parts: ({ transportManager }: { readonly transportManager: TransportManager }) => {
        transports = transportManager
        return {}
      },
    },
  })
  return { libp2p, transports: transports as unknown as TransportManager }
}

/** The node's own key as the library wants it. It signs; its secret half stays where it is. */
function privateKeyOf(identity: Identity): Ed25519PrivateKey {
  const publicKey = publicKeyFromRaw(identity.publicKey) as Ed25519PublicKey
  return {
    type: 'Ed25519',
    publicKey,
    get raw(): Uint8Array {
      throw new TypeError('the private key does not leave the node')
    },
    equals: (other: { publicKey?: unknown } | undefined) => publicKey.equals(other?.publicKey),
    sign: (bytes) => identity.sign(bytes.subarray()),
  } as Ed25519PrivateKey
}
