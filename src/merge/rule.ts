/**
 * What a rule is: it says of every delta which things it touches, and of two concurrent touches of one thing whether both
 * can stand. A new kind of rule is one file in rules/ and one line in its table.
 *
 * A rule is pure. It judges deltas, not cells, wherever it can: whoever has the same two deltas comes to the same verdict,
 * whatever came in between. Rules over what many cells show together look at current values as well.
 */
import type { Value } from '../base/value.ts'
import type { Path, TypeId } from '../crdt/cell.ts'
import type { Entry } from '../crdt/change.ts'
import type { Dot } from '../crdt/dot.ts'
import type { Deed } from './deed.ts'
import type { Meeting } from './rules/custom.ts'

/** How much it matters. */
export type Severity = 'low' | 'medium' | 'high' | 'critical'
/** What holds until somebody has decided. */
export type SafeOutcome = 'keep-both' | 'hold' | 'keep-first' | 'keep-last'
/** Who is to decide. */
export type Decider = 'anyone' | 'agent' | 'person'

export const severities: readonly Severity[] = ['low', 'medium', 'high', 'critical']
export const safeOutcomes: readonly SafeOutcome[] = ['keep-both', 'hold', 'keep-first', 'keep-last']
export const deciders: readonly Decider[] = ['anyone', 'agent', 'person']

/** What one delta did to one thing that a rule watches. */
export interface Touch {
  /** Touches of one thing stand in one bucket; only those are compared. */
  readonly bucket: string
  readonly act: 'put' | 'drop' | 'delete'
  readonly key: string
  readonly type: TypeId
  readonly path: Path
  /** Of a put: canonical bytes. */
  readonly value: Uint8Array | undefined
  /** What it superseded there. */
  readonly over: readonly Dot[]
  /** How long the value is, where its digest stands in for it. */
  readonly cutBytes?: number
  /** What the rule needs to know of it beyond the value, as it reads it. */
  readonly note?: Value
}

/** A touch, by whom and when. */
export interface Met extends Dot {
  /** Hybrid time. */
  readonly time: number
  readonly agent: string
  readonly touch: Touch
}

/** What cannot both stand. */
export interface Verdict {
  /** Names the thing, alike for all that are against each other over it. */
  readonly subject: readonly Value[]
  /** The one cell, or entry, that a decision can write. */
  readonly target?: Target
}

export interface Target {
  readonly key: string
  readonly type: TypeId
  /** None: all of the entry. */
  readonly path?: Path
}

/** Current values, for rules over what several cells show. */
export interface Values {
  entry(key: string): Entry
  /** Asks the function of the owner's own that a rule names; undefined where there is no answer. */
  custom?(rule: Rule, meeting: () => Meeting | undefined): boolean | undefined
}

/** A rule of a space: its kind, with settings that were checked. */
export interface Rule {
  readonly name: string
  readonly kind: RuleKind
  readonly severity: Severity
  readonly safe: SafeOutcome
  readonly decides: Decider
  /** Only keys that start so. */
  readonly prefix: string
  readonly settings: Settings
}

export type Settings = Readonly<Record<string, Value>>

export interface RuleKind {
  readonly name: string
  /** Raised when its verdicts change: a node of an older version does not evaluate it. */
  readonly version: number
  /** One line: what it finds. */
  readonly says: string
  readonly severity: Severity
  readonly safe: SafeOutcome
  readonly decides: Decider
  /** What to do about it, in one line. */
  readonly advice: string
  /** The branches may have acted on the world outside: undoing a value does not undo that. */
  readonly actsOutside?: true
  /** It judges what is there now, not only the two deltas. */
  readonly looksAtValues?: true
  /** The settings beside those of every rule. Throws `invalid_argument` for what is not right. */
  check(settings: Settings): void
  readonly settings: readonly string[]
  touches(deed: Deed, rule: Rule): readonly Touch[]
  /** Of two concurrent touches in one bucket. Symmetric. */
  judge(a: Met, b: Met, rule: Rule, values: Values): Verdict | undefined
}
