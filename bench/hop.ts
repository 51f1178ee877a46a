/**
 * One hop between processes: how long after a write another process can read it, beside a raw WebSocket mesh among the very
 * same processes. The two take turns, write by write, so whatever else the machine does meets both.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Answer, Order, System } from './hop-node.ts'
import { percentile, spread } from './measure.ts'
import type { Durability } from '../src/index.ts'
import type { Figure, Scenario, Suite } from './scenario.ts'

const child = fileURLToPath(new URL('hop-node.ts', import.meta.url))

/** Writes a second of each system. */
const rate = 50
const textBytes = 64
/** By each system, before anything is measured. A guess: V8 has compiled what is hot by then. */
const warmingWrites = 3_000
const openMs = 30_000

class Process {
  readonly #child: ChildProcess
  readonly #waiting: ((answer: Answer) => void)[] = []
  readonly came: (system: System, microseconds: number) => void

  constructor(came: (system: System, microseconds: number) => void) {
    this.came = came
    this.#child = fork(child, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', (answer: Answer) => {
      if (answer.kind === 'came') this.came(answer.system, answer.microseconds)
      else this.#waiting.shift()?.(answer)
    })
  }

  send(order: Order): void {
    this.#child.send(order)
  }

  ask<Kind extends Answer['kind']>(order: Order): Promise<Answer & { readonly kind: Kind }> {
    this.send(order)
    return new Promise((resolve, reject) => {
      this.#waiting.push((answer) => resolve(answer as Answer & { readonly kind: Kind }))
      this.#child.once('exit', () => reject(new Error('a process of the bench ended')))
    })
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

async function formed(processes: readonly Process[]): Promise<void> {
  const endMs = Date.now() + openMs
  for (const process of processes) {
    for (;;) {
      const { links, raws } = await process.ask<'state'>({ kind: 'state' })
      if (links === processes.length - 1 && raws === processes.length - 1) break
      if (Date.now() > endMs) throw new Error(`the fleet did not form: ${links} links, ${raws} raw ones`)
      await sleep(50)
    }
  }
}

/** Bytes that one write puts on each link, so that the raw mesh sends as many. */
async function bytesOfWrite(writer: Process, links: number): Promise<number> {
  const count = 20
  await sleep(1500)
  const before = await writer.ask<'state'>({ kind: 'state' })
  for (let at = 0; at < count; at++) {
    writer.send({ kind: 'write', system: 'skein', size: textBytes })
    await sleep(2)
  }
  const after = await writer.ask<'state'>({ kind: 'state' })
  return Math.round((after.sentBytes - before.sentBytes) / count / links)
}

/** Both systems, faster than they are measured: what a node that has been up for a while has behind it, its code compiled. */
async function warmed(processes: readonly Process[], size: number, progress: (text: string) => void): Promise<void> {
  for (let at = 0; at < warmingWrites; at++) {
    const writer = processes[at % processes.length] as Process
    for (const system of ['skein', 'raw'] as const) {
      writer.send({ kind: 'write', system, size: system === 'raw' ? size : textBytes })
    }
    if (at % 100 === 0) progress(`warming up: ${at} of ${warmingWrites} writes`)
    await sleep(2)
  }
  await sleep(500)
}

interface Run {
  readonly latencies: Readonly<Record<System, number[]>>
  readonly size: number
}

async function run(
  nodes: number,
  durability: Durability,
  samples: number,
  progress: (text: string) => void,
): Promise<Run> {
  const dir = await mkdtemp(join(tmpdir(), 'skein-bench-'))
  const latencies: Record<System, number[]> = { skein: [], raw: [] }
  let isMeasuring = false
  const processes = Array.from(
    { length: nodes },
    () => new Process((system, microseconds) => void (isMeasuring && latencies[system].push(microseconds))),
  )
  try {
    const ports: number[] = []
    const addresses: string[] = []
    for (const [at, process] of processes.entries()) {
      const order = { kind: 'open', dir: join(dir, `node-${at}`), durability, join: addresses.slice(0, 1) } as const
      const { address, port } = await process.ask<'opened'>(order)
      process.send({ kind: 'mesh', ports: [...ports] })
      ports.push(port)
      addresses.push(address)
    }
    await formed(processes)
    const size = await bytesOfWrite(processes[0] as Process, nodes - 1)
    const writes = Math.ceil(samples / (nodes - 1))
    await warmed(processes, size, progress)
    const warmUp = rate
    const periodMs = 1000 / rate
    const startMs = performance.now()
    for (let at = -warmUp; at < writes; at++) {
      if (at === 0) isMeasuring = true
      // Who writes changes all the time, and which of the two is first, too.
      const writer = processes[(at + warmUp) % nodes] as Process
      const order: readonly System[] = at % 2 === 0 ? ['skein', 'raw'] : ['raw', 'skein']
      for (const [place, system] of order.entries()) {
        const dueMs = startMs + (at + warmUp + place / 2) * periodMs
        await sleep(Math.max(0, dueMs - performance.now()))
        writer.send({ kind: 'write', system, size: system === 'raw' ? size : textBytes })
      }
      if (at % rate === 0) progress(`${nodes} nodes: ${Math.max(0, at)} of ${writes} writes`)
    }
    await sleep(500)
    isMeasuring = false
    for (const process of processes) await process.ask<'closed'>({ kind: 'close' })
    return { latencies, size }
  } finally {
    for (const process of processes) process.kill()
    await rm(dir, { recursive: true, force: true })
  }
}

/** In slices, so that the spread of a ratio is seen. */
const slices = 7

function sliced(values: readonly number[]): number[][] {
  const length = Math.ceil(values.length / slices)
  return Array.from({ length: slices }, (_, at) => values.slice(at * length, (at + 1) * length))
}

function oneHop(nodes: number, durability: Durability, judged: boolean): Scenario {
  return {
    name: `${nodes} nodes, ${durability}`,
    measures: `Milliseconds from a write in one process until another can read it, ${rate} writes a second, a write at a time, by each of ${nodes} nodes in turn; beside it a message of as many bytes over a raw full mesh of WebSockets among the same processes.`,
    async run({ quick, progress }) {
      const { latencies, size } = await run(nodes, durability, quick ? 700 : 5_600, progress)
      const [mine, theirs] = [sliced(latencies.skein), sliced(latencies.raw)]
      const figures: Figure[] = []
      for (const [name, share, atMost] of [
        ['p50', 0.5, 1.5],
        ['p99', 0.99, 2.5],
      ] as const) {
        const of = (values: readonly number[][]): number[] => values.map((slice) => percentile(slice, share) / 1000)
        const whole = percentile(latencies.skein, share) / percentile(latencies.raw, share)
        const ratios = of(mine).map((value, at) => value / (of(theirs)[at] as number))
        const value = { ...spread(ratios), median: whole }
        figures.push({ name: `skein / raw ws, ${name}`, unit: 'x', value, ...(judged && { goal: { atMost } }) })
        figures.push({ name: `skein, ${name}`, unit: 'ms', value: spread(of(mine)) })
        figures.push({ name: `raw ws, ${name}`, unit: 'ms', value: spread(of(theirs)) })
      }
      return {
        figures,
        notes: [
          `${latencies.skein.length.toLocaleString('en')} samples of Skein and ${latencies.raw.length.toLocaleString('en')} of the raw mesh; ratios over all, their range over ${slices} slices`,
          `${size} bytes on each link a write; the reader of Skein is a watcher, which reads the entry`,
        ],
      }
    },
  }
}

export const hop: Suite = {
  name: 'hop',
  says: 'a write in one process, read in another, beside raw sockets',
  scenarios: [oneHop(3, 'os', true), oneHop(8, 'os', true), oneHop(3, 'disk', false)],
}
