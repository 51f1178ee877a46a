/** Reading and writing entries: what agents and people do all day. */
import type { Client } from '../client.ts'
import { pathTo } from '../client.ts'
import { Refused, UsageError, fieldsOf, valueOf, whole } from '../command.ts'
import type { Answer, Call, Command, Options } from '../command.ts'
import { duration } from '../../node/config-values.ts'
import { valueText } from '../screen.ts'
import { short } from '../conflict-screen.ts'
import { program } from '../program.ts'
import { auditLog } from './audit.ts'

const space = { name: 'SPACE' } as const
const key = { name: 'KEY' } as const
const values = { name: 'VALUE', many: true } as const

const writeOptions: Options = {
  reason: { takes: 'TEXT', help: 'Why, for the history.' },
  wait: {
    takes: 'WHAT',
    words: ['durable', 'none', 'all'],
    help: 'What to wait for: `durable` (the default), `none`, `peers:2` (that many have it on their disks), `all`.',
  },
  timeout: { takes: 'TIME', help: 'How long to wait for it: `10s`.' },
  durability: { takes: 'LEVEL', words: ['memory', 'os', 'disk'], help: 'What durable means here.' },
  ttl: { takes: 'TIME', help: 'Delete it again after this time, unless it was overwritten.' },
  'if-version': { takes: 'VERSION', help: 'Only if the entry is at this version here, as `get` answers it.' },
}

export interface Entry {
  readonly key: string
  readonly type: string
  readonly value?: unknown
  readonly by: { readonly agent: string; readonly at: number }
  readonly concurrent?: readonly { readonly value: unknown; readonly agent: string; readonly at: number }[]
  readonly conflicts?: readonly string[]
  readonly version: string
}

interface Wrote {
  readonly version: string
  readonly durable: boolean
  readonly changed: boolean
  readonly result?: unknown
  readonly reached?: { readonly met: boolean; readonly reached: readonly string[]; readonly missing: readonly string[] }
}

export const entryCommands: readonly Command[] = [
  {
    name: 'get',
    says: 'print an entry',
    args: [space, key],
    options: {
      type: { takes: 'TYPE', help: 'Read it as this type, where several are alive under the key.' },
      siblings: { help: 'With every live value of every cell (in JSON).' },
      after: { takes: 'VERSION', help: 'Wait until this node has what the version names.' },
    },
    examples: ['skein get tasks t-42', 'skein get tasks t-42 --json'],
    async run(call) {
      const entry = (await orNothing(
        call.client().get(pathTo('spaces', ...spaceAndKey(call)), {
          query: {
            type: call.text('type'),
            siblings: call.has('siblings') ? 'true' : undefined,
            after: call.text('after'),
          },
        }),
      )) as Entry | undefined
      if (entry === undefined) {
        const [inSpace, , name] = spaceAndKey(call)
        return { data: null, text: `${inSpace} has no entry ${name}`, yes: false }
      }
      const others = (entry.concurrent ?? []).map(
        ({ value, agent, at }) => `also: ${valueText(value)}  (${agent}, ${new Date(at).toISOString()})`,
      )
      const conflicts = (entry.conflicts ?? []).map((id) => `in conflict: ${program} conflicts show ${short(id)}`)
      return { data: entry, text: [valueText(entry.value), ...others, ...conflicts].join('\n') }
    },
  },
  {
    name: 'set',
    says: 'set fields of a record, or the value of a register',
    more: 'A value is JSON, or else a text: 5 is a number, five a text. FIELD=VALUE writes those fields of a record and leaves the others; with --value the whole entry is one register.',
    args: [space, key, { name: 'FIELD=VALUE', many: true, optional: true }],
    options: { value: { takes: 'VALUE', help: 'Set a register to this value.' }, ...writeOptions },
    examples: ['skein set tasks t-42 status=doing priority=2', 'skein set config region --value eu-1'],
    async run(call) {
      const value = call.text('value')
      const pairs = call.args.slice(2)
      if ((value === undefined) === (pairs.length === 0))
        throw new UsageError('give fields as FIELD=VALUE, or one --value')
      const operation =
        value === undefined
          ? { type: 'record', op: 'set', fields: fieldsOf(pairs) }
          : { type: 'register', op: 'set', value: valueOf(value) }
      return written(await operate(call, operation), call)
    },
  },
  {
    name: 'del',
    says: 'delete an entry',
    args: [space, key],
    options: writeOptions,
    examples: ['skein del tasks t-42'],
    async run(call) {
      const gone = await orNothing(call.client().delete(pathTo('spaces', ...spaceAndKey(call)), writing(call)))
      const [inSpace, , name] = spaceAndKey(call)
      if (gone === undefined) return { data: null, text: `${inSpace} has no entry ${name}`, yes: false }
      return { ...written(gone as Wrote, call), text: 'deleted' }
    },
  },
  {
    name: 'incr',
    says: 'add to a counter',
    args: [space, key, { name: 'BY', optional: true }],
    options: writeOptions,
    examples: ['skein incr stats runs', 'skein incr stats runs -5'],
    async run(call) {
      const by = whole(call.args[2] ?? '1', 'BY')
      const wrote = await operate(call, { type: 'counter', op: 'incr', by })
      const read = (await call
        .client()
        .get(pathTo('spaces', ...spaceAndKey(call)), { query: { type: 'counter' } })) as Entry
      const answer = written(wrote, call)
      return { ...answer, data: { ...wrote, value: read.value }, text: valueText(read.value) }
    },
  },
  {
    name: 'add',
    says: 'add elements to a set',
    args: [space, key, values],
    options: writeOptions,
    examples: ['skein add tasks t-42-tags urgent billing'],
    run: async (call) => written(await operate(call, { type: 'set', op: 'add', values: valuesOf(call) }), call),
  },
  {
    name: 'remove',
    says: 'remove elements from a set',
    args: [space, key, values],
    options: writeOptions,
    examples: ['skein remove tasks t-42-tags urgent'],
    run: async (call) => written(await operate(call, { type: 'set', op: 'remove', values: valuesOf(call) }), call),
  },
  {
    name: 'append',
    says: 'append items to a log',
    args: [space, key, values],
    options: writeOptions,
    examples: [`skein append audit today '{"did":"refund","order":9}'`],
    run: async (call) => written(await operate(call, { type: 'log', op: 'append', values: valuesOf(call) }), call),
  },
  {
    name: 'claim',
    says: 'acquire a claim for a time, or keep one that is yours',
    more: 'The fence is a number that only grows. Whatever the work touches must refuse a fence below the highest that it has seen: a claim alone is no lock.',
    args: [space, key, { name: 'TIME', optional: true }],
    options: { fence: { takes: 'FENCE', help: 'Renew the claim that you hold under this fence.' }, ...writeOptions },
    examples: ['skein claim tasks t-42-claim 60s --agent agent-7', 'skein claim tasks t-42-claim 60s --fence 3'],
    async run(call) {
      const [, , time = '60s'] = call.args
      const ttlMs = timeOf(time, 's')
      const fence = call.text('fence')
      const operation =
        fence === undefined
          ? { type: 'claim', op: 'acquire', ttlMs }
          : { type: 'claim', op: 'renew', fence: whole(fence, 'FENCE'), ttlMs }
      const wrote = await operate(call, operation)
      const held = wrote.result as { readonly fence?: number } | undefined
      const answer = written(wrote, call)
      return { ...answer, data: { ...wrote, ...held }, text: `held under fence ${held?.fence ?? fence ?? ''}` }
    },
  },
  {
    name: 'release',
    says: 'release a claim',
    args: [space, key, { name: 'FENCE' }],
    options: writeOptions,
    examples: ['skein release tasks t-42-claim 7'],
    async run(call) {
      const fence = whole(call.args[2] ?? '', 'FENCE')
      const answer = written(await operate(call, { type: 'claim', op: 'release', fence }), call)
      return { ...answer, text: 'released' }
    },
  },
  {
    name: 'ls',
    says: 'list entries',
    args: [space, { name: 'PREFIX', optional: true }],
    options: {
      where: { takes: 'FIELD:VALUE', many: true, help: 'Only records with that value; several must all hold.' },
      limit: { takes: 'N', help: 'At most so many.' },
      after: { takes: 'VERSION', help: 'Wait until this node has what the version names.' },
    },
    examples: ['skein ls tasks', 'skein ls tasks t- --where status:todo --limit 10'],
    async run(call) {
      const [inSpace = '', prefix] = call.args
      const most = call.text('limit') === undefined ? Infinity : whole(call.text('limit') ?? '', '--limit')
      const entries: Entry[] = []
      for await (const entry of listed(call.client(), inSpace, {
        prefix,
        where: call.texts('where'),
        after: call.text('after'),
        most,
      })) {
        entries.push(entry)
      }
      const rows = entries.map(({ key: name, type, value, concurrent }) => [
        name,
        type,
        concurrent === undefined ? valueText(value) : `${valueText(value)}  (and ${concurrent.length} concurrent)`,
      ])
      const none = prefix === undefined ? `${inSpace} has no entries` : `${inSpace} has no entries under ${prefix}`
      return { data: entries, text: { columns: ['key', 'type', 'value'], rows, none } }
    },
  },
  {
    name: 'log',
    says: 'who changed an entry, when and why; with --audit, what was found and decided about conflicts',
    more: 'The audit is the record of this node, each line with the hash of the one before: `verify --audit` proves that it is whole. With SPACE only what was there.',
    args: [
      { name: 'SPACE', optional: true },
      { name: 'KEY', optional: true },
    ],
    options: {
      limit: { takes: 'N', help: 'Only the last so many changes.' },
      audit: { help: 'The audit of conflicts rather than the history of an entry.' },
    },
    examples: ['skein log tasks t-42', 'skein log --audit orders'],
    async run(call) {
      if (call.has('audit')) {
        if (call.args.length > 1) throw new UsageError('--audit is of a space, not of an entry')
        return auditLog(call)
      }
      if (call.args.length < 2) throw new UsageError(`${call.args.length === 0 ? 'SPACE' : 'KEY'} is missing`)
      const items: HistoryItem[] = []
      let cursor: string | undefined
      do {
        const page = (await orNothing(
          call.client().get(`${pathTo('spaces', ...spaceAndKey(call))}/history`, { query: { limit: 1000, cursor } }),
        )) as { readonly items: readonly HistoryItem[]; readonly cursor?: string } | undefined
        items.push(...(page?.items ?? []))
        cursor = page?.cursor
      } while (cursor !== undefined)
      const limit = call.text('limit')
      const shown = limit === undefined ? items : items.slice(-whole(limit, '--limit'))
      const rows = shown.map(({ at, agent, reason = '', ...item }) => [
        new Date(at).toISOString(),
        agent,
        changesText(item),
        reason,
      ])
      const none = `no history of ${call.args[1] ?? ''} in the log`
      return { data: shown, text: { columns: ['at', 'agent', 'change', 'reason'], rows, none }, yes: shown.length > 0 }
    },
  },
]

interface HistoryItem {
  readonly at: number
  readonly agent: string
  readonly reason?: string
  readonly cleared: boolean
  readonly purged?: true
  readonly changes: readonly { readonly type: string; readonly path: unknown; readonly value?: unknown }[]
}

function changesText({ cleared, purged, changes }: Pick<HistoryItem, 'cleared' | 'purged' | 'changes'>): string {
  const what = changes.map((change) => {
    const { path } = change
    const where = Array.isArray(path) ? path.join('.') : path === null ? '' : valueText(path)
    if (!Object.hasOwn(change, 'value')) return `removed ${where}`
    return where === '' ? valueText(change.value) : `${where} = ${valueText(change.value)}`
  })
  return [...(cleared ? ['deleted'] : []), ...(purged === true ? ['(purged)'] : []), ...what].join(', ')
}

/** Entries page after page, so that a large space needs no large answer. */
export async function* listed(
  client: Client,
  inSpace: string,
  {
    prefix,
    where = [],
    after,
    most = Infinity,
  }: {
    readonly prefix?: string | undefined
    readonly where?: readonly string[]
    readonly after?: string | undefined
    readonly most?: number
  },
): AsyncGenerator<Entry, void, void> {
  let left = most
  let cursor: string | undefined
  do {
    const page = (await client.get(pathTo('spaces', inSpace, 'entries'), {
      query: { prefix, where, after, cursor, limit: Math.min(1000, left) },
    })) as { readonly entries: readonly Entry[]; readonly cursor?: string }
    for (const entry of page.entries) {
      yield entry
      left--
    }
    cursor = page.cursor
  } while (cursor !== undefined && left > 0)
}

function spaceAndKey({ args }: Call): [string, 'entries', string] {
  return [args[0] ?? '', 'entries', args[1] ?? '']
}

function valuesOf({ args }: Call): unknown[] {
  return args.slice(2).map(valueOf)
}

/** `60`, in the unit that people mean by it, or `90s`, `5m`. */
export function timeOf(text: string, unit: 's' | 'ms'): number {
  try {
    return duration.read(/^\d+$/.test(text) ? `${text}${unit}` : text)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

async function operate(call: Call, operation: Readonly<Record<string, unknown>>): Promise<Wrote> {
  const path = `${pathTo('spaces', ...spaceAndKey(call))}/ops`
  return (await call.client().post(path, operation, writing(call))) as Wrote
}

/** What the options of a write say to HTTP. */
function writing(call: Call): {
  query: Record<string, string | number | undefined>
  headers: Record<string, string | undefined>
} {
  const [timeout, ttl, reason, version] = ['timeout', 'ttl', 'reason', 'if-version'].map((name) => call.text(name))
  return {
    query: {
      wait: call.text('wait'),
      timeout: timeout === undefined ? undefined : timeOf(timeout, 's'),
      ttlMs: ttl === undefined ? undefined : timeOf(ttl, 's'),
      durability: call.text('durability'),
    },
    headers: {
      'skein-reason': reason === undefined ? undefined : encodeURIComponent(reason),
      'if-match': version === undefined ? undefined : `"${version}"`,
    },
  }
}

/** Written is not yet safe: an answer that was waited for in vain is a no, and says for whom. */
function written(wrote: Wrote, call: Call): Answer {
  const { changed, durable, reached } = wrote
  const text = changed ? 'written' : 'nothing to change'
  if (call.text('wait') === 'none') return { data: wrote, text: `${text}; not waited for the disk` }
  const isSafe = durable && reached?.met !== false
  if (isSafe) return { data: wrote, text }
  const missing = durable ? `not yet at ${reached?.missing.join(', ') || 'enough peers'}` : 'not yet on the disk'
  return { data: wrote, text, note: `${missing}: it is applied here, and goes on by itself`, yes: false }
}

/** What is not there is an answer, not an error. */
async function orNothing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof Refused && error.code === 'not_found') return undefined
    throw error
  }
}
