import { describe, expect, test } from 'vitest'
import { prng } from '../../base/prng.ts'
import type { Prng } from '../../base/prng.ts'
import type { Value } from '../../base/value.ts'
import { noSiblings, pathOf, pathValue } from '../cell.ts'
import type { Path, Sibling, Siblings } from '../cell.ts'
import type { Delta } from '../delta.ts'
import { originId } from '../dot.ts'
import type { OriginId } from '../dot.ts'
import { State } from '../state.ts'
import type { Cells, Change } from '../type.ts'
import { comparePositions, decodePosition, encodePosition, list, listItems, placeBetween } from './list.ts'
import type { ItemId, Position, Step } from './list.ts'

const key = 'l'
const origins = ['a3', '1f', 'c8', '52', 'e0'].map((two) => originId(two.repeat(16)))

/** One replica: a state, and the deltas that it has applied, in that order. */
class Replica {
  readonly state = new State()
  readonly log: Delta[] = []
  readonly origin: OriginId
  #time = 0

  constructor(origin: OriginId) {
    this.origin = origin
  }

  get cells(): Cells {
    return this.state.entry(key).cells(list.id)
  }

  get value(): readonly Value[] {
    return list.read(this.cells).value
  }

  run(name: string, args: Readonly<Record<string, unknown>>, time?: number): Delta | undefined {
    this.#time = time ?? this.#time + 1
    const { delta } = this.state.local({ origin: this.origin, time: this.#time }, key, list, name, args)
    if (delta !== undefined) this.log.push(delta)
    return delta
  }

  insert(at: number, ...values: Value[]): void {
    this.run('insert', { at, values })
  }

  take(other: Replica): void {
    for (const delta of other.log) if (this.state.apply(delta)) this.log.push(delta)
  }
}

function fleet(count: number): Replica[] {
  return origins.slice(0, count).map((origin) => new Replica(origin))
}

function join(replicas: readonly Replica[]): void {
  for (const one of replicas) for (const other of replicas) one.take(other)
  const [first] = replicas as [Replica]
  for (const other of replicas) {
    expect(other.state.encode()).toEqual(first.state.encode())
    expect(other.value).toEqual(first.value)
  }
}

// The slow twin. It keeps nothing, decodes everything at every call, and knows the order only as a walk over a tree.

interface Tree {
  readonly lefts: Map<string, { readonly step: Step; readonly tree: Tree }>
  readonly rights: Map<string, { readonly step: Step; readonly tree: Tree }>
  readonly here: string[]
}

function plant(): Tree {
  return { lefts: new Map(), rights: new Map(), here: [] }
}

/** Children of one side: by origin, then by number; on the left side the newest of an origin comes first. */
function children(side: Tree['lefts'], descending: boolean): Tree[] {
  const all = [...side.values()].sort((a, b) => {
    if (a.step.origin !== b.step.origin) return a.step.origin < b.step.origin ? -1 : 1
    const order = a.step.seq === b.step.seq ? a.step.index - b.step.index : a.step.seq - b.step.seq
    return descending ? -order : order
  })
  return all.map(({ tree }) => tree)
}

function* walk(tree: Tree): Iterable<string> {
  for (const child of children(tree.lefts, true)) yield* walk(child)
  yield* tree.here.sort()
  for (const child of children(tree.rights, false)) yield* walk(child)
}

function inOrder(positions: ReadonlyMap<string, Position>): string[] {
  const root = plant()
  for (const [name, position] of positions) {
    let tree = root
    for (const step of position) {
      const side = step.side === 0 ? tree.lefts : tree.rights
      const branch = `${step.origin} ${step.seq} ${step.index}`
      let child = side.get(branch)
      if (child === undefined) side.set(branch, (child = { step, tree: plant() }))
      tree = child.tree
    }
    tree.here.push(name)
  }
  return [...walk(root)]
}

function slowOrder(a: Position, b: Position): number {
  if (slowEqual(a, b)) return 0
  const [first] = inOrder(new Map(Object.entries({ a, b })))
  return first === 'a' ? -1 : 1
}

function slowEqual(a: Position, b: Position): boolean {
  return JSON.stringify(a.map(plain)) === JSON.stringify(b.map(plain))
}

function plain({ side, origin, seq, index }: Step): unknown {
  return [side, origin, seq, index]
}

interface SlowItem {
  readonly name: string
  readonly value: Value
  readonly position: Position
}

function slowItems(cells: Cells): SlowItem[] {
  const values = new Map<string, Value>()
  const positions = new Map<string, Position>()
  const ids = new Map<string, ItemId>()
  for (const [path, siblings] of cells.all()) {
    const [kind, [bytes, seq, index]] = pathValue(path) as unknown as [string, [Uint8Array, number, number]]
    const id = { origin: originId(Buffer.from(bytes).toString('hex')), seq, index }
    const name = `${id.origin}.${seq}.${index}`
    ids.set(name, id)
    const newest = [...siblings].sort((a, b) => b.time - a.time || (b.origin < a.origin ? -1 : 1))[0] as Sibling
    if (kind === 'v') values.set(name, newestValue(newest))
    else positions.set(name, decodePosition(newest.value, id))
  }
  for (const name of positions.keys()) if (!values.has(name)) positions.delete(name)
  return inOrder(positions).map((name) => ({
    name,
    value: values.get(name) as Value,
    position: positions.get(name) as Position,
  }))
}

function newestValue(sibling: Sibling): Value {
  return pathValue(String.fromCharCode(...sibling.value))
}

/** Tries every position there could be and takes the first of the shortest that the rules allow. */
function slowPlace(before: Position | undefined, after: Position | undefined, id: ItemId): Position {
  const own = [before, after].filter((path) => path?.at(-1)?.origin === id.origin) as Position[]
  own.sort(
    (a, b) => (b.at(-1) as Step).seq - (a.at(-1) as Step).seq || (b.at(-1) as Step).index - (a.at(-1) as Step).index,
  )
  const [branch] = own
  const candidates: Position[] = []
  for (const path of [before, after]) {
    for (let depth = 0; depth <= (path?.length ?? 0); depth++) {
      for (const side of [1, 0] as const) candidates.push([...(path ?? []).slice(0, depth), { side, ...id }])
    }
  }
  const allowed = candidates.filter((candidate) => {
    if (before !== undefined && slowOrder(before, candidate) >= 0) return false
    if (after !== undefined && slowOrder(candidate, after) >= 0) return false
    if (branch === undefined) return true
    const start = branch.at(-1) as Step
    const there = candidate[branch.length - 1]
    if (there === undefined || !slowEqual(candidate.slice(0, branch.length - 1), branch.slice(0, -1))) return false
    if (there.side !== start.side || there.origin !== start.origin) return false
    return there.seq > start.seq || (there.seq === start.seq && there.index >= start.index)
  })
  const shortest = Math.min(...allowed.map(({ length }) => length))
  return allowed.find(({ length }) => length === shortest) as Position
}

/** A random operation, checked against what it means for an array. */
function act(replica: Replica, random: Prng, name: (n: number) => string, count: { n: number }): void {
  const before = [...replica.value]
  const expected = [...before]
  const roll = random.below(10)
  if (before.length === 0 || roll < 5) {
    const at = random.below(before.length + 1)
    const values = Array.from({ length: 1 + random.below(3) }, () => name(count.n++))
    replica.insert(at, ...values)
    expected.splice(at, 0, ...values)
  } else if (roll < 7) {
    const at = random.below(before.length)
    const many = 1 + random.below(Math.min(3, before.length - at))
    replica.run('remove', { at, count: many })
    expected.splice(at, many)
  } else {
    const from = random.below(before.length)
    const to = random.below(before.length)
    replica.run('move', { from, to })
    expected.splice(to, 0, ...expected.splice(from, 1))
  }
  expect(replica.value).toEqual(expected)
}

describe('against the slow twin', () => {
  test('every operation does what it does to an array, and every replica reads what the twin reads', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = prng(seed)
      const replicas = fleet(2 + random.below(3))
      const count = { n: 0 }
      for (let round = 0; round < 60; round++) {
        const replica = random.pick(replicas)
        act(replica, random, (n) => `${seed}:${n}`, count)
        if (random.chance(0.3)) random.pick(replicas).take(random.pick(replicas))
        expect(replica.value, `seed ${seed}`).toEqual(slowItems(replica.cells).map(({ value }) => value))
        expect(new Set(replica.value).size).toBe(replica.value.length)
      }
      join(replicas)
    }
  })

  test('positions are the shortest that the rules allow, strictly between, never equal, and in a total order', () => {
    let deepest = 0
    for (let seed = 1; seed <= 12; seed++) {
      const random = prng(seed)
      const seqs = new Map<OriginId, number>()
      let positions: Position[] = []
      for (let round = 0; round < 120; round++) {
        // A narrow window makes deep trees; a removal takes away the neighbours that explain a position.
        const at = Math.min(positions.length, random.below(8))
        const origin = random.pick(origins.slice(0, 3))
        const seq = (seqs.get(origin) ?? 0) + (random.chance(0.7) ? 1 : 0) || 1
        const id = { origin, seq, index: seq === seqs.get(origin) ? round : 0 }
        seqs.set(origin, seq)
        const placed = placeBetween(positions[at - 1], positions[at], id)
        expect(placed).toEqual(slowPlace(positions[at - 1], positions[at], id))
        expect(decodePosition(encodePosition(placed, id), id)).toEqual(placed)
        const other = { origin: origins[3] as OriginId, seq: 7, index: 7 }
        expect(decodePosition(encodePosition(placed, other), other)).toEqual(placed)
        positions.splice(at, 0, placed)
        deepest = Math.max(deepest, placed.length)
        if (random.chance(0.2)) positions = positions.filter(() => random.chance(0.8))
      }
      for (const [x, a] of positions.entries()) {
        for (const [y, b] of positions.entries()) {
          expect(Math.sign(comparePositions(a, b))).toBe(Math.sign(x - y))
          if (x < y) expect(slowOrder(a, b)).toBe(-1)
        }
      }
    }
    expect(deepest).toBeGreaterThan(4)
  })
})

/** Writes next to items of the session only, once it has begun in its gap. */
function session(
  replica: Replica,
  gap: number,
  name: string,
  style: 'forwards' | 'backwards' | 'mixed',
  random: Prng,
): void {
  let mine = 0
  const length = 3 + random.below(5)
  for (let n = 0; n < length; n++) {
    const within = style === 'forwards' ? mine : style === 'backwards' ? 0 : random.below(mine + 1)
    const values = Array.from({ length: 1 + random.below(2) }, (_, at) => `${name}${n}${at}`)
    replica.insert(gap + within, ...values)
    mine += values.length
    if (style === 'mixed' && mine > 2 && random.chance(0.3)) {
      replica.run('remove', { at: gap + random.below(mine), count: 1 })
      mine--
    }
    if (style === 'mixed' && mine > 1 && random.chance(0.2)) {
      replica.run('move', { from: gap + random.below(mine), to: gap + random.below(mine) })
    }
  }
}

function letters(text: string): string[] {
  return text.split('')
}

function textOf(replica: Replica): string {
  return replica.value.map((item) => item as string).join('')
}

/** The runs of equal first letters, for lists whose items are named after their writer. */
function runs(value: readonly Value[]): string {
  const firsts = value.map((item) => (item as string).slice(0, 1)).join('')
  return firsts.replaceAll(/(.)\1+/g, '$1')
}

describe('concurrent runs', () => {
  const styles = ['forwards', 'backwards', 'mixed'] as const

  test('never interleave: any mix of styles, 2 or 3 replicas, in any history', () => {
    for (let seed = 1; seed <= 150; seed++) {
      const random = prng(seed)
      const replicas = fleet(2 + random.below(2))
      const count = { n: 0 }
      for (let round = random.below(25); round > 0; round--) {
        act(random.pick(replicas), random, (n) => `.${n}`, count)
        if (random.chance(0.5)) random.pick(replicas).take(random.pick(replicas))
      }
      join(replicas)
      const [first] = replicas as [Replica]
      const gap = random.below(first.value.length + 1)
      for (const [nth, replica] of replicas.entries())
        session(replica, gap, 'xyz'[nth] as string, random.pick(styles), random)
      const alone = replicas.map(({ value }) => value.filter((item) => !(item as string).startsWith('.')))
      join(replicas)
      // Each writer's letter stands in one piece, and reads as he left it.
      const pieces = runs(first.value).replaceAll('.', '')
      expect(new Set(pieces).size, `seed ${seed}: ${runs(first.value)}`).toBe(pieces.length)
      for (const [nth, items] of alone.entries()) {
        const letter = 'xyz'[nth] as string
        expect(first.value.filter((item) => (item as string).startsWith(letter))).toEqual(items)
      }
    }
  })

  test('also not where a writer continues an old run of his own, from either side', () => {
    for (const style of styles) {
      for (let seed = 1; seed <= 20; seed++) {
        const random = prng(seed)
        const [a, b] = fleet(2) as [Replica, Replica]
        a.insert(0, '.p', '.q')
        if (seed % 2 === 0) a.insert(0, '.o')
        join([a, b])
        const gap = 1 + (seed % 2)
        session(a, gap, 'a', style, random)
        session(b, gap, 'b', style, random)
        join([a, b])
        expect(runs(a.value).replaceAll('.', '')).toHaveLength(2)
      }
    }
  })

  test('the classic example: two greetings typed at the same place', () => {
    const [a, b] = fleet(2) as [Replica, Replica]
    a.insert(0, ...letters('Hello!'))
    join([a, b])
    for (const [at, letter] of letters(' Alice').entries()) a.insert(5 + at, letter)
    for (const letter of letters(' Charlie').reverse()) b.insert(5, letter)
    join([a, b])
    expect(['Hello Alice Charlie!', 'Hello Charlie Alice!']).toContain(textOf(a))
  })

  test('the example that interleaves in Logoot: inserting before what was typed after', () => {
    const [a, b] = fleet(2) as [Replica, Replica]
    a.insert(0, ...letters('milk'))
    a.insert(0, ...letters('eggs '))
    for (const letter of letters('bread ')) b.insert(b.value.length, letter)
    join([a, b])
    expect(['eggs milkbread ', 'bread eggs milk']).toContain(textOf(a))
  })
})

describe('moves', () => {
  test('of two moves the newest stands, and the item is neither doubled nor lost', () => {
    const [a, b] = fleet(2) as [Replica, Replica]
    a.insert(0, 'x', 'y', 'z')
    join([a, b])
    a.run('move', { from: 0, to: 2 }, 50)
    b.run('move', { from: 0, to: 1 }, 60)
    join([a, b])
    expect(a.value).toEqual(['y', 'x', 'z'])
    expect(listItems(a.cells)[1]).toMatchObject({ value: 'x', moved: { dot: { origin: b.origin, seq: 1 } } })
    a.run('move', { from: 1, to: 0 }, 70)
    join([a, b])
    expect(b.value).toEqual(['x', 'y', 'z'])
    for (const [, siblings] of b.cells.all()) expect(siblings).toHaveLength(1)
  })

  test('a moved item that somebody removes is gone, and the next write sweeps its position away', () => {
    const [a, b] = fleet(2) as [Replica, Replica]
    const many = 20
    a.insert(0, ...Array.from({ length: many + 1 }, (_, n) => n))
    join([a, b])
    for (let n = 0; n < many; n++) a.run('move', { from: 0, to: many - 1 })
    b.run('remove', { at: 0, count: many })
    join([a, b])
    expect(a.value).toEqual([many])
    expect([...a.cells.all()]).toHaveLength(2 + many)
    // No-ops write nothing and sweep nothing.
    expect(a.run('insert', { at: 0, values: [] })).toBeUndefined()
    expect(a.run('remove', { at: 1, count: 0 })).toBeUndefined()
    expect(a.run('move', { from: 0, to: 0 })).toBeUndefined()
    a.insert(0, 'first')
    expect([...a.cells.all()]).toHaveLength(4 + many - 16)
    b.take(a)
    b.insert(0, 'second')
    join([a, b])
    expect(a.value).toEqual(['second', 'first', many])
    expect([...a.cells.all()]).toHaveLength(6)
    a.run('remove', { at: 0, count: 3 })
    expect(a.state.keys()).toEqual([])
  })

  test('a move without its position (it expired) puts the item back near where it was made', () => {
    const [a] = fleet(1) as [Replica]
    a.insert(0, 'x', 'y', 'z')
    a.run('move', { from: 0, to: 2 })
    const [[path, [sibling]]] = [...a.cells.all()].filter(([, siblings]) => siblings[0]?.seq === 2) as [
      [Path, [Sibling]],
    ]
    a.state.transact({ origin: a.origin, time: 9 }, (change) => {
      change.expire(a.state.entry(key), String.fromCharCode(list.id) + path, sibling)
    })
    expect(a.value).toEqual(['x', 'y', 'z'])
    a.insert(1, 'w')
    expect(a.value).toEqual(['x', 'w', 'y', 'z'])
  })
})

test('arguments are checked before anything is written', () => {
  const [a] = fleet(1) as [Replica]
  a.insert(0, 'x', 'y')
  const refused = (name: string, args: Readonly<Record<string, unknown>>, code: string): void => {
    const before = a.state.encode()
    expect(() => a.run(name, args)).toThrow(expect.objectContaining({ code }))
    expect(a.state.encode()).toEqual(before)
  }
  refused('insert', { at: 3, values: ['z'] }, 'out_of_range')
  refused('insert', { at: -1, values: ['z'] }, 'out_of_range')
  refused('insert', { at: 0.5, values: ['z'] }, 'invalid_argument')
  refused('insert', { at: 0, values: 'z' }, 'invalid_argument')
  refused('insert', { at: 0, values: ['z', Number.NaN] }, 'invalid_value')
  refused('remove', { at: 1, count: 2 }, 'out_of_range')
  refused('remove', { at: 3, count: 0 }, 'out_of_range')
  refused('remove', { at: 0, count: -1 }, 'invalid_argument')
  refused('remove', { at: 0 }, 'invalid_argument')
  refused('move', { from: 2, to: 0 }, 'out_of_range')
  refused('move', { from: 0, to: 2 }, 'out_of_range')
})

test('several operations in one delta, prepending among them, stay in one waypoint', () => {
  const [a] = fleet(1) as [Replica]
  a.state.transact({ origin: a.origin, time: 1 }, (change) => {
    const insert = (at: number, ...values: Value[]): void => {
      change.run(a.state.entry(key), list, list.operations['insert'] as never, { at, values })
    }
    insert(0, 'p', 'q')
    for (let n = 0; n < 5; n++) insert(0, n, `${n}b`)
    change.run(a.state.entry(key), list, list.operations['remove'] as never, { at: 11, count: 1 })
  })
  expect(a.value).toEqual([4, '4b', 3, '3b', 2, '2b', 1, '1b', 0, '0b', 'p'])
  expect(Math.max(...slowItems(a.cells).map(({ position }) => position.length))).toBe(2)
})

/** Cells in a plain sorted array, written to at once: for sizes at which State's sorting at every call is too slow. */
class Bench implements Cells {
  readonly key = key
  readonly version = undefined
  readonly memo: { value: unknown } = { value: undefined }
  readonly rows: [Path, Siblings][] = []
  readonly origin: OriginId
  seq = 0
  valuesRead = 0

  constructor(origin: OriginId = origins[0] as OriginId) {
    this.origin = origin
  }

  get empty(): boolean {
    return this.rows.length === 0
  }

  all(): Iterable<readonly [Path, Siblings]> {
    return this.rows
  }

  #find(path: Path): number {
    let low = 0
    let high = this.rows.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.rows[middle] as [Path, Siblings])[0] < path) low = middle + 1
      else high = middle
    }
    return low
  }

  get(path: Path): Siblings {
    const row = this.rows[this.#find(path)]
    return row?.[0] === path ? row[1] : noSiblings
  }

  set(path: Path, siblings: Siblings): void {
    const at = this.#find(path)
    const found = this.rows[at]?.[0] === path ? 1 : 0
    if (siblings.length === 0) this.rows.splice(at, found)
    else this.rows.splice(at, found, [path, siblings])
  }

  run(name: string, args: Readonly<Record<string, unknown>>): void {
    this.seq++
    const { origin, seq } = this
    let index = 0
    const sibling = (bytes: Uint8Array): Sibling => {
      const value = bytes.slice()
      const counted = (): Uint8Array => {
        this.valuesRead++
        return value
      }
      return {
        origin,
        seq,
        time: seq,
        agent: 'agent',
        expires: 0,
        get value() {
          return counted()
        },
      }
    }
    const change: Change = {
      origin,
      seq,
      time: seq,
      nowMs: 0,
      agent: 'agent',
      expires: 0,
      nextIndex: () => index++,
      retired: () => false,
      put: () => undefined,
      putBytes: (path, bytes) => this.set(path, [sibling(bytes)]),
      remove: (path) => this.set(path, noSiblings),
      clear: () => undefined,
    }
    list.operations[name]?.run(this, change, args)
  }
}

test('at 10,000 items an operation decodes what changed and nothing else', () => {
  const bench = new Bench()
  bench.run('insert', { at: 0, values: Array.from({ length: 10_000 }, (_, n) => n) })
  expect(list.read(bench).value).toHaveLength(10_000)
  const random = prng(1)
  bench.valuesRead = 0
  const start = performance.now()
  for (let n = 0; n < 100; n++) {
    const length = list.read(bench).value.length
    bench.run('insert', { at: random.below(length), values: ['new'] })
    bench.run('move', { from: random.below(length), to: random.below(length) })
    bench.run('remove', { at: random.below(length), count: 1 })
  }
  const each = (performance.now() - start) / 300
  console.log(`list: ${each.toFixed(2)} ms an operation at 10,000 items`)
  expect(bench.valuesRead).toBeLessThan(300 * 4)
  const fresh = new Bench()
  fresh.rows.push(...bench.rows)
  expect(list.read(bench).value).toEqual(list.read(fresh).value)
  expect(list.read(bench).value).toBe(list.read(bench).value)
})

test('the memo notices whatever became of the cells: other bytes under one dot, cells gone, cells made anew', () => {
  const bench = new Bench()
  bench.run('insert', { at: 0, values: ['x', 'y', 'z'] })
  const saved = bench.rows.map(([path, siblings]) => [path, siblings] as [Path, Siblings])
  expect(list.read(bench).value).toEqual(['x', 'y', 'z'])
  for (const [path, [sibling]] of saved) bench.set(path, [{ ...(sibling as Sibling) }])
  expect(list.read(bench).value).toEqual(['x', 'y', 'z'])
  const [path, [sibling]] = saved.at(-1) as [Path, [Sibling]]
  bench.set(path, [{ ...sibling, value: new Uint8Array([0xc3]) }])
  expect(list.read(bench).value).toEqual(['x', 'y', true])
  bench.rows.splice(0)
  expect(list.read(bench).value).toEqual([])
  bench.rows.push(...saved)
  expect(list.read(bench).value).toEqual(['x', 'y', 'z'])
})

test("what readers get is nobody's to change", () => {
  const bench = new Bench()
  bench.run('insert', { at: 0, values: [{ deep: [1] }] })
  const { value } = list.read(bench)
  const [first] = value as [{ deep: number[] }]
  expect(() => first.deep.push(2)).toThrow(TypeError)
  expect(() => (value as Value[]).push(2)).toThrow(TypeError)
  expect(list.read(bench).value).toEqual([{ deep: [1] }])
})

test('a position has one form', () => {
  const id = { origin: origins[0] as OriginId, seq: 9, index: 0 }
  const other = pathOf(new Uint8Array(16).fill(7))
  const decode = (text: string): Position =>
    decodePosition(
      Uint8Array.from(text, (unit) => unit.charCodeAt(0)),
      id,
    )
  expect(decode('\x91\x02')).toEqual([{ side: 1, ...id }])
  expect(decode(`\x93${other}\x06\x01`)).toHaveLength(1)
  const wrong = [
    '\x90',
    '\x91\x03',
    '\x93\x03\x01\x00',
    '\x92\x02\x00',
    '\x92\x03\x01',
    `\x92${other}\x06`,
    '\x91\x02\x02',
  ]
  for (const text of wrong) expect(() => decode(text)).toThrow(expect.objectContaining({ code: 'malformed' }))
})

test('nonsense in the cells is skipped, alike on every replica, and never thrown over', () => {
  const bench = new Bench()
  bench.run('insert', { at: 0, values: ['x', 'y'] })
  const value = (bytes: number[]): Siblings => [
    { origin: origins[1] as OriginId, seq: 1, time: 1, agent: 'm', value: new Uint8Array(bytes), expires: 0 },
  ]
  const id = (seq: number): unknown => [new Uint8Array(16).fill(7), seq, 0]
  const before = list.read(bench).value
  bench.set(pathOf('nonsense'), value([1]))
  bench.set(pathOf(['v', 1]), value([1]))
  bench.set(pathOf(['v', [new Uint8Array(3), 1, 1]]), value([1]))
  bench.set(pathOf(['p', id(1)]), value([0x90]))
  expect(list.read(bench).value).toEqual(before)
  // Values whose positions cannot be read stand where their ids put them.
  bench.set(pathOf(['v', id(2)]), value([0x02]))
  bench.set(pathOf(['v', id(3)]), value([0x03]))
  bench.set(pathOf(['p', id(3)]), value([0x93, 1, 2]))
  expect(list.read(bench).value).toEqual([2, 3, ...before])
  // Two items that claim one position: in the order of their ids, and one can still write there.
  bench.set(pathOf(['v', id(4)]), value([0x04]))
  const forged = encodePosition([{ side: 1, origin: originId('07'.repeat(16)), seq: 3, index: 0 }], {
    origin: originId('07'.repeat(16)),
    seq: 4,
    index: 0,
  })
  bench.set(pathOf(['p', id(4)]), value([...forged]))
  expect(list.read(bench).value).toEqual([2, 3, 4, ...before])
  bench.run('insert', { at: 2, values: ['new'] })
  expect(list.read(bench).value).toEqual([2, 3, 4, 'new', ...before])
  for (let seed = 1; seed <= 2000; seed++) {
    const random = prng(seed)
    const bytes = Uint8Array.from({ length: random.below(12) }, () => random.below(256))
    try {
      decodePosition(bytes, { origin: origins[0] as OriginId, seq: 1, index: 0 })
    } catch (error) {
      expect(error).toMatchObject({ code: 'malformed' })
    }
  }
})

describe('bytes', () => {
  /** Position bytes and the deepest path of 10,000 items put one by one where `where` says, by writers in turn. */
  function measure(
    where: (length: number, n: number) => number,
    writer: (n: number) => number = () => 0,
    items: number = 10_000,
  ): { mean: number; max: number; deepest: number } {
    const positions: Position[] = []
    let sum = 0
    let max = 0
    let deepest = 0
    for (let n = 0; n < items; n++) {
      const id = { origin: origins[writer(n)] as OriginId, seq: n + 1, index: 0 }
      const at = where(positions.length, n)
      const position = placeBetween(positions[at - 1], positions[at], id)
      const size = encodePosition(position, id).length
      sum += size
      max = Math.max(max, size)
      deepest = Math.max(deepest, position.length)
      positions.splice(at, 0, position)
    }
    return { mean: sum / items, max, deepest }
  }

  const random = prng(7)
  const anyone = prng(8)
  const cases = {
    appended: [measure((length) => length), 2],
    prepended: [measure(() => 0), 10],
    'at random': [measure((length) => random.below(length + 1)), 80],
    'appended by 3 in turn': [measure((length) => length, (n) => n % 3), 50],
    'appended by 5 at random': [measure((length) => length, () => anyone.below(5)), 70],
    'prepended by 5 at random': [measure(() => 0, () => anyone.below(5)), 70],
    'at random by 5': [measure((length) => random.below(length + 1), () => anyone.below(5)), 160],
    'behind the first by 3': [measure((length) => Math.min(length, 1), (n) => n % 3), 60],
    'before the last by 3': [measure((length) => Math.max(0, length - 1), (n) => n % 3), 60],
    'in the middle (the bad case), 1,000': [measure((length) => length >> 1, () => 0, 1000), 3000],
  } as const // prettier-ignore

  for (const [name, [{ mean, max, deepest }, bound]] of Object.entries(cases)) {
    test(`10,000 items ${name}`, () => {
      console.log(`list, ${name}: ${mean.toFixed(1)} bytes a position, at most ${max}, ${deepest} steps deep`)
      expect(mean).toBeLessThanOrEqual(bound)
    })
  }
})
