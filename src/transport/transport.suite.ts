/**
 * The contract suite of transport.ts: an adapter proves itself with a short test that calls `transportSuite`. What an adapter
 * cannot be put through it leaves out of its `TransportsUnderTest`, and the cases that need it are skipped for it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { SkeinError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { Connection, ConnectionHandlers, Transport, TransportEvent } from './transport.ts'

export interface TransportUnderTestOptions {
  readonly messageBytes?: number
  readonly waitingBytes?: number
  /** At this address, rather than at one of its own; `none`: it only dials. */
  readonly at?: string
  readonly tell?: (event: TransportEvent) => void
}

/** A way to a listening transport that can be frozen: nothing passes, and nobody is told. */
export interface FreezableWay {
  readonly address: string
  freeze(): void
}

export interface TransportsUnderTest {
  /** A new one that does not listen yet. */
  open(options: TransportUnderTestOptions): Promise<Transport>
  /** Where nobody listens. */
  readonly nobody: string
  freezable?(address: string): Promise<FreezableWay>
  /** A frozen connection is found without anything being sent; how soon, at most. */
  readonly frozenFoundMs?: number
  /** A connection to that address that is set up, and then sends these bytes below the messages. */
  readonly garbage?: readonly { readonly title: string; send(address: string): Promise<{ done(): void }> }[]
  readonly cleanUp?: () => Promise<void>
}

/** One end of a connection, with all that happened to it. */
export class End implements ConnectionHandlers {
  readonly connection: Connection
  readonly received: Uint8Array[] = []
  receivedBytes = 0
  drains = 0
  end: { readonly error: SkeinError | undefined } | undefined
  onMessage: (bytes: Uint8Array) => void = () => undefined
  #wake: () => void = () => undefined

  constructor(connection: Connection) {
    this.connection = connection
  }

  message(bytes: Uint8Array): void {
    expect(this.end).toBeUndefined()
    this.received.push(bytes)
    this.receivedBytes += bytes.length
    this.onMessage(bytes)
    this.#wake()
  }

  drained(): void {
    this.drains++
    this.#wake()
  }

  closed(error: SkeinError | undefined): void {
    expect(this.end).toBeUndefined()
    this.end = { error }
    this.#wake()
  }

  /** Waits for something to become true here; a test that waits in vain ends by its own time limit. */
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  async ended(): Promise<ErrorCode | 'none'> {
    await this.until(() => this.end !== undefined)
    return this.end?.error?.code ?? 'none'
  }
}

export async function codeOf(promise: Promise<unknown>): Promise<ErrorCode | 'none' | 'other'> {
  try {
    await promise
    return 'none'
  } catch (error) {
    return error instanceof SkeinError ? error.code : 'other'
  }
}

const never = new AbortController().signal

export async function dial(transport: Transport, address: string): Promise<End> {
  let end: End | undefined
  await transport.dial(address, (connection) => (end = new End(connection)), never)
  return end as End
}

export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await sleep(2)
}

function patterned(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 2654435761 + seed) >>> 16
  return bytes
}

export function transportSuite(name: string, prepare: () => Promise<TransportsUnderTest>): void {
  describe(`${name} keeps the transport contract`, () => {
    const cleanUps: (() => Promise<void>)[] = []
    afterEach(async () => {
      for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
    })
    const fresh = async (): Promise<TransportsUnderTest> => {
      const under = await prepare()
      cleanUps.push(async () => under.cleanUp?.())
      return under
    }
    const open = async (under: TransportsUnderTest, options: TransportUnderTestOptions = {}): Promise<Transport> => {
      const transport = await under.open(options)
      cleanUps.push(() => transport.close())
      return transport
    }
    /** One that listens, and its ends as they come. */
    const listening = async (under: TransportsUnderTest, options: TransportUnderTestOptions = {}) => {
      const transport = await open(under, options)
      const ends: End[] = []
      await transport.listen((connection) => {
        const end = new End(connection)
        ends.push(end)
        return end
      })
      return { transport, ends, address: transport.addresses[0] as string }
    }
    const pair = async (options: TransportUnderTestOptions = {}) => {
      const under = await fresh()
      const server = await listening(under, options)
      const client = await open(under, { at: 'none' })
      const mine = await dial(client, server.address)
      await until(() => server.ends.length === 1)
      return { under, server, client, mine, theirs: server.ends[0] as End }
    }

    test('it tells where it can be dialled once it listens, and knows its own addresses', async () => {
      const under = await fresh()
      const { transport, address } = await listening(under)
      expect(transport.supports(address)).toBe(true)
      for (const foreign of ['', 'http://x', 'nothing', `x${address}`]) expect(transport.supports(foreign)).toBe(false)
      const silent = await open(under, { at: 'none' })
      await silent.listen((connection) => new End(connection))
      expect(silent.addresses).toEqual([])
    })

    test('[K1] messages of all sizes come back from the other end, whole and in order', async () => {
      const { mine, theirs } = await pair()
      theirs.onMessage = (bytes) => theirs.connection.send(bytes)
      const sent = [1, 0, 2, 100, 125, 126, 127, 1000, 4_095, 4_096, 65_535, 65_536, 70_000, 1_048_576, 3].map(
        patterned,
      )
      for (const bytes of sent) mine.connection.send(bytes)
      await mine.until(() => mine.received.length === sent.length)
      for (const [at, bytes] of sent.entries()) expect(Buffer.compare(mine.received[at] as Uint8Array, bytes)).toBe(0)
      expect(mine.connection.waitingBytes).toBe(0)
    })

    test('[K1] ten thousand messages in many turns, urgent or not, arrive in order, both ways at once', async () => {
      const { mine, theirs } = await pair()
      const count = 10_000
      for (const end of [mine, theirs]) {
        void (async () => {
          for (let i = 0; i < count; i++) {
            end.connection.send(Uint8Array.of(i >>> 8, i & 255), i % 3 === 0)
            if (i % 100 === 99) await new Promise((resolve) => setImmediate(resolve))
          }
        })()
      }
      for (const end of [mine, theirs]) {
        await end.until(() => end.received.length === count)
        expect(end.received.every(([high, low], at) => ((high as number) << 8) + (low as number) === at)).toBe(true)
      }
    })

    test('what was received is not written over by what comes later', async () => {
      const { mine, theirs } = await pair()
      for (let i = 0; i < 500; i++) {
        mine.connection.send(new Uint8Array(300).fill(i))
        if (i % 7 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      await theirs.until(() => theirs.received.length === 500)
      for (const [at, bytes] of theirs.received.entries()) expect(bytes.every((byte) => byte === at % 256)).toBe(true)
    })

    test('[K2] a message over the limit ends the connection with a code, and no other', async () => {
      const events: TransportEvent[] = []
      const { mine, theirs, server, client } = await pair({ messageBytes: 1000, tell: (event) => events.push(event) })
      const other = await dial(client, server.address)
      mine.connection.send(new Uint8Array(1000))
      mine.connection.send(new Uint8Array(1200))
      mine.connection.send(new Uint8Array(1))
      expect(await theirs.ended()).toBe('peer_protocol')
      expect(theirs.received.map(({ length }) => length)).toEqual([1000])
      expect(['peer_protocol', 'peer_lost']).toContain(await mine.ended())
      expect(events.map((event) => event.kind === 'fault' && event.code)).toEqual(['peer_protocol'])
      other.connection.send(Uint8Array.of(1))
      const at = server.ends[1] as End
      await at.until(() => at.received.length === 1)
    })

    test('[K5] either side ends it: what was sent before arrives, then the other is told, and the closer hears no more', async () => {
      for (const closer of ['mine', 'theirs'] as const) {
        const both = await pair()
        const [end, other] = closer === 'mine' ? [both.mine, both.theirs] : [both.theirs, both.mine]
        for (let i = 0; i < 20; i++) end.connection.send(patterned(50_000, i))
        other.connection.send(Uint8Array.of(1))
        end.connection.close()
        end.connection.close()
        expect(end.connection.send(Uint8Array.of(2))).toBe(false)
        expect(await other.ended()).toBe('none')
        expect(other.receivedBytes).toBe(20 * 50_000)
        expect(other.connection.send(Uint8Array.of(3))).toBe(false)
        expect(end.received).toEqual([])
        expect(end.end).toBeUndefined()
      }
    })

    test('a handler may end the connection, amid many messages', async () => {
      const { mine, theirs } = await pair()
      theirs.onMessage = () => theirs.connection.close()
      for (let i = 0; i < 100; i++) mine.connection.send(patterned(100, i))
      expect(await mine.ended()).toBe('none')
      expect(theirs.received.length).toBe(1)
      expect(theirs.end).toBeUndefined()
    })

    test('dialling nobody is refused with a code that names the address', async () => {
      const under = await fresh()
      const client = await open(under, { at: 'none' })
      const dialled = client.dial(under.nobody, () => expect.unreachable(), never)
      await expect(dialled).rejects.toMatchObject({ code: 'peer_unreachable', details: { address: under.nobody } })
      expect(await codeOf(client.dial('nonsense', () => expect.unreachable(), never))).toBe('invalid_address')
    })

    test('a dial that is given up opens nothing', async () => {
      const under = await fresh()
      const { address } = await listening(under)
      const client = await open(under, { at: 'none' })
      const given = AbortSignal.abort()
      expect(await codeOf(client.dial(address, () => expect.unreachable(), given))).toBe('aborted')
      const controller = new AbortController()
      const dialled = client.dial(address, () => expect.unreachable(), controller.signal)
      controller.abort()
      expect(await codeOf(dialled)).toBe('aborted')
    })

    test('an address in use is refused with a code', async () => {
      const under = await fresh()
      const { address } = await listening(under)
      const second = await open(under, { at: address })
      expect(await codeOf(second.listen((connection) => new End(connection)))).toBe('address_in_use')
      expect(second.addresses).toEqual([])
    })

    test('an address is free again after close, connections end, and what is dialled fails', async () => {
      const { under, server, client, mine, theirs } = await pair()
      await server.transport.close()
      await server.transport.close()
      expect(await mine.ended()).toBe('none')
      expect(theirs.end).toBeUndefined()
      expect(await codeOf(client.dial(server.address, () => expect.unreachable(), never))).toBe('peer_unreachable')
      const again = await listening(under, { at: server.address })
      const second = await dial(client, again.address)
      second.connection.send(Uint8Array.of(1))
      await until(() => again.ends[0]?.received.length === 1)
      const pending = codeOf(client.dial(server.address, (connection) => new End(connection), never))
      await client.close()
      expect(await pending).toBe('closed')
      expect(await codeOf(client.dial(server.address, () => expect.unreachable(), never))).toBe('closed')
    })

    test('two hundred connections at once each carry their own', async () => {
      const under = await fresh()
      const { address, ends } = await listening(under)
      const client = await open(under, { at: 'none' })
      const mine = await Promise.all(Array.from({ length: 200 }, () => dial(client, address)))
      await until(() => ends.length === 200)
      for (const end of ends) end.onMessage = (bytes) => end.connection.send(bytes)
      for (const [at, end] of mine.entries()) end.connection.send(patterned(1000, at))
      for (const [at, end] of mine.entries()) {
        await end.until(() => end.received.length === 1)
        expect(Buffer.compare(end.received[0] as Uint8Array, patterned(1000, at))).toBe(0)
      }
    })

    test('[K3] send says when it is enough, and drained when all of it has left', async () => {
      const { mine, theirs } = await pair()
      let sent = 0
      let isEnough = false
      while (!isEnough) {
        isEnough = !mine.connection.send(patterned(10_000, sent++))
        expect(mine.connection.waitingBytes).toBeLessThan(4 * 1024 * 1024)
      }
      expect(mine.connection.waitingBytes).toBeGreaterThan(0)
      await mine.until(() => mine.drains === 1)
      expect(mine.connection.waitingBytes).toBe(0)
      await theirs.until(() => theirs.received.length === sent)
      expect(mine.drains).toBe(1)
    })

    test('[K3] a peer that does not read costs a bounded amount of memory, then its connection', async ({ skip }) => {
      const under = await fresh()
      if (under.freezable === undefined) return skip('connections cannot be frozen')
      const events: TransportEvent[] = []
      const { address, ends } = await listening(under)
      const tell = (event: TransportEvent): unknown => events.push(event)
      const client = await open(under, { at: 'none', waitingBytes: 2_000_000, tell })
      const way = await under.freezable(address)
      const mine = await dial(client, way.address)
      await until(() => ends.length === 1)
      way.freeze()
      let most = 0
      while (mine.end === undefined) {
        for (let i = 0; i < 10; i++) mine.connection.send(patterned(100_000, i))
        most = Math.max(most, mine.connection.waitingBytes)
        await new Promise((resolve) => setImmediate(resolve))
      }
      expect(mine.end.error?.code).toBe('peer_slow')
      expect(most).toBeLessThanOrEqual(2_200_000)
      expect(events.map((event) => event.kind === 'fault' && event.code)).toEqual(['peer_slow'])
    })

    test('[K5] who closes in the turn in which it failed hears nothing of that', async ({ skip }) => {
      const under = await fresh()
      if (under.freezable === undefined) return skip('connections cannot be frozen')
      const { address, ends } = await listening(under)
      const client = await open(under, { at: 'none', waitingBytes: 2_000_000 })
      const way = await under.freezable(address)
      const mine = await dial(client, way.address)
      await until(() => ends.length === 1)
      way.freeze()
      for (let i = 0; i < 30; i++) mine.connection.send(patterned(100_000, i))
      mine.connection.close()
      await sleep(50)
      expect(mine.end).toBeUndefined()
    })

    test('[K4] a connection whose other end froze is found on both sides, and a quiet one is left alone', async ({
      skip,
    }) => {
      const under = await fresh()
      if (under.freezable === undefined || under.frozenFoundMs === undefined) return skip('it has no such connections')
      const { address, ends } = await listening(under)
      const client = await open(under, { at: 'none' })
      const quiet = await dial(client, address)
      const way = await under.freezable(address)
      const mine = await dial(client, way.address)
      await until(() => ends.length === 2)
      way.freeze()
      expect(await mine.ended()).toBe('peer_lost')
      expect(await (ends[1] as End).ended()).toBe('peer_lost')
      await sleep(under.frozenFoundMs)
      expect(quiet.end).toBeUndefined()
      quiet.connection.send(Uint8Array.of(1))
      await (ends[0] as End).until(() => (ends[0] as End).received.length === 1)
    })

    test('[K2] garbage below the messages ends its connection only, and is told', async ({ skip }) => {
      const under = await fresh()
      const events: TransportEvent[] = []
      const { address, ends } = await listening(under, { tell: (event) => events.push(event) })
      const client = await open(under, { at: 'none' })
      const mine = await dial(client, address)
      await until(() => ends.length === 1)
      for (const [at, each] of (under.garbage ?? skip('there is nothing below them')).entries()) {
        const sender = await each.send(address)
        await until(() => ends.length === at + 2)
        const code = await (ends[at + 1] as End).ended()
        expect([each.title, code, events.length]).toEqual([each.title, 'peer_protocol', at + 1])
        sender.done()
      }
      mine.connection.send(Uint8Array.of(1))
      await (ends[0] as End).until(() => (ends[0] as End).received.length === 1)
    })
  })
}
