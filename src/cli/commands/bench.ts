/** How fast is this fleet, and how far behind are its nodes? Asked of a fleet that runs, without harm to it. */
import { open as openFile, rm } from 'node:fs/promises'
import { SkeinError } from '../../base/errors.ts'
import type { SkeinClient } from '../../client/client.ts'
import { pageOf } from '../bench/page.ts'
import { runLoad } from '../bench/load.ts'
import type { Load, LoadPlan } from '../bench/load.ts'
import { reportOf } from '../bench/report.ts'
import type { BenchReport } from '../bench/report.ts'
import { sparkline } from '../bench/samples.ts'
import { Client, pathTo, usualNode } from '../client.ts'
import { Refused, UsageError, whole } from '../command.ts'
import type { Answer, Call, Command } from '../command.ts'
import { timeOf } from './entries.ts'

/** Nobody else's: whatever is in it is of an earlier run. */
const benchSpace = 'skein-bench'
const keys = 1_000
const mostRate = 20_000
const mostSizeBytes = 65_536
const mostDurationMs = 600_000
/** Bytes of values in one run: they stand in every log until the space is ended. */
const mostBytes = 1_073_741_824
const lookMs = 1_000
const arriveMs = 10_000
const barsShown = 24

export const benchCommand: Command = {
  name: 'bench',
  says: 'load a running fleet for a while, and measure how far its nodes are behind',
  more: `Writes registers into a space of its own, ${benchSpace}, at a fixed rate through the first node, and ends that space afterwards, after Ctrl-C too. Each further --node is watched, and shows when it has what was written. Times are of this process's clock alone and run from the moment at which a write was due. An empty space of that name stays.`,
  options: {
    node: {
      takes: 'URL',
      many: true,
      help: 'The node to write through, and others to watch through (SKEIN_NODE; http://127.0.0.1:7401).',
    },
    rate: { takes: 'N', help: 'Writes a second (50).' },
    size: { takes: 'BYTES', help: 'Bytes of each value (200).' },
    duration: { takes: 'TIME', help: 'How long (10s).' },
    html: { takes: 'FILE', help: 'Write a report with pictures into this file, which must not be there.' },
  },
  examples: [
    'skein bench',
    'skein bench --node http://a:7401 --node http://b:7401 --rate 500 --duration 30s --html report.html',
  ],
  async run(call) {
    const plan = planOf(call)
    const given = call.texts('node')
    const nodes = given.length > 0 ? given : [call.environment['SKEIN_NODE'] || usualNode]
    const [node = usualNode, ...others] = nodes
    if (new Set(nodes).size < nodes.length) throw new UsageError('--node names a node twice')
    const token = call.environment['SKEIN_TOKEN'] || undefined
    const agent = token === undefined ? (call.text('agent') ?? 'bench') : undefined
    const api = new Client({ node, token, agent })
    // Before anything is loaded: a path that cannot be written is no reason to run for nothing.
    await using page = await pageFile(call.text('html'))
    await prepare(api)
    for (const url of others) await arrived(api, new Client({ node: url, token, agent }))
    // Not loaded by whoever says something else.
    const { connect } = await import('../../client/client.ts')
    const opened: SkeinClient[] = []
    const dial = async (url: string): Promise<SkeinClient> => {
      const client = await connect({
        node: url,
        tell: () => undefined,
        ...(token !== undefined && { token }),
        ...(agent !== undefined && { agent }),
      })
      opened.push(client)
      return client
    }
    const at = Date.now()
    const startMs = performance.now()
    let load: Load | undefined
    let cleaned = false
    try {
      const space = (await dial(node)).space(benchSpace)
      const through = await Promise.all(others.map(async (url) => ({ node: url, client: await dial(url) })))
      const lags: number[] = []
      load = await runLoad(space, through, plan, call.stop, (now, atMs) => {
        call.screen.progress(progressOf(now, atMs, plan, lags))
      })
    } finally {
      await Promise.all(opened.map((client) => client.close({ timeoutMs: 1_000 })))
      cleaned = await clean(api)
    }
    const tookMs = performance.now() - startMs
    const report = reportOf(load, { node, at, asked: plan, tookMs, stopped: call.stop.aborted, cleaned })
    await page?.write(pageOf(report))
    return answerOf(report, call.text('html'))
  },
}

function planOf(call: Call): LoadPlan {
  const number = (name: string, usual: number, most: number): number => {
    const text = call.text(name)
    const value = text === undefined ? usual : whole(text, `--${name}`)
    if (value < 1 || value > most) throw new UsageError(`--${name} is from 1 to ${most}`)
    return value
  }
  const rate = number('rate', 50, mostRate)
  const sizeBytes = number('size', 200, mostSizeBytes)
  const durationMs = timeOf(call.text('duration') ?? '10s', 's')
  if (durationMs < 1 || durationMs > mostDurationMs) throw new UsageError('--duration is at most 10 minutes')
  if ((rate * sizeBytes * durationMs) / 1000 > mostBytes) {
    throw new UsageError('that is more than 1 GiB of values: take a lower rate or size, or less time')
  }
  return { rate, sizeBytes, durationMs, keys }
}

interface Page extends AsyncDisposable {
  write(text: string): Promise<void>
}

/** Without a report the file does not stay. */
async function pageFile(path: string | undefined): Promise<Page | undefined> {
  if (path === undefined) return undefined
  const file = await openFile(path, 'wx')
  let isWritten = false
  return {
    async write(text) {
      await file.writeFile(text)
      isWritten = true
    },
    async [Symbol.asyncDispose]() {
      await file.close()
      if (!isWritten) await rm(path)
    },
  }
}

interface Standing {
  readonly generation: number
  readonly entries: number
  readonly root: string
}

const spacePath = pathTo('spaces', benchSpace)

async function rootOf(api: Client): Promise<Standing | undefined> {
  try {
    return (await api.get(spacePath)) as Standing
  } catch (error) {
    if (error instanceof Refused && error.code === 'not_found') return undefined
    throw error
  }
}

/** A watch begins in the generation that will be written. */
async function arrived(api: Client, other: Client): Promise<void> {
  const untilMs = performance.now() + arriveMs
  for (;;) {
    const [here, there] = await Promise.all([rootOf(api), rootOf(other)])
    if (here !== undefined && there?.generation === here.generation) return
    if (performance.now() > untilMs) {
      throw new SkeinError('not_reached', `${other.node} has not come to hold ${benchSpace}: is it of this fleet?`)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** What an earlier run has left goes; a run that goes on is left alone. */
async function prepare(api: Client): Promise<void> {
  const before = await rootOf(api)
  if (before === undefined || before.entries === 0) {
    await api.json('PUT', spacePath)
    return
  }
  await new Promise((resolve) => setTimeout(resolve, lookMs))
  const after = await rootOf(api)
  if (after !== undefined && after.root !== before.root) {
    throw new SkeinError('busy', `somebody writes in ${benchSpace}: another run goes on`)
  }
  await clean(api)
}

/** The generation ends; others hear of that by the one that follows. */
async function clean(api: Client): Promise<boolean> {
  try {
    if ((await rootOf(api)) !== undefined) await api.delete(spacePath)
    await api.json('PUT', spacePath)
    return true
  } catch {
    return false
  }
}

function progressOf(load: Load, atMs: number, { rate, durationMs }: LoadPlan, lags: number[]): string {
  const seen = [...load.seen.values()]
  const samples = seen.length > 0 ? seen : [load.everywhere.count > 0 ? load.everywhere : load.written]
  const worst = Math.max(...samples.map((one) => one.since(atMs - lookMs).p99))
  lags.push(worst)
  if (lags.length > barsShown) lags.shift()
  const left = Math.max(0, (durationMs - atMs) / 1000).toFixed(0)
  const behind = load.due - load.answered - load.failed
  return `${left} s left  ${rate}/s  ${behind} unanswered  lag p99 ${worst.toFixed(1)} ms ${sparkline(lags)}`
}

function answerOf(report: BenchReport, html: string | undefined): Answer {
  const { writes, series, cleaned } = report
  const rows = series.map(({ until, all }) => [
    until,
    String(all.count),
    ...[all.p50, all.p90, all.p99, all.max].map((ms) => ms.toFixed(1)),
  ])
  const columns = ['from a write’s moment until', 'count', 'p50 ms', 'p90 ms', 'p99 ms', 'max ms']
  const lost = writes.due - writes.answered
  const notes = [
    `${writes.due} writes were due, ${writes.answered} were answered${lost > 0 ? `, ${lost} not${writes.lastError === undefined ? '' : ` (${writes.lastError})`}` : ''}`,
    report.says,
    cleaned ? '' : `${benchSpace} could not be ended: run \`skein bench\` again, or delete it with a token that may`,
    html === undefined ? '' : `the report is in ${html}`,
  ]
  return {
    data: report,
    text: { columns, rows, none: 'nothing was measured' },
    note: notes.filter((line) => line !== '').join('\n'),
    yes: cleaned && (lost === 0 || report.stopped),
  }
}
