import { expect, test } from 'vitest'
import { openLog, prettyLine } from './log.ts'
import type { LogLevels } from './levels.ts'

function logged(
  levels: LogLevels,
  options: { pretty?: boolean } = {},
): { lines: string[]; log: ReturnType<typeof openLog> } {
  const lines: string[] = []
  const sink = { write: (line: string) => lines.push(line) }
  return { lines, log: openLog({ levels, pretty: options.pretty === true, colour: false, sink, node: 'n1' }) }
}

test('a line is JSON with its level, time, part and node', () => {
  const { lines, log } = logged({ all: 'info', parts: {} })
  log.node.info({ dir: 'x' }, 'open')
  const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>
  expect(line).toMatchObject({ level: 'info', part: 'node', node: 'n1', dir: 'x', msg: 'open' })
  expect(new Date(line['time'] as string).toISOString()).toBe(line['time'])
})

test('each part has its own level', () => {
  const { lines, log } = logged({ all: 'warn', parts: { gossip: 'debug', http: 'silent' } })
  log.node.info('not heard')
  log.gossip.debug('heard')
  log.http.fatal('not heard either')
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(['heard'])
})

test('secrets do not reach a line', () => {
  const { lines, log } = logged({ all: 'info', parts: {} })
  log.http.info({ token: 'hush', headers: { authorization: 'hush' } }, 'request')
  expect(lines.join('')).not.toContain('hush')
})

test('for people it is one short line, and what is no JSON stays as it is', () => {
  const { lines, log } = logged({ all: 'info', parts: {} }, { pretty: true })
  log.sync.warn({ peer: 'b', cells: 3 }, 'behind')
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} WARN {2}sync: behind peer=b cells=3\n$/)
  expect(prettyLine('plain words\n', true)).toBe('plain words')
})

test('an error keeps its stack', () => {
  const { lines, log } = logged({ all: 'info', parts: {} }, { pretty: true })
  log.store.error({ err: new Error('no room') }, 'refused')
  expect(lines[0]).toContain('Error: no room')
})
