/**
 * What the command line can do with a node. One line of usage, one example and one function each; help and the console
 * of `skein up` come from this table.
 */
import { backup } from '../backup.ts'
import { SkeinError } from '../base/errors.ts'
import type { Value } from '../base/value.ts'
import type { SkeinNode } from '../node/node.ts'
import type { HistoryItem } from '../node/history.ts'
import type { EntryRow } from '../node/space-handle.ts'

export interface Answer {
  /** For `--json`. */
  readonly data: unknown
  /** For people. */
  readonly text: string
  /** False exits with 1: the answer is no. */
  readonly yes?: boolean
}

export interface Command {
  readonly usage: string
  readonly says: string
  readonly example: string
  /** It only reads: it does not make a data directory that is not there. */
  readonly reads?: true
  run(node: SkeinNode, args: readonly string[], agent: string): Promise<Answer>
}

export class UsageError extends Error {}

export const commands: Readonly<Record<string, Command>> = {
  get: {
    usage: 'get SPACE KEY',
    says: 'print an entry',
    example: 'skein get tasks t-42',
    reads: true,
    run: async (node, args) => {
      const [space, key] = exactly(args, 2)
      for await (const entry of node.space(space).entries(key)) {
        if (entry.key === key) return { data: entry, text: show(entry.value) }
        break
      }
      return { data: null, text: `${space} has no entry ${key}`, yes: false }
    },
  },
  set: {
    usage: 'set SPACE KEY FIELD=VALUE...',
    says: 'set fields of a record; a value is JSON, or else a string',
    example: 'skein set tasks t-42 status=doing priority=2',
    run: async (node, args, agent) => {
      const [space, key, ...pairs] = atLeast(args, 3)
      const fields: Record<string, Value> = {}
      for (const pair of pairs) {
        const at = pair.indexOf('=')
        if (at < 1) throw new UsageError(`${pair} is not FIELD=VALUE`)
        Object.defineProperty(fields, pair.slice(0, at), {
          value: parse(pair.slice(at + 1)),
          enumerable: true,
          configurable: true,
          writable: true,
        })
      }
      return written(await durable(node.space(space).as({ agent }).record(key).set(fields)))
    },
  },
  incr: {
    usage: 'incr SPACE KEY [BY]',
    says: 'add to a counter',
    example: 'skein incr stats runs 5',
    run: async (node, args, agent) => {
      const [space, key, by = '1'] = atLeast(args, 2)
      const counter = node.space(space).as({ agent }).counter(key)
      await durable(counter.incr(whole(by)))
      const { value } = counter.get()
      return { data: { value }, text: String(value) }
    },
  },
  add: {
    usage: 'add SPACE KEY VALUE...',
    says: 'add elements to a set',
    example: 'skein add tasks t-42-tags urgent billing',
    run: async (node, args, agent) => {
      const [space, key, ...values] = atLeast(args, 3)
      return written(
        await durable(
          node
            .space(space)
            .as({ agent })
            .set(key)
            .add(...values.map(parse)),
        ),
      )
    },
  },
  remove: {
    usage: 'remove SPACE KEY VALUE...',
    says: 'remove elements from a set',
    example: 'skein remove tasks t-42-tags urgent',
    run: async (node, args, agent) => {
      const [space, key, ...values] = atLeast(args, 3)
      return written(
        await durable(
          node
            .space(space)
            .as({ agent })
            .set(key)
            .remove(...values.map(parse)),
        ),
      )
    },
  },
  append: {
    usage: 'append SPACE KEY VALUE...',
    says: 'append items to a log',
    example: 'skein append audit today \'{"did":"refund"}\'',
    run: async (node, args, agent) => {
      const [space, key, ...values] = atLeast(args, 3)
      return written(
        await durable(
          node
            .space(space)
            .as({ agent })
            .log(key)
            .append(...values.map(parse)),
        ),
      )
    },
  },
  claim: {
    usage: 'claim SPACE KEY SECONDS',
    says: 'acquire a claim, or keep one that is yours',
    example: 'skein claim tasks t-42-claim 60 --agent agent-7',
    run: async (node, args, agent) => {
      const [space, key, seconds] = exactly(args, 3)
      try {
        const receipt = await durable(
          node
            .space(space)
            .as({ agent })
            .claim(key)
            .acquire(1000 * whole(seconds)),
        )
        return { data: receipt.result, text: `held by ${agent} under fence ${receipt.result.fence}` }
      } catch (error) {
        if (error instanceof SkeinError && error.code === 'claim_held') {
          return { data: { code: error.code, ...error.details }, text: error.message, yes: false }
        }
        throw error
      }
    },
  },
  release: {
    usage: 'release SPACE KEY FENCE',
    says: 'release a claim',
    example: 'skein release tasks t-42-claim 7',
    run: async (node, args, agent) => {
      const [space, key, fence] = exactly(args, 3)
      return written(await durable(node.space(space).as({ agent }).claim(key).release(whole(fence))))
    },
  },
  del: {
    usage: 'del SPACE KEY',
    says: 'delete an entry',
    example: 'skein del tasks t-42',
    run: async (node, args, agent) => {
      const [space, key] = exactly(args, 2)
      return written(await durable(node.space(space).as({ agent }).delete(key)))
    },
  },
  ls: {
    usage: 'ls SPACE [PREFIX]',
    says: 'list entries',
    example: 'skein ls tasks t-',
    reads: true,
    run: async (node, args) => {
      const [space, prefix = ''] = atLeast(args, 1)
      const entries: EntryRow[] = []
      for await (const entry of node.space(space).entries(prefix)) entries.push(entry)
      const lines = entries.map(({ key, type, value }) => `${key}\t${type}\t${show(value)}`)
      return { data: entries, text: lines.join('\n') }
    },
  },
  log: {
    usage: 'log SPACE KEY',
    says: 'who changed an entry, when and why',
    example: 'skein log tasks t-42',
    reads: true,
    run: async (node, args) => {
      const [space, key] = exactly(args, 2)
      const items = await node.space(space).record(key).history()
      return {
        data: items,
        text: items.map(historyLine).join('\n') || `no history of ${key} in the log`,
        yes: items.length > 0,
      }
    },
  },
  spaces: {
    usage: 'spaces',
    says: 'list spaces',
    example: 'skein spaces',
    reads: true,
    run: async (node) => {
      const { spaces } = node.status()
      return {
        data: spaces,
        text: spaces.map(({ name, entries }) => `${name}\t${entries} entries`).join('\n') || 'no spaces yet',
      }
    },
  },
  status: {
    usage: 'status',
    says: 'how the node is',
    example: 'skein status --json',
    reads: true,
    run: async (node) => {
      const status = node.status()
      const lines = [
        `node      ${status.node}`,
        `state     ${status.state}`,
        `waiting   ${status.waitingBytes} bytes for the disk`,
        ...status.spaces.map(
          ({ name, entries, logBytes, root }) =>
            `space     ${name}: ${entries} entries, ${logBytes} bytes of log, root ${root}`,
        ),
      ]
      return { data: status, text: lines.join('\n') }
    },
  },
  scrub: {
    usage: 'scrub',
    says: 'read every row and file back and compare checksums',
    example: 'skein scrub',
    reads: true,
    run: async (node) => {
      const report = await node.scrub()
      const lines = report.damages.map(({ file, what }) => `damaged: ${file ?? 'a row'}: ${what}`)
      return {
        data: report,
        text: [...lines, `${report.rows} rows and ${report.files} files read, ${report.damages.length} damaged`].join(
          '\n',
        ),
        yes: report.damages.length === 0,
      }
    },
  },
  backup: {
    usage: 'backup FILE',
    says: 'write everything to one file, while the node runs',
    example: 'skein backup before-upgrade.skein',
    reads: true,
    run: async (node, args) => {
      const [file] = exactly(args, 1)
      const report = await backup(node, file)
      return { data: report, text: `${report.rows} rows, ${report.sizeBytes} bytes in ${file}` }
    },
  },
}

function exactly<N extends number>(args: readonly string[], count: N): Tuple<N> {
  if (args.length !== count) throw new UsageError(`${count} arguments are needed, not ${args.length}`)
  return args as Tuple<N>
}

function atLeast<N extends number>(args: readonly string[], count: N): [...Tuple<N>, ...string[]] {
  if (args.length < count) throw new UsageError(`at least ${count} arguments are needed, not ${args.length}`)
  return args as unknown as [...Tuple<N>, ...string[]]
}

type Tuple<N extends number, Items extends string[] = []> = Items['length'] extends N
  ? Items
  : Tuple<N, [...Items, string]>

function whole(text: string): number {
  if (!/^-?\d+$/.test(text)) throw new UsageError(`${text} is not a whole number`)
  return Number(text)
}

function parse(text: string): Value {
  try {
    return JSON.parse(text) as Value
  } catch {
    return text
  }
}

function show(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

async function durable<R extends { readonly durable: Promise<void> }>(receipt: R): Promise<R> {
  await receipt.durable
  return receipt
}

function written({ changed, version }: { readonly changed: boolean; readonly version: string }): Answer {
  return { data: { changed, version }, text: changed ? 'written' : 'nothing to change' }
}

function historyLine({ at, agent, reason, cleared, changes }: HistoryItem): string {
  const what = changes.map(({ path, value }) => {
    const where = Array.isArray(path) ? path.join('.') : path === null ? '' : show(path)
    return value === undefined ? `removed ${where}` : `${where} = ${show(value)}`
  })
  if (cleared) what.unshift('deleted')
  return `${new Date(at).toISOString()}  ${agent}  ${what.join(', ')}${reason === undefined ? '' : `  (${reason})`}`
}
