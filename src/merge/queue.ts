/**
 * Who is at work on a case: cells of an entry beside it. They say what people and agents have said about it, and decide
 * nothing.
 *
 *   ['ack']             somebody has taken note of it
 *   ['owner']           whose it is
 *   ['snooze']          until when nobody is to be troubled with it
 *   ['p', origin, seq]  a proposal: a choice, by whom, why, and how sure he is
 *   ['e', name]         an errand outside, which one node runs: taken, done or failed, by which node, and what came of it
 *
 * Of two that were said at once the later holds, by (time, dot), everywhere alike. Taking note and putting off hold for one
 * *round*, the decisions that had been made by then: a case that was settled and opens again is news to everybody.
 */
import { SkeinError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Value } from '../base/value.ts'
import { newest, pathOf, pathValue } from '../crdt/cell.ts'
import type { Path, Siblings } from '../crdt/cell.ts'
import { timeToMs } from '../crdt/clock.ts'
import type { Dot } from '../crdt/dot.ts'
import type { Cells, CrdtType } from '../crdt/type.ts'
import { branchPath, choiceDigest, choiceIn, choiceValue, dotName, dotOf, headPath } from './case.ts'
import type { Case, Choice } from './case.ts'
import { isObject, valueIn } from './deed.ts'
import type { Severity } from './rule.ts'
import { digestOf, systemTypes } from './system.ts'

/**
 * How far it has come. `snoozed`, `proposed`, `assigned` and `acknowledged` are all open: the first of them that is so is
 * told. `resolved` and `dismissed` are settled.
 */
export type Stage = 'open' | 'acknowledged' | 'assigned' | 'proposed' | 'snoozed' | 'resolved' | 'dismissed'
export const stages: readonly Stage[] = [
  'open',
  'acknowledged',
  'assigned',
  'proposed',
  'snoozed',
  'resolved',
  'dismissed',
]

/** Something that was said of a case. */
export interface Said {
  readonly agent: string
  /** Wall-clock milliseconds. */
  readonly at: number
  readonly reason: string | undefined
}

export interface Proposal extends Said {
  readonly dot: Dot
  readonly choice: Choice
  /** From 0 to 1, as whoever proposes puts it. */
  readonly confidence: number | undefined
  /** The revision that it was made on. */
  readonly revision: string
  /** The case has moved since: it is a proposal about something else. */
  readonly isStale: boolean
}

/** What one node does for all, outside: somebody is told, a resolver is asked, an action is run. */
export interface Mark extends Said {
  readonly name: string
  readonly state: 'taken' | 'done' | 'failed'
  readonly node: string
  /** A receipt, or why it failed. */
  readonly result: Value | undefined
}

/** Somebody was told of it. */
export interface Notice {
  /** 0 for the first target; the next ones are told when it is overdue. */
  readonly level: number
  readonly state: Mark['state']
  readonly node: string
  readonly at: number
}

/** An action that was to undo something, and what came of it. */
export interface Compensation {
  /** The same for whoever runs it and however often: what is done under one key is to be done once. */
  readonly key: string
  readonly state: Mark['state']
  readonly node: string
  readonly at: number
  readonly receipt: Value | undefined
  readonly failure: string | undefined
}

export interface Handling {
  readonly stage: Stage
  readonly owner: string | undefined
  readonly assigned: Said | undefined
  readonly acknowledged: Said | undefined
  readonly snoozed: (Said & { readonly untilMs: number }) | undefined
  readonly proposals: readonly Proposal[]
  readonly notices: readonly Notice[]
  readonly compensations: readonly Compensation[]
  /** Since when it has been open, this time. Wall-clock milliseconds. */
  readonly raisedAt: number
  /** Until when somebody is to have decided. */
  readonly dueAt: number
  readonly overdue: boolean
}

export type DueTimes = Readonly<Record<Severity, number>>

const minuteMs = 60_000
/** How long a conflict may stay open, where the owner of the space says nothing. A guess: what on-call rotas promise. */
export const usualDueMs: DueTimes = {
  critical: 15 * minuteMs,
  high: 60 * minuteMs,
  medium: 8 * 60 * minuteMs,
  low: 72 * 60 * minuteMs,
}

const ackPath = pathOf(['ack'])
const ownerPath = pathOf(['owner'])
const snoozePath = pathOf(['snooze'])

/** What a cell of the queue is, as far as somebody is told of it. */
export type QueueCell = 'acknowledged' | 'assigned' | 'snoozed' | 'proposed' | 'notified' | 'compensated'
export const queueCells: readonly QueueCell[] = [
  'acknowledged',
  'assigned',
  'snoozed',
  'proposed',
  'notified',
  'compensated',
]

export function queueCell(path: Path, siblings: Siblings): QueueCell | undefined {
  if (path === ackPath) return 'acknowledged'
  if (path === ownerPath) return 'assigned'
  if (path === snoozePath) return 'snoozed'
  const name = markName(path)
  if (name === undefined) return proposalAt(path) === undefined ? undefined : 'proposed'
  // That somebody has set out is no news; that he is back is.
  if (markIn(name, siblings)?.state !== 'done') return undefined
  return name.startsWith('notify ') ? 'notified' : name.startsWith('run ') ? 'compensated' : undefined
}

function proposalPath({ origin, seq }: Dot): Path {
  return pathOf(['p', origin, seq])
}

export function markPath(name: string): Path {
  return pathOf(['e', name])
}

function markName(path: Path): string | undefined {
  let place: Value
  try {
    place = pathValue(path)
  } catch {
    return undefined
  }
  if (!Array.isArray(place) || place.length !== 2 || place[0] !== 'e') return undefined
  return typeof place[1] === 'string' ? place[1] : undefined
}

function proposalAt(path: Path): Dot | undefined {
  let place: Value
  try {
    place = pathValue(path)
  } catch {
    return undefined
  }
  if (!Array.isArray(place) || place.length !== 3 || place[0] !== 'p') return undefined
  return dotOf(place[1] as Value, place[2] as Value)
}

/** Names what a compensation undoes: whoever runs it, for these branches it is one thing. */
export function compensationKey({ id, branches }: Case, action: string): string {
  return digestOf([id, action, branches.map(dotName).sort()])
}

/** Names the decisions that there are. */
export function roundOf({ decisions }: Pick<Case, 'decisions'>): string {
  return decisions.length === 0 ? '' : digestOf(decisions.map(dotName).sort()).slice(0, 16)
}

interface Held extends Said {
  readonly value: Readonly<Record<string, Value>>
}

/** The latest that was said in a cell. */
function heldIn(siblings: Siblings): Held | undefined {
  const last = newest(siblings)
  const value = last && valueIn(last.value)
  if (last === undefined || !isObject(value)) return undefined
  const { reason } = value
  return {
    value,
    agent: last.agent,
    at: timeToMs(last.time),
    reason: typeof reason === 'string' ? reason : undefined,
  }
}

function plain({ agent, at, reason }: Held): Said {
  return { agent, at, reason }
}

const markStates: readonly unknown[] = ['taken', 'done', 'failed'] satisfies Mark['state'][]

export function markIn(name: string, siblings: Siblings): Mark | undefined {
  const held = heldIn(siblings)
  if (held === undefined) return undefined
  const { state, node, result } = held.value
  if (!markStates.includes(state) || typeof node !== 'string') return undefined
  return { ...plain(held), name, state: state as Mark['state'], node, result }
}

export function marksIn(cells: Cells): Mark[] {
  const found: Mark[] = []
  for (const [path, siblings] of cells.all()) {
    const name = markName(path)
    const mark = name === undefined ? undefined : markIn(name, siblings)
    if (mark !== undefined) found.push(mark)
  }
  return found
}

/** Names of errands. They say what it is about, so that the next one of the kind is another. */
export const errandNames = {
  notify: (level: number, round: string): string => `notify ${level} ${round}`,
  ask: (resolver: string, revision: string): string => `ask ${revision} ${resolver}`,
  run: (key: string): string => `run ${key}`,
  /** Somebody is told that an action failed. */
  failed: (key: string): string => `notify-failed ${key}`,
}

function noticesIn(marks: readonly Mark[], round: string): Notice[] {
  const found = marks.flatMap(({ name, state, node, at }) => {
    const [kind, level, of = ''] = name.split(' ')
    return kind === 'notify' && of === round ? [{ level: Number(level), state, node, at }] : []
  })
  return found.sort((a, b) => a.level - b.level)
}

function compensationsIn(marks: readonly Mark[]): Compensation[] {
  return marks.flatMap(({ name, state, node, at, result }) => {
    const [kind, key] = name.split(' ')
    if (kind !== 'run' || key === undefined) return []
    const isDone = state === 'done'
    const failure = state === 'failed' && typeof result === 'string' ? result : undefined
    return [{ key, state, node, at, receipt: isDone ? result : undefined, failure }]
  })
}

export function proposalsIn(cells: Cells, revision: string): Proposal[] {
  const found: Proposal[] = []
  for (const [path, siblings] of cells.all()) {
    const dot = proposalAt(path)
    const held = dot && heldIn(siblings)
    const choice = held && choiceIn(held.value)
    if (dot === undefined || held === undefined || choice === undefined) continue
    const { confidence, revision: on } = held.value
    found.push({
      ...plain(held),
      dot,
      choice,
      confidence: typeof confidence === 'number' ? confidence : undefined,
      revision: typeof on === 'string' ? on : '',
      isStale: on !== revision,
    })
  }
  return found.sort((a, b) => a.at - b.at || (dotName(a.dot) < dotName(b.dot) ? -1 : 1))
}

/** When the first sibling of a cell was written: the same everywhere, whoever wrote it too. */
function writtenAt(siblings: Siblings): number | undefined {
  if (siblings.length === 0) return undefined
  return timeToMs(siblings.reduce((least, { time }) => Math.min(least, time), Infinity))
}

/** Since when it is open, this time: since it was raised, or since that came which opened it again. */
function raisedAt(known: Case, cells: Cells): number {
  const { decisions, unsettled, contradictory } = known
  const first = writtenAt(cells.get(headPath)) ?? timeToMs(known.branches.at(-1)?.time ?? 0)
  if (decisions.length === 0) return first
  const opened = unsettled.map((branch) => writtenAt(cells.get(branchPath(branch))) ?? timeToMs(branch.time))
  if (contradictory) opened.push(...decisions.map(({ time }) => timeToMs(time)))
  return opened.reduce((latest, at) => Math.max(latest, at), first)
}

/** What all that was said comes to. `cells` are those of the case, `said` those of its queue. */
export function handlingOf(known: Case, cells: Cells, said: Cells, dueMs: DueTimes, nowMs: number): Handling {
  const round = roundOf(known)
  const inRound = (path: Path): Held | undefined => {
    const held = heldIn(said.get(path))
    return held?.value['round'] === round ? held : undefined
  }
  const ack = inRound(ackPath)
  const put = inRound(snoozePath)
  const owned = heldIn(said.get(ownerPath))
  const owner = typeof owned?.value['to'] === 'string' ? owned.value['to'] : undefined
  const untilMs = typeof put?.value['until'] === 'number' ? put.value['until'] : 0
  const snoozed = put !== undefined && untilMs > nowMs ? { ...plain(put), untilMs } : undefined
  const proposals = proposalsIn(said, known.revision)
  const marks = marksIn(said)
  const raised = raisedAt(known, cells)
  const dueAt = Math.max(raised + dueMs[known.severity], untilMs)
  const isOpen = known.state === 'open'
  const last = known.decisions.at(-1)
  let stage: Stage = 'open'
  if (!isOpen) stage = last?.choice.kind === 'dismiss' ? 'dismissed' : 'resolved'
  else if (snoozed !== undefined) stage = 'snoozed'
  else if (proposals.some(({ isStale }) => !isStale)) stage = 'proposed'
  else if (owner !== undefined) stage = 'assigned'
  else if (ack !== undefined) stage = 'acknowledged'
  return {
    stage,
    owner,
    assigned: owner === undefined || owned === undefined ? undefined : plain(owned),
    acknowledged: ack && plain(ack),
    snoozed,
    proposals,
    notices: noticesIn(marks, round),
    compensations: compensationsIn(marks),
    raisedAt: raised,
    dueAt,
    overdue: isOpen && dueAt <= nowMs,
  }
}

/** What is recorded of an errand; without a state it is open again, to whoever comes next. */
export interface Marking {
  readonly name: string
  readonly state: Mark['state'] | undefined
  readonly node: string
  readonly result?: Value | undefined
}

/** A proposal as it is to be recorded. */
export interface Proposing {
  readonly choice: Choice
  readonly revision: string
  readonly confidence: number | undefined
}

/** The cells of a queue. Each operation is silent where it would say again what holds. */
export const queueType: CrdtType<null> = {
  id: systemTypes.queue,
  name: 'queue',
  merge: 'what was said last holds; proposals come together',
  operations: {
    acknowledge: {
      parameters: ['round', 'reason'],
      run(cells, change, { round, reason }) {
        const held = heldIn(cells.get(ackPath))
        if (held?.value['round'] === round && held?.agent === change.agent) return undefined
        change.put(ackPath, { round: round as string, ...reasonIn(reason) })
        return undefined
      },
    },
    assign: {
      parameters: ['to', 'reason'],
      run(cells, change, { to, reason }) {
        const owner = (to as string | undefined) ?? null
        if ((heldIn(cells.get(ownerPath))?.value['to'] ?? null) === owner) return undefined
        change.put(ownerPath, { to: owner, ...reasonIn(reason) })
        return undefined
      },
    },
    snooze: {
      parameters: ['until', 'round', 'reason'],
      run(cells, change, { until, round, reason }) {
        const held = heldIn(cells.get(snoozePath))?.value
        if (held?.['until'] === until && held?.['round'] === round) return undefined
        change.put(snoozePath, { until: until as number, round: round as string, ...reasonIn(reason) })
        return undefined
      },
    },
    mark: {
      parameters: ['marking', 'reason'],
      run(cells, change, args) {
        const { name, state, node, result } = args['marking'] as Marking
        const path = markPath(name)
        if (state !== undefined) change.put(path, { state, node, ...(result !== undefined && { result }) })
        else if (cells.get(path).length > 0) change.remove(path)
        return undefined
      },
    },
    propose: {
      parameters: ['proposing', 'reason'],
      run(cells, change, args) {
        const { choice, revision, confidence } = args['proposing'] as Proposing
        const known = proposalsIn(cells, revision)
        const digest = choiceDigest(choice)
        const isSame = (one: Proposal): boolean =>
          !one.isStale && one.agent === change.agent && choiceDigest(one.choice) === digest
        if (known.some((one) => isSame(one) && one.confidence === confidence)) return undefined
        const stale = known.filter(({ isStale }) => isStale)
        if (known.length >= limits.caseProposals) for (const { dot } of stale) change.remove(proposalPath(dot))
        if (known.length - stale.length >= limits.caseProposals) {
          throw new SkeinError('too_large', `a conflict has at most ${limits.caseProposals} proposals: decide`, {
            limit: limits.caseProposals,
          })
        }
        change.put(proposalPath(change), {
          ...choiceValue(choice),
          revision,
          ...(confidence !== undefined && { confidence }),
          ...reasonIn(args['reason']),
        })
        return undefined
      },
    },
  },
  read: () => ({ value: null, concurrent: [] }),
}

function reasonIn(reason: unknown): { readonly reason?: string } {
  return typeof reason === 'string' ? { reason } : {}
}
