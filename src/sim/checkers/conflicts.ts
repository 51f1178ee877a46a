/**
 * Conflicts. Every pair that a rule calls one and that somebody had both of in his log is on record, all replicas with the
 * same; nothing is on record that is none; and a case is open only while there is a branch that nobody who decided it knew of,
 * or two decisions that differ. Looks at the deltas as they were written and at what their writers had seen, pair by pair.
 */
import { decodeDelta } from '../../crdt/delta.ts'
import type { Delta } from '../../crdt/delta.ts'
import { covers } from '../../crdt/dot.ts'
import type { ReadonlyVector } from '../../crdt/dot.ts'
import { dotName, threadOf } from '../../merge/case.ts'
import type { Case } from '../../merge/case.ts'
import { deedOf } from '../../merge/deed.ts'
import type { Met, Rule, Touch, Values } from '../../merge/rule.ts'
import { caseIdOf, isSystemKey } from '../../merge/system.ts'
import type { Conflicts } from '../../replica/conflicts.ts'
import { entryKeyOf, spaceRange, table } from '../../replica/row-keys.ts'
import type { Space } from '../../replica/space.ts'
import type { Host } from '../host.ts'
import type { Checker, Scene } from './checker.ts'

interface Written {
  readonly delta: Delta
  /** All that its writer had seen, itself not included. */
  readonly seen: ReadonlyVector
}

interface Pair {
  readonly a: Written
  readonly b: Written
  readonly rule: string
  readonly thread: string
}

interface Facts {
  readonly written: Map<string, Written>
  /** Pairs that somebody who stays had both of in his log. */
  readonly due: Map<string, Pair>
}

export function conflictsOnRecord(scene: Scene): Checker {
  const spaces = new Map<string, Facts>()
  const factsOf = ({ id }: Space): Facts => {
    let facts = spaces.get(id)
    if (facts === undefined) spaces.set(id, (facts = { written: new Map(), due: new Map() }))
    return facts
  }
  return {
    applied: (host, life, { space, delta, own, fault }, body) => {
      const { conflicts } = life.machine
      if (conflicts === undefined || !scene.options.rules) return
      const { written, due } = factsOf(space)
      const { origin, seq } = delta
      if (own) {
        const seen = new Map(space.vector)
        seen.set(origin, seq - 1)
        written.set(dotName(delta), { delta: decodeDelta(origin, seq, body), seen })
        return
      }
      const b = written.get(dotName(delta))
      const { rules } = conflicts.rules(space)
      if (fault !== undefined || b === undefined || rules.length === 0 || !isUsers(delta)) return
      if (!scene.holders(space.name).includes(host)) return
      for (const log of space.logs.values()) {
        if (log.origin === origin) continue
        const first = Math.max(log.floor, (b.seen.get(log.origin) ?? 0) + 1)
        for (let at = first; at <= log.seq; at++) {
          const a = written.get(dotName({ origin: log.origin, seq: at }))
          if (a === undefined || !isUsers(a.delta)) continue
          for (const rule of rules) {
            for (const thread of threadsOf(a, b, rule, space)) {
              due.set(`${dotName(a.delta)} ${dotName(b.delta)} ${thread}`, { a, b, rule: rule.name, thread })
            }
          }
        }
      }
    },
    event: (_, event) => {
      if (event.kind === 'conflict') scene.count(`conflict: ${event.event.change}`)
    },
    quiet: () => {
      if (!scene.options.rules || scene.cloned || scene.damaged) return
      for (const name of scene.spaceNames) {
        const [host] = scene.holders(name)
        const space = host?.replica?.find(name)
        const conflicts = host?.current?.machine.conflicts
        if (host === undefined || space === undefined || conflicts === undefined) continue
        look(scene, host, space, conflicts, factsOf(space))
      }
    },
  }
}

function isUsers({ writes, clears }: Delta): boolean {
  return writes.some(({ key }) => !isSystemKey(key)) || clears.some(({ key }) => !isSystemKey(key))
}

/** What they are against each other over, under a rule: each by its thread. */
function threadsOf({ delta: a }: Written, { delta: b }: Written, rule: Rule, values: Values): Set<string> {
  const threads = new Set<string>()
  const others = rule.kind.touches(deedOf(b), rule)
  for (const one of rule.kind.touches(deedOf(a), rule)) {
    for (const other of others) {
      if (one.bucket !== other.bucket) continue
      const verdict = rule.kind.judge(metOf(a, one), metOf(b, other), rule, values)
      if (verdict !== undefined) threads.add(threadOf(rule.name, verdict.subject))
    }
  }
  return threads
}

function metOf({ origin, seq, time, agent }: Delta, touch: Touch): Met {
  return { origin, seq, time, agent, touch }
}

function look(scene: Scene, host: Host, space: Space, conflicts: Conflicts, { written, due }: Facts): void {
  const cases: Case[] = []
  for (const [rowKey] of host.disk.list(spaceRange(table.entry, space.number))) {
    const id = caseIdOf(entryKeyOf(rowKey))
    const known = id === undefined ? undefined : conflicts.case(space, id)
    if (known !== undefined) cases.push(known)
  }
  const wrong = (what: string): void => scene.violate('conflicts', `node ${host.index}, ${space.name}: ${what}`)
  const byThread = Map.groupBy(cases, ({ rule, subject }) => threadOf(rule, subject))
  const { rules } = conflicts.rules(space)
  for (const known of cases) {
    scene.count(`conflict: ${known.state} at the end`)
    const told = `${known.rule} ${known.id.slice(0, 8)}`
    const branches = known.branches.flatMap((branch) => written.get(dotName(branch)) ?? [])
    // A directory that went back takes what was written in it along, though others have heard of it.
    const rule = rules.find(({ name }) => name === known.rule)
    if (rule !== undefined && branches.length === known.branches.length && !known.more) {
      const thread = threadOf(known.rule, known.subject)
      for (const one of branches) {
        const isAgainst = branches.some(
          (other) => isApart(one, other) && threadsOf(one, other, rule, space).has(thread),
        )
        if (!isAgainst) wrong(`${told} has ${dotName(one.delta).slice(16)}, which is against nobody`)
      }
    }
    if (known.decisions.length === 0 || known.contradictory) continue
    const knewAll = known.decisions.some((decision) => {
      const seen = written.get(dotName(decision))?.seen
      return seen !== undefined && known.branches.every((branch) => covers(seen, branch))
    })
    if (known.state === 'open' && knewAll) wrong(`${told} came back by itself`)
    if (known.state === 'settled' && !knewAll && !known.more) wrong(`${told} was closed over a branch that nobody knew`)
  }
  // What was lost with a disk may have been the one row that knew of a pair.
  if (scene.rolledBack || scene.lostAt > 0) return
  for (const { a, b, rule, thread } of due.values()) {
    if (!covers(space.vector, a.delta) || !covers(space.vector, b.delta)) continue
    scene.count('conflict: a pair that is due')
    const isOn = byThread.get(thread)?.some(({ branches, more, decisions }) => {
      if (more || [a, b].every(({ delta }) => branches.some((branch) => dotName(branch) === dotName(delta))))
        return true
      return decisions.some((decision) => {
        const seen = written.get(dotName(decision))?.seen
        return seen !== undefined && covers(seen, a.delta) && covers(seen, b.delta)
      })
    })
    if (isOn !== true)
      wrong(`${rule}: ${[a, b].map(({ delta }) => dotName(delta).slice(16)).join(' and ')} are on no record`)
  }
}

function isApart(a: Written, b: Written): boolean {
  return a !== b && !covers(a.seen, b.delta) && !covers(b.seen, a.delta)
}
