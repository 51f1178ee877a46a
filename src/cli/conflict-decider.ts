/**
 * Deciding on a terminal: one conflict after the other on one screen, and a key for each way out. What is decided holds for
 * the revision that stands on the screen; where that has moved meanwhile, the screen is drawn anew and nothing has happened.
 */
import type { Choice } from '../merge/case.ts'
import { Refused, valueOf } from './command.ts'
import { choiceText, short, viewOf } from './conflict-screen.ts'
import type { ConflictView } from './conflict-screen.ts'
import { oneLine } from './screen.ts'
import type { Screen } from './screen.ts'

/** Who sits before the terminal. */
export interface Keyboard {
  /** The next key; undefined when he is gone. */
  key(): Promise<string | undefined>
  /** A line, asked for with these words; undefined when he would rather not. */
  line(words: string): Promise<string | undefined>
}

export interface Deciding {
  readonly screen: Screen
  readonly keyboard: Keyboard
  readonly now: () => number
  /** As it is now. */
  look(id: string): Promise<ConflictView>
  decide(conflict: ConflictView, choice: Choice, reason: string | undefined): Promise<void>
}

export interface Decided {
  readonly decided: number
  readonly left: number
}

/** Goes through the conflicts until all were looked at, or somebody has had enough. */
export async function decideAll(ids: readonly string[], deciding: Deciding): Promise<Decided> {
  let decided = 0
  for (const [at, id] of ids.entries()) {
    const outcome = await decideOne(id, `${at + 1} of ${ids.length}`, deciding)
    if (outcome === 'decided') decided++
    if (outcome === 'enough') break
  }
  return { decided, left: ids.length - decided }
}

async function decideOne(id: string, place: string, deciding: Deciding): Promise<'decided' | 'left' | 'enough'> {
  const { screen, keyboard } = deciding
  for (;;) {
    const conflict = await deciding.look(id)
    screen.line(`\n${screen.paint('dim', place)}`)
    for (const line of viewOf(screen, conflict, deciding.now())) screen.line(line)
    if (conflict.state === 'settled') return 'left'
    screen.line(`\n${keysOf(conflict, screen.columns).join('\n')}`)
    const asked = await ask(conflict, keyboard)
    if (asked === 'left' || asked === 'enough') return asked
    const reason = await keyboard.line(`${choiceText(asked, conflict)}. Why? (Enter: no reason, Ctrl-C: back) `)
    if (reason === undefined) continue
    try {
      await deciding.decide(conflict, asked, reason === '' ? undefined : reason)
      screen.line(screen.paint('good', `${short(id)} is decided: ${choiceText(asked, conflict)}`))
      return 'decided'
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      screen.line(screen.paint('bad', `${error.message}. ${error.hint}`))
      if (!['conflict_changed', 'conflict_settled', 'invalid_argument'].includes(error.code)) throw error
    }
  }
}

/** Keys that are digits pick a side. */
const mostPicks = 9

function keysOf({ branches, takesValue }: ConflictView, columns: number): string[] {
  const keys = [
    ...branches.slice(0, mostPicks).map(({ agent }, at) => `[${at + 1}] ${oneLine(agent)}'s stands`),
    ...(takesValue ? ['[v] write a value'] : []),
    '[b] all stand',
    '[c] undo one outside',
    '[d] no conflict',
    '[n] next',
    '[q] quit',
  ]
  const lines: string[] = []
  for (const key of keys) {
    const longer = `${lines.at(-1) ?? ''}   ${key}`
    if (lines.length === 0 || longer.length > columns) lines.push(key)
    else lines[lines.length - 1] = longer
  }
  return lines
}

async function ask(conflict: ConflictView, keyboard: Keyboard): Promise<Choice | 'left' | 'enough'> {
  for (;;) {
    const key = await keyboard.key()
    const side = conflict.branches.slice(0, mostPicks)[Number(key) - 1]
    if (side !== undefined) return { kind: 'pick', branch: side.dot }
    switch (key) {
      case 'v': {
        if (!conflict.takesValue) break
        const text = await keyboard.line('The value, as JSON or a text: ')
        if (text !== undefined && text !== '') return { kind: 'write', value: valueOf(text) as never }
        break
      }
      case 'c': {
        const action = await keyboard.line('What undoes it, in words that whoever runs it knows: ')
        if (action !== undefined && action !== '') return { kind: 'compensate', action }
        break
      }
      case 'b':
        return { kind: 'keep-both' }
      case 'd':
        return { kind: 'dismiss' }
      case 'n':
        return 'left'
      case 'q':
      case undefined:
        return 'enough'
      default:
    }
  }
}
