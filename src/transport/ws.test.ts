import { createServer as createHttpServer, get } from 'node:http'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { WebSocketServer } from 'ws'
import { ephemeralIdentity } from '../node/security/identity.ts'
import { authority, certificateOf } from './certificates.test-kit.ts'
import { End, codeOf, dial, transportSuite, until } from './transport.suite.ts'
import type { TransportUnderTestOptions, TransportsUnderTest } from './transport.suite.ts'
import type { Transport, TransportEvent } from './transport.ts'
import { garbage, openFreezableWay, openTlsRelay, rawClient } from './ws.test-kit.ts'
import { openWsTransport } from './ws.ts'
import type { WsTransportOptions } from './ws.ts'

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
const never = new AbortController().signal
const root = authority('a test authority')
const tls = { ...certificateOf(root, 'a node'), ca: root.cert }

/** Transports for the suite: looked at often, so that what froze is found soon. */
function prepare(scheme: 'ws' | 'wss', more: () => WsTransportOptions): () => Promise<TransportsUnderTest> {
  return async () => {
    const ways: { close(): Promise<void> }[] = []
    const open = async ({ at, messageBytes, waitingBytes, tell }: TransportUnderTestOptions): Promise<Transport> =>
      openWsTransport({
        listen: at === 'none' ? [] : [at ?? `${scheme}://127.0.0.1:0`],
        bounds: {
          lookEveryMs: 30,
          silentMs: 250,
          closeMs: 300,
          // Hundreds of connections with both ends in one process, beside other tests.
          handshakeMs: 25_000,
          ...(messageBytes === undefined ? {} : { messageBytes }),
          ...(waitingBytes === undefined ? {} : { waitingBytes }),
        },
        ...(tell === undefined ? {} : { tell }),
        ...more(),
      })
    return {
      open,
      nobody: `${scheme}://127.0.0.1:9`,
      freezable: async (address) => {
        const way = await openFreezableWay(address)
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

const secured = (...fills: readonly number[]): WsTransportOptions => ({
  security: { fleetKeys: fills.map(key), identity: ephemeralIdentity() },
})

transportSuite('ws', async () => ({
  ...(await prepare('ws', () => ({}))()),
  garbage: garbage.map(([title, bytes]) => ({
    title,
    send: async (address) => {
      const socket = await rawClient(address)
      socket.write(Uint8Array.from(bytes))
      return { done: () => socket.destroy() }
    },
  })),
}))
transportSuite(
  'ws with a fleet key',
  prepare('ws', () => secured(1)),
)
transportSuite(
  'wss with a fleet key',
  prepare('wss', () => ({ ...secured(1), tls })),
)

describe('ws', () => {
  const cleanUps: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  })
  const open = (options: WsTransportOptions): Transport => {
    const transport = openWsTransport(options)
    cleanUps.push(() => transport.close())
    return transport
  }
  /** One that listens, its ends, and what it was told. */
  const listening = async (options: WsTransportOptions, scheme = 'ws') => {
    const events: TransportEvent[] = []
    const ends: End[] = []
    const tell = (event: TransportEvent): unknown => events.push(event)
    const transport = open({ listen: [`${scheme}://127.0.0.1:0`], tell, ...options })
    await transport.listen((connection) => {
      const end = new End(connection)
      ends.push(end)
      return end
    })
    const reasons = (): unknown[] => events.map((event) => (event.kind === 'refused' ? event.reason : event.code))
    return { transport, events, ends, reasons, address: transport.addresses[0] as string }
  }
  const dialCode = (transport: Transport, address: string): Promise<string> =>
    codeOf(transport.dial(address, () => expect.unreachable(), never))

  test('[K6] without a fleet key nothing beyond loopback is bound or dialled', async () => {
    for (const address of [
      'ws://0.0.0.0:0',
      'ws://[::]:0',
      'ws://192.0.2.1:7400',
      'wss://example.org:7400',
      'ws://127.0.0.1.example.org',
    ]) {
      const transport = open({ listen: [address], security: { fleetKeys: [], identity: ephemeralIdentity() } })
      expect(await codeOf(transport.listen((connection) => new End(connection)))).toBe('fleet_key_needed')
      expect(await dialCode(transport, address)).toBe('fleet_key_needed')
    }
    const { address } = await listening({ listen: ['ws://localhost:0'] })
    expect((await dial(open({}), address)).connection.node).toBeUndefined()
  })

  test('[K7] with one it binds anywhere, and both ends know who is there', async () => {
    const [one, two] = [ephemeralIdentity(), ephemeralIdentity()]
    const server = await listening({ listen: ['ws://0.0.0.0:0'], security: { fleetKeys: [key(1)], identity: one } })
    const client = open({ security: { fleetKeys: [key(1)], identity: two } })
    expect(new URL(server.address).hostname).toBe(hostname().toLowerCase())
    const mine = await dial(client, `ws://127.0.0.1:${new URL(server.address).port}`)
    await until(() => server.ends.length === 1)
    expect(mine.connection.node).toBe(one.node)
    expect(server.ends[0]?.connection.node).toBe(two.node)
  })

  test('[K9] a key is changed without a moment in which two nodes do not meet', async () => {
    // Old alone, then both in any order, then new alone: neighbours may be one step apart.
    const steps = [[1], [2, 1], [1, 2], [2]]
    const meets = async (mine: readonly number[], theirs: readonly number[]): Promise<boolean> => {
      const { address } = await listening(secured(...theirs))
      const code = await codeOf(open(secured(...mine)).dial(address, (connection) => new End(connection), never))
      return code === 'none'
    }
    for (const [at, mine] of steps.entries()) {
      for (const [other, theirs] of steps.entries()) {
        expect(await meets(mine, theirs), `${at} ${other}`).toBe(mine.some((one) => theirs.includes(one)))
      }
    }
  })

  test('[K8] a node of another fleet learns nothing but that it was not let in, and is logged with a reason', async () => {
    const server = await listening(secured(1))
    expect(await dialCode(open(secured(2)), server.address)).toBe('peer_refused')
    expect(await dialCode(open({}), server.address)).toBe('peer_refused')
    expect(server.reasons()).toEqual(['proof', 'request'])
    expect(server.ends).toEqual([])
    // And a node with a key does not talk to one without.
    const careless = await listening({})
    expect(await dialCode(open(secured(1)), careless.address)).toBe('peer_refused')
    expect(careless.ends).toEqual([])
  })

  test('[K8] a stranger gets no byte after the request was granted, whatever it says', async () => {
    const server = await listening(secured(1))
    const proven = { 'Sec-WebSocket-Protocol': 'skein.1.proven' }
    const binary = (bytes: Uint8Array): Buffer =>
      Buffer.concat([Buffer.from([0x82, 0x80 | bytes.length, 0, 0, 0, 0]), bytes])
    const wishes: Buffer[] = [
      ...garbage.map(([, bytes]) => Buffer.from(bytes)),
      binary(new Uint8Array(50)),
      binary(Uint8Array.of(1, 1, ...new Uint8Array(48).fill(7))),
      binary(Uint8Array.of(1, 200, ...new Uint8Array(48))),
      // Half of a large message: it is not waited for.
      Buffer.concat([Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0, 0, 0, 0, 0, 0]), new Uint8Array(8000)]),
    ]
    for (const wish of wishes) {
      const before = server.events.length
      const socket = await rawClient(server.address, proven)
      let answer = Buffer.alloc(0)
      socket.on('data', (bytes: Buffer) => (answer = Buffer.concat([answer, bytes])))
      const closed = new Promise((resolve) => socket.once('close', resolve))
      socket.write(wish)
      await closed
      // Only what is no WebSocket at all is answered, as RFC 6455 wants it: by a close frame.
      expect(answer.toString('hex')).toMatch(wishes.indexOf(wish) < garbage.length ? /^(8802....)?$/ : /^$/)
      expect(server.events.length).toBe(before + 1)
    }
    expect(server.reasons()).not.toContain('slow')
    expect(server.ends).toEqual([])
  })

  test('[K11] whoever takes too long to prove itself is closed, and so is who says nothing at all', async () => {
    const server = await listening({ ...secured(1), bounds: { handshakeMs: 50 } })
    for (const headers of [{ 'Sec-WebSocket-Protocol': 'skein.1.proven' }]) {
      const socket = await rawClient(server.address, headers)
      await new Promise((resolve) => socket.once('close', resolve))
    }
    const silent = await openFreezableWay(server.address)
    cleanUps.push(() => silent.close())
    silent.freeze()
    const client = open({ ...secured(1), bounds: { handshakeMs: 50 } })
    expect(await dialCode(client, silent.address)).toBe('peer_unreachable')
    await until(() => server.events.length === 2)
    expect(server.reasons()).toEqual(['slow', 'slow'])
  })

  test('[K11] strangers are bounded, in total and from one address, and take no place of those who are known', async () => {
    const bounds = { strangers: 10, strangersPerAddress: 3, linksIn: 2, linksInPerAddress: 2 }
    const server = await listening({ ...secured(1), bounds })
    const proven = { 'Sec-WebSocket-Protocol': 'skein.1.proven' }
    const strangers = [await rawClient(server.address, proven), await rawClient(server.address, proven)]
    const client = open(secured(1))
    const [one, two] = [await dial(client, server.address), await dial(client, server.address)]
    const third = await codeOf(client.dial(server.address, (connection) => new End(connection), never))
    await until(() => server.events.length === 1)
    // It is known only at the end who it is: the dialler may have been told that it is open by then.
    expect(['none', 'peer_refused']).toContain(third)
    strangers.push(await rawClient(server.address, proven))
    await expect(rawClient(server.address, proven)).rejects.toThrow()
    expect(server.reasons()).toEqual(['full', 'full'])
    for (const socket of strangers) socket.destroy()
    one.connection.send(Uint8Array.of(1))
    two.connection.close()
    await until(() => server.ends.length === 2 && server.ends[0]?.received.length === 1)
    await until(() => server.ends[1]?.end !== undefined)
    await sleep(20)
    const fourth = await dial(client, server.address)
    fourth.connection.send(Uint8Array.of(1))
    await until(() => server.ends[2]?.received.length === 1)
  })

  test('[K13] web pages and plain requests are refused', async () => {
    const server = await listening({})
    await expect(rawClient(server.address, { Origin: 'http://127.0.0.1' })).rejects.toThrow()
    await expect(rawClient(server.address, { 'Sec-WebSocket-Protocol': 'other' })).rejects.toThrow()
    await new Promise((resolve) => get(server.address.replace('ws', 'http')).once('error', resolve))
    expect(server.reasons()).toEqual(['request', 'request', 'request'])
    expect(server.ends).toEqual([])
  })

  test('[K13] a server that is not one of us is not taken for one', async () => {
    const http = createHttpServer()
    const other = new WebSocketServer({ server: http, handleProtocols: () => false })
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    cleanUps.push(async () => {
      other.close()
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    })
    const { port } = http.address() as { port: number }
    expect(await dialCode(open({}), `ws://127.0.0.1:${port}`)).toBe('peer_refused')
  })

  test('[K10] a man in the middle can neither read nor change what is sent', async () => {
    const server = await listening(secured(1))
    for (const change of ['flip', 'repeat', 'drop'] as const) {
      const seen: Buffer[] = []
      let isOpen = false
      const way = await openFreezableWay(server.address, (bytes) => {
        if (!isOpen) return [bytes]
        seen.push(bytes)
        if (change === 'drop') return seen.length === 1 ? [] : [bytes]
        if (change === 'repeat') return [bytes, bytes]
        const flipped = Buffer.from(bytes)
        flipped[flipped.length - 20] = (flipped.at(-20) as number) ^ 1
        return [flipped]
      })
      cleanUps.push(() => way.close())
      const count = server.ends.length
      const mine = await dial(open(secured(1)), way.address)
      mine.connection.send(new Uint8Array(100))
      await until(() => server.ends[count]?.received.length === 1)
      isOpen = true
      const end = server.ends[count] as End
      for (const secret of ['a secret that is sent', 'a second secret, sent later']) {
        mine.connection.send(Buffer.from(secret))
        await sleep(20)
      }
      expect(await end.ended()).toBe('peer_protocol')
      expect(end.received.length).toBe(change === 'repeat' ? 2 : 1)
      expect(Buffer.concat(seen).includes('secret')).toBe(false)
    }
  })

  test('wss: a certificate that is not trusted is refused, and mutual TLS asks who dials', async () => {
    const server = await listening({ ...secured(1), tls: { ...tls, clientCertificates: true } }, 'wss')
    const foreign = authority('another authority')
    const mine = await dial(open({ ...secured(1), tls }), server.address)
    mine.connection.send(Uint8Array.of(1))
    await until(() => server.ends[0]?.received.length === 1)
    expect(await dialCode(open({ ...secured(1), tls: { ca: foreign.cert } }), server.address)).toBe('peer_unproven')
    expect(await dialCode(open(secured(1)), server.address)).toBe('peer_unproven')
    expect(await dialCode(open({ ...secured(1), tls: { ca: root.cert } }), server.address)).toBe('peer_refused')
    const stranger = { ...certificateOf(foreign, 'a stranger'), ca: root.cert }
    expect(await dialCode(open({ ...secured(1), tls: stranger }), server.address)).toBe('peer_refused')
    expect(await dialCode(open({ ...secured(2), tls }), server.address)).toBe('peer_refused')
    expect(server.ends.length).toBe(1)
    await until(() => server.events.length === 5)
    expect(server.reasons()).toContain('proof')
  })

  test('[K11] wss: whoever has gone is counted no more', async () => {
    const bounds = { linksIn: 1, linksInPerAddress: 1, strangers: 1, strangersPerAddress: 1 }
    const server = await listening({ ...secured(1), tls, bounds }, 'wss')
    const client = open({ ...secured(1), tls })
    for (let round = 0; round < 5; round++) {
      const mine = await dial(client, server.address)
      mine.connection.send(Uint8Array.of(1))
      await until(() => server.ends[round]?.received.length === 1)
      expect(await dialCode(open({ ...secured(2), tls }), server.address)).toBe('peer_refused')
      mine.connection.close()
      await until(() => server.ends[round]?.end !== undefined)
      await sleep(20)
    }
    expect(server.reasons()).toEqual(Array.from({ length: 5 }, () => 'proof'))
  })

  test('wss: the proof is bound to the TLS connection, so that nobody relays it from another', async () => {
    const server = await listening({ ...secured(1), tls }, 'wss')
    const relay = await openTlsRelay(server.address, tls)
    cleanUps.push(() => relay.close())
    expect(await dialCode(open({ ...secured(1), tls }), relay.address)).toBe('peer_refused')
    expect(server.reasons()).toEqual(['proof'])
  })

  test('listening at wss without a certificate, or with a broken one, says so', async () => {
    for (const options of [secured(1), { ...secured(1), tls: { cert: 'x', key: 'y' } }]) {
      const transport = open({ listen: ['wss://127.0.0.1:0'], ...options })
      expect(await codeOf(transport.listen((connection) => new End(connection)))).toBe('invalid_argument')
    }
  })

  test('an address that is not of this host is unavailable', async () => {
    const transport = open({ listen: ['ws://192.0.2.1:0'], ...secured(1) })
    expect(await codeOf(transport.listen((connection) => new End(connection)))).toBe('address_unavailable')
  })

  test('[K4] a process that stood still takes nobody for gone', async () => {
    const bounds = { lookEveryMs: 20, silentMs: 100 }
    const server = await listening({ bounds })
    const mine = await dial(open({ bounds }), server.address)
    await until(() => server.ends.length === 1)
    // At all moments between two looks.
    for (let round = 0; round < 8; round++) {
      await sleep(50 + 5 * round)
      const untilMs = performance.now() + 200
      while (performance.now() < untilMs);
    }
    mine.connection.send(Uint8Array.of(1))
    await until(() => server.ends[0]?.received.length === 1)
    expect([mine.end, server.ends[0]?.end]).toEqual([undefined, undefined])
  })

  test('[K14] what is sent in one turn of the event loop leaves in one write', async () => {
    const server = await listening({})
    let writes = 0
    const way = await openFreezableWay(server.address, (bytes) => {
      writes++
      return [bytes]
    })
    cleanUps.push(() => way.close())
    const mine = await dial(open({}), way.address)
    writes = 0
    for (let i = 0; i < 50; i++) mine.connection.send(new Uint8Array(10))
    await until(() => server.ends[0]?.received.length === 50)
    expect(writes).toBe(1)
  })
})
