/**
 * A conflict on one screen, from which a person can decide: what happened in words, the sides beside one another, what stood
 * there before, what may have been done twice, what to do next, and the history around it. Everything that an agent or a peer
 * wrote is folded into its place and cannot steer the terminal.
 */
import type { Dot } from '../crdt/dot.ts'
import type { Choice } from '../merge/case.ts'
import type { BranchEvidence, Conflict, Difference } from '../merge/evidence.ts'
import type { ConflictHistoryItem } from '../node/conflicts.ts'
import type { Cell, Tone } from './command.ts'
import { countText, folded, oneLine, padded, timeText, valueText } from './screen.ts'
import type { Screen } from './screen.ts'

export type ConflictView = Conflict & { readonly history: readonly ConflictHistoryItem[] }

/** Sides that stand beside one another; more are told of, and are in the JSON. */
const mostSides = 3
const labelColumns = 12
/** Lines of one value. */
const mostLines = 6
/** Items of history. */
const mostItems = 12
const widest = 120

export const severityTones: Readonly<Record<Conflict['severity'], Tone>> = {
  low: 'dim',
  medium: 'doubtful',
  high: 'bad',
  critical: 'bad',
}

const safeWords: Readonly<Record<Conflict['safe'], string>> = {
  'keep-both': 'both stand until somebody has decided',
  hold: 'its entries are held until somebody has decided',
  'keep-first': 'the first stands until somebody has decided',
  'keep-last': 'the newest is shown until somebody has decided',
}

const decidesWords: Readonly<Record<Conflict['decides'], string>> = {
  anyone: 'anyone may decide',
  agent: 'an agent may decide',
  person: 'a person is to decide',
}

/** As much of an id or a revision as tells it from others. */
export function short(id: string): string {
  return id.slice(0, 8)
}

export function viewOf(screen: Screen, conflict: ConflictView, nowMs: number, room: number = screen.columns): string[] {
  const columns = Math.min(room, widest)
  const { severity, id, space, rule, summary, branches } = conflict
  const head = `conflict ${short(id)}, ${severity}, ${stageText(conflict, nowMs)}`
  const plain = folded(`${head}, in ${space}, found by rule ${rule}`, columns)
  return [
    ...plain.map((line, at) =>
      at === 0 ? line.replace(severity, screen.paint(severityTones[severity], severity)) : line,
    ),
    ...folded(summary, columns),
    '',
    ...sides(screen, conflict, columns),
    ...(branches.length > mostSides
      ? [`${countText(branches.length - mostSides, 'side')} more: --json shows them all`]
      : []),
    '',
    ...facts(conflict, nowMs).flatMap(([name, what, tone]) => fact(screen, name, what, tone, columns)),
    ...history(screen, conflict),
  ]
}

/** How far it has come, in words. */
export function stageText({ stage, owner, snoozed, overdue, dueAt }: Conflict, nowMs: number): string {
  if (stage === 'resolved' || stage === 'dismissed') return stage
  const words = [
    stage === 'snoozed' && snoozed !== undefined ? `put off for ${timeText(snoozed.untilMs - nowMs)}` : stage,
    ...(owner === undefined || stage === 'snoozed' ? [] : [`with ${owner}`]),
    overdue ? `overdue for ${timeText(nowMs - dueAt)}` : `due in ${timeText(dueAt - nowMs)}`,
  ]
  return oneLine(words.join(', '))
}

function sides(screen: Screen, conflict: ConflictView, columns: number): string[] {
  const branches = conflict.branches.slice(0, mostSides)
  const room = Math.max(12, Math.floor((columns - labelColumns) / Math.max(1, branches.length)) - 2)
  const lines: string[] = []
  const row = (label: string, cells: readonly string[], tone?: Tone): void => {
    const all = cells.map((cell) => folded(cell, room, mostLines))
    const names = folded(label, labelColumns - 2, mostLines)
    const height = Math.max(names.length, ...all.map(({ length }) => length))
    for (let at = 0; at < height; at++) {
      const text = all.map((cell) => padded(cell[at] ?? '', room)).join('  ')
      const line = `${padded(names[at] ?? '', labelColumns)}${text}`.trimEnd()
      lines.push(tone === undefined ? line : screen.paint(tone, line))
    }
  }
  row(
    '',
    branches.map((branch, at) => `[${at + 1}]${branch.settled && conflict.state === 'open' ? ' settled' : ''}`),
    'dim',
  )
  row(
    'who',
    branches.map(({ agent }) => agent),
  )
  row(
    'when',
    branches.map(({ at }) => clockText(at)),
  )
  if (branches.some(({ reason }) => reason !== undefined)) {
    row(
      'why',
      branches.map(({ reason }) => reason ?? 'it did not say'),
    )
  }
  row(
    'had seen',
    branches.map((branch) => seenText(branch, conflict)),
  )
  if (branches.some(({ supersededBy }) => supersededBy !== undefined)) {
    row(
      'since then',
      branches.map(({ supersededBy }) =>
        supersededBy === undefined ? '' : `replaced by ${sideOf(supersededBy, conflict)}`,
      ),
    )
  }
  const several = conflict.keys.length > 1
  for (const difference of conflict.differences) {
    const { agreed, before } = difference
    row(
      cellName(difference, several),
      branches.map((branch) => wroteText(branch, difference)),
      agreed ? 'dim' : undefined,
    )
    for (const { value, agent, at } of before) {
      row('  before', [`${valueText(value ?? null)}  (${agent}, ${clockText(at)})`], 'dim')
    }
  }
  return lines
}

/** What a side had before its eyes, as far as the log can tell. */
function seenText({ dot, hadSeen }: BranchEvidence, { history: items }: ConflictView): string {
  const others = items.filter((item) => !isSame(item.dot, dot))
  const seen = others.filter(({ seenBy }) => seenBy.some((one) => isSame(one, dot)))
  const last = seen.at(-1)
  if (last === undefined && hadSeen.length > 0 && items.length === 0) return 'what it saw has left the log'
  if (last === undefined) return 'nothing of the others'
  if (seen.length === others.length) return 'all of the others'
  return `up to ${last.agent}'s change of ${clockText(last.at)}`
}

function cellName({ key, path }: Difference, several: boolean): string {
  const name = Array.isArray(path) && path.every((part) => typeof part === 'string') ? path.join('.') : valueText(path)
  const field = path === null || name === '' ? 'value' : name
  return several ? `${key} ${field}` : field
}

function wroteText(branch: BranchEvidence, { key, type, path, branches }: Difference): string {
  const wrote = branches.find(({ dot }) => isSame(dot, branch.dot))
  if (wrote === undefined) return '·'
  if (wrote.act === 'delete') return 'deleted'
  if (wrote.act === 'drop') return 'removed'
  if (wrote.value !== undefined) return valueText(wrote.value)
  const place = JSON.stringify(path)
  const part = branch.did.find((one) => one.key === key && one.type === type && JSON.stringify(one.path) === place)
  return `a value of ${part?.cutBytes ?? 0} bytes, too long to be kept`
}

function sideOf(dot: Dot, { branches }: Conflict): string {
  const at = branches.findIndex((branch) => isSame(branch.dot, dot))
  return at < 0 ? '?' : `[${at + 1}]`
}

function isSame(one: Dot, other: Dot): boolean {
  return one.origin === other.origin && one.seq === other.seq
}

function facts(
  conflict: ConflictView,
  nowMs: number,
): (readonly [name: string, what: string, tone?: Tone | undefined])[] {
  const { state, safe, decides, duplicateRisk, advice, repeats, contradictory, decisions, proposals, more } = conflict
  const isOpen = state === 'open'
  // Its own are told below.
  const before = repeats - decisions.length
  return [
    ...(isOpen ? ([['meanwhile', safeWords[safe]]] as const) : []),
    [
      'twice?',
      duplicateRisk === 'high'
        ? 'each side may have acted on the world outside: undoing a value does not undo that'
        : 'no: it is about what is stored here, and nothing outside',
      duplicateRisk === 'high' ? 'bad' : undefined,
    ],
    ...(before > 0 ? ([['before', `${countText(before, 'decision')} on this subject already`]] as const) : []),
    ...(more ? ([['sides', 'there were more than are kept']] as const) : []),
    ...proposals.map(({ agent, choice, confidence, reason, isStale }) => {
      const sure = confidence === undefined ? '' : `, ${Math.round(100 * confidence)} % sure`
      const why = reason === undefined ? '' : `: ${reason}`
      const old = isStale ? ' (made before it changed)' : ''
      return ['proposed', `${choiceText(choice, conflict)}, by ${agent}${sure}${old}${why}`] as const
    }),
    ...decisions.map(({ agent, at, choice, reason }) => {
      const why = reason === undefined ? '' : `: ${reason}`
      return ['decided', `${choiceText(choice, conflict)}, by ${agent}, ${timeText(nowMs - at)} ago${why}`] as const
    }),
    ...(contradictory ? ([['!', 'two decisions contradict one another', 'bad']] as const) : []),
    ...(isOpen ? ([['next', `${advice} ${sentence(decidesWords[decides])}`, 'good']] as const) : []),
  ]
}

function sentence(words: string): string {
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}.`
}

/** A choice as somebody would say it. */
export function choiceText(choice: Choice, conflict: Conflict): string {
  return oneLine(choiceWords(choice, conflict))
}

function choiceWords({ kind, branch, value, action }: Choice, conflict: Conflict): string {
  switch (kind) {
    case 'pick': {
      const side = conflict.branches.find(({ dot }) => branch !== undefined && isSame(dot, branch))
      return side === undefined ? 'one side stands' : `${sideOf(side.dot, conflict)} stands, ${side.agent}'s`
    }
    case 'write':
      return `it is ${valueText(value)}`
    case 'keep-both':
      return 'all sides stand'
    case 'compensate':
      return `something is undone outside: ${action ?? ''}`
    case 'dismiss':
      return 'it was no conflict'
  }
}

function fact(screen: Screen, name: string, what: string, tone: Tone | undefined, columns: number): string[] {
  return folded(what, columns - labelColumns).map((line, at) => {
    const text = tone === undefined ? line : screen.paint(tone, line)
    return `${padded(at === 0 ? name : '', labelColumns)}${text}`
  })
}

function history(screen: Screen, conflict: ConflictView): string[] {
  const { history: items, branches } = conflict
  if (items.length === 0) return []
  const several = conflict.keys.length > 1
  const rows = items.slice(0, mostItems).map(({ at, agent, key, changes, cleared, dot, isBranch, seenBy }): Cell[] => {
    const wrote = changes.map(
      ({ path, value }) =>
        `${cellName({ path } as Difference, false)}${value === undefined ? ' removed' : ` = ${valueText(value)}`}`,
    )
    const what = [...(cleared ? ['deleted'] : []), ...wrote].join(', ')
    const known = seenBy.map((one) => sideOf(one, conflict)).join(' ')
    const side = isBranch ? `is ${sideOf(dot, conflict)}` : ''
    const all = seenBy.length === Math.min(branches.length, mostSides) && !isBranch ? 'known to all' : known
    return [clockText(at), agent, ...(several ? [key] : []), side === '' ? all : side, what]
  })
  const names = ['when', 'who', ...(several ? ['entry'] : []), 'known to', 'what was done around it']
  const left =
    items.length > mostItems ? [`${countText(items.length - mostItems, 'change')} more: --json shows them`] : []
  return ['', ...screen.grid(names, rows), ...left]
}

/** On this host's clock; the day too where it is another one. */
export function clockText(atMs: number): string {
  return new Date(atMs)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, '')
}

/** What to type to decide it. */
export function waysOut(conflict: Conflict, program: string): string[] {
  const { id, revision, branches, takesValue } = conflict
  const picks = branches.slice(0, mostSides).map((_, at) => `--pick ${at + 1}`)
  return [
    `${program} conflicts resolve ${short(id)} --revision ${short(revision)} ${picks[0] ?? '--keep-both'} --reason '…'`,
    `  or ${[...picks.slice(1), ...(takesValue ? ['--value VALUE'] : []), '--keep-both', '--compensate ACTION', '--dismiss'].join(', ')}`,
  ].map(oneLine)
}
