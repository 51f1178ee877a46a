import { expect, test } from 'vitest'
import { limits } from '../base/limits.ts'
import { metricPrefix, metricTable, openMetrics } from './metrics.ts'
import type { CounterName, GaugeName, HistogramName } from './metrics.ts'

test('nothing is there before somebody fills it', async () => {
  expect((await openMetrics().text()).trim()).toBe('')
})

test('every metric of the table can be filled and is told', async () => {
  const metrics = openMetrics()
  for (const [name, facts] of Object.entries(metricTable)) {
    const labels = Object.fromEntries(facts.labels.map((label) => [label, 'x']))
    if (facts.kind === 'counter') metrics.counter(name as CounterName, labels as never)(2)
    else if (facts.kind === 'histogram') metrics.histogram(name as HistogramName, labels as never)(0.02)
    else metrics.gauge(name as GaugeName, () => [[labels as never, 7]])
  }
  const text = await metrics.text()
  for (const [name, { kind, help }] of Object.entries(metricTable)) {
    expect(text).toContain(`# HELP ${metricPrefix}${name} ${help}\n# TYPE ${metricPrefix}${name} ${kind}\n`)
  }
  expect(text).toContain('skein_deltas_total{direction="x"} 2\n')
  expect(text).toContain('skein_links 7\n')
  expect(text).toContain('skein_merge_seconds_bucket{le="0.025"} 1\n')
})

test('a counter that was bound is told as 0, so that its first increase shows', async () => {
  const metrics = openMetrics()
  metrics.counter('integrity_events_total', { what: 'fork' })
  expect(await metrics.text()).toContain('skein_integrity_events_total{what="fork"} 0\n')
})

test('a gauge is asked anew, and what is gone is not told any more', async () => {
  const metrics = openMetrics()
  let states: [{ state: string }, number][] = [[{ state: 'alive' }, 3]]
  metrics.gauge('members', () => states)
  expect(await metrics.text()).toContain('skein_members{state="alive"} 3\n')
  states = [[{ state: 'dead' }, 1]]
  const text = await metrics.text()
  expect(text).toContain('skein_members{state="dead"} 1\n')
  expect(text).not.toContain('alive')
})

test('labels without end count as other', async () => {
  const metrics = openMetrics()
  for (let at = 0; at < 3 * limits.metricLabelValues; at++) {
    metrics.counter('peer_faults_total', { code: `c${at}` })()
  }
  metrics.gauge('clock_skew_seconds', () => Array.from({ length: 1000 }, (_, at) => [{ peer: `p${at}` }, 1] as const))
  const lines = (await metrics.text()).split('\n').filter((line) => !line.startsWith('#') && line !== '')
  expect(lines.filter((line) => line.startsWith('skein_peer_faults_total')).length).toBe(limits.metricLabelValues + 1)
  expect(lines).toContain(`skein_peer_faults_total{code="other"} ${2 * limits.metricLabelValues}`)
  expect(lines.filter((line) => line.startsWith('skein_clock_skew')).length).toBe(limits.metricLabelValues)
})

test('a write of the future is no negative lag', async () => {
  const metrics = openMetrics()
  metrics.histogram('convergence_lag_seconds', { origin: 'a' })(-5)
  expect(await metrics.text()).toContain('skein_convergence_lag_seconds_sum{origin="a"} 0\n')
})

test('of the process too, when asked', async () => {
  expect(await openMetrics({ process: true }).text()).toContain('process_resident_memory_bytes')
})
