/**
 * One node and its client on the same machine: what HTTP costs over the embedded API, and what the stream gives back. Beside
 * it the same framework with a route that answers a constant: more than that nobody gets from it here.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fastify } from 'fastify'
import { openNode } from '../src/index.ts'
import { createHttp } from '../src/node/http/http.ts'
import { mixedWrites } from './data.ts'
import type { Job } from './http-client.ts'
import { spread } from './measure.ts'
import type { Figure, Scenario, Suite } from './scenario.ts'

/** Connections over HTTP, each with one request under way. */
const atOnce = 64
/** Requests under way on the one connection of a stream, which is what a stream is for. */
const underWay = 256
/** What is asked for, whatever the machine: of HTTP no more than a share of what its framework does. */
const share = 0.6
const writesAsked = 8_000
const readsAsked = 15_000
/** Embedded writes return at once; programs await `durable` before an effect, not after every write. */
const together = 256

function ask(client: ChildProcess, job: Job): Promise<number> {
  return new Promise((resolve, reject) => {
    client.once('message', (answer: { readonly ms?: number; readonly failed?: string }) => {
      if (answer.ms === undefined) reject(new Error(answer.failed))
      else resolve((1000 * job.count) / answer.ms)
    })
    client.send(job)
  })
}

async function constantServer(): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const app = fastify()
  const schema = {
    response: { 200: { type: 'object', properties: { version: { type: 'string' }, durable: { type: 'boolean' } } } },
  }
  app.get('/constant', { schema }, () => ({ version: '6dedb4efc66846850011223344556677-1', durable: true }))
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { port: (app.server.address() as AddressInfo).port, close: () => app.close() }
}

const kinds = ['constant', 'read', 'write', 'stream', 'client', 'embedded', 'embedded, waiting'] as const
type Kind = (typeof kinds)[number]

const does: Readonly<Record<Kind, string>> = {
  constant: `fastify, one GET route with a response schema, ${atOnce} connections`,
  read: `GET of a record, ${atOnce} connections`,
  write: `POST of one record set, answered when durable (os), ${atOnce} connections`,
  stream: `the same operation over one WebSocket, ${underWay} under way`,
  client: `record(key).set({ field }) of skein/client over one WebSocket, ${underWay} writers that each await durable`,
  embedded: `record(key).set({ field }) in the server's process, durable (os) awaited after each ${together}`,
  'embedded, waiting': `the same by ${atOnce} writers, each awaiting durable before it writes again`,
}

/** A fresh node for each, so that none finds what another wrote. */
async function rate(kind: Kind, client: ChildProcess, count: number): Promise<number> {
  if (kind === 'constant') {
    const { port, close } = await constantServer()
    const result = await ask(client, { kind, port, count, atOnce })
    await close()
    return result
  }
  const dir = await mkdtemp(join(tmpdir(), 'skein-bench-'))
  const node = await openNode({ dir: join(dir, 'data'), durability: 'os', agent: 'bench' })
  const http = await createHttp({ node, port: 0 })
  try {
    const space = node.space('tasks')
    if (kind === 'embedded') {
      const writes = mixedWrites(count)
      const startedMs = performance.now()
      for (let at = 0; at < writes.length; at++) {
        const { key, fields } = writes[at] as (typeof writes)[number]
        const receipt = space.record(key).set(fields)
        if (at % together === together - 1) await receipt.durable
      }
      await node.flush()
      return (1000 * count) / (performance.now() - startedMs)
    }
    if (kind === 'embedded, waiting') {
      const writes = mixedWrites(count)
      let next = 0
      const writer = async (): Promise<void> => {
        for (let write = writes[next++]; write !== undefined; write = writes[next++]) {
          await space.record(write.key).set(write.fields).durable
        }
      }
      const startedMs = performance.now()
      await Promise.all(Array.from({ length: atOnce }, writer))
      return (1000 * count) / (performance.now() - startedMs)
    }
    if (kind === 'read') {
      for (const { key, fields } of mixedWrites(count)) space.record(key).set(fields)
      await node.flush()
    }
    return await ask(client, {
      kind,
      port: http.port,
      count,
      atOnce: kind === 'stream' || kind === 'client' ? underWay : atOnce,
    } as Job)
  } finally {
    await http.close()
    await node.close()
    await rm(dir, { recursive: true, force: true })
  }
}

const against: Scenario = {
  name: 'one node over HTTP',
  measures:
    'Single operations a second, client and server on the same machine, each caller waiting for its answer before it asks again; writes count when durable (os).',
  async run({ quick, progress }) {
    const rounds = quick ? 3 : 7
    // The same writes for all who write: a node that holds more is slower.
    const [requests, writes] = quick ? [20_000, 16_000] : [40_000, 40_000]
    const count: Readonly<Record<Kind, number>> = {
      constant: requests,
      read: requests,
      write: writes,
      stream: writes,
      client: writes,
      embedded: writes,
      'embedded, waiting': writes,
    }
    const client = fork(join(import.meta.dirname, 'http-client.ts'))
    const rates = new Map<Kind, number[]>(kinds.map((kind) => [kind, []]))
    try {
      for (let round = 0; round <= rounds; round++) {
        progress(`http: round ${round} of ${rounds}`)
        for (let i = 0; i < kinds.length; i++) {
          const kind = kinds[(round + i) % kinds.length] as Kind
          const measured = await rate(kind, client, count[kind])
          // The first round only warms up.
          if (round > 0) rates.get(kind)?.push(measured)
        }
      }
    } finally {
      client.kill()
    }
    const of = (kind: Kind): number[] => rates.get(kind) ?? []
    const ratio = (kind: Kind, to: (round: number) => number): Figure['value'] =>
      spread(of(kind).map((own, round) => own / to(round)))
    const lesser = (asked: number) => (round: number) => Math.min(asked, share * (of('constant')[round] ?? Number.NaN))
    const httpWrites = (round: number): number => of('write')[round] ?? Number.NaN
    const figures: Figure[] = [
      {
        name: `writes / the lesser of ${writesAsked.toLocaleString('en')} and ${100 * share} % of the constant`,
        unit: 'x',
        value: ratio('write', lesser(writesAsked)),
        goal: { atLeast: 1 },
      },
      {
        name: `reads / the lesser of ${readsAsked.toLocaleString('en')} and ${100 * share} % of the constant`,
        unit: 'x',
        value: ratio('read', lesser(readsAsked)),
        goal: { atLeast: 1 },
      },
      { name: 'stream / HTTP writes', unit: 'x', value: ratio('stream', httpWrites), goal: { atLeast: 3 } },
      { name: 'skein/client / HTTP writes', unit: 'x', value: ratio('client', httpWrites), goal: { atLeast: 3 } },
      { name: 'embedded / HTTP writes', unit: 'x', value: ratio('embedded', httpWrites), goal: { atLeast: 10 } },
      ...kinds.map((kind): Figure => ({ name: kind, unit: 'ops/s', value: spread(of(kind)) })),
    ]
    const notes = kinds.map((kind) => `${kind}: ${does[kind]}, ${count[kind].toLocaleString('en')} a round`)
    return { figures, notes }
  },
}

export const http: Suite = {
  name: 'http',
  says: 'the HTTP API and the stream beside the embedded API',
  scenarios: [against],
}
