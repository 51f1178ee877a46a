/** The public surface, as a program sees it: nothing here imports what the package does not export. */
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as Automerge from '@automerge/automerge'
import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import { z } from 'zod'
import * as skein from '../src/index.ts'
import { SkeinError, backup, defineSpace, errorTable, openNode, restore } from '../src/index.ts'
import type { ErrorCode, OpenOptions, SkeinNode, SpaceHandle, Watch, WatchEvent } from '../src/index.ts'

const temporary = (): Promise<{ path: string; [Symbol.asyncDispose](): Promise<void> }> =>
  mkdtempDisposable(join(tmpdir(), 'skein-api-'))

/** What a program in plain JavaScript may hand over whatever the types say. */
const untyped = (value: unknown): never => value as never

test('[A1] the exported names are the reviewed ones', async () => {
  expect(Object.keys(skein).sort()).toEqual([
    'SkeinError',
    'backup',
    'defineSpace',
    'errorTable',
    'exportLines',
    'importLines',
    'newFleetKey',
    'openNode',
    'openOrConnect',
    'restore',
  ])
  const source = await readFile(join(import.meta.dirname, '..', 'src', 'index.ts'), 'utf8')
  const types = [...source.matchAll(/export type \{([^}]*)\}/g)].flatMap(([, names = '']) => names.match(/\w+/g) ?? [])
  expect(types.sort()).toEqual([
    'ActionBody',
    'AssignOptions',
    'AuditHead',
    'AuditLine',
    'AuditOptions',
    'AuditReport',
    'BackupReport',
    'BranchEvidence',
    'BudgetHandle',
    'BudgetState',
    'CellSibling',
    'Choice',
    'ClaimHandle',
    'ClaimState',
    'CommandOptions',
    'Compensation',
    'Conflict',
    'ConflictCall',
    'ConflictEvent',
    'ConflictGap',
    'ConflictHistoryItem',
    'ConflictOptions',
    'ConflictsStatus',
    'Connection',
    'ConnectionHandlers',
    'CounterHandle',
    'CustomRule',
    'DecisionEvidence',
    'Difference',
    'DocHandle',
    'Durability',
    'Earlier',
    'EntriesQuery',
    'EntryChanged',
    'EntryRead',
    'EntryRow',
    'ErrorCode',
    'Exchanged',
    'ExportOptions',
    'FlagHandle',
    'Handling',
    'Held',
    'HistoryChange',
    'HistoryItem',
    'HoldOptions',
    'ImportReport',
    'KeepOptions',
    'LinesHost',
    'ListHandle',
    'LogHandle',
    'Meeting',
    'MeetingChange',
    'MemberOfSpace',
    'NextOptions',
    'NodeConflicts',
    'NodeStatus',
    'Notice',
    'NoticeBody',
    'Observer',
    'OpenOptions',
    'OpenOrConnectOptions',
    'PartEvidence',
    'PeerStatus',
    'Peers',
    'PolicyDeclaration',
    'PresenceEvent',
    'PresenceWatch',
    'PresenceWatchOptions',
    'PresentAgent',
    'Proposal',
    'ProposeOptions',
    'PurgeReport',
    'ReachOptions',
    'Read',
    'Receipt',
    'RecordHandle',
    'RegisterHandle',
    'ResolveOptions',
    'ResolverAnswer',
    'ResolverBody',
    'RestoreOptions',
    'Retention',
    'RuleDeclaration',
    'RuleSet',
    'Said',
    'SetHandle',
    'ShowOptions',
    'SkeinClient',
    'SkeinNode',
    'SnoozeOptions',
    'SpaceDefinition',
    'SpaceHandle',
    'SpaceLag',
    'SpacePresence',
    'SpaceRules',
    'SpaceSchemas',
    'SpaceStatus',
    'Stage',
    'SyncReport',
    'Taken',
    'TargetOptions',
    'TextHandle',
    'Transaction',
    'Transport',
    'TransportEvent',
    'Value',
    'Verdict',
    'Watch',
    'WatchEvent',
    'WatchGap',
    'WatchOptions',
    'WebhookOptions',
    'Where',
    'Work',
    'WorkflowDeclaration',
    'WorkflowOptions',
    'WriteSettings',
    'Written',
  ])
})

describe('[A2] every operation, in memory and on disk', () => {
  /** Notes which methods of a handle were called. */
  function noted<T extends object>(handle: T, called: Set<string>): T {
    return new Proxy(handle, {
      get(target, name) {
        const found: unknown = Reflect.get(target, name, target)
        if (typeof found !== 'function') return found
        called.add(String(name))
        return (...args: unknown[]): unknown => Reflect.apply(found, target, args)
      },
    })
  }

  function methodsOf(handle: object): string[] {
    const own = Object.getOwnPropertyNames(Object.getPrototypeOf(handle)).filter(
      // Holding is made of the operations, and has tests of its own.
      (name) => name !== 'constructor' && name !== 'hold',
    )
    const shared = ['get', 'siblings', 'history', 'watch', 'delete']
    return [...new Set([...own, ...shared])].sort()
  }

  type Kinds = 'register' | 'record' | 'counter' | 'set' | 'flag' | 'log' | 'list' | 'claim' | 'budget' | 'text' | 'doc'

  /** Uses every operation of a type; the entry is alive at the end. */
  const scripts: { readonly [Kind in Kinds]: (handle: ReturnType<SpaceHandle[Kind]>, node: SkeinNode) => void } = {
    register: (register) => {
      register.set({ any: ['value', 1, null, true, new Uint8Array([1, 2])] })
    },
    record: (record) => {
      record.set({ status: 'todo', owner: { name: 'a', shift: 1 }, tags: ['x'] })
      record.unset('tags', ['owner', 'shift'])
    },
    counter: (counter) => {
      counter.incr()
      counter.incr(9)
      counter.incr(-4)
    },
    set: (set) => {
      set.add('a', 'b', { c: 1 })
      set.remove('a')
      set.removeForGood('b')
    },
    flag: (flag) => {
      flag.enable()
      flag.disable()
      flag.disable({ wins: 'disable' })
      flag.enable()
    },
    log: (log) => {
      log.append('one', 'two')
      log.appendKeeping(2, 'three')
    },
    list: (list) => {
      list.insert(0, 'a', 'b', 'c')
      list.move(0, 2)
      list.remove(0)
    },
    claim: (claim) => {
      const { fence } = claim.acquire(60_000).result
      claim.renew(fence, 90_000)
      claim.release(fence)
    },
    budget: (budget, node) => {
      budget.grant(100)
      budget.spend(10)
      budget.settle(budget.reserve(20).result.id, 15)
      budget.refund(budget.reserve(5).result.id)
      budget.revoke(5)
      budget.transfer(node.status().origin, 7)
    },
    text: (text) => {
      text.insert(0, 'hello world')
      text.delete(0, 6)
      const client = new Y.Doc()
      Y.applyUpdate(client, text.asUpdate())
      client.getText('text').insert(5, '!')
      text.update(Y.encodeStateAsUpdate(client))
      expect(text.asDoc().getText('text').toJSON()).toBe(text.get().value)
      expect(text.asUpdate(Y.encodeStateVector(client)).length).toBeLessThan(text.asUpdate().length)
    },
    doc: (doc) => {
      doc.set(['title'], 'a plan')
      doc.set(['steps'], ['one'])
      const before = doc.asDoc() as Automerge.Doc<{ title: string; steps: string[] }>
      const after = Automerge.change(before, (draft) => {
        draft.steps.push('two')
      })
      for (const change of Automerge.getChanges(before, after)) doc.change(change)
      doc.unset(['title'])
    },
  }

  const values: { readonly [Kind in Kinds]: unknown } = {
    register: { any: ['value', 1, null, true, new Uint8Array([1, 2])] },
    record: { status: 'todo', owner: { name: 'a' } },
    counter: 6,
    set: [{ c: 1 }],
    flag: true,
    log: ['two', 'three'],
    list: ['c', 'a'],
    claim: { holder: null, fence: 1, until: 0 },
    budget: expect.objectContaining({ granted: 100, spent: 25, held: 0, revoked: 5, available: 70, overspent: 0 }),
    text: 'world!',
    doc: { steps: ['one', 'two'] },
  }

  const kinds = Object.keys(scripts) as Kinds[]

  async function check(node: SkeinNode, kind: Kinds): Promise<void> {
    const space = node.space('all').as({ agent: 'agent-7', reason: 'test' })
    const called = new Set<string>()
    const handle = noted(space[kind](kind), called)
    const script = scripts[kind] as (handle: object, node: SkeinNode) => void
    expect(handle.get().exists).toBe(false)
    const watching = handle.watch()
    script(handle, node)
    const { value, exists, concurrent, by, version } = handle.get()
    expect(value).toEqual(values[kind])
    expect({ exists, concurrent, agent: by?.agent }).toEqual({ exists: true, concurrent: [], agent: 'agent-7' })
    expect(version).not.toBe('')
    expect(handle.siblings().length).toBeGreaterThan(0)
    expect((await watching.next()).value).toMatchObject({ kind: 'change', key: kind, type: kind, agent: 'agent-7' })
    await watching.return()
    const history = await handle.history()
    expect(history.length).toBeGreaterThan(0)
    expect(history.every(({ agent, reason }) => agent === 'agent-7' && reason === 'test')).toBe(true)
    if (kind === 'budget')
      expect(() => handle.delete()).toThrow(expect.objectContaining({ code: 'budget_not_deletable' }))
    else {
      const doomed = noted(space[kind](`${kind} to delete`), called)
      script(doomed, node)
      doomed.delete()
      expect(doomed.get().exists).toBe(kind === 'claim')
    }
    // `hold` is no operation but a program of some, and has tests of its own.
    expect([...called].sort()).toEqual(methodsOf(space[kind](kind)).filter((name) => name !== 'hold'))
  }

  test.each(kinds)('%s', async (kind) => {
    await using folder = await temporary()
    const dir = join(folder.path, 'data')
    {
      await using inMemory = await openNode({ memory: true })
      await check(inMemory, kind)
      await using onDisk = await openNode({ dir })
      await check(onDisk, kind)
    }
    await using again = await openNode({ dir })
    expect(again.space('all')[kind](kind).get().value).toEqual(values[kind])
    const rows = await Array.fromAsync(again.space('all').entries())
    expect(rows.find(({ key }) => key === kind)).toEqual({ key: kind, type: kind, value: values[kind] })
  })
})

describe('[A3] bad input', () => {
  const proto: unknown = JSON.parse('{ "__proto__": { "polluted": true } }')
  const cycle: unknown[] = []
  cycle.push(cycle)
  const hole: unknown[] = [1]
  hole[2] = 2
  const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)])
  const deepFields = (levels: number): unknown => (levels === 0 ? 1 : { deeper: deepFields(levels - 1) })

  const cases: readonly [title: string, code: ErrorCode, act: (space: SpaceHandle, node: SkeinNode) => unknown][] = [
    ['an operation that is not there', 'unknown_type', (s) => untyped2(s.counter('n')).run('explode', {})],
    ['another type on a live entry', 'type_mismatch', (s) => s.counter('record').incr()],
    ['an empty key', 'invalid_key', (s) => s.counter('')],
    ['a key over the limit', 'invalid_key', (s) => s.counter('k'.repeat(513))],
    ['a key over the limit in bytes only', 'invalid_key', (s) => s.counter('é'.repeat(300))],
    ['a key with a lone surrogate', 'invalid_key', (s) => s.counter('\ud800')],
    ['a key that is no string', 'invalid_key', (s) => s.counter(untyped(7))],
    ['an empty key to delete', 'invalid_key', (s) => s.delete('')],
    ['an empty space name', 'invalid_key', (_, node) => node.space('')],
    ['a space name over the limit', 'invalid_key', (_, node) => node.space('s'.repeat(129))],
    ['an empty agent', 'invalid_key', (s) => s.as({ agent: '' })],
    ['a reason over the limit', 'invalid_key', (s) => s.as({ reason: 'r'.repeat(1025) })],
    ['a value too large', 'too_large', (s) => s.register('new').set('x'.repeat(300_000))],
    ['a field too large', 'too_large', (s) => s.record('new').set({ field: 'x'.repeat(300_000) })],
    ['a field name too long', 'too_large', (s) => s.record('new').set({ ['x'.repeat(2000)]: 1 })],
    ['an element too large', 'too_large', (s) => s.set('new').add('x'.repeat(2000))],
    [
      'a transaction too large',
      'too_large',
      (s) => s.transact((tx) => Array.from({ length: 5 }, (_, i) => tx.register(`big-${i}`).set('x'.repeat(250_000)))),
    ],
    ['too many writes at once', 'too_large', (s) => s.set('new').add(...Array.from({ length: 10_001 }, (_, i) => i))],
    ['a value too deep', 'too_deep', (s) => s.register('new').set(untyped(deep(40)))],
    ['a value far too deep', 'too_deep', (s) => s.register('new').set(untyped(deep(5_000)))],
    ['fields too deep', 'too_deep', (s) => s.record('new').set(untyped(deepFields(40)))],
    ['a cycle', 'too_deep', (s) => s.register('new').set(untyped(cycle))],
    ['__proto__ as a field', 'reserved_name', (s) => s.record('new').set(untyped(proto))],
    ['__proto__ as a nested field', 'reserved_name', (s) => s.record('new').set(untyped({ a: proto }))],
    ['__proto__ in a value', 'reserved_name', (s) => s.register('new').set(untyped([proto]))],
    ['__proto__ in an element', 'reserved_name', (s) => s.set('new').add(untyped(proto))],
    ['NaN', 'invalid_value', (s) => s.register('new').set(Number.NaN)],
    ['an infinity in a field', 'invalid_value', (s) => s.record('new').set({ a: -Infinity })],
    ['an infinity in an element', 'invalid_value', (s) => s.set('new').add([1, [Infinity]])],
    ['a lone surrogate', 'invalid_value', (s) => s.log('new').append('\udc00')],
    [
      'a function',
      'invalid_value',
      (s) =>
        s.list('new').insert(
          0,
          untyped(() => 1),
        ),
    ],
    ['a date', 'invalid_value', (s) => s.register('new').set(untyped(new Date()))],
    ['a bigint', 'invalid_value', (s) => s.register('new').set(untyped(1n))],
    ['a hole in an array', 'invalid_value', (s) => s.register('new').set(untyped(hole))],
    ['no value', 'invalid_argument', (s) => s.register('new').set(untyped(undefined))],
    ['fields that are an array', 'invalid_argument', (s) => s.record('record').set(untyped([1]))],
    ['fields that are a string', 'invalid_argument', (s) => s.record('record').set(untyped('x'))],
    ['fields that are null', 'invalid_argument', (s) => s.record('record').set(untyped(null))],
    ['a path that is a number', 'invalid_argument', (s) => s.record('record').unset(untyped(1))],
    ['an empty path', 'invalid_argument', (s) => s.record('record').unset([])],
    ['half an increment', 'invalid_argument', (s) => s.counter('counter').incr(0.5)],
    ['an increment by NaN', 'invalid_argument', (s) => s.counter('counter').incr(Number.NaN)],
    ['an increment by text', 'invalid_argument', (s) => s.counter('counter').incr(untyped('1'))],
    ['a counter over its end', 'counter_overflow', (s) => s.counter('counter').incr(Number.MAX_SAFE_INTEGER)],
    ['a flag that wins otherwise', 'invalid_argument', (s) => s.flag('flag').disable(untyped({ wins: 'who' }))],
    ['a log that keeps nothing', 'invalid_argument', (s) => s.log('log').appendKeeping(0, 1)],
    ['a position outside of a list', 'out_of_range', (s) => s.list('list').insert(9, 'x')],
    ['more than a list has', 'out_of_range', (s) => s.list('list').remove(0, 9)],
    ['a move out of a list', 'out_of_range', (s) => s.list('list').move(0, 2)],
    ['half a position', 'invalid_argument', (s) => s.list('list').insert(0.5, 'x')],
    ['a claim that another holds', 'claim_held', (s) => s.as({ agent: 'other' }).claim('claim').acquire(1000)],
    ['a fence that is not the live one', 'stale_fence', (s) => s.claim('claim').renew(7, 1000)],
    ['a claim for no time', 'invalid_argument', (s) => s.claim('claim').acquire(0)],
    ['a budget over its rights', 'budget_exceeded', (s) => s.budget('budget').spend(1_000)],
    ['a budget without rights', 'budget_exceeded', (s) => s.budget('new').reserve(1)],
    ['a grant over the end', 'counter_overflow', (s) => s.budget('budget').grant(Number.MAX_SAFE_INTEGER)],
    ['spending less than nothing', 'invalid_argument', (s) => s.budget('budget').spend(-5)],
    ['a reservation that is not there', 'unknown_reservation', (s) => s.budget('budget').settle('nope', 1)],
    ['a transfer to nobody', 'invalid_argument', (s) => s.budget('budget').transfer('nobody', 1)],
    ['deleting a budget', 'budget_not_deletable', (s) => s.budget('budget').delete()],
    ['text outside of the text', 'out_of_range', (s) => s.text('text').insert(99, 'x')],
    ['deleting outside of the text', 'out_of_range', (s) => s.text('text').delete(0, 99)],
    ['a garbage update', 'document_invalid', (s) => s.text('text').update(new Uint8Array([1, 200, 3, 4, 255, 255]))],
    ['an empty update', 'document_invalid', (s) => s.text('text').update(new Uint8Array(0))],
    ['an update that is text', 'invalid_argument', (s) => s.text('text').update(untyped('no base64!'))],
    [
      'a garbage change',
      'document_invalid',
      (s) => s.doc('doc').change(new Uint8Array([0x85, 0x6f, 0x4a, 0x83, 1, 2, 3])),
    ],
    ['a change that is an object', 'invalid_argument', (s) => s.doc('doc').change(untyped({}))],
    ['an asynchronous transaction', 'invalid_argument', (s) => s.transact(async (tx) => tx.counter('new').incr())],
    ['a transaction in a transaction', 'nested_transaction', (s) => s.transact(() => s.counter('new').incr())],
    ['history inside a transaction', 'invalid_argument', (s) => s.transact((tx) => void tx.counter('n').history())],
    ['a time to live of nothing', 'invalid_argument', (s) => s.as({ ttlMs: 0 })],
    ['a time to live for a counter', 'invalid_argument', (s) => s.as({ ttlMs: 1000 }).counter('counter').incr()],
    ['a time to live beyond all time', 'invalid_argument', (s) => s.as({ ttlMs: Number.MAX_SAFE_INTEGER })],
    ['a durability that is none', 'invalid_argument', (s) => s.as({ durability: untyped('tape') })],
    ['a token of somebody else', 'invalid_token', (s) => s.watch({ since: 'w1.0123456789abcdef.0.1' })],
    ['a token that is none', 'invalid_token', (s) => s.watch({ since: 'yesterday' })],
    [
      'a schema for a type without one',
      'invalid_argument',
      () => defineSpace(untyped({ schema: { counter: z.number() } })),
    ],
  ]

  /** An operation by its name, as a route or a command would ask for it. */
  function untyped2(handle: object): { run(operation: string, args: object): unknown } {
    return handle as never
  }

  function fill(node: SkeinNode): SpaceHandle {
    const space = node.space('s')
    space.register('register').set(1)
    space.record('record').set({ a: 1 })
    space.counter('counter').incr(2)
    space.set('set').add(1)
    space.flag('flag').enable()
    space.log('log').append(1)
    space.list('list').insert(0, 'a', 'b')
    space.claim('claim').acquire(60_000)
    space.budget('budget').grant(10)
    space.text('text').insert(0, 'text')
    space.doc('doc').set(['a'], 1)
    return space
  }

  async function codeOf(act: () => unknown): Promise<string> {
    try {
      await act()
      return 'no error'
    } catch (error) {
      return error instanceof SkeinError ? error.code : String(error)
    }
  }

  async function refuseAll(options: OpenOptions): Promise<void> {
    await using node = await openNode(options)
    const space = fill(node)
    await node.flush()
    const before = JSON.stringify([node.status(), await Array.fromAsync(space.entries())])
    const found: string[] = []
    for (const [title, , act] of cases) {
      const code = await codeOf(() => act(space, node))
      const after = JSON.stringify([node.status(), await Array.fromAsync(space.entries())])
      found.push(`${title}: ${code}${after === before ? '' : ', and the state changed'}`)
    }
    expect(found).toEqual(cases.map(([title, code]) => `${title}: ${code}`))
    space.counter('counter').incr()
    expect(space.counter('counter').get().value).toBe(3)
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  }

  test('in memory: one code each, nothing changed, and the node works on', () => refuseAll({ memory: true }))

  test('on disk: the same', async () => {
    await using folder = await temporary()
    await refuseAll({ dir: join(folder.path, 'data') })
  })

  const options: readonly [title: string, code: ErrorCode, options: unknown][] = [
    ['nothing', 'invalid_argument', {}],
    ['both', 'invalid_argument', { dir: 'x', memory: true }],
    ['an unknown one', 'invalid_argument', { memory: true, durabillity: 'disk' }],
    ['an address to join that is no text', 'invalid_argument', { memory: true, join: [7] }],
    ['a fleet key that is none', 'fleet_key_invalid', { memory: true, fleetKey: 'secret' }],
    ['a roster that is none', 'invalid_argument', { memory: true, roster: 'none' }],
    ['a dir that is no string', 'invalid_argument', { dir: 7 }],
    ['an empty dir', 'invalid_argument', { dir: '' }],
    ['a durability that is none', 'invalid_argument', { memory: true, durability: 'tape' }],
    ['a retention below 0', 'invalid_argument', { memory: true, log: { keepMs: -1 } }],
    ['a cache that is text', 'invalid_argument', { memory: true, cacheBytes: '1' }],
    ['damage', 'invalid_argument', { memory: true, onDamage: 'ignore' }],
    ['an empty agent', 'invalid_key', { memory: true, agent: '' }],
  ]
  test.each(options)('openNode refuses %s', async (_, code, given) => {
    expect(await codeOf(() => openNode(untyped(given)))).toBe(code)
  })

  test('directories and files that are not what they should be', async () => {
    await using folder = await temporary()
    const at = (name: string): string => join(folder.path, name)
    await writeFile(at('file'), 'something')
    expect(await codeOf(() => openNode({ dir: folder.path }))).toBe('store_foreign')
    expect(await codeOf(() => openNode({ dir: at('file/below') }))).toBe('store_permission')
    expect(await codeOf(() => restore(at('file'), at('restored')))).toBe('backup_invalid')
    expect(await codeOf(() => restore(at('nothing'), at('restored')))).toBe('backup_invalid')
    await using node = await openNode({ dir: at('data') })
    expect(await codeOf(() => openNode({ dir: at('data') }))).toBe('store_locked')
    expect(await codeOf(() => backup(node, at('file')))).toBe('target_exists')
    expect(await codeOf(() => restore(at('file'), at('data')))).toBe('target_exists')
  })

  test('an error says who should act', () => {
    const error = new SkeinError('claim_held', 'held', { holder: 'agent-7' })
    expect(error).toMatchObject({
      name: 'SkeinError',
      code: 'claim_held',
      message: 'held',
      details: { holder: 'agent-7' },
    })
    expect([error.retryable, error.hint]).toEqual([true, errorTable.claim_held.action])
  })
})

describe('[A4] a schema', () => {
  const definition = defineSpace({
    schema: {
      record: z.object({ status: z.enum(['todo', 'done']), owner: z.object({ name: z.string() }).optional() }),
      set: z.number(),
    },
  })

  test('refuses what would leave it, names the path, and changes nothing', async () => {
    await using node = await openNode({ memory: true })
    const space = node.space('s', definition)
    space.record('r').set({ status: 'todo', owner: { name: 'a' } })
    const { root } = space.status()
    const failing: readonly [act: () => unknown, path: readonly string[]][] = [
      [() => space.record('r').set(untyped({ status: 'nearly' })), ['status']],
      [() => space.record('r').set(untyped({ owner: { name: 1 } })), ['owner', 'name']],
      [() => space.record('r').unset('status'), ['status']],
      [() => space.record('new').set({ owner: { name: 'a' } }), ['status']],
      [() => space.set('new').add(1, untyped('two')), ['1']],
      [() => space.transact((tx) => [tx.counter('n').incr(), tx.record('r').unset('status')]), ['status']],
    ]
    for (const [act, path] of failing) {
      expect(act).toThrow(
        expect.objectContaining({
          code: 'schema_violation',
          message: expect.stringContaining(path.join('.')) as unknown,
          details: expect.objectContaining({ issues: [expect.objectContaining({ path })] }) as unknown,
        }),
      )
      expect(space.status().root).toBe(root)
    }
    space.record('r').delete()
    expect(space.record('r').get().exists).toBe(false)
  })

  test('does not judge what is there', async () => {
    await using node = await openNode({ memory: true })
    node.space('s').record('r').set({ status: 'from before' })
    expect(node.space('s', definition).record('r').get().value).toEqual({ status: 'from before' })
  })

  test('that needs a promise is refused', async () => {
    await using node = await openNode({ memory: true })
    const space = node.space('s', defineSpace({ schema: { register: z.string().refine(async () => true) } }))
    expect(() => space.register('r').set('x')).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
    expect(space.register('r').get().exists).toBe(false)
  })
})

describe('[A5] handles of a transaction', () => {
  test.each(['ended well', 'threw'])('are over when it %s', async (how) => {
    await using node = await openNode({ memory: true })
    const space = node.space('s')
    const kept: { counter: ReturnType<typeof space.counter> }[] = []
    try {
      space.transact((tx) => {
        kept.push({ counter: tx.counter('n') })
        if (how === 'threw') throw new Error('on purpose')
      })
    } catch (error) {
      expect((error as Error).message).toBe('on purpose')
    }
    const [{ counter }] = kept as [(typeof kept)[0]]
    for (const use of [() => counter.incr(), () => counter.get(), () => counter.delete()]) {
      expect(use).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
    }
    expect(space.counter('n').get().exists).toBe(false)
  })

  test('read what it wrote, where the space does not', async () => {
    await using node = await openNode({ memory: true })
    const space = node.space('s')
    const seen = space.transact((tx) => {
      tx.counter('n').incr(3)
      return [tx.counter('n').get().value, space.counter('n').get().value]
    })
    expect(seen.result).toEqual([3, 0])
    expect(space.counter('n').get().value).toBe(3)
  })

  test('have receipts that are not durable by themselves', async () => {
    await using node = await openNode({ memory: true })
    const inner = node.space('s').transact((tx) => ({ receipt: tx.counter('n').incr() })).result
    await expect(inner.receipt.durable).rejects.toMatchObject({ code: 'invalid_argument' })
  })
})

describe('[A6] a watch', () => {
  async function take(events: Watch, count: number): Promise<WatchEvent[]> {
    const taken: WatchEvent[] = []
    while (taken.length < count) {
      const { value, done } = await events.next()
      if (done === true) break
      taken.push(value)
    }
    return taken
  }
  const keys = (events: readonly WatchEvent[]): (string | undefined)[] =>
    events.map((event) => (event.kind === 'change' ? event.key : event.cause))

  test('begins with the call', async () => {
    await using node = await openNode({ memory: true })
    const space = node.space('s')
    space.counter('before').incr()
    const events = space.watch()
    space.counter('after').incr()
    expect(keys(await take(events, 1))).toEqual(['after'])
    await events.return()
  })

  test('resumed from any token of a transaction misses nothing', async () => {
    await using node = await openNode({ memory: true })
    const space = node.space('s')
    const events = space.watch()
    space.transact((tx) => ['a', 'b', 'c'].map((key) => tx.counter(key).incr()))
    space.counter('d').incr()
    const all = await take(events, 4)
    await events.return()
    expect(keys(all)).toEqual(['a', 'b', 'c', 'd'])
    const expected = [['a', 'b', 'c', 'd'], ['a', 'b', 'c', 'd'], ['d'], []]
    for (const [at, { token }] of all.entries()) {
      const again = space.watch({ since: token, signal: AbortSignal.timeout(100) })
      expect(keys(await take(again, 9))).toEqual(expected[at])
    }
  })

  test('goes on over a restart', async () => {
    await using folder = await temporary()
    let token = ''
    {
      await using node = await openNode({ dir: folder.path })
      const events = node.space('s').watch()
      node.space('s').counter('one').incr()
      token = (await take(events, 1))[0]?.token ?? ''
      node.space('s').counter('two').incr()
    }
    await using node = await openNode({ dir: folder.path })
    node.space('s').counter('three').incr()
    const events = node.space('s').watch({ since: token })
    expect(keys(await take(events, 2))).toEqual(['two', 'three'])
    await events.return()
  })

  test('of a slow reader says so, with a token that brings what was skipped', async () => {
    await using node = await openNode({ memory: true })
    const space = node.space('s')
    const events = space.watch()
    space.counter('first').incr()
    expect(keys(await take(events, 1))).toEqual(['first'])
    for (let i = 0; i < 3000; i++) space.counter(`k-${i}`).incr()
    const [gap] = await take(events, 1)
    expect(gap).toMatchObject({ kind: 'gap', cause: 'slow' })
    await events.return()
    const again = space.watch({ since: gap?.token ?? '' })
    expect(keys(await take(again, 3000))).toEqual(Array.from({ length: 3000 }, (_, i) => `k-${i}`))
    await again.return()
  })

  test('beyond the log says so', async () => {
    await using node = await openNode({ memory: true })
    const space = node.space('s')
    const events = space.watch()
    for (let i = 0; i < 600; i++) space.counter('n').incr()
    const [first] = await take(events, 1)
    await events.return()
    await sleep(5)
    await node.prune({ keepMs: 0 })
    space.counter('later').incr()
    const again = space.watch({ since: first?.token ?? '' })
    expect(keys(await take(again, 2))).toEqual(['pruned', 'later'])
    await again.return()
  })

  test('ends with its signal, with its space and with its node', async () => {
    const node = await openNode({ memory: true })
    const stop = new AbortController()
    const readers = [
      node.space('s').watch({ signal: stop.signal }),
      node.space('doomed').watch(),
      node.space('s').counter('n').watch(),
    ].map((events) => events.next())
    stop.abort()
    expect(await readers[0]).toMatchObject({ done: true })
    await node.deleteSpace('doomed')
    expect(await readers[1]).toMatchObject({ done: true })
    await node.close()
    expect(await readers[2]).toMatchObject({ done: true })
  })
})

test('[A7] a closed node answers closed to every call', async () => {
  await using folder = await temporary()
  const node = await openNode({ dir: join(folder.path, 'data') })
  const space = node.space('s')
  const receipt = space.counter('n').incr()
  await node.close()
  await node.close()
  await receipt.durable
  const closed = expect.objectContaining({ code: 'closed' }) as Error
  for (const act of [
    () => node.space('s'),
    () => space.counter('n').incr(),
    () => space.transact(() => 1),
    () => space.watch(),
    () => space.counter('n').get(),
    () => space.counter('n').siblings(),
  ]) {
    expect(act).toThrow(closed)
  }
  for (const act of [
    async () => node.flush(),
    async () => node.prune(),
    async () => node.scrub(),
    async () => node.deleteSpace('s'),
    async () => space.counter('n').history(),
    async () => space.entries().next(),
    async () => backup(node, join(folder.path, 'backup')),
  ]) {
    await expect(act()).rejects.toThrow(closed)
  }
  expect(node.status().state).toBe('closed')
})

describe('[A8] durability', () => {
  test('that a store in memory cannot give is refused, and wedges nothing', async () => {
    const code = { code: 'invalid_argument' }
    await expect(openNode({ memory: true, durability: 'disk' })).rejects.toMatchObject(code)
    await using node = await openNode({ memory: true })
    const space = node.space('s')
    expect(() => space.as({ durability: 'disk' }).counter('n').incr()).toThrow(expect.objectContaining(code))
    expect(() => space.transact((tx) => tx.counter('n').incr(), { durability: 'os' })).toThrow(
      expect.objectContaining(code),
    )
    expect(space.counter('n').get().exists).toBe(false)
    await space.counter('n').incr().durable
  })

  test('in memory a node still expires and deletes spaces', async () => {
    await using node = await openNode({ memory: true })
    const space = node.space('s')
    space.as({ ttlMs: 10 }).register('brief').set(1)
    while (space.register('brief').get().exists) await sleep(5)
    await space.counter('n').incr().durable
    expect(await node.deleteSpace('s')).toBe(true)
    expect(await node.deleteSpace('s')).toBe(false)
    expect(() => space.counter('n').incr()).toThrow(expect.objectContaining({ code: 'space_deleted' }))
    expect(() => space.counter('n').get()).toThrow(expect.objectContaining({ code: 'space_deleted' }))
    expect(node.space('s').status()).toMatchObject({ generation: 2, entries: 0 })
  })

  test.each(['os', 'disk'] as const)('%s is there after a close', async (durability) => {
    await using folder = await temporary()
    {
      await using node = await openNode({ dir: folder.path, durability })
      const { durable, changed, version, result } = node.space('s').counter('n').incr()
      expect({ changed, result }).toEqual({ changed: true, result: undefined })
      expect(version).not.toBe('')
      await durable
      expect(node.space('s').counter('n').incr(0)).toMatchObject({ changed: false, version: '' })
      expect(node.status().waitingBytes).toBe(0)
      node.space('s').counter('n').incr() // the close waits for it
    }
    await using node = await openNode({ dir: folder.path })
    expect(node.space('s').counter('n').get().value).toBe(2)
    expect(await node.scrub()).toMatchObject({ damages: [], complete: true })
  })
})

test('[A9] a backup is a moment, and a restored node writes as a new origin', async () => {
  await using folder = await temporary()
  const at = (name: string): string => join(folder.path, name)
  await using node = await openNode({ dir: at('data') })
  const space = node.space('s')
  space.counter('n').incr(5)
  space.set('big').add(...Array.from({ length: 3000 }, (_, i) => i))
  const made = await backup(node, at('file'))
  const { root } = space.status()
  space.counter('n').incr(100)
  expect(await restore(at('file'), at('restored'))).toEqual(made)
  await using restored = await openNode({ dir: at('restored') })
  expect(restored.space('s').status().root).toBe(root)
  restored.space('s').counter('n').incr(1)
  expect(restored.space('s').counter('n').get().value).toBe(6)
  expect(restored.status().node).not.toBe(node.status().node)
  expect(restored.status().origin).not.toBe(node.status().origin)

  const bytes = await readFile(at('file'))
  for (const spoil of [
    bytes.subarray(0, -1),
    bytes.subarray(0, bytes.length >> 1),
    flipped(bytes, bytes.length >> 1),
  ]) {
    await writeFile(at('spoiled'), spoil)
    await expect(restore(at('spoiled'), at('from-spoiled'))).rejects.toMatchObject({ code: 'backup_invalid' })
  }
  await expect(readFile(at('from-spoiled'))).rejects.toMatchObject({ code: 'ENOENT' })
})

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[at] = (copy[at] as number) ^ 1
  return copy
}
