import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { multiaddr } from '@multiformats/multiaddr'
import { afterEach, describe, expect, test } from 'vitest'
import { ephemeralIdentity, identityOf } from '../node/security/identity.ts'
import { openHost } from './libp2p-host.ts'
import { FleetProof } from './libp2p-proof.ts'
import { openLibp2pTransport } from './libp2p.ts'
import type { Libp2pTransportOptions } from './libp2p.ts'
import {
  garbage,
  openFreezableMultiway,
  openStranger,
  peerIdOf,
  sendBelowStreams,
  sendOnStream,
  yamuxGarbage,
} from './libp2p.test-kit.ts'
import { parseMultiaddress } from './multiaddress.ts'
import { End, codeOf, dial, transportSuite, until } from './transport.suite.ts'
import type { TransportUnderTestOptions, TransportsUnderTest } from './transport.suite.ts'
import type { Identity, Transport, TransportEvent } from './transport.ts'

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)

function prepare(more: Partial<Libp2pTransportOptions> = {}): () => Promise<TransportsUnderTest> {
  return async () => {
    const ways: { close(): Promise<void> }[] = []
    const open = async ({ at, messageBytes, waitingBytes, tell }: TransportUnderTestOptions): Promise<Transport> =>
      openLibp2pTransport({
        identity: ephemeralIdentity(),
        listen: at === 'none' ? [] : [at ?? '/ip4/127.0.0.1/tcp/0'],
        bounds: {
          lookEveryMs: 30,
          silentMs: 250,
          closeMs: 300,
          handshakeMs: 30_000,
          ...(messageBytes === undefined ? {} : { messageBytes }),
          ...(waitingBytes === undefined ? {} : { waitingBytes }),
        },
        ...(tell === undefined ? {} : { tell }),
        ...more,
      })
    return {
      open,
      nobody: '/ip4/127.0.0.1/tcp/9',
      freezable: async (address) => {
        const way = await openFreezableMultiway(address)
        ways.push(way)
        return way
      },
      frozenFoundMs: 400,
      cleanUp: async () => {
        for (const way of ways) await way.close()
      },
    }
  }
}

transportSuite('libp2p', async () => ({
  ...(await prepare()()),
  garbage: garbage.map(([title, bytes]) => ({ title, send: (address) => sendOnStream(address, bytes) })),
}))
transportSuite('libp2p with a fleet key', prepare({ fleetKeys: [key(1)] }))

describe('libp2p', () => {
  const never = new AbortController().signal
  const cleanUps: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  })
  const open = (options: Partial<Libp2pTransportOptions> = {}): Transport => {
    const transport = openLibp2pTransport({ identity: ephemeralIdentity(), ...options })
    cleanUps.push(() => transport.close())
    return transport
  }
  const listening = async (options: Partial<Libp2pTransportOptions> = {}) => {
    const events: TransportEvent[] = []
    const ends: End[] = []
    const tell = (event: TransportEvent): unknown => events.push(event)
    const transport = open({ listen: ['/ip4/127.0.0.1/tcp/0'], tell, ...options })
    await transport.listen((connection) => {
      const end = new End(connection)
      ends.push(end)
      return end
    })
    const reasons = (): unknown[] => events.map((event) => (event.kind === 'refused' ? event.reason : event.code))
    return { transport, events, ends, reasons, address: transport.addresses[0] as string }
  }
  const secured = (...fills: readonly number[]): Partial<Libp2pTransportOptions> => ({ fleetKeys: fills.map(key) })
  const dialCode = (transport: Transport, address: string): Promise<string> =>
    codeOf(transport.dial(address, () => expect.unreachable(), never))
  const rawSocket = async (address: string): Promise<Socket & { answer(): Buffer }> => {
    const { host, port } = parseMultiaddress(address)
    const socket = connect({ host, port })
    let answer = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (bytes: Buffer) => (answer = Buffer.concat([answer, bytes])))
    cleanUps.push(async () => socket.destroy())
    // Reset at once, it was never connected.
    await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))
    return Object.assign(socket, { answer: () => answer })
  }
  const gone = (socket: Socket): Promise<unknown> =>
    new Promise((resolve) => (socket.destroyed ? resolve(undefined) : socket.once('close', resolve)))

  test('addresses that are none are refused with a reason', async () => {
    const client = open(secured(1))
    for (const address of [
      '/',
      '/ip4/127.0.0.1',
      '/ip4/127.0.0.1/udp/1',
      '/ip4/::1/tcp/1',
      '/ip4/127.0.0.1/tcp/70000',
      '/ip4/127.0.0.1/tcp/1/p2p-circuit',
      `/ip4/127.0.0.1/tcp/1/p2p/${'x'.repeat(300)}`,
      '/dns//tcp/1',
    ]) {
      expect([address, await dialCode(client, address)]).toEqual([address, 'invalid_address'])
    }
  })

  test('names are dialled, and a peer id in an address is held to', async () => {
    const identity = identityOf(key(7))
    const server = await listening({ identity })
    const { port } = parseMultiaddress(server.address)
    await dial(open(), `/dns/localhost/tcp/${port}`)
    await dial(open(), `${server.address}/p2p/${peerIdOf(identity)}`)
    expect(await dialCode(open(), `${server.address}/p2p/${peerIdOf(ephemeralIdentity())}`)).toBe('peer_unproven')
  })

  test('[K6] without a fleet key nothing beyond loopback is bound, dialled or looked for', async () => {
    for (const address of [
      '/ip4/0.0.0.0/tcp/0',
      '/ip6/::/tcp/0',
      '/ip4/192.0.2.1/tcp/7400',
      '/dns/example.org/tcp/7400',
      `/ip4/192.0.2.1/tcp/1/p2p/${peerIdOf(ephemeralIdentity())}/p2p-circuit`,
    ]) {
      const transport = open({ listen: [address] })
      expect(await codeOf(transport.listen((connection) => new End(connection)))).toBe('fleet_key_needed')
      expect(await dialCode(transport, address)).toBe('fleet_key_needed')
    }
    const looking = open({ discover: { name: '_x._udp.local', found: () => undefined } })
    expect(await codeOf(looking.listen((connection) => new End(connection)))).toBe('fleet_key_needed')
  })

  test('[K7] both ends know who is there, by noise alone and with a fleet key', async () => {
    for (const security of [{}, secured(1)]) {
      const [one, two] = [ephemeralIdentity(), ephemeralIdentity()]
      const server = await listening({ ...security, identity: one })
      const mine = await dial(open({ ...security, identity: two }), server.address)
      await until(() => server.ends.length === 1)
      expect(mine.connection.node).toBe(one.node)
      expect(server.ends[0]?.connection.node).toBe(two.node)
    }
  })

  test('[K7] who proves one key by the fleet key and another by noise is refused', async () => {
    const victim = await listening(secured(1))
    const [member, other] = [ephemeralIdentity(), ephemeralIdentity()]
    const meets = async (identity: Identity): Promise<boolean> => {
      const none = (): void => undefined
      const proof = new FleetProof({ fleetKeys: [key(1)], identity: member, began: none, refused: none })
      const { libp2p, transports } = await openHost({
        identity,
        proof,
        gater: {},
        handshakeMs: 1000,
        closeMs: 100,
        sockets: 10,
        relays: false,
        isRelayed: false,
        discovery: undefined,
      })
      cleanUps.push(async () => libp2p.stop())
      const signal = AbortSignal.timeout(1000)
      try {
        const link = await transports.dial(multiaddr(victim.address), { signal })
        await link.newStream('/skein/1', { signal })
        return true
      } catch {
        return false
      }
    }
    expect(await meets(other)).toBe(false)
    expect(await meets(member)).toBe(true)
    await until(() => victim.ends.length === 1)
    expect(victim.reasons()).toEqual(['request'])
  })

  test('[K9] a key is changed without a moment in which two nodes do not meet', async () => {
    const steps = [[1], [2, 1], [1, 2], [2]]
    for (const [at, theirs] of steps.entries()) {
      const { address } = await listening(secured(...theirs))
      for (const [other, mine] of steps.entries()) {
        const code = await codeOf(open(secured(...mine)).dial(address, (connection) => new End(connection), never))
        expect([at, other, code === 'none']).toEqual([at, other, mine.some((one) => theirs.includes(one))])
      }
    }
  })

  test('[K8] a node of another fleet, or of none, learns nothing but that it was not let in', async () => {
    const server = await listening(secured(1))
    expect(await dialCode(open(secured(2)), server.address)).toBe('peer_refused')
    expect(await dialCode(open(), server.address)).toBe('peer_refused')
    expect(server.reasons()).toEqual(['proof', 'proof'])
    const careless = await listening()
    expect(await dialCode(open({ ...secured(1), bounds: { handshakeMs: 500 } }), careless.address)).not.toBe('none')
    expect([...server.ends, ...careless.ends]).toEqual([])
  })

  test('[K8] a stranger gets no byte, whatever it says', async () => {
    const server = await listening({ ...secured(1), bounds: { handshakeMs: 500 } })
    const first = Uint8Array.of(1, 1, ...new Uint8Array(48).fill(7))
    for (const wish of [
      Buffer.from('\x13/multistream/1.0.0\n'),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from([first.length, ...first]),
      Buffer.from([0]),
      Buffer.alloc(100_000, 255),
    ]) {
      const before = server.events.length
      const socket = await rawSocket(server.address)
      socket.write(wish)
      await gone(socket)
      await until(() => server.events.length === before + 1)
      expect(socket.answer().length).toBe(0)
    }
    expect(new Set(server.reasons())).toEqual(new Set(['proof', 'slow']))
    expect(server.ends).toEqual([])
  })

  test('[K2] garbage below the streams ends its connection only', async () => {
    const server = await listening()
    const other = await dial(open(), server.address)
    for (const [at, [title, bytes]] of yamuxGarbage.entries()) {
      const sender = await sendBelowStreams(server.address, Uint8Array.from(bytes))
      await until(() => server.ends.length === at + 2)
      expect([title, await (server.ends[at + 1] as End).ended()]).toEqual([title, 'peer_lost'])
      await sender.done()
    }
    other.connection.send(Uint8Array.of(1))
    await until(() => server.ends[0]?.received.length === 1)
  })

  test('[K11] who takes too long is closed: before its proof, and after it without a stream', async () => {
    const server = await listening({ ...secured(1), bounds: { handshakeMs: 100 } })
    await gone(await rawSocket(server.address))
    expect(server.reasons()).toEqual(['slow'])
    const silent = await openFreezableMultiway(server.address)
    cleanUps.push(() => silent.close())
    silent.freeze()
    expect(await dialCode(open({ ...secured(1), bounds: { handshakeMs: 50 } }), silent.address)).toBe(
      'peer_unreachable',
    )
    const plain = await listening({ bounds: { handshakeMs: 300 } })
    const idle = await openStranger(plain.address)
    cleanUps.push(() => idle.done())
    await until(() => plain.reasons().length === 1)
    expect(plain.reasons()).toEqual(['slow'])
    await idle.closed
  })

  test('[K11] strangers are bounded, and take no place of those who are known', async () => {
    const bounds = { strangers: 10, strangersPerAddress: 3, linksIn: 2, linksInPerAddress: 2 }
    const server = await listening({ ...secured(1), bounds })
    await rawSocket(server.address)
    await rawSocket(server.address)
    const client = open(secured(1))
    const one = await dial(client, server.address)
    await dial(client, server.address)
    await codeOf(client.dial(server.address, (connection) => new End(connection), never))
    await until(() => server.events.length === 1)
    await rawSocket(server.address)
    await gone(await rawSocket(server.address))
    expect(server.reasons()).toEqual(['full', 'full'])
    one.connection.send(Uint8Array.of(1))
    await until(() => server.ends[0]?.received.length === 1)
  })

  test('[K10] whoever changes a byte on the way ends the link, and reads nothing', async () => {
    const server = await listening(secured(1))
    const seen: Buffer[] = []
    let isOpen = false
    const way = await openFreezableMultiway(server.address, (bytes) => {
      if (!isOpen) return [bytes]
      seen.push(bytes)
      const changed = Buffer.from(bytes)
      changed[changed.length - 20] = (changed.at(-20) as number) ^ 1
      return [changed]
    })
    cleanUps.push(() => way.close())
    const mine = await dial(open(secured(1)), way.address)
    mine.connection.send(new Uint8Array(100))
    await until(() => server.ends[0]?.received.length === 1)
    isOpen = true
    mine.connection.send(Buffer.from('a secret that is sent'))
    expect(await (server.ends[0] as End).ended()).toBe('peer_lost')
    expect(Buffer.concat(seen).includes('secret')).toBe(false)
  })

  test('a node that nobody can dial is reached through a relay of the fleet, and both ends are who they say', async () => {
    const [relaying, hidden] = [identityOf(key(31)), identityOf(key(32))]
    const relay = await listening({ ...secured(1), identity: relaying, relay: true })
    const behind = await listening({
      ...secured(1),
      identity: hidden,
      listen: [`${relay.address}/p2p/${peerIdOf(relaying)}/p2p-circuit`],
    })
    expect(behind.address).toBe(`${relay.address}/p2p/${peerIdOf(relaying)}/p2p-circuit/p2p/${peerIdOf(hidden)}`)
    const client = open(secured(1))
    const mine = await dial(client, behind.address)
    expect(mine.connection.node).toBe(hidden.node)
    await until(() => behind.ends.length === 1)
    const theirs = behind.ends[0] as End
    // More than the limits of a public relay let through.
    theirs.onMessage = (bytes) => theirs.connection.send(bytes)
    for (let i = 0; i < 10; i++) mine.connection.send(new Uint8Array(100_000).fill(i))
    await mine.until(() => mine.received.length === 10)
    mine.connection.close()
    expect(await theirs.ended()).toBe('none')
    expect(await dialCode(open(secured(2)), behind.address)).not.toBe('none')
    expect(relay.ends).toEqual([])
  })

  test('a relay that was away is asked again for a place', async () => {
    const relaying = identityOf(key(41))
    const at = { ...secured(1), identity: relaying, relay: true }
    const relay = await listening(at)
    const through = `${relay.address}/p2p/${peerIdOf(relaying)}/p2p-circuit`
    const behind = await listening({ ...secured(1), listen: [through], bounds: { lookEveryMs: 50 } })
    await dial(open(secured(1)), behind.address)
    await relay.transport.close()
    await (behind.ends[0] as End).ended()
    const again = await listening({ ...at, listen: [relay.address] })
    const client = open(secured(1))
    while ((await codeOf(client.dial(behind.address, (connection) => new End(connection), never))) !== 'none') {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await until(() => behind.ends.length === 2)
    expect(again.ends).toEqual([])
  })
})
