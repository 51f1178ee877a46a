/**
 * Looks at a history and says what cannot be: it knows what clients were promised and no line of the product. Each check
 * is a function of the operations; what it finds comes with the few operations that show it.
 *
 * An operation that ended with nobody knowing counts as done wherever that excuses what was seen, and as not done likewise.
 */
import type { Event, Invoked, Result } from './history.ts'

export const checks = {
  set: 'Every acknowledged add is in the final read of every node, and nothing is there that nobody added.',
  'set reads': 'A node never loses an element that it showed before, or acknowledged.',
  counter: 'A counter is the sum of what was acknowledged, give or take what nobody knows; alike on all nodes.',
  register: 'A read with a token sees what the token names, or something newer.',
  fence: 'On one node fences never go back, and a new holder gets a higher one.',
  'two holders': 'Two hold a claim at once only where something was wrong between their nodes.',
  'one fence': 'Two owners get one fence only where something was wrong between their nodes.',
  budget: 'A budget is never overspent.',
  'final budget': 'What was granted and spent is in the books of every node, once.',
  answers: 'Every node answers every final read.',
} as const
export type Check = keyof typeof checks

/** An operation: its invocation and its end. */
export interface Operation extends Invoked {
  readonly outcome: 'ok' | 'fail' | 'info'
  readonly endMs: number
  readonly result: Result
}

export interface Anomaly {
  readonly check: Check
  readonly what: string
  readonly shows: readonly Operation[]
}

export interface CheckerSettings {
  readonly nodes: number
  /** While nothing is wrong a write is seen by all nodes within this time: links that were cut are dialled again by then. */
  readonly spreadsWithinMs: number
  /** By so much wall clocks of nodes may differ: a claim may be over for another node so much sooner. */
  readonly clocksApartMs: number
}

export interface Verdict {
  readonly anomalies: readonly Anomaly[]
  readonly figures: Readonly<Record<string, number>>
}

export function operationsOf(events: readonly Event[]): Operation[] {
  const open = new Map<number, Invoked>()
  const done: Operation[] = []
  for (const event of events) {
    if (event.type === 'fault') continue
    if (event.type === 'invoke') {
      open.set(event.id, event)
      continue
    }
    const invoked = open.get(event.id)
    if (invoked === undefined) throw new Error(`operation ${event.id} ends without having begun`)
    open.delete(event.id)
    done.push({ ...invoked, outcome: event.type, endMs: event.ms, result: event.result ?? {} })
  }
  for (const invoked of open.values()) done.push({ ...invoked, outcome: 'info', endMs: Infinity, result: {} })
  return done.sort((a, b) => a.ms - b.ms)
}

export function check(events: readonly Event[], settings: CheckerSettings): Verdict {
  const operations = operationsOf(events)
  const figures: Record<string, number> = {}
  for (const { outcome } of operations) figures[`operations ${outcome}`] = (figures[`operations ${outcome}`] ?? 0) + 1
  const anomalies = [
    ...answered(operations, settings),
    ...sets(operations),
    ...shownSets(operations),
    ...counters(operations),
    ...registers(operations),
    ...fences(operations),
    ...holders(operations, calmOf(events), settings, figures),
    ...budgets(operations),
  ]
  return { anomalies, figures }
}

type Of<F extends Invoked['work']['f']> = Operation & { readonly work: Extract<Invoked['work'], { readonly f: F }> }

function of<F extends Invoked['work']['f']>(operations: readonly Operation[], ...fs: readonly F[]): Of<F>[] {
  return operations.filter((one): one is Of<F> => (fs as readonly string[]).includes(one.work.f))
}

function byKey<One extends Operation>(operations: readonly One[]): Map<string, One[]> {
  return grouped(operations, ({ work }) => work.key)
}

function grouped<One>(all: readonly One[], name: (one: One) => string): Map<string, One[]> {
  const groups = new Map<string, One[]>()
  for (const one of all) {
    const group = groups.get(name(one))
    if (group === undefined) groups.set(name(one), [one])
    else group.push(one)
  }
  return groups
}

const isOk = ({ outcome }: Operation): boolean => outcome === 'ok'
const mayBeDone = ({ outcome }: Operation): boolean => outcome !== 'fail'

/** A check that had nothing to look at must not pass. */
function answered(operations: readonly Operation[], { nodes }: CheckerSettings): Anomaly[] {
  const found: Anomaly[] = []
  const finals = operations.filter(({ final }) => final === true)
  for (const reads of grouped(finals, ({ work }) => `${work.f} ${work.key}`).values()) {
    const answers = new Set(reads.filter(isOk).map(({ node }) => node))
    const [first] = reads
    if (answers.size === nodes || first === undefined) continue
    const what = `only ${answers.size} of ${nodes} nodes answered the final ${first.work.f} of ${first.work.key}`
    found.push({ check: 'answers', what, shows: reads.filter((one) => !isOk(one)).slice(0, 3) })
  }
  return found
}

function sets(operations: readonly Operation[]): Anomaly[] {
  const found: Anomaly[] = []
  const adds = byKey(of(operations, 'add'))
  for (const [key, reads] of byKey(of(operations, 'read-set').filter(isOk))) {
    const added = new Map((adds.get(key) ?? []).map((one) => [one.work.element, one]))
    for (const read of reads) {
      const elements = new Set(read.result.elements)
      for (const element of elements) {
        const add = added.get(element)
        const what = `node ${read.node} shows ${element} in ${key}`
        if (add === undefined) found.push({ check: 'set', what: `${what}, which nobody added`, shows: [read] })
        else if (add.outcome === 'fail')
          found.push({ check: 'set', what: `${what}, whose add was refused`, shows: [add, read] })
        else if (add.ms > read.endMs)
          found.push({ check: 'set', what: `${what} before it was added`, shows: [read, add] })
      }
      if (read.final !== true) continue
      const lost = [...added.values()].filter((add) => isOk(add) && !elements.has(add.work.element))
      if (lost.length === 0) continue
      const names = lost.map(({ work }) => work.element).slice(0, 10)
      const what = `the final read of ${key} on node ${read.node} lacks ${lost.length} acknowledged: ${names.join(', ')}`
      found.push({ check: 'set', what, shows: [...lost.slice(0, 3), read] })
    }
  }
  return found
}

/** What a node shows it goes on showing as long as it runs; what it acknowledged, for ever. */
function shownSets(operations: readonly Operation[]): Anomaly[] {
  const found: Anomaly[] = []
  const adds = grouped(of(operations, 'add').filter(isOk), ({ work, node }) => `${work.key} ${node}`)
  const reads = of(operations, 'read-set').filter(isOk)
  for (const [name, all] of grouped(reads, ({ work, node }) => `${work.key} ${node}`)) {
    const own = adds.get(name) ?? []
    for (const sameLife of grouped(all, ({ life }) => String(life)).values()) {
      /** By element: who showed it, with the earliest end. */
      const shown = new Map<string, Operation>()
      const ended = [...sameLife].sort((a, b) => a.endMs - b.endMs)
      let at = 0
      for (const read of sameLife) {
        for (; (ended[at]?.endMs ?? Infinity) < read.ms; at++) {
          const before = ended[at] as Operation
          for (const element of before.result.elements ?? []) if (!shown.has(element)) shown.set(element, before)
        }
        const elements = new Set(read.result.elements)
        for (const [element, before] of shown) {
          if (elements.has(element)) continue
          const what = `node ${read.node} showed ${element} in ${read.work.key} and later did not`
          found.push({ check: 'set reads', what, shows: [before, read] })
          break
        }
        const lost = own.find((add) => add.endMs < read.ms && !elements.has(add.work.element))
        if (lost === undefined) continue
        const what = `node ${read.node} acknowledged ${lost.work.element} in ${read.work.key} and later does not show it`
        found.push({ check: 'set reads', what, shows: [lost, read] })
      }
    }
  }
  return found
}

function counters(operations: readonly Operation[]): Anomaly[] {
  const found: Anomaly[] = []
  const adds = byKey(of(operations, 'incr').filter(mayBeDone))
  for (const [key, reads] of byKey(of(operations, 'read-counter').filter(isOk))) {
    const own = adds.get(key) ?? []
    const finals = new Set<number>()
    for (const read of reads) {
      const sum = read.result.sum ?? Number.NaN
      if (read.final === true) finals.add(sum)
      let least = 0
      let most = 0
      for (const add of own) {
        const { by } = add.work
        if (add.ms > read.endMs) continue
        // Elsewhere it may not have arrived yet.
        const isThere = isOk(add) && (read.final === true || (add.node === read.node && add.endMs < read.ms))
        least += isThere ? by : Math.min(0, by)
        most += isThere ? by : Math.max(0, by)
      }
      if (sum >= least && sum <= most) continue
      const what = `node ${read.node} counts ${sum} in ${key}; it is from ${least} to ${most}`
      found.push({ check: 'counter', what, shows: [read] })
    }
    if (finals.size > 1) {
      const shows = reads.filter(({ final }) => final === true)
      found.push({ check: 'counter', what: `at the end nodes count ${[...finals].join(', ')} in ${key}`, shows })
    }
  }
  return found
}

function registers(operations: readonly Operation[]): Anomaly[] {
  const found: Anomaly[] = []
  const reads = of(operations, 'read').filter(isOk)
  for (const session of grouped(reads, ({ work }) => `${work.session} ${work.key}`).values()) {
    const inOrder = [...session].sort((a, b) => a.ms - b.ms)
    for (const [at, read] of inOrder.entries()) {
      const before = inOrder.slice(0, at).findLast(({ endMs }) => endMs < read.ms)
      if (before === undefined || (read.result.number ?? 0) >= (before.result.number ?? 0)) continue
      const what = `${read.work.session} read ${before.result.number ?? 0} in ${read.work.key}, and with the token of that read ${read.result.number ?? 0}`
      found.push({ check: 'register', what, shows: [before, read] })
    }
  }
  for (const [key, writes] of byKey(of(operations, 'write'))) {
    const own = reads.filter(({ work }) => work.key === key)
    const acknowledged = writes.filter(isOk)
    for (const read of own) {
      const number = read.result.number ?? 0
      const isKnown =
        number === 0 || writes.some((one) => one.work.number === number && mayBeDone(one) && one.ms <= read.endMs)
      if (!isKnown) {
        found.push({
          check: 'register',
          what: `node ${read.node} shows ${number} in ${key}, which nobody wrote`,
          shows: [read],
        })
      }
      // The writer reads its own register with the token of its last write; at the end everybody sees it.
      const isBound = read.final === true || read.work.session === writes[0]?.work.session
      const last = isBound ? acknowledged.findLast(({ endMs }) => endMs < read.ms) : undefined
      if (last === undefined || number >= last.work.number) continue
      const what = `${last.work.number} was acknowledged in ${key}, and a read after it on node ${read.node} shows ${number}`
      found.push({ check: 'register', what, shows: [last, read] })
    }
  }
  return found
}

function fences(operations: readonly Operation[]): Anomaly[] {
  const found: Anomaly[] = []
  const all = of(operations, 'acquire', 'renew', 'read-claim').filter(isOk)
  for (const [name, here] of grouped(all, ({ work, node }) => `${work.key} ${node}`)) {
    /** The acknowledged with the highest fence that ended before; they are durable, so lives do not matter. */
    const granted = here.filter(({ work }) => work.f !== 'read-claim')
    const own = of(operations, 'acquire', 'renew').filter(
      (other) => isOk(other) && other.work.key === here[0]?.work.key,
    )
    for (const one of here) {
      const fence = one.result.fence ?? 0
      const before = granted.filter(({ endMs }) => endMs < one.ms)
      const highest = before.reduce<Operation | undefined>(
        (most, other) => ((other.result.fence ?? 0) > (most?.result.fence ?? 0) ? other : most),
        undefined,
      )
      if (highest === undefined) continue
      const most = highest.result.fence ?? 0
      const { work } = one
      // Who has it from another node renews it here.
      const isNew =
        work.f === 'acquire' &&
        !own.some(
          (other) =>
            other !== one && other.ms < one.endMs && other.result.fence === fence && other.work.owner === work.owner,
        )
      if (fence > most || (fence === most && !isNew)) continue
      const what = `${name.split(' ')[0] ?? ''} on node ${one.node}: fence ${fence} ${isNew ? 'is given out' : 'is shown'} after ${most}`
      found.push({ check: 'fence', what, shows: [highest, one] })
    }
  }
  const finals = of(operations, 'read-claim').filter((one) => isOk(one) && one.final === true)
  for (const [key, reads] of byKey(finals)) {
    const given = all.filter(({ work }) => work.key === key && work.f !== 'read-claim')
    const highest = given.reduce((most, { result }) => Math.max(most, result.fence ?? 0), 0)
    for (const read of reads) {
      if ((read.result.fence ?? 0) >= highest) continue
      const shows = [...given.filter(({ result }) => result.fence === highest).slice(0, 1), read]
      found.push({
        check: 'fence',
        what: `${key} ends at fence ${read.result.fence ?? 0} on node ${read.node}, and ${highest} was given out`,
        shows,
      })
    }
  }
  return found
}

interface Span {
  readonly fromMs: number
  readonly toMs: number
}

function calmOf(events: readonly Event[]): Span[] {
  const spans: Span[] = []
  let fromMs: number | undefined
  for (const event of events) {
    if (event.type !== 'fault') continue
    if (event.calm === true) fromMs ??= event.ms
    else if (event.calm === false && fromMs !== undefined) {
      spans.push({ fromMs, toMs: event.ms })
      fromMs = undefined
    }
  }
  if (fromMs !== undefined) spans.push({ fromMs, toMs: Infinity })
  return spans
}

/** Who held what from when until when, for sure: from the answer, until the claim ends or is given back. */
interface Tenure {
  readonly one: Operation
  readonly owner: string
  readonly fence: number
  readonly toMs: number
  /** It is the first with this fence and this owner. */
  readonly isNew: boolean
}

function tenuresOf(operations: readonly Operation[], key: string, clocksApartMs: number): Tenure[] {
  const own = operations.filter(({ work }) => work.key === key)
  const releases = of(own, 'release')
  const firsts = new Map<string, Operation>()
  return of(own, 'acquire', 'renew')
    .filter(isOk)
    .map((one) => {
      const { owner } = one.work
      const fence = one.result.fence ?? 0
      // Also one from before, on a node that this one had not heard of: who gives a thing back has given it back.
      const given = releases.find(({ work }) => work.owner === owner && work.fence === fence)
      const expiresMs = one.ms + (one.result.ttlMs ?? 0) - clocksApartMs
      const name = `${owner} ${fence}`
      const first = firsts.get(name) ?? one
      firsts.set(name, first)
      const toMs = Math.min(expiresMs, given?.ms ?? Infinity)
      return { one, owner, fence, toMs, isNew: first === one }
    })
}

/**
 * A claim is no lock across a partition. So two holders, or one fence twice, are excused unless the first had its answer, and
 * the second asked, within one calm time with room between them for the first to spread.
 */
function holders(
  operations: readonly Operation[],
  calm: readonly Span[],
  { spreadsWithinMs, clocksApartMs }: CheckerSettings,
  figures: Record<string, number>,
): Anomaly[] {
  const found: Anomaly[] = []
  const count = (name: string): void => void (figures[name] = (figures[name] ?? 0) + 1)
  const isKnown = (first: Operation, second: Operation): boolean =>
    isOk(first) &&
    (first.node === second.node
      ? first.endMs < second.ms
      : calm.some(
          ({ fromMs, toMs }) => second.ms <= toMs && Math.max(first.endMs, fromMs) + spreadsWithinMs <= second.ms,
        ))
  for (const key of new Set(of(operations, 'acquire').map(({ work }) => work.key))) {
    const tenures = tenuresOf(operations, key, clocksApartMs)
    const takers = of(operations, 'acquire', 'renew').filter((one) => one.work.key === key && mayBeDone(one))
    /** Did somebody whom the first did not know of, nor he the first, take it over when the two met? */
    const isBeaten = (first: Tenure, byMs: number): boolean =>
      takers.some(
        (other) =>
          other.work.owner !== first.owner &&
          other.ms < byMs &&
          (!isOk(other) || (other.result.fence ?? 0) >= first.fence) &&
          !isKnown(first.one, other) &&
          !isKnown(other, first.one),
      )
    for (const first of tenures) {
      for (const second of tenures) {
        // Whoever has it renews it, and takes it from nobody.
        if (second.owner === first.owner || !second.isNew || second.one.ms < first.one.ms) continue
        const isExcused = !isKnown(first.one, second.one) || isBeaten(first, second.one.endMs)
        if (second.one.endMs < first.toMs) {
          count(isExcused ? 'two holders, excused' : 'two holders')
          if (!isExcused) {
            const what = `${first.owner} holds ${key} with fence ${first.fence} until ${Math.round(first.toMs)} ms, and ${second.owner} is given it with ${second.fence}`
            found.push({ check: 'two holders', what, shows: [first.one, second.one] })
          }
        }
        if (first.fence === second.fence && first.isNew) {
          count(isExcused ? 'one fence twice, excused' : 'one fence twice')
          if (!isExcused) {
            const what = `${first.owner} and ${second.owner} both got fence ${first.fence} of ${key}`
            found.push({ check: 'one fence', what, shows: [first.one, second.one] })
          }
        }
      }
    }
  }
  return found
}

function budgets(operations: readonly Operation[]): Anomaly[] {
  const found: Anomaly[] = []
  const sum = (all: readonly Of<'grant' | 'spend'>[]): number => all.reduce((total, { work }) => total + work.amount, 0)
  for (const key of new Set(of(operations, 'grant', 'spend', 'read-budget').map(({ work }) => work.key))) {
    const own = operations.filter(({ work }) => work.key === key)
    const grants = of(own, 'grant').filter(mayBeDone)
    const spends = of(own, 'spend')
    // At every moment: what is acknowledged has been spent, and what was not yet asked for has not been granted.
    for (const spend of spends.filter(isOk)) {
      const spent = sum(spends.filter((one) => isOk(one) && one.endMs <= spend.endMs))
      const granted = sum(grants.filter(({ ms }) => ms <= spend.endMs))
      if (spent <= granted) continue
      const what = `the spending of ${spent} in ${key} is acknowledged, and ${granted} were granted`
      found.push({ check: 'budget', what, shows: [...grants.slice(-3), spend] })
      break
    }
    for (const read of of(own, 'read-budget').filter(isOk)) {
      const { granted = 0, spent = 0, overspent = 0 } = read.result
      if (spent > granted || overspent > 0) {
        const what = `node ${read.node} shows ${spent} spent of ${granted} in ${key}, ${overspent} overspent`
        found.push({ check: 'budget', what, shows: [read] })
      }
      if (read.final !== true) continue
      for (const [name, value, all] of [
        ['granted', granted, grants],
        ['spent', spent, spends.filter(mayBeDone)],
      ] as const) {
        const least = sum(all.filter(isOk))
        const most = sum(all)
        if (value >= least && value <= most) continue
        const what = `node ${read.node} ends with ${value} ${name} in ${key}; it is from ${least} to ${most}`
        found.push({ check: 'final budget', what, shows: [read] })
      }
    }
  }
  return found
}
