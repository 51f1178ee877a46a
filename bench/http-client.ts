/**
 * The client of the HTTP benchmark, a process of its own: it must not share the server's event loop. It speaks HTTP over bare
 * sockets, since a client library would be measured as well, and takes one job at a time from its parent.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import { connect as connectClient } from '../src/client/index.ts'
import { mixedWrites } from './data.ts'

export interface Job {
  readonly kind: 'constant' | 'read' | 'write' | 'stream' | 'client'
  readonly port: number
  readonly count: number
  /** Connections over HTTP, requests under way on a stream. */
  readonly atOnce: number
}

function requestsOf({ kind, count }: Job): (at: number) => string {
  if (kind === 'constant') return () => 'GET /constant HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n'
  const writes = mixedWrites(count)
  return (at) => {
    const { key, fields } = writes[at] as (typeof writes)[number]
    if (kind === 'read') return `GET /v1/spaces/tasks/entries/${key} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`
    const body = JSON.stringify({ type: 'record', op: 'set', fields })
    return `POST /v1/spaces/tasks/entries/${key}/ops HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  }
}

/** Each connection sends the next request when it has the whole answer to its last. */
async function overHttp(job: Job): Promise<number> {
  const requestOf = requestsOf(job)
  const sockets = await Promise.all(
    Array.from(
      { length: job.atOnce },
      () =>
        new Promise<Socket>((resolve, reject) => {
          const socket = connect(job.port, '127.0.0.1', () => resolve(socket.setNoDelay()))
          socket.once('error', reject)
        }),
    ),
  )
  let next = 0
  const startedMs = performance.now()
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          let text = ''
          const send = (): void => {
            if (next < job.count) socket.write(requestOf(next++))
            else resolve()
          }
          socket.on('error', reject)
          socket.on('data', (chunk) => {
            text += chunk.toString('latin1')
            const head = text.indexOf('\r\n\r\n')
            if (head < 0) return
            const length = Number(/content-length: (\d+)/i.exec(text)?.[1])
            if (text.length < head + 4 + length) return
            if (!text.startsWith('HTTP/1.1 200')) reject(new Error(text.slice(0, 400)))
            text = ''
            send()
          })
          send()
        }),
    ),
  )
  const tookMs = performance.now() - startedMs
  for (const socket of sockets) socket.destroy()
  return tookMs
}

async function overStream({ port, count, atOnce }: Job): Promise<number> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`, { perMessageDeflate: false })
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  const writes = mixedWrites(count)
  let next = 0
  let answered = 0
  const send = (most: number): void => {
    const messages = []
    for (; messages.length < most && next < count; next++) {
      const { key, fields } = writes[next] as (typeof writes)[number]
      messages.push({ id: next, do: 'op', space: 'tasks', key, operation: { type: 'record', op: 'set', fields } })
    }
    if (messages.length > 0) socket.send(JSON.stringify(messages))
  }
  const startedMs = performance.now()
  await new Promise<void>((resolve, reject) => {
    socket.on('message', (data: Buffer) => {
      const messages = JSON.parse(data.toString()) as { ok?: unknown; problem?: unknown }[]
      let fresh = 0
      for (const { ok, problem } of messages) {
        if (problem !== undefined) reject(new Error(JSON.stringify(problem)))
        if (ok !== undefined) fresh++
      }
      answered += fresh
      if (answered === count) resolve()
      else send(fresh)
    })
    send(atOnce)
  })
  const tookMs = performance.now() - startedMs
  socket.terminate()
  return tookMs
}

async function overClient({ port, count, atOnce }: Job): Promise<number> {
  await using client = await connectClient({ node: `http://127.0.0.1:${port}` })
  const tasks = client.space('tasks')
  const writes = mixedWrites(count)
  let next = 0
  const writer = async (): Promise<void> => {
    for (let write = writes[next++]; write !== undefined; write = writes[next++]) {
      await tasks.record(write.key).set(write.fields).durable
    }
  }
  const startedMs = performance.now()
  await Promise.all(Array.from({ length: atOnce }, writer))
  return performance.now() - startedMs
}

process.on('message', (job: Job) => {
  const took = job.kind === 'stream' ? overStream(job) : job.kind === 'client' ? overClient(job) : overHttp(job)
  took.then(
    (ms) => process.send?.({ ms }),
    (error: unknown) => process.send?.({ failed: String(error) }),
  )
})
