/** Programs that write all the time in the story, and remember what was acknowledged: a ledger of plain facts. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Prng } from '../../src/base/prng.ts'
import type { Cluster } from './cluster.ts'

const space = 'shop'
/** Between two writes of one writer. */
const pauseMs = 40
const pageItems = 500

export class Writers {
  readonly figures: Record<string, number> = {}
  readonly #cluster: Cluster
  readonly #chance: Prng
  /** Acknowledged: by key its value; by set its elements; by record its fields; what counters must have at least and at most. */
  readonly #registers = new Map<string, number>()
  readonly #elements = new Map<string, string[]>()
  readonly #fields = new Map<string, Record<string, number>>()
  readonly #sums = new Map<string, { least: number; most: number }>()
  readonly #avoided = new Set<number>()
  /** Under way, by node. */
  readonly #busy = new Map<number, number>()
  #running: Promise<void>[] = []
  #isOver = false

  constructor(cluster: Cluster, chance: Prng) {
    this.#cluster = cluster
    this.#chance = chance
  }

  start(count: number): void {
    for (let writer = 0; writer < count; writer++) this.#running.push(this.#write(writer))
  }

  async stop(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#running)
    this.#running = []
  }

  /** Nobody writes on that node meanwhile. */
  async without(node: number, work: () => Promise<void>): Promise<void> {
    this.#avoided.add(node)
    while ((this.#busy.get(node) ?? 0) > 0) await sleep(20)
    await work()
    this.#avoided.delete(node)
  }

  async #write(writer: number): Promise<void> {
    const chance = this.#chance.fork(writer)
    const { members } = this.#cluster
    for (let number = 1; !this.#isOver; number++) {
      const node = chance.below(members.length)
      if (!this.#avoided.has(node)) {
        this.#busy.set(node, (this.#busy.get(node) ?? 0) + 1)
        await this.#one(chance, writer, number, node)
        this.#busy.set(node, (this.#busy.get(node) ?? 1) - 1)
      }
      await sleep(chance.below(2 * pauseMs))
    }
  }

  async #one(chance: Prng, writer: number, number: number, node: number): Promise<void> {
    const choice = chance.below(10)
    if (choice < 4) {
      const key = `register-${writer}-${number}`
      if (await this.#ask(node, key, { type: 'register', op: 'set', value: number })) this.#registers.set(key, number)
    } else if (choice < 6) {
      const [key, element] = [`set-${chance.below(4)}`, `${writer}.${number}`]
      const isThere = await this.#ask(node, key, { type: 'set', op: 'add', values: [element] })
      if (isThere) this.#elements.set(key, [...(this.#elements.get(key) ?? []), element])
    } else if (choice < 8) {
      const [key, field] = [`record-${chance.below(20)}`, `w${writer}-${number % 7}-${number}`]
      const isThere = await this.#ask(node, key, { type: 'record', op: 'set', fields: { [field]: number } })
      if (isThere) this.#fields.set(key, { ...this.#fields.get(key), [field]: number })
    } else {
      const key = `counter-${chance.below(3)}`
      const sum = this.#sums.get(key) ?? { least: 0, most: 0 }
      this.#sums.set(key, sum)
      const isDone = await this.#ask(node, key, { type: 'counter', op: 'incr', by: 1 })
      if (isDone === true) sum.least++
      if (isDone !== false) sum.most++
    }
  }

  /** True: acknowledged; false: refused; undefined: nobody knows. */
  async #ask(node: number, key: string, body: unknown): Promise<boolean | undefined> {
    const count = (name: string): void => void (this.figures[name] = (this.figures[name] ?? 0) + 1)
    const asked = await this.#cluster.member(node).ask('POST', `/v1/spaces/${space}/entries/${key}/ops`, { body })
    if (asked.kind === 'refused') {
      count('refused: down')
      return false
    }
    if (asked.kind === 'lost') {
      count('unknown')
      return undefined
    }
    if (asked.status === 200 && asked.body['durable'] === true) {
      count('acknowledged')
      return true
    }
    const code = typeof asked.body['code'] === 'string' ? asked.body['code'] : String(asked.status)
    const isRefused = asked.status >= 400 && asked.body['state'] === 'unchanged'
    count(isRefused ? `refused: ${code}` : 'unknown')
    return isRefused ? false : undefined
  }

  /** What was acknowledged and is not on a node. */
  async missing(): Promise<string[]> {
    const problems: string[] = []
    for (const { index } of this.#cluster.members) {
      const found = await this.#all(index)
      const lost: string[] = []
      for (const [key, value] of this.#registers) if (found.get(key) !== value) lost.push(key)
      for (const [key, elements] of this.#elements) {
        const there = new Set(found.get(key) as readonly string[] | undefined)
        lost.push(...elements.filter((element) => !there.has(element)).map((element) => `${key}: ${element}`))
      }
      for (const [key, fields] of this.#fields) {
        const there = (found.get(key) ?? {}) as Readonly<Record<string, unknown>>
        for (const [field, value] of Object.entries(fields)) if (there[field] !== value) lost.push(`${key}: ${field}`)
      }
      for (const [key, { least, most }] of this.#sums) {
        const sum = Number(found.get(key) ?? 0)
        if (!(sum >= least && sum <= most))
          problems.push(`${key} is ${sum} on node ${index}; it is from ${least} to ${most}`)
      }
      if (lost.length > 0)
        problems.push(`node ${index} lacks ${lost.length} acknowledged writes: ${lost.slice(0, 10).join(', ')}`)
    }
    return problems
  }

  async #all(node: number): Promise<Map<string, unknown>> {
    const found = new Map<string, unknown>()
    let cursor: string | undefined
    do {
      const query = new URLSearchParams({ limit: String(pageItems), ...(cursor !== undefined && { cursor }) })
      const asked = await this.#cluster.member(node).ask('GET', `/v1/spaces/${space}/entries?${query.toString()}`, {})
      if (asked.kind !== 'answer' || asked.status !== 200)
        throw new Error(`node ${node} does not list: ${JSON.stringify(asked)}`)
      for (const { key, value } of asked.body['entries'] as readonly {
        readonly key: string
        readonly value: unknown
      }[]) {
        found.set(key, value)
      }
      cursor = asked.body['cursor'] as string | undefined
    } while (cursor !== undefined)
    return found
  }
}
