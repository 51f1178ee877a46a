/** One directory, three processes: the first hosts, the others take over. */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { daemon } from '../src/cli/cli.test-kit.ts'
import { openNode, openOrConnect } from '../src/index.ts'
import { ownerOf } from '../src/node/data-dir.ts'

/** Three processes start at once on two cores. */
const waiting = { timeout: 20_000, interval: 5 }

interface Said {
  readonly ready?: string
  readonly acknowledged?: string
  readonly done?: boolean
}

class Child {
  readonly name: string
  readonly process: ChildProcess
  readonly acknowledged: string[] = []
  readonly ready: Promise<string>
  readonly ended: Promise<number | null>
  #done: (() => void) | undefined;

  [Symbol.dispose](): void {
    this.process.kill('SIGKILL')
  }

  constructor(dir: string, name: string) {
    this.name = name
    this.process = fork(join(import.meta.dirname, 'one-host', 'child.ts'), [dir, name], { execArgv: [] })
    this.ended = new Promise((resolve) => this.process.on('exit', (code) => resolve(code)))
    this.ready = new Promise((resolve, reject) => {
      void this.ended.then((code) => reject(new Error(`it ended with ${code}`)))
      this.process.on('message', ({ ready, acknowledged, done }: Said) => {
        if (ready !== undefined) resolve(ready)
        if (acknowledged !== undefined) this.acknowledged.push(acknowledged)
        if (done === true) this.#done?.()
      })
    })
    this.ready.catch(() => undefined)
  }

  /** Resolves when all are acknowledged. */
  write(count: number): Promise<void> {
    this.process.send({ do: 'write', count })
    return new Promise((resolve) => (this.#done = resolve))
  }

  async close(): Promise<number | null> {
    this.process.send({ do: 'close' })
    return this.ended
  }
}

test('three processes share one directory; whoever hosts is killed, closed, and followed', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'skein-one-host-'))
  const dir = join(folder.path, 'data')
  using stack = new DisposableStack()
  const children = ['a', 'b', 'c'].map((name) => stack.use(new Child(dir, name)))
  const nodes = await Promise.all(children.map(({ ready }) => ready))
  expect(new Set(nodes).size).toBe(1)
  const host = (): Child => children.find(({ process: { pid } }) => pid === ownerOf(dir)?.pid) as Child
  const first = host()
  const others = children.filter((child) => child !== first)

  void first.write(2000)
  const written = others.map((child) => child.write(300))
  await expect.poll(() => others.every(({ acknowledged }) => acknowledged.length > 20), waiting).toBe(true)
  first.process.kill('SIGKILL')
  await first.ended
  await Promise.all(written)
  await expect.poll(() => others.includes(host()), waiting).toBe(true)
  const second = host()

  const third = others.find((child) => child !== second) as Child
  const more = third.write(300)
  await expect.poll(() => third.acknowledged.length > 320, waiting).toBe(true)
  expect(await second.close()).toBe(0)
  await more
  await expect.poll(host, waiting).toBe(third)
  expect(third.acknowledged.length).toBe(600)
  expect(await third.close()).toBe(0)

  await using node = await openNode({ dir })
  expect(node.id).toBe(nodes[0])
  const items = node.space('s').log('items').get().value.map(String)
  expect(new Set(items).size, 'nothing is there twice').toBe(items.length)
  expect(node.space('s').counter('n').get().value).toBe(items.length)
  const there = new Set(items)
  const lost = children.flatMap(({ acknowledged }) => acknowledged).filter((item) => !there.has(item))
  expect(lost).toEqual([])
  expect(items.filter((item) => !item.startsWith(first.name)).length).toBe(900)
})

test('where a daemon has the directory it is the host', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'skein-one-host-'))
  await using node = await daemon(['--dir', join(folder.path, 'data')])
  {
    await using client = await openOrConnect({ dir: join(folder.path, 'data'), agent: 'agent-7' })
    expect(client.node).toBe(node.ready.node)
    await client.space('s').register('k').set(1).durable
  }
  await node.stop()
  await using own = await openOrConnect({ dir: join(folder.path, 'data') })
  expect(own.node).toBe(node.ready.node)
  expect((await own.space('s').register('k').get()).by?.agent).toBe('agent-7')
})

test('what cannot be opened is said at once', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'skein-one-host-'))
  await expect(openOrConnect({ dir: '' })).rejects.toMatchObject({ code: 'invalid_argument' })
  await expect(openOrConnect({ dir: join(folder.path, 'x'.repeat(120)) })).rejects.toThrow(/too long/)
  await expect(openOrConnect({ dir: folder.path, colour: 'red' } as never)).rejects.toThrow(/colour is not an option/)
  await using node = await openNode({ dir: join(folder.path, 'data') })
  // It is open, and serves nobody.
  await expect(openOrConnect({ dir: join(folder.path, 'data'), timeoutMs: 300 })).rejects.toMatchObject({
    code: 'store_locked',
  })
  await node.close()
})
