/** Deciding by keys, against a real node: somebody who types, and a screen that is read. */
import { expect, test } from 'vitest'
import { clash } from '../node/clash.test-kit.ts'
import type { Opening } from '../node/clash.test-kit.ts'
import { served } from '../node/http/server.test-kit.ts'
import { openNode } from '../open.ts'
import { Client, pathTo } from './client.ts'
import { decideAll } from './conflict-decider.ts'
import type { Decided, Deciding } from './conflict-decider.ts'
import type { ConflictView } from './conflict-screen.ts'
import { Screen } from './screen.ts'

const fleet: Opening = (agent, join) => openNode({ memory: true, agent, listen: 'ws://127.0.0.1:0', join })

/** Somebody at a terminal of 100 columns: keys and lines in their order, `undefined` for Ctrl-C. */
async function sit(
  url: string,
  ids: readonly string[],
  typed: readonly (string | undefined)[],
  meanwhile: (at: number) => void = () => undefined,
): Promise<Decided & { readonly text: string }> {
  const client = new Client({ node: url, token: undefined, agent: 'person-1' })
  let [text, at] = ['', 0]
  const out = { isTTY: true, columns: 100, write: (more: string) => (text += more) }
  const next = (words: string): Promise<string | undefined> => {
    text += words
    meanwhile(at)
    if (at >= typed.length) throw new Error(`nothing more is typed, after ${text}`)
    return Promise.resolve(typed[at++])
  }
  const deciding: Deciding = {
    screen: new Screen(out, out, { NO_COLOR: '1' }),
    keyboard: { key: () => next(''), line: next },
    now: Date.now,
    look: async (id) => (await client.get(pathTo('conflicts', id))) as ConflictView,
    async decide({ id, revision }, choice, reason) {
      await client.post(pathTo('conflicts', id, 'resolve'), { revision, choice, reason })
    },
  }
  const decided = await decideAll(ids, deciding)
  expect(at).toBe(typed.length)
  return { ...decided, text }
}

test('[M9] each key is a way out, and who has had enough leaves the rest', async () => {
  const keys = ['t-1', 't-2', 't-3', 't-4', 't-5']
  const [node] = await clash(fleet, keys)
  await using it = await served(node)
  const all = await Array.fromAsync(node.conflicts.list())
  const ids = keys.map((key) => all.find((one) => one.keys[0] === key)?.id ?? '')
  const typed = ['x', '1', undefined, '2', 'asked', 'v', '', 'v', 'doing', '', 'n', 'b', 'both count', 'q']
  const { decided, left, text } = await sit(it.server.url, ids, typed)
  expect({ decided, left }).toEqual({ decided: 3, left: 2 })
  const now = ids.map((id) => node.conflicts.get(id))
  expect(now.map((one) => one?.decisions.map(({ choice: { kind }, reason, agent }) => [kind, reason, agent]))).toEqual([
    [['pick', 'asked', 'person-1']],
    [['write', undefined, 'person-1']],
    [],
    [['keep-both', 'both count', 'person-1']],
    [],
  ])
  const [first] = now
  expect(node.space('s').record('t-1').get().value).toEqual({ status: first?.branches[1]?.did[0]?.value })
  expect(node.space('s').record('t-2').get().value).toEqual({ status: 'doing' })
  expect(text).toMatch(/^\[1\] agent-\w's stands {3}\[2\] agent-\w's stands {3}\[v\] write a value {3}\[b\] all stand/m)
  expect(text).toContain('2 of 5')
})

test('[M9] what moves meanwhile is shown anew, and nothing is decided on what it was', async () => {
  const [node, , { id, revision }] = await clash(fleet)
  await using it = await served(node)
  const typed = ['d', 'none of it']
  const { decided, left, text } = await sit(it.server.url, [id], typed, (at) => {
    if (at === 1) node.conflicts.resolve(id, { revision, choice: { kind: 'keep-both' }, agent: 'somebody' })
  })
  expect({ decided, left }).toEqual({ decided: 0, left: 1 })
  expect(text).toContain('is settled')
  expect(text).toMatch(/decided {5}all sides stand, by somebody/)
  expect(node.conflicts.get(id)?.decisions).toHaveLength(1)
})

test('[M9] what somebody wrote does not steer the terminal', async () => {
  const [node, , { id }] = await clash(fleet)
  await using it = await served(node)
  node.conflicts.assign(id, { to: '\u001B[2Jbob', agent: '\u009B31m', reason: '\u001B]0;x' })
  node.space('s').as({ reason: '\u001B[2J' }).record('t-1').set({ '\u001B[2J': '\u001B[2J' })
  const { text } = await sit(it.server.url, [id], ['q'])
  for (const unit of ['\u001B', '\u009B']) expect(text).not.toContain(unit)
})
