/**
 * The naive oracle: every conflict of a history, found by looking at all of it. It compares each delta with each other,
 * knows in full what each writer had seen, and has its own plain notion of every rule.
 */
import { Item, decodeUpdate } from 'yjs'
import { decodeValue } from '../base/msgpack.ts'
import type { Value } from '../base/value.ts'
import { pathValue } from '../crdt/cell.ts'
import type { Delta } from '../crdt/delta.ts'
import type { Dot } from '../crdt/dot.ts'
import type { Written } from './conflicts.test-kit.ts'
import { caseId, dotName, threadOf } from '../merge/case.ts'
import type { RuleDeclaration } from '../merge/rule-set.ts'

/** What a delta did, in plain words. */
interface Fact {
  readonly key: string
  readonly type: number
  readonly names: readonly string[]
  readonly raw: Value
  /** Undefined where it was removed. */
  readonly value: Value | undefined
}

interface Act {
  readonly dot: Dot
  readonly name: string
  readonly time: number
  readonly facts: readonly Fact[]
  readonly deleted: readonly string[]
  /** Of these nothing stays but what it wrote itself. */
  readonly cleared: readonly string[]
  readonly decides: string | undefined
  readonly says: string
  /** Had its writer seen that other? */
  saw(other: Dot): boolean
}

export interface Expected {
  readonly branches: ReadonlySet<string>
  readonly isOpen: boolean
  /** For whoever reads a difference. */
  readonly about: string
}

function actOf({ delta, seen }: Written): Act {
  const facts: Fact[] = []
  const keys = new Set<string>()
  let decides: string | undefined
  let says = ''
  for (const { key, type, path, value } of delta.writes) {
    const raw = pathValue(path)
    const held = value && decodeValue(value)
    if (key.startsWith('\u0000case/') && (raw as Value[])[0] === 'd') {
      decides = key.slice('\u0000case/'.length)
      const { kind, branch, value: written, action } = held as { [name: string]: Value }
      says = JSON.stringify([kind, branch, written, action])
    }
    if (key.startsWith('\u0000')) continue
    keys.add(key)
    const names = Array.isArray(raw) ? (raw as string[]) : []
    facts.push({ key, type, names, raw, value: held })
  }
  const deleted = delta.clears.map(({ key }) => key).filter((key) => !keys.has(key))
  const { origin, seq } = delta
  return {
    dot: { origin, seq },
    name: dotName(delta),
    time: delta.time,
    facts,
    deleted,
    cleared: delta.clears.filter(({ type }) => type === 0 || type === 2).map(({ key }) => key),
    decides,
    says,
    saw: (other) => other.seq <= (seen.get(other.origin) ?? 0) && dotName(other) !== dotName(delta),
  }
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)
const isPut = ({ value }: Fact): boolean => value !== undefined
const startsWith = (long: readonly string[], short: readonly string[]): boolean =>
  short.length <= long.length && short.every((name, at) => name === long[at])
const subjectOf = ({ key, type, names }: Fact): Value[] => [key, type, type === 2 ? names : []]

/** Subjects over which these two are against each other. */
type Judge = (a: Act, b: Act, rule: RuleDeclaration) => Value[][]

const bothWays =
  (one: Judge): Judge =>
  (a, b, rule) => [...one(a, b, rule), ...one(b, a, rule)]

const fieldOf = (fact: Fact, field: unknown): boolean =>
  field === undefined ? fact.type === 1 : fact.type === 2 && same(fact.names, [field])

const pairs = (a: Act, b: Act): [Fact, Fact][] =>
  a.facts.filter(isPut).flatMap((x) => b.facts.filter(isPut).map((y): [Fact, Fact] => [x, y]))

/** All fields of one thing that a delta gave: one object for a record, one for each cell that holds an object. */
function things(act: Act): { key: string; fields: Record<string, Value> }[] {
  const found: { key: string; fields: Record<string, Value> }[] = []
  const records = new Map<string, Record<string, Value>>()
  for (const { key, type, names, value } of act.facts) {
    if (value === undefined) continue
    if (type === 2 && names.length === 1) {
      const fields = records.get(key) ?? {}
      if (!records.has(key)) found.push({ key, fields })
      records.set(key, fields)
      fields[names[0] as string] = value
    } else if ((type === 1 || type === 6) && typeof value === 'object' && value !== null && !Array.isArray(value)) {
      found.push({ key, fields: value as Record<string, Value> })
    }
  }
  return found
}

interface Place {
  readonly left: string
  readonly right: string
}

/** Letter by letter, as Yjs itself decodes an edit. */
function editOf(
  { facts }: Act,
  key: string,
): { readonly places: readonly Place[]; readonly gone: ReadonlySet<string> } {
  const updates = facts.flatMap(({ key: at, type, raw, value }) => {
    const isFold = Array.isArray(raw) && Array.isArray(raw[0])
    return at === key && type === 10 && !isFold && value instanceof Uint8Array ? [decodeUpdate(value)] : []
  })
  const own = new Set<string>()
  for (const { structs } of updates) {
    for (const { id, length } of structs) for (let at = 0; at < length; at++) own.add(`${id.client} ${id.clock + at}`)
  }
  const gone = new Set<string>()
  for (const { ds } of updates) {
    for (const [client, stretches] of ds.clients) {
      for (const { clock, len } of stretches) for (let at = 0; at < len; at++) gone.add(`${client} ${clock + at}`)
    }
  }
  const places: Place[] = []
  for (const { structs } of updates) {
    for (const struct of structs) {
      if (!(struct instanceof Item)) continue
      const { origin, rightOrigin } = struct
      const left = origin === null ? 'start' : `${origin.client} ${origin.clock}`
      const right = rightOrigin === null ? '' : `${rightOrigin.client} ${rightOrigin.clock}`
      if (!own.has(left)) places.push({ left, right: own.has(right) ? '' : right })
    }
  }
  return { places, gone: new Set([...gone].filter((name) => !own.has(name))) }
}

const judges: Record<string, Judge> = {
  field: (a, b, rule) =>
    pairs(a, b).flatMap(([x, y]) => {
      const fields = rule['fields'] as readonly string[] | undefined
      if (fields !== undefined && ![x, y].every(({ names }) => fields.includes(names[0] as string))) return []
      if (x.key !== y.key || x.type !== y.type || (x.type !== 1 && x.type !== 2)) return []
      if (same(x.raw, y.raw)) return same(x.value, y.value) ? [] : [subjectOf(x)]
      if (x.type !== 2) return []
      const [upper, lower] = x.names.length < y.names.length ? [x, y] : [y, x]
      if (!startsWith(lower.names, upper.names) || same(upper.value, {})) return []
      return [subjectOf(upper)]
    }),
  delete: bothWays((a, b) =>
    b.facts.filter(isPut).flatMap((put) => {
      const subjects: Value[][] = a.deleted.includes(put.key) ? [[put.key]] : []
      for (const gone of a.facts) {
        if (gone.value !== undefined || gone.key !== put.key || gone.type !== put.type) continue
        if (gone.type !== 1 && gone.type !== 2) continue
        if (startsWith(put.names, gone.names)) subjects.push(subjectOf(gone))
      }
      return subjects
    }),
  ),
  claim: (a, b) =>
    pairs(a, b).flatMap(([x, y]) => {
      if (x.type !== 8 || y.type !== 8 || x.key !== y.key) return []
      const [one, other] = [x.value, y.value].map((value) => (value as { owner: string | null }).owner)
      return one === null || other === null || one === other ? [] : [[x.key]]
    }),
  exclusive: (a, b, rule) =>
    pairs(a, b).flatMap(([x, y]) => {
      if (x.key !== y.key || !fieldOf(x, rule['field']) || !fieldOf(y, rule['field']) || same(x.value, y.value))
        return []
      const groups = rule['values'] as Value[][]
      const against = groups.some((group) => group.includes(x.value as Value) && group.includes(y.value as Value))
      return against ? [subjectOf(x)] : []
    }),
  transition: (a, b, rule) =>
    pairs(a, b).flatMap(([x, y]) => {
      if (x.key !== y.key || !fieldOf(x, rule['field']) || !fieldOf(y, rule['field']) || same(x.value, y.value))
        return []
      const isFirst = a.time === b.time ? a.dot.origin < b.dot.origin : a.time < b.time
      const [from, to] = isFirst ? [x.value, y.value] : [y.value, x.value]
      const steps = rule['steps'] as Record<string, Value[]>
      if (typeof from !== 'string' || typeof to !== 'string') return []
      return (steps[from] ?? []).includes(to) ? [] : [subjectOf(x)]
    }),
  effect: (a, b, rule) => {
    const receipts = (act: Act): [Value, Value][] =>
      things(act).flatMap(({ key, fields }): [Value, Value][] => {
        const proof = fields[rule['receipt'] as string]
        const under = rule['key'] === undefined ? key : fields[rule['key'] as string]
        return proof === undefined || proof === null || under === undefined ? [] : [[under, proof]]
      })
    return receipts(a).flatMap(([under, proof]) =>
      receipts(b).flatMap(([other, second]) => (same(under, other) && !same(proof, second) ? [[under]] : [])),
    )
  },
  unique: (a, b, rule) => {
    const name = rule['field'] as string
    return things(a).flatMap((x) =>
      things(b).flatMap((y) => {
        const value = x.fields[name]
        if (value === undefined || value === null || x.key === y.key || !same(value, y.fields[name])) return []
        return [[value]]
      }),
    )
  },
  reference: bothWays((a, b, rule) =>
    things(b).flatMap(({ key, fields }) => {
      const parent = fields[rule['field'] as string]
      if (typeof parent !== 'string') return []
      const at = String(rule['to']) + parent
      return a.deleted.includes(at) ? [[at, key]] : []
    }),
  ),
  stale: bothWays((a, b, rule) =>
    a.facts.flatMap(({ key, type, names, value }) => {
      if (type !== 2 || value === undefined || names.length !== 2 || names[0] !== rule['field']) return []
      const read = names[1] as string
      return b.deleted.includes(read) || b.facts.some((fact) => fact.key === read) ? [[key, read]] : []
    }),
  ),
  // Of this one schema: who is done, or has failed, must have an owner.
  schema: (a, b) => {
    const keys = [...a.facts, ...b.facts].filter(({ type }) => type === 2).map(({ key }) => key)
    return [...new Set(keys)].flatMap((key) => {
      // Null for what is gone, undefined where nobody knows.
      const gives = (act: Act): boolean => act.facts.some((fact) => fact.key === key && fact.type === 2 && isPut(fact))
      const of = (act: Act, name: string): Value | undefined => {
        const fact = act.facts.find((one) => one.key === key && one.type === 2 && same(one.names, [name]))
        if (fact !== undefined) return fact.value ?? null
        return act.cleared.includes(key) ? null : undefined
      }
      const isFirst = a.time === b.time ? a.dot.origin < b.dot.origin : a.time < b.time
      const isBroken = (...acts: Act[]): boolean => {
        const [status, owner] = ['status', 'owner'].map((name) => {
          const all = acts.map((act) => of(act, name)).filter((one) => one !== undefined)
          return all.find((one) => one !== null) ?? all[0]
        })
        return (
          (status === 'done' || status === 'failed') &&
          (owner === null || (typeof owner === 'string' && !/^[x-z]$/.test(owner)))
        )
      }
      const together = isFirst ? isBroken(b, a) : isBroken(a, b)
      return together && !(gives(a) && isBroken(a)) && !(gives(b) && isBroken(b)) ? [[key]] : []
    })
  },
  text: (a, b) => {
    const keys = new Set(a.facts.filter(({ type }) => type === 10).map(({ key }) => key))
    return [...keys].flatMap((key) => {
      const one = editOf(a, key)
      const other = editOf(b, key)
      const isWithin = (places: readonly Place[], gone: ReadonlySet<string>): boolean =>
        places.some(({ left, right }) => gone.has(left) && gone.has(right))
      const shared = [...one.gone].filter((name) => other.gone.has(name)).length
      const isOver =
        one.places.some((x) =>
          other.places.some((y) => x.left === y.left || (x.right !== '' && x.right === y.right)),
        ) ||
        isWithin(one.places, other.gone) ||
        isWithin(other.places, one.gone) ||
        (shared > 0 && (shared < one.gone.size || shared < other.gone.size))
      return isOver ? [[key]] : []
    })
  },
  // Of this one function: both put a status of `doing`.
  custom: (a, b, rule) => {
    const keys = rule['keys'] as string[]
    const isDoing = ({ facts }: Act): boolean =>
      facts.some(({ key, names, value }) => keys.includes(key) && same(names, ['status']) && value === 'doing')
    return isDoing(a) && isDoing(b) ? [keys] : []
  },
  types: (a, b) => pairs(a, b).flatMap(([x, y]) => (x.key === y.key && x.type !== y.type ? [[x.key]] : [])),
}

/** Every case that the history comes to, by id. */
export function conflictsOf(written: readonly Written[], rules: readonly RuleDeclaration[]): Map<string, Expected> {
  const acts = written.map(actOf)
  const found = new Map<string, { readonly branches: Map<string, Act>; readonly about: string }>()
  const threads = new Map<string, Act[]>()
  // A decision comes into its thread when it is met here: deltas stand in an order in which causes come first.
  const decisionsOf = new Map<string, Act[]>()
  const threadOfCase = new Map<string, string>()
  const judged: { readonly a: Act; readonly b: Act; readonly rule: RuleDeclaration; readonly subject: Value[] }[] = []
  for (const [at, b] of acts.entries()) {
    for (const a of acts.slice(0, at)) {
      if (a.saw(b.dot) || b.saw(a.dot)) continue
      for (const rule of rules) {
        for (const subject of judges[rule.rule]?.(a, b, rule) ?? []) judged.push({ a, b, rule, subject })
      }
    }
  }
  // Ids depend on earlier decisions, and which case a decision is on depends on ids: until nothing moves.
  for (;;) {
    const before = found.size
    for (const { a, b, rule, subject } of judged) {
      const name = rule.name ?? rule.rule
      const thread = threadOf(name, subject)
      const both = (threads.get(thread) ?? []).filter((one) => a.saw(one.dot) && b.saw(one.dot))
      const last = both.filter((one) => !both.some((later) => later.saw(one.dot)))
      const id = caseId(
        name,
        subject,
        last.map(({ dot }) => dot),
      )
      threadOfCase.set(id, thread)
    }
    threads.clear()
    for (const act of acts) {
      const thread = act.decides === undefined ? undefined : threadOfCase.get(act.decides)
      if (thread !== undefined) threads.set(thread, [...(threads.get(thread) ?? []), act])
    }
    found.clear()
    for (const { a, b, rule, subject } of judged) {
      const name = rule.name ?? rule.rule
      const both = (threads.get(threadOf(name, subject)) ?? []).filter((one) => a.saw(one.dot) && b.saw(one.dot))
      const last = both.filter((one) => !both.some((later) => later.saw(one.dot)))
      const id = caseId(
        name,
        subject,
        last.map(({ dot }) => dot),
      )
      const known = found.get(id) ?? { branches: new Map<string, Act>(), about: `${name} ${JSON.stringify(subject)}` }
      found.set(id, known)
      known.branches.set(a.name, a)
      known.branches.set(b.name, b)
    }
    if (found.size === before) break
  }
  for (const act of acts) {
    if (act.decides !== undefined) decisionsOf.set(act.decides, [...(decisionsOf.get(act.decides) ?? []), act])
  }
  return new Map(
    Array.from(found, ([id, { branches, about }]) => {
      const decisions = decisionsOf.get(id) ?? []
      const last = decisions.filter((one) => !decisions.some((later) => later.saw(one.dot)))
      const isContradictory = new Set(last.map(({ says }) => says)).size > 1
      const knewAll = last.some((one) => [...branches.values()].every(({ dot }) => one.saw(dot)))
      return [id, { branches: new Set(branches.keys()), isOpen: isContradictory || !knewAll, about }]
    }),
  )
}

/** For whoever reads a failing history. */
export function storyOf(written: readonly Written[]): string {
  return written
    .map(({ delta, seen }) => ({ delta: plainly(delta), seen }))
    .filter(({ delta }) => delta.writes.length > 0 || delta.clears.length > 0)
    .map(({ delta, seen }) => `${tell(delta)} having seen ${Array.from(seen, ([o, s]) => `${o[0]}${s}`).join(' ')}`)
    .join('\n')
}

function tell({ origin, seq, writes, clears }: Delta): string {
  const did = writes.map(
    ({ key, path, value }) =>
      `${key}${JSON.stringify(pathValue(path))}=${value ? JSON.stringify(decodeValue(value)) : 'gone'}`,
  )
  return `${origin[0]}${seq}: ${[...did, ...clears.map(({ key }) => `${key} cleared`)].join(', ')}`
}

/** Without what the system writes, but for decisions. */
function plainly(delta: Delta): Delta {
  const writes = delta.writes.filter(
    ({ key, path }) =>
      !key.startsWith('\u0000') || (key.startsWith('\u0000case') && (pathValue(path) as Value[])[0] === 'd'),
  )
  return { ...delta, writes }
}
