/** Faults in anti-entropy: what is claimed, what is sent, what is believed. */
import type { Fault } from '../fault.ts'

export const antiEntropyFaults: readonly Fault[] = [
  {
    name: 'sim anti-entropy: an offer claims what its snapshot does not hold',
    file: 'src/anti-entropy/anti-entropy.ts',
    find: 'this.#moments.next(space, (moment) => offer.begin(moment))',
    replace: 'this.#moments.next(space, () => offer.begin(space.moment()))',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: a moment is whatever memory holds when the batch is stored',
    file: 'src/anti-entropy/moments.ts',
    find: 'for (const then of waiting) then(moment ?? space.moment())',
    replace: 'for (const then of waiting) then(space.moment())',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: below the log nothing is said',
    file: 'src/replica/catch-up.ts',
    find: 'if (entry === undefined) return { runs: [], sizeBytes: 0, more: false, below: true }',
    replace: 'if (entry === undefined) continue',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: the context digest is not made anew',
    file: 'src/replica/log.ts',
    find: 'if (this.#digestSeq !== this.seq) {',
    replace: 'if (this.#digestSeq === 0) {',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: a greeting says that all is durable',
    file: 'src/anti-entropy/anti-entropy.ts',
    find: 'durable: isDurable(space),',
    replace: 'durable: space.logs.size > 0 || isDurable(space),',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: peers are told what is applied as what is stored',
    file: 'src/anti-entropy/anti-entropy.ts',
    find: 'for (const { origin, durableSeq } of space.logs.values()) {\n        // Also',
    replace: 'for (const { origin, seq: durableSeq } of space.logs.values()) {\n        // Also',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: what stands here in those buckets is not looked at',
    file: 'src/anti-entropy/adopt.ts',
    find: '        if (this.#buckets.has(leaf)) this.#keys.push(key)\n      },',
    replace: '        if (this.#buckets.count === 0 && this.#buckets.has(leaf)) this.#keys.push(key)\n      },',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: the vector is raised before the cells are merged',
    file: 'src/anti-entropy/adopt.ts',
    find: '    const mine = new Map(space.vector)\n    const isGone',
    replace: '    const mine = space.vector\n    space.raise(this.#heads)\n    const isGone',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: a snapshot is over although it was not folded in',
    file: 'src/anti-entropy/fold.ts',
    find: '    if (!isThrough) {\n',
    replace: '    if (!isThrough && this.#adoption.isShort) {\n',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: what an earlier run of the program sealed is not folded',
    file: 'src/anti-entropy/anti-entropy.ts',
    find: '    for (const space of this.#shared.replica.spaces) this.#fold(space)\n',
    replace: '',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: a lost adoption holds its space for ever',
    file: 'src/anti-entropy/adopt.ts',
    find: '      this.space.target = undefined\n      this.#scans.end(this.#scan)',
    replace: '      this.#scans.end(this.#scan)',
    sim: { seeds: 300 },
  },
  {
    name: 'sim anti-entropy: an offer leaves the chains before its heads behind',
    file: 'src/anti-entropy/offer.ts',
    find: 'return links.length === 0 ? undefined : links',
    replace: 'return links.length < 0 ? links : undefined',
    sim: { from: 8800, seeds: 150 },
  },
]
