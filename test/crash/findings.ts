/**
 * What the crash tests hold the engine to. Every finding names the rule that it breaks; ../crash-checker.test.ts and
 * `--plant` put faults in on purpose, so that a green run means something.
 */
export const rules = {
  acknowledged: 'What was acknowledged is there, or what superseded it.',
  prefix: 'What survives is a prefix of what was written: no holes.',
  whole: 'A transaction is there whole or not at all.',
  value: 'Every read shows what the surviving writes come to.',
  listed: 'A listing names exactly the entries that are there.',
  phantom: 'Nothing is there that nobody wrote.',
  rows: 'Every row can be read, belongs to something, and is in canonical form.',
  tree: 'Leaves, root and counts are the sums over the cells.',
  covered: 'No live sibling has a dot beyond the vector.',
  log: 'The log is contiguous from its floor to its head, and its bookkeeping is true.',
  chain: 'The chain hash of each origin advances over the bodies of its deltas.',
  replay: 'The log, replayed from nothing, gives the same cells.',
  dot: 'A dot means the same bytes for ever.',
  counter: 'A counter lies between what was acknowledged and what was issued.',
  budget: 'A budget is never overspent.',
  fence: 'A fence never goes backwards.',
  incarnation: 'Every opening takes an incarnation of its own.',
  refused: 'After a crash or a power cut the directory opens.',
  died: 'The process ends only when it is told to or killed.',
  silent: 'Damage is never silent: the right value, or an error that says so.',
  scrub: 'A scrub finds damage in the files.',
  full: 'A full disk refuses writes with store_full, serves reads, and recovers by itself.',
} as const

export type Rule = keyof typeof rules

export interface Finding {
  readonly rule: Rule
  readonly what: string
}

/** Of one kind the first few are told and the rest counted: one torn tree must not bury what else is wrong. */
const mostOfOne = 3

export class Findings {
  readonly #byRule = new Map<Rule, { readonly told: Finding[]; more: number }>()

  add(rule: Rule, what: string): void {
    let known = this.#byRule.get(rule)
    if (known === undefined) this.#byRule.set(rule, (known = { told: [], more: 0 }))
    if (known.told.length < mostOfOne) known.told.push({ rule, what })
    else known.more++
  }

  addAll(findings: readonly Finding[]): void {
    for (const { rule, what } of findings) this.add(rule, what)
  }

  get list(): readonly Finding[] {
    return [...this.#byRule.values()].flatMap(({ told, more }) => {
      const [first] = told as [Finding]
      return more === 0 ? told : [...told, { rule: first.rule, what: `and ${more} more of this rule` }]
    })
  }
}
