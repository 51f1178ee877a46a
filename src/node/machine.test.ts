import { expect, test } from 'vitest'
import { prng } from '../base/prng.ts'
import type { OriginId } from '../crdt/dot.ts'
import { originId } from '../crdt/dot.ts'
import { budget } from '../crdt/types/budget.ts'
import type { CrdtType } from '../crdt/type.ts'
import { claim } from '../crdt/types/claim.ts'
import { register } from '../crdt/types/register.ts'
import { spaceRange, table } from '../replica/row-keys.ts'
import { MapRows } from '../replica/rows.test-kit.ts'
import { encodePacket, protocol } from '../wire/codec.ts'
import type { Frame, NodeId } from '../wire/frame.ts'
import { Machine } from './machine.ts'
import type { Input, MachineConfig, Output } from './machine.ts'

/** Machines side by side on links that never fail, in no time. */
class Bench {
  readonly machines: Machine[] = []
  readonly #rows: MapRows[] = []
  readonly #ends = new Map<string, { at: number; link: number }>()
  readonly #queue: { at: number; input: Input }[] = []
  nowMs = 1_800_000_000_000
  #links = 1
  #renewed = 0
  readonly #scans = new Map<string, { readonly rows: MapRows; readonly space: number }>()
  readonly #cut = new Set<number>()
  /** Everything that was put out, with who did. */
  readonly outputs: { at: number; output: Output }[] = []
  readonly skews: number[] = []

  faults(): string[] {
    return this.outputs.flatMap(({ at, output }) => (output.kind === 'fault' ? [`${at} ${output.code}`] : []))
  }

  add(more: Partial<MachineConfig> = {}): Machine {
    const at = this.machines.length
    const rows = new MapRows()
    const machine = new Machine({
      node: (at + 1).toString(16).padStart(16, '0'),
      incarnation: (at + 1).toString(16).padStart(16, 'f'),
      rows,
      cacheBytes: 1_000_000,
      retention: { keepMs: 1e12, keepBytes: 1e12 },
      fleet: '00000000000000aa',
      address: `node-${at}`,
      join: this.machines.map((_, other) => `node-${other}`),
      zone: '',
      roster: [],
      random: prng(at),
      holds: () => true,
      ...more,
    })
    this.machines.push(machine)
    this.#rows.push(rows)
    this.feed(at, { kind: 'timer' })
    return machine
  }

  ask(at: number, key: string, needed: number): void {
    const machine = this.machines[at] as Machine
    this.obey(at, machine.askRights(machine.replica.open('s'), key, needed, this.nowMs))
    this.feed(at, { kind: 'local' })
  }

  /** Ends every link of a node, and lets nothing through to it any more. */
  cut(at: number): void {
    for (const [name, end] of this.#ends) {
      const [from, link] = name.split('/').map(Number) as [number, number]
      if (from !== at && end.at !== at) continue
      this.#ends.delete(name)
      this.#queue.push({ at: from, input: { kind: 'closed', link } })
    }
    this.#cut.add(at)
    this.#run()
  }

  /** Time goes by in steps of 100 ms. */
  passMs(ms: number): void {
    for (const until = this.nowMs + ms; this.nowMs < until;) {
      this.nowMs += 100
      for (const [at, machine] of this.machines.entries()) {
        if (machine.wakeAt <= this.nowMs + (this.skews[at] ?? 0)) this.#queue.push({ at, input: { kind: 'timer' } })
      }
      this.#run()
    }
  }

  feed(at: number, input: Input): void {
    this.#queue.push({ at, input })
    this.#run()
  }

  #run(): void {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#step(next.at, next.input)
  }

  #step(at: number, input: Input): void {
    const machine = this.machines[at] as Machine
    this.obey(at, machine.handle(input, this.nowMs + (this.skews[at] ?? 0)))
  }

  obey(at: number, outputs: readonly Output[]): void {
    const machine = this.machines[at] as Machine
    for (const output of outputs) {
      this.outputs.push({ at, output })
      switch (output.kind) {
        case 'dial': {
          const other = Number(output.address.slice(5))
          if (this.#cut.has(at) || this.#cut.has(other)) {
            this.#queue.push({ at, input: { kind: 'closed', link: output.link } })
            break
          }
          const link = 2 * this.#links++ + 1
          this.#ends.set(`${at}/${output.link}`, { at: other, link })
          this.#ends.set(`${other}/${link}`, { at, link: output.link })
          this.#queue.push({ at: other, input: { kind: 'opened', link, outgoing: false } })
          this.#queue.push({ at, input: { kind: 'opened', link: output.link, outgoing: true } })
          break
        }
        case 'send': {
          const end = this.#ends.get(`${at}/${output.link}`)
          if (end === undefined) break
          this.#queue.push({ at: end.at, input: { kind: 'message', link: end.link, bytes: output.bytes } })
          this.#queue.push({ at, input: { kind: 'drained', link: output.link } })
          break
        }
        case 'persist': {
          const batch = machine.replica.takeBatch(this.#rows[at] as MapRows)
          if (batch > 0) this.#queue.push({ at, input: { kind: 'stored', batch, durable: true } })
          break
        }
        case 'scan': {
          const rows = (this.#rows[at] as MapRows).clone()
          this.#scans.set(`${at}/${output.scan}`, { rows, space: output.space })
          break
        }
        case 'more': {
          const scan = this.#scans.get(`${at}/${output.scan}`)
          if (scan === undefined) break
          const rows = scan.rows.list(spaceRange(table.entry, scan.space))
          this.#queue.push({ at, input: { kind: 'page', scan: output.scan, rows, done: true, snapshot: scan.rows } })
          break
        }
        case 'renew':
          this.#queue.push({
            at,
            input: { kind: 'incarnation', incarnation: (++this.#renewed).toString(16).padStart(16, 'e') },
          })
          break
        default:
          break
      }
    }
  }
}

function write(bench: Bench, at: number, key: string, type: CrdtType, name: string, args: object): void {
  const { replica } = bench.machines[at] as Machine
  const operation = type.operations[name]
  if (operation === undefined) throw new Error(`no ${name}`)
  const space = replica.open('s')
  replica.transact(space, { nowMs: bench.nowMs, agent: 'a', reason: undefined }, (change) =>
    change.run(space.entry(key), type, operation, args as Readonly<Record<string, unknown>>),
  )
}

function set(bench: Bench, at: number, key: string, value: unknown): void {
  write(bench, at, key, register, 'set', { value })
  bench.feed(at, { kind: 'local' })
}

function valueAt(bench: Bench, at: number, key: string): unknown {
  const found = bench.machines[at]?.replica.find('s')
  return found && register.read(found.entry(key).cells(register.id)).value
}

test('a newcomer hears what was written before it came', () => {
  const bench = new Bench()
  bench.add()
  set(bench, 0, 'k', 'old')
  bench.add()
  expect(valueAt(bench, 1, 'k')).toBe('old')
})

test('a write at one node is read at the others', () => {
  const bench = new Bench()
  for (let i = 0; i < 3; i++) bench.add()
  set(bench, 0, 'k', 'here')
  expect([0, 1, 2].map((at) => valueAt(bench, at, 'k'))).toEqual(['here', 'here', 'here'])
})

test('what is written leaves before anybody here hears of it, unless its link is busy or it waits for the disk', () => {
  const bench = new Bench()
  bench.add()
  const told: string[] = []
  bench.add({
    leaves: (outputs) => {
      told.push(...outputs.map(({ kind }) => kind))
      bench.obey(1, outputs)
    },
    applied: ({ own, delta }) => void (own && told.push(delta.writes[0]?.key ?? '')),
  })
  set(bench, 1, 'first', 0)
  bench.passMs(3000)
  told.length = 0
  for (const key of ['a', 'b']) write(bench, 1, key, register, 'set', { value: key })
  write(bench, 1, 'claimed', claim, 'acquire', { ttlMs: 1000 })
  write(bench, 1, 'after', register, 'set', { value: 'after' })
  expect(told).toEqual(['send', 'a', 'b', 'claimed', 'after'])
  bench.feed(1, { kind: 'local' })
  told.length = 0
  write(bench, 1, 'held', claim, 'acquire', { ttlMs: 1000 })
  expect(told).toEqual(['held'])
  bench.feed(1, { kind: 'local' })
  expect(['a', 'b', 'after'].map((key) => valueAt(bench, 0, key))).toEqual(['a', 'b', 'after'])
})

test('a space that is here ends when it was deleted elsewhere, though this node is not to hold it any more', () => {
  const bench = new Bench()
  const [first, second] = [bench.add(), bench.add({ holds: () => false })]
  first.replica.open('s')
  // As after a change of its configuration, or from a directory that was another's.
  second.replica.open('s')
  set(bench, 0, 'k', 1)
  bench.passMs(3000)
  expect(valueAt(bench, 1, 'k')).toBe(1)
  first.replica.deleteSpace('s')
  first.replica.open('s')
  first.replica.open('other')
  bench.feed(0, { kind: 'local' })
  bench.passMs(3000)
  expect(second.replica.find('s')?.generation).toBe(first.replica.find('s')?.generation)
  expect(valueAt(bench, 1, 'k')).toBeUndefined()
  expect(second.replica.find('other')).toBeUndefined()
})

test('budget rights are asked for where they are lacking, and come only from who has them', () => {
  const bench = new Bench()
  for (let i = 0; i < 2; i++) bench.add()
  const run = (at: number, name: string, args: Record<string, unknown>): void => {
    const { replica } = bench.machines[at] as Machine
    const operation = budget.operations[name]
    if (operation === undefined) throw new Error(`no ${name}`)
    const space = replica.open('s')
    replica.transact(space, { nowMs: bench.nowMs, agent: 'a', reason: undefined }, (change) =>
      change.run(space.entry('b'), budget, operation, args),
    )
    bench.feed(at, { kind: 'local' })
  }
  run(0, 'grant', { amount: 1000 })
  const exceeded: unknown = expect.objectContaining({ code: 'budget_exceeded' })
  expect(() => run(1, 'spend', { amount: 400 })).toThrow(exceeded)
  bench.ask(1, 'b', 400)
  run(1, 'spend', { amount: 400 })
  expect(() => run(1, 'spend', { amount: 400 })).toThrow(exceeded)
  const { available, spent } = budget.read(
    bench.machines[0]?.replica.open('s').entry('b').cells(budget.id) as never,
  ).value
  expect({ available, spent }).toEqual({ available: 600, spent: 400 })
})

test('a peer that asks for rights all the time is answered once a second, in one delta', () => {
  const bench = new Bench()
  const one = bench.add()
  const space = one.replica.open('s')
  const grant = budget.operations['grant']
  if (grant === undefined) throw new Error('no grant')
  one.replica.transact(space, { nowMs: bench.nowMs, agent: 'a', reason: undefined }, (change) =>
    change.run(space.entry('b'), budget, grant, { amount: 1_000_000 }),
  )
  bench.feed(0, { kind: 'local' })
  bench.feed(0, { kind: 'opened', link: 99, outgoing: false })
  const node = '00000000000000ee' as NodeId
  const hello = {
    kind: 'hello',
    ...protocol,
    fleet: '00000000000000aa',
    node,
    incarnation: '00000000000000ff',
  } as const
  const say = (...frames: Frame[]): void => bench.feed(0, { kind: 'message', link: 99, bytes: encodePacket(frames) })
  say({ ...hello, nowMs: bench.nowMs, address: '' })
  const ask = {
    kind: 'rights-ask',
    space: space.id,
    key: 'b',
    to: originId(`${node}00000000000000ff`),
    amount: 1,
  } as const
  const written = (): number => space.logs.get(one.replica.origin)?.seq ?? 0
  say(...Array.from({ length: 500 }, () => ask))
  expect(written()).toBe(2)
  bench.passMs(1000)
  say(...Array.from({ length: 500 }, () => ask))
  expect(written()).toBe(3)
})

test('strangers, other fleets and clocks that are far off are refused by name', () => {
  const bench = new Bench()
  bench.add()
  bench.add({ fleet: '00000000000000bb' })
  expect(bench.faults()).toContain('0 fleet')
  const other = new Bench()
  other.add()
  other.skews[1] = 3_600_000
  other.add()
  expect(other.faults()).toContain('0 clock')
  set(other, 0, 'k', 1)
  expect(valueAt(other, 1, 'k')).toBeUndefined()
})

test('a copy that meets what its original wrote goes on as another incarnation', () => {
  const bench = new Bench()
  bench.add()
  const original = bench.add()
  set(bench, 1, 'k', 'original')
  bench.cut(1)
  const copy = bench.add({ node: original.replica.origin.slice(0, 16), incarnation: original.replica.origin.slice(16) })
  expect(copy.replica.origin).not.toBe(original.replica.origin)
  bench.passMs(20_000)
  expect(valueAt(bench, 2, 'k')).toBe('original')
  set(bench, 2, 'k', 'copy')
  expect(valueAt(bench, 0, 'k')).toBe('copy')
})

test('[F1] two that run one memory are told apart by whom they meet, and nothing of either is lost', () => {
  const bench = new Bench()
  const [other, original] = [bench.add(), bench.add()]
  const [node, incarnation] = [original.replica.origin.slice(0, 16), original.replica.origin.slice(16)]
  const twin = bench.add({ node, incarnation, join: ['node-0'] })
  expect(twin.replica.origin).toBe(original.replica.origin)
  set(bench, 1, 'of the original', 1)
  set(bench, 2, 'of the twin', 2)
  set(bench, 2, 'of the twin too', 3)
  bench.passMs(30_000)
  expect(original.replica.origin).not.toBe(twin.replica.origin)
  expect(other.replica.open('s').logs.get(`${node}${incarnation}` as OriginId)?.fork).toBeDefined()
  set(bench, 1, 'later', 4)
  set(bench, 2, 'later too', 5)
  bench.passMs(30_000)
  for (const at of [0, 1, 2]) {
    expect(
      ['of the original', 'of the twin', 'of the twin too', 'later', 'later too'].map((key) => valueAt(bench, at, key)),
    ).toEqual([1, 2, 3, 4, 5])
  }
  const settled = bench.outputs.filter(
    ({ output }) =>
      output.kind === 'event' &&
      output.event.kind === 'sync' &&
      output.event.event.kind === 'fork' &&
      output.event.event.settled,
  )
  expect(settled.map(({ at }) => at).toSorted((one, other) => one - other)).toEqual([0, 1, 2])
})

test('bytes that are no packet, and whoever speaks before hello, are a fault and no more', () => {
  const bench = new Bench()
  const machine = bench.add()
  for (const bytes of [
    new Uint8Array([0xc1]),
    new Uint8Array(100).fill(0x91),
    encodePacket([{ kind: 'nack', seq: 1 }]),
  ]) {
    bench.feed(0, { kind: 'opened', link: 99, outgoing: false })
    const out = machine.handle({ kind: 'message', link: 99, bytes }, bench.nowMs)
    expect(out.map(({ kind }) => kind)).toContain('fault')
    bench.feed(0, { kind: 'closed', link: 99 })
  }
})

test('a clock that is set back stops no timer, and what it says in greetings is the wall', () => {
  const bench = new Bench()
  bench.add()
  bench.skews[0] = 30_000
  bench.passMs(1000)
  bench.skews[0] = -20_000
  const [one] = bench.machines as [Machine]
  bench.feed(0, { kind: 'timer' })
  expect(one.wakeAt).toBeLessThan(bench.nowMs + (bench.skews[0] ?? 0) + 5_001)
  bench.add()
  bench.passMs(3000)
  set(bench, 0, 'k', 'still here')
  expect(valueAt(bench, 1, 'k')).toBe('still here')
  expect(bench.faults()).toEqual([])
})
