/**
 * What the tester wrote down about one life of a node: each operation before it was made, what came of it at once, and
 * its acknowledgement. After the crash it is held against the rows. One node applies what it is told in one order and
 * keeps batches in that order, so what survives must be a prefix of the list, and at least as long as what was
 * acknowledged; the rest of the check is then exact, against the model of that prefix.
 */
import type { OriginId } from '../../src/crdt/dot.ts'
import { decodeDelta } from '../../src/crdt/delta.ts'
import { Findings } from './findings.ts'
import type { Finding } from './findings.ts'
import type { LogRow, Picture, SpacePicture } from './rebuild.ts'
import { Model } from './workload.ts'
import type { Operation, Outcome } from './workload.ts'

export interface Item {
  /** Unique over all lives; it stands in the log as the reason. */
  readonly name: string
  readonly operation: Operation
  /** Absent where the process died before it could tell. */
  outcome?: Outcome
  acknowledged: boolean
}

export interface Settlement {
  readonly findings: readonly Finding[]
  /** What the surviving operations come to. */
  readonly model: Model
  readonly survivors: number
  /** Acknowledged operations that were looked for. */
  readonly acknowledged: number
}

export class Ledger {
  /** What earlier lives left. */
  #base = new Model()
  #items: Item[] = []
  readonly #byName = new Map<string, Item>()

  get items(): readonly Item[] {
    return this.#items
  }

  issue(name: string, operation: Operation): void {
    const item: Item = { name, operation, acknowledged: false }
    this.#items.push(item)
    this.#byName.set(name, item)
  }

  made(name: string, outcome: Outcome): void {
    this.#item(name).outcome = outcome
  }

  acknowledge(name: string): void {
    this.#item(name).acknowledged = true
  }

  #item(name: string): Item {
    const item = this.#byName.get(name)
    if (item === undefined) throw new Error(`nothing called ${name} was issued`)
    return item
  }

  /** Holds the list against what is there. `count` and `isAcknowledged` let a power cut look at an earlier moment. */
  settle(
    picture: Picture,
    isAcknowledged: (item: Item) => boolean = (item) => item.acknowledged,
    count: number = this.#items.length,
  ): Settlement {
    const findings = new Findings()
    const there = new Presence(picture)
    const model = this.#base.clone()
    const items = this.#items.slice(0, count)
    let lost: Item | undefined
    let survivors = 0
    let acknowledged = 0
    const idle: Item[] = []
    for (const item of items) {
      if (isAcknowledged(item)) acknowledged++
      const fate = there.fateOf(item)
      if (fate === 'survived') {
        if (lost !== undefined)
          findings.add('prefix', `${told(item)} is there and ${told(lost)}, issued before it, is not`)
        model.apply(item.operation, item.outcome)
        survivors++
      } else if (fate === 'lost') {
        lost ??= item
        if (isAcknowledged(item)) findings.add('acknowledged', `${told(item)} was acknowledged and is gone`)
      } else if (fate === 'changed nothing' && isAcknowledged(item) && lost !== undefined) idle.push(item)
    }
    // Told that what it asked for stands already, a write may rely on that as on any other acknowledgement.
    for (const item of idle) {
      if (!model.wouldChange(item.operation, item.outcome)) continue
      findings.add(
        'acknowledged',
        `${told(item)} changed nothing and was acknowledged; what it relied on was not durable and is gone`,
      )
    }
    findings.addAll(there.strangers(this.#items))
    return { findings: findings.list, model, survivors, acknowledged }
  }

  /** The next life begins: what survived is certain from here on. */
  fold({ model }: Settlement): void {
    this.#base = model
    this.#items = []
    this.#byName.clear()
  }
}

function told({ name, operation, outcome }: Item): string {
  const dot = outcome?.dot === undefined ? '' : ` (${outcome.dot.slice(16)})`
  if (operation.kind !== 'write') return `${name} ${operation.kind}${dot}`
  const parts = operation.parts.map(({ kind, key }) => `${kind} ${key}`).join(', ')
  return `${name} [${operation.space}: ${parts}; ${operation.durability}]${dot}`
}

type Fate = 'survived' | 'lost' | 'changed nothing' | 'refused' | 'went with its space' | 'cannot be told'

/** Which operations are in a picture. */
class Presence {
  readonly #spaces: ReadonlyMap<string, SpacePicture>
  /** By reason, of everything that the logs still hold. */
  readonly #reasons = new Map<string, { readonly dot: string; readonly row: LogRow }>()

  constructor({ spaces }: Picture) {
    this.#spaces = new Map(spaces.map((space) => [`${space.name}#${space.generation}`, space]))
    for (const { logs } of spaces) {
      for (const [origin, log] of logs) {
        for (const [seq, row] of log) this.#remember(origin, seq, row)
      }
    }
  }

  #remember(origin: OriginId, seq: number, row: LogRow): void {
    try {
      const { reason } = decodeDelta(origin, seq, row.body)
      if (reason !== undefined) this.#reasons.set(reason, { dot: `${origin}-${seq.toString(36)}`, row })
    } catch {
      // The rebuild tells of it.
    }
  }

  fateOf({ name, operation, outcome }: Item): Fate {
    if (operation.kind === 'prune') return 'cannot be told'
    if (outcome === undefined) {
      if (operation.kind === 'write') return this.#reasons.has(name) ? 'survived' : 'lost'
      // Nothing was issued after it, so a deleted space whose successor never was is its work.
      const last = [...this.#spaces.values()].filter((space) => space.name === operation.space).at(-1)
      return last?.deleted === true ? 'survived' : 'lost'
    }
    const { dot, generation, error } = outcome
    if (error !== undefined) return 'refused'
    const space = this.#spaces.get(`${operation.space}#${generation}`)
    if (operation.kind === 'delete-space') return space?.deleted === true ? 'survived' : 'lost'
    if (dot === undefined) return 'changed nothing'
    if (space === undefined) return 'lost'
    if (space.deleted) return 'went with its space'
    const [origin = '', seq = ''] = dot.split('-')
    return (space.writers.get(origin as OriginId)?.seq ?? 0) >= Number.parseInt(seq, 36) ? 'survived' : 'lost'
  }

  /** Dots that stand for another operation than the one they were given to, and writes that nobody issued. */
  strangers(items: readonly Item[]): readonly Finding[] {
    const findings = new Findings()
    for (const { name, outcome } of items) {
      const found = this.#reasons.get(name)
      if (outcome === undefined || found === undefined) continue
      if (outcome.error !== undefined)
        findings.add('phantom', `${name} was refused with ${outcome.error} and is in the log`)
      else if (outcome.dot !== found.dot)
        findings.add('dot', `${name} was given ${outcome.dot ?? 'no dot'} and stands in the log as ${found.dot}`)
    }
    return findings.list
  }
}
