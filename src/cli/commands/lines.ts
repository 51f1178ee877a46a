/**
 * Entries as JSON lines, out and in: to look at, to carry elsewhere, to begin with. It carries values, not history: who wrote
 * them, concurrent writes and what was spent stay behind. `backup` keeps everything.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { once } from 'node:events'
import { finished } from 'node:stream/promises'
import type { SkeinError } from '../../base/errors.ts'
import { charactersAtOnce, lineText, makingOf, operationsAtOnce, parseLine } from '../../recipes/lines.ts'
import type { Line } from '../../recipes/lines.ts'
import type { Client } from '../client.ts'
import { linesOf, pathTo } from '../client.ts'
import { Refused, UsageError } from '../command.ts'
import type { Answer, Call, Command } from '../command.ts'
import { countText } from '../screen.ts'
import { listed } from './entries.ts'
import { spacesOf } from './fleet.ts'

export const lineCommands: readonly Command[] = [
  {
    name: 'export',
    says: 'write entries as JSON lines',
    more: 'To FILE, or to standard output without it. Values only: see `backup` for everything.',
    args: [{ name: 'FILE', optional: true }],
    options: {
      space: { takes: 'SPACE', many: true, help: 'Only this space; all of them unless told otherwise.' },
      prefix: { takes: 'PREFIX', help: 'Only keys that begin so.' },
    },
    examples: ['skein export all.jsonl', 'skein export --space tasks | grep t-4'],
    async run(call) {
      const [file] = call.args
      const client = call.client()
      const asked = call.texts('space')
      const spaces = asked.length > 0 ? asked : (await spacesOf(client)).map(({ name }) => name)
      const out = file === undefined ? process.stdout : createWriteStream(file, { flags: 'wx', mode: 0o600 })
      if (file !== undefined) await openedFor(out, file)
      let count = 0
      for (const space of spaces) {
        for await (const { key, type, value } of listed(client, space, { prefix: call.text('prefix') })) {
          if (call.stop.aborted) break
          if (!out.write(`${lineText({ space, key, type, value })}\n`)) await once(out, 'drain')
          if (++count % 1000 === 0 && file !== undefined) call.screen.progress(`${count} entries, now in ${space}`)
        }
      }
      if (file === undefined) return undefined
      out.end()
      await finished(out)
      return { data: { entries: count, file }, text: `${countText(count, 'entry', 'entries')} in ${file}` }
    },
  },
  {
    name: 'import',
    says: 'write entries from JSON lines, as `export` makes them',
    more: 'From FILE, or from standard input without it. Each line is {"space", "key", "type", "value"}. Entries are added to what is there: counters add up, sets join, records merge. Claims and budgets are not imported, since a copy of a right is no right.',
    args: [{ name: 'FILE', optional: true }],
    options: { space: { takes: 'SPACE', help: 'Into this space, whatever the lines say.' } },
    examples: ['skein import all.jsonl', 'skein import --space copy < all.jsonl'],
    run: importLines,
  },
]

async function importLines(call: Call): Promise<Answer> {
  const [file] = call.args
  const into = call.text('space')
  const client = call.client()
  const sizeBytes = file === undefined ? undefined : await sizeOf(file)
  const input = file === undefined ? process.stdin : createReadStream(file)
  const left = new Map<string, number>()
  let waiting: { readonly space: string; readonly operation: Readonly<Record<string, unknown>> }[] = []
  let [lines, entries, characters, read] = [0, 0, 0, 0]
  const flush = async (): Promise<void> => {
    await writeAll(client, waiting)
    waiting = []
    characters = 0
    const share = sizeBytes === undefined || sizeBytes === 0 ? '' : `, ${Math.round((100 * read) / sizeBytes)} %`
    call.screen.progress(`${entries} entries${share}`)
  }
  for await (const text of linesOf(input)) {
    if (call.stop.aborted) break
    lines++
    read += Buffer.byteLength(text) + 1
    if (text.trim() === '') continue
    const line = lineOf(text, lines, into)
    const { space, key, type } = line
    const operations = makingOf(line)
    if (operations === undefined) {
      left.set(type, (left.get(type) ?? 0) + 1)
      continue
    }
    entries++
    for (const operation of operations) waiting.push({ space, operation: { key, type, ...operation } })
    characters += text.length
    if (waiting.length >= operationsAtOnce || characters >= charactersAtOnce) await flush()
  }
  await flush()
  const leftOut = [...left].map(([type, count]) => `${countText(count, 'entry', 'entries')} of type ${type}`)
  return {
    data: { lines, entries, leftOut: Object.fromEntries(left) },
    text: `${countText(entries, 'entry', 'entries')} written`,
    ...(leftOut.length > 0 && { note: `left out: ${leftOut.join(', ')}` }),
    yes: leftOut.length === 0,
  }
}

/** A transaction is of one space: what stands together goes together. */
async function writeAll(
  client: Client,
  waiting: readonly { readonly space: string; readonly operation: Readonly<Record<string, unknown>> }[],
): Promise<void> {
  for (const [space, all] of Map.groupBy(waiting, (one) => one.space)) {
    await client.post(`${pathTo('spaces', space)}/transact`, { operations: all.map(({ operation }) => operation) })
  }
}

/** Whoever reads it wants to know what to do with the rest. */
function lineOf(text: string, number: number, into: string | undefined): Line {
  try {
    return parseLine(text, number, into)
  } catch (error) {
    const what = (error as SkeinError).message
    throw new Refused(
      'malformed',
      what,
      'Each line is {"space", "key", "type", "value"}. Lines before it are written; import the rest once it is mended.',
    )
  }
}

async function openedFor(stream: NodeJS.WritableStream, file: string): Promise<void> {
  try {
    await once(stream, 'open')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new UsageError(
      code === 'EEXIST' ? `${file} exists already; nothing is overwritten` : `${file} cannot be written: ${code ?? ''}`,
    )
  }
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size
  } catch {
    throw new UsageError(`${file} cannot be read`)
  }
}
