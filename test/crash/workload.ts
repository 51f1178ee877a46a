/**
 * What is written, and what it should come to. An operation is plain data, so that it can be reported before it is made,
 * kept by the tester, and applied to a naive model: one writer, no concurrency, plain maps and arrays. The engine's own
 * types are not asked what the right answer is.
 */
import type { ClaimState, Durability, SkeinNode, SpaceHandle, Transaction, Value } from '../../src/index.ts'
import { SkeinError } from '../../src/index.ts'
import type { Prng } from '../../src/base/prng.ts'
import type { Finding } from './findings.ts'
import { Findings } from './findings.ts'

export type Part =
  | { readonly kind: 'set'; readonly key: string; readonly value: Value }
  | { readonly kind: 'fields'; readonly key: string; readonly fields: { readonly [name: string]: Value } }
  | { readonly kind: 'unset'; readonly key: string; readonly path: string }
  | { readonly kind: 'incr' | 'grant' | 'spend' | 'reserve' | 'revoke'; readonly key: string; readonly amount: number }
  | {
      readonly kind: 'settle'
      readonly key: string
      readonly id: string
      readonly reserved: number
      readonly amount: number
    }
  | { readonly kind: 'add' | 'drop'; readonly key: string; readonly values: readonly string[] }
  | { readonly kind: 'insert'; readonly key: string; readonly at: number; readonly values: readonly string[] }
  | { readonly kind: 'cut'; readonly key: string; readonly at: number; readonly count: number }
  | { readonly kind: 'move'; readonly key: string; readonly from: number; readonly to: number }
  | { readonly kind: 'append'; readonly key: string; readonly values: readonly string[]; readonly keep?: number }
  | { readonly kind: 'flag'; readonly key: string; readonly on: boolean }
  | { readonly kind: 'acquire'; readonly key: string; readonly ttlMs: number }
  | { readonly kind: 'release'; readonly key: string; readonly fence: number }
  | { readonly kind: 'delete'; readonly key: string }

export interface Write {
  readonly kind: 'write'
  readonly space: string
  readonly agent: string
  readonly durability: Durability
  readonly ttlMs?: number
  /** More than one: a transaction. */
  readonly parts: readonly Part[]
}

export type Operation = Write | { readonly kind: 'delete-space'; readonly space: string } | { readonly kind: 'prune' }

/** What the engine said when the operation was made, at once. */
export interface Outcome {
  /** Undefined where nothing was changed. */
  readonly dot?: string
  /** The generation of the space that was written to. */
  readonly generation?: number
  readonly results?: readonly Value[]
  /** The code it was refused with: then nothing was changed. */
  readonly error?: string
  readonly atMs: number
}

export interface Made {
  readonly outcome: Outcome
  readonly durable: Promise<unknown>
}

/** Makes an operation. `reason` carries its name into the log. */
export function make(node: SkeinNode, operation: Operation, reason: string): Made {
  const atMs = Date.now()
  try {
    if (operation.kind === 'prune') {
      return { outcome: { atMs }, durable: node.prune({ keepMs: 0, keepBytes: 0 }) }
    }
    const { generation } = node.space(operation.space).status()
    if (operation.kind === 'delete-space') {
      return { outcome: { generation, atMs }, durable: node.deleteSpace(operation.space) }
    }
    const { agent, durability, ttlMs, parts } = operation
    const settings = { agent, durability, reason, ...(ttlMs !== undefined && { ttlMs }) }
    const space = node.space(operation.space).as(settings)
    const [only] = parts
    const receipt =
      parts.length === 1 && only !== undefined
        ? makePart(space, only)
        : space.transact((transaction) => parts.map((part) => makePart(transaction, part).result ?? null))
    const { result, changed, version, durable } = receipt
    const results = (parts.length === 1 ? [result ?? null] : result) as readonly Value[]
    return { outcome: { generation, results, atMs, ...(changed && { dot: version }) }, durable }
  } catch (error) {
    if (!(error instanceof SkeinError)) throw error
    return { outcome: { error: error.code, atMs }, durable: Promise.resolve() }
  }
}

interface Answer {
  readonly result: unknown
  readonly changed: boolean
  readonly version: string
  readonly durable: Promise<void>
}

function makePart(space: SpaceHandle | Transaction, part: Part): Answer {
  const { key } = part
  switch (part.kind) {
    case 'set':
      return space.register(key).set(part.value)
    case 'fields':
      return space.record(key).set(part.fields)
    case 'unset':
      return space.record(key).unset(part.path)
    case 'incr':
      return space.counter(key).incr(part.amount)
    case 'grant':
    case 'spend':
    case 'reserve':
    case 'revoke':
      return space.budget(key)[part.kind](part.amount)
    case 'settle':
      return space.budget(key).settle(part.id, part.amount)
    case 'add':
      return space.set(key).add(...part.values)
    case 'drop':
      return space.set(key).remove(...part.values)
    case 'insert':
      return space.list(key).insert(part.at, ...part.values)
    case 'cut':
      return space.list(key).remove(part.at, part.count)
    case 'move':
      return space.list(key).move(part.from, part.to)
    case 'append': {
      const log = space.log(key)
      return part.keep === undefined ? log.append(...part.values) : log.appendKeeping(part.keep, ...part.values)
    }
    case 'flag':
      return part.on ? space.flag(key).enable() : space.flag(key).disable()
    case 'acquire':
      return space.claim(key).acquire(part.ttlMs)
    case 'release':
      return space.claim(key).release(part.fence)
    case 'delete':
      return space.delete(key)
  }
}

// --- what is written ----------------------------------------------------------------------------------------------

const spaces = ['work', 'work', 'side', 'scratch'] as const

export interface Habits {
  readonly prunes: boolean
  readonly deletesSpaces: boolean
}

interface Reservation {
  readonly space: string
  readonly key: string
  readonly id: string
  readonly amount: number
}

/** Makes up operations that fit the state in which the node is. */
export class Workload {
  readonly #chance: Prng
  readonly #name: string
  readonly #habits: Habits
  readonly #reservations: Reservation[] = []
  #count = 0

  /** `name` is in every value, so that no two runs write the same. */
  constructor(chance: Prng, name: string, habits: Habits) {
    this.#chance = chance
    this.#name = name
    this.#habits = habits
  }

  next(node: SkeinNode): Operation {
    const chance = this.#chance
    const count = ++this.#count
    if (this.#habits.prunes && chance.chance(0.01)) return { kind: 'prune' }
    if (this.#habits.deletesSpaces && chance.chance(0.008)) return { kind: 'delete-space', space: 'scratch' }
    const space = chance.pick(spaces)
    const agent = chance.pick(['ann', 'bob', 'cyd'])
    const durability = chance.pick(['os', 'disk'] as const)
    const write = (parts: readonly Part[], ttlMs?: number): Write => ({
      kind: 'write',
      space,
      agent,
      durability,
      parts,
      ...(ttlMs !== undefined && { ttlMs }),
    })
    if (chance.chance(0.04)) {
      return write([{ kind: 'set', key: `ttl/${this.#name}.${count}`, value: this.#value() }], 20 + chance.below(400))
    }
    if (chance.chance(0.15)) return write(this.#transaction(node, space))
    return write([this.#part(node, space)])
  }

  /** The three registers of a transaction must always be equal: half of one would show at a glance. */
  #transaction(node: SkeinNode, space: string): Part[] {
    const value = this.#value()
    const parts: Part[] = ['a', 'b', 'c'].map((letter) => ({ kind: 'set', key: `register/tx-${letter}`, value }))
    parts.push({ kind: 'incr', key: 'counter/tx', amount: 1 })
    for (let more = this.#chance.below(3); more > 0; more--) {
      const part = this.#part(node, space)
      // Later parts see what earlier ones staged, but positions were chosen before them.
      if (!parts.some(({ key }) => key === part.key)) parts.push(part)
    }
    return parts
  }

  #part(node: SkeinNode, space: string): Part {
    const chance = this.#chance
    const at = node.space(space)
    const key = (type: string, keys: number): string => `${type}/${chance.below(keys)}`
    switch (chance.below(15)) {
      case 0:
        return { kind: 'set', key: `register/${this.#name}.${this.#count}`, value: this.#value() }
      case 1:
        return { kind: 'set', key: key('register', 8), value: this.#value() }
      case 2:
        return {
          kind: 'fields',
          key: key('record', 6),
          fields: {
            [chance.pick(['status', 'owner', 'note'])]: this.#value(),
            deep: { [`f${chance.below(3)}`]: this.#count },
          },
        }
      case 3:
        return { kind: 'unset', key: key('record', 6), path: chance.pick(['status', 'owner', 'deep']) }
      case 4:
      case 5:
        return { kind: 'incr', key: key('counter', 5), amount: chance.below(20) - 7 }
      case 6:
        return {
          kind: 'add',
          key: key('set', 4),
          values: Array.from({ length: 1 + chance.below(chance.chance(0.1) ? 60 : 3) }, () => `e${chance.below(150)}`),
        }
      case 7:
        return { kind: 'drop', key: key('set', 4), values: [`e${chance.below(150)}`, `e${chance.below(150)}`] }
      case 8: {
        const list = key('list', 3)
        const { length } = at.list(list).get().value
        if (length > 0 && chance.chance(0.3)) return { kind: 'cut', key: list, at: chance.below(length), count: 1 }
        if (length > 1 && chance.chance(0.3))
          return { kind: 'move', key: list, from: chance.below(length), to: chance.below(length) }
        return {
          kind: 'insert',
          key: list,
          at: chance.below(length + 1),
          values: [`i${this.#name}.${this.#count}`, 'x'].slice(0, 1 + chance.below(2)),
        }
      }
      case 9:
        return {
          kind: 'append',
          key: key('log', 3),
          values: [`l${this.#name}.${this.#count}`],
          ...(chance.chance(0.2) && { keep: 8 }),
        }
      case 10:
        return { kind: 'flag', key: key('flag', 4), on: chance.chance(0.6) }
      case 11: {
        const claim = key('claim', 3)
        const { holder, fence } = at.claim(claim).get().value
        if (holder !== null && chance.chance(0.5)) return { kind: 'release', key: claim, fence }
        return { kind: 'acquire', key: claim, ttlMs: chance.chance(0.5) ? 5 : 60_000 }
      }
      case 12:
      case 13:
        return this.#budget(at, space, key('budget', 2))
      default:
        return {
          kind: 'delete',
          key: key(chance.pick(['register', 'record', 'counter', 'set', 'list', 'log', 'flag', 'claim']), 8),
        }
    }
  }

  #budget(at: SpaceHandle, space: string, key: string): Part {
    const chance = this.#chance
    const { available } = at.budget(key).get().value
    const open = this.#reservations.findIndex((one) => one.space === space && one.key === key)
    if (open >= 0 && chance.chance(0.3)) {
      const { id, amount } = this.#reservations[open] as Reservation
      this.#reservations.splice(open, 1)
      return { kind: 'settle', key, id, reserved: amount, amount: chance.below(amount + 1) }
    }
    if (available < 20 || chance.chance(0.1)) return { kind: 'grant', key, amount: 10 + chance.below(50) }
    // Now and then more than there is: that must be refused.
    const amount = 1 + chance.below(chance.chance(0.1) ? 2 * available : 12)
    return { kind: chance.pick(['spend', 'spend', 'reserve', 'revoke'] as const), key, amount }
  }

  /** Told what came of it: reservations are settled later. */
  made(operation: Operation, { results, error }: Outcome): void {
    if (operation.kind !== 'write' || error !== undefined) return
    for (const [at, part] of operation.parts.entries()) {
      if (part.kind !== 'reserve') continue
      const given = results?.[at] as { readonly id: string } | undefined
      if (given !== undefined)
        this.#reservations.push({ space: operation.space, key: part.key, id: given.id, amount: part.amount })
    }
  }

  #value(): string {
    const chance = this.#chance
    const size = chance.chance(0.05) ? 6000 : chance.chance(0.2) ? 600 : 0
    // Not all the same letter: it would be compressed away, and no table would ever fill.
    let text = `v${this.#name}.${this.#count}.`
    while (text.length < size) text += chance.uint32().toString(36)
    return text
  }
}

// --- what it comes to ---------------------------------------------------------------------------------------------

interface Budget {
  readonly granted: number
  readonly spent: number
  readonly held: number
  readonly revoked: number
}

type Expected =
  | { readonly type: 'register'; readonly value: Value }
  | { readonly type: 'ttl'; readonly value: Value; readonly expiresMs: number }
  | { readonly type: 'record'; readonly value: { readonly [name: string]: Value } }
  | { readonly type: 'counter'; readonly value: number }
  | { readonly type: 'set' | 'list' | 'log'; readonly value: readonly string[] }
  | { readonly type: 'flag'; readonly value: true }
  | { readonly type: 'claim'; readonly value: ClaimState; readonly loose: boolean }
  | { readonly type: 'budget'; readonly value: Budget }

/** What all spaces should hold. A space that was deleted starts anew as another generation, and so does its map here. */
export class Model {
  readonly #spaces = new Map<string, Map<string, Expected>>()

  clone(): Model {
    const copy = new Model()
    for (const [name, entries] of this.#spaces) copy.#spaces.set(name, new Map(entries))
    return copy
  }

  /** An operation that survived. `outcome` is undefined where the process died before it could report one. */
  apply(operation: Operation, outcome: Outcome | undefined): void {
    if (operation.kind === 'prune') return
    if (operation.kind === 'delete-space') {
      this.#spaces.delete(operation.space)
      return
    }
    const { agent, ttlMs, parts } = operation
    const entries = this.#space(operation.space)
    for (const [at, part] of parts.entries()) {
      const after = applied(entries.get(part.key), part, agent, outcome?.results?.[at])
      if (after === undefined) entries.delete(part.key)
      else if (ttlMs !== undefined && after.type === 'register') {
        const expiresMs = (outcome?.atMs ?? 0) + ttlMs
        entries.set(part.key, { type: 'ttl', value: after.value, expiresMs })
      } else entries.set(part.key, after)
    }
  }

  /** Does an operation ask for something that is not so already? */
  wouldChange(operation: Operation, outcome: Outcome | undefined): boolean {
    const changed = this.clone()
    changed.apply(operation, outcome)
    if (operation.kind !== 'write') return false
    const [before, after] = [this.#space(operation.space), changed.#space(operation.space)]
    return operation.parts.some(({ key }) => canonical(before.get(key)) !== canonical(after.get(key)))
  }

  #space(name: string): Map<string, Expected> {
    let entries = this.#spaces.get(name)
    if (entries === undefined) this.#spaces.set(name, (entries = new Map<string, Expected>()))
    return entries
  }

  /** Reads everything through the public handles and compares. Errors of reading are thrown. */
  async compare(node: SkeinNode): Promise<readonly Finding[]> {
    const findings = new Findings()
    const names = new Set([...this.#spaces.keys(), ...node.status().spaces.map(({ name }) => name)])
    for (const name of names) {
      const space = node.space(name)
      const entries = this.#space(name)
      const listed = new Map<string, string>()
      for await (const { key, type } of space.entries()) listed.set(key, type)
      for (const [key, expected] of entries) {
        const gone = expected.type === 'ttl' && Date.now() >= expected.expiresMs
        const where = `${name} ${key}`
        if (!listed.delete(key) && !gone) findings.add('listed', `${where} is not listed`)
        const shown = show(space, key)
        if (!shown.exists) {
          if (!gone) findings.add('value', `${where} is gone; it should read ${brief(expected.value)}`)
          continue
        }
        compareOne(where, expected, shown.value, findings)
      }
      for (const [key, type] of listed) {
        const { value } = show(space, key)
        findings.add('phantom', `${name} ${key} is listed as a ${type} with ${brief(value)} and should not be there`)
      }
      const trio = ['a', 'b', 'c'].map((letter) => brief(space.register(`register/tx-${letter}`).get().value))
      if (new Set(trio).size > 1)
        findings.add('whole', `${name}: the three registers of a transaction read ${trio.join(', ')}`)
    }
    return findings.list
  }

  /** Every fence there is, for the memory of the tester. */
  static fences(node: SkeinNode): (readonly [where: string, fence: number])[] {
    return node.status().spaces.flatMap(({ name, generation }) =>
      [0, 1, 2].map((claim) => {
        const key = `claim/${claim}`
        return [`${name}#${generation} ${key}`, node.space(name).claim(key).get().value.fence] as const
      }),
    )
  }
}

function show(space: SpaceHandle, key: string): { readonly value: unknown; readonly exists: boolean } {
  switch (key.slice(0, key.indexOf('/'))) {
    case 'record':
      return space.record(key).get()
    case 'counter':
      return space.counter(key).get()
    case 'set':
      return space.set(key).get()
    case 'list':
      return space.list(key).get()
    case 'log':
      return space.log(key).get()
    case 'flag':
      return space.flag(key).get()
    case 'claim':
      return space.claim(key).get()
    case 'budget':
      return space.budget(key).get()
    default:
      return space.register(key).get()
  }
}

function compareOne(where: string, expected: Expected, value: unknown, findings: Findings): void {
  if (expected.type === 'claim') {
    const claim = value as ClaimState
    const { fence, holder, until } = expected.value
    if (claim.fence < fence) findings.add('fence', `${where} is at fence ${claim.fence} and was at ${fence}`)
    else if (!expected.loose && (claim.fence !== fence || claim.holder !== holder || claim.until !== until)) {
      findings.add('value', `${where} reads ${brief(claim)} and should read ${brief(expected.value)}`)
    }
  } else if (expected.type === 'budget') {
    const { granted, spent, held, revoked, overspent } = value as Budget & { overspent: number }
    if (overspent > 0 || spent + held + revoked > granted)
      findings.add('budget', `${where} is overspent: ${brief(value)}`)
    const shown = { granted, spent, held, revoked }
    if (brief(shown) !== brief(expected.value))
      findings.add('budget', `${where} reads ${brief(shown)} and should read ${brief(expected.value)}`)
  } else {
    const [shown, right] = expected.type === 'set' ? [sorted(value), sorted(expected.value)] : [value, expected.value]
    const rule = expected.type === 'counter' ? 'counter' : 'value'
    if (canonical(shown) !== canonical(right))
      findings.add(rule, `${where} reads ${brief(shown)} and should read ${brief(right)}`)
  }
}

function sorted(value: unknown): unknown {
  return Array.isArray(value) ? value.map(String).sort() : value
}

/** With its fields in one order. */
function canonical(value: unknown): string {
  if (value === undefined) return 'nothing'
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

function brief(value: unknown): string {
  const text = canonical(value)
  return text.length > 120 ? `${text.slice(0, 100)}… (${text.length})` : text
}

/** One operation on one entry, in the plainest way. Undefined: the entry is not there. */
function applied(
  before: Expected | undefined,
  part: Part,
  agent: string,
  result: Value | undefined,
): Expected | undefined {
  switch (part.kind) {
    case 'set':
      return { type: 'register', value: part.value }
    case 'fields': {
      const old = before?.type === 'record' ? before.value : {}
      const merged: { [name: string]: Value } = { ...old }
      for (const [name, value] of Object.entries(part.fields)) {
        merged[name] = isFields(value) && isFields(merged[name]) ? { ...merged[name], ...value } : value
      }
      return { type: 'record', value: merged }
    }
    case 'unset': {
      if (before?.type !== 'record') return before
      const { [part.path]: _, ...left } = before.value
      return Object.keys(left).length === 0 ? undefined : { type: 'record', value: left }
    }
    case 'incr':
      if (part.amount === 0) return before
      return { type: 'counter', value: (before?.type === 'counter' ? before.value : 0) + part.amount }
    case 'grant':
    case 'spend':
    case 'reserve':
    case 'revoke':
    case 'settle': {
      const { granted, spent, held, revoked } =
        before?.type === 'budget' ? before.value : { granted: 0, spent: 0, held: 0, revoked: 0 }
      const { kind, amount } = part
      return {
        type: 'budget',
        value: {
          granted: granted + (kind === 'grant' ? amount : 0),
          spent: spent + (kind === 'spend' || kind === 'settle' ? amount : 0),
          held: held + (kind === 'reserve' ? amount : kind === 'settle' ? -part.reserved : 0),
          revoked: revoked + (kind === 'revoke' ? amount : 0),
        },
      }
    }
    case 'add':
    case 'drop': {
      const left = new Set(before?.type === 'set' ? before.value : [])
      for (const value of part.values) left[part.kind === 'add' ? 'add' : 'delete'](value)
      return left.size === 0 ? undefined : { type: 'set', value: [...left] }
    }
    case 'insert':
    case 'cut':
    case 'move': {
      const items = before?.type === 'list' ? [...before.value] : []
      if (part.kind === 'insert') items.splice(part.at, 0, ...part.values)
      else if (part.kind === 'cut') items.splice(part.at, part.count)
      else items.splice(part.to, 0, ...items.splice(part.from, 1))
      return items.length === 0 ? undefined : { type: 'list', value: items }
    }
    case 'append': {
      const items = [...(before?.type === 'log' ? before.value : []), ...part.values]
      return { type: 'log', value: part.keep === undefined ? items : items.slice(-part.keep) }
    }
    case 'flag':
      return part.on ? { type: 'flag', value: true } : undefined
    case 'acquire': {
      const old = before?.type === 'claim' ? before.value : { holder: null, fence: 0, until: 0 }
      const held = result as { fence: number; until: number } | undefined
      // Nobody heard which fence it was.
      if (held === undefined) return { type: 'claim', value: old, loose: true }
      return { type: 'claim', value: { holder: agent, fence: held.fence, until: held.until }, loose: false }
    }
    case 'release':
      return { type: 'claim', value: { holder: null, fence: part.fence, until: 0 }, loose: false }
    case 'delete':
      if (before?.type !== 'claim') return undefined
      return { type: 'claim', value: { holder: null, fence: before.value.fence, until: 0 }, loose: before.loose }
  }
}

function isFields(value: Value | undefined): value is { readonly [name: string]: Value } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}
