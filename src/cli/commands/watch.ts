/** Changes as they happen. A broken connection is taken up again where it broke: nothing is left out without being said. */
import { setTimeout as sleep } from 'node:timers/promises'
import { OutOfReach } from '../command.ts'
import type { Call, Command } from '../command.ts'
import { valueText } from '../screen.ts'

interface Change {
  readonly kind: 'change' | 'gap'
  readonly key?: string
  readonly type?: string
  readonly deleted?: boolean
  readonly agent?: string
  readonly reason?: string
  readonly at?: number
  readonly local?: boolean
  readonly conflict?: boolean
  readonly cause?: string
  readonly token?: string
}

/** Between two attempts to reach a node that went away. A guess: as long as a restart takes. */
const againMs = 1000

export const watchCommand: Command = {
  name: 'watch',
  says: 'print changes of a space as they happen, until Ctrl-C',
  more: 'With --json one object a line, each with the token to go on from. A gap says that changes were left out, and why.',
  args: [{ name: 'SPACE' }, { name: 'PREFIX', optional: true }],
  options: {
    key: { takes: 'KEY', help: 'Only this entry.' },
    since: { takes: 'TOKEN', help: 'Begin after this token rather than now.' },
    count: { takes: 'N', help: 'End after so many.' },
  },
  examples: ['skein watch tasks', 'skein watch tasks t- --json | while read -r change; do …; done'],
  async run(call) {
    const [space = '', prefix] = call.args
    const most = Number(call.text('count') ?? Infinity)
    let since = call.text('since')
    for (let seen = 0, begun = false; ;) {
      try {
        const query = { space, prefix, key: call.text('key'), since }
        for await (const { id, event, data } of call.client().events('/v1/watch', { query, signal: call.stop })) {
          begun = true
          if (id !== undefined) since = id
          if (event !== 'change' && event !== 'gap') continue
          tell(call, { ...(data as Change), kind: event })
          if (++seen >= most) return undefined
        }
        if (call.stop.aborted) return undefined
      } catch (error) {
        if (call.stop.aborted) return undefined
        // Whoever never answered is out of reach; whoever did is coming back, or is told so.
        if (!begun || !(error instanceof OutOfReach)) throw error
      }
      call.screen.progress('the node is away; trying again')
      await sleep(againMs, undefined, { signal: call.stop }).catch(() => undefined)
    }
  },
}

function tell({ json, screen }: Call, change: Change): void {
  if (json) return screen.line(JSON.stringify(change))
  if (change.kind === 'gap')
    return screen.line(screen.paint('doubtful', `changes were left out: ${change.cause ?? ''}`))
  const { key = '', type = '', deleted, agent = '', reason, at = 0, local, conflict } = change
  const notes = [
    deleted === true ? 'deleted' : type,
    local === true ? `by ${agent}` : `by ${agent}, elsewhere`,
    ...(reason === undefined ? [] : [reason]),
  ]
  const doubt = conflict === true ? [screen.paint('doubtful', 'concurrent writes')] : []
  screen.line([new Date(at).toISOString(), valueText(key), notes.join(', '), ...doubt].join('  '))
}
