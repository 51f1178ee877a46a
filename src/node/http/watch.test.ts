/** Server-sent events: in order, resumable, bounded, ended in words. */
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { limits } from '../../base/limits.ts'
import { openNode } from '../../open.ts'
import { served } from './server.test-kit.ts'

const memory = () => openNode({ memory: true })

interface Told {
  readonly id: string | undefined
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
}

/** Reads a stream of events as the standard says. */
class Events implements AsyncDisposable {
  readonly comments: string[] = []
  readonly #stop = new AbortController()
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  #text = ''

  static async open(url: string, headers: Record<string, string> = {}): Promise<Events> {
    const events = new Events()
    const answer = await fetch(url, { headers, signal: events.#stop.signal })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    events.#reader = answer.body?.getReader()
    return events
  }

  /** Undefined at the end of the stream. */
  async next(): Promise<Told | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n')
      if (end >= 0) {
        const lines = this.#text.slice(0, end).split('\n')
        this.#text = this.#text.slice(end + 2)
        if (lines[0]?.startsWith(':') === true) {
          this.comments.push(lines[0])
          continue
        }
        const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
        return {
          id: field('id'),
          event: field('event') ?? '',
          data: JSON.parse(field('data') ?? '{}') as Told['data'],
        }
      }
      const read = await this.#reader?.read()
      if (read === undefined || read.done) return undefined
      this.#text += new TextDecoder().decode(read.value)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#reader?.read().catch(() => undefined)
  }
}

test('changes come with their tokens, and a client that comes again misses nothing', async () => {
  await using it = await served(await memory())
  const tasks = it.node.space('tasks')
  tasks.register('t-0').set(0)
  const url = `${it.server.url}/v1/watch?space=tasks&prefix=t-`
  let last: string | undefined
  {
    await using events = await Events.open(url)
    tasks.as({ agent: 'agent-7', reason: 'why' }).register('t-1').set(1)
    tasks.register('other').set(1)
    const told = await events.next()
    expect(told).toMatchObject({ event: 'change', data: { key: 't-1', agent: 'agent-7', reason: 'why', local: true } })
    expect(told?.data['token']).toBe(told?.id)
    last = told?.id
  }
  tasks.register('t-2').set(2)
  await using again = await Events.open(url, { 'last-event-id': last ?? '' })
  expect(await again.next()).toMatchObject({ event: 'change', data: { key: 't-2' } })
  await using since = await Events.open(`${url}&since=${last ?? ''}`)
  expect(await since.next()).toMatchObject({ event: 'change', data: { key: 't-2' } })
  await using one = await Events.open(`${it.server.url}/v1/watch?space=tasks&key=t-1&since=${last ?? ''}`)
  tasks.delete('t-1')
  expect(await one.next()).toMatchObject({ event: 'change', data: { key: 't-1', deleted: true } })
})

test('what the log no longer holds is a gap', async () => {
  await using it = await served(await memory())
  const tasks = it.node.space('tasks')
  let last: string
  {
    await using events = await Events.open(`${it.server.url}/v1/watch?space=tasks`)
    tasks.register('k').set(1)
    last = (await events.next())?.id ?? ''
  }
  for (let i = 0; i < 600; i++) tasks.register('k').set(i)
  await it.node.prune({ keepMs: 0, keepBytes: 0 })
  await using events = await Events.open(`${it.server.url}/v1/watch?space=tasks&since=${last}`)
  expect(await events.next()).toMatchObject({ event: 'gap', data: { cause: 'pruned' } })
})

test('comment lines show that an idle stream lives', async () => {
  await using it = await served(await memory(), { heartbeatMs: 5 })
  const tasks = it.node.space('tasks')
  tasks.register('k').set(0)
  await using events = await Events.open(`${it.server.url}/v1/watch?space=tasks`)
  const told = events.next()
  while (!events.comments.includes(': alive')) await new Promise((resolve) => setTimeout(resolve, 5))
  tasks.register('k').set(1)
  expect(await told).toMatchObject({ event: 'change' })
})

test('a reader that takes nothing is told of a gap when it reads again, and its writers never wait', async () => {
  await using it = await served(await memory())
  const space = it.node.space('s')
  space.register('k').set(0)
  const socket = connect(it.server.port, '127.0.0.1')
  socket.write('GET /v1/watch?space=s HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await new Promise((resolve) => socket.once('data', resolve))
  socket.pause()
  const writer = space.as({ reason: 'r'.repeat(limits.reasonBytes) })
  for (let i = 0; i < 40 * limits.watchBuffer; i++) {
    writer.register(`k${i % 100}`).set(i)
    if (i % 200 === 199) await new Promise((resolve) => setImmediate(resolve))
  }
  let text = ''
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk) => {
      text = text.slice(-100) + chunk.toString('latin1')
      if (text.includes('event: gap')) resolve()
    })
    socket.resume()
  })
  socket.destroy()
})

test('one that takes nothing for too long is cut off', async () => {
  await using it = await served(await memory(), { stalledMs: 50 })
  const space = it.node.space('s')
  space.register('k').set(0)
  const socket = connect(it.server.port, '127.0.0.1')
  socket.on('error', () => undefined)
  const over = new Promise((resolve) => socket.once('close', resolve))
  socket.write('GET /v1/watch?space=s HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await new Promise((resolve) => socket.once('data', resolve))
  socket.pause()
  const writer = space.as({ reason: 'r'.repeat(limits.reasonBytes) })
  for (let i = 0; i < 20_000; i++) {
    writer.register(`k${i % 100}`).set(i)
    if (i % 200 === 199) await new Promise((resolve) => setImmediate(resolve))
  }
  await new Promise((resolve) => setTimeout(resolve, 200))
  socket.resume()
  await over
})

test('a stream ends with a last event when the server closes', async () => {
  const it = await served(await memory())
  it.node.space('s').register('k').set(0)
  await using events = await Events.open(`${it.server.url}/v1/watch?space=s`)
  const told = events.next()
  await it.server.close()
  expect(await told).toEqual({ id: undefined, event: 'end', data: { kind: 'end', reason: 'closing' } })
  expect(await events.next()).toBeUndefined()
  await it.node.close()
})
