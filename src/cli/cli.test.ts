/** Every command, run for real: a process of its own, against a node in another, judged by what it prints and exits with. */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { authority, certificateOf } from '../transport/certificates.test-kit.ts'
import { daemon, skein } from './cli.test-kit.ts'
import type { Daemon, RunOptions, Said } from './cli.test-kit.ts'
import { commands } from './commands/table.ts'
import { findCommand } from './parse.ts'

let dir: string
let node: Daemon
/** Commands that were run here. */
const ran = new Set<string>()

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'skein-cli-'))
  node = await daemon(['--dir', join(dir, 'data')])
  ran.add('up')
})

afterAll(async () => {
  await node.stop()
  await rm(dir, { recursive: true, force: true })
})

function run(words: readonly string[], options: RunOptions = {}): Promise<Said> {
  const found = findCommand(words, commands)
  if (found !== undefined) ran.add(found.command.name)
  return skein(words, { cwd: dir, ...options, environment: { SKEIN_NODE: node.ready.http, ...options.environment } })
}

/** The answer for machines, of a command that says yes. */
async function json(words: readonly string[], options: RunOptions = {}): Promise<unknown> {
  const { code, out, err } = await run([...words, '--json'], options)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return JSON.parse(out)
}

async function said(words: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, out, err } = await run(words, options)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return out
}

describe('entries', () => {
  test('a record is set, read, listed, followed and deleted', async () => {
    expect(await said(['set', 'tasks', 't-1', 'status=doing', 'priority=2', 'tag="5"'])).toBe('written\n')
    expect(await said(['set', 'tasks', 't-1', 'status=doing'])).toBe('nothing to change\n')
    expect(await json(['get', 'tasks', 't-1'])).toMatchObject({
      key: 't-1',
      type: 'record',
      value: { status: 'doing', priority: 2, tag: '5' },
      by: { agent: 'operator' },
    })
    await said(['set', 'tasks', 't-1', 'status=done', '--agent', 'agent-7', '--reason', 'über alles'])
    await said(['set', 'tasks', 't-2', 'status=todo'])
    expect(await said(['ls', 'tasks', 't-'])).toBe(
      't-1\trecord\t{"tag":"5","status":"done","priority":2}\nt-2\trecord\t{"status":"todo"}\n',
    )
    expect(await json(['ls', 'tasks', '--where', 'status:todo'])).toMatchObject([{ key: 't-2' }])
    expect(await json(['ls', 'tasks', '--limit', '1'])).toMatchObject([{ key: 't-1' }])
    const history = (await json(['log', 'tasks', 't-1'])) as { agent: string; reason?: string }[]
    expect(history.map(({ agent, reason }) => [agent, reason])).toEqual([
      ['operator', undefined],
      ['agent-7', 'über alles'],
    ])
    expect(await said(['log', 'tasks', 't-1', '--limit', '1'])).toContain('\tstatus = done\tüber alles\n')
    expect(await said(['del', 'tasks', 't-2'])).toBe('deleted\n')
    expect(await run(['get', 'tasks', 't-2'])).toEqual({ code: 1, out: 'tasks has no entry t-2\n', err: '' })
    expect(await run(['del', 'tasks', 't-2'])).toMatchObject({ code: 1, out: 'tasks has no entry t-2\n' })
  })

  test('a register, and a write that is conditional', async () => {
    await said(['set', 'config', 'region', '--value', 'eu-1'])
    const { value, version } = (await json(['get', 'config', 'region'])) as { value: unknown; version: string }
    expect(value).toBe('eu-1')
    await said(['set', 'config', 'region', '--value', 'eu-2', '--if-version', version])
    const late = await run(['set', 'config', 'region', '--value', 'eu-3', '--if-version', version])
    expect(late.code).toBe(1)
    expect(late.err).toMatch(/^version_mismatch: region is at another version\n/)
  })

  test('a counter counts, also down', async () => {
    expect(await said(['incr', 'stats', 'runs', '5'])).toBe('5\n')
    expect(await said(['incr', 'stats', 'runs'])).toBe('6\n')
    expect(await json(['incr', 'stats', 'runs', '-8'])).toMatchObject({ value: -2, durable: true })
  })

  test('a set and a log', async () => {
    await said(['add', 'tasks', 'tags', 'urgent', 'billing'])
    await said(['remove', 'tasks', 'tags', 'urgent'])
    expect(await json(['get', 'tasks', 'tags'])).toMatchObject({ value: ['billing'] })
    await said(['append', 'audit', 'today', '{"did":"refund"}', 'plain'])
    expect(await json(['get', 'audit', 'today'])).toMatchObject({ value: [{ did: 'refund' }, 'plain'] })
  })

  test('a claim is held by one', async () => {
    expect(await json(['claim', 'tasks', 'c', '60s', '--agent', 'agent-7'])).toMatchObject({ fence: 1 })
    const other = await run(['claim', 'tasks', 'c', '60', '--agent', 'agent-8'])
    expect(other.code).toBe(1)
    expect(other.err).toMatch(/^claim_held: c is held by agent-7 for (?:another \d+ s|less than a second)\n/)
    expect(await said(['claim', 'tasks', 'c', '2m', '--fence', '1', '--agent', 'agent-7'])).toMatch(/fence 1\n$/)
    expect(await said(['release', 'tasks', 'c', '1', '--agent', 'agent-7'])).toBe('released\n')
    expect(await json(['claim', 'tasks', 'c', '1s', '--agent', 'agent-8'])).toMatchObject({ fence: 2 })
  })

  test('what was waited for in vain is a no, and says so', async () => {
    const { code, out, err } = await run(['incr', 'stats', 'lonely', '--wait', 'peers:1', '--timeout', '50ms'])
    expect({ code, out }).toEqual({ code: 1, out: '1\n' })
    expect(err).toContain('it is applied here, and goes on by itself')
    expect(await said(['set', 'stats', 'x', 'a=1', '--wait', 'none'])).toContain('not waited for')
  })

  test('keys of any form', async () => {
    for (const key of ['..', '.', 'a/b?c#d', 'ключ', '--', '-x']) {
      await said(['set', '--value', 'x', '--', 'odd', key])
      expect(JSON.parse(await said(['get', '--json', '--', 'odd', key]))).toMatchObject({ key, value: 'x' })
    }
  })

  test('control characters of a value do not steer a terminal', async () => {
    await said(['set', 'tasks', 'evil', 'a=\u001B[2J\u009B'])
    const listed = await said(['ls', 'tasks', 'evil'])
    for (const unit of ['\u001B', '\u009B']) expect(listed).not.toContain(unit)
  })
})

test('watch tells changes as they happen, and goes on from a token', async () => {
  ran.add('watch')
  await said(['set', 'watched', 'first', 'a=1'])
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, '../../bin/skein.js'), 'watch', 'watched', '--json', '--count', '2'],
    {
      env: { ...process.env, SKEIN_NODE: node.ready.http },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  // It says nothing when it begins: changes are made until it has seen two.
  for (let n = 0; child.exitCode === null; n++) await said(['set', 'watched', 'k', `n=${n}`])
  expect(await ended).toBe(0)
  const [one, two] = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { key: string; token: string; kind: string })
  expect([one, two]).toMatchObject([
    { kind: 'change', key: 'k', agent: 'operator' },
    { kind: 'change', key: 'k' },
  ])
  const again = await said(['watch', 'watched', '--since', one?.token ?? '', '--count', '1', '--json'])
  expect(JSON.parse(again)).toMatchObject({ token: two?.token })
  expect(await said(['watch', 'watched', '--since', one?.token ?? '', '--count', '1'])).toMatch(
    / {2}k {2}record, by operator\n$/,
  )
})

describe('the node and its fleet', () => {
  test('status says whether it is well and synced', async () => {
    expect(await json(['status'])).toMatchObject({ node: node.ready.node, state: 'open', peers: [] })
    const text = await said(['status'])
    expect(text).toContain(`node    ${node.ready.node}\n`)
    expect(text).toMatch(/^synced {2}\S/m)
  })

  test('spaces, peers, sync, verify of a node that is alone', async () => {
    await said(['incr', 'alone', 'n'])
    const spaces = (await json(['spaces'])) as { name: string; entries: number }[]
    expect(spaces.find(({ name }) => name === 'alone')).toMatchObject({ entries: 1 })
    expect(await json(['peers'])).toEqual([])
    expect(await json(['peers', 'ls'])).toEqual([])
    expect(await json(['sync'])).toEqual([])
    expect(await json(['verify', 'alone'])).toMatchObject({ equal: true, spaces: [{ space: 'alone', peers: [] }] })
    const nowhere = await run(['verify', 'nowhere'])
    expect(nowhere).toMatchObject({ code: 1 })
    expect(nowhere.err).toMatch(/^not_found: /)
  })

  test('top looks as often as it is told', async () => {
    const looks = (await said(['top', '--count', '2', '--every', '100ms', '--json'])).trim().split('\n')
    expect(looks.map((line) => (JSON.parse(line) as { node: string }).node)).toEqual([node.ready.node, node.ready.node])
    expect(await said(['top', '--count', '1'])).toContain(`node ${node.ready.node}`)
  })
})

test('three nodes under one key: a write is everywhere, and each can say who has it', async () => {
  expect(await said(['key', 'new', 'fleet.key'])).toMatch(/^key [0-9a-f]{8} is in fleet\.key/)
  const key = ['--fleet-key-file', join(dir, 'fleet.key')]
  await using a = await daemon(['--dir', join(dir, 'a'), ...key])
  const join_ = ['--join', a.ready.listen[0] ?? '']
  await using b = await daemon(['--dir', join(dir, 'b'), ...key, ...join_])
  // Partial replication: of what others have it takes this space alone.
  await using c = await daemon(['--dir', join(dir, 'c'), ...key, ...join_, '--spaces', 'tasks,memory-*'])
  const [atA, atB, atC] = [a, b, c].map(({ ready }) => ({ environment: { SKEIN_NODE: ready.http } }))
  const peersOf = async (at: RunOptions = {}): Promise<{ node: string; state: string; linked: boolean }[]> =>
    (await json(['peers'], at)) as { node: string; state: string; linked: boolean }[]
  while ((await peersOf(atA)).filter(({ linked }) => linked).length < 2);

  await said(['set', 'tasks', 't-1', 'status=doing', '--wait', 'peers:2'], atA)
  expect(await json(['get', 'tasks', 't-1'], atC)).toMatchObject({ value: { status: 'doing' } })
  await said(['set', 'private', 'k', 'a=1', '--wait', 'peers:1'], atA)
  expect((await run(['get', 'private', 'k'], atC)).code).toBe(1)

  expect(await json(['sync', 'tasks'], atB)).toMatchObject([
    { outcome: expect.stringMatching(/equal|synced/) as string },
    {},
  ])
  const { equal, spaces } = (await json(['verify', 'tasks'], atB)) as { equal: boolean; spaces: { peers: unknown[] }[] }
  expect(equal).toBe(true)
  expect(spaces[0]?.peers.length).toBe(2)
  expect(((await json(['peers', 'roster'], atB)) as string[]).toSorted()).toEqual(
    [a.ready.node, c.ready.node].toSorted(),
  )

  await c.stop('SIGKILL')
  expect(await said(['peers', 'forget', c.ready.node], atB)).toBe(`${c.ready.node} is forgotten\n`)
  expect(await json(['peers', 'roster'], atB)).toEqual([a.ready.node])
  expect(await json(['peers', 'roster', c.ready.node], atB)).toEqual([a.ready.node, c.ready.node])

  const stranger = await daemon(['--dir', join(dir, 'stranger'), ...join_])
  const words = await said(['status'], { environment: { SKEIN_NODE: stranger.ready.http } })
  expect(words).toContain('nobody else is known')
  await stranger.stop()
})

test('[PU1] a purged value is in no file of three nodes, nor of one that was away and comes back', async () => {
  await said(['key', 'new', 'purge.key'])
  const own = ['--fleet-key-file', join(dir, 'purge.key'), '--durability', 'os']
  const start = (name: string, ...more: string[]): Promise<Daemon> =>
    daemon(['--dir', join(dir, name), ...own, ...more])
  await using a = await start('p1')
  const join_ = ['--join', a.ready.listen[0] ?? '']
  await using b = await start('p2', ...join_)
  await using c = await start('p3', ...join_)
  const away = await start('p4', ...join_)
  const [atA, atB] = [a, b].map(({ ready }) => ({ environment: { SKEIN_NODE: ready.http } }))
  const secrets = ['hunter-2-horse-battery', 'staple-9-gauge-wire']
  const inFiles = async (name: string): Promise<string[]> => {
    let bytes = ''
    for (const file of await readdir(join(dir, name), { recursive: true, withFileTypes: true })) {
      if (file.isFile()) bytes += await readFile(join(file.parentPath, file.name), 'latin1')
    }
    return [...secrets, 'harmless'].filter((text) => bytes.includes(text))
  }
  while (((await json(['peers'], atA)) as { linked: boolean }[]).filter(({ linked }) => linked).length < 3);
  await said(['set', 'tasks', 't-1', `note=${secrets[0]}`, '--wait', 'peers:3'], atA)
  await said(['set', 'tasks', 't-1', `note=${secrets[1]}`, '--wait', 'peers:3'], atB)
  await said(['set', 'tasks', 't-2', 'note=harmless', '--wait', 'peers:3'], atB)
  for (const name of ['p1', 'p2', 'p3', 'p4']) expect(await inFiles(name), name).toEqual([...secrets, 'harmless'])
  await away.stop()

  const report = (await json(['purge', 'tasks', 't-1', '--reason', 'leaked'], atB)) as Record<string, string[]>
  expect(report['waiting']).toEqual([])
  expect(report['done']?.toSorted()).toEqual([a, b, c].map(({ ready }) => ready.node).toSorted())
  for (const name of ['p1', 'p2', 'p3']) expect(await inFiles(name), name).toEqual(['harmless'])
  expect(await inFiles('p4')).toEqual([...secrets, 'harmless'])

  expect((await run(['get', 'tasks', 't-1'], atA)).code).toBe(1)
  expect(await json(['get', 'tasks', 't-2'], atA)).toMatchObject({ value: { note: 'harmless' } })
  const history = (await json(['log', 'tasks', 't-1'], atA)) as { purged?: true; changes: unknown[]; reason?: string }[]
  expect(history.map(({ purged, changes, reason }) => [purged, changes, reason])).toEqual([
    [true, [], undefined],
    [true, [], undefined],
    [undefined, [], 'leaked'],
  ])
  expect(await said(['log', 'tasks', 't-1'], atA)).toContain('(purged)')

  // Who was away hears of it, and does it; who is new gets nothing of it; and all are proven equal.
  await using back = await start('p4', ...join_)
  await using fresh = await start('p5', ...join_)
  while (((await json(['peers'], atA)) as { linked: boolean }[]).filter(({ linked }) => linked).length < 4);
  const status = async (): Promise<{ done: string[]; waiting: string[] }> =>
    JSON.parse((await run(['purge', 'tasks', 't-1', '--status', '--json'], atA)).out) as {
      done: string[]
      waiting: string[]
    }
  while (!(await status()).done.includes(back.ready.node) || !(await status()).done.includes(fresh.ready.node));
  expect(await inFiles('p4')).toEqual(['harmless'])
  expect(await inFiles('p5')).toEqual(['harmless'])
  expect(await json(['verify', 'tasks'], atB)).toMatchObject({ equal: true })
  expect((await run(['purge', 'nobody', 't-1'], atA)).err).toMatch(/^not_found: /)
}, 120_000)

describe('bench', () => {
  test('a fleet of two is measured through both, and nothing of it stays', async () => {
    await said(['key', 'new', 'bench.key'])
    const own = ['--fleet-key-file', join(dir, 'bench.key')]
    await using a = await daemon(['--dir', join(dir, 'b1'), ...own])
    await using b = await daemon(['--dir', join(dir, 'b2'), ...own, '--join', a.ready.listen[0] ?? ''])
    const atA = { environment: { SKEIN_NODE: a.ready.http } }
    while (!((await json(['peers'], atA)) as { linked: boolean }[]).some(({ linked }) => linked));
    const nodes = ['--node', a.ready.http, '--node', b.ready.http]
    const words = ['bench', ...nodes, '--rate', '200', '--duration', '2s', '--size', '300', '--html', 'bench.html']
    interface Report {
      readonly writes: { readonly due: number; readonly answered: number; readonly failed: number }
      readonly series: { until: string; all: { count: number; p50: number; max: number } }[]
      readonly cleaned: boolean
    }
    for (const round of [1, 2]) {
      await rm(join(dir, 'bench.html'), { force: true })
      const report = (await json(words)) as Report
      expect(report, `round ${round}`).toMatchObject({ writes: { due: 400, answered: 400, failed: 0 }, cleaned: true })
      const counts = Object.fromEntries(report.series.map(({ until, all }) => [until, all.count]))
      expect(counts[`durable at ${a.ready.http}`]).toBe(400)
      expect(counts[`seen through ${b.ready.http}`]).toBe(400)
      expect(counts['on the disks of all living members (some writes)']).toBeGreaterThan(0)
      // What was due at once was not all done at once: every time is one, from the moment at which it was due.
      for (const { all } of report.series) expect(all.max >= all.p50 && all.p50 > 0).toBe(true)
    }
    const html = await readFile(join(dir, 'bench.html'), 'utf8')
    expect(html).toContain(`seen through ${b.ready.http}`)
    expect(html).toContain('<polyline')
    expect(html).not.toMatch(/(?:src|href)=/)
    for (const { ready } of [a, b]) {
      const at = { environment: { SKEIN_NODE: ready.http } }
      const left = async (): Promise<unknown> =>
        ((await json(['spaces'], at)) as { name: string; entries: number }[]).find(({ name }) => name === 'skein-bench')
          ?.entries
      while ((await left()) !== 0);
    }
    expect((await run(words)).code).not.toBe(0)
    const alone = await run(['bench', '--rate', '20', '--duration', '300ms'], atA)
    expect(alone.out).toMatch(/^durable at/)
    expect(alone.err).toContain('6 writes were due, 6 were answered')
  }, 60_000)

  test('a node that stands still is charged for all that was due meanwhile', async () => {
    await using still = await daemon(['--dir', join(dir, 'b3')])
    const measured = run(['bench', '--rate', '100', '--duration', '2s', '--json'], {
      environment: { SKEIN_NODE: still.ready.http },
    })
    const at = { environment: { SKEIN_NODE: still.ready.http } }
    while (!((await json(['spaces'], at)) as { entries: number }[]).some(({ entries }) => entries > 5));
    still.child.kill('SIGSTOP')
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    still.child.kill('SIGCONT')
    const report = JSON.parse((await measured).out) as {
      writes: { due: number }
      series: { all: { p90: number; count: number } }[]
    }
    expect(report.writes).toMatchObject({ due: 200, answered: 200 })
    expect(report.series[0]?.all.p90).toBeGreaterThan(300)
  }, 60_000)

  test('Ctrl-C ends it in order, with a report, and nothing stays; what cannot be measured is said', async () => {
    const door = join(import.meta.dirname, '..', '..', 'bin', 'skein.js')
    const child = spawn(process.execPath, [door, 'bench', '--node', node.ready.http, '--duration', '60s', '--json'])
    let out = ''
    child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()))
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    const entries = async (): Promise<number> =>
      ((await json(['spaces'])) as { name: string; entries: number }[]).find(({ name }) => name === 'skein-bench')
        ?.entries ?? 0
    while ((await entries()) < 5);
    // A second run does not end what the first writes.
    expect((await run(['bench', '--duration', '1s'])).err).toMatch(/^busy: /)
    child.kill('SIGINT')
    expect(await ended).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ stopped: true, cleaned: true })
    expect(await entries()).toBe(0)
    for (const wrong of [
      ['--rate', '0'],
      ['--size', '1000000'],
      ['--duration', '1h'],
      ['--rate', '20000', '--size', '60000'],
      ['--node', node.ready.http, '--node', node.ready.http],
    ]) {
      expect((await run(['bench', ...wrong])).code, wrong.join(' ')).toBe(2)
    }
    expect((await run(['bench', '--node', 'http://127.0.0.1:9'])).code).toBe(3)
  }, 60_000)
})

test('the fleet key is changed in three steps, and never half', async () => {
  await said(['key', 'new', 'old.key'])
  const before = await readFile(join(dir, 'old.key'), 'utf8')
  expect((await run(['key', 'new', 'old.key'])).err).toMatch(/^target_exists: /)
  expect((await run(['key', 'rotate', 'old.key', '--step', 'use'])).code).toBe(2)
  await said(['key', 'rotate', 'old.key', '--step', 'stage'])
  const [inUse, staged] = (await readFile(join(dir, 'old.key'), 'utf8')).split('\n')
  expect(`${inUse}\n`).toBe(before)
  await said(['key', 'rotate', 'old.key', '--step', 'use'])
  expect(await readFile(join(dir, 'old.key'), 'utf8')).toBe(`${staged}\n${inUse}\n`)
  // Between the steps nodes with either file take each other.
  await writeFile(join(dir, 'staged.key'), `${inUse}\n${staged}\n`, { mode: 0o600 })
  await using a = await daemon(['--dir', join(dir, 'r1'), '--fleet-key-file', join(dir, 'staged.key')])
  await using b = await daemon([
    '--dir',
    join(dir, 'r2'),
    '--fleet-key-file',
    join(dir, 'old.key'),
    '--join',
    a.ready.listen[0] ?? '',
  ])
  await said(['incr', 's', 'n'], { environment: { SKEIN_NODE: b.ready.http } })
  while ((await run(['get', 's', 'n'], { environment: { SKEIN_NODE: a.ready.http } })).code !== 0);
  await said(['key', 'rotate', 'old.key', '--step', 'finish'])
  expect(await readFile(join(dir, 'old.key'), 'utf8')).toBe(`${staged}\n`)
  expect((await stat(join(dir, 'old.key'))).mode & 0o077).toBe(0)
})

test('[M9] rules are declared, and what they raise is listed, shown, handled and decided', async () => {
  await writeFile(
    join(dir, 'rules.json'),
    '[{ "rule": "field", "prefix": "t-" }, { "rule": "effect", "prefix": "refund-", "receipt": "receipt" }]',
  )
  await using a = await daemon(['--dir', join(dir, 'left')])
  const at: RunOptions = { environment: { SKEIN_NODE: a.ready.http } }
  expect(await said(['spaces', 'rules', 'orders', 'rules.json'], at)).toBe('2 rules of version 1 in orders\n')
  expect(await said(['spaces', 'rules', 'orders'], at)).toMatch(/^field\tfield\tt-\tmedium\tkeep-last\tagent\t\{\}\n/)
  const again = await run(['spaces', 'rules', 'orders', '-', '--version', '1'], { ...at, input: '[]' })
  expect(again).toMatchObject({ code: 1 })
  expect(again.err).toMatch(/^rules_superseded: /)
  expect((await run(['spaces', 'rules', 'orders', '-'], { ...at, input: '{' })).code).toBe(2)
  expect(await json(['conflicts'], at)).toEqual([])
  await said(['set', 'orders', 'refund-9', 'amount=30', 'receipt=re_1', '--agent', 'ada', '--reason', 'box broken'], at)
  await said(['set', 'orders', 't-1', 'status=todo'], at)
  const other = await daemon(['--dir', join(dir, 'right')])
  const apart = { environment: { SKEIN_NODE: other.ready.http } }
  await said(['set', 'orders', 'refund-9', 'amount=40', 'receipt=re_2', '--agent', 'bob'], apart)
  await said(['set', 'orders', 't-1', 'status=done'], apart)
  await other.stop()
  await using b = await daemon(['--dir', join(dir, 'right'), '--join', a.ready.listen[0] ?? ''])
  expect(b.ready.node).toBe(other.ready.node)
  let listed: { id: string; rule: string; revision: string }[] = []
  while (listed.length < 2) listed = (await json(['conflicts', 'ls', 'orders'], at)) as typeof listed
  const rows = (await said(['conflicts', 'ls'], at)).split('\n').map((line) => line.split('\t'))
  // The worst first.
  expect(rows.slice(0, 2).map(([, severity, space, keys, rule, who]) => [severity, space, keys, rule, who])).toEqual([
    ['critical', 'orders', 'refund-9', 'effect', 'ada, bob'],
    ['medium', 'orders', 't-1', 'field', 'operator'],
  ])
  expect(await json(['conflicts', 'ls', '--rule', 'none'], at)).toEqual([])
  expect(await json(['conflicts', 'ls', '--prefix', 't-', '--limit', '1'], at)).toHaveLength(1)
  expect(await json(['conflicts', 'ls', '--overdue'], at)).toEqual([])

  const { id, revision } = listed.find(({ rule }) => rule === 'effect') as (typeof listed)[number]
  expect(await said(['get', 'orders', 'refund-9'], at)).toMatch(
    new RegExp(`^in conflict: \\S+ conflicts show ${id.slice(0, 8)}$`, 'm'),
  )
  const screen = await said(['conflicts', 'show', id.slice(0, 8)], at)
  for (const words of [
    `conflict ${id.slice(0, 8)}, critical, open, due in`,
    'ada and bob acted on refund-9 without knowing of one another: two receipts stand\nunder one idempotency key.\n',
    /^who {9}ada +bob$/m,
    /^why {9}box broken +it did not say$/m,
    /^had seen {4}nothing of the others +nothing of the others$/m,
    /^amount {6}30 +40$/m,
    /^receipt {5}re_1 +re_2$/m,
    /^twice\? {6}each side may have acted on the world outside/m,
    /^next {8}Ask the provider what really happened/m,
    /ada +is \[1\] +.*receipt = re_1/,
    `conflicts resolve ${id.slice(0, 8)} --revision ${revision.slice(0, 8)} --pick 1`,
  ]) {
    if (typeof words === 'string') expect(screen).toContain(words)
    else expect(screen).toMatch(words)
  }
  // A value cannot be written where it is about none.
  expect(screen).not.toContain('--value')
  const shown = (await json(['conflicts', 'show', id], at)) as { history: unknown[] }
  expect(shown).toMatchObject({ id, duplicateRisk: 'high', takesValue: false, branches: [{}, {}] })
  expect(shown.history).toHaveLength(2)

  expect(await said(['conflicts', 'ack', id, '--agent', 'eve'], at)).toMatch(/ is acknowledged, due in/)
  expect(await said(['conflicts', 'ack', id, '--agent', 'eve'], at)).toBe('it was so before\n')
  expect(await said(['conflicts', 'assign', id, 'eve'], at)).toMatch(/ is assigned, with eve, due in/)
  expect(await said(['conflicts', 'snooze', id, '4h'], at)).toMatch(/ is put off for 3 h, due in 3 h\n$/)
  expect(await said(['conflicts', 'snooze', id, '0'], at)).toMatch(/ is assigned, /)
  const choice = ['--revision', revision.slice(0, 6), '--compensate', 'take re_2 back']
  await said(['conflicts', 'propose', id, ...choice, '--confidence', '0.75', '--agent', 'model'], at)
  const proposed = /^proposed {4}something is undone outside: take re_2 back, by model, 75 % sure$/m
  expect(await said(['conflicts', 'show', id], at)).toMatch(proposed)

  const resolve = (...words: readonly string[]): Promise<Said> => run(['conflicts', 'resolve', id, ...words], at)
  expect(await resolve()).toMatchObject({ code: 2 })
  expect((await resolve('--pick', '1')).err).toMatch(/^--revision says what was looked at/)
  expect((await resolve('--pick', '3', '--revision', revision)).err).toMatch(/^--pick is a side from 1 to 2/)
  expect((await resolve('--pick', '1', '--dismiss', '--revision', revision)).code).toBe(2)
  expect((await resolve('--pick', '1', '--revision', 'ffff')).err).toMatch(/^conflict_changed: /)
  expect((await resolve('--value', '5', '--revision', revision)).err).toMatch(/^invalid_argument: /)
  expect(await said(['conflicts', 'resolve', id, ...choice, '--reason', 'asked', '--wait', 'peers:1'], at)).toBe(
    'decided: something is undone outside: take re_2 back\n',
  )
  expect((await resolve('--keep-both', '--revision', revision)).err).toMatch(/^conflict_settled: /)
  expect(await said(['conflicts', 'show', id], at)).toMatch(
    /^decided {5}something is undone outside: .*, by operator,/m,
  )
  const field = listed.find(({ rule }) => rule === 'field') as (typeof listed)[number]
  const write = ['--revision', field.revision, '--value', 'doing']
  expect(await json(['conflicts', 'resolve', field.id, ...write], at)).toMatchObject({ conflict: { state: 'settled' } })
  expect(await json(['get', 'orders', 't-1'], at)).toMatchObject({ value: { status: 'doing' } })
  expect((await json(['conflicts', 'ls', '--state', 'all'], at)) as unknown[]).toHaveLength(2)
  const audit = (await said(['log', '--audit', 'orders'], at)).trim().split('\n')
  const facts = audit.map((line) => line.split('\t')).filter(([, , , , conflict]) => conflict === id.slice(0, 8))
  expect(facts.map(([, , what, , , , agent]) => [what, agent]).slice(-2)).toEqual([
    ['proposed', 'model'],
    ['settled', 'operator'],
  ])
  expect(await said(['verify', '--audit'], at)).toMatch(/^\d+ lines from line 1 on, none changed, left out or put in; /)
  expect(await json(['verify', '--audit'], at)).toMatchObject({ isIntact: true, lines: audit.length })
  expect((await run(['log', 'orders'], at)).err).toMatch(/^KEY is missing/)
  expect((await run(['log', '--audit', 'orders', 'k'], at)).code).toBe(2)
  expect((await run(['verify', '--audit', 'orders'], at)).code).toBe(2)
  expect((await run(['conflicts', 'show', 'ffff'], at)).err).toMatch(
    /^unknown_conflict: no conflict begins with ffff\n/,
  )
  expect((await run(['conflicts', 'show', 'xyz'], at)).code).toBe(2)
})

describe('files', () => {
  test('a backup is whole, is not written over, and is restored', async () => {
    await said(['set', 'kept', 'k', 'a=1'])
    expect(await json(['backup', 'one.skein'])).toMatchObject({ file: 'one.skein' })
    expect((await stat(join(dir, 'one.skein'))).mode & 0o077).toBe(0)
    expect((await run(['backup', 'one.skein'])).err).toMatch(/^target_exists: /)
    expect(await json(['restore', 'one.skein', '--dir', 'restored'])).toMatchObject({ dir: 'restored' })
    const examined = (await json(['doctor', '--dir', 'restored'])) as { well: boolean; findings: { what: string }[] }
    expect(examined.well).toBe(true)
    expect(examined.findings.map(({ what }) => what)).toContain('space kept')
    await writeFile(join(dir, 'bad.skein'), (await readFile(join(dir, 'one.skein'))).subarray(0, -1))
    expect(await run(['restore', 'bad.skein', '--dir', 'never'])).toMatchObject({ code: 1 })
    await expect(stat(join(dir, 'never'))).rejects.toThrow()
  })

  test('lines go out and come in again, and what cannot is said', async () => {
    const space = 'carried'
    await said(['set', space, 'r', 'a=1', 'b={"c":[1]}'])
    await said(['set', space, 'x', '--value', '[1,null]'])
    await said(['incr', space, 'n', '7'])
    await said(['add', space, 's', 'one', 'two'])
    await said(['append', space, 'l', 'first', 'second'])
    await said(['claim', space, 'c', '60s'])
    const lines = await said(['export', '--space', space])
    expect(lines.trim().split('\n').length).toBe(6)
    await said(['export', 'lines.jsonl', '--space', space])
    expect(await readFile(join(dir, 'lines.jsonl'), 'utf8')).toBe(lines)
    expect((await run(['export', 'lines.jsonl'])).code).toBe(2)
    const imported = await run(['import', 'lines.jsonl', '--space', 'copied'])
    expect(imported).toMatchObject({ code: 1, out: '5 entries written\n', err: 'left out: 1 entry of type claim\n' })
    const copied = await said(['export', '--space', 'copied'])
    expect(copied.replaceAll('"copied"', '"carried"')).toBe(lines.replace(/^.*"type":"claim".*\n/m, ''))
    const broken = await run(['import'], {
      input: '{"space":"copied","key":"k","type":"counter","value":1}\nnot json\n',
    })
    expect(broken).toMatchObject({ code: 1 })
    expect(broken.err).toMatch(/^malformed: line 2 is not JSON\n/)
  })

  test('the doctor says who has the directory open, finds what is damaged, and moves it aside only when told', async () => {
    const open = await run(['doctor', '--dir', 'data'])
    expect(open).toMatchObject({ code: 3 })
    expect(open.err).toContain(`process ${node.child.pid} has it open`)
    const victim = join(dir, 'victim')
    {
      await using other = await daemon(['--dir', victim])
      const at = { environment: { SKEIN_NODE: other.ready.http } }
      await run(['set', 's', 'k', `a=${'x'.repeat(5000)}`], at)
      await other.stop('SIGKILL')
    }
    // A killed process leaves its note, and nothing that is not repaired by opening.
    const killed = (await json(['doctor', '--dir', 'victim'])) as { findings: { what: string; verdict: string }[] }
    expect(killed.findings).toContainEqual(expect.objectContaining({ what: 'note', verdict: 'repaired' }))
    await writeFile(join(victim, 'format'), 'skein?')
    const damaged = await run(['doctor', '--dir', 'victim', '--json'])
    expect(damaged.code).toBe(1)
    expect(JSON.parse(damaged.out)).toMatchObject({
      well: false,
      findings: [{ what: 'directory', verdict: 'damaged' }],
    })
    expect(await said(['doctor', '--dir', 'victim', '--set-aside'])).toMatch(/^opening\trepaired\t.*victim\.damaged-/)
    expect((await run(['doctor', '--dir', 'nowhere'])).code).toBe(3)
  })
})

describe('keys and settings', () => {
  test('with a token made, a request needs one; the own socket does not', async () => {
    await using other = await daemon(['--dir', join(dir, 'guarded')])
    const at = (more: Readonly<Record<string, string>> = {}): RunOptions => ({
      environment: { SKEIN_NODE: other.ready.http, ...more },
    })
    await said(['set', 'tasks', 't', 'a=1'], at())
    const made = (await json([
      'key',
      'agent',
      'new',
      'agent-7',
      '--dir',
      'guarded',
      '--grant',
      'read,write:tasks',
      '--expires',
      '1d',
    ])) as {
      id: string
      token: string
    }
    const listed = await said(['key', 'agent', 'list', '--dir', 'guarded'])
    expect(listed).toContain(`${made.id}\tagent-7\tread,write:tasks\t`)
    expect(listed).not.toContain(made.token)
    // The node looks at the file about every second.
    let refused: Said
    do refused = await run(['get', 'tasks', 't'], at())
    while (refused.code === 0)
    expect(refused.err).toMatch(/^unauthenticated: /)
    const withToken = at({ SKEIN_TOKEN: made.token })
    await said(['set', 'tasks', 't', 'a=2'], withToken)
    expect(await json(['get', 'tasks', 't'], withToken)).toMatchObject({ by: { agent: 'agent-7' } })
    expect((await run(['set', 'other', 't', 'a=2'], withToken)).err).toMatch(/^forbidden: /)
    await said(['status'], at({ SKEIN_NODE: `unix:${other.ready.socket}` }))
    expect(await said(['key', 'agent', 'revoke', made.id, '--dir', 'guarded'])).toBe(`${made.id} is revoked\n`)
    expect((await run(['key', 'agent', 'revoke', made.id, '--dir', 'guarded'])).code).toBe(1)
  })

  test('a node that serves other hosts asks for tokens from its first start, and leaves the operator his', async () => {
    const place = join(dir, 'served')
    await using other = await daemon(['--dir', place, '--http', '0.0.0.0:0'])
    const at = { SKEIN_NODE: `http://127.0.0.1:${new URL(other.ready.http).port}` }
    expect((await run(['status'], { environment: at })).err).toMatch(/^unauthenticated: /)
    const file = join(place, 'operator.token')
    expect((await stat(file)).mode & 0o077).toBe(0)
    const token = (await readFile(file, 'utf8')).trim()
    expect(await json(['status'], { environment: { ...at, SKEIN_TOKEN: token } })).toMatchObject({ state: 'open' })
    expect(other.log()).not.toContain(token)
    await run(['backup', 'served.skein'], { environment: { ...at, SKEIN_TOKEN: token } })
    expect((await stat(join(dir, 'served.skein'))).size).toBeGreaterThan(0)
  })

  test('config check tells every setting with its source, and what is wrong', async () => {
    await writeFile(join(dir, 'skein.json'), '{ "zone": "a", "keepMs": "2d", "tsl": 1 }')
    const { code, out } = await run(['config', 'check', '--config', 'skein.json', '--listen', '0.0.0.0:1', '--json'], {
      environment: { SKEIN_ZONE: 'b' },
    })
    expect(code).toBe(1)
    const { settings, mistakes } = JSON.parse(out) as { settings: unknown[]; mistakes: { what: string }[] }
    expect(settings).toContainEqual({ name: 'zone', value: 'b', source: 'SKEIN_ZONE' })
    expect(settings).toContainEqual({ name: 'keepMs', value: '2d', source: 'skein.json: keepMs' })
    expect(mistakes.map(({ what }) => what)).toEqual([
      expect.stringMatching(/^no setting is called tsl/),
      expect.stringMatching(/without a fleet key/),
    ])
    expect(await said(['config', 'check'])).toContain('durability\tdisk\tdefault\n')
  })

  test('completion scripts ask for words, and get them', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      expect(await said(['completion', shell])).toContain('skein completion words')
    }
    expect(await said(['completion', 'words', '--', 'key', 'agent', ''])).toBe('list\nnew\nrevoke\n')
    expect((await run(['completion', 'tcsh'])).code).toBe(2)
  })
})

describe('what goes wrong', () => {
  const wrong: readonly [words: string, finding: RegExp][] = [
    ['stauts', /there is no command stauts\. Did you mean status\?/],
    ['key agent nwe x', /there is no `key agent nwe`\. Did you mean new\?/],
    ['key agent', /key agent needs one more word/],
    ['ls tasks --wehre a:b', /there is no option --wehre here\. Did you mean --where\?/],
    ['get tasks', /KEY is missing\nusage: skein get SPACE KEY/],
    ['get tasks a b', /b is one argument too many/],
    ['incr stats runs many', /BY is a whole number, not many/],
    ['set tasks t', /give fields as FIELD=VALUE, or one --value/],
    ['set tasks t plain', /plain is not FIELD=VALUE/],
    ['ls tasks --limit', /--limit needs a value/],
    ['ls tasks -x', /options begin with --/],
    ['claim tasks c soon', /soon is not a number/],
    ['up --durability fast', /fast is not one of memory, os, disk/],
    ['status --node ftp://x', /ftp:\/\/x is no address of a node/],
  ]

  test.concurrent.each(wrong)('`%s` is a wrong usage', async (words, finding) => {
    const { code, out, err } = await run(words.split(' '))
    expect(err).toMatch(finding)
    expect({ code, out }).toEqual({ code: 2, out: '' })
  })

  test('a node that is not there is out of reach, and the words say how to start one', async () => {
    const { code, err } = await run(['status', '--node', 'http://127.0.0.1:1'])
    expect(code).toBe(3)
    expect(err).toMatch(/nobody listens there\nStart one with `.*skein\.js up`/)
    const machine = await run(['status', '--node', 'http://127.0.0.1:1', '--json'])
    expect(JSON.parse(machine.out)).toMatchObject({ code: 'unreachable' })
  })

  test('a directory in use names its process, an address in use says what to do', async () => {
    const locked = await run(['up', '--dir', 'data', '--http', '127.0.0.1:0', '--listen', '127.0.0.1:0'])
    expect(locked.code).toBe(3)
    expect(locked.err).toContain(`is open in process ${node.child.pid}`)
    const port = new URL(node.ready.http).port
    const taken = await run(['up', '--dir', 'second', '--http', `127.0.0.1:${port}`, '--listen', '127.0.0.1:0'])
    expect(taken.code).toBe(3)
    expect(taken.err).toMatch(/is in use by another program\n/)
  })
})

describe('up', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s loses nothing that was written, and ends in order', async (signal) => {
    const place = join(dir, `stopped-${signal}`)
    {
      await using one = await daemon(['--dir', place])
      // Not waited for: it may be on its way to the disk when the signal comes.
      await run(['incr', 's', 'n', '3', '--wait', 'none'], { environment: { SKEIN_NODE: one.ready.http } })
      expect(await one.stop(signal)).toBe(0)
    }
    await using again = await daemon(['--dir', place])
    const read = await json(['get', 's', 'n'], { environment: { SKEIN_NODE: again.ready.http } })
    expect(read).toMatchObject({ value: 3 })
    expect(again.log()).not.toContain('did not end in order')
  })

  test('two signals at once, as a group of processes gets them, are one request to stop in order', async () => {
    const place = join(dir, 'hurried')
    {
      await using one = await daemon(['--dir', place])
      await run(['incr', 's', 'n', '3', '--wait', 'none'], { environment: { SKEIN_NODE: one.ready.http } })
      one.child.kill('SIGINT')
      one.child.kill('SIGTERM')
      expect(await one.ended).toBe(0)
      expect(one.log()).not.toContain('ended at once')
    }
    await using again = await daemon(['--dir', place])
    expect(await json(['get', 's', 'n'], { environment: { SKEIN_NODE: again.ready.http } })).toMatchObject({ value: 3 })
  })

  test('watchers are told of a stop, and a stop does not wait for them', async () => {
    await using one = await daemon(['--dir', join(dir, 'watched')])
    await run(['incr', 's', 'n'], { environment: { SKEIN_NODE: one.ready.http } })
    const response = await fetch(`${one.ready.http}/v1/watch?space=s`)
    expect(await one.stop()).toBe(0)
    expect(await response.text()).toContain('event: end\n')
  })

  test('a node without HTTP and without peers stays up until it is told to stop', async () => {
    await using one = await daemon(['--dir', join(dir, 'mute'), '--http', 'none', '--listen', 'none'])
    expect(one.ready.http).toBeUndefined()
    expect(await one.stop()).toBe(0)
  })

  test('it tells where it listens, and where others are told to dial it', async () => {
    await using plain = await daemon(['--dir', join(dir, 'at1')])
    expect(plain.ready.listen).toEqual(plain.ready.advertise)
    await using told = await daemon(['--dir', join(dir, 'at2'), '--advertise', 'ws://127.0.0.1:5999'])
    expect(told.ready.advertise).toEqual(['ws://127.0.0.1:5999'])
    expect(told.ready.listen).toEqual([expect.stringMatching(/^ws:\/\/127\.0\.0\.1:[1-9]\d+$/)])
    expect(told.ready.listen).not.toEqual(told.ready.advertise)
    // One who dials where it really listens is linked.
    await using other = await daemon(['--dir', join(dir, 'at3'), '--join', told.ready.listen[0] ?? ''])
    const at = { environment: { SKEIN_NODE: other.ready.http } }
    while (!((await json(['peers'], at)) as { linked: boolean }[]).some(({ linked }) => linked));
    expect(await json(['status'], { environment: { SKEIN_NODE: told.ready.http } })).toMatchObject({
      addresses: told.ready.advertise,
      listening: told.ready.listen,
    })
    await using libp2p = await daemon([
      '--dir',
      join(dir, 'at4'),
      '--transport',
      'libp2p',
      '--advertise',
      '/ip4/127.0.0.1/tcp/5999',
    ])
    expect(libp2p.ready.advertise).toEqual(['/ip4/127.0.0.1/tcp/5999'])
    expect(libp2p.ready.listen).toEqual([expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/[1-9]\d+$/)])
  })

  test('HTTP over TLS: who trusts the certificate is answered, over requests and the stream, and nobody in the clear', async () => {
    const issuer = authority('a test')
    const { cert, key } = certificateOf(issuer, 'a node')
    await writeFile(join(dir, 'ca.pem'), issuer.cert)
    await writeFile(join(dir, 'http.pem'), cert)
    await writeFile(join(dir, 'http.key'), key, { mode: 0o600 })
    const tls = ['--http-cert', join(dir, 'http.pem'), '--http-key', join(dir, 'http.key')]
    await using secure = await daemon(['--dir', join(dir, 'tls'), ...tls])
    expect(secure.ready.http).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
    const trusting = { environment: { SKEIN_NODE: secure.ready.http, NODE_EXTRA_CA_CERTS: join(dir, 'ca.pem') } }
    expect(await json(['status'], trusting)).toMatchObject({ node: secure.ready.node })
    expect(await json(['bench', '--rate', '50', '--duration', '200ms'], trusting)).toMatchObject({
      writes: { due: 10, answered: 10 },
    })
    expect((await run(['status'], { environment: { SKEIN_NODE: secure.ready.http } })).code).toBe(3)
    expect(
      (await run(['status'], { environment: { SKEIN_NODE: secure.ready.http.replace('https', 'http') } })).code,
    ).toBe(3)
    expect(await json(['status'], { environment: { SKEIN_NODE: `unix:${secure.ready.socket}` } })).toMatchObject({
      node: secure.ready.node,
    })
    for (const wrong of [tls.slice(0, 2), tls.slice(2), ['--http-cert', join(dir, 'nowhere'), ...tls.slice(2)]]) {
      expect((await skein(['up', '--dir', join(dir, 'wrong'), ...wrong], { cwd: dir })).code, wrong.join(' ')).toBe(2)
    }
    const broken = await skein([
      'up',
      '--dir',
      join(dir, 'wrong'),
      '--http',
      '127.0.0.1:0',
      '--listen',
      'none',
      '--http-cert',
      join(dir, 'ca.pem'),
      ...tls.slice(2),
    ])
    expect(broken.err).toContain('the certificate or the key of HTTP cannot be used')
  }, 60_000)

  test('metrics tell of the node', async () => {
    const text = await (await fetch(`${node.ready.http}/metrics`)).text()
    expect(text).toMatch(/^skein_entries \d+$/m)
    expect(text).toMatch(/^skein_store_refusing 0$/m)
  })
})

describe('demo', () => {
  /** Node keeps compiled code there too. */
  async function left(place: string): Promise<string[]> {
    return (await readdir(place)).filter((name) => name.startsWith('skein-'))
  }

  test('it plays to its end without a terminal, and leaves nothing behind', async () => {
    const place = join(dir, 'stage')
    await mkdir(place)
    const { code, out, err } = await run(['demo', '--fast'], { environment: { TMPDIR: place } })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toContain('cyd at cairo  budget tokens: spend 50  refused: 50 were asked and 0 are available')
    expect(out).toMatch(/^ {3}oslo sees: t-1 .*"priority":"high".*, runs 5$/m)
    expect(out).toMatch(/^ {3}plan {4}"ship on Monday" is shown; kept beside it, to look at: ship on Friday \(bob\)$/m)
    expect(out).toMatch(/^ {3}equal$/m)
    expect(out).not.toContain('NOT AS IT MUST BE')
    expect(await left(place)).toEqual([])
  })

  test('two agents refund one order: raised once, shown, refused to one and decided by another, on record', async () => {
    const place = join(dir, 'conflict-stage')
    await mkdir(place)
    const { code, out, err } = await run(['demo', 'conflicts', '--fast'], { environment: { TMPDIR: place } })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).not.toContain('NOT AS IT MUST BE')
    for (const line of [
      /^ {3}one conflict, raised once, under one id on all three nodes: [0-9a-f]{8}$/m,
      /^ {3}\| ada and cyd acted on refund-9 without knowing of one another: two receipts$/m,
      /^ {3}\| receipt {5}re_51 +re_77$/m,
      /^ {3}\| twice\? +each side may have acted on the world outside/m,
      /^ {3}\| .* known to all +order = 9, amount = 30, status = asked$/m,
      /^ {3}cyd at cairo +refund-9: status = closed +refused: /m,
      /^ {3}cyd at cairo +keep both +refused: /m,
      /^ {3}eve at lima +take re_77 back, since the bank shows both payments$/m,
      /^ {3} +\d+ +settled +eve: the bank shows both payments +[0-9a-f]{12}$/m,
      /^ {3}\d+ lines, none changed, left out or put in$/m,
      /^ {3}and all three nodes are equal, proven by their roots$/m,
    ]) {
      expect(out).toMatch(line)
    }
    expect(await left(place)).toEqual([])
    const told = (await json(['demo', 'conflicts', '--fast'])) as { id: string }
    expect(told).toMatchObject({ well: true, conflict: { state: 'settled', id: told.id } })
  })

  test('a signal ends it in order, and for machines it is one answer', async () => {
    const place = join(dir, 'stopped-stage')
    await mkdir(place)
    const child = spawn(process.execPath, [join(import.meta.dirname, '../../bin/skein.js'), 'demo', '--json'], {
      env: { ...process.env, TMPDIR: place },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let out = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
    // Its directory is there, so what follows is in order or nothing was begun.
    while ((await left(place)).length === 0) expect(child.exitCode).toBe(null)
    child.kill('SIGINT')
    expect(await ended).toBe(1)
    expect(JSON.parse(out)).toEqual({ stopped: true })
    expect(await left(place)).toEqual([])
  })
})

test('help of every command has an example, and names all of its options', async () => {
  const all = await said(['--help'])
  for (const { name } of commands) expect(all).toContain(`\n  ${name}`)
  for (const words of [
    ['claim', '--help'],
    ['help', 'claim'],
    ['claim', '-h'],
  ]) {
    const help = await said(words)
    expect(help).toMatch(/Examples:\n {2}\S*bin\/skein\.js claim tasks t-42-claim/)
    expect(help).toContain('--fence FENCE')
  }
})

test('every command was run', () => {
  expect(commands.map(({ name }) => name).filter((name) => !ran.has(name))).toEqual([])
})
