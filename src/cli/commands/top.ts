/** A live view of a node: what `status` and `peers` say, every second, and how fast it changes. Plain terminal codes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { OutOfReach } from '../command.ts'
import type { Cell, Command } from '../command.ts'
import type { Screen } from '../screen.ts'
import { sizeText } from '../screen.ts'
import { inWords, peerColumns, peerRow, statusOf } from './fleet.ts'
import type { Status } from './fleet.ts'
import { timeOf } from './entries.ts'

const altScreen = '\u001B[?1049h\u001B[?25l'
const normalScreen = '\u001B[?25h\u001B[?1049l'
const home = '\u001B[H'
const clearRest = '\u001B[J'
const clearLine = '\u001B[K'

export const topCommand: Command = {
  name: 'top',
  says: 'watch how the node and its peers are, until Ctrl-C',
  more: 'Off a terminal, or with --json, each look is printed below the last.',
  options: {
    every: { takes: 'TIME', help: 'Between two looks (1s).' },
    count: { takes: 'N', help: 'End after so many looks.' },
  },
  examples: ['skein top', 'skein top --every 5s --count 3 --json'],
  async run(call) {
    const { screen, stop, json } = call
    const everyMs = Math.max(100, timeOf(call.text('every') ?? '1s', 's'))
    const most = Number(call.text('count') ?? Infinity)
    const isDrawn = screen.isTerminal && !json
    let before: { readonly status: Status; readonly atMs: number } | undefined
    if (isDrawn) screen.raw(altScreen)
    try {
      for (let looks = 0; looks < most && !stop.aborted; looks++) {
        if (looks > 0) await sleep(everyMs, undefined, { signal: stop }).catch(() => undefined)
        if (stop.aborted) break
        try {
          const status = await statusOf(call.client())
          const atMs = performance.now()
          if (json) screen.line(JSON.stringify(status))
          else {
            const lines = view(screen, call.client().node, status, before && { ...before, tookMs: atMs - before.atMs })
            if (isDrawn) screen.raw(`${home}${lines.map((line) => `${line}${clearLine}\n`).join('')}${clearRest}`)
            else screen.line(lines.join('\n'))
          }
          before = { status, atMs }
        } catch (error) {
          // A node that was there comes back, mostly.
          if (before === undefined || !(error instanceof OutOfReach)) throw error
          if (isDrawn) screen.raw(`${home}${screen.paint('bad', error.message)}${clearLine}\n`)
          else screen.line(error.message)
        }
      }
    } finally {
      if (isDrawn) screen.raw(normalScreen)
    }
    return undefined
  },
}

function view(
  screen: Screen,
  node: string,
  status: Status,
  before: { readonly status: Status; readonly tookMs: number } | undefined,
): string[] {
  const { line, tone } = inWords(status)
  const rows = status.spaces.map(({ name, entries, siblings, logBytes, root }): Cell[] => {
    const then = before?.status.spaces.find((space) => space.name === name)
    return [
      name,
      String(entries),
      String(siblings),
      sizeText(logBytes),
      then === undefined || before === undefined ? '' : rate(logBytes - then.logBytes, before.tookMs),
      { text: root.slice(0, 16), tone: then !== undefined && then.root !== root ? 'good' : 'dim' },
    ]
  })
  return [
    `node ${status.node} at ${node}, ${status.state}`,
    `synced: ${screen.paint(tone, line)}`,
    `${sizeText(status.waitingBytes)} wait for the disk, ${sizeText(status.fleet.queueBytes)} for peers`,
    '',
    ...screen.grid(['space', 'entries', 'values', 'log', 'log a second', 'root'], rows),
    '',
    ...(status.peers.length === 0 ? ['alone'] : screen.grid(peerColumns, status.peers.map(peerRow))),
  ]
}

function rate(sizeBytes: number, tookMs: number): string {
  // Pruning takes away what was written: that is no rate.
  return sizeBytes <= 0 ? '' : `${sizeText((1000 * sizeBytes) / tookMs)}/s`
}
