/** The network of the cluster runs: what a rule does to the bytes of one direction, and not to those of the other. */
import { createServer, connect } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { canTellDiallers, processOf } from './cluster/dialler.ts'
import { Proxies, clear } from './cluster/proxy.ts'

let proxies: Proxies
let server: Server
let port: number
/** What the listener has heard, over all connections. */
let heard: string
let accepted: Socket[]

beforeEach(async () => {
  proxies = new Proxies(
    () => 0,
    () => 0.5,
  )
  heard = ''
  accepted = []
  server = createServer((socket) => {
    accepted.push(socket)
    socket.on('data', (bytes) => (heard += String(bytes)))
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  await proxies.open(1, (server.address() as AddressInfo).port)
  proxies.up(1, true)
  port = Number(new URL(proxies.place(1).advertise).port)
})

afterEach(async () => {
  await proxies.close()
  for (const socket of accepted) socket.destroy()
  await new Promise((resolve) => server.close(resolve))
})

async function dialled(): Promise<{ socket: Socket; said: () => string }> {
  const socket = connect(port, '127.0.0.1')
  let said = ''
  socket.on('data', (bytes) => (said += String(bytes)))
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return { socket, said: () => said }
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(5)
}

test('bytes go both ways, and the end of a connection too', async () => {
  const { socket, said } = await dialled()
  socket.write('there')
  await until(() => heard === 'there')
  accepted[0]?.write('back')
  await until(() => said() === 'back')
  socket.end()
  await once(accepted[0] as Socket, 'end')
})

test('what is held in one direction comes when it heals, and nothing else is held', async () => {
  const { socket, said } = await dialled()
  socket.write('a')
  await until(() => heard === 'a')
  proxies.set(0, 1, { ...clear, cut: 'hold' })
  socket.write('b')
  accepted[0]?.write('back')
  await until(() => said() === 'back')
  await sleep(50)
  expect(heard).toBe('a')
  proxies.heal()
  await until(() => heard === 'ab')
})

test('nobody is dialled through a black hole before it heals', async () => {
  proxies.set(1, 0, { ...clear, cut: 'hold' })
  const { socket } = await dialled()
  socket.write('a')
  await sleep(50)
  expect(accepted).toHaveLength(0)
  proxies.heal()
  await until(() => heard === 'a')
})

test('a cut by reset ends what there is and what comes', async () => {
  const { socket } = await dialled()
  socket.write('a')
  await until(() => heard === 'a')
  proxies.set(1, 0, { ...clear, cut: 'reset' })
  await closed(socket)
  const next = connect(port, '127.0.0.1')
  next.on('error', () => undefined)
  await closed(next)
  expect(accepted).toHaveLength(1)
})

test('where nobody listens a dial ends', async () => {
  proxies.up(1, false)
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await closed(socket)
})

test('a delay and a rate hold bytes back in their order, and no longer than they stand', async () => {
  const { socket } = await dialled()
  proxies.set(0, 1, { ...clear, delayMs: 30, jitterMs: 20 })
  for (const letter of 'abcdef') socket.write(letter)
  await until(() => heard === 'abcdef')
  proxies.set(0, 1, { ...clear, bytesPerSecond: 0.001 })
  socket.write('g')
  await until(() => heard === 'abcdefg')
  socket.write('h')
  await sleep(50)
  expect(heard).toBe('abcdefg')
  proxies.heal()
  await until(() => heard === 'abcdefgh')
})

test('what is lost comes later, with all that was sent behind it', async () => {
  const { socket } = await dialled()
  proxies.set(0, 1, { ...clear, loss: 0.8 })
  socket.write('a')
  await sleep(50)
  expect(heard).toBe('')
  proxies.set(0, 1, clear)
  socket.write('b')
  await until(() => heard !== '')
  expect(heard).toMatch(/^ab?$/)
  await until(() => heard === 'ab')
})

test.skipIf(!canTellDiallers)('the kernel knows which process dialled', async () => {
  const { socket } = await dialled()
  expect(processOf(socket.localPort ?? 0, port, [1, process.pid])).toBe(process.pid)
  expect(processOf(socket.localPort ?? 0, port, [1])).toBeUndefined()
  expect(processOf(1, port, [process.pid])).toBeUndefined()
})
