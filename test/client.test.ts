/** The client and a node process that is killed and comes back. */
import { spawn } from 'node:child_process'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { daemon } from '../src/cli/cli.test-kit.ts'
import type { Daemon } from '../src/cli/cli.test-kit.ts'
import { connect } from '../src/client/index.ts'

const temporary = () => mkdtempDisposable(join(tmpdir(), 'skein-client-'))

/** The same directory at the same port, as after a restart. */
function again({ ready }: Daemon): Promise<Daemon> {
  return daemon(['--dir', ready.dir, '--http', new URL(ready.http).host])
}

test('a node that is killed amid writes and comes back: nothing acknowledged is lost, nothing is done twice', async () => {
  await using folder = await temporary()
  let node = await daemon(['--dir', join(folder.path, 'data')])
  await using client = await connect({ node: node.ready.http, agent: 'agent-7' })
  const space = client.space('s')
  const count = 1000
  const writes: Promise<void>[] = []
  for (let i = 0; i < count; i++) {
    // Each write counts: one that is lost or done twice shows in the sum and in the list.
    const receipt = space.transact((tx) => {
      tx.counter('n').incr()
      tx.log('all').append(i)
    })
    writes.push(receipt.durable)
    if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
    if (i % 500 === 250) {
      // Some are acknowledged, some under way, some wait; the process has no time to say goodbye.
      await writes[i - 150]
      await node.stop('SIGKILL')
      node = await again(node)
    }
  }
  await Promise.all(writes)
  expect((await space.counter('n').get()).value).toBe(count)
  expect([...(await space.log('all').get()).value].map(Number).sort((a, b) => a - b)).toEqual(
    Array.from({ length: count }, (_, i) => i),
  )
  await node.stop()
})

test('a watch over a restart tells every change, in order', async () => {
  await using folder = await temporary()
  let node = await daemon(['--dir', join(folder.path, 'data')])
  await using watcher = await connect({ node: node.ready.http })
  await using writer = await connect({ node: node.ready.http, agent: 'writer' })
  const count = 900
  // Before the space is there.
  const watch = watcher.space('s').watch()
  await watch.ready
  const seen = (async () => {
    const keys = new Set<string>()
    for await (const event of watch) {
      expect(event.kind).toBe('change')
      if (event.kind === 'change') keys.add(event.key)
      if (keys.size === count) break
    }
    return [...keys]
  })()
  const keys = Array.from({ length: count }, (_, i) => `k-${i}`)
  for (const [i, key] of keys.entries()) {
    const receipt = writer.space('s').register(key).set(i)
    if (i % 300 === 150) {
      await receipt.durable
      await node.stop(i === 450 ? 'SIGTERM' : 'SIGKILL')
      node = await again(node)
    }
  }
  await writer.flush()
  expect(await seen).toEqual(keys)
  await node.stop()
})

test('what is asked while the node is away waits for it, up to a bound', async () => {
  await using folder = await temporary()
  const first = await daemon(['--dir', join(folder.path, 'data')])
  await using client = await connect({ node: first.ready.http, tell: () => undefined })
  const space = client.space('s')
  await space.counter('n').incr().durable
  await first.stop('SIGKILL')
  const watch = space.watch()
  const late = space.counter('n').incr()
  const read = space.counter('n').get()
  const fill = (): unknown => {
    try {
      for (;;) space.register('large').set('x'.repeat(200_000))
    } catch (error) {
      return error
    }
  }
  expect(fill()).toMatchObject({ code: 'busy' })
  const second = await again(first)
  await late.durable
  expect((await read).value).toBe(2)
  // The watch was begun before the write: it hears of it.
  expect((await watch.next()).value).toMatchObject({ key: 'n' })
  await client.flush()
  await second.stop()
})

test('a client whose node does not come back says so when it is closed', async () => {
  await using folder = await temporary()
  const node = await daemon(['--dir', join(folder.path, 'data')])
  const client = await connect({ node: node.ready.http })
  await client.space('s').counter('n').incr().durable
  await node.stop('SIGKILL')
  const never = client.space('s').counter('n').incr().durable
  never.catch(() => undefined)
  await client.close({ timeoutMs: 100 })
  await expect(never).rejects.toMatchObject({ code: 'closed' })
})

test('another node at the same address: what was sent is not sent to it, what was not is', async () => {
  await using folder = await temporary()
  const first = await daemon(['--dir', join(folder.path, 'one')])
  await using client = await connect({ node: first.ready.http })
  const space = client.space('s')
  await space.counter('n').incr().durable
  const watch = space.watch()
  await watch.ready
  first.child.kill('SIGSTOP')
  const sent = space.counter('n').incr().durable
  sent.catch(() => undefined)
  await new Promise((resolve) => setTimeout(resolve, 50))
  await first.stop('SIGKILL')
  const waits = space.counter('n').incr(5).durable
  await using second = await daemon(['--dir', join(folder.path, 'two'), '--http', new URL(first.ready.http).host])
  await waits
  await expect(sent).rejects.toMatchObject({ code: 'unanswered' })
  expect((await space.counter('n').get()).value).toBe(5)
  expect((await watch.next()).value).toMatchObject({ kind: 'gap', cause: 'restored' })
  await space.register('k').set(1).durable
  for await (const event of watch) if (event.kind === 'change' && event.key === 'k') break
  await second.stop()
})

test('skein/client loads nothing of a node, and a client that nobody waits for lets its process end', async () => {
  await using folder = await temporary()
  await using node = await daemon(['--dir', join(folder.path, 'data')])
  const script = `
    import { registerHooks } from 'node:module'
    const loaded = []
    registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
    const { connect } = await import(${JSON.stringify(join(import.meta.dirname, '..', 'src', 'client', 'index.ts'))})
    const client = await connect({ node: ${JSON.stringify(node.ready.http)} })
    await client.space('s').register('k').set(1).durable
    client.space('s').watch()
    console.log(JSON.stringify(loaded))
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0)
  const own = (JSON.parse(out) as string[]).map((url) => /\/src\/(.*)$/.exec(url)?.[1] ?? url)
  const rooms = new Set(
    own
      .filter((url) => !url.startsWith('node:'))
      .map((url) => /node_modules\/(\w+)/.exec(url)?.[1] ?? url.split('/')[0]),
  )
  expect([...rooms].map(String).toSorted((a, b) => (a < b ? -1 : 1))).toEqual(['base', 'client', 'recipes', 'ws'])
})
