/**
 * Who is at work on a case: cells of an entry beside it. They say what people and agents have said about it, and decide
 * nothing.
 *
 *   ['ack']             somebody has taken note of it
 *   ['owner']           whose it is
 *   ['snooze']          until when nobody is to be troubled with it
 *   ['p', origin, seq]  a proposal: a choice, by whom, why, and how sure he is
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

export interface Handling {
  readonly stage: Stage
  readonly owner: string | undefined
  readonly assigned: Said | undefined
  readonly acknowledged: Said | undefined
  readonly snoozed: (Said & { readonly untilMs: number }) | undefined
  readonly proposals: readonly Proposal[]
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
export type QueueCell = 'acknowledged' | 'assigned' | 'snoozed' | 'proposed'

export const queueCells: readonly QueueCell[] = ['acknowledged', 'assigned', 'snoozed', 'proposed']

export function queueCell(path: Path): QueueCell | undefined {
  if (path === ackPath) return 'acknowledged'
  if (path === ownerPath) return 'assigned'
  if (path === snoozePath) return 'snoozed'
  return proposalAt(path) === undefined ? undefined : 'proposed'
}

function proposalPath({ origin, seq }: Dot): Path {
  return pathOf(['p', origin, seq])
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
    raisedAt: raised,
    dueAt,
    overdue: isOpen && dueAt <= nowMs,
  }
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
