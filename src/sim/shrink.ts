/**
 * Makes the story of a failure short: leaves out actions, nodes and circumstances as long as the same rule is still
 * broken (delta debugging; Zeller and Hildebrandt, 2002). It counts runs and events, not time, so that it too goes the same
 * way on every machine.
 */
import type { SimOptions } from './options.ts'
import type { Rule, Violation } from './rules.ts'
import type { Action, Story } from './story.ts'
import { runStory } from './world.ts'
import type { Outcome, RunSettings } from './world.ts'

export interface Shrunk {
  readonly story: Story
  readonly runs: number
}

/** Enough for a story of some hundred actions; a minute or two of work. */
const mostRuns = 600
const mostEvents = 20_000_000

export function shrink(story: Story, rule: Rule, settings: RunSettings = {}): Shrunk {
  let runs = 0
  let events = 0
  let best = story
  let kind = ''
  const fails = (candidate: Story): boolean => {
    if (runs >= mostRuns || events >= mostEvents) return false
    runs++
    const outcome = attempt(candidate, settings)
    events += outcome?.events ?? 0
    const isSame = outcome?.violations.some((one) => one.rule === rule && kindOf(one) === kind) === true
    if (isSame) best = candidate
    return isSame
  }
  const first = attempt(story, settings)?.violations.find((violation) => violation.rule === rule)
  if (first === undefined) return { story, runs: 1 }
  kind = kindOf(first)
  // What came after the violation did not bring it about.
  fails({ ...best, actions: best.actions.filter(({ at }) => at <= first.at) })
  for (let before = Infinity; best.actions.length < before;) {
    before = best.actions.length
    leaveOut(() => best, fails)
    for (let node = best.options.nodes - 1; node >= 0 && best.options.nodes > 2; node--) {
      const without = withoutNode(best, node)
      if (without !== undefined) fails(without)
    }
  }
  for (const simpler of simplifications) {
    const options = { ...best.options, ...simpler(best.options) }
    fails({ ...best, options })
  }
  leaveOut(() => best, fails)
  return { story: best, runs }
}

/** There are several ways of not becoming equal, and shrinking must not slip from one to another. */
function kindOf({ rule, what }: Violation): string {
  if (rule !== 'converges') return rule
  return (
    ['catching up', 'roots', 'generation', 'has no', 'is down', 'wait for the disk'].find((kind) =>
      what.includes(kind),
    ) ?? rule
  )
}

/** A candidate that cannot be run at all is no failure. */
function attempt(story: Story, settings: RunSettings): Outcome | undefined {
  try {
    return runStory(story, settings)
  } catch {
    return undefined
  }
}

/** Leaves out stretches of actions, half of them first, then ever fewer. */
function leaveOut(best: () => Story, fails: (candidate: Story) => boolean): void {
  for (let size = Math.ceil(best().actions.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best().actions.length;) {
      const { options, actions } = best()
      if (!fails({ options, actions: [...actions.slice(0, at), ...actions.slice(at + size)] })) at += size
    }
  }
}

/** The story without a node; undefined where a space would be left with fewer than two. */
function withoutNode({ options, actions }: Story, gone: number): Story | undefined {
  const moved = (node: number): number => (node > gone ? node - 1 : node)
  const others = <T>(list: readonly T[]): T[] => list.filter((_, node) => node !== gone)
  const holders = options.holders.map((nodes) => nodes.filter((node) => node !== gone).map(moved))
  if (holders.some((nodes) => nodes.length < 2)) return undefined
  const left: Action[] = []
  for (const action of actions) {
    switch (action.kind) {
      case 'partition':
        left.push({ ...action, sides: others(action.sides) })
        break
      case 'weather':
        if (action.from === gone || action.to === gone) break
        left.push({
          ...action,
          from: action.from === undefined ? undefined : moved(action.from),
          to: action.to === undefined ? undefined : moved(action.to),
        })
        break
      case 'slow-link':
      case 'reset-links':
      case 'half-open':
      case 'clone':
      case 'twin':
        if (action.from !== gone && action.to !== gone) {
          left.push({ ...action, from: moved(action.from), to: moved(action.to) })
        }
        break
      default:
        if (action.node !== gone) left.push({ ...action, node: moved(action.node) })
    }
  }
  const fewer: SimOptions = {
    ...options,
    nodes: options.nodes - 1,
    holders,
    durability: others(options.durability),
    skewMs: others(options.skewMs),
    driftPpm: others(options.driftPpm),
    lost: options.lost.filter(({ node }) => node !== gone).map((one) => ({ ...one, node: moved(one.node) })),
  }
  return { options: fewer, actions: left }
}

const simplifications: readonly ((options: SimOptions) => Partial<SimOptions>)[] = [
  ({ skewMs }) => ({ skewMs: skewMs.map(() => 0) }),
  ({ driftPpm }) => ({ driftPpm: driftPpm.map(() => 0) }),
  () => ({ latencyMs: [1, 1], syncMs: [1, 1] }),
  ({ durability }) => ({ durability: durability.map(() => 'disk') }),
  () => ({ restartAll: false }),
  () => ({ retention: { keepMs: 86_400_000, keepBytes: 64 << 20 } }),
  () => ({ cacheBytes: 1_000_000 }),
  () => ({ bounds: {} }),
  () => ({ opensLate: false }),
  () => ({ upgrades: false }),
  () => ({ lost: [] }),
  () => ({ ambushes: 0 }),
  ({ holders }) => ({ holders: holders.slice(0, 1) }),
]
