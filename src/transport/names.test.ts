/** Names that stand for many nodes. */
import { expect, onTestFinished, test } from 'vitest'
import { withNames } from './names.ts'
import type { Connection, ConnectionHandlers } from './transport.ts'
import { openWsTransport } from './ws.ts'

const nothing: ConnectionHandlers = { message: () => undefined, drained: () => undefined, closed: () => undefined }

async function codeOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'none',
    (error: { readonly code?: string }) => error.code,
  )
}

test('a name is looked up when it is dialled, and leads to a node behind it', async () => {
  const server = openWsTransport({ listen: ['ws://127.0.0.1:0'] })
  onTestFinished(() => server.close())
  let accepted = 0
  await server.listen(() => {
    accepted++
    return nothing
  })
  const client = withNames(openWsTransport(), 'ws')
  onTestFinished(() => client.close())
  const port = new URL(server.addresses[0] ?? '').port
  const address = `dns:127.0.0.1:${port}`
  expect(client.supports(address)).toBe(true)
  const opened: Connection[] = []
  const signal = new AbortController().signal
  await client.dial(address, (connection) => (opened.push(connection), nothing), signal)
  expect([opened.length, accepted]).toEqual([1, 1])
})

test('a name that nobody has, or that is none, is refused with a code', async () => {
  const client = withNames(openWsTransport(), 'ws')
  onTestFinished(() => client.close())
  const signal = new AbortController().signal
  expect(await codeOf(client.dial('dns:nobody.invalid:7400', () => nothing, signal))).toBe('peer_unreachable')
  expect(await codeOf(client.dial('dns::7400', () => nothing, signal))).toBe('invalid_address')
  expect(await codeOf(client.dial('dns:name:port', () => nothing, signal))).toBe('invalid_address')
})
