/** A value that must not be anywhere any more. */
import { pathTo } from '../client.ts'
import type { Command } from '../command.ts'
import { timeOf } from './entries.ts'

interface Report {
  readonly done: readonly string[]
  readonly waiting: readonly string[]
}

const lookMs = 500

export const purgeCommand: Command = {
  name: 'purge',
  says: 'take a leaked value out of history, logs and files, everywhere',
  more: 'Deletes the entry, and every node that holds the space takes all that was written to it so far out of its log and its files. Waits for the living members and names who has not done it yet. What it does not reach: backups, exports, what programs have read, members that are away until they return, and writes that this node has not seen. Change the secret all the same.',
  args: [{ name: 'SPACE' }, { name: 'KEY' }],
  options: {
    reason: { takes: 'WHY', help: 'Why, for the history of the purge.' },
    timeout: { takes: 'TIME', help: 'How long to wait for the other members; 60s unless told otherwise.' },
    status: { help: 'Purge nothing; say who has carried out earlier purges of the entry.' },
  },
  examples: ['skein purge tasks t-42 --reason "an API key in the notes"', 'skein purge tasks t-42 --status'],
  async run(call) {
    const [space = '', key = ''] = call.args
    const path = `${pathTo('spaces', space, 'entries', key)}/purge`
    const client = call.client()
    const reason = call.text('reason')
    const timeoutMs = timeOf(call.text('timeout') ?? '60s', 's')
    let report: Report
    if (call.has('status')) report = (await client.get(path)) as Report
    else {
      const untilMs = performance.now() + timeoutMs
      const headers = reason === undefined ? {} : { 'skein-reason': encodeURIComponent(reason) }
      report = (await client.post(path, undefined, { query: { timeout: 0 }, headers, timeoutMs })) as Report
      while (report.waiting.length > 0 && performance.now() < untilMs && !call.stop.aborted) {
        call.screen.progress(`waiting for ${report.waiting.join(', ')}`)
        await new Promise((resolve) => setTimeout(resolve, lookMs))
        report = (await client.get(path)) as Report
      }
    }
    const { done, waiting } = report
    const text = `purged at ${done.join(', ') || 'no node'}`
    if (waiting.length === 0) return { data: report, text }
    return { data: report, text, note: `not yet at ${waiting.join(', ')}: they go on by themselves`, yes: false }
  },
}
