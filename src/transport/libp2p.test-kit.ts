/** What tests of libp2p links share: a way in between that freezes, and a peer of the same stack that sends what it likes. */
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { MessageStream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { multiaddressText, parseMultiaddress } from './multiaddress.ts'
import { headOf, marks } from './stream-messages.ts'
import type { Identity } from './transport.ts'
import { openFreezableWay } from './ws.test-kit.ts'

type Way = Awaited<ReturnType<typeof openFreezableWay>>

export async function openFreezableMultiway(
  address: string,
  pass?: (bytes: Buffer) => readonly Buffer[],
): Promise<Way> {
  const { host, port } = parseMultiaddress(address)
  const way = await openFreezableWay(`ws://${host}:${port}`, pass)
  return { ...way, address: multiaddressText('127.0.0.1', Number(new URL(way.address).port)) }
}

/** A stranger without a fleet key who speaks libp2p, and sends these bytes on a stream of ours. */
export async function sendOnStream(address: string, bytes: Uint8Array): Promise<{ done(): Promise<void> }> {
  const peer = await createLibp2p({ transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()] })
  const stream = await peer.dialProtocol(multiaddr(address), '/skein/1')
  stream.send(bytes)
  return { done: () => peer.stop() as Promise<void> }
}

/** A stranger whose connection is set up, and who then opens no stream. */
export async function openStranger(
  address: string,
): Promise<{ readonly closed: Promise<unknown>; done(): Promise<void> }> {
  const peer = await createLibp2p({ transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()] })
  const closed = new Promise((resolve) => peer.addEventListener('connection:close', resolve))
  await peer.dial(multiaddr(address))
  return { closed, done: () => peer.stop() as Promise<void> }
}

/** A peer that keeps to libp2p as far as a stream of ours, and then sends these bytes below its streams. */
export async function sendBelowStreams(address: string, bytes: Uint8Array): Promise<{ done(): Promise<void> }> {
  const peer = await createLibp2p({ transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()] })
  const connection = await peer.dial(multiaddr(address))
  await connection.newStream('/skein/1')
  const { muxer } = connection as unknown as { readonly muxer: { readonly maConn: MessageStream } }
  muxer.maConn.send(bytes)
  return { done: () => peer.stop() as Promise<void> }
}

/** Frames of yamux: version, kind, flags, stream, length. */
export const yamuxGarbage: readonly (readonly [title: string, bytes: readonly number[]])[] = [
  ['noise', Array.from({ length: 64 }, (_, at) => (at * 73 + 0x55) & 255)],
  ['another version', [9, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]],
  ['a kind that nobody speaks', [0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]],
  ['data beyond the window', [0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, ...Array.from({ length: 100 }, () => 0)]],
  ['an answer to no ping', [0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 77]],
  ['a reset of its stream', [0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]],
  ['a goodbye for an error', [0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]],
]

export function peerIdOf({ publicKey }: Identity): string {
  return publicKeyFromRaw(publicKey).toString()
}

const head = (length: number): Buffer => Buffer.from(headOf(length))

export const garbage: readonly (readonly [title: string, bytes: Uint8Array])[] = [
  ['noise', Uint8Array.from({ length: 64 }, (_, at) => (at * 73 + 0x55) & 255)],
  ['a message over the limit', head(2 ** 21)],
  ['a length that nobody speaks', head(0xffff_ff00)],
  ['pings, then noise', Buffer.concat([head(marks.ping), head(marks.pong), head(2 ** 31)])],
]
