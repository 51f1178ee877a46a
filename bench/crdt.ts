/**
 * The state engine beside Yjs, Automerge and Loro, in one process and one run. Values are text of 60 to 150 bytes, keys
 * look like task-000123. Every operation is one change of its own that other replicas could be sent at once.
 */
import { Doc, applyUpdate, encodeStateAsUpdate } from 'yjs'
import { openNode } from '../src/index.ts'
import type { SkeinNode } from '../src/index.ts'
import { encodeSnapshot } from '../src/crdt/state.ts'
import type { Path, Siblings, TypeId } from '../src/crdt/cell.ts'
import { counter } from '../src/crdt/types/counter.ts'
import { register } from '../src/crdt/types/register.ts'
import { prng } from '../src/base/prng.ts'
import { table, tableRange } from '../src/replica/row-keys.ts'
import { keyOf, mixedWrites, newWrites, overwrites, textOf } from './data.ts'
import type { FieldWrite } from './data.ts'
import { exactly, race } from './measure.ts'
import { automergeInsert, automergeRuns, floorRuns, loroRuns, yjsRuns, yjsUpdates } from './peers.ts'
import type { Scenario, Suite } from './scenario.ts'
import { Engine, deltasOf, engineRuns, onNode, setField } from './skein.ts'
import type { Sent } from './skein.ts'

const viaNode = 'openNode({ memory: true }), record(key).set({ field }), committed to its store every 1,000 writes'
const viaEngine = 'Replica.transact, rows of every 1,000 writes made and dropped'

const localOperations = { full: 40_000, quick: 10_000 }
const records = 20_000

const news = newWrites(localOperations.full)
const overs = overwrites(localOperations.full, records)
const mixed = mixedWrites(localOperations.full)
const filling = news.slice(0, records)

function fieldWrites(
  name: string,
  measures: string,
  writes: readonly FieldWrite[],
  fill: readonly FieldWrite[],
): Scenario {
  const write = (at: number): FieldWrite => writes[at] as FieldWrite
  return race({
    name,
    measures,
    clock: 'processor',
    operations: localOperations,
    goals: { yjs: { atLeast: 2 }, automerge: { atLeast: 10 } },
    contenders: [
      engineRuns(
        'skein',
        viaEngine,
        (engine, at) => engine.set(write(at)),
        (engine) => {
          for (const each of fill) engine.set(each)
        },
      ),
      {
        name: 'skein node',
        does: viaNode,
        prepare: (count) =>
          onNode(
            count,
            (space, at) => setField(space, write(at)),
            (space) => {
              for (const each of fill) setField(space, each)
            },
          ),
      },
      yjsRuns(
        "Y.Map.set('key/field', value), an update listener on",
        (doc, at) => {
          const each = write(at)
          doc.getMap('tasks').set(each.flatKey, each.value)
        },
        (doc) => {
          for (const each of fill) doc.getMap('tasks').set(each.flatKey, each.value)
        },
      ),
      automergeRuns(
        'change() of one flat key, getLastLocalChange',
        // A change copies the map that it is in: with 20,000 keys there it takes some 20 ms.
        fill.length > 0 ? 0.005 : 0.05,
        (doc, at) => {
          const each = write(at)
          doc.map[each.flatKey] = each.value
        },
        (doc) => {
          for (const each of fill) doc.map[each.flatKey] = each.value
        },
      ),
      loroRuns(
        'LoroMap.set of one flat key, commit, subscribeLocalUpdates on',
        (doc, at) => {
          const each = write(at)
          doc.getMap('tasks').set(each.flatKey, each.value)
        },
        (doc) => {
          for (const each of fill) doc.getMap('tasks').set(each.flatKey, each.value)
        },
      ),
      floorRuns(write),
    ],
  })
}

const remoteOperations = { full: 100_000, quick: 20_000 }

/** Made when first needed: they take a second or two. */
function lazily<T>(make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
}

const remoteWrites = lazily(() => mixedWrites(remoteOperations.full))
const remoteDeltas = lazily(() => deltasOf(remoteWrites()))
const remoteUpdates = lazily(() => yjsUpdates(remoteWrites()))

const remote: Scenario = race({
  name: 'remote writes',
  measures:
    'A fresh replica takes in single-write changes of another one, one by one and in order; half make a record, half write a field of one that is there.',
  clock: 'processor',
  operations: remoteOperations,
  rounds: { full: 5, quick: 3 },
  goals: { yjs: { atLeast: 2 } },
  contenders: [
    engineRuns('skein', 'Replica.receive, rows of every 1,000 deltas made and dropped', (engine, at) =>
      engine.receive(remoteDeltas()[at] as Sent),
    ),
    {
      name: 'yjs',
      does: 'applyUpdate of each update; no listener on, since the receiver has the bytes',
      prepare(count) {
        const updates = remoteUpdates()
        const doc = new Doc()
        return {
          run() {
            for (let at = 0; at < count; at++) applyUpdate(doc, updates[at] as Uint8Array)
          },
          end: () => doc.destroy(),
        }
      },
    },
  ],
})

const one = { by: 1 }

const counters: Scenario = race({
  name: 'counter increments',
  measures: 'One writer adds 1 to one counter, again and again.',
  clock: 'processor',
  operations: { full: 40_000, quick: 8_000 },
  goals: { loro: { atLeast: 3 } },
  contenders: [
    engineRuns('skein', 'Replica.transact, rows of every 1,000 increments made and dropped', (engine) =>
      engine.run('tokens', counter, 'incr', one),
    ),
    {
      name: 'skein node',
      does: 'openNode({ memory: true }), counter(key).incr(1), committed every 1,000',
      prepare: (count) => onNode(count, (space) => void space.counter('tokens').incr(1)),
    },
    loroRuns('LoroCounter.increment(1), commit, subscribeLocalUpdates on', (doc) =>
      doc.getCounter('tokens').increment(1),
    ),
  ],
})

const elements = Array.from({ length: 20_000 }, (_, i) => keyOf(i))

const setAdds: Scenario = race({
  name: 'set adds',
  measures: 'Distinct elements are added to one set of up to 5,000.',
  clock: 'processor',
  operations: { full: 5_000, quick: 2_000 },
  rounds: { full: 5, quick: 3 },
  goals: {},
  contenders: [
    {
      name: 'skein',
      does: 'openNode({ memory: true }), set(key).add(element), committed every 1,000',
      prepare: (count) => onNode(count, (space, at) => void space.set('seen').add(elements[at] as string)),
    },
    yjsRuns('no set: Y.Map.set(element, true)', (doc, at) => doc.getMap('seen').set(elements[at] as string, true)),
    automergeRuns('no set: a key of a map', 0.1, (doc, at) => {
      doc.map[elements[at] as string] = ''
    }),
    loroRuns('no set: LoroMap.set(element, true)', (doc, at) => doc.getMap('seen').set(elements[at] as string, true)),
  ],
})

const listAppends: Scenario = race({
  name: 'list appends',
  measures: 'Values are put at the end of one list of up to 5,000, one change each.',
  clock: 'processor',
  operations: { full: 5_000, quick: 2_000 },
  rounds: { full: 5, quick: 3 },
  goals: {},
  contenders: [
    {
      name: 'skein',
      does: 'openNode({ memory: true }), list(key).insert(length, value), committed every 1,000',
      prepare: (count) => onNode(count, (space, at) => void space.list('plan').insert(at, elements[at] as string)),
    },
    yjsRuns('Y.Array.push', (doc, at) => doc.getArray('plan').push([elements[at]])),
    automergeRuns('push on a list', 0.1, (doc, at) => void doc.list.push(elements[at] as string)),
    loroRuns('LoroList.push', (doc, at) => doc.getList('plan').push(elements[at])),
  ],
})

const typed = 'the quick brown fox jumps over the lazy dog; '

const textEdits: Scenario = race({
  name: 'text edits',
  measures:
    'One character after the other is typed into one text of up to 5,000, one change each. The type *is* a Yjs document.',
  clock: 'processor',
  operations: { full: 5_000, quick: 2_000 },
  rounds: { full: 5, quick: 3 },
  goals: {},
  contenders: [
    {
      name: 'skein',
      does: 'openNode({ memory: true }), text(key).insert(at, character), committed every 1,000',
      prepare: (count) =>
        onNode(count, (space, at) => void space.text('note').insert(at, typed.charAt(at % typed.length))),
    },
    yjsRuns('Y.Text.insert', (doc, at) => doc.getText('note').insert(at, typed.charAt(at % typed.length))),
    automergeRuns('splice', 0.1, (doc, at) => automergeInsert(doc, at, typed.charAt(at % typed.length))),
    loroRuns('LoroText.insert', (doc, at) => doc.getText('note').insert(at, typed.charAt(at % typed.length))),
  ],
})

/** Registers, written by one origin at random moments of a day; `order` says which key is written when. */
function snapshotBytes(order: readonly number[]): { readonly skein: number; readonly yjs: number } {
  const chance = prng(4)
  const engine = new Engine('0000000000000003')
  const doc = new Doc()
  const map = doc.getMap('tasks')
  let nowMs = 1_760_000_000_000
  for (const number of order) {
    nowMs += chance.below(Math.ceil(2 * (86_400_000 / order.length)))
    const key = keyOf(number)
    const value = textOf(number, chance)
    engine.run(key, register, 'set', { value }, nowMs)
    map.set(key, value)
    if (number % 1000 === 0) engine.commit()
  }
  const cells = function* (): Iterable<readonly [string, TypeId, Path, Siblings]> {
    for (const number of order.toSorted((a, b) => a - b)) {
      const key = keyOf(number)
      for (const [path, siblings] of engine.space.entry(key).cells(register.id).all()) {
        yield [key, register.id, path, siblings]
      }
    }
  }
  return {
    skein: encodeSnapshot(engine.space.vector, cells()).length / order.length,
    yjs: encodeStateAsUpdate(doc).length / order.length,
  }
}

const snapshots: Scenario = {
  name: 'snapshot size',
  measures:
    'Bytes an entry of a snapshot of registers that one writer wrote over a day, against Y.encodeStateAsUpdate of a Y.Map with the same keys and values. A snapshot of Skein also says who wrote each value and when.',
  async run({ quick }) {
    const count = quick ? 10_000 : 100_000
    const inOrder = Array.from({ length: count }, (_, i) => i)
    const chance = prng(5)
    const shuffled = inOrder
      .map((i) => [chance.uint32(), i] as const)
      .sort(([a], [b]) => a - b)
      .map(([, i]) => i)
    const plain = snapshotBytes(inOrder)
    const random = snapshotBytes(shuffled)
    return {
      figures: [
        {
          name: 'skein / yjs, keys written in random order',
          unit: 'x',
          value: exactly(random.skein / random.yjs),
          goal: { atMost: 1.1 },
        },
        {
          name: 'skein / yjs, keys written in their own order',
          unit: 'x',
          value: exactly(plain.skein / plain.yjs),
          goal: { atMost: 1.1 },
        },
        { name: 'skein, random order, an entry', unit: 'bytes', value: exactly(random.skein) },
        { name: 'yjs, random order, an entry', unit: 'bytes', value: exactly(random.yjs) },
      ],
      notes: [`${count.toLocaleString('en')} entries`],
    }
  },
}

const tables = Object.entries(table)

/** Bytes of all rows by table: keys and values as the store is given them. */
async function rowBytes(node: SkeinNode): Promise<Map<string, number>> {
  const sizes = new Map<string, number>()
  const rows = await node.rows()
  for (const [name, byte] of tables) {
    for await (const page of rows.range(tableRange(byte))) {
      for (const [key, value] of page) sizes.set(name, (sizes.get(name) ?? 0) + key.length + value.length)
    }
  }
  return sizes
}

async function afterWritesAndPrune(writes: number): Promise<Map<string, number>> {
  await using node = await openNode({ memory: true, agent: 'bench' })
  const space = node.space('tasks')
  for (let i = 0; i < writes; i++) {
    space.record('task-000123').set({ status: `step ${String(i).padStart(6, '0')}` })
    if (i % 1000 === 999) await node.flush()
  }
  await node.prune({ keepMs: 0, keepBytes: 0 })
  return await rowBytes(node)
}

const overwriteGrowth: Scenario = {
  name: 'what overwrites leave',
  measures:
    'Bytes of all rows after 10,000 overwrites of one field and a prune, beyond those after one write and a prune. Sequence numbers grow from one byte to three, in up to six places; nothing else may grow.',
  async run() {
    const one = await afterWritesAndPrune(1)
    const many = await afterWritesAndPrune(10_000)
    const total = (sizes: Map<string, number>): number => [...sizes.values()].reduce((sum, size) => sum + size, 0)
    const differs = tables
      .map(([name]) => [name, (many.get(name) ?? 0) - (one.get(name) ?? 0)] as const)
      .filter(([, difference]) => difference !== 0)
      .map(([name, difference]) => `${name} ${difference > 0 ? '+' : ''}${difference}`)
    return {
      figures: [
        { name: 'grown by', unit: 'bytes', value: exactly(total(many) - total(one)), goal: { atMost: 12 } },
        { name: 'rows after one write', unit: 'bytes', value: exactly(total(one)) },
        { name: 'rows after 10,000', unit: 'bytes', value: exactly(total(many)) },
      ],
      notes: [`by table: ${differs.join(', ') || 'no difference'}`],
    }
  },
}

export const crdt: Suite = {
  name: 'crdt',
  says: 'the state engine beside Yjs, Automerge and Loro',
  scenarios: [
    fieldWrites(
      'local writes, mixed',
      'Field writes: half make a record with its first field, half write one of four fields of a record that is there. The bytes for other replicas are made.',
      mixed,
      [],
    ),
    fieldWrites('local writes, new keys', 'The same, where every write makes a record.', news, []),
    fieldWrites(
      'local writes, overwrites',
      `The same, where every write replaces a field in one of ${records.toLocaleString('en')} records, in random order.`,
      overs,
      filling,
    ),
    remote,
    counters,
    snapshots,
    overwriteGrowth,
    setAdds,
    listAppends,
    textEdits,
  ],
}
