/** The node and the fleet round it: is it well, is it synced, and who is behind? */
import type { Client } from '../client.ts'
import { pathTo } from '../client.ts'
import { UsageError } from '../command.ts'
import type { Answer, Cell, Command, Tone } from '../command.ts'
import { countText, sizeText, timeText } from '../screen.ts'
import { auditProof } from './audit.ts'

export interface Peer {
  readonly node: string
  readonly address?: string
  /** `unknown`: it was met in an earlier run, and not since. */
  readonly state: 'alive' | 'suspect' | 'dead' | 'left' | 'unknown'
  readonly heardMs?: number
  /** Changes that one of the two lacks. */
  readonly lacks: { readonly here: number; readonly there: number }
  readonly zone?: string
  readonly linked?: boolean
  readonly onRoster?: boolean
  readonly queueBytes: number
  readonly stuck?: string
}

export interface Status {
  readonly node: string
  readonly origin: string
  readonly state: string
  readonly waitingBytes: number
  readonly addresses?: readonly string[]
  readonly spaces: readonly SpaceStatus[]
  readonly peers: readonly Peer[]
  readonly fleet: { readonly gaps: number; readonly lagMs: number; readonly queueBytes: number }
}

interface SpaceStatus {
  readonly name: string
  readonly generation: number
  readonly entries: number
  readonly siblings: number
  readonly origins: number
  readonly logBytes: number
  readonly root: string
}

interface Session {
  readonly space: string
  readonly peer: string
  readonly outcome: 'equal' | 'synced' | 'failed'
  readonly deltas: number
  readonly cells: number
  readonly sizeBytes: number
}

interface Verdict {
  readonly space: string
  readonly root: string
  readonly peers: readonly {
    readonly node: string
    readonly verdict: 'equal' | 'different' | 'undecided' | 'unreachable'
    readonly root?: string
    readonly keys: readonly string[]
  }[]
}

const inSpace = { name: 'SPACE', optional: true } as const

/** Anti-entropy with a far peer may take long; a terminal shows that it goes on. */
const syncMs = 300_000

export const fleetCommands: readonly Command[] = [
  {
    name: 'spaces',
    says: 'list spaces',
    examples: ['skein spaces'],
    async run(call) {
      const spaces = await spacesOf(call.client())
      const rows = spaces.map(({ name, entries, siblings, logBytes, root }) => [
        name,
        String(entries),
        String(siblings),
        sizeText(logBytes),
        root,
      ])
      return {
        data: spaces,
        text: { columns: ['space', 'entries', 'values', 'log', 'root'], rows, none: 'no spaces yet' },
      }
    },
  },
  {
    name: 'status',
    says: 'how the node is, whether it is synced, and who is behind',
    more: 'Exits with 1 when the node takes no writes, or is behind.',
    examples: ['skein status', 'skein status --json'],
    async run(call) {
      const status = await statusOf(call.client())
      const { line, tone } = inWords(status)
      const { screen } = call
      const rows = status.spaces.map(({ name, entries, logBytes, root }) => [
        '',
        `${name}: ${countText(entries, 'entry', 'entries')}, ${sizeText(logBytes)} of log, root ${root.slice(0, 16)}`,
      ])
      const facts = [
        ['node', status.node],
        ['state', status.state === 'open' ? 'open' : `${status.state}: the disk refuses writes`],
        ['disk', status.waitingBytes === 0 ? 'has everything' : `${sizeText(status.waitingBytes)} wait for it`],
        ['synced', line],
        [
          'peers',
          `${peersLine(status.peers)}${status.addresses?.length ? `; this one is at ${status.addresses.join(', ')}` : ''}`,
        ],
        ['spaces', status.spaces.length === 0 ? 'none yet' : String(status.spaces.length)],
      ].map(([name = '', what = '']) => `${name.padEnd(8)}${name === 'synced' ? screen.paint(tone, what) : what}`)
      const spaces = rows.map(([, what = '']) => `        ${what}`)
      return { data: status, text: [...facts, ...spaces].join('\n'), yes: status.state === 'open' && tone !== 'bad' }
    },
  },
  {
    name: 'peers',
    says: 'the other nodes, and how far behind each is (`peers ls`)',
    examples: ['skein peers'],
    run: (call) => peers(call.client()),
  },
  {
    name: 'peers ls',
    says: 'the other nodes, and how far behind each is',
    more: 'LACKS is what this node has and of which the peer has not yet said that its disk has it; HAS MORE is the other way round. Logs wait for members on the roster; STUCK ON says who keeps them from being pruned.',
    examples: ['skein peers ls', 'skein peers ls --json'],
    run: (call) => peers(call.client()),
  },
  {
    name: 'peers forget',
    says: 'wait for a node no more: it is gone for good',
    more: 'Logs are pruned without it from then on. Should it come back, it catches up by comparing everything. One that is alive is met again at once.',
    args: [{ name: 'NODE' }],
    examples: ['skein peers forget 6dedb4efc6684685'],
    async run(call) {
      const [node = ''] = call.args
      const data = await call.client().delete(pathTo('peers', node))
      return { data, text: `${node} is forgotten` }
    },
  },
  {
    name: 'peers roster',
    says: 'whom the logs of this node wait for; with NODE, wait for that one too',
    args: [{ name: 'NODE', optional: true }],
    examples: ['skein peers roster', 'skein peers roster 6dedb4efc6684685'],
    async run(call) {
      const [node] = call.args
      const client = call.client()
      const answer = node === undefined ? client.get(pathTo('roster')) : client.json('PUT', pathTo('roster', node))
      const { roster } = (await answer) as { readonly roster: readonly string[] }
      return { data: roster, text: roster.join('\n') || 'nobody' }
    },
  },
  {
    name: 'sync',
    says: 'compare with all peers now, and exchange what is missing',
    args: [inSpace],
    examples: ['skein sync', 'skein sync tasks'],
    async run(call) {
      call.screen.progress('comparing …')
      const query = { space: call.args[0] }
      const { sessions } = (await call.client().post('/v1/sync', undefined, { query, timeoutMs: syncMs })) as {
        readonly sessions: readonly Session[]
      }
      const tones = { equal: 'good', synced: 'good', failed: 'bad' } as const
      const rows = sessions.map(({ space, peer, outcome, deltas, cells, sizeBytes }): Cell[] => [
        space,
        peer,
        { text: outcome, tone: tones[outcome] },
        String(deltas),
        String(cells),
        sizeText(sizeBytes),
      ])
      const columns = ['space', 'peer', 'outcome', 'deltas', 'cells', 'bytes']
      const none = 'no peers to sync with: whatever is here is all there is'
      return {
        data: sessions,
        text: { columns, rows, none },
        yes: sessions.every(({ outcome }) => outcome !== 'failed'),
      }
    },
  },
  {
    name: 'verify',
    says: 'prove that this node and its peers are equal; with --audit, that its record of conflicts is whole',
    more: 'Equal roots at equal vectors mean equal content, to the last value. Undecided means that a peer is at another moment, which is no fault while writes go on: try again. Exits with 1 unless all are equal.',
    args: [inSpace],
    options: { audit: { help: 'That no line of the audit was changed, left out or put in.' } },
    examples: ['skein verify', 'skein verify tasks --json', 'skein verify --audit'],
    async run(call) {
      if (call.has('audit')) {
        if (call.args.length > 0) throw new UsageError('--audit is of the whole node, not of a space')
        return auditProof(call)
      }
      call.screen.progress('verifying …')
      const answer = (await call.client().get('/v1/verify', { query: { space: call.args[0] }, timeoutMs: syncMs })) as {
        readonly equal: boolean
        readonly spaces: readonly Verdict[]
      }
      const tones = { equal: 'good', different: 'bad', undecided: 'doubtful', unreachable: 'doubtful' } as const
      const rows = answer.spaces.flatMap(({ space, root, peers: others }): Cell[][] =>
        others.length === 0
          ? [[space, '', { text: 'no peers', tone: 'dim' }, root, '']]
          : others.map(({ node, verdict, root: theirs, keys }) => [
              space,
              node,
              { text: verdict, tone: tones[verdict] },
              theirs === undefined || theirs === root ? root : `${root} here, ${theirs} there`,
              keys.join(', '),
            ]),
      )
      return {
        data: answer,
        text: { columns: ['space', 'peer', 'verdict', 'root', 'differing keys'], rows, none: 'no spaces yet' },
        yes: answer.equal,
      }
    },
  },
]

/** All spaces, page after page. */
export async function spacesOf(client: Client): Promise<readonly SpaceStatus[]> {
  const spaces: SpaceStatus[] = []
  let cursor: string | undefined
  do {
    const page = (await client.get('/v1/spaces', { query: { limit: 1000, cursor } })) as {
      readonly spaces: readonly SpaceStatus[]
      readonly cursor?: string
    }
    spaces.push(...page.spaces)
    cursor = page.cursor
  } while (cursor !== undefined)
  return spaces
}

export async function statusOf(client: Client): Promise<Status> {
  return (await client.get('/v1/status')) as Status
}

async function peers(client: Client): Promise<Answer> {
  const { peers: all } = (await client.get('/v1/peers')) as { readonly peers: readonly Peer[] }
  return { data: all, text: { columns: peerColumns, rows: all.map(peerRow), none: 'this node is alone' } }
}

export const peerColumns: readonly string[] = [
  'node',
  'address',
  'state',
  'heard',
  'lacks',
  'has more',
  'queue',
  'roster',
  'stuck on',
]

const stateTones: Readonly<Record<Peer['state'], Tone>> = {
  alive: 'good',
  suspect: 'doubtful',
  dead: 'bad',
  left: 'dim',
  unknown: 'dim',
}

export function peerRow(peer: Peer): Cell[] {
  const { node, address = '', state, heardMs, queueBytes, onRoster, stuck = '' } = peer
  return [
    node,
    address,
    { text: state, tone: stateTones[state] },
    heardMs === undefined ? 'never' : heardMs < 1000 ? 'now' : `${timeText(heardMs)} ago`,
    distance(peer, 'there'),
    distance(peer, 'here'),
    queueBytes === 0 ? '' : sizeText(queueBytes),
    onRoster === true ? 'yes' : '',
    stuck,
  ]
}

/** What one of the two lacks. Empty: nothing that is known of. */
function distance({ lacks }: Peer, who: 'here' | 'there'): string {
  return lacks[who] === 0 ? '' : countText(lacks[who], 'change')
}

/** One sentence: the question that everybody asks first. */
export function inWords({ state, peers: all, fleet }: Status): { readonly line: string; readonly tone: Tone } {
  if (state !== 'open') return { line: `the node takes no writes: ${state}`, tone: 'bad' }
  if (fleet.gaps > 0) {
    const since = fleet.lagMs === 0 ? '' : `, the oldest for ${timeText(fleet.lagMs)}`
    const what = `${countText(fleet.gaps, 'change')} of others not here yet${since}`
    return { line: `no: ${what}`, tone: 'bad' }
  }
  const here = all.filter((peer) => peer.state === 'alive' || peer.state === 'suspect')
  if (all.length === 0) return { line: 'nobody else is known', tone: 'dim' }
  if (here.length === 0) return { line: `nobody of ${all.length} can be reached`, tone: 'doubtful' }
  const behind = here.filter((peer) => distance(peer, 'there') !== '')
  if (behind.length > 0) {
    const names = behind.map((peer) => `${peer.node} (${distance(peer, 'there')})`)
    return { line: `all is here; not confirmed yet by ${names.join(', ')}`, tone: 'doubtful' }
  }
  return { line: `yes, with all ${here.length} that can be reached`, tone: 'good' }
}

export function peersLine(all: readonly Peer[]): string {
  const counts = (['alive', 'suspect', 'dead', 'left', 'unknown'] as const).map(
    (state) => [state, all.filter((peer) => peer.state === state).length] as const,
  )
  return (
    counts
      .filter(([, count]) => count > 0)
      .map(([state, count]) => `${count} ${state}`)
      .join(', ') || 'none'
  )
}
