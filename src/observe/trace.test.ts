import { INVALID_SPAN_CONTEXT, trace } from '@opentelemetry/api'
import { afterEach, expect, test } from 'vitest'
import { openTracing, traceOf } from './trace.ts'
import { recording } from './trace.test-kit.ts'

afterEach(() => trace.disable())

const delta = { space: 'tasks', origin: 'a.1', seq: 7 }

test('without an SDK there is no tracing', () => {
  expect(openTracing('n1')).toBeUndefined()
})

test('the steps of a delta share a trace on all nodes, and no other delta has it', () => {
  const { provider, spans } = recording()
  trace.setGlobalTracerProvider(provider)
  const [here, there] = [openTracing('n1'), openTracing('n2')]
  here?.span('write', delta, 1, 2, { agent: 'agent-7' })
  there?.span('apply', delta, 3, 4)
  here?.span('commit', { ...delta, seq: 8 }, 5, 6)
  const [write, apply, other] = spans.filter(({ name }) => name !== 'skein.start')
  expect(write?.of.traceId).toBe(apply?.of.traceId)
  expect(write?.of.traceId).not.toBe(other?.of.traceId)
  expect(write?.options.attributes).toMatchObject({ 'skein.space': 'tasks', 'skein.seq': 7, agent: 'agent-7' })
})

test('ids have the form that others read, and are never the invalid ones', () => {
  const { traceId, spanId } = traceOf(delta)
  expect(traceId).toMatch(/^[0-9a-f]{32}$/)
  expect(spanId).toMatch(/^[0-9a-f]{16}$/)
  expect(traceId).not.toBe(INVALID_SPAN_CONTEXT.traceId)
  expect(traceOf({ ...delta })).toEqual({ traceId, spanId })
})
