/** Conflicts: what merging could not settle, on one screen each, and deciding it. */
import type { Dot } from '../../crdt/dot.ts'
import type { Choice } from '../../merge/case.ts'
import type { Conflict } from '../../merge/evidence.ts'
import type { Stage } from '../../merge/queue.ts'
import { severities } from '../../merge/rule.ts'
import type { Client } from '../client.ts'
import { pathTo } from '../client.ts'
import { Refused, UsageError, valueOf, whole } from '../command.ts'
import type { Answer, Call, Cell, Command, Options } from '../command.ts'
import { decideAll } from '../conflict-decider.ts'
import { choiceText, severityTones, short, stageText, viewOf, waysOut } from '../conflict-screen.ts'
import type { ConflictView } from '../conflict-screen.ts'
import { TerminalKeyboard } from '../keyboard.ts'
import { program } from '../program.ts'
import { countText, timeText } from '../screen.ts'
import { timeOf } from './entries.ts'

const id = { name: 'ID' } as const
const inSpace: Options = { space: { takes: 'SPACE', help: 'Only look in this space.' } }

const deedOptions: Options = {
  ...inSpace,
  reason: { takes: 'TEXT', help: 'Why, for the record.' },
  wait: {
    takes: 'WHAT',
    words: ['durable', 'none', 'all'],
    help: 'What to wait for: `durable` (the default), `none`, `peers:2` (that many have it on their disks), `all`.',
  },
}

const choiceOptions: Options = {
  revision: {
    takes: 'REVISION',
    help: 'The one that was looked at, as `conflicts show` tells it; its beginning will do.',
  },
  pick: { takes: 'SIDE', help: 'That side stands: its number on the screen, or ORIGIN-SEQ.' },
  value: { takes: 'VALUE', help: 'A value of its own: JSON, or else a text.' },
  'keep-both': { help: 'All sides stand.' },
  compensate: { takes: 'ACTION', help: 'Something is undone outside, by what ACTION says.' },
  dismiss: { help: 'It was no conflict.' },
}

/** Not those of the queue itself: a command that says one thing should not load half of the node. */
const stages: readonly string[] = Object.keys({
  open: true,
  acknowledged: true,
  assigned: true,
  proposed: true,
  snoozed: true,
  resolved: true,
  dismissed: true,
} satisfies Record<Stage, true>)

const listOptions: Options = {
  prefix: { takes: 'PREFIX', help: 'Only where an entry with a part in it has a key that begins so.' },
  rule: { takes: 'RULE', help: 'Only those that this rule found.' },
  state: { takes: 'STATE', words: ['open', 'settled', 'all'], help: '`open` (the default), `settled` or `all`.' },
  stage: {
    takes: 'STAGE',
    words: stages,
    help: 'How far it has come: `acknowledged`, `snoozed`, `resolved` and so on.',
  },
  severity: { takes: 'SEVERITY', words: severities, help: '`low`, `medium`, `high` or `critical`.' },
  owner: { takes: 'AGENT', help: 'Only those that are assigned to this agent.' },
  overdue: { help: 'Only those whose time is over.' },
  limit: { takes: 'N', help: 'At most so many (100).' },
}

export const conflictCommands: readonly Command[] = [
  {
    name: 'conflicts',
    says: 'what merging could not settle (`conflicts ls`)',
    args: [{ name: 'SPACE', optional: true }],
    options: listOptions,
    examples: ['skein conflicts'],
    run: list,
  },
  {
    name: 'conflicts ls',
    says: 'list conflicts: open ones unless told otherwise',
    args: [{ name: 'SPACE', optional: true }],
    options: listOptions,
    examples: ['skein conflicts ls', 'skein conflicts ls orders --severity critical --overdue --json'],
    run: list,
  },
  {
    name: 'conflicts show',
    says: 'all that it takes to decide a conflict, on one screen',
    more: 'What happened, the sides beside one another with what each had seen, what stood there before, whether something may have been done twice, what to do next, and the history around it. The beginning of an id will do. --json holds the same, for an agent.',
    args: [id],
    options: inSpace,
    examples: ['skein conflicts show 7d2f03aa', 'skein conflicts show 7d2f03aa --json'],
    async run(call) {
      const { screen } = call
      const conflict = await look(call, await idOf(call))
      const lines = viewOf(screen, conflict, Date.now())
      const ways = conflict.state === 'open' ? ['', ...waysOut(conflict, program)] : []
      return { data: conflict, text: [...lines, ...ways].join('\n') }
    },
  },
  {
    name: 'conflicts resolve',
    says: 'decide a conflict; on a terminal without more, side by side and by keys',
    more: 'A decision holds for the revision that was looked at, or not at all, so by options it takes --revision and one of --pick, --value, --keep-both, --compensate and --dismiss. Without them, on a terminal, it shows the conflict and asks; without ID all open ones, the worst first.',
    args: [{ name: 'ID', optional: true }],
    options: { ...choiceOptions, ...deedOptions },
    examples: [
      'skein conflicts resolve',
      "skein conflicts resolve 7d2f03aa --revision 9c1e22ab --pick 1 --reason 'asked the bank'",
    ],
    async run(call) {
      if (!hasChoice(call)) return interactive(call)
      const conflict = await look(call, await idOf(call))
      const choice = choiceOf(call, conflict)
      return done(await act(call, conflict.id, 'resolve', { revision: revisionOf(call, conflict), choice }), (now) =>
        now.state === 'settled'
          ? `decided: ${choiceText(choice, now)}`
          : 'decided, and it is open again: look once more',
      )
    },
  },
  {
    name: 'conflicts ack',
    says: 'take note of a conflict, so that others see that somebody has',
    args: [id],
    options: deedOptions,
    examples: ['skein conflicts ack 7d2f03aa --agent ada'],
    run: async (call) => done(await act(call, await idOf(call), 'ack', {}), handled),
  },
  {
    name: 'conflicts assign',
    says: "say whose a conflict is; without AGENT nobody's",
    args: [id, { name: 'AGENT', optional: true }],
    options: deedOptions,
    examples: ['skein conflicts assign 7d2f03aa ada', 'skein conflicts assign 7d2f03aa'],
    run: async (call) => done(await act(call, await idOf(call), 'assign', { to: call.args[1] ?? null }), handled),
  },
  {
    name: 'conflicts snooze',
    says: 'put a conflict off for that long: until then it is not overdue; 0 ends it',
    args: [id, { name: 'TIME' }],
    options: deedOptions,
    examples: ['skein conflicts snooze 7d2f03aa 4h'],
    async run(call) {
      const forMs = timeOf(call.args[1] ?? '', 's')
      return done(await act(call, await idOf(call), 'snooze', { forMs }), handled)
    },
  },
  {
    name: 'conflicts propose',
    says: 'put a decision before whoever decides; it changes nothing else',
    args: [id],
    options: {
      ...choiceOptions,
      confidence: { takes: 'SHARE', help: 'How sure you are, from 0 to 1.' },
      ...deedOptions,
    },
    examples: [
      "skein conflicts propose 7d2f03aa --revision 9c1e22ab --keep-both --confidence 0.8 --reason 'two orders'",
    ],
    async run(call) {
      const conflict = await look(call, await idOf(call))
      const confidence = call.text('confidence')
      const body = {
        revision: revisionOf(call, conflict),
        choice: choiceOf(call, conflict),
        ...(confidence !== undefined && { confidence: shareOf(confidence) }),
      }
      return done(await act(call, conflict.id, 'propose', body), handled)
    },
  },
]

async function list(call: Call): Promise<Answer> {
  const limit = whole(call.text('limit') ?? '100', 'N')
  const query = {
    space: call.args[0],
    overdue: call.has('overdue') ? 'true' : undefined,
    ...Object.fromEntries(
      ['prefix', 'rule', 'state', 'stage', 'severity', 'owner'].map((name) => [name, call.text(name)]),
    ),
  }
  const found: Conflict[] = []
  let isMore = false
  for await (const conflict of listed(call.client(), query)) {
    isMore = found.length >= limit
    if (isMore) break
    found.push(conflict)
  }
  const nowMs = Date.now()
  const rows = found.toSorted(byWeight).map((conflict): Cell[] => {
    const { severity, space, rule, keys, branches, raisedAt } = conflict
    const agents = [...new Set(branches.map(({ agent }) => agent))].join(', ')
    const stage = stageText(conflict, nowMs)
    return [
      short(conflict.id),
      { text: severity, tone: severityTones[severity] },
      space,
      keys.join(', '),
      rule,
      agents,
      `${timeText(nowMs - raisedAt)} ago`,
      conflict.overdue ? { text: stage, tone: 'bad' } : stage,
    ]
  })
  const columns = ['id', 'severity', 'space', 'entries', 'rule', 'who', 'raised', 'state']
  const more = isMore ? ' There are more: --limit N.' : ''
  return {
    data: found,
    text: { columns, rows, none: 'no conflicts' },
    ...(found.length > 0 &&
      call.screen.isTerminal && {
        note: `${program} conflicts show ${short(found[0]?.id ?? '')} tells all of one.${more}`,
      }),
  }
}

/** The worst first, then what has waited longest. */
function byWeight(one: Conflict, other: Conflict): number {
  const weight = ({ severity }: Conflict): number => severities.indexOf(severity)
  return weight(other) - weight(one) || one.raisedAt - other.raisedAt
}

async function* listed(
  client: Client,
  query: Readonly<Record<string, string | undefined>>,
): AsyncGenerator<Conflict, void, void> {
  let cursor: string | undefined
  do {
    const page = (await client.get('/v1/conflicts', { query: { ...query, cursor } })) as {
      readonly conflicts: readonly Conflict[]
      readonly cursor?: string
    }
    yield* page.conflicts
    cursor = page.cursor
  } while (cursor !== undefined)
}

/** The whole id of the one that was named by its beginning. */
async function idOf(call: Call): Promise<string> {
  const given = call.args[0] ?? ''
  if (given.length === 32) return given
  if (!/^[0-9a-f]{4,31}$/.test(given)) throw new UsageError(`ID is four or more of the digits of an id, not ${given}`)
  const found: string[] = []
  for await (const conflict of listed(call.client(), { space: call.text('space'), state: 'all' })) {
    if (conflict.id.startsWith(given)) found.push(conflict.id)
  }
  const [only, another] = found
  if (only === undefined)
    throw new Refused('unknown_conflict', `no conflict begins with ${given}`, 'List them: conflicts ls.')
  if (another !== undefined) throw new UsageError(`${found.length} conflicts begin with ${given}: give more digits`)
  return only
}

async function look(call: Call, whole: string): Promise<ConflictView> {
  return (await call.client().get(pathTo('conflicts', whole), { query: { space: call.text('space') } })) as ConflictView
}

interface Done {
  readonly version: string
  readonly durable: boolean
  readonly changed: boolean
  readonly reached?: { readonly met: boolean; readonly missing: readonly string[] }
  readonly conflict?: Conflict
}

async function act(call: Call, conflict: string, what: string, body: object): Promise<Done> {
  const reason = call.text('reason')
  const query = { space: call.text('space'), wait: call.text('wait') }
  const said = { ...body, ...(reason !== undefined && { reason }) }
  return (await call.client().post(pathTo('conflicts', conflict, what), said, { query })) as Done
}

function done(answer: Done, words: (now: Conflict) => string): Answer {
  const { changed, durable, reached, conflict } = answer
  const text = !changed ? 'it was so before' : conflict === undefined ? 'done' : words(conflict)
  const isSafe = durable && reached?.met !== false
  if (isSafe) return { data: answer, text }
  const missing = durable ? `not yet at ${reached?.missing.join(', ') || 'enough peers'}` : 'not waited for the disk'
  return {
    data: answer,
    text,
    note: `${missing}: it is applied here, and goes on by itself`,
    yes: reached?.met !== false,
  }
}

function handled(now: Conflict): string {
  return `${short(now.id)} is ${stageText(now, Date.now())}`
}

const choices = ['pick', 'value', 'keep-both', 'compensate', 'dismiss']

function hasChoice(call: Call): boolean {
  return call.has('revision') || choices.some((name) => call.has(name))
}

function choiceOf(call: Call, { branches }: Conflict): Choice {
  const given = choices.filter((name) => call.has(name))
  const [kind] = given
  if (given.length !== 1) throw new UsageError(`give one of ${choices.map((name) => `--${name}`).join(', ')}`)
  const text = call.text(kind ?? '') ?? ''
  switch (kind) {
    case 'pick':
      return { kind, branch: sideOf(text, branches) }
    case 'value':
      return { kind: 'write', value: valueOf(text) as NonNullable<Choice['value']> }
    case 'compensate':
      return { kind, action: text }
    case 'dismiss':
      return { kind }
    default:
      return { kind: 'keep-both' }
  }
}

function sideOf(text: string, branches: Conflict['branches']): Dot {
  const byName = branches.find(({ dot: { origin, seq } }) => text === `${origin}-${seq}`)
  const side = byName ?? (/^\d+$/.test(text) ? branches[Number(text) - 1] : undefined)
  if (side === undefined) throw new UsageError(`--pick is a side from 1 to ${branches.length}, not ${text}`)
  return side.dot
}

/** What was looked at: what is there now may be something else, so it is never taken for granted. */
function revisionOf(call: Call, { revision }: Conflict): string {
  const given = call.text('revision')
  if (given === undefined || given.length < 4) {
    throw new UsageError('--revision says what was looked at: `conflicts show` tells it, and four digits of it will do')
  }
  return revision.startsWith(given) ? revision : given
}

function shareOf(text: string): number {
  const share = Number(text)
  if (text.trim() === '' || !(share >= 0 && share <= 1)) throw new UsageError(`SHARE is from 0 to 1, not ${text}`)
  return share
}

async function interactive(call: Call): Promise<Answer> {
  const { screen, json } = call
  const { stdin, stdout } = process
  if (json || !screen.isTerminal || !stdin.isTTY) {
    throw new UsageError(`off a terminal, give --revision and one of ${choices.map((name) => `--${name}`).join(', ')}`)
  }
  const one = call.args.length > 0 ? await idOf(call) : undefined
  const open = one === undefined ? await Array.fromAsync(listed(call.client(), { space: call.text('space') })) : []
  const ids = one === undefined ? open.toSorted(byWeight).map((conflict) => conflict.id) : [one]
  const { decided, left } = await decideAll(ids, {
    screen,
    keyboard: new TerminalKeyboard(stdin, stdout),
    now: Date.now,
    look: (each) => look(call, each),
    async decide({ id: whole, revision, space }, choice, reason) {
      const body = { revision, choice, ...(reason !== undefined && { reason }) }
      await call.client().post(pathTo('conflicts', whole, 'resolve'), body, { query: { space } })
    },
  })
  const text = ids.length === 0 ? 'no conflicts' : `${countText(decided, 'conflict')} decided, ${left} left`
  return { data: { decided, left }, text, yes: left === 0 }
}
