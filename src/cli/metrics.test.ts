/** After a small fleet has worked, every metric of the table has a value: none is promised that nobody fills. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { metricPrefix, metricTable } from '../observe/metrics.ts'
import { daemon } from './cli.test-kit.ts'
import type { Daemon } from './cli.test-kit.ts'

async function asked(node: Daemon, path: string, body?: unknown): Promise<string> {
  const answer = await fetch(`${node.ready.http}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return answer.text()
}

/** What a scrape of it answers, by the name of the series without its labels. */
async function scraped(node: Daemon): Promise<ReadonlyMap<string, number>> {
  const values = new Map<string, number>()
  for (const [, name = '', value] of (await asked(node, '/metrics')).matchAll(/^(\w+)(?:\{.*\})? (\S+)$/gm)) {
    values.set(name, Math.max(Number(value), values.get(name) ?? 0))
  }
  return values
}

function unfilled(values: ReadonlyMap<string, number>): string[] {
  return Object.entries(metricTable)
    .filter(([name, { kind }]) => {
      const value = values.get(`${metricPrefix}${name}${kind === 'histogram' ? '_count' : ''}`)
      return value === undefined || (kind === 'histogram' && value === 0)
    })
    .map(([name]) => name)
}

test('a fleet that works fills every metric', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'skein-metrics-'))
  try {
    await using one = await daemon(['--dir', join(dir, 'one')])
    // Written before the other is there: it catches up, which is a session.
    await asked(one, '/v1/spaces/tasks/entries/t-1/ops', { type: 'counter', op: 'incr', by: 1 })
    await using two = await daemon(['--dir', join(dir, 'two'), '--join', one.ready.listen[0] ?? ''])
    const watching = await fetch(`${one.ready.http}/v1/watch?space=tasks`)
    let values: ReadonlyMap<string, number>
    do {
      await asked(two, '/v1/spaces/tasks/entries/t-1/ops', { type: 'counter', op: 'incr', by: 1 })
      values = await scraped(one)
    } while (unfilled(values).length > 0)
    const at = (name: string): number => values.get(metricPrefix + name) ?? 0
    expect(at('watchers')).toBe(1)
    expect(at('links')).toBe(1)
    expect(at('store_bytes')).toBeGreaterThan(1000)
    expect(at('deltas_total')).toBeGreaterThan(0)
    expect(at('integrity_events_total')).toBe(0)
    expect(Math.abs(at('clock_skew_seconds'))).toBeLessThan(60)
    await watching.body?.cancel()
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
