/**
 * Clients: each does one thing after the other against real nodes over HTTP, and tells the history what it asked and
 * what came back. A client whose operation ended with nobody knowing goes on under another name, and lets go of what only one
 * writer may touch.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Prng } from '../../src/base/prng.ts'
import type { Cluster } from './cluster.ts'
import type { History, Outcome, Result, Work } from './history.ts'
import type { Asked } from './http.ts'

export const sets: readonly string[] = ['seen-0', 'seen-1', 'seen-2']
export const counters: readonly string[] = ['hits-0', 'hits-1']
export const claims: readonly string[] = ['lease-0', 'lease-1', 'lease-2']
export const budgets: readonly string[] = ['purse-0']
const space = 'work'

const claimMs = 4_000
/** Between two operations of one client. */
const pauseMs = 25
const behindMs = 1_500

/** What a register's writer told about it: its last number and the token. */
interface Known {
  number: number
  version: string
}

/** Registers that were ever written, for all clients to read. */
export interface Shared {
  readonly registers: string[]
}

interface Done {
  readonly outcome: Outcome
  readonly result: Result
  readonly version: string
}

export class Client {
  readonly #cluster: Cluster
  readonly #history: History
  readonly #chance: Prng
  readonly #shared: Shared
  readonly #number: number
  #name: string
  #names = 0
  #elements = 0
  #register: string | undefined
  #wrote: Known = { number: 0, version: '' }
  /** Sessions of reading: by key, the token that was read last. */
  #session = ''
  #sessions = 0
  readonly #tokens = new Map<string, string>()
  #held: { readonly key: string; readonly fence: number } | undefined

  constructor(number: number, cluster: Cluster, history: History, chance: Prng, shared: Shared) {
    this.#number = number
    this.#cluster = cluster
    this.#history = history
    this.#chance = chance
    this.#shared = shared
    this.#name = `c${number}`
    this.#newSession()
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      await this.#step()
      await sleep(this.#chance.below(2 * pauseMs))
    }
  }

  async #step(): Promise<void> {
    const chance = this.#chance
    const choice = chance.below(100)
    if (choice < 22) return this.#add(chance.pick(sets))
    if (choice < 26) return void (await this.do({ f: 'read-set', key: chance.pick(sets) }))
    if (choice < 38) return this.#incr(chance.pick(counters))
    if (choice < 42) return void (await this.do({ f: 'read-counter', key: chance.pick(counters) }))
    if (choice < 54) return this.#write()
    if (choice < 62) return this.#readOwn()
    if (choice < 74) return this.#read()
    if (choice < 86) return this.#claim(chance.pick(claims))
    if (choice < 89) return void (await this.do({ f: 'read-claim', key: chance.pick(claims) }))
    if (choice < 90)
      return void (await this.do({ f: 'grant', key: chance.pick(budgets), amount: 5 + chance.below(10) }))
    if (choice < 98) return void (await this.do({ f: 'spend', key: chance.pick(budgets), amount: 1 + chance.below(8) }))
    return void (await this.do({ f: 'read-budget', key: chance.pick(budgets) }))
  }

  async #add(key: string): Promise<void> {
    await this.do({ f: 'add', key, element: `${this.#number}.${++this.#elements}` })
  }

  async #incr(key: string): Promise<void> {
    const by = this.#chance.chance(0.15) ? -1 - this.#chance.below(3) : 1 + this.#chance.below(5)
    await this.do({ f: 'incr', key, by })
  }

  async #write(): Promise<void> {
    if (this.#register === undefined) {
      this.#register = `note-${this.#name}`
      this.#wrote = { number: 0, version: '' }
      this.#shared.registers.push(this.#register)
    }
    const key = this.#register
    const number = this.#wrote.number + 1
    // Its node may not have the last write yet, and would then write beside it.
    const node = this.#node()
    if (this.#wrote.version !== '') {
      const there = await this.#readAt(node, key, this.#writerSession, this.#wrote.version)
      if (there.outcome !== 'ok') return
    }
    const { outcome, version } = await this.do({ f: 'write', key, number, session: this.#writerSession }, { node })
    if (outcome === 'ok') this.#wrote = { number, version }
    else if (outcome === 'info') this.#register = undefined
  }

  get #writerSession(): string {
    return `${this.#name}-writer`
  }

  async #readOwn(): Promise<void> {
    const key = this.#register
    if (key === undefined || this.#wrote.version === '') return
    await this.#readAt(this.#node(), key, this.#writerSession, this.#wrote.version)
  }

  async #read(): Promise<void> {
    const others = this.#shared.registers.slice(-12)
    if (others.length === 0) return
    const key = this.#chance.pick(others)
    const token = this.#tokens.get(key)
    const { outcome, version } = await this.#readAt(this.#node(), key, this.#session, token)
    // What was read may have been on no disk, and be lost with its nodes: then no node ever comes to the token.
    if (outcome === 'ok' && version !== '') this.#tokens.set(key, version)
    else if (outcome !== 'ok' && this.#chance.chance(0.2)) this.#newSession()
  }

  #newSession(): void {
    this.#session = `${this.#name}-reads-${++this.#sessions}`
    this.#tokens.clear()
  }

  #readAt(node: number, key: string, session: string, after: string | undefined): Promise<Done> {
    // A read without a token is bound to nothing: it is a session of its own.
    const name = after === undefined ? `${session}-first-${this.#history.events.length}` : session
    return this.do({ f: 'read', key, session: name }, { node, after })
  }

  async #claim(key: string): Promise<void> {
    const held = this.#held
    if (held === undefined) {
      const { outcome, result } = await this.do({ f: 'acquire', key, owner: this.#name })
      if (outcome === 'ok' && result.fence !== undefined) this.#held = { key, fence: result.fence }
      return
    }
    const f = this.#chance.chance(0.5) ? 'renew' : 'release'
    const { outcome } = await this.do({ f, key: held.key, owner: this.#name, fence: held.fence })
    if (f === 'release' || outcome !== 'ok') this.#held = undefined
  }

  /** A node at random, most often one's own: so a client moves, and sees what moving shows. */
  #node(): number {
    const { members } = this.#cluster
    return this.#chance.chance(0.6) ? this.#number % members.length : this.#chance.below(members.length)
  }

  async do(
    work: Work,
    { node = this.#node(), after, final = false }: { node?: number; after?: string | undefined; final?: boolean } = {},
  ): Promise<Done> {
    const member = this.#cluster.member(node)
    const id = this.#history.invoke(this.#name, node, member.life, work, final)
    const asked = await send(member.ask.bind(member), work, after)
    const done = outcomeOf(asked, work)
    const why = done.outcome === 'ok' ? {} : { why: whyOf(asked) }
    this.#history.end(id, done.outcome, { result: done.result, ...why })
    if (done.outcome === 'info' && !work.f.startsWith('read')) {
      this.#name = `c${this.#number}-${++this.#names}`
      this.#held = undefined
      this.#register = undefined
      this.#newSession()
    }
    return done
  }
}

type Ask = (
  method: string,
  path: string,
  options: { body?: unknown; headers?: Readonly<Record<string, string>>; timeoutMs?: number },
) => Promise<Asked>

function send(ask: Ask, work: Work, after: string | undefined): Promise<Asked> {
  const entry = `/v1/spaces/${space}/entries/${work.key}`
  const write = (body: Readonly<Record<string, unknown>>, agent?: string): Promise<Asked> =>
    ask('POST', `${entry}/ops`, { body, ...(agent !== undefined && { headers: { 'skein-agent': agent } }) })
  const read = (type: string): Promise<Asked> => {
    const query = new URLSearchParams({ type, ...(after !== undefined && { after, timeout: String(behindMs) }) })
    return ask('GET', `${entry}?${query.toString()}`, {})
  }
  switch (work.f) {
    case 'add':
      return write({ type: 'set', op: 'add', values: [work.element] })
    case 'read-set':
      return read('set')
    case 'incr':
      return write({ type: 'counter', op: 'incr', by: work.by })
    case 'read-counter':
      return read('counter')
    case 'write':
      return write({ type: 'register', op: 'set', value: work.number })
    case 'read':
      return read('register')
    case 'acquire':
      return write({ type: 'claim', op: 'acquire', ttlMs: claimMs }, work.owner)
    case 'renew':
      return write({ type: 'claim', op: 'renew', fence: work.fence, ttlMs: claimMs }, work.owner)
    case 'release':
      return write({ type: 'claim', op: 'release', fence: work.fence }, work.owner)
    case 'read-claim':
      return read('claim')
    case 'grant':
      return write({ type: 'budget', op: 'grant', amount: work.amount })
    case 'spend':
      return write({ type: 'budget', op: 'spend', amount: work.amount })
    case 'read-budget':
      return read('budget')
  }
}

/** Acknowledged is 200 with `durable`; 202 says that the disk is not known to have it. */
function outcomeOf(asked: Asked, work: Work): Done {
  if (asked.kind === 'refused') return { outcome: 'fail', result: {}, version: '' }
  if (asked.kind === 'lost') return { outcome: 'info', result: {}, version: '' }
  const { status, body } = asked
  const version = typeof body['version'] === 'string' ? body['version'] : ''
  if (work.f.startsWith('read')) {
    if (status === 404 && body['code'] === 'not_found') return { outcome: 'ok', result: nothing(work), version: '' }
    if (status !== 200) return { outcome: 'fail', result: {}, version: '' }
    return { outcome: 'ok', result: shown(work, body['value']), version }
  }
  if (status === 200 && body['durable'] === true) {
    return { outcome: 'ok', result: given(work, body['result']), version }
  }
  // A refusal names what became of the state.
  const outcome = status >= 400 && body['state'] === 'unchanged' ? 'fail' : 'info'
  return { outcome, result: {}, version: '' }
}

function whyOf(asked: Asked): string {
  if (asked.kind === 'answer')
    return `${asked.status} ${typeof asked.body['code'] === 'string' ? asked.body['code'] : ''}`
  return asked.kind === 'lost' ? asked.why : 'nobody listens'
}

function nothing(work: Work): Result {
  if (work.f === 'read-set') return { elements: [] }
  if (work.f === 'read-counter') return { sum: 0 }
  if (work.f === 'read') return { number: 0 }
  if (work.f === 'read-claim') return { fence: 0, owner: null }
  return { granted: 0, spent: 0, overspent: 0 }
}

function shown(work: Work, value: unknown): Result {
  if (work.f === 'read-set') return { elements: (value as readonly unknown[]).map(String) }
  if (work.f === 'read-counter') return { sum: Number(value) }
  if (work.f === 'read') return { number: Number(value) }
  const fields = value as Readonly<Record<string, unknown>>
  if (work.f === 'read-claim') {
    const owner = fields['holder']
    return { fence: Number(fields['fence']), owner: typeof owner === 'string' ? owner : null }
  }
  const [granted, spent, overspent] = ['granted', 'spent', 'overspent'].map((name) => Number(fields[name]))
  return { granted: granted ?? Number.NaN, spent: spent ?? Number.NaN, overspent: overspent ?? Number.NaN }
}

function given(work: Work, result: unknown): Result {
  if (work.f !== 'acquire' && work.f !== 'renew') return {}
  const { fence } = result as { readonly fence: number }
  return { fence, ttlMs: claimMs, owner: work.owner }
}

/** Reads everything on every node. */
export async function readAll(client: Client, nodes: number, registers: readonly string[]): Promise<void> {
  const works: Work[] = [
    ...sets.map((key): Work => ({ f: 'read-set', key })),
    ...counters.map((key): Work => ({ f: 'read-counter', key })),
    ...claims.map((key): Work => ({ f: 'read-claim', key })),
    ...budgets.map((key): Work => ({ f: 'read-budget', key })),
    ...registers.map((key): Work => ({ f: 'read', key, session: `final-${key}` })),
  ]
  for (let node = 0; node < nodes; node++) {
    for (const work of works) {
      const named = work.f === 'read' ? { ...work, session: `${work.session}-${node}` } : work
      await client.do(named, { node, final: true })
    }
  }
}
