/** What a node keeps beside its log and its entries is purged too. */
import { expect, onTestFinished, test } from 'vitest'
import { openNode } from '../open.ts'
import { pathOf, rootPath } from '../crdt/cell.ts'
import { purgeType } from '../merge/purge.ts'
import { purgeKey } from '../merge/system.ts'
import { openMemoryStore } from '../store/memory.ts'
import { openWsTransport } from '../transport/ws.ts'
import { meetingOver, until } from './conflicts.test-kit.ts'
import { defineSpace } from './define-space.ts'
import type { SkeinNode } from './node.ts'

interface Piece {
  readonly origin: never
  readonly seq: number
  readonly body: Uint8Array
}

function written(node: SkeinNode): Piece[] {
  const pieces: Piece[] = []
  for (const [origin, log] of node.replica.open('s').logs) {
    for (let seq = 1; seq <= log.seq; seq++) {
      const body = log.entry(seq)?.body.slice()
      if (body !== undefined) pieces.push({ origin: origin as never, seq, body })
    }
  }
  return pieces
}

test('[PU5] a conflict that was found and stands in no case yet lets go of what is purged', async () => {
  const store = openMemoryStore()
  const { open } = meetingOver({
    store: () => store,
    transport: () => openWsTransport({ listen: ['ws://127.0.0.1:0'] }),
  })
  const node = await open('left', [])
  const other = await openNode({ memory: true, agent: 'right' })
  onTestFinished(() => other.close())
  const space = node.space('s', defineSpace({ rules: [{ rule: 'field' }] }))
  for (const key of ['t', 'u']) space.record(key).set({ note: 'mine' })
  const there = other.space('s')
  there.record('t').set({ note: 'secret-of-right' })
  there.record('u').set({ note: 'harmless' })
  const before = written(other)
  await there.purge('t')
  const after = written(other).filter(({ seq }) => seq > before.length)
  const hears = (pieces: readonly Piece[]): void => {
    for (const { origin, seq, body } of pieces) {
      expect(node.replica.receive(node.replica.open('s'), { origin, seq }, body, Date.now())).toBe('applied')
    }
  }
  // Nothing is written of it in between.
  hears(before)
  hears(after)
  await until(() => (space.purged('t').done.includes(node.id) ? true : undefined))
  await until(() => (node.conflicts.tally.on('s', 'u').length > 0 ? true : undefined))
  await node.flush()
  const conflicts = await Array.fromAsync(node.conflicts.list({ state: 'all' }))
  expect(JSON.stringify(conflicts)).not.toContain('secret-of-right')
  expect(conflicts.map(({ keys }) => keys)).toEqual([['u']])
  using rows = store.snapshot()
  let text = ''
  for await (const page of rows.range({ gte: Uint8Array.of(0), lt: Uint8Array.of(255) })) {
    for (const [, row] of page) text += Buffer.from(row).toString('latin1')
  }
  expect(text).toContain('harmless')
  expect(text).not.toContain('secret-of-right')
})

test('[PU6] what is no record of a purge is passed over', async () => {
  await using node = await openNode({ memory: true, agent: 'left' })
  const space = node.replica.open('s')
  const path = (given: unknown) => pathOf(given as never)
  const cells: readonly (readonly [ReturnType<typeof path>, unknown])[] = [
    [rootPath, 7],
    [path(['n1']), 7],
    [path(['n2']), null],
    [path([7]), [1]],
    [path([]), [1]],
    [path(['n3']), [1, 'x', 2, 3]],
  ]
  node.replica.transact(space, { nowMs: Date.now(), agent: 'mallory', reason: undefined }, (change) => {
    const operation = {
      parameters: [],
      run: (_: unknown, to: { put(at: unknown, value: unknown): void }) => {
        for (const [at, value] of cells) to.put(at, value)
        return undefined
      },
    }
    change.run(space.entry(purgeKey('t')), purgeType, operation as never, {})
  })
  expect(node.space('s').purged('t')).toMatchObject({ waiting: [] })
  node.space('s').record('t').set({ note: 'x' })
  expect((await node.space('s').purge('t')).done).toContain(node.id)
})
