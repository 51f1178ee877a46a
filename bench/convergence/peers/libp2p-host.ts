/** A libp2p host with GossipSub, as both systems on it are set up: TCP, Noise, Yamux, and every member dialled. */
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { gossipsub } from '@libp2p/gossipsub'
import type { GossipSub, GossipsubOpts } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Libp2p } from 'libp2p'
import type { Address, Place } from '../system.ts'

export type Host = Libp2p<{ pubsub: GossipSub; identify: Identify }>

/** Who lost a member dials it again after so long: libp2p leaves that to programs. */
const redialMs = 200
/** The default takes five new connections a second from one host, and here everybody is on one. */
const inboundConnectionThreshold = 10_000

function addressOf({ host, port }: Address): Multiaddr {
  return multiaddr(`/ip4/${host}/tcp/${port}`)
}

export async function openHost(place: Place, options: Partial<GossipsubOpts>): Promise<Host> {
  const { listen, advertise, index, members } = place
  const host = await createLibp2p({
    addresses: { listen: [addressOf(listen).toString()], announce: [addressOf(advertise).toString()] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { inboundConnectionThreshold },
    services: { identify: identify(), pubsub: gossipsub({ allowPublishToZeroTopicPeers: true, ...options }) },
  })
  for (const member of members.slice(0, index)) keepDialled(host, addressOf(member))
  return host
}

function keepDialled(host: Host, address: Multiaddr): void {
  const dial = (): void => {
    if (host.status !== 'started') return
    host.dial(address).then(
      (connection) => connection.addEventListener('close', () => setTimeout(dial, redialMs)),
      () => setTimeout(dial, redialMs),
    )
  }
  dial()
}
