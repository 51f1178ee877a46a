/**
 * Slow readable twins of the types. A twin knows no cells, dots to supersede or deltas: it is handed the events of a
 * history, each with the set of events its writer had seen, and says by definition what a replica that knows them must
 * read. The laws compare the two after every step of random histories.
 */
import { compareUtf8, binaryString, compareBytes } from '../base/bytes.ts'
import { decodeValue, encodeValue } from '../base/msgpack.ts'
import type { OriginId } from './dot.ts'

export interface Event {
  readonly origin: OriginId
  readonly seq: number
  readonly time: number
  readonly nowMs: number
  readonly agent: string
  /** An operation of the type, or `delete entry`, of all of it. */
  readonly operation: string
  readonly args: Readonly<Record<string, unknown>>
  /** Everything that happened before, transitively. */
  readonly saw: ReadonlySet<Event>
  /** What the entry read as where it was made: an operation on a place means the place that its writer saw. */
  readonly shown: unknown
}

export interface Lost {
  readonly event: Event
  readonly shown: unknown
}

export interface Shown {
  readonly value: unknown
  /** The most recent first. */
  readonly concurrent: readonly Lost[]
}

export interface Twin {
  read(known: ReadonlySet<Event>): Shown
  /** What of a value the twin speaks about, where that is not all of it. */
  view?(value: unknown): unknown
  /** What the operation must answer or refuse with at its writer, where the type promises anything. */
  answer?(event: Event): unknown
}

/** A write of one thing by one event. */
interface Write {
  readonly event: Event
  readonly value: unknown
}

const canonical = (value: unknown): unknown => decodeValue(encodeValue(value))
const bytes = (value: unknown): string => binaryString(encodeValue(value))

function byAge(a: Event, b: Event): number {
  return a.time - b.time || (a.origin < b.origin ? -1 : a.origin > b.origin ? 1 : a.seq - b.seq)
}

function oldestFirst<T extends { readonly event: Event }>(writes: readonly T[]): T[] {
  return writes.toSorted((a, b) => byAge(a.event, b.event))
}

/** Those writes that no known event, having seen them, ended. */
function live<W extends { readonly event: Event }>(
  writes: readonly W[],
  known: ReadonlySet<Event>,
  ends: (later: Event, write: W) => boolean,
): W[] {
  const events = [...known]
  return writes.filter((write) => !events.some((later) => later.saw.has(write.event) && ends(later, write)))
}

/** Answers that depend on what an event had seen are worked out once for it. */
function once<T>(make: (event: Event) => T): (event: Event) => T {
  const known = new WeakMap<Event, { readonly made: T }>()
  return (event) => {
    let entry = known.get(event)
    if (entry === undefined) known.set(event, (entry = { made: make(event) }))
    return entry.made
  }
}

const register: Twin = {
  read(known) {
    const writes = [...known]
      .filter((event) => event.operation === 'set')
      .map((event) => ({ event, value: event.args['value'] }))
    const standing = oldestFirst(live(writes, known, () => true))
    const shown = standing.pop()
    return {
      value: shown && canonical(shown.value),
      concurrent: standing.map(({ event, value }) => ({ event, shown: canonical(value) })).reverse(),
    }
  },
}

interface FieldWrite extends Write {
  readonly path: readonly string[]
}

const isEmptyObject = (value: unknown): boolean => bytes(value) === '\x80'

/** The leaves that a set names, whatever becomes of them. */
function leaves(given: object, path: readonly string[] = []): { path: string[]; value: unknown }[] {
  return Object.entries(given)
    .filter(([, value]) => value !== undefined)
    .flatMap(([name, value]: [string, unknown]) => {
      const here = [...path, name]
      const nested = typeof value === 'object' && value !== null && !Array.isArray(value)
      if (nested && Object.values(value).some((field) => field !== undefined)) return leaves(value, here)
      return [{ path: here, value: nested ? {} : value }]
    })
}

const within = (path: readonly string[], prefix: readonly string[]): boolean =>
  prefix.every((name, at) => path[at] === name)
const strictlyBelow = (path: readonly string[], prefix: readonly string[]): boolean =>
  path.length > prefix.length && within(path, prefix)
const same = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && within(a, b)

/** The leaves that a set really wrote: those that say something new where it was made. */
const fieldWrites = once((event: Event): FieldWrite[] => {
  if (event.operation !== 'set') return []
  const before = liveFields(event.saw)
  return leaves(event.args['fields'] as object)
    .filter(({ path, value }) => {
      const here = before.filter((write) => same(write.path, path))
      if (isEmptyObject(value)) {
        const objectStands = here.length > 0 || before.some((write) => strictlyBelow(write.path, path))
        return !objectStands || here.some((write) => !isEmptyObject(write.value))
      }
      return here.length !== 1 || bytes(here[0]?.value) !== bytes(value)
    })
    .map(({ path, value }) => ({ event, path, value }))
})

function endsField(later: Event, write: FieldWrite): boolean {
  if (later.operation === 'delete entry') return true
  if (later.operation === 'unset') {
    const paths = later.args['paths'] as readonly (string | readonly string[])[]
    return paths.some((path) => within(write.path, typeof path === 'string' ? [path] : path))
  }
  if (fieldWrites(later).some(({ path }) => same(path, write.path))) return true
  return leaves(later.args['fields'] as object).some(({ path, value }) => {
    if (!isEmptyObject(value) && strictlyBelow(write.path, path)) return true
    return !isEmptyObject(write.value) && strictlyBelow(path, write.path)
  })
}

function liveFields(known: ReadonlySet<Event>): FieldWrite[] {
  return live([...known].flatMap(fieldWrites), known, endsField)
}

const record: Twin = {
  read(known) {
    const lost: FieldWrite[] = []
    const show = (path: readonly string[], writes: readonly FieldWrite[]): unknown => {
      const scalars = oldestFirst(writes.filter((write) => same(write.path, path) && !isEmptyObject(write.value)))
      const scalar = scalars.pop()
      const object = oldestFirst(writes.filter((write) => !same(write.path, path) || isEmptyObject(write.value)))
      const newestOfObject = object.at(-1)
      if (scalar && (!newestOfObject || byAge(scalar.event, newestOfObject.event) > 0)) {
        lost.push(...scalars, ...object)
        return canonical(scalar.value)
      }
      if (scalar) lost.push(...scalars, scalar)
      const names = new Set(
        object.filter((write) => write.path.length > path.length).map((write) => write.path[path.length] as string),
      )
      return Object.fromEntries(
        [...names].map((name) => {
          const here = [...path, name]
          return [
            name,
            show(
              here,
              object.filter((write) => within(write.path, here)),
            ),
          ]
        }),
      )
    }
    const value = show([], liveFields(known))
    const shown = oldestFirst(lost).map(({ event, path, value: field }) => ({
      event,
      shown: { path, value: canonical(field) },
    }))
    return { value, concurrent: shown.reverse() }
  },
}

/**
 * What an origin had added, as of its latest event. A deletion makes it nothing, unless the origin wrote without having
 * seen the deletion: that brings its whole total back.
 */
function totalOf(origin: OriginId, known: ReadonlySet<Event>): number {
  const events = [...known]
  const latest = events.reduce<Event | undefined>((best, event) => {
    if (event.origin !== origin || event.operation !== 'incr') return best
    return best === undefined || event.seq > best.seq ? event : best
  }, undefined)
  if (latest === undefined) return 0
  if (events.some((event) => event.operation === 'delete entry' && event.saw.has(latest))) return 0
  return (latest.args['by'] as number) + totalOf(origin, latest.saw)
}

/** Holds without deletions, whoever restarts and absorbs; and with deletions where nobody absorbs. */
const counter: Twin = {
  read(known) {
    const origins = new Set([...known].map((event) => event.origin))
    return { value: [...origins].reduce((sum, origin) => sum + totalOf(origin, known), 0), concurrent: [] }
  },
}

/** Set and flag: what exists, of things brought and dropped by name. */
function existence(
  things: (event: Event) => readonly string[],
  bringing: string,
  forbids: (event: Event) => boolean,
): (known: ReadonlySet<Event>) => string[] {
  type Claim = Write & { readonly thing: string; readonly value: boolean }
  const claims = once((event: Event): Claim[] => {
    if (event.operation !== bringing && !forbids(event)) return []
    const value = event.operation === bringing
    const before = standing(event.saw)
    return [...new Set(things(event))]
      .filter((thing) => {
        const here = before.filter((claim) => claim.thing === thing)
        return here.length !== 1 || here[0]?.value !== value
      })
      .map((thing) => ({ event, thing, value }))
  })
  const ended = once((event: Event): ReadonlySet<string> => {
    const before = standing(event.saw)
    const written = claims(event).map(({ thing }) => thing)
    if (event.operation === bringing || forbids(event)) return new Set(written)
    return new Set(things(event).filter((thing) => before.some((claim) => claim.thing === thing && claim.value)))
  })
  function standing(known: ReadonlySet<Event>): Claim[] {
    return live([...known].flatMap(claims), known, (later, { thing }) => {
      return later.operation === 'delete entry' || ended(later).has(thing)
    })
  }
  return (known) => {
    const all = standing(known)
    const yes = all.filter(({ value }) => value).map(({ thing }) => thing)
    return [...new Set(yes)].filter((thing) => !all.some((claim) => claim.thing === thing && !claim.value))
  }
}

const elementsIn = existence(
  (event) => (event.operation === 'delete entry' ? [] : (event.args['values'] as unknown[]).map(bytes)),
  'add',
  (event) => event.args['wins'] === 'remove',
)

const set: Twin = {
  read(known) {
    const order = (a: string, b: string): number => compareBytes(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1'))
    return {
      value: elementsIn(known)
        .toSorted(order)
        .map((path) => decodeValue(Buffer.from(path, 'latin1'))),
      concurrent: [],
    }
  },
}

const flagIn = existence(
  (event) => (event.operation === 'delete entry' ? [] : ['it']),
  'enable',
  (event) => event.args['wins'] === 'disable',
)

const flag: Twin = {
  read: (known) => ({ value: flagIn(known).length === 1, concurrent: [] }),
}

interface LogItem extends Write {
  readonly index: number
}

function logOrder(a: LogItem, b: LogItem): number {
  return a.event.time - b.event.time || a.index - b.index || byAge(a.event, b.event)
}

function appended(event: Event): LogItem[] {
  if (event.operation !== 'append') return []
  const values = event.args['values'] as unknown[]
  const keep = (event.args['keep'] as number | undefined) ?? values.length
  return values.slice(-Math.min(keep, values.length) || values.length).map((value, index) => ({ event, value, index }))
}

/** What an append with `keep` cuts off of what its writer saw. */
const cutOff = once((event: Event): ReadonlySet<string> => {
  const keep = event.args['keep'] as number | undefined
  const values = event.args['values'] as unknown[] | undefined
  if (keep === undefined || values === undefined || values.length === 0) return new Set()
  const seen = liveItems(event.saw)
  const room = Math.max(keep - values.length, 0)
  return new Set(seen.slice(0, Math.max(seen.length - room, 0)).map(itemName))
})

function itemName({ event, index }: LogItem): string {
  return `${event.origin} ${event.seq} ${index}`
}

function liveItems(known: ReadonlySet<Event>): LogItem[] {
  return live([...known].flatMap(appended), known, (later, item) => {
    return later.operation === 'delete entry' || cutOff(later).has(itemName(item))
  }).toSorted(logOrder)
}

const log: Twin = {
  read: (known) => ({ value: liveItems(known).map(({ value }) => canonical(value)), concurrent: [] }),
}

/** Which items there are; their order has a slow twin of its own beside the type. */
const list: Twin = {
  read(known) {
    const removed = (event: Event): readonly unknown[] => {
      const { at, count } = event.args as { at: number; count: number }
      return event.operation === 'remove' ? (event.shown as unknown[]).slice(at, at + count) : []
    }
    const inserted = [...known].flatMap((event) => {
      if (event.operation !== 'insert') return []
      return (event.args['values'] as unknown[]).map((value) => ({ event, value }))
    })
    const standing = live(inserted, known, (later, item) => {
      return later.operation === 'delete entry' || removed(later).includes(item.value)
    })
    return { value: list.view?.(standing.map(({ value }) => value)), concurrent: [] }
  },
  view: (value) => (value as number[]).toSorted((a, b) => a - b),
}

interface Tenure {
  readonly event: Event
  readonly fence: number
  readonly holder: string | null
  readonly until: number
}

const refused = (code: string): { readonly refused: string } => ({ refused: code })

/** What a claim operation comes to where it is made: what it answers, and the tenure it writes, if any. */
const claimed = once((event: Event): { readonly answer: unknown; readonly tenure: Tenure | undefined } => {
  const standing = tenures(event.saw)
  const top = standing.at(-1)
  const fence = event.args['fence'] as number
  const owner = (event.args['owner'] as string | undefined) ?? event.agent
  const until = event.nowMs + (event.args['ttlMs'] as number)
  const write = (tenure: Omit<Tenure, 'event'>, answer: unknown): { answer: unknown; tenure: Tenure | undefined } => {
    const only = standing.length === 1 ? top : undefined
    const alike = only?.fence === tenure.fence && only.holder === tenure.holder && only.until === tenure.until
    return { answer, tenure: alike ? undefined : { event, ...tenure } }
  }
  const refuse = (code: string): { answer: unknown; tenure: undefined } => ({
    answer: refused(code),
    tenure: undefined,
  })
  switch (event.operation) {
    case 'acquire': {
      const held = top && top.holder !== null && top.until >= event.nowMs
      if (held && top.holder !== owner) return refuse('claim_held')
      const next = held ? top.fence : (top?.fence ?? 0) + 1
      return write({ fence: next, holder: owner, until }, { fence: next, until })
    }
    case 'renew':
      if (top?.fence !== fence || top.holder !== owner) return refuse('stale_fence')
      return write({ fence, holder: owner, until }, { fence, until })
    case 'release':
      if (top?.fence !== fence || (top.holder !== null && top.holder !== owner)) return refuse('stale_fence')
      if (top.holder === null) return { answer: undefined, tenure: undefined }
      return write({ fence, holder: null, until: 0 }, undefined)
    default:
      if (top === undefined) return { answer: undefined, tenure: undefined }
      return write({ fence: top.fence, holder: null, until: 0 }, undefined)
  }
})

/** The live tenures, the holder's last. */
function tenures(known: ReadonlySet<Event>): Tenure[] {
  const written = [...known].flatMap((event) => claimed(event).tenure ?? [])
  return live(written, known, (later) => claimed(later).tenure !== undefined).toSorted((a, b) => {
    return a.fence - b.fence || compareUtf8(a.event.origin, b.event.origin) || a.event.seq - b.event.seq
  })
}

const claim: Twin = {
  read(known) {
    const standing = tenures(known)
    const top = standing.pop()
    const shown = ({ holder, fence, until }: Tenure): object => ({ holder, fence, until })
    if (top === undefined) return { value: { holder: null, fence: 0, until: 0 }, concurrent: [] }
    const others = oldestFirst(standing.filter(({ holder }) => holder !== null))
    return {
      value: shown(top),
      concurrent: others.map((other) => ({ event: other.event, shown: shown(other) })).reverse(),
    }
  },
  answer: (event) => claimed(event).answer,
}

type Amounts = Readonly<Record<'granted' | 'revoked' | 'spent' | 'held' | 'given' | 'taken', number>>

/** What an origin still holds: reservations of its own, by their number, as far as they are open. */
function open(origin: OriginId, known: ReadonlySet<Event>): Map<string, number> {
  const own = [...known].filter((event) => event.origin === origin).toSorted((a, b) => a.seq - b.seq)
  const held = new Map<string, number>()
  let number = 0
  for (const { operation, args } of own) {
    if (operation === 'reserve') held.set(`${origin.slice(16)}-${++number}`, args['amount'] as number)
    else if (operation === 'settle' || operation === 'refund') held.delete(args['id'] as string)
  }
  return held
}

function amountsOf(known: ReadonlySet<Event>, origin?: OriginId): Amounts {
  const events = [...known]
  const own = events.filter((event) => origin === undefined || event.origin === origin)
  const sum = (from: readonly Event[], ...operations: readonly string[]): number =>
    from
      .filter(({ operation }) => operations.includes(operation))
      .reduce((total, { args }) => total + (args['amount'] as number), 0)
  const origins = new Set(own.map((event) => event.origin))
  const toOrigin = events.filter(({ args }) => args['to'] === origin)
  return {
    granted: sum(own, 'grant'),
    revoked: sum(own, 'revoke'),
    spent: sum(own, 'spend', 'settle'),
    held: [...origins].flatMap((one) => [...open(one, known).values()]).reduce((total, amount) => total + amount, 0),
    given: sum(own, 'transfer'),
    taken: sum(toOrigin, 'transfer'),
  }
}

/** Nobody is taken over here; that has tests of its own beside the type. */
const budget: Twin = {
  read(known) {
    const { granted, revoked, spent, held } = amountsOf(known)
    return { value: { granted, revoked, spent, held, overspent: 0 }, concurrent: [] }
  },
  view(value) {
    const { granted, revoked, spent, held, overspent } = value as Record<string, number>
    return { granted, revoked, spent, held, overspent }
  },
  answer({ origin, operation, args, saw }) {
    if (operation === 'delete entry') return saw.size > 0 ? refused('budget_not_deletable') : undefined
    if (operation === 'grant') return undefined
    const { granted, revoked, spent, held, given, taken } = amountsOf(saw, origin)
    const rights = granted - revoked - spent - held - given + taken
    const amount = (args['amount'] ?? 0) as number
    if (operation === 'settle' || operation === 'refund') {
      const reserved = open(origin, saw).get(args['id'] as string)
      if (reserved === undefined) return refused('unknown_reservation')
      return amount - reserved > rights ? refused('budget_exceeded') : undefined
    }
    if (amount > rights) return refused('budget_exceeded')
    const number = [...saw].filter((event) => event.origin === origin && event.operation === 'reserve').length + 1
    return operation === 'reserve' ? { id: `${origin.slice(16)}-${number}` } : undefined
  },
}

export const twins: Readonly<Record<string, Twin>> = { register, record, counter, set, flag, log, list, claim, budget }
