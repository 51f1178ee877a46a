/**
 * Findings at the door. When a delta is applied whose writer had not seen all that is here, what it touches is compared
 * with what the others touched: each pair of touches that a rule calls a conflict belongs to a case.
 *
 * The case is named by the rule, the subject, and the last decisions on that subject that both writers had seen. All of that
 * follows from the two deltas and what their writers had seen, so whoever has both names the same case.
 */
import { limits } from '../base/limits.ts'
import type { Delta } from '../crdt/delta.ts'
import { covers } from '../crdt/dot.ts'
import type { Dot, OriginId, Seen } from '../crdt/dot.ts'
import { record } from '../crdt/types/record.ts'
import { caseId, caseType, dotName, headOf, lastOf, threadIn, threadOf } from './case.ts'
import type { Ancestor, Branch, Finding, Head, Part, Settled } from './case.ts'
import { deedOf } from './deed.ts'
import type { Deed } from './deed.ts'
import type { Met, Rule, Touch, Verdict } from './rule.ts'
import type { RuleSet } from './rule-set.ts'
import { threadKey } from './system.ts'
import { Window, lean } from './window.ts'
import type { Replicated } from './window.ts'

/** What is on record of a case: that evidence is at hand, and its deltas need not be read again. */
export interface OnRecord {
  isFull(id: string): boolean
  has(id: string, branch: Dot): boolean
}

interface Gathered {
  readonly id: string
  readonly head: Head
  /** There are so many branches on record that no more are kept. */
  readonly isFull: boolean
  readonly branches: Map<string, Branch>
  readonly ancestors: Map<string, Ancestor>
  readonly others: Map<string, Dot>
}

/** One delta being compared. */
interface Gathering {
  readonly found: Map<string, Gathered>
  readonly threads: Map<string, readonly Settled[]>
  /** What each delta that came up touches, by rule and bucket; undefined for one that has left the log. */
  readonly touched: Map<string, Touched | undefined>
}

interface Touched {
  readonly deed: Deed
  readonly byRule: Map<Rule, Map<string, Touch[]>>
}

export class Finder {
  readonly #space: Replicated
  readonly #rules: readonly Rule[]
  readonly #window: Window
  readonly #record: OnRecord

  constructor(space: Replicated, { rules }: RuleSet, record: OnRecord) {
    this.#space = space
    this.#record = record
    this.#rules = rules
    this.#window = new Window(space, rules)
  }

  /** Pairs that could not be judged, since one side had left the log. */
  get missed(): number {
    return this.#window.missed
  }

  /** The space went on by other ways than deltas. */
  forget(): void {
    this.#window.clear()
  }

  /** A delta of another node was applied: what it is against. */
  applied(delta: Delta): readonly Finding[] {
    const space = this.#space
    const context = space.seen(delta.origin)
    const unseen: [OriginId, number][] = []
    for (const origin of space.origins()) {
      if (origin === delta.origin) continue
      const next = (context.get(origin) ?? 0) + 1
      if (next <= space.head(origin)) unseen.push([origin, next])
    }
    if (unseen.length === 0) {
      this.#window.rest()
      return none
    }
    const deed = deedOf(delta)
    const touches = this.#rules.flatMap((rule, at) =>
      this.#window.touches(deed, rule).map((touch) => ({ rule, at, touch })),
    )
    if (touches.length === 0) return none
    for (const [origin, next] of unseen) this.#window.want(origin, next)
    const seen = (dot: Dot): boolean => hadSeen(delta, context, dot)
    const found = new Map<string, Gathered>()
    const threads = new Map<string, readonly Settled[]>()
    const touched = new Map<string, Touched | undefined>([[dotName(delta), { deed, byRule: new Map() }]])
    let left = limits.deltaPairs
    for (const { rule, at, touch } of touches) {
      const { origin, seq, time, agent } = delta
      const met = { origin, seq, time, agent, touch: lean(touch) }
      for (const other of this.#window.unseen(at, touch.bucket, seen)) {
        if (left-- <= 0) {
          this.#window.missed++
          break
        }
        const verdict = rule.kind.judge(other, met, rule, space)
        if (verdict !== undefined) this.#gather({ found, threads, touched }, rule, verdict, other, met)
      }
    }
    return [...found.values()].filter(({ branches }) => branches.size > 0)
  }

  #gather(gathering: Gathering, rule: Rule, verdict: Verdict, other: Met, met: Met): void {
    const { found, threads } = gathering
    const { subject } = verdict
    const threadId = threadOf(rule.name, subject)
    let thread = threads.get(threadId)
    if (thread === undefined) {
      thread = threadIn(this.#space.entry(threadKey(threadId)).cells(caseType.id))
      threads.set(threadId, thread)
    }
    const after = thread.length === 0 ? none : this.#afterBoth(thread, other, met)
    const id = caseId(rule.name, subject, after)
    let gathered = found.get(id)
    if (gathered === undefined) {
      const head = headOf(rule, verdict, after)
      const isFull = this.#record.isFull(id)
      gathered = { id, head, isFull, branches: new Map(), ancestors: new Map(), others: new Map() }
      found.set(id, gathered)
    }
    if (gathered.isFull) return
    this.#branch(gathering, gathered, rule, met)
    const { branches, others } = gathered
    const name = dotName(other)
    if (branches.size > limits.caseBranches || branches.has(name) || others.has(name)) return
    const { origin, seq } = other
    if (this.#record.has(id, other)) others.set(name, { origin, seq })
    else this.#branch(gathering, gathered, rule, other)
  }

  /** A delta that came up, read once. */
  #deedAt({ touched }: Gathering, dot: Dot): Touched | undefined {
    const name = dotName(dot)
    if (!touched.has(name)) {
      const delta = this.#space.delta(dot)
      touched.set(name, delta && { deed: deedOf(delta), byRule: new Map() })
    }
    return touched.get(name)
  }

  #branch(gathering: Gathering, { branches, ancestors }: Gathered, rule: Rule, met: Met): void {
    const name = dotName(met)
    if (branches.has(name)) return
    const known = this.#deedAt(gathering, met)
    if (known === undefined) {
      branches.set(name, leftOf(met))
      return
    }
    let byBucket = known.byRule.get(rule)
    if (byBucket === undefined) {
      byBucket = Map.groupBy(rule.kind.touches(known.deed, rule), ({ bucket }) => bucket)
      known.byRule.set(rule, byBucket)
    }
    const branch = branchOfDeed(known.deed, byBucket.get(met.touch.bucket) ?? [])
    branches.set(name, branch)
    for (const part of branch.parts) for (const dot of part.over) this.#ancestor(gathering, ancestors, part, dot)
  }

  /** What stood there before, where the log still has it. */
  #ancestor(gathering: Gathering, ancestors: Map<string, Ancestor>, { key, type, path }: Part, dot: Dot): void {
    const name = dotName(dot)
    if (ancestors.has(name) || ancestors.size >= limits.caseBranches) return
    const delta = this.#deedAt(gathering, dot)?.deed.delta
    const write = delta?.writes.find((each) => each.key === key && each.type === type && each.path === path)
    if (delta === undefined || write === undefined) return
    const { origin, seq } = dot
    const parts = [partOf(key, type, path, 'put', write.value, none)]
    ancestors.set(name, { origin, seq, agent: delta.agent, time: delta.time, parts })
  }

  /** The last decisions on the subject that both writers had seen. */
  #afterBoth(thread: readonly Settled[], a: Met, b: Met): readonly Dot[] {
    const context = this.#space.seen(b.origin)
    const both = thread.filter((dot) => hadSeen(b, context, dot) && this.saw(a, dot))
    return lastOf(both).map(({ origin, seq }) => ({ origin, seq }))
  }

  /** Had the writer of a delta seen another? */
  saw(dot: Dot, other: Dot): boolean {
    return other.seq <= this.sawUpTo(dot, other.origin)
  }

  /**
   * Up to where the writer of a delta had seen another origin. Its log is read backwards to where it last spoke of that. Where
   * it is silent as far as the log reaches, and after it too, it knew what it knows now.
   */
  sawUpTo(dot: Dot, other: OriginId): number {
    const { origin } = dot
    if (other === origin) return dot.seq - 1
    const floor = this.#space.floor(origin)
    for (let seq = dot.seq; seq >= floor; seq--) {
      const said = this.#space.delta({ origin, seq })?.context.find((one) => one.origin === other)
      if (said !== undefined) return said.seq
    }
    if (floor === 1) return 0
    for (let seq = dot.seq + 1; seq <= this.#space.head(origin); seq++) {
      const delta = this.#space.delta({ origin, seq })
      // What cannot be read may have been where it heard of it.
      if (delta === undefined || delta.context.some((one) => one.origin === other)) return 0
    }
    return this.#space.seen(origin).get(other) ?? 0
  }

  /** Had the writer of a decision seen all of what was found? Then it was settled, whether it was named or not. */
  knew(decision: Dot, { branches, others }: Finding): boolean {
    for (const branch of branches.values()) if (!this.saw(decision, branch)) return false
    for (const other of others.values()) if (!this.saw(decision, other)) return false
    return true
  }
}

const none: readonly never[] = []

/** What a delta did to what a case is about, as the case keeps it. */
export function branchOfDeed(deed: Deed, touches: readonly Touch[]): Branch {
  const { origin, seq, time, agent, reason, context } = deed.delta
  const parts = touches
    .slice(0, limits.caseParts)
    .map(({ key, type, path, act, value, over }) => partOf(key, type, path, act, value, over))
  const news = context.slice(0, limits.caseBranches)
  return { origin, seq, time, agent, reason, parts, beside: besideOf(deed, touches, parts), news }
}

/**
 * A rule that compares rows touches one field of each; the others of that row are evidence too. All of them fit the room of one
 * value.
 */
function besideOf({ puts }: Deed, touches: readonly Touch[], parts: readonly Part[]): Part[] {
  const rows = new Set(
    touches.flatMap(({ key, type, note }) => (type === record.id && note !== undefined ? [key] : [])),
  )
  if (rows.size === 0) return []
  const found: Part[] = []
  let leftBytes = limits.caseValueBytes
  for (const { key, type, path, value } of puts) {
    if (type !== record.id || !rows.has(key)) continue
    if (parts.some((part) => part.key === key && part.type === type && part.path === path)) continue
    const sizeBytes = path.length + value.length
    if (sizeBytes > leftBytes || found.length >= limits.caseParts) continue
    leftBytes -= sizeBytes
    found.push(partOf(key, type, path, 'put', value, none))
  }
  return found
}

/** What is left of a branch whose delta has gone from the log since it was compared last. */
function leftOf({ origin, seq, time, agent, touch }: Met): Branch {
  const { key, type, path, act, value, over, cutBytes = 0 } = touch
  const part = { ...partOf(key, type, path, act, cutBytes > 0 ? undefined : value, over), cutBytes }
  return { origin, seq, time, agent, reason: undefined, parts: [part], beside: [], news: [] }
}

function hadSeen(writer: Dot, context: Seen, dot: Dot): boolean {
  return dot.origin === writer.origin ? dot.seq < writer.seq : covers(context, dot)
}

function partOf(
  key: string,
  type: number,
  path: string,
  act: string,
  value: Uint8Array | undefined,
  over: readonly Dot[],
): Part {
  const isCut = value !== undefined && value.length > limits.caseValueBytes
  const kept = isCut ? undefined : value?.slice()
  return {
    key,
    type,
    path,
    act,
    value: kept,
    cutBytes: isCut ? value.length : 0,
    over: over.slice(0, limits.caseParts),
  }
}
