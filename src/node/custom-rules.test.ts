/** Functions of the owner's own: what they say is heard, and what they do wrong stops nobody. */
import { expect, onTestFinished, test } from 'vitest'
import { openNode } from '../open.ts'
import { limits } from '../base/limits.ts'
import type { CustomRule } from './custom-rules.ts'
import { RegisteredRules } from './custom-rules.ts'
import { defineSpace } from './define-space.ts'
import type { SkeinNode } from './node.ts'

/** A node that has written an entry, and then takes up what another wrote to it at the same time. */
async function met(
  customRules: readonly CustomRule[],
  functionVersion = 1,
  value: unknown = 'right',
): Promise<SkeinNode> {
  const node = await openNode({ memory: true, agent: 'left', customRules })
  const other = await openNode({ memory: true, agent: 'right' })
  onTestFinished(async () => {
    await node.close()
    await other.close()
  })
  const rules = [
    { rule: 'custom', name: 'mine', function: 'mine', functionVersion },
    { rule: 'delete', prefix: 'other' },
  ]
  const here = node.space('s', defineSpace({ rules }))
  here.record('t').set({ by: 'left' })
  // What the other writes is the newer.
  await new Promise((resolve) => setTimeout(resolve, 3))
  for (let at = 0; at < 3; at++)
    other
      .space('s')
      .record('t')
      .set({ by: value as string, at })
  take(node, other)
  return node
}

function take(node: SkeinNode, other: SkeinNode): void {
  const space = node.replica.open('s')
  for (const [origin, log] of other.replica.open('s').logs) {
    for (let seq = 1; seq <= log.seq; seq++) {
      const body = log.entry(seq)?.body ?? new Uint8Array(0)
      expect(['applied', 'known']).toContain(node.replica.receive(space, { origin, seq }, body, Date.now()))
    }
  }
}

const whatever = (run: unknown): CustomRule[] => [{ name: 'mine', version: 1, run: run as CustomRule['run'] }]

test('[M14] a function is given the entries and both changes, the older first', async () => {
  const node = await met(
    whatever(({ entries, changes: [older, newer] }: Parameters<CustomRule['run']>[0]) => {
      const t = entries['t'] as { readonly by: string }
      return t.by === 'right' && older.agent === 'left' && newer.writes.some(({ value }) => value === 'right')
    }),
  )
  const [conflict] = await Array.fromAsync(node.conflicts.list())
  expect(conflict).toMatchObject({ rule: 'mine', kind: 'custom', subject: ['t'] })
  expect(await node.conflicts.stats()).toMatchObject([{ notEvaluated: [], missed: 0 }])
})

test('[M14] a method of an object is a function too', async () => {
  const node = await met([
    {
      name: 'mine',
      version: 1,
      run() {
        return true
      },
    },
  ])
  expect(await Array.fromAsync(node.conflicts.list())).toHaveLength(1)
})

test.each([
  [
    'never ends',
    () => {
      for (;;);
    },
  ],
  [
    'throws',
    () => {
      throw new Error('so it is')
    },
  ],
  ['answers no yes or no', () => 'yes'],
  ['answers later', async () => true],
  [
    'calls itself for ever',
    function again(): boolean {
      return again() || again()
    },
  ],
  ['leans on what is around it', () => process.pid > 0],
  ['asks the clock', () => Date.now() > 0],
  ['asks chance', () => Math.random() >= 0],
])('[M14] one that %s is suspended and told of, and everything goes on', async (_, run) => {
  const node = await met(whatever(run))
  expect(node.space('s').record('t').get().value).toEqual({ by: 'right', at: 2 })
  expect(await node.conflicts.stats()).toMatchObject([{ open: 0, notEvaluated: ['mine'], missed: 1 }])
  // The other rules still look.
  expect(await Array.fromAsync(node.conflicts.list())).toEqual([])
  const rules = [{ rule: 'field' }]
  node.space('s', defineSpace({ rules, version: 2 }))
  expect(await node.conflicts.stats()).toMatchObject([{ notEvaluated: [] }])
})

test('[M14] a failing function is told of once, by its code', async () => {
  const told: string[] = []
  const observer = {
    event: (event: { readonly kind: string; readonly code?: string }) => void told.push(event.code ?? ''),
  }
  const node = await openNode({ memory: true, customRules: whatever(() => 1), observer })
  const other = await openNode({ memory: true })
  onTestFinished(async () => {
    await node.close()
    await other.close()
  })
  const rules = [{ rule: 'custom', function: 'mine', functionVersion: 1 }]
  node.space('s', defineSpace({ rules })).record('t').set({ a: 1 })
  for (let at = 0; at < 5; at++)
    other
      .space('s')
      .record('t')
      .set({ a: at + 2 })
  take(node, other)
  node.space('s').record('u').set({ a: 1 })
  await node.flush()
  expect(told.filter((code) => code === 'rule_suspended')).toHaveLength(1)
})

test('[M14] who has not that function, or not that version, says so', async () => {
  const without = await met([])
  expect(await without.conflicts.stats()).toMatchObject([{ open: 0, notEvaluated: ['mine'], missed: 0 }])
  const older = await met(
    whatever(() => true),
    2,
  )
  expect(await older.conflicts.stats()).toMatchObject([{ open: 0, notEvaluated: ['mine'] }])
})

test('[M14] what is too large is not given to it, and counted', async () => {
  const node = await met(
    whatever(() => true),
    1,
    'x'.repeat(limits.customBytes),
  )
  expect(await node.conflicts.stats()).toMatchObject([{ open: 0, notEvaluated: [], missed: 3 }])
})

test('[M14] what is no function is refused when it is registered', () => {
  const bound = (() => true).bind(undefined)
  for (const wrong of [
    [{ name: '', version: 1, run: () => true }],
    [{ name: 'a', version: 0, run: () => true }],
    [{ name: 'a', version: 1, run: 'true' }],
    [{ name: 'a', version: 1, run: bound }],
    [
      { name: 'a', version: 1, run: () => true },
      { name: 'a', version: 1, run: () => false },
    ],
  ]) {
    expect(() => new RegisteredRules(wrong as CustomRule[])).toThrow(
      expect.objectContaining({ code: 'invalid_argument' }) as Error,
    )
  }
})

test('[M14] what is nested too deep to be given to it is counted, and suspends no rule', async () => {
  let deep: unknown = 'x'
  for (let at = 0; at < limits.valueDepth - 1; at++) deep = [deep]
  const node = await met(
    whatever(() => true),
    1,
    deep,
  )
  const stats = await node.conflicts.stats()
  expect(stats).toMatchObject([{ notEvaluated: [] }])
  expect(stats[0]?.missed).toBeGreaterThan(0)
})

test('[M14] a value that is nested as deep as may be written hides from no rule', async () => {
  let deep: unknown = 'x'
  for (let at = 0; at < limits.valueDepth - 1; at++) deep = [deep]
  const node = await openNode({ memory: true, agent: 'left', customRules: whatever(() => true) })
  const other = await openNode({ memory: true, agent: 'right' })
  onTestFinished(async () => {
    await node.close()
    await other.close()
  })
  const rules = [
    { rule: 'custom', name: 'mine', function: 'mine', functionVersion: 1 },
    { rule: 'unique', prefix: 't', field: 'by' },
    { rule: 'effect', prefix: 't', receipt: 'at', key: 'by' },
    { rule: 'field', prefix: 't' },
  ]
  const here = node.space('s', defineSpace({ rules }))
  here.record('t1').set({ by: deep as string, at: 1 })
  other.space('s').record('t1').set({ by: 'y', at: 3 })
  other
    .space('s')
    .record('t2')
    .set({ by: deep as string, at: 2 })
  other.space('s').record('t3').set({ by: 'x' })
  take(node, other)
  const found = await Array.fromAsync(node.conflicts.list())
  expect([...new Set(found.map(({ rule }) => rule))].sort()).toEqual(['effect', 'field', 'unique'])
})

test('[M14] a passage that is cut in the middle of a character is found all the same', async () => {
  const node = await openNode({ memory: true, agent: 'left' })
  const other = await openNode({ memory: true, agent: 'right' })
  onTestFinished(async () => {
    await node.close()
    await other.close()
  })
  const here = node.space('s', defineSpace({ rules: [{ rule: 'text' }] })).text('n')
  const there = other.space('s').text('n')
  there.insert(0, 'We meet on Monday at noon.')
  take(node, other)
  here.insert(14, '-')
  other.space('s').transact((change) => {
    change.text('n').delete(11, 6)
    change.text('n').insert(11, `${'x'.repeat(limits.caseValueBytes / 4 - 1)}\u{1f600}`)
  })
  take(node, other)
  expect(await node.conflicts.stats()).toMatchObject([{ open: 1 }])
})
