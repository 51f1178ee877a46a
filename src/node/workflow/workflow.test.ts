/** What nodes do outside about conflicts, with real receivers: HTTP servers and programs on this host. */
import { createHmac } from 'node:crypto'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openMemoryStore } from '../../store/memory.ts'
import { openWsTransport } from '../../transport/ws.ts'
import { meetingOver, until } from '../conflicts.test-kit.ts'
import { defineSpace } from '../define-space.ts'
import { isPublic } from './address.ts'
import { Broken, Caller, usualBounds } from './caller.ts'
import type { CallBounds } from './caller.ts'
import type { Endpoints, NoticeBody } from './driver.ts'
import { Refused, callEndpoint } from './endpoint.ts'
import type { Endpoint } from './endpoint.ts'
import { endpointsOf } from './options.ts'

const { clash } = meetingOver({
  store: openMemoryStore,
  transport: () => openWsTransport({ listen: ['ws://127.0.0.1:0'] }),
})

const quick: CallBounds = { ...usualBounds, timeoutMs: 2_000, backoffMs: 1, backoffMostMs: 5, attempts: 4 }

interface Heard {
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly body: NoticeBody
}

/** A receiver that says each time what `answer` makes of it. */
async function receiver(answer: (response: ServerResponse, count: number) => void): Promise<[string, Heard[], Server]> {
  const heard: Heard[] = []
  const server = createServer((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      const text = Buffer.concat(pieces).toString()
      heard.push({ headers: request.headers, text, body: JSON.parse(text) as NoticeBody })
      answer(response, heard.length)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return [`http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, heard, server]
}

function ok(response: ServerResponse): void {
  response.end('{"ok":true}')
}

async function calling(endpoint: Endpoint, bounds: CallBounds = quick): Promise<unknown> {
  return new Caller(endpoint, bounds, Date.now).call('key-1', { hello: 1 }, new AbortController().signal)
}

test('[M24] a webhook is told once by three nodes, signed, with all that somebody needs to decide', async () => {
  const [url, heard] = await receiver(ok)
  const secret = 'sixteen characters'
  const workflow = endpointsOf({ targets: [{ name: 'team', url, secret, allowPrivate: true }] })
  const [left, right, { id }] = await clash(workflow)
  await until(() => left.conflicts.get(id)?.notices.find(({ state }) => state === 'done'))
  await until(() => right.conflicts.get(id)?.notices.find(({ state }) => state === 'done'))
  expect(heard).toHaveLength(1)
  const [{ headers, text, body }] = heard as [Heard]
  expect(body).toMatchObject({
    event: 'conflict',
    target: 'team',
    level: 0,
    dedupKey: id,
    conflict: {
      id,
      kind: 'field',
      duplicateRisk: 'none',
      advice: 'Pick the value that is right, or write a merged one; the newer is shown meanwhile.',
      keys: ['t-1'],
      branches: [{ agent: 'agent-a' }, { agent: 'agent-b' }],
      differences: [{ key: 't-1' }],
    },
  })
  const [, at, signature] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['skein-signature'])) ?? []
  expect(signature).toBe(createHmac('sha256', secret).update(`${at}.${text}`).digest('hex'))
  expect(headers['idempotency-key']).toMatch(/^[0-9a-f]{32}$/)
})

test('[M24] a receiver that fails is asked again under the same key, one that refuses is not', async () => {
  const [url, heard] = await receiver((response, count) => {
    response.statusCode = count < 3 ? 503 : 200
    ok(response)
  })
  const webhook = { kind: 'webhook', url, allowPrivate: true } as const
  expect(await calling(webhook)).toEqual({ ok: true })
  expect(new Set(heard.map(({ headers }) => headers['idempotency-key']))).toEqual(new Set(['key-1']))
  expect(heard).toHaveLength(3)
  const [never, asked] = await receiver((response) => {
    response.statusCode = 404
    response.end()
  })
  await expect(calling({ ...webhook, url: never })).rejects.toThrow(Refused)
  expect(asked).toHaveLength(1)
})

test('[M26] a receiver that hangs ends in its time, one that floods is cut, and a redirect is not followed', async () => {
  const [hanging] = await receiver(() => undefined)
  const webhook = { kind: 'webhook', url: hanging, allowPrivate: true } as const
  const once = { ...quick, attempts: 1, timeoutMs: 50 }
  await expect(calling(webhook, once)).rejects.toThrow(/aborted|timeout/i)
  const [flooding] = await receiver((response) => {
    response.on('error', () => undefined)
    for (let at = 0; at < 64; at++) response.write('x'.repeat(65_536))
  })
  await expect(calling({ ...webhook, url: flooding }, { ...once, timeoutMs: 5_000 })).rejects.toThrow(/longer than/)
  const [inner, reached] = await receiver(ok)
  const [leading] = await receiver((response) => {
    response.writeHead(302, { location: inner }).end()
  })
  await expect(calling({ ...webhook, url: leading })).rejects.toThrow(/answered 302/)
  expect(reached).toHaveLength(0)
})

test('[M26] no request goes to a private address unless that is allowed, by number, by name or by another notation', async () => {
  const [url, heard] = await receiver(ok)
  const { port } = new URL(url)
  for (const host of ['127.0.0.1', 'localhost', '2130706433', '0x7f.1', '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0']) {
    const endpoint = { kind: 'webhook', url: `http://${host}:${port}/` } as const
    await expect(calling(endpoint, { ...quick, attempts: 1 }), host).rejects.toThrow(/no public address/)
  }
  expect(heard).toHaveLength(0)
})

test('[M26] what is public and what is not', () => {
  for (const address of ['8.8.8.8', '1.1.1.1', '2606:4700::1111', '::ffff:8.8.8.8', '172.32.0.1']) {
    expect(isPublic(address), address).toBe(true)
  }
  const inner = ['10.1.2.3', '172.16.0.1', '192.168.1.1', '169.254.169.254', '100.64.1.1', '127.9.9.9', '0.0.0.0']
  const others = [
    '::',
    '::1',
    'fe80::1%eth0',
    'fd00::1',
    '::ffff:10.0.0.1',
    '::10.0.0.1',
    '64:ff9b::a00:1',
    '2002:a00:1::',
  ]
  for (const address of [...inner, ...others, '224.0.0.1', '255.255.255.255', 'ff02::1', 'no address', '']) {
    expect(isPublic(address), address).toBe(false)
  }
})

test('[M26] what fails again and again is left alone for a while, and then tried again', async () => {
  let nowMs = 0
  let calls = 0
  let isDead = true
  const endpoint: Endpoint = {
    kind: 'function',
    call: () => {
      calls++
      if (isDead) throw new Error('dead')
      return 'alive'
    },
  }
  const caller = new Caller(endpoint, { ...quick, attempts: 1, breakAfter: 3, breakMs: 1_000 }, () => nowMs)
  const call = (): Promise<unknown> => caller.call('k', {}, new AbortController().signal)
  for (let at = 0; at < 3; at++) await expect(call()).rejects.toThrow('dead')
  await expect(call()).rejects.toThrow(Broken)
  expect(calls).toBe(3)
  nowMs = 1_000
  await expect(call()).rejects.toThrow('dead')
  await expect(call()).rejects.toThrow(Broken)
  nowMs = 2_000
  isDead = false
  expect(await call()).toBe('alive')
  expect(await call()).toBe('alive')
  expect(calls).toBe(6)
})

async function program(text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'skein-command-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  const path = join(dir, 'program')
  await writeFile(path, `#!${process.execPath}\n${text}`)
  await chmod(path, 0o755)
  return path
}

test('[M26] a command gets its document and answers with one; that it fails, floods or hangs ends here', async () => {
  const asking = { key: 'k 1', body: { a: 1 }, timeoutMs: 20_000, signal: new AbortController().signal, now: Date.now }
  const echo = await program(
    'let t = ""; process.stdin.on("data", (d) => (t += d)).on("end", () => console.log(JSON.stringify({ t, key: process.env.SKEIN_KEY, args: process.argv.slice(2), home: process.env.HOME })))',
  )
  const answer = await callEndpoint({ kind: 'command', command: [echo, '--x', '; rm'] }, asking)
  expect(answer).toEqual({ t: '{"a":1}', key: 'k 1', args: ['--x', '; rm'] })
  const failing = await program('process.exit(3)')
  await expect(callEndpoint({ kind: 'command', command: [failing] }, asking)).rejects.toThrow('ended with 3')
  await expect(callEndpoint({ kind: 'command', command: ['/nowhere'] }, asking)).rejects.toThrow('ENOENT')
  const hanging = await program('setInterval(() => {}, 1000)')
  const soon = { ...asking, timeoutMs: 300 }
  await expect(callEndpoint({ kind: 'command', command: [hanging] }, soon)).rejects.toThrow(/aborted|timeout/i)
  const flooding = await program(
    'const flood = () => { while (process.stdout.write("x".repeat(65536))); process.stdout.once("drain", flood) }; flood()',
  )
  await expect(callEndpoint({ kind: 'command', command: [flooding] }, asking)).rejects.toThrow('longer than')
})

test('[M26] a command that has started another ends with it, though that one holds the output', async () => {
  const stop = new AbortController()
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  const [url] = await receiver((response) => {
    response.on('close', resolve)
    stop.abort(new Error('enough'))
  })
  const path = await program(
    `const inner = 'require("node:http").request(process.argv[1], { method: "POST" }).end("{}")'
    require("node:child_process").spawn(process.execPath, ["-e", inner, process.argv[2]], { stdio: "inherit" })`,
  )
  const asking = { key: 'k', body: {}, timeoutMs: 60_000, signal: stop.signal, now: Date.now }
  await expect(callEndpoint({ kind: 'command', command: [path, url] }, asking)).rejects.toThrow('enough')
  await ended
})

test('[M26] a function that never ends is not waited for', async () => {
  const endpoint: Endpoint = { kind: 'function', call: () => new Promise(() => undefined) }
  await expect(calling(endpoint, { ...quick, attempts: 1, timeoutMs: 20 })).rejects.toThrow(/aborted|timeout/i)
})

const asking = defineSpace({
  rules: [{ rule: 'field' }],
  policies: [{ name: 'sure', settle: 'accept', resolver: 'model', confidence: 0.8 }],
})

test('[M23] a resolver proposes, and policy settles it on all nodes', async () => {
  let calls = 0
  const workflow = endpointsOf({
    resolvers: {
      model: ({ conflict }) => {
        calls++
        const { dot } = conflict.branches[0] ?? {}
        if (dot === undefined) throw new Error('no branch')
        return { choice: { kind: 'pick', branch: dot }, confidence: 0.9, reason: 'the ledger says so' }
      },
    },
  })
  const [left, right, { id }] = await clash(workflow, asking)
  for (const node of [left, right]) {
    const settled = await until(() => {
      const known = node.conflicts.get(id)
      return known?.state === 'settled' ? known : undefined
    })
    expect(settled.decisions).toMatchObject([{ agent: 'policy:sure', choice: { kind: 'pick' } }])
    expect(settled.proposals).toMatchObject([{ agent: 'resolver:model', confidence: 0.9 }])
  }
  expect(calls).toBe(1)
})

test('[M23] nonsense from a resolver is no proposal, and people are told', async () => {
  for (const nonsense of [undefined, 7, { choice: { kind: 'pick' } }, { choice: { kind: 'dismiss' }, confidence: 7 }]) {
    const told: NoticeBody[] = []
    const workflow = endpointsOf({
      resolvers: { model: () => nonsense as never },
      targets: [{ tell: (notice) => void told.push(notice) }],
      bounds: { attempts: 1 },
    })
    const [left, , { id }] = await clash(workflow, asking)
    await until(() => (told.length > 0 ? told : undefined))
    expect(left.conflicts.get(id)?.proposals).toEqual([])
  }
})

test('[M23] what a resolver says badly of a conflict that has moved on, or in half a character, is no proposal either', async () => {
  const told: NoticeBody[] = []
  const answers = [
    { choice: { kind: 'compensate', action: { any: 1 } } },
    { choice: { kind: 'dismiss' }, reason: 'half \ud83d' },
    new Error(`${'x'.repeat(499)}\u{1f600}`),
  ]
  for (const answer of answers) {
    const workflow = endpointsOf({
      resolvers: {
        model: () => {
          if (answer instanceof Error) throw answer
          return answer as never
        },
      },
      targets: [{ tell: (notice) => void told.push(notice) }],
      bounds: { attempts: 1 },
    })
    told.length = 0
    await clash(workflow, asking)
    await until(() => (told.length > 0 ? told : undefined))
  }
})

test('[M25] a receipt that is cut is cut between characters', async () => {
  const workflow = endpointsOf({ actions: { back: () => `x${'\u{1f600}'.repeat(5_000)}` } })
  const [left, , { id, revision }] = await clash(workflow)
  left.conflicts.resolve(id, { revision, choice: { kind: 'compensate', action: 'back' }, agent: 'ada' })
  const { receipt } = await until(() => left.conflicts.get(id)?.compensations.find(({ state }) => state === 'done'))
  expect(receipt).toContain('\u{1f600}')
})

test('[M25] an action runs once for three nodes and leaves its receipt with everybody', async () => {
  const path = await program(
    'const fs = require("node:fs"); fs.appendFileSync(process.argv[2], process.env.SKEIN_KEY + "\\n"); console.log(JSON.stringify({ receipt: "re_9" }))',
  )
  const done = `${path}.done`
  const workflow = endpointsOf({ actions: { 'refund back': { command: [path, done] } } })
  const [left, right, { id, revision }] = await clash(workflow)
  await until(() => right.conflicts.get(id))
  right.conflicts.resolve(id, { revision, choice: { kind: 'compensate', action: 'refund back' }, agent: 'ada' })
  for (const node of [left, right]) {
    const ran = await until(() => node.conflicts.get(id)?.compensations.find(({ state }) => state === 'done'))
    expect(ran.receipt).toEqual({ receipt: 're_9' })
    expect((await readFile(done, 'utf8')).trim().split('\n')).toEqual([ran.key])
  }
})

test('[M26] whom a program names is checked', () => {
  const bad: readonly unknown[] = [
    { targets: [{}] },
    { targets: [{ url: 'ftp://x' }] },
    { targets: [{ url: 'https://x', secret: 'short' }] },
    { targets: [{ url: 'https://x', more: 1 }] },
    { targets: [{ command: ['relative'] }] },
    { targets: [{ tell: 7 }] },
    { targets: {} },
    { resolvers: { model: 7 } },
    { actions: { a: { command: [] } } },
    { bounds: { attempts: 0 } },
    { other: 1 },
  ]
  for (const options of bad) {
    expect(() => endpointsOf(options as never), JSON.stringify(options)).toThrow(
      expect.objectContaining({ code: 'invalid_argument' }),
    )
  }
  const none: Endpoints = endpointsOf({})
  expect(none.targets).toEqual([])
})
