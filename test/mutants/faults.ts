/** The planted faults: small edits that a tired engineer could make, each with the tests that must notice. */
export interface Fault {
  readonly name: string
  readonly file: string
  /** Stands exactly once in the file. */
  readonly find: string
  readonly replace: string
  readonly tests: readonly string[]
}

const types = ['claim', 'counter', 'flag', 'list', 'log', 'record', 'register', 'set'].map(
  (name) => `src/crdt/types/${name}`,
)
const crdt = [
  'src/base',
  'src/crdt/clock',
  'src/crdt/delta',
  'src/crdt/change',
  'src/crdt/laws',
  'src/crdt/classic',
  ...types,
  'src/replica',
]
const replica = ['src/replica', 'src/node']
const store = ['src/store']
/** Some seeds of the simulator. */
const fleet = ['src/sim/world']

export const faults: readonly Fault[] = [
  {
    name: 'crdt: present on both sides is kept, and so is what only the peer removed',
    file: 'src/crdt/cell.ts',
    find: 'hasDot(theirs, sibling) || !covers(theirSeen, sibling)',
    replace: 'hasDot(theirs, sibling) || covers(seen, sibling)',
    tests: crdt,
  },
  {
    name: 'crdt: a merge brings back what was removed here',
    file: 'src/crdt/cell.ts',
    find: '!hasDot(mine, sibling) && !covers(seen, sibling)',
    replace: '!hasDot(mine, sibling)',
    tests: crdt,
  },
  {
    name: 'crdt: ties of time are not broken by the dot',
    file: 'src/crdt/cell.ts',
    find: 'if (a.origin !== b.origin) return a.origin < b.origin ? -1 : 1\n  return a.seq - b.seq\n}\n\nexport function newest',
    replace: 'return 0\n}\n\nexport function newest',
    tests: crdt,
  },
  {
    name: 'crdt: a put forgets which of the siblings it saw',
    file: 'src/crdt/change.ts',
    find: 'if (this.#own(sibling) || hasDot(supersedes, sibling)) continue',
    replace: 'if (this.#own(sibling) || supersedes.length > 0) continue',
    tests: crdt,
  },
  {
    name: 'crdt: a rolled back transaction leaves what types remembered',
    file: 'src/crdt/change.ts',
    find: 'for (const type of entry.types()) entry.cells(type).memo.value = undefined\n      for (const { type } of pending.items) entry.cells(type).memo.value = undefined',
    replace: 'if (pending.items.length < 0) entry.types()',
    tests: crdt,
  },
  {
    name: 'crdt: the clock gives one time twice within a millisecond',
    file: 'src/crdt/clock.ts',
    find: 'wall > this.#last ? wall : this.#last + 1',
    replace: 'wall >= this.#last ? wall : this.#last + 1',
    tests: crdt,
  },
  {
    name: 'crdt: another clock drags the own one without bound',
    file: 'src/crdt/clock.ts',
    find: 'const clamped = Math.min(time, bound, maxWall)',
    replace: 'const clamped = Math.min(time, maxWall)',
    tests: crdt,
  },
  {
    name: 'crdt: a snapshot in another order is taken for the canonical one',
    file: 'src/crdt/state.ts',
    find: 'if (!equalBytes(state.encode(), bytes))',
    replace: 'if (state.encode().length === 0)',
    tests: crdt,
  },
  {
    name: 'crdt: keys are ordered as JavaScript orders them',
    file: 'src/base/bytes.ts',
    find: 'if (x >= 0xd800 && y >= 0xd800) {',
    replace: 'if (x > 0xffff) {',
    tests: crdt,
  },
  {
    name: 'crdt: the decoder takes integers written as floats',
    file: 'src/base/msgpack.ts',
    find: "malformed('an integer as a float')",
    replace: 'value += 0',
    tests: crdt,
  },
  {
    name: 'crdt: a delta may write one cell twice',
    file: 'src/crdt/delta.ts',
    find: "if (cells.has(name)) reader.fail('a cell written twice')",
    replace: '',
    tests: crdt,
  },
  {
    name: 'crdt: a counter counts every record of an origin, not the one with the highest sequence',
    file: 'src/crdt/types/counter.ts',
    find: 'if (known === undefined || tally.seq >= known.seq)',
    replace: 'if (known === undefined || tally.seq <= known.seq)',
    tests: crdt,
  },
  {
    name: 'crdt: a claim acquired anew takes the old fence',
    file: 'src/crdt/types/claim.ts',
    find: 'fence = live ? held.fence : held.fence + 1',
    replace: 'fence = held.fence',
    tests: crdt,
  },
  {
    name: 'replica: a delta is taken under a dot that is not its own',
    file: 'src/replica/replica.ts',
    find: 'if (!follows(delta, space.chainOf(dot.origin))) {',
    replace: 'if (!follows(delta, space.chainOf(dot.origin)) && body.length === 0) {',
    tests: replica,
  },
  {
    name: 'replica: the tree forgets what a write supersedes',
    file: 'src/replica/space.ts',
    find: 'this.tree.subtract(entry.leaf)\n',
    replace: '\n',
    tests: replica,
  },
  {
    name: 'replica: an empty leaf keeps its row',
    file: 'src/replica/tree.ts',
    find: 'sink.del(this.#key(leaf))',
    replace: 'sink.put(this.#key(leaf), encodeSum(sum))',
    tests: replica,
  },
  {
    name: 'replica: the digest leaves the dot out',
    file: 'src/replica/tree.ts',
    find: '  scratch.number(sibling.seq)\n',
    replace: '',
    tests: replica,
  },
  {
    name: 'replica: a reopened node goes on as the same origin',
    file: 'src/replica/replica.ts',
    find: 'this.origin = originId(config.node + config.incarnation)',
    replace: "this.origin = originId(config.node + '0000000000000000')",
    tests: replica,
  },
  {
    name: 'replica: a clear takes what its writer had not seen',
    file: 'src/replica/space.ts',
    find: 'return sibling.seq <= (context ?? 0)',
    replace: 'return sibling.seq >= 0 || context === 0',
    tests: replica,
  },
  {
    name: 'replica: the log counts as stored what is only in memory',
    file: 'src/replica/log.ts',
    find: 'return this.seq - this.#waiting.length',
    replace: 'return this.seq',
    tests: replica,
  },
  {
    name: 'replica: pruning ignores the cut',
    file: 'src/replica/space.ts',
    find: 'const stable = segment.last <= cut(oldest.origin)',
    replace: 'const stable = segment.last <= Math.max(cut(oldest.origin), Infinity)',
    tests: replica,
  },
  {
    name: 'replica: an entry leaves the cache before the disk has it',
    file: 'src/replica/cache.ts',
    find: 'if (entry.used || entry.dirtyIn > this.storedBatch) {',
    replace: 'if (entry.used) {',
    tests: replica,
  },
  {
    name: 'replica: times go back over a restart',
    file: 'src/replica/replica.ts',
    find: 'this.clock.witness(log.time, Infinity)',
    replace: 'this.clock.witness(log.time, 0)',
    tests: replica,
  },
  {
    name: 'replica: a throwing transaction has moved the clock and the entry',
    file: 'src/replica/replica.ts',
    find: 'const { clears, writes } = change.finish()\n      if (clears.length',
    replace: 'const { clears, writes } = change.finish()\n      this.clock.next(nowMs)\n      if (clears.length',
    tests: replica,
  },
  {
    name: 'replica: what expires takes the value that replaced it along',
    file: 'src/crdt/change.ts',
    find: '.filter((sibling) => sibling.seq === dot.seq && sibling.origin === dot.origin)\n    if (siblings.length > 0) this.put',
    replace: '.filter((sibling) => sibling.seq >= dot.seq)\n    if (siblings.length > 0) this.put',
    tests: replica,
  },
  {
    name: 'replica: a key that was written is taken for one that was never there',
    file: 'src/replica/space.ts',
    find: 'if (wasEmpty && this.tree.whole) this.#held.add(entry.key)',
    replace: 'if (wasEmpty && this.tree.whole) this.#held.mayHave(entry.key)',
    tests: replica,
  },
  {
    name: 'replica: a space that held something when it was opened passes for one that began empty',
    file: 'src/replica/tree.ts',
    find: 'this.whole = this.root[4] === 0',
    replace: 'this.whole = true',
    tests: replica,
  },
  {
    name: 'store: a value is not compared with its checksum',
    file: 'src/store/level-batch.ts',
    find: 'if (isIntact(key, stored)) return plain',
    replace: 'if (stored.length >= CHECKSUM_BYTES) return plain',
    tests: store,
  },
  {
    name: 'store: a hole in the chain of batches is not noticed',
    file: 'src/store/batch-chain.ts',
    find: 'if (row.number > expected) return',
    replace: 'if (row.number > expected + 1e9) return',
    tests: store,
  },
  {
    name: 'store: the mark is not asked whether the tail is missing',
    file: 'src/store/level.ts',
    find: 'if (number < synced.number)',
    replace: 'if (number < synced.number - 1e9)',
    tests: store,
  },
  {
    name: 'store: the checksums inside tables are not verified',
    file: 'src/store/level-files.ts',
    find: 'if (maskCrc(crc32c(bytes, offset, stop + 1)) !== word(bytes, stop + 1))',
    replace: 'if (bytes.length < 0)',
    tests: store,
  },
  {
    name: 'sim: a delta is applied before what its writer had seen',
    file: 'src/replica/space.ts',
    find: 'delta.context.every((dot) => covers(this.vector, dot))',
    replace: 'delta.context.length >= 0',
    tests: fleet,
  },
  {
    name: 'sim: a snapshot of a peer brings back what was removed here',
    file: 'src/crdt/cell.ts',
    find: '!hasDot(mine, sibling) && !covers(seen, sibling)',
    replace: '!hasDot(mine, sibling)',
    tests: fleet,
  },
  {
    name: 'sim: a delta does not say all that its writer had seen',
    file: 'src/replica/space.ts',
    find: 'else this.news.add(origin)',
    replace: 'else if (seq % 3 !== 0) this.news.add(origin)',
    tests: fleet,
  },
  {
    name: 'sim: what is in memory counts as durable',
    file: 'src/replica/space.ts',
    find: 'log.durableSeq = log.storedSeq',
    replace: 'log.durableSeq = log.seq',
    tests: fleet,
  },
  {
    name: 'sim: a clear takes what its writer had not seen, everywhere alike',
    file: 'src/replica/space.ts',
    find: 'return sibling.seq <= (context ?? 0)',
    replace: 'return sibling.seq >= 0 || context === 0',
    tests: fleet,
  },
  {
    name: 'sim: what expires takes the value that replaced it along',
    file: 'src/crdt/change.ts',
    find: '.filter((sibling) => sibling.seq === dot.seq && sibling.origin === dot.origin)\n    if (siblings.length > 0) this.put',
    replace: '.filter((sibling) => sibling.seq >= dot.seq)\n    if (siblings.length > 0) this.put',
    tests: fleet,
  },
  {
    name: 'sim: a claim acquired anew takes the old fence',
    file: 'src/crdt/types/claim.ts',
    find: 'fence = live ? held.fence : held.fence + 1',
    replace: 'fence = held.fence',
    tests: fleet,
  },
]
