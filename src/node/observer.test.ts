/** Two nodes under one observer each: what becomes of a write is told as one trace, from the writer to the other disk. */
import { trace } from '@opentelemetry/api'
import { afterEach, expect, test } from 'vitest'
import { openLog } from '../observe/log.ts'
import { openMetrics } from '../observe/metrics.ts'
import { openTracing } from '../observe/trace.ts'
import { recording } from '../observe/trace.test-kit.ts'
import { openNode } from '../open.ts'
import { observerOf } from './observer.ts'
import type { Observer } from './node.ts'

afterEach(() => trace.disable())

function observer(name: string): Observer {
  const log = openLog({
    levels: { all: 'fatal', parts: {} },
    pretty: false,
    colour: false,
    sink: { write: () => undefined },
  })
  return observerOf({ log, metrics: openMetrics(), tracing: openTracing(name) })
}

test('a write is traced from its writer to the disk of another node', async () => {
  const { provider, spans } = recording()
  trace.setGlobalTracerProvider(provider)
  const listen = 'ws://127.0.0.1:0'
  await using one = await openNode({ memory: true, listen, observer: observer('one') })
  await using two = await openNode({ memory: true, listen, join: one.status().addresses, observer: observer('two') })
  const receipt = one.space('tasks').counter('runs').incr(1)
  await receipt.durable
  await receipt.reached({ peers: 1 })
  const steps = spans
    .filter(({ name }) => name !== 'skein.start')
    .map(({ name, options, of }) => ({ step: name, node: options.attributes?.['skein.node'], trace: of.traceId }))
  const [first] = steps
  expect(new Set(steps.map((step) => step.trace))).toEqual(new Set([first?.trace]))
  const told = steps.map(({ step, node }) => `${node?.toString()} ${step}`)
  for (const step of ['one skein.write', 'one skein.commit', 'one skein.send', 'two skein.apply', 'two skein.commit']) {
    expect(told).toContain(step)
  }
  expect(spans.find(({ name }) => name === 'skein.send')?.options.attributes).toMatchObject({ 'skein.peer': two.id })
})
